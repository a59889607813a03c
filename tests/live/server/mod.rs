//! The module as a whole: settings, catalog, INFO, users and rights, TLS, loading and unloading, a cluster, how long it holds Redis'
//! thread, and what it says of itself (COMMAND DOCS, the book).

mod acl;
mod aside;
mod book;
mod catalog;
mod cluster;
mod config;
mod docs;
mod failover;
mod fuzz;
mod growing;
mod holds;
mod info;
mod metrics;
mod names;
mod proofs;
mod redis_cli;
mod resharding;
mod rights;
mod secrets;
mod slot_load;
mod takeover;
mod tls;
mod tombstones;
mod trees;
mod unblock;
mod unload;
mod whole_slots;
