//! Removes from the outbox what all its readers have read, and forgets readers and triggers that nobody misses.
//!
//! Rule: a row goes only if every reader that is registered has it in its snapshot; who is forgotten finds that out in
//! the snapshot of its next poll.

use std::time::{Duration, Instant};

use tokio_postgres::{SimpleQueryMessage, SimpleQueryRow};

use crate::postgres::connect::client::{Client, ClientError};
use crate::postgres::connect::failure::Failure;

use crate::postgres::feed::error::FeedError;

/// Rows that go at once, in a few milliseconds.
const ROWS_A_TURN: u64 = 2_000;

const TURN_AGAIN: Duration = Duration::from_secs(1);

/// How often readers and triggers are looked at.
const SWEEP_AGAIN: Duration = Duration::from_secs(60);

/// A reader that has not been seen for so long is forgotten.
const FORGET: &str = "10 min";

/// Of the advisory lock that one cleaner at a time has.
const LOCK: i64 = 0x62_65_61_72_63_6c;

pub(super) struct Cleaner {
    reader: i64,
    turn_at: Instant,
    sweep_at: Instant,
    /// Rows of older transactions are gone, but for those of `left`. What is gone stays in the index while somebody's
    /// old snapshot might see it, and is not to be walked over each time.
    floor: String,
    left: String,
}

impl Cleaner {
    pub(super) fn new(reader: i64) -> Cleaner {
        let now = Instant::now();
        let turn_at = now + TURN_AGAIN;
        Cleaner { reader, turn_at, sweep_at: now + TURN_AGAIN, floor: "0".to_owned(), left: String::new() }
    }

    pub(super) fn is_due(&self) -> bool {
        Instant::now() >= self.turn_at
    }

    pub(super) fn clean(&mut self, client: &mut Client, limit: Duration) -> Result<(), FeedError> {
        client.set_deadline(Instant::now() + limit);
        let is_more = self.remove(client)?;
        let now = Instant::now();
        self.turn_at = if is_more { now } else { now + TURN_AGAIN };
        if now >= self.sweep_at {
            self.sweep_at = now + SWEEP_AGAIN;
            client.set_deadline(now + limit);
            self.sweep(client)?;
        }
        Ok(())
    }

    /// One turn; says whether there is more to do.
    fn remove(&mut self, client: &mut Client) -> Result<bool, FeedError> {
        // Read before the rows, by which the readers may only have come further.
        let read = "SELECT coalesce(pg_catalog.min(pg_catalog.pg_snapshot_xmax(snapshot)::pg_catalog.text::pg_catalog.numeric)::pg_catalog.text, '0'), pg_catalog.array_to_string(ARRAY( \
            SELECT DISTINCT pg_catalog.pg_snapshot_xip(r.snapshot) FROM bear.outbox_reader r), ',') FROM bear.outbox_reader";
        let messages =
            client.simple_query(&format!("SELECT pg_catalog.pg_try_advisory_lock({LOCK})::pg_catalog.text; {read}"))?;
        let rows: Vec<&SimpleQueryRow> = rows(&messages).collect();
        let text =
            |row: usize, column: usize| rows.get(row).and_then(|row| row.get(column)).unwrap_or_default().to_owned();
        if text(0, 0) != "true" {
            return Ok(false);
        }
        let (floor, left) = (text(1, 0), text(1, 1));
        let passed = "NOT EXISTS (SELECT FROM bear.outbox_reader r WHERE NOT pg_catalog.pg_visible_in_snapshot(o.xid, r.snapshot))";
        let sql = format!(
            "SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off; \
             DELETE FROM bear.outbox WHERE ctid OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT p.at FROM ( \
               SELECT o.ctid AS at FROM bear.outbox o WHERE o.xid OPERATOR(pg_catalog.>=) '{}' \
                 AND o.xid OPERATOR(pg_catalog.<) '{floor}' AND {passed} UNION ALL \
               SELECT o.ctid FROM bear.outbox o WHERE o.xid OPERATOR(pg_catalog.=) ANY ('{{{}}}'::pg_catalog.xid8[]) AND {passed}) p LIMIT {ROWS_A_TURN}))",
            self.floor, self.left
        );
        let removed = client.simple_query(&sql)?.iter().rev().find_map(|message| match message {
            SimpleQueryMessage::CommandComplete(count) => Some(*count),
            _ => None,
        });
        client.batch_execute(&format!("SELECT pg_catalog.pg_advisory_unlock({LOCK})"))?;
        let is_more = removed.unwrap_or(0) >= ROWS_A_TURN;
        if !is_more {
            (self.floor, self.left) = (floor, left);
        }
        Ok(is_more)
    }

    fn sweep(&mut self, client: &mut Client) -> Result<(), FeedError> {
        client.batch_execute(&format!(
            "DELETE FROM bear.outbox_reader WHERE seen_at OPERATOR(pg_catalog.<) \
             (pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) interval '{FORGET}') \
             AND reader OPERATOR(pg_catalog.<>) {}::pg_catalog.int8",
            self.reader
        ))?;
        // A lock on a table makes all wait that come after; so it is not waited for long.
        match client.simple_query("SET LOCAL lock_timeout = 100; SELECT bear.outbox_sweep()").map_err(Failure::from) {
            Ok(messages) => {
                if let Some(table) = rows(&messages).next().and_then(|row| row.get(0)) {
                    log::info!("dropped triggers of {table} that no catalog wants any more");
                    self.sweep_at = Instant::now() + TURN_AGAIN;
                }
                Ok(())
            }
            Err(Failure::Ended { what: error, .. } | Failure::Broken(error)) => Err(FeedError::Other(error)),
            Err(Failure::Silent) => Err(ClientError::Silent.into()),
            // Another turn, or another role, may do it.
            Err(Failure::Fetch(error)) => {
                log::debug!("triggers that no catalog wants any more: {error}");
                Ok(())
            }
            Err(Failure::TimedOut(_)) => Ok(()),
        }
    }
}

fn rows(messages: &[SimpleQueryMessage]) -> impl Iterator<Item = &SimpleQueryRow> {
    messages.iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    })
}
