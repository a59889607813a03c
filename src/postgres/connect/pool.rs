//! Sessions for the workers, and whether Postgres is there.
//!
//! ```text
//! Starting --connect--> Up --connect fails--> Down --connect--> Up
//!     \------connect fails-----------------/
//! ```
//! Only an attempt to connect changes the state, and r2d2 repeats a failed attempt until it succeeds: so whatever is
//! Down is being tried again, with requests or without. While it is Down a fetch fails at once.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use r2d2::{ManageConnection, PooledConnection};
use rustc_hash::FxHashMap;
use tokio_postgres::error::SqlState;

use crate::core::cache::fetch::{FetchError, FetchRequest, Fetched};

use super::failure::{EndedBy, Failure};
use super::identity::ServerIdentity;
use super::scheduler::Scheduler;
use super::session::{lock, ConnectError, Learned, Session};
use super::settings::Settings;

/// r2d2 0.8.10 repeats a failed attempt after min(400 ms, half of this): a Postgres that is back is seen within a second.
const CONNECTION_TIMEOUT: Duration = Duration::from_millis(800);
/// At most one attempt in this time while Postgres is away, however many sessions r2d2 wants.
const ATTEMPT_GAP: Duration = Duration::from_millis(300);
/// A wait for a session looks at the state again after this, for r2d2 does not end a wait when an attempt fails.
const WAIT_SLICE: Duration = Duration::from_millis(10);
/// After a deadline Postgres has this long to say itself that the time is up, which keeps the session. Together with the
/// request to cancel (200 ms) less than half a second.
const GRACE: Duration = Duration::from_millis(200);
const IDLE_LIFE: Duration = Duration::from_secs(300);
/// A statement under which so many sessions ended, one after the other and with none that lived, while Postgres answers
/// others, ends them itself.
const ENDS_TO_BE_GUILTY: u32 = 2;
/// Statements of which that is remembered.
const MAX_SUSPECTS: usize = 1_000;
/// An error for want of time that comes earlier than so long before a limit is not the limit's.
const MAX_DOUBT: Duration = Duration::from_millis(500);
/// Sessions in a row that do not even answer a question: then Postgres is not there.
const MAX_SILENT: u32 = 3;
/// Sessions of which the wire was cut amid one piece of work.
const MAX_CUTS: u32 = 2;

/// What the pool has noticed; sent from its own threads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PoolEvent {
    /// A session was made and will be used; later sessions have greater numbers.
    Connected {
        connection: u64,
        identity: ServerIdentity,
        changed: bool,
    },
    Down {
        error: String,
    },
    Up,
}

/// Numbers connections and knows the newest server, over the life of several pools.
pub struct Tracker {
    newest: Mutex<Newest>,
    report: Box<dyn Fn(PoolEvent) + Send + Sync>,
}

#[derive(Default)]
struct Newest {
    pool: u64,
    connection: u64,
    identity: Option<ServerIdentity>,
}

impl Tracker {
    pub fn new(report: impl Fn(PoolEvent) + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Tracker { newest: Mutex::default(), report: Box::new(report) })
    }

    /// From now on only the pool that gets this number counts.
    fn adopt(&self) -> u64 {
        let mut newest = lock(&self.newest);
        newest.pool += 1;
        newest.pool
    }

    /// Numbers a session and reports it before it is used; None where its pool has been replaced.
    fn connected(&self, pool: u64, identity: &ServerIdentity) -> Option<u64> {
        let mut newest = lock(&self.newest);
        if newest.pool != pool {
            return None;
        }
        let changed = newest.identity.as_ref().is_some_and(|known| known != identity);
        newest.identity = Some(identity.clone());
        newest.connection += 1;
        // Under the lock, so that reports are in the order of their numbers.
        (self.report)(PoolEvent::Connected { connection: newest.connection, identity: identity.clone(), changed });
        Some(newest.connection)
    }

    fn report(&self, pool: u64, event: PoolEvent) {
        let newest = lock(&self.newest);
        if newest.pool == pool {
            (self.report)(event);
        }
    }

    fn is_newest(&self, identity: &ServerIdentity) -> bool {
        lock(&self.newest).identity.as_ref() == Some(identity)
    }

    fn newest_connection(&self) -> u64 {
        lock(&self.newest).connection
    }
}

