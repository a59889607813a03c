//! Slots of a cluster that move: spaces rest while theirs is not this node's, and go on, are read anew or are forgotten when it has
//! gone where it goes. See [`crate::core::slots`].
//!
//! Nobody tells a module that a slot moves, so whoever is about to write asks. What may be told by nobody at all, that clients wait
//! for something in a slot that has gone, is looked for from the cron loop.

use std::sync::Arc;

use super::errors;
use super::Server;
use crate::core::catalog::space::{self, SpaceRef};
use crate::core::slots::unsettled::{Resting, Turn};
use crate::keyspace::slots;
use crate::redis_api::{self, Context};

/// Tags that are looked at in one tick.
const LOOKS: usize = 32;

/// Spaces somebody waits in that are looked at in one round of the cron loop.
const AWAITED: usize = 64;

impl Server {
    /// The space that a command names; an error where this node has not all of it.
    pub(in crate::server) fn space_here<'a>(&mut self, ctx: Context, name: &'a [u8]) -> Result<SpaceRef<'a>, String> {
        let space = self.space(ctx, name)?;
        self.check_slot(ctx, name)?;
        Ok(space)
    }

    /// May a command about the space be carried out here? Redis has let it through: with ASKING, where the slot is on its way here.
    pub(in crate::server) fn check_slot(&mut self, ctx: Context, name: &[u8]) -> Result<(), String> {
        if !self.is_in_cluster() || !self.is_master() {
            return Ok(());
        }
        let prefix = self.prefix_of(&String::from_utf8_lossy(name));
        let turn = slots::look_at(ctx, &prefix);
        self.take_turn(ctx, turn);
        match slots::is_here(&prefix) {
            true => Ok(()),
            false => Err(errors::slot_moves()),
        }
    }

    /// Looks at slots whose spaces rest, a few at a time.
    pub(in crate::server) fn look_at_slots(&mut self, ctx: Context) {
        if !slots::any() {
            return;
        }
        for _ in 0..LOOKS.min(slots::count()) {
            let Some(turn) = slots::look_at_next(ctx) else { break };
            self.take_turn(ctx, turn);
        }
        if slots::any() {
            redis_api::arm(slots::LOOK_EVERY);
        }
    }

    fn take_turn(&mut self, ctx: Context, turn: Turn) {
        match turn {
            Turn::Rests => {}
            Turn::GoesOn(resting) => self.each_resting(&resting, |server, name, _| server.space_goes_on(name)),
            Turn::Came(resting) => {
                self.each_resting(&resting, |server, name, prefix| server.space_came(ctx, name, prefix));
                for prefix in resting.spaces.iter().filter(|_| resting.entries_touched) {
                    self.keyspace.entries_came(ctx, prefix);
                }
                self.arm_soon();
            }
            Turn::Gone(resting) => {
                self.each_resting(&resting, |server, name, prefix| server.space_has_gone(ctx, name, prefix));
                resting.spaces.iter().for_each(|prefix| self.send_claimers_of_section(prefix));
                self.arm_soon();
            }
        }
    }

    fn each_resting(&mut self, resting: &Resting, mut of: impl FnMut(&mut Server, &Arc<str>, &[u8])) {
        for prefix in &resting.spaces {
            if let Some(name) = self.space_of_prefix(prefix) {
                of(self, &name, prefix);
            }
        }
    }

    fn space_goes_on(&mut self, name: &Arc<str>) {
        self.queue_goes_on(name);
        self.work_goes_on(name);
        self.found_schedules(name);
        self.arm_soon();
    }

    /// It is another than it was, if it was here before.
    fn space_came(&mut self, ctx: Context, name: &Arc<str>, prefix: &[u8]) {
        log::info!("the slot of '{name}' is this node's, with what other nodes have made of it: it is read anew");
        self.forget_fetches(prefix);
        self.queue_came(ctx, name, prefix);
        self.work_came(ctx, name, prefix);
        self.found_schedules(name);
        self.forget_locks();
    }

    fn space_has_gone(&mut self, ctx: Context, name: &Arc<str>, prefix: &[u8]) {
        log::info!("the slot of '{name}' is another node's: what is known of it is forgotten");
        self.forget_fetches(prefix);
        self.queue_has_gone(ctx, name);
        self.work_has_gone(name);
        self.found_schedules(name);
        self.send_lock_waiters_of(prefix);
        self.forget_locks();
    }

    /// Who claims from any tenant asks the node that has the slot of the section's bare name, and gets jobs of tenants there: he waits
    /// on when a tenant goes, and is sent on when that slot does.
    fn send_claimers_of_section(&mut self, prefix: &[u8]) {
        let catalog = self.catalog.clone();
        for section in catalog.sections.iter().filter(|section| section.tenant.is_some()) {
            if *self.prefix_of(&section.name) == *prefix {
                self.send_claimers_of(&section.name);
            }
        }
    }

    /// Before anything that was fetched is stored: if a slot may have been elsewhere meanwhile, its changes were told there.
    pub(in crate::server) fn look_at_epochs(&mut self, ctx: Context) {
        if self.fills.running() > 0 || self.keyspace.is_publishing() {
            self.note_epochs(ctx);
        }
    }

    /// From the cron loop, too, so that what changes while nothing is fetched strikes nothing.
    pub(in crate::server) fn note_epochs(&mut self, ctx: Context) {
        if self.is_in_cluster() && self.is_master() && slots::may_have_been_elsewhere(ctx) {
            self.fills.strike_where(|_, _| true);
            self.keyspace.abort_publications(|_, _| true);
        }
    }

    /// What is being fetched is good for who waits for it, and for nobody else.
    fn forget_fetches(&mut self, prefix: &[u8]) {
        let own = [prefix, b":"].concat();
        self.fills.strike_where(|key, _| key.starts_with(&own));
        self.keyspace.make_space_cold(prefix);
    }

    /// From the cron loop: has the slot gone in which somebody waits? Nothing else would tell, where there is no key.
    pub(in crate::server) fn look_where_clients_wait(&self) {
        if !self.is_in_cluster() || !self.is_master() {
            return;
        }
        let spaces = self.claims.awaited().chain(self.queues.awaited()).map(|name| self.prefix_of(name));
        let locks = self.locks.awaited().map(<[u8]>::to_vec);
        let prefixes: std::collections::BTreeSet<Vec<u8>> = spaces.chain(locks).take(AWAITED).collect();
        for prefix in prefixes {
            slots::is_here(&prefix);
        }
    }

    /// A space's name, by the prefix of its keys.
    pub(in crate::server) fn space_of_prefix(&self, prefix: &[u8]) -> Option<Arc<str>> {
        let key = [prefix, b":queue"].concat();
        let (space, _) = space::split_key(&self.catalog, self.deployment, &key)?;
        Some(self.catalog.sections[space.section].space_name(space.tenant).into())
    }
}
