//! The catalog: what a file of sections, queries and jobs becomes once everything in it has been checked.
//!
//! Immutable. Reading it from TOML is [`super::read_catalog`]'s.

use std::sync::Arc;
use std::time::Duration;

use rustc_hash::FxHashMap;

use super::additions::Additions;
use super::claim::{Limits, OpenJobs};
use super::columns_read::{Columns, ColumnsRead};
use super::demand::Demand;
use super::fetch_plan::FetchPlan;
use super::job::Job;
use super::life::Life;
use super::limit::NamedLimit;
use super::lists::{List, PageSize};
use super::schedule::Schedule;
use crate::core::calls::lookup::Calls;
use crate::core::calls::names::{self, Deployment, MAX_SECTION_NAME};
use crate::core::calls::pattern::CallPattern;
use crate::core::calls::predicate::{Comparison, Operand, Predicate, Test};
use crate::core::calls::tags::TagTemplate;
use crate::core::schedules::definition::Definition;
use crate::core::sql::template::Template;
use crate::core::values::value::{ArgType, ScalarType, Value};

/// The catalog of the bear example, for a server that is given none.
pub const DEFAULT: &str = include_str!("../../../catalogs/bear.toml");

/// How long an application may compute a value where neither it nor the catalog says anything.
pub const DEFAULT_LEASE_MS: u64 = 10_000;

/// The longest that it may.
pub const MAX_LEASE_MS: u64 = 3_600_000;

/// Life of an entry where the catalog says nothing.
pub const DEFAULT_TTL_MS: u64 = 300_000;

#[derive(Debug, Clone)]
pub struct Catalog {
    /// By name; shared with the threads that apply jobs.
    pub sections: Arc<[Section]>,
    by_name: FxHashMap<Box<[u8]>, usize>,
    /// For each section, the others that its queries name.
    named: Vec<Vec<usize>>,
    /// The file.
    pub text: Arc<str>,
    /// What the file leaves unsaid, and is in force.
    pub additions: Arc<Additions>,
    /// The sections as the file has them; None: as they are.
    as_written: Option<Arc<[Section]>>,
}

impl Catalog {
    pub(in crate::core) fn new(sections: Vec<Section>) -> Catalog {
        let by_name = sections.iter().enumerate().map(|(i, section)| (section.name.as_bytes().into(), i)).collect();
        let named = sections.iter().enumerate().map(|(index, section)| named(&by_name, index, section)).collect();
        let (text, additions) = (Arc::default(), Arc::default());
        Catalog { sections: sections.into(), by_name, named, text, additions, as_written: None }
    }

    /// The sections as the file has them, without what was derived.
    pub fn as_written(&self) -> &Arc<[Section]> {
        self.as_written.as_ref().unwrap_or(&self.sections)
    }

    /// It is what the file, whose sections are these, became.
    pub fn completes(&mut self, as_written: Arc<[Section]>) {
        self.as_written = Some(as_written);
    }

    /// The other sections that a section's queries name: by `on`, or by a column `_<section>`, which lists rows (what only
    /// looks like one counts, too).
    pub fn named_by(&self, section: usize) -> &[usize] {
        &self.named[section]
    }

    /// Has those counted who depend on the values of a section's rows; by its name, for what was cached by another catalog
    /// may still be there.
    pub fn count_demand(&mut self, mut of: impl FnMut(&str) -> Arc<Demand>) {
        for section in Arc::make_mut(&mut self.sections) {
            section.demand = Some(of(&section.name));
        }
    }

    /// A section and its index in `sections`.
    pub fn section(&self, name: &[u8]) -> Option<(usize, &Section)> {
        let index = *self.by_name.get(name)?;
        Some((index, &self.sections[index]))
    }
}

