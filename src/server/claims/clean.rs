//! BEAR.CLEAN: jobs in one state go, the oldest first, those that workers claim before the others; in slices. In MULTI and
//! scripts as many as one slice takes: the reply says how many, and who sends it again until that is 0 has removed all.

use std::sync::Arc;
use std::time::Instant;

use crate::core::claims::keep::Gone;
use crate::core::claims::queue::State;
use crate::core::jobs::job_id::JobId;
use crate::keyspace::jobs;
use crate::redis_api::{Answer, Context, Direction};
use crate::server::errands::Errand;
use crate::server::queues::{wall_ms, CleanSqlJobs};
use crate::server::{ListedState, Server};

/// Jobs, or entries of records, that go in one unit; fewer of large jobs, whose entries are read.
const AT_ONCE: usize = 32;
const BYTES: u64 = 64 << 10;

/// Records that go in one unit, about.
const RECORDS: u64 = 200;

impl Server {
    /// BEAR.CLEAN of any state but `active`.
    pub fn clean(
        &mut self,
        ctx: Context,
        space: &[u8],
        state: ListedState,
        older_ms: Option<u64>,
        count: Option<u64>,
    ) -> Result<(), String> {
        let name = self.work_named(ctx, space)?;
        // What comes while it goes on stays.
        let until = JobId { ms: wall_ms().saturating_sub(older_ms.unwrap_or(0)), seq: u64::MAX };
        // The newest may be ahead of a clock that has stepped back.
        let sql = self.clean_sql_jobs(ctx, space, state, if older_ms.is_some() { until } else { jobs::LAST })?;
        let newest = self.claims.spaces.get(&name).map_or(JobId::ZERO, |space| space.newest);
        let until = if older_ms.is_some() { until } else { until.max(newest) };
        let left = count.unwrap_or(u64::MAX);
        self.begin_errand(
            ctx,
            Cleaning { name, state, from: JobId::ZERO, until, left, removed: 0, are_claimed_done: false, sql },
        );
        Ok(())
    }
}

/// How many jobs, by their size on the average.
fn at_once(jobs: u64, bytes: u64) -> usize {
    (BYTES * jobs.max(1) / bytes.max(1)).clamp(1, AT_ONCE as u64) as usize
}

struct Cleaning {
    name: Arc<str>,
    state: ListedState,
    /// The first claimed job that has not been looked at, and the last job, or record, that may go.
    from: JobId,
    until: JobId,
    left: u64,
    removed: u64,
    are_claimed_done: bool,
    sql: CleanSqlJobs,
}

impl Cleaning {
    /// Some more claimed jobs. False: there are no more.
    fn clean_some(&mut self, server: &mut Server, ctx: Context, deadline: Instant) -> bool {
        match self.state {
            ListedState::Completed | ListedState::Failed => self.drop_records(server, ctx),
            ListedState::Delayed => {
                let Some(space) = server.claims.spaces.get(&self.name) else { return false };
                let mut some = Vec::new();
                let most = at_once(space.jobs, space.bytes);
                while some.len() < most && (some.len() as u64) < self.left {
                    let next = space.queue.delayed_after(self.from).filter(|id| *id <= self.until);
                    let Some(id) = next else { break };
                    self.from = id;
                    some.push(id);
                }
                let more = !some.is_empty();
                self.remove(server, ctx, &some);
                more
            }
            ListedState::Waiting | ListedState::Active => {
                let Some(space) = server.claims.spaces.get(&self.name) else { return false };
                let mut some = Vec::new();
                let mut looked_at = 0_usize;
                let most = at_once(space.jobs, space.bytes);
                let range = (self.from, self.until);
                jobs::walk(ctx, &space.keys.work, Direction::Forward, range, &mut |id, _| {
                    if space.queue.state(id) == State::Waiting {
                        some.push(id);
                    }
                    self.from = id.next().unwrap_or(jobs::LAST);
                    looked_at += 1;
                    let is_late = looked_at.is_multiple_of(most) && Instant::now() >= deadline;
                    if is_late || some.len() >= most || some.len() as u64 >= self.left {
                        return std::ops::ControlFlow::Break(());
                    }
                    std::ops::ControlFlow::Continue(())
                });
                self.remove(server, ctx, &some);
                looked_at > 0
            }
        }
    }

    fn remove(&mut self, server: &mut Server, ctx: Context, ids: &[JobId]) {
        let removed = server.take_out_work(ctx, &self.name, ids) as u64;
        self.removed += removed;
        self.left = self.left.saturating_sub(removed);
    }

    fn drop_records(&mut self, server: &mut Server, ctx: Context) -> bool {
        let Some(space) = server.claims.spaces.get_mut(&self.name) else { return false };
        let (kept, key) = match self.state {
            ListedState::Failed => (&mut space.kept_failed, space.keys.failed.clone()),
            _ => (&mut space.kept, space.keys.completed.clone()),
        };
        let (mut gone, mut count) = (Vec::new(), 0);
        while gone.len() < AT_ONCE && count < self.left.min(RECORDS) {
            let Some(entry) = kept.oldest().filter(|entry| *entry <= self.until) else { break };
            let jobs = kept.remove(entry);
            count += jobs.len() as u64;
            gone.push(Gone { entry, jobs });
        }
        let more = !gone.is_empty();
        space.drop_records(ctx, &key, gone);
        self.removed += count;
        self.left = self.left.saturating_sub(count);
        more
    }
}

impl Errand for Cleaning {
    fn step(&mut self, server: &mut Server, ctx: Context, deadline: Instant) -> Option<Answer> {
        // All of it: also which jobs have a log is known only then.
        if !self.are_claimed_done && !server.load_work(ctx, &self.name.clone(), deadline) {
            return None;
        }
        while !self.are_claimed_done {
            self.are_claimed_done = self.left == 0 || !self.clean_some(server, ctx, deadline);
            if Instant::now() >= deadline && !self.are_claimed_done {
                return None;
            }
        }
        let name = self.name.clone();
        let (removed, is_done) = server.clean_some_sql_jobs(ctx, &name, &mut self.sql, self.left, deadline);
        self.removed += removed;
        self.left = self.left.saturating_sub(removed);
        is_done.then_some(Answer::Integer(self.removed as i64))
    }

    fn cut_short(&mut self) -> Answer {
        match self.removed {
            0 => Answer::Error(
                "NOWAIT the queue is read for longer than MULTI and scripts may take; send it outside".into(),
            ),
            removed => Answer::Integer(removed as i64),
        }
    }

    fn writes(&self) -> bool {
        true
    }
}
