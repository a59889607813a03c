//! BEAR.REMOVE of a claimed job that nobody holds, or of a record; and the records of jobs that are enqueued again.

use std::sync::Arc;
use std::time::Instant;

use smallvec::SmallVec;

use super::space::WorkSpace;
use crate::core::claims::outcome::{completed_fields, read_completed};
use crate::core::claims::record::WorkRecord;
use crate::core::jobs::job_id::JobId;
use crate::core::jobs::record;
use crate::keyspace::{claims as keys, jobs};
use crate::redis_api::{Answer, Context, KeyType};
use crate::server::Server;

impl Server {
    /// Removes a job that stands in the stream, and replies 1.
    pub(in crate::server) fn remove_work(&mut self, ctx: Context, name: &Arc<str>, id: JobId) -> Result<(), String> {
        self.when_loaded(ctx, name, true, move |server, ctx, name| {
            let space = server.claims.spaces.get(name);
            if let Some(text) = space.and_then(|space| space.wrong_type.clone()) {
                return Err(text);
            }
            if let Some(claim) = space.and_then(|space| space.queue.claim(id)) {
                let (worker, _) = server.claims.workers.of(claim.worker);
                return Err(format!(
                    "ERR job {id} is active: '{worker}' holds it; BEAR.CANCEL {name} {id} tells it to end"
                ));
            }
            Ok(Answer::Integer(server.drop_work(ctx, name, id).into()))
        })
    }

    /// A waiting or delayed job goes, without a record.
    fn drop_work(&mut self, ctx: Context, name: &Arc<str>, id: JobId) -> bool {
        let catalog = self.catalog.clone();
        let Some(space) = self.claims.spaces.get_mut(name) else { return false };
        let section = catalog.section(space.section.as_bytes()).map(|(_, section)| section);
        if let Some(facts) = section.and_then(|section| space.entry_facts(ctx, section, id)) {
            space.queue.remove(&facts);
        }
        let cost = keys::entry(ctx, &space.keys.work, id, |fields| {
            WorkRecord::read(fields).map_or(0, |record| record::cost(record.name, record.data, record.options.unique))
        });
        if keys::delete(ctx, &space.keys.work, &[id]) == 0 {
            return false;
        }
        space.jobs = jobs::len(ctx, &space.keys.work);
        space.bytes = if space.jobs == 0 { 0 } else { space.bytes.saturating_sub(cost.unwrap_or(0)) };
        keys::undelay(ctx, &space.keys.delayed, &[id]);
        for key in [&space.keys.attempts, &space.keys.progress, &space.keys.data] {
            keys::forget(ctx, key, &[id]);
        }
        space.tried.remove(&id);
        space.updated.remove(&id);
        space.in_progress.remove(&id);
        if let Some(unique) = space.uniques.remove(&id) {
            jobs::remove_from(ctx, c"ZREM", &space.shared.unique, &[&unique]);
            jobs::remove_from(ctx, c"HDEL", &space.shared.unique_jobs, &[&unique]);
        }
        space.drop_log(ctx, id);
        for client in self.queues.waiters.take(name, id) {
            self.answers.push_back((client, Answer::Error(format!("ERR job {id} was removed").into())));
        }
        self.claims_changed(name);
        self.arm_soon();
        true
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
            space.drop_log(ctx, id);
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
        space.drop_log(ctx, id);
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
}

impl WorkSpace {
    /// The log of a job, wherever it is from.
    fn drop_log(&mut self, ctx: Context, id: JobId) {
        self.logged.remove(&id);
        let log = self.keys.log(id);
        if KeyType::of(ctx, &log).is_some() {
            jobs::write(ctx, c"DEL", &[&log]);
        }
    }
}
