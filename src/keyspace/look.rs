//! What a key under a section's names looks like: what bear leaves there, or what only others write.

use std::ops::ControlFlow;

use super::claims::WorkKeys;
use super::inbox;
use super::jobs::{self, QueueKeys, LEAST_QUEUE_ID};
use super::watch;
use crate::core::cache::ownership::Look;
use crate::core::cache::stored_form::Form;
use crate::core::calls::keys::QueuePart;
use crate::core::inbox::tell::Telling;
use crate::core::jobs::job_id::JobId;
use crate::core::jobs::record::JobRecord;
use crate::redis_api::{glance_at_set, Context, Direction, KeyType, StringKey};

/// Looks at a key that is there.
pub fn look(ctx: Context, kind: watch::Kind, key: &[u8]) -> Look {
    match kind {
        watch::Kind::Entry => entry(ctx, key),
        watch::Kind::Metadata => set(ctx, key),
        watch::Kind::Queue(part) => queue(ctx, part, key),
        // It is looked at by whoever asks for it.
        watch::Kind::Lock => Look::Blank,
    }
}

/// An entry has a TTL, and is finished JSON, or compressed; a value may be any JSON, or any bytes.
fn entry(ctx: Context, key: &[u8]) -> Look {
    let Some(value) = StringKey::open(ctx, key).filter(|value| value.ttl_ms().is_some()) else { return Look::Strange };
    match value.bytes() {
        b"[]" | b"null" => Look::Blank,
        [b'[' | b'{', .., b']' | b'}'] => Look::Likely,
        bytes if matches!(Form::of(bytes, usize::MAX), Form::Compressed { .. }) => Look::Likely,
        _ if watch::is_value(key) => Look::Likely,
        _ => Look::Strange,
    }
}

/// A set of ours lists entries, and has no TTL. That of a row has a name that nobody else thinks of.
fn set(ctx: Context, key: &[u8]) -> Look {
    let Some(set) = glance_at_set(ctx, key).filter(|set| !set.has_ttl) else { return Look::Strange };
    let lists_entries = |member: &[u8]| watch::named(member).is_some_and(|named| named.kind == watch::Kind::Entry);
    match () {
        // Sections may have left the catalog, and calls have changed.
        () if !set.members.iter().all(|member| member.contains(&b':')) => Look::Strange,
        () if key.ends_with(b":caches") && set.members.iter().all(|member| lists_entries(member)) => Look::Proof,
        () => Look::Likely,
    }
}

