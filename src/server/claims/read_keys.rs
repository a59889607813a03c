//! What the keys of a space say of its claimed jobs, read entry by entry until a slice is over: jobs with all that is known of
//! each, claims that were begun lately, and which records there are.
//!
//! What is no job, claim or record there, for another hand wrote it, is passed over.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Instant;

use super::loading::{Loading, Stage};
use super::logs::is_log;
use super::space::WorkSpace;
use super::workers::Workers;
use crate::core::catalog::Section;
use crate::core::claims::attempts::Attempts;
use crate::core::claims::claim_record::ClaimRecord;
use crate::core::claims::queue::Claim;
use crate::core::claims::record::{Started, Total, WorkRecord};
use crate::core::inbox::tell::Telling;
use crate::core::jobs::job_id::JobId;
use crate::core::jobs::record::{cost, get};
use crate::keyspace::jobs::{self, LAST};
use crate::keyspace::{claims as keys, inbox};
use crate::mutations;
use crate::redis_api::{Context, Direction, Fields};
use crate::server::queues::wall_ms;

/// Reads a space until the deadline.
pub struct Reader<'a> {
    pub ctx: Context<'a>,
    pub space: &'a mut WorkSpace,
    pub loading: &'a mut Loading,
    /// None: the catalog has it no more.
    pub section: Option<&'a Section>,
    pub workers: &'a mut Workers,
    pub now_ms: u64,
    pub deadline: Instant,
}

