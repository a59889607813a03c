//! Queries that may be proposed, tried as they would be loaded: beside the catalog in use, derived and proven.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::sync::Arc;
use std::time::Instant;

use super::asked::{Known, ProposalError};
use crate::core::catalog::additions::QueryAdditions;
use crate::core::catalog::read_catalog;
use crate::core::catalog::{Catalog, Section};
use crate::core::propose::facts::Feed;
use crate::core::propose::query::{Home, Lines, Proposal};
use crate::core::prove::claims::{Proof, Standing};
use crate::postgres::check::validation::{CatalogFile, StatementKind, ValidateStatement, Validation, ValidationReport};
use crate::postgres::connect::pool::Pool;

/// What a refusal says that a ttl may cover.
const BY_CLOCK: &str = "changes with the clock";

/// Of results that change by themselves.
const TTL: &str = "1m";

/// A query that may be proposed.
#[derive(Debug, Clone)]
pub(super) struct Candidate {
    pub(super) home: Home,
    pub(super) proposal: Proposal,
    /// Lines of comment above it.
    pub(super) above: Vec<String>,
    says_no_rows: bool,
    ttl: Option<&'static str>,
    verdict: Result<Vec<String>, String>,
}

impl Candidate {
    pub(super) fn new(home: Home, proposal: Proposal, above: Vec<String>) -> Candidate {
        Candidate { home, proposal, above, says_no_rows: false, ttl: None, verdict: Ok(Vec::new()) }
    }

    /// The same with a ttl as its promise, where that is what it lacks.
    pub(super) fn with_ttl(&self) -> Option<Candidate> {
        let is_by_clock = |reason: &&str| reason.contains(BY_CLOCK) && !reason.contains("is volatile");
        let reason = self.refused().filter(is_by_clock).filter(|_| self.ttl.is_none())?;
        let why = reason.split("; say ").next().unwrap_or_default();
        let mut again = Candidate::new(self.home.clone(), self.proposal.clone(), self.above.clone());
        again.proposal.notes.push(format!("{why}, which nobody tells: results are as old as this ttl; choose it"));
        again.ttl = Some(TTL);
        Some(again)
    }

    /// Why it cannot be cached.
    pub(super) fn refused(&self) -> Option<&str> {
        self.verdict.as_ref().err().map(|reason| &**reason)
    }
}

/// As they stand in a file.
pub(super) fn text(candidates: &[Candidate]) -> String {
    let mut text = String::new();
    let mut headed = BTreeSet::new();
    for candidate in candidates {
        if headed.insert(&candidate.home.section) {
            text += &candidate.home.to_string();
        }
        let below = candidate.verdict.as_deref().unwrap_or_default();
        let lines = Lines {
            section: &candidate.home.section,
            proposal: &candidate.proposal,
            says_no_rows: candidate.says_no_rows,
            ttl: candidate.ttl,
            above: &candidate.above,
            below,
        };
        text += &format!("{lines}\n");
    }
    text
}

/// Tries them all; those that cannot be cached say why.
pub(super) fn try_all(
    pool: &Pool,
    known: &Known,
    candidates: &mut Vec<Candidate>,
    deadline: Instant,
) -> Result<Vec<Candidate>, ProposalError> {
    let mut refused = Vec::new();
    loop {
        let verdicts = verdicts(pool, known, candidates, deadline)?;
        let mut is_settled = true;
        let mut kept = Vec::with_capacity(candidates.len());
        for (mut candidate, verdict) in candidates.drain(..).zip(verdicts) {
            let is_wrong = verdict.is_err();
            // What it is refused for at first says more than what it is refused for once its rows are left out.
            if candidate.verdict.is_ok() || !is_wrong {
                candidate.verdict = verdict;
            }
            match (is_wrong, candidate.says_no_rows) {
                // Those that are kept are tried without it.
                (true, true) => {
                    is_settled = false;
                    refused.push(candidate);
                }
                (true, false) => {
                    candidate.says_no_rows = true;
                    is_settled = false;
                    kept.push(candidate);
                }
                (false, _) => kept.push(candidate),
            }
        }
        *candidates = kept;
        if is_settled {
            return Ok(refused);
        }
    }
}

fn verdicts(
    pool: &Pool,
    known: &Known,
    candidates: &[Candidate],
    deadline: Instant,
) -> Result<Vec<Result<Vec<String>, String>>, ProposalError> {
    if candidates.is_empty() {
        return Ok(Vec::new());
    }
    let whole = |candidates: &[Candidate]| -> Arc<str> { format!("{}\n{}", known.text, text(candidates)).into() };
    let file = whole(candidates);
    let catalog = match read_catalog::parse(&file, &mut || (known.plan_id)()) {
        Ok(catalog) => catalog,
        // One of them is none for a catalog.
        Err(error) => {
            let alone = |candidate: &Candidate| {
                let parsed = read_catalog::parse(&whole(std::slice::from_ref(candidate)), &mut || (known.plan_id)());
                parsed.map(|_| Vec::new()).map_err(|error| error.to_string())
            };
            let verdicts: Vec<_> = candidates.iter().map(alone).collect();
            return match verdicts.iter().any(Result::is_err) {
                true => Ok(verdicts),
                false => Err(ProposalError::Refused(format!("what would be proposed is no catalog: {error}"))),
            };
        }
    };
    let places = places(&catalog, candidates);
    let validation = validation(known, &catalog, file, &places, deadline);
    let report = pool.validate(&validation)?;
    let read = report.completed.as_deref().unwrap_or(&catalog);
    let mut verdicts: Vec<_> = (0..candidates.len()).map(|at| verdict(&report, read, &places[at], at)).collect();
    if known.feed == Feed::Wal {
        let tables: Vec<Vec<String>> = places.iter().map(|place| tables(read, place)).collect();
        for (verdict, lines) in verdicts.iter_mut().zip(pool.untold_lines(&tables, deadline)?) {
            verdict.iter_mut().for_each(|below| below.extend(lines.iter().cloned()));
        }
    }
    Ok(verdicts)
}

