//! The keys of a queue: what is read of them and written to them. All writes replicate, and are marked as our own.

use std::ops::ControlFlow;

use super::store::own;
use crate::core::calls::keys::{queue_key, QueuePart};
use crate::core::jobs::job_id::JobId;
use crate::core::jobs::record::{JobRecord, Numbers};
use crate::redis_api::{Context, Direction, Fields, KeyType, Replicate, StreamKey, WrongType};

/// Arguments of one command: more are several commands.
const ARGS: usize = 1_000;

/// The least identity that a queue is given; a counter of somebody's is smaller.
pub const LEAST_QUEUE_ID: i64 = 1 << 32;

/// What the key of a queue holds that is paused.
pub const PAUSED: &[u8] = b"by BEAR.PAUSE; BEAR.RESUME ends it";

/// Names of a queue's keys.
#[derive(Debug)]
pub struct QueueKeys {
    pub jobs: Box<[u8]>,
    pub id: Box<[u8]>,
    pub delayed: Box<[u8]>,
    pub unique: Box<[u8]>,
    pub unique_jobs: Box<[u8]>,
    pub attempts: Box<[u8]>,
    pub ledger: Box<[u8]>,
    pub paused: Box<[u8]>,
    pub completed: Box<[u8]>,
    pub failed: Box<[u8]>,
    pub inbox: Box<[u8]>,
    pub inbox_tell: Box<[u8]>,
}

impl QueueKeys {
    pub fn new(prefix: &[u8]) -> QueueKeys {
        let key = |part| queue_key(prefix, part);
        QueueKeys {
            jobs: key(QueuePart::Jobs),
            id: key(QueuePart::Id),
            delayed: key(QueuePart::Delayed),
            unique: key(QueuePart::Unique),
            unique_jobs: key(QueuePart::UniqueJobs),
            attempts: key(QueuePart::Attempts),
            ledger: key(QueuePart::Ledger),
            paused: key(QueuePart::Paused),
            completed: key(QueuePart::Completed),
            failed: key(QueuePart::Failed),
            inbox: key(QueuePart::Inbox),
            inbox_tell: key(QueuePart::InboxTell),
        }
    }

    /// The stream of claimed jobs beside it.
    pub fn work(&self) -> Vec<u8> {
        [&self.jobs, &b":work"[..]].concat()
    }

    /// What is wrong where one of them is of another type than it should be, or somebody's: it is not written to.
    pub fn wrong_type(&self, ctx: Context) -> Option<String> {
        self.of_wrong_type(ctx).or_else(|| self.foreign(ctx))
    }

    fn of_wrong_type(&self, ctx: Context) -> Option<String> {
        let expected = [
            (&self.jobs, KeyType::Stream),
            (&self.id, KeyType::String),
            (&self.delayed, KeyType::SortedSet),
            (&self.unique, KeyType::SortedSet),
            (&self.unique_jobs, KeyType::Hash),
            (&self.attempts, KeyType::Hash),
            (&self.ledger, KeyType::Hash),
            (&self.completed, KeyType::Stream),
            (&self.failed, KeyType::Stream),
            (&self.inbox, KeyType::Hash),
            (&self.inbox_tell, KeyType::Hash),
        ];
        expected.into_iter().find_map(|(key, expected)| {
            let kind = KeyType::of(ctx, key).filter(|kind| *kind != expected)?;
            let key = String::from_utf8_lossy(key);
            Some(format!("WRONGTYPE {key} holds {kind} and should be {expected}; rename or delete it"))
        })
    }
}

fn id_of((ms, seq): (u64, u64)) -> JobId {
    JobId { ms, seq }
}

/// Adds a job to the stream. None where the server refuses.
pub fn add(ctx: Context, key: &[u8], record: &JobRecord) -> Result<Option<JobId>, WrongType> {
    let mut numbers = Numbers::default();
    let mut stream = StreamKey::open_to_write(ctx, key)?;
    Ok(own(|| stream.add(&record.fields(&mut numbers))).map(id_of))
}

/// Entries of a stream; 0 where there is none.
pub fn len(ctx: Context, key: &[u8]) -> u64 {
    StreamKey::open_to_read(ctx, key).map_or(0, |stream| stream.len())
}

/// Walks over a stream's entries from one id to another, both included.
pub fn walk(
    ctx: Context,
    key: &[u8],
    direction: Direction,
    (from, to): (JobId, JobId),
    each: &mut dyn FnMut(JobId, &Fields) -> ControlFlow<()>,
) {
    if let Ok(stream) = StreamKey::open_to_read(ctx, key) {
        stream.walk(direction, (from.ms, from.seq), (to.ms, to.seq), &mut |id, fields| {
            each(id_of(id), fields).is_continue()
        });
    }
}

