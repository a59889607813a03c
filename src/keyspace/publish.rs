//! Publishing a fill: its metadata first, in slices where there is much of it; the entry last, and only if nothing
//! struck in between. So nobody, AOF and replicas included, sees an entry without its metadata.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use smallvec::SmallVec;

use super::{store, Keyspace};
use crate::core::cache::index::{Facts, Key, Remains};
use crate::core::cache::meta_id::MetaId;
use crate::core::cache::stored_form::Content;
use crate::core::catalog::columns_read::ColumnsRead;
use crate::core::changes::change::Changes;
use crate::core::changes::dependency::Dependency;
use crate::core::changes::dependency::DependentId;
use crate::mutations;
use crate::redis_api::{Context, StringKey};

/// A result to be stored.
pub struct Publication {
    pub content: Content,
    /// Bytes of the key that are the prefix of its space, colon included.
    pub prefix_len: usize,
    /// Names of the metadata sets that it belongs to, sorted, without duplicates.
    pub metas: Vec<Box<[u8]>>,
    /// When the result may no longer be served.
    pub expires: Instant,
    pub facts: Facts,
    /// Which rows would belong in it, by their values.
    pub dependencies: Box<[Dependency]>,
    /// Which columns of rows its result reads; None: all.
    pub reads: Option<Arc<ColumnsRead>>,
}

/// Bytes of results and names that may wait to be published: over it, results are answered and not stored.
const MAX_WAITING_BYTES: usize = 32 << 20;

/// What one takes beside that, about: there are at most some ten thousand small ones.
const OVERHEAD: usize = 1 << 10;

impl Publication {
    fn bytes(&self) -> usize {
        self.content.bytes() + OVERHEAD + self.metas.iter().map(|name| name.len() + 32).sum::<usize>()
    }
}

struct InProgress {
    publication: Publication,
    /// The sets referred to and written so far: those of `metas[..done.len()]`.
    done: Vec<MetaId>,
    dependent: Option<DependentId>,
}

/// What a set is to an entry that is to be listed in it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// The entry that is replaced is listed there.
    Listed,
    /// Other entries are.
    Ours,
    /// We have not written it yet.
    New,
}

/// Publications under way, one an entry.
#[derive(Default)]
pub struct Publications {
    /// A tree, for a map would hold the thread whenever it grows.
    by_key: BTreeMap<Key, InProgress>,
    /// Oldest first; one that was given up is passed over.
    order: VecDeque<Key>,
    bytes: usize,
}

/// Room for so many is kept.
const FEW: usize = 256;

impl Publications {
    pub fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }

    pub fn len(&self) -> usize {
        self.by_key.len()
    }

    /// The result that is about to be the entry: it may answer a query already.
    pub fn result(&self, key: &[u8]) -> Option<&Content> {
        let publication = &self.by_key.get(key)?.publication;
        (Instant::now() < publication.expires).then_some(&publication.content)
    }

    /// Is there room for one more?
    pub fn has_room(&self) -> bool {
        self.bytes < MAX_WAITING_BYTES
    }

    fn add(&mut self, key: Key, publication: Publication, dependent: Option<DependentId>) {
        self.bytes += publication.bytes();
        self.order.push_back(key.clone());
        self.by_key.insert(key, InProgress { publication, done: Vec::new(), dependent });
    }

    /// Is it this one that wants to know?
    fn wants(&self, key: &[u8], dependent: DependentId) -> bool {
        self.by_key.get(key).is_some_and(|progress| progress.dependent == Some(dependent))
    }

    fn take(&mut self, key: &[u8]) -> Option<InProgress> {
        let progress = self.by_key.remove(key)?;
        self.bytes -= progress.publication.bytes();
        if self.by_key.is_empty() && self.order.capacity() > FEW {
            // What a crowd took is given back.
            *self = Publications::default();
        }
        Some(progress)
    }

    fn ticket(&self, key: &[u8]) -> Option<u64> {
        self.by_key.get(key).map(|progress| progress.publication.facts.ticket)
    }

    /// Has the entry's publication written its key into this set?
    pub fn has_written(&self, key: &[u8], set: &[u8]) -> bool {
        self.by_key.get(key).is_some_and(|progress| {
            let written = &progress.publication.metas[..progress.done.len()];
            written.binary_search_by(|name| name.as_ref().cmp(set)).is_ok()
        })
    }
}

