//! Job types that Postgres refuses (class 42: its statement does not fit the tables), and who waits for them.
//!
//! ```text
//!            refused                        its time has come: who waits is woken
//!   taken ------------> paused until ... ----------------------------------------> tried
//!     ^                    ^   (500 ms, doubled up to 30 s)                          |  |
//!     |                    +--------------------- refused again ---------------------+  |
//!     +------------------------- accepted: who waits is woken --------------------------+
//! ```
//! Many batches with jobs of one type may be under way when it is first refused: what was sent before that was known
//! tells nothing new.
//!
//! Invariant: while anybody sleeps there is a type that is paused, and whenever the time of one comes, or it is accepted,
//! all are woken ([`Refusals::next_woken`]). Who finds that he can do nothing falls asleep again.

use std::collections::VecDeque;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::batch::JobError;

/// A refused type is tried again after this, twice as long each time, in milliseconds.
const MIN_DELAY_MS: u64 = 500;
const MAX_DELAY_MS: u64 = 30_000;

#[derive(Default)]
pub struct Refusals {
    types: FxHashMap<u32, Refused>,
    asleep: Vec<Arc<str>>,
    /// Those who were woken and have not been looked at yet, in lumps.
    woken: VecDeque<Vec<Arc<str>>>,
}

struct Refused {
    until_ms: u64,
    delay_ms: u64,
    error: JobError,
    /// The last batch that was sent before the refusal was known.
    sent: u64,
    /// Has its time come, so that who waited has been woken?
    is_tried: bool,
}

impl Refusals {
    /// A batch was refused for this type. `newest` is the last batch that was sent. True: that was not known.
    pub fn refuse(&mut self, kind: u32, batch: u64, newest: u64, now_ms: u64, error: JobError) -> bool {
        let old = self.types.get_mut(&kind);
        let delay_ms = match old {
            Some(old) if batch <= old.sent => {
                old.error = error;
                return false;
            }
            Some(old) => (old.delay_ms * 2).min(MAX_DELAY_MS),
            None => MIN_DELAY_MS,
        };
        let refused = Refused { until_ms: now_ms + delay_ms, delay_ms, error, sent: newest, is_tried: false };
        self.types.insert(kind, refused).is_none()
    }

    /// A job of this type was applied. True: it was refused before.
    pub fn accept(&mut self, kind: u32) -> bool {
        let was_refused = self.types.remove(&kind).is_some();
        if was_refused {
            self.wake();
        }
        was_refused
    }

    /// All may be taken, as far as anybody knows.
    pub fn clear(&mut self) {
        self.types.clear();
        self.wake();
    }

    pub fn is_paused(&self, kind: u32, now_ms: u64) -> bool {
        self.types.get(&kind).is_some_and(|refused| refused.until_ms > now_ms)
    }

    /// Until when; it may be over.
    pub fn until_ms(&self, kind: u32) -> Option<u64> {
        self.types.get(&kind).map(|refused| refused.until_ms)
    }

    /// Types that are paused.
    pub fn paused(&self, now_ms: u64) -> impl Iterator<Item = u32> + '_ {
        self.types.iter().filter(move |(_, refused)| refused.until_ms > now_ms).map(|(kind, _)| *kind)
    }

    /// Why it was refused last.
    pub fn error(&self, kind: u32) -> Option<&JobError> {
        self.types.get(&kind).map(|refused| &refused.error)
    }

    pub fn len(&self) -> usize {
        self.types.len()
    }

    /// Has somebody woken who has left-out jobs and can do nothing now. Where no type is paused that is not why.
    pub fn sleep(&mut self, name: &Arc<str>, now_ms: u64) -> bool {
        let may = self.paused(now_ms).next().is_some();
        if may {
            self.asleep.push(name.clone());
        }
        may
    }

    /// When the next type is tried again.
    pub fn next_due(&self) -> Option<u64> {
        self.types.values().filter(|refused| !refused.is_tried).map(|refused| refused.until_ms).min()
    }

    /// Wakes who waits for a type whose time has come.
    pub fn pass_time(&mut self, now_ms: u64) {
        let mut is_due = false;
        for refused in self.types.values_mut().filter(|refused| !refused.is_tried && refused.until_ms <= now_ms) {
            refused.is_tried = true;
            is_due = true;
        }
        if is_due {
            self.wake();
        }
    }

    /// The next who was woken.
    pub fn next_woken(&mut self) -> Option<Arc<str>> {
        while let Some(lump) = self.woken.front_mut() {
            if let Some(name) = lump.pop() {
                return Some(name);
            }
            self.woken.pop_front();
        }
        None
    }

    pub fn has_woken(&self) -> bool {
        self.woken.iter().any(|lump| !lump.is_empty())
    }

    /// Has these looked at, too.
    pub fn wake_also(&mut self, names: Vec<Arc<str>>) {
        self.woken.push_back(names);
    }

    fn wake(&mut self) {
        let asleep = std::mem::take(&mut self.asleep);
        self.wake_also(asleep);
    }
}

#[cfg(test)]
mod tests;
