//! Rows of bear.left_out: jobs up to their queue's mark that have not been applied, and those that failed for good.
//!
//! Each operation is one statement for any number of jobs.

use rustc_hash::FxHashMap;
use serde_json::{json, Value};
use tokio_postgres::types::{ToSql, Type};

use crate::core::jobs::batch::{Batch, JobError, Lane};
use crate::core::jobs::job_id::JobId;

use super::writer::{Trouble, Writer};

/// A row of bear.left_out.
pub(in crate::postgres) enum LeftOut {
    Waiting,
    Failed { error: JobError, attempts: u32 },
}

/// Rows of bear.left_out by index of the space and job.
pub(in crate::postgres) type LeftOutRows = FxHashMap<(usize, JobId), LeftOut>;

/// Those of the jobs that have one; in the side lane they are locked.
pub(in crate::postgres) fn find(
    writer: &mut Writer,
    batch: &Batch,
    jobs: &[(usize, JobId)],
) -> Result<LeftOutRows, Trouble> {
    if jobs.is_empty() {
        return Ok(LeftOutRows::default());
    }
    let ids = Ids::of(batch, jobs.iter().copied());
    let lock = match batch.lane {
        Lane::Main => "",
        Lane::Side => " ORDER BY o.queue, o.epoch, o.ms, o.seq FOR UPDATE OF o",
    };
    let sql = format!(
        "SELECT k.place, o.failed::pg_catalog.text \
         FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2), pg_catalog.unnest($3), pg_catalog.unnest($4)) WITH ORDINALITY AS k(queue, epoch, ms, seq, place) \
         JOIN bear.left_out o ON o.queue OPERATOR(pg_catalog.=) k.queue AND o.epoch OPERATOR(pg_catalog.=) k.epoch \
         AND o.ms OPERATOR(pg_catalog.=) k.ms AND o.seq OPERATOR(pg_catalog.=) k.seq{lock}"
    );
    let mut found = LeftOutRows::default();
    for row in writer.query(&sql, &ids.params())? {
        let read = |error: tokio_postgres::Error| Trouble::Lost(error.to_string());
        let place: i64 = row.try_get(0).map_err(read)?;
        let failed: Option<String> = row.try_get(1).map_err(read)?;
        let at = usize::try_from(place - 1).ok().and_then(|at| jobs.get(at));
        if let Some(job) = at {
            found.insert(*job, failed.as_deref().map_or(LeftOut::Waiting, read_failed));
        }
    }
    Ok(found)
}

fn read_failed(text: &str) -> LeftOut {
    let value: Value = serde_json::from_str(text).unwrap_or_default();
    let text = |name: &str| value[name].as_str().map(Box::from);
    LeftOut::Failed {
        error: JobError { code: text("code"), message: text("message").unwrap_or_default() },
        attempts: value["attempts"].as_u64().and_then(|n| u32::try_from(n).ok()).unwrap_or_default(),
    }
}

fn failed_json(error: &JobError, attempts: u32) -> String {
    // Postgres takes no NUL.
    let message = error.message.replace('\0', "");
    json!({ "code": error.code, "message": message, "attempts": attempts }).to_string()
}

/// A job of a space of the batch; where it failed, the error and the attempts.
pub(in crate::postgres) type Kept<'a> = (usize, JobId, Option<(&'a JobError, u32)>);

/// Makes rows of jobs that were left out, or that failed, with the error and the attempts.
pub(in crate::postgres) fn keep(writer: &mut Writer, batch: &Batch, jobs: &[Kept]) -> Result<(), Trouble> {
    if jobs.is_empty() {
        return Ok(());
    }
    let ids = Ids::of(batch, jobs.iter().map(|(space, id, _)| (*space, *id)));
    let failed: Vec<_> =
        jobs.iter().map(|(_, _, failed)| failed.map(|(error, attempts)| failed_json(error, attempts))).collect();
    let mut params = ids.params();
    params.push((&failed, Type::TEXT_ARRAY));
    let sql = "INSERT INTO bear.left_out (queue, epoch, ms, seq, failed) \
        SELECT k.queue, k.epoch, k.ms, k.seq, k.failed::pg_catalog.jsonb \
        FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2), pg_catalog.unnest($3), pg_catalog.unnest($4), pg_catalog.unnest($5)) AS k(queue, epoch, ms, seq, failed) \
        ON CONFLICT (queue, epoch, ms, seq) DO UPDATE SET failed = excluded.failed, changed = pg_catalog.now()";
    writer.query(sql, &params).map(drop)
}

/// Removes the rows of jobs that are settled.
pub(in crate::postgres) fn remove(writer: &mut Writer, batch: &Batch, jobs: &[(usize, JobId)]) -> Result<(), Trouble> {
    if jobs.is_empty() {
        return Ok(());
    }
    let ids = Ids::of(batch, jobs.iter().copied());
    let sql = "DELETE FROM bear.left_out o USING ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2), pg_catalog.unnest($3), pg_catalog.unnest($4)) AS k(queue, epoch, ms, seq) \
        WHERE o.queue OPERATOR(pg_catalog.=) k.queue AND o.epoch OPERATOR(pg_catalog.=) k.epoch AND o.ms OPERATOR(pg_catalog.=) k.ms AND o.seq OPERATOR(pg_catalog.=) k.seq";
    writer.query(sql, &ids.params()).map(drop)
}

/// Ids of jobs as Postgres takes them: one array a column.
#[derive(Default)]
struct Ids {
    queues: Vec<i64>,
    epochs: Vec<i64>,
    ms: Vec<i64>,
    seq: Vec<i64>,
}

impl Ids {
    fn of(batch: &Batch, jobs: impl Iterator<Item = (usize, JobId)>) -> Ids {
        let mut ids = Ids::default();
        for (space, id) in jobs {
            let space = &batch.spaces[space];
            ids.queues.push(space.queue);
            ids.epochs.push(space.epoch);
            // The bits; Postgres has no unsigned numbers, and only equality is asked of it.
            ids.ms.push(id.ms as i64);
            ids.seq.push(id.seq as i64);
        }
        ids
    }

    fn params(&self) -> Vec<(&(dyn ToSql + Sync), Type)> {
        vec![
            (&self.queues, Type::INT8_ARRAY),
            (&self.epochs, Type::INT8_ARRAY),
            (&self.ms, Type::INT8_ARRAY),
            (&self.seq, Type::INT8_ARRAY),
        ]
    }
}
