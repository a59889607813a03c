//! Limits of how many jobs are claimed at the same time, and of how many are begun in a time.
//!
//! Both are derived from claims: of those that there are, and of when they were begun. There is no counter beside them that
//! could leak. A rate is a sliding window: in no span of its length are more begun.

use std::collections::{BTreeSet, VecDeque};

use crate::core::catalog::claim::{Limit, Rate};
use crate::core::jobs::job_id::JobId;

/// What one limit has to go by.
#[cfg_attr(test, derive(Clone))]
#[derive(Debug, Default)]
pub struct Slots {
    claimed: BTreeSet<JobId>,
    /// When claims were begun, in monotonic milliseconds, as far as they are within the rate's window.
    begun: VecDeque<u64>,
}

impl Slots {
    pub fn hold(&mut self, id: JobId) {
        self.claimed.insert(id);
    }

    pub fn free(&mut self, id: JobId) {
        self.claimed.remove(&id);
    }

    /// A claim was begun. `now_ms` is rounded down; the next one must be a whole window after it all the same.
    pub fn begin(&mut self, limit: &Limit, now_ms: u64) {
        let Some(Rate { per_ms, .. }) = limit.rate else { return };
        self.forget(per_ms, now_ms);
        self.begun.push_back(now_ms + 1);
    }

    /// All within the window are kept, however few the rate lets through: another rate may be in force before they leave it.
    fn forget(&mut self, per_ms: u64, now_ms: u64) {
        while self.begun.front().is_some_and(|begun| begun + per_ms <= now_ms) {
            self.begun.pop_front();
        }
    }

    /// Why nothing may be begun now: until when, or until a claim ends (None).
    pub fn blocked(&mut self, limit: &Limit, now_ms: u64) -> Option<Option<u64>> {
        let rate = limit.rate.and_then(|Rate { count, per_ms }| {
            self.forget(per_ms, now_ms);
            let more = self.begun.len().checked_sub(count as usize)?;
            self.begun.get(more).map(|begun| begun + per_ms)
        });
        match limit.concurrency {
            Some(most) if self.claimed.len() >= most as usize => Some(None),
            _ => rate.map(Some),
        }
    }

    /// When the last start will have left the rate's window.
    pub fn forgets_ms(&self, limit: &Limit) -> Option<u64> {
        let Rate { per_ms, .. } = limit.rate?;
        self.begun.back().map(|begun| begun + per_ms)
    }

    pub fn is_empty(&self) -> bool {
        self.claimed.is_empty() && self.begun.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn limit(concurrency: Option<u32>, rate: Option<(u32, u64)>) -> Limit {
        Limit { concurrency, rate: rate.map(|(count, per_ms)| Rate { count, per_ms }) }
    }

    fn id(ms: u64) -> JobId {
        JobId { ms, seq: 0 }
    }

    #[test]
    fn as_many_are_held_as_may_be() {
        let limit = limit(Some(2), None);
        let mut slots = Slots::default();
        slots.hold(id(1));
        assert_eq!(slots.blocked(&limit, 0), None);
        slots.hold(id(2));
        assert_eq!(slots.blocked(&limit, 0), Some(None));
        slots.free(id(2));
        slots.free(id(2));
        assert_eq!(slots.blocked(&limit, 0), None);
    }

    #[test]
    fn what_was_begun_under_one_rate_counts_under_the_next() {
        let (many, few) = (limit(None, Some((4, 1000))), limit(None, Some((2, 1000))));
        let mut slots = Slots::default();
        // As when a queue is read again while the lower rate is in force.
        [0, 100, 200, 300].into_iter().for_each(|ms| slots.begin(&few, ms));
        assert_eq!(slots.blocked(&many, 400), Some(Some(1001)));
        assert_eq!(slots.blocked(&few, 400), Some(Some(1201)));
        assert_eq!(slots.blocked(&few, 1201), None);
    }

    proptest! {
        #[test]
        fn a_rate_is_reached_and_never_exceeded(
            count in 1_u32..5, per_ms in 1_u64..50, steps in prop::collection::vec(0_u64..20, 1..80)
        ) {
            let limit = limit(None, Some((count, per_ms)));
            let (mut slots, mut now, mut begun) = (Slots::default(), 0_u64, Vec::<u64>::new());
            for step in steps {
                now += step;
                let recent = |now: u64| begun.iter().filter(|at| **at + 1 + per_ms > now).count();
                match slots.blocked(&limit, now) {
                    None => {
                        prop_assert!(recent(now) < count as usize);
                        slots.begin(&limit, now);
                        begun.push(now);
                    }
                    Some(until) => {
                        let until = until.expect("there is no other limit");
                        prop_assert!(until > now && recent(now) >= count as usize && recent(until) < count as usize);
                    }
                }
            }
        }
    }
}
