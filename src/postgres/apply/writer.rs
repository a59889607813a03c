//! A connection that writes, for one applier: pinned settings, the ledger's tables, prepared statements, and waits
//! that a stop ends.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Row, SimpleQueryMessage, Statement};

use crate::core::jobs::suspects::End;

use crate::postgres::connect::client::{Client, ClientError};
use crate::postgres::connect::error_text::{describe, last_words, message};
use crate::postgres::connect::failure::ends_connection;
use crate::postgres::connect::pinned::{pinned, Scope};
use crate::postgres::connect::pooled;
use crate::postgres::connect::schema::{self, SchemaError};
use crate::postgres::connect::session::{connect, Access};
use crate::postgres::connect::settings::Settings;
use crate::postgres::values::params::TextParam;

/// Prepared statements kept a connection; the one unused for longest makes room.
const MAX_STATEMENTS: usize = 500;

/// The client waits for so much longer than Postgres lets a statement run.
const GRACE: Duration = Duration::from_secs(2);

/// Once stopped, an answer to COMMIT is waited for no longer.
const COMMIT_GRACE: Duration = Duration::from_secs(1);

/// For connecting's own questions.
const SETUP_LIMIT: Duration = Duration::from_secs(10);

/// Between two questions whether the schema bear is as it was.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Why something was not done.
#[derive(Debug)]
pub(in crate::postgres) enum Trouble {
    /// Postgres said so, and the connection lives.
    Statement { sqlstate: Box<str>, message: Box<str> },
    /// The connection has ended, or gave no answer in time: for whatever reason, perhaps the statement.
    Ended { end: End, sqlstate: Option<Box<str>>, what: String },
    /// The connection is of no more use.
    Lost(String),
    /// A stop came first.
    Stopped,
}

/// Why there is no writer.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(in crate::postgres) struct WriterError(String);

pub(in crate::postgres) struct Writer {
    client: Client,
    settings: Arc<Settings>,
    stop: Arc<AtomicBool>,
    limit: Duration,
    statements: HashMap<Box<str>, (Statement, u64)>,
    uses: u64,
    /// The last statement, where it had been prepared before: what Postgres knew of its tables may be out of date.
    reused: Option<Box<str>>,
    /// Of the schema bear as it was found to be ours, and when that was.
    schema: String,
    looked: Instant,
}

/// Are the statement's parameters of these types, as far as they are said?
fn takes(statement: &Statement, types: &[Type]) -> bool {
    let pairs = statement.params().iter().zip(types);
    pairs.into_iter().all(|(known, asked)| *asked == Type::UNKNOWN || known == asked)
}

impl Writer {
    /// Connects and sees to the ledger's tables.
    pub(in crate::postgres) fn connect(settings: Arc<Settings>, stop: Arc<AtomicBool>) -> Result<Writer, WriterError> {
        let (mut client, _) = connect(&settings, Access::OfRole).map_err(|error| WriterError(error.to_string()))?;
        client.stop_by(stop.clone(), Duration::ZERO);
        client.set_deadline(Instant::now() + SETUP_LIMIT);
        let schema = schema::ensure(&mut client).map_err(|error| match error {
            SchemaError::Lost(what) => WriterError(format!("cannot see to the ledger: {what}")),
            error => WriterError(error.to_string()),
        })?;
        let statements = HashMap::new();
        Ok(Writer {
            client,
            settings,
            stop,
            limit: SETUP_LIMIT,
            statements,
            uses: 0,
            reused: None,
            schema,
            looked: Instant::now(),
        })
    }

    /// Is it time to ask whether the schema bear is as it was? That takes longer than all else that a batch's first
    /// statement asks.
    pub(in crate::postgres) fn is_look_due(&self) -> bool {
        self.looked.elapsed() >= LOOK_EVERY
    }

    /// Whether the schema bear is as it was looked at, by its fingerprint now.
    pub(in crate::postgres) fn is_as_it_was(&mut self, fingerprint: &str) -> bool {
        self.looked = Instant::now();
        self.schema == fingerprint
    }

    /// What a transaction begins with, where settings may not outlive one.
    pub(in crate::postgres) fn pinned(&self) -> String {
        match self.settings.prepare {
            true => String::new(),
            false => pinned(&self.settings, Scope::Transaction, self.client.server_version()),
        }
    }

    /// How long Postgres may take for each answer from now on.
    pub(in crate::postgres) fn set_limit(&mut self, statement_timeout_ms: u64) {
        self.limit = Duration::from_millis(statement_timeout_ms).saturating_add(GRACE);
    }

    /// Statements without parameters, in one round trip.
    pub(in crate::postgres) fn simple(&mut self, sql: &str) -> Result<Vec<SimpleQueryMessage>, Trouble> {
        self.ready()?;
        let result = self.client.simple_query(sql);
        self.judged(result)
    }

    /// The same for what ends in COMMIT: its answer is waited for even if a stop comes.
    pub(in crate::postgres) fn commit(&mut self, sql: &str) -> Result<(), Trouble> {
        self.ready()?;
        self.client.stop_by(self.stop.clone(), COMMIT_GRACE);
        let result = self.client.simple_query(sql);
        self.client.stop_by(self.stop.clone(), Duration::ZERO);
        self.judged(result).map(drop)
    }

