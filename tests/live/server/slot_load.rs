//! Who writes, reads, claims and waits in spaces of several tenants while their slots move.
//!
//! In the end each job has had its effect once and in its order, each claimed one was acknowledged once, and nothing is left.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::support::server::Builder;
use crate::support::wait::{wait_at_most, PATIENCE};
use crate::support::{Cluster, ClusterClient, Database, Postgres, Random, Redis, Reply};

const SCHEMA: &str = "
CREATE TABLE item(id int PRIMARY KEY, shop int NOT NULL, name text NOT NULL);
CREATE TABLE effect(seq bigint GENERATED ALWAYS AS IDENTITY, id int, name text);
CREATE FUNCTION log_effect() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO effect(id, name) VALUES (NEW.id, NEW.name);
    RETURN NEW;
END $$;
CREATE TRIGGER effects AFTER UPDATE ON item FOR EACH ROW EXECUTE FUNCTION log_effect();
";

const CATALOG: &str = r#"
[item]
id = "int"
tenant = "int"
tenant_column = "shop"
[[item.query]]
call = "all"
sql = "SELECT id, name FROM item WHERE shop = {tenant} ORDER BY id"
[item.job.RENAME]
data = { id = "int", name = "text" }
sql = "UPDATE item SET name = job.name FROM {jobs} job WHERE item.id = job.id RETURNING job.n, item.id"
[mail]
tenant = "int"
[mail.job.SEND]
claim = {}
"#;

/// Rows of each tenant: the first ones are renamed in order, the last one by delayed jobs.
const ROWS: usize = 4;

pub struct Load {
    pub database: Database,
    tenants: Vec<usize>,
    is_over: AtomicBool,
    done: Mutex<Done>,
}

/// What was accepted, and what came of it.
#[derive(Default)]
struct Done {
    renamed: BTreeMap<usize, Vec<String>>,
    sent: BTreeSet<String>,
    all_sent: bool,
    /// When the moves had come to their end.
    over: Option<Instant>,
    acknowledged: Vec<String>,
    longest: Duration,
    sent_on: BTreeMap<&'static str, usize>,
}

pub fn node(database: &Database) -> Builder {
    Redis::builder().postgres(database).catalog(CATALOG).append_only().config("bear.feed", "off")
}

pub fn database() -> Database {
    Postgres::shared().database(SCHEMA)
}

impl Load {
    pub fn new(database: Database, tenants: Vec<usize>) -> Load {
        let rows = tenants
            .iter()
            .flat_map(|tenant| (0..ROWS).map(move |row| format!("({}, {tenant}, 'new')", id(*tenant, row))));
        database.run(&format!("INSERT INTO item VALUES {}", rows.collect::<Vec<_>>().join(", ")));
        Load { database, tenants, is_over: AtomicBool::new(false), done: Mutex::default() }
    }

