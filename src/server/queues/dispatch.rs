//! Jobs are handed to the appliers: a batch holds jobs of one space or of many.
//!
//! A batch is begun when an applier is free, so that jobs which come while all are busy make the next one larger.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rustc_hash::FxHashSet;

use super::ahead::Place;
use super::reading::{read_one, read_slice, Room, SliceEnd};
use super::Queues;
use crate::core::calls::names::Deployment;
use crate::core::catalog::space;
use crate::core::jobs::batch::{Batch, Lane, Limits, SpaceBatch};
use crate::core::jobs::job_id::JobId;
use crate::core::jobs::queue::SideResult;
use crate::keyspace::slots;
use crate::redis_api::{self, Context};
use crate::server::Server;

/// Spaces in one batch: each has its place in the ledger.
const MAX_SPACES: usize = 256;

/// Jobs of one space in a batch of the side lane: each is read by itself.
const MAX_SIDE_JOBS: usize = 256;

/// Jobs in a batch that may each end its connection.
const MAX_SUSPECTS: usize = 8;

/// A batch that is being put together.
pub struct Building {
    batch: Box<Batch>,
    jobs: usize,
    bytes: usize,
    since: Instant,
    /// The last space's jobs are still being read, from here on (exclusive).
    reading: Option<JobId>,
}

enum Step {
    /// It holds as much as it may.
    Full,
    /// Go on with the next space.
    Next,
    /// The tick is over.
    OutOfTime,
    /// No space has anything for this lane.
    Exhausted,
}

impl Server {
    /// Hands jobs to free appliers until the deadline. True: there is more to do at once.
    pub(super) fn dispatch(&mut self, ctx: Context, deadline: Instant) -> bool {
        if !self.config.drain {
            self.drop_building();
            return false;
        }
        loop {
            if Instant::now() >= deadline {
                return self.queues.building.is_some() || self.queues.has_turns();
            }
            if self.queues.building.is_none() && !self.begin_batch() {
                return self.read_ahead(ctx, deadline);
            }
            match self.extend_batch(ctx, deadline) {
                Step::Next => {}
                Step::OutOfTime => return true,
                Step::Full => self.submit(),
                Step::Exhausted => {
                    let Some(building) = &self.queues.building else { return false };
                    if building.jobs == 0 {
                        self.queues.building = None;
                        if !self.queues.has_turns() {
                            return self.read_ahead(ctx, deadline);
                        }
                        continue;
                    }
                    let linger = Duration::from_millis(self.config.apply_linger_ms as u64);
                    let waited = building.since.elapsed();
                    if waited < linger {
                        redis_api::arm(linger - waited);
                        return false;
                    }
                    self.submit();
                }
            }
        }
    }

    /// False where no applier is free or nobody has a turn.
    fn begin_batch(&mut self) -> bool {
        if self.queues.in_flight.len() >= self.config.apply_threads as usize || !self.queues.has_turns() {
            return false;
        }
        if self.workers.appliers().is_none() {
            return false;
        }
        let queues = &mut self.queues;
        let lane = match (queues.side_turn.is_empty(), queues.main_turn.is_empty()) {
            (true, true) => return false,
            (true, false) => Lane::Main,
            (false, true) => Lane::Side,
            (false, false) if queues.side_is_next => Lane::Side,
            (false, false) => Lane::Main,
        };
        queues.side_is_next = lane == Lane::Main;
        let batch = Box::new(Batch {
            ticket: queues.next_ticket(),
            token: queues.random_id(),
            lane,
            sections: self.catalog.sections.clone(),
            in_cluster: self.deployment == Deployment::Cluster,
            spaces: Vec::new(),
            paused: Vec::new(),
            traceparent: None,
            limits: Limits {
                lock_timeout_ms: self.config.lock_timeout_ms as u64,
                statement_timeout_ms: self.config.apply_timeout_ms as u64,
                max_result_bytes: self.config.max_job_bytes as usize,
                keep_days: self.config.ledger_keep_days as u32,
            },
        });
        queues.building = Some(Building { batch, jobs: 0, bytes: 0, since: Instant::now(), reading: None });
        true
    }

