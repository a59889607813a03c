//! Jobs that workers claim, as their master sees them.
//!
//! | file | what |
//! |---|---|
//! | `space` | one space's claimed jobs: what is in memory of them |
//! | `load` | when that is read from the keys, and who waits for it |
//! | `loading` | how far it has come |
//! | `read_keys` | what each entry of the keys says |
//! | `enqueue` | BEAR.ENQUEUE of a claimed job |
//! | `claim` | BEAR.CLAIM |
//! | `ahead` | the entry of a job that is claimed, and those behind it, are read |
//! | `hand_out` | the first job that may be begun becomes a claim |
//! | `serve` | clients that wait for a job, and spaces that take turns |
//! | `settle` | BEAR.ACK, BEAR.FAIL, BEAR.RELEASE |
//! | `end` | what is written of a claim that ends |
//! | `ending` | how a job settles |
//! | `unfit` | what can be no job is recorded as failed |
//! | `recorded` | its record is written, and old ones go |
//! | `leave` | out of the stream, and of whatever else names the job |
//! | `told` | what is published of them |
//! | `totals` | what has happened since the queue began |
//! | `lease` | BEAR.EXTEND, and leases that end |
//! | `promote` | BEAR.PROMOTE |
//! | `age` | records that grow too old |
//! | `remove` | BEAR.REMOVE: jobs leave the queue undone |
//! | `clean` | BEAR.CLEAN |
//! | `cancel` | BEAR.CANCEL |
//! | `update` | BEAR.UPDATE |
//! | `limits` | BEAR.LIMITQUEUE |
//! | `logs` | BEAR.LOG, BEAR.LOGS |
//! | `report` | a claimed job as replies show it |
//! | `index` | which jobs are in a state |
//! | `records` | records of settled jobs: found, and taken away |
//! | `figures` | BEAR.STATS, INFO |
//! | `workers` | who has claimed something lately |
//! | `lifecycle` | ticks; what load, promotion, demotion, flushes and other hands mean |
//!
//! ```text
//! enqueue, load ──> WorkSpace.queue ──> claim, serve ──> hand_out: a claim ──> settle, lease ──> end ──> leave, records
//!                       ^      ^                                                                  │
//! promote, update, limits      └─────────────── tried again, given back ─────────────────────────┘
//! ```
//! **Words.** *Work* is the claimed jobs of a space, as its keys and INFO call them. A *claimed job* is one that workers claim,
//! whether anybody holds it or not; a *claim* is a worker's hold of one; a *claimer* is a client in BEAR.CLAIM.
//!
//! **Invariants.** What is in memory is derived from the keys. What a callback writes of a job is one unit. A key that another
//! hand has put in place of ours (`wrong_type`) is not written to. Whatever may free a job calls [`Server::claims_changed`].
//!
//! **A new command** is a method of `Server` in a file of its own here: `work_named` or `claim_named` reads its words, `when_loaded`
//! runs it once the jobs are known, `claims_changed` follows if it may have freed one. **A new key**: `WorkKeys`, `read_keys`,
//! `leave`. **A new state**: `core/claims/queue` first, whose model tries every order; then `read_keys`, `report`, `index`.
//!
//! Ids, tokens and JSON come as the words that they were sent as, and are checked here; numbers and options have been
//! checked against their bounds (`src/commands/`).

mod age;
mod ahead;
mod cancel;
mod claim;
mod clean;
mod end;
mod ending;
mod enqueue;
mod figures;
mod hand_out;
mod index;
mod lease;
mod leave;
mod lifecycle;
mod limits;
mod load;
mod loading;
mod logs;
mod promote;
mod read_keys;
mod recorded;
mod records;
mod remove;
mod report;
mod serve;
mod settle;
mod space;
mod told;
mod totals;
mod unfit;
mod update;
mod workers;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;
use std::sync::Arc;
use std::time::Instant;

pub use claim::ClaimRequest;
pub use ending::{Ending, Settling};
pub use limits::LimitRequest;
pub use promote::PromoteTarget;
pub use records::{SettledWork, WorkSearch};
pub use settle::FailRequest;
pub use space::WorkSpace;

use crate::core::claims::claimers::Claimers;
use crate::core::claims::queue::Claim;
use crate::core::claims::turns::Turns;
use crate::core::metrics::by_section::BySection;
use crate::core::metrics::histogram::Histogram;
use crate::server::queues::wall_us;

