//! Temporary stand-in.
use tokio_postgres::types::Type;
use tokio_postgres::Row;

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct CellError(String);

pub(super) fn text_of(row: &Row, at: usize) -> Result<Option<String>, CellError> {
    let fail = |e: tokio_postgres::Error| CellError(e.to_string());
    Ok(match *row.columns()[at].type_() {
        Type::INT8 => row.try_get::<_, Option<i64>>(at).map_err(fail)?.map(|v| v.to_string()),
        Type::INT4 => row.try_get::<_, Option<i32>>(at).map_err(fail)?.map(|v| v.to_string()),
        Type::TEXT => row.try_get::<_, Option<String>>(at).map_err(fail)?,
        ref other => return Err(CellError(format!("type {other}"))),
    })
}
