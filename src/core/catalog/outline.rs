//! What sections must know of each other before any is read as a whole.

use toml::Table;

use super::read_life;
use super::toml_reader::{Fields, Report};
use crate::core::calls::names;
use crate::core::calls::tags::Tenancy;
use crate::core::values::value::ScalarType;

const SECTION_KEYS: [&str; 21] = [
    "id",
    "ttl",
    "stale",
    "refresh_ahead",
    "jitter",
    "compress",
    "tenant",
    "tenant_column",
    "group",
    "table",
    "tables",
    "row",
    "query",
    "value",
    "job",
    "schedule",
    "limit",
    "open",
    "claim",
    "order",
    "events",
];

/// What other sections must know of a section.
pub(in crate::core) struct Outline<'a> {
    pub name: &'a str,
    pub fields: Fields<'a>,
    pub toml: &'a Table,
    pub id: Option<ScalarType>,
    pub tenant: Option<ScalarType>,
    /// What decides the slot of its keys in a cluster, where it has no tenants; None: its name.
    pub group: Option<&'a str>,
    /// From which size on its results are compressed, unless a query says otherwise; None: none are.
    pub compress: Option<usize>,
}

impl<'a> Outline<'a> {
    pub fn read(name: &'a str, table: &'a Table, report: &mut Report) -> Outline<'a> {
        if let Err(error) = names::check_section_name(name) {
            report.problem(error);
        }
        let fields = Fields::new(table, &SECTION_KEYS, report);
        let mut key_type = |key: &str| {
            let name = fields.string(key, report)?;
            let ty = ScalarType::parse_name(name).filter(|ty| !matches!(ty, ScalarType::Json | ScalarType::Float));
            if ty.is_none() {
                report.problem(format!(
                    "{key} must be int, numeric, bool, text, uuid, date, timestamp or timestamptz, got '{name}'"
                ));
            }
            ty
        };
        let (id, tenant) = (key_type("id"), key_type("tenant"));
        let group = fields.string("group", report);
        if group.is_some() && tenant.is_some() {
            report.problem("group and tenant exclude each other: a tenant's keys are in a slot of their own");
        }
        if group.is_some_and(|group| !names::is_group_name(group)) {
            report.problem("group is lower-case letters, digits, _ and -, of at most 64 bytes");
        }
        Outline { name, fields, toml: table, id, tenant, group, compress: read_life::compress(fields, None, report) }
    }

    pub fn has_row(&self) -> bool {
        self.fields.has("row")
    }

    pub fn tenancy(&self) -> Tenancy {
        match self.tenant {
            Some(_) => Tenancy::PerTenant,
            None => Tenancy::Shared,
        }
    }

    /// The names, and `tenant` where there is one.
    pub fn placeholders<'n>(&self, names: impl Iterator<Item = &'n str>) -> Vec<&'n str> {
        names.chain(self.tenant.map(|_| "tenant")).collect()
    }
}
