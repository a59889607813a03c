//! BEAR.PUT: what an application has computed becomes an entry, and the answer of who waits for it.
//!
//! ```text
//! with a token:    the fill of its lease finishes: who asked before a strike is answered, it is stored unless struck
//! without a token: it takes the place of the fills of its entry, whose leases end, and of whatever stands; while it is read
//!                  aside it is a fill, so that what changes meanwhile strikes it
//! ```
//! JSON is read, and compressed, by the thread of Redis where it is small, else aside while the client waits.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;

use super::call::{Call, Words};
use super::fetching::{Belonging, Storing};
use super::query::no_value;
use crate::core::cache::fills::{Changed, Ended};
use crate::core::cache::membership::{Found, ListedRows};
use crate::core::cache::stored_form::{self, Content};
use crate::core::calls::names::Deployment;
use crate::core::catalog::life::{Age, Life, Span};
use crate::core::catalog::slots::share_slot;
use crate::core::catalog::ValueKind;
use crate::core::events::fill::FillEnd;
use crate::core::values::json_compact;
use crate::core::values::value::{shorten, Value};
use crate::mutations;
use crate::redis_api::{self, Answer, BlockedClient, Context};
use crate::server::done_aside::{Aside, FAILED};
use crate::server::schedules::ScheduledFetch;
use crate::server::{errors, Server};

/// A longer JSON is read aside.
const LARGE: usize = 64 << 10;

/// A longer value is compressed aside: this takes about 0.05 ms.
const LARGE_TO_COMPRESS: usize = 16 << 10;

/// Sections of which rows may be named for one value.
const MAX_SECTIONS: usize = 32;

/// While the server allows no writes, we look again after this.
const PAUSED: std::time::Duration = std::time::Duration::from_millis(10);

/// What a client says of a value.
pub struct PutRequest<'a> {
    /// The call.
    pub words: Words<'a>,
    pub value: &'a [u8],
    pub token: Option<&'a [u8]>,
    /// None: as the catalog says.
    pub ttl_ms: Option<u64>,
    pub tags: Words<'a>,
    /// Rows that it is made of: a section, and ids.
    pub rows: Vec<(&'a [u8], Words<'a>)>,
    pub if_absent: bool,
}

/// A value that is about to be stored, but for its JSON.
struct Put {
    call: Rc<Call>,
    by: By,
    metas: Vec<Box<[u8]>>,
    /// What predicates compare with.
    compared: Arc<[Value]>,
    rows: u32,
    ttl_ms: Option<u64>,
    if_absent: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    /// Whose lease has this ticket.
    Lease(u64),
    Anybody,
    /// The same, whose value was read aside under this ticket.
    Expected(u64),
}

/// Values whose JSON is read aside.
#[derive(Default)]
pub struct LargeValues {
    pending: BTreeMap<u64, (BlockedClient, Put)>,
    /// Read, in the order in which they were.
    checked: VecDeque<(u64, Result<Content, String>)>,
    tickets: u64,
}

