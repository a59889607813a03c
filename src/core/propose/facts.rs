//! What is known of a database that a catalog is proposed for. Whoever asks Postgres gives it as it is there; nothing here says
//! what becomes of it.

use std::collections::BTreeSet;

use crate::core::sql::spelling::as_needed;

/// Relations in the order of their schemas' and their own names, whatever they are.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Database {
    pub relations: Vec<Relation>,
    /// In force for who says nothing of it; None: UTC, as in bear's own sessions.
    pub time_zone: Option<Box<str>>,
    pub feed: Feed,
}

/// Who tells of what others change.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Feed {
    #[default]
    Nobody,
    Wal,
    Outbox,
}

/// What Postgres does of itself at changes of a relation: a trigger, or a rule.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reaction {
    pub name: Box<str>,
    pub insert: bool,
    pub update: bool,
    pub delete: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Relation {
    pub oid: u32,
    pub schema: Box<str>,
    pub name: Box<str>,
    pub kind: Kind,
    /// Is it found by its bare name?
    pub is_visible: bool,
    pub comment: Option<Box<str>>,
    /// Of the role that bear connects as; columns may be open where the table is not.
    pub rights: Rights,
    pub has_schema_usage: bool,
    /// The parent, where it is a partition.
    pub is_partition: bool,
    /// Do others inherit from it, other than partitions?
    pub has_children: bool,
    /// Do policies decide what the role sees of it?
    pub is_secured: bool,
    /// The extension that it belongs to.
    pub extension: Option<Box<str>>,
    /// In their order.
    pub columns: Vec<Column>,
    /// Whole, valid, immediate unique indexes of plain columns; the primary key first.
    pub keys: Vec<Key>,
    pub foreign_keys: Vec<ForeignKey>,
    /// Columns that an index begins with.
    pub indexed: BTreeSet<i16>,
    /// Other than Postgres' own and bear's.
    pub triggers: Vec<Reaction>,
    pub rules: Vec<Reaction>,
    /// Why the WAL's feed cannot follow it, and what would help.
    pub untold: Option<Untold>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Untold {
    pub why: Box<str>,
    pub remedy: Box<str>,
}

impl Untold {
    /// Lines of comment beside what depends on the table.
    pub fn lines(&self, table: &str) -> [String; 2] {
        [
            format!("what others change in {table} is not followed with bear.feed wal: {}", self.why),
            format!("until {}, or bear.feed is outbox, it is stale until its ttl", self.remedy),
        ]
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Table,
    View,
    MaterializedView,
    Foreign,
    /// In no WAL.
    Unlogged,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rights {
    pub select: bool,
    pub insert: bool,
    pub update: bool,
    pub delete: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    pub number: i16,
    pub name: Box<str>,
    pub ty: Type,
    pub not_null: bool,
    /// Its own, or that of its domain, as Postgres shows it, names of anything but `pg_catalog` with their schemas.
    pub default: Option<Box<str>>,
    pub identity: Identity,
    pub is_generated: bool,
    pub sequence: Option<Sequence>,
    pub rights: Rights,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Type {
    pub oid: u32,
    /// Of a domain, the type that it is made of in the end.
    pub base: u32,
    pub sort: Sort,
    /// Of an array, the same of its elements.
    pub element: Option<(u32, Sort)>,
    /// As SQL names it, without a length.
    pub sql: Box<str>,
    /// A domain that is NOT NULL.
    pub refuses_null: bool,
    /// The operator that its values are equal by, as SQL names it.
    pub equality: Box<str>,
    /// May the role name it, and that operator?
    pub is_open: bool,
}

/// What sort of type the base is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sort {
    Base,
    Enum,
    Range,
    Composite,
    Pseudo,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Identity {
    None,
    ByDefault,
    Always,
}

/// What the values of a column are drawn from.
#[derive(Debug, Clone, PartialEq)]
pub struct Sequence {
    pub schema: Box<str>,
    pub name: Box<str>,
    pub is_visible: bool,
    pub may_draw: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Key {
    pub is_primary: bool,
    /// Is the equality of its values Postgres' own, and not an extension's?
    pub is_plain: bool,
    pub columns: Box<[i16]>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct ForeignKey {
    pub columns: Box<[i16]>,
    /// The table that it refers to.
    pub relation: u32,
    /// As many as `columns`, in their order.
    pub referenced: Box<[i16]>,
    pub on_delete: Follows,
    pub on_update: Follows,
    /// Does it hold of all rows at any time: validated, and not deferrable?
    pub holds: bool,
}

/// What becomes of a row once the one that it refers to goes, or is called otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Follows {
    /// The row that is referred to stays as it is.
    Nothing,
    /// It goes, or follows.
    Cascade,
    /// The column becomes NULL, or its default.
    Set,
}

impl Relation {
    /// As SQL finds it, with its schema where it must be said.
    pub fn sql_name(&self) -> String {
        match self.is_visible {
            true => as_needed(&self.name),
            false => format!("{}.{}", as_needed(&self.schema), as_needed(&self.name)),
        }
    }

    pub fn column(&self, number: i16) -> Option<&Column> {
        self.columns.iter().find(|column| column.number == number)
    }
}

impl Column {
    /// A comparison of values of its type.
    pub fn equal(&self, one: &str, other: &str) -> String {
        format!("{one} {} {other}", self.ty.equality)
    }

    /// Must a row have a value of it?
    pub fn refuses_null(&self) -> bool {
        self.not_null || self.ty.refuses_null
    }
}
