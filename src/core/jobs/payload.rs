//! The payload of a job: checked against the fields that the job declares, and written in one spelling.
//!
//! What is stored is not what the client sent but what was understood: the fields in the order of their declaration,
//! each value as its type spells it, with what Postgres keeps of a number that is equal to another: the scale of a numeric,
//! the sign of a float's zero. Two payloads that mean the same are the same bytes in their canonical form
//! ([`write_canonical`]).

use smallvec::{smallvec, SmallVec};

use super::batch::OrderKeys;
use super::order_value::order_key;
use crate::core::catalog::job::{Field, Job, Order};
use crate::core::values::canonical::{is_too_small, Spelling, NOT_TOO_SMALL};
use crate::core::values::json_number::write_numeric;
use crate::core::values::json_text::{write_string, JsonError, Reader};
use crate::core::values::value::{shorten, ArgType, ScalarType, Value};

/// Why a payload is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PayloadError {
    #[error("the payload is not UTF-8 from byte {at} on")]
    Utf8 { at: usize },
    #[error("the payload {0}")]
    Json(JsonError),
    #[error("field '{field}' {error}")]
    InField { field: Box<str>, error: JsonError },
    #[error("the payload must be a JSON object, got {got}")]
    NotObject { got: Box<str> },
    #[error("unknown field '{field}'; {takes}")]
    Unknown { field: Box<str>, takes: Box<str> },
    #[error("field '{field}' is missing; {takes}")]
    Missing { field: Box<str>, takes: Box<str> },
    #[error("field '{field}' is given twice")]
    Duplicate { field: Box<str> },
    #[error("field '{field}' must be {expected}, got {got}")]
    WrongType { field: Box<str>, expected: Box<str>, got: Box<str> },
}

/// A payload that fits its job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// One compact JSON object.
    pub json: Vec<u8>,
    /// Sorted, without duplicates. Good within this process only.
    pub order: OrderKeys,
}

/// Where in the output the value of each field is; None for one that is absent.
type Spans = SmallVec<[Option<(usize, usize)>; 8]>;

/// Appends the payload as it is stored. `out` is as it was after an error.
///
/// Idempotent: what was written is written again as it is. An optional field that is absent stays absent, and one that
/// is null stays null.
pub fn write_checked(job: &Job, raw: &[u8], out: &mut Vec<u8>) -> Result<(), PayloadError> {
    write_with_spans(job, raw, Spelling::Given, out).map(drop)
}

/// Appends the payload so that two that mean the same are the same bytes: for UNIQUE.
pub fn write_canonical(job: &Job, raw: &[u8], out: &mut Vec<u8>) -> Result<(), PayloadError> {
    write_with_spans(job, raw, Spelling::Canonical, out).map(drop)
}

/// Appends the payload of a claimed job as it is stored; without a definition any JSON is one.
pub fn write(job: Option<&Job>, raw: &[u8], out: &mut Vec<u8>) -> Result<(), PayloadError> {
    match job {
        Some(job) => write_checked(job, raw, out),
        None => write_any(raw, out),
    }
}

/// Appends any JSON, for jobs that declare no fields: compactly, with all that it says. Numbers keep their spelling, the
/// keys their order. `out` is as it was after an error.
pub fn write_any(raw: &[u8], out: &mut Vec<u8>) -> Result<(), PayloadError> {
    let text = std::str::from_utf8(raw).map_err(|error| PayloadError::Utf8 { at: error.valid_up_to() })?;
    let start = out.len();
    let mut reader = Reader::for_any(text);
    reader.copy_value(out).and_then(|()| reader.end()).map_err(|error| {
        out.truncate(start);
        PayloadError::Json(error)
    })
}

/// The payload as it is stored, and the values that keep the job's order.
pub fn check(job: &Job, raw: &[u8]) -> Result<Checked, PayloadError> {
    let mut json = Vec::with_capacity(raw.len());
    let spans = write_with_spans(job, raw, Spelling::Given, &mut json)?;
    let mut order = OrderKeys::new();
    if let Order::Fields(names) = &job.order {
        for (field, span) in job.data.iter().zip(&spans) {
            if let Some((from, to)) = span.filter(|_| names.contains(&field.name)) {
                order.extend(order_key(field.ty, &json[from..to]));
            }
        }
        order.sort_unstable();
        order.dedup();
    }
    Ok(Checked { json, order })
}

fn write_with_spans(job: &Job, raw: &[u8], spelling: Spelling, out: &mut Vec<u8>) -> Result<Spans, PayloadError> {
    let start = out.len();
    let written = write_fields(job, raw, spelling, out);
    if written.is_err() {
        out.truncate(start);
    }
    written
}

