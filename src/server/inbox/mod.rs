//! The inbox: rows of `bear.inbox`, which applications write in their own transactions, become jobs; what becomes of these is told to
//! Postgres.
//!
//! | file | what |
//! |---|---|
//! | `note` | what is written, beside a job that begins, settles or goes on, of its row |
//!
//! **Invariants.** What Postgres is told stands in the keys first, in the unit that it is about, and goes once Postgres has committed
//! it. A job of the inbox that was read from the keys is withheld until Postgres has said that its row is open; one whose claim has
//! ended, until Postgres knows that this claim counts no more.

mod note;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

/// Everything about the inbox but its keys.
#[derive(Default)]
pub struct Inbox {
    /// Rows of which Postgres is to be told, and their spaces; what, stands in the keys.
    untold: VecDeque<(u64, Arc<str>)>,
    /// Spaces of whose rows some are in the keys alone.
    unread: BTreeSet<Arc<str>>,
    /// Jobs that were read from the keys: are their rows open?
    unverified: VecDeque<(u64, Arc<str>)>,
    /// Spaces where another hand has touched what rows have become.
    touched: BTreeSet<Arc<str>>,
}
