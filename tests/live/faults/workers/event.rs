//! What clients saw, as a line of text each: a worker that is a process of its own writes them to a file.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    Ack,
    Fail,
    Release,
    Extend,
    Log,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Accepted; of a server that a replica may follow: and the replica has it.
    Done,
    /// Accepted, and lost if the replica takes over.
    Unconfirmed,
    /// `LOST`.
    Lost,
    /// No answer came, or one that says that the server was not the one to ask.
    Doubt,
}

/// Something that a worker did to a claim, or was told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// True: a replica that takes over may not know of it.
    Claimed(bool),
    /// It is about to send this.
    Sends(Verb),
    Got(Verb, Answer),
    /// An answer that should never come.
    Odd,
}

#[derive(Debug, Clone)]
pub struct Event {
    pub at_us: u64,
    pub space: String,
    pub id: String,
    pub token: u64,
    pub what: What,
    pub text: String,
}

pub fn now_us() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_micros() as u64
}

const VERBS: [(Verb, &str); 5] = [
    (Verb::Ack, "ack"),
    (Verb::Fail, "fail"),
    (Verb::Release, "release"),
    (Verb::Extend, "extend"),
    (Verb::Log, "log"),
];

const ANSWERS: [(Answer, &str); 4] =
    [(Answer::Done, "done"), (Answer::Unconfirmed, "unconfirmed"), (Answer::Lost, "lost"), (Answer::Doubt, "doubt")];

fn name_of<T: PartialEq>(all: &[(T, &'static str)], one: &T) -> &'static str {
    all.iter().find(|(known, _)| known == one).expect("each has a name").1
}

fn named<T: Copy>(all: &[(T, &'static str)], name: &str) -> Option<T> {
    all.iter().find(|(_, known)| *known == name).map(|(one, _)| *one)
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match &self.what {
            What::Claimed(true) => "claimed-unconfirmed".to_owned(),
            What::Claimed(false) => "claimed".to_owned(),
            What::Sends(verb) => format!("sends-{}", name_of(&VERBS, verb)),
            What::Got(verb, answer) => format!("got-{}-{}", name_of(&VERBS, verb), name_of(&ANSWERS, answer)),
            What::Odd => "odd".to_owned(),
        };
        write!(f, "{} {} {} {} {what} {}", self.at_us, self.space, self.id, self.token, self.text)
    }
}

impl Event {
    /// None of a line that was not wholly written: its process was killed.
    pub fn parse(line: &str) -> Option<Event> {
        let mut words = line.splitn(6, ' ');
        let at_us = words.next()?.parse().ok()?;
        let (space, id) = (words.next()?.to_owned(), words.next()?.to_owned());
        let token = words.next()?.parse().ok()?;
        let what = words.next()?;
        let text = words.next()?.to_owned();
        let parts: Vec<&str> = what.split('-').collect();
        let what = match parts[..] {
            ["claimed"] => What::Claimed(false),
            ["claimed", _] => What::Claimed(true),
            ["sends", verb] => What::Sends(named(&VERBS, verb)?),
            ["got", verb, answer] => What::Got(named(&VERBS, verb)?, named(&ANSWERS, answer)?),
            ["odd"] => What::Odd,
            _ => return None,
        };
        Some(Event { at_us, space, id, token, what, text })
    }
}

#[test]
fn events_are_read_as_they_were_written() {
    for what in [What::Claimed(true), What::Sends(Verb::Fail), What::Got(Verb::Ack, Answer::Unconfirmed), What::Odd] {
        let event = Event { at_us: 5, space: "{a}:mail".into(), id: "1-2".into(), token: 9, what, text: "a b".into() };
        let read = Event::parse(&event.to_string()).expect("a whole line");
        assert_eq!((read.what, read.text, read.token), (event.what, event.text, event.token));
    }
    assert!(Event::parse("5 {a}:mail 1-2 9 got-ack").is_none());
}
