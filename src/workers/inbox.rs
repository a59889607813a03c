//! The thread that takes rows of the inbox over and settles them, `bear-inbox`, with one connection.
//!
//! Invariant: rows are told in the order in which they are to be taken; of a section that is not ours, none.

mod messages;

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{bounded, unbounded, Receiver, Sender};

use crate::postgres::Settings;

use super::{lock, Wake};

pub use messages::{InboxOutcome, InboxRequest};

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
}

pub struct Inbox {
    requests: Sender<InboxRequest>,
    results: Receiver<InboxOutcome>,
    stopping: Arc<AtomicBool>,
    polls: Arc<AtomicU64>,
    bell: Arc<InboxBell>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Inbox {
    /// Starts the thread, which connects at once.
    ///
    /// `wake` is called on that thread after each outcome; it must be quick and must not call back.
    pub fn start(_settings: InboxSettings, bell: Arc<InboxBell>, _wake: Wake) -> io::Result<Inbox> {
        let (requests, asked) = unbounded::<InboxRequest>();
        let (outcomes, results) = unbounded();
        let (stopping, polls) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let own_stopping = stopping.clone();
        let body = move || {
            let _outcomes: Sender<InboxOutcome> = outcomes;
            while !own_stopping.load(Ordering::Acquire) {
                let _ = asked.recv_timeout(Duration::from_millis(50));
            }
        };
        let thread = Builder::new().name("bear-inbox".to_owned()).spawn(body)?;
        Ok(Inbox { requests, results, stopping, polls, bell, thread: Mutex::new(Some(thread)) })
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
        self.results.try_recv().ok()
    }

    /// Another connection, if it takes one, and what else has changed; what was asked stays asked.
    pub fn reconfigure(&self, _settings: InboxSettings) {}

    pub fn figures(&self) -> InboxFigures {
        InboxFigures { polls: self.polls.load(Ordering::Relaxed) }
    }

    /// Asks the thread to end, without waiting. It does at once, but for an attempt to connect, within its limit.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        self.bell.ring();
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
