//! A table of Postgres as the WAL tells of it: its partitions, their replica identities, and what they do not tell.

use tokio_postgres::types::Type;

use crate::core::catalog::Section;
use crate::core::feed::link::Link;
use crate::core::feed::{Compared, Rule, TenantSource};
use crate::postgres::connect::client::Client;
use crate::postgres::connect::failure::Failure;

use super::named::{self, Hindrance};

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

/// A table, or a partitioned one.
pub(super) struct Relation {
    pub(super) oid: u32,
    /// Quoted, with its schema.
    pub(super) name: Box<str>,
    kind: String,
    persistence: String,
    is_partition: bool,
    has_children: bool,
    columns: Vec<String>,
    /// Columns that are computed from others, which the stream leaves out.
    generated: Vec<String>,
    /// Columns that the stream spells otherwise than their cast to text, by which queries list their rows.
    respelled: Vec<String>,
    pub(super) leaves: Vec<Leaf>,
}

/// A table that holds rows of it.
pub(super) struct Leaf {
    pub(super) name: Box<str>,
    kind: String,
    /// `relreplident`: d, n, f or i.
    pub(super) identity: String,
    identity_columns: Vec<String>,
    key: Vec<String>,
    pub(super) began_empty: bool,
    pub(super) version: String,
}

pub(super) fn relation(client: &mut Client, name: &str) -> Result<Option<Relation>, Failure> {
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
    pub(super) fn check(&self) -> Result<(), Hindrance> {
        named::check_kind(&self.kind)?;
        named::check_persistence(self.persistence == "t")?;
        if self.persistence == "u" {
            let remedy = format!("ALTER TABLE {} SET LOGGED", self.name);
            return Err(Hindrance::new("it is unlogged: its changes are not in the WAL", remedy));
        }
        if self.is_partition {
            let why = "it is a partition, which is followed as a part of its root";
            return Err(Hindrance::new(why, "map the partitioned table instead"));
        }
        if self.kind == "r" && self.has_children {
            return Err(Hindrance::new("other tables inherit from it", "use partitions, or map each table"));
        }
        for leaf in &self.leaves {
            if leaf.kind != "r" {
                let why = format!("its partition {} is no ordinary table", leaf.name);
                return Err(Hindrance::new(why, "set a ttl"));
            }
            if leaf.identity_columns.is_empty() {
                let remedy = format!("ALTER TABLE {} ADD PRIMARY KEY (…), or REPLICA IDENTITY FULL", leaf.name);
                return Err(Hindrance::new(format!("{} has no replica identity", leaf.name), remedy));
            }
        }
        Ok(())
    }

    /// How its rows tell their tenant.
    pub(super) fn tenant(&self, section: &Section) -> (TenantSource, Option<Box<str>>) {
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
    pub(super) fn limit(&self, link: &mut Link) {
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
    pub(super) fn compared(&self, column: &str) -> Compared {
        let is = |known: &String| known == column;
        match () {
            // The stream leaves out the one, and may not be able to name the other.
            () if self.generated.iter().any(is) || !column.is_ascii() => Compared::Untold,
            () if self.columns.iter().any(is) => Compared::By(column.into()),
            () => Compared::Absent,
        }
    }

    /// What tells which columns an UPDATE has changed, if that is not told and rules compare them.
    pub(super) fn blind(&self, rules: &[Rule]) -> Option<Box<str>> {
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

    pub(super) fn respells(&self, column: &str) -> bool {
        self.respelled.iter().any(|respelled| respelled == column)
    }

    pub(super) fn respelling(&self, column: &str, so: &str) -> Box<str> {
        format!("'{column}' is char(n), inet or cidr, which the WAL spells otherwise than queries do, so that {so}; text does not").into()
    }

    pub(super) fn check_column(&self, column: &str) -> Result<(), Hindrance> {
        if self.generated.iter().any(|generated| generated == column) {
            return Err(Hindrance::new(
                format!("'{column}' is generated, and the WAL does not tell it"),
                "name a column that it is computed from, or find the ids by a SELECT",
            ));
        }
        named::check_column(&self.columns, column)
    }

    /// What it means that an old row does not bear the column, if so.
    pub(super) fn unheld(&self, column: &str) -> Option<Box<str>> {
        let leaf = self.leaves.iter().find(|leaf| !leaf.holds(column))?;
        let note = format!(
            "the replica identity of {} does not hold '{column}', so that an UPDATE or DELETE concerns all rows; \
             ALTER TABLE {} REPLICA IDENTITY FULL, or USING a unique INDEX that has '{column}', tells which",
            leaf.name, leaf.name
        );
        Some(note.into())
    }

    pub(super) fn identity_holds(&self, column: &str) -> bool {
        self.leaves.iter().all(|leaf| leaf.holds(column))
    }

    /// The column whose values a statement takes for `{ids}`, if there is one.
    pub(super) fn single_key(&self) -> Option<&str> {
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

impl Leaf {
    fn holds(&self, column: &str) -> bool {
        self.identity_columns.iter().any(|held| held == column)
    }
}
