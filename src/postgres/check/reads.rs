//! What a statement reads, by the locks that Postgres takes for it when it parses and plans it: by oid, whatever it is
//! called, through views and inlined functions, and whatever a plan leaves out at run time.

use std::collections::BTreeSet;

use tokio_postgres::types::Type;
use tokio_postgres::{Row, Statement};

use crate::core::feed::link::{names_in, ReadRelation, Reads};
use crate::core::sql::spelling::relation_names;

use super::trial::{explain, prepare};
use crate::postgres::connect::client::Client;
use crate::postgres::connect::failure::Failure;

/// Locks of this transaction: with the names out of reach that the statement may use, for a low role may have made an
/// operator that is taken for one of ours. A part whose parent is locked, too, is read as the parent; any other partition
/// counts as its root.
const LOCKED: &str =
    "SELECT DISTINCT c.oid::bigint, format('%I.%I', n.nspname, c.relname), c.relname::text, c.relkind::text, \
    n.nspname::text, ARRAY(SELECT CASE WHEN a.attisdropped THEN NULL ELSE a.attname::text END FROM pg_attribute a \
        WHERE a.attrelid = c.oid AND a.attnum > 0 ORDER BY a.attnum) \
    FROM pg_locks l CROSS JOIN LATERAL (SELECT coalesce(pg_partition_root(l.relation)::oid, l.relation)) root(oid) \
    JOIN pg_class c ON c.oid = root.oid JOIN pg_namespace n ON n.oid = c.relnamespace \
    WHERE l.locktype = 'relation' AND l.pid = pg_backend_pid() \
    AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database()) \
    AND c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast') \
    AND NOT EXISTS (SELECT FROM pg_inherits i JOIN pg_locks p ON p.relation = i.inhparent AND p.locktype = 'relation' \
        AND p.pid = l.pid AND p.database = l.database WHERE i.inhrelid = l.relation) \
    ORDER BY 2";

/// The same of relations by their oids, and of what views among them read.
const NAMED: &str = "WITH RECURSIVE read(oid) AS (SELECT u.oid::oid FROM unnest($1::bigint[]) u(oid) UNION \
        SELECT d.refobjid FROM read JOIN pg_rewrite w ON w.ev_class = read.oid JOIN pg_depend d ON d.objid = w.oid \
        AND d.classid = 'pg_rewrite'::regclass AND d.refclassid = 'pg_class'::regclass) \
    SELECT DISTINCT c.oid::bigint, format('%I.%I', n.nspname, c.relname), c.relname::text, c.relkind::text, n.nspname::text, \
    ARRAY(SELECT CASE WHEN a.attisdropped THEN NULL ELSE a.attname::text END FROM pg_attribute a \
        WHERE a.attrelid = c.oid AND a.attnum > 0 ORDER BY a.attnum) \
    FROM read JOIN pg_class c ON c.oid = read.oid JOIN pg_namespace n ON n.oid = c.relnamespace \
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast') ORDER BY 2";

/// A relation that was locked.
pub(in crate::postgres) struct Locked {
    pub(in crate::postgres) relation: ReadRelation,
    pub(in crate::postgres) schema: String,
    pub(in crate::postgres) is_view: bool,
}

/// What the statements of this (sub)transaction have read. Names mean what is in `pg_catalog` from here to its end.
pub(in crate::postgres) fn locked(client: &mut Client) -> Result<Vec<Locked>, Failure> {
    client.batch_execute("SET LOCAL search_path = pg_catalog, pg_temp")?;
    let rows = client.query_typed(LOCKED, &[])?;
    rows.iter().map(read_relation).collect()
}

/// What is asked of locks after each of many statements of one transaction, planned once.
pub(in crate::postgres) struct Locks {
    locked: Statement,
    changed: Statement,
}

impl Locks {
    /// `changed`: another statement that reads them.
    pub(in crate::postgres) fn prepare(client: &mut Client, changed: &str) -> Result<Locks, Failure> {
        client.batch_execute("SAVEPOINT bear_locks; SET LOCAL search_path = pg_catalog, pg_temp")?;
        let locked = client.prepare_typed(LOCKED, &[])?;
        let changed = client.prepare_typed(changed, &[])?;
        client.batch_execute("ROLLBACK TO SAVEPOINT bear_locks; RELEASE SAVEPOINT bear_locks")?;
        Ok(Locks { locked, changed })
    }

    /// What the other statement says: a column of oids.
    pub(in crate::postgres) fn changed(&self, client: &mut Client) -> Result<BTreeSet<u32>, Failure> {
        let oid = |row: &Row| Ok(u32::try_from(row.try_get::<_, i64>(0)?).unwrap_or_default());
        self.rows(client, &self.changed)?.iter().map(oid).collect()
    }

