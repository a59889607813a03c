//! How many live entries a removal takes, told before it has taken any of them: whoever asked for it waits for no sweep.
//!
//! What the index counts at all times are the entries of each set and of each space, and those that any change of a
//! space concerns. So the number is known at once of one such group, and of one group and a few entries more, which are
//! looked at one by one. It is not known of two large groups, which may share entries, nor while an earlier removal has
//! not taken all of its own, of which some may be in the group, nor, of those that any change concerns, while some are gone
//! and not swept: then it is counted as they are taken.

use std::collections::BTreeSet;

use super::{Concern, Entry, Index, Key};
use crate::core::cache::meta_id::MetaId;

/// Entries that are counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group<'a> {
    /// Those of a space, by its prefix with the colon.
    Space(&'a [u8]),
    /// Those that list a set.
    Set(MetaId),
    /// Those that any change of a space concerns, by its prefix without the colon.
    AnyChange(&'a [u8]),
}

impl Index {
    /// Entries of a group, those included that a removal under way has taken and nobody is served.
    pub fn group_len(&self, group: Group) -> usize {
        match group {
            Group::Space(prefix) => self.spaces.get(prefix).copied().unwrap_or(0),
            Group::Set(meta) => self.metas.entries(meta),
            Group::AnyChange(space) => self.dependents.count_of_any_change(space),
        }
    }

    /// Live entries of the group, and those of `others` that the concern is about; None while it cannot be told. Asked
    /// before the removal begins. Publications that want to know of any change are entries to it: they are given up before.
    pub fn count(&self, group: Option<Group>, concern: &Concern, others: &[Key]) -> Option<u64> {
        // Who is interested in any change and gone is counted until it is swept.
        let is_over = matches!(group, Some(Group::AnyChange(_))) && self.dependents.has_retired();
        if self.removing() || is_over {
            return None;
        }
        let is_more = |key: &Key| {
            let Some(entry) = self.entries.get(key) else { return false };
            concern.of(self, key, entry) && group.is_none_or(|group| !self.is_in(group, key, entry))
        };
        let others: BTreeSet<&Key> = others.iter().filter(|key| is_more(key)).collect();
        Some((group.map_or(0, |group| self.group_len(group)) + others.len()) as u64)
    }

    fn is_in(&self, group: Group, key: &[u8], entry: &Entry) -> bool {
        match group {
            Group::Space(prefix) => key[..entry.prefix_len as usize] == *prefix,
            Group::Set(meta) => entry.metas.binary_search(&meta).is_ok(),
            Group::AnyChange(space) => entry.dependent.is_some_and(|id| self.dependents.is_of_any_change(id, space)),
        }
    }

    /// Entries that the removal takes and no earlier one has taken, counted one by one: as long as it takes, for who
    /// cannot wait until that is done in slices.
    pub fn count_all(&self, id: u64) -> u64 {
        let Some(at) = self.removals.iter().position(|removal| removal.id == id) else { return 0 };
        let (earlier, removal) = (&self.removals[..at], &self.removals[at]);
        let counts = |key: &Key, entry: &Entry| {
            self.is_taken(removal, key, entry) && !earlier.iter().any(|earlier| self.is_taken(earlier, key, entry))
        };
        self.range(removal.concern.prefix(), None).filter(|(key, entry)| counts(key, entry)).count() as u64
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use std::sync::Arc;

    use super::*;
    use crate::core::cache::index::{Concern, Facts, MetaList};
    use crate::core::calls::pattern::CallPattern;
    use crate::core::calls::predicate::Predicate;
    use crate::core::changes::change::Changes;
    use crate::core::changes::dependency::Dependency;

    fn call_key(space: usize, call: usize) -> Key {
        format!("{}:{call}", ["bear", "den"][space]).into_bytes().into()
    }

    fn sets() -> [&'static [u8]; 3] {
        [b"bear:meta:1:caches", b"bear:meta:*:caches", b"bear:tag:x"]
    }

    fn store(index: &mut Index, key: &Key, listed: usize) {
        let named = sets().into_iter().enumerate().filter(|(at, _)| listed >> at & 1 == 1);
        let mut metas: Vec<MetaId> = named.map(|(_, name)| index.metas.refer(name)).collect();
        metas.sort_unstable();
        let prefix = key.iter().position(|byte| *byte == b':').unwrap() + 1;
        let replaced = index.insert(key.clone(), prefix, metas.into(), Facts::default(), None, None);
        replaced.iter().flat_map(|entry| &*entry.metas).for_each(|meta| drop(index.metas.release(*meta)));
    }

    fn all_keys() -> impl Iterator<Item = Key> {
        (0..2).flat_map(|space| (0..8).map(move |call| call_key(space, call)))
    }

    proptest! {
        /// Whatever comes and goes: what is counted in advance is what is taken then.
        #[test]
        fn what_is_counted_is_what_is_taken(
            steps in prop::collection::vec((0..4usize, 0..2usize, 0..8usize, 0..8usize), 1..40),
            rows in any::<bool>(),
        ) {
            let mut index = Index::default();
            for (what, space, call, listed) in steps {
                let key = call_key(space, call);
                match what {
                    0 => drop(index.remove(&key)),
                    _ => store(&mut index, &key, listed),
                }
            }
            let found: Vec<MetaId> = sets()[..2].iter().filter_map(|name| index.metas.find(name)).collect();
            let (group, concern) = match (rows, found.last()) {
                (true, Some(last)) => (Group::Set(*last), Concern::Metas(found.clone())),
                _ => (Group::Space(b"bear:"), Concern::Calls { prefix: b"bear:"[..].into(), pattern: None }),
            };
            let everything: Vec<Key> = all_keys().chain(all_keys()).collect();
            let counted = index.count(Some(group), &concern, &everything);
            let alone = index.count(None, &concern, &everything);
            let removal = index.begin_removal(concern.clone());
            prop_assert_eq!(index.count(Some(group), &concern, &[]), None, "an earlier one is under way");
            prop_assert_eq!(Some(index.count_all(removal)), counted);
            let taken = index.take(removal, everything).len() as u64;
            index.end_removal(removal);
            prop_assert_eq!((counted, alone), (Some(taken), Some(taken)));
            prop_assert_eq!(index.count(Some(group), &concern, &[]), Some(0));
        }
    }

    /// Its removal from there is what takes long.
    #[test]
    fn who_is_gone_stays_interested_until_that_is_swept_and_nothing_is_counted_by_it() {
        let mut index = Index::default();
        let call = Arc::new(CallPattern::parse("all").unwrap());
        let dependency =
            Dependency { space: b"bear"[..].into(), predicate: Predicate::any(), call, args: [].into(), reads: None };
        let keys: Vec<Key> = (0..3).map(|at| call_key(1, at)).collect();
        for key in &keys {
            let dependent = index.dependents.add(key.clone(), [dependency.clone()].into());
            index.insert(key.clone(), 4, MetaList::default(), Facts::default(), Some(dependent), None);
        }
        let concern = Concern::Rows {
            section: b"bear"[..].into(),
            metas: Vec::new(),
            changes: Arc::new(Changes::of_space(b"bear", None)),
        };
        let count = |index: &Index| index.count(Some(Group::AnyChange(b"bear")), &concern, &[]);
        assert_eq!((count(&index), index.dependents.len()), (Some(3), 3));
        let removal = index.begin_removal(concern.clone());
        let taken = index.take(removal, keys[..2].to_vec());
        index.end_removal(removal);
        assert_eq!((count(&index), index.dependents.len()), (None, 1));
        for taken in taken {
            while !index.dependents.withdraw(taken.remains.dependent.unwrap()) {}
        }
        assert_eq!((count(&index), index.dependents.len()), (Some(1), 1));
    }

    #[test]
    fn an_entry_counts_for_the_first_removal_that_takes_it() {
        let mut index = Index::default();
        for key in all_keys() {
            store(&mut index, &key, 0b101);
        }
        let set = |index: &Index, at: usize| index.metas.find(sets()[at]).unwrap();
        let first = Concern::Calls { prefix: b"bear:"[..].into(), pattern: Some(b"[0-3]"[..].into()) };
        let first = index.begin_removal(first);
        let second = index.begin_removal(Concern::Metas(vec![set(&index, 0)]));
        assert_eq!((index.count_all(first), index.count_all(second)), (4, 12));
    }
}
