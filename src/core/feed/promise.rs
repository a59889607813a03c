//! Rows that a batch of jobs has changed and whose drop comes with the publication of its outcome: the change feed, which
//! hears of the same transaction, leaves them out. What else the transaction changed (by triggers, cascades, in tables
//! that its jobs did not report) the feed tells as it does of anybody's.
//!
//! ```text
//! applier, before its COMMIT: made -> open --the last space is published--> kept
//!                                      |  \--nobody publishes it any more--> broken
//! feed: a transaction with a promise -> its other rows are told
//!         kept    nothing more
//!         broken  the promised rows are told, too
//!         open    waited for; told after some time all the same: when in doubt, a row is dropped twice
//! ```
//! Rule: the feed says that all has been told only when no promise is open of what it has heard before. It is made before
//! the COMMIT is sent, so whoever hears of the transaction finds it; one of a transaction that is never heard of (rolled
//! back; of a table that nobody follows; the feed connected later) is forgotten after many others.
//!
//! A transaction is known by its id with its epoch and by when its server was started: after a failover the new server may
//! give the ids of lost transactions to others.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::promised_rows::PromisedRows;
use crate::core::catalog::Section;

/// Promises kept for the feed, and their rows together; of more the oldest are forgotten.
const MAX_PROMISES: usize = 256;
const MAX_ROWS: usize = 100_000;

/// Which transaction of which server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransactionId {
    /// When the server was started, as it writes it.
    pub server: Box<str>,
    /// With its epoch.
    pub xid: u64,
}

#[derive(Debug)]
pub struct Promise {
    of: TransactionId,
    /// What the numbers of the rows' sections mean.
    sections: Arc<[Section]>,
    rows: PromisedRows,
    state: AtomicU8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum PromiseState {
    Open,
    Kept,
    Broken,
}

/// Held by whoever will publish: dropped before it is kept, the promise is broken.
#[derive(Debug)]
pub struct Promised(Arc<Promise>);

/// Promises that the feed has not asked for yet. Shared by those who apply and the feed.
#[derive(Debug, Default)]
pub struct Promises {
    is_followed: AtomicBool,
    made: Mutex<VecDeque<Arc<Promise>>>,
}

impl Promise {
    pub fn rows(&self) -> &PromisedRows {
        &self.rows
    }

    pub fn state(&self) -> PromiseState {
        match self.state.load(Ordering::Acquire) {
            0 => PromiseState::Open,
            1 => PromiseState::Kept,
            _ => PromiseState::Broken,
        }
    }
}

impl Promised {
    /// All its rows have been dropped.
    pub fn keep(&self) {
        self.0.state.store(PromiseState::Kept as u8, Ordering::Release);
    }
}

impl Drop for Promised {
    fn drop(&mut self) {
        if self.0.state() == PromiseState::Open {
            self.0.state.store(PromiseState::Broken as u8, Ordering::Release);
        }
    }
}

impl Promises {
    /// Whether a feed follows: if not, nobody asks.
    pub fn set_followed(&self, is_followed: bool) {
        self.is_followed.store(is_followed, Ordering::Release);
        if !is_followed {
            self.made().clear();
        }
    }

    pub fn is_followed(&self) -> bool {
        self.is_followed.load(Ordering::Acquire)
    }

    /// To be called before the transaction's COMMIT is sent.
    pub fn make(&self, of: TransactionId, sections: Arc<[Section]>, rows: PromisedRows) -> Promised {
        let promise = Arc::new(Promise { of, sections, rows, state: AtomicU8::new(PromiseState::Open as u8) });
        let mut made = self.made();
        made.push_back(promise.clone());
        let mut rows: usize = made.iter().map(|promise| promise.rows.len()).sum();
        while made.len() > MAX_PROMISES || (rows > MAX_ROWS && made.len() > 1) {
            rows -= made.pop_front().map_or(0, |promise| promise.rows.len());
        }
        Promised(promise)
    }

    /// The promise of this transaction, for who has heard of it and follows the tables of `sections`. It is found once.
    /// One of another catalog, as a batch makes it that was under way at a reload, counts for nothing: its numbers of
    /// sections mean others.
    pub fn take(&self, server: &str, xid: u64, sections: &[Section]) -> Option<Arc<Promise>> {
        let mut made = self.made();
        let at = made.iter().position(|promise| promise.of.xid == xid && *promise.of.server == *server)?;
        made.remove(at).filter(|promise| are_numbered_alike(&promise.sections, sections))
    }

    fn made(&self) -> MutexGuard<'_, VecDeque<Arc<Promise>>> {
        // Each change is one operation on the queue, so it is whole whoever panics.
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A feed goes on with the sections that it has where another catalog has the same tables.
fn are_numbered_alike(one: &[Section], other: &[Section]) -> bool {
    std::ptr::eq(one, other) || one.iter().map(|section| &section.name).eq(other.iter().map(|section| &section.name))
}

/// Promises of transactions that the feed has heard of, until their state is known. `T` is what it takes to tell their rows.
pub struct Awaited<T> {
    open: VecDeque<Open<T>>,
    next: u64,
    patience: Duration,
}

struct Open<T> {
    number: u64,
    since: Instant,
    promise: Arc<Promise>,
    told_as: T,
}

impl<T> Awaited<T> {
    pub fn new(patience: Duration) -> Awaited<T> {
        Awaited { open: VecDeque::new(), next: 0, patience }
    }

    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Whoever was to be told forgets all that these rows may be in.
    pub fn clear(&mut self) {
        self.open.clear();
    }

    /// The transaction is visible and its other rows are being told. The promise comes back where its rows are to be told
    /// with them.
    pub fn add(&mut self, promise: Arc<Promise>, told_as: T, now: Instant) -> Option<Arc<Promise>> {
        match promise.state() {
            PromiseState::Kept => None,
            PromiseState::Broken => Some(promise),
            PromiseState::Open => {
                self.open.push_back(Open { number: self.next, since: now, promise, told_as });
                self.next += 1;
                None
            }
        }
    }

    /// Those whose rows are to be told after all; kept ones are forgotten.
    pub fn due(&mut self, now: Instant) -> Vec<(Arc<Promise>, T)> {
        let mut due = Vec::new();
        for open in std::mem::take(&mut self.open) {
            match open.promise.state() {
                PromiseState::Kept => {}
                PromiseState::Open if now.saturating_duration_since(open.since) < self.patience => {
                    self.open.push_back(open)
                }
                PromiseState::Open | PromiseState::Broken => due.push((open.promise, open.told_as)),
            }
        }
        due
    }

    /// Tells those that come later from those that have come.
    pub fn mark(&self) -> u64 {
        self.next
    }

    /// Is one open that came before the mark?
    pub fn has_before(&self, mark: u64) -> bool {
        self.open.front().is_some_and(|open| open.number < mark)
    }
}

#[cfg(test)]
mod tests;