/// Figures of a pool for INFO.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolFigures {
    /// None until the first attempt to connect has ended.
    pub up: Option<bool>,
    /// Since when it is up or down.
    pub since: SystemTime,
    pub size: u32,
    pub idle: u32,
    pub in_use: u32,
    pub max_size: u32,
    pub connects: u64,
    pub connect_failures: u64,
    /// The latest failure to connect, without secrets, and when it was.
    pub last_error: Option<(String, SystemTime)>,
}

pub struct Pool {
    inner: r2d2::Pool<Connector>,
    state: Arc<State>,
}

/// A statement under which sessions have ended.
struct Suspect {
    /// How many, one after the other: what ends several at once, such as a restart, counts as one.
    ends: u32,
    last: Instant,
}

/// What the pool and the sessions in the making share.
struct State {
    number: u64,
    settings: Arc<Settings>,
    address: String,
    tracker: Arc<Tracker>,
    learned: Arc<Learned>,
    health: Mutex<Health>,
    /// Connections up to this number were there when one of them broke: idle ones are closed unasked, for whatever
    /// ended one has mostly ended all.
    distrusted: AtomicU64,
    /// Statements under which sessions have ended since one last lived through them.
    suspects: Mutex<FxHashMap<u64, Suspect>>,
    connects: AtomicU64,
    connect_failures: AtomicU64,
    /// No session will be made any more.
    closing: AtomicBool,
}

struct Health {
    standing: Standing,
    since: SystemTime,
    last_error: Option<(String, SystemTime)>,
}

enum Standing {
    Starting,
    Up,
    Down { error: ConnectError, next_attempt: Instant },
}

/// A session and the number under which it was reported.
pub(in crate::postgres) struct Numbered {
    pub(in crate::postgres) session: Session,
    connection: u64,
}

/// How a session ended under what it ran.
struct End {
    what: String,
    by: EndedBy,
    server: ServerIdentity,
    begun: Instant,
    ended: Instant,
}

impl End {
    /// Whether Postgres ended it and went on, as the server tells that answers now: it said so, or it crashed. Not where
    /// the server was started anew since, which no statement does.
    fn is_from_within(&self, now: &ServerIdentity) -> bool {
        let is_same_start = self.server.server_start() == now.server_start();
        is_same_start && (self.by == EndedBy::Postgres || self.server != *now)
    }
}

impl Pool {
    /// Starts at once and connects in the background. `max_size` counts the threads that take sessions.
    pub fn new(settings: Settings, max_size: u32, tracker: Arc<Tracker>, scheduler: &Scheduler) -> Pool {
        let state = Arc::new(State {
            number: tracker.adopt(),
            address: settings.address(),
            settings: Arc::new(settings),
            tracker,
            learned: Arc::default(),
            health: Mutex::new(Health { standing: Standing::Starting, since: SystemTime::now(), last_error: None }),
            distrusted: AtomicU64::new(0),
            suspects: Mutex::default(),
            connects: AtomicU64::new(0),
            connect_failures: AtomicU64::new(0),
            closing: AtomicBool::new(false),
        });
        let inner = r2d2::Pool::builder()
            .max_size(max_size.max(1))
            .min_idle(Some(1))
            .test_on_check_out(false)
            .idle_timeout(Some(IDLE_LIFE))
            .connection_timeout(CONNECTION_TIMEOUT)
            .thread_pool(scheduler.threads.clone())
            .error_handler(Box::new(r2d2::NopErrorHandler))
            .build_unchecked(Connector { state: state.clone() });
        Pool { inner, state }
    }

    /// Statements are prepared anew, for their names may mean something else.
    pub fn prepare_anew(&self) {
        self.state.learned.renew();
    }

    /// From now on nobody waits for a session that is yet to be made.
    pub fn close(&self) {
        self.state.closing.store(true, Ordering::Release);
    }

