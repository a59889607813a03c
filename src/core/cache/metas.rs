//! Metadata sets by number: an entry with a thousand rows costs four bytes for each.
//!
//! A set is referred to by the entries that list it, by dead ones whose members are not swept yet, and by fills that are
//! being published; with the last reference the set itself can go.
//!
//! Nothing here grows in one large step, which would hold Redis' thread: names are spread over many small maps, and
//! numbers over chunks that never move.

use std::collections::BTreeSet;
use std::hash::BuildHasher;
use std::sync::Arc;

use rustc_hash::{FxBuildHasher, FxHashMap};

use super::meta_id::MetaId;
use super::readers::Marks;
use super::tenant_sets::{after_tenant, TenantSets};

/// With ten million sets, the growth of one map moves ten thousand names: less than a millisecond.
const MAPS: usize = 1024;

/// Sets of one chunk.
const CHUNK: usize = 1024;

#[derive(Debug)]
enum Slot {
    Used {
        name: Arc<[u8]>,
        references: u32,
        /// Of these, entries of the index.
        entries: u32,
        /// Who they are; of some that are gone, too, until none is left.
        readers: Marks,
    },
    /// The next free slot of the chunk.
    Free(Option<u16>),
}

/// A run of numbers. It goes when none of them is in use.
#[derive(Debug)]
struct Chunk {
    slots: Vec<Slot>,
    used: usize,
    free: Option<u16>,
}

/// What [`Metas::release`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Released {
    /// Others still refer to the set of this name.
    Shared(Arc<[u8]>),
    /// That was the last reference: the set of this name can go as a whole.
    Last(Arc<[u8]>),
}

#[derive(Debug)]
pub struct Metas {
    ids: Box<[FxHashMap<Arc<[u8]>, MetaId>]>,
    tenants: TenantSets,
    chunks: Vec<Option<Chunk>>,
    /// Chunks with room. The first is filled first, so that the last ones empty.
    roomy: BTreeSet<usize>,
    used: usize,
}

impl Default for Metas {
    fn default() -> Self {
        let ids = (0..MAPS).map(|_| FxHashMap::default()).collect();
        Metas { ids, tenants: TenantSets::default(), chunks: Vec::new(), roomy: BTreeSet::new(), used: 0 }
    }
}

impl Metas {
    /// Sets that are referred to.
    pub fn len(&self) -> usize {
        self.used
    }

    /// The set's number; refers to it once more.
    pub fn refer(&mut self, name: &[u8]) -> MetaId {
        if let Some(id) = self.find(name) {
            if let Some(Slot::Used { references, .. }) = self.slot_mut(id) {
                *references += 1;
            }
            return id;
        }
        let name: Arc<[u8]> = name.into();
        let id = self.place(Slot::Used { name: name.clone(), references: 1, entries: 0, readers: Marks::default() });
        self.tenants.add(&name, id);
        self.ids[map_of(&name)].insert(name, id);
        self.used += 1;
        id
    }

    /// Takes one reference back.
    pub fn release(&mut self, id: MetaId) -> Option<Released> {
        let (at, slot) = place_of(id);
        let chunk = self.chunks.get_mut(at)?.as_mut()?;
        let Slot::Used { name, references, .. } = chunk.slots.get_mut(slot)? else { return None };
        *references -= 1;
        let name = name.clone();
        if *references > 0 {
            return Some(Released::Shared(name));
        }
        chunk.slots[slot] = Slot::Free(chunk.free.replace(slot as u16));
        chunk.used -= 1;
        self.used -= 1;
        if chunk.used == 0 {
            self.chunks[at] = None;
        }
        self.roomy.insert(at);
        self.tenants.remove(&name, id);
        let map = &mut self.ids[map_of(&name)];
        map.remove(&name);
        if map.capacity() > 16 && map.len() < map.capacity() / 4 {
            map.shrink_to(map.len() * 2);
        }
        if self.used == 0 {
            *self = Metas::default();
        }
        Some(Released::Last(name))
    }

    /// An entry of the index lists the set; it has referred to it before.
    pub fn list(&mut self, id: MetaId, reader: Marks) {
        if let Some(Slot::Used { entries, readers, .. }) = self.slot_mut(id) {
            *entries += 1;
            readers.add(reader);
        }
    }

    /// An entry that listed the set is in the index no more; its reference stays until it is released.
    pub fn unlist(&mut self, id: MetaId) {
        if let Some(Slot::Used { entries, readers, .. }) = self.slot_mut(id) {
            *entries = entries.saturating_sub(1);
            if *entries == 0 {
                *readers = Marks::default();
            }
        }
    }

    /// Whoever reads the results of these entries, and perhaps others.
    pub fn readers(&self, id: MetaId) -> Marks {
        match self.slot(id) {
            Some(Slot::Used { readers, .. }) => *readers,
            _ => Marks::default(),
        }
    }

    /// Entries of the index that list the set.
    pub fn entries(&self, id: MetaId) -> usize {
        self.counts(id).0
    }

    /// These, dead ones that are not swept, and publications under way: as many members as Redis may have of the set,
    /// those of an earlier life left out.
    pub fn references(&self, id: MetaId) -> usize {
        self.counts(id).1
    }

    fn counts(&self, id: MetaId) -> (usize, usize) {
        match self.slot(id) {
            Some(Slot::Used { references, entries, .. }) => (*entries as usize, *references as usize),
            _ => (0, 0),
        }
    }

