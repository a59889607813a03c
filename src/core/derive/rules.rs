//! The rules: for each occurrence the conditions over it alone, and its links to those before it.
//!
//! A row's change concerns a result only if one of its images meets every local condition of an occurrence's rule and has,
//! in each linked column, a value that the linked occurrence's rows had when the result was computed. Any order of the
//! occurrences is sound; a good one begins where an argument restricts, and goes on with what links to those.

use std::collections::BTreeSet;

use super::blocks::{Blocks, Entry, GroupId, OccurrenceId};
use super::columns::Column;
use super::expression::Expression;
use super::facts::Family;
use super::reads::Reads;

/// What a change of a row of one occurrence of a relation must be like to concern the result.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// Index of the occurrence in the statement.
    pub occurrence: OccurrenceId,
    pub relation: u32,
    pub alias: Box<str>,
    pub local: Vec<Expression>,
    pub links: Vec<Link>,
    pub reads: Reads,
    /// A condition that may restrict it, or a part of one, is not in the rule: bear does not compute it, or a boundary keeps it out.
    pub left_out: bool,
    /// Why nothing restricts it.
    pub coarse: Option<&'static str>,
    /// It matters for the rows of the result alone, not for which they are.
    pub is_shown_only: bool,
    /// The statement's own FROM names it, and each of its rows that has a part in the result is a part of a row of it.
    pub is_in_result: bool,
}

/// The column holds a value of that column of another occurrence, earlier in the order, or a source.
#[derive(Debug, Clone, PartialEq)]
pub struct Link {
    pub column: i16,
    pub family: Family,
    pub occurrence: OccurrenceId,
    pub of: i16,
    /// The values of the result's own rows are enough.
    pub of_result: bool,
}

/// What was found of an occurrence, before the order.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub local: Vec<Expression>,
    pub links: Vec<Link>,
    is_looked_up: bool,
    is_uncomputed: bool,
    is_kept_out: bool,
    is_left_out: bool,
}

