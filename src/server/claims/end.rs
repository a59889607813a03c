//! What is written of a claim that ends: the job leaves the stream and whatever else names it, and is recorded; or it waits for
//! its next attempt. One unit each, with whatever else the callback writes.

use std::sync::Arc;
use std::time::Duration;

use smallvec::SmallVec;

use super::leave::Leaving;
use super::space::WorkSpace;
use crate::core::catalog::claim::ClaimSpec;
use crate::core::catalog::Section;
use crate::core::claims::attempts::{AttemptError, Attempts};
use crate::core::claims::keep::{Gone, Rule};
use crate::core::claims::outcome::{self, End, Settled};
use crate::core::claims::queue::{Claim, Facts};
use crate::core::claims::record::{Total, WorkNumbers, WorkOptions, WorkRecord};
use crate::core::events::job::{By, JobEvent};
use crate::core::inbox::tell::Telling;
use crate::core::jobs::job_id::JobId;
use crate::core::jobs::record as job_record;
use crate::keyspace::{claims as keys, inbox, jobs};
use crate::mutations;
use crate::redis_api::{self, Answer, Context};
use crate::server::events::hold;
use crate::server::queues::wall_ms;
use crate::server::Server;

/// Records that go with one that comes, at most.
const TRIMMED: usize = 64;

/// Of a type of which there are many, records are trimmed each time that so many have come.
const UNTRIMMED: u32 = 32;

/// As many are kept to the number.
const FEW: u64 = 1_000;

/// A job that settles.
pub struct Settling {
    pub id: JobId,
    pub ending: Ending,
}

pub enum Ending {
    /// With its result, JSON.
    Completed {
        result: Option<Vec<u8>>,
    },
    Failed {
        error: AttemptError,
    },
}

impl Ending {
    /// What Postgres is told, of a job of the inbox.
    fn telling(&self, attempts: u32) -> Telling {
        match self {
            Ending::Completed { .. } => Telling::Done,
            Ending::Failed { error } => Telling::failed(&error.message, attempts, wall_ms()),
        }
    }

    /// The attempt that failed, and who tried; 0: it was nobody's.
    fn attempt(&self) -> u32 {
        match self {
            Ending::Completed { .. } => 0,
            Ending::Failed { error } => error.attempt,
        }
    }

    fn worker(&self) -> &str {
        match self {
            Ending::Completed { .. } => "",
            Ending::Failed { error } => error.worker.as_deref().unwrap_or_default(),
        }
    }
}

/// What is known of a job that settles, from memory and from its entry.
struct SettledJob {
    id: JobId,
    facts: Facts,
    claim: Option<Claim>,
    attempts: Attempts,
    ending: Ending,
}

