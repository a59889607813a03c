//! What a catalog leaves unsaid: derived, read together with its file, and tried.
//!
//! ```text
//! queries that Postgres takes -> grounds -> additions -> catalog -> tried -> in the report
//!                                   ^                                |
//!                                   '---- any change counts of ------'
//!                                         what Postgres refuses
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use tokio_postgres::types::Type;

use super::proofs::Grounds;
use super::reads;
use super::trial::{open, prepare, shape};
use super::validation::{CatalogFile, Validation, ValidationReport};
use crate::core::catalog::fetch_plan::FetchPlan;
use crate::core::catalog::read_catalog;
use crate::core::catalog::{Catalog, Query, Section};
use crate::core::complete::Completed;
use crate::core::prove::claims::Standing;
use crate::postgres::connect::client::Client;
use crate::postgres::connect::failure::Failure;
use crate::postgres::connect::session::Session;
use crate::postgres::values::params::declared_type;

/// What is said of queries is compared with their SQL, where what leaves stale answers is an error; what is not said is derived.
pub(super) fn derive_and_prove(
    session: &mut Session,
    validation: &Validation,
    taken: &BTreeMap<u64, &str>,
    report: &mut ValidationReport,
) -> Result<(), Failure> {
    let is_taken = |plan: &FetchPlan| taken.contains_key(&plan.id);
    let grounds = Grounds::gather(session, &validation.sections, validation.deadline, is_taken)?;
    let completed = match &validation.file {
        Some(file) => {
            let (completed, catalog) = complete(session, validation, file, &grounds, report)?;
            report.completed = catalog.map(Box::new);
            completed
        }
        None => Completed::default(),
    };
    for (plan, proof) in grounds.proofs(&completed) {
        let what = taken.get(&plan).copied().unwrap_or_default();
        if proof.standing == Standing::Wrong {
            report.errors.extend(proof.reasons.iter().map(|reason| format!("{what}: {reason}")));
        }
        report.proofs.insert(plan, proof);
    }
    // The plans of the catalog that was read anew are others.
    if let Some(catalog) = &report.completed {
        let plan = |query: &Query| query.plan().map(|plan| plan.id);
        for (before, after) in
            validation.sections.iter().filter_map(|of| Some((of, catalog.section(of.name.as_bytes())?.1)))
        {
            for (before, after) in before.queries.iter().zip(&after.queries) {
                if let (Some(before), Some(after)) = (plan(before), plan(after)) {
                    if let Some(proof) = report.proofs.remove(&before) {
                        report.proofs.insert(after, proof);
                    }
                }
            }
        }
    }
    Ok(())
}

/// What the file leaves unsaid, and the catalog with it. Where Postgres refuses what was written of a query, any change counts.
fn complete(
    session: &mut Session,
    validation: &Validation,
    file: &CatalogFile,
    grounds: &Grounds,
    report: &mut ValidationReport,
) -> Result<(Completed, Option<Catalog>), Failure> {
    let mut coarse = BTreeSet::new();
    // At the second time nothing is left that might be refused.
    for _ in 0..2 {
        let completed = grounds.complete(&coarse);
        if completed.additions.is_empty() {
            return Ok((completed, None));
        }
        let refused = match read_catalog::parse_with(&file.text, &completed.additions, &mut || (file.plan_id)()) {
            Ok(mut catalog) => {
                let refused = refused(session, &validation.sections, &catalog, validation.deadline)?;
                if refused.is_empty() || !coarse.is_empty() {
                    catalog.completes(validation.sections.clone());
                    return Ok((completed, Some(catalog)));
                }
                refused
            }
            Err(error) => {
                log::warn!("what was derived is no catalog, so that any change counts: {error}");
                completed.covered.keys().copied().collect()
            }
        };
        coarse = refused;
    }
    report.errors.push("what the catalog leaves unsaid could not be derived, so that nothing is stored".to_owned());
    report.is_underived = true;
    Ok((Completed::default(), None))
}

