//! Load and unload; what role changes, loading, flushes and settings mean for what is cached.
//!
//! ```text
//!             load, promotion, SWAPDB, another Postgres, a policy that evicts metadata
//! (any state) ------------------------------------------------------------------------> cold: index empty, sweeping
//! (master)    ------ demotion --------------------------------------------------------> replica: index empty
//! ```

use std::rc::Rc;
use std::time::Instant;

use super::cache::owning;
use super::claims::Claims;
use super::config::{self, Config, InboxChoice};
use super::events::Events;
use super::inbox::NOT_IN_A_CLUSTER;
use super::locks::Locks;
use super::queues::{Forgotten as ForgottenQueues, Queues};
use super::threads::Threads;
use super::{info, reload, tick, Server, SERVER};
use crate::core::calls::names::Deployment;
use crate::core::schedules::zone;
use crate::keyspace::{slots, tombstones, watch, Forgotten, Keyspace};
use crate::mutations;
use crate::redis_api::{self, Context, Loading, Replicate, Role};

/// Starts the module. An error refuses the load.
pub fn start(ctx: Context, args: &[String]) -> Result<(), String> {
    let specs = config::with_arguments(config::specs(), args)?;
    // Redis keeps pointers to the settings for the life of the process; a load leaks a kilobyte.
    redis_api::register_configs(ctx, Box::leak(specs.into_boxed_slice()))?;
    let config = config::current();
    zone::list_zones();
    let flags = ctx.flags();
    let deployment = if flags.is_cluster() { Deployment::Cluster } else { Deployment::Standalone };
    let mut catalog = reload::load(&config.catalog, deployment)?;
    look_for_db(ctx, config.db, deployment)?;
    ctx.select_db(0);
    let role = if flags.is_master() { Role::Master } else { Role::Replica };
    let mut workers = Threads::default();
    workers.begin(&config)?;
    let mut keyspace = Keyspace::new(deployment);
    slots::begin(deployment);
    tombstones::begin(deployment);
    ctx.accept_atomic_slot_migration();
    catalog.count_demand(|section| keyspace.demand(section));
    let mut server = Server {
        checked: reload::Checked::new(&config.catalog),
        reloading: None,
        retired: Vec::new(),
        renamed: Vec::new(),
        deployment,
        role,
        may_store: true,
        evicts: false,
        keyspace,
        fills: Default::default(),
        waiting: Default::default(),
        many: Default::default(),
        messages: Default::default(),
        queues: Queues::new(),
        claims: Claims::new(),
        inbox: Default::default(),
        schedules: Default::default(),
        locks: Locks::new(),
        workers,
        postgres: Default::default(),
        stats: Default::default(),
        answers: Default::default(),
        telling: Default::default(),
        errands: Default::default(),
        letters: Default::default(),
        unread: Default::default(),
        endpoint: Default::default(),
        gathering: None,
        removing: Default::default(),
        changing: Default::default(),
        feed: Default::default(),
        events: Events::new(deployment),
        verifying: Default::default(),
        proposing: Default::default(),
        resting: Default::default(),
        values: Default::default(),
        masters_marks: Default::default(),
        strangers_seen: Instant::now(),
        jitter: Default::default(),
        begun: Instant::now(),
        key: Vec::new(),
        payload: Vec::new(),
        longest_tick_us: 0,
        longest_tick_cpu_us: 0,
        catalog: Rc::new(catalog),
        config,
    };
    server.stats.arrange(server.catalog.sections.iter().map(|section| section.name.as_ref()));
    let sections = owning::arranged(&server.catalog, None, deployment);
    server.keyspace.arrange(sections.into_iter());
    server.read_policy(ctx);
    server.arrange_events();
    redis_api::on_tick(ctx, tick::tick);
    redis_api::on_info(ctx, info::write);
    redis_api::on_keyspace(ctx, watch::on_event);
    redis_api::on_role(ctx, |_, role| with_server(|server| server.role_changed(role)));
    redis_api::on_flush(ctx, |db| with_server(|server| server.flushed(db)));
    redis_api::on_swap_db(ctx, |first, second| with_server(|server| server.swapped(first, second)));
    redis_api::on_loading(ctx, |_, loading| with_server(|server| server.loading(loading)));
    redis_api::on_config_change(ctx, |ctx| with_server(|server| server.read_policy(ctx)));
    redis_api::on_cron(ctx, |ctx| {
        redis_api::rearm_if_late();
        with_server(|server| {
            server.look_for_idle_queues();
            server.look_at_claims();
            server.look_at_schedules();
            server.look_at_locks();
            server.look_at_lag();
            server.look_at_endpoint();
            server.look_for_strangers();
            server.look_where_clients_wait();
            server.note_epochs(ctx);
            server.keyspace.warm.sweep();
            server.free_retired_catalogs();
        });
    });
    redis_api::on_shutdown(ctx, || with_server(|server| server.workers.end()));
    server.enter_role(role);
    server.look_at_endpoint();
    tombstones::look_anew();
    SERVER.set(Some(server));
    Ok(())
}

