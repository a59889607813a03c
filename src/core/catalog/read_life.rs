//! Reads how long entries live and how they are kept: of a section, and of a query where it says otherwise.

use super::life::Life;
use super::toml_reader::{Fields, Report};
use crate::core::values::duration;
use crate::core::values::percent::{self, OFF};
use crate::core::values::size;

/// Over it, jitter would be the TTL.
const MAX_JITTER_PERCENT: u8 = 50;

/// The life that the fields tell; what they do not say is inherited.
pub(in crate::core) fn read(fields: Fields<'_>, inherited: Life, report: &mut Report) -> Life {
    let ttl = fields.string("ttl", report).and_then(|text| report.keep("ttl", duration::parse_ms(text)));
    let stale_ms = extra_ms("stale", fields, report).unwrap_or(inherited.stale_ms);
    let refresh_ahead_ms = extra_ms("refresh_ahead", fields, report).unwrap_or(inherited.refresh_ahead_ms);
    let jitter = fields
        .string("jitter", report)
        .and_then(|text| report.keep("jitter", percent::parse(text, MAX_JITTER_PERCENT)));
    let life = Life {
        ttl_ms: ttl.unwrap_or(inherited.ttl_ms),
        stale_ms,
        refresh_ahead_ms,
        jitter_percent: jitter.unwrap_or(inherited.jitter_percent),
    };
    // Said once, where it is wrong.
    let is_said = ["ttl", "refresh_ahead", "jitter"].into_iter().any(|key| fields.has(key));
    if is_said && life.refresh_ahead_ms >= life.shortest_ttl_ms() {
        report.problem(format!(
            "refresh_ahead ({} ms) must be shorter than the ttl ({} ms, less jitter), or every hit would fetch; make it \
             shorter, or \"{OFF}\"",
            life.refresh_ahead_ms,
            life.shortest_ttl_ms()
        ));
    }
    life
}

/// From which size on results are compressed; None: none are.
pub(in crate::core) fn compress(fields: Fields<'_>, inherited: Option<usize>, report: &mut Report) -> Option<usize> {
    let said = fields.string("compress", report).and_then(|text| report.keep("compress", size::parse(text)));
    said.unwrap_or(inherited)
}

/// A duration, or `off`.
fn extra_ms(key: &str, fields: Fields<'_>, report: &mut Report) -> Option<u64> {
    match fields.string(key, report)? {
        OFF => Some(0),
        text => {
            let read = duration::parse_ms(text).map_err(|error| format!("{error} (\"{OFF}\": not at all)"));
            report.keep(key, read)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECTION: Life = Life { ttl_ms: 60_000, stale_ms: 5_000, refresh_ahead_ms: 10_000, jitter_percent: 10 };

    fn read_toml(text: &str, inherited: Life) -> Result<Life, String> {
        let table: toml::Table = toml::from_str(text).expect("TOML");
        let mut report = Report::default();
        let fields = Fields::new(&table, &["ttl", "stale", "refresh_ahead", "jitter"], &mut report);
        let life = read(fields, inherited, &mut report);
        report.finish().map(|()| life).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_not_said_is_inherited() {
        for (text, expected) in [
            ("", SECTION),
            ("ttl = \"5m\"", Life { ttl_ms: 300_000, ..SECTION }),
            ("stale = \"1h\"", Life { stale_ms: 3_600_000, ..SECTION }),
            ("stale = \"off\"", Life { stale_ms: 0, ..SECTION }),
            (
                "refresh_ahead = \"300ms\"\njitter = \"50%\"",
                Life { refresh_ahead_ms: 300, jitter_percent: 50, ..SECTION },
            ),
            (
                "refresh_ahead = \"off\"\nttl = \"1s\"\njitter = \"off\"",
                Life { ttl_ms: 1_000, refresh_ahead_ms: 0, jitter_percent: 0, ..SECTION },
            ),
        ] {
            assert_eq!(read_toml(text, SECTION), Ok(expected), "{text}");
        }
        assert_eq!(read_toml("", Life::of_ttl(1)), Ok(Life::of_ttl(1)));
    }

    #[test]
    fn what_is_wrong_is_told_with_what_would_be_right() {
        for (text, reason) in [
            ("stale = \"soon\"", "stale: a duration is a whole number and a unit, from 1ms to 365d (300ms, 30s, 5m, 2h, 1d), got 'soon' (\"off\": not at all)"),
            ("stale = 30", "stale must be a string, got 30"),
            ("jitter = \"51%\"", "jitter: a share is \"off\" or a whole number of percent from 1% to 50%, got '51%'"),
            ("jitter = \"0%\"", "got '0%'"),
            ("jitter = \"+5%\"", "got '+5%'"),
            ("jitter = \"10\"", "got '10'"),
            ("refresh_ahead = \"54s\"", "refresh_ahead (54000 ms) must be shorter than the ttl (54000 ms, less jitter)"),
            ("ttl = \"10s\"", "refresh_ahead (10000 ms) must be shorter than the ttl (9000 ms, less jitter)"),
        ] {
            let error = read_toml(text, SECTION).expect_err(text);
            assert!(error.contains(reason), "{text}\n-> {error}");
            assert_eq!(error.lines().count(), 1, "{error}");
        }
    }
}