impl Server {
    /// Jobs settle that are claimed, or were about to be: waiting or delayed ones of which the caller says that they have failed.
    pub(in crate::server) fn conclude(&mut self, ctx: Context, name: &Arc<str>, settling: Vec<Settling>) {
        let catalog = self.catalog.clone();
        let now_ms = self.claims.now_ms();
        let (completed_max, failed_max) = (self.config.completed_max_bytes as u64, self.config.failed_max_jobs as u64);
        let unique_end = wall_ms() + self.config.unique_ms as u64;
        let claims = &mut self.claims;
        let Some(space) = claims.spaces.get_mut(name) else { return };
        let section = catalog.section(space.section.as_bytes()).map(|(_, section)| section);
        let (mut leaving, count) = (Leaving::default(), settling.len());
        let mut completed: Records = SmallVec::new();
        let mut tellings: SmallVec<[(JobId, Telling); 4]> = SmallVec::new();
        for Settling { id, ending } in settling {
            let Some(facts) = space.settling_facts(ctx, section, id) else { continue };
            let claim = space.queue.settle(id, now_ms);
            if claim.is_none() {
                space.queue.remove(&facts);
            }
            let spec = section
                .and_then(|section| section.claimed_job(facts.name.as_bytes()))
                .map_or(&ClaimSpec::DEFAULT, |of| of.claim);
            let is_failed = matches!(ending, Ending::Failed { .. });
            if id.inbox().is_some() {
                let tried = || space.tried.get(&id).map_or(0, |tried| *tried).max(ending.attempt());
                let attempts = claim.as_ref().map_or_else(tried, |claim| claim.attempt);
                tellings.push((id, ending.telling(attempts)));
            }
            let rule = match is_failed {
                true => Rule::failed(spec.keep_failed, failed_max, completed_max.max(1 << 20)),
                false => Rule::completed(spec.keep, completed_max),
            };
            let is_waited_for = self.queues.waiters.waits_for(name, id);
            self.events.note(name, id, || {
                let of_claim = |claim: &Claim| hold(claim, claims.workers.of(claim.worker).0);
                let tried = space.tried.get(&id).copied().unwrap_or(0).max(ending.attempt());
                let by = claim.as_ref().map_or(By::Attempts(tried), |claim| By::Worker(of_claim(claim)));
                Some((&*facts.name, ending.event(by)))
            });
            if is_failed {
                space.totals.add(Total::Failed, 1);
                claims.since_load.failed += 1;
            } else {
                space.totals.add(Total::Completed, 1);
                claims.since_load.completed += 1;
            }
            space.rate.add(now_ms, 1);
            let keeps = !rule.keeps_nothing();
            if keeps || is_waited_for {
                let attempts = match space.tried.contains_key(&id) {
                    true => keys::get(ctx, &space.keys.attempts, id, Attempts::read).flatten().unwrap_or_default(),
                    false => Attempts::default(),
                };
                let worker = claim.as_ref().map_or("", |claim| claims.workers.of(claim.worker).0);
                let known = SettledJob { id, facts: facts.clone(), claim, attempts, ending };
                let (record, options) = space.record(ctx, &known, worker);
                if is_waited_for {
                    let state = if is_failed { "failed" } else { "completed" };
                    let tries = is_failed.then(|| (options.options(), Some(spec)));
                    let report = super::report::of_record(id, state, &record, tries);
                    let answer = Answer::Value(Arc::new(report));
                    for client in self.queues.waiters.take(name, id) {
                        self.answers.push_back((client, answer.clone()));
                    }
                    redis_api::arm(Duration::ZERO);
                }
                match (keeps, is_failed) {
                    (true, true) => space.write_failed(ctx, &known.facts.name, id, &record, &options),
                    (true, false) => completed.push((known.facts.name.clone(), id, record)),
                    (false, _) => {}
                }
            }
            if !keeps {
                space.forget_log(ctx, id);
            }
            leaving.add(space, id, facts.due_ms.is_some());
            if keeps {
                space.trim_records_now_and_then(ctx, is_failed, &facts.name, rule);
            } else {
                // Its payload was not read: an average.
                space.bytes -= space.bytes / space.jobs.max(1);
            }
        }
        space.write_completed(ctx, &mut completed);
        if section.is_some_and(|section| section.open.is_some()) {
            space.shrink_records(ctx, completed_max);
        }
        self.inbox.settled(ctx, &space.shared, name, &tellings);
        leaving.leave(ctx, space, Some(unique_end));
        space.totals_changed(ctx, now_ms);
        self.events.flush(ctx, count);
    }

    /// The job's definition, as far as it is claimed.
    pub(super) fn claim_spec(&self, name: &Arc<str>, id: JobId) -> ClaimSpec {
        let spec = || {
            let space = self.claims.spaces.get(name)?;
            let (_, section) = self.catalog.section(space.section.as_bytes())?;
            let facts = space.queue.claimed_facts(id)?;
            Some(section.claimed_job(facts.name.as_bytes())?.claim.clone())
        };
        spec().unwrap_or(ClaimSpec::DEFAULT)
    }

    /// ATTEMPTS and BACKOFF that the job was given.
    pub(super) fn options_of(&self, ctx: Context, name: &Arc<str>, id: JobId) -> Option<(Option<u32>, Option<u64>)> {
        let space = self.claims.spaces.get(name)?;
        keys::entry(ctx, &space.keys.work, id, |fields| {
            let options = WorkRecord::read(fields).ok()?.options;
            Some((options.attempts, options.backoff_ms))
        })?
    }

