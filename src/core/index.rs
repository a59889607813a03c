//! Which entries are live, and which metadata each belongs to.
//!
//! Redis holds the entries and the metadata sets that everybody can see; this index, in the memory of the master that
//! filled them, is what decides. An entry that Redis has and the index does not is dead. So a space grows cold, and a
//! large removal takes effect, in one step: the index changes at once, Redis follows in slices.
//!
//! Metadata sets are interned: an entry with a thousand rows costs four bytes for each. A set is referred to by the
//! entries that list it, by dead ones whose members are not swept yet, and by fills that are being published; with the
//! last reference the set itself can go.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::glob;

/// Number of a metadata set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MetaId(u32);

/// Name of a key.
pub type Key = Box<[u8]>;

/// Metadata sets of one entry, sorted by number.
pub type Metas = Box<[MetaId]>;

/// A live entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// When it was stored, counted in insertions: orders entries and removals.
    pub stamp: u64,
    pub metas: Metas,
    pub facts: Facts,
}

/// What is kept of a result beside its metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Facts {
    /// Of the fetch that brought it: a later fetch has a greater one.
    pub ticket: u64,
    /// Rows of the result.
    pub rows: u32,
    /// What its fetch cost, in microseconds.
    pub took_us: u32,
}

/// What a removal is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Concern {
    /// Entries that belong to one of these sets.
    Metas(Vec<MetaId>),
    /// Entries of one prefix (ending in `:`) whose call part matches the pattern, or all of them.
    Calls { prefix: Box<[u8]>, pattern: Option<Box<[u8]>> },
}

/// A removal that is in force, and not yet carried out in Redis.
#[derive(Debug)]
struct Removal {
    id: u64,
    /// Entries stored before this stamp.
    before: u64,
    concern: Concern,
}

#[derive(Debug)]
struct MetaSet {
    name: Arc<[u8]>,
    references: u32,
}

/// What [`Index::release`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Released {
    /// Others still refer to the set of this name.
    Shared(Arc<[u8]>),
    /// That was the last reference: the set of this name can go as a whole.
    Last(Arc<[u8]>),
}

#[derive(Debug, Default)]
pub struct Index {
    entries: BTreeMap<Box<[u8]>, Entry>,
    meta_ids: FxHashMap<Arc<[u8]>, MetaId>,
    metas: Vec<Option<MetaSet>>,
    free: Vec<MetaId>,
    removals: Vec<Removal>,
    next: u64,
}

impl Index {
    /// Entries, those under a removal included.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Metadata sets that are referred to.
    pub fn meta_count(&self) -> usize {
        self.metas.len() - self.free.len()
    }

    /// Is a removal in force? Then being in Redis does not make an entry live.
    pub fn removing(&self) -> bool {
        !self.removals.is_empty()
    }

    /// The entry, if it is live.
    pub fn live(&self, key: &[u8]) -> Option<&Entry> {
        let entry = self.entries.get(key)?;
        let dead = self.removals.iter().any(|removal| entry.stamp < removal.before && removal.concern.of(key, entry));
        (!dead).then_some(entry)
    }

    /// The entry, even if a removal that is not carried out yet has it.
    pub fn stored(&self, key: &[u8]) -> Option<&Entry> {
        self.entries.get(key)
    }

    /// Stores an entry; returns the one it replaces, whose metadata the caller sweeps.
    pub fn insert(&mut self, key: &[u8], metas: Metas, facts: Facts) -> Option<Entry> {
        let entry = Entry { stamp: self.next, metas, facts };
        self.next += 1;
        self.entries.insert(key.into(), entry)
    }

    /// Takes an entry out; its references stay until they are released.
    pub fn remove(&mut self, key: &[u8]) -> Option<Entry> {
        self.entries.remove(key)
    }

    /// The set's number; refers to it once more.
    pub fn refer(&mut self, name: &[u8]) -> MetaId {
        if let Some(id) = self.meta_ids.get(name) {
            if let Some(Some(set)) = self.metas.get_mut(id.0 as usize) {
                set.references += 1;
            }
            return *id;
        }
        let name: Arc<[u8]> = name.into();
        let set = Some(MetaSet { name: name.clone(), references: 1 });
        let id = match self.free.pop() {
            Some(id) => {
                self.metas[id.0 as usize] = set;
                id
            }
            None => {
                self.metas.push(set);
                MetaId(self.metas.len() as u32 - 1)
            }
        };
        self.meta_ids.insert(name, id);
        id
    }

    /// Takes one reference back.
    pub fn release(&mut self, id: MetaId) -> Option<Released> {
        let slot = self.metas.get_mut(id.0 as usize)?;
        let set = slot.as_mut()?;
        set.references -= 1;
        if set.references > 0 {
            return Some(Released::Shared(set.name.clone()));
        }
        let name = slot.take()?.name;
        self.meta_ids.remove(&name);
        self.free.push(id);
        Some(Released::Last(name))
    }

    /// The number of a set that is referred to.
    pub fn meta(&self, name: &[u8]) -> Option<MetaId> {
        self.meta_ids.get(name).copied()
    }

    pub fn meta_name(&self, id: MetaId) -> Option<&Arc<[u8]>> {
        self.metas.get(id.0 as usize)?.as_ref().map(|set| &set.name)
    }

    /// Puts a removal of all that is stored now in force.
    pub fn begin_removal(&mut self, concern: Concern) -> u64 {
        let id = self.next;
        self.next += 1;
        self.removals.push(Removal { id, before: id, concern });
        id
    }

    /// Ends a removal that has been carried out.
    pub fn end_removal(&mut self, id: u64) {
        self.removals.retain(|removal| removal.id != id);
    }

