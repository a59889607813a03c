//! Whether a row of some values meets a predicate.
//!
//! Where that cannot be told, the answer is true: a column that the image lacks, a NULL, a shape or a text that the
//! operand's type does not have, an argument that was left out.

use super::{Cell, Comparable, Image, Seen};
use crate::core::calls::pattern::Arg;
use crate::core::calls::predicate::{Comparison, Operand, Predicate, Term, Test};
use crate::core::values::value::{ScalarType, Value};

/// What an operand of a predicate is in one call.
#[derive(Debug, Clone, Copy)]
pub(in crate::core) enum Resolved<'a> {
    /// NULL, or a value that does not fit its argument: nothing is restricted.
    Free,
    Scalar(ScalarType, &'a str),
    Array(ScalarType, &'a [Box<str>]),
}

pub(in crate::core) fn resolve<'a>(operand: &'a Operand, args: &[Arg], values: &'a [Value]) -> Resolved<'a> {
    match operand {
        Operand::Number(text) => Resolved::Scalar(ScalarType::Numeric, text),
        Operand::Text(text) => Resolved::Scalar(ScalarType::Text, text),
        Operand::Bool(true) => Resolved::Scalar(ScalarType::Bool, "true"),
        Operand::Bool(false) => Resolved::Scalar(ScalarType::Bool, "false"),
        Operand::Arg(index) => match (args.get(*index), values.get(*index)) {
            (Some(arg), Some(Value::Scalar(text))) if !arg.ty.array => Resolved::Scalar(arg.ty.scalar, text),
            (Some(arg), Some(Value::Array(elements))) if arg.ty.array => Resolved::Array(arg.ty.scalar, elements),
            _ => Resolved::Free,
        },
    }
}

impl Predicate {
    /// Whether a row of these values may meet the predicate of a call with these arguments.
    pub fn meets(&self, args: &[Arg], values: &[Value], image: &Image) -> bool {
        self.terms.iter().all(|term| term.meets(args, values, image))
    }
}

impl Term {
    pub(in crate::core) fn meets(&self, args: &[Arg], values: &[Value], image: &Image) -> bool {
        let Some(cell) = image.get(&self.column) else { return true };
        let resolve = |operand| resolve(operand, args, values);
        match &self.test {
            Test::Compare(comparison, operand) => compares(cell, *comparison, resolve(operand)),
            Test::Between(low, high) => match (resolve(low), resolve(high)) {
                (Resolved::Free, _) | (_, Resolved::Free) => true,
                (low, high) => {
                    compares(cell, Comparison::GreaterOrEqual, low) && compares(cell, Comparison::LessOrEqual, high)
                }
            },
            Test::In(operand) => is_in(cell, resolve(operand)),
            Test::Overlaps(operand) => overlaps(cell, resolve(operand)),
            Test::Contains(operand) => contains(cell, resolve(operand)),
        }
    }
}

fn compares(cell: &Cell, comparison: Comparison, operand: Resolved) -> bool {
    let (Cell::Scalar(text), Resolved::Scalar(ty, operand)) = (cell, operand) else { return true };
    match (Seen::read(ty, text), Comparable::read(ty, operand)) {
        (Some(seen), Some(operand)) => seen.may_be(comparison, operand),
        _ => true,
    }
}

fn is_in(cell: &Cell, operand: Resolved) -> bool {
    let (Cell::Scalar(text), Resolved::Array(ty, elements)) = (cell, operand) else { return true };
    let Some(seen) = Seen::read(ty, text) else { return true };
    elements.iter().any(|element| may_equal(seen, ty, element))
}

fn overlaps(cell: &Cell, operand: Resolved) -> bool {
    let (Cell::Array(held), Resolved::Array(ty, elements)) = (cell, operand) else { return true };
    elements.iter().any(|element| may_hold(held, ty, element))
}

fn contains(cell: &Cell, operand: Resolved) -> bool {
    let Cell::Array(held) = cell else { return true };
    match operand {
        Resolved::Free => true,
        Resolved::Scalar(ty, element) => may_hold(held, ty, element),
        Resolved::Array(ty, elements) => elements.iter().all(|element| may_hold(held, ty, element)),
    }
}

/// Whether an element of the column equals the operand's, or may do so.
fn may_hold(held: &[Option<Box<str>>], ty: ScalarType, element: &str) -> bool {
    held.iter().flatten().any(|text| Seen::read(ty, text).is_none_or(|seen| may_equal(seen, ty, element)))
}

fn may_equal(seen: Seen, ty: ScalarType, element: &str) -> bool {
    Comparable::read(ty, element).is_none_or(|operand| seen.may_be(Comparison::Equal, operand))
}
