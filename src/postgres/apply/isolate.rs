//! Runs a wave's statement, and finds the jobs that it fails for: each costs the others a rollback to a savepoint, and no more.
//!
//! ```text
//! savepoint -> statement -> every job did something   -> released with the next savepoint
//!                 |   \---> a job failed by its row   -> rolled back, run again without it
//!                 \-------> the statement failed      -> rolled back, halves run on their own, down to one job
//! ```
//! So it is whatever the error's class: on a connection that lives, it is a job's own until shown otherwise. Shown are: that
//! Postgres does not even plan the statement, or that there is no space for anybody. A statement that ends its connection ends
//! the attempt; who is suspected of that runs apart from the others in the next one (`core::suspects`).

use std::time::Instant;

use tokio_postgres::types::Type;

use crate::core::catalog::job::{Job, JobBody};
use crate::core::jobs::batch::{Batch, JobError, Lane, Left};
use crate::core::jobs::payload;
use crate::core::jobs::retry::{verdict, Verdict};
use crate::core::jobs::suspects::JobPlace;
use crate::core::sql::template::Template;

use super::answer::{self, Gathered, Layout, Unfit};
use super::course::{Abort, Course};
use super::tally::{Tally, Task};
use super::writer::{Trouble, Writer};
use crate::postgres::values::params::declared_type;

const LOCK_TIMEOUT: &str = "55P03";
const CANCELLED: &str = "57014";
const CONNECTION_FAILURE: &str = "08006";

/// Constraints that are checked at the end of a transaction name no job.
const CHECK_DEFERRED: &str = "SET CONSTRAINTS ALL IMMEDIATE";

/// So many lock timeouts without a success between them: the table is locked, and to try each job would take for ever.
const MAX_LOCK_TIMEOUTS: u32 = 24;

/// So many collisions of one batch in a row are no accident: a job whose statement raises class 40 by itself is at fault,
/// and is found as any other.
const MAX_COLLISIONS: u32 = 6;

/// An error that may pass (a deadlock, a foreign server that is away for a moment) costs a job an attempt only if the job met
/// it so often in a row, alone.
const TRIES_ALONE: u32 = 3;

/// So many jobs of a type, tried alone and far from each other, that Postgres refuses with class 42 as they run: so it is with
/// the others. What their statement calls does not fit the database.
const MISFITS: usize = 3;

/// Jobs of a side batch that may each take a whole statement_timeout though others wait: of two that are slow, neither would get
/// through beside the other.
const SLOW_IN_SIDE: u32 = 2;

/// Does Postgres give space to anybody? A sort that goes to disk, in the database's own tablespace.
const HAS_DISK: &str = "SET LOCAL work_mem = '64kB'; SET LOCAL temp_tablespaces = ''; SELECT pg_catalog.count(g) FROM \
    (SELECT g FROM pg_catalog.generate_series(1, 100000) AS s(g) ORDER BY g DESC OFFSET 1) AS t";
/// Or memory?
const HAS_MEMORY: &str = "SELECT pg_catalog.octet_length(pg_catalog.repeat('x', 16777216))";
/// The role may have none of it by itself.
const LIMIT_EXCEEDED: &str = "53400";

/// A probe waits for a lock at least so long.
const MIN_PROBE_LOCK_MS: u64 = 10;
/// And runs at least so long.
const MIN_PROBE_STATEMENT_MS: u64 = 50;

/// Of a claimed job. The batch leaves it out before ([`super::attempt`]).
const NO_SQL: &str = "workers claim this job; it has no SQL";

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
    /// Postgres said so, or its answer tells no job apart. `early`: before any limit of time was up.
    Statement {
        error: JobError,
        early: bool,
    },
    /// Its answer cannot be taken, whichever job met it.
    Type(JobError),
    Abort(Abort),
}

impl From<Trouble> for Fault {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Statement { sqlstate, message } => {
                Fault::Statement { error: JobError { code: Some(sqlstate), message }, early: false }
            }
            other => Fault::Abort(Abort::from(other)),
        }
    }
}

impl From<Unfit> for Fault {
    fn from(unfit: Unfit) -> Self {
        match unfit {
            Unfit::Type(error) => Fault::Type(error),
            Unfit::Job(error) => Fault::Statement { error, early: true },
        }
    }
}

/// What is to become of jobs whose statement failed.
enum Step {
    /// The same once more.
    Repeat,
    /// It is the fault of one of them.
    Halve(Timeouts),
    Refuse,
}

