//! Rows that changed in Postgres: told by the change feed, by jobs, or by a client.
//!
//! | file | what |
//! |---|---|
//! | `follow` | what the change feed tells, and what is served while it is behind |
//! | `changes` | what changed rows concern goes |
//! | `changing` | rows whose present values are read, for a client that waits |
//!
//! ```text
//! off -> starting -> following -- lost --> withheld until it follows again (`core/feed/life`)
//! ```
//! A new thing that the feed tells is a `FeedOutcome` of `core/feed/rules`: `follow` takes it, `changes` drops what it concerns.

pub(in crate::server) mod changes;
pub(in crate::server) mod changing;
pub(in crate::server) mod follow;