    /// A claimed job failed, and is tried again after some time.
    pub(super) fn retry_claimed(
        &mut self,
        ctx: Context,
        name: &Arc<str>,
        id: JobId,
        error: AttemptError,
        delay_ms: u64,
    ) {
        let now_ms = self.claims.now_ms();
        let Some(space) = self.claims.spaces.get_mut(name) else { return };
        let mut attempts = match space.tried.contains_key(&id) {
            true => keys::get(ctx, &space.keys.attempts, id, Attempts::read).flatten().unwrap_or_default(),
            false => Attempts::default(),
        };
        attempts.add(error);
        let facts = space.queue.claimed_facts(id).filter(|facts| facts.id.inbox().is_some()).cloned();
        space.held.remove(&id);
        space.tried.insert(id, attempts.attempts);
        let _ = keys::set(ctx, &space.keys.attempts, &[(id, &attempts.write())]);
        if !mutations::is("ended-claim-stays") {
            keys::forget(ctx, &space.keys.claims, &[id]);
        }
        let claim = if delay_ms > 0 {
            let due_ms = wall_ms() + delay_ms;
            let _ = keys::delay(ctx, &space.keys.delayed, id, due_ms);
            space.queue.delay(id, due_ms, now_ms)
        } else {
            space.queue.give_back(id, now_ms)
        };
        self.inbox.claim_ended(ctx, space, name, claim.as_ref(), facts.as_ref());
        self.claims.since_load.retried += 1;
        space.totals_changed(ctx, now_ms);
    }

    /// A claimed job fails for good. That of a row may have been completed in Postgres by then, or be about to: until that is known
    /// it waits, and nobody has it.
    pub(super) fn fail_claimed(&mut self, ctx: Context, name: &Arc<str>, id: JobId, error: AttemptError) {
        let now_ms = self.claims.now_ms();
        let Some(row) = id.inbox() else {
            return self.conclude(ctx, name, vec![Settling { id, ending: Ending::Failed { error } }]);
        };
        let Some(space) = self.claims.spaces.get_mut(name) else { return };
        keys::forget(ctx, &space.keys.claims, &[id]);
        space.held.remove(&id);
        inbox::fail(ctx, &space.shared, row, id, &error);
        let facts = space.queue.claimed_facts(id).cloned();
        let claim = space.queue.give_back(id, now_ms);
        self.inbox.claim_ended(ctx, space, name, claim.as_ref(), facts.as_ref());
        space.totals_changed(ctx, now_ms);
    }

    /// The worker gives a job back that it has not done.
    pub(super) fn release_claimed(&mut self, ctx: Context, name: &Arc<str>, id: JobId) {
        let now_ms = self.claims.now_ms();
        let Some(space) = self.claims.spaces.get_mut(name) else { return };
        keys::forget(ctx, &space.keys.claims, &[id]);
        let (queue, workers) = (&space.queue, &self.claims.workers);
        self.events.tell(ctx, name, id, || {
            let hold = queue.claim(id).map(|claim| hold(claim, workers.of(claim.worker).0))?;
            Some((&*queue.claimed_facts(id)?.name, JobEvent::Released { hold }))
        });
        space.held.remove(&id);
        let facts = space.queue.claimed_facts(id).filter(|facts| facts.id.inbox().is_some()).cloned();
        let claim = space.queue.give_back(id, now_ms);
        self.inbox.claim_ended(ctx, space, name, claim.as_ref(), facts.as_ref());
        space.totals.add(Total::Released, 1);
        self.claims.since_load.released += 1;
        if space.totals.get(Total::Released) == 1 {
            // By it a process that begins anew knows that jobs that wait may have a log.
            space.write_totals(ctx);
        }
        space.totals_changed(ctx, now_ms);
    }
}

/// Of completed jobs: type, job, record.
type Records = SmallVec<[(Arc<str>, JobId, Vec<u8>); 1]>;

