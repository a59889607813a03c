//! What all clients of a run share: the history, where the master is, what was counted, and the first failure.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::answer::Answer;
use super::history::{Floors, History};
use super::model::{self, Call, ROWS};
use crate::support::wait::wait_at_most;
use crate::support::wire::packed;

/// Events that a failure shows.
const EVENTS: usize = 120;

pub struct Run {
    pub seed: u64,
    pub history: History,
    pub calls: Vec<Asked>,
    /// Calls that clients compute.
    pub values: Vec<Call>,
    pub reads: AtomicU64,
    pub writes: AtomicU64,
    /// When at the latest the change feed has a write seen, where there is a feed.
    pub feed_grace: Option<Duration>,
    port: AtomicU16,
    /// Odd while it is open who is the master: what comes in meanwhile may be a replica's answer.
    era: AtomicU64,
    failed: AtomicBool,
    failure: Mutex<Option<String>>,
    events: Mutex<VecDeque<String>>,
    begun: Instant,
}

/// A call, and the bytes that ask for it.
pub struct Asked {
    pub call: Call,
    /// Plainly, FRESH and CACHED.
    pub bytes: [Vec<u8>; 3],
}

impl Run {
    pub fn new(seed: u64) -> Run {
        Run {
            seed,
            history: History::new(),
            calls: model::calls().into_iter().map(asked).collect(),
            values: model::values(),
            reads: AtomicU64::new(0),
            writes: AtomicU64::new(0),
            feed_grace: None,
            port: AtomicU16::new(0),
            era: AtomicU64::new(0),
            failed: AtomicBool::new(false),
            failure: Mutex::new(None),
            events: Mutex::new(VecDeque::new()),
            begun: Instant::now(),
        }
    }

    /// Writes are seen by the change feed, after this time at the latest.
    pub fn with_feed(seed: u64, grace: Duration) -> Run {
        Run { feed_grace: Some(grace), ..Run::new(seed) }
    }

    pub fn port(&self) -> u16 {
        self.port.load(Ordering::SeqCst)
    }

    pub fn set_port(&self, port: u16) {
        self.port.store(port, Ordering::SeqCst);
    }

    /// Changes when another server becomes the master; None while that is open.
    pub fn era(&self) -> Option<u64> {
        Some(self.era.load(Ordering::SeqCst)).filter(|era| era % 2 == 0)
    }

    /// Another server is made the master by `change`.
    pub fn change_master(&self, change: impl FnOnce() -> u16) {
        self.era.fetch_add(1, Ordering::SeqCst);
        self.set_port(change());
        self.era.fetch_add(1, Ordering::SeqCst);
    }

    pub fn reads(&self) -> u64 {
        self.reads.load(Ordering::Relaxed)
    }

    pub fn has_failed(&self) -> bool {
        self.failed.load(Ordering::SeqCst)
    }

    pub fn failure(&self) -> Option<String> {
        self.failure.lock().expect("no panic while it is held").clone()
    }

    /// Fails the test if something has failed.
    #[track_caller]
    pub fn check(&self) {
        if let Some(failure) = self.failure() {
            panic!("{failure}");
        }
    }

    /// Waits until so many reads were checked, or one has failed; false when the time is up before.
    pub fn wait_reads(&self, reads: u64, limit: Duration) -> bool {
        wait_at_most(limit, || (self.reads() >= reads || self.has_failed()).then_some(())).is_some()
    }

    /// Remembers what happened, for a failure to show.
    pub fn event(&self, text: &str) {
        let mut events = self.events.lock().expect("no panic while it is held");
        if events.len() >= EVENTS {
            events.pop_front();
        }
        events.push_back(format!("{:>12.6} {text}", self.begun.elapsed().as_secs_f64()));
    }

    /// The first failure is kept, with what was done before.
    pub fn fail(&self, what: &str) {
        let events: Vec<String> = {
            let events = self.events.lock().expect("no panic while it is held");
            events.iter().cloned().collect()
        };
        let mut failure = self.failure.lock().expect("no panic while it is held");
        let at = self.begun.elapsed().as_secs_f64();
        failure.get_or_insert_with(|| {
            format!("seed {}, at {at:.6}: {what}\nwhat was done before:\n  {}", self.seed, events.join("\n  "))
        });
        self.failed.store(true, Ordering::SeqCst);
    }

    /// Checks an answer that has just come; `floors` are those of the time before its question was sent.
    pub fn check_answer(&self, call: &Call, floors: &Floors, json: &[u8]) {
        let fault = match Answer::read(json) {
            Some(answer) => self.history.fault(call, floors, &answer),
            None => Some("the answer cannot be read".to_owned()),
        };
        let Some(fault) = fault else { return };
        let words = format!("BEAR.QUERY {} {}", call.space.name(), call.words);
        let rows: String = (0..ROWS)
            .filter(|row| call.shows(model::row(*row).0) && is_named(&fault, *row))
            .map(|row| {
                format!("  {:?}, floor {}\n{}", model::row(row), floors[row], self.history.log(row, floors[row]))
            })
            .collect();
        let text = String::from_utf8_lossy(json);
        self.fail(&format!("{words}: {fault}\nanswer: {text}\nfloors: {floors:?}\n{rows}"));
    }
}

/// Is the failure about this row?
fn is_named(fault: &str, row: usize) -> bool {
    let (section, id) = model::row(row);
    fault.starts_with("count") || fault.starts_with(&format!("{} {id} ", section.name()))
}

fn asked(call: Call) -> Asked {
    let bytes = ["", "FRESH", "CACHED"].map(|option| {
        let mut words = vec!["BEAR.QUERY", call.space.name()];
        words.extend(Some(option).filter(|option| !option.is_empty()));
        words.extend(call.words.split(' '));
        packed(&words)
    });
    Asked { call, bytes }
}
