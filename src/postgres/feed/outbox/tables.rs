//! Which tables of a catalog triggers can follow, and the triggers.
//!
//! Triggers see whole rows, old and new, so that no replica identity matters.

use std::collections::BTreeSet;

use rustc_hash::FxHashMap;
use std::time::{Duration, Instant};

use tokio_postgres::types::Type;
use tokio_postgres::SimpleQueryMessage;

use crate::core::catalog::{Section, Table, TableRows};
use crate::core::feed::link::{link, Link};
use crate::core::feed::{
    compared, tables_of, BoundRules, Compared, Coverage, IdSource, Rule, TableCoverage, TenantSource,
};
use crate::core::sql::spelling::{in_quotes, relation_names};
use crate::core::sql::template::Template;
use crate::postgres::connect::client::Client;
use crate::postgres::connect::failure::Failure;
use crate::postgres::connect::schema::fingerprint;
use crate::postgres::connect::session::lock;

use crate::postgres::feed::control::FeedControl;

/// For the triggers of one table, once it is locked.
const LIMIT: Duration = Duration::from_secs(10);

use super::super::links::{self, Linked};

/// The relation that a name means; the last columns name one of its tree whose changes no trigger sees, and columns that are
/// generated.
const RELATION: &str = "WITH RECURSIVE tree(oid) AS (SELECT pg_catalog.to_regclass($1)::pg_catalog.oid UNION \
        SELECT i.inhrelid FROM pg_catalog.pg_inherits i JOIN tree ON i.inhparent OPERATOR(pg_catalog.=) tree.oid) \
    SELECT c.oid::bigint, pg_catalog.format('%I.%I', n.nspname, c.relname), c.relkind::pg_catalog.text, c.relpersistence::pg_catalog.text, \
    ARRAY(SELECT a.attname::pg_catalog.text FROM pg_catalog.pg_attribute a WHERE a.attrelid OPERATOR(pg_catalog.=) c.oid \
        AND a.attnum OPERATOR(pg_catalog.>) 0 AND NOT a.attisdropped), \
    ARRAY(SELECT a.attname::pg_catalog.text FROM pg_catalog.pg_index x \
        JOIN pg_catalog.pg_attribute a ON a.attrelid OPERATOR(pg_catalog.=) x.indrelid AND a.attnum OPERATOR(pg_catalog.=) \
            ANY ((x.indkey::pg_catalog.int2[])[0:x.indnkeyatts OPERATOR(pg_catalog.-) 1]) \
        WHERE x.indrelid OPERATOR(pg_catalog.=) c.oid \
        AND CASE WHEN c.relreplident OPERATOR(pg_catalog.=) 'i' THEN x.indisreplident ELSE x.indisprimary END), \
    (SELECT pg_catalog.format('%I.%I', mn.nspname, m.relname) FROM tree \
        JOIN pg_catalog.pg_class m ON m.oid OPERATOR(pg_catalog.=) tree.oid \
        JOIN pg_catalog.pg_namespace mn ON mn.oid OPERATOR(pg_catalog.=) m.relnamespace \
        WHERE m.relkind OPERATOR(pg_catalog.<>) ALL ('{r,p}'::pg_catalog.\"char\"[]) OR m.relpersistence OPERATOR(pg_catalog.=) 't' \
        ORDER BY 1 LIMIT 1), \
    ARRAY(SELECT a.attname::pg_catalog.text FROM pg_catalog.pg_attribute a WHERE a.attrelid OPERATOR(pg_catalog.=) c.oid \
        AND a.attnum OPERATOR(pg_catalog.>) 0 AND a.attgenerated OPERATOR(pg_catalog.<>) '') \
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace \
    WHERE c.oid OPERATOR(pg_catalog.=) pg_catalog.to_regclass($1)::pg_catalog.oid";

