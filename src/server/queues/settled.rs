//! Records of settled jobs: looked up where they are known or near, read back for BEAR.RETRY. A search of all of them is
//! [`super::search`]'s.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use super::job_reply::{of_record, ListedState};
use super::space::SpaceQueue;
use crate::core::claims::outcome;
use crate::core::jobs::job_id::JobId;
use crate::core::jobs::record::{self, JobOptions, Outcome, DEFAULT_OPTIONS};
use crate::core::values::priority::Priority;
use crate::keyspace::jobs::{self, QueueKeys, LAST};
use crate::redis_api::{Context, Direction, Fields, Value};

/// How long a search goes on among records of completed jobs of which nothing is in memory: some hundreds, near the time
/// of the job.
const SEARCH: Duration = micros(250);

/// The same among entries of which it is known that they may hold it; many do only where jobs were left out again and
/// again.
const KNOWN_SEARCH: Duration = micros(250);

/// A build for tests is slower.
const fn micros(micros: u64) -> Duration {
    Duration::from_micros(if cfg!(debug_assertions) { 20 * micros } else { micros })
}

/// A failed job as its record tells.
pub struct FailedJob {
    pub id: JobId,
    /// Of its record's entry.
    pub entry: JobId,
    /// It was claimed by workers.
    pub is_work: bool,
    pub name: String,
    pub data: Vec<u8>,
    pub options: Given,
    /// Of the claim with which it failed.
    pub token: Option<u64>,
}

/// What a failed job was given, and its next life is given again; None: what is the default then.
#[derive(Default)]
pub struct Given {
    pub unique: Option<Box<[u8]>>,
    pub attempts: Option<u32>,
    pub backoff_ms: Option<u64>,
    pub traceparent: Option<Box<[u8]>>,
    /// Of claimed jobs.
    pub priority: Option<Priority>,
}

/// The job and the record that an entry of the stream of failed jobs holds.
pub fn failed_entry<'a>(fields: &Fields<'a>) -> Option<(JobId, &'a [u8])> {
    Some((JobId::parse(record::get(fields, b"id")?)?, record::get(fields, b"record")?))
}

/// Where records are looked for.
struct Records<'a> {
    key: &'a [u8],
    state: ListedState,
    /// Entries that this process knows to be worth a look.
    entries: Vec<JobId>,
    /// Are there others?
    is_all: bool,
}

/// What is known of a job that is not queued.
pub enum Settled {
    /// Its map.
    Found(Value),
    /// It has no record.
    Nowhere,
    /// Its record is not where it would be near; perhaps it is elsewhere.
    NotNear,
}

impl Settled {
    fn found(report: Option<Value>) -> Settled {
        report.map_or(Settled::NotNear, Settled::Found)
    }

    pub fn report(self) -> Option<Value> {
        match self {
            Settled::Found(report) => Some(report),
            Settled::Nowhere | Settled::NotNear => None,
        }
    }
}

/// Looks for a job's record. `space` is what is in memory of its queue; what is not is searched for a while.
pub fn find_settled(ctx: Context, keys: &QueueKeys, space: Option<&SpaceQueue>, id: JobId) -> Settled {
    let completed = Records {
        key: &keys.completed,
        state: ListedState::Completed,
        entries: space.map_or_else(Vec::new, |space| space.history.find(id).collect()),
        is_all: space.is_some_and(|space| !space.history.has_earlier()),
    };
    let failures = space.into_iter().flat_map(|space| space.failures.iter().filter(|(_, job)| *job == id));
    let failed = Records {
        key: &keys.failed,
        state: ListedState::Failed,
        entries: failures.map(|(entry, _)| *entry).collect(),
        is_all: space.is_some_and(|space| !space.has_earlier_failures),
    };
    let records = [completed, failed];
    let deadline = Instant::now() + KNOWN_SEARCH;
    let known = records.iter().find_map(|records| {
        let entries = records.entries.iter().take_while(|_| Instant::now() < deadline);
        entries.into_iter().find_map(|entry| records.find_between(ctx, id, (*entry, *entry), deadline))
    });
    let [completed, _] = &records;
    match known {
        Some(report) => Settled::Found(report),
        None if !completed.is_all => Settled::found(completed.search(ctx, id)),
        None if records.iter().all(|records| records.is_all) && !is_late(deadline) => Settled::Nowhere,
        None => Settled::NotNear,
    }
}

