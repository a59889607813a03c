//! Ticks of claimed jobs; what load, promotion, demotion, flushes, other hands and another catalog mean for them.
//!
//! Nothing that is in memory is needed to go on: whenever the keys may be others, or may have been changed by another hand, a
//! space is read from them again. Claims stay what they are in the keys; clients that wait go on waiting.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::age::has_age;
use super::space::WorkSpace;
use super::totals::COUNT_MS;
use super::Claims;
use crate::core::catalog::Catalog;
use crate::failpoints;
use crate::keyspace::claims::WorkKeys;
use crate::keyspace::jobs;
use crate::redis_api::{self, Context, KeyType};
use crate::server::queues::wall_ms;
use crate::server::Server;

/// A space that has had no job for so long leaves the memory.
const IDLE_MS: u64 = 60_000;

/// Due times follow the clock on the wall, which may step: they are looked at again after this.
const LOOK_MS: u64 = 1_000;

impl Server {
    /// A slice of all that is to be done for claimed jobs. True: there is more to do at once.
    pub(in crate::server) fn work_on_claims(&mut self, ctx: Context, deadline: Instant) -> bool {
        if !self.is_master() {
            return false;
        }
        // The tick that was armed is this one.
        self.claims.armed = (None, None);
        self.claims.note_pause(!ctx.writes_allowed());
        if !ctx.writes_allowed() {
            return false;
        }
        for name in std::mem::take(&mut self.claims.redefined) {
            self.reread_work(ctx, &name);
        }
        self.write_due_totals(ctx, deadline);
        let now_ms = self.claims.now_ms();
        // What was sent until the last tick has been read since: after a long command, or a halt of the process, workers have
        // extended in time what would have ended meanwhile.
        let heard_ms = std::mem::replace(&mut self.claims.ticked_ms, now_ms);
        let loading = self.load_spaces(ctx, deadline);
        let passing = self.pass_time_of_claims(ctx, heard_ms, deadline);
        let serving = self.serve_claimers(ctx, deadline);
        self.age_records(ctx, deadline);
        self.forget_idle_work(deadline);
        self.claims.arm();
        loading || passing || serving
    }

    /// When a waiting claimer's time is up.
    pub(in crate::server) fn next_claimers_deadline(&self) -> Option<Instant> {
        self.claims.waiting.next_deadline()
    }

    /// The keys are others, or somebody else's: begins anew.
    pub(in crate::server) fn forget_claims(&mut self) {
        self.claims.begin_anew();
        if !self.is_master() {
            self.send_claimers_away();
        }
        self.arm_soon();
    }

    /// Another hand has touched keys of a space's claimed jobs.
    pub(in crate::server) fn work_touched(&mut self, ctx: Context, name: &Arc<str>, prefix: &[u8]) {
        if let Some(space) = self.claims.spaces.get(name) {
            let is_gone = space.jobs > 0 && KeyType::of(ctx, &space.keys.work).is_none();
            self.reread_work(ctx, name);
            if is_gone {
                self.work_replaced(ctx, name);
            }
        } else {
            self.touch_work(ctx, name, prefix);
        }
    }

    /// A space that an earlier process left.
    pub(in crate::server) fn found_work(&mut self, ctx: Context, name: &str, prefix: &[u8]) {
        // A stream stays where its last job has gone: most of ten thousand tenants have nothing.
        let keys = WorkKeys::new(prefix);
        let section = self.section_of(name).and_then(|section| self.catalog.sections.get(section));
        let ages = || {
            section.is_some_and(has_age) && (jobs::len(ctx, &keys.completed) > 0 || jobs::len(ctx, &keys.failed) > 0)
        };
        if jobs::len(ctx, &keys.work) > 0 || ages() {
            self.touch_work(ctx, name, prefix);
        }
    }

    /// The catalog is another: spaces of sections whose claimed jobs are others are read again.
    pub(in crate::server) fn work_redefined(&mut self, before: &Catalog) {
        let catalog = self.catalog.clone();
        let is_other = |section: &str| {
            let of = |catalog: &Catalog| {
                catalog.section(section.as_bytes()).map(|(_, of)| (of.jobs.clone(), of.limits.clone(), of.open.clone()))
            };
            of(before) != of(&catalog)
        };
        let names: Vec<Arc<str>> = self.claims.spaces.keys().cloned().collect();
        for name in names {
            let section = self.claims.spaces.get(&name).map(|space| space.section.clone());
            if section.is_some_and(|section| is_other(&section)) {
                self.claims.redefined.push(name);
            }
        }
        self.arm_soon();
    }

    /// The queue is paused, or is not any more.
    pub(in crate::server) fn work_paused(&mut self, name: &Arc<str>, paused: bool) {
        if let Some(space) = self.claims.spaces.get_mut(name) {
            space.queue.paused = paused;
        }
        self.claims_changed(name);
    }

    /// Its slot is this node's again, and nobody has touched its keys.
    pub(in crate::server) fn work_goes_on(&mut self, name: &Arc<str>) {
        if self.claims.spaces.get(name).is_some_and(|space| space.loading.is_some()) {
            self.claims.loading.push_back(name.clone());
        }
        self.claims_changed(name);
    }

    /// It has come from another node.
    pub(in crate::server) fn work_came(&mut self, ctx: Context, name: &Arc<str>, prefix: &[u8]) {
        self.claims.drop_space(name);
        self.found_work(ctx, name, prefix);
    }

    /// It is another node's.
    pub(in crate::server) fn work_has_gone(&mut self, name: &Arc<str>) {
        self.claims.drop_space(name);
        self.send_claimers_of(name);
    }

