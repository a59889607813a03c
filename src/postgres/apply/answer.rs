//! What a job's statement says it did, by the names of its columns: n, id, section, error, result.
//!
//! A row that is wrong in itself (a value that cannot be read, an unknown section, an id of another type) is its job's fault:
//! other jobs' rows may be right. Columns that are wrong are wrong for every job, so they are the fault of the job type, and no
//! attempt of any job.

use rustc_hash::FxHashMap;
use tokio_postgres::types::Type;
use tokio_postgres::{Column, Row};

use crate::core::catalog::slots::share_slot;
use crate::core::jobs::batch::{Batch, Changed, Completed, JobError};
use crate::core::values::value::shorten;

use crate::postgres::values::cells::{is_readable, text_of, CellError};
use crate::postgres::values::json::append_compact;

const NOTHING: &str = "changed nothing: the statement returned no row for it, for example because no such row exists";
const AFFECTED_NOTHING: &str =
    "changed nothing: the statements affected no row, for example because no such row exists";

/// Which statement of a job it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobStatement {
    /// For any number of jobs: it must return which of them it applied.
    Set,
    /// For one job.
    Each,
}

/// What one job did, or why it failed.
pub(in crate::postgres) type Verdict = Result<(Completed, Vec<Changed>), JobError>;

/// Why an answer cannot be taken.
#[derive(Debug)]
pub(in crate::postgres) enum Unfit {
    /// So it is whichever job meets it.
    Type(JobError),
    /// A job of the statement is at fault, and nothing tells which.
    Job(JobError),
}

fn own_error(message: impl Into<Box<str>>) -> JobError {
    JobError { code: None, message: message.into() }
}

/// Gathers rows of one job.
#[derive(Default)]
pub(in crate::postgres) struct Gathered {
    completed: Completed,
    changed: Vec<Changed>,
    error: Option<JobError>,
}

impl Gathered {
    /// For a job whose statement must return a row for it.
    pub(in crate::postgres) fn verdict(self) -> Verdict {
        match self {
            Gathered { error: Some(error), .. } => Err(error),
            Gathered { completed, .. } if completed.rows == 0 => Err(own_error(NOTHING)),
            Gathered { completed, changed, .. } => Ok((completed, changed)),
        }
    }

    /// For statements run for one job: without rows, what they affected decides, and `otherwise` is what changed.
    pub(in crate::postgres) fn verdict_affected(mut self, affected: u64, otherwise: Changed) -> Verdict {
        if let Some(error) = self.error {
            return Err(error);
        }
        if self.completed.rows == 0 && affected == 0 {
            return Err(own_error(AFFECTED_NOTHING));
        }
        if self.changed.is_empty() {
            self.changed.push(otherwise);
        }
        Ok((self.completed, self.changed))
    }
}

/// What is wrong with the columns of a job's statement, and what would be right.
pub(in crate::postgres) fn check_columns(columns: &[Column], job: JobStatement) -> Result<(), String> {
    let of = |name: &str| columns.iter().find(|column| column.name() == name);
    match of("n") {
        None if job == JobStatement::Set => {
            return Err("it must return n of each job that it applied, as in RETURNING job.n; an INSERT joins it back"
                .to_owned())
        }
        Some(n) if job == JobStatement::Set && ![Type::INT2, Type::INT4, Type::INT8].contains(n.type_()) => {
            return Err(format!("n is {}; it must be job.n, an integer", n.type_()))
        }
        Some(_) | None => {}
    }
    for name in ["id", "section", "error", "result"] {
        if let Some(column) = of(name).filter(|column| !is_readable(column.type_())) {
            return Err(format!("{name} is {}, which is not read; write {name}::text", column.type_()));
        }
    }
    Ok(())
}

/// Which column is where.
pub(in crate::postgres) struct Layout {
    n: Option<usize>,
    id: Option<usize>,
    section: Option<usize>,
    error: Option<usize>,
    result: Option<usize>,
}

impl Layout {
    pub(in crate::postgres) fn of(columns: &[Column]) -> Layout {
        let at = |name: &str| columns.iter().position(|column| column.name() == name);
        Layout { n: at("n"), id: at("id"), section: at("section"), error: at("error"), result: at("result") }
    }

    /// Adds a row to what is known of its job, which is one of `section`.
    pub(in crate::postgres) fn add(
        &self,
        row: &Row,
        batch: &Batch,
        section: usize,
        gathered: &mut Gathered,
    ) -> Result<(), Unfit> {
        match self.read(row, batch, section, gathered) {
            Err(Unfit::Job(error)) => {
                gathered.error.get_or_insert(error);
                Ok(())
            }
            other => other,
        }
    }

