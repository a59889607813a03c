//! Whether a row of some values meets a predicate.
//!
//! Where that cannot be told, the answer is true: a column that the image lacks, a NULL, a shape or a text that the
//! operand's type does not have, an argument that was left out. So a test has not one value, but those that it may have
//! ([`Truth`]): what may be true and may be false meets its negation, too.

use super::listed::{is_listed, may_equal};
use super::page::is_within;
use super::truth::Truth;
use super::{Cell, Comparable, Image, Seen};
use crate::core::calls::pattern::Arg;
use crate::core::calls::predicate::{Comparison, Condition, Operand, Predicate, Term, Test};
use crate::core::values::value::{ScalarType, Value};

/// What an operand of a predicate is in one call.
#[derive(Debug, Clone, Copy)]
pub(in crate::core) enum Resolved<'a> {
    /// NULL, or a value that does not fit its argument: nothing is restricted.
    Free,
    Scalar(ScalarType, &'a str),
    Array(ScalarType, &'a [Box<str>]),
    /// The same, as [`super::list_of`] has them: there may be thousands.
    Listed(ScalarType, &'a [Box<str>]),
}

pub(in crate::core) fn resolve<'a>(operand: &'a Operand, args: &[Arg], values: &'a [Value]) -> Resolved<'a> {
    match operand {
        Operand::Number(text) => Resolved::Scalar(ScalarType::Numeric, text),
        Operand::Text(text) => Resolved::Scalar(ScalarType::Text, text),
        Operand::Bool(true) => Resolved::Scalar(ScalarType::Bool, "true"),
        Operand::Bool(false) => Resolved::Scalar(ScalarType::Bool, "false"),
        // What follows the arguments: NULL where so much is listed that nothing is told.
        Operand::Listed(index, ty) => match values.get(args.len() + index) {
            Some(Value::Array(elements)) => Resolved::Listed(*ty, elements),
            _ => Resolved::Free,
        },
        Operand::Last(index, ty) => match values.get(args.len() + index) {
            Some(Value::Scalar(text)) => Resolved::Scalar(*ty, text),
            _ => Resolved::Free,
        },
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
            && self.others.iter().all(|condition| condition.meets(args, values, image))
    }
}

impl Condition {
    pub(in crate::core) fn meets(&self, args: &[Arg], values: &[Value], image: &Image) -> bool {
        self.truth(args, values, image).may_be(Truth::TRUE)
    }

    fn truth(&self, args: &[Arg], values: &[Value], image: &Image) -> Truth {
        let truth = |condition: &Condition| condition.truth(args, values, image);
        match self {
            Condition::Term(term) => term.truth(args, values, image),
            Condition::Not(inner) => truth(inner).not(),
            Condition::All(parts) => parts.iter().map(truth).fold(Truth::TRUE, Truth::and),
            Condition::Any(parts) => parts.iter().map(truth).fold(Truth::FALSE, Truth::or),
            Condition::Within(within) => is_within(within, values.get(args.len()..).unwrap_or_default(), image),
        }
    }
}

impl Term {
    pub(in crate::core) fn meets(&self, args: &[Arg], values: &[Value], image: &Image) -> bool {
        self.truth(args, values, image).may_be(Truth::TRUE)
    }

    fn truth(&self, args: &[Arg], values: &[Value], image: &Image) -> Truth {
        let Some(cell) = image.get(&self.column) else { return Truth::ANY };
        let resolve = |operand| resolve(operand, args, values);
        match &self.test {
            Test::Compare(comparison, operand) => compares(cell, *comparison, resolve(operand)),
            Test::Between(low, high) => match (resolve(low), resolve(high)) {
                (Resolved::Free, _) | (_, Resolved::Free) => Truth::ANY,
                (low, high) => {
                    compares(cell, Comparison::GreaterOrEqual, low).and(compares(cell, Comparison::LessOrEqual, high))
                }
            },
            // A NULL is linked to nothing, however much is listed.
            Test::In(Operand::Listed(..)) if *cell == Cell::Null => Truth::UNKNOWN,
            Test::In(operand) => is_in(cell, resolve(operand)),
            Test::Overlaps(operand) => overlaps(cell, resolve(operand)),
            Test::Contains(operand) => contains(cell, resolve(operand)),
            Test::Null => match cell {
                Cell::Null => Truth::TRUE,
                Cell::Scalar(_) | Cell::Array(_) | Cell::Other => Truth::FALSE,
            },
            Test::NotDistinct(operand) => is_same(cell, operand, args, values),
        }
    }
}

fn compares(cell: &Cell, comparison: Comparison, operand: Resolved) -> Truth {
    let (Cell::Scalar(text), Resolved::Scalar(ty, operand)) = (cell, operand) else { return Truth::ANY };
    match (Seen::read(ty, text), Comparable::read(ty, operand)) {
        (Some(seen), Some(read)) => {
            let may_not_be = seen.may_not_be(comparison, read) || differs_in_blanks(ty, text, operand);
            Truth::of(seen.may_be(comparison, read), may_not_be)
        }
        _ => Truth::ANY,
    }
}

/// Texts that are the same but for blanks at the end, which count in `text` and not in `char(n)`.
fn differs_in_blanks(ty: ScalarType, text: &str, operand: &str) -> bool {
    ty == ScalarType::Text && text != operand
}

/// NULL is the same as NULL, and an argument that was left out is NULL.
fn is_same(cell: &Cell, operand: &Operand, args: &[Arg], values: &[Value]) -> Truth {
    let is_null = matches!(operand, Operand::Arg(index) if matches!(values.get(*index), Some(Value::Null)));
    match (cell, is_null) {
        (Cell::Null, true) => Truth::TRUE,
        (Cell::Null, false) | (_, true) => Truth::FALSE,
        (cell, false) => match compares(cell, Comparison::Equal, resolve(operand, args, values)) {
            Truth::ANY => Truth::TRUE.either(Truth::FALSE),
            truth => truth,
        },
    }
}

fn is_in(cell: &Cell, operand: Resolved) -> Truth {
    if let (Cell::Scalar(text), Resolved::Listed(ty, elements)) = (cell, operand) {
        return is_listed(text, ty, elements);
    }
    let (Cell::Scalar(text), Resolved::Array(ty, elements)) = (cell, operand) else { return Truth::ANY };
    let Some(seen) = Seen::read(ty, text) else { return Truth::ANY };
    elements.iter().map(|element| may_equal(seen, ty, element)).fold(Truth::FALSE, Truth::or)
}

fn overlaps(cell: &Cell, operand: Resolved) -> Truth {
    let (Cell::Array(held), Resolved::Array(ty, elements)) = (cell, operand) else { return Truth::ANY };
    Truth::if_it_may(elements.iter().any(|element| may_hold(held, ty, element)))
}

fn contains(cell: &Cell, operand: Resolved) -> Truth {
    let Cell::Array(held) = cell else { return Truth::ANY };
    match operand {
        Resolved::Free => Truth::ANY,
        Resolved::Scalar(ty, element) => Truth::if_it_may(may_hold(held, ty, element)),
        Resolved::Array(ty, elements) | Resolved::Listed(ty, elements) => {
            Truth::if_it_may(elements.iter().all(|element| may_hold(held, ty, element)))
        }
    }
}

/// Whether an element of the column equals the operand's, or may do so.
fn may_hold(held: &[Option<Box<str>>], ty: ScalarType, element: &str) -> bool {
    let may_be = |text: &str| Seen::read(ty, text).is_none_or(|seen| may_equal(seen, ty, element).may_be(Truth::TRUE));
    held.iter().flatten().any(|text| may_be(text))
}
