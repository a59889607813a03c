//! Which entries are live, and which metadata each belongs to.
//!
//! Redis holds the entries and the metadata sets that everybody can see; this index, in the memory of the master that
//! filled them, is what decides. An entry that Redis has and the index does not is dead. So a space grows cold, and a
//! large removal takes effect, in one step: the index changes at once, Redis follows in slices.
//!
//! A removal is in force from [`Index::begin_removal`] on. [`Index::take`] takes what it is about out of the index, a few
//! entries at a time; then it ends, and what was taken is for Redis to follow. How many entries it takes is often known
//! before any of them is looked at: see [`count`].
//!
//! Metadata sets go by numbers ([`super::metas`]).

pub mod count;

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use super::glob;
use super::meta_id::MetaId;
use super::metas::Metas;
use super::moment::Moment;
use super::readers::{Marks, ReaderId, Readers};
use crate::core::catalog::columns_read::{ColumnsRead, Unchanged};
use crate::core::changes::change::Changes;
use crate::core::changes::changed_sets::ChangedSets;
use crate::core::changes::dependency::DependentId;
use crate::core::changes::dependents::Dependents;

/// Name of an entry's key: the index and who is interested in rows share it.
pub type Key = Arc<[u8]>;

/// Metadata sets of one entry, sorted by number.
pub type MetaList = Box<[MetaId]>;

/// A live entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// When it was stored, counted in insertions: orders entries and removals.
    pub stamp: u64,
    pub metas: MetaList,
    pub facts: Facts,
    /// Rows that would belong in the result, by their values.
    pub dependent: Option<DependentId>,
    /// Bytes of the key that are the prefix of its space, colon included.
    prefix_len: u32,
    /// Which columns of rows its result reads.
    reader: ReaderId,
}

/// What is to be swept of an entry that is in the index no more: Redis has its key in the sets, and who it wanted to hear of
/// rows from still lists it. Where a removal has many entries, that is what takes the time.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Remains {
    pub metas: MetaList,
    pub dependent: Option<DependentId>,
}

impl Entry {
    pub fn prefix_len(&self) -> usize {
        self.prefix_len as usize
    }

    pub fn into_remains(self) -> Remains {
        Remains { metas: self.metas, dependent: self.dependent }
    }
}

/// An entry that a removal has taken out of the index. Redis may still have it.
#[derive(Debug, PartialEq, Eq)]
pub struct Taken {
    pub key: Key,
    pub remains: Remains,
    /// The first removal that was about it, which counts it: this one, or an earlier one that had yet to take it.
    pub by: u64,
    /// Bytes of the key that are the prefix of its space, colon included.
    pub prefix_len: usize,
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
    pub stored: Moment,
    /// When its TTL is over; it may be kept longer, to be served stale.
    pub ends: Moment,
}

/// What a removal is about.
#[derive(Debug, Clone)]
pub enum Concern {
    /// Entries that belong to one of these sets.
    Metas(Vec<MetaId>),
    /// Entries that belong to one of these sets of rows of a section and read what the change has not left as it was, and
    /// entries in which one of these rows may belong.
    Rows { section: Box<[u8]>, metas: Vec<(MetaId, Unchanged)>, changes: Arc<Changes> },
    /// Entries of a space, by the prefix of its keys without the colon, and all that any row of it concerns.
    Space(Box<[u8]>),
    /// The same of all tenants of a section: `{…}:<section>`.
    Tenants { section: Box<str> },
    /// Entries of one prefix (ending in `:`) whose call part matches the pattern, or all of them.
    Calls { prefix: Box<[u8]>, pattern: Option<Box<[u8]>> },
}

/// A removal that is in force, and has not taken all that it is about out of the index.
#[derive(Debug)]
struct Removal {
    id: u64,
    /// Entries stored before this stamp.
    before: u64,
    concern: Concern,
}

