//! Entries, each compared with what Postgres answers after every change: the core of the proof, and of the tests of derivation.
//!
//! An entry that nothing drops is asked for again and again and never fetched anew, so that what is known of it grows old with it.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::support::wait::wait_at_most;
use crate::support::{Redis, Reply, Wire};

use super::answers::{answer, Answer, Comparison, Oracle};
use super::calls::Call;
use super::history::Same;

/// Commands that are sent before the first reply is read.
const AT_ONCE: usize = 50;

/// Connections that fetch, for a miss holds its own.
const FETCHERS: usize = 4;

pub struct Entry {
    pub query: usize,
    pub call: Call,
    /// What Postgres answers now.
    pub now: Answer,
    pub is_cached: bool,
    /// The step before which it was fetched.
    pub filled_at: usize,
    /// Clients ask it, too, in some steps (`races`).
    is_lent: bool,
    must_be_fresh: bool,
}

/// Of one query.
#[derive(Debug, Default, Clone)]
pub struct Figures {
    /// Answers from the cache that were compared.
    pub reads: u64,
    /// Answers of entries that a change made others.
    pub changes: u64,
    pub drops: u64,
    pub needless: u64,
    pub stale: u64,
    /// Of these, answers that clients were given while changes were made.
    pub overtaken: u64,
    /// Where Postgres itself may answer either.
    pub undecided: u64,
    /// Answers that clients were given while changes were made.
    pub raced: u64,
    /// The last error of a call.
    pub error: Option<String>,
}

impl Figures {
    pub fn add(&mut self, other: &Figures) {
        self.reads += other.reads;
        self.changes += other.changes;
        self.drops += other.drops;
        self.needless += other.needless;
        self.stale += other.stale;
        self.overtaken += other.overtaken;
        self.undecided += other.undecided;
        self.raced += other.raced;
        self.error = other.error.clone().or(self.error.take());
    }
}

/// An answer that is out of date.
#[derive(Debug, Clone)]
pub struct Stale {
    pub query: usize,
    pub call: Call,
    pub cached: Answer,
    pub now: Answer,
    pub filled_at: usize,
}

pub struct Checker {
    wires: Vec<Wire>,
    pub oracle: Oracle,
    comparisons: Vec<Comparison>,
    pub entries: Vec<Entry>,
    /// Calls of entries, and those that clients ask.
    known: BTreeSet<Call>,
    /// Calls that were asked at some time: what is cached of them may be of any age.
    old: BTreeSet<Call>,
    pub figures: Vec<Figures>,
}

impl Checker {
    pub fn new(redis: &Redis, oracle: Oracle, comparisons: Vec<Comparison>) -> Checker {
        Checker {
            wires: (0..FETCHERS).map(|_| redis.wire()).collect(),
            oracle,
            figures: vec![Figures::default(); comparisons.len()],
            comparisons,
            entries: Vec::new(),
            known: BTreeSet::new(),
            old: BTreeSet::new(),
        }
    }

    /// To be filled next. Nothing where there is such an entry, or where Postgres refuses the call.
    pub fn add(&mut self, query: usize, call: Call) {
        if let Some(now) = self.reserve(query, &call) {
            let must_be_fresh = !self.old.insert(call.clone());
            let entry = Entry { query, call, now, is_cached: false, filled_at: 0, is_lent: false, must_be_fresh };
            self.entries.push(entry);
        }
    }

    /// What Postgres answers to a call that is nobody's yet, and is the caller's from now on.
    pub fn reserve(&mut self, query: usize, call: &Call) -> Option<Answer> {
        if !self.known.insert(call.clone()) {
            return None;
        }
        self.oracle.ask(query, &call.params).map_err(|error| self.figures[query].error = Some(error)).ok()
    }

    /// The caller is done with a call that it had reserved.
    pub fn release(&mut self, call: &Call) {
        self.known.remove(call);
        self.old.insert(call.clone());
    }

    /// An entry that clients may ask in some steps: where a query has too few calls for each to have some of its own.
    pub fn share(&mut self, query: usize) -> Option<(Call, Answer)> {
        let entry = self.entries.iter_mut().find(|entry| entry.query == query && !entry.is_lent)?;
        entry.is_lent = true;
        Some((entry.call.clone(), entry.now.clone()))
    }

    /// In the step that follows clients ask what is shared: it is not looked at, and fetched anew after it.
    pub fn lend(&mut self) {
        for entry in self.entries.iter_mut().filter(|entry| entry.is_lent) {
            (entry.is_cached, entry.must_be_fresh) = (false, true);
        }
    }

    /// Entries of the query are as many as `most`: the oldest goes.
    pub fn make_room(&mut self, query: usize, most: usize) {
        if self.entries.iter().filter(|entry| entry.query == query).count() >= most {
            let may_go = |entry: &Entry| entry.query == query && !entry.is_lent;
            if let Some(at) = self.entries.iter().position(may_go) {
                let gone = self.entries.remove(at);
                self.known.remove(&gone.call);
            }
        }
    }

    pub fn comparison(&self, query: usize) -> &Comparison {
        &self.comparisons[query]
    }

