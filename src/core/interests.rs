//! Which cached calls want to know of a changed row: those whose predicate a row of its present values meets.
//!
//! Calls of one predicate over one space are a group, which finds by value in about the logarithm of its size the few
//! that may match; each of them is then asked ([`Predicate::meets`]). So the index may be coarse, but never leave one
//! out: that would be a stale result.
//!
//! Nothing here grows in one large step, which would hold Redis' thread: it is made of trees only.

mod group;
mod plan;
mod ranges;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use rustc_hash::FxHashSet;

use self::group::{Group, GroupId};
use super::call::CallPattern;
use super::image::Image;
use super::predicate::Predicate;
use super::value::Value;

/// A call wants to know of rows of a space that meet a predicate.
#[derive(Debug, Clone)]
pub struct Interest {
    /// Prefix of the keys of the rows' space.
    pub space: Arc<[u8]>,
    pub predicate: Arc<Predicate>,
    /// Its arguments are those that the predicate names.
    pub call: Arc<CallPattern>,
    pub args: Arc<[Value]>,
}

/// Number of a registered call. A later one has a greater number; none is used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InterestId(u64);

/// A row of a space changed, and these are its present values.
#[derive(Debug, Clone)]
pub struct RowChange {
    pub space: Arc<[u8]>,
    pub image: Image,
}

#[derive(Debug)]
struct Registered {
    key: Arc<[u8]>,
    interests: Box<[Interest]>,
}

#[derive(Debug, Default)]
pub struct Interests {
    registered: BTreeMap<InterestId, Registered>,
    spaces: BTreeMap<Arc<[u8]>, BTreeMap<GroupId, Group>>,
    next: u64,
}

impl Interests {
    /// Registered calls.
    pub fn len(&self) -> usize {
        self.registered.len()
    }

    pub fn is_empty(&self) -> bool {
        self.registered.is_empty()
    }

    /// Registers a call, whose result is kept under the key. Several may be registered under one key.
    pub fn add(&mut self, key: Arc<[u8]>, interests: Box<[Interest]>) -> InterestId {
        let id = InterestId(self.next);
        self.next += 1;
        for interest in &interests {
            let groups = self.spaces.entry(interest.space.clone()).or_default();
            groups.entry(GroupId::of(interest)).or_insert_with(|| Group::of(interest)).insert(id, &interest.args);
        }
        self.registered.insert(id, Registered { key, interests });
        id
    }

    /// Whether the call was registered.
    pub fn remove(&mut self, id: InterestId) -> bool {
        let Some(registered) = self.registered.remove(&id) else { return false };
        for interest in &registered.interests {
            // An interest of the same call may have been the last but one, and have taken group and space along.
            let Some(groups) = self.spaces.get_mut(&interest.space) else { continue };
            let group_id = GroupId::of(interest);
            let Some(group) = groups.get_mut(&group_id) else { continue };
            group.remove(id, &interest.args);
            if group.is_empty() {
                groups.remove(&group_id);
            }
            if groups.is_empty() {
                self.spaces.remove(&interest.space);
            }
        }
        true
    }

    pub fn key(&self, id: InterestId) -> Option<&Arc<[u8]>> {
        self.registered.get(&id).map(|registered| &registered.key)
    }

    /// Whether the call wants to know of the change.
    pub fn meets(&self, id: InterestId, change: &RowChange) -> bool {
        let Some(registered) = self.registered.get(&id) else { return false };
        registered.interests.iter().any(|interest| {
            interest.space == change.space
                && interest.predicate.meets(interest.call.args(), &interest.args, &change.image)
        })
    }

    /// Appends the calls that want to know of the change, each once, at most `limit`; true if there are more.
    pub fn find(&self, change: &RowChange, limit: usize, found: &mut Vec<InterestId>) -> bool {
        let Some(groups) = self.spaces.get(&change.space) else { return false };
        let mut search = Search::new(limit, found);
        let ended = groups.values().try_for_each(|group| {
            group.candidates(&change.image, &mut |id| search.offer(id, |id| self.meets(id, change)))
        });
        ended.is_break()
    }

    /// Whether any call wants to know of rows of the space.
    pub fn has_any(&self, space: &[u8]) -> bool {
        self.spaces.contains_key(space)
    }

    /// Appends the calls that want to know of some rows of the space, each once, at most `limit`; true if there are more.
    pub fn of_space(&self, space: &[u8], limit: usize, found: &mut Vec<InterestId>) -> bool {
        let Some(groups) = self.spaces.get(space) else { return false };
        let mut search = Search::new(limit, found);
        groups.values().try_for_each(|group| group.all(&mut |id| search.offer(id, |_| true))).is_break()
    }
}

/// Collects calls, each once.
struct Search<'a> {
    room: usize,
    seen: FxHashSet<InterestId>,
    found: &'a mut Vec<InterestId>,
}

impl<'a> Search<'a> {
    fn new(limit: usize, found: &'a mut Vec<InterestId>) -> Search<'a> {
        Search { room: limit, seen: FxHashSet::default(), found }
    }

    /// Takes the call if it is wanted; breaks if there is no room for it.
    fn offer(&mut self, id: InterestId, is_wanted: impl FnOnce(InterestId) -> bool) -> ControlFlow<()> {
        if self.seen.contains(&id) || !is_wanted(id) {
            return ControlFlow::Continue(());
        }
        if self.room == 0 {
            return ControlFlow::Break(());
        }
        self.room -= 1;
        self.seen.insert(id);
        self.found.push(id);
        ControlFlow::Continue(())
    }
}
