//! A worker: claims, and then does one of all the things that workers do, or do not. A thread, or a process of its own that can be
//! stopped and killed: the same code, and the same files say to both what goes on.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::event::{now_us, Answer, Event, Verb, What};
use crate::faults::sweep::Program;
use crate::support::wire::packed;
use crate::support::{Random, Reply, Wire};

/// Where the run says to workers what goes on: a file is there, or it is not.
#[derive(Debug, Clone)]
pub struct Control(pub PathBuf);

#[derive(Debug, Clone, Copy)]
pub enum Sign {
    /// Whatever a worker holds it acknowledges, and at once.
    Honest,
    End,
    /// A replica may take over that lacks what was answered: ask for it by WAIT.
    Replicated,
}

impl Control {
    pub fn new(folder: &Path) -> Control {
        Control(folder.to_owned())
    }

    pub fn is(&self, sign: Sign) -> bool {
        self.path(sign).exists()
    }

    pub fn set(&self, sign: Sign, on: bool) {
        match on {
            true => std::fs::write(self.path(sign), "").expect("a file"),
            false => drop(std::fs::remove_file(self.path(sign))),
        }
    }

    fn path(&self, sign: Sign) -> PathBuf {
        self.0.join(format!("{sign:?}"))
    }
}

/// What workers claim from; twice what is to be claimed more.
const FROM: [&str; 8] = ["work", "work", "lane", "lane", "tight", "mail", "{t1}:mail", "{t2}:mail"];

pub struct Worker<'a> {
    pub port: u16,
    pub name: String,
    pub random: Random,
    pub control: Control,
    pub note: Box<dyn FnMut(Event) + 'a>,
}

/// A job in hand.
#[derive(Debug, Clone)]
struct Held {
    space: String,
    id: String,
    token: u64,
}

/// The connection broke, or the server is not the one to ask: what is in hand is forgotten.
struct Broken;

