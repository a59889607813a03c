//! The servers of a run, and what happens to them and to their clients.

use std::thread;
use std::time::Duration;

use super::load::{Load, Place};
use crate::faults::workers::worker::Control;
use crate::support::server::Builder;
use crate::support::{eventually, guardian, Database, Postgres, Proxy, Random, Redis};

const CATALOG: &str = include_str!("catalog.toml");
const SCHEMA: &str = concat!(include_str!("../../../../schema/inbox.sql"), include_str!("schema.sql"));

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strike {
    /// Redis ends as in a crash, and is back with what it had on disk.
    Kill,
    /// It ends in order, and is back.
    Shutdown,
    /// It ends as in a crash, and its replica takes over: what it had not told the replica is lost.
    Promote,
    /// Its replica takes over in order.
    Failover,
    /// Clients' connections to it break.
    Cut,
    /// Nothing gets through to it for longer than a lease.
    Stall,
    PauseWrites,
    KillClients,
    Reload,
    KillWorker,
    StopWorker,
    /// Postgres ends as in a crash, and is back.
    KillPostgres,
    /// Connections of bear to Postgres break.
    CutPostgres,
    FlushAll,
    /// Redis ends, and is back with nothing.
    LoseAll,
    /// It ends, and is back with what it had some time ago.
    Restore,
}

/// Kills come more often than others.
pub const STRIKES: [Strike; 21] = [
    Strike::Kill,
    Strike::Kill,
    Strike::Kill,
    Strike::KillWorker,
    Strike::KillWorker,
    Strike::KillPostgres,
    Strike::KillPostgres,
    Strike::StopWorker,
    Strike::Shutdown,
    Strike::Promote,
    Strike::Failover,
    Strike::Cut,
    Strike::Stall,
    Strike::PauseWrites,
    Strike::KillClients,
    Strike::Reload,
    Strike::CutPostgres,
    Strike::FlushAll,
    Strike::FlushAll,
    Strike::LoseAll,
    Strike::Restore,
];

impl Strike {
    pub fn changes_master(self) -> bool {
        matches!(self, Strike::Promote | Strike::Failover)
    }

    /// Is Redis without what it knew of claims afterwards?
    pub fn forgets(self) -> bool {
        matches!(self, Strike::Promote | Strike::FlushAll | Strike::LoseAll | Strike::Restore)
    }
}

pub struct Site {
    pub postgres: Postgres,
    pub database: Database,
    /// Between bear and Postgres.
    inner: Proxy,
    pub master: Redis,
    replica: Option<Redis>,
    /// Between workers and Redis.
    outer: Proxy,
    control: Control,
    mutation: Option<String>,
    /// Processes that were killed.
    pub kills: usize,
}

impl Site {
    pub fn start(mutation: Option<&str>) -> Site {
        let postgres = Postgres::start();
        let database = postgres.database(SCHEMA);
        database.log_errors_only();
        let inner = Proxy::to(postgres.port());
        let mutation = mutation.map(str::to_owned);
        let master = builder(&database, &inner, &mutation).start();
        let outer = Proxy::to(master.port());
        let control = Control::new(&guardian::folder("control"));
        Site { postgres, database, inner, master, replica: None, outer, control, mutation, kills: 0 }
    }

    pub fn place(&self) -> Place {
        Place { redis_port: self.outer.port(), postgres_url: self.database.url(), control: self.control.clone() }
    }

