//! Who holds each lock, who waits for it, and until when.
//!
//! ```text
//!                LOCK                          UNLOCK, or its time is over
//!       free ───────────> held, until a time ──────────────────────────────> free
//!                          │  EXTENDLOCK: until another time                  ^
//!                          │  LOCK … WAIT: one more waits                     │ all who waited have gone
//!                          │ UNLOCK, or its time is over, and somebody waits  │
//!                          └─────────────> due ───────────────────────────────┘
//!                                           └─ the first who waits ──> held, with a greater token
//!  (any) ── another hand, flush, load, promotion ──> unread ── its key is looked at ──> free, held, due, strange
//! ```
//! Of what is free, or unread, and waited for by nobody nothing is known here: its key is looked at first. A *strange* lock is one
//! whose place somebody else's key has taken: nobody gets it.
//!
//! Invariants, whatever happens in whatever order:
//! - A lock has one holder at most, from the moment of its grant until its time is over or it gives it back.
//! - It is granted to who came first of those that wait. Who comes while somebody waits comes behind him.
//! - A holder's token is what he needs to give it back or extend it; any other changes nothing.
//!
//! Times are those of a monotonic clock, in microseconds.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A lock's key.
pub type Name = Arc<[u8]>;

/// Number of a waiting client; who came first has the least.
pub type Ticket = u64;

/// Who holds a lock, by his token, and until when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hold {
    pub token: u64,
    pub until_us: u64,
    /// For how long it was taken, or extended.
    pub ms: u64,
}

/// What a lock's key says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    Nothing,
    Held(Hold),
    /// Somebody else's.
    Strange,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Unread,
    Free,
    Held(Hold),
    Strange,
}

#[derive(Debug)]
struct Lock {
    state: State,
    line: BTreeSet<Ticket>,
}

impl Lock {
    /// May the first who waits have it now?
    fn is_due(&self) -> bool {
        !self.line.is_empty() && matches!(self.state, State::Unread | State::Free)
    }

    /// Is it as good as unknown?
    fn is_needless(&self) -> bool {
        self.line.is_empty() && !matches!(self.state, State::Held(_))
    }
}

/// Trees, for maps would hold the thread whenever they grow.
#[derive(Debug, Default)]
pub struct Locks {
    locks: BTreeMap<Name, Lock>,
    /// When the time of each that is held is over.
    ends: BTreeSet<(u64, Name)>,
    due: BTreeSet<Name>,
    waiting: BTreeMap<Ticket, Name>,
}

impl Locks {
    /// Must its key be looked at before anything relies on what is known of it?
    pub fn is_unread(&self, name: &[u8]) -> bool {
        self.locks.get(name).is_none_or(|lock| matches!(lock.state, State::Unread | State::Strange))
    }

    /// Its key was looked at.
    pub fn found(&mut self, name: &Name, found: Found) {
        let state = match found {
            Found::Nothing => State::Free,
            Found::Held(hold) => State::Held(hold),
            Found::Strange => State::Strange,
        };
        self.enter(name, state);
    }

    /// May who comes now have it at once? Its key was looked at.
    pub fn may_take(&self, name: &[u8], now_us: u64) -> bool {
        self.locks.get(name).is_none_or(|lock| match lock.state {
            _ if !lock.line.is_empty() => false,
            State::Free => true,
            State::Held(hold) => hold.until_us <= now_us,
            State::Unread | State::Strange => false,
        })
    }

    /// It is granted.
    pub fn hold(&mut self, name: &Name, hold: Hold) {
        self.enter(name, State::Held(hold));
    }

    /// Somebody waits for it, behind all others.
    pub fn wait(&mut self, name: &Name, ticket: Ticket) {
        let lock = self.locks.entry(name.clone()).or_insert(Lock { state: State::Unread, line: BTreeSet::new() });
        lock.line.insert(ticket);
        self.waiting.insert(ticket, name.clone());
        self.note_due(name);
    }

    /// Somebody waits no more: he has it, has gone, or has waited long enough.
    pub fn leave(&mut self, ticket: Ticket) {
        let Some(name) = self.waiting.remove(&ticket) else { return };
        if let Some(lock) = self.locks.get_mut(&name) {
            lock.line.remove(&ticket);
        }
        self.note_due(&name);
    }

    /// Gives it back. False: the token does not hold it.
    pub fn release(&mut self, name: &Name, token: u64, now_us: u64) -> bool {
        let holds = self.held(name, now_us).is_some_and(|hold| hold.token == token);
        if holds {
            self.enter(name, State::Free);
        }
        holds
    }

    /// Its time ends at another moment. False: the token does not hold it.
    pub fn extend(&mut self, name: &Name, to: Hold, now_us: u64) -> bool {
        let holds = self.held(name, now_us).is_some_and(|hold| hold.token == to.token);
        if holds {
            self.enter(name, State::Held(to));
        }
        holds
    }

    /// Who holds it.
    pub fn held(&self, name: &[u8], now_us: u64) -> Option<Hold> {
        match self.locks.get(name)?.state {
            State::Held(hold) if hold.until_us > now_us => Some(hold),
            _ => None,
        }
    }

    /// One whose time is over: it is free, or due, from now on.
    pub fn end_next(&mut self, now_us: u64) -> Option<(Name, Hold)> {
        let (_, name) = self.ends.first().filter(|(until_us, _)| *until_us <= now_us)?;
        let name = name.clone();
        // What ends is held: `enter` keeps both in step.
        let State::Held(hold) = self.locks.get(&name)?.state else { return None };
        self.enter(&name, State::Free);
        Some((name, hold))
    }

    /// When the next one's time is over.
    pub fn next_end_us(&self) -> Option<u64> {
        self.ends.first().map(|(until_us, _)| *until_us)
    }

    /// One that the first who waits for it may have, unless its key, if that is unread, says otherwise.
    pub fn next_due(&self) -> Option<(Name, Ticket)> {
        let name = self.due.first()?;
        Some((name.clone(), *self.locks.get(name)?.line.first()?))
    }

    /// Another hand has touched its key.
    pub fn touched(&mut self, name: &[u8]) {
        if let Some((name, _)) = self.locks.get_key_value(name) {
            self.enter(&name.clone(), State::Unread);
        }
    }

    /// The keys may all be others: who waits goes on waiting. Returns what was known; it may be large.
    pub fn forget_all(&mut self) -> Locks {
        let before = std::mem::take(self);
        for (ticket, name) in &before.waiting {
            self.wait(name, *ticket);
        }
        before
    }

    pub fn held_len(&self) -> usize {
        self.ends.len()
    }

    pub fn waiting_len(&self) -> usize {
        self.waiting.len()
    }

    fn enter(&mut self, name: &Name, state: State) {
        match self.locks.get_mut(name) {
            Some(lock) => {
                if let State::Held(hold) = std::mem::replace(&mut lock.state, state) {
                    self.ends.remove(&(hold.until_us, name.clone()));
                }
            }
            None => drop(self.locks.insert(name.clone(), Lock { state, line: BTreeSet::new() })),
        }
        if let State::Held(hold) = state {
            self.ends.insert((hold.until_us, name.clone()));
        }
        self.note_due(name);
    }

    /// Keeps `due` what it is, and forgets what is as good as unknown.
    fn note_due(&mut self, name: &Name) {
        let Some(lock) = self.locks.get(name) else { return };
        if lock.is_due() {
            self.due.insert(name.clone());
        } else if !self.due.is_empty() {
            self.due.remove(name);
        }
        if lock.is_needless() {
            self.locks.remove(name);
        }
    }
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
