//! One space's queue as its master schedules it: what may be applied when, in two lanes. The jobs themselves are in the
//! stream; what is applied stands in Postgres' ledger.
//!
//! ```text
//!   read_to        through                        newest
//!      |  in flight   |            unread            |
//! -----+--------------+------------------------------+-----> ids
//!   settled, or left out
//! ```
//! Invariants:
//! - a job is in exactly one of these states: unread, in flight in the main lane, left out (waiting, or in flight in the
//!   side lane), settled;
//! - at most one main batch and one side batch are in flight;
//! - jobs that share an order key are applied in the order of their places. A job's place is that of its id; a delayed
//!   one takes its place when its time comes, behind whatever is left out or in flight then;
//! - jobs in flight in different lanes share no key: the main lane leaves out what shares one with a job that holds a
//!   place ([`Queue::blocked`]), and nobody comes to hold a place while a main batch is in flight;
//! - a barrier is applied when nothing else is in flight or holds a place before it.
//!
//! A barrier that the main lane meets holds that lane. A delayed barrier is left out like any delayed job, and holds the
//! main lane from the time when it takes its place.
//!
//! Times are ms of a clock that does not step back. Time passes in those methods only that are given it.

use rustc_hash::FxHashSet;

use super::batch::OrderKeys;
use super::job_id::JobId;
use super::left_out::{LeftOutJobs, New, Stage};

/// Jobs whose time has come are looked at by so many a call: a million delayed to one moment must not hold the caller.
const MAX_DUE: usize = 1000;

/// See the module.
#[derive(Default)]
pub struct Queue {
    newest: JobId,
    read_to: JobId,
    /// The last job of the main batch in flight.
    through: Option<JobId>,
    held: Held,
    left: LeftOutJobs,
}

/// Why the main lane does not go on, although there is something to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Held {
    #[default]
    No,
    /// The barrier at its head failed, or its type is refused: it is tried again then.
    Until(u64),
    /// A barrier at its head waits until no left-out job holds a place.
    UntilQuiet,
}

/// A job that the main lane left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    pub keys: OrderKeys,
    pub barrier: bool,
    /// Does it keep the place that its id gives it? False: it takes its place at `due_ms`.
    pub holds: bool,
    /// When it may be applied; None: as soon as its predecessors are.
    pub due_ms: Option<u64>,
    /// Its type, as `is_paused` knows it.
    pub kind: u32,
}

/// What came of a job in the side lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SideResult {
    Settled,
    /// It keeps its place. None: to be tried again as soon as its predecessors are settled.
    Left {
        due_ms: Option<u64>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobState {
    /// Unread, or left out and waiting for other jobs only.
    Waiting,
    Active,
    Delayed {
        due_ms: u64,
    },
}

/// The job is in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Active;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// All jobs left out.
    pub left: usize,
    /// Those of them that wait for a time.
    pub delayed: usize,
    /// Those of them that are in flight.
    pub active: usize,
}

impl Queue {
    pub fn new() -> Queue {
        Queue::default()
    }

    /// A job is in the stream: enqueued now, or found there.
    pub fn added(&mut self, id: JobId) {
        self.newest = self.newest.max(id);
    }

    /// After which job the main lane reads on, if it may take a batch now.
    pub fn main_from(&mut self, now_ms: u64) -> Option<JobId> {
        self.pass_time(now_ms);
        let held = match self.held {
            Held::No => false,
            Held::Until(until_ms) => until_ms > now_ms,
            Held::UntilQuiet => self.left.holding() > 0,
        };
        let may = self.through.is_none() && self.newest > self.read_to && !held && self.left.barrier().is_none();
        may.then_some(self.read_to)
    }

    /// A batch of jobs up to `through` is in flight.
    pub fn main_taken(&mut self, through: JobId) {
        self.through = Some(through);
        self.newest = self.newest.max(through);
    }

    /// Up to which job a batch is in flight.
    pub fn main_in_flight(&self) -> Option<JobId> {
        self.through
    }

    /// There is no job up to `through` that is unread: they have been removed from the stream.
    pub fn main_skipped(&mut self, through: JobId) {
        if self.through.is_none() {
            self.read_to = self.read_to.max(through);
            // The barrier that held the lane is among them.
            self.held = Held::No;
        }
    }

    /// What the main lane must leave out: keys of left-out jobs that hold a place, and whether there are such jobs at
    /// all, with keys or without.
    pub fn blocked(&self) -> (FxHashSet<u64>, bool) {
        (self.left.keys(), self.left.holding() > 0)
    }

    /// The main batch came back, with the ledger's mark and the jobs that were left out up to there. The lane reads on
    /// after the mark, or after the batch where the mark is later (a batch was sent twice).
    pub fn main_done(&mut self, mark: JobId, mut left: Vec<(JobId, LeftOut)>, held: Held) {
        let Some(through) = self.through.take() else {
            return;
        };
        self.read_to = mark.min(through).max(self.read_to);
        self.held = held;
        left.sort_unstable_by_key(|(id, _)| *id);
        // What is beyond the mark is read again.
        left.retain(|(id, _)| *id <= self.read_to);
        for (id, LeftOut { keys, barrier, holds, due_ms, kind }) in left {
            let new = New { id, keys, kind, barrier };
            // A barrier is left out only where it was delayed: whatever the batch left out goes before it.
            if holds && !barrier {
                self.left.insert_holding(new, due_ms);
            } else {
                self.left.insert_undue(new, due_ms.unwrap_or(0));
            }
        }
    }

