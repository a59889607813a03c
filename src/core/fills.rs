//! Which clients wait for which fetch, and whether its result may be stored.
//!
//! ```text
//!           join                    finish, not struck
//! (none) ---------> running ------------------------------> answered, stored
//!                      |  strike
//!                      v                finish
//!                   struck ------------------------------> answered: those who joined before the strike; not stored
//!                      |  join after the strike
//!                      v
//!            one successor, sent after the strike
//! ```
//! Invariants, for every order of joins, strikes and finishes:
//! - a waiter is never answered with a result whose fetch was sent before a strike that came before the waiter;
//! - a result is never stored when a strike came after its fetch was sent;
//! - a fetch for nobody (a refresh) is like any other, but that none is sent where one runs whose result may be stored;
//! - at most [`MAX_RUNNING`] fetches of one entry run at a time, however often it is struck: who comes then waits for
//!   one more fetch, sent when one of them ends.
//!
//! A strike concerns either known keys (QUERY, PATTERN, ALL, a cold space), or the metadata that a result turns out to
//! have (ROW, TAG), or calls in which rows may belong that have changed. The latter two are kept in a log while fetches
//! run, and looked up when a result is there.

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::change::Changes;
use crate::mutations;

/// Fetches of one entry at a time: a struck one and its successor.
pub const MAX_RUNNING: usize = 2;

/// Changes that are remembered while fetches run; beyond that the oldest fetches are struck outright.
const MAX_CHANGES: usize = 4096;

/// Number of strikes so far: orders joins, sends and strikes.
type Seq = u64;

/// All fills. `C` is what it takes to send a fetch again, `W` a waiter.
pub struct Fills<C, W> {
    slots: FxHashMap<Rc<[u8]>, Slot<C, W>>,
    tickets: FxHashMap<u64, Rc<[u8]>>,
    next_ticket: u64,
    seq: Seq,
    /// What was invalidated while fetches ran, oldest first.
    log: VecDeque<(Seq, Logged)>,
    /// What looking through the log costs, about.
    log_cost: usize,
}

enum Logged {
    /// Name of a metadata set.
    Meta(Box<[u8]>),
    Rows(Arc<Changes>),
}

impl Logged {
    fn cost(&self) -> usize {
        match self {
            Logged::Meta(_) => 1,
            Logged::Rows(changes) => changes.cost(),
        }
    }
}

struct Slot<C, W> {
    call: C,
    /// Oldest first; all but the last are struck.
    running: Vec<Fill<W>>,
    /// Joined while MAX_RUNNING struck fetches ran.
    pending: Vec<W>,
}

struct Fill<W> {
    ticket: u64,
    sent: Seq,
    /// The first strike that may concern it: who joined at or after it is not answered with its result.
    struck: Option<Seq>,
    waiters: Vec<(Seq, W)>,
}

/// What joining led to.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub enum Joined {
    /// A fetch under way will answer, or one that waits for its turn.
    Waits,
    /// The caller sends a fetch with this ticket.
    Send(u64),
}

/// How a fetch ended.
pub enum Ended<'a> {
    Failed,
    /// With the names of the metadata that the result belongs to, sorted.
    Got(&'a [Box<[u8]>]),
}

/// What is to be done when a fetch has ended.
pub struct Finished<C, W> {
    /// Who gets this outcome.
    pub answer: Vec<W>,
    /// May the result be stored?
    pub store: bool,
    /// Was it struck?
    pub struck: bool,
    /// A successor to send, with its ticket.
    pub send: Option<(u64, C)>,
    /// The call, as the last who joined gave it.
    pub call: C,
}

impl<C: Clone, W> Default for Fills<C, W> {
    fn default() -> Self {
        Fills {
            slots: FxHashMap::default(),
            tickets: FxHashMap::default(),
            next_ticket: 1,
            seq: 0,
            log: VecDeque::new(),
            log_cost: 0,
        }
    }
}

impl<C: Clone, W> Fills<C, W> {
    /// Fetches under way.
    pub fn running(&self) -> usize {
        self.tickets.len()
    }

    /// One that is under way.
    pub fn any_ticket(&self) -> Option<u64> {
        self.tickets.keys().next().copied()
    }

