//! Entries and their metadata in Redis: what is stored, what is removed, what is swept, and what of it is live.
//!
//! | file | what |
//! |---|---|
//! | `store` | the commands that write |
//! | `publish` | a fill becomes an entry |
//! | `remove` | invalidation |
//! | `large` | invalidations of many entries, carried out in slices |
//! | `sweep` | metadata of dead entries |
//! | `cold` | what is not served any more |
//! | `owned` | what an earlier life left, told from what is somebody's |
//! | `told` | what is told of all that, for events |
//! | `look` | what a key looks like |
//! | `warm` | which entries are kept warm |
//! | `watch` | notifications of other clients' writes |
//! | `jobs` | queues' keys |
//! | `claims` | those of claimed jobs |
//! | `inbox` | those of rows of the inbox |
//! | `schedules` | those of schedules |
//! | `locks` | those of locks and limits |
//! | `slots` | in a cluster, whose a slot is |
//! | `tombstones` | where replicas are told to serve nothing |
//!
//! ```text
//! publish: metadata first, then the entry -> live -> remove (at most 200 at once) or large (in slices) -> sweep
//! ```
//! A new kind of key: `core/calls/keys` names it, `look` knows it when it sees it, `owned` whose it is, and the page of keys in the
//! book tells of it.

pub mod claims;
mod cold;
pub mod inbox;
pub mod jobs;
mod large;
pub mod locks;
mod look;
pub mod owned;
mod publish;
mod remove;
pub mod schedules;
pub mod slots;
mod store;
mod sweep;
pub mod told;
pub mod tombstones;
pub mod warm;
pub mod watch;

use std::collections::{BTreeSet, LinkedList, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use crate::core::cache::index::{Entry, Index, Key};
use crate::core::cache::meta_id::MetaId;
use crate::core::cache::stored_form::Content;
use crate::core::calls::names::Deployment;
use crate::core::catalog::demand::Demand;
use crate::core::changes::dependency::DependentId;
use crate::core::values::value::Value;
use crate::redis_api::Context;

pub use cold::Forgotten;
pub use publish::Publication;
pub use remove::{Outcome, Pace, What};

/// Of the keys of a space, without the colon.
pub type Prefix = Box<[u8]>;

/// Name of a metadata set.
pub type SetName = Box<[u8]>;

/// A master's view of its entries, and the work under way. A replica's is empty.
#[derive(Default)]
pub struct Keyspace {
    index: Index,
    publications: publish::Publications,
    large: VecDeque<large::Large>,
    in_turn: VecDeque<large::InTurn>,
    /// Large removals that have taken everything, of which Redis may have something left.
    ending: usize,
    /// A list, for a queue of a million would hold the thread whenever it grows; so the next.
    dead: LinkedList<sweep::Dead>,
    unclean: LinkedList<sweep::Unclean>,
    /// Keys that we wrote, that are in the index no more, and in Redis still.
    doomed: BTreeSet<Key>,
    owned: owned::Owned,
    pub told: told::Told,
    pub warm: warm::Warm,
    /// Is everything removed outside commands? In a cluster it must be: within a command, Redis 8 and Valkey look for
    /// every key in the slot of that command's own.
    outside_commands: bool,
    /// Outside a cluster: does the tombstone stand?
    tombstone: bool,
    /// Entries stored, removed by invalidation, gone by TTL, evicted, deleted by others.
    pub stored: u64,
    pub removed: u64,
    pub expired: u64,
    pub evicted: u64,
    pub deleted: u64,
    /// Dead entries whose metadata has been swept.
    pub swept: u64,
    /// How often a space, or all of them, grew cold.
    pub cold: u64,
}

/// What is left to do after a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Left {
    Nothing,
    /// Sweeping: a share of the time is enough.
    Background,
    /// Somebody waits for it.
    Urgent,
}

impl Keyspace {
    /// For a server of this kind.
    pub fn new(deployment: Deployment) -> Keyspace {
        let in_cluster = deployment == Deployment::Cluster;
        Keyspace { outside_commands: in_cluster, owned: owned::Owned::new(in_cluster), ..Keyspace::default() }
    }

    /// Does being in Redis not suffice to make an entry live?
    pub fn is_strict(&self) -> bool {
        self.is_moving() || self.owned.has_strangers()
    }

    /// Does Redis have what is not to be served, for as long as our own work takes?
    fn is_moving(&self) -> bool {
        // What came with a slot is not served.
        self.index.removing() || !self.doomed.is_empty() || self.owned.is_walking() || slots::any()
    }

    /// Counts entries and publications that depend on the values of the section's rows.
    pub fn demand(&mut self, section: &str) -> Arc<Demand> {
        self.index.dependents.demand(section)
    }

