//! How many things happened a second, over the last ten seconds.

/// Seconds that count.
const SECONDS: u64 = 10;

#[derive(Debug, Clone, Default)]
pub struct Rate {
    /// By second modulo [`SECONDS`].
    buckets: [u64; SECONDS as usize],
    /// The second that was counted last.
    second: u64,
}

impl Rate {
    pub fn add(&mut self, now_ms: u64, count: u64) {
        self.forget_old(now_ms / 1000);
        self.buckets[(self.second % SECONDS) as usize] += count;
    }

    /// The mean a second, the second under way included.
    pub fn per_second(&self, now_ms: u64) -> u64 {
        let mut now = self.clone();
        now.forget_old(now_ms / 1000);
        now.buckets.iter().sum::<u64>().div_ceil(SECONDS)
    }

    fn forget_old(&mut self, second: u64) {
        for gone in self.second.max(second.saturating_sub(SECONDS))..second {
            self.buckets[((gone + 1) % SECONDS) as usize] = 0;
        }
        self.second = self.second.max(second);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_ten_seconds_count() {
        let mut rate = Rate::default();
        rate.add(1_000, 50);
        rate.add(2_500, 50);
        assert_eq!(rate.per_second(2_900), 10);
        assert_eq!(rate.per_second(10_999), 10);
        assert_eq!(rate.per_second(11_000), 5);
        assert_eq!(rate.per_second(12_000), 0);
        assert_eq!(rate.per_second(1_000_000), 0);
    }

    #[test]
    fn a_clock_that_steps_back_counts_where_it_was() {
        let mut rate = Rate::default();
        rate.add(5_000, 10);
        rate.add(1_000, 10);
        assert_eq!(rate.per_second(5_000), 2);
    }
}
