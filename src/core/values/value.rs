//! Types of the catalog and values in canonical form.
//!
//! A value is kept as the text that Postgres accepts for its type and that keys show, so that two spellings of
//! one value (`007` and `7`, an uuid in capitals) are one cache entry.

use std::fmt;

/// Type of one value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ScalarType {
    /// 64-bit signed integer.
    Int,
    /// 64-bit floating point; NaN and infinities are refused.
    Float,
    /// Decimal number of any precision.
    Numeric,
    Bool,
    /// UTF-8 without NUL, which Postgres refuses.
    Text,
    Uuid,
    Date,
    /// Date and time without zone.
    Timestamp,
    /// An instant; UTC in canonical form.
    TimestampTz,
    /// Only in payloads of jobs.
    Json,
}

impl ScalarType {
    pub const ALL: [ScalarType; 10] = [
        ScalarType::Int,
        ScalarType::Float,
        ScalarType::Numeric,
        ScalarType::Bool,
        ScalarType::Text,
        ScalarType::Uuid,
        ScalarType::Date,
        ScalarType::Timestamp,
        ScalarType::TimestampTz,
        ScalarType::Json,
    ];

    /// The name that a catalog writes.
    pub fn name(self) -> &'static str {
        match self {
            ScalarType::Int => "int",
            ScalarType::Float => "float",
            ScalarType::Numeric => "numeric",
            ScalarType::Bool => "bool",
            ScalarType::Text => "text",
            ScalarType::Uuid => "uuid",
            ScalarType::Date => "date",
            ScalarType::Timestamp => "timestamp",
            ScalarType::TimestampTz => "timestamptz",
            ScalarType::Json => "json",
        }
    }

    pub fn parse_name(name: &str) -> Option<ScalarType> {
        ScalarType::ALL.into_iter().find(|t| t.name() == name)
    }

    /// The type's name in Postgres.
    pub fn postgres_name(self) -> &'static str {
        match self {
            ScalarType::Int => "int8",
            ScalarType::Float => "float8",
            ScalarType::Json => "jsonb",
            other => other.name(),
        }
    }
}

impl fmt::Display for ScalarType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Type of an argument or a payload field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ArgType {
    pub scalar: ScalarType,
    /// A set of values: sorted and without duplicates in canonical form.
    pub array: bool,
}

impl ArgType {
    pub const fn scalar(scalar: ScalarType) -> ArgType {
        ArgType { scalar, array: false }
    }

    pub const fn array(scalar: ScalarType) -> ArgType {
        ArgType { scalar, array: true }
    }

    /// `int`, `text[]`. The error completes "type: …".
    pub fn parse(text: &str) -> Result<ArgType, UnknownType> {
        let (name, array) = match text.strip_suffix("[]") {
            Some(name) => (name, true),
            None => (text, false),
        };
        match ScalarType::parse_name(name) {
            Some(scalar) => Ok(ArgType { scalar, array }),
            None => Err(UnknownType { got: text.into() }),
        }
    }

    /// The type's name in Postgres: `int8`, `text[]`.
    pub fn postgres_name(self) -> String {
        let array = if self.array { "[]" } else { "" };
        format!("{}{array}", self.scalar.postgres_name())
    }
}

impl fmt::Display for ArgType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.scalar.name())?;
        f.write_str(if self.array { "[]" } else { "" })
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{got}' is not a type; the types are int, float, numeric, bool, text, uuid, date, timestamp, timestamptz \
     and json, each but json also as an array such as int[]"
)]
pub struct UnknownType {
    got: Box<str>,
}

/// A checked argument in canonical form.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Value {
    /// An optional group that was left out.
    Null,
    Scalar(Box<str>),
    /// Sorted by the type's order, without duplicates.
    Array(Box<[Box<str>]>),
}

impl Value {
    /// Postgres' text format of the value; None is NULL.
    pub fn to_postgres_text(&self) -> Option<String> {
        match self {
            Value::Null => None,
            Value::Scalar(text) => Some(text.to_string()),
            Value::Array(elements) => Some(array_literal(elements)),
        }
    }
}

