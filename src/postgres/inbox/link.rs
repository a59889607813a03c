//! The connection of the thread `bear-inbox`: what its statements run under, and whether the tables are there and ours.

use std::collections::HashMap;
use std::sync::atomic::AtomicBool;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_postgres::types::Type;
use tokio_postgres::{Row, SimpleQueryMessage, SimpleQueryRow};

use super::InboxError;
use crate::postgres::connect::client::{Client, ClientError};
use crate::postgres::connect::schema::{fingerprint, look, make, Made, MakeError};
use crate::postgres::connect::session::{connect, Access, BEGIN_READ};
use crate::postgres::connect::settings::Settings;

/// What an administrator runs by hand where the role may not.
const INBOX_SQL: &str = include_str!("../../../schema/inbox.sql");

/// The format that this version knows.
const VERSION: i32 = 1;

/// The last that the file makes.
const IS_THERE: &str = "coalesce(to_regprocedure('bear.inbox_uninstall(bool)') IS NOT NULL, false)";

const SETUP_LIMIT: Duration = Duration::from_secs(10);

/// The client waits for so much longer than Postgres lets a statement run.
const GRACE: Duration = Duration::from_secs(2);

/// Once stopping, a COMMIT that has been sent is waited for this long.
const COMMIT_GRACE: Duration = Duration::from_secs(1);

/// A list of all that is open may take so long.
const LISTING_MS: u64 = 60_000;

/// What statements run under. No plan may ever read a whole table, whatever the statistics say of it.
const PLANNING: [(&str, &str); 4] = [
    ("search_path", "pg_catalog, pg_temp"),
    ("enable_seqscan", "off"),
    ("plan_cache_mode", "force_generic_plan"),
    ("synchronous_commit", "on"),
];

/// When the server was started, in a form that no setting changes.
pub(super) const STARTED: &str =
    "(pg_catalog.date_part('epoch', pg_catalog.pg_postmaster_start_time()) OPERATOR(pg_catalog.*) 1000)::pg_catalog.int8";

/// A connection, and what it found.
pub enum Linked {
    Link(Box<InboxLink>),
    /// The table is not there, and is not to be made.
    Absent,
}

pub struct InboxLink {
    client: Client,
    settings: Arc<Settings>,
    stop: Arc<AtomicBool>,
    limit: Duration,
    /// Of the schema bear as it was found to be ours.
    fingerprint: String,
    /// When the server was started that was found: behind a pooler it may become another without a word.
    pub(super) started: Box<str>,
    /// Statements as they were prepared, by name.
    pub(super) prepared: HashMap<&'static str, Box<str>>,
}

impl InboxLink {
    /// Connects; looks for the tables, and makes them where that is wanted.
    pub fn connect(settings: Arc<Settings>, is_made: bool, stop: Arc<AtomicBool>) -> Result<Linked, InboxError> {
        let (mut client, _) = connect(&settings, Access::OfRole).map_err(|error| InboxError(error.to_string()))?;
        client.stop_by(stop.clone(), Duration::ZERO);
        client.set_deadline(Instant::now() + SETUP_LIMIT);
        let read_only =
            first(&client.simple_query("SELECT pg_catalog.current_setting('default_transaction_read_only')")?);
        if read_only.as_deref() == Some("on") {
            return match is_made {
                true => Err(InboxError(
                    "the role is set to read only (default_transaction_read_only is on), and so takes no rows of the inbox; \
                     let an administrator run ALTER ROLE … RESET default_transaction_read_only, or say bear.inbox no"
                        .to_owned(),
                )),
                false => Ok(Linked::Absent),
            };
        }
        let Some(fingerprint) = look_or_make(&mut client, is_made)? else { return Ok(Linked::Absent) };
        let version = first(&client.simple_query("SELECT bear.inbox_version()")?);
        if version.as_ref().and_then(|version| version.parse().ok()).is_none_or(|version: i32| version > VERSION) {
            return Err(InboxError(format!(
                "the inbox in Postgres has format {}, and this version of bear knows {VERSION}; load a newer one",
                version.unwrap_or_default()
            )));
        }
        let limit = Duration::from_millis(settings.statement_timeout_ms()).saturating_add(GRACE);
        let started = first(&client.simple_query(&format!("SELECT {STARTED}"))?).unwrap_or_default().into();
        let mut link = InboxLink { client, settings, stop, limit, fingerprint, started, prepared: HashMap::new() };
        if link.settings.prepare {
            let planning: String = PLANNING.iter().map(|(name, value)| format!("SET {name} = {value}; ")).collect();
            link.client.batch_execute(&planning)?;
        }
        Ok(Linked::Link(Box::new(link)))
    }

    /// Do statements stay prepared?
    pub(super) fn may_prepare(&self) -> bool {
        self.settings.prepare
    }

    /// Looks whether the schema is still as it was: what was made anew is looked at by a new connection.
    pub fn look_again(&mut self) -> Result<(), InboxError> {
        let sql = format!("SELECT {}", inbox_fingerprint());
        match first(&self.read(&sql)?) {
            Some(found) if found == self.fingerprint => Ok(()),
            _ => Err(InboxError("the tables of the inbox were altered".to_owned())),
        }
    }

