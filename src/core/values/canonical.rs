//! Canonical text of single values: one spelling for each value, which Postgres reads as that value.
//!
//! Writing is on the path of every cache hit: integers, booleans and text are copied without allocation.

use std::cmp::Ordering;
use std::io::Write as _;

use super::datetime;
use super::value::{ScalarType, ValueError};

/// Digits of a `numeric`, on both sides of the point together.
const MAX_NUMERIC_DIGITS: usize = 1_000;

/// How much of a value's spelling counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::core) enum Spelling {
    /// One spelling for all values that are equal.
    Canonical,
    /// What Postgres tells apart though it is equal stays: the scale of a numeric, the sign of a float's zero.
    Given,
}

impl ScalarType {
    /// Appends the canonical text of what a client typed. `out` is as it was when the word is not of the type.
    ///
    /// Idempotent: the canonical text of a canonical text is itself.
    pub fn write_canonical(self, raw: &[u8], out: &mut Vec<u8>) -> Result<(), ValueError> {
        self.write(raw, Spelling::Canonical, out)
    }

    /// The same in a spelling that keeps what Postgres would keep of the value: see [`Spelling`].
    pub(in crate::core) fn write(self, raw: &[u8], spelling: Spelling, out: &mut Vec<u8>) -> Result<(), ValueError> {
        let written = match self {
            ScalarType::Int => write_int(raw, out),
            ScalarType::Float => write_float(raw, spelling, out),
            ScalarType::Numeric => write_numeric(raw, spelling, out),
            ScalarType::Bool => write_bool(raw, out),
            ScalarType::Text => write_text(raw, out),
            ScalarType::Uuid => write_uuid(raw, out),
            ScalarType::Date => datetime::write_date(raw, out),
            ScalarType::Timestamp => datetime::write_timestamp(raw, out),
            ScalarType::TimestampTz => datetime::write_timestamptz(raw, out),
            ScalarType::Json => None,
        };
        let is_too_small = || self == ScalarType::Float && is_too_small(raw);
        written.ok_or_else(|| ValueError::new(if is_too_small() { NOT_TOO_SMALL } else { self.expected() }, raw))
    }

    /// Order of two canonical texts in a set: by value for numbers, bytewise for all else.
    pub fn compare_canonical(self, a: &[u8], b: &[u8]) -> Ordering {
        match self {
            ScalarType::Int | ScalarType::Float | ScalarType::Numeric => compare_decimals(a, b),
            _ => a.cmp(b),
        }
    }

    /// What a word of the type is, in a message.
    fn expected(self) -> &'static str {
        match self {
            ScalarType::Int => "an integer",
            ScalarType::Float => "a finite number",
            ScalarType::Numeric => "a decimal number of at most 1000 digits",
            ScalarType::Bool => "true or false",
            ScalarType::Text => "UTF-8 text without NUL",
            ScalarType::Uuid => "a uuid",
            ScalarType::Date => "a date such as 2026-11-21",
            ScalarType::Timestamp => "a time without zone such as 2026-11-21T10:00:00",
            ScalarType::TimestampTz => "a time such as 2026-11-21T10:00:00Z",
            ScalarType::Json => "of another type, as json is only for jobs",
        }
    }
}

/// What a float must be that is none for being too small.
pub(in crate::core) const NOT_TOO_SMALL: &str = "0 or a number that is not too small for a float8";

/// Of what [`write_float`] refuses: whether it is a number that a float8 would take for 0.
pub(in crate::core) fn is_too_small(raw: &[u8]) -> bool {
    std::str::from_utf8(raw).is_ok_and(|text| text.parse() == Ok(0.0_f64))
}

/// Whether the number is negative, and its digits.
fn split_sign(raw: &[u8]) -> (bool, &[u8]) {
    match raw {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    }
}

fn without_leading_zeros(digits: &[u8]) -> &[u8] {
    let zeros = digits.iter().take_while(|b| **b == b'0').count();
    &digits[zeros..]
}

