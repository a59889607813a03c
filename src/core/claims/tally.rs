//! How many claimed jobs of a type are in which state, and how many a worker holds: counted as they come and go, so that
//! telling it looks at types and workers, and at no job.

use std::collections::BTreeMap;
use std::sync::Arc;

/// Jobs by state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    pub waiting: u64,
    pub delayed: u64,
    pub claimed: u64,
}

#[cfg_attr(test, derive(Clone))]
#[derive(Debug, Default)]
pub struct Tally {
    /// Of those that wait, the ones behind others of their order only, and those that are withheld.
    types: BTreeMap<Arc<str>, Counts>,
    behind: u64,
    withheld: u64,
    workers: BTreeMap<u32, u64>,
}

impl Tally {
    /// Of all types.
    pub fn behind(&self) -> u64 {
        self.behind
    }

    pub fn types(&self) -> &BTreeMap<Arc<str>, Counts> {
        &self.types
    }

    pub fn workers(&self) -> &BTreeMap<u32, u64> {
        &self.workers
    }

    /// A type without jobs is not kept.
    pub fn count(&mut self, name: &Arc<str>, change: impl FnOnce(&mut Counts)) {
        match self.types.get_mut(name) {
            Some(counts) => {
                change(counts);
                if *counts == Counts::default() {
                    self.types.remove(name);
                }
            }
            None => change(self.types.entry(name.clone()).or_default()),
        }
    }

    /// Of all types: those that wait and are withheld.
    pub fn withheld_len(&self) -> u64 {
        self.withheld
    }

    /// A job that waits is withheld, or is not any more.
    pub fn withheld(&mut self, name: &Arc<str>, is_withheld: bool) {
        if is_withheld {
            self.withheld += 1;
            self.count(name, |counts| counts.waiting += 1);
        } else {
            self.withheld -= 1;
            self.count(name, |counts| counts.waiting -= 1);
        }
    }

    /// A job waits behind others, or does not any more.
    pub fn moved(&mut self, name: &Arc<str>, was_behind: bool, is_behind: bool) {
        match (was_behind, is_behind) {
            (false, true) => {
                self.behind += 1;
                self.count(name, |counts| counts.waiting += 1);
            }
            (true, false) => {
                self.behind -= 1;
                self.count(name, |counts| counts.waiting -= 1);
            }
            _ => {}
        }
    }

    pub fn held(&mut self, name: &Arc<str>, worker: u32) {
        self.count(name, |counts| counts.claimed += 1);
        *self.workers.entry(worker).or_default() += 1;
    }

    pub fn let_go(&mut self, name: &Arc<str>, worker: u32) {
        self.count(name, |counts| counts.claimed -= 1);
        if let Some(held) = self.workers.get_mut(&worker) {
            *held -= 1;
            if *held == 0 {
                self.workers.remove(&worker);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_and_goes_leaves_nothing() {
        let (one, two): (Arc<str>, Arc<str>) = ("ONE".into(), "TWO".into());
        let mut tally = Tally::default();
        tally.held(&one, 1);
        tally.held(&two, 1);
        tally.held(&two, 2);
        tally.moved(&one, false, true);
        tally.moved(&one, true, true);
        tally.count(&two, |counts| counts.delayed += 1);
        assert_eq!(tally.behind(), 1);
        assert_eq!(tally.types()[&one], Counts { waiting: 1, delayed: 0, claimed: 1 });
        assert_eq!(tally.types()[&two], Counts { waiting: 0, delayed: 1, claimed: 2 });
        assert_eq!(tally.workers().iter().map(|(id, held)| (*id, *held)).collect::<Vec<_>>(), [(1, 2), (2, 1)]);
        tally.let_go(&one, 1);
        tally.let_go(&two, 1);
        tally.let_go(&two, 2);
        tally.moved(&one, true, false);
        tally.count(&two, |counts| counts.delayed -= 1);
        assert!(tally.behind() == 0 && tally.types().is_empty() && tally.workers().is_empty());
    }
}
