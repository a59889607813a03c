//! Cold: nothing stored before is served.
//!
//! Entries do not outlive the process or the mastership that filled them, for an invalidation may have been in the
//! tail that was lost. After a load as a master or a promotion the index is empty, which is all it takes on the
//! master; a walk over the database ([`super::owned`]) then removes what an earlier life left, in slices, under a tombstone
//! for the replicas. What is filled meanwhile is served.

use super::Keyspace;
use crate::core::cache::index::Concern;

/// What making everything cold leaves behind.
pub struct Forgotten {
    /// Large; to be dropped where time does not matter.
    pub rubbish: Box<dyn Send>,
    /// Tickets and counts of large removals that ended with it.
    pub removals: Vec<(u64, u64)>,
}

impl Keyspace {
    /// Makes all entries cold: from now on none of them is served.
    pub fn make_all_cold(&mut self) {
        self.abort_publications(|_, _| true);
        self.invalidate_later(Concern::Calls { prefix: Box::default(), pattern: None });
        self.cold += 1;
    }

    /// Forgets all entries: the dataset is another, of which nothing is known.
    pub fn forget_all(&mut self) -> Forgotten {
        let removals = self.abandon_removals();
        let rubbish = (
            self.index.clear(),
            std::mem::take(&mut self.publications),
            std::mem::take(&mut self.dead),
            std::mem::take(&mut self.unclean),
            std::mem::take(&mut self.doomed),
            self.warm.clear(),
        );
        self.forget_owner();
        self.tombstone = false;
        Forgotten { rubbish: Box::new(rubbish), removals }
    }

    /// Makes the entries of one prefix (ending in `:`) cold.
    pub fn make_cold(&mut self, prefix: &[u8]) {
        self.abort_publications(|key, _| key.starts_with(prefix));
        self.invalidate_later(Concern::Calls { prefix: prefix.into(), pattern: None });
        self.cold += 1;
    }

    /// Makes the entries of a space cold, by the prefix of its keys without the colon, and those of others that any row of
    /// it concerns.
    pub fn make_space_cold(&mut self, prefix: &[u8]) {
        self.abort_publications(|_, _| true);
        self.invalidate_later(Concern::Space(prefix.into()));
        self.cold += 1;
    }

    /// The same of all tenants of a section.
    pub fn make_tenants_cold(&mut self, section: &str) {
        self.abort_publications(|_, _| true);
        self.invalidate_later(Concern::Tenants { section: section.into() });
        self.cold += 1;
    }
}
