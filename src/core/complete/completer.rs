//! One query that is completed: what is known of its rules, and what was found.

use std::collections::{BTreeMap, BTreeSet};

use super::homes::{HomeId, Homes};
use super::statement::Statements;
use super::words::Values;
use super::{Said, Subject};
use crate::core::catalog::additions::QueryAdditions;
use crate::core::catalog::ParamSource;
use crate::core::derive::expression::Expression;
use crate::core::derive::facts::Family;
use crate::core::derive::{Link, Rule};
use crate::core::prove::origins::{of_target, target};

#[derive(Debug, Clone, Default)]
pub(super) struct Found {
    pub additions: QueryAdditions,
    pub covered: BTreeSet<usize>,
    pub reasons: BTreeSet<String>,
}

pub(super) struct Completer<'a, 'h, 'f> {
    pub(super) said: Said<'a>,
    pub(super) subject: &'a Subject<'a>,
    pub(super) sources: &'a [ParamSource],
    pub(super) statements: Statements<'a>,
    pub(super) homes: &'h mut Homes<'f>,
    /// By occurrence.
    pub(super) of_rule: BTreeMap<usize, HomeId>,
    pub(super) is_coarse: bool,
    /// Any change of the query's own section counts.
    pub(super) is_any_own: bool,
    /// May hidden columns tell what is in the result?
    pub(super) takes_columns: bool,
    /// SELECTs by the name of their list, `name` or `name:type`.
    pub(super) listed: BTreeMap<String, BTreeSet<String>>,
    /// Expressions by the section whose rows they list; each with the SELECT that lists as many, if there is one.
    pub(super) hidden: BTreeMap<Box<str>, BTreeMap<String, Option<String>>>,
    pub(super) found: Found,
}

