//! What is kept of a claimed job that is settled: a JSON object in the stream of completed or of failed jobs. Written without a
//! tree of values; read back with what is missing left out.
//!
//! An entry of completed jobs holds those of one type that were acknowledged together: `t <type>`, and then id and record in turn.
//! An entry of failed jobs holds one: `t <type> id <id> record <JSON>` and what BEAR.RETRY gives to the new job (`priority`, `attempts`,
//! `backoff`, `unique`).

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;
use smallvec::SmallVec;

use super::attempts::AttemptError;
use super::json::Object;
use super::record::{WorkNumbers, WorkOptions, DEFAULT_PRIORITY};
use crate::core::jobs::job_id::{IdText, JobId};
use crate::core::jobs::record::{get, FieldList, RecordError};
use crate::core::values::priority::Priority;

/// Larger payloads are left out of the records of completed jobs, in bytes.
const MAX_RECORDED_DATA: usize = 16 << 10;

/// Which stream a record is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    Completed,
    /// Keeps the payload, whatever its size, for BEAR.RETRY.
    Failed,
}

/// A settled job, to be written. Texts are given as they came; what is no UTF-8 in them is replaced.
#[derive(Debug, Clone, Copy)]
pub struct Settled<'a> {
    pub job: &'a [u8],
    pub data: &'a [u8],
    /// That were begun.
    pub attempts: u32,
    /// Unix times in ms. None: it was never claimed.
    pub started_ms: Option<u64>,
    pub finished_ms: u64,
    pub worker: &'a [u8],
    pub token: Option<u64>,
    pub priority: Priority,
    /// JSON, as are `data` and `progress`; what is none is left out, but for the `data` of completed jobs, which was checked.
    pub result: Option<&'a [u8]>,
    pub progress: Option<&'a [u8]>,
    /// Lines of its log that there ever were.
    pub log: u64,
    /// Why it failed; may stand beside earlier ones.
    pub error: Option<(&'a [u8], Option<&'a [u8]>)>,
    /// Of earlier attempts, and how many came before these.
    pub errors: &'a [AttemptError],
    pub earlier: u32,
}

impl Settled<'_> {
    /// Appends the record to `out`, which alone may grow.
    pub fn write(&self, end: End, out: &mut Vec<u8>) {
        let mut object = Object::new(out);
        object.text("job", &String::from_utf8_lossy(self.job));
        match end {
            // BEAR.RETRY reads it from there: what another hand wrote into the stream must not make the record unreadable.
            End::Failed => object.value("data", self.data),
            End::Completed if self.data.len() <= MAX_RECORDED_DATA => object.stored("data", self.data),
            End::Completed => {}
        }
        object.number("attempts", u64::from(self.attempts));
        if let Some(started_ms) = self.started_ms {
            object.number("started", started_ms);
        }
        object.number("finished", self.finished_ms);
        if !self.worker.is_empty() {
            object.text("worker", &String::from_utf8_lossy(self.worker));
        }
        if let Some(token) = self.token {
            object.number("token", token);
        }
        if self.priority != DEFAULT_PRIORITY {
            object.number("priority", u64::from(self.priority));
        }
        for (name, json) in [("result", self.result), ("progress", self.progress)] {
            if let Some(json) = json {
                object.value(name, json);
            }
        }
        if self.log > 0 {
            object.number("log", self.log);
        }
        if let Some((message, stack)) = self.error {
            object.object("error", |object| {
                object.text("message", &String::from_utf8_lossy(message));
                if let Some(stack) = stack {
                    object.text("stack", &String::from_utf8_lossy(stack));
                }
            });
        }
        if !self.errors.is_empty() {
            object.objects("errors", self.errors.iter(), write_attempt);
        }
        if self.earlier > 0 {
            object.number("earlier", u64::from(self.earlier));
        }
        object.end();
    }
}

fn write_attempt(error: &AttemptError, object: &mut Object) {
    object.number("attempt", u64::from(error.attempt));
    object.text("message", &error.message);
    for (name, text) in [("stack", &error.stack), ("worker", &error.worker)] {
        if let Some(text) = text {
            object.text(name, text);
        }
    }
    object.number("at", error.at_ms);
}