    /// Reads, by statements without a transaction of their own.
    pub(super) fn read(&mut self, sql: &str) -> Result<Vec<SimpleQueryMessage>, ClientError> {
        self.client.set_deadline(Instant::now() + self.limit);
        match self.settings.prepare {
            true => self.client.simple_query(sql),
            false => self.client.simple_query(&format!("{BEGIN_READ} {}{sql}; COMMIT", self.pinned())),
        }
    }

    /// Reads what may be long, and take a while; `each` sees the rows as they come.
    pub(super) fn read_long(
        &mut self,
        sql: &str,
        each: impl FnMut(&Row) -> Result<(), ClientError>,
    ) -> Result<(), ClientError> {
        self.client.set_deadline(Instant::now() + self.limit);
        let begin = format!(
            "{BEGIN_READ} {}SET LOCAL statement_timeout = {LISTING_MS}; SET LOCAL enable_seqscan = on",
            self.pinned()
        );
        self.client.batch_execute(&begin)?;
        self.client.set_deadline(Instant::now() + Duration::from_millis(LISTING_MS) + GRACE);
        self.client.query_typed_each(sql, std::iter::empty::<(&str, Type)>(), each)?;
        self.client.set_deadline(Instant::now() + self.limit);
        self.client.batch_execute("COMMIT")
    }

    /// Begins a transaction that writes, with `sql`.
    pub(super) fn begin(&mut self, sql: &str) -> Result<Vec<SimpleQueryMessage>, ClientError> {
        self.client.set_deadline(Instant::now() + self.limit);
        let begin = format!("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; {}{sql}", self.pinned());
        self.client.simple_query(&begin)
    }

    /// Ends it with `sql`; the answer is waited for even if a stop comes.
    pub(super) fn commit(&mut self, sql: &str) -> Result<Vec<SimpleQueryMessage>, ClientError> {
        self.client.set_deadline(Instant::now() + self.limit);
        self.client.stop_by(self.stop.clone(), COMMIT_GRACE);
        let result = self.client.simple_query(&format!("{sql}; COMMIT"));
        self.client.stop_by(self.stop.clone(), Duration::ZERO);
        result
    }

    /// A whole transaction that writes, in one round trip.
    pub(super) fn write(&mut self, sql: &str) -> Result<Vec<SimpleQueryMessage>, ClientError> {
        self.commit(&format!("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; {}{sql}", self.pinned()))
    }

    /// What a transaction begins with, where settings may not outlive one.
    fn pinned(&self) -> String {
        if self.settings.prepare {
            return String::new();
        }
        let timeout = self.settings.statement_timeout_ms().to_string();
        let timeouts =
            [("statement_timeout", &*timeout), ("lock_timeout", &*timeout), ("jit", "off"), ("row_security", "on")];
        let set = timeouts.iter().chain(&PLANNING).map(|(name, value)| format!("SET LOCAL {name} = {value}; "));
        set.collect()
    }
}

/// The fingerprint of the tables, which are ours; None: they are not there, and not to be made.
fn look_or_make(client: &mut Client, is_made: bool) -> Result<Option<String>, InboxError> {
    let fingerprint = inbox_fingerprint();
    match look(client, IS_THERE, &fingerprint).map_err(no_inbox)? {
        (true, found) => return Ok(Some(found)),
        (false, _) if !is_made => return Ok(None),
        (false, _) => {}
    }
    if make(client, IS_THERE, INBOX_SQL).map_err(no_inbox)? == Made::Now {
        log::info!("made the inbox in Postgres' schema bear");
    }
    let (_, found) = look(client, IS_THERE, &fingerprint).map_err(no_inbox)?;
    Ok(Some(found))
}

fn inbox_fingerprint() -> String {
    fingerprint("inbox,inbox_owner,inbox_job,inbox_place")
}

fn no_inbox(error: MakeError) -> InboxError {
    match error {
        MakeError::Strange(strange) => InboxError(strange.to_string()),
        MakeError::Refused(what) => InboxError(format!(
            "the inbox is missing or not open to this role ({what}); let an administrator run schema/inbox.sql, which says \
             what to grant"
        )),
        MakeError::Failed(error) => error.into(),
    }
}

pub(super) fn rows(messages: &[SimpleQueryMessage]) -> impl Iterator<Item = &SimpleQueryRow> {
    messages.iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    })
}

fn first(messages: &[SimpleQueryMessage]) -> Option<String> {
    rows(messages).next().and_then(|row| row.get(0)).map(str::to_owned)
}

#[cfg(test)]
impl InboxLink {
    /// What this session has done is counted from now on.
    pub(super) fn settle_statistics(&mut self) {
        let has_function = self.client.server_version() >= 15;
        let sql = if has_function { "SELECT pg_stat_force_next_flush()" } else { "SELECT pg_sleep(0.6)" };
        self.read(sql).unwrap();
        self.read("SELECT pg_stat_clear_snapshot()").unwrap();
    }
}
