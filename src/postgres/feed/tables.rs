//! Which tables of a catalog can be followed, by which of their columns, and what is in the way of the others.
//!
//! Rule: a table is followed only if it has a replica identity. Where that does not hold what is mapped, a change concerns more rows
//! than need be, and the coverage says so.

use std::collections::BTreeSet;

use rustc_hash::FxHashMap;

use crate::core::catalog::{Section, TableRows};
use crate::core::feed::link::link;
use crate::core::feed::{compared, tables_of, BoundRules, Coverage, IdSource, Rule, TableCoverage};
use crate::core::sql::spelling::relation_names;
use crate::core::sql::template::Template;
use crate::postgres::connect::client::Client;
use crate::postgres::connect::failure::Failure;

use super::links::{self, Linked};
use super::named::{self, is_covered, Hindrance, Named};
use super::relation::{relation, Relation};

/// What is followed, and how.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Tables {
    pub(super) named: Named,
    pub(super) covered: Vec<CoveredTable>,
    /// By the name that the stream uses: the table of `covered` and the part of it.
    by_name: FxHashMap<Box<[u8]>, (usize, usize)>,
    /// What [`IdSource::Select`] numbers.
    pub(super) selects: Vec<Template>,
}

/// A table that is followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CoveredTable {
    oid: u32,
    /// Quoted, with its schema.
    name: Box<str>,
    rules: Vec<Rule>,
    /// Those that the rules ask for.
    pub(super) columns: Vec<Box<str>>,
    /// The same rules for these columns.
    pub(super) bound: BoundRules,
    pub(super) parts: Vec<Part>,
}

/// A table or a partition, as the stream names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part {
    name: Box<str>,
    pub(super) identity_is_full: bool,
    /// It had no rows when it became a part, but for those that the stream tells.
    began_empty: bool,
    /// Another one once it, or what it is a part of, has had another name or place, if only for a moment.
    version: String,
}

/// What it means that tables are not what they were.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Difference {
    /// What is cached of these may be out of date.
    pub(super) sections: BTreeSet<usize>,
    /// Rows may have been told and not understood.
    pub(super) has_gained: bool,
}

/// How a table is followed, and by which rules if it is.
type Looked = (Coverage, Option<(Relation, Vec<Rule>)>);

impl Tables {
    /// Looks at every table that a section names.
    pub(super) fn look(client: &mut Client, sections: &[Section]) -> Result<Tables, Failure> {
        let mut tables = Tables::default();
        for (table, mapped_by) in tables_of(sections) {
            let (state, rules) = tables.look_at(client, sections, &table.name, &mapped_by)?;
            let alter = rules.as_ref().and_then(|(relation, rules)| relation.blind(rules));
            tables.named.coverage.push(TableCoverage { table: table.name.clone(), sections: mapped_by, state, alter });
            if let Some((relation, rules)) = rules {
                tables.cover(relation, rules);
            }
        }
        for linked in links::look(client, sections)? {
            tables.link(client, sections, &linked)?;
        }
        tables.covered.sort_by(|a, b| a.name.cmp(&b.name));
        for (at, table) in tables.covered.iter().enumerate() {
            for (part_at, part) in table.parts.iter().enumerate() {
                tables.by_name.insert(part.name.as_bytes().into(), (at, part_at));
            }
        }
        Ok(tables)
    }

    /// A name that holds more than ASCII.
    pub(super) fn beyond_ascii(&self) -> Option<&str> {
        self.covered.iter().find_map(|table| {
            let parts = table.parts.iter().map(|part| &*part.name);
            parts.chain(table.columns.iter().map(|column| &**column)).find(|name| !name.is_ascii())
        })
    }

    /// The table that the stream means by a name, and the part of it.
    pub(super) fn part(&self, name: &[u8]) -> Option<(&CoveredTable, &Part)> {
        let (table, part) = self.by_name.get(name)?;
        let table = self.covered.get(*table)?;
        Some((table, table.parts.get(*part)?))
    }