pub(in crate::postgres) struct Runner<'r, 'b> {
    writer: &'r mut Writer,
    batch: &'b Batch,
    tasks: &'r [Task<'b>],
    tally: &'r mut Tally<'b>,
    point: Point,
    in_force: Timeouts,
    lock_timeouts: u32,
    /// Of jobs of a side batch that had a whole statement_timeout to themselves.
    slow: u32,
    course: &'r Course,
}

impl<'r, 'b> Runner<'r, 'b> {
    pub(in crate::postgres) fn new(
        writer: &'r mut Writer,
        batch: &'b Batch,
        tasks: &'r [Task<'b>],
        tally: &'r mut Tally<'b>,
        course: &'r Course,
    ) -> Runner<'r, 'b> {
        let in_force = full(batch);
        Runner { writer, batch, tasks, tally, point: Point::None, in_force, lock_timeouts: 0, slow: 0, course }
    }

    /// Jobs of one type that share no order value.
    pub(in crate::postgres) fn run_wave(&mut self, wave: &[usize]) -> Result<(), Abort> {
        let suspects = &self.course.suspects;
        let pieces = match suspects.is_empty() {
            true => vec![wave.to_vec()],
            false => suspects.cut(wave, |task| self.place(task)),
        };
        for mut piece in pieces {
            let each = piece.first().is_some_and(|task| matches!(self.tasks[*task].job.body, JobBody::Each(_)));
            if each {
                for task in piece {
                    if self.admit(task) {
                        self.run(vec![task], full(self.batch))?;
                    }
                }
                continue;
            }
            piece.retain(|task| self.admit(*task));
            self.run(piece, full(self.batch))?;
        }
        Ok(())
    }

    fn place(&self, task: usize) -> JobPlace {
        (self.tasks[task].space, self.tasks[task].at)
    }

    /// Whether it may run now; if not, what becomes of it is settled.
    fn admit(&mut self, number: usize) -> bool {
        let task = &self.tasks[number];
        if !self.tally.admit(task) {
            return false;
        }
        if let Some(error) = self.course.inbox.held(self.batch.spaces[task.space].jobs[task.at].id) {
            self.tally.leave(task, Left::Isolated(error));
            return false;
        }
        let Some(aside) = self.course.suspects.set_aside((task.space, task.at)) else { return true };
        let is_guilty = aside.is_guilty();
        let what = match is_guilty {
            true => "its statement ends its connection each time, and Postgres answers on others",
            false => "the connection to Postgres ended under its statement, which is tried alone",
        };
        let error = JobError {
            code: Some(aside.sqlstate.clone().unwrap_or_else(|| CONNECTION_FAILURE.into())),
            message: format!("{what}: {}", aside.what).into(),
        };
        match is_guilty {
            true => self.tally.fail(task, error),
            false => self.tally.leave(task, Left::Suspected { error, ends: aside.ends }),
        }
        false
    }

    /// Leaves the transaction with what is to stay and its usual timeouts.
    pub(in crate::postgres) fn finish(mut self) -> Result<(), Abort> {
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
        let mut failures = 0;
        while !tasks.is_empty() {
            let (error, early) = match self.attempt(&tasks, timeouts) {
                Ok(guilty) if guilty.is_empty() => return Ok(()),
                Ok(guilty) => {
                    for (task, error) in &guilty {
                        self.tally.fail(&self.tasks[*task], error.clone());
                    }
                    tasks.retain(|task| guilty.iter().all(|(guilty, _)| guilty != task));
                    continue;
                }
                Err(Fault::Abort(abort)) => return Err(abort),
                Err(Fault::Type(error)) => {
                    self.refuse(&tasks, error);
                    return Ok(());
                }
                Err(Fault::Statement { error, early }) => (error, early),
            };
            failures += 1;
            match self.judge(&tasks, &error, early, failures, timeouts)? {
                Step::Repeat => {}
                Step::Refuse => {
                    self.refuse(&tasks, error);
                    return Ok(());
                }
                Step::Halve(timeouts) => {
                    if let [task] = tasks[..] {
                        self.settle(task, error, early, timeouts);
                        return Ok(());
                    }
                    // Samples may be done.
                    tasks.retain(|task| !self.tally.is_settled(&self.tasks[*task]));
                    let second = tasks.split_off(tasks.len() / 2);
                    for half in [tasks, second] {
                        let timeouts = self.alone(&half, timeouts);
                        self.run(half, timeouts)?;
                    }
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// What to do after the `failures`-th failure of these jobs.
    fn judge(
        &mut self,
        tasks: &[usize],
        error: &JobError,
        early: bool,
        failures: u32,
        timeouts: Timeouts,
    ) -> Result<Step, Abort> {
        let Some(sqlstate) = error.code.as_deref() else { return Ok(Step::Halve(timeouts)) };
        let again = match tasks {
            [_] if failures < TRIES_ALONE => Step::Repeat,
            _ => Step::Halve(timeouts),
        };
        Ok(match verdict(sqlstate) {
            Verdict::Again if self.course.collisions < MAX_COLLISIONS => {
                return Err(Abort::Again(error.message.to_string()))
            }
            Verdict::Again => again,
            Verdict::Misfit => self.judge_misfit(tasks, sqlstate, failures, timeouts)?,
            Verdict::Shortage if tasks.len() == 1 && failures == 1 => match self.lacks(sqlstate)? {
                Some(what) => return Err(Abort::Busy(what)),
                None => again,
            },
            Verdict::Shortage => again,
            Verdict::Isolate if early && sqlstate == CANCELLED => again,
            Verdict::Isolate if early => Step::Halve(timeouts),
            Verdict::Isolate => {
                if sqlstate == LOCK_TIMEOUT {
                    self.lock_timeouts += 1;
                    if self.lock_timeouts >= MAX_LOCK_TIMEOUTS {
                        return Err(Abort::Busy(error.message.to_string()));
                    }
                }
                Step::Halve(if tasks.len() > 1 { self.probes(sqlstate, timeouts) } else { timeouts })
            }
            Verdict::Own if may_pass(sqlstate) => again,
            Verdict::Own => Step::Halve(timeouts),
        })
    }

    /// Class 42: a statement that Postgres does not plan fits no job.
    fn judge_misfit(
        &mut self,
        tasks: &[usize],
        sqlstate: &str,
        failures: u32,
        timeouts: Timeouts,
    ) -> Result<Step, Abort> {
        if self.refuses_plan(tasks[0], sqlstate)? {
            return Ok(Step::Refuse);
        }
        if failures == 1 {
            // What was missing may be there by now.
            return Ok(Step::Repeat);
        }
        if tasks.len() < MISFITS || self.tally.has_accepted(self.tasks[tasks[0]].kind) {
            return Ok(Step::Halve(timeouts));
        }
        for sample in (0..MISFITS).map(|i| tasks[i * (tasks.len() - 1) / (MISFITS - 1)]) {
            match self.attempt(&[sample], timeouts) {
                Err(Fault::Statement { error, .. }) if error.code.as_deref() == Some(sqlstate) => {}
                Err(Fault::Abort(abort)) => return Err(abort),
                // It is not the same for all.
                Ok(_) | Err(_) => return Ok(Step::Halve(timeouts)),
            }
        }
        Ok(Step::Refuse)
    }

    /// Does Postgres refuse to plan the statement of this job, with the same code?
    fn refuses_plan(&mut self, number: usize, sqlstate: &str) -> Result<bool, Abort> {
        let is_the_same = |planned| match planned {
            Ok(()) => Ok(false),
            Err(Trouble::Statement { sqlstate: code, .. }) => Ok(*code == *sqlstate),
            Err(trouble) => Err(Abort::from(trouble)),
        };
        let task = &self.tasks[number];
        let templates = match &task.job.body {
            JobBody::Set(template) => std::slice::from_ref(template),
            JobBody::Each(templates) => templates.as_slice(),
            JobBody::Claim(_) => &[],
        };
        for template in templates {
            let Ok(values) = self.values(number) else { return Ok(false) };
            let params: Vec<_> = template.params.iter().map(|name| value(&values, name)).collect();
            self.writer.simple("ROLLBACK TO SAVEPOINT bear")?;
            let planned = self.writer.plan(&template.text, &self.types(task, template), &params);
            if is_the_same(planned)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// What nobody gets now, if that is why a job failed.
    fn lacks(&mut self, sqlstate: &str) -> Result<Option<String>, Abort> {
        let question = if sqlstate == "53100" { HAS_DISK } else { HAS_MEMORY };
        let statement_ms = full(self.batch).statement_ms;
        self.writer.set_limit(statement_ms);
        // What it sets goes with the savepoint.
        let time = format!("SET LOCAL statement_timeout = {statement_ms}");
        match self.writer.simple(&format!("ROLLBACK TO SAVEPOINT bear; {time}; {question}")) {
            Ok(_) => Ok(None),
            Err(Trouble::Statement { sqlstate, message }) => Ok(is_shortage(&sqlstate).then(|| message.into())),
            Err(trouble) => Err(Abort::from(trouble)),
        }
    }

    /// One job that the statement failed for on its own.
    fn settle(&mut self, task: usize, error: JobError, early: bool, timeouts: Timeouts) {
        let task = &self.tasks[task];
        let in_company = timeouts.statement_ms < full(self.batch).statement_ms;
        match error.code.as_deref() {
            Some(LOCK_TIMEOUT) => self.tally.leave(task, Left::Isolated(error)),
            Some(CANCELLED) if in_company && !early => self.tally.leave(task, Left::Isolated(error)),
            _ => self.tally.fail(task, error),
        }
    }

    /// The limits of half of the jobs: of one job of the side lane all that it may have, for some of them.
    fn alone(&mut self, tasks: &[usize], timeouts: Timeouts) -> Timeouts {
        let full = full(self.batch);
        let is_short = timeouts.statement_ms < full.statement_ms;
        if tasks.len() > 1 || self.batch.lane == Lane::Main || !is_short || self.slow >= SLOW_IN_SIDE {
            return timeouts;
        }
        self.slow += 1;
        Timeouts { statement_ms: full.statement_ms, ..timeouts }
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
        let mut begun = Instant::now();
        let mut result = self.execute(tasks);
        if let Err(Fault::Statement { error: JobError { code: Some(code), .. }, .. }) = &result {
            if self.writer.forget_stale(code) {
                self.savepoint(timeouts, job)?;
                self.point = Point::Bad;
                begun = Instant::now();
                result = self.execute(tasks);
            }
        }
        let verdicts = result.map_err(|fault| match fault {
            Fault::Statement { error, .. } => {
                let took_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
                let limit_ms = match error.code.as_deref() {
                    Some(LOCK_TIMEOUT) => timeouts.lock_ms,
                    _ => timeouts.statement_ms,
                };
                // 0 is no limit.
                let early = limit_ms == 0 || took_ms < limit_ms;
                Fault::Statement { error, early }
            }
            other => other,
        })?;
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
        let ended = |tasks: &[usize], runner: &Self, trouble| match trouble {
            Trouble::Ended { end, sqlstate, what } => {
                let under = tasks.iter().map(|task| runner.place(*task)).collect();
                Fault::Abort(Abort::Ended { end, sqlstate, what, under })
            }
            other => Fault::from(other),
        };
        let verdicts = match &self.tasks[tasks[0]].job.body {
            JobBody::Set(template) => self.execute_set(template, tasks),
            JobBody::Each(templates) => self.execute_each(templates, tasks[0]).map(|verdict| vec![verdict]),
            JobBody::Claim(_) => Err(Failed::Unfit(own_error(NO_SQL))),
        };
        let verdicts = verdicts.map_err(|failed| match failed {
            Failed::Trouble(trouble) => ended(tasks, self, trouble),
            Failed::Unfit(unfit) => Fault::from(unfit),
        })?;
        if self.course.checks_deferred() {
            self.writer.simple(CHECK_DEFERRED).map_err(|trouble| ended(tasks, self, trouble))?;
        }
        Ok(verdicts)
    }

    /// Values of the parameters of a job's statements, by name; those of a statement for several, with this job alone.
    fn values(&self, number: usize) -> Result<Values, Unfit> {
        let task = &self.tasks[number];
        let mut values: Values = match &task.job.body {
            JobBody::Set(_) => vec![("jobs".into(), Some(self.records(&[number])?))],
            JobBody::Each(_) => payload::text_params(task.job, &task.json)
                .map_err(|error| own_error(error.to_string()))?
                .into_iter()
                .map(|(name, value)| (name.to_string().into(), value))
                .collect(),
            JobBody::Claim(_) => return Err(own_error(NO_SQL)),
        };
        values.retain(|(name, _)| **name != *"tenant");
        let tenant = self.batch.spaces[task.space].tenant.as_deref();
        values.push(("tenant".into(), tenant.map(str::to_owned)));
        Ok(values)
    }

    /// What stands for the relation of the jobs.
    fn records(&self, tasks: &[usize]) -> Result<String, Unfit> {
        let mut records = Vec::with_capacity(tasks.iter().map(|task| 2 * self.tasks[*task].json.len() + 32).sum());
        for (i, number) in tasks.iter().enumerate() {
            let task = &self.tasks[*number];
            records.push(if i == 0 { b'[' } else { b',' });
            let tenant = self.batch.spaces[task.space].tenant.as_deref();
            payload::write_record(*number, tenant, task.job.reads_data, &task.json, &mut records);
        }
        records.push(b']');
        String::from_utf8(records).map_err(|_| own_error("a payload is no text"))
    }

    fn execute_set(&mut self, template: &Template, tasks: &[usize]) -> Result<Vec<answer::Verdict>, Failed> {
        let first = &self.tasks[tasks[0]];
        let records = self.records(tasks)?;
        let tenant = self.batch.spaces[first.space].tenant.as_deref();
        let value = |name: &str| match name {
            "jobs" => Some(&*records),
            _ => tenant,
        };
        let params: Vec<_> = template.params.iter().map(|name| value(name)).collect();
        let (rows, _) = self.writer.run(&template.text, &self.types(first, template), &params)?;
        Ok(answer::by_number(&rows, self.batch, first.kind.0, tasks)?)
    }

    fn execute_each(&mut self, templates: &[Template], number: usize) -> Result<answer::Verdict, Failed> {
        let task = &self.tasks[number];
        let values = self.values(number)?;
        let mut gathered = Gathered::default();
        let mut affected = 0u64;
        for template in templates {
            let params: Vec<_> = template.params.iter().map(|name| value(&values, name)).collect();
            let (rows, count) = self.writer.run(&template.text, &self.types(task, template), &params)?;
            affected = affected.saturating_add(count);
            let layout = rows.first().map(|row| Layout::of(row.columns()));
            for (row, layout) in rows.iter().zip(layout.iter().cycle()) {
                layout.add(row, self.batch, task.kind.0, &mut gathered)?;
            }
        }
        if is_several(task.job) {
            self.writer.simple(CHECK_DEFERRED)?;
        }
        let otherwise = answer::changed(self.batch, task.kind.0, value(&values, "id")).map_err(Unfit::Job)?;
        Ok(gathered.verdict_affected(affected, otherwise))
    }

    fn types(&self, task: &Task<'_>, template: &Template) -> Vec<Type> {
        let types = self.batch.sections[task.kind.0].job_param_types(task.job, template);
        types.into_iter().map(|ty| ty.map_or(Type::UNKNOWN, declared_type)).collect()
    }
}

/// Why a statement brought nothing.
enum Failed {
    Trouble(Trouble),
    Unfit(Unfit),
}

impl From<Trouble> for Failed {
    fn from(trouble: Trouble) -> Self {
        Failed::Trouble(trouble)
    }
}

impl From<Unfit> for Failed {
    fn from(unfit: Unfit) -> Self {
        Failed::Unfit(unfit)
    }
}

/// Values of parameters by name, in Postgres' text format.
type Values = Vec<(Box<str>, Option<String>)>;

fn value<'v>(values: &'v Values, name: &str) -> Option<&'v str> {
    values.iter().find(|(known, _)| **known == *name).and_then(|(_, value)| value.as_deref())
}

fn own_error(message: impl Into<Box<str>>) -> Unfit {
    Unfit::Job(JobError { code: None, message: message.into() })
}

/// Does the probe's own failure show that nobody gets any? Not that the little time it had was up, as in company of a slow job.
fn is_shortage(sqlstate: &str) -> bool {
    sqlstate.starts_with("53") && sqlstate != LIMIT_EXCEEDED
}

/// Is it an error that may be gone the next moment?
fn may_pass(sqlstate: &str) -> bool {
    matches!(sqlstate.get(..2), Some("08" | "53" | "57" | "58"))
}

fn full(batch: &Batch) -> Timeouts {
    Timeouts { lock_ms: batch.limits.lock_timeout_ms, statement_ms: batch.limits.statement_timeout_ms }
}

/// Several statements may rely on constraints being checked after the last of them.
fn is_several(job: &Job) -> bool {
    matches!(&job.body, JobBody::Each(templates) if templates.len() > 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_shortage_of_the_probe_itself_is_everybodys() {
        for (sqlstate, expected) in [
            ("53100", true),
            ("53200", true),
            (LIMIT_EXCEEDED, false),
            (CANCELLED, false),
            (LOCK_TIMEOUT, false),
            ("42501", false),
        ] {
            assert_eq!(is_shortage(sqlstate), expected, "{sqlstate}");
        }
    }
}
