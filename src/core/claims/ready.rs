//! Jobs of one space that could be claimed now, but for limits: which of them is the first, of all or of some types.
//!
//! Invariants:
//! - the first is the one of the greatest priority, and among those the one with the first place;
//! - jobs of a closed group, and of a stopped type, are passed over at no cost: their heads are in no set that is asked;
//! - each step takes O(log n), whatever number of jobs, types and groups there is.
//!
//! ```text
//! heads: the first of each type     (rank, place, type)
//!   Type.heads: the first of each open group of it   (rank, place, group)
//!     Bucket: jobs of one type and group, by rank and place
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use smallvec::SmallVec;

use super::place::Place;
use crate::core::jobs::job_id::JobId;
use crate::core::values::priority::{Priority, MAX_PRIORITY};

/// The value of the field that a limit is `by`, as a hash; None: a job that has none, which no such limit concerns.
pub type Group = Option<u64>;

/// The greatest priority less the job's own: the least is first.
type Rank = u32;

/// Priorities of one bucket that have a set of places each; few in tests, so that these meet the others.
const SETS: usize = if cfg!(test) { 2 } else { 8 };

/// A job among others: the least is first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Head {
    rank: Rank,
    pub place: Place,
}

impl Head {
    pub fn new(priority: Priority, place: Place) -> Head {
        Head { rank: MAX_PRIORITY.saturating_sub(priority), place }
    }

    pub fn priority(self) -> Priority {
        MAX_PRIORITY - self.rank
    }
}

/// Jobs of one type and group. Places are kept by priority, since they alone take little memory: a million jobs may wait. That is
/// worth it for a few priorities; where each job has one of its own, a set for each would take more.
///
/// Invariant: a job is in the set of its rank, or among the others; those of one rank may be in both.
#[cfg_attr(test, derive(Clone))]
#[derive(Debug, Default)]
struct Bucket {
    /// In the order of ranks; none is empty, and there are at most [`SETS`].
    by_rank: SmallVec<[(Rank, BTreeSet<Place>); 1]>,
    /// Of ranks for which there was no set.
    others: BTreeSet<Head>,
}

impl Bucket {
    fn insert(&mut self, head: Head) -> bool {
        if self.others.contains(&head) {
            return false;
        }
        let at = self.by_rank.partition_point(|(rank, _)| *rank < head.rank);
        if self.by_rank.get(at).is_none_or(|(rank, _)| *rank != head.rank) {
            if self.by_rank.len() == SETS {
                return self.others.insert(head);
            }
            self.by_rank.insert(at, (head.rank, BTreeSet::new()));
        }
        self.by_rank[at].1.insert(head.place)
    }

    fn remove(&mut self, head: Head) -> bool {
        let Some(at) = self.by_rank.iter().position(|(rank, _)| *rank == head.rank) else {
            return self.others.remove(&head);
        };
        let places = &mut self.by_rank[at].1;
        let removed = places.remove(&head.place);
        if places.is_empty() {
            self.by_rank.remove(at);
        }
        removed || self.others.remove(&head)
    }

    fn first(&self) -> Option<Head> {
        let of_rank = |(rank, places): &(Rank, BTreeSet<Place>)| Some(Head { rank: *rank, place: *places.first()? });
        let in_sets = self.by_rank.first().and_then(of_rank);
        in_sets.into_iter().chain(self.others.first().copied()).min()
    }

    /// The first of each set, and the others: most of those are the only one of their rank.
    fn firsts(&self) -> impl Iterator<Item = &Place> {
        let in_sets = self.by_rank.iter().filter_map(|(_, places)| places.first());
        in_sets.chain(self.others.iter().map(|head| &head.place))
    }

    fn places(&self) -> impl Iterator<Item = &Place> {
        self.by_rank.iter().flat_map(|(_, places)| places).chain(self.others.iter().map(|head| &head.place))
    }
}

