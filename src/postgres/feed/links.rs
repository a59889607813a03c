//! What the SELECTs of `tables` read, as the database is now.
//!
//! A row that is gone or has moved tells by itself what a SELECT found by it (see [`crate::core::feed::link`]), so every table that
//! one reads is followed, whether the section names it or not.

use std::collections::BTreeSet;

use tokio_postgres::types::Type;

use crate::core::catalog::{Section, TableRows};
use crate::core::feed::link::{names_in, Link, Reads};
use crate::core::feed::Coverage;
use crate::core::sql::template::Template;
use crate::postgres::check::reads;
use crate::postgres::connect::client::{Client, ClientError};
use crate::postgres::connect::failure::Failure;
use crate::postgres::values::params::declared_type;

/// Of a table without a key of one column that a SELECT is asked by.
pub(super) const SEVERAL_KEYS: &str =
    "a SELECT is asked by a key of one column, which it has not, so that any change of it concerns all \
    rows; a column that holds the id, or such a key, tells which";

/// A SELECT of a section's tables.
pub(super) struct Linked<'s> {
    pub(super) section: usize,
    /// The table that it is for, as the catalog writes it.
    pub(super) table: &'s str,
    pub(super) template: &'s Template,
    pub(super) reads: Reads,
    /// Names that the SELECT may mean, where it does not prepare: what they mean may change.
    pub(super) names: Vec<Box<str>>,
    /// Somebody holds a lock on what it reads: it is to be asked again.
    pub(super) waits: bool,
}

/// A migration may hold its lock for long, and nothing that is told meanwhile must wait for it.
const LOCK_LIMIT_MS: u32 = 100;

/// Asks what each SELECT reads. Of one that does not prepare, now, it is guessed by the names in it.
pub(super) fn look<'s>(client: &mut Client, sections: &'s [Section]) -> Result<Vec<Linked<'s>>, Failure> {
    let mut linked = Vec::new();
    for (index, section) in sections.iter().enumerate().filter(|(_, section)| section.id.is_some()) {
        for table in &section.tables {
            let TableRows::Select(template) = &table.rows else { continue };
            let types = section.table_param_types(template);
            let types: Vec<_> = types.into_iter().map(|ty| ty.map_or(Type::UNKNOWN, declared_type)).collect();
            match ask(client, &template.text, &types) {
                Ok(reads) => {
                    let (names, waits) = (Vec::new(), false);
                    linked.push(Linked { section: index, table: &table.name, template, reads, names, waits });
                }
                Err(why @ (Failure::Fetch(_) | Failure::TimedOut(_))) => {
                    let waits = matches!(why, Failure::TimedOut(_));
                    if let Failure::Fetch(error) = why {
                        log::warn!("the SELECT of table '{}' of section '{}' fails: {error}", table.name, section.name);
                    }
                    let reads = in_transaction(client, |client| reads::guess(client, &template.text));
                    let reads = match reads {
                        Err(Failure::Fetch(_) | Failure::TimedOut(_)) => Reads { is_guess: true, ..Reads::default() },
                        reads => reads?,
                    };
                    let names = names_in(&template.text).into_iter().map(Into::into).collect();
                    linked.push(Linked { section: index, table: &table.name, template, reads, names, waits });
                }
                Err(broken) => return Err(broken),
            }
        }
    }
    Ok(linked)
}

fn ask(client: &mut Client, sql: &str, types: &[Type]) -> Result<Reads, Failure> {
    let reads = in_transaction(client, |client| reads::of_statement(client, sql, types));
    if matches!(reads, Err(Failure::Broken(_) | Failure::Silent)) {
        return reads;
    }
    match client.batch_execute("DEALLOCATE bear_check") {
        // It was not prepared.
        Err(ClientError::Driver(error)) if error.as_db_error().is_some() => {}
        result => result?,
    }
    reads
}

/// One that is rolled back.
fn in_transaction(
    client: &mut Client,
    work: impl FnOnce(&mut Client) -> Result<Reads, Failure>,
) -> Result<Reads, Failure> {
    // A generic plan, for one made for NULLs would leave out what they rule out.
    client.batch_execute(&format!(
        "BEGIN READ ONLY; SET LOCAL lock_timeout = {LOCK_LIMIT_MS}; SET LOCAL plan_cache_mode = force_generic_plan"
    ))?;
    let reads = work(client);
    if !matches!(reads, Err(Failure::Broken(_) | Failure::Silent)) {
        client.batch_execute("ROLLBACK")?;
    }
    reads
}

/// SQL for the fingerprint of tables: the definitions of the views that SELECTs read, and, where one is to be asked again,
/// what is never the same.
pub(super) fn fingerprint_terms(views: &BTreeSet<u32>, waits: bool) -> String {
    let views: Vec<String> = views.iter().map(u32::to_string).collect();
    let again = if waits { " UNION ALL SELECT pg_catalog.clock_timestamp()::pg_catalog.text" } else { "" };
    format!(
        " UNION ALL SELECT pg_catalog.concat('v', w.ev_class, ':', w.xmin) FROM pg_catalog.pg_rewrite w \
         WHERE w.ev_class OPERATOR(pg_catalog.=) ANY ('{{{}}}'::pg_catalog.oid[]){again}",
        views.join(",")
    )
}

/// What is said of a table whose rows a SELECT reads; `bears`: does an old row bear the column?
pub(super) fn note(
    link: &Link,
    linked: &Linked,
    section: &str,
    name: &str,
    bears: impl Fn(&str) -> bool,
) -> Option<Box<str>> {
    match link {
        Link::Id(column) if bears(column) => None,
        Link::Id(column) => Some(
            format!(
                "the replica identity has no '{column}', so that an UPDATE or DELETE drops all of section '{section}'; ALTER TABLE \
                 {name} REPLICA IDENTITY FULL, or USING a unique INDEX that has it, tells the row"
            )
            .into(),
        ),
        Link::Moved { columns, inserts } => {
            let update = match columns {
                Some(columns) if columns.is_empty() => String::new(),
                Some(columns) => format!(", an UPDATE of {}", columns.join(", ")),
                None => ", an UPDATE".to_owned(),
            };
            let insert = if *inserts { ", an INSERT" } else { "" };
            Some(
                format!(
                    "the SELECT of '{}' reads it and cannot find what it found by a row that is gone: a DELETE{update}{insert} drops \
                     all of section '{section}'; a table with a column that holds the id tells exactly",
                    linked.table
                )
                .into(),
            )
        }
    }
}

/// Adds a note to what is covered.
pub(super) fn add_note(state: &mut Coverage, more: Option<Box<str>>) {
    if let (Coverage::Covered { note }, Some(more)) = (state, more) {
        *note = Some(match note.take() {
            Some(note) if note.contains(&*more) => note,
            Some(note) => format!("{note}; {more}").into(),
            None => more,
        });
    }
}
