//! BEAR.PROMOTE: delayed jobs become due, in the order of their times.
//!
//! A job keeps its place: among jobs of its priority that of the time when it would have been due, or of its enqueuing where it
//! waited for its next attempt. Places are read from the stream again after a restart, and an entry of it cannot be changed.

use std::sync::Arc;
use std::time::Instant;

use smallvec::SmallVec;

use crate::core::claims::queue::State;
use crate::core::jobs::job_id::JobId;
use crate::keyspace::claims as keys;
use crate::redis_api::{Answer, Context};
use crate::server::errands::Errand;
use crate::server::queues::{parse_id, PromoteSqlJobs};
use crate::server::Server;

/// Which delayed jobs become due.
pub enum PromoteTarget<'a> {
    All,
    Job(&'a [u8]),
}

/// Jobs that become due in one unit.
const AT_ONCE: usize = 32;

impl Server {
    /// BEAR.PROMOTE.
    pub fn promote(&mut self, ctx: Context, space: &[u8], target: &PromoteTarget) -> Result<(), String> {
        let name = self.work_named(ctx, space)?;
        let id = match target {
            PromoteTarget::All => {
                let sql = self.all_delayed_sql_jobs(ctx, space)?;
                self.begin_errand(ctx, PromoteAll { name, left: None, promoted: 0, sql });
                return Ok(());
            }
            PromoteTarget::Job(id) => parse_id(id)?,
        };
        if !self.is_claimed_job(ctx, &name, id) {
            self.promote_sql_job(ctx, space, id)?;
            ctx.reply().integer(1);
            return Ok(());
        }
        self.when_loaded(ctx, &name, true, move |server, ctx, name| {
            let state = server.claims.spaces.get(name).map(|space| space.queue.state(id));
            if !server.is_claimed_job(ctx, name, id) {
                return Err(format!("ERR job {id} has settled meanwhile"));
            }
            match state {
                Some(State::Delayed { .. }) => server.promote_claimed(ctx, name, &[id]),
                Some(State::Claimed) => return Err(format!("ERR job {id} is not delayed: a worker holds it")),
                _ => return Err(format!("ERR job {id} is not delayed: it is waiting already")),
            }
            Ok(Answer::Integer(1))
        })
    }

    fn promote_claimed(&mut self, ctx: Context, name: &Arc<str>, ids: &[JobId]) {
        let Some(space) = self.claims.spaces.get_mut(name) else { return };
        keys::undelay(ctx, &space.keys.delayed, ids);
        for id in ids {
            space.queue.fall_due(*id);
        }
        self.claims_changed(name);
    }
}

/// PROMOTE of all that are delayed when it begins.
struct PromoteAll {
    name: Arc<str>,
    /// Claimed jobs that are still to become due; None: they have not been counted.
    left: Option<u64>,
    promoted: i64,
    sql: PromoteSqlJobs,
}

impl Errand for PromoteAll {
    fn step(&mut self, server: &mut Server, ctx: Context, deadline: Instant) -> Option<Answer> {
        let name = self.name.clone();
        if !server.knows_jobs(ctx, &name, deadline) {
            return None;
        }
        let delayed = || server.claims.spaces.get(&name).map_or(0, |space| space.queue.counts().delayed);
        let mut left = self.left.unwrap_or_else(delayed);
        while left > 0 {
            let Some(space) = server.claims.spaces.get_mut(&name) else { break };
            let some: SmallVec<[JobId; AT_ONCE]> = space.queue.first_delayed(AT_ONCE.min(left as usize)).collect();
            if some.is_empty() {
                break;
            }
            server.promote_claimed(ctx, &name, &some);
            left -= some.len() as u64;
            self.promoted += some.len() as i64;
            if Instant::now() >= deadline {
                self.left = Some(left);
                return None;
            }
        }
        self.left = Some(0);
        let is_done = server.promote_some_sql_jobs(ctx, &name, &mut self.sql, deadline);
        is_done.then(|| Answer::Integer(self.promoted + self.sql.promoted))
    }

    fn cut_short(&mut self) -> Answer {
        match self.promoted + self.sql.promoted {
            0 => Answer::Error("NOWAIT the queue is still being read; try again in a moment".into()),
            promoted => Answer::Integer(promoted),
        }
    }

    fn writes(&self) -> bool {
        true
    }
}
