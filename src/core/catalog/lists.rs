//! What results list beside what they show, with which `match` and `on` compare columns of other rows: `product_id in _product`.

use crate::core::values::value::{ScalarType, Value};

/// Values that a list is compared by; one of more is not told apart from any other. A result of many is put where changes find it
/// in slices of Redis' thread.
pub const MAX_COMPARED: usize = 10_000;

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
    /// What the last row of a full page has in a column: by its place in [`super::fetch_plan::FetchPlan::last`].
    Last(usize),
}

/// Rows that a full page has: what the statement's LIMIT says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PageSize {
    Rows(u64),
    /// Index into the call's arguments.
    Arg(usize),
}

impl PageSize {
    /// Is a result of so many rows a full page? Without a limit none is.
    pub fn is_filled_by(self, rows: usize, args: &[Value]) -> bool {
        let size = match self {
            PageSize::Rows(rows) => Some(rows),
            PageSize::Arg(index) => match args.get(index) {
                Some(Value::Scalar(text)) => text.parse().ok(),
                _ => None,
            },
        };
        size.is_some_and(|size| rows > 0 && rows as u64 >= size)
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_full_with_as_many_rows_as_its_limit() {
        let args = |limit: &str| [Value::Null, Value::Scalar(limit.into())];
        for (size, limit, rows, is_full) in [
            (PageSize::Rows(20), "1", 20, true),
            // With ties there are more.
            (PageSize::Rows(20), "1", 21, true),
            (PageSize::Rows(20), "1", 19, false),
            (PageSize::Arg(1), "3", 3, true),
            (PageSize::Arg(1), "3", 2, false),
            // There is no last row.
            (PageSize::Arg(1), "0", 0, false),
            (PageSize::Arg(1), "-1", 5, false),
            // No limit, no full page.
            (PageSize::Arg(0), "3", 5, false),
            (PageSize::Arg(9), "3", 5, false),
        ] {
            assert_eq!(size.is_filled_by(rows, &args(limit)), is_full, "{size:?} {limit} {rows}");
        }
    }
}
