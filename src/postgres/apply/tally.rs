//! What has become of each job of a batch so far, and which of the others may still run.
//!
//! Invariant: a job runs only while no job before it that shares an order value with it is left out with its place, and
//! nothing runs beyond a barrier that could not pass. It is asked before each wave, so the order holds whatever fails.

use rustc_hash::FxHashSet;

use crate::core::catalog::job::Job;
use crate::core::jobs::batch::{
    Applied, Batch, Changed, Completed, JobError, JobOutcome, Lane, Left, OrderKeys, SpaceApplied,
};
use crate::core::jobs::job_id::JobId;

/// A job that is to be applied.
pub(in crate::postgres) struct Task<'b> {
    /// Index into [`Batch::spaces`], and into the space's jobs.
    pub(in crate::postgres) space: usize,
    pub(in crate::postgres) at: usize,
    /// Section, and job within it.
    pub(in crate::postgres) kind: (usize, usize),
    pub(in crate::postgres) job: &'b Job,
    /// The payload, checked.
    pub(in crate::postgres) json: Vec<u8>,
    pub(in crate::postgres) keys: OrderKeys,
    /// The keys, of this space alone.
    pub(in crate::postgres) mixed: OrderKeys,
    pub(in crate::postgres) barrier: bool,
}

/// Keys of one space never meet those of another.
pub(in crate::postgres) fn mixed(space: usize, keys: &OrderKeys) -> OrderKeys {
    // An odd multiplier is a bijection, so keys of one space stay apart; spaces meet as rarely as hashes do.
    let salt = (space as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    keys.iter().map(|key| (key ^ salt).wrapping_mul(0xD6E8_FEB8_6659_FD93)).collect()
}

/// One space's share.
struct Share {
    outcomes: Vec<Option<JobOutcome>>,
    changed: Vec<Changed>,
    /// Was a job left out that holds its place?
    has_left: bool,
    /// From this job on nothing is taken, or in the side lane nothing passes.
    cut: Option<usize>,
    /// The ledger's mark before.
    mark: JobId,
    ledger: Option<String>,
}

pub(in crate::postgres) struct Tally<'b> {
    batch: &'b Batch,
    shares: Vec<Share>,
    /// Mixed keys of jobs that were left out and hold their place.
    held: FxHashSet<u64>,
    paused: FxHashSet<(usize, usize)>,
    refused: Vec<((usize, usize), JobError)>,
    accepted: FxHashSet<(usize, usize)>,
}

