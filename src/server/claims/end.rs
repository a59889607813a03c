//! What is written of a claim that ends: the job leaves the stream and whatever else names it, and is recorded (`recorded`); or it
//! waits for its next attempt. One unit each, with whatever else the callback writes.

use std::sync::Arc;
use std::time::Duration;

use smallvec::SmallVec;

use super::ending::{Ending, Settling};
use super::leave::Leaving;
use super::recorded::{Records, SettledJob};
use super::space::WorkSpace;
use crate::core::catalog::claim::ClaimSpec;
use crate::core::catalog::Section;
use crate::core::claims::attempts::{AttemptError, Attempts};
use crate::core::claims::keep::Rule;
use crate::core::claims::queue::{Claim, Facts};
use crate::core::claims::record::{Total, WorkRecord};
use crate::core::events::job::{By, JobEvent};
use crate::core::inbox::tell::Telling;
use crate::core::jobs::job_id::JobId;
use crate::keyspace::{claims as keys, inbox};
use crate::mutations;
use crate::redis_api::{self, Answer, Context};
use crate::server::events::hold;
use crate::server::queues::wall_ms;
use crate::server::Server;

impl Server {
    /// Jobs settle that are claimed, or were about to be: waiting or delayed ones of which the caller says that they have failed.
    pub(in crate::server) fn conclude(&mut self, ctx: Context, name: &Arc<str>, settling: Vec<Settling>) {
        let catalog = self.catalog.clone();
        let now_ms = self.claims.now_ms();
        let (completed_max, failed_max) = (self.config.completed_max_bytes as u64, self.config.failed_max_jobs as u64);
        let wall_now_ms = wall_ms();
        let unique_end = wall_now_ms + self.config.unique_ms as u64;
        let claims = &mut self.claims;
        let Some(space) = claims.spaces.get_mut(name) else { return };
        let section = catalog.section(space.section.as_bytes()).map(|(_, section)| section);
        let (mut leaving, count) = (Leaving::default(), settling.len());
        let mut completed: Records = SmallVec::new();
        let mut tellings: SmallVec<[(JobId, Telling); 4]> = SmallVec::new();
        for Settling { id, ending } in settling {
            let Some(facts) = space.settling_facts(ctx, section, id) else { continue };
            let claim = space.queue.settle(id, now_ms);
            if claim.is_none() {
                space.queue.remove(&facts);
            }
            let spec = section
                .and_then(|section| section.claimed_job(facts.name.as_bytes()))
                .map_or(&ClaimSpec::DEFAULT, |of| of.claim);
            let is_failed = matches!(ending, Ending::Failed { .. });
            if id.inbox().is_some() {
                let tried = || space.tried.get(&id).map_or(0, |tried| *tried).max(ending.attempt());
                let attempts = claim.as_ref().map_or_else(tried, |claim| claim.attempt);
                tellings.push((id, ending.telling(attempts)));
            }
            let rule = match is_failed {
                true => Rule::failed(spec.keep_failed, failed_max, completed_max.max(1 << 20)),
                false => Rule::completed(spec.keep, completed_max),
            };
            let is_waited_for = self.queues.waiters.waits_for(name, id);
            self.events.note(name, id, || {
                let of_claim = |claim: &Claim| hold(claim, claims.workers.of(claim.worker).0);
                let tried = space.tried.get(&id).copied().unwrap_or(0).max(ending.attempt());
                let by = claim.as_ref().map_or(By::Attempts(tried), |claim| By::Worker(of_claim(claim)));
                Some((&*facts.name, ending.event(by)))
            });
            if is_failed {
                space.totals.add(Total::Failed, 1);
            } else {
                space.totals.add(Total::Completed, 1);
            }
            claims.counts.count(name, |counts| {
                counts.failed += u64::from(is_failed);
                counts.completed += u64::from(!is_failed);
                counts.claim_ended(claim.as_ref(), wall_now_ms);
            });
            space.rate.add(now_ms, 1);
            let keeps = !rule.keeps_nothing();
            if keeps || is_waited_for {
                let attempts = match space.tried.contains_key(&id) {
                    true => keys::get(ctx, &space.keys.attempts, id, Attempts::read).flatten().unwrap_or_default(),
                    false => Attempts::default(),
                };
                let worker = claim.as_ref().map_or("", |claim| claims.workers.of(claim.worker).0);
                let known = SettledJob { id, facts: facts.clone(), claim, attempts, ending };
                let (record, options) = space.record(ctx, &known, worker);
                if is_waited_for {
                    let state = if is_failed { "failed" } else { "completed" };
                    let tries = is_failed.then(|| (options.options(), Some(spec)));
                    let report = super::report::of_record(id, state, &record, tries);
                    let answer = Answer::Value(Arc::new(report));
                    for client in self.queues.waiters.take(name, id) {
                        self.answers.push_back((client, answer.clone()));
                    }
                    redis_api::arm(Duration::ZERO);
                }
                match (keeps, is_failed) {
                    (true, true) => space.write_failed(ctx, &known.facts.name, id, &record, &options),
                    (true, false) => completed.push((known.facts.name.clone(), id, record)),
                    (false, _) => {}
                }
            }
            if !keeps {
                space.forget_log(ctx, id);
            }
            leaving.add(space, id, facts.due_ms.is_some());
            if keeps {
                space.trim_records_now_and_then(ctx, is_failed, &facts.name, rule);
            } else {
                // Its payload was not read: an average.
                space.bytes -= space.bytes / space.jobs.max(1);
            }
        }
        space.write_completed(ctx, &mut completed);
        if section.is_some_and(|section| section.open.is_some()) {
            space.shrink_records(ctx, completed_max);
        }
        self.inbox.settled(ctx, &space.shared, name, &tellings);
        leaving.leave(ctx, space, Some(unique_end));
        space.totals_changed(ctx, now_ms);
        self.events.flush(ctx, count);
    }