impl WorkSpace {
    /// Of a job that settles: as the queue knows it, or as its entry says.
    fn settling_facts(&self, ctx: Context, section: Option<&Section>, id: JobId) -> Option<Facts> {
        if let Some(facts) = self.queue.claimed_facts(id) {
            return Some(facts.clone());
        }
        self.entry_facts(ctx, section?, id)
    }

    /// As its entry says.
    pub fn entry_facts(&self, ctx: Context, section: &Section, id: JobId) -> Option<Facts> {
        let updated = match self.updated.contains(&id) {
            true => keys::get(ctx, &self.keys.data, id, |bytes| Box::<[u8]>::from(bytes)),
            false => None,
        };
        keys::entry(ctx, &self.keys.work, id, |fields| {
            let record = WorkRecord::read(fields).ok()?;
            Some(self.facts(section, id, &record, updated.as_deref().unwrap_or(record.data)))
        })?
    }

    /// The record of a job that settles, and what a retry of it is given. Takes its bytes off the queue's.
    fn record(&mut self, ctx: Context, known: &SettledJob, worker: &str) -> (Vec<u8>, OwnedOptions) {
        let id = known.id;
        let updated = match self.updated.contains(&id) {
            true => keys::get(ctx, &self.keys.data, id, |bytes| Box::<[u8]>::from(bytes)),
            false => None,
        };
        let progress = match self.in_progress.contains(&id) {
            true => keys::get(ctx, &self.keys.progress, id, |bytes| Box::<[u8]>::from(bytes)),
            false => None,
        };
        let log = self.log_len(ctx, id);
        let mut out = Vec::with_capacity(256);
        let mut options = OwnedOptions::default();
        let mut cost = 0;
        let mut write = |record: WorkRecord| {
            cost = job_record::cost(record.name, record.data, record.options.unique)
                + updated.as_ref().map_or(0, |data| data.len() as u64);
            let (result, error) = match &known.ending {
                Ending::Completed { result } => (result.as_deref(), None),
                Ending::Failed { error } => (None, Some(error)),
            };
            let of_claim = known.claim.as_ref();
            let settled = Settled {
                job: record.name,
                data: updated.as_deref().unwrap_or(record.data),
                attempts: of_claim.map_or(known.attempts.attempts.max(known.ending.attempt()), |claim| claim.attempt),
                started_ms: of_claim.map(|claim| claim.started_ms),
                finished_ms: wall_ms(),
                worker: if worker.is_empty() { known.ending.worker() } else { worker }.as_bytes(),
                token: of_claim.map(|claim| claim.token),
                priority: record.options.priority,
                result,
                progress: progress.as_deref(),
                log,
                error: error.map(|error| (error.message.as_bytes(), error.stack.as_deref().map(str::as_bytes))),
                errors: &known.attempts.errors,
                earlier: known.attempts.earlier,
            };
            settled.write(if error.is_some() { End::Failed } else { End::Completed }, &mut out);
            options = OwnedOptions {
                priority: record.options.priority,
                attempts: record.options.attempts,
                backoff_ms: record.options.backoff_ms,
                unique: record.options.unique.map(Into::into),
            };
        };
        match self.held.get(&id) {
            Some(held) => write(WorkRecord {
                name: known.facts.name.as_bytes(),
                data: &held.data,
                options: WorkOptions {
                    priority: known.facts.priority,
                    due_ms: None,
                    attempts: held.attempts,
                    backoff_ms: held.backoff_ms,
                    unique: self.uniques.get(&id).map(AsRef::as_ref),
                },
            }),
            None => {
                keys::entry(ctx, &self.keys.work, id, |fields| WorkRecord::read(fields).map(&mut write).ok());
            }
        }
        self.bytes = self.bytes.saturating_sub(cost);
        (out, options)
    }