    /// Would joining begin a fetch, rather than wait for one?
    pub fn would_send(&self, key: &[u8]) -> bool {
        self.slots.get(key).is_none_or(|slot| {
            let can_answer = slot.running.last().is_some_and(|last| last.struck.is_none());
            !can_answer && slot.running.len() < MAX_RUNNING
        })
    }

    /// Waits for the entry's fetch, and begins one where none can answer.
    pub fn join(&mut self, key: &[u8], call: C, waiter: W) -> Joined {
        let seq = self.seq;
        if let Some(slot) = self.slots.get_mut(key) {
            slot.call = call;
            let full = slot.running.len() >= MAX_RUNNING;
            match slot.running.last_mut() {
                Some(last) if last.struck.is_none() || joins_struck() => {
                    last.waiters.push((seq, waiter));
                    return Joined::Waits;
                }
                _ if full => {
                    slot.pending.push(waiter);
                    return Joined::Waits;
                }
                _ => {}
            }
            let key = self.slots.get_key_value(key).map(|(key, _)| key.clone());
            return match key {
                Some(key) => Joined::Send(self.send(&key, vec![(seq, waiter)])),
                None => Joined::Waits,
            };
        }
        let key: Rc<[u8]> = key.into();
        self.slots.insert(key.clone(), Slot { call, running: Vec::new(), pending: Vec::new() });
        Joined::Send(self.send(&key, vec![(seq, waiter)]))
    }

    /// Begins a fetch for nobody: None where one is under way whose result may be stored, or too many are.
    pub fn refresh(&mut self, key: &[u8], call: C) -> Option<u64> {
        if !self.would_send(key) {
            return None;
        }
        let key = match self.slots.get_key_value(key) {
            Some((key, _)) => key.clone(),
            None => {
                let key: Rc<[u8]> = key.into();
                self.slots.insert(key.clone(), Slot { call, running: Vec::new(), pending: Vec::new() });
                key
            }
        };
        Some(self.send(&key, Vec::new()))
    }

    fn send(&mut self, key: &Rc<[u8]>, waiters: Vec<(Seq, W)>) -> u64 {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.tickets.insert(ticket, key.clone());
        if let Some(slot) = self.slots.get_mut(key) {
            slot.running.push(Fill { ticket, sent: self.seq, struck: None, waiters });
        }
        ticket
    }

    /// Strikes the running fetch of one entry.
    pub fn strike(&mut self, key: &[u8]) -> usize {
        self.seq += 1;
        match self.slots.get_mut(key).and_then(|slot| slot.running.last_mut()) {
            Some(fill) if fill.struck.is_none() => {
                fill.struck = Some(self.seq);
                1
            }
            _ => 0,
        }
    }

    /// Strikes the running fetches that `concerned` names. Returns how many.
    pub fn strike_where(&mut self, mut concerned: impl FnMut(&[u8], &C) -> bool) -> usize {
        self.seq += 1;
        let mut struck = 0;
        for (key, slot) in &mut self.slots {
            if let Some(fill) = slot.running.last_mut() {
                if fill.struck.is_none() && concerned(key, &slot.call) {
                    fill.struck = Some(self.seq);
                    struck += 1;
                }
            }
        }
        struck
    }

