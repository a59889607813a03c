//! `BEAR.CATALOG [section]`: what is loaded.
//!
//! Reply: without a section, a map of file, checked, errors, warnings and sections (names); with one, a map of its
//! settings, queries and jobs. O(N) in what is shown. Nothing is replicated. Errors: ERR (unknown section).

use std::collections::BTreeMap;

use super::cursor::Cursor;
use crate::core::catalog::claim::{Backoff, ClaimSpec, Keep, Limit, Limits, OpenJobs};
use crate::core::catalog::fetch_plan::FetchPlan;
use crate::core::catalog::job::{Job, Order};
use crate::core::catalog::life::Life;
use crate::core::catalog::lists::PageSize;
use crate::core::catalog::slots;
use crate::core::catalog::{Computed, OnRule, Query, Section};
use crate::core::feed::{Coverage, TableCoverage};
use crate::core::prove::claims::{Proof, Standing};
use crate::core::values::duration;
use crate::core::values::value::shorten;
use crate::postgres::JobHints;
use crate::redis_api::{ArgKind, ArgSpec, Args, Command, CommandSpec, Context, KeyAccess, Replier};
use crate::server::{self, reload::CheckState, Server};

pub struct Catalog;

/// Queries and jobs of a section that are shown at once; of a larger one the reply is written aside.
const AT_ONCE: usize = 100;

impl Command for Catalog {
    const SPEC: CommandSpec = CommandSpec {
        name: c"bear.catalog",
        flags: c"readonly",
        categories: c"read",
        tips: c"nondeterministic_output request_policy:all_shards response_policy:special",
        arity: -1,
        key: KeyAccess::None,
        summary: c"Lists the loaded catalog: its sections, or one section's queries and jobs.",
        complexity: c"O(N) with N the sections, queries and jobs shown.",
        args: &[ArgSpec::new(c"section", ArgKind::Text).optional()],
    };

    fn run(ctx: Context, args: Args) {
        server::serve(ctx, |server| {
            let mut cursor = Cursor::new(args);
            if args.len() == 1 {
                all(ctx.reply(), server);
                return Ok(());
            }
            let name = cursor.next("the section")?;
            cursor.finish()?;
            let catalog = server.catalog().clone();
            match catalog.section(name) {
                Some((index, found)) if found.queries.len() + found.jobs.len() > AT_ONCE => {
                    let (sections, proofs) = (catalog.sections.clone(), server.checked().proofs.clone());
                    let (coverage, jobs) = (server.feed().coverage.clone(), server.checked().hints.clone());
                    let in_cluster = server.is_in_cluster();
                    server.reply_aside(ctx, move |reply| {
                        let of =
                            Of { sections: &sections, proofs: &proofs, coverage: &coverage, jobs: &jobs, in_cluster };
                        section(reply, of, &sections[index]);
                    });
                }
                Some((_, found)) => {
                    let (checked, coverage) = (server.checked(), &server.feed().coverage);
                    let of = Of {
                        sections: &catalog.sections,
                        proofs: &checked.proofs,
                        coverage,
                        jobs: &checked.hints,
                        in_cluster: server.is_in_cluster(),
                    };
                    section(ctx.reply(), of, found);
                }
                None => {
                    let names = catalog.sections.iter().map(|section| section.name.as_ref());
                    let mut names: Vec<&str> = names.take(AT_ONCE).collect();
                    if catalog.sections.len() > AT_ONCE {
                        names.push("…");
                    }
                    let name = shorten(name);
                    return Err(format!("ERR no section '{name}'; there are: {}", names.join(", ")));
                }
            }
            Ok(())
        });
    }
}

fn all(reply: Replier, server: &Server) {
    let checked = server.checked();
    reply.map(5);
    reply.text("file");
    reply.text(&checked.file);
    reply.text("checked");
    reply.text(match checked.state {
        // Looked at again: what was said of it is in force.
        _ if checked.is_derived => "yes",
        CheckState::Waiting => "Postgres has not answered yet",
        CheckState::Running => "being checked",
        CheckState::Done => "yes",
    });
    reply.text("errors");
    reply.texts(&checked.errors);
    reply.text("warnings");
    let warnings: Vec<&String> = checked.warnings.iter().chain(&checked.links).collect();
    reply.texts(&warnings);
    reply.text("sections");
    let names: Vec<&str> = server.catalog().sections.iter().map(|section| section.name.as_ref()).collect();
    reply.texts(&names);
}

/// What is known beside a section.
#[derive(Clone, Copy)]
struct Of<'a> {
    sections: &'a [Section],
    /// By the ids of plans.
    proofs: &'a BTreeMap<u64, Proof>,
    /// How the feed follows tables.
    coverage: &'a [TableCoverage],
    jobs: &'a JobHints,
    in_cluster: bool,
}

