//! How jobs and their outcomes are written to streams: plain fields, that a person with redis-cli and a later version of
//! this module can read.
//!
//! Format 1 of a job: `v 1 epoch <int> job <name> data <JSON>` and, where they were given, `due <ms>`, `attempts <n>`,
//! `backoff <ms>`, `unique <key>`, `traceparent <text>`. Unknown fields are passed over; a greater `v` is of a newer module.
//!
//! Format 1 of an outcome is a JSON object ([`completed`], [`failed`]). An entry of failed jobs holds one: `id <id> record
//! <JSON>` and, where they were given, `attempts <n>`, `backoff <ms>`, `unique <key>`, for BEAR.RETRY.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use smallvec::SmallVec;

use super::batch::{Completed, JobError, QueuedJob};
use super::retry::{DEFAULT_ATTEMPTS, DEFAULT_BACKOFF_MS};

/// Of jobs and outcomes.
pub const FORMAT: u32 = 1;

/// Larger payloads are left out of the records of completed jobs, in bytes.
const MAX_RECORDED_DATA: usize = 16 << 10;

/// What a client says of a job beside its payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JobOptions<'a> {
    pub unique: Option<&'a [u8]>,
    /// Unix time in ms before which it is not applied.
    pub due_ms: Option<u64>,
    pub attempts: u32,
    pub backoff_ms: u64,
    /// Of the trace that it belongs to, see [`super::traceparent`].
    pub traceparent: Option<&'a [u8]>,
}

/// Of a job that says nothing more.
pub const DEFAULT_OPTIONS: JobOptions<'static> = JobOptions {
    unique: None,
    due_ms: None,
    attempts: DEFAULT_ATTEMPTS,
    backoff_ms: DEFAULT_BACKOFF_MS,
    traceparent: None,
};

/// A job as it stands in the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JobRecord<'a> {
    pub epoch: i64,
    pub name: &'a [u8],
    pub data: &'a [u8],
    pub options: JobOptions<'a>,
}

/// Why an entry of the stream is no job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    #[error("the entry was written by a newer module (format {0})")]
    Newer(u64),
    #[error("the entry is no job: {0} is missing or wrong")]
    Field(&'static str),
}

/// Numbers of a record in decimal, kept while its fields are written.
#[derive(Default)]
pub struct Numbers {
    epoch: String,
    options: OptionNumbers,
}

/// The same of its options.
#[derive(Default)]
pub struct OptionNumbers {
    due: String,
    attempts: String,
    backoff: String,
}

impl<'a> JobOptions<'a> {
    /// Adds the fields of what was given.
    pub fn write<'b>(&self, numbers: &'b mut OptionNumbers, fields: &mut FieldList<'b>)
    where
        'a: 'b,
    {
        numbers.due = self.due_ms.map(|due| due.to_string()).unwrap_or_default();
        if self.attempts != DEFAULT_ATTEMPTS {
            numbers.attempts = self.attempts.to_string();
        }
        if self.backoff_ms != DEFAULT_BACKOFF_MS {
            numbers.backoff = self.backoff_ms.to_string();
        }
        for (name, value) in [("due", &numbers.due), ("attempts", &numbers.attempts), ("backoff", &numbers.backoff)] {
            if !value.is_empty() {
                fields.extend([name.as_bytes(), value.as_bytes()]);
            }
        }
        for (name, value) in [(&b"unique"[..], self.unique), (b"traceparent", self.traceparent)] {
            if let Some(value) = value {
                fields.extend([name, value]);
            }
        }
    }

    /// What is not there has its default.
    pub fn read(fields: &[(&'a [u8], &'a [u8])]) -> Result<JobOptions<'a>, RecordError> {
        let attempts = number(fields, "attempts")?;
        Ok(JobOptions {
            unique: get(fields, b"unique"),
            due_ms: number(fields, "due")?,
            attempts: attempts.map_or(DEFAULT_ATTEMPTS, |n| n.clamp(1, u64::from(u32::MAX)) as u32),
            backoff_ms: number(fields, "backoff")?.unwrap_or(DEFAULT_BACKOFF_MS),
            traceparent: get(fields, b"traceparent"),
        })
    }
}

/// Fields and values in turn.
pub type FieldList<'a> = SmallVec<[&'a [u8]; 16]>;

/// Bytes that a job counts for against `bear.queue-max-bytes`: its payload, a UNIQUE key, which stands in three places,
/// and a little for the rest.
pub fn cost(name: &[u8], data: &[u8], unique: Option<&[u8]>) -> u64 {
    (data.len() + name.len() + unique.map_or(0, |key| 3 * key.len()) + 32) as u64
}

