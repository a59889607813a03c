//! The change feed: what it tells, and which rows of which sections a changed row of a table concerns.
//!
//! Invariant: a change that cannot be told exactly concerns more rows, never fewer. A mapped value that was not sent, an
//! id of another type, a transaction too large to keep: each stands for all rows of the section.

mod life;

use std::time::Instant;

use rustc_hash::{FxHashMap, FxHashSet};

use super::catalog::{Section, Table};
use super::promise::PromisedRows;
use super::value::ScalarType;

pub use life::{Depends, FeedEvent, FeedLife, FeedState, Wanted};

/// Changed rows of a section that are kept of one transaction; of more, all rows count as changed. They are dropped in one
/// unit: 10,000 held Redis' thread 8 ms, 1,000 hold it 0.6 ms.
pub const MAX_ROWS: usize = 1_000;

/// What the feed tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FeedOutcome {
    /// It follows from now on. What was cached before is to be forgotten, of the sections whose tables are covered.
    /// It may come again while connected: a change from before may have become visible only now.
    Connected { coverage: Vec<TableCoverage> },
    /// While it follows, tables have been altered: what was cached of these sections before is to be forgotten.
    Altered { coverage: Vec<TableCoverage>, sections: Vec<usize> },
    /// Whole transactions in commit order, all visible to new snapshots; present values were read after that.
    Changed {
        changes: Vec<SectionChange>,
        /// Where the last of them ends in the WAL, but before what own transactions have promised and not kept yet.
        position: u64,
        transactions: u32,
        /// When the oldest of them was committed, by Postgres' clock, in microseconds since 1970.
        committed_us: i64,
    },
    /// All that was committed (and visible) before `asked` has been told.
    CaughtUp {
        asked: Instant,
        position: u64,
        /// How far the feed was behind at `asked`.
        lag_bytes: u64,
    },
    /// It follows no more and tries again; a Connected comes before anything else.
    Down {
        error: String,
        /// False: Postgres does not allow it, and will not until an administrator changes something.
        allowed: bool,
    },
}

/// Changed rows of one section and tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SectionChange {
    /// Index into the catalog's sections.
    pub section: usize,
    pub tenant: Tenant,
    pub rows: Rows,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Tenant {
    /// The section has none.
    None,
    /// In canonical form.
    Known(Box<str>),
    /// Any tenant's rows may be meant.
    Unknown,
    /// The rows are known to be another's now; whose they were before, if not the same tenant's, nobody told.
    Former,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rows {
    /// Any row may have changed.
    All,
    /// These. No values: the row is gone (from this tenant), or no
    /// predicate of the catalog asks for the values.
    Some(Vec<PresentRow>),
}

/// A row's id in canonical form, and its present values as JSON.
pub type PresentRow = (Box<str>, Option<Box<[u8]>>);

/// How a table of the catalog is followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableCoverage {
    /// As the catalog writes it.
    pub table: Box<str>,
    /// The sections that map it.
    pub sections: Vec<usize>,
    pub state: Coverage,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Coverage {
    /// `note` says what would make its changes more exact.
    Covered { note: Option<Box<str>> },
    NotCovered {
        why: Box<str>,
        /// What to do about it: a statement, or a word in the catalog.
        remedy: Box<str>,
    },
}

/// How the changed rows of a table concern one section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    pub section: usize,
    pub source: IdSource,
    /// Type of the section's ids.
    pub id: Option<ScalarType>,
    pub tenant: TenantSource,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IdSource {
    /// The column holds the id.
    Column(Box<str>),
    /// The column is the key by which the statement (a number of the caller's) finds the ids.
    Select { column: Box<str>, statement: usize },
    /// Any change concerns all rows: the section has no ids.
    Whole,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TenantSource {
    /// The section has no tenants.
    None,
    /// The table does not say.
    Unknown,
    Column {
        name: Box<str>,
        ty: ScalarType,
        /// An old row bears it whenever it changes.
        in_identity: bool,
    },
}

/// A cell as the feed brings it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cell<'a> {
    Null,
    /// A large value that did not change, and was not sent.
    Unchanged,
    Text(&'a [u8]),
}

/// A row as the feed brings it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tuple<'a> {
    /// Only the columns of the identity are there; others look like NULL.
    pub key_only: bool,
    pub cells: Vec<Cell<'a>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RowChange<'a> {
    Insert(Tuple<'a>),
    /// Without `old` no column of the identity changed.
    Update {
        old: Option<Tuple<'a>>,
        new: Tuple<'a>,
    },
    Delete(Tuple<'a>),
}

/// Rules for tuples of known columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BoundRules(Vec<Bound>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Bound {
    rule: Rule,
    id_at: usize,
    tenant_at: usize,
}

impl BoundRules {
    /// Finds the rules' columns by name; a column that is not there is the error.
    pub fn bind(rules: &[Rule], columns: &[Box<str>]) -> Result<BoundRules, Box<str>> {
        let at = |name: &str| columns.iter().position(|column| **column == *name).ok_or_else(|| Box::<str>::from(name));
        let bound = |rule: &Rule| {
            let id_at = match &rule.source {
                IdSource::Column(name) | IdSource::Select { column: name, .. } => at(name)?,
                IdSource::Whole => usize::MAX,
            };
            let tenant_at = match &rule.tenant {
                TenantSource::Column { name, .. } => at(name)?,
                TenantSource::None | TenantSource::Unknown => usize::MAX,
            };
            Ok(Bound { rule: rule.clone(), id_at, tenant_at })
        };
        rules.iter().map(bound).collect::<Result<_, _>>().map(BoundRules)
    }
}

/// What one cell says.
enum Found<'a> {
    Nothing,
    Value(&'a [u8]),
    Unclear,
}

fn find<'a>(tuple: &Tuple<'a>, at: usize) -> Found<'a> {
    match tuple.cells.get(at) {
        Some(Cell::Text(text)) => Found::Value(text),
        Some(Cell::Null) if !tuple.key_only => Found::Nothing,
        Some(Cell::Null | Cell::Unchanged) | None => Found::Unclear,
    }
}

/// The changed rows of one or more transactions, by section.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Gathered {
    pub sections: FxHashMap<usize, GatheredSection>,
}

