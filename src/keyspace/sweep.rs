//! Sweeping: members of metadata sets whose entries are gone, and what an earlier process or another client left.
//!
//! An entry that Redis still has keeps its metadata, even where a removal in force has made it dead already.

use super::{store, Keyspace};
use crate::core::cache::index::{Key, Remains};
use crate::core::cache::metas::Released;
use crate::redis_api::Context;

/// An entry that is gone, whose key still stands in some sets and whose dependent is still registered.
pub(super) struct Dead {
    key: Key,
    remains: Remains,
    /// Sets done so far.
    done: usize,
}

/// A set with members of an earlier life.
pub(super) struct Unclean {
    set: Key,
    cursor: Key,
}

impl Keyspace {
    /// Remembers an entry that is gone.
    pub(super) fn sweep_later(&mut self, key: impl Into<Key>, remains: Remains) {
        if !remains.metas.is_empty() || remains.dependent.is_some() {
            self.dead.push_back(Dead { key: key.into(), remains, done: 0 });
        }
    }

    /// Remembers a set some of whose members may be of an earlier life.
    pub(super) fn clean_later(&mut self, set: impl Into<Key>) {
        self.unclean.push_back(Unclean { set: set.into(), cursor: b"0"[..].into() });
    }

    /// Withdraws a dead entry's dependent, and takes its key out of some of its sets.
    pub(super) fn sweep_slice(&mut self, ctx: Context) {
        /// Sets between two looks at the clock.
        const SLICE: usize = 16;

        let Some(mut dead) = self.dead.pop_front() else { return };
        if let Some(dependent) = dead.remains.dependent {
            if !self.index.dependents.withdraw(dependent) {
                self.dead.push_front(dead);
                return;
            }
            dead.remains.dependent = None;
        }
        for id in dead.remains.metas.iter().skip(dead.done).take(SLICE) {
            // The entry may have been stored again, or be about to be, and belong to the set again.
            let listed = self.index.stored(&dead.key).is_some_and(|entry| entry.metas.binary_search(id).is_ok())
                || self.index.metas.name(*id).is_some_and(|name| self.publications.has_written(&dead.key, name));
            match self.index.metas.release(*id) {
                // The last of ours: the set goes with it, unless another hand put something of its own into it.
                Some(Released::Last(set)) => store::remove_members(ctx, &set, &[&dead.key]),
                Some(Released::Shared(set)) if !listed => {
                    store::remove_members(ctx, &set, &[&dead.key]);
                    store::settle_set(ctx, &set);
                }
                Some(Released::Shared(_)) | None => {}
            }
            dead.done += 1;
        }
        if dead.done < dead.remains.metas.len() {
            self.dead.push_front(dead);
        } else {
            self.swept += 1;
        }
    }

    /// Takes members that no live entry accounts for out of a set.
    pub(super) fn clean_slice(&mut self, ctx: Context) {
        let Some(mut unclean) = self.unclean.pop_front() else { return };
        let (members, next) = store::scan_members(ctx, &unclean.set, &unclean.cursor);
        let id = self.index.metas.find(&unclean.set);
        let strange: Vec<&[u8]> = members
            .iter()
            .map(AsRef::as_ref)
            .filter(|key| {
                let listed = id.is_some_and(|id| {
                    self.index.stored(key).is_some_and(|entry| entry.metas.binary_search(&id).is_ok())
                });
                // What names no key another hand put there.
                !listed && key.contains(&b':') && !self.publications.has_written(key, &unclean.set)
            })
            .collect();
        if !strange.is_empty() {
            store::remove_members(ctx, &unclean.set, &strange);
            store::settle_set(ctx, &unclean.set);
        }
        if let Some(next) = next {
            unclean.cursor = next;
            self.unclean.push_front(unclean);
        }
    }
}
