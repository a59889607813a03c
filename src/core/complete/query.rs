//! What one query leaves unsaid.
//!
//! For each relation that its SQL reads, by the home of what changes of it are told to:
//!
//! | the home | rows that come | rows that go or change |
//! |---|---|---|
//! | by a key | meet a predicate: conditions of the rule, values that it is linked to | are listed: in a hidden column where each of them is a part of a row of the result, else by a statement of the rule |
//! | by another column | have one of the listed values there | have had one |
//! | with nothing to restrict it | any | any |

use std::collections::{BTreeMap, BTreeSet};

use super::homes::{id_type, HomeId, Homes};
use super::page::{Bound, Pages};
use super::statement::{cast, Statements};
use super::words::{Values, Words};
use super::{Said, Subject};
use crate::core::calls::names;
use crate::core::calls::predicate::Predicate;
use crate::core::catalog::additions::QueryAdditions;
use crate::core::catalog::{ParamSource, Query, Source as QuerySource};
use crate::core::derive::expression::Expression;
use crate::core::derive::facts::{Family, Relation};
use crate::core::derive::{Link, Reads, Rule};
use crate::core::prove::origins::{of_target, target};
use crate::core::sql::hidden::end_of_list;
use crate::core::sql::spelling::in_quotes;
use crate::core::values::value::ScalarType;

/// Conditions of rules that read the same relation, one of which a row must meet: of more, any row counts.
const MAX_ALTERNATIVES: usize = 8;

/// Statements that list something. `read_lists` takes 32, the author's too.
const MAX_LISTS: usize = 16;

#[derive(Debug, Clone, Default)]
pub(super) struct Found {
    pub additions: QueryAdditions,
    pub covered: BTreeSet<usize>,
    pub reasons: BTreeSet<String>,
}

/// `is_coarse`: what is written otherwise was refused by Postgres.
pub(super) fn complete(said: Said<'_>, homes: &mut Homes<'_>, subject: &Subject<'_>, is_coarse: bool) -> Found {
    let sources: &[ParamSource] = match &subject.query.source {
        QuerySource::Sql { params, .. } => params,
        QuerySource::Computed(_) => return Found::default(),
    };
    let (derived, plan) = (subject.derived, subject.query.plan());
    let statements =
        Statements { query: subject.query, sources, rules: &derived.rules, given: &derived.sources, facts: said.facts };
    let mut completer = Completer {
        said,
        subject,
        sources,
        statements,
        homes,
        of_rule: BTreeMap::new(),
        is_coarse,
        is_any_own: false,
        takes_columns: derived.is_rowwise && plan.is_some_and(|plan| end_of_list(&plan.sql).is_some()),
        listed: BTreeMap::new(),
        hidden: BTreeMap::new(),
        found: Found::default(),
    };
    completer.place_rules();
    completer.run();
    completer.found
}

struct Completer<'a, 'h, 'f> {
    said: Said<'a>,
    subject: &'a Subject<'a>,
    sources: &'a [ParamSource],
    statements: Statements<'a>,
    homes: &'h mut Homes<'f>,
    /// By occurrence.
    of_rule: BTreeMap<usize, HomeId>,
    is_coarse: bool,
    /// Any change of the query's own section counts.
    is_any_own: bool,
    /// May hidden columns tell what is in the result?
    takes_columns: bool,
    /// SELECTs by the name of their list, `name` or `name:type`.
    listed: BTreeMap<String, BTreeSet<String>>,
    /// Expressions by the section whose rows they list; each with the SELECT that lists as many, if there is one.
    hidden: BTreeMap<Box<str>, BTreeMap<String, Option<String>>>,
    found: Found,
}

/// What a predicate demands of the rows of one rule; None: nothing.
type Terms = Option<String>;

