//! What the result shows of the rows that decide it: which column of which occurrence each of its columns is, and of which
//! occurrences it has all the rows that their rules concern.
//!
//! A row that its rule concerns makes a row of the result if nothing else is asked of it: the rule says all of the SQL's
//! conditions, what it links to is a chain of such rows, and any other occurrence that is joined is there for certain, by a
//! foreign key of columns that are no null.

use std::collections::BTreeSet;

use super::blocks::{BlockId, Blocks, Entry, OccurrenceId, Placed};
use super::columns::Column;
use super::expression::Expression;
use super::query::{self, kind};
use super::rules::Rule;
use super::tree::Node;

/// A column of an occurrence.
pub type OccurrenceColumn = (OccurrenceId, i16);

#[derive(Debug, Clone, Default, PartialEq)]
pub struct Shown {
    /// In the order of the result's columns, those that are a column of an occurrence, or the elements that `array_agg` makes
    /// of one: with their names, and others that are equal to it in each row.
    pub columns: Vec<(Box<str>, Vec<OccurrenceColumn>)>,
    /// Is the first column the first of these?
    pub has_first: bool,
    /// Each combination of rows is shown, or counted in a row that is: nothing is cut off.
    pub is_uncut: bool,
    /// Occurrences of the statement's own inner joins.
    pub joined: BTreeSet<OccurrenceId>,
    /// Occurrences of which each row that the rule concerns makes a row of the result.
    pub whole: BTreeSet<OccurrenceId>,
}

impl Shown {
    /// What the column of that name is.
    pub fn named(&self, name: &str) -> &[OccurrenceColumn] {
        self.columns.iter().find(|(known, _)| **known == *name).map_or(&[], |(_, columns)| columns)
    }

    /// What the first column is.
    pub fn first(&self) -> &[OccurrenceColumn] {
        self.columns.first().filter(|_| self.has_first).map_or(&[], |(_, columns)| columns)
    }
}

impl<'a> Blocks<'a> {
    pub fn shown(&self, rules: &[Rule]) -> Shown {
        let top = self.blocks[0].query;
        let shown = top.nodes("targetList").filter(|target| !target.is("resjunk"));
        let mut columns = Vec::new();
        let mut has_first = false;
        for (at, target) in shown.enumerate() {
            let Some(column) = target.node("expr").and_then(|expression| self.shown_column(expression)) else {
                continue;
            };
            has_first |= at == 0;
            columns.push((target.text("resname").into(), self.equal_to(column, rules)));
        }
        let cuts = ["limitCount", "limitOffset", "setOperations", "havingQual", "groupingSets"];
        let is_uncut = !cuts.iter().any(|field| top.has(field)) && !top.is("hasDistinctOn") && !top.is("hasTargetSRFs");
        let is_whole = is_uncut
            && self.is_joined_of_relations()
            && self.groups[self.blocks[0].group].conditions.iter().all(|placed| self.is_of_joined(placed));
        let whole =
            rules.iter().filter(|rule| is_whole && self.is_whole_in_result(rule, rules)).map(|rule| rule.occurrence);
        let joined = rules.iter().filter(|rule| is_of_top_rule(self, rule)).map(|rule| rule.occurrence);
        Shown { columns, has_first, is_uncut, joined: joined.collect(), whole: whole.collect() }
    }

    fn shown_column(&self, expression: &'a Node) -> Option<OccurrenceColumn> {
        let is_list = |node: &Node| {
            let function = node.number("aggfnoid").and_then(|oid: u32| self.facts.functions.get(&oid));
            function.is_some_and(|function| &*function.schema == "pg_catalog" && &*function.name == "array_agg")
        };
        let expression = match &*expression.kind {
            "AGGREF" if is_list(expression) && !expression.has("aggfilter") => {
                expression.nodes("args").next()?.node("expr")?
            }
            _ => expression,
        };
        let column = self.column(expression, 0, &[])?;
        (!column.is_crossed).then_some((column.occurrence, column.number))
    }

    /// The columns of the statement's own inner joins that are equal to this one in each row of the result.
    fn equal_to(&self, column: OccurrenceColumn, rules: &[Rule]) -> Vec<OccurrenceColumn> {
        let is_of_top = |occurrence: OccurrenceId| self.occurrences[occurrence].group == self.blocks[0].group;
        let mut found = vec![column];
        if !is_of_top(column.0) {
            return found;
        }
        let mut at = 0;
        while let Some(column) = found.get(at).copied() {
            at += 1;
            for rule in rules.iter().filter(|rule| is_of_top_rule(self, rule)) {
                for link in rule.links.iter().filter(|link| is_of_top(link.occurrence)) {
                    let pair = [(rule.occurrence, link.column), (link.occurrence, link.of)];
                    for (one, other) in [(pair[0], pair[1]), (pair[1], pair[0])] {
                        if one == column && !found.contains(&other) {
                            found.push(other);
                        }
                    }
                }
            }
        }
        found
    }

