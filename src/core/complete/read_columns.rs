//! Columns that decide, of the rows that a result depends on.

use std::collections::{BTreeMap, BTreeSet};

use super::completer::Completer;
use crate::core::derive::{Reads, Rule};
use crate::core::sql::spelling::in_quotes;

impl Completer<'_, '_, '_> {
    /// Which columns decide, of the rows of each section that nothing else tells of: a change of others is none.
    pub(super) fn columns(&mut self) {
        let mut read: BTreeMap<usize, Option<BTreeSet<Box<str>>>> = BTreeMap::new();
        for rule in self.rules() {
            let topmost = self.homes.topmost(rule.relation);
            let mapped = self.said.mapped.tables.get(&topmost).into_iter().flatten().map(|(index, _)| *index);
            let home = self.of_rule.get(&rule.occurrence).filter(|_| self.found.covered.contains(&rule.occurrence));
            let told: BTreeSet<usize> = mapped.chain(home.and_then(|home| self.homes.get(*home).index)).collect();
            let columns = home.and_then(|_| self.columns_of(rule));
            for index in told {
                join(read.entry(index).or_insert_with(|| Some(BTreeSet::new())), columns.clone());
            }
        }
        let mut by_name: BTreeMap<Box<str>, Option<BTreeSet<Box<str>>>> =
            read.into_iter().map(|(index, columns)| (self.said.sections[index].name.clone(), columns)).collect();
        // New sections, which are told of one relation alone.
        for (occurrence, home) in &self.of_rule {
            let home = self.homes.get(*home);
            if let (None, Some(rule)) = (home.index, self.rule(*occurrence)) {
                let columns = by_name.entry(home.section.clone()).or_insert_with(|| Some(BTreeSet::new()));
                join(columns, self.columns_of(rule));
            }
        }
        for (section, columns) in by_name {
            let Some(columns) = columns else { continue };
            let is_said = self.subject.query.reads.iter().any(|of| of.of(section.as_bytes()).is_some());
            if !is_said {
                let columns: Vec<String> = columns.iter().map(|name| spelled(name)).collect();
                self.found.additions.reads.insert(section, columns.join(", ").into());
            }
        }
    }

    /// None: any of them may.
    pub(super) fn columns_of(&self, rule: &Rule) -> Option<BTreeSet<Box<str>>> {
        let Reads::Columns(numbers) = &rule.reads else { return None };
        let relation = self.said.facts.relations.get(&rule.relation)?;
        numbers.iter().map(|number| Some(relation.columns.get(number)?.name.clone())).collect()
    }
}

fn join(columns: &mut Option<BTreeSet<Box<str>>>, more: Option<BTreeSet<Box<str>>>) {
    *columns = columns.take().zip(more).map(|(columns, more)| &columns | &more);
}

/// A column as `reads` spells it.
fn spelled(name: &str) -> String {
    match name.contains([',', '"']) || name.trim() != name || name == "*" {
        true => in_quotes(name),
        false => name.to_owned(),
    }
}
