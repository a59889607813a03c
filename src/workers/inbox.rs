//! The thread that takes rows of the inbox over and settles them, `bear-inbox`, with one connection.
//!
//! `messages` is what it is asked and tells, `life` is what it does while it is connected, `news` what it has not told yet, and
//! `desk` what it knows beyond that.
//!
//! Invariant: rows are told in the order in which they are to be taken; of a section that is not ours, none.

mod desk;
mod life;
mod messages;
mod news;
#[cfg(test)]
mod tests;

use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{bounded, unbounded, Receiver, Sender};

use crate::core::jobs::retry::OutageBackoff;
use crate::postgres::{InboxLink, Linked, Settings};

use super::{guarded, lock, Wake};
use desk::Desk;
use life::{End, Life};

pub use messages::{InboxOutcome, InboxRequest};

/// How often the tables are looked for where they are not made.
const LOOK_FOR_TABLES: Duration = Duration::from_secs(10);

/// A connection that has lasted so long was well: what comes then is a new failure.
const LASTED: Duration = Duration::from_secs(10);

/// What to connect to, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InboxSettings {
    pub settings: Settings,
    /// Are the tables made where they are missing?
    pub make: bool,
    /// Time between two looks for new rows.
    pub poll: Duration,
    /// Rows that have failed are deleted after so many days.
    pub keep_days: u32,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct InboxFigures {
    pub polls: u64,
}

/// Wakes the thread at once where somebody has seen that rows have come.
pub struct InboxBell {
    rung: (Sender<()>, Receiver<()>),
    /// Is it rung at each change?
    is_followed: AtomicBool,
}

impl Default for InboxBell {
    fn default() -> Self {
        InboxBell { rung: bounded(1), is_followed: AtomicBool::new(false) }
    }
}

impl InboxBell {
    pub fn ring(&self) {
        // One that has been rung and not heard is enough.
        let _ = self.rung.0.try_send(());
    }

    /// From now on it is rung at each change, or is not.
    pub fn set_followed(&self, is_followed: bool) {
        self.is_followed.store(is_followed, Ordering::Release);
    }

    pub(super) fn is_followed(&self) -> bool {
        self.is_followed.load(Ordering::Acquire)
    }

    /// Rings each time that it is heard.
    pub(super) fn heard(&self) -> &Receiver<()> {
        &self.rung.1
    }
}

/// What the thread and its owner share.
struct Shared {
    stopping: Arc<AtomicBool>,
    /// With their number; a greater one means others.
    settings: Mutex<(u64, Arc<InboxSettings>)>,
    bell: Arc<InboxBell>,
    polls: AtomicU64,
    /// Rows that have been told and not taken.
    untaken_rows: AtomicUsize,
    outcomes: Sender<InboxOutcome>,
    wake: Wake,
}

impl Shared {
    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    fn current(&self) -> (u64, Arc<InboxSettings>) {
        lock(&self.settings).clone()
    }

    fn tell(&self, outcome: InboxOutcome) {
        if let InboxOutcome::Rows(rows) = &outcome {
            self.untaken_rows.fetch_add(rows.len(), Ordering::AcqRel);
        }
        // Nobody receives any more once the inbox has been dropped.
        if self.outcomes.send(outcome).is_ok() {
            (self.wake)();
        }
    }
}

