//! The threads that wait for Postgres so that no other has to.
//!
//! | file | what |
//! |---|---|
//! | `appliers` | threads that apply batches, one connection each |
//! | `feed` | the thread that follows the change feed, and how much it may tell ahead |
//! | `inbox` | the thread that takes rows of the inbox over and settles them |
//! | `metrics` | the thread that answers Prometheus |
//! | `clerk` | `bear-clerk`: work that needs no Postgres and is too long for Redis' thread |
//!
//! Requests go in through one channel, outcomes come out of another; after each outcome the caller's `wake` is called.
//! Several threads fetch; one more, `bear-aux`, validates catalogs, proposes them, and frees what is too large for its owner's thread.
//! What needs no Postgres is `bear-clerk`'s. Nothing polls while there is nothing to do. Knows no Redis.

mod appliers;
mod clerk;
mod feed;
mod inbox;
mod metrics;
#[cfg(test)]
mod tests;

use std::io;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread::{Builder, JoinHandle};

use crossbeam_channel::{unbounded, Receiver, Sender};

use crate::core::cache::fetch::{FetchError, FetchRequest, Fetched};
use crate::core::cache::stored_form;
use crate::core::changes::image::Image;
use crate::core::derive::tree;
use crate::postgres::{
    stopping, Pool, PoolEvent, PoolFigures, PresentRequest, Proposal, ProposalError, Scheduler, SchedulerWatch,
    ServerIdentity, Settings, Tracker, Validation, ValidationReport,
};

pub use appliers::{AppliedOutcome, Appliers};
pub use clerk::{attempt, Clerk};
pub use feed::{Feed, Told};
pub use inbox::{Inbox, InboxBell, InboxOutcome, InboxRequest, InboxSettings};
pub use metrics::{Counts as MetricsCounts, Listener as MetricsListener, Request as MetricsRequest};

pub type Wake = Arc<dyn Fn() + Send + Sync>;

/// Something to be done by a worker.
#[derive(Debug)]
pub enum Request {
    Fetch(FetchRequest),
    Present(PresentRequest),
    Validate(Validation),
    Propose(Proposal),
}

/// What came of a request, or what was noticed of Postgres.
#[derive(Debug)]
pub enum Outcome {
    Fetched {
        ticket: u64,
        /// Number of the connection that it ran on, 0 where there was none. A result of a connection older than the
        /// last `changed` one comes from a server that is no more.
        connection: u64,
        result: Result<Fetched, FetchError>,
    },
    Present {
        ticket: u64,
        result: Result<Vec<Image>, FetchError>,
    },
    /// A connection was made and will be used from now on.
    Connected {
        connection: u64,
        identity: ServerIdentity,
        /** Differs from the one before. */
        changed: bool,
    },
    Down {
        error: String,
    },
    Up,
    Validated {
        ticket: u64,
        report: Result<ValidationReport, FetchError>,
    },
    Proposed {
        ticket: u64,
        text: Result<String, ProposalError>,
    },
}

/// What the threads that fetch do.
enum Read {
    Fetch(FetchRequest),
    Present(PresentRequest),
}

/// What `bear-aux` does.
enum Chore {
    Validate(Validation),
    Propose(Proposal),
    Dispose(Box<dyn Send>),
}

pub struct Workers {
    /// None once stopped, which ends the threads that wait on the other side.
    senders: Mutex<Option<Senders>>,
    results: Receiver<Outcome>,
    /// The threads' side, for what waits when they are asked to end.
    waiting: Receiver<Read>,
    connecting: SchedulerWatch,
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

struct Senders {
    fetches: Sender<Read>,
    chores: Sender<Chore>,
}

struct Shared {
    /// What pools connect on. None once stopped: there will be no other pool.
    scheduler: Mutex<Option<Scheduler>>,
    /// None once stopped.
    pool: Mutex<Option<Arc<Pool>>>,
    /// Of the newest pool, for messages.
    address: Mutex<String>,
    /// Every pool that may still have sessions or threads.
    pools: Mutex<Vec<Weak<Pool>>>,
    tracker: Arc<Tracker>,
    max_sessions: u32,
    stopping: AtomicBool,
    outcomes: Outcomes,
}

#[derive(Clone)]
struct Outcomes {
    sender: Sender<Outcome>,
    wake: Wake,
}

impl Outcomes {
    fn send(&self, outcome: Outcome) {
        // Nobody receives any more once the workers have been dropped.
        if self.sender.send(outcome).is_ok() {
            (self.wake)();
        }
    }
}

impl Workers {
    /// Starts `threads` threads that fetch, and `bear-aux`. Connections are made in the background.
    ///
    /// `wake` is called on any thread after each outcome; it must be quick and must not call back.
    pub fn start(settings: Settings, threads: usize, wake: Wake) -> io::Result<Workers> {
        let (results_in, results) = unbounded();
        let outcomes = Outcomes { sender: results_in, wake };
        let events = outcomes.clone();
        let tracker = Tracker::new(move |event| {
            events.send(match event {
                PoolEvent::Connected { connection, identity, changed } => {
                    Outcome::Connected { connection, identity, changed }
                }
                PoolEvent::Down { error } => Outcome::Down { error },
                PoolEvent::Up => Outcome::Up,
            });
        });
        let threads = threads.max(1);
        let scheduler = Scheduler::start()?;
        let connecting = scheduler.watch();
        let shared = Arc::new(Shared {
            scheduler: Mutex::new(Some(scheduler)),
            pool: Mutex::new(None),
            address: Mutex::default(),
            pools: Mutex::default(),
            tracker,
            max_sessions: u32::try_from(threads).unwrap_or(u32::MAX).saturating_add(1),
            stopping: AtomicBool::new(false),
            outcomes,
        });
        shared.replace_pool(settings);
        let (fetches, fetches_out) = unbounded();
        let (chores, chores_out) = unbounded();
        let workers = Workers {
            senders: Mutex::new(Some(Senders { fetches, chores })),
            results,
            waiting: fetches_out.clone(),
            connecting,
            shared: shared.clone(),
            threads: Mutex::default(),
        };
        for i in 0..threads {
            let (shared, requests) = (shared.clone(), fetches_out.clone());
            workers.spawn(named(format!("bear-fetch-{i}")), move || fetch_loop(&shared, &requests))?;
        }
        let aux = named("bear-aux".to_owned()).stack_size(tree::STACK);
        workers.spawn(aux, move || chore_loop(&shared, &chores_out))?;
        Ok(workers)
    }

