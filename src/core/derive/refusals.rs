//! What makes a result that nothing can be derived of: it changes by itself, or reads what no feed tells of.

use std::collections::BTreeSet;
use std::fmt;

use super::facts::{Facts, FunctionKind, RelationKind, Volatility};
use super::query::kind;
use super::tree::{Node, Value};

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Refusal {
    /// As the SQL names it: `now()`, `pg_catalog.pg_class`.
    pub what: Box<str>,
    pub why: Why,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// The clock. A query that says its `ttl` may have it.
    Clock,
    /// Another value each time. A query that says its `ttl` may have it.
    Volatile,
    /// A function of which nobody can see what it reads. A query that says `trust` may have it.
    Opaque,
    /// Nothing is known of it.
    Unknown,
    /// A function that reads the server's state or its catalogs.
    State,
    SystemCatalog,
    ForeignTable,
    MaterializedView,
    /// Temporary, unlogged, or a sequence: in no WAL.
    Unfollowed,
    /// TABLESAMPLE.
    Sample,
    /// FOR UPDATE and its kin: the statement locks rows, so that it is none to be answered from a cache.
    Locks,
    /// A statement that changes rows.
    Writes,
    TooGreat,
}

impl Why {
    /// Whether a `ttl` is a promise that covers it.
    pub fn is_covered_by_ttl(self) -> bool {
        matches!(self, Why::Clock | Why::Volatile | Why::Sample)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let why = match self.why {
            Why::Clock => "changes with the clock",
            Why::Volatile => "is volatile: it may answer differently each time",
            Why::Opaque => "is a function of which nobody can see what it reads",
            Why::Unknown => "is not known",
            Why::State => "reads the server's state, of which no feed tells",
            Why::SystemCatalog => "is a system catalog, of which no feed tells",
            Why::ForeignTable => "is a foreign table, of which no feed tells",
            Why::MaterializedView => "is a materialized view, of whose refreshes no feed tells",
            Why::Unfollowed => "is in no WAL, so that no feed tells of it",
            Why::Sample => "takes other rows each time",
            Why::Locks => "locks rows",
            Why::Writes => "changes rows",
            Why::TooGreat => "is too great a statement to be derived",
        };
        write!(f, "{} {why}", self.what)
    }
}

/// `SQLValueFunctionOp` up to this are of the clock: CURRENT_DATE … LOCALTIMESTAMP(n).
const CLOCK: [&str; 9] = [
    "current_date",
    "current_time",
    "current_time",
    "current_timestamp",
    "current_timestamp",
    "localtime",
    "localtime",
    "localtimestamp",
    "localtimestamp",
];

/// Stable functions of pg_catalog that read the clock.
const OF_CLOCK: [&str; 4] = ["now", "transaction_timestamp", "statement_timestamp", "age"];

/// Beginnings of names of stable functions of pg_catalog that read the server's state, its catalogs or tables.
const OF_STATE: [&str; 24] = [
    "pg_",
    "has_",
    "row_security_active",
    "inet_client_",
    "inet_server_",
    "txid_",
    "to_reg",
    "col_description",
    "obj_description",
    "shobj_description",
    "current_query",
    "currtid",
    "lo_",
    "format_type",
    "table_to_xml",
    "query_to_xml",
    "cursor_to_xml",
    "schema_to_xml",
    "database_to_xml",
    "table_to_xmlschema",
    "ts_stat",
    "mxid_age",
    "acl",
    "version",
];

pub(super) fn refusals(statement: &Node, facts: &Facts) -> BTreeSet<Refusal> {
    let mut finder = Finder { facts, found: BTreeSet::new() };
    // 1 is SELECT.
    if statement.text("commandType") != "1" || statement.is("hasModifyingCTE") {
        finder.add("the statement", Why::Writes);
    }
    finder.node(statement);
    finder.found
}

struct Finder<'f> {
    facts: &'f Facts,
    found: BTreeSet<Refusal>,
}

impl Finder<'_> {
    fn add(&mut self, what: impl Into<Box<str>>, why: Why) {
        self.found.insert(Refusal { what: what.into(), why });
    }

    fn node(&mut self, node: &Node) {
        match &*node.kind {
            "QUERY" if !node.list("rowMarks").is_empty() => self.add("FOR UPDATE, or a kin of it,", Why::Locks),
            "SQLVALUEFUNCTION" => {
                if let Some(name) = node.number("op").and_then(|op: usize| CLOCK.get(op)) {
                    self.add(*name, Why::Clock);
                }
            }
            "NEXTVALUEEXPR" => self.add("nextval()", Why::Volatile),
            "CURRENTOFEXPR" => self.add("CURRENT OF", Why::State),
            "TABLESAMPLECLAUSE" => self.add("TABLESAMPLE", Why::Sample),
            // Old and new of a view, before 16, are its own: a view is expanded.
            "RANGETBLENTRY" if node.text("rtekind") == kind::RELATION => {
                node.number("relid").into_iter().for_each(|relation| self.relation(relation));
            }
            _ => {}
        }
        for (name, value) in node.values() {
            if ["funcid", "opfuncid", "aggfnoid", "winfnoid"].contains(&name) {
                value.number().into_iter().filter(|oid| *oid != 0).for_each(|oid| self.function(oid));
            }
            self.value(value);
        }
    }

    fn value(&mut self, value: &Value) {
        match value {
            Value::Node(node) => self.node(node),
            Value::List(values) => values.iter().for_each(|value| self.value(value)),
            _ => {}
        }
    }

    fn relation(&mut self, oid: u32) {
        let Some(relation) = self.facts.relations.get(&oid) else {
            return self.add(format!("the relation of oid {oid}"), Why::Unknown);
        };
        let why = match relation.kind {
            RelationKind::Table | RelationKind::Partitioned | RelationKind::View => return,
            RelationKind::MaterializedView => Why::MaterializedView,
            RelationKind::Foreign => Why::ForeignTable,
            RelationKind::System => Why::SystemCatalog,
            RelationKind::Unfollowed => Why::Unfollowed,
        };
        self.add(format!("{}.{}", relation.schema, relation.name), why);
    }

    fn function(&mut self, oid: u32) {
        let Some(function) = self.facts.functions.get(&oid) else {
            return self.add(format!("the function of oid {oid}"), Why::Unknown);
        };
        let is_builtin = &*function.schema == "pg_catalog";
        let name = &*function.name;
        let why = match function.volatility {
            Volatility::Volatile if is_builtin && ["clock_timestamp", "timeofday"].contains(&name) => Why::Clock,
            Volatility::Volatile => Why::Volatile,
            // What an immutable function gives hangs on its arguments alone: so its author has promised.
            Volatility::Immutable => return,
            Volatility::Stable if !is_builtin && function.kind != FunctionKind::Aggregate => Why::Opaque,
            Volatility::Stable if OF_CLOCK.contains(&name) => Why::Clock,
            Volatility::Stable if OF_STATE.iter().any(|beginning| name.starts_with(beginning)) => Why::State,
            // It hangs on settings of the session, which are always the same.
            Volatility::Stable => return,
        };
        let schema = if is_builtin { String::new() } else { format!("{}.", function.schema) };
        self.add(format!("{schema}{name}()"), why);
    }
}
