//! Numbers of JSON as decimal numbers.

use super::canonical::Spelling;
use super::value::ScalarType;

/// As a JSON number. An exponent, with which some clients write small and large numbers, is written out, with the scale that
/// Postgres gives such a number.
pub(in crate::core) fn write_numeric(text: &str, spelling: Spelling, out: &mut Vec<u8>) -> bool {
    /// More would have more digits than a numeric of the catalog may.
    const MAX_EXPONENT: i32 = 1_000;

    let Some((mantissa, exponent)) = text.split_once(['e', 'E']) else {
        return ScalarType::Numeric.write(text.as_bytes(), spelling, out).is_ok();
    };
    let Some(exponent) = exponent.parse().ok().filter(|n: &i32| n.abs() <= MAX_EXPONENT) else {
        return false;
    };
    let (sign, digits) = mantissa.strip_prefix('-').map_or(("", mantissa), |digits| ("-", digits));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let moved = exponent.unsigned_abs() as usize;
    let zeros = "0".repeat(moved);
    let plain = if exponent < 0 {
        let padded = format!("{zeros}{whole}");
        // The mantissa of a string may hold anything; canonical text tells below.
        let Some((whole, shifted)) = padded.split_at_checked(padded.len() - moved) else { return false };
        format!("{sign}{whole}.{shifted}{fraction}")
    } else {
        match fraction.split_at_checked(moved) {
            Some((shifted, fraction)) => format!("{sign}{whole}{shifted}.{fraction}"),
            None => format!("{sign}{whole}{fraction}{}", &zeros[fraction.len()..]),
        }
    };
    // In a mantissa without any digit the zeros would pass for some.
    mantissa.bytes().any(|byte| byte.is_ascii_digit())
        && ScalarType::Numeric.write(plain.as_bytes(), spelling, out).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_numbers_have_one_canonical_text() {
        for (text, expected) in [
            ("5", "5"),
            ("5.0", "5"),
            ("5e0", "5"),
            ("0.5E1", "5"),
            ("50e-1", "5"),
            ("-0", "0"),
            ("-0.0e3", "0"),
            ("0.10", "0.1"),
            ("1e-3", "0.001"),
        ] {
            let mut out = Vec::new();
            assert!(write_numeric(text, Spelling::Canonical, &mut out), "{text}");
            assert_eq!(String::from_utf8(out).as_deref(), Ok(expected), "{text}");
        }
        for wrong in ["", "e", "e5", ".e1", "1e1001", "1e99999999999", "x"] {
            assert!(!write_numeric(wrong, Spelling::Canonical, &mut Vec::new()), "{wrong}");
        }
    }
}
