//! One connection to Postgres with its settings pinned, never writing, and its prepared statements.
//!
//! With `prepare` the settings are pinned once and statements live as long as the session. Without it nothing may
//! outlive a transaction, because a pooler may put the next one elsewhere: each is opened with the settings and the
//! question whether it is still the same server.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio_postgres::error::SqlState;
use tokio_postgres::{Config, Statement};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::core::catalog::fetch_plan::FetchPlan;

use super::client::{Client, ClientError};
use super::columns;
use super::error_text::describe;
use super::failure::Failure;
use super::hosts;
use super::identity::{self, ServerIdentity, Standing};
use super::pinned::{pinned, Scope};
use super::pooled;
use super::settings::Settings;
use super::shape::Shape;
use super::tls;
use crate::postgres::values::params::declared_types;

/// Prepared statements kept a session; the one unused for longest makes room.
const MAX_STATEMENTS: usize = 500;

/// A fetch with less than its usual time by more than this has Postgres told so; what passes on the way to Postgres is
/// less, and the client's own deadline comes later than this.
const TIME_SLACK: Duration = Duration::from_millis(100);

/// How long a shape learned by one session serves others, where statements are not prepared.
const SHAPE_LIFE: Duration = Duration::from_secs(60);

const IN_RECOVERY: &str = "the server is a standby in recovery, which may lag; connect to the primary";

/// Whatever the role has set, each statement sees what has been committed by then.
pub(in crate::postgres) const BEGIN_READ: &str = "BEGIN ISOLATION LEVEL READ COMMITTED, READ ONLY, NOT DEFERRABLE;";

/// The same for what several statements ask of one moment. It holds up nobody's writes: no row is locked, and reads alone are no reason
/// to refuse one.
pub(in crate::postgres) const BEGIN_READ_ONE_MOMENT: &str =
    "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY, NOT DEFERRABLE;";

/// What the sessions of a pool know in common.
#[derive(Default)]
pub(in crate::postgres) struct Learned {
    /// Shapes by plan, where sessions may not keep statements.
    shapes: Mutex<HashMap<u64, (Instant, Arc<Shape>)>>,
    /// How often the names in statements have come to mean something else. Postgres looks at a prepared one again when what
    /// it means is altered, not when another table gets in front of it.
    renewals: AtomicU64,
}

impl Learned {
    /// Statements are prepared anew from now on.
    pub(in crate::postgres) fn renew(&self) {
        self.renewals.fetch_add(1, Ordering::AcqRel);
        lock(&self.shapes).clear();
    }
}

pub(in crate::postgres) struct Session {
    pub(in crate::postgres) client: Client,
    pub(in crate::postgres) settings: Arc<Settings>,
    pub(in crate::postgres) identity: ServerIdentity,
    /// Set while something is under way and left set by what makes the connection unusable.
    pub(in crate::postgres) unusable: bool,
    /// A transaction was begun, and not yet ended.
    in_transaction: bool,
    learned: Arc<Learned>,
    statements: HashMap<u64, Prepared>,
    /// The renewal that they are of.
    renewal: u64,
    uses: u64,
    /// The statement_timeout in force.
    timeout_ms: u64,
}

#[derive(Clone)]
pub(in crate::postgres) struct Prepared {
    pub(in crate::postgres) statement: Statement,
    pub(in crate::postgres) shape: Arc<Shape>,
    last_use: u64,
}

impl Session {
    /// Connects to the first host that is no standby; fails with a line that holds no password.
    pub(in crate::postgres) fn connect(
        settings: Arc<Settings>,
        learned: Arc<Learned>,
    ) -> Result<Session, ConnectError> {
        let (client, identity) = connect(&settings, Access::ReadOnly)?;
        let timeout_ms = settings.statement_timeout_ms();
        let (statements, renewal) = (HashMap::new(), 0);
        Ok(Session {
            client,
            settings,
            identity,
            unusable: false,
            in_transaction: false,
            learned,
            statements,
            renewal,
            uses: 0,
            timeout_ms,
        })
    }

    /// Whether it may be used again, as far as can be told without asking the server.
    pub(in crate::postgres) fn is_usable(&self) -> bool {
        !self.unusable && !self.client.is_closed()
    }

