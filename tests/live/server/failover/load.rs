//! Clients of families of bears, each the only one of its family: they enqueue, wait, ask, claim and acknowledge, whoever is the master.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::support::{marked, Database, Random, Reply, Wire};

pub const CATALOG: &str = r#"
[bear]
id = "int"
tenant = "int"
tenant_column = "family"
tables = { bear = "id" }
[[bear.query]]
call = "one {id:int}"
sql = "SELECT id, size FROM bear WHERE family = {tenant} AND id = {id}"
[bear.job.GROW]
data = { mark = "text", id = "int" }
sql = """WITH u AS (UPDATE bear SET size = bear.size + 1 FROM {jobs} job WHERE bear.id = job.id AND bear.family = {tenant} RETURNING job.n, job.mark, bear.id),
 e AS (INSERT INTO effect(mark, bear_id) SELECT mark, id FROM u)
SELECT n, id FROM u"""
[bear.job.TELL]
claim = {}
"#;

/// Bears of a family.
const BEARS: i64 = 4;

/// Size of a bear before anybody has grown it.
const SIZE: i64 = 100;

/// What a command is answered while the cluster, or a sentinel, finds another master: it was not carried out.
const REFUSALS: [&str; 7] = ["MOVED", "CLUSTERDOWN", "READONLY", "LOADING", "MASTERDOWN", "TRYAGAIN", "ASK"];

/// Who knows where the master of a family is.
pub trait Route: Sync {
    /// Where to ask next: after a refusal or an end of the connection at `last`, which may have said where to go.
    fn next(&self, last: Option<u16>, told: Option<u16>) -> u16;
}

/// So many families, of bears from [`marked::FIRST_ADDED`] on.
pub fn database(families: i64) -> Database {
    let database = marked::database();
    marked::add_bears(&database, families * BEARS);
    database.run(&format!(
        "ALTER TABLE bear ADD COLUMN family bigint; UPDATE bear SET family = (id - {}) / {BEARS}",
        marked::FIRST_ADDED
    ));
    database
}

pub fn space(family: i64) -> String {
    format!("{{{family}}}:bear")
}

fn bear(family: i64, number: i64) -> i64 {
    marked::FIRST_ADDED + family * BEARS + number % BEARS
}

pub fn grow(family: i64, number: i64, mark: &str) -> Vec<String> {
    let payload = format!(r#"{{"mark":"{mark}","id":{}}}"#, bear(family, number));
    ["BEAR.ENQUEUE", &space(family), "GROW", &payload, "UNIQUE", mark].map(str::to_owned).into()
}

/// What a client knows of a job that it sent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Known {
    /// A replica has it, by WAIT.
    Confirmed,
    /// The master has said so, then.
    Accepted(Instant),
    /// The answer was lost, then.
    Unknown(Instant),
}

/// What a client did, and was told.
#[derive(Debug, Default)]
pub struct Told {
    /// Marks in the order in which they were sent.
    pub sent: Vec<(String, Known)>,
    /// Answers that were compared with Postgres.
    pub answers: usize,
    /// Claimed jobs whose acknowledgement a replica has.
    pub settled: usize,
}

pub struct Client<'a> {
    pub family: i64,
    pub waits: bool,
    pub route: &'a dyn Route,
    pub database: &'a Database,
    pub stop: &'a AtomicBool,
    pub seed: u64,
}

/// A connection to whoever is the master.
struct Line<'a> {
    route: &'a dyn Route,
    port: u16,
    wire: Option<Wire>,
}

impl Line<'_> {
    /// Its reply, once somebody carries it out; None: the connection ended, and nobody knows.
    fn call(&mut self, words: &[String]) -> Option<Reply> {
        loop {
            if self.wire.is_none() {
                self.wire = Wire::try_connect(self.port).ok();
                if let Some(wire) = &self.wire {
                    wire.set_patience(Duration::from_secs(8));
                }
            }
            let Some(wire) = &mut self.wire else {
                self.go(None);
                continue;
            };
            if !wire.try_send(words) {
                self.go(None);
                continue;
            }
            match wire.try_receive() {
                Err(_) => {
                    self.go(None);
                    return None;
                }
                Ok(Reply::Error(line)) => match line.split(' ').next() {
                    Some(code) if REFUSALS.contains(&code) => {
                        let told = line.rsplit_once(':').and_then(|(_, port)| port.trim().parse().ok());
                        self.go(told.filter(|_| code == "MOVED"));
                    }
                    _ => return Some(Reply::Error(line)),
                },
                Ok(reply) => return Some(reply),
            }
        }
    }

    fn go(&mut self, told: Option<u16>) {
        if told.is_none() {
            std::thread::sleep(Duration::from_millis(10));
        }
        self.port = self.route.next(Some(self.port), told);
        self.wire = None;
    }

    /// Does a replica have what this connection has written?
    fn is_confirmed(&mut self) -> bool {
        // On this connection and no other: what was written on one that has ended is not what WAIT is about.
        let Some(wire) = &mut self.wire else { return false };
        wire.try_send(&["WAIT", "1", "1000"]) && matches!(wire.try_receive(), Ok(Reply::Int(replicas)) if replicas > 0)
    }
}

