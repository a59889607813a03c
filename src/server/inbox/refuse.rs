//! A row that can be no job, for its words: recorded as a failed job of its space, and failed in Postgres with the same reason. It
//! stops nobody.

use std::sync::Arc;

use crate::core::catalog::space::parse_space;
use crate::core::events::job::{By, Failure, JobEvent};
use crate::core::inbox::row::InboxRow;
use crate::core::inbox::tell::Telling;
use crate::core::jobs::inbox_id::MAX_INBOX_ID;
use crate::core::jobs::job_id::JobId;
use crate::keyspace::jobs::QueueKeys;
use crate::redis_api::Context;
use crate::server::queues::{wall_ms, JobKind, UnfitJob};
use crate::server::Server;
use crate::workers::InboxRequest;

pub(super) struct Refused<'a> {
    pub(super) row: &'a InboxRow,
    /// As BEAR.ENQUEUE would answer.
    pub(super) text: &'a str,
}

impl Server {
    pub(super) fn refuse_row(&mut self, ctx: Context, refused: Refused) {
        let Refused { row, text } = refused;
        let message = text.strip_prefix("ERR ").unwrap_or(text);
        let telling = Telling::failed(message, 0, wall_ms());
        self.inbox.totals.refused += 1;
        let catalog = self.catalog.clone();
        let Some(space) = parse_space(&catalog, row.space.as_bytes()).ok().filter(|_| row.id <= MAX_INBOX_ID) else {
            // There is no queue that could have it, or no id: it stands in Postgres alone.
            self.ask_inbox(InboxRequest::Tell(vec![(row.id, telling)]));
            return;
        };
        let section = &catalog.sections[space.section];
        let name: Arc<str> = (*row.space).into();
        let prefix = self.prefix_of(&name);
        let of = QueueKeys::new(&prefix);
        let is_claimed = match JobKind::of(section, row.job.as_bytes()) {
            Some(kind) => matches!(kind, JobKind::Claimed(_)),
            None => section.has_claimed_jobs() && section.jobs.iter().all(|job| job.claim().is_some()),
        };
        let newest = [self.queues.newest_of(&name), self.newest_claimed_job(ctx, space.section, &name)];
        let newest = newest.into_iter().flatten().max().unwrap_or(JobId::ZERO);
        let id = JobId::of_inbox(row.id, newest, wall_ms(), false);
        let is_large = row.data.len() > self.config.max_job_bytes as usize;
        let unfit = UnfitJob {
            id,
            job: row.job.as_bytes(),
            data: if is_large { b"null" } else { &row.data },
            message: message.into(),
            unique: row.unique.as_deref().map(str::as_bytes),
            attempts: row.attempts,
            backoff_ms: row.backoff_ms,
            priority: row.priority,
        };
        if is_claimed {
            self.record_unfit_work(ctx, &name, &prefix, &unfit);
        } else {
            self.record_unfit_job(ctx, &name, &prefix, &unfit);
        }
        self.keyspace.mark_queue(ctx, &of.jobs);
        self.inbox.settled(ctx, &of, &name, &[(id, telling)]);
        self.events.tell(ctx, &name, id, || {
            let failure = Failure { message, sqlstate: None };
            Some((&*row.job, JobEvent::Failed { by: By::Attempts(0), failure }))
        });
    }
}
