//! Cells of a job's rows as text.
//!
//! A statement that changes data cannot be wrapped so that Postgres makes the text: its rows come in binary. The text
//! is one that the canonical form of the type accepts.

use jiff::civil::{date, DateTime};
use jiff::{SignedDuration, Span};
use tokio_postgres::types::{FromSql, Kind, Type};
use tokio_postgres::Row;

#[derive(Debug, thiserror::Error)]
pub(in crate::postgres) enum CellError {
    #[error("column '{column}' is {ty}, which is not read here; cast it to text")]
    Unreadable { column: Box<str>, ty: Box<str> },
    #[error("column '{column}' holds a {ty} that has no canonical form, such as infinity or NaN")]
    NoText { column: Box<str>, ty: Box<str> },
}

/// Is the type read?
pub(in crate::postgres) fn is_readable(ty: &Type) -> bool {
    const READ: [Type; 18] = [
        Type::INT2,
        Type::INT4,
        Type::INT8,
        Type::BOOL,
        Type::TEXT,
        Type::VARCHAR,
        Type::BPCHAR,
        Type::NAME,
        Type::UNKNOWN,
        Type::UUID,
        Type::JSON,
        Type::JSONB,
        Type::NUMERIC,
        Type::FLOAT4,
        Type::FLOAT8,
        Type::DATE,
        Type::TIMESTAMP,
        Type::TIMESTAMPTZ,
    ];
    match ty.kind() {
        Kind::Enum(_) => true,
        Kind::Domain(base) => is_readable(base),
        _ => READ.contains(ty),
    }
}

/// The cell as text; None is NULL.
pub(in crate::postgres) fn text_of(row: &Row, at: usize) -> Result<Option<String>, CellError> {
    let column = &row.columns()[at];
    let mut ty = column.type_();
    while let Kind::Domain(base) = ty.kind() {
        ty = base;
    }
    let unreadable = || CellError::Unreadable { column: column.name().into(), ty: column.type_().name().into() };
    if !is_readable(ty) {
        return Err(unreadable());
    }
    let Some(Raw(bytes)) = row.try_get::<_, Option<Raw>>(at).map_err(|_| unreadable())? else {
        return Ok(None);
    };
    let no_text = || CellError::NoText { column: column.name().into(), ty: ty.name().into() };
    text(ty, bytes).map(Some).ok_or_else(no_text)
}

/// A cell as it was sent.
struct Raw<'a>(&'a [u8]);

impl<'a> FromSql<'a> for Raw<'a> {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Raw(raw))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

fn text(ty: &Type, raw: &[u8]) -> Option<String> {
    let micros = || raw.try_into().ok().map(i64::from_be_bytes);
    Some(match *ty {
        Type::INT2 => i16::from_be_bytes(raw.try_into().ok()?).to_string(),
        Type::INT4 => i32::from_be_bytes(raw.try_into().ok()?).to_string(),
        Type::INT8 => i64::from_be_bytes(raw.try_into().ok()?).to_string(),
        Type::BOOL => (raw != [0]).to_string(),
        Type::UUID => uuid::Uuid::from_slice(raw).ok()?.to_string(),
        Type::NUMERIC => numeric(raw)?,
        Type::FLOAT4 => Some(f32::from_be_bytes(raw.try_into().ok()?)).filter(|x| x.is_finite())?.to_string(),
        Type::FLOAT8 => Some(f64::from_be_bytes(raw.try_into().ok()?)).filter(|x| x.is_finite())?.to_string(),
        Type::DATE => {
            let days = i32::from_be_bytes(raw.try_into().ok()?);
            date(2000, 1, 1).checked_add(Span::new().try_days(days).ok()?).ok()?.to_string()
        }
        Type::TIMESTAMP => time(micros()?)?.to_string(),
        Type::TIMESTAMPTZ => format!("{}Z", time(micros()?)?),
        // As its cast to text has it, by which queries list their rows.
        Type::BPCHAR => String::from_utf8(raw.to_vec()).ok()?.trim_end_matches(' ').to_owned(),
        Type::JSONB => String::from_utf8(raw.strip_prefix(&[1])?.to_vec()).ok()?,
        _ => String::from_utf8(raw.to_vec()).ok()?,
    })
}

/// Of microseconds since 2000.
fn time(micros: i64) -> Option<DateTime> {
    date(2000, 1, 1).at(0, 0, 0, 0).checked_add(SignedDuration::from_micros(micros)).ok()
}

/// Digits of base 10,000: their number, the weight of the first, the sign, the scale, and they themselves.
fn numeric(raw: &[u8]) -> Option<String> {
    const NEGATIVE: u16 = 0x4000;
    let words: Vec<u16> = raw.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect();
    let [_, weight, sign @ (0 | NEGATIVE), scale, digits @ ..] = &words[..] else { return None };
    let weight = i32::from(*weight as i16);
    let digit = |place: i32| usize::try_from(weight - place).ok().and_then(|at| digits.get(at)).copied().unwrap_or(0);
    let mut text = if *sign == NEGATIVE { "-".to_owned() } else { String::new() };
    let whole: String = (0..=weight.max(0)).rev().map(|place| format!("{:04}", digit(place))).collect();
    let trimmed = whole.trim_start_matches('0');
    text.push_str(if trimmed.is_empty() { "0" } else { trimmed });
    let scale = usize::from(*scale);
    if scale > 0 {
        let groups = i32::try_from(scale.div_ceil(4)).ok()?;
        let fraction: String = (1..=groups).map(|place| format!("{:04}", digit(-place))).collect();
        text.push('.');
        text.push_str(fraction.get(..scale)?);
    }
    Some(text)
}
