//! BEAR.EXTEND, and leases that end: the job goes back to its place, or fails where no attempt is left.

use std::sync::Arc;
use std::time::Instant;

use super::settle::{check_claim, checked_json};
use crate::core::claims::claim_record::ClaimRecord;
use crate::core::claims::record::Total;
use crate::core::events::job::JobEvent;
use crate::core::jobs::job_id::JobId;
use crate::keyspace::claims as keys;
use crate::keyspace::slots;
use crate::redis_api::{Answer, Context};
use crate::server::events::hold;
use crate::server::queues::wall_ms;
use crate::server::Server;

impl Server {
    /// BEAR.EXTEND; `progress` is at most 4 KB, and not checked yet to be JSON.
    pub fn extend_claim(
        &mut self,
        ctx: Context,
        space: &[u8],
        id: &[u8],
        token: &[u8],
        lease_ms: Option<u64>,
        progress: Option<&[u8]>,
    ) -> Result<(), String> {
        let (name, id, token) = self.claim_named(ctx, space, id, token)?;
        let progress = progress.map(|text| checked_json("PROGRESS", text)).transpose()?;
        self.when_loaded(ctx, &name, true, move |server, ctx, name| {
            let now_ms = server.claims.now_ms();
            let claim = check_claim(server, ctx, name, id, token)?;
            if claim.cancelled {
                return Err(format!("CANCELLED {}", server.cancel_message(ctx, name, id)).trim_end().to_owned());
            }
            let Some(space) = server.claims.spaces.get_mut(name) else { return Err("ERR no such job".into()) };
            let lease_ms = lease_ms.unwrap_or(claim.lease_ms);
            if lease_ms != claim.lease_ms {
                // So that it has this one again after a restart.
                let record = ClaimRecord { lease_ms, ..server.claims.workers.record(&claim) };
                let mut text = Vec::with_capacity(200);
                record.write(&mut text);
                let _ = keys::set(ctx, &space.keys.claims, &[(id, &text)]);
            }
            if let Some(progress) = progress {
                let _ = keys::set(ctx, &space.keys.progress, &[(id, &progress)]);
                space.in_progress.insert(id);
                let hold = hold(&claim, server.claims.workers.of(claim.worker).0);
                let event = JobEvent::Progress { hold, progress: &progress };
                server.events.tell(ctx, name, id, || Some((&*space.queue.claimed_facts(id)?.name, event)));
            }
            space.queue.extend(id, lease_ms, now_ms);
            space.seen.insert(claim.worker, now_ms);
            server.claims.note_times(name, now_ms);
            Ok(Answer::Integer(lease_ms as i64))
        })
    }

    /// Ends leases that were over at a time, and has delayed jobs fall due, until the deadline. True: there are more.
    pub(super) fn pass_time_of_claims(&mut self, ctx: Context, now_ms: u64, deadline: Instant) -> bool {
        loop {
            let by_clock = self.claims.next_ms.first().filter(|(at, _)| *at <= now_ms).map(|(_, name)| name.clone());
            let due = || self.claims.next_due.first().filter(|(at, _)| *at <= wall_ms()).map(|(_, name)| name.clone());
            let Some(name) = by_clock.or_else(due) else { return false };
            self.claims.forget_times(&name);
            if !self.claims.spaces.get(&name).is_none_or(|space| slots::is_here(&space.prefix)) {
                // Leases go on where it goes.
                continue;
            }
            self.pass_time_of(ctx, &name, now_ms, deadline);
            self.claims_changed(&name);
            if Instant::now() >= deadline {
                return true;
            }
        }
    }

    fn pass_time_of(&mut self, ctx: Context, name: &Arc<str>, now_ms: u64, deadline: Instant) {
        loop {
            let Some(space) = self.claims.spaces.get_mut(name).filter(|space| space.is_loaded()) else { return };
            if let Some(id) = space.queue.next_due(wall_ms()) {
                keys::undelay(ctx, &space.keys.delayed, &[id]);
                space.queue.fall_due(id);
            } else if let Some(id) = space.queue.next_expired(now_ms) {
                self.expire(ctx, name, id);
            } else {
                return;
            }
            if Instant::now() >= deadline {
                return;
            }
        }
    }

    fn expire(&mut self, ctx: Context, name: &Arc<str>, id: JobId) {
        let claim = self.claims.spaces.get(name).and_then(|space| space.queue.claim(id)).cloned();
        let Some(claim) = claim else { return };
        let (worker, _) = self.claims.workers.of(claim.worker);
        let mut message = format!("the lease of worker '{worker}' ended after {} ms", claim.lease_ms);
        if claim.cancelled {
            message = format!("{}; {message}", self.cancel_message(ctx, name, id));
        }
        let error = self.claims.workers.error(&claim, message.into());
        self.claims.counts.count(name, |counts| counts.expired += 1);
        if let Some(space) = self.claims.spaces.get_mut(name) {
            space.totals.add(Total::Expired, 1);
        }
        let ended = JobEvent::LeaseEnded { hold: hold(&claim, worker), lease_ms: claim.lease_ms };
        self.events.note(name, id, || Some((&*self.claims.spaces.get(name)?.queue.claimed_facts(id)?.name, ended)));
        let attempts = self.attempts_of(ctx, name, id);
        if claim.cancelled || claim.attempt >= attempts {
            self.fail_claimed(ctx, name, id, error);
        } else {
            self.retry_claimed(ctx, name, id, error, 0);
        }
        self.events.flush(ctx, 1);
    }
}
