//! What an error of the driver means for a fetch: the connection's fault, want of time, or the statement's own.

use tokio_postgres::error::{DbError, Severity, SqlState};

use crate::core::cache::fetch::FetchError;

use super::client::ClientError;
use super::error_text::{describe, last_words, message};

/// Why an operation on a session failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::postgres) enum Failure {
    /// The connection ended amid the operation, or the system grants no more: for whatever reason, perhaps the statement.
    Ended { what: String, by: EndedBy },
    /// The connection leads to a server that must not be used; another may do.
    Broken(String),
    /// Final for this request.
    Fetch(FetchError),
    /// No time is left; or 57014 and 55P03, with what Postgres said: cancelled for want of time, unless the statement says so of
    /// its own, which the clock tells ([`crate::postgres::Pool`]).
    TimedOut(Option<FetchError>),
    /// No answer by the client's deadline: the session is of no more use, and its query may still run.
    Silent,
}

/// Who ended a connection, as far as it tells itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::postgres) enum EndedBy {
    /// Postgres, which said so.
    Postgres,
    /// The network, or a backend that crashed: neither says a word.
    Nobody,
}

impl Failure {
    pub(in crate::postgres) fn shape(text: impl Into<String>) -> Self {
        Failure::Fetch(FetchError::Shape(text.into()))
    }

    /// Is the session of no more use?
    pub(in crate::postgres) fn abandons(&self) -> bool {
        match self {
            Failure::Ended { .. } | Failure::Broken(_) | Failure::Silent => true,
            Failure::Fetch(error) => matches!(error, FetchError::TooLarge { .. }),
            Failure::TimedOut(_) => false,
        }
    }

    pub(in crate::postgres) fn sqlstate(&self) -> Option<&str> {
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
            ClientError::Runtime(error) => Failure::Ended { what: error.to_string(), by: EndedBy::Nobody },
        }
    }
}

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Self {
        match error.as_db_error() {
            Some(db) => from_db(db),
            None => Failure::Ended { what: describe(&error), by: EndedBy::Nobody },
        }
    }
}

fn from_db(db: &DbError) -> Failure {
    let code = db.code();
    if ends_connection(db) {
        return Failure::Ended { what: last_words(db), by: EndedBy::Postgres };
    }
    let said = FetchError::Statement { sqlstate: code.code().to_owned(), message: message(db) };
    match *code == SqlState::QUERY_CANCELED || *code == SqlState::LOCK_NOT_AVAILABLE {
        true => Failure::TimedOut(Some(said)),
        false => Failure::Fetch(said),
    }
}

/// Is it the last that the connection says? Its severity tells and its code does not: any of them may be a statement's own,
/// of a foreign server that is away (08001), of a limit (53400), or of a function that raises it.
pub(in crate::postgres) fn ends_connection(db: &DbError) -> bool {
    match db.parsed_severity() {
        Some(severity) => matches!(severity, Severity::Fatal | Severity::Panic),
        // A pooler's, or a server's before 9.6, which may be in another language.
        None => {
            db.severity() != "ERROR"
                && (db.severity() == "FATAL" || db.severity() == "PANIC" || is_of_connections(db.code()))
        }
    }
}

fn is_of_connections(code: &SqlState) -> bool {
    code.code().starts_with("08")
        || matches!(code.code(), "57P01" | "57P02" | "57P03" | "57P04" | "57P05" | "53300" | "25P03")
}
