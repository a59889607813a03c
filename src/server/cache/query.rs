//! BEAR.QUERY: a hit is answered from the key's memory; a miss waits for a fetch.

use std::rc::Rc;
use std::time::Instant;

use super::call::{Call, Freshness, Words};
use super::refresh;
use super::stored::{Cached, Replied, Unread, Wanted};
use super::waiting::{Asker, Waiter};
use crate::core::cache::fills::Joined;
use crate::core::calls::names;
use crate::core::catalog::life::Age;
use crate::core::catalog::space::SpaceRef;
use crate::core::catalog::{Query, Section};
use crate::keyspace::watch;
use crate::redis_api::{Context, StringKey};
use crate::server::{errors, Server};

/// Refuses a miss where nothing can wait.
pub(in crate::server) fn check_may_wait(ctx: Context) -> Result<(), String> {
    match ctx.flags().cannot_block() {
        true => Err(
            "NOWAIT the result is not in the cache, and in MULTI or a script nothing can wait for Postgres; query it \
                     outside, or with CACHED"
                .into(),
        ),
        false => Ok(()),
    }
}

/// What is said where a value is meant.
pub(in crate::server) fn no_value(section: &Section, query: &Query, what: &str) -> String {
    format!("ERR '{}' of '{}' is a query, which Postgres answers; {what}", query.call.text(), section.name)
}

impl Server {
    /// Answers a query, or makes the client wait.
    pub fn query(
        &mut self,
        ctx: Context,
        space_name: &[u8],
        freshness: Freshness,
        wanted: Wanted,
        words: &Words,
    ) -> Result<(), String> {
        let space = self.space(ctx, space_name)?;
        self.check_owned(ctx, space)?;
        let query = self.write_call_key(space_name, space, words)?;
        self.check_is_query(space, query)?;
        let asked = (space_name, space);
        if self.reply_from_cache(ctx, asked, query, (freshness, wanted), words) {
            return Ok(());
        }
        if freshness == Freshness::Cached {
            ctx.reply().null();
            return Ok(());
        }
        check_may_wait(ctx)?;
        let begun = Instant::now();
        let asker = match wanted {
            Wanted::Plain => Asker::Result,
            Wanted::Raw => Asker::Raw,
        };
        let wait = |server: &mut Server, until| Waiter::Client(server.waiting.add_asker(ctx.block(), asker, until));
        let begins = self.fetch((space_name, space), freshness, words, wait);
        crate::redis_api::note_command(begun);
        begins
    }

    /// Refuses what the application computes.
    pub(in crate::server) fn check_is_query(&self, space: SpaceRef, query: usize) -> Result<(), String> {
        let section = &self.catalog.sections[space.section];
        if !section.has_values || section.queries[query].computed().is_none() {
            return Ok(());
        }
        Err(format!(
            "ERR '{}' of '{}' is a value, which the application computes; ask for it with BEAR.GET",
            section.queries[query].call.text(),
            section.name
        ))
    }

    /// Has `self.key` name the call's entry. Returns its query.
    pub(in crate::server) fn write_call_key(
        &mut self,
        space_name: &[u8],
        space: SpaceRef,
        words: &Words,
    ) -> Result<usize, String> {
        self.key.clear();
        names::write_prefix(space_name, self.deployment, &mut self.key);
        self.key.push(b':');
        let limit = self.config.max_call_bytes as usize;
        let calls = &self.catalog.sections[space.section].calls;
        calls.write_key(words, limit, &mut self.key).map_err(errors::usage)
    }

    /// Replies with the entry that `self.key` names, of a call to this query, if it may answer.
    pub(in crate::server) fn reply_from_cache(
        &mut self,
        ctx: Context,
        (space_name, space): (&[u8], SpaceRef),
        query: usize,
        (freshness, wanted): (Freshness, Wanted),
        words: &Words,
    ) -> bool {
        let reply = |cached: Cached| cached.reply(ctx, wanted);
        match self.look(ctx, (space_name, space), query, freshness, words, reply) {
            Some(Replied::Whole) => true,
            Some(Replied::Not(frame)) => {
                self.decompress_aside(ctx, frame, space.section, Unread::new(space_name, freshness, words));
                true
            }
            None => false,
        }
    }

