//! What the SELECTs of `tables` read, as the database is now.
//!
//! A row that is gone or has moved tells by itself what a SELECT found by it (see [`crate::core::link`]), so every table that
//! one reads is followed, whether the section names it or not.

use tokio_postgres::types::Type;

use crate::core::catalog::{Section, TableRows};
use crate::core::feed::Coverage;
use crate::core::link::{Link, Reads};
use crate::core::sql::Template;
use crate::postgres::client::{Client, ClientError};
use crate::postgres::failure::Failure;
use crate::postgres::params::declared_type;
use crate::postgres::reads;

/// A SELECT of a section's tables.
pub(super) struct Linked<'s> {
    pub(super) section: usize,
    /// The table that it is for, as the catalog writes it.
    pub(super) table: &'s str,
    pub(super) template: &'s Template,
    pub(super) reads: Reads,
}

/// Asks what each SELECT reads. One that does not prepare reads nothing: it is tried at each change, and a failure there
/// is all of its section.
pub(super) fn look<'s>(client: &mut Client, sections: &'s [Section]) -> Result<Vec<Linked<'s>>, Failure> {
    let mut linked = Vec::new();
    for (index, section) in sections.iter().enumerate().filter(|(_, section)| section.id.is_some()) {
        for table in &section.tables {
            let TableRows::Select(template) = &table.rows else { continue };
            let types = section.table_param_types(template);
            let types: Vec<_> = types.into_iter().map(|ty| ty.map_or(Type::UNKNOWN, declared_type)).collect();
            match ask(client, &template.text, &types) {
                Ok(reads) => linked.push(Linked { section: index, table: &table.name, template, reads }),
                Err(Failure::Fetch(error)) => {
                    log::warn!("the SELECT of table '{}' of section '{}' fails: {error}", table.name, section.name);
                }
                Err(broken) => return Err(broken),
            }
        }
    }
    Ok(linked)
}

fn ask(client: &mut Client, sql: &str, types: &[Type]) -> Result<Reads, Failure> {
    // A generic plan, for one made for NULLs would leave out what they rule out.
    client.batch_execute("BEGIN READ ONLY; SET LOCAL plan_cache_mode = force_generic_plan")?;
    let reads = reads::of_statement(client, sql, types);
    if matches!(reads, Err(Failure::Broken(_) | Failure::Silent)) {
        return reads;
    }
    client.batch_execute("ROLLBACK")?;
    match client.batch_execute("DEALLOCATE bear_check") {
        // It was not prepared.
        Err(ClientError::Driver(error)) if error.as_db_error().is_some() => {}
        result => result?,
    }
    reads
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