fn write_fields(job: &Job, raw: &[u8], spelling: Spelling, out: &mut Vec<u8>) -> Result<Spans, PayloadError> {
    let text = std::str::from_utf8(raw).map_err(|error| PayloadError::Utf8 { at: error.valid_up_to() })?;
    let mut reader = Reader::new(text);
    if !reader.take(b'{') {
        let got = reader.describe().map_err(PayloadError::Json)?.into();
        return Err(PayloadError::NotObject { got });
    }
    let mut spans: Spans = smallvec![None; job.data.len()];
    let start = out.len();
    out.push(b'{');
    let (mut next, mut declared_order) = (0, true);
    let mut more = !reader.take(b'}');
    while more {
        let key = reader.key().map_err(PayloadError::Json)?;
        let index = find(job, next, &key)?;
        let field = &job.data[index];
        if spans[index].is_some() {
            return Err(PayloadError::Duplicate { field: field.name.clone() });
        }
        declared_order &= index >= next;
        next = index + 1;
        if out.len() > start + 1 {
            out.push(b',');
        }
        write_name(&field.name, out);
        let from = out.len();
        write_value(field, &mut reader, spelling, out)?;
        spans[index] = Some((from, out.len()));
        more = reader.goes_on(b'}').map_err(PayloadError::Json)?;
    }
    reader.end().map_err(PayloadError::Json)?;
    out.push(b'}');
    let missing = job.data.iter().zip(&spans).find(|(field, span)| !field.optional && span.is_none());
    if let Some((field, _)) = missing {
        return Err(PayloadError::Missing { field: field.name.clone(), takes: takes(job) });
    }
    if !declared_order {
        arrange(job, start, &mut spans, out);
    }
    Ok(spans)
}

/// The field's index; most payloads name the fields in the order of the catalog.
fn find(job: &Job, next: usize, key: &str) -> Result<usize, PayloadError> {
    if job.data.get(next).is_some_and(|field| *field.name == *key) {
        return Ok(next);
    }
    job.data
        .iter()
        .position(|field| *field.name == *key)
        .ok_or_else(|| PayloadError::Unknown { field: shorten(key.as_bytes()).into(), takes: takes(job) })
}

/// `UPDATE_BEAR takes id (int), name (text, optional)`
fn takes(job: &Job) -> Box<str> {
    let fields: Vec<String> = job
        .data
        .iter()
        .map(|field| format!("{} ({}{})", field.name, field.ty, if field.optional { ", optional" } else { "" }))
        .collect();
    let fields = if fields.is_empty() { "no fields".to_owned() } else { fields.join(", ") };
    format!("{} takes {fields}", job.name).into()
}

/// Field names are letters, digits and `_`: nothing to escape.
fn write_name(name: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}

/// Puts the fields of the object at `start` into the order of their declaration.
fn arrange(job: &Job, start: usize, spans: &mut Spans, out: &mut Vec<u8>) {
    let given = out.split_off(start);
    out.push(b'{');
    for (field, span) in job.data.iter().zip(spans) {
        if let Some((from, to)) = span {
            if out.len() > start + 1 {
                out.push(b',');
            }
            write_name(&field.name, out);
            let at = out.len();
            out.extend_from_slice(&given[*from - start..*to - start]);
            *span = Some((at, out.len()));
        }
    }
    out.push(b'}');
}

fn write_value(
    field: &Field,
    reader: &mut Reader<'_>,
    spelling: Spelling,
    out: &mut Vec<u8>,
) -> Result<(), PayloadError> {
    let broken = |error| match error {
        JsonError::Syntax { .. } => PayloadError::Json(error),
        error => PayloadError::InField { field: field.name.clone(), error },
    };
    if reader.peek() == Some(b'n') && field.optional {
        out.extend_from_slice(reader.word().map_err(broken)?.as_bytes());
        return Ok(());
    }
    let scalar = field.ty.scalar;
    let fits = match field.ty.array {
        true => write_list(scalar, reader, spelling, out),
        false => write_scalar(scalar, reader, spelling, out),
    };
    match fits.map_err(broken)? {
        Fit::Fits => Ok(()),
        Fit::Not(got) => {
            let is_too_small = !field.ty.array && scalar == ScalarType::Float && is_too_small(got.as_bytes());
            let expected = if is_too_small { NOT_TOO_SMALL.into() } else { expected(field.ty) };
            Err(PayloadError::WrongType { field: field.name.clone(), expected, got: got.into() })
        }
    }
}

enum Fit {
    Fits,
    /// What stands there instead, for a message.
    Not(String),
}

fn write_list(
    scalar: ScalarType,
    reader: &mut Reader<'_>,
    spelling: Spelling,
    out: &mut Vec<u8>,
) -> Result<Fit, JsonError> {
    if reader.peek() != Some(b'[') {
        return reader.describe().map(Fit::Not);
    }
    reader.take(b'[');
    out.push(b'[');
    let mut more = !reader.take(b']');
    while more {
        if let Fit::Not(got) = write_scalar(scalar, reader, spelling, out)? {
            return Ok(Fit::Not(format!("{got} in it")));
        }
        more = reader.goes_on(b']')?;
        out.extend(more.then_some(b','));
    }
    out.push(b']');
    Ok(Fit::Fits)
}