fn queue(ctx: Context, part: QueuePart, key: &[u8]) -> Look {
    let fields = |command: &std::ffi::CStr, args: &[&[u8]]| jobs::read_texts(ctx, command, args);
    let is_job = |text: &[u8]| JobId::parse(text).is_some();
    let is_row = |text: &[u8]| inbox::parse_row(text).is_some();
    let proof = |is: bool| if is { Look::Proof } else { Look::Strange };
    match (part, KeyType::of(ctx, key)) {
        (QueuePart::Jobs, Some(KeyType::Stream)) => {
            match first_entry(ctx, key, |fields| JobRecord::read(fields).is_ok()) {
                None => Look::Blank,
                Some(is) => proof(is),
            }
        }
        (QueuePart::Completed, Some(KeyType::Stream)) => {
            // Ids and records in turn.
            proof(first_entry(ctx, key, |fields| fields.iter().all(|(id, _)| is_job(id))) != Some(false))
        }
        (QueuePart::Failed, Some(KeyType::Stream)) => {
            proof(first_entry(ctx, key, |fields| fields.iter().any(|(name, _)| *name == b"record")) != Some(false))
        }
        (QueuePart::Id, Some(KeyType::String)) => {
            let id = StringKey::open(ctx, key).and_then(|id| std::str::from_utf8(id.bytes()).ok()?.parse::<i64>().ok());
            proof(id.is_some_and(|id| id >= LEAST_QUEUE_ID))
        }
        (QueuePart::Ledger, Some(KeyType::Hash)) => {
            let totals = fields(c"HMGET", &[key, b"completed", b"failed"]);
            proof(totals.iter().any(|total| total.iter().all(u8::is_ascii_digit) && !total.is_empty()))
        }
        (QueuePart::Attempts, Some(KeyType::Hash)) => {
            proof(fields(c"HRANDFIELD", &[key, b"1"]).iter().all(|field| is_job(field)))
        }
        (QueuePart::UniqueJobs, Some(KeyType::Hash)) => {
            let pair = fields(c"HRANDFIELD", &[key, b"1", b"WITHVALUES"]);
            let names_job = |value: &[u8]| value.split(|byte| *byte == b' ').next().is_some_and(is_job);
            proof(pair.get(1).is_none_or(|value| names_job(value)))
        }
        (QueuePart::Delayed, Some(KeyType::SortedSet)) => {
            proof(fields(c"ZRANGE", &[key, b"0", b"0"]).iter().all(|member| is_job(member)))
        }
        (QueuePart::Inbox, Some(KeyType::Hash)) => {
            let pair = fields(c"HRANDFIELD", &[key, b"1", b"WITHVALUES"]);
            proof(matches!(&pair[..], [row, id] if is_row(row) && inbox::job_of(id).is_some()))
        }
        (QueuePart::InboxTell, Some(KeyType::Hash)) => {
            let pair = fields(c"HRANDFIELD", &[key, b"1", b"WITHVALUES"]);
            proof(matches!(&pair[..], [row, told] if is_row(row) && Telling::read(told).is_some()))
        }
        (QueuePart::Schedules | QueuePart::ScheduleStates, Some(KeyType::Hash)) => {
            let pair = fields(c"HRANDFIELD", &[key, b"1", b"WITHVALUES"]);
            proof(pair.get(1).is_none_or(|value| value.starts_with(br#"{"v":"#)))
        }
        (QueuePart::Unique, Some(KeyType::SortedSet)) => Look::Likely,
        (QueuePart::Paused, Some(KeyType::String)) => {
            let is_ours = StringKey::open(ctx, key).is_some_and(|text| text.bytes() == jobs::PAUSED);
            if is_ours {
                Look::Proof
            } else {
                Look::Strange
            }
        }
        (part, Some(kind)) if part.is_work() => work(ctx, part, key, kind),
        _ => Look::Strange,
    }
}

/// A key of claimed jobs.
fn work(ctx: Context, part: QueuePart, key: &[u8], kind: KeyType) -> Look {
    let fields = |command: &std::ffi::CStr, args: &[&[u8]]| jobs::read_texts(ctx, command, args);
    let is_job = |text: &[u8]| JobId::parse(text).is_some();
    let is_number = |text: &[u8]| !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    let any_field = || fields(c"HRANDFIELD", &[key, b"1"]);
    let has = |names: &'static [&'static [u8]]| {
        first_entry(ctx, key, |fields| names.iter().all(|name| fields.iter().any(|(field, _)| field == name)))
    };
    let is_ours = match (part, kind) {
        (QueuePart::Work, KeyType::Stream) => match has(&[b"v", b"job", b"data"]) {
            None => return Look::Blank,
            Some(is) => is,
        },
        (QueuePart::WorkCompleted, KeyType::Stream) => {
            // The type of the jobs, and then ids and records in turn.
            let is = |(at, (name, _)): (usize, &(&[u8], &[u8]))| if at == 0 { *name == b"t" } else { is_job(name) };
            first_entry(ctx, key, |fields| fields.iter().enumerate().all(is)) != Some(false)
        }
        (QueuePart::WorkFailed, KeyType::Stream) => has(&[b"t", b"id", b"record"]) != Some(false),
        (QueuePart::WorkStarted, KeyType::Stream) => has(&[b"t"]) != Some(false),
        (
            QueuePart::WorkClaims | QueuePart::WorkAttempts | QueuePart::WorkProgress | QueuePart::WorkData,
            KeyType::Hash,
        ) => any_field().iter().all(|field| is_job(field)),
        (QueuePart::WorkDelayed, KeyType::SortedSet) => {
            fields(c"ZRANGE", &[key, b"0", b"0"]).iter().all(|member| is_job(member))
        }
        (QueuePart::WorkToken, KeyType::String) => StringKey::open(ctx, key).is_some_and(|token| {
            let mut numbers = token.bytes().split(|byte| *byte == b' ');
            numbers.clone().count() == 3 && numbers.all(is_number)
        }),
        (QueuePart::WorkTotals, KeyType::Hash) => {
            fields(c"HMGET", &[key, b"claimed", b"completed", b"failed", b"expired", b"released"])
                .iter()
                .any(|total| is_number(total))
        }
        (QueuePart::WorkLimits, KeyType::Hash) => {
            let known: [&[u8]; 5] = [b"concurrency", b"rate", b"by", b"by_concurrency", b"by_rate"];
            any_field().iter().all(|field| known.contains(&&**field))
        }
        // Its name says it: nobody else thinks of it.
        (QueuePart::WorkLog, KeyType::List) => true,
        _ => false,
    };
    if is_ours {
        Look::Proof
    } else {
        Look::Strange
    }
}

impl WorkKeys {
    /// What is wrong where one of them is somebody's: nothing is to be written to it. See [`QueueKeys::foreign`].
    pub fn foreign(&self, ctx: Context) -> Option<String> {
        // Records are trimmed: those of others must not be.
        let is_trimmed =
            |part: QueuePart| matches!(part, QueuePart::WorkCompleted | QueuePart::WorkFailed | QueuePart::WorkStarted);
        let has_identity = queue(ctx, QueuePart::Id, &self.id) == Look::Proof;
        let (_, key, _) = self.parts().into_iter().find(|(part, key, _)| {
            let concerns = !has_identity || is_trimmed(*part);
            concerns && KeyType::of(ctx, key).is_some_and(|kind| work(ctx, *part, key, kind) == Look::Strange)
        })?;
        Some(not_ours(key))
    }
}

/// None of an empty stream.
fn first_entry(ctx: Context, key: &[u8], is: impl Fn(&crate::redis_api::Fields) -> bool) -> Option<bool> {
    let mut found = None;
    jobs::walk(ctx, key, Direction::Forward, (JobId::ZERO, jobs::LAST), &mut |_, fields| {
        found = Some(is(fields));
        ControlFlow::Break(())
    });
    found
}

fn not_ours(key: &[u8]) -> String {
    format!("FOREIGN bear did not write {}, a key of the queue; rename or delete it", String::from_utf8_lossy(key))
}

impl QueueKeys {
    /// What is wrong where one of them is somebody's: nothing is to be written to it. A queue of ours shows its identity.
    pub fn foreign(&self, ctx: Context) -> Option<String> {
        let parts = self.parts();
        // A key that stops the queue may be anybody's: it is not written to by the way.
        let stops = |part: &QueuePart| *part == QueuePart::Paused;
        // Records are trimmed: those of others must not be.
        let is_trimmed = |part: &QueuePart| matches!(part, QueuePart::Completed | QueuePart::Failed);
        let has_identity = self.shows_identity(ctx);
        let concerns = |part: &QueuePart| !stops(part) && (!has_identity || is_trimmed(part));
        let standing = || parts.iter().filter(|(part, key)| concerns(part) && KeyType::of(ctx, key).is_some());
        // Without it, or with one that another hand wrote, the rest must look like ours.
        let strange = |(part, key): &&(QueuePart, &[u8])| queue(ctx, *part, key) == Look::Strange;
        let is_alone = || standing().all(|(part, _)| *part == QueuePart::Id) && self.has_no_work(ctx);
        let (_, key) = standing().find(|found| strange(found) && (found.0 != QueuePart::Id || is_alone()))?;
        Some(not_ours(key))
    }

    fn parts(&self) -> [(QueuePart, &[u8]); 12] {
        [
            (QueuePart::Jobs, &self.jobs),
            (QueuePart::Completed, &self.completed),
            (QueuePart::Failed, &self.failed),
            (QueuePart::Ledger, &self.ledger),
            (QueuePart::Attempts, &self.attempts),
            (QueuePart::Delayed, &self.delayed),
            (QueuePart::UniqueJobs, &self.unique_jobs),
            (QueuePart::Unique, &self.unique),
            (QueuePart::Inbox, &self.inbox),
            (QueuePart::InboxTell, &self.inbox_tell),
            (QueuePart::Paused, &self.paused),
            (QueuePart::Id, &self.id),
        ]
    }

    /// The key by which BEAR.PAUSE stops the queue is somebody's.
    pub fn foreign_pause(&self, ctx: Context) -> Option<String> {
        let is_there = KeyType::of(ctx, &self.paused).is_some();
        (is_there && queue(ctx, QueuePart::Paused, &self.paused) == Look::Strange).then(|| not_ours(&self.paused))
    }

    pub fn shows_identity(&self, ctx: Context) -> bool {
        queue(ctx, QueuePart::Id, &self.id) == Look::Proof
    }

    /// Is none of them there?
    pub fn are_absent(&self, ctx: Context) -> bool {
        self.parts().iter().all(|(_, key)| KeyType::of(ctx, key).is_none()) && self.has_no_work(ctx)
    }

    /// Is there no key of claimed jobs either?
    fn has_no_work(&self, ctx: Context) -> bool {
        let prefix = self.jobs.strip_suffix(b":queue").unwrap_or(&self.jobs);
        WorkKeys::new(prefix).are_absent(ctx)
    }
}