    /// Runs a fetch; the number of the connection that it ran on, 0 where there was none.
    pub fn fetch(&self, request: &FetchRequest) -> (u64, Result<Fetched, FetchError>) {
        self.with_session(request.deadline, request.plan.id, |numbered| {
            let Numbered { session, connection } = numbered;
            session.fetch(request, &mut |identity| match self.state.tracker.connected(self.state.number, identity) {
                Some(number) => {
                    *connection = number;
                    true
                }
                None => false,
            })
        })
    }

    pub fn figures(&self) -> PoolFigures {
        let state = self.inner.state();
        let health = lock(&self.state.health);
        PoolFigures {
            up: match health.standing {
                Standing::Starting => None,
                Standing::Up => Some(true),
                Standing::Down { .. } => Some(false),
            },
            since: health.since,
            size: state.connections,
            idle: state.idle_connections,
            in_use: state.connections.saturating_sub(state.idle_connections),
            max_size: self.inner.max_size(),
            connects: self.state.connects.load(Ordering::Relaxed),
            connect_failures: self.state.connect_failures.load(Ordering::Relaxed),
            last_error: health.last_error.clone(),
        }
    }

    /// Runs `work`, which only reads, on a session; a second time where the first session turned out to be gone.
    ///
    /// Where that one ends as well, from within Postgres, and Postgres answers a third, it is the statement that ends them,
    /// and so is the error: Postgres is not away, and no other session is given up. Where the wire was cut twice, it is an
    /// outage. `statement` tells whose ends are counted; 0 is nobody's.
    pub(in crate::postgres) fn with_session<T>(
        &self,
        deadline: Instant,
        statement: u64,
        mut work: impl FnMut(&mut Numbered) -> Result<T, Failure>,
    ) -> (u64, Result<T, FetchError>) {
        // How the last session ended, and how many ended here: from within Postgres, by the wire, and before they were used.
        let mut end: Option<End> = None;
        let (mut ends, mut cuts, mut silent, mut misled) = (0, 0, 0, false);
        loop {
            let mut numbered = match self.checkout(deadline) {
                Ok(numbered) => numbered,
                Err(error) => return (0, Err(error)),
            };
            let connection = numbered.connection;
            numbered.session.unusable = true;
            numbered.session.client.set_deadline(deadline + GRACE);
            if let Some(last) = &end {
                let what = &last.what;
                if let Err(error) = numbered.session.client.batch_execute("SELECT 1") {
                    // Whatever ended that one has ended this one, too, before anybody used it.
                    self.state.distrust(connection);
                    silent += 1;
                    match Failure::from(error) {
                        Failure::Silent | Failure::TimedOut(_) => return (connection, Err(self.state.timeout())),
                        _ if silent >= MAX_SILENT => return (connection, Err(self.state.unavailable(what))),
                        _ => continue,
                    }
                }
                if last.is_from_within(&numbered.session.identity) {
                    self.state.suspect(statement, last);
                    ends += 1;
                    if ends >= ENDS_TO_BE_GUILTY || self.state.is_guilty(statement) {
                        numbered.session.unusable = false;
                        return (connection, Err(ends_its_connection(what)));
                    }
                } else {
                    cuts += 1;
                    if cuts >= MAX_CUTS {
                        numbered.session.unusable = false;
                        return (connection, Err(self.state.unavailable(what)));
                    }
                }
            }
            let begun = Instant::now();
            let result = work(&mut numbered);
            let session = &mut numbered.session;
            // Whoever comes next must not find itself in a transaction, least of all in one that is aborted.
            session.unusable = result.as_ref().is_err_and(Failure::abandons) || session.roll_back().is_err();
            let connection = numbered.connection;
            let error = match result {
                Ok(done) => {
                    self.state.acquit(statement);
                    return (connection, Ok(done));
                }
                Err(Failure::Ended { what, by }) => {
                    log::info!("lost a connection to Postgres at {}: {what}", self.state.address);
                    let server = numbered.session.identity.clone();
                    end = Some(End { what, by, server, begun, ended: Instant::now() });
                    continue;
                }
                Err(Failure::Broken(what)) if !misled => {
                    self.state.distrust(connection);
                    log::info!("gave up a connection to Postgres at {}: {what}", self.state.address);
                    misled = true;
                    continue;
                }
                // A connection that has just been made would lead there again.
                Err(Failure::Broken(what)) => self.state.unavailable(&what),
                // A function may raise these classes, or not wait for a lock.
                Err(Failure::TimedOut(Some(said))) if !self.state.is_time_up(begun, deadline) => said,
                Err(Failure::TimedOut(_)) => self.state.timeout(),
                Err(Failure::Silent) => {
                    // What silenced one has mostly silenced all.
                    self.state.distrust(connection);
                    log::warn!("Postgres at {} fell silent: a connection is given up", self.state.address);
                    numbered.session.cancel();
                    self.state.timeout()
                }
                Err(Failure::Fetch(error)) => error,
            };
            return (connection, Err(error));
        }
    }

