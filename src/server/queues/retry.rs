//! BEAR.RETRY: failed jobs are enqueued again, with the options that they had, as if a client sent them.
//!
//! ```text
//! ids: searched in slices -> all checked, all written, in one unit; or nothing is changed
//! ALL: a few at a time, each slice a unit of its own, up to the last that had failed when the command came
//! ```

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Instant;

use rustc_hash::FxHashMap;

use super::checks::{check_types, parse_id};
use super::enqueue::{EnqueueOptions, JobKind};
use super::search::FailedSearch;
use super::settled::{read_failed, read_failed_work, FailedJob};
use super::unique::{check_unique, fingerprint, hold_unique, Unique};
use crate::core::catalog::Section;
use crate::core::events::job::JobEvent;
use crate::core::jobs::job_id::JobId;
use crate::core::jobs::payload;
use crate::core::jobs::record::{cost, JobOptions, JobRecord, DEFAULT_OPTIONS};
use crate::keyspace::claims::WorkKeys;
use crate::keyspace::jobs::{self, QueueKeys};
use crate::redis_api::{Answer, Context, Direction, Value};
use crate::server::errands::Errand;
use crate::server::Server;

/// Ids of one command, and bytes of their payloads where they are several: all are written in one piece.
const MAX_IDS: usize = 200;
const MAX_BYTES: usize = 256 << 10;

/// Of a slice of ALL.
const SLICE_JOBS: usize = 16;
const SLICE_BYTES: usize = 64 << 10;

/// Which failed jobs are enqueued again.
pub enum RetryTarget<'a, 'b> {
    Ids(&'a [&'b [u8]]),
    All,
}

/// Whether a job that cannot be enqueued keeps the others from it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unfit {
    Refuses,
    StaysFailed,
}

/// What is to be done for a failed job.
enum Plan<'a> {
    Enqueue {
        of: JobKind<'a>,
        data: Vec<u8>,
        /// Of a job with a UNIQUE key.
        fingerprint: Option<String>,
    },
    /// This job says the same, and holds its UNIQUE key.
    Stands(JobId),
    /// The one with this number, of this call, will.
    StandsInCall(usize),
    /// It stays failed.
    Leave,
}

impl Server {
    /// BEAR.RETRY. Replies with the new ids.
    pub fn retry_jobs(&mut self, ctx: Context, space_name: &[u8], target: &RetryTarget) -> Result<(), String> {
        self.space_here(ctx, space_name)?;
        self.check_safe()?;
        let (name, keys) = self.queue_of(ctx, space_name)?;
        check_types(ctx, &keys)?;
        match target {
            RetryTarget::All => {
                let last = |key: &[u8]| jobs::newest(ctx, key).unwrap_or(JobId::ZERO);
                let of_work = last(&WorkKeys::new(&self.prefix_of(&name)).failed);
                let last = [last(&keys.failed), of_work];
                self.begin_errand(ctx, RetryAll { name, in_work: false, from: JobId::ZERO, last, ids: Vec::new() });
            }
            RetryTarget::Ids(ids) if ids.len() > MAX_IDS => {
                return Err(format!(
                    "TOOLARGE {MAX_IDS} ids are retried at once, got {}; send them in several, or ALL",
                    ids.len()
                ));
            }
            RetryTarget::Ids(ids) => {
                let wanted = ids.iter().map(|id| parse_id(id)).collect::<Result<_, _>>()?;
                let space = self.queues.spaces.get(&name).map(AsRef::as_ref);
                let search = FailedSearch::new(name.clone(), space, wanted);
                self.begin_errand(ctx, RetryIds { name, search });
            }
        }
        Ok(())
    }

    /// Enqueues jobs again, and takes their records away. Returns the new ids; where jobs may be unfit, those of others.
    fn retry_now(
        &mut self,
        ctx: Context,
        name: &str,
        failed: &[FailedJob],
        unfit: Unfit,
    ) -> Result<Vec<JobId>, String> {
        let section = self.space_here(ctx, name.as_bytes())?.section;
        let catalog = self.catalog.clone();
        let prefix = self.prefix_of(name);
        let keys = QueueKeys::new(&prefix);
        check_types(ctx, &keys)?;
        let of_section = &catalog.sections[section];
        if of_section.has_claimed_jobs() {
            WorkKeys::new(&prefix).wrong_type(ctx).map_or(Ok(()), Err)?;
        }
        let plans = self.plan_retries(ctx, name, of_section, failed, unfit)?;
        self.check_room(ctx, name, failed, &plans)?;
        let (mut ids, mut entries, mut work) = (vec![None; plans.len()], Vec::new(), Vec::new());
        let mut error = None;
        for (at, (job, plan)) in failed.iter().zip(&plans).enumerate() {
            let id = match plan {
                Plan::Enqueue { of: JobKind::Sql(_), data, fingerprint } => {
                    self.retry_job(ctx, name, &prefix, job, data, fingerprint.as_deref())
                }
                Plan::Enqueue { of: JobKind::Claimed(of), data, fingerprint } => {
                    let options = EnqueueOptions {
                        unique: job.options.unique.as_deref(),
                        attempts: job.options.attempts,
                        backoff_ms: job.options.backoff_ms,
                        priority: job.options.priority,
                        traceparent: job.options.traceparent.as_deref(),
                        row: job.id.inbox(),
                        ..EnqueueOptions::default()
                    };
                    let (of, data) = ((job.name.as_bytes(), *of), (data.as_slice(), fingerprint.clone()));
                    let id = self.write_claimed_job(ctx, name, of_section, of, data, &options);
                    if let (Ok(id), Some(row)) = (&id, job.id.inbox()) {
                        self.take_row_again(ctx, name, row, *id, job.token);
                    }
                    id
                }
                Plan::Stands(id) => Ok(*id),
                Plan::StandsInCall(first) => ids[*first].ok_or_else(String::new),
                Plan::Leave => continue,
            };
            match id {
                Ok(id) => ids[at] = Some(id),
                Err(text) => {
                    let done = entries.len() + work.len();
                    error = Some(format!("{text}; {done} of {} jobs are retried", failed.len()));
                    break;
                }
            }
            if job.is_work { &mut work } else { &mut entries }.push(job.entry);
        }
        jobs::delete(ctx, &keys.failed, &entries);
        self.forget_failed_work(ctx, name, &work);
        match error {
            Some(error) => Err(error),
            None => Ok(ids.into_iter().flatten().collect()),
        }
    }