/// `{"red","a \"b\""}`: every element is quoted, so that none reads as NULL or as a nested array.
fn array_literal(elements: &[Box<str>]) -> String {
    let mut out = String::with_capacity(2 + elements.iter().map(|e| e.len() + 3).sum::<usize>());
    out.push('{');
    for (i, element) in elements.iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        out.push('"');
        for c in element.chars() {
            if matches!(c, '"' | '\\') {
                out.push('\\');
            }
            out.push(c);
        }
        out.push('"');
    }
    out.push('}');
    out
}

/// A word that is not of its type. Completes a sentence: "start must be …".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{expected}, got '{got}'", if *.array { "a list with commas between, each " } else { "" })]
pub struct ValueError {
    /// `an integer`
    expected: &'static str,
    /// Shortened and without unprintable bytes.
    got: Box<str>,
    /// The word is a list, and `got` one element of it.
    array: bool,
}

impl ValueError {
    pub(in crate::core) fn new(expected: &'static str, got: &[u8]) -> ValueError {
        ValueError { expected, got: shorten(got).into(), array: false }
    }

    /// The same for an element of an array.
    pub(in crate::core) fn in_array(self) -> ValueError {
        ValueError { array: true, ..self }
    }
}

/// Characters of a client's bytes that a message shows.
const SHOWN_CHARS: usize = 40;

/// A client's bytes for a message: at most 40 characters, unprintable ones escaped.
pub fn shorten(bytes: &[u8]) -> String {
    let mut out = String::new();
    let mut shown = 0;
    for chunk in bytes.utf8_chunks() {
        let invalid = chunk.invalid().iter().map(|b| format!("\\x{b:02x}"));
        let valid = chunk.valid().chars().map(|c| match c {
            c if c.is_control() || is_invisible(c) => c.escape_default().to_string(),
            c => c.to_string(),
        });
        for piece in valid.chain(invalid) {
            if shown == SHOWN_CHARS {
                out.push('…');
                return out;
            }
            out.push_str(&piece);
            shown += 1;
        }
    }
    out
}

/// Characters that would change how the rest of a message is shown: line separators and direction marks.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_parsed_as_they_are_printed() {
        for scalar in ScalarType::ALL {
            assert_eq!(ScalarType::parse_name(scalar.name()), Some(scalar));
            for array in [false, true] {
                let ty = ArgType { scalar, array };
                assert_eq!(ArgType::parse(&ty.to_string()), Ok(ty));
            }
        }
        for wrong in ["", "[]", "Int", "int[][]", "integer", " int"] {
            let message = ArgType::parse(wrong).unwrap_err().to_string();
            assert!(message.contains("timestamptz"), "{message}");
        }
    }

    #[test]
    fn values_are_bound_in_postgres_text_format() {
        let array = |elements: &[&str]| Value::Array(elements.iter().map(|e| (*e).into()).collect());
        assert_eq!(Value::Null.to_postgres_text(), None);
        assert_eq!(Value::Scalar("a\"b".into()).to_postgres_text().unwrap(), "a\"b");
        assert_eq!(array(&[]).to_postgres_text().unwrap(), "{}");
        assert_eq!(array(&["red"]).to_postgres_text().unwrap(), r#"{"red"}"#);
        assert_eq!(
            array(&["", "NULL", r"a\", "\"", "{x,y}"]).to_postgres_text().unwrap(),
            r#"{"","NULL","a\\","\"","{x,y}"}"#
        );
    }

    #[test]
    fn messages_show_a_short_printable_form() {
        assert_eq!(shorten(b"abc"), "abc");
        assert_eq!(shorten("größe".as_bytes()), "größe");
        assert_eq!(shorten(b"a\nb\x00\xff\xfe"), "a\\nb\\u{0}\\xff\\xfe");
        assert_eq!(shorten(&[b'x'; 100]), format!("{}…", "x".repeat(40)));
        assert_eq!(shorten(&[b'x'; 40]), "x".repeat(40));
        assert_eq!(shorten("\u{202e}a".as_bytes()), "\\u{202e}a");
        assert_eq!(ValueError::new("an integer", b"abc").to_string(), "an integer, got 'abc'");
        assert_eq!(
            ValueError::new("an integer", b"abc").in_array().to_string(),
            "a list with commas between, each an integer, got 'abc'"
        );
    }
}