    /// The live entry's record.
    pub fn live(&self, key: &[u8]) -> Option<&Entry> {
        self.index.live(key)
    }

    /// Tenants' spaces of the section that have the row whose set is called so after the tenant: the prefix of their keys,
    /// and the set.
    pub fn tenants_with(&self, section: &str, set: &[u8]) -> Vec<(Prefix, SetName)> {
        let of = |name: &Arc<[u8]>| {
            let prefix = &name[..name.len() - (set.len() - section.len())];
            (prefix.into(), name.as_ref().into())
        };
        self.index.metas.of_tenants(set).map(of).collect()
    }

    /// The key of the entry that follows another one of a prefix, or of the first.
    pub fn next_key(&self, prefix: &[u8], after: Option<&[u8]>) -> Option<Key> {
        self.index.next_key(prefix, after)
    }

    /// What the predicates of an entry compare with.
    pub fn compared(&self, dependent: DependentId) -> Option<&Arc<[Value]>> {
        self.index.dependents.compared(dependent)
    }

    /// Names of the metadata sets that an entry belongs to.
    pub fn meta_names<'a>(&'a self, metas: &'a [MetaId]) -> impl Iterator<Item = &'a [u8]> {
        metas.iter().filter_map(|id| self.index.metas.name(*id)).map(AsRef::as_ref)
    }

    /// A result that is being published, good for answers already.
    pub fn publishing(&self, key: &[u8]) -> Option<&Content> {
        if self.publications.is_empty() {
            return None;
        }
        self.publications.result(key)
    }

    /// Is any result being published?
    pub fn is_publishing(&self) -> bool {
        !self.publications.is_empty()
    }

    /// May something be stored under this key, or is it somebody's?
    pub fn may_store_under(&mut self, ctx: Context, key: &[u8]) -> bool {
        self.index.stored(key).is_some() || self.doomed.contains(key) || self.owned.is_free(ctx, key)
    }

    /// Is there room for one more publication?
    pub fn may_publish(&self) -> bool {
        self.publications.has_room()
    }

    pub fn entry_count(&self) -> usize {
        self.index.len()
    }

    pub fn meta_count(&self) -> usize {
        self.index.metas.len()
    }

    /// Entries and publications that want to know of rows that they do not list.
    pub fn interest_count(&self) -> usize {
        self.index.dependents.len()
    }

    /// Entries whose publication, and dead ones whose sweep, is under way.
    pub fn backlog(&self) -> (usize, usize) {
        (self.publications.len(), self.dead.len() + self.unclean.len() + self.doomed.len())
    }

    /// Is the database being swept after a load, a promotion or a change of Postgres?
    pub fn is_sweeping_all(&self) -> bool {
        self.owned.is_walking()
    }

    /// Works until the deadline, on the urgent first. `finished` gets tickets and counts of large removals.
    pub fn step(&mut self, ctx: Context, deadline: Instant, finished: &mut Vec<(u64, u64)>) -> Left {
        if self.outside_commands && self.is_moving() {
            // Its slot may have begun to leave.
            self.raise_tombstone(ctx);
        }
        while Instant::now() < deadline && self.left_of_entries() != Left::Nothing {
            // In turns, so that none starves another: an invalidation somebody waits for, two publications, a sweep.
            if !self.large.is_empty() || !self.in_turn.is_empty() {
                finished.extend(self.take_slice(ctx));
            }
            for _ in 0..2 {
                self.publish_slice(ctx);
            }
            self.index.dependents.grow();
            // An entry goes before its metadata.
            if !self.doomed.is_empty() {
                self.doomed_slice(ctx);
            } else if !self.dead.is_empty() {
                self.sweep_slice(ctx);
            } else if !self.unclean.is_empty() {
                self.clean_slice(ctx);
            } else {
                self.walk_slice(ctx);
            }
        }
        self.lower_tombstone(ctx);
        self.left()
    }

    /// What is there to do?
    pub fn left(&self) -> Left {
        match self.left_of_entries() {
            Left::Nothing if self.has_tombstone_left() => Left::Background,
            left => left,
        }
    }

    fn left_of_entries(&self) -> Left {
        if !self.publications.is_empty() || self.removals_running() > 0 || self.index.dependents.is_growing() {
            Left::Urgent
        } else if self.owned.is_surveying() {
            // Nothing is stored until it is over.
            Left::Urgent
        } else if !self.dead.is_empty() || !self.unclean.is_empty() || !self.doomed.is_empty() || self.owned.has_work()
        {
            Left::Background
        } else {
            Left::Nothing
        }
    }
}
