//! What a failure of Postgres means for the jobs in hand, and how long to wait before the next try.
//!
//! Pure: the caller brings the SQLSTATE and the randomness.

use std::time::Duration;

/// Attempts that a job has, unless ENQUEUE says otherwise.
pub const DEFAULT_ATTEMPTS: u32 = 2;

/// Wait after a job's first failed attempt, unless ENQUEUE says otherwise.
pub const DEFAULT_BACKOFF_MS: u64 = 2_000;

/// No attempt waits longer: 24 hours.
const MAX_ATTEMPT_DELAY_MS: u64 = 24 * 60 * 60 * 1_000;

/// What an error that a statement raised says about its jobs. It came on a connection that lives: where Postgres cannot serve
/// anybody, connections end or are not to be had, and the SQLSTATE is not asked. So whatever its class, it is the fault of a job
/// of the statement until shown otherwise: a foreign server that is away (08), a limit of the role (53), a function of the
/// user's own that raises 57P01.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// Two transactions were in each other's way: the batch is run again at once.
    Again,
    /// Somebody holds the job's row, or it took too long: it waits alone, at no cost.
    Isolate,
    /// The statement may not fit the database: if Postgres refuses to plan it, jobs of the type wait until it does, at no cost.
    Misfit,
    /// Disk or memory may be used up for everybody: if so, nobody is at fault.
    Shortage,
    /// The job's own fault: costs an attempt.
    Own,
}

/// The verdict for a SQLSTATE.
pub fn verdict(sqlstate: &str) -> Verdict {
    match sqlstate {
        // Cancelled (statement_timeout and pg_cancel_backend alike); lock_timeout and NOWAIT.
        "57014" | "55P03" => return Verdict::Isolate,
        "53100" | "53200" => return Verdict::Shortage,
        _ => {}
    }
    match sqlstate.get(..2) {
        // Serialization failure, deadlock. 40002 cannot be told from them in practice: Postgres never raises it.
        Some("40") => Verdict::Again,
        // Syntax, unknown names, missing privileges (42501); an unknown schema or database.
        Some("42" | "3F" | "3D") => Verdict::Misfit,
        // All else. Among them XX, though it is Postgres that is at fault: a damaged page or a bug of an extension hits the same
        // job each time. As its own fault it ends in `failed`, from where it can be retried.
        _ => Verdict::Own,
    }
}

/// How long a job waits after its `failed_attempts`-th failed attempt: `base * 2^(n-1)`, at most 24 hours.
pub fn attempt_delay_ms(base_ms: u64, failed_attempts: u32) -> u64 {
    let doublings = failed_attempts.saturating_sub(1);
    let factor = 1_u64.checked_shl(doublings).unwrap_or(u64::MAX);
    base_ms.saturating_mul(factor).min(MAX_ATTEMPT_DELAY_MS)
}

/// Waits between tries while Postgres is away: 50 ms, doubled up to 5 s.
///
/// Each wait is drawn from the upper three quarters of its step, so that appliers (of several servers) that lost
/// Postgres together do not come back together.
#[derive(Debug, Clone, Default)]
pub struct OutageBackoff {
    tries: u32,
}

impl OutageBackoff {
    const FIRST_MS: u64 = 50;
    const MAX_MS: u64 = 5_000;

    pub fn next(&mut self, random: u64) -> Duration {
        let factor = 1_u64.checked_shl(self.tries).unwrap_or(u64::MAX);
        let step = Self::FIRST_MS.saturating_mul(factor).min(Self::MAX_MS);
        self.tries = self.tries.saturating_add(1);
        let least = step / 4;
        Duration::from_millis(least + random % (step - least + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sqlstates_have_their_verdicts() {
        for (verdicts, codes) in [
            (Verdict::Shortage, &["53100", "53200"][..]),
            (Verdict::Again, &["40001", "40P01"]),
            (Verdict::Isolate, &["57014", "55P03"]),
            (Verdict::Misfit, &["42601", "42P01", "42703", "42501", "3F000", "3D000"]),
            (Verdict::Own, &["23505", "23503", "23514", "22P02", "22012", "54001", "P0001", "XX000", "XX001", "55000"]),
            (
                Verdict::Own,
                &["08001", "08006", "53300", "53400", "57P01", "57P03", "58030", "F0000", "25006", "25P02", "25P03"],
            ),
            (Verdict::Own, &["", "4", "é", "é40"]),
        ] {
            for code in codes {
                assert_eq!(verdict(code), verdicts, "{code}");
            }
        }
    }

    #[test]
    fn attempts_wait_twice_as_long_each_time() {
        const DAY: u64 = 86_400_000;
        for (base, failed, expected) in [
            (2_000, 0, 2_000),
            (2_000, 1, 2_000),
            (2_000, 2, 4_000),
            (2_000, 5, 32_000),
            (2_000, 17, DAY),
            (1, 64, DAY),
            (1, 65, DAY),
            (1, u32::MAX, DAY),
            (u64::MAX, 1, DAY),
            (0, 9, 0),
            (0, u32::MAX, 0),
        ] {
            assert_eq!(attempt_delay_ms(base, failed), expected, "{base} {failed}");
        }
    }

    #[test]
    fn an_outage_is_tried_again_ever_more_rarely() {
        let mut backoff = OutageBackoff::default();
        let waits: Vec<u128> = (0..9).map(|_| backoff.next(u64::MAX).as_millis()).collect();
        assert!(waits.iter().all(|wait| *wait <= 5_000) && waits[0] <= 50, "{waits:?}");
        let mut backoff = OutageBackoff { tries: 200 };
        assert!(backoff.next(7) >= Duration::from_millis(1_250));
    }

    proptest! {
        #[test]
        fn waits_stay_in_their_step(tries in 0u32..100, random in any::<u64>()) {
            let step = (50_u64 << tries.min(20)).min(5_000);
            let wait = OutageBackoff { tries }.next(random).as_millis() as u64;
            prop_assert!((step / 4..=step).contains(&wait), "{wait} of {step}");
        }
    }
}
