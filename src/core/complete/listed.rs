//! Lists: which rows of a home a result holds, and values that rows of others have.

use super::completer::Completer;
use super::homes::{id_type, HomeId};
use super::statement::cast;
use super::words::Values;
use crate::core::calls::names;
use crate::core::catalog::ParamSource;
use crate::core::derive::expression::Expression;
use crate::core::derive::facts::Family;
use crate::core::derive::{Link, Rule};
use crate::core::values::value::ScalarType;

impl Completer<'_, '_, '_> {
    /// Is the rule about rows that are only shown, found by their ids in a column of the result's own rows? That column lists them, also
    /// those that are not there yet.
    pub(super) fn refers(&self, rule: &Rule) -> bool {
        self.reference(rule).is_some()
    }

    pub(super) fn reference<'r>(&self, rule: &'r Rule) -> Option<&'r Link> {
        let home = *self.of_rule.get(&rule.occurrence)?;
        if !rule.is_shown_only || !self.takes_columns {
            return None;
        }
        rule.links.iter().find(|link| {
            let other = self.rule(link.occurrence).filter(|other| self.is_in_result(other));
            let of_type = other.and_then(|other| {
                let column = self.said.facts.relations.get(&other.relation)?.columns.get(&link.of)?;
                Some(id_type(column.type_oid))
            });
            link.of_result && self.is_id(home, rule, link.column) && of_type == Some((self.homes.get(home).id, false))
        })
    }

    pub(super) fn list_referred(&mut self, rule: &Rule, home: HomeId) -> Option<()> {
        let link = self.reference(rule)?;
        let other = self.rule(link.occurrence)?;
        let expression = self.statements.column(other, link.of)?;
        self.hidden.entry(self.section_of(home)).or_default().insert(expression, None);
        Some(())
    }

    /// Lists the rule's rows by their ids.
    pub(super) fn list_rows(&mut self, rule: &Rule, home: HomeId) -> Option<()> {
        let relation = self.said.facts.relations.get(&rule.relation)?;
        let column = super::homes::number_of(relation, &self.homes.get(home).column)?;
        let section = self.section_of(home);
        let rows = self.statements.rows(rule, column)?;
        if self.listed.get(&*section).is_some_and(|listed| listed.contains(&rows)) {
            return Some(());
        }
        if !self.is_in_result(rule) {
            self.listed.entry(section.into()).or_default().insert(rows);
            return Some(());
        }
        let occurrences = self.of_rule.values().filter(|of| **of == home).count();
        if self.is_own(home) && self.shows_own_id() && occurrences == 1 {
            return Some(());
        }
        let expression = self.statements.column(rule, column)?;
        self.hidden.entry(section).or_default().insert(expression, Some(rows));
        Some(())
    }

    /// The type by which values of the link's other end are compared with the column.
    pub(super) fn list_type(&self, other: &Rule, link: &Link) -> Option<ScalarType> {
        let of = self.said.facts.relations.get(&other.relation)?.columns.get(&link.of)?.type_oid;
        let (ty, is_text) = id_type(of);
        match link.family {
            Family::Number | Family::Text | Family::Bool | Family::Uuid => (!is_text).then_some(ty),
            Family::Enum => Some(ScalarType::Text),
            // Instants of different types are compared as none of them.
            Family::Time | Family::Padded | Family::Float => None,
        }
    }

    /// A name for the values of a column, that no section has.
    pub(super) fn list_name(&self, rule: &Rule, column: i16, ty: ScalarType) -> Option<String> {
        let relation = self.said.facts.relations.get(&rule.relation)?;
        let name = &relation.columns.get(&column)?.name;
        let alias = if rule.alias.is_empty() { &relation.name } else { &rule.alias };
        let mut name = names::section_name_of(&format!("{alias}_{name}"));
        let own = self.subject.query.plan().map(|plan| &plan.lists[..]).unwrap_or_default();
        let is_taken = |name: &str| {
            self.said.sections.iter().any(|section| *section.name == *name)
                || own.iter().any(|list| *list.name == *name)
                || self.of_rule.values().any(|home| *self.homes.get(*home).section == *name)
                || self
                    .listed
                    .keys()
                    .any(|key| key.split_once(':').is_some_and(|(of, other)| of == name && other != ty.name()))
        };
        for _ in 0..8 {
            if !is_taken(&name) {
                return Some(name);
            }
            name = names::section_name_of(&format!("{name}_{}", "values"));
        }
        None
    }

    /// A SELECT of the ids of the home that rows of the rule have.
    pub(super) fn values(&self, rule: &Rule, home: HomeId) -> Option<String> {
        let home = self.homes.get(home);
        let relation = self.said.facts.relations.get(&rule.relation)?;
        let column = super::homes::number_of(relation, &home.column)?;
        let ty = cast(home.id);
        let of_values = |values: Values| -> Option<String> {
            let name = |number: u16| match self.sources.get(usize::from(number).checked_sub(1)?)? {
                ParamSource::Arg(index) => Some(format!("{{{}}}", self.subject.query.call.args().get(*index)?.name)),
                ParamSource::Tenant => Some("{tenant}".to_owned()),
            };
            Some(match values {
                Values::Argument(number) => format!("SELECT {}::{ty}", name(number)?),
                Values::Arguments(number) => format!("SELECT unnest({})::{ty}", name(number)?),
                Values::Several(values) => {
                    let texts = values.iter().map(|value| match value {
                        Expression::Argument(number) => Some(format!("({}::{ty})", name(*number)?)),
                        Expression::Constant(Some(text)) if !text.contains('{') => {
                            Some(format!("('{}'::{ty})", text.replace('\'', "''")))
                        }
                        _ => None,
                    });
                    let texts: Vec<String> = texts.collect::<Option<_>>()?;
                    format!("VALUES {}", texts.join(", "))
                }
            })
        };
        if let Some((_, values)) = Values::of(column, &rule.local) {
            return of_values(values);
        }
        let link = rule.links.iter().find(|link| link.column == column && self.is_followed(link))?;
        if let Some((_, values)) = self.given(link) {
            return of_values(values);
        }
        let other = self.rule(link.occurrence)?;
        let of = id_type(self.said.facts.relations.get(&other.relation)?.columns.get(&link.of)?.type_oid);
        (of == (home.id, false)).then(|| self.statements.rows(other, link.of)).flatten()
    }
}
