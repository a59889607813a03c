//! Clients that wait for a job: first come, first served, each woken once and with its job. And spaces of a section that take
//! turns, for claimers of any of them.
//!
//! Whatever makes a job free, an enqueue, an acknowledgement that frees a slot, a time that has come, ends in
//! [`Server::claims_changed`], which has the space looked at in the tick that follows: there, outside of all commands, clients
//! are answered, so that nobody is answered twice or not at all.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use super::hand_out::{wanted, Ask, Taken};
use super::Claims;
use crate::core::claims::claimers::Ticket;
use crate::keyspace::watch;
use crate::redis_api::{self, Answer, BlockedClient, ClientHandle, Context, Value};
use crate::server::cache::waiting::Waiting;
use crate::server::tick::{ANSWERS, LATE};
use crate::server::{errors, Server};

/// Bytes of payloads in one reply; one job may be more.
pub const MAX_BYTES: usize = 1 << 20;

/// What a waiting client has asked for.
#[derive(Clone)]
pub struct Wish {
    /// A space, or a section.
    pub from: Arc<str>,
    pub types: Box<[Arc<str>]>,
    pub count: usize,
    pub ask: Ask,
}

#[derive(Default)]
pub struct WaitingClaimers {
    clients: Waiting,
    wishes: BTreeMap<Ticket, Wish>,
    /// In a cluster, those who claim from any tenant and were not looked at yet; and whether they wait where there is nothing.
    pub newcomers: VecDeque<(Ticket, bool)>,
}

impl WaitingClaimers {
    pub fn len(&self) -> usize {
        self.wishes.len()
    }

    pub fn next_deadline(&self) -> Option<Instant> {
        self.clients.next_deadline()
    }
}

/// Nothing was there.
pub fn nothing() -> Answer {
    Answer::Value(Arc::new(Value::Array(Vec::new())))
}

pub fn answer(taken: Vec<Taken>) -> Answer {
    Answer::Value(Arc::new(Value::Array(taken.into_iter().map(Taken::value).collect())))
}

impl Server {
    /// Has a client wait for a job.
    pub(super) fn wait_to_claim(&mut self, client: BlockedClient, wish: Wish, deadline: Instant) -> Ticket {
        let claims = &mut self.claims;
        let ticket = claims.waiting.clients.add(client, deadline);
        claims.claimers.add(ticket, &wish.from, wish.types.clone());
        claims.waiting.wishes.insert(ticket, wish);
        ticket
    }

    pub(super) fn wish(&self, ticket: Ticket) -> Option<Wish> {
        self.claims.waiting.wishes.get(&ticket).cloned()
    }

    pub(super) fn take_claimer(&mut self, ticket: Ticket) -> Option<(BlockedClient, Wish)> {
        self.claims.claimers.remove(ticket);
        let wish = self.claims.waiting.wishes.remove(&ticket)?;
        Some((self.claims.waiting.clients.take(ticket)?, wish))
    }

    /// One who waits no more, if he is one of these.
    pub(in crate::server) fn claimer_gone(&mut self, handle: ClientHandle) -> Option<BlockedClient> {
        let ticket = self.claims.waiting.clients.find(handle)?;
        self.take_claimer(ticket).map(|(client, _)| client)
    }

    /// Who has waited long enough is told that there was nothing.
    pub(in crate::server) fn answer_late_claimers(&mut self, now: Instant) {
        for _ in 0..LATE {
            let Some(ticket) = self.claims.waiting.clients.first_late(now) else { return };
            if let Some((client, _)) = self.take_claimer(ticket) {
                self.answers.push_back((client, nothing()));
            }
        }
    }

    /// All who wait, because this server has become a replica: they can claim again from its master.
    pub(super) fn send_claimers_away(&mut self) {
        let tickets: Vec<Ticket> = self.claims.waiting.wishes.keys().copied().collect();
        for ticket in tickets {
            if let Some((client, _)) = self.take_claimer(ticket) {
                let text = "UNBLOCKED this server is a replica now; claim from its master";
                self.answers.push_back((client, Answer::Error(text.into())));
            }
        }
    }