impl Keyspace {
    /// Takes a result to be published; one of the same entry that is under way is given up.
    pub fn publish(&mut self, key: &[u8], mut publication: Publication) {
        self.abort_publication(key);
        let key = self.index.key(key).cloned().unwrap_or_else(|| key.into());
        let mut dependencies = std::mem::take(&mut publication.dependencies);
        if mutations::is("publish-before-tracking") {
            publication.metas.clear();
            dependencies = Box::default();
        }
        let dependent = (!dependencies.is_empty()).then(|| self.index.dependents.add(key.clone(), dependencies));
        self.publications.add(key, publication, dependent);
    }

    /// Gives up a publication; what it wrote is swept.
    pub fn abort_publication(&mut self, key: &[u8]) {
        if let Some(progress) = self.publications.take(key) {
            self.give_up(key, progress.done, progress.dependent);
        }
    }

    /// Takes back what a publication has done so far.
    fn give_up(&mut self, key: &[u8], done: Vec<MetaId>, dependent: Option<DependentId>) {
        let dependents = &mut self.index.dependents;
        // One of many values is taken back in slices.
        let large = dependent.filter(|dependent| !dependents.is_small(*dependent));
        match (dependent, large) {
            (Some(_), Some(_)) => dependents.retire(),
            (Some(dependent), None) => drop(dependents.remove(dependent)),
            (None, _) => {}
        }
        self.sweep_later(key, Remains { metas: done.into(), dependent: large });
    }

    /// Gives up the publications among those who want to know of a change; see [`Keyspace::abort_publications`].
    pub(super) fn abort_interested(&mut self, interested: &[DependentId]) {
        if self.publications.is_empty() {
            return;
        }
        for id in interested {
            let key = self.index.dependents.key(*id).filter(|key| self.publications.wants(key, *id)).cloned();
            if let Some(key) = key {
                self.drop_older(&key, u64::MAX);
                self.warm.dropped(&key);
            }
        }
    }

    /// Gives up all publications that rows of one of these spaces may concern.
    pub(super) fn abort_interested_in(&mut self, changes: &Changes) {
        let dependents = &self.index.dependents;
        let wants = |id: DependentId| changes.spaces.iter().any(|space| dependents.may_want(id, space, changes));
        let by_key = &self.publications.by_key;
        let concerned = by_key.iter().filter(|(_, progress)| progress.dependent.is_some_and(wants));
        let keys: Vec<Key> = concerned.map(|(key, _)| key.clone()).collect();
        for key in &keys {
            self.drop_older(key, u64::MAX);
            self.warm.dropped(key);
        }
    }

    /// Removes what a fetch before this one brought: something newer has been answered, and is not stored. In force at
    /// once; the key goes with the next slice.
    pub fn drop_older(&mut self, key: &[u8], ticket: u64) {
        if self.publications.ticket(key).is_some_and(|publishing| publishing < ticket) {
            self.abort_publication(key);
        }
        if self.index.stored(key).is_some_and(|entry| entry.facts.ticket < ticket) {
            let is_counted = self.count_overwritten(key);
            if let Some(entry) = self.index.remove(key) {
                if !is_counted {
                    self.told.dropped(key, entry.prefix_len());
                }
                self.doomed.insert(key.into());
                self.sweep_later(key, entry.into_remains());
            }
        }
    }

    /// Gives up the publications that a change of rows or tags concerns, by their sets and what they read, and the older
    /// results that they were to replace.
    pub fn abort_changed(&mut self, mut concerned: impl FnMut(&[Box<[u8]>], Option<&ColumnsRead>) -> bool) {
        for key in self.abort_where(|_, publication| concerned(&publication.metas, publication.reads.as_deref())) {
            self.warm.dropped(&key);
        }
    }

