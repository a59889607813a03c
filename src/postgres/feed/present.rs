//! What changed rows are now: the ids that statements of `tables` give, and the present values of rows.
//!
//! Everything is read by snapshots that see the change. A statement that fails makes all rows of its section count as
//! changed; only a lost connection ends the feed.

use std::time::{Duration, Instant};

use rustc_hash::{FxHashMap, FxHashSet};
use tokio_postgres::types::Type;
use tokio_postgres::Statement;

use crate::core::catalog::columns_read::Unchanged;
use crate::core::catalog::Section;
use crate::core::feed::{
    canonical, same_in_both, unchanged, Gathered, GatheredRows, GatheredSection, PresentRow, Rows, Same, SectionChange,
    Tenant, MAX_ROWS,
};
use crate::core::sql::template::Template;
use crate::core::values::value::{ArgType, Value};
use crate::postgres::connect::client::{Client, ClientError};
use crate::postgres::connect::failure::Failure;
use crate::postgres::values::params::{declared_type, TextParam};

/// Rows that one statement is asked for.
const ROWS_A_STATEMENT: usize = 1_000;

/// A row's id, and what its changes have left as it was.
type ChangedId = (Box<str>, Same);

/// Reads what changes mean, with statements prepared once a connection.
pub(super) struct Present {
    selects: Vec<Template>,
    statements: FxHashMap<Which, Statement>,
    /// Longest time for an answer.
    limit: Duration,
    /// Sections of which the log has been told why they are not exact.
    told: FxHashSet<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Which {
    /// Of a section.
    Row(usize),
    /// Of a number.
    Select(usize),
}

/// Why all rows of a section count as changed.
enum Unclear {
    All(String),
    Lost(Failure),
}

impl From<ClientError> for Unclear {
    fn from(error: ClientError) -> Self {
        Failure::from(error).into()
    }
}

impl From<Failure> for Unclear {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Fetch(error) => Unclear::All(error.to_string()),
            Failure::TimedOut(Some(said)) => Unclear::All(said.to_string()),
            Failure::TimedOut(None) => Unclear::All("it took too long".to_owned()),
            lost => Unclear::Lost(lost),
        }
    }
}

impl Present {
    pub(super) fn new(selects: Vec<Template>, limit: Duration) -> Present {
        let (statements, told) = (FxHashMap::default(), FxHashSet::default());
        Present { selects, statements, limit, told }
    }

    /// What the statements' names mean may have changed.
    pub(super) fn prepare_anew(&mut self) {
        self.statements.clear();
    }

    /// What has changed, in the order of sections.
    pub(super) fn read(
        &mut self,
        client: &mut Client,
        sections: &[Section],
        gathered: Gathered,
    ) -> Result<Vec<SectionChange>, Failure> {
        let mut changes = Vec::new();
        let mut by_section: Vec<_> = gathered.sections.into_iter().collect();
        by_section.sort_unstable_by_key(|(section, _)| *section);
        for (index, rows) in by_section {
            let Some(section) = sections.get(index) else { continue };
            let read = match rows {
                GatheredSection::All => Err(Unclear::All(String::new())),
                GatheredSection::Some(rows) => self.read_section(client, index, section, rows),
            };
            match read {
                Ok(read) => changes.extend(read),
                Err(Unclear::Lost(failure)) => return Err(failure),
                Err(Unclear::All(why)) => {
                    // Once, for it may be so at every change.
                    if !why.is_empty() && self.told.insert(index) {
                        log::warn!("all entries of section '{}' are dropped at some changes: {why}", section.name);
                    }
                    let tenant = if section.tenant.is_some() { Tenant::Unknown } else { Tenant::None };
                    changes.push(SectionChange { section: index, tenant, rows: Rows::All });
                }
            }
        }
        Ok(changes)
    }

