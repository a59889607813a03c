//! Live tests: the module in a real server, before a real Postgres. One file a concern.

#[path = "../support/mod.rs"]
mod support;

mod acl;
mod catalog;
mod clock;
mod cluster;
mod config;
mod crash;
mod docs;
mod drain_outage;
mod drain_roles;
mod examples;
mod explain;
mod fuzz;
mod harness;
mod identity;
mod info;
mod invalidate;
mod large;
mod limits;
mod lost_ledger;
mod metadata;
mod multi;
mod outage;
mod overload;
mod persistence;
mod poison;
mod policy;
mod query;
mod replica;
mod restore;
mod secrets;
mod stampede;
mod sweep;
mod tls;
mod unload;
