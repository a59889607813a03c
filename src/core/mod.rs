//! Pure logic: names, values, the catalog, calls, fills. No I/O, no clock, no Redis, no Postgres.

mod ambiguity;
pub mod call;
pub mod calls;
mod canonical;
mod datetime;
pub mod fetch;
pub mod glob;
pub mod predicate;
pub mod sql;
pub mod tags;
pub mod value;
pub mod word;
