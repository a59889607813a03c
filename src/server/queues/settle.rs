//! Outcomes of batches are published, a space at a time: its jobs leave the stream, their outcomes are recorded, what
//! the changed rows were cached in is dropped, in one unit to clients, AOF and replicas; then who waits is answered.
//!
//! A space's unit is made in one callback of a timer, which is what Redis replicates as one MULTI/EXEC. It is not made
//! while the server allows no writes, and not by a replica.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use super::space::{Ledger, Retry, SpaceQueue};
use super::{wall_ms, Queues, Refused};
use crate::core::batch::{Batch, Changed, JobError, JobOutcome, Lane, Left, QueuedJob, SpaceApplied, SpaceBatch};
use crate::core::job_id::JobId;
use crate::core::names;
use crate::core::queue::{Held, LeftOut, SideResult};
use crate::core::record;
use crate::core::retry::{attempt_delay_ms, DEFAULT_BACKOFF_MS};
use crate::failpoints;
use crate::keyspace::jobs;
use crate::redis_api::{Answer, Context};
use crate::server::Server;
use crate::workers::AppliedOutcome;

/// Completed jobs in one entry of their stream: looking one up reads that many.
const RECORDS_AN_ENTRY: usize = 100;

/// A refused job type is tried again after this, twice as long each time, in milliseconds.
const REFUSED_MS: u64 = 500;
const MAX_REFUSED_MS: u64 = 30_000;

/// A job that was set aside (its row is locked) is tried again after this, twice as long each time, in milliseconds.
const ISOLATED_MS: u64 = 50;
const MAX_ISOLATED_MS: u64 = 2_000;

/// An outcome on its way to be published.
pub struct Settling {
    batch: Box<Batch>,
    spaces: Vec<SpaceApplied>,
    /// By space, by job.
    records: Vec<Vec<Option<Vec<u8>>>>,
    /// The next space.
    at: usize,
    generation: u64,
}

/// What becomes of the jobs of one space.
#[derive(Default)]
struct Fates {
    settled: Vec<JobId>,
    completed: Vec<(JobId, Vec<u8>)>,
    failed: Vec<(JobId, Vec<u8>)>,
    left: Vec<(JobId, LeftOut)>,
    /// New due times of jobs that are tried again, in Unix time, and records of their attempts.
    delayed: Vec<(JobId, u64)>,
    attempts: Vec<(JobId, Vec<u8>)>,
    /// The main lane goes no further for now.
    held: Option<Held>,
    /// An outcome of which nothing else is known: any row may have changed.
    unknown_changes: bool,
}

impl Server {
    /// Takes what an applier brings back.
    pub(super) fn take_applied(&mut self, outcome: AppliedOutcome) {
        match outcome {
            AppliedOutcome::Applied { batch, applied, records, took_us } => {
                let generation = self.queues.in_flight.remove(&batch.ticket).unwrap_or(u64::MAX);
                self.queues.totals.batch_us_max = self.queues.totals.batch_us_max.max(took_us);
                self.note_types(&batch, &applied.refused, &applied.accepted);
                let settling = Settling { batch, spaces: applied.spaces, records, at: 0, generation };
                self.queues.settling.push_back(settling);
            }
            AppliedOutcome::PutBack { batch } => self.put_back(&batch),
            AppliedOutcome::Up => {
                self.queues.appliers_up = Some(true);
                self.queues.appliers_error = None;
            }
            AppliedOutcome::Down { error } => {
                if self.queues.appliers_up != Some(false) {
                    log::warn!("jobs cannot be applied: {error}");
                }
                self.queues.appliers_up = Some(false);
                self.queues.appliers_error = Some(error);
            }
        }
    }

