//! Conditions in the catalog's words, for messages: what the SQL demands, and the line that would be right.

use crate::core::catalog::{ParamSource, Query};
use crate::core::derive::expression::Expression;
use crate::core::derive::facts::Relation;

pub(super) struct Words<'a> {
    pub(super) relation: &'a Relation,
    pub(super) query: &'a Query,
    pub(super) sources: &'a [ParamSource],
}

impl Words<'_> {
    pub(super) fn column(&self, number: i16) -> String {
        self.relation.columns.get(&number).map_or_else(|| format!("column {number}"), |column| column.name.to_string())
    }

    fn argument(&self, number: u16) -> String {
        match usize::from(number).checked_sub(1).and_then(|at| self.sources.get(at)) {
            Some(ParamSource::Arg(index)) => match self.query.call.args().get(*index) {
                Some(arg) => format!("{{{}}}", arg.name),
                None => format!("${number}"),
            },
            Some(ParamSource::Tenant) => "{tenant}".to_owned(),
            None => format!("${number}"),
        }
    }

    /// All of them.
    pub(super) fn conditions(&self, conditions: &[Expression]) -> String {
        let said: Vec<String> = conditions.iter().map(|condition| self.one(condition, conditions.len() > 1)).collect();
        said.join(" and ")
    }

    /// `within` others: an OR stands in brackets.
    fn one(&self, condition: &Expression, within: bool) -> String {
        let joined = |parts: &[Expression], between: &str| {
            parts.iter().map(|part| self.one(part, true)).collect::<Vec<_>>().join(between)
        };
        match condition {
            Expression::Column(number) => self.column(*number),
            Expression::Argument(number) => self.argument(*number),
            Expression::Constant(None) => "null".to_owned(),
            Expression::Constant(Some(text)) => match text.parse::<f64>() {
                Ok(_) => text.to_string(),
                Err(_) => format!("'{}'", text.replace('\'', "''")),
            },
            Expression::List(parts) => format!("array[{}]", joined(parts, ", ")),
            Expression::Compare(operator, sides) => match &**sides {
                [Expression::Column(column), value] => {
                    format!("{} {} {}", self.column(*column), operator.comparison.symbol(), self.one(value, true))
                }
                [value, Expression::Column(column)] => {
                    let symbol = operator.comparison.commuted().symbol();
                    format!("{} {symbol} {}", self.column(*column), self.one(value, true))
                }
                [left, right] => {
                    format!("{} {} {}", self.one(left, true), operator.comparison.symbol(), self.one(right, true))
                }
            },
            Expression::Any(operator, sides) if operator.comparison.symbol() == "=" => {
                format!("{} in {}", self.one(&sides[0], true), self.one(&sides[1], true))
            }
            // One that is free where its argument was left out: a predicate's are anyway.
            Expression::Or(parts) => {
                let is_free = |part: &&Expression| matches!(part, Expression::IsNull(of) if matches!(**of, Expression::Argument(_)));
                let kept: Vec<&Expression> = parts.iter().filter(|part| !is_free(part)).collect();
                match kept[..] {
                    [only] => self.one(only, within),
                    _ if within => format!("({})", joined(parts, " or ")),
                    _ => joined(parts, " or "),
                }
            }
            Expression::And(parts) => joined(parts, " and "),
            Expression::Not(part) => format!("not {}", self.one(part, true)),
            Expression::IsNull(part) => format!("{} is null", self.one(part, true)),
            Expression::IsNotNull(part) => format!("{} is not null", self.one(part, true)),
            Expression::Distinct(_, sides) => {
                format!("{} is distinct from {}", self.one(&sides[0], true), self.one(&sides[1], true))
            }
            other => self.as_sql(other),
        }
    }

    fn as_sql(&self, condition: &Expression) -> String {
        let parts: Vec<String> = condition.parts().iter().map(|part| self.one(part, true)).collect();
        match condition {
            Expression::Coalesce(_) => format!("coalesce({})", parts.join(", ")),
            Expression::Truth { is_not, of, .. } => {
                let not = if *is_not { "not " } else { "" };
                let of = of.map_or("unknown", |of| if of { "true" } else { "false" });
                format!("{} is {not}{of}", parts.concat())
            }
            Expression::All(operator, _) => {
                format!("{} {} all {}", parts[0], operator.comparison.symbol(), parts[1..].concat())
            }
            _ => parts.join(", "),
        }
    }
}