/// Looked up for each `_` of a statement, not for each section: there may be thousands.
fn named(by_name: &FxHashMap<Box<[u8]>, usize>, own: usize, section: &Section) -> Vec<usize> {
    let mut named: Vec<usize> = Vec::new();
    for query in &section.queries {
        named.extend(query.on.iter().map(|on| on.section));
        let Some(plan) = query.plan() else { continue };
        named.extend(plan.lists.iter().filter_map(|list| by_name.get(list.name.as_bytes())));
        let sql = plan.sql.to_ascii_lowercase();
        for (at, _) in sql.match_indices('_') {
            let word = &sql.as_bytes()[at + 1..];
            let is_part = |byte: &&u8| byte.is_ascii_alphanumeric() || **byte == b'_';
            let len = word.iter().take(MAX_SECTION_NAME).take_while(is_part).count();
            named.extend((1..=len).filter_map(|len| by_name.get(&word[..len])));
        }
    }
    named.sort_unstable();
    named.dedup();
    named.retain(|section| *section != own);
    named
}

#[derive(Debug, Clone)]
pub struct Section {
    pub name: Box<str>,
    /// Type of the row ids; None where the section has no rows of its own.
    pub id: Option<ScalarType>,
    /// Of entries whose query says nothing else.
    pub life: Life,
    /// Has any of its queries entries whose age Redis alone does not tell?
    pub has_soft_life: bool,
    /// Has any of its queries entries that are kept warm?
    pub has_rewarm: bool,
    pub tenant: Option<ScalarType>,
    /// What decides the slot of its keys in a cluster; None: its tenant or name.
    pub group: Option<Box<str>>,
    /// Column of the section's tables that holds the tenant, for the change feed.
    pub tenant_column: Option<Box<str>>,
    pub tables: Vec<Table>,
    /// The table, if there is one of the name, whose rows are its rows; None where `tables` says which.
    pub table: Option<Box<str>>,
    /// The present values of the rows `{ids}`, for predicates.
    pub row: Option<Template>,
    /// Does a predicate of any section say which of its rows belong in a result?
    pub has_predicates: bool,
    /// Columns of its rows that queries of any section say they read; None: none says anything of them.
    pub columns_read: Option<Columns>,
    /// Those that queries read whose predicates compare its rows; None: one of them reads all, or there is none.
    pub columns_compared: Option<Columns>,
    /// Who depends on the values of its rows; None: nobody counts.
    pub demand: Option<Arc<Demand>>,
    pub calls: Calls,
    /// In the order of `calls`: the catalog's queries, then its values.
    pub queries: Vec<Query>,
    /// Has it values? Their applications name rows of any section.
    pub has_values: bool,
    /// By name.
    pub jobs: Vec<Job>,
    /// By name.
    pub schedules: Vec<Schedule>,
    /// Of its claimed jobs, in each of its spaces.
    pub limits: Limits,
    /// Those that BEAR.LIMIT asks, by name.
    pub named_limits: Vec<NamedLimit>,
    /// Does it take claimed jobs of any name, too?
    pub open: Option<OpenJobs>,
    /// Is published what happens to its jobs and entries? None: as the setting says.
    pub events: Option<bool>,
    /// The section in one spelling, without its schedules, limits and events, and which other sections its results name: two catalogs whose `source` of a section is
    /// equal cache the same under the same keys.
    pub source: Box<str>,
}

impl Section {
    /// The name of its space; of a tenant where it has tenants.
    pub fn space_name(&self, tenant: Option<&str>) -> String {
        names::space_name(&self.name, self.group.as_deref().or(tenant))
    }

    /// The prefix of that space's keys, without the colon.
    pub fn prefix(&self, tenant: Option<&str>, deployment: Deployment) -> Vec<u8> {
        let mut prefix = Vec::new();
        names::write_prefix(self.space_name(tenant).as_bytes(), deployment, &mut prefix);
        prefix
    }

    /// The schedule of this name.
    pub fn schedule(&self, name: &str) -> Option<&Definition> {
        let at = self.schedules.binary_search_by(|schedule| (*schedule.name).cmp(name)).ok()?;
        Some(&self.schedules[at].definition)
    }

