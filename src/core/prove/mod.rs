//! What a catalog says beside a query's SQL, compared with what was derived from the SQL.
//!
//! | file | what |
//! |---|---|
//! | `claims` | of each relation that the SQL reads, whether what is said of it drops all that its changes may concern |
//! | `listed` | where nothing is said of it, or only which of its rows are listed |
//! | `listing` | what lists hold of all that the SQL links to |
//! | `lists` | where they lack some for certain |
//! | `predicates` | where a predicate is said of it |
//! | `pages` | whether the bound of a page in it is that of the SQL |
//! | `ids` | columns that list rows, of the wrong relation |
//! | `jobs` | what jobs change beside the rows that they tell of |
//! | `prover` | what these ask of the rules: names, and how rules are linked |
//! | `proof` | what is asked, and what it comes to |
//! | `implied` | whether a row that a rule concerns meets a test of a predicate |
//! | `origins` | which column of which relation an expression is; arguments that the SQL compares otherwise than a predicate |
//! | `reads` | whether what a query says that it reads is all that its SQL reads |
//! | `spoken` | conditions in the catalog's words, for messages |
//!
//! It errs towards *declared*: an error is what leaves a stale answer for certain, *proven* what never does.

pub mod claims;
mod ids;
mod implied;
pub mod jobs;
mod listed;
pub mod listing;
mod lists;
pub mod origins;
mod pages;
mod predicates;
mod proof;
mod prover;
mod reads;
mod spoken;
#[cfg(test)]
mod tests;
