//! Subselects in expressions: those that WHERE requires to have a row join the group around them, each other one is a group
//! of its own.

use std::collections::BTreeSet;

use super::blocks::{BlockId, Blocks, Placed, Stand, Substitute};
use super::facts::Facts;
use super::query::{self, conjuncts, kind, targets, Limit};
use super::tree::{Node, Value};

impl<'a> Blocks<'a> {
    /// Subselects that an AND term of WHERE requires to have a row join the group, so that a link table may be read first.
    pub(super) fn join_required(&mut self, block: BlockId) -> Vec<&'a Node> {
        let group = self.blocks[block].group;
        let conditions = self.groups[group].conditions.iter().filter(|condition| condition.block == block);
        let conditions: Vec<&'a Node> = conditions.map(|condition| condition.expression).collect();
        let mut joined = Vec::new();
        for condition in conditions {
            for link in required_subselects(condition, self.facts) {
                let Some(subselect) = link.node("subselect") else { continue };
                let link_kind = link.text("subLinkType");
                let limit = if link_kind == query::ANY { Limit::None } else { Limit::AnyRow };
                if !query::is_joinable(subselect, limit) {
                    continue;
                }
                joined.push(link);
                let first = self.occurrences.len();
                let inner = self.block(subselect, Some(block), group, Stand::Joined, &BTreeSet::new(), false);
                self.blocks[inner].reads_all = link_kind != query::EXISTS;
                for placed in &mut self.groups[group].conditions {
                    placed.is_told |= placed.block == block && std::ptr::eq(placed.expression, link);
                }
                match link_kind {
                    query::ANY => {
                        for test in conjuncts(link.node("testexpr")) {
                            let substitutes = self.columns_of_test(test, inner);
                            let barred = 0..0;
                            self.groups[group].conditions.push(Placed {
                                expression: test,
                                block,
                                substitutes,
                                barred,
                                is_told: false,
                            });
                        }
                    }
                    query::SCALAR if &*condition.kind == "OPEXPR" => {
                        let Some(target) = targets(subselect).next() else { continue };
                        let substitute =
                            Substitute { of: link, by: target.expression, block: inner, is_crossing: false };
                        // Which row is the first hangs on all of them, whatever the condition says.
                        let barred = match subselect.has("limitCount") {
                            true => first..self.occurrences.len(),
                            false => 0..0,
                        };
                        self.groups[group].conditions.push(Placed {
                            expression: condition,
                            block,
                            substitutes: vec![substitute],
                            barred,
                            is_told: false,
                        });
                    }
                    _ => {}
                }
            }
        }
        joined
    }

    /// In the test of an IN, the columns of the subselect where Postgres names them by number.
    fn columns_of_test(&self, test: &'a Node, inner: BlockId) -> Vec<Substitute<'a>> {
        let mut params = Vec::new();
        each_node(&mut params, test, &|node| &*node.kind == "PARAM" && node.text("paramkind") == "2");
        let query = self.blocks[inner].query;
        let column = |param: &'a Node| {
            let target = query::target(query, param.number("paramid")?)?;
            Some(Substitute { of: param, by: target.expression, block: inner, is_crossing: false })
        };
        params.into_iter().filter_map(column).collect()
    }

    /// Every other subselect is a group of its own; what links it outward stays a link.
    pub(super) fn other_subselects(&mut self, block: BlockId, joined: &[&'a Node]) {
        let query = self.blocks[block].query;
        for (name, value) in query.values() {
            match name {
                "targetList" => {
                    for target in query.nodes("targetList") {
                        let before = self.is_shown_only;
                        let is_of_result = self.blocks[block].up.is_none() && query::is_rowwise(query);
                        self.is_shown_only = before || is_of_result && target.text("ressortgroupref") == "0";
                        self.subselects(target, block, joined);
                        self.is_shown_only = before;
                    }
                }
                // A WITH counts where it is named.
                "cteList" => {}
                "rtable" => {
                    for entry in query.nodes("rtable") {
                        if [kind::RELATION, kind::SUBQUERY].contains(&entry.text("rtekind")) {
                            self.subselects_in(entry.get("securityQuals"), block, joined);
                        } else {
                            self.subselects(entry, block, joined);
                        }
                    }
                }
                _ => self.subselects_in(value, block, joined),
            }
        }
    }

    fn subselects_in(&mut self, value: &'a Value, block: BlockId, joined: &[&'a Node]) {
        match value {
            Value::Node(node) => self.subselects(node, block, joined),
            Value::List(values) => values.iter().for_each(|value| self.subselects_in(value, block, joined)),
            _ => {}
        }
    }

    fn subselects(&mut self, node: &'a Node, block: BlockId, joined: &[&'a Node]) {
        match &*node.kind {
            "SUBLINK" => {
                self.subselects_in(node.get("testexpr"), block, joined);
                if joined.iter().any(|joined| std::ptr::eq(*joined, node)) {
                    return;
                }
                let Some(subselect) = node.node("subselect") else { return };
                let group = self.inner(self.blocks[block].group, None);
                let inner = self.block(subselect, Some(block), group, Stand::Alone, &BTreeSet::new(), false);
                self.blocks[inner].reads_all = node.text("subLinkType") != query::EXISTS;
            }
            "QUERY" => {}
            _ => node.values().for_each(|(_, value)| self.subselects_in(value, block, joined)),
        }
    }
}

/// Subselects that must have a row where the condition is true: EXISTS, IN, a scalar one that is not null or under a strict operator.
fn required_subselects<'a>(condition: &'a Node, facts: &Facts) -> Vec<&'a Node> {
    let is_scalar = |node: &&'a Node| &*node.kind == "SUBLINK" && node.text("subLinkType") == query::SCALAR;
    match &*condition.kind {
        "SUBLINK" if [query::EXISTS, query::ANY].contains(&condition.text("subLinkType")) => vec![condition],
        "NULLTEST" if condition.text("nulltesttype") == "1" => {
            condition.node("arg").filter(is_scalar).into_iter().collect()
        }
        "OPEXPR" if condition.list("args").len() == 2 && facts.is_strict(condition) => {
            condition.nodes("args").filter(is_scalar).collect()
        }
        _ => Vec::new(),
    }
}

/// Every node within `node` that is sought, not looked into.
fn each_node<'a>(found: &mut Vec<&'a Node>, node: &'a Node, is_sought: &impl Fn(&Node) -> bool) {
    fn in_value<'a>(found: &mut Vec<&'a Node>, value: &'a Value, is_sought: &impl Fn(&Node) -> bool) {
        match value {
            Value::Node(node) => each_node(found, node, is_sought),
            Value::List(values) => values.iter().for_each(|value| in_value(found, value, is_sought)),
            _ => {}
        }
    }
    match is_sought(node) {
        true => found.push(node),
        false => node.values().for_each(|(_, value)| in_value(found, value, is_sought)),
    }
}