impl<'a> Completer<'a, '_, '_> {
    fn rules(&self) -> &'a [Rule] {
        &self.subject.derived.rules
    }

    fn place_rules(&mut self) {
        for rule in self.rules().iter().filter(|rule| !self.is_told(rule)).collect::<Vec<_>>() {
            let by = self.looked_up(rule);
            if let Some(home) = self.homes.find(rule, self.subject.section, self.sources, &by) {
                self.of_rule.insert(rule.occurrence, home);
            }
        }
    }

    /// Columns of which the rule demands one of some values; those of arguments and constants first.
    fn looked_up(&self, rule: &Rule) -> Vec<i16> {
        let Some(relation) = self.said.facts.relations.get(&rule.relation) else { return Vec::new() };
        let by_value = relation.columns.keys().copied().filter(|column| Values::of(*column, &rule.local).is_some());
        let by_link = rule.links.iter().filter(|link| self.is_followed(link)).map(|link| link.column);
        by_value.chain(by_link).collect()
    }

    /// Can the values that the link leads to be told? Of a relation with nothing to restrict it there are too many.
    fn is_followed(&self, link: &Link) -> bool {
        match self.rule(link.occurrence) {
            Some(other) => !other.local.is_empty() || other.links.iter().any(|link| self.is_followed(link)),
            None => self.statements.given.contains_key(&link.occurrence),
        }
    }

    fn rule(&self, occurrence: usize) -> Option<&'a Rule> {
        self.rules().iter().find(|rule| rule.occurrence == occurrence)
    }

    fn section_of(&self, home: HomeId) -> Box<str> {
        self.homes.get(home).section.clone()
    }

    fn is_own(&self, home: HomeId) -> bool {
        self.homes.get(home).index == Some(self.subject.section)
    }

    /// Does the author say something of the home's rows?
    fn is_said(&self, home: HomeId) -> bool {
        self.homes.get(home).index.is_some_and(|index| self.says(index))
    }

    /// Does the author say something of the section's rows?
    fn says(&self, index: usize) -> bool {
        let section = &self.said.sections[index].name;
        let query = self.subject.query;
        let is_listed = target(self.subject.tree, &format!("_{section}")).is_some()
            || query.plan().is_some_and(|plan| plan.lists.iter().any(|list| list.name == *section));
        match index == self.subject.section {
            true => is_listed || query.says_match || (query.says_rows && !query.rows),
            false => is_listed || query.on.iter().any(|on| on.section == index),
        }
    }

    /// Are changes of the rule's relation told to a section, of whatever sort its mapping is, of which the author says something?
    fn is_told(&self, rule: &Rule) -> bool {
        let topmost = self.homes.topmost(rule.relation);
        let mapped = self.said.mapped.tables.get(&topmost).into_iter().flatten();
        mapped.into_iter().any(|(index, _)| self.says(*index))
    }

    /// Does the query's own section map the home's relation?
    fn is_told_to_own(&self, home: HomeId) -> bool {
        let mapped = self.said.mapped.tables.get(&self.homes.get(home).relation).into_iter().flatten();
        mapped.into_iter().any(|(index, _)| *index == self.subject.section)
    }

    fn run(&mut self) {
        let mut homes: Vec<HomeId> = self.of_rule.values().copied().collect();
        homes.sort_by_key(|home| (!self.is_own(*home), *home));
        homes.dedup();
        for home in homes {
            if self.is_said(home) {
                continue;
            }
            // Its changes are changes of the section, too, of which any counts.
            if self.is_any_own && !self.is_own(home) && self.is_told_to_own(home) {
                let rules = self.rules().iter().filter(|rule| self.of_rule.get(&rule.occurrence) == Some(&home));
                self.found.covered.extend(rules.map(|rule| rule.occurrence));
                continue;
            }
            let occurrences: Vec<&Rule> =
                self.rules().iter().filter(|rule| self.of_rule.get(&rule.occurrence) == Some(&home)).collect();
            self.found.covered.extend(occurrences.iter().map(|rule| rule.occurrence));
            match self.homes.get(home) {
                _ if self.is_coarse => self.any(home, "what would restrict it was refused by Postgres"),
                found if found.is_strange => self.any(home, "its key is of a type that bear does not know"),
                found if found.is_key => self.by_key(home, &occurrences),
                _ => self.by_column(home, &occurrences),
            }
        }
        self.own_rows();
        self.columns();
        if self.is_any_own {
            self.found.additions.match_ = None;
        }
        self.drop_unused_page();
        let hidden = std::mem::take(&mut self.hidden);
        for (section, expressions) in hidden {
            let listed = self.listed.get(&*section);
            let is_listed =
                |rows: &Option<String>| rows.as_ref().is_some_and(|rows| listed.is_some_and(|of| of.contains(rows)));
            let expressions: Vec<String> = expressions
                .into_iter()
                .filter(|(_, rows)| !is_listed(rows))
                .map(|(expression, _)| expression)
                .collect();
            let expression = match &expressions[..] {
                [] => continue,
                [only] => only.clone(),
                several => format!("ARRAY[{}]", several.join(", ")),
            };
            self.found.additions.hidden.push((format!("_{section}").into(), expression.into()));
        }
        for (name, statements) in std::mem::take(&mut self.listed) {
            let statements: Vec<String> = statements.into_iter().collect();
            self.found.additions.lists.insert(name.into(), statements.join(" UNION ").into());
        }
    }

    /// Where any change counts after all, nothing compares with the last row.
    fn drop_unused_page(&mut self) {
        let additions = &mut self.found.additions;
        let is_compared = |said: &str| said.contains("<= _last");
        if !additions.match_.iter().chain(additions.on.values()).any(|said| is_compared(said)) {
            additions.page = None;
            // No others are there yet.
            additions.hidden.clear();
        }
    }

    /// Which columns decide, of the rows of each section that nothing else tells of: a change of others is none.
    fn columns(&mut self) {
        let mut read: BTreeMap<usize, Option<BTreeSet<Box<str>>>> = BTreeMap::new();
        for rule in self.rules() {
            let topmost = self.homes.topmost(rule.relation);
            let mapped = self.said.mapped.tables.get(&topmost).into_iter().flatten().map(|(index, _)| *index);
            let home = self.of_rule.get(&rule.occurrence).filter(|_| self.found.covered.contains(&rule.occurrence));
            let told: BTreeSet<usize> = mapped.chain(home.and_then(|home| self.homes.get(*home).index)).collect();
            let columns = home.and_then(|_| self.columns_of(rule));
            for index in told {
                join(read.entry(index).or_insert_with(|| Some(BTreeSet::new())), columns.clone());
            }
        }
        let mut by_name: BTreeMap<Box<str>, Option<BTreeSet<Box<str>>>> =
            read.into_iter().map(|(index, columns)| (self.said.sections[index].name.clone(), columns)).collect();
        // New sections, which are told of one relation alone.
        for (occurrence, home) in &self.of_rule {
            let home = self.homes.get(*home);
            if let (None, Some(rule)) = (home.index, self.rule(*occurrence)) {
                let columns = by_name.entry(home.section.clone()).or_insert_with(|| Some(BTreeSet::new()));
                join(columns, self.columns_of(rule));
            }
        }
        for (section, columns) in by_name {
            let Some(columns) = columns else { continue };
            let is_said = self.subject.query.reads.iter().any(|of| of.of(section.as_bytes()).is_some());
            if !is_said {
                let columns: Vec<String> = columns.iter().map(|name| spelled(name)).collect();
                self.found.additions.reads.insert(section, columns.join(", ").into());
            }
        }
    }

    /// None: any of them may.
    fn columns_of(&self, rule: &Rule) -> Option<BTreeSet<Box<str>>> {
        let Reads::Columns(numbers) = &rule.reads else { return None };
        let relation = self.said.facts.relations.get(&rule.relation)?;
        numbers.iter().map(|number| Some(relation.columns.get(number)?.name.clone())).collect()
    }

    /// The column of a relation that the result's `id` is.
    fn id_of(&self) -> Option<(u32, i16)> {
        of_target(self.subject.tree, "id", self.said.facts)
    }

    /// Is the result's own column `id` that of the rows of the query's section?
    fn shows_own_id(&self) -> bool {
        let Some((relation, column)) = self.id_of() else { return false };
        let own = self.of_rule.values().find(|home| self.is_own(**home));
        own.is_some_and(|home| {
            let home = self.homes.get(*home);
            let name = self.said.facts.relations.get(&relation).and_then(|found| found.columns.get(&column));
            self.homes.topmost(relation) == home.relation && name.is_some_and(|found| found.name == home.column)
        })
    }

    /// Whether `id` tells the rows of the section.
    fn own_rows(&mut self) {
        let query = self.subject.query;
        let own = self.of_rule.values().find(|home| self.is_own(**home)).copied();
        if query.says_rows || self.says(self.subject.section) {
            return;
        }
        let rows = match own {
            Some(_) => self.shows_own_id(),
            // Of what its author speaks of, some may be its own.
            None if self.rules().iter().any(|rule| !self.of_rule.contains_key(&rule.occurrence)) => return,
            // Who else but its author knows of which rows?
            None if target(self.subject.tree, "id").is_some() && self.id_of().is_none() => return,
            None => {
                self.none_of_own();
                false
            }
        };
        // What is not tracked by `id` is listed beside it, or any change counts.
        self.found.additions.rows = Some(rows);
    }

    /// The SQL reads nothing of the section's own rows: it lists none of them, so that none is one of those.
    fn none_of_own(&mut self) {
        let index = self.subject.section;
        let Some(home) = self.homes.of_section(index) else { return };
        let (section, ty) = (self.section_of(home), cast(self.homes.get(home).id));
        self.homes.compared.entry(home).or_default();
        self.found.additions.match_ = Some(format!("id in _{section}").into());
        let none = format!("SELECT NULL::{ty} WHERE false");
        self.listed.entry(section.into()).or_default().insert(none);
    }

    fn any(&mut self, home: HomeId, reason: &str) {
        let section = self.section_of(home);
        let name = self.name_of(self.homes.get(home).relation);
        self.found.reasons.insert(format!("any change of '{name}' counts: {reason}"));
        match self.is_own(home) {
            true => self.is_any_own = true,
            false => drop(self.found.additions.on.insert(section, "*".into())),
        }
    }

    fn name_of(&self, relation: u32) -> String {
        match self.said.facts.relations.get(&relation) {
            Some(relation) if &*relation.schema == "public" => relation.name.to_string(),
            Some(relation) => format!("{}.{}", relation.schema, relation.name),
            None => format!("the relation of oid {relation}"),
        }
    }

    fn by_key(&mut self, home: HomeId, rules: &[&'a Rule]) {
        let kept = (self.listed.clone(), self.hidden.clone());
        let shown_only: Vec<bool> = rules.iter().map(|rule| self.refers(rule)).collect();
        let mut alternatives: BTreeSet<String> = BTreeSet::new();
        let mut compared: BTreeSet<i16> = BTreeSet::new();
        let is_alone = shown_only.iter().filter(|is_shown_only| !**is_shown_only).count() == 1;
        let mut bound = None;
        for (rule, is_shown_only) in rules.iter().zip(&shown_only) {
            if *is_shown_only {
                continue;
            }
            match self.terms(rule, home, &mut compared, is_alone.then_some(&mut bound)) {
                Some(terms) => drop(alternatives.insert(terms)),
                None => {
                    (self.listed, self.hidden) = kept;
                    let reason = rule.coarse.unwrap_or(match rule.left_out {
                        true => "its conditions are none that a predicate says",
                        false => "its conditions compare what no predicate does",
                    });
                    return self.any(home, reason);
                }
            }
        }
        let lists = rules.iter().zip(&shown_only).try_for_each(|(rule, is_shown_only)| match is_shown_only {
            true => self.list_referred(rule, home),
            false => self.list_rows(rule, home),
        });
        let several = alternatives.len() > 1;
        let is_too_many = alternatives.len() > MAX_ALTERNATIVES || self.listed.len() > MAX_LISTS;
        let alternatives: Vec<String> =
            alternatives.into_iter().map(|terms| if several { format!("({terms})") } else { terms }).collect();
        let predicate: Box<str> = alternatives.join(" or ").into();
        let is_one = predicate.is_empty() || is_predicate(&predicate, self.subject.query);
        if is_too_many || lists.is_none() || !is_one {
            (self.listed, self.hidden) = kept;
            return self.any(home, "too much would have to be compared");
        }
        if !compared.is_empty() {
            self.homes.compared.entry(home).or_default().extend(compared);
        }
        if predicate.is_empty() {
            return;
        }
        if let Some(bound) = bound {
            self.found.additions.page = Some(bound.size);
            self.found.additions.hidden.extend(bound.hidden);
        }
        match self.is_own(home) {
            true => self.found.additions.match_ = Some(predicate),
            // Another relation that is told to it may be one of which any change counts.
            false => drop(self.found.additions.on.entry(self.section_of(home)).or_insert(predicate)),
        }
    }

    /// All that a predicate says of the rule's rows.
    fn terms(
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

    fn bound(&self, rule: &Rule, name: &dyn Fn(i16) -> Option<Box<str>>) -> Option<Bound> {
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
    fn link(&mut self, rule: &Rule, link: &Link, home: HomeId, number: &dyn Fn(i16) -> Option<i16>) -> Option<String> {
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

    /// Arguments or constants that the link's other end must be.
    fn given(&self, link: &Link) -> Option<(Family, Values)> {
        use crate::core::derive::Source;
        match self.statements.given.get(&link.occurrence) {
            Some(Source::Unnest(Expression::Argument(number))) => Some((link.family, Values::Arguments(*number))),
            Some(Source::Values(rows)) => {
                let at = usize::try_from(link.of).ok()?.checked_sub(1)?;
                let values: Option<Vec<Expression>> = rows.iter().map(|row| row.get(at).cloned()).collect();
                Some((link.family, Values::several(&values?)?))
            }
            Some(_) => None,
            None => {
                let (family, values) = Values::of(link.of, &self.rule(link.occurrence)?.local)?;
                (family == link.family).then_some((family, values))
            }
        }
    }

    /// Is the column the one that holds the ids of the home?
    fn is_id(&self, home: HomeId, rule: &Rule, column: i16) -> bool {
        let home = self.homes.get(home);
        let found = self.said.facts.relations.get(&rule.relation).and_then(|of| of.columns.get(&column));
        home.is_key && !home.is_strange && found.is_some_and(|found| found.name == home.column)
    }

    /// The type by which values of the link's other end are compared with the column.
    fn list_type(&self, other: &Rule, link: &Link) -> Option<ScalarType> {
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
    fn list_name(&self, rule: &Rule, column: i16, ty: ScalarType) -> Option<String> {
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

    fn is_in_result(&self, rule: &Rule) -> bool {
        rule.is_in_result && self.takes_columns
    }

    /// Is the rule about rows that are only shown, found by their ids in a column of the result's own rows? That column lists them, also
    /// those that are not there yet.
    fn refers(&self, rule: &Rule) -> bool {
        self.reference(rule).is_some()
    }

    fn reference<'r>(&self, rule: &'r Rule) -> Option<&'r Link> {
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

    fn list_referred(&mut self, rule: &Rule, home: HomeId) -> Option<()> {
        let link = self.reference(rule)?;
        let other = self.rule(link.occurrence)?;
        let expression = self.statements.column(other, link.of)?;
        self.hidden.entry(self.section_of(home)).or_default().insert(expression, None);
        Some(())
    }

    /// Lists the rule's rows by their ids.
    fn list_rows(&mut self, rule: &Rule, home: HomeId) -> Option<()> {
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

    /// Of a home whose ids are values of a column that is no key: those that the rule demands.
    fn by_column(&mut self, home: HomeId, rules: &[&'a Rule]) {
        let mut statements = BTreeSet::new();
        for rule in rules {
            match self.values(rule, home) {
                Some(statement) => drop(statements.insert(statement)),
                None => {
                    let reason =
                        rule.coarse.unwrap_or("it has no key of one column, and is not looked up by one of several");
                    return self.any(home, reason);
                }
            }
        }
        self.listed.entry(self.section_of(home).into()).or_default().extend(statements);
    }

    /// A SELECT of the ids of the home that rows of the rule have.
    fn values(&self, rule: &Rule, home: HomeId) -> Option<String> {
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

fn join(columns: &mut Option<BTreeSet<Box<str>>>, more: Option<BTreeSet<Box<str>>>) {
    *columns = columns.take().zip(more).map(|(columns, more)| &columns | &more);
}

/// A column as `reads` spells it.
fn spelled(name: &str) -> String {
    match name.contains([',', '"']) || name.trim() != name {
        true => in_quotes(name),
        false => name.to_owned(),
    }
}

/// Does it read as one? What its lists are is known.
fn is_predicate(text: &str, query: &Query) -> bool {
    Predicate::parse_linked(text, query.call.args(), &mut |_| Ok((0, ScalarType::Int))).is_ok()
}
