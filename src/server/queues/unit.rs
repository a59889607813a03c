//! What is written of an outcome: records of the jobs that settled, and their going from the stream.

use super::outcomes::SortedOutcomes;
use super::space::SpaceQueue;
use super::wall_ms;
use crate::core::jobs::batch::SpaceBatch;
use crate::core::jobs::job_id::JobId;
use crate::core::jobs::record::{self, FieldList, JobOptions, OptionNumbers};
use crate::keyspace::{inbox, jobs};
use crate::redis_api::Context;

/// Completed jobs in one entry of their stream, and bytes of their records (one may be larger): looking one up reads
/// that many.
const RECORDS_AN_ENTRY: usize = 100;
const BYTES_AN_ENTRY: usize = 32 << 10;

/// Records of the outcomes, and no more of them than are kept.
pub fn record_outcomes(
    ctx: Context,
    space: &mut SpaceQueue,
    sorted: &SortedOutcomes,
    failed_max: u64,
    completed_max: u64,
    now_ms: u64,
) {
    for group in groups(&sorted.completed) {
        let ids: Vec<String> = group.iter().map(|(id, _)| id.to_string()).collect();
        let fields: Vec<&[u8]> =
            ids.iter().zip(group).flat_map(|(id, (_, record))| [id.as_bytes(), record.as_slice()]).collect();
        let bytes: usize = fields.iter().map(|field| field.len()).sum();
        let jobs_of = || group.iter().map(|(id, _)| *id);
        let range = (jobs_of().min().unwrap_or(JobId::ZERO), jobs_of().max().unwrap_or(JobId::ZERO));
        if let Some(entry) = jobs::append(ctx, &space.keys.completed, &fields) {
            space.history.written(entry, range, group.len() as u64, bytes as u64, now_ms);
        }
    }
    if let Some(before) = space.history.trim(completed_max, now_ms) {
        jobs::trim(ctx, &space.keys.completed, before);
    }
    // Of more than are kept, only the newest are written at all.
    let newest = sorted.failed.len().saturating_sub(failed_max as usize);
    for (id, record) in &sorted.failed[newest..] {
        let (text, mut numbers) = (id.to_string(), OptionNumbers::default());
        let mut fields = FieldList::new();
        fields.extend([&b"id"[..], text.as_bytes(), b"record", record]);
        if let Some(extras) = space.extras.get(id) {
            // Its time has come.
            JobOptions { due_ms: None, ..extras.options() }.write(&mut numbers, &mut fields);
        }
        if let Some(entry) = jobs::append(ctx, &space.keys.failed, &fields) {
            space.failures.push_back((entry, *id));
        }
    }
    if !sorted.failed.is_empty() {
        jobs::keep_newest(ctx, &space.keys.failed, failed_max);
        let gone = space.failures.len().saturating_sub(failed_max as usize);
        space.failures.drain(..gone);
    }
}

/// Settled jobs leave the stream and whatever else names them.
pub fn leave_stream(
    ctx: Context,
    space: &mut SpaceQueue,
    of_space: &SpaceBatch,
    sorted: &SortedOutcomes,
    unique_ms: u64,
) {
    if sorted.settled.is_empty() {
        return;
    }
    let first = space.queue.first_unsettled();
    let beyond: Vec<JobId> = sorted.settled.iter().filter(|id| **id >= first).copied().collect();
    if sorted.settled.len() > beyond.len() {
        jobs::trim(ctx, &space.keys.jobs, first);
    }
    if !beyond.is_empty() {
        jobs::delete(ctx, &space.keys.jobs, &beyond);
    }
    // In the order of the batch's jobs.
    let mut settled = sorted.settled.iter().peekable();
    for job in &of_space.jobs {
        if settled.next_if_eq(&&job.id).is_some() {
            let unique = space.extras.get(&job.id).and_then(|extras| extras.unique.as_deref());
            space.bytes = space.bytes.saturating_sub(record::cost(&job.name, &job.data, unique));
        }
    }
    let (mut timed, mut tried, mut unique) = (Vec::new(), Vec::new(), Vec::new());
    if !space.extras.is_empty() || !space.retries.is_empty() {
        for id in &sorted.settled {
            let extras = space.extras.remove(id);
            let retry = space.retries.remove(id);
            let was_tried = retry.is_some_and(|retry| retry.attempts > 0);
            if was_tried {
                tried.push(id.to_string());
            }
            if was_tried || extras.as_ref().is_some_and(|extras| extras.due_ms.is_some()) {
                timed.push(id.to_string());
            }
            unique.extend(extras.and_then(|extras| extras.unique));
        }
    }
    let bytes = |ids: &[String]| ids.iter().map(|id| id.clone().into_bytes()).collect::<Vec<_>>();
    let remove = |command, key, ids: Vec<Vec<u8>>| {
        let members: Vec<&[u8]> = ids.iter().map(Vec::as_slice).collect();
        jobs::remove_from(ctx, command, key, &members)
    };
    let rows: Vec<u64> = sorted.settled.iter().filter_map(|id| id.inbox()).collect();
    // Their transactions have deleted the rows.
    inbox::leave(ctx, &space.keys, &rows);
    let untimed = remove(c"ZREM", &space.keys.delayed, bytes(&timed));
    remove(c"HDEL", &space.keys.attempts, bytes(&tried));
    space.timed = space.timed.saturating_sub(untimed);
    let end = (wall_ms() + unique_ms).to_string();
    let ends: Vec<_> = unique.into_iter().map(|key| (end.clone().into_bytes(), key.into_vec())).collect();
    jobs::write_pairs(ctx, c"ZADD", &space.keys.unique, &ends);
    space.jobs = jobs::len(ctx, &space.keys.jobs);
    if space.jobs == 0 {
        space.bytes = 0;
    }
}

/// What goes in one entry each.
fn groups(mut records: &[(JobId, Vec<u8>)]) -> impl Iterator<Item = &[(JobId, Vec<u8>)]> {
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let fits = |(_, record): &&(JobId, Vec<u8>)| {
            bytes += record.len();
            bytes <= BYTES_AN_ENTRY
        };
        let count = records.iter().take(RECORDS_AN_ENTRY).take_while(fits).count().max(1);
        let (group, rest) = records.split_at_checked(count)?;
        records = rest;
        Some(group)
    })
}
