//! Claimed jobs of one space, as its master hands them out. The jobs themselves are in the stream; what is here is derived
//! from the keys, and is read from them again after a restart.
//!
//! ```text
//!             +------------- give back, expire -------------+
//!             v                                             |
//! add --> waiting (ready, or behind its order) -- hold --> claimed --> settled
//!             ^                                             |
//!          fall due <------------ delayed <----- delay -----+
//! ```
//! Invariants:
//! - a job is in exactly one of these states: waiting, delayed, claimed, settled (forgotten here);
//! - one claim of a job at a time, with a token of its own;
//! - jobs that share an order key are claimed one at a time, in the order of their places: one is ready if it is the first
//!   in each of its lanes and none of them has a claimed job. One that failed keeps its place while it waits for its next
//!   attempt; one that was put off when it was enqueued takes its place when its time comes;
//! - of those that are ready, [`Ready`] says which is first; limits ([`Slots`]) close a group, or the space.
//!
//! Time comes in from outside: leases and rates by a monotonic clock, due times by Unix time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use smallvec::SmallVec;

use super::limit::Slots;
use super::place::Place;
use super::ready::{Group, Head, Ready, Wanted};
use super::tally::Tally;
use crate::core::catalog::claim::{Limit, Limits};
use crate::core::jobs::job_id::JobId;

pub use super::tally::Counts;

/// Hashes of the values that keep a job's order; sorted, without duplicates.
pub type Orders = SmallVec<[u64; 2]>;

/// What the queue must know of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    pub id: JobId,
    pub name: Arc<str>,
    pub priority: u8,
    pub orders: Orders,
    pub group: Group,
    /// The Unix time before which it was not to be had, as it was enqueued.
    pub due_ms: Option<u64>,
}

/// A job that somebody holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    pub token: u64,
    /// Which attempt it is, from 1 on.
    pub attempt: u32,
    /// Whose it is: a number that the caller gives.
    pub worker: u32,
    /// Unix time.
    pub started_ms: u64,
    pub lease_ms: u64,
    /// Monotonic.
    pub deadline_ms: u64,
    pub cancelled: bool,
}

impl Facts {
    fn place(&self) -> Place {
        Place::new(self.id, self.due_ms)
    }

    fn head(&self) -> Head {
        Head::new(self.priority, self.place())
    }
}

#[cfg_attr(test, derive(Clone))]
#[derive(Debug)]
struct Delayed {
    facts: Facts,
    due_ms: u64,
    /// It is in its lanes already.
    holds_place: bool,
}

#[cfg_attr(test, derive(Clone))]
#[derive(Debug)]
struct Held {
    facts: Facts,
    claim: Claim,
}

/// Jobs that share an order key, by place.
#[cfg_attr(test, derive(Clone))]
#[derive(Debug, Default)]
struct Lane {
    places: BTreeSet<Place>,
    claimed: Option<Place>,
}

/// A job that is in lanes.
#[cfg_attr(test, derive(Clone))]
#[derive(Debug)]
struct InLanes {
    facts: Facts,
    /// It waits, and is not delayed nor claimed.
    waits: bool,
    is_ready: bool,
}

impl InLanes {
    /// Does it wait behind others of its order?
    fn is_behind(&self) -> bool {
        self.waits && !self.is_ready
    }
}

/// A job that is to be claimed; until [`Queue::hold`] nothing has changed.
#[derive(Debug, Clone)]
pub struct Pick(Facts);

impl Pick {
    pub fn facts(&self) -> &Facts {
        &self.0
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Waiting,
    Delayed { due_ms: u64 },
    Claimed,
}

/// See the head of this file.
#[cfg_attr(test, derive(Clone))]
#[derive(Debug, Default)]
pub struct Queue {
    ready: Ready,
    lanes: BTreeMap<u64, Lane>,
    in_lanes: BTreeMap<Place, InLanes>,
    tally: Tally,
    delayed: BTreeMap<JobId, Delayed>,
    dues: BTreeSet<(u64, JobId)>,
    claims: BTreeMap<JobId, Held>,
    deadlines: BTreeSet<(u64, JobId)>,
    limits: Limits,
    all: Slots,
    groups: BTreeMap<u64, Slots>,
    /// When a group is to be looked at, for a rate may let go of it by then; each group once.
    looks: BTreeSet<(u64, u64)>,
    look_at_ms: BTreeMap<u64, u64>,
    pub paused: bool,
}

impl Queue {
    pub fn new(limits: Limits) -> Queue {
        Queue { limits, ..Queue::default() }
    }

    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Another limit for the space as a whole. One `by` a field needs the jobs to be read again.
    pub fn set_limit(&mut self, limit: Limit) {
        self.limits.all = limit;
    }

