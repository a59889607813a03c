//! The lines of one query, from a statement as an application sends it.
//!
//! | file | what |
//! |---|---|
//! | `pieces` | the statement as tokens that know where they stand |
//! | `casts` | casts beside parameters |
//! | `roles` | what a parameter is compared with, and how |
//! | `relations` | what the statement names in FROM |
//! | `draft` | its parameters: `$1`, `{name}`, lists in IN, counts in LIMIT |
//! | `columns` | names of the result's columns |
//! | `names` | names of arguments, and a call that is made of them |
//! | `foreign` | parameters as other databases and drivers write them |
//! | `given` | a call that somebody wants |
//! | `proposal` | the statement with `{name}` for its parameters |
//! | `lines` | the lines of TOML |
//!
//! ```text
//! statement -> draft -> probe: Postgres tells the parameters' types and the columns -> proposal -> lines
//! ```
//!
//! Invariant: what is proposed answers the same rows in the same order as the statement, with the same values in the same
//! columns; only names of columns are others, where two have the same.

mod casts;
mod columns;
mod draft;
mod foreign;
mod given;
mod lines;
mod names;
mod pieces;
mod proposal;
mod relations;
mod roles;
#[cfg(test)]
mod tests;

pub use columns::{Naming, ResultColumn};
pub use draft::Draft;
pub use lines::{Home, Lines};
pub use names::is_told_apart;
pub use proposal::{ParameterType, Proposal};

/// Why no lines can be made of a statement.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("the statement is empty")]
    Empty,
    #[error("the statement is longer than 256 KB")]
    TooLong,
    #[error("a literal, a quoted name or a comment is not closed, or the statement has names in U&\"\", which are not read here")]
    Unclosed,
    #[error("brackets are not closed, or closed twice")]
    Brackets,
    #[error("more follows the ';': one statement, please")]
    Several,
    #[error("the statement changes rows ({0}); bear caches what reads")]
    Writes(String),
    #[error("the statement locks rows (FOR UPDATE, or a kin of it); bear caches what reads")]
    Locks,
    #[error("a query is a SELECT, and this begins with {0}")]
    NoSelect(String),
    #[error("the statement has more than 300 parameters")]
    TooManyParameters,
    #[error("{{{name}}} is {ty}, which no client can type")]
    NoType { name: String, ty: String },
    #[error("CALL: {0}")]
    Call(String),
}