    /// A session that leads to the newest server; fails at once while there is none to be had.
    fn checkout(&self, deadline: Instant) -> Result<PooledConnection<Connector>, FetchError> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let session = match self.inner.try_get() {
                Some(session) => Some(session),
                None => {
                    self.state.fail_if_down(self.inner.state().connections)?;
                    if left.is_zero() {
                        return Err(self.state.timeout());
                    }
                    self.inner.get_timeout(left.min(WAIT_SLICE)).ok()
                }
            };
            let Some(mut session) = session else { continue };
            if self.state.trusts(&session) {
                return Ok(session);
            }
            session.session.unusable = true;
        }
    }
}

impl State {
    fn trusts(&self, numbered: &Numbered) -> bool {
        let trusted = numbered.connection > self.distrusted.load(Ordering::Acquire);
        trusted && numbered.session.is_usable() && self.tracker.is_newest(&numbered.session.identity)
    }

    fn distrust(&self, broken: u64) {
        let newest = self.tracker.newest_connection();
        // Of those that break together the first one speaks for all; what was made since is good.
        let _ = self
            .distrusted
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |distrusted| (broken > distrusted).then_some(newest));
    }

    /// A session has ended under the statement.
    fn suspect(&self, statement: u64, end: &End) {
        let mut suspects = lock(&self.suspects);
        if suspects.len() >= MAX_SUSPECTS {
            suspects.clear();
        }
        let suspect = suspects.entry(statement).or_insert(Suspect { ends: 0, last: end.begun });
        if end.begun >= suspect.last {
            *suspect = Suspect { ends: suspect.ends.saturating_add(1), last: end.ended };
        }
    }

    fn is_guilty(&self, statement: u64) -> bool {
        statement != 0 && lock(&self.suspects).get(&statement).is_some_and(|suspect| suspect.ends >= ENDS_TO_BE_GUILTY)
    }

    /// A session has lived through it.
    fn acquit(&self, statement: u64) {
        let mut suspects = lock(&self.suspects);
        if !suspects.is_empty() {
            suspects.remove(&statement);
        }
    }

    fn fail_if_down(&self, sessions: u32) -> Result<(), FetchError> {
        if self.closing.load(Ordering::Acquire) {
            return Err(stopping(&self.address));
        }
        match &lock(&self.health).standing {
            Standing::Down { error, .. } if error.crowded && sessions > 0 => Ok(()),
            Standing::Down { error, next_attempt } => Err(FetchError::Unavailable {
                what: error.what.clone(),
                host: self.address.clone(),
                retry_in_ms: millis_until(*next_attempt),
            }),
            Standing::Starting | Standing::Up => Ok(()),
        }
    }

    fn unavailable(&self, what: &str) -> FetchError {
        let retry_in_ms = match &lock(&self.health).standing {
            Standing::Down { next_attempt, .. } => millis_until(*next_attempt),
            Standing::Starting | Standing::Up => 0,
        };
        FetchError::Unavailable { what: what.to_owned(), host: self.address.clone(), retry_in_ms }
    }

    /// Whether work begun then may have met a limit of ours by now: that of a statement, that of a wait for a lock, or the
    /// deadline. In doubt it has, for the server's clock is another.
    fn is_time_up(&self, begun: Instant, deadline: Instant) -> bool {
        let limit = Duration::from_millis(self.settings.statement_timeout_ms());
        let doubt = (limit / 10).clamp(Duration::from_millis(2), MAX_DOUBT);
        let now = Instant::now() + doubt;
        now >= deadline || now.duration_since(begun) >= limit
    }

    fn timeout(&self) -> FetchError {
        FetchError::Timeout { timeout_ms: self.settings.query_timeout_ms }
    }

    fn is_up(&self) -> bool {
        matches!(lock(&self.health).standing, Standing::Up)
    }

    fn set_up(&self) {
        self.connects.fetch_add(1, Ordering::Relaxed);
        let mut health = lock(&self.health);
        if matches!(health.standing, Standing::Up) {
            return;
        }
        health.standing = Standing::Up;
        health.since = SystemTime::now();
        drop(health);
        log::info!("connected to Postgres at {}", self.address);
        self.tracker.report(self.number, PoolEvent::Up);
    }

    fn set_down(&self, error: &ConnectError) {
        self.connect_failures.fetch_add(1, Ordering::Relaxed);
        let mut health = lock(&self.health);
        let was_down = matches!(health.standing, Standing::Down { .. });
        health.standing = Standing::Down { error: error.clone(), next_attempt: Instant::now() + ATTEMPT_GAP };
        health.last_error = Some((error.what.clone(), SystemTime::now()));
        if was_down {
            return;
        }
        health.since = SystemTime::now();
        drop(health);
        log::warn!("Postgres at {} is unavailable: {error}", self.address);
        self.tracker.report(self.number, PoolEvent::Down { error: error.what.clone() });
    }

    /// The failure that still stands, where the last attempt was a moment ago.
    fn recent_failure(&self) -> Option<ConnectError> {
        match &lock(&self.health).standing {
            Standing::Down { error, next_attempt } if Instant::now() < *next_attempt => Some(error.clone()),
            _ => None,
        }
    }
}

