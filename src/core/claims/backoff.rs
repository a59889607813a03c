//! How long a claimed job waits before its next attempt. Pure: the caller brings the randomness.

use crate::core::catalog::claim::Backoff;
use crate::core::jobs::retry::attempt_delay_ms;

/// No attempt waits longer: 24 hours.
pub const MAX_DELAY_MS: u64 = 24 * 60 * 60 * 1_000;

/// The wait after the `failed`-th failed attempt. A job's own BACKOFF goes before the catalog's, and doubles as that does.
/// `jitter` lengthens it by a random share of up to so much; 0 stays 0.
pub fn delay_ms(backoff: &Backoff, own_ms: Option<u64>, jitter: f64, failed: u32, random: u64) -> u64 {
    let delay = match (own_ms, backoff) {
        (Some(own_ms), _) => attempt_delay_ms(own_ms, failed),
        (None, Backoff::Exponential { base_ms }) => attempt_delay_ms(*base_ms, failed),
        (None, Backoff::Steps(steps)) => {
            let at = (failed.max(1) as usize - 1).min(steps.len().saturating_sub(1));
            steps.get(at).copied().unwrap_or(0)
        }
    };
    // 53 bits are what a float holds: a share from 0 to 1, without 1.
    let share = (random >> 11) as f64 / (1_u64 << 53) as f64;
    let longer = (delay as f64 * jitter.max(0.0) * share) as u64;
    delay.saturating_add(longer).min(MAX_DELAY_MS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn waits_follow_the_catalog_or_the_job() {
        let exponential = Backoff::Exponential { base_ms: 2_000 };
        let steps = Backoff::Steps([1_000, 10_000, 300_000].into());
        let long = Backoff::Steps([u64::MAX].into());
        for (backoff, own, failed, expected) in [
            (&exponential, None, 1, 2_000),
            (&exponential, None, 2, 4_000),
            (&exponential, None, 3, 8_000),
            (&exponential, None, 99, MAX_DELAY_MS),
            (&exponential, Some(500), 3, 2_000),
            (&exponential, Some(0), 3, 0),
            (&steps, None, 0, 1_000),
            (&steps, None, 1, 1_000),
            (&steps, None, 2, 10_000),
            (&steps, None, 3, 300_000),
            (&steps, None, 4, 300_000),
            (&steps, None, u32::MAX, 300_000),
            (&steps, Some(7), 1, 7),
            (&long, None, 1, MAX_DELAY_MS),
        ] {
            assert_eq!(delay_ms(backoff, own, 0.0, failed, u64::MAX), expected, "{backoff:?} {own:?} {failed}");
        }
    }

    #[test]
    fn jitter_only_lengthens() {
        let backoff = Backoff::Exponential { base_ms: 1_000 };
        assert_eq!(delay_ms(&backoff, None, 0.2, 1, 0), 1_000);
        assert_eq!(delay_ms(&backoff, None, 0.2, 1, u64::MAX / 2), 1_099);
        assert_eq!(delay_ms(&backoff, None, 0.2, 1, u64::MAX), 1_199);
        assert_eq!(delay_ms(&backoff, Some(0), 1.0, 1, u64::MAX), 0);
        assert_eq!(delay_ms(&backoff, None, f64::NAN, 1, u64::MAX), 1_000);
    }

    proptest! {
        #[test]
        fn waits_stay_in_their_bounds(base in any::<u64>(), jitter in 0.0..=1.0_f64, failed in any::<u32>(), random in any::<u64>()) {
            let backoff = Backoff::Exponential { base_ms: base };
            let plain = delay_ms(&backoff, None, 0.0, failed, random);
            let wait = delay_ms(&backoff, None, jitter, failed, random);
            prop_assert!(plain <= wait && wait <= MAX_DELAY_MS);
            prop_assert!(wait as f64 <= plain as f64 * (1.0 + jitter));
        }
    }
}
