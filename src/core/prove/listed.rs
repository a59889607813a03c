//! Sections of which nothing is said, or of which the result lists rows and nothing else is said.

use std::collections::BTreeSet;

use super::proof::Verdict;
use super::prover::Prover;
use super::spoken::Words;
use crate::core::derive::expression::Expression;
use crate::core::derive::{Reads, Rule};

impl Prover<'_> {
    /// Rows that the result depends on and nothing tells of.
    pub(super) fn of_unsaid(&self, rule: &Rule, section: usize) -> Verdict {
        let name = &self.stated.sections[section].name;
        if self.is_there_for_certain(rule) && self.reads_only_links(rule) {
            return Verdict::Enough;
        }
        let table = self.name_of(rule.relation);
        if self.stated.sections[section].tables.is_empty() {
            // Only its name says that it is about that table.
            return Verdict::Unclear(format!(
                "whether rows of '{table}' are those of '{name}', of which nothing is said, is not known"
            ));
        }
        let id = self
            .ids_of(section)
            .find(|id| self.is_of(rule, id.0))
            .and_then(|id| self.relation(id.0)?.columns.get(&id.1));
        let listing = match id {
            Some(id) if !rule.alias.is_empty() => format!(" or list its rows by {}.{} AS _{name}", rule.alias, id.name),
            _ => String::new(),
        };
        let alias = match rule.alias.is_empty() || *rule.alias == *table {
            true => table.clone(),
            false => format!("{table} {}", rule.alias),
        };
        Verdict::Short(format!(
            "it reads {alias}, and nothing is said of rows of '{name}': say on = {{ {name} = \"*\" }}{listing}"
        ))
    }

    /// Rows of which only those listed count.
    pub(super) fn of_listed(&self, rule: &Rule, section: usize, column: Option<&str>, listing: &str) -> Verdict {
        let name = &self.stated.sections[section].name;
        let table = self.name_of(rule.relation);
        let id = column.and_then(|column| self.number(rule.relation, column));
        let Some(id) = id else {
            return Verdict::Unclear(format!("which rows of '{name}' a row of '{table}' concerns is not known"));
        };
        let tenant = self.stated.sections[section]
            .tenant_column
            .as_deref()
            .and_then(|column| self.number(rule.relation, column));
        let decides = |condition: &&Expression| {
            condition.columns().into_iter().any(|column| *column != id && Some(*column) != tenant)
        };
        let deciding: Vec<_> = rule.local.iter().filter(decides).cloned().collect();
        if let (false, Some(relation)) = (deciding.is_empty(), self.relation(rule.relation)) {
            let words = Words { relation, query: self.query(), sources: self.concerned.sources };
            let said = words.conditions(&deciding);
            let right = match self.stated.sections[section].row.is_some() {
                true => words.conditions(&rule.local),
                false => "*".to_owned(),
            };
            return Verdict::Short(format!(
                "rows of '{name}' that the result does not list decide it, too: the SQL demands {said} of {table}; say on = {{ {name} = \"{right}\" }}"
            ));
        }
        if !rule.local.is_empty() || rule.left_out {
            return Verdict::Unclear(format!(
                "whether rows of '{name}' that {listing} does not list decide the result is not known"
            ));
        }
        if self.is_listed_by_statement(rule, section, column) && self.is_there_for_certain(rule) {
            return Verdict::Enough;
        }
        if !self.is_there_for_certain(rule) {
            return Verdict::Unclear(format!(
                "no foreign key says that the rows of {table} that it joins are there before"
            ));
        }
        let is_cut = self.statement.has("limitCount") || self.statement.has("limitOffset");
        let is_plain = !["setOperations", "groupClause", "groupingSets", "distinctClause"]
            .into_iter()
            .any(|field| self.statement.has(field))
            && !["hasAggs", "hasWindowFuncs", "hasTargetSRFs"].into_iter().any(|field| self.statement.is(field));
        match (!is_cut || rule.is_shown_only) && is_plain && self.is_linked_by_one(rule, id) {
            true => Verdict::Enough,
            false => Verdict::Unclear(format!(
                "whether rows of '{name}' that {listing} does not list decide the result is not known"
            )),
        }
    }

    fn is_linked_by_one(&self, rule: &Rule, column: i16) -> bool {
        let links = self.links_of(rule);
        !links.is_empty() && links.iter().all(|(_, _, own)| *own == column)
    }

    /// Is nothing read of it but what it is joined by?
    fn reads_only_links(&self, rule: &Rule) -> bool {
        let linked: BTreeSet<i16> = self.links_of(rule).into_iter().map(|(_, _, own)| own).collect();
        rule.local.is_empty()
            && !rule.left_out
            && matches!(&rule.reads, Reads::Columns(read) if read.is_subset(&linked))
    }
}