/// Everything about claimed jobs but their keys. Trees, for maps would hold the thread whenever they grow.
pub struct Claims {
    spaces: BTreeMap<Arc<str>, Box<space::WorkSpace>>,
    /// The greatest token that was handed out, of any space.
    greatest_token: u64,
    claimers: Claimers,
    waiting: serve::WaitingClaimers,
    turns: Turns,
    workers: workers::Workers,
    /// Spaces of which something may be handed out to who waits.
    dirty: VecDeque<Arc<str>>,
    /// A tick was asked for because of them; and the last one served them alone.
    is_waking: bool,
    was_at_once: bool,
    /// Spaces that are being read.
    loading: VecDeque<Arc<str>>,
    /// Spaces whose definitions have changed.
    redefined: Vec<Arc<str>>,
    /// Spaces whose totals are to be written, and when.
    unwritten_totals: Vec<Arc<str>>,
    totals_due_ms: u64,
    /// When time gives a space something to do: monotonic, and Unix time.
    next_ms: BTreeSet<(u64, Arc<str>)>,
    next_due: BTreeSet<(u64, Arc<str>)>,
    /// The monotonic time of the last tick.
    ticked_ms: u64,
    /// The times for which a tick was armed since the last one.
    armed: (Option<u64>, Option<u64>),
    /// Spaces that had nothing to do, by the time when they are to be looked at.
    idle: VecDeque<(u64, Arc<str>)>,
    /// When records are looked at that may have grown too old, and the space that was looked at last.
    age_ms: u64,
    aged: Option<Arc<str>>,
    /// Of the monotonic milliseconds.
    origin: Instant,
    /// Since when the server allows no writes.
    paused_since: Option<Instant>,
    pub(super) counts: BySection<WorkCounts>,
}

/// What has become of claimed jobs since the module was loaded.
#[derive(Debug, Default, Clone, Copy)]
pub struct WorkCounts {
    pub enqueued: u64,
    pub claimed: u64,
    pub completed: u64,
    pub failed: u64,
    pub retried: u64,
    pub released: u64,
    pub expired: u64,
    pub lost: u64,
    /// From when they were enqueued, or due, to their first claim.
    pub wait: Histogram,
    /// From a claim to its end.
    pub claim: Histogram,
}

impl WorkCounts {
    /// `now_ms`: Unix time.
    fn claim_ended(&mut self, claim: Option<&Claim>, now_ms: u64) {
        if let Some(claim) = claim {
            self.claim.record_ms(now_ms.saturating_sub(claim.started_ms));
        }
    }
}

/// The first monotonic millisecond, so that what was begun before the process stands before it.
const BEGIN_MS: u64 = 1 << 40;

/// How often both clocks are looked at again where the thread was put aside between them.
const MOMENT_LOOKS: usize = 8;

impl Claims {
    pub fn new() -> Claims {
        Claims {
            spaces: BTreeMap::new(),
            greatest_token: 0,
            claimers: Claimers::default(),
            waiting: Default::default(),
            turns: Turns::default(),
            workers: Default::default(),
            dirty: VecDeque::new(),
            is_waking: false,
            was_at_once: false,
            loading: VecDeque::new(),
            redefined: Vec::new(),
            unwritten_totals: Vec::new(),
            totals_due_ms: 0,
            next_ms: BTreeSet::new(),
            next_due: BTreeSet::new(),
            ticked_ms: 0,
            armed: (None, None),
            idle: VecDeque::new(),
            age_ms: 0,
            aged: None,
            origin: Instant::now(),
            paused_since: None,
            counts: BySection::default(),
        }
    }

    /// Monotonic: leases and rates run by it.
    fn now_ms(&self) -> u64 {
        let until = self.paused_since.unwrap_or_else(Instant::now);
        BEGIN_MS + until.saturating_duration_since(self.origin).as_millis() as u64
    }

    /// The monotonic time, and Unix microseconds of the same moment. Starts are limited by the one and kept by the other, so that
    /// a thread that was put aside between the two would have rates count from another moment after a restart.
    fn moment(&self) -> (u64, u64) {
        let mut moment = (self.now_ms(), wall_us());
        for _ in 0..MOMENT_LOOKS {
            if self.now_ms() <= moment.0 + 1 {
                break;
            }
            moment = (self.now_ms(), wall_us());
        }
        moment
    }

    /// The space in memory that follows another one, or the first.
    pub(super) fn next_space(&self, after: Option<&Arc<str>>) -> Option<(&Arc<str>, &WorkSpace)> {
        let from = after.map_or(Bound::Unbounded, |after| Bound::Excluded(&**after));
        self.spaces.range::<str, _>((from, Bound::Unbounded)).next().map(|(name, space)| (name, &**space))
    }

    /// The space in memory that follows another one.
    pub fn name_after(&self, name: &str) -> Option<Arc<str>> {
        let after = (Bound::Excluded(name), Bound::Unbounded);
        self.spaces.range::<str, _>(after).next().map(|(name, _)| name.clone())
    }

    /// What is in memory of a space.
    pub fn space_of(&mut self, name: &str) -> Option<(Arc<str>, &mut WorkSpace)> {
        let name = self.spaces.get_key_value(name)?.0.clone();
        let space = self.spaces.get_mut(&name)?;
        Some((name, space))
    }

    fn instant(&self, ms: u64) -> Instant {
        self.origin + std::time::Duration::from_millis(ms.saturating_sub(BEGIN_MS))
    }
}
