//! The load: applications that enqueue in transactions of their own, clients that enqueue in Redis beside them, and workers, some of
//! which are processes of their own.

use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::worker::{connect, settings, Worker, PROGRAM};
use crate::faults::sweep::WorkerProcesses;
use crate::faults::workers::event::Event;
use crate::faults::workers::worker::{Control, Sign};
use crate::support::{Random, Wire};
use postgres::{Client, Transaction};

const APPLICATIONS: usize = 3;
const THREADS: usize = 4;
const PROCESSES: usize = 2;

/// What workers need to know.
#[derive(Clone)]
pub struct Place {
    pub redis_port: u16,
    pub postgres_url: String,
    pub control: Control,
}

pub struct Load {
    place: Place,
    name: String,
    applications: Vec<JoinHandle<()>>,
    workers: Vec<JoinHandle<Vec<Event>>>,
    processes: WorkerProcesses,
}

impl Load {
    pub fn start(place: &Place, name: &str, random: &mut Random) -> Load {
        place.control.set(Sign::End, false);
        place.control.set(Sign::Honest, false);
        let mut applications: Vec<JoinHandle<()>> = Vec::new();
        for number in 0..APPLICATIONS {
            let (name, random) = (format!("{name}.a{number}"), Random::new(random.next()));
            let application = Application { place: place.clone(), name, random, count: 0 };
            applications.push(thread::spawn(move || application.run()));
        }
        let (of_client, random_of_client) = (place.clone(), Random::new(random.next()));
        let name_of_client = format!("plain.{name}");
        applications.push(thread::spawn(move || enqueue_in_redis(&of_client, &name_of_client, random_of_client)));
        let workers = (0..THREADS).map(|number| {
            let (place, name) = (place.clone(), format!("{name}.w{number}"));
            let random = Random::new(random.next());
            thread::spawn(move || {
                let mut events = Vec::new();
                Worker { place, name, random, note: Box::new(|event| events.push(event)) }.run();
                events
            })
        });
        let workers = workers.collect();
        let mut processes = WorkerProcesses::new(PROGRAM);
        for number in 0..PROCESSES {
            let seed = random.next();
            processes.start(|file| settings(place, seed, &format!("{name}.p{number}"), file));
        }
        Load { place: place.clone(), name: name.to_owned(), applications, workers, processes }
    }

    /// A worker's process is killed, and there is another one.
    pub fn kill_worker(&mut self, random: &mut Random) {
        let name = format!("{}.q{}", self.name, random.below(1000));
        let seed = random.next();
        self.processes.kill(random, |file| settings(&self.place, seed, &name, file));
    }

    /// One stands still for longer than a lease, perhaps with its transaction open.
    pub fn stop_worker(&mut self, random: &mut Random) {
        self.processes.stop(random);
    }

    /// No job comes any more, and whoever has one does it at once.
    pub fn calm_down(&mut self) {
        self.place.control.set(Sign::Honest, true);
        for application in std::mem::take(&mut self.applications) {
            application.join().expect("an application");
        }
    }

    /// What workers saw, in order.
    pub fn end(mut self) -> Vec<Event> {
        self.place.control.set(Sign::End, true);
        let workers = std::mem::take(&mut self.workers);
        let mut events: Vec<Event> =
            workers.into_iter().flat_map(|worker| worker.join().expect("a worker does not fail")).collect();
        events.extend(self.processes.end());
        events.sort_by_key(|event| event.at_us);
        events
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.place.control.set(Sign::Honest, true);
        self.place.control.set(Sign::End, true);
    }
}

/// Enqueues within its own transactions, of which some are rolled back, stand open for long, or end with their connection.
struct Application {
    place: Place,
    name: String,
    random: Random,
    count: usize,
}

impl Application {
    fn run(mut self) {
        while !self.place.control.is(Sign::Honest) {
            if let Some(mut client) = connect(&self.place.postgres_url) {
                while !self.place.control.is(Sign::Honest) && self.transaction(&mut client).is_ok() {
                    thread::sleep(Duration::from_millis(self.random.below(25) as u64));
                }
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// An error: the connection is of no more use.
    fn transaction(&mut self, client: &mut Client) -> Result<(), postgres::Error> {
        let mut transaction = client.transaction()?;
        for _ in 0..1 + self.random.below(4) {
            self.enqueue(&mut transaction)?;
            if self.random.once_in(10) {
                thread::sleep(Duration::from_millis(self.random.below(120) as u64));
            }
        }
        match self.random.below(20) {
            0..=3 => transaction.rollback(),
            // As if it had died.
            4 => {
                std::mem::forget(transaction);
                client.batch_execute("SELECT pg_terminate_backend(pg_backend_pid())")
            }
            _ => transaction.commit(),
        }
    }

    fn enqueue(&mut self, transaction: &mut Transaction) -> Result<(), postgres::Error> {
        let random = &mut self.random;
        let mark = format!("{}.{}", self.name, self.count);
        self.count += 1;
        let (space, job) = match random.below(10) {
            0..=3 => ("effect", "MARK"),
            4 => ("effect", "EACH"),
            5..=6 => ("own", "DO"),
            7 => ("own", "FEW"),
            _ => ("plain", "DO"),
        };
        let bad = space == "effect" && random.once_in(15);
        let data = format!(r#"{{"mark":"{mark}"{}}}"#, if bad { r#","bad":true"# } else { "" });
        let mut options = String::new();
        if random.once_in(4) {
            options.push_str(&format!(", delay => '{} ms'", 1 + random.below(150)));
        }
        if random.once_in(4) {
            options.push_str(&format!(", unique_key => '{mark}'"));
        }
        if space == "effect" {
            let attempts = if bad { 2 } else { 90 };
            options.push_str(&format!(", attempts => {attempts}, backoff => '10 ms'"));
        } else if random.once_in(4) {
            options.push_str(&format!(", priority => {}", 1 + random.below(10)));
        }
        let sql = format!(
            "INSERT INTO public.sent (mark, space, job, bad, row_id) \
             SELECT '{mark}', '{space}', '{job}', {bad}, bear.enqueue('{space}', '{job}', '{data}'{options})"
        );
        transaction.batch_execute(&sql)
    }
}

/// Jobs that did not come through the inbox stand between the others.
fn enqueue_in_redis(place: &Place, name: &str, mut random: Random) {
    let mut count = 0;
    while !place.control.is(Sign::Honest) {
        if let Ok(mut wire) = Wire::try_connect(place.redis_port) {
            wire.set_patience(Duration::from_secs(5));
            while !place.control.is(Sign::Honest) {
                count += 1;
                let data = format!(r#"{{"mark":"{name}.{count}"}}"#);
                let (space, job) = if random.once_in(2) { ("effect", "MARK") } else { ("plain", "DO") };
                let words = ["BEAR.ENQUEUE", space, job, &data, "ATTEMPTS", "90", "BACKOFF", "10"];
                if !wire.try_send(&words) || wire.try_receive().is_err() {
                    break;
                }
                thread::sleep(Duration::from_millis(random.below(20) as u64));
            }
        }
        thread::sleep(Duration::from_millis(5));
    }
}
