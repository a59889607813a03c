//! A catalog proposed for the database that is connected to: what its text says is [`crate::core::propose`]'s.
//!
//! | file | what |
//! |---|---|
//! | `asked` | what is asked, and why nothing may come of it |
//! | `snapshot` | what Postgres knows of its relations, all at once |
//! | `tables` | their catalog |
//!
//! Each form of BEAR.PROPOSE is a variant of [`asked::Asked`], and a file here that answers it.

pub(super) mod asked;
mod snapshot;
mod tables;
