//! The queues of all spaces, as their master sees them.
//!
//! | file | what |
//! |---|---|
//! | `space` | one space's queue: what is in memory of it |
//! | `enqueue` | BEAR.ENQUEUE |
//! | `large` | the same of a large payload, checked aside |
//! | `write` | a job enters its stream |
//! | `unique` | UNIQUE keys, and who holds them |
//! | `dispatch` | jobs are handed to the appliers |
//! | `ahead` | the next ones are read while a batch is in flight |
//! | `reading` | they are read from their stream, in slices |
//! | `settle` | what came of them is published |
//! | `settling` | outcomes on their way there |
//! | `outcomes` | which of them have settled, and when the others are tried again |
//! | `unfit` | what can be no job is recorded as failed |
//! | `unit` | what is written of those that settled |
//! | `changed` | what the changed rows were cached in is dropped |
//! | `refusals` | job types that Postgres refuses |
//! | `waiting` | clients that wait for a job |
//! | `checks` | is it an id, is the key of its type, is the job queued |
//! | `job_reply` | a job as replies show it |
//! | `report` | BEAR.JOB |
//! | `list` | BEAR.JOBS |
//! | `list_source` | what it reads of one stream |
//! | `settled` | records of settled jobs, found where they are known or near |
//! | `search` | and searched, in slices |
//! | `figures` | BEAR.STATS, INFO |
//! | `retry` | BEAR.RETRY |
//! | `control` | BEAR.REMOVE, BEAR.PAUSE, BEAR.RESUME |
//! | `take_out` | jobs leave the queue undone: removed, or cancelled |
//! | `promote` | BEAR.PROMOTE of SQL jobs |
//! | `clean` | BEAR.CLEAN of SQL jobs |
//! | `idle` | queues that have nothing to do leave the memory |
//! | `discover` | queues that an earlier process left are found |
//! | `lifecycle` | what load, promotion, demotion and flushes mean for queues |
//!
//! ```text
//! ENQUEUE -> stream -> (durable: one pass of the loop later) -> batch -> applier -> outcome -> one unit: out of the
//! stream, recorded, caches dropped, waiters answered
//! ```
//!
//! A new option of BEAR.ENQUEUE: `enqueue` (and `large`), `core/jobs/record` where the job keeps it, `space` where memory must know
//! it. A new way for a job to end: `outcomes` sorts it, `unit` writes it, `job_reply` shows it.

mod ahead;
mod changed;
pub(in crate::server) mod checks;
mod clean;
mod control;
mod discover;
mod dispatch;
mod enqueue;
mod figures;
mod idle;
mod job_reply;
mod large;
mod lifecycle;
mod list;
mod list_source;
mod outcomes;
mod promote;
mod reading;
mod refusals;
mod report;
mod retry;
mod search;
mod settle;
mod settled;
mod settling;
mod space;
mod take_out;
mod unfit;
mod unique;
mod unit;
mod waiting;
mod write;

use std::collections::{BTreeSet, VecDeque};
use std::ops::Bound;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use rustc_hash::FxHashMap;

use crate::core::jobs::batch::JobError;
use crate::core::jobs::job_id::JobId;
use crate::core::jobs::refusals::Refusals;
use crate::core::metrics::by_section::BySection;
use crate::core::metrics::histogram::Histogram;
use crate::keyspace::jobs::LEAST_QUEUE_ID;
use crate::redis_api::Scan;

pub use checks::parse_id;
pub use clean::CleanSqlJobs;
pub use enqueue::{
    check_traceparent, due_ms, is_own_past, no_job, no_priority, too_large, EnqueueOptions, JobKind, LARGE,
};
pub use job_reply::{of_record, Claimed, ListedState, Report};
pub use lifecycle::Forgotten;
pub use list::ListRequest;
pub use promote::PromoteSqlJobs;
pub use retry::RetryTarget;
pub use unfit::UnfitJob;
pub use unique::{check_unique, fingerprint, hold_unique, rehold_unique, Unique};

