//! Which relations have sections, what these are called, and by which key; why the others have none.

use std::collections::BTreeMap;

use super::facts::{Column, Database, Key, Kind, Relation};
use super::names::{self, Taken};
use super::types::passed;
use super::{write, NoProposal, Wanted};
use crate::core::calls::names::check_section_name;
use crate::core::sql::spelling::relation_names;

/// Sections of one catalog: of a database with more tables, TABLE chooses.
const MAX_TABLES: usize = 4_000;

/// Schemas of nobody's tables: Postgres' own are left out before, and this is bear's.
const OWN_SCHEMA: &str = "bear";

/// A table that has a section.
pub(super) struct Table<'a> {
    pub relation: &'a Relation,
    pub section: String,
    /// By which its rows are told apart.
    pub key: Vec<&'a Column>,
}

/// Why a relation has no section.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Why {
    NoKey,
    NoRight,
    Secured,
    View,
    MaterializedView,
    Foreign,
    Unlogged,
    Inherited,
    Partition,
    Extension,
    Own,
    UnpassableKey,
    TooMany,
}

impl Why {
    fn text(self) -> &'static str {
        match self {
            Why::NoKey => "no primary key, and no unique one of columns that are NOT NULL",
            Why::NoRight => "the role may not read its key",
            Why::Secured => "row security decides what the role sees of it: what is cached would be everybody's",
            Why::View => "a view: write its queries by the calls that are wanted of it; they follow its tables",
            Why::MaterializedView => "a materialized view: no change of its tables tells when it is refreshed",
            Why::Foreign => "a foreign table: nobody tells of its changes",
            Why::Unlogged => "unlogged: no change of it is in the WAL",
            Why::Inherited => "others inherit from it, so that its key is none of all rows",
            Why::Partition => "a partition of a table that has a section",
            Why::Extension => "an extension's own",
            Why::Own => "bear's own",
            Why::UnpassableKey => "no call can name a value of its key's type",
            Why::TooMany => "more tables than a catalog is proposed for at once: name it by TABLE",
        }
    }
}

pub(super) struct Chosen<'a> {
    pub tables: Vec<Table<'a>>,
    left_out: BTreeMap<Why, Vec<String>>,
}

/// The key that its rows are told apart by: the primary key, else the shortest of columns that are NOT NULL.
fn key(relation: &Relation) -> Option<Vec<&Column>> {
    let columns =
        |key: &Key| -> Option<Vec<&Column>> { key.columns.iter().map(|number| relation.column(*number)).collect() };
    let is_whole = |columns: &Vec<&Column>| columns.iter().all(|column| column.not_null);
    let mut keys = relation.keys.iter().filter_map(columns).filter(is_whole).filter(|key| !key.is_empty());
    keys.next()
}

fn why_not(relation: &Relation) -> Option<Why> {
    if &*relation.schema == OWN_SCHEMA {
        return Some(Why::Own);
    }
    if relation.extension.is_some() {
        return Some(Why::Extension);
    }
    match relation.kind {
        Kind::View => return Some(Why::View),
        Kind::MaterializedView => return Some(Why::MaterializedView),
        Kind::Foreign => return Some(Why::Foreign),
        Kind::Unlogged => return Some(Why::Unlogged),
        Kind::Table => {}
    }
    if relation.is_partition {
        return Some(Why::Partition);
    }
    if relation.has_children {
        return Some(Why::Inherited);
    }
    let Some(key) = key(relation) else { return Some(Why::NoKey) };
    if !relation.has_schema_usage || !key.iter().all(|column| column.rights.select) {
        return Some(Why::NoRight);
    }
    if relation.is_secured {
        return Some(Why::Secured);
    }
    let is_passed = |column: &&Column| passed(&column.ty).is_some_and(|passed| !passed.ty.array);
    (!key.iter().all(is_passed)).then_some(Why::UnpassableKey)
}

pub(super) fn choose<'a>(database: &'a Database, wanted: &Wanted) -> Result<Chosen<'a>, NoProposal> {
    if !database.relations.iter().any(|relation| relation.kind != Kind::View && &*relation.schema != OWN_SCHEMA) {
        return Err(NoProposal::NoTables);
    }
    let mut left_out: BTreeMap<Why, Vec<String>> = BTreeMap::new();
    let mut tables = Vec::new();
    for relation in &database.relations {
        match (why_not(relation), key(relation)) {
            (None, Some(key)) if tables.len() < MAX_TABLES => tables.push((relation, key)),
            (None, _) => left_out.entry(Why::TooMany).or_default().push(relation.sql_name()),
            (Some(why), _) => left_out.entry(why).or_default().push(relation.sql_name()),
        }
    }
    let sections = sections(tables.iter().map(|(relation, _)| *relation));
    let tables = tables.into_iter().zip(sections).map(|((relation, key), section)| Table { relation, section, key });
    select(database, Chosen { tables: tables.collect(), left_out }, wanted)
}

