//! The catalog: read from its file, checked, replaced as a whole or not at all, and shown to Postgres.
//!
//! ```text
//! BEAR.RELOAD          -> read aside -> (Postgres answers: every statement prepared) -> replaced, or nothing is changed
//! CONFIG SET, a small file -> read at once -> replaced                 -> shown to Postgres
//! CONFIG SET, a large one  -> read aside   -> replaced, or an error of the catalog
//! ```
//! Reading a catalog of thousands of sections takes some tens of milliseconds, which `bear-clerk` has.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::cache::owning;
use super::done_aside::{Aside, ReadCatalog, FAILED};
use super::Server;
use crate::core::cache::fetch::FetchError;
use crate::core::calls::names::Deployment;
use crate::core::catalog::job::JobBody;
use crate::core::catalog::{self, Catalog, OnRule, Query, Section, Table, TableRows};
use crate::core::catalog::{read_catalog, slots};
use crate::core::jobs::scheduled;
use crate::core::propose::facts::Feed;
use crate::core::prove::claims::{Proof, Standing};
use crate::core::sql::template::Template;
use crate::keyspace::watch;
use crate::postgres::{
    CatalogFile, JobHints, JobOf, JobStatement, StatementKind, ValidateStatement, Validation, ValidationReport,
};
use crate::redis_api::{Answer, BlockedClient};
use crate::workers::Request;

/// For all statements of a catalog together: so long, and so much for each of them.
const CHECK_TIME: Duration = Duration::from_secs(10);
const CHECK_TIME_EACH: Duration = Duration::from_millis(50);

/// Until a check that failed for want of Postgres is tried again.
const CHECK_AGAIN: Duration = Duration::from_secs(1);

/// A larger file is no catalog.
const MAX_BYTES: u64 = 64 << 20;

/// CONFIG SET, which cannot wait, reads a file of at most so many bytes at once: less than a millisecond.
const SMALL_BYTES: u64 = 16 << 10;

/// If more sections than this change at once, everything is cold: each of them would be looked for among all entries.
const COLD_ONE_BY_ONE: usize = 64;

/// Problems of a catalog that the log and a reply name.
const LOGGED: usize = 50;

/// What Postgres says of the catalog in use.
#[derive(Debug, Clone)]
pub struct Checked {
    /// The file, or what stands for it.
    pub file: String,
    pub state: CheckState,
    /// Is known what the catalog leaves unsaid?
    pub is_derived: bool,
    /// Has Postgres been asked, whatever came of it?
    pub was_asked: bool,
    /// Would something else be said if there were no feed?
    pub counts_on_feed: bool,
    pub errors: Vec<String>,
    /// Shared with who writes them into a reply.
    pub warnings: Arc<[String]>,
    /// Statements of `tables` by which more is dropped than need be.
    pub links: Vec<String>,
    /// What the declarations of queries are worth, by the ids of their plans; shared with who writes them into a reply.
    pub proofs: Arc<BTreeMap<u64, Proof>>,
    /// How many there are of each.
    pub standings: Standings,
    /// What there is to say of jobs; shared with who writes them into a reply.
    pub hints: Arc<JobHints>,
    /// Of the validation that is running: an older one's report is of another catalog.
    ticket: u64,
    /// When Postgres is asked again after it could not be.
    again: Option<Instant>,
}

/// Queries by what their declarations are worth.
#[derive(Debug, Clone, Copy, Default)]
pub struct Standings {
    pub derived: u64,
    pub proven: u64,
    pub declared: u64,
    pub trusted: u64,
}

