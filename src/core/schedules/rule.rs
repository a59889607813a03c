//! Which moments are ticks: those of a cron expression in a time zone, or every so many milliseconds.
//!
//! Moments are Unix times in milliseconds. Where clocks change, cron's ticks are those of the crate croner, which does as Vixie's cron:
//!
//! | expression | in the hour that is left out | in the hour that comes twice |
//! |---|---|---|
//! | one minute of one hour (`30 2 * * *`) | ticks right after it | ticks once, the first time |
//! | anything else (`*/15 * * * *`, `0 2,3 * * *`) | does not tick | ticks both times |
//!
//! Invariant: the next tick is found in some 200 µs at most (a weekday of a leap day; 1 µs is usual). So years are bounded, and an expression that
//! no day fits is refused where it is defined ([`Rule::check`]).

use croner::parser::{CronParser, Seconds, Year};
use croner::Cron;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::zone::{Zone, ZoneError};

/// A longer expression is none.
const MAX_CRON: usize = 256;

/// Cron ticks at most once a minute.
const MINUTE_MS: u64 = 60_000;

/// An expression that could tick, and never does, is searched to the last of them.
const YEARS: &str = "1970-2150";

/// An expression that has not ticked since has none any more: the beginning of 2026.
const SINCE_MS: u64 = 1_767_225_600_000;

/// Changes of clocks that are looked at: is it a gap that the library does not go over?
const GAPS: usize = 3;
const LONG_GAP_SECONDS: i32 = 7_200;

/// The least and the greatest.
pub const EVERY_MS: (u64, u64) = (100, 366 * 86_400_000);

#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    kind: Kind,
    /// There is no tick before it.
    from_ms: Option<u64>,
}

#[derive(Debug, Clone, PartialEq)]
enum Kind {
    Cron { text: Box<str>, cron: Box<Cron>, zone: Zone },
    Every(u64),
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    #[error(
        "'{got}' is no cron expression: five fields, minute hour day-of-month month day-of-week, such as 0 9 * * mon-fri, or \
         @hourly, @daily, @weekly, @monthly or @yearly{}", why(reason)
    )]
    Cron { got: Box<str>, reason: Option<Box<str>> },
    #[error("'{got}' never ticks: no year has such a day")]
    Never { got: Box<str> },
    #[error("every is from {} to {} milliseconds, got {got}", EVERY_MS.0, EVERY_MS.1)]
    Every { got: u64 },
    #[error("{0}")]
    Zone(#[from] ZoneError),
}

fn why(reason: &Option<Box<str>>) -> String {
    reason.as_ref().map(|reason| format!(" ({})", reason.trim_end_matches('.'))).unwrap_or_default()
}

impl Rule {
    /// Ticks of an expression in a zone: UTC where there is none.
    pub fn cron(text: &str, zone: Option<&str>, from_ms: Option<u64>) -> Result<Rule, RuleError> {
        let wrong = |reason: Option<Box<str>>| RuleError::Cron { got: text.chars().take(MAX_CRON).collect(), reason };
        if text.len() > MAX_CRON || !text.is_ascii() {
            return Err(wrong(None));
        }
        let words: Vec<&str> = text.split_ascii_whitespace().collect();
        let fields = match words[..] {
            [name] => of_nickname(name).ok_or_else(|| wrong(None))?.to_owned(),
            [_, _, _, _, _] => words.join(" "),
            _ => return Err(wrong(Some(format!("it has {} fields", words.len()).into()))),
        };
        let zone = zone.map_or_else(|| Ok(Zone::utc()), Zone::find)?;
        let parser = CronParser::builder().seconds(Seconds::Required).year(Year::Required).build();
        let cron = parser.parse(&format!("0 {fields} {YEARS}")).map_err(|error| wrong(Some(reason(&error))))?;
        let kind = Kind::Cron { text: words.join(" ").into(), cron: Box::new(cron), zone };
        Ok(Rule { kind, from_ms })
    }

    /// Ticks every so often, counted from `from_ms`, or else from the beginning of 1970.
    pub fn every(every_ms: u64, from_ms: Option<u64>) -> Result<Rule, RuleError> {
        if !(EVERY_MS.0..=EVERY_MS.1).contains(&every_ms) {
            return Err(RuleError::Every { got: every_ms });
        }
        Ok(Rule { kind: Kind::Every(every_ms), from_ms })
    }

    /// Refuses a rule without any tick.
    pub fn check(&self) -> Result<(), RuleError> {
        self.check_days()?;
        match &self.kind {
            Kind::Cron { text, .. } if self.next_after(SINCE_MS).is_none() => {
                Err(RuleError::Never { got: text.clone() })
            }
            _ => Ok(()),
        }
    }

    /// Refuses a rule that no day fits, of whichever year: it would be searched for long.
    pub fn check_days(&self) -> Result<(), RuleError> {
        match &self.kind {
            Kind::Cron { text, cron, .. } if !has_day(cron) => Err(RuleError::Never { got: text.clone() }),
            _ => Ok(()),
        }
    }