impl Reader<'_> {
    /// True: all is read that this stage is about.
    pub fn read(&mut self) -> bool {
        let keys = &self.space.keys;
        match self.loading.stage {
            Stage::Jobs => self.walk(&keys.work.clone(), self.loading.from, Reader::read_job),
            Stage::Started => self.read_started(),
            Stage::Completed => self.walk(&keys.completed.clone(), self.loading.from, Reader::read_records),
            Stage::Failed => self.walk(&keys.failed.clone(), self.loading.from, Reader::read_records),
        }
    }

    /// Goes on in a stream. True: it is through.
    fn walk(&mut self, key: &[u8], from: JobId, read: fn(&mut Self, JobId, &Fields)) -> bool {
        let mut is_through = true;
        jobs::walk(self.ctx, key, Direction::Forward, (from, LAST), &mut |id, fields| {
            read(self, id, fields);
            self.loading.from = id.next().unwrap_or(LAST);
            is_through = Instant::now() < self.deadline;
            if is_through {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        });
        is_through
    }

    fn read_job(&mut self, id: JobId, fields: &Fields) {
        let (Ok(record), Some(section)) = (WorkRecord::read(fields), self.section) else { return };
        let (ctx, has, space) = (self.ctx, self.loading.has, &mut *self.space);
        space.bytes += cost(record.name, record.data, record.options.unique);
        let updated =
            has.data.then(|| keys::get(ctx, &space.keys.data, id, |bytes| Box::<[u8]>::from(bytes))).flatten();
        if let Some(updated) = &updated {
            space.updated.insert(id);
            space.bytes += updated.len() as u64;
        }
        if has.progress && keys::get(ctx, &space.keys.progress, id, |_| ()).is_some() {
            space.in_progress.insert(id);
        }
        if let Some(unique) = record.options.unique {
            space.uniques.insert(id, unique.into());
        }
        let facts = space.facts(section, id, &record, updated.as_deref().unwrap_or(record.data));
        if section.claimed_job(record.name).is_none() {
            space.queue.set_stopped(&facts.name, true);
        }
        let tried = has.attempts.then(|| keys::get(ctx, &space.keys.attempts, id, Attempts::read)).flatten().flatten();
        let was_tried = tried.is_some();
        if let Some(tried) = tried {
            space.tried.insert(id, tried.attempts);
        }
        let claim = match has.claims {
            true => keys::get(ctx, &space.keys.claims, id, |text| read_claim(text, self.workers)).flatten(),
            false => None,
        };
        let may_have_log = claim.is_some() || was_tried || space.totals.get(Total::Released) > 0;
        if may_have_log && is_log(ctx, &space.keys.log(id)) {
            space.logged.insert(id, 0);
        }
        let of_row = id.inbox().map(|row| (row, facts.clone()));
        if let Some((row, _)) = &of_row {
            self.read_row(*row, id);
        }
        let space = &mut *self.space;
        if let Some(claim) = claim {
            let before = self.loading.before.as_ref();
            let known = before.and_then(|before| before.claim(id)).filter(|of| of.token == claim.token);
            let deadline_ms = known.map_or(self.now_ms + claim.lease_ms, |known| known.deadline_ms);
            return space.queue.add_claimed(facts, Claim { deadline_ms, ..claim }, self.now_ms);
        }
        match has.delayed.then(|| keys::due_ms(ctx, &space.keys.delayed, id)).flatten() {
            Some(due_ms) => space.queue.add_delayed(facts, due_ms, was_tried),
            None => space.queue.add(facts),
        }
        if let Some((_, facts)) = of_row.filter(|_| space.unverified.contains(&id) || space.untold.contains(&id)) {
            space.queue.withhold(&facts);
        }
    }

    /// A job of the inbox: is it to be withheld?
    fn read_row(&mut self, row: u64, id: JobId) {
        let (ctx, space) = (self.ctx, &mut *self.space);
        if inbox::taken(ctx, &space.shared, row).is_none_or(|(of, _)| of != id) {
            // Another hand has taken the hash away, or something out of it.
            space.unlinked.push((row, id));
        }
        let is_fence = |telling: Telling| matches!(telling, Telling::Fence(_));
        if self.loading.has.tells && inbox::telling(ctx, &space.shared, row).is_some_and(is_fence) {
            space.untold.insert(id);
        }
        if self.loading.before.is_none() || self.loading.unverified.contains(&id) {
            space.unverified.insert(id);
        }
    }

    /// Claims that were begun lately, for rates. Their age is by the clock on the wall, which nothing else tells of a time
    /// before this process.
    fn read_started(&mut self) -> bool {
        let window_ms = self.space.queue.window_ms().filter(|_| !mutations::is("starts-forgotten"));
        let Some(window_ms) = window_ms else { return true };
        let since = JobId { ms: wall_ms().saturating_sub(window_ms), seq: 0 };
        let from = self.loading.from.max(since);
        self.walk(&self.space.keys.started.clone(), from, |reader, id, fields| {
            if let Ok(started) = Started::read(fields) {
                let age_ms = wall_ms().saturating_sub(id.ms);
                reader.space.queue.begin(started.group, reader.now_ms.saturating_sub(age_ms));
            }
        })
    }

    /// Of which jobs an entry has the records.
    fn read_records(&mut self, entry: JobId, fields: &Fields) {
        let is_failed = self.loading.stage == Stage::Failed;
        let Some(kind) = get(fields, b"t") else { return };
        let kind: Arc<str> = String::from_utf8_lossy(kind).into();
        let logged = &mut self.space.logged;
        let mut ids = Vec::new();
        let mut bytes = 0;
        let mut note = |id: &[u8], record: &[u8]| {
            let Some(id) = JobId::parse(id) else { return };
            ids.push(id);
            bytes += record.len() as u64;
            if record.windows(6).any(|part| part == b"\"log\":") {
                logged.insert(id, 0);
            }
        };
        if is_failed {
            if let (Some(id), Some(record)) = (get(fields, b"id"), get(fields, b"record")) {
                note(id, record);
            }
        } else {
            fields.iter().for_each(|(id, record)| note(id, record));
        }
        let kept = if is_failed { &mut self.space.kept_failed } else { &mut self.space.kept };
        kept.found(entry, &kind, &ids, bytes);
    }
}

fn read_claim(text: &[u8], workers: &mut Workers) -> Option<Claim> {
    let record = ClaimRecord::read(text)?;
    Some(Claim {
        token: record.token,
        attempt: record.attempt,
        worker: workers.named(&record.worker, &record.address),
        started_ms: record.started_ms,
        lease_ms: record.lease_ms,
        deadline_ms: 0,
        cancelled: record.cancelled.is_some(),
    })
}