    fn forget_idle_work(&mut self, deadline: Instant) {
        let now_ms = self.claims.now_ms();
        while let Some((_, name)) = self.claims.idle.front().filter(|(at, _)| *at <= now_ms).cloned() {
            self.claims.idle.pop_front();
            let idle_ms = failpoints::idle_ms().unwrap_or(IDLE_MS);
            let Some(space) = self.claims.spaces.get_mut(&name) else { continue };
            match space.idle_since_ms.filter(|_| space.is_idle()) {
                Some(since) if since + idle_ms <= now_ms => drop(self.claims.drop_space(&name)),
                Some(since) => self.claims.idle.push_back((since + idle_ms, name)),
                None => {}
            }
            if Instant::now() >= deadline {
                return;
            }
        }
    }

    /// From the cron loop: is there anything whose time has come? A tick comes then; no timer is armed for what may wait.
    pub(in crate::server) fn look_at_claims(&self) {
        let now_ms = self.claims.now_ms();
        let idle = self.claims.idle.front().is_some_and(|(at, _)| *at <= now_ms);
        let due = self.claims.next_due.first().is_some_and(|(at, _)| *at <= wall_ms());
        let old = now_ms >= self.claims.age_ms && !self.claims.spaces.is_empty();
        if idle || due || old {
            self.arm_soon();
        }
    }
}

impl Claims {
    fn begin_anew(&mut self) {
        self.spaces.clear();
        self.turns.clear();
        self.dirty.clear();
        self.redefined.clear();
        self.unwritten_totals.clear();
        self.armed = (None, None);
        self.loading.clear();
        self.next_ms.clear();
        self.next_due.clear();
        self.idle.clear();
    }

    /// While the server allows no writes, workers can extend no lease: the clock stands still.
    fn note_pause(&mut self, paused: bool) {
        match (paused, self.paused_since) {
            (true, None) => self.paused_since = Some(Instant::now()),
            (false, Some(since)) => {
                self.origin += since.elapsed();
                self.paused_since = None;
            }
            (true, Some(_)) | (false, None) => {}
        }
    }

    /// What was in memory of a space is there no more.
    pub(super) fn drop_space(&mut self, name: &Arc<str>) -> Option<Box<WorkSpace>> {
        self.forget_times(name);
        self.spaces.remove(name)
    }

    /// Its times are noted again by [`Claims::note_times`].
    pub(super) fn forget_times(&mut self, name: &Arc<str>) {
        let Some(space) = self.spaces.get_mut(name) else { return };
        if let Some(at) = space.next_ms.take() {
            self.next_ms.remove(&(at, name.clone()));
        }
        if let Some(at) = space.next_due_ms.take() {
            self.next_due.remove(&(at, name.clone()));
        }
    }

    /// Notes when time gives a space something to do.
    pub(super) fn note_times(&mut self, name: &Arc<str>, now_ms: u64) {
        let Some(space) = self.spaces.get_mut(name) else { return };
        if space.totals_changed && !space.totals_awaited {
            space.totals_awaited = true;
            if self.unwritten_totals.is_empty() {
                self.totals_due_ms = now_ms + COUNT_MS;
            }
            self.unwritten_totals.push(name.clone());
        }
        // A time that is noted and has moved away stays: it is looked at then, and noted again. Leases come and go with each job.
        let is_sooner = |at: u64, noted: Option<u64>| noted.is_none_or(|noted| at < noted);
        if let Some(at) = space.queue.next_ms(now_ms).filter(|at| is_sooner(*at, space.next_ms)) {
            if let Some(before) = space.next_ms.replace(at) {
                self.next_ms.remove(&(before, name.clone()));
            }
            self.next_ms.insert((at, name.clone()));
        }
        if let Some(at) = space.queue.next_due_ms().filter(|at| is_sooner(*at, space.next_due_ms)) {
            if let Some(before) = space.next_due_ms.replace(at) {
                self.next_due.remove(&(before, name.clone()));
            }
            self.next_due.insert((at, name.clone()));
        }
        let next_ms = self.next_wake_ms();
        let is_armed = |at: Option<u64>, armed: Option<u64>| at.is_none_or(|at| armed.is_some_and(|armed| armed <= at));
        let next_due = self.next_due.first().map(|(at, _)| *at);
        if !is_armed(next_ms, self.armed.0) || !is_armed(next_due, self.armed.1) {
            self.arm();
        }
    }

    /// When a lease ends, a rate lets go, or totals are to be written.
    fn next_wake_ms(&self) -> Option<u64> {
        let counts = (!self.unwritten_totals.is_empty()).then_some(self.totals_due_ms);
        self.next_ms.first().map(|(at, _)| *at).into_iter().chain(counts).min()
    }

    /// Has a tick come when the next lease ends, or the next job falls due.
    fn arm(&mut self) {
        let next_ms = self.next_wake_ms();
        if let Some(at) = next_ms {
            redis_api::arm(self.instant(at).saturating_duration_since(Instant::now()));
        }
        let next_due = self.next_due.first().map(|(at, _)| *at);
        if let Some(at) = next_due {
            redis_api::arm(Duration::from_millis(at.saturating_sub(wall_ms()).min(LOOK_MS)));
        }
        self.armed = (next_ms, next_due);
    }

    /// Takes note of whether a space is idle.
    pub(super) fn note_idleness(&mut self, name: &Arc<str>, now_ms: u64) {
        let Some(space) = self.spaces.get_mut(name) else { return };
        if !space.is_idle() {
            space.idle_since_ms = None;
        } else if space.idle_since_ms.is_none() {
            space.idle_since_ms = Some(now_ms);
            self.idle.push_back((now_ms + failpoints::idle_ms().unwrap_or(IDLE_MS), name.clone()));
        }
    }
}
