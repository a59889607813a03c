//! Which cached calls want to know of a changed row: those whose predicate a row of its present values meets.
//!
//! Calls of one predicate over one space are a group, which finds by value in about the logarithm of its size the few
//! that may match; each of them is then asked (`Predicate::meets`). So the index may be coarse, but never leave one
//! out: that would be a stale result.
//!
//! A change that leaves all columns as they were which a group's query reads concerns none of the group: it is not looked
//! into.
//!
//! Nothing here grows in one large step, which would hold Redis' thread: it is made of trees only.

mod group;
mod plan;
mod ranges;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::ops::ControlFlow;
use std::sync::Arc;

use rustc_hash::FxHashSet;

use self::group::{Group, GroupId};
use super::change::Changes;
use super::dependency::{Dependency, DependentId, RowChange};
use super::looks::Looks;
use crate::core::calls::names;
use crate::core::catalog::demand::Demand;
use crate::core::values::value::Value;

#[derive(Debug)]
struct Registered {
    key: Arc<[u8]>,
    dependencies: Box<[Dependency]>,
    /// Where its values are being put into their groups, or taken out of them.
    moving: Option<Moving>,
}

/// So far all values are there, or gone: those of the dependencies before this one, and of this one those before that value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Moving {
    is_leaving: bool,
    dependency: usize,
    value: usize,
}

#[derive(Debug, Default)]
pub struct Dependents {
    registered: BTreeMap<DependentId, Registered>,
    spaces: BTreeMap<Arc<[u8]>, BTreeMap<GroupId, Group>>,
    /// By the names of sections: who wants to know the values of their rows.
    demands: BTreeMap<Box<[u8]>, Arc<Demand>>,
    /// So many have been registered.
    last: u64,
    /// So many of them are of no entry any more, and still to be withdrawn.
    retired: usize,
    /// Those of many values, not all of which are in their groups yet; some may be leaving.
    growing: VecDeque<DependentId>,
}

/// Values that are put in, or taken out, in one go: about 0.1 ms. Tests have them move all the time.
const SLICE: usize = if cfg!(test) { 2 } else { 256 };

impl Dependents {
    /// Registered calls, but for those that are retired.
    pub fn len(&self) -> usize {
        self.registered.len() - self.retired
    }

    /// One of those that are registered is nobody's any more. It is found like any other until it is withdrawn, which takes
    /// longer.
    pub fn retire(&mut self) {
        self.retired += 1;
    }

    /// Are some retired? Then there are fewer than are counted.
    pub fn has_retired(&self) -> bool {
        self.retired > 0
    }

    /// Removes a call that is retired, or a slice of one that has many values; true when nothing is left of it.
    pub fn withdraw(&mut self, id: DependentId) -> bool {
        if !self.registered.contains_key(&id) {
            return true;
        }
        let is_gone = self.remove_slice(id);
        self.retired -= usize::from(is_gone);
        is_gone
    }

    /// Are there calls of which not all values are in place?
    pub fn is_growing(&self) -> bool {
        !self.growing.is_empty()
    }

    /// Puts some values of the oldest of those in place.
    pub fn grow(&mut self) {
        let Some(id) = self.growing.front().copied() else { return };
        let registered = self.registered.get_mut(&id);
        let moving = registered.as_ref().and_then(|registered| registered.moving).filter(|moving| !moving.is_leaving);
        let (Some(registered), Some(mut moving)) = (registered, moving) else {
            self.growing.pop_front();
            return;
        };
        if let Some(dependency) = registered.dependencies.get(moving.dependency) {
            let group =
                self.spaces.get_mut(&dependency.space).and_then(|groups| groups.get_mut(&GroupId::of(dependency)));
            moving.value += SLICE;
            if let Some(group) = group {
                group.insert(id, &dependency.args, moving.value - SLICE..moving.value);
                if moving.value < group.count_of(&dependency.args) {
                    registered.moving = Some(moving);
                    return;
                }
                // Another of the call's own may be in the same group, and is not in there yet.
                let is_same = |other: &Dependency| {
                    other.space == dependency.space && GroupId::of(other) == GroupId::of(dependency)
                };
                if !registered.dependencies[moving.dependency + 1..].iter().any(is_same) {
                    group.end(id);
                }
            }
            moving = Moving { dependency: moving.dependency + 1, value: 0, ..moving };
        }
        registered.moving = (moving.dependency < registered.dependencies.len()).then_some(moving);
    }