fn write_int(raw: &[u8], out: &mut Vec<u8>) -> Option<()> {
    /// Digits of `i64::MAX`; any number of so many digits fits in u64.
    const MAX_DIGITS: usize = 19;

    let (negative, typed) = split_sign(raw);
    if typed.is_empty() {
        return None;
    }
    let digits = without_leading_zeros(typed);
    if digits.is_empty() {
        out.push(b'0');
        return Some(());
    }
    if digits.len() > MAX_DIGITS {
        return None;
    }
    let mut magnitude: u64 = 0;
    for byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        magnitude = magnitude * 10 + u64::from(digit);
    }
    if magnitude > i64::MAX.unsigned_abs() + u64::from(negative) {
        return None;
    }
    if negative {
        out.push(b'-');
    }
    out.extend_from_slice(digits);
    Some(())
}

fn write_float(raw: &[u8], spelling: Spelling, out: &mut Vec<u8>) -> Option<()> {
    // The standard parser also reads `nan`, `inf` and `infinity`.
    if !raw.iter().all(|b| b.is_ascii_digit() || matches!(b, b'+' | b'-' | b'.' | b'e' | b'E')) {
        return None;
    }
    let number: f64 = std::str::from_utf8(raw).ok()?.parse().ok()?;
    if !number.is_finite() {
        return None;
    }
    if number == 0.0 {
        // So small a number Postgres refuses, too.
        let is_zero = raw.iter().take_while(|b| !matches!(b, b'e' | b'E')).all(|b| !(b'1'..=b'9').contains(b));
        if !is_zero {
            return None;
        }
        if spelling == Spelling::Given && raw.first() == Some(&b'-') {
            out.push(b'-');
        }
        out.push(b'0');
        return Some(());
    }
    write!(out, "{number}").ok()
}

fn write_numeric(raw: &[u8], spelling: Spelling, out: &mut Vec<u8>) -> Option<()> {
    let (negative, typed) = split_sign(raw);
    let (whole, fraction) = match typed.iter().position(|b| *b == b'.') {
        Some(point) => (&typed[..point], &typed[point + 1..]),
        None => (typed, &[][..]),
    };
    let is_number = whole.len() + fraction.len() > 0 && whole.iter().chain(fraction).all(u8::is_ascii_digit);
    if !is_number {
        return None;
    }
    let whole = without_leading_zeros(whole);
    let zeros = fraction.iter().rev().take_while(|b| **b == b'0').count();
    let is_zero = whole.is_empty() && zeros == fraction.len();
    let fraction = match spelling {
        Spelling::Canonical => &fraction[..fraction.len() - zeros],
        Spelling::Given => fraction,
    };
    if whole.len() + fraction.len() > MAX_NUMERIC_DIGITS {
        return None;
    }
    // A numeric has no negative zero.
    if negative && !is_zero {
        out.push(b'-');
    }
    out.extend_from_slice(if whole.is_empty() { b"0" } else { whole });
    if !fraction.is_empty() {
        out.push(b'.');
        out.extend_from_slice(fraction);
    }
    Some(())
}

fn write_bool(raw: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let is = |spellings: [&str; 5]| spellings.iter().any(|s| raw.eq_ignore_ascii_case(s.as_bytes()));
    let text: &[u8] = if is(["true", "t", "yes", "on", "1"]) {
        b"true"
    } else if is(["false", "f", "no", "off", "0"]) {
        b"false"
    } else {
        return None;
    };
    out.extend_from_slice(text);
    Some(())
}

fn write_text(raw: &[u8], out: &mut Vec<u8>) -> Option<()> {
    if raw.contains(&0) || std::str::from_utf8(raw).is_err() {
        return None;
    }
    out.extend_from_slice(raw);
    Some(())
}

