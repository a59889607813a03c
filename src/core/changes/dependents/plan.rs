//! How the calls of one predicate are found by a row's values: by the hash of one column, then by the place of another.
//!
//! Which terms serve is a matter of the predicate and the types alone, so that each call of the predicate is kept in
//! the same way. Terms without an argument tell no call from another, and are not used.

use std::ops::Range;

use smallvec::{smallvec, SmallVec};

use super::ranges::Interval;
use crate::core::calls::pattern::Arg;
use crate::core::calls::predicate::{Comparison, Operand, Predicate, Term, Test};
use crate::core::changes::image::{resolve, Cell, Comparable, Image, Resolved, Seen};
use crate::core::values::value::{ScalarType, Value};

/// Hash codes of a call or of a row.
pub(in crate::core) type Codes = SmallVec<[u64; 4]>;

/// Of calls that the hashing term does not restrict: a row of any value may meet them.
pub(in crate::core) const ALWAYS: u64 = 0;

/// Of calls whose hashing term is met by no value: only a row whose value cannot be told may meet them.
pub(in crate::core) const NEVER: u64 = 1;

/// Of calls whose codes are not all in place: a row of any value may meet them.
pub(in crate::core) const GROWING: u64 = 2;

/// Where a row may find calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::core) enum Lookup<T> {
    Everywhere,
    Only(T),
}

/// Positions of terms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::core) struct Plan {
    hashing: Option<usize>,
    /// All on one column, their operands all of one order.
    ranging: Box<[usize]>,
}

impl Plan {
    pub(in crate::core) fn of(predicate: &Predicate, args: &[Arg]) -> Plan {
        let terms = || predicate.look_ups().enumerate();
        let hashing = terms().filter_map(|(at, term)| Some((hash_rank(&term.test, args)?, at))).min().map(|(_, at)| at);
        let order = |at: usize, term: &Term| order_of(&term.test, args).filter(|_| Some(at) != hashing);
        // The column whose ranges have the most bounds of arguments; the first of several.
        let mut best: (usize, Box<[usize]>) = (0, Box::default());
        for (at, first) in terms() {
            let Some(wanted) = order(at, first) else { continue };
            let same = |(at, term): &(usize, &Term)| term.column == first.column && order(*at, term) == Some(wanted);
            let bounds = terms().filter(same).map(|(_, term)| bounds_by_argument(&term.test)).sum();
            if bounds > best.0 {
                best = (bounds, terms().filter(same).map(|(at, _)| at).collect());
            }
        }
        Plan { hashing, ranging: best.1 }
    }

    /// How many codes a call is kept under, about.
    pub(in crate::core) fn count_of_call(&self, predicate: &Predicate, args: &[Arg], values: &[Value]) -> usize {
        match self.operand_of_call(predicate, args, values) {
            Some((Test::Contains(_), _)) | None => 1,
            Some((_, Resolved::Array(_, elements) | Resolved::Listed(_, elements))) => elements.len().max(1),
            Some((_, Resolved::Free | Resolved::Scalar(..))) => 1,
        }
    }

    /// Under which codes a call is kept: those of these of its values, the others being told with other ranges. In one with an
    /// element that is not of its type, any row may meet it.
    pub(in crate::core) fn codes_of_call(
        &self,
        predicate: &Predicate,
        args: &[Arg],
        values: &[Value],
        range: Range<usize>,
    ) -> Codes {
        let code = |ty, text| Comparable::read(ty, text).map_or(ALWAYS, |value| code_of(value.hash_code()));
        match self.operand_of_call(predicate, args, values) {
            None | Some((_, Resolved::Free)) => smallvec![ALWAYS],
            Some((_, Resolved::Scalar(ty, text))) => smallvec![code(ty, text)],
            // A row that holds all elements holds the first; one that must hold none may hold any.
            Some((Test::Contains(_), Resolved::Array(ty, elements) | Resolved::Listed(ty, elements))) => {
                let is_any = elements.iter().any(|text| Comparable::read(ty, text).is_none());
                smallvec![elements.first().filter(|_| !is_any).map_or(ALWAYS, |text| code(ty, text))]
            }
            Some((_, Resolved::Array(_, []) | Resolved::Listed(_, []))) => smallvec![NEVER],
            Some((_, Resolved::Array(ty, elements) | Resolved::Listed(ty, elements))) => {
                let end = range.end.min(elements.len());
                let some = elements.get(range.start..end).unwrap_or_default();
                let mut codes: Codes = some.iter().map(|text| code(ty, text)).collect();
                codes.sort_unstable();
                codes.dedup();
                codes
            }
        }
    }

