//! What an applier is given and what it brings back: plain data between the layers.
//!
//! One batch is one transaction. It holds jobs of one space or of many, each space with its own place in the ledger.
//!
//! - **Main lane**: jobs that are read from the stream for the first time, in the order of their ids. The ledger's mark
//!   moves over them: every job of the epoch up to the mark has been settled, but for those that are *left out*, each
//!   of which is a row of its own.
//! - **Side lane**: jobs that were left out and may now be applied; their rows go in the transaction that settles them.

use std::sync::Arc;

use rustc_hash::FxHashSet;
use smallvec::SmallVec;

use super::job_id::JobId;
use super::traceparent;
use crate::core::catalog::Section;
use crate::core::changes::change::Present;
use crate::core::feed::promise::Promised;
use crate::core::feed::promised_rows::{Ids, PromisedRows};
use crate::core::feed::Tenant;

/// Hashes of the values that keep a job's order: two jobs that share one are applied in the order of their ids. A
/// collision only orders jobs that need not be.
pub type OrderKeys = SmallVec<[u64; 2]>;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Lane {
    Main,
    Side,
}

/// Jobs to be applied in one transaction.
#[derive(Debug)]
pub struct Batch {
    /// The caller's own number, brought back with the outcome.
    pub ticket: u64,
    /// Random. The transaction writes it to the ledger, so that one whose COMMIT had no answer is recognized.
    pub token: i64,
    pub lane: Lane,
    /// Of the catalog in use.
    pub sections: Arc<[Section]>,
    /// Is the server one of a cluster? Then jobs change rows of sections in their own slot alone.
    pub in_cluster: bool,
    /// Each space once.
    pub spaces: Vec<SpaceBatch>,
    /// Job types that Postgres refuses for now (class 42): their jobs are left out. Section, and job within it.
    pub paused: Vec<(usize, usize)>,
    /// The trace of its first job that has one: Postgres shows it while the batch is applied.
    pub traceparent: Option<Box<str>>,
    pub limits: Limits,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How long a statement of several jobs waits for a row that somebody else holds.
    pub lock_timeout_ms: u64,
    /// How long a statement may take.
    pub statement_timeout_ms: u64,
    /// A longer `result` of a job is an error of the job, in bytes.
    pub max_result_bytes: usize,
    /// Ledger rows that were not touched for so long may be gone.
    pub keep_days: u32,
}

impl Batch {
    /// Of one of its jobs. In a stream another hand may have written anything.
    pub fn note_trace(&mut self, text: Option<&[u8]>) {
        if let (None, Some(text)) = (&self.traceparent, text.filter(|text| traceparent::check(text).is_ok())) {
            self.traceparent = std::str::from_utf8(text).ok().map(Into::into);
        }
    }
}

/// The jobs of one space in a batch.
#[derive(Debug, Clone)]
pub struct SpaceBatch {
    /// As the commands name it: `bear`, `{7}:shop`.
    pub space: Arc<str>,
    /// Index into [`Batch::sections`].
    pub section: usize,
    pub tenant: Option<Arc<str>>,
    /// The queue's identity and the epoch of all these jobs: the ledger's key.
    pub queue: i64,
    pub epoch: i64,
    /// Did the epoch begin in this process? Then a ledger without it is as it should be.
    pub own_epoch: bool,
    /// The ledger's mark as Redis knows it; the ledger must have it or a later one.
    pub known: Option<JobId>,
    /// The operator has said that whatever is still in the queue counts as not applied: the ledger begins anew.
    pub adopt: bool,
    /// Order values of jobs that were left out earlier and hold their place: jobs that share one are left out, too.
    /// Only in the main lane.
    pub blocked: FxHashSet<u64>,
    /// Are there such jobs at all? A barrier cannot pass them.
    pub any_blocked: bool,
    /// In the order of their ids.
    pub jobs: Vec<QueuedJob>,
    /// Whatever job before this one has failed has been published as failed.
    pub published: JobId,
    /// Jobs that were left out and removed since: their rows may go.
    pub forget: Vec<JobId>,
}

impl SpaceBatch {
    /// Jobs whose time has come; the others are only taken note of.
    pub fn due(&self) -> usize {
        self.jobs.iter().filter(|job| !job.undue).count()
    }
}

/// A job as it stands in the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueuedJob {
    pub id: JobId,
    /// Of the job in the catalog.
    pub name: Box<[u8]>,
    /// The payload, JSON.
    pub data: Box<[u8]>,
    /// Attempts that have failed so far.
    pub attempts: u32,
    /// With this many it fails for good.
    pub max_attempts: u32,
    /// Is its time still to come? Then it is left out without being looked at.
    pub undue: bool,
    /// Was it set aside because a connection ended under it, and how often has it been seen to end one? See
    /// [`super::suspects`].
    pub ends: Option<u32>,
}

