//! The keys of claimed jobs: what is read of them and written to them. All writes replicate, and are marked as our own.
//!
//! Claims and acknowledgements are written without a command (a tenth of its price), in one unit with the rest of the
//! callback. Keys are opened before the mark is set: what Redis then finds to be expired was not our doing.

use smallvec::SmallVec;

use super::jobs::{self, write};
use super::store::own;
use crate::core::calls::keys::{queue_key, QueuePart};
use crate::core::jobs::job_id::{IdText, JobId};
use crate::redis_api::{Context, Fields, HashKey, KeyType, Replicate, SortedSetKey, StreamKey, WrongType};

/// Names of the keys of a space's claimed jobs.
#[derive(Debug)]
pub struct WorkKeys {
    pub work: Box<[u8]>,
    pub claims: Box<[u8]>,
    pub token: Box<[u8]>,
    pub delayed: Box<[u8]>,
    pub attempts: Box<[u8]>,
    pub progress: Box<[u8]>,
    pub data: Box<[u8]>,
    pub started: Box<[u8]>,
    pub limits: Box<[u8]>,
    pub totals: Box<[u8]>,
    pub completed: Box<[u8]>,
    pub failed: Box<[u8]>,
    /// What the names of logs begin with.
    logs: Box<[u8]>,
    /// The queue's identity, which SQL jobs share.
    pub(super) id: Box<[u8]>,
}

impl WorkKeys {
    pub fn new(prefix: &[u8]) -> WorkKeys {
        let key = |part| queue_key(prefix, part);
        WorkKeys {
            work: key(QueuePart::Work),
            claims: key(QueuePart::WorkClaims),
            token: key(QueuePart::WorkToken),
            delayed: key(QueuePart::WorkDelayed),
            attempts: key(QueuePart::WorkAttempts),
            progress: key(QueuePart::WorkProgress),
            data: key(QueuePart::WorkData),
            started: key(QueuePart::WorkStarted),
            limits: key(QueuePart::WorkLimits),
            totals: key(QueuePart::WorkTotals),
            completed: key(QueuePart::WorkCompleted),
            failed: key(QueuePart::WorkFailed),
            logs: key(QueuePart::WorkLog),
            id: key(QueuePart::Id),
        }
    }

    /// The list of a job's log.
    pub fn log(&self, id: JobId) -> Vec<u8> {
        [&self.logs, id.text().as_bytes()].concat()
    }

    /// All but logs, with their types; what tells most of whose they are comes first.
    pub(super) fn parts(&self) -> [(QueuePart, &[u8], KeyType); 12] {
        [
            (QueuePart::Work, &self.work, KeyType::Stream),
            (QueuePart::WorkClaims, &self.claims, KeyType::Hash),
            (QueuePart::WorkToken, &self.token, KeyType::String),
            (QueuePart::WorkCompleted, &self.completed, KeyType::Stream),
            (QueuePart::WorkFailed, &self.failed, KeyType::Stream),
            (QueuePart::WorkDelayed, &self.delayed, KeyType::SortedSet),
            (QueuePart::WorkAttempts, &self.attempts, KeyType::Hash),
            (QueuePart::WorkProgress, &self.progress, KeyType::Hash),
            (QueuePart::WorkData, &self.data, KeyType::Hash),
            (QueuePart::WorkStarted, &self.started, KeyType::Stream),
            (QueuePart::WorkLimits, &self.limits, KeyType::Hash),
            (QueuePart::WorkTotals, &self.totals, KeyType::Hash),
        ]
    }

    /// What is wrong where one of them is of another type than it should be, or somebody's: it is not written to. What
    /// SQL jobs share is looked at by [`super::jobs::QueueKeys::wrong_type`].
    pub fn wrong_type(&self, ctx: Context) -> Option<String> {
        let wrong = self.parts().into_iter().find_map(|(_, key, expected)| {
            let kind = KeyType::of(ctx, key).filter(|kind| *kind != expected)?;
            let key = String::from_utf8_lossy(key);
            Some(format!("WRONGTYPE {key} holds {kind} and should be {expected}; rename or delete it"))
        });
        wrong.or_else(|| self.foreign(ctx))
    }

    /// Is none of them there?
    pub fn are_absent(&self, ctx: Context) -> bool {
        self.parts().iter().all(|(_, key, _)| KeyType::of(ctx, key).is_none())
    }
}

/// Adds an entry to a stream with an id of ours; `fields` are names and values in turn. False where the id is not greater
/// than all that the stream has had.
pub fn add_with_id(ctx: Context, key: &[u8], id: JobId, fields: &[&[u8]]) -> Result<bool, WrongType> {
    let mut stream = StreamKey::open_to_write(ctx, key)?;
    Ok(own(|| stream.add_with_id((id.ms, id.seq), fields)))
}

/// Deletes entries of a stream. Returns how many were there.
pub fn delete(ctx: Context, key: &[u8], ids: &[JobId]) -> usize {
    let ids: SmallVec<[(u64, u64); 8]> = ids.iter().map(|id| (id.ms, id.seq)).collect();
    StreamKey::open_to_write(ctx, key).map_or(0, |mut stream| own(|| stream.delete(&ids)))
}