    /// It came back untouched.
    pub fn main_put_back(&mut self) {
        self.through = None;
    }

    /// Left-out jobs that may be applied now, at most `max`, lowest ids first, in the order of their ids, in which they
    /// must be applied; they are in flight from now on. Empty where a side batch is in flight. Jobs that share a key go
    /// together if all before them do. `is_paused` names the types that are refused for now.
    pub fn side_take(&mut self, now_ms: u64, max: usize, is_paused: &dyn Fn(u32) -> bool) -> Vec<JobId> {
        self.pass_time(now_ms);
        if !self.left.active().is_empty() || max == 0 {
            return Vec::new();
        }
        if self.through.is_none() && self.left.may_take_barrier(is_paused) {
            return self.left.take_barrier(is_paused).to_vec();
        }
        self.left.take(max, is_paused).to_vec()
    }

    /// Would [`Queue::side_take`] return any?
    pub fn has_side(&mut self, now_ms: u64, is_paused: &dyn Fn(u32) -> bool) -> bool {
        self.pass_time(now_ms);
        let barrier = self.through.is_none() && self.left.may_take_barrier(is_paused);
        self.left.active().is_empty() && (barrier || self.left.may_take(is_paused))
    }

    /// The side batch will be sent without its jobs from this one on.
    pub fn side_give_back(&mut self, from: JobId) {
        self.left.give_back(from);
    }

    /// The side batch came back. A job without a result waits again.
    pub fn side_done(&mut self, results: &[(JobId, SideResult)]) {
        for (id, result) in results {
            match result {
                SideResult::Settled => self.left.settle(*id),
                SideResult::Left { due_ms } => self.left.leave(*id, *due_ms),
            }
        }
        self.left.end_batch();
    }

    /// It came back untouched.
    pub fn side_put_back(&mut self) {
        self.left.end_batch();
    }

    /// When time alone makes something runnable, be it past already.
    pub fn next_due(&self) -> Option<u64> {
        let held = match self.held {
            Held::Until(until_ms) if self.through.is_none() && self.newest > self.read_to => Some(until_ms),
            _ => None,
        };
        let undue = self.left.first_undue_ms().filter(|_| self.may_place());
        [held, undue, self.left.first_backing_off_ms()].into_iter().flatten().min()
    }

    /// Takes a left-out job out. False: it is not left out (unread jobs are known to the stream only).
    pub fn remove(&mut self, id: JobId) -> Result<bool, Active> {
        match self.state(id) {
            Some(JobState::Active) => Err(Active),
            _ => Ok(self.left.remove(id)),
        }
    }

    /// A left-out job that waits for a time is due now.
    pub fn hasten(&mut self, id: JobId, now_ms: u64) {
        self.left.hasten(id, now_ms);
    }

    /// What holds the main lane until some time may be tried now.
    pub fn end_hold(&mut self) {
        if matches!(self.held, Held::Until(_)) {
            self.held = Held::No;
        }
    }

    /// None: settled, or never seen.
    pub fn state(&self, id: JobId) -> Option<JobState> {
        if id > self.newest {
            return None;
        }
        if id > self.read_to {
            let is_active = self.through.is_some_and(|through| id <= through);
            return Some(if is_active { JobState::Active } else { JobState::Waiting });
        }
        Some(match self.left.stage(id)? {
            Stage::Waiting => JobState::Waiting,
            Stage::Active => JobState::Active,
            Stage::Undue | Stage::BackingOff => JobState::Delayed { due_ms: self.left.due_ms(id)? },
        })
    }

    /// Left-out jobs that wait for nothing but their turn: of each type the one with the lowest id.
    pub fn first_ready(&self) -> impl Iterator<Item = JobId> + '_ {
        self.left.first_ready()
    }

    /// Where the jobs begin that the main lane has not read; None: it has read all.
    pub fn first_unread(&self) -> Option<JobId> {
        let read = self.through.unwrap_or(self.read_to).max(self.read_to);
        read.next().filter(|_| self.newest > read)
    }

    /// Every job with a smaller id is settled: the stream may be trimmed up to it.
    pub fn first_unsettled(&self) -> JobId {
        self.left.first().or(self.read_to.next()).unwrap_or(self.read_to)
    }

    /// The outcome of every job with a smaller id that has one has come back: only what is in flight may have been
    /// applied or have failed without that.
    pub fn published(&self) -> JobId {
        let next = self.read_to.next().unwrap_or(self.read_to);
        self.left.active().first().map_or(next, |active| next.min(*active))
    }

    pub fn counts(&self) -> Counts {
        Counts { left: self.left.len(), delayed: self.left.waiting_for_time(), active: self.left.active().len() }
    }

    /// Is nothing unread, in flight or left out?
    pub fn is_idle(&self) -> bool {
        self.newest <= self.read_to && self.through.is_none() && self.left.len() == 0
    }

    /// May a job whose time has come take its place? Not while a main batch is in flight that was not told of it; nor
    /// while a barrier waits for the others, which would then wait for ever.
    fn may_place(&self) -> bool {
        self.through.is_none() && self.left.barrier().is_none() && self.held != Held::UntilQuiet
    }

    fn pass_time(&mut self, now_ms: u64) {
        self.left.wake_due(now_ms, MAX_DUE);
        if matches!(self.held, Held::Until(until_ms) if until_ms <= now_ms) {
            self.held = Held::No;
        }
        if self.may_place() {
            self.left.place_due(now_ms, MAX_DUE);
        }
    }
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod model;
