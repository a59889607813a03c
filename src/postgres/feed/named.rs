//! Tables that a catalog names, or that its SELECTs read: what their names mean, and whether they can be followed, by the WAL or by
//! triggers.

use std::collections::BTreeSet;

use rustc_hash::FxHashMap;

use crate::core::feed::link::ReadRelation;
use crate::core::feed::{Coverage, TableCoverage};
use crate::core::sql::spelling::relation_names;
use crate::postgres::connect::failure::Failure;

use super::links::{self, Linked};

/// Why a table is not covered, and what to do.
#[derive(Debug)]
pub(super) struct Hindrance {
    why: Box<str>,
    remedy: Box<str>,
}

impl Hindrance {
    pub(super) fn new(why: impl Into<Box<str>>, remedy: impl Into<Box<str>>) -> Hindrance {
        Hindrance { why: why.into(), remedy: remedy.into() }
    }

    pub(super) fn no_table() -> Hindrance {
        Hindrance::new("there is no such table", "create it, or write its schema in the catalog's tables")
    }

    /// Postgres does not take the name.
    pub(super) fn no_name(error: impl ToString) -> Hindrance {
        Hindrance::new(error.to_string(), "write the table's name as SQL does")
    }
}

impl From<Hindrance> for Coverage {
    fn from(Hindrance { why, remedy }: Hindrance) -> Coverage {
        Coverage::NotCovered { why, remedy }
    }
}

/// What is no table, whatever follows it; by `relkind`.
pub(super) fn check_kind(kind: &str) -> Result<(), Hindrance> {
    let of_its_own = "map the tables that it reads instead";
    Err(match kind {
        "r" | "p" => return Ok(()),
        "v" => Hindrance::new("it is a view", of_its_own),
        "m" => Hindrance::new("it is a materialised view", of_its_own),
        "f" => Hindrance::new("it is a foreign table, whose changes are elsewhere", "set a ttl"),
        _ => Hindrance::new("it is no table", "map a table instead"),
    })
}

pub(super) fn check_persistence(is_temporary: bool) -> Result<(), Hindrance> {
    match is_temporary {
        true => Err(Hindrance::new("it is a temporary table", "map a permanent table instead")),
        false => Ok(()),
    }
}

pub(super) fn check_column(columns: &[String], column: &str) -> Result<(), Hindrance> {
    match columns.iter().any(|known| known == column) {
        true => Ok(()),
        false => Err(Hindrance::new(
            format!("it has no column '{column}'"),
            format!("the columns are {}", columns.join(", ")),
        )),
    }
}

/// The relation that a catalog means by a name; `relation` looks one up by a name as Postgres has it.
pub(super) fn find<R>(
    name: &str,
    mut relation: impl FnMut(&str) -> Result<Option<R>, Failure>,
) -> Result<Option<R>, Failure> {
    for name in relation_names(name) {
        if let Some(relation) = relation(&name)? {
            return Ok(Some(relation));
        }
    }
    Ok(None)
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Named {
    pub(super) coverage: Vec<TableCoverage>,
    /// Names that Postgres takes for a relation's, in order, to see whether what they mean changes.
    pub(super) names: Vec<Box<str>>,
    /// What the names of tables in `coverage` mean.
    oids: FxHashMap<Box<str>, u32>,
    /// That SELECTs read.
    views: BTreeSet<u32>,
    /// A SELECT is to be asked again.
    waits: bool,
}

impl Named {
    /// A table of the catalog is this one.
    pub(super) fn means(&mut self, name: &str, oid: u32) {
        self.oids.insert(name.into(), oid);
    }

    pub(super) fn oid(&self, name: &str) -> Option<u32> {
        self.oids.get(name).copied()
    }

    /// What a SELECT reads is followed from now on.
    pub(super) fn reads(&mut self, linked: &Linked) {
        self.names.extend(linked.names.iter().cloned());
        self.views.extend(&linked.reads.views);
        self.waits |= linked.waits;
    }

    /// The coverage of a relation that a SELECT of the section reads; `check` says what is in its way, where nobody has named it.
    /// None: it cannot be followed.
    pub(super) fn read(
        &mut self,
        read: &ReadRelation,
        section: usize,
        check: impl FnOnce() -> Result<(), Hindrance>,
    ) -> Option<&mut Coverage> {
        let known = self.coverage.iter().position(|known| self.oids.get(&known.table) == Some(&read.oid));
        let at = known.unwrap_or_else(|| {
            let state = check().map_or_else(Coverage::from, |()| Coverage::Covered { note: None });
            self.names.push(read.name.clone());
            self.oids.insert(read.name.clone(), read.oid);
            let table = read.name.clone();
            self.coverage.push(TableCoverage { table, sections: Vec::new(), state, alter: None });
            self.coverage.len() - 1
        });
        let coverage = &mut self.coverage[at];
        if !coverage.sections.contains(&section) {
            coverage.sections.push(section);
        }
        is_covered(coverage).then_some(&mut coverage.state)
    }

    /// SQL for the fingerprint of what SELECTs read. `waits`: another one each time while a SELECT is to be asked again.
    pub(super) fn fingerprint_terms(&self, waits: bool) -> String {
        links::fingerprint_terms(&self.views, waits && self.waits)
    }
}

pub(super) fn is_covered(coverage: &TableCoverage) -> bool {
    matches!(coverage.state, Coverage::Covered { .. })
}
