//! BEAR.ACK, BEAR.FAIL, BEAR.RELEASE: how a claim ends by its worker's word.
//!
//! Whoever does not hold the job any more is told `LOST` and what became of it, and changes nothing.

use std::sync::Arc;
use std::time::Instant;

use smallvec::SmallVec;

use super::ending::{Ending, Settling};
use crate::core::claims::attempts::{cut, AttemptError};
use crate::core::claims::backoff::delay_ms;
use crate::core::claims::queue::{Claim, State};
use crate::core::jobs::job_id::JobId;
use crate::core::jobs::payload;
use crate::core::values::value::shorten;
use crate::keyspace::claims as keys;
use crate::mutations;
use crate::redis_api::{Answer, Context, Value};
use crate::server::errands::Errand;
use crate::server::queues::parse_id;
use crate::server::Server;

/// Why a job failed, and how it goes on.
pub struct FailRequest<'a> {
    pub id: &'a [u8],
    pub token: &'a [u8],
    /// At most 2 KB, and `stack` 16 KB: longer ones have been cut.
    pub message: &'a [u8],
    pub stack: Option<&'a [u8]>,
    /// No attempt is left, however many there are; then without `backoff_ms`.
    pub is_final: bool,
    pub backoff_ms: Option<u64>,
}

/// Jobs that are acknowledged in one unit.
const AT_ONCE: usize = 50;

/// Bytes of a RESULT.
const MAX_RESULT: usize = 64 << 10;

/// A job and the token of its claim.
type Pair = (JobId, u64);

/// What was refused: as it was sent, and why.
type Refused = (Box<[u8]>, String);

impl Server {
    /// BEAR.ACK of at least one id with its token; `result`, JSON that is not checked yet, comes with one alone.
    pub fn ack(
        &mut self,
        ctx: Context,
        space: &[u8],
        pairs: &[(&[u8], &[u8])],
        result: Option<&[u8]>,
    ) -> Result<(), String> {
        let name = self.work_named(ctx, space)?;
        let checked: Result<SmallVec<[Pair; 4]>, String> =
            pairs.iter().map(|(id, token)| Ok((parse_id(id)?, parse_token(token)?))).collect();
        let checked = checked?;
        // Before it is read: megabytes of it would hold the thread.
        if let Some(len) = result.map(<[u8]>::len).filter(|len| *len > MAX_RESULT) {
            return Err(format!("TOOLARGE a RESULT may hold {MAX_RESULT} bytes, got {len}"));
        }
        let result = result.map(|text| checked_json("RESULT", text)).transpose()?;
        let is_loaded = self.claims.spaces.get(&name).is_none_or(|space| space.is_loaded());
        if let ([(id, token)], true) = (&checked[..], is_loaded) {
            check_claim(self, ctx, &name, *id, *token)?;
            self.conclude(ctx, &name, vec![Settling { id: *id, ending: Ending::Completed { result } }]);
            self.claims_changed(&name);
            ctx.reply().integer(1);
            return Ok(());
        }
        self.begin_errand(
            ctx,
            Acknowledging { name, pairs: checked, result, done: 0, accepted: 0, refused: Vec::new() },
        );
        Ok(())
    }

    /// BEAR.FAIL.
    pub fn fail(&mut self, ctx: Context, space: &[u8], request: &FailRequest) -> Result<(), String> {
        let (name, id, token) = self.claim_named(ctx, space, request.id, request.token)?;
        let (message, stack) = (cut(request.message, 2 << 10), request.stack.map(|stack| cut(stack, 16 << 10)));
        let (is_final, backoff_ms) = (request.is_final, request.backoff_ms);
        self.when_loaded(ctx, &name, true, move |server, ctx, name| {
            let claim = check_claim(server, ctx, name, id, token)?;
            let error = AttemptError { stack, ..server.claims.workers.error(&claim, message) };
            let attempts = server.attempts_of(ctx, name, id);
            let state = if is_final || claim.cancelled || claim.attempt >= attempts {
                server.fail_claimed(ctx, name, id, error);
                "failed"
            } else {
                let delay_ms = backoff_ms.unwrap_or_else(|| server.backoff_of(ctx, name, id, claim.attempt));
                server.note_retried(name, id, &claim, &error.message, delay_ms);
                server.retry_claimed(ctx, name, id, error, delay_ms);
                server.events.flush(ctx, 1);
                if delay_ms > 0 {
                    "delayed"
                } else {
                    "waiting"
                }
            };
            server.claims_changed(name);
            Ok(Answer::Bytes(Arc::new(state.into())))
        })
    }

