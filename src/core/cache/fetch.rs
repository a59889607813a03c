//! What a fetch asks of Postgres and what it brings back: plain data between the layers.

use std::sync::Arc;
use std::time::Instant;

use super::asked::Asked;
use super::membership::Found;
use crate::core::catalog::fetch_plan::FetchPlan;
use crate::core::values::value::Value;

/// One execution of a plan.
#[derive(Debug, Clone)]
pub struct FetchRequest {
    /// The caller's own number, brought back with the outcome.
    pub ticket: u64,
    pub plan: Arc<FetchPlan>,
    /// Values of `$1 … $n` in Postgres' text format; None is NULL.
    pub params: Vec<Option<String>>,
    /// When the fetch has failed for want of time, queueing included.
    pub deadline: Instant,
    /// A longer result is an error.
    pub max_result_bytes: usize,
    /// From which size on to work out [`Fetched::compressed`], on the thread that fetched.
    pub compress_from: Option<usize>,
    /// Works out [`Fetched::metas`], on the thread that fetched.
    pub membership: Option<Box<Asked>>,
}

/// What a fetch brought back.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Fetched {
    /// Compact JSON: an array of objects, or one object or `null` where the plan says `single`.
    pub json: Vec<u8>,
    /// Its stored form, where that is another.
    pub compressed: Option<Vec<u8>>,
    pub row_count: usize,
    pub found: Found,
    /// From the column `_until`: how long the result may live, in ms from its reading; at most 0 means not at all.
    pub lives_ms: Option<i64>,
    /// Time in Postgres and on the wire, in microseconds.
    pub took_us: u64,
    /// Names of the metadata sets that the result belongs to, sorted, without duplicates.
    pub metas: Vec<Box<[u8]>>,
    /// What predicates compare with: see [`Asked::compared`].
    pub compared: Arc<[Value]>,
}

/// Why a fetch brought nothing back.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// Postgres could not be reached, or went away.
    #[error("{what} ({host}); next attempt in {retry_in_ms} ms")]
    Unavailable {
        what: String,
        /// `host:port` or the socket's path; never a user or a password.
        host: String,
        retry_in_ms: u64,
    },
    #[error("no answer within {timeout_ms} ms")]
    Timeout { timeout_ms: u64 },
    #[error("the result is larger than {limit} bytes")]
    TooLarge { limit: usize },
    /// Postgres refused or failed the statement.
    #[error("{message} (SQLSTATE {sqlstate})")]
    Statement { sqlstate: String, message: String },
    /// The result has not the shape that the catalog promised; says what is wrong and what would be right.
    #[error("{0}")]
    Shape(String),
}
