//! Clients that wait for a lock: first come, first served; times that are over.

use std::time::{Duration, Instant};

use super::grant::Wanted;
use crate::keyspace::locks::LockKey;
use crate::keyspace::{slots, watch};
use crate::redis_api::{self, Answer, BlockedClient, ClientHandle, Context, Value};
use crate::server::tick::{ANSWERS, LATE};
use crate::server::{errors, Server};

/// What a waiting client has asked for.
pub(super) struct Wish {
    /// Of its space's keys.
    pub prefix: Box<[u8]>,
    pub ms: u64,
}

/// A timer that ends with a lock's time comes a little later: never before it.
const AFTER: Duration = Duration::from_millis(1);

impl Server {
    /// A slice of all that is to be done for locks. True: there is more to do at once.
    pub(in crate::server) fn work_on_locks(&mut self, ctx: Context, deadline: Instant) -> bool {
        self.take_lock_notes(ctx, deadline);
        if !self.is_master() || !ctx.writes_allowed() {
            // While nothing can be written nothing is granted; times go on.
            if self.locks.policy.waiting_len() > 0 {
                redis_api::arm(Duration::from_millis(10));
            }
            return false;
        }
        let more = watch::has_lock_notes() || self.end_locks(ctx, deadline) || self.grant_to_waiting(ctx, deadline);
        self.arm_for_locks();
        more
    }

    /// Locks whose time is over are free from now on. True: there are more.
    fn end_locks(&mut self, ctx: Context, deadline: Instant) -> bool {
        while let Some((name, hold)) = self.locks.policy.end_next(self.locks.now_us()) {
            self.locks.figures.expired += 1;
            // By Unix time its key may live on, where the clock was set back.
            if let Ok(mut key) = LockKey::open(ctx, &name) {
                key.delete(hold.token);
            }
            if Instant::now() >= deadline {
                return true;
            }
        }
        false
    }

    /// Who came first of those that wait for a lock that is free has it, and is told. True: there are more.
    fn grant_to_waiting(&mut self, ctx: Context, deadline: Instant) -> bool {
        for _ in 0..ANSWERS {
            // Who has gone is passed over: first it must be known who that is.
            if redis_api::has_gone() {
                return true;
            }
            let Some((name, ticket)) = self.locks.policy.next_due() else { return false };
            // What is unread may turn out to be somebody's, and not be due any more.
            let look = self.look_at_lock(ctx, &name);
            if self.locks.policy.next_due() != Some((name.clone(), ticket)) {
                continue;
            }
            let Some((client, wish)) = self.take_lock_waiter(ticket) else { continue };
            let wanted = Wanted { prefix: &wish.prefix, name: &name };
            if !slots::is_here(&wish.prefix) {
                client.answer(Answer::Error(errors::slot_moves().into()));
                continue;
            }
            match look.and_then(|key| self.grant_lock(ctx, &wanted, key, wish.ms)) {
                Ok(token) => client.answer(Answer::Integer(token as i64)),
                Err(text) => client.answer(Answer::Error(text.into())),
            }
            if Instant::now() >= deadline {
                break;
            }
        }
        self.locks.policy.next_due().is_some()
    }

    fn take_lock_waiter(&mut self, ticket: u64) -> Option<(BlockedClient, Wish)> {
        self.locks.policy.leave(ticket);
        let wish = self.locks.wishes.remove(&ticket)?;
        Some((self.locks.clients.take(ticket)?, wish))
    }

    /// One who waits no more, if he is one of these.
    pub(in crate::server) fn lock_waiter_gone(&mut self, handle: ClientHandle) -> Option<BlockedClient> {
        let ticket = self.locks.clients.find(handle)?;
        self.take_lock_waiter(ticket).map(|(client, _)| client)
    }

    /// Who has waited long enough is told that the lock was not to be had.
    pub(in crate::server) fn answer_late_for_locks(&mut self, now: Instant) {
        for _ in 0..LATE {
            let Some(ticket) = self.locks.clients.first_late(now) else { return };
            if let Some((client, _)) = self.take_lock_waiter(ticket) {
                self.answers.push_back((client, Answer::Value(Value::Null.into())));
            }
        }
    }

    /// All who wait, because this server has become a replica: they can ask its master.
    pub(super) fn send_lock_waiters_away(&mut self) {
        let tickets: Vec<u64> = self.locks.wishes.keys().copied().collect();
        for ticket in tickets {
            if let Some((client, _)) = self.take_lock_waiter(ticket) {
                let text = "UNBLOCKED this server is a replica now; lock on its master";
                self.answers.push_back((client, Answer::Error(text.into())));
            }
        }
    }

    /// Those who wait for a lock of a space that has moved.
    pub(in crate::server) fn send_lock_waiters_of(&mut self, prefix: &[u8]) {
        let of = self.locks.wishes.iter().filter(|(_, wish)| *wish.prefix == *prefix);
        let tickets: Vec<u64> = of.map(|(ticket, _)| *ticket).collect();
        for ticket in tickets {
            if let Some((client, _)) = self.take_lock_waiter(ticket) {
                self.answers.push_back((client, Answer::Error(errors::slot_moves().into())));
            }
        }
    }

    /// Has a tick come when a lock is to be had that somebody may wait for.
    pub(super) fn arm_for_locks(&self) {
        if self.locks.policy.waiting_len() == 0 {
            return;
        }
        if self.locks.policy.next_due().is_some() {
            self.arm_soon();
        } else if let Some(until_us) = self.locks.policy.next_end_us() {
            let left_us = until_us.saturating_sub(self.locks.now_us());
            redis_api::arm(Duration::from_micros(left_us) + AFTER);
        }
    }

    /// When a waiting client's time is up.
    pub(in crate::server) fn next_lock_deadline(&self) -> Option<Instant> {
        self.locks.clients.next_deadline()
    }

    /// From the cron loop: is there a lock whose time is over? Nobody waits for it, or a tick would have come.
    pub(in crate::server) fn look_at_locks(&self) {
        if self.locks.policy.next_end_us().is_some_and(|until_us| until_us <= self.locks.now_us()) {
            self.arm_soon();
        }
    }
}
