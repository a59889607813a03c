//! A worker whose effects are in Postgres: it writes them, and settles its job in the same transaction by `bear.complete`, or after
//! it by BEAR.ACK; or it dies on the way, stands still with its transaction open, gives back, fails.

use std::path::Path;
use std::thread;
use std::time::Duration;

use postgres::{Client, NoTls};

use super::load::Place;
use crate::faults::sweep::Program;
use crate::faults::workers::event::{now_us, Answer, Event, Verb, What};
use crate::faults::workers::worker::{Control, Sign};
use crate::support::{Random, Reply, Wire};

pub struct Worker<'a> {
    pub place: Place,
    pub name: String,
    pub random: Random,
    pub note: Box<dyn FnMut(Event) + 'a>,
}

/// A job in hand.
#[derive(Debug, Clone)]
struct Held {
    space: String,
    id: String,
    token: u64,
    attempt: i64,
    mark: String,
}

/// A connection is of no more use: what is in hand is forgotten.
struct Broken;

impl From<postgres::Error> for Broken {
    fn from(_: postgres::Error) -> Self {
        Broken
    }
}

/// None: Postgres is away.
pub fn connect(url: &str) -> Option<Client> {
    let mut config: postgres::Config = url.parse().expect("a URL");
    config.connect_timeout(Duration::from_secs(2)).application_name("test").connect(NoTls).ok()
}

impl Worker<'_> {
    pub fn run(&mut self) {
        while !self.place.control.is(Sign::End) {
            if self.connection().is_err() {
                thread::sleep(Duration::from_millis(5));
            }
        }
    }

    fn connection(&mut self) -> Result<(), Broken> {
        let mut client = connect(&self.place.postgres_url).ok_or(Broken)?;
        let mut wire = Wire::try_connect(self.place.redis_port).map_err(|_| Broken)?;
        wire.set_patience(Duration::from_secs(5));
        while !self.place.control.is(Sign::End) {
            for held in self.claim(&mut wire)? {
                match &*held.space {
                    "own" => self.complete(&mut wire, &mut client, &held)?,
                    _ => self.acknowledge(&mut wire, &mut client, &held)?,
                }
            }
        }
        Ok(())
    }

    fn claim(&mut self, wire: &mut Wire) -> Result<Vec<Held>, Broken> {
        let from = self.random.one(&["own", "own", "plain"]);
        let (count, block) = (1 + self.random.below(3), 1 + self.random.below(60));
        let words =
            ["BEAR.CLAIM", from, "COUNT", &count.to_string(), "BLOCK", &block.to_string(), "WORKER", &self.name]
                .map(str::to_owned);
        let reply = call(wire, &words)?;
        let Reply::Array(jobs) = &reply else {
            let line = if reply.is_error() { reply.error().to_owned() } else { String::new() };
            return self.check_refusal(&line).map(|()| Vec::new());
        };
        let held: Vec<Held> = jobs
            .iter()
            .map(|job| {
                let job = job.map();
                let mark = job["data"].json()["mark"].as_str().expect("a mark").to_owned();
                let (token, attempt) = (job["token"].int() as u64, job["attempt"].int());
                Held { space: job["space"].text(), id: job["id"].text(), token, attempt, mark }
            })
            .collect();
        for of in &held {
            self.note(of, What::Claimed(false), of.mark.clone());
        }
        Ok(held)
    }

    /// What may be answered by a server that loads, is a replica, or lets go of who waits.
    fn check_refusal(&mut self, line: &str) -> Result<(), Broken> {
        match line.split(' ').next().unwrap_or_default() {
            "" | "UNBLOCKED" => Ok(()),
            "LOADING" | "READONLY" | "MASTERDOWN" => Err(Broken),
            _ => {
                let nothing = Held { space: "-".into(), id: "-".into(), token: 0, attempt: 0, mark: "-".into() };
                self.note(&nothing, What::Odd, line.to_owned());
                Err(Broken)
            }
        }
    }

    /// The effect and the end of the job, in one transaction.
    fn complete(&mut self, wire: &mut Wire, client: &mut Client, of: &Held) -> Result<(), Broken> {
        let choice = if self.place.control.is(Sign::Honest) { 99 } else { self.random.below(100) };
        match choice {
            0..=7 => return self.give_up(wire, of),
            // It stands still, and goes on with a claim that is over.
            8..=11 => thread::sleep(Duration::from_millis(1000 + self.random.below(500) as u64)),
            // Within its lease, so that who had the job before may come too late.
            _ if of.attempt > 1 && self.random.below(3) > 0 => {
                thread::sleep(Duration::from_millis(self.random.below(900) as u64));
            }
            _ => {}
        }
        let mut transaction = client.transaction()?;
        let token = i64::try_from(of.token).expect("tokens are below 2^53");
        transaction.execute(
            "INSERT INTO public.mark (mark, who, id, token) VALUES ($1, 'own', $2, $3)",
            &[&of.mark, &of.id, &token],
        )?;
        self.note(of, What::Sends(Verb::Ack), String::new());
        if let Err(error) = transaction.execute("SELECT bear.complete($1, $2, $3)", &[&of.space, &of.id, &token]) {
            match error.as_db_error() {
                Some(db) if db.code().code() == "BE001" => {
                    self.note(of, What::Got(Verb::Ack, Answer::Lost), db.message().to_owned());
                    transaction.rollback()?;
                    return Ok(());
                }
                // The server is on its way down, or up.
                Some(db) if db.code().code().starts_with("57") => {}
                Some(db) => self.note(of, What::Odd, db.message().to_owned()),
                None => {}
            }
            return Err(Broken);
        }
        match choice {
            // With the transaction open, for longer than its lease at times.
            12..=13 => thread::sleep(Duration::from_millis(self.random.below(2000) as u64)),
            14..=18 => {
                transaction.rollback()?;
                return self.give_up(wire, of);
            }
            // It dies before COMMIT.
            19..=21 => return Err(Broken),
            _ => {}
        }
        if let Err(error) = transaction.commit() {
            self.note(of, What::Got(Verb::Ack, Answer::Doubt), error.to_string());
            return Err(Broken);
        }
        self.note(of, What::Got(Verb::Ack, Answer::Done), String::new());
        match choice {
            // It dies right after.
            22..=40 => Err(Broken),
            // It says so in Redis, too, which is in vain or not needed.
            41..=60 => self.tell(wire, of, &["BEAR.ACK", &of.space, &of.id, &of.token.to_string()]),
            61..=65 => self.tell(wire, of, &["BEAR.FAIL", &of.space, &of.id, &of.token.to_string(), "late"]),
            _ => Ok(()),
        }
    }

    /// The effect, and then the end of the job.
    fn acknowledge(&mut self, wire: &mut Wire, client: &mut Client, of: &Held) -> Result<(), Broken> {
        let choice = if self.place.control.is(Sign::Honest) { 99 } else { self.random.below(100) };
        if choice < 10 {
            return self.give_up(wire, of);
        }
        client.execute("INSERT INTO public.mark (mark, who, id) VALUES ($1, 'plain', $2)", &[&of.mark, &of.id])?;
        match choice {
            10..=14 => return Err(Broken),
            15..=16 => thread::sleep(Duration::from_millis(1000 + self.random.below(500) as u64)),
            _ => {}
        }
        self.tell(wire, of, &["BEAR.ACK", &of.space, &of.id, &of.token.to_string()])
    }

    fn give_up(&mut self, wire: &mut Wire, of: &Held) -> Result<(), Broken> {
        let token = of.token.to_string();
        match self.random.below(4) {
            0 => Err(Broken),
            1 => self.tell(wire, of, &["BEAR.RELEASE", &of.space, &of.id, &token]),
            2 => self.tell(wire, of, &["BEAR.FAIL", &of.space, &of.id, &token, "oops", "BACKOFF", "0"]),
            _ => self.tell(wire, of, &["BEAR.FAIL", &of.space, &of.id, &token, "oops"]),
        }
    }

    fn tell(&mut self, wire: &mut Wire, of: &Held, words: &[&str]) -> Result<(), Broken> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        match call(wire, &words)? {
            Reply::Error(line) if line.starts_with("LOST ") => {
                self.note(of, What::Got(Verb::Log, Answer::Lost), line);
                Ok(())
            }
            Reply::Error(line) => self.check_refusal(&line),
            _ => Ok(()),
        }
    }

    fn note(&mut self, of: &Held, what: What, text: String) {
        let Held { space, id, token, .. } = of.clone();
        (self.note)(Event { at_us: now_us(), space, id, token, what, text });
    }
}

