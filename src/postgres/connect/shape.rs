//! The query around a catalog's query: finished JSON, ids and the hidden columns in one round trip.
//!
//! Hidden are `_until` and `_<section>`; any other column that begins with an underscore is an error, for a typing
//! mistake in a section's name would otherwise show up as staleness.

use crate::core::catalog::fetch_plan::FetchPlan;
use crate::core::catalog::lists::MAX_LISTED;
use crate::core::values::value::ScalarType;

use super::columns::{quote_name, Column, Family};

/// Whether an output column is `text` or `text[]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::postgres) enum Arity {
    One,
    Many,
}

/// The wrapped query and where its output columns are; column 0 is the JSON of the row.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::postgres) struct Shape {
    pub(in crate::postgres) sql: String,
    /// The JSON has no whitespace outside strings as it comes.
    pub(in crate::postgres) compact: bool,
    pub(in crate::postgres) id: Option<usize>,
    /// Milliseconds, int8.
    pub(in crate::postgres) until: Option<usize>,
    pub(in crate::postgres) listed: Vec<(Box<str>, usize, Arity)>,
    pub(in crate::postgres) tags: Vec<(usize, Arity)>,
    /// Of the last row.
    pub(in crate::postgres) last: Vec<usize>,
    /// What the statements of the plan's `lists` give, as arrays of text, in a row of its own whose JSON is NULL.
    pub(in crate::postgres) lists: Option<usize>,
}

impl Shape {
    /// Fails with what is wrong and what would be right.
    pub(in crate::postgres) fn new(plan: &FetchPlan, columns: &[Column]) -> Result<Shape, String> {
        let mut outputs = Vec::new();
        let mut output = |expression: String| {
            outputs.push(expression);
            outputs.len()
        };
        let id = match (plan.row_id, columns.iter().find(|column| column.name == "id")) {
            (None, _) => None,
            // An aggregate may list what it counted instead: `array_agg(id) AS _bear`.
            (Some(_), None) if lists(plan, columns, &plan.section) => None,
            (Some(_), None) => {
                return Err(format!(
                    "the query must return the row id as 'id', or the ids of its rows as '_{}', or say rows = false",
                    plan.section
                ))
            }
            (Some(row_id), Some(column)) => {
                check_id(row_id, column)?;
                Some(output("q.\"id\"::pg_catalog.text".to_owned()))
            }
        };
        let mut until = None;
        let mut listed = Vec::new();
        let mut visible = Vec::new();
        for column in columns {
            match hidden(plan, column)? {
                None => visible.push(column),
                Some(Hidden::Last) => {}
                Some(Hidden::Until) => until = Some(output(until_expression())),
                Some(Hidden::Section(section)) => {
                    let (expression, arity) = as_text(column);
                    listed.push((section.into(), output(expression), arity));
                }
            }
        }
        let mut tags = Vec::new();
        for name in &plan.tag_columns {
            let column = columns.iter().find(|column| column.name == **name);
            let column = column
                .ok_or_else(|| format!("a tag is made of the column '{name}', which the query does not return"))?;
            let (expression, arity) = as_text(column);
            tags.push((output(expression), arity));
        }
        let mut last = Vec::new();
        for (name, ty) in &plan.last {
            let column = columns.iter().find(|column| column.name == **name).ok_or_else(|| {
                format!("match or on compares with '{name}' of the last row, which the query does not return")
            })?;
            check_sort_key(*ty, column)?;
            last.push(output(as_text(column).0));
        }
        if let Some(section) = plan
            .compared
            .iter()
            .find(|section| !(lists(plan, columns, section) || (**section == plan.section && id.is_some())))
        {
            return Err(format!(
                "match or on compares with '_{section}', the rows of '{section}' that the result lists: list them, in a column of \
                 that name or by a statement of 'lists'"
            ));
        }
        // With a star, for a bare name would mean a column of that name where there is one.
        let (json, visible_row) = match visible.len() == columns.len() {
            true => ("row_to_json(q.*)", String::new()),
            false => {
                let names: Vec<String> =
                    visible.iter().map(|column| format!("q.{}", quote_name(&column.name))).collect();
                // The planner makes one row expression of it; a sub-select in place of it took a third longer.
                ("row_to_json(v.*)", format!(", LATERAL (SELECT {}) v", names.join(", ")))
            }
        };
        let many = outputs.len();
        let outputs: String = outputs.iter().map(|expression| format!(", {expression}")).collect();
        // The line feed ends a comment that the query may end in. Two rows are enough to see that one was too many.
        let limit = if plan.single { " LIMIT 2" } else { "" };
        let outputs = outputs + &", NULL::pg_catalog.text[]".repeat(plan.lists.len());
        let mut sql =
            format!("SELECT pg_catalog.{json}::pg_catalog.text{outputs} FROM ({}\n) q{visible_row}{limit}", plan.sql);
        if !plan.lists.is_empty() {
            // One statement, so that all of it is of one snapshot.
            sql = format!("({sql}) UNION ALL SELECT NULL{}", ", NULL".repeat(many));
            for list in &plan.lists {
                // One more tells that there are too many.
                let most = MAX_LISTED + 1;
                sql += &format!(
                    ", ARRAY(SELECT l.v::pg_catalog.text FROM (SELECT * FROM ({}\n) x LIMIT {most}) l(v))",
                    list.sql
                );
            }
        }
        let lists = (!plan.lists.is_empty()).then_some(many + 1);
        Ok(Shape { sql, compact: visible.iter().all(|column| column.compact), id, until, listed, tags, last, lists })
    }
}

