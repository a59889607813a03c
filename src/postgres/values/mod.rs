//! Values on their way to Postgres and back, as text and as JSON.
//!
//! | file | what |
//! |---|---|
//! | `params` | types of parameters, and their texts |
//! | `cells` | a column's value as text, where it can be read |
//! | `json` | JSON from Postgres, made compact |
//!
//! A new type of the catalog: a line in `params`, and in `cells` where a job may return it.

pub(super) mod cells;
pub(super) mod json;
pub(super) mod params;
#[cfg(test)]
mod tests;
