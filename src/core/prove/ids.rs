//! Columns that list rows, and whether they are of the wrong relation.

use std::collections::BTreeSet;

use super::origins::{of_target, Origin};
use super::proof::Verdict;
use super::prover::Prover;

impl Prover<'_> {
    /// Columns that list rows, of the wrong relation.
    pub(super) fn of_ids(&self) -> Vec<Verdict> {
        let mut listings = Vec::new();
        // Where the rows are listed by a column of their own, `id` may be that of others.
        if self.query().rows && self.listing_of(self.stated.section) == "id" {
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
        listings.iter().filter_map(verdict).collect()
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
        if equal.iter().any(|column| ids.contains(column)) {
            return Some(true);
        }
        let refers = |column: &Origin| {
            let keys = self.relation(column.0).map_or(&[][..], |relation| &relation.foreign_keys[..]);
            keys.iter().any(|key| {
                *key.columns == [column.1]
                    && key.referenced.len() == 1
                    && ids.contains(&(key.relation, key.referenced[0]))
            })
        };
        if equal.iter().any(refers) {
            return Some(true);
        }
        let is_read = |id: &Origin| self.concerned.rules.iter().any(|rule| self.is_of(rule, id.0));
        (ids.iter().any(is_read) && equal.iter().all(|column| self.relation(column.0).is_some())).then_some(false)
    }
}
