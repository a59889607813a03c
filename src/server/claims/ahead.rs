//! The entry of a job that is claimed, read from the stream: and with it some of those behind it, for to find an entry costs more
//! than to read it, and the next job that is claimed is mostly the next one there.
//!
//! What was read ahead is used only if no other hand has touched a queue since, and is dropped when the space is read again.

use std::collections::VecDeque;
use std::ops::ControlFlow;

use crate::core::claims::record::{WorkOptions, WorkRecord};
use crate::core::jobs::job_id::JobId;
use crate::keyspace::jobs::{self, LAST};
use crate::keyspace::{claims as keys, watch};
use crate::redis_api::{Context, Direction, Fields};

/// Entries that are read at once.
const MOST: usize = 16;

/// Reads of one entry after one of several that was in vain.
const REST: usize = 64;

/// Larger payloads are not kept.
const MAX_BYTES: usize = 2 << 10;

/// What of a claimed job's entry its worker and its record need.
pub struct HeldJob {
    pub data: Box<[u8]>,
    pub attempts: Option<u32>,
    pub backoff_ms: Option<u64>,
    pub traceparent: Option<Box<[u8]>>,
}

/// Entries behind the one that was read last.
#[derive(Default)]
pub struct Ahead {
    /// The job that was enqueued last, where somebody waits for one: he need not wait until it is read again.
    fresh: Option<(JobId, HeldJob)>,
    jobs: VecDeque<(JobId, HeldJob)>,
    /// How many the next read takes: twice as many where all of the last were used, one where they were not.
    count: usize,
    /// Reads until it is tried again.
    resting: usize,
}

impl Ahead {
    pub fn put_fresh(&mut self, id: JobId, job: HeldJob) {
        self.fresh = Some((id, job));
    }

    /// What the entry of a job says; None where another hand has taken it out, or has written something else there.
    pub fn read(&mut self, ctx: Context, stream: &[u8], id: JobId) -> Option<HeldJob> {
        let fresh = self.fresh.take().filter(|(of, _)| *of == id);
        if watch::has_queue_notes() {
            self.jobs.clear();
            return keys::entry(ctx, stream, id, read).flatten();
        }
        if let Some((_, job)) = fresh {
            return Some(job);
        }
        let before = self.jobs.len();
        while self.jobs.front().is_some_and(|(of, _)| *of < id) {
            self.jobs.pop_front();
        }
        let in_vain = before > self.jobs.len();
        if self.jobs.front().is_some_and(|(of, _)| *of == id) {
            return self.jobs.pop_front().map(|(_, job)| job);
        }
        if in_vain || !self.jobs.is_empty() {
            // Priorities are mixed, or orders.
            (self.count, self.resting) = (1, REST);
        } else if self.resting > 0 {
            self.resting -= 1;
        } else {
            self.count = (self.count * 2).clamp(1, MOST);
        }
        self.count = self.count.max(1);
        self.jobs.clear();
        let (mut job, mut left) = (None, self.count);
        jobs::walk(ctx, stream, Direction::Forward, (id, LAST), &mut |of, fields| {
            let read = read(fields);
            if of == id {
                job = read;
            } else if job.is_some() {
                match read.filter(|job| job.data.len() <= MAX_BYTES) {
                    Some(job) => self.jobs.push_back((of, job)),
                    None => return ControlFlow::Break(()),
                }
            }
            left -= 1;
            if left == 0 || job.is_none() {
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        });
        job
    }
}

fn read(fields: &Fields) -> Option<HeldJob> {
    let WorkRecord { data, options, .. } = WorkRecord::read(fields).ok()?;
    let WorkOptions { attempts, backoff_ms, traceparent, .. } = options;
    Some(HeldJob { data: data.into(), attempts, backoff_ms, traceparent: traceparent.map(Into::into) })
}
