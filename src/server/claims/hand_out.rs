//! The first job that may be begun becomes a claim: a token, a lease, a record in the hash of claims; one unit with whatever
//! else the callback writes.

use std::sync::Arc;

use smallvec::SmallVec;

use super::ahead::HeldJob;
use super::space::WorkSpace;
use super::Claims;
use crate::core::catalog::claim::Keep;
use crate::core::claims::queue::Claim;
use crate::core::claims::ready::Wanted;
use crate::core::claims::record::{Started, StartedNumbers, Total};
use crate::core::jobs::job_id::JobId;
use crate::core::values::priority::Priority;
use crate::keyspace::{claims as keys, jobs, slots};
use crate::mutations;
use crate::redis_api::{Context, Value};
use crate::server::queues::wall_ms;
use crate::server::Server;

/// Starts that are added before the old ones are trimmed.
const UNTRIMMED: u32 = 64;

/// Payloads of claimed jobs that are kept in memory, and how large each may be.
const MAX_HELD: usize = 10_000;
const MAX_HELD_BYTES: usize = 2 << 10;

/// How somebody claims.
#[derive(Debug, Clone, Copy)]
pub struct Ask {
    /// None: as the job's definition says.
    pub lease_ms: Option<u64>,
    pub worker: u32,
}

/// Records of claims that are still to be written.
#[derive(Default)]
pub struct Unwritten {
    /// One after the other.
    text: Vec<u8>,
    /// Each job, and where its record ends.
    jobs: SmallVec<[(JobId, usize); 4]>,
}

/// A job that was claimed, as its worker is told.
pub struct Taken {
    pub id: JobId,
    pub job: Arc<str>,
    pub data: Box<[u8]>,
    pub attempt: u32,
    pub attempts: u32,
    pub token: u64,
    pub lease_ms: u64,
    pub priority: Priority,
    pub space: Arc<str>,
    pub traceparent: Option<Box<[u8]>>,
}

impl Taken {
    /// Writes its map.
    pub fn reply(&self, ctx: Context) {
        let reply = ctx.reply();
        let number = |name: &str, number: u64| {
            reply.text(name);
            reply.integer(number as i64);
        };
        reply.map(10 + usize::from(self.traceparent.is_some()));
        reply.text("id");
        reply.bytes(self.id.text().as_bytes());
        reply.text("job");
        reply.text(&self.job);
        reply.text("data");
        reply.bytes(&self.data);
        number("attempt", self.attempt.into());
        number("attempts", self.attempts.into());
        number("token", self.token);
        number("lease_ms", self.lease_ms);
        number("priority", self.priority.into());
        number("enqueued", self.id.ms);
        reply.text("space");
        reply.text(&self.space);
        if let Some(text) = &self.traceparent {
            reply.text("traceparent");
            reply.bytes(text);
        }
    }

    /// The same for a client that waits.
    pub fn value(self) -> Value {
        let number = |number: u64| Value::Integer(number as i64);
        let mut fields = vec![
            ("id", Value::Bytes(self.id.text().as_bytes().into())),
            ("job", Value::text(&*self.job)),
            ("data", Value::Bytes(self.data)),
            ("attempt", number(self.attempt.into())),
            ("attempts", number(self.attempts.into())),
            ("token", number(self.token)),
            ("lease_ms", number(self.lease_ms)),
            ("priority", number(self.priority.into())),
            ("enqueued", number(self.id.ms)),
            ("space", Value::text(&*self.space)),
        ];
        fields.extend(self.traceparent.map(|text| ("traceparent", Value::Bytes(text))));
        Value::Map(fields)
    }
}

pub fn wanted(types: &[Arc<str>]) -> Wanted<'_> {
    match types {
        [] => Wanted::Any,
        types => Wanted::Types(types),
    }
}

impl Server {
    /// Claims the first job of a space that is of one of these types, if any may be begun.
    pub(super) fn hand_out(&mut self, ctx: Context, name: &Arc<str>, types: &[Arc<str>], ask: Ask) -> Option<Taken> {
        if !self.claims.spaces.get(name).is_none_or(|space| slots::is_here(&space.prefix)) {
            return None;
        }
        let mut unwritten = Unwritten::default();
        let taken = self.hand_out_unwritten(ctx, name, types, ask, &mut unwritten);
        self.write_claims(ctx, name, &unwritten);
        self.tell_claimed(ctx, taken.as_slice(), ask);
        taken
    }

    /// Writes what [`Server::hand_out_unwritten`] has left to be written, in the same callback.
    pub(super) fn write_claims(&self, ctx: Context, name: &Arc<str>, unwritten: &Unwritten) {
        let Some(space) = self.claims.spaces.get(name).filter(|_| !unwritten.jobs.is_empty()) else { return };
        let mut from = 0;
        let mut records: SmallVec<[(JobId, &[u8]); 4]> = SmallVec::new();
        for (id, end) in &unwritten.jobs {
            records.push((*id, &unwritten.text[from..*end]));
            from = *end;
        }
        // The type of the key was looked at when the space was read, and whenever another hand touched it.
        let _ = keys::set(ctx, &space.keys.claims, &records);
    }

