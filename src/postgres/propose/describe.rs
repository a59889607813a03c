//! A statement as Postgres understands it: the types of its parameters, its columns, and the relation that the rest is joined to.
//! It is prepared, and never run.

use tokio_postgres::types::Type;

use crate::core::propose::query::{Draft, Naming, ParameterType, ResultColumn};
use crate::postgres::check::reads;
use crate::postgres::check::trial::{open, prepare};
use crate::postgres::connect::client::Client;
use crate::postgres::connect::failure::Failure;
use crate::postgres::connect::session::Session;

/// Who asks for a proposal does not wait for a migration: a relation is locked soon, or it is said that it cannot be.
pub(super) const BRIEF_LOCKS: &str = "SET LOCAL lock_timeout = 1000";

/// Begins a transaction in which statements are described.
pub(super) fn begin(session: &mut Session) -> Result<(), Failure> {
    open(session)?;
    Ok(session.client.batch_execute(BRIEF_LOCKS)?)
}

/// What is known of a statement.
pub(super) struct Described {
    pub(super) types: Vec<ParameterType>,
    pub(super) naming: Naming,
    pub(super) main: Main,
}

/// The relation that a query is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Main {
    /// The topmost, where it is a partition.
    pub(super) oid: u32,
    pub(super) schema: String,
    pub(super) name: String,
    /// The column that is its primary key.
    pub(super) key: Option<String>,
}

/// Type names are asked for under the path that the statement has, and so are whole names of what all statements here use.
const TYPE_NAMES: &str = "SELECT pg_catalog.format_type(u.oid::pg_catalog.oid, -1) \
    FROM pg_catalog.unnest($1::pg_catalog.int8[]) WITH ORDINALITY u(oid, n) ORDER BY u.n";

const MAIN: &str = "SELECT c.oid::pg_catalog.int8, n.nspname::pg_catalog.text, c.relname::pg_catalog.text, \
        (SELECT a.attname::pg_catalog.text FROM pg_catalog.pg_index i JOIN pg_catalog.pg_attribute a \
            ON a.attrelid OPERATOR(pg_catalog.=) i.indrelid AND a.attnum OPERATOR(pg_catalog.=) i.indkey[0] \
            WHERE i.indrelid OPERATOR(pg_catalog.=) c.oid AND i.indisprimary AND i.indnkeyatts OPERATOR(pg_catalog.=) 1) \
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace \
    WHERE c.oid OPERATOR(pg_catalog.=) \
        (SELECT coalesce(pg_catalog.pg_partition_root(r.oid::pg_catalog.oid)::pg_catalog.oid, r.oid::pg_catalog.oid) \
         FROM (VALUES ($1::pg_catalog.int8)) r(oid))";

/// Within a transaction in which statements are tried; the inner error is a reason that Postgres gives, or bear.
pub(super) fn describe(client: &mut Client, draft: &Draft) -> Result<Result<Described, String>, Failure> {
    let as_it_is = match shape(client, &draft.question(&Naming::AsTheyAre))? {
        Ok(shape) => shape,
        Err(reason) => {
            let foreign = draft.foreign_parameter().map(|parameter| {
                format!("{reason}; parameters are written $1 or {{name}}, and this has '{parameter}'")
            });
            return Ok(Err(foreign.or_else(|| untyped(&draft.parameters(), &reason)).unwrap_or(reason)));
        }
    };
    let mut naming = draft.naming(&as_it_is.columns);
    if let Naming::Aliased(aliases) = &naming {
        let is_so = |shape: &Shape| shape.columns.iter().map(|column| &column.name).eq(&aliases.names);
        if !shape(client, &draft.question(&naming))?.is_ok_and(|shape| is_so(&shape)) {
            naming = Naming::Wrapped(aliases.names.clone());
        }
    }
    let Some(main) = main_relation(client, draft)? else {
        return Ok(
            Err("the statement names no table in FROM; there is nothing whose changes could be told".to_owned()),
        );
    };
    let types = as_it_is.types.into_iter().zip(type_names(client, &as_it_is.oids)?);
    let types = types.map(|(oid, name)| ParameterType { oid, name }).collect();
    Ok(Ok(Described { types, naming, main }))
}

/// Of a parameter that is compared with nothing, drivers say the type.
fn untyped(parameters: &[String], reason: &str) -> Option<String> {
    let (_, rest) = reason.split_once("could not determine data type of parameter $")?;
    let number: String = rest.chars().take_while(char::is_ascii_digit).collect();
    let parameter = parameters.get(number.parse::<usize>().ok()?.checked_sub(1)?)?;
    Some(format!("{reason}; write its type where it is compared with NULL alone, such as {parameter}::int IS NULL"))
}

struct Shape {
    types: Vec<u32>,
    oids: Vec<i64>,
    columns: Vec<ResultColumn>,
}

fn shape(client: &mut Client, sql: &str) -> Result<Result<Shape, String>, Failure> {
    within(client, |client| {
        // It says where in the statement the fault is.
        prepare(client, sql, &[])?;
        client.execute_typed("DEALLOCATE bear_check", &[])?;
        let prepared = client.prepare_typed(sql, &[])?;
        let types: Vec<u32> = prepared.params().iter().map(Type::oid).collect();
        let column = |column: &tokio_postgres::Column| ResultColumn {
            name: column.name().to_owned(),
            origin: column.table_oid().zip(column.column_id()),
        };
        let columns = prepared.columns().iter().map(column).collect();
        Ok(Shape { oids: types.iter().map(|oid| i64::from(*oid)).collect(), types, columns })
    })
}

fn type_names(client: &mut Client, oids: &[i64]) -> Result<Vec<String>, Failure> {
    let rows = client.query_typed(TYPE_NAMES, &[(&oids, Type::INT8_ARRAY)])?;
    Ok(rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?)
}

/// The first that there is of the relations that the statement names.
fn main_relation(client: &mut Client, draft: &Draft) -> Result<Option<Main>, Failure> {
    let found = reads::meant(client, &draft.relations())?;
    let Some(oid) = found.into_iter().flatten().next() else { return Ok(None) };
    let rows = client.query_typed(MAIN, &[(&i64::from(oid), Type::INT8)])?;
    let Some(row) = rows.first() else { return Ok(None) };
    let oid: i64 = row.try_get(0)?;
    let oid = u32::try_from(oid).unwrap_or_default();
    Ok(Some(Main { oid, schema: row.try_get(1)?, name: row.try_get(2)?, key: row.try_get(3)? }))
}

/// What fails, fails for itself alone, and nothing stays of it.
pub(super) fn within<T>(
    client: &mut Client,
    what: impl FnOnce(&mut Client) -> Result<T, Failure>,
) -> Result<Result<T, String>, Failure> {
    client.batch_execute("SAVEPOINT bear_propose")?;
    let found = match what(client) {
        Ok(found) => Ok(found),
        Err(Failure::Fetch(error)) => Err(error.to_string()),
        Err(broken) => return Err(broken),
    };
    // Its locks go, too: until then nobody may alter the relations.
    client.batch_execute("ROLLBACK TO SAVEPOINT bear_propose; RELEASE SAVEPOINT bear_propose")?;
    Ok(found)
}
