//! Decimal numbers of any length and exponent, compared exactly without being written out.

use std::cmp::Ordering;
use std::hash::{Hash, Hasher};

/// A number: `0.<digits> * 10^exponent`, whose digits begin and end with none that is 0. Zero has no digits.
#[derive(Debug, Clone, Copy)]
pub(in crate::core) struct Decimal<'a> {
    text: &'a str,
    negative: bool,
    /// The digits are those of `whole`, then those of `fraction`.
    whole: &'a [u8],
    fraction: &'a [u8],
    exponent: i64,
}

/// Digits that Postgres prints of a float4 and of a float8, at most.
const FLOAT4_DIGITS: usize = 9;
const FLOAT8_DIGITS: usize = 17;

/// A float4 or float8 is printed as the shortest text that reads back as it, which is up to half a step away from its
/// value: 2^-24 and 2^-53 of it. These are a little more.
const FLOAT4_SLACK: f64 = 1e-7;
const FLOAT8_SLACK: f64 = 1e-15;

impl<'a> Decimal<'a> {
    /// `-12.50`, `1.5e-7`; None for `NaN`, `Infinity` and what is no number.
    pub(in crate::core) fn parse(text: &'a str) -> Option<Decimal<'a>> {
        let (negative, unsigned) = match text.as_bytes() {
            [b'-', rest @ ..] => (true, rest),
            [b'+', rest @ ..] => (false, rest),
            rest => (false, rest),
        };
        let (mantissa, exponent) = match unsigned.iter().position(|b| matches!(b, b'e' | b'E')) {
            Some(at) => (&unsigned[..at], read_exponent(&unsigned[at + 1..])?),
            None => (unsigned, 0),
        };
        let (whole, fraction) = match mantissa.iter().position(|b| *b == b'.') {
            Some(point) => (&mantissa[..point], &mantissa[point + 1..]),
            None => (mantissa, &[][..]),
        };
        let is_number = whole.len() + fraction.len() > 0 && whole.iter().chain(fraction).all(u8::is_ascii_digit);
        is_number.then(|| Decimal { text, negative, whole, fraction, exponent }.normalized())
    }

    /// Strips zeros; `exponent` is still the one that was written.
    fn normalized(mut self) -> Decimal<'a> {
        self.whole = trim_start(self.whole);
        self.exponent += self.whole.len() as i64;
        if self.whole.is_empty() {
            let stripped = trim_start(self.fraction);
            self.exponent -= (self.fraction.len() - stripped.len()) as i64;
            self.fraction = stripped;
        }
        self.fraction = trim_end(self.fraction);
        if self.fraction.is_empty() {
            self.whole = trim_end(self.whole);
        }
        if self.whole.is_empty() && self.fraction.is_empty() {
            (self.negative, self.exponent) = (false, 0);
        }
        self
    }

    fn digits(&self) -> impl Iterator<Item = u8> + 'a {
        self.whole.iter().chain(self.fraction).copied()
    }

    fn is_zero(&self) -> bool {
        self.whole.is_empty() && self.fraction.is_empty()
    }

    fn compare_magnitude(&self, other: &Decimal) -> Ordering {
        match (self.is_zero(), other.is_zero()) {
            (false, false) => self.exponent.cmp(&other.exponent).then_with(|| self.digits().cmp(other.digits())),
            (self_zero, other_zero) => other_zero.cmp(&self_zero),
        }
    }

    /// The nearest float: a greater number never gives a smaller float. Infinite beyond the range.
    pub(in crate::core) fn to_f64(self) -> f64 {
        // What `parse` accepts, the standard parser does too. Adding makes 0 of -0.
        self.text.parse::<f64>().unwrap_or(f64::NAN) + 0.0
    }

    /// How far, as a part of it, the number may be from that of the column it was printed from, which may be a float.
    ///
    /// A float is printed without useless zeros, and as a whole number without exponent only where that is exact.
    pub(in crate::core) fn slack(&self) -> f64 {
        let unsigned = self.text.trim_start_matches(['-', '+']);
        let has_exponent = unsigned.contains(['e', 'E']);
        let Some((whole, fraction)) = unsigned.split_once('.').or(has_exponent.then_some((unsigned, ""))) else {
            return 0.0;
        };
        if !has_exponent && fraction.ends_with('0') {
            return 0.0;
        }
        /// Before the point, where there is no exponent.
        const FLOAT4_WHOLE_DIGITS: usize = 6;
        match self.whole.len() + self.fraction.len() {
            0..=FLOAT4_DIGITS if has_exponent || whole.len() <= FLOAT4_WHOLE_DIGITS => FLOAT4_SLACK,
            0..=FLOAT8_DIGITS => FLOAT8_SLACK,
            _ => 0.0,
        }
    }

    /// Whether the numbers differ by no more than this part of the larger one.
    pub(in crate::core) fn is_near(self, other: Decimal, slack: f64) -> bool {
        let (a, b) = (self.to_f64(), other.to_f64());
        match a.is_finite() && b.is_finite() {
            true => (a - b).abs() <= slack * a.abs().max(b.abs()),
            false => a == b,
        }
    }
}

fn read_exponent(text: &[u8]) -> Option<i64> {
    /// Beyond it, adding the number of digits could overflow.
    const LIMIT: i64 = 1 << 40;
    let digits = text.strip_prefix(b"-").or(text.strip_prefix(b"+")).unwrap_or(text);
    let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    let exponent: i64 = is_number.then(|| std::str::from_utf8(text).ok()?.parse().ok())??;
    (-LIMIT..=LIMIT).contains(&exponent).then_some(exponent)
}

