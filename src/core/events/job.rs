//! What is published of a job. Fields stand in this order: `event`, `space`, `id`, `job`, `token`, `worker`, `attempt`, those of
//! the event, `at`.

use super::text::{cut, MAX_VALUE};
use crate::core::claims::json::Object;
use crate::core::jobs::job_id::JobId;
use crate::core::values::priority::Priority;

/// Which job.
#[derive(Debug, Clone, Copy)]
pub struct OfJob<'a> {
    pub space: &'a str,
    pub id: JobId,
    /// Its type.
    pub job: &'a str,
}

/// A worker's hold of a job.
#[derive(Debug, Clone, Copy)]
pub struct Hold<'a> {
    pub token: u64,
    /// Empty where it gave no name.
    pub worker: &'a str,
    /// The first is 1.
    pub attempt: u32,
}

/// Who did it, as far as that is known: a worker, or bear in some attempt.
#[derive(Debug, Clone, Copy)]
pub enum By<'a> {
    Worker(Hold<'a>),
    /// So many attempts have counted. None: none was made.
    Attempts(u32),
}

/// Why an attempt failed.
#[derive(Debug, Clone, Copy)]
pub struct Failure<'a> {
    pub message: &'a str,
    pub sqlstate: Option<&'a str>,
}

/// What happened to it.
#[derive(Debug, Clone, Copy)]
pub enum JobEvent<'a> {
    Enqueued {
        due_ms: Option<u64>,
        priority: Option<Priority>,
        unique: Option<&'a [u8]>,
    },
    Claimed {
        hold: Hold<'a>,
        lease_ms: u64,
    },
    /// JSON that was checked.
    Progress {
        hold: Hold<'a>,
        progress: &'a [u8],
    },
    Completed {
        by: By<'a>,
        rows: Option<u64>,
        result: Option<&'a [u8]>,
    },
    Failed {
        by: By<'a>,
        failure: Failure<'a>,
    },
    Retried {
        by: By<'a>,
        failure: Failure<'a>,
        due_ms: Option<u64>,
    },
    LeaseEnded {
        hold: Hold<'a>,
        lease_ms: u64,
    },
    Released {
        hold: Hold<'a>,
    },
    Cancelled {
        hold: Hold<'a>,
        message: &'a str,
    },
}

impl JobEvent<'_> {
    pub fn name(&self) -> &'static str {
        match self {
            JobEvent::Enqueued { .. } => "enqueued",
            JobEvent::Claimed { .. } => "claimed",
            JobEvent::Progress { .. } => "progress",
            JobEvent::Completed { .. } => "completed",
            JobEvent::Failed { .. } => "failed",
            JobEvent::Retried { .. } => "retried",
            JobEvent::LeaseEnded { .. } => "lease-ended",
            JobEvent::Released { .. } => "released",
            JobEvent::Cancelled { .. } => "cancelled",
        }
    }

    fn by(&self) -> Option<By<'_>> {
        match self {
            JobEvent::Enqueued { .. } => None,
            JobEvent::Completed { by, .. } | JobEvent::Failed { by, .. } | JobEvent::Retried { by, .. } => Some(*by),
            JobEvent::Claimed { hold, .. }
            | JobEvent::Progress { hold, .. }
            | JobEvent::LeaseEnded { hold, .. }
            | JobEvent::Released { hold }
            | JobEvent::Cancelled { hold, .. } => Some(By::Worker(*hold)),
        }
    }

    /// Appends the message to `out`.
    pub fn write(&self, of: OfJob, at_ms: u64, out: &mut Vec<u8>) {
        let mut object = Object::new(out);
        object.text("event", self.name());
        object.text("space", of.space);
        object.text("id", std::str::from_utf8(of.id.text().as_bytes()).unwrap_or_default());
        object.text("job", of.job);
        match self.by() {
            Some(By::Worker(hold)) => {
                object.number("token", hold.token);
                if !hold.worker.is_empty() {
                    object.text("worker", hold.worker);
                }
                object.number("attempt", hold.attempt.into());
            }
            Some(By::Attempts(attempts)) if attempts > 0 => object.number("attempt", attempts.into()),
            Some(By::Attempts(_)) | None => {}
        }
        match self {
            JobEvent::Enqueued { due_ms, priority, unique } => {
                number(&mut object, "due", *due_ms);
                number(&mut object, "priority", priority.map(u64::from));
                if let Some(key) = unique {
                    object.text("unique", cut(&String::from_utf8_lossy(key)));
                }
            }
            JobEvent::Claimed { lease_ms, .. } | JobEvent::LeaseEnded { lease_ms, .. } => {
                object.number("lease_ms", *lease_ms);
            }
            JobEvent::Progress { progress, .. } => value(&mut object, ("progress", "progress_bytes"), progress),
            JobEvent::Completed { rows, result, .. } => {
                number(&mut object, "rows", *rows);
                value(&mut object, ("result", "result_bytes"), result.unwrap_or_default());
            }
            JobEvent::Failed { failure, .. } => failure.write(&mut object),
            JobEvent::Retried { failure, due_ms, .. } => {
                failure.write(&mut object);
                number(&mut object, "due", *due_ms);
            }
            JobEvent::Released { .. } => {}
            JobEvent::Cancelled { message, .. } => object.text("message", cut(message)),
        }
        object.number("at", at_ms);
        object.end();
    }
}