fn write_uuid(raw: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let uuid = uuid::Uuid::try_parse_ascii(raw).ok()?;
    let mut text = [0; uuid::fmt::Hyphenated::LENGTH];
    out.extend_from_slice(uuid.hyphenated().encode_lower(&mut text).as_bytes());
    Some(())
}

/// Order by value of two canonical decimals (no useless zeros, no exponent, no `-0`), of any length.
fn compare_decimals(a: &[u8], b: &[u8]) -> Ordering {
    let parts = |text| {
        let (negative, digits) = split_sign(text);
        let point = digits.iter().position(|b| *b == b'.').unwrap_or(digits.len());
        (negative, (point, digits))
    };
    let ((a_negative, a), (b_negative, b)) = (parts(a), parts(b));
    match (a_negative, b_negative) {
        (true, false) => Ordering::Less,
        (false, true) => Ordering::Greater,
        // The longer whole part is the larger number; of equal ones the digits decide, and a fraction that goes on.
        (false, false) => a.cmp(&b),
        (true, true) => b.cmp(&a),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn canonical(ty: ScalarType, raw: &[u8]) -> Option<String> {
        let mut out = b"kept".to_vec();
        let result = ty.write_canonical(raw, &mut out);
        assert!(out.starts_with(b"kept"));
        match result {
            Ok(()) => Some(String::from_utf8(out[4..].to_vec()).unwrap()),
            Err(_) => {
                assert_eq!(out, b"kept");
                None
            }
        }
    }

    fn table(ty: ScalarType, rows: &[(&str, &str)], refused: &[&str]) {
        for (raw, expected) in rows {
            assert_eq!(canonical(ty, raw.as_bytes()).as_deref(), Some(*expected), "{ty} {raw}");
        }
        for raw in refused {
            assert_eq!(canonical(ty, raw.as_bytes()), None, "{ty} {raw}");
        }
    }

    #[test]
    fn integers() {
        table(
            ScalarType::Int,
            &[
                ("0", "0"),
                ("-0", "0"),
                ("+0", "0"),
                ("007", "7"),
                ("+7", "7"),
                ("-007", "-7"),
                ("9223372036854775807", "9223372036854775807"),
                ("-9223372036854775808", "-9223372036854775808"),
                ("0000000000000000000000000000012", "12"),
            ],
            &[
                "",
                "-",
                "+",
                "+-1",
                "1.0",
                "1e3",
                " 1",
                "1 ",
                "abc",
                "9223372036854775808",
                "-9223372036854775809",
                "10000000000000000000",
                "99999999999999999999",
                "٣",
                "0x1",
            ],
        );
    }

    #[test]
    fn floats() {
        table(
            ScalarType::Float,
            &[
                ("1", "1"),
                ("-0", "0"),
                ("-0.0", "0"),
                ("1.50", "1.5"),
                ("1e3", "1000"),
                (".5", "0.5"),
                ("5.", "5"),
                ("1E-2", "0.01"),
                ("+2", "2"),
                ("0e-999", "0"),
                ("5e-324", &format!("0.{}5", "0".repeat(323))),
            ],
            &[
                "",
                "nan",
                "inf",
                "-infinity",
                "1e400",
                "-1e400",
                "1e-400",
                "-0.001e-400",
                "1f",
                "0x1",
                "e",
                ".",
                "--1",
                "1e",
                "1_0",
            ],
        );
    }

    #[test]
    fn numerics() {
        let long = "9".repeat(1_001);
        table(
            ScalarType::Numeric,
            &[
                ("1", "1"),
                ("-0", "0"),
                ("-0.00", "0"),
                ("1.50", "1.5"),
                ("00.10", "0.1"),
                (".5", "0.5"),
                ("5.", "5"),
                ("+2", "2"),
                ("-01.0", "-1"),
                (&long[1..], &long[1..]),
            ],
            &["", ".", "-", "NaN", "1e3", "1.2.3", "1,5", &long],
        );
    }

    #[test]
    fn booleans_text_and_uuids() {
        table(
            ScalarType::Bool,
            &[
                ("true", "true"),
                ("T", "true"),
                ("Yes", "true"),
                ("on", "true"),
                ("1", "true"),
                ("FALSE", "false"),
                ("f", "false"),
                ("no", "false"),
                ("off", "false"),
                ("0", "false"),
            ],
            &["", "2", "tr", "truee", "y"],
        );
        table(ScalarType::Text, &[("", ""), ("a:b,c%", "a:b,c%"), ("größe", "größe")], &["\0", "a\0b"]);
        assert_eq!(canonical(ScalarType::Text, b"\xff"), None);
        let uuid = "0a1b2c3d-0000-4000-8000-00000000000f";
        table(
            ScalarType::Uuid,
            &[
                (uuid, uuid),
                ("0A1B2C3D-0000-4000-8000-00000000000F", uuid),
                ("0a1b2c3d00004000800000000000000f", uuid),
                ("{0a1b2c3d-0000-4000-8000-00000000000f}", uuid),
                ("urn:uuid:0a1b2c3d-0000-4000-8000-00000000000f", uuid),
            ],
            &["", "5", "0a1b2c3d-0000-4000-8000-00000000000", "0a1b2c3d-0000-4000-8000-00000000000g"],
        );
        table(ScalarType::Json, &[], &["1", "{}"]);
    }

    #[test]
    fn errors_complete_a_sentence() {
        let error = ScalarType::Int.write_canonical(b"abc", &mut Vec::new()).unwrap_err();
        assert_eq!(format!("start must be {error}"), "start must be an integer, got 'abc'");
    }

    #[test]
    fn numbers_are_ordered_by_value() {
        let ordered = ["-100", "-20", "-3.5", "-3", "-0.5", "0", "0.05", "0.5", "0.51", "1", "3", "3.5", "20", "100"];
        for (i, a) in ordered.iter().enumerate() {
            for (j, b) in ordered.iter().enumerate() {
                assert_eq!(compare_decimals(a.as_bytes(), b.as_bytes()), i.cmp(&j), "{a} {b}");
            }
        }
    }

    fn any_type() -> impl Strategy<Value = ScalarType> {
        prop::sample::select(&ScalarType::ALL[..])
    }

    proptest! {
        #[test]
        fn canonical_text_is_canonical(ty in any_type(), raw in "[-+0-9.eETZ: ]{0,24}|[0-9]{4}-[01][0-9]-[0-3][0-9][ T][0-2][0-9]:[0-5][0-9](:[0-5][0-9](\\.[0-9]{1,7})?)?(Z|[-+][01][0-9]:[0-5][0-9])?|\\PC{0,12}") {
            if let Some(once) = canonical(ty, raw.as_bytes()) {
                let twice = canonical(ty, once.as_bytes());
                prop_assert_eq!(twice, Some(once));
            }
        }

        #[test]
        fn no_bytes_panic(ty in any_type(), raw in prop::collection::vec(any::<u8>(), 0..40)) {
            canonical(ty, &raw);
        }

        #[test]
        fn integers_of_any_size_are_themselves(n in any::<i64>()) {
            prop_assert_eq!(canonical(ScalarType::Int, n.to_string().as_bytes()), Some(n.to_string()));
        }

        #[test]
        fn floats_are_ordered_and_kept(a in any::<f64>(), b in any::<f64>()) {
            prop_assume!(a.is_finite() && b.is_finite());
            let (x, y) = (canonical(ScalarType::Float, format!("{a:e}").as_bytes()).unwrap(), canonical(ScalarType::Float, format!("{b:e}").as_bytes()).unwrap());
            prop_assert_eq!(x.parse::<f64>().unwrap(), a);
            prop_assert_eq!(Some(compare_decimals(x.as_bytes(), y.as_bytes())), a.partial_cmp(&b));
        }
    }
}
