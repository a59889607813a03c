//! What a query node says of itself: is it plain, is each of its rows one combination of rows, what its AND terms are.

use super::tree::{Node, Value};

/// `JoinType` as Postgres numbers it.
pub(super) const INNER: &str = "0";
pub(super) const LEFT: &str = "1";
pub(super) const FULL: &str = "2";
pub(super) const RIGHT: &str = "3";

/// `SubLinkType`.
pub(super) const EXISTS: &str = "0";
pub(super) const ANY: &str = "2";
pub(super) const SCALAR: &str = "4";
pub(super) const ARRAY: &str = "6";

/// `RTEKind`.
pub(super) mod kind {
    pub const RELATION: &str = "0";
    pub const SUBQUERY: &str = "1";
    pub const JOIN: &str = "2";
    pub const FUNCTION: &str = "3";
    pub const VALUES: &str = "5";
    pub const WITH: &str = "6";
    /// Since 18: the grouped columns.
    pub const GROUP: &str = "9";
}

/// `int8(int4)`, which stands around the count of a LIMIT.
const INT8_OF_INT4: u32 = 481;

/// Casts of `pg_catalog` that leave a number as it is: of int2, int4 and int8 to wider ones and to numeric, and of int2 and
/// int4 to float8.
const WIDENING: [u32; 8] = [INT8_OF_INT4, 754, 313, 1740, 1781, 1782, 316, 235];

/// Of numeric to float8, which rounds.
const FLOAT8_OF_NUMERIC: u32 = 1746;

/// What an expression is another name of: without what changes its type or collation, and leaves its value.
pub(super) fn relabelled(node: &Node) -> Option<&Node> {
    match &*node.kind {
        "RELABELTYPE" | "COLLATEEXPR" => node.node("arg"),
        "FUNCEXPR" if node.number("funcid").is_some_and(|function| WIDENING.contains(&function)) => {
            node.nodes("args").next()
        }
        "FUNCEXPR" if node.number("funcid") == Some(FLOAT8_OF_NUMERIC) => {
            node.nodes("args").next().filter(|arg| ["CONST", "PARAM"].contains(&&*arg.kind))
        }
        _ => None,
    }
}

/// Fields that make rows of anything but one combination of rows.
const GROUPING: [&str; 3] = ["groupClause", "groupingSets", "havingQual"];
const COMPUTING: [&str; 3] = ["hasAggs", "hasWindowFuncs", "hasTargetSRFs"];

/// Neither an aggregate, DISTINCT, window, LIMIT, set operation, set-returning target nor WITH: its relations may join those around it.
pub(super) fn is_plain(query: &Node) -> bool {
    !query.has("distinctClause") && is_plain_but_distinct(query)
}

pub(super) fn is_plain_but_distinct(query: &Node) -> bool {
    let fields = ["setOperations", "limitCount", "limitOffset", "cteList"];
    !fields.iter().chain(&GROUPING).any(|field| query.has(field)) && !COMPUTING.iter().any(|flag| query.is(flag))
}

/// Is each row of the result made of one combination of rows?
pub(super) fn is_rowwise(query: &Node) -> bool {
    !["setOperations", "distinctClause"].iter().chain(&GROUPING).any(|field| query.has(field))
        && !COMPUTING.iter().any(|flag| query.is(flag))
}