    /// BEAR.RELEASE.
    pub fn release(&mut self, ctx: Context, space: &[u8], id: &[u8], token: &[u8]) -> Result<(), String> {
        let (name, id, token) = self.claim_named(ctx, space, id, token)?;
        self.when_loaded(ctx, &name, true, move |server, ctx, name| {
            let claim = check_claim(server, ctx, name, id, token)?;
            let state = if claim.cancelled {
                let message = server.cancel_message(ctx, name, id).into();
                let error = server.claims.workers.error(&claim, message);
                server.fail_claimed(ctx, name, id, error);
                "failed"
            } else {
                server.release_claimed(ctx, name, id);
                "waiting"
            };
            server.claims_changed(name);
            Ok(Answer::Bytes(Arc::new(state.into())))
        })
    }

    /// The space, the job and the token that a command names.
    pub(super) fn claim_named(
        &mut self,
        ctx: Context,
        space: &[u8],
        id: &[u8],
        token: &[u8],
    ) -> Result<(Arc<str>, JobId, u64), String> {
        let name = self.work_named(ctx, space)?;
        Ok((name, parse_id(id)?, parse_token(token)?))
    }

    /// The space that a command names, read from its keys if it has any.
    pub(super) fn work_named(&mut self, ctx: Context, space: &[u8]) -> Result<Arc<str>, String> {
        let space_ref = self.space_here(ctx, space)?;
        self.check_owned(ctx, space_ref)?;
        let text = String::from_utf8_lossy(space);
        let prefix = self.prefix_of(&text);
        self.look_at_foreign_writes_to(ctx, &text, &prefix);
        let name = match self.touch_work(ctx, &text, &prefix) {
            Some(name) => name,
            None => (*text).into(),
        };
        match self.claims.spaces.get(&name).and_then(|space| space.wrong_type.clone()) {
            Some(text) => Err(text),
            None => Ok(name),
        }
    }

    /// How often a claimed job may be tried.
    pub(super) fn attempts_of(&self, ctx: Context, name: &Arc<str>, id: JobId) -> u32 {
        let of_job = self.options_of(ctx, name, id).and_then(|(attempts, _)| attempts);
        of_job.unwrap_or_else(|| self.claim_spec(name, id).attempts)
    }

    /// How long it waits before its next attempt.
    fn backoff_of(&self, ctx: Context, name: &Arc<str>, id: JobId, failed: u32) -> u64 {
        let own = self.options_of(ctx, name, id).and_then(|(_, backoff)| backoff);
        let spec = self.claim_spec(name, id);
        delay_ms(&spec.backoff, own, spec.jitter, failed, self.queues.random_id() as u64)
    }
}

fn parse_token(token: &[u8]) -> Result<u64, String> {
    let number = std::str::from_utf8(token).ok().and_then(|token| token.parse().ok());
    number.ok_or_else(|| format!("ERR a token is the number that BEAR.CLAIM gave, got '{}'", shorten(token)))
}

/// A JSON value as it is stored.
pub fn checked_json(what: &str, text: &[u8]) -> Result<Vec<u8>, String> {
    let mut out = Vec::with_capacity(text.len());
    payload::write_any(text, &mut out)
        .map_err(|error| format!("ERR {what}: {}", error.to_string().replace("the payload ", "the value ")))?;
    Ok(out)
}