    /// Queues a request; its outcome comes through [`Workers::results`], also once stopped.
    pub fn submit(&self, request: Request) {
        let senders = lock(&self.senders);
        // Both sides live as long as the threads, which end only when the senders are gone.
        match (&*senders, request) {
            (Some(senders), Request::Fetch(request)) => drop(senders.fetches.send(Read::Fetch(request))),
            (Some(senders), Request::Present(request)) => drop(senders.fetches.send(Read::Present(request))),
            (Some(senders), Request::Validate(validation)) => drop(senders.chores.send(Chore::Validate(validation))),
            (Some(senders), Request::Propose(proposal)) => drop(senders.chores.send(Chore::Propose(proposal))),
            (None, Request::Propose(proposal)) => self.shared.refuse_proposal(&proposal),
            (None, Request::Fetch(request)) => self.shared.refuse(&Read::Fetch(request)),
            (None, Request::Present(request)) => self.shared.refuse(&Read::Present(request)),
            (None, Request::Validate(validation)) => self.shared.refuse_validation(&validation),
        }
    }

    pub fn results(&self) -> &Receiver<Outcome> {
        &self.results
    }

    /// Frees `rubbish` on another thread.
    pub fn dispose(&self, rubbish: Box<dyn Send>) {
        match &*lock(&self.senders) {
            Some(senders) => drop(senders.chores.send(Chore::Dispose(rubbish))),
            None => drop(rubbish),
        }
    }

    /// Takes new settings: later fetches use connections made with them, those under way end on theirs.
    pub fn reconfigure(&self, settings: Settings) {
        if let Some(old) = self.shared.replace_pool(settings) {
            // Closing connections takes system calls and perhaps a while.
            self.dispose(Box::new(old));
        }
    }

    /// Fetches prepare their statements anew, for the names in them may mean something else.
    pub fn prepare_anew(&self) {
        if let Some(pool) = self.shared.pool() {
            pool.prepare_anew();
        }
    }

    /// Figures of the pool; None once stopped.
    pub fn figures(&self) -> Option<PoolFigures> {
        self.shared.pool().map(|pool| pool.figures())
    }

    /// Requests that wait for a thread.
    pub fn queued(&self) -> usize {
        lock(&self.senders).as_ref().map_or(0, |senders| senders.fetches.len())
    }

    /// Asks all threads to end, without waiting. What still waits gets an outcome that says so; what is under way ends
    /// by its deadline with its own.
    pub fn stop(&self) {
        self.shared.stopping.store(true, Ordering::Release);
        lock(&self.shared.scheduler).take();
        let pool = lock(&self.shared.pool).take();
        for pool in lock(&self.shared.pools).iter().filter_map(Weak::upgrade) {
            pool.close();
        }
        if let Some(senders) = lock(&self.senders).take() {
            if let Some(pool) = pool {
                let _ = senders.chores.send(Chore::Dispose(Box::new(pool)));
            }
        }
        // Here, for all threads may be busy for as long as a query takes.
        for request in self.waiting.try_iter() {
            self.shared.refuse(&request);
        }
    }

    /// Whether every thread and every pool has ended after [`Workers::stop`]; takes the threads' handles away.
    ///
    /// The last to end may be an attempt to connect, within its limit.
    pub fn is_stopped(&self) -> bool {
        let mut threads = lock(&self.threads);
        let (finished, alive): (Vec<_>, Vec<_>) =
            std::mem::take(&mut *threads).into_iter().partition(JoinHandle::is_finished);
        *threads = alive;
        for thread in finished {
            // Finished, so this does not wait.
            let _ = thread.join();
        }
        let pools = lock(&self.shared.pools);
        self.shared.stopping.load(Ordering::Acquire)
            && threads.is_empty()
            && pools.iter().all(|pool| pool.strong_count() == 0)
            && self.connecting.alive() == 0
    }

