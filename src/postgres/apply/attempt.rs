//! One attempt at a batch: one transaction, in which the ledger says what is still to be applied.

use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};

use crate::core::catalog::job::{Job, JobBody, Order};
use crate::core::feed::promise::Promises;
use crate::core::jobs::batch::{
    promised_rows, Applied, Batch, Completed, JobError, JobOutcome, Lane, Left, SpaceApplied,
};
use crate::core::jobs::payload;
use crate::core::jobs::waves::{plan, Item};
use crate::failpoints;

use super::course::{Abort, Course};
use super::inbox::{self, Rows};
use super::isolate::Runner;
use super::ledger::{self, OwnToken};
use super::left_out::{self, LeftOut};
use super::tally::{mixed, Tally, Task};
use super::writer::Writer;

/// Code of a job that does not fit its definition any more.
const CATALOG: &str = "CATALOG";

/// Applies what the ledger says is not applied yet, and commits.
pub(in crate::postgres) fn attempt(
    writer: &mut Writer,
    batch: &Batch,
    course: &mut Course,
    promises: &Promises,
) -> Result<Applied, Abort> {
    failpoints::hit("before-begin");
    let mut tally = Tally::new(batch);
    writer.set_limit(batch.limits.statement_timeout_ms);
    let (own_token, transaction) = ledger::open(writer, batch, &mut tally)?;
    if let (OwnToken::Found, Some(applied)) = (own_token, &course.in_doubt) {
        // Nothing hangs on it: whatever comes of the connection, the outcome stands.
        let _ = writer.simple("ROLLBACK");
        return Ok(applied.clone());
    }
    if let Some(trace) = &batch.traceparent {
        // Which has been checked: digits and lines. Whoever looks at pg_stat_activity or the log sees whose work it is, until the
        // transaction ends, and statements stay prepared, which a comment in their text would prevent.
        writer.simple(&format!("SET LOCAL application_name = 'bear {trace}'"))?;
    }
    let (tasks, remembered) = take_in(writer, batch, &mut tally, &course.inbox)?;
    run(writer, batch, &tasks, &mut tally, course)?;
    let mut applied = tally.finish();
    if applied.spaces.iter().all(|space| matches!(space, SpaceApplied::Ledger(_))) {
        writer.simple("ROLLBACK")?;
        return Ok(applied);
    }
    writer.set_limit(batch.limits.statement_timeout_ms);
    match inbox::settle(writer, batch, &applied.spaces, &remembered, &mut course.inbox)? {
        Rows::Settled => {}
        Rows::Again(what) => return Err(Abort::Learned(what)),
        Rows::Refused(what) => return Err(Abort::Refused(what)),
    }
    let at_commit = ledger::write(writer, batch, &applied.spaces);
    let at_commit = course.at_end(at_commit)?;
    // Behind a pooler the next transaction may be another server's, and nobody would notice.
    if let Some(transaction) = transaction.filter(|_| promises.is_followed() && writer.pinned().is_empty()) {
        let rows = promised_rows(batch, &applied.spaces);
        applied.promised =
            (!rows.is_empty()).then(|| Arc::new(promises.make(transaction, batch.sections.clone(), rows)));
    }
    failpoints::hit("before-commit");
    let committed = writer.commit(&at_commit.sql());
    if let Err(trouble) = course.at_end(committed) {
        course.in_doubt = Some(applied);
        return Err(trouble.into());
    }
    failpoints::hit("after-commit");
    Ok(applied)
}

