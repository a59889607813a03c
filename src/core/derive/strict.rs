//! Columns that are no null where a condition is true.

use super::facts::Facts;
use super::query::{self, kind};
use super::tree::Node;

/// Entries and columns of this block that are not null where the condition is true.
pub(super) fn strict(condition: &Node, query: &Node, facts: &Facts) -> Vec<(usize, i16)> {
    let is_strict = match &*condition.kind {
        "OPEXPR" => true,
        // `null <> all ('{}')` is true.
        "SCALARARRAYOPEXPR" => condition.is("useOr"),
        _ => false,
    };
    match is_strict && facts.is_strict(condition) {
        true => condition.nodes("args").filter_map(|arg| plain_column(arg, query)).collect(),
        false => Vec::new(),
    }
}

/// The entry and column that an expression is, through relabelling and joins.
pub(super) fn plain_column<'a>(mut node: &'a Node, query: &'a Node) -> Option<(usize, i16)> {
    loop {
        if let Some(inner) = query::relabelled(node) {
            node = inner;
            continue;
        }
        match &*node.kind {
            "VAR" if node.number("varlevelsup") == Some(0) => {
                let column = node.number::<i16>("varattno").filter(|column| *column > 0)?;
                let index = node.number::<usize>("varno")?.checked_sub(1)?;
                let entry = query.list("rtable").get(index)?.node()?;
                if entry.text("rtekind") != kind::JOIN {
                    return Some((index, column));
                }
                node = entry.list("joinaliasvars").get(usize::try_from(column).ok()? - 1)?.node()?;
            }
            _ => return None,
        }
    }
}
