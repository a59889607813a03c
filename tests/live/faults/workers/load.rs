//! The load: clients that enqueue, and workers, some of which are processes of their own.

use std::collections::BTreeMap;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::check::Seen;
use super::event::Event;
use super::operator;
use super::worker::{ask_once, settings, Control, Sign, Worker, PROGRAM};
use crate::faults::sweep::WorkerProcesses;
use crate::support::{Random, Reply, Wire};

const CLIENTS: usize = 2;
const THREADS: usize = 5;
const PROCESSES: usize = 2;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Enqueued {
    Accepted(String),
    Refused(String),
    /// No answer came, or only the replica's predecessor knew of it.
    InDoubt,
}

#[derive(Debug, Clone)]
pub struct Sent {
    pub space: String,
    pub answer: Enqueued,
}

pub struct Load {
    control: Control,
    clients: Vec<JoinHandle<BTreeMap<String, Sent>>>,
    operator: Option<JoinHandle<Vec<String>>>,
    workers: Vec<JoinHandle<Vec<Event>>>,
    processes: WorkerProcesses,
    port: u16,
    pub name: String,
}

impl Load {
    pub fn start(port: u16, name: &str, control: &Control, random: &mut Random) -> Load {
        control.set(Sign::End, false);
        control.set(Sign::Honest, false);
        let stop = control.clone();
        let clients = (0..CLIENTS).map(|number| {
            let client = Client {
                port,
                name: format!("{name}.{number}"),
                random: Random::new(random.next()),
                control: stop.clone(),
                sent: BTreeMap::new(),
            };
            thread::spawn(move || client.run())
        });
        let clients = clients.collect();
        let operator = Some(operator::start(port, control, Random::new(random.next())));
        let workers = (0..THREADS).map(|number| {
            let (random, control) = (Random::new(random.next()), control.clone());
            let name = format!("{name}.w{number}");
            thread::spawn(move || {
                let mut events = Vec::new();
                let note = Box::new(|event| events.push(event));
                Worker { port, name, random, control, note }.run();
                events
            })
        });
        let workers = workers.collect();
        let mut processes = WorkerProcesses::new(PROGRAM);
        for number in 0..PROCESSES {
            let seed = random.next();
            processes.start(|file| settings(port, seed, &format!("{name}.p{number}"), control, file));
        }
        Load { control: control.clone(), clients, operator, workers, processes, port, name: name.to_owned() }
    }

    /// A worker's process is killed, and there is another one.
    pub fn kill_worker(&mut self, random: &mut Random) {
        let name = format!("{}.q{}", self.name, random.below(1000));
        let seed = random.next();
        self.processes.kill(random, |file| settings(self.port, seed, &name, &self.control, file));
    }

    /// One stands still for longer than a lease.
    pub fn stop_worker(&mut self, random: &mut Random) {
        self.processes.stop(random);
    }

    /// No job comes any more, and whoever has one says so.
    pub fn calm_down(&mut self) -> BTreeMap<String, Sent> {
        self.control.set(Sign::Honest, true);
        let odd = self.operator.take().map_or_else(Vec::new, |operator| operator.join().expect("an operator"));
        assert_eq!(odd, Vec::<String>::new(), "what the operator was told");
        std::mem::take(&mut self.clients).into_iter().flat_map(|client| client.join().expect("a client")).collect()
    }

    pub fn end(mut self, sent: BTreeMap<String, Sent>) -> Seen {
        self.control.set(Sign::End, true);
        let workers = std::mem::take(&mut self.workers);
        let mut events: Vec<Event> =
            workers.into_iter().flat_map(|worker| worker.join().expect("a worker does not fail")).collect();
        events.extend(self.processes.end());
        events.sort_by_key(|event| event.at_us);
        Seen { sent, events }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.control.set(Sign::Honest, true);
        self.control.set(Sign::End, true);
    }
}

/// Enqueues jobs of all kinds, and knows of each whether it was accepted.
struct Client {
    port: u16,
    name: String,
    random: Random,
    control: Control,
    sent: BTreeMap<String, Sent>,
}

impl Client {
    fn run(mut self) -> BTreeMap<String, Sent> {
        while !self.control.is(Sign::Honest) {
            let Ok(mut wire) = Wire::try_connect(self.port) else { continue };
            wire.set_patience(Duration::from_secs(5));
            while !self.control.is(Sign::Honest) && self.enqueue(&mut wire) {
                thread::sleep(Duration::from_millis(self.random.below(12) as u64));
            }
            thread::sleep(Duration::from_millis(5));
        }
        self.sent
    }

    /// False: the connection is broken.
    fn enqueue(&mut self, wire: &mut Wire) -> bool {
        let mark = format!("{}.{}", self.name, self.sent.len());
        let (space, words) = self.job(&mark);
        let is_unique = words.iter().any(|word| word == "UNIQUE");
        let mut answer = Enqueued::InDoubt;
        // Who asks again whether it is there names it UNIQUE.
        for attempt in 0..if is_unique { 2 } else { 1 } {
            if attempt > 0 {
                let Ok(again) = Wire::try_connect(self.port) else { break };
                *wire = again;
                wire.set_patience(Duration::from_secs(5));
            }
            answer = match ask_once(wire, &words, self.control.is(Sign::Replicated)) {
                Some((Reply::Error(line), _)) if attempt == 0 => Enqueued::Refused(line),
                Some((Reply::Error(_), _)) | None => Enqueued::InDoubt,
                Some((reply, true)) => Enqueued::Accepted(reply.text()),
                Some((_, false)) => Enqueued::InDoubt,
            };
            if answer != Enqueued::InDoubt {
                break;
            }
        }
        let is_fine = matches!(answer, Enqueued::Accepted(_));
        self.sent.insert(mark, Sent { space, answer });
        is_fine
    }

    fn job(&mut self, mark: &str) -> (String, Vec<String>) {
        let random = &mut self.random;
        let (space, job, data) = match random.below(24) {
            0..=9 => ("work".to_owned(), random.one(&["PLAIN", "PLAIN", "OTHER"]), format!(r#"{{"mark":"{mark}"}}"#)),
            10..=15 => {
                let (to, also) = (random.one(&["a", "b", "c"]), random.one(&["null", "null", r#""a""#, r#""d""#]));
                ("lane".to_owned(), "STEP", format!(r#"{{"mark":"{mark}","to":"{to}","also":{also}}}"#))
            }
            16..=17 => {
                let by = random.one(&["null", r#""x""#, r#""x""#, r#""y""#, r#""z""#]);
                ("tight".to_owned(), "CALL", format!(r#"{{"mark":"{mark}","by":{by}}}"#))
            }
            _ => {
                let tenant = random.one(&["t1", "t1", "t1", "t2", "t3"]);
                let to = random.one(&["a", "b", "c", "d"]);
                let job = random.one(&["any", "X.y:z"]);
                (format!("{{{tenant}}}:mail"), job, format!(r#"{{"mark":"{mark}","to":"{to}"}}"#))
            }
        };
        let mut words = vec!["BEAR.ENQUEUE".to_owned(), space.clone(), job.to_owned(), data];
        if random.once_in(4) {
            words.extend(["PRIORITY".into(), (1 + random.below(10)).to_string()]);
        }
        if random.once_in(4) {
            words.extend(["DELAY".into(), (1 + random.below(120)).to_string()]);
        }
        if random.once_in(10) {
            words.extend(["ATTEMPTS".into(), (1 + random.below(3)).to_string()]);
        }
        if random.once_in(5) {
            words.extend(["UNIQUE".into(), mark.to_owned()]);
        }
        (space, words)
    }
}
