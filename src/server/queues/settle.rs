//! Outcomes of batches are published, a space at a time: its jobs leave the stream, their outcomes are recorded, what
//! the changed rows were cached in is dropped, in one unit to clients, AOF and replicas; then who waits is answered.
//!
//! A space's unit is made in one callback of a timer, which is what Redis replicates as one MULTI/EXEC. It is not made
//! while the server allows no writes, and not by a replica.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use smallvec::SmallVec;

use super::outcomes::SortedOutcomes;
use super::settling::{Settling, SpaceOutcome};
use super::space::{Ledger, SpaceQueue};
use super::unit::{leave_stream, record_outcomes};
use super::wall_ms;
use crate::core::jobs::batch::{Batch, Changed, JobOutcome, Lane, SpaceApplied, SpaceBatch};
use crate::core::jobs::job_id::JobId;
use crate::core::jobs::queue::{Held, SideResult};
use crate::failpoints;
use crate::keyspace::{jobs, slots};
use crate::redis_api::{Answer, Context};
use crate::server::Server;
use crate::workers::AppliedOutcome;

/// An outcome of which nothing else is known: any row may have changed.
const UNKNOWN: Changed = Changed { section: usize::MAX, id: None };

impl Server {
    /// Takes what an applier brings back.
    pub(super) fn take_applied(&mut self, outcome: AppliedOutcome) {
        match outcome {
            AppliedOutcome::Applied { batch, applied, records, took_us } => {
                let lives = self.queues.in_flight.remove(&batch.ticket).unwrap_or_default();
                let totals = &mut self.queues.totals;
                totals.batch_us_max = totals.batch_us_max.max(took_us);
                totals.batch.record_us(took_us);
                let begun_ms = wall_ms().saturating_sub(took_us / 1_000);
                self.note_types(&batch, &applied.refused, &applied.accepted);
                let spaces = applied.spaces.into_iter().zip(records).enumerate().map(|(at, (applied, records))| {
                    let life = lives.get(at).map(|(_, life)| *life);
                    SpaceOutcome { at, life, applied, records }
                });
                let spaces = spaces.collect();
                let promised = applied.promised;
                self.queues.settling.push_back(Settling { batch: Rc::from(batch), spaces, begun_ms, promised });
            }
            AppliedOutcome::PutBack { batch } => self.put_back(&batch),
            AppliedOutcome::Up => {
                self.queues.appliers_up = Some(true);
                self.queues.appliers_error = None;
            }
            AppliedOutcome::Down { error } => {
                if self.queues.appliers_up != Some(false) {
                    log::warn!("jobs cannot be applied: {error}");
                }
                self.queues.appliers_up = Some(false);
                self.queues.appliers_error = Some(error);
            }
        }
    }

    /// Publishes outcomes until the deadline, at least one space's. True: some are left.
    pub(super) fn publish_outcomes(&mut self, ctx: Context, deadline: Instant) -> bool {
        while let Some(mut settling) = self.queues.settling.pop_front() {
            if self.events.is_behind() {
                // What came of others is to be told first.
                self.queues.settling.push_front(settling);
                return true;
            }
            while let Some(outcome) = settling.spaces.pop_front() {
                self.publish_space(ctx, &settling.batch, outcome, settling.begun_ms);
                if let Some(promised) = settling.promised.take_if(|_| settling.spaces.is_empty()) {
                    promised.keep();
                }
                if Instant::now() >= deadline {
                    if !settling.spaces.is_empty() {
                        self.queues.settling.push_front(settling);
                    }
                    return !self.queues.settling.is_empty();
                }
            }
        }
        false
    }

    fn publish_space(&mut self, ctx: Context, batch: &Rc<Batch>, outcome: SpaceOutcome, begun_ms: u64) {
        let of_space = &batch.spaces[outcome.at];
        let name = of_space.space.clone();
        let is_current = self.queues.is_alive(&name, outcome.life);
        let rests = |space: &SpaceQueue| space.wrong_type.is_some() || !slots::is_here(&space.prefix);
        if is_current && self.queues.spaces.get(&name).is_some_and(|space| rests(space)) {
            return self.park(ctx, batch, outcome, begun_ms);
        }
        let (mark, outcomes, mut changed, present) = match outcome.applied {
            SpaceApplied::Done { mark, jobs, changed, present } => (mark, jobs, changed, present),
            SpaceApplied::Ledger(text) => return self.ledger_trouble(batch, of_space, text, is_current),
        };
        failpoints::hit("before-publish");
        let mut sorted = self.sort_outcomes(ctx, batch, of_space, mark, (&outcomes, outcome.records), is_current);
        if sorted.unknown_changes {
            changed.push(UNKNOWN);
        }
        let retried = match self.events.tells_of(&name) {
            true => self.retried_of(&name, sorted.attempts.iter().map(|(id, _)| *id)),
            false => Vec::new(),
        };
        if is_current {
            self.count_outcomes(&name, &sorted, begun_ms);
            self.write_outcome(ctx, batch.lane, of_space, mark, &mut sorted);
        }
        self.drop_changed(ctx, batch, of_space, &changed, present, &sorted.settled);
        failpoints::hit("after-publish");
        self.answer_settled(of_space, &sorted);
        if self.events.tells_of(&name) {
            self.tell_outcomes(ctx, batch, outcome.at, (sorted.completed, sorted.failed), retried);
        }
        self.queues.wake(&name);
    }

