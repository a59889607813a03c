//! One life of the feed: connects, follows, and tells, until something goes wrong.
//!
//! ```text
//! connect -> slot -> stream -> tables -> Connected
//!                                 |
//!   received -> a transaction -> pending -> a new snapshot sees it -> present values read -> Changed
//!   each quarter of the grace: where is the WAL? -> the stream is there -> CaughtUp
//!      the tables are others, or what queries mean -> Altered;   another catalog -> tables -> Connected
//! ```
//! Invariant: a transaction is told only once new snapshots see it (its record may be decoded before, for ever where a
//! synchronous standby is gone), and then wholly; one that is not visible holds up no other.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::{Duration, Instant, SystemTime};

use std::collections::BTreeSet;
use std::sync::Arc;

use rustc_hash::FxHashSet;
use tokio_postgres::SimpleQueryMessage;

use crate::core::catalog::Section;
use crate::core::feed::promise::{Awaited, Promise, PromiseState};
use crate::core::feed::{FeedOutcome, Gathered, SectionChange};
use crate::postgres::connect::client::Client;

use super::control::{FeedControl, InboxSign};
use super::decoding::{frame, message, status_update, Frame, Message, Row, Wanted};
use super::error::FeedError;
use super::pace::{Pace, NAP};
use super::present::Present;
use super::snapshot::{in_progress, parse_lsn, Snapshot, IN_PROGRESS};
use super::tables::Tables;
use super::watch::{retell_after, Watch, SEE_AGAIN};
use super::wire::Stream;

/// Rows that one message of changes is made of, unless one transaction has more.
const ROWS_A_MESSAGE: usize = 1_000;

/// How soon, and then how late at most, an invisible transaction is asked about again.
const LOOK_AGAIN: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(20));

/// The same for where the stream is.
const PING_AGAIN: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(100));

/// A stream that has not arrived by then may wait for WAL that nobody flushes.
const NUDGE_AFTER: Duration = Duration::from_millis(250);

/// Jobs that are enqueued in Postgres: who reads them is woken.
const INBOX: &[u8] = b"bear.inbox";

/// Two probes are so far apart, however short the grace is.
const LEAST_GAP: Duration = Duration::from_millis(20);

/// A probe that a transaction without rows has hastened comes so much later than the last one.
const HASTE: Duration = Duration::from_millis(100);

/// Names of tables that are kept though nobody asks for them.
const MAX_STRANGERS: usize = 10_000;

/// How often tables are looked at that are being altered meanwhile.
const LOOKS: u32 = 10;

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
    /// Nothing at all has been told of it yet.
    is_empty: bool,
    /// Some of its rows have been understood by the tables as they were.
    is_of_both: bool,
    /// Has it written to the inbox?
    has_inbox: bool,
    /// One of our own, of whose rows those are left out that its jobs have told.
    promise: Option<Arc<Promise>>,
}

impl Transaction {
    /// One of our own that has changed nothing else than what its publication has dropped by now. That came after the answer
    /// to its COMMIT, so that new snapshots see it.
    fn is_done(&self) -> bool {
        let state = self.promise.as_ref().map(|promise| promise.state());
        self.gathered.is_empty() && state == Some(PromiseState::Kept)
    }
}

/// What is said of a transaction beside its rows.
#[derive(Clone, Copy)]
struct Told {
    end: u64,
    committed_us: i64,
}

/// The question whether all has been told that was committed before a moment.
enum Probe {
    Due(Instant),
    Asked(Asked),
    /// All has been told but for what own transactions before this mark have promised.
    Promised {
        asked: Asked,
        mark: u64,
    },
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
    pub(super) watch: Watch,
    /// Is the database's encoding ours?
    pub(super) is_utf8: bool,
    /// Where the stream begins.
    pub(super) position: u64,
    /// When the server was started, as it writes it.
    pub(super) server: Box<str>,
    pub(super) control: Arc<FeedControl>,
    /// Longest time for an answer.
    pub(super) limit: Duration,
    pub(super) grace: Duration,
    pub(super) silence: Duration,
}

