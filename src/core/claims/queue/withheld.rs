//! Jobs that are not handed out yet, though they wait: of an inbox job it is first to be told to Postgres that its last claim
//! has ended, or found that its worker had completed it there.
//!
//! Invariants: what is withheld waits or is delayed, keeps its place, and counts as what it would be otherwise. Its time may come
//! meanwhile, or be brought on; it is let out by [`Queue::let_out`] alone. One that is claimed, settled or removed is withheld no more.

use super::{Facts, Queue};
use crate::core::jobs::job_id::JobId;

/// A job that is withheld.
#[cfg_attr(test, derive(Clone))]
#[derive(Debug)]
pub(super) enum Withheld {
    Waiting(Facts),
    Delayed,
}

impl Queue {
    /// A job that waits, or is delayed, is handed out no more.
    pub fn withhold(&mut self, facts: &Facts) {
        if self.claims.contains_key(&facts.id) || self.withheld.contains_key(&facts.id) {
            return;
        }
        if self.delayed.contains_key(&facts.id) {
            self.withheld.insert(facts.id, Withheld::Delayed);
            return;
        }
        if facts.orders.is_empty() {
            self.ready.remove(&facts.name, facts.group, facts.head());
        }
        self.enter(facts.clone(), false);
        self.count_withheld(facts, true);
        self.withheld.insert(facts.id, Withheld::Waiting(facts.clone()));
    }

    /// It may be handed out again, once it waits. False: it was not withheld.
    pub fn let_out(&mut self, id: JobId) -> bool {
        match self.withheld.remove(&id) {
            Some(Withheld::Waiting(facts)) => {
                self.count_withheld(&facts, false);
                self.enter(facts, true);
                true
            }
            Some(Withheld::Delayed) => true,
            None => false,
        }
    }

    pub fn is_withheld(&self, id: JobId) -> bool {
        self.withheld.contains_key(&id)
    }

    /// How many are.
    #[cfg(test)]
    pub fn withheld_len(&self) -> u64 {
        self.withheld.len() as u64
    }

    /// A job whose time has come waits, or goes on being withheld.
    pub(super) fn wait(&mut self, facts: Facts) {
        let Some(withheld) = self.withheld.get_mut(&facts.id) else { return self.enter(facts, true) };
        *withheld = Withheld::Waiting(facts.clone());
        self.count_withheld(&facts, true);
        self.enter(facts, false);
    }

    /// One that leaves the queue is withheld no more.
    pub(super) fn forget_withheld(&mut self, id: JobId) {
        if let Some(Withheld::Waiting(facts)) = self.withheld.remove(&id) {
            self.count_withheld(&facts, false);
        }
    }

    /// Those that wait.
    pub(super) fn waiting_withheld(&self) -> impl Iterator<Item = &Facts> {
        self.withheld.values().filter_map(|withheld| match withheld {
            Withheld::Waiting(facts) => Some(facts),
            Withheld::Delayed => None,
        })
    }

    fn count_withheld(&mut self, facts: &Facts, is_withheld: bool) {
        self.tally.withheld(&facts.name, is_withheld);
    }
}
