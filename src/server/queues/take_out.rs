//! SQL jobs leave the queue undone: removed, as if they had never been, or cancelled, which is a way to fail.

use std::ops::ControlFlow;
use std::sync::Arc;

use super::checks::{check_types, is_queued};
use super::reading::read_one;
use super::space::Extras;
use super::wall_ms;
use crate::core::events::job::{By, Failure, JobEvent};
use crate::core::inbox::tell::Telling;
use crate::core::jobs::batch::JobError;
use crate::core::jobs::job_id::JobId;
use crate::core::jobs::record::{self, FieldList, JobOptions, JobRecord, OptionNumbers};
use crate::keyspace::jobs::{self, QueueKeys};
use crate::redis_api::{Answer, Context, Direction};
use crate::server::Server;

/// What the stream says of a job beside its payload.
#[derive(Default)]
struct Given {
    extras: Option<Extras>,
    /// What it counts for against `bear.queue-max-bytes`.
    cost: u64,
}

impl Server {
    /// Removes a queued job; who waits for it is told. An error where it is being applied.
    pub(super) fn remove_queued(
        &mut self,
        ctx: Context,
        name: &Arc<str>,
        keys: &QueueKeys,
        id: JobId,
    ) -> Result<(), String> {
        let extras = self.take_out(ctx, name, keys, id)?;
        self.inbox.settled(ctx, keys, name, &[(id, Telling::Done)]);
        if let Some(key) = extras.and_then(|extras| extras.unique) {
            jobs::remove_from(ctx, c"ZREM", &keys.unique, &[&key]);
            jobs::remove_from(ctx, c"HDEL", &keys.unique_jobs, &[&key]);
        }
        for client in self.queues.waiters.take(name, id) {
            self.answers.push_back((client, Answer::Error(format!("ERR job {id} was removed").into())));
        }
        Ok(())
    }

    /// BEAR.CANCEL of an SQL job: it ends as failed.
    pub(in crate::server) fn cancel_sql_job(
        &mut self,
        ctx: Context,
        space_name: &[u8],
        id: JobId,
        message: Box<str>,
    ) -> Result<(), String> {
        let (name, keys) = self.queue_of(ctx, space_name)?;
        check_types(ctx, &keys)?;
        if !is_queued(ctx, &keys, id) {
            return Err(format!("ERR no queued job {id} is known; BEAR.JOB {name} {id} tells whether it has settled"));
        }
        let attempts = jobs::read_text(ctx, c"HGET", &[&keys.attempts, id.to_string().as_bytes()]);
        let attempts = attempts.as_deref().and_then(record::read_attempt).map_or(0, |(attempts, _)| attempts);
        let job = read_one(ctx, &keys.jobs, id).ok_or_else(|| format!("ERR no queued job {id} is known"))?;
        let extras = self.take_out(ctx, &name, &keys, id)?;
        let telling = Telling::failed(&message, attempts, wall_ms());
        self.inbox.settled(ctx, &keys, &name, &[(id, telling)]);
        let error = JobError { code: None, message };
        let record = record::failed(&job, &error, attempts, wall_ms());
        self.record_failed(ctx, &name, &keys, id, &record, extras.as_ref());
        if let Some(key) = extras.as_ref().and_then(|extras| extras.unique.as_deref()) {
            let unique_end = (wall_ms() + self.config.unique_ms as u64).to_string();
            jobs::write(ctx, c"ZADD", &[&keys.unique, unique_end.as_bytes(), key]);
        }
        let answer = Answer::Value(Arc::new(super::of_record(id, "failed", &record)));
        for client in self.queues.waiters.take(&name, id) {
            self.answers.push_back((client, answer.clone()));
        }
        self.events.tell(ctx, &name, id, || {
            let failure = Failure { message: &error.message, sqlstate: None };
            let of = std::str::from_utf8(&job.name).unwrap_or_default();
            Some((of, JobEvent::Failed { by: By::Attempts(attempts), failure }))
        });
        ctx.reply().text("failed");
        Ok(())
    }

    /// Of a job that ends as failed without having been applied.
    pub(super) fn record_failed(
        &mut self,
        ctx: Context,
        name: &Arc<str>,
        keys: &QueueKeys,
        id: JobId,
        record: &[u8],
        extras: Option<&Extras>,
    ) {
        let failed_max = self.config.failed_max_jobs as u64;
        let (text, mut numbers) = (id.to_string(), OptionNumbers::default());
        let mut fields = FieldList::new();
        fields.extend([&b"id"[..], text.as_bytes(), b"record", record]);
        if let Some(extras) = extras {
            JobOptions { due_ms: None, ..extras.options() }.write(&mut numbers, &mut fields);
        }
        let entry = jobs::append(ctx, &keys.failed, &fields);
        jobs::keep_newest(ctx, &keys.failed, failed_max);
        self.queues.counts.count(name, |counts| counts.failed += 1);
        let Some(space) = self.queues.spaces.get_mut(name) else { return };
        space.failures.extend(entry.map(|entry| (entry, id)));
        let gone = space.failures.len().saturating_sub(failed_max as usize);
        space.failures.drain(..gone);
        space.failed += 1;
        jobs::write(ctx, c"HSET", &[&keys.ledger, b"failed", space.failed.to_string().as_bytes()]);
    }

    /// A queued job leaves the stream and whatever else names it, but for its UNIQUE key. Returns what it was given.
    fn take_out(
        &mut self,
        ctx: Context,
        name: &Arc<str>,
        keys: &QueueKeys,
        id: JobId,
    ) -> Result<Option<Extras>, String> {
        let active = format!("ERR job {id} is active: it is being applied");
        if self.queues.is_building_with(name, id) {
            return Err(active);
        }
        let Some(space) = self.queues.spaces.get_mut(&**name) else { return Err(active) };
        match space.queue.remove(id) {
            Err(_) => return Err(active),
            Ok(true) => space.forget.push(id),
            Ok(false) if id <= space.eligible && space.queue.state(id).is_none() => return Err(active),
            Ok(false) => {}
        }
        self.queues.forget_ahead();
        let Some(space) = self.queues.spaces.get_mut(&**name) else { return Err(active) };
        // A job that has not been read in this process is known to the stream only.
        let Given { extras, cost } = given(ctx, keys, id);
        jobs::delete(ctx, &keys.jobs, &[id]);
        space.jobs = jobs::len(ctx, &keys.jobs);
        space.bytes = if space.jobs == 0 { 0 } else { space.bytes.saturating_sub(cost) };
        let text = id.to_string();
        let untimed = jobs::remove_from(ctx, c"ZREM", &keys.delayed, &[text.as_bytes()]);
        space.timed = space.timed.saturating_sub(untimed);
        jobs::remove_from(ctx, c"HDEL", &keys.attempts, &[text.as_bytes()]);
        space.retries.remove(&id);
        space.extras.remove(&id);
        self.queues.wake(name);
        self.arm_soon();
        Ok(extras)
    }
}

fn given(ctx: Context, keys: &QueueKeys, id: JobId) -> Given {
    let mut found = Given::default();
    jobs::walk(ctx, &keys.jobs, Direction::Forward, (id, id), &mut |_, fields| {
        if let Ok(record) = JobRecord::read(fields) {
            found = Given { extras: Extras::of(&record.options), cost: record.cost() };
        }
        ControlFlow::Break(())
    });
    found
}
