//! Kept warm: entries of queries that say `rewarm` are fetched again once a change has dropped them, for nobody. Which and when is
//! decided in [`crate::core::cache::rewarm`].

use std::rc::Rc;
use std::time::Instant;

use super::call::Call;
use crate::core::calls::names;
use crate::core::catalog::Query;
use crate::redis_api::Context;
use crate::server::events::space_of;
use crate::server::Server;

impl Server {
    /// Somebody asks for the entry that `self.key` names. `is_answered`: it is there, or is fetched for who asks.
    pub(in crate::server) fn note_asked(&mut self, space_name: &[u8], query: &Query, is_answered: bool) {
        let Some(span) = query.rewarm else { return };
        if !self.is_master() || self.keyspace.warm.ask(&self.key) || !is_answered {
            return;
        }
        let mut prefix = Vec::with_capacity(space_name.len() + 2);
        names::write_prefix(space_name, self.deployment, &mut prefix);
        self.keyspace.know_asked(&self.key, prefix.len() + 1, span);
    }

    /// Has entries fetched that are due. True: there are more.
    pub(in crate::server) fn work_on_rewarming(&mut self, ctx: Context, now: Instant, deadline: Instant) -> bool {
        while self.next_to_rewarm().is_some_and(|due| due <= now) {
            let Some((key, prefix_len)) = self.keyspace.warm.take_due() else { return false };
            self.rewarm(ctx, &key, prefix_len);
            if Instant::now() >= deadline {
                return self.next_to_rewarm().is_some_and(|due| due <= now);
            }
        }
        false
    }

    /// When the next is due that may be fetched: never so many at a time that clients' own fetches wait for them.
    pub(in crate::server) fn next_to_rewarm(&self) -> Option<Instant> {
        let slots = (self.config.fetch_threads as usize / 2).max(1);
        if self.keyspace.warm.fetching() >= slots {
            return None;
        }
        self.keyspace.warm.next_due()
    }

    fn rewarm(&mut self, ctx: Context, key: &[u8], prefix_len: usize) {
        let is_wanted = self.is_master()
            && self.keyspace.live(key).is_none()
            && self.keyspace.publishing(key).is_none()
            && self.fills.would_send(key)
            && self.fills.running() < self.config.max_fills as usize;
        // Whoever has it fetched has it stored, or is struck: then it waits again.
        if !is_wanted || self.begin_fetching().is_err() {
            return;
        }
        let space_name = space_of(&key[..prefix_len - 1]).to_vec();
        let Ok(space) = self.space(ctx, &space_name) else { return };
        let section = &self.catalog.sections[space.section];
        let Some((bound, _)) = section.calls.bind_key(&key[prefix_len..]) else { return };
        if section.queries[bound.query].rewarm.is_none() {
            return;
        }
        let call = Rc::new(Call::of(self, &space_name, space, bound));
        if let Some(ticket) = self.fills.refresh(&call.key, call.clone()) {
            self.stats.section(call.section).rewarmed += 1;
            self.keyspace.warm.begun(key, ticket);
            self.send(ticket, &call);
        }
    }

    /// Nothing is fetched again of what was asked for until now.
    pub(in crate::server) fn forget_asked(&mut self) {
        let asked = self.keyspace.warm.clear();
        self.workers.dispose(Box::new(asked));
    }
}
