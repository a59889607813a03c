//! The keys of rows of the inbox: which jobs came of them, and what Postgres is to be told. All writes replicate, and are marked as
//! our own.

use smallvec::SmallVec;

use super::claims::set_fields;
use super::jobs::{self, QueueKeys};
use super::store::own;
use crate::core::claims::attempts::AttemptError;
use crate::core::inbox::tell::Telling;
use crate::core::jobs::job_id::JobId;
use crate::redis_api::{Context, HashKey};

/// What stands behind the id of a job that BEAR.RETRY has made of a row that had failed.
const AGAIN: &[u8] = b"again";

/// What stands behind the id of one that has failed for good, if its row was not completed: then the error, JSON.
const FAILING: &[u8] = b"failing ";

/// What Redis knows of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Known {
    Nothing,
    /// It has become this job, which has not settled. `again`: by BEAR.RETRY, of which Postgres has not been told yet.
    Taken {
        id: JobId,
        again: bool,
    },
    /// Its outcome is still to be told.
    Told,
}

/// String: the number of the data set by which rows of the inbox are taken over.
const OWNER: &[u8] = b"bear.module:inbox";

/// Which data set it is.
pub fn owner(ctx: Context) -> Option<i64> {
    let text = jobs::read_text(ctx, c"GET", &[OWNER])?;
    std::str::from_utf8(&text).ok()?.parse().ok().filter(|owner| *owner > 0)
}

pub fn set_owner(ctx: Context, owner: i64) {
    jobs::write(ctx, c"SET", &[OWNER, owner.to_string().as_bytes()]);
}

/// The number of a row, spelled plainly.
pub fn parse_row(text: &[u8]) -> Option<u64> {
    let is_plain = !text.is_empty() && text.iter().all(u8::is_ascii_digit) && (text[0] != b'0' || text.len() == 1);
    std::str::from_utf8(text).ok().filter(|_| is_plain)?.parse().ok()
}

/// The job that the hash names, and whether it is one that was tried again.
pub fn job_of(value: &[u8]) -> Option<(JobId, bool)> {
    let (id, beside) = split(value);
    JobId::parse(id).map(|id| (id, beside == AGAIN))
}

/// The id, and what stands behind it.
fn split(value: &[u8]) -> (&[u8], &[u8]) {
    match value.iter().position(|byte| *byte == b' ') {
        Some(at) => (&value[..at], &value[at + 1..]),
        None => (value, &[]),
    }
}

/// What is known of a row.
pub fn known(ctx: Context, keys: &QueueKeys, row: u64) -> Known {
    match taken(ctx, keys, row) {
        Some((id, again)) => Known::Taken { id, again },
        None if telling(ctx, keys, row).is_some() => Known::Told,
        None => Known::Nothing,
    }
}

/// The job that a row has become.
pub fn taken(ctx: Context, keys: &QueueKeys, row: u64) -> Option<(JobId, bool)> {
    get(ctx, &keys.inbox, row, job_of).flatten()
}

/// What is to be told of it.
pub fn telling(ctx: Context, keys: &QueueKeys, row: u64) -> Option<Telling> {
    get(ctx, &keys.inbox_tell, row, Telling::read).flatten()
}

/// A row has become a job.
pub fn take(ctx: Context, keys: &QueueKeys, row: u64, id: JobId, again: bool) {
    let id = id.text();
    let value = [id.as_bytes(), if again { b" " } else { b"" }, if again { AGAIN } else { b"" }].concat();
    // The type of the key was looked at when the space was read, and whenever another hand touched it.
    let _ = set_fields(ctx, &keys.inbox, &[(row.to_string().as_bytes(), &value)]);
}

/// Its job has failed for good, unless Postgres says that it was completed.
pub fn fail(ctx: Context, keys: &QueueKeys, row: u64, id: JobId, error: &AttemptError) {
    // Numbers and texts: nothing here can fail to be written.
    let error = serde_json::to_vec(error).unwrap_or_default();
    let value = [id.text().as_bytes(), b" ", FAILING, &error].concat();
    let _ = set_fields(ctx, &keys.inbox, &[(row.to_string().as_bytes(), &value)]);
}

/// Why its job is to fail.
pub fn failing(ctx: Context, keys: &QueueKeys, row: u64) -> Option<AttemptError> {
    let read = |value: &[u8]| serde_json::from_slice(split(value).1.strip_prefix(FAILING)?).ok();
    get(ctx, &keys.inbox, row, read).flatten()
}

/// Postgres is to be told this.
pub fn tell(ctx: Context, keys: &QueueKeys, rows: &[(u64, Telling)]) {
    let texts: SmallVec<[(String, String); 2]> =
        rows.iter().map(|(row, telling)| (row.to_string(), telling.write())).collect();
    let fields: SmallVec<[(&[u8], &[u8]); 2]> =
        texts.iter().map(|(row, telling)| (row.as_bytes(), telling.as_bytes())).collect();
    let _ = set_fields(ctx, &keys.inbox_tell, &fields);
}

/// Their jobs stand no more.
pub fn leave(ctx: Context, keys: &QueueKeys, rows: &[u64]) {
    forget(ctx, &keys.inbox, rows);
}

/// Postgres knows.
pub fn told(ctx: Context, keys: &QueueKeys, rows: &[u64]) {
    forget(ctx, &keys.inbox_tell, rows);
}

/// How many rows have become jobs that have not settled.
pub fn taken_len(ctx: Context, keys: &QueueKeys) -> u64 {
    HashKey::open_to_read(ctx, &keys.inbox).map_or(0, |hash| hash.len())
}

/// How many rows Postgres is to be told of.
pub fn untold_len(ctx: Context, keys: &QueueKeys) -> u64 {
    HashKey::open_to_read(ctx, &keys.inbox_tell).map_or(0, |hash| hash.len())
}

/// The fields of one of the two hashes, some at a time: those behind a cursor, and the next one; 0: that was all.
pub fn scan(ctx: Context, key: &[u8], cursor: u64, each: &mut dyn FnMut(u64, &[u8])) -> u64 {
    let texts = jobs::read_texts(ctx, c"HSCAN", &[key, cursor.to_string().as_bytes(), b"COUNT", b"64"]);
    let Some((next, pairs)) = texts.split_first() else { return 0 };
    for pair in pairs.chunks_exact(2) {
        if let Some(row) = parse_row(&pair[0]) {
            each(row, &pair[1]);
        }
    }
    parse_row(next).unwrap_or(0)
}

fn get<R>(ctx: Context, key: &[u8], row: u64, read: impl FnOnce(&[u8]) -> R) -> Option<R> {
    HashKey::open_to_read(ctx, key).ok()?.get(row.to_string().as_bytes(), read)
}

fn forget(ctx: Context, key: &[u8], rows: &[u64]) {
    if rows.is_empty() {
        return;
    }
    let texts: SmallVec<[String; 2]> = rows.iter().map(u64::to_string).collect();
    let fields: SmallVec<[&[u8]; 2]> = texts.iter().map(String::as_bytes).collect();
    if let Ok(mut hash) = HashKey::open_to_write(ctx, key) {
        own(|| hash.delete(&fields));
    }
}
