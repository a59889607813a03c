//! A catalog's statements tried against Postgres: does each prepare, has each query the promised shape, and which
//! relations does it read that no section maps.
//!
//! All of it happens in one transaction that reads and is rolled back. PREPARE is sent in the extended protocol, which
//! takes one command only, so that nothing after a semicolon can run.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use serde_json::Value;
use tokio_postgres::error::{DbError, ErrorPosition};
use tokio_postgres::types::Type;
use tokio_postgres::SimpleQueryMessage;

use crate::core::fetch::{FetchError, FetchPlan};
use crate::core::value::ArgType;

use super::answer;
use super::client::{Client, ClientError};
use super::failure::{message, Failure};
use super::params::declared_type;
use super::pool::Pool;
use super::session::{pinned, Session};

/// The statements of a catalog.
#[derive(Debug, Clone)]
pub struct Validation {
    /// The caller's own number, brought back with the report.
    pub ticket: u64,
    pub statements: Vec<ValidateStatement>,
    /// Relations that sections map, with or without their schema.
    pub mapped_tables: Vec<String>,
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
    /// Its columns are checked.
    Job(JobStatement),
    Other,
}

/// Which statement of a job it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobStatement {
    /// For any number of jobs: it must return which of them it applied.
    Set,
    /// For one job.
    Each,
}

/// Lines for a log or a reply, each beginning with the statement's `what`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ValidationReport {
    pub errors: Vec<String>,
    pub warnings: Vec<String>,
}

impl Pool {
    /// Tries every statement. An error means that Postgres could not be asked.
    pub fn validate(&self, validation: &Validation) -> Result<ValidationReport, FetchError> {
        let (_, report) = self.with_session(validation.deadline, 0, |numbered| {
            let session = &mut numbered.session;
            open(session)?;
            let report = check_all(&mut session.client, validation);
            session.client.batch_execute("ROLLBACK")?;
            report
        });
        report
    }
}

fn open(session: &mut Session) -> Result<(), Failure> {
    let settings = pinned(&session.settings, "SET LOCAL");
    // A generic plan, for one made for NULLs would leave out what they rule out.
    session
        .client
        .batch_execute(&format!("BEGIN READ ONLY; {settings} SET LOCAL plan_cache_mode = force_generic_plan"))?;
    Ok(())
}

fn check_all(client: &mut Client, validation: &Validation) -> Result<ValidationReport, Failure> {
    let mut report = ValidationReport::default();
    for statement in &validation.statements {
        if Instant::now() >= validation.deadline {
            return Err(Failure::TimedOut);
        }
        client.batch_execute("SAVEPOINT bear_check")?;
        match check(client, statement, &validation.mapped_tables) {
            Ok(unmapped) => {
                let warning =
                    |relation| format!("{}: reads relation '{relation}', which no section maps", statement.what);
                report.warnings.extend(unmapped.into_iter().map(warning));
            }
            Err(Failure::Fetch(error)) => report.errors.push(format!("{}: {error}", statement.what)),
            Err(Failure::TimedOut) => report.errors.push(format!("{}: no answer in time", statement.what)),
            Err(broken) => return Err(broken),
        }
        client.batch_execute("ROLLBACK TO SAVEPOINT bear_check")?;
        // PREPARE does not follow the transaction; there is nothing to deallocate where it failed.
        if client.batch_execute("DEALLOCATE bear_check").is_err() {
            client.batch_execute("ROLLBACK TO SAVEPOINT bear_check")?;
        }
        client.batch_execute("RELEASE SAVEPOINT bear_check")?;
    }
    Ok(report)
}

