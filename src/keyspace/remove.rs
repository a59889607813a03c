//! Removing entries: small removals within the command that asks for them, large ones in force at once and carried out
//! in slices ([`super::large`]), under a tombstone that replicas honour. How many entries a large one takes is told from
//! the index, where it is known without going through them.

use std::sync::Arc;

use super::{store, told, Keyspace};
use crate::core::cache::index::count::Group;
use crate::core::cache::index::{Concern, Key, Taken};
use crate::core::cache::meta_id::MetaId;
use crate::core::changes::change::Changes;
use crate::core::changes::changed_sets::ChangedSets;
use crate::core::changes::dependency::DependentId;
use crate::mutations;
use crate::redis_api::Context;

/// Candidates that one command may go through: about 0.3 ms.
pub(super) const AT_ONCE: usize = 200;

/// Changed rows that one command may look up: about 0.2 ms.
const ROWS_AT_ONCE: usize = 64;

/// Which entries go.
pub enum What<'a> {
    /// Those that belong to one of these metadata sets.
    Metas(&'a [Box<[u8]>]),
    /// Those of sets of rows that read what has changed, and the ones in which a row that changed may belong now.
    Rows { sets: &'a Arc<ChangedSets>, changes: &'a Arc<Changes> },
    /// All of a space, by the prefix of its keys, and those of others that any row of it concerns.
    Space(&'a [u8]),
    /// Those of a prefix (ending in `:`) whose call part matches, or all of them.
    Calls { prefix: &'a [u8], pattern: Option<&'a [u8]> },
    /// One.
    Key(&'a [u8]),
}

impl What<'_> {
    /// Do entries go because rows or tags have changed?
    pub(super) fn is_change(&self) -> bool {
        match self {
            What::Metas(_) | What::Rows { .. } | What::Space(_) => true,
            What::Calls { .. } | What::Key(_) => false,
        }
    }
}

/// May the reply come after the command has returned?
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    InSlices,
    /// In MULTI or a script nothing can wait for the count.
    AtOnce,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// So many entries are served no more. Where they were many, Redis still has them for a while.
    Removed(u64),
    /// In force, and being counted; [`Keyspace::step`] tells the number with this ticket.
    Pending(u64),
}

/// A metadata set, by number and name.
pub(super) type NamedSet<'a> = (MetaId, &'a [u8]);

/// Who wants to know of changes.
enum Interested {
    Few(Vec<DependentId>),
    /// Many, to whom any change in the space is one, and a few others.
    AnyChange(Arc<[u8]>, Vec<DependentId>),
    Many,
}

impl Keyspace {
    /// Removes entries. From now on none of them is served.
    pub fn remove(&mut self, ctx: Context, what: What, pace: Pace) -> Outcome {
        if let What::Rows { sets, changes } = what {
            return self.remove_rows(ctx, sets, changes, pace);
        }
        if self.outside_commands {
            return self.remove_later(ctx, &what, None, pace);
        }
        match what {
            What::Key(key) => self.remove_now(ctx, &what, vec![key.into()]),
            What::Metas(sets) => {
                let listed = self.listed(sets);
                self.remove_members(ctx, &what, listed, &Interested::Few(Vec::new()), pace)
            }
            What::Calls { prefix, pattern } if self.index.is_over(prefix, AT_ONCE) => {
                let all = pattern.is_none().then_some(Group::Space(prefix));
                let count = all.and_then(|group| self.index.count(Some(group), &self.concern_of(&what), &[]));
                self.remove_later(ctx, &what, count, pace)
            }
            What::Calls { .. } | What::Space(_) | What::Rows { .. } => {
                let candidates = self.index.all_of(&self.concern_of(&what));
                self.remove_now(ctx, &what, candidates)
            }
        }
    }

