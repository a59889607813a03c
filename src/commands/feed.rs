//! `BEAR.FEED`: the change feed, which drops what others' changes in Postgres concern.
//!
//! Reply: a map of kind (`bear.feed`), state (off, starting, following, lost, not allowed), behind (0 or 1: entries that
//! depend on it are not served), told_ms (how long ago all that had been committed was told; nil: never), position (in the
//! WAL), lag_bytes, lag_ms (from the commit to the drop, the last time), connects, losses (how often it followed and was lost), transactions, rows, withheld (queries that
//! were fetched though cached), last_error, covered and not_covered (tables; for the latter why, and what to do), notes (what
//! would be more exact), and unmapped (what queries read that no section maps). O(N) in the tables. Errors: ERR (wrong words).

use std::sync::Arc;

use super::cursor::Cursor;
use crate::core::feed::{Coverage, TableCoverage};
use crate::redis_api::{Args, Command, CommandSpec, Context, KeyAccess, Replier};
use crate::server::{self, Server};

pub struct Feed;

impl Command for Feed {
    const SPEC: CommandSpec = CommandSpec {
        name: c"bear.feed",
        flags: c"readonly",
        categories: c"read",
        tips: c"nondeterministic_output request_policy:all_shards response_policy:special",
        arity: 1,
        key: KeyAccess::None,
        summary: c"Returns the state of the change feed, and which tables it covers.",
        complexity: c"O(N) with N the tables of the catalog.",
        args: &[],
    };

    fn run(ctx: Context, args: Args) {
        server::serve(ctx, |server| {
            Cursor::new(args).finish()?;
            let report = Report::of(server);
            match report.coverage.len() + report.unmapped.len() > AT_ONCE {
                true => server.reply_aside(ctx, move |reply| report.write(reply)),
                false => report.write(ctx.reply()),
            }
            Ok(())
        });
    }
}

/// Tables, and what no section maps, that are told at once; of more the reply is written aside.
const AT_ONCE: usize = 100;

/// What it is told from, wherever it is written.
struct Report {
    kind: &'static str,
    state: &'static str,
    told_ms: Option<i64>,
    position: String,
    numbers: [(&'static str, u64); 8],
    last_error: Option<String>,
    coverage: Arc<[TableCoverage]>,
    unmapped: Arc<[String]>,
}

impl Report {
    fn of(server: &Server) -> Report {
        let feed = server.feed();
        Report {
            kind: server.feed_kind(),
            state: feed.state().name(),
            told_ms: feed.told_ago().map(|ago| ago.as_millis() as i64),
            position: feed.position_text(),
            numbers: [
                ("behind", feed.behind.into()),
                ("lag_bytes", feed.lag_bytes),
                ("lag_ms", feed.lag_us / 1000),
                ("connects", feed.connects),
                ("losses", feed.losses()),
                ("transactions", feed.transactions),
                ("rows", feed.rows),
                ("withheld", feed.withheld),
            ],
            last_error: feed.last_error.clone(),
            coverage: feed.coverage.clone(),
            unmapped: server.checked().warnings.clone(),
        }
    }

    fn write(&self, reply: Replier) {
        reply.map(17);
        reply.text("kind");
        reply.text(self.kind);
        reply.text("state");
        reply.text(self.state);
        let [behind, others @ ..] = &self.numbers;
        let number = |(name, value): &(&str, u64)| {
            reply.text(name);
            reply.integer(*value as i64);
        };
        number(behind);
        reply.text("told_ms");
        match self.told_ms {
            Some(ms) => reply.integer(ms),
            None => reply.null(),
        }
        reply.text("position");
        reply.text(&self.position);
        others.iter().for_each(number);
        reply.text("last_error");
        match &self.last_error {
            Some(error) => reply.text(error),
            None => reply.null(),
        }
        let (covered, not_covered): (Vec<&TableCoverage>, Vec<_>) =
            self.coverage.iter().partition(|table| matches!(table.state, Coverage::Covered { .. }));
        reply.text("covered");
        let covered: Vec<&str> = covered.iter().map(|table| &*table.table).collect();
        reply.texts(&covered);
        for (name, notes) in [("not_covered", not_covered_notes(&not_covered)), ("notes", notes(&self.coverage))] {
            reply.text(name);
            reply.texts(&notes);
        }
        reply.text("unmapped");
        reply.texts(&self.unmapped);
    }
}

fn not_covered_notes(tables: &[&TableCoverage]) -> Vec<String> {
    let note = |table: &&TableCoverage| match &table.state {
        Coverage::NotCovered { why, remedy } => format!("{}: {why}; {remedy}", table.table),
        Coverage::Covered { .. } => String::new(),
    };
    tables.iter().map(note).collect()
}

fn notes(tables: &[TableCoverage]) -> Vec<String> {
    let note = |table: &TableCoverage| match &table.state {
        Coverage::Covered { note: Some(note) } => Some(format!("{}: {note}", table.table)),
        _ => None,
    };
    let blind = |table: &TableCoverage| {
        let alter = table.alter.as_ref()?;
        Some(format!(
            "{}: an UPDATE counts as one of all columns, whatever queries read; {alter} tells which",
            table.table
        ))
    };
    tables.iter().flat_map(|table| [note(table), blind(table)]).flatten().collect()
}
