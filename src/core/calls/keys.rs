//! The keys that a space owns, behind its prefix `P` ([`super::names::write_prefix`]).
//!
//! Invariant: keys of different kinds, rows, tags and calls differ. It rests on two rules: no call begins with `meta`,
//! `tag` or `queue`, nor with `@`, which is no part of a word; and the words of a key are encoded.

use std::borrow::Cow;

use super::word::{decode_word, encode_word};

/// `P:<call>`; `call` as [`super::lookup::Calls::write_key`] writes it.
pub fn write_entry_key(prefix: &[u8], call: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(prefix);
    out.push(b':');
    out.extend_from_slice(call);
}

/// Whose entries a row set lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Row<'a> {
    /// Entries that any change of the section concerns: `P:meta:*:caches`.
    Any,
    /// The row with this id.
    Id(Cow<'a, [u8]>),
}

/// `P:meta:<id>:caches`
pub fn write_row_key(prefix: &[u8], row: &Row<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(prefix);
    out.push(b':');
    write_row_part(row, out);
}

const META: &[u8] = b"meta:";
const CACHES: &[u8] = b":caches";
const TAG: &[u8] = b"tag:";
const QUEUE: &[u8] = b"queue";
const LOCK: &[u8] = b"@lock:";
const LIMIT: &[u8] = b"@limit:";
const TOKEN: &[u8] = b"@token";

fn write_row_part(row: &Row<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(META);
    match row {
        Row::Any => out.push(b'*'),
        Row::Id(id) if **id == *b"*" => out.extend_from_slice(b"%2A"),
        Row::Id(id) => encode_word(id, out),
    }
    out.extend_from_slice(CACHES);
}

/// `P:tag:<tag>`
pub fn write_tag_key(prefix: &[u8], tag: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(prefix);
    out.push(b':');
    out.extend_from_slice(TAG);
    out.extend_from_slice(tag);
}

/// `P:@lock:<name>`; the prefix stands there already.
pub fn write_lock_key(name: &[u8], out: &mut Vec<u8>) {
    out.push(b':');
    out.extend_from_slice(LOCK);
    encode_word(name, out);
}

/// `P:@token`: a token of the space's locks.
pub fn token_key(prefix: &[u8]) -> Vec<u8> {
    [prefix, b":", TOKEN].concat()
}

/// `P:@limit:<key>`, or `P:@limit:<limit>:<key>` of one with a name; the prefix stands there already.
pub fn write_limit_key(limit: Option<&str>, key: &[u8], out: &mut Vec<u8>) {
    out.push(b':');
    out.extend_from_slice(LIMIT);
    if let Some(limit) = limit {
        out.extend_from_slice(limit.as_bytes());
        out.push(b':');
    }
    encode_word(key, out);
}

/// The keys of a space's queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueuePart {
    /// Stream: jobs not yet settled.
    Jobs,
    /// String: the queue's identity.
    Id,
    /// Sorted set: jobs that wait for a time, by that time.
    Delayed,
    /// Sorted set: UNIQUE keys in force, by the end of their life.
    Unique,
    /// Hash: UNIQUE keys, with the job and what it says.
    UniqueJobs,
    /// Hash: jobs that failed and are tried again.
    Attempts,
    /// Hash: what is known of the ledger, and totals.
    Ledger,
    /// String: exists while nothing is applied.
    Paused,
    /// Streams: outcomes.
    Completed,
    Failed,
    /// Hash: rows of the inbox whose jobs have not settled, with the ids of these.
    Inbox,
    /// Hash: what Postgres is to be told of rows of the inbox.
    InboxTell,
    /// Hash: schedules that commands made.
    Schedules,
    /// Hash: how far schedules have come.
    ScheduleStates,
    /// Stream: claimed jobs not yet settled.
    Work,
    /// Hash: jobs that workers hold.
    WorkClaims,
    /// String: up to where tokens may have been handed out.
    WorkToken,
    /// Sorted set: claimed jobs that wait for a time, by that time.
    WorkDelayed,
    /// Hash: their attempts, and the errors of these.
    WorkAttempts,
    /// Hash: what workers say of how far they have come.
    WorkProgress,
    /// Hash: payloads that were changed.
    WorkData,
    /// Stream: claims begun lately, where there is a rate.
    WorkStarted,
    /// Hash: limits that were set by command.
    WorkLimits,
    /// Hash: how many were claimed, completed and so on.
    WorkTotals,
    /// Streams: outcomes of claimed jobs.
    WorkCompleted,
    WorkFailed,
    /// Lists, one a job: what its worker logged.
    WorkLog,
}

