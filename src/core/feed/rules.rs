//! The change feed: what it tells, and which rows of which sections a changed row of a table concerns.
//!
//! Invariant: a change that cannot be told exactly concerns more rows, never fewer. A mapped value that was not sent, an
//! id of another type, a transaction too large to keep, a row by which a statement found others: each stands for all rows
//! of the section.
//!
//! Of an UPDATE that is told with the old row, the columns that queries say they read are compared: see [`Rule::compared`].
//!
//! `gathered` collects the rows that changes concern, `life` says what depends on the feed in which state.

use std::time::Instant;

use rustc_hash::FxHashMap;

use crate::core::catalog::columns_read::Unchanged;
use crate::core::catalog::{Section, Table};
use crate::core::values::value::ScalarType;

/// Changed rows of a section that are kept of one transaction; of more, all rows count as changed. They are dropped in one
/// unit: 10,000 held Redis' thread 8 ms, 1,000 hold it 0.6 ms.
pub const MAX_ROWS: usize = 1_000;

/// What the feed tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FeedOutcome {
    /// It follows from now on. What was cached before is to be forgotten, of the sections whose tables are covered.
    /// It may come again while connected: a change from before may have become visible only now.
    Connected { coverage: Vec<TableCoverage> },
    /// While it follows, tables have been altered, or something else that answers depend on: what was cached of these
    /// sections before is to be forgotten.
    Altered { coverage: Vec<TableCoverage>, sections: Vec<usize> },
    /// The same sections once more: a session that sees a commit learns a moment later what it has altered, and may have
    /// fetched as before in between.
    AlteredBefore { sections: Vec<usize> },
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

/// A row of a section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PresentRow {
    /// In canonical form.
    pub id: Box<str>,
    /// Its present values as JSON.
    pub json: Option<Box<[u8]>>,
    /// What its changes have left as it was.
    pub unchanged: Unchanged,
}

/// How a table of the catalog is followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableCoverage {
    /// As the catalog writes it.
    pub table: Box<str>,
    /// The sections that map it.
    pub sections: Vec<usize>,
    pub state: Coverage,
    /// What tells which columns an UPDATE has changed, where that is not told and a query says which it reads.
    pub alter: Option<Box<str>>,
}

impl TableCoverage {
    /// The same of a catalog whose sections have other places; `place_of` knows the new one of each that is there still. None: no
    /// section maps it any more.
    pub fn moved(&self, place_of: impl Fn(usize) -> Option<usize>) -> Option<TableCoverage> {
        let sections: Vec<usize> = self.sections.iter().filter_map(|section| place_of(*section)).collect();
        (!sections.is_empty()).then(|| TableCoverage { sections, ..self.clone() })
    }
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
    /// Of each column that queries say they read of the section's rows, in their order, how an old row and a new one are compared by
    /// it; None: no query says so, and an UPDATE counts as one of all columns.
    pub compared: Option<Box<[Compared]>>,
}

/// How rows of a table are compared by a column that somebody reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Compared {
    /// By what the feed tells of it.
    By(Box<str>),
    /// The table has no such column: no change of its rows changes it.
    Absent,
    /// The feed does not tell it: it may be another with each change.
    Untold,
}

/// Columns by which rows are compared; those beyond that count as changed.
pub const MAX_COMPARED: usize = 128;

/// Of the columns in [`Rule::compared`], the bits of those that are as they were; None: nothing is known.
pub type Same = Option<u128>;

/// What both of two changes have left as it was.
pub fn same_in_both(one: Same, other: Same) -> Same {
    Some(one? & other?)
}

/// The columns whose bits are set.
pub fn unchanged(section: &Section, same: Same) -> Unchanged {
    let (Some(bits), Some(read)) = (same, &section.columns_read) else { return Unchanged::UNKNOWN };
    let is_set = |at: &usize| bits >> at & 1 == 1;
    let columns = (0..read.len().min(MAX_COMPARED)).filter(is_set).map(|at| read[at].clone());
    Unchanged::columns(columns)
}

/// How rows of a table are compared for a section: `how` says it of a column.
pub fn compared(section: &Section, how: impl Fn(&str) -> Compared) -> Option<Box<[Compared]>> {
    Some(section.columns_read.as_ref()?.iter().take(MAX_COMPARED).map(|column| how(column)).collect())
}

/// Where a changed row of the table says which rows of the section it concerns, and what is dropped:
///
/// | source | a row comes | goes | changes |
/// |---|---|---|---|
/// | `Column` that old rows bear | its id | its id | both ids |
/// | `Column` that they do not bear | its id | all, unless the old row is told whole | all, unless told whole |
/// | `Select` | what the statement finds now | the same | the same, by the old and the new key |
/// | `Moved` | nothing, or all | all | all, if a column may have changed that the statement reads |
/// | `Whole` | all | all | all |
///
/// *All* is all rows of the section: of the row's tenant where the old and the new row tell it, else of every tenant. A
/// TRUNCATE is all of every tenant, whatever the source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IdSource {
    /// The column holds the id.
    Column {
        name: Box<str>,
        /// An old row bears it whenever it changes.
        in_identity: bool,
    },
    /// The column is the key by which the statement (a number of the caller's) finds the ids: those that it finds now.
    Select { column: Box<str>, statement: usize },
    /// A statement of [`IdSource::Select`] reads the table. What it found by a row that is gone, or is another now, nobody
    /// can ask any more.
    Moved(Moved),
    /// Any change concerns all rows: the section has no ids.
    Whole,
}

impl Rule {
    /// Those that it asks for.
    pub fn columns(&self) -> Vec<Box<str>> {
        let mut columns = Vec::new();
        match &self.source {
            IdSource::Column { name, .. } | IdSource::Select { column: name, .. } => columns.push(name.clone()),
            IdSource::Moved(Moved { columns: read, check, .. }) => {
                columns.extend(read.iter().flatten().map(|(name, _)| name.clone()));
                columns.extend(check.iter().map(|(key, _)| key.clone()));
            }
            IdSource::Whole => {}
        }
        if let TenantSource::Column { name, .. } = &self.tenant {
            columns.push(name.clone());
        }
        columns.extend(self.compared.iter().flatten().filter_map(|compared| match compared {
            Compared::By(name) => Some(name.clone()),
            Compared::Absent | Compared::Untold => None,
        }));
        columns
    }
}

/// A column, and whether an old row bears it whenever it changes.
pub type ReadColumn = (Box<str>, bool);

/// See [`IdSource::Moved`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moved {
    /// Which columns the statement may read; None: any.
    pub columns: Option<Box<[ReadColumn]>>,
    /// Counts a new row, too: the section does not map the table, or the statement may find less by more rows.
    pub inserts: bool,
    /// Where the feed does not tell an old row from a new one: the table's key, and the number of what says which keys
    /// are there. Without it each row counts.
    pub check: Option<(Box<str>, usize)>,
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
    /// Not told, or not to be understood.
    Unclear,
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
    /// A row as it was or as it became: the feed does not say which.
    Seen(Tuple<'a>),
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
