//! What is done to rows of a table: inserted, updated, deleted. Each statement tells all sections of the table which of their ids
//! it changed, and a DELETE those of the rows that go with it.

use super::choose::{Chosen, Table};
use super::job::{Job, Jobs};

/// The table's jobs, and what was left out.
pub(super) fn of(table: &Table<'_>, chosen: &Chosen<'_>) -> (Vec<Job>, Vec<String>) {
    let jobs = Jobs::of(table, chosen);
    let (mut made, mut left_out) = (Vec::new(), Vec::new());
    for (name, job) in [("INSERT", jobs.insert()), ("UPDATE", jobs.update()), ("DELETE", jobs.delete())] {
        match job {
            Ok(Some(job)) if job.is_legal() => made.push(job),
            Ok(Some(_)) => left_out.push(format!("{name}: no statement can be written of its names")),
            Ok(None) => {}
            Err(why) => left_out.push(format!("{name}: {why}")),
        }
    }
    (made, left_out)
}
