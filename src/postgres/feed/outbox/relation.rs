//! A table of Postgres as triggers see it.

use tokio_postgres::types::Type;

use crate::core::catalog::Section;
use crate::core::feed::{Compared, TenantSource};
use crate::postgres::connect::client::Client;
use crate::postgres::connect::failure::Failure;

use super::super::named::{self, Hindrance};

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

pub(super) struct Relation {
    pub(super) oid: u32,
    /// Quoted, with its schema.
    pub(super) name: Box<str>,
    kind: String,
    persistence: String,
    pub(super) columns: Vec<String>,
    /// Columns that are computed from others: some are not when triggers see the row.
    generated: Vec<String>,
    pub(super) key: Vec<String>,
    unseen: Option<String>,
}

pub(super) fn relation(client: &mut Client, name: &str) -> Result<Option<Relation>, Failure> {
    let rows = client.query_typed(RELATION, &[(&name, Type::TEXT)])?;
    let Some(row) = rows.first() else { return Ok(None) };
    Ok(Some(Relation {
        oid: u32::try_from(row.try_get::<_, i64>(0)?).unwrap_or_default(),
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
    pub(super) fn check(&self) -> Result<(), Hindrance> {
        named::check_kind(&self.kind)?;
        named::check_persistence(self.persistence == "t")?;
        match &self.unseen {
            Some(part) => {
                Err(Hindrance::new(format!("its partition or child {part} is no ordinary table"), "set a ttl"))
            }
            None => Ok(()),
        }
    }

    /// How its rows tell their tenant.
    pub(super) fn tenant(&self, section: &Section) -> TenantSource {
        let column = section.tenant_column.as_deref().filter(|name| self.columns.iter().any(|c| c == name));
        match (section.tenant, column) {
            (None, _) => TenantSource::None,
            (Some(_), None) => TenantSource::Unknown,
            (Some(ty), Some(name)) => TenantSource::Column { name: name.into(), ty, in_identity: true },
        }
    }

    /// How an old row and a new one are compared by the column.
    pub(super) fn compared(&self, column: &str) -> Compared {
        let is = |known: &String| known == column;
        match () {
            () if self.generated.iter().any(is) => Compared::Untold,
            () if self.columns.iter().any(is) => Compared::By(column.into()),
            () => Compared::Absent,
        }
    }

    pub(super) fn check_column(&self, column: &str) -> Result<(), Hindrance> {
        named::check_column(&self.columns, column)
    }

    /// The column whose values a statement takes for `{ids}`, if there is one.
    pub(super) fn single_key(&self) -> Option<&str> {
        match &self.key[..] {
            [one] => Some(one),
            _ => None,
        }
    }
}
