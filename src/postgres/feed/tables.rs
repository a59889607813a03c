//! Which tables of a catalog can be followed, by which of their columns, and what is in the way of the others.
//!
//! Rule: a table is followed only if it has a replica identity. Where that does not hold what is mapped, a change concerns more rows
//! than need be, and the coverage says so.

use std::collections::BTreeSet;

use rustc_hash::FxHashMap;
use tokio_postgres::types::Type;

use crate::core::catalog::{Section, TableRows};
use crate::core::feed::link::{link, Link};
use crate::core::feed::{
    compared, tables_of, BoundRules, Compared, Coverage, IdSource, Rule, TableCoverage, TenantSource,
};
use crate::core::sql::spelling::relation_names;
use crate::core::sql::template::Template;
use crate::postgres::connect::client::Client;
use crate::postgres::connect::failure::Failure;

use super::links::{self, Linked};

/// The relation that a name means, and what is to be known of it. The last columns: those that are generated; those of
/// char(n), inet and cidr, or of a domain over one.
const RELATION: &str = "SELECT c.oid::bigint, pg_catalog.format('%I.%I', n.nspname, c.relname), c.relkind::pg_catalog.text, \
    c.relpersistence::pg_catalog.text, c.relispartition, \
    EXISTS (SELECT FROM pg_catalog.pg_inherits i WHERE i.inhparent OPERATOR(pg_catalog.=) c.oid), \
    ARRAY(SELECT a.attname::pg_catalog.text FROM pg_catalog.pg_attribute a WHERE a.attrelid OPERATOR(pg_catalog.=) c.oid \
        AND a.attnum OPERATOR(pg_catalog.>) 0 AND NOT a.attisdropped), \
    ARRAY(SELECT a.attname::pg_catalog.text FROM pg_catalog.pg_attribute a WHERE a.attrelid OPERATOR(pg_catalog.=) c.oid \
        AND a.attnum OPERATOR(pg_catalog.>) 0 AND a.attgenerated OPERATOR(pg_catalog.<>) ''), \
    ARRAY(SELECT a.attname::pg_catalog.text FROM pg_catalog.pg_attribute a WHERE a.attrelid OPERATOR(pg_catalog.=) c.oid \
        AND a.attnum OPERATOR(pg_catalog.>) 0 AND NOT a.attisdropped \
        AND EXISTS (WITH RECURSIVE base(oid) AS (SELECT a.atttypid UNION ALL SELECT t.typbasetype FROM base \
            JOIN pg_catalog.pg_type t ON t.oid OPERATOR(pg_catalog.=) base.oid WHERE t.typtype OPERATOR(pg_catalog.=) 'd') \
        SELECT FROM base WHERE base.oid OPERATOR(pg_catalog.=) ANY (ARRAY[1042, 869, 650]::pg_catalog.oid[]))) \
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace \
    WHERE c.oid OPERATOR(pg_catalog.=) pg_catalog.to_regclass($1)::pg_catalog.oid";