impl<'a> JobRecord<'a> {
    pub fn cost(&self) -> u64 {
        cost(self.name, self.data, self.options.unique)
    }

    /// The fields to be written.
    pub fn fields<'b>(&'b self, numbers: &'b mut Numbers) -> FieldList<'b> {
        numbers.epoch = self.epoch.to_string();
        let mut fields = FieldList::new();
        fields.extend([&b"v"[..], b"1", b"epoch"]);
        fields.push(numbers.epoch.as_bytes());
        for (name, value) in [("job", self.name), ("data", self.data)] {
            if !value.is_empty() {
                fields.extend([name.as_bytes(), value]);
            }
        }
        self.options.write(&mut numbers.options, &mut fields);
        fields
    }

    pub fn read(fields: &[(&'a [u8], &'a [u8])]) -> Result<JobRecord<'a>, RecordError> {
        match number(fields, "v")? {
            Some(1) => {}
            Some(newer) if newer > u64::from(FORMAT) => return Err(RecordError::Newer(newer)),
            Some(_) | None => return Err(RecordError::Field("v")),
        }
        let epoch =
            number(fields, "epoch")?.and_then(|epoch| i64::try_from(epoch).ok()).ok_or(RecordError::Field("epoch"))?;
        Ok(JobRecord {
            epoch,
            name: get(fields, b"job").ok_or(RecordError::Field("job"))?,
            data: get(fields, b"data").ok_or(RecordError::Field("data"))?,
            options: JobOptions::read(fields)?,
        })
    }
}

/// The value of a field.
pub fn get<'a>(fields: &[(&'a [u8], &'a [u8])], name: &[u8]) -> Option<&'a [u8]> {
    fields.iter().find(|(field, _)| *field == name).map(|(_, value)| *value)
}

/// A number in decimal; an error where the field is something else.
pub fn number(fields: &[(&[u8], &[u8])], name: &'static str) -> Result<Option<u64>, RecordError> {
    match get(fields, name.as_bytes()) {
        None => Ok(None),
        Some(text) => parse(text).map(Some).ok_or(RecordError::Field(name)),
    }
}

fn parse(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// An outcome, read back.
#[derive(Debug, Deserialize)]
pub struct Outcome<'a> {
    pub job: String,
    #[serde(borrow)]
    pub data: Option<&'a RawValue>,
    #[serde(default)]
    pub attempts: u32,
    /// Unix time in ms.
    pub finished: u64,
    pub rows: Option<u64>,
    #[serde(borrow)]
    pub result: Option<&'a RawValue>,
    pub error: Option<ErrorRecord>,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct ErrorRecord {
    pub sqlstate: Option<String>,
    pub message: String,
}

impl From<&JobError> for ErrorRecord {
    fn from(error: &JobError) -> Self {
        ErrorRecord { sqlstate: error.code.as_deref().map(str::to_owned), message: error.message.to_string() }
    }
}

impl From<ErrorRecord> for JobError {
    fn from(error: ErrorRecord) -> Self {
        JobError { code: error.sqlstate.map(Into::into), message: error.message.into() }
    }
}

#[derive(Serialize)]
struct Written<'a> {
    job: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a RawValue>,
    attempts: u32,
    finished: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    rows: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ErrorRecord>,
}

/// The record of a completed job.
pub fn completed(job: &QueuedJob, completed: &Completed, finished_ms: u64) -> Vec<u8> {
    let result = completed.result.as_deref().and_then(|result| serde_json::from_str(result).ok());
    let data = raw(&job.data).filter(|data| data.get().len() <= MAX_RECORDED_DATA);
    let rows = (!completed.earlier).then_some(completed.rows);
    let name = String::from_utf8_lossy(&job.name);
    write(&Written { job: &name, data, attempts: job.attempts + 1, finished: finished_ms, rows, result, error: None })
}

/// The record of a job that failed for good. It keeps the payload, for BEAR.RETRY.
pub fn failed(job: &QueuedJob, error: &JobError, attempts: u32, finished_ms: u64) -> Vec<u8> {
    let name = String::from_utf8_lossy(&job.name);
    let data = raw(&job.data);
    let error = Some(error.into());
    write(&Written { job: &name, data, attempts, finished: finished_ms, rows: None, result: None, error })
}