    /// Looks for the entry that `self.key` names, of a call to this query, and hands it over where it may answer. Counts a hit or
    /// a miss; a miss where what stands there cannot be taken, too.
    pub(in crate::server) fn look<R>(
        &mut self,
        ctx: Context,
        (space_name, space): (&[u8], SpaceRef),
        query: usize,
        freshness: Freshness,
        words: &Words,
        take: impl FnOnce(Cached) -> Option<R>,
    ) -> Option<R> {
        let catalog = self.catalog.clone();
        let section = &catalog.sections[space.section];
        // Only entries of some queries have an age that Redis does not tell; the others cost no look-up.
        let age = if section.has_soft_life { self.age_of_key(&section.queries[query].life) } else { Age::Fresh };
        let is_wanted = refresh::may_serve(age, freshness) && !self.withholds(space.section);
        let found = if is_wanted { self.cached(ctx, space.section, &section.queries[query], take) } else { None };
        if section.has_rewarm {
            let is_answered = found.is_some() || freshness != Freshness::Cached;
            self.note_asked(space_name, &section.queries[query], is_answered);
        }
        if found.is_some() {
            let stats = self.stats.section(space.section);
            stats.hits += 1;
            stats.stale_hits += u64::from(age == Age::Stale);
            self.log_call(ctx, if age == Age::Stale { "STALE" } else { "HIT" });
            if age != Age::Fresh {
                self.refresh(space_name, space, words);
            }
            return found;
        }
        self.stats.section(space.section).misses += 1;
        self.log_call(ctx, "MISS");
        None
    }

    /// Hands the entry over that `self.key` names, if it is live.
    pub(in crate::server) fn cached<R>(
        &mut self,
        ctx: Context,
        section: usize,
        query: &Query,
        take: impl FnOnce(Cached) -> Option<R>,
    ) -> Option<R> {
        if self.is_master() {
            if watch::is_written() {
                self.settle();
            }
            // Fetched, not struck, and about to be the entry: newer than the one that stands.
            if let Some(content) = self.keyspace.publishing(&self.key) {
                return take(Cached::Publishing(content));
            }
            let trusted = !self.keyspace.is_strict() || self.keyspace.live(&self.key).is_some();
            let entry = if trusted { StringKey::open(ctx, &self.key) } else { None };
            return entry.and_then(|entry| self.take_entry(&entry, query, take));
        }
        let key = std::mem::take(&mut self.key);
        let may_serve = ctx.flags().replica_in_sync() && self.replica_may_serve(ctx, section, &key);
        self.key = key;
        if !may_serve {
            return None;
        }
        StringKey::open(ctx, &self.key).and_then(|entry| self.take_entry(&entry, query, take))
    }

    /// Has somebody wait for the call's fetch, until the time that `wait` is told; begins it where none can answer.
    pub(in crate::server) fn fetch(
        &mut self,
        (space_name, space): (&[u8], SpaceRef),
        freshness: Freshness,
        words: &Words,
        wait: impl FnOnce(&mut Server, Instant) -> Waiter,
    ) -> Result<(), String> {
        self.begin_fetching()?;
        let section = space.section;
        let call = Rc::new(Call::new(self, space_name, space, words)?);
        if freshness == Freshness::Fresh {
            // The fetch under way may have read before the caller's last change.
            self.fills.strike(&call.key);
        }
        let limit = self.config.max_fills as usize;
        if self.fetches_running() >= limit && self.fills.would_send(&call.key) {
            return Err(format!("OVERLOADED {limit} fetches are under way (bear.max-fills); try again later"));
        }
        let deadline = Instant::now() + self.config.query_timeout();
        let waiter = wait(self, deadline);
        crate::redis_api::arm(self.config.query_timeout());
        match self.fills.join(&call.key, call.clone(), waiter) {
            Joined::Waits => self.stats.section(section).joined += 1,
            Joined::Send(ticket) => self.send(ticket, &call),
        }
        Ok(())
    }

    pub(in crate::server) fn log_call(&self, ctx: Context, what: &str) {
        if self.config.log_calls {
            let key = String::from_utf8_lossy(&self.key);
            ctx.log(crate::redis_api::Level::Notice, &format!("{what} {}", key.escape_debug()));
        }
    }
}
