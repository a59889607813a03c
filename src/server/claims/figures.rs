//! What BEAR.STATS and INFO tell of claimed jobs. A master tells what it has counted, and looks at no job; what its memory does not
//! know yet, and what a replica tells, is what the keys say.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::space::WorkSpace;
use super::Claims;
use crate::core::catalog::claim::{Limit, Limits};
use crate::core::catalog::Section;
use crate::core::claims::claim_record::ClaimRecord;
use crate::core::claims::queue::Counts;
use crate::core::claims::record::{Total, Totals};
use crate::core::claims::set_limits::SetLimits;
use crate::core::metrics::figures;
use crate::keyspace::claims::{self as keys, WorkKeys};
use crate::keyspace::jobs;
use crate::redis_api::{Context, Value};
use crate::server::Server;

/// Workers, and job types, that a reply tells of.
const LISTED: usize = 500;

/// Of one space.
pub struct WorkFigures {
    pub counts: Counts,
    /// The Unix time at which the oldest job was enqueued.
    pub oldest_ms: Option<u64>,
    pub rate: u64,
    pub bytes: u64,
    pub completed: u64,
    pub failed_kept: u64,
    /// What only claimed jobs have.
    pub own: Vec<(&'static str, Value)>,
}

fn number(number: u64) -> Value {
    Value::Integer(number as i64)
}

fn or_nil(value: Option<u64>) -> Value {
    value.map_or(Value::Null, number)
}

impl Server {
    pub(in crate::server) fn work_figures(&self, ctx: Context, name: &str, section: &Section) -> WorkFigures {
        let space = self.claims.spaces.get(name).filter(|_| self.is_master()).map(AsRef::as_ref);
        let loaded = space.filter(|space| space.is_loaded());
        // Also all of its records.
        let known = space.filter(|space| space.loading.is_none());
        let keys = WorkKeys::new(&self.prefix_of(name));
        let counts = loaded.map_or_else(|| counts_of(ctx, &keys), |space| space.queue.counts());
        let now_ms = self.claims.now_ms();
        let totals = match space {
            Some(space) => space.totals,
            None => Totals::read(keys::as_slices(&keys::all_fields(ctx, &keys.totals))),
        };
        let total = |total| number(totals.get(total));
        let failed_kept = known.map_or_else(|| jobs::len(ctx, &keys.failed), |space| space.kept_failed.len() as u64);
        let set = match space {
            Some(space) => space.set_limits.clone(),
            None => SetLimits::read(keys::as_slices(&keys::all_fields(ctx, &keys.limits))),
        };
        let own = vec![
            ("claims", number(counts.claimed)),
            ("claimed", total(Total::Claimed)),
            ("expired", total(Total::Expired)),
            ("released", total(Total::Released)),
            ("lost", or_nil(space.map(|space| space.lost))),
            ("completed_kept", or_nil(known.map(|space| space.kept.len() as u64))),
            ("failed_kept", number(failed_kept)),
            ("failed_total", total(Total::Failed)),
            ("workers", loaded.map_or_else(|| workers_by_keys(ctx, &keys), |space| self.workers_of(space, now_ms))),
            ("limits", limits(&set.over(&section.limits), set != SetLimits::default())),
            ("jobs", loaded.map_or(Value::Null, |space| types_of(space, section))),
            ("loading", number(space.is_some_and(|space| space.loading.is_some()).into())),
        ];
        WorkFigures {
            counts,
            oldest_ms: jobs::oldest(ctx, &keys.work).map(|id| id.ms),
            rate: space.map_or(0, |space| space.rate.per_second(now_ms)),
            bytes: space.map_or(0, |space| space.bytes),
            completed: totals.get(Total::Completed),
            failed_kept,
            own,
        }
    }

