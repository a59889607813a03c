//! One schedule is looked at: what is to be done for it now is done, and it is looked at again when there is something to do.

use super::{Id, Trying};
use crate::core::schedules::definition::{Definition, What};
use crate::core::schedules::due::Due;
use crate::core::schedules::state::{Outcome, State};
use crate::keyspace::schedules::ScheduleKeys;
use crate::keyspace::slots;
use crate::redis_api::Context;
use crate::server::queues::wall_ms;
use crate::server::Server;

/// A tick that is refused is tried again after this, and at most after that.
const TRY_AGAIN_MS: (u64, u64) = (1_000, 30_000);

/// Keys in slots of other nodes may come here.
const ELSEWHERE_MS: u64 = 10_000;

/// After this a fetch whose time is up must have ended.
const LOST_MS: u64 = 5_000;

/// Why a tick was not carried out.
pub(super) enum Refused {
    /// It may be carried out later.
    Later(String),
    /// It would be the same again: this is what came of the tick.
    Never(String),
}

/// Who made a schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    Catalog,
    Command,
}

impl Server {
    /// Does for a schedule what is to be done now.
    pub(super) fn look_at_schedule(&mut self, ctx: Context, id: &Id) {
        let keys = ScheduleKeys::new(&self.prefix_of(&id.space));
        if !slots::seems_here(&self.prefix_of(&id.space)) {
            return self.schedules.look_at(id, wall_ms() + ELSEWHERE_MS);
        }
        let definition = match self.definition_of(ctx, &keys, id) {
            Some(Ok((_, definition))) => definition,
            Some(Err(error)) => {
                log::warn!("schedule '{}' of '{}' cannot be read: {error}", id.name, id.space);
                return self.schedules.forget(id);
            }
            None => return self.schedules.forget(id),
        };
        let now_ms = wall_ms();
        let known = keys.state(ctx, &id.name);
        let mut state = State::of(&definition, known.clone(), now_ms);
        let tried_ms = self.schedules.trying.get(id).map(|trying| trying.tick_ms);
        match Due::now(&definition, &state, tried_ms, now_ms) {
            Due::Nothing(next) => {
                if known.as_ref() != Some(&state) {
                    // From when on its ticks count is known over a restart.
                    if let Err(error) = self.may_write_schedule(ctx, &id.space, &keys) {
                        return self.try_later(id, next.unwrap_or(now_ms), error);
                    }
                    keys.set_state(ctx, &id.name, &state);
                }
                self.schedules.trying.remove(id);
                match next {
                    Some(next) => self.schedules.look_at(id, next),
                    None => self.schedules.forget(id),
                }
            }
            Due::PassOver(upto_ms) => match self.may_write_schedule(ctx, &id.space, &keys) {
                Ok(()) => {
                    state.passed_over(upto_ms);
                    keys.set_state(ctx, &id.name, &state);
                    self.schedules.trying.remove(id);
                    self.schedules.figures.passed_over += 1;
                    self.schedules.look_at(id, now_ms);
                }
                Err(error) => self.try_later(id, upto_ms, error),
            },
            Due::Tick(tick_ms) => self.carry_out(ctx, id, &keys, &definition, state, tick_ms),
        }
    }

    fn carry_out(
        &mut self,
        ctx: Context,
        id: &Id,
        keys: &ScheduleKeys,
        definition: &Definition,
        mut state: State,
        tick_ms: u64,
    ) {
        if let Err(error) = self.may_write_schedule(ctx, &id.space, keys) {
            return self.try_later(id, tick_ms, error);
        }
        let outcome = match &definition.what {
            What::Job(job) => self.enqueue_scheduled(ctx, id, job, tick_ms).map(Some),
            What::Query(words) => self.fetch_scheduled(ctx, id, words, tick_ms).map(|()| None),
        };
        let outcome = match outcome {
            Ok(Some(job)) => Outcome::Job(job.to_string().into()),
            // It is looked at again when the result is there.
            Ok(None) => return self.schedules.look_at(id, wall_ms() + self.config.query_timeout_ms as u64 + LOST_MS),
            Err(Refused::Later(error)) => return self.try_later(id, tick_ms, error),
            Err(Refused::Never(error)) => Outcome::Error(error.into()),
        };
        state.carried_out(tick_ms, Some(outcome));
        self.write_tick(ctx, id, keys, definition, &state);
    }

    /// A tick was carried out: its state is written in the same unit.
    pub(super) fn write_tick(
        &mut self,
        ctx: Context,
        id: &Id,
        keys: &ScheduleKeys,
        definition: &Definition,
        state: &State,
    ) {
        keys.set_state(ctx, &id.name, state);
        self.keyspace.mark_queue(ctx, &keys.states);
        self.schedules.trying.remove(id);
        self.schedules.figures.ticks += 1;
        let now_ms = wall_ms();
        match Due::now(definition, state, None, now_ms) {
            Due::Nothing(Some(next)) => self.schedules.look_at(id, next),
            Due::Nothing(None) => self.schedules.forget(id),
            // There are others. They stand behind those of other schedules.
            Due::PassOver(_) | Due::Tick(_) => self.schedules.look_at(id, now_ms),
        }
    }

    /// A tick could not be carried out. It is not lost.
    pub(super) fn try_later(&mut self, id: &Id, tick_ms: u64, error: String) {
        let before = self.schedules.trying.get(id).map(|trying| trying.pause_ms);
        let pause_ms = before.map_or(TRY_AGAIN_MS.0, |before| (before * 2).min(TRY_AGAIN_MS.1));
        if self.schedules.trying.is_empty() {
            log::warn!("schedule '{}' of '{}' is tried again: {error}", id.name, id.space);
        }
        self.schedules.figures.refused += 1;
        self.schedules.trying.insert(id.clone(), Trying { tick_ms, error: error.into(), pause_ms });
        self.schedules.look_at(id, wall_ms() + pause_ms);
    }

    /// May keys of schedules be written now?
    pub(super) fn may_write_schedule(&mut self, ctx: Context, space: &str, keys: &ScheduleKeys) -> Result<(), String> {
        let space_ref = self.space(ctx, space.as_bytes())?;
        let section = space_ref.section;
        self.check_owned(ctx, space_ref)?;
        self.begin_to_enqueue(ctx, space.as_bytes(), section)?;
        keys.wrong_type(ctx).map_or(Ok(()), Err)
    }

    /// A schedule, and who made it. The catalog's goes before one of the same name that a command made earlier.
    pub(super) fn definition_of(
        &self,
        ctx: Context,
        keys: &ScheduleKeys,
        id: &Id,
    ) -> Option<Result<(Source, Definition), String>> {
        let section = self.section_of(&id.space)?;
        if let Some(definition) = self.catalog.sections[section].schedule(&id.name) {
            return Some(Ok((Source::Catalog, definition.clone())));
        }
        let definition = keys.definition(ctx, &id.name)?;
        Some(definition.map(|definition| (Source::Command, definition)))
    }
}
