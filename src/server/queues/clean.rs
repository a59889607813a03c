//! BEAR.CLEAN of SQL jobs: records go entry by entry, queued jobs as by BEAR.REMOVE, the oldest first.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Instant;

use super::checks::check_types;
use super::job_reply::ListedState;
use crate::core::jobs::job_id::JobId;
use crate::keyspace::jobs::{self, QueueKeys};
use crate::redis_api::{Context, Direction, Fields};
use crate::server::Server;

/// Entries that go together, and bytes of them: their fields are copied where a stream is walked.
const AT_ONCE: usize = 16;
const BYTES: usize = 64 << 10;

/// What is to go, and how far it has come.
pub struct CleanSqlJobs {
    state: ListedState,
    /// The first entry that has not been looked at, and the last that may go.
    from: JobId,
    until: JobId,
}

impl Server {
    /// `until`: the newest entry, or job, that may go.
    pub(in crate::server) fn clean_sql_jobs(
        &mut self,
        ctx: Context,
        space_name: &[u8],
        state: ListedState,
        until: JobId,
    ) -> Result<CleanSqlJobs, String> {
        let (_, keys) = self.queue_of(ctx, space_name)?;
        check_types(ctx, &keys)?;
        let newest = jobs::newest(ctx, stream(&keys, state)).unwrap_or(JobId::ZERO);
        Ok(CleanSqlJobs { state, from: JobId::ZERO, until: until.min(newest) })
    }

    /// Goes on until the deadline, or until about `most` have gone. Returns how many have; the second is true when there are
    /// no more.
    pub(in crate::server) fn clean_some_sql_jobs(
        &mut self,
        ctx: Context,
        name: &Arc<str>,
        clean: &mut CleanSqlJobs,
        most: u64,
        deadline: Instant,
    ) -> (u64, bool) {
        let keys = QueueKeys::new(&self.prefix_of(name));
        let mut removed = 0;
        while clean.from <= clean.until && removed < most {
            let before = clean.from;
            removed += match clean.state {
                ListedState::Completed | ListedState::Failed => {
                    self.drop_some_records(ctx, name, &keys, clean, most - removed)
                }
                _ => self.remove_some_queued(ctx, name, &keys, clean, most - removed, deadline),
            };
            if clean.from == before {
                return (removed, true);
            }
            if Instant::now() >= deadline {
                return (removed, clean.from > clean.until);
            }
        }
        (removed, true)
    }

    /// Entries of records; each holds one failed job, or up to a hundred completed ones.
    fn drop_some_records(
        &mut self,
        ctx: Context,
        name: &Arc<str>,
        keys: &QueueKeys,
        clean: &mut CleanSqlJobs,
        most: u64,
    ) -> u64 {
        let key = stream(keys, clean.state);
        let (mut entries, mut count, mut bytes) = (Vec::new(), 0, 0);
        jobs::walk(ctx, key, Direction::Forward, (clean.from, clean.until), &mut |entry, fields| {
            count += if clean.state == ListedState::Failed { 1 } else { fields.len() as u64 };
            entries.push(entry);
            bytes += size(fields);
            clean.from = entry.next().unwrap_or(jobs::LAST);
            if entries.len() >= AT_ONCE || bytes >= BYTES || count >= most {
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        });
        let Some(last) = entries.last().copied() else { return 0 };
        jobs::delete(ctx, key, &entries);
        if let Some(space) = self.queues.spaces.get_mut(name) {
            match clean.state {
                ListedState::Failed => space.failures.retain(|(entry, _)| *entry > last),
                _ => space.history.forget_through(last),
            }
        }
        count
    }

    fn remove_some_queued(
        &mut self,
        ctx: Context,
        name: &Arc<str>,
        keys: &QueueKeys,
        clean: &mut CleanSqlJobs,
        most: u64,
        deadline: Instant,
    ) -> u64 {
        let mut found = Vec::new();
        let (mut looked_at, mut bytes) = (0_usize, 0);
        jobs::walk(ctx, &keys.jobs, Direction::Forward, (clean.from, clean.until), &mut |id, fields| {
            if self.report_of(ctx, name, keys, id, fields).0 == clean.state {
                found.push(id);
            }
            clean.from = id.next().unwrap_or(jobs::LAST);
            looked_at += 1;
            bytes += size(fields);
            let is_late = looked_at.is_multiple_of(AT_ONCE) && Instant::now() >= deadline;
            if is_late || bytes >= BYTES || found.len() >= AT_ONCE || found.len() as u64 >= most {
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        });
        // One that a batch has taken by now is not removed.
        found.into_iter().filter(|id| self.remove_queued(ctx, name, keys, *id).is_ok()).count() as u64
    }
}

fn size(fields: &Fields) -> usize {
    fields.iter().map(|(_, value)| value.len()).sum()
}

fn stream(keys: &QueueKeys, state: ListedState) -> &[u8] {
    match state {
        ListedState::Completed => &keys.completed,
        ListedState::Failed => &keys.failed,
        ListedState::Waiting | ListedState::Active | ListedState::Delayed => &keys.jobs,
    }
}