    fn read_section(
        &mut self,
        client: &mut Client,
        index: usize,
        section: &Section,
        mut rows: GatheredRows,
    ) -> Result<Vec<SectionChange>, Unclear> {
        for (check, seen) in std::mem::take(&mut rows.seen) {
            let keys = seen.keys().cloned().collect();
            let there: FxHashSet<_> = self.keys_there(client, check, keys)?.into_iter().collect();
            for (_, gone) in seen.into_iter().filter(|(key, _)| !there.contains(key)) {
                match gone.tenant {
                    Tenant::Known(_) => drop(rows.whole.insert(gone.tenant)),
                    Tenant::None | Tenant::Unknown | Tenant::Former => return Err(Unclear::All(String::new())),
                }
            }
        }
        rows.ids.retain(|tenant, _| !rows.whole.contains(tenant));
        rows.keys.retain(|(_, tenant), _| !rows.whole.contains(tenant));
        let mut count: usize = rows.ids.values().map(FxHashMap::len).sum();
        for ((statement, tenant), keys) in std::mem::take(&mut rows.keys) {
            for (same, keys) in alike(keys) {
                let found = self.select(client, section, statement, &tenant, keys)?;
                count += found.len();
                let known = rows.ids.entry(tenant.clone()).or_default();
                for id in found {
                    let both = known.get(&id).map_or(same, |known| same_in_both(*known, same));
                    known.insert(id, both);
                }
            }
        }
        // What many transactions gathered together may be more.
        if count > MAX_ROWS {
            return Err(Unclear::All(String::new()));
        }
        let mut by_tenant: Vec<(Tenant, Vec<ChangedId>)> = Vec::new();
        let unknown = rows.ids.get(&Tenant::Unknown);
        let mut left: Vec<_> =
            rows.left.iter().filter(|id| !unknown.is_some_and(|ids| ids.contains_key(*id))).cloned().collect();
        for (tenant, ids) in rows.ids {
            let mut ids: Vec<_> = ids.into_iter().collect();
            ids.sort_unstable();
            by_tenant.push((tenant, ids));
        }
        let whole = rows.whole.into_iter().map(|tenant| SectionChange { section: index, tenant, rows: Rows::All });
        let mut changes: Vec<SectionChange> = whole.collect();
        for (tenant, ids) in by_tenant {
            let rows = Rows::Some(self.values(client, index, section, &tenant, ids)?);
            changes.push(SectionChange { section: index, tenant, rows });
        }
        if !left.is_empty() {
            left.sort_unstable();
            let row = |id| PresentRow { id, json: None, unchanged: Unchanged::UNKNOWN };
            let rows = Rows::Some(left.into_iter().map(row).collect());
            changes.push(SectionChange { section: index, tenant: Tenant::Former, rows });
        }
        Ok(changes)
    }

    /// Ids of the section by the keys of a changed table.
    fn select(
        &mut self,
        client: &mut Client,
        section: &Section,
        number: usize,
        tenant: &Tenant,
        keys: Vec<Box<str>>,
    ) -> Result<Vec<Box<str>>, Unclear> {
        let (Some(template), Some(ty)) = (self.selects.get(number).cloned(), section.id) else {
            return Err(Unclear::All(String::new()));
        };
        let sql = format!("SELECT t.id::pg_catalog.text FROM ({}\n) AS t(id) LIMIT {}", template.text, MAX_ROWS + 1);
        // Its type is whatever the statement compares it with.
        let types = |name: &str| match name {
            "tenant" => section.tenant.map(ArgType::scalar),
            _ => None,
        };
        let mut found = Vec::new();
        for keys in keys.chunks(ROWS_A_STATEMENT) {
            self.run(client, Which::Select(number), &sql, &template, types, keys, tenant, |row| {
                let id: Option<&str> = row.try_get(0).map_err(ClientError::from)?;
                if let Some(id) = id {
                    found.push(canonical(ty, id.as_bytes()).ok_or_else(|| not_an_id(section))?);
                }
                Ok(())
            })?;
            if found.len() > MAX_ROWS {
                return Err(Unclear::All(String::new()));
            }
        }
        Ok(found)
    }

    /// Which keys a table has, of these.
    fn keys_there(&mut self, client: &mut Client, check: usize, keys: Vec<Box<str>>) -> Result<Vec<Box<str>>, Unclear> {
        let Some(template) = self.selects.get(check).cloned() else { return Err(Unclear::All(String::new())) };
        let sql = format!("SELECT t.key::pg_catalog.text FROM ({}\n) AS t(key)", template.text);
        let mut there = Vec::new();
        for keys in keys.chunks(ROWS_A_STATEMENT) {
            self.run(
                client,
                Which::Select(check),
                &sql,
                &template,
                |_| None,
                keys,
                &Tenant::None,
                |row| {
                    let key: Option<&str> = row.try_get(0).map_err(ClientError::from)?;
                    there.extend(key.map(Box::<str>::from));
                    Ok(())
                },
            )?;
        }
        Ok(there)
    }

