//! BEAR.LIMITQUEUE: limits that go before the catalog's, in force at once and over restarts.

use crate::core::catalog::claim::Rate;
use crate::core::claims::set_limits::{Over, SetLimits, NAMES};
use crate::core::values::value::shorten;
use crate::keyspace::{claims as keys, jobs};
use crate::redis_api::{Context, KeyType};
use crate::server::Server;

/// What a queue's limits are to be.
pub enum LimitRequest<'a> {
    /// Those of the catalog.
    Default,
    /// At least one of the two, of the whole queue or of each value of a field. `Some(None)`: no limit.
    Set { by: Option<&'a [u8]>, concurrency: Option<Option<u32>>, rate: Option<Option<Rate>> },
}

impl Server {
    /// BEAR.LIMITQUEUE.
    pub fn limit_queue(&mut self, ctx: Context, space: &[u8], request: &LimitRequest) -> Result<(), String> {
        let name = self.work_named(ctx, space)?;
        let catalog = self.catalog.clone();
        let index = self.section_of(&name).ok_or("ERR no such section")?;
        let section = &catalog.sections[index];
        if !section.has_claimed_jobs() {
            return Err(format!(
                "ERR section '{}' has no jobs that workers claim, and limits are for these; BEAR.PAUSE stops a queue",
                section.name
            ));
        }
        let over = match request {
            LimitRequest::Default => None,
            LimitRequest::Set { by, concurrency, rate } => {
                let by = by.map(|field| {
                    let text = std::str::from_utf8(field)
                        .map_err(|_| format!("ERR BY: '{}' is no field of any job", shorten(field)))?;
                    section.check_limit_field(text).map_err(|error| format!("ERR BY: {error}"))?;
                    Ok::<_, String>(text)
                });
                Some((by.transpose()?, Over { concurrency: *concurrency, rate: *rate }))
            }
        };
        self.begin_to_enqueue(ctx, space, index)?;
        let prefix = self.prefix_of(&name);
        let name = self.open_work(ctx, &name, &prefix);
        let random = self.queues.random_id();
        let Some(space) = self.claims.spaces.get_mut(&name) else { return Err("ERR the queue cannot be read".into()) };
        if let Some(text) = &space.wrong_type {
            return Err(text.clone());
        }
        match over {
            None => space.set_limits = SetLimits::default(),
            Some((by, over)) => {
                if KeyType::of(ctx, &space.shared.id).is_none() {
                    // By its identity the key is known to be bear's.
                    jobs::write(ctx, c"SET", &[&space.shared.id, random.to_string().as_bytes()]);
                    self.keyspace.mark_queue(ctx, &space.keys.work);
                }
                space.set_limits.set(by, over);
            }
        }
        let fields = space.set_limits.fields();
        if fields.is_empty() {
            jobs::write(ctx, c"DEL", &[&space.keys.limits]);
        } else {
            let unset = NAMES.iter().filter(|name| !fields.iter().any(|(set, _)| set == *name));
            let unset: Vec<&[u8]> = unset.map(|name| name.as_bytes()).collect();
            jobs::remove_from(ctx, c"HDEL", &space.keys.limits, &unset);
            let fields: Vec<(&[u8], &[u8])> =
                fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
            let _ = keys::set_fields(ctx, &space.keys.limits, &fields);
        }
        let limits = space.set_limits.over(&section.limits);
        if limits.by == space.queue.limits().by {
            space.queue.set_limit(limits.all);
            self.claims_changed(&name);
        } else {
            // Which jobs share a value is in their payloads.
            self.reread_work(ctx, &name);
        }
        ctx.reply().ok();
        Ok(())
    }
}
