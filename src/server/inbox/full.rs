//! Rows that cannot become jobs for now: their queue is full, or somebody's keys are in the way. All rows of the space are passed
//! over, so that its order holds, and asked for again once there is room; other spaces go on.

use std::collections::btree_map::Entry;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Inbox;
use crate::redis_api;
use crate::server::Server;
use crate::workers::InboxRequest;

/// How often it is looked whether a queue has room.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// So long it is waited for more room than one job takes; then, and for what is wrong otherwise, all rows are listed again.
const AT_LAST: Duration = Duration::from_secs(2);

/// Jobs for which there should be room: all rows of the space are listed for them.
const ROOM: u64 = 500;

/// A space whose rows are passed over.
pub struct Full {
    since: Instant,
    look_at: Instant,
    /// It lacks room, and nothing else.
    lacks_room: bool,
    /// The thread has been asked for the rows, and has not told the first of them.
    is_asked: bool,
}

/// All of them.
#[derive(Default)]
pub struct PassedOver {
    spaces: BTreeMap<Arc<str>, Full>,
    /// The one that was looked at last, and when the next are.
    seen: Option<Arc<str>>,
    look_at: Option<Instant>,
}

/// Spaces that are looked at, at once.
const SOME: usize = 32;

impl PassedOver {
    pub fn len(&self) -> usize {
        self.spaces.len()
    }

    pub fn clear(&mut self) {
        *self = PassedOver::default();
    }

    /// Some whose time has come; with what they lack, and whether they have waited long.
    fn due(&mut self, now: Instant) -> Vec<(Arc<str>, bool, bool)> {
        if self.spaces.is_empty() || self.look_at.is_some_and(|at| at > now) {
            return Vec::new();
        }
        self.look_at = Some(now + LOOK_AGAIN);
        let after = self.seen.take().map_or(Bound::Unbounded, Bound::Excluded);
        let some: Vec<_> = self.spaces.range::<Arc<str>, _>((after, Bound::Unbounded)).take(SOME).collect();
        if some.len() == SOME {
            self.seen = some.last().map(|(name, _)| (*name).clone());
            // The others have their turn soon.
            self.look_at = Some(now + LOOK_AGAIN / 10);
        }
        let is_due = |(_, full): &(&Arc<str>, &Full)| !full.is_asked && full.look_at <= now;
        let with_what = |(name, full): (&Arc<str>, &Full)| (name.clone(), full.lacks_room, now - full.since >= AT_LAST);
        some.into_iter().filter(is_due).map(with_what).collect()
    }
}

impl Inbox {
    pub(super) fn is_passed_over(&self, space: &str) -> bool {
        self.full.spaces.contains_key(space)
    }

    /// From now on rows of a space are passed over.
    pub(super) fn pass_over(&mut self, space: &str, lacks_room: bool) {
        let now = Instant::now();
        self.full
            .spaces
            .insert(space.into(), Full { since: now, look_at: now + LOOK_AGAIN, lacks_room, is_asked: false });
        redis_api::arm(LOOK_AGAIN);
    }

    /// Ids of a space are told. False: not those that it was asked for; they come again.
    pub(super) fn is_listed_again(&mut self, space: &Arc<str>) -> bool {
        match self.full.spaces.entry(space.clone()) {
            Entry::Vacant(_) => true,
            Entry::Occupied(full) if full.get().is_asked => {
                full.remove();
                true
            }
            Entry::Occupied(_) => false,
        }
    }

    /// All ids of a listing have been told.
    pub(super) fn listed(&mut self, space: Option<&str>) {
        if let Some(space) = space {
            if self.full.spaces.get(space).is_some_and(|full| full.is_asked) {
                self.full.spaces.remove(space);
            }
        }
    }
}

impl Server {
    /// Asks for the rows of spaces that may have room by now.
    pub(super) fn ask_for_passed_over(&mut self) {
        let now = Instant::now();
        for (name, lacks_room, at_last) in self.inbox.full.due(now) {
            let room = if at_last { 1 } else { ROOM.min(self.config.queue_max_jobs as u64 / 10).max(1) };
            let is_time = match lacks_room {
                true => self.has_room(&name, room),
                false => at_last,
            };
            let asked = is_time && self.ask_inbox(InboxRequest::Rescan { space: (*name).into() });
            if let Some(full) = self.inbox.full.spaces.get_mut(&name) {
                (full.is_asked, full.look_at) = (asked, now + LOOK_AGAIN);
            }
        }
        if let Some(at) = self.inbox.full.look_at.filter(|_| self.inbox.full.len() > 0) {
            redis_api::arm(at.saturating_duration_since(now).max(Duration::from_millis(1)));
        }
    }

    fn has_room(&self, name: &str, jobs: u64) -> bool {
        let (sql, work) = (self.queues.held(name), self.work_held(name));
        self.limits().check((sql.0 + work.0, sql.1 + work.1), jobs, 0).is_ok()
    }
}