    pub(super) fn write_failed(&mut self, ctx: Context, kind: &str, id: JobId, record: &[u8], options: &OwnedOptions) {
        let text = id.text();
        let mut numbers = WorkNumbers::default();
        let options = options.options();
        let fields = outcome::failed_fields(kind.as_bytes(), &text, record, &options, &mut numbers);
        if let Some(entry) = jobs::append(ctx, &self.keys.failed, &fields) {
            self.kept_failed.written(entry, &kind.into(), &[id], record.len() as u64, wall_ms());
        }
    }

    /// Entries hold jobs of one type.
    fn write_completed(&mut self, ctx: Context, records: &mut Records) {
        records.sort_by(|(one, ..), (other, ..)| one.cmp(other));
        for group in records.chunk_by(|(one, ..), (other, ..)| one == other) {
            let Some((name, ..)) = group.first() else { continue };
            let texts: SmallVec<[_; 1]> = group.iter().map(|(_, id, _)| id.text()).collect();
            let of_jobs = texts.iter().zip(group).map(|(text, (.., record))| (text, record.as_slice()));
            let fields = outcome::completed_fields(name.as_bytes(), of_jobs);
            if let Some(entry) = jobs::append(ctx, &self.keys.completed, &fields) {
                let ids: SmallVec<[JobId; 1]> = group.iter().map(|(_, id, _)| *id).collect();
                let bytes = group.iter().map(|(.., record)| record.len() as u64).sum();
                self.kept.written(entry, name, &ids, bytes, wall_ms());
            }
        }
    }

    /// The same of many records, some at a time: each by itself would be a command more for each job.
    pub(super) fn trim_records_now_and_then(&mut self, ctx: Context, is_failed: bool, name: &str, rule: Rule) {
        let kept = if is_failed { &self.kept_failed } else { &self.kept };
        self.untrimmed += 1;
        if self.untrimmed >= UNTRIMMED || kept.jobs_of(name) < FEW {
            self.untrimmed = 0;
            self.trim_records(ctx, is_failed, name, rule);
        }
    }

    /// Records of a type go that are kept no longer.
    pub(super) fn trim_records(&mut self, ctx: Context, is_failed: bool, name: &str, rule: Rule) {
        let (kept, key) = match is_failed {
            true => (&mut self.kept_failed, self.keys.failed.clone()),
            false => (&mut self.kept, self.keys.completed.clone()),
        };
        let mut gone = Vec::new();
        kept.trim(name, rule, wall_ms(), TRIMMED, &mut gone);
        self.drop_records(ctx, &key, gone);
    }

    /// Entries of records, and the logs of their jobs.
    pub(super) fn drop_records(&mut self, ctx: Context, key: &[u8], gone: Vec<Gone>) {
        if gone.is_empty() {
            return;
        }
        let entries: Vec<JobId> = gone.iter().map(|gone| gone.entry).collect();
        keys::delete(ctx, key, &entries);
        for id in gone.iter().flat_map(|gone| &gone.jobs) {
            self.forget_log(ctx, *id);
        }
    }

    /// How many lines were ever logged of a job.
    pub(super) fn log_len(&self, ctx: Context, id: JobId) -> u64 {
        match self.logged.get(&id) {
            None => 0,
            // Of an earlier process.
            Some(0) => super::report::log_len(ctx, &self.keys, id),
            Some(count) => *count,
        }
    }

    pub(super) fn forget_log(&mut self, ctx: Context, id: JobId) {
        if self.logged.remove(&id).is_some() {
            self.log_sizes.remove(&id);
            jobs::write(ctx, c"DEL", &[&self.keys.log(id)]);
        }
    }
}

/// What a retry of a failed job is given.
#[derive(Default)]
pub(super) struct OwnedOptions {
    pub(super) priority: u8,
    pub(super) attempts: Option<u32>,
    pub(super) backoff_ms: Option<u64>,
    pub(super) unique: Option<Box<[u8]>>,
}

impl OwnedOptions {
    fn options(&self) -> WorkOptions<'_> {
        WorkOptions {
            priority: self.priority,
            due_ms: None,
            attempts: self.attempts,
            backoff_ms: self.backoff_ms,
            unique: self.unique.as_deref(),
        }
    }
}
