//! Claimed jobs, as the catalog describes them: jobs that workers claim, carry out in any language, and acknowledge.

use std::fmt;

use crate::core::values::duration;
use crate::core::values::priority::Priority;

/// How a job is claimed, tried again and remembered.
#[derive(Debug, Clone, PartialEq)]
pub struct ClaimSpec {
    /// How long a claim is held without a word of its worker.
    pub lease_ms: u64,
    /// All told: the first counts.
    pub attempts: u32,
    /// Before the next attempt.
    pub backoff: Backoff,
    /// The backoff is lengthened by a random share of up to so much: 0.2 is a fifth.
    pub jitter: f64,
    /// The greatest is first.
    pub priority: Priority,
    /// Which completed jobs are kept.
    pub keep: Keep,
    /// Which failed jobs are kept.
    pub keep_failed: Keep,
}

impl ClaimSpec {
    /// Where the catalog says nothing.
    pub const DEFAULT: ClaimSpec = ClaimSpec {
        lease_ms: 30_000,
        attempts: 3,
        backoff: Backoff::Exponential { base_ms: 2_000 },
        jitter: 0.0,
        priority: 5,
        keep: Keep::Default,
        keep_failed: Keep::Default,
    };
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Backoff {
    /// Twice as long after each attempt.
    Exponential { base_ms: u64 },
    /// One for each attempt, the last one again and again; never empty.
    Steps(Box<[u64]>),
}

/// How many settled jobs of a type are kept, or how long, within the budgets of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// Completed: the last 100 and those of the last minute. Failed: the last 500.
    Default,
    Jobs(u64),
    AgeMs(u64),
}

/// At most so many in any window of so long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    pub count: u32,
    pub per_ms: u64,
}

/// Not a rate, or one beyond its bounds.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a rate is a whole number from 1 to {MAX_RATE} and a unit of time (80/s, 100/m, 1000/h, 5/d), got '{got}'")]
pub struct RateError {
    got: Box<str>,
}

/// Each start is remembered for as long as the window is.
const MAX_RATE: u32 = 1_000_000;

impl Rate {
    pub fn parse(text: &str) -> Result<Rate, RateError> {
        let read = || {
            let (count, unit) = text.split_once('/')?;
            let is_digits = count.bytes().all(|byte| byte.is_ascii_digit());
            let count = count.parse().ok().filter(|count| is_digits && (1..=MAX_RATE).contains(count))?;
            let per_ms = duration::unit_ms(unit).filter(|_| unit != "ms")?;
            Some(Rate { count, per_ms })
        };
        read().ok_or_else(|| RateError { got: text.into() })
    }
}

/// As the catalog writes it.
impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let per = duration::to_text(self.per_ms);
        write!(f, "{}/{}", self.count, per.strip_prefix('1').unwrap_or(&per))
    }
}

/// None: without limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limit {
    /// Claims at the same time.
    pub concurrency: Option<u32>,
    /// Claims that begin.
    pub rate: Option<Rate>,
}

/// Of a space.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Limits {
    pub all: Limit,
    /// Of the jobs that share a value of the field.
    pub by: Option<(Box<str>, Limit)>,
}

/// A section that takes jobs of any name, with any JSON, beside those that it declares.
#[derive(Debug, Clone, PartialEq)]
pub struct OpenJobs {
    /// Of all of them.
    pub claim: ClaimSpec,
    /// Keys of the payload, if that is an object: jobs that share a value are claimed one at a time, in their order.
    pub order: Vec<Box<str>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates() {
        for (text, count, per_ms) in [
            ("80/s", 80, 1_000),
            ("100/m", 100, 60_000),
            ("1000/h", 1_000, 3_600_000),
            ("5/d", 5, 86_400_000),
            ("1/s", 1, 1_000),
            ("1000000/d", 1_000_000, 86_400_000),
        ] {
            assert_eq!(Rate::parse(text), Ok(Rate { count, per_ms }));
            assert_eq!(Rate { count, per_ms }.to_string(), text);
        }
        for wrong in [
            "",
            "/",
            "80",
            "80/",
            "/s",
            "0/s",
            "+1/s",
            "-1/s",
            "1.5/s",
            "80 / s",
            "80/ s",
            "80/S",
            "80/ms",
            "80/10s",
            "80/s/s",
            "1000001/s",
            "99999999999/s",
            "é/s",
        ] {
            let error = Rate::parse(wrong).expect_err(wrong).to_string();
            assert!(
                error.contains("(80/s, 100/m, 1000/h, 5/d)") && error.ends_with(&format!("got '{wrong}'")),
                "{error}"
            );
        }
    }
}
