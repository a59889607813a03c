//! What is new in the outbox.
//!
//! Rows are not in the order of commits: one that was written before another may become visible after it. So the place
//! in the outbox is a snapshot, and new is what is visible now and was not in the last one. A transaction becomes
//! visible at once, hence all its rows come together.
//!
//! Not visible in a snapshot is what it lists as in progress, and what is not older than its xmax; asked for in these
//! words, a transaction that stays in progress for hours costs nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustc_hash::FxHashMap;
use tokio_postgres::{SimpleQueryMessage, SimpleQueryRow};

use crate::core::feed::promise::Promise;
use crate::core::feed::{Cell, Gathered, RowChange, Tuple};
use crate::postgres::connect::client::Client;

use super::super::snapshot::Snapshot;
use super::tables::Tables;
use crate::postgres::feed::error::FeedError;

/// Rows of the outbox that are read at once; of more, only the tables.
const ROWS_A_POLL: usize = 20_000;

/// No plan may ever read the whole table, whatever the statistics say of it.
const PLANNING: &str = "SET LOCAL enable_seqscan = off; SET LOCAL plan_cache_mode = force_generic_plan";

/// Whether any trigger, asked until now, would have found somebody alive: they write nothing where nobody has been for
/// 600 s. To be sure, half of it.
pub(super) const IS_ALIVE: &str = "a.last_value OPERATOR(pg_catalog.>=) \
    (extract(epoch FROM pg_catalog.clock_timestamp())::pg_catalog.int8 OPERATOR(pg_catalog.-) 300)";

const NOW_US: &str =
    "(extract(epoch FROM pg_catalog.clock_timestamp()) OPERATOR(pg_catalog.*) 1000000)::pg_catalog.int8";

/// What comes before the rows' own columns.
const HEAD: usize = 8;

pub(super) struct Poller {
    columns: FxHashMap<i64, usize>,
    width: usize,
    fingerprint: (String, String),
    last: String,
    /// When the last poll was, by Postgres' clock, in microseconds since 1970.
    polled_us: i64,
}

/// What a poll has found.
pub(super) struct News {
    pub(super) snapshot: Snapshot,
    /// Lowest id of a transaction in progress.
    pub(super) position: u64,
    /// By transaction; where these were too many, in one.
    pub(super) transactions: BTreeMap<u64, Written>,
    /// They were committed after this.
    pub(super) since_us: i64,
}

/// What one transaction has written.
#[derive(Default)]
pub(super) struct Written {
    pub(super) gathered: Gathered,
    /// One of our own, of whose rows those are left out that its jobs have told.
    pub(super) promise: Option<Arc<Promise>>,
}

/// Finds the promise of a transaction, which is found once.
pub(super) type FindPromise<'a> = &'a dyn Fn(u64) -> Option<Arc<Promise>>;

/// Whether the tables are looked at, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    AtRows,
    AtTablesToo,
}

impl Poller {
    /// Reads from now on, as the reader of that number.
    pub(super) fn start(
        client: &mut Client,
        tables: &Tables,
        fingerprint: (String, String),
        reader: i64,
    ) -> Result<Poller, FeedError> {
        let width = tables.width();
        let sources: Vec<String> = tables.sources().iter().map(i64::to_string).collect();
        let new = |columns: &str| {
            format!(
                "SELECT {columns} FROM bear.outbox o WHERE o.xid OPERATOR(pg_catalog.>=) pg_catalog.pg_snapshot_xmax($1) \
                 AND o.source OPERATOR(pg_catalog.=) ANY (ARRAY[{0}]::pg_catalog.int8[]) \
                 UNION ALL SELECT {columns} FROM bear.outbox o WHERE o.xid OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT pg_catalog.pg_snapshot_xip($1))) \
                 AND o.source OPERATOR(pg_catalog.=) ANY (ARRAY[{0}]::pg_catalog.int8[])",
                sources.join(",")
            )
        };
        let head = format!(
            "SELECT pg_catalog.pg_current_snapshot()::pg_catalog.text, {IS_ALIVE}, \
             EXISTS (SELECT FROM bear.outbox_reader r WHERE r.reader OPERATOR(pg_catalog.=) {reader}::pg_catalog.int8), {NOW_US}"
        );
        let values: String = (1..=width).map(|at| format!(", o.vals[{at}]")).collect();
        let news = format!(
            "{head}, o.xid::pg_catalog.text, o.source, o.vals IS NULL, pg_catalog.cardinality(o.vals){values} FROM bear.outbox_alive a LEFT JOIN ({} LIMIT {}) o ON true",
            new("o.xid, o.source, o.vals"),
            ROWS_A_POLL + 1
        );
        let touched = format!(
            "{head}, '0', o.source, true FROM bear.outbox_alive a LEFT JOIN (SELECT DISTINCT n.source FROM ({}) n) o ON true",
            new("o.source")
        );
        client.batch_execute(&format!(
            "{PLANNING}; PREPARE bear_news(pg_catalog.pg_snapshot) AS {news}; PREPARE bear_touched(pg_catalog.pg_snapshot) AS {touched}"
        ))?;
        let columns = tables.covered.iter().enumerate().map(|(at, table)| (table.source, at)).collect();
        let mut poller = Poller { columns, width, fingerprint, last: String::new(), polled_us: 0 };
        let now = super::super::follow::simple(
            client,
            &format!("SELECT pg_catalog.pg_current_snapshot()::pg_catalog.text, {NOW_US}, ''"),
        )?;
        let [snapshot, now_us, _] = now;
        read_snapshot(&snapshot)?;
        poller.last = snapshot;
        poller.polled_us = now_us.parse().unwrap_or(0);
        Ok(poller)
    }

