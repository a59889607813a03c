//! A claimed job as replies show it, whatever is known of it.

use crate::core::jobs::job_id::JobId;
use crate::redis_api::Value;

/// The map of a job that has settled.
pub fn of_record(id: JobId, state: &'static str, record: &[u8]) -> Value {
    crate::server::queues::of_record(id, state, record)
}
