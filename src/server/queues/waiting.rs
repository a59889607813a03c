//! Clients that wait for a job to settle (BLOCK).

use std::sync::Arc;
use std::time::Instant;

use rustc_hash::FxHashMap;

use crate::core::job_id::JobId;
use crate::redis_api::{Answer, BlockedClient};
use crate::server::waiting::{WaiterId, Waiting};

#[derive(Default)]
pub struct JobWaiters {
    waiting: Waiting,
    by_job: FxHashMap<(Arc<str>, JobId), Vec<WaiterId>>,
    of: FxHashMap<WaiterId, (Arc<str>, JobId, u64)>,
}

impl JobWaiters {
    pub fn add(&mut self, client: BlockedClient, space: Arc<str>, id: JobId, block_ms: u64, deadline: Instant) {
        let waiter = self.waiting.add(client, deadline);
        self.of.insert(waiter, (space.clone(), id, block_ms));
        self.by_job.entry((space, id)).or_default().push(waiter);
    }

    pub fn is_empty(&self) -> bool {
        self.of.is_empty()
    }

    pub fn len(&self) -> usize {
        self.of.len()
    }

    /// Does anybody wait for this job?
    pub fn waits_for(&self, space: &Arc<str>, id: JobId) -> bool {
        !self.by_job.is_empty() && self.by_job.contains_key(&(space.clone(), id))
    }

    /// Those who wait for a job, which has settled.
    pub fn take(&mut self, space: &Arc<str>, id: JobId) -> Vec<BlockedClient> {
        let waiters = self.by_job.remove(&(space.clone(), id)).unwrap_or_default();
        waiters.into_iter().filter_map(|waiter| self.take_one(waiter)).collect()
    }

    /// The next who has waited long enough, and what to tell him.
    pub fn take_late(&mut self, now: Instant) -> Option<(BlockedClient, Answer)> {
        let (waiter, client) = self.waiting.take_late_with_id(now)?;
        let (space, id, block_ms) = self.of.remove(&waiter)?;
        if let Some(waiters) = self.by_job.get_mut(&(space.clone(), id)) {
            waiters.retain(|other| *other != waiter);
            if waiters.is_empty() {
                self.by_job.remove(&(space, id));
            }
        }
        let text = format!("TIMEOUT job {id} is still queued after {block_ms} ms, and stays so; ask BEAR.JOB for it");
        Some((client, Answer::Error(text.into())))
    }

    pub fn next_deadline(&self) -> Option<Instant> {
        self.waiting.next_deadline()
    }

    /// Everybody: what they wait for is not known any more.
    pub fn take_all(&mut self) -> Vec<(BlockedClient, JobId)> {
        self.by_job.clear();
        let all: Vec<_> = self.of.drain().collect();
        all.into_iter().filter_map(|(waiter, (_, id, _))| Some((self.waiting.take(waiter)?, id))).collect()
    }

    fn take_one(&mut self, waiter: WaiterId) -> Option<BlockedClient> {
        self.of.remove(&waiter);
        self.waiting.take(waiter)
    }
}
