//! BEAR.REMOVE, BEAR.PAUSE, BEAR.RESUME.

use std::ops::ControlFlow;

use super::report::{check_types, is_queued, parse_id};
use super::settled::failed_jobs;
use super::space::Ledger;
use crate::core::job_id::JobId;
use crate::core::record::JobRecord;
use crate::keyspace::jobs::{self, QueueKeys, LAST};
use crate::redis_api::{Answer, Context, Direction};
use crate::server::Server;

impl Server {
    /// BEAR.REMOVE: replies 1, or 0 where there is no such job.
    pub fn remove_job(&mut self, ctx: Context, space_name: &[u8], id: &[u8]) -> Result<(), String> {
        let (name, keys) = self.queue_of(ctx, space_name)?;
        let id = parse_id(id)?;
        check_types(ctx, &keys)?;
        if !is_queued(ctx, &keys, id) {
            let entries: Vec<JobId> = failed_jobs(ctx, &keys, Some(&[id])).iter().map(|job| job.entry).collect();
            ctx.reply().integer(jobs::delete(ctx, &keys.failed, &entries).min(1) as i64);
            return Ok(());
        }
        let active = format!("ERR job {id} is active: it is being applied");
        if self.queues.is_building_with(&name, id) {
            return Err(active);
        }
        let Some(space) = self.queues.spaces.get_mut(&*name) else { return Err(active) };
        match space.queue.remove(id) {
            Err(_) => return Err(active),
            Ok(true) => space.forget.push(id),
            Ok(false) if id <= space.eligible && space.queue.state(id).is_none() => return Err(active),
            Ok(false) => {}
        }
        // A job that has not been read in this process is known to the stream only.
        let (unique, cost) = unique_and_cost(ctx, &keys, id);
        jobs::delete(ctx, &keys.jobs, &[id]);
        space.jobs = jobs::len(ctx, &keys.jobs);
        space.bytes = if space.jobs == 0 { 0 } else { space.bytes.saturating_sub(cost) };
        let text = id.to_string();
        let untimed = jobs::remove_from(ctx, c"ZREM", &keys.delayed, &[text.as_bytes()]);
        space.timed = space.timed.saturating_sub(untimed);
        jobs::remove_from(ctx, c"HDEL", &keys.attempts, &[text.as_bytes()]);
        space.retries.remove(&id);
        space.extras.remove(&id);
        if let Some(key) = unique {
            jobs::remove_from(ctx, c"ZREM", &keys.unique, &[&key]);
            jobs::remove_from(ctx, c"HDEL", &keys.unique_jobs, &[&key]);
        }
        for client in self.queues.waiters.take(&name, id) {
            self.answers.push_back((client, Answer::Error(format!("ERR job {id} was removed").into())));
        }
        self.queues.rouse(&name);
        self.arm_soon();
        ctx.reply().integer(1);
        Ok(())
    }

    /// BEAR.PAUSE.
    pub fn pause_queue(&mut self, ctx: Context, space_name: &[u8]) -> Result<(), String> {
        let (name, keys) = self.queue_of(ctx, space_name)?;
        if let Some(space) = self.queues.spaces.get_mut(&*name) {
            space.paused = true;
        }
        jobs::write(ctx, c"SET", &[&keys.paused, b"by BEAR.PAUSE; BEAR.RESUME ends it"]);
        ctx.reply().ok();
        Ok(())
    }

    /// BEAR.RESUME: also accepts that the ledger is lost.
    pub fn resume_queue(&mut self, ctx: Context, space_name: &[u8]) -> Result<(), String> {
        let (name, keys) = self.queue_of(ctx, space_name)?;
        check_types(ctx, &keys)?;
        if let Some(space) = self.queues.spaces.get(&*name) {
            let is_applied = || self.queues.in_flight.values().flatten().any(|(of, _)| *of == name);
            if matches!(space.ledger, Ledger::Trouble(_)) && (space.in_flight().0 > 0 || is_applied()) {
                return Err("ERR a batch of this queue is still in flight; try again".into());
            }
        }
        jobs::write(ctx, c"DEL", &[&keys.paused]);
        if let Some(space) = self.queues.spaces.get_mut(&*name) {
            space.paused = false;
            if let Ledger::Trouble(_) = space.ledger {
                log::warn!("queue '{name}' is resumed without its ledger: what is still queued counts as not applied");
            }
        }
        if self.queues.spaces.get(&*name).is_some_and(|space| matches!(space.ledger, Ledger::Trouble(_))) {
            self.adopt_queue(ctx, &name);
        }
        self.queues.rouse(&name);
        self.arm_soon();
        ctx.reply().ok();
        Ok(())
    }

    /// Begins a queue's ledger anew: everything that is in the stream counts as not applied.
    fn adopt_queue(&mut self, ctx: Context, name: &str) {
        let Some(space) = self.queues.spaces.get(name) else { return };
        let (prefix, keys) = (space.prefix.clone(), QueueKeys::new(&space.prefix));
        let epochs = epochs_in(ctx, &keys);
        // Read anew from the stream's beginning.
        self.queues.forget_space(name);
        if self.queues.space(ctx, name, &prefix).id.is_none() {
            let id = self.queues.random_id();
            jobs::write(ctx, c"SET", &[&keys.id, id.to_string().as_bytes()]);
            self.queues.space(ctx, name, &prefix).id = Some(id);
        }
        let space = self.queues.space(ctx, name, &prefix);
        space.ledger = Ledger::Unknown;
        // Their keys stay as they are until the new ledger stands: a crash before that leads here again.
        space.known.clear();
        space.adopt = epochs;
    }
}

/// The UNIQUE key of a queued job, and what it counts for against `bear.queue-max-bytes`.
fn unique_and_cost(ctx: Context, keys: &QueueKeys, id: JobId) -> (Option<Box<[u8]>>, u64) {
    let mut found = (None, 0);
    jobs::walk(ctx, &keys.jobs, Direction::Forward, (id, id), &mut |_, fields| {
        if let Ok(record) = JobRecord::read(fields) {
            found = (record.options.unique.map(Into::into), record.cost());
        }
        ControlFlow::Break(())
    });
    found
}

/// The epochs of all jobs of a queue.
fn epochs_in(ctx: Context, keys: &QueueKeys) -> Vec<i64> {
    let mut epochs: Vec<i64> = Vec::new();
    jobs::walk(ctx, &keys.jobs, Direction::Forward, (JobId::ZERO, LAST), &mut |_, fields| {
        if let Ok(record) = JobRecord::read(fields) {
            if !epochs.contains(&record.epoch) {
                epochs.push(record.epoch);
            }
        }
        ControlFlow::Continue(())
    });
    epochs
}