impl<'a> Completer<'a, '_, '_> {
    pub(super) fn rules(&self) -> &'a [Rule] {
        &self.subject.derived.rules
    }

    pub(super) fn place_rules(&mut self) {
        for rule in self.rules().iter().filter(|rule| !self.is_told(rule)).collect::<Vec<_>>() {
            let by = self.looked_up(rule);
            if let Some(home) = self.homes.find(rule, self.subject.section, self.sources, &by) {
                self.of_rule.insert(rule.occurrence, home);
            }
        }
    }

    /// Columns of which the rule demands one of some values; those of arguments and constants first.
    pub(super) fn looked_up(&self, rule: &Rule) -> Vec<i16> {
        let Some(relation) = self.said.facts.relations.get(&rule.relation) else { return Vec::new() };
        let by_value = relation.columns.keys().copied().filter(|column| Values::of(*column, &rule.local).is_some());
        let by_link = rule.links.iter().filter(|link| self.is_followed(link)).map(|link| link.column);
        by_value.chain(by_link).collect()
    }

    /// Can the values that the link leads to be told? Of a relation with nothing to restrict it there are too many.
    pub(super) fn is_followed(&self, link: &Link) -> bool {
        match self.rule(link.occurrence) {
            Some(other) => !other.local.is_empty() || other.links.iter().any(|link| self.is_followed(link)),
            None => self.statements.given.contains_key(&link.occurrence),
        }
    }

    pub(super) fn rule(&self, occurrence: usize) -> Option<&'a Rule> {
        self.rules().iter().find(|rule| rule.occurrence == occurrence)
    }

    pub(super) fn section_of(&self, home: HomeId) -> Box<str> {
        self.homes.get(home).section.clone()
    }

    pub(super) fn is_own(&self, home: HomeId) -> bool {
        self.homes.get(home).index == Some(self.subject.section)
    }

    /// Does the author say something of the home's rows?
    pub(super) fn is_said(&self, home: HomeId) -> bool {
        self.homes.get(home).index.is_some_and(|index| self.says(index))
    }

    /// Does the author say something of the section's rows?
    pub(super) fn says(&self, index: usize) -> bool {
        let section = &self.said.sections[index].name;
        let query = self.subject.query;
        let is_listed = target(self.subject.tree, &format!("_{section}")).is_some()
            || query.plan().is_some_and(|plan| plan.lists.iter().any(|list| list.name == *section));
        match index == self.subject.section {
            true => is_listed || query.says_match || (query.says_rows && !query.rows),
            false => is_listed || query.on.iter().any(|on| on.section == index),
        }
    }

    /// Are changes of the rule's relation told to a section, of whatever sort its mapping is, of which the author says something?
    pub(super) fn is_told(&self, rule: &Rule) -> bool {
        let topmost = self.homes.topmost(rule.relation);
        let mapped = self.said.mapped.tables.get(&topmost).into_iter().flatten();
        mapped.into_iter().any(|(index, _)| self.says(*index))
    }

    /// Does the query's own section map the home's relation?
    pub(super) fn is_told_to_own(&self, home: HomeId) -> bool {
        let mapped = self.said.mapped.tables.get(&self.homes.get(home).relation).into_iter().flatten();
        mapped.into_iter().any(|(index, _)| *index == self.subject.section)
    }

    /// The column of a relation that the result's `id` is.
    pub(super) fn id_of(&self) -> Option<(u32, i16)> {
        of_target(self.subject.tree, "id", self.said.facts)
    }

    /// Is the result's own column `id` that of the rows of the query's section?
    pub(super) fn shows_own_id(&self) -> bool {
        let Some((relation, column)) = self.id_of() else { return false };
        let own = self.of_rule.values().find(|home| self.is_own(**home));
        own.is_some_and(|home| {
            let home = self.homes.get(*home);
            let name = self.said.facts.relations.get(&relation).and_then(|found| found.columns.get(&column));
            self.homes.topmost(relation) == home.relation && name.is_some_and(|found| found.name == home.column)
        })
    }

    pub(super) fn any(&mut self, home: HomeId, reason: &str) {
        let section = self.section_of(home);
        let name = self.name_of(self.homes.get(home).relation);
        self.found.reasons.insert(format!("any change of '{name}' counts: {reason}"));
        match self.is_own(home) {
            true => self.is_any_own = true,
            false => drop(self.found.additions.on.insert(section, "*".into())),
        }
    }

    pub(super) fn name_of(&self, relation: u32) -> String {
        match self.said.facts.relations.get(&relation) {
            Some(relation) if &*relation.schema == "public" => relation.name.to_string(),
            Some(relation) => format!("{}.{}", relation.schema, relation.name),
            None => format!("the relation of oid {relation}"),
        }
    }

    /// Arguments or constants that the link's other end must be.
    pub(super) fn given(&self, link: &Link) -> Option<(Family, Values)> {
        use crate::core::derive::Source;
        match self.statements.given.get(&link.occurrence) {
            Some(Source::Unnest(Expression::Argument(number))) => Some((link.family, Values::Arguments(*number))),
            Some(Source::Values(rows)) => {
                let at = usize::try_from(link.of).ok()?.checked_sub(1)?;
                let values: Option<Vec<Expression>> = rows.iter().map(|row| row.get(at).cloned()).collect();
                Some((link.family, Values::several(&values?)?))
            }
            Some(_) => None,
            None => {
                let (family, values) = Values::of(link.of, &self.rule(link.occurrence)?.local)?;
                (family == link.family).then_some((family, values))
            }
        }
    }

    /// Is the column the one that holds the ids of the home?
    pub(super) fn is_id(&self, home: HomeId, rule: &Rule, column: i16) -> bool {
        let home = self.homes.get(home);
        let found = self.said.facts.relations.get(&rule.relation).and_then(|of| of.columns.get(&column));
        home.is_key && !home.is_strange && found.is_some_and(|found| found.name == home.column)
    }

    pub(super) fn is_in_result(&self, rule: &Rule) -> bool {
        rule.is_in_result && self.takes_columns
    }
}
