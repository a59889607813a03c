//! Which column of which relation an expression is, and where the SQL compares an argument otherwise than a predicate does.

use crate::core::derive::facts::Facts;
use crate::core::derive::tree::{Node, Value};

/// A column of a relation, by its oid.
pub type Origin = (u32, i16);

/// Names that stand for names, and nodes within each other.
const MAX_DEPTH: usize = 500;

/// Where a column of the result comes from, or the elements of one that `array_agg` makes; None: from no column alone.
pub fn of_target(query: &Node, name: &str, facts: &Facts) -> Option<Origin> {
    let expression = target(query, name)?;
    let is_list = |node: &Node| {
        let function = node.number("aggfnoid").and_then(|oid: u32| facts.functions.get(&oid));
        function.is_some_and(|function| &*function.schema == "pg_catalog" && &*function.name == "array_agg")
    };
    match &*expression.kind {
        "AGGREF" if is_list(expression) && !expression.has("aggfilter") => {
            of_expression(&[query], expression.nodes("args").next()?.node("expr")?)
        }
        _ => of_expression(&[query], expression),
    }
}

/// Of all columns of the result that come from one of a relation.
pub fn of_all_targets(query: &Node, facts: &Facts) -> Vec<(Box<str>, Origin)> {
    let names = query.nodes("targetList").filter(|target| !target.is("resjunk")).map(|target| target.text("resname"));
    names.filter_map(|name| Some((name.into(), of_target(query, name, facts)?))).collect()
}

pub fn target<'a>(query: &'a Node, name: &str) -> Option<&'a Node> {
    let mut shown = query.nodes("targetList").filter(|target| !target.is("resjunk"));
    shown.find(|target| target.text("resname") == name)?.node("expr")
}

/// `blocks`: the statement and the subselects that the expression is within, outermost first.
fn of_expression<'a>(blocks: &[&'a Node], expression: &'a Node) -> Option<Origin> {
    let mut blocks = blocks.to_vec();
    let mut expression = expression;
    for _ in 0..MAX_DEPTH {
        match &*expression.kind {
            "RELABELTYPE" => expression = expression.node("arg")?,
            "VAR" => {
                let up = expression.number::<usize>("varlevelsup")?;
                blocks.truncate(blocks.len().checked_sub(up)?);
                let block = *blocks.last()?;
                let number = expression.number::<i16>("varattno")?;
                let at = usize::try_from(number).ok()?.checked_sub(1)?;
                let entry = block.nodes("rtable").nth(expression.number::<usize>("varno")?.checked_sub(1)?)?;
                expression = match entry.number::<u8>("rtekind")? {
                    0 => return Some((entry.number("relid")?, number)),
                    1 => {
                        let inner = entry.node("subquery").filter(|inner| !inner.has("setOperations"))?;
                        blocks.push(inner);
                        inner.nodes("targetList").find(|target| target.number("resno") == Some(number))?.node("expr")?
                    }
                    2 => entry.list("joinaliasvars").get(at)?.node()?,
                    9 => entry.list("groupexprs").get(at)?.node()?,
                    _ => return None,
                };
            }
            _ => return None,
        }
    }
    None
}

/// A column that the SQL compares with an argument by an equality that is not that of their texts.
#[derive(Debug, PartialEq)]
pub(super) struct Otherwise {
    pub(super) column: Origin,
    /// `$1` is 1.
    pub(super) argument: usize,
    /// As what: a type, or a collation.
    pub(super) compared_as: &'static str,
}

/// Of these types two texts may be one value: the types, and their arrays.
const SPELLED_VARIOUSLY: [(u32, u32, &str); 5] =
    [(2950, 2951, "uuid"), (869, 1041, "inet"), (650, 651, "cidr"), (1186, 1187, "interval"), (16, 1000, "bool")];

pub(super) fn compared_otherwise(query: &Node, facts: &Facts) -> Vec<Otherwise> {
    let mut found = Vec::new();
    gather(&mut vec![query], query, facts, 0, &mut found);
    found
}

fn gather<'a>(blocks: &mut Vec<&'a Node>, node: &'a Node, facts: &Facts, depth: usize, found: &mut Vec<Otherwise>) {
    if depth > MAX_DEPTH {
        return;
    }
    if matches!(&*node.kind, "OPEXPR" | "SCALARARRAYOPEXPR" | "DISTINCTEXPR") {
        found.extend(otherwise(blocks, node, facts));
    }
    for (_, value) in node.values() {
        each_node(value, &mut |inner| {
            let is_block = &*inner.kind == "QUERY";
            if is_block {
                blocks.push(inner);
            }
            gather(blocks, inner, facts, depth + 1, found);
            if is_block {
                blocks.pop();
            }
        });
    }
}

fn each_node<'a>(value: &'a Value, each: &mut impl FnMut(&'a Node)) {
    match value {
        Value::Node(node) => each(node),
        Value::List(values) => values.iter().for_each(|value| each_node(value, each)),
        Value::Nothing | Value::Text(_) | Value::Bytes(_) => {}
    }
}

fn otherwise<'a>(blocks: &[&'a Node], comparison: &'a Node, facts: &Facts) -> Option<Otherwise> {
    let sides: Vec<&Node> = comparison.nodes("args").collect();
    let [one, other] = sides[..] else { return None };
    let (column, value) = match (of_expression(blocks, one), of_expression(blocks, other)) {
        (Some(column), None) => (column, other),
        (None, Some(column)) => (column, one),
        _ => return None,
    };
    if let Some(argument) = argument(value) {
        let collation = comparison.number("inputcollid").and_then(|oid: u32| facts.collations.get(&oid));
        let ignores = collation == Some(&false);
        return ignores.then_some(Otherwise {
            column,
            argument,
            compared_as: "a collation to which different texts are equal",
        });
    }
    let result: u32 = value.number("resulttype")?;
    let (_, _, compared_as) =
        SPELLED_VARIOUSLY.into_iter().find(|(scalar, array, _)| [*scalar, *array].contains(&result))?;
    let argument = match &*value.kind {
        "COERCEVIAIO" | "ARRAYCOERCEEXPR" => argument(value.node("arg")?)?,
        _ => return None,
    };
    Some(Otherwise { column, argument, compared_as })
}

/// `$1` is 1.
fn argument(expression: &Node) -> Option<usize> {
    match &*expression.kind {
        "RELABELTYPE" => argument(expression.node("arg")?),
        "PARAM" if expression.number("paramkind") == Some(0_u8) => expression.number("paramid"),
        _ => None,
    }
}
