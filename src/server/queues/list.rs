//! BEAR.JOBS, in slices: a thousand jobs may be a hundred megabytes, and one in a state be behind a million in another.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Instant;

use super::job_reply::{of_record, ListedState};
use super::settled::failed_entry;
use crate::core::jobs::job_id::JobId;
use crate::core::jobs::record::{get, Outcome};
use crate::keyspace::jobs::{self, QueueKeys, LAST};
use crate::redis_api::{Answer, Context, Direction, Fields, Value};
use crate::server::errands::Errand;
use crate::server::Server;

/// Bytes of a reply: beyond them a list ends early, and AFTER goes on.
const MAX_BYTES: usize = 16 << 20;

/// What of a queue is listed.
pub struct ListRequest<'a> {
    pub state: ListedState,
    /// Jobs of this type only.
    pub job: Option<&'a [u8]>,
    pub count: usize,
    /// The list goes on behind this job.
    pub after: Option<&'a [u8]>,
    pub is_newest_first: bool,
    /// So many are passed over.
    pub offset: u64,
}

pub struct Listing {
    name: Arc<str>,
    state: ListedState,
    job: Option<Box<[u8]>>,
    count: usize,
    direction: Direction,
    /// Jobs that are still to be passed over.
    offset: u64,
    /// Of settled jobs, the list begins behind this one, wherever in its entry it stands.
    after: Option<JobId>,
    /// Entries of the stream that have not been looked at: the least and the greatest of them; None: all have.
    left: Option<(JobId, JobId)>,
    listed: Vec<Value>,
    bytes: usize,
}

impl Listing {
    pub fn new(name: Arc<str>, request: &ListRequest, after: Option<JobId>) -> Listing {
        let is_settled = matches!(request.state, ListedState::Completed | ListedState::Failed);
        let direction = if request.is_newest_first { Direction::Backward } else { Direction::Forward };
        let left = match (after, direction) {
            (None, _) => Some((JobId::ZERO, LAST)),
            // A record is written after its job was enqueued, but who knows how much later.
            (Some(after), Direction::Forward) if is_settled => Some((JobId { ms: after.ms, seq: 0 }, LAST)),
            (Some(_), Direction::Backward) if is_settled => Some((JobId::ZERO, LAST)),
            (Some(after), Direction::Forward) => after.next().map(|from| (from, LAST)),
            (Some(after), Direction::Backward) => after.previous().map(|to| (JobId::ZERO, to)),
        };
        Listing {
            name,
            state: request.state,
            job: request.job.map(Into::into),
            count: request.count,
            direction,
            offset: request.offset,
            after: after.filter(|_| is_settled),
            left,
            listed: Vec::new(),
            bytes: 0,
        }
    }

    fn is_full(&self) -> bool {
        self.listed.len() >= self.count || self.bytes >= MAX_BYTES
    }

    /// A job of the list, unless it is one of those that are passed over.
    fn take(&mut self, report: impl FnOnce() -> Value) {
        if self.offset > 0 {
            self.offset -= 1;
            return;
        }
        let report = report();
        self.bytes += report.cost();
        self.listed.push(report);
    }

    /// A record, in the order of the list.
    fn take_record(&mut self, id: JobId, record: &[u8]) {
        match self.after {
            Some(after) if after == id => self.after = None,
            Some(_) => {}
            None if self.is_full() || !self.is_of_job(|| job_of(record)) => {}
            None => {
                let state = self.state.name();
                self.take(|| of_record(id, state, record));
            }
        }
    }

    fn is_of_job<T: AsRef<[u8]>>(&self, job: impl FnOnce() -> Option<T>) -> bool {
        let Some(wanted) = &self.job else { return true };
        job().is_some_and(|job| job.as_ref() == &**wanted)
    }

    fn look_at(&mut self, server: &Server, ctx: Context, keys: &QueueKeys, id: JobId, fields: &Fields) {
        match self.state {
            ListedState::Failed => {
                if let Some((id, record)) = failed_entry(fields) {
                    self.take_record(id, record);
                }
            }
            ListedState::Completed => {
                let direction = self.direction;
                let mut take = |(id, record): &(&[u8], &[u8])| {
                    if let Some(id) = JobId::parse(id) {
                        self.take_record(id, record);
                    }
                };
                match direction {
                    Direction::Forward => fields.iter().for_each(&mut take),
                    Direction::Backward => fields.iter().rev().for_each(&mut take),
                }
            }
            ListedState::Waiting | ListedState::Active | ListedState::Delayed => {
                if !self.is_of_job(|| get(fields, b"job")) {
                    return;
                }
                let (state, report) = server.report_of(ctx, &self.name, keys, id, fields);
                if state == self.state {
                    self.take(|| report);
                }
            }
        }
    }
}

impl Errand for Listing {
    fn step(&mut self, server: &mut Server, ctx: Context, deadline: Instant) -> Option<Answer> {
        let keys = QueueKeys::new(&server.prefix_of(&self.name));
        let key = match self.state {
            ListedState::Completed => &keys.completed,
            ListedState::Failed => &keys.failed,
            ListedState::Waiting | ListedState::Active | ListedState::Delayed => &keys.jobs,
        };
        let Some(left) = self.left else { return Some(self.cut_short()) };
        let mut is_done = true;
        jobs::walk(ctx, key, self.direction, left, &mut |id, fields| {
            self.look_at(server, ctx, &keys, id, fields);
            self.left = match self.direction {
                Direction::Forward => id.next().map(|from| (from, left.1)),
                Direction::Backward => id.previous().map(|to| (left.0, to)),
            };
            if self.is_full() {
                return ControlFlow::Break(());
            }
            if Instant::now() >= deadline {
                is_done = false;
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        });
        is_done.then(|| self.cut_short())
    }

    fn cut_short(&mut self) -> Answer {
        Answer::Value(Arc::new(Value::Array(std::mem::take(&mut self.listed))))
    }

    fn writes(&self) -> bool {
        false
    }
}

/// The job type that a record names. Records begin with it: those that are passed over are not read to their ends.
fn job_of(record: &[u8]) -> Option<Vec<u8>> {
    let name: String = match record.strip_prefix(br#"{"job":"#) {
        Some(rest) => serde_json::Deserializer::from_slice(rest).into_iter().next()?.ok()?,
        None => serde_json::from_slice::<Outcome>(record).ok()?.job,
    };
    Some(name.into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_job_of_a_record_is_found_wherever_it_stands() {
        for (record, expected) in [
            (r#"{"job":"RENAME","data":{"job":"x"},"attempts":1,"finished":5}"#, Some("RENAME")),
            (r#"{"finished":5,"job":"REN\"AME"}"#, Some("REN\"AME")),
            (r#"{"job":"REN\"AME","finished":5}"#, Some("REN\"AME")),
            (r#"{"job":5}"#, None),
            (r#"{"job":"#, None),
            ("no record", None),
        ] {
            assert_eq!(job_of(record.as_bytes()).as_deref(), expected.map(str::as_bytes), "{record}");
        }
    }
}
