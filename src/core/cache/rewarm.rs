//! Kept warm: an entry that was asked for a moment ago and is dropped by a change is fetched again, for nobody.
//!
//! ```text
//!           asked                 dropped                due                      struck
//! (unknown) -----> asked for -----------------> waits -----------> being fetched --------> waits
//!                     ^   dropped long after       ^                    | ended
//!                     |   it was asked for: (unknown)                   v
//!                     '-------------------------------------------- asked for
//! ```
//! Invariants:
//! - an entry waits at most once, however many changes come;
//! - what nobody has asked for within its time is not fetched;
//! - between the beginnings of two fetches of one entry lies its pause. It doubles when nobody has asked between them, up to
//!   [`MAX_PAUSE`], and halves when somebody has: there are about two fetches for each time that one was of use, at most. After quiet
//!   it is none.
//!
//! Times count from one beginning, by a clock that never steps.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::time::Duration;

use super::index::Key;

/// The first pause that is one.
const LEAST_PAUSE: Duration = Duration::from_millis(50);
pub const MAX_PAUSE: Duration = Duration::from_secs(5);

/// Doublings up to the longest.
const STEPS: u8 = 8;

/// After so long without a fetch there is no flood, or after two pauses.
const QUIET: Duration = Duration::from_secs(1);

/// Entries that wait; more are left to who asks for them.
const MAX_WAITING: usize = 10_000;

#[derive(Debug)]
struct Asked {
    /// Bytes of the key that are the prefix of its space, colon included.
    prefix_len: usize,
    /// For so long after it was asked for it is fetched again.
    span: Duration,
    at: Duration,
    /// When it is to be fetched.
    due: Option<Duration>,
    /// When it was fetched for nobody last.
    fetched: Option<Duration>,
    /// Has anybody asked since?
    is_used: bool,
    step: u8,
}

/// All entries of queries that are kept warm, and that somebody has asked for.
#[derive(Debug, Default)]
pub struct Rewarm {
    /// A tree, for a map would hold the thread whenever it grows.
    asked: BTreeMap<Key, Asked>,
    waiting: BTreeSet<(Duration, Key)>,
    /// Tickets of fetches under way.
    fetching: BTreeSet<u64>,
    /// Removals in force that are of changes.
    removals: BTreeSet<u64>,
    /// Where [`Rewarm::sweep`] goes on.
    swept: Option<Key>,
}

fn pause(step: u8) -> Duration {
    match step {
        0 => Duration::ZERO,
        step => MAX_PAUSE.min(LEAST_PAUSE * (1 << (step - 1))),
    }
}

impl Asked {
    fn is_wanted(&self, now: Duration) -> bool {
        now <= self.at + self.span
    }

    /// When it may be fetched; tells the step by then.
    fn next(&self, now: Duration) -> (Duration, u8) {
        let Some(fetched) = self.fetched else { return (now, 0) };
        let step = if now >= fetched + QUIET.max(2 * pause(self.step)) {
            0
        } else if self.is_used {
            self.step.saturating_sub(1)
        } else {
            STEPS.min(self.step + 1)
        };
        (now.max(fetched + pause(step)), step)
    }
}

impl Rewarm {
    /// Is there nothing that might be fetched again?
    pub fn is_empty(&self) -> bool {
        self.asked.is_empty()
    }

    pub fn len(&self) -> usize {
        self.asked.len()
    }

    /// Notes that somebody has asked for an entry that is known here. False: it is not.
    pub fn ask(&mut self, key: &[u8], now: Duration) -> bool {
        let Some(asked) = self.asked.get_mut(key) else { return false };
        asked.at = now;
        asked.is_used = true;
        true
    }

    /// Begins to know an entry that somebody asks for, by its key, with the bytes of that which are its space's prefix.
    pub fn know(&mut self, key: Key, prefix_len: usize, span: Duration, now: Duration) {
        let asked = Asked { prefix_len, span, at: now, due: None, fetched: None, is_used: true, step: 0 };
        self.asked.insert(key, asked);
    }

    /// A change has dropped the entry, or struck its fetch.
    pub fn dropped(&mut self, key: &[u8], now: Duration) {
        let Some((known, asked)) = self.asked.get_key_value(key) else { return };
        if asked.due.is_some() {
            return;
        }
        if !asked.is_wanted(now) {
            self.asked.remove(key);
            return;
        }
        if self.waiting.len() >= MAX_WAITING {
            return;
        }
        let (key, (due, step)) = (known.clone(), asked.next(now));
        self.waiting.insert((due, key.clone()));
        if let Some(asked) = self.asked.get_mut(&key) {
            (asked.due, asked.step) = (Some(due), step);
        }
    }

    /// An entry whose time has come, and the bytes of its key that are the prefix of its space. It waits no more.
    pub fn take_due(&mut self, now: Duration) -> Option<(Key, usize)> {
        while self.waiting.first().is_some_and(|(due, _)| *due <= now) {
            let (_, key) = self.waiting.pop_first()?;
            let Some(asked) = self.asked.get_mut(&key) else { continue };
            asked.due = None;
            if asked.is_wanted(now) {
                let prefix_len = asked.prefix_len;
                return Some((key, prefix_len));
            }
            self.asked.remove(&key);
        }
        None
    }

    /// When the next entry is due.
    pub fn next_due(&self) -> Option<Duration> {
        self.waiting.first().map(|(due, _)| *due)
    }

    /// A fetch of the entry begins for nobody.
    pub fn begun(&mut self, key: &[u8], ticket: u64, now: Duration) {
        self.fetching.insert(ticket);
        if let Some(asked) = self.asked.get_mut(key) {
            (asked.fetched, asked.is_used) = (Some(now), false);
        }
    }

    /// A fetch has ended, whoever began it.
    pub fn ended(&mut self, ticket: u64) {
        self.fetching.remove(&ticket);
    }

    /// Fetches for nobody that are under way.
    pub fn fetching(&self) -> usize {
        self.fetching.len()
    }

    /// A removal begins that a change has brought.
    pub fn removal_begins(&mut self, id: u64) {
        if !self.is_empty() {
            self.removals.insert(id);
        }
    }

    /// A removal has taken an entry: if a change has brought it, the entry is dropped by that.
    pub fn taken(&mut self, by: u64, key: &[u8], now: impl FnOnce() -> Duration) {
        if !self.removals.is_empty() && self.removals.contains(&by) {
            self.dropped(key, now());
        }
    }

    pub fn removal_ended(&mut self, id: u64) {
        self.removals.remove(&id);
    }

    /// Looks at some entries, and forgets those that would not be fetched any more.
    pub fn sweep(&mut self, now: Duration, limit: usize) {
        let from = self.swept.take().map_or(Bound::Unbounded, Bound::Excluded);
        let mut looked = 0;
        let mut over = Vec::new();
        for (key, asked) in self.asked.range((from, Bound::Unbounded)).take(limit) {
            looked += 1;
            self.swept = Some(key.clone());
            let rests = asked.fetched.is_none_or(|fetched| now >= fetched + 2 * MAX_PAUSE);
            if asked.due.is_none() && !asked.is_wanted(now) && rests {
                over.push(key.clone());
            }
        }
        if looked < limit {
            self.swept = None;
        }
        for key in over {
            self.asked.remove(&key);
        }
    }

    /// Forgets everything; what is returned may be large.
    pub fn clear(&mut self) -> Rewarm {
        std::mem::take(self)
    }
}

#[cfg(test)]
mod tests;
