//! BEAR.ENQUEUE: a payload is checked and added to the stream, or nothing is.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::checks::stands;
use super::unique::{check_unique, fingerprint, hold_unique, Unique};
use super::waiting::Asker;
use super::wall_ms;
use crate::core::calls::names;
use crate::core::catalog::claimed::ClaimedJob;
use crate::core::catalog::job::Job;
use crate::core::catalog::Section;
use crate::core::events::job::JobEvent;
use crate::core::jobs::job_id::JobId;
use crate::core::jobs::payload;
use crate::core::jobs::record::{JobRecord, DEFAULT_OPTIONS};
use crate::core::jobs::traceparent;
use crate::core::values::priority::Priority;
use crate::core::values::value::shorten;
use crate::keyspace::jobs::QueueKeys;
use crate::redis_api::{self, Answer, BlockedClient, Context};
use crate::server::{errors, Server};

/// A payload of more bytes is checked aside.
pub const LARGE: usize = 64 << 10;

/// Options of the command.
#[derive(Debug, Clone, Copy, Default)]
pub struct EnqueueOptions<'a> {
    pub unique: Option<&'a [u8]>,
    pub delay_ms: Option<u64>,
    /// Unix time; not with `delay_ms`.
    pub at_ms: Option<u64>,
    pub attempts: Option<u32>,
    pub backoff_ms: Option<u64>,
    /// 1 to 10, of claimed jobs.
    pub priority: Option<Priority>,
    /// As [`crate::core::jobs::traceparent`] takes it.
    pub traceparent: Option<&'a [u8]>,
    /// Wait until it has settled, at most so long; 0: for ever.
    pub block_ms: Option<u64>,
    /// The row of the inbox that it comes from.
    pub row: Option<u64>,
    /// Claims of it up to this token are over.
    pub fence: Option<u64>,
}

/// A job may be due so far from now.
const MAX_DELAY_MS: u64 = 365 * 86_400_000;

