//! BEAR.VERIFY: entries are fetched again and compared with what is stored.
//!
//! ```text
//! picked --fetched--> same: checked
//!           |-------> another stamp, or gone: invalidated meanwhile, says nothing
//!           '-------> differs --GRACE, fetched again--> same, or gone | differs still: reported
//! ```
//! A difference counts only if nobody has invalidated the entry a while after it was seen: the job or the command that
//! is about to drop it may come between the change in Postgres and the fetch. What is fetched here is nobody's answer
//! and is never stored.

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustc_hash::FxHashMap;

use crate::core::cache::fetch::{FetchError, Fetched};
use crate::core::cache::index::{Entry, Key};
use crate::core::cache::stored_form::Content;
use crate::core::cache::walk::Walk;
use crate::core::calls::names;
use crate::core::catalog::life::Age;
use crate::redis_api::{Answer, BlockedClient, ClientHandle, Context, StringKey, Value};
use crate::server::{Call, Server};

/// Who drops an entry for a change that a fetch has seen has this long to do it.
const GRACE: Duration = Duration::from_millis(100);

/// Tickets from here on are ours: fills never come so far.
const FIRST_TICKET: u64 = 1 << 63;

/// Entries picked in one tick: each is a look-up and a fetch to send.
const PICKS: usize = 16;

/// Differences that a reply names; more are counted.
const LISTED: usize = 100;

/// Fetches that fail one after the other and end a run: Postgres is away.
const MAX_FAILURES: u32 = 10;

/// Runs that wait for their turn.
const MAX_RUNS: usize = 16;

/// Spaces of which we remember where the last run stopped.
const MAX_REMEMBERED: usize = 4096;

#[derive(Default)]
pub struct Verifying {
    /// The first is at work, one after the other has its turn.
    runs: VecDeque<Run>,
    /// Where the last run of a space stopped, by the prefix of its keys.
    stopped_at: FxHashMap<Box<[u8]>, Key>,
    tickets: u64,
}

/// One command.
struct Run {
    client: BlockedClient,
    space_name: Box<[u8]>,
    /// Of the space's keys, with the colon.
    prefix: Box<[u8]>,
    walk: Walk,
    all_picked: bool,
    fetching: FxHashMap<u64, Check>,
    /// Seen to differ once, with the time from which to look again; oldest first.
    doubted: VecDeque<(Instant, Check)>,
    failures_in_row: u32,
    tally: Tally,
}

/// An entry that is compared.
struct Check {
    call: Rc<Call>,
    /// Words of the call as a client may type them.
    words: Vec<Box<[u8]>>,
    stamp: u64,
    look: Look,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Look {
    First,
    Second,
}

#[derive(Default)]
struct Tally {
    checked: i64,
    different: i64,
    gone: i64,
    /// Entries that applications have computed: nobody here can compute them again.
    values: i64,
    failed: i64,
    calls: Vec<Value>,
}

/// What a fetch says of an entry.
enum Verdict {
    Same,
    /// It is not the entry any more that was picked.
    Gone,
    Different {
        stored_bytes: usize,
        age: Duration,
        rows: u32,
    },
}

impl Verifying {
    /// Is something left to do at once?
    fn has_room(&self, slots: usize) -> bool {
        self.runs.front().is_some_and(|run| run.fetching.len() < slots)
    }

    /// When an entry is to be looked at again.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.runs.front().and_then(|run| run.doubted.front()).map(|(due, _)| *due)
    }

    /// The run of a client that waits for it no more ends with the fetches that are under way.
    pub fn give_up(&mut self, client: ClientHandle) {
        for run in self.runs.iter_mut().filter(|run| run.client.handle() == client) {
            run.all_picked = true;
            run.doubted.clear();
        }
    }

    fn take(&mut self, ticket: u64) -> Option<Check> {
        self.runs.front_mut()?.fetching.remove(&ticket)
    }

    fn remember(&mut self, prefix: Box<[u8]>, stopped_at: Option<Key>) {
        if self.stopped_at.len() >= MAX_REMEMBERED {
            self.stopped_at.clear();
        }
        if let Some(key) = stopped_at {
            self.stopped_at.insert(prefix, key);
        }
    }
}

impl Run {
    /// An entry whose second look is due.
    fn take_due(&mut self, now: Instant) -> Option<Check> {
        self.doubted.front().filter(|(due, _)| *due <= now)?;
        self.doubted.pop_front().map(|(_, check)| check)
    }