    /// Those who wait for a job of one space, or of a section by its bare name, which has moved: nothing was handed out to them, and they may ask again.
    pub(in crate::server) fn send_claimers_of(&mut self, name: &str) {
        let of = self.claims.waiting.wishes.iter().filter(|(_, wish)| &*wish.from == name);
        let tickets: Vec<Ticket> = of.map(|(ticket, _)| *ticket).collect();
        for ticket in tickets {
            if let Some((client, _)) = self.take_claimer(ticket) {
                self.answers.push_back((client, Answer::Error(errors::slot_moves().into())));
            }
        }
    }

    /// Something has changed in a space: types of which a job can be handed out take their turns, who waits is served in the
    /// next tick, and times are noted.
    pub(in crate::server) fn claims_changed(&mut self, name: &Arc<str>) {
        let now_ms = self.claims.now_ms();
        let may_give = self.claims.join_turns(name, now_ms);
        let claims = &mut self.claims;
        let Some(space) = claims.spaces.get_mut(name).filter(|space| space.is_loaded()) else { return };
        let is_waited_for = || {
            claims.claimers.waits_for(name) || (*space.section != **name && claims.claimers.waits_for(&space.section))
        };
        if may_give && !space.is_dirty && !claims.claimers.is_empty() && is_waited_for() {
            space.is_dirty = true;
            claims.dirty.push_back(name.clone());
            claims.is_waking = true;
            redis_api::arm(std::time::Duration::ZERO);
        }
        claims.note_times(name, now_ms);
        claims.note_idleness(name, now_ms);
    }

    /// Serves who waits, and nothing else: who waits for a job should not wait for all that a tick looks at. The tick that
    /// follows is a whole one. False: there is nobody, or the one before was none.
    pub(in crate::server) fn serve_at_once(&mut self, ctx: Context, deadline: Instant) -> bool {
        let is_waking = std::mem::take(&mut self.claims.is_waking);
        let was_at_once = std::mem::take(&mut self.claims.was_at_once);
        // What another hand did to the queue is looked at by whole ticks.
        let is_touched = watch::has_queue_notes();
        if !is_waking || was_at_once || is_touched || !self.is_master() || !ctx.writes_allowed() {
            return false;
        }
        self.claims.was_at_once = true;
        // First, so that nothing later is armed meanwhile.
        self.arm_soon();
        self.serve_claimers(ctx, deadline);
        true
    }

    /// Serves who waits, until the deadline. True: there are more.
    pub(super) fn serve_claimers(&mut self, ctx: Context, deadline: Instant) -> bool {
        // Who has gone is passed over: first it must be known who that is.
        // And no more are served than are answered in this tick: a job whose claimer hangs up before that would be held by
        // nobody until its lease ends.
        while !redis_api::has_gone() && self.answers.len() < ANSWERS {
            let Some(name) = self.claims.dirty.front().cloned() else {
                self.serve_newcomers(ctx, deadline);
                return !self.claims.waiting.newcomers.is_empty();
            };
            if !self.serve_next(ctx, &name) {
                self.claims.dirty.pop_front();
                if let Some(space) = self.claims.spaces.get_mut(&name) {
                    space.is_dirty = false;
                }
                let now_ms = self.claims.now_ms();
                self.claims.join_turns(&name, now_ms);
                self.claims.note_times(&name, now_ms);
            }
            if Instant::now() >= deadline {
                break;
            }
        }
        !self.claims.dirty.is_empty() || !self.claims.waiting.newcomers.is_empty()
    }

    /// Serves those who wait for jobs of one space, until the deadline.
    pub(super) fn serve_claimers_of(&mut self, ctx: Context, name: &Arc<str>, deadline: Instant) {
        let is_dirty = self.claims.spaces.get(name).is_some_and(|space| space.is_dirty);
        while is_dirty && !redis_api::has_gone() && self.answers.len() < ANSWERS && Instant::now() < deadline {
            if !self.serve_next(ctx, name) {
                return;
            }
        }
    }