/// Does the result list rows of the section in a column of that name, or by a statement?
fn lists(plan: &FetchPlan, columns: &[Column], section: &str) -> bool {
    columns.iter().any(|column| column.name.strip_prefix('_') == Some(section))
        || plan.lists.iter().any(|list| list.of_rows && *list.name == *section)
}

enum Hidden<'a> {
    Until,
    /// A sort key that the result does not show.
    Last,
    Section(&'a str),
}

fn hidden<'a>(plan: &'a FetchPlan, column: &Column) -> Result<Option<Hidden<'a>>, String> {
    let Some(name) = column.name.strip_prefix('_') else {
        return Ok(None);
    };
    if name == "until" {
        return match column.family == Family::TimestampTz && !column.array {
            true => Ok(Some(Hidden::Until)),
            false => Err(format!("the column '_until' is {}; it must be timestamptz", column.type_name)),
        };
    }
    if plan.last.iter().any(|(last, _)| **last == *column.name) {
        return Ok(Some(Hidden::Last));
    }
    match plan.sections.iter().find(|section| ***section == *name) {
        Some(section) => Ok(Some(Hidden::Section(section))),
        None => Err(format!("the column '_{name}' names no section of the catalog; name it '_<section>', '_until', as a sort key of '_last' or without the underscore")),
    }
}

/// Whole milliseconds that are left; infinity caps nothing.
fn until_expression() -> String {
    let left =
        "pg_catalog.floor(extract(epoch FROM (q.\"_until\" OPERATOR(pg_catalog.-) pg_catalog.clock_timestamp())) \
        OPERATOR(pg_catalog.*) 1000)::pg_catalog.int8";
    format!("CASE WHEN pg_catalog.isfinite(q.\"_until\") THEN {left} WHEN q.\"_until\" OPERATOR(pg_catalog.<) pg_catalog.clock_timestamp() THEN 0 END")
}

fn as_text(column: &Column) -> (String, Arity) {
    let name = quote_name(&column.name);
    match column.array {
        true => (format!("q.{name}::pg_catalog.text[]"), Arity::Many),
        false => (format!("q.{name}::pg_catalog.text"), Arity::One),
    }
}

/// Refuses an id that cannot be of the declared type. Text passes for any: it may hold one.
fn check_id(row_id: ScalarType, column: &Column) -> Result<(), String> {
    let (family, name) = family_of(row_id);
    if column.array || (column.family != family && column.family != Family::Other) {
        return Err(format!("the column 'id' is {}, but the section says id = \"{name}\"", column.type_name));
    }
    Ok(())
}

/// Refuses a sort key whose column is of another type: its order would be another.
fn check_sort_key(ty: ScalarType, column: &Column) -> Result<(), String> {
    let (family, name) = family_of(ty);
    match column.array || column.family != family {
        true => Err(format!("the column '{}' is {}, but its sort key says {name}", column.name, column.type_name)),
        false => Ok(()),
    }
}

