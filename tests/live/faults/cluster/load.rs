//! Who writes and who reads, whatever happens to the nodes.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use super::client::Client;
use super::model::{calls, row, Call, Row, ROWS};
use super::run::Run;
use crate::support::{Database, Random, Reply, StopAtEnd};

const WRITERS: usize = 3;
const READERS: usize = 3;

/// How long anything may take, a failover included.
const PATIENCE: Duration = Duration::from_secs(40);

/// Of how many answers in vain a job gets another key: the first may be lost with a master.
const TRIES_A_KEY: usize = 3;

/// Jobs that are sent one after the other without waiting for any.
const MOST_AT_ONCE: usize = 4;

/// Which nodes others may take for gone; a bit each, by their place. Above them it counts its changes.
#[derive(Default)]
pub struct Doubtful(AtomicU64);

const PLACES: u32 = 16;

impl Doubtful {
    pub fn set(&self, node: usize, is_doubtful: bool) {
        let (bit, step) = (1 << node, 1 << PLACES);
        let change = |now: u64| Some(step + if is_doubtful { now | bit } else { now & !bit });
        let _ = self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, change);
    }

    fn now(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

/// What is under load.
pub struct Place<'a> {
    pub run: &'a Run,
    pub database: &'a Database,
    pub nodes: &'a [SocketAddr],
    pub doubtful: &'a Doubtful,
}

/// Runs `meanwhile` under load; what was begun is ended when this returns.
pub fn under_load<T>(place: &Place, random: &mut Random, meanwhile: impl FnOnce(&mut Random) -> T) -> T {
    let (no_readers, no_writers) = (AtomicBool::new(false), AtomicBool::new(false));
    thread::scope(|scope| {
        let stop_readers = StopAtEnd(&no_readers);
        for _ in 0..READERS {
            let client = Client::new(place.nodes.to_vec(), Random::new(random.next()));
            let (stop, random) = (&no_readers, Random::new(random.next()));
            scope.spawn(move || read(place, client, random, stop));
        }
        let stop_writers = StopAtEnd(&no_writers);
        let writers: Vec<_> = (0..WRITERS)
            .map(|number| {
                let client = Client::new(place.nodes.to_vec(), Random::new(random.next()));
                let own: Vec<usize> = (number..ROWS).step_by(WRITERS).collect();
                let writer = Writer {
                    place,
                    client,
                    random: Random::new(random.next()),
                    name: format!("w{number}"),
                    open: BTreeSet::new(),
                };
                let stop = &no_writers;
                scope.spawn(move || writer.write(&own, stop))
            })
            .collect();
        let done = meanwhile(random);
        drop(stop_writers);
        for writer in writers {
            writer.join().expect("a writer does not fail");
        }
        drop(stop_readers);
        done
    })
}

fn read(place: &Place, mut client: Client, mut random: Random, stop: &AtomicBool) {
    let calls: Vec<Call> = calls();
    while !stop.load(Ordering::Relaxed) && !place.run.has_failed() {
        let call = &calls[random.below(calls.len())];
        let mut words = vec!["BEAR.QUERY", &call.space];
        words.extend(call.words.split(' '));
        let (before, floors) = (place.doubtful.now(), place.run.floors());
        let Some(answer) = client.ask(&call.space, &words, Instant::now() + PATIENCE) else {
            return place.run.fail(&format!("{words:?} was not answered for {PATIENCE:?}"));
        };
        let node = place.nodes.iter().position(|node| node.port() == answer.port).expect("a node");
        match answer.reply {
            _ if (before >> node) & 1 == 1 || before != place.doubtful.now() => {
                place.run.left_out.fetch_add(1, Ordering::Relaxed);
            }
            Reply::Bulk(json) => {
                place.run.check_answer(call, &floors, &json);
                place.run.reads.fetch_add(1, Ordering::Relaxed);
            }
            Reply::Error(error) if is_expected(&error) => thread::sleep(Duration::from_millis(1)),
            reply => place.run.fail(&format!("{words:?} was answered {reply:?}")),
        }
        thread::sleep(Duration::from_micros(random.below(3_000) as u64));
    }
}

fn is_expected(error: &str) -> bool {
    ["TIMEOUT ", "OVERLOADED ", "POSTGRES ", "ERR the queue "].iter().any(|code| error.starts_with(code))
}

struct Writer<'a> {
    place: &'a Place<'a>,
    client: Client,
    random: Random,
    name: String,
    /// Rows with jobs of which nobody knows whether they have settled: what is written past their queue could overtake them.
    open: BTreeSet<usize>,
}