/// What becomes of a statement that ends the sessions that run it.
fn ends_its_connection(what: &str) -> FetchError {
    FetchError::Statement {
        sqlstate: SqlState::CONNECTION_FAILURE.code().to_owned(),
        message: format!("the statement ends its connection each time, and Postgres answers on others: {what}"),
    }
}

/// What becomes of a fetch that a stop has overtaken.
pub fn stopping(address: &str) -> FetchError {
    FetchError::Unavailable { what: "bear is stopping".to_owned(), host: address.to_owned(), retry_in_ms: 0 }
}

fn millis_until(instant: Instant) -> u64 {
    u64::try_from(instant.saturating_duration_since(Instant::now()).as_millis()).unwrap_or(u64::MAX)
}

/// Makes sessions for r2d2, on its threads.
struct Connector {
    state: Arc<State>,
}

impl ManageConnection for Connector {
    type Connection = Numbered;
    type Error = ConnectError;

    fn connect(&self) -> Result<Numbered, ConnectError> {
        let state = &self.state;
        if let Some(error) = state.recent_failure() {
            return Err(error);
        }
        let connect = || Session::connect(state.settings.clone(), state.learned.clone());
        let started = Instant::now();
        // Where Postgres was up, one connection that was ended in the making says nothing; a Postgres that went down says so again.
        let result = connect().or_else(|error| match state.is_up() && started.elapsed() < ATTEMPT_GAP {
            true => connect(),
            false => Err(error),
        });
        let session = result.inspect_err(|error| state.set_down(error))?;
        let connection = state.tracker.connected(state.number, &session.identity);
        let connection = connection.ok_or_else(|| ConnectError::other("the pool has been replaced".to_owned()))?;
        state.set_up();
        Ok(Numbered { session, connection })
    }

    fn is_valid(&self, numbered: &mut Numbered) -> Result<(), ConnectError> {
        match numbered.session.is_usable() {
            true => Ok(()),
            false => Err(ConnectError::other("connection closed".to_owned())),
        }
    }

    fn has_broken(&self, numbered: &mut Numbered) -> bool {
        !numbered.session.is_usable()
    }
}