/// Is there an entry with this id?
pub fn entry_stands(ctx: Context, key: &[u8], id: JobId) -> bool {
    let mut found = false;
    walk(ctx, key, Direction::Forward, (id, id), &mut |_, _| {
        found = true;
        ControlFlow::Break(())
    });
    found
}

/// The greatest id that there can be.
pub const LAST: JobId = JobId { ms: u64::MAX, seq: u64::MAX };

/// The id of the newest entry.
pub fn newest(ctx: Context, key: &[u8]) -> Option<JobId> {
    let mut newest = None;
    walk(ctx, key, Direction::Backward, (JobId::ZERO, LAST), &mut |id, _| {
        newest = Some(id);
        ControlFlow::Break(())
    });
    newest
}

/// The id of the oldest entry.
pub fn oldest(ctx: Context, key: &[u8]) -> Option<JobId> {
    let mut oldest = None;
    walk(ctx, key, Direction::Forward, (JobId::ZERO, LAST), &mut |id, _| {
        oldest = Some(id);
        ControlFlow::Break(())
    });
    oldest
}

/// Adds an entry of any fields; `fields` are names and values in turn.
pub fn append(ctx: Context, key: &[u8], fields: &[&[u8]]) -> Option<JobId> {
    let mut stream = StreamKey::open_to_write(ctx, key).ok()?;
    own(|| stream.add(fields)).map(id_of)
}

/// Removes the entries before an id.
pub fn trim(ctx: Context, key: &[u8], before: JobId) {
    write(ctx, c"XTRIM", &[key, b"MINID", before.to_string().as_bytes()]);
}

/// Keeps the newest entries only.
pub fn keep_newest(ctx: Context, key: &[u8], count: u64) {
    write(ctx, c"XTRIM", &[key, b"MAXLEN", count.to_string().as_bytes()]);
}

/// Removes entries. Returns how many were there.
pub fn delete(ctx: Context, key: &[u8], ids: &[JobId]) -> u64 {
    let ids: Vec<String> = ids.iter().map(JobId::to_string).collect();
    let members: Vec<&[u8]> = ids.iter().map(String::as_bytes).collect();
    remove_from(ctx, c"XDEL", key, &members)
}

/// Removes members of a sorted set (ZREM), or fields of a hash (HDEL).
pub fn remove_from(ctx: Context, command: &std::ffi::CStr, key: &[u8], members: &[&[u8]]) -> u64 {
    let mut removed = 0;
    for chunk in members.chunks(ARGS) {
        let mut args = vec![key];
        args.extend_from_slice(chunk);
        let reply = own(|| ctx.call(command, Replicate::Yes, &args));
        removed += reply.and_then(|reply| reply.integer()).map_or(0, |count| count.max(0) as u64);
    }
    removed
}

/// A command that writes; false where it failed.
pub fn write(ctx: Context, command: &std::ffi::CStr, args: &[&[u8]]) -> bool {
    own(|| ctx.call(command, Replicate::Yes, args)).is_some()
}

/// The same with many arguments after the key, in pairs.
pub fn write_pairs(ctx: Context, command: &std::ffi::CStr, key: &[u8], pairs: &[(Vec<u8>, Vec<u8>)]) {
    for chunk in pairs.chunks(ARGS / 2) {
        let mut args = vec![key];
        for (first, second) in chunk {
            args.extend([first.as_slice(), second]);
        }
        write(ctx, command, &args);
    }
}

/// One string that a command answers.
pub fn read_text(ctx: Context, command: &std::ffi::CStr, args: &[&[u8]]) -> Option<Box<[u8]>> {
    let reply = ctx.call(command, Replicate::No, args)?;
    let mut text = None;
    reply.for_each(&mut |bytes| text = Some(bytes.into()));
    text
}

/// All strings that a command answers.
pub fn read_texts(ctx: Context, command: &std::ffi::CStr, args: &[&[u8]]) -> Vec<Box<[u8]>> {
    let mut texts = Vec::new();
    if let Some(reply) = ctx.call(command, Replicate::No, args) {
        reply.for_each(&mut |bytes| texts.push(bytes.into()));
    }
    texts
}

/// An integer that a command answers.
pub fn read_integer(ctx: Context, command: &std::ffi::CStr, args: &[&[u8]]) -> Option<i64> {
    ctx.call(command, Replicate::No, args)?.integer()
}
