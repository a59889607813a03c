//! The catalog: read from its file, checked, replaced as a whole or not at all, and shown to Postgres.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::{owning, Server};
use crate::core::catalog::{self, Catalog, OnRule, Section, Table, TableRows};
use crate::core::catalog_toml;
use crate::core::fetch::FetchError;
use crate::core::job::JobBody;
use crate::core::names;
use crate::core::sql::Template;
use crate::keyspace::watch;
use crate::postgres::{JobStatement, StatementKind, ValidateStatement, Validation, ValidationReport};
use crate::redis_api::{Answer, BlockedClient};
use crate::workers::Request;

/// For all statements of a catalog together.
const CHECK_TIME: Duration = Duration::from_secs(10);

/// Until a check that failed for want of Postgres is tried again.
const CHECK_AGAIN: Duration = Duration::from_secs(1);

/// What Postgres says of the catalog in use.
#[derive(Debug, Clone)]
pub struct Checked {
    /// The file, or what stands for it.
    pub file: String,
    pub state: CheckState,
    pub errors: Vec<String>,
    pub warnings: Vec<String>,
    /// Statements of `tables` by which more is dropped than need be.
    pub links: Vec<String>,
    /// Of the validation that is running: an older one's report is of another catalog.
    ticket: u64,
    /// When Postgres is asked again after it could not be.
    again: Option<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckState {
    /// Postgres has not answered yet.
    Waiting,
    /// Statements are being prepared.
    Running,
    Done,
}

/// A new catalog that waits for Postgres' word.
pub struct Reloading {
    ticket: u64,
    catalog: Catalog,
    client: BlockedClient,
}

thread_local! {
    static NEXT_PLAN: Cell<u64> = const { Cell::new(1) };
    static NEXT_TICKET: Cell<u64> = const { Cell::new(1) };
}

impl Checked {
    pub fn new(file: &str) -> Checked {
        Checked {
            file: name_of(file),
            state: CheckState::Waiting,
            errors: Vec::new(),
            warnings: Vec::new(),
            links: Vec::new(),
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

fn next(counter: &'static std::thread::LocalKey<Cell<u64>>) -> u64 {
    counter.replace(counter.get() + 1)
}

/// Reads and checks a catalog; an empty name is the bear catalog. The error names the file, the section and the reason.
pub fn load(file: &str) -> Result<Catalog, String> {
    let text = if file.is_empty() {
        catalog::DEFAULT.to_owned()
    } else {
        std::fs::read_to_string(file).map_err(|error| format!("cannot read the catalog {file}: {error}"))?
    };
    catalog_toml::parse(&text, &mut || next(&NEXT_PLAN)).map_err(|error| format!("catalog {}: {error}", name_of(file)))
}

/// For the setting: a file that does not load is refused.
pub fn check_file(file: &str) -> Result<(), String> {
    load(file).map(drop)
}

impl Server {
    /// BEAR.RELOAD: reads the file again. Where Postgres answers, its word on every statement comes first.
    pub fn reload(&mut self, block: impl FnOnce() -> BlockedClient) -> Result<Option<Answer>, String> {
        let new = load(&self.config.catalog).map_err(|error| format!("ERR nothing is changed: {error}"))?;
        if self.reloading.is_some() {
            return Err("ERR another BEAR.RELOAD is being checked; try again".into());
        }
        if self.postgres.up != Some(true) || self.workers.current().is_none() {
            self.replace_catalog(new);
            return Ok(Some(Answer::Ok));
        }
        let ticket = self.validate(&new);
        self.reloading = Some(Reloading { ticket, catalog: new, client: block() });
        Ok(None)
    }

    /// Puts a catalog in the old one's place: fills are struck, changed sections are cold.
    pub(super) fn replace_catalog(&mut self, mut new: Catalog) {
        // What others did was noted by the old one's sections.
        self.settle();
        self.fills.strike_where(|_, _| true);
        new.count_demand(|section| self.keyspace.demand(section));
        let old = std::mem::replace(&mut self.catalog, Rc::new(new));
        self.feed_takes_catalog(&old);
        self.stats.arrange(self.catalog.sections.iter().map(|section| section.name.as_ref()));
        self.checked = Checked::new(&self.config.catalog);
        if self.is_master() {
            watch::watch(self.config.db as i32, self.catalog.clone(), self.deployment);
            self.keyspace.abort_publications(|_, _| true);
            for section in changed_sections(&old, &self.catalog) {
                self.make_section_cold(section);
            }
            // Jobs may fit another catalog otherwise, and a new section may have a queue.
            self.forget_refusals();
            self.arm_soon();
        }
        // Under the names of a new section there may be keys already.
        self.keyspace.arrange(owning::members(&self.catalog, self.deployment).into_iter());
        self.check_catalog_once();
    }

    fn make_section_cold(&mut self, section: &Section) {
        log::info!("section '{}' is cold: the catalog has changed", section.name);
        if section.tenant.is_some() {
            self.keyspace.make_tenants_cold(&section.name);
        } else {
            let mut prefix = Vec::new();
            names::write_prefix(section.name.as_bytes(), self.deployment, &mut prefix);
            prefix.push(b':');
            self.keyspace.make_cold(&prefix);
        }
    }

    /// Shows the catalog to Postgres once it answers.
    pub(super) fn check_catalog_once(&mut self) {
        if self.checked.state == CheckState::Waiting && self.postgres.up == Some(true) {
            self.checked.state = CheckState::Running;
            let catalog = self.catalog.clone();
            self.checked.ticket = self.validate(&catalog);
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
            let text = format!("ERR nothing is changed: {reason}");
            self.answers.push_back((reloading.client, Answer::Error(text.into())));
            self.arm_soon();
        }
    }

    fn validate(&self, catalog: &Catalog) -> u64 {
        let ticket = next(&NEXT_TICKET);
        if let Some(workers) = self.workers.current() {
            workers.submit(Request::Validate(validation_of(catalog, ticket)));
        }
        ticket
    }

    pub(super) fn catalog_checked(&mut self, ticket: u64, result: Result<ValidationReport, FetchError>) {
        if let Some(reloading) = self.reloading.take_if(|reloading| reloading.ticket == ticket) {
            let answer = match result {
                Ok(report) if !report.errors.is_empty() => {
                    Answer::Error(format!("ERR nothing is changed: {}", report.errors.join("; ")).into())
                }
                Ok(report) => {
                    self.replace_catalog(reloading.catalog);
                    self.note_report(report);
                    Answer::Ok
                }
                Err(reason) => Answer::Error(format!("POSTGRES nothing is changed: {reason}").into()),
            };
            self.answers.push_back((reloading.client, answer));
            return;
        }
        if self.checked.state == CheckState::Running && self.checked.ticket == ticket {
            match result {
                Ok(report) => self.note_report(report),
                // Postgres could not be asked: the next connection asks again, or a later tick where none is needed.
                Err(_) => {
                    self.checked.state = CheckState::Waiting;
                    self.checked.again = Some(Instant::now() + CHECK_AGAIN);
                    crate::redis_api::arm(CHECK_AGAIN);
                }
            }
        }
    }

    fn note_report(&mut self, report: ValidationReport) {
        for error in &report.errors {
            log::warn!("catalog {}: {error}", self.checked.file);
        }
        for warning in report.warnings.iter().chain(&report.links) {
            log::warn!("catalog {}: {warning}", self.checked.file);
        }
        self.checked.state = CheckState::Done;
        self.checked.errors = report.errors;
        self.checked.warnings = report.warnings;
        self.checked.links = report.links;
    }
}

/// Sections of the old catalog that the new one has not, or has otherwise.
fn changed_sections<'a>(old: &'a Catalog, new: &Catalog) -> Vec<&'a Section> {
    let same = |section: &&Section| {
        new.section(section.name.as_bytes()).is_some_and(|(_, other)| section.source == other.source)
    };
    old.sections.iter().filter(|section| !same(section)).collect()
}

/// Columns of a section's `row` that predicates of any section read.
fn match_columns(catalog: &Catalog, section: usize) -> BTreeSet<&str> {
    let own = catalog.sections[section].queries.iter().filter_map(|query| query.match_.as_ref());
    let others = catalog.sections.iter().flat_map(|other| &other.queries).flat_map(|query| &query.on);
    let others = others.filter_map(|on| match &on.rule {
        OnRule::Rows(predicate) if on.section == section => Some(predicate),
        OnRule::Rows(_) | OnRule::Any => None,
    });
    own.chain(others).flat_map(|predicate| predicate.columns()).chain(["id"]).collect()
}

/// The tables of a section by name, this one first.
fn table_first(section: &Section, table: &Table) -> Vec<String> {
    let others = section.tables.iter().filter(|other| *other != table);
    std::iter::once(table).chain(others).map(|table| table.name.to_string()).collect()
}

/// Every statement of a catalog, with the types that its parameters are sent with.
fn validation_of(catalog: &Catalog, ticket: u64) -> Validation {
    let mut statements = Vec::new();
    for (index, section) in catalog.sections.iter().enumerate() {
        let what = |of: &str| format!("section '{}', {of}", section.name);
        for query in &section.queries {
            statements.push(ValidateStatement {
                what: what(&format!("query '{}'", query.call.text())),
                sql: query.plan.sql.clone(),
                params: query.plan.params.iter().copied().map(Some).collect(),
                kind: StatementKind::Query(query.plan.clone()),
            });
        }
        let mut other = |of: &str, template: &Template, types: Vec<Option<_>>, kind: StatementKind| {
            statements.push(ValidateStatement { what: what(of), sql: template.text.clone(), params: types, kind });
        };
        if let Some(row) = &section.row {
            let columns = match_columns(catalog, index);
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
            match &job.body {
                JobBody::Set(template) => {
                    let kind = StatementKind::Job(JobStatement::Set);
                    other(&of, template, section.job_param_types(job, template), kind);
                }
                JobBody::Each(templates) => {
                    for template in templates {
                        let kind = StatementKind::Job(JobStatement::Each);
                        other(&of, template, section.job_param_types(job, template), kind);
                    }
                }
            }
        }
    }
    let mapped_tables =
        catalog.sections.iter().flat_map(|section| &section.tables).map(|table| table.name.to_string()).collect();
    Validation { ticket, statements, mapped_tables, deadline: Instant::now() + CHECK_TIME }
}