    /// Changes nothing.
    fn plan_retries<'a>(
        &mut self,
        ctx: Context,
        name: &str,
        section: &'a Section,
        failed: &[FailedJob],
        unfit: Unfit,
    ) -> Result<Vec<Plan<'a>>, String> {
        let prefix = self.prefix_of(name);
        let keys = QueueKeys::new(&prefix);
        // UNIQUE keys of jobs before.
        let mut held: FxHashMap<&[u8], (usize, String)> = FxHashMap::default();
        let mut plans = Vec::with_capacity(failed.len());
        for (at, job) in failed.iter().enumerate() {
            let mut plan = || {
                let (of, data) = checked_payload(section, job)?;
                let Some(key) = job.options.unique.as_deref() else {
                    return Ok(Plan::Enqueue { of, data, fingerprint: None });
                };
                let fingerprint = fingerprint(of.job(), job.name.as_bytes(), &data);
                if let Some((first, other)) = held.get(key) {
                    return match *other == fingerprint {
                        true => Ok(Plan::StandsInCall(*first)),
                        false => Err(format!("DUPLICATE {} is retried with the same UNIQUE key", failed[*first].id)),
                    };
                }
                match check_unique(ctx, &keys, key, &fingerprint)? {
                    Unique::Same(id) if id != job.id => Ok(Plan::Stands(id)),
                    Unique::Same(_) | Unique::New => {
                        held.insert(key, (at, fingerprint.clone()));
                        Ok(Plan::Enqueue { of, data, fingerprint: Some(fingerprint) })
                    }
                }
            };
            plans.push(match (plan(), unfit) {
                (Ok(plan), _) => plan,
                // Of all, those that cannot be enqueued stay failed.
                (Err::<_, String>(_), Unfit::StaysFailed) => Plan::Leave,
                (Err(error), Unfit::Refuses) => return Err(error),
            });
        }
        Ok(plans)
    }

    fn check_room(&mut self, ctx: Context, name: &str, failed: &[FailedJob], plans: &[Plan]) -> Result<(), String> {
        let (mut count, mut bytes) = (0, 0);
        for (job, plan) in failed.iter().zip(plans) {
            if let Plan::Enqueue { data, .. } = plan {
                count += 1;
                bytes += cost(job.name.as_bytes(), data, job.options.unique.as_deref());
            }
        }
        let (prefix, limits) = (self.prefix_of(name), self.limits());
        let work = self.work_held(name);
        let space = self.queues.space(ctx, name, &prefix);
        limits.check((space.jobs + work.0, space.bytes + work.1), count, bytes)
    }

    fn retry_job(
        &mut self,
        ctx: Context,
        name: &str,
        prefix: &[u8],
        job: &FailedJob,
        data: &[u8],
        fingerprint: Option<&str>,
    ) -> Result<JobId, String> {
        let options = JobOptions {
            unique: job.options.unique.as_deref(),
            due_ms: None,
            attempts: job.options.attempts.unwrap_or(DEFAULT_OPTIONS.attempts),
            backoff_ms: job.options.backoff_ms.unwrap_or(DEFAULT_OPTIONS.backoff_ms),
            traceparent: job.options.traceparent.as_deref(),
        };
        let record = JobRecord { epoch: 0, name: job.name.as_bytes(), data, options };
        let section = self.section_of(name);
        let least = section.and_then(|section| self.newest_claimed_job(ctx, section, name));
        // Of a row of the inbox no more: it stays failed there, for its row went when it was applied.
        let id = self.queues.write_job(ctx, name, prefix, &record, least, None)?;
        if let (Some(key), Some(fingerprint)) = (options.unique, fingerprint) {
            hold_unique(ctx, &self.queues.space(ctx, name, prefix).keys, key, id, fingerprint);
        }
        let event = JobEvent::Enqueued { due_ms: None, priority: None, unique: options.unique };
        self.events.tell(ctx, name, id, || Some((&*job.name, event)));
        Ok(id)
    }
}