#[derive(Debug, Default)]
pub struct Index {
    entries: BTreeMap<Key, Entry>,
    pub metas: Metas,
    pub dependents: Dependents,
    readers: Readers,
    /// Entries of each space, by its prefix with the colon.
    spaces: BTreeMap<Box<[u8]>, usize>,
    removals: Vec<Removal>,
    next: u64,
}

impl Index {
    /// Entries, those under a removal included.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Is a removal in force? Then being in Redis does not make an entry live.
    pub fn removing(&self) -> bool {
        !self.removals.is_empty()
    }

    /// The entry, if it is live.
    pub fn live(&self, key: &[u8]) -> Option<&Entry> {
        let entry = self.entries.get(key)?;
        let dead = self.removals.iter().any(|removal| self.is_taken(removal, key, entry));
        (!dead).then_some(entry)
    }

    /// The key of the entry as it is kept here, if there is one.
    pub fn key(&self, key: &[u8]) -> Option<&Key> {
        self.entries.get_key_value(key).map(|(key, _)| key)
    }

    /// The entry, even if a removal that is not carried out yet has it.
    pub fn stored(&self, key: &[u8]) -> Option<&Entry> {
        self.entries.get(key)
    }

    fn is_taken(&self, removal: &Removal, key: &[u8], entry: &Entry) -> bool {
        entry.stamp < removal.before && removal.concern.of(self, key, entry)
    }

    /// Stores an entry, which has referred to its sets; `prefix_len` bytes of its key are the prefix of its space, colon
    /// included. Returns the one it replaces, whose remains the caller sweeps.
    pub fn insert(
        &mut self,
        key: Key,
        prefix_len: usize,
        metas: MetaList,
        facts: Facts,
        dependent: Option<DependentId>,
        reads: Option<&Arc<ColumnsRead>>,
    ) -> Option<Entry> {
        let reader = self.readers.of(reads);
        metas.iter().for_each(|meta| self.metas.list(*meta, reader.marks()));
        let prefix = &key[..prefix_len];
        match self.spaces.get_mut(prefix) {
            Some(entries) => *entries += 1,
            None => drop(self.spaces.insert(prefix.into(), 1)),
        }
        let entry = Entry { stamp: self.next, metas, facts, dependent, prefix_len: prefix_len as u32, reader };
        self.next += 1;
        let replaced = self.entries.insert(key.clone(), entry)?;
        self.forget(&key, &replaced);
        Some(replaced)
    }

    /// Takes an entry out; its references to metadata stay until they are released, and its dependent until it is withdrawn.
    pub fn remove(&mut self, key: &[u8]) -> Option<Entry> {
        let entry = self.entries.remove(key)?;
        self.forget(key, &entry);
        Some(entry)
    }

    /// An entry is in here no more.
    fn forget(&mut self, key: &[u8], entry: &Entry) {
        if entry.dependent.is_some() {
            self.dependents.retire();
        }
        entry.metas.iter().for_each(|meta| self.metas.unlist(*meta));
        let prefix = &key[..entry.prefix_len as usize];
        if let Some(entries) = self.spaces.get_mut(prefix) {
            *entries -= 1;
            if *entries == 0 {
                self.spaces.remove(prefix);
            }
        }
    }

