//! The outbox: the change feed where Postgres may not decode its WAL. Triggers write what changes to a table, which is
//! polled.
//!
//! # Layout
//! `schema` makes the tables and functions (schema/outbox.sql), `tables` the triggers; `poll` reads what is new, and
//! `follow` is one life of the feed: it polls, tells, and has `clean` clean up.

mod clean;
mod follow;
mod poll;
mod relation;
mod schema;
mod tables;

pub(super) use follow::follow;
