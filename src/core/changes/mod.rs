//! Rows that changed: their present values, and which cached calls want to know of them.
//!
//! | file | what |
//! |---|---|
//! | `change` | rows that changed, as far as results that do not contain them are concerned |
//! | `changed_sets` | metadata sets of rows that changed, and what of each row is as it was |
//! | `image` | the present values of a row |
//! | `looks` | how much of it may be done in one go |
//! | `dependency` | what a cached call wants to know of |
//! | `dependents` | which cached calls want to know of a changed row |
//!
//! ```text
//! a changed row -> image -> change -> dependents: the calls whose predicate it meets
//!               -> what of it is as it was: whoever reads nothing else is not concerned (`catalog/columns_read`)
//! ```
//!
//! A new test of a predicate: `calls/predicate`, `image/meets`, and its place in `dependents/plan`.

pub mod change;
pub mod changed_sets;
pub mod dependency;
pub mod dependents;
pub mod image;
pub mod looks;