    /// Opens a transaction that reads; tells which server it is on. Only without `prepare`.
    pub(in crate::postgres) fn begin(&mut self) -> Result<ServerIdentity, Failure> {
        let prefix = format!("{BEGIN_READ} {}", self.pinned_locally());
        self.in_transaction = true;
        match identity::ask(&mut self.client, &prefix)? {
            Standing::Primary(identity) => {
                self.timeout_ms = self.settings.statement_timeout_ms();
                Ok(identity)
            }
            Standing::InRecovery => Err(Failure::Broken(IN_RECOVERY.to_owned())),
        }
    }

    /// Runs what begins a transaction.
    pub(in crate::postgres) fn open(&mut self, begin: &str) -> Result<(), Failure> {
        self.in_transaction = true;
        Ok(self.client.batch_execute(begin)?)
    }

    pub(in crate::postgres) fn commit(&mut self) -> Result<(), Failure> {
        self.client.batch_execute("COMMIT")?;
        self.in_transaction = false;
        Ok(())
    }

    /// Ends the transaction if one was begun: whoever leaves in the middle need not, for the pool does it.
    pub(in crate::postgres) fn roll_back(&mut self) -> Result<(), Failure> {
        if self.in_transaction {
            self.client.batch_execute("ROLLBACK")?;
            self.in_transaction = false;
        }
        Ok(())
    }

    /// What a transaction begins with, where settings may not outlive one.
    pub(in crate::postgres) fn pinned_locally(&self) -> String {
        pinned(&self.settings, Scope::Transaction, self.client.server_version())
    }

    /// Lets Postgres cancel by itself when the time is up. Costs a round trip only where clearly less than usual is left.
    pub(in crate::postgres) fn limit_time(&mut self, left: Duration) -> Result<(), Failure> {
        let usual_ms = self.settings.statement_timeout_ms();
        let left_ms = u64::try_from(left.as_millis()).unwrap_or(u64::MAX).max(1);
        let slack_ms = (usual_ms / 10).min(TIME_SLACK.as_millis() as u64);
        let wanted_ms = if left_ms >= usual_ms - slack_ms { usual_ms } else { left_ms };
        if wanted_ms != self.timeout_ms {
            let scope = if self.settings.prepare { "SET" } else { "SET LOCAL" };
            self.client.batch_execute(&format!("{scope} statement_timeout = {wanted_ms}"))?;
            self.timeout_ms = wanted_ms;
        }
        Ok(())
    }

    /// The plan's statement, prepared at its first use in this session.
    pub(in crate::postgres) fn prepare(&mut self, plan: &FetchPlan) -> Result<Prepared, Failure> {
        self.uses += 1;
        let renewal = self.learned.renewals.load(Ordering::Acquire);
        if std::mem::replace(&mut self.renewal, renewal) != renewal {
            self.statements.clear();
        }
        if let Some(prepared) = self.statements.get_mut(&plan.id) {
            prepared.last_use = self.uses;
            return Ok(prepared.clone());
        }
        let shape = Arc::new(self.learn(plan)?);
        let statement = self.client.prepare_typed(&shape.sql, &declared_types(&plan.params))?;
        if self.statements.len() >= MAX_STATEMENTS {
            let oldest = self.statements.iter().min_by_key(|(_, prepared)| prepared.last_use).map(|(id, _)| *id);
            oldest.and_then(|id| self.statements.remove(&id));
        }
        let prepared = Prepared { statement, shape, last_use: self.uses };
        self.statements.insert(plan.id, prepared.clone());
        Ok(prepared)
    }

    /// The plan's shape without a statement.
    pub(in crate::postgres) fn shape(&mut self, plan: &FetchPlan) -> Result<Arc<Shape>, Failure> {
        if let Some((learned, shape)) = lock(&self.learned.shapes).get(&plan.id) {
            if learned.elapsed() < SHAPE_LIFE {
                return Ok(shape.clone());
            }
        }
        let shape = Arc::new(self.learn(plan)?);
        let mut shapes = lock(&self.learned.shapes);
        if shapes.len() >= MAX_STATEMENTS {
            shapes.retain(|_, (learned, _)| learned.elapsed() < SHAPE_LIFE);
        }
        shapes.insert(plan.id, (Instant::now(), shape.clone()));
        Ok(shape)
    }

    /// Drops what was learned of a plan; says whether anything was.
    pub(in crate::postgres) fn forget(&mut self, plan: &FetchPlan) -> bool {
        match self.settings.prepare {
            true => self.statements.remove(&plan.id).is_some(),
            false => lock(&self.learned.shapes).remove(&plan.id).is_some(),
        }
    }