fn trim_start(digits: &[u8]) -> &[u8] {
    &digits[digits.iter().take_while(|b| **b == b'0').count()..]
}

fn trim_end(digits: &[u8]) -> &[u8] {
    &digits[..digits.len() - digits.iter().rev().take_while(|b| **b == b'0').count()]
}

impl Ord for Decimal<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self.negative, other.negative) {
            (true, false) => Ordering::Less,
            (false, true) => Ordering::Greater,
            (false, false) => self.compare_magnitude(other),
            (true, true) => other.compare_magnitude(self),
        }
    }
}

impl PartialOrd for Decimal<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Decimal<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Decimal<'_> {}

/// Equal numbers hash alike, however they are spelled.
impl Hash for Decimal<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.negative, self.exponent).hash(state);
        self.digits().for_each(|digit| state.write_u8(digit));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rustc_hash::FxBuildHasher;
    use std::hash::BuildHasher;

    fn number(text: &str) -> Decimal<'_> {
        Decimal::parse(text).unwrap_or_else(|| panic!("{text}"))
    }

    #[test]
    fn spellings_of_one_number_are_equal() {
        for spellings in [
            &["0", "-0", "0.00", "0e5", "-0.0e-3", ".0"][..],
            &["150", "150.0", "1.5e2", "15E+1", "0150", "+150", "15000e-2", "0.0015e5"],
            &["-0.015", "-1.5e-2", "-.015", "-15e-3"],
            &["12345678901234567890.5", "123456789012345678905e-1"],
            &["1e1000000", "10e999999"],
        ] {
            for (a, b) in spellings.iter().flat_map(|a| spellings.iter().map(move |b| (a, b))) {
                assert_eq!(number(a), number(b), "{a} {b}");
                assert_eq!(FxBuildHasher.hash_one(number(a)), FxBuildHasher.hash_one(number(b)), "{a} {b}");
            }
        }
    }

    #[test]
    fn numbers_are_ordered() {
        let ordered = [
            "-1e400",
            "-1e30",
            "-100",
            "-99.5",
            "-20",
            "-3.5",
            "-3",
            "-0.5",
            "-1e-400",
            "0",
            "1e-400",
            "0.05",
            "0.5",
            "0.51",
            "1",
            "3",
            "3.5",
            "20",
            "9007199254740992",
            "9007199254740993",
            "9007199254740993.0001",
            "1e30",
            "1e400",
        ];
        for (i, a) in ordered.iter().enumerate() {
            for (j, b) in ordered.iter().enumerate() {
                assert_eq!(number(a).cmp(&number(b)), i.cmp(&j), "{a} {b}");
            }
        }
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for text in [
            "",
            "-",
            "+",
            ".",
            "e5",
            "1e",
            "1e+",
            "NaN",
            "Infinity",
            "-inf",
            "1 ",
            " 1",
            "1_0",
            "0x1",
            "--1",
            "1.2.3",
            "1e5.0",
            "1e99999999999999999999",
            "$1.00",
            "1,000",
            "٣",
        ] {
            assert_eq!(Decimal::parse(text), None, "{text}");
        }
    }

    #[test]
    fn only_what_floats_print_has_slack() {
        for (text, slack) in [
            ("150", 0.0),
            ("-123456789", 0.0),
            ("150.5", FLOAT4_SLACK),
            ("-0.1", FLOAT4_SLACK),
            ("1e+30", FLOAT4_SLACK),
            ("1.2345679e+08", FLOAT4_SLACK),
            ("19.90", 0.0),
            ("1234567.5", FLOAT8_SLACK),
            ("3.141592653589793", FLOAT8_SLACK),
            ("9.007199254740992e+15", FLOAT8_SLACK),
            ("3.14159265358979323846", 0.0),
        ] {
            assert_eq!(number(text).slack(), slack, "{text}");
        }
    }

    #[test]
    fn near_numbers() {
        for (a, b, slack, near) in [
            ("1000000", "1000001", 1e-6, true),
            ("1000000", "1000002", 1e-6, false),
            ("-5", "5", 1e-6, false),
            ("0", "1e-9", 1e-6, false),
            ("0", "-0", 1e-6, true),
            ("1e400", "2e400", 1e-6, true),
            ("1e400", "5", 1e-6, false),
            ("1e400", "-1e400", 1e-6, false),
        ] {
            assert_eq!(number(a).is_near(number(b), slack), near, "{a} {b}");
        }
    }

    proptest! {
        #[test]
        fn order_is_that_of_floats(a in any::<f64>(), b in any::<f64>()) {
            prop_assume!(a.is_finite() && b.is_finite());
            let (x, y) = (format!("{a:e}"), format!("{b}"));
            prop_assert_eq!(Some(number(&x).cmp(&number(&y))), a.partial_cmp(&b));
            prop_assert_eq!(number(&x).to_f64(), a);
        }

        #[test]
        fn no_text_panics(text in "[-+0-9.eE]{0,12}|\\PC{0,8}") {
            if let Some(number) = Decimal::parse(&text) {
                prop_assert!(!number.to_f64().is_nan(), "{}", text);
            }
        }
    }
}