impl<'b> Tally<'b> {
    pub(in crate::postgres) fn new(batch: &'b Batch) -> Tally<'b> {
        let share = |jobs: usize| Share {
            outcomes: vec![None; jobs],
            changed: Vec::new(),
            has_left: false,
            cut: None,
            mark: JobId::ZERO,
            ledger: None,
        };
        Tally {
            batch,
            shares: batch.spaces.iter().map(|space| share(space.jobs.len())).collect(),
            held: FxHashSet::default(),
            paused: batch.paused.iter().copied().collect(),
            refused: Vec::new(),
            accepted: FxHashSet::default(),
        }
    }

    /// The ledger is not the one that Redis knows.
    pub(in crate::postgres) fn set_ledger(&mut self, space: usize, text: String) {
        self.shares[space].ledger = Some(text);
    }

    pub(in crate::postgres) fn has_ledger(&self, space: usize) -> bool {
        self.shares[space].ledger.is_some()
    }

    pub(in crate::postgres) fn set_mark(&mut self, space: usize, mark: JobId) {
        self.shares[space].mark = mark;
    }

    pub(in crate::postgres) fn mark(&self, space: usize) -> JobId {
        self.shares[space].mark
    }

    /// An outcome that needs no statement and holds no place.
    pub(in crate::postgres) fn settle(&mut self, space: usize, at: usize, outcome: JobOutcome) {
        self.shares[space].outcomes[at] = Some(outcome);
    }

    /// Left out before; holds its place unless its time is still to come.
    pub(in crate::postgres) fn left_earlier(&mut self, space: usize, at: usize, keys: OrderKeys) {
        if !self.batch.spaces[space].jobs[at].undue {
            self.held.extend(mixed(space, &keys));
            self.shares[space].has_left = true;
        }
        self.settle(space, at, JobOutcome::Left { keys, barrier: false, why: Left::Earlier });
    }

    /// Whether the job may run now; if not, that is its outcome.
    pub(in crate::postgres) fn admit(&mut self, task: &Task<'_>) -> bool {
        let space = &self.batch.spaces[task.space];
        let share = &self.shares[task.space];
        let beyond = share.cut.is_some_and(|cut| task.at >= cut);
        let stopped_barrier = task.barrier && (space.any_blocked || share.has_left);
        if beyond || stopped_barrier {
            match self.batch.lane {
                // What is beyond the cut is not taken, which `finish` says.
                Lane::Main => self.cut(task.space, task.at),
                Lane::Side => self.leave(task, Left::Behind),
            }
            return false;
        }
        if self.paused.contains(&task.kind) {
            self.leave(task, Left::TypePaused);
            return false;
        }
        let is_held = !self.held.is_empty() && task.mixed.iter().any(|key| self.held.contains(key));
        if is_held || task.keys.iter().any(|key| space.blocked.contains(key)) {
            self.leave(task, Left::Behind);
            return false;
        }
        true
    }

    pub(in crate::postgres) fn complete(&mut self, task: &Task<'_>, completed: Completed, changed: Vec<Changed>) {
        self.accepted.insert(task.kind);
        self.shares[task.space].changed.extend(changed);
        self.settle(task.space, task.at, JobOutcome::Completed(completed));
    }

    /// Is it known what becomes of the job?
    pub(in crate::postgres) fn is_settled(&self, task: &Task<'_>) -> bool {
        self.shares[task.space].outcomes[task.at].is_some()
    }

    /// Has a job of the type been applied?
    pub(in crate::postgres) fn has_accepted(&self, kind: (usize, usize)) -> bool {
        self.accepted.contains(&kind)
    }

    /// The job's own failure: for good with its last attempt, which frees its rows.
    pub(in crate::postgres) fn fail(&mut self, task: &Task<'_>, error: JobError) {
        let error = error.cut();
        let job = &self.batch.spaces[task.space].jobs[task.at];
        let attempts = job.attempts.saturating_add(1);
        match attempts >= job.max_attempts {
            true => self.settle(task.space, task.at, JobOutcome::Failed { error, attempts }),
            false => self.leave(task, Left::Retry(error)),
        }
    }

    /// Leaves a job out that holds its place.
    pub(in crate::postgres) fn leave(&mut self, task: &Task<'_>, why: Left) {
        self.held.extend(&task.mixed);
        self.shares[task.space].has_left = true;
        if task.barrier {
            // Itself it keeps the outcome below.
            self.cut(task.space, task.at);
        }
        let barrier = task.barrier && self.batch.lane == Lane::Main;
        self.settle(task.space, task.at, JobOutcome::Left { keys: task.keys.clone(), barrier, why });
    }

    /// No more jobs of the type in this batch.
    pub(in crate::postgres) fn refuse(&mut self, kind: (usize, usize), error: JobError) {
        if self.paused.insert(kind) {
            self.refused.push((kind, error.cut()));
        }
    }

    fn cut(&mut self, space: usize, at: usize) {
        let cut = &mut self.shares[space].cut;
        *cut = Some(cut.map_or(at, |cut| cut.min(at)));
    }

    /// Every job has its outcome now.
    pub(in crate::postgres) fn finish(self) -> Applied {
        let Tally { batch, shares, refused, accepted, .. } = self;
        let spaces = shares.into_iter().zip(&batch.spaces).map(|(share, space)| {
            if let Some(text) = share.ledger {
                return SpaceApplied::Ledger(text);
            }
            let taken = match batch.lane {
                Lane::Main => share.cut.unwrap_or(space.jobs.len()),
                Lane::Side => 0,
            };
            let last = taken.checked_sub(1).and_then(|at| space.jobs.get(at)).map_or(JobId::ZERO, |job| job.id);
            let outcome = |(at, outcome): (usize, Option<JobOutcome>)| match outcome {
                Some(outcome) if at < taken || batch.lane == Lane::Side => outcome,
                Some(outcome @ JobOutcome::Left { barrier: true, .. }) if at == taken => outcome,
                _ => JobOutcome::NotTaken,
            };
            let jobs = share.outcomes.into_iter().enumerate().map(outcome).collect();
            let mut changed = share.changed;
            changed.sort_unstable();
            changed.dedup();
            SpaceApplied::Done { mark: share.mark.max(last), jobs, changed, present: Vec::new() }
        });
        let mut accepted: Vec<_> = accepted.into_iter().collect();
        accepted.sort_unstable();
        Applied { spaces: spaces.collect(), promised: None, refused, accepted }
    }
}
