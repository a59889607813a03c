//! What can be no job is recorded as one that has failed: a row of the inbox that BEAR.ENQUEUE would refuse.

use std::sync::Arc;

use super::space::Extras;
use super::wall_ms;
use crate::core::jobs::batch::{JobError, QueuedJob};
use crate::core::jobs::job_id::JobId;
use crate::core::jobs::record::{self, JobOptions, DEFAULT_OPTIONS};
use crate::core::values::priority::Priority;
use crate::keyspace::jobs::QueueKeys;
use crate::redis_api::Context;
use crate::server::Server;

/// As it was given.
pub struct UnfitJob<'a> {
    pub id: JobId,
    pub job: &'a [u8],
    pub data: &'a [u8],
    pub message: Box<str>,
    pub unique: Option<&'a [u8]>,
    pub attempts: Option<u32>,
    pub backoff_ms: Option<u64>,
    pub priority: Option<Priority>,
}

impl Server {
    /// Among the SQL jobs of a space. It holds no UNIQUE key.
    pub(in crate::server) fn record_unfit_job(
        &mut self,
        ctx: Context,
        name: &Arc<str>,
        prefix: &[u8],
        unfit: &UnfitJob,
    ) {
        let attempts = unfit.attempts.unwrap_or(DEFAULT_OPTIONS.attempts);
        let job = QueuedJob {
            id: unfit.id,
            name: unfit.job.into(),
            data: unfit.data.into(),
            attempts: 0,
            max_attempts: attempts,
            undue: false,
            ends: None,
        };
        let error = JobError { code: None, message: unfit.message.clone() };
        let record = record::failed(&job, &error, 0, wall_ms());
        let backoff_ms = unfit.backoff_ms.unwrap_or(DEFAULT_OPTIONS.backoff_ms);
        let extras = Extras::of(&JobOptions { unique: unfit.unique, attempts, backoff_ms, ..DEFAULT_OPTIONS });
        // It is read from its keys where it is not in memory.
        self.queues.space(ctx, name, prefix);
        self.record_failed(ctx, name, &QueueKeys::new(prefix), unfit.id, &record, extras.as_ref());
        self.queues.wake(name);
    }
}