/// What columns of the type are, and the catalog's name for it.
fn family_of(ty: ScalarType) -> (Family, &'static str) {
    match ty {
        ScalarType::Int => (Family::Number, "int"),
        ScalarType::Float => (Family::Number, "float"),
        ScalarType::Numeric => (Family::Number, "numeric"),
        ScalarType::Bool => (Family::Bool, "bool"),
        ScalarType::Text => (Family::Other, "text"),
        ScalarType::Uuid => (Family::Uuid, "uuid"),
        ScalarType::Date => (Family::Date, "date"),
        ScalarType::Timestamp => (Family::Timestamp, "timestamp"),
        ScalarType::TimestampTz => (Family::TimestampTz, "timestamptz"),
        ScalarType::Json => (Family::Other, "json"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(sql: &str) -> FetchPlan {
        FetchPlan {
            id: 1,
            section: "bear".into(),
            sql: sql.to_owned(),
            params: vec![],
            single: false,
            row_id: Some(ScalarType::Int),
            sections: ["bear".into(), "color".into()].into(),
            tag_columns: vec![],
            lists: vec![],
            compared: vec![],
            last: vec![],
        }
    }

    fn column(name: &str, family: Family) -> Column {
        Column { name: name.to_owned(), type_name: "t".to_owned(), family, array: false, compact: true }
    }

    #[test]
    fn without_hidden_columns_the_whole_row_is_the_json() {
        let shape = Shape::new(&plan("SELECT 1 -- x"), &[column("id", Family::Number)]).unwrap();
        assert_eq!(
            shape.sql,
            "SELECT pg_catalog.row_to_json(q.*)::pg_catalog.text, q.\"id\"::pg_catalog.text FROM (SELECT 1 -- x\n) q"
        );
        assert_eq!((shape.id, shape.until, shape.compact), (Some(1), None, true));
    }

    #[test]
    fn hidden_columns_are_left_out_of_the_json() {
        let mut plan = plan("SELECT");
        plan.tag_columns = vec!["a\"b".into()];
        plan.single = true;
        let columns = [
            column("id", Family::Number),
            Column { array: true, ..column("_color", Family::Number) },
            column("_until", Family::TimestampTz),
            Column { compact: false, ..column("a\"b", Family::Other) },
        ];
        let shape = Shape::new(&plan, &columns).unwrap();
        assert!(
            shape
                .sql
                .starts_with(r#"SELECT pg_catalog.row_to_json(v.*)::pg_catalog.text, q."id"::pg_catalog.text, q."_color"::pg_catalog.text[], CASE"#),
            "{}",
            shape.sql
        );
        assert!(
            shape.sql.ends_with("FROM (SELECT\n) q, LATERAL (SELECT q.\"id\", q.\"a\"\"b\") v LIMIT 2"),
            "{}",
            shape.sql
        );
        assert_eq!(shape.listed, [("color".into(), 2, Arity::Many)]);
        assert_eq!((shape.until, shape.tags.as_slice(), shape.compact), (Some(3), &[(4, Arity::One)][..], false));
    }

    #[test]
    fn a_wrong_shape_says_what_would_be_right() {
        let id = column("id", Family::Number);
        let fails = |plan: &FetchPlan, columns: &[Column], part: &str| {
            let error = Shape::new(plan, columns).unwrap_err();
            assert!(error.contains(part), "{error}");
        };
        fails(&plan(""), &[column("x", Family::Number)], "rows = false");
        fails(&plan(""), &[column("id", Family::Uuid)], "id = \"int\"");
        fails(&plan(""), &[id.clone(), column("_colour", Family::Number)], "'_colour' names no section");
        fails(&plan(""), &[id.clone(), column("_until", Family::Timestamp)], "timestamptz");
        fails(&FetchPlan { tag_columns: vec!["nope".into()], ..plan("") }, &[id], "'nope'");
        let paged = |last: &str, ty| FetchPlan { last: vec![(last.into(), ty)], ..plan("") };
        let rows = [column("id", Family::Number), column("name", Family::Other), column("_price", Family::Number)];
        fails(&paged("size", ScalarType::Int), &rows[..2], "'size' of the last row, which the query does not return");
        fails(&paged("name", ScalarType::Int), &rows[..2], "the column 'name' is t, but its sort key says int");
        fails(&paged("id", ScalarType::Int), &rows, "'_price' names no section");
        let hidden = Shape::new(&paged("_price", ScalarType::Numeric), &rows).unwrap();
        assert!(
            hidden.sql.contains(r#"q."_price"::pg_catalog.text FROM"#)
                && hidden.sql.ends_with(r#"q."id", q."name") v"#)
        );
        assert_eq!(hidden.last, [2]);
        let without_rows = FetchPlan { row_id: None, ..plan("") };
        assert!(Shape::new(&without_rows, &[column("x", Family::Number)]).is_ok());
    }
}
