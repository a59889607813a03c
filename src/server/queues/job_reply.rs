//! A job as replies show it, whatever is known of it.

use crate::core::jobs::batch::JobError;
use crate::core::jobs::job_id::JobId;
use crate::core::jobs::record::Outcome;
use crate::redis_api::Value;

/// States that BEAR.JOBS lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListedState {
    Waiting,
    Active,
    Delayed,
    Completed,
    Failed,
}

impl ListedState {
    pub const ALL: [(&'static str, ListedState); 5] = [
        ("waiting", ListedState::Waiting),
        ("active", ListedState::Active),
        ("delayed", ListedState::Delayed),
        ("completed", ListedState::Completed),
        ("failed", ListedState::Failed),
    ];

    pub fn name(self) -> &'static str {
        Self::ALL[self as usize].0
    }
}

/// A job as a map.
pub(super) struct Report<'a> {
    pub(super) id: JobId,
    pub(super) state: &'static str,
    pub(super) job: &'a [u8],
    pub(super) data: Option<&'a [u8]>,
    pub(super) attempts: u32,
    pub(super) due_ms: Option<u64>,
    pub(super) finished_ms: Option<u64>,
    pub(super) error: Option<JobError>,
    pub(super) result: Option<&'a str>,
    pub(super) rows: Option<u64>,
}

impl Report<'_> {
    pub(super) fn value(&self) -> Value {
        let bytes = |bytes: &[u8]| Value::Bytes(bytes.into());
        let number = |number: Option<u64>| number.map_or(Value::Null, |number| Value::Integer(number as i64));
        let error = |error: &JobError| {
            let code = error.code.as_deref().map_or(Value::Null, Value::text);
            Value::Map(vec![("message", Value::text(&*error.message)), ("sqlstate", code)])
        };
        Value::Map(vec![
            ("id", Value::text(self.id.to_string())),
            ("job", bytes(self.job)),
            ("state", Value::text(self.state)),
            ("data", self.data.map_or(Value::Null, bytes)),
            ("attempts", Value::Integer(self.attempts.into())),
            ("enqueued", Value::Integer(self.id.ms as i64)),
            ("due", number(self.due_ms)),
            ("finished", number(self.finished_ms)),
            ("error", self.error.as_ref().map_or(Value::Null, error)),
            ("result", self.result.map_or(Value::Null, Value::text)),
            ("rows", number(self.rows)),
        ])
    }
}

/// The map of a job that has settled.
pub fn of_record(id: JobId, state: &'static str, record: &[u8]) -> Value {
    let read: Option<Outcome> = serde_json::from_slice(record).ok();
    let unreadable = Report {
        id,
        state,
        job: b"",
        data: None,
        attempts: 0,
        due_ms: None,
        finished_ms: None,
        error: None,
        result: None,
        rows: None,
    };
    let Some(read) = read else { return unreadable.value() };
    let report = Report {
        job: read.job.as_bytes(),
        data: read.data.map(|data| data.get().as_bytes()),
        attempts: read.attempts,
        finished_ms: Some(read.finished),
        error: read.error.map(Into::into),
        result: read.result.map(|result| result.get()),
        rows: read.rows,
        ..unreadable
    };
    report.value()
}
