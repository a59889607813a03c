//! Searches among the records of settled jobs, in slices: where nothing in memory tells where a record stands.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Instant;

use rustc_hash::FxHashSet;

use super::job_reply::{of_record, ListedState};
use super::settled::{failed_entry, read_failed, read_failed_work, FailedJob};
use super::space::SpaceQueue;
use crate::core::jobs::job_id::JobId;
use crate::core::jobs::record;
use crate::keyspace::claims::{self, WorkKeys};
use crate::keyspace::jobs::{self, QueueKeys, LAST};
use crate::redis_api::{Answer, Context, Direction};
use crate::server::claims::{SettledWork, WorkSearch};
use crate::server::errands::Errand;
use crate::server::Server;

/// Places of failed jobs that are looked through at once.
const LOOKED_THROUGH: usize = 10_000;

/// A search for failed jobs by their ids.
pub struct FailedSearch {
    name: Arc<str>,
    /// Entries of claimed jobs among them that are to be read; None: nobody knows yet where they stand.
    work: Option<Vec<JobId>>,
    wanted: FxHashSet<JobId>,
    /// Where they stand, if this process wrote all of them.
    known: Option<Vec<JobId>>,
    from: JobId,
    /// Oldest first.
    pub found: Vec<FailedJob>,
}

impl FailedSearch {
    pub fn new(name: Arc<str>, space: Option<&SpaceQueue>, wanted: FxHashSet<JobId>) -> FailedSearch {
        let places = space.filter(|space| space.failures.len() <= LOOKED_THROUGH).map(|space| {
            let of_wanted = space.failures.iter().filter(|(_, job)| wanted.contains(job));
            of_wanted.map(|(entry, _)| *entry).collect::<Vec<_>>()
        });
        let known = places.filter(|places| places.len() == wanted.len());
        FailedSearch { name, work: None, wanted, known, from: JobId::ZERO, found: Vec::new() }
    }

    /// Ids of which no job was found, once the search is over.
    pub fn missing(&self) -> Option<JobId> {
        self.wanted.iter().find(|id| !self.found.iter().any(|job| job.id == **id)).copied()
    }

    pub fn bytes(&self) -> usize {
        self.found.iter().map(|job| job.data.len()).sum()
    }

    /// Forgets what has been found and stands no more: others may have taken it between two slices.
    pub fn look_again(&mut self, ctx: Context, prefix: &[u8]) {
        let (sql, work) = (QueueKeys::new(prefix), WorkKeys::new(prefix));
        self.found.retain(|job| {
            let key = if job.is_work { &work.failed } else { &sql.failed };
            let mut stands = false;
            jobs::walk(ctx, key, Direction::Forward, (job.entry, job.entry), &mut |_, fields| {
                stands = failed_entry(fields).is_some_and(|(id, _)| id == job.id);
                ControlFlow::Break(())
            });
            stands
        });
    }

    /// Goes on until the deadline. True when it is over: what was found stands in the order of the records.
    pub fn step(&mut self, server: &mut Server, ctx: Context, deadline: Instant) -> bool {
        let prefix = server.prefix_of(&self.name);
        if self.work.is_none() {
            self.work = server.failed_work_entries(ctx, &self.name, self.wanted.iter(), deadline);
        }
        let Some(work) = &mut self.work else { return false };
        let keys = WorkKeys::new(&prefix);
        while let Some(entry) = work.pop() {
            let read = claims::entry(ctx, &keys.failed, entry, |fields| read_failed_work(entry, fields));
            self.found.extend(read.flatten());
            if Instant::now() >= deadline {
                return false;
            }
        }
        if self.found.len() < self.wanted.len() && !self.search_sql(ctx, &QueueKeys::new(&prefix).failed, deadline) {
            return false;
        }
        self.found.sort_by_key(|job| job.entry);
        true
    }

    /// True when it is over.
    fn search_sql(&mut self, ctx: Context, key: &[u8], deadline: Instant) -> bool {
        let mut is_over = true;
        let look = |from: JobId, to: JobId, found: &mut Vec<FailedJob>| {
            let mut next = None;
            jobs::walk(ctx, key, Direction::Forward, (from, to), &mut |entry, fields| {
                if failed_entry(fields).is_some_and(|(id, _)| self.wanted.contains(&id)) {
                    found.extend(read_failed(entry, fields));
                }
                if found.len() == self.wanted.len() {
                    return ControlFlow::Break(());
                }
                if Instant::now() >= deadline {
                    next = entry.next();
                    return ControlFlow::Break(());
                }
                ControlFlow::Continue(())
            });
            next
        };
        match &mut self.known {
            Some(places) => {
                while let Some(place) = places.first().copied() {
                    places.remove(0);
                    look(place, place, &mut self.found);
                    if Instant::now() >= deadline && !places.is_empty() {
                        is_over = false;
                        break;
                    }
                }
            }
            None => {
                if let Some(next) = look(self.from, LAST, &mut self.found) {
                    self.from = next;
                    is_over = false;
                }
            }
        }
        is_over
    }
}

