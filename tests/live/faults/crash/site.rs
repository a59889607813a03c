//! What the sweep strikes: a Redis with its queue, a Postgres of its own, and the wire between them; each can be ended at
//! any moment, or at a named one, and comes back with what it had on disk.

use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use crate::support::marked::{self, wait_drained_within};
use crate::support::{guardian, wait_for, Database, Postgres, Proxy, Random, Redis, Verdict};

use super::load::{CLIENTS, PRIVATE};

/// Steps of the drain at which a debug build of the module stops and waits, once, if it is told to.
pub const FAILPOINTS: [&str; 5] = ["before-begin", "before-commit", "after-commit", "before-publish", "after-publish"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Victim {
    /// By SIGKILL.
    Redis,
    /// By an immediate stop, which it recovers from as from a crash.
    Postgres,
    /// The connections between the two.
    Wire,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    Any,
    /// The module stands at this step.
    At(&'static str),
    /// A statement of a batch waits for a row.
    MidStatement,
    /// A COMMIT of a batch is on its way.
    MidCommit,
}

pub type Strike = (Victim, Moment);

/// Each victim at each moment.
pub fn all_strikes() -> Vec<Strike> {
    let moments = [Moment::Any, Moment::MidStatement, Moment::MidCommit];
    let moments: Vec<Moment> = moments.into_iter().chain(FAILPOINTS.map(Moment::At)).collect();
    let victims = [Victim::Redis, Victim::Postgres, Victim::Wire];
    victims.into_iter().flat_map(|victim| moments.iter().map(move |moment| (victim, *moment))).collect()
}

pub struct Site {
    pub redis: Redis,
    pub database: Database,
    postgres: Postgres,
    proxy: Proxy,
    /// Ends of a process so far.
    pub kills: usize,
}

impl Site {
    pub fn start(random: &mut Random) -> Site {
        let postgres = Postgres::start();
        let database = marked::database_in(&postgres);
        database.log_errors_only();
        let own = PRIVATE..PRIVATE + CLIENTS as i64;
        for id in own {
            database.run(&format!("INSERT INTO bear(id, name, size) VALUES ({id}, 'own', {id})"));
        }
        let proxy = Proxy::to(postgres.port());
        let redis = Redis::builder()
            .env("BEAR_POSTGRES_URL", database.url_through(proxy.port()))
            .catalog(marked::catalog())
            .append_only()
            .config("appendfsync", "always")
            .config("bear.apply-threads", 1 + random.below(4))
            .config("bear.apply-batch-jobs", random.one(&["1", "7", "50", "1000"]))
            .config("bear.lock-timeout-ms", random.one(&["20", "200", "1000"]))
            .config("bear.failed-max-jobs", 1_000_000)
            .config("bear.unique-ms", 600_000)
            .start();
        Site { redis, database, postgres, proxy, kills: 0 }
    }

    pub fn strike(&mut self, (victim, moment): Strike, random: &mut Random) {
        match moment {
            Moment::Any => {
                pause(random, 150);
                self.hit(victim, random);
            }
            Moment::At(step) => self.hit_at(step, victim, random),
            Moment::MidStatement => self.hit_mid_statement(victim, random),
            Moment::MidCommit => self.hit_mid_commit(victim, random),
        }
    }

    /// Everything runs and nothing stands still; waits until the queue is empty.
    pub fn settle(&self) {
        wait_drained_within(&self.redis, Duration::from_secs(60));
        self.redis.wait_stored();
    }

    /// Ends the victim, and has it back.
    fn hit(&mut self, victim: Victim, random: &mut Random) {
        match victim {
            Victim::Redis => {
                self.kill_redis();
                self.redis.start_again();
            }
            Victim::Postgres => {
                self.kill_postgres();
                pause(random, 300);
                self.postgres.start_again();
            }
            Victim::Wire if random.once_in(2) => self.proxy.cut_once(),
            Victim::Wire => {
                self.proxy.cut();
                pause(random, 300);
                self.proxy.resume();
            }
        }
    }

    fn hit_at(&mut self, step: &'static str, victim: Victim, random: &mut Random) {
        let reached = guardian::folder("failpoint").join("reached");
        let passing = 1 + random.below(4);
        self.redis.set_env("BEAR_FAILPOINT", format!("{step}:{passing}:{}", reached.display()));
        pause(random, 100);
        self.kill_redis();
        // What is in the queue may bring it there before it answers anybody.
        self.redis.start_again_until(|| reached.exists());
        self.redis.unset_env("BEAR_FAILPOINT");
        wait_for(&format!("the module is {step}"), || reached.exists().then_some(()));
        self.hit(victim, random);
        let _ = std::fs::remove_file(&reached);
    }

    fn hit_mid_statement(&mut self, victim: Victim, random: &mut Random) {
        let mut holder = self.database.client();
        let mut looker = self.database.client();
        holder.batch_execute("SET lock_timeout = '15s'").expect("a setting");
        // All rows at once: who takes one after the other meets a batch that does so in another order.
        let mut lock = holder.transaction().expect("a transaction");
        lock.batch_execute("LOCK TABLE bear IN SHARE MODE").expect("the rows");
        wait_for("a statement waits for a row", || {
            let sql = "SELECT count(*) > 0 FROM pg_stat_activity WHERE datname = current_database()
                       AND wait_event_type = 'Lock' AND application_name <> 'test'";
            looker.query_one(sql, &[]).expect("pg_stat_activity").get::<_, bool>(0).then_some(())
        });
        self.hit(victim, random);
        // A session that its Redis has left waits for the row still.
        pause(random, 50);
        drop(lock);
    }

    fn hit_mid_commit(&mut self, victim: Victim, random: &mut Random) {
        // BEGIN says READ COMMITTED.
        self.proxy.hold("; COMMIT", "bear.ledger");
        wait_for("a batch commits", || self.proxy.is_holding().then_some(()));
        let is_late = random.once_in(2);
        match (victim, is_late) {
            (Victim::Wire, false) => self.proxy.release(Verdict::Cut),
            (Victim::Wire, true) => self.proxy.release(Verdict::PassAndCut),
            (Victim::Postgres, false) => {
                self.kill_postgres();
                self.proxy.release(Verdict::Cut);
                self.postgres.start_again();
            }
            (Victim::Postgres, true) => {
                self.proxy.release(Verdict::PassAndCut);
                self.kill_postgres();
                self.postgres.start_again();
            }
            (Victim::Redis, _) => {
                self.kill_redis();
                self.redis.start_again();
                pause(random, 500);
                // The process before commits while its successor is at work.
                self.proxy.release(if random.once_in(4) { Verdict::Cut } else { Verdict::Pass });
            }
        }
    }

    fn kill_redis(&mut self) {
        self.redis.kill9();
        self.kills += 1;
    }

    fn kill_postgres(&mut self) {
        self.postgres.stop_immediate();
        self.kills += 1;
    }

    /// What the server keeps on disk of its commands.
    pub fn append_only_folder(&self) -> PathBuf {
        self.redis.folder().join("appendonlydir")
    }
}

/// The load goes on meanwhile: the moment of what follows is left to chance.
pub fn pause(random: &mut Random, most_ms: usize) {
    thread::sleep(Duration::from_millis(random.below(most_ms) as u64));
}