/// Of one section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GatheredSection {
    All,
    Some(GatheredRows),
}

#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct GatheredRows {
    /// Ids in canonical form.
    pub ids: FxHashMap<Tenant, FxHashSet<Box<str>>>,
    /// Ids of rows that may have left a tenant that nobody told.
    pub left: FxHashSet<Box<str>>,
    /// Keys as they were sent, by statement and tenant.
    pub keys: FxHashMap<(usize, Tenant), FxHashSet<Box<str>>>,
    count: usize,
}

impl Gathered {
    pub fn is_empty(&self) -> bool {
        self.sections.is_empty()
    }

    /// Rows that are kept; all rows of a section count as one.
    pub fn len(&self) -> usize {
        let of = |section: &GatheredSection| match section {
            GatheredSection::All => 1,
            GatheredSection::Some(rows) => rows.count,
        };
        self.sections.values().map(of).sum()
    }

    /// All rows of every section that the rules name.
    pub fn add_all(&mut self, rules: &BoundRules) {
        for bound in &rules.0 {
            self.sections.insert(bound.rule.section, GatheredSection::All);
        }
    }

    /// All rows of a section.
    pub fn add_section(&mut self, section: usize) {
        self.sections.insert(section, GatheredSection::All);
    }

    /// Rows of a section by their ids in canonical form.
    pub fn add_ids(&mut self, section: usize, tenant: &Tenant, ids: &[Box<str>]) {
        let kept = self.sections.entry(section).or_insert_with(|| GatheredSection::Some(GatheredRows::default()));
        let GatheredSection::Some(rows) = kept else { return };
        let known = rows.ids.entry(tenant.clone()).or_default();
        rows.count += ids.iter().filter(|id| known.insert((*id).clone())).count();
        if rows.count > MAX_ROWS {
            *kept = GatheredSection::All;
        }
    }

    /// The rows that a changed row of a table concerns, but for those whose drop is promised already.
    pub fn add(&mut self, rules: &BoundRules, change: &RowChange<'_>, promised: Option<&PromisedRows>) {
        for bound in &rules.0 {
            let kept = self
                .sections
                .entry(bound.rule.section)
                .or_insert_with(|| GatheredSection::Some(GatheredRows::default()));
            let GatheredSection::Some(rows) = kept else { continue };
            if rows.add(bound, change, promised).is_none() || rows.count > MAX_ROWS {
                *kept = GatheredSection::All;
            }
        }
        // A row without an id concerns nothing.
        self.sections.retain(|_, section| !matches!(section, GatheredSection::Some(rows) if rows.count == 0));
    }

    /// Of sections of which rows are known by keys alone, any row may be meant.
    pub fn forget_keys(&mut self) {
        for section in self.sections.values_mut() {
            if matches!(section, GatheredSection::Some(rows) if !rows.keys.is_empty()) {
                *section = GatheredSection::All;
            }
        }
    }

    /// Adds what a later transaction changed.
    pub fn merge(&mut self, later: Gathered) {
        for (section, changed) in later.sections {
            match (self.sections.get_mut(&section), changed) {
                (Some(GatheredSection::Some(rows)), GatheredSection::Some(more)) => {
                    rows.count += more.count;
                    rows.left.extend(more.left);
                    for (tenant, ids) in more.ids {
                        rows.ids.entry(tenant).or_default().extend(ids);
                    }
                    for (key, values) in more.keys {
                        rows.keys.entry(key).or_default().extend(values);
                    }
                }
                (Some(GatheredSection::All), _) => {}
                (_, changed) => drop(self.sections.insert(section, changed)),
            }
        }
    }
}