impl QueuePart {
    const ALL: [QueuePart; 27] = [
        QueuePart::Jobs,
        QueuePart::Id,
        QueuePart::Delayed,
        QueuePart::Unique,
        QueuePart::UniqueJobs,
        QueuePart::Attempts,
        QueuePart::Ledger,
        QueuePart::Paused,
        QueuePart::Completed,
        QueuePart::Failed,
        QueuePart::Inbox,
        QueuePart::InboxTell,
        QueuePart::Schedules,
        QueuePart::ScheduleStates,
        QueuePart::Work,
        QueuePart::WorkClaims,
        QueuePart::WorkToken,
        QueuePart::WorkDelayed,
        QueuePart::WorkAttempts,
        QueuePart::WorkProgress,
        QueuePart::WorkData,
        QueuePart::WorkStarted,
        QueuePart::WorkLimits,
        QueuePart::WorkTotals,
        QueuePart::WorkCompleted,
        QueuePart::WorkFailed,
        QueuePart::WorkLog,
    ];

    /// Of claimed jobs alone; the rest is of SQL jobs, or of both (`Id`, `Paused`, `Unique`, `UniqueJobs`, `Inbox`, `InboxTell`).
    pub fn is_work(self) -> bool {
        self.suffix().starts_with(QueuePart::Work.suffix())
    }

    /// Of schedules alone.
    pub fn is_of_schedules(self) -> bool {
        matches!(self, QueuePart::Schedules | QueuePart::ScheduleStates)
    }

    fn suffix(self) -> &'static str {
        match self {
            QueuePart::Jobs => "",
            QueuePart::Id => ":id",
            QueuePart::Delayed => ":delayed",
            QueuePart::Unique => ":unique",
            QueuePart::UniqueJobs => ":unique:jobs",
            QueuePart::Attempts => ":attempts",
            QueuePart::Ledger => ":ledger",
            QueuePart::Paused => ":paused",
            QueuePart::Completed => ":completed",
            QueuePart::Failed => ":failed",
            QueuePart::Inbox => ":inbox",
            QueuePart::InboxTell => ":inbox:tell",
            QueuePart::Schedules => ":schedules",
            QueuePart::ScheduleStates => ":schedules:state",
            QueuePart::Work => ":work",
            QueuePart::WorkClaims => ":work:claims",
            QueuePart::WorkToken => ":work:token",
            QueuePart::WorkDelayed => ":work:delayed",
            QueuePart::WorkAttempts => ":work:attempts",
            QueuePart::WorkProgress => ":work:progress",
            QueuePart::WorkData => ":work:data",
            QueuePart::WorkStarted => ":work:started",
            QueuePart::WorkLimits => ":work:limits",
            QueuePart::WorkTotals => ":work:totals",
            QueuePart::WorkCompleted => ":work:completed",
            QueuePart::WorkFailed => ":work:failed",
            QueuePart::WorkLog => ":work:log:",
        }
    }
}

/// `P:queue…`; of logs, what comes before the job's id.
pub fn queue_key(prefix: &[u8], part: QueuePart) -> Box<[u8]> {
    [prefix, b":", QUEUE, part.suffix().as_bytes()].concat().into()
}

/// Which key of a queue it is, if the part of a key that follows `P:` is one.
pub fn queue_part(part: &[u8]) -> Option<QueuePart> {
    let suffix = part.strip_prefix(QUEUE)?;
    if let Some(id) = suffix.strip_prefix(QueuePart::WorkLog.suffix().as_bytes()) {
        return is_job_id(id).then_some(QueuePart::WorkLog);
    }
    QueuePart::ALL.into_iter().find(|known| known.suffix().as_bytes() == suffix)
}

/// Digits, a dash, digits.
fn is_job_id(id: &[u8]) -> bool {
    let is_number = |digits: &[u8]| !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    id.iter().position(|byte| *byte == b'-').is_some_and(|at| is_number(&id[..at]) && is_number(&id[at + 1..]))
}

