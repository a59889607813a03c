//! Records of claimed jobs that have settled: found, and taken away by BEAR.REMOVE and BEAR.RETRY. A master knows where each
//! stands, a replica searches for it.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Instant;

use smallvec::SmallVec;

use super::report::of_record;
use crate::core::claims::outcome::{completed_fields, read_completed, read_failed};
use crate::core::jobs::job_id::JobId;
use crate::core::jobs::record::get;
use crate::keyspace::claims::{self as keys, WorkKeys};
use crate::keyspace::jobs::{self, LAST};
use crate::redis_api::{Context, Direction, Fields, Value};
use crate::server::Server;

/// What is known of a claimed job that does not stand in the stream.
pub enum SettledWork {
    /// Its map.
    Found(Value),
    /// It has no record.
    Nowhere,
    /// There are records, and nobody has looked through them yet.
    Unknown,
}

/// A search among records, in slices.
pub struct WorkSearch {
    id: JobId,
    /// The failed ones first, which are fewer.
    in_failed: bool,
    from: JobId,
}

impl WorkSearch {
    pub fn new(id: JobId) -> WorkSearch {
        WorkSearch { id, in_failed: true, from: JobId::ZERO }
    }
}

impl Server {
    /// Looks for a record without a search.
    pub(in crate::server) fn settled_work(&self, ctx: Context, name: &Arc<str>, id: JobId) -> SettledWork {
        let Some(space) = self.claims.spaces.get(name).filter(|_| self.is_master()) else {
            let keys = WorkKeys::new(&self.prefix_of(name));
            let is_empty = jobs::len(ctx, &keys.completed) == 0 && jobs::len(ctx, &keys.failed) == 0;
            return if is_empty { SettledWork::Nowhere } else { SettledWork::Unknown };
        };
        if space.loading.is_some() {
            return SettledWork::Unknown;
        }
        let completed = || {
            let entry = space.kept.find(id)?;
            keys::entry(ctx, &space.keys.completed, entry, |fields| completed_report(id, fields))?
        };
        let failed = || {
            let entry = space.kept_failed.find(id)?;
            keys::entry(ctx, &space.keys.failed, entry, |fields| self.failed_work_report(name, id, fields))?
        };
        failed().or_else(completed).map_or(SettledWork::Nowhere, SettledWork::Found)
    }

    /// Goes on until the deadline; while it is unknown whether there is a record, there is more to do.
    pub(in crate::server) fn search_work(
        &mut self,
        ctx: Context,
        name: &Arc<str>,
        search: &mut WorkSearch,
        deadline: Instant,
    ) -> SettledWork {
        if self.is_master() && self.claims.spaces.contains_key(name) {
            self.load_work(ctx, name, deadline);
            return self.settled_work(ctx, name, search.id);
        }
        let keys = WorkKeys::new(&self.prefix_of(name));
        loop {
            let (mut found, mut is_through) = (None, true);
            let key = if search.in_failed { &keys.failed } else { &keys.completed };
            jobs::walk(ctx, key, Direction::Forward, (search.from, LAST), &mut |entry, fields| {
                found = match search.in_failed {
                    true => self.failed_work_report(name, search.id, fields),
                    false => completed_report(search.id, fields),
                };
                search.from = entry.next().unwrap_or(LAST);
                is_through = found.is_none() && Instant::now() < deadline;
                if is_through {
                    ControlFlow::Continue(())
                } else {
                    ControlFlow::Break(())
                }
            });
            match found {
                Some(report) => return SettledWork::Found(report),
                None if !is_through => return SettledWork::Unknown,
                None if search.in_failed => (search.in_failed, search.from) = (false, JobId::ZERO),
                None => return SettledWork::Nowhere,
            }
        }
    }

    /// Where the records of failed jobs stand; None as long as they are being read.
    pub(in crate::server) fn failed_work_entries<'a>(
        &mut self,
        ctx: Context,
        name: &Arc<str>,
        ids: impl Iterator<Item = &'a JobId>,
        deadline: Instant,
    ) -> Option<Vec<JobId>> {
        if self.claims.spaces.contains_key(name) && !self.load_work(ctx, name, deadline) {
            return None;
        }
        let space = self.claims.spaces.get(name);
        Some(ids.filter_map(|id| space?.kept_failed.find(*id)).collect())
    }

    /// Records of failed jobs go, with the logs of these. Returns how many there were.
    pub(in crate::server) fn forget_failed_work(&mut self, ctx: Context, name: &str, entries: &[JobId]) -> usize {
        let Some(space) = self.claims.spaces.get_mut(name) else { return 0 };
        if entries.is_empty() {
            return 0;
        }
        for id in entries.iter().flat_map(|entry| space.kept_failed.remove(*entry)).collect::<Vec<_>>() {
            space.forget_log(ctx, id);
        }
        keys::delete(ctx, &space.keys.failed, entries)
    }

    /// The record of a completed job goes. Those that were written with it are written anew, for entries do not change.
    pub(in crate::server) fn forget_completed_work(&mut self, ctx: Context, name: &str, id: JobId) -> bool {
        let Some(space) = self.claims.spaces.get_mut(name) else { return false };
        let Some(entry) = space.kept.find(id) else { return false };
        let read = keys::entry(ctx, &space.keys.completed, entry, |fields| {
            let (name, jobs) = read_completed(fields).ok()?;
            let others = jobs.iter().filter(|(of, _)| *of != id).map(|(of, record)| (*of, Box::<[u8]>::from(*record)));
            Some((Arc::<str>::from(String::from_utf8_lossy(name)), others.collect::<Vec<_>>()))
        });
        let Some((kind, others)) = read.flatten() else { return false };
        keys::delete(ctx, &space.keys.completed, &[entry]);
        space.kept.remove(entry);
        space.forget_log(ctx, id);
        if !others.is_empty() {
            let texts: Vec<_> = others.iter().map(|(of, _)| of.text()).collect();
            let records = texts.iter().zip(&others).map(|(text, (_, record))| (text, &**record));
            let fields = completed_fields(kind.as_bytes(), records);
            if let Some(anew) = jobs::append(ctx, &space.keys.completed, &fields) {
                let ids: SmallVec<[JobId; 1]> = others.iter().map(|(of, _)| *of).collect();
                let bytes = others.iter().map(|(_, record)| record.len() as u64).sum();
                space.kept.written(anew, &kind, &ids, bytes, entry.ms);
            }
        }
        true
    }

    pub(in crate::server) fn completed_work_report(&self, id: JobId, record: &[u8]) -> Value {
        of_record(id, "completed", record, None)
    }

    /// The map of the failed job that an entry holds, if it is this one.
    pub(in crate::server) fn failed_work_report(&self, name: &str, id: JobId, fields: &Fields) -> Option<Value> {
        let failed = read_failed(fields).ok().filter(|failed| failed.id == id)?;
        let section = self.section_of(name).and_then(|section| self.catalog.sections.get(section));
        let spec = section.and_then(|section| section.claimed_job(failed.name)).map(|of| of.claim);
        Some(of_record(id, "failed", failed.record, Some((failed.options, spec))))
    }
}

/// The map of one of the completed jobs that an entry holds.
fn completed_report(id: JobId, fields: &Fields) -> Option<Value> {
    get(fields, id.text().as_bytes()).map(|record| of_record(id, "completed", record, None))
}