    /// May anybody depend on the values that its rows have now?
    pub fn has_demand(&self) -> bool {
        self.has_predicates && self.demand.as_ref().is_none_or(|demand| demand.is_any())
    }

    /// Types of a `row` statement's parameters.
    pub fn row_param_types(&self, row: &Template) -> Vec<Option<ArgType>> {
        let of = |name: &str| match name {
            "tenant" => self.tenant.map(ArgType::scalar),
            _ => self.id.map(ArgType::array),
        };
        row.params.iter().map(|name| of(name)).collect()
    }

    /// Types of the parameters of a SELECT of `tables`: that of `{ids}` is whatever it compares them with.
    pub fn table_param_types(&self, select: &Template) -> Vec<Option<ArgType>> {
        let of = |name: &str| self.tenant.filter(|_| name == "tenant").map(ArgType::scalar);
        select.params.iter().map(|name| of(name)).collect()
    }

    /// Types of a job's statement's parameters.
    pub fn job_param_types(&self, job: &Job, template: &Template) -> Vec<Option<ArgType>> {
        let of = |name: &str| match name {
            "tenant" => self.tenant.map(ArgType::scalar),
            "jobs" => Some(ArgType::scalar(ScalarType::Text)),
            field => job.data.iter().find(|known| *known.name == *field).map(|known| known.ty),
        };
        template.params.iter().map(|name| of(name)).collect()
    }
}

/// A table whose changes are changes of the section's rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// As the catalog writes it: `bear`, `public.bear`.
    pub name: Box<str>,
    pub rows: TableRows,
}

/// Which rows of the section a changed row of the table concerns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TableRows {
    /// The one whose id this column holds.
    Column(Box<str>),
    /// Those that the statement gives for the changed rows' ids, `{ids}`.
    Select(Template),
}

#[derive(Debug, Clone)]
pub struct Query {
    pub call: Arc<CallPattern>,
    pub source: Source,
    pub life: Life,
    /// From which size on results are compressed; None: none are.
    pub compress: Option<usize>,
    /// An entry that was asked for within this time, and that a change drops, is fetched again.
    pub rewarm: Option<Duration>,
    /// One object or null instead of an array.
    pub single: bool,
    /// Whether the result's rows are tracked; if not, any change of the section drops the entry.
    pub rows: bool,
    /// Which rows of the own section belong in the result; None: any might.
    pub match_: Option<Arc<Predicate>>,
    /// Which changes of other sections concern the result.
    pub on: Vec<On>,
    /// What its results list that `match` and `on` compare with: values of each follow those of the arguments.
    pub lists: Vec<List>,
    /// Columns of sections' rows that its results read; None: all.
    pub reads: Option<Arc<ColumnsRead>>,
    /// Where its results are pages: rows of a full one.
    pub page: Option<PageSize>,
    pub tags: Vec<TagTemplate>,
    /// Does the query itself say how long its entries live?
    pub says_ttl: bool,
    /// And whether its rows are tracked, and which belong in the result, if only that any may?
    pub says_rows: bool,
    pub says_match: bool,
    /// Why its author answers for what is said of it, whatever the SQL is.
    pub trust: Option<Box<str>>,
}

/// Where the contents of a query's entries come from.
#[derive(Debug, Clone)]
pub enum Source {
    /// From Postgres.
    Sql {
        plan: Arc<FetchPlan>,
        /// Where `$1 … $n` of the plan come from.
        params: Vec<ParamSource>,
    },
    /// From the application: it is called a value then.
    Computed(Computed),
}

/// What is known of a value beside what queries have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Computed {
    pub kind: ValueKind,
    /// How long an application may compute, unless it says otherwise.
    pub lease_ms: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueKind {
    /// Checked, and stored compactly.
    Json,
    /// Any bytes.
    Bytes,
}

impl ValueKind {
    pub fn name(self) -> &'static str {
        match self {
            ValueKind::Json => "json",
            ValueKind::Bytes => "bytes",
        }
    }
}

