//! Lanes: jobs that share an order key, by place.
//!
//! Invariants: a job is ready if it waits, is the first in each of its lanes, and none of them has a claimed job; exactly then
//! it is in [`Ready`]. Jobs without an order key are in no lane.

use std::collections::{BTreeMap, BTreeSet};

use smallvec::SmallVec;

use crate::core::claims::job::{Facts, Orders};
use crate::core::claims::place::Place;
use crate::core::claims::ready::Ready;
use crate::core::claims::tally::Tally;

#[cfg_attr(test, derive(Clone))]
#[derive(Debug, Default)]
pub struct Lanes {
    /// By order key.
    pub(super) lanes: BTreeMap<u64, Lane>,
    pub(super) jobs: BTreeMap<Place, InLanes>,
}

#[cfg_attr(test, derive(Clone))]
#[derive(Debug, Default)]
pub struct Lane {
    pub(super) places: BTreeSet<Place>,
    pub(super) claimed: Option<Place>,
}

/// A job that is in lanes.
#[cfg_attr(test, derive(Clone))]
#[derive(Debug)]
pub struct InLanes {
    facts: Facts,
    /// It waits, and is not delayed nor claimed.
    waits: bool,
    is_ready: bool,
}

impl InLanes {
    /// Does it wait behind others of its order?
    fn is_behind(&self) -> bool {
        self.waits && !self.is_ready
    }
}

impl Lanes {
    /// What is known of the job that stands there.
    pub fn facts(&self, place: Place) -> Option<&Facts> {
        self.jobs.get(&place).map(|known| &known.facts)
    }

    /// Jobs that stand in lanes: those that wait, and those that hold their place while they are delayed or claimed.
    pub fn len(&self) -> usize {
        self.jobs.len()
    }

    /// Those that wait behind others.
    pub fn behind(&self) -> impl Iterator<Item = &Facts> {
        self.jobs.values().filter(|known| known.is_behind()).map(|known| &known.facts)
    }

    /// A job takes its place, or is in it already and now waits, or does not.
    pub fn enter(&mut self, facts: Facts, waits: bool, ready: &mut Ready, tally: &mut Tally) {
        let (place, orders) = (facts.place(), facts.orders.clone());
        for key in &orders {
            self.lanes.entry(*key).or_default().places.insert(place);
        }
        match self.jobs.get_mut(&place) {
            Some(known) => {
                let was_behind = known.is_behind();
                known.waits = waits;
                tally.moved(&known.facts.name, was_behind, known.is_behind());
            }
            None => {
                tally.moved(&facts.name, false, waits);
                self.jobs.insert(place, InLanes { facts, waits, is_ready: false });
            }
        }
        self.look_at_lanes(&orders, ready, tally);
    }

    /// A job leaves its lanes.
    pub fn leave(&mut self, place: Place, ready: &mut Ready, tally: &mut Tally) {
        let Some(known) = self.jobs.remove(&place) else { return };
        let facts = &known.facts;
        if known.is_ready {
            ready.remove(&facts.name, facts.group, facts.head());
        }
        tally.moved(&facts.name, known.is_behind(), false);
        for key in &facts.orders {
            if let Some(lane) = self.lanes.get_mut(key) {
                lane.places.remove(&place);
                if lane.places.is_empty() {
                    self.lanes.remove(key);
                }
            }
        }
        self.look_at_lanes(&facts.orders, ready, tally);
    }

    /// A job that stands in its lanes is claimed.
    pub fn claim(&mut self, facts: &Facts, ready: &mut Ready, tally: &mut Tally) {
        for key in &facts.orders {
            self.lanes.entry(*key).or_default().claimed = Some(facts.place());
        }
        self.look_at_lanes(&facts.orders, ready, tally);
    }

    /// It is not any more; it enters again, or leaves.
    pub fn let_go(&mut self, orders: &Orders) {
        for key in orders {
            if let Some(lane) = self.lanes.get_mut(key) {
                lane.claimed = None;
            }
        }
    }

    /// In each of these lanes, the first two may have changed places, or the first may be free now.
    fn look_at_lanes(&mut self, orders: &Orders, ready: &mut Ready, tally: &mut Tally) {
        for key in orders {
            let Some(lane) = self.lanes.get(key) else { continue };
            let first: SmallVec<[Place; 2]> = lane.places.iter().take(2).copied().collect();
            first.into_iter().for_each(|place| self.look_at(place, ready, tally));
        }
    }

    /// Is the job ready, or not any more?
    fn look_at(&mut self, place: Place, ready: &mut Ready, tally: &mut Tally) {
        let Some(known) = self.jobs.get_mut(&place) else { return };
        let facts = &known.facts;
        let is_first = |key: &u64| {
            self.lanes.get(key).is_some_and(|lane| lane.claimed.is_none() && lane.places.first() == Some(&place))
        };
        let is_ready = known.waits && facts.orders.iter().all(is_first);
        if is_ready == known.is_ready {
            return;
        }
        if is_ready {
            ready.insert(&facts.name, facts.group, facts.head());
        } else {
            ready.remove(&facts.name, facts.group, facts.head());
        }
        let was_behind = known.is_behind();
        known.is_ready = is_ready;
        tally.moved(&known.facts.name, was_behind, known.is_behind());
    }
}