    /// Registers a call, whose result is kept under the key: it is found from now on, if by more looks until [`Dependents::grow`] has
    /// put all of its values in place. Several may be registered under one key.
    pub fn add(&mut self, key: Arc<[u8]>, mut dependencies: Box<[Dependency]>) -> DependentId {
        self.last += 1;
        let id = DependentId::of(self.last);
        let mut count = 0;
        for dependency in &mut dependencies {
            // One name for all of a space.
            match self.spaces.get_key_value(&dependency.space) {
                Some((space, _)) => dependency.space = space.clone(),
                None => drop(self.spaces.insert(dependency.space.clone(), BTreeMap::new())),
            }
            let demands = &mut self.demands;
            let new_group = || {
                let section = names::section_of_prefix(&dependency.space);
                let wants_values = !dependency.predicate.is_any();
                Group::of(dependency, wants_values.then(|| demand(demands, section).want()))
            };
            let groups = self.spaces.entry(dependency.space.clone()).or_default();
            let group = groups.entry(GroupId::of(dependency)).or_insert_with(new_group);
            count += group.count_of(&dependency.args);
        }
        let is_small = count <= SLICE;
        for dependency in &dependencies {
            let groups = self.spaces.get_mut(&dependency.space);
            match groups.and_then(|groups| groups.get_mut(&GroupId::of(dependency))) {
                Some(group) if is_small => group.insert(id, &dependency.args, 0..count),
                Some(group) => group.begin(id),
                None => {}
            }
        }
        let moving = (!is_small).then_some(Moving { is_leaving: false, dependency: 0, value: 0 });
        self.registered.insert(id, Registered { key, dependencies, moving });
        self.growing.extend((!is_small).then_some(id));
        id
    }

    /// Counts the registered calls that want to know the values of the section's rows.
    pub fn demand(&mut self, section: &str) -> Arc<Demand> {
        demand(&mut self.demands, section.as_bytes()).clone()
    }

    /// None are registered; the same demand is counted.
    pub fn emptied(&self) -> Dependents {
        Dependents { demands: self.demands.clone(), ..Dependents::default() }
    }

    /// Whether the call was registered. All of it goes at once: see [`Dependents::is_small`].
    pub fn remove(&mut self, id: DependentId) -> bool {
        let is_registered = self.registered.contains_key(&id);
        while !self.remove_slice(id) {}
        is_registered
    }

    /// Has the call few values, so that it may be removed at once?
    pub fn is_small(&self, id: DependentId) -> bool {
        let count = |dependency: &Dependency| {
            let groups = self.spaces.get(&dependency.space)?;
            Some(groups.get(&GroupId::of(dependency))?.count_of(&dependency.args))
        };
        self.of(id).iter().filter_map(count).sum::<usize>() <= SLICE
    }

    /// Takes some values of a call out; true when nothing is left of it.
    fn remove_slice(&mut self, id: DependentId) -> bool {
        let Some(registered) = self.registered.get_mut(&id) else { return true };
        let leaves = Moving { is_leaving: true, dependency: 0, value: 0 };
        let mut moving = registered.moving.filter(|moving| moving.is_leaving).unwrap_or(leaves);
        let mut room = SLICE;
        while let Some(dependency) = registered.dependencies.get(moving.dependency) {
            let group_id = GroupId::of(dependency);
            // One that says the same may have been the last but this of its group, and have taken it along.
            let groups = self.spaces.get_mut(&dependency.space);
            if let Some(groups) = groups {
                if let Some(group) = groups.get_mut(&group_id) {
                    let (from, count) = (moving.value, group.count_of(&dependency.args));
                    let until = count.min(from + room);
                    group.remove(id, &dependency.args, from..until);
                    if until < count {
                        registered.moving = Some(Moving { value: until, ..moving });
                        return false;
                    }
                    room -= until - from;
                    group.end(id);
                    if group.is_empty() {
                        groups.remove(&group_id);
                    }
                }
                if groups.is_empty() {
                    self.spaces.remove(&dependency.space);
                }
            }
            moving = Moving { dependency: moving.dependency + 1, value: 0, ..moving };
        }
        self.registered.remove(&id);
        true
    }

    pub fn key(&self, id: DependentId) -> Option<&Arc<[u8]>> {
        self.registered.get(&id).map(|registered| &registered.key)
    }

    /// Whether the call wants to know of the change.
    pub fn meets(&self, id: DependentId, change: &RowChange) -> bool {
        let Some(registered) = self.registered.get(&id) else { return false };
        registered.dependencies.iter().any(|dependency| dependency.meets(change))
    }

    /// Whether the call wants to know of one of the changes.
    pub fn concerned(&self, id: DependentId, changes: &Changes) -> bool {
        self.of(id).iter().any(|dependency| changes.concern(dependency))
    }