impl Worker<'_> {
    pub fn run(&mut self) {
        while !self.control.is(Sign::End) {
            if self.connection().is_err() {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }

    fn connection(&mut self) -> Result<(), Broken> {
        let mut wire = Wire::try_connect(self.port).map_err(|_| Broken)?;
        wire.set_patience(Duration::from_secs(5));
        while !self.control.is(Sign::End) {
            let held = self.claim(&mut wire)?;
            if !held.is_empty() {
                self.treat(&mut wire, held)?;
            }
        }
        Ok(())
    }

    fn claim(&mut self, wire: &mut Wire) -> Result<Vec<Held>, Broken> {
        let from = *self.random.one(&FROM.each_ref());
        let mut words = vec!["BEAR.CLAIM".to_owned(), from.to_owned()];
        if from == "work" && self.random.once_in(2) {
            let types: &[&str] = [&["PLAIN"][..], &["OTHER"], &["OTHER", "PLAIN"]][self.random.below(3)];
            words.push("JOB".into());
            words.extend(types.iter().map(|name| (*name).to_owned()));
        }
        if self.random.once_in(2) {
            words.extend(["COUNT".into(), (1 + self.random.below(8)).to_string()]);
        }
        if self.random.once_in(3) {
            words.extend(["LEASE".into(), (1000 + self.random.below(500)).to_string()]);
        }
        words.extend(["BLOCK".into(), (1 + self.random.below(60)).to_string(), "WORKER".into(), self.name.clone()]);
        let replicated = self.control.is(Sign::Replicated);
        let reply = call(wire, &words)?;
        let jobs = match reply {
            Reply::Array(jobs) => jobs,
            // CLIENT UNBLOCK.
            Reply::Nil => return Ok(Vec::new()),
            Reply::Error(line) => {
                self.check_refusal(&line, &words)?;
                return Ok(Vec::new());
            }
            other => panic!("{words:?}: {other:?}"),
        };
        let held: Vec<Held> = jobs
            .iter()
            .map(|job| {
                let job = job.map();
                Held { space: job["space"].text(), id: job["id"].text(), token: job["token"].int() as u64 }
            })
            .collect();
        let at_us = now_us();
        for of in &held {
            self.note_at(at_us, of, What::Claimed(replicated), String::new());
        }
        Ok(held)
    }

    /// What may be answered by a server that loads, is a replica, or lets go of who waits.
    fn check_refusal(&mut self, line: &str, words: &[String]) -> Result<(), Broken> {
        let code = line.split(' ').next().unwrap_or_default();
        match code {
            // By an operator: it says nevertheless what it would have said.
            "UNBLOCKED" | "CANCELLED" => Ok(()),
            "LOADING" | "READONLY" | "MASTERDOWN" => Err(Broken),
            _ => {
                let nothing = Held { space: "-".into(), id: "-".into(), token: 0 };
                self.note_at(now_us(), &nothing, What::Odd, format!("{words:?}: {line}"));
                Err(Broken)
            }
        }
    }

    fn treat(&mut self, wire: &mut Wire, held: Vec<Held>) -> Result<(), Broken> {
        let is_honest = self.control.is(Sign::Honest);
        if is_honest {
            return self.ack(wire, &held);
        }
        std::thread::sleep(Duration::from_millis(self.random.below(8) as u64));
        if self.random.once_in(6) {
            let of = &held[0];
            let words = ["BEAR.LOG", &of.space, &of.id, &of.token.to_string(), "begun"].map(str::to_owned);
            self.tell(wire, Verb::Log, of, &words)?;
        }
        match self.random.below(100) {
            // Says nothing until the lease is over, and then that all is done.
            0..=1 => {
                std::thread::sleep(Duration::from_millis(900 + self.random.below(700) as u64));
                self.ack(wire, &held)
            }
            // Dies without a word.
            2..=4 => Err(Broken),
            5..=14 => {
                for of in &held {
                    self.fail(wire, of)?;
                }
                self.insist(wire, &held)
            }
            15..=21 => {
                for of in &held {
                    let words = ["BEAR.RELEASE", &of.space, &of.id, &of.token.to_string()].map(str::to_owned);
                    self.tell(wire, Verb::Release, of, &words)?;
                }
                self.insist(wire, &held)
            }
            22..=29 => {
                for of in &held {
                    self.extend(wire, of)?;
                }
                self.ack(wire, &held)
            }
            30..=59 => {
                for of in &held {
                    self.ack(wire, std::slice::from_ref(of))?;
                }
                Ok(())
            }
            _ => self.ack(wire, &held),
        }
    }

    /// Says of jobs that it has given up that they are done, now and then: nobody may believe it.
    fn insist(&mut self, wire: &mut Wire, held: &[Held]) -> Result<(), Broken> {
        match self.random.once_in(2) {
            true => self.ack(wire, held),
            false => Ok(()),
        }
    }

    fn fail(&mut self, wire: &mut Wire, of: &Held) -> Result<(), Broken> {
        let mut words = ["BEAR.FAIL", &of.space, &of.id, &of.token.to_string(), "oops"].map(str::to_owned).to_vec();
        match self.random.below(5) {
            0 => words.push("FINAL".into()),
            1 => words.extend(["BACKOFF".into(), "0".into()]),
            2 => words.extend(["BACKOFF".into(), (1 + self.random.below(80)).to_string()]),
            _ => {}
        }
        self.tell(wire, Verb::Fail, of, &words)
    }

    fn extend(&mut self, wire: &mut Wire, of: &Held) -> Result<(), Broken> {
        let mut words = ["BEAR.EXTEND", &of.space, &of.id, &of.token.to_string()].map(str::to_owned).to_vec();
        if self.random.once_in(2) {
            words.extend(["LEASE".into(), (1000 + self.random.below(500)).to_string()]);
        }
        if self.random.once_in(2) {
            words.extend(["PROGRESS".into(), self.random.below(100).to_string()]);
        }
        self.tell(wire, Verb::Extend, of, &words)
    }

    /// Jobs of one space by one command, now and then with a result.
    fn ack(&mut self, wire: &mut Wire, held: &[Held]) -> Result<(), Broken> {
        for some in held.chunk_by(|one, other| one.space == other.space) {
            let mut words = vec!["BEAR.ACK".to_owned(), some[0].space.clone()];
            words.extend(some.iter().flat_map(|of| [of.id.clone(), of.token.to_string()]));
            if let [of] = some {
                if self.random.once_in(4) {
                    words.extend(["RESULT".into(), "{\"ok\":true}".into()]);
                }
                self.tell(wire, Verb::Ack, of, &words)?;
                continue;
            }
            let (reply, confirmed) = self.ask(wire, Verb::Ack, some, &words)?;
            let Reply::Array(parts) = &reply else {
                let line = reply.error().to_owned();
                some.iter().for_each(|of| self.note(of, What::Got(Verb::Ack, Answer::Doubt), line.clone()));
                self.check_refusal(&line, &words)?;
                continue;
            };
            let refused: Vec<(String, String)> =
                parts[1].list().iter().map(|of| (of.list()[0].text(), of.list()[1].text())).collect();
            if parts[0].int() as usize + refused.len() != some.len() {
                self.note(&some[0], What::Odd, format!("{words:?}: {reply:?}"));
            }
            for of in some {
                match refused.iter().find(|(id, _)| *id == of.id) {
                    None => self.note(of, What::Got(Verb::Ack, done(confirmed)), String::new()),
                    Some((_, text)) if text.starts_with("LOST ") => {
                        self.note(of, What::Got(Verb::Ack, Answer::Lost), text.clone());
                    }
                    Some((_, text)) => self.note(of, What::Odd, text.clone()),
                }
            }
        }
        Ok(())
    }

    /// A command about one claim.
    fn tell(&mut self, wire: &mut Wire, verb: Verb, of: &Held, words: &[String]) -> Result<(), Broken> {
        let (reply, confirmed) = self.ask(wire, verb, std::slice::from_ref(of), words)?;
        match reply {
            Reply::Error(line) if line.starts_with("LOST ") => self.note(of, What::Got(verb, Answer::Lost), line),
            Reply::Error(line) => {
                self.note(of, What::Got(verb, Answer::Doubt), line.clone());
                self.check_refusal(&line, words)?;
            }
            Reply::Int(number) if verb == Verb::Extend && number < 1000 => {
                self.note(of, What::Odd, format!("{words:?}: {number}"));
            }
            Reply::Int(_) => self.note(of, What::Got(verb, done(confirmed)), String::new()),
            reply => self.note(of, What::Got(verb, done(confirmed)), reply.text()),
        }
        Ok(())
    }

    fn ask(&mut self, wire: &mut Wire, verb: Verb, held: &[Held], words: &[String]) -> Result<(Reply, bool), Broken> {
        for of in held {
            self.note(of, What::Sends(verb), String::new());
        }
        let asked = call_and_wait(wire, words, self.control.is(Sign::Replicated));
        asked.map_err(|_| {
            for of in held {
                self.note(of, What::Got(verb, Answer::Doubt), String::new());
            }
            Broken
        })
    }

    fn note(&mut self, of: &Held, what: What, text: String) {
        self.note_at(now_us(), of, what, text);
    }

    fn note_at(&mut self, at_us: u64, of: &Held, what: What, text: String) {
        let Held { space, id, token } = of.clone();
        (self.note)(Event { at_us, space, id, token, what, text });
    }
}

fn done(confirmed: bool) -> Answer {
    if confirmed {
        Answer::Done
    } else {
        Answer::Unconfirmed
    }
}

fn call(wire: &mut Wire, words: &[String]) -> Result<Reply, Broken> {
    if !wire.try_send(words) {
        return Err(Broken);
    }
    wire.try_receive().map_err(|_| Broken)
}

/// A command, and whether what it did outlives the server: where a replica may take over, if WAIT says that the replica has it.
fn call_and_wait(wire: &mut Wire, words: &[String], replicated: bool) -> Result<(Reply, bool), Broken> {
    if !replicated {
        return call(wire, words).map(|reply| (reply, true));
    }
    let both = [packed(words), packed(&["WAIT", "1", "300"])].concat();
    if !wire.try_send_bytes(&both) {
        return Err(Broken);
    }
    let reply = wire.try_receive().map_err(|_| Broken)?;
    let confirmed = matches!(wire.try_receive(), Ok(Reply::Int(1..)));
    Ok((reply, confirmed))
}

/// The same for who enqueues; None: no answer.
pub fn ask_once(wire: &mut Wire, words: &[String], replicated: bool) -> Option<(Reply, bool)> {
    call_and_wait(wire, words, replicated).ok()
}

/// What a process of its own runs.
pub const PROGRAM: Program = Program { test: "faults::workers::worker::a_process", variable: "BEAR_TEST_WORKER" };

/// What it is told.
pub fn settings(port: u16, seed: u64, name: &str, control: &Control, file: &Path) -> String {
    format!("{port} {seed} {name} {} {}", control.0.display(), file.display())
}

#[test]
#[ignore = "the sweep starts it as a process of its own"]
fn a_process() {
    use std::io::Write;
    let Ok(settings) = std::env::var(PROGRAM.variable) else { return };
    let words: Vec<&str> = settings.split(' ').collect();
    let [port, seed, name, control, file] = words[..] else { panic!("{settings}") };
    let mut file = std::fs::File::options().create(true).append(true).open(file).expect("a file");
    let mut worker = Worker {
        port: port.parse().expect("a port"),
        name: name.to_owned(),
        random: Random::new(seed.parse().expect("a number")),
        control: Control::new(Path::new(control)),
        note: Box::new(move |event| file.write_all(format!("{event}\n").as_bytes()).expect("it is written")),
    };
    worker.run();
}