/// What is followed, and how.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Tables {
    pub(super) coverage: Vec<TableCoverage>,
    pub(super) covered: Vec<CoveredTable>,
    /// Names that Postgres takes for a relation's, in order, to see whether what they mean changes.
    pub(super) names: Vec<Box<str>>,
    /// What those of the catalog mean.
    oids: FxHashMap<Box<str>, i64>,
    /// That SELECTs read.
    views: BTreeSet<u32>,
    /// What [`IdSource::Select`] and [`crate::core::feed::Moved::check`] number.
    pub(super) selects: Vec<Template>,
}

/// A table with triggers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CoveredTable {
    oid: i64,
    /// Quoted, with its schema.
    name: Box<str>,
    /// By which its rows in the outbox are known.
    pub(super) source: i64,
    /// Those that the triggers write, in that order.
    pub(super) columns: Vec<Box<str>>,
    /// They write the old row and the new one of an UPDATE as one, where they can.
    is_paired: bool,
    rules: Vec<Rule>,
    /// The same for the columns.
    pub(super) bound: BoundRules,
}

struct Relation {
    oid: i64,
    name: Box<str>,
    kind: String,
    persistence: String,
    columns: Vec<String>,
    /// Columns that are computed from others: some are not when triggers see the row.
    generated: Vec<String>,
    key: Vec<String>,
    unseen: Option<String>,
}

/// Why a table is not covered, and what to do.
type Hindrance = (String, String);

impl Tables {
    /// Looks at every table that a section names, and makes the triggers that are missing.
    pub(super) fn follow(client: &mut Client, sections: &[Section], control: &FeedControl) -> Result<Tables, Failure> {
        let mut tables = Tables::default();
        for (table, mapped_by) in tables_of(sections) {
            let state = match tables.look_at(client, sections, &table.name, &mapped_by)? {
                Ok(note) => Coverage::Covered { note },
                Err((why, remedy)) => Coverage::NotCovered { why: why.into(), remedy: remedy.into() },
            };
            tables.coverage.push(TableCoverage { table: table.name.clone(), sections: mapped_by, state, alter: None });
        }
        for linked in links::look(client, sections)? {
            tables.link(client, sections, &linked)?;
        }
        tables.make_triggers(client, control)?;
        Ok(tables)
    }

    pub(super) fn sources(&self) -> Vec<i64> {
        self.covered.iter().map(|table| table.source).collect()
    }

    /// Values of the widest row.
    pub(super) fn width(&self) -> usize {
        let of = |table: &CoveredTable| table.columns.len() * if table.is_paired { 2 } else { 1 };
        self.covered.iter().map(of).max().unwrap_or(0)
    }

    fn look_at(
        &mut self,
        client: &mut Client,
        sections: &[Section],
        name: &str,
        mapped_by: &[usize],
    ) -> Result<Result<Option<Box<str>>, Hindrance>, Failure> {
        self.names.extend(relation_names(name).into_iter().map(Into::into));
        let relation = match relation_named(client, name) {
            Ok(relation) => relation,
            Err(Failure::Fetch(error)) => {
                return Ok(Err((error.to_string(), "write the table's name as SQL does".to_owned())))
            }
            Err(broken) => return Err(broken),
        };
        let Some(relation) = relation else {
            let remedy = "create it, or write its schema in the catalog's tables".to_owned();
            return Ok(Err(("there is no such table".to_owned(), remedy)));
        };
        self.oids.insert(name.into(), relation.oid);
        let has_several_keys = relation.single_key().is_none();
        let selects = |index: &usize| {
            let of_table = |table: &Table| *table.name == *name && matches!(table.rows, TableRows::Select(_));
            sections[*index].id.is_some() && sections[*index].tables.iter().any(of_table)
        };
        let note = (has_several_keys && mapped_by.iter().any(selects)).then(|| links::SEVERAL_KEYS.into());
        Ok(self.map(sections, name, mapped_by, relation).map(|()| note))
    }

