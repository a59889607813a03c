//! What a lock's key holds: `token ms`, with a TTL of what is left of the time.
//!
//! The time is written beside the TTL so that a clock that was set back makes no lock longer than it was asked for.

use std::fmt;

use crate::core::claims::token::MAX_TOKEN;

/// The longest time of a lock: a day.
pub const MAX_LOCK_MS: u64 = 86_400_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record {
    pub token: u64,
    /// For how long it was taken, or extended.
    pub ms: u64,
}

impl Record {
    /// None: bear has not written it.
    pub fn read(text: &[u8]) -> Option<Record> {
        let mut numbers = std::str::from_utf8(text).ok()?.split(' ').map(number);
        let record = Record { token: numbers.next()??, ms: numbers.next()?? };
        let is_ours = record.token < MAX_TOKEN && (1..=MAX_LOCK_MS).contains(&record.ms) && numbers.next().is_none();
        is_ours.then_some(record)
    }

    /// What is left of the time, by the TTL of its key; without one, all of it.
    pub fn left_ms(&self, ttl_ms: Option<u64>) -> u64 {
        ttl_ms.map_or(self.ms, |ttl_ms| ttl_ms.min(self.ms))
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.token, self.ms)
    }
}

fn number(text: &str) -> Option<u64> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_read_as_they_are_written() {
        for (token, ms) in [(0, 1), (1_764_331_399_000_000, 30_000), (MAX_TOKEN - 1, MAX_LOCK_MS)] {
            let record = Record { token, ms };
            assert_eq!(Record::read(record.to_string().as_bytes()), Some(record));
        }
        for wrong in [
            "",
            " ",
            "1",
            "1 ",
            " 1",
            "1 2 3",
            "1  2",
            "+1 2",
            "-1 2",
            "1 0",
            "x 1",
            "1 86400001",
            "9007199254740992 1",
        ] {
            assert_eq!(Record::read(wrong.as_bytes()), None, "{wrong}");
        }
        assert_eq!(Record::read(b"1 \xff"), None);
    }

    #[test]
    fn a_lock_is_no_longer_than_it_was_asked_for() {
        let record = Record { token: 7, ms: 1_000 };
        assert_eq!(
            [Some(300), Some(1_000), Some(9_000), None].map(|ttl| record.left_ms(ttl)),
            [300, 1_000, 1_000, 1_000]
        );
    }
}