    /// Removes what contains changed rows, and what they may belong in now.
    fn remove_rows(&mut self, ctx: Context, sets: &Arc<ChangedSets>, changes: &Arc<Changes>, pace: Pace) -> Outcome {
        let what = &What::Rows { sets, changes };
        let interested = self.interested_in(changes);
        match &interested {
            Interested::Few(few) if !self.outside_commands => self.abort_interested(few),
            _ => self.abort_interested_in(changes),
        }
        let listed: Vec<NamedSet> = self.index.concerned_sets(sets);
        match &interested {
            Interested::Few(few) if few.is_empty() && listed.is_empty() => Outcome::Removed(0),
            _ if self.outside_commands => self.remove_later(ctx, what, None, pace),
            _ => self.remove_members(ctx, what, listed, &interested, pace),
        }
    }

    fn interested_in(&self, changes: &Changes) -> Interested {
        let dependents = &self.index.dependents;
        let nobody =
            !changes.spaces.iter().any(|space| dependents.has_any(space)) || mutations::is("no-predicate-index");
        if nobody {
            return Interested::Few(Vec::new());
        }
        let (mut of_any, mut by_value) = (Vec::new(), Vec::new());
        let few_by_value = changes.rows.len() <= ROWS_AT_ONCE
            && dependents.find_rows(&changes.rows, AT_ONCE, &mut by_value) == changes.rows.len()
            && !changes.unknown.iter().any(|space| dependents.has_any(space));
        let few_of_any = dependents.find_spaces(changes, AT_ONCE.saturating_sub(by_value.len()), &mut of_any);
        match &changes.spaces[..] {
            _ if few_of_any && (few_by_value || changes.rows.is_empty()) => {
                Interested::Few([by_value, of_any].concat())
            }
            [space] if few_by_value => Interested::AnyChange(space.clone(), by_value),
            _ => Interested::Many,
        }
    }

    /// Removes the members of sets, and who else is interested.
    fn remove_members(
        &mut self,
        ctx: Context,
        what: &What,
        mut listed: Vec<NamedSet>,
        interested: &Interested,
        pace: Pace,
    ) -> Outcome {
        listed.sort_by_key(|(id, _)| self.index.metas.entries(*id));
        let members =
            |sets: &[NamedSet]| -> usize { sets.iter().map(|(id, set)| self.member_count(ctx, *id, set)).sum() };
        let none: &[NamedSet] = &[];
        let (largest, others, more) = match interested {
            Interested::Few(few) if members(&listed) + few.len() <= AT_ONCE => (None, &listed[..], &few[..]),
            Interested::Few(few) => match listed.split_last() {
                Some(((largest, _), others)) => (Some(Group::Set(*largest)), others, &few[..]),
                None => (None, none, &few[..]),
            },
            Interested::AnyChange(space, rest) => (Some(Group::AnyChange(space)), &listed[..], &rest[..]),
            Interested::Many => return self.remove_later(ctx, what, None, pace),
        };
        // Two large groups may share entries.
        if members(others) + more.len() > AT_ONCE {
            return self.remove_later(ctx, what, None, pace);
        }
        let mut candidates: Vec<Key> = others.iter().flat_map(|(_, set)| store::members(ctx, set)).collect();
        candidates.extend(self.keys_of(more));
        if largest.is_none() {
            return self.remove_now(ctx, what, candidates);
        }
        // Of a large group some may read nothing of what has changed.
        let is_whole = match what {
            What::Rows { sets, changes } => {
                changes.unchanged.is_unknown() && sets.sets.iter().all(|(_, unchanged)| unchanged.is_unknown())
            }
            _ => true,
        };
        let count = is_whole.then(|| self.index.count(largest, &self.concern_of(what), &candidates)).flatten();
        self.remove_later(ctx, what, count, pace)
    }

    pub(super) fn keys_of<'a>(&'a self, interested: &'a [DependentId]) -> impl Iterator<Item = Key> + 'a {
        interested.iter().filter_map(|id| self.index.dependents.key(*id)).cloned()
    }