impl Client<'_> {
    pub fn run(&self) -> Told {
        let mut line = Line { route: self.route, port: self.route.next(None, None), wire: None };
        let (mut told, mut random) = (Told::default(), Random::new(self.seed));
        let mut claims: BTreeMap<String, i64> = BTreeMap::new();
        let mut settled: Vec<String> = Vec::new();
        for number in 0.. {
            if self.stop.load(Ordering::Relaxed) {
                break;
            }
            let mark = format!("f{}.{number}", self.family);
            if random.once_in(5) {
                self.ask(&mut line, number, mark, &mut told);
            } else {
                let known = match line.call(&grow(self.family, number, &mark)) {
                    None => Known::Unknown(Instant::now()),
                    Some(Reply::Bulk(_)) if self.waits && line.is_confirmed() => Known::Confirmed,
                    Some(Reply::Bulk(_)) => Known::Accepted(Instant::now()),
                    Some(other) => panic!("{mark}: {other:?}"),
                };
                told.sent.push((mark, known));
            }
            if random.once_in(6) {
                self.work(&mut line, &mut claims, &mut settled);
            }
            std::thread::sleep(Duration::from_millis(random.below(4) as u64));
        }
        told.settled = settled.len();
        told
    }

    /// Once its job is known to be applied, a bear is answered as it is: nobody else changes it.
    fn ask(&self, line: &mut Line, number: i64, mark: String, told: &mut Told) {
        let mut words = grow(self.family, number, &mark);
        words.extend(["BLOCK", "5000"].map(str::to_owned));
        let reply = line.call(&words);
        let is_applied = match &reply {
            Some(Reply::Array(_) | Reply::Map(_)) => reply.as_ref().unwrap().map()["state"].text() == "completed",
            // Whoever waits is told when a master is none any more.
            Some(Reply::Error(_)) | None => false,
            Some(other) => panic!("{mark}: {other:?}"),
        };
        let now = Instant::now();
        told.sent.push((mark.clone(), if is_applied { Known::Accepted(now) } else { Known::Unknown(now) }));
        if !is_applied {
            return;
        }
        let id = bear(self.family, number);
        let size: i64 =
            self.database.client().query_one("SELECT size::int8 FROM bear WHERE id = $1", &[&id]).unwrap().get(0);
        let query = ["BEAR.QUERY", &space(self.family), "one", &id.to_string()].map(str::to_owned);
        // Who waits for a fetch at a master that is demoted is told so, and asks again.
        let is_unblocked = |reply: &Reply| reply.is_error() && reply.error().starts_with("UNBLOCKED ");
        let mut reply = line.call(&query);
        while reply.as_ref().is_some_and(is_unblocked) {
            reply = line.call(&query);
        }
        if let Some(reply) = reply {
            assert_eq!(reply.json()[0]["size"], size, "{mark}: a stale answer");
            told.answers += 1;
        }
    }

    /// Claims what there is, and acknowledges it. What was settled for certain does not come again, and tokens grow.
    fn work(&self, line: &mut Line, claims: &mut BTreeMap<String, i64>, settled: &mut Vec<String>) {
        let space = space(self.family);
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        line.call(&words(&["BEAR.ENQUEUE", &space, "TELL", "{}"]));
        let claimed = line.call(&words(&["BEAR.CLAIM", &space, "WORKER", "w", "LEASE", "60000"]));
        let Some(Reply::Array(jobs)) = claimed else { return };
        for job in jobs {
            let job = job.map();
            let (id, token) = (job["id"].text(), job["token"].int());
            assert!(!settled.contains(&id), "{id} is settled, and handed out again");
            let last = claims.values().copied().max().unwrap_or(0);
            assert!(token > last, "token {token} of {id} after {last}");
            claims.insert(id.clone(), token);
            let reply = line.call(&words(&["BEAR.ACK", &space, &id, &token.to_string()]));
            if reply == Some(Reply::Int(1)) && line.is_confirmed() {
                settled.push(id);
            }
        }
    }
}

