//! Claimed jobs that wait, or are delayed, leave the queue undone: with all that names them, and their UNIQUE keys are free.
//! BEAR.REMOVE of one of them; BEAR.CLEAN does so with many.

use std::sync::Arc;

use super::leave::Leaving;
use super::space::WorkSpace;
use crate::core::claims::record::WorkRecord;
use crate::core::inbox::tell::Telling;
use crate::core::jobs::job_id::JobId;
use crate::core::jobs::record;
use crate::keyspace::claims as keys;
use crate::redis_api::{Answer, Context};
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
            Ok(Answer::Integer(server.take_out_work(ctx, name, &[id]) as i64))
        })
    }

    /// Takes these jobs out of a space that has been read; those that are claimed, or not there, are passed over. Who waits
    /// for one is told. Returns how many there were.
    pub(in crate::server) fn take_out_work(&mut self, ctx: Context, name: &Arc<str>, ids: &[JobId]) -> usize {
        let catalog = self.catalog.clone();
        let Some(space) = self.claims.spaces.get_mut(name) else { return 0 };
        let Some((_, section)) = catalog.section(space.section.as_bytes()) else { return 0 };
        let mut leaving = Leaving::default();
        let mut tellings = Vec::new();
        for id in ids {
            if space.queue.claim(*id).is_some() || keys::entry(ctx, &space.keys.work, *id, |_| ()).is_none() {
                continue;
            }
            // None: an entry that another hand wrote, or a newer module.
            let facts = space.entry_facts(ctx, section, *id);
            if let Some(facts) = &facts {
                space.queue.remove(facts);
            }
            space.bytes = space.bytes.saturating_sub(space.cost_of(ctx, *id));
            space.forget_log(ctx, *id);
            tellings.extend(id.inbox().map(|_| (*id, Telling::Done)));
            leaving.add(space, *id, facts.is_some_and(|facts| facts.due_ms.is_some()));
            for client in self.queues.waiters.take(name, *id) {
                self.answers.push_back((client, Answer::Error(format!("ERR job {id} was removed").into())));
            }
        }
        self.inbox.settled(ctx, &space.shared, name, &tellings);
        let count = leaving.leave(ctx, space, None);
        self.claims_changed(name);
        if !self.answers.is_empty() {
            self.arm_soon();
        }
        count
    }
}

impl WorkSpace {
    /// What a queued job counts for against `bear.queue-max-bytes`.
    fn cost_of(&self, ctx: Context, id: JobId) -> u64 {
        let of_entry = keys::entry(ctx, &self.keys.work, id, |fields| {
            let record = WorkRecord::read(fields).ok()?;
            Some(record::cost(record.name, record.data, record.options.unique))
        });
        of_entry.flatten().unwrap_or(0) + self.updated_len(ctx, id)
    }

    /// Bytes of the payload that BEAR.UPDATE gave to a job.
    pub(super) fn updated_len(&self, ctx: Context, id: JobId) -> u64 {
        let len = self.updated.contains(&id).then(|| keys::get(ctx, &self.keys.data, id, |data| data.len() as u64));
        len.flatten().unwrap_or(0)
    }
}
