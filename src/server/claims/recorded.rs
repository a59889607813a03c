//! What is kept of a job that has settled: its record is written, and those go of which there are too many.

use std::sync::Arc;

use smallvec::SmallVec;

use super::ending::Ending;
use super::space::WorkSpace;
use crate::core::claims::attempts::Attempts;
use crate::core::claims::keep::{Gone, Rule};
use crate::core::claims::outcome::{self, End, Settled};
use crate::core::claims::queue::{Claim, Facts};
use crate::core::claims::record::{WorkNumbers, WorkOptions, WorkRecord};
use crate::core::jobs::job_id::JobId;
use crate::core::jobs::record as job_record;
use crate::core::values::priority::Priority;
use crate::keyspace::{claims as keys, jobs};
use crate::redis_api::Context;
use crate::server::queues::wall_ms;

/// Records that go with one that comes, at most.
const TRIMMED: usize = 64;

/// Of a type of which there are many, records are trimmed each time that so many have come.
const UNTRIMMED: u32 = 32;

/// As many are kept to the number.
const FEW: u64 = 1_000;

/// What is known of a job that settles, from memory and from its entry.
pub(super) struct SettledJob {
    pub(super) id: JobId,
    pub(super) facts: Facts,
    pub(super) claim: Option<Claim>,
    pub(super) attempts: Attempts,
    pub(super) ending: Ending,
}

/// Of completed jobs: type, job, record.
pub(super) type Records = SmallVec<[(Arc<str>, JobId, Vec<u8>); 1]>;

impl WorkSpace {
    /// The record of a job that settles, and what a retry of it is given. Takes its bytes off the queue's.
    pub(super) fn record(&mut self, ctx: Context, known: &SettledJob, worker: &str) -> (Vec<u8>, OwnedOptions) {
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
                traceparent: record.options.traceparent.map(Into::into),
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
                    traceparent: held.traceparent.as_deref(),
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
    pub(super) fn write_completed(&mut self, ctx: Context, records: &mut Records) {
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
    pub(super) priority: Priority,
    pub(super) attempts: Option<u32>,
    pub(super) backoff_ms: Option<u64>,
    pub(super) unique: Option<Box<[u8]>>,
    pub(super) traceparent: Option<Box<[u8]>>,
}

impl OwnedOptions {
    pub(super) fn options(&self) -> WorkOptions<'_> {
        WorkOptions {
            priority: self.priority,
            due_ms: None,
            attempts: self.attempts,
            backoff_ms: self.backoff_ms,
            unique: self.unique.as_deref(),
            traceparent: self.traceparent.as_deref(),
        }
    }
}
