//! Rows that changed: their present values, and which cached calls want to know of them.
//!
//! | file | what |
//! |---|---|
//! | `change` | rows that changed, as far as results that do not contain them are concerned |
//! | `image` | the present values of a row |
//! | `looks` | how much of it may be done in one go |
//! | `dependency` | what a cached call wants to know of |
//! | `dependents` | which cached calls want to know of a changed row |
//!
//! ```text
//! a changed row -> image -> change -> dependents: the calls whose predicate it meets
//! ```
//!
//! A new test of a predicate: `calls/predicate`, `image/meets`, and its place in `dependents/plan`.

pub mod change;
pub mod dependency;
pub mod dependents;
pub mod image;
pub mod looks;