    fn extend_batch(&mut self, ctx: Context, deadline: Instant) -> Step {
        let max_jobs = self.config.apply_batch_jobs as usize;
        let max_bytes = self.config.apply_batch_bytes as usize;
        let Some(building) = &self.queues.building else { return Step::Exhausted };
        let room = Room {
            jobs: max_jobs.saturating_sub(building.jobs),
            bytes: max_bytes.saturating_sub(building.bytes),
            deadline,
        };
        // A space that is being read has to be taken yet.
        if (room.jobs == 0 || room.bytes == 0) && building.reading.is_none() {
            return Step::Full;
        }
        match (building.batch.lane, building.reading) {
            (Lane::Main, Some(from)) => self.read_main(ctx, from, &room),
            (Lane::Main, None) => self.next_main_space(building.batch.spaces.len()),
            (Lane::Side, _) => self.next_side_space(ctx, building.batch.spaces.len(), &room),
        }
    }

    fn next_main_space(&mut self, spaces: usize) -> Step {
        if spaces >= MAX_SPACES {
            return Step::Full;
        }
        let Some(name) = self.queues.main_turn.pop_front() else { return Step::Exhausted };
        let now_ms = self.queues.now_ms();
        let Some(space) = self.queues.spaces.get_mut(&name) else { return Step::Next };
        space.in_main_turn = false;
        if !space.may_drain() || !slots::is_here(&space.prefix) {
            return Step::Next;
        }
        let Some(from) = space.queue.main_from(now_ms) else {
            self.queues.wake(&name);
            return Step::Next;
        };
        let adopt = space.adopt.first().copied();
        let Some(mut batch) = self.space_batch(&name) else { return Step::Next };
        let Some(building) = &mut self.queues.building else { return Step::Next };
        match adopt {
            None => building.reading = Some(from),
            Some(epoch) => {
                // By itself and without jobs, so that it may be repeated.
                batch.epoch = epoch;
                batch.adopt = true;
                building.jobs += 1;
                if let Some(space) = self.queues.spaces.get_mut(&name) {
                    space.queue.main_taken(from);
                }
            }
        }
        building.batch.spaces.push(batch);
        Step::Next
    }

    /// A batch without jobs; None where the catalog has no such space any more.
    fn space_batch(&self, name: &Arc<str>) -> Option<SpaceBatch> {
        let space_ref = space::parse_space(&self.catalog, name.as_bytes()).ok()?;
        Some(SpaceBatch {
            space: name.clone(),
            section: space_ref.section,
            tenant: space_ref.tenant.map(Into::into),
            queue: self.queues.spaces.get(name)?.id.unwrap_or(0),
            epoch: 0,
            own_epoch: false,
            known: None,
            adopt: false,
            blocked: FxHashSet::default(),
            any_blocked: false,
            jobs: Vec::new(),
            published: JobId::ZERO,
            forget: Vec::new(),
        })
    }

