//! A statement tried without running it: it is prepared, and perhaps planned, in a transaction that is rolled back.

use tokio_postgres::error::{DbError, ErrorPosition};
use tokio_postgres::types::Type;

use crate::core::cache::fetch::FetchError;
use crate::core::catalog::fetch_plan::FetchPlan;
use crate::postgres::connect::client::{Client, ClientError};
use crate::postgres::connect::columns::learn;
use crate::postgres::connect::error_text::message;
use crate::postgres::connect::failure::Failure;
use crate::postgres::connect::session::{Session, BEGIN_READ};
use crate::postgres::connect::shape::Shape;
use crate::postgres::values::params::declared_types;

/// Prepares it as `bear_check`.
pub(in crate::postgres) fn prepare(client: &mut Client, sql: &str, types: &[Type]) -> Result<(), Failure> {
    let types: Vec<String> = types.iter().map(|ty| format!("pg_catalog.{}", ty.name())).collect();
    let types = if types.is_empty() { String::new() } else { format!("({})", types.join(", ")) };
    let head = format!("PREPARE bear_check{types} AS ");
    match client.execute_typed(&format!("{head}{sql}\n"), &[]) {
        Ok(_) => Ok(()),
        Err(ClientError::Driver(error)) => {
            Err(match (error.as_db_error().map(|db| located(db, sql, head.chars().count())), Failure::from(error)) {
                (Some(message), Failure::Fetch(FetchError::Statement { sqlstate, .. })) => {
                    Failure::Fetch(FetchError::Statement { sqlstate, message })
                }
                (_, failure) => failure,
            })
        }
        Err(error) => Err(error.into()),
    }
}

/// The message with the piece of the statement that it is about.
fn located(db: &DbError, sql: &str, head: usize) -> String {
    let text = message(db);
    match db.position() {
        Some(ErrorPosition::Original(at)) => {
            let from = (*at as usize).saturating_sub(head + 1);
            let piece: String = sql.chars().skip(from).take(32).collect();
            format!("{text}, near: {}", piece.replace('\n', " "))
        }
        _ => text,
    }
}

/// Has what was prepared planned.
pub(in crate::postgres) fn explain(client: &mut Client, params: usize) -> Result<(), Failure> {
    let nulls = match params {
        0 => String::new(),
        params => format!("({})", vec!["NULL"; params].join(", ")),
    };
    client.simple_query(&format!("EXPLAIN (COSTS OFF) EXECUTE bear_check{nulls}"))?;
    Ok(())
}

/// Begins a transaction in which statements are tried.
pub(in crate::postgres) fn open(session: &mut Session) -> Result<(), Failure> {
    let settings = session.pinned_locally();
    // A generic plan, for one made for NULLs would leave out what they rule out.
    session.open(&format!("{BEGIN_READ} {settings} SET LOCAL plan_cache_mode = force_generic_plan"))
}

/// Prepares a query as it is sent, wrapped, as `bear_check`; the types of its parameters.
pub(super) fn shape(client: &mut Client, plan: &FetchPlan) -> Result<Vec<Type>, Failure> {
    let types = declared_types(&plan.params);
    prepare(client, &plan.sql, &types)?;
    let columns = learn(client, &plan.sql, &types)?;
    let shape = Shape::new(plan, &columns).map_err(Failure::shape)?;
    // The wrapped query may fail where the plain one does not: an id without a cast to text, say.
    client.execute_typed("DEALLOCATE bear_check", &[])?;
    prepare(client, &shape.sql, &types)?;
    Ok(types)
}