impl Query {
    /// How it is fetched; None of a value.
    pub fn plan(&self) -> Option<&Arc<FetchPlan>> {
        match &self.source {
            Source::Sql { plan, .. } => Some(plan),
            Source::Computed(_) => None,
        }
    }

    /// May what stands under the key of an entry be compressed? Any bytes may look so.
    pub fn may_be_compressed(&self) -> bool {
        self.compress.is_some() || self.computed().is_none_or(|computed| computed.kind == ValueKind::Json)
    }

    /// None of a query that Postgres answers.
    pub fn computed(&self) -> Option<Computed> {
        match &self.source {
            Source::Sql { .. } => None,
            Source::Computed(computed) => Some(*computed),
        }
    }

    /// Values of the plan's `$1 … $n` for a call of it; None is NULL.
    pub fn bind_params(&self, args: &[Value], tenant: Option<&str>) -> Vec<Option<String>> {
        let Source::Sql { params, .. } = &self.source else { return Vec::new() };
        let value = |source: &ParamSource| match source {
            ParamSource::Arg(index) => args.get(*index).and_then(Value::to_postgres_text),
            ParamSource::Tenant => tenant.map(str::to_owned),
        };
        params.iter().map(value).collect()
    }

    /// The rows that a call asks for by id: its match says `id = {argument}`.
    pub fn asked_for(&self, args: &[Value]) -> Vec<Box<str>> {
        let terms = self.match_.iter().flat_map(|predicate| &predicate.terms);
        let ids = terms.filter_map(|term| match &term.test {
            Test::Compare(Comparison::Equal, Operand::Arg(index)) if *term.column == *"id" => args.get(*index),
            _ => None,
        });
        ids.filter_map(|value| match value {
            Value::Scalar(id) => Some(id.clone()),
            Value::Array(_) | Value::Null => None,
        })
        .collect()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParamSource {
    /// Index into [`CallPattern::args`].
    Arg(usize),
    Tenant,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct On {
    /// Index into [`Catalog::sections`]; never the query's own.
    pub section: usize,
    pub rule: OnRule,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OnRule {
    /// Any change of the section.
    Any,
    /// Changes of rows that match before or after.
    Rows(Arc<Predicate>),
}

/// Why a catalog is refused: at most ten problems, one a line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.to_text())]
pub struct CatalogError {
    /// Each says where in the file and what would be right.
    pub problems: Vec<String>,
}

impl CatalogError {
    const SHOWN: usize = 10;

    fn to_text(&self) -> String {
        let mut text = self.problems.iter().take(Self::SHOWN).cloned().collect::<Vec<_>>().join("\n");
        if self.problems.len() > Self::SHOWN {
            text += &format!("\n… and {} more", self.problems.len() - Self::SHOWN);
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use crate::core::catalog::read_catalog;

    #[test]
    fn the_sections_that_queries_name_are_told_once_each() {
        let section = |name: &str, sql: &str| {
            format!(
                "[{name}]\nid = \"int\"\n[[{name}.query]]\ncall = \"{{id:int}}\"\nsql = \"{sql} WHERE 0 < {{id}}\"\n"
            )
        };
        let text = [
            section("a", "SELECT id FROM a"),
            section("bear", "SELECT id, 1 AS _den, 2 AS _DEN_OLD FROM bear"),
            section("den", "SELECT id, x AS _bear_a, my_bear FROM den"),
            section("den_old", "SELECT id, y AS bear FROM den_old"),
        ];
        let catalog = read_catalog::parse(&text.concat(), &mut || 1).expect("a catalog");
        let named: Vec<Vec<&str>> = (0..4)
            .map(|section| catalog.named_by(section).iter().map(|named| &*catalog.sections[*named].name).collect())
            .collect();
        // `_den_old` counts as `_den`, and `_bear_a` as `_a`: that costs a fetch, the other way round a stale result.
        let expected: [&[&str]; 4] = [&[], &["den", "den_old"], &["a", "bear"], &[]];
        assert_eq!(named, expected);
    }
}