    fn note_types(&mut self, batch: &Batch, refused: &[((usize, usize), JobError)], accepted: &[(usize, usize)]) {
        let name_of = |(section, job): (usize, usize)| {
            let section = &batch.sections[section];
            (section.name.clone(), section.jobs[job].name.clone())
        };
        let now_ms = self.queues.now_ms();
        for (of, error) in refused {
            let (section, job) = name_of(*of);
            let kind = self.queues.kind_of(&section, job.as_bytes());
            let delay_ms =
                self.queues.refused.get(&kind).map_or(REFUSED_MS, |old| (old.delay_ms * 2).min(MAX_REFUSED_MS));
            if delay_ms == REFUSED_MS {
                log::warn!("jobs {job} of '{section}' are paused, Postgres refuses their statement: {}", error.message);
            }
            let refused = Refused { until_ms: now_ms + delay_ms, delay_ms, error: error.clone() };
            self.queues.refused.insert(kind, refused);
            let next = self.queues.refused_due_ms.map_or(now_ms + delay_ms, |due| due.min(now_ms + delay_ms));
            self.queues.refused_due_ms = Some(next);
        }
        for of in accepted {
            let (section, job) = name_of(*of);
            let kind = self.queues.kind_of(&section, job.as_bytes());
            if self.queues.refused.remove(&kind).is_some() {
                log::info!("jobs {job} of '{section}' are applied again");
                self.queues.rouse_left_out();
            }
        }
    }

    /// Publishes outcomes until the deadline, at least one space's. True: some are left.
    pub(super) fn publish_outcomes(&mut self, ctx: Context, deadline: Instant) -> bool {
        while let Some(mut settling) = self.queues.settling.pop_front() {
            while settling.at < settling.spaces.len() {
                let at = settling.at;
                settling.at += 1;
                let applied = std::mem::replace(&mut settling.spaces[at], SpaceApplied::Ledger(String::new()));
                let records = std::mem::take(&mut settling.records[at]);
                let is_current = settling.generation == self.queues.generation;
                self.publish_space(ctx, &settling.batch, at, applied, records, is_current);
                if Instant::now() >= deadline {
                    let more = settling.at < settling.spaces.len();
                    if more {
                        self.queues.settling.push_front(settling);
                    }
                    return more || !self.queues.settling.is_empty();
                }
            }
        }
        false
    }

    fn publish_space(
        &mut self,
        ctx: Context,
        batch: &Batch,
        at: usize,
        applied: SpaceApplied,
        records: Vec<Option<Vec<u8>>>,
        is_current: bool,
    ) {
        let of_space = &batch.spaces[at];
        let (mark, outcomes, mut changed) = match applied {
            SpaceApplied::Done { mark, jobs, changed } => (mark, jobs, changed),
            SpaceApplied::Ledger(text) => return self.ledger_trouble(batch, of_space, text, is_current),
        };
        failpoints::hit("before-publish");
        let name = of_space.space.clone();
        let mut fates = self.fates(ctx, batch, of_space, mark, &outcomes, records);
        if fates.unknown_changes {
            changed.push(Changed { section: usize::MAX, id: None });
        }
        if is_current && self.queues.spaces.contains_key(&name) {
            self.write_outcome(ctx, batch.lane, of_space, mark, &mut fates);
        }
        self.drop_changed(ctx, batch, of_space, &changed);
        failpoints::hit("after-publish");
        self.answer_settled(of_space, &fates);
        self.queues.rouse(&name);
    }

    fn ledger_trouble(&mut self, batch: &Batch, of_space: &SpaceBatch, text: String, is_current: bool) {
        let Some(space) = self.queues.spaces.get_mut(&of_space.space).filter(|_| is_current) else { return };
        log::warn!("queue '{}' is paused: {text}", of_space.space);
        space.ledger = Ledger::Trouble(format!("LEDGER {text}"));
        match batch.lane {
            Lane::Main => {
                space.queue.main_put_back();
                space.active = space.active.saturating_sub(of_space.jobs.len());
            }
            Lane::Side => space.queue.side_put_back(),
        }
        space.forget.extend(&of_space.forget);
    }

