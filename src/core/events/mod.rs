//! Events: what is published of jobs and entries, as compact JSON.
//!
//! | file | what |
//! |---|---|
//! | `job` | a job was enqueued, claimed, has settled, … |
//! | `fill` | a fetch ended for which somebody did not wait |
//! | `entry` | entries were stored, or are served no more |
//! | `text` | what is cut, and to what |
//!
//! A new event: a variant in `job` or `entry`, its row in `docs/reference/events.md`, and one line where it happens
//! (`src/server/events/`).

pub mod entry;
pub mod fill;
pub mod job;
pub mod text;
