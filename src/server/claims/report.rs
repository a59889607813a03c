//! A claimed job as replies show it: of the keys alone, so that replicas say the same, but for when its lease ends, which only
//! its master knows.

use std::sync::Arc;

use crate::core::catalog::claim::{Backoff, ClaimSpec};
use crate::core::claims::attempts::{AttemptError, Attempts, MAX_ERRORS};
use crate::core::claims::claim_record::ClaimRecord;
use crate::core::claims::log_line::LogLine;
use crate::core::claims::outcome::Outcome;
use crate::core::claims::record::{WorkOptions, WorkRecord};
use crate::core::jobs::batch::JobError;
use crate::core::jobs::job_id::JobId;
use crate::keyspace::claims::{self as keys, WorkKeys};
use crate::redis_api::{Context, Fields, Value};
use crate::server::queues::{wall_ms, Claimed, ListedState, Report};
use crate::server::Server;

/// How a job is tried again: as it was enqueued, or as its definition says.
pub type Tries<'a> = (WorkOptions<'a>, Option<&'a ClaimSpec>);

fn max_attempts((options, spec): &Tries) -> Option<u32> {
    options.attempts.or_else(|| spec.map(|spec| spec.attempts))
}

fn backoff((options, spec): &Tries) -> Value {
    let number = |ms: u64| Value::Integer(ms as i64);
    match (options.backoff_ms, spec.map(|spec| &spec.backoff)) {
        (Some(ms), _) => number(ms),
        (None, Some(Backoff::Exponential { base_ms })) => number(*base_ms),
        (None, Some(Backoff::Steps(steps))) => Value::Array(steps.iter().copied().map(number).collect()),
        (None, None) => Value::Null,
    }
}

/// The map of a job that has settled; how it is tried again is known of failed ones.
pub fn of_record(id: JobId, state: &'static str, record: &[u8], tries: Option<Tries>) -> Value {
    let unreadable = Report::new(id, state);
    let Some(read) = Outcome::read(record) else { return unreadable.value() };
    let mut errors = read.errors;
    let error = read.error.map(|error| AttemptError {
        attempt: read.attempts,
        message: error.message,
        stack: error.stack,
        worker: read.worker.clone(),
        at_ms: read.finished_ms,
    });
    errors.extend(error.clone());
    let surplus = errors.len().saturating_sub(MAX_ERRORS);
    Report {
        job: read.job.as_bytes(),
        data: read.data.map(|data| data.get().as_bytes()),
        attempts: read.attempts,
        finished_ms: Some(read.finished_ms),
        error: error.as_ref().map(|error| JobError { code: None, message: error.message.clone() }),
        result: read.result.map(|result| result.get()),
        max_attempts: tries.as_ref().and_then(max_attempts),
        backoff: tries.as_ref().map_or(Value::Null, backoff),
        unique: tries.as_ref().and_then(|(options, _)| options.unique),
        traceparent: tries.as_ref().and_then(|(options, _)| options.traceparent),
        claimed: Claimed {
            worker: read.worker.as_deref(),
            token: read.token,
            started_ms: read.started_ms,
            lease_ends_ms: None,
            progress: read.progress.map(|progress| progress.get().as_bytes()),
            priority: Some(read.priority),
            stack: error.as_ref().and_then(|error| error.stack.as_deref()),
            log: Some(read.log),
            errors: Some(&errors[surplus..]),
            cancelled: None,
        },
        ..unreadable
    }
    .value()
}

/// The state of a job that stands in the stream, by its keys.
pub fn state(ctx: Context, keys: &WorkKeys, id: JobId) -> ListedState {
    if keys::get(ctx, &keys.claims, id, |_| ()).is_some() {
        ListedState::Active
    } else if keys::due_ms(ctx, &keys.delayed, id).is_some() {
        ListedState::Delayed
    } else {
        ListedState::Waiting
    }
}

impl Server {
    /// The map of a job that stands in the stream, as its entry there.
    pub(in crate::server) fn work_report(
        &self,
        ctx: Context,
        name: &Arc<str>,
        keys: &WorkKeys,
        id: JobId,
        fields: &Fields,
    ) -> Value {
        let state = state(ctx, keys, id);
        let Ok(record) = WorkRecord::read(fields) else { return Report::new(id, state.name()).value() };
        let text = |key: &[u8]| keys::get(ctx, key, id, |bytes| Box::<[u8]>::from(bytes));
        let (updated, progress, claim) = (text(&keys.data), text(&keys.progress), text(&keys.claims));
        let claim = claim.as_deref().and_then(ClaimRecord::read);
        let attempts = keys::get(ctx, &keys.attempts, id, Attempts::read).flatten().unwrap_or_default();
        let section = self.section_of(name).and_then(|section| self.catalog.sections.get(section));
        let spec = section.and_then(|section| section.claimed_job(record.name)).map(|of| of.claim);
        let tries = (record.options, spec);
        let error = attempts.last();
        Report {
            job: record.name,
            data: Some(updated.as_deref().unwrap_or(record.data)),
            attempts: attempts.attempts,
            due_ms: keys::due_ms(ctx, &keys.delayed, id).or(record.options.due_ms),
            error: error.map(|error| JobError { code: None, message: error.message.clone() }),
            max_attempts: max_attempts(&tries),
            backoff: backoff(&tries),
            unique: record.options.unique,
            traceparent: record.options.traceparent,
            claimed: Claimed {
                worker: claim.as_ref().map(|claim| &*claim.worker),
                token: claim.as_ref().map(|claim| claim.token),
                started_ms: claim.as_ref().map(|claim| claim.started_ms),
                lease_ends_ms: self.lease_ends_ms(name, id),
                progress: progress.as_deref(),
                priority: Some(record.options.priority),
                stack: error.and_then(|error| error.stack.as_deref()),
                log: Some(log_len(ctx, keys, id)),
                errors: Some(&attempts.errors),
                cancelled: claim.as_ref().and_then(|claim| claim.cancelled.as_deref()),
            },
            ..Report::new(id, state.name())
        }
        .value()
    }

    /// Unix time; only the master knows it.
    fn lease_ends_ms(&self, name: &Arc<str>, id: JobId) -> Option<u64> {
        let space = self.claims.spaces.get(name).filter(|_| self.is_master())?;
        let claim = space.queue.claim(id)?;
        Some(wall_ms() + claim.deadline_ms.saturating_sub(self.claims.now_ms()))
    }
}

/// Lines of a job's log that there ever were: the last one tells its number.
pub fn log_len(ctx: Context, keys: &WorkKeys, id: JobId) -> u64 {
    let last = keys::lines(ctx, &keys.log(id), -1, -1);
    last.first().and_then(|line| LogLine::read(line)).map_or(0, |line| line.number)
}
