//! What a job changes and does not tell of: by the locks that its PREPARE takes, and the foreign keys that follow.

use std::collections::{BTreeMap, BTreeSet};

use tokio_postgres::types::Type;

use super::reads::{self, Locks};
use super::trial::open;
use super::validation::{JobOf, Validation, ValidationReport};
use crate::core::catalog::Section;
use crate::core::prove::jobs::{reached, told, Action, Direct, ForeignKey, Reached};
use crate::core::sql::writes::writes;
use crate::postgres::connect::client::Client;
use crate::postgres::connect::failure::Failure;
use crate::postgres::connect::session::Session;

/// Tables that the statement changes by itself, through views and rules, too: of those that it only reads the lock is another. Of a
/// partition the topmost parent.
pub(super) const CHANGED: &str = "SELECT DISTINCT root.oid::bigint \
    FROM pg_locks l CROSS JOIN LATERAL (SELECT coalesce(pg_partition_root(l.relation)::oid, l.relation)) root(oid) \
    JOIN pg_class c ON c.oid = root.oid JOIN pg_namespace n ON n.oid = c.relnamespace \
    WHERE l.locktype = 'relation' AND l.pid = pg_backend_pid() AND l.mode = 'RowExclusiveLock' \
    AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database()) \
    AND c.relkind IN ('r', 'p', 'f') AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast') ORDER BY 1";

/// Those by which rows follow others; a partition's are its parent's.
const FOLLOWING: &str = "SELECT k.conrelid::bigint, k.confrelid::bigint, k.confdeltype::text, k.confupdtype::text, \
        ARRAY(SELECT a.attname::text FROM pg_attribute a WHERE a.attrelid = k.conrelid AND a.attnum = ANY (k.conkey)), \
        ARRAY(SELECT a.attname::text FROM pg_attribute a WHERE a.attrelid = k.confrelid AND a.attnum = ANY (k.confkey)) \
    FROM pg_constraint k WHERE k.contype = 'f' AND k.conparentid = 0 \
    AND (k.confdeltype IN ('c', 'n', 'd') OR k.confupdtype IN ('c', 'n', 'd')) ORDER BY k.oid";

const NAMES: &str = "SELECT c.oid::bigint, CASE n.nspname WHEN 'public' THEN c.relname::text \
        ELSE n.nspname::text || '.' || c.relname::text END \
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = ANY ($1::bigint[]::oid[])";

/// Triggers of which the function may change other rows than the one that it is called for.
const TRIGGERS: &str = "SELECT t.tgrelid::bigint, t.tgname::text FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid \
    WHERE t.tgrelid = ANY ($1::bigint[]::oid[]) AND NOT t.tgisinternal AND t.tgenabled <> 'D' AND t.tgname NOT LIKE 'bear%' \
    AND p.prosrc ~* '\\m(insert|update|delete|merge|truncate|execute|perform|call)\\M' ORDER BY t.tgrelid, t.tgname";

/// What one statement of a job changes itself.
pub(super) struct Changing<'a> {
    pub what: &'a str,
    pub job: &'a JobOf,
    /// None: nobody knows of which sections it tells.
    told: Option<BTreeSet<usize>>,
    direct: Vec<Direct>,
}

/// Of the statement that was prepared last, within its own part of the transaction.
pub(super) fn changing<'a>(
    client: &mut Client,
    locks: &Locks,
    what: &'a str,
    job: &'a JobOf,
    sql: &str,
    has_section_column: bool,
    sections: &[Section],
) -> Result<Changing<'a>, Failure> {
    let written = writes(sql);
    let deletes: Vec<String> = written.iter().flat_map(|written| written.deletes.iter().cloned()).collect();
    let deleted = reads::meant(client, &deletes)?;
    let changed = locks.changed(client)?;
    // Through a view, or a partition, nobody knows from which.
    let is_known = deleted.iter().all(|oid| oid.is_some_and(|oid| changed.contains(&oid)));
    let direct = changed.iter().map(|relation| Direct {
        relation: *relation,
        deletes: written.is_none() || (!deletes.is_empty() && !is_known) || deleted.contains(&Some(*relation)),
        sets: written.iter().flat_map(|written| written.sets.iter().map(|column| column.as_str().into())).collect(),
    });
    let told = told(sections, job.section, sql, has_section_column);
    Ok(Changing { what, job, told, direct: direct.collect() })
}

/// Which queries read a relation: the first that does, for messages.
pub(super) type Readers<'a> = BTreeMap<u32, &'a str>;