impl Standings {
    fn of(proofs: &BTreeMap<u64, Proof>) -> Standings {
        let count = |standing| proofs.values().filter(|proof| proof.standing == standing).count() as u64;
        let [derived, proven, declared, trusted] =
            [Standing::Derived, Standing::Proven, Standing::Declared, Standing::Trusted].map(count);
        Standings { derived, proven, declared, trusted }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckState {
    /// Postgres has not answered yet.
    Waiting,
    /// Statements are being prepared.
    Running,
    Done,
}

/// A new catalog that is being read, or waits for Postgres' word.
pub struct Reloading {
    ticket: u64,
    /// Once it is read.
    catalog: Option<Catalog>,
    /// None: it was set, and nobody waits.
    client: Option<BlockedClient>,
}

static NEXT_PLAN: AtomicU64 = AtomicU64::new(1);
static NEXT_TICKET: AtomicU64 = AtomicU64::new(1);

impl Checked {
    pub fn new(file: &str) -> Checked {
        Checked {
            file: name_of(file),
            state: CheckState::Waiting,
            is_derived: false,
            was_asked: false,
            counts_on_feed: false,
            errors: Vec::new(),
            warnings: Arc::default(),
            links: Vec::new(),
            proofs: Arc::default(),
            standings: Standings::default(),
            hints: Arc::default(),
            ticket: 0,
            again: None,
        }
    }
}

fn name_of(file: &str) -> String {
    if file.is_empty() {
        "the bear catalog".into()
    } else {
        file.into()
    }
}

pub(super) fn next_plan() -> u64 {
    next(&NEXT_PLAN)
}

fn next(counter: &AtomicU64) -> u64 {
    counter.fetch_add(1, Ordering::Relaxed)
}

/// Reads and checks a catalog; an empty name is the bear catalog. The error names the file, the section and the reason.
pub fn load(file: &str, deployment: Deployment) -> Result<Catalog, String> {
    let text = if file.is_empty() {
        catalog::DEFAULT.to_owned()
    } else {
        read_file(file).map_err(|error| format!("cannot read the catalog {file}: {error}"))?
    };
    let wrong = |error| format!("catalog {}: {error}", name_of(file));
    let catalog = read_catalog::parse(&text, &mut next_plan).map_err(wrong)?;
    scheduled::check_catalog(&catalog).map_err(wrong)?;
    if deployment == Deployment::Cluster {
        slots::check(&catalog.sections).map_err(|error| format!("catalog {}: {error}", name_of(file)))?;
    }
    Ok(catalog)
}

/// Never waits for what is no file, and never reads without end.
fn read_file(file: &str) -> std::io::Result<String> {
    let other = |what: &str| std::io::Error::other(what.to_owned());
    if !std::fs::metadata(file)?.is_file() {
        return Err(other("it is not a file"));
    }
    let mut text = String::new();
    std::fs::File::open(file)?.take(MAX_BYTES + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_BYTES {
        return Err(other("it is too large for a catalog"));
    }
    Ok(text)
}

/// May CONFIG SET read the file while Redis waits? What cannot be looked at may: the error comes at once.
fn is_small(file: &str) -> bool {
    file.is_empty() || std::fs::metadata(file).map_or(true, |metadata| metadata.len() <= SMALL_BYTES)
}

impl Server {
    /// BEAR.RELOAD: reads the file again. Where Postgres answers, its word on every statement comes first.
    pub fn reload(&mut self, block: impl FnOnce() -> BlockedClient) -> Result<(), String> {
        if self.reloading.as_ref().is_some_and(|reloading| reloading.client.is_some()) {
            return Err("ERR another BEAR.RELOAD is being checked; try again".into());
        }
        self.read_aside(Some(block()));
        Ok(())
    }

    /// The setting is another: see at the top. The error refuses it.
    pub(super) fn set_catalog(&mut self, file: &str) -> Result<Option<Catalog>, String> {
        if is_small(file) {
            return load(file, self.deployment).map(Some);
        }
        Ok(None)
    }

    /// After [`Server::set_catalog`].
    pub(super) fn catalog_is_set(&mut self, catalog: Option<Catalog>) {
        self.cancel_reload("bear.catalog was set meanwhile");
        match catalog {
            Some(catalog) => self.replace_catalog(catalog),
            None => self.read_aside(None),
        }
    }

    fn read_aside(&mut self, client: Option<BlockedClient>) {
        let ticket = next(&NEXT_TICKET);
        let (file, deployment) = (self.config.catalog.clone(), self.deployment);
        self.reloading = Some(Reloading { ticket, catalog: None, client });
        let failed = Box::new(ReadCatalog { ticket, result: Err(format!("the catalog was not read: {FAILED}")) });
        self.workers.aside(Some(Aside::Catalog(failed)), move || {
            let result = load(&file, deployment).map(|catalog| {
                let validation = validation_of(&catalog.sections, catalog.text.clone(), ticket);
                (catalog, validation)
            });
            Some(Aside::Catalog(Box::new(ReadCatalog { ticket, result })))
        });
    }

    /// The clerk has read a catalog.
    pub(super) fn catalog_read(&mut self, read: ReadCatalog) {
        // One that was cancelled is nobody's.
        let Some(mut reloading) = self.reloading.take_if(|reloading| reloading.ticket == read.ticket) else { return };
        match (read.result, reloading.client.is_some()) {
            (Err(error), true) => self.end_reload(reloading, Err(format!("ERR nothing is changed: {error}"))),
            (Err(error), false) => {
                log::warn!("{error}; the catalog before it stays");
                self.checked.errors.push(error);
            }
            (Ok((catalog, validation)), true) if self.postgres.up == Some(true) && self.workers.current().is_some() => {
                reloading.catalog = Some(catalog);
                self.reloading = Some(reloading);
                self.submit_validation(validation);
            }
            (Ok((catalog, _)), _) => {
                self.replace_catalog(catalog);
                self.end_reload(reloading, Ok(()));
            }
        }
    }

    fn end_reload(&mut self, reloading: Reloading, result: Result<(), String>) {
        if let Some(client) = reloading.client {
            let answer = match result {
                Ok(()) => Answer::Ok,
                Err(text) => Answer::Error(text.into()),
            };
            self.answers.push_back((client, answer));
            self.arm_soon();
        }
    }

    /// Puts a catalog in the old one's place: fills are struck, changed sections are cold.
    pub(super) fn replace_catalog(&mut self, new: Catalog) {
        self.take_catalog(new);
        self.check_catalog_once();
    }

    fn take_catalog(&mut self, mut new: Catalog) {
        // What others did was noted by the old one's sections.
        self.settle();
        self.fills.strike_where(|_, _| true);
        new.count_demand(|section| self.keyspace.demand(section));
        let old = std::mem::replace(&mut self.catalog, Rc::new(new));
        self.retired.push(old.sections.clone());
        self.feed_takes_catalog(&old);
        self.stats.arrange(self.catalog.sections.iter().map(|section| section.name.as_ref()));
        self.arrange_events();
        self.checked = Checked::new(&self.config.catalog);
        if self.is_master() {
            watch::watch(self.config.db as i32, self.catalog.clone(), self.deployment);
            self.keyspace.abort_publications(|_, _| true);
            self.forget_asked();
            let changed = changed_sections(&old, &self.catalog);
            if changed.len() > COLD_ONE_BY_ONE {
                self.make_all_cold();
            } else {
                changed.into_iter().for_each(|section| self.make_section_cold(section));
            }
            self.work_redefined(&old);
            self.schedules_redefined(&old);
            self.note_renamed(&old);
            // Jobs may fit another catalog otherwise, and a new section may have a queue.
            self.forget_refusals();
            self.inbox_takes_catalog();
            self.arm_soon();
        }
        // Under the names of a new section, or of new calls, there may be keys already.
        let sections = owning::arranged(&self.catalog, Some(&old), self.deployment);
        self.keyspace.arrange(sections.into_iter());
    }

    fn make_section_cold(&mut self, section: &Section) {
        log::info!("section '{}' is cold: the catalog has changed", section.name);
        if section.tenant.is_some() {
            self.keyspace.make_tenants_cold(&section.name);
        } else {
            let mut prefix = section.prefix(None, self.deployment);
            prefix.push(b':');
            self.keyspace.make_cold(&prefix);
        }
    }

    /// Shows the catalog to Postgres once it answers.
    pub(super) fn check_catalog_once(&mut self) {
        if self.checked.state == CheckState::Waiting && self.postgres.up == Some(true) {
            self.checked.state = CheckState::Running;
            self.checked.ticket = next(&NEXT_TICKET);
            let (sections, text) = (self.catalog.as_written().clone(), self.catalog.text.clone());
            let ticket = self.checked.ticket;
            let statements = move || Some(Aside::Statements(validation_of(&sections, text, ticket)));
            self.workers.aside(Some(Aside::NoStatements(ticket)), statements);
        }
    }

    /// Tries again what failed for want of Postgres.
    pub(super) fn check_catalog_late(&mut self, now: Instant) {
        if self.checked.again.is_some_and(|again| again <= now) {
            self.checked.again = None;
            self.check_catalog_once();
        }
    }

    /// Shows the catalog to another Postgres, once it is connected.
    pub(super) fn check_catalog_again(&mut self) {
        self.checked = Checked::new(&self.config.catalog);
        self.postgres.up = None;
    }

    /// Tells who waits for a BEAR.RELOAD that nothing will come of it.
    pub(super) fn cancel_reload(&mut self, reason: &str) {
        if let Some(reloading) = self.reloading.take() {
            self.end_reload(reloading, Err(format!("ERR nothing is changed: {reason}")));
        }
    }

    /// Shows statements to Postgres.
    pub(super) fn submit_validation(&mut self, mut validation: Validation) {
        let each = u32::try_from(validation.statements.len()).unwrap_or(u32::MAX);
        validation.has_feed = self.feed_in_force() != Feed::Nobody;
        validation.deadline = Instant::now() + CHECK_TIME + CHECK_TIME_EACH.saturating_mul(each);
        match self.workers.current() {
            Some(workers) => workers.submit(Request::Validate(validation)),
            None => {
                let what = "no URL is configured any more".to_owned();
                let error = FetchError::Unavailable { what, host: "none".into(), retry_in_ms: 0 };
                self.catalog_checked(validation.ticket, Err(error));
            }
        }
    }

    /// Has old catalogs freed aside, once nobody uses them any more. Asked by the cron loop.
    pub(super) fn free_retired_catalogs(&mut self) {
        let (unused, used): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.retired).into_iter().partition(|sections| Arc::strong_count(sections) == 1);
        self.retired = used;
        if !unused.is_empty() {
            self.workers.free_aside(unused);
        }
    }

    pub(super) fn catalog_checked(&mut self, ticket: u64, result: Result<ValidationReport, FetchError>) {
        if let Some(mut reloading) = self.reloading.take_if(|reloading| reloading.ticket == ticket) {
            let result = match (result, reloading.catalog.take()) {
                (Ok(report), _) if !report.errors.is_empty() => {
                    Err(format!("ERR nothing is changed: {}", some(&report.errors)))
                }
                (Ok(mut report), Some(catalog)) => {
                    self.take_catalog(report.completed.take().map_or(catalog, |completed| *completed));
                    self.note_report(report);
                    Ok(())
                }
                (Err(reason), _) => Err(format!("POSTGRES nothing is changed: {reason}")),
                // Only what has been read is shown to Postgres.
                (Ok(_), None) => return,
            };
            self.end_reload(reloading, result);
            return;
        }
        if self.checked.state == CheckState::Running && self.checked.ticket == ticket {
            match result {
                Ok(report) => self.take_report(report),
                // Postgres could not be asked: the next connection asks again, or a later tick where none is needed.
                Err(_) => {
                    self.checked.state = CheckState::Waiting;
                    self.checked.was_asked = true;
                    self.begin_feed();
                    // Where the threads have ended they will connect anew; a timer, and what it would begin, would only keep
                    // an unload away that was refused once.
                    if self.workers.current().is_some() {
                        self.checked.again = Some(Instant::now() + CHECK_AGAIN);
                        crate::redis_api::arm(CHECK_AGAIN);
                    }
                }
            }
        }
    }

    /// What Postgres says of the catalog in use, and what was derived, which is in force from now on.
    fn take_report(&mut self, mut report: ValidationReport) {
        match report.completed.take() {
            Some(completed) if completed.additions != self.catalog.additions => self.take_catalog(*completed),
            Some(completed) => report.proofs = of_same(&self.catalog, &completed, report.proofs),
            // What was in force may be so no more.
            None if !self.catalog.additions.is_empty() && report.errors.is_empty() => {
                match read_catalog::parse(&self.catalog.text, &mut next_plan) {
                    Ok(catalog) => self.take_catalog(catalog),
                    Err(error) => log::warn!("the catalog cannot be read again: {error}"),
                }
            }
            None => {}
        }
        self.note_report(report);
        self.begin_feed();
    }

    /// May results of a query be stored? Not before it is known what they depend on.
    pub(super) fn is_derived(&self, query: &Query) -> bool {
        self.checked.is_derived || query.trust.is_some() || query.computed().is_some()
    }

    /// What was derived may be so no more: what is fetched until it was looked at again is not stored.
    pub(super) fn derive_again(&mut self) {
        self.checked.is_derived = false;
        self.look_at_catalog_again();
    }

    /// Shows it to Postgres, though it was seen, and goes on with what was derived until then.
    pub(super) fn look_at_catalog_again(&mut self) {
        self.checked.state = CheckState::Waiting;
        self.check_catalog_once();
    }

    /// What to show Postgres could not be worked out. It would be the same again.
    pub(super) fn catalog_unchecked(&mut self, ticket: u64) {
        if self.checked.state == CheckState::Running && self.checked.ticket == ticket {
            let errors = vec![format!("the catalog was not checked: {FAILED}")];
            self.note_report(ValidationReport { errors, is_underived: true, ..ValidationReport::default() });
            self.begin_feed();
        }
    }

    fn note_report(&mut self, report: ValidationReport) {
        let known = [&self.checked.errors[..], &self.checked.warnings, &self.checked.links];
        let lists = [&report.errors[..], &report.warnings, &report.links];
        // Looked at again, it is mostly as it was.
        let is_new = !self.checked.was_asked || known != lists;
        if is_new {
            self.log_problems(&lists);
        }
        self.checked.state = CheckState::Done;
        self.checked.was_asked = true;
        self.checked.is_derived = !report.is_underived;
        self.checked.counts_on_feed = report.counts_on_feed;
        self.checked.errors = report.errors;
        self.checked.warnings = report.warnings.into();
        self.checked.links = report.links;
        self.checked.standings = Standings::of(&report.proofs);
        self.checked.proofs = Arc::new(report.proofs);
        self.checked.hints = Arc::new(report.hints);
        let Standings { derived, proven, declared, trusted } = self.checked.standings;
        if is_new {
            log::info!(
                "catalog {}: Postgres has seen it; of its queries {derived} are derived, {proven} proven, {declared} \
                 declared, {trusted} trusted",
                self.checked.file
            );
        }
    }

    fn log_problems(&self, lists: &[&[String]]) {
        for problem in lists.iter().flat_map(|list| list.iter().take(LOGGED)) {
            log::warn!("catalog {}: {problem}", self.checked.file);
        }
        let more: usize = lists.iter().map(|list| list.len().saturating_sub(LOGGED)).sum();
        if more > 0 {
            log::warn!("catalog {}: {more} more errors and warnings, which BEAR.CATALOG lists", self.checked.file);
        }
    }
}

/// Proofs of the queries of one catalog as those of another that is read from the same file with the same additions.
fn of_same(catalog: &Catalog, other: &Catalog, mut proofs: BTreeMap<u64, Proof>) -> BTreeMap<u64, Proof> {
    let plans = |catalog: &Catalog| -> Vec<Option<u64>> {
        let queries = catalog.sections.iter().flat_map(|section| &section.queries);
        queries.map(|query| query.plan().map(|plan| plan.id)).collect()
    };
    let pairs = plans(catalog).into_iter().zip(plans(other));
    pairs.filter_map(|(own, other)| Some((own?, proofs.remove(&other?)?))).collect()
}

/// Sections of the old catalog that the new one has not, or has otherwise.
fn changed_sections<'a>(old: &'a Catalog, new: &Catalog) -> Vec<&'a Section> {
    let same = |section: &&Section| {
        new.section(section.name.as_bytes()).is_some_and(|(_, other)| section.source == other.source)
    };
    old.sections.iter().filter(|section| !same(section)).collect()
}

