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

pub mod computed;
#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;

use super::tenant_sets;
use crate::core::catalog::columns_read::Unchanged;
use crate::core::changes::change::Changes;
use crate::core::changes::changed_sets::ChangedSets;
use crate::mutations;

/// Fetches of one entry at a time: a struck one and its successor.
pub const MAX_RUNNING: usize = 2;

/// Changes that are remembered while fetches run; beyond that the oldest fetches are struck outright.
const MAX_CHANGES: usize = 4096;

/// Number of strikes so far: orders joins, sends and strikes.
type Seq = u64;

/// All fills. `C` is what it takes to send a fetch again, `W` a waiter.
pub struct Fills<C, W> {
    /// Trees, for maps would hold the thread whenever they grow.
    slots: BTreeMap<Rc<[u8]>, Slot<C, W>>,
    tickets: BTreeMap<u64, Rc<[u8]>>,
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
    /// The set of that number of a changed row.
    Row(Arc<ChangedSets>, usize),
    /// The same after the tenant, of whichever tenant.
    AnyTenants(Box<[u8]>),
    Rows(Arc<Changes>),
}

impl Logged {
    fn cost(&self) -> usize {
        match self {
            Logged::Meta(_) | Logged::Row(..) | Logged::AnyTenants(_) => 1,
            Logged::Rows(changes) => changes.cost(),
        }
    }
}

/// What has changed since a fetch was sent.
pub enum Changed<'a> {
    /// Rows that may belong in the result.
    Rows(&'a Changes),
    /// A row of a section that the result lists, but for what of it is as it was.
    Listed(&'a [u8], &'a Unchanged),
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
            slots: BTreeMap::new(),
            tickets: BTreeMap::new(),
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

    /// Those that are under way of such calls.
    pub fn tickets(&self, of: impl Fn(&C) -> bool) -> Vec<u64> {
        let is_one = |key: &Rc<[u8]>| self.slots.get(key).is_some_and(|slot| of(&slot.call));
        self.tickets.iter().filter(|(_, key)| is_one(key)).map(|(ticket, _)| *ticket).collect()
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
        let names = names.into_iter().map(|name| Logged::Meta(name.into()));
        let rows = rows.filter(|rows| !rows.is_empty()).map(|rows| Logged::Rows(rows.clone()));
        self.log(names.chain(rows));
    }

    /// The same of sets of changed rows, for those who read what has changed of them.
    pub fn change_rows(&mut self, sets: &Arc<ChangedSets>, rows: &Arc<Changes>) {
        let listed = (0..sets.sets.len()).map(|at| Logged::Row(sets.clone(), at));
        self.log(listed.chain((!rows.is_empty()).then(|| Logged::Rows(rows.clone()))));
    }

    /// Strikes the fetches whose results will turn out to belong to one of these metadata of any tenant, named as they are
    /// after the tenant.
    pub fn change_of_any_tenant<'a>(&mut self, names: impl IntoIterator<Item = &'a [u8]>) {
        self.log(names.into_iter().map(|name| Logged::AnyTenants(name.into())));
    }

    fn log(&mut self, changed: impl Iterator<Item = Logged>) {
        self.seq += 1;
        if self.tickets.is_empty() {
            return;
        }
        for logged in changed {
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

    /// Takes the outcome of a fetch; None for a ticket that is not under way. `concerns` says whether a
    /// change may concern the call's result.
    pub fn finish(
        &mut self,
        ticket: u64,
        ended: Ended,
        concerns: impl Fn(&C, Changed<'_>) -> bool,
    ) -> Option<Finished<C, W>> {
        let key = self.tickets.remove(&ticket)?;
        let slot = self.slots.get_mut(&key)?;
        let at = slot.running.iter().position(|fill| fill.ticket == ticket)?;
        let fill = slot.running.remove(at);
        let struck = match ended {
            Ended::Got(metadata) => {
                let call = &slot.call;
                let changed = first_change(&self.log, fill.sent, metadata, |changed| concerns(call, changed));
                [fill.struck, changed].into_iter().flatten().min()
            }
            Ended::Failed => None,
        };
        let (answer, late): (Vec<_>, Vec<_>) = fill
            .waiters
            .into_iter()
            .partition(|(joined, _)| struck.is_none_or(|strike| *joined < strike) || joins_struck());
        let store = matches!(ended, Ended::Got(_)) && (struck.is_none() || mutations::is("no-strike-check"));
        let call = slot.call.clone();
        let send = self.pass_on(&key, late);
        Some(Finished {
            answer: answer.into_iter().map(|(_, waiter)| waiter).collect(),
            store,
            struck: struck.is_some(),
            send,
            call,
        })
    }

    /// A fetch is over, and these who waited for it were not answered: they wait for one that runs, or for a successor, which
    /// is returned.
    fn pass_on(&mut self, key: &Rc<[u8]>, mut waiting: Vec<(Seq, W)>) -> Option<(u64, C)> {
        let slot = self.slots.get_mut(key)?;
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
            Some((self.send(key, waiting), call))
        };
        self.forget(key);
        send
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
            // Tickets are given in the order in which fetches are sent.
            let first = self.tickets.first_key_value().and_then(|(ticket, key)| {
                let running = &self.slots.get(key)?.running;
                running.iter().find(|fill| fill.ticket == *ticket)
            });
            let oldest = first.map_or(self.seq, |fill| fill.sent);
            let forgotten = self.log.partition_point(|(seq, _)| *seq <= oldest);
            self.log_cost -= self.log.drain(..forgotten).map(|(_, logged)| logged.cost()).sum::<usize>();
        }
    }
}

fn joins_struck() -> bool {
    mutations::is("join-struck")
}

/// The first change after `sent` that one of `metadata` (sorted) names, or whose rows belong; unless the call reads nothing of it.
fn first_change(
    log: &VecDeque<(Seq, Logged)>,
    sent: Seq,
    metadata: &[Box<[u8]>],
    concerns: impl Fn(Changed<'_>) -> bool,
) -> Option<Seq> {
    let start = log.partition_point(|(seq, _)| *seq <= sent);
    let is_concerned = |logged: &Logged| match logged {
        Logged::Meta(name) => metadata.binary_search(name).is_ok(),
        Logged::Row(sets, at) => {
            let (name, unchanged) = &sets.sets[*at];
            metadata.binary_search(name).is_ok() && concerns(Changed::Listed(&sets.section, unchanged))
        }
        Logged::AnyTenants(name) => tenant_sets::lists(metadata, name),
        Logged::Rows(changes) => concerns(Changed::Rows(changes)),
    };
    log.range(start..).find(|(_, logged)| is_concerned(logged)).map(|(seq, _)| *seq)
}