/// The claim, if the token is its.
pub(super) fn check_claim(
    server: &mut Server,
    ctx: Context,
    name: &Arc<str>,
    id: JobId,
    token: u64,
) -> Result<Claim, String> {
    let claim = server.claims.spaces.get(name).and_then(|space| space.queue.claim(id));
    match claim {
        Some(claim) if claim.token == token || mutations::is("ack-any-token") => Ok(claim.clone()),
        _ => Err(server.lost(ctx, name, id, token)),
    }
}

impl Server {
    /// What became of a job that somebody believes to hold.
    fn lost(&mut self, ctx: Context, name: &Arc<str>, id: JobId, token: u64) -> String {
        self.claims.counts.count(name, |counts| counts.lost += 1);
        let of_token = format!("LOST token {token} does not hold job {id}");
        let Some(space) = self.claims.spaces.get_mut(name) else {
            return format!("{of_token}: the queue has no such job");
        };
        space.lost += 1;
        if let Some(claim) = space.queue.claim(id) {
            return format!("{of_token}: it is claimed with token {}", claim.token);
        }
        if keys::entry(ctx, &space.keys.work, id, |_| ()).is_some() {
            return match space.queue.state(id) {
                State::Delayed { due_ms } => format!("{of_token}: it is delayed until {due_ms}"),
                State::Waiting | State::Claimed => format!("{of_token}: it is waiting to be claimed"),
            };
        }
        match (space.kept.find(id), space.kept_failed.find(id)) {
            (Some(_), _) => format!("{of_token}: it is completed"),
            (_, Some(_)) => format!("{of_token}: it has failed"),
            _ => format!("{of_token}: no claimed job of this id is known, or not any more"),
        }
    }
}

/// BEAR.ACK of several jobs, some at a time.
struct Acknowledging {
    name: Arc<str>,
    pairs: SmallVec<[Pair; 4]>,
    result: Option<Vec<u8>>,
    done: usize,
    accepted: i64,
    refused: Vec<Refused>,
}

impl Errand for Acknowledging {
    fn step(&mut self, server: &mut Server, ctx: Context, deadline: Instant) -> Option<Answer> {
        let name = self.name.clone();
        if !server.knows_jobs(ctx, &name, deadline) {
            return None;
        }
        while self.done < self.pairs.len() {
            let some = &self.pairs[self.done..(self.done + AT_ONCE).min(self.pairs.len())];
            self.done += some.len();
            let mut endings: Vec<Settling> = Vec::with_capacity(some.len());
            for (id, token) in some {
                let is_twice = endings.iter().any(|ending| ending.id == *id);
                match check_claim(server, ctx, &name, *id, *token) {
                    Ok(_) if !is_twice => {
                        endings.push(Settling { id: *id, ending: Ending::Completed { result: self.result.take() } });
                    }
                    Ok(_) => {
                        self.refused.push((id.to_string().into_bytes().into(), format!("LOST job {id} is named twice")))
                    }
                    Err(text) => self.refused.push((id.to_string().into_bytes().into(), text)),
                }
            }
            self.accepted += endings.len() as i64;
            server.conclude(ctx, &name, endings);
            server.claims_changed(&name);
            if self.done < self.pairs.len() && Instant::now() >= deadline {
                return None;
            }
        }
        if let ([_], [(_, text)]) = (&self.pairs[..], &self.refused[..]) {
            return Some(Answer::Error(text.as_str().into()));
        }
        Some(self.cut_short())
    }

    fn cut_short(&mut self) -> Answer {
        if self.done == 0 {
            return Answer::Error("NOWAIT the queue is still being read; try again in a moment".into());
        }
        if self.pairs.len() == 1 {
            return Answer::Integer(self.accepted);
        }
        for (id, _) in self.pairs.iter().skip(self.done) {
            self.refused
                .push((id.to_string().into_bytes().into(), "NOWAIT send fewer pairs in MULTI and scripts".into()));
        }
        let refused = std::mem::take(&mut self.refused);
        let refused = refused.into_iter().map(|(id, text)| Value::Array(vec![Value::Bytes(id), Value::text(text)]));
        Answer::Value(Arc::new(Value::Array(vec![Value::Integer(self.accepted), Value::Array(refused.collect())])))
    }

    fn writes(&self) -> bool {
        true
    }
}
