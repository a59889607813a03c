//! A condition as a predicate of the catalog says it: true of each row of which the condition is.
//!
//! What a predicate cannot compare exactly is not said: the order of texts, padded texts, constants of dates.

use crate::core::calls::pattern::Arg;
use crate::core::calls::predicate::Predicate;
use crate::core::catalog::{ParamSource, Query};
use crate::core::derive::expression::Expression;
use crate::core::derive::facts::{Comparison, Family, Operator};
use crate::core::values::value::ScalarType;

/// Whether more than a condition says may be said instead.
#[derive(Clone, Copy, PartialEq)]
enum Side {
    /// What is said is true of all of which the condition is, and may be of others.
    Wider,
    /// Within a NOT: it must be the same.
    Same,
}

pub(super) struct Words<'a> {
    pub query: &'a Query,
    pub sources: &'a [ParamSource],
    /// How the predicate names a column; whether it may be null.
    pub column: &'a dyn Fn(i16) -> Option<(Box<str>, bool)>,
}

impl Words<'_> {
    /// None: nothing that could be said.
    pub fn wider(&self, condition: &Expression) -> Option<String> {
        let said = self.said(condition, Side::Wider)?;
        if !self.is_predicate(&said) {
            return None;
        }
        let compared = match condition {
            Expression::Compare(_, sides) => sides.iter().find_map(column),
            Expression::Any(_, sides) => column(&sides[0]),
            _ => None,
        };
        match compared {
            // Such a comparison is true of no row that has NULL there, and a predicate's is of each.
            Some(of) => self.present(of, said),
            None if is_joined(&said) => Some(format!("({said})")),
            None => Some(said),
        }
    }

    /// `column = …`, of values that a column of the relation must have; for what it is linked to.
    pub fn one_of(&self, column: i16, family: Family, values: &Values) -> Option<String> {
        let (name, _) = (self.column)(column)?;
        let said = match values {
            Values::Argument(number) => format!("{name} = {}", self.argument(*number, family, false)?),
            Values::Arguments(number) => format!("{name} in {}", self.argument(*number, family, true)?),
            Values::Several(values) => {
                let values = values.iter().map(|value| self.value(value, family, Side::Same));
                match &values.collect::<Option<Vec<String>>>()?[..] {
                    [only] => format!("{name} = {only}"),
                    several => format!("{name} in ({})", several.join(", ")),
                }
            }
        };
        self.is_predicate(&said).then(|| self.present(column, said)).flatten()
    }

    /// With the rows left out that have NULL there: SQL finds none of them.
    pub fn present(&self, column: i16, said: String) -> Option<String> {
        let (name, is_nullable) = (self.column)(column)?;
        Some(if is_nullable { format!("{said} and {name} is not null") } else { said })
    }

    fn args(&self) -> &[Arg] {
        self.query.call.args()
    }

    fn is_predicate(&self, said: &str) -> bool {
        Predicate::parse_linked(said, self.args(), &mut |_| Err(String::new())).is_ok()
    }

    fn arg(&self, number: u16) -> Option<&Arg> {
        match self.sources.get(usize::from(number).checked_sub(1)?)? {
            ParamSource::Arg(index) => self.args().get(*index),
            ParamSource::Tenant => None,
        }
    }

    /// `{name}`, if values of its type are compared as the family does.
    fn argument(&self, number: u16, family: Family, is_array: bool) -> Option<String> {
        let arg = self.arg(number)?;
        let is_alike = match family {
            Family::Number => matches!(arg.ty.scalar, ScalarType::Int | ScalarType::Numeric),
            Family::Float => matches!(arg.ty.scalar, ScalarType::Int | ScalarType::Numeric | ScalarType::Float),
            Family::Text => arg.ty.scalar == ScalarType::Text,
            Family::Bool => arg.ty.scalar == ScalarType::Bool,
            Family::Uuid => arg.ty.scalar == ScalarType::Uuid,
            Family::Time => {
                matches!(arg.ty.scalar, ScalarType::Date | ScalarType::Timestamp | ScalarType::TimestampTz)
            }
            Family::Padded | Family::Enum => false,
        };
        (is_alike && arg.ty.array == is_array).then(|| format!("{{{}}}", arg.name))
    }

    /// May the argument be NULL, since it may be left out?
    fn is_optional(&self, number: u16) -> bool {
        let source = usize::from(number).checked_sub(1).and_then(|at| self.sources.get(at));
        match source {
            Some(ParamSource::Arg(index)) => self.query.call.may_be_null(*index),
            Some(ParamSource::Tenant) => false,
            None => true,
        }
    }

    fn said(&self, condition: &Expression, side: Side) -> Option<String> {
        match condition {
            Expression::Column(number) => Some(format!("{} = true", (self.column)(*number)?.0)),
            Expression::Compare(operator, sides) => {
                let (of, operator, value) = match (column(&sides[0]), column(&sides[1])) {
                    (Some(of), None) => (of, *operator, &sides[1]),
                    (None, Some(of)) => {
                        (of, Operator { comparison: operator.comparison.commuted(), ..*operator }, &sides[0])
                    }
                    _ => return None,
                };
                let value = self.value(value, operator.family, side)?;
                Some(format!("{} {} {value}", (self.column)(of)?.0, operator.comparison.symbol()))
            }
            Expression::Distinct(operator, sides) => {
                let (of, value) = match (column(&sides[0]), column(&sides[1])) {
                    (Some(of), None) => (of, &sides[1]),
                    (None, Some(of)) => (of, &sides[0]),
                    _ => return None,
                };
                let value = self.value(value, operator.family, Side::Same)?;
                Some(format!("{} is distinct from {value}", (self.column)(of)?.0))
            }
            Expression::Any(operator, sides) if operator.comparison == Comparison::Equal => {
                let of = column(&sides[0])?;
                Some(format!("{} in {}", (self.column)(of)?.0, self.values(&sides[1], operator.family)?))
            }
            Expression::All(operator, sides) if operator.comparison == Comparison::NotEqual => {
                let of = column(&sides[0])?;
                Some(format!("{} not in {}", (self.column)(of)?.0, self.values(&sides[1], operator.family)?))
            }
            Expression::IsNull(of) => Some(format!("{} is null", (self.column)(column(of)?)?.0)),
            Expression::IsNotNull(of) => Some(format!("{} is not null", (self.column)(column(of)?)?.0)),
            Expression::Truth { is_not, of: Some(of), expression } => {
                let name = (self.column)(column(expression)?)?.0;
                let not = if *is_not { "not " } else { "" };
                // A NULL there meets both ways, which is wider than either.
                (side == Side::Wider).then(|| format!("{not}{name} = {of}"))
            }
            Expression::And(parts) => {
                let said: Vec<Option<String>> = parts.iter().map(|part| self.within(part, side)).collect();
                let said: Vec<String> = match side {
                    Side::Wider => said.into_iter().flatten().collect(),
                    Side::Same => said.into_iter().collect::<Option<_>>()?,
                };
                (!said.is_empty()).then(|| said.join(" and "))
            }
            Expression::Or(parts) => {
                let mut said = Vec::new();
                for part in parts {
                    match part {
                        // A test of an argument that was left out restricts nothing, so that this need not be said; but then
                        // another part must be about it.
                        Expression::IsNull(of) if matches!(**of, Expression::Argument(_)) && side == Side::Wider => {
                            let Expression::Argument(number) = **of else { return None };
                            let is_said =
                                !self.is_optional(number) || parts.iter().any(|other| is_free_without(other, number));
                            if !is_said {
                                return None;
                            }
                        }
                        part => said.push(self.within(part, side)?),
                    }
                }
                match &said[..] {
                    [] => None,
                    [only] => Some(only.clone()),
                    several => Some(several.join(" or ")),
                }
            }
            Expression::Not(part) => Some(format!("not {}", self.within(part, Side::Same)?)),
            _ => None,
        }
    }

    /// As a part of a greater one.
    fn within(&self, condition: &Expression, side: Side) -> Option<String> {
        let said = self.said(condition, side)?;
        Some(if is_joined(&said) { format!("({said})") } else { said })
    }

    fn value(&self, value: &Expression, family: Family, side: Side) -> Option<String> {
        match value {
            Expression::Argument(number) => self.argument(*number, family, false),
            Expression::Constant(Some(text)) => constant(text, family),
            // Where the argument was left out the test restricts nothing; else this is the argument.
            Expression::Coalesce(parts) if side == Side::Wider => match parts.first()? {
                Expression::Argument(number) => self.argument(*number, family, false),
                _ => None,
            },
            _ => None,
        }
    }

    fn values(&self, values: &Expression, family: Family) -> Option<String> {
        match values {
            Expression::Argument(number) => self.argument(*number, family, true),
            Expression::List(parts) => {
                let parts: Option<Vec<String>> =
                    parts.iter().map(|part| self.value(part, family, Side::Same)).collect();
                parts.filter(|parts| !parts.is_empty()).map(|parts| format!("({})", parts.join(", ")))
            }
            _ => None,
        }
    }
}

