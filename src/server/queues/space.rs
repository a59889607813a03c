//! One space's queue: what the master keeps in memory of it. Everything durable is in its keys, and is read from them
//! when the space is first touched.

use std::collections::{BTreeMap, VecDeque};
use std::ops::ControlFlow;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::settling::Settling;
use super::Queues;
use crate::core::jobs::batch::JobError;
use crate::core::jobs::history::History;
use crate::core::jobs::job_id::JobId;
use crate::core::jobs::queue::Queue;
use crate::core::jobs::rate::Rate;
use crate::core::jobs::record::{self, JobOptions, JobRecord, DEFAULT_OPTIONS};
use crate::keyspace::jobs::{self, QueueKeys, LAST};
use crate::keyspace::{claims, watch};
use crate::redis_api::{Context, Direction};

/// Delayed jobs that are looked at to find one that is not.
const DELAYED_PASSED: u32 = 64;

/// Fields of the ledger's hash that are no epochs.
const COMPLETED: &[u8] = b"completed";
const FAILED: &[u8] = b"failed";

pub struct SpaceQueue {
    /// Differs from that of any queue that was in memory before.
    pub life: u64,
    /// How often another hand has touched its jobs or its identity, in this life.
    pub touched: u64,
    pub keys: QueueKeys,
    pub prefix: Box<[u8]>,
    pub queue: Queue,
    /// The queue's identity; None until the first job.
    pub id: Option<i64>,
    /// The ledger's marks of the main lane as they were published, by epoch.
    pub known: BTreeMap<i64, JobId>,
    /// The first job that was read of each epoch, in order.
    pub epochs: Vec<(JobId, i64)>,
    /// The newest job that was added in this pass of the event loop, and in the one before.
    pub fresh: Option<JobId>,
    pub ripe: Option<JobId>,
    /// The newest job that may be applied: `queue` knows of it.
    pub eligible: JobId,
    /// The newest job of all: ids grow, or the epoch changes.
    pub newest: JobId,
    /// Jobs in the main batch in flight.
    pub active: usize,
    /// Jobs in the sorted set of those that wait for a time.
    pub timed: u64,
    /// Jobs in the stream, and their bytes (an estimate for those that an earlier process enqueued).
    pub jobs: u64,
    pub bytes: u64,
    pub paused: bool,
    /// A key of another hand stands where one of the queue's should: nothing is written until it is gone.
    pub wrong_type: Option<String>,
    /// Outcomes that wait for that.
    pub parked: Vec<Settling>,
    pub ledger: Ledger,
    /// The operator has accepted that the ledger is lost: epochs that begin anew, each until it has.
    pub adopt: Vec<i64>,
    /// Totals over the life of the queue.
    pub completed: u64,
    pub failed: u64,
    /// Of jobs with options.
    pub extras: FxHashMap<JobId, Extras>,
    /// Of jobs that failed and are tried again.
    pub retries: FxHashMap<JobId, Retry>,
    /// Removed by hand after they were left out.
    pub forget: Vec<JobId>,
    pub history: History,
    /// Where the records of failed jobs stand that this process wrote: entry and job, oldest first.
    pub failures: VecDeque<(JobId, JobId)>,
    /// Are there older ones?
    pub has_earlier_failures: bool,
    pub rate: Rate,
    pub in_main_turn: bool,
    pub in_side_turn: bool,
    /// Waits for a job type that is refused, see [`crate::core::jobs::refusals`].
    pub asleep: bool,
    /// Its place in [`Queues::due`].
    pub due_ms: Option<u64>,
    /// Since when it has had nothing to do.
    pub idle_since_ms: Option<u64>,
    pub is_in_idle_line: bool,
}

/// What a job was given beside its payload, where that is not the default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extras {
    pub unique: Option<Box<[u8]>>,
    pub due_ms: Option<u64>,
    pub attempts: u32,
    pub backoff_ms: u64,
    pub traceparent: Option<Box<[u8]>>,
}

/// A job that was tried and is to be tried again.
#[derive(Debug, Clone, Default)]
pub struct Retry {
    /// Attempts that counted and failed.
    pub attempts: u32,
    /// How often it was set aside without fault of its own.
    pub isolated: u32,
    /// See [`crate::core::jobs::batch::QueuedJob::ends`].
    pub ends: Option<u32>,
    pub error: Option<JobError>,
    /// Unix time of the next attempt.
    pub due_ms: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ledger {
    /// No batch has come back yet.
    Unknown,
    Ok,
    /// Nothing is applied until the operator resumes.
    Trouble(String),
}

impl Extras {
    pub fn of(options: &JobOptions) -> Option<Extras> {
        (*options != DEFAULT_OPTIONS).then(|| Extras {
            unique: options.unique.map(Into::into),
            due_ms: options.due_ms,
            attempts: options.attempts,
            backoff_ms: options.backoff_ms,
            traceparent: options.traceparent.map(Into::into),
        })
    }

