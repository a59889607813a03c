//! Runs a wave's statement, and finds the jobs that it fails for: each costs the others a rollback to a savepoint, and no more.
//!
//! ```text
//! savepoint -> statement -> every job did something   -> released with the next savepoint
//!                 |   \---> a job failed by its row   -> rolled back, run again without it
//!                 \-------> the statement failed      -> rolled back, halves run on their own, down to one job
//! ```

use tokio_postgres::types::Type;

use crate::core::batch::{Batch, JobError, Left};
use crate::core::job::{Job, JobBody};
use crate::core::payload;
use crate::core::retry::{verdict, Verdict};
use crate::core::sql::Template;

use super::answer::{self, Gathered, Layout};
use super::apply::Abort;
use super::params::declared_type;
use super::tally::{Tally, Task};
use super::writer::{Trouble, Writer};

const LOCK_TIMEOUT: &str = "55P03";
const CANCELLED: &str = "57014";

/// So many lock timeouts without a success between them: the table is locked, and to try each job would take for ever.
const MAX_LOCK_TIMEOUTS: u32 = 24;

/// So many collisions of one batch in a row are no accident: a job whose statement raises class 40 by itself is at fault,
/// and is found as any other.
const MAX_COLLISIONS: u32 = 10;

/// A probe waits for a lock at least so long.
const MIN_PROBE_LOCK_MS: u64 = 10;
/// And runs at least so long.
const MIN_PROBE_STATEMENT_MS: u64 = 50;

/// Where the savepoint stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Point {
    None,
    /// What was done since it is to stay.
    Good,
    /// What was done since it is to go.
    Bad,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Timeouts {
    lock_ms: u64,
    statement_ms: u64,
}

/// Why a statement was in vain.
enum Fault {
    /// Postgres said so.
    Statement {
        sqlstate: Box<str>,
        message: Box<str>,
    },
    /// Its answer made no sense, whichever job met it.
    Answer(JobError),
    Abort(Abort),
}

impl From<Trouble> for Fault {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Statement { sqlstate, message } => Fault::Statement { sqlstate, message },
            other => Fault::Abort(Abort::from(other)),
        }
    }
}

pub(super) struct Runner<'r, 'b> {
    writer: &'r mut Writer,
    batch: &'b Batch,
    tasks: &'r [Task<'b>],
    tally: &'r mut Tally<'b>,
    point: Point,
    in_force: Timeouts,
    lock_timeouts: u32,
    /// Collisions of this batch so far.
    collisions: u32,
}