fn column(expression: &Expression) -> Option<i16> {
    match expression {
        Expression::Column(number) => Some(*number),
        _ => None,
    }
}

/// Does it need brackets within a greater one? Those around a literal that looks so do no harm.
fn is_joined(said: &str) -> bool {
    said.contains(" and ") || said.contains(" or ") || said.starts_with("not ")
}

/// Values that a column must have one of.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Values {
    Argument(u16),
    /// An array.
    Arguments(u16),
    /// Constants and arguments, at least one.
    Several(Vec<Expression>),
}

impl Values {
    /// None: one of them is neither a constant nor an argument.
    pub fn several(parts: &[Expression]) -> Option<Values> {
        let is_value = |part: &Expression| matches!(part, Expression::Constant(Some(_)) | Expression::Argument(_));
        (!parts.is_empty() && parts.iter().all(is_value)).then(|| Values::Several(parts.to_vec()))
    }

    /// What the conditions demand of the column, if one of them does.
    pub fn of(column: i16, conditions: &[Expression]) -> Option<(Family, Values)> {
        conditions.iter().find_map(|condition| {
            let is_it = |expression: &Expression| *expression == Expression::Column(column);
            match condition {
                Expression::Compare(operator, sides) if condition.is_equality() && operator.family.is_exact() => {
                    let value = match (is_it(&sides[0]), is_it(&sides[1])) {
                        (true, false) => &sides[1],
                        (false, true) => &sides[0],
                        _ => return None,
                    };
                    let values = match value {
                        Expression::Argument(number) => Values::Argument(*number),
                        Expression::Constant(Some(_)) => Values::Several(vec![value.clone()]),
                        _ => return None,
                    };
                    Some((operator.family, values))
                }
                Expression::Any(operator, sides)
                    if condition.is_equality() && operator.family.is_exact() && is_it(&sides[0]) =>
                {
                    let values = match &sides[1] {
                        Expression::Argument(number) => Values::Arguments(*number),
                        Expression::List(parts) => Values::several(parts)?,
                        _ => return None,
                    };
                    Some((operator.family, values))
                }
                _ => None,
            }
        })
    }
}

