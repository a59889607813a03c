//! Claimed jobs of one space: what the master keeps in memory of them. Everything durable is in the keys, and is read from
//! them when the space is first touched, in slices ([`super::load`]).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::ahead::{Ahead, HeldJob};
use super::loading::Loading;
use crate::core::catalog::Section;
use crate::core::claims::facts::PayloadFacts;
use crate::core::claims::keep::Kept;
use crate::core::claims::queue::{Facts, Queue};
use crate::core::claims::record::{Totals, WorkRecord};
use crate::core::claims::seen::Seen;
use crate::core::claims::set_limits::SetLimits;
use crate::core::claims::token::Tokens;
use crate::core::jobs::job_id::JobId;
use crate::core::jobs::rate::Rate;
use crate::keyspace::claims::WorkKeys;
use crate::keyspace::jobs::QueueKeys;
use crate::mutations;

pub struct WorkSpace {
    /// The section's name: where claimers of any space of it look.
    pub section: Arc<str>,
    pub keys: WorkKeys,
    /// The queue's identity stands.
    pub has_id: bool,
    /// What SQL jobs of the space have, too.
    pub shared: QueueKeys,
    pub prefix: Box<[u8]>,
    pub queue: Queue,
    /// It is still being read.
    pub loading: Option<Loading>,
    /// The greatest id that a job of it was given.
    pub newest: JobId,
    pub jobs: u64,
    pub bytes: u64,
    pub tokens: Tokens,
    /// Are there tenants, whose spaces take turns?
    pub takes_turns: bool,
    /// Are there records that grow too old?
    pub ages: bool,
    /// Attempts of jobs that failed and are tried again.
    pub tried: BTreeMap<JobId, u32>,
    /// Payloads of claimed jobs, for the records of those that are acknowledged: to read each again would cost more than to
    /// write it. Only small ones, and not of many.
    pub held: BTreeMap<JobId, HeldJob>,
    pub ahead: Ahead,
    /// Jobs that hold a UNIQUE key.
    pub uniques: BTreeMap<JobId, Box<[u8]>>,
    /// Jobs with another payload than their entry says.
    pub updated: BTreeSet<JobId>,
    pub in_progress: BTreeSet<JobId>,
    /// Jobs of the inbox that are withheld: those that were read from the keys, until it is known that their rows are open; and
    /// those whose last claim, or being tried again, is to be told to Postgres.
    pub unverified: BTreeSet<JobId>,
    pub untold: BTreeSet<JobId>,
    /// Rows and jobs of which their hash does not know, though it should.
    pub unlinked: Vec<(u64, JobId)>,
    /// How many lines were ever logged of a job.
    pub logged: BTreeMap<JobId, u64>,
    /// Of the logs that this process has written to: what they hold.
    pub log_sizes: BTreeMap<JobId, LogSize>,
    pub kept: Kept,
    pub kept_failed: Kept,
    pub totals: Totals,
    /// As the key says, which follows a little later.
    pub totals_written: Totals,
    pub totals_changed: bool,
    pub totals_written_ms: u64,
    pub totals_awaited: bool,
    /// What BEAR.LIMITQUEUE has set.
    pub set_limits: SetLimits,
    pub rate: Rate,
    /// When somebody claimed or told something last, in monotonic ms, by worker.
    pub seen: Seen,
    /// Words of workers who did not hold their job any more, since this process read the space first.
    pub lost: u64,
    /// Lines of spaces that it has left because its limit or a pause kept it from giving anything.
    pub left_turns: BTreeSet<Option<Arc<str>>>,
    /// A key of another hand stands where one of its own should: nothing is written until it is gone.
    pub wrong_type: Option<String>,
    /// Its places in the lists of times.
    pub next_ms: Option<u64>,
    pub next_due_ms: Option<u64>,
    pub is_dirty: bool,
    pub idle_since_ms: Option<u64>,
    /// Records that came since old ones were trimmed.
    pub untrimmed: u32,
    /// Starts in its key since the old ones were trimmed.
    pub started_untrimmed: u32,
}

/// What a job's log holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LogSize {
    pub lines: u64,
    pub bytes: u64,
}

/// Are there jobs that are applied as SQL?
pub fn has_sql_jobs(section: &Section) -> bool {
    section.jobs.iter().any(|job| job.claim().is_none())
}

impl WorkSpace {
    pub fn new(prefix: &[u8], section: Arc<str>) -> WorkSpace {
        WorkSpace {
            section,
            keys: WorkKeys::new(prefix),
            has_id: false,
            shared: QueueKeys::new(prefix),
            prefix: prefix.into(),
            queue: Queue::default(),
            loading: None,
            newest: JobId::ZERO,
            jobs: 0,
            bytes: 0,
            tokens: Tokens::default(),
            takes_turns: false,
            ages: false,
            tried: BTreeMap::new(),
            held: BTreeMap::new(),
            ahead: Ahead::default(),
            uniques: BTreeMap::new(),
            updated: BTreeSet::new(),
            in_progress: BTreeSet::new(),
            unverified: BTreeSet::new(),
            untold: BTreeSet::new(),
            unlinked: Vec::new(),
            logged: BTreeMap::new(),
            log_sizes: BTreeMap::new(),
            kept: Kept::default(),
            kept_failed: Kept::default(),
            totals: Totals::default(),
            totals_written: Totals::default(),
            totals_changed: false,
            totals_written_ms: 0,
            totals_awaited: false,
            set_limits: SetLimits::default(),
            rate: Rate::default(),
            seen: Seen::default(),
            lost: 0,
            left_turns: BTreeSet::new(),
            wrong_type: None,
            next_ms: None,
            next_due_ms: None,
            is_dirty: false,
            idle_since_ms: None,
            untrimmed: 0,
            started_untrimmed: 0,
        }
    }

    /// A job that waits is not handed out until Postgres is told of its last claim.
    pub fn withhold_untold(&mut self, facts: &Facts) {
        self.untold.insert(facts.id);
        self.queue.withhold(facts);
    }

    /// Postgres has been told, or has said that its row is open.
    pub fn let_out(&mut self, id: JobId) {
        if !self.untold.contains(&id) && !self.unverified.contains(&id) {
            self.queue.let_out(id);
        }
    }

    /// Are its jobs, claims and starts known? Before, nothing is handed out.
    pub fn is_loaded(&self) -> bool {
        self.loading.as_ref().is_none_or(Loading::knows_jobs)
    }

    /// What the queue must know of a job with this payload.
    pub fn facts(&self, section: &Section, id: JobId, record: &WorkRecord, data: &[u8]) -> Facts {
        let name = String::from_utf8_lossy(record.name);
        let job = section.claimed_job(record.name).and_then(|of| of.job);
        let by = self.queue.limits().by.as_ref().map(|(field, _)| &**field);
        let of_payload = PayloadFacts::read(section, job, by, data);
        Facts {
            id,
            name: self.queue.ready().name(&name),
            priority: record.options.priority,
            orders: of_payload.order.into_iter().filter(|_| !mutations::is("no-order")).collect(),
            group: of_payload.group,
            due_ms: record.options.due_ms,
        }
    }

    /// Is everything that is known of it in its keys, and nothing to be done?
    pub fn is_idle(&self) -> bool {
        let has_old = self.ages && !(self.kept.is_empty() && self.kept_failed.is_empty());
        self.jobs == 0 && self.loading.is_none() && !self.is_dirty && !self.totals_changed && !has_old
    }
}
