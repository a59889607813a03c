//! Locks: one holder at a time, for a time, with a token that grows for ever; and who waits, first come, first served.
//!
//! | file | what |
//! |---|---|
//! | `holders` | who holds each lock, and who waits for it: the states |
//! | `record` | what a lock's key holds |
//!
//! Tokens are those of claims ([`crate::core::claims::token`]), drawn for each space.

pub mod holders;
pub mod record;
