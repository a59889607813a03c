//! Rows of bear.inbox: a job that came from there takes its row along, in the transaction of its effect.
//!
//! Invariant: an effect of such a job is committed only together with the deletion, by the same transaction, of a row that
//! was open. Where the row is not there any more, or not open, somebody else has settled the job (another Redis, an earlier
//! life of this one, a hand): all is rolled back, and the next attempt knows.
//!
//! ```text
//! effects -> DELETE … RETURNING -> all of them      -> COMMIT
//!                 |            \-> some are missing -> what has become of them? noted -> ROLLBACK, again without them
//!                 |-> somebody holds a row          -> which? noted             -> ROLLBACK, again, those left out
//!                 \-> there is no table             -> so there is no row
//! ```

use std::time::{SystemTime, UNIX_EPOCH};

use rustc_hash::{FxHashMap, FxHashSet};
use serde_json::{json, Value};
use tokio_postgres::types::Type;
use tokio_postgres::SimpleQueryMessage;

use crate::core::jobs::batch::{Batch, Completed, JobError, JobOutcome, SpaceApplied};
use crate::core::jobs::job_id::JobId;
use crate::mutations;

use super::writer::{Trouble, Writer};

const LOCK_TIMEOUT: &str = "55P03";
const NO_TABLE: &str = "42P01";

/// What the attempts at a batch have learned of the rows of its jobs, on one connection.
#[derive(Default)]
pub(in crate::postgres) struct Known {
    /// Settled by somebody else; where it failed for good, why and with how many attempts.
    settled: FxHashMap<u64, Option<(JobError, u32)>>,
    /// Somebody holds the row.
    held: FxHashSet<u64>,
    has_no_table: bool,
}

impl Known {
    /// What has become of a job without this batch.
    pub(in crate::postgres) fn outcome(&self, job: JobId) -> Option<JobOutcome> {
        let settled = self.settled.get(&job.inbox()?)?;
        Some(match settled {
            Some((error, attempts)) => JobOutcome::Failed { error: error.clone(), attempts: *attempts },
            None => JobOutcome::Completed(Completed { earlier: true, ..Completed::default() }),
        })
    }

    /// Why the job has to wait, if somebody holds its row.
    pub(in crate::postgres) fn held(&self, job: JobId) -> Option<JobError> {
        let id = job.inbox().filter(|id| self.held.contains(id))?;
        Some(JobError {
            code: Some(LOCK_TIMEOUT.into()),
            message: format!("another transaction holds row {id} of bear.inbox").into(),
        })
    }
}

/// What the rows say to the end of the transaction.
#[derive(Debug)]
pub(in crate::postgres) enum Rows {
    /// They are as the jobs are now.
    Settled,
    /// Nothing of the transaction may stay. More is known by now.
    Again(String),
    /// Nobody knows how the table is to be brought to take it: the text is for the operator.
    Refused(String),
}

/// Two jobs of a batch have one row, as after its hash in Redis was deleted: the second waits for what becomes of the first.
pub(in crate::postgres) fn second_of(id: u64) -> JobError {
    JobError { code: None, message: format!("another job of the queue stands for row {id} of bear.inbox, too").into() }
}

/// What is to become of the rows of a batch.
#[derive(Default)]
struct Wanted<'a> {
    /// Of jobs that this transaction has applied.
    applied: Vec<u64>,
    /// Of jobs that had been completed before: if they are still there, they go.
    earlier: Vec<u64>,
    failed: Vec<Failed<'a>>,
}

struct Failed<'a> {
    id: u64,
    error: &'a JobError,
    attempts: u32,
    /// By this transaction, or had it failed before?
    now: bool,
}

impl<'a> Wanted<'a> {
    fn of(batch: &Batch, spaces: &'a [SpaceApplied], remembered: &FxHashSet<u64>, known: &Known) -> Wanted<'a> {
        let mut wanted = Wanted::default();
        for (space, applied) in batch.spaces.iter().zip(spaces) {
            let SpaceApplied::Done { jobs, .. } = applied else { continue };
            for (job, outcome) in space.jobs.iter().zip(jobs) {
                let Some(id) = job.id.inbox() else { continue };
                match outcome {
                    JobOutcome::Completed(completed) if completed.earlier => wanted.earlier.push(id),
                    JobOutcome::Completed(_) => wanted.applied.push(id),
                    JobOutcome::Failed { error, attempts } => {
                        let now = !remembered.contains(&id) && !known.settled.contains_key(&id);
                        wanted.failed.push(Failed { id, error, attempts: *attempts, now });
                    }
                    JobOutcome::Left { .. } | JobOutcome::NotTaken => {}
                }
            }
        }
        wanted
    }

    fn is_empty(&self) -> bool {
        self.applied.is_empty() && self.earlier.is_empty() && self.failed.is_empty()
    }

    /// Those that must be there, and open.
    fn needed(&self) -> impl Iterator<Item = u64> + '_ {
        self.applied.iter().copied().chain(self.failed.iter().filter(|failed| failed.now).map(|failed| failed.id))
    }
}