    fn is_done(&self) -> bool {
        self.all_picked && self.fetching.is_empty() && self.doubted.is_empty()
    }
}

/// Is the fetch with this ticket ours?
pub(in crate::server) fn is_ours(ticket: u64) -> bool {
    ticket >= FIRST_TICKET
}

impl Server {
    /// Compares up to `count` entries of the space, and answers when it is done.
    pub fn verify(&mut self, ctx: Context, space_name: &[u8], count: u64) -> Result<(), String> {
        let space = self.space_here(ctx, space_name)?;
        self.check_owned(ctx, space)?;
        if !self.is_master() {
            return Err("READONLY only the master knows when an entry was stored; verify there".into());
        }
        if ctx.flags().cannot_block() {
            return Err("NOWAIT BEAR.VERIFY asks Postgres, and in MULTI or a script nothing can wait".into());
        }
        self.begin_fetching()?;
        if self.verifying.runs.len() >= MAX_RUNS {
            return Err(format!("OVERLOADED {MAX_RUNS} BEAR.VERIFY wait for their turn; try again later"));
        }
        let mut prefix = Vec::new();
        names::write_prefix(space_name, self.deployment, &mut prefix);
        prefix.push(b':');
        let walk = Walk::new(self.verifying.stopped_at.get(prefix.as_slice()).cloned(), count);
        self.verifying.runs.push_back(Run {
            client: ctx.block(),
            space_name: space_name.into(),
            prefix: prefix.into(),
            walk,
            all_picked: false,
            fetching: FxHashMap::default(),
            doubted: VecDeque::new(),
            failures_in_row: 0,
            tally: Tally::default(),
        });
        self.arm_soon();
        Ok(())
    }

    /// Sends what may be sent, and answers who is done. True when more is to be done at once.
    pub(in crate::server) fn work_on_verifying(&mut self, ctx: Context, now: Instant) -> bool {
        // Never so many that clients' own fetches wait for them.
        let slots = (self.config.fetch_threads as usize / 2).max(1);
        for _ in 0..PICKS {
            if !self.verifying.has_room(slots) {
                return false;
            }
            if !self.verify_next(ctx, now) {
                return self.end_verifying();
            }
        }
        true
    }

    /// Sends a fetch of the first run; false where it has none to send now.
    fn verify_next(&mut self, ctx: Context, now: Instant) -> bool {
        let stops = !self.is_master() || self.workers.current().is_none();
        let Some(run) = self.verifying.runs.front_mut() else { return false };
        if stops || run.failures_in_row >= MAX_FAILURES {
            run.tally.failed += (run.doubted.len() + run.fetching.len()) as i64;
            run.all_picked = true;
            run.doubted.clear();
            run.fetching.clear();
            return false;
        }
        if let Some(check) = run.take_due(now) {
            self.send_check(check);
            return true;
        }
        if run.all_picked {
            return false;
        }
        let keyspace = &self.keyspace;
        let Some(key) = run.walk.next(|after| keyspace.next_key(&run.prefix, after)) else {
            run.all_picked = true;
            return false;
        };
        let picked = self.pick(ctx, &key);
        let is_value = picked.as_ref().is_some_and(|check| check.call.computed().is_some());
        match picked {
            Some(check) if !is_value => self.send_check(check),
            _ => {
                if let Some(run) = self.verifying.runs.front_mut() {
                    run.tally.values += i64::from(is_value);
                    run.tally.gone += i64::from(!is_value);
                }
            }
        }
        true
    }

    /// None where the entry is not live, beyond its TTL, or no call of the catalog any more.
    fn pick(&self, ctx: Context, key: &[u8]) -> Option<Check> {
        let run = self.verifying.runs.front()?;
        let entry = self.keyspace.live(key)?;
        let space = self.space(ctx, &run.space_name).ok()?;
        let call_part = key.strip_prefix(run.prefix.as_ref())?;
        let (bound, words) = self.catalog.sections[space.section].calls.bind_key(call_part)?;
        let life = &self.catalog.sections[space.section].queries[bound.query].life;
        if matches!(self.age_of(life, entry), Age::Stale | Age::Over) {
            return None;
        }
        let call = Rc::new(Call::of(self, &run.space_name, space, bound));
        Some(Check { call, words, stamp: entry.stamp, look: Look::First })
    }