    /// What becomes of each job. Changes the memory of attempts, and nothing durable.
    fn fates(
        &mut self,
        ctx: Context,
        batch: &Batch,
        of_space: &SpaceBatch,
        mark: JobId,
        outcomes: &[JobOutcome],
        records: Vec<Option<Vec<u8>>>,
    ) -> Fates {
        let mut fates = Fates::default();
        let (now_ms, unix_ms) = (self.queues.now_ms(), wall_ms());
        let section = &batch.sections[of_space.section].name;
        for ((job, outcome), record) in of_space.jobs.iter().zip(outcomes).zip(records) {
            match outcome {
                JobOutcome::Completed(completed) => {
                    fates.unknown_changes |= completed.earlier;
                    fates.settled.push(job.id);
                    fates.completed.push((job.id, record.unwrap_or_default()));
                }
                JobOutcome::Failed { error, attempts } => {
                    fates.settled.push(job.id);
                    fates
                        .failed
                        .push((job.id, record.unwrap_or_else(|| record::failed(job, error, *attempts, unix_ms))));
                }
                JobOutcome::Left { keys, barrier, why } => {
                    let kind = self.queues.kind_of(section, &job.name);
                    let refused_until = self.queues.refused.get(&kind).map(|refused| refused.until_ms);
                    let Some(space) = self.queues.spaces.get_mut(&of_space.space) else { continue };
                    let next = next_try(ctx, space, job, why, now_ms, unix_ms, refused_until);
                    fates.delayed.extend(next.unix_due_ms.map(|due| (job.id, due)));
                    fates.attempts.extend(next.record.map(|record| (job.id, record)));
                    if job.id > mark && batch.lane == Lane::Main {
                        // A barrier at the head of the main lane.
                        fates.held = Some(Held::Until(next.due_ms.unwrap_or(now_ms)));
                        continue;
                    }
                    let left =
                        LeftOut { keys: keys.clone(), barrier: *barrier, holds: next.holds, due_ms: next.due_ms, kind };
                    fates.left.push((job.id, left));
                }
                JobOutcome::NotTaken => {
                    fates.held.get_or_insert(Held::UntilQuiet);
                }
            }
        }
        fates
    }

    /// The unit, but for the caches.
    fn write_outcome(&mut self, ctx: Context, lane: Lane, of_space: &SpaceBatch, mark: JobId, fates: &mut Fates) {
        let now_ms = self.queues.now_ms();
        let (failed_max, completed_max) = (self.config.failed_max_jobs as u64, self.config.completed_max_bytes as u64);
        let unique_ms = self.config.unique_ms as u64;
        self.queues.totals.completed += fates.completed.len() as u64;
        self.queues.totals.failed += fates.failed.len() as u64;
        self.queues.totals.retried += fates.attempts.len() as u64;
        let Some(space) = self.queues.spaces.get_mut(&of_space.space) else { return };
        space.ledger = Ledger::Ok;
        space.adopt.retain(|epoch| *epoch != of_space.epoch);
        match lane {
            Lane::Main => {
                space.active = space.active.saturating_sub(of_space.jobs.len());
                space.queue.main_done(mark, std::mem::take(&mut fates.left), fates.held.take().unwrap_or(Held::No));
                let known = space.known.entry(of_space.epoch).or_insert(mark);
                *known = mark.max(*known);
            }
            Lane::Side => {
                let left: rustc_hash::FxHashMap<JobId, Option<u64>> =
                    fates.left.drain(..).map(|(id, left)| (id, left.due_ms)).collect();
                let results: Vec<(JobId, SideResult)> = of_space
                    .jobs
                    .iter()
                    .map(|job| match left.get(&job.id) {
                        Some(due_ms) => (job.id, SideResult::Left { due_ms: *due_ms }),
                        None => (job.id, SideResult::Settled),
                    })
                    .collect();
                space.queue.side_done(&results);
            }
        }
        record_outcomes(ctx, space, fates, failed_max, completed_max, now_ms);
        leave_stream(ctx, space, of_space, fates, unique_ms);
        space.timed += fates.delayed.len() as u64;
        let delayed: Vec<_> =
            fates.delayed.iter().map(|(id, due)| (due.to_string().into(), id.to_string().into())).collect();
        jobs::write_pairs(ctx, c"ZADD", &space.keys.delayed, &delayed);
        let attempts: Vec<_> = fates.attempts.drain(..).map(|(id, record)| (id.to_string().into(), record)).collect();
        jobs::write_pairs(ctx, c"HSET", &space.keys.attempts, &attempts);
        space.completed += fates.completed.len() as u64;
        space.failed += fates.failed.len() as u64;
        space.rate.add(now_ms, fates.settled.len() as u64);
        let fields = space.ledger_fields(of_space.epoch);
        jobs::write_pairs(ctx, c"HSET", &space.keys.ledger, &fields);
        let dead: Vec<String> = space.take_dead_epochs().iter().map(i64::to_string).collect();
        if !dead.is_empty() {
            let dead: Vec<&[u8]> = dead.iter().map(String::as_bytes).collect();
            jobs::remove_from(ctx, c"HDEL", &space.keys.ledger, &dead);
        }
    }