/// Those whose changes drop results of the query.
fn tables(catalog: &Catalog, (section, number): &(Box<str>, usize)) -> Vec<String> {
    let Some((own, found)) = catalog.section(section.as_bytes()) else { return Vec::new() };
    let Some(query) = found.queries.get(*number) else { return Vec::new() };
    let is_read = |section: &Section| query.reads.iter().any(|reads| reads.of(section.name.as_bytes()).is_some());
    let is_on = |(at, section): &(usize, &Section)| {
        *at == own || query.on.iter().any(|on| on.section == *at) || is_read(section)
    };
    let sections = catalog.sections.iter().enumerate().filter(is_on);
    sections.flat_map(|(_, section)| &section.tables).map(|table| table.name.to_string()).collect()
}

/// Section and number of each.
fn places(catalog: &Catalog, candidates: &[Candidate]) -> Vec<(Box<str>, usize)> {
    let mut left: BTreeMap<&str, usize> = BTreeMap::new();
    for candidate in candidates {
        *left.entry(&candidate.home.section).or_insert(0) += 1;
    }
    let mut places = Vec::with_capacity(candidates.len());
    for candidate in candidates {
        let section = &*candidate.home.section;
        // Values stand behind queries.
        let queries =
            |(_, found): (usize, &Section)| found.queries.iter().filter(|query| query.plan().is_some()).count();
        let count = catalog.section(section.as_bytes()).map_or(0, queries);
        let left = left.entry(section).or_insert(0);
        places.push((section.into(), count.saturating_sub(*left)));
        *left = left.saturating_sub(1);
    }
    places
}

fn validation(
    known: &Known,
    catalog: &Catalog,
    file: Arc<str>,
    places: &[(Box<str>, usize)],
    deadline: Instant,
) -> Validation {
    let statement = |(at, (section, number)): (usize, &(Box<str>, usize))| {
        let plan = catalog.section(section.as_bytes())?.1.queries.get(*number)?.plan()?.clone();
        let params = plan.params.iter().copied().map(Some).collect();
        Some(ValidateStatement { what: what(at), sql: plan.sql.clone(), params, kind: StatementKind::Query(plan) })
    };
    let tables = catalog.sections.iter().flat_map(|section| &section.tables);
    Validation {
        ticket: 0,
        statements: places.iter().enumerate().filter_map(statement).collect(),
        mapped_tables: tables.map(|table| table.name.to_string()).collect(),
        sections: catalog.sections.clone(),
        file: Some(CatalogFile { text: file, plan_id: known.plan_id }),
        has_feed: known.feed != Feed::Nobody,
        deadline,
    }
}

/// Names a candidate in what is said of it.
fn what(at: usize) -> String {
    format!("proposal {at}")
}

fn verdict(
    report: &ValidationReport,
    catalog: &Catalog,
    (section, number): &(Box<str>, usize),
    at: usize,
) -> Result<Vec<String>, String> {
    let of = |lines: &[String]| -> Vec<String> {
        let prefix = format!("{}: ", what(at));
        lines.iter().filter_map(|line| line.strip_prefix(&prefix).map(str::to_owned)).collect()
    };
    let errors = of(&report.errors);
    if !errors.is_empty() {
        return Err(errors.join("; "));
    }
    let plan = || catalog.section(section.as_bytes())?.1.queries.get(*number)?.plan();
    let proof = plan().and_then(|plan| report.proofs.get(&plan.id));
    match proof {
        Some(Proof { standing: Standing::Derived | Standing::Proven, reasons }) => {
            let additions = catalog.additions.queries.get(&(section.clone(), *number));
            Ok(derived(additions, reasons).into_iter().chain(of(&report.warnings)).collect())
        }
        Some(proof) => Err(proof.reasons.join("; ")),
        None => Err(report.errors.first().cloned().unwrap_or_else(|| "nothing is derived of it".to_owned())),
    }
}

/// What decides which changes drop its results.
fn derived(additions: Option<&QueryAdditions>, reasons: &[String]) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(additions) = additions {
        if let Some(predicate) = &additions.match_ {
            lines.push(format!("derived: match = \"{predicate}\""));
        }
        if !additions.on.is_empty() {
            let mut on = String::new();
            for (section, rule) in &additions.on {
                let comma = if on.is_empty() { "" } else { ", " };
                // Writing to a String does not fail.
                let _ = write!(on, "{comma}{section} = \"{rule}\"");
            }
            lines.push(format!("derived: on = {{ {on} }}"));
        }
    }
    lines.extend(reasons.iter().cloned());
    lines
}
