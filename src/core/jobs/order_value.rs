//! Values that tell jobs apart, for their order and for limits: equal ones have one text, however they are spelled.

use std::hash::Hasher as _;

use rustc_hash::FxHasher;

use crate::core::values::canonical::Spelling;
use crate::core::values::json_number::write_numeric;
use crate::core::values::value::{ArgType, ScalarType};

/// Of a value as it is stored; null has none. Good within this process only.
pub(super) fn order_key(ty: ArgType, value: &[u8]) -> Option<u64> {
    let mut hasher = FxHasher::default();
    hasher.write(order_text(ty, value, &mut Vec::new())?);
    Some(hasher.finish())
}

/// The value's text; null has none. The number 5 and the text "5" are one value, so that a field may point to another by
/// text. `canonical` is room for it, empty.
pub(in crate::core) fn order_text<'v>(ty: ArgType, value: &'v [u8], canonical: &'v mut Vec<u8>) -> Option<&'v [u8]> {
    let value = match (value, ty) {
        (b"null", _) => return None,
        (_, ArgType { scalar: ScalarType::Numeric | ScalarType::Float, array: false }) => {
            // It was written as one of the type.
            ty.scalar.write_canonical(value, canonical).map_or(value, |()| canonical.as_slice())
        }
        _ => value,
    };
    Some(without_quotes(value))
}

/// The same of a value in a payload without declared fields. Lists and objects have none.
pub(in crate::core) fn open_order_text<'v>(value: &'v [u8], canonical: &'v mut Vec<u8>) -> Option<&'v [u8]> {
    match value {
        b"null" => None,
        [b'{' | b'[', ..] => None,
        // What can be no other spelling of a whole number is one itself.
        [b'-' | b'0'..=b'9', ..] if value == b"-0" || !value.iter().all(|byte| matches!(byte, b'-' | b'0'..=b'9')) => {
            let text = std::str::from_utf8(value).unwrap_or_default();
            match write_numeric(text, Spelling::Canonical, canonical) {
                true => Some(canonical),
                // Of more digits than a numeric of the catalog has.
                false => Some(value),
            }
        }
        _ => Some(without_quotes(value)),
    }
}

fn without_quotes(value: &[u8]) -> &[u8] {
    value.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")).unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(ty: &str, value: &str) -> Option<String> {
        let ty = ArgType::parse(ty).expect("a type");
        order_text(ty, value.as_bytes(), &mut Vec::new()).map(|text| String::from_utf8_lossy(text).into_owned())
    }

    fn open(value: &str) -> Option<String> {
        open_order_text(value.as_bytes(), &mut Vec::new()).map(|text| String::from_utf8_lossy(text).into_owned())
    }

    #[test]
    fn equal_values_have_one_text() {
        for (ty, value, text) in [
            ("int", "5", Some("5")),
            ("text", "\"5\"", Some("5")),
            ("numeric", "5.00", Some("5")),
            ("numeric", "0.10", Some("0.1")),
            ("float", "-0", Some("0")),
            ("bool", "true", Some("true")),
            ("text", "\"\"", Some("")),
            ("text", "null", None),
            ("text", "\"null\"", Some("null")),
        ] {
            assert_eq!(typed(ty, value).as_deref(), text, "{ty} {value}");
        }
        for (value, text) in [
            ("5", Some("5")),
            ("-5", Some("-5")),
            ("5.0", Some("5")),
            ("0.5e1", Some("5")),
            ("-0", Some("0")),
            ("-0.0", Some("0")),
            ("1e2000", Some("1e2000")),
            ("\"5\"", Some("5")),
            ("\"5.0\"", Some("5.0")),
            ("true", Some("true")),
            ("null", None),
            ("[5]", None),
            ("{}", None),
            ("\"[\"", Some("[")),
        ] {
            assert_eq!(open(value).as_deref(), text, "{value}");
        }
    }
}