/// Is the condition, as it is said, met by every row where the argument was left out?
fn is_free_without(condition: &Expression, argument: u16) -> bool {
    let is_it = |expression: &Expression| match expression {
        Expression::Argument(number) => *number == argument,
        Expression::Coalesce(parts) => {
            matches!(parts.first(), Some(Expression::Argument(number)) if *number == argument)
        }
        _ => false,
    };
    match condition {
        Expression::Compare(_, sides) => is_it(&sides[0]) || is_it(&sides[1]),
        Expression::Any(_, sides) | Expression::All(_, sides) => is_it(&sides[1]),
        Expression::Or(parts) => parts.iter().any(|part| is_free_without(part, argument)),
        Expression::And(parts) => !parts.is_empty() && parts.iter().all(|part| is_free_without(part, argument)),
        _ => false,
    }
}

/// Its text as a literal of a predicate.
fn constant(text: &str, family: Family) -> Option<String> {
    match family {
        Family::Number => {
            let is_plain = text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'-' | b'.'));
            is_plain.then(|| text.to_owned())
        }
        Family::Bool => match text {
            "t" | "true" => Some("true".to_owned()),
            "f" | "false" => Some("false".to_owned()),
            _ => None,
        },
        Family::Text | Family::Uuid | Family::Enum => Some(format!("'{}'", text.replace('\'', "''"))),
        Family::Float | Family::Padded | Family::Time => None,
    }
}