    /// The number of a set that is referred to.
    pub fn find(&self, name: &[u8]) -> Option<MetaId> {
        self.ids[map_of(name)].get(name).copied()
    }

    /// Names of the sets of all tenants that go on like this after the tenant: `booking:meta:<id>:caches`.
    pub fn of_tenants<'a>(&'a self, rest: &'a [u8]) -> impl Iterator<Item = &'a Arc<[u8]>> {
        let names = self.tenants.find(rest).iter().filter_map(|id| self.name(*id));
        names.filter(move |name| after_tenant(name) == Some(rest))
    }

    pub fn name(&self, id: MetaId) -> Option<&Arc<[u8]>> {
        match self.slot(id)? {
            Slot::Used { name, .. } => Some(name),
            Slot::Free(_) => None,
        }
    }

    fn slot(&self, id: MetaId) -> Option<&Slot> {
        let (at, slot) = place_of(id);
        self.chunks.get(at)?.as_ref()?.slots.get(slot)
    }

    fn slot_mut(&mut self, id: MetaId) -> Option<&mut Slot> {
        let (at, slot) = place_of(id);
        self.chunks.get_mut(at)?.as_mut()?.slots.get_mut(slot)
    }

    fn place(&mut self, new: Slot) -> MetaId {
        let at = self.roomy.first().copied().unwrap_or_else(|| {
            self.chunks.push(None);
            self.roomy.insert(self.chunks.len() - 1);
            self.chunks.len() - 1
        });
        let chunk =
            self.chunks[at].get_or_insert_with(|| Chunk { slots: Vec::with_capacity(CHUNK), used: 0, free: None });
        let slot = match chunk.free {
            Some(slot) => {
                if let Slot::Free(next) = std::mem::replace(&mut chunk.slots[slot as usize], new) {
                    chunk.free = next;
                }
                slot as usize
            }
            None => {
                chunk.slots.push(new);
                chunk.slots.len() - 1
            }
        };
        chunk.used += 1;
        if chunk.used == CHUNK {
            self.roomy.remove(&at);
        }
        MetaId((at * CHUNK + slot) as u32)
    }
}

/// The chunk of a number, and the slot in it.
fn place_of(id: MetaId) -> (usize, usize) {
    (id.0 as usize / CHUNK, id.0 as usize % CHUNK)
}

/// The map that holds a name. Its upper bits decide, for the maps themselves use the lower ones.
fn map_of(name: &[u8]) -> usize {
    (FxBuildHasher.hash_one(name) >> 48) as usize % MAPS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_goes_with_its_last_reference_and_its_number_is_used_again() {
        let mut metas = Metas::default();
        let first = metas.refer(b"m5");
        assert_eq!(metas.refer(b"m5"), first);
        assert_eq!(metas.release(first), Some(Released::Shared(b"m5"[..].into())));
        assert_eq!(metas.release(first), Some(Released::Last(b"m5"[..].into())));
        assert_eq!(metas.release(first), None);
        assert_eq!((metas.find(b"m5"), metas.len()), (None, 0));
        assert_eq!(metas.refer(b"m6"), first);
        assert_eq!(metas.name(first).map(|name| name.to_vec()), Some(b"m6".to_vec()));
    }

    #[test]
    fn a_row_is_found_under_every_tenant_that_has_it() {
        let mut metas = Metas::default();
        let names: [&[u8]; 5] = [
            b"{1}:booking:meta:7:caches",
            b"{2}:booking:meta:7:caches",
            b"{1}:booking:meta:8:caches",
            b"{1}:bookings:meta:7:caches",
            b"booking:meta:7:caches",
        ];
        let ids: Vec<MetaId> = names.iter().map(|name| metas.refer(name)).collect();
        let found = |metas: &Metas| {
            let mut found: Vec<Vec<u8>> =
                metas.of_tenants(b"booking:meta:7:caches").map(|name| name.to_vec()).collect();
            found.sort_unstable();
            found
        };
        assert_eq!(found(&metas), [names[0], names[1]]);
        metas.release(ids[0]);
        assert_eq!(found(&metas), [names[1]]);
        metas.release(ids[1]);
        assert!(found(&metas).is_empty());
    }

    #[test]
    fn many_sets_come_and_go() {
        let mut metas = Metas::default();
        let name = |n: usize| format!("bear:meta:{n}:caches").into_bytes();
        let ids: Vec<MetaId> = (0..5000).map(|n| metas.refer(&name(n))).collect();
        for (n, id) in ids.iter().enumerate() {
            assert_eq!(metas.find(&name(n)), Some(*id));
            assert_eq!(metas.name(*id).map(|found| found.to_vec()), Some(name(n)));
        }
        for id in ids.iter().step_by(2) {
            assert!(matches!(metas.release(*id), Some(Released::Last(_))));
        }
        assert_eq!(metas.len(), 2500);
        for n in 5000..7500 {
            metas.refer(&name(n));
        }
        assert_eq!((metas.len(), metas.chunks.len()), (5000, 5), "numbers are used again");
        let spread = metas.ids.iter().map(FxHashMap::len).max();
        assert!(spread < Some(40), "{spread:?} of 5000 names in one of {MAPS} maps");
        // Those that stay are the first: the chunks of the others go.
        for n in 5000..7500 {
            let id = metas.find(&name(n)).unwrap();
            metas.release(id);
        }
        for n in (101..5000).step_by(2) {
            let id = metas.find(&name(n)).unwrap();
            metas.release(id);
        }
        assert_eq!((metas.len(), metas.chunks.iter().flatten().count()), (50, 1));
    }
}
