//! Jobs of one space that the main lane left out: which hold a place in the order, and which may be applied now.
//!
//! ```text
//!             time comes, in turn          predecessors settled, not refused
//!   undue ------------------------> waiting ------------------------------> active --- settled --> (gone)
//!                                    ^   ^                                    |
//!                                    |   +------- left again, put back -------+
//!                            time    |                                        |
//!                            comes   +--- backing off <----- left until ------+
//! ```
//! All but undue jobs hold a *place*: a number, given in the order in which they come to hold one, and kept until they
//! are settled. Invariant: of the jobs that share an order key, only the one with the first place may be active, or
//! several from the first on, if their ids, in whose order a batch applies them, are in the order of their places.
//!
//! Every step costs O(log n) a job, however many others wait, back off, or are of a type that is refused.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use rustc_hash::{FxHashMap, FxHashSet};

use super::batch::OrderKeys;
use super::job_id::JobId;

/// Does the section refuse jobs of this type for now?
pub type IsPaused<'a> = &'a dyn Fn(u32) -> bool;

/// All left-out jobs of a space.
#[derive(Default)]
pub struct LeftOutJobs {
    jobs: BTreeMap<JobId, Job>,
    next_place: u64,
    /// How many undue jobs have been hastened.
    hastened: u64,
    /// Who holds which place.
    places: BTreeMap<u64, JobId>,
    /// Order keys with the places on them. Barriers have none here.
    lines: BTreeSet<(u64, u64)>,
    /// Waiting, and the first of all their lines, by type.
    ready: FxHashMap<u32, BTreeSet<JobId>>,
    /// By the time that they wait for, ms.
    undue: BTreeSet<(u64, JobId)>,
    backing_off: BTreeSet<(u64, JobId)>,
    /// The barrier that holds a place. Nobody takes a place behind it.
    barrier: Option<JobId>,
    active: Vec<JobId>,
}

struct Job {
    /// Without duplicates.
    keys: OrderKeys,
    /// Meaningless while undue.
    place: u64,
    /// What it waits for, while undue or backing off.
    due_ms: u64,
    kind: u32,
    /// In how many of its lines somebody stands before it.
    behind: u32,
    barrier: bool,
    stage: Stage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    Undue,
    BackingOff,
    Waiting,
    Active,
}

/// A job as it is left out.
pub struct New {
    pub id: JobId,
    pub keys: OrderKeys,
    pub kind: u32,
    pub barrier: bool,
}

impl LeftOutJobs {
    /// Leaves a job out that takes its place at `due_ms`.
    pub fn insert_undue(&mut self, new: New, due_ms: u64) {
        let id = self.insert(new, Stage::Undue, due_ms);
        self.undue.insert((due_ms, id));
    }

    /// Leaves a job out that takes its place now, and runs no earlier than `due_ms`. Not for barriers.
    pub fn insert_holding(&mut self, new: New, due_ms: Option<u64>) {
        let id = self.insert(new, Stage::Waiting, 0);
        self.take_place(id);
        if let Some(due_ms) = due_ms {
            self.back_off(id, due_ms);
        }
    }

    fn insert(&mut self, new: New, stage: Stage, due_ms: u64) -> JobId {
        let New { id, mut keys, kind, barrier } = new;
        self.remove(id);
        keys.sort_unstable();
        keys.dedup();
        if barrier {
            keys.clear();
        }
        keys.shrink_to_fit();
        self.jobs.insert(id, Job { keys, place: 0, due_ms, kind, behind: 0, barrier, stage });
        id
    }

    /// Gives places to undue jobs whose time has come, in the order of their times, up to a barrier.
    pub fn place_due(&mut self, now_ms: u64, max: usize) {
        for _ in 0..max {
            let due = self.undue.first().copied().filter(|(due_ms, _)| *due_ms <= now_ms);
            let Some(first) = due.filter(|_| self.barrier.is_none()) else {
                return;
            };
            self.undue.remove(&first);
            self.take_place(first.1);
        }
    }

    /// Ends the wait of those who backed off.
    pub fn wake_due(&mut self, now_ms: u64, max: usize) {
        for _ in 0..max {
            let Some(first) = self.backing_off.first().copied().filter(|(due_ms, _)| *due_ms <= now_ms) else {
                return;
            };
            self.backing_off.remove(&first);
            self.wait(first.1);
        }
    }