pub struct Inbox {
    requests: Sender<InboxRequest>,
    results: Receiver<InboxOutcome>,
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Inbox {
    /// Starts the thread, which connects at once.
    ///
    /// `wake` is called on that thread after each outcome; it must be quick and must not call back.
    pub fn start(settings: InboxSettings, bell: Arc<InboxBell>, wake: Wake) -> io::Result<Inbox> {
        let (requests, asked) = unbounded();
        let (outcomes, results) = unbounded();
        let shared = Arc::new(Shared {
            stopping: Arc::default(),
            settings: Mutex::new((0, Arc::new(settings))),
            bell,
            polls: AtomicU64::new(0),
            untaken_rows: AtomicUsize::new(0),
            outcomes,
            wake,
        });
        let own = shared.clone();
        let thread = Builder::new().name("bear-inbox".to_owned()).spawn(move || inbox_loop(&own, &asked))?;
        Ok(Inbox { requests, results, shared, thread: Mutex::new(Some(thread)) })
    }

    pub fn submit(&self, request: InboxRequest) {
        // Nobody receives any more once stopped.
        let _ = self.requests.send(request);
    }

    pub fn is_empty(&self) -> bool {
        self.results.is_empty()
    }

    /// What has been told and not taken: the next of it, if there is one.
    pub fn take(&self) -> Option<InboxOutcome> {
        let outcome = self.results.try_recv().ok()?;
        if let InboxOutcome::Rows(rows) = &outcome {
            self.shared.untaken_rows.fetch_sub(rows.len(), Ordering::AcqRel);
        }
        Some(outcome)
    }

    /// Other settings from now on; with another way to Postgres a Down and an Up follow.
    pub fn reconfigure(&self, settings: InboxSettings) {
        let mut current = lock(&self.shared.settings);
        *current = (current.0 + 1, Arc::new(settings));
        self.shared.bell.ring();
    }

    pub fn figures(&self) -> InboxFigures {
        InboxFigures { polls: self.shared.polls.load(Ordering::Relaxed) }
    }

    /// Asks the thread to end, without waiting. It does at once, but for an attempt to connect, within its limit.
    pub fn stop(&self) {
        self.shared.stopping.store(true, Ordering::Release);
        self.shared.bell.ring();
    }

    /// Whether the thread has ended after [`Inbox::stop`]; takes its handle away.
    pub fn is_stopped(&self) -> bool {
        let mut thread = lock(&self.thread);
        if let Some(finished) = thread.take_if(|thread| thread.is_finished()) {
            // Finished, so this does not wait.
            let _ = finished.join();
        }
        thread.is_none()
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        self.stop();
    }
}

/// What was told last of the connection.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Standing {
    Up,
    Down(String),
    Absent,
}

fn inbox_loop(shared: &Shared, asked: &Receiver<InboxRequest>) {
    let mut desk = Desk::default();
    let mut backoff = OutageBackoff::default();
    let mut standing = None;
    while !shared.is_stopping() {
        let started = Instant::now();
        let (number, settings) = shared.current();
        let linked =
            guarded(|| InboxLink::connect(Arc::new(settings.settings.clone()), settings.make, shared.stopping.clone()));
        let (down, wait) = match linked {
            Ok(Ok(Linked::Link(link))) => {
                log::info!("the inbox is connected to Postgres");
                report(shared, &mut standing, Standing::Up);
                let ended = guarded(|| Life::new(link, shared, &settings, &mut desk, asked).run(number));
                if started.elapsed() > LASTED {
                    backoff = OutageBackoff::default();
                }
                match ended {
                    Ok(End::Stopped) => return,
                    Ok(End::Reconfigured) => {
                        (Standing::Down("it connects anew, with other settings".to_owned()), Duration::ZERO)
                    }
                    Ok(End::Failed(error)) => (Standing::Down(error.to_string()), backoff.next(random())),
                    Err(panic) => (Standing::Down(panic.to_string()), backoff.next(random())),
                }
            }
            Ok(Ok(Linked::Absent)) => (Standing::Absent, LOOK_FOR_TABLES),
            Ok(Err(error)) => (Standing::Down(error.to_string()), backoff.next(random())),
            Err(panic) => (Standing::Down(panic.to_string()), backoff.next(random())),
        };
        if shared.is_stopping() {
            return;
        }
        report(shared, &mut standing, down);
        desk.wait(shared, asked, number, wait);
    }
}

/// Tells of a change only.
fn report(shared: &Shared, told: &mut Option<Standing>, now: Standing) {
    if told.as_ref() == Some(&now) {
        return;
    }
    shared.tell(match &now {
        Standing::Up => InboxOutcome::Up,
        Standing::Down(error) => InboxOutcome::Down { error: error.clone() },
        Standing::Absent => InboxOutcome::Absent,
    });
    *told = Some(now);
}

/// Drawn by the standard library's hash tables from the system.
fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}