    /// Follows what a SELECT reads.
    fn link(&mut self, client: &mut Client, sections: &[Section], linked: &Linked) -> Result<(), Failure> {
        let section = &sections[linked.section];
        self.names.extend(linked.names.iter().cloned());
        self.views.extend(&linked.reads.views);
        for read in &linked.reads.relations {
            let Some(relation) = relation(client, &read.name)? else { continue };
            let is = |oid: &i64| *oid == i64::from(read.oid);
            let is_mapped = section.tables.iter().any(|table| self.oids.get(&table.name).is_some_and(is));
            let mut link = link(&linked.template.text, &linked.reads, read, is_mapped);
            let at = match self.coverage.iter().position(|known| self.oids.get(&known.table).is_some_and(is)) {
                Some(at) => at,
                None => {
                    let state = match relation.check() {
                        Ok(()) => Coverage::Covered { note: None },
                        Err((why, remedy)) => Coverage::NotCovered { why: why.into(), remedy: remedy.into() },
                    };
                    self.names.push(read.name.clone());
                    self.oids.insert(read.name.clone(), relation.oid);
                    self.coverage.push(TableCoverage {
                        table: read.name.clone(),
                        sections: Vec::new(),
                        state,
                        alter: None,
                    });
                    self.coverage.len() - 1
                }
            };
            if !self.coverage[at].sections.contains(&linked.section) {
                self.coverage[at].sections.push(linked.section);
            }
            if matches!(self.coverage[at].state, Coverage::NotCovered { .. }) {
                continue;
            }
            let note = links::note(&link, linked, &section.name, &relation.name, |_| true);
            links::add_note(&mut self.coverage[at].state, note);
            let check = self.check(&relation, &mut link);
            let tenant = relation.tenant(section);
            let source = link.source(|_| true, check);
            // What results read of a table that the section does not name nobody says.
            let is_said = is_mapped && matches!(source, IdSource::Column { .. });
            let compared = is_said.then(|| compared(section, |column| relation.compared(column))).flatten();
            let rule = Rule { section: linked.section, source, id: section.id, tenant, compared };
            let has = self.covered.iter().any(|covered| is(&covered.oid) && covered.rules.contains(&rule));
            if !has {
                // All its columns are there: they have just been read.
                let _ = self.cover(relation, vec![rule]);
            }
        }
        Ok(())
    }

    /// The outbox does not tell an old row from a new one: one that looks as before, and whose key is there still, has
    /// come or has not moved.
    fn check(&mut self, relation: &Relation, link: &mut Link) -> Option<(Box<str>, usize)> {
        let Link::Moved { columns, inserts: false } = link else { return None };
        let [key] = &relation.key[..] else { return None };
        columns.get_or_insert_with(|| relation.columns.iter().map(|column| column.as_str().into()).collect());
        let (column, name) = (in_quotes(key), &relation.name);
        let text = format!("SELECT k.{column} FROM {name} AS k WHERE k.{column} = ANY($1)");
        self.selects.push(Template { text, params: vec!["ids".into()] });
        Some((key.as_str().into(), self.selects.len() - 1))
    }

    fn map(
        &mut self,
        sections: &[Section],
        name: &str,
        mapped_by: &[usize],
        relation: Relation,
    ) -> Result<(), Hindrance> {
        relation.check()?;
        let mut rules = Vec::new();
        for &index in mapped_by {
            for table in sections[index].tables.iter().filter(|table| *table.name == *name) {
                rules.push(self.rule(&relation, index, &sections[index], &table.rows)?);
            }
        }
        self.cover(relation, rules)
    }

    fn cover(&mut self, relation: Relation, rules: Vec<Rule>) -> Result<(), Hindrance> {
        // Two names may mean one table.
        let at = self.covered.iter().position(|covered| covered.oid == relation.oid);
        let mut rules_before = at.map(|at| self.covered.swap_remove(at).rules).unwrap_or_default();
        rules_before.extend(rules);
        let rules = rules_before;
        let columns = columns_of(&rules);
        let bound = BoundRules::bind(&rules, &columns)
            .map_err(|column| (format!("it has no column '{column}'"), "name one that it has".to_owned()))?;
        let (oid, name) = (relation.oid, relation.name);
        let is_paired = rules.iter().any(|rule| rule.compared.is_some());
        self.covered.push(CoveredTable { oid, name, source: 0, columns, is_paired, rules, bound });
        Ok(())
    }

