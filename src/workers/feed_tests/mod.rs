//! The change feed against private Postgres servers whose WAL can be decoded.

mod answers;
mod changes;
mod faults;
mod links;
#[path = "../outbox_tests/mod.rs"]
mod outbox;
mod own;
mod speed;
mod tables;
mod ways_in;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use super::Feed;
use crate::core::catalog::Section;
use crate::core::feed::promise::Promises;
use crate::core::feed::{Coverage, FeedOutcome, Rows, SectionChange, TableCoverage, Tenant};
use crate::postgres::tests::apply::sections;
use crate::postgres::tests::eventually;
use crate::postgres::tests::server::Server;
use crate::postgres::{FeedSettings, Settings, UrlSource};

const PATIENCE: Duration = Duration::from_secs(20);

/// A server whose WAL can be decoded.
fn logical() -> Server {
    let server = Server::new();
    server.run("ALTER SYSTEM SET wal_level = 'logical'");
    server.stop("INT");
    server.start();
    server
}

/// One for all tests that have it to themselves within a database.
fn shared() -> Arc<Server> {
    static SHARED: Mutex<Weak<Server>> = Mutex::new(Weak::new());
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(server) = shared.upgrade() {
        return server;
    }
    let server = Arc::new(logical());
    *shared = Arc::downgrade(&server);
    server
}

/// A database of the test's own.
struct Database {
    server: Arc<Server>,
    name: String,
}

impl Database {
    fn new(sql: &str) -> Database {
        Database::on(shared(), sql)
    }

    fn on(server: Arc<Server>, sql: &str) -> Database {
        Database::made(server, "", sql)
    }

    fn made(server: Arc<Server>, options: &str, sql: &str) -> Database {
        static NEXT: AtomicUsize = AtomicUsize::new(1);
        let name = format!("feed_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        server.run(&format!("CREATE DATABASE {name} {options}"));
        let database = Database { server, name };
        database.run(sql);
        database
    }

    fn client(&self) -> ::postgres::Client {
        let url = self.server.socket_url().replace("dbname=postgres", &format!("dbname={}", self.name));
        ::postgres::Client::connect(&url, ::postgres::NoTls).unwrap()
    }

    fn run(&self, sql: &str) {
        self.client().batch_execute(sql).unwrap();
    }

    fn int(&self, sql: &str) -> i64 {
        self.client().query_one(sql, &[]).unwrap().get(0)
    }

    fn url(&self, user: &str, port: u16) -> String {
        format!("postgres://{user}@127.0.0.1:{port}/{}", self.name)
    }

    fn follow(&self, catalog: &str) -> Followed {
        self.follow_as(catalog, &self.url("bear", self.server.port))
    }

    fn follow_as(&self, catalog: &str, url: &str) -> Followed {
        let mut settings = settings(url);
        settings.settings.query_timeout_ms = 1000;
        Followed::start(settings, catalog)
    }
}

fn settings(url: &str) -> FeedSettings {
    FeedSettings {
        grace: Duration::from_millis(400),
        silence: Duration::from_secs(3),
        ..FeedSettings::new(Settings::new(url, UrlSource::Config))
    }
}

/// A feed and what it tells.
struct Followed {
    feed: Feed,
    sections: Arc<[Section]>,
    wakes: Arc<AtomicUsize>,
}

impl Followed {
    fn start(settings: FeedSettings, catalog: &str) -> Followed {
        Followed::with_promises(settings, catalog, Arc::default())
    }

    fn with_promises(settings: FeedSettings, catalog: &str, promises: Arc<Promises>) -> Followed {
        let sections = sections(catalog);
        let wakes = Arc::new(AtomicUsize::new(0));
        let counter = wakes.clone();
        let wake = Arc::new(move || {
            counter.fetch_add(1, Ordering::Relaxed);
        });
        let feed = Feed::start(settings, sections.clone(), promises, wake).unwrap();
        Followed { feed, sections, wakes }
    }

    fn next(&self) -> FeedOutcome {
        self.feed.results().take_within(PATIENCE).expect("the feed tells something").outcome
    }

