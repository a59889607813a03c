//! Pure logic: names, values, the catalog, calls, fills. No I/O, no clock, no Redis, no Postgres.

mod ambiguity;
pub mod belonging;
pub mod call;
pub mod calls;
mod canonical;
pub mod catalog;
pub mod catalog_toml;
mod datetime;
pub mod duration;
pub mod fetch;
pub mod fills;
pub mod fit;
pub mod glob;
pub mod index;
pub mod job;
mod job_toml;
pub mod keys;
pub mod metas;
pub mod names;
mod outline;
pub mod predicate;
mod query_toml;
pub mod sql;
pub mod tags;
mod toml_reader;
pub mod value;
pub mod word;