/// Is there the database that the keys are to be in, and may clients go there?
fn look_for_db(ctx: Context, db: i64, deployment: Deployment) -> Result<(), String> {
    // Redis has its databases in a cluster, too, but lets nobody SELECT one.
    let may_select = || match deployment {
        Deployment::Cluster if db != 0 => ctx.call(c"SELECT", Replicate::No, &[db.to_string().as_bytes()]).is_some(),
        Deployment::Cluster | Deployment::Standalone => true,
    };
    if ctx.select_db(db as i32) && may_select() {
        return Ok(());
    }
    Err(match deployment {
        Deployment::Standalone => {
            format!("bear.db is {db}, and the server has no such database (see its setting databases)")
        }
        Deployment::Cluster => format!(
            "bear.db is {db}, and nobody can SELECT {db} in this cluster: say bear.db 0; from Valkey 9 on a cluster has as many \
             databases as its setting cluster-databases says"
        ),
    })
}

/// Stops the module; the error refuses the unload. Redis itself refuses while clients wait or a tick is armed.
pub fn stop(_: Context) -> Result<(), String> {
    let fetching = super::with(|server| server.fetches_running());
    if fetching.is_some_and(|fetching| fetching > 0) {
        return Err("fetches are under way; try again".into());
    }
    let there = super::with(|server| {
        server.workers.end();
        server.workers.still_there()
    });
    if let Some(there) = there.filter(|there| !there.is_empty()) {
        return Err(format!("its threads are ending ({}); try again", there.join(", ")));
    }
    if redis_api::is_posted() {
        return Err("what its threads have told is still to be taken; try again".into());
    }
    watch::pause();
    SERVER.set(None);
    Ok(())
}

fn with_server(run: impl FnOnce(&mut Server)) {
    super::with(run);
}

impl Server {
    /// Settings have changed while running.
    pub(super) fn reconfigure(&mut self, before: &Config, now: &Config) -> Result<(), String> {
        if self.is_in_cluster() && before.inbox != now.inbox && now.inbox == InboxChoice::Yes {
            return Err(NOT_IN_A_CLUSTER.to_owned());
        }
        let catalog = match before.catalog != now.catalog {
            true => Some(self.set_catalog(&now.catalog)?),
            false => None,
        };
        if before.metrics_address() != now.metrics_address() {
            self.move_endpoint(before.metrics_address(), now.metrics_address())?;
        }
        let (old, new) = (before.postgres_settings(), now.postgres_settings());
        self.config = now.clone();
        let is_another_database = old != new;
        if is_another_database {
            match (self.workers.current(), new) {
                (Some(workers), Some(settings)) => {
                    workers.reconfigure(settings.clone());
                    if let Some(appliers) = self.workers.appliers() {
                        appliers.reconfigure(settings);
                    }
                }
                (None, Some(_)) => self.workers.begin(now)?,
                (_, None) => self.end_fetching(),
            }
        }
        if before.postgres_url != now.postgres_url || before.search_path != now.search_path {
            // Another database, or other tables in it.
            self.make_all_cold();
            self.check_catalog_again();
            // What was followed was there.
            self.end_feed();
        }
        if before.feed != now.feed || before.feed_settings() != now.feed_settings() {
            self.begin_feed_again();
        }
        if before.inbox != now.inbox || before.inbox_settings() != now.inbox_settings() {
            self.reconfigure_inbox(is_another_database);
        }
        self.look_at_lag();
        if let Some(catalog) = catalog {
            self.catalog_is_set(catalog);
        }
        self.arrange_events();
        // What is queued may be applied now.
        self.arm_soon();
        Ok(())
    }

