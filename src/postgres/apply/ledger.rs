//! The ledger's rows: locked at the start of a batch's transaction, read, and changed at its end.
//!
//! Invariant: whoever holds a lane's row locked is the only one who applies jobs of that lane, and sees all that was
//! committed before. Client text reaches Postgres as parameters only; numbers of our own stand in the statements. These
//! run under the search_path of the jobs' statements, so they name the schema of every function, operator and type.

use std::fmt::Write;

use rustc_hash::FxHashMap;
use tokio_postgres::types::Type;
use tokio_postgres::SimpleQueryMessage;

use crate::core::feed::promise::TransactionId;
use crate::core::jobs::batch::{Batch, JobOutcome, Lane, Left, SpaceApplied, SpaceBatch};
use crate::core::jobs::job_id::JobId;
use crate::core::jobs::published::Bound;

use super::left_out;
use super::tally::Tally;
use super::writer::{Trouble, Writer};
use crate::postgres::connect::schema::ledger_fingerprint;

const DAY_MS: u64 = 24 * 60 * 60 * 1_000;

/// A row of bear.ledger.
#[derive(Debug, Clone, Copy)]
struct Entry {
    mark: JobId,
    token: i64,
}

/// What the ledger holds of the batch's spaces.
#[derive(Default)]
struct Entries {
    /// Of the batch's own lane, by queue and epoch; locked.
    own: FxHashMap<(i64, i64), Entry>,
    /// Of the main lane; the same where it is the own one.
    main: FxHashMap<(i64, i64), Entry>,
    now_ms: u64,
    /// Of the schema, where it was time to ask.
    fingerprint: Option<String>,
    /// The transaction that asked.
    transaction: Option<TransactionId>,
}

/// Whether a transaction with the batch's own token has been committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::postgres) enum OwnToken {
    Found,
    Absent,
}

/// Opens the transaction and locks the ledger's rows, making those that are missing where that is right.
///
/// Each space has its mark in the tally then, or what is wrong with its ledger. Also tells which transaction it is.
pub(in crate::postgres) fn open(
    writer: &mut Writer,
    batch: &Batch,
    tally: &mut Tally<'_>,
) -> Result<(OwnToken, Option<TransactionId>), Trouble> {
    let limits = &batch.limits;
    let begin = format!(
        "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; {}SET LOCAL synchronous_commit = on; \
         SET LOCAL lock_timeout = {}; SET LOCAL statement_timeout = {}; SET CONSTRAINTS ALL IMMEDIATE; ",
        writer.pinned(),
        limits.lock_timeout_ms,
        limits.statement_timeout_ms,
    );
    let mut entries = lock(writer, batch, &begin)?;
    if entries.fingerprint.take().is_some_and(|fingerprint| !writer.is_as_it_was(&fingerprint)) {
        // Perhaps somebody else's triggers stand there by now: a new connection looks.
        return Err(Trouble::Lost("the schema bear was altered".to_owned()));
    }
    let missing: Vec<&SpaceBatch> = batch
        .spaces
        .iter()
        .filter(|space| !entries.own.contains_key(&key(space)) && is_new(batch, space, &entries).is_ok())
        .collect();
    if !missing.is_empty() {
        insert(writer, batch.lane, &missing)?;
        entries = lock(writer, batch, "")?;
    }
    let bears_token = |space| entries.own.get(&key(space)).is_some_and(|entry| entry.token == batch.token);
    let own_token = if batch.spaces.iter().any(bears_token) { OwnToken::Found } else { OwnToken::Absent };
    let mut adopted = Vec::new();
    for (index, space) in batch.spaces.iter().enumerate() {
        match standing(batch, space, &entries) {
            // Once: where the token is found, this very batch has adopted it.
            Ok(_) if space.adopt && batch.lane == Lane::Main && own_token == OwnToken::Absent => adopted.push(space),
            Ok(mark) => tally.set_mark(index, mark),
            Err(text) => tally.set_ledger(index, text),
        }
    }
    if !adopted.is_empty() {
        let (queues, epochs) = (ints(adopted.iter().map(|s| s.queue)), ints(adopted.iter().map(|s| s.epoch)));
        writer.simple(&format!(
            "DELETE FROM bear.left_out o USING ROWS FROM (pg_catalog.unnest({queues}), pg_catalog.unnest({epochs})) AS k(queue, epoch) \
             WHERE o.queue OPERATOR(pg_catalog.=) k.queue AND o.epoch OPERATOR(pg_catalog.=) k.epoch"
        ))?;
    }
    Ok((own_token, entries.transaction))
}

fn key(space: &SpaceBatch) -> (i64, i64) {
    (space.queue, space.epoch)
}

fn lane_number(lane: Lane) -> i16 {
    match lane {
        Lane::Main => 0,
        Lane::Side => 1,
    }
}

