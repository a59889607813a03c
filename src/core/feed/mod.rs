//! The change feed: which rows of which sections a changed row of a table concerns, and what depends on the feed in which state.
//!
//! | file | what |
//! |---|---|
//! | `gathered` | which rows of which sections the changed rows of a table concern, by the rules of the table |
//! | `life` | the states of the change feed, and what depends on it |
//! | `link` | what a SELECT of `tables` means for the relations that it reads |
//! | `lock_pace` | how often and how long a lock on somebody's table is waited for |
//! | `promise` | rows that a batch of jobs has changed and whose drop comes with the publication of its outcome |
//! | `promised_rows` | rows that jobs changed and whose drop is promised, by section and tenant |
//! | `rules` | what the feed tells, and which rows a changed row of a table concerns |
//!
//! ```text
//! a change of a table -> rules -> gathered, but for what a promise covers -> outcome
//! off, starting, following, lost: `life`
//! ```
//!
//! A new form of `tables`: a source in `rules`, how it gathers in `gathered`, what a lost row means in `link`.

pub mod gathered;
pub mod life;
pub mod link;
pub mod lock_pace;
pub mod promise;
pub mod promised_rows;
pub mod rules;

pub use gathered::{BoundRules, Gathered, GatheredRows, GatheredSection};
pub use life::{Depends, FeedEvent, FeedLife, FeedState, Wanted};
pub use rules::*;

#[cfg(test)]
mod tests;
