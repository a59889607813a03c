//! The generic cell rate algorithm, with the rules of redis-cell's CL.THROTTLE.
//!
//! All that is kept of a limit is one moment, the theoretical arrival time (TAT): when whatever was let through would have
//! been done, one each interval. A request moves it by an interval for each of its quantity, and is let through if it is then
//! no more than the tolerance ahead of now. In a full span of any length `s` no more than `limit + s / interval` are let through.
//!
//! Where this differs from redis-cell 0.4:
//! - The interval is rounded up to a nanosecond, there down: no more are let through than was said.
//! - `remaining` and times are whole numbers throughout, there floating point of microseconds.
//! - A moment further ahead than the tolerance, which a clock that was set back leaves, or a limit that was made smaller, is put
//!   where the tolerance ends: the limit is used up, and no more than that. There one waits until the clock has come there.
//! - A request that can never be let through does not make `remaining` larger than the limit where the moment is long past.
//! - Quantity 0 keeps nothing, there it stores the moment again.

const NS_PER_MS: u64 = 1_000_000;

/// The bounds of a limit's numbers. A count within them has an interval of a nanosecond at least.
pub const MAX_BURST: u64 = 1_000_000;
pub const MAX_COUNT: u64 = 1_000_000;
pub const MAX_PERIOD_MS: u64 = 365 * 86_400_000;
pub const MAX_QUANTITY: u64 = 1_000_000;

/// How long an unused limit may take to be whole again: sums with Unix time fit into 64 bits until the year 2454.
const MAX_TOLERANCE_NS: u64 = 100 * 365 * 86_400 * 1_000 * NS_PER_MS;

/// A limit: `count` in a period, and a burst of so many more at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// Between two in the long run.
    interval_ns: u64,
    /// How far the moment may be ahead: an interval for each of `limit`.
    tolerance_ns: u64,
    /// At once: the burst, and one.
    limit: u64,
}

/// Why numbers are no limit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QuotaError {
    #[error(
        "the limit would be whole again after more than 100 years; a smaller burst, or a shorter period, is right"
    )]
    TooLong,
}

/// What somebody is told who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    pub is_limited: bool,
    pub limit: u64,
    /// How many would be let through at once now.
    pub remaining: u64,
    /// Of one that is limited, when the same quantity will be let through; None: never, or it was let through.
    pub retry_after_ms: Option<u64>,
    /// When the limit will be whole again.
    pub reset_after_ms: u64,
    /// The moment to keep from now on, in Unix nanoseconds; None: what is kept stays.
    pub keep_ns: Option<u64>,
}

impl Quota {
    /// The numbers are within their bounds, and `count` and `period_ms` not 0.
    pub fn new(burst: u64, count: u64, period_ms: u64) -> Result<Quota, QuotaError> {
        let interval_ns = (period_ms * NS_PER_MS).div_ceil(count.max(1)).max(1);
        let limit = burst + 1;
        let tolerance_ns = interval_ns.checked_mul(limit).filter(|tolerance_ns| *tolerance_ns <= MAX_TOLERANCE_NS);
        tolerance_ns.map(|tolerance_ns| Quota { interval_ns, tolerance_ns, limit }).ok_or(QuotaError::TooLong)
    }

    /// Asks for a quantity. `kept_ns`: the moment that is kept.
    pub fn ask(&self, kept_ns: Option<u64>, now_ns: u64, quantity: u64) -> Verdict {
        let most_ns = now_ns.saturating_add(self.tolerance_ns);
        let tat_ns = kept_ns.unwrap_or(now_ns).clamp(now_ns, most_ns);
        let is_beyond = kept_ns.is_some_and(|kept_ns| kept_ns > most_ns);
        let increment_ns = u128::from(self.interval_ns) * u128::from(quantity);
        let next_ns = u128::from(tat_ns) + increment_ns;
        let over_ns = next_ns.saturating_sub(u128::from(most_ns));
        let is_limited = over_ns > 0;
        let fits_ever = increment_ns <= u128::from(self.tolerance_ns);
        // Within the tolerance of now, and so within 64 bits, where it is let through.
        let tat_ns = if is_limited { tat_ns } else { next_ns as u64 };
        let ahead_ns = tat_ns - now_ns;
        Verdict {
            is_limited,
            limit: self.limit,
            remaining: (self.tolerance_ns - ahead_ns) / self.interval_ns,
            retry_after_ms: (is_limited && fits_ever).then(|| (over_ns as u64).div_ceil(NS_PER_MS)),
            reset_after_ms: ahead_ns.div_ceil(NS_PER_MS),
            // A moment beyond would be put where the tolerance ends again and again, and nobody be let through.
            keep_ns: (quantity > 0 && (!is_limited || is_beyond)).then_some(tat_ns),
        }
    }
}

/// The moment as a key keeps it: a plain number. None: somebody else's text.
pub fn read_moment(text: &[u8]) -> Option<u64> {
    let is_number = (1..=20).contains(&text.len()) && text.iter().all(u8::is_ascii_digit);
    is_number.then(|| std::str::from_utf8(text).ok()?.parse().ok()).flatten()
}

#[cfg(test)]
mod tests;
