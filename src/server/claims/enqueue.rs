//! BEAR.ENQUEUE of a claimed job: its payload has been checked; it is added to the stream of work, or nothing is.

use super::ahead::HeldJob;
use super::space::{has_sql_jobs, WorkSpace};
use crate::core::catalog::claimed::ClaimedJob;
use crate::core::catalog::space::parse_space;
use crate::core::catalog::Section;
use crate::core::claims::record::{WorkNumbers, WorkOptions, WorkRecord};
use crate::core::events::job::JobEvent;
use crate::core::jobs::job_id::JobId;
use crate::core::jobs::record;
use crate::keyspace::claims::WorkKeys;
use crate::keyspace::{claims as keys, inbox, jobs};
use crate::redis_api::{Context, KeyType};
use crate::server::queues::{
    check_unique, due_ms, fingerprint, hold_unique, is_own_past, wall_ms, EnqueueOptions, Unique,
};
use crate::server::Server;

/// Larger payloads are read again by who claims them.
const MAX_FRESH: usize = 64 << 10;

impl Server {
    /// Adds a job to a space. `data` is as it is stored; the fingerprint is there where it has been worked out.
    pub(in crate::server) fn add_claimed_job(
        &mut self,
        ctx: Context,
        name: &str,
        section: &Section,
        (job, of): (&[u8], ClaimedJob),
        (data, known): (&[u8], Option<String>),
        options: &EnqueueOptions,
    ) -> Result<JobId, String> {
        let prefix = self.prefix_of(name);
        let name = self.open_work(ctx, name, &prefix);
        let limits = self.limits();
        let space = self.claims.spaces.get(&name).ok_or("ERR the queue cannot be read")?;
        if let Some(text) = &space.wrong_type {
            return Err(text.clone());
        }
        let fingerprint = options.unique.map(|_| known.unwrap_or_else(|| fingerprint(of.job, job, data)));
        if let (Some(key), Some(fingerprint)) = (options.unique, &fingerprint) {
            match check_unique(ctx, &space.shared, key, fingerprint)? {
                Unique::Same(id) if !is_own_past(ctx, &space.shared, id, options.row) => return Ok(id),
                Unique::Same(_) | Unique::New => {}
            }
        }
        let cost = record::cost(job, data, options.unique);
        let (jobs_held, bytes_held) = self.queues.held(&name);
        limits.check((space.jobs + jobs_held, space.bytes + bytes_held), 1, cost)?;
        self.write_claimed_job(ctx, &name, section, (job, of), (data, fingerprint), options)
    }

    /// The same of a job of which it is known that it may be added. The fingerprint comes with a UNIQUE key.
    pub(in crate::server) fn write_claimed_job(
        &mut self,
        ctx: Context,
        name: &str,
        section: &Section,
        (job, of): (&[u8], ClaimedJob),
        (data, fingerprint): (&[u8], Option<String>),
        options: &EnqueueOptions,
    ) -> Result<JobId, String> {
        let name = self.open_work(ctx, name, &self.prefix_of(name));
        let cost = record::cost(job, data, options.unique);
        let due_ms = due_ms(options, wall_ms())?;
        let record = WorkRecord {
            name: job,
            data,
            options: WorkOptions {
                priority: options.priority.unwrap_or(of.claim.priority),
                due_ms,
                attempts: options.attempts,
                backoff_ms: options.backoff_ms,
                unique: options.unique,
                traceparent: options.traceparent,
            },
        };
        let least = has_sql_jobs(section).then(|| self.newest_sql_job(ctx, &name)).flatten();
        let has_id = self.queues.has_identity(&name);
        self.claim_above(ctx, &name, options.fence);
        let Some(space) = self.claims.spaces.get_mut(&name) else { return Err("ERR the queue cannot be read".into()) };
        if !has_id && !space.has_id && KeyType::of(ctx, &space.shared.id).is_none() {
            jobs::write(ctx, c"SET", &[&space.shared.id, self.queues.random_id().to_string().as_bytes()]);
        }
        space.has_id = true;
        let id = space.write_job(ctx, &record, least, options.row)?;
        if let Some(row) = options.row {
            inbox::take(ctx, &space.shared, row, id, false);
        }
        if let (Some(key), Some(fingerprint)) = (options.unique, &fingerprint) {
            hold_unique(ctx, &space.shared, key, id, fingerprint);
            space.uniques.insert(id, key.into());
        }
        if let Some(due_ms) = due_ms {
            let _ = keys::delay(ctx, &space.keys.delayed, id, due_ms);
        }
        space.jobs += 1;
        if !self.claims.claimers.is_empty() && data.len() <= MAX_FRESH {
            let fresh = HeldJob {
                data: data.into(),
                attempts: options.attempts,
                backoff_ms: options.backoff_ms,
                traceparent: options.traceparent.map(Into::into),
            };
            space.ahead.put_fresh(id, fresh);
        }
        if let Some(loading) = space.loading.as_mut().filter(|loading| loading.reads_jobs()) {
            // The walk comes to it.
            if due_ms.is_some() {
                loading.expect_delayed();
            }
        } else {
            space.bytes += cost;
            let facts = space.facts(section, id, &record, data);
            match due_ms {
                Some(due_ms) => space.queue.add_delayed(facts, due_ms, false),
                None => space.queue.add(facts),
            }
        }
        self.keyspace.mark_queue(ctx, &space.keys.work);
        self.claims.counts.count(&name, |counts| counts.enqueued += 1);
        let priority = Some(record.options.priority);
        self.events.tell(ctx, &name, id, || {
            let event = JobEvent::Enqueued { due_ms, priority, unique: options.unique };
            Some((std::str::from_utf8(job).unwrap_or_default(), event))
        });
        self.claims_changed(&name);
        Ok(id)
    }

