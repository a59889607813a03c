//! Calls that clients ask while changes are made: each answer must be one that Postgres has given since what was told when it was asked for.
//!
//! ```text
//! begin ──> the change commits ──> it is told ──> seen ──> Postgres answers each call again ──> judge
//!    └──────────── clients ask, fetch, wait for each other's fetches, are answered ───────────────┘
//! ```
//! A version is a change: who makes them is alone, and `judge` comes when what Postgres answers after the last one is known. One that is
//! rolled back is a version like any other, with the answers of the one before.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::Arc;
use std::time::Duration;

use crate::support::{Proxy, Random, Redis};

use super::answers::{answer, Answer};
use super::calls::Call;
use super::changes::Step;
use super::checker::Checker;
use super::clients::{Asked, Clients, Told};
use super::history::{Same, Span, States};

/// Calls that clients ask, of all queries.
const MOST: usize = 40;

/// So many changes ago a question may have been asked that can still be judged.
const REMEMBERED: u32 = 200;

/// Versions that a report shows, at most.
const MOST_SHOWN: usize = 6;

/// A fetch takes up to so much longer while a change is made, that some are overtaken by it.
const LAG: Duration = Duration::from_millis(30);

/// An answer that no version explains which was to be seen when it was asked for.
#[derive(Debug, Clone)]
pub struct Overtaken {
    pub query: usize,
    pub call: Call,
    pub word: Option<&'static str>,
    pub span: Span,
    pub answer: Answer,
    /// What would have been right, with the change from which on.
    pub right: Vec<(u32, Answer)>,
    /// The changes from which and up to which it was; None: of none that is remembered.
    pub was: Option<(u32, u32)>,
    /// Those that it should have seen, or might have.
    pub changes: Vec<(u32, Step)>,
}

impl Overtaken {
    /// What was asked and seen. Which of it was first chance decides: it cannot be played again as a history can.
    pub fn script(&self) -> String {
        let json = |answer: &Answer| serde_json::Value::from(answer.clone()).to_string();
        let Span { floor, ceiling } = self.span;
        let mut lines = vec![
            self.call.line(self.word),
            format!("# asked when change {floor} had been told, answered when change {ceiling} had begun; changes count from 1"),
            format!("# answered: {}", json(&self.answer)),
        ];
        lines.extend(self.right.iter().map(|(from, answer)| match from.max(&floor) {
            from if *from == ceiling => format!("# Postgres, change {from}: {}", json(answer)),
            from => format!("# Postgres, from change {from} on: {}", json(answer)),
        }));
        lines.push(match self.was {
            Some((from, until)) => format!("# answered so by Postgres from change {from} to change {until}"),
            None => "# Postgres has not answered so lately".to_owned(),
        });
        for (version, step) in &self.changes {
            let made = step.sql().into_iter().chain(step.line()).collect::<String>();
            lines.push(format!("# change {version}: {}", if made.is_empty() { "of nothing" } else { &made }));
        }
        lines.join("\n")
    }
}

struct Raced {
    asked: Arc<Asked>,
    /// None: Postgres refuses the call.
    states: States<Option<Answer>>,
    /// The last answer as it came and as it was read: most come again and again.
    last: (Vec<u8>, Answer),
    /// Nobody is to ask it any more; what was asked is judged still.
    is_leaving: bool,
}

pub struct Races<'a> {
    clients: Clients,
    /// Before Postgres.
    proxy: &'a Proxy,
    raced: BTreeMap<u64, Raced>,
    next: u64,
    /// Calls of which something stale is cached.
    spoiled: Vec<Call>,
    /// Of each query, answers that are counted already.
    counted: Vec<u64>,
}