    /// Drops what the changed rows were cached in, and strikes what is being fetched of it.
    fn drop_changed(&mut self, ctx: Context, batch: &Batch, of_space: &SpaceBatch, changed: &[Changed]) {
        if changed.is_empty() {
            return;
        }
        let mut sections = BTreeSet::new();
        for change in changed {
            // Nothing is known of what changed, or the catalog is another by now.
            let same =
                batch.sections.get(change.section).filter(|_| Arc::ptr_eq(&batch.sections, &self.catalog.sections));
            if same.is_none() {
                return self.make_all_cold();
            }
            sections.insert(change.section);
        }
        let catalog = self.catalog.clone();
        for index in sections {
            let section = &catalog.sections[index];
            if section.tenant.is_some() && of_space.tenant.is_none() {
                // A row of a tenant that nobody named.
                self.fills.strike_where(|_, call| call.section == index);
                self.keyspace.abort_publications(|_, _| true);
                self.keyspace.make_tenants_cold(&section.name);
                continue;
            }
            let tenant = of_space.tenant.as_deref().filter(|_| section.tenant.is_some());
            let mut prefix = Vec::new();
            names::write_prefix(names::space_name(&section.name, tenant).as_bytes(), self.deployment, &mut prefix);
            let ids = changed.iter().filter(|change| change.section == index).map(|change| change.id.as_deref());
            self.rows_changed(ctx, index, prefix, ids);
        }
    }

    /// Answers who waits for one of these jobs.
    fn answer_settled(&mut self, of_space: &SpaceBatch, fates: &Fates) {
        if self.queues.waiters.is_empty() {
            return;
        }
        let records = fates.completed.iter().map(|record| (record, "completed"));
        let records = records.chain(fates.failed.iter().map(|record| (record, "failed")));
        for ((id, record), state) in records {
            if !self.queues.waiters.waits_for(&of_space.space, *id) {
                continue;
            }
            let report = super::report::of_record(*id, state, record);
            let answer = Answer::Value(Arc::new(report));
            for client in self.queues.waiters.take(&of_space.space, *id) {
                self.answers.push_back((client, answer.clone()));
            }
        }
    }
}

/// When a job that was left out is tried again.
struct NextTry {
    holds: bool,
    /// Monotonic; None: as soon as those before it have settled.
    due_ms: Option<u64>,
    /// To be written: the time, and the record of the attempts.
    unix_due_ms: Option<u64>,
    record: Option<Vec<u8>>,
}

