//! BEAR.REMOVE, BEAR.PAUSE, BEAR.RESUME.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Instant;

use super::checks::{check_types, is_queued, parse_id, stands};
use super::search::{FailedSearch, RemoveRecord};
use super::space::Ledger;
use crate::core::jobs::job_id::JobId;
use crate::core::jobs::record::JobRecord;
use crate::keyspace::jobs::{self, QueueKeys, LAST};
use crate::redis_api::{Answer, Context, Direction};
use crate::server::errands::Errand;
use crate::server::Server;

impl Server {
    /// BEAR.REMOVE: replies 1, or 0 where there is no such job.
    pub fn remove_job(&mut self, ctx: Context, space_name: &[u8], id: &[u8]) -> Result<(), String> {
        let (name, keys) = self.queue_of(ctx, space_name)?;
        let id = parse_id(id)?;
        check_types(ctx, &keys)?;
        if !is_queued(ctx, &keys, id) {
            if stands(ctx, &keys, id) {
                return self.remove_work(ctx, &name, id);
            }
            let space = self.queues.spaces.get(&name).map(AsRef::as_ref);
            let search = FailedSearch::new(name.clone(), space, std::iter::once(id).collect());
            self.begin_errand(ctx, RemoveRecord { name, id, search });
            return Ok(());
        }
        self.remove_queued(ctx, &name, &keys, id)?;
        ctx.reply().integer(1);
        Ok(())
    }

    /// BEAR.PAUSE.
    pub fn pause_queue(&mut self, ctx: Context, space_name: &[u8]) -> Result<(), String> {
        let (name, keys) = self.queue_of(ctx, space_name)?;
        self.check_pause(ctx, space_name, &keys)?;
        if let Some(space) = self.queues.spaces.get_mut(&*name) {
            space.paused = true;
        }
        jobs::write(ctx, c"SET", &[&keys.paused, jobs::PAUSED]);
        self.work_paused(&name, true);
        ctx.reply().ok();
        Ok(())
    }

    /// Is the key of a pause bear's to write, and to delete?
    fn check_pause(&mut self, ctx: Context, space_name: &[u8], keys: &QueueKeys) -> Result<(), String> {
        let space = self.space_here(ctx, space_name)?;
        self.check_owned(ctx, space)?;
        keys.foreign_pause(ctx).map_or(Ok(()), Err)
    }

    /// BEAR.RESUME: also accepts that the ledger is lost.
    pub fn resume_queue(&mut self, ctx: Context, space_name: &[u8]) -> Result<(), String> {
        let (name, keys) = self.queue_of(ctx, space_name)?;
        check_types(ctx, &keys)?;
        self.check_pause(ctx, space_name, &keys)?;
        if let Some(space) = self.queues.spaces.get(&*name) {
            let is_applied = || self.queues.in_flight.values().flatten().any(|(of, _)| *of == name);
            if matches!(space.ledger, Ledger::Trouble(_)) && (space.in_flight().0 > 0 || is_applied()) {
                return Err("ERR a batch of this queue is still in flight; try again".into());
            }
        }
        let epochs = Vec::new();
        if self.has_lost_ledger(&name) {
            let seen = self.seen_of(&name);
            self.begin_errand(ctx, Resume { name, seen, from: JobId::ZERO, epochs });
        } else {
            self.resume_now(ctx, &name, epochs);
            ctx.reply().ok();
        }
        Ok(())
    }

    fn has_lost_ledger(&self, name: &str) -> bool {
        self.queues.spaces.get(name).is_some_and(|space| matches!(space.ledger, Ledger::Trouble(_)))
    }

    /// Differs once the queue is another, or another hand has touched its jobs.
    fn seen_of(&self, name: &str) -> Option<(u64, u64)> {
        self.queues.spaces.get(name).map(|space| (space.life, space.touched))
    }

    fn resume_now(&mut self, ctx: Context, name: &Arc<str>, epochs: Vec<i64>) {
        let keys = QueueKeys::new(&self.prefix_of(name));
        jobs::write(ctx, c"DEL", &[&keys.paused]);
        if let Some(space) = self.queues.spaces.get_mut(name) {
            space.paused = false;
        }
        self.work_paused(name, false);
        if self.has_lost_ledger(name) {
            log::warn!("queue '{name}' is resumed without its ledger: what is still queued counts as not applied");
            self.adopt_queue(ctx, name, epochs);
        }
        self.queues.wake(name);
        self.arm_soon();
    }

    /// Begins a queue's ledger anew: everything that is in the stream counts as not applied.
    fn adopt_queue(&mut self, ctx: Context, name: &str, epochs: Vec<i64>) {
        let Some(space) = self.queues.spaces.get(name) else { return };
        let (prefix, keys) = (space.prefix.clone(), QueueKeys::new(&space.prefix));
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

/// RESUME of a queue whose ledger is lost: the epochs of all its jobs are read, in slices. Nothing of it is applied
/// meanwhile. It is about the jobs that stood there when it was sent, and those that are enqueued since: of what another
/// hand puts there nobody has said that it counts as not applied, and its epochs may be among those that have been read past.
struct Resume {
    name: Arc<str>,
    seen: Option<(u64, u64)>,
    from: JobId,
    epochs: Vec<i64>,
}

impl Errand for Resume {
    fn step(&mut self, server: &mut Server, ctx: Context, deadline: Instant) -> Option<Answer> {
        let prefix = server.prefix_of(&self.name);
        server.look_at_foreign_writes_to(ctx, &self.name, &prefix);
        if server.seen_of(&self.name) != self.seen || !server.has_lost_ledger(&self.name) {
            let text =
                "ERR the queue was changed by another hand, or resumed, meanwhile; look at it, and send it again";
            return Some(Answer::Error(text.into()));
        }
        let keys = QueueKeys::new(&prefix);
        let mut is_done = true;
        jobs::walk(ctx, &keys.jobs, Direction::Forward, (self.from, LAST), &mut |id, fields| {
            if let Ok(record) = JobRecord::read(fields) {
                if !self.epochs.contains(&record.epoch) {
                    self.epochs.push(record.epoch);
                }
            }
            self.from = id.next().unwrap_or(LAST);
            is_done = Instant::now() < deadline;
            if is_done {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        });
        is_done.then(|| {
            server.resume_now(ctx, &self.name, std::mem::take(&mut self.epochs));
            Answer::Ok
        })
    }

    fn cut_short(&mut self) -> Answer {
        Answer::Error("NOWAIT the queue is read for longer than MULTI and scripts may take; send it outside".into())
    }

    fn writes(&self) -> bool {
        true
    }
}