/// A time in which a master was lost, and what it had not sent with it.
pub type Loss = (Instant, Instant);

/// How long before its end a master's writes may not have been on their way yet.
const LAG: Duration = Duration::from_millis(500);

fn is_amid(at: Instant, losses: &[Loss]) -> bool {
    losses.iter().any(|(from, until)| *from <= at + LAG && at <= *until)
}

/// What was applied is what was enqueued: once each, those of a bear in the order in which they were sent, but for what a master had
/// taken and not sent on when it was lost: where it comes back it may apply that late. Returns how many were lost.
#[track_caller]
pub fn check(database: &Database, told: &[Told], losses: &[Loss]) -> usize {
    let mut times: BTreeMap<String, usize> = BTreeMap::new();
    for mark in marked::applied(database) {
        *times.entry(mark).or_default() += 1;
    }
    let mut lost = 0;
    for (mark, known) in told.iter().flat_map(|told| &told.sent) {
        let times = times.remove(mark).unwrap_or(0);
        assert!(times <= 1, "{mark} was applied {times} times");
        match known {
            _ if times == 1 => {}
            Known::Confirmed => panic!("{mark} was confirmed by WAIT, and is lost"),
            Known::Accepted(at) => {
                lost += 1;
                assert!(is_amid(*at, losses), "{mark} was accepted while no master was lost, and is lost");
            }
            Known::Unknown(_) => {}
        }
    }
    assert_eq!(times.len(), 0, "applied, and never sent: {times:?}");
    for told in told {
        let is_in_order = |known: &Known| match known {
            Known::Confirmed => true,
            Known::Accepted(at) | Known::Unknown(at) => !is_amid(*at, losses),
        };
        let marks: Vec<&String> =
            told.sent.iter().filter(|(_, known)| is_in_order(known)).map(|(mark, _)| mark).collect();
        marked::assert_order(database, &marks);
    }
    lost
}

/// In the end each bear is answered as Postgres has it, and as often grown as jobs were applied.
#[track_caller]
pub fn check_answers(database: &Database, families: i64, mut ask: impl FnMut(&str) -> Reply) {
    let rows = database.client().query(
        "SELECT b.id, b.size::int8, count(e.mark) FROM bear b LEFT JOIN effect e ON e.bear_id = b.id WHERE b.id >= $1 GROUP BY b.id",
        &[&marked::FIRST_ADDED],
    );
    let rows = rows.expect("the bears");
    assert_eq!(rows.len() as i64, families * BEARS);
    for row in rows {
        let (id, size, effects): (i64, i64, i64) = (row.get(0), row.get(1), row.get(2));
        assert_eq!(size, SIZE + effects, "bear {id}");
        let family = (id - marked::FIRST_ADDED) / BEARS;
        let line = format!("BEAR.QUERY {} one {id}", space(family));
        for _ in 0..2 {
            assert_eq!(ask(&line).json()[0]["size"], size, "bear {id}");
        }
    }
}

#[test]
fn the_check_finds_what_it_is_for() {
    let now = Instant::now();
    let long_ago = now - Duration::from_secs(10);
    let losses = [(now, now + Duration::from_secs(1))];
    // Jobs "a" and then "b" of one bear: what is known of them, what was applied, and whether that may be.
    let cases: [(Known, Known, &[&str], Option<usize>); 8] = [
        (Known::Confirmed, Known::Confirmed, &["a", "b"], Some(0)),
        (Known::Confirmed, Known::Accepted(now), &["a"], Some(1)),
        (Known::Unknown(now), Known::Confirmed, &["b", "a"], Some(0)),
        (Known::Confirmed, Known::Confirmed, &["a"], None),
        (Known::Confirmed, Known::Accepted(long_ago), &["a"], None),
        (Known::Confirmed, Known::Confirmed, &["a", "b", "b"], None),
        (Known::Confirmed, Known::Confirmed, &["b", "a"], None),
        (Known::Confirmed, Known::Confirmed, &["a", "b", "c"], None),
    ];
    for (first, second, applied, expected) in cases {
        let database = database(1);
        for mark in applied {
            database.run(&format!("INSERT INTO effect(mark, bear_id) VALUES ('{mark}', {})", bear(0, 0)));
        }
        let told = [Told { sent: vec![("a".into(), first), ("b".into(), second)], ..Told::default() }];
        let found = std::panic::catch_unwind(|| check(&database, &told, &losses)).ok();
        assert_eq!(found, expected, "{first:?}, {second:?}, {applied:?}");
    }
}
