//! The section that a query of a relation stands in: one of the catalog in use that is of the relation's rows, or a new one.

use std::collections::BTreeSet;

use super::describe::Main;
use crate::core::calls::names::section_name_of;
use crate::core::catalog::{Section, TableRows};
use crate::core::propose::query::Home;
use crate::core::sql::spelling::as_needed;
use crate::postgres::check::reads;
use crate::postgres::connect::client::Client;
use crate::postgres::connect::failure::Failure;

/// Sections by the relations whose rows are theirs.
pub(super) struct Homes {
    sections: Vec<Mapped>,
    names: BTreeSet<String>,
    /// New ones, by the oids of their relations.
    new: Vec<(u32, Home)>,
}

struct Mapped {
    name: String,
    relation: u32,
    /// None: its primary key.
    column: Option<String>,
}

impl Homes {
    /// Of the catalog in use; within a transaction.
    pub(super) fn of(client: &mut Client, sections: &[Section]) -> Result<Homes, Failure> {
        let mut tables = Vec::new();
        // A section for each tenant has not what all of them have.
        for section in sections.iter().filter(|section| section.tenant.is_none()) {
            for table in &section.tables {
                if let TableRows::Column(column) = &table.rows {
                    tables.push((section, table.name.to_string(), Some(column.to_string())));
                }
            }
            if let Some(table) = &section.table {
                tables.push((section, table.to_string(), None));
            }
        }
        let names: Vec<String> = tables.iter().map(|(_, table, _)| table.clone()).collect();
        let meant = reads::meant(client, &names)?;
        let mapped = tables.into_iter().zip(meant);
        let mapped = mapped.filter_map(|((section, _, column), oid)| {
            Some(Mapped { name: section.name.to_string(), relation: oid?, column })
        });
        let names = sections.iter().map(|section| section.name.to_string()).collect();
        Ok(Homes { sections: mapped.collect(), names, new: Vec::new() })
    }

    /// Within the same transaction.
    pub(super) fn find(&mut self, client: &mut Client, main: &Main) -> Result<Home, Failure> {
        let wanted = section_name_of(&main.name);
        let is_of =
            |mapped: &&Mapped| mapped.relation == main.oid && (mapped.column.is_none() || mapped.column == main.key);
        let mut found: Vec<&Mapped> = self.sections.iter().filter(is_of).collect();
        found.sort_by_key(|mapped| mapped.name != wanted);
        if let Some(mapped) = found.first() {
            return Ok(Home { section: mapped.name.clone(), table: None });
        }
        if let Some((_, home)) = self.new.iter().find(|(oid, _)| *oid == main.oid) {
            return Ok(home.clone());
        }
        let short = wanted[..wanted.len().min(56)].to_owned();
        let numbered = (2..).map(|number| section_name_of(&format!("{short}_{number}")));
        let mut names = std::iter::once(wanted).chain(numbered);
        let section = names.find(|name| !self.names.contains(name)).unwrap_or_default();
        let is_its_own = reads::meant(client, std::slice::from_ref(&section))? == [Some(main.oid)];
        let table = (!is_its_own).then(|| format!("{}.{}", as_needed(&main.schema), as_needed(&main.name)));
        let home = Home { section, table };
        self.names.insert(home.section.clone());
        self.new.push((main.oid, home.clone()));
        Ok(home)
    }
}