/// May the relations of a subselect that must have a row be treated as joined? DISTINCT does not matter; DISTINCT ON does,
/// for which row it keeps hangs on the others.
/// `Limit::AnyRow`: nor does a LIMIT of one row or more.
pub(super) fn is_joinable(query: &Node, limit: Limit) -> bool {
    let has_room = match (query.node("limitCount").map(without_widening), limit) {
        (None, _) => true,
        (Some(count), Limit::AnyRow) => {
            &*count.kind == "CONST" && !count.is("constisnull") && constant_count(count).is_some_and(|count| count > 0)
        }
        (Some(_), Limit::None) => false,
    };
    let fields = ["setOperations", "limitOffset", "cteList"];
    has_room
        && !query.is("hasDistinctOn")
        && !fields.iter().chain(&GROUPING).any(|field| query.has(field))
        && !COMPUTING.iter().any(|flag| query.is(flag))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Limit {
    None,
    AnyRow,
}

pub(super) fn without_widening(mut node: &Node) -> &Node {
    while &*node.kind == "FUNCEXPR" && node.number("funcid") == Some(INT8_OF_INT4) {
        let Some(arg) = node.nodes("args").next() else { break };
        node = arg;
    }
    node
}

/// Of a constant of type int4 or int8.
pub(super) fn constant_count(node: &Node) -> Option<i64> {
    match (node.number("consttype")?, node.get("constvalue")) {
        (23u32, Value::Bytes(bytes)) => Some(i32::from_le_bytes(bytes.get(..4)?.try_into().ok()?).into()),
        (20, Value::Bytes(bytes)) => Some(i64::from_le_bytes(bytes.get(..8)?.try_into().ok()?)),
        _ => None,
    }
}

/// The terms that must all hold.
pub(super) fn conjuncts(node: Option<&Node>) -> Vec<&Node> {
    let Some(node) = node else { return Vec::new() };
    match &*node.kind {
        "BOOLEXPR" if node.text("boolop") == "and" => node.nodes("args").flat_map(|arg| conjuncts(Some(arg))).collect(),
        _ => vec![node],
    }
}

/// A column of a query's result; the junk that only orders or groups too.
#[derive(Debug, Clone, Copy)]
pub(super) struct Target<'a> {
    pub number: i16,
    pub expression: &'a Node,
    /// What ORDER BY, GROUP BY, DISTINCT and windows call it; 0: none does.
    pub reference: u32,
}

pub(super) fn targets(query: &Node) -> impl Iterator<Item = Target<'_>> {
    query.nodes("targetList").filter_map(|target| {
        Some(Target {
            number: target.number("resno")?,
            expression: target.node("expr")?,
            reference: target.number("ressortgroupref").unwrap_or(0),
        })
    })
}

pub(super) fn target(query: &Node, number: i16) -> Option<Target<'_>> {
    targets(query).find(|target| target.number == number)
}

/// The references of a list of SORTGROUPCLAUSEs.
pub(super) fn references(query: &Node, list: &str) -> Vec<u32> {
    query.nodes(list).filter_map(reference).collect()
}

/// Numbers of the columns through which a condition from outside may enter the query. `is_exact`: whether the values of a
/// column that a clause calls equal are so for every condition that bear computes.
pub(super) fn open_columns(query: &Node, is_exact: impl Fn(&Node, &Node) -> bool) -> Vec<i16> {
    let has_windows = query.is("hasWindowFuncs");
    let has_groups = query.has("groupClause");
    if is_plain(query) {
        return targets(query).map(|target| target.number).collect();
    }
    let clauses: Vec<&Node> = if query.has("distinctClause") {
        match is_plain_but_distinct(query) {
            true => query.nodes("distinctClause").collect(),
            false => Vec::new(),
        }
    } else if ["limitCount", "limitOffset", "setOperations"].iter().any(|field| query.has(field))
        || query.is("hasTargetSRFs")
    {
        Vec::new()
    } else if has_groups && !query.has("groupingSets") && !has_windows {
        query.nodes("groupClause").collect()
    } else if has_windows && !has_groups && !query.is("hasAggs") && !query.has("havingQual") {
        let mut windows = query.nodes("windowClause");
        let first: Vec<&Node> =
            windows.next().map(|window| window.nodes("partitionClause").collect()).unwrap_or_default();
        let others: Vec<Vec<u32>> = windows.map(|window| references(window, "partitionClause")).collect();
        let is_shared =
            |clause: &&Node| reference(clause).is_some_and(|own| others.iter().all(|other| other.contains(&own)));
        first.into_iter().filter(is_shared).collect()
    } else {
        Vec::new()
    };
    let is_open = |target: &Target| {
        let own = clauses.iter().find(|clause| target.reference != 0 && reference(clause) == Some(target.reference));
        own.is_some_and(|clause| is_exact(clause, target.expression))
    };
    targets(query).filter(is_open).map(|target| target.number).collect()
}

fn reference(clause: &Node) -> Option<u32> {
    clause.number("tleSortGroupRef")
}
