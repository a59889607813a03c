//! The limits of a space: whether anything may be begun in it, and which groups are closed, as far as claims and time tell.
//!
//! Invariants: a group is closed in [`Ready`] exactly while its limit keeps it from beginning another job; what is kept of a
//! group goes when it has no claim, and no start within its rate's window.

use std::collections::{BTreeMap, BTreeSet};

use crate::core::catalog::claim::{Limit, Limits};
use crate::core::claims::limit::Slots;
use crate::core::claims::ready::{Group, Ready};
use crate::core::jobs::job_id::JobId;

#[cfg_attr(test, derive(Clone))]
#[derive(Debug, Default)]
pub struct Limiter {
    limits: Limits,
    all: Slots,
    pub(super) groups: BTreeMap<u64, Slots>,
    /// When a group is to be looked at, for a rate may let go of it by then; each group once.
    pub(super) looks: BTreeSet<(u64, u64)>,
    pub(super) look_at_ms: BTreeMap<u64, u64>,
}

impl Limiter {
    pub fn new(limits: Limits) -> Limiter {
        Limiter { limits, ..Limiter::default() }
    }

    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Another limit for the space as a whole.
    pub fn set_limit(&mut self, limit: Limit) {
        self.limits.all = limit;
    }

    /// Why nothing may be begun in the space: until when, or until a claim ends (None).
    pub fn blocked(&mut self, now_ms: u64) -> Option<Option<u64>> {
        self.all.blocked(&self.limits.all, now_ms)
    }

    /// A claim was begun.
    pub fn begin(&mut self, group: Group, now_ms: u64, ready: &mut Ready) {
        self.all.begin(&self.limits.all, now_ms);
        if let (Some(group), Some((_, limit))) = (group, &self.limits.by) {
            self.groups.entry(group).or_default().begin(limit, now_ms);
            self.look_at(group, now_ms, ready);
        }
    }

    /// A job is claimed.
    pub fn hold(&mut self, id: JobId, group: Group, now_ms: u64, ready: &mut Ready) {
        self.all.hold(id);
        if let (Some(group), Some(_)) = (group, &self.limits.by) {
            self.groups.entry(group).or_default().hold(id);
            self.look_at(group, now_ms, ready);
        }
    }

    /// It is not any more.
    pub fn free(&mut self, id: JobId, group: Group, now_ms: u64, ready: &mut Ready) {
        self.all.free(id);
        if let (Some(group), Some(_)) = (group, &self.limits.by) {
            if let Some(slots) = self.groups.get_mut(&group) {
                slots.free(id);
            }
            self.look_at(group, now_ms, ready);
        }
    }

    /// Time has passed.
    pub fn look_again(&mut self, now_ms: u64, ready: &mut Ready) {
        while let Some((at, group)) = self.looks.first().copied().filter(|(at, _)| *at <= now_ms) {
            self.looks.remove(&(at, group));
            self.look_at_ms.remove(&group);
            self.look_at(group, now_ms, ready);
        }
    }

    /// When time alone may open a group, or have it forgotten.
    pub fn next_look_ms(&self) -> Option<u64> {
        self.looks.first().map(|(at, _)| *at)
    }

    /// The longest window of its rates; None: it has none.
    pub fn window_ms(&self) -> Option<u64> {
        let of = |limit: &Limit| limit.rate.map(|rate| rate.per_ms);
        of(&self.limits.all).max(self.limits.by.as_ref().and_then(|(_, limit)| of(limit)))
    }

    /// Closes a group that its limit blocks, and opens one that it does not.
    fn look_at(&mut self, group: u64, now_ms: u64, ready: &mut Ready) {
        let Some((_, limit)) = &self.limits.by else { return };
        let Some(slots) = self.groups.get_mut(&group) else { return };
        let blocked = slots.blocked(limit, now_ms);
        // An open one is looked at, too: it is forgotten once nothing is in its window. One that is only claimed needs no look.
        let look_at_ms = blocked.flatten().or_else(|| slots.forgets_ms(limit));
        if slots.is_empty() {
            self.groups.remove(&group);
        }
        ready.set_closed(group, blocked.is_some());
        let Some(at) = look_at_ms else { return };
        match self.look_at_ms.get(&group).copied() {
            Some(earlier) if earlier <= at => return,
            Some(later) => self.looks.remove(&(later, group)),
            None => false,
        };
        self.looks.insert((at, group));
        self.look_at_ms.insert(group, at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::catalog::claim::Rate;

    #[test]
    fn the_longest_window_is_that_of_any_of_its_rates() {
        let of =
            |per_ms: Option<u64>| Limit { concurrency: None, rate: per_ms.map(|per_ms| Rate { count: 1, per_ms }) };
        for (all, by, window) in [
            (None, None, None),
            (Some(5), None, Some(5)),
            (Some(5), Some(7), Some(7)),
            (Some(9), Some(7), Some(9)),
            (None, Some(7), Some(7)),
        ] {
            let limits = Limits { all: of(all), by: by.map(|by| ("to".into(), of(Some(by)))) };
            assert_eq!(Limiter::new(limits).window_ms(), window, "{all:?} {by:?}");
        }
    }
}