/// BEAR.JOB of a job that has settled, and whose record is not where it would be near.
pub struct RecordSearch {
    name: Arc<str>,
    id: JobId,
    from: JobId,
    /// The stream that is looked through; first that of the failed jobs, which is the shorter one.
    state: ListedState,
    /// Among claimed jobs, before that.
    work: Option<WorkSearch>,
    /// May it be an SQL job?
    in_sql: bool,
    /// What is told where there is none.
    otherwise: Answer,
}

impl RecordSearch {
    pub fn new(name: Arc<str>, id: JobId, work: Option<WorkSearch>, in_sql: bool, otherwise: Answer) -> RecordSearch {
        RecordSearch { name, id, from: JobId::ZERO, state: ListedState::Failed, work, in_sql, otherwise }
    }
}

/// For a job without a record: where a key of another type stands, that is the answer.
pub fn not_found(ctx: Context, prefix: &[u8], otherwise: Answer) -> Answer {
    let wrong = QueueKeys::new(prefix).wrong_type(ctx).or_else(|| WorkKeys::new(prefix).wrong_type(ctx));
    wrong.map_or(otherwise, |text| Answer::Error(text.into()))
}

impl Errand for RecordSearch {
    fn step(&mut self, server: &mut Server, ctx: Context, deadline: Instant) -> Option<Answer> {
        if let Some(search) = &mut self.work {
            match server.search_work(ctx, &self.name, search, deadline) {
                SettledWork::Found(report) => return Some(Answer::Value(Arc::new(report))),
                SettledWork::Nowhere => self.work = None,
                SettledWork::Unknown => return None,
            }
        }
        let prefix = server.prefix_of(&self.name);
        if !self.in_sql {
            return Some(not_found(ctx, &prefix, self.cut_short()));
        }
        let keys = QueueKeys::new(&prefix);
        let text = self.id.to_string();
        loop {
            let key = if self.state == ListedState::Failed { &keys.failed } else { &keys.completed };
            let (mut found, mut next) = (None, None);
            jobs::walk(ctx, key, Direction::Forward, (self.from, LAST), &mut |entry, fields| {
                let record = match self.state {
                    ListedState::Failed => {
                        failed_entry(fields).filter(|(of, _)| *of == self.id).map(|(_, record)| record)
                    }
                    _ => record::get(fields, text.as_bytes()),
                };
                found = record.map(|record| of_record(self.id, self.state.name(), record));
                if found.is_none() && Instant::now() >= deadline {
                    next = entry.next();
                }
                if found.is_some() || next.is_some() {
                    return ControlFlow::Break(());
                }
                ControlFlow::Continue(())
            });
            if let Some(report) = found {
                return Some(Answer::Value(Arc::new(report)));
            }
            match next {
                Some(next) => {
                    self.from = next;
                    return None;
                }
                None if self.state == ListedState::Failed => {
                    (self.state, self.from) = (ListedState::Completed, JobId::ZERO);
                }
                None => return Some(not_found(ctx, &prefix, self.cut_short())),
            }
        }
    }

    fn cut_short(&mut self) -> Answer {
        self.otherwise.clone()
    }

    fn writes(&self) -> bool {
        false
    }
}

/// BEAR.REMOVE of a record: of a failed job, or of a completed one that was claimed.
pub struct RemoveRecord {
    pub name: Arc<str>,
    pub id: JobId,
    pub search: FailedSearch,
}

impl Errand for RemoveRecord {
    fn step(&mut self, server: &mut Server, ctx: Context, deadline: Instant) -> Option<Answer> {
        if !self.search.step(server, ctx, deadline) {
            return None;
        }
        let removed = match self.search.found.first() {
            Some(job) if job.is_work => server.forget_failed_work(ctx, &self.name, &[job.entry]) > 0,
            Some(job) => {
                let keys = QueueKeys::new(&server.prefix_of(&self.name));
                jobs::delete(ctx, &keys.failed, &[job.entry]) > 0
            }
            None => server.forget_completed_work(ctx, &self.name, self.id),
        };
        Some(Answer::Integer(removed.into()))
    }

    fn cut_short(&mut self) -> Answer {
        Answer::Error(
            "NOWAIT the record is searched for longer than MULTI and scripts may take; send it outside".into(),
        )
    }

    fn writes(&self) -> bool {
        true
    }
}
