//! BEAR.UPDATE: another payload for a job that nobody holds. Its entry in the stream stays as it is; the new payload is beside
//! it, and is what workers get, and what order and limits go by.

use std::sync::Arc;

use crate::core::catalog::claimed::ClaimedJob;
use crate::core::claims::queue::State;
use crate::core::claims::record::WorkRecord;
use crate::core::jobs::job_id::JobId;
use crate::core::jobs::payload;
use crate::core::values::value::shorten;
use crate::keyspace::claims as keys;
use crate::keyspace::jobs::{self, QueueKeys};
use crate::redis_api::{Answer, Context};
use crate::server::queues::{fingerprint, parse_id, rehold_unique, LARGE};
use crate::server::{errors, Server};

impl Server {
    /// BEAR.UPDATE.
    pub fn update_job(&mut self, ctx: Context, space_name: &[u8], id: &[u8], json: &[u8]) -> Result<(), String> {
        let name = self.work_named(ctx, space_name)?;
        let id = parse_id(id)?;
        self.check_safe()?;
        let limit = self.config.max_job_bytes as usize;
        if json.len() > limit {
            return Err(format!("TOOLARGE a payload may hold {limit} bytes (bear.max-job-bytes), got {}", json.len()));
        }
        if !self.is_claimed_job(ctx, &name, id) {
            return Err(self.not_to_update(ctx, space_name, id));
        }
        if json.len() > LARGE && !ctx.flags().cannot_block() {
            let job = self.job_type_of(ctx, &name, id).unwrap_or_default();
            let section = self.section_of(&name).ok_or("ERR no such section")?;
            if self.catalog.sections[section].claimed_job(&job).is_none() {
                return Err(no_definition(&job));
            }
            self.check_update_aside(ctx, space_name, (section, &job), json, id);
            return Ok(());
        }
        let json = json.to_vec();
        self.when_loaded(ctx, &name, true, move |server, ctx, name| {
            let mut checked = Vec::with_capacity(json.len());
            let job = server.job_type_of(ctx, name, id).ok_or_else(|| format!("ERR job {id} has settled meanwhile"))?;
            let catalog = server.catalog.clone();
            let section = server.section_of(name).ok_or("ERR no such section")?;
            let of = catalog.sections[section].claimed_job(&job).ok_or_else(|| no_definition(&job))?;
            payload::write(of.job, &json, &mut checked).map_err(errors::usage)?;
            server.update_claimed_job(ctx, name, id, of, &checked)?;
            Ok(Answer::Ok)
        })
    }

    /// The same of a payload that has been checked aside.
    pub(in crate::server) fn update_checked(
        &mut self,
        ctx: Context,
        space_name: &[u8],
        id: JobId,
        of: ClaimedJob,
        data: &[u8],
    ) -> Result<(), String> {
        let name = self.work_named(ctx, space_name)?;
        if self.claims.spaces.get(&name).is_some_and(|space| !space.is_loaded()) {
            return Err("NOWAIT the queue is still being read; try again in a moment".into());
        }
        self.update_claimed_job(ctx, &name, id, of, data)
    }

    fn update_claimed_job(
        &mut self,
        ctx: Context,
        name: &Arc<str>,
        id: JobId,
        of: ClaimedJob,
        data: &[u8],
    ) -> Result<(), String> {
        let (catalog, limits) = (self.catalog.clone(), self.limits());
        let held = self.queues.held(name);
        let gone = || format!("ERR job {id} has settled meanwhile");
        let Some(space) = self.claims.spaces.get_mut(name) else { return Err(gone()) };
        let (_, section) = catalog.section(space.section.as_bytes()).ok_or("ERR no such section")?;
        let state = space.queue.state(id);
        if state == State::Claimed {
            return Err(format!("ERR job {id} is active: a worker holds it with the payload that it was given"));
        }
        let before = space.entry_facts(ctx, section, id).ok_or_else(gone)?;
        let old_len = space.updated_len(ctx, id);
        let new_len = data.len() as u64;
        limits.check((space.jobs + held.0, space.bytes.saturating_sub(old_len) + held.1), 0, new_len)?;
        let read = keys::entry(ctx, &space.keys.work, id, |fields| {
            let record = WorkRecord::read(fields).ok()?;
            let unique = record.options.unique.map(Box::<[u8]>::from);
            Some((space.facts(section, id, &record, data), unique))
        });
        let (facts, unique) = read.flatten().ok_or_else(gone)?;
        keys::set(ctx, &space.keys.data, &[(id, data)])
            .map_err(|_| "WRONGTYPE a key of the queue holds another type; rename or delete it".to_owned())?;
        space.updated.insert(id);
        space.bytes = space.bytes.saturating_sub(old_len) + new_len;
        if let Some(key) = unique {
            rehold_unique(ctx, &space.shared, &key, id, &fingerprint(of.job, facts.name.as_bytes(), data));
        }
        let is_withheld = space.queue.is_withheld(id);
        space.queue.remove(&before);
        let of_withheld = is_withheld.then(|| facts.clone());
        match state {
            State::Delayed { due_ms } => {
                let was_tried = space.tried.contains_key(&id);
                space.queue.add_delayed(facts, due_ms, was_tried);
            }
            State::Waiting | State::Claimed => space.queue.add(facts),
        }
        if let Some(facts) = of_withheld {
            space.queue.withhold(&facts);
        }
        self.claims_changed(name);
        Ok(())
    }

    fn job_type_of(&self, ctx: Context, name: &Arc<str>, id: JobId) -> Option<Box<[u8]>> {
        let space = self.claims.spaces.get(name)?;
        keys::entry(ctx, &space.keys.work, id, |fields| Some(WorkRecord::read(fields).ok()?.name.into()))?
    }

    /// Why a job that is none of these has no other payload.
    fn not_to_update(&self, ctx: Context, space_name: &[u8], id: JobId) -> String {
        let space = String::from_utf8_lossy(space_name);
        let queue = QueueKeys::new(&self.prefix_of(&space));
        if jobs::entry_stands(ctx, &queue.jobs, id) {
            return format!(
                "ERR job {id} is for Postgres, and such a job keeps the payload with which it was enqueued; BEAR.REMOVE \
                 it, and enqueue it anew"
            );
        }
        format!("ERR no queued job {id} is known (BEAR.JOBS {} waiting)", shorten(space_name))
    }
}

fn no_definition(job: &[u8]) -> String {
    format!("ERR the section has no job '{}' that workers claim any more", shorten(job))
}
