//! How long an entry is served.
//!
//! ```text
//! stored                        ends                  gone from Redis
//!   |----- ttl, less jitter ------|------- stale -------|
//!                 |-refresh_ahead-|
//!      fresh      |    ending     |        stale        |   over
//! ```
//! A hit on an ending or a stale entry is answered at once and has it fetched anew for nobody. `_until` cuts all of it.

use std::time::Duration;

/// What the catalog says of a query's entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Life {
    pub ttl_ms: u64,
    /// How long an entry is served beyond its TTL; 0: not at all.
    pub stale_ms: u64,
    /// A hit in the last so many ms of the TTL has the entry fetched anew; 0: none does.
    pub refresh_ahead_ms: u64,
    /// The TTL is shortened by a random share of up to so much.
    pub jitter_percent: u8,
}

/// How long one entry lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    pub fresh_ms: u64,
    /// Until Redis removes it.
    pub kept_ms: u64,
}

/// Where an entry is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Age {
    Fresh,
    Ending,
    Stale,
    Over,
}

impl Life {
    /// Nothing but a TTL.
    pub const fn of_ttl(ttl_ms: u64) -> Life {
        Life { ttl_ms, stale_ms: 0, refresh_ahead_ms: 0, jitter_percent: 0 }
    }

    /// Does being in Redis not suffice to tell an entry's age?
    pub fn is_soft(&self) -> bool {
        self.stale_ms > 0 || self.refresh_ahead_ms > 0
    }

    /// The least TTL that jitter leaves.
    pub fn shortest_ttl_ms(&self) -> u64 {
        self.ttl_ms - self.max_jitter_ms()
    }

    fn max_jitter_ms(&self) -> u64 {
        self.ttl_ms * u64::from(self.jitter_percent) / 100
    }

    /// The life of one entry; `until_ms` is what is left until its `_until`.
    pub fn span(&self, random: u64, until_ms: Option<i64>) -> Span {
        let jitter_ms = random % (self.max_jitter_ms() + 1);
        let most_ms = until_ms.map_or(u64::MAX, |until_ms| until_ms.max(0) as u64);
        let fresh_ms = (self.ttl_ms - jitter_ms).min(most_ms);
        Span { fresh_ms, kept_ms: (fresh_ms + self.stale_ms).min(most_ms) }
    }

    /// The age of an entry whose TTL ends at `ends`; both count from one beginning.
    pub fn age(&self, ends: Duration, now: Duration) -> Age {
        if now + Duration::from_millis(self.refresh_ahead_ms) < ends {
            Age::Fresh
        } else if now < ends {
            Age::Ending
        } else if now < ends + Duration::from_millis(self.stale_ms) {
            Age::Stale
        } else {
            Age::Over
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIFE: Life = Life { ttl_ms: 1_000, stale_ms: 300, refresh_ahead_ms: 200, jitter_percent: 10 };

    #[test]
    fn ages() {
        for (now, age) in [
            (0, Age::Fresh),
            (4_799, Age::Fresh),
            (4_800, Age::Ending),
            (4_999, Age::Ending),
            (5_000, Age::Stale),
            (5_299, Age::Stale),
            (5_300, Age::Over),
        ] {
            assert_eq!(LIFE.age(Duration::from_secs(5), Duration::from_millis(now)), age, "{now}");
        }
        let hard = Life::of_ttl(1_000);
        assert!(!hard.is_soft() && LIFE.is_soft());
        assert_eq!(hard.age(Duration::from_secs(5), Duration::from_millis(4_999)), Age::Fresh);
        assert_eq!(hard.age(Duration::from_secs(5), Duration::from_millis(5_000)), Age::Over);
    }

    #[test]
    fn spans() {
        for (random, until_ms, fresh_ms, kept_ms) in [
            (0, None, 1_000, 1_300),
            (100, None, 900, 1_200),
            (101, None, 1_000, 1_300),
            (0, Some(1_100), 1_000, 1_100),
            (0, Some(500), 500, 500),
            (0, Some(0), 0, 0),
            (0, Some(-5), 0, 0),
        ] {
            assert_eq!(LIFE.span(random, until_ms), Span { fresh_ms, kept_ms }, "{random} {until_ms:?}");
        }
    }

    proptest! {
        #[test]
        fn spans_keep_their_bounds(
            ttl_ms in 1u64..1 << 36, stale_ms in 0u64..1 << 36, jitter_percent in 0u8..=50,
            random in any::<u64>(), until_ms in prop::option::of(any::<i64>()),
        ) {
            let life = Life { ttl_ms, stale_ms, refresh_ahead_ms: 0, jitter_percent };
            let span = life.span(random, until_ms);
            prop_assert!(span.fresh_ms <= ttl_ms && span.fresh_ms <= span.kept_ms);
            prop_assert!(span.kept_ms <= span.fresh_ms + stale_ms);
            match until_ms {
                None => prop_assert!(span.fresh_ms >= life.shortest_ttl_ms() && span.kept_ms == span.fresh_ms + stale_ms),
                Some(until_ms) => prop_assert!(span.kept_ms <= until_ms.max(0) as u64),
            }
        }
    }
}
