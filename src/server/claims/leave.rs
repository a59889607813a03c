//! Jobs leave the queue, settled or undone: out of the stream, and out of whatever else names them. What is known of a job in
//! memory says which keys have anything of it; the others are not touched.

use smallvec::SmallVec;

use super::space::WorkSpace;
use crate::core::jobs::job_id::JobId;
use crate::keyspace::{claims as keys, jobs};
use crate::redis_api::Context;

/// Jobs that leave their keys.
#[derive(Default)]
pub struct Leaving {
    ids: SmallVec<[JobId; 4]>,
    delayed: SmallVec<[JobId; 2]>,
    tried: SmallVec<[JobId; 2]>,
    in_progress: SmallVec<[JobId; 2]>,
    updated: SmallVec<[JobId; 2]>,
    uniques: SmallVec<[Box<[u8]>; 2]>,
}

impl Leaving {
    /// `was_put_off`: it was enqueued with a time to wait for.
    pub fn add(&mut self, space: &mut WorkSpace, id: JobId, was_put_off: bool) {
        self.ids.push(id);
        if was_put_off || space.tried.contains_key(&id) {
            self.delayed.push(id);
        }
        space.held.remove(&id);
        space.unverified.remove(&id);
        space.untold.remove(&id);
        self.tried.extend(space.tried.remove(&id).map(|_| id));
        self.in_progress.extend(space.in_progress.remove(&id).then_some(id));
        self.updated.extend(space.updated.remove(&id).then_some(id));
        self.uniques.extend(space.uniques.remove(&id));
    }

    /// UNIQUE keys of settled jobs end some time; those of removed ones are free at once. Returns how many jobs left.
    pub fn leave(self, ctx: Context, space: &mut WorkSpace, unique_end: Option<u64>) -> usize {
        if self.ids.is_empty() {
            return 0;
        }
        let gone = keys::delete(ctx, &space.keys.work, &self.ids);
        space.jobs = space.jobs.saturating_sub(gone as u64);
        if space.jobs == 0 {
            space.bytes = 0;
        }
        keys::forget(ctx, &space.keys.claims, &self.ids);
        if !self.delayed.is_empty() {
            keys::undelay(ctx, &space.keys.delayed, &self.delayed);
        }
        for (key, ids) in [
            (&space.keys.attempts, &self.tried),
            (&space.keys.progress, &self.in_progress),
            (&space.keys.data, &self.updated),
        ] {
            if !ids.is_empty() {
                keys::forget(ctx, key, ids);
            }
        }
        if let Some(end) = unique_end {
            let end = end.to_string();
            let ends: Vec<_> = self.uniques.into_iter().map(|key| (end.clone().into_bytes(), key.into_vec())).collect();
            jobs::write_pairs(ctx, c"ZADD", &space.shared.unique, &ends);
        } else {
            let members: Vec<&[u8]> = self.uniques.iter().map(AsRef::as_ref).collect();
            jobs::remove_from(ctx, c"ZREM", &space.shared.unique, &members);
            jobs::remove_from(ctx, c"HDEL", &space.shared.unique_jobs, &members);
        }
        gone
    }
}
