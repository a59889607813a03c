//! What an error of the driver means for a fetch: the connection's fault, want of time, or the statement's own.

use std::error::Error as _;

use tokio_postgres::error::{DbError, SqlState};

use crate::core::fetch::FetchError;

use super::client::ClientError;

/// Why an operation on a session failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    /// The connection is gone, or leads to a server that must not be used; another may do.
    Broken(String),
    /// Final for this request.
    Fetch(FetchError),
    /// 57014 and 55P03: cancelled for want of time.
    TimedOut,
    /// No answer by the client's deadline: the session is of no more use, and its query may still run.
    Silent,
}

impl Failure {
    pub(super) fn shape(text: impl Into<String>) -> Self {
        Failure::Fetch(FetchError::Shape(text.into()))
    }

    pub(super) fn sqlstate(&self) -> Option<&str> {
        match self {
            Failure::Fetch(FetchError::Statement { sqlstate, .. }) => Some(sqlstate),
            _ => None,
        }
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Driver(error) => error.into(),
            ClientError::Silent => Failure::Silent,
            ClientError::Runtime(error) => Failure::Broken(error.to_string()),
        }
    }
}

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Self {
        match error.as_db_error() {
            Some(db) => from_db(db),
            None => Failure::Broken(describe(&error)),
        }
    }
}

fn from_db(db: &DbError) -> Failure {
    let code = db.code();
    if *code == SqlState::QUERY_CANCELED || *code == SqlState::LOCK_NOT_AVAILABLE {
        return Failure::TimedOut;
    }
    if ends_connection(code) {
        return Failure::Broken(db.message().to_owned());
    }
    Failure::Fetch(FetchError::Statement { sqlstate: code.code().to_owned(), message: message(db) })
}

fn ends_connection(code: &SqlState) -> bool {
    code.code().starts_with("08")
        || matches!(code.code(), "57P01" | "57P02" | "57P03" | "57P04" | "57P05" | "53300" | "25P03")
}

/// The server's message with its detail and hint.
pub(super) fn message(db: &DbError) -> String {
    let mut text = db.message().to_owned();
    for more in [db.detail(), db.hint()].into_iter().flatten() {
        text.push_str("; ");
        text.push_str(more);
    }
    text
}

/// One line for a log or INFO; the driver's errors hold no password.
pub(super) fn describe(error: &tokio_postgres::Error) -> String {
    if let Some(db) = error.as_db_error() {
        return db.message().to_owned();
    }
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
