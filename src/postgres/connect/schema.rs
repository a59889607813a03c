//! The schema bear: its tables and functions, there already, or made now where the role may; and whose they are.
//!
//! Invariant: nothing in the schema is touched before all of it is known to belong to whoever is trusted anyway: this
//! role, the database's owner, superusers. A trigger, a default, a rule of somebody else's would run as this role. Who
//! is not trusted cannot add to it afterwards, for that takes CREATE on the schema or TRIGGER on a table; where somebody
//! is given these, or makes the schema anew, its [`fingerprint`] is another, and all of it is looked at once more.

use tokio_postgres::SimpleQueryMessage;

use super::client::{Client, ClientError};
use super::error_text::{describe, message};
use super::pinned::OWN_PATH;

/// What an administrator runs by hand where the role may not.
const LEDGER_SQL: &str = include_str!("../../../schema/ledger.sql");

/// The format that this version writes, and the newest that it knows.
const VERSION: i64 = 1;

/// Of the advisory lock under which the tables are made: two that make them at once would fail on each other.
const LOCK: i64 = 0x62_65_61_72;

const LEDGER_IS_THERE: &str = "to_regclass('bear.ledger') IS NOT NULL AND to_regclass('bear.left_out') IS NOT NULL \
    AND to_regclass('bear.ledger_version') IS NOT NULL";

const STRANGE: &str = include_str!("../../../schema/foreign.sql");

/// Why there is no ledger to write to.
#[derive(Debug, thiserror::Error)]
pub(in crate::postgres) enum SchemaError {
    #[error(
        "LEDGER the schema bear with the ledger is missing or not open to this role ({0}); \
         let an administrator run schema/ledger.sql (docs/reference/ledger.md) and grant USAGE on the schema and \
         SELECT, INSERT, UPDATE, DELETE on its tables"
    )]
    Refused(String),
    #[error("LEDGER {0}")]
    Strange(Strange),
    #[error(
        "LEDGER the ledger in Postgres has format {0}, and this version of bear knows {VERSION}; load a newer one"
    )]
    Newer(i64),
    #[error(
        "no job is applied: this role is set to read only (default_transaction_read_only is on), which is enough for \
         queries; for jobs let an administrator run ALTER ROLE … RESET default_transaction_read_only, or say bear.drain no"
    )]
    ReadOnly,
    #[error("{0}")]
    Lost(String),
}

impl From<MakeError> for SchemaError {
    fn from(error: MakeError) -> Self {
        match error {
            MakeError::Strange(strange) => SchemaError::Strange(strange),
            MakeError::Refused(what) => SchemaError::Refused(what),
            MakeError::Failed(error) => error.into(),
        }
    }
}

impl From<ClientError> for SchemaError {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Driver(error) if error.code().is_some_and(|code| code.code() == "42501") => {
                SchemaError::Refused(describe(&error))
            }
            ClientError::Driver(error) => SchemaError::Lost(describe(&error)),
            ClientError::Silent => SchemaError::Lost("no answer in time".to_owned()),
            ClientError::Runtime(error) => SchemaError::Lost(error.to_string()),
        }
    }
}

/// Something in the schema that is not bear's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the schema bear is not used, for what stands in it would run with this role's rights: {what}. It must be this \
     role's, a superuser's or the database owner's, with nothing in it but what bear makes; to mend it: {remedy}"
)]
pub(in crate::postgres) struct Strange {
    what: String,
    remedy: String,
}

/// Why something of the schema is not there.
#[derive(Debug)]
pub(in crate::postgres) enum MakeError {
    Strange(Strange),
    /// The role has no right to make it.
    Refused(String),
    Failed(ClientError),
}

impl From<ClientError> for MakeError {
    fn from(error: ClientError) -> Self {
        match &error {
            ClientError::Driver(driver) => match driver.as_db_error() {
                Some(db) if db.code().code() == "42501" => MakeError::Refused(message(db)),
                _ => MakeError::Failed(error),
            },
            ClientError::Silent | ClientError::Runtime(_) => MakeError::Failed(error),
        }
    }
}

/// Whether something was there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::postgres) enum Made {
    Before,
    Now,
}