fn next_try(
    ctx: Context,
    space: &mut SpaceQueue,
    job: &QueuedJob,
    why: &Left,
    now_ms: u64,
    unix_ms: u64,
    refused_until: Option<u64>,
) -> NextTry {
    let mut next = NextTry { holds: true, due_ms: None, unix_due_ms: None, record: None };
    let extras = space.extras.get(&job.id);
    match why {
        Left::Undue => {
            next.holds = false;
            let due = extras.and_then(|extras| extras.due_ms).unwrap_or(unix_ms);
            next.due_ms = Some(now_ms + due.saturating_sub(unix_ms));
        }
        Left::Behind => {}
        Left::Retry(error) => {
            let backoff_ms = extras.map_or(DEFAULT_BACKOFF_MS, |extras| extras.backoff_ms);
            let attempts = job.attempts + 1;
            let delay_ms = attempt_delay_ms(backoff_ms, attempts);
            next.due_ms = Some(now_ms + delay_ms);
            next.unix_due_ms = Some(unix_ms + delay_ms);
            next.record = Some(record::attempt(attempts, error));
            let retry = Retry { attempts, isolated: 0, error: Some(error.clone()), due_ms: next.unix_due_ms };
            space.retries.insert(job.id, retry);
        }
        Left::Isolated(error) => {
            let retry = space.retries.entry(job.id).or_default();
            retry.isolated += 1;
            retry.error = Some(error.clone());
            next.due_ms = Some(now_ms + (ISOLATED_MS << retry.isolated.min(16)).min(MAX_ISOLATED_MS));
        }
        Left::TypePaused => next.due_ms = refused_until,
        Left::Earlier => {
            let due = extras.and_then(|extras| extras.due_ms);
            let found = space.recall(ctx, job.id);
            let tried = space.retries.contains_key(&job.id);
            let due = if tried { found } else { due.or(found) };
            next.holds = tried || due.is_none_or(|due| due <= unix_ms);
            next.due_ms = due.map(|due| now_ms + due.saturating_sub(unix_ms));
        }
    }
    next
}

/// Records of the outcomes, and no more of them than are kept.
fn record_outcomes(
    ctx: Context,
    space: &mut SpaceQueue,
    fates: &Fates,
    failed_max: u64,
    completed_max: u64,
    now_ms: u64,
) {
    for group in fates.completed.chunks(RECORDS_AN_ENTRY) {
        let ids: Vec<String> = group.iter().map(|(id, _)| id.to_string()).collect();
        let fields: Vec<&[u8]> =
            ids.iter().zip(group).flat_map(|(id, (_, record))| [id.as_bytes(), record.as_slice()]).collect();
        let bytes: usize = fields.iter().map(|field| field.len()).sum();
        if let Some(entry) = jobs::append(ctx, &space.keys.completed, &fields) {
            space.history.written(entry, group.len() as u64, bytes as u64, now_ms);
        }
    }
    if let Some(before) = space.history.trim(completed_max, now_ms) {
        jobs::trim(ctx, &space.keys.completed, before);
    }
    // Of more than are kept, only the newest are written at all.
    let newest = fates.failed.len().saturating_sub(failed_max as usize);
    for (id, record) in &fates.failed[newest..] {
        jobs::append(ctx, &space.keys.failed, &[b"id", id.to_string().as_bytes(), b"record", record]);
    }
    if !fates.failed.is_empty() {
        jobs::keep_newest(ctx, &space.keys.failed, failed_max);
    }
}

