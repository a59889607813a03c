//! Dates and times as clients type them, and their one canonical spelling.
//!
//! The shape is checked here, strictly, so that no two types of the catalog read the same word by surprise; whether
//! the day exists and what an offset does to it is the calendar's business.

use std::io::Write as _;

use jiff::civil::{Date, DateTime};
use jiff::tz::Offset;

/// `2026-11-21`
pub(in crate::core) fn write_date(raw: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let mut cursor = Cursor { rest: raw };
    let date = cursor.date()?;
    cursor.end()?;
    write!(out, "{:04}-{:02}-{:02}", date.year(), date.month(), date.day()).ok()
}

/// `2026-11-21T10:00:00.5`: a space may stand for the `T`, seconds may be left out.
pub(in crate::core) fn write_timestamp(raw: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let mut cursor = Cursor { rest: raw };
    let time = cursor.datetime()?;
    cursor.end()?;
    write(time, out)
}

/// The same with `Z` or an offset such as `+02:00`; without one the time is UTC.
pub(in crate::core) fn write_timestamptz(raw: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let mut cursor = Cursor { rest: raw };
    let local = cursor.datetime()?;
    let offset = cursor.offset()?;
    cursor.end()?;
    let utc = Offset::UTC.to_datetime(offset.to_timestamp(local).ok()?);
    if !(1..=9999).contains(&utc.year()) {
        return None;
    }
    write(utc, out)?;
    out.push(b'Z');
    Some(())
}

/// Microseconds since 1970 in UTC of any of the three: a date is its midnight, a time without zone is in UTC.
pub fn read_micros(raw: &[u8]) -> Option<i64> {
    let mut cursor = Cursor { rest: raw };
    let local = match cursor.clone().datetime() {
        Some(_) => cursor.datetime()?,
        None => cursor.date()?.to_datetime(jiff::civil::Time::midnight()),
    };
    // A bare date has no offset.
    let offset = if raw.len() > "2026-11-21".len() { cursor.offset()? } else { Offset::UTC };
    cursor.end()?;
    // Not by way of jiff's timestamps, which end a day before the year 9999 does.
    let since = local.duration_since(DateTime::constant(1970, 1, 1, 0, 0, 0, 0));
    i64::try_from(since.as_micros()).ok()?.checked_sub(i64::from(offset.seconds()) * 1_000_000)
}

fn write(time: DateTime, out: &mut Vec<u8>) -> Option<()> {
    let (year, month, day) = (time.year(), time.month(), time.day());
    let (hour, minute, second) = (time.hour(), time.minute(), time.second());
    write!(out, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}").ok()?;
    let micros = time.subsec_nanosecond() / 1_000;
    if micros > 0 {
        write!(out, ".{micros:06}").ok()?;
        while out.last() == Some(&b'0') {
            out.pop();
        }
    }
    Some(())
}

/// Reads fixed-width fields from the front.
#[derive(Clone)]
struct Cursor<'a> {
    rest: &'a [u8],
}

impl Cursor<'_> {
    fn date(&mut self) -> Option<Date> {
        let year = self.digits(4)?;
        self.byte(b'-')?;
        let month = self.digits(2)?;
        self.byte(b'-')?;
        let day = self.digits(2)?;
        if year == 0 {
            return None; // Postgres has none
        }
        Date::new(year.try_into().ok()?, month.try_into().ok()?, day.try_into().ok()?).ok()
    }

    fn datetime(&mut self) -> Option<DateTime> {
        let date = self.date()?;
        self.byte(b'T').or_else(|| self.byte(b't')).or_else(|| self.byte(b' '))?;
        let hour = self.digits(2)?;
        self.byte(b':')?;
        let minute = self.digits(2)?;
        let (mut second, mut nanos) = (0, 0);
        if self.byte(b':').is_some() {
            second = self.digits(2)?;
            if self.byte(b'.').is_some() {
                nanos = self.fraction()?;
            }
        }
        let time = jiff::civil::Time::new(
            hour.try_into().ok()?,
            minute.try_into().ok()?,
            second.try_into().ok()?,
            nanos.try_into().ok()?,
        );
        Some(date.to_datetime(time.ok()?))
    }

    /// 1 to 6 digits after the point, in nanoseconds.
    fn fraction(&mut self) -> Option<u32> {
        let count = self.rest.iter().take_while(|b| b.is_ascii_digit()).count();
        if count == 0 || count > 6 {
            return None;
        }
        let value = self.digits(count)?;
        Some((count..9).fold(value, |value, _| value * 10))
    }

    /// `Z`, `+02`, `+0200`, `+02:00`; nothing is UTC.
    fn offset(&mut self) -> Option<Offset> {
        if self.rest.is_empty() || self.byte(b'Z').is_some() || self.byte(b'z').is_some() {
            return Some(Offset::UTC);
        }
        let sign = match self.byte(b'+') {
            Some(()) => 1,
            None => {
                self.byte(b'-')?;
                -1
            }
        };
        let hours = self.digits(2)?;
        let minutes = match self.byte(b':') {
            Some(()) => self.digits(2)?,
            None if self.rest.is_empty() => 0,
            None => self.digits(2)?,
        };
        if hours > 15 || minutes > 59 {
            return None; // as Postgres: at most 15:59
        }
        let seconds = i32::try_from(hours * 3_600 + minutes * 60).ok()?;
        Offset::from_seconds(sign * seconds).ok()
    }

    /// So many digits, at most 6, as a number.
    fn digits(&mut self, count: usize) -> Option<u32> {
        let (digits, rest) = self.rest.split_at_checked(count)?;
        let mut value = 0;
        for byte in digits {
            let digit = byte.is_ascii_digit().then(|| u32::from(byte - b'0'))?;
            value = value * 10 + digit;
        }
        self.rest = rest;
        Some(value)
    }

    fn byte(&mut self, expected: u8) -> Option<()> {
        self.rest = self.rest.strip_prefix(&[expected])?;
        Some(())
    }

    fn end(&self) -> Option<()> {
        self.rest.is_empty().then_some(())
    }
}