fn write_scalar(
    scalar: ScalarType,
    reader: &mut Reader<'_>,
    spelling: Spelling,
    out: &mut Vec<u8>,
) -> Result<Fit, JsonError> {
    let first = reader.peek();
    let before = reader.clone();
    let written = match (scalar, first) {
        (ScalarType::Json, Some(b'n')) => false,
        (ScalarType::Json, _) => reader.copy_value(out).map(|()| true)?,
        (ScalarType::Text, Some(b'"')) => {
            write_string(&reader.string()?, out);
            true
        }
        (ScalarType::Bool, Some(b't' | b'f')) => {
            out.extend_from_slice(reader.word()?.as_bytes());
            true
        }
        (ScalarType::Int | ScalarType::Float, Some(b'-' | b'0'..=b'9')) => {
            scalar.write(reader.number()?.as_bytes(), spelling, out).is_ok()
        }
        (ScalarType::Numeric, Some(b'-' | b'0'..=b'9')) => write_numeric(reader.number()?, spelling, out),
        // A string carries digits that a client's own numbers would lose.
        (ScalarType::Numeric, Some(b'"')) => write_numeric(&reader.string()?, spelling, out),
        (ScalarType::Uuid | ScalarType::Date | ScalarType::Timestamp | ScalarType::TimestampTz, Some(b'"')) => {
            out.push(b'"');
            let written = scalar.write_canonical(reader.string()?.as_bytes(), out).is_ok();
            out.push(b'"');
            written
        }
        _ => false,
    };
    if written {
        return Ok(Fit::Fits);
    }
    *reader = before;
    reader.describe().map(Fit::Not)
}

/// What a value of the type is, in a message.
fn expected(ty: ArgType) -> Box<str> {
    let one = match ty.scalar {
        ScalarType::Int => "an integer of 64 bits",
        ScalarType::Float => "a finite number",
        ScalarType::Numeric => "a decimal number of at most 1000 digits, or a string that holds one",
        ScalarType::Bool => "true or false",
        ScalarType::Text => "a string",
        ScalarType::Uuid => "a string with a uuid",
        ScalarType::Date => "a string with a date such as 2026-11-21",
        ScalarType::Timestamp => "a string with a time without zone such as 2026-11-21T10:00:00",
        ScalarType::TimestampTz => "a string with a time such as 2026-11-21T10:00:00Z",
        ScalarType::Json => "any JSON but null",
    };
    if ty.array {
        format!("a list, each of it {one}").into()
    } else {
        one.into()
    }
}

/// Appends the record of a job for the relation `{jobs}`: `{"n":1,"data":{…},"tenant":"…",…}`, `data` where it is read. `json` is what
/// [`write_checked`] wrote.
pub fn write_record(n: usize, tenant: Option<&str>, with_data: bool, json: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"n\":");
    out.extend_from_slice(n.to_string().as_bytes());
    if with_data {
        out.extend_from_slice(b",\"data\":");
        out.extend_from_slice(json);
    }
    if let Some(tenant) = tenant {
        out.extend_from_slice(b",\"tenant\":");
        write_string(tenant, out);
    }
    if json.len() > b"{}".len() {
        out.push(b',');
    }
    out.extend_from_slice(json.get(1..).unwrap_or(b"}"));
}

/// A field and its value in Postgres' text format; None is NULL.
pub type NamedText = (Box<str>, Option<String>);

/// The fields' values in Postgres' text format, in the order of their declaration; None is NULL.
pub fn text_params(job: &Job, json: &[u8]) -> Result<Vec<NamedText>, PayloadError> {
    let mut canonical = Vec::with_capacity(json.len());
    let spans = write_with_spans(job, json, Spelling::Given, &mut canonical)?;
    let value = |field: &Field, (from, to): (usize, usize)| {
        let text = std::str::from_utf8(&canonical[from..to]).map_err(|_| PayloadError::Utf8 { at: from })?;
        let broken = |error| PayloadError::InField { field: field.name.clone(), error };
        text_param(field.ty, text).map_err(broken)
    };
    job.data
        .iter()
        .zip(&spans)
        .map(|(field, span)| Ok((field.name.clone(), span.map(|span| value(field, span)).transpose()?.flatten())))
        .collect()
}

fn text_param(ty: ArgType, json: &str) -> Result<Option<String>, JsonError> {
    if json == "null" {
        return Ok(None);
    }
    if ty.scalar == ScalarType::Json {
        return Ok(Some(json.to_owned()));
    }
    let mut reader = Reader::new(json);
    if !ty.array {
        return element(&mut reader).map(|text| Some(text.into()));
    }
    let mut elements = Vec::new();
    reader.take(b'[');
    let mut more = !reader.take(b']');
    while more {
        elements.push(element(&mut reader)?);
        more = reader.goes_on(b']')?;
    }
    Ok(Value::Array(elements.into()).to_postgres_text())
}

fn element(reader: &mut Reader<'_>) -> Result<Box<str>, JsonError> {
    Ok(match reader.peek() {
        Some(b'"') => reader.string()?.into(),
        Some(b't' | b'f') => reader.word()?.into(),
        _ => reader.number()?.into(),
    })
}

#[cfg(test)]
mod tests;
