//! Records of settled jobs: looked up, listed, read back for BEAR.RETRY.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use super::report::{of_record, ListedState};
use super::space::Extras;
use crate::core::job_id::JobId;
use crate::core::record::{self, JobOptions, Outcome};
use crate::keyspace::jobs::{self, QueueKeys, LAST};
use crate::redis_api::{Context, Direction, Fields, Value};

/// How long a search goes on among records that are older than the job itself, which only a clock that stepped back makes.
const SEARCH: Duration = Duration::from_micros(500);

/// A failed job as its record tells.
pub struct FailedJob {
    pub id: JobId,
    /// Of its record's entry.
    pub entry: JobId,
    pub name: String,
    pub data: Vec<u8>,
    /// None: the defaults.
    pub extras: Option<Extras>,
}

/// The job and the record that an entry of the stream of failed jobs holds.
fn failed_entry<'a>(fields: &Fields<'a>) -> Option<(JobId, &'a [u8])> {
    Some((JobId::parse(record::get(fields, b"id")?)?, record::get(fields, b"record")?))
}

/// The map of a settled job. A record is written after its job was enqueued, so that the search begins there.
pub fn find_settled(ctx: Context, keys: &QueueKeys, id: JobId) -> Option<Value> {
    let mut found = None;
    let text = id.to_string();
    let deadline = Instant::now() + SEARCH;
    let since = JobId { ms: id.ms, seq: 0 };
    let before = JobId { ms: id.ms.saturating_sub(1), seq: u64::MAX };
    for (direction, range) in [(Direction::Forward, (since, LAST)), (Direction::Backward, (JobId::ZERO, before))] {
        let late = || direction == Direction::Backward && Instant::now() >= deadline;
        jobs::walk(ctx, &keys.completed, direction, range, &mut |_, fields| {
            if let Some((_, record)) = fields.iter().find(|(field, _)| *field == text.as_bytes()) {
                found = Some(of_record(id, "completed", record));
            }
            if found.is_some() || late() {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        });
        if found.is_none() {
            jobs::walk(ctx, &keys.failed, direction, range, &mut |_, fields| {
                if let Some((_, record)) = failed_entry(fields).filter(|(of, _)| *of == id) {
                    found = Some(of_record(id, "failed", record));
                }
                if found.is_some() || late() {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                }
            });
        }
        if found.is_some() {
            break;
        }
    }
    found
}

/// Settled jobs in the order in which they settled, from the one after `after` on.
pub fn list_settled(
    ctx: Context,
    keys: &QueueKeys,
    state: ListedState,
    count: usize,
    after: Option<JobId>,
) -> Vec<Value> {
    let mut listed = Vec::new();
    let mut begun = after.is_none();
    let (key, name) = match state {
        ListedState::Failed => (&keys.failed, "failed"),
        _ => (&keys.completed, "completed"),
    };
    let from = after.map_or(JobId::ZERO, |after| JobId { ms: after.ms, seq: 0 });
    let mut take = |id: JobId, record: &[u8]| {
        if begun && listed.len() < count {
            listed.push(of_record(id, name, record));
        }
        begun |= Some(id) == after;
        listed.len() < count
    };
    jobs::walk(ctx, key, Direction::Forward, (from, LAST), &mut |_, fields| {
        let more = match state {
            ListedState::Failed => failed_entry(fields).is_none_or(|(id, record)| take(id, record)),
            _ => fields.iter().all(|(id, record)| JobId::parse(id).is_none_or(|id| take(id, record))),
        };
        if more {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    });
    listed
}

/// The failed jobs with these ids, or all of them, oldest first.
pub fn failed_jobs(ctx: Context, keys: &QueueKeys, ids: Option<&[JobId]>) -> Vec<FailedJob> {
    let mut failed = Vec::new();
    jobs::walk(ctx, &keys.failed, Direction::Forward, (JobId::ZERO, LAST), &mut |entry, fields| {
        if let Some((id, record)) = failed_entry(fields) {
            if ids.is_none_or(|ids| ids.contains(&id)) {
                if let Ok(outcome) = serde_json::from_slice::<Outcome>(record) {
                    let data = outcome.data.map_or(Vec::new(), |data| data.get().as_bytes().to_vec());
                    let extras = JobOptions::read(fields).ok().and_then(|options| Extras::of(&options));
                    failed.push(FailedJob { id, entry, name: outcome.job, data, extras });
                }
            }
        }
        ControlFlow::Continue(())
    });
    failed
}