    pub(in crate::postgres) fn knows(&self, plan: &FetchPlan) -> bool {
        match self.settings.prepare {
            true => self.statements.contains_key(&plan.id),
            false => lock(&self.learned.shapes).contains_key(&plan.id),
        }
    }

    pub(in crate::postgres) fn learn(&mut self, plan: &FetchPlan) -> Result<Shape, Failure> {
        let columns = columns::learn(&mut self.client, &plan.sql, &declared_types(&plan.params))?;
        Shape::new(plan, &columns).map_err(Failure::shape)
    }

    /// Asks Postgres to end the statement under way; the session is of no more use.
    pub(in crate::postgres) fn cancel(&mut self) {
        self.unusable = true;
        self.client.cancel();
    }
}

/// Whether transactions may write, unless their BEGIN says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::postgres) enum Access {
    ReadOnly,
    ReadWrite,
    /// As the role has it: whether it may apply jobs is its administrator's decision.
    OfRole,
}

/// A connection to the first host that is no standby. With `prepare` its settings are pinned.
pub(in crate::postgres) fn connect(
    settings: &Settings,
    access: Access,
) -> Result<(Client, ServerIdentity), ConnectError> {
    let (config, tls) = settings.connection().map_err(ConnectError::other)?;
    let connector = tls::connector(&tls).map_err(ConnectError::other)?;
    // For a host with TLS, login and the question who is there; the same again for looking up its name.
    let limit = config.get_connect_timeout().copied().unwrap_or(Duration::from_secs(2));
    let mut last = ConnectError::other("the URL names no host".to_owned());
    for number in hosts::order(&config) {
        match hosts::addresses(&config, number, limit) {
            Ok(found) => {
                for one in found {
                    match connect_to(&one, connector.clone(), settings, access, limit) {
                        Ok(connected) => return Ok(connected),
                        Err(error) => last = error,
                    }
                }
            }
            Err(error) => last = ConnectError::other(format!("cannot connect: error connecting to server: {error}")),
        }
    }
    Err(last)
}

fn connect_to(
    config: &Config,
    connector: MakeRustlsConnect,
    settings: &Settings,
    access: Access,
    limit: Duration,
) -> Result<(Client, ServerIdentity), ConnectError> {
    let silent = |error| match error {
        ClientError::Silent => {
            ConnectError::other(format!("cannot connect: no answer within {} ms", limit.as_millis()))
        }
        other => other.into(),
    };
    let mut client = Client::connect(config, connector.clone(), Instant::now() + limit).map_err(silent)?;
    if settings.prepare && pooled::is_shared(&mut client, config, &connector).map_err(silent)? {
        return Err(ConnectError::other(format!("cannot connect: {}", pooled::REMEDY)));
    }
    let access = match access {
        Access::ReadOnly => "SET default_transaction_read_only = on; ",
        Access::ReadWrite => "SET default_transaction_read_only = off; ",
        Access::OfRole => "",
    };
    let prefix = match settings.prepare {
        true => pinned(settings, Scope::Session, client.server_version()) + access,
        // A pooler that has no transactions says so now.
        false => BEGIN_READ.to_owned(),
    };
    let Standing::Primary(identity) = identity::ask(&mut client, &prefix).map_err(silent)? else {
        return Err(ConnectError::other(IN_RECOVERY.to_owned()));
    };
    if !settings.prepare {
        client.batch_execute("COMMIT").map_err(silent)?;
    }
    Ok((client, identity))
}

/// Why no session could be made: a line without a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub(in crate::postgres) struct ConnectError {
    pub(in crate::postgres) what: String,
    /// The server is there and has no connection left for us (53300); the ones that exist still work.
    pub(in crate::postgres) crowded: bool,
}

impl ConnectError {
    pub(in crate::postgres) fn other(what: String) -> Self {
        ConnectError { what, crowded: false }
    }
}

impl From<ClientError> for ConnectError {
    fn from(error: ClientError) -> Self {
        let (what, crowded) = match &error {
            ClientError::Driver(error) => (describe(error), error.code() == Some(&SqlState::TOO_MANY_CONNECTIONS)),
            ClientError::Silent => ("no answer in time".to_owned(), false),
            ClientError::Runtime(error) => (error.to_string(), false),
        };
        ConnectError { what: pooled::explained(format!("cannot connect: {what}")), crowded }
    }
}

pub(in crate::postgres) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // What a panicking thread held here is whole: every change is one assignment or one map operation.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