    /// Before anything of the jobs is forgotten.
    fn count_outcomes(&mut self, name: &Arc<str>, sorted: &SortedOutcomes, begun_ms: u64) {
        let Some(space) = self.queues.spaces.get(name) else { return };
        // What was tried before has waited for its next attempt, too.
        let settled = sorted.completed.iter().chain(&sorted.failed).map(|(id, _)| *id);
        let first = settled.filter(|id| !space.retries.contains_key(id));
        let waited: SmallVec<[u64; 32]> =
            first.map(|id| begun_ms.saturating_sub(space.due_or_enqueued_ms(id))).collect();
        self.queues.counts.count(name, |counts| {
            counts.completed += sorted.completed.len() as u64;
            counts.failed += sorted.failed.len() as u64;
            counts.retried += sorted.attempts.len() as u64;
            waited.iter().for_each(|ms| counts.wait.record_ms(*ms));
        });
    }

    /// Keeps an outcome that cannot be recorded for now. What it changed is cached no more all the same.
    fn park(&mut self, ctx: Context, batch: &Rc<Batch>, outcome: SpaceOutcome, begun_ms: u64) {
        let of_space = &batch.spaces[outcome.at];
        if let SpaceApplied::Done { jobs, changed, present, .. } = &outcome.applied {
            let is_earlier = |job: &JobOutcome| matches!(job, JobOutcome::Completed(completed) if completed.earlier);
            let unknown = jobs.iter().any(is_earlier).then_some(UNKNOWN);
            let changed: Vec<Changed> = changed.iter().cloned().chain(unknown).collect();
            let settled: Vec<JobId> = of_space.jobs.iter().map(|job| job.id).collect();
            self.drop_changed(ctx, batch, of_space, &changed, present.clone(), &settled);
        }
        if let Some(space) = self.queues.spaces.get_mut(&of_space.space) {
            space.parked.push(Settling { batch: batch.clone(), spaces: [outcome].into(), begun_ms, promised: None });
        }
    }

    fn ledger_trouble(&mut self, batch: &Batch, of_space: &SpaceBatch, text: String, is_current: bool) {
        let Some(space) = self.queues.spaces.get_mut(&of_space.space).filter(|_| is_current) else { return };
        log::warn!("queue '{}' is paused: {text}", of_space.space);
        space.ledger = Ledger::Trouble(format!("LEDGER {text}"));
        self.queues.space_put_back(batch.lane, of_space);
    }

    /// The unit, but for the caches.
    fn write_outcome(
        &mut self,
        ctx: Context,
        lane: Lane,
        of_space: &SpaceBatch,
        mark: JobId,
        sorted: &mut SortedOutcomes,
    ) {
        let now_ms = self.queues.now_ms();
        let (failed_max, completed_max) = (self.config.failed_max_jobs as u64, self.config.completed_max_bytes as u64);
        let unique_ms = self.config.unique_ms as u64;
        let Some(space) = self.queues.spaces.get_mut(&of_space.space) else { return };
        space.ledger = Ledger::Ok;
        space.adopt.retain(|epoch| *epoch != of_space.epoch);
        match lane {
            Lane::Main => {
                space.active = space.active.saturating_sub(of_space.due());
                space.queue.main_done(mark, std::mem::take(&mut sorted.left), sorted.held.take().unwrap_or(Held::No));
                let known = space.known.entry(of_space.epoch).or_insert(mark);
                *known = mark.max(*known);
            }
            Lane::Side => {
                let left: rustc_hash::FxHashMap<JobId, Option<u64>> =
                    sorted.left.drain(..).map(|(id, left)| (id, left.due_ms)).collect();
                let results: Vec<(JobId, SideResult)> = of_space
                    .jobs
                    .iter()
                    .map(|job| match left.get(&job.id) {
                        Some(due_ms) => (job.id, SideResult::Left { due_ms: *due_ms }),
                        None => (job.id, SideResult::Settled),
                    })
                    .collect();
                space.queue.side_done(&results);
            }
        }
        record_outcomes(ctx, space, sorted, failed_max, completed_max, now_ms);
        leave_stream(ctx, space, of_space, sorted, unique_ms);
        space.timed += sorted.delayed.len() as u64;
        let delayed: Vec<_> =
            sorted.delayed.iter().map(|(id, due)| (due.to_string().into(), id.to_string().into())).collect();
        jobs::write_pairs(ctx, c"ZADD", &space.keys.delayed, &delayed);
        let attempts: Vec<_> = sorted.attempts.drain(..).map(|(id, record)| (id.to_string().into(), record)).collect();
        jobs::write_pairs(ctx, c"HSET", &space.keys.attempts, &attempts);
        space.completed += sorted.completed.len() as u64;
        space.failed += sorted.failed.len() as u64;
        space.rate.add(now_ms, sorted.settled.len() as u64);
        let fields = space.ledger_fields(of_space.epoch);
        jobs::write_pairs(ctx, c"HSET", &space.keys.ledger, &fields);
        let dead: Vec<String> = space.take_dead_epochs().iter().map(i64::to_string).collect();
        if !dead.is_empty() {
            let dead: Vec<&[u8]> = dead.iter().map(String::as_bytes).collect();
            jobs::remove_from(ctx, c"HDEL", &space.keys.ledger, &dead);
        }
    }

    /// Answers who waits for one of these jobs.
    fn answer_settled(&mut self, of_space: &SpaceBatch, sorted: &SortedOutcomes) {
        if self.queues.waiters.is_empty() {
            return;
        }
        let records = sorted.completed.iter().map(|record| (record, "completed"));
        let records = records.chain(sorted.failed.iter().map(|record| (record, "failed")));
        for ((id, record), state) in records {
            if !self.queues.waiters.waits_for(&of_space.space, *id) {
                continue;
            }
            let report = super::job_reply::of_record(*id, state, record);
            let answer = Answer::Value(Arc::new(report));
            for client in self.queues.waiters.take(&of_space.space, *id) {
                self.answers.push_back((client, answer.clone()));
            }
        }
    }
}