impl Server {
    /// BEAR.PUT: replies whether it was stored, at once or when its JSON has been read.
    pub fn put_value(&mut self, ctx: Context, space_name: &[u8], request: &PutRequest) -> Result<(), String> {
        let space = self.space_here(ctx, space_name)?;
        if !self.is_master() {
            return Err("READONLY values are put on the master; a write here would make this replica differ".into());
        }
        self.check_owned(ctx, space)?;
        self.look_at_epochs(ctx);
        self.settle();
        self.have_feed();
        let call = Rc::new(Call::new(self, space_name, space, &request.words)?);
        let Some(computed) = call.computed() else {
            return Err(no_value(&call.catalog.sections[call.section], call.query(), "nothing can be put there"));
        };
        let rows = self.rows_named(&call, request)?;
        let row_count = rows.iter().map(|(_, ids)| ids.len()).sum::<usize>() as u32;
        let asked = call.asked(self.deployment);
        let found = Found { listed: rows, ..Found::default() };
        let compared = asked.compared(&found, 0);
        let metas = asked.named(found.listed, &request.tags).map_err(errors::usage)?;
        let by = match request.token {
            None => By::Anybody,
            Some(token) => match self.lease_of(token).filter(|ticket| self.fills.key(*ticket) == Some(&call.key)) {
                Some(ticket) => By::Lease(ticket),
                None if mutations::is("lease-late-put") && self.values.leases.ticket(token).is_some() => By::Anybody,
                None => {
                    self.with_stats(&call, |stats| stats.puts_refused += 1);
                    ctx.reply().integer(0);
                    return Ok(());
                }
            },
        };
        let limit = self.config.max_entry_bytes as usize;
        if request.value.len() > limit {
            if let By::Lease(ticket) = by {
                self.lease_ended(ticket);
            }
            let got = request.value.len();
            return Err(format!("TOOLARGE a value may hold {limit} bytes (bear.max-entry-bytes), got {got}"));
        }
        if request.if_absent && self.has_value(&call) {
            self.with_stats(&call, |stats| stats.puts_refused += 1);
            ctx.reply().integer(0);
            return Ok(());
        }
        let put =
            Put { call, by, metas, compared, rows: row_count, ttl_ms: request.ttl_ms, if_absent: request.if_absent };
        let (kind, compress) = (computed.kind, put.call.query().compress);
        let len = request.value.len();
        let takes_long = match kind {
            ValueKind::Json => len > LARGE,
            ValueKind::Bytes => false,
        };
        let is_compressed = compress.is_some_and(|from| len >= from);
        if (takes_long || (is_compressed && len > LARGE_TO_COMPRESS)) && !ctx.flags().cannot_block() {
            self.check_value_aside(ctx, put, kind, request.value);
            return Ok(());
        }
        let content = content(kind, compress, request.value)?;
        let is_stored = self.put_checked(ctx, put, content);
        ctx.reply().integer(is_stored.into());
        // Not by a timer that is due: it would run before the reply is sent.
        redis_api::wake();
        Ok(())
    }

    /// The rows that are named, by section, with ids in their canonical form.
    fn rows_named(&self, call: &Call, request: &PutRequest) -> Result<ListedRows, String> {
        let mut rows = ListedRows::new();
        let own = &call.catalog.sections[call.section];
        for (name, ids) in &request.rows {
            let Some((index, section)) = call.catalog.section(name) else {
                return Err(format!("ERR no section '{}', of which rows are named", shorten(name)));
            };
            if section.tenant.is_some() && section.tenant != own.tenant {
                let (name, own) = (&section.name, &own.name);
                return Err(format!("ERR rows of '{name}' are kept per tenant, and the values of '{own}' are not"));
            }
            if self.deployment == Deployment::Cluster && !share_slot(own, section) {
                let (name, own) = (&section.name, &own.name);
                return Err(format!(
                    "ERR in a cluster the rows of '{name}' are in another slot than the values of '{own}'; one group for both \
                     would put them into one"
                ));
            }
            let ids: Vec<Box<str>> = ids.iter().map(|id| self.row_id(index, id)).collect::<Result<_, _>>()?;
            match rows.iter_mut().find(|(named, _)| *named == section.name) {
                Some((_, named)) => named.extend(ids),
                None => rows.push((section.name.clone(), ids)),
            }
            if rows.len() > MAX_SECTIONS {
                return Err(format!("TOOLARGE rows of at most {MAX_SECTIONS} sections may be named"));
            }
        }
        Ok(rows)
    }

    fn check_value_aside(&mut self, ctx: Context, mut put: Put, kind: ValueKind, value: &[u8]) {
        if put.by == By::Anybody {
            let (ticket, ended) = self.fills.expect(&put.call.key, put.call.clone());
            self.forget_replaced(ended);
            put.by = By::Expected(ticket);
        }
        let large = &mut self.values.large;
        large.tickets += 1;
        let ticket = large.tickets;
        let compress = put.call.query().compress;
        large.pending.insert(ticket, (ctx.block(), put));
        let value = value.to_vec();
        let failed = Err(format!("ERR the value is not stored: {FAILED}"));
        self.workers.aside(Some(Aside::Value(ticket, failed)), move || {
            Some(Aside::Value(ticket, content(kind, compress, &value)))
        });
    }

    pub(in crate::server) fn value_checked(&mut self, ticket: u64, result: Result<Content, String>) {
        self.values.large.checked.push_back((ticket, result));
    }