    /// The job's definition, as far as it is claimed.
    pub(super) fn claim_spec(&self, name: &Arc<str>, id: JobId) -> ClaimSpec {
        let spec = || {
            let space = self.claims.spaces.get(name)?;
            let (_, section) = self.catalog.section(space.section.as_bytes())?;
            let facts = space.queue.claimed_facts(id)?;
            Some(section.claimed_job(facts.name.as_bytes())?.claim.clone())
        };
        spec().unwrap_or(ClaimSpec::DEFAULT)
    }

    /// ATTEMPTS and BACKOFF that the job was given.
    pub(super) fn options_of(&self, ctx: Context, name: &Arc<str>, id: JobId) -> Option<(Option<u32>, Option<u64>)> {
        let space = self.claims.spaces.get(name)?;
        keys::entry(ctx, &space.keys.work, id, |fields| {
            let options = WorkRecord::read(fields).ok()?.options;
            Some((options.attempts, options.backoff_ms))
        })?
    }

    /// A claimed job failed, and is tried again after some time.
    pub(super) fn retry_claimed(
        &mut self,
        ctx: Context,
        name: &Arc<str>,
        id: JobId,
        error: AttemptError,
        delay_ms: u64,
    ) {
        let now_ms = self.claims.now_ms();
        let Some(space) = self.claims.spaces.get_mut(name) else { return };
        let mut attempts = match space.tried.contains_key(&id) {
            true => keys::get(ctx, &space.keys.attempts, id, Attempts::read).flatten().unwrap_or_default(),
            false => Attempts::default(),
        };
        attempts.add(error);
        let facts = space.queue.claimed_facts(id).filter(|facts| facts.id.inbox().is_some()).cloned();
        space.held.remove(&id);
        space.tried.insert(id, attempts.attempts);
        let _ = keys::set(ctx, &space.keys.attempts, &[(id, &attempts.write())]);
        if !mutations::is("ended-claim-stays") {
            keys::forget(ctx, &space.keys.claims, &[id]);
        }
        let claim = if delay_ms > 0 {
            let due_ms = wall_ms() + delay_ms;
            let _ = keys::delay(ctx, &space.keys.delayed, id, due_ms);
            space.queue.delay(id, due_ms, now_ms)
        } else {
            space.queue.give_back(id, now_ms)
        };
        self.inbox.claim_ended(ctx, space, name, claim.as_ref(), facts.as_ref());
        let now = wall_ms();
        self.claims.counts.count(name, |counts| {
            counts.retried += 1;
            counts.claim_ended(claim.as_ref(), now);
        });
        space.totals_changed(ctx, now_ms);
    }

