//! Fetches: sent to the workers, their outcomes answered, stored, or struck.

use std::cell::OnceCell;
use std::hash::BuildHasher;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::call::Call;
use super::verify;
use super::waiting::{MessageId, Waiter};
use crate::core::cache::asked::Asked;
use crate::core::cache::fetch::{FetchError, FetchRequest, Fetched};
use crate::core::cache::fills::{Changed, Ended};
use crate::core::cache::index::Facts;
use crate::core::cache::moment::Moment;
use crate::core::cache::stored_form::Content;
use crate::core::calls::names::{hash_tag, Deployment};
use crate::core::catalog::life::{Life, Span};
use crate::core::changes::dependency::Dependency;
use crate::core::changes::looks::Looks;
use crate::core::events::fill::FillEnd;
use crate::core::values::value::Value;
use crate::keyspace::Publication;
use crate::mutations;
use crate::postgres::ServerIdentity;
use crate::redis_api::{Answer, BlockedClient, Context};
use crate::server::schedules::ScheduledFetch;
use crate::server::{errors, Server};
use crate::workers::{Outcome, Request};

/// Who are to be told how a fetch has ended.
pub struct Telling {
    waiters: std::vec::IntoIter<Waiter>,
    answer: Answer,
    /// The stored form of a result, where it is another.
    compressed: Option<Arc<Vec<u8>>>,
    end: FillEnd,
}

/// Who is told something.
pub(in crate::server) enum Told {
    Message(MessageId, Answer, FillEnd),
    Client(BlockedClient, Answer),
    /// A part of a reply has come, of which others are missing.
    Part,
}

/// What is known of Postgres.
#[derive(Debug, Clone, Default)]
pub struct PostgresView {
    /// None: not yet tried.
    pub up: Option<bool>,
    /// Connections that found another server, timeline or start than the one before.
    pub changes: u64,
    /// Results of connections made before this one are of a server that is no more.
    pub since_connection: u64,
    pub identity: Option<ServerIdentity>,
}

/// What is to be an entry.
pub(in crate::server) struct Storing {
    pub span: Span,
    pub rows: u32,
    pub took_us: u32,
    /// Names of the metadata sets that it belongs to, sorted.
    pub metas: Vec<Box<[u8]>>,
    /// What predicates compare with: see [`Fetched::compared`].
    pub compared: Arc<[Value]>,
    pub content: Content,
}

impl Server {
    /// Has workers at hand; the error says why there are none.
    pub(in crate::server) fn begin_fetching(&mut self) -> Result<(), String> {
        self.workers.begin(&self.config).map_err(errors::usage)?;
        if self.workers.current().is_none() {
            return Err(format!(
                "POSTGRES no URL is configured; set bear.postgres-url, or {} in the server's environment",
                crate::server::config::URL_VARIABLE
            ));
        }
        self.begin_feed();
        Ok(())
    }

    /// Sends the fetch of a call to the workers; what the application computes, to who waits for it.
    pub(in crate::server) fn send(&mut self, ticket: u64, call: &Rc<Call>) {
        if call.computed().is_some() {
            return self.lend_to_waiter(ticket, call);
        }
        self.send_fetch(ticket, call, Some(Box::new(call.asked(self.deployment))));
    }

    /// The same for a result that is only looked at.
    pub(in crate::server) fn send_alone(&mut self, ticket: u64, call: &Call) {
        self.send_fetch(ticket, call, None);
    }

    fn send_fetch(&mut self, ticket: u64, call: &Call, membership: Option<Box<Asked>>) {
        let Some(workers) = self.workers.current() else { return };
        let Some(plan) = call.query().plan() else { return };
        let request = FetchRequest {
            ticket,
            plan: plan.clone(),
            params: call.params(),
            deadline: Instant::now() + self.config.query_timeout(),
            max_result_bytes: self.config.max_result_bytes as usize,
            compress_from: call.query().compress,
            membership,
        };
        workers.submit(Request::Fetch(request));
    }

