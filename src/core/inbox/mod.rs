//! The inbox: jobs that an application enqueues within its own transaction, in the table `bear.inbox`.
//!
//! | file | what |
//! |---|---|
//! | `row` | a row of the table, and why one is refused that could be no job |
//! | `snapshot` | what a snapshot of Postgres sees, and what the next one sees beside it |
//! | `tell` | what Postgres is to be told of a row |
//!
//! ```text
//!            Postgres: open ────────────── complete ──> done ─┐
//!                       │                                     v
//!  Redis: unknown ──> taken ──> settled, to be told ──> told: the row is gone, or failed
//! ```
//! **Invariant.** A row becomes a job only while it is open and Redis knows nothing of it; what Redis knows of it goes only
//! once Postgres has been told. So whichever of the two loses what it knew, the row's effect is there once: where both
//! remember nothing of an outcome, there was none. `model` tries every loss after every step.

#[cfg(test)]
mod model;
pub mod row;
pub mod snapshot;
pub mod tell;