    fn send_check(&mut self, check: Check) {
        let ticket = FIRST_TICKET + self.verifying.tickets;
        self.verifying.tickets += 1;
        self.send_alone(ticket, &check.call);
        if let Some(run) = self.verifying.runs.front_mut() {
            run.fetching.insert(ticket, check);
        }
    }

    /// Takes what came of one of our fetches.
    pub(in crate::server) fn verify_fetched(&mut self, ctx: Context, ticket: u64, result: Result<Fetched, FetchError>) {
        // None: of a run that has ended without it.
        let Some(check) = self.verifying.take(ticket) else { return };
        let compared = result.map(|fetched| {
            let content = Content::new(fetched.json, fetched.compressed);
            (self.compare(ctx, &check, &content), content.plain.len())
        });
        let Some(run) = self.verifying.runs.front_mut() else { return };
        run.failures_in_row = if compared.is_ok() { 0 } else { run.failures_in_row + 1 };
        match compared {
            Err(error) => {
                let call = check.call.catalog.sections[check.call.section].queries[check.call.query].call.text();
                log::info!("BEAR.VERIFY could not fetch '{call}': {error}");
                run.tally.failed += 1;
            }
            Ok((Verdict::Same, _)) => run.tally.checked += 1,
            Ok((Verdict::Gone, _)) => run.tally.gone += 1,
            Ok((Verdict::Different { .. }, _)) if check.look == Look::First => {
                run.doubted.push_back((Instant::now() + GRACE, Check { look: Look::Second, ..check }));
            }
            Ok((Verdict::Different { stored_bytes, age, rows }, fetched_bytes)) => {
                run.tally.checked += 1;
                run.tally.different += 1;
                if run.tally.calls.len() < LISTED {
                    run.tally.calls.push(difference(&check, stored_bytes, age, fetched_bytes, rows));
                }
            }
        }
    }

    fn compare(&self, ctx: Context, check: &Check, fetched: &Content) -> Verdict {
        let key = check.call.key.as_ref();
        let life = &check.call.catalog.sections[check.call.section].queries[check.call.query].life;
        let is_meant =
            |entry: &&Entry| entry.stamp == check.stamp && matches!(self.age_of(life, entry), Age::Fresh | Age::Ending);
        let entry = self.keyspace.live(key).filter(is_meant);
        let is_replaced = self.keyspace.publishing(key).is_some();
        let stored = if is_replaced { None } else { StringKey::open(ctx, key) };
        match (entry, stored) {
            (Some(_), Some(stored)) if self.holds(&stored, fetched) => Verdict::Same,
            (Some(entry), Some(stored)) => Verdict::Different {
                stored_bytes: self.plain_len(&stored, check.call.query()),
                age: self.begun.elapsed().saturating_sub(entry.facts.stored.since_beginning()),
                rows: entry.facts.rows,
            },
            _ => Verdict::Gone,
        }
    }

    /// Answers the first run if it is done. True when the next has its turn.
    fn end_verifying(&mut self) -> bool {
        if !self.verifying.runs.front().is_some_and(Run::is_done) {
            return false;
        }
        let Some(run) = self.verifying.runs.pop_front() else { return false };
        self.verifying.remember(run.prefix, run.walk.stopped_at());
        let answer = if self.is_master() {
            Answer::Value(Arc::new(run.tally.into_reply()))
        } else {
            Answer::Error("READONLY this server has become a replica; verify on the master".into())
        };
        self.answers.push_back((run.client, answer));
        true
    }
}

impl Tally {
    fn into_reply(self) -> Value {
        Value::Map(vec![
            ("checked", Value::Integer(self.checked)),
            ("different", Value::Integer(self.different)),
            ("gone", Value::Integer(self.gone)),
            ("values", Value::Integer(self.values)),
            ("failed", Value::Integer(self.failed)),
            ("calls", Value::Array(self.calls)),
        ])
    }
}

fn difference(check: &Check, stored_bytes: usize, age: Duration, fetched_bytes: usize, rows: u32) -> Value {
    let words = check.words.iter().map(|word| Value::Bytes(word.clone())).collect();
    Value::Map(vec![
        ("call", Value::Array(words)),
        ("key", Value::Bytes(check.call.key.clone())),
        ("stored_bytes", Value::Integer(stored_bytes as i64)),
        ("age_ms", Value::Integer(age.as_millis() as i64)),
        ("fetched_bytes", Value::Integer(fetched_bytes as i64)),
        ("rows", Value::Integer(i64::from(rows))),
    ])
}