    /// Stores what has been read aside.
    pub(in crate::server) fn put_what_is_checked(&mut self, ctx: Context, paused: bool) {
        if paused && !self.values.large.checked.is_empty() {
            redis_api::arm(PAUSED);
            return;
        }
        while let Some((ticket, result)) = self.values.large.checked.pop_front() {
            let Some((client, put)) = self.values.large.pending.remove(&ticket) else { continue };
            let by = put.by;
            let answer = match result {
                Ok(_) if !self.is_master() => {
                    Answer::Error("READONLY this server has become a replica; nothing is stored".into())
                }
                Ok(content) => Answer::Integer(self.put_checked(ctx, put, content).into()),
                Err(text) => Answer::Error(text.into()),
            };
            if let (By::Expected(ticket), Answer::Error(_)) = (by, &answer) {
                let send = self.fills.give_up(ticket).and_then(|given_up| given_up.send);
                send.into_iter().for_each(|(successor, call)| self.send(successor, &call));
            }
            self.answers.push_back((client, answer));
        }
    }

    /// True: it is stored, as soon as its metadata is.
    fn put_checked(&mut self, ctx: Context, put: Put, content: Content) -> bool {
        let call = put.call.clone();
        let is_stored = !(put.if_absent && self.has_value(&call)) && self.put_now(ctx, put, content);
        self.with_stats(&call, |stats| match is_stored {
            true => stats.puts_stored += 1,
            false => stats.puts_refused += 1,
        });
        is_stored
    }

    /// Fills that a newer value has ended.
    fn forget_replaced(&mut self, ended: Vec<u64>) {
        for ended in ended {
            self.values.leases.end(ended);
            self.scheduled_fetch_ended(ended, || ScheduledFetch::Struck);
        }
    }

    fn put_now(&mut self, ctx: Context, put: Put, content: Content) -> bool {
        let (ticket, answer, may_store, call) = match put.by {
            By::Lease(ticket) | By::Expected(ticket) => {
                // It may have ended while the JSON was read.
                let is_under_way = self.values.leases.end(ticket) || matches!(put.by, By::Expected(_));
                let ended = Ended::Got(&put.metas);
                let belonging = Belonging::new(put.compared.clone());
                let concerns = |call: &Rc<Call>, changed: Changed| belonging.is_concerned(call, changed);
                let finished = is_under_way.then(|| self.fills.finish(ticket, ended, concerns)).flatten();
                let Some(finished) = finished else {
                    return false;
                };
                if let Some((successor, call)) = &finished.send {
                    self.send(*successor, call);
                }
                self.with_stats(&finished.call, |stats| stats.struck += u64::from(finished.struck));
                (ticket, finished.answer, finished.store || mutations::is("lease-no-strike"), finished.call)
            }
            By::Anybody => {
                let replaced = self.fills.replace(&put.call.key);
                self.forget_replaced(replaced.ended);
                (replaced.ticket, replaced.answer, true, put.call)
            }
        };
        let span = match put.ttl_ms {
            Some(ttl_ms) => exact_span(&call.query().life, ttl_ms),
            None => self.span(&call.query().life, ticket, None),
        };
        let storing = Storing {
            span,
            rows: put.rows,
            took_us: 0,
            metas: put.metas,
            compared: put.compared,
            content: content.clone(),
        };
        let is_stored = may_store
            && self.keyspace.may_store_under(ctx, &call.key)
            && self.store_content(ctx, ticket, &call, storing);
        if !is_stored {
            // What stands may be older than what is now answered.
            self.keyspace.drop_older(&call.key, ticket);
        }
        let end = if is_stored { FillEnd::Stored } else { FillEnd::Discarded };
        self.answer_with(answer, content, end);
        is_stored
    }

    /// Would BEAR.GET answer with a value?
    fn has_value(&self, call: &Call) -> bool {
        let is_over = |entry| self.age_of(&call.query().life, entry) == Age::Over;
        if self.would_withhold(call.section) {
            return false;
        }
        self.keyspace.publishing(&call.key).is_some()
            || self.keyspace.live(&call.key).is_some_and(|entry| !is_over(entry))
    }
}

/// Of exactly so many ms; how long it is served beyond them is the catalog's.
fn exact_span(life: &Life, ttl_ms: u64) -> Span {
    Life { ttl_ms, jitter_percent: 0, ..*life }.span(0, None)
}

/// A value as it is stored.
fn content(kind: ValueKind, compress: Option<usize>, value: &[u8]) -> Result<Content, String> {
    let plain = match kind {
        ValueKind::Bytes => value.to_vec(),
        ValueKind::Json => json_compact::compact(value).map_err(|error| format!("ERR the value {error}"))?,
    };
    let compressed = compress.and_then(|from| stored_form::compress(&plain, from));
    Ok(Content::new(plain, compressed))
}
