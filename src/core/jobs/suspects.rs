//! Jobs under whose statement connections end: the one that ends them is found, and no other pays for it.
//!
//! ```text
//!          ended                 ended                    ended, and by this job
//!   free ----------> lump (of LUMP) ----> alone (one by one) -----------------------> set aside
//!     ^ \-------------few----------------->/ |
//!     \--------------- an outage -----------/  (OUTAGES times in a batch)
//!
//!   set aside: left out of the batch at no cost, and the others go on; tried again alone in a later one
//!   from lump on there is a witness: a connection that does nothing, which is asked when the connection ends
//!      it lives, or crashed with ours though nobody had told ours to end   -> the statement ended it
//!      it ended as well, or ours had been told that all end               -> an outage: tells nothing
//!   the job alone ended its connection so for the ENDS_TO_FAIL-th time     -> costs an attempt
//! ```
//! A job that kills its backend by a signal takes all connections with it, those of the appliers that are innocent, too. So this
//! outlives the connection; and nothing but a witnessed end is held against anybody.
//!
//! Invariants: an end under several jobs, and one that the witness shared, costs no attempt; each end that tells something moves jobs
//! towards `alone` or sets one aside, so a batch ends, whatever its jobs do. Reaching one among n by LUMP costs 1 + log(n) / log(LUMP)
//! ends, not log2(n): each may be a restart of Postgres.

use rustc_hash::FxHashMap;

/// Jobs that run together once their statement has ended a connection.
pub const LUMP: usize = 32;

/// After so many ends in a batch, whoever shares one is set aside at once, and whoever was to be tried alone: a statement that ends
/// the connection whatever the job must not have the others wait for each of its jobs.
const MAX_ENDS: u32 = 16;

/// So many ends of a batch that its witness shared were outages, for all that is known. A job that ends all connections there are looks
/// like one: after that it is looked for all the same, though nothing is held against it.
const OUTAGES: u32 = 4;

/// So many witnessed ends cost a job an attempt.
pub const ENDS_TO_FAIL: u32 = 2;

/// A job by its space in the batch, and its place there.
pub type JobPlace = (usize, usize);

/// How far a job is from being found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    Lump,
    Alone,
}

/// What is held against a job that was set aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetAside {
    /// Witnessed ends so far.
    pub ends: u32,
    /// What the connection said last.
    pub what: Box<str>,
    pub sqlstate: Option<Box<str>>,
}

impl SetAside {
    /// Is it time that it pays?
    pub fn is_guilty(&self) -> bool {
        self.ends >= ENDS_TO_FAIL
    }
}

/// How a connection ended under a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Postgres said so, to this connection: terminated by this session or another, or by a shutdown.
    Told,
    /// Without a word, as a crash does, and the network.
    Mute,
    /// All were told to end: a shutdown at once, or another backend's crash.
    Farewell,
}

/// What the connection that did nothing is like just after that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Witness {
    Lives,
    /// It was told that another backend has crashed.
    Crashed,
    Ended,
    /// There was none.
    Absent,
}

/// Who ended a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    Statement,
    Outage,
    Unknown,
}

pub fn cause(end: End, witness: Witness) -> Cause {
    match (end, witness) {
        (End::Farewell, _) => Cause::Outage,
        (End::Told | End::Mute, Witness::Absent) => Cause::Unknown,
        (End::Told | End::Mute, Witness::Lives) => Cause::Statement,
        // Who crashes is not told, all others are.
        (End::Mute, Witness::Crashed) => Cause::Statement,
        (End::Told, Witness::Crashed) | (End::Told | End::Mute, Witness::Ended) => Cause::Outage,
    }
}

/// Of one batch, over all its attempts.
#[derive(Debug, Default)]
pub struct Suspects {
    levels: FxHashMap<JobPlace, Level>,
    /// Witnessed ends in earlier batches.
    known: FxHashMap<JobPlace, u32>,
    set_aside: FxHashMap<JobPlace, SetAside>,
    /// Ends so far that told something, and those that were outages.
    ends: u32,
    outages: u32,
}

impl Suspects {
    /// `known` were set aside in earlier batches, after so many witnessed ends.
    pub fn new(known: impl Iterator<Item = (JobPlace, u32)>) -> Suspects {
        let mut suspects = Suspects { known: known.collect(), ..Suspects::default() };
        suspects.begin();
        suspects
    }

    /// Nobody is suspected but who was before.
    fn begin(&mut self) {
        self.levels = self.known.keys().map(|job| (*job, Level::Alone)).collect();
    }

    /// Should there be a witness? There is somebody who may be found.
    pub fn need_witness(&self) -> bool {
        self.levels.keys().any(|job| !self.set_aside.contains_key(job))
    }

    /// Is nobody suspected? Then [`Suspects::cut`] changes nothing.
    pub fn is_empty(&self) -> bool {
        self.levels.is_empty() && self.set_aside.is_empty()
    }

    pub fn set_aside(&self, job: JobPlace) -> Option<&SetAside> {
        self.set_aside.get(&job)
    }

    /// The connection has ended under a statement for these jobs. False where that tells nothing.
    pub fn ended(&mut self, under: &[JobPlace], cause: Cause, what: &str, sqlstate: Option<&str>) -> bool {
        if cause == Cause::Outage && self.outages < OUTAGES {
            self.outages += 1;
            self.begin();
            return false;
        }
        self.ends = self.ends.saturating_add(1);
        let is_alone = |job: &&JobPlace| under.len() == 1 && self.levels.get(job) == Some(&Level::Alone);
        let alone = under.first().filter(is_alone).copied();
        let mut aside: Vec<JobPlace> = alone.into_iter().collect();
        if self.ends > MAX_ENDS {
            let tried_alone = self.levels.iter().filter(|(_, level)| **level == Level::Alone).map(|(job, _)| *job);
            aside.extend(tried_alone.chain(under.iter().copied()).filter(|job| Some(*job) != alone));
        }
        for job in &aside {
            let witnessed = u32::from(cause == Cause::Statement && Some(*job) == alone);
            let ends = self.known.get(job).map_or(witnessed, |ends| ends.saturating_add(witnessed));
            let aside = SetAside { ends, what: what.into(), sqlstate: sqlstate.map(Into::into) };
            self.set_aside.entry(*job).or_insert(aside);
        }
        if aside.is_empty() {
            let level = if under.len() > LUMP { Level::Lump } else { Level::Alone };
            self.levels.extend(under.iter().map(|job| (*job, level)));
        }
        true
    }

    /// Cuts jobs that would run together into pieces that may. Who is under suspicion goes first, so that an end undoes little; the
    /// order of jobs stays what it is within a piece.
    pub fn cut<T: Copy>(&self, jobs: &[T], place: impl Fn(T) -> JobPlace) -> Vec<Vec<T>> {
        let (mut free, mut lumped, mut alone) = (Vec::new(), Vec::new(), Vec::new());
        for job in jobs {
            match self.levels.get(&place(*job)) {
                None => free.push(*job),
                Some(Level::Lump) => lumped.push(*job),
                Some(Level::Alone) => alone.push(*job),
            }
        }
        let free = Some(free).filter(|free| !free.is_empty());
        let lumps = lumped.chunks(LUMP).map(<[T]>::to_vec);
        alone.into_iter().map(|job| vec![job]).chain(lumps).chain(free).collect()
    }
}

#[cfg(test)]
mod tests;
