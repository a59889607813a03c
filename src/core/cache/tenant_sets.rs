//! Sets of one row by whatever tenant it is kept under: `{…}:booking:meta:<id>:caches`.
//!
//! Who changes a row without saying whose it was wants to know which tenants have it.

use std::hash::BuildHasher;

use rustc_hash::{FxBuildHasher, FxHashMap};
use smallvec::SmallVec;

use super::meta_id::MetaId;

/// As [`super::metas::Metas`]: many small maps, none of which grows in one large step.
const MAPS: usize = 1024;

#[derive(Debug)]
pub struct TenantSets {
    maps: Box<[FxHashMap<u64, SmallVec<[MetaId; 1]>>]>,
}

impl Default for TenantSets {
    fn default() -> Self {
        TenantSets { maps: (0..MAPS).map(|_| FxHashMap::default()).collect() }
    }
}

impl TenantSets {
    /// Takes note of a set; one that is no tenant's is passed over.
    pub fn add(&mut self, name: &[u8], id: MetaId) {
        let Some(rest) = after_tenant(name) else { return };
        let (map, hash) = place_of(rest);
        self.maps[map].entry(hash).or_default().push(id);
    }

    pub fn remove(&mut self, name: &[u8], id: MetaId) {
        let Some(rest) = after_tenant(name) else { return };
        let (map, hash) = place_of(rest);
        if let Some(ids) = self.maps[map].get_mut(&hash) {
            ids.retain(|known| *known != id);
            if ids.is_empty() {
                self.maps[map].remove(&hash);
            }
        }
    }

    /// Sets of this name after the tenant, and perhaps a few others.
    pub fn find(&self, rest: &[u8]) -> &[MetaId] {
        let (map, hash) = place_of(rest);
        self.maps[map].get(&hash).map_or(&[], |ids| ids)
    }
}

/// What follows `{…}:`.
pub fn after_tenant(name: &[u8]) -> Option<&[u8]> {
    let end = name.strip_prefix(b"{")?.iter().position(|byte| *byte == b'}')?;
    name[end + 2..].strip_prefix(b":")
}

/// Is the set of this name after the tenant among those of a result, sorted, whoever's it is? A result is of one tenant, so
/// that there are few to look up.
pub fn lists(metadata: &[Box<[u8]>], rest: &[u8]) -> bool {
    let mut at = metadata.partition_point(|name| name.as_ref() < b"{".as_slice());
    while let Some(name) = metadata.get(at) {
        let Some(after) = after_tenant(name) else { return false };
        let prefix = &name[..name.len() - after.len()];
        let wanted = [prefix, rest].concat();
        if metadata.binary_search_by(|name| name.as_ref().cmp(&wanted)).is_ok() {
            return true;
        }
        at += metadata[at..].partition_point(|name| name.starts_with(prefix));
    }
    false
}

fn place_of(rest: &[u8]) -> (usize, u64) {
    let hash = FxBuildHasher.hash_one(rest);
    ((hash >> 48) as usize % MAPS, hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_lists_a_row_under_its_own_tenant() {
        let names =
            [&b"bear:meta:5:caches"[..], b"{1}:a:meta:5:caches", b"{1}:b:meta:7:caches", b"{sale}:meta:9:caches"];
        let metadata: Vec<Box<[u8]>> = names.into_iter().map(Into::into).collect();
        for (rest, expected) in [
            (&b"a:meta:5:caches"[..], true),
            (b"b:meta:7:caches", true),
            (b"b:meta:5:caches", false),
            (b"meta:5:caches", false),
            (b"meta:9:caches", true),
        ] {
            assert_eq!(lists(&metadata, rest), expected, "{}", String::from_utf8_lossy(rest));
        }
        assert!(!lists(&[], b"a:meta:5:caches") && !lists(&metadata[..1], b"bear:meta:5:caches"));
    }
}
