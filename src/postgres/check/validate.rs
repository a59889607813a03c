//! A catalog's statements tried against Postgres: does each prepare, has each query the promised shape, and which
//! relations does it read that no section maps.
//!
//! All of it happens in one transaction that reads and is rolled back. PREPARE is sent in the extended protocol, which
//! takes one command only, so that nothing after a semicolon can run.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use tokio_postgres::types::Type;

use super::changes::{changing, untold, Changing, Readers, CHANGED};
use super::completion::{derive_and_prove, mapped_now};
use super::reads::{self, Locks};
use super::trial::{explain, open, prepare, shape};
use super::validation::{StatementKind, ValidateStatement, Validation, ValidationReport};
use crate::core::cache::fetch::FetchError;
use crate::core::catalog::Section;
use crate::core::feed::link::{link, Link};
use crate::postgres::apply::answer;
use crate::postgres::connect::client::Client;
use crate::postgres::connect::failure::Failure;
use crate::postgres::connect::pool::Pool;
use crate::postgres::values::params::declared_type;

impl Pool {
    /// Tries every statement. An error means that Postgres could not be asked.
    pub fn validate(&self, validation: &Validation) -> Result<ValidationReport, FetchError> {
        let (_, report) = self.with_session(validation.deadline, 0, |numbered| {
            let session = &mut numbered.session;
            open(session)?;
            let checked = check_all(&mut session.client, validation);
            session.roll_back()?;
            let Checked { mut report, taken, unmapped, changes, readers } = checked?;
            derive_and_prove(session, validation, &taken, &mut report)?;
            let mapped = mapped_now(session, validation, &report)?;
            let mut counts_on_feed = false;
            for Unmapped { what, oid, name } in unmapped {
                let warning = match mapped.get(&oid) {
                    None => "which no section maps".to_owned(),
                    Some(Some(section)) if !validation.has_feed => format!(
                        "which no section of the file maps: without a feed its changes are told by BEAR.INVALIDATE {section} alone"
                    ),
                    Some(section) => {
                        counts_on_feed |= section.is_some();
                        continue;
                    }
                };
                report.warnings.push(format!("{what}: reads relation '{name}', {warning}"));
            }
            untold(session, validation, &changes, &readers, &mut report)?;
            report.counts_on_feed = validation.has_feed && (counts_on_feed || !report.hints.is_empty());
            Ok(report)
        });
        report
    }
}

struct Checked<'a> {
    report: ValidationReport,
    /// The queries that Postgres takes, by the ids of their plans.
    taken: BTreeMap<u64, &'a str>,
    unmapped: Vec<Unmapped>,
    changes: Vec<Changing<'a>>,
    readers: Readers<'a>,
}

/// A relation that a statement reads and no section of the file maps.
struct Unmapped {
    what: String,
    oid: u32,
    name: String,
}

fn check_all<'a>(client: &mut Client, validation: &'a Validation) -> Result<Checked<'a>, Failure> {
    let mut report = ValidationReport::default();
    let (mut taken, mut unmapped) = (BTreeMap::new(), Vec::new());
    let (mut changes, mut readers) = (Vec::new(), Readers::new());
    // Of what their authors answer for nobody else has to know.
    let queries = validation.sections.iter().flat_map(|section| &section.queries);
    let trusted: BTreeSet<u64> =
        queries.filter(|query| query.trust.is_some()).filter_map(|query| Some(query.plan()?.id)).collect();
    let locks = Locks::prepare(client, CHANGED)?;
    let mapped: Vec<u32> = reads::meant(client, &validation.mapped_tables)?.into_iter().flatten().collect();
    for statement in &validation.statements {
        if Instant::now() >= validation.deadline {
            return Err(Failure::TimedOut(None));
        }
        client.batch_execute("SAVEPOINT bear_check")?;
        let said = |text: &String| format!("{}: {text}", statement.what);
        match check(client, &locks, statement, &mapped, &validation.sections) {
            Ok(found) => {
                let what = &statement.what;
                let of = |(oid, name): (u32, String)| Unmapped { what: what.clone(), oid, name };
                unmapped.extend(found.unmapped.into_iter().map(of));
                report.links.extend(found.links.iter().map(said));
                changes.extend(found.changes);
                if let StatementKind::Query(plan) = &statement.kind {
                    taken.insert(plan.id, &*statement.what);
                    for relation in found.reads.into_iter().filter(|_| !trusted.contains(&plan.id)) {
                        readers.entry(relation).or_insert(what);
                    }
                }
            }
            Err(Failure::Fetch(error)) => report.errors.push(format!("{}: {error}", statement.what)),
            Err(Failure::TimedOut(_)) => report.errors.push(format!("{}: no answer in time", statement.what)),
            Err(broken) => return Err(broken),
        }
        client.batch_execute("ROLLBACK TO SAVEPOINT bear_check")?;
        // PREPARE does not follow the transaction; there is nothing to deallocate where it failed.
        if client.batch_execute("DEALLOCATE bear_check").is_err() {
            client.batch_execute("ROLLBACK TO SAVEPOINT bear_check")?;
        }
        client.batch_execute("RELEASE SAVEPOINT bear_check")?;
    }
    Ok(Checked { report, taken, unmapped, changes, readers })
}

