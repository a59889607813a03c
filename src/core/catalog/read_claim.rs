//! Reads what a catalog says of claimed jobs: `claim` of a job or of an open section, and a section's `limit` and `open`.

use toml::{Table, Value};

use super::claim::{Backoff, ClaimSpec, Keep, Limit, Limits, OpenJobs, Rate};
use super::claimed::{check_key, check_limit_field, is_single};
use super::job::{Field, Job, Order};
use super::toml_reader::{Fields, Report};
use crate::core::values::priority::{Priority, MAX_PRIORITY};
use crate::core::values::{duration, percent};

const CLAIM_KEYS: [&str; 7] = ["lease", "attempts", "backoff", "jitter", "priority", "keep", "keep_failed"];
const LIMIT_KEYS: [&str; 3] = ["by", "concurrency", "rate"];

/// The least and the greatest, in ms.
pub(super) type Bounds = (u64, u64);

const DAY_MS: u64 = 86_400_000;
/// Of a claim: below it, what a tick may be late by would be most of the lease.
pub const MIN_LEASE_MS: u64 = 10;
const LEASE: Bounds = (MIN_LEASE_MS, DAY_MS);
pub(super) const BACKOFF: Bounds = (1, DAY_MS);
pub(super) const ATTEMPTS: (u64, u64) = (1, 100);
pub(super) const PRIORITY: (u64, u64) = (1, MAX_PRIORITY as u64);
/// More would outlive no budget of bytes.
const MAX_KEEP: u64 = 1_000_000;
const CONCURRENCY: (u64, u64) = (1, 1_000_000);
const MAX_JITTER_PERCENT: u8 = 100;

/// What claimed jobs do not have.
const BARRIER: &str = "*";
const NO_BARRIER: &str =
    "order: claimed jobs have no \"*\"; for one at a time say limit = { concurrency = 1 }, for one at a time of each value \
     order = [\"field\"]";

/// The table `claim`; what it does not say has its default.
pub(in crate::core) fn read_claim(fields: Fields<'_>, report: &mut Report) -> ClaimSpec {
    let default = ClaimSpec::DEFAULT;
    let Some(table) = fields.table("claim", report) else { return default };
    report.within("claim".to_owned(), |report| {
        let fields = Fields::new(table, &CLAIM_KEYS, report);
        let lease = fields.string("lease", report).and_then(|text| read_duration("lease", text, LEASE, report));
        let jitter = fields.string("jitter", report);
        let jitter = jitter.and_then(|text| report.keep("jitter", percent::parse(text, MAX_JITTER_PERCENT)));
        ClaimSpec {
            lease_ms: lease.unwrap_or(default.lease_ms),
            attempts: fields.integer("attempts", ATTEMPTS, report).map_or(default.attempts, |n| n as u32),
            backoff: read_backoff(fields, report).unwrap_or(default.backoff),
            jitter: jitter.map_or(default.jitter, |percent| f64::from(percent) / 100.0),
            priority: fields.integer("priority", PRIORITY, report).map_or(default.priority, |n| n as Priority),
            keep: read_keep("keep", fields, report).unwrap_or(default.keep),
            keep_failed: read_keep("keep_failed", fields, report).unwrap_or(default.keep_failed),
        }
    })
}

/// A duration within bounds.
pub(super) fn read_duration(key: &str, text: &str, (least, most): Bounds, report: &mut Report) -> Option<u64> {
    let duration_ms = report.keep(key, duration::parse_ms(text))?;
    if !(least..=most).contains(&duration_ms) {
        report.problem(format!(
            "{key} must be from {} to {}, got '{text}'",
            duration::to_text(least),
            duration::to_text(most)
        ));
        return None;
    }
    Some(duration_ms)
}

/// One duration, which doubles, or a list.
fn read_backoff<'a>(fields: Fields<'a>, report: &mut Report) -> Option<Backoff> {
    let read = |value: &'a Value| match value {
        Value::String(text) => Some((vec![text.as_str()], false)),
        Value::Array(steps) => Some((steps.iter().map(Value::as_str).collect::<Option<Vec<_>>>()?, true)),
        _ => None,
    };
    let (texts, are_steps) = fields.typed("backoff", "a duration or an array of durations", read, report)?;
    if !(1..=ATTEMPTS.1).contains(&(texts.len() as u64)) {
        report.problem(format!("backoff: from 1 to {} steps, got {}", ATTEMPTS.1, texts.len()));
        return None;
    }
    let steps: Vec<u64> = texts.iter().filter_map(|text| read_duration("backoff", text, BACKOFF, report)).collect();
    match steps[..] {
        [base_ms] if !are_steps => Some(Backoff::Exponential { base_ms }),
        _ if steps.len() < texts.len() => None,
        _ => Some(Backoff::Steps(steps.into())),
    }
}

