//! Live tests: the module in a real server, before a real Postgres. One file a concern.

#[path = "../support/mod.rs"]
mod support;

mod clock;
mod fuzz;
mod harness;
mod identity;
mod invalidate;
mod large;
mod limits;
mod metadata;
mod multi;
mod outage;
mod overload;
mod persistence;
mod policy;
mod query;
mod replica;
mod stampede;
mod sweep;
mod unload;
