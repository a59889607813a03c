//! Types of the catalog and values in canonical form.
//!
//! A value is kept as the text that Postgres accepts for its type and that keys show, so that two spellings of
//! one value (`007` and `7`, an uuid in capitals) are one cache entry.

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

/// Type of an argument or a payload field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ArgType {
    pub scalar: ScalarType,
    /// A set of values: sorted and without duplicates in canonical form.
    pub array: bool,
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