/// Relations that the statement reads and no section maps.
fn check(client: &mut Client, statement: &ValidateStatement, mapped: &[String]) -> Result<BTreeSet<String>, Failure> {
    let plan = match &statement.kind {
        StatementKind::Query(plan) => plan,
        StatementKind::Job(job) => {
            prepare(client, &statement.sql, &statement.params)?;
            let types: Vec<_> = statement.params.iter().map(|ty| ty.map_or(Type::UNKNOWN, declared_type)).collect();
            let prepared = client.prepare_typed(&statement.sql, &types)?;
            answer::check_columns(prepared.columns(), *job).map_err(Failure::shape)?;
            return Ok(BTreeSet::new());
        }
        StatementKind::Other => {
            prepare(client, &statement.sql, &statement.params)?;
            return Ok(BTreeSet::new());
        }
    };
    let params: Vec<Option<ArgType>> = plan.params.iter().copied().map(Some).collect();
    prepare(client, &plan.sql, &params)?;
    let columns = super::columns::learn(client, &plan.sql, &super::params::declared_types(&plan.params))?;
    let shape = super::shape::Shape::new(plan, &columns).map_err(Failure::shape)?;
    // The wrapped query may fail where the plain one does not: an id without a cast to text, say.
    client.execute_typed("DEALLOCATE bear_check", &[])?;
    prepare(client, &shape.sql, &params)?;
    let mut unmapped = BTreeSet::new();
    for (schema, name) in relations(client, params.len())? {
        let is_mapped =
            |schema: &str, name: &str| mapped.iter().any(|table| table == name || *table == format!("{schema}.{name}"));
        if schema == "pg_catalog" || schema == "information_schema" || is_mapped(&schema, &name) {
            continue;
        }
        let ancestors = ancestors(client, &schema, &name)?;
        if !ancestors.iter().any(|(schema, name)| is_mapped(schema, name)) {
            let (schema, name) = ancestors.last().cloned().unwrap_or((schema, name));
            unmapped.insert(if schema == "public" { name } else { format!("{schema}.{name}") });
        }
    }
    Ok(unmapped)
}

fn prepare(client: &mut Client, sql: &str, params: &[Option<ArgType>]) -> Result<(), Failure> {
    let types: Vec<String> = params
        .iter()
        .map(|param| match param {
            Some(ty) => format!("pg_catalog.{}", declared_type(*ty).name()),
            None => "unknown".to_owned(),
        })
        .collect();
    let types = if types.is_empty() { String::new() } else { format!("({})", types.join(", ")) };
    let head = format!("PREPARE bear_check{types} AS ");
    match client.execute_typed(&format!("{head}{sql}\n"), &[]) {
        Ok(_) => Ok(()),
        Err(ClientError::Driver(error)) => {
            Err(match (error.as_db_error().map(|db| located(db, sql, head.chars().count())), Failure::from(error)) {
                (Some(message), Failure::Fetch(FetchError::Statement { sqlstate, .. })) => {
                    Failure::Fetch(FetchError::Statement { sqlstate, message })
                }
                (_, failure) => failure,
            })
        }
        Err(error) => Err(error.into()),
    }
}

/// The message with the piece of the statement that it is about.
fn located(db: &DbError, sql: &str, head: usize) -> String {
    let text = message(db);
    match db.position() {
        Some(ErrorPosition::Original(at)) => {
            let from = (*at as usize).saturating_sub(head + 1);
            let piece: String = sql.chars().skip(from).take(32).collect();
            format!("{text}, near: {}", piece.replace('\n', " "))
        }
        _ => text,
    }
}

/// Schema and name of every relation in the plan of the prepared statement.
fn relations(client: &mut Client, params: usize) -> Result<BTreeSet<(String, String)>, Failure> {
    let nulls = match params {
        0 => String::new(),
        params => format!("({})", vec!["NULL"; params].join(", ")),
    };
    let messages =
        client.simple_query(&format!("EXPLAIN (FORMAT JSON, VERBOSE, COSTS OFF) EXECUTE bear_check{nulls}"))?;
    let mut found = BTreeSet::new();
    for message in &messages {
        if let SimpleQueryMessage::Row(row) = message {
            let plan: Value = row.try_get(0)?.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
            collect(&plan, &mut found);
        }
    }
    Ok(found)
}

fn collect(plan: &Value, found: &mut BTreeSet<(String, String)>) {
    match plan {
        Value::Array(items) => items.iter().for_each(|item| collect(item, found)),
        Value::Object(fields) => {
            if let (Some(Value::String(schema)), Some(Value::String(name))) =
                (fields.get("Schema"), fields.get("Relation Name"))
            {
                found.insert((schema.clone(), name.clone()));
            }
            fields.values().for_each(|field| collect(field, found));
        }
        _ => {}
    }
}

/// What the relation is a partition of, its root last.
fn ancestors(client: &mut Client, schema: &str, name: &str) -> Result<Vec<(String, String)>, Failure> {
    let sql = "SELECT n.nspname::text, c.relname::text FROM pg_catalog.pg_partition_ancestors((SELECT c.oid FROM pg_catalog.pg_class c \
        JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relname = $2)) WITH ORDINALITY a(relid, n_th) \
        JOIN pg_catalog.pg_class c ON c.oid = a.relid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace ORDER BY a.n_th";
    use tokio_postgres::types::Type;
    let rows = client.query_typed(sql, &[(&schema, Type::TEXT), (&name, Type::TEXT)])?;
    rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
}
