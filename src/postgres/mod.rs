//! Everything that speaks to Postgres: what to connect to, sessions, the pool, fetches, checks of a catalog.
//! Knows no Redis.
//!
//! # Layout
//! `url` reads a connection string; `settings` adds password, TLS (`tls`) and timeouts and makes a client of it;
//! `client` ends every wait at a deadline; `session` is one pinned connection with its prepared statements; `columns` and `shape` say what a query returns
//! and wrap it so that Postgres makes the JSON; `fetch` runs it; `pool` hands sessions out and fails fast while
//! Postgres is away, connecting on the threads of `scheduler`; `identity` tells whether it is still the same server; `validate` tries a whole catalog, each statement by `trial`; `error_text` is what is said of an error.
//!
//! Writing: `applier` keeps at a batch through outages; `apply` is one attempt, one transaction on a `writer`; `ledger` (tables: `schema`)
//! and `left_out` say what has been applied; `course` what the attempts at one batch have learned; `isolate` runs the statements on savepoints, `answer` reads what they return (`cells`),
//! and `tally` knows what has become of each job and which may still run.
//!
//! `feed` follows changes that others make.

mod answer;
mod applier;
mod apply;
mod cells;
mod client;
mod columns;
mod course;
mod error_text;
mod failure;
mod feed;
mod fetch;
mod hosts;
mod identity;
mod isolate;
mod json;
mod ledger;
mod left_out;
mod params;
mod pinned;
mod pool;
mod present;
mod reads;
mod rows;
mod scheduler;
mod schema;
mod session;
mod settings;
mod shape;
mod tally;
#[cfg(test)]
pub(crate) mod tests;
mod tls;
mod trial;
mod url;
mod validate;
mod witness;
mod writer;

pub use answer::JobStatement;
pub use applier::{Applier, ApplierControl, ApplierEvent};
pub use feed::FeedKind;
pub use feed::{follow, FeedControl, FeedError, FeedSettings};
pub use identity::ServerIdentity;
pub use pool::{stopping, Pool, PoolEvent, PoolFigures, Tracker};
pub use rows::PresentRequest;
pub use scheduler::{Scheduler, SchedulerWatch};
pub use settings::{check_url, mask, Settings, UrlSource};
pub use validate::{StatementKind, ValidateStatement, Validation, ValidationReport};
