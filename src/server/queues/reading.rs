//! Jobs are read from their stream, in slices.

use std::ops::ControlFlow;
use std::time::Instant;

use super::space::Extras;
use super::wall_ms;
use crate::core::jobs::batch::QueuedJob;
use crate::core::jobs::job_id::JobId;
use crate::core::jobs::record::JobRecord;
use crate::keyspace::claims;
use crate::keyspace::jobs::{self, QueueKeys};
use crate::redis_api::{Context, Direction, Fields};

/// What reading a slice of a stream came to.
pub struct Slice {
    pub jobs: Vec<(QueuedJob, Option<Extras>)>,
    pub epoch: Option<i64>,
    pub end: SliceEnd,
}

#[derive(PartialEq, Eq)]
pub enum SliceEnd {
    Stream,
    Epoch,
    Full,
    Time,
}

/// What fits in a batch still.
pub struct Room {
    pub jobs: usize,
    pub bytes: usize,
    pub deadline: Instant,
}

/// Jobs of one epoch after `from`. One that is in the sorted set of delayed jobs no more has been promoted.
pub fn read_slice(
    ctx: Context,
    keys: &QueueKeys,
    (from, to): (JobId, JobId),
    epoch: Option<i64>,
    room: &Room,
) -> Slice {
    let mut slice = Slice { jobs: Vec::new(), epoch, end: SliceEnd::Stream };
    let Some(start) = from.next() else { return slice };
    let now_ms = wall_ms();
    let mut bytes = 0;
    jobs::walk(ctx, &keys.jobs, Direction::Forward, (start, to), &mut |id, fields| {
        // At least one a slice, however late it is; the clock is looked at now and then.
        let late = slice.jobs.len() % 16 == 15 && Instant::now() >= room.deadline;
        slice.end = if slice.jobs.len() >= room.jobs || bytes >= room.bytes {
            SliceEnd::Full
        } else if late || (bytes > 256 << 10 && Instant::now() >= room.deadline) {
            SliceEnd::Time
        } else {
            let (mut job, mut extras, of) = read_job(id, fields, now_ms);
            if job.undue && claims::due_ms(ctx, &keys.delayed, id).is_none() {
                job.undue = false;
                extras.iter_mut().for_each(|extras| extras.due_ms = None);
            }
            if of.is_some() && slice.epoch.is_some() && of != slice.epoch {
                slice.end = SliceEnd::Epoch;
                return ControlFlow::Break(());
            }
            slice.epoch = slice.epoch.or(of);
            bytes += job.data.len();
            slice.jobs.push((job, extras));
            return ControlFlow::Continue(());
        };
        ControlFlow::Break(())
    });
    slice
}

pub fn read_one(ctx: Context, key: &[u8], id: JobId) -> Option<QueuedJob> {
    let mut read = None;
    jobs::walk(ctx, key, Direction::Forward, (id, id), &mut |id, fields| {
        read = Some(read_job(id, fields, 0).0);
        ControlFlow::Break(())
    });
    read
}

/// What is no job becomes one without a name, which fails like one whose definition is gone: it is then in nobody's way.
fn read_job(id: JobId, fields: &Fields, now_ms: u64) -> (QueuedJob, Option<Extras>, Option<i64>) {
    match JobRecord::read(fields) {
        Ok(record) => {
            let job = QueuedJob {
                id,
                name: record.name.into(),
                data: record.data.into(),
                attempts: 0,
                max_attempts: record.options.attempts,
                undue: record.options.due_ms.is_some_and(|due| due > now_ms),
                ends: None,
            };
            (job, Extras::of(&record.options), Some(record.epoch))
        }
        Err(error) => {
            log::warn!("entry {id} of a queue: {error}");
            let job = QueuedJob {
                id,
                name: [].into(),
                data: [].into(),
                attempts: 0,
                max_attempts: 1,
                undue: false,
                ends: None,
            };
            (job, None, None)
        }
    }
}