fn lock(writer: &mut Writer, batch: &Batch, before: &str) -> Result<Entries, Trouble> {
    let queues = ints(batch.spaces.iter().map(|space| space.queue));
    let epochs = ints(batch.spaces.iter().map(|space| space.epoch));
    let select = |lane: Lane, lock: &str| {
        format!(
            "SELECT l.queue, l.epoch, l.lane, l.mark_ms, l.mark_seq, l.token \
             FROM ROWS FROM (pg_catalog.unnest({queues}), pg_catalog.unnest({epochs})) AS k(queue, epoch) \
             JOIN bear.ledger l ON l.queue OPERATOR(pg_catalog.=) k.queue AND l.epoch OPERATOR(pg_catalog.=) k.epoch AND l.lane OPERATOR(pg_catalog.=) {}::pg_catalog.int2 \
             ORDER BY 1, 2{lock}; ",
            lane_number(lane)
        )
    };
    let mut sql = format!(
        "{before}SELECT (extract(epoch FROM pg_catalog.now()) OPERATOR(pg_catalog.*) 1000)::pg_catalog.int8 AS bear_now_ms, pg_catalog.txid_current(), \
         extract(epoch FROM pg_catalog.pg_postmaster_start_time()), {}; ",
        if writer.is_look_due() { ledger_fingerprint() } else { "NULL".to_owned() }
    );
    sql.push_str(&select(batch.lane, " FOR UPDATE OF l"));
    if batch.lane == Lane::Side {
        sql.push_str(&select(Lane::Main, ""));
    }
    let mut entries = Entries::default();
    for message in writer.simple(&sql)? {
        let SimpleQueryMessage::Row(row) = message else { continue };
        let int = |at: usize| row.get(at).and_then(|text| text.parse::<i64>().ok()).unwrap_or_default();
        match row.len() {
            6 => {
                let entry = Entry { mark: from_ints(int(3), int(4)), token: int(5) };
                let lane = int(2);
                if lane == i64::from(lane_number(batch.lane)) {
                    entries.own.insert((int(0), int(1)), entry);
                }
                if lane == i64::from(lane_number(Lane::Main)) {
                    entries.main.insert((int(0), int(1)), entry);
                }
            }
            4 => {
                entries.now_ms = u64::try_from(int(0)).unwrap_or_default();
                let xid = u64::try_from(int(1)).ok().filter(|xid| *xid > 0);
                let server = row.get(2).unwrap_or_default();
                entries.fingerprint = row.get(3).map(str::to_owned);
                entries.transaction = xid.map(|xid| TransactionId { server: server.into(), xid });
            }
            _ => {}
        }
    }
    Ok(entries)
}

/// Whether the ledger may be without a row of the space; if not, what is wrong.
fn is_new(batch: &Batch, space: &SpaceBatch, entries: &Entries) -> Result<(), String> {
    if batch.lane == Lane::Side {
        return side_standing(space, entries).map(drop);
    }
    if space.adopt {
        return Ok(());
    }
    if let Some(known) = space.known {
        return Err(format!(
            "the ledger in Postgres has no record of the queue of '{}' (epoch {}), of which jobs up to {known} had been applied: \
             was the schema bear dropped, or Postgres restored from a backup?",
            space.space, space.epoch
        ));
    }
    let keep_ms = u64::from(batch.limits.keep_days) * DAY_MS;
    match space.jobs.first() {
        Some(oldest) if !space.own_epoch && oldest.id.ms.saturating_add(keep_ms) < entries.now_ms => Err(format!(
            "the ledger in Postgres has no record of the queue of '{}' (epoch {}), whose oldest job {} is over {} days old: \
             the record may have been cleaned away, so nobody can tell whether its jobs were applied",
            space.space, space.epoch, oldest.id, batch.limits.keep_days
        )),
        _ => Ok(()),
    }
}

/// The ledger's mark of the space's main lane, or what is wrong.
fn standing(batch: &Batch, space: &SpaceBatch, entries: &Entries) -> Result<JobId, String> {
    if batch.lane == Lane::Side {
        return side_standing(space, entries);
    }
    let Some(entry) = entries.own.get(&key(space)) else {
        is_new(batch, space, entries)?;
        return Ok(JobId::ZERO);
    };
    match space.known {
        Some(known) if known > entry.mark && !space.adopt => Err(behind(space, known, entry.mark)),
        _ => Ok(entry.mark),
    }
}