/// RETRY of some: all or none.
struct RetryIds {
    name: Arc<str>,
    search: FailedSearch,
}

impl RetryIds {
    fn retry(&self, server: &mut Server, ctx: Context) -> Result<Vec<JobId>, String> {
        let name = &*self.name;
        if let Some(unknown) = self.search.missing() {
            return Err(format!("ERR no failed job {unknown} is known (BEAR.JOBS {name} failed)"));
        }
        let (found, bytes) = (&self.search.found, self.search.bytes());
        if found.len() > 1 && bytes > MAX_BYTES {
            return Err(format!(
                "TOOLARGE payloads of {MAX_BYTES} bytes are retried at once, these have {bytes}; send fewer ids, or ALL"
            ));
        }
        server.retry_now(ctx, name, found, Unfit::Refuses)
    }
}

impl Errand for RetryIds {
    fn step(&mut self, server: &mut Server, ctx: Context, deadline: Instant) -> Option<Answer> {
        self.search.step(server, ctx, deadline).then(|| {
            self.search.look_again(ctx, &server.prefix_of(&self.name));
            match self.retry(server, ctx) {
                Ok(ids) => answer(&ids),
                Err(error) if error.ends_with("jobs are retried") => Answer::Error(error.into()),
                Err(error) => Answer::Error(format!("{error}; nothing is retried").into()),
            }
        })
    }

    fn cut_short(&mut self) -> Answer {
        Answer::Error("NOWAIT the jobs are searched for longer than MULTI and scripts may take; send it outside".into())
    }

    fn writes(&self) -> bool {
        true
    }
}

/// RETRY of all: a few at a time, first the SQL jobs and then those that were claimed.
struct RetryAll {
    name: Arc<str>,
    in_work: bool,
    /// The first record that has not been looked at, and the last that will be, of the two kinds.
    from: JobId,
    last: [JobId; 2],
    ids: Vec<JobId>,
}

impl RetryAll {
    /// The next of them.
    fn read(&mut self, ctx: Context, key: &[u8], deadline: Instant) -> Vec<FailedJob> {
        let (mut some, mut bytes) = (Vec::new(), 0);
        let last = self.last[usize::from(self.in_work)];
        if self.from > last {
            return some;
        }
        jobs::walk(ctx, key, Direction::Forward, (self.from, last), &mut |entry, fields| {
            let failed = if self.in_work { read_failed_work(entry, fields) } else { read_failed(entry, fields) };
            bytes += failed.as_ref().map_or(0, |job| job.data.len());
            some.extend(failed);
            self.from = entry.next().unwrap_or(jobs::LAST);
            if some.len() >= SLICE_JOBS || bytes >= SLICE_BYTES || Instant::now() >= deadline {
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        });
        some
    }
}

impl Errand for RetryAll {
    fn step(&mut self, server: &mut Server, ctx: Context, deadline: Instant) -> Option<Answer> {
        let prefix = server.prefix_of(&self.name);
        let (sql, work) = (QueueKeys::new(&prefix).failed, WorkKeys::new(&prefix).failed);
        loop {
            let before = self.from;
            let some = self.read(ctx, if self.in_work { &work } else { &sql }, deadline);
            if some.is_empty() && self.from == before {
                if self.in_work {
                    return Some(self.cut_short());
                }
                (self.in_work, self.from) = (true, JobId::ZERO);
                continue;
            }
            match server.retry_now(ctx, &self.name, &some, Unfit::StaysFailed) {
                Ok(ids) => self.ids.extend(ids),
                Err(error) => {
                    let done = self.ids.len();
                    return Some(Answer::Error(match done {
                        0 => format!("{error}; nothing is retried").into(),
                        _ => format!("{error}; {done} jobs are retried, the others stay failed").into(),
                    }));
                }
            }
            if Instant::now() >= deadline {
                return None;
            }
        }
    }

    fn cut_short(&mut self) -> Answer {
        answer(&self.ids)
    }

    fn writes(&self) -> bool {
        true
    }
}

fn answer(ids: &[JobId]) -> Answer {
    Answer::Value(Arc::new(Value::Array(ids.iter().map(|id| Value::text(id.to_string())).collect())))
}

/// The payload as it is stored, if it fits its definition.
fn checked_payload<'a>(section: &'a Section, job: &FailedJob) -> Result<(JobKind<'a>, Vec<u8>), String> {
    let mut data = Vec::new();
    let of = JobKind::of(section, job.name.as_bytes()).ok_or_else(|| format!("the section has no job '{}'", job.name));
    let checked = of
        .and_then(|of| payload::write(of.job(), &job.data, &mut data).map(|()| of).map_err(|error| error.to_string()));
    match checked {
        Ok(of) => Ok((of, data)),
        Err(error) => Err(format!("CATALOG job {} does not fit its definition: {error}", job.id)),
    }
}
