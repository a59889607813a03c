//! Cold: nothing stored before is served.
//!
//! Entries do not outlive the process or the mastership that filled them, for an invalidation may have been in the
//! tail that was lost. After a load as a master or a promotion the index is empty, which is all it takes on the
//! master; a walk over the database then removes what Redis still has, in slices, under a tombstone for the replicas.
//! What is filled meanwhile is served.

use super::{store, watch, Keyspace};
use crate::core::index::{Concern, Key};
use crate::redis_api::{Context, KeyType, Scan};

/// Foreign keys between two looks at the clock.
const SLICE: usize = 16;

/// What making everything cold leaves behind.
pub struct Forgotten {
    /// Large; to be dropped where time does not matter.
    pub rubbish: Box<dyn Send>,
    /// Tickets and counts of large removals that ended with it.
    pub removals: Vec<(u64, u64)>,
}

/// Could an earlier process of ours have written it? A hash or a list where an entry would stand is somebody's data:
/// never served, and not swept; only storing that very call takes its place.
fn is_of_our_type(ctx: Context, key: &[u8], kind: watch::Kind) -> bool {
    let ours = match kind {
        watch::Kind::Entry { .. } => KeyType::String,
        watch::Kind::Metadata { .. } => KeyType::Set,
    };
    KeyType::of(ctx, key) == Some(ours)
}

impl Keyspace {
    /// Forgets all entries, and has the database swept for what Redis still has of them.
    pub fn make_all_cold(&mut self) -> Forgotten {
        let forgotten = self.forget_all();
        self.scan = Some(Scan::default());
        self.cold += 1;
        forgotten
    }

    /// Forgets all entries: Redis has none any more (FLUSHALL), or they are another's (a replica's).
    pub fn forget_all(&mut self) -> Forgotten {
        let removals = self.abandon_removals();
        let rubbish = (
            self.index.clear(),
            std::mem::take(&mut self.publications),
            std::mem::take(&mut self.dead),
            std::mem::take(&mut self.unclean),
            std::mem::take(&mut self.foreign),
        );
        self.scan = None;
        self.tombstone = false;
        Forgotten { rubbish: Box::new(rubbish), removals }
    }

    /// Makes the entries of one prefix (ending in `:`) cold.
    pub fn make_cold(&mut self, prefix: &[u8]) {
        self.abort_publications(|key, _| key.starts_with(prefix));
        self.condemn(Concern::Calls { prefix: prefix.into(), pattern: None });
        self.cold += 1;
    }

    /// Makes the entries of a space cold, by the prefix of its keys without the colon, and those of others that any row of
    /// it concerns.
    pub fn make_space_cold(&mut self, prefix: &[u8]) {
        self.abort_publications(|_, _| true);
        self.condemn(Concern::Space(prefix.into()));
        self.cold += 1;
    }

    /// The same of all tenants of a section.
    pub fn make_tenants_cold(&mut self, section: &str) {
        self.abort_publications(|_, _| true);
        self.condemn(Concern::Tenants { section: section.into() });
        self.cold += 1;
    }

    /// Sweeps what may stand in the database without having been stored by us; what we stored is served meanwhile.
    pub fn sweep_database(&mut self) {
        self.scan = Some(Scan::default());
    }

    /// A foreign hand wrote a key of a space's, which has grown cold: the key goes.
    pub(super) fn tampered(&mut self, key: Key) {
        if let Some(meta) = self.index.metas.find(&key) {
            // Entries of other spaces may belong to the set, which can no longer tell.
            self.abort_publications(|_, metas| metas.binary_search(&key).is_ok());
            self.condemn(Concern::Metas(vec![meta]));
        }
        self.foreign.push_back(key);
    }

    /// Removes keys that foreign hands wrote, unless an entry has been stored there since.
    pub(super) fn foreign_slice(&mut self, ctx: Context) {
        let mut strange = Vec::new();
        for _ in 0..SLICE {
            let Some(key) = self.foreign.pop_front() else { break };
            if self.index.metas.find(&key).is_some() {
                self.clean_later(key);
            } else if !self.is_ours(&key) && watch::kind(&key).is_none_or(|kind| is_of_our_type(ctx, &key, kind)) {
                strange.push(key);
            }
        }
        let mut failed = Vec::new();
        store::unlink(ctx, &strange, &mut failed);
        self.foreign.extend(failed);
    }

    /// Looks at the next few keys of the database. False when the walk is over.
    pub(super) fn scan_slice(&mut self, ctx: Context) {
        let Some(mut scan) = self.scan.take() else { return };
        self.raise_tombstone(ctx);
        let mut names = Vec::new();
        let more = scan.step(ctx, &mut names);
        let mut strange = Vec::new();
        for name in names {
            match watch::kind(&name) {
                Some(watch::Kind::Metadata { .. }) if self.index.metas.find(&name).is_some() => self.clean_later(name),
                Some(kind) if !self.is_ours(&name) && is_of_our_type(ctx, &name, kind) => strange.push(name),
                Some(_) | None => {}
            }
        }
        let mut failed = Vec::new();
        store::unlink(ctx, &strange, &mut failed);
        self.foreign.extend(failed);
        if more {
            self.scan = Some(scan);
        }
    }

    /// Is this key accounted for by the index?
    fn is_ours(&self, key: &[u8]) -> bool {
        self.index.stored(key).is_some() || self.index.metas.find(key).is_some()
    }

    /// Tells replicas to serve nothing until it is removed.
    pub(super) fn raise_tombstone(&mut self, ctx: Context) {
        if !self.tombstone && ctx.db_size() > 0 {
            store::put_tombstone(ctx);
            self.tombstone = true;
        }
    }

    /// Removes the tombstone when nothing needs it any more.
    pub(super) fn lower_tombstone(&mut self, ctx: Context) {
        if self.tombstone && !self.is_strict() {
            store::remove_tombstone(ctx);
            self.tombstone = false;
        }
    }
}