/// The side lane relies on the main lane's record: without it a job that has no row of its own would count as applied.
fn side_standing(space: &SpaceBatch, entries: &Entries) -> Result<JobId, String> {
    let Some(entry) = entries.main.get(&key(space)) else {
        return Err(format!(
            "the ledger in Postgres has no record of the queue of '{}' (epoch {}), of which jobs had been looked at: \
             was the schema bear dropped, or Postgres restored from a backup?",
            space.space, space.epoch
        ));
    };
    let needed = space.known.into_iter().chain(space.jobs.last().map(|job| job.id)).max();
    match needed {
        Some(needed) if needed > entry.mark => Err(behind(space, needed, entry.mark)),
        _ => Ok(entry.mark),
    }
}

fn behind(space: &SpaceBatch, known: JobId, mark: JobId) -> String {
    format!(
        "the ledger in Postgres says that the queue of '{}' (epoch {}) has been applied up to {mark}, but it had been up to \
         {known}: was Postgres restored from a backup, or did it fail over and lose what had been committed?",
        space.space, space.epoch
    )
}

fn insert(writer: &mut Writer, lane: Lane, spaces: &[&SpaceBatch]) -> Result<(), Trouble> {
    let queues: Vec<i64> = spaces.iter().map(|space| space.queue).collect();
    let epochs: Vec<i64> = spaces.iter().map(|space| space.epoch).collect();
    let names: Vec<&str> = spaces.iter().map(|space| &*space.space).collect();
    let sql = "INSERT INTO bear.ledger (queue, epoch, lane, space, mark_ms, mark_seq, token) \
        SELECT k.queue, k.epoch, $4, k.space, 0, 0, 0 FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2), pg_catalog.unnest($3)) AS k(queue, epoch, space) ORDER BY 1, 2 \
        ON CONFLICT DO NOTHING";
    let lane = lane_number(lane);
    let params: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 4] =
        [(&queues, Type::INT8_ARRAY), (&epochs, Type::INT8_ARRAY), (&names, Type::TEXT_ARRAY), (&lane, Type::INT2)];
    writer.query(sql, &params).map(drop)
}

/// Writes what has become of the jobs; `at_commit` is what remains to be said together with COMMIT.
pub(in crate::postgres) fn write(
    writer: &mut Writer,
    batch: &Batch,
    spaces: &[SpaceApplied],
) -> Result<AtCommit, Trouble> {
    let mut kept = Vec::new();
    let mut gone: Vec<(usize, JobId)> = Vec::new();
    let mut done = Vec::new();
    for (index, (space, applied)) in batch.spaces.iter().zip(spaces).enumerate() {
        let SpaceApplied::Done { mark, jobs, .. } = applied else { continue };
        done.push((space, *mark));
        gone.extend(space.forget.iter().map(|id| (index, *id)));
        for (job, outcome) in space.jobs.iter().zip(jobs) {
            match outcome {
                JobOutcome::Left { why: Left::Earlier, .. } | JobOutcome::Left { barrier: true, .. } => {}
                JobOutcome::Left { .. } if batch.lane == Lane::Main => {
                    kept.push((index, job.id, None));
                }
                JobOutcome::Failed { error, attempts } => {
                    kept.push((index, job.id, Some((error, *attempts))));
                }
                // One that was completed earlier may have its row, too, where the inbox says so.
                JobOutcome::Completed(completed)
                    if batch.lane == Lane::Side && (!completed.earlier || job.id.inbox().is_some()) =>
                {
                    gone.push((index, job.id));
                }
                JobOutcome::Completed(_) | JobOutcome::Left { .. } | JobOutcome::NotTaken => {}
            }
        }
    }
    left_out::keep(writer, batch, &kept)?;
    left_out::remove(writer, batch, &gone)?;
    Ok(AtCommit(move_marks(batch, &done)))
}

/// The statement that moves the marks; it goes with COMMIT.
pub(in crate::postgres) struct AtCommit(String);

impl AtCommit {
    pub(in crate::postgres) fn sql(&self) -> String {
        format!("{}; COMMIT", self.0)
    }
}

fn move_marks(batch: &Batch, done: &[(&SpaceBatch, JobId)]) -> String {
    let marks = match batch.lane {
        Lane::Main => "mark_ms = k.ms, mark_seq = k.seq, ",
        Lane::Side => "",
    };
    format!(
        "UPDATE bear.ledger l SET {marks}token = {}, changed = pg_catalog.now() \
         FROM ROWS FROM (pg_catalog.unnest({}), pg_catalog.unnest({}), pg_catalog.unnest({}), pg_catalog.unnest({})) AS k(queue, epoch, ms, seq) \
         WHERE l.queue OPERATOR(pg_catalog.=) k.queue AND l.epoch OPERATOR(pg_catalog.=) k.epoch AND l.lane OPERATOR(pg_catalog.=) {}::pg_catalog.int2",
        batch.token,
        ints(done.iter().map(|(space, _)| space.queue)),
        ints(done.iter().map(|(space, _)| space.epoch)),
        ints(done.iter().map(|(_, mark)| mark.ms as i64)),
        ints(done.iter().map(|(_, mark)| mark.seq as i64)),
        lane_number(batch.lane),
    )
}