    /// A job each second that comes through no transaction.
    pub fn schedule(&self, name: &str) {
        let data = format!(r#"{{"mark":"tick.{name}"}}"#);
        let job = ["JOB", "MARK", &data, "ATTEMPTS", "90", "BACKOFF", "10"];
        let words = [&["BEAR.SCHEDULE", "effect", name, "EVERY", "1000", "MISSED", "all"][..], &job].concat();
        let reply = self.master.wire().call(&words);
        assert!(reply.is_ok(), "{reply:?}");
    }

    /// There may be none any more.
    pub fn unschedule(&self, name: &str) {
        let reply = self.master.run(&format!("BEAR.UNSCHEDULE effect {name}"));
        assert!(!reply.is_error(), "{reply:?}");
    }

    /// Makes sure that there is a replica, with all that the master has.
    pub fn add_replica(&mut self) {
        let replica = self.replica.take().unwrap_or_else(|| {
            let replica = builder(&self.database, &self.inner, &self.mutation).start();
            assert!(replica.run(&format!("REPLICAOF 127.0.0.1 {}", self.master.port())).is_ok());
            replica
        });
        replica.wait_in_sync(&self.master);
        eventually("the replica's append-only file is there", || {
            let info = replica.info("persistence");
            info.int("aof_rewrite_in_progress") == 0 && info.int("aof_rewrite_scheduled") == 0
        });
        self.replica = Some(replica);
    }

    pub fn strike(&mut self, strike: Strike, load: &mut Load, random: &mut Random) {
        match strike {
            Strike::Kill => {
                self.kill_master();
                pause(random, 50);
                self.master.start_again();
            }
            Strike::Shutdown => self.master.restart(),
            Strike::Promote => {
                self.kill_master();
                let replica = self.replica.take().expect("a replica");
                assert!(replica.run("REPLICAOF NO ONE").is_ok());
                self.take_over(replica);
            }
            Strike::Failover => {
                eventually("the replica can take over", || self.master.run("FAILOVER TIMEOUT 10000").is_ok());
                let replica = self.replica.take().expect("a replica");
                eventually("it has taken over", || replica.info("replication").text("role") == "master");
                self.replica = Some(self.take_over(replica));
            }
            Strike::Cut => {
                self.outer.cut();
                pause(random, 200);
                self.outer.resume();
            }
            Strike::Stall => {
                self.outer.stall();
                thread::sleep(Duration::from_millis(900 + random.below(500) as u64));
                self.outer.resume();
            }
            Strike::PauseWrites => {
                assert!(self.master.run("CLIENT PAUSE 10000 WRITE").is_ok());
                pause(random, 1300);
                assert!(self.master.run("CLIENT UNPAUSE").is_ok());
            }
            Strike::KillClients => drop(self.master.run("CLIENT KILL TYPE normal SKIPME yes")),
            Strike::Reload => {
                let reply = self.master.run("BEAR.RELOAD");
                assert!(!reply.is_error(), "{reply:?}");
            }
            Strike::KillWorker => {
                load.kill_worker(random);
                self.kills += 1;
            }
            Strike::StopWorker => load.stop_worker(random),
            Strike::KillPostgres => {
                self.postgres.stop_immediate();
                self.kills += 1;
                pause(random, 300);
                self.postgres.start_again();
            }
            Strike::CutPostgres => {
                self.inner.cut();
                pause(random, 300);
                self.inner.resume();
            }
            Strike::FlushAll => assert!(self.master.run("FLUSHALL").is_ok()),
            Strike::LoseAll => {
                self.kill_master();
                self.master.restore_data(&guardian::folder("nothing"));
                self.master.start_again();
                // A data set that was there a moment ago is waited for; here it is known to be gone.
                self.database.run("UPDATE bear.inbox_owner SET seen = seen - interval '1 hour'");
            }
            Strike::Restore => {
                let backup = self.master.copy_data();
                thread::sleep(Duration::from_millis(100 + random.below(700) as u64));
                self.kill_master();
                self.master.restore_data(&backup);
                self.master.start_again();
            }
        }
    }

    fn kill_master(&mut self) {
        self.master.kill9();
        self.kills += 1;
    }

    /// Another server is the master; returns the one that was.
    fn take_over(&mut self, replica: Redis) -> Redis {
        self.outer.lead_to(replica.port());
        std::mem::replace(&mut self.master, replica)
    }
}

fn builder(database: &Database, inner: &Proxy, mutation: &Option<String>) -> Builder {
    let builder = Redis::builder()
        .env("BEAR_POSTGRES_URL", database.url_through(inner.port()))
        .catalog(CATALOG)
        .append_only()
        .config("appendfsync", "always");
    mutation.iter().fold(builder, |builder, name| builder.env("BEAR_MUTATION", name))
}

/// The load goes on meanwhile: the moment of what follows is left to chance.
pub fn pause(random: &mut Random, most_ms: usize) {
    thread::sleep(Duration::from_millis(random.below(most_ms) as u64));
}
