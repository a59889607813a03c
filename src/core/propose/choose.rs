//! Which relations have sections, what these are called, and by which key; why the others have none.

use std::collections::BTreeMap;

use super::facts::{Column, Database, ForeignKey, Key, Kind, Relation};
use super::names::{self, Taken};
use super::types::passed;
use super::{write, NoProposal, Wanted};
use crate::core::calls::names::check_section_name;
use crate::core::sql::spelling::{column_name, in_quotes, relation_names};
use crate::core::values::value::ScalarType;

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
    /// Sections, and the columns whose values are their ids: of a key of one column its own section, of a key of several one for
    /// each column of it that rows are looked up by. The first is the table's own.
    pub places: Vec<(String, &'a Column)>,
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

/// Types of ids, of which there are values in calls as they are.
fn is_id(column: &Column) -> bool {
    passed(&column.ty).is_some_and(|passed| passed.is_exact && passed.cast.is_none())
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
    by_oid: BTreeMap<u32, usize>,
    /// By the oid of a table, those that refer to it: their place, and that of their foreign key.
    referring: BTreeMap<u32, Vec<(usize, usize)>>,
    relations: &'a [Relation],
    /// The same of all relations.
    following: BTreeMap<u32, Vec<(usize, usize)>>,
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
    let is_passed = |column: &&Column| {
        passed(&column.ty).is_some_and(|passed| !passed.ty.array && passed.ty.scalar != ScalarType::Json)
    };
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
    let tables = tables.into_iter().zip(sections);
    let tables = tables.map(|((relation, key), section)| Table { relation, section, key, places: Vec::new() });
    let mut chosen = Chosen {
        tables: tables.collect(),
        by_oid: BTreeMap::new(),
        referring: BTreeMap::new(),
        relations: &database.relations,
        following: BTreeMap::new(),
        left_out,
    };
    place(&mut chosen.tables);
    let mut chosen = select(database, chosen, wanted)?;
    chosen.by_oid = chosen.tables.iter().enumerate().map(|(at, table)| (table.relation.oid, at)).collect();
    for (at, table) in chosen.tables.iter().enumerate() {
        for (number, key) in table.relation.foreign_keys.iter().enumerate() {
            chosen.referring.entry(key.relation).or_default().push((at, number));
        }
    }
    for (at, relation) in database.relations.iter().enumerate() {
        for (number, key) in relation.foreign_keys.iter().enumerate() {
            chosen.following.entry(key.relation).or_default().push((at, number));
        }
    }
    Ok(chosen)
}

/// Of keys of several columns, the sections of each that rows are looked up by.
fn place(tables: &mut [Table<'_>]) {
    let mut taken = Taken::default();
    tables.iter().for_each(|table| drop(taken.give(&table.section)));
    for table in tables {
        let usual = table.key.iter().find(|column| &*column.name == "id" && is_id(column));
        let Some(first) = usual.or_else(|| table.key.iter().find(|column| is_id(column))).or(table.key.first()) else {
            continue;
        };
        table.places.push((table.section.clone(), *first));
        let is_looked_up = |column: &Column| {
            let refers = table.relation.foreign_keys.iter().any(|key| *key.columns == [column.number]);
            is_id(column) && (refers || table.relation.indexed.contains(&column.number))
        };
        let others = table.key.iter().filter(|column| column.number != first.number && is_looked_up(column));
        for column in others.copied().collect::<Vec<_>>() {
            let name = taken.give(&names::section(&format!("{}_by_{}", table.section, column.name)));
            table.places.push((name, column));
        }
    }
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
        for (place, _) in &mut table.places {
            let rest = place.strip_prefix(&*table.section).unwrap_or_default().to_owned();
            *place = names::section(&format!("{section}{rest}"));
        }
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

impl<'a> Chosen<'a> {
    /// The table of this oid, if it has a section.
    pub fn table(&self, oid: u32) -> Option<&Table<'a>> {
        self.by_oid.get(&oid).map(|at| &self.tables[*at])
    }

    /// Tables with a foreign key to that one, in the order of their sections.
    pub fn referring(&self, oid: u32) -> impl Iterator<Item = (&Table<'a>, &'a ForeignKey)> {
        let places = self.referring.get(&oid).into_iter().flatten();
        places.map(|(at, number)| (&self.tables[*at], &self.tables[*at].relation.foreign_keys[*number]))
    }

    /// Relations with a foreign key to that one, whether they have a section or not.
    pub fn following(&self, oid: u32) -> impl Iterator<Item = (&'a Relation, &'a ForeignKey)> + '_ {
        let places = self.following.get(&oid).into_iter().flatten();
        places.map(|(at, number)| (&self.relations[*at], &self.relations[*at].foreign_keys[*number]))
    }

    fn reasons(&self) -> Vec<String> {
        self.left_out.iter().map(|(why, names)| format!("{}: {}", names.join(", "), why.text())).collect()
    }

    /// Comments at the end of the file; `of_tables`: what of tables that have a section.
    pub fn left_out_lines(&self, of_tables: &[String]) -> String {
        if self.left_out.is_empty() && of_tables.is_empty() {
            return String::new();
        }
        let mut text = "\n# Left out:\n".to_owned();
        for (why, names) in &self.left_out {
            text += &format!("{}\n", write::comment(&format!("- {}:", why.text())));
            for line in lines(names) {
                text += &format!("#   {line}\n");
            }
        }
        of_tables.iter().for_each(|what| text += &format!("{}\n", write::comment(&format!("- {what}"))));
        text
    }
}

/// Names with commas between, as many to a line as are read well.
fn lines(names: &[String]) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for name in names {
        let name: String = name.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        match lines.last_mut() {
            Some(line) if line.len() + name.len() < 120 => *line += &format!(", {name}"),
            _ => lines.push(name),
        }
    }
    lines
}

impl Table<'_> {
    /// Is it known by its primary key, of one column, so that its section need not say what its ids are? Rows that an extension's
    /// equality tells apart are told by the texts of their values, which nobody derives.
    pub fn is_derived(&self) -> bool {
        self.key.len() == 1 && self.relation.keys.first().is_some_and(|key| key.is_primary && key.is_plain)
    }

    /// The lines of one of its sections.
    pub fn head(&self, section: &str, id: &Column) -> String {
        let name = self.relation.sql_name();
        let mut text = String::new();
        if let Some(comment) = self.relation.comment.as_deref().filter(|_| *section == self.section) {
            text += &format!("{}\n", write::comment(comment));
        }
        let is_whole = self.key.len() == 1;
        if !is_whole {
            text += &format!(
                "{}\n",
                write::comment(&format!("Rows of {name} by their {}: its key has several columns", id.name))
            );
        }
        text += &format!("[{section}]\n");
        let is_own = self.relation.is_visible && *section == *self.relation.name;
        if self.is_derived() {
            if !is_own {
                text += &format!("table = {}\n", write::quoted(&name));
            }
            return text;
        }
        let column = match column_name(&id.name).as_deref() == Some(&*id.name) {
            true => id.name.to_string(),
            false => in_quotes(&id.name),
        };
        let ty = passed(&id.ty).filter(|_| is_id(id)).map_or(ScalarType::Text, |passed| passed.ty.scalar);
        text += &format!("id     = \"{}\"\n", ty.name());
        text + &format!("tables = {{ {} = {} }}\n", write::key(&name), write::quoted(&column))
    }
}
