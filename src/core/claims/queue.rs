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
//! One that waits or is delayed may be withheld beside: see [`withheld`].
//!
//! Invariants:
//! - a job is in exactly one of these states: waiting, delayed, claimed, settled (forgotten here);
//! - one claim of a job at a time, with a token of its own;
//! - jobs that share an order key are claimed one at a time, in the order of their places: one is ready if it is the first
//!   in each of its lanes and none of them has a claimed job. One that failed keeps its place while it waits for its next
//!   attempt; one that was put off when it was enqueued takes its place when its time comes;
//! - of those that are ready, [`Ready`] says which is first; limits ([`Limiter`]) close a group, or the space.
//!
//! Time comes in from outside: leases and rates by a monotonic clock, due times by Unix time.

mod lanes;
mod limiter;
#[cfg(test)]
mod model;
mod withheld;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use lanes::Lanes;
use limiter::Limiter;
use withheld::Withheld;

use super::ready::{Group, Ready, Wanted};
use super::tally::Tally;
use crate::core::catalog::claim::{Limit, Limits};
use crate::core::jobs::job_id::JobId;

pub use super::job::{Claim, Facts, Orders};
pub use super::tally::Counts;

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
struct ClaimedJob {
    facts: Facts,
    claim: Claim,
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
    lanes: Lanes,
    tally: Tally,
    delayed: BTreeMap<JobId, Delayed>,
    dues: BTreeSet<(u64, JobId)>,
    claims: BTreeMap<JobId, ClaimedJob>,
    deadlines: BTreeSet<(u64, JobId)>,
    withheld: BTreeMap<JobId, Withheld>,
    limiter: Limiter,
    pub paused: bool,
}

impl Queue {
    pub fn new(limits: Limits) -> Queue {
        Queue { limiter: Limiter::new(limits), ..Queue::default() }
    }

    pub fn limits(&self) -> &Limits {
        self.limiter.limits()
    }

    /// Another limit for the space as a whole. One `by` a field needs the jobs to be read again.
    pub fn set_limit(&mut self, limit: Limit) {
        self.limiter.set_limit(limit);
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
        let facts = match self.lanes.facts(head.place) {
            Some(facts) => facts.clone(),
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
        self.limiter.look_again(now_ms, &mut self.ready);
        !self.paused && self.limiter.blocked(now_ms).is_none()
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
        self.limiter.begin(group, now_ms, &mut self.ready);
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
        let are_among_many = (behind > 0 && self.lanes.len() > 4 * most) || self.withheld.len() > 4 * most;
        if self.counts().waiting > most as u64 || are_among_many {
            return None;
        }
        let behind = self.lanes.behind().take(behind as usize).map(|facts| (&facts.name, facts.id));
        let waiting =
            self.ready.jobs().chain(behind).chain(self.waiting_withheld().map(|facts| (&facts.name, facts.id)));
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
        self.wait(delayed.facts);
        true
    }

    /// Any of the delayed jobs, after this one.
    pub fn delayed_after(&self, id: JobId) -> Option<JobId> {
        use std::ops::Bound;
        self.delayed.range((Bound::Excluded(id), Bound::Unbounded)).next().map(|(id, _)| *id)
    }

    /// A waiting or delayed job is gone.
    pub fn remove(&mut self, facts: &Facts) {
        self.forget_withheld(facts.id);
        let delayed = self.take_delayed(facts.id);
        if delayed.is_some_and(|delayed| !delayed.holds_place) {
            return;
        }
        if self.lanes.facts(facts.place()).is_some() {
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
            waiting: self.ready.len() + self.tally.behind() + self.tally.withheld_len(),
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
            _ => self.limiter.blocked(now_ms).flatten(),
        };
        let group = self.limiter.next_look_ms();
        let lease = self.deadlines.first().map(|(at, _)| *at);
        [rate, group, lease].into_iter().flatten().min()
    }

    /// The longest window of its rates; None: it has none.
    pub fn window_ms(&self) -> Option<u64> {
        self.limiter.window_ms()
    }

    /// The next due time, in Unix time.
    pub fn next_due_ms(&self) -> Option<u64> {
        self.dues.first().map(|(due, _)| *due)
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
        self.limiter.hold(id, facts.group, now_ms, &mut self.ready);
        if !facts.orders.is_empty() {
            self.enter(facts.clone(), false);
            self.lanes.claim(&facts, &mut self.ready, &mut self.tally);
        }
        self.tally.held(&facts.name, claim.worker);
        self.claims.insert(id, ClaimedJob { facts, claim });
    }

    fn let_go(&mut self, id: JobId, now_ms: u64) -> Option<ClaimedJob> {
        let held = self.claims.remove(&id)?;
        self.deadlines.remove(&(held.claim.deadline_ms, id));
        self.tally.let_go(&held.facts.name, held.claim.worker);
        self.limiter.free(id, held.facts.group, now_ms, &mut self.ready);
        self.lanes.let_go(&held.facts.orders);
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
        self.lanes.enter(facts, waits, &mut self.ready, &mut self.tally);
    }

    /// A job leaves its lanes, if it is in any.
    fn leave(&mut self, facts: &Facts) {
        self.lanes.leave(facts.place(), &mut self.ready, &mut self.tally);
    }
}