/// Brings the rows of the batch's jobs to what has become of these; `remembered` are those that the ledger had as failed.
/// Costs nothing where the batch has none.
pub(in crate::postgres) fn settle(
    writer: &mut Writer,
    batch: &Batch,
    spaces: &[SpaceApplied],
    remembered: &FxHashSet<u64>,
    known: &mut Known,
) -> Result<Rows, Trouble> {
    let wanted = Wanted::of(batch, spaces, remembered, known);
    if wanted.is_empty() || known.has_no_table {
        return Ok(Rows::Settled);
    }
    match write(writer, &wanted) {
        Ok(missing) if missing.is_empty() => Ok(Rows::Settled),
        Ok(missing) => learn(writer, &missing, known),
        Err(Trouble::Statement { sqlstate, message }) => match &*sqlstate {
            LOCK_TIMEOUT => find_held(writer, batch, &wanted, known),
            NO_TABLE if is_missing(writer)? => {
                known.has_no_table = true;
                known.settled.extend(wanted.needed().map(|id| (id, None)));
                Ok(Rows::Again("there is no table bear.inbox".to_owned()))
            }
            // Cancelled, or in the way of another transaction.
            "57014" => Err(Trouble::Statement { sqlstate, message }),
            code if code.starts_with("40") => Err(Trouble::Statement { sqlstate, message }),
            _ => Ok(Rows::Refused(format!(
                "jobs of the inbox wait, for their rows in bear.inbox cannot be changed: {message} ({sqlstate}); this role \
                 needs SELECT, UPDATE and DELETE on it (docs/reference/inbox.md)"
            ))),
        },
        Err(trouble) => Err(trouble),
    }
}

/// Which of those that are needed were not there, or not open.
fn write(writer: &mut Writer, wanted: &Wanted) -> Result<Vec<u64>, Trouble> {
    let mut found = FxHashSet::default();
    if !(wanted.applied.is_empty() && wanted.earlier.is_empty()) {
        let ids = ids(wanted.applied.iter().chain(&wanted.earlier).copied());
        let stay = if mutations::is("inbox-row-stays") { " AND false" } else { "" };
        // One that failed is kept. One that bear.complete has settled goes, but nobody's effect with it.
        let sql = format!(
            "DELETE FROM bear.inbox i WHERE i.id OPERATOR(pg_catalog.=) ANY ({ids}) AND i.failed IS NULL{stay} \
             RETURNING i.id, i.done IS NULL"
        );
        let open = |row: &tokio_postgres::SimpleQueryRow| row.get(1) == Some("t");
        found.extend(rows(&writer.simple(&sql)?).filter(|row| open(row)).filter_map(id_of));
        if !stay.is_empty() {
            found.extend(wanted.applied.iter().copied());
        }
    }
    if !wanted.failed.is_empty() {
        let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
        let now_ms = u64::try_from(now_ms).unwrap_or_default();
        let of = |failed: &Failed| i64::try_from(failed.id).unwrap_or(i64::MAX);
        let numbers: Vec<i64> = wanted.failed.iter().map(of).collect();
        let texts: Vec<String> = wanted.failed.iter().map(|failed| failed_json(failed, now_ms)).collect();
        let sql = "UPDATE bear.inbox i SET failed = k.failed::pg_catalog.jsonb \
            FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2)) AS k(id, failed) \
            WHERE i.id OPERATOR(pg_catalog.=) k.id AND i.failed IS NULL AND i.done IS NULL RETURNING i.id";
        for row in writer.query(sql, &[(&numbers, Type::INT8_ARRAY), (&texts, Type::TEXT_ARRAY)])? {
            let id: i64 = row.try_get(0).map_err(|error| Trouble::Lost(error.to_string()))?;
            found.extend(u64::try_from(id));
        }
    }
    Ok(wanted.needed().filter(|id| !found.contains(id)).collect())
}