/// Settled jobs leave the stream and whatever else names them.
fn leave_stream(ctx: Context, space: &mut SpaceQueue, of_space: &SpaceBatch, fates: &Fates, unique_ms: u64) {
    if fates.settled.is_empty() {
        return;
    }
    let first = space.queue.first_unsettled();
    let beyond: Vec<JobId> = fates.settled.iter().filter(|id| **id >= first).copied().collect();
    if fates.settled.len() > beyond.len() {
        jobs::trim(ctx, &space.keys.jobs, first);
    }
    if !beyond.is_empty() {
        jobs::delete(ctx, &space.keys.jobs, &beyond);
    }
    // In the order of the batch's jobs.
    let mut settled = fates.settled.iter().peekable();
    for job in &of_space.jobs {
        if settled.next_if_eq(&&job.id).is_some() {
            let unique = space.extras.get(&job.id).and_then(|extras| extras.unique.as_deref());
            space.bytes = space.bytes.saturating_sub(record::cost(&job.name, &job.data, unique));
        }
    }
    let (mut timed, mut tried, mut unique) = (Vec::new(), Vec::new(), Vec::new());
    if !space.extras.is_empty() || !space.retries.is_empty() {
        for id in &fates.settled {
            let extras = space.extras.remove(id);
            let retry = space.retries.remove(id);
            let was_tried = retry.is_some_and(|retry| retry.attempts > 0);
            if was_tried {
                tried.push(id.to_string());
            }
            if was_tried || extras.as_ref().is_some_and(|extras| extras.due_ms.is_some()) {
                timed.push(id.to_string());
            }
            unique.extend(extras.and_then(|extras| extras.unique));
        }
    }
    let bytes = |ids: &[String]| ids.iter().map(|id| id.clone().into_bytes()).collect::<Vec<_>>();
    let remove = |command, key, ids: Vec<Vec<u8>>| {
        let members: Vec<&[u8]> = ids.iter().map(Vec::as_slice).collect();
        jobs::remove_from(ctx, command, key, &members)
    };
    let untimed = remove(c"ZREM", &space.keys.delayed, bytes(&timed));
    remove(c"HDEL", &space.keys.attempts, bytes(&tried));
    space.timed = space.timed.saturating_sub(untimed);
    let end = (wall_ms() + unique_ms).to_string();
    let ends: Vec<_> = unique.into_iter().map(|key| (end.clone().into_bytes(), key.into_vec())).collect();
    jobs::write_pairs(ctx, c"ZADD", &space.keys.unique, &ends);
    space.jobs = jobs::len(ctx, &space.keys.jobs);
    if space.jobs == 0 {
        space.bytes = 0;
    }
}

impl Queues {
    /// Figures for INFO, of all spaces that are in memory.
    pub fn figures(&self) -> Vec<(&'static str, u64)> {
        let (mut jobs, mut bytes, mut active, mut timed, mut left) = (0, 0, 0, 0, 0);
        for space in self.spaces.values() {
            jobs += space.jobs;
            bytes += space.bytes;
            active += space.in_flight().0 as u64;
            timed += space.timed;
            left += space.queue.counts().left as u64;
        }
        let troubled = self.spaces.values().filter(|space| matches!(space.ledger, Ledger::Trouble(_))).count();
        vec![
            ("jobs_waiting", jobs.saturating_sub(active + timed)),
            ("jobs_active", active),
            ("jobs_delayed", timed),
            ("jobs_completed", self.totals.completed),
            ("jobs_failed", self.totals.failed),
            ("jobs_enqueued", self.totals.enqueued),
            ("jobs_retried", self.totals.retried),
            ("jobs_left_out", left),
            ("jobs_bytes", bytes),
            ("queues", self.spaces.len() as u64),
            ("queues_without_ledger", troubled as u64),
            ("job_types_refused", self.refused.len() as u64),
            ("clients_waiting_for_jobs", self.waiters.len() as u64),
            ("batches", self.totals.batches),
            ("batches_in_flight", self.in_flight.len() as u64),
            ("batch_us_max", self.totals.batch_us_max),
        ]
    }

    /// How the appliers' connections are, and what was wrong last.
    pub fn connection(&self) -> (&'static str, Option<&str>) {
        let state = match self.appliers_up {
            None => "not yet",
            Some(true) => "up",
            Some(false) => "down",
        };
        (state, self.appliers_error.as_deref())
    }
}
