//! The publication that the feed reads: named after its tables, so that servers with one catalog share one.
//!
//! It lives on after the feed, and costs nothing then. Rule: no publication of ours ever holds a table without identity.

use tokio_postgres::types::Type;

use crate::postgres::client::{Client, ClientError};
use crate::postgres::failure::{describe, message, Failure};

use super::error::FeedError;
use super::tables::Tables;

/// Tables of a publication, and whether it is as ours are. Of columns that older servers lack, NULL is what is right.
const CONTENTS: &str =
    "SELECT ARRAY(SELECT r.prrelid::bigint FROM pg_catalog.pg_publication_rel r WHERE r.prpubid = p.oid ORDER BY 1), \
    p.pubinsert AND p.pubupdate AND p.pubdelete AND p.pubtruncate AND p.pubviaroot AND NOT p.puballtables \
    AND NOT EXISTS (SELECT FROM pg_catalog.pg_publication_rel r WHERE r.prpubid = p.oid \
        AND (pg_catalog.to_jsonb(r)->>'prqual' IS NOT NULL OR pg_catalog.to_jsonb(r)->>'prattrs' IS NOT NULL)) \
    FROM pg_catalog.pg_publication p WHERE p.pubname = $1";

/// A catalog's publications that hold a table.
const HOLDERS: &str = "SELECT p.pubname::text FROM pg_catalog.pg_publication p JOIN pg_catalog.pg_publication_rel r ON r.prpubid = p.oid \
    WHERE r.prrelid = $1::bigint::oid AND p.pubname ~ '^bear_[0-9a-f]{16}$'";

/// What the names of the catalog mean and how they are published, as one number: the oids, the columns, the identities,
/// the partitions (and their files, for a TRUNCATE of one is not in the stream), the publication.
pub(super) fn fingerprint_sql(publication: &str, tables: &Tables) -> String {
    let names: Vec<String> = tables.names.iter().map(|name| format!("'{}'", name.replace('\'', "''"))).collect();
    format!(
        "(WITH named AS (SELECT pg_catalog.to_regclass(name)::oid AS oid FROM pg_catalog.unnest(ARRAY[{}]::text[]) name), \
         rel AS (SELECT oid FROM named WHERE oid IS NOT NULL UNION \
           SELECT t.relid::oid FROM named, LATERAL pg_catalog.pg_partition_tree(named.oid::regclass) t WHERE named.oid IS NOT NULL), \
         pub AS (SELECT * FROM pg_catalog.pg_publication WHERE pubname = '{publication}') \
         SELECT pg_catalog.hashtextextended(pg_catalog.string_agg(x, ',' ORDER BY x), 0) FROM ( \
         SELECT 'p' || pub::text FROM pub UNION ALL \
         SELECT 'r' || r.oid::text || ':' || r.prrelid::text || ':' || r.xmin::text FROM pg_catalog.pg_publication_rel r JOIN pub ON pub.oid = r.prpubid UNION ALL \
         SELECT 'c' || c.oid::text || c.relkind::text || c.relpersistence::text || c.relreplident::text || \
           CASE WHEN c.relispartition THEN c.relfilenode::text ELSE '' END FROM pg_catalog.pg_class c JOIN rel USING (oid) UNION ALL \
         SELECT 'h' || i.inhrelid::text || ':' || i.inhparent::text FROM pg_catalog.pg_inherits i JOIN rel ON rel.oid = i.inhparent UNION ALL \
         SELECT 'a' || a.attrelid::text || ':' || a.attnum::text || ':' || a.xmin::text FROM pg_catalog.pg_attribute a JOIN rel ON rel.oid = a.attrelid WHERE a.attnum > 0 UNION ALL \
         SELECT 'i' || x.indexrelid::text || x.indisprimary::text || x.indisreplident::text || x.indisvalid::text || x.indimmediate::text \
           FROM pg_catalog.pg_index x JOIN rel ON rel.oid = x.indrelid WHERE x.indisunique) all_(x))",
        names.join(", ")
    )
}

