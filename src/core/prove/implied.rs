//! Whether every row that a rule concerns meets a test of a predicate.
//!
//! What a predicate cannot compare meets it (NULL, an argument that was left out), so that it demands no more than the SQL
//! does where both compare alike.

use std::collections::BTreeSet;

use super::listing::Held;
use crate::core::calls::predicate::{Comparison as Wanted, Condition, Operand, Term, Test};
use crate::core::catalog::ParamSource;
use crate::core::derive::expression::Expression;
use crate::core::derive::facts::Comparison;
use crate::core::derive::Rule;
use crate::core::values::value::ScalarType;

/// What a row must be like that concerns a result, in reach of the rules that the first of them links to.
pub(super) struct Concerned<'a> {
    pub(super) rules: &'a [Rule],
    /// Where `$1 … $n` come from.
    pub(super) sources: &'a [ParamSource],
    pub(super) held: Held,
}

impl Concerned<'_> {
    /// Does every row of the rule's relation that it concerns meet the test of that column?
    pub(super) fn meets(&self, rule: &Rule, column: i16, test: &Test) -> bool {
        match test {
            Test::Between(low, high) => {
                self.reaches(rule, column, &Test::Compare(Wanted::GreaterOrEqual, low.clone()), &mut BTreeSet::new())
                    && self.reaches(
                        rule,
                        column,
                        &Test::Compare(Wanted::LessOrEqual, high.clone()),
                        &mut BTreeSet::new(),
                    )
            }
            test => self.reaches(rule, column, test, &mut BTreeSet::new()),
        }
    }

    /// The same of more than a test of a column; `column_of` tells which each is about.
    pub(super) fn meets_all_of(
        &self,
        rule: &Rule,
        wanted: &Condition,
        column_of: &impl Fn(&Term) -> Option<i16>,
    ) -> bool {
        match wanted {
            Condition::Term(term) => column_of(term).is_some_and(|column| self.meets(rule, column, &term.test)),
            Condition::All(parts) => parts.iter().all(|part| self.meets_all_of(rule, part, column_of)),
            Condition::Any(parts) => {
                parts.iter().any(|part| self.meets_all_of(rule, part, column_of))
                    || rule.local.iter().any(|local| self.implies_any(local, parts, column_of))
            }
            // What the page bounds is looked at by itself.
            Condition::Not(_) | Condition::Within(_) => false,
        }
    }

    /// Does it imply one of several, each of its own alternatives its own?
    fn implies_any(
        &self,
        condition: &Expression,
        wanted: &[Condition],
        column_of: &impl Fn(&Term) -> Option<i16>,
    ) -> bool {
        let one = |wanted: &Condition| match wanted {
            Condition::Term(term) => column_of(term).is_some_and(|column| self.implies(condition, column, &term.test)),
            Condition::Any(parts) => self.implies_any(condition, parts, column_of),
            Condition::All(_) | Condition::Not(_) | Condition::Within(_) => false,
        };
        match condition {
            Expression::Or(parts) => {
                !parts.is_empty() && parts.iter().all(|part| self.implies_any(part, wanted, column_of))
            }
            _ => wanted.iter().any(one),
        }
    }

    /// By a condition of its own, or by that of a column whose values it must have.
    fn reaches(&self, rule: &Rule, column: i16, test: &Test, seen: &mut BTreeSet<(usize, i16)>) -> bool {
        if !seen.insert((rule.occurrence, column)) {
            return false;
        }
        if rule.local.iter().any(|local| self.implies(local, column, test)) {
            return true;
        }
        let mut links = rule.links.iter().filter(|link| link.column == column);
        if let Test::In(Operand::Listed(list, _)) = test {
            if links.clone().any(|link| self.held.has_all_of(*list, link)) {
                return true;
            }
        }
        let linked = links
            .by_ref()
            .filter_map(|link| Some((self.rules.iter().find(|rule| rule.occurrence == link.occurrence)?, link.of)));
        linked.into_iter().any(|(other, of)| self.reaches(other, of, test, seen))
    }

    /// Does it demand that the column equals what `is_it` tells, or one whose values it must have?
    pub(super) fn equates(&self, rule: &Rule, column: i16, is_it: &impl Fn(&Expression) -> bool) -> bool {
        self.is_equated(rule, column, is_it, &mut BTreeSet::new())
    }

    fn is_equated(
        &self,
        rule: &Rule,
        column: i16,
        is_it: &impl Fn(&Expression) -> bool,
        seen: &mut BTreeSet<(usize, i16)>,
    ) -> bool {
        if !seen.insert((rule.occurrence, column)) {
            return false;
        }
        let is_column = |part: &Expression| matches!(part, Expression::Column(number) if *number == column);
        let demands = |condition: &Expression| match condition {
            Expression::Compare(operator, sides) if operator.comparison == Comparison::Equal => {
                (is_column(&sides[0]) && is_it(&sides[1])) || (is_column(&sides[1]) && is_it(&sides[0]))
            }
            _ => false,
        };
        let links = rule.links.iter().filter(|link| link.column == column);
        rule.local.iter().any(demands)
            || links
                .filter_map(|link| Some((self.rules.iter().find(|rule| rule.occurrence == link.occurrence)?, link.of)))
                .any(|(other, of)| self.is_equated(other, of, is_it, seen))
    }

    fn implies(&self, condition: &Expression, column: i16, test: &Test) -> bool {
        let is_column = |part: &Expression| matches!(part, Expression::Column(number) if *number == column);
        match condition {
            Expression::And(parts) => parts.iter().any(|part| self.implies(part, column, test)),
            Expression::Or(parts) => !parts.is_empty() && parts.iter().all(|part| self.implies(part, column, test)),
            // An argument that was left out restricts nothing, and NULL is met by all.
            Expression::IsNull(part) => match &**part {
                Expression::Argument(number) => test.operands().any(|operand| self.is_argument(*number, operand)),
                // NULL is in no list.
                part => is_column(part) && !matches!(test, Test::In(Operand::Listed(..))),
            },
            Expression::Compare(operator, sides) => {
                let (comparison, value) = match &**sides {
                    [left, value] if is_column(left) => (operator.comparison, value),
                    [value, right] if is_column(right) => (operator.comparison.commuted(), value),
                    _ => return false,
                };
                match test {
                    Test::Compare(wanted, operand) => is_within(comparison, *wanted) && self.is_value(value, operand),
                    _ => false,
                }
            }
            Expression::Any(operator, sides) if operator.comparison == Comparison::Equal => match (&**sides, test) {
                ([left, value], Test::In(operand)) if is_column(left) => self.is_value(value, operand),
                ([value, right], Test::Contains(operand)) if is_column(right) => self.is_value(value, operand),
                _ => false,
            },
            Expression::Column(_) if is_column(condition) => is_truth(test, true),
            Expression::Not(part) if is_column(part) => is_truth(test, false),
            Expression::Truth { is_not: false, of: Some(of), expression } if is_column(expression) => {
                is_truth(test, *of)
            }
            _ => false,
        }
    }

    fn is_argument(&self, number: u16, operand: &Operand) -> bool {
        let source = usize::from(number).checked_sub(1).and_then(|at| self.sources.get(at));
        matches!((source, operand), (Some(ParamSource::Arg(one)), Operand::Arg(other)) if one == other)
    }

    fn is_value(&self, value: &Expression, operand: &Operand) -> bool {
        match (value, operand) {
            // Where the argument was left out the predicate restricts nothing, and elsewhere this is it.
            (Expression::Coalesce(parts), Operand::Arg(_)) => {
                parts.first().is_some_and(|first| self.is_value(first, operand))
            }
            (Expression::Argument(number), operand) => self.is_argument(*number, operand),
            (Expression::Constant(Some(text)), Operand::Number(number)) => {
                let mut canonical = Vec::new();
                ScalarType::Numeric.write_canonical(text.as_bytes(), &mut canonical).is_ok()
                    && canonical == number.as_bytes()
            }
            (Expression::Constant(Some(text)), Operand::Text(other)) => text == other,
            (Expression::Constant(Some(text)), Operand::Bool(value)) => matches!(&**text, "t" | "true") == *value,
            _ => false,
        }
    }
}

fn is_truth(test: &Test, value: bool) -> bool {
    matches!(test, Test::Compare(Wanted::Equal, Operand::Bool(wanted)) if *wanted == value)
}

/// Does what stands in the one relation to a value stand in the other, too?
fn is_within(one: Comparison, other: Wanted) -> bool {
    match one {
        Comparison::Equal => matches!(other, Wanted::Equal | Wanted::LessOrEqual | Wanted::GreaterOrEqual),
        Comparison::Less => matches!(other, Wanted::Less | Wanted::LessOrEqual),
        Comparison::LessOrEqual => other == Wanted::LessOrEqual,
        Comparison::Greater => matches!(other, Wanted::Greater | Wanted::GreaterOrEqual),
        Comparison::GreaterOrEqual => other == Wanted::GreaterOrEqual,
        Comparison::NotEqual => false,
    }
}