/// The tables that hold its rows: itself, or its partitions; each with the columns of its replica identity and of its
/// primary key. The last columns: has it been a partition ever since it was made, and what it is a part of; and what has
/// another value once any of them was renamed, moved to another schema, detached or attached, though all is as it was. A
/// relation's row type is written anew when it is renamed, and not for rights, triggers or statistics.
///
/// Not by pg_partition_tree, which waits for locks.
const LEAVES: &str = "WITH RECURSIVE leaf(oid) AS (SELECT $1::bigint::pg_catalog.oid UNION \
        SELECT i.inhrelid FROM leaf JOIN pg_catalog.pg_inherits i ON i.inhparent OPERATOR(pg_catalog.=) leaf.oid \
        JOIN pg_catalog.pg_class p ON p.oid OPERATOR(pg_catalog.=) i.inhrelid WHERE p.relispartition) \
    SELECT pg_catalog.format('%I.%I', n.nspname, c.relname), c.relkind::pg_catalog.text, c.relreplident::pg_catalog.text, \
    ARRAY(SELECT a.attname::pg_catalog.text FROM pg_catalog.pg_attribute a \
        LEFT JOIN pg_catalog.pg_index x ON x.indrelid OPERATOR(pg_catalog.=) c.oid AND x.indisvalid AND x.indimmediate \
            AND CASE WHEN c.relreplident OPERATOR(pg_catalog.=) 'd' THEN x.indisprimary \
                WHEN c.relreplident OPERATOR(pg_catalog.=) 'i' THEN x.indisreplident ELSE false END \
        WHERE a.attrelid OPERATOR(pg_catalog.=) c.oid AND a.attnum OPERATOR(pg_catalog.>) 0 AND NOT a.attisdropped \
        AND (c.relreplident OPERATOR(pg_catalog.=) 'f' OR a.attnum OPERATOR(pg_catalog.=) \
            ANY ((x.indkey::pg_catalog.int2[])[0:x.indnkeyatts OPERATOR(pg_catalog.-) 1]))), \
    ARRAY(SELECT a.attname::pg_catalog.text FROM pg_catalog.pg_index x \
        JOIN pg_catalog.pg_attribute a ON a.attrelid OPERATOR(pg_catalog.=) x.indrelid AND a.attnum OPERATOR(pg_catalog.=) \
            ANY ((x.indkey::pg_catalog.int2[])[0:x.indnkeyatts OPERATOR(pg_catalog.-) 1]) \
        WHERE x.indrelid OPERATOR(pg_catalog.=) c.oid AND x.indisprimary), \
    NOT EXISTS (SELECT FROM pg_catalog.pg_partition_ancestors(c.oid::pg_catalog.regclass) a \
        JOIN pg_catalog.pg_inherits i ON i.inhrelid OPERATOR(pg_catalog.=) a.relid::pg_catalog.oid \
        JOIN pg_catalog.pg_type y ON y.typrelid OPERATOR(pg_catalog.=) a.relid::pg_catalog.oid \
        WHERE i.xmin::pg_catalog.text OPERATOR(pg_catalog.<>) y.xmin::pg_catalog.text), \
    (SELECT pg_catalog.string_agg(pg_catalog.concat_ws(':', y.oid, y.xmin, i.xmin), ',' ORDER BY y.oid, i.inhparent) \
        FROM (SELECT c.oid UNION SELECT a.relid::pg_catalog.oid FROM pg_catalog.pg_partition_ancestors(c.oid::pg_catalog.regclass) a) m \
        JOIN pg_catalog.pg_class b ON b.oid OPERATOR(pg_catalog.=) m.oid JOIN pg_catalog.pg_type y ON y.oid OPERATOR(pg_catalog.=) b.reltype \
        LEFT JOIN pg_catalog.pg_inherits i ON i.inhrelid OPERATOR(pg_catalog.=) m.oid) \
    FROM leaf JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) leaf.oid \
    JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace \
    WHERE c.relkind OPERATOR(pg_catalog.<>) 'p' ORDER BY 1";

/// What is followed, and how.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Tables {
    pub(super) coverage: Vec<TableCoverage>,
    pub(super) covered: Vec<CoveredTable>,
    /// By the name that the stream uses: the table of `covered` and the part of it.
    by_name: FxHashMap<Box<[u8]>, (usize, usize)>,
    /// Names that Postgres takes for a relation's, in order, to see whether what they mean changes.
    pub(super) names: Vec<Box<str>>,
    /// What the names of tables in `coverage` mean.
    oids: FxHashMap<Box<str>, u32>,
    /// That SELECTs read.
    views: BTreeSet<u32>,
    /// One of them is to be asked again.
    waits: bool,
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

struct Relation {
    oid: u32,
    name: Box<str>,
    kind: String,
    persistence: String,
    is_partition: bool,
    has_children: bool,
    columns: Vec<String>,
    /// Columns that are computed from others, which the stream leaves out.
    generated: Vec<String>,
    /// Columns that the stream spells otherwise than their cast to text, by which queries list their rows.
    respelled: Vec<String>,
    leaves: Vec<Leaf>,
}

