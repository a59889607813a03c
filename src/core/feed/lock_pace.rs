//! How often and how long a lock on somebody's table is waited for: whoever comes to the table meanwhile waits, too.
//!
//! Rule: never longer than [`MOST`] at a time, and, attempts at it one after the other, for a hundredth of the time at
//! most. So the pause before an attempt is 99 times as long as the attempt may wait. The first ones are short, which is
//! enough where nobody holds the table for long.

use std::time::{Duration, Instant};

const LEAST: Duration = Duration::from_millis(2);
const MOST: Duration = Duration::from_millis(100);
const SHARE: u32 = 100;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LockPace {
    /// Attempts in vain, one after the other.
    failures: u32,
    /// When the last of them ended, and how long it took.
    last: Option<(Instant, Duration)>,
}

impl LockPace {
    /// How long the next attempt may wait for a lock.
    pub fn limit(&self) -> Duration {
        LEAST.saturating_mul(1 << self.failures.min(10)).min(MOST)
    }

    /// How long nobody may try yet.
    pub fn pause(&self, now: Instant) -> Duration {
        let Some((ended, took)) = self.last else { return Duration::ZERO };
        let pause = self.limit().max(took) * (SHARE - 1);
        (ended + pause).saturating_duration_since(now)
    }

    /// An attempt was in vain.
    pub fn failed(&mut self, begun: Instant, now: Instant) {
        self.failures = self.failures.saturating_add(1);
        self.last = Some((now, now.saturating_duration_since(begun)));
    }

    /// The lock was had.
    pub fn succeeded(&mut self) {
        *self = LockPace::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_that_is_held_makes_others_wait_a_hundredth_of_the_time() {
        let begun = Instant::now();
        let (mut pace, mut now, mut waited) = (LockPace::default(), begun, Duration::ZERO);
        assert_eq!(pace.pause(now), Duration::ZERO, "the first attempt is at once");
        while now < begun + Duration::from_secs(3_600) {
            let limit = pace.limit();
            assert!(limit <= Duration::from_millis(100));
            waited += limit;
            pace.failed(now, now + limit);
            now += limit;
            let allowed = LEAST + (now - begun) / SHARE;
            assert!(waited <= allowed, "{waited:?} of {:?}", now - begun);
            now += pace.pause(now);
        }
        assert_eq!(pace.limit(), MOST);
        assert!(waited >= Duration::from_secs(30), "it goes on trying: {waited:?}");
        pace.succeeded();
        assert_eq!((pace.limit(), pace.pause(now)), (LEAST, Duration::ZERO));
    }

    #[test]
    fn an_attempt_that_took_longer_than_it_should_is_paid_for() {
        let mut pace = LockPace::default();
        let begun = Instant::now();
        let ended = begun + Duration::from_millis(500);
        pace.failed(begun, ended);
        assert_eq!(pace.pause(ended), Duration::from_millis(500 * 99));
    }
}
