//! What came of a batch of SQL jobs, as events. A batch may have thousands: its records are kept as they are, and become messages
//! when their turn comes.

use std::rc::Rc;
use std::sync::Arc;
use std::vec::IntoIter;

use crate::core::events::job::{By, Failure, JobEvent, OfJob};
use crate::core::jobs::batch::{Batch, JobError, SpaceBatch};
use crate::core::jobs::job_id::JobId;
use crate::core::jobs::record::Outcome;
use crate::redis_api::Context;
use crate::server::queues::wall_ms;
use crate::server::Server;

/// A job's record.
type Record = (JobId, Vec<u8>);

/// A job that is tried again.
pub struct Retried {
    pub id: JobId,
    pub attempts: u32,
    pub error: JobError,
    pub due_ms: Option<u64>,
}

/// The outcomes of one space, each list in the order of the batch.
pub struct Outcomes {
    batch: Rc<Batch>,
    /// The space's place in it, and the next of its jobs.
    at: usize,
    next: usize,
    at_ms: u64,
    completed: std::iter::Peekable<IntoIter<Record>>,
    failed: std::iter::Peekable<IntoIter<Record>>,
    retried: std::iter::Peekable<IntoIter<Retried>>,
}

impl Outcomes {
    fn of_space(&self) -> &SpaceBatch {
        &self.batch.spaces[self.at]
    }

    pub fn space(&self) -> &str {
        &self.of_space().space
    }

    pub fn len(&self) -> usize {
        self.completed.len() + self.failed.len() + self.retried.len()
    }

    /// The next message; None once there are no more.
    pub fn next_message(&mut self) -> Option<Vec<u8>> {
        let batch = self.batch.clone();
        let of_space = &batch.spaces[self.at];
        while let Some(job) = of_space.jobs.get(self.next) {
            self.next += 1;
            let mut out = Vec::new();
            let of = OfJob { space: &of_space.space, id: job.id, job: &String::from_utf8_lossy(&job.name) };
            if let Some((_, record)) = self.completed.next_if(|(id, _)| *id == job.id) {
                settled(of, &record, self.at_ms, &mut out);
            } else if let Some((_, record)) = self.failed.next_if(|(id, _)| *id == job.id) {
                settled(of, &record, self.at_ms, &mut out);
            } else if let Some(Retried { attempts, error, due_ms, .. }) =
                self.retried.next_if(|retried| retried.id == job.id)
            {
                let by = By::Attempts(attempts);
                JobEvent::Retried { by, failure: failure(&error), due_ms }.write(of, self.at_ms, &mut out);
            } else {
                continue;
            }
            return Some(out);
        }
        None
    }
}

fn failure(error: &JobError) -> Failure<'_> {
    Failure { message: &error.message, sqlstate: error.code.as_deref() }
}

fn settled(of: OfJob, record: &[u8], at_ms: u64, out: &mut Vec<u8>) {
    let read: Option<Outcome> = serde_json::from_slice(record).ok();
    let by = By::Attempts(read.as_ref().map_or(0, |read| read.attempts));
    let (rows, result) = read.as_ref().map_or((None, None), |read| (read.rows, read.result));
    let error: Option<JobError> = read.and_then(|read| read.error).map(Into::into);
    match &error {
        Some(error) => JobEvent::Failed { by, failure: failure(error) }.write(of, at_ms, out),
        None => {
            let result = result.map(|result| result.get().as_bytes());
            JobEvent::Completed { by, rows, result }.write(of, at_ms, out);
        }
    }
}

impl Server {
    /// What came of a space's jobs in a batch is published, in this callback or in those that follow.
    pub(in crate::server) fn tell_outcomes(
        &mut self,
        ctx: Context,
        batch: &Rc<Batch>,
        at: usize,
        (completed, failed): (Vec<Record>, Vec<Record>),
        retried: Vec<Retried>,
    ) {
        /// More are left to the ticks.
        const AT_ONCE: usize = 16;

        let (completed, failed, retried) = (completed.into_iter(), failed.into_iter(), retried.into_iter());
        let outcomes = Outcomes {
            batch: batch.clone(),
            at,
            next: 0,
            at_ms: wall_ms(),
            completed: completed.peekable(),
            failed: failed.peekable(),
            retried: retried.peekable(),
        };
        let count = outcomes.len();
        if count > 0 {
            self.events.sending.push_outcomes(outcomes);
            self.events.flush(ctx, count.min(AT_ONCE));
            self.arm_soon();
        }
    }

    /// Jobs of a space that are tried again; asked before their records are written.
    pub(in crate::server) fn retried_of(&self, space: &Arc<str>, ids: impl Iterator<Item = JobId>) -> Vec<Retried> {
        ids.filter_map(|id| {
            let (attempts, error, due_ms) = self.queues.retry_of(space, id)?;
            Some(Retried { id, attempts, error, due_ms })
        })
        .collect()
    }
}
