//! BEAR.QUERY: a hit is answered from the key's memory; a miss waits for a fetch.

use std::rc::Rc;
use std::time::Instant;

use super::call::{Call, Freshness, Words};
use super::refresh;
use crate::core::cache::fills::Joined;
use crate::core::calls::names;
use crate::core::catalog::life::Age;
use crate::core::catalog::space::SpaceRef;
use crate::keyspace::watch;
use crate::redis_api::{Context, StringKey};
use crate::server::{errors, Server};

impl Server {
    /// Answers a query, or makes the client wait.
    pub fn query(
        &mut self,
        ctx: Context,
        space_name: &[u8],
        freshness: Freshness,
        words: &Words,
    ) -> Result<(), String> {
        let space = self.space(ctx, space_name)?;
        self.check_owned(ctx, space)?;
        let catalog = self.catalog.clone();
        let section = &catalog.sections[space.section];
        self.key.clear();
        names::write_prefix(space_name, self.deployment, &mut self.key);
        self.key.push(b':');
        let limit = self.config.max_call_bytes as usize;
        let query = section.calls.write_key(words, limit, &mut self.key).map_err(errors::usage)?;
        // Only entries of some queries have an age that Redis does not tell; the others cost no look-up.
        let age = if section.has_soft_life { self.age_of_key(&section.queries[query].life) } else { Age::Fresh };
        let is_wanted = refresh::may_serve(age, freshness) && !self.withholds(space.section);
        if is_wanted && self.answer_from_cache(ctx, space.section) {
            let stats = self.stats.section(space.section);
            stats.hits += 1;
            stats.stale_hits += u64::from(age == Age::Stale);
            self.log_call(ctx, if age == Age::Stale { "STALE" } else { "HIT" });
            if age != Age::Fresh {
                self.refresh(space_name, space, words);
            }
            return Ok(());
        }
        self.stats.section(space.section).misses += 1;
        self.log_call(ctx, "MISS");
        if freshness == Freshness::Cached {
            ctx.reply().null();
            return Ok(());
        }
        if ctx.flags().cannot_block() {
            return Err(
                "NOWAIT the result is not in the cache, and in MULTI or a script nothing can wait for Postgres; \
                 query it outside, or with CACHED"
                    .into(),
            );
        }
        let begun = Instant::now();
        let begins = self.fetch(ctx, space_name, space, freshness, words);
        crate::redis_api::note_command(begun);
        begins
    }

    /// Replies with the entry that `self.key` names, if it is live.
    fn answer_from_cache(&mut self, ctx: Context, section: usize) -> bool {
        if self.is_master() {
            if watch::is_written() {
                self.settle();
            }
            // Fetched, not struck, and about to be the entry: newer than the one that stands.
            if let Some(json) = self.keyspace.publishing(&self.key) {
                ctx.reply().bytes(json);
                return true;
            }
            let trusted = !self.keyspace.is_strict() || self.keyspace.live(&self.key).is_some();
            let entry = if trusted { StringKey::open(ctx, &self.key) } else { None };
            return entry.inspect(|entry| ctx.reply().bytes(entry.bytes())).is_some();
        }
        let key = std::mem::take(&mut self.key);
        let may_serve = ctx.flags().replica_in_sync() && self.replica_may_serve(ctx, section, &key);
        self.key = key;
        if !may_serve {
            return false;
        }
        StringKey::open(ctx, &self.key).inspect(|entry| ctx.reply().bytes(entry.bytes())).is_some()
    }

    fn fetch(
        &mut self,
        ctx: Context,
        space_name: &[u8],
        space: SpaceRef,
        freshness: Freshness,
        words: &Words,
    ) -> Result<(), String> {
        self.begin_fetching()?;
        let section = space.section;
        let call = Rc::new(Call::new(self, space_name, space, words)?);
        if freshness == Freshness::Fresh {
            // The fetch under way may have read before the caller's last change.
            self.fills.strike(&call.key);
        }
        let limit = self.config.max_fills as usize;
        if self.fills.running() >= limit && self.fills.would_send(&call.key) {
            return Err(format!("OVERLOADED {limit} fetches are under way (bear.max-fills); try again later"));
        }
        let deadline = Instant::now() + self.config.query_timeout();
        let waiter = self.waiting.add(ctx.block(), deadline);
        crate::redis_api::arm(self.config.query_timeout());
        match self.fills.join(&call.key, call.clone(), waiter) {
            Joined::Waits => self.stats.section(section).joined += 1,
            Joined::Send(ticket) => self.send(ticket, &call),
        }
        Ok(())
    }

    fn log_call(&self, ctx: Context, what: &str) {
        if self.config.log_calls {
            let key = String::from_utf8_lossy(&self.key);
            ctx.log(crate::redis_api::Level::Notice, &format!("{what} {}", key.escape_debug()));
        }
    }
}
