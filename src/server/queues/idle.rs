//! Queues that have had nothing to do for a while leave the memory; the next event reads them anew from their keys. Of ten
//! thousand tenants that were used once none stays.
//!
//! No timer is armed for it, which would keep the module from being unloaded: the server's cron loop asks.

use std::sync::Arc;
use std::time::Instant;

use super::space::{Ledger, SpaceQueue};
use super::Queues;
use crate::core::jobs::history::MIN_AGE_MS;
use crate::core::jobs::history::MIN_JOBS;
use crate::failpoints;
use crate::keyspace::{jobs, slots};
use crate::redis_api::Context;
use crate::server::Server;

/// So long it must have been idle, in milliseconds: as long as records of completed jobs are kept however many they are.
const IDLE_MS: u64 = MIN_AGE_MS;

fn idle_ms() -> u64 {
    failpoints::idle_ms().unwrap_or(IDLE_MS)
}

impl SpaceQueue {
    /// Is everything that is known of it in its keys, and nothing to be done?
    pub fn is_idle(&self) -> bool {
        let has_jobs = self.jobs > 0 || self.fresh.is_some() || self.ripe.is_some() || !self.queue.is_idle();
        let has_work = self.in_main_turn || self.in_side_turn || !self.parked.is_empty() || !self.forget.is_empty();
        let is_troubled = matches!(self.ledger, Ledger::Trouble(_)) || !self.adopt.is_empty();
        !has_jobs && !has_work && !is_troubled
    }
}

impl Server {
    /// Is there anything for [`Server::forget_idle_queues`]? Then a tick comes.
    pub(in crate::server) fn look_for_idle_queues(&self) {
        if self.queues.idle.front().is_some_and(|(look_ms, _)| *look_ms <= self.queues.now_ms()) {
            self.arm_soon();
        }
    }

    /// Forgets queues until the deadline. True: there are more.
    pub(super) fn forget_idle_queues(&mut self, ctx: Context, deadline: Instant) -> bool {
        let now_ms = self.queues.now_ms();
        while let Some((_, name)) = self.queues.idle.front().filter(|(look_ms, _)| *look_ms <= now_ms).cloned() {
            self.queues.idle.pop_front();
            let Some(space) = self.queues.spaces.get_mut(&name) else { continue };
            space.is_in_idle_line = false;
            match space.idle_since_ms.filter(|_| space.is_idle()) {
                Some(since_ms) if since_ms + idle_ms() <= now_ms => self.forget_idle_queue(ctx, &name),
                Some(since_ms) => self.queues.await_idleness(&name, since_ms),
                None => {}
            }
            if Instant::now() >= deadline {
                return self.queues.idle.front().is_some_and(|(look_ms, _)| *look_ms <= now_ms);
            }
        }
        false
    }

    fn forget_idle_queue(&mut self, ctx: Context, name: &str) {
        let Some(space) = self.queues.spaces.get(name) else { return };
        if !slots::is_here(&space.prefix) {
            return;
        }
        // Which of its records are how old is forgotten, too, so that only as many stay as always do: an entry holds
        // one job at least.
        if jobs::len(ctx, &space.keys.completed) > MIN_JOBS {
            jobs::keep_newest(ctx, &space.keys.completed, MIN_JOBS);
        }
        self.queues.forget_space(name);
        self.queues.shrink();
    }
}

impl Queues {
    /// Takes note of whether a space is idle.
    pub(super) fn note_idleness(&mut self, name: &Arc<str>, now_ms: u64) {
        let Some(space) = self.spaces.get_mut(name) else { return };
        if !space.is_idle() {
            space.idle_since_ms = None;
        } else if space.idle_since_ms.is_none() {
            space.idle_since_ms = Some(now_ms);
            self.await_idleness(name, now_ms);
        }
    }

    /// Has it looked at when it has been idle long enough; each space stands in the line once.
    fn await_idleness(&mut self, name: &Arc<str>, since_ms: u64) {
        if let Some(space) = self.spaces.get_mut(name).filter(|space| !space.is_in_idle_line) {
            space.is_in_idle_line = true;
            self.idle.push_back((since_ms + idle_ms(), name.clone()));
        }
    }

    /// Gives memory back that many spaces took.
    fn shrink(&mut self) {
        if self.spaces.capacity() > 256 && self.spaces.len() < self.spaces.capacity() / 8 {
            self.spaces.shrink_to(self.spaces.len() * 2);
            self.idle.shrink_to(self.idle.len() * 2);
        }
    }
}
