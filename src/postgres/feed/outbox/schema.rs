//! The tables and functions of the outbox: there already, or made now where the role may.

use crate::postgres::connect::client::Client;
use crate::postgres::connect::error_text::message;
use crate::postgres::connect::schema::{make, Made, MakeError};

use super::super::follow::simple;
use crate::postgres::feed::error::FeedError;

/// What an administrator runs by hand where the role may not.
const OUTBOX_SQL: &str = include_str!("../../../../schema/outbox.sql");

/// The format that this version knows.
const VERSION: i32 = 1;

const IS_THERE: &str = "to_regprocedure('bear.outbox_follow(regclass,text[],boolean)') IS NOT NULL \
    AND to_regprocedure('bear.outbox_uninstall()') IS NOT NULL";

/// Makes what is missing; refuses a format that is newer.
pub(super) fn ensure(client: &mut Client) -> Result<(), FeedError> {
    if make(client, IS_THERE, OUTBOX_SQL).map_err(no_outbox)? == Made::Now {
        log::info!("made the outbox in Postgres' schema bear");
    }
    let [version, ..] = simple(client, "SELECT bear.outbox_version(), '', ''")?;
    match version.parse::<i32>() {
        Ok(version) if version <= VERSION => Ok(()),
        _ => Err(FeedError::Other(format!(
            "the outbox in Postgres has format {version}, and this version of bear knows {VERSION}; load a newer one"
        ))),
    }
}

fn no_outbox(error: MakeError) -> FeedError {
    match error {
        MakeError::Strange(strange) => FeedError::Forbidden(strange.to_string()),
        MakeError::Refused(what) => FeedError::Forbidden(format!(
            "the outbox is missing or not open to this role ({what}); let an administrator run schema/outbox.sql, which says \
             what to grant"
        )),
        MakeError::Failed(error) => match error.as_db_error() {
            Some(db) => FeedError::Other(format!("cannot make the outbox: {}", message(db))),
            None => error.into(),
        },
    }
}
