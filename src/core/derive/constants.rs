//! Constants of a tree as the texts that Postgres would write. Their bytes are as in the server's memory, which is taken to
//! be of a machine that puts the lowest byte first; what is of another type, or makes no sense, is not understood.

use super::expression::Expression;
use super::tree::{Node, Value};

const BOOL: u32 = 16;
const INT8: u32 = 20;
const INT2: u32 = 21;
const INT4: u32 = 23;
const TEXT: u32 = 25;
const BPCHAR: u32 = 1042;
const VARCHAR: u32 = 1043;
const DATE: u32 = 1082;
const TIMESTAMP: u32 = 1114;
const TIMESTAMPTZ: u32 = 1184;
const NUMERIC: u32 = 1700;
const UUID: u32 = 2950;

/// Types of arrays and of their elements.
const ARRAYS: [(u32, u32); 12] = [
    (1000, BOOL),
    (1016, INT8),
    (1005, INT2),
    (1007, INT4),
    (1009, TEXT),
    (1014, BPCHAR),
    (1015, VARCHAR),
    (1182, DATE),
    (1115, TIMESTAMP),
    (1185, TIMESTAMPTZ),
    (1231, NUMERIC),
    (2951, UUID),
];

/// The value of a CONST; None if it is not understood.
pub(super) fn constant<C>(node: &Node) -> Option<Expression<C>> {
    if node.is("constisnull") {
        return Some(Expression::Constant(None));
    }
    let type_oid: u32 = node.number("consttype")?;
    let Value::Bytes(bytes) = node.get("constvalue") else { return None };
    match ARRAYS.iter().find(|(array, _)| *array == type_oid) {
        Some((_, element)) => elements(varlena(bytes)?, *element).map(|values| {
            Expression::List(values.into_iter().map(|value| Expression::Constant(value.map(Into::into))).collect())
        }),
        None => text_of(type_oid, bytes).map(|text| Expression::Constant(Some(text.into()))),
    }
}