    /// Whether the call wants to know of rows of the space, and reads what the changes have not all left as it was.
    pub fn may_want(&self, id: DependentId, space: &[u8], changes: &Changes) -> bool {
        self.of(id).iter().any(|of| *of.space == *space && !of.passes_over(&changes.unchanged))
    }

    /// Spaces of whose rows the call wants to know.
    pub fn spaces(&self, id: DependentId) -> impl Iterator<Item = &[u8]> {
        self.of(id).iter().map(|dependency| &*dependency.space)
    }

    /// What the call's predicates compare with: its arguments, and what its result lists.
    pub fn compared(&self, id: DependentId) -> Option<&Arc<[Value]>> {
        let mut by_value = self.of(id).iter().filter(|dependency| !dependency.predicate.is_any());
        by_value.next().map(|dependency| &dependency.args)
    }

    fn of(&self, id: DependentId) -> &[Dependency] {
        self.registered.get(&id).map_or(&[], |registered| &registered.dependencies)
    }

    /// Appends the calls that want to know of the changed rows for their values, each once, at most `limit`. How many of the rows, the
    /// first ones, were looked up until there was no room for more, or too much to look at: those alone are done with.
    /// Calls of any change are told by [`Dependents::find_spaces`].
    pub fn find_rows(&self, rows: &[RowChange], limit: usize, found: &mut Vec<DependentId>) -> usize {
        let looks = Looks::default();
        let mut search = Search::new(limit, &looks, found);
        let looked_up = rows.iter().position(|change| {
            let Some(groups) = self.spaces.get(&change.space) else { return false };
            let may_meet = |group: &&Group| !group.is_of_any_change() && !group.passes_over(&change.unchanged);
            let ended = groups.values().filter(may_meet).try_for_each(|group| {
                group.candidates(&change.image, &looks, &mut |id| search.offer(id, |id| self.meets(id, change)))
            });
            ended.is_break()
        });
        looked_up.unwrap_or(rows.len())
    }

    /// Appends the calls that want to know of the changes whatever the values of a row are, each once, at most `limit`; false if
    /// there are more, or too much was to be looked at.
    pub fn find_spaces(&self, changes: &Changes, limit: usize, found: &mut Vec<DependentId>) -> bool {
        let looks = Looks::default();
        let mut search = Search::new(limit, &looks, found);
        let any_change = changes.spaces.iter().map(|space| (space, false));
        let unknown = changes.unknown.iter().map(|space| (space, true));
        let ended = any_change.chain(unknown).try_for_each(|(space, of_all)| {
            let groups = self.spaces.get(space).into_iter().flat_map(BTreeMap::values);
            let mut groups =
                groups.filter(|group| (of_all || group.is_of_any_change()) && !group.passes_over(&changes.unchanged));
            groups.try_for_each(|group| group.all(&mut |id| search.offer(id, |_| true)))
        });
        ended.is_continue()
    }

    /// Calls that want to know of any change in the space.
    pub fn count_of_any_change(&self, space: &[u8]) -> usize {
        let groups = self.spaces.get(space).into_iter().flat_map(BTreeMap::values);
        groups.filter(|group| group.is_of_any_change()).map(Group::unranged_len).sum()
    }

    /// Whether the call wants to know of any change in the space.
    pub fn is_of_any_change(&self, id: DependentId, space: &[u8]) -> bool {
        self.of(id).iter().any(|dependency| *dependency.space == *space && dependency.predicate.is_any())
    }

    /// Whether any call wants to know of rows of the space.
    pub fn has_any(&self, space: &[u8]) -> bool {
        self.spaces.contains_key(space)
    }
}

fn demand<'a>(demands: &'a mut BTreeMap<Box<[u8]>, Arc<Demand>>, section: &[u8]) -> &'a Arc<Demand> {
    demands.entry(section.into()).or_default()
}

/// Collects calls, each once.
struct Search<'a> {
    room: usize,
    looks: &'a Looks,
    seen: FxHashSet<DependentId>,
    found: &'a mut Vec<DependentId>,
}

impl<'a> Search<'a> {
    fn new(limit: usize, looks: &'a Looks, found: &'a mut Vec<DependentId>) -> Search<'a> {
        Search { room: limit, looks, seen: FxHashSet::default(), found }
    }

    /// Takes the call if it is wanted; breaks if there is no room for it.
    fn offer(&mut self, id: DependentId, is_wanted: impl FnOnce(DependentId) -> bool) -> ControlFlow<()> {
        self.looks.take()?;
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
