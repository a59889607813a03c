//! The thread that follows the changes of the catalog's tables, `bear-feed`.
//!
//! Invariant: between a Down and the next Connected nothing else is told, and a stop ends it whatever the network does.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::sync::{Arc, Mutex};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{unbounded, Receiver, Sender};

use crate::core::catalog::Section;
use crate::core::feed::FeedOutcome;
use crate::core::promise::Promises;
use crate::core::retry::OutageBackoff;
use crate::postgres::{follow, FeedControl, FeedError, FeedKind, FeedSettings};

use super::{guarded, lock, Wake};

/// One that has lasted so long was well: what comes then is a new failure.
const LASTED: Duration = Duration::from_secs(10);

pub struct Feed {
    results: Receiver<FeedOutcome>,
    kind: FeedKind,
    turn: Arc<Mutex<Option<Turn>>>,
    control: Arc<FeedControl>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Feed {
    /// Starts the thread, which connects at once.
    ///
    /// `wake` is called on that thread after each outcome; it must be quick and must not call back. For other settings,
    /// stop it and start another.
    pub fn start(
        settings: FeedSettings,
        sections: Arc<[Section]>,
        promises: Arc<Promises>,
        wake: Wake,
    ) -> io::Result<Feed> {
        let (outcomes, results) = unbounded();
        let control = Arc::new(FeedControl::new(sections, promises));
        let turn = Arc::new(Mutex::new(None));
        let kind = settings.kind;
        let (own, own_turn) = (control.clone(), turn.clone());
        let body = move || feed_loop(&settings, &own, &mut Teller { outcomes, turn: own_turn, control: &own, wake });
        let thread = Builder::new().name("bear-feed".to_owned()).spawn(body)?;
        Ok(Feed { results, kind, turn, control, thread: Mutex::new(Some(thread)) })
    }

    /// Follows another catalog with the connections that it has, if it can: a new one would wait for the transactions that
    /// are in progress. What has been told of the old catalog and not been taken is dropped; a Connected comes.
    pub fn follow_instead(&mut self, sections: Arc<[Section]>) -> bool {
        if self.kind != FeedKind::Wal {
            return false;
        }
        let (outcomes, results) = unbounded();
        // First, so that whoever finds the new catalog finds where to tell of it.
        let mut turn = lock(&self.turn);
        let catalog = self.control.follow_instead(sections);
        *turn = Some(Turn { catalog, outcomes });
        self.results = results;
        true
    }

    pub fn results(&self) -> &Receiver<FeedOutcome> {
        &self.results
    }

    /// Asks the thread to end, without waiting. It does at once, but for an attempt to connect, within its limit.
    pub fn stop(&self) {
        self.control.stop();
    }

    /// Whether the thread has ended after [`Feed::stop`]; takes its handle away.
    pub fn is_stopped(&self) -> bool {
        let mut thread = lock(&self.thread);
        if let Some(finished) = thread.take_if(|thread| thread.is_finished()) {
            // Finished, so this does not wait.
            let _ = finished.join();
        }
        thread.is_none()
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Where to tell of the catalog with that number.
struct Turn {
    catalog: u64,
    outcomes: Sender<FeedOutcome>,
}

struct Teller<'a> {
    outcomes: Sender<FeedOutcome>,
    turn: Arc<Mutex<Option<Turn>>>,
    control: &'a FeedControl,
    wake: Wake,
}

impl Teller<'_> {
    fn tell(&mut self, outcome: FeedOutcome) {
        if let Some(turn) = lock(&self.turn).take_if(|turn| turn.catalog <= self.control.followed()) {
            self.outcomes = turn.outcomes;
        }
        // Nobody receives any more once the feed has been dropped.
        if self.outcomes.send(outcome).is_ok() {
            (self.wake)();
        }
    }
}

fn feed_loop(settings: &FeedSettings, control: &Arc<FeedControl>, teller: &mut Teller<'_>) {
    let mut backoff = OutageBackoff::default();
    while !control.is_stopping() {
        let started = Instant::now();
        let ended = guarded(|| follow(settings, control, &mut |outcome| teller.tell(outcome)));
        let (error, allowed) = match ended {
            Ok(FeedError::Stopped) => return,
            Ok(FeedError::Forbidden(error)) => (error, false),
            Ok(FeedError::Other(error)) => (error, true),
            Err(panic) => (panic.to_string(), true),
        };
        log::debug!("the change feed ended: {error}");
        teller.tell(FeedOutcome::Down { error, allowed });
        if started.elapsed() > LASTED {
            backoff = OutageBackoff::default();
        }
        control.sleep(backoff.next(RandomState::new().build_hasher().finish()));
    }
}