/// For ever, as far as a waiting client is concerned.
const FOR_EVER: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// Jobs of a name, as the catalog says: who carries them out.
#[derive(Clone, Copy)]
pub enum JobKind<'a> {
    Sql(&'a Job),
    Claimed(ClaimedJob<'a>),
}

impl<'a> JobKind<'a> {
    /// None: the section has no such job.
    pub fn of(section: &'a Section, name: &[u8]) -> Option<JobKind<'a>> {
        let sql = || section.jobs.iter().find(|job| job.name.as_bytes() == name).map(JobKind::Sql);
        section.claimed_job(name).map(JobKind::Claimed).or_else(sql)
    }

    /// What its payload is checked against; None: any JSON will do.
    pub fn job(self) -> Option<&'a Job> {
        match self {
            JobKind::Sql(job) => Some(job),
            JobKind::Claimed(of) => of.job,
        }
    }
}

/// What one queue may hold.
pub struct QueueLimits {
    jobs: u64,
    bytes: u64,
}

impl QueueLimits {
    /// Is there room for so many more jobs, and so many bytes more?
    pub fn check(&self, (held_jobs, held_bytes): (u64, u64), jobs: u64, bytes: u64) -> Result<(), String> {
        let (held, max) = match () {
            () if held_jobs + jobs > self.jobs => {
                (format!("{held_jobs} jobs"), format!("bear.queue-max-jobs is {}", self.jobs))
            }
            () if held_bytes + bytes > self.bytes => {
                (format!("{held_bytes} bytes"), format!("bear.queue-max-bytes is {}", self.bytes))
            }
            () => return Ok(()),
        };
        Err(format!("FULL the queue holds {held}, and {max}; try again later"))
    }
}

impl Server {
    /// Enqueues a job, and replies with its id or has the client wait for it.
    pub fn enqueue(
        &mut self,
        ctx: Context,
        space_name: &[u8],
        job_name: &[u8],
        data: &[u8],
        options: &EnqueueOptions,
    ) -> Result<(), String> {
        let space_ref = self.space(ctx, space_name)?;
        self.check_owned(ctx, space_ref)?;
        self.check_safe()?;
        if self.workers.appliers().is_none() {
            // There is no URL, or a shutdown or an unload that was refused has ended them. The job waits in any case.
            if let Err(error) = self.workers.begin(&self.config) {
                log::warn!("{error}");
            }
        }
        let catalog = self.catalog.clone();
        let section = &catalog.sections[space_ref.section];
        let of = JobKind::of(section, job_name).ok_or_else(|| no_job(section, job_name))?;
        if let (JobKind::Sql(job), Some(_)) = (of, options.priority) {
            return Err(no_priority(job));
        }
        due_ms(options, wall_ms())?;
        let limit = self.config.max_job_bytes as usize;
        if data.len() > limit {
            return Err(too_large(limit, data.len()));
        }
        if data.len() > LARGE && !ctx.flags().cannot_block() {
            self.check_aside(ctx, space_name, (space_ref.section, job_name), data, options);
            return Ok(());
        }
        let mut checked = std::mem::take(&mut self.payload);
        checked.clear();
        let written = payload::write(of.job(), data, &mut checked).map_err(errors::usage);
        let id = written.and_then(|()| match of {
            JobKind::Sql(job) => self.add_job(ctx, space_name, space_ref.section, job, (&checked, None), options),
            JobKind::Claimed(of) => {
                let name = self.begin_to_enqueue(ctx, space_name, space_ref.section)?;
                self.add_claimed_job(ctx, name, section, (job_name, of), (&checked, None), options)
            }
        });
        self.payload = checked;
        let id = id?;
        match options.block_ms {
            Some(block_ms) if !ctx.flags().cannot_block() => self.wait_for_job(ctx, space_name, id, block_ms),
            _ => ctx.reply().bytes(id.text().as_bytes()),
        }
        Ok(())
    }

    /// With what UNIQUE compares, where it has been worked out.
    pub(in crate::server) fn add_job(
        &mut self,
        ctx: Context,
        space_name: &[u8],
        section: usize,
        job: &Job,
        (data, known): (&[u8], Option<String>),
        options: &EnqueueOptions,
    ) -> Result<JobId, String> {
        let name = self.begin_to_enqueue(ctx, space_name, section)?;
        let limits = self.limits();
        let work = self.work_held(name);
        let least = self.newest_claimed_job(ctx, section, name);
        let queues = &mut self.queues;
        let epoch = queues.epoch;
        let space = queues.space(ctx, name, &self.key);
        if let Some(text) = &space.wrong_type {
            return Err(text.clone());
        }
        let fingerprint =
            options.unique.map(|_| known.unwrap_or_else(|| fingerprint(Some(job), job.name.as_bytes(), data)));
        if let (Some(key), Some(fingerprint)) = (options.unique, &fingerprint) {
            match check_unique(ctx, &space.keys, key, fingerprint)? {
                Unique::Same(id) if !is_own_past(ctx, &space.keys, id, options.row) => return Ok(id),
                Unique::Same(_) | Unique::New => {}
            }
        }
        limits.check((space.jobs + work.0, space.bytes + work.1), 1, data.len() as u64)?;
        let mut options_of = DEFAULT_OPTIONS;
        options_of.unique = options.unique;
        options_of.due_ms = due_ms(options, wall_ms())?;
        options_of.attempts = options.attempts.unwrap_or(options_of.attempts);
        options_of.backoff_ms = options.backoff_ms.unwrap_or(options_of.backoff_ms);
        options_of.traceparent = options.traceparent;
        let record = JobRecord { epoch, name: job.name.as_bytes(), data, options: options_of };
        let id = queues.write_job(ctx, name, &self.key, &record, least, options.row)?;
        let space = queues.space(ctx, name, &self.key);
        self.keyspace.mark_queue(ctx, &space.keys.jobs);
        if let (Some(key), Some(fingerprint)) = (options.unique, &fingerprint) {
            hold_unique(ctx, &space.keys, key, id, fingerprint);
        }
        let event = JobEvent::Enqueued { due_ms: options_of.due_ms, priority: None, unique: options.unique };
        self.events.tell(ctx, name, id, || Some((&*job.name, event)));
        Ok(id)
    }

    /// A space's name; what other hands did to its queue is known then. Leaves the prefix in `self.key`.
    pub(in crate::server) fn begin_to_enqueue<'a>(
        &mut self,
        ctx: Context,
        space_name: &'a [u8],
        section: usize,
    ) -> Result<&'a str, String> {
        // A space's name has been checked: sections are words, tenants are UTF-8.
        let name = std::str::from_utf8(space_name).map_err(errors::usage)?;
        self.check_slot(ctx, space_name)?;
        self.key.clear();
        names::write_prefix(space_name, self.deployment, &mut self.key);
        let prefix = std::mem::take(&mut self.key);
        self.look_at_foreign_writes_to(ctx, name, &prefix);
        let is_clear = !self.keyspace.is_surveying(section) || self.begin_queue_early(ctx, &prefix);
        self.key = prefix;
        if !is_clear {
            let text = "FOREIGN whose the keys of this queue are is being looked at; try again in a moment";
            return Err(text.into());
        }
        Ok(name)
    }

    /// While the section's names are being surveyed: is the queue ours, or is there nothing yet?
    fn begin_queue_early(&mut self, ctx: Context, prefix: &[u8]) -> bool {
        let keys = QueueKeys::new(prefix);
        if keys.are_absent(ctx) {
            self.keyspace.queue_begins(prefix);
            return true;
        }
        self.keyspace.has_begun(prefix) || keys.shows_identity(ctx)
    }

    /// May jobs be stored at all?
    pub(in crate::server) fn check_safe(&self) -> Result<(), String> {
        if self.may_store {
            return Ok(());
        }
        Err("UNSAFE under this maxmemory-policy the server may evict queued jobs; set maxmemory-policy to noeviction or a \
             volatile-* policy"
            .into())
    }

    pub(in crate::server) fn limits(&self) -> QueueLimits {
        QueueLimits { jobs: self.config.queue_max_jobs as u64, bytes: self.config.queue_max_bytes as u64 }
    }

    /// Blocks the client until the job has settled.
    pub(super) fn wait_for_job(&mut self, ctx: Context, space_name: &[u8], id: JobId, block_ms: u64) {
        let space: Arc<str> = String::from_utf8_lossy(space_name).into();
        let keys = QueueKeys::new(&self.prefix_of(&space));
        if !stands(ctx, &keys, id) {
            // A job that has settled already, named by its UNIQUE key.
            let gone = format!("ERR job {id} has settled, and its record is kept no more");
            return self.answer_record(ctx, space, id, Answer::Error(gone.into()));
        }
        self.add_waiter(ctx.block(), space, id, block_ms, Asker::Enqueuer);
    }

    /// The same of a client that is blocked already.
    pub(super) fn wait_on(&mut self, ctx: Context, client: BlockedClient, space: Arc<str>, id: JobId, block_ms: u64) {
        let keys = QueueKeys::new(&self.prefix_of(&space));
        let answer = match self.settled_report(ctx, &space, id) {
            Some(report) => Answer::Value(Arc::new(report)),
            None if !stands(ctx, &keys, id) => {
                Answer::Error(format!("ERR job {id} has settled, and its record is kept no more").into())
            }
            None => return self.add_waiter(client, space, id, block_ms, Asker::Enqueuer),
        };
        self.answers.push_back((client, answer));
    }

    pub(super) fn add_waiter(
        &mut self,
        client: BlockedClient,
        space: Arc<str>,
        id: JobId,
        block_ms: u64,
        asker: Asker,
    ) {
        let limit = if block_ms == 0 { FOR_EVER } else { Duration::from_millis(block_ms) };
        self.queues.waiters.add(client, (space, id), block_ms, Instant::now() + limit, asker);
        if block_ms > 0 {
            redis_api::arm(limit);
        }
    }
}