    fn spawn(&self, thread: Builder, body: impl FnOnce() + Send + 'static) -> io::Result<()> {
        lock(&self.threads).push(thread.spawn(body)?);
        Ok(())
    }
}

fn named(name: String) -> Builder {
    Builder::new().name(name)
}

impl Shared {
    fn pool(&self) -> Option<Arc<Pool>> {
        lock(&self.pool).clone()
    }

    fn refuse(&self, request: &Read) {
        let error = stopping(&lock(&self.address));
        self.outcomes.send(match request {
            Read::Fetch(FetchRequest { ticket, .. }) => {
                Outcome::Fetched { ticket: *ticket, connection: 0, result: Err(error) }
            }
            Read::Present(PresentRequest { ticket, .. }) => Outcome::Present { ticket: *ticket, result: Err(error) },
        });
    }

    fn refuse_validation(&self, validation: &Validation) {
        let report = Err(stopping(&lock(&self.address)));
        self.outcomes.send(Outcome::Validated { ticket: validation.ticket, report });
    }

    fn refuse_proposal(&self, proposal: &Proposal) {
        let text = Err(stopping(&lock(&self.address)).into());
        self.outcomes.send(Outcome::Proposed { ticket: proposal.ticket, text });
    }

    /// The pool that was in use before. Nothing happens once stopped.
    fn replace_pool(&self, settings: Settings) -> Option<Arc<Pool>> {
        let scheduler = lock(&self.scheduler);
        let scheduler = scheduler.as_ref()?;
        *lock(&self.address) = settings.address();
        let new = Arc::new(Pool::new(settings, self.max_sessions, self.tracker.clone(), scheduler));
        let mut pools = lock(&self.pools);
        pools.retain(|pool| pool.strong_count() > 0);
        pools.push(Arc::downgrade(&new));
        lock(&self.pool).replace(new)
    }
}

fn fetch_loop(shared: &Shared, requests: &Receiver<Read>) {
    while let Ok(request) = requests.recv() {
        let Some(pool) = shared.pool() else {
            shared.refuse(&request);
            continue;
        };
        let request = match request {
            Read::Fetch(request) => request,
            Read::Present(request) => {
                let result = guarded(|| pool.present(&request)).unwrap_or_else(Err);
                drop(pool);
                shared.outcomes.send(Outcome::Present { ticket: request.ticket, result });
                continue;
            }
        };
        let ticket = request.ticket;
        let (connection, result) = guarded(|| {
            let (connection, result) = pool.fetch(&request);
            (connection, result.and_then(|fetched| finished(&request, fetched)))
        })
        .unwrap_or_else(|error| (0, Err(error)));
        drop(pool);
        shared.outcomes.send(Outcome::Fetched { ticket, connection, result });
        // The last of a plan or of a large argument may die here rather than on the caller's thread.
        drop(request);
    }
}

/// Works out what the result belongs to, which may be a thousand names, and its stored form: here rather than on the caller's thread.
fn finished(request: &FetchRequest, mut fetched: Fetched) -> Result<Fetched, FetchError> {
    if let Some(asked) = &request.membership {
        let metas = asked.membership(&fetched.found).metas(&fetched.found);
        fetched.metas = metas.map_err(|error| FetchError::Shape(error.to_string()))?;
        fetched.compared = asked.compared(&fetched.found, fetched.row_count);
    }
    fetched.compressed = request.compress_from.and_then(|from| stored_form::compress(&fetched.json, from));
    Ok(fetched)
}

fn chore_loop(shared: &Shared, chores: &Receiver<Chore>) {
    while let Ok(chore) = chores.recv() {
        match chore {
            Chore::Validate(validation) => {
                let Some(pool) = shared.pool() else {
                    shared.refuse_validation(&validation);
                    continue;
                };
                let report = guarded(|| pool.validate(&validation)).unwrap_or_else(Err);
                drop(pool);
                shared.outcomes.send(Outcome::Validated { ticket: validation.ticket, report });
            }
            Chore::Propose(proposal) => {
                let Some(pool) = shared.pool() else {
                    shared.refuse_proposal(&proposal);
                    continue;
                };
                let text = guarded(|| pool.propose(&proposal)).unwrap_or_else(|error| Err(error.into()));
                drop(pool);
                shared.outcomes.send(Outcome::Proposed { ticket: proposal.ticket, text });
            }
            Chore::Dispose(rubbish) => drop(guarded(|| drop(rubbish))),
        }
    }
}

/// Runs `work`; a panic becomes an error and the thread goes on.
fn guarded<T>(work: impl FnOnce() -> T) -> Result<T, FetchError> {
    // A session that was in use is left marked as unusable, and the rest is behind mutexes that forgive.
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| {
        let text = panic
            .downcast_ref::<&str>()
            .copied()
            .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
            .unwrap_or("unknown");
        log::error!("a worker panicked: {text}");
        FetchError::Statement {
            sqlstate: "XX000".to_owned(),
            message: "internal error in a worker; the server's log has more".to_owned(),
        }
    })
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