/// Everything about queues but their keys.
pub struct Queues {
    spaces: FxHashMap<Arc<str>, Box<space::SpaceQueue>>,
    /// Their names, for walks in slices.
    names: BTreeSet<Arc<str>>,
    /// Spaces with jobs that were enqueued in this pass of the event loop, and in the one before: by the next tick but
    /// one the AOF has them, under `appendfsync always`, and only then may they reach Postgres.
    fresh: Vec<Arc<str>>,
    aging: Vec<Arc<str>>,
    /// Spaces whose main, or side, lane may have something to do.
    main_turn: VecDeque<Arc<str>>,
    side_turn: VecDeque<Arc<str>>,
    /// When time alone gives a space something to do.
    due: BTreeSet<(u64, Arc<str>)>,
    /// Spaces that are idle, or were, by the time when they are to be looked at.
    idle: VecDeque<(u64, Arc<str>)>,
    /// Which lane was served last, so that they take turns.
    side_is_next: bool,
    building: Option<dispatch::Building>,
    /// The space whose main lane was sent last, and what has been read of it since.
    sent_last: Option<ahead::Place>,
    ahead: Option<ahead::Ahead>,
    /// Batches that appliers have, by their ticket.
    in_flight: FxHashMap<u64, Lives>,
    /// Outcomes to be published, oldest first.
    settling: VecDeque<settling::Settling>,
    pub(super) waiters: waiting::JobWaiters,
    /// Who waited for jobs of which nobody knows any more, and why: they are told a few at a time.
    forgotten: VecDeque<(waiting::JobWaiters, Forgotten)>,
    large: large::LargePayloads,
    /// Job types by number, for the lanes; the numbers live as long as the process.
    kinds: FxHashMap<(Box<str>, Box<[u8]>), u32>,
    /// Types that Postgres refuses for now.
    refusals: Refusals,
    /// The epoch of what is enqueued now.
    epoch: i64,
    /// Counts how often a queue was read from its keys, see [`Lives`].
    lives: u64,
    tickets: u64,
    /// A walk over the database that looks for queues.
    discovery: Option<Scan>,
    /// Of the monotonic milliseconds.
    origin: Instant,
    appliers_up: Option<bool>,
    appliers_error: Option<String>,
    random: ring::rand::SystemRandom,
    pub(super) totals: Totals,
    pub(super) counts: BySection<JobCounts>,
}

/// The spaces of a batch, in its order, each with the life of its queue ([`space::SpaceQueue::life`]) when the batch was
/// sent. A queue whose keys are others by now has another life, and the batch changes it no more.
type Lives = Vec<(Arc<str>, u64)>;

/// Figures since the module was loaded.
#[derive(Debug, Default, Clone, Copy)]
pub struct Totals {
    pub batches: u64,
    pub batch_us_max: u64,
    /// How long batches took.
    pub batch: Histogram,
}

/// What has become of SQL jobs since the module was loaded.
#[derive(Debug, Default, Clone, Copy)]
pub struct JobCounts {
    pub enqueued: u64,
    pub completed: u64,
    pub failed: u64,
    pub retried: u64,
    /// From when they were enqueued, or due, to the batch that settled them.
    pub wait: Histogram,
}

impl Queues {
    pub fn new() -> Queues {
        let mut queues = Queues {
            spaces: FxHashMap::default(),
            names: BTreeSet::new(),
            fresh: Vec::new(),
            aging: Vec::new(),
            main_turn: VecDeque::new(),
            side_turn: VecDeque::new(),
            due: BTreeSet::new(),
            idle: VecDeque::new(),
            side_is_next: false,
            building: None,
            sent_last: None,
            ahead: None,
            in_flight: FxHashMap::default(),
            settling: VecDeque::new(),
            waiters: Default::default(),
            forgotten: VecDeque::new(),
            large: Default::default(),
            kinds: FxHashMap::default(),
            refusals: Refusals::default(),
            epoch: 0,
            lives: 0,
            tickets: 0,
            discovery: None,
            origin: Instant::now(),
            appliers_up: None,
            appliers_error: None,
            random: ring::rand::SystemRandom::new(),
            totals: Totals::default(),
            counts: BySection::default(),
        };
        queues.epoch = queues.random_id();
        queues
    }

    /// Monotonic.
    fn now_ms(&self) -> u64 {
        self.origin.elapsed().as_millis() as u64
    }

    /// A positive number that nobody has drawn before.
    pub fn random_id(&self) -> i64 {
        let mut bytes = [0; 8];
        // It fails only where the system has no randomness at all; the clock is then the best there is.
        if ring::rand::SecureRandom::fill(&self.random, &mut bytes).is_err() {
            let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            bytes = (since.as_nanos() as u64).to_le_bytes();
        }
        (i64::from_le_bytes(bytes) & i64::MAX).max(LEAST_QUEUE_ID)
    }