/// Hands the fields of one entry to `read`; None where it is not there.
pub fn entry<R>(ctx: Context, key: &[u8], id: JobId, read: impl FnOnce(&Fields) -> R) -> Option<R> {
    StreamKey::open_to_read(ctx, key).ok()?.read((id.ms, id.seq), read)
}

/// Sets what a hash holds of jobs.
pub fn set(ctx: Context, key: &[u8], records: &[(JobId, &[u8])]) -> Result<(), WrongType> {
    let ids: Texts = records.iter().map(|(id, _)| id.text()).collect();
    let fields: Pairs = ids.iter().zip(records).map(|(id, (_, record))| (id.as_bytes(), *record)).collect();
    set_fields(ctx, key, &fields)
}

/// Deletes what a hash holds of jobs. Returns of how many it held something.
pub fn forget(ctx: Context, key: &[u8], jobs: &[JobId]) -> usize {
    let ids: Texts = jobs.iter().map(|id| id.text()).collect();
    let fields: Words = ids.iter().map(IdText::as_bytes).collect();
    let Ok(mut hash) = HashKey::open_to_write(ctx, key) else { return 0 };
    own(|| hash.delete(&fields))
}

/// Hands what a hash holds of a job to `read`.
pub fn get<R>(ctx: Context, key: &[u8], job: JobId, read: impl FnOnce(&[u8]) -> R) -> Option<R> {
    HashKey::open_to_read(ctx, key).ok()?.get(job.text().as_bytes(), read)
}

/// Sets fields of a hash that are no jobs: totals, limits.
pub fn set_fields(ctx: Context, key: &[u8], fields: &[(&[u8], &[u8])]) -> Result<(), WrongType> {
    let mut hash = HashKey::open_to_write(ctx, key)?;
    own(|| hash.set(fields));
    Ok(())
}

/// A field of a hash and its value.
pub type Pair = (Box<[u8]>, Box<[u8]>);

/// Fields and values of a small hash.
pub fn all_fields(ctx: Context, key: &[u8]) -> Vec<Pair> {
    let mut texts = jobs::read_texts(ctx, c"HGETALL", &[key]).into_iter();
    let mut pairs = Vec::new();
    while let (Some(field), Some(value)) = (texts.next(), texts.next()) {
        pairs.push((field, value));
    }
    pairs
}

pub fn as_slices(pairs: &[Pair]) -> impl Iterator<Item = (&[u8], &[u8])> {
    pairs.iter().map(|(field, value)| (&**field, &**value))
}

/// How many fields a hash has.
pub fn field_count(ctx: Context, key: &[u8]) -> u64 {
    HashKey::open_to_read(ctx, key).map_or(0, |hash| hash.len())
}

/// Has a job wait until a Unix time.
pub fn delay(ctx: Context, key: &[u8], job: JobId, due_ms: u64) -> Result<(), WrongType> {
    let mut set = SortedSetKey::open_to_write(ctx, key)?;
    own(|| set.add(job.text().as_bytes(), due_ms as f64));
    Ok(())
}

/// Jobs wait no longer. Returns how many did.
pub fn undelay(ctx: Context, key: &[u8], jobs: &[JobId]) -> usize {
    let ids: Texts = jobs.iter().map(|id| id.text()).collect();
    let members: Words = ids.iter().map(IdText::as_bytes).collect();
    let Ok(mut set) = SortedSetKey::open_to_write(ctx, key) else { return 0 };
    own(|| set.remove(&members))
}

/// Until when a job waits.
pub fn due_ms(ctx: Context, key: &[u8], job: JobId) -> Option<u64> {
    SortedSetKey::open_to_read(ctx, key).ok()?.score(job.text().as_bytes()).map(|due| due as u64)
}

/// How many wait.
pub fn delayed_count(ctx: Context, key: &[u8]) -> u64 {
    SortedSetKey::open_to_read(ctx, key).map_or(0, |set| set.len())
}

/// Adds lines to a log, of which the newest `keep` stay. Returns how many it has then.
pub fn log(ctx: Context, key: &[u8], lines: &[&[u8]], keep: u64) -> u64 {
    let mut words = vec![key];
    words.extend_from_slice(lines);
    let reply = own(|| ctx.call(c"RPUSH", Replicate::Yes, &words));
    let count = reply.and_then(|reply| reply.integer()).map_or(0, |count| count.max(0) as u64);
    if count > keep {
        drop_lines(ctx, key, count - keep);
    }
    count.min(keep)
}

/// Drops the oldest lines of a log.
pub fn drop_lines(ctx: Context, key: &[u8], count: u64) {
    write(ctx, c"LTRIM", &[key, count.to_string().as_bytes(), b"-1"]);
}

/// Lines of a log by their places, both included; negative ones count from the end.
pub fn lines(ctx: Context, key: &[u8], from: i64, to: i64) -> Vec<Box<[u8]>> {
    jobs::read_texts(ctx, c"LRANGE", &[key, from.to_string().as_bytes(), to.to_string().as_bytes()])
}

type Texts = SmallVec<[IdText; 4]>;
type Words<'a> = SmallVec<[&'a [u8]; 8]>;
type Pairs<'a> = SmallVec<[(&'a [u8], &'a [u8]); 8]>;
