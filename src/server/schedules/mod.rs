//! Schedules, as the master of their keys sees them.
//!
//! | file | what |
//! |---|---|
//! | `look` | one schedule is looked at: what is to be done for it now, and when it is looked at again |
//! | `job` | a tick enqueues its job |
//! | `query` | a tick has its query fetched |
//! | `load` | schedules are found: those of the catalog, and those that commands made |
//! | `define` | BEAR.SCHEDULE, BEAR.UNSCHEDULE |
//! | `report` | BEAR.SCHEDULES |
//! | `lifecycle` | ticks; what load, promotion, flushes, other hands and another catalog mean for schedules |
//!
//! ```text
//! load, define -> times (when each is looked at) -> look -> job, query: one unit with the state -> times
//! ```
//! **Invariant.** What is in memory is when each is looked at, and no more: definition and state are read whenever it is, so that it
//! does not matter what has happened to them meanwhile. A tick is carried out in the unit that writes the state.
//!
//! While nothing is due, the cron loop's look at the first of the times is all that is done, however many there are.

mod define;
mod job;
mod lifecycle;
mod load;
mod look;
mod query;
mod report;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

pub use query::ScheduledFetch;

/// A schedule, by its space and its name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Id {
    space: Arc<str>,
    name: Arc<str>,
}

/// A tick that could not be carried out when it was due, and is tried again.
struct Trying {
    tick_ms: u64,
    error: Box<str>,
    /// Until it is tried the next time, twice as long each time.
    pause_ms: u64,
}

#[derive(Default)]
pub struct Schedules {
    /// When each is looked at, in Unix time; one that has ended is in neither. Trees, for maps would hold the thread whenever they
    /// grow.
    by_id: BTreeMap<Id, u64>,
    times: BTreeSet<(u64, Id)>,
    trying: BTreeMap<Id, Trying>,
    /// Fetches under way, by their tickets, and for which tick.
    fetching: BTreeMap<u64, (Id, u64)>,
    /// What came of them.
    fetched: VecDeque<(Id, u64, ScheduledFetch)>,
    loading: VecDeque<load::Loading>,
    figures: Figures,
}

/// For INFO, since the module was loaded.
#[derive(Debug, Default, Clone, Copy)]
struct Figures {
    ticks: u64,
    passed_over: u64,
    refused: u64,
}

impl Schedules {
    /// Has it looked at then.
    fn look_at(&mut self, id: &Id, at_ms: u64) {
        match self.by_id.insert(id.clone(), at_ms) {
            Some(before) if before == at_ms => return,
            Some(before) => drop(self.times.remove(&(before, id.clone()))),
            None => {}
        }
        self.times.insert((at_ms, id.clone()));
    }

    /// There is nothing to look at any more.
    fn forget(&mut self, id: &Id) {
        if let Some(before) = self.by_id.remove(id) {
            self.times.remove(&(before, id.clone()));
        }
        self.trying.remove(id);
    }

    /// When the next one is looked at.
    fn next_ms(&self) -> Option<u64> {
        self.times.first().map(|(at_ms, _)| *at_ms)
    }

    /// For INFO.
    pub fn figures(&self) -> [(&'static str, u64); 6] {
        [
            ("schedules", self.by_id.len() as u64),
            ("schedules_next_ms", self.next_ms().unwrap_or(0)),
            ("schedules_trying", self.trying.len() as u64),
            ("schedule_ticks", self.figures.ticks),
            ("schedule_ticks_passed_over", self.figures.passed_over),
            ("schedule_ticks_refused", self.figures.refused),
        ]
    }
}
