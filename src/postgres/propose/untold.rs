//! Tables of which the WAL does not tell which rows have changed: [`crate::postgres::feed`] follows none of them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use tokio_postgres::types::Type;

use crate::core::cache::fetch::FetchError;
use crate::core::propose::facts::Untold;
use crate::postgres::check::reads;
use crate::postgres::check::trial::open;
use crate::postgres::connect::client::Client;
use crate::postgres::connect::failure::Failure;
use crate::postgres::connect::pool::Pool;

/// Of these roots, or of all: a table or partition without a replica identity, else one that others inherit from.
const UNTOLD: &str = "WITH RECURSIVE tree(root, oid) AS (SELECT c.oid, c.oid FROM pg_catalog.pg_class c \
        WHERE c.relkind OPERATOR(pg_catalog.=) ANY ('{r,p}'::pg_catalog.\"char\"[]) AND NOT c.relispartition \
        AND ($1::pg_catalog.int8[] IS NULL OR c.oid::pg_catalog.int8 OPERATOR(pg_catalog.=) ANY ($1)) \
        UNION ALL SELECT t.root, i.inhrelid FROM tree t JOIN pg_catalog.pg_inherits i ON i.inhparent OPERATOR(pg_catalog.=) t.oid \
            JOIN pg_catalog.pg_class k ON k.oid OPERATOR(pg_catalog.=) i.inhrelid WHERE k.relispartition) \
    SELECT t.root::pg_catalog.int8, pg_catalog.format('%I.%I', n.nspname, c.relname), \
        EXISTS (SELECT FROM pg_catalog.pg_inherits i WHERE i.inhparent OPERATOR(pg_catalog.=) c.oid) \
    FROM tree t JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) t.oid \
    JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace \
    WHERE c.relkind OPERATOR(pg_catalog.=) 'r' AND n.nspname OPERATOR(pg_catalog.<>) \
        ALL (pg_catalog.string_to_array('pg_catalog,information_schema,pg_toast', ',')::pg_catalog.name[]) \
    AND (EXISTS (SELECT FROM pg_catalog.pg_inherits i WHERE i.inhparent OPERATOR(pg_catalog.=) c.oid) \
        OR (c.relreplident OPERATOR(pg_catalog.<>) 'f' AND NOT EXISTS (SELECT FROM pg_catalog.pg_index x \
            WHERE x.indrelid OPERATOR(pg_catalog.=) c.oid AND x.indisvalid AND x.indimmediate \
            AND CASE WHEN c.relreplident OPERATOR(pg_catalog.=) 'd' THEN x.indisprimary \
                WHEN c.relreplident OPERATOR(pg_catalog.=) 'i' THEN x.indisreplident ELSE false END))) \
    ORDER BY 1, 3, 2 DESC";

/// By the oids of the roots; within a transaction.
pub(super) fn untold(client: &mut Client, of: Option<&[i64]>) -> Result<BTreeMap<u32, Untold>, Failure> {
    let rows = client.query_typed(UNTOLD, &[(&of, Type::INT8_ARRAY)])?;
    let mut found = BTreeMap::new();
    for row in &rows {
        let (root, name, is_inherited): (i64, String, bool) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        let (why, remedy) = match is_inherited {
            true => ("other tables inherit from it".to_owned(), "they are its partitions".to_owned()),
            false => (
                format!("{name} has no replica identity"),
                format!("ALTER TABLE {name} ADD PRIMARY KEY (…), or REPLICA IDENTITY FULL"),
            ),
        };
        // The last of a root is that of the first name, and that others inherit counts before.
        found.insert(u32::try_from(root).unwrap_or_default(), Untold { why: why.into(), remedy: remedy.into() });
    }
    Ok(found)
}

impl Pool {
    /// For each list of tables, by their names in a catalog, the lines of comment that say which of them are not followed.
    pub(super) fn untold_lines(
        &self,
        lists: &[Vec<String>],
        deadline: Instant,
    ) -> Result<Vec<Vec<String>>, FetchError> {
        let names: BTreeSet<&String> = lists.iter().flatten().collect();
        let names: Vec<String> = names.into_iter().cloned().collect();
        let (_, found) = self.with_session(deadline, 0, |numbered| {
            let session = &mut numbered.session;
            open(session)?;
            let meant = reads::meant(&mut session.client, &names);
            let found = meant.and_then(|meant| {
                let oids: Vec<i64> = meant.iter().flatten().map(|oid| i64::from(*oid)).collect();
                Ok((meant, untold(&mut session.client, Some(&oids))?))
            });
            session.roll_back()?;
            found
        });
        let (meant, untold) = found?;
        let of = |name: &String| {
            let at = names.binary_search(name).ok()?;
            Some(untold.get(&meant[at]?)?.lines(name))
        };
        Ok(lists.iter().map(|list| list.iter().filter_map(of).flatten().collect()).collect())
    }
}
