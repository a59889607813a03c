//! What is done to rows of a table: inserted, updated, deleted. Each statement tells all sections of the table which of their ids
//! it changed, and a DELETE those of the rows that go with it.

use super::choose::{Chosen, Table};
use super::facts::{Feed, Reaction};
use super::job::{Job, Jobs};

/// Fields of a job: Postgres reads a relation of 1,600 columns, of which two are the job's number and all that was sent.
const MAX_FIELDS: usize = 1_598;

/// The table's jobs, and what was left out. `feed`: who tells of what these change unseen.
pub(super) fn of(table: &Table<'_>, chosen: &Chosen<'_>, feed: Feed) -> (Vec<Job>, Vec<String>) {
    let jobs = Jobs::of(table, chosen);
    let (mut made, mut left_out) = (Vec::new(), Vec::new());
    for (name, job) in [("INSERT", jobs.insert()), ("UPDATE", jobs.update()), ("DELETE", jobs.delete())] {
        if let Some(rule) = table.relation.rules.iter().find(|rule| reacts(rule, name)) {
            left_out
                .push(format!("{name}: the rule {} answers it, and no statement tells what that changes", rule.name));
            continue;
        }
        match job {
            Ok(Some(job)) if job.data.len() > MAX_FIELDS => {
                left_out.push(format!("{name}: {} fields, and Postgres reads {MAX_FIELDS} at most", job.data.len()))
            }
            Ok(Some(mut job)) if job.is_legal() => {
                job.notes.extend(unseen(&table.relation.triggers, name, feed));
                made.push(job);
            }
            Ok(Some(_)) => left_out.push(format!("{name}: no statement can be written of its names")),
            Ok(None) => {}
            Err(why) => left_out.push(format!("{name}: {why}")),
        }
    }
    let unpassed = table.relation.columns.iter().filter(|column| !column.is_generated && jobs.field(column).is_none());
    left_out.extend(unpassed.map(|column| {
        let why = if column.ty.is_open { "no payload has a" } else { "the role may not use the schema of" };
        format!("{}: no job brings it, for {why} {}", column.name, column.ty.sql)
    }));
    (made, left_out)
}

fn reacts(reaction: &Reaction, job: &str) -> bool {
    match job {
        "INSERT" => reaction.insert,
        "UPDATE" => reaction.update,
        _ => reaction.delete,
    }
}

/// What the job's triggers write is not in what its statement returns.
fn unseen(triggers: &[Reaction], job: &str, feed: Feed) -> Option<String> {
    let names: Vec<&str> =
        triggers.iter().filter(|trigger| reacts(trigger, job)).map(|trigger| &*trigger.name).collect();
    let who = match feed {
        Feed::Nobody => "With bear.feed off nobody tells",
        Feed::Wal | Feed::Outbox => "The change feed alone tells",
    };
    (!names.is_empty()).then(|| format!("{who} what triggers write in other tables meanwhile: {}", names.join(", ")))
}