    /// All before this has been read.
    pub(super) fn last(&self) -> &str {
        &self.last
    }

    /// What has become visible since the last time.
    pub(super) fn poll(
        &mut self,
        client: &mut Client,
        tables: &Tables,
        look: Look,
        limit: Duration,
        promise: FindPromise<'_>,
    ) -> Result<News, FeedError> {
        let look = match look {
            Look::AtRows => String::new(),
            Look::AtTablesToo => format!("SELECT {}; ", self.fingerprint.0),
        };
        client.set_deadline(Instant::now() + limit);
        let messages = client.simple_query(&format!("{look}{PLANNING}; EXECUTE bear_news('{}')", self.last))?;
        let rows: Vec<&SimpleQueryRow> = rows(&messages).collect();
        if rows.len() <= ROWS_A_POLL {
            return self.read(&rows, tables, promise);
        }
        // Not rows but tables, by a snapshot of its own.
        client.set_deadline(Instant::now() + limit);
        let messages = client.simple_query(&format!("{PLANNING}; EXECUTE bear_touched('{}')", self.last))?;
        let rows: Vec<&SimpleQueryRow> = self::rows(&messages).collect();
        self.read(&rows, tables, promise)
    }

    fn read(&mut self, rows: &[&SimpleQueryRow], tables: &Tables, promise: FindPromise<'_>) -> Result<News, FeedError> {
        let mut transactions: BTreeMap<u64, Written> = BTreeMap::new();
        let mut head = None;
        for row in rows {
            if row.len() == 1 {
                if row.get(0) != Some(&self.fingerprint.1) {
                    return Err(FeedError::Other(
                        "a table of the catalog, or its triggers, have been altered".to_owned(),
                    ));
                }
                continue;
            }
            head = Some(*row);
            let (Some(xid), Some(source)) = (row.get(4), row.get(5)) else { continue };
            let (Some(at), Ok(xid)) = (source.parse().ok().and_then(|source| self.columns.get(&source)), xid.parse())
            else {
                continue;
            };
            let written =
                transactions.entry(xid).or_insert_with(|| Written { promise: promise(xid), ..Written::default() });
            self.gather(row, &tables.covered[*at], written);
        }
        let head = head.ok_or_else(|| FeedError::Other("the outbox has been dropped".to_owned()))?;
        // In the snapshot that found the rows, so that none of them has been removed.
        if head.get(2) != Some("t") {
            return Err(FeedError::Other("the outbox has forgotten this reader, who was away for long".to_owned()));
        }
        if head.get(1) != Some("t") {
            return Err(leap());
        }
        let text = head.get(0).unwrap_or_default();
        let snapshot = read_snapshot(text)?;
        let position = text.split(':').next().and_then(|xmin| xmin.parse().ok()).unwrap_or(0);
        transactions.retain(|_, written| !written.gathered.is_empty() || written.promise.is_some());
        let since_us = self.polled_us;
        self.last = text.to_owned();
        self.polled_us = head.get(3).and_then(|now_us| now_us.parse().ok()).unwrap_or(since_us);
        Ok(News { snapshot, position, transactions, since_us })
    }

    fn gather(&self, row: &SimpleQueryRow, table: &super::tables::CoveredTable, written: &mut Written) {
        let Written { gathered, promise } = written;
        if row.get(6) != Some("f") {
            return gathered.add_all(&table.bound);
        }
        let cell = |at: usize| row.get(HEAD + at).map_or(Cell::Null, |text| Cell::Text(text.as_bytes()));
        let count = table.columns.len();
        let tuple = |from: usize| Tuple { key_only: false, cells: (from..from + count).map(cell).collect() };
        let is_pair = count > 0 && row.get(HEAD - 1).and_then(|values| values.parse().ok()) == Some(2 * count);
        let change = match is_pair && 2 * count <= self.width {
            true => RowChange::Update { old: Some(tuple(0)), new: tuple(count) },
            false => RowChange::Seen(tuple(0)),
        };
        gathered.add(&table.bound, &change, promise.as_ref().map(|promise| promise.rows()));
    }
}

/// Nobody told the triggers in time that somebody reads.
pub(super) fn leap() -> FeedError {
    FeedError::Other(
        "the triggers may have found nobody alive: this process, or Postgres' clock, has made a leap".to_owned(),
    )
}

fn rows(messages: &[SimpleQueryMessage]) -> impl Iterator<Item = &SimpleQueryRow> {
    messages.iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    })
}

pub(super) fn read_snapshot(text: &str) -> Result<Snapshot, FeedError> {
    Snapshot::parse(text).ok_or_else(|| FeedError::Other(format!("Postgres' snapshot '{text}' cannot be read")))
}