    fn rows(&self, client: &mut Client, statement: &Statement) -> Result<Vec<Row>, Failure> {
        client.batch_execute("SET LOCAL search_path = pg_catalog, pg_temp")?;
        let none: [i64; 0] = [];
        let (rows, _) = client.query_all(statement, none)?;
        Ok(rows)
    }

    /// The same as [`locked`].
    pub(in crate::postgres) fn locked(&self, client: &mut Client) -> Result<Vec<Locked>, Failure> {
        self.rows(client, &self.locked)?.iter().map(read_relation).collect()
    }
}

fn read_relation(row: &Row) -> Result<Locked, Failure> {
    let read = |row: &Row| {
        let columns: Vec<Option<String>> = row.try_get(5)?;
        let relation = ReadRelation {
            oid: u32::try_from(row.try_get::<_, i64>(0)?).unwrap_or_default(),
            name: row.try_get::<_, String>(1)?.into(),
            bare_name: row.try_get::<_, String>(2)?.into(),
            columns: columns.into_iter().map(|name| name.map(Into::into)).collect(),
        };
        let kind: String = row.try_get(3)?;
        Ok::<_, Failure>(Locked { relation, schema: row.try_get(4)?, is_view: kind == "v" })
    };
    read(row)
}

/// What the statement may read by the names in it, through views, where it cannot be prepared. Waits for no lock.
pub(in crate::postgres) fn guess(client: &mut Client, sql: &str) -> Result<Reads, Failure> {
    let named = meant_by(client, &names_in(sql))?;
    let oids: Vec<i64> = named.into_iter().flatten().collect();
    client.batch_execute("SET LOCAL search_path = pg_catalog, pg_temp")?;
    let rows = client.query_typed(NAMED, &[(&oids, Type::INT8_ARRAY)])?;
    let mut reads = Reads { is_guess: true, ..Reads::default() };
    for found in rows.iter().map(read_relation) {
        let found = found?;
        match found.is_view {
            true => reads.views.push(found.relation.oid),
            false => reads.relations.push(found.relation),
        }
    }
    Ok(reads)
}

/// Prepares the statement as `bear_check` and plans it, within a transaction that is to be rolled back; says what it
/// reads, and where its first column comes from.
pub(in crate::postgres) fn of_statement(client: &mut Client, sql: &str, types: &[Type]) -> Result<Reads, Failure> {
    let prepared = client.prepare_typed(sql, types)?;
    let first = prepared.columns().first();
    let origin = first.and_then(|column| Some((column.table_oid()?, column.column_id()?)));
    prepare(client, sql, types)?;
    explain(client, types.len())?;
    let mut reads = Reads { origin, ..Reads::default() };
    for locked in locked(client)? {
        match locked.is_view {
            true => reads.views.push(locked.relation.oid),
            false => reads.relations.push(locked.relation),
        }
    }
    Ok(reads)
}

/// The oids that names of relations mean, as a catalog may spell them; None where there is no such relation. To be asked
/// within a transaction.
pub(in crate::postgres) fn meant(client: &mut Client, names: &[String]) -> Result<Vec<Option<u32>>, Failure> {
    client.batch_execute("SAVEPOINT bear_meant")?;
    match meant_at_once(client, names) {
        // The schema of one of them is not open to us.
        Err(Failure::Fetch(_)) => {}
        result => return result,
    }
    let mut meant = Vec::new();
    for name in names {
        client.batch_execute("ROLLBACK TO SAVEPOINT bear_meant")?;
        match meant_at_once(client, std::slice::from_ref(name)) {
            Err(Failure::Fetch(_)) => meant.push(None),
            result => meant.extend(result?),
        }
    }
    client.batch_execute("ROLLBACK TO SAVEPOINT bear_meant")?;
    Ok(meant)
}

fn meant_at_once(client: &mut Client, names: &[String]) -> Result<Vec<Option<u32>>, Failure> {
    let spelled: Vec<Vec<String>> = names.iter().map(|name| relation_names(name)).collect();
    let mut oids = meant_by(client, &spelled.concat())?.into_iter();
    let first = |names: &Vec<String>| {
        let found: Vec<Option<i64>> = oids.by_ref().take(names.len()).collect();
        found.into_iter().flatten().next().and_then(|oid| u32::try_from(oid).ok())
    };
    Ok(spelled.iter().map(first).collect())
}

/// The same of names as SQL writes them, each for itself.
fn meant_by(client: &mut Client, names: &[String]) -> Result<Vec<Option<i64>>, Failure> {
    const MEANT: &str = "SELECT pg_catalog.to_regclass(s.name)::pg_catalog.oid::bigint \
        FROM pg_catalog.unnest($1::pg_catalog.text[]) WITH ORDINALITY s(name, n_th) ORDER BY s.n_th";

    let rows = client.query_typed(MEANT, &[(&names, Type::TEXT_ARRAY)])?;
    Ok(rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?)
}
