//! Keeps at a batch until it is done: through outages, reconnects and answers that were lost.
//!
//! ```text
//! connect -> attempt -> done
//!   ^  ^        |  \--> somebody was in the way: again on the same connection
//!   |  \-wait<--+-----> the connection is gone (perhaps after COMMIT: the ledger's token will tell)
//!   \-----------+-----> it went under a statement of jobs: at once, more of them apart (`core::suspects`)
//! ```
//! Nothing here counts as an attempt of a job, but that it was seen to end its connection. Only a stop ends it early, and then the
//! batch is put back.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use crate::core::feed::promise::Promises;
use crate::core::jobs::batch::{Applied, Batch};
use crate::core::jobs::published::Bound;
use crate::core::jobs::retry::OutageBackoff;
use crate::core::jobs::suspects::{self, cause};

use super::attempt::attempt;
use super::course::{Abort, Course};
use super::inbox::Known;
use super::ledger;
use super::present;
use super::witness::Witness;
use super::writer::Writer;
use crate::postgres::connect::session::lock;
use crate::postgres::connect::settings::Settings;

/// Collisions with other transactions in a row before the next try waits.
const COLLISIONS_AT_ONCE: u32 = 5;

/// What an applier has noticed of Postgres.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ApplierEvent {
    Up,
    Down { error: String },
}

/// What appliers share with those who direct them.
pub struct ApplierControl {
    stopping: Arc<AtomicBool>,
    /// With their number; a greater one means new connections.
    settings: Mutex<(u64, Arc<Settings>)>,
    changed: Condvar,
    promises: Arc<Promises>,
}

impl ApplierControl {
    /// Whoever follows the changes of the same database has the promises, too.
    pub fn new(settings: Settings, promises: Arc<Promises>) -> ApplierControl {
        let settings = Mutex::new((0, Arc::new(settings)));
        ApplierControl { stopping: Arc::default(), settings, changed: Condvar::new(), promises }
    }

    /// Batches in hand end at their next step.
    pub fn stop(&self) {
        let _settings = lock(&self.settings);
        self.stopping.store(true, Ordering::Release);
        self.changed.notify_all();
    }

    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// Whoever has a connection makes a new one before its next attempt.
    pub fn reconfigure(&self, settings: Settings) {
        let mut current = lock(&self.settings);
        *current = (current.0 + 1, Arc::new(settings));
        self.changed.notify_all();
    }

    fn current(&self) -> (u64, Arc<Settings>) {
        lock(&self.settings).clone()
    }

    /// Waits, but for no longer than until there are other settings or a stop.
    fn wait(&self, time: Duration, number: u64) {
        let settings = lock(&self.settings);
        let idle = |settings: &mut (u64, Arc<Settings>)| settings.0 == number && !self.is_stopping();
        drop(self.changed.wait_timeout_while(settings, time, idle).unwrap_or_else(PoisonError::into_inner));
    }
}

/// One applier, which owns one connection.
pub struct Applier {
    control: Arc<ApplierControl>,
    report: Box<dyn Fn(ApplierEvent) + Send>,
    /// With the number of its settings.
    writer: Option<(u64, Writer)>,
}

impl Applier {
    /// Connects when there is something to do.
    pub fn new(control: Arc<ApplierControl>, report: impl Fn(ApplierEvent) + Send + 'static) -> Applier {
        Applier { control, report: Box::new(report), writer: None }
    }

