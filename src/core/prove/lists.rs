//! What is said of lists, for certain: rows that a statement of `lists` gives, and lists that lack some.

use super::listing::{lists_all, rule_of, Listing};
use super::prover::Prover;
use super::spoken::Words;
use crate::core::catalog::lists::ListOf;
use crate::core::derive::expression::Expression;
use crate::core::derive::{Derived, Rule};

impl Prover<'_> {
    /// Is each row of the section that the rule concerns among those that a statement of `lists` gives?
    pub(super) fn is_listed_by_statement(&self, rule: &Rule, section: usize, mapping: Option<&str>) -> bool {
        let Some(id) = mapping.and_then(|column| self.number(rule.relation, column)) else { return false };
        let all = |derived: &Derived| lists_all(self.derived, rule, id, derived);
        self.statements_of(section).any(|listing| listing.derived.is_some_and(all))
    }

    /// Statements of `lists` that give rows of the section.
    pub(super) fn statements_of(&self, section: usize) -> impl Iterator<Item = &Listing<'_>> {
        let name = &self.stated.sections[section].name;
        self.listings.iter().filter(move |listing| listing.of_rows && listing.name == &**name)
    }

    /// Why the list lacks rows for certain: products that the result does not show, for they have no review yet.
    pub(super) fn lacks(&self, rule: &Rule, column: i16, list: usize) -> Option<String> {
        let list = self.query().lists.get(list)?;
        let is_of_rows = matches!(list.of, ListOf::Rows(_));
        let mut statements = self.listings.iter().filter(|one| one.name == &*list.name && one.of_rows == is_of_rows);
        if let Some(narrower) = statements.find_map(|listing| self.narrower(rule, column, listing)) {
            return Some(narrower);
        }
        let ListOf::Rows(section) = list.of else { return None };
        if self.statements_of(section).next().is_some() || !self.derived.shown.is_uncut {
            return None;
        }
        let listed = self.derived.shown.named(&self.listing_of(section));
        let link =
            rule.links.iter().find(|link| link.column == column && listed.contains(&(link.occurrence, link.of)))?;
        let other = self.rule(link.occurrence)?;
        let is_joined = [rule, other].iter().all(|rule| self.derived.shown.joined.contains(&rule.occurrence));
        let is_certain = self.relation(other.relation)?.foreign_keys.iter().any(|key| key.relation == rule.relation);
        if !is_joined
            || link.of_result
            || other.left_out
            || is_certain
            || self.derived.shown.whole.contains(&other.occurrence)
        {
            return None;
        }
        let (table, name) = (self.name_of(rule.relation), &self.stated.sections[section].name);
        Some(format!(
            "the result lists only rows of '{name}' that have one of {table}, and not those that may get their first: say lists = {{ {name} = \"SELECT …\" }} of all that the \
             SQL's other conditions take"
        ))
    }

    /// Of a statement that is the only one of its list: what it demands of columns of which the SQL demands nothing.
    fn narrower(&self, rule: &Rule, column: i16, listing: &Listing<'_>) -> Option<String> {
        let list = listing.derived?;
        let link = rule.links.iter().find(|link| link.column == column)?;
        let other = self.rule(link.occurrence).filter(|other| !other.left_out)?;
        let own = list.shown.first().iter().find(|(_, listed)| *listed == link.of)?.0;
        let own = rule_of(list, own).filter(|own| own.relation == other.relation)?;
        let is_free = |column: &&i16| {
            let is_linked = self.links_of(other).iter().any(|(_, _, linked)| *linked == **column);
            !is_linked && !other.local.iter().any(|local| local.columns().contains(column))
        };
        let is_more = |local: &&Expression| !local.columns().is_empty() && local.columns().iter().all(is_free);
        let more: Vec<Expression> = own.local.iter().filter(is_more).cloned().collect();
        let relation = self.relation(own.relation).filter(|_| !more.is_empty())?;
        let words = Words { relation, query: self.query(), sources: self.concerned.sources };
        let (name, said) = (listing.name, words.conditions(&more));
        Some(format!("lists.{name} demands {said} of {}, and the SQL does not", self.name_of(own.relation)))
    }
}