/// Asks what has become of rows: each statement of the transaction sees what was committed before it.
fn learn(writer: &mut Writer, missing: &[u64], known: &mut Known) -> Result<Rows, Trouble> {
    let sql = format!(
        "SELECT i.id, i.failed::pg_catalog.text, i.done IS NULL FROM bear.inbox i \
         WHERE i.id OPERATOR(pg_catalog.=) ANY ({})",
        ids(missing.iter().copied())
    );
    let mut settled: FxHashMap<u64, _> = missing.iter().map(|id| (*id, None)).collect();
    for row in rows(&writer.simple(&sql)?) {
        let Some(id) = id_of(row) else { continue };
        match (row.get(1), row.get(2) == Some("t")) {
            (Some(failed), _) => drop(settled.insert(id, Some(read_failed(failed)))),
            (None, true) => {
                return Ok(Rows::Refused(format!(
                    "jobs of the inbox wait, for row {id} of bear.inbox stays as it is, whatever is done to it; has the table \
                     row-level security, or a trigger?"
                )))
            }
            (None, false) => {}
        }
    }
    known.settled.extend(settled);
    Ok(Rows::Again(format!("others have settled {} jobs of the inbox", missing.len())))
}

/// Ends the transaction, which has failed for a lock, and asks whose row it was.
fn find_held(writer: &mut Writer, batch: &Batch, wanted: &Wanted, known: &mut Known) -> Result<Rows, Trouble> {
    let all: Vec<u64> = wanted.needed().chain(wanted.earlier.iter().copied()).collect();
    let (ids, lock_ms) = (ids(all.iter().copied()), batch.limits.lock_timeout_ms);
    let sql = format!(
        "ROLLBACK; BEGIN; {}SET LOCAL lock_timeout = {lock_ms}; \
         SELECT i.id FROM bear.inbox i WHERE i.id OPERATOR(pg_catalog.=) ANY ({ids}) FOR UPDATE SKIP LOCKED; \
         SELECT i.id FROM bear.inbox i WHERE i.id OPERATOR(pg_catalog.=) ANY ({ids}); ROLLBACK",
        writer.pinned(),
    );
    // First those that are free, then all that are there.
    let mut times: FxHashMap<u64, u32> = FxHashMap::default();
    for id in rows(&writer.simple(&sql)?).filter_map(id_of) {
        *times.entry(id).or_default() += 1;
    }
    known.held.extend(times.into_iter().filter(|(_, times)| *times == 1).map(|(id, _)| id));
    Ok(Rows::Again("somebody holds a row of bear.inbox".to_owned()))
}

/// In a transaction that has failed.
fn is_missing(writer: &mut Writer) -> Result<bool, Trouble> {
    let messages = writer.simple("ROLLBACK; SELECT pg_catalog.to_regclass('bear.inbox') IS NULL")?;
    let is_missing = rows(&messages).any(|row| row.get(0) == Some("t"));
    Ok(is_missing)
}

fn failed_json(failed: &Failed, now_ms: u64) -> String {
    // Postgres takes no NUL.
    let message = failed.error.message.replace('\0', "");
    json!({ "message": message, "sqlstate": failed.error.code, "attempts": failed.attempts, "at": now_ms }).to_string()
}

fn read_failed(text: &str) -> (JobError, u32) {
    let value: Value = serde_json::from_str(text).unwrap_or_default();
    let text = |name: &str| value[name].as_str().map(Box::from);
    let error = JobError { code: text("sqlstate"), message: text("message").unwrap_or_default() };
    (error, value["attempts"].as_u64().and_then(|attempts| u32::try_from(attempts).ok()).unwrap_or_default())
}

fn rows(messages: &[SimpleQueryMessage]) -> impl Iterator<Item = &tokio_postgres::SimpleQueryRow> {
    messages.iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    })
}

fn id_of(row: &tokio_postgres::SimpleQueryRow) -> Option<u64> {
    row.get(0)?.parse().ok()
}

/// `'{1,2}'::pg_catalog.int8[]`.
fn ids(numbers: impl Iterator<Item = u64>) -> String {
    let numbers: Vec<String> = numbers.map(|number| number.to_string()).collect();
    format!("'{{{}}}'::pg_catalog.int8[]", numbers.join(","))
}