fn section(reply: Replier, of: Of, section: &Section) {
    reply.map(12 + LIFE_FIELDS);
    reply.text("section");
    reply.text(&section.name);
    reply.text("id");
    optional_text(reply, section.id.map(|id| id.name()));
    reply.text("tenant");
    optional_text(reply, section.tenant.map(|tenant| tenant.name()));
    reply.text("tenant_column");
    optional_text(reply, section.tenant_column.as_deref());
    reply.text("group");
    optional_text(reply, section.group.as_deref());
    life(reply, &section.life);
    reply.text("tables");
    let tables: Vec<&str> = section.tables.iter().map(|table| table.name.as_ref()).collect();
    reply.texts(&tables);
    reply.text("queries");
    let of_sql = || section.queries.iter().filter_map(|query| Some((query, query.plan()?)));
    reply.array(of_sql().count());
    for (one, plan) in of_sql() {
        query(reply, of, section, one, plan);
    }
    reply.text("values");
    let values = || section.queries.iter().filter_map(|query| Some((query, query.computed()?)));
    reply.array(values().count());
    for (one, computed) in values() {
        value(reply, of.sections, one, computed);
    }
    reply.text("jobs");
    reply.array(section.jobs.len());
    for one in &section.jobs {
        job(reply, one, of.jobs.get(&(section.name.clone(), one.name.clone())));
    }
    reply.text("limit");
    limits(reply, &section.limits);
    reply.text("named_limits");
    reply.array(section.named_limits.len());
    for limit in &section.named_limits {
        reply.map(3);
        reply.text("name");
        reply.text(&limit.name);
        reply.text("burst");
        reply.integer(limit.burst as i64);
        reply.text("rate");
        reply.text(&limit.rate.to_string());
    }
    reply.text("open");
    match &section.open {
        Some(jobs) => open(reply, jobs),
        None => reply.null(),
    }
}

/// Those that there are.
fn limits(reply: Replier, limits: &Limits) {
    let all = Some((None, limits.all)).filter(|_| limits.all != Limit::default());
    let by = limits.by.as_ref().map(|(field, limit)| (Some(field.as_ref()), *limit));
    let both = || all.into_iter().chain(by);
    reply.array(both().count());
    for (by, limit) in both() {
        reply.map(3);
        reply.text("by");
        optional_text(reply, by);
        reply.text("concurrency");
        match limit.concurrency {
            Some(concurrency) => reply.integer(concurrency.into()),
            None => reply.null(),
        }
        reply.text("rate");
        optional_text(reply, limit.rate.map(|rate| rate.to_string()).as_deref());
    }
}

fn open(reply: Replier, jobs: &OpenJobs) {
    reply.map(2);
    reply.text("claim");
    claim(reply, &jobs.claim);
    reply.text("order");
    reply.texts(&jobs.order);
}

fn claim(reply: Replier, claim: &ClaimSpec) {
    reply.map(7);
    reply.text("lease_ms");
    reply.integer(claim.lease_ms as i64);
    reply.text("attempts");
    reply.integer(claim.attempts.into());
    reply.text("backoff");
    match &claim.backoff {
        Backoff::Exponential { base_ms } => reply.text(&duration::to_text(*base_ms)),
        Backoff::Steps(steps) => {
            let steps: Vec<String> = steps.iter().map(|step_ms| duration::to_text(*step_ms)).collect();
            reply.texts(&steps);
        }
    }
    reply.text("jitter_percent");
    reply.integer((claim.jitter * 100.0).round() as i64);
    reply.text("priority");
    reply.integer(claim.priority.into());
    for (name, kept) in [("keep", claim.keep), ("keep_failed", claim.keep_failed)] {
        reply.text(name);
        match kept {
            Keep::Default => reply.null(),
            Keep::Jobs(jobs) => reply.integer(jobs as i64),
            Keep::AgeMs(age_ms) => reply.text(&duration::to_text(age_ms)),
        }
    }
}

fn value(reply: Replier, sections: &[Section], query: &Query, computed: Computed) {
    reply.map(7 + LIFE_FIELDS);
    reply.text("call");
    reply.text(query.call.text());
    reply.text("type");
    reply.text(computed.kind.name());
    reply.text("lease_ms");
    reply.integer(computed.lease_ms as i64);
    life(reply, &query.life);
    compress(reply, query);
    dependencies(reply, sections, query);
}

fn query(reply: Replier, of: Of, own: &Section, query: &Query, plan: &FetchPlan) {
    let proof = of.proofs.get(&plan.id);
    reply.map(15 + LIFE_FIELDS);
    reply.text("call");
    reply.text(query.call.text());
    reply.text("sql");
    reply.text(&plan.sql);
    life(reply, &query.life);
    compress(reply, query);
    reply.text("rewarm_ms");
    reply.integer(query.rewarm.map_or(0, |span| span.as_millis() as i64));
    reply.text("single");
    reply.boolean(query.single);
    reply.text("rows");
    reply.boolean(query.rows);
    dependencies(reply, of.sections, query);
    reply.text("lists");
    reply.map(plan.lists.len());
    for list in &plan.lists {
        reply.text(&list.name);
        reply.text(&list.sql);
    }
    reply.text("reads");
    let reads = || query.reads.iter().flat_map(|reads| reads.sections());
    reply.map(reads().count());
    for (section, columns) in reads() {
        reply.text(section);
        reply.texts(columns);
    }
    reply.text("page");
    match query.page {
        None => reply.null(),
        Some(PageSize::Rows(rows)) => reply.integer(rows as i64),
        Some(PageSize::Arg(index)) => {
            reply.text(&query.call.args().get(index).map_or_else(String::new, |arg| format!("{{{}}}", arg.name)))
        }
    }
    reply.text("hints");
    reply.texts(&hints(of, own, query));
    // Nothing is known before Postgres has seen the statement, but what its author says.
    reply.text("proof");
    let trusted = query.trust.as_deref().map(|_| Standing::Trusted.name());
    optional_text(reply, trusted.or(proof.map(|proof| proof.standing.name())));
    reply.text("reasons");
    match (&query.trust, proof) {
        (Some(trust), _) => reply.texts(&[trust.as_ref()]),
        (None, Some(proof)) => reply.texts(&proof.reasons),
        (None, None) => reply.texts::<&str>(&[]),
    }
}