/// Jobs of one type.
#[cfg_attr(test, derive(Clone))]
#[derive(Debug, Default)]
struct Type {
    buckets: BTreeMap<Group, Bucket>,
    /// The first of each group that is open.
    heads: BTreeSet<(Head, Group)>,
    jobs: u64,
}

/// See the head of this file.
#[cfg_attr(test, derive(Clone))]
#[derive(Debug, Default)]
pub struct Ready {
    types: BTreeMap<Arc<str>, Type>,
    /// The first of each type that is not stopped.
    heads: BTreeSet<(Head, Arc<str>)>,
    closed: BTreeSet<u64>,
    /// Types of which no job is handed out.
    stopped: BTreeSet<Arc<str>>,
    /// Which types have jobs of a group.
    types_of: BTreeMap<u64, BTreeSet<Arc<str>>>,
    jobs: u64,
    /// Types of which a job could be handed out, and could not before, since [`Ready::take_opened`]. Each once: nobody may ask.
    opened: BTreeSet<Arc<str>>,
}

/// Which types a claimer takes.
#[derive(Debug, Clone, Copy)]
pub enum Wanted<'a> {
    Any,
    Types(&'a [Arc<str>]),
}

impl Ready {
    pub fn len(&self) -> u64 {
        self.jobs
    }

    /// Jobs of each type.
    pub fn counts(&self) -> impl Iterator<Item = (&Arc<str>, u64)> {
        self.types.iter().map(|(name, of)| (name, of.jobs))
    }

    /// All of them, in any order.
    pub fn jobs(&self) -> impl Iterator<Item = (&Arc<str>, JobId)> {
        let buckets = self.types.iter().flat_map(|(name, of)| of.buckets.values().map(move |bucket| (name, bucket)));
        buckets.flat_map(|(name, bucket)| bucket.places().map(move |place| (name, place.job())))
    }

    /// Since when the one has waited that has waited longest, in Unix time. It looks at the first of each type, group and
    /// priority, and at no more of them than `most`.
    pub fn oldest_ms(&self, most: usize) -> Option<u64> {
        let buckets = self.types.values().flat_map(|of| of.buckets.values());
        let firsts = buckets.flat_map(Bucket::firsts).take(most);
        firsts.map(|place| place.due_ms().unwrap_or(place.job().ms)).min()
    }

    /// The name as it is kept where there are jobs of it, so that they share it.
    pub fn name(&self, name: &str) -> Arc<str> {
        self.types.get_key_value(name).map_or_else(|| name.into(), |(known, _)| known.clone())
    }

    /// False where it was there already.
    pub fn insert(&mut self, name: &Arc<str>, group: Group, head: Head) -> bool {
        self.edit(name, group, |bucket| bucket.insert(head).then_some(1)).is_some()
    }

    /// False where it was not there.
    pub fn remove(&mut self, name: &Arc<str>, group: Group, head: Head) -> bool {
        self.edit(name, group, |bucket| bucket.remove(head).then_some(-1)).is_some()
    }

    /// The first of those that are wanted; it stays where it is.
    pub fn first(&self, wanted: Wanted) -> Option<(Head, &Arc<str>, Group)> {
        let of_type = |name: &str| {
            let (name, of) = self.types.get_key_value(name)?;
            let (head, group) = of.heads.first()?;
            (!self.stopped.contains(name)).then_some((*head, name, *group))
        };
        match wanted {
            Wanted::Any => self.heads.first().and_then(|(_, name)| of_type(name)),
            Wanted::Types(names) => names.iter().filter_map(|name| of_type(name)).min_by_key(|(head, ..)| *head),
        }
    }

    /// Types of which a job could be handed out, the one with the first job first.
    pub fn open_types(&self) -> impl Iterator<Item = &Arc<str>> {
        self.heads.iter().map(|(_, name)| name)
    }

    /// How many there are.
    pub fn open_len(&self) -> usize {
        self.heads.len()
    }

