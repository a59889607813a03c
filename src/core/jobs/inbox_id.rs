//! Ids of jobs that came through `bear.inbox`: the number within the millisecond holds the row's id, so that whoever has the
//! job's id, a worker or a statement in Postgres, has the row's.
//!
//! `1795865095226-1000000000042` is of row 42: 10^12 and the row's id. Where a row with a smaller id follows within the
//! millisecond, the number is of the next 10^12: `1795865095226-2000000000041` is of row 41. Jobs that came otherwise have
//! numbers below 10^12.

use super::job_id::JobId;

/// From this number within the millisecond on an id is of the inbox.
pub const FIRST_INBOX_SEQ: u64 = 1_000_000_000_000;

/// Rows of the inbox have smaller ids.
pub const MAX_INBOX_ID: u64 = FIRST_INBOX_SEQ - 1;

/// Numbers stay below what Postgres' int8 holds.
const MAX_ROUND: u64 = 9_000_000;

impl JobId {
    /// The row of the inbox that the job came from.
    pub fn inbox(self) -> Option<u64> {
        (self.seq >= FIRST_INBOX_SEQ).then_some(self.seq % FIRST_INBOX_SEQ)
    }

    /// The id of a job of the inbox, after all others of its queue. `in_first_round`: its number shall be among the
    /// smallest, see [`crate::core::claims::place`].
    pub fn of_inbox(row: u64, newest: JobId, now_ms: u64, in_first_round: bool) -> JobId {
        let ms = now_ms.max(newest.ms);
        if ms > newest.ms {
            return JobId { ms, seq: FIRST_INBOX_SEQ + row };
        }
        let (round, last) = (newest.seq / FIRST_INBOX_SEQ, newest.seq % FIRST_INBOX_SEQ);
        let round = if round == 0 || row <= last { round + 1 } else { round };
        match round > MAX_ROUND || (in_first_round && round > 1) {
            true => JobId { ms: ms.saturating_add(1), seq: FIRST_INBOX_SEQ + row },
            false => JobId { ms, seq: round * FIRST_INBOX_SEQ + row },
        }
    }

    /// The least id after another that is no job's of the inbox.
    pub fn plain_after(self) -> JobId {
        match self.seq < FIRST_INBOX_SEQ - 1 {
            true => JobId { seq: self.seq + 1, ..self },
            false => JobId { ms: self.ms.saturating_add(1), seq: 0 },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn id(ms: u64, seq: u64) -> JobId {
        JobId { ms, seq }
    }

    #[test]
    fn ids_tell_their_rows() {
        const E12: u64 = FIRST_INBOX_SEQ;
        for (newest, row, now_ms, first, expected) in [
            (id(5, 0), 42, 9, false, id(9, E12 + 42)),
            (id(9, 3), 42, 9, false, id(9, E12 + 42)),
            (id(9, E12 + 42), 43, 9, false, id(9, E12 + 43)),
            (id(9, E12 + 42), 41, 9, false, id(9, 2 * E12 + 41)),
            (id(9, E12 + 42), 42, 9, false, id(9, 2 * E12 + 42)),
            (id(9, 2 * E12 + 41), 43, 9, false, id(9, 2 * E12 + 43)),
            (id(9, 2 * E12 + 41), 43, 9, true, id(10, E12 + 43)),
            (id(9, E12 + 41), 43, 3, true, id(9, E12 + 43)),
            (id(9, MAX_ROUND * E12 + 5), 4, 9, false, id(10, E12 + 4)),
        ] {
            assert_eq!(JobId::of_inbox(row, newest, now_ms, first), expected, "{newest} {row}");
        }
        assert_eq!(
            [id(1, 0), id(1, E12 - 1), id(1, E12), id(1, 3 * E12 + 7)].map(JobId::inbox),
            [None, None, Some(0), Some(7)]
        );
        assert_eq!(
            [id(1, 0), id(1, E12 - 2), id(1, E12 - 1), id(1, 3 * E12)].map(JobId::plain_after),
            [id(1, 1), id(1, E12 - 1), id(2, 0), id(2, 0)]
        );
    }

    proptest! {
        #[test]
        fn ids_rise_and_tell_their_rows_whatever_came_before(
            steps in prop::collection::vec((0..3_u64, any::<bool>(), any::<bool>(), 0..=MAX_INBOX_ID), 1..50)
        ) {
            let (mut newest, mut now) = (JobId::ZERO, 1_000);
            for (step, is_plain, first, row) in steps {
                now += step;
                let next = if is_plain { newest.plain_after() } else { JobId::of_inbox(row, newest, now, first) };
                prop_assert!(next > newest);
                prop_assert_eq!(next.inbox(), (!is_plain).then_some(row));
                prop_assert!(i64::try_from(next.seq).is_ok() && (!first || is_plain || next.seq < 2 * FIRST_INBOX_SEQ));
                newest = next;
            }
        }
    }
}
