//! Times counted in buckets that never change, so that servers can be added up and that counting takes no memory.

/// Upper bounds in microseconds: half a millisecond to an hour. One set for all, so that one panel can show fetches beside claims.
pub const BOUNDS_US: [u64; 17] = [
    500,
    1_000,
    2_500,
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    10_000_000,
    30_000_000,
    60_000_000,
    600_000_000,
    3_600_000_000,
];

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Histogram {
    /// Of each bucket alone; the last has no bound.
    counts: [u64; BOUNDS_US.len() + 1],
    sum_us: u64,
}

impl Histogram {
    pub fn record_us(&mut self, took_us: u64) {
        self.counts[BOUNDS_US.partition_point(|bound| *bound < took_us)] += 1;
        self.sum_us = self.sum_us.saturating_add(took_us);
    }

    pub fn record_ms(&mut self, took_ms: u64) {
        self.record_us(took_ms.saturating_mul(1_000));
    }

    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    pub fn sum_seconds(&self) -> f64 {
        self.sum_us as f64 / 1e6
    }

    /// Upper bounds in seconds and how many each bucket alone holds; the last bound is infinite.
    pub fn buckets(&self) -> Vec<(f64, u64)> {
        let bounds = BOUNDS_US.iter().map(|bound| *bound as f64 / 1e6).chain([f64::INFINITY]);
        bounds.zip(self.counts).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_counts_in_the_first_bucket_that_holds_it() {
        let mut histogram = Histogram::default();
        for took_us in [0, 500, 501, 1_000, 3_600_000_000, 3_600_000_001, u64::MAX / 2] {
            histogram.record_us(took_us);
        }
        let filled: Vec<(f64, u64)> = histogram.buckets().into_iter().filter(|(_, count)| *count > 0).collect();
        assert_eq!(filled, [(0.0005, 2), (0.001, 2), (3600.0, 1), (f64::INFINITY, 2)]);
        assert_eq!(histogram.count(), 7);
        histogram.record_us(u64::MAX);
        assert_eq!(histogram.sum_seconds(), u64::MAX as f64 / 1e6, "it does not begin anew");
    }

    #[test]
    fn bounds_grow() {
        assert!(BOUNDS_US.is_sorted_by(|a, b| a < b));
    }
}