    fn rule(
        &mut self,
        relation: &Relation,
        index: usize,
        section: &Section,
        rows: &TableRows,
    ) -> Result<Rule, Hindrance> {
        let source = match rows {
            _ if section.id.is_none() => IdSource::Whole,
            TableRows::Column(column) => {
                relation.check_column(column)?;
                IdSource::Column { name: column.clone(), in_identity: true }
            }
            TableRows::Select(template) => match relation.single_key() {
                Some(column) => {
                    self.selects.push(template.clone());
                    IdSource::Select { column: column.into(), statement: self.selects.len() - 1 }
                }
                None => IdSource::Whole,
            },
        };
        let compared = compared(section, |column| relation.compared(column));
        Ok(Rule { section: index, source, id: section.id, tenant: relation.tenant(section), compared })
    }

    /// One transaction a table, so that no two tables are locked at once. A table that refuses is not covered.
    fn make_triggers(&mut self, client: &mut Client, control: &FeedControl) -> Result<(), Failure> {
        self.covered.sort_by(|a, b| a.name.cmp(&b.name));
        for mut table in std::mem::take(&mut self.covered) {
            let columns: Vec<String> = table.columns.iter().map(|column| array_element(column)).collect();
            let call = format!(
                "SELECT bear.outbox_follow({}::pg_catalog.regclass, {}::pg_catalog.text[], {})",
                literal(&table.name),
                literal(&format!("{{{}}}", columns.join(","))),
                table.is_paired
            );
            match locked_briefly(client, control, &call)? {
                Ok(messages) => {
                    let source = messages.iter().find_map(|message| match message {
                        tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0)?.parse().ok(),
                        _ => None,
                    });
                    table.source = source.unwrap_or_default();
                    self.covered.push(table);
                }
                // Somebody does the same at the same time, or holds what we need.
                Err(failure) if failure.sqlstate().is_some_and(|code| code.starts_with("40") || code == "XX000") => {
                    return Err(Failure::Broken(format!("the triggers of {} cannot be made: {failure:?}", table.name)))
                }
                Err(Failure::Fetch(error)) => {
                    let why: Box<str> = format!("its triggers cannot be made: {error}").into();
                    let remedy: Box<str> = format!("as a superuser, or the owner of both, run: {call}").into();
                    let sections: Vec<usize> = table.rules.iter().map(|rule| rule.section).collect();
                    for coverage in &mut self.coverage {
                        let is_covered = matches!(coverage.state, Coverage::Covered { .. });
                        // By section, for another name may mean the same table.
                        if is_covered && coverage.sections.iter().any(|section| sections.contains(section)) {
                            let same =
                                relation_named(client, &coverage.table)?.is_some_and(|found| found.oid == table.oid);
                            if same {
                                coverage.state = Coverage::NotCovered { why: why.clone(), remedy: remedy.clone() };
                            }
                        }
                    }
                }
                Err(Failure::TimedOut(_)) => {
                    return Err(Failure::Broken(format!(
                    "{} is locked by a transaction that is in progress (see pg_stat_activity), so that its triggers \
                         cannot be made",
                    table.name
                )))
                }
                Err(broken) => return Err(broken),
            }
        }
        Ok(())
    }

    /// What the names of the catalog mean and which triggers follow them, as one number.
    pub(super) fn fingerprint_sql(&self) -> String {
        let names: Vec<String> = self.names.iter().map(|name| literal(name)).collect();
        let ours: Vec<String> =
            self.covered.iter().map(|table| format!("'bear_outbox_{:016x}'", table.source)).collect();
        let covered: Vec<String> = self.covered.iter().map(|table| table.oid.to_string()).collect();
        format!(
            "(WITH RECURSIVE named AS (SELECT pg_catalog.to_regclass(name)::pg_catalog.oid AS oid \
               FROM pg_catalog.unnest(ARRAY[{}]::pg_catalog.text[]) name), \
             tree(oid, root) AS (SELECT oid, oid FROM named WHERE oid IS NOT NULL UNION \
               SELECT i.inhrelid, tree.root FROM pg_catalog.pg_inherits i JOIN tree ON i.inhparent OPERATOR(pg_catalog.=) tree.oid), \
             member AS (SELECT DISTINCT oid FROM tree) \
             SELECT pg_catalog.hashtextextended(pg_catalog.string_agg(x, ',' ORDER BY x), 0) FROM ( \
             SELECT pg_catalog.concat('n', oid) FROM named UNION ALL \
             SELECT pg_catalog.concat('c', c.oid, c.relkind, c.relpersistence, c.relreplident, c.relname, c.relnamespace) \
               FROM pg_catalog.pg_class c JOIN member m ON m.oid OPERATOR(pg_catalog.=) c.oid UNION ALL \
             SELECT pg_catalog.concat('h', i.inhrelid, ':', i.inhparent, ':', i.xmin) FROM pg_catalog.pg_inherits i \
               WHERE i.inhparent OPERATOR(pg_catalog.=) ANY (SELECT oid FROM member) \
               OR i.inhrelid OPERATOR(pg_catalog.=) ANY (SELECT oid FROM member) UNION ALL \
             SELECT pg_catalog.concat('s', s.srrelid) FROM pg_catalog.pg_subscription_rel s \
               JOIN member m ON m.oid OPERATOR(pg_catalog.=) s.srrelid UNION ALL \
             SELECT pg_catalog.concat('a', a.attrelid, ':', a.attnum, ':', a.atttypid, ':', a.attisdropped, a.attname) FROM pg_catalog.pg_attribute a \
               JOIN member m ON m.oid OPERATOR(pg_catalog.=) a.attrelid WHERE a.attnum OPERATOR(pg_catalog.>) 0 UNION ALL \
             SELECT pg_catalog.concat('i', x.indexrelid, x.indisprimary, x.indisreplident) FROM pg_catalog.pg_index x \
               WHERE x.indrelid OPERATOR(pg_catalog.=) ANY (SELECT oid FROM named) AND (x.indisprimary OR x.indisreplident) UNION ALL \
             SELECT pg_catalog.concat('t', g.oid, ':', g.tgrelid, ':', g.tgname, g.tgenabled, g.tgfoid) FROM pg_catalog.pg_trigger g \
               JOIN tree ON tree.oid OPERATOR(pg_catalog.=) g.tgrelid \
               WHERE pg_catalog.left(g.tgname::pg_catalog.text, -2) OPERATOR(pg_catalog.=) ANY (ARRAY[{}]::pg_catalog.text[]) \
               OR tree.root OPERATOR(pg_catalog.<>) ALL (ARRAY[{}]::pg_catalog.oid[]) \
               AND g.tgname::pg_catalog.text OPERATOR(pg_catalog.~) '^bear_outbox_' UNION ALL \
             SELECT pg_catalog.concat('f', p.oid, ':', p.xmin) FROM pg_catalog.pg_proc p \
               WHERE p.pronamespace OPERATOR(pg_catalog.=) pg_catalog.to_regnamespace('bear')::pg_catalog.oid \
               AND p.proname::pg_catalog.text OPERATOR(pg_catalog.=) ANY (ARRAY[{}]::pg_catalog.text[]) UNION ALL SELECT {}{}) all_(x))",
            names.join(", "), ours.join(", "), covered.join(", "), ours.join(", "),
            fingerprint("outbox,outbox_reader,outbox_source,outbox_alive"),
            // Who is to be asked again is so at the next connection; another one for that would make all cold.
            links::fingerprint_terms(&self.views, false)
        )
    }
}

