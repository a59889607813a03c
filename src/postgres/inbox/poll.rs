//! Which rows are open, and what has become visible since the last look.
//!
//! Rows are not in the order of commits: one that was written before another may become visible after it. So the place in the
//! table is a snapshot, and new is what is visible now and was not in the last one: rows of transactions that it lists as under
//! way, and of those that are not older than its xmax. Asked for in these words, a transaction that stays open for hours costs
//! nothing, and no index holds more than what is new.

use std::collections::HashMap;
use std::sync::Arc;

use tokio_postgres::{SimpleQueryMessage, SimpleQueryRow};

use super::link::{rows, InboxLink, STARTED};
use super::owner::Holding;
use super::quote::{ints, text};
use super::InboxError;
use crate::core::inbox::row::InboxRow;
use crate::core::inbox::snapshot::Snapshot;

/// Rows that are read at once with their data, and bytes of it.
const ROWS_AT_ONCE: usize = 500;
const BYTES_AT_ONCE: usize = 1 << 20;

/// Rows that get another transaction's id at once.
const RENUMBERED_AT_ONCE: usize = 2_000;

/// An open row, of which more is asked for later.
pub type OpenRow = (u64, Arc<str>);

/// What a look has found.
#[derive(Debug, Default)]
pub struct Found {
    /// In the order in which they are to be taken. Empty where there are `ids`.
    pub rows: Vec<InboxRow>,
    /// The same where they are too many, or too large.
    pub ids: Vec<OpenRow>,
    /// Those that bear.complete has completed.
    pub done: Vec<u64>,
}

