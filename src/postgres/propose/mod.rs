//! A catalog proposed for the database that is connected to: what its text says is [`crate::core::propose`]'s.
//!
//! | file | what |
//! |---|---|
//! | `asked` | what is asked, and why nothing may come of it |
//! | `snapshot` | what Postgres knows of its relations, all at once |
//! | `reactions` | the triggers and rules of tables |
//! | `untold` | tables that the WAL's feed cannot follow |
//! | `zone` | the time zone that statements have elsewhere |
//! | `tables` | their catalog |
//! | `statement` | the lines of one query |
//! | `slow` | queries for the statements that cost most |
//! | `costs` | what `pg_stat_statements` says of statements |
//! | `describe` | a statement as Postgres understands it |
//! | `homes` | the section that a query stands in |
//! | `candidates` | queries tried beside the catalog in use |
//!
//! Each form of BEAR.PROPOSE is a variant of [`asked::Asked`], and a file here that answers it.

pub(super) mod asked;
mod candidates;
mod costs;
mod describe;
mod homes;
mod reactions;
mod slow;
mod snapshot;
mod statement;
mod tables;
mod untold;
mod zone;