    /// Removes all entries of a space, by the prefix of its keys, and those of others that any row of it concerns; outside
    /// commands, for nobody who waits: few at once, many in slices. From now on none of them is served.
    pub fn drop_space(&mut self, ctx: Context, prefix: &[u8]) {
        if self.outside_commands || self.index.len() > AT_ONCE {
            self.raise_tombstone(ctx);
            self.invalidate_later(Concern::Space(prefix.into()));
        } else {
            self.remove(ctx, What::Space(prefix), Pace::InSlices);
        }
    }

    /// As the removal of [`What::Rows`], in force now, while the server allows no writes: carried out later.
    pub fn invalidate_rows_later(&mut self, space: &[u8], sets: &Arc<ChangedSets>, changes: &Arc<Changes>) {
        /// More removals of rows than this that wait are one of the whole space.
        const MAX_WAITING: usize = 16;

        self.abort_interested_in(changes);
        let concern = match self.large.len() < MAX_WAITING {
            true => self.concern_of(&What::Rows { sets, changes }),
            false => Concern::Space(space.into()),
        };
        self.invalidate_later(concern);
    }

    pub(super) fn concern_of(&self, what: &What) -> Concern {
        match what {
            What::Key(key) => Concern::Calls { prefix: (*key).into(), pattern: Some(Box::default()) },
            What::Metas(sets) => Concern::Metas(sets.iter().filter_map(|set| self.index.metas.find(set)).collect()),
            What::Rows { sets, changes } => Concern::Rows {
                section: sets.section.clone(),
                metas: sets
                    .sets
                    .iter()
                    .filter_map(|(set, unchanged)| Some((self.index.metas.find(set)?, unchanged.clone())))
                    .collect(),
                changes: (*changes).clone(),
            },
            What::Space(prefix) => Concern::Space((*prefix).into()),
            What::Calls { prefix, pattern } => {
                Concern::Calls { prefix: (*prefix).into(), pattern: pattern.map(Into::into) }
            }
        }
    }

    /// The sets that any entry lists; of rows, see [`crate::core::cache::index::Index::concerned_sets`].
    pub(super) fn listed<'a>(&self, sets: &'a [Box<[u8]>]) -> Vec<NamedSet<'a>> {
        let metas = &self.index.metas;
        let found = sets.iter().filter_map(|set| Some((metas.find(set)?, &**set)));
        found.filter(|(id, _)| metas.entries(*id) > 0).collect()
    }

    /// Members that Redis may have of a set.
    fn member_count(&self, ctx: Context, id: MetaId, set: &[u8]) -> usize {
        let may_be_others = !self.unclean.is_empty() || self.owned.is_walking() || self.owned.has_strangers();
        match may_be_others {
            true => store::member_count(ctx, set),
            false => self.index.metas.references(id),
        }
    }

    /// Removes those of the candidates that it is about, and counts those that Redis still had.
    fn remove_now(&mut self, ctx: Context, what: &What, candidates: Vec<Key>) -> Outcome {
        let id = self.index.begin_removal(self.concern_of(what));
        self.told.begins(id, pattern_of(what));
        self.warm.removal_begins(id, what.is_change());
        let taken = self.index.take(id, candidates);
        self.index.end_removal(id);
        for taken in &taken {
            self.told.took(taken.by, &taken.key, taken.prefix_len);
            self.warm.taken(taken.by, &taken.key);
        }
        self.told.ended(id);
        self.warm.removal_ended(id);
        let (own, earlier): (Vec<Taken>, Vec<Taken>) = taken.into_iter().partition(|taken| taken.by == id);
        earlier.iter().for_each(|taken| self.count_taken(taken.by));
        self.unlink(ctx, earlier);
        let removed = self.unlink(ctx, own);
        self.removed += removed;
        Outcome::Removed(removed)
    }
}

/// What the keys match that a removal is about, where that is less than all of their spaces.
pub(super) fn pattern_of(what: &What) -> Option<Box<[u8]>> {
    match what {
        What::Calls { prefix, pattern } => Some(told::pattern_of(prefix, *pattern)),
        What::Metas(_) | What::Rows { .. } | What::Space(_) | What::Key(_) => None,
    }
}
