//! `BEAR.EXPLAIN space word …`: what is known of a call.
//!
//! Reply: a map (RESP2: a flat array) of key, query, sql, params, cached, ttl_ms, stale_ms, stale, bytes, stored_bytes,
//! rows, tags, dropped_by, rules, lists, values, page, fetch_us.
//! O(N) in the metadata of the entry, of which some hundred are looked at: of a result of more rows, `dropped_by` counts
//! the others as rows, and `tags` may lack some. Nothing is replicated.
//! Errors: ERR (wrong words), TOOLARGE (too many words).

use super::cursor::Cursor;
use crate::core::calls::keys::{self, KeyKind, Metadata, Row};
use crate::core::calls::predicate::Predicate;
use crate::core::catalog::{OnRule, Query, Section};
use crate::redis_api::{ArgKind, ArgSpec, Args, Command, CommandSpec, Context, KeyAccess};
use crate::server::{self, Explained};

pub struct Explain;

/// Rows named in `dropped_by`; the others are counted.
const NAMED_ROWS: usize = 20;

impl Command for Explain {
    const SPEC: CommandSpec = CommandSpec {
        name: c"bear.explain",
        flags: c"readonly",
        categories: c"read",
        tips: c"nondeterministic_output",
        arity: -3,
        key: KeyAccess::Read,
        summary: c"Shows a call's key, SQL and parameters, whether it is cached, and what would drop it.",
        complexity: c"O(N) with N the rows and tags of the cached result.",
        args: &[ArgSpec::new(c"space", ArgKind::Key), ArgSpec::new(c"word", ArgKind::Text).multiple()],
    };

    fn run(ctx: Context, args: Args) {
        server::serve(ctx, |server| {
            let mut cursor = Cursor::new(args);
            let space = cursor.next("the space")?;
            let explained = server.explain(ctx, space, &cursor.rest()?)?;
            reply(ctx, &explained);
            Ok(())
        });
    }
}

fn reply(ctx: Context, explained: &Explained) {
    let call = &explained.call;
    let section = &call.catalog.sections[call.section];
    let query = &section.queries[call.query];
    let reply = ctx.reply();
    reply.map(20);
    reply.text("key");
    reply.bytes(&call.key);
    reply.text("query");
    reply.text(query.call.text());
    reply.text("kind");
    reply.text(if query.computed().is_some() { "value" } else { "query" });
    reply.text("sql");
    match query.plan() {
        Some(plan) => reply.text(&plan.sql),
        None => reply.null(),
    }
    reply.text("params");
    let params = call.params();
    reply.array(params.len());
    for param in &params {
        match param {
            Some(text) => reply.text(text),
            None => reply.null(),
        }
    }
    reply.text("cached");
    reply.boolean(explained.cached);
    let optional = |name: &str, value: Option<i64>| {
        reply.text(name);
        match value {
            Some(value) => reply.integer(value),
            None => reply.null(),
        }
    };
    optional("ttl_ms", explained.ttl_ms);
    optional("stale_ms", explained.stale_ms);
    reply.text("stale");
    match explained.stale {
        Some(stale) => reply.boolean(stale),
        None => reply.null(),
    }
    optional("lease_ms", explained.lease_ms);
    optional("bytes", explained.bytes.map(|bytes| bytes as i64));
    optional("stored_bytes", explained.stored_bytes.map(|bytes| bytes as i64));
    optional("rows", explained.rows.map(i64::from));
    reply.text("tags");
    reply.texts(&tags(explained));
    reply.text("dropped_by");
    reply.texts(&dropped_by(explained));
    reply.text("rules");
    reply.texts(&rules(&call.catalog.sections, call.section, query));
    reply.text("lists");
    reply.map(explained.listed.len());
    for (name, linked) in &explained.listed {
        optional(name, linked.as_ref().map(|linked| linked.count as i64));
    }
    reply.text("values");
    let linked = || explained.listed.iter().filter_map(|(name, linked)| Some((name, linked.as_ref()?)));
    reply.map(linked().count());
    for (name, linked) in linked() {
        reply.text(name);
        reply.texts(&linked.first);
    }
    reply.text("page");
    reply.map(explained.last.len());
    for (column, value) in &explained.last {
        reply.text(column);
        match value {
            Some(value) => reply.text(value),
            None => reply.null(),
        }
    }
    optional("fetch_us", explained.took_us.map(i64::from));
}

/// Which changes drop it beside those of the rows that it lists.
fn rules(sections: &[Section], own: usize, query: &Query) -> Vec<String> {
    let of = |section: usize, predicate: Option<&Predicate>| match predicate {
        Some(predicate) => format!("{} where {predicate}", sections[section].name),
        None => format!("{}, any change", sections[section].name),
    };
    let others = query.on.iter().map(|on| match &on.rule {
        OnRule::Any => of(on.section, None),
        OnRule::Rows(predicate) => of(on.section, Some(predicate)),
    });
    std::iter::once(of(own, query.match_.as_deref())).chain(others).collect()
}

fn tags(explained: &Explained) -> Vec<String> {
    let kinds = explained.metas.iter().map(|(_, call)| keys::classify(call));
    let tags = kinds.filter_map(|kind| match kind {
        KeyKind::Metadata(Metadata::Tag(tag)) => Some(String::from_utf8_lossy(tag).into_owned()),
        KeyKind::Metadata(Metadata::Row(_)) | KeyKind::Queue | KeyKind::Lock | KeyKind::Other => None,
    });
    tags.collect()
}

/// What BEAR.INVALIDATE would drop the entry by, beside QUERY, PATTERN and ALL.
fn dropped_by(explained: &Explained) -> Vec<String> {
    let mut by = Vec::new();
    let mut rows = 0;
    for (space, set) in &explained.metas {
        match keys::classify(set) {
            KeyKind::Metadata(Metadata::Row(Row::Any)) => by.push(format!("{space} ROW, any")),
            KeyKind::Metadata(Metadata::Row(Row::Id(id))) => {
                rows += 1;
                if rows <= NAMED_ROWS {
                    by.push(format!("{space} ROW {}", String::from_utf8_lossy(&id)));
                }
            }
            KeyKind::Metadata(Metadata::Tag(tag)) => by.push(format!("{space} TAG {}", String::from_utf8_lossy(tag))),
            KeyKind::Queue | KeyKind::Lock | KeyKind::Other => {}
        }
    }
    let more = rows.saturating_sub(NAMED_ROWS) + explained.more_metas;
    if more > 0 {
        by.push(format!("{more} more rows"));
    }
    by
}