impl Failure<'_> {
    fn write(&self, object: &mut Object) {
        object.text("message", cut(self.message));
        if let Some(code) = self.sqlstate {
            object.text("sqlstate", code);
        }
    }
}

fn number(object: &mut Object, name: &str, number: Option<u64>) {
    if let Some(number) = number {
        object.number(name, number);
    }
}

/// JSON as it is stored. Cut it would be none: of what is larger the message says how large.
fn value(object: &mut Object, (name, bytes_name): (&str, &str), json: &[u8]) {
    match json.len() {
        len if len > MAX_VALUE => object.number(bytes_name, len as u64),
        _ => object.stored(name, json),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OF: OfJob = OfJob { space: "{7}:mail", id: JobId { ms: 1_795_865_095_226, seq: 4 }, job: "SEND" };
    const HOLD: Hold = Hold { token: 1 << 52, worker: "w \"1\"", attempt: 2 };
    const FAILURE: Failure = Failure { message: "no\nroute", sqlstate: None };

    fn text(event: JobEvent) -> String {
        let mut out = Vec::new();
        event.write(OF, 17, &mut out);
        let text = String::from_utf8(out).expect("UTF-8");
        let read: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(read["event"], event.name());
        text
    }

    /// What stands between the job and the time.
    fn middle(event: JobEvent) -> String {
        let name = event.name();
        let text = text(event);
        let begin = format!(r#"{{"event":"{name}","space":"{{7}}:mail","id":"1795865095226-4","job":"SEND","#);
        let rest = text.strip_prefix(&begin).unwrap_or_else(|| panic!("{text} begins with {begin}"));
        rest.strip_suffix(r#""at":17}"#).unwrap_or_else(|| panic!("{text} ends with the time")).to_owned()
    }

    #[test]
    fn each_message_has_its_fields_in_their_order() {
        let held = r#""token":4503599627370496,"worker":"w \"1\"","attempt":2,"#;
        let by = By::Worker(HOLD);
        let sql = Failure { message: "division by zero", sqlstate: Some("22012") };
        let none = JobEvent::Enqueued { due_ms: None, priority: None, unique: None };
        let table = [
            (none, String::new()),
            (
                JobEvent::Enqueued { due_ms: Some(5), priority: Some(3), unique: Some(b"k\xff") },
                "\"due\":5,\"priority\":3,\"unique\":\"k\u{FFFD}\",".to_owned(),
            ),
            (JobEvent::Claimed { hold: HOLD, lease_ms: 30_000 }, format!(r#"{held}"lease_ms":30000,"#)),
            (JobEvent::Progress { hold: HOLD, progress: b"[1, 2]" }, format!(r#"{held}"progress":[1, 2],"#)),
            (JobEvent::Completed { by, rows: None, result: None }, held.to_owned()),
            (JobEvent::Completed { by, rows: None, result: Some(b"{}") }, format!(r#"{held}"result":{{}},"#)),
            (
                JobEvent::Completed { by: By::Attempts(1), rows: Some(0), result: Some(b"null") },
                r#""attempt":1,"rows":0,"result":null,"#.to_owned(),
            ),
            (JobEvent::Completed { by: By::Attempts(0), rows: None, result: None }, String::new()),
            (JobEvent::Failed { by, failure: FAILURE }, format!(r#"{held}"message":"no\nroute","#)),
            (
                JobEvent::Failed { by: By::Attempts(0), failure: sql },
                r#""message":"division by zero","sqlstate":"22012","#.to_owned(),
            ),
            (
                JobEvent::Retried { by: By::Attempts(3), failure: sql, due_ms: Some(9) },
                r#""attempt":3,"message":"division by zero","sqlstate":"22012","due":9,"#.to_owned(),
            ),
            (JobEvent::Retried { by, failure: FAILURE, due_ms: None }, format!(r#"{held}"message":"no\nroute","#)),
            (JobEvent::LeaseEnded { hold: HOLD, lease_ms: 1_000 }, format!(r#"{held}"lease_ms":1000,"#)),
            (JobEvent::Released { hold: HOLD }, held.to_owned()),
            (
                JobEvent::Released { hold: Hold { worker: "", ..HOLD } },
                r#""token":4503599627370496,"attempt":2,"#.to_owned(),
            ),
            (JobEvent::Cancelled { hold: HOLD, message: "why" }, format!(r#"{held}"message":"why","#)),
        ];
        for (event, expected) in table {
            assert_eq!(middle(event), expected, "{event:?}");
        }
    }

    #[test]
    fn large_values_are_left_out_or_cut() {
        let json = format!("\"{}\"", "x".repeat(1_022));
        let completed = |result| JobEvent::Completed { by: By::Attempts(1), rows: None, result: Some(result) };
        assert!(middle(completed(json.as_bytes())).contains(&format!(r#""result":{json},"#)));
        let json = format!("\"{}\"", "x".repeat(1_023));
        assert_eq!(middle(completed(json.as_bytes())), r#""attempt":1,"result_bytes":1025,"#);
        let progress = middle(JobEvent::Progress { hold: HOLD, progress: &[b'1'; 2_000] });
        assert!(progress.ends_with(r#""progress_bytes":2000,"#), "{progress}");
        let message = "é".repeat(2_000);
        let failed =
            middle(JobEvent::Failed { by: By::Attempts(1), failure: Failure { message: &message, sqlstate: None } });
        assert_eq!(failed, format!(r#""attempt":1,"message":"{}","#, "é".repeat(512)));
    }
}
