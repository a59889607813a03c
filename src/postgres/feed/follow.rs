//! One life of the feed: connects, follows, and tells, until something goes wrong.
//!
//! ```text
//! connect -> tables -> publication -> slot -> stream -> Connected
//!                                                |
//!   received -> a transaction -> pending -> a new snapshot sees it -> present values read -> Changed
//!   each quarter of the grace: where is the WAL? -> the stream is there -> CaughtUp
//! ```
//! Invariant: a transaction is told only once new snapshots see it (its record may be decoded before, for ever where a
//! synchronous standby is gone), and then wholly; one that is not visible holds up no other.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::{Duration, Instant, SystemTime};

use rustc_hash::FxHashMap;
use tokio_postgres::SimpleQueryMessage;

use crate::core::catalog::Section;
use crate::core::feed::{BoundRules, FeedOutcome, Gathered, TableCoverage};
use crate::postgres::client::Client;

use super::error::FeedError;
use super::pgoutput::{frame, message, status_update, Frame, Message, Relation};
use super::present::Present;
use super::snapshot::{parse_lsn, Snapshot};
use super::tables::CoveredTable;
use super::wire::Stream;

/// Rows that one message of changes is made of, unless one transaction has more.
const ROWS_A_MESSAGE: usize = 1_000;

/// How soon, and then how late at most, an invisible transaction is asked about again.
const LOOK_AGAIN: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(20));

/// The same for where the stream is.
const PING_AGAIN: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(100));

/// A stream that has not arrived by then may wait for WAL that nobody flushes.
const NUDGE_AFTER: Duration = Duration::from_millis(250);

/// Two probes are so far apart, however short the grace is.
const LEAST_GAP: Duration = Duration::from_millis(20);

/// A wait that lets the network be looked at.
const LEAST_WAIT: Duration = Duration::from_micros(500);

/// The client waits for so much longer than Postgres lets a statement run.
const GRACE: Duration = Duration::from_secs(2);

/// A transaction whose COMMIT has been received.
struct Transaction {
    xid: u32,
    committed_us: i64,
    end: u64,
    gathered: Gathered,
}

/// The question whether all has been told that was committed before a moment.
enum Probe {
    Due(Instant),
    Asked(Asked),
}

struct Asked {
    at: Instant,
    /// End of the WAL at that moment.
    wal: u64,
    lag_bytes: u64,
    /// Transactions from before the slot that had ended by then.
    ended: Vec<u64>,
    ping_at: Instant,
    gap: Duration,
    is_nudged: bool,
}

/// What connecting has made.
pub(super) struct Parts {
    pub(super) client: Client,
    pub(super) stream: Stream,
    /// Where the stream begins.
    pub(super) position: u64,
    pub(super) coverage: Vec<TableCoverage>,
    pub(super) covered: Vec<CoveredTable>,
    pub(super) present: Present,
    /// SQL of the fingerprint of the tables, and its value when they were looked at.
    pub(super) fingerprint: (String, String),
    /// Longest time for an answer.
    pub(super) limit: Duration,
    pub(super) grace: Duration,
    pub(super) silence: Duration,
}

pub(super) struct Follower<'a> {
    parts: Parts,
    sections: &'a [Section],
    emit: &'a mut dyn FnMut(FeedOutcome),
    relations: FxHashMap<u32, Option<BoundRules>>,
    current: Option<Transaction>,
    pending: VecDeque<Transaction>,
    pending_rows: usize,
    look_at: Instant,
    look_gap: Duration,
    /// All that was committed before this place has been received.
    position: u64,
    heard: Instant,
    probe: Probe,
    /// In progress when the slot was made: their commit may stand before it and become visible only now.
    unsettled: Vec<u64>,
    /// The same by the number that the stream bears.
    epoch_of: Option<Snapshot>,
}

