//! The servers of a run, and what happens to them and to their clients.

use std::thread;
use std::time::Duration;

use super::load::Load;
use super::worker::{Control, Sign};
use crate::support::server::Builder;
use crate::support::{eventually, guardian, Clock, Proxy, Random, Redis, Reply};

const CATALOG: &str = include_str!("catalog.toml");

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strike {
    /// The server ends as in a crash, and is back with what it had on disk.
    Kill,
    /// The same, and the clock on the wall has stepped back when it is back; only where a run has a clock of its own.
    KillAndStepBack,
    /// It ends in order, and is back.
    Shutdown,
    /// It ends as in a crash, and its replica takes over: what it had not told the replica is lost.
    Promote,
    /// Its replica takes over in order.
    Failover,
    /// Connections break.
    Cut,
    /// Nothing gets through for longer than a lease.
    Stall,
    PauseWrites,
    PauseAll,
    KillClients,
    Unblock,
    Reload,
    KillWorker,
    StopWorker,
}

/// Kills come more often than others.
pub const STRIKES: [Strike; 18] = [
    Strike::Kill,
    Strike::Kill,
    Strike::Kill,
    Strike::Kill,
    Strike::KillWorker,
    Strike::KillWorker,
    Strike::Shutdown,
    Strike::Promote,
    Strike::Failover,
    Strike::Cut,
    Strike::Stall,
    Strike::PauseWrites,
    Strike::PauseAll,
    Strike::KillClients,
    Strike::Unblock,
    Strike::Reload,
    Strike::KillWorker,
    Strike::StopWorker,
];

impl Strike {
    /// Needs a replica, whose append-only file has to tell the whole round.
    pub fn changes_master(self) -> bool {
        matches!(self, Strike::Promote | Strike::Failover)
    }
}

pub struct Site {
    pub master: Redis,
    replica: Option<Redis>,
    pub proxy: Proxy,
    pub control: Control,
    mutation: Option<String>,
    clock: Option<Clock>,
    /// Processes that were killed.
    pub kills: usize,
}

impl Site {
    /// With spaces that are read in the smallest slices, now and then.
    pub fn start(random: &mut Random) -> Site {
        let short_slices = random.once_in(2);
        let builder = builder(&None);
        Site::start_with(if short_slices { builder.env("BEAR_SHORT_SLICES", "1") } else { builder }, None, None)
    }

    /// With a fault in the module, and a clock of its own.
    pub fn start_mutated(mutation: &str) -> Site {
        let (mutation, clock) = (Some(mutation.to_owned()), Clock::new());
        Site::start_with(builder(&mutation).clock(&clock), mutation, Some(clock))
    }

    fn start_with(builder: Builder, mutation: Option<String>, clock: Option<Clock>) -> Site {
        let master = builder.start();
        let proxy = Proxy::to(master.port());
        let control = Control::new(&guardian::folder("control"));
        Site { master, replica: None, proxy, control, mutation, clock, kills: 0 }
    }

    /// Makes sure that there is a replica, with all that the master has.
    pub fn add_replica(&mut self) {
        // Not by its configuration: it shall be a master still when it comes back from a crash.
        let replica = self.replica.take().unwrap_or_else(|| {
            let replica = builder(&self.mutation).start();
            assert!(replica.run(&format!("REPLICAOF 127.0.0.1 {}", self.master.port())).is_ok());
            replica
        });
        replica.wait_in_sync(&self.master);
        eventually("the replica's append-only file is there", || {
            let info = replica.info("persistence");
            info.int("aof_rewrite_in_progress") == 0 && info.int("aof_rewrite_scheduled") == 0
        });
        self.replica = Some(replica);
        self.control.set(Sign::Replicated, true);
    }

    pub fn wait_replica(&self) {
        if let Some(replica) = &self.replica {
            replica.wait_in_sync(&self.master);
        }
    }

    pub fn strike(&mut self, strike: Strike, load: &mut Load, random: &mut Random) {
        match strike {
            Strike::Kill => {
                self.master.kill9();
                self.kills += 1;
                pause(random, 50);
                self.master.start_again();
            }
            Strike::KillAndStepBack => {
                self.master.kill9();
                self.kills += 1;
                self.clock.as_ref().expect("a clock of its own").shift(-20);
                self.master.start_again();
            }
            Strike::Shutdown => self.master.restart(),
            Strike::Promote => {
                self.master.kill9();
                self.kills += 1;
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
            Strike::Cut if random.once_in(2) => self.proxy.cut_once(),
            Strike::Cut => {
                self.proxy.cut();
                pause(random, 200);
                self.proxy.resume();
            }
            Strike::Stall => {
                self.proxy.stall();
                thread::sleep(Duration::from_millis(900 + random.below(500) as u64));
                self.proxy.resume();
            }
            Strike::PauseWrites | Strike::PauseAll => {
                let what = if strike == Strike::PauseAll { "ALL" } else { "WRITE" };
                assert!(self.master.run(&format!("CLIENT PAUSE 10000 {what}")).is_ok());
                pause(random, 1300);
                assert!(self.master.run("CLIENT UNPAUSE").is_ok());
            }
            Strike::KillClients => drop(self.master.run("CLIENT KILL TYPE normal SKIPME yes")),
            Strike::Unblock => self.unblock(random),
            Strike::Reload => {
                let reply = self.master.run("BEAR.RELOAD");
                assert!(!reply.is_error(), "{reply:?}");
            }
            Strike::KillWorker => {
                load.kill_worker(random);
                self.kills += 1;
            }
            Strike::StopWorker => load.stop_worker(random),
        }
    }

    /// Another server is the master; returns the one that was.
    fn take_over(&mut self, replica: Redis) -> Redis {
        self.control.set(Sign::Replicated, false);
        self.proxy.lead_to(replica.port());
        std::mem::replace(&mut self.master, replica)
    }

    fn unblock(&self, random: &mut Random) {
        let mut wire = self.master.wire();
        for _ in 0..10 {
            let clients = wire.run("CLIENT LIST TYPE normal").text();
            for client in clients.lines().filter(|client| client.contains(" flags=b")) {
                let id = client.split([' ', '=']).nth(1).expect("an id");
                let how = random.one(&["TIMEOUT", "ERROR"]);
                assert!(matches!(wire.run(&format!("CLIENT UNBLOCK {id} {how}")), Reply::Int(_)));
            }
            pause(random, 10);
        }
    }
}

fn builder(mutation: &Option<String>) -> Builder {
    let builder = Redis::builder().catalog(CATALOG).append_only().config("appendfsync", "always");
    mutation.iter().fold(builder, |builder, name| builder.env("BEAR_MUTATION", name))
}

/// The load goes on meanwhile: the moment of what follows is left to chance.
pub fn pause(random: &mut Random, most_ms: usize) {
    thread::sleep(Duration::from_millis(random.below(most_ms) as u64));
}