    /// A job is to be had from now on.
    pub fn add(&mut self, facts: Facts) {
        self.enter(facts, true);
    }

    /// A job that is to be had when its time has come. `was_tried`: it waits for its next attempt, and keeps its place.
    pub fn add_delayed(&mut self, facts: Facts, due_ms: u64, was_tried: bool) {
        self.put_off(facts, due_ms, was_tried);
    }

    /// A job that somebody holds, as the keys say.
    pub fn add_claimed(&mut self, facts: Facts, claim: Claim, now_ms: u64) {
        self.take(facts, claim, now_ms);
    }

    /// The first of the jobs that are wanted and may be claimed now.
    pub fn pick(&mut self, wanted: Wanted, now_ms: u64) -> Option<Pick> {
        if !self.may_claim(now_ms) {
            return None;
        }
        let (head, name, group) = self.ready.first(wanted)?;
        let facts = match self.in_lanes.get(&head.place) {
            Some(known) => known.facts.clone(),
            None => Facts {
                id: head.place.job(),
                name: name.clone(),
                priority: head.priority(),
                orders: Orders::new(),
                group,
                due_ms: head.place.due_ms(),
            },
        };
        Some(Pick(facts))
    }

    /// Would [`Queue::pick`] find something?
    pub fn has(&mut self, wanted: Wanted, now_ms: u64) -> bool {
        self.may_claim(now_ms) && self.ready.first(wanted).is_some()
    }

    fn may_claim(&mut self, now_ms: u64) -> bool {
        self.look_again(now_ms);
        !self.paused && self.all.blocked(&self.limits.all, now_ms).is_none()
    }

    /// The job is claimed.
    pub fn hold(&mut self, pick: Pick, claim: Claim, now_ms: u64) {
        let Pick(facts) = pick;
        self.ready.remove(&facts.name, facts.group, facts.head());
        self.begin(facts.group, now_ms);
        self.take(facts, claim, now_ms);
    }

    /// A claim was begun at this time, as far as rates are concerned.
    pub fn begin(&mut self, group: Group, now_ms: u64) {
        self.all.begin(&self.limits.all, now_ms);
        if let (Some(group), Some((_, limit))) = (group, &self.limits.by) {
            self.groups.entry(group).or_default().begin(limit, now_ms);
            self.look_at_group(group, now_ms);
        }
    }

    pub fn claim(&self, id: JobId) -> Option<&Claim> {
        self.claims.get(&id).map(|held| &held.claim)
    }

    /// What is known of a claimed job.
    pub fn claimed_facts(&self, id: JobId) -> Option<&Facts> {
        self.claims.get(&id).map(|held| &held.facts)
    }

    /// Claimed jobs by their ids, from one to another, both included.
    pub fn claims_between(&self, (from, to): (JobId, JobId)) -> impl DoubleEndedIterator<Item = &Facts> {
        self.claims.range(from..=to).map(|(_, held)| &held.facts)
    }

    /// The same of delayed ones.
    pub fn delayed_between(&self, (from, to): (JobId, JobId)) -> impl DoubleEndedIterator<Item = &Facts> {
        self.delayed.range(from..=to).map(|(_, delayed)| &delayed.facts)
    }