    fn workers_of(&self, space: &WorkSpace, now_ms: u64) -> Value {
        let held = space.queue.held_by();
        // Those who hold something first: no more are told than fit.
        let holders = held.keys().copied().take(LISTED);
        let seen = space.seen.workers(now_ms).filter(|worker| !held.contains_key(worker));
        let workers: BTreeSet<u32> = holders.chain(seen).take(LISTED).collect();
        let worker = |id: u32| {
            let (name, address) = self.claims.workers.of(id);
            let ago = space.seen.last_ms(id, now_ms).map(|last| now_ms.saturating_sub(last));
            worker(name, address, held.get(&id).copied().unwrap_or(0), ago)
        };
        Value::Array(workers.into_iter().map(worker).collect())
    }
}

fn worker(name: &str, address: &str, claimed: u64, ago_ms: Option<u64>) -> Value {
    Value::Map(vec![
        ("name", Value::text(name)),
        ("address", Value::text(address)),
        ("claimed", number(claimed)),
        ("last_seen", or_nil(ago_ms)),
    ])
}

/// Those who hold something; nil where these are many.
fn workers_by_keys(ctx: Context, keys: &WorkKeys) -> Value {
    if keys::field_count(ctx, &keys.claims) > LISTED as u64 {
        return Value::Null;
    }
    let mut held: BTreeMap<(String, String), u64> = BTreeMap::new();
    let records = keys::all_fields(ctx, &keys.claims);
    for record in records.iter().filter_map(|(_, record)| ClaimRecord::read(record)) {
        *held.entry((record.worker.into_owned(), record.address.into_owned())).or_default() += 1;
    }
    Value::Array(held.into_iter().map(|((name, address), held)| worker(&name, &address, held, None)).collect())
}

fn counts_of(ctx: Context, keys: &WorkKeys) -> Counts {
    let (all, claimed) = (jobs::len(ctx, &keys.work), keys::field_count(ctx, &keys.claims));
    let delayed = keys::delayed_count(ctx, &keys.delayed);
    Counts { waiting: all.saturating_sub(claimed + delayed), delayed, claimed }
}

fn limits(in_force: &Limits, is_set: bool) -> Value {
    let rate = |limit: &Limit| limit.rate.map_or(Value::Null, |rate| Value::text(rate.to_string()));
    let concurrency = |limit: &Limit| or_nil(limit.concurrency.map(u64::from));
    let by = in_force.by.as_ref();
    Value::Map(vec![
        ("concurrency", concurrency(&in_force.all)),
        ("rate", rate(&in_force.all)),
        ("by", by.map_or(Value::Null, |(field, _)| Value::text(&**field))),
        ("by_concurrency", by.map_or(Value::Null, |(_, limit)| concurrency(limit))),
        ("by_rate", by.map_or(Value::Null, |(_, limit)| rate(limit))),
        ("set", number(is_set.into())),
    ])
}

/// What is there of each job type: those that the catalog names, and those of which there is anything.
fn types_of(space: &WorkSpace, section: &Section) -> Value {
    let mut types: BTreeMap<Arc<str>, (Counts, u64, u64)> = BTreeMap::new();
    for job in section.jobs.iter().filter(|job| job.claim().is_some()) {
        types.entry((*job.name).into()).or_default();
    }
    for (name, counts) in space.queue.counts_of_types() {
        types.entry(name).or_default().0 = counts;
    }
    for (name, jobs, _) in space.kept.types() {
        types.entry(name.clone()).or_default().1 = jobs;
    }
    for (name, jobs, _) in space.kept_failed.types() {
        types.entry(name.clone()).or_default().2 = jobs;
    }
    let of_type = |(name, (counts, completed, failed)): (Arc<str>, (Counts, u64, u64))| {
        let stopped = section.claimed_job(name.as_bytes()).is_none();
        Value::Map(vec![
            ("job", Value::text(&*name)),
            ("waiting", number(counts.waiting)),
            ("active", number(counts.claimed)),
            ("delayed", number(counts.delayed)),
            ("completed_kept", number(completed)),
            ("failed_kept", number(failed)),
            ("stopped", number(stopped.into())),
        ])
    };
    Value::Array(types.into_iter().take(LISTED).map(of_type).collect())
}

impl WorkSpace {
    /// What the spaces of a section, and all of them, have together.
    pub fn figures(&self) -> [(&'static str, u64); 6] {
        let counts = self.queue.counts();
        [
            ("work_jobs", self.jobs),
            ("work_claims", counts.claimed),
            ("work_waiting", counts.waiting),
            ("work_delayed", counts.delayed),
            ("work_spaces", 1),
            ("inbox_unverified", self.unverified.len() as u64),
        ]
    }
}

impl super::WorkCounts {
    pub fn figures(&self) -> [(&'static str, u64); 8] {
        [
            ("work_enqueued", self.enqueued),
            ("work_claimed", self.claimed),
            ("work_completed", self.completed),
            ("work_failed", self.failed),
            ("work_retried", self.retried),
            ("work_released", self.released),
            ("work_expired", self.expired),
            ("work_lost", self.lost),
        ]
    }
}

impl Claims {
    /// Of all spaces that are in memory: looks at each.
    pub fn figures_of_spaces(&self) -> impl IntoIterator<Item = (&'static str, u64)> {
        figures::sum(self.spaces.values().map(|space| space.figures())).into_iter().flatten()
    }

    /// Of the server.
    pub fn figures(&self) -> [(&'static str, u64); 1] {
        [("claimers_waiting", self.waiting.len() as u64)]
    }
}
