//! What a catalog leaves unsaid and was derived: read as if its author had written it.

use std::collections::BTreeMap;

use toml::{Table, Value};

use crate::core::sql::hidden;
use crate::core::values::value::ScalarType;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Additions {
    /// By name; those that are not in the file are new ones.
    pub sections: BTreeMap<Box<str>, SectionAdditions>,
    /// By section, and the number of the query in the file.
    pub queries: BTreeMap<(Box<str>, usize), QueryAdditions>,
}

/// Keys of a section.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SectionAdditions {
    pub id: Option<ScalarType>,
    pub tables: BTreeMap<Box<str>, Box<str>>,
    pub row: Option<Box<str>>,
}

/// Keys of a query.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct QueryAdditions {
    /// Columns of the result that no client sees: name and expression.
    pub hidden: Vec<(Box<str>, Box<str>)>,
    pub rows: Option<bool>,
    /// Rows, or an argument in braces.
    pub page: Option<Box<str>>,
    pub match_: Option<Box<str>>,
    pub on: BTreeMap<Box<str>, Box<str>>,
    pub lists: BTreeMap<Box<str>, Box<str>>,
    pub reads: BTreeMap<Box<str>, Box<str>>,
}

impl Additions {
    pub fn is_empty(&self) -> bool {
        self.sections.is_empty() && self.queries.is_empty()
    }

    /// Writes them into a file. What its author says stands.
    pub(in crate::core) fn apply(&self, file: &mut Table) {
        for (name, additions) in &self.sections {
            let section = file.entry(&**name).or_insert_with(|| Value::Table(Table::new()));
            if let Some(section) = section.as_table_mut() {
                additions.apply(section);
            }
        }
        for ((section, index), additions) in &self.queries {
            let queries = file.get_mut(&**section).and_then(|section| section.get_mut("query"));
            if let Some(query) = queries.and_then(|queries| queries.get_mut(index)).and_then(Value::as_table_mut) {
                additions.apply(query);
            }
        }
    }
}

impl SectionAdditions {
    fn apply(&self, section: &mut Table) {
        if let Some(id) = self.id {
            section.entry("id").or_insert_with(|| id.name().into());
        }
        if !self.tables.is_empty() {
            section.entry("tables").or_insert_with(|| Value::Table(strings(&self.tables)));
            // It is among them.
            section.remove("table");
        }
        if let Some(row) = &self.row {
            section.entry("row").or_insert_with(|| (&**row).into());
        }
    }
}

impl QueryAdditions {
    fn apply(&self, query: &mut Table) {
        let sql = query.get("sql").and_then(Value::as_str);
        if let Some(sql) = sql.and_then(|sql| hidden::with_columns(sql, &self.hidden)) {
            query.insert("sql".to_owned(), sql.into());
        }
        if let Some(rows) = self.rows {
            query.entry("rows").or_insert(rows.into());
        }
        if let Some(page) = &self.page {
            let page = page.parse::<i64>().map_or_else(|_| Value::from(&**page), Value::from);
            query.entry("page").or_insert(page);
        }
        if let Some(predicate) = &self.match_ {
            query.entry("match").or_insert_with(|| (&**predicate).into());
        }
        for (key, more) in [("on", &self.on), ("lists", &self.lists), ("reads", &self.reads)] {
            if more.is_empty() {
                continue;
            }
            let said = query.entry(key).or_insert_with(|| Value::Table(Table::new()));
            if let Some(said) = said.as_table_mut() {
                for (name, value) in strings(more) {
                    said.entry(name).or_insert(value);
                }
            }
        }
    }
}

fn strings(of: &BTreeMap<Box<str>, Box<str>>) -> Table {
    of.iter().map(|(name, value)| (name.to_string(), Value::from(&**value))).collect()
}
