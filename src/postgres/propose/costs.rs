//! What `pg_stat_statements` says of this database's statements: versions from 1.0 on, whatever a role may see of it.

use std::collections::BTreeSet;

use super::asked::ProposalError;
use super::describe::within;
use crate::postgres::connect::client::Client;
use crate::postgres::connect::failure::Failure;
use tokio_postgres::types::Type;

/// Statements that are looked at.
const MOST: i64 = 500;

/// Bytes of a text that is read; longer ones are none to be proposed.
const MAX_TEXT: i32 = 256 << 10;

/// A statement, and what it has cost since the statistics were reset.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Cost {
    pub(super) sql: String,
    pub(super) calls: i64,
    pub(super) total_ms: f64,
    pub(super) rows: i64,
}

#[derive(Debug, Default)]
pub(super) struct Costs {
    /// The most expensive first.
    pub(super) statements: Vec<Cost>,
    /// Of all statements of the server that the role may see the time of.
    pub(super) all_ms: f64,
    /// Statements of this database whose text the role may not see.
    pub(super) hidden: i64,
    pub(super) role: String,
}

const FOUND: &str = "SELECT n.nspname::pg_catalog.text, pg_catalog.quote_ident(n.nspname), \
        ARRAY(SELECT a.attname::pg_catalog.text FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c \
            ON c.oid OPERATOR(pg_catalog.=) a.attrelid WHERE c.relnamespace OPERATOR(pg_catalog.=) n.oid \
            AND c.relname OPERATOR(pg_catalog.=) 'pg_stat_statements' AND a.attnum OPERATOR(pg_catalog.>) 0) \
    FROM pg_catalog.pg_extension e JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) e.extnamespace \
    WHERE e.extname OPERATOR(pg_catalog.=) 'pg_stat_statements'";

/// What Postgres shows in place of a text.
const HIDDEN: &str = "<insufficient privilege>";

/// Within a transaction, in which names mean what is in `pg_catalog` from here on.
pub(super) fn costs(client: &mut Client) -> Result<Result<Costs, ProposalError>, Failure> {
    let refused = |reason: String| Ok(Err(ProposalError::Refused(reason)));
    client.batch_execute("SET LOCAL search_path = pg_catalog, pg_temp")?;
    let rows = client.query_typed(FOUND, &[])?;
    let Some(row) = rows.first() else {
        return refused(
            "the database has no pg_stat_statements: load it (shared_preload_libraries = 'pg_stat_statements'), and CREATE EXTENSION \
             pg_stat_statements"
                .to_owned(),
        );
    };
    let (schema, columns): (String, Vec<String>) = (row.try_get(1)?, row.try_get(2)?);
    let columns: BTreeSet<String> = columns.into_iter().collect();
    let read = read_statement(&schema, &columns);
    match within(client, |client| {
        let rows = client.query_typed(&read, &[(&HIDDEN, Type::TEXT), (&MAX_TEXT, Type::INT4), (&MOST, Type::INT8)])?;
        let mut costs = Costs::default();
        for row in &rows {
            costs.all_ms = row.try_get(4)?;
            costs.hidden = row.try_get(5)?;
            costs.role = row.try_get(6)?;
            if let Some(sql) = row.try_get(0)? {
                costs.statements.push(Cost {
                    sql,
                    calls: row.try_get(1)?,
                    total_ms: row.try_get(2)?,
                    rows: row.try_get(3)?,
                });
            }
        }
        Ok(costs)
    })? {
        Ok(costs) => Ok(Ok(costs)),
        Err(reason) => refused(format!("pg_stat_statements cannot be read: {reason}")),
    }
}

/// Statements that clients send (and not those within functions, whose time is counted with these), of all their users together.
fn read_statement(schema: &str, columns: &BTreeSet<String>) -> String {
    let total = if columns.contains("total_exec_time") { "total_exec_time" } else { "total_time" };
    let top = if columns.contains("toplevel") { "WHERE s.toplevel" } else { "" };
    format!(
        "WITH seen AS MATERIALIZED (SELECT s.query, s.calls, s.{total} AS total, s.rows, \
             s.dbid = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database()) AS is_own \
             FROM {schema}.pg_stat_statements s {top}), \
         own AS (SELECT left(query, $2 + 1) AS query, sum(calls)::int8 AS calls, sum(total)::float8 AS total, sum(rows)::int8 AS rows \
             FROM seen WHERE is_own AND query <> $1 GROUP BY 1 ORDER BY 3 DESC, 1 LIMIT $3) \
         SELECT own.query, own.calls, own.total, own.rows, coalesce((SELECT sum(total)::float8 FROM seen), 0), \
             (SELECT count(*) FROM seen WHERE is_own AND query = $1), quote_ident(current_user) \
         FROM (VALUES (1)) one LEFT JOIN own ON true ORDER BY own.total DESC, own.query"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_has_another_name_in_older_versions() {
        let columns = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<String>>();
        let new = read_statement("public", &columns(&["query", "total_exec_time", "toplevel"]));
        assert!(new.contains("s.total_exec_time AS total") && new.contains("WHERE s.toplevel"));
        let old = read_statement("public", &columns(&["query", "total_time"]));
        assert!(old.contains("s.total_time AS total") && !old.contains("toplevel"));
    }
}
