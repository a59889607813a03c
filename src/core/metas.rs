//! Metadata sets by number: an entry with a thousand rows costs four bytes for each.
//!
//! A set is referred to by the entries that list it, by dead ones whose members are not swept yet, and by fills that are
//! being published; with the last reference the set itself can go.
//!
//! Nothing here grows in one large step, which would hold Redis' thread: names are spread over many small maps, and
//! numbers over chunks that never move.

use std::hash::BuildHasher;
use std::sync::Arc;

use rustc_hash::{FxBuildHasher, FxHashMap};

/// Number of a metadata set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MetaId(u32);

/// With ten million sets, the growth of one map moves ten thousand names: less than a millisecond.
const MAPS: usize = 1024;

/// Sets of one chunk.
const CHUNK: usize = 1024;

#[derive(Debug)]
enum Slot {
    Used {
        name: Arc<[u8]>,
        references: u32,
    },
    /// The next free number.
    Free(Option<MetaId>),
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
    chunks: Vec<Vec<Slot>>,
    free: Option<MetaId>,
    used: usize,
}

impl Default for Metas {
    fn default() -> Self {
        Metas { ids: (0..MAPS).map(|_| FxHashMap::default()).collect(), chunks: Vec::new(), free: None, used: 0 }
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
        let id = self.place(Slot::Used { name: name.clone(), references: 1 });
        self.ids[map_of(&name)].insert(name, id);
        self.used += 1;
        id
    }

    /// Takes one reference back.
    pub fn release(&mut self, id: MetaId) -> Option<Released> {
        let free = self.free;
        let slot = self.slot_mut(id)?;
        let Slot::Used { name, references } = slot else { return None };
        *references -= 1;
        let name = name.clone();
        if *references > 0 {
            return Some(Released::Shared(name));
        }
        *slot = Slot::Free(free);
        self.free = Some(id);
        self.used -= 1;
        self.ids[map_of(&name)].remove(&name);
        Some(Released::Last(name))
    }

    /// The number of a set that is referred to.
    pub fn find(&self, name: &[u8]) -> Option<MetaId> {
        self.ids[map_of(name)].get(name).copied()
    }

    pub fn name(&self, id: MetaId) -> Option<&Arc<[u8]>> {
        match self.chunks.get(id.0 as usize / CHUNK)?.get(id.0 as usize % CHUNK)? {
            Slot::Used { name, .. } => Some(name),
            Slot::Free(_) => None,
        }
    }

    fn slot_mut(&mut self, id: MetaId) -> Option<&mut Slot> {
        self.chunks.get_mut(id.0 as usize / CHUNK)?.get_mut(id.0 as usize % CHUNK)
    }

    fn place(&mut self, slot: Slot) -> MetaId {
        if let Some(id) = self.free {
            if let Some(place) = self.slot_mut(id) {
                if let Slot::Free(next) = *place {
                    *place = slot;
                    self.free = next;
                    return id;
                }
            }
        }
        if self.chunks.last().is_none_or(|chunk| chunk.len() == CHUNK) {
            self.chunks.push(Vec::with_capacity(CHUNK));
        }
        let chunk = self.chunks.len() - 1;
        self.chunks[chunk].push(slot);
        MetaId((chunk * CHUNK + self.chunks[chunk].len() - 1) as u32)
    }
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
    }
}