/// Queries, by their place in the file's sections, whose derived parts Postgres refuses.
fn refused(
    session: &mut Session,
    sections: &[Section],
    catalog: &Catalog,
    deadline: Instant,
) -> Result<BTreeSet<(usize, usize)>, Failure> {
    open(session)?;
    let mut wrong = BTreeSet::new();
    let place = |name: &str| sections.iter().position(|section| *section.name == *name);
    let mut wrong_rows = BTreeSet::new();
    for (name, more) in &catalog.additions.sections {
        let Some((index, section)) = catalog.section(name.as_bytes()) else { continue };
        if let (Some(row), Some(_)) = (&section.row, &more.row) {
            let types = section.row_param_types(row);
            let types: Vec<Type> = types.into_iter().map(|ty| ty.map_or(Type::UNKNOWN, declared_type)).collect();
            if let Some(reason) = trial(&mut session.client, |client| prepare(client, &row.text, &types))? {
                log::warn!("row of section '{name}' was derived and is refused, so that any change counts: {reason}");
                wrong_rows.insert(index);
            }
        }
    }
    for (section, index) in catalog.additions.queries.keys() {
        if Instant::now() >= deadline {
            return Err(Failure::TimedOut(None));
        }
        let Some((at, found)) = catalog.section(section.as_bytes()) else { continue };
        let Some((query, plan)) = found.queries.get(*index).and_then(|query| Some((query, query.plan()?))) else {
            continue;
        };
        let depends = query.on.iter().map(|on| on.section).chain(query.match_.as_ref().map(|_| at));
        let has_row = !depends.into_iter().any(|section| wrong_rows.contains(&section));
        let reason = trial(&mut session.client, |client| shape(client, plan).map(drop))?;
        if let Some(reason) = &reason {
            let call = query.call.text();
            log::warn!("what was derived of section '{section}', query '{call}' is refused, so that any change counts: {reason}");
        }
        if reason.is_some() || !has_row {
            wrong.extend(place(section).map(|section| (section, *index)));
        }
    }
    session.roll_back()?;
    Ok(wrong)
}

/// Why Postgres refuses what is tried; None: it does not.
fn trial(
    client: &mut Client,
    what: impl FnOnce(&mut Client) -> Result<(), Failure>,
) -> Result<Option<String>, Failure> {
    client.batch_execute("SAVEPOINT bear_check")?;
    let reason = match what(client) {
        Ok(()) => None,
        Err(Failure::Fetch(error)) => Some(error.to_string()),
        Err(Failure::TimedOut(_)) => Some("no answer in time".to_owned()),
        Err(broken) => return Err(broken),
    };
    client.batch_execute("ROLLBACK TO SAVEPOINT bear_check")?;
    // PREPARE does not follow the transaction; there is nothing to deallocate where it failed.
    if client.batch_execute("DEALLOCATE bear_check").is_err() {
        client.batch_execute("ROLLBACK TO SAVEPOINT bear_check")?;
    }
    client.batch_execute("RELEASE SAVEPOINT bear_check")?;
    Ok(reason)
}

/// Relations that sections map, also new ones, whose names stand with theirs.
pub(super) fn mapped_now(
    session: &mut Session,
    validation: &Validation,
    report: &ValidationReport,
) -> Result<BTreeMap<u32, Option<Box<str>>>, Failure> {
    let is_new = |section: &&Section| validation.sections.iter().all(|known| known.name != section.name);
    let completed = report.completed.iter().flat_map(|catalog| catalog.sections.iter());
    let of_completed = completed.flat_map(|section| {
        let new = Some(section).filter(is_new).map(|section| section.name.clone());
        section.tables.iter().map(move |table| (table.name.to_string(), new.clone()))
    });
    let of_file = validation.mapped_tables.iter().map(|name| (name.clone(), None));
    let (names, sections): (Vec<String>, Vec<Option<Box<str>>>) = of_completed.chain(of_file).unzip();
    open(session)?;
    let oids = reads::meant(&mut session.client, &names);
    session.roll_back()?;
    // What the file maps, too, is no new section's alone.
    Ok(oids?.into_iter().zip(sections).filter_map(|(oid, section)| Some((oid?, section))).collect())
}
