//! Present values of rows: a section's `row` statement for rows that have changed.

use std::sync::Arc;
use std::time::Instant;

use tokio_postgres::types::Type;
use tokio_postgres::Row;

use crate::core::cache::fetch::FetchError;
use crate::core::catalog::Section;
use crate::core::changes::image::Image;
use crate::core::values::value::Value;

use crate::postgres::connect::failure::Failure;
use crate::postgres::connect::pool::Pool;
use crate::postgres::values::params::{declared_type, TextParam};

/// More rows are not asked for at once: where so many change, all of the section counts as changed.
pub const MAX_ROWS: usize = 5_000;

/// One execution of a `row` statement.
pub(in crate::postgres) struct RowRead {
    pub(in crate::postgres) sql: String,
    pub(in crate::postgres) types: Vec<Type>,
    /// In Postgres' text format.
    pub(in crate::postgres) params: Vec<Option<String>>,
}

impl RowRead {
    /// None where the section has no such statement, or it cannot tell of so many rows.
    pub(in crate::postgres) fn new<'i>(
        section: &Section,
        ids: impl ExactSizeIterator<Item = &'i str>,
        tenant: Option<&str>,
    ) -> Option<RowRead> {
        let row = section.row.as_ref()?;
        if ids.len() > MAX_ROWS {
            return None;
        }
        let ids = Value::Array(ids.map(Into::into).collect()).to_postgres_text();
        let params = row.params.iter().map(|name| match &**name {
            "tenant" => tenant.map(str::to_owned),
            _ => ids.clone(),
        });
        let types = section.row_param_types(row).into_iter().map(|ty| ty.map_or(Type::UNKNOWN, declared_type));
        Some(RowRead {
            // A comment at the statement's end must not swallow the rest. With a star, for a bare name would mean a
            // column of that name where there is one.
            sql: format!("SELECT pg_catalog.row_to_json(r.*)::pg_catalog.text FROM ({}\n) r", row.text),
            types: types.collect(),
            params: params.collect(),
        })
    }
}

/// What the statement returned; None where it makes no sense, which counts as any values.
pub(in crate::postgres) fn images(rows: &[Row]) -> Option<Vec<Image>> {
    rows.iter().map(|row| Image::from_json(row.try_get::<_, &str>(0).ok()?.as_bytes()).ok()).collect()
}

/// Asks for the present values of some rows of a section.
#[derive(Debug, Clone)]
pub struct PresentRequest {
    /// The caller's own number, brought back with the outcome.
    pub ticket: u64,
    pub sections: Arc<[Section]>,
    /// Index into `sections`.
    pub section: usize,
    pub tenant: Option<Box<str>>,
    /// In canonical form.
    pub ids: Vec<Box<str>>,
    pub deadline: Instant,
}

impl Pool {
    /// What the rows look like in a snapshot that is taken now; rows that are not there have no image.
    pub fn present(&self, request: &PresentRequest) -> Result<Vec<Image>, FetchError> {
        let section = &request.sections[request.section];
        let ids = request.ids.iter().map(|id| &**id);
        let Some(read) = RowRead::new(section, ids, request.tenant.as_deref()) else {
            let reason = format!("'{}' has no row statement for so many rows", section.name);
            return Err(FetchError::Shape(reason));
        };
        let (_, result) = self.with_session(request.deadline, 0, |numbered| {
            let session = &mut numbered.session;
            let prepares = session.settings.prepare;
            if !prepares {
                session.begin()?;
            }
            session.limit_time(request.deadline.saturating_duration_since(Instant::now()))?;
            let values = read.params.iter().map(|param| TextParam(param.as_deref()));
            let result = session.client.query_typed_all(&read.sql, values.zip(read.types.iter().cloned()));
            let (rows, _) = result.map_err(Failure::from)?;
            session.roll_back()?;
            images(&rows).ok_or_else(|| Failure::shape("the row statement's result makes no sense"))
        });
        result
    }
}
