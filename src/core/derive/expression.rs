//! Conditions as bear computes them, and what they say of a row.

use std::fmt;

use super::facts::{Comparison, Operator};

/// Over columns of one relation, arguments and constants. `C` is how a column is named: by its number.
#[derive(Debug, Clone, PartialEq)]
pub enum Expression<C = i16> {
    Column(C),
    /// `$1` is 1.
    Argument(u16),
    /// Its text as Postgres writes it; None is null.
    Constant(Option<Box<str>>),
    /// `ARRAY[…]`
    List(Vec<Expression<C>>),
    /// Null if a side is.
    Compare(Operator, Box<[Expression<C>; 2]>),
    /// IS DISTINCT FROM; never null.
    Distinct(Operator, Box<[Expression<C>; 2]>),
    /// `x = any (array)`
    Any(Operator, Box<[Expression<C>; 2]>),
    /// `x <> all (array)`; true of no elements.
    All(Operator, Box<[Expression<C>; 2]>),
    IsNull(Box<Expression<C>>),
    IsNotNull(Box<Expression<C>>),
    /// IS TRUE, and with `is_not` IS NOT TRUE; None: UNKNOWN.
    Truth {
        is_not: bool,
        of: Option<bool>,
        expression: Box<Expression<C>>,
    },
    /// The first that is no null.
    Coalesce(Vec<Expression<C>>),
    And(Vec<Expression<C>>),
    Or(Vec<Expression<C>>),
    Not(Box<Expression<C>>),
}

impl<C> Expression<C> {
    pub fn parts(&self) -> &[Expression<C>] {
        match self {
            Expression::Column(_) | Expression::Argument(_) | Expression::Constant(_) => &[],
            Expression::List(parts) | Expression::Coalesce(parts) | Expression::And(parts) | Expression::Or(parts) => {
                parts
            }
            Expression::Compare(_, sides)
            | Expression::Distinct(_, sides)
            | Expression::Any(_, sides)
            | Expression::All(_, sides) => &sides[..],
            Expression::IsNull(part)
            | Expression::IsNotNull(part)
            | Expression::Not(part)
            | Expression::Truth { expression: part, .. } => std::slice::from_ref(part),
        }
    }

    /// Every column in it.
    pub fn columns(&self) -> Vec<&C> {
        match self {
            Expression::Column(column) => vec![column],
            _ => self.parts().iter().flat_map(Expression::columns).collect(),
        }
    }

    /// The same over other names of columns; None if one has no name.
    pub(super) fn renamed<D>(&self, name: &impl Fn(&C) -> Option<D>) -> Option<Expression<D>> {
        let all = |parts: &[Expression<C>]| parts.iter().map(|part| part.renamed(name)).collect::<Option<Vec<_>>>();
        let sides = |sides: &[Expression<C>; 2]| Some(Box::new([sides[0].renamed(name)?, sides[1].renamed(name)?]));
        Some(match self {
            Expression::Column(column) => Expression::Column(name(column)?),
            Expression::Argument(number) => Expression::Argument(*number),
            Expression::Constant(text) => Expression::Constant(text.clone()),
            Expression::List(parts) => Expression::List(all(parts)?),
            Expression::Compare(operator, both) => Expression::Compare(*operator, sides(both)?),
            Expression::Distinct(operator, both) => Expression::Distinct(*operator, sides(both)?),
            Expression::Any(operator, both) => Expression::Any(*operator, sides(both)?),
            Expression::All(operator, both) => Expression::All(*operator, sides(both)?),
            Expression::IsNull(part) => Expression::IsNull(Box::new(part.renamed(name)?)),
            Expression::IsNotNull(part) => Expression::IsNotNull(Box::new(part.renamed(name)?)),
            Expression::Truth { is_not, of, expression } => {
                Expression::Truth { is_not: *is_not, of: *of, expression: Box::new(expression.renamed(name)?) }
            }
            Expression::Coalesce(parts) => Expression::Coalesce(all(parts)?),
            Expression::And(parts) => Expression::And(all(parts)?),
            Expression::Or(parts) => Expression::Or(all(parts)?),
            Expression::Not(part) => Expression::Not(Box::new(part.renamed(name)?)),
        })
    }

    /// Whether it demands that a column equals a value, which entries can be looked up by.
    pub fn is_equality(&self) -> bool {
        match self {
            Expression::Compare(operator, _) | Expression::Any(operator, _) => operator.comparison == Comparison::Equal,
            _ => false,
        }
    }
}

impl<C: PartialEq + Clone> Expression<C> {
    /// What it demands of a row that has the columns which `name` names: a condition that is true wherever this one is.
    /// None: nothing.
    pub(super) fn restricted<D>(&self, name: &impl Fn(&C) -> Option<D>) -> Option<Expression<D>> {
        match self {
            Expression::And(parts) => {
                let mut kept: Vec<_> = parts.iter().filter_map(|part| part.restricted(name)).collect();
                match kept.len() {
                    0 => None,
                    1 => kept.pop(),
                    _ => Some(Expression::And(kept)),
                }
            }
            Expression::Or(parts) => {
                parts.iter().map(|part| part.restricted(name)).collect::<Option<Vec<_>>>().map(Expression::Or)
            }
            part => part.renamed(name),
        }
    }
}

impl<C: fmt::Display> fmt::Display for Expression<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let joined = |f: &mut fmt::Formatter<'_>, parts: &[Expression<C>], between: &str| {
            parts.iter().enumerate().try_for_each(|(i, part)| match i {
                0 => write!(f, "{part}"),
                _ => write!(f, "{between}{part}"),
            })
        };
        match self {
            Expression::Column(column) => write!(f, "{column}"),
            Expression::Argument(number) => write!(f, "${number}"),
            Expression::Constant(None) => f.write_str("null"),
            Expression::Constant(Some(text)) => write!(f, "'{}'", text.replace('\'', "''")),
            Expression::List(parts) => {
                f.write_str("array[")?;
                joined(f, parts, ", ")?;
                f.write_str("]")
            }
            Expression::Compare(operator, sides) => {
                write!(f, "{} {} {}", sides[0], operator.comparison.symbol(), sides[1])
            }
            Expression::Distinct(_, sides) => write!(f, "{} is distinct from {}", sides[0], sides[1]),
            Expression::Any(operator, sides) => {
                write!(f, "{} {} any ({})", sides[0], operator.comparison.symbol(), sides[1])
            }
            Expression::All(operator, sides) => {
                write!(f, "{} {} all ({})", sides[0], operator.comparison.symbol(), sides[1])
            }
            Expression::IsNull(part) => write!(f, "{part} is null"),
            Expression::IsNotNull(part) => write!(f, "{part} is not null"),
            Expression::Truth { is_not, of, expression } => {
                let not = if *is_not { "not " } else { "" };
                let of = of.map_or("unknown", |of| if of { "true" } else { "false" });
                write!(f, "{expression} is {not}{of}")
            }
            Expression::Coalesce(parts) => {
                f.write_str("coalesce(")?;
                joined(f, parts, ", ")?;
                f.write_str(")")
            }
            Expression::And(parts) => {
                f.write_str("(")?;
                joined(f, parts, " and ")?;
                f.write_str(")")
            }
            Expression::Or(parts) => {
                f.write_str("(")?;
                joined(f, parts, " or ")?;
                f.write_str(")")
            }
            Expression::Not(part) => write!(f, "not ({part})"),
        }
    }
}
