//! BEAR.JOB: what is known of a job, from memory on a master and from the keys everywhere.

use std::ops::ControlFlow;
use std::sync::Arc;

use super::checks::{check_types, parse_id, stands};
use super::job_reply::{ListedState, Report};
use super::list::{ListRequest, Listing};
use super::search::{not_found, RecordSearch};
use super::settled::{find_settled, Settled};
use super::space::Retry;
use super::unique::unique_holder;
use super::waiting::Asker;
use super::wall_ms;
use crate::core::calls::names;
use crate::core::jobs::job_id::JobId;
use crate::core::jobs::queue::JobState;
use crate::core::jobs::record::{self, JobRecord};
use crate::keyspace::claims::{self, WorkKeys};
use crate::keyspace::jobs::{self, QueueKeys};
use crate::redis_api::{Answer, Context, Direction, Fields, Value};
use crate::server::claims::{SettledWork, WorkSearch};
use crate::server::Server;

impl Server {
    /// BEAR.JOB; with `block_ms` the client waits until the job has settled, at most so long (0: for ever).
    pub fn job(&mut self, ctx: Context, space_name: &[u8], id: &[u8], block_ms: Option<u64>) -> Result<(), String> {
        let (name, keys) = self.queue_of(ctx, space_name)?;
        let id = parse_id(id)?;
        let block_ms = block_ms.filter(|_| !ctx.flags().cannot_block());
        if block_ms.is_some() && !self.is_master() {
            return Err(
                "READONLY what becomes of a job is known to the master first; wait there, or ask without BLOCK".into(),
            );
        }
        match self.queued_report(ctx, &name, &keys, id) {
            Some(report) => match block_ms {
                Some(block_ms) => self.add_waiter(ctx.block(), name, id, block_ms, Asker::Onlooker),
                None => self.answer_here(ctx, Answer::Value(Arc::new(report))),
            },
            None => self.answer_record(ctx, name, id, Answer::Value(Arc::new(Value::Null))),
        }
        Ok(())
    }

    /// BEAR.JOB of the one that holds a UNIQUE key.
    pub fn job_by_unique(
        &mut self,
        ctx: Context,
        space_name: &[u8],
        key: &[u8],
        block_ms: Option<u64>,
    ) -> Result<(), String> {
        let (_, keys) = self.queue_of(ctx, space_name)?;
        let Some(holder) = unique_holder(ctx, &keys, key) else {
            check_types(ctx, &keys)?;
            self.answer_here(ctx, Answer::Value(Arc::new(Value::Null)));
            return Ok(());
        };
        self.job(ctx, space_name, holder.id.to_string().as_bytes(), block_ms)
    }

    /// The map of a job, or nil, for a client that has waited for it.
    pub(super) fn job_now(&self, ctx: Context, name: &Arc<str>, id: JobId) -> Answer {
        let keys = QueueKeys::new(&self.prefix_of(name));
        let report = self.queued_report(ctx, name, &keys, id).or_else(|| self.settled_report(ctx, name, id));
        Answer::Value(Arc::new(report.unwrap_or(Value::Null)))
    }

    /// Answers with the map of a job that is not queued; `otherwise` where it has no record.
    pub(super) fn answer_record(&mut self, ctx: Context, name: Arc<str>, id: JobId, otherwise: Answer) {
        let keys = QueueKeys::new(&self.prefix_of(&name));
        let sql = self.settled_record(ctx, &name, &keys, id);
        let work = || self.settled_work(ctx, &name, id);
        let is_near = matches!(sql, Settled::Nowhere);
        match sql.report().map_or_else(work, SettledWork::Found) {
            SettledWork::Found(report) => self.answer_here(ctx, Answer::Value(Arc::new(report))),
            SettledWork::Nowhere if is_near => not_found(ctx, &self.prefix_of(&name), otherwise).reply(ctx),
            work => {
                let work = matches!(work, SettledWork::Unknown).then(|| WorkSearch::new(id));
                self.begin_errand(ctx, RecordSearch::new(name, id, work, !is_near, otherwise));
            }
        }
    }

    /// BEAR.JOBS.
    pub fn jobs(&mut self, ctx: Context, space_name: &[u8], request: &ListRequest) -> Result<(), String> {
        let (name, keys) = self.queue_of(ctx, space_name)?;
        check_types(ctx, &keys)?;
        let prefix = self.prefix_of(&name);
        WorkKeys::new(&prefix).wrong_type(ctx).map_or(Ok(()), Err)?;
        let after = request.after.map(parse_id).transpose()?;
        self.begin_errand(ctx, Listing::new(name, &prefix, request, after));
        Ok(())
    }

