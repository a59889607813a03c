//! What a query says that it reads of sections' rows (`reads`), beside what its SQL reads: a column that decides the result and is
//! left out leaves stale answers, for its changes are passed over.
//!
//! What is read counts by the columns of tables: of views those that they read, of generated columns those that these are computed
//! from. The column that holds the row's id, and the tenant's, need not be said: with another one the row counts as another.

use std::collections::{BTreeMap, BTreeSet};

use super::proof::Verdict;
use super::prover::Prover;
use crate::core::catalog::columns_read::ColumnsRead;
use crate::core::derive::Reads;

impl Prover<'_> {
    /// For each section that `reads` names and that leaves out columns: what the SQL reads, and the line that would be right.
    pub(super) fn of_reads(&self) -> Vec<Verdict> {
        let Some(reads) = &self.query().reads else { return Vec::new() };
        let mut verdicts: Vec<Verdict> = self.left_out(reads).into_iter().map(Verdict::Short).collect();
        if self.query().plan().is_some_and(|plan| !plan.lists.is_empty()) {
            let reason = "whether reads has all that the statements of lists read is not known";
            verdicts.push(Verdict::Unclear(reason.to_owned()));
        }
        verdicts
    }

    fn left_out(&self, reads: &ColumnsRead) -> Vec<String> {
        let mut read: BTreeMap<usize, BTreeSet<Box<str>>> = BTreeMap::new();
        let mut errors = Vec::new();
        for rule in self.concerned.rules {
            let Some(relation) = self.facts.relations.get(&rule.relation) else { continue };
            let mappings = self.mapped.tables.get(&rule.relation).or_else(|| self.mapped.tables.get(&relation.root?));
            for (index, id) in mappings.into_iter().flatten() {
                let section = &self.stated.sections[*index];
                if reads.of(section.name.as_bytes()).is_none() {
                    continue;
                }
                let key = relation.primary_key.as_deref().filter(|key| key.len() == 1 && id.is_none());
                let is_told = |number: &i16, name: &str| {
                    let is_key = key.is_some_and(|key| key[0] == *number);
                    is_key || id.as_deref() == Some(name) || section.tenant_column.as_deref() == Some(name)
                };
                match &rule.reads {
                    Reads::Columns(columns) => {
                        let named =
                            columns.iter().filter_map(|number| Some((number, &relation.columns.get(number)?.name)));
                        let decides =
                            named.filter(|(number, name)| !is_told(number, name)).map(|(_, name)| name.clone());
                        read.entry(*index).or_default().extend(decides);
                    }
                    Reads::Row | Reads::Anything => errors.push(format!(
                        "it reads whole rows of {}, of which reads.{} names some columns: leave {1} out of reads",
                        relation.name, section.name
                    )),
                }
            }
        }
        for (index, columns) in read {
            let section = &self.stated.sections[index].name;
            let said = reads.of(section.as_bytes()).map_or(&[][..], |said| said);
            let missing: Vec<&str> = columns.iter().filter(|name| !said.contains(*name)).map(|name| &**name).collect();
            if !missing.is_empty() {
                let right = columns.iter().map(|name| spelled(name)).collect::<Vec<_>>().join(", ");
                let quote = if right.contains('"') { "'" } else { "\"" };
                errors.push(format!(
                "it reads {} of rows of '{section}', which reads.{section} leaves out: say reads = {{ {section} = {quote}{right}{quote} }}",
                missing.join(", ")
            ));
            }
        }
        errors
    }
}

/// As `reads` takes a name.
fn spelled(name: &str) -> String {
    match name.trim() != name || name.is_empty() || name.contains(['"', ',', '*']) {
        true => format!("\"{}\"", name.replace('"', "\"\"")),
        false => name.to_owned(),
    }
}
