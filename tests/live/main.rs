//! Live tests: the module in a real server, before a real Postgres. One file a concern.

#[path = "../support/mod.rs"]
mod support;

mod acl;
mod appliers;
mod catalog;
mod clock;
mod cluster;
mod config;
mod docs;
mod enqueue;
mod examples;
mod explain;
mod fuzz;
mod harness;
mod identity;
mod info;
mod invalidate;
mod job_acl;
mod job_block;
mod job_caches;
mod job_control;
mod job_end;
mod job_examples;
mod job_fuzz;
mod job_order;
mod jobs;
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
mod secrets;
mod stampede;
mod sweep;
mod tenants;
mod tls;
mod unique;
mod unload;
