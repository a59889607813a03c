//! What is said of an error of the driver: no password, and no row that others may not see.

use std::error::Error as _;

use tokio_postgres::error::DbError;

/// What Postgres said as it ended a connection.
pub(in crate::postgres) fn last_words(db: &DbError) -> String {
    format!("{} ({})", db.message(), db.code().code())
}

/// The server's message with its detail and hint. A constraint's detail holds the row, also columns that whoever
/// enqueued the job may not see; it is in Postgres' log alone.
pub(in crate::postgres) fn message(db: &DbError) -> String {
    let mut text = db.message().to_owned();
    let is_of_row = ["23", "44"].iter().any(|class| db.code().code().starts_with(class));
    for more in [db.detail().filter(|_| !is_of_row), db.hint()].into_iter().flatten() {
        text.push_str("; ");
        text.push_str(more);
    }
    text
}

/// One line for a log or INFO; the driver's errors hold no password.
pub(in crate::postgres) fn describe(error: &tokio_postgres::Error) -> String {
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
