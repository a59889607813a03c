//! Large removals under way.
//!
//! ```text
//! in force ──take, a slice a time──> nothing of it in the index ──UNLINK, a slice a time──> carried out
//!    │                                       │
//!    └ tombstone; the count is told, if known └ the count is told, at the latest
//! ```
//! A hit is compared with all that are in force, so that there are few. One more that a client waits for is in force when
//! it has its turn; one that cannot wait is put in force as one of its whole space.
//!
//! Taking touches no key: a hundred thousand entries are taken in the time in which Redis removes ten thousand. What an
//! entry has been stored under since is not removed, and no slice is long, whatever it is of.

use std::sync::Arc;

use super::remove::{pattern_of, NamedSet, Outcome, Pace, What, AT_ONCE};
use super::{store, warm, watch, Keyspace};
use crate::core::cache::index::{Concern, Key, Taken};
use crate::core::changes::change::Changes;
use crate::core::changes::changed_sets::ChangedSets;
use crate::redis_api::Context;

/// Changed rows that one slice looks up.
const ROWS_SLICE: usize = 16;

/// Entries of the index that one slice looks at.
const SLICE: usize = 32;

/// Keys of one UNLINK.
const UNLINKED: usize = 64;

/// Removals in force at a time, but for those that nobody waits for.
const MAX_IN_FORCE: usize = 8;

/// A removal that waits for its turn to be in force, and a client for it.
pub(super) struct InTurn {
    id: u64,
    what: OwnedWhat,
}

/// A [`What`] that many entries may be of.
enum OwnedWhat {
    Metas(Box<[Box<[u8]>]>),
    Rows { sets: Arc<ChangedSets>, changes: Arc<Changes> },
    Calls { prefix: Box<[u8]>, pattern: Option<Box<[u8]>> },
}

impl OwnedWhat {
    fn of(what: &What) -> OwnedWhat {
        match what {
            What::Metas(sets) => OwnedWhat::Metas((*sets).into()),
            What::Rows { sets, changes } => OwnedWhat::Rows { sets: (*sets).clone(), changes: (*changes).clone() },
            What::Calls { prefix, pattern } => {
                OwnedWhat::Calls { prefix: (*prefix).into(), pattern: pattern.map(Into::into) }
            }
            What::Space(prefix) => OwnedWhat::Calls { prefix: [*prefix, b":"].concat().into(), pattern: None },
            What::Key(key) => OwnedWhat::Calls { prefix: (*key).into(), pattern: Some(Box::default()) },
        }
    }

    fn what(&self) -> What<'_> {
        match self {
            OwnedWhat::Metas(sets) => What::Metas(sets),
            OwnedWhat::Rows { sets, changes } => What::Rows { sets, changes },
            OwnedWhat::Calls { prefix, pattern } => What::Calls { prefix, pattern: pattern.as_deref() },
        }
    }
}

/// A removal that has not taken all of its entries out of the index.
pub(super) struct Large {
    pub(super) id: u64,
    source: Source,
    taken: u64,
    /// What it is about where nobody waits for it.
    pub(super) invalidates: Option<Concern>,
}

/// Where the candidates come from.
enum Source {
    /// Metadata sets, the last from a cursor on.
    Sets { sets: Vec<Box<[u8]>>, cursor: Key, changes: Option<Arc<Changes>> },
    /// Calls in which changed rows may belong, from one row on.
    Rows { changes: Arc<Changes>, at: usize },
    /// The index, from a key on.
    Index { from: Option<Key> },
}

impl Keyspace {
    /// In force when it is answered, carried out in slices. `count` is how many entries it takes, where that is known.
    pub(super) fn remove_later(&mut self, ctx: Context, what: &What, count: Option<u64>, pace: Pace) -> Outcome {
        let is_full = self.large.len() >= MAX_IN_FORCE;
        match (count, pace) {
            (None, Pace::InSlices) if is_full => {
                let id = self.index.next_removal();
                self.told.begins(id, pattern_of(what));
                self.warm.removal_begins(id, what.is_change());
                self.in_turn.push_back(InTurn { id, what: OwnedWhat::of(what) });
                Outcome::Pending(id)
            }
            (None, Pace::AtOnce) if is_full => Outcome::Removed(self.remove_whole(ctx, what)),
            _ => {
                let id = self.index.next_removal();
                self.told.begins(id, pattern_of(what));
                self.warm.removal_begins(id, what.is_change());
                self.begin(ctx, id, what);
                match (count, pace) {
                    (Some(count), _) => Outcome::Removed(count),
                    (None, Pace::InSlices) => Outcome::Pending(id),
                    (None, Pace::AtOnce) => Outcome::Removed(self.index.count_all(id)),
                }
            }
        }
    }

