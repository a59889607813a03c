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

use super::completer::{Completer, Found};
use super::homes::{HomeId, Homes};
use super::statement::{cast, Statements};
use super::{Said, Subject};
use crate::core::calls::predicate::Predicate;
use crate::core::catalog::{ParamSource, Query, Source as QuerySource};
use crate::core::derive::Rule;
use crate::core::prove::origins::target;
use crate::core::sql::hidden::end_of_list;

use crate::core::values::value::ScalarType;

/// Conditions of rules that read the same relation, one of which a row must meet: of more, any row counts.
const MAX_ALTERNATIVES: usize = 8;

/// Statements that list something. `read_lists` takes 32, the author's too.
const MAX_LISTS: usize = 16;

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

impl<'a> Completer<'a, '_, '_> {
    pub(super) fn run(&mut self) {
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
    pub(super) fn drop_unused_page(&mut self) {
        let additions = &mut self.found.additions;
        let is_compared = |said: &str| said.contains("<= _last");
        if !additions.match_.iter().chain(additions.on.values()).any(|said| is_compared(said)) {
            additions.page = None;
            // No others are there yet.
            additions.hidden.clear();
        }
    }

    /// Whether `id` tells the rows of the section.
    pub(super) fn own_rows(&mut self) {
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
    pub(super) fn none_of_own(&mut self) {
        let index = self.subject.section;
        let Some(home) = self.homes.of_section(index) else { return };
        let (section, ty) = (self.section_of(home), cast(self.homes.get(home).id));
        self.homes.compared.entry(home).or_default();
        self.found.additions.match_ = Some(format!("id in _{section}").into());
        let none = format!("SELECT NULL::{ty} WHERE false");
        self.listed.entry(section.into()).or_default().insert(none);
    }

    pub(super) fn by_key(&mut self, home: HomeId, rules: &[&'a Rule]) {
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

    /// Of a home whose ids are values of a column that is no key: those that the rule demands.
    pub(super) fn by_column(&mut self, home: HomeId, rules: &[&'a Rule]) {
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
}

/// Does it read as one? What its lists are is known.
fn is_predicate(text: &str, query: &Query) -> bool {
    Predicate::parse_linked(text, query.call.args(), &mut |_| Ok((0, ScalarType::Int))).is_ok()
}