    /// The sets that live entries list, of whose rows the change may concern one of them: a thousand rows that nobody lists, or
    /// of which nobody reads what has changed, cost a thousand look-ups.
    pub fn concerned_sets<'a>(&self, changed: &'a ChangedSets) -> Vec<(MetaId, &'a [u8])> {
        let mut last: Option<(&Unchanged, Marks)> = None;
        let mut concerned = |unchanged: &'a Unchanged| match last {
            Some((before, marks)) if before == unchanged => marks,
            _ => {
                let marks = self.readers.concerned(&changed.section, unchanged);
                last = Some((unchanged, marks));
                marks
            }
        };
        let concerned_set = |(name, unchanged): &'a (Box<[u8]>, Unchanged)| {
            let id = self.metas.find(name)?;
            let is_listed = self.metas.entries(id) > 0;
            (is_listed && self.metas.readers(id).meet(concerned(unchanged))).then_some((id, &**name))
        };
        changed.sets.iter().filter_map(concerned_set).collect()
    }

    /// Puts a removal of all that is stored now in force.
    pub fn begin_removal(&mut self, concern: Concern) -> u64 {
        let id = self.next_removal();
        self.put_in_force(id, concern);
        id
    }

    /// The number of a removal that is to be.
    pub fn next_removal(&mut self) -> u64 {
        self.next += 1;
        self.next - 1
    }

    /// Puts a removal of that number in force, of all that is stored now.
    pub fn put_in_force(&mut self, id: u64, concern: Concern) {
        self.removals.push(Removal { id, before: self.next, concern });
    }

    /// Has a removal take what has been stored since it began, too.
    pub fn extend_removal(&mut self, id: u64) {
        let now = self.next;
        self.next += 1;
        if let Some(removal) = self.removals.iter_mut().find(|removal| removal.id == id) {
            removal.before = now;
        }
    }

    /// The first removal that is about this entry.
    pub fn taken_by(&self, key: &[u8]) -> Option<u64> {
        self.first_taker(key, self.entries.get(key)?)
    }

    fn first_taker(&self, key: &[u8], entry: &Entry) -> Option<u64> {
        self.removals.iter().find(|removal| self.is_taken(removal, key, entry)).map(|removal| removal.id)
    }

    /// The first entry of a prefix after a key of it, or the first of all.
    pub fn next_key(&self, prefix: &[u8], after: Option<&[u8]>) -> Option<Key> {
        self.range(prefix, after).next().map(|(key, _)| key.clone())
    }

    fn range<'a>(&'a self, prefix: &'a [u8], after: Option<&[u8]>) -> impl Iterator<Item = (&'a Key, &'a Entry)> {
        let start = match after {
            Some(key) => Bound::Excluded(key),
            None => Bound::Included(prefix),
        };
        let range = self.entries.range::<[u8], _>((start, Bound::Unbounded));
        range.take_while(move |(key, _)| key.starts_with(prefix))
    }

    /// Ends a removal that has taken everything.
    pub fn end_removal(&mut self, id: u64) {
        self.removals.retain(|removal| removal.id != id);
    }

    /// Up to `limit` entries from `from` on (exclusive; None: the beginning) that the removal takes; and where to go
    /// on, None at the end. Looks at no more than `limit` entries.
    pub fn concerned(&self, id: u64, from: Option<&[u8]>, limit: usize) -> (Vec<Key>, Option<Key>) {
        let Some(removal) = self.removals.iter().find(|removal| removal.id == id) else { return (Vec::new(), None) };
        let mut found = Vec::new();
        let mut last = None;
        for (key, entry) in self.range(removal.concern.prefix(), from).take(limit) {
            if self.is_taken(removal, key, entry) {
                found.push(key.clone());
            }
            last = Some(key.clone());
        }
        (found, last)
    }

    /// Takes those of the candidates out that the removal takes: nobody is served them any more, removal or not.
    pub fn take(&mut self, id: u64, candidates: Vec<Key>) -> Vec<Taken> {
        let Some(at) = self.removals.iter().position(|removal| removal.id == id) else { return Vec::new() };
        let mut taken = Vec::with_capacity(candidates.len());
        for key in candidates {
            // A candidate may come several times.
            let Some(entry) = self.entries.get(&key) else { continue };
            if !self.is_taken(&self.removals[at], &key, entry) {
                continue;
            }
            let by = self.first_taker(&key, entry).unwrap_or(id);
            if let Some(entry) = self.remove(&key) {
                let prefix_len = entry.prefix_len();
                taken.push(Taken { key, remains: entry.into_remains(), by, prefix_len });
            }
        }
        taken
    }

    /// Are there more entries than this with the prefix?
    pub fn is_over(&self, prefix: &[u8], limit: usize) -> bool {
        self.range(prefix, None).nth(limit).is_some()
    }

    /// All entries that the concern is about.
    pub fn all_of(&self, concern: &Concern) -> Vec<Key> {
        let of = self.range(concern.prefix(), None).filter(|(key, entry)| concern.of(self, key, entry));
        of.map(|(key, _)| key.clone()).collect()
    }

    /// Forgets everything at once; what is returned is large, and dropped where time does not matter.
    pub fn clear(&mut self) -> Index {
        let next = self.next;
        let dependents = self.dependents.emptied();
        std::mem::replace(self, Index { next, dependents, ..Index::default() })
    }
}

