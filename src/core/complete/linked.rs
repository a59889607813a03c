//! What a predicate demands of rows of a rule: its own conditions, values that it is linked to, and the bound of a page.

use std::collections::BTreeSet;

use super::completer::Completer;
use super::homes::{id_type, HomeId};
use super::page::{Bound, Pages};
use super::words::Words;
use crate::core::derive::facts::Relation;
use crate::core::derive::{Link, Rule};

/// What a predicate demands of the rows of one rule; None: nothing.
pub(super) type Terms = Option<String>;

impl<'a> Completer<'a, '_, '_> {
    /// All that a predicate says of the rule's rows.
    pub(super) fn terms(
        &mut self,
        rule: &'a Rule,
        home: HomeId,
        compared: &mut BTreeSet<i16>,
        page: Option<&mut Option<Bound>>,
    ) -> Terms {
        let relation: &Relation = self.said.facts.relations.get(&rule.relation)?;
        let topmost = self.said.facts.relations.get(&self.homes.get(home).relation)?;
        // A partition may number its columns otherwise.
        let number = |column: i16| super::homes::number_of(topmost, &relation.columns.get(&column)?.name);
        let mut terms: Vec<String> = Vec::new();
        let mut names = BTreeSet::new();
        {
            let homes = &*self.homes;
            let column = |of: i16| {
                let name = homes.column(home, number(of)?)?;
                Some((name, !relation.columns.get(&of)?.not_null))
            };
            let words = Words { query: self.subject.query, sources: self.sources, column: &column };
            for local in &rule.local {
                if let Some(said) = words.wider(local) {
                    names.extend(local.columns().into_iter().copied());
                    terms.push(said);
                }
            }
        }
        for link in &rule.links {
            if let Some(said) = self.link(rule, link, home, &number) {
                names.insert(link.column);
                if !terms.contains(&said) {
                    terms.push(said);
                }
            }
        }
        if let Some(page) = page {
            let name = |column: i16| self.homes.column(home, number(column)?);
            *page = self.bound(rule, &name);
            if let Some(bound) = page {
                names.extend(bound.columns.iter().copied());
                terms.push(bound.said.clone());
            }
        }
        compared.extend(names.into_iter().filter_map(number));
        (!terms.is_empty()).then(|| terms.join(" and "))
    }

    pub(super) fn bound(&self, rule: &Rule, name: &dyn Fn(i16) -> Option<Box<str>>) -> Option<Bound> {
        let new_sections: Vec<&str> = self.of_rule.values().map(|home| &*self.homes.get(*home).section).collect();
        let pages = Pages {
            said: self.said,
            subject: self.subject,
            sources: self.sources,
            statements: self.takes_columns.then_some(&self.statements),
            new_sections: &new_sections,
        };
        pages.bound(rule, name)
    }

    /// What the link demands of the row's column.
    pub(super) fn link(
        &mut self,
        rule: &Rule,
        link: &Link,
        home: HomeId,
        number: &dyn Fn(i16) -> Option<i16>,
    ) -> Option<String> {
        let relation: &Relation = self.said.facts.relations.get(&rule.relation)?;
        let homes = &*self.homes;
        let column = |of: i16| {
            let name = homes.column(home, number(of)?)?;
            Some((name, !relation.columns.get(&of)?.not_null))
        };
        let words = Words { query: self.subject.query, sources: self.sources, column: &column };
        if let Some((family, values)) = self.given(link) {
            return words.one_of(link.column, family, &values);
        }
        let other = self.rule(link.occurrence)?;
        if !self.is_followed(link) {
            return None;
        }
        let (name, _) = column(link.column)?;
        let of_home = self.of_rule.get(&link.occurrence).copied();
        let is_id = of_home.is_some_and(|of| self.is_id(of, other, link.of));
        let own_type = id_type(relation.columns.get(&link.column)?.type_oid).0;
        let is_null_free = |list: String| words.present(link.column, format!("{name} in _{list}"));
        match of_home {
            Some(of) if is_id && !self.is_said(of) && self.homes.get(of).id == own_type => {
                let section = self.section_of(of);
                let said = is_null_free(section.to_string())?;
                match link.of_result && self.is_in_result(other) {
                    // Also where any change of them counts.
                    true => self.list_rows(other, of)?,
                    false => {
                        let rows = self.statements.rows(other, link.of)?;
                        self.listed.entry(section.into()).or_default().insert(rows);
                    }
                }
                Some(said)
            }
            _ => {
                let ty = self.list_type(other, link)?;
                let rows = self.statements.rows(other, link.of)?;
                let name = self.list_name(other, link.of, ty)?;
                let said = is_null_free(name.clone())?;
                self.listed.entry(format!("{name}:{}", ty.name())).or_default().insert(rows);
                Some(said)
            }
        }
    }
}
