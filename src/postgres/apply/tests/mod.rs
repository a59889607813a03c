//! Batches against a private Postgres: exactly once, in order, and a bad job harms itself alone.

mod bad_jobs;
mod batches;
mod inbox;
mod ledger;
mod sections;
