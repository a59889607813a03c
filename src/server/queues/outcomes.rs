//! What becomes of the jobs of a batch: which have settled, and when those that were left out are tried again. Changes
//! what is remembered of attempts, and nothing durable.

use super::space::{Retry, SpaceQueue};
use super::wall_ms;
use crate::core::jobs::batch::{Batch, JobOutcome, Lane, Left, QueuedJob, SpaceBatch};
use crate::core::jobs::job_id::JobId;
use crate::core::jobs::queue::{Held, LeftOut};
use crate::core::jobs::record;
use crate::core::jobs::retry::{attempt_delay_ms, DEFAULT_BACKOFF_MS};
use crate::redis_api::Context;
use crate::server::Server;

/// A job that was set aside (its row is locked) is tried again after this, twice as long each time, in milliseconds.
const ISOLATED_MS: u64 = 50;
const MAX_ISOLATED_MS: u64 = 2_000;

/// What becomes of the jobs of one space.
#[derive(Default)]
pub struct SortedOutcomes {
    pub settled: Vec<JobId>,
    pub completed: Vec<(JobId, Vec<u8>)>,
    pub failed: Vec<(JobId, Vec<u8>)>,
    pub left: Vec<(JobId, LeftOut)>,
    /// New due times of jobs that are tried again, in Unix time, and records of their attempts.
    pub delayed: Vec<(JobId, u64)>,
    pub attempts: Vec<(JobId, Vec<u8>)>,
    /// The main lane goes no further for now.
    pub held: Option<Held>,
    /// An outcome of which nothing else is known: any row may have changed.
    pub unknown_changes: bool,
}

impl Server {
    /// What becomes of each job; its record is there where the applier has made it. Changes the memory of attempts, and
    /// nothing durable. Of a batch that was sent for an earlier life of the queue only who has settled counts.
    pub(super) fn sort_outcomes(
        &mut self,
        ctx: Context,
        batch: &Batch,
        of_space: &SpaceBatch,
        mark: JobId,
        (outcomes, records): (&[JobOutcome], Vec<Option<Vec<u8>>>),
        is_current: bool,
    ) -> SortedOutcomes {
        let mut sorted = SortedOutcomes::default();
        let (now_ms, unix_ms) = (self.queues.now_ms(), wall_ms());
        let section = &batch.sections[of_space.section].name;
        for ((job, outcome), record) in of_space.jobs.iter().zip(outcomes).zip(records) {
            match outcome {
                JobOutcome::Completed(completed) => {
                    sorted.unknown_changes |= completed.earlier;
                    sorted.settled.push(job.id);
                    sorted.completed.push((job.id, record.unwrap_or_default()));
                }
                JobOutcome::Failed { error, attempts } => {
                    sorted.settled.push(job.id);
                    sorted
                        .failed
                        .push((job.id, record.unwrap_or_else(|| record::failed(job, error, *attempts, unix_ms))));
                }
                JobOutcome::Left { keys, barrier, why } => {
                    if !is_current {
                        continue;
                    }
                    let kind = self.queues.kind_of(section, &job.name);
                    let refused_until = self.queues.refusals.until_ms(kind).filter(|_| *why == Left::TypePaused);
                    let Some(space) = self.queues.spaces.get_mut(&of_space.space) else { continue };
                    let next = next_try(ctx, space, job, why, now_ms, unix_ms);
                    sorted.delayed.extend(next.unix_due_ms.map(|due| (job.id, due)));
                    sorted.attempts.extend(next.record.map(|record| (job.id, record)));
                    if job.id > mark && batch.lane == Lane::Main {
                        // A barrier at the head of the main lane.
                        sorted.held = Some(Held::Until(next.due_ms.or(refused_until).unwrap_or(now_ms)));
                        continue;
                    }
                    let left =
                        LeftOut { keys: keys.clone(), barrier: *barrier, holds: next.holds, due_ms: next.due_ms, kind };
                    sorted.left.push((job.id, left));
                }
                JobOutcome::NotTaken => {
                    sorted.held.get_or_insert(Held::UntilQuiet);
                }
            }
        }
        sorted
    }
}

/// When a job that was left out is tried again.
struct NextTry {
    holds: bool,
    /// Monotonic; None: as soon as those before it have settled.
    due_ms: Option<u64>,
    /// To be written: the time, and the record of the attempts.
    unix_due_ms: Option<u64>,
    record: Option<Vec<u8>>,
}

fn next_try(ctx: Context, space: &mut SpaceQueue, job: &QueuedJob, why: &Left, now_ms: u64, unix_ms: u64) -> NextTry {
    let mut next = NextTry { holds: true, due_ms: None, unix_due_ms: None, record: None };
    let extras = space.extras.get(&job.id);
    match why {
        Left::Undue => {
            next.holds = false;
            let due = extras.and_then(|extras| extras.due_ms).unwrap_or(unix_ms);
            next.due_ms = Some(now_ms + due.saturating_sub(unix_ms));
        }
        // It sleeps while its type is paused.
        Left::Behind | Left::TypePaused => {}
        Left::Retry(error) => {
            let backoff_ms = extras.map_or(DEFAULT_BACKOFF_MS, |extras| extras.backoff_ms);
            let attempts = job.attempts + 1;
            let delay_ms = attempt_delay_ms(backoff_ms, attempts);
            next.due_ms = Some(now_ms + delay_ms);
            next.unix_due_ms = Some(unix_ms + delay_ms);
            next.record = Some(record::attempt(attempts, error));
            // Who has been seen to end connections is tried alone from then on.
            let ends = job.ends;
            let retry = Retry { attempts, isolated: 0, ends, error: Some(error.clone()), due_ms: next.unix_due_ms };
            space.retries.insert(job.id, retry);
        }
        Left::Isolated(error) | Left::Suspected { error, .. } => {
            let retry = space.retries.entry(job.id).or_default();
            if let Left::Suspected { ends, .. } = why {
                retry.ends = Some(*ends);
            }
            retry.isolated += 1;
            retry.error = Some(error.clone());
            next.due_ms = Some(now_ms + (ISOLATED_MS << retry.isolated.min(16)).min(MAX_ISOLATED_MS));
        }
        Left::Earlier => {
            let due = extras.and_then(|extras| extras.due_ms);
            let found = space.recall(ctx, job.id);
            let tried = space.retries.contains_key(&job.id);
            let due = if tried { found } else { due.or(found) };
            next.holds = tried || due.is_none_or(|due| due <= unix_ms);
            next.due_ms = due.map(|due| now_ms + due.saturating_sub(unix_ms));
        }
    }
    next
}
