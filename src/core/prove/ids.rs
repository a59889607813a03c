//! Columns that list rows, and whether they are of the wrong relation.

use std::collections::BTreeSet;

use super::listing::rule_of;
use super::origins::{of_target, Origin};
use super::proof::Verdict;
use super::prover::Prover;
use crate::core::derive::Rule;

impl Prover<'_> {
    /// Columns that list rows, of the wrong relation.
    pub(super) fn of_ids(&self) -> Vec<Verdict> {
        let mut listings = Vec::new();
        let is_completed = |rule: &Rule| {
            let mut mappings = self.mapped.tables.get(&rule.relation).into_iter().flatten();
            self.completed.contains(&rule.occurrence) && mappings.any(|(of, _)| *of == self.stated.section)
        };
        // Where the rows are listed by a column of their own, `id` may be that of others; where nothing is said of them, it was looked at.
        let is_said = self.query().rows && !self.concerned.rules.iter().any(is_completed);
        if is_said && self.listing_of(self.stated.section) == "id" {
            listings.push((self.stated.section, "id".to_owned()));
        }
        for (index, section) in self.stated.sections.iter().enumerate() {
            listings.push((index, format!("_{}", section.name)));
        }
        let verdict = |(section, column): &(usize, String)| {
            let origin = of_target(self.statement, column, self.facts)?;
            match self.is_id_of(origin, *section) {
                Some(true) => None,
                Some(false) => Some(Verdict::Short(self.wrong_id(origin, *section, column))),
                None => {
                    let name = &self.stated.sections[*section].name;
                    Some(Verdict::Unclear(format!("that {column} holds ids of '{name}' is not known")))
                }
            }
        };
        let of_statements = (0..self.stated.sections.len()).filter_map(|section| self.wrong_statement(section));
        listings.iter().filter_map(verdict).chain(of_statements).collect()
    }

    /// Of `lists`: one that gives ids of another section, which its own statement reads, too.
    fn wrong_statement(&self, section: usize) -> Option<Verdict> {
        let name = &self.stated.sections[section].name;
        self.statements_of(section).find_map(|listing| {
            let derived = listing.derived?;
            let of = |(occurrence, column): &(usize, i16)| Some((rule_of(derived, *occurrence)?.relation, *column));
            let first: Vec<Origin> = derived.shown.first().iter().filter_map(of).collect();
            let is_right = first.iter().any(|origin| self.is_id_or_refers(*origin, section));
            let is_read = |id: Origin| derived.rules.iter().any(|rule| self.is_of(rule, id.0));
            let found = *first.first().filter(|_| !is_right && self.ids_of(section).any(is_read))?;
            let found = self.name_of_column(found);
            Some(Verdict::Short(format!("lists.{name} gives {found}, which is no id of the section '{name}'")))
        })
    }

    /// Is it a column of ids of the section, or one with a foreign key to such?
    fn is_id_or_refers(&self, origin: Origin, section: usize) -> bool {
        let ids: BTreeSet<Origin> = self.ids_of(section).collect();
        let keys = self.relation(origin.0).map_or(&[][..], |relation| &relation.foreign_keys[..]);
        ids.contains(&origin)
            || keys.iter().any(|key| {
                *key.columns == [origin.1]
                    && key.referenced.len() == 1
                    && ids.contains(&(key.relation, key.referenced[0]))
            })
    }

    fn wrong_id(&self, origin: Origin, section: usize, column: &str) -> String {
        let found = self.name_of_column(origin);
        let name = &self.stated.sections[section].name;
        let right = self.ids_of(section).find_map(|id| {
            let rule = self.concerned.rules.iter().find(|rule| self.is_of(rule, id.0))?;
            let column = self.relation(id.0)?.columns.get(&id.1)?;
            Some(format!("{}.{}", rule.alias, column.name))
        });
        match right {
            Some(right) => {
                format!("{column} is {found}, which is no id of the section '{name}': say {right} AS {column}")
            }
            None => format!("{column} is {found}, which is no id of the section '{name}'"),
        }
    }

    /// Does the column hold ids of the section? None: nobody knows.
    fn is_id_of(&self, origin: Origin, section: usize) -> Option<bool> {
        let ids: BTreeSet<Origin> = self.ids_of(section).collect();
        let equal = self.equal_to(origin);
        if equal.iter().any(|column| self.is_id_or_refers(*column, section)) {
            return Some(true);
        }
        let is_read = |id: &Origin| self.concerned.rules.iter().any(|rule| self.is_of(rule, id.0));
        (ids.iter().any(is_read) && equal.iter().all(|column| self.relation(column.0).is_some())).then_some(false)
    }
}
