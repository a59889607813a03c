//! Pure logic: names, values, the catalog, calls, fills, jobs. No I/O, no clock, no Redis, no Postgres.
//!
//! ```text
//! locks inbox events
//!    \  |  /
//!    claims
//!      |
//! jobs   cache          cache uses changes; jobs use changes and feed
//!   \    /   \
//!   feed   changes
//!      \    /
//!      catalog -> calls -> sql, values      complete -> prove -> derive -> sql, values
//!                                          propose -> calls, sql, values
//!         \-> schedules, limits      metrics use calls      slots
//! ```
//! A room uses those that stand below it, and no file uses one that uses it: `tests/layers/` sees to it.

pub mod cache;
pub mod calls;
pub mod catalog;
pub mod changes;
pub mod claims;
pub mod complete;
pub mod derive;
pub mod events;
pub mod feed;
pub mod inbox;
pub mod jobs;
pub mod limits;
pub mod locks;
pub mod metrics;
pub mod propose;
pub mod prove;
pub mod schedules;
pub mod slots;
pub mod sql;
pub mod values;
