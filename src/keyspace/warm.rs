//! Entries that are kept warm: when which of them is to be fetched again is decided in [`crate::core::cache::rewarm`]; here is the
//! clock, and what the keyspace tells of removals.

use std::time::{Duration, Instant};

use super::Keyspace;
use crate::core::cache::index::{Concern, Key};
use crate::core::cache::rewarm::Rewarm;

pub struct Warm {
    policy: Rewarm,
    begun: Instant,
}

impl Default for Warm {
    fn default() -> Warm {
        Warm { policy: Rewarm::default(), begun: Instant::now() }
    }
}

impl Warm {
    fn now(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Notes that somebody has asked for an entry that is known here. False: it is not.
    pub fn ask(&mut self, key: &[u8]) -> bool {
        self.policy.ask(key, self.begun.elapsed())
    }

    /// A change has dropped the entry, or struck its fetch.
    pub fn dropped(&mut self, key: &[u8]) {
        if !self.policy.is_empty() {
            self.policy.dropped(key, self.begun.elapsed());
        }
    }

    /// See [`Rewarm::take_due`].
    pub fn take_due(&mut self) -> Option<(Key, usize)> {
        self.policy.take_due(self.begun.elapsed())
    }

    /// When the next entry is due.
    pub fn next_due(&self) -> Option<Instant> {
        self.policy.next_due().map(|due| self.begun + due)
    }

    pub fn begun(&mut self, key: &[u8], ticket: u64) {
        self.policy.begun(key, ticket, self.begun.elapsed());
    }

    pub fn ended(&mut self, ticket: u64) {
        self.policy.ended(ticket);
    }

    pub fn fetching(&self) -> usize {
        self.policy.fetching()
    }

    /// Entries that are known.
    pub fn len(&self) -> usize {
        self.policy.len()
    }

    /// Forgets some that would not be fetched any more.
    pub fn sweep(&mut self) {
        /// Looked at in one piece: less than a tenth of a millisecond.
        const SLICE: usize = 200;

        if !self.policy.is_empty() {
            self.policy.sweep(self.now(), SLICE);
        }
    }

    /// Forgets everything; what is returned may be large.
    pub fn clear(&mut self) -> impl Send + 'static {
        self.policy.clear()
    }

    pub(super) fn removal_begins(&mut self, id: u64, is_change: bool) {
        if is_change {
            self.policy.removal_begins(id);
        }
    }

    pub(super) fn taken(&mut self, by: u64, key: &[u8]) {
        let begun = self.begun;
        self.policy.taken(by, key, || begun.elapsed());
    }

    pub(super) fn removal_ended(&mut self, id: u64) {
        self.policy.removal_ended(id);
    }
}

/// Do entries go because rows or tags have changed?
pub(super) fn is_change_of(concern: &Concern) -> bool {
    match concern {
        Concern::Metas(_) | Concern::Rows { .. } | Concern::Space(_) => true,
        Concern::Tenants { .. } | Concern::Calls { .. } => false,
    }
}

impl Keyspace {
    /// Begins to know an entry that somebody asks for, by its key, with the bytes of that which are its space's prefix.
    pub fn know_asked(&mut self, key: &[u8], prefix_len: usize, span: Duration) {
        let key = self.index.key(key).cloned().unwrap_or_else(|| key.into());
        self.warm.policy.know(key, prefix_len, span, self.warm.begun.elapsed());
    }
}
