//! Rows that cannot become jobs for now: their queue is full, or somebody's keys are in the way. All rows of the space are passed
//! over, so that its order holds, and asked for again once there is room; other spaces go on.

use std::collections::btree_map::Entry;
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

impl Inbox {
    pub(super) fn is_passed_over(&self, space: &str) -> bool {
        self.full.contains_key(space)
    }

    /// From now on rows of a space are passed over.
    pub(super) fn pass_over(&mut self, space: &str, lacks_room: bool) {
        let now = Instant::now();
        self.full.insert(space.into(), Full { since: now, look_at: now + LOOK_AGAIN, lacks_room, is_asked: false });
        redis_api::arm(LOOK_AGAIN);
    }

    /// Ids of a space are told. False: not those that it was asked for; they come again.
    pub(super) fn is_listed_again(&mut self, space: &Arc<str>) -> bool {
        match self.full.entry(space.clone()) {
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
            if self.full.get(space).is_some_and(|full| full.is_asked) {
                self.full.remove(space);
            }
        }
    }
}

impl Server {
    /// Asks for the rows of spaces that may have room by now.
    pub(super) fn ask_for_passed_over(&mut self) {
        if self.inbox.full.is_empty() {
            return;
        }
        let now = Instant::now();
        let due = |(name, full): (&Arc<str>, &Full)| {
            (!full.is_asked && full.look_at <= now)
                .then(|| (name.clone(), full.lacks_room, now - full.since >= AT_LAST))
        };
        let due: Vec<_> = self.inbox.full.iter().filter_map(due).collect();
        for (name, lacks_room, at_last) in due {
            let room = if at_last { 1 } else { ROOM.min(self.config.queue_max_jobs as u64 / 10).max(1) };
            let is_time = match lacks_room {
                true => self.has_room(&name, room),
                false => at_last,
            };
            let asked = is_time && self.ask_inbox(InboxRequest::Rescan { space: (*name).into() });
            if let Some(full) = self.inbox.full.get_mut(&name) {
                (full.is_asked, full.look_at) = (asked, now + LOOK_AGAIN);
            }
        }
        if self.inbox.full.values().any(|full| !full.is_asked) {
            redis_api::arm(LOOK_AGAIN);
        }
    }

    fn has_room(&self, name: &str, jobs: u64) -> bool {
        let (sql, work) = (self.queues.held(name), self.work_held(name));
        self.limits().check((sql.0 + work.0, sql.1 + work.1), jobs, 0).is_ok()
    }
}
