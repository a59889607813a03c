//! What comes back from `bear-clerk` of what is done aside.

use crate::core::cache::stored_form::Content;
use crate::core::catalog::Catalog;
use crate::postgres::Validation;

/// What comes back.
pub enum Aside {
    /// The letter of this number.
    Written(u64),
    /// The same, but for the writing, which has failed.
    Unwritten(u64),
    /// The same: what was to be written could not be read.
    Unreadable(u64),
    Catalog(Box<ReadCatalog>),
    /// A job's payload, as it is stored.
    Payload(u64, Result<CheckedPayload, String>),
    /// The same of a row of the inbox.
    RowPayload(u64, Result<CheckedPayload, String>),
    /// A value, as it is stored.
    Value(u64, Result<Content, String>),
    /// A catalog's, to be shown to Postgres.
    Statements(Validation),
    /// They could not be worked out; with the ticket of the check.
    NoStatements(u64),
}

/// What is told of something done aside that has panicked.
pub(in crate::server) const FAILED: &str = "internal error of bear: see the server's log";

/// A catalog, as it was read.
pub struct ReadCatalog {
    pub(super) ticket: u64,
    pub(super) result: Result<(Catalog, Validation), String>,
}

/// A payload as it is stored, and what UNIQUE compares.
pub struct CheckedPayload {
    pub(in crate::server) data: Vec<u8>,
    pub(in crate::server) fingerprint: Option<String>,
}
