//! Clients that wait for a job to settle (BLOCK): until it has, until their time is up, or until they hang up.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use rustc_hash::FxHashMap;

use crate::core::jobs::job_id::JobId;
use crate::redis_api::{BlockedClient, ClientHandle};
use crate::server::cache::waiting::{WaiterId, Waiting};

#[derive(Default)]
pub struct JobWaiters {
    waiting: Waiting,
    by_job: FxHashMap<(Arc<str>, JobId), BTreeSet<WaiterId>>,
    all: BTreeMap<WaiterId, Waits>,
}

/// What somebody waits for.
struct Waits {
    space: Arc<str>,
    id: JobId,
    block_ms: u64,
    asker: Asker,
}

/// Who waits for a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asker {
    /// Has enqueued it: whose time is up is told that it is still queued.
    Enqueuer,
    /// Has asked for it by BEAR.JOB, and is told what is known of it then.
    Onlooker,
}

/// One who has waited long enough.
pub struct Late {
    pub client: BlockedClient,
    pub space: Arc<str>,
    pub id: JobId,
    pub block_ms: u64,
    pub asker: Asker,
}

impl JobWaiters {
    pub fn add(
        &mut self,
        client: BlockedClient,
        (space, id): (Arc<str>, JobId),
        block_ms: u64,
        deadline: Instant,
        asker: Asker,
    ) {
        let waiter = self.waiting.add(client, deadline);
        self.by_job.entry((space.clone(), id)).or_default().insert(waiter);
        self.all.insert(waiter, Waits { space, id, block_ms, asker });
    }

    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Does anybody wait for this job?
    pub fn waits_for(&self, space: &Arc<str>, id: JobId) -> bool {
        !self.by_job.is_empty() && self.by_job.contains_key(&(space.clone(), id))
    }

    /// Those who wait for a job, which has settled.
    pub fn take(&mut self, space: &Arc<str>, id: JobId) -> Vec<BlockedClient> {
        let waiters = self.by_job.remove(&(space.clone(), id)).unwrap_or_default();
        waiters.into_iter().filter_map(|waiter| Some(self.remove(waiter)?.0)).collect()
    }

    /// The next who has waited long enough.
    pub fn take_late(&mut self, now: Instant) -> Option<Late> {
        let waiter = self.waiting.first_late(now)?;
        let (client, Waits { space, id, block_ms, asker }) = self.remove(waiter)?;
        Some(Late { client, space, id, block_ms, asker })
    }

    /// One who waits no more, if he is one of these.
    pub fn take_gone(&mut self, handle: ClientHandle) -> Option<BlockedClient> {
        let waiter = self.waiting.find(handle)?;
        self.remove(waiter).map(|(client, _)| client)
    }

    pub fn next_deadline(&self) -> Option<Instant> {
        self.waiting.next_deadline()
    }

    /// Those of the jobs that somebody waits for.
    pub fn spaces(&self) -> impl Iterator<Item = &Arc<str>> {
        self.all.values().map(|of| &of.space)
    }

    /// Anybody.
    pub fn take_any(&mut self) -> Option<(BlockedClient, JobId)> {
        let waiter = *self.all.first_key_value()?.0;
        self.remove(waiter).map(|(client, of)| (client, of.id))
    }

    /// Those who wait for jobs of one space that have gone.
    pub fn take_where(&mut self, space: &str, has_gone: impl Fn(JobId) -> bool) -> Vec<(BlockedClient, JobId)> {
        let all = self.all.iter().filter(|(_, of)| &*of.space == space && has_gone(of.id));
        let waiters: Vec<WaiterId> = all.map(|(waiter, _)| *waiter).collect();
        waiters.into_iter().filter_map(|waiter| self.remove(waiter).map(|(client, of)| (client, of.id))).collect()
    }

    fn remove(&mut self, waiter: WaiterId) -> Option<(BlockedClient, Waits)> {
        let of = self.all.remove(&waiter)?;
        let job = (of.space.clone(), of.id);
        if let Some(others) = self.by_job.get_mut(&job) {
            others.remove(&waiter);
            if others.is_empty() {
                self.by_job.remove(&job);
            }
        }
        Some((self.waiting.take(waiter)?, of))
    }
}
