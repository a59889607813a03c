//! Connections: what to connect to, sessions and their pool.
//!
//! | file | what |
//! |---|---|
//! | `url`, `tls`, `hosts` | a connection string; certificates; several hosts, and which of them will do |
//! | `settings` | all that a connection needs, password and timeouts included |
//! | `pinned` | settings of a session that no role or database may change, and those that nobody may pin |
//! | `client` | a connection, each of whose waits ends at a deadline |
//! | `failure`, `error_text` | what an error means for a request; what is said of it |
//! | `pooled` | is a connection a session, or shared by a pooler? |
//! | `session` | a pinned connection with its prepared statements |
//! | `columns`, `shape` | what a query returns, and how it is wrapped so that Postgres makes the JSON |
//! | `schema` | the schema `bear`: made, and trusted only where nobody else could put things into it |
//! | `identity` | is it still the same server, of the same timeline? |
//! | `pool`, `scheduler` | sessions are handed out; while Postgres is away, calls fail at once |
//!
//! ```text
//! url -> settings -> client -> session -> pool: up -- a connection ends --> down, tried again ever more rarely --> up
//! ```
//! A new setting of sessions goes into `pinned`, with the version that brought it.

pub(super) mod client;
pub(super) mod columns;
pub(super) mod error_text;
pub(super) mod failure;
pub(super) mod hosts;
pub(super) mod identity;
pub(super) mod pinned;
pub(super) mod pool;
pub(super) mod pooled;
pub(super) mod scheduler;
pub(super) mod schema;
pub(super) mod session;
pub(super) mod settings;
pub(super) mod shape;
#[cfg(test)]
mod tests;
pub(super) mod tls;
pub(super) mod url;
