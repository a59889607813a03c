//! What a catalog says beside a query's SQL, compared with what was derived from the SQL.
//!
//! | file | what |
//! |---|---|
//! | `claims` | of each relation that the SQL reads, whether what is said of it drops all that its changes may concern |
//! | `implied` | whether a row that a rule concerns meets a test of a predicate |
//! | `origins` | which column of which relation an expression is; arguments that the SQL compares otherwise than a predicate |
//! | `spoken` | conditions in the catalog's words, for messages |
//!
//! It errs towards *declared*: an error is what leaves a stale answer for certain, *proven* what never does.

pub mod claims;
mod implied;
pub mod origins;
mod spoken;
#[cfg(test)]
mod tests;