    /// The same of an invalidation that is none.
    pub fn abort_publications(&mut self, mut concerned: impl FnMut(&[u8], &[Box<[u8]>]) -> bool) {
        self.abort_where(|key, publication| concerned(key, &publication.metas));
    }

    fn abort_where(&mut self, mut concerned: impl FnMut(&[u8], &Publication) -> bool) -> Vec<Key> {
        let keys: Vec<Key> = self
            .publications
            .by_key
            .iter()
            .filter(|(key, progress)| concerned(key, &progress.publication))
            .map(|(key, _)| key.clone())
            .collect();
        for key in &keys {
            self.drop_older(key, u64::MAX);
        }
        keys
    }

    /// Writes some metadata of the oldest publication, or its entry.
    pub(super) fn publish_slice(&mut self, ctx: Context) {
        /// SADDs between two looks at the clock.
        const SLICE: usize = 16;

        let Some(key) = self.publications.order.front().cloned() else { return };
        let Some(progress) = self.publications.by_key.get_mut(&key) else {
            self.publications.order.pop_front();
            return;
        };
        self.owned.mark(ctx, &key);
        let metas = &progress.publication.metas;
        let from = progress.done.len();
        let replaced = self.index.live(&key);
        let standing: SmallVec<[Standing; SLICE]> = metas[from..]
            .iter()
            .take(SLICE)
            .map(|name| match self.index.metas.find(name) {
                None => Standing::New,
                Some(id) if replaced.is_some_and(|entry| entry.metas.binary_search(&id).is_ok()) => Standing::Listed,
                Some(_) => Standing::Ours,
            })
            .collect();
        for (name, standing) in metas[from..].iter().zip(standing) {
            let is_free = standing != Standing::New || self.owned.is_free(ctx, name);
            progress.done.push(self.index.metas.refer(name));
            // The entry that stands has the key in this set already.
            if standing == Standing::Listed {
                continue;
            }
            // A set that is somebody's, or cannot be written, would leave the entry without its metadata.
            if !is_free || !store::add_member(ctx, name, &key) {
                self.publications.order.pop_front();
                self.drop_older(&key, u64::MAX);
                return;
            }
        }
        if progress.done.len() < metas.len() {
            return;
        }
        self.publications.order.pop_front();
        if let Some(progress) = self.publications.take(&key) {
            self.put_entry(ctx, key, progress);
        }
    }

    fn put_entry(&mut self, ctx: Context, key: Key, progress: InProgress) {
        let InProgress { publication, done: mut metas, dependent } = progress;
        let Publication { content, prefix_len, expires, facts, reads, .. } = publication;
        let left = expires.saturating_duration_since(Instant::now()).as_millis() as u64;
        metas.sort_unstable();
        let is_ours = self.index.stored(&key).is_some() || self.doomed.contains(&key);
        let may_write = left > 0 && (is_ours || self.owned.is_free(ctx, &key));
        // A refresh that finds nothing new writes no result again: it may have a megabyte. The same result has the same stored form.
        let stored = content.stored();
        let is_the_same = self.index.stored(&key).is_some()
            && StringKey::open(ctx, &key).is_some_and(|entry| entry.bytes() == stored.as_slice());
        // The entry before this one ends when it is looked at, if its TTL is over.
        self.take_removal_of(&key);
        let put = || (is_the_same && store::renew_entry(ctx, &key, left)) || store::set_entry(ctx, &key, stored, left);
        if !may_write || !put() {
            self.give_up(&key, metas, dependent);
            self.drop_older(&key, facts.ticket);
            return;
        }
        self.stored += 1;
        self.told.stored(&key, prefix_len, content.plain.len(), facts.rows, left);
        self.doomed.remove(&key);
        self.count_overwritten(&key);
        let replaced = self.index.insert(key.clone(), prefix_len, metas.into(), facts, dependent, reads.as_ref());
        if let Some(replaced) = replaced {
            self.sweep_later(key, replaced.into_remains());
        }
    }
}