    /// The same, but for the record in the hash of claims: those of many jobs are written at once.
    pub(super) fn hand_out_unwritten(
        &mut self,
        ctx: Context,
        name: &Arc<str>,
        types: &[Arc<str>],
        ask: Ask,
        unwritten: &mut Unwritten,
    ) -> Option<Taken> {
        let catalog = self.catalog.clone();
        let epoch = self.queues.epoch();
        let (now_ms, wall_us) = self.claims.moment();
        let Claims { spaces, greatest_token, workers, counts, .. } = &mut self.claims;
        let space = spaces.get_mut(name).filter(|space| space.is_loaded() && space.wrong_type.is_none())?;
        let (_, section) = catalog.section(space.section.as_bytes())?;
        loop {
            let pick = space.queue.pick(wanted(types), now_ms)?;
            let facts = pick.facts().clone();
            let read = space.ahead.read(ctx, &space.keys.work, facts.id);
            let Some(of) = section.claimed_job(facts.name.as_bytes()) else {
                // The catalog has it no more.
                space.queue.set_stopped(&facts.name, true);
                continue;
            };
            let Some(HeldJob { data, attempts, backoff_ms, traceparent }) = read else {
                // Another hand has taken it out of the stream, or written something else there.
                space.queue.remove(&facts);
                space.tried.remove(&facts.id);
                continue;
            };
            let is_small = data.len() <= MAX_HELD_BYTES && space.held.len() < MAX_HELD;
            if of.claim.keep != Keep::Jobs(0) && is_small && !space.updated.contains(&facts.id) {
                let held = HeldJob { data: data.clone(), attempts, backoff_ms, traceparent: traceparent.clone() };
                space.held.insert(facts.id, held);
            }
            let data = match space.updated.contains(&facts.id) {
                true => keys::get(ctx, &space.keys.data, facts.id, |bytes| Box::<[u8]>::from(bytes)).unwrap_or(data),
                false => data,
            };
            let token = space.next_token(ctx, epoch, wall_us);
            *greatest_token = token.max(*greatest_token);
            let claim = Claim {
                token,
                attempt: space.tried.get(&facts.id).map_or(1, |tried| tried + 1),
                worker: ask.worker,
                started_ms: wall_us / 1_000,
                lease_ms: ask.lease_ms.unwrap_or(of.claim.lease_ms),
                deadline_ms: now_ms
                    + ask.lease_ms.unwrap_or(of.claim.lease_ms) / if mutations::is("half-lease") { 2 } else { 1 },
                cancelled: false,
            };
            if !mutations::is("no-claim-record") {
                workers.record(&claim).write(&mut unwritten.text);
                unwritten.jobs.push((facts.id, unwritten.text.len()));
            }
            space.note_start(ctx, token, facts.group);
            let taken = Taken {
                id: facts.id,
                job: facts.name.clone(),
                data,
                attempt: claim.attempt,
                attempts: attempts.unwrap_or(of.claim.attempts),
                token,
                lease_ms: claim.lease_ms,
                priority: facts.priority,
                space: name.clone(),
                traceparent,
            };
            space.queue.hold(pick, claim, now_ms);
            if mutations::is("handed-out-twice") {
                space.queue.give_back(taken.id, now_ms);
            }
            space.seen.insert(ask.worker, now_ms);
            space.totals.add(Total::Claimed, 1);
            space.totals_changed = true;
            let waited_ms = (wall_us / 1_000).saturating_sub(facts.due_ms.unwrap_or(0).max(facts.id.ms));
            counts.count(name, |counts| {
                counts.claimed += 1;
                if taken.attempt == 1 {
                    counts.wait.record_ms(waited_ms);
                }
            });
            return Some(taken);
        }
    }
}

impl Server {
    /// Tokens of a space grow from a row's fence on: data of the queue that are lost since knew of claims up to it, and
    /// bear.complete takes none of those.
    pub(super) fn claim_above(&mut self, ctx: Context, name: &Arc<str>, fence: Option<u64>) {
        let epoch = self.queues.epoch();
        let (_, wall_us) = self.claims.moment();
        let Some(space) = self.claims.spaces.get_mut(name) else { return };
        if let Some(fence) = fence.filter(|fence| space.tokens.fenced(*fence)) {
            space.keep_token(ctx, fence, epoch, wall_us);
        }
    }
}

impl WorkSpace {
    fn next_token(&mut self, ctx: Context, epoch: i64, wall_us: u64) -> u64 {
        let (token, is_kept) = self.tokens.next(wall_us);
        if is_kept {
            self.keep_token(ctx, token, epoch, wall_us);
        }
        token
    }

    fn keep_token(&self, ctx: Context, token: u64, epoch: i64, wall_us: u64) {
        let text = format!("{token} {epoch} {wall_us}");
        jobs::write(ctx, c"SET", &[&self.keys.token, text.as_bytes()]);
    }

    /// Where there is a rate: when the claim was begun outlives the process.
    fn note_start(&mut self, ctx: Context, token: u64, group: Option<u64>) {
        let Some(window_ms) = self.queue.window_ms() else { return };
        let mut numbers = StartedNumbers::default();
        jobs::append(ctx, &self.keys.started, &Started { token, group }.fields(&mut numbers));
        self.started_untrimmed += 1;
        if self.started_untrimmed >= UNTRIMMED {
            self.started_untrimmed = 0;
            let before = JobId { ms: wall_ms().saturating_sub(window_ms), seq: 0 };
            jobs::trim(ctx, &self.keys.started, before);
        }
    }
}
