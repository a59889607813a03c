//! What is asked of a table.

use super::choose::Table;
use super::types::passed;
use super::write;
use crate::core::sql::spelling::as_needed;
use crate::core::values::value::ScalarType;

/// Each as lines of the file.
pub(super) fn of(table: &Table<'_>) -> Vec<String> {
    let [key] = &table.key[..] else { return Vec::new() };
    let Some(passed) = passed(&key.ty) else { return Vec::new() };
    let argument = super::names::argument(&key.name, &["tenant", "ids", "jobs", "row"]);
    let placeholder = format!("{{{argument}:{}}}", passed.ty);
    let mut words = super::names::Taken::of(super::names::NO_FIRST_WORDS);
    let call = match passed.ty.scalar {
        ScalarType::Int | ScalarType::Uuid | ScalarType::Date => placeholder,
        _ => format!("{} {placeholder}", words.give(&super::names::word(&key.name))),
    };
    let value = match &passed.cast {
        Some(cast) => format!("{{{argument}}}::{cast}"),
        None => format!("{{{argument}}}"),
    };
    let alias = super::names::alias(&table.relation.name);
    let columns: Vec<String> = table
        .relation
        .columns
        .iter()
        .filter(|column| column.rights.select)
        .map(|column| format!("{alias}.{}", as_needed(&column.name)))
        .collect();
    let sql = format!(
        "SELECT {} FROM {} {alias} WHERE {alias}.{} = {value}",
        columns.join(", "),
        table.relation.sql_name(),
        as_needed(&key.name)
    );
    vec![format!(
        "\n[[{}.query]]\ncall   = {}\nsingle = true\nsql    = {}\n",
        table.section,
        write::quoted(&call),
        write::statement(&sql)
    )]
}