    /// The waiting jobs, of one type or of all, in any order; None where they are more than `most`, or stand among many that
    /// do not wait.
    pub fn few_waiting(&self, most: usize, job: Option<&[u8]>) -> Option<Vec<JobId>> {
        let behind = self.tally.behind();
        if self.ready.len() + behind > most as u64 || (behind > 0 && self.in_lanes.len() > 4 * most) {
            return None;
        }
        let in_lanes = self.in_lanes.values().take(if behind > 0 { usize::MAX } else { 0 });
        let behind = in_lanes.filter(|known| known.waits && !known.is_ready);
        let behind = behind.map(|known| (&known.facts.name, known.facts.id));
        let waiting = self.ready.jobs().chain(behind);
        let is_wanted = |name: &str| job.is_none_or(|job| job == name.as_bytes());
        Some(waiting.filter(|(name, _)| is_wanted(name)).map(|(_, id)| id).collect())
    }

    /// Its next EXTEND is to tell the worker.
    pub fn cancel(&mut self, id: JobId) -> bool {
        let held = self.claims.get_mut(&id);
        held.map(|held| held.claim.cancelled = true).is_some()
    }

    /// The lease runs anew.
    pub fn extend(&mut self, id: JobId, lease_ms: u64, now_ms: u64) -> bool {
        let Some(held) = self.claims.get_mut(&id) else { return false };
        self.deadlines.remove(&(held.claim.deadline_ms, id));
        held.claim.lease_ms = lease_ms;
        held.claim.deadline_ms = now_ms + lease_ms;
        self.deadlines.insert((held.claim.deadline_ms, id))
    }

    /// The claimed job has settled.
    pub fn settle(&mut self, id: JobId, now_ms: u64) -> Option<Claim> {
        let held = self.let_go(id, now_ms)?;
        self.leave(&held.facts);
        Some(held.claim)
    }

    /// The claimed job waits again, at its place.
    pub fn give_back(&mut self, id: JobId, now_ms: u64) -> Option<Claim> {
        let held = self.let_go(id, now_ms)?;
        self.enter(held.facts, true);
        Some(held.claim)
    }

    /// The claimed job waits for its next attempt.
    pub fn delay(&mut self, id: JobId, due_ms: u64, now_ms: u64) -> Option<Claim> {
        let held = self.let_go(id, now_ms)?;
        self.put_off(held.facts, due_ms, true);
        Some(held.claim)
    }

    /// A job whose lease has ended.
    pub fn next_expired(&self, now_ms: u64) -> Option<JobId> {
        self.deadlines.first().filter(|(deadline, _)| *deadline <= now_ms).map(|(_, id)| *id)
    }

    /// A delayed job whose time has come.
    pub fn next_due(&self, unix_ms: u64) -> Option<JobId> {
        self.dues.first().filter(|(due, _)| *due <= unix_ms).map(|(_, id)| *id)
    }

    /// The first delayed jobs, in the order of their times.
    pub fn first_delayed(&self, most: usize) -> impl Iterator<Item = JobId> + '_ {
        self.dues.iter().take(most).map(|(_, id)| *id)
    }

    /// A delayed job waits no more for its time.
    pub fn fall_due(&mut self, id: JobId) -> bool {
        let Some(delayed) = self.take_delayed(id) else { return false };
        self.enter(delayed.facts, true);
        true
    }

    /// Any of the delayed jobs, after this one.
    pub fn delayed_after(&self, id: JobId) -> Option<JobId> {
        use std::ops::Bound;
        self.delayed.range((Bound::Excluded(id), Bound::Unbounded)).next().map(|(id, _)| *id)
    }

    /// A waiting or delayed job is gone.
    pub fn remove(&mut self, facts: &Facts) {
        let delayed = self.take_delayed(facts.id);
        if delayed.is_some_and(|delayed| !delayed.holds_place) {
            return;
        }
        if self.in_lanes.contains_key(&facts.place()) {
            self.leave(facts);
        } else {
            self.ready.remove(&facts.name, facts.group, facts.head());
        }
    }

    pub fn state(&self, id: JobId) -> State {
        if self.claims.contains_key(&id) {
            return State::Claimed;
        }
        self.delayed.get(&id).map_or(State::Waiting, |delayed| State::Delayed { due_ms: delayed.due_ms })
    }

    pub fn counts(&self) -> Counts {
        Counts {
            waiting: self.ready.len() + self.tally.behind(),
            delayed: self.delayed.len() as u64,
            claimed: self.claims.len() as u64,
        }
    }

