//! What load, promotion, demotion, flushes and other hands mean for locks.
//!
//! What is in memory is dropped whenever the keys may be others: each lock is looked up in its key again, by whoever asks for it
//! next, or by the tick that follows where somebody waits for it. Who waits goes on waiting, in his place.

use std::time::Instant;

use crate::keyspace::watch::{self, LockNote};
use crate::redis_api::Context;
use crate::server::Server;

/// A key that goes by its TTL so shortly before its lock is over goes in time: the two go by different clocks.
const NEARLY_US: u64 = 1_000_000;

impl Server {
    /// The keys are others, or somebody else's: begins anew.
    pub(in crate::server) fn forget_locks(&mut self) {
        let before = (self.locks.policy.forget_all(), std::mem::take(&mut self.locks.tokens));
        // A million of them take long to free: not on this thread.
        self.workers.dispose(Box::new(before));
        if !self.is_master() {
            self.send_lock_waiters_away();
        }
        self.arm_soon();
    }

    /// Takes note of what others did to the keys of locks, until the deadline.
    pub(super) fn take_lock_notes(&mut self, ctx: Context, deadline: Instant) {
        while let Some((key, note)) = watch::next_lock_note() {
            self.take_lock_note(ctx, &key, note);
            if Instant::now() >= deadline {
                return;
            }
        }
    }

    pub(super) fn take_lock_note(&mut self, ctx: Context, key: &[u8], note: LockNote) {
        match note {
            LockNote::Touched => self.locks.policy.touched(key),
            // Nobody has taken it away: the clock was set forward, or the server is short of memory.
            LockNote::Lapsed => {
                let now_us = self.locks.now_us();
                let held = self.locks.policy.held(key, now_us);
                if let Some(hold) = held.filter(|hold| hold.until_us > now_us + NEARLY_US) {
                    self.write_lock_again(ctx, key, &hold);
                }
            }
        }
    }
}
