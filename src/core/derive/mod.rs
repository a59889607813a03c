//! What a statement's result depends on, derived from Postgres' own rewritten tree of it.
//!
//! | file | what |
//! |---|---|
//! | `facts` | what must be known of the database beside the tree |
//! | `tree` | reads a tree's text |
//! | `query` | what a query node says of itself |
//! | `blocks` | blocks, and groups of occurrences that inner joins tie together, with their conditions |
//! | `from` | which group each item of a FROM stands in |
//! | `subselects` | which group each subselect in an expression is |
//! | `strict` | columns that are no null where a condition is true |
//! | `columns` | which occurrence's column an expression is; conditions as bear computes them |
//! | `expression` | what bear computes |
//! | `fixtures` | for tests: trees that were checked in |
//! | `evaluate` | for tests: what a condition says of a row |
//! | `constants` | a tree's constants as texts |
//! | `sources` | VALUES, unnest and finished recursions as occurrences with known values |
//! | `rules` | the rules, and their order |
//! | `reads` | columns that decide the result |
//! | `shown` | what the result shows of the rows that decide it |
//! | `page` | full pages, and what is only shown |
//! | `moments` | literals that mean the time at which they are read |
//! | `refusals` | what nothing can be derived of |
//! | `warnings` | where Postgres may answer differently over the same data |
//!
//! A condition, a kind of node or a field that is not known makes the part coarse, never narrower, and is no error.

mod blocks;
mod columns;
mod constants;
#[cfg(test)]
pub mod evaluate;
pub mod expression;
pub mod facts;
#[cfg(test)]
pub mod fixtures;
mod from;
pub mod moments;
mod page;
mod query;
mod reads;
mod refusals;
mod rules;
mod shown;
mod sources;
mod strict;
mod subselects;
#[cfg(test)]
mod tests;
pub mod tree;
mod warnings;

use std::collections::{BTreeMap, BTreeSet};

pub use page::{Count, Key, Page};
pub use reads::Reads;
pub use refusals::{Refusal, Why};
pub use rules::{Link, Rule};
pub use shown::{OccurrenceColumn, Shown};
pub use sources::Source;
pub use warnings::Warning;

use blocks::Blocks;
use facts::{Facts, RelationKind};
use tree::{Node, Value};

/// What is known of a statement's result.
#[derive(Debug, Clone, PartialEq)]
pub struct Derived {
    /// In an order in which each links only to those before it and to sources. Several of one relation are alternatives.
    pub rules: Vec<Rule>,
    /// Occurrences of no relation, by their index.
    pub sources: BTreeMap<usize, Source>,
    pub page: Option<Page>,
    pub shown: Shown,
    /// Is each row of the result made of one combination of rows, and none of them left out before its first?
    pub is_rowwise: bool,
    pub refused: BTreeSet<Refusal>,
    pub warnings: BTreeSet<Warning>,
}

/// `statement`: the one QUERY of a SELECT.
pub fn derive(statement: &Node, facts: &Facts) -> Derived {
    let mut refused = refusals::refusals(statement, facts);
    let mut blocks = Blocks::of(statement, facts);
    if blocks.is_too_great {
        refused.insert(Refusal { what: "this".into(), why: Why::TooGreat });
        let rules = relations(statement, facts).into_iter().map(|relation| unrestricted(0, relation)).collect();
        return Derived {
            rules,
            sources: BTreeMap::new(),
            page: None,
            shown: Shown::default(),
            is_rowwise: false,
            refused,
            warnings: BTreeSet::new(),
        };
    }
    blocks.mark_shown_only();
    let sources = blocks.occurrences.iter().enumerate();
    let sources = sources.filter_map(|(id, occurrence)| Some((id, sources::source(occurrence.source?)?))).collect();
    let page = blocks.page();
    let warnings = blocks.warnings();
    let mut rules = blocks.ordered(blocks.found(), blocks.reads());
    let mut shown = blocks.shown(&rules);
    // What stands where nothing was looked for counts all the same.
    for relation in relations(statement, facts) {
        if !rules.iter().any(|rule| rule.relation == relation) {
            rules.push(unrestricted(blocks.occurrences.len(), relation));
            shown.whole.clear();
        }
    }
    let is_rowwise = query::is_rowwise(statement) && !statement.has("limitOffset");
    Derived { rules, sources, page, shown, is_rowwise, refused, warnings }
}

fn unrestricted(occurrence: usize, relation: u32) -> Rule {
    Rule {
        occurrence,
        relation,
        alias: "".into(),
        local: Vec::new(),
        links: Vec::new(),
        reads: Reads::Anything,
        left_out: true,
        coarse: Some("it stands where bear does not look for conditions"),
        is_shown_only: false,
        is_in_result: false,
    }
}

/// Every relation that the statement reads; views are expanded, so that their own entries count for nothing.
fn relations(statement: &Node, facts: &Facts) -> BTreeSet<u32> {
    fn of_node(node: &Node, found: &mut BTreeSet<u32>) {
        if &*node.kind == "RANGETBLENTRY" && node.text("rtekind") == query::kind::RELATION {
            found.extend(node.number::<u32>("relid"));
        }
        // A WITH that nothing names is not run.
        if &*node.kind == "COMMONTABLEEXPR" && node.number::<u32>("cterefcount") == Some(0) {
            return;
        }
        node.values().for_each(|(_, value)| of_value(value, found));
    }
    fn of_value(value: &Value, found: &mut BTreeSet<u32>) {
        match value {
            Value::Node(node) => of_node(node, found),
            Value::List(values) => values.iter().for_each(|value| of_value(value, found)),
            _ => {}
        }
    }
    let mut found = BTreeSet::new();
    of_node(statement, &mut found);
    found.retain(|oid| facts.relations.get(oid).is_none_or(|relation| relation.kind != RelationKind::View));
    found
}