fn call(wire: &mut Wire, words: &[String]) -> Result<Reply, Broken> {
    if !wire.try_send(words) {
        return Err(Broken);
    }
    wire.try_receive().map_err(|_| Broken)
}

/// What a process of its own runs.
pub const PROGRAM: Program = Program { test: "faults::inbox::worker::a_process", variable: "BEAR_TEST_INBOX_WORKER" };

/// What it is told.
pub fn settings(place: &Place, seed: u64, name: &str, file: &Path) -> String {
    let Place { redis_port, postgres_url, control } = place;
    format!("{redis_port} {postgres_url} {seed} {name} {} {}", control.0.display(), file.display())
}

#[test]
#[ignore = "the sweep starts it as a process of its own"]
fn a_process() {
    use std::io::Write;
    let Ok(settings) = std::env::var(PROGRAM.variable) else { return };
    let words: Vec<&str> = settings.split(' ').collect();
    let [port, url, seed, name, control, file] = words[..] else { panic!("{settings}") };
    let mut file = std::fs::File::options().create(true).append(true).open(file).expect("a file");
    let place = Place {
        redis_port: port.parse().expect("a port"),
        postgres_url: url.to_owned(),
        control: Control::new(Path::new(control)),
    };
    let mut worker = Worker {
        place,
        name: name.to_owned(),
        random: Random::new(seed.parse().expect("a number")),
        note: Box::new(move |event| file.write_all(format!("{event}\n").as_bytes()).expect("it is written")),
    };
    worker.run();
}