    /// Serves the one that came first of those that this space has something for. False: there is none.
    fn serve_next(&mut self, ctx: Context, name: &Arc<str>) -> bool {
        let Some(ticket) = self.next_claimer(name) else { return false };
        let types: Vec<Arc<str>> = self.claims.claimers.types(ticket).to_vec();
        let Some((count, ask)) = self.claims.waiting.wishes.get(&ticket).map(|wish| (wish.count, wish.ask)) else {
            self.claims.claimers.remove(ticket);
            return true;
        };
        let (mut taken, mut bytes) = (Vec::new(), 0);
        // More than a few would hold the thread; whoever wants them claims again.
        while taken.len() < count.min(64) && bytes < MAX_BYTES {
            let Some(job) = self.hand_out(ctx, name, &types, ask) else { break };
            bytes += job.data.len();
            taken.push(job);
        }
        if taken.is_empty() {
            return false;
        }
        if let Some((client, _)) = self.take_claimer(ticket) {
            self.answers.push_back((client, answer(taken)));
        }
        true
    }

    fn next_claimer(&mut self, name: &Arc<str>) -> Option<Ticket> {
        let now_ms = self.claims.now_ms();
        let claims = &mut self.claims;
        let space = claims.spaces.get_mut(name)?;
        if !space.queue.has(wanted(&[]), now_ms) {
            return None;
        }
        let mut first: Option<Ticket> = None;
        let section = (*space.section != **name).then(|| space.section.clone());
        for from in std::iter::once(name.clone()).chain(section) {
            let ready = space.queue.ready();
            // Whichever is fewer: a type with jobs, or one that somebody waits for.
            let least_of_types = if ready.open_len() < claims.claimers.lines_len() {
                ready.open_types().filter_map(|kind| claims.claimers.first_for(&from, kind)).min()
            } else {
                let can_be_had = |kind: &Arc<str>| ready.first(wanted(std::slice::from_ref(kind))).is_some();
                let of_types = claims.claimers.named(&from).filter_map(|(kind, ticket)| {
                    let is_first = first.is_none_or(|first| ticket < first);
                    (is_first && can_be_had(kind)).then_some(ticket)
                });
                of_types.min()
            };
            let least = least_of_types.into_iter().chain(claims.claimers.first_for_any(&from)).min();
            first = first.into_iter().chain(least).min();
        }
        first
    }

    /// Claims from any space of a section: the next whose turn it is.
    pub(super) fn hand_out_by_turns(
        &mut self,
        ctx: Context,
        section: &Arc<str>,
        types: &[Arc<str>],
        ask: Ask,
    ) -> Option<Taken> {
        while let Some(name) = self.claims.turns.next(section, types) {
            let taken = self.hand_out(ctx, &name, types, ask);
            let now_ms = self.claims.now_ms();
            if let Some(space) = self.claims.spaces.get_mut(&name).filter(|space| space.is_loaded()) {
                let any = types.is_empty().then_some(None);
                for kind in any.into_iter().chain(types.iter().map(Some)) {
                    let of_kind = wanted(kind.map_or(&[], std::slice::from_ref));
                    if space.queue.has(of_kind, now_ms) {
                        self.claims.turns.join(section, kind, &name);
                    } else if space.queue.ready().first(of_kind).is_some() {
                        // Its limit, or a pause: it comes back when that has ended.
                        space.left_turns.insert(kind.cloned());
                    }
                }
            }
            if let Some(taken) = taken {
                self.claims_changed(&name);
                return Some(taken);
            }
        }
        None
    }
}

impl Claims {
    /// Spaces, and sections, in which somebody waits for a job.
    pub(in crate::server) fn awaited(&self) -> impl Iterator<Item = &Arc<str>> {
        self.waiting.wishes.values().map(|wish| &wish.from)
    }

    /// The space takes its turns, for types of which a job can be handed out. True: there is such a job, and nothing keeps it.
    fn join_turns(&mut self, name: &Arc<str>, now_ms: u64) -> bool {
        let Some(space) = self.spaces.get_mut(name).filter(|space| space.is_loaded()) else { return false };
        // First: time alone may have opened a type.
        let may_give = space.queue.has(wanted(&[]), now_ms);
        let opened = space.queue.take_opened();
        if !space.takes_turns {
            return may_give;
        }
        if !opened.is_empty() {
            self.turns.join(&space.section, None, name);
        }
        for kind in &opened {
            self.turns.join(&space.section, Some(kind), name);
        }
        if may_give {
            for kind in std::mem::take(&mut space.left_turns) {
                self.turns.join(&space.section, kind.as_ref(), name);
            }
        }
        may_give
    }
}