impl<'a> Follower<'a> {
    pub(super) fn new(parts: Parts, sections: &'a [Section], emit: &'a mut dyn FnMut(FeedOutcome)) -> Follower<'a> {
        let now = Instant::now();
        Follower {
            sections,
            emit,
            relations: FxHashMap::default(),
            current: None,
            pending: VecDeque::new(),
            pending_rows: 0,
            look_at: now,
            look_gap: LOOK_AGAIN.0,
            position: parts.position,
            heard: now,
            probe: Probe::Due(now),
            unsettled: Vec::new(),
            epoch_of: None,
            parts,
        }
    }

    /// Follows until something goes wrong.
    pub(super) fn run(mut self) -> FeedError {
        match self.follow() {
            Ok(never) => match never {},
            Err(error) => error,
        }
    }

    fn follow(&mut self) -> Result<Infallible, FeedError> {
        // An id of our own is newer than all that had begun by the snapshot, which lists only those older than the
        // newest that had ended.
        let row =
            self.simple("SELECT pg_catalog.pg_current_snapshot()::text, pg_catalog.pg_current_xact_id()::text, ''")?;
        let (snapshot, newest) = (read_snapshot(&row[0])?, row[1].parse().unwrap_or(0));
        self.unsettled = snapshot.in_progress_before(newest);
        self.epoch_of = Some(snapshot);
        self.tell_connected();
        loop {
            self.step()?;
        }
    }

    fn tell_connected(&mut self) {
        (self.emit)(FeedOutcome::Connected { coverage: self.parts.coverage.clone() });
    }

    fn step(&mut self) -> Result<(), FeedError> {
        let arrived = self.receive()?;
        if !self.pending.is_empty() && (arrived || Instant::now() >= self.look_at) {
            self.deliver()?;
        }
        self.see_to_probe()
    }

    /// Takes what is there, waiting for it if nothing else is due. Says whether a transaction came.
    fn receive(&mut self) -> Result<bool, FeedError> {
        let now = Instant::now();
        let mut until = match &self.probe {
            Probe::Due(at) => *at,
            Probe::Asked(asked) if self.position >= asked.wal => now,
            Probe::Asked(asked) => asked.ping_at,
        };
        if !self.pending.is_empty() {
            until = until.min(self.look_at);
        }
        let (before, rows_before) = (self.pending.len(), self.pending_rows);
        let mut next = self.parts.stream.next(until.max(now + LEAST_WAIT))?;
        if next.is_none() && self.heard.elapsed() > self.parts.silence {
            let silence = self.parts.silence.as_millis();
            return Err(FeedError::Other(format!(
                "Postgres has sent nothing for {silence} ms, though it was asked to"
            )));
        }
        while let Some(bytes) = next {
            self.heard = Instant::now();
            match frame(&bytes)? {
                Frame::Data(data) => self.take(message(data)?)?,
                Frame::Keepalive { position, reply } => {
                    self.position = self.position.max(position);
                    if reply {
                        self.answer(false)?;
                    }
                }
            }
            if self.pending_rows >= rows_before + ROWS_A_MESSAGE {
                break;
            }
            next = self.parts.stream.next(self.heard)?;
        }
        Ok(self.pending.len() > before)
    }

    fn take(&mut self, message: Message<'_>) -> Result<(), FeedError> {
        match message {
            Message::Begin { xid, committed_us } => {
                self.current = Some(Transaction { xid, committed_us, end: 0, gathered: Gathered::default() });
            }
            Message::Commit { end } => {
                self.position = self.position.max(end);
                if let Some(done) = self.current.take() {
                    self.settle(done.xid);
                    if !done.gathered.is_empty() {
                        self.pending_rows += done.gathered.len();
                        self.pending.push_back(Transaction { end, ..done });
                    }
                }
            }
            Message::Relation(relation) => {
                let bound = self.bind(&relation)?;
                self.relations.insert(relation.oid, bound);
            }
            Message::Row { relation, change } => {
                if let (Some(current), Some(Some(rules))) = (&mut self.current, self.relations.get(&relation)) {
                    current.gathered.add(rules, &change);
                }
            }
            Message::Truncate { relations } => {
                for relation in relations {
                    if let (Some(current), Some(Some(rules))) = (&mut self.current, self.relations.get(&relation)) {
                        current.gathered.add_all(rules);
                    }
                }
            }
            Message::Other => {}
        }
        Ok(())
    }

    /// Rules for the table as it is now; None where the catalog does not name it.
    fn bind(&self, relation: &Relation) -> Result<Option<BoundRules>, FeedError> {
        let Some(table) = self.parts.covered.iter().find(|table| table.oid == relation.oid) else { return Ok(None) };
        match BoundRules::bind(&table.rules, &relation.columns) {
            Ok(rules) => Ok(Some(rules)),
            Err(column) => Err(FeedError::Other(format!("{} has no column '{column}' any more", relation.name))),
        }
    }

    /// Its commit stands behind the slot: it needs no other care.
    fn settle(&mut self, xid: u32) {
        if let (false, Some(snapshot)) = (self.unsettled.is_empty(), &self.epoch_of) {
            let xid = snapshot.with_epoch(xid);
            self.unsettled.retain(|unsettled| *unsettled != xid);
        }
    }

    /// Tells the transactions that new snapshots see.
    fn deliver(&mut self) -> Result<(), FeedError> {
        let asked_about = self.pending.len();
        if asked_about == 0 {
            return Ok(());
        }
        let snapshot = self.snapshot()?;
        let is_visible = |transaction: &Transaction| snapshot.has_ended(snapshot.with_epoch(transaction.xid));
        let (visible, waiting) = std::mem::take(&mut self.pending).into_iter().partition(is_visible);
        self.pending = waiting;
        self.pending_rows = self.pending.iter().map(|transaction| transaction.gathered.len()).sum();
        let some_were_visible = self.pending.len() < asked_about;
        self.look_gap = if some_were_visible { LOOK_AGAIN.0 } else { (self.look_gap * 2).min(LOOK_AGAIN.1) };
        self.look_at = Instant::now() + self.look_gap;
        self.tell(visible)
    }

    fn tell(&mut self, mut visible: VecDeque<Transaction>) -> Result<(), FeedError> {
        while let Some(first) = visible.pop_front() {
            let (mut end, mut transactions, mut gathered) = (first.end, 1, first.gathered);
            let fits = |more: &&Transaction, kept: usize| kept + more.gathered.len() <= ROWS_A_MESSAGE;
            while visible.front().filter(|next| fits(next, gathered.len())).is_some() {
                let Some(next) = visible.pop_front() else { break };
                end = next.end;
                transactions += 1;
                gathered.merge(next.gathered);
            }
            let changes = self.parts.present.read(&mut self.parts.client, self.sections, gathered)?;
            let committed_us = first.committed_us;
            (self.emit)(FeedOutcome::Changed { changes, position: end, transactions, committed_us });
        }
        Ok(())
    }

    fn see_to_probe(&mut self) -> Result<(), FeedError> {
        let now = Instant::now();
        match &mut self.probe {
            Probe::Due(at) if now < *at => return Ok(()),
            Probe::Due(_) => return self.ask(now),
            Probe::Asked(asked) if self.position < asked.wal => {
                if now < asked.ping_at {
                    return Ok(());
                }
                asked.gap = (asked.gap * 2).min(PING_AGAIN.1);
                asked.ping_at = now + asked.gap;
                if !asked.is_nudged && now - asked.at > NUDGE_AFTER {
                    asked.is_nudged = true;
                    self.nudge()?;
                }
                return self.answer(true);
            }
            Probe::Asked(_) => {}
        }
        if let Probe::Asked(asked) = std::mem::replace(&mut self.probe, Probe::Due(now)) {
            self.probe = Probe::Due(now.max(asked.at + (self.parts.grace / 4).max(LEAST_GAP)));
            // What was visible at that moment is visible to a look from after it.
            self.deliver()?;
            self.settle_old(asked.ended)?;
            (self.emit)(FeedOutcome::CaughtUp { asked: asked.at, position: self.position, lag_bytes: asked.lag_bytes });
        }
        Ok(())
    }

    fn ask(&mut self, now: Instant) -> Result<(), FeedError> {
        let sql = format!(
            "SELECT pg_catalog.pg_current_snapshot()::text, pg_catalog.pg_current_wal_insert_lsn()::text, {}",
            self.parts.fingerprint.0
        );
        let row = self.simple(&sql)?;
        let snapshot = read_snapshot(&row[0])?;
        let wal = parse_lsn(&row[1])
            .ok_or_else(|| FeedError::Other(format!("Postgres' place in the WAL '{}' cannot be read", row[1])))?;
        if row[2] != self.parts.fingerprint.1 {
            return Err(FeedError::Other("a table of the catalog, or its publication, has been altered".to_owned()));
        }
        let ended = self.unsettled.iter().copied().filter(|xid| snapshot.has_ended(*xid)).collect();
        let lag_bytes = wal.saturating_sub(self.position);
        let gap = PING_AGAIN.0;
        self.probe = Probe::Asked(Asked { at: now, wal, lag_bytes, ended, ping_at: now + gap, gap, is_nudged: false });
        self.answer(true)
    }

    /// Of those that had ended when it was asked, all that stand behind the slot have been received by now. The others
    /// were committed before it, and some fetch may have read what was before them.
    fn settle_old(&mut self, ended: Vec<u64>) -> Result<(), FeedError> {
        let missed: Vec<u64> = ended.into_iter().filter(|xid| self.unsettled.contains(xid)).collect();
        if missed.is_empty() {
            return Ok(());
        }
        self.unsettled.retain(|xid| !missed.contains(xid));
        let committed: Vec<String> = missed
            .iter()
            .map(|xid| format!("pg_catalog.pg_xact_status('{xid}'::xid8) IS DISTINCT FROM 'aborted'"))
            .collect();
        if self.simple(&format!("SELECT {}", committed.join(" OR ")))?[0] == "t" {
            self.tell_connected();
        }
        Ok(())
    }

    /// Has WAL flushed that nobody else does: a commit without effect.
    fn nudge(&mut self) -> Result<(), FeedError> {
        self.simple("SELECT pg_catalog.pg_logical_emit_message(true, 'bear', '')").map(drop)
    }

    /// Lets Postgres know how far it has been received, so that it keeps no WAL for us.
    fn answer(&mut self, reply: bool) -> Result<(), FeedError> {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let now_us = i64::try_from(since.as_micros()).unwrap_or(i64::MAX);
        Ok(self.parts.stream.send(&status_update(self.position, now_us, reply))?)
    }

    fn snapshot(&mut self) -> Result<Snapshot, FeedError> {
        let row = self.simple("SELECT pg_catalog.pg_current_snapshot()::text, '', ''")?;
        Snapshot::parse(&row[0])
            .ok_or_else(|| FeedError::Other(format!("Postgres' snapshot '{}' cannot be read", row[0])))
    }

    /// The first three columns of the one row of a query.
    fn simple(&mut self, sql: &str) -> Result<[String; 3], FeedError> {
        self.parts.client.set_deadline(Instant::now() + self.parts.limit);
        simple(&mut self.parts.client, sql)
    }
}

/// The first three columns of the one row of a query; empty where there is none.
pub(super) fn simple(client: &mut Client, sql: &str) -> Result<[String; 3], FeedError> {
    let messages = client.simple_query(sql)?;
    let row = messages.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    let text = |at: usize| row.and_then(|row| row.try_get(at).ok().flatten()).unwrap_or_default().to_owned();
    Ok([0, 1, 2].map(text))
}

fn read_snapshot(text: &str) -> Result<Snapshot, FeedError> {
    Snapshot::parse(text).ok_or_else(|| FeedError::Other(format!("Postgres' snapshot '{text}' cannot be read")))
}

/// The longest wait for an answer to a statement that Postgres ends after `timeout_ms`.
pub(super) fn limit(timeout_ms: u64) -> Duration {
    Duration::from_millis(timeout_ms).saturating_add(GRACE)
}
