//! What a result lists that predicates compare with, and whether it holds all that the SQL links to.
//!
//! A row with `product_id in _product` is told if the list has every product that it may be joined to: those that the result
//! shows where it shows each product that the SQL's conditions take, or those of a statement of `lists` that takes no fewer.
//!
//! A statement takes no fewer rows of an occurrence than another if each of its conditions on it, and each of its links, is one
//! of the other's.

use std::collections::BTreeSet;

use crate::core::catalog::lists::{ListOf, ListStatement};
use crate::core::catalog::Query;
use crate::core::derive::expression::Expression;
use crate::core::derive::facts::Facts;
use crate::core::derive::{Derived, Link, OccurrenceColumn, Rule};
use crate::core::values::value::ScalarType;

/// A statement of `lists`.
#[derive(Debug, Clone, Copy)]
pub struct Listing<'a> {
    pub name: &'a str,
    pub of_rows: bool,
    /// None: Postgres has not shown its tree.
    pub derived: Option<&'a Derived>,
}

impl<'a> Listing<'a> {
    pub fn of(statement: &'a ListStatement, derived: Option<&'a Derived>) -> Listing<'a> {
        Listing { name: &statement.name, of_rows: statement.of_rows, derived }
    }
}

/// What lists hold for certain, by their numbers.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// Each value that the column had in the rows that the occurrence's rule concerned.
    all: BTreeSet<(usize, OccurrenceColumn)>,
    /// The same of the rows that the result shows.
    shown: BTreeSet<(usize, OccurrenceColumn)>,
}