    /// Takes one outcome from the workers.
    pub(in crate::server) fn take_outcome(&mut self, ctx: Context, outcome: Outcome) {
        match outcome {
            Outcome::Fetched { ticket, result, .. } if verify::is_ours(ticket) => {
                self.verify_fetched(ctx, ticket, result)
            }
            Outcome::Fetched { ticket, connection, result } => self.fetched(ctx, ticket, connection, result),
            Outcome::Present { ticket, result } => self.rows_present(ticket, result),
            Outcome::Connected { connection, identity, changed } => {
                self.postgres.up = Some(true);
                self.postgres.identity = Some(identity);
                if changed {
                    self.postgres.since_connection = connection;
                    // A crash or a failover may have erased what was cached.
                    self.postgres.changes += 1;
                    log::warn!("Postgres is another server, timeline or start than before: all spaces are cold");
                    self.make_all_cold();
                }
                self.check_catalog_once();
            }
            Outcome::Down { error } => {
                if self.postgres.up != Some(false) {
                    log::warn!("Postgres is away: {error}");
                }
                self.postgres.up = Some(false);
            }
            Outcome::Up => self.postgres.up = Some(true),
            Outcome::Validated { ticket, report } => self.catalog_checked(ticket, report),
            Outcome::Proposed { ticket, text } => self.proposed(ticket, text),
        }
    }

    fn fetched(&mut self, ctx: Context, ticket: u64, connection: u64, result: Result<Fetched, FetchError>) {
        let ended = match &result {
            Ok(fetched) => Ended::Got(&fetched.metas),
            Err(_) => Ended::Failed,
        };
        self.keyspace.warm.ended(ticket);
        let compared = result.as_ref().map_or_else(|_| Arc::default(), |fetched| fetched.compared.clone());
        let belonging = Belonging::new(compared);
        let concerns = |call: &Rc<Call>, changed: Changed| belonging.is_concerned(call, changed);
        let Some(finished) = self.fills.finish(ticket, ended, concerns) else { return };
        let call = &finished.call;
        if finished.struck {
            self.keyspace.warm.dropped(&call.key);
        }
        if let Some((ticket, successor)) = &finished.send {
            self.send(*ticket, successor);
        }
        let mut fetched = match result {
            Ok(fetched) => fetched,
            Err(error) => {
                self.scheduled_fetch_ended(ticket, || ScheduledFetch::Failed(fetch_error(call, &error)));
                return self.answer_with_error(&finished.call, &error, finished.answer);
            }
        };
        let content = Content::new(std::mem::take(&mut fetched.json), fetched.compressed.take());
        self.count_fill(call, &fetched, finished.struck);
        let may_be_stored = connection >= self.postgres.since_connection && self.is_derived(call.query());
        if finished.store && may_be_stored {
            self.store(ctx, ticket, call, fetched, content.clone());
        } else {
            // What is stored may be older than what is now answered.
            self.keyspace.drop_older(&call.key, ticket);
        }
        let is_stored = self.keyspace.publishing(&call.key).is_some();
        self.scheduled_fetch_ended(ticket, || match (finished.store, is_stored) {
            (false, _) => ScheduledFetch::Struck,
            (true, false) => ScheduledFetch::NotStored,
            (true, true) => ScheduledFetch::Stored,
        });
        let end = match (finished.struck, is_stored) {
            (true, _) => FillEnd::Struck,
            (false, true) => FillEnd::Stored,
            (false, false) => FillEnd::Discarded,
        };
        self.answer_with(finished.answer, content, end);
    }

    fn answer_with_error(&mut self, call: &Call, error: &FetchError, waiters: Vec<Waiter>) {
        self.with_stats(call, |stats| stats.failed += 1);
        self.rest(call);
        let text = fetch_error(call, error);
        self.answer(waiters, Answer::Error(text.into()), FillEnd::Failed);
    }

    /// Tells waiters, some of them a tick: there may be ten thousand. Until then each may still run out of time.
    pub(in crate::server) fn answer(&mut self, waiters: Vec<Waiter>, answer: Answer, end: FillEnd) {
        // The tick that is under way goes on until all are told. A timer armed in it would come a millisecond later, and keep
        // what comes meanwhile waiting for as long.
        self.telling.push_back(Telling { waiters: waiters.into_iter(), answer, compressed: None, end });
    }

    /// The same of a result, each in the form that he takes.
    pub(in crate::server) fn answer_with(&mut self, waiters: Vec<Waiter>, content: Content, end: FillEnd) {
        let Content { plain, compressed } = content;
        self.telling.push_back(Telling { waiters: waiters.into_iter(), answer: Answer::Bytes(plain), compressed, end });
    }