    /// Strikes the fetches whose results will turn out to belong to one of these metadata, and those of calls in which
    /// one of these rows may belong.
    pub fn change<'a>(&mut self, names: impl IntoIterator<Item = &'a [u8]>, rows: Option<&Arc<Changes>>) {
        self.seq += 1;
        if self.tickets.is_empty() {
            return;
        }
        let names = names.into_iter().map(|name| Logged::Meta(name.into()));
        let rows = rows.filter(|rows| !rows.is_empty()).map(|rows| Logged::Rows(rows.clone()));
        for logged in names.chain(rows) {
            self.log_cost += logged.cost();
            self.log.push_back((self.seq, logged));
        }
        if self.log_cost > MAX_CHANGES {
            let mut forgotten = 0;
            while self.log_cost > MAX_CHANGES {
                let Some((seq, logged)) = self.log.pop_front() else { break };
                self.log_cost -= logged.cost();
                forgotten = seq;
            }
            for fill in self.slots.values_mut().filter_map(|slot| slot.running.last_mut()) {
                if fill.sent < forgotten {
                    fill.struck = Some(fill.sent + 1);
                }
            }
        }
    }

    /// Takes the outcome of a fetch; None for a ticket that is not under way. `belong` says whether one of the rows may
    /// belong in the call's result.
    pub fn finish(
        &mut self,
        ticket: u64,
        ended: Ended,
        belong: impl Fn(&C, &Changes) -> bool,
    ) -> Option<Finished<C, W>> {
        let key = self.tickets.remove(&ticket)?;
        let slot = self.slots.get_mut(&key)?;
        let at = slot.running.iter().position(|fill| fill.ticket == ticket)?;
        let fill = slot.running.remove(at);
        let struck = match ended {
            Ended::Got(metadata) => {
                let call = &slot.call;
                let changed = first_change(&self.log, fill.sent, metadata, |changes| belong(call, changes));
                [fill.struck, changed].into_iter().flatten().min()
            }
            Ended::Failed => None,
        };
        let (answer, late): (Vec<_>, Vec<_>) = fill
            .waiters
            .into_iter()
            .partition(|(joined, _)| struck.is_none_or(|strike| *joined < strike) || joins_struck());
        let store = matches!(ended, Ended::Got(_)) && (struck.is_none() || mutations::is("no-strike-check"));
        let mut waiting: Vec<(Seq, W)> = late;
        let call = slot.call.clone();
        let successor_runs = slot.running.last().is_some_and(|last| last.struck.is_none());
        if !successor_runs {
            waiting.extend(slot.pending.drain(..).map(|waiter| (self.seq, waiter)));
        }
        let send = if waiting.is_empty() {
            None
        } else if successor_runs {
            // Sent at a later strike than the one they came after.
            if let Some(last) = slot.running.last_mut() {
                last.waiters.append(&mut waiting);
            }
            None
        } else {
            // Whatever they joined, their fetch is sent now: after every strike so far.
            for (joined, _) in &mut waiting {
                *joined = self.seq;
            }
            Some((self.send(&key, waiting), call.clone()))
        };
        self.forget(&key);
        Some(Finished {
            answer: answer.into_iter().map(|(_, waiter)| waiter).collect(),
            store,
            struck: struck.is_some(),
            send,
            call,
        })
    }

    /// Drops what nobody needs any more: an empty slot, changes older than every fetch under way.
    fn forget(&mut self, key: &Rc<[u8]>) {
        if self.slots.get(key).is_some_and(|slot| slot.running.is_empty() && slot.pending.is_empty()) {
            self.slots.remove(key);
        }
        if self.tickets.is_empty() {
            self.log.clear();
            self.log_cost = 0;
        } else if self.log.len() > 256 {
            let oldest = self.slots.values().flat_map(|slot| &slot.running).map(|fill| fill.sent).min();
            let oldest = oldest.unwrap_or(self.seq);
            let forgotten = self.log.partition_point(|(seq, _)| *seq <= oldest);
            self.log_cost -= self.log.drain(..forgotten).map(|(_, logged)| logged.cost()).sum::<usize>();
        }
    }
}

fn joins_struck() -> bool {
    mutations::is("join-struck")
}

