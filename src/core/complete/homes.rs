//! Homes of relations: the section that changes of a relation's rows are told to.
//!
//! | the relation | its home |
//! |---|---|
//! | a section maps it by a column that is a key | that section |
//! | a section maps it by another column | that section: its ids are the values of that column |
//! | has a key of one column | a new section of its name, by that |
//! | has a key of several | a new section for each column of it that a query looks it up by: its ids are the values of that column |
//! | has none | a new section by its first column; any change of it concerns all |

use std::collections::{BTreeMap, BTreeSet};

use super::Said;
use crate::core::calls::names;
use crate::core::catalog::additions::SectionAdditions;
use crate::core::catalog::ParamSource;
use crate::core::derive::expression::Expression;
use crate::core::derive::facts::{Comparison, Relation};
use crate::core::derive::Rule;
use crate::core::sql::spelling::as_needed;
use crate::core::values::value::ScalarType;

pub(super) type HomeId = usize;

#[derive(Debug, Clone)]
pub(super) struct Home {
    pub section: Box<str>,
    /// None: a new one.
    pub index: Option<usize>,
    /// The topmost, where it is a partition.
    pub relation: u32,
    /// Whose values are the ids.
    pub column: Box<str>,
    pub id: ScalarType,
    /// Is an id of one row alone?
    pub is_key: bool,
    /// Is the column of a type that bear does not know? What SQL casts to text may be spelled otherwise by who tells of changes.
    pub is_strange: bool,
}

/// All of a catalog.
pub struct Homes<'a> {
    said: Said<'a>,
    homes: Vec<Home>,
    names: BTreeSet<Box<str>>,
    /// Columns that predicates compare, by home.
    pub(super) compared: BTreeMap<HomeId, BTreeSet<i16>>,
}

/// The type of ids that are values of a column; `is_text`: by their texts, for bear knows no such type.
pub(super) fn id_type(type_oid: u32) -> (ScalarType, bool) {
    let ty = match type_oid {
        20 | 21 | 23 => ScalarType::Int,
        1700 => ScalarType::Numeric,
        16 => ScalarType::Bool,
        25 | 1043 => ScalarType::Text,
        2950 => ScalarType::Uuid,
        1082 => ScalarType::Date,
        1114 => ScalarType::Timestamp,
        1184 => ScalarType::TimestampTz,
        _ => return (ScalarType::Text, true),
    };
    (ty, false)
}

/// Schema and name as SQL needs them.
pub(super) fn sql_name(relation: &Relation) -> String {
    format!("{}.{}", as_needed(&relation.schema), as_needed(&relation.name))
}

