//! BEAR.GET, BEAR.FORGET: values, which the application computes. What it computes comes by BEAR.PUT: see [`super::put`].
//!
//! ```text
//! GET -> hit: [value, nil], or [value, token] to one caller where its life is near its end
//!     -> miss: [nil, token] to the first, who computes; the others wait -> [value, nil] from PUT
//!                                                                       -> [nil, token] where the lease has ended
//!                                                                       -> [nil, nil] after WAIT
//! ```
//! A lease is a fill whose fetcher is a client: [`crate::core::cache::fills`] decides who waits for which, and what may be
//! stored.

use std::hash::{BuildHasher, RandomState};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::call::{Call, Freshness, Words};
use super::put::LargeValues;
use super::query::no_value;
use super::refresh;
use super::stored::{Cached, Replied};
use super::waiting::{Asker, Waiter};
use crate::core::cache::fills::Joined;
use crate::core::cache::leases::Leases;
use crate::core::catalog::life::Age;
use crate::core::catalog::space::SpaceRef;
use crate::core::catalog::{Query, Section};
use crate::core::events::fill::FillEnd;
use crate::redis_api::{self, Answer, ClientHandle, Context};
use crate::server::tick::LATE;
use crate::server::Server;

/// Values under way.
pub struct Values {
    pub leases: Leases,
    pub large: LargeValues,
}

impl Default for Values {
    fn default() -> Values {
        // Its keys are random.
        let life = RandomState::new().hash_one(std::process::id());
        Values { leases: Leases::new(life), large: LargeValues::default() }
    }
}

/// What a caller of BEAR.GET says of the lease that he may get.
#[derive(Debug, Default)]
pub struct GetOptions {
    /// None: as the catalog says.
    pub lease_ms: Option<u64>,
    /// None: as long as a lease.
    pub wait_ms: Option<u64>,
}

impl Server {
    /// BEAR.GET: answers, or makes the client wait.
    pub fn get_value(
        &mut self,
        ctx: Context,
        space_name: &[u8],
        options: &GetOptions,
        words: &Words,
    ) -> Result<(), String> {
        let space = self.space_here(ctx, space_name)?;
        self.check_owned(ctx, space)?;
        let catalog = self.catalog.clone();
        let section = &catalog.sections[space.section];
        let query = &section.queries[self.write_call_key(space_name, space, words)?];
        let lease_ms = lease_ms(section, query, options.lease_ms)?;
        let age = if section.has_soft_life { self.age_of_key(&query.life) } else { Age::Fresh };
        let is_wanted = refresh::may_serve(age, Freshness::Any) && !self.withholds(space.section);
        let reply = |plain: &[u8]| {
            ctx.reply().array(2);
            ctx.reply().bytes(plain);
        };
        let take = |cached: Cached| cached.read(ctx, reply);
        let replied = if is_wanted { self.cached(ctx, space.section, query, take) } else { None };
        if let Some(replied) = replied {
            let token = self.value_was_hit(ctx, (space_name, space), age, words, lease_ms);
            match (replied, token) {
                (Replied::Not(frame), token) => self.decompress_value_aside(ctx, frame, space.section, token),
                (Replied::Whole, Some(token)) => ctx.reply().text(&token),
                (Replied::Whole, None) => ctx.reply().null(),
            }
            return Ok(());
        }
        self.stats.section(space.section).misses += 1;
        self.log_call(ctx, "MISS");
        if !self.is_master() {
            // Nor does it know who computes.
            Answer::Leased(None, None).reply(ctx);
            return Ok(());
        }
        let begun = Instant::now();
        let result = self.lease_or_wait(ctx, space_name, space, words, (lease_ms, options.wait_ms.unwrap_or(lease_ms)));
        redis_api::note_command(begun);
        result
    }

    /// One of many calls: nobody waits, for he might have a lease already that others wait for.
    pub(in crate::server) fn value_of_many(
        &mut self,
        ctx: Context,
        (space_name, space): (&[u8], SpaceRef),
        query: usize,
        words: &Words,
        own_lease_ms: Option<u64>,
    ) -> Result<Answer, String> {
        let catalog = self.catalog.clone();
        let section = &catalog.sections[space.section];
        let query = &section.queries[query];
        let lease_ms = lease_ms(section, query, own_lease_ms)?;
        let age = if section.has_soft_life { self.age_of_key(&query.life) } else { Age::Fresh };
        let is_wanted = refresh::may_serve(age, Freshness::Any) && !self.withholds(space.section);
        let found =
            if is_wanted { self.cached(ctx, space.section, query, |cached: Cached| cached.share()) } else { None };
        let (value, token) = match found {
            Some(value) => (value, self.value_was_hit(ctx, (space_name, space), age, words, lease_ms)),
            None => {
                self.stats.section(space.section).misses += 1;
                self.log_call(ctx, "MISS");
                let token = match self.is_master() {
                    true => self.lease_now(space_name, space, words, lease_ms)?.1,
                    false => None,
                };
                (Answer::Null, token)
            }
        };
        let token = token.map_or(Answer::Null, |token| Answer::Bytes(Arc::new(token.as_bytes().to_vec())));
        Ok(Answer::Many(Arc::new(vec![value, token])))
    }

