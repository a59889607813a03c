//! The inbox: jobs that an application enqueues within its own transaction (schema/inbox.sql), as the thread `bear-inbox` reads
//! them and settles them.
//!
//! | file | what |
//! |---|---|
//! | `link` | the connection, what its statements run under, whether the tables are there and ours |
//! | `owner` | which sections are this data set's, and which jobs its catalog has |
//! | `poll` | what is new since the last look, or all there is; the rows themselves |
//! | `tell` | rows are settled, as Redis has recorded it; those that failed long ago go |
//! | `verify` | what has become of rows |
//! | `quote` | values within statements |
//!
//! ```text
//! link -> owner -> poll (all that is open, then what is new) -> rows
//!                  verify, tell
//! ```
//! Rules: no transaction is left open, and none waits for one of the application's. Everything is asked in simple protocol, so
//! that it works behind a pooler in transaction mode.

mod link;
mod owner;
mod poll;
mod quote;
mod tell;
#[cfg(test)]
mod tests;
mod verify;

use std::fmt;

use super::connect::client::ClientError;
use super::connect::error_text::{describe, message};

pub use link::{InboxLink, Linked};
pub use owner::{CatalogJob, Holding, Owned};
pub use poll::{Found, Listing, OpenRow};
pub use verify::Settled;

/// Why nothing can be asked any more; the connection is dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InboxError(pub String);

impl fmt::Display for InboxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<ClientError> for InboxError {
    fn from(error: ClientError) -> Self {
        InboxError(match &error {
            ClientError::Driver(driver) => match driver.as_db_error() {
                Some(db) if db.code().code() == "42501" => format!(
                    "the inbox is not open to this role ({}); schema/inbox.sql says what an administrator is to grant",
                    message(db)
                ),
                Some(db) => message(db),
                None => describe(driver),
            },
            ClientError::Silent => "no answer in time".to_owned(),
            ClientError::Runtime(error) => error.to_string(),
        })
    }
}