    /// Fetches all that is not cached, before the step of this number.
    pub fn fill(&mut self, redis: &Redis, step: usize) {
        let missing: Vec<usize> = (0..self.entries.len()).filter(|at| !self.entries[*at].is_cached).collect();
        for chunk in missing.chunks(AT_ONCE) {
            for (at, entry) in chunk.iter().enumerate() {
                let entry = &self.entries[*entry];
                let word = entry.must_be_fresh.then_some("FRESH");
                self.wires[at % FETCHERS].send(&words(&entry.call, word));
            }
            for (at, entry) in chunk.iter().enumerate() {
                if let Reply::Error(error) = self.wires[at % FETCHERS].receive() {
                    let query = self.entries[*entry].query;
                    self.figures[query].error = Some(error);
                }
            }
        }
        redis.wait_stored();
        let stored = self.cached(&missing);
        for (at, reply) in missing.iter().zip(stored) {
            let entry = &mut self.entries[*at];
            (entry.is_cached, entry.filled_at, entry.must_be_fresh) = (matches!(reply, Reply::Bulk(_)), step, false);
        }
    }

    fn cached(&mut self, entries: &[usize]) -> Vec<Reply> {
        let mut replies = Vec::new();
        for chunk in entries.chunks(AT_ONCE) {
            for at in chunk {
                self.wires[0].send(&words(&self.entries[*at].call, Some("CACHED")));
            }
            replies.extend(chunk.iter().map(|_| self.wires[0].receive()));
        }
        replies
    }

    /// After a change that has been told: counts what was dropped, and returns what is stale. Postgres is asked for the answers of the
    /// queries of which `may_differ` says so; those of others are what they were.
    pub fn check(&mut self, may_differ: impl Fn(usize) -> bool) -> Vec<Stale> {
        let cached: Vec<usize> = (0..self.entries.len()).filter(|at| self.entries[*at].is_cached).collect();
        let mut replies: Vec<Option<Reply>> = self.entries.iter().map(|_| None).collect();
        for (at, reply) in cached.iter().zip(self.cached(&cached)) {
            replies[*at] = Some(reply);
        }
        let mut stale = Vec::new();
        for (entry, reply) in self.entries.iter_mut().zip(replies) {
            let (figures, comparison) = (&mut self.figures[entry.query], &self.comparisons[entry.query]);
            let mut is_changed = false;
            if may_differ(entry.query) {
                let now = match self.oracle.ask(entry.query, &entry.call.params) {
                    Ok(now) => now,
                    Err(error) => {
                        figures.error = Some(error);
                        entry.must_be_fresh = true;
                        continue;
                    }
                };
                is_changed = comparison.same(&entry.now, &now) != Same::Yes;
                entry.now = now;
            }
            figures.changes += u64::from(is_changed);
            let Some(reply) = reply else { continue };
            let Reply::Bulk(json) = &reply else {
                entry.is_cached = false;
                figures.drops += 1;
                figures.needless += u64::from(!is_changed);
                continue;
            };
            figures.reads += 1;
            let cached = answer(json).unwrap_or_default();
            let same = comparison.same(&cached, &entry.now);
            match decided(&mut self.oracle, comparison, same, (entry.query, &entry.call), (&cached, &entry.now)) {
                Same::Yes => {}
                Same::Undecided => figures.undecided += 1,
                Same::No => {
                    figures.stale += 1;
                    (entry.is_cached, entry.must_be_fresh) = (false, true);
                    stale.push(Stale {
                        query: entry.query,
                        call: entry.call.clone(),
                        cached,
                        now: entry.now.clone(),
                        filled_at: entry.filled_at,
                    });
                }
            }
        }
        stale
    }

    /// The answer that is cached for the call and Postgres' own, where they differ.
    pub fn differs(&mut self, query: usize, call: &Call) -> Option<(Answer, Answer)> {
        let reply = self.wires[0].call(&words(call, Some("CACHED")));
        let Reply::Bulk(json) = &reply else { return None };
        let (cached, now) = (answer(json).ok()?, self.oracle.ask(query, &call.params).ok()?);
        let same = self.comparisons[query].same(&cached, &now);
        let same = decided(&mut self.oracle, &self.comparisons[query], same, (query, call), (&cached, &now));
        (same == Same::No).then_some((cached, now))
    }

    /// Whether it was fetched anew, and stored: after some changes that takes a moment.
    pub fn fetch(&mut self, redis: &Redis, call: &Call) -> bool {
        const PATIENCE: Duration = Duration::from_secs(1);
        let fetched = wait_at_most(PATIENCE, || {
            if self.wires[0].call(&words(call, Some("FRESH"))).is_error() {
                return Some(false);
            }
            redis.wait_stored();
            matches!(self.wires[0].call(&words(call, Some("CACHED"))), Reply::Bulk(_)).then_some(true)
        });
        fetched == Some(true)
    }

    pub fn wire(&mut self) -> &mut Wire {
        &mut self.wires[0]
    }
}

/// The command that asks it.
pub fn words<'a>(call: &'a Call, word: Option<&'a str>) -> Vec<&'a str> {
    ["BEAR.QUERY", &call.space].into_iter().chain(word).chain(call.words.iter().map(String::as_str)).collect()
}

/// What is undecided for want of an order is asked of the rows that a LIMIT has to choose from.
fn decided(
    oracle: &mut Oracle,
    comparison: &Comparison,
    same: Same,
    (query, call): (usize, &Call),
    (cached, now): (&Answer, &Answer),
) -> Same {
    let uncut = (same == Same::Undecided).then(|| oracle.ask_uncut(query, &call.params)).flatten();
    match uncut {
        Some(uncut) if !comparison.may_be(cached, now, &uncut) => Same::No,
        _ => same,
    }
}
