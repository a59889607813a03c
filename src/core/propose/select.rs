//! The SELECT of a table's rows: the columns that results show, the names of what its rows refer to, conditions.

use std::collections::BTreeSet;

use super::choose::{Chosen, Table};
use super::facts::Column;
use super::names::{self, Taken};
use super::parents::{self, is_secret, Joined};
use crate::core::sql::spelling::as_needed;

/// Types whose values nobody reads in JSON: of full-text search.
const UNREADABLE: [u32; 2] = [3614, 3615];

/// What all queries of a section select.
pub(super) struct Select {
    from: String,
    pub alias: String,
    joined: Vec<Joined>,
    shown: Vec<String>,
    /// Columns that are not shown, and why.
    pub left_out: Vec<String>,
}

impl Select {
    /// That of the section whose ids are values of the column.
    pub fn of(table: &Table<'_>, chosen: &Chosen<'_>, id: &Column) -> Select {
        let alias = names::alias(&table.relation.name);
        let (mut aliases, mut names) = (Taken::of([&alias]), Taken::default());
        let from = table.relation.sql_name();
        let mut select = Select { from, alias, joined: Vec::new(), shown: Vec::new(), left_out: Vec::new() };
        select.show(table, id, &mut names);
        select.joined = parents::joined(table, chosen, &select.alias, &mut aliases, &mut names);
        select
    }

    /// A column as statements name it.
    pub fn own(&self, column: &Column) -> String {
        format!("{}.{}", self.alias, as_needed(&column.name))
    }

    /// The columns that results show.
    fn show(&mut self, table: &Table<'_>, id: &Column, names: &mut Taken) {
        // A section that says what its ids are shows them.
        if !table.is_derived() && *id.name != *"id" {
            self.shown.push(format!("{} AS id", self.own(id)));
            names.give("id");
        }
        let columns = table.relation.columns.iter();
        // Those first that are called as they are.
        let taken: BTreeSet<&str> = columns.clone().map(|column| &*column.name).collect();
        for column in columns {
            let why_not = match () {
                () if !column.rights.select => Some("the role may not read it"),
                () if UNREADABLE.contains(&column.ty.base) => Some("of full-text search, and is not shown"),
                () if is_secret(&column.name) => Some("looks like a secret, and is not shown"),
                () => None,
            };
            if let Some(why) = why_not {
                self.left_out.push(format!("{}: {why}", column.name));
                continue;
            }
            let is_plain = !column.name.starts_with('_') && !names.has(&column.name);
            let own = self.own(column);
            if is_plain {
                names.give(&column.name);
                self.shown.push(own);
                continue;
            }
            let mut name = names.give(names::shown(&column.name));
            while taken.contains(&*name) {
                name = names.give(&name);
            }
            self.shown.push(format!("{own} AS {}", as_needed(&name)));
        }
    }

    /// A SELECT of rows that meet the conditions; `rest` is what stands behind.
    pub fn text(&self, conditions: &[String], rest: &str) -> String {
        let shown = self.shown.iter().chain(self.joined.iter().map(|joined| &joined.shown));
        let joins: Vec<&str> = self.joined.iter().map(|joined| &*joined.join).collect();
        let mut list = String::new();
        let mut width = 0;
        for (at, one) in shown.enumerate() {
            if at > 0 {
                list.push(',');
                width += one.len() + 2;
                let breaks = width > 100;
                list.push_str(if breaks { "\n                   " } else { " " });
                width = if breaks { one.len() } else { width };
            } else {
                width = one.len();
            }
            list.push_str(one);
        }
        let mut lines = vec![format!("SELECT {list}"), format!("FROM {} {}", self.from, self.alias)];
        lines.extend(joins.iter().map(|join| format!("    {join}")));
        if !conditions.is_empty() {
            lines.push(format!("WHERE {}", conditions.join(" AND ")));
        }
        lines.extend((!rest.is_empty()).then(|| rest.to_owned()));
        let width: usize = lines.iter().map(String::len).sum();
        match width < 100 {
            true => lines.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" "),
            false => lines.join("\n            "),
        }
    }

    /// For a comment: the names that are joined.
    pub fn with_names(&self) -> String {
        let names: Vec<&str> = self.joined.iter().map(|joined| &*joined.name).collect();
        if names.is_empty() {
            String::new()
        } else {
            format!(", with {}", names.join(", "))
        }
    }
}
