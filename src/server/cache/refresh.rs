//! Entries at the end of their life are served, and fetched anew for nobody: see [`crate::core::catalog::life`].
//!
//! A fetch that fails leaves the entry as it is, and is not tried again for a moment, so that hits on an entry that
//! outlives Postgres do not become fetches.

use std::rc::Rc;
use std::time::{Duration, Instant};

use rustc_hash::FxHashMap;

use super::call::{Call, Freshness, Words};
use crate::core::cache::index::Entry;
use crate::core::catalog::life::{Age, Life};
use crate::core::catalog::space::SpaceRef;
use crate::server::Server;

/// After a fetch has failed, hits on its entry start no other for so long.
const REST: Duration = Duration::from_secs(1);

/// Failures that are remembered before those that do not matter any more are forgotten.
const MANY: usize = 1024;

/// Entries whose fetch has failed a moment ago.
#[derive(Default)]
pub struct Resting {
    since: FxHashMap<Box<[u8]>, Instant>,
}

impl Resting {
    pub fn is_resting(&self, key: &[u8], now: Instant) -> bool {
        self.since.get(key).is_some_and(|since| now.duration_since(*since) < REST)
    }

    fn begin(&mut self, key: &[u8], now: Instant) {
        if self.since.len() >= MANY {
            self.since.retain(|_, since| now.duration_since(*since) < REST);
        }
        self.since.insert(key.into(), now);
    }
}

impl Server {
    /// The age of the entry that `self.key` names; fresh where a newer result is being stored, and on a replica, which
    /// does not know it.
    pub(in crate::server) fn age_of_key(&self, life: &Life) -> Age {
        if !life.is_soft() || !self.is_master() || self.keyspace.publishing(&self.key).is_some() {
            return Age::Fresh;
        }
        self.keyspace.live(&self.key).map_or(Age::Over, |entry| self.age_of(life, entry))
    }

    /// The age of a live entry.
    pub(in crate::server) fn age_of(&self, life: &Life, entry: &Entry) -> Age {
        if !life.is_soft() {
            // Redis removes it when it is over.
            return Age::Fresh;
        }
        life.age(entry.facts.ends.since_beginning(), self.begun.elapsed())
    }

    /// Fetches the entry that `self.key` names anew, for nobody, unless that is under way.
    pub(in crate::server) fn refresh(&mut self, space_name: &[u8], space: SpaceRef, words: &Words) {
        let is_wanted = self.fills.would_send(&self.key)
            && self.fetches_running() < self.config.max_fills as usize
            && !self.resting.is_resting(&self.key, Instant::now());
        // Where nobody can be asked, the entry is served to its end.
        if !is_wanted || self.begin_fetching().is_err() {
            return;
        }
        let Ok(call) = Call::new(self, space_name, space, words) else { return };
        let call = Rc::new(call);
        if let Some(ticket) = self.fills.refresh(&call.key, call.clone()) {
            self.stats.section(space.section).refreshes += 1;
            self.send(ticket, &call);
        }
    }

    /// A fetch has failed: its entry is left alone for a moment, if there may be one that hits would fetch anew.
    pub(in crate::server) fn rest(&mut self, call: &Call) {
        let query = &call.catalog.sections[call.section].queries[call.query];
        if query.life.is_soft() {
            self.resting.begin(&call.key, Instant::now());
        }
    }
}

/// May an entry of this age answer?
pub(in crate::server) fn may_serve(age: Age, freshness: Freshness) -> bool {
    match (age, freshness) {
        (_, Freshness::Fresh) | (Age::Over, _) | (Age::Stale, Freshness::Cached) => false,
        (Age::Fresh | Age::Ending, _) | (Age::Stale, Freshness::Any) => true,
    }
}
