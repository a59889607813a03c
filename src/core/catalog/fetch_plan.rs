//! A query of the catalog as the threads that fetch send it.

use std::sync::Arc;

use super::lists::ListStatement;
use crate::core::values::value::{ArgType, ScalarType};

/// One query of a loaded catalog, ready to be sent. Immutable and shared by all its fetches.
#[derive(Debug, Clone)]
pub struct FetchPlan {
    /// Unique over the life of the process: the key of per-connection statement caches.
    pub id: u64,
    /// Section that the query belongs to.
    pub section: Box<str>,
    /// The catalog's SQL with `$1 … $n` for its placeholders, without a trailing semicolon.
    pub sql: String,
    /// Declared type of `$1 … $n`.
    pub params: Vec<ArgType>,
    /// One object or null instead of an array.
    pub single: bool,
    /// Type of the ids in the column `id`; None where the result's rows are not tracked (`rows = false`).
    pub row_id: Option<ScalarType>,
    /// Names of the sections of the catalog: columns named `_<section>` list rows of them.
    pub sections: Arc<[Box<str>]>,
    /// Columns of the result that tags are made of (`{row.<column>}`).
    pub tag_columns: Vec<Box<str>>,
    /// What is asked in the same snapshot.
    pub lists: Vec<ListStatement>,
    /// Sections whose rows the result must list, for predicates compare with them.
    pub compared: Vec<Box<str>>,
    /// Columns of the last row that predicates compare with, and their types.
    pub last: Vec<(Box<str>, ScalarType)>,
}
