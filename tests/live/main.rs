//! Live tests: the module in a real server, before a real Postgres. A folder a concern, a file a question; README.md says where
//! a new test goes.

#[path = "../support/mod.rs"]
mod support;

// The program's own modules; tests of it are `proving`.
#[path = "../../prove/mod.rs"]
mod prove;

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
mod postgres;
mod propose;
mod proving;
mod schedules;
mod server;