#[cfg(test)]
mod tests {
    use crate::core::values::value::ScalarType;

    fn table(ty: ScalarType, rows: &[(&str, &str)], refused: &[&str]) {
        for (raw, expected) in rows {
            let mut out = Vec::new();
            ty.write_canonical(raw.as_bytes(), &mut out).unwrap_or_else(|e| panic!("{raw}: {e}"));
            assert_eq!(std::str::from_utf8(&out).unwrap(), *expected);
        }
        for raw in refused {
            let mut out = Vec::new();
            assert!(ty.write_canonical(raw.as_bytes(), &mut out).is_err(), "{ty} {raw}");
            assert!(out.is_empty());
        }
    }

    #[test]
    fn dates() {
        table(
            ScalarType::Date,
            &[("2026-11-21", "2026-11-21"), ("2024-02-29", "2024-02-29"), ("0001-01-01", "0001-01-01")],
            &[
                "",
                "2026-1-1",
                "2025-02-29",
                "0000-01-01",
                "20261121",
                "2026-11-21 ",
                "2026-11-21T00:00:00",
                "today",
                "infinity",
                "+2026-11-21",
                "12026-11-21",
            ],
        );
    }

    #[test]
    fn times_without_zone() {
        table(
            ScalarType::Timestamp,
            &[
                ("2026-11-21T10:00:00", "2026-11-21T10:00:00"),
                ("2026-11-21 10:00", "2026-11-21T10:00:00"),
                ("2026-11-21t10:00:00.120000", "2026-11-21T10:00:00.12"),
                ("2026-11-21T10:00:00.000001", "2026-11-21T10:00:00.000001"),
                ("2026-11-21T10:00:00.0", "2026-11-21T10:00:00"),
            ],
            &[
                "2026-11-21",
                "2026-11-21T10:00:00Z",
                "2026-11-21T24:00:00",
                "2026-11-21T10:00:60",
                "2026-11-21T10:00:00.",
                "2026-11-21T10:00:00.0000001",
                "2026-11-21T10",
                "2026-11-21  10:00",
            ],
        );
    }

    #[test]
    fn instants_are_utc() {
        table(
            ScalarType::TimestampTz,
            &[
                ("2026-11-21T10:00:00Z", "2026-11-21T10:00:00Z"),
                ("2026-11-21 10:00:00", "2026-11-21T10:00:00Z"),
                ("2026-11-21T10:00:00+02:00", "2026-11-21T08:00:00Z"),
                ("2026-11-21T10:00:00.5-0530", "2026-11-21T15:30:00.5Z"),
                ("2026-01-01T00:30+01", "2025-12-31T23:30:00Z"),
            ],
            &[
                "2026-11-21",
                "2026-11-21T10:00:00 Z",
                "2026-11-21T10:00:00+2",
                "2026-11-21T10:00:00+16:00",
                "2026-11-21T10:00:00+02:60",
                "0001-01-01T00:00:00+01:00",
                "9999-12-31T23:59:59-01:00",
                "2026-11-21T10:00:00Europe/Berlin",
            ],
        );
    }
}
