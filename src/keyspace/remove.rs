//! Removing entries: small removals within the command that asks for them, large ones in force at once and carried
//! out in slices, under a tombstone that replicas honour.

use std::sync::Arc;

use super::{store, Keyspace};
use crate::core::change::Changes;
use crate::core::index::{Concern, Key};
use crate::core::interests::InterestId;
use crate::mutations;
use crate::redis_api::Context;

/// Candidates that one command may go through: about 0.3 ms.
const AT_ONCE: usize = 200;

/// Changed rows that one command may look up: about 0.2 ms.
const ROWS_AT_ONCE: usize = 64;

/// Changed rows that one slice looks up.
const ROWS_SLICE: usize = 16;

/// Entries of the index that one slice looks at.
const SLICE: usize = 64;

/// Which entries go.
pub enum What<'a> {
    /// Those that belong to one of these metadata sets.
    Metas(&'a [Box<[u8]>]),
    /// Those, and the ones in which a row that changed may belong now.
    Rows { sets: &'a [Box<[u8]>], changes: &'a Arc<Changes> },
    /// All of a space, by the prefix of its keys, and those of others that any row of it concerns.
    Space(&'a [u8]),
    /// Those of a prefix (ending in `:`) whose call part matches, or all of them.
    Calls { prefix: &'a [u8], pattern: Option<&'a [u8]> },
    /// One.
    Key(&'a [u8]),
}

/// May the removal go on after the command has returned?
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    InSlices,
    /// In MULTI or a script nothing can wait for the count.
    AtOnce,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// So many entries are gone.
    Removed(u64),
    /// In force, and being carried out; [`Keyspace::step`] tells the number with this ticket.
    Pending(u64),
}

/// A large removal under way.
pub(super) struct Large {
    id: u64,
    source: Source,
    removed: u64,
    /// What it is about where nobody waits for it.
    condemns: Option<Concern>,
}

/// Where the candidates come from.
enum Source {
    /// Metadata sets, the first from a cursor on.
    Sets { sets: Vec<Box<[u8]>>, cursor: Box<[u8]>, changes: Option<Arc<Changes>> },
    /// Calls in which changed rows may belong, from one row on.
    Rows { changes: Arc<Changes>, at: usize },
    /// The index, from a key on.
    Index { from: Option<Box<[u8]>> },
}

impl Keyspace {
    /// Removes entries. From now on none of them is served.
    pub fn remove(&mut self, ctx: Context, what: What, pace: Pace) -> Outcome {
        // Members of sets can be counted only by going through them; calls by walking the index.
        let can_wait = pace == Pace::InSlices || matches!(what, What::Calls { .. });
        if let What::Rows { sets, changes } = what {
            return self.remove_rows(ctx, sets, changes, pace);
        }
        if self.outside_commands || (can_wait && self.is_large(ctx, &what)) {
            return self.remove_later(ctx, &what, pace);
        }
        match what {
            What::Key(key) => Outcome::Removed(self.remove_keys(ctx, &[key.into()])),
            What::Metas(sets) => {
                let id = self.index.begin_removal(self.concern_of(&what));
                let candidates: Vec<_> =
                    self.known(sets).into_iter().flat_map(|set| store::members(ctx, set)).collect();
                Outcome::Removed(self.finish_removal(ctx, id, candidates))
            }
            What::Rows { .. } | What::Space(_) | What::Calls { .. } => {
                let id = self.index.begin_removal(self.concern_of(&what));
                let (candidates, _) = self.index.concerned(id, None, usize::MAX);
                Outcome::Removed(self.finish_removal(ctx, id, candidates))
            }
        }
    }

    /// Removes what contains changed rows, and what they may belong in now.
    fn remove_rows(&mut self, ctx: Context, sets: &[Key], changes: &Arc<Changes>, pace: Pace) -> Outcome {
        let what = What::Rows { sets, changes };
        let mut interested = Vec::new();
        let interests = &self.index.interests;
        let nobody =
            !changes.spaces.iter().any(|space| interests.has_any(space)) || mutations::is("no-predicate-index");
        let few = nobody
            || changes.rows.len() <= ROWS_AT_ONCE
                && interests.find_spaces(changes, AT_ONCE, &mut interested)
                && interests.find_rows(&changes.rows, AT_ONCE, &mut interested);
        if !few || self.outside_commands || self.is_large(ctx, &What::Metas(sets)) {
            self.abort_interested_in(changes);
            return self.remove_later(ctx, &what, pace);
        }
        self.abort_interested(&interested);
        let id = self.index.begin_removal(self.concern_of(&what));
        let mut candidates: Vec<Key> = self.known(sets).into_iter().flat_map(|set| store::members(ctx, set)).collect();
        candidates.extend(self.keys_of(&interested));
        Outcome::Removed(self.finish_removal(ctx, id, candidates))
    }

    fn keys_of<'a>(&'a self, interested: &'a [InterestId]) -> impl Iterator<Item = Key> + 'a {
        interested.iter().filter_map(|id| self.index.interests.key(*id)).map(|key| key.as_ref().into())
    }

    /// Removes all entries of a space, by the prefix of its keys, and those of others that any row of it concerns; outside
    /// commands, for nobody who waits: few at once, many in slices. From now on none of them is served.
    pub fn drop_space(&mut self, ctx: Context, prefix: &[u8]) {
        let what = What::Space(prefix);
        if self.outside_commands || self.is_large(ctx, &what) {
            self.raise_tombstone(ctx);
            self.condemn(Concern::Space(prefix.into()));
        } else {
            self.remove(ctx, what, Pace::InSlices);
        }
    }

    /// As the removal of [`What::Rows`], in force now, while the server allows no writes: carried out later.
    pub fn condemn_rows(&mut self, space: &[u8], sets: &[Key], changes: &Arc<Changes>) {
        /// More removals of rows than this that wait are one of the whole space.
        const MAX_WAITING: usize = 16;

        self.abort_interested_in(changes);
        let concern = match self.large.len() < MAX_WAITING {
            true => self.concern_of(&What::Rows { sets, changes }),
            false => Concern::Space(space.into()),
        };
        self.condemn(concern);
    }

    fn concern_of(&self, what: &What) -> Concern {
        match what {
            What::Key(key) => Concern::Calls { prefix: (*key).into(), pattern: Some(Box::default()) },
            What::Metas(sets) => Concern::Metas(sets.iter().filter_map(|set| self.index.metas.find(set)).collect()),
            What::Rows { sets, changes } => Concern::Rows {
                metas: sets.iter().filter_map(|set| self.index.metas.find(set)).collect(),
                changes: (*changes).clone(),
            },
            What::Space(prefix) => Concern::Space((*prefix).into()),
            What::Calls { prefix, pattern } => {
                Concern::Calls { prefix: (*prefix).into(), pattern: pattern.map(Into::into) }
            }
        }
    }

    /// In force now, carried out in slices.
    fn remove_later(&mut self, ctx: Context, what: &What, pace: Pace) -> Outcome {
        let id = self.index.begin_removal(self.concern_of(what));
        let source = match what {
            What::Metas(sets) | What::Rows { sets, .. } if !self.outside_commands => Source::Sets {
                sets: self.known(sets).into_iter().cloned().collect(),
                cursor: b"0"[..].into(),
                changes: if let What::Rows { changes, .. } = what { Some((*changes).clone()) } else { None },
            },
            _ => Source::Index { from: None },
        };
        // The tombstone stands in the reply's own unit.
        if !self.outside_commands {
            self.raise_tombstone(ctx);
        }
        self.large.push_back(Large { id, source, removed: 0, condemns: None });
        match pace {
            Pace::InSlices => Outcome::Pending(id),
            // For who cannot wait: the entries that it takes, those included whose TTL is just over.
            Pace::AtOnce => Outcome::Removed(self.index.count_taken(id)),
        }
    }

    fn is_large(&self, ctx: Context, what: &What) -> bool {
        let candidates = match what {
            What::Key(_) => 1,
            What::Metas(sets) => {
                let known = self.known(sets);
                known.len() + known.iter().map(|set| store::member_count(ctx, set)).sum::<usize>()
            }
            What::Rows { .. } | What::Space(_) => self.index.len(),
            What::Calls { prefix, .. } => self.index.count(prefix, AT_ONCE + 1),
        };
        candidates > AT_ONCE
    }

    /// The sets that any entry is in: a thousand unknown rows cost a thousand look-ups and no command.
    fn known<'a>(&self, sets: &'a [Key]) -> Vec<&'a Key> {
        sets.iter().filter(|set| self.index.metas.find(set).is_some()).collect()
    }

    /// An entry that a removal under way has taken is overwritten: it is gone, too.
    pub(super) fn count_overwritten(&mut self, key: &[u8]) {
        if let Some(id) = self.index.taken_by(key) {
            if let Some(large) = self.large.iter_mut().find(|large| large.id == id) {
                large.removed += 1;
            }
        }
    }

    fn finish_removal(&mut self, ctx: Context, id: u64, candidates: Vec<Box<[u8]>>) -> u64 {
        let taken: Vec<_> = candidates.into_iter().filter(|key| self.index.takes(id, key)).collect();
        self.index.end_removal(id);
        self.remove_keys(ctx, &taken)
    }

    /// Removes these entries from the index and from Redis; counts those that Redis still had.
    fn remove_keys(&mut self, ctx: Context, keys: &[Key]) -> u64 {
        let mut gone: Vec<&[u8]> = Vec::with_capacity(keys.len());
        for key in keys {
            // A candidate can come from several sets.
            if let Some(entry) = self.index.remove(key) {
                self.sweep_later(key.clone(), entry.metas);
                gone.push(key);
            }
        }
        let mut failed = Vec::new();
        let removed = gone.chunks(SLICE).map(|keys| store::unlink(ctx, keys, &mut failed)).sum();
        // While Redis has them, being there must not make them live.
        self.doomed.extend(failed);
        self.removed += removed;
        removed
    }

    /// Puts a removal in force without a context to write with: from an event's handler. One of the same entries that
    /// is under way takes what has been stored since, instead of a second one: a flood of events is one removal.
    pub(super) fn condemn(&mut self, mut concern: Concern) {
        /// More than these are one of everything: each hit is compared with all of them.
        const MAX_CONDEMNED: usize = 64;

        if self.large.iter().filter(|large| large.condemns.is_some()).count() >= MAX_CONDEMNED {
            concern = Concern::Calls { prefix: Box::default(), pattern: None };
        }
        if let Some(large) =
            self.large.iter_mut().find(|large| large.condemns.as_ref().is_some_and(|known| known.repeats(&concern)))
        {
            self.index.extend_removal(large.id);
            large.source = Source::Index { from: None };
            return;
        }
        let id = self.index.begin_removal(concern.clone());
        self.large.push_back(Large { id, source: Source::Index { from: None }, removed: 0, condemns: Some(concern) });
    }

    /// Carries out a slice of the oldest large removal. Returns its ticket and count when it is done.
    pub(super) fn remove_slice(&mut self, ctx: Context) -> Option<(u64, u64)> {
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
                let interests = &self.index.interests;
                let next = (*at + ROWS_SLICE).min(changes.rows.len());
                let all = (*at > 0 || interests.find_spaces(changes, AT_ONCE, &mut interested))
                    && interests.find_rows(&changes.rows[*at..next], AT_ONCE, &mut interested);
                *at = next;
                let more = next < changes.rows.len();
                if all {
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
        let taken: Vec<_> = candidates.into_iter().filter(|key| self.index.takes(large.id, key)).collect();
        large.removed += self.remove_keys(ctx, &taken);
        if more {
            self.large.push_front(large);
            return None;
        }
        self.index.end_removal(large.id);
        Some((large.id, large.removed))
    }

    /// Ends all large removals at once: what they were about is forgotten as a whole. Returns tickets and counts.
    pub(super) fn abandon_removals(&mut self) -> Vec<(u64, u64)> {
        self.large.drain(..).map(|large| (large.id, large.removed)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_condemned_for_many_spaces_becomes_one_of_everything() {
        let mut keyspace = Keyspace::default();
        for tenant in 0..10_000 {
            keyspace.condemn(Concern::Space(format!("{{{tenant}}}:sale").into_bytes().into()));
        }
        assert!(keyspace.large.len() <= 65, "{}", keyspace.large.len());
        assert!(keyspace.large.iter().any(|large| matches!(&large.condemns,
            Some(Concern::Calls { prefix, pattern: None }) if prefix.is_empty())));
    }
}
