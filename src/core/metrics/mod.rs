//! The figures that bear shows: one list, from which INFO, Prometheus' series and the table of the book are made.
//!
//! | file | what |
//! |---|---|
//! | `list` | every figure: its name in INFO, what it is, its series, its meaning |
//! | `metric` | what the list says of one |
//! | `figures` | values of them, as they are gathered |
//! | `histogram` | times, counted in buckets |
//! | `by_section` | counts of all spaces and of each section |
//! | `snapshot` | all of it at one moment |
//! | `health` | what is wrong, if anything |
//!
//! A new figure is a line in `list`, and its value where its part is gathered (`server/info.rs`, `server/metrics/`).

pub mod by_section;
pub mod figures;
pub mod health;
pub mod histogram;
pub mod list;
pub mod metric;
pub mod snapshot;
