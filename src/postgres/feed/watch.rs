//! Looks at what answers depend on, on a thread and a connection of its own: however long it takes, the feed follows on.
//!
//! ```text
//! feed:    catalog, Connected     each probe, if no look is under way     Altered (the sections that differ)
//!                |  waits for a part of the grace   |                        ^
//! thread:        +--- look --- known                +---- look ---- differ --+---- fails: connects anew at the next
//! ```
//! Invariant: nobody is told that all is told up to a moment more than half a grace after the begin of the last look that
//! ended. So answers that DDL has changed are withheld a grace and a half after it at the latest, though no look ends.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{bounded, Receiver, RecvTimeoutError, Sender, TryRecvError};

use crate::core::catalog::Section;
use crate::postgres::connect::client::Client;
use crate::postgres::connect::failure::Failure;
use crate::postgres::connect::identity::ServerIdentity;
use crate::postgres::connect::session::{connect, Access};
use crate::postgres::connect::settings::Settings;

use super::answers::{words, Answers, Meaning, Words};
use super::control::FeedControl;
use super::error::FeedError;

/// Of the time at most one part in so many is spent on looking, unless the grace asks for more.
const SPARING: u32 = 50;

/// The longest look.
const LIMIT: Duration = Duration::from_secs(30);

/// How often a wait for the first look sees whether it is to end.
const SLICE: Duration = Duration::from_millis(50);

/// Whoever waits for other things sees so often whether a look has ended.
pub(super) const SEE_AGAIN: Duration = Duration::from_millis(5);

/// What was altered is told once more so long after that at the least: by then every session has heard of it.
pub(super) fn retell_after(grace: Duration) -> Duration {
    (grace / 8).min(Duration::from_millis(50))
}

struct Order {
    catalog: u64,
    words: Words,
}

struct Looked {
    catalog: u64,
    begun: Instant,
    result: Result<Meaning, Failed>,
}

/// Why a look did not end.
enum Failed {
    /// The next one may.
    ForNow(String),
    /// Postgres does not let us.
    ForGood(String),
}

/// The feed's end of it.
pub(super) struct Watch {
    orders: Option<Sender<Order>>,
    looks: Receiver<Looked>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    grace: Duration,
    /// Counts the catalogs that were followed.
    catalog: u64,
    words: Words,
    is_looking: bool,
    look_at: Instant,
    /// Begin of the last look that ended; before the first, when everything was cold.
    known_at: Instant,
    is_known: bool,
    is_closed: bool,
    /// The log has been told that looks fail.
    is_told: bool,
}

impl Watch {
    /// On the server of that identity.
    pub(super) fn start(settings: &Settings, identity: &ServerIdentity, grace: Duration) -> Result<Watch, FeedError> {
        let time_ms = u64::try_from(LIMIT.as_millis()).unwrap_or(u64::MAX);
        let settings = Settings { prepare: true, query_timeout_ms: time_ms, ..settings.clone() };
        // One look at a time: neither end ever waits for the other.
        let ((orders, taken), (told, looks)) = (bounded(1), bounded(1));
        let stop = Arc::new(AtomicBool::new(false));
        let looker = Looker { settings, identity: identity.clone(), stop: stop.clone(), client: None };
        let thread = Builder::new()
            .name("bear-answers".to_owned())
            .spawn(move || looker.run(&taken, &told))
            .map_err(|error| FeedError::Other(error.to_string()))?;
        let now = Instant::now();
        Ok(Watch {
            orders: Some(orders),
            looks,
            stop,
            thread: Some(thread),
            grace,
            catalog: 0,
            words: Arc::default(),
            is_looking: false,
            look_at: now,
            known_at: now,
            is_known: false,
            is_closed: false,
            is_told: false,
        })
    }

    /// Of these sections from now on, which are cold until now. The first look is waited for, but not for long.
    pub(super) fn follow(&mut self, sections: &[Section], control: &FeedControl) {
        self.catalog += 1;
        self.words = words(sections);
        self.is_known = false;
        let until = Instant::now() + self.grace / 2;
        while !self.is_known && !self.is_closed && !control.is_stopping() {
            self.ask(Instant::now());
            let left = until.saturating_duration_since(Instant::now());
            match self.looks.recv_timeout(left.min(SLICE)) {
                // Tried again at the next probe.
                Ok(looked) if looked.result.is_err() => {
                    self.judge(looked);
                    break;
                }
                Ok(looked) => drop(self.judge(looked)),
                Err(RecvTimeoutError::Timeout) if !left.is_zero() => {}
                Err(_) => break,
            }
        }
        if !self.is_known {
            self.known_at = Instant::now();
        }
    }

