//! Durations as the catalog writes and shows them: `300ms`, `30s`, `5m`, `2h`, `1d`.

/// Not a duration, or one beyond its bounds.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a duration is a whole number and a unit, from 1ms to 365d (300ms, 30s, 5m, 2h, 1d), got '{got}'")]
pub struct DurationError {
    got: Box<str>,
}

const DAY_MS: u64 = 86_400_000;
const MAX_MS: u64 = 365 * DAY_MS;

/// The greatest first.
const UNITS: [(&str, u64); 5] = [("d", DAY_MS), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// `s`: 1,000.
pub fn unit_ms(unit: &str) -> Option<u64> {
    UNITS.iter().find(|(name, _)| *name == unit).map(|(_, ms)| *ms)
}

/// In the greatest unit that shows it whole.
pub fn to_text(duration_ms: u64) -> String {
    let (unit, unit_ms) = UNITS.iter().find(|(_, ms)| duration_ms.is_multiple_of(*ms)).unwrap_or(&("ms", 1));
    format!("{}{unit}", duration_ms / unit_ms)
}

/// The duration in milliseconds.
pub fn parse_ms(text: &str) -> Result<u64, DurationError> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let duration_ms = number.parse::<u64>().ok().zip(unit_ms(unit)).and_then(|(n, unit)| n.checked_mul(unit));
    duration_ms.filter(|ms| (1..=MAX_MS).contains(ms)).ok_or_else(|| DurationError { got: text.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, ms) in
            [("1ms", 1), ("300ms", 300), ("30s", 30_000), ("5m", 300_000), ("2h", 7_200_000), ("365d", MAX_MS)]
        {
            assert_eq!(parse_ms(text), Ok(ms));
            assert_eq!(to_text(ms), text);
        }
        for wrong in
            ["", "5", "m", "0s", "-1s", "1.5s", "5 m", "366d", "99999999999999999999s", "9999999999999999d", "5M", "é"]
        {
            assert!(parse_ms(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn durations_are_shown_in_the_greatest_unit_that_fits() {
        for (ms, text) in [(1_500, "1500ms"), (60_000, "1m"), (90_000, "90s"), (86_400_000, "1d"), (90_000_000, "25h")]
        {
            assert_eq!(to_text(ms), text);
            assert_eq!(parse_ms(text), Ok(ms));
        }
    }
}