    /// An [`Unfit::Job`] is of this row's job.
    fn read(&self, row: &Row, batch: &Batch, section: usize, gathered: &mut Gathered) -> Result<(), Unfit> {
        gathered.completed.rows = gathered.completed.rows.saturating_add(1);
        if let Some(error) = cell(row, self.error)? {
            return Err(Unfit::Job(own_error(error)));
        }
        if let Some(result) = cell(row, self.result)? {
            let at = self.result.unwrap_or_default();
            let json = compact(result, row.columns()[at].type_());
            let limit = batch.limits.max_result_bytes;
            if json.len() > limit {
                let error = own_error(format!("result has {} bytes; at most {limit} are kept", json.len()));
                gathered.error.get_or_insert(error);
            }
            gathered.completed.result = Some(json);
        }
        if self.id.is_none() && self.section.is_none() && self.n.is_none() {
            return Ok(());
        }
        let section = match cell(row, self.section)? {
            Some(name) => told_section(batch, section, &name).map_err(Unfit::Job)?,
            None => section,
        };
        // Without an id any row of the section may have changed.
        let id = cell(row, self.id)?;
        gathered.changed.push(changed(batch, section, id.as_deref()).map_err(Unfit::Job)?);
        Ok(())
    }
}

/// The section that a statement names, of a job of `own`.
fn told_section(batch: &Batch, own: usize, name: &str) -> Result<usize, JobError> {
    let Some(told) = batch.sections.iter().position(|section| *section.name == *name) else {
        return Err(own_error(format!(
            "the statement returned section '{}', which the catalog has not",
            shorten(name.as_bytes())
        )));
    };
    if batch.in_cluster && !share_slot(&batch.sections[own], &batch.sections[told]) {
        // What is cached of it may be at another node, which would go on serving it.
        return Err(own_error(format!(
            "the statement changes rows of section '{name}', whose keys are in another slot of the cluster; one group for \
             both would put them into one"
        )));
    }
    Ok(told)
}

/// A row of a section, its id in canonical form; any row where it is not told or the section has no ids.
pub(in crate::postgres) fn changed(batch: &Batch, section: usize, id: Option<&str>) -> Result<Changed, JobError> {
    let (Some(id), Some(ty)) = (id, batch.sections[section].id) else {
        return Ok(Changed { section, id: None });
    };
    let mut canonical = Vec::with_capacity(id.len());
    ty.write_canonical(id.as_bytes(), &mut canonical).map_err(|error| {
        own_error(format!(
            "the statement returned an id of section '{}' that is not {error}",
            batch.sections[section].name
        ))
    })?;
    let canonical =
        String::from_utf8(canonical).map_err(|_| own_error("the statement returned an id that is no text"))?;
    Ok(Changed { section, id: Some(canonical.into()) })
}

/// Rows of a statement for several jobs, by `n`; each of `tasks` has its place in what comes back.
pub(in crate::postgres) fn by_number(
    rows: &[Row],
    batch: &Batch,
    section: usize,
    tasks: &[usize],
) -> Result<Vec<Verdict>, Unfit> {
    let mut gathered: Vec<Gathered> = Vec::new();
    gathered.resize_with(tasks.len(), Gathered::default);
    if let Some(first) = rows.first() {
        let layout = Layout::of(first.columns());
        let Some(n_at) = layout.n else {
            return Err(Unfit::Type(own_error("the statement returned no column n, which tells the jobs apart")));
        };
        let place: FxHashMap<usize, usize> = tasks.iter().enumerate().map(|(place, task)| (*task, place)).collect();
        for row in rows {
            let n = cell(row, Some(n_at))?;
            let place = n.as_deref().and_then(|n| n.parse().ok()).and_then(|n: usize| place.get(&n));
            let Some(place) = place else {
                let n = n.as_deref().unwrap_or("NULL");
                let error = format!("the statement returned n = {}, which is no job's", shorten(n.as_bytes()));
                return Err(Unfit::Job(own_error(error)));
            };
            layout.add(row, batch, section, &mut gathered[*place])?;
        }
    }
    Ok(gathered.into_iter().map(Gathered::verdict).collect())
}

fn cell(row: &Row, at: Option<usize>) -> Result<Option<String>, Unfit> {
    let Some(at) = at else { return Ok(None) };
    text_of(row, at).map_err(|error| {
        let name = row.columns()[at].name();
        let text = own_error(format!("the statement returned a column '{name}' that cannot be read: {error}"));
        match error {
            CellError::Unreadable { .. } => Unfit::Type(text),
            CellError::NoText { .. } => Unfit::Job(text),
        }
    })
}

/// A result as compact JSON: JSON as it is, numbers and booleans plainly, all else as a string.
fn compact(text: String, ty: &Type) -> Box<str> {
    if [Type::JSON, Type::JSONB].contains(ty) {
        let mut out = Vec::with_capacity(text.len());
        append_compact(&mut out, text.as_bytes());
        return String::from_utf8(out).unwrap_or(text).into();
    }
    let plain =
        [Type::INT2, Type::INT4, Type::INT8, Type::NUMERIC, Type::FLOAT4, Type::FLOAT8, Type::BOOL].contains(ty);
    match plain && serde_json::from_str::<serde_json::Value>(&text).is_ok() {
        true => text.into(),
        false => serde_json::Value::String(text).to_string().into(),
    }
}