impl<'a> Races<'a> {
    pub fn new(redis: &Redis, proxy: &'a Proxy, queries: usize, random: &mut Random) -> Races<'a> {
        let clients = Clients::start(redis.port(), queries, random);
        Races { clients, proxy, raced: BTreeMap::new(), next: 0, spoiled: Vec::new(), counted: vec![0; queries] }
    }

    pub fn has_room(&self) -> bool {
        self.raced.len() < MOST
    }

    /// Clients may ask it from now on. `now`: what Postgres answers; `is_lent`: it is an entry of the checker.
    pub fn add(&mut self, query: usize, call: Call, now: Answer, is_lent: bool) {
        let asked = Arc::new(Asked::new(self.next, query, call, is_lent));
        let states = States::new(self.clients.shared.versions.floor(), Some(now));
        self.raced.insert(self.next, Raced { asked, states, last: Default::default(), is_leaving: false });
        self.next += 1;
        self.publish();
    }

    /// One that is not lent gives way, once what was asked of it is judged.
    pub fn make_room(&mut self, random: &mut Random) {
        let own: Vec<u64> = self.raced.iter().filter(|(_, of)| !of.asked.is_lent).map(|(number, _)| *number).collect();
        if let Some(raced) = random.pick(&own).and_then(|number| self.raced.get_mut(number)) {
            raced.is_leaving = true;
            self.publish();
        }
    }

    fn publish(&self) {
        let staying = self.raced.values().filter(|raced| !raced.is_leaving);
        self.clients.know(staying.map(|raced| Arc::clone(&raced.asked)).collect());
    }

    /// Clients ask nothing, and what is stale is fetched anew: the checker fills its entries now.
    pub fn rest(&mut self, checker: &mut Checker, redis: &Redis) {
        self.clients.rest();
        for call in self.spoiled.drain(..) {
            checker.fetch(redis, &call);
        }
    }

    /// Clients ask until `rest`; until `seen` fetches take their time.
    pub fn go_on(&self, may_ask_lent: bool) {
        self.proxy.lag(LAG);
        self.clients.go_on(may_ask_lent);
    }

    /// A change is about to be made; its number.
    pub fn begin(&self) -> u32 {
        self.clients.shared.versions.begin()
    }

    /// It has been told.
    pub fn seen(&self, version: u32) {
        self.clients.shared.versions.seen(version);
        self.proxy.lag(Duration::ZERO);
    }

    /// After the change of this number was seen, and before the next: what clients were told until now. `steps`: all changes so far.
    pub fn judge(&mut self, checker: &mut Checker, version: u32, steps: &[Step]) -> Vec<Overtaken> {
        for raced in self.raced.values_mut() {
            let now = checker.oracle.ask(raced.asked.query, &raced.asked.call.params).ok();
            if *raced.states.newest().1 != now {
                raced.states.add(version, now);
            }
            raced.states.forget_before(version.saturating_sub(REMEMBERED));
        }
        let mut overtaken: BTreeMap<u64, Overtaken> = BTreeMap::new();
        for told in self.clients.take() {
            let Some(raced) = self.raced.get_mut(&told.asked.number) else { continue };
            let query = told.asked.query;
            let comparison = checker.comparison(query);
            if raced.last.0 != told.json {
                raced.last = (told.json.clone(), answer(&told.json).unwrap_or_default());
            }
            let said = &raced.last.1;
            let is_it = |state: &Option<Answer>| match state {
                Some(state) if state == said => Same::Yes,
                Some(state) => comparison.same(said, state),
                None => Same::Undecided,
            };
            match raced.states.explain(told.span, is_it) {
                Same::Yes => {}
                Same::Undecided => checker.figures[query].undecided += 1,
                // What is stale stays so until it is fetched anew, and is one finding.
                Same::No if overtaken.contains_key(&told.asked.number) => {}
                Same::No => {
                    let is_it = |state: &Answer| comparison.same(said, state) == Same::Yes;
                    let found = finding(&told, said.clone(), &raced.states, is_it, steps);
                    overtaken.insert(told.asked.number, found);
                    checker.figures[query].stale += 1;
                    checker.figures[query].overtaken += 1;
                }
            }
        }
        for (number, found) in &overtaken {
            self.spoiled.push(found.call.clone());
            if let Some(raced) = self.raced.get_mut(number) {
                raced.is_leaving |= !raced.asked.is_lent;
            }
        }
        self.count(checker);
        self.raced.retain(|_, raced| {
            if raced.is_leaving {
                checker.release(&raced.asked.call);
            }
            !raced.is_leaving
        });
        self.publish();
        overtaken.into_values().collect()
    }

    fn count(&mut self, checker: &mut Checker) {
        let answers = self.clients.shared.answers.iter().map(|of| of.load(Ordering::Relaxed));
        for ((answers, counted), figures) in answers.zip(&mut self.counted).zip(&mut checker.figures) {
            figures.raced += answers - *counted;
            *counted = answers;
        }
    }
}

fn finding(
    told: &Told,
    answer: Answer,
    states: &States<Option<Answer>>,
    is_it: impl Fn(&Answer) -> bool,
    steps: &[Step],
) -> Overtaken {
    let Span { floor, ceiling } = told.span;
    let right = states.within(told.span).filter_map(|(from, state)| Some((from, state.clone()?)));
    let mut until = floor;
    let mut was = None;
    for (from, state) in states.before(floor + 1) {
        if state.as_ref().is_some_and(&is_it) {
            was = Some((from, until));
            break;
        }
        until = from.saturating_sub(1);
    }
    let first = was.map_or(floor, |(_, until)| until + 1);
    let of = |version: u32| Some((version, steps.get(version as usize - 1)?.clone()));
    Overtaken {
        query: told.asked.query,
        call: told.asked.call.clone(),
        word: told.word,
        span: told.span,
        answer,
        right: right.take(MOST_SHOWN).collect(),
        was,
        changes: (first.max(1)..=ceiling).filter_map(of).take(MOST_SHOWN).collect(),
    }
}
