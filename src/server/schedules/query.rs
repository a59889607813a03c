//! A tick has its query fetched, for nobody: read after the tick, and stored.
//!
//! The tick is dealt with when its result is there. Until then another process, or another master, would fetch it again, which is
//! right: what this one has fetched is not in its cache.

use std::rc::Rc;

use super::look::Refused;
use super::Id;
use crate::core::schedules::definition::What;
use crate::core::schedules::state::{Outcome, State};
use crate::keyspace::schedules::ScheduleKeys;
use crate::redis_api::Context;
use crate::server::cache::call::{Call, Words};
use crate::server::queues::wall_ms;
use crate::server::Server;

/// What came of a fetch.
#[derive(Debug, Clone)]
pub enum ScheduledFetch {
    Stored,
    /// It was answered, and may not be stored: too large, too short a life, no memory.
    NotStored,
    /// An invalidation came between.
    Struck,
    Failed(String),
}

impl Server {
    /// Sends the fetch of a tick.
    pub(super) fn fetch_scheduled(
        &mut self,
        ctx: Context,
        id: &Id,
        words: &[Box<str>],
        tick_ms: u64,
    ) -> Result<(), Refused> {
        self.begin_fetching().map_err(Refused::Later)?;
        let space = self.space(ctx, id.space.as_bytes()).map_err(Refused::Later)?;
        let words: Words = words.iter().map(|word| word.as_bytes()).collect();
        let call = Call::new(self, id.space.as_bytes(), space, &words).map_err(Refused::Never)?;
        if call.computed().is_some() {
            // By another catalog, since.
            let text = "ERR that call is a value, which the application computes, and nobody can fetch it";
            return Err(Refused::Never(text.into()));
        }
        let limit = self.config.max_fills as usize;
        if self.fetches_running() >= limit {
            let text = format!("OVERLOADED {limit} fetches are under way (bear.max-fills)");
            return Err(Refused::Later(text));
        }
        // The fetch under way may have read before the tick.
        self.fills.strike(&call.key);
        let call = Rc::new(call);
        let Some(ticket) = self.fills.refresh(&call.key, call.clone()) else {
            return Err(Refused::Later("OVERLOADED fetches of this call are under way".into()));
        };
        self.stats.section(space.section).refreshes += 1;
        self.schedules.fetching.insert(ticket, (id.clone(), tick_ms));
        self.send(ticket, &call);
        Ok(())
    }

    /// A fetch has ended that may be of a schedule.
    pub(in crate::server) fn scheduled_fetch_ended(&mut self, ticket: u64, fetched: impl FnOnce() -> ScheduledFetch) {
        if let Some((id, tick_ms)) = self.schedules.fetching.remove(&ticket) {
            self.schedules.fetched.push_back((id, tick_ms, fetched()));
        }
    }

    /// Writes what came of a fetch.
    pub(super) fn note_scheduled_fetch(&mut self, ctx: Context, id: &Id, tick_ms: u64, fetched: ScheduledFetch) {
        let keys = ScheduleKeys::new(&self.prefix_of(&id.space));
        let outcome = match fetched {
            ScheduledFetch::Stored => Outcome::Fetched,
            ScheduledFetch::NotStored => Outcome::Error("ERR the result was fetched, and may not be stored".into()),
            ScheduledFetch::Struck => return self.try_later(id, tick_ms, "ERR it was invalidated meanwhile".into()),
            ScheduledFetch::Failed(error) => return self.try_later(id, tick_ms, error),
        };
        if let Err(error) = self.may_write_schedule(ctx, &id.space, &keys) {
            return self.try_later(id, tick_ms, error);
        }
        match self.definition_of(ctx, &keys, id) {
            Some(Ok((_, definition))) if matches!(definition.what, What::Query(_)) => {
                let mut state = State::of(&definition, keys.state(ctx, &id.name), wall_ms());
                // Another rule, meanwhile, has begun anew.
                if state.upto_ms < tick_ms {
                    state.carried_out(tick_ms, Some(outcome));
                    return self.write_tick(ctx, id, &keys, &definition, &state);
                }
                self.schedules.look_at(id, wall_ms());
            }
            _ => self.schedules.look_at(id, wall_ms()),
        }
    }
}