/// By section, columns of its `row` that predicates of any section read.
fn match_columns(sections: &[Section]) -> BTreeMap<usize, BTreeSet<&str>> {
    let mut columns: BTreeMap<usize, BTreeSet<&str>> = BTreeMap::new();
    for (index, query) in sections.iter().enumerate().flat_map(|(i, of)| of.queries.iter().map(move |q| (i, q))) {
        if let Some(predicate) = &query.match_ {
            columns.entry(index).or_default().extend(predicate.columns());
        }
        for on in &query.on {
            if let OnRule::Rows(predicate) = &on.rule {
                columns.entry(on.section).or_default().extend(predicate.columns());
            }
        }
    }
    columns
}

/// Problems in one message.
fn some(problems: &[String]) -> String {
    let mut text = problems.iter().take(LOGGED).cloned().collect::<Vec<_>>().join("; ");
    if problems.len() > LOGGED {
        text += &format!("; and {} more", problems.len() - LOGGED);
    }
    text
}

/// The tables of a section by name, this one first.
fn table_first(section: &Section, table: &Table) -> Vec<String> {
    let others = section.tables.iter().filter(|other| *other != table);
    std::iter::once(table).chain(others).map(|table| table.name.to_string()).collect()
}

/// Every statement of a catalog, with the types that its parameters are sent with.
fn validation_of(sections: &Arc<[Section]>, text: Arc<str>, ticket: u64) -> Validation {
    let mut statements = Vec::new();
    let mut columns_of = match_columns(sections);
    for (index, section) in sections.iter().enumerate() {
        let what = |of: &str| format!("section '{}', {of}", section.name);
        for (query, plan) in section.queries.iter().filter_map(|query| query.plan().map(|plan| (query, plan))) {
            statements.push(ValidateStatement {
                what: what(&format!("query '{}'", query.call.text())),
                sql: plan.sql.clone(),
                params: plan.params.iter().copied().map(Some).collect(),
                kind: StatementKind::Query(plan.clone()),
            });
        }
        let mut other = |of: &str, template: &Template, types: Vec<Option<_>>, kind: StatementKind| {
            statements.push(ValidateStatement { what: what(of), sql: template.text.clone(), params: types, kind });
        };
        if let Some(row) = &section.row {
            let mut columns = columns_of.remove(&index).unwrap_or_default();
            columns.insert("id");
            let list =
                columns.iter().map(|column| format!("r.\"{}\"", column.replace('"', "\"\""))).collect::<Vec<_>>();
            let text = format!("SELECT {} FROM ({}\n) r", list.join(", "), row.text);
            let checked = Template { text, params: row.params.clone() };
            other(
                "row, with the columns of all match and on",
                &checked,
                section.row_param_types(row),
                StatementKind::Other,
            );
        }
        for table in &section.tables {
            if let TableRows::Select(select) = &table.rows {
                other(
                    &format!("table '{}'", table.name),
                    select,
                    section.table_param_types(select),
                    StatementKind::Link { mapped: table_first(section, table) },
                );
            }
        }
        for job in &section.jobs {
            let of = format!("job {}", job.name);
            let job_of = || JobOf { section: index, section_name: section.name.clone(), name: job.name.clone() };
            match &job.body {
                JobBody::Set(template) => {
                    let kind = StatementKind::Job(JobStatement::Set, job_of());
                    other(&of, template, section.job_param_types(job, template), kind);
                }
                JobBody::Each(templates) => {
                    for template in templates {
                        let kind = StatementKind::Job(JobStatement::Each, job_of());
                        other(&of, template, section.job_param_types(job, template), kind);
                    }
                }
                // Nothing for Postgres to prepare.
                JobBody::Claim(_) => {}
            }
        }
    }
    let mapped_tables =
        sections.iter().flat_map(|section| &section.tables).map(|table| table.name.to_string()).collect();
    Validation {
        ticket,
        statements,
        mapped_tables,
        sections: sections.clone(),
        file: Some(CatalogFile { text, plan_id: next_plan }),
        // Known where it is submitted.
        has_feed: false,
        deadline: Instant::now() + CHECK_TIME,
    }
}
