//! What is said beside a query of each relation that its SQL reads, and whether it drops all that a change may concern.
//!
//! | said of the relation's rows | drops with |
//! |---|---|
//! | nothing, of the own section; `on = "*"`; `on` of rows that the result does not list | any change: always enough |
//! | `match`, `on` with a predicate | rows that are listed, or meet it: enough if the SQL demands all that the predicate does |
//! | a column `_<section>` alone | rows that are listed: enough if they are only shown, and are there for certain |
//! | nothing, of another section | nothing |

use std::collections::BTreeSet;
use std::sync::Arc;

use super::implied::Concerned;
use super::listing::{Held, Listing};
use super::origins::{compared_otherwise, target};
use super::proof::Verdict;
pub use super::proof::{Mapped, Mappings, Proof, Standing, Stated};
use super::prover::{listing_of, Prover};
use crate::core::calls::predicate::Predicate;
use crate::core::catalog::{OnRule, ParamSource, Section, Source};
use crate::core::derive::expression::Expression;
use crate::core::derive::facts::Facts;
use crate::core::derive::moments::moments;
use crate::core::derive::tree::Node;
use crate::core::derive::{Derived, Refusal, Rule};

/// Compares what is said with what was derived; `statement` is the tree of the query's SQL. `listings`: the statements of its
/// `lists`. `completed`: occurrences of relations of which nothing is said, for what is derived is in force.
pub fn prove(
    stated: Stated<'_>,
    mapped: &Mapped,
    statement: &Node,
    derived: &Derived,
    listings: &[Listing<'_>],
    facts: &Facts,
    completed: &BTreeSet<usize>,
) -> Proof {
    let sources: &[ParamSource] = match &stated.query.source {
        Source::Sql { params, .. } => params,
        Source::Computed(_) => &[],
    };
    let listing_of = |section| listing_of(stated, statement, section);
    let held = Held::of(stated.query, listings, derived, facts, listing_of);
    let concerned = Concerned { rules: &derived.rules, sources, held };
    let otherwise = compared_otherwise(statement, facts);
    let prover = Prover { stated, mapped, statement, facts, concerned, otherwise, derived, listings, completed };
    let mut verdicts = prover.of_refusals(derived);
    verdicts.extend(prover.of_ids());
    let is_said = |rule: &&Rule| !completed.contains(&rule.occurrence);
    verdicts.extend(derived.rules.iter().filter(is_said).map(|rule| prover.of_relation(rule)));
    verdicts.extend(prover.of_reads());
    let (mut wrong, mut unclear) = (BTreeSet::new(), BTreeSet::new());
    for verdict in verdicts {
        match verdict {
            Verdict::Enough => {}
            Verdict::Unclear(reason) => drop(unclear.insert(reason)),
            Verdict::Short(error) => drop(wrong.insert(error)),
        }
    }
    let trust = stated.query.trust.as_deref();
    let (standing, reasons) = match trust {
        Some(trust) => (Standing::Trusted, vec![trust.to_owned()]),
        None if !wrong.is_empty() => (Standing::Wrong, wrong.into_iter().collect()),
        None if !unclear.is_empty() => (Standing::Declared, unclear.into_iter().collect()),
        None if !completed.is_empty() => (Standing::Derived, Vec::new()),
        None => (Standing::Proven, Vec::new()),
    };
    let mut reasons = reasons;
    if matches!(standing, Standing::Derived | Standing::Proven | Standing::Declared) {
        reasons.extend(derived.warnings.iter().map(ToString::to_string));
    }
    Proof { standing, reasons }
}

impl Prover<'_> {
    /// Results that change by themselves, or by what no feed tells of.
    fn of_refusals(&self, derived: &Derived) -> Vec<Verdict> {
        // Waiting changes no result. A lock of the session would stay with one of bear's.
        let waits =
            |refusal: &&Refusal| ["pg_sleep", "pg_advisory_xact_"].iter().any(|name| refusal.what.starts_with(name));
        let literals = self.query().plan().map_or_else(BTreeSet::new, |plan| moments(self.statement, &plan.sql));
        let read_once = literals.iter().map(|literal| {
            Verdict::Short(format!(
                "{literal} is read once, when the statement is prepared; write now(), CURRENT_DATE or what follows from them, \
                 with a ttl"
            ))
        });
        let verdict = |refusal: &Refusal| match refusal.why.is_covered_by_ttl() {
            true if self.query().says_ttl => Verdict::Enough,
            // Its author has thought of the clock: the entry ends when a row's time comes.
            true if target(self.statement, "_until").is_some() => Verdict::Unclear(refusal.to_string()),
            true => Verdict::Short(format!("{refusal}; say ttl = \"…\" beside it, which then is the promise")),
            false => {
                Verdict::Short(format!("{refusal}; say trust = \"why it may be cached\" beside it, or leave it out"))
            }
        };
        derived.refused.iter().filter(|refusal| !waits(refusal)).map(verdict).chain(read_once).collect()
    }

    /// The best of what is said of the relation by each section that maps it.
    fn of_relation(&self, rule: &Rule) -> Verdict {
        let root = self.relation(rule.relation).and_then(|relation| relation.root);
        let mappings = self.mapped.tables.get(&rule.relation).or_else(|| self.mapped.tables.get(&root?));
        let Some(mappings) = mappings.filter(|mappings| !mappings.is_empty()) else {
            return Verdict::Unclear(format!("no section maps '{}'", self.name_of(rule.relation)));
        };
        let mut best = None;
        for (section, column) in mappings {
            let verdict = self.of_section(rule, *section, column.as_deref());
            best = match (best, verdict) {
                (_, Verdict::Enough) => return Verdict::Enough,
                (Some(Verdict::Unclear(reason)), _) | (_, Verdict::Unclear(reason)) => Some(Verdict::Unclear(reason)),
                (Some(short), Verdict::Short(_)) => Some(short),
                (None, short) => Some(short),
            };
        }
        best.unwrap_or(Verdict::Enough)
    }

    fn of_section(&self, rule: &Rule, section: usize, column: Option<&str>) -> Verdict {
        let found = &self.stated.sections[section];
        let is_own = section == self.stated.section;
        let listing = self.listing_of(section);
        let is_listed = self.is_listed(section);
        let on = self.query().on.iter().find(|on| on.section == section).map(|on| &on.rule);
        let predicate: Option<(&str, &Arc<Predicate>)> = match (is_own, on, &self.query().match_) {
            (true, _, Some(predicate)) => Some(("match", predicate)),
            (true, _, None) | (false, Some(OnRule::Any), _) => None,
            (false, Some(OnRule::Rows(predicate)), _) if is_listed => Some((&*found.name, predicate)),
            // Nobody knows which of its rows: any.
            (false, Some(OnRule::Rows(_)), _) => None,
            (false, None, _) if is_listed => return self.of_listed(rule, section, column, &listing),
            (false, None, _) => return self.of_unsaid(rule, section),
        };
        if let Some(reason) = self.of_tenant(rule, found) {
            return Verdict::Unclear(reason);
        }
        match predicate {
            None => Verdict::Enough,
            Some((key, predicate)) => self.of_predicate(rule, section, column, &listing, key, predicate),
        }
    }

    /// Why a change in another tenant's space may concern the result.
    fn of_tenant(&self, rule: &Rule, section: &Section) -> Option<String> {
        section.tenant?;
        let own = section.tenant_column.as_deref().and_then(|column| self.number(rule.relation, column));
        let is_tenant = |part: &Expression| {
            let Expression::Argument(number) = part else { return false };
            let source = usize::from(*number).checked_sub(1).and_then(|at| self.concerned.sources.get(at));
            source == Some(&ParamSource::Tenant)
        };
        let is_restricted = self.concerned.equates(rule, own?, &is_tenant);
        (!is_restricted)
            .then(|| format!("that only rows of the tenant are read of '{}' is not known", self.name_of(rule.relation)))
    }
}
