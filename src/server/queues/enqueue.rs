//! BEAR.ENQUEUE: a payload is checked and added to the stream, or nothing is.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::checks::stands;
use super::space::Extras;
use super::{wall_ms, Queues};
use crate::core::calls::names;
use crate::core::catalog::claimed::ClaimedJob;
use crate::core::catalog::job::Job;
use crate::core::jobs::job_id::JobId;
use crate::core::jobs::payload;
use crate::core::jobs::record::{JobRecord, Numbers, DEFAULT_OPTIONS};
use crate::core::values::value::shorten;
use crate::keyspace::claims as keys;
use crate::keyspace::jobs::{self, QueueKeys};
use crate::redis_api::{self, Answer, BlockedClient, Context, WrongType};
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
    pub priority: Option<u8>,
    /// Wait until it has settled, at most so long; 0: for ever.
    pub block_ms: Option<u64>,
}

/// A job may be due so far from now.
const MAX_DELAY_MS: u64 = 365 * 86_400_000;

/// For ever, as far as a waiting client is concerned.
const FOR_EVER: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

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

/// What UNIQUE found.
pub enum Unique {
    New,
    /// The same job stands already.
    Same(JobId),
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
        if let Some(of) = section.claimed_job(job_name) {
            return self.enqueue_claimed(ctx, space_name, space_ref.section, job_name, of, data, options);
        }
        let job = find_job(&section.jobs, job_name).ok_or_else(|| {
            if section.open.is_some() {
                let text =
                    "ERR a job's name is 1 to 128 letters, digits and _ - . :, beginning with a letter or a digit";
                return format!("{text}, got '{}'", shorten(job_name));
            }
            let has: Vec<&str> = section.jobs.iter().map(|job| &*job.name).collect();
            let has = if has.is_empty() { "none".to_owned() } else { has.join(", ") };
            format!("ERR section '{}' has no job '{}'; it has {has}", section.name, shorten(job_name))
        })?;
        if options.priority.is_some() {
            return Err(format!(
                "ERR PRIORITY is for jobs that workers claim; '{}' is applied to Postgres, and the order of its rows decides",
                job.name
            ));
        }
        due_ms(options, wall_ms())?;
        let limit = self.config.max_job_bytes as usize;
        if data.len() > limit {
            return Err(format!("TOOLARGE a payload may hold {limit} bytes (bear.max-job-bytes), got {}", data.len()));
        }
        if data.len() > LARGE && !ctx.flags().cannot_block() {
            self.check_aside(ctx, space_name, (space_ref.section, job_name), data, options);
            return Ok(());
        }
        let mut checked = std::mem::take(&mut self.payload);
        checked.clear();
        let written = payload::write_checked(job, data, &mut checked).map_err(errors::usage);
        let id =
            written.and_then(|()| self.add_job(ctx, space_name, space_ref.section, job, (&checked, None), options));
        self.payload = checked;
        let id = id?;
        let text = id.to_string();
        match options.block_ms {
            Some(block_ms) if !ctx.flags().cannot_block() => self.wait_for_job(ctx, space_name, id, block_ms),
            _ => ctx.reply().text(&text),
        }
        Ok(())
    }

    /// With what UNIQUE compares, where it has been worked out.
    pub(super) fn add_job(
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
            if let Unique::Same(id) = check_unique(ctx, &space.keys, key, fingerprint)? {
                return Ok(id);
            }
        }
        limits.check((space.jobs + work.0, space.bytes + work.1), 1, data.len() as u64)?;
        let mut options_of = DEFAULT_OPTIONS;
        options_of.unique = options.unique;
        options_of.due_ms = due_ms(options, wall_ms())?;
        options_of.attempts = options.attempts.unwrap_or(options_of.attempts);
        options_of.backoff_ms = options.backoff_ms.unwrap_or(options_of.backoff_ms);
        let record = JobRecord { epoch, name: job.name.as_bytes(), data, options: options_of };
        let id = queues.write_job(ctx, name, &self.key, &record, least)?;
        let space = queues.space(ctx, name, &self.key);
        self.keyspace.mark_queue(ctx, &space.keys.jobs);
        if let (Some(key), Some(fingerprint)) = (options.unique, &fingerprint) {
            hold_unique(ctx, &space.keys, key, id, fingerprint);
        }
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
        self.add_waiter(ctx.block(), space, id, block_ms);
    }

    /// The same of a client that is blocked already.
    pub(super) fn wait_on(&mut self, ctx: Context, client: BlockedClient, space: Arc<str>, id: JobId, block_ms: u64) {
        let keys = QueueKeys::new(&self.prefix_of(&space));
        let answer = match self.settled_report(ctx, &space, id) {
            Some(report) => Answer::Value(Arc::new(report)),
            None if !stands(ctx, &keys, id) => {
                Answer::Error(format!("ERR job {id} has settled, and its record is kept no more").into())
            }
            None => return self.add_waiter(client, space, id, block_ms),
        };
        self.answers.push_back((client, answer));
    }

    fn add_waiter(&mut self, client: BlockedClient, space: Arc<str>, id: JobId, block_ms: u64) {
        let limit = if block_ms == 0 { FOR_EVER } else { Duration::from_millis(block_ms) };
        self.queues.waiters.add(client, space, id, block_ms, Instant::now() + limit);
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

impl Server {
    /// The same of a job that workers claim.
    #[expect(clippy::too_many_arguments, reason = "the words of a command, and what was found for them")]
    fn enqueue_claimed(
        &mut self,
        ctx: Context,
        space_name: &[u8],
        section: usize,
        job_name: &[u8],
        of: ClaimedJob,
        data: &[u8],
        options: &EnqueueOptions,
    ) -> Result<(), String> {
        due_ms(options, wall_ms())?;
        let limit = self.config.max_job_bytes as usize;
        if data.len() > limit {
            return Err(format!("TOOLARGE a payload may hold {limit} bytes (bear.max-job-bytes), got {}", data.len()));
        }
        if data.len() > LARGE && !ctx.flags().cannot_block() {
            self.check_aside(ctx, space_name, (section, job_name), data, options);
            return Ok(());
        }
        let mut checked = std::mem::take(&mut self.payload);
        checked.clear();
        let written = payload::write(of.job, data, &mut checked).map_err(errors::usage);
        let id = written.and_then(|()| {
            let name = self.begin_to_enqueue(ctx, space_name, section)?;
            let catalog = self.catalog.clone();
            self.add_claimed_job(ctx, name, &catalog.sections[section], (job_name, of), (&checked, None), options)
        });
        self.payload = checked;
        let id = id?;
        match options.block_ms {
            Some(block_ms) if !ctx.flags().cannot_block() => self.wait_for_job(ctx, space_name, id, block_ms),
            _ => ctx.reply().bytes(id.text().as_bytes()),
        }
        Ok(())
    }
}

pub(super) fn find_job<'a>(jobs: &'a [Job], name: &[u8]) -> Option<&'a Job> {
    jobs.iter().find(|job| job.name.as_bytes() == name)
}