pub(super) struct Follower<'a> {
    parts: Parts,
    sections: Arc<[Section]>,
    emit: &'a mut dyn FnMut(FeedOutcome),
    tables: Tables,
    /// SQL of the fingerprint of the tables, and its value when they were looked at.
    fingerprint: (String, String),
    /// What was altered when it was looked at last: told once more. A session may see a commit and know what it has altered
    /// only a moment later, and what it fetched in between is as before.
    altered: BTreeSet<usize>,
    altered_at: Instant,
    present: Present,
    /// Tables that rows have been told of and nobody asks for; None where they are too many.
    strangers: Option<FxHashSet<Box<[u8]>>>,
    asked_at: Instant,
    current: Option<Transaction>,
    pending: VecDeque<Transaction>,
    pending_rows: usize,
    awaited: Awaited<Told>,
    pace: Pace,
    look_at: Instant,
    look_gap: Duration,
    /// All that was committed before this place has been received.
    position: u64,
    /// The same of what has been told, as far as no promise is open.
    told: u64,
    heard: Instant,
    probe: Probe,
    /// In progress when the slot was made: their commit may stand before it and become visible only now.
    unsettled: Vec<u64>,
    /// The same by the number that the stream bears.
    epoch_of: Option<Snapshot>,
}

impl<'a> Follower<'a> {
    pub(super) fn new(parts: Parts, emit: &'a mut dyn FnMut(FeedOutcome)) -> Follower<'a> {
        let now = Instant::now();
        Follower {
            sections: Arc::default(),
            emit,
            tables: Tables::default(),
            fingerprint: Default::default(),
            altered: BTreeSet::new(),
            altered_at: now,
            present: Present::new(Vec::new(), parts.limit),
            strangers: Some(FxHashSet::default()),
            asked_at: now,
            current: None,
            pending: VecDeque::new(),
            pending_rows: 0,
            awaited: Awaited::new(patience(parts.grace)),
            pace: Pace::default(),
            look_at: now,
            look_gap: LOOK_AGAIN.0,
            position: parts.position,
            told: parts.position,
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
        let sections = self.parts.control.catalog();
        self.begin(sections)?;
        loop {
            if self.parts.control.is_stopping() {
                return Err(FeedError::Stopped);
            }
            if let Some(sections) = self.parts.control.take_catalog() {
                self.begin(sections)?;
            }
            self.step()?;
        }
    }

    /// Follows the tables of a catalog from now on.
    fn begin(&mut self, sections: Arc<[Section]>) -> Result<(), FeedError> {
        self.sections = sections;
        self.altered.clear();
        self.look()?;
        // What has been received is of the tables and sections as they were; those who are told to forget read it anew.
        self.pending.clear();
        self.pending_rows = 0;
        if let Some(current) = &mut self.current {
            current.gathered = Gathered::default();
            current.promise = None;
        }
        self.awaited.clear();
        self.watch_those_in_progress()?;
        self.parts.watch.follow(&self.sections, &self.parts.control);
        self.tell_connected();
        Ok(())
    }

    /// Looks at the tables until they are not altered meanwhile.
    fn look(&mut self) -> Result<(), FeedError> {
        let mut tables = self.look_once()?;
        for _ in 0..LOOKS {
            let sql = tables.fingerprint_sql();
            let [value, ..] = self.simple(&format!("SELECT {sql}, '', ''"))?;
            let again = self.look_once()?;
            if again == tables {
                self.present = Present::new(tables.selects.clone(), self.parts.limit);
                self.fingerprint = (sql, value);
                self.tables = tables;
                return Ok(());
            }
            tables = again;
        }
        Err(FeedError::Other("the tables of the catalog are being altered".to_owned()))
    }

    fn look_once(&mut self) -> Result<Tables, FeedError> {
        self.parts.client.set_deadline(Instant::now() + self.parts.limit);
        let tables = Tables::look(&mut self.parts.client, &self.sections)?;
        match tables.beyond_ascii() {
            Some(name) if !self.parts.is_utf8 => Err(FeedError::Forbidden(format!(
                "the database's encoding is not UTF8, and so the stream's name of {name} cannot be told; bear.feed outbox can follow it"
            ))),
            _ => Ok(tables),
        }
    }

    /// They may have changed what nobody here has understood, and may become visible only later.
    fn watch_those_in_progress(&mut self) -> Result<(), FeedError> {
        let row = self.simple(IN_PROGRESS)?;
        let (snapshot, xids) = in_progress(&row).ok_or_else(|| unreadable(&row[0]))?;
        for xid in xids {
            if !self.unsettled.contains(&xid) {
                self.unsettled.push(xid);
            }
        }
        self.epoch_of = Some(snapshot);
        self.parts.control.promises.set_followed(true);
        self.parts.control.sign(InboxSign::Followed(true));
        if let Some(current) = &mut self.current {
            current.is_of_both = true;
        }
        Ok(())
    }

    /// The tables are not what they were.
    fn look_again(&mut self) -> Result<(), FeedError> {
        let before = std::mem::take(&mut self.tables);
        self.look()?;
        let strangers = self.strangers.as_ref();
        let seen = |name: &[u8]| strangers.is_none_or(|strangers| strangers.contains(name));
        let difference = self.tables.difference(&before, seen);
        if self.tables.selects != before.selects {
            // Keys are known by the number of their statement.
            let transactions = self.pending.iter_mut().chain(&mut self.current);
            transactions.for_each(|transaction| transaction.gathered.forget_keys());
        }
        if difference.has_gained {
            self.watch_those_in_progress()?;
        }
        self.tell_altered(difference.sections);
        Ok(())
    }

    fn tell_altered(&mut self, sections: BTreeSet<usize>) {
        let coverage = self.tables.named.coverage.clone();
        self.altered.extend(&sections);
        self.altered_at = Instant::now();
        (self.emit)(FeedOutcome::Altered { coverage, sections: sections.into_iter().collect() });
    }

    fn tell_connected(&mut self) {
        (self.emit)(FeedOutcome::Connected { coverage: self.tables.named.coverage.clone() });
    }

    fn step(&mut self) -> Result<(), FeedError> {
        let arrived = self.receive()?;
        if !self.pending.is_empty() && (arrived || Instant::now() >= self.look_at) {
            self.deliver()?;
        }
        self.see_to_promises()?;
        self.see_to_answers()?;
        self.see_to_probe()
    }

    /// Takes what is there, waiting for it if nothing else is due. Says whether a transaction came.
    fn receive(&mut self) -> Result<bool, FeedError> {
        let now = Instant::now();
        let mut until = match &self.probe {
            Probe::Due(at) => *at,
            Probe::Asked(asked) if self.position >= asked.wal => now,
            Probe::Asked(asked) => asked.ping_at,
            Probe::Promised { .. } => now,
        };
        if !self.awaited.is_empty() {
            until = until.min(now + LOOK_AGAIN.0);
        }
        if self.parts.watch.is_looking() {
            until = until.min(now + SEE_AGAIN);
        }
        if !self.pending.is_empty() {
            until = until.min(self.look_at);
        }
        let (before, rows_before) = (self.pending.len(), self.pending_rows);
        if self.pace.is_busy() {
            self.parts.control.sleep(NAP);
        }
        let listened = Instant::now();
        let mut next = self.parts.stream.next(until.max(listened + LEAST_WAIT))?;
        let (waited, mut messages) = (listened.elapsed(), 0);
        if next.is_none() && self.heard.elapsed() > self.parts.silence {
            let silence = self.parts.silence.as_millis();
            return Err(FeedError::Other(format!(
                "Postgres has sent nothing for {silence} ms, though it was asked to"
            )));
        }
        while let Some(bytes) = next {
            messages += 1;
            self.heard = Instant::now();
            match frame(&bytes)? {
                Frame::Data { position, text } => self.take(message(text)?, position)?,
                Frame::Keepalive { position, reply } => {
                    self.position = self.position.max(position);
                    if reply {
                        self.answer(false)?;
                    }
                }
            }
            // Who is told waits for no more than that.
            if self.pending_rows >= rows_before + ROWS_A_MESSAGE {
                break;
            }
            // What is on its way is the next step's: a wait for it, however short, is a millisecond by the runtime's clock,
            // and what has come is told that much later.
            next = self.parts.stream.received()?;
        }
        self.pace.came(messages, waited);
        Ok(self.pending.len() > before)
    }

    fn take(&mut self, message: Message<'_>, position: u64) -> Result<(), FeedError> {
        match message {
            Message::Begin { xid } => {
                let snapshot = self.epoch_of.as_ref();
                let promises = &self.parts.control.promises;
                let promise = snapshot
                    .and_then(|snapshot| promises.take(&self.parts.server, snapshot.with_epoch(xid), &self.sections));
                self.current = Some(Transaction {
                    xid,
                    committed_us: 0,
                    end: 0,
                    gathered: Gathered::default(),
                    is_empty: true,
                    is_of_both: false,
                    has_inbox: false,
                    promise,
                });
            }
            Message::Commit { committed_us } => {
                self.position = self.position.max(position);
                if let Some(done) = self.current.take() {
                    if done.has_inbox {
                        self.parts.control.sign(InboxSign::Changed);
                    }
                    if done.is_empty {
                        self.hasten_probe();
                    }
                    if !done.is_of_both {
                        self.settle(done.xid);
                    }
                    if !done.gathered.is_empty() || done.promise.is_some() {
                        self.pending_rows += done.gathered.len();
                        self.pending.push_back(Transaction { end: position, committed_us, ..done });
                    }
                }
            }
            Message::Row { table, row } => self.take_row(table, row)?,
            Message::Truncate { tables } => {
                for name in tables {
                    self.note(name);
                    if let (Some(current), Some((table, _))) = (&mut self.current, self.tables.part(name)) {
                        current.gathered.add_all(&table.bound);
                    }
                }
            }
            Message::Other => {}
        }
        Ok(())
    }

    fn take_row(&mut self, name: &[u8], row: Row<'_>) -> Result<(), FeedError> {
        let Some((table, part)) = self.tables.part(name) else {
            self.note(name);
            if let Some(current) = self.current.as_mut().filter(|_| name == INBOX) {
                // What is deleted, we have deleted.
                current.has_inbox |= !row.is_delete();
            }
            return Ok(());
        };
        if let Some(current) = &mut self.current {
            current.is_empty = false;
            let wanted = Wanted {
                columns: &table.columns,
                identity_is_full: part.identity_is_full,
                is_utf8: self.parts.is_utf8,
            };
            let promised = current.promise.as_ref().map(|promise| promise.rows());
            current.gathered.add(&table.bound, &row.read(wanted)?.as_change(), promised);
        }
        Ok(())
    }

    /// Something was told of that table.
    fn note(&mut self, name: &[u8]) {
        if let Some(current) = &mut self.current {
            current.is_empty = false;
        }
        let Some(strangers) = &mut self.strangers else { return };
        if !strangers.contains(name) && self.tables.part(name).is_none() {
            strangers.insert(name.into());
            if strangers.len() > MAX_STRANGERS {
                self.strangers = None;
            }
        }
    }

    /// A transaction without rows may have altered something.
    fn hasten_probe(&mut self) {
        if let Probe::Due(at) = &mut self.probe {
            *at = (*at).min(self.asked_at + HASTE.min(self.parts.grace / 4));
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
        if self.pending.iter().all(Transaction::is_done) {
            // As a rule while a queue drains: nothing is asked, of nobody.
            self.pending_rows = 0;
            let done = std::mem::take(&mut self.pending);
            return self.tell(done);
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
        let now = Instant::now();
        for transaction in &mut visible {
            let told = Told { end: transaction.end, committed_us: transaction.committed_us };
            let promise = transaction.promise.take();
            if let Some(promise) = promise.and_then(|promise| self.awaited.add(promise, told, now)) {
                transaction.gathered.merge(Gathered::of_promised(promise.rows()));
            }
        }
        while let Some(first) = visible.pop_front() {
            let (mut end, mut transactions, mut gathered) = (first.end, 1, first.gathered);
            let fits = |more: &&Transaction, kept: usize| kept + more.gathered.len() <= ROWS_A_MESSAGE;
            while visible.front().filter(|next| fits(next, gathered.len())).is_some() {
                let Some(next) = visible.pop_front() else { break };
                end = next.end;
                transactions += 1;
                gathered.merge(next.gathered);
            }
            let changes = self.present.read(&mut self.parts.client, &self.sections, gathered)?;
            self.tell_changes(changes, transactions, Told { end, committed_us: first.committed_us });
        }
        Ok(())
    }

    fn tell_changes(&mut self, changes: Vec<SectionChange>, transactions: u32, told: Told) {
        let Told { end, committed_us } = told;
        if self.awaited.is_empty() {
            self.told_up_to(end);
        }
        (self.emit)(FeedOutcome::Changed { changes, position: self.told, transactions, committed_us });
    }

    /// What has been received and is not visible yet has not been told, whatever stands behind it.
    fn told_up_to(&mut self, position: u64) {
        let untold = self.pending.iter().map(|transaction| transaction.end.saturating_sub(1)).min();
        self.told = self.told.max(untold.map_or(position, |before| position.min(before)));
    }

    /// Tells the rows of own transactions whose publication has not dropped them in time, or never will.
    fn see_to_promises(&mut self) -> Result<(), FeedError> {
        if self.awaited.is_empty() {
            return Ok(());
        }
        for (promise, told) in self.awaited.due(Instant::now()) {
            let gathered = Gathered::of_promised(promise.rows());
            let changes = self.present.read(&mut self.parts.client, &self.sections, gathered)?;
            self.tell_changes(changes, 0, told);
        }
        Ok(())
    }

    /// Tells which sections mean something else.
    fn see_to_answers(&mut self) -> Result<(), FeedError> {
        let meant = self.parts.watch.changed()?;
        if !meant.is_empty() {
            // Statements may mean other tables than when they were prepared.
            self.present.prepare_anew();
            self.tell_altered(meant.into_iter().collect());
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
            Probe::Promised { mark, .. } if self.awaited.has_before(*mark) => return Ok(()),
            Probe::Asked(_) | Probe::Promised { .. } => {}
        }
        match std::mem::replace(&mut self.probe, Probe::Due(now)) {
            Probe::Asked(mut asked) => {
                // What was visible at that moment is visible to a look from after it.
                self.deliver()?;
                self.settle_old(std::mem::take(&mut asked.ended))?;
                match self.awaited.mark() {
                    mark if self.awaited.has_before(mark) => self.probe = Probe::Promised { asked, mark },
                    _ => self.tell_caught_up(&asked, now),
                }
            }
            Probe::Promised { asked, .. } => self.tell_caught_up(&asked, now),
            Probe::Due(_) => {}
        }
        Ok(())
    }

    fn tell_caught_up(&mut self, asked: &Asked, now: Instant) {
        self.probe = Probe::Due(now.max(asked.at + (self.parts.grace / 4).max(LEAST_GAP)));
        let position = if self.awaited.is_empty() { self.position } else { asked.wal };
        self.told_up_to(position);
        let caught_up = self.parts.watch.bound(asked.at);
        (self.emit)(FeedOutcome::CaughtUp { asked: caught_up, position: self.told, lag_bytes: asked.lag_bytes });
    }

    fn ask(&mut self, now: Instant) -> Result<(), FeedError> {
        let sql = format!(
            "SELECT pg_catalog.pg_current_snapshot()::pg_catalog.text, pg_catalog.pg_current_wal_insert_lsn()::pg_catalog.text, {}",
            self.fingerprint.0
        );
        self.asked_at = now;
        let row = self.simple(&sql)?;
        let snapshot = read_snapshot(&row[0])?;
        let wal = parse_lsn(&row[1])
            .ok_or_else(|| FeedError::Other(format!("Postgres' place in the WAL '{}' cannot be read", row[1])))?;
        if !self.altered.is_empty() && now > self.altered_at + retell_after(self.parts.grace) {
            let again = std::mem::take(&mut self.altered);
            (self.emit)(FeedOutcome::AlteredBefore { sections: again.into_iter().collect() });
        }
        if row[2] != self.fingerprint.1 {
            self.look_again()?;
        }
        self.parts.watch.ask(now);
        let ended = self.unsettled.iter().copied().filter(|xid| snapshot.has_ended(*xid)).collect();
        self.epoch_of = Some(snapshot);
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
            .map(|xid| format!("coalesce(pg_catalog.pg_xact_status('{xid}'::pg_catalog.xid8) OPERATOR(pg_catalog.<>) 'aborted', true)"))
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
        let row = self.simple("SELECT pg_catalog.pg_current_snapshot()::pg_catalog.text, '', ''")?;
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
    Snapshot::parse(text).ok_or_else(|| unreadable(text))
}

pub(super) fn unreadable(snapshot: &str) -> FeedError {
    FeedError::Other(format!("Postgres' snapshot '{snapshot}' cannot be read"))
}

/// How long an own transaction's publication is waited for, so that what it leaves out is known well within the grace.
pub(super) fn patience(grace: Duration) -> Duration {
    (grace / 4).clamp(Duration::from_millis(20), Duration::from_millis(250))
}

/// The longest wait for an answer to a statement that Postgres ends after `timeout_ms`.
pub(super) fn limit(timeout_ms: u64) -> Duration {
    Duration::from_millis(timeout_ms).saturating_add(GRACE)
}
