//! Where Postgres itself may answer differently over the same data, after any update that moves a row.

use std::collections::BTreeSet;
use std::fmt;

use super::blocks::{Block, BlockId, Blocks, Entry, OccurrenceId};
use super::columns::Column;
use super::expression::Expression;
use super::facts::{Comparison, Facts};
use super::query::{self, references};
use super::tree::{Node, Value};

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Warning {
    /// LIMIT, OFFSET or DISTINCT ON over rows whose order nothing decides in full.
    Order,
    /// An aggregate that keeps the order of its rows, without ORDER BY.
    Aggregate(Box<str>),
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Warning::Order => f.write_str("LIMIT without an ORDER BY that decides the order in full: which rows are shown may change without a change of any of them"),
            Warning::Aggregate(name) => {
                write!(f, "{name} without ORDER BY: the order of its elements may change without a change of any of them")
            }
        }
    }
}

/// Aggregates whose result shows the order of their rows.
const ORDERED: [&str; 10] = [
    "array_agg",
    "string_agg",
    "json_agg",
    "jsonb_agg",
    "json_object_agg",
    "json_agg_strict",
    "jsonb_agg_strict",
    "xmlagg",
    "json_arrayagg",
    "jsonb_arrayagg",
];

impl<'a> Blocks<'a> {
    pub fn warnings(&self) -> BTreeSet<Warning> {
        let mut warnings = BTreeSet::new();
        let mut exists = Vec::new();
        for block in &self.blocks {
            subselects_of_exists(block.query, &mut exists);
        }
        for (id, block) in self.blocks.iter().enumerate() {
            let cuts =
                block.query.has("limitCount") || block.query.has("limitOffset") || block.query.is("hasDistinctOn");
            let is_of_exists = exists.iter().any(|query| std::ptr::eq(*query, block.query));
            if cuts && !is_of_exists && !self.has_total_order(id) {
                warnings.insert(Warning::Order);
            }
            if !has_ordered_input(block.query) {
                for (name, value) in block.query.values() {
                    if !["rtable", "cteList", "targetList"].contains(&name) {
                        unordered_aggregates(value, self.facts, &mut warnings);
                    }
                }
                // What lists rows beside the result is shown to nobody.
                let is_hidden =
                    |target: &&Value| target.node().is_some_and(|node| node.text("resname").starts_with('_'));
                for target in block.query.list("targetList").iter().filter(|target| id != 0 || !is_hidden(target)) {
                    unordered_aggregates(target, self.facts, &mut warnings);
                }
            }
        }
        warnings
    }

    /// Are two rows that sort alike one and the same?
    fn has_total_order(&self, id: BlockId) -> bool {
        let block = &self.blocks[id];
        let query = block.query;
        let sorted: BTreeSet<u32> = references(query, "sortClause").into_iter().collect();
        if query::targets(query).all(|target| sorted.contains(&target.reference)) {
            return true;
        }
        if query.has("setOperations") || query.is("hasTargetSRFs") || query.has("groupingSets") {
            return false;
        }
        if query.has("distinctClause") && !query.is("hasDistinctOn") {
            return references(query, "distinctClause").iter().all(|reference| sorted.contains(reference));
        }
        if query.has("groupClause") {
            return references(query, "groupClause").iter().all(|reference| sorted.contains(reference));
        }
        if query.is("hasAggs") {
            return true;
        }
        self.decides_every_row(block, id, &sorted)
    }