    /// Removes the whole space of what is to go. Returns how many entries that is alone.
    fn remove_whole(&mut self, ctx: Context, what: &What) -> u64 {
        let id = self.index.begin_removal(self.concern_of(what));
        let count = self.index.count_all(id);
        self.index.end_removal(id);
        let all_of = |set: &[u8]| Some(Concern::Space(set[..watch::named(set)?.prefix_len - 1].into()));
        let concern = match what {
            What::Metas(sets) => sets.first().and_then(|set| all_of(set)),
            What::Rows { sets, .. } => sets.names().next().and_then(all_of),
            What::Calls { prefix, .. } => Some(Concern::Calls { prefix: (*prefix).into(), pattern: None }),
            What::Space(prefix) => Some(Concern::Space((*prefix).into())),
            What::Key(_) => Some(self.concern_of(what)),
        };
        if !self.outside_commands {
            self.raise_tombstone(ctx);
        }
        self.invalidate_later(concern.unwrap_or(Concern::Calls { prefix: Box::default(), pattern: None }));
        count
    }

    /// Puts those in force that have waited for their turn, as far as there is room.
    fn begin_those_in_turn(&mut self, ctx: Context) {
        while self.large.len() < MAX_IN_FORCE {
            let Some(InTurn { id, what }) = self.in_turn.pop_front() else { return };
            self.begin(ctx, id, &what.what());
        }
    }

    fn begin(&mut self, ctx: Context, id: u64, what: &What) {
        self.index.put_in_force(id, self.concern_of(what));
        let of_sets = |listed: Vec<NamedSet>, changes| Source::Sets {
            sets: listed.into_iter().map(|(_, set)| set.into()).collect(),
            cursor: b"0"[..].into(),
            changes,
        };
        let source = match what {
            _ if self.outside_commands => Source::Index { from: None },
            What::Metas(sets) => of_sets(self.listed(sets), None),
            What::Rows { sets, changes } => of_sets(self.index.concerned_sets(sets), Some((*changes).clone())),
            _ => Source::Index { from: None },
        };
        // The tombstone stands in the reply's own unit.
        if !self.outside_commands {
            self.raise_tombstone(ctx);
        }
        self.large.push_back(Large { id, source, taken: 0, invalidates: None });
    }

    /// Puts a removal in force without a context to write with: from an event's handler. One of the same entries that
    /// is under way takes what has been stored since, instead of a second one: a flood of events is one removal.
    pub(super) fn invalidate_later(&mut self, mut concern: Concern) {
        /// More than these are one of everything: each hit is compared with all of them.
        const MAX_LATER: usize = 64;

        if self.large.iter().filter(|large| large.invalidates.is_some()).count() >= MAX_LATER {
            concern = Concern::Calls { prefix: Box::default(), pattern: None };
        }
        if let Some(large) =
            self.large.iter_mut().find(|large| large.invalidates.as_ref().is_some_and(|known| known.repeats(&concern)))
        {
            self.index.extend_removal(large.id);
            self.warm.removal_begins(large.id, warm::is_change_of(&concern));
            large.source = Source::Index { from: None };
            return;
        }
        let id = self.index.begin_removal(concern.clone());
        self.told.begins(id, None);
        self.warm.removal_begins(id, warm::is_change_of(&concern));
        self.large.push_back(Large { id, source: Source::Index { from: None }, taken: 0, invalidates: Some(concern) });
    }

    /// An entry that a removal under way was to take is overwritten: it is gone, too. False: no removal was to take it.
    pub(super) fn count_overwritten(&mut self, key: &[u8]) -> bool {
        let Some(id) = self.index.taken_by(key) else { return false };
        self.count_taken(id);
        if let Some(entry) = self.index.stored(key) {
            self.told.took(id, key, entry.prefix_len());
        }
        true
    }

    /// An entry that this removal was the first to be about is in the index no more.
    pub(super) fn count_taken(&mut self, id: u64) {
        self.removed += 1;
        if let Some(large) = self.large.iter_mut().find(|large| large.id == id) {
            large.taken += 1;
        }
    }