    pub fn options(&self) -> JobOptions<'_> {
        let Extras { unique, due_ms, attempts, backoff_ms, traceparent } = self;
        JobOptions {
            unique: unique.as_deref(),
            due_ms: *due_ms,
            attempts: *attempts,
            backoff_ms: *backoff_ms,
            traceparent: traceparent.as_deref(),
        }
    }
}

impl SpaceQueue {
    /// Reads what the keys say.
    fn load(ctx: Context, prefix: Box<[u8]>, life: u64, now_ms: u64) -> SpaceQueue {
        let keys = QueueKeys::new(&prefix);
        let mut space = SpaceQueue {
            life,
            touched: 0,
            queue: Queue::new(),
            id: None,
            known: BTreeMap::new(),
            epochs: Vec::new(),
            fresh: None,
            ripe: None,
            eligible: JobId::ZERO,
            newest: JobId::ZERO,
            active: 0,
            timed: 0,
            jobs: jobs::len(ctx, &keys.jobs),
            bytes: 0,
            paused: jobs::read_integer(ctx, c"EXISTS", &[&keys.paused]) == Some(1),
            wrong_type: keys.wrong_type(ctx),
            parked: Vec::new(),
            ledger: Ledger::Unknown,
            adopt: Vec::new(),
            completed: 0,
            failed: 0,
            extras: FxHashMap::default(),
            retries: FxHashMap::default(),
            forget: Vec::new(),
            history: History::default(),
            failures: VecDeque::new(),
            has_earlier_failures: jobs::len(ctx, &keys.failed) > 0,
            rate: Rate::default(),
            in_main_turn: false,
            in_side_turn: false,
            asleep: false,
            due_ms: None,
            idle_since_ms: None,
            is_in_idle_line: false,
            keys,
            prefix,
        };
        space.id = jobs::read_text(ctx, c"GET", &[&space.keys.id]).and_then(|id| parse(&id)).filter(|id| *id > 0);
        for pair in jobs::read_texts(ctx, c"HGETALL", &[&space.keys.ledger]).chunks(2) {
            let [field, value] = pair else { continue };
            match field.as_ref() {
                COMPLETED => space.completed = parse(value).unwrap_or(0),
                FAILED => space.failed = parse(value).unwrap_or(0),
                epoch => {
                    if let (Some(epoch), Some(mark)) = (parse(epoch), JobId::parse(value)) {
                        space.known.insert(epoch, mark);
                    }
                }
            }
        }
        if space.jobs > 0 {
            if let Some(newest) = jobs::newest(ctx, &space.keys.jobs) {
                space.queue.added(newest);
                space.newest = newest;
                space.eligible = newest;
            }
            space.bytes = memory_of(ctx, &space.keys.jobs);
            space.timed =
                jobs::read_integer(ctx, c"ZCARD", &[&space.keys.delayed]).map_or(0, |count| count.max(0) as u64);
            if space.id.is_none() {
                let text =
                    "LEDGER the queue's identity (its key …:queue:id) is gone, so that nobody can tell which of \
                            its jobs are applied; BEAR.RESUME counts all of them as not applied";
                space.ledger = Ledger::Trouble(text.to_owned());
            }
        }
        if jobs::len(ctx, &space.keys.completed) > 0 {
            space.history.found(memory_of(ctx, &space.keys.completed), now_ms);
        }
        space
    }

    /// Jobs have left the stream by hand.
    pub fn recount(&mut self, ctx: Context) {
        let before = self.jobs;
        self.jobs = jobs::len(ctx, &self.keys.jobs);
        if self.jobs < before {
            self.bytes = if self.jobs == 0 { 0 } else { self.bytes.min(memory_of(ctx, &self.keys.jobs)) };
        }
    }

    /// May its jobs be applied?
    pub fn may_drain(&self) -> bool {
        !self.paused && self.wrong_type.is_none() && !matches!(self.ledger, Ledger::Trouble(_))
    }

    /// Is it paused with LEDGER?
    pub fn is_without_ledger(&self) -> bool {
        matches!(self.ledger, Ledger::Trouble(_))
    }

    /// Jobs and batches in flight.
    pub fn in_flight(&self) -> (usize, usize) {
        let side = self.queue.counts().active;
        (self.active + side, usize::from(self.active > 0) + usize::from(side > 0))
    }

    /// Since when a job could have been applied, as far as its times go, in Unix time.
    pub fn due_or_enqueued_ms(&self, id: JobId) -> u64 {
        let due = self.extras.get(&id).and_then(|extras| extras.due_ms);
        let again = self.retries.get(&id).and_then(|retry| retry.due_ms);
        [due, again].into_iter().flatten().fold(id.ms, u64::max)
    }

    /// Since when the oldest job has waited that waits for nothing but its turn, in Unix time.
    pub fn waiting_since_ms(&self, ctx: Context, now_ms: u64) -> Option<u64> {
        let left_out = self.queue.first_ready().map(|id| self.due_or_enqueued_ms(id)).min();
        [left_out, self.unread_since_ms(ctx, now_ms)].into_iter().flatten().min()
    }

