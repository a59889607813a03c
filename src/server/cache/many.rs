//! BEAR.MQUERY, BEAR.MGET: several calls of one space, answered by one array. Hits are read in slices; all misses are fetched at the same time.
//!
//! ```text
//! command: a slice of the calls --all of them, and none waits--> replied
//!             |
//!             +--> the client waits: the rest in ticks, then until each fetch has ended --> replied
//! ```
//! A call that fails leaves an error in its place. What was found in the cache stands in the reply though something drops it
//! while others are fetched: the command came before.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustc_hash::FxHashMap;

use super::call::{Freshness, Words};
use super::query::check_may_wait;
use super::stored::Cached;
use super::waiting::{Waiter, WaiterId};
use crate::core::cache::gather::Gather;
use crate::redis_api::{Answer, BlockedClient, Context};
use crate::server::Server;

/// The first slice, within the command.
const FIRST: Duration = micros(500);

/// At least so long in a tick that has used up its time.
const LEAST: Duration = micros(100);

/// A build for tests is slower.
const fn micros(micros: u64) -> Duration {
    Duration::from_micros(if cfg!(debug_assertions) { 10 * micros } else { micros })
}

/// Calls as a client has typed them.
#[derive(Default)]
pub struct Calls {
    bytes: Vec<u8>,
    /// Where each word ends in `bytes`.
    words: Vec<usize>,
    /// Where each call ends in `words`.
    calls: Vec<usize>,
}

impl Calls {
    /// Begins another call, which has at least one word.
    pub fn begin(&mut self) {
        self.calls.push(self.words.len());
    }

    /// Adds a word to the call that was begun last.
    pub fn push(&mut self, word: &[u8]) {
        self.bytes.extend_from_slice(word);
        self.words.push(self.bytes.len());
        if let Some(end) = self.calls.last_mut() {
            *end = self.words.len();
        }
    }

    pub fn len(&self) -> usize {
        self.calls.len()
    }

    pub fn word_count(&self) -> usize {
        self.words.len()
    }

    pub fn byte_count(&self) -> usize {
        self.bytes.len()
    }

    /// The words of a call.
    fn get(&self, call: usize) -> Words<'_> {
        let from = |ends: &[usize], at: usize| at.checked_sub(1).map_or(0, |before| ends[before]);
        let word = |word: usize| &self.bytes[from(&self.words, word)..self.words[word]];
        (from(&self.calls, call)..self.calls[call]).map(word).collect()
    }
}

/// What is asked of each call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AskedOfMany {
    Results(Freshness),
    /// Values, and how long the caller would compute those that nobody has.
    Values {
        lease_ms: Option<u64>,
    },
}

/// Calls of which some have not been looked for yet.
struct Scan {
    space_name: Box<[u8]>,
    asked: AskedOfMany,
    calls: Calls,
    next: usize,
    /// With FRESH, and of values: where a key was asked for already.
    seen: FxHashMap<Box<[u8]>, usize>,
    /// The client, once it waits.
    waiter: Option<WaiterId>,
}

/// Clients that wait for many calls.
#[derive(Default)]
pub struct Many {
    gathering: BTreeMap<WaiterId, Gather<Answer>>,
    /// Those with calls that have not been looked for yet; they take turns.
    scanning: VecDeque<Scan>,
}

impl Many {
    /// Its client waits no more.
    pub fn forget(&mut self, client: WaiterId) {
        self.gathering.remove(&client);
    }

    /// What is told to a client whose time is up; None: it has made no such command.
    pub fn late(&mut self, client: WaiterId, error: &Answer) -> Option<Answer> {
        let mut gather = self.gathering.remove(&client)?;
        gather.fill_open(error);
        Some(all_of(gather))
    }
}

fn all_of(gather: Gather<Answer>) -> Answer {
    Answer::Many(Arc::new(gather.into_values().unwrap_or_default()))
}

fn error(text: String) -> Answer {
    Answer::Error(text.into())
}

impl Server {
    /// Answers all of the calls, or makes the client wait.
    pub fn query_many(
        &mut self,
        ctx: Context,
        space_name: &[u8],
        asked: AskedOfMany,
        calls: Calls,
    ) -> Result<(), String> {
        let space = self.space(ctx, space_name)?;
        self.check_owned(ctx, space)?;
        let mut gather = Gather::new(calls.len());
        let mut scan =
            Scan { space_name: space_name.into(), asked, calls, next: 0, seen: FxHashMap::default(), waiter: None };
        // In MULTI and scripts all of it is now or never.
        let until = (!ctx.flags().cannot_block()).then(|| Instant::now() + FIRST);
        let is_scanned = self.scan(ctx, &mut scan, &mut gather, until);
        let waiter = match scan.waiter {
            Some(waiter) => waiter,
            None if is_scanned => {
                self.answer_here(ctx, all_of(gather));
                return Ok(());
            }
            None => self.waiting.add(ctx.block(), Instant::now() + self.config.query_timeout()),
        };
        scan.waiter = Some(waiter);
        self.many.gathering.insert(waiter, gather);
        if !is_scanned {
            self.many.scanning.push_back(scan);
            self.arm_soon();
        } else if let Some((client, answer)) = self.gathered(waiter) {
            self.answers.push_back((client, answer));
            self.arm_soon();
        }
        Ok(())
    }

