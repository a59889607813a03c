//! What a statement reads, by the locks that Postgres takes for it when it parses and plans it: by oid, whatever it is
//! called, through views and inlined functions, and whatever a plan leaves out at run time.

use tokio_postgres::types::Type;

use crate::core::link::{ReadRelation, Reads};
use crate::core::spelling::relation_names;

use super::client::Client;
use super::failure::Failure;
use super::validate::{explain, prepare};

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

/// A relation that was locked.
pub(super) struct Locked {
    pub(super) relation: ReadRelation,
    pub(super) schema: String,
    pub(super) is_view: bool,
}

/// What the statements of this (sub)transaction have read. Names mean what is in `pg_catalog` from here to its end.
pub(super) fn locked(client: &mut Client) -> Result<Vec<Locked>, Failure> {
    client.batch_execute("SET LOCAL search_path = pg_catalog, pg_temp")?;
    let rows = client.query_typed(LOCKED, &[])?;
    let read = |row: &tokio_postgres::Row| {
        let columns: Vec<Option<String>> = row.try_get(5)?;
        let relation = ReadRelation {
            oid: u32::try_from(row.try_get::<_, i64>(0)?).unwrap_or_default(),
            name: row.try_get::<_, String>(1)?.into(),
            bare_name: row.try_get::<_, String>(2)?.into(),
            columns: columns.into_iter().map(|name| name.map(Into::into)).collect(),
        };
        let kind: String = row.try_get(3)?;
        Ok(Locked { relation, schema: row.try_get(4)?, is_view: kind == "v" })
    };
    rows.iter().map(read).collect()
}

/// Prepares the statement as `bear_check` and plans it, within a transaction that is to be rolled back; says what it
/// reads, and where its first column comes from.
pub(super) fn of_statement(client: &mut Client, sql: &str, types: &[Type]) -> Result<Reads, Failure> {
    let prepared = client.prepare_typed(sql, types)?;
    let first = prepared.columns().first();
    let origin = first.and_then(|column| Some((column.table_oid()?, column.column_id()?)));
    prepare(client, sql, types)?;
    explain(client, types.len())?;
    let mut reads = Reads { origin, ..Reads::default() };
    for locked in locked(client)? {
        match locked.is_view {
            true => reads.has_views = true,
            false => reads.relations.push(locked.relation),
        }
    }
    Ok(reads)
}

/// The oids that names of relations mean, as a catalog may spell them; None where there is no such relation. To be asked
/// within a transaction.
pub(super) fn meant(client: &mut Client, names: &[String]) -> Result<Vec<Option<u32>>, Failure> {
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
    const MEANT: &str = "SELECT pg_catalog.to_regclass(s.name)::pg_catalog.oid::bigint \
        FROM pg_catalog.unnest($1::pg_catalog.text[]) WITH ORDINALITY s(name, n_th) ORDER BY s.n_th";

    let spelled: Vec<Vec<String>> = names.iter().map(|name| relation_names(name)).collect();
    let rows = client.query_typed(MEANT, &[(&spelled.concat(), Type::TEXT_ARRAY)])?;
    let mut oids = rows.iter().map(|row| row.try_get::<_, Option<i64>>(0));
    let mut meant = Vec::new();
    for names in &spelled {
        let found: Vec<Option<i64>> = oids.by_ref().take(names.len()).collect::<Result<_, _>>()?;
        meant.push(found.into_iter().flatten().next().and_then(|oid| u32::try_from(oid).ok()));
    }
    Ok(meant)
}
