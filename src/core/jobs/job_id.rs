//! A job's id, which is its id in the stream: milliseconds and a number within them, in the order of enqueueing.

use std::fmt;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct JobId {
    pub ms: u64,
    pub seq: u64,
}

impl JobId {
    /// Before every job.
    pub const ZERO: JobId = JobId { ms: 0, seq: 0 };

    /// `1700000000000-0`, as streams spell it: both numbers plainly, without signs or leading zeros.
    pub fn parse(text: &[u8]) -> Option<JobId> {
        let at = text.iter().position(|byte| *byte == b'-')?;
        Some(JobId { ms: parse_number(&text[..at])?, seq: parse_number(&text[at + 1..])? })
    }

    pub fn text(self) -> IdText {
        let mut bytes = [b'-'; MAX_TEXT];
        let dash = write_number(self.seq, &mut bytes, MAX_TEXT) - 1;
        let from = write_number(self.ms, &mut bytes, dash);
        IdText { bytes, from: from as u8 }
    }

    /// The least id after this one; None after the last that there can be.
    pub fn next(self) -> Option<JobId> {
        match self.seq.checked_add(1) {
            Some(seq) => Some(JobId { seq, ..self }),
            None => self.ms.checked_add(1).map(|ms| JobId { ms, seq: 0 }),
        }
    }

    /// The greatest id before this one; None before the first that there can be.
    pub fn previous(self) -> Option<JobId> {
        match self.seq.checked_sub(1) {
            Some(seq) => Some(JobId { seq, ..self }),
            None => self.ms.checked_sub(1).map(|ms| JobId { ms, seq: u64::MAX }),
        }
    }
}

/// Digits of two numbers and a dash, no more.
const MAX_TEXT: usize = 41;

/// An id as streams spell it, without an allocation.
#[derive(Clone, Copy)]
pub struct IdText {
    bytes: [u8; MAX_TEXT],
    /// Where it begins.
    from: u8,
}

impl IdText {
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[usize::from(self.from)..]
    }
}

/// Writes a number before a place; returns where it begins.
fn write_number(mut number: u64, bytes: &mut [u8; MAX_TEXT], mut at: usize) -> usize {
    loop {
        at -= 1;
        bytes[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return at;
        }
    }
}

fn parse_number(digits: &[u8]) -> Option<u64> {
    let plain = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit) && (digits[0] != b'0' || digits.len() == 1);
    std::str::from_utf8(digits).ok().filter(|_| plain)?.parse().ok()
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.ms, self.seq)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_spelled_as_streams_do() {
        let id = |ms, seq| Some(JobId { ms, seq });
        for (text, expected) in [
            ("0-0", id(0, 0)),
            ("1700000000000-12", id(1_700_000_000_000, 12)),
            ("18446744073709551615-1", id(u64::MAX, 1)),
            ("18446744073709551616-1", None),
            ("1", None),
            ("1-", None),
            ("-1", None),
            ("01-1", None),
            ("1-+1", None),
            ("1-1-1", None),
            ("", None),
        ] {
            assert_eq!(JobId::parse(text.as_bytes()), expected, "{text}");
        }
        assert_eq!(JobId { ms: 5, seq: 7 }.to_string(), "5-7");
        for (ms, seq) in [(0, 0), (1_700_000_000_000, 12), (u64::MAX, u64::MAX), (10, u64::MAX), (u64::MAX, 0)] {
            let id = JobId { ms, seq };
            assert_eq!(id.text().as_bytes(), id.to_string().as_bytes());
        }
        assert_eq!(JobId { ms: 5, seq: u64::MAX }.next(), id(6, 0));
        assert_eq!(JobId { ms: 6, seq: 0 }.previous(), id(5, u64::MAX));
        assert_eq!(JobId { ms: 5, seq: 7 }.previous(), id(5, 6));
        assert_eq!(JobId::ZERO.previous(), None);
        assert!(JobId { ms: 5, seq: 9 } < JobId { ms: 6, seq: 0 });
    }
}