    /// Applies the batch, however long Postgres is away; None where a stop came first.
    pub fn apply(&mut self, batch: &Batch) -> Option<Applied> {
        let mut backoff = OutageBackoff::default();
        let mut course = Course::new(batch);
        let mut refused = false;
        while !self.control.is_stopping() {
            let (number, settings) = self.control.current();
            let (mut writer, is_new) = match self.writer.take() {
                Some((made_for, writer)) if made_for == number => (writer, false),
                _ => match self.connect(settings.clone()) {
                    Some(writer) => (writer, true),
                    None => {
                        self.control.wait(backoff.next(random()), number);
                        continue;
                    }
                },
            };
            if is_new {
                course.inbox = Known::default();
            }
            let witness = course.suspects.need_witness().then(|| Witness::connect(&settings).ok()).flatten();
            let abort = match attempt(&mut writer, batch, &mut course, &self.control.promises) {
                Ok(applied) => {
                    self.writer = Some((number, writer));
                    if refused {
                        (self.report)(ApplierEvent::Up);
                    }
                    return Some(applied);
                }
                Err(abort) => abort,
            };
            log::debug!("a batch is tried again: {abort}");

            let must_wait = match &abort {
                Abort::Stopped => break,
                // One that had been idle may have ended long ago.
                Abort::Lost(what) => {
                    log::info!("lost an applier's connection to Postgres: {what}");
                    is_new
                }
                Abort::Ended { end, sqlstate, what, under } => {
                    log::info!(
                        "lost an applier's connection to Postgres under a statement of {} jobs: {what}",
                        under.len()
                    );
                    let witness = witness.map_or(suspects::Witness::Absent, Witness::ask);
                    let told = course.suspects.ended(under, cause(*end, witness), what, sqlstate.as_deref());
                    if told {
                        // It is no wait for Postgres.
                        backoff = OutageBackoff::default();
                    }
                    !told && is_new
                }
                Abort::Busy(_) => true,
                Abort::Learned(_) => false,
                Abort::Refused(error) => {
                    refused = true;
                    (self.report)(ApplierEvent::Down { error: error.clone() });
                    true
                }
                Abort::Again(_) => {
                    course.collisions += 1;
                    course.collisions > COLLISIONS_AT_ONCE
                }
            };
            let is_good = matches!(abort, Abort::Busy(_) | Abort::Again(_) | Abort::Learned(_) | Abort::Refused(_));
            if is_good && writer.simple("ROLLBACK").is_ok() {
                self.writer = Some((number, writer));
            }
            if must_wait {
                self.control.wait(backoff.next(random()), number);
            }
        }
        None
    }

    /// Reads what the rows that a batch has changed look like now. Where that cannot be told, nothing is added.
    pub fn read_present(&mut self, batch: &Batch, applied: &mut Applied) {
        let Some((number, mut writer)) = self.writer.take() else { return };
        match present::read(&mut writer, batch, applied) {
            Ok(()) => self.writer = Some((number, writer)),
            Err(trouble) => log::debug!("the present values of changed rows were not read: {trouble:?}"),
        }
    }

    /// Removes ledger rows of epochs that are over; a failure is harmless.
    pub fn clean(&mut self, live_epochs: &[i64], published: &[Bound], keep_days: u32) {
        let Some((number, mut writer)) = self.writer.take() else { return };
        match ledger::clean(&mut writer, live_epochs, published, keep_days) {
            Ok(()) => self.writer = Some((number, writer)),
            Err(trouble) => log::debug!("the ledger was not cleaned: {trouble:?}"),
        }
    }

    /// Drops the connection, of which nobody knows what state it is in.
    pub fn disconnect(&mut self) {
        self.writer = None;
    }

    fn connect(&self, settings: Arc<Settings>) -> Option<Writer> {
        let address = settings.address();
        match Writer::connect(settings, self.control.stopping.clone()) {
            Ok(writer) => {
                (self.report)(ApplierEvent::Up);
                Some(writer)
            }
            // A stop interrupts the questions at a connection's start, too.
            Err(_) if self.control.is_stopping() => None,
            Err(error) => {
                log::debug!("an applier has no connection to Postgres at {address}: {error}");
                (self.report)(ApplierEvent::Down { error: error.to_string() });
                None
            }
        }
    }
}

/// Drawn by the standard library's hash tables from the system.
fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}