/// An outcome, read back. What an older or newer module did not write has its default.
#[derive(Debug, Deserialize)]
pub struct Outcome<'a> {
    #[serde(borrow, default)]
    pub job: Cow<'a, str>,
    #[serde(borrow)]
    pub data: Option<&'a RawValue>,
    #[serde(default)]
    pub attempts: u32,
    #[serde(rename = "started")]
    pub started_ms: Option<u64>,
    #[serde(rename = "finished", default)]
    pub finished_ms: u64,
    pub worker: Option<Box<str>>,
    pub token: Option<u64>,
    #[serde(default = "default_priority")]
    pub priority: Priority,
    #[serde(borrow)]
    pub result: Option<&'a RawValue>,
    #[serde(borrow)]
    pub progress: Option<&'a RawValue>,
    #[serde(default)]
    pub log: u64,
    pub error: Option<OutcomeError>,
    #[serde(default)]
    pub errors: Vec<AttemptError>,
}

#[derive(Debug, PartialEq, Eq, Deserialize)]
pub struct OutcomeError {
    #[serde(default)]
    pub message: Box<str>,
    pub stack: Option<Box<str>>,
}

fn default_priority() -> Priority {
    DEFAULT_PRIORITY
}

impl<'a> Outcome<'a> {
    /// None of what is no such record.
    pub fn read(record: &'a [u8]) -> Option<Outcome<'a>> {
        serde_json::from_slice(record).ok()
    }
}

/// The fields of an entry of completed jobs; `ids` are those of the jobs as texts.
pub fn completed_fields<'a>(name: &'a [u8], records: impl Iterator<Item = (&'a IdText, &'a [u8])>) -> FieldList<'a> {
    let mut fields = FieldList::new();
    fields.extend([&b"t"[..], name]);
    for (id, record) in records {
        fields.extend([id.as_bytes(), record]);
    }
    fields
}

/// An entry of completed jobs, read back: their type, their ids and records.
pub type CompletedEntry<'a> = (&'a [u8], SmallVec<[(JobId, &'a [u8]); 1]>);

/// What is no job's in it is passed over.
pub fn read_completed<'a>(fields: &[(&'a [u8], &'a [u8])]) -> Result<CompletedEntry<'a>, RecordError> {
    let Some(((b"t", name), jobs)) = fields.split_first() else { return Err(RecordError::Field("t")) };
    Ok((name, jobs.iter().filter_map(|(id, record)| Some((JobId::parse(id)?, *record))).collect()))
}

/// The fields of an entry of a failed job.
pub fn failed_fields<'b, 'a: 'b>(
    name: &'b [u8],
    id: &'b IdText,
    record: &'b [u8],
    options: &WorkOptions<'a>,
    numbers: &'b mut WorkNumbers,
) -> FieldList<'b> {
    let mut fields = FieldList::new();
    fields.extend([&b"t"[..], name, b"id", id.as_bytes(), b"record", record]);
    // When it was due is past.
    WorkOptions { due_ms: None, ..*options }.write(numbers, &mut fields);
    fields
}

/// An entry of failed jobs, read back.
#[derive(Debug, PartialEq, Eq)]
pub struct FailedEntry<'a> {
    pub name: &'a [u8],
    pub id: JobId,
    pub record: &'a [u8],
    pub options: WorkOptions<'a>,
}

