//! The tables and functions of the outbox: there already, or made now where the role may.

use crate::postgres::client::{Client, ClientError};
use crate::postgres::failure::message;

use super::super::follow::simple;
use super::super::FeedError;

/// What an administrator runs by hand where the role may not.
const OUTBOX_SQL: &str = include_str!("../../../../schema/outbox.sql");

/// The format that this version knows.
const VERSION: i32 = 1;

/// Of the advisory lock under which they are made: two that make them at once would fail on each other.
const LOCK: i64 = 0x62_65_61_72;

const EXISTS: &str =
    "SELECT coalesce(pg_catalog.to_regprocedure('bear.outbox_uninstall()') IS NOT NULL, false)::text, '', ''";

/// Makes what is missing; refuses a format that is newer.
pub(super) fn ensure(client: &mut Client) -> Result<(), FeedError> {
    make(client).map_err(|error| match &error {
        ClientError::Driver(driver) => match driver.as_db_error() {
            Some(db) if db.code().code() == "42501" => FeedError::Forbidden(format!(
                "the outbox is missing or not open to this role ({}); let an administrator run schema/outbox.sql, which says \
                 what to grant",
                message(db)
            )),
            Some(db) => FeedError::Other(format!("cannot make the outbox: {}", message(db))),
            None => error.into(),
        },
        ClientError::Silent | ClientError::Runtime(_) => error.into(),
    })?;
    let [version, ..] = simple(client, "SELECT bear.outbox_version(), '', ''")?;
    match version.parse::<i32>() {
        Ok(version) if version <= VERSION => Ok(()),
        _ => Err(FeedError::Other(format!(
            "the outbox in Postgres has format {version}, and this version of bear knows {VERSION}; load a newer one"
        ))),
    }
}

fn make(client: &mut Client) -> Result<(), ClientError> {
    let exists = client.simple_query(EXISTS)?;
    let is_there = exists
        .iter()
        .any(|message| matches!(message, tokio_postgres::SimpleQueryMessage::Row(row) if row.get(0) == Some("true")));
    if !is_there {
        let lock = format!("SELECT pg_catalog.pg_advisory_xact_lock({LOCK})");
        client.batch_execute(&format!("BEGIN READ WRITE; {lock}; {OUTBOX_SQL}\nCOMMIT")).inspect_err(|_| {
            log::debug!("the outbox could not be made");
        })?;
        log::info!("made the outbox in Postgres' schema bear");
    }
    Ok(())
}
