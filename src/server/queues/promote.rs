//! BEAR.PROMOTE of SQL jobs: one that waits for a time, or for its next attempt, waits no more.
//!
//! A job is delayed as long as the sorted set of delayed jobs has it under a time that has not come. What was promoted is not
//! in there any more, and so is due also for a process that reads the stream anew ([`super::reading`]).

use std::sync::Arc;
use std::time::Instant;

use super::checks::{check_types, is_queued};
use super::wall_ms;
use crate::core::jobs::job_id::JobId;
use crate::core::jobs::queue::JobState;
use crate::keyspace::claims as keys;
use crate::keyspace::jobs::{self, QueueKeys};
use crate::redis_api::Context;
use crate::server::Server;

/// Jobs that are looked at together.
const AT_ONCE: usize = 16;

/// Those that are delayed when the command comes.
pub struct PromoteSqlJobs {
    left: u64,
    pub promoted: i64,
}

impl Server {
    pub(in crate::server) fn all_delayed_sql_jobs(
        &mut self,
        ctx: Context,
        space_name: &[u8],
    ) -> Result<PromoteSqlJobs, String> {
        let (_, keys) = self.queue_of(ctx, space_name)?;
        check_types(ctx, &keys)?;
        let after_now = format!("({}", wall_ms());
        let left = jobs::read_integer(ctx, c"ZCOUNT", &[&keys.delayed, after_now.as_bytes(), b"+inf"]);
        Ok(PromoteSqlJobs { left: left.map_or(0, |count| count.max(0) as u64), promoted: 0 })
    }

    /// Goes on until the deadline. True: it is done.
    pub(in crate::server) fn promote_some_sql_jobs(
        &mut self,
        ctx: Context,
        name: &Arc<str>,
        some: &mut PromoteSqlJobs,
        deadline: Instant,
    ) -> bool {
        let keys = QueueKeys::new(&self.prefix_of(name));
        while some.left > 0 {
            let after_now = format!("({}", wall_ms());
            let range: [&[u8]; 6] = [&keys.delayed, after_now.as_bytes(), b"+inf", b"LIMIT", b"0", AT_ONCE_TEXT];
            let first = jobs::read_texts(ctx, c"ZRANGEBYSCORE", &range);
            if first.is_empty() || !self.queues.spaces.contains_key(&**name) {
                return true;
            }
            for text in first.iter().take(some.left.min(AT_ONCE as u64) as usize) {
                some.left -= 1;
                match JobId::parse(text) {
                    Some(id) => self.promote_delayed(ctx, name, &keys, id),
                    // Of another hand.
                    None => drop(jobs::remove_from(ctx, c"ZREM", &keys.delayed, &[text])),
                }
                some.promoted += 1;
            }
            if Instant::now() >= deadline {
                return some.left == 0;
            }
        }
        true
    }

    pub(in crate::server) fn promote_sql_job(
        &mut self,
        ctx: Context,
        space_name: &[u8],
        id: JobId,
    ) -> Result<(), String> {
        let (name, keys) = self.queue_of(ctx, space_name)?;
        check_types(ctx, &keys)?;
        if !is_queued(ctx, &keys, id) {
            return Err(format!("ERR no queued job {id} is known; BEAR.JOB {name} {id} tells whether it has settled"));
        }
        if keys::due_ms(ctx, &keys.delayed, id).is_none_or(|due| due <= wall_ms()) {
            return Err(format!("ERR job {id} is not delayed: it is waiting already, or being applied"));
        }
        self.promote_delayed(ctx, &name, &keys, id);
        Ok(())
    }

    fn promote_delayed(&mut self, ctx: Context, name: &Arc<str>, keys: &QueueKeys, id: JobId) {
        let now_ms = self.queues.now_ms();
        self.queues.forget_ahead();
        let Some(space) = self.queues.spaces.get_mut(&**name) else { return };
        let untimed = jobs::remove_from(ctx, c"ZREM", &keys.delayed, &[id.to_string().as_bytes()]);
        space.timed = space.timed.saturating_sub(untimed);
        // Of one that a batch is about to leave out as undue: then it is due at once.
        if let Some(extras) = space.extras.get_mut(&id) {
            extras.due_ms = None;
        }
        let was_tried = space.retries.get_mut(&id).map(|retry| retry.due_ms = None).is_some();
        match space.queue.state(id) {
            Some(JobState::Delayed { .. }) => space.queue.hasten(id, now_ms),
            // It was tried and is to be read again: the main lane waits for it.
            Some(JobState::Waiting) if was_tried => space.queue.end_hold(),
            _ => {}
        }
        self.queues.wake(name);
        self.arm_soon();
    }
}

const AT_ONCE_TEXT: &[u8] = b"16";