/// What came of a batch.
#[derive(Debug, Clone)]
pub struct Applied {
    /// In the order of [`Batch::spaces`].
    pub spaces: Vec<SpaceApplied>,
    /// To be kept when all of them are published.
    pub promised: Option<Arc<Promised>>,
    /// Job types that Postgres refused (class 42), with its reason, and those of which a job was applied.
    pub refused: Vec<((usize, usize), JobError)>,
    pub accepted: Vec<(usize, usize)>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum SpaceApplied {
    Done {
        /// The ledger's mark now. Jobs of the main lane beyond it were not taken: a barrier could not pass.
        mark: JobId,
        /// In the order of [`SpaceBatch::jobs`].
        jobs: Vec<JobOutcome>,
        /// Rows that changed, without duplicates.
        changed: Vec<Changed>,
        /// What the changed rows look like after the commit, by section, where it was read, or nobody asks.
        present: Vec<Present>,
    },
    /// The ledger is not the one that Redis knows: nothing was applied. The text is for the operator.
    Ledger(String),
}

/// A row that a job changed.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Changed {
    /// Index into [`Batch::sections`].
    pub section: usize,
    /// In canonical form; None: not told, any row of the section.
    pub id: Option<Box<str>>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum JobOutcome {
    Completed(Completed),
    /// For good. `attempts` counts this one.
    Failed {
        error: JobError,
        attempts: u32,
    },
    /// A row of the ledger now: to be tried again in the side lane. Beyond the mark: a barrier that is tried again in the
    /// main lane.
    Left {
        /// Of the job's own order values.
        keys: OrderKeys,
        barrier: bool,
        why: Left,
    },
    /// Beyond the mark.
    NotTaken,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Completed {
    /// Rows that it returned.
    pub rows: u32,
    /// The last `result` that it returned, compact JSON.
    pub result: Option<Box<str>>,
    /// The ledger says that it was applied before, by a transaction of which nothing else is known.
    pub earlier: bool,
}

/// Why a job was left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Left {
    /// Its time is still to come. It holds no place: later jobs of its rows pass.
    Undue,
    /// A job before it, with which it shares an order value, was left out.
    Behind,
    /// It failed, and has attempts left. Counts as an attempt.
    Retry(JobError),
    /// Somebody holds its row, or it took too long in company (55P03, 57014). Counts for nothing.
    Isolated(JobError),
    /// A connection ended under its statement: it is tried alone, and so far it has been seen to end so many. Counts for nothing.
    Suspected { error: JobError, ends: u32 },
    /// Its type is refused (class 42). Counts for nothing.
    TypePaused,
    /// Left out before, as the ledger says; nobody has tried it now.
    Earlier,
}

/// Longer messages are cut, in bytes: they are kept in the ledger and in Redis, and a statement may raise one of any length.
const MAX_MESSAGE: usize = 8 << 10;

/// Why a job failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobError {
    /// SQLSTATE of what Postgres said; `CATALOG` where the job does not fit its definition any more; None where the
    /// statement itself returned an error, or nothing.
    pub code: Option<Box<str>>,
    pub message: Box<str>,
}

impl JobError {
    /// With a message that may be kept.
    pub fn cut(mut self) -> JobError {
        if self.message.len() > MAX_MESSAGE {
            let end = (0..=MAX_MESSAGE).rev().find(|at| self.message.is_char_boundary(*at)).unwrap_or_default();
            self.message = format!("{}…", &self.message[..end]).into();
        }
        self
    }
}

/// The rows that the jobs of a batch say they have changed, as far as it is told which.
pub fn promised_rows(batch: &Batch, applied: &[SpaceApplied]) -> PromisedRows {
    let mut groups: Vec<((usize, Tenant), Ids)> = Vec::new();
    for (space, applied) in batch.spaces.iter().zip(applied) {
        let SpaceApplied::Done { changed, .. } = applied else { continue };
        // Sorted by section and id.
        for of_section in changed.chunk_by(|one, other| one.section == other.section) {
            let at = of_section[0].section;
            let tenant = match (batch.sections.get(at).map(|section| section.tenant), &space.tenant) {
                (Some(None), _) => Tenant::None,
                (Some(Some(_)), Some(tenant)) => Tenant::Known((**tenant).into()),
                // Nobody can tell whose they are.
                (Some(Some(_)), None) | (None, _) => continue,
            };
            let ids: Option<_> = of_section.iter().map(|change| change.id.clone()).collect();
            groups.push(((at, tenant), ids.map_or(Ids::All, Ids::These)));
        }
    }
    PromisedRows::merged(groups)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_messages_are_cut_between_characters() {
        for (message, kept) in
            [("é".repeat(5_000), 8_192), (format!("x{}", "é".repeat(5_000)), 8_191), ("x".repeat(8_192), 8_192)]
        {
            let cut = JobError { code: None, message: message.clone().into() }.cut().message;
            assert_eq!(cut.trim_end_matches('…'), &message[..kept]);
            assert_eq!(cut.ends_with('…'), message.len() > MAX_MESSAGE);
        }
    }
}
