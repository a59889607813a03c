//! Where a job stands among others of its priority, and of its order: by its id, or, where it had to wait for a time, by that
//! time. So a job that was put off for an hour does not overtake what was enqueued in that hour.

use crate::core::jobs::job_id::JobId;

/// Mostly the job's own id. One that was delayed has, behind its time, a number that no stream gives, and that holds its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place(JobId);

/// Numbers within a millisecond from here on are of delayed jobs.
const DELAYED: u64 = 1 << 63;
const SEQ_BITS: u32 = 20;

/// Ids of claimed jobs have numbers within a millisecond below this one.
pub const MAX_SEQ: u64 = (1 << SEQ_BITS) - 1;

/// The year 2248.
const MAX_MS: u64 = (1 << (63 - SEQ_BITS)) - 1;

impl Place {
    /// The place of a job; `due_ms`: the Unix time before which it was not to be had.
    pub fn new(id: JobId, due_ms: Option<u64>) -> Place {
        match due_ms {
            Some(ms) if ms > id.ms && id.ms <= MAX_MS && id.seq <= MAX_SEQ => {
                Place(JobId { ms, seq: DELAYED | id.ms << SEQ_BITS | id.seq })
            }
            // An id from another hand, too: it only stands a little too far ahead. Where its number is one of delayed jobs it is
            // told without the mark: a job that is not there, which whoever picks it can take out of here again.
            _ => Place(JobId { ms: id.ms, seq: id.seq & !DELAYED }),
        }
    }

    pub fn job(self) -> JobId {
        match self.0.seq & DELAYED {
            0 => self.0,
            _ => JobId { ms: (self.0.seq & !DELAYED) >> SEQ_BITS, seq: self.0.seq & MAX_SEQ },
        }
    }

    /// The time that the job had to wait for.
    pub fn due_ms(self) -> Option<u64> {
        (self.0.seq & DELAYED != 0).then_some(self.0.ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn id(ms: u64) -> JobId {
        JobId { ms, seq: 0 }
    }

    #[test]
    fn jobs_stand_by_their_id_or_by_the_time_they_waited_for() {
        let places = [(10, None), (5, Some(20)), (6, Some(20)), (21, Some(3))].map(|(ms, due)| Place::new(id(ms), due));
        assert!(places.is_sorted());
        assert_eq!(places.map(Place::job), [id(10), id(5), id(6), id(21)]);
        assert_eq!(places.map(Place::due_ms), [None, Some(20), Some(20), None]);
    }

    proptest! {
        #[test]
        fn a_place_tells_its_job(ms in 0..=MAX_MS, seq in 0..=MAX_SEQ, due in prop::option::of(0..=MAX_MS)) {
            let id = JobId { ms, seq };
            prop_assert_eq!(Place::new(id, due).job(), id);
        }

        /// Of any id that somebody writes into the stream: or else what was picked could not be taken out again.
        #[test]
        fn a_place_is_that_of_the_job_it_tells(
            ms in prop_oneof![any::<u64>(), 0..2 * MAX_MS], seq: u64, due: Option<u64>
        ) {
            let place = Place::new(JobId { ms, seq }, due);
            prop_assert_eq!(Place::new(place.job(), place.due_ms()), place);
        }
    }
}
