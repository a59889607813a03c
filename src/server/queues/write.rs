//! A job enters the stream of its queue. Its id is greater than any of the queue before it, of claimed jobs too; that of a job of the
//! inbox tells its row, and no other does.

use std::time::Duration;

use super::space::{Extras, SpaceQueue};
use super::{wall_ms, Queues};
use crate::core::jobs::job_id::JobId;
use crate::core::jobs::record::{JobRecord, Numbers};
use crate::keyspace::{claims as keys, inbox, jobs};
use crate::redis_api::{self, Context, WrongType};

impl Queues {
    /// Adds a job to the stream of a space, with an id above `least`; of a row of the inbox, if it comes from one.
    pub(super) fn write_job(
        &mut self,
        ctx: Context,
        name: &str,
        prefix: &[u8],
        record: &JobRecord,
        least: Option<JobId>,
        row: Option<u64>,
    ) -> Result<JobId, String> {
        if self.space(ctx, name, prefix).id.is_none() {
            self.name_queue(ctx, name, prefix);
        }
        let mut record = *record;
        record.epoch = self.epoch;
        let id = match row {
            Some(row) => {
                let space = self.space(ctx, name, prefix);
                let newest = space.newest.max(least.unwrap_or(JobId::ZERO));
                let id = JobId::of_inbox(row, newest, wall_ms(), record.options.due_ms.is_some());
                let id = add_with_id(ctx, space, id, &record)?.then_some(id);
                // Or else the stream has had greater ones, of which none is left: the clock has stepped back since.
                id.map_or_else(|| self.write_with_next_id(ctx, name, prefix, &mut record, least, Some(row)), Ok)?
            }
            None => self.write_with_next_id(ctx, name, prefix, &mut record, least, None)?,
        };
        let space = self.space(ctx, name, prefix);
        if let Some(row) = row {
            inbox::take(ctx, &space.keys, row, id, false);
        }
        space.newest = id;
        space.jobs += 1;
        space.bytes += record.cost();
        if let Some(extras) = Extras::of(&record.options) {
            space.extras.insert(id, extras);
        }
        if let Some(due) = record.options.due_ms {
            let due = due.to_string();
            jobs::write(ctx, c"ZADD", &[&space.keys.delayed, due.as_bytes(), id.to_string().as_bytes()]);
            space.timed += 1;
        }
        if space.fresh.replace(id).is_none() {
            self.fresh.push(name.into());
            redis_api::arm(Duration::ZERO);
        }
        self.counts.count(name, |counts| counts.enqueued += 1);
        Ok(id)
    }

    /// With an id that the server chooses, or, where that will not do, with one just above it.
    fn write_with_next_id(
        &mut self,
        ctx: Context,
        name: &str,
        prefix: &[u8],
        record: &mut JobRecord,
        least: Option<JobId>,
        row: Option<u64>,
    ) -> Result<JobId, String> {
        let space = self.space(ctx, name, prefix);
        let mut id = jobs::add(ctx, &space.keys.jobs, record).map_err(wrong_type)?.ok_or(FULL)?;
        if id <= space.newest {
            // Somebody deleted the stream, and the clock stands where it stood: within an epoch no id may come twice.
            let keys = &space.keys.jobs;
            jobs::delete(ctx, keys, &[id]);
            self.epoch = self.random_id();
            record.epoch = self.epoch;
            let space = self.space(ctx, name, prefix);
            id = jobs::add(ctx, &space.keys.jobs, record).map_err(wrong_type)?.ok_or(FULL)?;
        }
        let space = self.space(ctx, name, prefix);
        let before = id.max(least.unwrap_or(JobId::ZERO));
        let wanted = match row {
            Some(row) => JobId::of_inbox(row, before, before.ms, record.options.due_ms.is_some()),
            // A claimed job of the space, or one of the inbox, was enqueued in this millisecond: no id may come twice, and what
            // is of no row must not look as if it were.
            None if least.is_some_and(|least| least >= id) || id.inbox().is_some() => before.plain_after(),
            None => return Ok(id),
        };
        let is_added = add_with_id(ctx, space, wanted, record)?;
        jobs::delete(ctx, &space.keys.jobs, &[id]);
        if is_added {
            Ok(wanted)
        } else {
            Err(FULL.into())
        }
    }

    /// Gives a new queue its identity.
    fn name_queue(&mut self, ctx: Context, name: &str, prefix: &[u8]) {
        let id = self.random_id();
        let space = self.space(ctx, name, prefix);
        jobs::write(ctx, c"SET", &[&space.keys.id, id.to_string().as_bytes()]);
        space.id = Some(id);
    }
}

const FULL: &str = "ERR the stream of the queue has the last id that there can be";

/// False where the stream has had a greater one.
fn add_with_id(ctx: Context, space: &SpaceQueue, id: JobId, record: &JobRecord) -> Result<bool, String> {
    let mut numbers = Numbers::default();
    let fields = record.fields(&mut numbers);
    keys::add_with_id(ctx, &space.keys.jobs, id, &fields).map_err(wrong_type)
}

fn wrong_type(_: WrongType) -> String {
    "WRONGTYPE the key of the queue holds another type than a stream; rename or delete it".into()
}
