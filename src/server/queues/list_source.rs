//! What BEAR.JOBS reads of one stream: the jobs in a state, some at a time.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Instant;

use super::job_reply::{of_record, ListedState};
use super::settled::failed_entry;
use crate::core::jobs::job_id::JobId;
use crate::core::jobs::record::{get, Outcome};
use crate::keyspace::claims::{self, WorkKeys};
use crate::keyspace::jobs::{self, QueueKeys};
use crate::redis_api::{Context, Direction, Fields, Value};
use crate::server::Server;

/// Jobs that are read at once, and bytes of what is read of them.
const SOME: usize = 32;
const BYTES: usize = 1 << 20;

/// What is looked for.
pub struct Look {
    name: Arc<str>,
    sql: QueueKeys,
    work: WorkKeys,
    state: ListedState,
    job: Option<Box<[u8]>>,
    pub direction: Direction,
    /// Settled jobs are listed from the one behind this on.
    pub after: Option<JobId>,
}

impl Look {
    pub fn new(
        name: Arc<str>,
        prefix: &[u8],
        state: ListedState,
        job: Option<&[u8]>,
        direction: Direction,
        after: Option<JobId>,
    ) -> Look {
        let job = job.map(Into::into);
        Look { name, sql: QueueKeys::new(prefix), work: WorkKeys::new(prefix), state, job, direction, after }
    }

    /// Is it of the wanted type, or the job behind which the list begins?
    fn wants<T: AsRef<[u8]>>(&self, id: JobId, job: impl FnOnce() -> Option<T>) -> bool {
        let Some(wanted) = &self.job else { return true };
        self.after == Some(id) || job().is_some_and(|job| job.as_ref() == &**wanted)
    }
}

/// A job of the list.
pub struct Item {
    /// Of its entry: by this the list is sorted.
    at: JobId,
    pub id: JobId,
    body: Body,
}

enum Body {
    Report(Value),
    /// The record of a settled SQL job, and of a claimed one.
    Record(Box<[u8]>),
    WorkRecord(Box<[u8]>),
    /// A claimed job whose entry is read when it is its turn.
    Work,
}

impl Item {
    /// Its map; None where it has gone meanwhile.
    pub fn report(self, server: &Server, ctx: Context, look: &Look) -> Option<Value> {
        let (id, keys) = (self.id, &look.work);
        match self.body {
            Body::Report(report) => Some(report),
            Body::Record(record) => Some(of_record(id, look.state.name(), &record)),
            Body::WorkRecord(record) => Some(server.completed_work_report(id, &record)),
            Body::Work if look.state == ListedState::Failed => {
                claims::entry(ctx, &keys.failed, self.at, |fields| server.failed_work_report(&look.name, id, fields))?
            }
            Body::Work => {
                claims::entry(ctx, &keys.work, id, |fields| server.work_report(ctx, &look.name, keys, id, fields))
            }
        }
    }
}

/// One of the two streams.
pub struct Source {
    is_work: bool,
    /// Entries that have not been looked at: the least and the greatest of them; None: all have.
    left: Option<(JobId, JobId)>,
    read: VecDeque<Item>,
}

impl Source {
    pub fn sql(left: Option<(JobId, JobId)>) -> Source {
        Source { is_work: false, left, read: VecDeque::new() }
    }

    pub fn work(left: Option<(JobId, JobId)>) -> Source {
        Source { is_work: true, left, read: VecDeque::new() }
    }

    /// Is its next job known, or that there is none?
    pub fn is_ready(&self) -> bool {
        !self.read.is_empty() || self.left.is_none()
    }

    pub fn first(&self) -> Option<JobId> {
        self.read.front().map(|item| item.at)
    }

    pub fn take(&mut self) -> Option<Item> {
        self.read.pop_front()
    }

    /// Reads on.
    pub fn read_some(&mut self, server: &Server, ctx: Context, look: &Look, deadline: Instant) {
        let Some(left) = self.left else { return };
        if self.is_work {
            if let Some((ids, left)) =
                server.indexed_work(&look.name, look.state, look.job.as_deref(), left, look.direction)
            {
                self.read.extend(ids.into_iter().map(|id| Item { at: id, id, body: Body::Work }));
                self.left = left;
                return;
            }
        }
        let key = match (look.state, self.is_work) {
            (ListedState::Completed, false) => &look.sql.completed,
            (ListedState::Completed, true) => &look.work.completed,
            (ListedState::Failed, false) => &look.sql.failed,
            (ListedState::Failed, true) => &look.work.failed,
            (_, false) => &look.sql.jobs,
            (_, true) => &look.work.work,
        };
        let (mut is_through, mut bytes) = (true, 0);
        jobs::walk(ctx, key, look.direction, left, &mut |at, fields| {
            bytes += self.look_at(server, ctx, look, at, fields);
            self.left = match look.direction {
                Direction::Forward => at.next().map(|from| (from, left.1)),
                Direction::Backward => at.previous().map(|to| (left.0, to)),
            };
            is_through = self.read.len() < SOME && bytes < BYTES && Instant::now() < deadline;
            if is_through {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        });
        if is_through {
            self.left = None;
        }
    }

    /// Takes what is wanted of an entry. Returns how many bytes that is.
    fn look_at(&mut self, server: &Server, ctx: Context, look: &Look, at: JobId, fields: &Fields) -> usize {
        let (is_work, before) = (self.is_work, self.read.len());
        match look.state {
            ListedState::Failed => {
                let Some((id, record)) = failed_entry(fields) else { return 0 };
                let is_wanted = match is_work {
                    true => look.wants(id, || get(fields, b"t")),
                    false => look.wants(id, || job_of(record)),
                };
                if is_wanted {
                    let body = if is_work { Body::Work } else { Body::Record(record.into()) };
                    self.read.push_back(Item { at, id, body });
                }
            }
            ListedState::Completed => {
                let take = |(id, record): &(&[u8], &[u8])| {
                    // The type of claimed jobs stands before them.
                    let id = JobId::parse(id)?;
                    let is_wanted = match is_work {
                        true => look.wants(id, || get(fields, b"t")),
                        false => look.wants(id, || job_of(record)),
                    };
                    let record = (*record).into();
                    let body = if is_work { Body::WorkRecord(record) } else { Body::Record(record) };
                    is_wanted.then_some(Item { at, id, body })
                };
                match look.direction {
                    Direction::Forward => self.read.extend(fields.iter().filter_map(take)),
                    Direction::Backward => self.read.extend(fields.iter().rev().filter_map(take)),
                }
            }
            ListedState::Waiting | ListedState::Active | ListedState::Delayed => {
                if !look.wants(at, || get(fields, b"job")) {
                    return 0;
                }
                let (state, body) = match is_work {
                    true => (server.work_state(ctx, &look.name, &look.work, at), Body::Work),
                    false => {
                        let (state, report) = server.report_of(ctx, &look.name, &look.sql, at, fields);
                        (state, Body::Report(report))
                    }
                };
                if state == look.state {
                    self.read.push_back(Item { at, id: at, body });
                }
            }
        }
        let cost = |item: &Item| match &item.body {
            Body::Report(report) => report.cost(),
            Body::Record(record) | Body::WorkRecord(record) => record.len(),
            Body::Work => 0,
        };
        self.read.iter().skip(before).map(cost).sum()
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