    /// A space's name and the keys of its queue.
    pub(super) fn queue_of(&mut self, ctx: Context, space_name: &[u8]) -> Result<(Arc<str>, QueueKeys), String> {
        self.space_here(ctx, space_name)?;
        let name: Arc<str> = String::from_utf8_lossy(space_name).into();
        let prefix = self.prefix_of(&name);
        let keys = QueueKeys::new(&prefix);
        self.look_at_foreign_writes_to(ctx, &name, &prefix);
        // Asking about spaces that have no queue must not fill the memory with them.
        let has_keys =
            || jobs::read_integer(ctx, c"EXISTS", &[&keys.jobs, &keys.paused]).is_some_and(|count| count > 0);
        if self.is_master() {
            if has_keys() {
                self.queues.space(ctx, &name, &prefix);
            }
            self.touch_work(ctx, &name, &prefix);
        }
        Ok((name, keys))
    }

    pub(in crate::server) fn prefix_of(&self, space: &str) -> Vec<u8> {
        let mut prefix = Vec::new();
        names::write_prefix(space.as_bytes(), self.deployment, &mut prefix);
        prefix
    }

    /// The map of a job that has settled.
    pub(super) fn settled_report(&self, ctx: Context, space: &Arc<str>, id: JobId) -> Option<Value> {
        let keys = QueueKeys::new(&self.prefix_of(space));
        if stands(ctx, &keys, id) {
            return None;
        }
        let work = || match self.settled_work(ctx, space, id) {
            SettledWork::Found(report) => Some(report),
            SettledWork::Nowhere | SettledWork::Unknown => None,
        };
        self.settled_record(ctx, space, &keys, id).report().or_else(work)
    }

    fn settled_record(&self, ctx: Context, name: &str, keys: &QueueKeys, id: JobId) -> Settled {
        let space = self.queues.spaces.get(name).filter(|_| self.is_master()).map(AsRef::as_ref);
        find_settled(ctx, keys, space, id)
    }

    fn queued_report(&self, ctx: Context, name: &Arc<str>, keys: &QueueKeys, id: JobId) -> Option<Value> {
        let mut report = None;
        jobs::walk(ctx, &keys.jobs, Direction::Forward, (id, id), &mut |id, fields| {
            report = Some(self.report_of(ctx, name, keys, id, fields).1);
            ControlFlow::Break(())
        });
        report.or_else(|| {
            let work = WorkKeys::new(&self.prefix_of(name));
            claims::entry(ctx, &work.work, id, |fields| self.work_report(ctx, name, &work, id, fields))
        })
    }

    pub(super) fn report_of(
        &self,
        ctx: Context,
        name: &Arc<str>,
        keys: &QueueKeys,
        id: JobId,
        fields: &Fields,
    ) -> (ListedState, Value) {
        let record = JobRecord::read(fields).ok();
        let given = record.and_then(|record| record.options.due_ms);
        let text = id.to_string();
        let due_by_keys = || {
            let score = jobs::read_text(ctx, c"ZSCORE", &[&keys.delayed, text.as_bytes()]);
            let due = score.and_then(|score| std::str::from_utf8(&score).ok()?.parse::<f64>().ok());
            due.map(|due| due as u64)
        };
        // One that was promoted is due, whatever its entry says.
        let given = given.filter(|due| *due <= wall_ms() || due_by_keys().is_some());
        let space = self.queues.spaces.get(name).filter(|_| self.is_master());
        let (state, retry, due_ms) = match space {
            Some(space) => {
                let retry = space.retries.get(&id).cloned();
                let state = match space.queue.state(id) {
                    // Settled, and about to be published.
                    Some(JobState::Active) | None if id <= space.eligible => ListedState::Active,
                    Some(JobState::Delayed { .. }) => ListedState::Delayed,
                    Some(JobState::Active | JobState::Waiting) | None => ListedState::Waiting,
                };
                let due = match &retry {
                    Some(retry) => retry.due_ms,
                    // Perhaps of an earlier process, and not looked at yet.
                    None if given.is_none() && space.timed > 0 && state != ListedState::Delayed => due_by_keys(),
                    None => None,
                };
                (state, retry, due)
            }
            None => {
                let due = due_by_keys();
                let record = jobs::read_text(ctx, c"HGET", &[&keys.attempts, text.as_bytes()]);
                let retry = record.as_deref().and_then(record::read_attempt);
                let retry = retry.map(|(attempts, error)| Retry { attempts, error: Some(error), ..Retry::default() });
                let state = if due.is_some() { ListedState::Delayed } else { ListedState::Waiting };
                (state, retry, due)
            }
        };
        // An undue job is delayed, whether nobody has read it yet or a batch is about to note in the ledger that it waits.
        let is_undue = due_ms.or(given).is_some_and(|due| due > wall_ms());
        let state = if is_undue { ListedState::Delayed } else { state };
        let options = record.map(|record| record.options);
        let report = Report {
            job: record.map_or(b"", |record| record.name),
            data: record.map(|record| record.data),
            attempts: retry.as_ref().map_or(0, |retry| retry.attempts),
            due_ms: due_ms.or(given),
            error: retry.and_then(|retry| retry.error),
            max_attempts: options.map(|options| options.attempts),
            backoff: options.map_or(Value::Null, |options| Value::Integer(options.backoff_ms as i64)),
            unique: options.and_then(|options| options.unique),
            traceparent: options.and_then(|options| options.traceparent),
            ..Report::new(id, state.name())
        };
        (state, report.value())
    }
}