/// An expression that has another value once the schema or one of the tables was made anew, has another owner, other
/// rights, triggers, rules or row-level security. Triggers and rules by themselves: with the second that a table ever had
/// its own row does not change, for one that is dropped leaves the table's mark.
pub(in crate::postgres) fn fingerprint(tables: &str) -> String {
    format!(
        "(SELECT pg_catalog.concat(n.oid, ':', n.xmin, (SELECT pg_catalog.string_agg(pg_catalog.concat(',', c.oid, ':', c.xmin, \
             (SELECT pg_catalog.string_agg(pg_catalog.concat(' t', g.oid), '' ORDER BY g.oid) \
               FROM pg_catalog.pg_trigger g WHERE g.tgrelid OPERATOR(pg_catalog.=) c.oid), \
             (SELECT pg_catalog.string_agg(pg_catalog.concat(' r', w.oid), '' ORDER BY w.oid) \
               FROM pg_catalog.pg_rewrite w WHERE w.ev_class OPERATOR(pg_catalog.=) c.oid)), '' ORDER BY c.oid) \
           FROM pg_catalog.pg_class c WHERE c.relnamespace OPERATOR(pg_catalog.=) n.oid \
           AND c.relname OPERATOR(pg_catalog.=) ANY ('{{{tables}}}'::pg_catalog.name[]))) \
         FROM pg_catalog.pg_namespace n WHERE n.nspname OPERATOR(pg_catalog.=) 'bear')"
    )
}

/// The same of what batches write to.
pub(in crate::postgres) fn ledger_fingerprint() -> String {
    fingerprint("ledger,left_out,ledger_version,inbox")
}

/// Makes the ledger's tables where they are missing; refuses a format that is newer. Returns the fingerprint of what was
/// found to be ours.
pub(in crate::postgres) fn ensure(client: &mut Client) -> Result<String, SchemaError> {
    let read_only = "SELECT pg_catalog.current_setting('default_transaction_read_only')";
    if first(client, read_only)?.as_deref() == Some("on") {
        return Err(SchemaError::ReadOnly);
    }
    let fingerprint = ledger_fingerprint();
    let found = match look(client, LEDGER_IS_THERE, &fingerprint)? {
        (true, found) => found,
        (false, _) => {
            if make(client, LEDGER_IS_THERE, LEDGER_SQL)? == Made::Now {
                log::info!("made the schema bear with the ledger in Postgres");
            }
            look(client, LEDGER_IS_THERE, &fingerprint)?.1
        }
    };
    let version = first(client, "SELECT pg_catalog.max(version) FROM bear.ledger_version")?;
    match version.and_then(|version| version.parse().ok()).unwrap_or(VERSION) {
        newer if newer > VERSION => Err(SchemaError::Newer(newer)),
        _ => Ok(found),
    }
}

/// Sees to it that the schema is bear's, and runs `sql`, which makes something in it, unless `is_there` already. After
/// an error the connection may stand in a transaction that has failed.
pub(in crate::postgres) fn make(client: &mut Client, is_there: &str, sql: &str) -> Result<Made, MakeError> {
    if look(client, is_there, "''")?.0 {
        return Ok(Made::Before);
    }
    // Somebody else may make it at this very moment. What is made in the schema of theirs goes with the transaction.
    let begin =
        format!("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; {OWN_PATH} SELECT pg_advisory_xact_lock({LOCK})");
    client.batch_execute(&format!("{begin}; CREATE SCHEMA IF NOT EXISTS bear"))?;
    check(client)?;
    client.batch_execute(sql)?;
    check(client)?;
    client.batch_execute("COMMIT")?;
    Ok(Made::Now)
}

/// Is it there, and the fingerprint of the schema, of which nothing is strange: what is altered from then on shows.
pub(in crate::postgres) fn look(
    client: &mut Client,
    is_there: &str,
    fingerprint: &str,
) -> Result<(bool, String), MakeError> {
    let found = client.simple_query(&format!("{OWN_PATH} SELECT ({is_there})::text, {fingerprint}; {STRANGE}"))?;
    let mut rows = rows(&found);
    let (is_there, fingerprint) = rows
        .next()
        .map_or((false, String::new()), |row| (row.get(0) == Some("true"), row.get(1).unwrap_or_default().to_owned()));
    match rows.next() {
        Some(strange) => Err(MakeError::Strange(Strange::of(strange))),
        None => Ok((is_there, fingerprint)),
    }
}

/// In a transaction whose path is ours.
fn check(client: &mut Client) -> Result<(), MakeError> {
    let found = client.simple_query(STRANGE)?;
    let strange = rows(&found).next().map(Strange::of);
    strange.map_or(Ok(()), |strange| Err(MakeError::Strange(strange)))
}

impl Strange {
    fn of(row: &tokio_postgres::SimpleQueryRow) -> Strange {
        let text = |at: usize| row.get(at).unwrap_or_default().to_owned();
        Strange { what: text(0), remedy: text(1) }
    }
}

fn rows(messages: &[SimpleQueryMessage]) -> impl Iterator<Item = &tokio_postgres::SimpleQueryRow> {
    messages.iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    })
}

fn first(client: &mut Client, sql: &str) -> Result<Option<String>, ClientError> {
    let messages = client.simple_query(sql)?;
    let row = rows(&messages).next();
    Ok(row.and_then(|row| row.get(0)).map(str::to_owned))
}