/// What the part of a key that follows `P:` says of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyKind<'a> {
    Metadata(Metadata<'a>),
    /// The queue or what belongs to it.
    Queue,
    /// A lock.
    Lock,
    /// An entry ([`super::lookup::Calls::is_canonical`] decides), or nothing of ours.
    Other,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Metadata<'a> {
    Row(Row<'a>),
    Tag(&'a [u8]),
}

pub fn classify(part: &[u8]) -> KeyKind<'_> {
    if let Some(tag) = part.strip_prefix(TAG) {
        return KeyKind::Metadata(Metadata::Tag(tag));
    }
    if part.strip_prefix(QUEUE).is_some_and(|rest| rest.is_empty() || rest.starts_with(b":")) {
        return KeyKind::Queue;
    }
    if part.starts_with(LOCK) {
        return KeyKind::Lock;
    }
    match part.strip_prefix(META).and_then(|rest| rest.strip_suffix(CACHES)) {
        Some(id) => read_row(id, part).map_or(KeyKind::Other, |row| KeyKind::Metadata(Metadata::Row(row))),
        None => KeyKind::Other,
    }
}

/// None where the id is not spelled as [`write_row_key`] spells it.
fn read_row<'a>(id: &'a [u8], part: &[u8]) -> Option<Row<'a>> {
    let row = match id {
        b"*" => Row::Any,
        b"%2A" => Row::Id(Cow::Borrowed(b"*")),
        id => Row::Id(decode_word(id)),
    };
    let mut written = Vec::with_capacity(part.len());
    write_row_part(&row, &mut written);
    (written == part).then_some(row)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn keys_hang_on_the_prefix() {
        let mut out = Vec::new();
        write_entry_key(b"bear", b"size:1:2", &mut out);
        out.push(b' ');
        write_row_key(b"bear", &Row::Any, &mut out);
        out.push(b' ');
        write_row_key(b"bear", &Row::Id(b"a:b"[..].into()), &mut out);
        out.push(b' ');
        write_row_key(b"bear", &Row::Id(b"*"[..].into()), &mut out);
        out.push(b' ');
        write_tag_key(b"bear", b"color:red", &mut out);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "bear:size:1:2 bear:meta:*:caches bear:meta:a%3Ab:caches bear:meta:%2A:caches bear:tag:color:red"
        );
    }

    #[test]
    fn keys_are_told_apart() {
        let row = |id: &'static [u8]| KeyKind::Metadata(Metadata::Row(Row::Id(id.into())));
        for (part, kind) in [
            ("meta:5:caches", row(b"5")),
            ("meta:*:caches", KeyKind::Metadata(Metadata::Row(Row::Any))),
            ("meta:%2A:caches", row(b"*")),
            ("meta::caches", row(b"")),
            ("meta:a%3Ab:caches", row(b"a:b")),
            ("meta:a:b:caches", KeyKind::Other),
            ("meta:a%3ab:caches", KeyKind::Other),
            ("meta:caches", KeyKind::Other),
            ("meta:5", KeyKind::Other),
            ("tag:color:red", KeyKind::Metadata(Metadata::Tag(b"color:red"))),
            ("tag", KeyKind::Other),
            ("queue", KeyKind::Queue),
            ("queue:delayed", KeyKind::Queue),
            ("queues", KeyKind::Other),
            ("@lock:door", KeyKind::Lock),
            ("@lock:meta:5%3Acaches", KeyKind::Lock),
            ("@lock", KeyKind::Other),
            ("@limit:search:user%3A42", KeyKind::Other),
            ("@token", KeyKind::Other),
            ("size:1:2", KeyKind::Other),
            ("", KeyKind::Other),
        ] {
            assert_eq!(classify(part.as_bytes()), kind, "{part}");
        }
    }

    #[test]
    fn keys_of_locks_and_limits() {
        let mut out = b"api".to_vec();
        write_lock_key(b"a:b", &mut out);
        out.extend(b" {7}:api");
        write_limit_key(None, b"search:42", &mut out);
        out.extend(b" {api}");
        write_limit_key(Some("search"), b"42", &mut out);
        out.push(b' ');
        out.extend(token_key(b"api"));
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "api:@lock:a%3Ab {7}:api:@limit:search%3A42 {api}:@limit:search:42 api:@token"
        );
    }

    #[test]
    fn keys_of_queues_are_told_apart() {
        for part in QueuePart::ALL {
            let key = queue_key(b"mail", part);
            let key = if part == QueuePart::WorkLog { [&*key, b"17-0"].concat() } else { key.to_vec() };
            let rest = key.strip_prefix(b"mail:").unwrap();
            assert_eq!((classify(rest), queue_part(rest)), (KeyKind::Queue, Some(part)));
            assert_eq!(part.is_work(), rest.starts_with(b"queue:work"));
        }
        for (part, kind) in [
            ("queue:work", Some(QueuePart::Work)),
            ("queue:work:claims", Some(QueuePart::WorkClaims)),
            ("queue:work:log:1700000000000-3", Some(QueuePart::WorkLog)),
            ("queue:work:log:", None),
            ("queue:work:log:x", None),
            ("queue:work:log:1-", None),
            ("queue:work:log:1-2-3", None),
            ("queue:work:log", None),
            ("queue:work:other", None),
            ("queue:works", None),
            ("queue:inbox", Some(QueuePart::Inbox)),
            ("queue:inbox:tell", Some(QueuePart::InboxTell)),
            ("queue:inbox:told", None),
        ] {
            assert_eq!(queue_part(part.as_bytes()), kind, "{part}");
        }
    }

    proptest! {
        #[test]
        fn row_keys_are_read_as_written(id in "[a*:%,]{0,5}|\\PC{0,8}") {
            let mut part = Vec::new();
            write_row_part(&Row::Id(id.as_bytes().into()), &mut part);
            prop_assert_eq!(classify(&part), KeyKind::Metadata(Metadata::Row(Row::Id(id.as_bytes().into()))));
        }

        #[test]
        fn no_bytes_panic(part in prop::collection::vec(any::<u8>(), 0..30), near in "(meta|tag|queue)(:[a%*,]{0,4}){0,2}(:caches)?") {
            classify(&part);
            classify(near.as_bytes());
        }
    }
}
