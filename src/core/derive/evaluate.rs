//! What a condition says of a row, three-valued as SQL is: for tests, which hold the rules against Postgres' answers.

use std::cmp::Ordering;

use super::expression::Expression;
use super::facts::{Comparison, Family, Operator};

/// As far as tests need them; numbers are small.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Null,
    Number(f64),
    Bool(bool),
    Text(String),
    List(Vec<Value>),
}

impl Value {
    fn truth(&self) -> Option<bool> {
        match self {
            Value::Bool(value) => Some(*value),
            _ => None,
        }
    }

    /// The value of a constant's text, as one of the other side's kind.
    fn read(text: &str, family: Family) -> Value {
        match family {
            Family::Number | Family::Float => Value::Number(text.parse().unwrap()),
            Family::Bool => Value::Bool(text == "true"),
            _ => Value::Text(text.to_owned()),
        }
    }

    /// None: one of them is null.
    pub fn order(&self, other: &Value) -> Option<Ordering> {
        match (self, other) {
            (Value::Null, _) | (_, Value::Null) => None,
            (Value::Number(a), Value::Number(b)) => a.partial_cmp(b),
            (Value::Bool(a), Value::Bool(b)) => Some(a.cmp(b)),
            (Value::Text(a), Value::Text(b)) => Some(a.cmp(b)),
            (a, b) => panic!("{a:?} and {b:?} are not compared"),
        }
    }
}

impl From<Option<bool>> for Value {
    fn from(truth: Option<bool>) -> Value {
        truth.map_or(Value::Null, Value::Bool)
    }
}

impl Expression {
    /// `row`: its columns in their order; `args`: the statement's.
    pub fn holds(&self, row: &[Value], args: &[Value]) -> Option<bool> {
        self.value(row, args, Family::Bool).truth()
    }

    /// `family`: what a constant's text is read as.
    pub fn value(&self, row: &[Value], args: &[Value], family: Family) -> Value {
        let truth = |part: &Expression| part.value(row, args, Family::Bool).truth();
        let compared = |operator: &Operator, sides: &[Expression; 2]| {
            (sides[0].value(row, args, operator.family), sides[1].value(row, args, operator.family))
        };
        match self {
            Expression::Column(column) => row[usize::try_from(*column - 1).unwrap()].clone(),
            Expression::Argument(number) => args[usize::from(*number) - 1].clone(),
            Expression::Constant(None) => Value::Null,
            Expression::Constant(Some(text)) => Value::read(text, family),
            Expression::List(parts) => Value::List(parts.iter().map(|part| part.value(row, args, family)).collect()),
            Expression::Compare(operator, sides) => {
                let (left, right) = compared(operator, sides);
                left.order(&right).map(|order| meets(order, operator.comparison)).into()
            }
            Expression::Distinct(operator, sides) => {
                let (left, right) = compared(operator, sides);
                Value::Bool(match left.order(&right) {
                    Some(order) => order != Ordering::Equal,
                    None => left != right,
                })
            }
            Expression::Any(operator, sides) | Expression::All(operator, sides) => {
                let (left, right) = compared(operator, sides);
                let Value::List(elements) = right else { return Value::Null };
                let of_one = |element: &Value| left.order(element).map(|order| meets(order, operator.comparison));
                let truths: Vec<Option<bool>> = elements.iter().map(of_one).collect();
                match self {
                    Expression::Any(..) => any(truths).into(),
                    _ => all(truths).into(),
                }
            }
            Expression::IsNull(part) => Value::Bool(part.value(row, args, family) == Value::Null),
            Expression::IsNotNull(part) => Value::Bool(part.value(row, args, family) != Value::Null),
            Expression::Truth { is_not, of, expression } => Value::Bool((truth(expression) == *of) != *is_not),
            Expression::Coalesce(parts) => {
                let mut values = parts.iter().map(|part| part.value(row, args, family));
                values.find(|value| *value != Value::Null).unwrap_or(Value::Null)
            }
            Expression::And(parts) => all(parts.iter().map(truth).collect()).into(),
            Expression::Or(parts) => any(parts.iter().map(truth).collect()).into(),
            Expression::Not(part) => truth(part).map(|truth| !truth).into(),
        }
    }
}

fn meets(order: Ordering, comparison: Comparison) -> bool {
    match comparison {
        Comparison::Equal => order.is_eq(),
        Comparison::NotEqual => order.is_ne(),
        Comparison::Less => order.is_lt(),
        Comparison::LessOrEqual => order.is_le(),
        Comparison::Greater => order.is_gt(),
        Comparison::GreaterOrEqual => order.is_ge(),
    }
}

fn any(truths: Vec<Option<bool>>) -> Option<bool> {
    match truths.contains(&Some(true)) {
        true => Some(true),
        false if truths.contains(&None) => None,
        false => Some(false),
    }
}

fn all(truths: Vec<Option<bool>>) -> Option<bool> {
    any(truths.into_iter().map(|truth| truth.map(|truth| !truth)).collect()).map(|truth| !truth)
}
