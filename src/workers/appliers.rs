//! The threads that apply batches, `bear-apply-N`, each with a connection of its own.
//!
//! Invariant: every batch that was submitted comes back exactly once, applied or put back.

#[cfg(test)]
mod tests;

use std::io;
use std::sync::{Arc, Mutex};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

use crossbeam_channel::{unbounded, Receiver, Sender};
use rustc_hash::FxHashSet;

use crate::core::feed::promise::Promises;
use crate::core::jobs::batch::{Applied, Batch, JobOutcome, QueuedJob, SpaceApplied, SpaceBatch};
use crate::core::jobs::published::{Bound, Published};
use crate::core::jobs::record;
use crate::postgres::{Applier, ApplierControl, ApplierEvent, Settings};

use super::{guarded, lock, Wake};

/// Time between two cleanings of the ledger.
const CLEAN_GAP: Duration = Duration::from_secs(24 * 60 * 60);

/// What came of a batch, or what was noticed of Postgres.
#[derive(Debug)]
pub enum AppliedOutcome {
    Applied {
        batch: Box<Batch>,
        applied: Applied,
        /// What is to be recorded of the jobs that have settled: by space, by job.
        records: Vec<Vec<Option<Vec<u8>>>>,
        took_us: u64,
    },
    /// A stop came first. Nothing was committed, or the answer is still out: the ledger will tell whoever comes next.
    PutBack { batch: Box<Batch> },
    /// Of the appliers' connections as a whole.
    Up,
    /// The text says what to do where the ledger cannot be made.
    Down { error: String },
}

pub struct Appliers {
    /// None once stopped, which ends the threads that wait on the other side.
    sender: Mutex<Option<Sender<Box<Batch>>>>,
    results: Receiver<AppliedOutcome>,
    /// The threads' side, for what waits when they are asked to end.
    waiting: Receiver<Box<Batch>>,
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

struct Shared {
    control: Arc<ApplierControl>,
    outcomes: Sender<AppliedOutcome>,
    wake: Wake,
    health: Mutex<Option<ApplierEvent>>,
    cleaning: Mutex<Cleaning>,
}

#[derive(Default)]
struct Cleaning {
    last: Option<Instant>,
    /// Epochs of all batches so far.
    epochs: FxHashSet<i64>,
    published: Published,
}

impl Appliers {
    /// Starts `threads` threads; each connects when it is first given a batch.
    ///
    /// `wake` is called on any thread after each outcome; it must be quick and must not call back.
    pub fn start(settings: Settings, threads: usize, promises: Arc<Promises>, wake: Wake) -> io::Result<Appliers> {
        let (outcomes, results) = unbounded();
        let (sender, waiting) = unbounded();
        let shared = Arc::new(Shared {
            control: Arc::new(ApplierControl::new(settings, promises)),
            outcomes,
            wake,
            health: Mutex::default(),
            cleaning: Mutex::default(),
        });
        let mut handles = Vec::new();
        for i in 0..threads.max(1) {
            let (shared, batches) = (shared.clone(), waiting.clone());
            handles.push(Builder::new().name(format!("bear-apply-{i}")).spawn(move || apply_loop(&shared, &batches))?);
        }
        let (sender, threads) = (Mutex::new(Some(sender)), Mutex::new(handles));
        Ok(Appliers { sender, results, waiting, shared, threads })
    }

    /// Queues a batch for whichever thread is free; put back at once where stopped.
    pub fn submit(&self, batch: Box<Batch>) {
        match &*lock(&self.sender) {
            // Both sides live as long as the threads, which end only when the sender is gone.
            Some(sender) => drop(sender.send(batch)),
            None => self.shared.send(AppliedOutcome::PutBack { batch }),
        }
    }

    pub fn results(&self) -> &Receiver<AppliedOutcome> {
        &self.results
    }

    /// Takes new settings: connections made with the old ones are used for no further attempt.
    pub fn reconfigure(&self, settings: Settings) {
        self.shared.control.reconfigure(settings);
    }

    /// Asks all threads to end, without waiting. Batches that wait are put back here; one under way is rolled back at its
    /// next step, but where its COMMIT has been sent the answer is waited for, at most about a second.
    pub fn stop(&self) {
        self.shared.control.stop();
        lock(&self.sender).take();
        for batch in self.waiting.try_iter() {
            self.shared.send(AppliedOutcome::PutBack { batch });
        }
    }

