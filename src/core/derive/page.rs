//! Pages: what sorts after the last row of a full page does not matter, and what is only shown matters for the shown rows alone.

use std::collections::BTreeSet;

use super::blocks::{Blocks, Entry, GroupId, OccurrenceId};
use super::facts::Comparison;
use super::query::{self, kind};
use super::reads::Names;
use super::tree::Node;

/// Where ORDER BY begins with columns of one relation of the statement's own inner joins and LIMIT cuts: an image whose
/// keys sort strictly after those of the result's last row is outside, if the result has as many rows as LIMIT allows.
#[derive(Debug, Clone, PartialEq)]
pub struct Page {
    pub occurrence: OccurrenceId,
    pub keys: Vec<Key>,
    pub limit: Count,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    pub column: i16,
    pub is_descending: bool,
    pub nulls_first: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Count {
    Constant(i64),
    /// `$1` is 1.
    Argument(u16),
}

impl<'a> Blocks<'a> {
    pub fn page(&self) -> Option<Page> {
        let top = &self.blocks[0];
        if !query::is_rowwise(top.query) {
            return None;
        }
        let limit = count(top.query.node("limitCount")?)?;
        let mut occurrence = None;
        let mut keys = Vec::new();
        for clause in top.query.nodes("sortClause") {
            let Some(key) = self.key(clause) else { break };
            if *occurrence.get_or_insert(key.0) != key.0 {
                break;
            }
            keys.push(key.1);
        }
        Some(Page { occurrence: occurrence?, keys, limit })
    }

    fn key(&self, clause: &Node) -> Option<(OccurrenceId, Key)> {
        let top = &self.blocks[0];
        let reference: u32 = clause.number("tleSortGroupRef")?;
        let target = query::targets(top.query).find(|target| target.reference == reference)?;
        let column = self.column(target.expression, 0, &[])?;
        let occurrence = &self.occurrences[column.occurrence];
        let operator = self.facts.operators.get(&clause.number("sortop")?)?;
        let is_descending = match operator.comparison {
            Comparison::Less => false,
            Comparison::Greater => true,
            _ => return None,
        };
        let relation = occurrence.relation?;
        let is_own = occurrence.group == top.group && !column.is_crossed;
        let is_computed = operator.family.has_order() && operator.family.is_exact();
        let is_seen = self.facts.is_in_image(relation, column.number);
        let key = Key { column: column.number, is_descending, nulls_first: clause.is("nulls_first") };
        (is_own && is_computed && is_seen).then_some((column.occurrence, key))
    }

    /// Marks null-extended relations, looked up by a unique key, that nothing but targets names.
    pub fn mark_shown_only(&mut self) {
        if !query::is_rowwise(self.blocks[0].query) {
            return;
        }
        let mut shown: Vec<GroupId> = self.outer.iter().copied().filter(|group| self.is_looked_up(*group)).collect();
        loop {
            let used = self.deciding(&shown);
            let before = shown.len();
            shown.retain(|group| !used.iter().any(|id| self.occurrences[*id].group == *group));
            if shown.len() == before {
                break;
            }
        }
        for group in shown {
            self.groups[group].is_shown_only = true;
        }
    }

    /// Is the group one occurrence, of which each row around it finds at most one row?
    fn is_looked_up(&self, group: GroupId) -> bool {
        let mut own = (0..self.occurrences.len()).filter(|id| self.occurrences[*id].group == group);
        let (Some(occurrence), None) = (own.next(), own.next()) else { return false };
        // A block within it would multiply the rows.
        if self.groups.iter().any(|inner| inner.up == Some(group)) {
            return false;
        }
        let Some(relation) = self.occurrences[occurrence].relation else { return false };
        let Some(relation) = self.facts.relations.get(&relation) else { return false };
        let mut columns = BTreeSet::new();
        for placed in &self.groups[group].conditions {
            let is_equal = self
                .facts
                .computed(placed.expression)
                .is_some_and(|operator| operator.comparison == Comparison::Equal && operator.family.is_exact());
            if &*placed.expression.kind != "OPEXPR" || !is_equal {
                continue;
            }
            let sides = placed.expression.nodes("args");
            let sides: Option<Vec<_>> =
                sides.map(|side| self.column(side, placed.block, &placed.substitutes)).collect();
            let sides = sides.unwrap_or_default();
            let mut own = sides.iter().filter(|side| side.occurrence == occurrence);
            if let (2, Some(side), None) = (sides.len(), own.next(), own.next()) {
                columns.insert(side.number);
            }
        }
        relation.unique.iter().any(|key| key.iter().all(|column| columns.contains(column)))
    }

    /// Occurrences that decide which rows the result has, and in which order; what only shown groups name aside.
    fn deciding(&self, shown: &[GroupId]) -> BTreeSet<OccurrenceId> {
        let mut names = Names { blocks: self, names: BTreeSet::new() };
        for (id, block) in self.blocks.iter().enumerate() {
            if self.groups[block.group].is_shown_only {
                continue;
            }
            for target in query::targets(block.query) {
                if if id == 0 { target.reference != 0 } else { !block.is_shown } {
                    names.node(target.expression, id);
                }
            }
            for field in ["havingQual", "limitCount", "limitOffset"] {
                names.value(block.query.get(field), id);
            }
            for entry in &block.entries {
                if let Entry::Other(entry) = entry {
                    if ![kind::JOIN, kind::GROUP].contains(&entry.text("rtekind")) {
                        names.node(entry, id);
                    }
                }
            }
        }
        for (id, group) in self.groups.iter().enumerate() {
            if group.is_shown_only || shown.contains(&id) {
                continue;
            }
            for placed in &group.conditions {
                names.node(placed.expression, placed.block);
                for substitute in &placed.substitutes {
                    names.node(substitute.by, substitute.block);
                }
            }
        }
        names.names
    }
}

pub(super) fn count(node: &Node) -> Option<Count> {
    let node = query::without_widening(node);
    match &*node.kind {
        "CONST" if !node.is("constisnull") => query::constant_count(node).map(Count::Constant),
        "PARAM" if node.text("paramkind") == "0" => node.number("paramid").map(Count::Argument),
        _ => None,
    }
}
