//! When workers have claimed or told something last. Those of the last ten minutes are remembered, and no more than a thousand:
//! connections come and go, and each may be a worker.

use std::collections::{BTreeMap, VecDeque};

/// A worker is remembered for so long.
pub const LATELY_MS: u64 = 600_000;

/// Workers that are remembered.
const MOST: usize = 1_000;

#[derive(Debug, Default)]
pub struct Seen {
    last: BTreeMap<u32, u64>,
    /// Each worker once, by a time that is not after its last one.
    line: VecDeque<(u64, u32)>,
}

impl Seen {
    pub fn insert(&mut self, worker: u32, now_ms: u64) {
        if self.last.insert(worker, now_ms).is_none() {
            self.line.push_back((now_ms, worker));
        }
        // One at a time is as many as come.
        let Some((at, first)) = self.line.front().copied() else { return };
        if at + LATELY_MS > now_ms && self.last.len() <= MOST {
            return;
        }
        self.line.pop_front();
        match self.last.get(&first).copied() {
            Some(last) if last > at && last + LATELY_MS > now_ms && self.last.len() <= MOST => {
                self.line.push_back((last, first));
            }
            _ => {
                self.last.remove(&first);
            }
        }
    }

    /// None: not lately.
    pub fn last_ms(&self, worker: u32, now_ms: u64) -> Option<u64> {
        self.last.get(&worker).copied().filter(|last| last + LATELY_MS > now_ms)
    }

    /// Those who were seen lately.
    pub fn workers(&self, now_ms: u64) -> impl Iterator<Item = u32> + '_ {
        self.last.iter().filter(move |(_, last)| **last + LATELY_MS > now_ms).map(|(worker, _)| *worker)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_are_remembered_for_ten_minutes() {
        let mut seen = Seen::default();
        seen.insert(1, 0);
        seen.insert(2, 5);
        seen.insert(1, LATELY_MS - 1);
        assert_eq!(seen.last_ms(1, LATELY_MS), Some(LATELY_MS - 1));
        assert_eq!(seen.workers(LATELY_MS + 5).collect::<Vec<_>>(), [1]);
        // The first in the line was seen since, and stays; the other one goes.
        seen.insert(1, LATELY_MS + 5);
        seen.insert(1, LATELY_MS + 6);
        assert_eq!((seen.last.len(), seen.line.len()), (1, 1));
        assert_eq!(seen.last_ms(2, 6), None);
    }

    #[test]
    fn a_thousand_are_remembered() {
        let mut seen = Seen::default();
        for worker in 0..5_000 {
            seen.insert(worker, 10);
            assert!(seen.last.len() <= MOST && seen.line.len() == seen.last.len());
        }
        assert_eq!(seen.workers(10).max(), Some(4_999));
    }
}