    /// The epoch of what is written now: another one after each load and promotion.
    pub fn epoch(&self) -> i64 {
        self.epoch
    }

    /// Attempts that failed of a job that is tried again, the last error, and when its time comes.
    pub fn retry_of(&self, name: &Arc<str>, id: JobId) -> Option<(u32, JobError, Option<u64>)> {
        let retry = self.spaces.get(name)?.retries.get(&id)?;
        Some((retry.attempts, retry.error.clone()?, retry.due_ms))
    }

    /// Jobs and bytes that the SQL queue of a space holds.
    pub fn held(&self, name: &str) -> (u64, u64) {
        self.spaces.get(name).map_or((0, 0), |space| (space.jobs, space.bytes))
    }

    pub fn is_in_memory(&self, name: &str) -> bool {
        self.spaces.contains_key(name)
    }

    /// Is it known in memory that the space's queue has an identity?
    pub fn has_identity(&self, name: &str) -> bool {
        self.spaces.get(name).is_some_and(|space| space.id.is_some())
    }

    /// The newest SQL job of a space, if its queue is in memory.
    pub fn newest_of(&self, name: &str) -> Option<JobId> {
        self.spaces.get(name).map(|space| space.newest)
    }

    /// The space in memory that follows another one, or the first.
    pub(super) fn next_space(&self, after: Option<&Arc<str>>) -> Option<(&Arc<str>, &space::SpaceQueue)> {
        let name = match after {
            None => self.names.first()?,
            Some(after) => self.names.range::<str, _>((Bound::Excluded(&**after), Bound::Unbounded)).next()?,
        };
        Some((name, self.spaces.get(name)?))
    }

    fn next_ticket(&mut self) -> u64 {
        self.tickets += 1;
        self.tickets
    }

    fn kind_of(&mut self, section: &str, name: &[u8]) -> u32 {
        let next = self.kinds.len() as u32;
        *self.kinds.entry((section.into(), name.into())).or_insert(next)
    }

    /// Has a space looked at: it may have something to do now, or at some time.
    fn wake(&mut self, name: &Arc<str>) {
        let now_ms = self.now_ms();
        let Some(space) = self.spaces.get_mut(name) else { return };
        if !space.in_main_turn && space.queue.main_from(now_ms).is_some() {
            space.in_main_turn = true;
            self.main_turn.push_back(name.clone());
        }
        let refusals = &mut self.refusals;
        if !space.in_side_turn && space.queue.has_side(now_ms, &|kind| refusals.is_paused(kind, now_ms)) {
            space.in_side_turn = true;
            self.side_turn.push_back(name.clone());
        }
        if !space.in_side_turn && !space.asleep && space.queue.counts().left > 0 {
            space.asleep = refusals.sleep(name, now_ms);
        }
        // What is due already is found when its lane has its turn, which looks again at what is due after that.
        let due = space.queue.next_due().filter(|due| *due > now_ms || !(space.in_main_turn || space.in_side_turn));
        let due = due.map(|due| due.max(now_ms + 1));
        if due != space.due_ms {
            if let Some(old) = space.due_ms.take() {
                self.due.remove(&(old, name.clone()));
            }
            if let Some(due) = due {
                self.due.insert((due, name.clone()));
                space.due_ms = Some(due);
            }
        }
        self.note_idleness(name, now_ms);
    }

    /// When time alone gives anybody something to do.
    fn next_due_ms(&self) -> Option<u64> {
        let first = self.due.first().map(|(due, _)| *due);
        [first, self.refusals.next_due()].into_iter().flatten().min()
    }

    /// Has the spaces looked at whose time has come, until the deadline. True: there are more.
    fn wake_due(&mut self, deadline: Instant) -> bool {
        let now_ms = self.now_ms();
        self.refusals.pass_time(now_ms);
        while let Some((due, name)) = self.due.first().filter(|(due, _)| *due <= now_ms).cloned() {
            self.due.remove(&(due, name.clone()));
            if let Some(space) = self.spaces.get_mut(&name) {
                space.due_ms = None;
            }
            self.wake(&name);
            if Instant::now() >= deadline {
                return self.due.first().is_some_and(|(due, _)| *due <= now_ms);
            }
        }
        false
    }
}

/// Unix time in milliseconds.
pub(in crate::server) fn wall_ms() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

/// Unix time in microseconds.
pub(in crate::server) fn wall_us() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_micros() as u64)
}

/// Unix time in nanoseconds.
pub(in crate::server) fn wall_ns() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64)
}