impl Records<'_> {
    /// A record is written after its job was enqueued, and mostly in the order of the jobs. Only jobs that were left
    /// out come later, and only a clock that stepped back makes records older than their job.
    fn search(&self, ctx: Context, id: JobId) -> Option<Value> {
        let deadline = Instant::now() + SEARCH;
        let from = |ms: u64| JobId { ms, seq: 0 };
        let near = self.last_before(ctx, id, deadline);
        let ranges = [(from(near), LAST), (from(id.ms), from(near)), (JobId::ZERO, from(id.ms))];
        ranges.into_iter().find_map(|range| self.find_between(ctx, id, range, deadline))
    }

    fn find_between(&self, ctx: Context, id: JobId, range: (JobId, JobId), deadline: Instant) -> Option<Value> {
        let mut found = None;
        let text = id.to_string();
        jobs::walk(ctx, self.key, Direction::Forward, range, &mut |_, fields| {
            found = match self.state {
                ListedState::Failed => failed_entry(fields).filter(|(of, _)| *of == id).map(|(_, record)| record),
                _ => record::get(fields, text.as_bytes()),
            }
            .map(|record| of_record(id, self.state.name(), record));
            if found.is_some() || is_late(deadline) {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        });
        found
    }

    /// The time of the last entry that begins with this job or an earlier one, by steps that double and halve.
    fn last_before(&self, ctx: Context, id: JobId, deadline: Instant) -> u64 {
        let is_before = |ms: u64| {
            let mut first = None;
            jobs::walk(ctx, self.key, Direction::Forward, (JobId { ms, seq: 0 }, LAST), &mut |_, fields| {
                first = fields.first().and_then(|(of, _)| JobId::parse(of));
                ControlFlow::Break(())
            });
            first.is_some_and(|first| first <= id)
        };
        let (mut low, mut step) = (id.ms, 1);
        while !is_late(deadline) && is_before(low.saturating_add(step)) {
            low = low.saturating_add(step);
            step = step.saturating_mul(2);
        }
        while step > 1 && !is_late(deadline) {
            step /= 2;
            if is_before(low.saturating_add(step)) {
                low = low.saturating_add(step);
            }
        }
        low
    }
}

fn is_late(deadline: Instant) -> bool {
    Instant::now() >= deadline
}

/// The failed job that an entry holds; None where it cannot be read.
pub fn read_failed(entry: JobId, fields: &Fields) -> Option<FailedJob> {
    let (id, record) = failed_entry(fields)?;
    let outcome = serde_json::from_slice::<Outcome>(record).ok()?;
    let data = outcome.data.map_or(Vec::new(), |data| data.get().as_bytes().to_vec());
    let options = JobOptions::read(fields).map_or_else(
        |_| Given::default(),
        |options| Given {
            unique: options.unique.map(Into::into),
            attempts: Some(options.attempts).filter(|attempts| *attempts != DEFAULT_OPTIONS.attempts),
            backoff_ms: Some(options.backoff_ms).filter(|backoff| *backoff != DEFAULT_OPTIONS.backoff_ms),
            traceparent: options.traceparent.map(Into::into),
            priority: None,
        },
    );
    Some(FailedJob { id, entry, is_work: false, name: outcome.job, data, options, token: None })
}

/// The same of a job that workers claimed.
pub fn read_failed_work(entry: JobId, fields: &Fields) -> Option<FailedJob> {
    let failed = outcome::read_failed(fields).ok()?;
    let outcome = outcome::Outcome::read(failed.record)?;
    let data = outcome.data.map_or(Vec::new(), |data| data.get().as_bytes().to_vec());
    let options = Given {
        unique: failed.options.unique.map(Into::into),
        attempts: failed.options.attempts,
        backoff_ms: failed.options.backoff_ms,
        traceparent: failed.options.traceparent.map(Into::into),
        priority: Some(failed.options.priority),
    };
    let name = String::from_utf8_lossy(failed.name).into_owned();
    Some(FailedJob { id: failed.id, entry, is_work: true, name, data, options, token: outcome.token })
}