/// Runs a statement that takes locks on tables, when it is time for that, waiting for each no longer than the pace allows.
fn locked_briefly(
    client: &mut Client,
    control: &FeedControl,
    sql: &str,
) -> Result<Result<Vec<SimpleQueryMessage>, Failure>, Failure> {
    let pause = lock(&control.lock_pace).pause(Instant::now());
    if !pause.is_zero() {
        control.sleep(pause);
        if control.is_stopping() {
            return Err(Failure::Broken("stopped".to_owned()));
        }
    }
    let begun = Instant::now();
    let limit = lock(&control.lock_pace).limit();
    client.set_deadline(begun + LIMIT);
    let sql = format!("SET LOCAL lock_timeout = {}; {sql}", limit.as_millis());
    let result = client.simple_query(&sql).map_err(Failure::from);
    let mut pace = lock(&control.lock_pace);
    match &result {
        Err(Failure::TimedOut(_)) => pace.failed(begun, Instant::now()),
        _ => pace.succeeded(),
    }
    drop(pace);
    Ok(result)
}

fn columns_of(rules: &[Rule]) -> Vec<Box<str>> {
    let mut columns: Vec<_> = rules.iter().flat_map(Rule::columns).collect();
    columns.sort_unstable();
    columns.dedup();
    columns
}

