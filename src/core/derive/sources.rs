//! Sources without tables whose values are known: VALUES and unnest of arguments and constants, and a recursive WITH once
//! it is finished.

use super::constants::constant;
use super::expression::Expression;
use super::query::kind;
use super::tree::Node;

/// `unnest(anyarray)`
const UNNEST: u32 = 2331;

/// Where an occurrence of no relation has its values from.
#[derive(Debug, Clone, PartialEq)]
pub enum Source {
    /// Rows of arguments and constants.
    Values(Vec<Vec<Expression>>),
    /// The elements of an array: its one column.
    Unnest(Expression),
    /// The finished rows of the recursive WITH of that name.
    Recursion(Box<str>),
}

pub(super) fn is_source(entry: &Node) -> bool {
    source(entry).is_some()
}

pub(super) fn source(entry: &Node) -> Option<Source> {
    match entry.text("rtekind") {
        kind::WITH => Some(Source::Recursion(entry.text("ctename").into())),
        kind::VALUES => {
            let row = |row: &super::tree::Value| row.list().iter().map(|value| flat(value.node()?)).collect();
            entry.list("values_lists").iter().map(row).collect::<Option<Vec<_>>>().map(Source::Values)
        }
        kind::FUNCTION if !entry.is("funcordinality") && entry.list("functions").len() == 1 => {
            let call = entry.nodes("functions").next()?.node("funcexpr")?;
            let is_unnest = &*call.kind == "FUNCEXPR" && call.number("funcid") == Some(UNNEST);
            let array = call.nodes("args").next()?;
            is_unnest.then(|| flat(array)).flatten().map(Source::Unnest)
        }
        _ => None,
    }
}

/// An argument or a constant.
fn flat(node: &Node) -> Option<Expression> {
    match &*node.kind {
        "PARAM" if node.text("paramkind") == "0" => node.number("paramid").map(Expression::Argument),
        "CONST" => constant(node),
        "RELABELTYPE" => flat(node.node("arg")?),
        "ARRAYEXPR" if !node.is("multidims") => {
            node.nodes("elements").map(flat).collect::<Option<_>>().map(Expression::List)
        }
        _ => None,
    }
}