    /// One of bear's own statements.
    pub(in crate::postgres) fn query(
        &mut self,
        sql: &str,
        params: &[(&(dyn ToSql + Sync), Type)],
    ) -> Result<Vec<Row>, Trouble> {
        self.ready()?;
        let result = self.client.query_typed(sql, params);
        self.judged(result)
    }

    /// A statement of the catalog: its rows, and how many it affected.
    pub(in crate::postgres) fn run(
        &mut self,
        sql: &str,
        types: &[Type],
        params: &[Option<&str>],
    ) -> Result<(Vec<Row>, u64), Trouble> {
        self.ready()?;
        self.reused = None;
        let values = params.iter().map(|param| TextParam(*param));
        if !self.settings.prepare {
            let result = self.client.query_typed_all(sql, values.zip(types.iter().cloned()));
            return self.judged(result);
        }
        let statement = self.prepare(sql, types);
        let result = statement.and_then(|statement| {
            let result = self.client.query_all(&statement, values);
            self.judged(result)
        });
        self.not_of_others(result)
    }

    /// A statement that we have just prepared, and that has gone or was there before, is the fault of a pooler, and no job's.
    fn not_of_others<T>(&self, result: Result<T, Trouble>) -> Result<T, Trouble> {
        let is_of_others = |sqlstate: &str, message: &str| {
            (self.reused.is_none() || sqlstate != "26000") && pooled::is_of_others(sqlstate, message)
        };
        match result {
            Err(Trouble::Statement { sqlstate, message }) if is_of_others(&sqlstate, &message) && pooled::suspect() => {
                Err(Trouble::Lost(pooled::REMEDY.to_owned()))
            }
            result => result,
        }
    }

    /// Has Postgres plan a statement of the catalog, and no more.
    pub(in crate::postgres) fn plan(
        &mut self,
        sql: &str,
        types: &[Type],
        params: &[Option<&str>],
    ) -> Result<(), Trouble> {
        self.ready()?;
        let values = params.iter().map(|param| TextParam(*param));
        let result = self.client.query_typed_all(&format!("EXPLAIN {sql}"), values.zip(types.iter().cloned()));
        self.judged(result).map(drop)
    }

    /// Drops the last statement of [`Writer::run`] if it failed for being older than a change of its tables.
    pub(in crate::postgres) fn forget_stale(&mut self, sqlstate: &str) -> bool {
        let stale = self.reused.take().filter(|_| matches!(sqlstate, "0A000" | "26000"));
        stale.is_some_and(|sql| self.statements.remove(&sql).is_some())
    }

    fn prepare(&mut self, sql: &str, types: &[Type]) -> Result<Statement, Trouble> {
        self.uses += 1;
        // Of two jobs whose statements read the same the types may differ, and those of a job after a reload.
        let known = self.statements.get_mut(sql).filter(|(statement, _)| takes(statement, types));
        if let Some((statement, last_use)) = known {
            *last_use = self.uses;
            self.reused = Some(sql.into());
            return Ok(statement.clone());
        }
        let result = self.client.prepare_typed(sql, types);
        let statement = self.judged(result)?;
        if self.statements.len() >= MAX_STATEMENTS {
            let oldest = self.statements.iter().min_by_key(|(_, (_, last_use))| *last_use).map(|(sql, _)| sql.clone());
            oldest.and_then(|sql| self.statements.remove(&sql));
        }
        self.statements.insert(sql.into(), (statement.clone(), self.uses));
        Ok(statement)
    }

    fn ready(&mut self) -> Result<(), Trouble> {
        if self.stop.load(Ordering::Acquire) {
            return Err(Trouble::Stopped);
        }
        self.client.set_deadline(Instant::now() + self.limit);
        Ok(())
    }

    fn judged<T>(&mut self, result: Result<T, ClientError>) -> Result<T, Trouble> {
        result.map_err(|error| match error {
            ClientError::Driver(error) => self.judge(&error),
            ClientError::Silent => {
                self.client.cancel();
                match self.stop.load(Ordering::Acquire) {
                    true => Trouble::Stopped,
                    false => Trouble::Ended { end: End::Mute, sqlstate: None, what: "no answer in time".to_owned() },
                }
            }
            ClientError::Runtime(error) => Trouble::Lost(error.to_string()),
        })
    }

    fn judge(&self, error: &tokio_postgres::Error) -> Trouble {
        let db = error.as_db_error();
        if let Some(db) = db.filter(|db| !ends_connection(db)) {
            return Trouble::Statement { sqlstate: db.code().code().into(), message: message(db).into() };
        }
        let end = match (self.client.farewell(), db) {
            (Some(_), _) => End::Farewell,
            (None, Some(_)) => End::Told,
            (None, None) => End::Mute,
        };
        let what = db.map_or_else(|| describe(error), last_words);
        Trouble::Ended { end, sqlstate: db.map(|db| db.code().code().into()), what }
    }
}
