//! What can be no job is recorded as a claimed one that has failed: a row of the inbox that BEAR.ENQUEUE would refuse.

use std::sync::Arc;

use super::recorded::OwnedOptions;
use crate::core::catalog::claim::ClaimSpec;
use crate::core::claims::keep::Rule;
use crate::core::claims::outcome::{End, Settled};
use crate::core::claims::record::Total;
use crate::redis_api::Context;
use crate::server::queues::{wall_ms, UnfitJob};
use crate::server::Server;

impl Server {
    /// What can be no job is recorded as one that has failed.
    pub(in crate::server) fn record_unfit_work(
        &mut self,
        ctx: Context,
        name: &Arc<str>,
        prefix: &[u8],
        unfit: &UnfitJob,
    ) {
        let catalog = self.catalog.clone();
        let failed_max = self.config.failed_max_jobs as u64;
        let bytes_max = (self.config.completed_max_bytes as u64).max(1 << 20);
        let now_ms = self.claims.now_ms();
        let name = self.open_work(ctx, name, prefix);
        let Some(space) = self.claims.spaces.get_mut(&name).filter(|space| space.wrong_type.is_none()) else { return };
        let section = catalog.section(space.section.as_bytes()).map(|(_, section)| section);
        let spec =
            section.and_then(|section| section.claimed_job(unfit.job)).map_or(&ClaimSpec::DEFAULT, |of| of.claim);
        let priority = unfit.priority.unwrap_or(spec.priority);
        let mut record = Vec::with_capacity(256);
        let settled = Settled {
            job: unfit.job,
            data: unfit.data,
            attempts: 0,
            started_ms: None,
            finished_ms: wall_ms(),
            worker: b"",
            token: None,
            priority,
            result: None,
            progress: None,
            log: 0,
            error: Some((unfit.message.as_bytes(), None)),
            errors: &[],
            earlier: 0,
        };
        settled.write(End::Failed, &mut record);
        let options = OwnedOptions {
            priority,
            attempts: unfit.attempts,
            backoff_ms: unfit.backoff_ms,
            unique: unfit.unique.map(Into::into),
            traceparent: None,
        };
        let kind = String::from_utf8_lossy(unfit.job);
        space.write_failed(ctx, &kind, unfit.id, &record, &options);
        space.trim_records_now_and_then(ctx, true, &kind, Rule::failed(spec.keep_failed, failed_max, bytes_max));
        space.totals.add(Total::Failed, 1);
        self.claims.counts.count(&name, |counts| counts.failed += 1);
        space.totals_changed(ctx, now_ms);
        self.claims.note_times(&name, now_ms);
    }
}
