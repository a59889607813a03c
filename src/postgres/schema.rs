//! The tables of the ledger: there already, or made now where the role may.

use tokio_postgres::SimpleQueryMessage;

use super::client::{Client, ClientError};
use super::failure::describe;

/// What an administrator runs by hand where the role may not.
const LEDGER_SQL: &str = include_str!("../../schema/ledger.sql");

/// The format that this version writes, and the newest that it knows.
const VERSION: i64 = 1;

/// Of the advisory lock under which the tables are made: two that make them at once would fail on each other.
const LOCK: i64 = 0x62_65_61_72;

const EXISTS: &str = "SELECT pg_catalog.to_regclass('bear.ledger') IS NOT NULL \
    AND pg_catalog.to_regclass('bear.left_out') IS NOT NULL AND pg_catalog.to_regclass('bear.ledger_version') IS NOT NULL";

/// Why there is no ledger to write to.
#[derive(Debug, thiserror::Error)]
pub(super) enum SchemaError {
    #[error(
        "LEDGER the schema bear with the ledger is missing or not open to this role ({0}); \
         let an administrator run schema/ledger.sql (README, \"Postgres set-up\") and grant USAGE on the schema and \
         SELECT, INSERT, UPDATE, DELETE on its tables"
    )]
    Refused(String),
    #[error(
        "LEDGER the ledger in Postgres has format {0}, and this version of bear knows {VERSION}; load a newer one"
    )]
    Newer(i64),
    #[error("{0}")]
    Lost(String),
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

/// Makes what is missing; refuses a format that is newer.
pub(super) fn ensure(client: &mut Client) -> Result<(), SchemaError> {
    if first(client, EXISTS)?.as_deref() != Some("t") {
        let lock = format!("SELECT pg_catalog.pg_advisory_xact_lock({LOCK})");
        client.batch_execute(&format!("BEGIN READ WRITE; {lock}; {LEDGER_SQL}\nCOMMIT"))?;
        log::info!("made the schema bear with the ledger in Postgres");
    }
    let version = first(client, "SELECT max(version) FROM bear.ledger_version")?;
    match version.and_then(|version| version.parse().ok()).unwrap_or(VERSION) {
        newer if newer > VERSION => Err(SchemaError::Newer(newer)),
        _ => Ok(()),
    }
}

fn first(client: &mut Client, sql: &str) -> Result<Option<String>, ClientError> {
    let messages = client.simple_query(sql)?;
    let row = messages.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    Ok(row.and_then(|row| row.get(0)).map(str::to_owned))
}
