//! The thread that follows the changes of the catalog's tables, `bear-feed`.
//!
//! Invariant: between a Down and the next Connected nothing else is told, and a stop ends it whatever the network does.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::sync::{Arc, Mutex};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{bounded, Receiver, SendTimeoutError, Sender};

use crate::core::catalog::Section;
use crate::core::feed::FeedOutcome;
use crate::core::promise::Promises;
use crate::core::retry::OutageBackoff;
use crate::postgres::{follow, FeedControl, FeedError, FeedKind, FeedSettings};

use super::{guarded, lock, Wake};

/// Outcomes that nobody has taken; the thread waits before it tells more. Redis' thread takes some hundreds in a tick.
const MAX_UNTAKEN: usize = 1024;

/// While it waits it looks so often whether it is to end: whoever stops it takes no more.
const LOOK: Duration = Duration::from_millis(50);

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
        let (outcomes, results) = bounded(MAX_UNTAKEN);
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
        let (outcomes, results) = bounded(MAX_UNTAKEN);
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
        let mut outcome = outcome;
        loop {
            match self.outcomes.send_timeout(outcome, LOOK) {
                Ok(()) => return (self.wake)(),
                Err(SendTimeoutError::Timeout(_)) if self.control.is_stopping() => return,
                Err(SendTimeoutError::Timeout(untaken)) => outcome = untaken,
                // Nobody receives any more once the feed has been dropped.
                Err(SendTimeoutError::Disconnected(_)) => return,
            }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn told(number: u64) -> FeedOutcome {
        FeedOutcome::CaughtUp { asked: Instant::now(), position: number, lag_bytes: 0 }
    }

    /// Tells 0, 1, 2 … of which nobody may be behind by more than one.
    fn begin(control: &Arc<FeedControl>, count: u64) -> (Receiver<FeedOutcome>, JoinHandle<()>) {
        let (outcomes, results) = bounded(1);
        let control = control.clone();
        let tell_all = move || {
            let turn = Arc::new(Mutex::new(None));
            let mut teller = Teller { outcomes, turn, control: &control, wake: Arc::new(|| {}) };
            (0..count).for_each(|number| teller.tell(told(number)));
        };
        (results, std::thread::spawn(tell_all))
    }

    #[test]
    fn who_tells_more_than_is_taken_waits_and_loses_nothing() {
        let control = Arc::new(FeedControl::new(Arc::new([]), Arc::default()));
        let (results, teller) = begin(&control, 50);
        for number in 0..50 {
            let outcome = results.recv().expect("it is told");
            assert!(matches!(outcome, FeedOutcome::CaughtUp { position, .. } if position == number), "{outcome:?}");
        }
        teller.join().expect("it ends");
    }

    #[test]
    fn who_waits_to_tell_ends_with_a_stop_though_nobody_takes_it() {
        let control = Arc::new(FeedControl::new(Arc::new([]), Arc::default()));
        let (results, teller) = begin(&control, 50);
        control.stop();
        teller.join().expect("it ends");
        assert_eq!(results.len(), 1);
        let (results, teller) = begin(&control, 50);
        drop(results);
        teller.join().expect("it ends when nobody is there");
    }
}