impl Concern {
    /// What the keys that it may concern begin with.
    fn prefix(&self) -> &[u8] {
        match self {
            Concern::Metas(_) | Concern::Rows { .. } | Concern::Space(_) | Concern::Tenants { .. } => b"",
            Concern::Calls { prefix, .. } => prefix,
        }
    }

    /// Does it mean all of something, so that a second one like it is the same?
    pub fn repeats(&self, other: &Concern) -> bool {
        match (self, other) {
            (Concern::Metas(metas), Concern::Metas(others)) => metas == others,
            (Concern::Space(prefix), Concern::Space(other)) => prefix == other,
            (Concern::Tenants { section }, Concern::Tenants { section: other }) => section == other,
            (Concern::Calls { prefix, pattern }, Concern::Calls { prefix: other, pattern: others }) => {
                prefix == other && pattern == others
            }
            _ => false,
        }
    }

    fn of(&self, index: &Index, key: &[u8], entry: &Entry) -> bool {
        let is_member = |metas: &[MetaId]| metas.iter().any(|meta| entry.metas.binary_search(meta).is_ok());
        let depends = |is_of: &dyn Fn(&[u8]) -> bool| {
            is_of(key) || entry.metas.iter().any(|meta| index.metas.name(*meta).is_some_and(|name| is_of(name)))
        };
        match self {
            Concern::Metas(metas) => is_member(metas),
            Concern::Rows { section, metas, changes } => {
                let lists = |(meta, unchanged): &(MetaId, Unchanged)| {
                    entry.metas.binary_search(meta).is_ok()
                        && !index.readers.pass_over(entry.reader, section, unchanged)
                };
                metas.iter().any(lists)
                    || entry.dependent.is_some_and(|dependent| index.dependents.concerned(dependent, changes))
            }
            Concern::Space(prefix) => {
                let is_of = |name: &[u8]| name.strip_prefix(prefix.as_ref()).is_some_and(|rest| rest.starts_with(b":"));
                depends(&is_of)
                    || entry.dependent.is_some_and(|id| index.dependents.spaces(id).any(|space| space == &**prefix))
            }
            Concern::Tenants { section } => {
                let is_of = |name: &[u8]| is_tenants(name, section);
                let interested = |id| index.dependents.spaces(id).any(|space| is_tenants_space(space, section));
                depends(&is_of) || entry.dependent.is_some_and(interested)
            }
            Concern::Calls { prefix, pattern } => key
                .strip_prefix(prefix.as_ref())
                .is_some_and(|call| pattern.as_ref().is_none_or(|pattern| glob::matches(pattern, call))),
        }
    }
}

/// A key of any tenant's space of the section.
fn is_tenants(name: &[u8], section: &str) -> bool {
    let end = name.iter().position(|byte| *byte == b'}').map_or(name.len(), |end| end + 1);
    let rest = name[end..].strip_prefix(b":").and_then(|rest| rest.strip_prefix(section.as_bytes()));
    name.starts_with(b"{") && rest.is_some_and(|rest| rest.starts_with(b":"))
}

