//! A catalog's statements tried against Postgres: does each prepare, has each query the promised shape, and which
//! relations does it read that no section maps.
//!
//! All of it happens in one transaction that reads and is rolled back. PREPARE is sent in the extended protocol, which
//! takes one command only, so that nothing after a semicolon can run.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use tokio_postgres::types::Type;

use crate::core::cache::fetch::FetchError;
use crate::core::catalog::fetch_plan::FetchPlan;
use crate::core::catalog::Section;
use crate::core::feed::link::{link, Link};
use crate::core::prove::claims::{Proof, Standing};
use crate::core::values::value::ArgType;

use super::proofs;
use super::reads;
use super::trial::{explain, prepare};
use crate::postgres::apply::answer::{self, JobStatement};
use crate::postgres::connect::client::Client;
use crate::postgres::connect::failure::Failure;
use crate::postgres::connect::pool::Pool;
use crate::postgres::connect::session::{Session, BEGIN_READ};
use crate::postgres::values::params::declared_type;

/// The statements of a catalog.
#[derive(Debug, Clone)]
pub struct Validation {
    /// The caller's own number, brought back with the report.
    pub ticket: u64,
    pub statements: Vec<ValidateStatement>,
    /// Relations that sections map, with or without their schema.
    pub mapped_tables: Vec<String>,
    /// Whose queries are compared with what is said of them.
    pub sections: Arc<[Section]>,
    pub deadline: Instant,
}

#[derive(Debug, Clone)]
pub struct ValidateStatement {
    /// Names the statement in messages, e.g. `bear query "size {start:int} …"`.
    pub what: String,
    /// With `$1 … $n`; ignored for a query, whose plan has its own.
    pub sql: String,
    /// None lets Postgres infer the type.
    pub params: Vec<Option<ArgType>>,
    pub kind: StatementKind,
}

#[derive(Debug, Clone)]
pub enum StatementKind {
    /// Its shape is checked too, and the relations it reads.
    Query(Arc<FetchPlan>),
    /// One of `tables`: what it means for the relations that it reads is told.
    Link {
        /// The relations that the section maps, with or without their schema; first the one that it is for.
        mapped: Vec<String>,
    },
    /// Its columns are checked.
    Job(JobStatement),
    Other,
}

/// Lines for a log or a reply, each beginning with the statement's `what`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ValidationReport {
    pub errors: Vec<String>,
    pub warnings: Vec<String>,
    /// Statements of `tables` by which more is dropped than need be.
    pub links: Vec<String>,
    /// What the declarations of queries are worth, by the ids of their plans.
    pub proofs: BTreeMap<u64, Proof>,
}

impl Pool {
    /// Tries every statement. An error means that Postgres could not be asked.
    pub fn validate(&self, validation: &Validation) -> Result<ValidationReport, FetchError> {
        let (_, report) = self.with_session(validation.deadline, 0, |numbered| {
            let session = &mut numbered.session;
            open(session)?;
            let checked = check_all(&mut session.client, validation);
            session.client.batch_execute("ROLLBACK")?;
            let (mut report, taken) = checked?;
            add_proofs(session, validation, &taken, &mut report)?;
            Ok(report)
        });
        report
    }
}

fn open(session: &mut Session) -> Result<(), Failure> {
    let settings = session.pinned_locally();
    // A generic plan, for one made for NULLs would leave out what they rule out.
    session.client.batch_execute(&format!("{BEGIN_READ} {settings} SET LOCAL plan_cache_mode = force_generic_plan"))?;
    Ok(())
}

/// What is said of queries is compared with their SQL; what leaves stale answers is an error.
fn add_proofs(
    session: &mut Session,
    validation: &Validation,
    taken: &BTreeMap<u64, &str>,
    report: &mut ValidationReport,
) -> Result<(), Failure> {
    let proofs =
        proofs::of_catalog(session, &validation.sections, validation.deadline, |plan| taken.contains_key(&plan.id))?;
    for (plan, proof) in proofs {
        let what = taken.get(&plan).copied().unwrap_or_default();
        if proof.standing == Standing::Wrong {
            report.errors.extend(proof.reasons.iter().map(|reason| format!("{what}: {reason}")));
        }
        report.proofs.insert(plan, proof);
    }
    Ok(())
}

/// Also the queries that Postgres takes, by the ids of their plans.
fn check_all<'a>(
    client: &mut Client,
    validation: &'a Validation,
) -> Result<(ValidationReport, BTreeMap<u64, &'a str>), Failure> {
    let mut report = ValidationReport::default();
    let mut taken = BTreeMap::new();
    let mapped: Vec<u32> = reads::meant(client, &validation.mapped_tables)?.into_iter().flatten().collect();
    for statement in &validation.statements {
        if Instant::now() >= validation.deadline {
            return Err(Failure::TimedOut(None));
        }
        client.batch_execute("SAVEPOINT bear_check")?;
        let said = |text: &String| format!("{}: {text}", statement.what);
        match check(client, statement, &mapped) {
            Ok(found) => {
                let warning = |name: &String| said(&format!("reads relation '{name}', which no section maps"));
                report.warnings.extend(found.unmapped.iter().map(warning));
                report.links.extend(found.links.iter().map(said));
                if let StatementKind::Query(plan) = &statement.kind {
                    taken.insert(plan.id, &*statement.what);
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
    Ok((report, taken))
}

/// What there is to say of a statement that is right.
#[derive(Default)]
struct Found {
    /// Relations that it reads and no section maps.
    unmapped: Vec<String>,
    links: Vec<String>,
}

fn check(client: &mut Client, statement: &ValidateStatement, mapped: &[u32]) -> Result<Found, Failure> {
    let types: Vec<_> = statement.params.iter().map(|ty| ty.map_or(Type::UNKNOWN, declared_type)).collect();
    let plan = match &statement.kind {
        StatementKind::Query(plan) => plan,
        StatementKind::Link { mapped } => {
            return Ok(Found { links: links(client, &statement.sql, &types, mapped)?, ..Found::default() })
        }
        StatementKind::Job(job) => {
            prepare(client, &statement.sql, &types)?;
            let prepared = client.prepare_typed(&statement.sql, &types)?;
            answer::check_columns(prepared.columns(), *job).map_err(Failure::shape)?;
            return Ok(Found::default());
        }
        StatementKind::Other => {
            prepare(client, &statement.sql, &types)?;
            return Ok(Found::default());
        }
    };
    let types = crate::postgres::values::params::declared_types(&plan.params);
    prepare(client, &plan.sql, &types)?;
    let columns = crate::postgres::connect::columns::learn(client, &plan.sql, &types)?;
    let shape = crate::postgres::connect::shape::Shape::new(plan, &columns).map_err(Failure::shape)?;
    // The wrapped query may fail where the plain one does not: an id without a cast to text, say.
    client.execute_typed("DEALLOCATE bear_check", &[])?;
    prepare(client, &shape.sql, &types)?;
    explain(client, types.len())?;
    let read = reads::locked(client)?;
    let unmapped = read.into_iter().filter(|locked| !locked.is_view && !mapped.contains(&locked.relation.oid));
    let shown = |locked: reads::Locked| match &*locked.schema {
        "public" => locked.relation.bare_name.into_string(),
        schema => format!("{schema}.{}", locked.relation.bare_name),
    };
    let mut unmapped: Vec<String> = unmapped.map(shown).collect();
    unmapped.sort_unstable();
    Ok(Found { unmapped, ..Found::default() })
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