    /// Up to `limit` entries from `from` on (exclusive; None: the beginning) that the removal takes; and where to go
    /// on, None at the end. Looks at no more than `limit` entries.
    pub fn concerned(&self, id: u64, from: Option<&[u8]>, limit: usize) -> (Vec<Key>, Option<Key>) {
        let Some(removal) = self.removals.iter().find(|removal| removal.id == id) else { return (Vec::new(), None) };
        let Concern::Calls { prefix, .. } = &removal.concern else { return (Vec::new(), None) };
        let start = match from {
            Some(key) => Bound::Excluded(key),
            None => Bound::Included(prefix.as_ref()),
        };
        let mut found = Vec::new();
        let mut last = None;
        let range = self.entries.range::<[u8], _>((start, Bound::Unbounded));
        for (key, entry) in range.take_while(|(key, _)| key.starts_with(prefix)).take(limit) {
            if entry.stamp < removal.before && removal.concern.of(key, entry) {
                found.push(key.clone());
            }
            last = Some(key.clone());
        }
        (found, last)
    }

    /// Does the removal take this entry?
    pub fn takes(&self, id: u64, key: &[u8]) -> bool {
        let Some(entry) = self.entries.get(key) else { return false };
        self.removals
            .iter()
            .any(|removal| removal.id == id && entry.stamp < removal.before && removal.concern.of(key, entry))
    }

    /// Number of entries with a prefix, counted up to `limit`.
    pub fn count(&self, prefix: &[u8], limit: usize) -> usize {
        let range = self.entries.range::<[u8], _>((Bound::Included(prefix), Bound::Unbounded));
        range.take(limit).take_while(|(key, _)| key.starts_with(prefix)).count()
    }

    /// Forgets everything at once; what is returned is large, and dropped where time does not matter.
    pub fn clear(&mut self) -> Index {
        let next = self.next;
        std::mem::replace(self, Index { next, ..Index::default() })
    }
}

impl Concern {
    fn of(&self, key: &[u8], entry: &Entry) -> bool {
        match self {
            Concern::Metas(metas) => metas.iter().any(|meta| entry.metas.binary_search(meta).is_ok()),
            Concern::Calls { prefix, pattern } => key
                .strip_prefix(prefix.as_ref())
                .is_some_and(|call| pattern.as_ref().is_none_or(|pattern| glob::matches(pattern, call))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(index: &mut Index, key: &[u8], metas: &[&[u8]]) {
        let mut metas: Vec<MetaId> = metas.iter().map(|name| index.refer(name)).collect();
        metas.sort_unstable();
        index.insert(key, metas.into(), Facts::default());
    }

    fn all(prefix: &[u8]) -> Concern {
        Concern::Calls { prefix: prefix.into(), pattern: None }
    }

    #[test]
    fn a_removal_takes_what_was_stored_before_it_and_nothing_later() {
        let mut index = Index::default();
        store(&mut index, b"bear:a", &[b"m5"]);
        store(&mut index, b"bear:b", &[b"m6"]);
        let five = index.meta(b"m5").unwrap();
        let removal = index.begin_removal(Concern::Metas(vec![five]));
        assert!(index.live(b"bear:a").is_none());
        assert!(index.live(b"bear:b").is_some());
        store(&mut index, b"bear:a", &[b"m5"]);
        assert!(index.live(b"bear:a").is_some(), "stored after the removal");
        assert!(!index.takes(removal, b"bear:a"));
        index.end_removal(removal);
        assert!(!index.removing());
    }

    #[test]
    fn all_is_all_of_one_prefix() {
        let mut index = Index::default();
        for key in [&b"bear:a"[..], b"bear:b", b"bear:c", b"bears:a", b"bea:a", b"{1}:bear:a"] {
            store(&mut index, key, &[]);
        }
        let removal = index.begin_removal(all(b"bear:"));
        let (first, next) = index.concerned(removal, None, 2);
        assert_eq!(first, [b"bear:a".as_slice().into(), b"bear:b".as_slice().into()]);
        let (second, next) = index.concerned(removal, next.as_deref(), 2);
        assert_eq!(second, [Box::from(b"bear:c".as_slice())]);
        assert_eq!(index.concerned(removal, next.as_deref(), 2), (vec![], None));
        for alive in [&b"bears:a"[..], b"bea:a", b"{1}:bear:a"] {
            assert!(index.live(alive).is_some());
        }
        assert_eq!(index.count(b"bear:", 10), 3);
    }

    #[test]
    fn a_pattern_is_over_the_call() {
        let mut index = Index::default();
        store(&mut index, b"bear:size:1:2", &[]);
        store(&mut index, b"bear:colors:black", &[]);
        index.begin_removal(Concern::Calls { prefix: b"bear:"[..].into(), pattern: Some(b"size:*"[..].into()) });
        assert!(index.live(b"bear:size:1:2").is_none());
        assert!(index.live(b"bear:colors:black").is_some());
    }

    #[test]
    fn a_set_goes_with_its_last_reference_and_its_number_is_used_again() {
        let mut index = Index::default();
        let first = index.refer(b"m5");
        assert_eq!(index.refer(b"m5"), first);
        assert_eq!(index.release(first), Some(Released::Shared(b"m5"[..].into())));
        assert_eq!(index.release(first), Some(Released::Last(b"m5"[..].into())));
        assert_eq!(index.release(first), None);
        assert_eq!((index.meta(b"m5"), index.meta_count()), (None, 0));
        assert_eq!(index.refer(b"m6"), first);
        assert_eq!(index.meta_name(first).map(|name| name.to_vec()), Some(b"m6".to_vec()));
    }
}