/// Which rows are listed.
#[derive(Debug, Clone, Copy)]
pub enum Listing<'a> {
    /// All of what is ours.
    All,
    Sections(&'a [Box<str>]),
    Space(&'a str),
}

/// Section of a row's space.
pub(super) const SECTION: &str =
    "CASE WHEN left(i.space, 1) = '{' THEN substr(i.space, strpos(i.space, '}:') + 2) ELSE i.space END";

/// Of an open row, in the order of [`read_row`].
const COLUMNS: &str = "i.id, i.place, i.space, i.job, i.unique_key, (extract(epoch FROM i.due) * 1000)::int8 AS due, i.attempts, i.backoff_ms, \
    i.priority, (extract(epoch FROM i.enqueued) * 1000)::int8 AS enqueued, i.fence";

impl InboxLink {
    /// What is new since a snapshot, which becomes the present one. Without `with_rows` only the ids are told.
    pub fn poll(&mut self, holding: &Holding, last: &mut Snapshot, with_rows: bool) -> Result<Found, InboxError> {
        // As a rule there is nothing, which is asked in a tenth of the time.
        let (is_any, now) = self.is_any(last)?;
        if !is_any {
            *last = now;
            return Ok(Found::default());
        }
        if with_rows {
            let (found, now) = self.poll_rows(holding, last)?;
            if let Some(found) = found {
                *last = now;
                return Ok(found);
            }
        }
        let new = |columns: &str| {
            format!(
                "SELECT {columns} FROM bear.inbox i WHERE i.xid >= '{}'::xid8 UNION ALL \
                 SELECT {columns} FROM bear.inbox i WHERE i.xid = ANY ('{}'::xid8[])",
                last.xmax(),
                last.under_way()
            )
        };
        let from = new("i.id, i.place, i.space, i.done, i.failed");
        let (found, now) = self.list_from(holding, &from, "")?;
        *last = now;
        Ok(found)
    }

    /// All open rows, and the snapshot that saw them.
    pub fn list(&mut self, holding: &Holding, listing: Listing<'_>) -> Result<(Found, Snapshot), InboxError> {
        let of = match listing {
            Listing::All => String::new(),
            Listing::Sections(sections) => {
                format!(" AND {SECTION} = ANY ({})", super::quote::texts(sections.iter().map(|section| &**section)))
            }
            Listing::Space(space) => format!(" AND i.space = {}", text(space)),
        };
        self.list_from(holding, "SELECT i.id, i.place, i.space, i.done, i.failed FROM bear.inbox i", &of)
    }

    /// Rows of ours that came with ids of another server's transactions, as a dump or logical replication brings them: each poll
    /// would find them until this server's have come so far.
    pub fn renumber(&mut self, holding: &Holding) -> Result<(), InboxError> {
        let sql = format!(
            "UPDATE bear.inbox i SET xid = pg_current_xact_id() WHERE i.id = ANY (ARRAY(SELECT i.id FROM bear.inbox i \
               WHERE i.xid >= pg_snapshot_xmax(pg_current_snapshot()) AND {SECTION} = ANY ({}) LIMIT {RENUMBERED_AT_ONCE} \
               FOR UPDATE SKIP LOCKED)) RETURNING i.id",
            holding.ours_sql()
        );
        while rows(&self.write(&sql)?).count() == RENUMBERED_AT_ONCE {}
        Ok(())
    }

    /// Open ones of these rows, by their place, as many as may be read at once: of the others the ids come back.
    pub fn fetch(&mut self, holding: &Holding, ids: &[u64]) -> Result<(Vec<InboxRow>, Vec<u64>), InboxError> {
        let (now, later) = ids.split_at(ids.len().min(ROWS_AT_ONCE));
        let sql = format!(
            "SELECT {}, CASE WHEN w.total - octet_length(w.data) < {BYTES_AT_ONCE} THEN w.data END FROM ( \
               SELECT d.*, sum(octet_length(d.data)) OVER (ORDER BY d.place, d.id) AS total FROM ( \
                 SELECT {COLUMNS}, i.data::text AS data FROM bear.inbox i WHERE i.id = ANY ({}) AND i.done IS NULL AND i.failed IS NULL \
                 AND {SECTION} = ANY ({})) d) w ORDER BY w.place, w.id",
            of_row("w"),
            ints(now),
            holding.ours_sql()
        );
        let messages = self.read(&sql)?;
        let (mut read, mut left) = (Vec::new(), Vec::new());
        for row in rows(&messages) {
            match read_row(row, 0) {
                Some(row) => read.push(row),
                None => left.extend(number::<u64>(row, 0)),
            }
        }
        left.extend(later);
        Ok((read, left))
    }

    /// Has anything become visible since, whosever it is? And the snapshot that says so: of the server that was asked before, for
    /// ids of another's transactions say nothing.
    fn is_any(&mut self, last: &Snapshot) -> Result<(bool, Snapshot), InboxError> {
        let sql = |xmax: &str, under_way: &str| {
            format!(
                "SELECT pg_current_snapshot()::text, EXISTS (SELECT FROM bear.inbox i WHERE i.xid >= {xmax}) \
                 OR EXISTS (SELECT FROM bear.inbox i WHERE i.xid = ANY ({under_way})), {STARTED}"
            )
        };
        let messages = self.ask_since("bear_inbox_any", last, sql)?;
        let row = rows(&messages).next();
        if row.is_some_and(|row| row.get(2) != Some(&*self.started)) {
            return Err(InboxError("Postgres is another server, or was started anew".to_owned()));
        }
        let now = snapshot(row.and_then(|row| row.get(0)))?;
        Ok((row.and_then(|row| row.get(1)) == Some("t"), now))
    }

    /// A statement about what is newer than a snapshot, prepared where that lasts.
    fn ask_since(
        &mut self,
        name: &'static str,
        last: &Snapshot,
        sql: impl Fn(&str, &str) -> String,
    ) -> Result<Vec<SimpleQueryMessage>, InboxError> {
        let (xmax, under_way) = (last.xmax(), last.under_way());
        if !self.may_prepare() {
            return Ok(self.read(&sql(&format!("'{xmax}'::xid8"), &format!("'{under_way}'::xid8[]")))?);
        }
        let statement = sql("$1", "$2");
        if self.prepared.get(name).is_none_or(|prepared| **prepared != *statement) {
            let drop = if self.prepared.contains_key(name) { format!("DEALLOCATE {name}; ") } else { String::new() };
            self.read(&format!("{drop}PREPARE {name}(xid8, xid8[]) AS {statement}"))?;
            self.prepared.insert(name, statement.into());
        }
        Ok(self.read(&format!("EXECUTE {name}('{xmax}', '{under_way}')"))?)
    }

    /// None: there are too many, or they are too large.
    fn poll_rows(&mut self, holding: &Holding, last: &Snapshot) -> Result<(Option<Found>, Snapshot), InboxError> {
        let columns = format!("{COLUMNS}, i.done, i.data");
        let body = |xmax: &str, under_way: &str| {
            format!(
                "SELECT 0 AS at, pg_current_snapshot()::text AS snapshot, {none}, NULL::text, NULL::int8 UNION ALL \
                 SELECT 1, NULL, {of_row}, CASE WHEN w.total <= {BYTES_AT_ONCE} THEN w.text END, w.done FROM ( \
                   SELECT t.*, sum(octet_length(t.text)) OVER (ORDER BY t.place, t.id) AS total FROM ( \
                     SELECT l.*, CASE WHEN l.done IS NULL THEN l.data::text ELSE '' END AS text FROM ( \
                       SELECT * FROM (SELECT {columns}, i.failed FROM bear.inbox i WHERE i.xid >= {xmax} UNION ALL \
                         SELECT {columns}, i.failed FROM bear.inbox i WHERE i.xid = ANY ({under_way})) i \
                       WHERE i.failed IS NULL AND {SECTION} = ANY ({ours}) LIMIT {limit}) l) t) w \
                 ORDER BY 1, 4, 3",
                none = "NULL::int8 AS id, NULL::int8 AS place, NULL::text, NULL::text, NULL::text, NULL::int8, NULL::int4, NULL::int8, NULL::int4, NULL::int8, NULL::int8",
                of_row = of_row("w"),
                ours = holding.ours_sql(),
                limit = ROWS_AT_ONCE + 1,
            )
        };
        let messages = self.ask_since("bear_inbox_new", last, body)?;
        let mut answers = rows(&messages);
        let now = snapshot(answers.next().and_then(|row| row.get(1)))?;
        let mut found = Found::default();
        let (mut count, mut is_whole) = (0, true);
        for row in answers {
            count += 1;
            match (row.get(14), read_row(row, 2)) {
                (Some(_), _) => found.done.extend(number::<u64>(row, 2)),
                (None, Some(row)) => found.rows.push(row),
                (None, None) => is_whole = false,
            }
        }
        Ok(((is_whole && count <= ROWS_AT_ONCE).then_some(found), now))
    }

    fn list_from(&mut self, holding: &Holding, from: &str, of: &str) -> Result<(Found, Snapshot), InboxError> {
        let sql = format!(
            "SELECT NULL::int8 AS id, pg_current_snapshot()::text AS space, NULL::bool AS is_done, 0::int8 AS place UNION ALL \
             SELECT i.id, i.space, i.done IS NOT NULL, coalesce(i.place, 9223372036854775807) FROM ({from}) i \
             WHERE i.failed IS NULL AND {SECTION} = ANY ({}){of} ORDER BY 4, 1",
            holding.ours_sql()
        );
        let (mut found, mut spaces, mut seen) = (Found::default(), HashMap::<Box<str>, Arc<str>>::new(), None);
        self.read_long(&sql, |row| {
            let (id, space, is_done): (Option<i64>, &str, Option<bool>) = (row.get(0), row.get(1), row.get(2));
            match (id.and_then(|id| u64::try_from(id).ok()), is_done) {
                (Some(id), Some(true)) => found.done.push(id),
                (Some(id), _) => {
                    let known = spaces.get(space).cloned();
                    let space = known.unwrap_or_else(|| {
                        let new: Arc<str> = space.into();
                        spaces.insert(space.into(), new.clone());
                        new
                    });
                    found.ids.push((id, space));
                }
                (None, _) => seen = Some(space.to_owned()),
            }
            Ok(())
        })?;
        Ok((found, snapshot(seen.as_deref())?))
    }
}

fn of_row(table: &str) -> String {
    let columns =
        ["id", "place", "space", "job", "unique_key", "due", "attempts", "backoff_ms", "priority", "enqueued", "fence"];
    columns.map(|column| format!("{table}.{column}")).join(", ")
}

fn snapshot(text: Option<&str>) -> Result<Snapshot, InboxError> {
    text.and_then(Snapshot::parse)
        .ok_or_else(|| InboxError(format!("Postgres' snapshot '{}' cannot be read", text.unwrap_or_default())))
}

fn number<N: std::str::FromStr>(row: &SimpleQueryRow, at: usize) -> Option<N> {
    row.get(at).and_then(|text| text.parse().ok())
}

/// From the column `at` on; None: its data is not there.
fn read_row(row: &SimpleQueryRow, at: usize) -> Option<InboxRow> {
    Some(InboxRow {
        id: number(row, at)?,
        space: row.get(at + 2)?.into(),
        job: row.get(at + 3)?.into(),
        unique: row.get(at + 4).map(Into::into),
        due_ms: number(row, at + 5),
        attempts: number(row, at + 6),
        backoff_ms: number(row, at + 7),
        priority: number(row, at + 8),
        enqueued_ms: number(row, at + 9).unwrap_or_default(),
        fence: number(row, at + 10),
        data: row.get(at + 11)?.as_bytes().into(),
    })
}
