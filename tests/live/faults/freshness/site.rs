//! The servers of a run, and what happens to them: a master and its replica, Postgres, and the wire between them.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::run::Run;
use crate::support::hostile::make_hostile;
use crate::support::server::Builder;
use crate::support::{eventually, Database, Postgres, Proxy, Random, Redis};

const SCHEMA: &str = include_str!("schema.sql");
const CATALOG: &str = include_str!("catalog.toml");

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The master ends as in a crash, and is back with what it had on disk.
    Kill,
    /// It ends so, and its replica takes over.
    Promote,
    /// The replica takes over in order; it was the master's turn.
    Failover,
    /// Redis evicts, for there is no memory left.
    Evict,
    Flush,
    Reload,
    /// Postgres crashes.
    Postgres,
    /// Its connections break, once or for a while.
    Wire,
    /// Another client removes keys of the module's, or keeps them for ever.
    Tamper,
}

pub const FAULTS: [Fault; 9] = [
    Fault::Kill,
    Fault::Promote,
    Fault::Failover,
    Fault::Evict,
    Fault::Flush,
    Fault::Reload,
    Fault::Postgres,
    Fault::Wire,
    Fault::Tamper,
];

pub struct Site {
    pub database: Arc<Database>,
    pub master: Redis,
    replica: Option<Redis>,
    postgres: Postgres,
    proxy: Proxy,
    /// Of Postgres, through the proxy.
    url: String,
    /// Of each Redis.
    settings: Vec<(&'static str, String)>,
}

impl Site {
    pub fn start(run: &Run, mutation: Option<&str>) -> Site {
        let postgres = if run.feed_grace.is_some() { Postgres::start_logical() } else { Postgres::start() };
        let database = Arc::new(postgres.database(SCHEMA));
        database.log_errors_only();
        write_first(&database);
        let proxy = Proxy::to(postgres.port());
        let url = url_of_a_hostile_role(&database, &proxy);
        let settings = settings(run);
        let builder = builder(&url).configs(&as_words(&settings));
        let builder = mutation.into_iter().fold(builder, |builder, name| builder.env("BEAR_MUTATION", name));
        let master = builder.start();
        run.set_port(master.port());
        Site { database, master, replica: None, postgres, proxy, url, settings }
    }

    /// One fault, over when this returns.
    pub fn strike(&mut self, fault: Fault, run: &Run, random: &mut Random) {
        run.event(&format!("--- {fault:?}"));
        match fault {
            Fault::Kill => {
                self.master.kill9();
                pause(random, 50);
                self.master.start_again();
            }
            Fault::Promote | Fault::Failover => self.change_master(fault, run),
            Fault::Evict => self.evict(random),
            Fault::Flush => {
                let command = if random.once_in(2) { "FLUSHALL" } else { "FLUSHALL ASYNC" };
                self.master.run(command);
            }
            // It may be refused, where Postgres is away.
            Fault::Reload => drop(self.master.run("BEAR.RELOAD")),
            Fault::Postgres => {
                self.postgres.stop_immediate();
                pause(random, 100);
                self.postgres.start_again();
            }
            Fault::Wire if random.once_in(2) => self.proxy.cut_once(),
            Fault::Wire => {
                self.proxy.cut();
                pause(random, 100);
                self.proxy.resume();
            }
            Fault::Tamper => self.tamper(random),
        }
        run.event(&format!("--- {fault:?} is over"));
    }

    fn change_master(&mut self, fault: Fault, run: &Run) {
        let replica = match self.replica.take() {
            Some(replica) => replica,
            None => {
                // Not by its configuration: it shall be a master still when it comes back from a crash.
                let replica = builder(&self.url).configs(&as_words(&self.settings)).start();
                assert!(replica.run(&format!("REPLICAOF 127.0.0.1 {}", self.master.port())).is_ok());
                replica
            }
        };
        eventually("the replica follows", || replica.info("replication").get("master_link_status") == Some("up"));
        run.change_master(|| {
            if fault == Fault::Promote {
                self.master.kill9();
                assert!(replica.run("REPLICAOF NO ONE").is_ok());
            } else {
                eventually("the replica can take over", || self.master.run("FAILOVER TIMEOUT 10000").is_ok());
                eventually("it has taken over", || replica.info("replication").text("role") == "master");
            }
            replica.port()
        });
        let old = std::mem::replace(&mut self.master, replica);
        if fault == Fault::Failover {
            self.replica = Some(old);
        }
    }

    fn evict(&mut self, random: &mut Random) {
        let used = self.master.info("memory").int("used_memory");
        let some = random.below(200_000) as i64;
        self.master.run(&format!("CONFIG SET maxmemory {}", used - some));
        pause(random, 200);
        self.master.run("CONFIG SET maxmemory 0");
    }

    fn tamper(&self, random: &mut Random) {
        let keys = self.master.keys();
        let own: Vec<&str> = keys.iter().map(String::as_str).filter(|key| !key.contains(":queue")).collect();
        for _ in 0..4.min(own.len()) {
            let key = random.one(&own);
            match random.below(4) {
                0..=1 => self.master.run(&format!("DEL {key}")),
                2 => self.master.run(&format!("PERSIST {key}")),
                _ => self.master.run(&format!("RENAME {key} elsewhere")),
            };
        }
    }
}

/// How the change feed is used.
fn settings(run: &Run) -> Vec<(&'static str, String)> {
    run.feed_grace.map_or_else(Vec::new, |grace| {
        vec![("bear.feed", "wal".to_owned()), ("bear.feed-grace-ms", grace.as_millis().to_string())]
    })
}

fn as_words<'a>(settings: &'a [(&'static str, String)]) -> Vec<(&'a str, &'a str)> {
    settings.iter().map(|(name, value)| (*name, value.as_str())).collect()
}

/// The module's role may do what it must, and has settings at their worst.
fn url_of_a_hostile_role(database: &Database, proxy: &Proxy) -> String {
    let (role, name) = (database.role("secret"), database.name());
    database.run(&format!("ALTER ROLE {role} REPLICATION; GRANT CREATE ON DATABASE {name} TO {role}"));
    make_hostile(database, &format!("ROLE {role}"));
    format!("postgres://{role}:secret@127.0.0.1:{}/{name}", proxy.port())
}

fn builder(url: &str) -> Builder {
    Redis::builder()
        .env("BEAR_POSTGRES_URL", url)
        .catalog(CATALOG)
        .append_only()
        .config("appendfsync", "always")
        .config("maxmemory-policy", "volatile-lru")
}

/// The first version of each row.
fn write_first(database: &Database) {
    use super::model::{row, State, ROWS};
    let mut client = database.client();
    for at in 0..ROWS {
        let ((section, id), state) = (row(at), State::first(at));
        let colors = state.color_names();
        client.execute("INSERT INTO newest VALUES ($1, $2, 0)", &[&section.name(), &id]).expect("a row");
        client.execute("SELECT put($1, $2, 1, $3, $4)", &[&section.name(), &id, &state.size, &colors]).expect("a row");
    }
}

/// The load goes on meanwhile: the moment of what follows is left to chance.
pub fn pause(random: &mut Random, most_ms: usize) {
    thread::sleep(Duration::from_millis(random.below(most_ms) as u64));
}