    /// A claimed job fails for good. That of a row may have been completed in Postgres by then, or be about to: until that is known
    /// it waits, and nobody has it.
    pub(super) fn fail_claimed(&mut self, ctx: Context, name: &Arc<str>, id: JobId, error: AttemptError) {
        let now_ms = self.claims.now_ms();
        let Some(row) = id.inbox() else {
            return self.conclude(ctx, name, vec![Settling { id, ending: Ending::Failed { error } }]);
        };
        let Some(space) = self.claims.spaces.get_mut(name) else { return };
        keys::forget(ctx, &space.keys.claims, &[id]);
        space.held.remove(&id);
        inbox::fail(ctx, &space.shared, row, id, &error);
        let facts = space.queue.claimed_facts(id).cloned();
        let claim = space.queue.give_back(id, now_ms);
        self.inbox.claim_ended(ctx, space, name, claim.as_ref(), facts.as_ref());
        space.totals_changed(ctx, now_ms);
        let now = wall_ms();
        self.claims.counts.count(name, |counts| counts.claim_ended(claim.as_ref(), now));
    }

    /// The worker gives a job back that it has not done.
    pub(super) fn release_claimed(&mut self, ctx: Context, name: &Arc<str>, id: JobId) {
        let now_ms = self.claims.now_ms();
        let Some(space) = self.claims.spaces.get_mut(name) else { return };
        keys::forget(ctx, &space.keys.claims, &[id]);
        let (queue, workers) = (&space.queue, &self.claims.workers);
        self.events.tell(ctx, name, id, || {
            let hold = queue.claim(id).map(|claim| hold(claim, workers.of(claim.worker).0))?;
            Some((&*queue.claimed_facts(id)?.name, JobEvent::Released { hold }))
        });
        space.held.remove(&id);
        let facts = space.queue.claimed_facts(id).filter(|facts| facts.id.inbox().is_some()).cloned();
        let claim = space.queue.give_back(id, now_ms);
        self.inbox.claim_ended(ctx, space, name, claim.as_ref(), facts.as_ref());
        space.totals.add(Total::Released, 1);
        let now = wall_ms();
        self.claims.counts.count(name, |counts| {
            counts.released += 1;
            counts.claim_ended(claim.as_ref(), now);
        });
        if space.totals.get(Total::Released) == 1 {
            // By it a process that begins anew knows that jobs that wait may have a log.
            space.write_totals(ctx);
        }
        space.totals_changed(ctx, now_ms);
    }
}

impl WorkSpace {
    /// Of a job that settles: as the queue knows it, or as its entry says.
    fn settling_facts(&self, ctx: Context, section: Option<&Section>, id: JobId) -> Option<Facts> {
        if let Some(facts) = self.queue.claimed_facts(id) {
            return Some(facts.clone());
        }
        self.entry_facts(ctx, section?, id)
    }

    /// As its entry says.
    pub fn entry_facts(&self, ctx: Context, section: &Section, id: JobId) -> Option<Facts> {
        let updated = match self.updated.contains(&id) {
            true => keys::get(ctx, &self.keys.data, id, |bytes| Box::<[u8]>::from(bytes)),
            false => None,
        };
        keys::entry(ctx, &self.keys.work, id, |fields| {
            let record = WorkRecord::read(fields).ok()?;
            Some(self.facts(section, id, &record, updated.as_deref().unwrap_or(record.data)))
        })?
    }
}
