//! The change feed against private Postgres servers: `follow` on a thread of the test's own.
//!
//! `both` is run for either kind of feed, with one body; `wal` has what decoding alone can tell or be asked, `outbox` what
//! triggers alone can. The thread that the module has for it is tested with `workers`.

mod both;
mod outbox;
mod wal;

use std::collections::BTreeSet;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{unbounded, Receiver};

use super::{follow, FeedControl, FeedError, FeedKind, FeedSettings};
use crate::core::catalog::Section;
use crate::core::feed::promise::Promises;
use crate::core::feed::{Coverage, FeedOutcome, Rows, SectionChange, TableCoverage, Tenant};
use crate::core::jobs::retry::OutageBackoff;
use crate::postgres::tests::batches::sections;
use crate::postgres::tests::eventually;
use crate::postgres::tests::server::Server;
use crate::postgres::{Settings, UrlSource};

const PATIENCE: Duration = Duration::from_secs(20);

/// One table, whose present values are asked for.
const ITEM: &str = r#"
[item]
id = "int"
tables = { item = "id" }
row = "SELECT id, size FROM item WHERE id = ANY({ids})"
[[item.query]]
call = "size {x:int}"
sql = "SELECT id FROM item WHERE size = {x}"
match = "size = {x}"
"#;
const ITEM_TABLE: &str = "CREATE TABLE item (id bigint PRIMARY KEY, size int, note text)";

fn items(kind: FeedKind) -> (Database, Followed) {
    let database = Database::new(kind, ITEM_TABLE);
    let followed = database.follow(ITEM);
    assert_eq!(followed.connected(), ["item: covered"]);
    (database, followed)
}

fn none() -> Vec<String> {
    Vec::new()
}

/// A server for that kind of feed: the WAL of an outbox's cannot be decoded.
fn server_for(kind: FeedKind) -> Server {
    match kind {
        FeedKind::Wal => Server::logical(),
        FeedKind::Outbox => Server::new(),
    }
}

/// One for all tests that have it to themselves within a database.
fn shared(kind: FeedKind) -> Arc<Server> {
    static WAL: Mutex<Weak<Server>> = Mutex::new(Weak::new());
    static OUTBOX: Mutex<Weak<Server>> = Mutex::new(Weak::new());
    let shared = match kind {
        FeedKind::Wal => &WAL,
        FeedKind::Outbox => &OUTBOX,
    };
    let mut shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(server) = shared.upgrade() {
        return server;
    }
    let server = Arc::new(server_for(kind));
    *shared = Arc::downgrade(&server);
    server
}

/// A database of the test's own, which is followed by one kind of feed.
struct Database {
    kind: FeedKind,
    server: Arc<Server>,
    name: String,
}

impl Database {
    fn new(kind: FeedKind, sql: &str) -> Database {
        Database::on(kind, shared(kind), sql)
    }

    fn on(kind: FeedKind, server: Arc<Server>, sql: &str) -> Database {
        Database::made(kind, server, "", sql)
    }

    fn made(kind: FeedKind, server: Arc<Server>, options: &str, sql: &str) -> Database {
        static NEXT: AtomicUsize = AtomicUsize::new(1);
        let name = format!("feed_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        server.run(&format!("CREATE DATABASE {name} {options}"));
        let database = Database { kind, server, name };
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

    fn slots(&self) -> i64 {
        self.int(&format!("SELECT count(*) FROM pg_replication_slots WHERE database = '{}'", self.name))
    }

    fn follow(&self, catalog: &str) -> Followed {
        self.follow_at(catalog, &self.url("bear", self.server.port))
    }

    fn follow_at(&self, catalog: &str, url: &str) -> Followed {
        let mut settings = settings(self.kind, url);
        // A reader makes triggers, and waits for locks on tables.
        settings.settings.query_timeout_ms = if self.kind == FeedKind::Wal { 1000 } else { 5000 };
        Followed::start(settings, catalog)
    }
}

fn settings(kind: FeedKind, url: &str) -> FeedSettings {
    FeedSettings {
        kind,
        grace: Duration::from_millis(400),
        silence: Duration::from_secs(3),
        ..FeedSettings::new(Settings::new(url, UrlSource::Config))
    }
}

/// A feed and what it tells. It begins anew whenever something goes wrong, as the module's thread does.
struct Followed {
    control: Arc<FeedControl>,
    told: Receiver<FeedOutcome>,
    thread: JoinHandle<()>,
    sections: Arc<[Section]>,
}

impl Followed {
    fn start(settings: FeedSettings, catalog: &str) -> Followed {
        Followed::with_promises(settings, catalog, Arc::default())
    }

    fn with_promises(settings: FeedSettings, catalog: &str, promises: Arc<Promises>) -> Followed {
        let sections = sections(catalog);
        let control = Arc::new(FeedControl::new(sections.clone(), promises));
        let (sender, told) = unbounded();
        let own = control.clone();
        let follow_on = move || {
            let mut backoff = OutageBackoff::default();
            // Who has no receiver any more has called for a stop.
            let mut tell = |outcome| drop(sender.send(outcome));
            while !own.is_stopping() {
                let (error, allowed) = match follow(&settings, &own, &mut tell) {
                    FeedError::Stopped => return,
                    FeedError::Forbidden(error) => (error, false),
                    FeedError::Other(error) => (error, true),
                };
                tell(FeedOutcome::Down { error, allowed });
                own.sleep(backoff.next(RandomState::new().build_hasher().finish()));
            }
        };
        Followed { control, told, thread: std::thread::spawn(follow_on), sections }
    }

    /// Follows another catalog by the connections that it has; what has been told of the old one is forgotten.
    fn follow_instead(&self, sections: Arc<[Section]>) {
        self.control.follow_instead(sections);
        self.told.try_iter().for_each(drop);
    }

    fn next(&self) -> FeedOutcome {
        self.told.recv_timeout(PATIENCE).expect("the feed tells something")
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

    /// Waits for the next connection through whatever goes wrong before: the tables, and whether each is covered.
    fn connected_again(&self) -> Vec<(String, bool)> {
        loop {
            if let FeedOutcome::Connected { coverage } = self.next() {
                let line =
                    |table: &TableCoverage| (table.table.to_string(), matches!(table.state, Coverage::Covered { .. }));
                return coverage.iter().map(line).collect();
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
                .map(|row| {
                    let values = row.json.as_ref().map(|json| format!(": {}", String::from_utf8_lossy(json)));
                    let (id, values) = (&row.id, values.unwrap_or_default());
                    match row.unchanged.names() {
                        Some(names) => format!("{head} {id}{values} as it was: {}", names.join(",")),
                        None => format!("{head} {id}{values}"),
                    }
                })
                .collect(),
        }
    }

    fn stop(&self) {
        self.control.stop();
    }

    fn is_stopped(&self) -> bool {
        self.thread.is_finished()
    }

    fn end(&self) {
        self.stop();
        let took = eventually("the end of the feed", || self.is_stopped());
        assert!(took < Duration::from_secs(1), "{took:?}");
    }

    /// Where the network is silent it takes its time.
    fn end_in_silence(&self) {
        self.stop();
        let took = eventually("the end of the feed", || self.is_stopped());
        assert!(took < Duration::from_secs(3), "{took:?}");
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
        self.stop();
        if !std::thread::panicking() {
            eventually("the end of the feed", || self.is_stopped());
        }
    }
}