    /// Whether every thread has ended after [`Appliers::stop`]; takes the threads' handles away.
    pub fn is_stopped(&self) -> bool {
        let mut threads = lock(&self.threads);
        let (finished, alive): (Vec<_>, Vec<_>) =
            std::mem::take(&mut *threads).into_iter().partition(JoinHandle::is_finished);
        *threads = alive;
        for thread in finished {
            // Finished, so this does not wait.
            let _ = thread.join();
        }
        self.shared.control.is_stopping() && threads.is_empty()
    }
}

impl Drop for Appliers {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    fn send(&self, outcome: AppliedOutcome) {
        // Nobody receives any more once the appliers have been dropped.
        if self.outcomes.send(outcome).is_ok() {
            (self.wake)();
        }
    }

    /// Tells of a change only.
    fn report(&self, event: ApplierEvent) {
        let mut health = lock(&self.health);
        if health.as_ref() == Some(&event) {
            return;
        }
        match &event {
            ApplierEvent::Up => log::info!("appliers are connected to Postgres"),
            ApplierEvent::Down { error } => log::warn!("appliers cannot reach Postgres: {error}"),
        }
        // Under the lock, so that reports are in the order of what happened.
        self.send(match event.clone() {
            ApplierEvent::Up => AppliedOutcome::Up,
            ApplierEvent::Down { error } => AppliedOutcome::Down { error },
        });
        *health = Some(event);
    }

    /// Live epochs, and whose failures may go, where it is time to clean.
    fn cleaning_due(&self, batch: &Batch, applied: &Applied) -> Option<(Vec<i64>, Vec<Bound>)> {
        let mut cleaning = lock(&self.cleaning);
        cleaning.epochs.extend(batch.spaces.iter().map(|space| space.epoch));
        cleaning.published.note(batch, &applied.spaces);
        if cleaning.last.is_some_and(|last| last.elapsed() < CLEAN_GAP) {
            return None;
        }
        cleaning.last = Some(Instant::now());
        let published = cleaning.published.clean();
        Some((cleaning.epochs.iter().copied().collect(), published))
    }
}

fn apply_loop(shared: &Arc<Shared>, batches: &Receiver<Box<Batch>>) {
    let reporter = shared.clone();
    let mut applier = Applier::new(shared.control.clone(), move |event| reporter.report(event));
    while let Ok(batch) = batches.recv() {
        let started = Instant::now();
        let applied = guarded(|| applier.apply(&batch)).unwrap_or_else(|_| {
            applier.disconnect();
            None
        });
        let applied = applied.map(|mut applied| {
            let read = || applier.read_present(&batch, &mut applied);
            if guarded(read).is_err() {
                applier.disconnect();
            }
            applied
        });
        let keep_days = batch.limits.keep_days;
        let due = applied.as_ref().and_then(|applied| shared.cleaning_due(&batch, applied));
        shared.send(match applied {
            Some(applied) => {
                let took_us = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
                let records = records_of(&batch, &applied);
                AppliedOutcome::Applied { batch, applied, records, took_us }
            }
            None => AppliedOutcome::PutBack { batch },
        });
        if let Some((epochs, published)) = due {
            if guarded(|| applier.clean(&epochs, &published, keep_days)).is_err() {
                applier.disconnect();
            }
        }
    }
}

/// Written here, for a thousand of them would hold the caller's thread.
fn records_of(batch: &Batch, applied: &Applied) -> Vec<Vec<Option<Vec<u8>>>> {
    let now_ms = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
    let of_space = |(space, applied): (&SpaceBatch, &SpaceApplied)| match applied {
        SpaceApplied::Ledger(_) => Vec::new(),
        SpaceApplied::Done { jobs, .. } => {
            let record = |(job, outcome): (&QueuedJob, &JobOutcome)| match outcome {
                JobOutcome::Completed(completed) => Some(record::completed(job, completed, now_ms)),
                JobOutcome::Failed { error, attempts } => Some(record::failed(job, error, *attempts, now_ms)),
                JobOutcome::Left { .. } | JobOutcome::NotTaken => None,
            };
            space.jobs.iter().zip(jobs).map(record).collect()
        }
    };
    batch.spaces.iter().zip(&applied.spaces).map(of_space).collect()
}