    /// Does the condition, of the statement's own inner joins, restrict nothing but rows of those, and all that it names?
    fn is_of_joined(&self, placed: &Placed<'a>) -> bool {
        let is_joined = |id: OccurrenceId| self.occurrences[id].group == self.blocks[0].group;
        let names =
            |condition: &Expression<Column>| condition.columns().iter().all(|column| is_joined(column.occurrence));
        // Where nothing is computed of it, each rule says that something was left out.
        placed.barred.is_empty() && self.condition(placed).is_none_or(|condition| names(&condition))
    }

    /// Is what inner joins tie together nothing but relations, known values, and plain blocks of such?
    fn is_joined_of_relations(&self) -> bool {
        let joined = (0..self.blocks.len()).filter(|block| self.blocks[*block].group == self.blocks[0].group);
        joined.into_iter().all(|block| self.is_made_of_relations(block))
    }

    fn is_made_of_relations(&self, block: BlockId) -> bool {
        let query = self.blocks[block].query;
        let from = query.node("jointree");
        from.into_iter().flat_map(|from| from.nodes("fromlist")).all(|item| self.is_of_relations(item, block))
    }

    fn is_of_relations(&self, item: &Node, block: BlockId) -> bool {
        match &*item.kind {
            "RANGETBLREF" => {
                let index = item.number::<usize>("rtindex").and_then(|index| index.checked_sub(1));
                match index.and_then(|index| self.blocks[block].entries.get(index)) {
                    Some(Entry::Occurrence(occurrence)) => {
                        let source = self.occurrences[*occurrence].source;
                        source.is_none_or(|source| source.text("rtekind") != kind::WITH)
                    }
                    Some(Entry::Block(inner)) => {
                        query::is_plain(self.blocks[*inner].query) && self.is_made_of_relations(*inner)
                    }
                    _ => false,
                }
            }
            "JOINEXPR" => {
                let sides = [item.node("larg"), item.node("rarg")];
                item.text("jointype") != query::FULL
                    && sides.into_iter().all(|side| side.is_some_and(|side| self.is_of_relations(side, block)))
            }
            "FROMEXPR" => item.nodes("fromlist").all(|item| self.is_of_relations(item, block)),
            _ => false,
        }
    }

    fn is_whole_in_result(&self, rule: &Rule, rules: &[Rule]) -> bool {
        let Some(mut joined) = self.chain(rule, rules) else { return false };
        loop {
            let is_new = |rule: &&Rule| is_of_top_rule(self, rule) && !joined.contains(&rule.occurrence);
            let certain = rules.iter().filter(is_new).find(|other| self.is_certain(other, &joined, rules));
            match certain {
                Some(other) => drop(joined.insert(other.occurrence)),
                None => break,
            }
        }
        let group = self.blocks[0].group;
        (0..self.occurrences.len()).all(|id| self.occurrences[id].group != group || joined.contains(&id))
    }

    /// What the rule links to, step by step: None if a row that it concerns need not find a row of each.
    fn chain(&self, rule: &Rule, rules: &[Rule]) -> Option<BTreeSet<OccurrenceId>> {
        let mut chain = BTreeSet::new();
        let mut next = rule;
        loop {
            if next.left_out || !is_of_top_rule(self, next) || !chain.insert(next.occurrence) {
                return None;
            }
            let link = match &next.links[..] {
                [] => return Some(chain),
                [link] => link,
                _ => return None,
            };
            let linked = &self.occurrences[link.occurrence];
            if linked.source.is_some() && linked.group == self.blocks[0].group {
                chain.insert(link.occurrence);
                return Some(chain);
            }
            next = rules.iter().find(|rule| rule.occurrence == link.occurrence)?;
        }
    }

    /// Does each combination of rows of `joined` find a row of it?
    fn is_certain(&self, rule: &Rule, joined: &BTreeSet<OccurrenceId>, rules: &[Rule]) -> bool {
        let Some(first) = rule.links.first() else { return false };
        let is_bare = rule.local.is_empty() && !rule.left_out;
        let of_one =
            rule.links.iter().all(|link| link.occurrence == first.occurrence) && joined.contains(&first.occurrence);
        let Some(other) = rules.iter().find(|rule| rule.occurrence == first.occurrence) else { return false };
        let Some(relation) = self.facts.relations.get(&other.relation) else { return false };
        let is_one_of = |pair: (i16, i16)| rule.links.iter().any(|link| (link.of, link.column) == pair);
        let refers = relation.foreign_keys.iter().any(|key| {
            key.holds
                && key.relation == rule.relation
                && key.columns.len() == rule.links.len()
                && key.columns.iter().copied().zip(key.referenced.iter().copied()).all(is_one_of)
                && key.columns.iter().all(|column| relation.columns.get(column).is_some_and(|column| column.not_null))
        });
        is_bare && of_one && refers
    }
}

fn is_of_top_rule(blocks: &Blocks<'_>, rule: &Rule) -> bool {
    // One that stands where nothing was looked for has no occurrence.
    blocks.occurrences.get(rule.occurrence).is_some_and(|occurrence| occurrence.group == blocks.blocks[0].group)
}