    /// Looks for calls until the time is over. True: for all of them.
    fn scan(&mut self, ctx: Context, scan: &mut Scan, gather: &mut Gather<Answer>, until: Option<Instant>) -> bool {
        while scan.next < scan.calls.len() {
            let at = scan.next;
            scan.next += 1;
            match self.look_for_one(ctx, scan, at, gather) {
                Ok(Some(answer)) => gather.fill(at, answer),
                Ok(None) => {}
                Err(text) => gather.fill(at, error(text)),
            }
            if until.is_some_and(|until| Instant::now() >= until) {
                break;
            }
        }
        scan.next == scan.calls.len()
    }

    /// The answer to one of the calls; None where it comes later.
    fn look_for_one(
        &mut self,
        ctx: Context,
        scan: &mut Scan,
        at: usize,
        gather: &mut Gather<Answer>,
    ) -> Result<Option<Answer>, String> {
        let Scan { space_name, asked, calls, seen, waiter, .. } = scan;
        let space = self.space(ctx, space_name)?;
        let words = calls.get(at);
        let query = self.write_call_key(space_name, space, &words)?;
        if *asked != AskedOfMany::Results(Freshness::Any) && *asked != AskedOfMany::Results(Freshness::Cached) {
            if let Some(earlier) = seen.get(self.key.as_slice()) {
                gather.same_as(at, *earlier);
                return Ok(None);
            }
            seen.insert(self.key.as_slice().into(), at);
        }
        let freshness = match *asked {
            AskedOfMany::Results(freshness) => freshness,
            AskedOfMany::Values { lease_ms } => {
                return self.value_of_many(ctx, (space_name, space), query, &words, lease_ms).map(Some);
            }
        };
        self.check_is_query(space, query)?;
        let found = self.look(ctx, (space_name, space), query, freshness, &words, |cached: Cached| cached.share());
        if found.is_some() {
            return Ok(found);
        }
        if freshness == Freshness::Cached {
            return Ok(Some(Answer::Null));
        }
        if waiter.is_none() {
            check_may_wait(ctx)?;
        }
        self.fetch((space_name, space), freshness, &words, |server, until| {
            let waiting = &mut server.waiting;
            let client = *waiter.get_or_insert_with(|| waiting.add(ctx.block(), until));
            waiting.postpone(client, until);
            Waiter::Slot(client, at)
        })?;
        Ok(None)
    }

    /// Goes on with calls that have not been looked for yet. True when some are left.
    pub(in crate::server) fn work_on_many(&mut self, ctx: Context, deadline: Instant) -> bool {
        if self.many.scanning.is_empty() {
            return false;
        }
        let deadline = deadline.max(Instant::now() + LEAST);
        while let Some(mut scan) = self.many.scanning.pop_front() {
            // None: its client is gone, or was told that its time is up.
            let gathering = scan.waiter.and_then(|waiter| Some((waiter, self.many.gathering.remove(&waiter)?)));
            let Some((waiter, mut gather)) = gathering else { continue };
            // By now the section may be somebody's; then each of its calls says so.
            let is_scanned = self.scan(ctx, &mut scan, &mut gather, Some(deadline));
            self.many.gathering.insert(waiter, gather);
            if is_scanned {
                let told = self.gathered(waiter);
                self.answers.extend(told);
            } else {
                self.many.scanning.push_back(scan);
            }
            if Instant::now() >= deadline {
                break;
            }
        }
        !self.many.scanning.is_empty()
    }

    /// A call of many has its answer. The client, and what it is told, if that was the last one.
    pub(in crate::server) fn gather(
        &mut self,
        client: WaiterId,
        at: usize,
        answer: Answer,
    ) -> Option<(BlockedClient, Answer)> {
        self.many.gathering.get_mut(&client)?.fill(at, answer);
        self.gathered(client)
    }

    /// A client whose calls all have their answers, and these.
    fn gathered(&mut self, client: WaiterId) -> Option<(BlockedClient, Answer)> {
        if !self.many.gathering.get(&client)?.is_done() {
            return None;
        }
        let gather = self.many.gathering.remove(&client)?;
        Some((self.waiting.take(client)?, all_of(gather)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_kept_word_by_word() {
        let mut calls = Calls::default();
        for call in [&["all"][..], &["size", "1", "200"], &["", "x"]] {
            calls.begin();
            call.iter().for_each(|word| calls.push(word.as_bytes()));
        }
        assert_eq!((calls.len(), calls.word_count(), calls.byte_count()), (3, 6, 12));
        let of =
            |call| calls.get(call).iter().map(|word| String::from_utf8_lossy(word).into_owned()).collect::<Vec<_>>();
        assert_eq!(of(0), ["all"]);
        assert_eq!(of(1), ["size", "1", "200"]);
        assert_eq!(of(2), ["", "x"]);
    }
}
