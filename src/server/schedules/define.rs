//! BEAR.SCHEDULE and BEAR.UNSCHEDULE.

use super::look::Source;
use super::Id;
use crate::core::jobs::scheduled;
use crate::core::schedules::definition::{is_name, Definition, What, NAME_RULE};
use crate::core::schedules::state::State;
use crate::core::values::value::shorten;
use crate::keyspace::schedules::ScheduleKeys;
use crate::redis_api::Context;
use crate::server::cache::call::Words;
use crate::server::queues::wall_ms;
use crate::server::{errors, Server};

impl Server {
    /// BEAR.SCHEDULE: makes a schedule, or puts one in the place of another that a command made.
    pub fn schedule(&mut self, ctx: Context, space: &[u8], name: &[u8], definition: &Definition) -> Result<(), String> {
        let id = self.schedule_named(ctx, space, name)?;
        definition.check().map_err(errors::usage)?;
        let index = self.section_of(&id.space).ok_or("ERR no such section")?;
        let catalog = self.catalog.clone();
        let section = &catalog.sections[index];
        if section.schedule(&id.name).is_some() {
            return Err(of_catalog(&id));
        }
        match &definition.what {
            What::Job(job) => scheduled::check(section, job).map_err(errors::usage)?,
            What::Query(words) => {
                let words: Words = words.iter().map(|word| word.as_bytes()).collect();
                let bound = section.calls.bind(&words, self.config.max_call_bytes as usize).map_err(errors::usage)?;
                if section.queries[bound.query].computed().is_some() {
                    return Err(
                        "ERR that call is a value, which the application computes, and nobody can fetch it".into()
                    );
                }
            }
        }
        self.check_safe()?;
        let keys = ScheduleKeys::new(&self.prefix_of(&id.space));
        self.may_write_schedule(ctx, &id.space, &keys)?;
        let now_ms = wall_ms();
        let known = keys.state(ctx, &id.name);
        let state = State::of(definition, known.clone(), now_ms);
        let is_new = known.as_ref() != Some(&state);
        if is_new && definition.next_after(state.upto_ms).is_none() {
            return Err("ERR there is no tick from now on up to UNTIL".into());
        }
        keys.set_definition(ctx, &id.name, definition);
        if is_new {
            keys.set_state(ctx, &id.name, &state);
        }
        self.keyspace.mark_queue(ctx, &keys.definitions);
        self.schedules.trying.remove(&id);
        self.schedules.look_at(&id, now_ms);
        self.arm_soon();
        ctx.reply().ok();
        Ok(())
    }

    /// BEAR.UNSCHEDULE: replies with 1, or with 0 where there is none.
    pub fn unschedule(&mut self, ctx: Context, space: &[u8], name: &[u8]) -> Result<(), String> {
        let id = self.schedule_named(ctx, space, name)?;
        let keys = ScheduleKeys::new(&self.prefix_of(&id.space));
        self.may_write_schedule(ctx, &id.space, &keys)?;
        let is_of_catalog = matches!(self.definition_of(ctx, &keys, &id), Some(Ok((Source::Catalog, _))));
        let was_there = keys.forget_definition(ctx, &id.name);
        if is_of_catalog {
            // One that a command made before the catalog had it stands behind it.
            if !was_there {
                return Err(of_catalog(&id));
            }
        } else {
            keys.forget_state(ctx, &id.name);
            self.schedules.forget(&id);
        }
        ctx.reply().integer(was_there.into());
        Ok(())
    }

    fn schedule_named(&mut self, ctx: Context, space: &[u8], name: &[u8]) -> Result<Id, String> {
        let space_ref = self.space_here(ctx, space)?;
        self.check_owned(ctx, space_ref)?;
        match std::str::from_utf8(name) {
            Ok(text) if is_name(name) => Ok(Id { space: String::from_utf8_lossy(space).into(), name: text.into() }),
            _ => Err(format!("ERR {NAME_RULE}, got '{}'", shorten(name))),
        }
    }
}

fn of_catalog(id: &Id) -> String {
    format!("ERR '{}' is a schedule of the catalog, and is changed there; choose another name", id.name)
}
