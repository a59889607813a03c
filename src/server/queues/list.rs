//! BEAR.JOBS, in slices: a thousand jobs may be a hundred megabytes, and one in a state be behind a million in another.
//!
//! SQL jobs and claimed ones stand in streams of their own: a list is the two of them, merged by the ids of their entries.

use std::sync::Arc;
use std::time::Instant;

use super::job_reply::ListedState;
use super::list_source::{Item, Look, Source};
use crate::core::jobs::job_id::JobId;
use crate::keyspace::jobs::LAST;
use crate::redis_api::{Answer, Context, Direction, Value};
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
    look: Look,
    sources: [Source; 2],
    count: usize,
    /// Jobs that are still to be passed over.
    offset: u64,
    listed: Vec<Value>,
    bytes: usize,
}

impl Listing {
    pub fn new(name: Arc<str>, prefix: &[u8], request: &ListRequest, after: Option<JobId>) -> Listing {
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
        let look = Look::new(name, prefix, request.state, request.job, direction, after.filter(|_| is_settled));
        Listing {
            look,
            sources: [Source::sql(left), Source::work(left)],
            count: request.count,
            offset: request.offset,
            listed: Vec::new(),
            bytes: 0,
        }
    }

    fn is_full(&self) -> bool {
        self.listed.len() >= self.count || self.bytes >= MAX_BYTES
    }

    /// The next job of the two sources, of which each has some read, or none left. SQL jobs go before claimed ones of one id.
    fn next(&mut self) -> Option<Item> {
        let [sql, work] = &mut self.sources;
        let sql_is_next = match (sql.first(), work.first()) {
            (Some(sql), Some(work)) => match self.look.direction {
                Direction::Forward => sql <= work,
                Direction::Backward => sql > work,
            },
            (sql, _) => sql.is_some(),
        };
        if sql_is_next {
            sql.take()
        } else {
            work.take()
        }
    }

    /// A job of the list, unless it is one of those that are passed over.
    fn take(&mut self, server: &Server, ctx: Context, item: Item) {
        if let Some(after) = self.look.after {
            // The list begins behind it, wherever in its entry it stands.
            if after == item.id {
                self.look.after = None;
            }
            return;
        }
        if self.offset > 0 {
            self.offset -= 1;
            return;
        }
        if let Some(report) = item.report(server, ctx, &self.look) {
            self.bytes += report.cost();
            self.listed.push(report);
        }
    }
}

impl Errand for Listing {
    fn step(&mut self, server: &mut Server, ctx: Context, deadline: Instant) -> Option<Answer> {
        loop {
            for source in &mut self.sources {
                while !source.is_ready() {
                    source.read_some(server, ctx, &self.look, deadline);
                    if !source.is_ready() && Instant::now() >= deadline {
                        return None;
                    }
                }
            }
            let Some(item) = self.next() else { return Some(self.cut_short()) };
            self.take(server, ctx, item);
            if self.is_full() {
                return Some(self.cut_short());
            }
            if Instant::now() >= deadline {
                return None;
            }
        }
    }

    fn cut_short(&mut self) -> Answer {
        Answer::Value(Arc::new(Value::Array(std::mem::take(&mut self.listed))))
    }

    fn writes(&self) -> bool {
        false
    }
}
