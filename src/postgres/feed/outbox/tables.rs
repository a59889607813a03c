//! Which tables of a catalog triggers can follow, and the triggers.
//!
//! Triggers see whole rows, old and new, so that no replica identity matters.

use std::time::{Duration, Instant};

use tokio_postgres::SimpleQueryMessage;

use crate::core::catalog::{Section, Table, TableRows};
use crate::core::feed::link::{link, Link};
use crate::core::feed::{compared, tables_of, BoundRules, Coverage, IdSource, Rule, TableCoverage};
use crate::core::sql::spelling::{in_quotes, relation_names};
use crate::core::sql::template::Template;
use crate::postgres::connect::client::Client;
use crate::postgres::connect::failure::Failure;
use crate::postgres::connect::schema::fingerprint;
use crate::postgres::connect::session::lock;
use crate::postgres::feed::control::FeedControl;

use super::super::links::{self, Linked};
use super::super::named::{self, is_covered, Hindrance, Named};
use super::relation::{relation, Relation};

/// For the triggers of one table, once it is locked.
const LIMIT: Duration = Duration::from_secs(10);

/// What is followed, and how.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Tables {
    pub(super) named: Named,
    pub(super) covered: Vec<CoveredTable>,
    /// What [`IdSource::Select`] and [`crate::core::feed::Moved::check`] number.
    pub(super) selects: Vec<Template>,
}

/// A table with triggers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CoveredTable {
    oid: u32,
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

impl Tables {
    /// Looks at every table that a section names, and makes the triggers that are missing.
    pub(super) fn follow(client: &mut Client, sections: &[Section], control: &FeedControl) -> Result<Tables, Failure> {
        let mut tables = Tables::default();
        for (table, mapped_by) in tables_of(sections) {
            let state = match tables.look_at(client, sections, &table.name, &mapped_by)? {
                Ok(note) => Coverage::Covered { note },
                Err(hindrance) => hindrance.into(),
            };
            tables.named.coverage.push(TableCoverage {
                table: table.name.clone(),
                sections: mapped_by,
                state,
                alter: None,
            });
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
        self.named.names.extend(relation_names(name).into_iter().map(Into::into));
        let relation = match named::find(name, |name| relation(client, name)) {
            Ok(Some(relation)) => relation,
            Ok(None) => return Ok(Err(Hindrance::no_table())),
            Err(Failure::Fetch(error)) => return Ok(Err(Hindrance::no_name(error))),
            Err(broken) => return Err(broken),
        };
        self.named.means(name, relation.oid);
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
        self.named.reads(linked);
        for read in &linked.reads.relations {
            let Some(relation) = relation(client, &read.name)? else { continue };
            let is_mapped = section.tables.iter().any(|table| self.named.oid(&table.name) == Some(read.oid));
            let mut link = link(&linked.template.text, &linked.reads, read, is_mapped);
            let Some(state) = self.named.read(read, linked.section, || relation.check()) else { continue };
            let note = links::note(&link, linked, &section.name, &relation.name, |_| true);
            links::add_note(state, note);
            let check = self.check(&relation, &mut link);
            let tenant = relation.tenant(section);
            let source = link.source(|_| true, check);
            // What results read of a table that the section does not name nobody says.
            let is_said = is_mapped && matches!(source, IdSource::Column { .. });
            let compared = is_said.then(|| compared(section, |column| relation.compared(column))).flatten();
            let rule = Rule { section: linked.section, source, id: section.id, tenant, compared };
            let has = self.covered.iter().any(|covered| covered.oid == read.oid && covered.rules.contains(&rule));
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
            .map_err(|column| Hindrance::new(format!("it has no column '{column}'"), "name one that it has"))?;
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
                    for coverage in &mut self.named.coverage {
                        // By section, for another name may mean the same table.
                        if is_covered(coverage) && coverage.sections.iter().any(|section| sections.contains(section)) {
                            let same = named::find(&coverage.table, |name| relation(client, name))?
                                .is_some_and(|found| found.oid == table.oid);
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
        let names: Vec<String> = self.named.names.iter().map(|name| literal(name)).collect();
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
            self.named.fingerprint_terms(false)
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

/// As SQL writes it.
fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// As an array's text writes it.
fn array_element(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}