pub fn read_failed<'a>(fields: &[(&'a [u8], &'a [u8])]) -> Result<FailedEntry<'a>, RecordError> {
    let field = |name: &'static str| get(fields, name.as_bytes()).ok_or(RecordError::Field(name));
    Ok(FailedEntry {
        name: field("t")?,
        id: JobId::parse(field("id")?).ok_or(RecordError::Field("id"))?,
        record: field("record")?,
        options: WorkOptions::read(fields)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Settled<'static> = Settled {
        job: b"SEND",
        data: br#"{"to":"a"}"#,
        attempts: 1,
        started_ms: Some(10),
        finished_ms: 20,
        worker: b"w",
        token: Some(5),
        priority: 5,
        result: None,
        progress: None,
        log: 0,
        error: None,
        errors: &[],
        earlier: 0,
    };

    fn pairs<'a>(fields: &FieldList<'a>) -> Vec<(&'a [u8], &'a [u8])> {
        fields.chunks(2).map(|pair| (pair[0], pair[1])).collect()
    }

    #[test]
    fn completed_jobs_are_written_into_the_room_that_there_is() {
        let mut out = Vec::with_capacity(200);
        let before = out.as_ptr();
        PLAIN.write(End::Completed, &mut out);
        assert_eq!(out.as_ptr(), before, "it did not grow");
        let text = r#"{"job":"SEND","data":{"to":"a"},"attempts":1,"started":10,"finished":20,"worker":"w","token":5}"#;
        assert_eq!(std::str::from_utf8(&out), Ok(text));
        let read = Outcome::read(&out).unwrap();
        assert_eq!((&*read.job, read.attempts, read.started_ms, read.finished_ms), ("SEND", 1, Some(10), 20));
        assert_eq!((read.worker.as_deref(), read.token, read.priority, read.log), (Some("w"), Some(5), 5, 0));
        assert!(read.result.is_none() && read.progress.is_none() && read.error.is_none() && read.errors.is_empty());
    }

    #[test]
    fn all_fields_are_read_back() {
        let errors = [AttemptError {
            attempt: 1,
            message: "first".into(),
            stack: Some("at 1".into()),
            worker: Some("v".into()),
            at_ms: 9,
        }];
        let full = Settled {
            worker: b"w\xff",
            priority: 10,
            result: Some(b"[1]"),
            progress: Some(b"50"),
            log: 3,
            error: Some((b"no \"host\"\xff", Some(b"at 2"))),
            errors: &errors,
            earlier: 2,
            ..PLAIN
        };
        let mut out = Vec::new();
        full.write(End::Failed, &mut out);
        let read = Outcome::read(&out).unwrap();
        assert_eq!(read.data.map(RawValue::get), Some(r#"{"to":"a"}"#));
        assert_eq!((read.worker.as_deref(), read.priority, read.log), (Some("w\u{fffd}"), 10, 3));
        assert!(out.ends_with(b",\"earlier\":2}"));
        assert_eq!((read.result.map(RawValue::get), read.progress.map(RawValue::get)), (Some("[1]"), Some("50")));
        let error = OutcomeError { message: "no \"host\"\u{fffd}".into(), stack: Some("at 2".into()) };
        assert_eq!((read.error, read.errors), (Some(error), errors.to_vec()));
    }

    #[test]
    fn large_payloads_stay_with_failed_jobs_alone() {
        let data = format!("\"{}\"", "x".repeat(MAX_RECORDED_DATA));
        let large = Settled { data: data.as_bytes(), started_ms: None, token: None, ..PLAIN };
        let (mut completed, mut failed) = (Vec::new(), Vec::new());
        large.write(End::Completed, &mut completed);
        large.write(End::Failed, &mut failed);
        assert!(Outcome::read(&completed).unwrap().data.is_none());
        assert_eq!(Outcome::read(&failed).unwrap().data.map(RawValue::get), Some(&*data));
        let none = Settled { data: b"{", result: Some(b"}"), ..PLAIN };
        let mut out = Vec::new();
        none.write(End::Failed, &mut out);
        let read = Outcome::read(&out).unwrap();
        assert!(read.data.is_none() && read.result.is_none(), "what is no JSON is left out");
        assert!(Outcome::read(b"x").is_none());
        assert_eq!(Outcome::read(b"{}").map(|read| read.priority), Some(5));
    }

    #[test]
    fn entries_are_read_as_written() {
        let ids = [JobId { ms: 1, seq: 0 }, JobId { ms: 2, seq: 7 }];
        let texts = ids.map(JobId::text);
        let records: [&[u8]; 2] = [b"{}", b"[]"];
        let fields = completed_fields(b"SEND", texts.iter().zip(records));
        let (name, jobs) = read_completed(&pairs(&fields)).unwrap();
        assert_eq!((name, jobs.to_vec()), (&b"SEND"[..], vec![(ids[0], records[0]), (ids[1], records[1])]));
        assert_eq!(read_completed(&[(b"1-0", b"{}")]), Err(RecordError::Field("t")));

        let options = WorkOptions { priority: 9, due_ms: Some(5), unique: Some(b"k"), ..WorkOptions::default() };
        let mut numbers = WorkNumbers::default();
        let fields = failed_fields(b"SEND", &texts[1], b"{}", &options, &mut numbers);
        let options = WorkOptions { due_ms: None, ..options };
        assert_eq!(read_failed(&pairs(&fields)), Ok(FailedEntry { name: b"SEND", id: ids[1], record: b"{}", options }));
        assert_eq!(read_failed(&[(b"t", b"X"), (b"id", b"1")]), Err(RecordError::Field("id")));
    }
}
