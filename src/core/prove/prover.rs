//! What all comparisons ask of the rules: relations and columns by name, and how rules are linked.

use std::collections::BTreeSet;

use super::implied::Concerned;
use super::listing::Listing;
use super::origins::{target, Origin, Otherwise};
use super::proof::{Mapped, Stated};
use crate::core::catalog::Query;
use crate::core::derive::facts::{Facts, Relation};
use crate::core::derive::tree::Node;
use crate::core::derive::{Derived, Rule};

pub(super) struct Prover<'a> {
    pub(super) stated: Stated<'a>,
    pub(super) mapped: &'a Mapped,
    pub(super) statement: &'a Node,
    pub(super) facts: &'a Facts,
    pub(super) concerned: Concerned<'a>,
    pub(super) otherwise: Vec<Otherwise>,
    pub(super) derived: &'a Derived,
    pub(super) listings: &'a [Listing<'a>],
    /// Occurrences of relations of which nothing is said.
    pub(super) completed: &'a BTreeSet<usize>,
}

/// The column by which rows of the section are listed, if any does.
pub(super) fn listing_of(stated: Stated<'_>, statement: &Node, section: usize) -> String {
    let listing = format!("_{}", stated.sections[section].name);
    let is_own = section == stated.section && stated.query.rows;
    match is_own && target(statement, &listing).is_none() {
        true => "id".to_owned(),
        false => listing,
    }
}

impl Prover<'_> {
    pub(super) fn query(&self) -> &Query {
        self.stated.query
    }

    pub(super) fn listing_of(&self, section: usize) -> String {
        listing_of(self.stated, self.statement, section)
    }

    /// Do results list rows of the section, by a column or a statement?
    pub(super) fn is_listed(&self, section: usize) -> bool {
        target(self.statement, &self.listing_of(section)).is_some() || self.statements_of(section).next().is_some()
    }

    /// The columns of mapped tables that hold ids of the section.
    pub(super) fn ids_of(&self, section: usize) -> impl Iterator<Item = Origin> + '_ {
        self.mapped.tables.iter().flat_map(move |(oid, mappings)| {
            let columns =
                mappings.iter().filter(move |(of, _)| *of == section).filter_map(|(_, column)| column.as_deref());
            columns.filter_map(|column| Some((*oid, self.number(*oid, column)?)))
        })
    }

    /// Columns of which the statement says that they are equal.
    pub(super) fn equal_to(&self, origin: Origin) -> BTreeSet<Origin> {
        let mut found: BTreeSet<Origin> = [origin].into();
        loop {
            let mut more = found.clone();
            for rule in self.concerned.rules {
                for link in &rule.links {
                    let Some(other) = self.rule(link.occurrence) else { continue };
                    let pair = [(rule.relation, link.column), (other.relation, link.of)];
                    if pair.iter().any(|column| found.contains(column)) {
                        more.extend(pair);
                    }
                }
            }
            if more.len() == found.len() {
                return found;
            }
            found = more;
        }
    }

    pub(super) fn rule(&self, occurrence: usize) -> Option<&Rule> {
        self.concerned.rules.iter().find(|rule| rule.occurrence == occurrence)
    }

    pub(super) fn relation(&self, oid: u32) -> Option<&Relation> {
        self.facts.relations.get(&oid)
    }

    /// Is it a rule of the relation, or of a partition of it?
    pub(super) fn is_of(&self, rule: &Rule, relation: u32) -> bool {
        rule.relation == relation || self.relation(rule.relation).is_some_and(|found| found.root == Some(relation))
    }

    pub(super) fn number(&self, relation: u32, column: &str) -> Option<i16> {
        let mut columns = self.relation(relation)?.columns.iter();
        columns.find(|(_, found)| *found.name == *column).map(|(number, _)| *number)
    }

    pub(super) fn name_of(&self, relation: u32) -> String {
        match self.relation(relation) {
            Some(relation) if &*relation.schema == "public" => relation.name.to_string(),
            Some(relation) => format!("{}.{}", relation.schema, relation.name),
            None => format!("the relation of oid {relation}"),
        }
    }

    pub(super) fn name_of_column(&self, (relation, column): Origin) -> String {
        let name =
            self.relation(relation).and_then(|found| found.columns.get(&column)).map(|column| column.name.to_string());
        format!("{}.{}", self.name_of(relation), name.unwrap_or_default())
    }

    /// Links of the rule's occurrence, whichever of the two was found first: the other rule, its column, and the own one.
    pub(super) fn links_of<'r>(&'r self, rule: &'r Rule) -> Vec<(&'r Rule, i16, i16)> {
        let own = rule.links.iter().filter_map(|link| Some((self.rule(link.occurrence)?, link.of, link.column)));
        let others = self.concerned.rules.iter().flat_map(|other| {
            let links = other.links.iter().filter(|link| link.occurrence == rule.occurrence);
            links.map(move |link| (other, link.column, link.of))
        });
        own.chain(others).collect()
    }

    /// Is the relation joined by a foreign key that holds, so that what refers to its rows finds them whenever it is there?
    pub(super) fn is_there_for_certain(&self, rule: &Rule) -> bool {
        let holds = |(other, from, to): (&Rule, i16, i16)| {
            self.relation(other.relation).is_some_and(|relation| {
                relation.foreign_keys.iter().any(|key| {
                    key.holds && *key.columns == [from] && *key.referenced == [to] && self.is_of(rule, key.relation)
                })
            })
        };
        self.links_of(rule).into_iter().any(holds)
    }
}