/// Settles what the ledger has settled, or the inbox, and what does not fit; returns the rest in the order of the batch, and
/// the inbox ids of jobs that the ledger has as failed.
fn take_in<'b>(
    writer: &mut Writer,
    batch: &'b Batch,
    tally: &mut Tally<'b>,
    inbox: &inbox::Known,
) -> Result<(Vec<Task<'b>>, FxHashSet<u64>), Abort> {
    let mut asked = Vec::new();
    for (index, space) in batch.spaces.iter().enumerate().filter(|(index, _)| !tally.has_ledger(*index)) {
        let may_have_row = |id| batch.lane == Lane::Side || id <= tally.mark(index);
        asked.extend(space.jobs.iter().filter(|job| may_have_row(job.id)).map(|job| (index, job.id)));
    }
    let rows = left_out::find(writer, batch, &asked)?;
    let mut names: FxHashMap<usize, FxHashMap<&[u8], usize>> = FxHashMap::default();
    let mut tasks = Vec::new();
    let (mut seen, mut remembered) = (FxHashSet::default(), FxHashSet::default());
    for (index, space) in batch.spaces.iter().enumerate() {
        if tally.has_ledger(index) {
            continue;
        }
        let jobs = &batch.sections[space.section].jobs;
        let by_name = names
            .entry(space.section)
            .or_insert_with(|| jobs.iter().enumerate().map(|(i, job)| (job.name.as_bytes(), i)).collect());
        for (at, queued) in space.jobs.iter().enumerate() {
            let known = by_name.get(&*queued.name).copied();
            let checked = || fit(known.map(|job| &jobs[job]), &queued.name, &queued.data);
            let second = queued.id.inbox().filter(|id| !seen.insert(*id));
            let is_old = batch.lane == Lane::Side || queued.id <= tally.mark(index);
            match (is_old, rows.get(&(index, queued.id))) {
                (true, None) => {
                    let completed = Completed { earlier: true, ..Completed::default() };
                    tally.settle(index, at, JobOutcome::Completed(completed));
                    continue;
                }
                (true, Some(LeftOut::Failed { error, attempts })) => {
                    let failed = JobOutcome::Failed { error: error.clone(), attempts: *attempts };
                    tally.settle(index, at, failed);
                    remembered.extend(queued.id.inbox());
                    continue;
                }
                (true, Some(LeftOut::Waiting)) if batch.lane == Lane::Main => {
                    let keys = checked().map(|checked| checked.order).unwrap_or_default();
                    tally.left_earlier(index, at, keys);
                    continue;
                }
                _ => {}
            }
            if let Some(outcome) = inbox.outcome(queued.id) {
                tally.settle(index, at, outcome);
                continue;
            }
            let checked = checked();
            let waits = match second {
                _ if queued.undue => Some(Left::Undue),
                Some(id) => Some(Left::Isolated(inbox::second_of(id))),
                None => None,
            };
            if let Some(why) = waits {
                let keys = checked.map(|checked| checked.order).unwrap_or_default();
                tally.settle(index, at, JobOutcome::Left { keys, barrier: false, why });
                continue;
            }
            match (known, checked) {
                (Some(job), Ok(checked)) => tasks.push(Task {
                    space: index,
                    at,
                    kind: (space.section, job),
                    job: &jobs[job],
                    barrier: jobs[job].order == Order::Barrier,
                    mixed: mixed(index, &checked.order),
                    keys: checked.order,
                    json: checked.json,
                }),
                (_, Err(error)) => {
                    let attempts = queued.attempts.saturating_add(1);
                    tally.settle(index, at, JobOutcome::Failed { error, attempts });
                }
                (None, Ok(_)) => {}
            }
        }
    }
    Ok((tasks, remembered))
}

/// The payload as its definition takes it.
fn fit(job: Option<&Job>, name: &[u8], data: &[u8]) -> Result<payload::Checked, JobError> {
    let catalog = |message: String| JobError { code: Some(CATALOG.into()), message: message.into() };
    let job = job.ok_or_else(|| {
        catalog(format!("the catalog has no job '{}' any more", crate::core::values::value::shorten(name)))
    })?;
    if job.claim().is_some() {
        return Err(catalog(format!("job '{}' has no SQL any more; workers claim it", job.name)));
    }
    payload::check(job, data).map_err(|error| catalog(format!("the payload does not fit any more: {error}")))
}

fn run<'b>(
    writer: &mut Writer,
    batch: &'b Batch,
    tasks: &[Task<'b>],
    tally: &mut Tally<'b>,
    course: &Course,
) -> Result<(), Abort> {
    // A statement that names its tenant serves one space.
    let mut kinds: FxHashMap<(usize, usize, Option<usize>), u32> = FxHashMap::default();
    let items: Vec<Item<'_>> = tasks
        .iter()
        .map(|task| {
            let next = u32::try_from(kinds.len()).unwrap_or(u32::MAX);
            let kind = *kinds.entry((task.kind.0, task.kind.1, own_space(task))).or_insert(next);
            Item { kind, keys: &task.mixed, barrier: task.barrier }
        })
        .collect();
    let mut runner = Runner::new(writer, batch, tasks, tally, course);
    for wave in plan(&items) {
        runner.run_wave(&wave.items)?;
    }
    runner.finish()
}

fn own_space(task: &Task<'_>) -> Option<usize> {
    match &task.job.body {
        JobBody::Set(template) if template.params.iter().any(|name| **name == *"tenant") => Some(task.space),
        JobBody::Set(_) | JobBody::Each(_) | JobBody::Claim(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::catalog::read_catalog;

    #[test]
    fn what_is_no_sql_job_any_more_is_not_applied() {
        let text = "[mail]\nopen = true\n[mail.job.SEND]\nclaim = {}\n[mail.job.PURGE]\neach = [\"DELETE FROM mail\"]";
        let jobs = &read_catalog::parse(text, &mut || 1).expect("a catalog").sections[0].jobs;
        let find = |name: &str| jobs.iter().find(|job| *job.name == *name);
        assert!(fit(find("PURGE"), b"PURGE", b"{}").is_ok());
        for (name, message) in [
            ("SEND", "job 'SEND' has no SQL any more; workers claim it"),
            ("OTHER", "the catalog has no job 'OTHER' any more"),
        ] {
            let error = fit(find(name), name.as_bytes(), b"{}").expect_err(name);
            assert_eq!((error.code.as_deref(), &*error.message), (Some(CATALOG), message));
        }
    }
}
