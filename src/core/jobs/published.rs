//! Up to where the failures of each queue have been published, so that the ledger may forget those that nobody can ask for.
//!
//! Invariant: what may be forgotten had been published when the cleaning before this one took place. A failure that
//! was published a moment ago may be undone by a crash, and its job is queued again then.

use rustc_hash::FxHashMap;

use super::batch::{Batch, JobOutcome, SpaceApplied};
use super::job_id::JobId;

/// Queue and epoch, and a job: those before it may be forgotten, once they are old enough.
pub type Bound = (i64, i64, JobId);

/// Only queues of which a job has failed in this process are in it.
#[derive(Default)]
pub struct Published(FxHashMap<(i64, i64), Known>);

struct Known {
    now: JobId,
    at_last_cleaning: JobId,
}

impl Published {
    /// Takes note of a batch that has been applied.
    pub fn note(&mut self, batch: &Batch, applied: &[SpaceApplied]) {
        for (space, applied) in batch.spaces.iter().zip(applied) {
            let key = (space.queue, space.epoch);
            // The latest word counts, also where it is less: the queue was restored, and has the jobs again.
            if let Some(known) = self.0.get_mut(&key) {
                known.now = space.published;
            } else if has_failed(applied) {
                self.0.insert(key, Known { now: space.published, at_last_cleaning: JobId::ZERO });
            }
        }
    }

    /// What a cleaning may rely on that begins now.
    pub fn clean(&mut self) -> Vec<Bound> {
        let bounds = self.0.iter_mut().map(|((queue, epoch), known)| {
            let bound = known.at_last_cleaning.min(known.now);
            known.at_last_cleaning = known.now;
            (*queue, *epoch, bound)
        });
        bounds.collect()
    }
}

fn has_failed(applied: &SpaceApplied) -> bool {
    match applied {
        SpaceApplied::Done { jobs, .. } => jobs.iter().any(|job| matches!(job, JobOutcome::Failed { .. })),
        SpaceApplied::Ledger(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::jobs::batch::{JobError, Lane, Limits, SpaceBatch};

    fn id(seq: u64) -> JobId {
        JobId { ms: 1, seq }
    }

    fn batch(published: u64) -> Batch {
        let space = SpaceBatch {
            space: "bear".into(),
            section: 0,
            tenant: None,
            queue: 7,
            epoch: 1,
            own_epoch: true,
            known: None,
            adopt: false,
            blocked: Default::default(),
            any_blocked: false,
            jobs: vec![],
            published: id(published),
            forget: vec![],
        };
        Batch {
            ticket: 1,
            token: 1,
            lane: Lane::Main,
            sections: [].into(),
            in_cluster: false,
            spaces: vec![space],
            paused: vec![],
            traceparent: None,
            limits: Limits { lock_timeout_ms: 1, statement_timeout_ms: 1, max_result_bytes: 1, keep_days: 1 },
        }
    }

    fn done(jobs: Vec<JobOutcome>) -> [SpaceApplied; 1] {
        [SpaceApplied::Done { mark: id(1), jobs, changed: vec![], present: vec![] }]
    }

    #[test]
    fn what_may_be_forgotten_was_published_a_cleaning_ago() {
        let failed = || {
            let error = JobError { code: None, message: "no".into() };
            done(vec![JobOutcome::Failed { error, attempts: 1 }])
        };
        let mut published = Published::default();
        published.note(&batch(3), &done(vec![]));
        assert_eq!(published.clean(), []);
        published.note(&batch(5), &failed());
        assert_eq!(published.clean(), [(7, 1, JobId::ZERO)]);
        published.note(&batch(9), &done(vec![]));
        assert_eq!(published.clean(), [(7, 1, id(5))]);
        // The queue was restored.
        published.note(&batch(2), &done(vec![]));
        assert_eq!(published.clean(), [(7, 1, id(2))]);
        published.note(&batch(12), &done(vec![]));
        assert_eq!(published.clean(), [(7, 1, id(2))]);
        assert_eq!(published.clean(), [(7, 1, id(12))]);
    }
}
