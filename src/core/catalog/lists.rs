//! What results list beside what they show, with which `match` and `on` compare columns of other rows: `product_id in _product`.

use crate::core::values::value::ScalarType;

/// Values that a list is compared by; one of more is not told apart from any other. Each costs Redis' thread some tenths of a
/// microsecond when its result is stored.
pub const MAX_COMPARED: usize = 1_000;

/// Values that a statement of `lists` may give; of rows of a section beyond that, any change of the section counts.
pub const MAX_LISTED: usize = 10_000;

/// A list that predicates of a query name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct List {
    /// Without the underscore.
    pub name: Box<str>,
    /// Of its values.
    pub ty: ScalarType,
    pub of: ListOf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListOf {
    /// Ids of the rows of this section that the result lists.
    Rows(usize),
    /// What a statement of `lists` gives.
    Values,
}

/// A statement of `lists`, which is asked in the snapshot of its query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListStatement {
    /// A section of whose rows it gives ids, or the name of other values.
    pub name: Box<str>,
    pub of_rows: bool,
    /// Its `$1 … $n` are those of its query.
    pub sql: String,
}