    /// Whether the sorted columns decide the row of each occurrence in FROM: by a unique key, or by what equals one.
    fn decides_every_row(&self, block: &Block<'a>, id: BlockId, sorted: &BTreeSet<u32>) -> bool {
        let mut members = Vec::new();
        if !self.members(block, &mut members) {
            return false;
        }
        let mut known: BTreeSet<(OccurrenceId, i16)> = query::targets(block.query)
            .filter(|target| sorted.contains(&target.reference))
            .filter_map(|target| self.column(target.expression, id, &[]))
            .map(|column| (column.occurrence, column.number))
            .collect();
        let groups: BTreeSet<usize> = members.iter().map(|id| self.occurrences[*id].group).collect();
        let placed = groups.iter().flat_map(|group| &self.groups[*group].conditions);
        let conditions: Vec<Expression<Column>> = placed.filter_map(|placed| self.condition(placed)).collect();
        loop {
            let before = known.len();
            for condition in &conditions {
                let Expression::Compare(operator, sides) = condition else { continue };
                if operator.comparison != Comparison::Equal {
                    continue;
                }
                for (side, other) in [(&sides[0], &sides[1]), (&sides[1], &sides[0])] {
                    let Expression::Column(column) = side else { continue };
                    if other.columns().iter().all(|column| known.contains(&(column.occurrence, column.number))) {
                        known.insert((column.occurrence, column.number));
                    }
                }
            }
            for occurrence in &members {
                let Some(relation) = self.occurrences[*occurrence].relation else { continue };
                let Some(relation) = self.facts.relations.get(&relation) else { continue };
                let is_decided = relation.unique.iter().any(|key| {
                    let is_key = relation.primary_key.as_ref() == Some(key);
                    let is_not_null = |column: &i16| relation.columns.get(column).is_some_and(|column| column.not_null);
                    key.iter().all(|column| known.contains(&(*occurrence, *column)) && (is_key || is_not_null(column)))
                });
                if is_decided {
                    known.extend(relation.columns.keys().map(|column| (*occurrence, *column)));
                }
            }
            if known.len() == before {
                break;
            }
        }
        let is_decided = |occurrence: &OccurrenceId| {
            let relation = self.occurrences[*occurrence].relation;
            let relation = relation.and_then(|relation| self.facts.relations.get(&relation));
            relation
                .is_some_and(|relation| relation.columns.keys().all(|column| known.contains(&(*occurrence, *column))))
        };
        members.iter().all(is_decided)
    }

    /// The occurrences in the FROM of a block, through plain blocks; false where it holds anything else.
    fn members(&self, block: &Block<'a>, members: &mut Vec<OccurrenceId>) -> bool {
        block.entries.iter().all(|entry| match entry {
            Entry::Occurrence(id) => {
                members.push(*id);
                true
            }
            Entry::Block(inner) => {
                let inner = &self.blocks[*inner];
                query::is_plain(inner.query) && self.members(inner, members)
            }
            Entry::Other(entry) => [query::kind::JOIN, query::kind::GROUP].contains(&entry.text("rtekind")),
            Entry::Unread => true,
        })
    }
}

/// Its rows come from one subquery that is sorted, as `json_agg` is often fed.
fn has_ordered_input(query: &Node) -> bool {
    let mut entries = query.nodes("rtable").filter(|entry| entry.text("rtekind") != query::kind::GROUP);
    let (Some(entry), None) = (entries.next(), entries.next()) else { return false };
    !query.has("groupClause") && entry.node("subquery").is_some_and(|subquery| subquery.has("sortClause"))
}

fn subselects_of_exists<'a>(node: &'a Node, found: &mut Vec<&'a Node>) {
    fn in_value<'a>(value: &'a Value, found: &mut Vec<&'a Node>) {
        match value {
            Value::Node(node) => subselects_of_exists(node, found),
            Value::List(values) => values.iter().for_each(|value| in_value(value, found)),
            _ => {}
        }
    }
    if &*node.kind == "SUBLINK" && node.text("subLinkType") == query::EXISTS {
        found.extend(node.node("subselect"));
    }
    node.values().for_each(|(_, value)| in_value(value, found));
}

/// Aggregates, and arrays of subselects, in an expression of a block, not in those of the blocks within.
fn unordered_aggregates(value: &Value, facts: &Facts, warnings: &mut BTreeSet<Warning>) {
    match value {
        Value::Node(node) => {
            if &*node.kind == "AGGREF" && node.list("aggorder").is_empty() {
                let function = node.number("aggfnoid").and_then(|oid: u32| facts.functions.get(&oid));
                let name = function.map(|function| &*function.name).filter(|name| ORDERED.contains(name));
                warnings.extend(name.map(|name| Warning::Aggregate(name.into())));
            }
            if &*node.kind == "SUBLINK" {
                let query = node.node("subselect");
                if node.text("subLinkType") == query::ARRAY && query.is_some_and(|query| !query.has("sortClause")) {
                    warnings.insert(Warning::Aggregate("ARRAY(SELECT …)".into()));
                }
                return unordered_aggregates(node.get("testexpr"), facts, warnings);
            }
            node.values().for_each(|(_, value)| unordered_aggregates(value, facts, warnings));
        }
        Value::List(values) => values.iter().for_each(|value| unordered_aggregates(value, facts, warnings)),
        _ => {}
    }
}