    /// What calls are told from each other by.
    fn operand_of_call<'a>(
        &self,
        predicate: &'a Predicate,
        args: &[Arg],
        values: &'a [Value],
    ) -> Option<(&'a Test, Resolved<'a>)> {
        let test = &predicate.look_up(self.hashing?).test;
        Some((test, operand_of(test).map_or(Resolved::Free, |operand| resolve(operand, args, values))))
    }

    /// Under which codes calls are kept that the row may meet.
    pub(in crate::core) fn codes_of_row(&self, predicate: &Predicate, args: &[Arg], image: &Image) -> Lookup<Codes> {
        let Some(at) = self.hashing else { return Lookup::Only(smallvec![ALWAYS]) };
        let term = predicate.look_up(at);
        let Some(ty) = operand_of(&term.test).map(|operand| type_of(operand, args)) else { return Lookup::Everywhere };
        let code = |text: &str| Some(code_of(Seen::read(ty, text)?.hash_code()?));
        let wants_array = matches!(term.test, Test::Overlaps(_) | Test::Contains(_));
        let is_listed = matches!(term.test, Test::In(Operand::Listed(..)));
        let codes: Option<Codes> = match image.get(&term.column) {
            // Linked to nothing, not even to what nobody can tell.
            Some(Cell::Null) if is_listed => return Lookup::Only(Codes::new()),
            Some(Cell::Scalar(text)) if !wants_array => code(text).map(|code| smallvec![code]),
            Some(Cell::Array(held)) if wants_array => held.iter().flatten().map(|text| code(text)).collect(),
            _ => None,
        };
        match codes {
            None => Lookup::Everywhere,
            Some(mut codes) => {
                codes.push(ALWAYS);
                codes.sort_unstable();
                codes.dedup();
                Lookup::Only(codes)
            }
        }
    }

    /// The places that a call asks for; None if its ranges do not restrict it.
    pub(in crate::core) fn interval_of_call(
        &self,
        predicate: &Predicate,
        args: &[Arg],
        values: &[Value],
    ) -> Option<Interval> {
        let place = |operand| match resolve(operand, args, values) {
            Resolved::Scalar(ty, text) => Comparable::read(ty, text).map(Comparable::place),
            _ => None,
        };
        let (mut first, mut last) = (None, None);
        for at in &self.ranging {
            let (low, high) = match &predicate.look_up(*at).test {
                Test::Compare(Comparison::Equal, operand) => (place(operand), place(operand)),
                Test::Compare(Comparison::Greater | Comparison::GreaterOrEqual, operand) => (place(operand), None),
                Test::Compare(Comparison::Less | Comparison::LessOrEqual, operand) => (None, place(operand)),
                // Half of a pair restricts nothing, as the predicate has it.
                Test::Between(low, high) => match (place(low), place(high)) {
                    (Some(low), Some(high)) => (Some(low), Some(high)),
                    _ => (None, None),
                },
                _ => (None, None),
            };
            first = first.max(low);
            last = [last, high].into_iter().flatten().min();
        }
        // A range whose end is before its beginning is kept turned round: values between may still be near to both.
        (first.is_some() || last.is_some()).then(|| Interval::new(first.unwrap_or(0), last.unwrap_or(u64::MAX)))
    }

    /// The places where the row's value may be.
    pub(in crate::core) fn interval_of_row(
        &self,
        predicate: &Predicate,
        args: &[Arg],
        image: &Image,
    ) -> Lookup<Interval> {
        let mut hull: Option<(u64, u64)> = None;
        for at in &self.ranging {
            let term = predicate.look_up(*at);
            for operand in term.test.operands() {
                let Some(Cell::Scalar(text)) = image.get(&term.column) else { return Lookup::Everywhere };
                let Some(seen) = Seen::read(type_of(operand, args), text) else { return Lookup::Everywhere };
                let (first, last) = seen.places();
                hull = Some(hull.map_or((first, last), |hull| (hull.0.min(first), hull.1.max(last))));
            }
        }
        hull.map_or(Lookup::Everywhere, |(first, last)| Lookup::Only(Interval::new(first, last)))
    }
}

/// The lowest codes have a meaning of their own.
fn code_of(hash: u64) -> u64 {
    hash.max(GROWING + 1)
}

/// How well the term tells calls from each other by their hashes; the lowest is the best.
fn hash_rank(test: &Test, args: &[Arg]) -> Option<u8> {
    let operand = operand_of(test)?;
    let ty = type_of(operand, args);
    match test {
        _ if !matches!(operand, Operand::Arg(_) | Operand::Listed(..)) || ty == ScalarType::Float => None,
        // A row's 150.5 may be a float, which is equal to more than one number: better found by its place.
        Test::Compare(Comparison::Equal, _) if ty == ScalarType::Numeric => None,
        Test::Compare(Comparison::Equal, _) => Some(0),
        Test::In(_) => Some(1),
        Test::Contains(_) => Some(2),
        Test::Overlaps(_) => Some(3),
        _ => None,
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Number,
    Time,
    Bool,
    Uuid,
}

/// The order in which the term cuts out a range.
fn order_of(test: &Test, args: &[Arg]) -> Option<Order> {
    let mut orders = test.operands().map(|operand| match type_of(operand, args) {
        ScalarType::Int | ScalarType::Float | ScalarType::Numeric => Some(Order::Number),
        ScalarType::Date | ScalarType::Timestamp | ScalarType::TimestampTz => Some(Order::Time),
        ScalarType::Bool => Some(Order::Bool),
        ScalarType::Uuid => Some(Order::Uuid),
        ScalarType::Text | ScalarType::Json => None,
    });
    let first = orders.next()??;
    (matches!(test, Test::Compare(..) | Test::Between(..)) && orders.all(|order| order == Some(first))).then_some(first)
}

fn bounds_by_argument(test: &Test) -> usize {
    let bounds = test.operands().filter(|operand| matches!(operand, Operand::Arg(_) | Operand::Last(..))).count();
    match test {
        Test::Compare(Comparison::Equal, _) => bounds * 2,
        _ => bounds,
    }
}

fn operand_of(test: &Test) -> Option<&Operand> {
    test.operands().next()
}

/// Of an array, its elements' type. An argument that does not exist is json, which nothing compares.
fn type_of(operand: &Operand, args: &[Arg]) -> ScalarType {
    match operand {
        Operand::Arg(index) => args.get(*index).map_or(ScalarType::Json, |arg| arg.ty.scalar),
        Operand::Listed(_, ty) | Operand::Last(_, ty) => *ty,
        Operand::Number(_) => ScalarType::Numeric,
        Operand::Text(_) => ScalarType::Text,
        Operand::Bool(_) => ScalarType::Bool,
    }
}