/// The first change after `sent` that one of `metadata` (sorted) names, or whose rows belong.
fn first_change(
    log: &VecDeque<(Seq, Logged)>,
    sent: Seq,
    metadata: &[Box<[u8]>],
    belong: impl Fn(&Changes) -> bool,
) -> Option<Seq> {
    let start = log.partition_point(|(seq, _)| *seq <= sent);
    let concerns = |logged: &Logged| match logged {
        Logged::Meta(name) => metadata.binary_search(name).is_ok(),
        Logged::Rows(changes) => belong(changes),
    };
    log.range(start..).find(|(_, logged)| concerns(logged)).map(|(seq, _)| *seq)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &[u8] = b"bear:all";
    const ROW: &[u8] = b"bear:meta:5:caches";

    fn no_rows(_: &(), _: &Changes) -> bool {
        false
    }

    fn names(names: &[&[u8]]) -> Vec<Box<[u8]>> {
        names.iter().map(|name| (*name).into()).collect()
    }

    #[test]
    fn all_who_miss_wait_for_one_fetch() {
        let mut fills = Fills::default();
        assert_eq!(fills.join(KEY, (), 0), Joined::Send(1));
        for waiter in 1..1000 {
            assert_eq!(fills.join(KEY, (), waiter), Joined::Waits);
        }
        let done = fills.finish(1, Ended::Got(&names(&[ROW])), no_rows).unwrap();
        assert_eq!(done.answer, (0..1000).collect::<Vec<_>>());
        assert!(done.store && done.send.is_none());
        assert_eq!(fills.running(), 0);
    }

    #[test]
    fn who_comes_after_a_strike_gets_a_successor() {
        let mut fills = Fills::default();
        fills.join(KEY, (), "before");
        assert_eq!(fills.strike(KEY), 1);
        assert_eq!(fills.join(KEY, (), "after"), Joined::Send(2));
        assert_eq!(fills.join(KEY, (), "after too"), Joined::Waits);
        let first = fills.finish(1, Ended::Got(&[]), no_rows).unwrap();
        assert_eq!((first.answer, first.store), (vec!["before"], false));
        let second = fills.finish(2, Ended::Got(&[]), no_rows).unwrap();
        assert_eq!((second.answer, second.store), (vec!["after", "after too"], true));
    }

    #[test]
    fn a_row_changed_meanwhile_strikes_only_results_that_contain_it() {
        for (metadata, struck) in [(names(&[ROW]), true), (names(&[b"bear:meta:6:caches"]), false)] {
            let mut fills = Fills::default();
            fills.join(KEY, (), "before");
            fills.change([ROW], None);
            assert_eq!(fills.join(KEY, (), "after"), Joined::Waits);
            let done = fills.finish(1, Ended::Got(&metadata), no_rows).unwrap();
            assert_eq!(done.store, !struck);
            assert_eq!(done.answer.len(), if struck { 1 } else { 2 });
            assert_eq!(done.send.is_some(), struck);
        }
    }

    #[test]
    fn a_fetch_for_nobody_is_one_and_answers_who_comes_meanwhile() {
        let mut fills = Fills::default();
        assert_eq!(fills.refresh(KEY, ()), Some(1));
        assert_eq!(fills.refresh(KEY, ()), None);
        assert_eq!(fills.join(KEY, (), "meanwhile"), Joined::Waits);
        let done = fills.finish(1, Ended::Got(&[]), no_rows).unwrap();
        assert_eq!((done.answer, done.store, done.send.is_none()), (vec!["meanwhile"], true, true));

        // Struck, it is nobody's loss; at most two run, and who waits has the next one.
        assert_eq!(fills.refresh(KEY, ()), Some(2));
        fills.strike(KEY);
        assert_eq!(fills.refresh(KEY, ()), Some(3));
        fills.strike(KEY);
        assert_eq!(fills.refresh(KEY, ()), None);
        assert_eq!(fills.join(KEY, (), "after"), Joined::Waits);
        let done = fills.finish(2, Ended::Got(&[]), no_rows).unwrap();
        assert_eq!((done.answer.len(), done.store, done.send), (0, false, Some((4, ()))));
        assert!(!fills.finish(3, Ended::Got(&[]), no_rows).unwrap().store);
        let done = fills.finish(4, Ended::Got(&[]), no_rows).unwrap();
        assert_eq!((done.answer, done.store, fills.running()), (vec!["after"], true, 0));
        assert_eq!(fills.refresh(KEY, ()), Some(5), "nothing is left of it");
        assert!(fills.finish(5, Ended::Failed, no_rows).unwrap().answer.is_empty());
    }

    #[test]
    fn a_failed_fetch_answers_all_who_wait_for_it() {
        let mut fills = Fills::default();
        fills.join(KEY, (), 1);
        fills.change([ROW], None);
        fills.join(KEY, (), 2);
        let done = fills.finish(1, Ended::Failed, no_rows).unwrap();
        assert_eq!((done.answer, done.store, done.send.is_none()), (vec![1, 2], false, true));
    }

    #[test]
    fn a_call_struck_again_and_again_runs_two_fetches_at_most() {
        let mut fills = Fills::default();
        let mut sent = 0;
        for waiter in 0..100 {
            sent += usize::from(matches!(fills.join(KEY, (), waiter), Joined::Send(_)));
            fills.strike(KEY);
        }
        assert_eq!((sent, fills.running()), (MAX_RUNNING, MAX_RUNNING));
        let done = fills.finish(1, Ended::Got(&[]), no_rows).unwrap();
        assert_eq!(done.send, Some((3, ())));
        assert_eq!(fills.finish(3, Ended::Got(&[]), no_rows).unwrap().answer.len(), 98);
    }

    #[test]
    fn who_joined_after_a_forgotten_change_is_not_served_its_result() {
        let mut fills = Fills::default();
        fills.join(KEY, (), "before");
        fills.change([ROW], None);
        fills.join(KEY, (), "after");
        for row in 0..=MAX_CHANGES {
            fills.change([format!("bear:meta:x{row}:caches").as_bytes()], None);
        }
        let done = fills.finish(1, Ended::Got(&names(&[ROW])), no_rows).unwrap();
        assert_eq!((done.answer, done.send.is_some()), (vec!["before"], true));
    }

    #[test]
    fn more_changes_than_are_remembered_strike() {
        let mut fills = Fills::default();
        fills.join(KEY, (), 0);
        fills.change([ROW], None);
        for row in 0..=MAX_CHANGES {
            fills.change([format!("bear:meta:x{row}:caches").as_bytes()], None);
        }
        let done = fills.finish(1, Ended::Got(&names(&[ROW])), no_rows).unwrap();
        assert!(!done.store);
        assert!(fills.log.is_empty());
    }

    /// One step of a history.
    #[derive(Clone, Copy, Debug)]
    enum Step {
        Join,
        StrikeKey,
        Change,
        Finish(usize),
    }

    /// Every order of up to 4 joins, 3 strikes of either kind and all finishes, against the invariants.
    #[test]
    fn no_order_of_events_serves_or_stores_what_was_struck() {
        fn explore(history: &mut Vec<Step>, joins: usize, strikes: usize, seen: &mut u64) {
            let running = check(history, seen);
            for at in 0..running {
                history.push(Step::Finish(at));
                explore(history, joins, strikes, seen);
                history.pop();
            }
            if joins > 0 {
                history.push(Step::Join);
                explore(history, joins - 1, strikes, seen);
                history.pop();
            }
            if strikes > 0 {
                for strike in [Step::StrikeKey, Step::Change] {
                    history.push(strike);
                    explore(history, joins, strikes - 1, seen);
                    history.pop();
                }
            }
        }

        /// Replays a history; returns how many fetches run at its end. Times are steps.
        fn check(history: &[Step], seen: &mut u64) -> usize {
            let mut fills = Fills::default();
            let mut running: Vec<(u64, usize)> = Vec::new();
            let mut strikes: Vec<usize> = Vec::new();
            let metadata = names(&[ROW]);
            let (mut waiting, mut joined_at) = (0, Vec::new());
            for (now, step) in history.iter().enumerate() {
                match step {
                    Step::Join => {
                        joined_at.push(now);
                        waiting += 1;
                        if let Joined::Send(ticket) = fills.join(KEY, (), joined_at.len() - 1) {
                            running.push((ticket, now));
                        }
                    }
                    Step::StrikeKey => {
                        fills.strike(KEY);
                        strikes.push(now);
                    }
                    Step::Change => {
                        fills.change([ROW], None);
                        strikes.push(now);
                    }
                    Step::Finish(at) => {
                        let (ticket, sent) = running.remove(*at);
                        let done = fills.finish(ticket, Ended::Got(&metadata), no_rows).unwrap();
                        let struck = strikes.iter().any(|strike| *strike > sent);
                        assert!(!(done.store && struck), "stored though struck: {history:?}");
                        for waiter in &done.answer {
                            let stale = strikes.iter().any(|strike| *strike > sent && *strike < joined_at[*waiter]);
                            assert!(!stale, "waiter {waiter} was served a struck result: {history:?}");
                        }
                        waiting -= done.answer.len();
                        if let Some((ticket, ())) = done.send {
                            running.push((ticket, now));
                        }
                    }
                }
                assert!(running.len() <= MAX_RUNNING);
                assert_eq!(fills.running(), running.len());
                assert!(waiting == 0 || !running.is_empty(), "somebody waits for nothing: {history:?}");
            }
            *seen += 1;
            running.len()
        }

        let mut seen = 0;
        explore(&mut Vec::new(), 4, 3, &mut seen);
        assert!(seen > 10_000, "{seen} histories");
    }
}
