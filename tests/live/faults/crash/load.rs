//! The load of the sweep: clients that ask for changes of few shared bears, and for results, and know of each job whether
//! it was accepted, refused, or is in doubt because no answer came.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::model::COLORS;
use crate::support::marked::Job;
use crate::support::wire::packed;
use crate::support::{Random, Reply, Wire};

/// Bears that all clients change.
pub const SHARED: std::ops::RangeInclusive<i64> = 1..=6;

/// Client `n` alone changes the bear `PRIVATE + n`, whose size is the same number.
pub const PRIVATE: i64 = 500_000;

pub const CLIENTS: usize = 4;

/// Results that are asked for, during the load and after it.
pub const CALLS: [&str; 7] = [
    "all",
    "size 0 150",
    "size 100 100000",
    "colors black",
    "colors brown,white",
    "colors grey size 0 400",
    "colors black,white size 100 100000",
];

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// With the job's id.
    Accepted(String),
    /// With BLOCK: its id and its state.
    Settled(String, String),
    Refused(String),
    /// It was sent and no answer came: it is in the queue, or it is not.
    InDoubt,
}

#[derive(Debug, Clone)]
pub struct Sent {
    pub job: Job,
    pub answer: Answer,
    command: Vec<String>,
    /// With UNIQUE: it may be sent again, and counts once.
    is_unique: bool,
    is_resent: bool,
}

/// All that was sent, by mark.
pub type Record = BTreeMap<String, Sent>;

pub struct Load {
    stop: Arc<AtomicBool>,
    clients: Vec<JoinHandle<Record>>,
}

impl Load {
    /// `name` begins all marks.
    pub fn start(port: u16, name: &str, random: &mut Random) -> Load {
        let stop = Arc::new(AtomicBool::new(false));
        let clients = (0..CLIENTS).map(|number| {
            let mut client = Client {
                port,
                number,
                name: format!("{name}.{number}"),
                random: Random::new(random.next()),
                sent: Record::new(),
                again: Vec::new(),
                stop: Arc::clone(&stop),
            };
            thread::spawn(move || {
                while !client.is_stopped() {
                    client.connection();
                }
                client.sent
            })
        });
        Load { clients: clients.collect(), stop }
    }

