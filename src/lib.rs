//! bear: a read-through query cache, a durable write queue and exact invalidation in front of Postgres, inside Redis.
//!
//! # Layout
//! Arrows point down only; `tests/layers/` checks it.
//!
//! | folder | what |
//! |---|---|
//! | `commands` | one file a command |
//! | `server` | the state on the main thread, settings, INFO, events |
//! | `keyspace` | entries and metadata in Redis |
//! | `workers` | the threads |
//! | `postgres` | connections and statements |
//! | `core` | names, catalog, calls, fills, the index: pure |
//! | `redis_api` | the module API; all unsafe code |

mod commands;
mod core;
mod failpoints;
mod keyspace;
mod mutations;
mod postgres;
mod redis_api;
mod server;
mod workers;

use redis_api::Context;

/// As MODULE LIST shows it: major * 10000 + minor * 100 + patch.
const VERSION: std::ffi::c_int = 100;

fn load(ctx: Context, args: &[String]) -> Result<(), String> {
    redis_api::install_logger();
    commands::register_all(ctx)?;
    server::start(ctx, args)
}

fn unload(ctx: Context) -> Result<(), String> {
    server::stop(ctx)
}

redis_api::entry_points!(c"bear", VERSION, load, unload);
