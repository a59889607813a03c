//! Rows of other tables that go with one that is deleted, or lose their reference to it.

use super::choose::{Chosen, Table};
use super::facts::OnDelete;
use super::names::{self, Taken};
use super::parents;
use crate::core::sql::spelling::as_needed;

/// Tables whose rows go with one that is deleted, and how far that is followed.
const MAX_CASCADES: usize = 16;
const MAX_DEPTH: usize = 3;

/// Rows that go with one that is deleted, or lose their reference to it.
pub(super) struct Cascade<'a> {
    pub table: &'a Table<'a>,
    pub alias: String,
    /// From `gone` to it.
    pub from: String,
}

/// All of them.
pub(super) struct Cascades<'a> {
    chosen: &'a Chosen<'a>,
    pub told: Vec<Cascade<'a>>,
    /// There are more than are followed.
    pub is_cut: bool,
    aliases: Taken,
}

impl<'a> Cascades<'a> {
    /// Those of a row of the table that is in `gone`.
    pub fn of(table: &Table<'_>, chosen: &'a Chosen<'a>) -> Cascades<'a> {
        let mut cascades = Cascades { chosen, told: Vec::new(), is_cut: false, aliases: Taken::of(["job", "gone"]) };
        cascades.follow(table, "gone", "gone", 0);
        cascades
    }

    fn follow(&mut self, table: &Table<'_>, alias: &str, from: &str, depth: usize) {
        for child in parents::children(table, self.chosen) {
            if child.key.on_delete == OnDelete::Nothing {
                continue;
            }
            let column =
                |table: &Table<'_>, number: i16| table.relation.column(number).map(|column| as_needed(&column.name));
            let own = self.aliases.give(&names::alias(&child.table.relation.name));
            let pairs = child.key.columns.iter().zip(&child.key.referenced);
            let conditions: Option<Vec<String>> = pairs
                .map(|(of, referenced)| {
                    let is_read = child.table.relation.column(*of).is_some_and(|column| column.rights.select);
                    let condition =
                        format!("{own}.{} = {alias}.{}", column(child.table, *of)?, column(table, *referenced)?);
                    is_read.then_some(condition)
                })
                .collect();
            let Some(conditions) = conditions else { continue };
            if self.told.len() == MAX_CASCADES || depth == MAX_DEPTH {
                self.is_cut = true;
                return;
            }
            let from = format!("{from} JOIN {} {own} ON {}", child.table.relation.sql_name(), conditions.join(" AND "));
            self.told.push(Cascade { table: child.table, alias: own.clone(), from: from.clone() });
            if child.key.on_delete == OnDelete::Cascade {
                self.follow(child.table, &own, &from, depth + 1);
            }
        }
    }
}
