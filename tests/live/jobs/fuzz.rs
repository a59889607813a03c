//! Random and hostile jobs: whatever clients send, they get an id or an error of a known code, what is enqueued fits its
//! definition, and Redis lives.

use std::collections::{BTreeMap, BTreeSet};

use crate::support::bears;
use crate::support::jobs::{self, set_drain, stat};
use crate::support::wire::packed;
use crate::support::{eventually, Redis, Reply, Wire};

const ROUNDS: usize = 200;
/// Sent on the connection before the replies are read.
const BATCH: usize = 100;

const CODES: [&str; 6] = ["ERR", "TOOLARGE", "DUPLICATE", "FULL", "TIMEOUT", "WRONGTYPE"];

/// A generator that gives the same numbers each time (xorshift64*).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() >> 33) as usize % limit
    }

    fn one<'a, T: ?Sized>(&mut self, of: &[&'a T]) -> &'a T {
        of[self.below(of.len())]
    }

    fn bytes(&mut self, most: usize) -> Vec<u8> {
        let length = self.below(most + 1);
        (0..length).map(|_| self.next() as u8).collect()
    }
}

const SPACES: [&str; 7] = ["bear", "bear", "bear", "color", "bears", "{1}:bear", "bear:queue"];

/// Jobs with a payload that is right.
const JOBS: [(&str, &str); 6] = [
    ("UPDATE_BEAR_NAME", r#"{"id":5,"name":"Kodiak"}"#),
    ("UPDATE_BEAR_SIZE", r#"{"id":5,"size":200}"#),
    ("UPDATE_BEAR", r#"{"id":6,"name":null,"size":7}"#),
    ("UPDATE_BEAR_COLORS", r#"{"id":7,"colors":["brown","black"]}"#),
    ("CREATE_BEAR", r#"{"name":"\ud83d\udc3b","size":1,"colors":[]}"#),
    ("DELETE_BEAR", r#"{"id":4711}"#),
];

const PIECES: [&str; 22] = [
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"",
    "\\",
    "\\u0000",
    "\\ud800",
    "\\ud83d\\udc3b",
    "null",
    "true",
    "-",
    "1e999",
    "0.1",
    "99999999999999999999",
    "\"id\":",
    "\"size\":",
    " ",
    "'; DROP TABLE bear; --",
    "\u{202e}",
];

const OPTIONS: [&str; 14] = [
    "UNIQUE",
    "DELAY",
    "ATTEMPTS",
    "BACKOFF",
    "unique",
    "delay",
    "0",
    "1",
    "50",
    "-1",
    "101",
    "99999999999999999999",
    "",
    "PRIORITY",
];

/// A payload with some bytes changed.
fn payload(random: &mut Random, right: &str) -> Vec<u8> {
    let mut bytes = right.as_bytes().to_vec();
    match random.below(12) {
        0..=2 => {}
        3 => bytes = random.bytes(40),
        4 => bytes.truncate(random.below(bytes.len())),
        5 => bytes = b"[".repeat(random.below(20_000)),
        6 => bytes = [b"{\"a\":".repeat(random.below(5_000)), b"1".to_vec()].concat(),
        7 => bytes = (0..random.below(20)).flat_map(|_| random.one(&PIECES).bytes()).collect(),
        8 => {
            let at = random.below(bytes.len());
            bytes[at] = random.next() as u8;
        }
        _ => {
            for _ in 0..=random.below(3) {
                let at = random.below(bytes.len());
                bytes.splice(at..at, random.one(&PIECES).bytes());
            }
        }
    }
    bytes
}

fn command(random: &mut Random) -> Vec<Vec<u8>> {
    let (name, right) = JOBS[random.below(JOBS.len())];
    let space = random.one(&SPACES).as_bytes().to_vec();
    match random.below(10) {
        0 => vec![random.one(&["BEAR.JOB", "BEAR.REMOVE", "BEAR.RETRY"]).into(), space, random.bytes(20)],
        1 => {
            let word = random.one(&OPTIONS).into();
            vec![b"BEAR.JOBS".to_vec(), space, random.one(&["failed", "waiting", "x"]).into(), b"COUNT".to_vec(), word]
        }
        _ => {
            let name = if random.below(20) == 0 { random.bytes(20) } else { name.into() };
            let mut args = vec![b"BEAR.ENQUEUE".to_vec(), space, name, payload(random, right)];
            for _ in 0..random.below(5) {
                args.push(if random.below(5) == 0 { random.bytes(8) } else { random.one(&OPTIONS).into() });
            }
            args
        }
    }
}

/// What was replied, by code; and that each reply is of a known kind.
fn run(wire: &mut Wire, random: &mut Random) -> BTreeMap<String, usize> {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let mut ids = BTreeSet::new();
    for _ in 0..ROUNDS {
        let commands: Vec<Vec<Vec<u8>>> = (0..BATCH).map(|_| command(random)).collect();
        wire.send_bytes(&commands.iter().flat_map(|args| packed(args)).collect::<Vec<u8>>());
        for args in commands {
            let reply = wire.receive();
            let shown =
                || args.iter().map(|arg| arg[..arg.len().min(200)].escape_ascii().to_string()).collect::<Vec<_>>();
            let kind = match &reply {
                Reply::Error(line) => {
                    assert!(line.len() < 16 << 10, "an error of {} bytes for {:?}", line.len(), shown());
                    assert!(!line.contains("internal error"), "{:?}: {line}", shown());
                    line.split(' ').next().unwrap_or_default().to_owned()
                }
                Reply::Bulk(_) => {
                    // A UNIQUE key that holds names the first job.
                    if ids.insert(jobs::id_of(&reply)) { "enqueued" } else { "again" }.to_owned()
                }
                Reply::Int(_) | Reply::Nil | Reply::Array(_) => "data".to_owned(),
                other => panic!("{:?}: {other:?}", shown()),
            };
            let is_known = ["enqueued", "again", "data"].contains(&&*kind) || CODES.contains(&&*kind);
            assert!(is_known, "{:?}: {reply:?}", shown());
            *seen.entry(kind).or_default() += 1;
        }
    }
    seen
}

#[test]
fn whatever_is_sent_only_jobs_that_fit_are_enqueued_and_redis_lives() {
    let database = bears::database();
    database.log_errors_only();
    let redis = Redis::builder().postgres(&database).config("bear.drain", "no").start();
    let run_id = redis.info("server").text("run_id").to_owned();
    let mut wire = redis.wire();
    let seen = run(&mut wire, &mut Random(0x5eed_bea5));
    println!("{seen:?}");
    assert!(seen["enqueued"] > ROUNDS && seen["ERR"] > ROUNDS * BATCH / 10, "{seen:?}");
    assert_eq!(redis.info("server").text("run_id"), run_id);
    assert_eq!(wire.run("XLEN color:queue"), Reply::Int(0), "none of these jobs is a colour's");

    // Every payload in the queue is one that the job declares.
    let entries = wire.run("XRANGE bear:queue - +");
    assert_eq!(entries.list().len(), seen["enqueued"]);
    for entry in entries.list() {
        let fields = entry.list()[1].map();
        let (name, data) = (fields["job"].text(), fields["data"].json());
        let (_, right) = JOBS.iter().find(|(job, _)| *job == name).unwrap_or_else(|| panic!("no job {name}"));
        let right: serde_json::Value = serde_json::from_str(right).unwrap();
        for (field, value) in data.as_object().expect("an object") {
            let is_null = value.is_null() && name == "UPDATE_BEAR";
            let fits = match field.as_str() {
                "id" | "size" => value.is_i64(),
                "name" => value.is_string(),
                "colors" => value.is_array(),
                _ => false,
            };
            assert!(right.get(field).is_some() && (fits || is_null), "{name}: {data}");
        }
        for word in ["attempts", "backoff", "due"] {
            assert!(fields.get(word).is_none_or(|value| value.text().parse::<u64>().is_ok()), "{fields:?}");
        }
    }
    // They do the appliers no harm. (A job with 101 attempts may outlive the test.)
    set_drain(&mut wire, "yes");
    eventually("jobs are applied", || stat(&mut wire, "bear", "completed") > 0);
    jobs::complete(&mut wire, r##"color CREATE_COLOR {"name":"pink","hex":"#ffc0cb"}"##);
    jobs::complete(&mut wire, r#"bear UPDATE_BEAR_SIZE {"id":8,"size":8}"#);
    assert!(!redis.log().contains("panic"), "{}", redis.log());
}