/// Deletes what has not been touched for `keep_days` days and is none of the live `epochs`, and of those the jobs that failed
/// and have been published for so long; a row of one that is not published yet counts as touched.
///
/// No earlier: a queue that is restored, or a replica that is promoted before it heard of the failure, still has the job, and would
/// take one without a row for applied.
pub(in crate::postgres) fn clean(
    writer: &mut Writer,
    epochs: &[i64],
    published: &[Bound],
    keep_days: u32,
) -> Result<(), Trouble> {
    writer.set_limit(5_000);
    let signed = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let bounds = format!(
        "ROWS FROM (pg_catalog.unnest({}), pg_catalog.unnest({}), pg_catalog.unnest({}), pg_catalog.unnest({})) AS k(queue, epoch, ms, seq)",
        ints(published.iter().map(|bound| bound.0)),
        ints(published.iter().map(|bound| bound.1)),
        ints(published.iter().map(|bound| signed(bound.2.ms))),
        ints(published.iter().map(|bound| signed(bound.2.seq))),
    );
    // Ids are unsigned, and columns are not.
    let is_published = "o.ms OPERATOR(pg_catalog.>=) 0 AND o.seq OPERATOR(pg_catalog.>=) 0 \
        AND (o.ms, o.seq) OPERATOR(pg_catalog.<) (k.ms, k.seq)";
    let of_queue =
        "o.failed IS NOT NULL AND o.queue OPERATOR(pg_catalog.=) k.queue AND o.epoch OPERATOR(pg_catalog.=) k.epoch";
    let (epochs, pinned) = (ints(epochs.iter().copied()), writer.pinned());
    // A row that an applier holds is alive, and nobody waits for anybody.
    let sql = format!(
        "BEGIN READ WRITE; {pinned}SET LOCAL lock_timeout = 100; SET LOCAL statement_timeout = 5000; \
         UPDATE bear.ledger l SET changed = pg_catalog.now() FROM (SELECT queue, epoch, lane FROM bear.ledger \
           WHERE epoch OPERATOR(pg_catalog.=) ANY ({epochs}) AND changed OPERATOR(pg_catalog.<) (pg_catalog.now() OPERATOR(pg_catalog.-) interval '1 hour') \
           FOR UPDATE SKIP LOCKED) k \
           WHERE l.queue OPERATOR(pg_catalog.=) k.queue AND l.epoch OPERATOR(pg_catalog.=) k.epoch AND l.lane OPERATOR(pg_catalog.=) k.lane; \
         DELETE FROM bear.ledger l USING (SELECT queue, epoch, lane FROM bear.ledger \
           WHERE changed OPERATOR(pg_catalog.<) (pg_catalog.now() OPERATOR(pg_catalog.-) pg_catalog.make_interval(days => {keep_days})) \
           FOR UPDATE SKIP LOCKED) k \
           WHERE l.queue OPERATOR(pg_catalog.=) k.queue AND l.epoch OPERATOR(pg_catalog.=) k.epoch AND l.lane OPERATOR(pg_catalog.=) k.lane; \
         DELETE FROM bear.left_out o WHERE NOT EXISTS (SELECT FROM bear.ledger l \
           WHERE l.queue OPERATOR(pg_catalog.=) o.queue AND l.epoch OPERATOR(pg_catalog.=) o.epoch AND l.lane OPERATOR(pg_catalog.=) 0::pg_catalog.int2); \
         UPDATE bear.left_out o SET changed = pg_catalog.now() FROM {bounds} WHERE {of_queue} AND NOT ({is_published}) \
           AND o.changed OPERATOR(pg_catalog.<) (pg_catalog.now() OPERATOR(pg_catalog.-) interval '1 hour'); \
         DELETE FROM bear.left_out o USING {bounds} WHERE {of_queue} AND {is_published} \
           AND o.changed OPERATOR(pg_catalog.<) (pg_catalog.now() OPERATOR(pg_catalog.-) pg_catalog.make_interval(days => {keep_days})); \
         COMMIT"
    );
    writer.simple(&sql).map(drop)
}

fn from_ints(ms: i64, seq: i64) -> JobId {
    JobId { ms: ms as u64, seq: seq as u64 }
}

/// `'{1,2}'::pg_catalog.int8[]`.
fn ints(numbers: impl Iterator<Item = i64>) -> String {
    let mut sql = String::from("'{");
    for (i, number) in numbers.enumerate() {
        // Writing to a String does not fail.
        let _ = write!(sql, "{}{number}", if i == 0 { "" } else { "," });
    }
    sql.push_str("}'::pg_catalog.int8[]");
    sql
}
