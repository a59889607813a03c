//! Where a job stands among others of its priority, and of its order: by its id, or, where it had to wait for a time, by that
//! time. So a job that was put off for an hour does not overtake what was enqueued in that hour.

use crate::core::jobs::job_id::JobId;

/// ```text
/// time: 43 bits | 0 | seq: 64 bits                     a job that stands by its id
/// due:  43 bits | 1 | ms: 43 bits, seq: 41 bits        one that had to wait
/// ones: 43 bits | 0 | ms: 64 bits, seq: 20 bits        of the year 2248 or later: from another hand
/// ```
/// Two words rather than one of 128 bits, which would be aligned to sixteen bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place([u64; 2]);

const TIME_BITS: u32 = 43;
const TIME_AT: u32 = 128 - TIME_BITS;
const DELAYED: u128 = 1 << (TIME_AT - 1);
const REST: u128 = DELAYED - 1;

/// Of a delayed job's id: those of the inbox are the greatest.
const SEQ_BITS: u32 = TIME_AT - 1 - TIME_BITS;
const MAX_SEQ: u64 = (1 << SEQ_BITS) - 1;

/// Behind every time.
const BEYOND: u64 = (1 << TIME_BITS) - 1;
const BEYOND_SEQ_BITS: u32 = 20;
const BEYOND_MAX_SEQ: u64 = (1 << BEYOND_SEQ_BITS) - 1;

impl Place {
    /// The place of a job; `due_ms`: the Unix time before which it was not to be had.
    pub fn new(id: JobId, due_ms: Option<u64>) -> Place {
        let ms = u128::from(id.ms);
        if id.ms >= BEYOND {
            // What does not fit is told as a job that is not there, which whoever picks it can take out of here again.
            return Place::pack(BEYOND, ms << BEYOND_SEQ_BITS | u128::from(id.seq & BEYOND_MAX_SEQ));
        }
        match due_ms {
            Some(due) if due > id.ms && due < BEYOND && id.seq <= MAX_SEQ => {
                Place::pack(due, DELAYED | ms << SEQ_BITS | u128::from(id.seq))
            }
            // An id from another hand, too: it only stands a little too far ahead.
            _ => Place::pack(id.ms, id.seq.into()),
        }
    }

    pub fn job(self) -> JobId {
        let (time, rest) = self.unpack();
        let split = |bits: u32| JobId { ms: (rest >> bits) as u64, seq: rest as u64 & ((1 << bits) - 1) };
        match (time, self.is_delayed()) {
            (BEYOND, _) => split(BEYOND_SEQ_BITS),
            (_, true) => split(SEQ_BITS),
            (ms, false) => JobId { ms, seq: rest as u64 },
        }
    }

    /// The time that the job had to wait for.
    pub fn due_ms(self) -> Option<u64> {
        self.is_delayed().then(|| self.unpack().0)
    }

    fn is_delayed(self) -> bool {
        self.bits() & DELAYED != 0
    }

    fn pack(time: u64, below: u128) -> Place {
        let bits = u128::from(time) << TIME_AT | below;
        Place([(bits >> 64) as u64, bits as u64])
    }

    fn bits(self) -> u128 {
        u128::from(self.0[0]) << 64 | u128::from(self.0[1])
    }

    fn unpack(self) -> (u64, u128) {
        ((self.bits() >> TIME_AT) as u64, self.bits() & REST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::jobs::inbox_id::FIRST_INBOX_SEQ;
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
        assert_eq!(std::mem::size_of::<Place>(), std::mem::size_of::<JobId>());
    }

    #[test]
    fn ids_that_no_clock_gives_stand_last_and_in_their_order() {
        let of = |ms, seq| Place::new(JobId { ms, seq }, None);
        let places =
            [of(BEYOND - 1, u64::MAX), of(BEYOND, 0), of(BEYOND, 7), of(u64::MAX, 0), of(u64::MAX, BEYOND_MAX_SEQ)];
        assert!(places.is_sorted());
        assert_eq!(places[4].job(), JobId { ms: u64::MAX, seq: BEYOND_MAX_SEQ });
        assert_eq!(Place::new(id(5), Some(BEYOND)), Place::new(id(5), None));
    }

    proptest! {
        #[test]
        fn a_place_tells_its_job(ms in 0..BEYOND, seq in prop_oneof![0..=MAX_SEQ, FIRST_INBOX_SEQ..=MAX_SEQ], due in prop::option::of(0..BEYOND)) {
            let id = JobId { ms, seq };
            let place = Place::new(id, due);
            prop_assert_eq!(place.job(), id);
            prop_assert_eq!(place.due_ms(), due.filter(|due| *due > ms));
        }

        #[test]
        fn places_are_in_the_order_of_time_and_then_of_ids(
            one in (0..50_u64, 0..3_u64, prop::option::of(0..50_u64)), other in (0..50_u64, 0..3_u64, prop::option::of(0..50_u64))
        ) {
            let naive = |(ms, seq, due): (u64, u64, Option<u64>)| match due.filter(|due| *due > ms) {
                Some(due) => (due, true, ms, seq),
                None => (ms, false, ms, seq),
            };
            let place = |(ms, seq, due)| Place::new(JobId { ms, seq }, due);
            prop_assert_eq!(place(one).cmp(&place(other)), naive(one).cmp(&naive(other)));
        }

        /// Of any id that somebody writes into the stream: or else what was picked could not be taken out again.
        #[test]
        fn a_place_is_that_of_the_job_it_tells(
            ms in prop_oneof![any::<u64>(), 0..2 * BEYOND], seq: u64, due: Option<u64>
        ) {
            let place = Place::new(JobId { ms, seq }, due);
            prop_assert_eq!(Place::new(place.job(), place.due_ms()), place);
        }
    }
}
