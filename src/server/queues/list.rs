//! BEAR.JOBS, in slices: a thousand jobs may be a hundred megabytes, and one in a state be behind a million in another.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Instant;

use super::job_reply::{of_record, ListedState};
use super::settled::failed_entry;
use crate::core::jobs::job_id::JobId;
use crate::keyspace::jobs::{self, QueueKeys, LAST};
use crate::redis_api::{Answer, Context, Direction, Fields, Value};
use crate::server::errands::Errand;
use crate::server::Server;

/// Bytes of a reply: beyond them a list ends early, and AFTER goes on.
const MAX_BYTES: usize = 16 << 20;

pub struct Listing {
    name: Arc<str>,
    state: ListedState,
    count: usize,
    /// Of settled jobs, the list begins behind this one, wherever in its entry it stands.
    after: Option<JobId>,
    /// The first entry of the stream that has not been looked at.
    from: JobId,
    listed: Vec<Value>,
    bytes: usize,
}

impl Listing {
    pub fn new(name: Arc<str>, state: ListedState, count: usize, after: Option<JobId>) -> Listing {
        let is_settled = matches!(state, ListedState::Completed | ListedState::Failed);
        let from = match after {
            // A record is written after its job was enqueued.
            Some(after) if is_settled => JobId { ms: after.ms, seq: 0 },
            Some(after) => after.next().unwrap_or(LAST),
            None => JobId::ZERO,
        };
        let after = after.filter(|_| is_settled);
        Listing { name, state, count, after, from, listed: Vec::new(), bytes: 0 }
    }

    fn is_full(&self) -> bool {
        self.listed.len() >= self.count || self.bytes >= MAX_BYTES
    }

    fn push(&mut self, report: Value) {
        self.bytes += report.cost();
        self.listed.push(report);
    }

    /// A record, in the order in which jobs settled.
    fn take_record(&mut self, id: JobId, record: &[u8]) {
        match self.after {
            Some(after) if after == id => self.after = None,
            Some(_) => {}
            None if self.is_full() => {}
            None => self.push(of_record(id, self.state.name(), record)),
        }
    }

    fn look_at(&mut self, server: &Server, ctx: Context, keys: &QueueKeys, id: JobId, fields: &Fields) {
        match self.state {
            ListedState::Failed => {
                if let Some((id, record)) = failed_entry(fields) {
                    self.take_record(id, record);
                }
            }
            ListedState::Completed => {
                for (id, record) in fields {
                    if let Some(id) = JobId::parse(id) {
                        self.take_record(id, record);
                    }
                }
            }
            ListedState::Waiting | ListedState::Active | ListedState::Delayed => {
                let (state, report) = server.report_of(ctx, &self.name, keys, id, fields);
                if state == self.state {
                    self.push(report);
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
        let mut is_done = true;
        jobs::walk(ctx, key, Direction::Forward, (self.from, LAST), &mut |id, fields| {
            self.look_at(server, ctx, &keys, id, fields);
            self.from = id.next().unwrap_or(LAST);
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