    /// Counts it; a token where its life is near its end, and nobody else computes it anew.
    fn value_was_hit(
        &mut self,
        ctx: Context,
        (space_name, space): (&[u8], SpaceRef),
        age: Age,
        words: &Words,
        lease_ms: u64,
    ) -> Option<Arc<str>> {
        let stats = self.stats.section(space.section);
        stats.hits += 1;
        stats.stale_hits += u64::from(age == Age::Stale);
        self.log_call(ctx, if age == Age::Stale { "STALE" } else { "HIT" });
        if age == Age::Fresh {
            return None;
        }
        self.lease_ahead(space_name, space, words, lease_ms)
    }

    /// The call, and a token where nobody computes it.
    fn lease_now(
        &mut self,
        space_name: &[u8],
        space: SpaceRef,
        words: &Words,
        lease_ms: u64,
    ) -> Result<(Rc<Call>, Option<Arc<str>>), String> {
        self.have_feed();
        let call = Rc::new(Call::new(self, space_name, space, words)?);
        let limit = self.config.max_fills as usize;
        if self.values.leases.len() >= limit && self.fills.would_send(&call.key) {
            return Err(format!("OVERLOADED {limit} values are being computed (bear.max-fills); try again later"));
        }
        let ticket = self.fills.refresh(&call.key, call.clone());
        let token = ticket.map(|ticket| self.lend(ticket, &call, lease_ms));
        Ok((call, token))
    }

    fn lease_or_wait(
        &mut self,
        ctx: Context,
        space_name: &[u8],
        space: SpaceRef,
        words: &Words,
        (lease_ms, wait_ms): (u64, u64),
    ) -> Result<(), String> {
        let (call, token) = self.lease_now(space_name, space, words, lease_ms)?;
        if token.is_some() {
            Answer::Leased(None, token).reply(ctx);
            return Ok(());
        }
        if wait_ms == 0 || ctx.flags().cannot_block() {
            Answer::Leased(None, None).reply(ctx);
            return Ok(());
        }
        let wait = Duration::from_millis(wait_ms);
        let waiter = self.waiting.add_asker(ctx.block(), Asker::Value { lease_ms }, Instant::now() + wait);
        redis_api::arm(wait);
        self.stats.section(space.section).joined += 1;
        if let Joined::Send(ticket) = self.fills.join(&call.key, call.clone(), Waiter::Client(waiter)) {
            self.lend_to_waiter(ticket, &call);
        }
        Ok(())
    }

    /// What others change in Postgres is to be told before anything relies on it. A value needs no Postgres, and there may be
    /// none.
    pub(in crate::server) fn have_feed(&mut self) {
        if self.begin_fetching().is_err() {
            log::debug!("a value is computed without Postgres");
        }
    }

    /// A lease on the entry that `self.key` names, which is at the end of its life, unless somebody has one.
    fn lease_ahead(&mut self, space_name: &[u8], space: SpaceRef, words: &Words, lease_ms: u64) -> Option<Arc<str>> {
        let is_wanted = self.is_master()
            && self.fills.would_send(&self.key)
            && self.values.leases.len() < self.config.max_fills as usize
            && !self.resting.is_resting(&self.key, Instant::now());
        if !is_wanted {
            return None;
        }
        let call = Rc::new(Call::new(self, space_name, space, words).ok()?);
        let ticket = self.fills.refresh(&call.key, call.clone())?;
        self.stats.section(space.section).refreshes += 1;
        Some(self.lend(ticket, &call, lease_ms))
    }

    fn lend(&mut self, ticket: u64, call: &Call, lease_ms: u64) -> Arc<str> {
        let lease = Duration::from_millis(lease_ms);
        self.with_stats(call, |stats| stats.leased += 1);
        redis_api::arm(lease);
        self.values.leases.begin(ticket, Instant::now() + lease).into()
    }

