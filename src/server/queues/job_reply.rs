//! A job as replies show it, whatever is known of it.

use crate::core::claims::attempts::AttemptError;
use crate::core::jobs::batch::JobError;
use crate::core::jobs::job_id::JobId;
use crate::core::jobs::record::Outcome;
use crate::core::values::priority::Priority;
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

/// A job as a map; what is not known of it is nil there.
pub struct Report<'a> {
    pub id: JobId,
    pub state: &'static str,
    pub job: &'a [u8],
    pub data: Option<&'a [u8]>,
    pub attempts: u32,
    pub due_ms: Option<u64>,
    pub finished_ms: Option<u64>,
    pub error: Option<JobError>,
    pub result: Option<&'a str>,
    pub rows: Option<u64>,
    pub max_attempts: Option<u32>,
    /// Milliseconds, or an array of them.
    pub backoff: Value,
    pub unique: Option<&'a [u8]>,
    pub traceparent: Option<&'a [u8]>,
    pub claimed: Claimed<'a>,
}

/// What is known of claimed jobs alone.
#[derive(Default)]
pub struct Claimed<'a> {
    pub worker: Option<&'a str>,
    pub token: Option<u64>,
    pub started_ms: Option<u64>,
    /// Unix time.
    pub lease_ends_ms: Option<u64>,
    pub progress: Option<&'a [u8]>,
    pub priority: Option<Priority>,
    /// Of the last error.
    pub stack: Option<&'a str>,
    /// Lines of its log that there ever were.
    pub log: Option<u64>,
    /// Of the attempts that failed, oldest first.
    pub errors: Option<&'a [AttemptError]>,
    /// Of BEAR.CANCEL, while the job is claimed.
    pub cancelled: Option<&'a str>,
}

impl<'a> Report<'a> {
    /// Of a job of which nothing is known but its state.
    pub fn new(id: JobId, state: &'static str) -> Report<'a> {
        Report {
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
            max_attempts: None,
            backoff: Value::Null,
            unique: None,
            traceparent: None,
            claimed: Claimed::default(),
        }
    }

    pub fn value(self) -> Value {
        let number = |number: Option<u64>| number.map_or(Value::Null, |number| Value::Integer(number as i64));
        let bytes = |bytes: Option<&[u8]>| bytes.map_or(Value::Null, |bytes| Value::Bytes(bytes.into()));
        let text = |text: Option<&str>| text.map_or(Value::Null, Value::text);
        let error = |error: &JobError| {
            Value::Map(vec![("message", Value::text(&*error.message)), ("sqlstate", text(error.code.as_deref()))])
        };
        let claimed = self.claimed;
        let errors = |errors: &[AttemptError]| {
            let attempt = |error: &AttemptError| {
                Value::Map(vec![
                    ("attempt", Value::Integer(error.attempt.into())),
                    ("message", Value::text(&*error.message)),
                    ("stack", text(error.stack.as_deref())),
                    ("worker", text(error.worker.as_deref())),
                    ("at", Value::Integer(error.at_ms as i64)),
                ])
            };
            Value::Array(errors.iter().map(attempt).collect())
        };
        let mut fields = vec![
            ("id", Value::text(self.id.to_string())),
            ("job", bytes(Some(self.job))),
            ("state", Value::text(self.state)),
            ("data", bytes(self.data)),
            ("attempts", Value::Integer(self.attempts.into())),
            ("enqueued", Value::Integer(self.id.ms as i64)),
            ("due", number(self.due_ms)),
            ("finished", number(self.finished_ms)),
            ("error", self.error.as_ref().map_or(Value::Null, error)),
            ("result", text(self.result)),
            ("rows", number(self.rows)),
            ("worker", text(claimed.worker)),
            ("token", number(claimed.token)),
            ("started", number(claimed.started_ms)),
            ("lease_ends", number(claimed.lease_ends_ms)),
            ("max_attempts", number(self.max_attempts.map(u64::from))),
            ("backoff", self.backoff),
            ("unique", bytes(self.unique)),
            ("progress", bytes(claimed.progress)),
            ("priority", number(claimed.priority.map(u64::from))),
            ("stack", text(claimed.stack)),
            ("log", number(claimed.log)),
            ("errors", claimed.errors.map_or(Value::Null, errors)),
            ("cancelled", claimed.cancelled.map_or(Value::Null, Value::text)),
        ];
        // Only where there is one: most have none, and who reads it asks for it by name.
        fields.extend(self.traceparent.map(|text| ("traceparent", Value::Bytes(text.into()))));
        Value::Map(fields)
    }
}

/// The map of an SQL job that has settled.
pub fn of_record(id: JobId, state: &'static str, record: &[u8]) -> Value {
    let read: Option<Outcome> = serde_json::from_slice(record).ok();
    let unreadable = Report::new(id, state);
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