    fn take_place(&mut self, id: JobId) {
        let Some(job) = self.jobs.get_mut(&id) else {
            return;
        };
        let place = self.next_place;
        self.next_place += 1;
        job.place = place;
        job.behind = 0;
        self.places.insert(place, id);
        if job.barrier {
            self.barrier = Some(id);
        }
        for key in &job.keys {
            job.behind += u32::from(before(&self.lines, *key, place).is_some());
            self.lines.insert((*key, place));
        }
        self.wait(id);
    }

    /// Makes a job that holds a place wait for nothing but its predecessors.
    fn wait(&mut self, id: JobId) {
        if let Some(job) = self.jobs.get_mut(&id) {
            job.stage = Stage::Waiting;
            if job.behind == 0 && !job.barrier {
                self.ready.entry(job.kind).or_default().insert(id);
            }
        }
    }

    fn back_off(&mut self, id: JobId, due_ms: u64) {
        if let Some(job) = self.jobs.get_mut(&id) {
            unready(&mut self.ready, job.kind, id);
            job.stage = Stage::BackingOff;
            job.due_ms = due_ms;
            self.backing_off.insert((due_ms, id));
        }
    }

    /// A job waits for its time no longer than until now. Those that take their places later do so in the order in which they
    /// were hastened, as long as there are fewer than milliseconds have passed; then in that of their ids.
    pub fn hasten(&mut self, id: JobId, now_ms: u64) {
        let Some(job) = self.jobs.get_mut(&id) else {
            return;
        };
        let (line, at_ms) = match job.stage {
            Stage::Undue => {
                self.hastened += 1;
                (&mut self.undue, now_ms.min(self.hastened))
            }
            Stage::BackingOff => (&mut self.backing_off, now_ms),
            Stage::Waiting | Stage::Active => return,
        };
        line.remove(&(job.due_ms, id));
        job.due_ms = job.due_ms.min(at_ms);
        line.insert((job.due_ms, id));
    }