/// None, here and below: it cannot be told which rows.
impl GatheredRows {
    fn add(&mut self, bound: &Bound, change: &RowChange<'_>, promised: Option<&PromisedRows>) -> Option<()> {
        if bound.rule.source == IdSource::Whole {
            return None;
        }
        match change {
            RowChange::Insert(tuple) | RowChange::Delete(tuple) => {
                self.add_row(bound, find(tuple, bound.id_at), bound.tenant_of(tuple)?, promised)
            }
            RowChange::Update { old, new } => {
                let old_id = old.as_ref().map(|old| find(old, bound.id_at));
                let new_id = match (find(new, bound.id_at), &old_id) {
                    // Not sent because it did not change.
                    (Found::Unclear, Some(Found::Value(old))) => Found::Value(old),
                    (found, _) => found,
                };
                let tenant = bound.tenant_of(new)?;
                match (old, old_id) {
                    (Some(old), Some(old_id)) => {
                        let old_tenant = match bound.tenant_of(old)? {
                            // It is in the identity and did not change, or it is not and nobody knows.
                            Tenant::Unknown if bound.tells_old_tenant() => tenant.clone(),
                            told => told,
                        };
                        self.add_row(bound, old_id, old_tenant, promised)?;
                    }
                    _ if !bound.tells_old_tenant() => self.add_left(bound, &new_id)?,
                    _ => {}
                }
                self.add_row(bound, new_id, tenant, promised)
            }
        }
    }

    fn add_row(&mut self, bound: &Bound, id: Found<'_>, tenant: Tenant, promised: Option<&PromisedRows>) -> Option<()> {
        let id = match id {
            Found::Nothing => return Some(()),
            Found::Unclear => return None,
            Found::Value(id) => id,
        };
        let is_new = match &bound.rule.source {
            IdSource::Select { statement, .. } => {
                let key = std::str::from_utf8(id).ok()?.into();
                self.keys.entry((*statement, tenant)).or_default().insert(key)
            }
            IdSource::Column(_) => {
                let id = canonical(bound.rule.id?, id)?;
                if promised.is_some_and(|promised| promised.holds(bound.rule.section, &tenant, &id)) {
                    return Some(());
                }
                self.ids.entry(tenant).or_default().insert(id)
            }
            IdSource::Whole => return None,
        };
        self.count += usize::from(is_new);
        Some(())
    }

    /// A row whose tenant before the change is not told: it may have been another's.
    fn add_left(&mut self, bound: &Bound, id: &Found<'_>) -> Option<()> {
        if let (IdSource::Column(_), Found::Value(id)) = (&bound.rule.source, id) {
            let is_new = self.left.insert(canonical(bound.rule.id?, id)?);
            self.count += usize::from(is_new);
        }
        Some(())
    }
}

impl Bound {
    fn tenant_of(&self, tuple: &Tuple<'_>) -> Option<Tenant> {
        Some(match &self.rule.tenant {
            TenantSource::None => Tenant::None,
            TenantSource::Unknown => Tenant::Unknown,
            TenantSource::Column { ty, .. } => match find(tuple, self.tenant_at) {
                Found::Value(tenant) => Tenant::Known(canonical(*ty, tenant)?),
                Found::Nothing | Found::Unclear => Tenant::Unknown,
            },
        })
    }

    /// Whether a change of the tenant would show in the old row; true where there is no tenant to tell.
    fn tells_old_tenant(&self) -> bool {
        !matches!(self.rule.tenant, TenantSource::Column { in_identity: false, .. })
    }
}

/// A value of Postgres as keys show it.
pub fn canonical(ty: ScalarType, text: &[u8]) -> Option<Box<str>> {
    let mut out = Vec::with_capacity(text.len());
    ty.write_canonical(text, &mut out).ok()?;
    String::from_utf8(out).ok().map(Into::into)
}

/// The tables that sections name, each with the sections that do.
pub fn tables_of(sections: &[Section]) -> Vec<(&Table, Vec<usize>)> {
    let mut by_name: FxHashMap<&str, usize> = FxHashMap::default();
    let mut named: Vec<(&Table, Vec<usize>)> = Vec::new();
    for (index, section) in sections.iter().enumerate() {
        for table in &section.tables {
            let at = *by_name.entry(&table.name).or_insert_with(|| {
                named.push((table, Vec::new()));
                named.len() - 1
            });
            named[at].1.push(index);
        }
    }
    named
}

#[cfg(test)]
#[path = "feed_tests.rs"]
mod tests;