    /// The same of each type that has any.
    pub fn counts_of_types(&self) -> BTreeMap<Arc<str>, Counts> {
        let mut counts = self.tally.types().clone();
        for (name, ready) in self.ready.counts() {
            counts.entry(name.clone()).or_default().waiting += ready;
        }
        counts
    }

    /// How many jobs each worker holds.
    pub fn held_by(&self) -> &BTreeMap<u32, u64> {
        self.tally.workers()
    }

    pub fn ready(&self) -> &Ready {
        &self.ready
    }

    /// Types of which a job can be handed out, as far as limits of the whole space allow, and could not before.
    /// What time alone has opened is known once [`Queue::has`] or a pick was asked: ask that first.
    pub fn take_opened(&mut self) -> Vec<Arc<str>> {
        self.ready.take_opened()
    }

    /// No job of this type is handed out from now on, or they are again.
    pub fn set_stopped(&mut self, name: &Arc<str>, stopped: bool) {
        self.ready.set_stopped(name, stopped);
    }

    /// When time alone changes something: the end of a lease, or of a rate's window that keeps a job from being claimed.
    pub fn next_ms(&mut self, now_ms: u64) -> Option<u64> {
        let rate = match self.ready.len() {
            0 => None,
            _ => self.all.blocked(&self.limits.all, now_ms).flatten(),
        };
        let group = self.looks.first().map(|(at, _)| *at);
        let lease = self.deadlines.first().map(|(at, _)| *at);
        [rate, group, lease].into_iter().flatten().min()
    }

    /// The longest window of its rates; None: it has none.
    pub fn window_ms(&self) -> Option<u64> {
        let of = |limit: &Limit| limit.rate.map(|rate| rate.per_ms);
        of(&self.limits.all).max(self.limits.by.as_ref().and_then(|(_, limit)| of(limit)))
    }

    /// The next due time, in Unix time.
    pub fn next_due_ms(&self) -> Option<u64> {
        self.dues.first().map(|(due, _)| *due)
    }

    fn look_again(&mut self, now_ms: u64) {
        while let Some((at, group)) = self.looks.first().copied().filter(|(at, _)| *at <= now_ms) {
            self.looks.remove(&(at, group));
            self.look_at_ms.remove(&group);
            self.look_at_group(group, now_ms);
        }
    }

    /// Closes a group that its limit blocks, and opens one that it does not.
    fn look_at_group(&mut self, group: u64, now_ms: u64) {
        let Some((_, limit)) = &self.limits.by else { return };
        let Some(slots) = self.groups.get_mut(&group) else { return };
        let blocked = slots.blocked(limit, now_ms);
        // An open one is looked at, too: it is forgotten once nothing is in its window. One that is only claimed needs no look.
        let look_at_ms = blocked.flatten().or_else(|| slots.forgets_ms(limit));
        if slots.is_empty() {
            self.groups.remove(&group);
        }
        self.ready.set_closed(group, blocked.is_some());
        let Some(at) = look_at_ms else { return };
        match self.look_at_ms.get(&group).copied() {
            Some(earlier) if earlier <= at => return,
            Some(later) => self.looks.remove(&(later, group)),
            None => false,
        };
        self.looks.insert((at, group));
        self.look_at_ms.insert(group, at);
    }

    fn put_off(&mut self, facts: Facts, due_ms: u64, holds_place: bool) {
        let id = facts.id;
        if holds_place {
            self.enter(facts.clone(), false);
        }
        self.dues.insert((due_ms, id));
        self.tally.count(&facts.name, |counts| counts.delayed += 1);
        self.delayed.insert(id, Delayed { facts, due_ms, holds_place });
    }

    fn take_delayed(&mut self, id: JobId) -> Option<Delayed> {
        let delayed = self.delayed.remove(&id)?;
        self.dues.remove(&(delayed.due_ms, id));
        self.tally.count(&delayed.facts.name, |counts| counts.delayed -= 1);
        Some(delayed)
    }