/// The record of a job that is to be tried again: how often it failed, and the latest error.
pub fn attempt(attempts: u32, error: &JobError) -> Vec<u8> {
    #[derive(Serialize)]
    struct Attempt {
        attempts: u32,
        error: ErrorRecord,
    }
    serde_json::to_vec(&Attempt { attempts, error: error.into() }).unwrap_or_default()
}

/// Reads [`attempt`]; what is none counts for nothing.
pub fn read_attempt(record: &[u8]) -> Option<(u32, JobError)> {
    #[derive(Deserialize)]
    struct Attempt {
        attempts: u32,
        error: ErrorRecord,
    }
    let attempt: Attempt = serde_json::from_slice(record).ok()?;
    Some((attempt.attempts, attempt.error.into()))
}

fn raw(json: &[u8]) -> Option<&RawValue> {
    serde_json::from_slice(json).ok()
}

fn write(record: &Written) -> Vec<u8> {
    // Strings, numbers and JSON that was read: nothing here can fail to be written.
    serde_json::to_vec(record).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::jobs::job_id::JobId;

    fn job(data: &str) -> QueuedJob {
        QueuedJob {
            id: JobId { ms: 1, seq: 0 },
            name: b"RENAME"[..].into(),
            data: data.as_bytes().into(),
            attempts: 0,
            max_attempts: 2,
            undue: false,
            ends: None,
        }
    }

    #[test]
    fn jobs_are_read_as_written() {
        let plain = JobRecord { epoch: 7, name: b"RENAME", data: b"{}", options: DEFAULT_OPTIONS };
        let full =
            JobOptions { unique: Some(b""), due_ms: Some(5), attempts: 9, backoff_ms: 0, traceparent: Some(b"00") };
        for (record, count) in [(plain, 4), (JobRecord { options: full, ..plain }, 9)] {
            let mut numbers = Numbers::default();
            let fields = record.fields(&mut numbers);
            let pairs: Vec<_> = fields.chunks(2).map(|pair| (pair[0], pair[1])).collect();
            assert_eq!(pairs.len(), count);
            assert_eq!(JobRecord::read(&pairs), Ok(record));
        }
    }

    #[test]
    fn entries_of_other_hands_are_no_jobs() {
        let read = |fields: &[(&str, &str)]| {
            let fields: Vec<_> = fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
            JobRecord::read(&fields).map(drop)
        };
        assert_eq!(read(&[]), Err(RecordError::Field("v")));
        assert_eq!(read(&[("v", "2")]), Err(RecordError::Newer(2)));
        assert_eq!(read(&[("v", "1"), ("epoch", "x")]), Err(RecordError::Field("epoch")));
        assert_eq!(read(&[("v", "1"), ("epoch", "1"), ("data", "")]), Err(RecordError::Field("job")));
        assert_eq!(read(&[("v", "1"), ("epoch", "1"), ("job", "X")]), Err(RecordError::Field("data")));
        assert_eq!(read(&[("v", "1"), ("epoch", "1"), ("job", "X"), ("data", ""), ("later", "x")]), Ok(()));
    }

    #[test]
    fn outcomes_are_json_and_read_back() {
        let done = Completed { rows: 2, result: Some(r#"{"id":9}"#.into()), earlier: false };
        let record = completed(&job(r#"{"id":5}"#), &done, 1_000);
        assert_eq!(
            String::from_utf8(record.clone()).unwrap(),
            r#"{"job":"RENAME","data":{"id":5},"attempts":1,"finished":1000,"rows":2,"result":{"id":9}}"#
        );
        let read: Outcome = serde_json::from_slice(&record).unwrap();
        assert_eq!((read.rows, read.result.map(RawValue::get)), (Some(2), Some(r#"{"id":9}"#)));

        let error = JobError { code: Some("23514".into()), message: "no \"such\" size".into() };
        let record = failed(&job("{}"), &error, 2, 5);
        let read: Outcome = serde_json::from_slice(&record).unwrap();
        assert_eq!(JobError::from(read.error.unwrap()), error);
        assert_eq!(read_attempt(&attempt(1, &error)), Some((1, error)));
        assert_eq!(read_attempt(b"x"), None);
    }

    #[test]
    fn what_is_no_json_is_left_out() {
        let record = completed(&job("no json"), &Completed::default(), 1);
        assert!(!String::from_utf8(record).unwrap().contains("data"));
        let large = completed(&job(&format!("\"{}\"", "x".repeat(20_000))), &Completed::default(), 1);
        assert!(large.len() < 200);
    }
}
