//! Times of entries, kept small: tenths of a second since the module began, by a clock that never steps.

use std::time::Duration;

/// A time within 13 years of the beginning, rounded down to a tenth of a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Moment(u32);

const TENTH_MS: u128 = 100;

impl Moment {
    /// So long after the beginning.
    pub fn at(since_beginning: Duration) -> Moment {
        Moment(u32::try_from(since_beginning.as_millis() / TENTH_MS).unwrap_or(u32::MAX))
    }

    pub fn since_beginning(self) -> Duration {
        Duration::from_millis(u64::from(self.0) * TENTH_MS as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_tenths_rounded_down() {
        for (ms, rounded) in [(0, 0), (99, 0), (100, 100), (1_234, 1_200), (u64::from(u32::MAX), 4_294_967_200)] {
            assert_eq!(Moment::at(Duration::from_millis(ms)).since_beginning(), Duration::from_millis(rounded), "{ms}");
        }
        let far = Moment::at(Duration::from_secs(u64::MAX / 2));
        assert!(far > Moment::at(Duration::from_secs(13 * 365 * 86_400)));
        assert_eq!(std::mem::size_of::<Option<Moment>>(), 8);
    }
}
