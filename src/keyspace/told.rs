//! What is told of entries, for events: what was stored, and what is served no more and why. Nothing is noted while nobody wants to
//! know. A large removal is noted once it has taken everything, a note for each space, however many entries it took.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use crate::core::cache::glob;
use crate::core::cache::index::Key;
use crate::core::events::entry::{Cause, Gone, Stored};

/// Something that has happened to entries of one space.
pub enum Happened {
    Stored { stored: OwnedStored, prefix_len: usize },
    Gone { prefix: Box<[u8]>, cause: Rc<Cause>, gone: Gone, pattern: Box<[u8]> },
}

pub struct OwnedStored {
    key: Key,
    bytes: u64,
    rows: u32,
    ttl_ms: u64,
}

impl OwnedStored {
    pub fn as_stored(&self) -> Stored<'_> {
        Stored { key: &self.key, bytes: self.bytes, rows: self.rows, ttl_ms: self.ttl_ms }
    }
}

impl Happened {
    /// Of the keys of the space, without the colon.
    pub fn prefix(&self) -> &[u8] {
        match self {
            Happened::Stored { stored, prefix_len } => without_colon(&stored.key[..*prefix_len]),
            Happened::Gone { prefix, .. } => without_colon(prefix),
        }
    }
}

fn without_colon(prefix: &[u8]) -> &[u8] {
    prefix.strip_suffix(b":").unwrap_or(prefix)
}

/// A removal that takes entries.
struct Removal {
    cause: Rc<Cause>,
    /// What all of its keys match, where it is not all of their spaces.
    pattern: Option<Box<[u8]>>,
    /// By the prefix of the keys, with the colon.
    spaces: BTreeMap<Box<[u8]>, Gone>,
}

#[derive(Default)]
pub struct Told {
    is_on: bool,
    cause: Option<Rc<Cause>>,
    /// Large removals under way, by their number.
    removals: BTreeMap<u64, Removal>,
    happened: VecDeque<Happened>,
}

impl Told {
    pub fn set_on(&mut self, is_on: bool) {
        self.is_on = is_on;
        if !is_on {
            self.clear();
        }
    }

    pub fn clear(&mut self) {
        *self = Told { is_on: self.is_on, ..Told::default() };
    }

    /// What is removed from now on goes for this reason.
    pub fn because(&mut self, cause: impl FnOnce() -> Cause) {
        if self.is_on {
            self.cause = Some(Rc::new(cause()));
        }
    }

    pub fn forget_cause(&mut self) {
        self.cause = None;
    }

    /// The next that has happened.
    pub fn take(&mut self) -> Option<Happened> {
        self.happened.pop_front()
    }

    fn cause(&self, otherwise: Cause) -> Rc<Cause> {
        self.cause.clone().unwrap_or_else(|| Rc::new(otherwise))
    }

    pub(super) fn stored(&mut self, key: &Key, prefix_len: usize, bytes: usize, rows: u32, ttl_ms: u64) {
        if self.is_on {
            let stored = OwnedStored { key: key.clone(), bytes: bytes as u64, rows, ttl_ms };
            self.happened.push_back(Happened::Stored { stored, prefix_len });
        }
    }

    /// An entry goes by itself: for the reason of the removal that it is in the way of, or for a newer result.
    pub(super) fn dropped(&mut self, key: &[u8], prefix_len: usize) {
        if self.is_on {
            let cause = self.cause(Cause::Newer);
            self.gone(cause, None, [(&key[..prefix_len], one(key))].into_iter());
        }
    }

    /// A removal begins that is known by a number. `pattern` is what its keys match.
    pub(super) fn begins(&mut self, id: u64, pattern: Option<Box<[u8]>>) {
        if self.is_on {
            let cause = self.cause(Cause::Cold);
            self.removals.insert(id, Removal { cause, pattern, spaces: BTreeMap::new() });
        }
    }

    /// It has taken an entry.
    pub(super) fn took(&mut self, id: u64, key: &[u8], prefix_len: usize) {
        let Some(removal) = self.removals.get_mut(&id) else { return };
        let prefix = &key[..prefix_len];
        match removal.spaces.get_mut(prefix) {
            Some(gone) => gone.add(key),
            None => drop(removal.spaces.insert(prefix.into(), one(key))),
        }
    }

    /// It has taken everything.
    pub(super) fn ended(&mut self, id: u64) {
        if let Some(Removal { cause, pattern, spaces }) = self.removals.remove(&id) {
            self.gone(cause, pattern.as_deref(), spaces.iter().map(|(prefix, gone)| (&**prefix, gone.clone())));
        }
    }

    fn gone<'a>(&mut self, cause: Rc<Cause>, pattern: Option<&[u8]>, spaces: impl Iterator<Item = (&'a [u8], Gone)>) {
        self.happened.extend(spaces.map(|(prefix, gone)| Happened::Gone {
            prefix: prefix.into(),
            cause: cause.clone(),
            gone,
            pattern: pattern.map_or_else(|| pattern_of(prefix, None), Into::into),
        }));
    }
}

fn one(key: &[u8]) -> Gone {
    let mut gone = Gone::default();
    gone.add(key);
    gone
}

/// What the keys of a prefix (ending in `:`) match whose call part matches a pattern, or all of them.
pub(super) fn pattern_of(prefix: &[u8], pattern: Option<&[u8]>) -> Box<[u8]> {
    let mut out = Vec::with_capacity(prefix.len() + 1);
    glob::write_escaped(prefix, &mut out);
    out.extend_from_slice(pattern.unwrap_or(b"*"));
    out.into()
}