impl Writer<'_> {
    fn write(mut self, own: &[usize], stop: &AtomicBool) {
        while !stop.load(Ordering::Relaxed) && !self.run().has_failed() {
            let at = own[self.random.below(own.len())];
            match self.random.below(4) {
                0 if !self.open.contains(&at) => self.by_sql(at),
                1 => self.by_jobs(at),
                _ => drop(self.by_job(at)),
            }
            thread::sleep(Duration::from_millis(self.random.below(20) as u64));
        }
        // What was left in doubt is written over.
        for at in own {
            self.by_job(*at);
        }
    }

    fn run(&self) -> &Run {
        self.place.run
    }

    fn begin(&mut self, at: usize, how: &str) -> (Row, u32) {
        let version = self.run().versions[at].begin();
        self.run().event(&format!("{} {:?} version {version} {how}", self.name, row(at)));
        (row(at), version)
    }

    fn seen(&mut self, at: usize, version: u32) {
        self.run().versions[at].seen(version);
        self.run().writes.fetch_add(1, Ordering::Relaxed);
        self.run().event(&format!("{} {:?} version {version} is seen", self.name, row(at)));
    }

    /// Past the module, which is told.
    fn by_sql(&mut self, at: usize) {
        let (Row { section, id }, version) = self.begin(at, "by SQL");
        self.place.database.run(&format!("UPDATE {section} SET ver = {version}, key = NULL WHERE id = {id}"));
        let (space, id) = (row(at).space(), id.to_string());
        let is_told = self.until_done(&space, |writer, until| {
            match writer.client.ask(&space, &["BEAR.INVALIDATE", &space, "ROW", &id], until)?.reply {
                Reply::Int(_) => Some(true),
                reply => writer.refused(&reply),
            }
        });
        if is_told {
            self.seen(at, version);
        }
    }

    /// A job, until it is known to have been applied.
    fn by_job(&mut self, at: usize) -> bool {
        let (place, version) = self.begin(at, "by a job");
        let space = place.space();
        let mut tries = 0;
        let is_done = self.until_done(&space, |writer, until| {
            let key = format!("{}.{at}.{version}.{}", writer.name, tries / TRIES_A_KEY);
            tries += 1;
            let words = writer.enqueue(place, version, &key);
            let mut words: Vec<&str> = words.iter().map(String::as_str).collect();
            words.extend(["BLOCK", "3000"]);
            let reply = writer.client.ask(words[1], &words, until)?.reply;
            if !matches!(reply, Reply::Array(_) | Reply::Map(_)) {
                return writer.refused(&reply);
            }
            let job = reply.map();
            if job["state"].text() != "completed" {
                writer.run().fail(&format!("a job that cannot fail: {job:?}"));
                return None;
            }
            writer.run().is_safe(&key);
            Some(true)
        });
        if is_done {
            self.open.remove(&at);
            self.seen(at, version);
        }
        is_done
    }

    /// Several, one after the other. Those before a WAIT that a replica has answered must be applied.
    fn by_jobs(&mut self, at: usize) {
        let (mut keys, mut port, breaks) = (Vec::new(), None, self.client.breaks);
        self.open.insert(at);
        for _ in 0..1 + self.random.below(MOST_AT_ONCE) {
            let (place, version) = self.begin(at, "by one of some jobs");
            let key = format!("{}.{at}.{version}.s", self.name);
            let words = self.enqueue(place, version, &key);
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            let until = Instant::now() + Duration::from_secs(2);
            let answer = self.client.ask(words[1], &words, until);
            match answer {
                Some(answer) if matches!(answer.reply, Reply::Bulk(_)) && port.is_none_or(|at| at == answer.port) => {
                    port = Some(answer.port);
                    keys.push(key);
                }
                // Whatever has become of it, and of those before: nothing is known.
                _ => {
                    keys.clear();
                    break;
                }
            }
        }
        let Some(port) = port.filter(|_| !keys.is_empty()) else { return };
        // A connection waits for what it has written itself.
        let has_all = self.client.wait(port, Duration::from_millis(500)) >= 1;
        if has_all && self.client.breaks == breaks {
            keys.iter().for_each(|key| self.run().is_safe(key));
        }
    }

    fn enqueue(&self, place: Row, version: u32, key: &str) -> Vec<String> {
        let (space, job) = match place.section {
            // Always by the same queue: another one has an order of its own.
            "shelf" if place.id == 1 => ("{shop}:book".to_owned(), "SET_SHELF"),
            _ => (place.space(), "SET"),
        };
        let payload = json!({ "id": place.id, "ver": version, "key": key }).to_string();
        ["BEAR.ENQUEUE", &space, job, &payload, "UNIQUE", key].map(str::to_owned).to_vec()
    }

    /// Tries until it is done; `attempt` gets what its time is. None: nobody has answered; false: not yet.
    fn until_done(&mut self, what: &str, mut attempt: impl FnMut(&mut Self, Instant) -> Option<bool>) -> bool {
        let end = Instant::now() + PATIENCE;
        while !self.run().has_failed() {
            if attempt(self, end) == Some(true) {
                return true;
            }
            if Instant::now() > end {
                self.run().fail(&format!("{} has tried for {PATIENCE:?} to write to {what}", self.name));
            }
            thread::sleep(Duration::from_millis(2));
        }
        false
    }

    fn refused(&self, reply: &Reply) -> Option<bool> {
        match reply {
            Reply::Error(error) if is_expected(error) => Some(false),
            Reply::Nil => Some(false),
            reply => {
                self.run().fail(&format!("{} was told {reply:?}", self.name));
                None
            }
        }
    }
}