    /// Those that could be applied now, of each type the one with the lowest id.
    pub fn first_ready(&self) -> impl Iterator<Item = JobId> + '_ {
        self.ready.values().filter_map(|ids| ids.first().copied())
    }

    /// Makes active what may be applied, lowest ids first, at most `max`; returns them in the order of their ids.
    pub fn take(&mut self, max: usize, is_paused: IsPaused) -> &[JobId] {
        let kinds = self.ready.iter().filter(|(kind, _)| !is_paused(**kind));
        let mut candidates: BinaryHeap<_> = kinds.filter_map(|(_, ids)| ids.first().copied().map(Reverse)).collect();
        while self.active.len() < max {
            let Some(Reverse(id)) = candidates.pop() else {
                break;
            };
            let Some(job) = self.jobs.get_mut(&id).filter(|job| job.stage == Stage::Waiting) else {
                continue; // Named by two of its predecessors, and taken.
            };
            job.stage = Stage::Active;
            self.active.push(id);
            if unready(&mut self.ready, job.kind, id) {
                candidates.extend(self.ready.get(&job.kind).and_then(|ids| ids.first().copied().map(Reverse)));
            }
            let job = &self.jobs[&id];
            for key in &job.keys {
                let next = after(&self.lines, *key, job.place).and_then(|place| self.places.get(&place).copied());
                candidates.extend(next.filter(|next| self.may_follow(*next, is_paused)).map(Reverse));
            }
        }
        // Each follows its predecessors only if its id does, so that ids are popped in their order but for candidates
        // that a larger one of another line made known.
        self.active.sort_unstable();
        &self.active
    }

    /// Makes the barrier active, if it is the only one that holds a place and its type is not refused.
    pub fn take_barrier(&mut self, is_paused: IsPaused) -> &[JobId] {
        if let Some(id) = self.barrier.filter(|_| self.may_take_barrier(is_paused)) {
            if let Some(job) = self.jobs.get_mut(&id) {
                job.stage = Stage::Active;
                self.active.push(id);
            }
        }
        &self.active
    }

    pub fn may_take(&self, is_paused: IsPaused) -> bool {
        self.ready.keys().any(|kind| !is_paused(*kind))
    }

    pub fn may_take_barrier(&self, is_paused: IsPaused) -> bool {
        let job = self.barrier.and_then(|id| self.jobs.get(&id));
        self.places.len() == 1 && job.is_some_and(|job| job.stage == Stage::Waiting && !is_paused(job.kind))
    }

    /// May it go in the same batch as its predecessors? All of them must be in it, with smaller ids.
    fn may_follow(&self, id: JobId, is_paused: IsPaused) -> bool {
        let job = &self.jobs[&id];
        let is_led = |key: &u64| {
            let previous = before(&self.lines, *key, job.place).and_then(|place| self.places.get(&place));
            previous.is_none_or(|previous| *previous < id && self.jobs[previous].stage == Stage::Active)
        };
        job.stage == Stage::Waiting && !is_paused(job.kind) && job.keys.iter().all(is_led)
    }

    /// Drops an active job.
    pub fn settle(&mut self, id: JobId) {
        if self.stage(id) == Some(Stage::Active) {
            self.remove(id);
        }
    }

    /// Makes an active job wait again, in its place.
    pub fn leave(&mut self, id: JobId, due_ms: Option<u64>) {
        if self.stage(id) == Some(Stage::Active) {
            self.wait(id);
            if let Some(due_ms) = due_ms {
                self.back_off(id, due_ms);
            }
        }
    }

    /// Ends the batch: who is still active waits again.
    pub fn end_batch(&mut self) {
        for id in std::mem::take(&mut self.active) {
            self.leave(id, None);
        }
    }

    /// Makes active jobs from this one on wait again.
    pub fn give_back(&mut self, from: JobId) {
        let kept = self.active.partition_point(|id| *id < from);
        for id in self.active.split_off(kept) {
            self.leave(id, None);
        }
    }

    /// Drops a job, whatever its stage; its successors move up.
    pub fn remove(&mut self, id: JobId) -> bool {
        let Some(job) = self.jobs.remove(&id) else {
            return false;
        };
        if job.stage == Stage::Undue {
            self.undue.remove(&(job.due_ms, id));
            return true;
        }
        self.backing_off.remove(&(job.due_ms, id));
        unready(&mut self.ready, job.kind, id);
        self.places.remove(&job.place);
        if self.barrier == Some(id) {
            self.barrier = None;
        }
        for key in &job.keys {
            self.lines.remove(&(*key, job.place));
            if before(&self.lines, *key, job.place).is_none() {
                self.move_up(*key, job.place);
            }
        }
        true
    }

    /// The first of a line has gone from `place`.
    fn move_up(&mut self, key: u64, place: u64) {
        let next = after(&self.lines, key, place).and_then(|place| self.places.get(&place));
        if let Some((next, job)) = next.and_then(|next| self.jobs.get_mut(next).map(|job| (*next, job))) {
            job.behind -= 1;
            if job.behind == 0 && job.stage == Stage::Waiting {
                self.ready.entry(job.kind).or_default().insert(next);
            }
        }
    }

    pub fn stage(&self, id: JobId) -> Option<Stage> {
        self.jobs.get(&id).map(|job| job.stage)
    }

    /// What it waits for, while undue or backing off.
    pub fn due_ms(&self, id: JobId) -> Option<u64> {
        self.jobs.get(&id).map(|job| job.due_ms)
    }

    /// Keys of the jobs that hold a place.
    pub fn keys(&self) -> FxHashSet<u64> {
        // From line to line, however long each is.
        let mut keys = FxHashSet::default();
        let mut next = Some(0);
        while let Some((key, _)) = next.and_then(|from| self.lines.range((from, 0)..).next()) {
            keys.insert(*key);
            next = key.checked_add(1);
        }
        keys
    }

    pub fn first(&self) -> Option<JobId> {
        self.jobs.first_key_value().map(|(id, _)| *id)
    }

    pub fn len(&self) -> usize {
        self.jobs.len()
    }

    pub fn holding(&self) -> usize {
        self.places.len()
    }

    pub fn barrier(&self) -> Option<JobId> {
        self.barrier
    }

    pub fn active(&self) -> &[JobId] {
        &self.active
    }

    pub fn waiting_for_time(&self) -> usize {
        self.undue.len() + self.backing_off.len()
    }

    pub fn first_undue_ms(&self) -> Option<u64> {
        self.undue.first().map(|(due_ms, _)| *due_ms)
    }

    pub fn first_backing_off_ms(&self) -> Option<u64> {
        self.backing_off.first().map(|(due_ms, _)| *due_ms)
    }
}

fn before(lines: &BTreeSet<(u64, u64)>, key: u64, place: u64) -> Option<u64> {
    lines.range((key, 0)..(key, place)).next_back().map(|(_, place)| *place)
}

fn after(lines: &BTreeSet<(u64, u64)>, key: u64, place: u64) -> Option<u64> {
    lines.range((key, place + 1)..=(key, u64::MAX)).next().map(|(_, place)| *place)
}

fn unready(ready: &mut FxHashMap<u32, BTreeSet<JobId>>, kind: u32, id: JobId) -> bool {
    let Some(ids) = ready.get_mut(&kind) else {
        return false;
    };
    let was_ready = ids.remove(&id);
    if ids.is_empty() {
        ready.remove(&kind);
    }
    was_ready
}