    /// Ids of SQL jobs of the space are not to come again.
    fn newest_sql_job(&mut self, ctx: Context, name: &str) -> Option<JobId> {
        self.queues.newest_of(name).or_else(|| {
            let space = self.claims.spaces.get(name)?;
            jobs::newest(ctx, &space.shared.jobs)
        })
    }

    /// The greatest id of a claimed job of the space, where its section has such jobs.
    pub(in crate::server) fn newest_claimed_job(&self, ctx: Context, section: usize, name: &str) -> Option<JobId> {
        if !self.catalog.sections.get(section)?.has_claimed_jobs() {
            return None;
        }
        match self.claims.spaces.get(name) {
            Some(space) => Some(space.newest),
            None => jobs::newest(ctx, &WorkKeys::new(&self.prefix_of(name)).work),
        }
    }

    /// Jobs and bytes of the claimed jobs of a space, as far as it is in memory.
    pub(in crate::server) fn work_held(&self, name: &str) -> (u64, u64) {
        self.claims.spaces.get(name).map_or((0, 0), |space| (space.jobs, space.bytes))
    }

    /// The section of a space, by its name.
    pub(in crate::server) fn section_of(&self, name: &str) -> Option<usize> {
        parse_space(&self.catalog, name.as_bytes()).ok().map(|space| space.section)
    }
}

impl WorkSpace {
    fn write_job(
        &mut self,
        ctx: Context,
        record: &WorkRecord,
        least: Option<JobId>,
        row: Option<u64>,
    ) -> Result<JobId, String> {
        let before = least.map_or(self.newest, |least| least.max(self.newest));
        let now = JobId { ms: wall_ms(), seq: 0 };
        let of_row = |row, before| JobId::of_inbox(row, before, now.ms, record.options.due_ms.is_some());
        let id = match row {
            Some(row) => of_row(row, before),
            None if now > before => now,
            None => before.plain_after(),
        };
        let mut numbers = WorkNumbers::default();
        let fields = record.fields(&mut numbers);
        let wrong_type =
            |_| "WRONGTYPE the key of the queue holds another type than a stream; rename or delete it".to_owned();
        let is_added = keys::add_with_id(ctx, &self.keys.work, id, &fields).map_err(wrong_type)?;
        let id = match is_added {
            true => id,
            // The stream has had greater ones, of which none is left: the clock has stepped back since.
            false => {
                let full = "ERR the stream of the queue has the last id that there can be";
                let next = jobs::append(ctx, &self.keys.work, &fields).ok_or(full)?;
                match row {
                    None if next.inbox().is_none() => next,
                    row => {
                        // What is of no row must not look as if it were.
                        let id = row.map_or_else(|| next.plain_after(), |row| of_row(row, next));
                        let is_added = keys::add_with_id(ctx, &self.keys.work, id, &fields).map_err(wrong_type)?;
                        keys::delete(ctx, &self.keys.work, &[next]);
                        if !is_added {
                            return Err(full.into());
                        }
                        id
                    }
                }
            }
        };
        self.newest = id;
        Ok(id)
    }
}