/// Of what a job says: the same for two spellings of one payload. `data` is a checked one.
pub fn fingerprint(job: Option<&Job>, name: &[u8], data: &[u8]) -> String {
    let mut canonical = Vec::with_capacity(data.len());
    // It has been checked against this job; what no longer fits is compared as it is.
    let is_canonical = job.is_some_and(|job| payload::write_canonical(job, data, &mut canonical).is_ok());
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    context.update(name);
    context.update(b" ");
    context.update(if is_canonical { &canonical } else { data });
    let digest = context.finish();
    digest.as_ref()[..16].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// UNIQUE keys that have ended go, a few at a time: more than come.
fn sweep_unique(ctx: Context, keys: &QueueKeys) {
    let now = wall_ms().to_string();
    let range: [&[u8]; 6] = [&keys.unique, b"-inf", now.as_bytes(), b"LIMIT", b"0", b"16"];
    let ended = jobs::read_texts(ctx, c"ZRANGEBYSCORE", &range);
    let ended: Vec<&[u8]> = ended.iter().map(AsRef::as_ref).collect();
    jobs::remove_from(ctx, c"ZREM", &keys.unique, &ended);
    jobs::remove_from(ctx, c"HDEL", &keys.unique_jobs, &ended);
}

/// From now on a job holds a UNIQUE key.
pub fn hold_unique(ctx: Context, keys: &QueueKeys, key: &[u8], id: JobId, fingerprint: &str) {
    sweep_unique(ctx, keys);
    let value = format!("{id} {fingerprint}");
    jobs::write(ctx, c"ZADD", &[&keys.unique, b"+inf", key]);
    jobs::write(ctx, c"HSET", &[&keys.unique_jobs, key, value.as_bytes()]);
}

/// The job that holds a UNIQUE key has another payload.
pub fn rehold_unique(ctx: Context, keys: &QueueKeys, key: &[u8], id: JobId, fingerprint: &str) {
    if unique_holder(ctx, keys, key).is_some_and(|holder| holder.id == id) {
        jobs::write(ctx, c"HSET", &[&keys.unique_jobs, key, format!("{id} {fingerprint}").as_bytes()]);
    }
}

/// A job that holds a UNIQUE key.
pub(super) struct Holder {
    pub(super) id: JobId,
    fingerprint: Option<String>,
    /// It holds the key until it has settled.
    is_queued: bool,
}

/// Who holds a UNIQUE key.
pub(super) fn unique_holder(ctx: Context, keys: &QueueKeys, key: &[u8]) -> Option<Holder> {
    let holder = jobs::read_text(ctx, c"HGET", &[&keys.unique_jobs, key])?;
    let end = jobs::read_text(ctx, c"ZSCORE", &[&keys.unique, key]);
    let end = end.and_then(|end| std::str::from_utf8(&end).ok()?.parse::<f64>().ok())?;
    if end <= wall_ms() as f64 {
        return None;
    }
    let holder = String::from_utf8_lossy(&holder);
    let mut words = holder.split(' ');
    let id = JobId::parse(words.next()?.as_bytes())?;
    Some(Holder { id, fingerprint: words.next().map(Into::into), is_queued: end.is_infinite() })
}

/// The error names the job that holds the key.
pub fn check_unique(ctx: Context, keys: &QueueKeys, key: &[u8], fingerprint: &str) -> Result<Unique, String> {
    let Some(holder) = unique_holder(ctx, keys, key) else { return Ok(Unique::New) };
    let id = holder.id;
    if holder.is_queued && !stands(ctx, keys, id) {
        // It was removed by another hand.
        return Ok(Unique::New);
    }
    if holder.fingerprint.as_deref() == Some(fingerprint) {
        return Ok(Unique::Same(id));
    }
    Err(format!("DUPLICATE {id} was enqueued with this UNIQUE key and is another job or has another payload"))
}

impl Queues {
    /// Adds a job to the stream of a space, with an id above `least`.
    pub(super) fn write_job(
        &mut self,
        ctx: Context,
        name: &str,
        prefix: &[u8],
        record: &JobRecord,
        least: Option<JobId>,
    ) -> Result<JobId, String> {
        if self.space(ctx, name, prefix).id.is_none() {
            self.name_queue(ctx, name, prefix);
        }
        let mut record = *record;
        record.epoch = self.epoch;
        let space = self.space(ctx, name, prefix);
        let full = "ERR the stream of the queue has the last id that there can be";
        let mut id = jobs::add(ctx, &space.keys.jobs, &record).map_err(wrong_type)?.ok_or(full)?;
        if id <= space.newest {
            // Somebody deleted the stream, and the clock stands where it stood: within an epoch no id may come twice.
            let keys = &space.keys.jobs;
            jobs::delete(ctx, keys, &[id]);
            self.epoch = self.random_id();
            record.epoch = self.epoch;
            let space = self.space(ctx, name, prefix);
            id = jobs::add(ctx, &space.keys.jobs, &record).map_err(wrong_type)?.ok_or(full)?;
        }
        let space = self.space(ctx, name, prefix);
        if let Some(least) = least.filter(|least| *least >= id) {
            // A claimed job of the space was enqueued in this millisecond: its id must not come twice.
            let next = least.next().ok_or(full)?;
            let mut numbers = Numbers::default();
            let is_added =
                keys::add_with_id(ctx, &space.keys.jobs, next, &record.fields(&mut numbers)).map_err(wrong_type)?;
            jobs::delete(ctx, &space.keys.jobs, &[id]);
            id = if is_added { next } else { return Err(full.into()) };
        }
        space.newest = id;
        space.jobs += 1;
        space.bytes += record.cost();
        if let Some(extras) = Extras::of(&record.options) {
            space.extras.insert(id, extras);
        }
        if let Some(due) = record.options.due_ms {
            let due = due.to_string();
            jobs::write(ctx, c"ZADD", &[&space.keys.delayed, due.as_bytes(), id.to_string().as_bytes()]);
            space.timed += 1;
        }
        if space.fresh.replace(id).is_none() {
            self.fresh.push(name.into());
            redis_api::arm(Duration::ZERO);
        }
        self.totals.enqueued += 1;
        Ok(id)
    }

    /// Gives a new queue its identity.
    fn name_queue(&mut self, ctx: Context, name: &str, prefix: &[u8]) {
        let id = self.random_id();
        let space = self.space(ctx, name, prefix);
        jobs::write(ctx, c"SET", &[&space.keys.id, id.to_string().as_bytes()]);
        space.id = Some(id);
    }
}

fn wrong_type(_: WrongType) -> String {
    "WRONGTYPE the key of the queue holds another type than a stream; rename or delete it".into()
}
