//! What the thread of the inbox is asked, and what it tells.

use std::sync::Arc;

use crate::core::catalog::Section;
use crate::core::inbox::row::InboxRow;
use crate::core::inbox::tell::{Telling, ToldAs};
use crate::postgres::{Owned, Settled};

/// What is asked while there is no connection is asked of the next one, but for what [`InboxOutcome::Down`] says.
#[derive(Debug)]
pub enum InboxRequest {
    /// Take over the rows of these sections from now on, as the data set with that number. Rows are told of no section before;
    /// the same again changes nothing.
    Own {
        owner: i64,
        /// For people: where it runs, such as `host:6379`.
        name: Box<str>,
        sections: Arc<[Section]>,
    },
    /// The rows with these ids, of one [`InboxOutcome::Ids`]: each is answered by one of these, perhaps of none.
    Fetch(Vec<u64>),
    /// What has become of these rows?
    Verify(Vec<u64>),
    /// All open rows of a space, once more; [`InboxOutcome::Listed`] ends them.
    Rescan { space: Box<str> },
    /// A later one of the same row replaces one that has not been told yet.
    Tell(Vec<(u64, Telling)>),
}

#[derive(Debug)]
pub enum InboxOutcome {
    /// Connected, and the table is there. What is owned comes next, and then all open rows of it, up to
    /// [`InboxOutcome::Listed`].
    Up,
    /// No connection, or no table where there must be one. What was asked and has not been answered will not be: Fetch,
    /// Verify, Rescan and Tell are forgotten.
    Down { error: String },
    /// There is no table, and none is to be made: as long as that is so nothing else is told. Asked again every 10 s.
    Absent,
    /// Of each section whose standing is another than told before; of all of them after an Up and an Own.
    Owned(Vec<(Box<str>, Owned)>),
    /// Open rows of owned sections that are too many to be read at once, or a listing: in the order in which they are to be
    /// taken. Waits for a Fetch.
    Ids(Vec<(u64, Arc<str>)>),
    /// End of a listing: after an Up, a Rescan (then the space), or where sections have come to be ours.
    Listed { space: Option<Box<str>> },
    /// Open rows, in the order in which they are to be taken; up to 500, and about 1 MB.
    Rows(Vec<InboxRow>),
    /// Rows that are open no more: found completed, or what a Verify has found.
    Settled(Vec<(u64, Settled)>),
    /// All that is to be told of a Verify has been told; its ids.
    Verified(Vec<u64>),
    /// A row that somebody's open transaction holds is told of later.
    Told(Vec<(u64, Telling, ToldAs)>),
}