/// The prefix of such a space.
fn is_tenants_space(prefix: &[u8], section: &str) -> bool {
    is_tenants(&[prefix, b":"].concat(), section)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(index: &mut Index, key: &[u8], metas: &[&[u8]]) {
        let mut metas: Vec<MetaId> = metas.iter().map(|name| index.metas.refer(name)).collect();
        metas.sort_unstable();
        let prefix = key.iter().rposition(|byte| *byte == b':').map_or(0, |at| at + 1);
        index.insert(key.into(), prefix, metas.into(), Facts::default(), None, None);
    }

    fn all(prefix: &[u8]) -> Concern {
        Concern::Calls { prefix: prefix.into(), pattern: None }
    }

    #[test]
    fn a_removal_takes_what_was_stored_before_it_and_nothing_later() {
        let mut index = Index::default();
        store(&mut index, b"bear:a", &[b"m5"]);
        store(&mut index, b"bear:b", &[b"m6"]);
        let five = index.metas.find(b"m5").unwrap();
        let removal = index.begin_removal(Concern::Metas(vec![five]));
        assert!(index.live(b"bear:a").is_none());
        assert!(index.live(b"bear:b").is_some());
        store(&mut index, b"bear:a", &[b"m5"]);
        assert!(index.live(b"bear:a").is_some(), "stored after the removal");
        assert_eq!(index.take(removal, vec![b"bear:a"[..].into()]), []);
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
        assert_eq!(second, [Key::from(b"bear:c".as_slice())]);
        assert_eq!(index.concerned(removal, next.as_deref(), 2), (vec![], None));
        for alive in [&b"bears:a"[..], b"bea:a", b"{1}:bear:a"] {
            assert!(index.live(alive).is_some());
        }
        assert!(index.is_over(b"bear:", 2) && !index.is_over(b"bear:", 3));
    }

    #[test]
    fn members_of_a_set_are_found_in_all_spaces_without_the_set() {
        let mut index = Index::default();
        store(&mut index, b"bear:a", &[b"m5"]);
        store(&mut index, b"den:x:1", &[b"m5", b"m7"]);
        store(&mut index, b"den:x:2", &[b"m7"]);
        let five = index.metas.find(b"m5").unwrap();
        let removal = index.begin_removal(Concern::Metas(vec![five]));
        let (found, _) = index.concerned(removal, None, 10);
        assert_eq!(found, [Key::from(b"bear:a".as_slice()), b"den:x:1".as_slice().into()]);
        assert_eq!(index.count_all(removal), 2);
        let taken = index.take(removal, [&found[..], &found[..]].concat());
        assert_eq!(taken.iter().map(|taken| &taken.key).collect::<Vec<_>>(), found.iter().collect::<Vec<_>>());
        assert!(index.stored(b"bear:a").is_none() && index.live(b"den:x:2").is_some());
    }

    #[test]
    fn an_extended_removal_takes_what_was_stored_since() {
        let mut index = Index::default();
        let removal = index.begin_removal(all(b"bear:"));
        store(&mut index, b"bear:a", &[]);
        assert!(index.live(b"bear:a").is_some());
        index.extend_removal(removal);
        assert!(index.live(b"bear:a").is_none());
        assert_eq!(index.taken_by(b"bear:a"), Some(removal));
    }

    #[test]
    fn all_tenants_of_a_section_are_taken_and_no_other_section() {
        let mut index = Index::default();
        for key in [&b"{1}:booking:a"[..], b"{2}:booking:b", b"{1}:bookings:a", b"{1}:message:a", b"booking:a"] {
            store(&mut index, key, &[]);
        }
        let removal = index.begin_removal(Concern::Tenants { section: "booking".into() });
        assert_eq!(index.count_all(removal), 2);
        assert!(index.live(b"{1}:bookings:a").is_some() && index.live(b"booking:a").is_some());
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
}
