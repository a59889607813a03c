//! Live tests: the module in a real server, before a real Postgres. One file a concern.

#[path = "../support/mod.rs"]
mod support;

mod harness;
mod invalidate;
mod metadata;
mod query;
mod stampede;