fn text_of(type_oid: u32, bytes: &[u8]) -> Option<String> {
    match type_oid {
        BOOL => Some(if *bytes.first()? != 0 { "true" } else { "false" }.to_owned()),
        INT2 => Some(i16::from_le_bytes(array(bytes)?).to_string()),
        INT4 => Some(i32::from_le_bytes(array(bytes)?).to_string()),
        INT8 => Some(i64::from_le_bytes(array(bytes)?).to_string()),
        TEXT | VARCHAR | BPCHAR => String::from_utf8(varlena(bytes)?.to_vec()).ok(),
        NUMERIC => numeric(varlena(bytes)?),
        UUID => {
            let hex: String = array::<16>(bytes)?.iter().map(|byte| format!("{byte:02x}")).collect();
            Some([&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-"))
        }
        DATE => {
            let days = i32::from_le_bytes(array(bytes)?);
            if days == i32::MIN || days == i32::MAX {
                return None;
            }
            date(days.into())
        }
        TIMESTAMP | TIMESTAMPTZ => {
            const DAY: i64 = 86_400_000_000;
            let micros = i64::from_le_bytes(array(bytes)?);
            if micros == i64::MIN || micros == i64::MAX {
                return None;
            }
            let date = date(micros.div_euclid(DAY))?;
            let time = micros.rem_euclid(DAY);
            let (seconds, micros) = (time / 1_000_000, time % 1_000_000);
            let zone = if type_oid == TIMESTAMPTZ { "+00" } else { "" };
            let fraction = if micros == 0 { String::new() } else { format!(".{micros:06}") };
            let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
            Some(format!("{date} {hours:02}:{minutes:02}:{:02}{fraction}{zone}", seconds % 60))
        }
        _ => None,
    }
}

fn array<const N: usize>(bytes: &[u8]) -> Option<[u8; N]> {
    bytes.get(..N)?.try_into().ok()
}

/// What a value of varying length holds: behind a header of four bytes, or of one where it is short.
fn varlena(bytes: &[u8]) -> Option<&[u8]> {
    let first = *bytes.first()?;
    match first & 3 {
        0 => {
            let len = usize::try_from(u32::from_le_bytes(array(bytes)?) >> 2).ok()?;
            bytes.get(4..len)
        }
        1 | 3 if first != 1 => bytes.get(1..usize::from(first >> 1)),
        // Compressed, or elsewhere.
        _ => None,
    }
}

/// The date that many days after 2000-01-01; only years of four digits.
fn date(days: i64) -> Option<String> {
    // Days since 0000-03-01 of the calendar as it is now, counted in its periods of 400 years.
    let days = days + 730_425;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (1..=9999).contains(&year).then(|| format!("{year:04}-{month:02}-{day:02}"))
}

/// A numeric as it is kept: a header with sign, weight and scale, then digits to the base of 10,000.
fn numeric(bytes: &[u8]) -> Option<String> {
    let words: Vec<u16> = bytes.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect();
    let header = *words.first()?;
    let (is_negative, scale, weight, digits) = match header & 0xC000 {
        // NaN and the infinities have no place on a line.
        0xC000 => return None,
        0x8000 => {
            let weight = i32::from(header & 0x3F) - if header & 0x40 != 0 { 0x40 } else { 0 };
            (header & 0x2000 != 0, (header & 0x1F80) >> 7, weight, &words[1..])
        }
        sign => (sign == 0x4000, header & 0x3FFF, i32::from(*words.get(1)? as i16), &words[2..]),
    };
    if digits.iter().any(|digit| *digit > 9_999) {
        return None;
    }
    let digit = |place: i32| usize::try_from(weight - place).ok().and_then(|i| digits.get(i)).copied().unwrap_or(0);
    let mut text = if is_negative { "-".to_owned() } else { String::new() };
    let whole: String = (0..=weight.max(0)).rev().map(|place| format!("{:04}", digit(place))).collect();
    let whole = whole.trim_start_matches('0');
    text.push_str(if whole.is_empty() { "0" } else { whole });
    let scale = usize::from(scale);
    if scale > 0 {
        let places = i32::try_from(scale.div_ceil(4)).ok()?;
        let fraction: String = (1..=places).map(|place| format!("{:04}", digit(-place))).collect();
        text.push('.');
        text.push_str(&fraction[..scale]);
    }
    Some(text)
}

/// Elements of an array of one dimension.
fn elements(bytes: &[u8], element: u32) -> Option<Vec<Option<String>>> {
    // The header of the value is counted in the array's own offsets.
    const HEADER: usize = 4;
    let word = |at: usize| Some(i32::from_le_bytes(array(bytes.get(at..)?)?));
    match word(0)? {
        0 => return Some(Vec::new()),
        1 => {}
        _ => return None,
    }
    let data = usize::try_from(word(4)?).ok()?;
    let count = usize::try_from(word(12)?).ok().filter(|count| *count <= bytes.len())?;
    let nulls = (data != 0).then(|| bytes.get(20..)).flatten();
    let mut at = match data {
        0 => (20 + HEADER).next_multiple_of(8),
        data => data,
    } - HEADER;
    let (len, align) = match element {
        BOOL => (Some(1), 1),
        INT2 => (Some(2), 2),
        INT4 | DATE => (Some(4), 4),
        INT8 | TIMESTAMP | TIMESTAMPTZ => (Some(8), 8),
        UUID => (Some(16), 1),
        _ => (None, 4),
    };
    let mut values = Vec::with_capacity(count);
    for i in 0..count {
        if nulls.is_some_and(|nulls| nulls.get(i / 8).is_none_or(|byte| byte & (1 << (i % 8)) == 0)) {
            values.push(None);
            continue;
        }
        // A short header stands wherever it comes; anything else is aligned.
        if len.is_some() || bytes.get(at).is_none_or(|first| *first == 0 || first & 1 == 0) {
            at = (at + HEADER).next_multiple_of(align) - HEADER;
        }
        let rest = bytes.get(at..)?;
        values.push(Some(text_of(element, rest)?));
        at += match len {
            Some(len) => len,
            None => varlena(rest)?.len() + if rest.first()? & 1 == 0 { 4 } else { 1 },
        };
    }
    Some(values)
}