impl Blocks<'_> {
    pub fn found(&self) -> Vec<Found> {
        let mut found: Vec<Found> = self.occurrences.iter().map(|_| Found::default()).collect();
        for (group, conditions) in self.groups.iter().enumerate().map(|(id, group)| (id, &group.conditions)) {
            for placed in conditions {
                let arms = self.arms(placed);
                for (placed, arm) in arms {
                    let may_restrict = |id: OccurrenceId| {
                        !placed.barred.contains(&id) && arm.as_ref().is_none_or(|arm| arm.contains(&id))
                    };
                    match self.condition(&placed) {
                        Some(condition) => {
                            let is_whole = self.is_whole(&placed);
                            self.file(condition, is_whole, group, may_restrict, &mut found);
                        }
                        None if placed.is_told => {}
                        None => self.note_uncomputed(group, &mut found),
                    }
                }
            }
        }
        found
    }

    fn file(
        &self,
        condition: Expression<Column>,
        is_whole: bool,
        group: GroupId,
        may_restrict: impl Fn(OccurrenceId) -> bool,
        found: &mut [Found],
    ) {
        let named: BTreeSet<OccurrenceId> = condition.columns().iter().map(|column| column.occurrence).collect();
        for occurrence in named {
            if self.occurrences[occurrence].relation.is_none() || !may_restrict(occurrence) {
                continue;
            }
            let of = |column: &Column| (column.occurrence == occurrence).then_some(column.number);
            let reaches =
                |column: &Column| column.occurrence != occurrence || self.enters(occurrence, group, column.is_crossed);
            if !condition.columns().into_iter().all(reaches) {
                let is_crossed = |column: &&Column| column.occurrence == occurrence && column.is_crossed;
                found[occurrence].is_kept_out |= condition.columns().iter().any(is_crossed);
                continue;
            }
            found[occurrence].is_left_out |= !is_whole;
            match condition.restricted(&of).filter(|local| !local.columns().is_empty()) {
                Some(local) => {
                    found[occurrence].is_left_out |= condition.columns().len() > local.columns().len();
                    found[occurrence].is_looked_up |= local.is_equality();
                    found[occurrence].local.push(local);
                }
                None => match self.link(&condition, occurrence) {
                    Some(link) => found[occurrence].links.push(link),
                    None => found[occurrence].is_left_out = true,
                },
            }
        }
    }

    /// The link that the condition is for the occurrence: an equality of a column of its and one of another's.
    fn link(&self, condition: &Expression<Column>, occurrence: OccurrenceId) -> Option<Link> {
        let Expression::Compare(operator, sides) = condition else { return None };
        let [Expression::Column(left), Expression::Column(right)] = &**sides else { return None };
        if !condition.is_equality() || !operator.family.is_exact() {
            return None;
        }
        let (own, other) = if left.occurrence == occurrence { (left, right) } else { (right, left) };
        let is_of_top = self.occurrences[other.occurrence].group == self.blocks[0].group;
        let is_shown_only = self.groups[self.occurrences[occurrence].group].is_shown_only;
        Some(Link {
            column: own.number,
            family: operator.family,
            occurrence: other.occurrence,
            of: other.number,
            of_result: is_shown_only && is_of_top && !other.is_crossed,
        })
    }

    /// May a condition of that group restrict the occurrence? Its own group's always; an outer one's where every boundary
    /// between them lets it through.
    fn enters(&self, occurrence: OccurrenceId, group: GroupId, is_crossed: bool) -> bool {
        !is_crossed && self.is_within(self.occurrences[occurrence].group, group)
    }

    fn note_uncomputed(&self, group: GroupId, found: &mut [Found]) {
        for (occurrence, found) in self.occurrences.iter().zip(found) {
            found.is_uncomputed |= occurrence.group == group;
        }
    }

    /// The rules in an order in which each links only to those before it, and to sources.
    pub fn ordered(&self, mut found: Vec<Found>, mut reads: Vec<Reads>) -> Vec<Rule> {
        let is_relation = |id: &OccurrenceId| self.occurrences[*id].relation.is_some();
        let mut done: BTreeSet<OccurrenceId> = (0..found.len()).filter(|id| !is_relation(id)).collect();
        let mut todo: Vec<OccurrenceId> = (0..found.len()).filter(is_relation).collect();
        let mut rules = Vec::with_capacity(todo.len());
        let top = self.blocks[0].group;
        let is_own = |id: OccurrenceId| {
            self.blocks[0].entries.iter().any(|entry| matches!(entry, Entry::Occurrence(own) if *own == id))
        };
        while let Some(next) = todo.iter().copied().min_by_key(|id| (self.rank(*id, &found[*id], &done), *id)) {
            todo.retain(|id| *id != next);
            let Found { local, links, is_uncomputed, is_kept_out, is_left_out, .. } = std::mem::take(&mut found[next]);
            let mut kept: Vec<Link> = Vec::with_capacity(links.len());
            for link in links {
                if done.contains(&link.occurrence) && !kept.contains(&link) {
                    kept.push(link);
                }
            }
            let coarse = (local.is_empty() && kept.is_empty()).then_some(match (is_kept_out, is_uncomputed) {
                (true, _) => "a condition on it stands outside a LIMIT, a window, an aggregate or a DISTINCT",
                (_, true) => "its conditions are none that bear computes",
                _ => "no condition restricts it",
            });
            let occurrence = &self.occurrences[next];
            rules.push(Rule {
                occurrence: next,
                relation: occurrence.relation.unwrap_or(0),
                alias: occurrence.alias.into(),
                local,
                links: kept,
                reads: std::mem::take(&mut reads[next]),
                left_out: is_left_out || is_uncomputed || is_kept_out,
                coarse,
                is_shown_only: self.groups[occurrence.group].is_shown_only,
                is_in_result: is_own(next) && (occurrence.group == top || self.groups[occurrence.group].is_shown_only),
            });
            done.insert(next);
        }
        rules
    }

    fn rank(&self, id: OccurrenceId, found: &Found, done: &BTreeSet<OccurrenceId>) -> (u8, u8, usize) {
        let depth = self.groups[self.occurrences[id].group].depth;
        let is_outer = depth == 0;
        let is_linked = found.links.iter().any(|link| done.contains(&link.occurrence));
        let waits = found.links.iter().any(|link| !done.contains(&link.occurrence));
        match (found.is_looked_up, !found.local.is_empty()) {
            (is_looked_up, _) if is_linked => (0, u8::from(!is_looked_up), depth),
            (true, _) if is_outer => (1, 0, 0),
            (_, has_local) if is_outer && !waits => (2, u8::from(!has_local), 0),
            (_, true) if is_outer => (4, 0, 0),
            (true, _) => (if waits { 5 } else { 3 }, 0, depth),
            (_, true) => (6, 0, depth),
            _ => (7, 0, depth),
        }
    }
}