    /// Reads on in the stream of the batch's last space.
    fn read_main(&mut self, ctx: Context, from: JobId, room: &Room) -> Step {
        let queues = &mut self.queues;
        let Some(building) = &mut queues.building else { return Step::Exhausted };
        let Some(last) = building.batch.spaces.last_mut() else { return Step::Next };
        let Some(space) = queues.spaces.get_mut(&last.space) else {
            building.batch.spaces.pop();
            building.reading = None;
            return Step::Next;
        };
        if !slots::is_here(&space.prefix) {
            // Its lane has not been taken yet.
            building.jobs -= last.jobs.len();
            building.batch.spaces.pop();
            building.reading = None;
            return Step::Next;
        }
        let epoch = (!last.jobs.is_empty()).then_some(last.epoch);
        let place = Place { space: last.space.clone(), life: space.life, after: from };
        let ahead = queues.ahead.take_if(|_| last.jobs.is_empty()).and_then(|ahead| ahead.take(&place, room));
        let is_ahead = ahead.is_some();
        let slice = ahead.unwrap_or_else(|| read_slice(ctx, &space.keys, (from, space.eligible), epoch, room));
        let mut through = from;
        for (mut job, extras) in slice.jobs {
            through = job.id;
            building.jobs += 1;
            building.bytes += job.data.len() + job.name.len();
            if let Some(extras) = extras {
                space.extras.insert(job.id, extras);
            }
            if let Some(retry) = space.retries.get(&job.id) {
                job.attempts = retry.attempts;
                job.ends = retry.ends;
            }
            last.jobs.push(job);
        }
        if let Some(epoch) = slice.epoch {
            last.epoch = epoch;
            if let Some(first) = last.jobs.first() {
                space.note_epoch(first.id, epoch);
            }
        }
        building.reading = Some(through);
        if is_ahead {
            // More may have come since.
            return Step::Next;
        }
        if slice.end == SliceEnd::Time {
            return Step::OutOfTime;
        }
        building.reading = None;
        if last.jobs.is_empty() {
            // What should be there is gone: somebody deleted it by hand.
            let name = last.space.clone();
            building.batch.spaces.pop();
            space.queue.main_skipped(space.eligible);
            queues.wake(&name);
            return Step::Next;
        }
        if space.queue.main_from(queues.origin.elapsed().as_millis() as u64).is_none() {
            // A barrier's time has come while the stream was read.
            building.jobs -= last.jobs.len();
            let name = last.space.clone();
            building.batch.spaces.pop();
            queues.wake(&name);
            return Step::Next;
        }
        (last.blocked, last.any_blocked) = space.queue.blocked();
        space.queue.main_taken(through);
        space.active += last.due();
        queues.sent_last = Some(Place { after: through, ..place });
        Step::Next
    }

    fn next_side_space(&mut self, ctx: Context, spaces: usize, room: &Room) -> Step {
        if spaces >= MAX_SPACES {
            return Step::Full;
        }
        let Some(name) = self.queues.side_turn.pop_front() else { return Step::Exhausted };
        let now_ms = self.queues.now_ms();
        let batch = self.space_batch(&name);
        let queues = &mut self.queues;
        let refusals = &queues.refusals;
        let Some(space) = queues.spaces.get_mut(&name) else { return Step::Next };
        space.in_side_turn = false;
        let Some(mut batch) = batch.filter(|_| space.may_drain() && slots::is_here(&space.prefix)) else {
            return Step::Next;
        };
        let max = room.jobs.min(MAX_SIDE_JOBS);
        let taken = space.queue.side_take(now_ms, max, &|kind| refusals.is_paused(kind, now_ms));
        if taken.is_empty() {
            queues.wake(&name);
            return Step::Next;
        }
        let mut bytes = 0;
        for id in taken {
            let epoch = space.epoch_of(id).unwrap_or(queues.epoch);
            if (!batch.jobs.is_empty() && epoch != batch.epoch) || bytes >= room.bytes {
                space.queue.side_give_back(id);
                break;
            }
            let Some(mut job) = read_one(ctx, &space.keys.jobs, id) else {
                // Deleted by hand: the others are taken again without it.
                space.forget.push(id);
                space.queue.side_done(&[(id, SideResult::Settled)]);
                queues.wake(&name);
                return Step::Next;
            };
            if let Some(retry) = space.retries.get(&id) {
                (job.attempts, job.ends) = (retry.attempts, retry.ends);
            }
            // Whoever may end the connection keeps nobody else waiting, and not many of his kind.
            let is_company = batch.jobs.last().is_some_and(|last| last.ends.is_some() != job.ends.is_some());
            if is_company || (job.ends.is_some() && batch.jobs.len() >= MAX_SUSPECTS) {
                space.queue.side_give_back(id);
                break;
            }
            batch.epoch = epoch;
            bytes += job.data.len();
            job.undue = false;
            batch.jobs.push(job);
        }
        let are_suspects = batch.jobs.iter().any(|job| job.ends.is_some());
        if !batch.jobs.is_empty() {
            if let Some(building) = &mut queues.building {
                building.jobs += batch.jobs.len();
                building.bytes += bytes;
                building.batch.spaces.push(batch);
            }
        }
        match are_suspects {
            true => Step::Full,
            false => Step::Next,
        }
    }

