//! Reading: a query's result as JSON, and the present values of rows.
//!
//! | file | what |
//! |---|---|
//! | `fetch` | one fetch: sent, read row by row, wrapped, measured |
//! | `rows` | present values of rows that a client says have changed |
//!
//! An error here is the query's own unless the connection ended and others fail as well: `connect/failure` tells.

pub(super) mod fetch;
pub(super) mod rows;
#[cfg(test)]
mod tests;