/// What there is to say of a statement that is right.
#[derive(Default)]
struct Found<'a> {
    /// All relations that a query reads.
    reads: Vec<u32>,
    /// What a job does.
    changes: Option<Changing<'a>>,
    /// Relations that it reads and no section maps, by their names.
    unmapped: Vec<(u32, String)>,
    links: Vec<String>,
}

fn check<'a>(
    client: &mut Client,
    locks: &Locks,
    statement: &'a ValidateStatement,
    mapped: &[u32],
    sections: &[Section],
) -> Result<Found<'a>, Failure> {
    let types: Vec<_> = statement.params.iter().map(|ty| ty.map_or(Type::UNKNOWN, declared_type)).collect();
    let plan = match &statement.kind {
        StatementKind::Query(plan) => plan,
        StatementKind::Link { mapped } => {
            return Ok(Found { links: links(client, &statement.sql, &types, mapped)?, ..Found::default() })
        }
        StatementKind::Job(job, of) => {
            prepare(client, &statement.sql, &types)?;
            let prepared = client.prepare_typed(&statement.sql, &types)?;
            answer::check_columns(prepared.columns(), *job).map_err(Failure::shape)?;
            let has_section = prepared.columns().iter().any(|column| column.name() == "section");
            let changes = changing(client, locks, &statement.what, of, &statement.sql, has_section, sections)?;
            return Ok(Found { changes: Some(changes), ..Found::default() });
        }
        StatementKind::Other => {
            prepare(client, &statement.sql, &types)?;
            return Ok(Found::default());
        }
    };
    let types = shape(client, plan)?;
    explain(client, types.len())?;
    let read = locks.locked(client)?;
    let reads = read.iter().map(|locked| locked.relation.oid).collect();
    let unmapped = read.into_iter().filter(|locked| !locked.is_view && !mapped.contains(&locked.relation.oid));
    let shown = |locked: reads::Locked| {
        let name = match &*locked.schema {
            "public" => locked.relation.bare_name.to_string(),
            schema => format!("{schema}.{}", locked.relation.bare_name),
        };
        (locked.relation.oid, name)
    };
    let mut unmapped: Vec<(u32, String)> = unmapped.map(shown).collect();
    unmapped.sort_unstable_by(|(_, one), (_, other)| one.cmp(other));
    Ok(Found { reads, unmapped, ..Found::default() })
}

/// What a statement of `tables` does not tell exactly, and what would.
fn links(client: &mut Client, sql: &str, types: &[Type], mapped: &[String]) -> Result<Vec<String>, Failure> {
    let oids = reads::meant(client, mapped)?;
    let reads = reads::of_statement(client, sql, types)?;
    let mut said = Vec::new();
    for read in &reads.relations {
        let name = &read.bare_name;
        match link(sql, &reads, read, oids.contains(&Some(read.oid))) {
            Link::Id(column) if oids.first() == Some(&Some(read.oid)) => said.push(format!(
                "its SELECT finds nothing by a row that is gone or has moved; say {name} = \"{column}\", the column that \
                 holds the id"
            )),
            Link::Id(_) => {}
            Link::Moved { columns, inserts } => {
                let update = match &columns {
                    Some(columns) => format!("an UPDATE of {}", columns.join(", ")),
                    None => "an UPDATE".to_owned(),
                };
                let insert = if inserts { " or an INSERT" } else { "" };
                said.push(format!(
                    "its SELECT reads '{name}' and cannot find what it found by a row of it that is gone or has moved, so \
                     that a DELETE, {update}{insert} drops all of the section; a table with a column that holds the id tells \
                     exactly"
                ));
            }
        }
    }
    Ok(said)
}
