//! Texts as values that can be compared, hashed and put on a line.

use std::cmp::Ordering;
use std::hash::{BuildHasher, Hash};

use rustc_hash::FxBuildHasher;

use super::decimal::Decimal;
use crate::core::calls::predicate::Comparison;
use crate::core::values::datetime;
use crate::core::values::value::ScalarType;

/// A value of an operand's type. Two are compared only if they are of one variant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::core) enum Comparable<'a> {
    /// Of int, float and numeric alike.
    Number(Decimal<'a>),
    /// Since 1970 in UTC. A date is its midnight; a time without zone is in UTC, as the session is.
    Micros(i64),
    Bool(bool),
    Uuid(u128),
    /// Without blanks at the end, which Postgres pads and ignores in `char(n)`.
    Text(&'a str),
}

/// A column's value, seen as one of an operand's type.
#[derive(Debug, Clone, Copy)]
pub(in crate::core) struct Seen<'a> {
    pub value: Comparable<'a>,
    /// Numbers that differ by no more than this part of them may be equal, or not; 0 where the value is exact.
    slack: f64,
}

/// For arguments of type float: the column may be a float4, which is printed shorter than it is compared.
const FLOAT_SLACK: f64 = 1e-6;

impl<'a> Comparable<'a> {
    /// None if the text is not of the type, or has no place in its order (`NaN`, `infinity`).
    pub(in crate::core) fn read(ty: ScalarType, text: &'a str) -> Option<Comparable<'a>> {
        match ty {
            ScalarType::Int | ScalarType::Float | ScalarType::Numeric => Decimal::parse(text).map(Comparable::Number),
            ScalarType::Date | ScalarType::Timestamp | ScalarType::TimestampTz => {
                datetime::read_micros(text.as_bytes()).map(Comparable::Micros)
            }
            ScalarType::Bool => {
                let mut canonical = Vec::new();
                ty.write_canonical(text.as_bytes(), &mut canonical).ok()?;
                Some(Comparable::Bool(canonical == b"true"))
            }
            ScalarType::Uuid => uuid::Uuid::try_parse(text).ok().map(|uuid| Comparable::Uuid(uuid.as_u128())),
            ScalarType::Text => Some(Comparable::Text(text.trim_end_matches(' '))),
            ScalarType::Json => None,
        }
    }

    pub(in crate::core) fn hash_code(self) -> u64 {
        FxBuildHasher.hash_one(self)
    }

    /// Place on a line: a greater value has no smaller place, but two may share one.
    pub(in crate::core) fn place(self) -> u64 {
        match self {
            Comparable::Number(number) => place_of_float(number.to_f64()),
            Comparable::Micros(micros) => micros as u64 ^ (1 << 63),
            Comparable::Bool(value) => u64::from(value),
            Comparable::Uuid(uuid) => (uuid >> 64) as u64,
            Comparable::Text(_) => 0,
        }
    }
}

impl<'a> Seen<'a> {
    pub(in crate::core) fn read(ty: ScalarType, text: &'a str) -> Option<Seen<'a>> {
        let value = Comparable::read(ty, text)?;
        let slack = match value {
            Comparable::Number(_) if ty == ScalarType::Float => FLOAT_SLACK,
            Comparable::Number(number) => number.slack(),
            _ => 0.0,
        };
        Some(Seen { value, slack })
    }

    /// Is it equal to operands of its own value alone?
    pub(in crate::core) fn is_exact(self) -> bool {
        self.slack == 0.0
    }

    /// The hash code that equal operands have. None: operands of other codes may be equal too.
    pub(in crate::core) fn hash_code(self) -> Option<u64> {
        self.is_exact().then(|| self.value.hash_code())
    }

    /// The first and the last place of operands that the value may be equal to.
    pub(in crate::core) fn places(self) -> (u64, u64) {
        match self.value {
            Comparable::Number(number) if self.slack > 0.0 => {
                let float = number.to_f64();
                // Twice, for the slack is a part of the larger of the two.
                let reach = float.abs() * self.slack * 2.0;
                match float.is_finite() {
                    true => (place_of_float(float - reach), place_of_float(float + reach)),
                    false => (place_of_float(float), place_of_float(float)),
                }
            }
            value => (value.place(), value.place()),
        }
    }

    /// Whether the column's value stands in this relation to the operand, or may do so.
    pub(in crate::core) fn may_be(self, comparison: Comparison, operand: Comparable) -> bool {
        self.holds(comparison, operand) || self.is_near(operand)
    }

    /// Whether it does not, or may not.
    pub(in crate::core) fn may_not_be(self, comparison: Comparison, operand: Comparable) -> bool {
        !self.holds(comparison, operand) || self.is_near(operand)
    }

    fn holds(self, comparison: Comparison, operand: Comparable) -> bool {
        let order = self.value.cmp(&operand);
        match comparison {
            Comparison::Equal => order == Ordering::Equal,
            Comparison::Less => order == Ordering::Less,
            Comparison::LessOrEqual => order != Ordering::Greater,
            Comparison::Greater => order == Ordering::Greater,
            Comparison::GreaterOrEqual => order != Ordering::Less,
        }
    }

    fn is_near(self, operand: Comparable) -> bool {
        match (self.value, operand) {
            (Comparable::Number(a), Comparable::Number(b)) => self.slack > 0.0 && a.is_near(b, self.slack),
            _ => false,
        }
    }
}

/// The bits of a float, so turned that they are in the floats' order.
fn place_of_float(float: f64) -> u64 {
    let bits = (float + 0.0).to_bits();
    if bits >> 63 == 1 {
        !bits
    } else {
        bits | 1 << 63
    }
}