/// Why nothing of it is stored in a cluster; what of the tables that the query depends on the feed does not follow, or not exactly;
/// and what would have changes that it reads nothing of drop nothing of it.
fn hints(of: Of, own: &Section, query: &Query) -> Vec<String> {
    let is_on = |section: &Section| {
        let is_read = query.reads.iter().any(|reads| reads.of(section.name.as_bytes()).is_some());
        section.name == own.name || is_read || query.on.iter().any(|on| of.sections[on.section].name == section.name)
    };
    let on = of.coverage.iter().filter(|table| table.sections.iter().any(|at| of.sections.get(*at).is_some_and(is_on)));
    let untold = on.filter_map(|table| match &table.state {
        Coverage::NotCovered { why, remedy } => {
            Some(format!("what others change in '{}' is not followed: {why}; {remedy}", table.table))
        }
        Coverage::Covered { note } => Some(format!("{}: {}", table.table, note.as_ref()?)),
    });
    let reads = query.reads.iter().flat_map(|reads| reads.sections());
    let hint = |section: &str| {
        let index = of.sections.iter().position(|known| *known.name == *section);
        let tables = of.coverage.iter().filter(move |table| index.is_some_and(|index| table.sections.contains(&index)));
        tables.filter_map(|table| {
            let (table, alter) = (&table.table, table.alter.as_ref()?);
            Some(format!("an UPDATE of '{table}' counts as one of all columns, read or not: {alter}"))
        })
    };
    let elsewhere = if of.in_cluster { slots::elsewhere(of.sections, own, query) } else { Vec::new() };
    let not_stored = elsewhere.into_iter().map(|section| {
        format!("answered and not stored: rows of '{section}' are in another slot of the cluster; one group for both would put them into one")
    });
    not_stored.chain(untold).chain(reads.flat_map(|(section, _)| hint(section))).collect()
}

/// Three fields.
fn dependencies(reply: Replier, sections: &[Section], query: &Query) {
    reply.text("match");
    optional_text(reply, query.match_.as_ref().map(ToString::to_string).as_deref());
    reply.text("on");
    reply.map(query.on.len());
    for on in &query.on {
        reply.text(&sections[on.section].name);
        match &on.rule {
            OnRule::Any => reply.text("*"),
            OnRule::Rows(predicate) => reply.text(&predicate.to_string()),
        }
    }
    reply.text("tags");
    let tags: Vec<String> = query.tags.iter().map(ToString::to_string).collect();
    reply.texts(&tags);
}

fn compress(reply: Replier, query: &Query) {
    reply.text("compress_bytes");
    match query.compress {
        Some(bytes) => reply.integer(bytes as i64),
        None => reply.null(),
    }
}

/// Fields that [`life`] writes.
const LIFE_FIELDS: usize = 4;

fn life(reply: Replier, life: &Life) {
    let fields = [
        ("ttl_ms", life.ttl_ms),
        ("stale_ms", life.stale_ms),
        ("refresh_ahead_ms", life.refresh_ahead_ms),
        ("jitter_percent", life.jitter_percent.into()),
    ];
    for (name, value) in fields {
        reply.text(name);
        reply.integer(value as i64);
    }
}

fn job(reply: Replier, job: &Job, hints: Option<&Vec<String>>) {
    reply.map(5);
    reply.text("job");
    reply.text(&job.name);
    reply.text("data");
    reply.map(job.data.len());
    for field in &job.data {
        reply.text(&field.name);
        reply.text(&format!("{}{}", field.ty, if field.optional { "?" } else { "" }));
    }
    reply.text("order");
    match &job.order {
        Order::None => reply.texts::<&str>(&[]),
        Order::Fields(fields) => reply.texts(fields),
        Order::Barrier => reply.texts(&["*"]),
    }
    reply.text("claim");
    match job.claim() {
        Some(spec) => claim(reply, spec),
        None => reply.null(),
    }
    reply.text("hints");
    reply.texts(hints.map_or(&[][..], |hints| hints));
}

fn optional_text(reply: Replier, text: Option<&str>) {
    match text {
        Some(text) => reply.text(text),
        None => reply.null(),
    }
}
