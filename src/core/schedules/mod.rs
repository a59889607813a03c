//! Schedules: when a job is enqueued, or a query fetched, again and again.
//!
//! | file | what |
//! |---|---|
//! | `zone` | time zones by name |
//! | `rule` | which moments are ticks: a cron expression, or every so often |
//! | `definition` | a schedule: its rule, its bounds, what is done at a tick; as it is stored |
//! | `state` | how far it has come; as it is stored |
//! | `due` | what is to be done now, after a downtime, too |
//!
//! ```text
//! catalog, command, key -> definition --\
//!                              state ----+--> due: nothing until the next tick, a tick, or ticks to be passed over
//!                               now -----/
//! ```
//! **Words.** A *tick* is a moment at which a schedule is due; a tick is *dealt with* once it was carried out or passed over, and
//! never looked at again. A new option of a schedule: a field in `definition`, and what it changes in `due`.

pub mod definition;
pub mod due;
pub mod rule;
pub mod state;
pub mod zone;