impl Held {
    pub(super) fn of(
        query: &Query,
        listings: &[Listing<'_>],
        derived: &Derived,
        facts: &Facts,
        listing_of: impl Fn(usize) -> String,
    ) -> Held {
        let mut held = Held::default();
        for (at, list) in query.lists.iter().enumerate() {
            for link in derived.rules.iter().flat_map(|rule| &rule.links) {
                let column = (link.occurrence, link.of);
                let Some(rule) = rule_of(derived, link.occurrence) else { continue };
                if !is_compared_as(list.ty, rule.relation, link.of, facts) {
                    continue;
                }
                let is_of_rows = matches!(list.of, ListOf::Rows(_));
                let mut statements = listings.iter().filter(|one| one.name == &*list.name && one.of_rows == is_of_rows);
                if statements.any(|one| one.derived.is_some_and(|other| lists_all(derived, rule, link.of, other))) {
                    held.all.insert((at, column));
                }
                let ListOf::Rows(section) = list.of else { continue };
                if derived.shown.named(&listing_of(section)).contains(&column) {
                    held.shown.insert((at, column));
                    if derived.shown.whole.contains(&link.occurrence) {
                        held.all.insert((at, column));
                    }
                }
            }
        }
        held
    }

    /// Does the list have each value that the linked column may have?
    pub(super) fn has_all_of(&self, list: usize, link: &Link) -> bool {
        let column = (list, (link.occurrence, link.of));
        self.all.contains(&column) || link.of_result && self.shown.contains(&column)
    }
}

/// Are values of the column, as texts, equal for a list of that type where SQL says that they are?
pub(super) fn is_compared_as(ty: ScalarType, relation: u32, column: i16, facts: &Facts) -> bool {
    const BOOL: u32 = 16;
    const INTS: [u32; 3] = [20, 21, 23];
    const NUMERIC: u32 = 1700;
    const TEXTS: [u32; 2] = [25, 1043];
    const UUID: u32 = 2950;
    let column = facts.relations.get(&relation).and_then(|relation| relation.columns.get(&column));
    column.is_some_and(|column| match ty {
        ScalarType::Int => INTS.contains(&column.type_oid),
        ScalarType::Numeric => column.type_oid == NUMERIC || INTS.contains(&column.type_oid),
        ScalarType::Text => TEXTS.contains(&column.type_oid),
        ScalarType::Uuid => column.type_oid == UUID,
        ScalarType::Bool => column.type_oid == BOOL,
        ScalarType::Date => column.type_oid == 1082,
        ScalarType::Timestamp => column.type_oid == 1114,
        ScalarType::TimestampTz => column.type_oid == 1184,
        ScalarType::Float | ScalarType::Json => false,
    })
}

/// Does the statement list that column of all rows that the rule concerns?
pub(super) fn lists_all(derived: &Derived, rule: &Rule, column: i16, list: &Derived) -> bool {
    list.shown.first().iter().any(|(occurrence, listed)| {
        *listed == column
            && list.shown.whole.contains(occurrence)
            && rule_of(list, *occurrence).is_some_and(|other| takes_all(derived, rule, list, other))
    })
}

/// Does `other`, of the statement `list`, take every row that the rule concerns?
fn takes_all(derived: &Derived, rule: &Rule, list: &Derived, other: &Rule) -> bool {
    let is_demanded = |wanted: &Expression| rule.local.iter().any(|local| implies(local, wanted));
    let is_linked = |wanted: &Link| {
        let links = rule.links.iter().filter(|link| link.column == wanted.column);
        let mut of_column = links.filter(|link| link.of == wanted.of);
        of_column.any(|link| match (rule_of(derived, link.occurrence), rule_of(list, wanted.occurrence)) {
            (Some(one), Some(other)) => takes_all(derived, one, list, other),
            // Known values.
            (None, None) => {
                let source = derived.sources.get(&link.occurrence);
                source.is_some() && source == list.sources.get(&wanted.occurrence)
            }
            _ => false,
        })
    };
    rule.relation == other.relation && other.local.iter().all(is_demanded) && other.links.iter().all(is_linked)
}

/// Is the second true of each row of which the first is? Both with the same arguments.
fn implies(one: &Expression, other: &Expression) -> bool {
    if one == other {
        return true;
    }
    match (one, other) {
        // The other way round.
        (Expression::Compare(operator, sides), Expression::Compare(wanted, others)) => {
            operator.family == wanted.family
                && operator.comparison.commuted() == wanted.comparison
                && sides[0] == others[1]
                && sides[1] == others[0]
        }
        (_, Expression::And(parts)) => parts.iter().all(|part| implies(one, part)),
        (Expression::Or(parts), _) => !parts.is_empty() && parts.iter().all(|part| implies(part, other)),
        (_, Expression::Or(parts)) => parts.iter().any(|part| implies(one, part)),
        (Expression::And(parts), _) => parts.iter().any(|part| implies(part, other)),
        _ => false,
    }
}

pub(super) fn rule_of(derived: &Derived, occurrence: usize) -> Option<&Rule> {
    derived.rules.iter().find(|rule| rule.occurrence == occurrence)
}

#[cfg(test)]
mod tests {
    use super::*;
    use Expression::{Column, IsNull};

    #[test]
    fn a_condition_implies_what_is_part_of_it_or_has_it_as_a_part() {
        let [a, b, c] = [1, 2, 3].map(|number| IsNull(Box::new(Column(number))));
        let and = |parts: &[&Expression]| Expression::And(parts.iter().map(|part| (*part).clone()).collect());
        let or = |parts: &[&Expression]| Expression::Or(parts.iter().map(|part| (*part).clone()).collect());
        for (one, other, expected) in [
            (a.clone(), a.clone(), true),
            (a.clone(), b.clone(), false),
            (and(&[&a, &b]), a.clone(), true),
            (and(&[&a, &b]), and(&[&b, &a]), true),
            (and(&[&a, &b]), c.clone(), false),
            (a.clone(), and(&[&a, &b]), false),
            (a.clone(), or(&[&a, &b]), true),
            (or(&[&a, &b]), or(&[&b, &a, &c]), true),
            (or(&[&a, &b, &c]), or(&[&a, &b]), false),
            (or(&[&a, &b]), a.clone(), false),
            (or(&[&and(&[&a, &b]), &and(&[&a, &c])]), a.clone(), true),
            (or(&[]), a.clone(), false),
        ] {
            assert_eq!(implies(&one, &other), expected, "{one} and {other}");
        }
    }
}
