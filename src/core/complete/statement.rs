//! A rule as a SELECT of the rows that it concerns: what is left out of it makes it select more.

use std::collections::BTreeMap;

use super::homes::{id_type, sql_name};
use crate::core::catalog::{ParamSource, Query};
use crate::core::derive::expression::Expression;
use crate::core::derive::facts::{Comparison, Facts, Family, Relation};
use crate::core::derive::{Link, Rule, Source};
use crate::core::sql::spelling::as_needed;
use crate::core::values::value::ScalarType;

/// Rules within rules; one beyond is left out.
const MAX_DEPTH: usize = 6;

/// A statement of more bytes is nobody's to read, or to plan.
const MAX_BYTES: usize = 8 << 10;

pub(super) struct Statements<'a> {
    pub query: &'a Query,
    pub sources: &'a [ParamSource],
    pub rules: &'a [Rule],
    pub given: &'a BTreeMap<usize, Source>,
    pub facts: &'a Facts,
}

/// What is compared with a column.
struct Of<'a> {
    relation: &'a Relation,
    alias: String,
}

impl Of<'_> {
    fn column(&self, number: i16) -> Option<String> {
        Some(format!("{}.{}", self.alias, as_needed(&self.relation.columns.get(&number)?.name)))
    }
}

impl Statements<'_> {
    /// A SELECT of the columns of all rows that the rule concerns; None: it is too great, or its relation is not known.
    pub fn rows(&self, rule: &Rule, column: i16) -> Option<String> {
        let statement = self.select(rule, column, 0)?;
        (statement.len() <= MAX_BYTES).then_some(statement)
    }

    /// A column of the rule's rows, as its statement calls it; by its text where bear knows no such type.
    pub fn column(&self, rule: &Rule, column: i16) -> Option<String> {
        let of = self.of(rule)?;
        let (_, is_text) = id_type(of.relation.columns.get(&column)?.type_oid);
        let name = of.column(column)?;
        Some(if is_text { format!("{name}::text") } else { name })
    }

    fn of(&self, rule: &Rule) -> Option<Of<'_>> {
        let relation = self.facts.relations.get(&rule.relation)?;
        let alias = if rule.alias.is_empty() { &relation.name } else { &rule.alias };
        Some(Of { relation, alias: as_needed(alias) })
    }

    fn select(&self, rule: &Rule, column: i16, depth: usize) -> Option<String> {
        let of = self.of(rule)?;
        let selected = match depth {
            0 => self.column(rule, column)?,
            _ => of.column(column)?,
        };
        let mut conditions: Vec<String> = rule.local.iter().filter_map(|local| self.sql(local, &of, None)).collect();
        for link in &rule.links {
            if let Some(condition) = self.link(&of, link, depth) {
                conditions.push(condition);
            }
        }
        let name = sql_name(of.relation);
        let from = if of.alias == as_needed(&of.relation.name) { name } else { format!("{name} {}", of.alias) };
        let conditions = match conditions.is_empty() {
            true => String::new(),
            false => format!(" WHERE {}", conditions.join(" AND ")),
        };
        Some(format!("SELECT {selected} FROM {from}{conditions}"))
    }

    fn link(&self, of: &Of, link: &Link, depth: usize) -> Option<String> {
        let column = of.column(link.column)?;
        match self.given.get(&link.occurrence) {
            Some(Source::Unnest(array)) => {
                Some(format!("{column} = ANY({})", self.value(array, of, Some(link.family))?))
            }
            Some(Source::Values(rows)) => {
                let at = usize::try_from(link.of).ok()?.checked_sub(1)?;
                let values = rows.iter().map(|row| self.value(row.get(at)?, of, Some(link.family)));
                Some(format!("{column} IN ({})", values.collect::<Option<Vec<_>>>()?.join(", ")))
            }
            Some(Source::Recursion(_)) => None,
            None if depth >= MAX_DEPTH => None,
            None => {
                let other = self.rules.iter().find(|rule| rule.occurrence == link.occurrence)?;
                let rows = self.select(other, link.of, depth + 1)?;
                (rows.len() <= MAX_BYTES).then(|| format!("{column} IN ({rows})"))
            }
        }
    }

    /// `{name}`; of a padded text, as one.
    fn argument(&self, number: u16, family: Option<Family>, is_array: bool) -> Option<String> {
        let name = match self.sources.get(usize::from(number).checked_sub(1)?)? {
            ParamSource::Arg(index) => format!("{{{}}}", self.query.call.args().get(*index)?.name),
            ParamSource::Tenant => "{tenant}".to_owned(),
        };
        Some(match (family, is_array) {
            (Some(Family::Padded), false) => format!("{name}::bpchar"),
            (Some(Family::Padded), true) => format!("{name}::bpchar[]"),
            _ => name,
        })
    }

    /// None: it cannot be written, and is left out where all must hold.
    fn sql(&self, condition: &Expression, of: &Of, family: Option<Family>) -> Option<String> {
        let all = |parts: &[Expression], family| -> Option<Vec<String>> {
            parts.iter().map(|part| self.sql(part, of, family)).collect()
        };
        Some(match condition {
            Expression::Column(number) => of.column(*number)?,
            Expression::Argument(number) => self.argument(*number, family, false)?,
            Expression::Constant(text) => literal(text.as_deref(), family),
            Expression::List(parts) => format!("ARRAY[{}]", all(parts, family)?.join(", ")),
            Expression::Compare(operator, sides) => {
                let sides = all(&sides[..], Some(operator.family))?;
                format!("{} {} {}", sides[0], operator.comparison.symbol(), sides[1])
            }
            Expression::Distinct(operator, sides) => {
                let sides = all(&sides[..], Some(operator.family))?;
                format!("{} IS DISTINCT FROM {}", sides[0], sides[1])
            }
            Expression::Any(operator, sides) => {
                let one = self.sql(&sides[0], of, Some(operator.family))?;
                match &sides[1] {
                    Expression::List(parts) if operator.comparison == Comparison::Equal && !parts.is_empty() => {
                        format!("{one} IN ({})", all(parts, Some(operator.family))?.join(", "))
                    }
                    values => format!(
                        "{one} {} ANY({})",
                        operator.comparison.symbol(),
                        self.value(values, of, Some(operator.family))?
                    ),
                }
            }
            Expression::All(operator, sides) => {
                let one = self.sql(&sides[0], of, Some(operator.family))?;
                match &sides[1] {
                    Expression::List(parts) if operator.comparison == Comparison::NotEqual && !parts.is_empty() => {
                        format!("{one} NOT IN ({})", all(parts, Some(operator.family))?.join(", "))
                    }
                    values => format!(
                        "{one} {} ALL({})",
                        operator.comparison.symbol(),
                        self.value(values, of, Some(operator.family))?
                    ),
                }
            }
            Expression::IsNull(part) => format!("{} IS NULL", self.sql(part, of, None)?),
            Expression::IsNotNull(part) => format!("{} IS NOT NULL", self.sql(part, of, None)?),
            Expression::Truth { is_not, of: truth, expression } => {
                let not = if *is_not { "NOT " } else { "" };
                let truth = truth.map_or("UNKNOWN", |truth| if truth { "TRUE" } else { "FALSE" });
                format!("({}) IS {not}{truth}", self.sql(expression, of, None)?)
            }
            Expression::Coalesce(parts) => format!("coalesce({})", all(parts, family)?.join(", ")),
            Expression::And(parts) => format!("({})", all(parts, None)?.join(" AND ")),
            Expression::Or(parts) if parts.is_empty() => "false".to_owned(),
            Expression::Or(parts) => format!("({})", all(parts, None)?.join(" OR ")),
            Expression::Not(part) => format!("NOT ({})", self.sql(part, of, None)?),
        })
    }

    /// An array, or one value.
    fn value(&self, value: &Expression, of: &Of, family: Option<Family>) -> Option<String> {
        match value {
            Expression::Argument(number) => {
                let is_array =
                    self.sources.get(usize::from(*number).checked_sub(1)?).is_some_and(|source| match source {
                        ParamSource::Arg(index) => self.query.call.args().get(*index).is_some_and(|arg| arg.ty.array),
                        ParamSource::Tenant => false,
                    });
                self.argument(*number, family, is_array)
            }
            value => self.sql(value, of, family),
        }
    }
}

/// Of unknown type, but for numbers: what it is compared with gives it one.
fn literal(text: Option<&str>, family: Option<Family>) -> String {
    let Some(text) = text else { return "NULL".to_owned() };
    let is_number = matches!(family, Some(Family::Number)) && text.parse::<f64>().is_ok_and(f64::is_finite);
    match is_number {
        true if text.starts_with('-') => format!("({text})"),
        true => text.to_owned(),
        // A brace in a literal would be taken for a placeholder.
        false => format!("'{}'", text.replace('\'', "''").replace('{', "{' || '")),
    }
}

/// The type of Postgres' that values of this type are sent as.
pub(super) fn cast(ty: ScalarType) -> &'static str {
    match ty {
        ScalarType::Int => "bigint",
        ScalarType::Float => "float8",
        ScalarType::Numeric => "numeric",
        ScalarType::Bool => "boolean",
        ScalarType::Text => "text",
        ScalarType::Uuid => "uuid",
        ScalarType::Date => "date",
        ScalarType::Timestamp => "timestamp",
        ScalarType::TimestampTz => "timestamptz",
        ScalarType::Json => "jsonb",
    }
}