    fn take(&mut self, facts: Facts, claim: Claim, now_ms: u64) {
        let id = facts.id;
        self.deadlines.insert((claim.deadline_ms, id));
        self.all.hold(id);
        if let (Some(group), Some(_)) = (facts.group, &self.limits.by) {
            self.groups.entry(group).or_default().hold(id);
            self.look_at_group(group, now_ms);
        }
        if !facts.orders.is_empty() {
            self.enter(facts.clone(), false);
            for key in &facts.orders {
                self.lanes.entry(*key).or_default().claimed = Some(facts.place());
            }
            self.look_at_lanes(&facts.orders);
        }
        self.tally.held(&facts.name, claim.worker);
        self.claims.insert(id, Held { facts, claim });
    }

    fn let_go(&mut self, id: JobId, now_ms: u64) -> Option<Held> {
        let held = self.claims.remove(&id)?;
        self.deadlines.remove(&(held.claim.deadline_ms, id));
        self.tally.let_go(&held.facts.name, held.claim.worker);
        self.all.free(id);
        if let (Some(group), Some(_)) = (held.facts.group, &self.limits.by) {
            if let Some(slots) = self.groups.get_mut(&group) {
                slots.free(id);
            }
            self.look_at_group(group, now_ms);
        }
        for key in &held.facts.orders {
            if let Some(lane) = self.lanes.get_mut(key) {
                lane.claimed = None;
            }
        }
        Some(held)
    }

    /// A job takes its place, or is in it already and now waits, or does not.
    fn enter(&mut self, facts: Facts, waits: bool) {
        if facts.orders.is_empty() {
            if waits {
                self.ready.insert(&facts.name, facts.group, facts.head());
            }
            return;
        }
        let (place, orders) = (facts.place(), facts.orders.clone());
        for key in &orders {
            self.lanes.entry(*key).or_default().places.insert(place);
        }
        match self.in_lanes.get_mut(&place) {
            Some(known) => {
                let was_behind = known.is_behind();
                known.waits = waits;
                self.tally.moved(&known.facts.name, was_behind, known.is_behind());
            }
            None => {
                self.tally.moved(&facts.name, false, waits);
                self.in_lanes.insert(place, InLanes { facts, waits, is_ready: false });
            }
        }
        self.look_at(place);
        self.look_at_lanes(&orders);
    }

    /// A job leaves its lanes.
    fn leave(&mut self, facts: &Facts) {
        let place = facts.place();
        let Some(known) = self.in_lanes.remove(&place) else { return };
        let facts = &known.facts;
        if known.is_ready {
            self.ready.remove(&facts.name, facts.group, facts.head());
        }
        self.tally.moved(&facts.name, known.is_behind(), false);
        for key in &facts.orders {
            if let Some(lane) = self.lanes.get_mut(key) {
                lane.places.remove(&place);
                if lane.places.is_empty() {
                    self.lanes.remove(key);
                }
            }
        }
        self.look_at_lanes(&facts.orders);
    }

    /// In each of these lanes, the first two may have changed places, or the first may be free now.
    fn look_at_lanes(&mut self, orders: &Orders) {
        for key in orders {
            let Some(lane) = self.lanes.get(key) else { continue };
            let first: SmallVec<[Place; 2]> = lane.places.iter().take(2).copied().collect();
            first.into_iter().for_each(|place| self.look_at(place));
        }
    }

    /// Is the job ready, or not any more?
    fn look_at(&mut self, place: Place) {
        let Some(known) = self.in_lanes.get_mut(&place) else { return };
        let facts = &known.facts;
        let is_first = |key: &u64| {
            self.lanes.get(key).is_some_and(|lane| lane.claimed.is_none() && lane.places.first() == Some(&place))
        };
        let is_ready = known.waits && facts.orders.iter().all(is_first);
        if is_ready == known.is_ready {
            return;
        }
        let head = facts.head();
        if is_ready {
            self.ready.insert(&facts.name, facts.group, head);
        } else {
            self.ready.remove(&facts.name, facts.group, head);
        }
        let was_behind = known.is_behind();
        known.is_ready = is_ready;
        self.tally.moved(&known.facts.name, was_behind, known.is_behind());
    }
}

#[cfg(test)]
mod model;
