//! The module's state on Redis' main thread, and what happens to it.
//!
//! | file | what |
//! |---|---|
//! | `config` | settings |
//! | `reload` | the catalog: loaded, checked, replaced |
//! | `renamed` | what a catalog leaves under names that were spaces |
//! | `aside` | large replies and catalogs, by a thread of their own |
//! | `propose` | catalogs proposed for the database |
//! | `done_aside` | what comes back from there |
//! | `errands` | commands that take longer than a slice |
//! | `cache` | calls: hits, fetches, invalidation, what is known of them |
//! | `feed` | rows that changed in Postgres, and the change feed |
//! | `queues` | jobs: enqueued, applied, settled |
//! | `claims` | jobs that workers claim |
//! | `inbox` | jobs that applications enqueue in Postgres |
//! | `schedules` | jobs and fetches that come again and again |
//! | `events` | what happens is published |
//! | `locks` | locks and limits |
//! | `slots` | slots of a cluster that move |
//! | `threads` | the worker threads: begun, replaced, ended |
//! | `tick` | slices of work outside commands |
//! | `lifecycle` | load, unload, role changes, flushes |
//! | `info`, `stats`, `errors` | figures and texts |
//! | `metrics` | what Prometheus is told: gathered in slices, the listener |
//!
//! Only the main thread touches any of it, so that nothing needs a lock.

mod aside;
mod cache;
mod claims;
pub mod config;
mod done_aside;
mod errands;
mod errors;
mod events;
mod feed;
mod inbox;
mod info;
mod lifecycle;
mod locks;
mod metrics;
mod propose;
mod queues;
pub mod reload;
mod renamed;
mod schedules;
mod slots;
mod stats;
mod threads;
mod tick;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::hash::RandomState;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use rustc_hash::FxHashMap;

use crate::core::cache::fills::Fills;
use crate::core::calls::names::Deployment;
use crate::core::catalog::space::{self, SpaceRef};
use crate::core::catalog::{Catalog, Section};
use crate::keyspace::owned::MastersMarks;
use crate::keyspace::Keyspace;
use crate::redis_api::{Answer, BlockedClient, Context, Role};

pub use self::cache::call::{Call, Freshness, Words};
pub use self::cache::explain::Explained;
pub use self::cache::invalidate::Target;
pub use self::cache::many::{AskedOfMany, Calls};
pub use self::cache::put::PutRequest;
pub use self::cache::stored::Wanted;
pub use self::cache::values::GetOptions;
pub use self::claims::{ClaimRequest, FailRequest, LimitRequest, PromoteTarget};
pub use self::locks::{LimitBy, LockRequest};
pub use lifecycle::{start, stop};
pub use queues::{check_traceparent, EnqueueOptions, ListRequest, ListedState, RetryTarget};

/// Everything.
pub struct Server {
    config: config::Config,
    catalog: Rc<Catalog>,
    /// Reports of what Postgres says of the catalog.
    checked: reload::Checked,
    /// A reload that waits for Postgres' word on the new catalog.
    reloading: Option<reload::Reloading>,
    /// Catalogs before this one, which calls may still use.
    retired: Vec<Arc<[Section]>>,
    /// Spaces that the catalog names otherwise than the one before.
    renamed: Vec<renamed::Renamed>,
    deployment: Deployment,
    role: Role,
    /// False under `allkeys-*`, which would evict metadata before the entries that need it.
    may_store: bool,
    /// Does the memory policy keep keys without a TTL only by refusing writes?
    evicts: bool,
    keyspace: Keyspace,
    fills: Fills<Rc<Call>, cache::waiting::Waiter>,
    waiting: cache::waiting::Waiting,
    many: cache::many::Many,
    messages: cache::noblock::Messages,
    queues: queues::Queues,
    claims: claims::Claims,
    inbox: inbox::Inbox,
    schedules: schedules::Schedules,
    locks: locks::Locks,
    workers: threads::Threads,
    postgres: cache::fetching::PostgresView,
    stats: stats::Stats,
    /// Who is to be told what, oldest first.
    answers: VecDeque<(BlockedClient, Answer)>,
    /// The same of those who wait for a fetch.
    telling: VecDeque<cache::fetching::Telling>,
    errands: errands::Errands,
    letters: aside::Letters,
    unread: cache::stored::UnreadByLetter,
    endpoint: metrics::Endpoint,
    gathering: Option<metrics::Gathering>,
    /// Clients that wait for a large removal, by its ticket.
    removing: FxHashMap<u64, (BlockedClient, Rc<str>)>,
    changing: feed::changing::Changing,
    feed: feed::follow::FeedView,
    events: events::Events,
    verifying: cache::verify::Verifying,
    proposing: propose::Proposing,
    resting: cache::refresh::Resting,
    values: cache::values::Values,
    /// On a replica: what its master owns.
    masters_marks: MastersMarks,
    /// When keys of others were last looked at.
    strangers_seen: Instant,
    /// Gives each entry its share of jitter.
    jitter: RandomState,
    /// When the module was loaded; moments count from here.
    begun: Instant,
    /// The key of the call at hand; kept for its memory.
    key: Vec<u8>,
    /// A payload as it is stored; kept for its memory.
    payload: Vec<u8>,
    /// How long the longest tick took, by the clock and on a processor, in microseconds.
    longest_tick_us: u64,
    longest_tick_cpu_us: u64,
}

thread_local! {
    static SERVER: RefCell<Option<Server>> = const { RefCell::new(None) };
}

/// Runs something with the state; None before the load and after the unload.
pub fn with<R>(run: impl FnOnce(&mut Server) -> R) -> Option<R> {
    SERVER.with_borrow_mut(|server| server.as_mut().map(run))
}

/// For commands: errors go to the client.
pub fn serve(ctx: Context, run: impl FnOnce(&mut Server) -> Result<(), String>) {
    match with(run) {
        Some(Ok(())) => {}
        Some(Err(error)) => ctx.reply().error(&error),
        None => ctx.reply().error("ERR bear is not loaded"),
    }
}

/// Settings have changed; the error refuses the change.
fn config_changed(before: &config::Config, now: &config::Config) -> Result<(), String> {
    with(|server| server.reconfigure(before, now)).unwrap_or(Ok(()))
}

impl Server {
    pub fn catalog(&self) -> &Rc<Catalog> {
        &self.catalog
    }

    pub fn checked(&self) -> &reload::Checked {
        &self.checked
    }

    pub fn is_in_cluster(&self) -> bool {
        self.deployment == Deployment::Cluster
    }

    /// The space that a command names.
    pub fn space<'a>(&self, ctx: Context, name: &'a [u8]) -> Result<SpaceRef<'a>, String> {
        self.check_db(ctx)?;
        space::parse_space(&self.catalog, name).map_err(errors::usage)
    }

    /// Commands work in one database only.
    fn check_db(&self, ctx: Context) -> Result<(), String> {
        let (db, own) = (ctx.selected_db(), self.config.db);
        if i64::from(db) == own {
            return Ok(());
        }
        Err(format!("ERR bear's keys are in database {own} (bear.db), this connection is in {db}; SELECT {own} first"))
    }

    /// Takes note of what others did to our keys, before anything relies on them.
    fn settle(&mut self) {
        for prefix in self.keyspace.take_notes() {
            self.fills.strike_where(|key, _| key.starts_with(&prefix));
        }
    }

    fn is_master(&self) -> bool {
        self.role == Role::Master
    }
}