/// `bear_` and a hash of the tables' names.
pub(super) fn name(tables: &Tables) -> String {
    let mut all = String::new();
    for table in &tables.covered {
        all.push_str(&table.name);
        all.push('\n');
    }
    let digest = ring::digest::digest(&ring::digest::SHA256, all.as_bytes());
    let hex: String = digest.as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    format!("bear_{hex}")
}

/// Sees to it that the publication is there and holds the covered tables.
pub(super) fn ensure(client: &mut Client, name: &str, tables: &Tables) -> Result<(), FeedError> {
    withdraw(client, tables)?;
    let list = tables.covered.iter().map(|table| &*table.name).collect::<Vec<_>>().join(", ");
    const OPTIONS: &str = "publish = 'insert, update, delete, truncate', publish_via_partition_root = true";
    // Another server with the same catalog may be doing the same.
    for _ in 0..3 {
        let statement = match contents(client, name)? {
            Some((oids, true)) if is_same(&oids, tables) => return Ok(()),
            Some(_) if list.is_empty() => format!("DROP PUBLICATION {name}"),
            Some(_) => format!("ALTER PUBLICATION {name} SET TABLE {list}; ALTER PUBLICATION {name} SET ({OPTIONS})"),
            None if list.is_empty() => format!("CREATE PUBLICATION {name}"),
            None => format!("CREATE PUBLICATION {name} FOR TABLE {list} WITH ({OPTIONS})"),
        };
        if let Err(error) = client.batch_execute(&statement) {
            let refused = match &error {
                ClientError::Driver(error) => error.as_db_error(),
                ClientError::Silent | ClientError::Runtime(_) => None,
            };
            match refused {
                Some(db) if matches!(db.code().code(), "42710" | "23505" | "42704" | "XX000") => {}
                Some(db) if db.code().code() == "42501" => {
                    return Err(FeedError::Forbidden(format!(
                        "cannot make the publication: {}; as the owner of the tables, who may create in the database, or as a \
                         superuser, run: {statement}",
                        message(db)
                    )))
                }
                Some(db) => return Err(FeedError::Other(format!("cannot make the publication: {}", message(db)))),
                None => return Err(error.into()),
            }
        }
    }
    match contents(client, name)? {
        Some((oids, true)) if is_same(&oids, tables) => Ok(()),
        _ => Err(FeedError::Other(format!("the publication {name} is being changed by somebody else"))),
    }
}

fn is_same(oids: &[i64], tables: &Tables) -> bool {
    let mut wanted: Vec<i64> = tables.covered.iter().map(|table| i64::from(table.oid)).collect();
    wanted.sort_unstable();
    oids == wanted
}

fn contents(client: &mut Client, name: &str) -> Result<Option<(Vec<i64>, bool)>, Failure> {
    let rows = client.query_typed(CONTENTS, &[(&name, Type::TEXT)])?;
    let Some(row) = rows.first() else { return Ok(None) };
    let oids: Vec<i64> = row.try_get(0)?;
    let is_right: bool = row.try_get(1)?;
    // Of no table it does not matter how it is published.
    let is_right = is_right || oids.is_empty();
    Ok(Some((oids, is_right)))
}

/// Takes tables that have lost their identity out of our publications: while one holds them, their UPDATEs fail.
fn withdraw(client: &mut Client, tables: &Tables) -> Result<(), Failure> {
    for (oid, table) in &tables.without_identity {
        for row in client.query_typed(HOLDERS, &[(&i64::from(*oid), Type::INT8)])? {
            let publication: String = row.try_get(0)?;
            let statement = format!("ALTER PUBLICATION {publication} DROP TABLE {table}");
            match client.batch_execute(&statement) {
                Ok(()) => log::info!("{table} has no replica identity any more: {statement}"),
                Err(ClientError::Driver(error)) if error.as_db_error().is_some() => {
                    log::warn!("UPDATEs of {table} fail until this is run: {statement} ({})", describe(&error));
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(())
}