    /// Has it looked at, if it is time.
    pub(super) fn ask(&mut self, now: Instant) {
        if self.is_looking || self.is_closed || (self.is_known && now < self.look_at) {
            return;
        }
        let order = Order { catalog: self.catalog, words: self.words.clone() };
        self.is_looking = self.orders.as_ref().is_some_and(|orders| orders.try_send(order).is_ok());
    }

    pub(super) fn is_looking(&self) -> bool {
        self.is_looking
    }

    /// The sections whose answers may be others by now. Waits for nobody.
    pub(super) fn changed(&mut self) -> Result<Vec<usize>, FeedError> {
        match self.looks.try_recv() {
            Ok(looked) => Ok(match self.judge(looked) {
                // What is cached is older than what is known.
                Some(Meaning::Known) => (0..self.words.len()).collect(),
                Some(Meaning::Changed(sections)) => sections,
                Some(Meaning::Unknown) | None => Vec::new(),
            }),
            Err(TryRecvError::Empty) => Ok(Vec::new()),
            Err(TryRecvError::Disconnected) => {
                Err(FeedError::Other("the thread that looks at Postgres' catalogs has ended".to_owned()))
            }
        }
    }

    /// All has been told that was committed before; up to when does that hold of what answers depend on, too?
    pub(super) fn bound(&self, asked: Instant) -> Instant {
        match self.is_closed {
            true => asked,
            false => asked.min(self.known_at + self.grace / 2),
        }
    }

    /// What a look says of the catalog that is followed.
    fn judge(&mut self, looked: Looked) -> Option<Meaning> {
        self.is_looking = false;
        let Looked { catalog, begun, result } = looked;
        match result {
            Ok(_) if catalog != self.catalog => None,
            Ok(meaning) => {
                if std::mem::take(&mut self.is_told) {
                    log::info!("what cached results depend on in Postgres' catalogs is known again");
                }
                self.is_known = true;
                self.known_at = begun.max(self.known_at);
                // Half a grace after this one the next has ended, where that is possible.
                self.look_at = begun + (begun.elapsed() * SPARING).min(self.grace / 4);
                Some(meaning)
            }
            Err(Failed::ForNow(why)) => {
                if !std::mem::replace(&mut self.is_told, true) {
                    log::warn!(
                        "what cached results depend on in Postgres' catalogs cannot be looked at, and a grace and a half \
                         later they are fetched anew: {why}"
                    );
                }
                Some(Meaning::Unknown)
            }
            Err(Failed::ForGood(why)) => {
                // The rest of the feed is as good as without.
                self.is_closed = true;
                log::warn!(
                    "cached results stay when a view, a function or a type is altered, until their TTL ends: {why}"
                );
                Some(Meaning::Unknown)
            }
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            // It ends at once, but for an attempt to connect, within its limit.
            let _ = thread.join();
        }
    }
}

/// The thread's end.
struct Looker {
    settings: Settings,
    identity: ServerIdentity,
    stop: Arc<AtomicBool>,
    client: Option<Client>,
}

impl Looker {
    fn run(mut self, orders: &Receiver<Order>, looks: &Sender<Looked>) {
        let mut last: Option<(u64, Answers)> = None;
        for Order { catalog, words } in orders {
            let begun = Instant::now();
            let known = last.take().filter(|(number, _)| *number == catalog);
            let mut answers = known.map_or_else(|| Answers::new(words), |(_, answers)| answers);
            let result = self.look(&mut answers);
            last = Some((catalog, answers));
            if looks.send(Looked { catalog, begun, result }).is_err() {
                return;
            }
        }
    }

    fn look(&mut self, answers: &mut Answers) -> Result<Meaning, Failed> {
        let client = match &mut self.client {
            Some(client) => client,
            None => {
                answers.prepare_anew();
                let (mut client, identity) =
                    connect(&self.settings, Access::ReadOnly).map_err(|error| Failed::ForNow(error.to_string()))?;
                if identity != self.identity {
                    return Err(Failed::ForNow("the hosts of the URL lead to different servers".to_owned()));
                }
                client.stop_by(self.stop.clone(), Duration::ZERO);
                self.client.insert(client)
            }
        };
        client.set_deadline(Instant::now() + LIMIT);
        let failure = match answers.look(client) {
            Ok(meaning) => return Ok(meaning),
            Err(failure) => failure,
        };
        if failure == Failure::Silent {
            client.cancel();
        }
        self.client = None;
        // Rights, and what this Postgres does not have.
        let for_good = failure.sqlstate().is_some_and(|code| code.starts_with("42"));
        let why = FeedError::from(failure).to_string();
        Err(if for_good { Failed::ForGood(why) } else { Failed::ForNow(why) })
    }
}