impl<'a> Homes<'a> {
    pub fn of(said: Said<'a>) -> Homes<'a> {
        let names = said.sections.iter().map(|section| section.name.clone()).collect();
        Homes { said, homes: Vec::new(), names, compared: BTreeMap::new() }
    }

    pub(super) fn get(&self, id: HomeId) -> &Home {
        &self.homes[id]
    }

    /// The topmost relation of which it is a partition, or itself.
    pub(super) fn topmost(&self, oid: u32) -> u32 {
        self.said.facts.relations.get(&oid).and_then(|relation| relation.root).unwrap_or(oid)
    }

    /// The home of what a rule of a query concerns; `by`: columns of which the rule demands one value, or one of several. None: nothing is
    /// known of the relation.
    pub(super) fn find(
        &mut self,
        rule: &Rule,
        query_section: usize,
        sources: &[ParamSource],
        by: &[i16],
    ) -> Option<HomeId> {
        let oid = self.topmost(rule.relation);
        let relation = self.said.facts.relations.get(&oid)?;
        let own = self.said.facts.relations.get(&rule.relation)?;
        if let Some((index, column, is_key)) = self.declared(oid, rule, query_section, sources, by) {
            let section = &self.said.sections[index];
            let number = number_of(relation, &column)?;
            let (ty, is_strange) = id_type(relation.columns[&number].type_oid);
            return Some(self.intern(Home {
                section: section.name.clone(),
                index: Some(index),
                relation: oid,
                column,
                id: section.id.unwrap_or(ty),
                is_key,
                is_strange,
            }));
        }
        let (column, is_key) = match relation.primary_key.as_deref() {
            Some([only]) => (*only, true),
            Some(key) => {
                let name = |number: &i16| own.columns.get(number).map(|column| &column.name);
                let looked_up = by.iter().find_map(|number| number_of(relation, name(number)?));
                (looked_up.filter(|number| key.contains(number)).unwrap_or(key[0]), false)
            }
            None => (*relation.columns.keys().next()?, false),
        };
        let column = relation.columns.get(&column)?;
        if let Some(at) = self
            .homes
            .iter()
            .position(|home| home.index.is_none() && home.relation == oid && home.column == column.name)
        {
            return Some(at);
        }
        let base = match is_key {
            true => names::section_name_of(&relation.name),
            false => names::section_name_of(&format!("{}_by_{}", relation.name, column.name)),
        };
        let section = self.new_name(&base);
        let ((id, is_strange), column) = (id_type(column.type_oid), column.name.clone());
        Some(self.intern(Home { section, index: None, relation: oid, column, id, is_key, is_strange }))
    }

    /// Of the section's own rows, by a key of the relation that it maps; None: there is none.
    pub(super) fn of_section(&mut self, index: usize) -> Option<HomeId> {
        let section = &self.said.sections[index];
        let found = self.said.mapped.tables.iter().find_map(|(oid, mapped)| {
            let relation = self.said.facts.relations.get(oid)?;
            mapped.iter().find_map(|(of, column)| {
                let column = column.as_ref().filter(|_| *of == index)?;
                let number = number_of(relation, column)?;
                let is_key = relation.unique.iter().any(|key| **key == [number]);
                is_key.then(|| (*oid, column.clone(), id_type(relation.columns[&number].type_oid)))
            })
        });
        let (relation, column, (ty, is_strange)) = found?;
        let id = section.id.unwrap_or(ty);
        let section = section.name.clone();
        Some(self.intern(Home { section, index: Some(index), relation, column, id, is_key: true, is_strange }))
    }

    fn intern(&mut self, home: Home) -> HomeId {
        let is_it = |known: &Home| {
            known.section == home.section && known.relation == home.relation && known.column == home.column
        };
        self.homes.iter().position(is_it).unwrap_or_else(|| {
            self.homes.push(home);
            self.homes.len() - 1
        })
    }

    fn new_name(&mut self, base: &str) -> Box<str> {
        let mut number = 1;
        loop {
            let name: Box<str> = match number {
                1 => base.into(),
                _ => names::section_name_of(&format!("{}_{number}", &base[..base.len().min(56)])).into(),
            };
            if self.names.insert(name.clone()) {
                return name;
            }
            number += 1;
        }
    }

    /// A section of the catalog that maps the relation by a column, best by a key or one of `by`, and whose space holds all that the query may see.
    fn declared(
        &self,
        oid: u32,
        rule: &Rule,
        query_section: usize,
        sources: &[ParamSource],
        by: &[i16],
    ) -> Option<(usize, Box<str>, bool)> {
        let relation = self.said.facts.relations.get(&oid)?;
        let own = self.said.facts.relations.get(&rule.relation)?;
        let mapped = self.said.mapped.tables.get(&oid).into_iter().flatten();
        let is_key = |column: &str| {
            number_of(relation, column).is_some_and(|number| relation.unique.iter().any(|key| **key == [number]))
        };
        let mapped = mapped.filter_map(|(index, column)| {
            let column = column.clone()?;
            let is_key = is_key(&column);
            Some((*index, column, is_key))
        });
        let tenant_of = |index: usize| self.said.sections[index].tenant;
        let fits = |(index, ..): &(usize, Box<str>, bool)| match tenant_of(*index) {
            None => true,
            Some(tenant) => tenant_of(query_section) == Some(tenant) && self.is_of_tenant(*index, own, rule, sources),
        };
        let mut found: Vec<_> = mapped.filter(fits).collect();
        let is_looked_up =
            |column: &str| by.iter().any(|number| own.columns.get(number).is_some_and(|found| *found.name == *column));
        // By a key, by what the rule looks its rows up by, and its own, first.
        found.sort_by_key(|(index, column, is_key)| (!is_key, !is_looked_up(column), *index != query_section, *index));
        found.into_iter().next()
    }

    /// Does the rule demand that the row is of the call's tenant?
    fn is_of_tenant(&self, section: usize, relation: &Relation, rule: &Rule, sources: &[ParamSource]) -> bool {
        let column = self.said.sections[section].tenant_column.as_deref();
        let Some(column) = column.and_then(|column| number_of(relation, column)) else { return false };
        let is_tenant = |argument: &Expression| {
            let Expression::Argument(number) = argument else { return false };
            sources.get(usize::from(*number).wrapping_sub(1)) == Some(&ParamSource::Tenant)
        };
        rule.local.iter().any(|condition| match condition {
            Expression::Compare(operator, sides) if operator.comparison == Comparison::Equal => {
                let is_column = |side: &Expression| *side == Expression::Column(column);
                (is_column(&sides[0]) && is_tenant(&sides[1])) || (is_column(&sides[1]) && is_tenant(&sides[0]))
            }
            _ => false,
        })
    }

    /// How a predicate names the column of a home's relation; None: it cannot.
    pub(super) fn column(&self, home: HomeId, number: i16) -> Option<Box<str>> {
        let found = &self.homes[home];
        let relation = self.said.facts.relations.get(&found.relation)?;
        let column = relation.columns.get(&number)?;
        let row = found.index.filter(|index| self.said.sections[*index].row.is_some());
        match row {
            // Its author says what the columns are called.
            Some(index) => {
                let of_section = self.said.mapped.rows.iter().filter(|((section, _), _)| *section == index);
                let mut named = of_section.filter(|(_, origin)| **origin == (found.relation, number));
                named.next().map(|((_, name), _)| name.clone()).filter(|name| is_word(name))
            }
            None if column.name == found.column => Some("id".into()),
            None if is_word(&column.name) && *column.name != *"id" => Some(column.name.clone()),
            None => Some(format!("column_{number}").into()),
        }
    }

    /// What is to be added to sections of the catalog, and the new ones.
    pub(super) fn additions(&self, said: Said<'_>) -> BTreeMap<Box<str>, SectionAdditions> {
        let mut additions: BTreeMap<Box<str>, SectionAdditions> = BTreeMap::new();
        for (index, table) in said.own_tables {
            let section = &said.sections[*index];
            // A section of jobs alone has nothing that changes of a table would drop.
            let has_query = section.queries.iter().any(|query| query.plan().is_some());
            if !has_query && !self.homes.iter().any(|home| home.index == Some(*index)) {
                continue;
            }
            let Some(relation) = said.facts.relations.get(table) else { continue };
            let Some([key]) = relation.primary_key.as_deref() else { continue };
            let Some(column) = relation.columns.get(key) else { continue };
            // Whose rows they are would not be told.
            if section.tenant.is_some() && section.tenant_column.is_none() {
                continue;
            }
            let more = additions.entry(section.name.clone()).or_default();
            more.id = section.id.is_none().then(|| id_type(column.type_oid).0);
            more.tables.insert(sql_name(relation).into(), spelled(&column.name));
        }
        for (id, home) in self.homes.iter().enumerate() {
            let Some(relation) = said.facts.relations.get(&home.relation) else { continue };
            if home.index.is_none() {
                let more = additions.entry(home.section.clone()).or_default();
                more.id = Some(home.id);
                more.tables.insert(sql_name(relation).into(), spelled(&home.column));
            }
            let has_row = home.index.is_some_and(|index| said.sections[index].row.is_some());
            if let Some(columns) = self.compared.get(&id).filter(|_| !has_row) {
                let row = self.row(id, relation, columns);
                additions.entry(home.section.clone()).or_default().row = Some(row.into());
            }
        }
        additions
    }

    fn row(&self, id: HomeId, relation: &Relation, columns: &BTreeSet<i16>) -> String {
        let home = &self.homes[id];
        let number = number_of(relation, &home.column);
        let is_text = number.is_some_and(|number| id_type(relation.columns[&number].type_oid).1);
        let column = as_needed(&home.column);
        let key = if is_text { format!("{column}::text") } else { column };
        let mut list = match &*key {
            "id" => "id".to_owned(),
            key => format!("{key} AS id"),
        };
        for other in columns.iter().filter(|other| Some(**other) != number) {
            let Some(found) = relation.columns.get(other) else { continue };
            let Some(name) = self.column(id, *other) else { continue };
            list += &match as_needed(&found.name) {
                sql if *sql == *name => format!(", {sql}"),
                sql => format!(", {sql} AS {}", as_needed(&name)),
            };
        }
        format!("SELECT {list} FROM {} WHERE {key} = ANY({{ids}})", sql_name(relation))
    }
}

pub(super) fn number_of(relation: &Relation, column: &str) -> Option<i16> {
    relation.columns.iter().find(|(_, found)| *found.name == *column).map(|(number, _)| *number)
}

/// May a predicate name a column so?
pub(super) fn is_word(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        && !name.eq_ignore_ascii_case("not")
}

/// A column as `tables` spells it: in quotes where it would be taken for a statement.
fn spelled(column: &str) -> Box<str> {
    match crate::core::sql::spelling::column_name(column).as_deref() == Some(column) {
        true => column.into(),
        false => crate::core::sql::spelling::in_quotes(column).into(),
    }
}
