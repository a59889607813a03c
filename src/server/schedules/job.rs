//! A tick enqueues its job, as BEAR.ENQUEUE would.

use super::look::Refused;
use super::Id;
use crate::core::jobs::job_id::JobId;
use crate::core::jobs::payload;
use crate::core::schedules::definition::{unique_key, ScheduledJob};
use crate::redis_api::Context;
use crate::server::queues::{EnqueueOptions, JobKind};
use crate::server::Server;

/// The error of a job that holds the tick's UNIQUE key and is another.
const DUPLICATE: &str = "DUPLICATE";

impl Server {
    /// Enqueues the job of a tick.
    pub(super) fn enqueue_scheduled(
        &mut self,
        ctx: Context,
        id: &Id,
        scheduled: &ScheduledJob,
        tick_ms: u64,
    ) -> Result<JobId, Refused> {
        self.check_safe().map_err(Refused::Later)?;
        if !self.has_memory(ctx) {
            return Err(Refused::Later("OOM the server has used up its maxmemory".into()));
        }
        if self.workers.appliers().is_none() {
            // The job waits in any case.
            if let Err(error) = self.workers.begin(&self.config) {
                log::warn!("{error}");
            }
        }
        let catalog = self.catalog.clone();
        let index = self.section_of(&id.space).ok_or_else(|| Refused::Later("ERR no such section".into()))?;
        let section = &catalog.sections[index];
        let job = scheduled.name.as_bytes();
        let of = JobKind::of(section, job).ok_or_else(|| {
            Refused::Never(format!("ERR section '{}' has no job '{}' any more", section.name, scheduled.name))
        })?;
        let mut data = Vec::with_capacity(scheduled.data.len());
        payload::write(of.job(), scheduled.data.as_bytes(), &mut data)
            .map_err(|error| Refused::Never(format!("ERR {error}")))?;
        let unique = unique_key(&id.name, tick_ms);
        let options = EnqueueOptions {
            unique: Some(unique.as_bytes()),
            attempts: scheduled.attempts,
            backoff_ms: scheduled.backoff_ms,
            priority: scheduled.priority.filter(|_| matches!(of, JobKind::Claimed(_))),
            ..EnqueueOptions::default()
        };
        let enqueued = match of {
            JobKind::Sql(of) => self.add_job(ctx, id.space.as_bytes(), index, of, (&data, None), &options),
            JobKind::Claimed(of) => self.add_claimed_job(ctx, &id.space, section, (job, of), (&data, None), &options),
        };
        enqueued.map_err(|error| match error.starts_with(DUPLICATE) {
            // The tick has had its job, whose payload was another.
            true => Refused::Never(error),
            false => Refused::Later(error),
        })
    }
}