/// What their sections are called: those first that are found by their bare names.
fn sections<'a>(relations: impl Iterator<Item = &'a Relation> + Clone) -> Vec<String> {
    let mut taken = Taken::default();
    let mut given: BTreeMap<usize, String> = BTreeMap::new();
    let all = || relations.clone().enumerate();
    for (place, relation) in all().filter(|(_, relation)| relation.is_visible) {
        given.insert(place, taken.give(&names::section(&relation.name)));
    }
    for (place, relation) in all().filter(|(_, relation)| !relation.is_visible) {
        let own = names::section(&relation.name);
        let is_shared = all().any(|(other, of)| other != place && of.name == relation.name);
        let name = match is_shared || taken.has(&own) {
            true => names::section(&format!("{}_{}", relation.schema, relation.name)),
            false => own,
        };
        given.insert(place, taken.give(&name));
    }
    given.into_values().collect()
}

/// Those that are wanted.
fn select<'a>(database: &Database, mut chosen: Chosen<'a>, wanted: &Wanted) -> Result<Chosen<'a>, NoProposal> {
    if let Some(section) = &wanted.section {
        check_section_name(section).map_err(|error| NoProposal::Illegal(error.to_string()))?;
    }
    if wanted.tables.is_empty() {
        if let Some(section) = &wanted.section {
            chosen.tables.retain(|table| *table.section == **section);
            chosen.left_out.clear();
            if chosen.tables.is_empty() {
                return Err(NoProposal::NoSection(section.clone()));
            }
        }
        return Ok(chosen);
    }
    if wanted.section.is_some() && wanted.tables.len() > 1 {
        return Err(NoProposal::Several(wanted.tables.len()));
    }
    let mut named = Vec::new();
    for name in &wanted.tables {
        named.push(named_by(database, name).ok_or_else(|| NoProposal::NoTable(name.clone()))?);
    }
    chosen.tables.retain(|table| named.iter().any(|relation| relation.oid == table.relation.oid));
    let names: Vec<String> = named.iter().map(|relation| relation.sql_name()).collect();
    chosen.left_out.values_mut().for_each(|left| left.retain(|name| names.contains(name)));
    chosen.left_out.retain(|_, left| !left.is_empty());
    if chosen.tables.is_empty() {
        return Err(NoProposal::Nothing(chosen.reasons().join("; ")));
    }
    if let (Some(section), [table]) = (&wanted.section, &mut chosen.tables[..]) {
        table.section = section.to_string();
    }
    Ok(chosen)
}

/// The relation that a name means, as `tables` of a catalog reads it.
fn named_by<'a>(database: &'a Database, name: &str) -> Option<&'a Relation> {
    let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
    relation_names(name).iter().find_map(|spelled| {
        database.relations.iter().find(|relation| {
            let bare = quoted(&relation.name);
            (relation.is_visible && *spelled == bare) || *spelled == format!("{}.{bare}", quoted(&relation.schema))
        })
    })
}

impl Chosen<'_> {
    fn reasons(&self) -> Vec<String> {
        self.left_out.iter().map(|(why, names)| format!("{}: {}", names.join(", "), why.text())).collect()
    }

    /// Comments at the end of the file.
    pub fn left_out_lines(&self) -> String {
        if self.left_out.is_empty() {
            return String::new();
        }
        let mut text = "# Left out:\n".to_owned();
        for (why, names) in &self.left_out {
            text += &format!("#   {}\n", why.text());
            for name in names {
                text += &format!("{}\n", write::comment(&format!("    {name}")));
            }
        }
        text
    }
}

impl Table<'_> {
    /// The section's own lines.
    pub fn head(&self) -> String {
        let mut text = String::new();
        if let Some(comment) = &self.relation.comment {
            text += &format!("{}\n", write::comment(comment));
        }
        text += &format!("[{}]\n", self.section);
        let is_own = self.relation.is_visible && *self.section == *self.relation.name;
        match &self.key[..] {
            [_] if is_own => {}
            [_] => text += &format!("table = {}\n", write::quoted(&self.relation.sql_name())),
            [first, ..] => {
                let table = write::key(&self.relation.sql_name());
                text += &format!("tables = {{ {table} = {} }}\n", write::quoted(&first.name));
            }
            [] => {}
        }
        text
    }
}