    /// The first tick after a moment.
    pub fn next_after(&self, after_ms: u64) -> Option<u64> {
        let after_ms = self.from_ms.map_or(after_ms, |from| after_ms.max(from.saturating_sub(1)));
        match &self.kind {
            Kind::Every(every_ms) => {
                let origin = self.from_ms.unwrap_or(0);
                if after_ms < origin {
                    return Some(origin);
                }
                let passed = (after_ms - origin) / every_ms;
                passed.checked_add(1)?.checked_mul(*every_ms)?.checked_add(origin)
            }
            Kind::Cron { cron, zone, .. } => {
                let after = Timestamp::from_millisecond(i64::try_from(after_ms).ok()?).ok()?;
                let next = next_of(cron, zone.time_zone(), after)?;
                let next_ms = u64::try_from(next.as_millisecond()).ok()?;
                // Whatever the library does: a tick is never told twice.
                (next_ms > after_ms).then_some(next_ms)
            }
        }
    }

    /// The newest tick after a moment and up to another.
    pub fn newest(&self, after_ms: u64, upto_ms: u64) -> Option<u64> {
        let first = self.next_after(after_ms).filter(|first| *first <= upto_ms)?;
        if let Kind::Every(every_ms) = &self.kind {
            return Some(first + (upto_ms - first) / every_ms * every_ms);
        }
        // `newest` is a tick, and there is none between `none_from` and the end.
        let (mut newest, mut none_from) = (first, upto_ms);
        while none_from.saturating_sub(newest) >= MINUTE_MS {
            let middle = newest + (none_from - newest) / 2;
            match self.next_after(middle).filter(|tick| *tick <= upto_ms) {
                Some(tick) => newest = tick,
                None => none_from = middle,
            }
        }
        Some(newest)
    }

    /// The expression, and the name of its zone.
    pub fn as_cron(&self) -> Option<(&str, &str)> {
        match &self.kind {
            Kind::Cron { text, zone, .. } => Some((text, zone.name())),
            Kind::Every(_) => None,
        }
    }

    pub fn as_every_ms(&self) -> Option<u64> {
        match &self.kind {
            Kind::Every(every_ms) => Some(*every_ms),
            Kind::Cron { .. } => None,
        }
    }

    pub fn begins_ms(&self) -> Option<u64> {
        self.from_ms
    }
}

/// Rules that are equal here have the same ticks.
impl std::fmt::Display for Rule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.kind {
            Kind::Cron { text, zone, .. } => write!(f, "cron {} {}", text.to_ascii_lowercase(), zone.name())?,
            Kind::Every(every_ms) => write!(f, "every {every_ms}")?,
        }
        self.from_ms.map_or(Ok(()), |from| write!(f, " from {from}"))
    }
}

fn next_of(cron: &Cron, time_zone: &TimeZone, after: Timestamp) -> Option<Timestamp> {
    let find = |from: Timestamp, inclusive| {
        let from = from.to_zoned(time_zone.clone());
        cron.find_next_occurrence(&from, inclusive).ok().map(|next| next.timestamp())
    };
    // The library goes over no gap of more than two hours, and a zone that leaves a day out has one: on from behind it.
    let is_long = |at: Timestamp| {
        let before =
            at.checked_sub(SignedDuration::from_secs(1)).map_or(0, |before| time_zone.to_offset(before).seconds());
        time_zone.to_offset(at).seconds() - before > LONG_GAP_SECONDS
    };
    let gaps = || time_zone.following(after).take(GAPS).map(|change| change.timestamp()).filter(|at| is_long(*at));
    find(after, false).or_else(|| gaps().find_map(|gap| find(gap, true)))
}

fn of_nickname(name: &str) -> Option<&'static str> {
    Some(match name.to_ascii_lowercase().as_str() {
        "@hourly" => "0 * * * *",
        "@daily" => "0 0 * * *",
        "@weekly" => "0 0 * * 0",
        "@monthly" => "0 0 1 * *",
        "@yearly" => "0 0 1 1 *",
        _ => return None,
    })
}

/// What the library says, without what it says of itself.
fn reason(error: &croner::errors::CronError) -> Box<str> {
    use croner::errors::CronError;
    match error {
        CronError::InvalidPattern(text) | CronError::IllegalCharacters(text) | CronError::ComponentError(text) => {
            text.replace("CronPattern contains illegal character", "there is no meaning to").into()
        }
        other => other.to_string().into(),
    }
}

/// Has any year a day that fits? There are fourteen kinds of years, by the day of the week of the first of January.
fn has_day(cron: &Cron) -> bool {
    let mut kinds = Vec::new();
    (2001..=2028).any(|year| {
        let Ok(first) = Date::new(year, 1, 1) else { return false };
        let kind = (first.in_leap_year(), first.weekday());
        if kinds.contains(&kind) {
            return false;
        }
        kinds.push(kind);
        let months = (1..=12).filter(|month| cron.pattern.month_match(*month).unwrap_or(false));
        months.into_iter().any(|month| has_day_in(cron, year, month))
    })
}

fn has_day_in(cron: &Cron, year: i16, month: u32) -> bool {
    let Ok(first) = Date::new(year, month as i8, 1) else { return false };
    (0..first.days_in_month()).any(|passed| {
        let weekday =
            (u32::from(first.weekday().to_sunday_zero_offset().unsigned_abs()) + passed.unsigned_abs() as u32) % 7;
        let weekday = croner::Weekday::from_days_from_sunday(weekday);
        cron.pattern.day_match(year.into(), month, passed.unsigned_abs() as u32 + 1, weekday).unwrap_or(false)
    })
}

#[cfg(test)]
mod tests;