    /// Lets each client finish what it has begun.
    pub fn stop(mut self) -> Record {
        self.stop.store(true, Ordering::Relaxed);
        let clients = std::mem::take(&mut self.clients);
        clients.into_iter().flat_map(|client| client.join().expect("a client does not fail")).collect()
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

struct Client {
    port: u16,
    number: usize,
    name: String,
    random: Random,
    sent: Record,
    /// Marks of jobs with UNIQUE that are in doubt.
    again: Vec<String>,
    stop: Arc<AtomicBool>,
}

impl Client {
    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// From connecting until the connection breaks, or the end.
    fn connection(&mut self) {
        let wire = Wire::try_connect(self.port);
        let Ok(mut wire) = wire else { return thread::sleep(Duration::from_millis(3)) };
        let again = std::mem::take(&mut self.again);
        if !again.is_empty() && !self.exchange(&mut wire, again) {
            return;
        }
        while !self.is_stopped() {
            let is_open = match self.random.below(10) {
                0 => self.ask(&mut wire),
                1 => self.wait_for_own(&mut wire),
                _ => {
                    let marks = (0..=self.random.below(12)).map(|_| self.new_job()).collect();
                    self.exchange(&mut wire, marks)
                }
            };
            if !is_open {
                return;
            }
            thread::sleep(Duration::from_millis(self.random.below(40) as u64));
        }
    }

    /// Sends what these marks stand for as one pipeline and takes the answers. False where the connection broke.
    fn exchange(&mut self, wire: &mut Wire, marks: Vec<String>) -> bool {
        let bytes: Vec<u8> = marks.iter().flat_map(|mark| packed(&self.sent[mark].command)).collect();
        let mut is_open = wire.try_send_bytes(&bytes);
        for mark in marks {
            let reply = if is_open { wire.try_receive().ok() } else { None };
            is_open = reply.is_some();
            let sent = self.sent.get_mut(&mark).expect("it was made before it was sent");
            sent.answer = match reply.map_or(Answer::InDoubt, answer) {
                // What was in doubt when it was sent first is so still.
                Answer::Refused(line) if sent.is_resent && line.starts_with("LOADING ") => Answer::InDoubt,
                answer => answer,
            };
            sent.is_resent = true;
            if sent.answer == Answer::InDoubt && sent.is_unique {
                self.again.push(mark);
            }
        }
        is_open
    }

    /// Changes the bear of its own, waits until that has settled, and must see it then.
    fn wait_for_own(&mut self, wire: &mut Wire) -> bool {
        let id = PRIVATE + self.number as i64;
        let mark = self.mark();
        let mut command = Job::Rename { id }.command(&mark);
        command.extend(["BLOCK", "10000"].map(str::to_owned));
        self.sent.insert(
            mark.clone(),
            Sent { job: Job::Rename { id }, answer: Answer::InDoubt, command, is_unique: false, is_resent: false },
        );
        if !self.exchange(wire, vec![mark.clone()]) {
            return false;
        }
        if !matches!(&self.sent[&mark].answer, Answer::Settled(_, state) if state == "completed") {
            return true;
        }
        if !wire.try_send(&format!("BEAR.QUERY bear size {id} {id}").split(' ').collect::<Vec<_>>()) {
            return false;
        }
        match wire.try_receive() {
            Ok(Reply::Bulk(json)) => {
                let bears: serde_json::Value = serde_json::from_slice(&json).expect("JSON");
                assert_eq!(bears[0]["name"], *mark, "{mark} has settled, and a query shows {bears}");
                true
            }
            // Postgres may be away.
            Ok(_) => true,
            Err(_) => false,
        }
    }

    fn ask(&mut self, wire: &mut Wire) -> bool {
        let call = self.random.one(&CALLS);
        if !wire.try_send(&format!("BEAR.QUERY bear {call}").split(' ').collect::<Vec<_>>()) {
            return false;
        }
        match wire.try_receive() {
            // Postgres may be away.
            Ok(Reply::Error(_)) => true,
            Ok(reply) => reply.json().is_array(),
            Err(_) => false,
        }
    }

    fn mark(&self) -> String {
        format!("{}.{}", self.name, self.sent.len())
    }

    /// Makes a job and its command, and returns its mark.
    fn new_job(&mut self) -> String {
        let mark = self.mark();
        let random = &mut self.random;
        let id = match random.once_in(8) {
            true => PRIVATE + self.number as i64,
            false => SHARED.start() + random.below(SHARED.count()) as i64,
        };
        let is_shared = SHARED.contains(&id);
        let job = match random.below(20) {
            0..=1 => Job::Create { size: 1 + random.below(400) as i64, colors: colors(random) },
            4..=6 if is_shared => Job::Place { id, size: 1 + random.below(400) as i64, colors: placed_colors(random) },
            7..=8 if is_shared => Job::Delete { id },
            9..=11 => Job::Recolor { id, colors: colors(random) },
            16..=19 if is_shared => Job::Grow { id, by: 1 + random.below(9) as i64 },
            _ => Job::Rename { id },
        };
        let mut command = job.command(&mark);
        let mut option = |words: &[&str]| command.extend(words.iter().map(|word| (*word).to_owned()));
        match random.below(8) {
            0 => option(&["ATTEMPTS", "2", "BACKOFF", "20"]),
            _ => option(&["ATTEMPTS", "1"]),
        }
        // A job that waits for its time takes its place among those of its bear then: these have none to keep.
        if job.bear().is_none() && random.once_in(6) {
            option(&["DELAY", &random.below(200).to_string()]);
        }
        let is_unique = random.once_in(3);
        if is_unique {
            option(&["UNIQUE", &mark]);
        }
        self.sent.insert(mark.clone(), Sent { job, answer: Answer::InDoubt, command, is_unique, is_resent: false });
        mark
    }
}

fn answer(reply: Reply) -> Answer {
    match reply {
        Reply::Bulk(id) => Answer::Accepted(String::from_utf8(id).expect("an id is ASCII")),
        // BLOCK's time is over: it says so, and the job stays.
        Reply::Error(line) if line.starts_with("TIMEOUT ") => Answer::InDoubt,
        Reply::Error(line) => Answer::Refused(line),
        reply => {
            let job = reply.map();
            Answer::Settled(job["id"].text(), job["state"].text())
        }
    }
}

/// None to three colours, of which one may not exist.
fn colors(random: &mut Random) -> Vec<&'static str> {
    let mut colors = placed_colors(random);
    if random.once_in(10) {
        colors.push("mauve");
    }
    colors
}

fn placed_colors(random: &mut Random) -> Vec<&'static str> {
    COLORS.into_iter().filter(|_| random.once_in(2)).collect()
}
