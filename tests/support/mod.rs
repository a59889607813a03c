//! Servers for the live tests: private Redis and Postgres processes, connections whose bytes a test can see, and ways
//! to hold a query still. Nothing here sleeps to hide a race: tests wait on conditions (`wait`) and gates (`database`).
//!
//! ```text
//! Postgres::shared() ── database(schema) ─> Database ── close_gate(), executions(text), client(), url()
//! Postgres::start()  ── a cluster of one's own: stop_fast(), stop_immediate(), start_again(), copy_data(), restore_data()
//! PgBouncer::before(&postgres, "transaction", "") ── url(&database), run("PAUSE"), restart()
//! Proxy::to(port)    ── cut(), stall(), resume() what goes through it; hold(), release() one message
//! Redis::builder() … start() ─> Redis ── wire(), client(), aof(), replication_stream(), info("bear"), restart(), kill9(), copy_data(), restore_data()
//! Network::try_new(n) ── place(0) for Builder::at(…), cut(0), join(0)
//! Cluster::start(n, |_| Redis::builder()…) ─> Cluster ── node(0), client(), move_slot(slot, 0, 1), begin_move(…), move_keys(…), end_move(…)
//! ```
//!
//! Environment: `BEAR_TEST_SERVER` (a redis-server or valkey-server), `BEAR_TEST_MODULE` (the module's library),
//! `BEAR_TEST_POSTGRES_BIN` (the folder of `initdb` and `postgres`), `BEAR_TEST_PGBOUNCER` (a pgbouncer).

#![allow(dead_code, unused_imports)] // a toolbox: what no test needs today, one will tomorrow

pub mod aof;
pub mod bears;
pub mod claims;
pub mod clock;
pub mod cluster;
pub mod database;
pub mod feed;
pub mod guardian;
pub mod hostile;
pub mod http;
pub mod inbox;
pub mod info;
pub mod jobs;
pub mod keyspace_model;
pub mod languages;
pub mod load;
pub mod locks;
pub mod markdown;
pub mod marked;
pub mod netns;
pub mod one_client;
pub mod pgbouncer;
pub mod postgres;
pub mod process;
pub mod proxy;
pub mod random;
pub mod replication;
pub mod server;
pub mod standby;
pub mod wait;
pub mod wire;

pub use aof::{Command, Unit};
pub use clock::Clock;
pub use cluster::{Cluster, ClusterClient};
pub use database::{Database, Gate};
pub use info::Info;
pub use keyspace_model::KeyspaceModel;
pub use load::{burst, StopAtEnd};
pub use netns::Network;
pub use pgbouncer::PgBouncer;
pub use postgres::Postgres;
pub use proxy::{Proxy, Verdict};
pub use random::Random;
pub use replication::ReplicationStream;
pub use server::Redis;
pub use wait::{eventually, stays, wait_at_most, wait_for};
pub use wire::{Reply, Wire};