    /// Has the oldest large removal take a slice of its entries. Returns its ticket and count when it has all.
    pub(super) fn take_slice(&mut self, ctx: Context) -> Option<(u64, u64)> {
        self.begin_those_in_turn(ctx);
        let mut large = self.large.pop_front()?;
        self.raise_tombstone(ctx);
        let (candidates, more) = match &mut large.source {
            Source::Sets { sets, cursor, changes } => match sets.last() {
                None => match changes.take() {
                    None => (Vec::new(), false),
                    Some(changes) => {
                        large.source = Source::Rows { changes, at: 0 };
                        (Vec::new(), true)
                    }
                },
                Some(set) => {
                    let (members, next) = store::scan_members(ctx, set, cursor);
                    if next.is_none() {
                        sets.pop();
                    }
                    *cursor = next.unwrap_or_else(|| b"0"[..].into());
                    let more = !sets.is_empty() || changes.is_some();
                    (members, more)
                }
            },
            Source::Rows { changes, at } => {
                let mut interested = Vec::new();
                let dependents = &self.index.dependents;
                let next = (*at + ROWS_SLICE).min(changes.rows.len());
                let rows = &changes.rows[*at..next];
                let begun = *at > 0 || dependents.find_spaces(changes, AT_ONCE, &mut interested);
                let looked_up = if begun { dependents.find_rows(rows, AT_ONCE, &mut interested) } else { 0 };
                *at += looked_up;
                if begun && (looked_up > 0 || rows.is_empty()) {
                    let more = *at < changes.rows.len();
                    (self.keys_of(&interested).collect(), more)
                } else {
                    // So many that walking the index is as good.
                    large.source = Source::Index { from: None };
                    (Vec::new(), true)
                }
            }
            Source::Index { from } => {
                let (keys, next) = self.index.concerned(large.id, from.as_deref(), SLICE);
                let more = next.is_some();
                *from = next;
                (keys, more)
            }
        };
        let taken = self.index.take(large.id, candidates);
        for by in taken.iter().map(|taken| taken.by) {
            match by == large.id {
                true => (large.taken, self.removed) = (large.taken + 1, self.removed + 1),
                false => self.count_taken(by),
            }
        }
        for Taken { key, remains, by, prefix_len } in taken {
            self.told.took(by, &key, prefix_len);
            self.warm.taken(by, &key);
            self.doomed.insert(key.clone());
            self.sweep_later(key, remains);
        }
        if more {
            self.large.push_front(large);
            return None;
        }
        self.index.end_removal(large.id);
        self.told.ended(large.id);
        self.warm.removal_ended(large.id);
        if !self.doomed.is_empty() {
            self.ending += 1;
        }
        Some((large.id, large.taken))
    }

    /// Removes keys that are in the index no more from Redis, unless an entry has been stored there since; counts those
    /// that it still had.
    pub(super) fn unlink(&mut self, ctx: Context, taken: Vec<Taken>) -> u64 {
        let keys: Vec<&[u8]> =
            taken.iter().map(|taken| &*taken.key).filter(|key| self.index.stored(key).is_none()).collect();
        let mut failed = Vec::new();
        let removed = keys.chunks(UNLINKED).map(|keys| store::unlink(ctx, keys, &mut failed)).sum();
        // While Redis has them, being there must not make them live.
        self.doomed.extend(failed);
        for Taken { key, remains, .. } in taken {
            self.sweep_later(key, remains);
        }
        removed
    }

    /// Large removals that have not taken all of their entries: whatever is looked up is compared with them.
    pub fn removals_in_force(&self) -> usize {
        self.large.len()
    }

    /// Large removals that are not carried out.
    pub fn removals_running(&self) -> usize {
        self.large.len() + self.in_turn.len() + self.ending
    }

    /// Redis has nothing left of those that have taken everything.
    pub(super) fn removals_carried_out(&mut self) {
        self.ending = 0;
    }

    /// Ends all large removals at once: what they were about is forgotten as a whole. Returns tickets and counts.
    pub(super) fn abandon_removals(&mut self) -> Vec<(u64, u64)> {
        self.ending = 0;
        self.told.clear();
        let large = self.large.drain(..).map(|large| (large.id, large.taken));
        large.chain(self.in_turn.drain(..).map(|in_turn| (in_turn.id, 0))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_condemned_for_many_spaces_becomes_one_of_everything() {
        let mut keyspace = Keyspace::default();
        for tenant in 0..10_000 {
            keyspace.invalidate_later(Concern::Space(format!("{{{tenant}}}:sale").into_bytes().into()));
        }
        assert!(keyspace.large.len() <= 65, "{}", keyspace.large.len());
        assert!(keyspace.large.iter().any(|large| matches!(&large.invalidates,
            Some(Concern::Calls { prefix, pattern: None }) if prefix.is_empty())));
    }
}