/// When a job is due that waits for a time. A moment that has passed is none to wait for.
pub fn due_ms(options: &EnqueueOptions, now_ms: u64) -> Result<Option<u64>, String> {
    let due = options.delay_ms.map(|delay| now_ms + delay).or(options.at_ms);
    if due.is_some_and(|due| due > now_ms + MAX_DELAY_MS) {
        let days = MAX_DELAY_MS / 86_400_000;
        return Err(format!("ERR AT may be {days} days ahead, {} at most now", now_ms + MAX_DELAY_MS));
    }
    Ok(due.filter(|due| *due > now_ms))
}

/// Did the job that holds the UNIQUE key come of this very row, and has settled? What Postgres does not know of, it has lost: the
/// row becomes a job once more.
pub fn is_own_past(ctx: Context, keys: &QueueKeys, id: JobId, row: Option<u64>) -> bool {
    row.is_some() && id.inbox() == row && !stands(ctx, keys, id)
}

/// The error is the reply.
pub fn check_traceparent(text: &[u8]) -> Result<(), String> {
    traceparent::check(text).map_err(|right| format!("ERR TRACEPARENT {right}, got '{}'", shorten(text)))
}

pub fn no_priority(job: &Job) -> String {
    format!(
        "ERR PRIORITY is for jobs that workers claim; '{}' is applied to Postgres, and the order of its rows decides",
        job.name
    )
}

pub fn too_large(limit: usize, len: usize) -> String {
    format!("TOOLARGE a payload may hold {limit} bytes (bear.max-job-bytes), got {len}")
}

pub fn no_job(section: &Section, name: &[u8]) -> String {
    if section.open.is_some() {
        let text = "ERR a job's name is 1 to 128 letters, digits and _ - . :, beginning with a letter or a digit";
        return format!("{text}, got '{}'", shorten(name));
    }
    let has: Vec<&str> = section.jobs.iter().map(|job| &*job.name).collect();
    let has = if has.is_empty() { "none".to_owned() } else { has.join(", ") };
    format!("ERR section '{}' has no job '{}'; it has {has}", section.name, shorten(name))
}