struct Leaf {
    name: Box<str>,
    kind: String,
    /// `relreplident`: d, n, f or i.
    identity: String,
    identity_columns: Vec<String>,
    key: Vec<String>,
    began_empty: bool,
    version: String,
}

/// How a table is followed, and by which rules if it is.
type Looked = (Coverage, Option<(Relation, Vec<Rule>)>);

/// Why a table is not covered, and what to do.
type Hindrance = (String, String);

impl Tables {
    /// Looks at every table that a section names.
    pub(super) fn look(client: &mut Client, sections: &[Section]) -> Result<Tables, Failure> {
        let mut tables = Tables::default();
        for (table, mapped_by) in tables_of(sections) {
            let (state, rules) = tables.look_at(client, sections, &table.name, &mapped_by)?;
            let alter = rules.as_ref().and_then(|(relation, rules)| relation.blind(rules));
            tables.coverage.push(TableCoverage { table: table.name.clone(), sections: mapped_by, state, alter });
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
    pub(super) fn named(&self, name: &[u8]) -> Option<(&CoveredTable, &Part)> {
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
        self.names.extend(linked.names.iter().cloned());
        self.views.extend(&linked.reads.views);
        self.waits |= linked.waits;
        for read in &linked.reads.relations {
            let Some(relation) = relation(client, &read.name)? else { continue };
            let is_mapped = section.tables.iter().any(|table| self.oids.get(&table.name) == Some(&read.oid));
            let mut link = link(&linked.template.text, &linked.reads, read, is_mapped);
            let at = match self.coverage.iter().position(|known| self.oids.get(&known.table) == Some(&read.oid)) {
                Some(at) => at,
                None => {
                    let state = match relation.check() {
                        Ok(()) => Coverage::Covered { note: None },
                        Err((why, remedy)) => Coverage::NotCovered { why: why.into(), remedy: remedy.into() },
                    };
                    self.names.push(read.name.clone());
                    self.oids.insert(read.name.clone(), read.oid);
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
            if !is_covered(&self.coverage[at]) {
                continue;
            }
            relation.limit(&mut link);
            let bears = |column: &str| relation.identity_holds(column);
            let note = links::note(&link, linked, &section.name, &relation.name, bears);
            links::add_note(&mut self.coverage[at].state, note);
            let (tenant, note) = relation.tenant(section);
            links::add_note(&mut self.coverage[at].state, note);
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
        for now in self.coverage.iter().filter(|now| is_covered(now)) {
            // What a SELECT reads may be other tables than before.
            let then = before.coverage.iter().find(|then| then.table == now.table && is_covered(then));
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
        let oid = *self.oids.get(&coverage.table)?;
        self.covered.iter().find(|covered| covered.oid == oid)
    }

    /// What the names of the catalog mean, as one number: the relations, the columns, the identities, the partitions. Not
    /// what changes with every statistics or index or right.
    pub(super) fn fingerprint_sql(&self) -> String {
        let names: Vec<String> = self.names.iter().map(|name| format!("'{}'", name.replace('\'', "''"))).collect();
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
            names.join(", "), links::fingerprint_terms(&self.views, self.waits)
        )
    }

    fn look_at(
        &mut self,
        client: &mut Client,
        sections: &[Section],
        name: &str,
        mapped_by: &[usize],
    ) -> Result<Looked, Failure> {
        let not_covered =
            |(why, remedy): Hindrance| (Coverage::NotCovered { why: why.into(), remedy: remedy.into() }, None);
        self.names.extend(relation_names(name).into_iter().map(Into::into));
        let relation = match relation_named(client, name) {
            Ok(Some(relation)) => relation,
            Ok(None) => {
                return Ok(not_covered((
                    "there is no such table".to_owned(),
                    "create it, or write its schema in the catalog's tables".to_owned(),
                )));
            }
            Err(Failure::Fetch(error)) => {
                return Ok(not_covered((error.to_string(), "write the table's name as SQL does".to_owned())))
            }
            Err(broken) => return Err(broken),
        };
        self.oids.insert(name.into(), relation.oid);
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
    let oid: i64 = row.try_get(0)?;
    let leaf = |row: tokio_postgres::Row| {
        Ok::<_, tokio_postgres::Error>(Leaf {
            name: row.try_get::<_, String>(0)?.into(),
            kind: row.try_get(1)?,
            identity: row.try_get(2)?,
            identity_columns: row.try_get(3)?,
            key: row.try_get(4)?,
            began_empty: row.try_get(5)?,
            version: row.try_get::<_, Option<String>>(6)?.unwrap_or_default(),
        })
    };
    let leaves = client.query_typed(LEAVES, &[(&oid, Type::INT8)])?.into_iter().map(leaf).collect::<Result<_, _>>()?;
    Ok(Some(Relation {
        oid: u32::try_from(oid).unwrap_or_default(),
        name: row.try_get::<_, String>(1)?.into(),
        kind: row.try_get(2)?,
        persistence: row.try_get(3)?,
        is_partition: row.try_get(4)?,
        has_children: row.try_get(5)?,
        columns: row.try_get(6)?,
        generated: row.try_get(7)?,
        respelled: row.try_get(8)?,
        leaves,
    }))
}

impl Relation {
    /// Is it one whose changes are in the WAL, with an identity?
    fn check(&self) -> Result<(), Hindrance> {
        let name = &self.name;
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
        match &*self.persistence {
            "p" => {}
            "u" => {
                return Err((
                    "it is unlogged: its changes are not in the WAL".to_owned(),
                    format!("ALTER TABLE {name} SET LOGGED"),
                ))
            }
            _ => return Err(("it is a temporary table".to_owned(), map("a permanent table"))),
        }
        if self.is_partition {
            return Err((
                "it is a partition, which is followed as a part of its root".to_owned(),
                map("the partitioned table"),
            ));
        }
        if self.kind == "r" && self.has_children {
            return Err(("other tables inherit from it".to_owned(), "use partitions, or map each table".to_owned()));
        }
        for leaf in &self.leaves {
            if leaf.kind != "r" {
                return Err((format!("its partition {} is no ordinary table", leaf.name), "set a ttl".to_owned()));
            }
            if leaf.identity_columns.is_empty() {
                return Err((
                    format!("{} has no replica identity", leaf.name),
                    format!("ALTER TABLE {} ADD PRIMARY KEY (…), or REPLICA IDENTITY FULL", leaf.name),
                ));
            }
        }
        Ok(())
    }

    /// How its rows tell their tenant.
    fn tenant(&self, section: &Section) -> (TenantSource, Option<Box<str>>) {
        let column = section.tenant_column.as_deref().filter(|name| self.columns.iter().any(|c| c == name));
        let column = column.filter(|name| !self.generated.iter().any(|generated| generated == name));
        let mut note = None;
        let tenant = match (section.tenant, column) {
            (None, _) => TenantSource::None,
            (Some(_), None) => TenantSource::Unknown,
            (Some(_), Some(name)) if self.respells(name) => {
                note = Some(self.respelling(name, "any change of it concerns all tenants"));
                TenantSource::Unknown
            }
            (Some(ty), Some(name)) => {
                let in_identity = self.identity_holds(name);
                let no_identity = format!(
                    "the replica identity has no '{name}', so that an UPDATE or DELETE may concern any tenant, and a row that \
                     moves to another one leaves results of the first that do not list it stale; \
                     ALTER TABLE {} REPLICA IDENTITY FULL, or USING a unique INDEX that has it, tells the tenant",
                    self.name
                );
                note = (!in_identity).then(|| no_identity.into());
                TenantSource::Column { name: name.into(), ty, in_identity }
            }
        };
        (tenant, note)
    }

    /// A row bears nothing of what the stream leaves out, or spells in another way.
    fn limit(&self, link: &mut Link) {
        let is_told = |column: &str| !self.generated.iter().any(|generated| generated == column);
        match link {
            Link::Id(column) if !is_told(column) || self.respells(column) => {
                *link = Link::Moved { columns: None, inserts: true };
            }
            Link::Moved { columns, .. } if !columns.iter().flatten().all(|column| is_told(column)) => *columns = None,
            Link::Id(_) | Link::Moved { .. } => {}
        }
    }

    /// How an old row and a new one are compared by the column.
    fn compared(&self, column: &str) -> Compared {
        let is = |known: &String| known == column;
        match () {
            // The stream leaves out the one, and may not be able to name the other.
            () if self.generated.iter().any(is) || !column.is_ascii() => Compared::Untold,
            () if self.columns.iter().any(is) => Compared::By(column.into()),
            () => Compared::Absent,
        }
    }

    /// What tells which columns an UPDATE has changed, if that is not told and rules compare them.
    fn blind(&self, rules: &[Rule]) -> Option<Box<str>> {
        /// Partitions that are named.
        const NAMED: usize = 3;

        rules.iter().find(|rule| rule.compared.is_some())?;
        let blind: Vec<&Leaf> = self.leaves.iter().filter(|leaf| leaf.identity != "f").collect();
        let named = blind.iter().take(NAMED).map(|leaf| format!("ALTER TABLE {} REPLICA IDENTITY FULL", leaf.name));
        let mut alter = named.collect::<Vec<_>>().join("; ");
        if blind.len() > NAMED {
            alter += &format!("; and of {} more partitions", blind.len() - NAMED);
        }
        (!blind.is_empty()).then(|| alter.into())
    }

    fn respells(&self, column: &str) -> bool {
        self.respelled.iter().any(|respelled| respelled == column)
    }

    fn respelling(&self, column: &str, so: &str) -> Box<str> {
        format!("'{column}' is char(n), inet or cidr, which the WAL spells otherwise than queries do, so that {so}; text does not").into()
    }

    fn check_column(&self, column: &str) -> Result<(), Hindrance> {
        if self.generated.iter().any(|generated| generated == column) {
            return Err((
                format!("'{column}' is generated, and the WAL does not tell it"),
                "name a column that it is computed from, or find the ids by a SELECT".to_owned(),
            ));
        }
        if !self.columns.iter().any(|known| known == column) {
            return Err((
                format!("it has no column '{column}'"),
                format!("the columns are {}", self.columns.join(", ")),
            ));
        }
        Ok(())
    }

    /// What it means that an old row does not bear the column, if so.
    fn unheld(&self, column: &str) -> Option<Box<str>> {
        let leaf = self.leaves.iter().find(|leaf| !leaf.holds(column))?;
        let note = format!(
            "the replica identity of {} does not hold '{column}', so that an UPDATE or DELETE concerns all rows; \
             ALTER TABLE {} REPLICA IDENTITY FULL, or USING a unique INDEX that has '{column}', tells which",
            leaf.name, leaf.name
        );
        Some(note.into())
    }

    fn identity_holds(&self, column: &str) -> bool {
        self.leaves.iter().all(|leaf| leaf.holds(column))
    }

    /// The column whose values a statement takes for `{ids}`, if there is one.
    fn single_key(&self) -> Option<&str> {
        let mut column = None;
        for leaf in &self.leaves {
            let key = if leaf.identity == "f" { &leaf.key } else { &leaf.identity_columns };
            match (&key[..], column) {
                ([one], None) => column = Some(one.as_str()),
                ([one], Some(other)) if one == other => {}
                _ => return None,
            }
        }
        column
    }
}

fn is_covered(coverage: &TableCoverage) -> bool {
    matches!(coverage.state, Coverage::Covered { .. })
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

impl Leaf {
    fn holds(&self, column: &str) -> bool {
        self.identity_columns.iter().any(|held| held == column)
    }
}