    /// The rows with their present values, where these are asked for.
    fn values(
        &mut self,
        client: &mut Client,
        index: usize,
        section: &Section,
        tenant: &Tenant,
        ids: Vec<ChangedId>,
    ) -> Result<Vec<PresentRow>, Unclear> {
        let mut known: Vec<(Same, Unchanged)> = Vec::new();
        let row = |(id, same): ChangedId| {
            let unchanged = match known.iter().find(|(known, _)| *known == same) {
                Some((_, unchanged)) => unchanged.clone(),
                None => {
                    known.push((same, unchanged(section, same)));
                    known[known.len() - 1].1.clone()
                }
            };
            PresentRow { id, json: None, unchanged }
        };
        let rows: Vec<PresentRow> = ids.into_iter().map(row).collect();
        // Asked once the change is visible: whoever depends on values from now on reads them later.
        let (Some(template), Some(ty), true) = (&section.row, section.id, section.has_demand()) else {
            return Ok(rows);
        };
        // Who compares rows reads nothing of what has changed of the others.
        let is_passed_over =
            |row: &PresentRow| section.columns_compared.as_ref().is_some_and(|read| row.unchanged.covers(read));
        let asked: Vec<Box<str>> = rows.iter().filter(|row| !is_passed_over(row)).map(|row| row.id.clone()).collect();
        let mut missing: FxHashMap<Box<str>, Unchanged> = rows.into_iter().map(|row| (row.id, row.unchanged)).collect();
        let mut there: FxHashMap<Box<str>, Unchanged> = FxHashMap::default();
        let mut present = Vec::with_capacity(missing.len());
        let sql = format!(
            "SELECT r.id::pg_catalog.text, pg_catalog.row_to_json(r.*)::pg_catalog.text FROM ({}\n) r",
            template.text
        );
        let types = |name: &str| match name {
            "tenant" => section.tenant.map(ArgType::scalar),
            _ => section.id.map(ArgType::array),
        };
        for asked in asked.chunks(ROWS_A_STATEMENT) {
            self.run(client, Which::Row(index), &sql, template, types, asked, tenant, |row| {
                let (id, json): (Option<&str>, &str) =
                    (row.try_get(0).map_err(ClientError::from)?, row.try_get(1).map_err(ClientError::from)?);
                let id = id.and_then(|id| canonical(ty, id.as_bytes())).ok_or_else(|| not_an_id(section))?;
                // A statement may give several of one id.
                there.extend(missing.remove_entry(&id));
                let unchanged = there.get(&id).cloned().unwrap_or_default();
                present.push(PresentRow { id, json: Some(json.as_bytes().into()), unchanged });
                Ok(())
            })?;
        }
        present.extend(missing.into_iter().map(|(id, unchanged)| PresentRow { id, json: None, unchanged }));
        present.sort_unstable_by(|one, other| (&one.id, &one.json).cmp(&(&other.id, &other.json)));
        Ok(present)
    }

    #[allow(clippy::too_many_arguments, reason = "one statement, in one place")]
    fn run(
        &mut self,
        client: &mut Client,
        which: Which,
        sql: &str,
        template: &Template,
        types: impl Fn(&str) -> Option<ArgType>,
        ids: &[Box<str>],
        tenant: &Tenant,
        each: impl FnMut(&tokio_postgres::Row) -> Result<(), Unclear>,
    ) -> Result<(), Unclear> {
        let ids = Value::Array(ids.into()).to_postgres_text();
        let mut params = Vec::new();
        for name in &template.params {
            params.push(match (&**name, tenant) {
                ("tenant", Tenant::Known(tenant)) => TextParam(Some(tenant)),
                ("tenant", Tenant::None | Tenant::Unknown | Tenant::Former) => {
                    return Err(Unclear::All(
                        "its statement asks for a tenant, which the change does not tell".to_owned(),
                    ))
                }
                _ => TextParam(ids.as_deref()),
            });
        }
        client.set_deadline(Instant::now() + self.limit);
        let statement = match self.statements.get(&which) {
            Some(statement) => statement.clone(),
            None => {
                let declared: Vec<Type> =
                    template.params.iter().map(|name| types(name).map_or(Type::UNKNOWN, declared_type)).collect();
                let statement = client.prepare_typed(sql, &declared)?;
                self.statements.insert(which, statement.clone());
                statement
            }
        };
        let result = client.query_each(&statement, params, each);
        if result.is_err() {
            // It may be older than a change of its tables.
            self.statements.remove(&which);
        }
        result
    }
}

/// Keys by what their rows have left as it was; of many kinds, what all have.
fn alike(keys: FxHashMap<Box<str>, Same>) -> Vec<(Same, Vec<Box<str>>)> {
    /// Statements that one is asked as.
    const MAX_KINDS: usize = 4;

    let mut kinds: Vec<(Same, Vec<Box<str>>)> = Vec::new();
    for (key, same) in keys {
        match kinds.iter().position(|(known, _)| *known == same) {
            Some(at) => kinds[at].1.push(key),
            None => kinds.push((same, vec![key])),
        }
    }
    if kinds.len() > MAX_KINDS {
        let all = kinds.iter().map(|(same, _)| *same).reduce(same_in_both).flatten();
        let keys = kinds.into_iter().flat_map(|(_, keys)| keys).collect();
        return vec![(all, keys)];
    }
    kinds
}

fn not_an_id(section: &Section) -> Unclear {
    Unclear::All(format!("a statement returned an id of section '{}' that is not of its type", section.name))
}