    /// The next who is to be told something.
    pub(in crate::server) fn next_told(&mut self) -> Option<Told> {
        if let Some((client, answer)) = self.answers.pop_front() {
            return Some(Told::Client(client, answer));
        }
        loop {
            let Telling { waiters, answer, compressed, end } = self.telling.front_mut()?;
            let (waiter, end) = (waiters.next(), *end);
            let answer = waiter.map(|_| answer.clone());
            let compressed = waiter.and_then(|_| compressed.clone());
            // Else another tick would come to find nobody.
            if waiters.as_slice().is_empty() {
                self.forget_told();
            }
            match (waiter, answer) {
                (Some(Waiter::Client(client)), Some(answer)) => {
                    if let Some((client, asker)) = self.waiting.take_asker(client) {
                        return Some(Told::Client(client, asker.told(answer, compressed)));
                    }
                }
                (Some(Waiter::Slot(client, at)), Some(answer)) => {
                    let answer = self.waiting.asker(client).map_or(answer.clone(), |asker| asker.told(answer, None));
                    let told = self.gather(client, at, answer);
                    return Some(told.map_or(Told::Part, |(client, answer)| Told::Client(client, answer)));
                }
                (Some(Waiter::Message(message)), Some(answer)) => return Some(Told::Message(message, answer, end)),
                _ => {}
            }
        }
    }

    fn forget_told(&mut self) {
        if let Some(Telling { answer, .. }) = self.telling.pop_front() {
            self.let_go_of(answer);
        }
    }

    /// Ends the threads; who waits for a fetch or a reload is told.
    pub(in crate::server) fn end_fetching(&mut self) {
        self.workers.end();
        loop {
            // A successor of one that ends is another one.
            let tickets = self.fills.tickets(|call| call.computed().is_none());
            if tickets.is_empty() {
                break;
            }
            for ticket in tickets {
                let what = "no URL is configured any more".to_owned();
                let error = FetchError::Unavailable { what, host: "none".into(), retry_in_ms: 0 };
                self.fetched_by_nobody(ticket, error);
            }
        }
        self.cancel_reload("no URL is configured any more");
        self.end_proposing("no URL is configured any more");
        self.arm_soon();
    }

    /// Of Postgres; leases are none.
    pub(in crate::server) fn fetches_running(&self) -> usize {
        self.fills.running().saturating_sub(self.values.leases.len())
    }

    fn fetched_by_nobody(&mut self, ticket: u64, error: FetchError) {
        self.keyspace.warm.ended(ticket);
        if let Some(finished) = self.fills.finish(ticket, Ended::Failed, |_, _| true) {
            self.scheduled_fetch_ended(ticket, || ScheduledFetch::Failed(fetch_error(&finished.call, &error)));
            self.answer_with_error(&finished.call, &error, finished.answer);
        }
    }

    fn count_fill(&mut self, call: &Call, fetched: &Fetched, struck: bool) {
        let took_us = fetched.took_us.max(1);
        self.stats.fetch_us.record(took_us);
        self.with_stats(call, |stats| {
            stats.fills += 1;
            stats.struck += u64::from(struck);
            stats.fetch_us.record(took_us);
        });
    }

    /// A call of a catalog that has been replaced counts nowhere.
    pub(in crate::server) fn with_stats(
        &mut self,
        call: &Call,
        count: impl FnOnce(&mut crate::server::stats::SectionStats),
    ) {
        if Rc::ptr_eq(&call.catalog, &self.catalog) {
            count(self.stats.section(call.section));
        }
    }

    /// May we add to the server's memory? It evicts between commands only, so that a policy that evicts is given a
    /// little room; without one, `maxmemory` is the end.
    pub(in crate::server) fn has_memory(&self, ctx: Context) -> bool {
        ctx.memory_ratio() <= if self.evicts { 1.05 } else { 1.0 }
    }

    /// In a cluster, is the node of the entry's slot told of all that the entry depends on?
    fn is_of_one_slot(&self, call: &Call, metas: &[Box<[u8]>]) -> bool {
        let own = hash_tag(&call.prefix);
        let is_here = |key: &[u8]| hash_tag(key) == own;
        self.deployment == Deployment::Standalone
            || metas.iter().all(|set| is_here(set)) && call.dependencies.iter().all(|of| is_here(&of.space))
    }

