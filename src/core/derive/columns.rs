//! Which occurrence's column an expression is, through joins, views, subselects and grouping; and conditions of the tree as
//! expressions that bear computes.

use super::blocks::{Block, BlockId, Blocks, Entry, OccurrenceId, Placed, Substitute};
use super::constants::constant;
use super::expression::Expression;
use super::facts::{Comparison, Family, Operator};
use super::query::{self, kind};
use super::tree::{Node, Value};

/// A column of an occurrence, seen from somewhere.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Column {
    pub occurrence: OccurrenceId,
    pub number: i16,
    /// A boundary lies between that lets no condition through.
    pub is_crossed: bool,
}

/// What a name of a tree stands for.
pub(super) enum Named<'a> {
    Entry { entry: Entry<'a>, block: BlockId, column: i16 },
    Nothing,
}

/// Whether a condition may say "perhaps" of a row: where it must be true it may, where its falsehood counts it may not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sign {
    MustHold,
    Any,
}

impl<'a> Blocks<'a> {
    /// The entry of a range table that a VAR in `block` names.
    pub fn named(&self, var: &Node, block: BlockId) -> Named<'a> {
        let mut block = block;
        for _ in 0..var.number("varlevelsup").unwrap_or(0) {
            let Some(up) = self.blocks[block].up else { return Named::Nothing };
            block = up;
        }
        let index = var.number::<usize>("varno").and_then(|number| number.checked_sub(1));
        let entry = index.and_then(|index| self.blocks[block].entries.get(index));
        match (entry, var.number("varattno")) {
            (Some(entry), Some(column)) => Named::Entry { entry: *entry, block, column },
            _ => Named::Nothing,
        }
    }

    pub fn column(&self, node: &'a Node, block: BlockId, substitutes: &[Substitute<'a>]) -> Option<Column> {
        let (mut node, mut block, mut is_crossed) = (node, block, false);
        loop {
            if let Some(substitute) = substitutes.iter().find(|substitute| std::ptr::eq(substitute.of, node)) {
                is_crossed |= substitute.is_crossing;
                block = substitute.block;
                node = substitute.by;
            }
            if let Some(inner) = query::relabelled(node) {
                node = inner;
                continue;
            }
            match &*node.kind {
                "VAR" => {
                    let Named::Entry { entry, block: holder, column } = self.named(node, block) else { return None };
                    if column <= 0 {
                        return None;
                    }
                    block = holder;
                    match entry {
                        Entry::Occurrence(occurrence) => {
                            return Some(Column { occurrence, number: column, is_crossed });
                        }
                        Entry::Block(inner) => {
                            let Block { query, open, .. } = &self.blocks[inner];
                            if query.has("setOperations") {
                                return None;
                            }
                            is_crossed |= !open.contains(&column);
                            node = query::target(query, column)?.expression;
                            block = inner;
                        }
                        Entry::Other(entry) => node = aliased(entry, column)?.node()?,
                        Entry::Unread => return None,
                    }
                }
                _ => return None,
            }
        }
    }

    /// The condition once for each arm of the set operation whose columns it names, each with the occurrences that it may
    /// restrict (None: any); else as it is.
    pub fn arms(&self, placed: &Placed<'a>) -> Vec<(Placed<'a>, Option<Vec<OccurrenceId>>)> {
        let mut named: Vec<(&'a Node, BlockId, i16)> = Vec::new();
        self.set_operations(placed.expression, placed, &mut named);
        let Some(&(_, united, _)) = named.first() else { return vec![(placed.clone(), None)] };
        if named.iter().any(|(_, other, _)| *other != united) {
            return Vec::new();
        }
        let Block { query, entries, .. } = &self.blocks[united];
        // What is cut off hangs on the other rows.
        if query.has("limitCount") || query.has("limitOffset") {
            return Vec::new();
        }
        let operations = query.get("setOperations").node();
        if !named.iter().all(|(_, _, column)| operations.is_some_and(|node| self.keeps_apart(node, *column))) {
            return Vec::new();
        }
        let arm = |entry: &Entry<'a>| {
            let Entry::Block(arm) = *entry else { return None };
            let Block { query, group, open, .. } = &self.blocks[arm];
            let mut placed = placed.clone();
            for (var, _, column) in &named {
                let by = query::target(query, *column)?.expression;
                placed.substitutes.push(Substitute { of: var, by, block: arm, is_crossing: !open.contains(column) });
            }
            let within = |id: &OccurrenceId| self.is_within(self.occurrences[*id].group, *group);
            Some((placed, Some((0..self.occurrences.len()).filter(within).collect())))
        };
        entries.iter().map(arm).collect::<Option<Vec<_>>>().unwrap_or_default()
    }

    /// Whether values of the column that the set operations take for one are one to each condition.
    fn keeps_apart(&self, operation: &Node, column: i16) -> bool {
        if &*operation.kind != "SETOPERATIONSTMT" {
            return true;
        }
        let index = usize::try_from(column - 1).unwrap_or(usize::MAX);
        let collation = operation.get("colCollations").numbers().nth(index).unwrap_or(0);
        let is_exact = match operation.list("groupClauses").get(index).and_then(Value::node) {
            Some(clause) => self.facts.is_exact_under(clause.number("eqop").unwrap_or(0), collation),
            // Only UNION ALL has none.
            None => operation.list("groupClauses").is_empty(),
        };
        let arms = [operation.node("larg"), operation.node("rarg")];
        is_exact && arms.into_iter().flatten().all(|arm| self.keeps_apart(arm, column))
    }

    fn set_operations(&self, node: &'a Node, placed: &Placed<'a>, named: &mut Vec<(&'a Node, BlockId, i16)>) {
        if placed.substitutes.iter().any(|substitute| std::ptr::eq(substitute.of, node)) {
            return;
        }
        match &*node.kind {
            "SUBLINK" | "QUERY" => {}
            "VAR" => {
                let Named::Entry { entry: Entry::Block(block), column, .. } = self.named(node, placed.block) else {
                    return;
                };
                if self.blocks[block].query.has("setOperations") {
                    named.push((node, block, column));
                }
            }
            _ => node.values().for_each(|(_, value)| self.set_operations_in(value, placed, named)),
        }
    }

    fn set_operations_in(&self, value: &'a Value, placed: &Placed<'a>, named: &mut Vec<(&'a Node, BlockId, i16)>) {
        match value {
            Value::Node(node) => self.set_operations(node, placed, named),
            Value::List(values) => values.iter().for_each(|value| self.set_operations_in(value, placed, named)),
            _ => {}
        }
    }

    /// The condition as bear computes it; parts of an AND that it cannot are left out, for each only narrows.
    pub fn condition(&self, placed: &Placed<'a>) -> Option<Expression<Column>> {
        self.converted(placed.expression, placed, Sign::MustHold)
    }

    /// Whether no part of the condition was left out.
    pub fn is_whole(&self, placed: &Placed<'a>) -> bool {
        self.converted(placed.expression, placed, Sign::Any).is_some()
    }

    fn converted(&self, node: &'a Node, placed: &Placed<'a>, sign: Sign) -> Option<Expression<Column>> {
        let is_substituted = placed.substitutes.iter().any(|substitute| std::ptr::eq(substitute.of, node));
        let convert = |node: &'a Node| self.converted(node, placed, Sign::Any);
        let boxed = |node: &'a Node| convert(node.node("arg")?).map(Box::new);
        let all = |field: &str| node.nodes(field).map(convert).collect::<Option<Vec<_>>>();
        match &*node.kind {
            _ if is_substituted => self.column_of(node, placed),
            "VAR" => self.column_of(node, placed),
            "RELABELTYPE" | "COLLATEEXPR" | "FUNCEXPR" => convert(query::relabelled(node)?),
            "PARAM" if node.text("paramkind") == "0" => node.number("paramid").map(Expression::Argument),
            "CONST" => constant(node),
            "ARRAYEXPR" if !node.is("multidims") => all("elements").map(Expression::List),
            "OPEXPR" | "DISTINCTEXPR" | "SCALARARRAYOPEXPR" => self.compared(node, placed, sign),
            "ROWCOMPAREEXPR" => self.rows_compared(node, placed, sign),
            "NULLTEST" if !node.is("argisrow") => match node.text("nulltesttype") {
                "0" => boxed(node).map(Expression::IsNull),
                "1" => boxed(node).map(Expression::IsNotNull),
                _ => None,
            },
            "BOOLEANTEST" => {
                let (is_not, of) = match node.number::<u8>("booltesttype")? {
                    0 => (false, Some(true)),
                    1 => (true, Some(true)),
                    2 => (false, Some(false)),
                    3 => (true, Some(false)),
                    4 => (false, None),
                    5 => (true, None),
                    _ => return None,
                };
                boxed(node).map(|expression| Expression::Truth { is_not, of, expression })
            }
            "COALESCEEXPR" => all("args").map(Expression::Coalesce),
            "BOOLEXPR" => match node.text("boolop") {
                "and" if sign == Sign::MustHold => {
                    let parts = node.nodes("args").filter_map(|arg| self.converted(arg, placed, sign));
                    let parts: Vec<_> = parts.collect();
                    (!parts.is_empty()).then_some(Expression::And(parts))
                }
                "and" => all("args").map(Expression::And),
                "or" => {
                    let parts = node.nodes("args").map(|arg| self.converted(arg, placed, sign));
                    parts.collect::<Option<Vec<_>>>().map(Expression::Or)
                }
                "not" => convert(node.nodes("args").next()?).map(|part| Expression::Not(Box::new(part))),
                _ => None,
            },
            _ => None,
        }
    }

    /// `(a, b) > (c, d)` is `a > c or (a = c and b > d)`, also where one is null.
    fn rows_compared(&self, node: &'a Node, placed: &Placed<'a>, sign: Sign) -> Option<Expression<Column>> {
        // `RowCompareType`, since 18 `CompareType` with the same numbers; = and <> are printed as operators.
        let (strict, last) = match node.number::<u8>("rctype").or_else(|| node.number("cmptype"))? {
            1 => (Comparison::Less, Comparison::Less),
            2 => (Comparison::Less, Comparison::LessOrEqual),
            4 => (Comparison::Greater, Comparison::GreaterOrEqual),
            5 => (Comparison::Greater, Comparison::Greater),
            _ => return None,
        };
        let collations: Vec<u32> = node.get("inputcollids").numbers().collect();
        let columns = node.get("opnos").numbers().enumerate().zip(node.nodes("largs").zip(node.nodes("rargs")));
        let mut equal: Vec<Expression<Column>> = Vec::new();
        let mut ways = Vec::new();
        let count = node.list("largs").len();
        for ((i, operator), (left, right)) in columns {
            let column = || {
                let operator = self.facts.computed_under(operator, collations.get(i).copied().unwrap_or(0))?;
                let is_told = operator.family != Family::Float || sign == Sign::MustHold;
                let sides = [self.converted(left, placed, Sign::Any)?, self.converted(right, placed, Sign::Any)?];
                is_told.then_some((operator, Box::new(sides)))
            };
            let Some((operator, sides)) = column() else {
                // What the columns before it demand, it demands.
                if sign == Sign::Any || equal.is_empty() {
                    return None;
                }
                ways.push(if equal.len() == 1 { equal.remove(0) } else { Expression::And(equal) });
                return Some(Expression::Or(ways));
            };
            let with = |comparison| Expression::Compare(Operator { comparison, ..operator }, sides.clone());
            let mut way = equal.clone();
            way.push(with(if i + 1 == count { last } else { strict }));
            ways.push(if way.len() == 1 { way.remove(0) } else { Expression::And(way) });
            equal.push(with(Comparison::Equal));
        }
        (ways.len() == count && count > 0).then_some(Expression::Or(ways))
    }

    fn column_of(&self, node: &'a Node, placed: &Placed<'a>) -> Option<Expression<Column>> {
        let column = self.column(node, placed.block, &placed.substitutes)?;
        if let Some(relation) = self.occurrences[column.occurrence].relation {
            let is_known =
                self.facts.relations.get(&relation).is_some_and(|it| it.columns.contains_key(&column.number));
            if !is_known || !self.facts.is_in_image(relation, column.number) {
                return None;
            }
        }
        Some(Expression::Column(column))
    }

    fn compared(&self, node: &'a Node, placed: &Placed<'a>, sign: Sign) -> Option<Expression<Column>> {
        let operator = self.facts.computed(node)?;
        // What may only be near a number may be said to hold, never not to.
        if operator.family == Family::Float && (sign != Sign::MustHold || operator.comparison == Comparison::NotEqual) {
            return None;
        }
        let [left, right] = node.list("args") else { return None };
        let left = self.converted(left.node()?, placed, Sign::Any)?;
        let right = self.converted(right.node()?, placed, Sign::Any)?;
        match &*node.kind {
            "OPEXPR" => Some(Expression::Compare(operator, Box::new([left, right]))),
            "DISTINCTEXPR" if operator.family != Family::Float => {
                Some(Expression::Distinct(operator, Box::new([left, right])))
            }
            "SCALARARRAYOPEXPR" => {
                // An array in a column is none of bear's.
                let is_array = matches!(right, Expression::List(_) | Expression::Argument(_) | Expression::Constant(_));
                let sides = Box::new([left, right]);
                is_array.then_some(match node.is("useOr") {
                    true => Expression::Any(operator, sides),
                    false => Expression::All(operator, sides),
                })
            }
            _ => None,
        }
    }
}

/// What a column of a join or of the grouped columns stands for.
pub(super) fn aliased(entry: &Node, column: i16) -> Option<&Value> {
    let list = match entry.text("rtekind") {
        kind::JOIN => entry.list("joinaliasvars"),
        kind::GROUP => entry.list("groupexprs"),
        _ => return None,
    };
    list.get(usize::try_from(column).ok()?.checked_sub(1)?)
}
