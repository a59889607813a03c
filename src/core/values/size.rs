//! Sizes as the catalog writes them: `512b`, `4kb`, `1mb`, or `off`. As in redis.conf, a kb is 1,024 bytes.

use super::percent::OFF;

/// Not a size, or one beyond its bounds.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a size is \"{OFF}\" or a whole number and b, kb or mb, from 64b to 64mb (4kb is 4096 bytes), got '{got}'")]
pub struct SizeError {
    got: Box<str>,
}

const LEAST: usize = 64;
const MOST: usize = 64 << 20;

/// The greatest first.
const UNITS: [(&str, usize); 3] = [("mb", 1 << 20), ("kb", 1 << 10), ("b", 1)];

/// Bytes; None for `off`.
pub fn parse(text: &str) -> Result<Option<usize>, SizeError> {
    if text == OFF {
        return Ok(None);
    }
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let unit = UNITS.iter().find(|(name, _)| *name == unit).map(|(_, bytes)| *bytes);
    let bytes = number.parse::<usize>().ok().zip(unit).and_then(|(number, unit)| number.checked_mul(unit));
    let bytes = bytes.filter(|bytes| (LEAST..=MOST).contains(bytes));
    bytes.map(Some).ok_or_else(|| SizeError { got: text.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("off", None),
            ("64b", Some(64)),
            ("4096b", Some(4_096)),
            ("4kb", Some(4_096)),
            ("1mb", Some(1 << 20)),
            ("64mb", Some(64 << 20)),
        ] {
            assert_eq!(parse(text), Ok(bytes));
        }
        for wrong in
            ["", "4", "kb", "63b", "0kb", "65mb", "4 kb", "4KB", "4k", "1.5kb", "-4kb", "+4kb", "1gb", "Off", "é"]
        {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
        assert!(parse("99999999999999999999mb").is_err() && parse("18014398509481984kb").is_err());
    }
}