impl<'r, 'b> Runner<'r, 'b> {
    pub(super) fn new(
        writer: &'r mut Writer,
        batch: &'b Batch,
        tasks: &'r [Task<'b>],
        tally: &'r mut Tally<'b>,
        collisions: u32,
    ) -> Runner<'r, 'b> {
        let in_force = full(batch);
        Runner { writer, batch, tasks, tally, point: Point::None, in_force, lock_timeouts: 0, collisions }
    }

    /// Jobs of one type that share no order value.
    pub(super) fn run_wave(&mut self, wave: &[usize]) -> Result<(), Abort> {
        let admitted = |runner: &mut Self, task: usize| runner.tally.admit(&runner.tasks[task]);
        let each = wave.first().is_some_and(|task| matches!(self.tasks[*task].job.body, JobBody::Each(_)));
        if each {
            for task in wave {
                if admitted(self, *task) {
                    self.run(vec![*task], full(self.batch))?;
                }
            }
            return Ok(());
        }
        let tasks = wave.iter().copied().filter(|task| admitted(self, *task)).collect();
        self.run(tasks, full(self.batch))
    }

    /// Leaves the transaction with what is to stay and its usual timeouts.
    pub(super) fn finish(mut self) -> Result<(), Abort> {
        let mut sql = String::new();
        if self.point == Point::Bad {
            sql.push_str("ROLLBACK TO SAVEPOINT bear; ");
        }
        sql.push_str(&self.timeouts(full(self.batch)));
        match sql.is_empty() {
            true => Ok(()),
            false => self.writer.simple(&sql).map(drop).map_err(Abort::from),
        }
    }

    fn run(&mut self, mut tasks: Vec<usize>, timeouts: Timeouts) -> Result<(), Abort> {
        while !tasks.is_empty() {
            let fault = match self.attempt(&tasks, timeouts) {
                Ok(guilty) if guilty.is_empty() => return Ok(()),
                Ok(guilty) => {
                    for (task, error) in &guilty {
                        self.tally.fail(&self.tasks[*task], error.clone());
                    }
                    tasks.retain(|task| guilty.iter().all(|(guilty, _)| guilty != task));
                    continue;
                }
                Err(fault) => fault,
            };
            let (sqlstate, message) = match fault {
                Fault::Abort(abort) => return Err(abort),
                Fault::Answer(error) => {
                    self.refuse(&tasks, error);
                    return Ok(());
                }
                Fault::Statement { sqlstate, message } => (sqlstate, message),
            };
            let error = JobError { code: Some(sqlstate.clone()), message };
            match verdict(&sqlstate) {
                Verdict::Outage => return Err(Abort::Lost(error.message.into())),
                Verdict::Again if self.collisions < MAX_COLLISIONS => return Err(Abort::Again(error.message.into())),
                Verdict::RefuseType => {
                    self.refuse(&tasks, error);
                    return Ok(());
                }
                Verdict::Again | Verdict::Isolate | Verdict::Own => {}
            }
            if *sqlstate == *LOCK_TIMEOUT {
                self.lock_timeouts += 1;
                if self.lock_timeouts >= MAX_LOCK_TIMEOUTS {
                    return Err(Abort::Busy(error.message.into()));
                }
            }
            if let [task] = tasks[..] {
                self.settle(task, error, timeouts);
                return Ok(());
            }
            let probes = self.probes(&sqlstate, timeouts);
            let second = tasks.split_off(tasks.len() / 2);
            self.run(tasks, probes)?;
            return self.run(second, probes);
        }
        Ok(())
    }

    /// One job that the statement failed for on its own.
    fn settle(&mut self, task: usize, error: JobError, timeouts: Timeouts) {
        let task = &self.tasks[task];
        let in_company = timeouts.statement_ms < full(self.batch).statement_ms;
        match error.code.as_deref() {
            Some(LOCK_TIMEOUT) => self.tally.leave(task, Left::Isolated(error)),
            Some(CANCELLED) if in_company => self.tally.leave(task, Left::Isolated(error)),
            _ => self.tally.fail(task, error),
        }
    }

    fn refuse(&mut self, tasks: &[usize], error: JobError) {
        let Some(first) = tasks.first() else { return };
        self.tally.refuse(self.tasks[*first].kind, error);
        for task in tasks {
            self.tally.leave(&self.tasks[*task], Left::TypePaused);
        }
    }

    /// Limits for the halves of a statement that failed.
    fn probes(&self, sqlstate: &str, timeouts: Timeouts) -> Timeouts {
        let full = full(self.batch);
        match sqlstate {
            LOCK_TIMEOUT => Timeouts { lock_ms: (full.lock_ms / 10).max(MIN_PROBE_LOCK_MS), ..timeouts },
            CANCELLED => {
                let statement_ms = (timeouts.statement_ms / 2).max(MIN_PROBE_STATEMENT_MS).min(timeouts.statement_ms);
                Timeouts { statement_ms, ..timeouts }
            }
            _ => timeouts,
        }
    }

    /// Runs the statement once on a savepoint of its own. Jobs that failed by their rows; then nothing of it stays.
    fn attempt(&mut self, tasks: &[usize], timeouts: Timeouts) -> Result<Vec<(usize, JobError)>, Fault> {
        let job = self.tasks[tasks[0]].job;
        self.savepoint(timeouts, job)?;
        self.point = Point::Bad;
        let verdicts = match self.execute(tasks) {
            Err(Fault::Statement { sqlstate, .. }) if self.writer.forget_stale(&sqlstate) => {
                self.savepoint(timeouts, job)?;
                self.point = Point::Bad;
                self.execute(tasks)
            }
            other => other,
        }?;
        let mut guilty = Vec::new();
        let mut done = Vec::with_capacity(tasks.len());
        for (task, verdict) in tasks.iter().zip(verdicts) {
            match verdict {
                Ok(did) => done.push((*task, did)),
                Err(error) => guilty.push((*task, error)),
            }
        }
        if guilty.is_empty() {
            self.point = Point::Good;
            self.lock_timeouts = 0;
            for (task, (completed, changed)) in done {
                self.tally.complete(&self.tasks[task], completed, changed);
            }
        }
        Ok(guilty)
    }

    /// Ends the last savepoint and begins the next, in one round trip.
    fn savepoint(&mut self, timeouts: Timeouts, job: &Job) -> Result<(), Fault> {
        let mut sql = match self.point {
            Point::None => "",
            Point::Good => "RELEASE SAVEPOINT bear; ",
            Point::Bad => "ROLLBACK TO SAVEPOINT bear; RELEASE SAVEPOINT bear; ",
        }
        .to_owned();
        // Before the savepoint, so that a rollback to it leaves them.
        sql.push_str(&self.timeouts(timeouts));
        sql.push_str("SAVEPOINT bear");
        if is_several(job) {
            sql.push_str("; SET CONSTRAINTS ALL DEFERRED");
        }
        self.writer.set_limit(timeouts.statement_ms);
        self.writer.simple(&sql).map(drop).map_err(|trouble| Fault::Abort(Abort::from(trouble)))
    }

    fn timeouts(&mut self, wanted: Timeouts) -> String {
        if self.in_force == wanted {
            return String::new();
        }
        self.in_force = wanted;
        format!("SET LOCAL lock_timeout = {}; SET LOCAL statement_timeout = {}; ", wanted.lock_ms, wanted.statement_ms)
    }

    fn execute(&mut self, tasks: &[usize]) -> Result<Vec<answer::Verdict>, Fault> {
        match &self.tasks[tasks[0]].job.body {
            JobBody::Set(template) => self.execute_set(template, tasks),
            JobBody::Each(templates) => Ok(vec![self.execute_each(templates, tasks[0])?]),
        }
    }

    fn execute_set(&mut self, template: &Template, tasks: &[usize]) -> Result<Vec<answer::Verdict>, Fault> {
        let first = &self.tasks[tasks[0]];
        let mut records = Vec::with_capacity(tasks.iter().map(|task| 2 * self.tasks[*task].json.len() + 32).sum());
        for (i, number) in tasks.iter().enumerate() {
            let task = &self.tasks[*number];
            records.push(if i == 0 { b'[' } else { b',' });
            let tenant = self.batch.spaces[task.space].tenant.as_deref();
            payload::write_record(*number, tenant, &task.json, &mut records);
        }
        records.push(b']');
        let records =
            String::from_utf8(records).map_err(|_| Fault::Answer(answer::type_error("a payload is no text")))?;
        let tenant = self.batch.spaces[first.space].tenant.as_deref();
        let value = |name: &str| match name {
            "jobs" => Some(&*records),
            _ => tenant,
        };
        let params: Vec<_> = template.params.iter().map(|name| value(name)).collect();
        let (rows, _) = self.writer.run(&template.text, &self.types(first, template), &params)?;
        answer::by_number(&rows, self.batch, first.kind.0, tasks).map_err(Fault::Answer)
    }

    fn execute_each(&mut self, templates: &[Template], number: usize) -> Result<answer::Verdict, Fault> {
        let task = &self.tasks[number];
        let values = payload::text_params(task.job, &task.json)
            .map_err(|error| Fault::Answer(answer::type_error(error.to_string())))?;
        let tenant = self.batch.spaces[task.space].tenant.as_deref();
        let value = |name: &str| match name {
            "tenant" => tenant,
            name => values.iter().find(|(known, _)| **known == *name).and_then(|(_, value)| value.as_deref()),
        };
        let mut gathered = Gathered::default();
        let mut affected = 0u64;
        for template in templates {
            let params: Vec<_> = template.params.iter().map(|name| value(name)).collect();
            let (rows, count) = self.writer.run(&template.text, &self.types(task, template), &params)?;
            affected = affected.saturating_add(count);
            let layout = rows.first().map(|row| Layout::of(row.columns()));
            for (row, layout) in rows.iter().zip(layout.iter().cycle()) {
                layout.add(row, self.batch, task.kind.0, &mut gathered).map_err(Fault::Answer)?;
            }
        }
        if is_several(task.job) {
            self.writer.simple("SET CONSTRAINTS ALL IMMEDIATE")?;
        }
        let otherwise = answer::changed(self.batch, task.kind.0, value("id")).map_err(Fault::Answer)?;
        Ok(gathered.verdict_affected(affected, otherwise))
    }

    fn types(&self, task: &Task<'_>, template: &Template) -> Vec<Type> {
        let types = self.batch.sections[task.kind.0].job_param_types(task.job, template);
        types.into_iter().map(|ty| ty.map_or(Type::UNKNOWN, declared_type)).collect()
    }
}

fn full(batch: &Batch) -> Timeouts {
    Timeouts { lock_ms: batch.limits.lock_timeout_ms, statement_ms: batch.limits.statement_timeout_ms }
}

/// Several statements may rely on constraints being checked after the last of them.
fn is_several(job: &Job) -> bool {
    matches!(&job.body, JobBody::Each(templates) if templates.len() > 1)
}
