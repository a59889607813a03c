//! A catalog's statements tried against Postgres.
//!
//! | file | what |
//! |---|---|
//! | `validation` | what is asked, and what is answered |
//! | `validate` | the whole catalog: errors, warnings, and what its statements read |
//! | `trial` | one statement, prepared and planned but not run |
//! | `changes` | what a job changes and does not tell of |
//! | `reads` | the relations that it reads, by the locks that it takes |
//! | `tree` | the tree that Postgres has made of it |
//! | `proofs` | all queries derived, and what is said of them compared with it |
//! | `completion` | what a catalog leaves unsaid, in force with it |
//! | `facts` | what Postgres knows of all that trees name |
//!
//! A new check is a kind of statement in `validate`, and a line of the report.

mod changes;
mod completion;
mod facts;
mod proofs;
pub(super) mod reads;
#[cfg(test)]
mod tests;
mod tree;
pub(super) mod trial;
mod validate;
pub(super) mod validation;
