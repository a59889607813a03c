//! UNIQUE keys: a key is held by one job of a space until it has settled, and for some time after; SQL jobs and claimed jobs
//! share them. Another job with the same key is refused; the same one, told by a fingerprint of its payload, is found again.

use super::checks::stands;
use super::wall_ms;
use crate::core::catalog::job::Job;
use crate::core::jobs::job_id::JobId;
use crate::core::jobs::payload;
use crate::keyspace::jobs::{self, QueueKeys};
use crate::redis_api::Context;

/// What UNIQUE found.
pub enum Unique {
    New,
    /// The same job stands already.
    Same(JobId),
}

/// Of what a job says: the same for two spellings of one payload. `data` is a checked one.
pub fn fingerprint(job: Option<&Job>, name: &[u8], data: &[u8]) -> String {
    let mut canonical = Vec::with_capacity(data.len());
    // It has been checked against this job; what no longer fits is compared as it is.
    let is_canonical = job.is_some_and(|job| payload::write_canonical(job, data, &mut canonical).is_ok());
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    context.update(name);
    context.update(b" ");
    context.update(if is_canonical { &canonical } else { data });
    let digest = context.finish();
    digest.as_ref()[..16].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// UNIQUE keys that have ended go, a few at a time: more than come.
fn sweep_unique(ctx: Context, keys: &QueueKeys) {
    let now = wall_ms().to_string();
    let range: [&[u8]; 6] = [&keys.unique, b"-inf", now.as_bytes(), b"LIMIT", b"0", b"16"];
    let ended = jobs::read_texts(ctx, c"ZRANGEBYSCORE", &range);
    let ended: Vec<&[u8]> = ended.iter().map(AsRef::as_ref).collect();
    jobs::remove_from(ctx, c"ZREM", &keys.unique, &ended);
    jobs::remove_from(ctx, c"HDEL", &keys.unique_jobs, &ended);
}

/// From now on a job holds a UNIQUE key.
pub fn hold_unique(ctx: Context, keys: &QueueKeys, key: &[u8], id: JobId, fingerprint: &str) {
    sweep_unique(ctx, keys);
    let value = format!("{id} {fingerprint}");
    jobs::write(ctx, c"ZADD", &[&keys.unique, b"+inf", key]);
    jobs::write(ctx, c"HSET", &[&keys.unique_jobs, key, value.as_bytes()]);
}

/// The job that holds a UNIQUE key has another payload.
pub fn rehold_unique(ctx: Context, keys: &QueueKeys, key: &[u8], id: JobId, fingerprint: &str) {
    if unique_holder(ctx, keys, key).is_some_and(|holder| holder.id == id) {
        jobs::write(ctx, c"HSET", &[&keys.unique_jobs, key, format!("{id} {fingerprint}").as_bytes()]);
    }
}

/// A job that holds a UNIQUE key.
pub(super) struct Holder {
    pub(super) id: JobId,
    fingerprint: Option<String>,
    /// It holds the key until it has settled.
    is_queued: bool,
}

/// Who holds a UNIQUE key.
pub(super) fn unique_holder(ctx: Context, keys: &QueueKeys, key: &[u8]) -> Option<Holder> {
    let holder = jobs::read_text(ctx, c"HGET", &[&keys.unique_jobs, key])?;
    let end = jobs::read_text(ctx, c"ZSCORE", &[&keys.unique, key]);
    let end = end.and_then(|end| std::str::from_utf8(&end).ok()?.parse::<f64>().ok())?;
    if end <= wall_ms() as f64 {
        return None;
    }
    let holder = String::from_utf8_lossy(&holder);
    let mut words = holder.split(' ');
    let id = JobId::parse(words.next()?.as_bytes())?;
    Some(Holder { id, fingerprint: words.next().map(Into::into), is_queued: end.is_infinite() })
}

/// The error names the job that holds the key.
pub fn check_unique(ctx: Context, keys: &QueueKeys, key: &[u8], fingerprint: &str) -> Result<Unique, String> {
    let Some(holder) = unique_holder(ctx, keys, key) else { return Ok(Unique::New) };
    let id = holder.id;
    if holder.is_queued && !stands(ctx, keys, id) {
        // It was removed by another hand.
        return Ok(Unique::New);
    }
    if holder.fingerprint.as_deref() == Some(fingerprint) {
        return Ok(Unique::Same(id));
    }
    Err(format!("DUPLICATE {id} was enqueued with this UNIQUE key and is another job or has another payload"))
}
