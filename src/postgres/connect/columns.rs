//! The columns of a query: names and types, learned without running it and without a named statement.
//!
//! The driver would look up types that it does not know (enums, domains, composites) through named statements of its
//! own, which a transaction-mode pooler loses; so Postgres is asked for what matters in types that the driver knows.
//! The query is joined on false, so it is planned but never run.

use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::Row;

use super::client::{Client, ClientError};
use super::failure::Failure;
use crate::postgres::values::params::TextParam;

/// What the values of a type are, as far as ids care.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::postgres) enum Family {
    Number,
    Bool,
    Uuid,
    Date,
    Timestamp,
    TimestampTz,
    /// Text and everything else that shows as text.
    Other,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::postgres) struct Column {
    pub(in crate::postgres) name: String,
    /// As Postgres shows it, for messages.
    pub(in crate::postgres) type_name: String,
    /// Of the scalar, or of the elements of an array.
    pub(in crate::postgres) family: Family,
    pub(in crate::postgres) array: bool,
    /// Postgres' JSON of it has no whitespace outside strings.
    pub(in crate::postgres) compact: bool,
}

/// Asks Postgres for the columns of `sql`, whose parameters have the types `params`.
pub(in crate::postgres) fn learn(client: &mut Client, sql: &str, params: &[Type]) -> Result<Vec<Column>, Failure> {
    let query = format!(
        "SELECT ARRAY(SELECT pg_catalog.json_object_keys(pg_catalog.row_to_json(r.*)))::pg_catalog.text[] \
         FROM (SELECT q.* FROM (VALUES (1)) x LEFT JOIN ({sql}\n) q ON false) r"
    );
    let row = with_nulls(client, &query, params)?
        .pop()
        .ok_or_else(|| Failure::Broken("no answer about columns".to_owned()))?;
    let names: Vec<String> = row.try_get(0)?;
    if let Some(twice) = names.iter().enumerate().find_map(|(i, name)| names[..i].contains(name).then_some(name)) {
        return Err(Failure::shape(format!("two columns are named '{twice}'; give each a name of its own with AS")));
    }
    if names.is_empty() {
        return Err(Failure::shape("the query returns no columns"));
    }
    let types: Vec<String> =
        names.iter().map(|name| format!("pg_catalog.pg_typeof(q.{})::pg_catalog.oid", quote_name(name))).collect();
    // Beside the query and not around it, for what WITH names would be taken for the query's own tables.
    let query = format!(
        "SELECT pg_catalog.format_type(b.declared, NULL), t.typcategory OPERATOR(pg_catalog.=) 'A', coalesce(e.oid, t.oid)::pg_catalog.int8, \
           coalesce(e.typtype, t.typtype) OPERATOR(pg_catalog.=) 'e' OR (coalesce(e.oid, t.oid) OPERATOR(pg_catalog.<) 16384::pg_catalog.oid \
             AND coalesce(e.typtype, t.typtype) OPERATOR(pg_catalog.=) ANY ('{{b,r}}'::pg_catalog.\"char\"[])) \
         FROM (SELECT ARRAY[{}] FROM (VALUES (1)) x LEFT JOIN ({sql}\n) q ON false) s(oids) CROSS JOIN LATERAL (\
           WITH RECURSIVE based(n, declared, base) AS (\
             SELECT u.n, u.o, u.o FROM pg_catalog.unnest(s.oids) WITH ORDINALITY u(o, n) \
             UNION ALL SELECT b.n, b.declared, t.typbasetype FROM based b \
               JOIN pg_catalog.pg_type t ON t.oid OPERATOR(pg_catalog.=) b.base WHERE t.typtype OPERATOR(pg_catalog.=) 'd') \
           SELECT based.n, based.declared, based.base FROM based) b \
         JOIN pg_catalog.pg_type t ON t.oid OPERATOR(pg_catalog.=) b.base \
         LEFT JOIN pg_catalog.pg_type e ON e.oid OPERATOR(pg_catalog.=) t.typelem AND t.typcategory OPERATOR(pg_catalog.=) 'A' \
         WHERE t.typtype OPERATOR(pg_catalog.<>) 'd' ORDER BY b.n",
        types.join(", ")
    );
    let rows = with_nulls(client, &query, params)?;
    names.into_iter().zip(&rows).map(|(name, row)| column(name, row)).collect()
}

fn column(name: String, row: &Row) -> Result<Column, Failure> {
    let oid: i64 = row.try_get(2)?;
    let ty = u32::try_from(oid).ok().and_then(Type::from_oid);
    let compact: bool = row.try_get(3)?;
    let family = match &ty {
        Some(ty)
            if [Type::INT2, Type::INT4, Type::INT8, Type::OID, Type::NUMERIC, Type::FLOAT4, Type::FLOAT8]
                .contains(ty) =>
        {
            Family::Number
        }
        Some(ty) if *ty == Type::BOOL => Family::Bool,
        Some(ty) if *ty == Type::UUID => Family::Uuid,
        Some(ty) if *ty == Type::DATE => Family::Date,
        Some(ty) if *ty == Type::TIMESTAMP => Family::Timestamp,
        Some(ty) if *ty == Type::TIMESTAMPTZ => Family::TimestampTz,
        _ => Family::Other,
    };
    let json = ty.is_some_and(|ty| ty == Type::JSON || ty == Type::JSONB);
    Ok(Column { name, type_name: row.try_get(0)?, family, array: row.try_get(1)?, compact: compact && !json })
}

fn with_nulls(client: &mut Client, query: &str, params: &[Type]) -> Result<Vec<Row>, ClientError> {
    const NULL: &(dyn ToSql + Sync) = &TextParam(None);
    let params: Vec<_> = params.iter().map(|ty| (NULL, ty.clone())).collect();
    client.query_typed(query, &params)
}

/// A name in double quotes.
pub(in crate::postgres) fn quote_name(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