    /// Has a result published, if it may be stored at all.
    fn store(&mut self, ctx: Context, ticket: u64, call: &Call, fetched: Fetched, content: Content) {
        let span = self.span(&call.query().life, ticket, fetched.lives_ms);
        let storing = Storing {
            span,
            rows: fetched.row_count.min(u32::MAX as usize) as u32,
            took_us: fetched.took_us.min(u64::from(u32::MAX)) as u32,
            metas: fetched.metas,
            compared: fetched.compared,
            content,
        };
        self.store_content(ctx, ticket, call, storing);
    }

    pub(in crate::server) fn span(&self, life: &Life, ticket: u64, until_ms: Option<i64>) -> Span {
        life.span(self.jitter.hash_one(ticket), until_ms)
    }

    /// Has an entry's content published; false where it may not be stored.
    pub(in crate::server) fn store_content(
        &mut self,
        ctx: Context,
        ticket: u64,
        call: &Call,
        storing: Storing,
    ) -> bool {
        let Storing { span, rows, took_us, mut metas, compared, content } = storing;
        if mutations::is("over-slots") {
            metas.retain(|set| hash_tag(set) == hash_tag(&call.prefix));
        }
        let storable = self.is_master()
            && self.may_store
            && self.keyspace.is_owned(call.section)
            && Rc::ptr_eq(&call.catalog, &self.catalog)
            && content.plain.len() <= self.config.max_entry_bytes as usize
            && span.fresh_ms > 0
            && (self.is_of_one_slot(call, &metas) || mutations::is("over-slots"))
            && self.keyspace.may_publish()
            && self.has_memory(ctx);
        if !storable {
            self.keyspace.drop_older(&call.key, ticket);
            self.with_stats(call, |stats| stats.discarded += 1);
            return false;
        }
        let expires = Instant::now() + Duration::from_millis(span.kept_ms);
        let now = self.begun.elapsed();
        let ends = Moment::at(now + Duration::from_millis(span.fresh_ms));
        let facts = Facts { ticket, rows, took_us, stored: Moment::at(now), ends };
        let dependencies = call.dependencies_with(&compared);
        let prefix_len = call.prefix.len() + 1;
        if content.compressed.is_some() {
            let (plain, stored) = (content.plain.len() as u64, content.stored().len() as u64);
            self.with_stats(call, |stats| {
                stats.compressed += 1;
                stats.compressed_plain_bytes += plain;
                stats.compressed_stored_bytes += stored;
            });
        }
        let reads = call.query().reads.clone();
        let publication = Publication { content, prefix_len, metas, expires, facts, dependencies, reads };
        self.keyspace.publish(&call.key, publication);
        true
    }
}

fn fetch_error(call: &Call, error: &FetchError) -> String {
    let section = &call.catalog.sections[call.section];
    errors::of_fetch(error, &section.name, section.queries[call.query].call.text())
}

/// Which rows belong in the result of a call, whose predicates compare with these values: worked out once a fetch, and only if a
/// row has changed meanwhile.
#[derive(Default)]
pub(in crate::server) struct Belonging {
    compared: Arc<[Value]>,
    dependencies: OnceCell<Box<[Dependency]>>,
    looks: Looks,
}

impl Belonging {
    pub(in crate::server) fn new(compared: Arc<[Value]>) -> Belonging {
        Belonging { compared, ..Belonging::default() }
    }

    /// May what has changed concern the result?
    pub(in crate::server) fn is_concerned(&self, call: &Call, changed: Changed) -> bool {
        let changes = match changed {
            Changed::Rows(changes) => changes,
            Changed::Listed(section, unchanged) => {
                return !call.query().reads.as_ref().is_some_and(|reads| reads.pass_over(section, unchanged));
            }
        };
        let dependencies = match self.compared.is_empty() {
            true => &call.dependencies,
            false => self.dependencies.get_or_init(|| call.dependencies_with(&self.compared)),
        };
        dependencies.iter().any(|dependency| changes.may_concern(dependency, &self.looks))
    }
}
