//! Which cached calls want to know of a changed row: those whose predicate a row of its present values meets.
//!
//! Calls of one predicate over one space are a group, which finds by value in about the logarithm of its size the few
//! that may match; each of them is then asked (`Predicate::meets`). So the index may be coarse, but never leave one
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
}

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

    /// Removes a call that is retired.
    pub fn withdraw(&mut self, id: DependentId) {
        if self.remove(id) {
            self.retired -= 1;
        }
    }

    /// Registers a call, whose result is kept under the key. Several may be registered under one key.
    pub fn add(&mut self, key: Arc<[u8]>, mut dependencies: Box<[Dependency]>) -> DependentId {
        self.last += 1;
        let id = DependentId::of(self.last);
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
            groups.entry(GroupId::of(dependency)).or_insert_with(new_group).insert(id, &dependency.args);
        }
        self.registered.insert(id, Registered { key, dependencies });
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

    /// Whether the call was registered.
    pub fn remove(&mut self, id: DependentId) -> bool {
        let Some(registered) = self.registered.remove(&id) else { return false };
        for dependency in &registered.dependencies {
            // An dependency of the same call may have been the last but one, and have taken group and space along.
            let Some(groups) = self.spaces.get_mut(&dependency.space) else { continue };
            let group_id = GroupId::of(dependency);
            let Some(group) = groups.get_mut(&group_id) else { continue };
            group.remove(id, &dependency.args);
            if group.is_empty() {
                groups.remove(&group_id);
            }
            if groups.is_empty() {
                self.spaces.remove(&dependency.space);
            }
        }
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
            let mut groups = groups.values().filter(|group| !group.is_of_any_change());
            let ended = groups.try_for_each(|group| {
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
            let mut groups = groups.filter(|group| of_all || group.is_of_any_change());
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
