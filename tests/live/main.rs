//! Live tests: the module in a real server, before a real Postgres. A folder a concern, a file a question; README.md says where
//! a new test goes.

#[path = "../support/mod.rs"]
mod support;

mod cache;
mod claims;
mod clients;
mod events;
mod faults;
mod feed;
mod harness;
mod inbox;
mod jobs;
mod locks;
mod propose;
mod schedules;
mod server;