/// The relation that a catalog means by a name.
fn relation_named(client: &mut Client, name: &str) -> Result<Option<Relation>, Failure> {
    for name in relation_names(name) {
        if let Some(relation) = relation(client, &name)? {
            return Ok(Some(relation));
        }
    }
    Ok(None)
}

fn relation(client: &mut Client, name: &str) -> Result<Option<Relation>, Failure> {
    let rows = client.query_typed(RELATION, &[(&name, Type::TEXT)])?;
    let Some(row) = rows.first() else { return Ok(None) };
    Ok(Some(Relation {
        oid: row.try_get(0)?,
        name: row.try_get::<_, String>(1)?.into(),
        kind: row.try_get(2)?,
        persistence: row.try_get(3)?,
        columns: row.try_get(4)?,
        key: row.try_get(5)?,
        unseen: row.try_get(6)?,
        generated: row.try_get(7)?,
    }))
}

impl Relation {
    /// Do its changes fire triggers?
    fn check(&self) -> Result<(), Hindrance> {
        let map = |what: &str| format!("map {what} instead");
        match &*self.kind {
            "r" | "p" => {}
            "v" => return Err(("it is a view".to_owned(), map("the tables that it reads"))),
            "m" => return Err(("it is a materialised view".to_owned(), map("the tables that it reads"))),
            "f" => {
                return Err(("it is a foreign table, whose changes are elsewhere".to_owned(), "set a ttl".to_owned()))
            }
            _ => return Err(("it is no table".to_owned(), map("a table"))),
        }
        if self.persistence == "t" {
            return Err(("it is a temporary table".to_owned(), map("a permanent table")));
        }
        match &self.unseen {
            Some(part) => Err((format!("its partition or child {part} is no ordinary table"), "set a ttl".to_owned())),
            None => Ok(()),
        }
    }

    /// How its rows tell their tenant.
    fn tenant(&self, section: &Section) -> TenantSource {
        let column = section.tenant_column.as_deref().filter(|name| self.columns.iter().any(|c| c == name));
        match (section.tenant, column) {
            (None, _) => TenantSource::None,
            (Some(_), None) => TenantSource::Unknown,
            (Some(ty), Some(name)) => TenantSource::Column { name: name.into(), ty, in_identity: true },
        }
    }

    /// How an old row and a new one are compared by the column.
    fn compared(&self, column: &str) -> Compared {
        let is = |known: &String| known == column;
        match () {
            () if self.generated.iter().any(is) => Compared::Untold,
            () if self.columns.iter().any(is) => Compared::By(column.into()),
            () => Compared::Absent,
        }
    }

    fn check_column(&self, column: &str) -> Result<(), Hindrance> {
        if self.columns.iter().any(|known| known == column) {
            return Ok(());
        }
        Err((format!("it has no column '{column}'"), format!("the columns are {}", self.columns.join(", "))))
    }

    /// The column whose values a statement takes for `{ids}`, if there is one.
    fn single_key(&self) -> Option<&str> {
        match &self.key[..] {
            [one] => Some(one),
            _ => None,
        }
    }
}

/// As SQL writes it.
fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// As an array's text writes it.
fn array_element(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}
