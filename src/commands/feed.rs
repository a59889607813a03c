//! `BEAR.FEED`: the change feed, which drops what others' changes in Postgres concern.
//!
//! Reply: a map of kind (`bear.feed`), state (off, starting, following, lost, not allowed), behind (0 or 1: entries that
//! depend on it are not served), told_ms (how long ago all that had been committed was told; nil: never), position (in the
//! WAL), lag_bytes, lag_ms (from the commit to the drop, the last time), connects, losses (how often it followed and was lost), transactions, rows, withheld (queries that
//! were fetched though cached), last_error, covered and not_covered (tables; for the latter why, and what to do), notes (what
//! would be more exact), and unmapped (what queries read that no section maps). O(N) in the tables. Errors: ERR (wrong words).

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
            report(ctx.reply(), server);
            Ok(())
        });
    }
}

fn report(reply: Replier, server: &Server) {
    let feed = server.feed();
    let number = |name: &str, value: u64| {
        reply.text(name);
        reply.integer(value as i64);
    };
    reply.map(17);
    reply.text("kind");
    reply.text(server.feed_kind());
    reply.text("state");
    reply.text(feed.state().name());
    number("behind", feed.behind.into());
    reply.text("told_ms");
    match feed.told_ago() {
        Some(ago) => reply.integer(ago.as_millis() as i64),
        None => reply.null(),
    }
    reply.text("position");
    reply.text(&feed.position_text());
    number("lag_bytes", feed.lag_bytes);
    number("lag_ms", feed.lag_us / 1000);
    number("connects", feed.connects);
    number("losses", feed.losses());
    number("transactions", feed.transactions);
    number("rows", feed.rows);
    number("withheld", feed.withheld);
    reply.text("last_error");
    match &feed.last_error {
        Some(error) => reply.text(error),
        None => reply.null(),
    }
    let (covered, not_covered): (Vec<&TableCoverage>, Vec<_>) =
        feed.coverage.iter().partition(|table| matches!(table.state, Coverage::Covered { .. }));
    reply.text("covered");
    let covered: Vec<&str> = covered.iter().map(|table| &*table.table).collect();
    reply.texts(&covered);
    for (name, notes) in [("not_covered", not_covered_notes(&not_covered)), ("notes", notes(&feed.coverage))] {
        reply.text(name);
        reply.texts(&notes);
    }
    reply.text("unmapped");
    reply.texts(&server.checked().warnings);
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
    tables.iter().filter_map(note).collect()
}
