//! Why the feed ends, from whatever it is that failed.

use crate::postgres::connect::client::ClientError;
use crate::postgres::connect::error_text::describe;
use crate::postgres::connect::failure::Failure;
use crate::postgres::connect::session::ConnectError;

use super::decoding::Malformed;
use super::wire::WireError;

/// Why the feed does not follow any more.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    #[error("stopped")]
    Stopped,
    /// The server's version, its settings or the role's rights forbid it.
    #[error("{0}")]
    Forbidden(String),
    #[error("{0}")]
    Other(String),
}

impl From<WireError> for FeedError {
    fn from(error: WireError) -> Self {
        match error {
            WireError::Stopped => FeedError::Stopped,
            error => FeedError::Other(error.to_string()),
        }
    }
}

impl From<ClientError> for FeedError {
    fn from(error: ClientError) -> Self {
        FeedError::Other(match error {
            ClientError::Driver(error) => describe(&error),
            ClientError::Silent => "no answer in time".to_owned(),
            ClientError::Runtime(error) => error.to_string(),
        })
    }
}

impl From<Failure> for FeedError {
    fn from(failure: Failure) -> Self {
        FeedError::Other(match failure {
            Failure::Ended { what, .. } | Failure::Broken(what) => what,
            Failure::Fetch(error) => error.to_string(),
            Failure::TimedOut(_) | Failure::Silent => "no answer in time".to_owned(),
        })
    }
}

impl From<ConnectError> for FeedError {
    fn from(error: ConnectError) -> Self {
        FeedError::Other(error.to_string())
    }
}

impl From<Malformed> for FeedError {
    fn from(error: Malformed) -> Self {
        FeedError::Other(error.to_string())
    }
}
