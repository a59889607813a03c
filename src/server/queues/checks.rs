//! What commands ask of a queue's keys before anything else: is the id one, is the type right, is the job queued.

use crate::core::jobs::job_id::JobId;
use crate::core::values::value::shorten;
use crate::keyspace::claims;
use crate::keyspace::jobs::{self, QueueKeys};
use crate::redis_api::Context;

pub fn parse_id(id: &[u8]) -> Result<JobId, String> {
    JobId::parse(id)
        .ok_or_else(|| format!("ERR a job's id is two numbers such as 1700000000000-0, got '{}'", shorten(id)))
}

/// For commands that would find nothing, or change nothing, where a key of another type stands.
pub(super) fn check_types(ctx: Context, keys: &QueueKeys) -> Result<(), String> {
    keys.wrong_type(ctx).map_or(Ok(()), Err)
}

/// Is it a job of the space that has not settled, an SQL job or a claimed one?
pub(super) fn stands(ctx: Context, keys: &QueueKeys, id: JobId) -> bool {
    is_queued(ctx, keys, id) || claims::entry(ctx, &keys.work(), id, |_| ()).is_some()
}

/// An SQL job.
pub(super) fn is_queued(ctx: Context, keys: &QueueKeys, id: JobId) -> bool {
    jobs::entry_stands(ctx, &keys.jobs, id)
}
