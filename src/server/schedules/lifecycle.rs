//! Ticks; what load, promotion, demotion, flushes, other hands and another catalog mean for schedules.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::load::Loading;
use super::Schedules;
use crate::core::catalog::Catalog;
use crate::keyspace::schedules::BEGIN;
use crate::redis_api::{self, Context};
use crate::server::queues::wall_ms;
use crate::server::Server;

/// A timer is armed for what is due within this time. What is later is found by the cron loop, which comes at least once a second:
/// a timer would keep the module from being unloaded.
const SOON_MS: u64 = 1_200;

/// Until it is looked again whose the sections' names are.
const LOOK_AGAIN: Duration = Duration::from_millis(2);

impl Server {
    /// A slice of all that is to be done for schedules. True: there is more to do at once.
    pub(in crate::server) fn work_on_schedules(&mut self, ctx: Context, deadline: Instant) -> bool {
        if !self.is_master() {
            self.schedules.fetched.clear();
            return false;
        }
        if !ctx.writes_allowed() {
            // FAILOVER, CLIENT PAUSE or SHUTDOWN: nothing is done, and nothing lost. A tick comes in any case.
            return false;
        }
        while let Some((id, tick_ms, fetched)) = self.schedules.fetched.pop_front() {
            self.note_scheduled_fetch(ctx, &id, tick_ms, fetched);
            if Instant::now() >= deadline {
                return true;
            }
        }
        if self.keyspace.is_looking() {
            // Until it is known whose the sections' names are.
            if !self.schedules.loading.is_empty() {
                redis_api::arm(LOOK_AGAIN);
            }
            return false;
        }
        if self.load_schedules(ctx, deadline) {
            return true;
        }
        while let Some((_, id)) = self.schedules.times.first().filter(|(at_ms, _)| *at_ms <= wall_ms()).cloned() {
            self.look_at_schedule(ctx, &id);
            if Instant::now() >= deadline {
                break;
            }
        }
        let is_due = self.schedules.next_ms().is_some_and(|at_ms| at_ms <= wall_ms());
        if !is_due {
            // Armed at once, it would come later than the wake-up that follows a tick with more to do.
            self.schedules.arm();
        }
        is_due
    }

    /// From the cron loop: is one due soon?
    pub(in crate::server) fn look_at_schedules(&self) {
        if self.is_master() {
            self.schedules.arm();
        }
    }

    /// The keys are others, or somebody else's: begins anew.
    pub(in crate::server) fn forget_schedules(&mut self) {
        let figures = self.schedules.figures;
        let before = std::mem::take(&mut self.schedules);
        self.schedules.figures = figures;
        self.workers.dispose(Box::new((before.by_id, before.times)));
        if self.is_master() {
            self.schedules.loading.push_back(Loading::Catalog { section: 0, at: 0 });
            self.arm_soon();
        }
    }

    /// The catalog is another. What is known is looked at again, and goes where it is no more; queues, and with them schedules of
    /// new sections, are looked for in any case.
    pub(in crate::server) fn schedules_redefined(&mut self, before: &Catalog) {
        self.schedules.loading.push_back(Loading::Known { space: None, after: None });
        self.schedules.loading.push_back(Loading::Catalog { section: 0, at: 0 });
        for section in before.sections.iter().filter(|section| !section.schedules.is_empty()) {
            let now = self.catalog.section(section.name.as_bytes()).map(|(_, now)| now);
            if let Some(now) = now.filter(|now| now.tenant.is_none()) {
                let space = now.space_name(None).into();
                self.schedules.loading.push_back(Loading::States { space, cursor: BEGIN.into() });
            }
        }
        self.arm_soon();
    }

    /// Keys of a space's schedules were found, or another hand has touched them.
    pub(in crate::server) fn found_schedules(&mut self, space: &Arc<str>) {
        self.schedules.loading.push_back(Loading::Known { space: Some(space.clone()), after: None });
        self.schedules.loading.push_back(Loading::Definitions { space: space.clone(), cursor: BEGIN.into() });
        self.arm_soon();
    }
}

impl Schedules {
    /// Has a tick come when the next one is due, if that is soon.
    fn arm(&self) {
        if let Some(wait_ms) = self.next_ms().map(|at_ms| at_ms.saturating_sub(wall_ms())).filter(|ms| *ms <= SOON_MS) {
            redis_api::arm(Duration::from_millis(wait_ms));
        }
    }
}