    /// The first who waits for a fill computes its value; where nobody is left, nobody does.
    pub(in crate::server) fn lend_to_waiter(&mut self, mut ticket: u64, call: &Rc<Call>) {
        let is_value = "ERR the catalog has changed, and this call is a value now: ask for it with BEAR.GET";
        loop {
            while let Some(waiter) = self.fills.take_waiter(ticket) {
                let client = match waiter {
                    Waiter::Client(client) | Waiter::Slot(client, _) => client,
                    Waiter::Message(_) => {
                        self.answer(vec![waiter], Answer::Error(is_value.into()), FillEnd::Failed);
                        self.arm_soon();
                        continue;
                    }
                };
                // None: he has hung up, or his time was up.
                let Some(asker) = self.waiting.asker(client) else { continue };
                // Else nobody would know of the lease, nor compute the value until its time is over.
                if self.waiting.is_gone(client) {
                    continue;
                }
                let (answer, has_lease) = match asker {
                    Asker::Value { .. } if !self.is_master() => (Answer::Leased(None, None), false),
                    Asker::Value { lease_ms } => (Answer::Leased(None, Some(self.lend(ticket, call, lease_ms))), true),
                    Asker::Result | Asker::Raw => (Answer::Error(is_value.into()), false),
                };
                let told = match waiter {
                    Waiter::Client(client) => self.waiting.take(client).map(|client| (client, answer)),
                    Waiter::Slot(client, at) => self.gather(client, at, answer),
                    Waiter::Message(_) => None,
                };
                self.answers.extend(told);
                self.arm_soon();
                if has_lease {
                    return;
                }
            }
            match self.fills.give_up(ticket).and_then(|given_up| given_up.send) {
                Some((successor, _)) => ticket = successor,
                None => return,
            }
        }
    }

    /// An answer that its client will not read: a lease that it tells of is the next one's.
    pub(in crate::server) fn not_read(&mut self, answer: &Answer) {
        let Answer::Leased(_, Some(token)) = answer else { return };
        if let Some(ticket) = self.lease_of(token.as_bytes()) {
            self.lease_ended(ticket);
        }
    }

    /// The same of a client that has gone after it was given an answer, and before it was sent.
    pub(in crate::server) fn gone_before_answer(&mut self, client: ClientHandle) {
        if self.values.leases.len() == 0 {
            return;
        }
        let answer = self.answers.iter().find(|(answered, _)| answered.handle() == client);
        if let Some(answer) = answer.map(|(_, answer)| answer.clone()) {
            self.not_read(&answer);
        }
    }

    /// Leases whose time is over.
    pub(in crate::server) fn end_leases(&mut self, now: Instant) {
        for _ in 0..LATE {
            let Some(ticket) = self.values.leases.take_over(now) else { return };
            self.lease_ended(ticket);
        }
    }

    /// The next who waits computes the value; one that stands is left alone for a moment.
    pub(in crate::server) fn lease_ended(&mut self, ticket: u64) {
        self.values.leases.end(ticket);
        let Some(given_up) = self.fills.give_up(ticket) else { return };
        self.with_stats(&given_up.call, |stats| stats.lease_ends += 1);
        self.rest(&given_up.call);
        if let Some((ticket, call)) = given_up.send {
            self.send(ticket, &call);
        }
    }

    /// BEAR.FORGET.
    pub fn forget_lease(&mut self, ctx: Context, space_name: &[u8], token: &[u8]) -> Result<(), String> {
        let space = self.space_here(ctx, space_name)?;
        if !self.is_master() {
            return Err("READONLY leases are the master's".into());
        }
        self.check_owned(ctx, space)?;
        self.key.clear();
        crate::core::calls::names::write_prefix(space_name, self.deployment, &mut self.key);
        self.key.push(b':');
        let ticket =
            self.lease_of(token).filter(|ticket| self.fills.key(*ticket).is_some_and(|key| key.starts_with(&self.key)));
        ticket.into_iter().for_each(|ticket| self.lease_ended(ticket));
        ctx.reply().integer(ticket.is_some().into());
        redis_api::wake();
        Ok(())
    }

    /// What is left of the lease of an entry.
    pub(in crate::server) fn lease_left_ms(&self, key: &[u8]) -> Option<i64> {
        let ends = self.fills.last_ticket(key).and_then(|ticket| self.values.leases.ends(ticket))?;
        Some(ends.saturating_duration_since(Instant::now()).as_millis() as i64)
    }

    /// The ticket of the lease that a token names, if it is under way.
    pub(in crate::server) fn lease_of(&self, token: &[u8]) -> Option<u64> {
        self.values.leases.ticket(token).filter(|ticket| self.values.leases.ends(*ticket).is_some())
    }
}

/// How long the caller would compute it.
fn lease_ms(section: &Section, query: &Query, own: Option<u64>) -> Result<u64, String> {
    match query.computed() {
        Some(computed) => Ok(own.unwrap_or(computed.lease_ms)),
        None => Err(no_value(section, query, "ask for it with BEAR.QUERY")),
    }
}
