//! What Postgres does of itself at changes of tables: triggers that are not its own or bear's, and rules.

use std::collections::BTreeMap;

use crate::core::propose::facts::Reaction;
use crate::postgres::connect::client::Client;
use crate::postgres::connect::failure::Failure;

/// Those of partitions are their root's. Functions in `pg_catalog` change the row alone.
const TRIGGERS: &str = "SELECT coalesce(pg_partition_root(g.tgrelid)::oid, g.tgrelid)::int8, g.tgname::text, \
        bool_or((g.tgtype::int4 & 4) <> 0), bool_or((g.tgtype::int4 & 16) <> 0), bool_or((g.tgtype::int4 & 8) <> 0) \
    FROM pg_trigger g JOIN pg_proc p ON p.oid = g.tgfoid JOIN pg_namespace n ON n.oid = p.pronamespace \
    WHERE NOT g.tgisinternal AND g.tgenabled IN ('O', 'A') AND n.nspname NOT IN ('pg_catalog', 'bear') \
    GROUP BY 1, 2 ORDER BY 1, 2";

const RULES: &str = "SELECT w.ev_class::int8, w.rulename::text, w.ev_type = '3', w.ev_type = '2', w.ev_type = '4' \
    FROM pg_rewrite w JOIN pg_class c ON c.oid = w.ev_class \
    WHERE c.relkind IN ('r', 'p') AND w.ev_type <> '1' AND w.ev_enabled IN ('O', 'A') ORDER BY 1, 2";

/// By the oids of the tables.
pub(super) type Reactions = BTreeMap<u32, Vec<Reaction>>;

/// Triggers and rules, where names are those of `pg_catalog`.
pub(super) fn reactions(client: &mut Client) -> Result<(Reactions, Reactions), Failure> {
    Ok((found(client, TRIGGERS)?, found(client, RULES)?))
}

fn found(client: &mut Client, sql: &str) -> Result<Reactions, Failure> {
    let mut found = Reactions::new();
    for row in client.query_typed(sql, &[])? {
        let oid: i64 = row.try_get(0)?;
        let reaction = Reaction {
            name: row.try_get::<_, String>(1)?.into(),
            insert: row.try_get(2)?,
            update: row.try_get(3)?,
            delete: row.try_get(4)?,
        };
        found.entry(u32::try_from(oid).unwrap_or_default()).or_default().push(reaction);
    }
    Ok(found)
}
