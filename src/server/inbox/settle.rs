//! Rows that are settled though their jobs stand: `bear.complete` has committed, or another life of Redis had told of an outcome that
//! this one does not remember. Their jobs have settled, too.

use std::sync::Arc;
use std::time::Instant;

use super::outcomes::Step;
use crate::core::claims::attempts::AttemptError;
use crate::core::claims::record::{WorkOptions, WorkRecord};
use crate::core::inbox::tell::Telling;
use crate::core::jobs::job_id::JobId;
use crate::keyspace::jobs::QueueKeys;
use crate::keyspace::{claims, inbox as keys};
use crate::postgres::Settled;
use crate::redis_api::Context;
use crate::server::claims::{Ending, Settling};
use crate::server::queues::{fingerprint, wall_ms, EnqueueOptions};
use crate::server::Server;
use crate::workers::InboxRequest;

/// Bytes of a result that are kept, as of BEAR.ACK.
const MAX_RESULT: usize = 64 << 10;

impl Server {
    pub(super) fn row_is_settled(&mut self, ctx: Context, row: u64, settled: &Settled, until: Instant) -> Step {
        let name: Arc<str> = match settled {
            Settled::Done { space, .. } | Settled::Failed { space, .. } => (**space).into(),
            Settled::Gone => match self.inbox.verifying.asked(row) {
                Some(name) => name.clone(),
                None => return Step::Done,
            },
        };
        let of = QueueKeys::new(&self.prefix_of(&name));
        self.look_at_foreign_writes_to(ctx, &name, &self.prefix_of(&name));
        if keys::telling(ctx, &of, row).is_some() {
            // What comes of that decides.
            return Step::Done;
        }
        let taken = keys::taken(ctx, &of, row);
        match (taken, settled) {
            (Some((id, _)), Settled::Done { result, .. }) => {
                self.settle_job_of(ctx, &name, id, completed(result.as_deref()), until)
            }
            (Some((id, _)), Settled::Gone) => self.settle_job_of(ctx, &name, id, completed(None), until),
            (Some((id, _)), Settled::Failed { error, .. }) => {
                let error = AttemptError { message: message_of(error), at_ms: wall_ms(), ..AttemptError::default() };
                self.settle_job_of(ctx, &name, id, Ending::Failed { error }, until)
            }
            (None, Settled::Done { .. }) => {
                // Redis has forgotten the job, or never knew it. That it is done stands in Postgres, from where it goes.
                self.ask_inbox(InboxRequest::Tell(vec![(row, Telling::Done)]));
                Step::Done
            }
            (None, Settled::Gone | Settled::Failed { .. }) => Step::Done,
        }
    }

    /// The job has settled elsewhere. That of an SQL job is found by the transaction that would apply it.
    pub(super) fn settle_job_of(
        &mut self,
        ctx: Context,
        name: &Arc<str>,
        id: JobId,
        ending: Ending,
        until: Instant,
    ) -> Step {
        let prefix = self.prefix_of(name);
        if self.touch_work(ctx, name, &prefix).is_none() {
            return Step::Done;
        }
        if !self.knows_jobs(ctx, name, until) {
            return Step::NotYet(true);
        }
        let stands = |space: &crate::server::claims::WorkSpace| {
            space.wrong_type.is_none() && claims::entry(ctx, &space.keys.work, id, |_| ()).is_some()
        };
        if self.claims.space_of(name).is_some_and(|(_, space)| stands(space)) {
            self.inbox.totals.completed_there += 1;
            self.conclude(ctx, name, vec![Settling { id, ending }]);
            self.claims_changed(name);
        }
        Step::Done
    }
}

impl Server {
    /// A job that BEAR.RETRY has made of a row that is no more: one of no row takes its place.
    pub(super) fn let_go_of_row(&mut self, ctx: Context, name: &Arc<str>, id: JobId, until: Instant) -> Step {
        let prefix = self.prefix_of(name);
        if self.touch_work(ctx, name, &prefix).is_none() {
            return Step::Done;
        }
        if !self.knows_jobs(ctx, name, until) {
            return Step::NotYet(true);
        }
        let catalog = self.catalog.clone();
        let Some((_, space)) = self.claims.space_of(name) else { return Step::Done };
        let updated = claims::get(ctx, &space.keys.data, id, |data| data.to_vec());
        let read = claims::entry(ctx, &space.keys.work, id, |fields| {
            let record = WorkRecord::read(fields).ok()?;
            let data = updated.unwrap_or_else(|| record.data.to_vec());
            let unique = record.options.unique.map(<[u8]>::to_vec);
            Some((
                record.name.to_vec(),
                data,
                unique,
                WorkOptions { unique: None, traceparent: None, ..record.options },
            ))
        });
        let section = catalog.section(space.section.as_bytes()).map(|(_, section)| section);
        let (Some((job, data, unique, options)), Some(section)) = (read.flatten(), section) else { return Step::Done };
        let Some(of) = section.claimed_job(&job) else { return Step::Done };
        self.take_out_work(ctx, name, &[id]);
        let fingerprint = unique.as_ref().map(|_| fingerprint(of.job, &job, &data));
        let options = EnqueueOptions {
            unique: unique.as_deref(),
            attempts: options.attempts,
            backoff_ms: options.backoff_ms,
            priority: Some(options.priority),
            ..EnqueueOptions::default()
        };
        if let Err(text) = self.write_claimed_job(ctx, name, section, (&job, of), (&data, fingerprint), &options) {
            log::warn!("job {id} of '{name}', which was to be tried again, is lost: {text}");
        }
        Step::Done
    }
}

pub(super) fn completed(result: Option<&str>) -> Ending {
    let result = result.filter(|json| json.len() <= MAX_RESULT);
    Ending::Completed { result: result.map(|json| json.as_bytes().to_vec()) }
}

/// Of what the row keeps of its failure.
fn message_of(error: &str) -> Box<str> {
    let read: Option<serde_json::Value> = serde_json::from_str(error).ok();
    let message = read.as_ref().and_then(|of| of.get("message")).and_then(|message| message.as_str());
    message.unwrap_or("it has failed before").into()
}