    /// Runs the load while `moves` runs, and compares afterwards.
    pub fn run(&self, cluster: &Cluster, moves: impl FnOnce()) {
        std::thread::scope(|scope| {
            scope.spawn(|| self.write(cluster));
            scope.spawn(|| self.send(cluster));
            for number in 0..2 {
                scope.spawn(move || self.work(cluster, number));
            }
            // A test that fails ends its clients, too.
            struct Over<'a>(&'a AtomicBool);
            impl Drop for Over<'_> {
                fn drop(&mut self) {
                    self.0.store(true, Ordering::Relaxed);
                }
            }
            let _over = Over(&self.is_over);
            moves();
        });
        self.compare(cluster);
    }

    fn runs(&self) -> bool {
        !self.is_over.load(Ordering::Relaxed)
    }

    fn write(&self, cluster: &Cluster) {
        let (mut client, mut random) = (cluster.client(), Random::new(3));
        let mut number = 0;
        while self.runs() {
            let tenant = self.tenants[random.below(self.tenants.len())];
            let (is_late, waits) = (random.once_in(6), random.once_in(10));
            let row = id(tenant, if is_late { ROWS - 1 } else { random.below(ROWS - 1) });
            let (name, space) = (format!("n{number}"), format!("{{{tenant}}}:item"));
            number += 1;
            let line = format!(r#"BEAR.ENQUEUE {space} RENAME {{"id":{row},"name":"{name}"}}"#);
            let option = match (is_late, waits) {
                (true, _) => format!(" DELAY {}", 1 + random.below(500)),
                (false, true) => " BLOCK 5000".to_owned(),
                (false, false) => String::new(),
            };
            let reply = client.run(&format!("{line}{option}"));
            let has_moved = reply.is_error() && reply.error().contains("has moved to another node");
            assert!(has_moved || !reply.is_error(), "{line}: {reply:?}");
            self.done.lock().unwrap().renamed.entry(row).or_default().push(name.clone());
            if waits && !is_late && !has_moved {
                // Nobody else renames this row: what is read now is this name.
                let shown = client.run(&format!("BEAR.QUERY {space} all")).json();
                let shown = shown.as_array().unwrap().iter().find(|shown| shown["id"] == row).unwrap().clone();
                assert_eq!(shown["name"], name.as_str(), "stale");
            }
        }
        self.leaves(client);
    }

    fn send(&self, cluster: &Cluster) {
        let (mut client, mut random) = (cluster.client(), Random::new(5));
        while self.runs() {
            let tenant = self.tenants[random.below(self.tenants.len())];
            let delay = if random.once_in(3) { format!(" DELAY {}", 1 + random.below(500)) } else { String::new() };
            let job = client.run(&format!("BEAR.ENQUEUE {{{tenant}}}:mail SEND {{}}{delay}"));
            assert!(!job.is_error(), "{job:?}");
            self.done.lock().unwrap().sent.insert(format!("{tenant} {}", job.text()));
            std::thread::sleep(Duration::from_millis(random.below(4) as u64));
        }
        self.done.lock().unwrap().all_sent = true;
        self.leaves(client);
    }

    /// Holds each job for a moment, in which its slot may go.
    fn work(&self, cluster: &Cluster, number: u64) {
        let (mut client, mut random) = (cluster.client(), Random::new(7 + number));
        while self.runs() || self.is_worked_on() {
            let tenant = self.tenants[random.below(self.tenants.len())];
            let claims =
                client.run(&format!("BEAR.CLAIM {{{tenant}}}:mail WORKER w{number} COUNT 5 LEASE 600000 BLOCK 300"));
            assert!(!claims.is_error(), "{claims:?}");
            let claims = if claims.is_nil() { Vec::new() } else { claims.list().to_vec() };
            std::thread::sleep(Duration::from_millis(random.below(30) as u64));
            for claim in claims {
                let (id, token) = (claim.map()["id"].text(), claim.map()["token"].int());
                let reply = client.run(&format!("BEAR.ACK {{{tenant}}}:mail {id} {token}"));
                assert_eq!(reply, Reply::Int(1), "{tenant} {id}");
                self.done.lock().unwrap().acknowledged.push(format!("{tenant} {id}"));
            }
        }
        self.leaves(client);
    }

    /// Is anything left of what was sent? After a while that is a fault, which the comparison tells.
    fn is_worked_on(&self) -> bool {
        let mut done = self.done.lock().unwrap();
        let since = *done.over.get_or_insert_with(Instant::now);
        (!done.all_sent || done.acknowledged.len() < done.sent.len()) && since.elapsed() < PATIENCE
    }

    fn leaves(&self, client: ClusterClient) {
        let mut done = self.done.lock().unwrap();
        done.longest = done.longest.max(client.longest);
        for (code, times) in client.sent_on {
            *done.sent_on.entry(code).or_default() += times;
        }
    }

    fn compare(&self, cluster: &Cluster) {
        let mut client = cluster.client();
        for space in self.tenants.iter().flat_map(|tenant| [format!("{{{tenant}}}:item"), format!("{{{tenant}}}:mail")])
        {
            let mut left = Vec::new();
            let settled = wait_at_most(PATIENCE, || {
                let stats = client.run(&format!("BEAR.STATS {space}")).map();
                left = ["waiting", "active", "delayed"].map(|state| (state, stats[state].int())).to_vec();
                left.iter().all(|(_, count)| *count == 0).then_some(())
            });
            assert!(settled.is_some(), "jobs of {space} have not settled: {left:?}");
        }
        let done = self.done.lock().unwrap();
        let jobs: usize = done.renamed.values().map(Vec::len).sum();
        let (claimed, longest) = (done.acknowledged.len(), done.longest);
        println!("{jobs} jobs applied, {claimed} claimed; the longest command {longest:?}; sent on {:?}", done.sent_on);
        let mut acknowledged = done.acknowledged.clone();
        acknowledged.sort();
        assert_eq!(acknowledged, done.sent.iter().cloned().collect::<Vec<_>>());
        let mut effects: BTreeMap<usize, Vec<String>> = BTreeMap::new();
        for row in self.database.client().query("SELECT id, name FROM effect ORDER BY seq", &[]).expect("the effects") {
            effects.entry(row.get::<_, i32>(0) as usize).or_default().push(row.get(1));
        }
        let mut renamed = done.renamed.clone();
        for tenant in &self.tenants {
            // Delayed ones are in the order of their times.
            let late = id(*tenant, ROWS - 1);
            for of in [&mut effects, &mut renamed] {
                of.entry(late).or_default().sort();
            }
        }
        assert_eq!(effects, renamed);
        for tenant in &self.tenants {
            let slot = cluster.slot(&format!("{{{tenant}}}"));
            let owner = cluster.owner(slot).expect("an owner");
            for index in (0..cluster.len()).filter(|index| *index != owner) {
                assert_eq!(cluster.keys_in(index, slot), [""; 0], "node {index} has nothing of what is node {owner}'s");
            }
        }
        assert!(jobs > 50 && claimed > 20, "{jobs} jobs, {claimed} claimed");
    }
}

fn id(tenant: usize, row: usize) -> usize {
    tenant * 10 + row
}