    /// From now on jobs of a group are passed over, or no more.
    pub fn set_closed(&mut self, group: u64, closed: bool) {
        let changed = if closed { self.closed.insert(group) } else { self.closed.remove(&group) };
        if !changed {
            return;
        }
        for name in self.types_of.get(&group).cloned().unwrap_or_default() {
            let Some(of) = self.types.get_mut(&name) else { continue };
            let before = of.heads.first().map(|(head, _)| *head);
            let Some(head) = of.buckets.get(&Some(group)).and_then(Bucket::first) else { continue };
            if closed {
                of.heads.remove(&(head, Some(group)));
            } else {
                of.heads.insert((head, Some(group)));
            }
            let after = of.heads.first().map(|(head, _)| *head);
            self.move_head(&name, before, after);
        }
    }

    #[cfg(test)]
    pub fn is_closed(&self, group: u64) -> bool {
        self.closed.contains(&group)
    }

    /// From now on no job of a type is handed out, or they are again.
    pub fn set_stopped(&mut self, name: &Arc<str>, stopped: bool) {
        let changed = if stopped { self.stopped.insert(name.clone()) } else { self.stopped.remove(name) };
        if !changed {
            return;
        }
        let first = self.types.get(name).and_then(|of| of.heads.first()).map(|(head, _)| *head);
        if let Some(head) = first {
            if stopped {
                self.heads.remove(&(head, name.clone()));
            } else {
                self.heads.insert((head, name.clone()));
                self.opened.insert(name.clone());
            }
        }
    }

    /// Changes a bucket, and what follows from it. `change` says by how many jobs, or that nothing has changed.
    fn edit(&mut self, name: &Arc<str>, group: Group, change: impl FnOnce(&mut Bucket) -> Option<i64>) -> Option<()> {
        if !self.types.contains_key(name) {
            self.types.insert(name.clone(), Type::default());
        }
        let of = self.types.get_mut(name)?;
        let first = of.heads.first().map(|(head, _)| *head);
        let bucket = of.buckets.entry(group).or_default();
        let before = bucket.first();
        let by = change(bucket);
        let after = bucket.first();
        of.jobs = of.jobs.saturating_add_signed(by.unwrap_or(0));
        self.jobs = self.jobs.saturating_add_signed(by.unwrap_or(0));
        let is_closed = group.is_some_and(|group| self.closed.contains(&group));
        if before != after && !is_closed {
            if let Some(head) = before {
                of.heads.remove(&(head, group));
            }
            if let Some(head) = after {
                of.heads.insert((head, group));
            }
        }
        if after.is_none() {
            of.buckets.remove(&group);
        }
        let now_first = of.heads.first().map(|(head, _)| *head);
        if of.jobs == 0 {
            self.types.remove(name);
        }
        if let Some(group) = group {
            let names = self.types_of.entry(group).or_default();
            if after.is_some() {
                if before.is_none() {
                    names.insert(name.clone());
                }
            } else {
                names.remove(name);
            }
            if names.is_empty() {
                self.types_of.remove(&group);
            }
        }
        self.move_head(name, first, now_first);
        by.map(drop)
    }

    fn move_head(&mut self, name: &Arc<str>, before: Option<Head>, after: Option<Head>) {
        if before == after || self.stopped.contains(name) {
            return;
        }
        if let Some(head) = before {
            self.heads.remove(&(head, name.clone()));
        }
        if let Some(head) = after {
            self.heads.insert((head, name.clone()));
            if before.is_none() {
                self.opened.insert(name.clone());
            }
        }
    }

    /// Types of which a job can be handed out, and could not before.
    pub fn take_opened(&mut self) -> Vec<Arc<str>> {
        let opened = std::mem::take(&mut self.opened);
        opened.into_iter().filter(|name| self.first(Wanted::Types(std::slice::from_ref(name))).is_some()).collect()
    }
}

#[cfg(test)]
mod tests;