/// Says of each job what it changes, and queries read, without telling of it: an error where nobody else does.
pub(super) fn untold(
    session: &mut Session,
    validation: &Validation,
    changing: &[Changing<'_>],
    readers: &Readers<'_>,
    report: &mut ValidationReport,
) -> Result<(), Failure> {
    if changing.is_empty() || validation.sections.is_empty() {
        return Ok(());
    }
    open(session)?;
    let known = Known::read(&mut session.client, validation, changing, report);
    session.roll_back()?;
    let known = known?;
    for change in changing {
        let Some(told) = &change.told else { continue };
        let reached = reached(&change.direct, &known.keys);
        for reached in &reached {
            let Some(reader) = readers.get(&reached.relation) else { continue };
            let Some(sections) = known.sections.get(&reached.relation) else { continue };
            let is_told = told.iter().any(|index| sections.contains(&validation.sections[*index].name));
            if is_told {
                continue;
            }
            let said = format!("changes {}, which {reader} reads, and tells nothing of it", known.shown(reached));
            match validation.has_feed {
                true => report.hint(change.job, format!("{said}: what depends on it is dropped once the feed tells of it")),
                false => report.errors.push(format!(
                    "{}: {said}: without a feed its results stay stale; return its rows, too, with their section and id, or \
                     let bear.feed follow it",
                    change.what
                )),
            }
        }
        // The feed tells of what they do.
        let written: BTreeSet<u32> = reached.iter().map(|reached| reached.relation).collect();
        for relation in written.into_iter().filter(|_| !validation.has_feed) {
            for (_, trigger) in known.triggers.iter().filter(|(of, _)| *of == relation) {
                let name = known.name(relation);
                report.hint(
                    change.job,
                    format!("what trigger '{trigger}' of '{name}' changes is not known, and told by nobody"),
                );
            }
        }
    }
    Ok(())
}

/// What Postgres and the catalog know.
struct Known {
    keys: Vec<ForeignKey>,
    names: BTreeMap<u32, String>,
    triggers: Vec<(u32, String)>,
    /// Names of the sections that changes of a relation are told to.
    sections: BTreeMap<u32, BTreeSet<Box<str>>>,
}

impl Known {
    fn read(
        client: &mut Client,
        validation: &Validation,
        changing: &[Changing<'_>],
        report: &ValidationReport,
    ) -> Result<Known, Failure> {
        let sections = report.completed.as_ref().map_or(&validation.sections, |catalog| &catalog.sections);
        let tables = sections
            .iter()
            .flat_map(|section| section.tables.iter().map(move |table| (table.name.to_string(), section.name.clone())));
        let (names, of): (Vec<String>, Vec<Box<str>>) = tables.unzip();
        let mut mapped: BTreeMap<u32, BTreeSet<Box<str>>> = BTreeMap::new();
        for (oid, section) in reads::meant(client, &names)?.into_iter().zip(of) {
            if let Some(oid) = oid {
                mapped.entry(oid).or_default().insert(section);
            }
        }
        client.batch_execute("SET LOCAL search_path = pg_catalog, pg_temp")?;
        let keys = client.query_typed(FOLLOWING, &[])?.iter().map(foreign_key).collect::<Result<Vec<_>, _>>()?;
        let direct: BTreeSet<u32> = changing.iter().flat_map(|of| of.direct.iter().map(|of| of.relation)).collect();
        let all = keys.iter().flat_map(|key| [key.from, key.to]).chain(direct.iter().copied());
        let all: Vec<i64> = all.collect::<BTreeSet<u32>>().into_iter().map(i64::from).collect();
        let rows = client.query_typed(NAMES, &[(&all, Type::INT8_ARRAY)])?;
        let names = rows.iter().map(|row| Ok((oid(row, 0)?, row.try_get(1)?))).collect::<Result<_, Failure>>()?;
        let rows = client.query_typed(TRIGGERS, &[(&all, Type::INT8_ARRAY)])?;
        let triggers = rows.iter().map(|row| Ok((oid(row, 0)?, row.try_get(1)?))).collect::<Result<_, Failure>>()?;
        Ok(Known { keys, names, triggers, sections: mapped })
    }

    fn name(&self, relation: u32) -> &str {
        self.names.get(&relation).map_or("?", String::as_str)
    }

    fn shown(&self, reached: &Reached) -> String {
        let name = self.name(reached.relation);
        match reached.by {
            None => format!("'{name}'"),
            Some((of, clause)) => format!("'{name}' ({clause} of '{}')", self.name(of)),
        }
    }
}

fn oid(row: &tokio_postgres::Row, at: usize) -> Result<u32, Failure> {
    Ok(u32::try_from(row.try_get::<_, i64>(at)?).unwrap_or_default())
}

fn foreign_key(row: &tokio_postgres::Row) -> Result<ForeignKey, Failure> {
    let action = |at: usize| {
        Ok::<_, Failure>(match row.try_get::<_, &str>(at)? {
            "c" => Action::Cascade,
            "n" | "d" => Action::Set,
            _ => Action::Nothing,
        })
    };
    let columns = |at: usize| {
        let names: Vec<String> = row.try_get(at)?;
        Ok::<_, Failure>(names.into_iter().map(Into::into).collect())
    };
    Ok(ForeignKey {
        from: oid(row, 0)?,
        to: oid(row, 1)?,
        on_delete: action(2)?,
        on_update: action(3)?,
        columns: columns(4)?,
        to_columns: columns(5)?,
    })
}
