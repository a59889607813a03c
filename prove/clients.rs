//! Clients that ask while the changes are made, each on a connection of its own and several questions at a time. What they are told is
//! kept with what had to be seen when they asked, for `races` to judge.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::support::wire::packed;
use crate::support::{Random, Reply, Wire};

use super::calls::Call;
use super::checker::words;
use super::history::{Span, Versions};

/// Questions at a time, of each client.
const DEPTHS: [usize; 4] = [1, 1, 2, 4];

/// Their longest pause: they share the machine with who makes the changes.
const PAUSE_US: usize = 6_000;

/// How they ask: many of the questions fetch, so that some fetches are under way whenever a change commits.
const WORDS: [Option<&str>; 3] = [None, Some("FRESH"), Some("CACHED")];

/// A call that they ask.
pub struct Asked {
    pub number: u64,
    pub query: usize,
    pub call: Call,
    /// Of an entry that `checker` looks at, too: asked only while it does not.
    pub is_lent: bool,
    /// One for each of `WORDS`.
    bytes: [Vec<u8>; 3],
}

impl Asked {
    pub fn new(number: u64, query: usize, call: Call, is_lent: bool) -> Asked {
        let bytes = WORDS.map(|word| packed(&words(&call, word)));
        Asked { number, query, call, is_lent, bytes }
    }
}

/// An answer, and the versions that explain it.
pub struct Told {
    pub asked: Arc<Asked>,
    pub word: Option<&'static str>,
    pub span: Span,
    pub json: Vec<u8>,
}

pub struct Shared {
    /// Of what Postgres holds: each change is one.
    pub versions: Versions,
    /// Answers of each query.
    pub answers: Vec<AtomicU64>,
    calls: RwLock<Arc<Vec<Arc<Asked>>>>,
    told: Mutex<Vec<Told>>,
    rests: AtomicBool,
    may_ask_lent: AtomicBool,
    ends: AtomicBool,
}

pub struct Clients {
    pub shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl Clients {
    /// They rest, and know of no call.
    pub fn start(port: u16, queries: usize, random: &mut Random) -> Clients {
        let shared = Arc::new(Shared {
            versions: Versions::new(0),
            answers: (0..queries).map(|_| AtomicU64::new(0)).collect(),
            calls: RwLock::default(),
            told: Mutex::default(),
            rests: AtomicBool::new(true),
            may_ask_lent: AtomicBool::new(false),
            ends: AtomicBool::new(false),
        });
        let start = |depth: usize| {
            let (shared, chance) = (Arc::clone(&shared), Random::new(random.next()));
            thread::spawn(move || shared.ask(port, depth, chance))
        };
        let threads = DEPTHS.into_iter().map(start).collect();
        Clients { shared, threads }
    }

    pub fn know(&self, calls: Vec<Arc<Asked>>) {
        *self.shared.calls.write().expect("no panic while it is held") = Arc::new(calls);
    }

    /// They begin no question until `go_on`; those that were asked may still be answered.
    pub fn rest(&self) {
        self.shared.rests.store(true, Ordering::SeqCst);
    }

    pub fn go_on(&self, may_ask_lent: bool) {
        self.shared.may_ask_lent.store(may_ask_lent, Ordering::SeqCst);
        self.shared.rests.store(false, Ordering::SeqCst);
    }

    /// What they were told since the last time.
    pub fn take(&self) -> Vec<Told> {
        std::mem::take(&mut *self.shared.told.lock().expect("no panic while it is held"))
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        self.shared.ends.store(true, Ordering::SeqCst);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Shared {
    /// Until the end, or until the server is gone: that it should not be so others say.
    fn ask(&self, port: u16, depth: usize, mut random: Random) {
        let Ok(mut wire) = Wire::try_connect(port) else { return };
        let mut known = BTreeMap::new();
        while !self.ends.load(Ordering::SeqCst) {
            let pause = match self.rests.load(Ordering::SeqCst) {
                true => PAUSE_US / 4,
                false => {
                    if self.exchange(&mut wire, depth, &mut random, &mut known).is_none() {
                        return;
                    }
                    random.below(PAUSE_US)
                }
            };
            thread::sleep(Duration::from_micros(pause as u64));
        }
    }

    /// `known`: of each call the last answer, and the floor for which it is kept already: what has begun since can only explain more.
    fn exchange(
        &self,
        wire: &mut Wire,
        depth: usize,
        random: &mut Random,
        known: &mut BTreeMap<u64, (u32, Vec<u8>)>,
    ) -> Option<()> {
        let calls = Arc::clone(&self.calls.read().expect("no panic while it is held"));
        let may_ask_lent = self.may_ask_lent.load(Ordering::SeqCst);
        let questions: Vec<(Arc<Asked>, usize)> = (0..depth)
            .filter_map(|_| {
                // Half of them are asked for more often, so that several wait for one fetch.
                let most = if random.is(50) { calls.len() } else { calls.len().div_ceil(4) };
                let asked = random.pick(&calls[..most]).filter(|asked| may_ask_lent || !asked.is_lent)?;
                let word = [0, 0, 0, 0, 0, 1, 1, 1, 1, 2][random.below(10)];
                Some((Arc::clone(asked), word))
            })
            .collect();
        let floor = self.versions.floor();
        let bytes: Vec<u8> = questions.iter().flat_map(|(asked, word)| &asked.bytes[*word]).copied().collect();
        if !wire.try_send_bytes(&bytes) {
            return None;
        }
        let mut told = Vec::new();
        for (asked, word) in questions {
            // What is not cached says nothing, and an error is Postgres' own: whoever compares what is cached is told of it, too.
            let Reply::Bulk(json) = wire.try_receive().ok()? else { continue };
            let span = self.versions.since(floor);
            self.answers[asked.query].fetch_add(1, Ordering::Relaxed);
            let is_known = known.get(&asked.number).is_some_and(|(of, known)| *of == floor && *known == json);
            if !is_known {
                known.insert(asked.number, (floor, json.clone()));
                told.push(Told { asked, word: WORDS[word], span, json });
            }
        }
        self.told.lock().expect("no panic while it is held").extend(told);
        Some(())
    }
}