    /// Hands the batch to an applier.
    fn submit(&mut self) {
        let Some(building) = self.queues.building.take() else { return };
        let mut batch = building.batch;
        let queues = &mut self.queues;
        let now_ms = queues.now_ms();
        let mut trace = None;
        for of_space in &mut batch.spaces {
            let Some(space) = queues.spaces.get_mut(&of_space.space) else { continue };
            of_space.own_epoch = of_space.epoch == queues.epoch;
            of_space.known = space.known.get(&of_space.epoch).copied();
            of_space.published = space.queue.published();
            of_space.forget = std::mem::take(&mut space.forget);
            if trace.is_none() && !space.extras.is_empty() {
                let due = of_space.jobs.iter().filter(|job| !job.undue);
                trace = due.filter_map(|job| space.extras.get(&job.id)?.traceparent.clone()).next();
            }
        }
        batch.note_trace(trace.as_deref());
        for kind in queues.refusals.paused(now_ms) {
            batch.paused.extend(queues.kinds.iter().filter(|(_, known)| **known == kind).filter_map(|(names, _)| {
                let section = batch.sections.iter().position(|section| section.name == names.0)?;
                let of = |job: &crate::core::catalog::job::Job| job.name.as_bytes() == &*names.1;
                Some((section, batch.sections[section].jobs.iter().position(of)?))
            }));
        }
        let spaces = batch.spaces.iter().map(|of_space| &of_space.space);
        let lives = spaces.map(|name| (name.clone(), queues.spaces.get(name).map_or(0, |space| space.life)));
        queues.in_flight.insert(batch.ticket, lives.collect());
        queues.totals.batches += 1;
        match self.workers.appliers() {
            Some(appliers) => appliers.submit(batch),
            None => self.put_back(&batch),
        }
    }

    /// Gives up a batch that has not been handed over.
    pub(super) fn drop_building(&mut self) {
        self.queues.forget_ahead();
        if let Some(building) = self.queues.building.take() {
            let reading = building.reading.is_some();
            let mut batch = building.batch;
            if reading {
                // Its lane has not been taken yet.
                if let Some(unread) = batch.spaces.pop() {
                    self.queues.wake(&unread.space);
                }
            }
            self.put_back(&batch);
        }
    }

    /// A batch comes back untouched.
    pub(super) fn put_back(&mut self, batch: &Batch) {
        let lives = self.queues.in_flight.remove(&batch.ticket);
        for (at, of_space) in batch.spaces.iter().enumerate() {
            let is_current = lives
                .as_ref()
                .is_none_or(|lives| self.queues.is_alive(&of_space.space, lives.get(at).map(|(_, life)| *life)));
            if is_current {
                self.queues.space_put_back(batch.lane, of_space);
                self.queues.wake(&of_space.space);
            }
        }
    }
}

impl Queues {
    /// The part of a space comes back untouched.
    pub(super) fn space_put_back(&mut self, lane: Lane, of_space: &SpaceBatch) {
        let Some(space) = self.spaces.get_mut(&of_space.space) else { return };
        match lane {
            Lane::Main => {
                space.queue.main_put_back();
                space.active = space.active.saturating_sub(of_space.due());
            }
            Lane::Side => space.queue.side_put_back(),
        }
        space.forget.extend(&of_space.forget);
    }

    /// Is a job being put into a batch?
    pub(super) fn is_building_with(&self, name: &str, id: JobId) -> bool {
        let spaces = self.building.iter().flat_map(|building| &building.batch.spaces);
        spaces.filter(|space| &*space.space == name).any(|space| space.jobs.iter().any(|job| job.id == id))
    }

    fn has_turns(&self) -> bool {
        !self.main_turn.is_empty() || !self.side_turn.is_empty()
    }

    /// By now the AOF has what was enqueued before the last pass of the event loop. True: there is more to come.
    pub(super) fn ripen(&mut self) -> bool {
        for name in std::mem::take(&mut self.aging) {
            if let Some(space) = self.spaces.get_mut(&name) {
                if let Some(ripe) = space.ripe.take() {
                    space.queue.added(ripe);
                    space.eligible = ripe;
                }
            }
            self.wake(&name);
        }
        self.aging = std::mem::take(&mut self.fresh);
        for name in &self.aging {
            if let Some(space) = self.spaces.get_mut(name) {
                space.ripe = space.fresh.take();
            }
        }
        !self.aging.is_empty()
    }
}