/// A number of jobs, or an age.
fn read_keep(key: &str, fields: Fields<'_>, report: &mut Report) -> Option<Keep> {
    let read = |value: &Value| match value {
        Value::Integer(jobs) => {
            u64::try_from(*jobs).ok().filter(|jobs| *jobs <= MAX_KEEP).map(|jobs| Ok(Keep::Jobs(jobs)))
        }
        Value::String(text) => Some(duration::parse_ms(text).map(Keep::AgeMs)),
        _ => None,
    };
    let expected = format!("a whole number of jobs from 0 to {MAX_KEEP} or a duration such as \"1h\"");
    let keep = fields.typed(key, &expected, read, report)?;
    report.keep(key, keep)
}

/// The order of a claimed job: fields, or none.
pub(in crate::core) fn read_order(fields: Fields<'_>, data: &[Field], report: &mut Report) -> Order {
    let names = read_names(fields, report);
    for name in &names {
        check_order_field(name, data, report);
    }
    if names.is_empty() {
        return Order::None;
    }
    Order::Fields(names.into_iter().map(Into::into).collect())
}

/// Has the payload such a field, with a single value?
pub(in crate::core) fn check_order_field(name: &str, data: &[Field], report: &mut Report) {
    match data.iter().find(|field| &*field.name == name) {
        None if data.is_empty() => report.problem(format!("order: data has no field '{name}', nor any other")),
        None => {
            let known: Vec<_> = data.iter().map(|field| &*field.name).collect();
            report.problem(format!("order: data has no field '{name}'; it has {}", known.join(", ")));
        }
        Some(field) if !is_single(field) => {
            report.problem(format!("order: '{name}' is {}; order needs fields with a single value", field.ty));
        }
        Some(_) => {}
    }
}

fn read_names<'a>(fields: Fields<'a>, report: &mut Report) -> Vec<&'a str> {
    let names = match fields.is_string("order", BARRIER) {
        true => Some(vec![BARRIER]),
        false => fields.strings("order", report),
    };
    let names = names.unwrap_or_default();
    if names.contains(&BARRIER) {
        report.problem(NO_BARRIER);
        return Vec::new();
    }
    names
}

/// What a section says of its claimed jobs as a whole. `claimed`: what stands under `limit` of them.
pub(in crate::core) fn read_section(
    fields: Fields<'_>,
    claimed: &[Table],
    jobs: &[Job],
    report: &mut Report,
) -> (Limits, Option<OpenJobs>) {
    let open = read_open(fields, report);
    if claimed.is_empty() {
        return (Limits::default(), open);
    }
    if open.is_none() && !jobs.iter().any(|job| job.claim().is_some()) {
        report.problem(
            "limit is for claimed jobs, and the section has none: no job with claim, and no open = true; one that BEAR.LIMIT \
             asks has a name: [section.limit.NAME]",
        );
        return (Limits::default(), open);
    }
    let limits = report.within("limit".to_owned(), |report| {
        let limits = read_limits(claimed, report);
        if let Some((field, _)) = &limits.by {
            let checked = check_limit_field(jobs, open.is_some(), field);
            report.keep("by", checked);
        }
        limits
    });
    (limits, open)
}

fn read_open(fields: Fields<'_>, report: &mut Report) -> Option<OpenJobs> {
    if fields.has("open") && !fields.boolean("open", report)? {
        return refuse_open(fields, report);
    }
    if !fields.has("open") {
        return refuse_open(fields, report);
    }
    let order = read_names(fields, report);
    for name in &order {
        report.keep("order", check_key(name));
    }
    Some(OpenJobs { claim: read_claim(fields, report), order: order.into_iter().map(Into::into).collect() })
}

/// A section that is not open leaves these to its jobs.
fn refuse_open(fields: Fields<'_>, report: &mut Report) -> Option<OpenJobs> {
    for key in ["claim", "order"] {
        if fields.has(key) {
            report.problem(format!(
                "{key} of a section needs open = true; a job says it in its own table, [section.job.NAME]"
            ));
        }
    }
    None
}

/// At most one limit of the space as a whole, and one of each value of a field.
fn read_limits(tables: &[Table], report: &mut Report) -> Limits {
    let mut limits = Limits::default();
    let mut has_all = false;
    for table in tables {
        let (by, limit) = read_limit(table, report);
        match by {
            None if has_all => {
                report.problem("two without by; there is one of the space as a whole, and one by a field")
            }
            None => {
                has_all = true;
                limits.all = limit;
            }
            Some(_) if limits.by.is_some() => {
                report.problem("two with by; there is one of the space as a whole, and one by a field");
            }
            Some(field) => limits.by = Some((field.into(), limit)),
        }
    }
    limits
}

fn read_limit<'a>(table: &'a Table, report: &mut Report) -> (Option<&'a str>, Limit) {
    let fields = Fields::new(table, &LIMIT_KEYS, report);
    if fields.has("burst") {
        report.problem("burst is of a limit that BEAR.LIMIT asks, which has a name: [section.limit.NAME]");
    }
    if !fields.has("concurrency") && !fields.has("rate") {
        report.problem("concurrency or rate is missing, such as concurrency = 5 or rate = \"80/s\"");
    }
    let rate = fields.string("rate", report).and_then(|text| report.keep("rate", Rate::parse(text)));
    let concurrency = fields.integer("concurrency", CONCURRENCY, report).map(|n| n as u32);
    (fields.string("by", report), Limit { concurrency, rate })
}

#[cfg(test)]
mod tests;