    /// The same of those that the main lane has not read yet; of delayed ones that stand before them only some are passed over.
    fn unread_since_ms(&self, ctx: Context, now_ms: u64) -> Option<u64> {
        let (mut since, mut looks) = (None, 0);
        jobs::walk(ctx, &self.keys.jobs, Direction::Forward, (self.queue.first_unread()?, LAST), &mut |id, fields| {
            looks += 1;
            let due = JobRecord::read(fields).ok().and_then(|record| record.options.due_ms);
            let is_undue = due.is_some_and(|due| due > now_ms) && claims::due_ms(ctx, &self.keys.delayed, id).is_some();
            if !is_undue {
                since = Some(due.unwrap_or(0).min(now_ms).max(id.ms));
            }
            if is_undue && looks < DELAYED_PASSED {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        });
        since
    }

    /// The epoch of a job that was read.
    pub fn epoch_of(&self, id: JobId) -> Option<i64> {
        let after = self.epochs.partition_point(|(first, _)| *first <= id);
        self.epochs[..after].last().map(|(_, epoch)| *epoch)
    }

    /// Notes the epoch of a job that is read.
    pub fn note_epoch(&mut self, id: JobId, epoch: i64) {
        if self.epochs.last().is_none_or(|(first, last)| *last != epoch && *first < id) {
            self.epochs.push((id, epoch));
        }
    }

    /// Epochs of which no job is left: what is known of their ledgers is needed no more.
    pub fn take_dead_epochs(&mut self) -> Vec<i64> {
        let first = self.queue.first_unsettled();
        while self.epochs.len() > 1 && self.epochs[1].0 <= first {
            self.epochs.remove(0);
        }
        let Some((_, oldest_alive)) = self.epochs.first() else { return Vec::new() };
        let alive = |epoch: &i64| epoch == oldest_alive || self.epochs.iter().any(|(_, known)| known == epoch);
        // Only once something of a living epoch is known: else nothing would tell a lost ledger.
        if !self.known.keys().any(alive) {
            return Vec::new();
        }
        let dead: Vec<i64> = self.known.keys().filter(|epoch| !alive(epoch)).copied().collect();
        for epoch in &dead {
            self.known.remove(epoch);
        }
        dead
    }

    /// What the ledger's hash is to say of an epoch, and the totals.
    pub fn ledger_fields(&self, epoch: i64) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut fields = vec![
            (COMPLETED.to_vec(), self.completed.to_string().into_bytes()),
            (FAILED.to_vec(), self.failed.to_string().into_bytes()),
        ];
        if let Some(mark) = self.known.get(&epoch) {
            fields.push((epoch.to_string().into_bytes(), mark.to_string().into_bytes()));
        }
        fields
    }

    /// The time at which a job that was left out before may be tried, and what is known of its attempts.
    pub fn recall(&mut self, ctx: Context, id: JobId) -> Option<u64> {
        let field = id.to_string();
        let record = jobs::read_text(ctx, c"HGET", &[&self.keys.attempts, field.as_bytes()]);
        let due = jobs::read_text(ctx, c"ZSCORE", &[&self.keys.delayed, field.as_bytes()]);
        let due_ms = due.and_then(|due| std::str::from_utf8(&due).ok()?.parse::<f64>().ok()).map(|due| due as u64);
        if let Some((attempts, error)) = record.as_deref().and_then(record::read_attempt) {
            self.retries.insert(id, Retry { attempts, error: Some(error), due_ms, ..Retry::default() });
        }
        due_ms
    }
}

fn parse<T: std::str::FromStr>(text: &[u8]) -> Option<T> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

fn memory_of(ctx: Context, key: &[u8]) -> u64 {
    jobs::read_integer(ctx, c"MEMORY", &[b"USAGE", key]).map_or(0, |bytes| bytes.max(0) as u64)
}

impl Queues {
    /// The space's queue, read from its keys at the first touch.
    pub fn space(&mut self, ctx: Context, name: &str, prefix: &[u8]) -> &mut SpaceQueue {
        if !self.spaces.contains_key(name) {
            if watch::has_queue_notes() {
                // Perhaps of this one: its ids may begin anew.
                self.epoch = self.random_id();
            }
            self.lives += 1;
            let loaded = SpaceQueue::load(ctx, prefix.into(), self.lives, self.now_ms());
            let name: Arc<str> = name.into();
            self.names.insert(name.clone());
            self.spaces.insert(name.clone(), Box::new(loaded));
            self.wake(&name);
        }
        self.spaces.get_mut(name).expect("inserted above where it was missing")
    }

    /// Is it the queue that a batch was sent for?
    pub(super) fn is_alive(&self, name: &str, life: Option<u64>) -> bool {
        self.spaces.get(name).is_some_and(|space| Some(space.life) == life)
    }

    /// Drops what is in memory of a space.
    pub(super) fn forget_space(&mut self, name: &str) {
        self.names.remove(name);
        if let Some(space) = self.spaces.remove(name) {
            if let Some(due) = space.due_ms {
                self.due.remove(&(due, name.into()));
            }
            // Its turns come to nothing, or to a later life of it.
        }
    }
}
