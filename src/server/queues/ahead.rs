//! Jobs of the main lane are read while a batch of their space is in flight: the next batch is there when that comes back.
//!
//! Invariant: what has been read ahead is in the stream. Whoever takes jobs out that have not settled, or lets somebody
//! else's hand pass, forgets it.

use std::sync::Arc;
use std::time::Instant;

use super::reading::{read_slice, Room, Slice, SliceEnd};
use super::{wall_ms, Queues};
use crate::core::jobs::batch::QueuedJob;
use crate::core::jobs::job_id::JobId;
use crate::redis_api::Context;
use crate::server::Server;

/// Whose jobs these are.
#[derive(Clone, PartialEq, Eq)]
pub struct Place {
    pub space: Arc<str>,
    /// Of its queue.
    pub life: u64,
    /// They follow this one, the last that was taken.
    pub after: JobId,
}

/// Jobs that have been read ahead, of one space.
pub struct Ahead {
    place: Place,
    slice: Slice,
    bytes: usize,
}

impl Ahead {
    fn new(place: Place) -> Ahead {
        Ahead { place, slice: Slice { jobs: Vec::new(), epoch: None, end: SliceEnd::Time }, bytes: 0 }
    }

    fn last(&self) -> JobId {
        self.slice.jobs.last().map_or(self.place.after, |(job, _)| job.id)
    }

    /// The jobs that follow there, as far as there is room for them.
    pub(super) fn take(self, place: &Place, room: &Room) -> Option<Slice> {
        if self.place != *place {
            return None;
        }
        let mut slice = self.slice;
        let mut bytes = 0;
        let count = slice.jobs.iter().take(room.jobs).take_while(|(job, _)| {
            let fits = bytes < room.bytes;
            bytes += size(job);
            fits
        });
        let count = count.count();
        slice.jobs.truncate(count);
        let now_ms = wall_ms();
        for (job, extras) in &mut slice.jobs {
            // Its time may have come since it was read.
            job.undue = extras.as_ref().and_then(|extras| extras.due_ms).is_some_and(|due| due > now_ms);
        }
        (!slice.jobs.is_empty()).then_some(slice)
    }

    fn add(&mut self, more: Slice) {
        self.bytes += more.jobs.iter().map(|(job, _)| size(job)).sum::<usize>();
        self.slice.jobs.extend(more.jobs);
        self.slice.epoch = self.slice.epoch.or(more.epoch);
        self.slice.end = more.end;
    }
}

/// As a batch counts it.
fn size(job: &QueuedJob) -> usize {
    job.data.len() + job.name.len()
}

impl Server {
    /// Reads on in the stream of the space whose batch was sent last. True: the time is over, and there is more.
    pub(super) fn read_ahead(&mut self, ctx: Context, deadline: Instant) -> bool {
        let max_jobs = self.config.apply_batch_jobs as usize;
        let max_bytes = self.config.apply_batch_bytes as usize;
        let Queues { spaces, sent_last, ahead, .. } = &mut self.queues;
        let Some(place) = sent_last else { return false };
        let space = spaces.get(&place.space).filter(|space| space.life == place.life);
        let Some(space) = space.filter(|space| space.queue.main_in_flight() == Some(place.after)) else { return false };
        if ahead.as_ref().is_none_or(|ahead| ahead.place != *place) {
            *ahead = Some(Ahead::new(place.clone()));
        }
        let Some(ahead) = ahead else { return false };
        let is_full = ahead.slice.jobs.len() >= max_jobs || ahead.bytes >= max_bytes;
        if is_full || ahead.slice.end == SliceEnd::Epoch || ahead.last() >= space.eligible {
            return false;
        }
        let room = Room { jobs: max_jobs - ahead.slice.jobs.len(), bytes: max_bytes - ahead.bytes, deadline };
        let range = (ahead.last(), space.eligible);
        ahead.add(read_slice(ctx, &space.keys, range, ahead.slice.epoch, &room));
        ahead.slice.end == SliceEnd::Time
    }
}

impl Queues {
    /// Jobs have gone from a stream that have not settled, or may have.
    pub(super) fn forget_ahead(&mut self) {
        self.ahead = None;
    }
}