    /// Waits for the connection; the tables by name: `Covered`, or why not.
    fn connected(&self) -> Vec<String> {
        loop {
            match self.next() {
                FeedOutcome::Connected { coverage } => return told(&coverage),
                FeedOutcome::Down { error, .. } => panic!("{error}"),
                FeedOutcome::CaughtUp { .. }
                | FeedOutcome::Changed { .. }
                | FeedOutcome::Altered { .. }
                | FeedOutcome::AlteredBefore { .. } => {}
            }
        }
    }

    /// Waits until it has noticed that something was altered: the tables by name, and the sections that are cold for it.
    fn altered(&self) -> (Vec<String>, Vec<String>) {
        let started = Instant::now();
        loop {
            assert!(started.elapsed() < PATIENCE, "nothing was altered");
            match self.next() {
                FeedOutcome::Altered { coverage, sections } => {
                    let name = |section: &usize| self.sections[*section].name.to_string();
                    return (told(&coverage), sections.iter().map(name).collect());
                }
                FeedOutcome::Down { error, .. } => panic!("{error}"),
                FeedOutcome::Connected { .. } => panic!("connected once more"),
                FeedOutcome::CaughtUp { .. } | FeedOutcome::Changed { .. } | FeedOutcome::AlteredBefore { .. } => {}
            }
        }
    }

    /// Waits for the next failure.
    fn down(&self) -> String {
        let started = Instant::now();
        loop {
            assert!(started.elapsed() < PATIENCE, "the feed goes on");
            if let FeedOutcome::Down { error, .. } = self.next() {
                return error;
            }
        }
    }

    /// All changes up to now. Transactions are told apart where they were told apart.
    fn settled(&self) -> Vec<Vec<String>> {
        let now = Instant::now();
        let mut seen = Vec::new();
        loop {
            match self.next() {
                FeedOutcome::CaughtUp { asked, .. } if asked >= now => return seen,
                FeedOutcome::CaughtUp { .. }
                | FeedOutcome::Connected { .. }
                | FeedOutcome::Altered { .. }
                | FeedOutcome::AlteredBefore { .. } => {}
                FeedOutcome::Changed { changes, .. } => {
                    seen.push(changes.iter().flat_map(|change| self.lines(change)).collect());
                }
                FeedOutcome::Down { error, .. } => panic!("{error}"),
            }
        }
    }

    /// The same without regard to messages, sorted.
    fn changes(&self) -> Vec<String> {
        self.settled().concat().into_iter().collect::<BTreeSet<_>>().into_iter().collect()
    }

    fn lines(&self, change: &SectionChange) -> Vec<String> {
        let tenant = match &change.tenant {
            Tenant::None => String::new(),
            Tenant::Known(tenant) => format!("{{{tenant}}}"),
            Tenant::Unknown => "{?}".to_owned(),
            Tenant::Former => "{former}".to_owned(),
        };
        let head = format!("{tenant}{}", self.sections[change.section].name);
        match &change.rows {
            Rows::All => vec![format!("{head}: all")],
            Rows::Some(rows) => rows
                .iter()
                .map(|(id, json)| match json {
                    Some(json) => format!("{head} {id}: {}", String::from_utf8_lossy(json)),
                    None => format!("{head} {id}"),
                })
                .collect(),
        }
    }

    fn end(&self) {
        self.feed.stop();
        let took = eventually("the end of the feed", || self.feed.is_stopped());
        assert!(took < Duration::from_secs(1), "{took:?}");
    }
}

fn told(coverage: &[TableCoverage]) -> Vec<String> {
    let line = |state: &Coverage| match state {
        Coverage::Covered { note: None } => "covered".to_owned(),
        Coverage::Covered { note: Some(note) } => format!("covered, but {note}"),
        Coverage::NotCovered { why, remedy } => format!("{why}; {remedy}"),
    };
    coverage.iter().map(|table| format!("{}: {}", table.table, line(&table.state))).collect()
}

impl Drop for Followed {
    fn drop(&mut self) {
        self.feed.stop();
        if !std::thread::panicking() {
            eventually("the end of the feed", || self.feed.is_stopped());
        }
    }
}