    /// Which policy evicts what: asked when a setting has changed.
    fn read_policy(&mut self, ctx: Context) {
        // Not by CONFIG GET: a hardened server may have renamed CONFIG. Without an answer nothing is stored.
        let policy = ctx.server_info(c"memory", c"maxmemory_policy").unwrap_or_else(|| "allkeys".into());
        let may_store = !policy.starts_with("allkeys");
        self.evicts = policy.starts_with("volatile");
        if self.may_store && !may_store {
            log::warn!(
                "maxmemory-policy {policy} may evict metadata before the entries that need it, and queued jobs: nothing is \
                 stored, and BEAR.ENQUEUE answers UNSAFE"
            );
            self.make_all_cold();
        }
        self.may_store = may_store;
    }

    fn role_changed(&mut self, role: Role) {
        if role != self.role {
            self.role = role;
            // Nobody has told a replica what was altered.
            self.derive_again();
            self.enter_role(role);
        }
    }

    fn enter_role(&mut self, role: Role) {
        match role {
            Role::Master => {
                let db = self.config.db as i32;
                watch::watch(db, self.catalog.clone(), self.deployment);
                if let Err(error) = self.workers.begin(&self.config) {
                    log::warn!("{error}");
                }
                self.begin_feed_again();
                self.enter_dataset();
                if mutations::is("no-cold-start") {
                    self.keyspace.emptied();
                }
                self.forget_queues(ForgottenQueues::Replaced);
            }
            Role::Replica => {
                watch::pause();
                self.fills.strike_where(|_, _| true);
                let forgotten = self.keyspace.forget_all();
                self.let_go(forgotten);
                self.masters_marks.forget();
                // At once: what is not committed yet is the new master's.
                self.workers.end_applying();
                self.end_feed();
                self.forget_events();
                self.forget_queues(ForgottenQueues::Demoted);
            }
        }
    }

    /// A dataset comes from disk or a master: nothing that was known of the old one holds.
    fn loading(&mut self, loading: Loading) {
        watch::pause();
        if loading == Loading::Ended {
            tombstones::look_anew();
            self.enter_role(self.role);
        }
    }

    fn flushed(&mut self, db: Option<i32>) {
        self.masters_marks.forget();
        tombstones::emptied();
        if self.is_master() && db.is_none_or(|db| i64::from(db) == self.config.db) {
            self.fills.strike_where(|_, _| true);
            let forgotten = self.keyspace.forget_all();
            self.keyspace.emptied();
            self.let_go(forgotten);
            self.forget_queues(ForgottenQueues::Flushed);
        }
    }

    fn swapped(&mut self, first: i32, second: i32) {
        let db = self.config.db as i32;
        if first == db || second == db {
            self.masters_marks.forget();
        }
        if self.is_master() && (first == db || second == db) {
            self.enter_dataset();
            self.forget_queues(ForgottenQueues::Replaced);
        }
    }

    /// From now on nothing that is stored is served.
    pub(super) fn make_all_cold(&mut self) {
        self.fills.strike_where(|_, _| true);
        if self.is_master() {
            self.keyspace.make_all_cold();
            self.forget_asked();
            self.arm_soon();
        }
    }

    /// The same of a dataset that this process has not written: whose its keys are is to be found out.
    fn enter_dataset(&mut self) {
        self.fills.strike_where(|_, _| true);
        let forgotten = self.keyspace.forget_all();
        self.keyspace.cold += 1;
        self.let_go(forgotten);
        self.arm_soon();
    }

    fn let_go(&mut self, forgotten: Forgotten) {
        self.removals_ended(forgotten.removals);
        // A million entries take long to free: not on this thread.
        self.workers.dispose(forgotten.rubbish);
    }
}