    fn cover(&mut self, relation: Relation, mut rules: Vec<Rule>) {
        // Two names may mean one table.
        let before = self.covered.iter().position(|covered| covered.oid == relation.oid);
        if let Some(before) = before {
            let known = self.covered.swap_remove(before).rules;
            rules.retain(|rule| !known.contains(rule));
            rules.splice(0..0, known);
        }
        let columns = columns_of(&rules);
        // Of what it has no column the rules cannot be bound; they have been checked against the table.
        let Ok(bound) = BoundRules::bind(&rules, &columns) else { return };
        let mut parts: Vec<Part> = relation
            .leaves
            .iter()
            .map(|leaf| Part {
                name: leaf.name.clone(),
                identity_is_full: leaf.identity == "f",
                began_empty: leaf.began_empty,
                version: leaf.version.clone(),
            })
            .collect();
        // A TRUNCATE names the root, too, and perhaps nothing else.
        if parts.iter().all(|part| part.name != relation.name) {
            parts.push(Part {
                name: relation.name.clone(),
                identity_is_full: false,
                began_empty: true,
                version: String::new(),
            });
        }
        self.covered.push(CoveredTable { oid: relation.oid, name: relation.name, rules, columns, bound, parts });
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
            relation.limit(&mut link);
            let bears = |column: &str| relation.identity_holds(column);
            let note = links::note(&link, linked, &section.name, &relation.name, bears);
            links::add_note(state, note);
            let (tenant, note) = relation.tenant(section);
            links::add_note(state, note);
            let source = link.source(bears, None);
            // What results read of a table that the section does not name nobody says.
            let is_said = is_mapped && matches!(source, IdSource::Column { .. });
            let compared = is_said.then(|| compared(section, |column| relation.compared(column))).flatten();
            let rule = Rule { section: linked.section, source, id: section.id, tenant, compared };
            self.cover(relation, vec![rule]);
        }
        Ok(())
    }

    /// What differs from how the tables of the same catalog were before. `seen` says whether the stream has told rows of
    /// a table that nobody asked for.
    pub(super) fn difference(&self, before: &Tables, seen: impl Fn(&[u8]) -> bool) -> Difference {
        let mut difference = Difference::default();
        for now in self.named.coverage.iter().filter(|now| is_covered(now)) {
            // What a SELECT reads may be other tables than before.
            let then = before.named.coverage.iter().find(|then| then.table == now.table && is_covered(then));
            let is_same = match (self.table_of(now), then.and_then(|then| before.table_of(then))) {
                (Some(table), Some(former)) => table.differs(former, &seen),
                _ => Some(true),
            };
            if let Some(gained) = is_same {
                difference.sections.extend(&now.sections);
                difference.has_gained |= gained;
            }
        }
        difference
    }

    fn table_of(&self, coverage: &TableCoverage) -> Option<&CoveredTable> {
        let oid = self.named.oid(&coverage.table)?;
        self.covered.iter().find(|covered| covered.oid == oid)
    }

    /// What the names of the catalog mean, as one number: the relations, the columns, the identities, the partitions. Not
    /// what changes with every statistics or index or right.
    pub(super) fn fingerprint_sql(&self) -> String {
        let names: Vec<String> =
            self.named.names.iter().map(|name| format!("'{}'", name.replace('\'', "''"))).collect();
        format!(
            "(WITH RECURSIVE named AS (SELECT pg_catalog.to_regclass(name)::pg_catalog.oid AS oid \
               FROM pg_catalog.unnest(ARRAY[{}]::pg_catalog.text[]) name), \
             rel AS (SELECT oid FROM named WHERE oid IS NOT NULL UNION \
               SELECT i.inhrelid FROM rel JOIN pg_catalog.pg_inherits i ON i.inhparent OPERATOR(pg_catalog.=) rel.oid) \
             SELECT pg_catalog.hashtextextended(pg_catalog.string_agg(x, ',' ORDER BY x), 0) FROM ( \
             SELECT pg_catalog.concat('c', c.oid, c.relkind, c.relpersistence, c.relreplident, c.relnamespace, c.relname, ':', \
                 (SELECT y.xmin FROM pg_catalog.pg_type y WHERE y.oid OPERATOR(pg_catalog.=) c.reltype)) \
               FROM pg_catalog.pg_class c JOIN rel ON rel.oid OPERATOR(pg_catalog.=) c.oid UNION ALL \
             SELECT pg_catalog.concat('s', n.oid, n.nspname) FROM pg_catalog.pg_namespace n WHERE n.oid OPERATOR(pg_catalog.=) \
               ANY (SELECT c.relnamespace FROM pg_catalog.pg_class c JOIN rel ON rel.oid OPERATOR(pg_catalog.=) c.oid) UNION ALL \
             SELECT pg_catalog.concat('h', i.inhrelid, ':', i.inhparent, ':', i.xmin) FROM pg_catalog.pg_inherits i \
               JOIN rel ON rel.oid OPERATOR(pg_catalog.=) i.inhparent UNION ALL \
             SELECT pg_catalog.concat('a', a.attrelid, ':', a.attnum, ':', a.atttypid, ':', a.attisdropped, a.attgenerated, a.attname) \
               FROM pg_catalog.pg_attribute a JOIN rel ON rel.oid OPERATOR(pg_catalog.=) a.attrelid \
               WHERE a.attnum OPERATOR(pg_catalog.>) 0 UNION ALL \
             SELECT pg_catalog.concat('i', x.indexrelid, x.indisprimary, x.indisreplident, x.indisvalid, x.indimmediate) \
               FROM pg_catalog.pg_index x JOIN rel ON rel.oid OPERATOR(pg_catalog.=) x.indrelid \
               WHERE x.indisprimary OR x.indisreplident{}) all_(x))",
            names.join(", "), self.named.fingerprint_terms(true)
        )
    }

    fn look_at(
        &mut self,
        client: &mut Client,
        sections: &[Section],
        name: &str,
        mapped_by: &[usize],
    ) -> Result<Looked, Failure> {
        let not_covered = |hindrance: Hindrance| (Coverage::from(hindrance), None);
        self.named.names.extend(relation_names(name).into_iter().map(Into::into));
        let relation = match named::find(name, |name| relation(client, name)) {
            Ok(Some(relation)) => relation,
            Ok(None) => return Ok(not_covered(Hindrance::no_table())),
            Err(Failure::Fetch(error)) => return Ok(not_covered(Hindrance::no_name(error))),
            Err(broken) => return Err(broken),
        };
        self.named.means(name, relation.oid);
        if let Err(hindrance) = relation.check() {
            return Ok(not_covered(hindrance));
        }
        let (mut rules, mut notes) = (Vec::new(), Vec::new());
        for &index in mapped_by {
            for table in sections[index].tables.iter().filter(|table| *table.name == *name) {
                match self.rule(&relation, index, &sections[index], &table.rows) {
                    Ok((rule, note)) => {
                        rules.push(rule);
                        notes.extend(note);
                    }
                    Err(hindrance) => return Ok(not_covered(hindrance)),
                }
            }
        }
        Ok((Coverage::Covered { note: notes.into_iter().next() }, Some((relation, rules))))
    }

    fn rule(
        &mut self,
        relation: &Relation,
        index: usize,
        section: &Section,
        rows: &TableRows,
    ) -> Result<(Rule, Option<Box<str>>), Hindrance> {
        let mut note = None;
        let source = match rows {
            _ if section.id.is_none() => IdSource::Whole,
            TableRows::Column(column) if relation.respells(column) => {
                note = Some(relation.respelling(column, "any change of it concerns all rows"));
                IdSource::Whole
            }
            TableRows::Column(column) => {
                relation.check_column(column)?;
                note = relation.unheld(column);
                IdSource::Column { name: column.clone(), in_identity: note.is_none() }
            }
            TableRows::Select(template) => match relation.single_key() {
                Some(column) => {
                    relation.check_column(column)?;
                    self.selects.push(template.clone());
                    IdSource::Select { column: column.into(), statement: self.selects.len() - 1 }
                }
                None => {
                    note = Some(links::SEVERAL_KEYS.into());
                    IdSource::Whole
                }
            },
        };
        let (tenant, tenant_note) = relation.tenant(section);
        let note = note.or(tenant_note);
        let compared = compared(section, |column| relation.compared(column));
        Ok((Rule { section: index, source, id: section.id, tenant, compared }, note))
    }
}

fn columns_of(rules: &[Rule]) -> Vec<Box<str>> {
    rules.iter().flat_map(Rule::columns).collect::<BTreeSet<_>>().into_iter().collect()
}

impl CoveredTable {
    /// None where what has been told of it so far, and what is cached, is as good as before. Otherwise, may rows have been
    /// told and not understood?
    fn differs(&self, before: &CoveredTable, seen: impl Fn(&[u8]) -> bool) -> Option<bool> {
        if self.oid != before.oid || self.columns != before.columns || self.rules != before.rules {
            return Some(true);
        }
        let is_unclear = |part: &Part| match before.parts.iter().find(|old| old.name == part.name) {
            // While it had another name its rows were told by that, or as nobody's.
            Some(old) => old.identity_is_full != part.identity_is_full || old.version != part.version,
            None => !part.began_empty || seen(part.name.as_bytes()),
        };
        if self.parts.iter().any(is_unclear) {
            return Some(true);
        }
        // Its rows are not seen through the root any more, and nothing else tells so.
        let is = |old: &Part| self.parts.iter().any(|part| part.name == old.name);
        (!before.parts.iter().all(is)).then_some(false)
    }
}
