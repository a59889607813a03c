//! Everything that speaks to Postgres: what to connect to, sessions, the pool, fetches, checks of a catalog.
//! Knows no Redis.
//!
//! # Layout
//! `url` reads a connection string; `settings` adds password, TLS (`tls`) and timeouts and makes a client of it;
//! `client` ends every wait at a deadline; `session` is one pinned connection with its prepared statements; `columns` and `shape` say what a query returns
//! and wrap it so that Postgres makes the JSON; `fetch` runs it; `pool` hands sessions out and fails fast while
//! Postgres is away, connecting on the threads of `scheduler`; `identity` tells whether it is still the same server; `validate` tries a whole catalog.

mod cells;
mod client;
mod columns;
mod failure;
mod fetch;
mod identity;
mod json;
mod params;
mod pool;
mod scheduler;
mod session;
mod settings;
mod shape;
#[cfg(test)]
pub(crate) mod tests;
mod tls;
mod url;
mod validate;

pub use identity::ServerIdentity;
pub use pool::{stopping, Pool, PoolEvent, PoolFigures, Tracker};
pub use scheduler::{Scheduler, SchedulerWatch};
pub use settings::{check_url, mask, Settings, UrlSource};
pub use validate::{StatementKind, ValidateStatement, Validation, ValidationReport};
