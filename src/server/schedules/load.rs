//! Schedules are found: those of the catalog by themselves, those that commands made by the walk that looks for queues. All in
//! slices.

use std::sync::Arc;
use std::time::Instant;

use super::Id;
use crate::keyspace::schedules::{scan, ScheduleKeys, BEGIN};
use crate::keyspace::slots;
use crate::redis_api::Context;
use crate::server::Server;

/// Schedules between two looks at the clock.
const SLICE: usize = 32;

/// What is still to be done.
pub enum Loading {
    /// The catalog's, from this section's and this schedule on.
    Catalog { section: usize, at: usize },
    /// Those that commands made in a space: its definitions are read from a cursor on.
    Definitions { space: Arc<str>, cursor: Box<[u8]> },
    /// States of schedules that are no more go.
    States { space: Arc<str>, cursor: Box<[u8]> },
    /// All that are known are looked at again, of one space or of all: those behind this one.
    Known { space: Option<Arc<str>>, after: Option<Id> },
}

impl Server {
    /// Goes on until the deadline. True: there is more.
    pub(super) fn load_schedules(&mut self, ctx: Context, deadline: Instant) -> bool {
        while let Some(loading) = self.schedules.loading.pop_front() {
            let rest = match loading {
                Loading::Catalog { section, at } => self.load_of_catalog(section, at),
                Loading::Definitions { space, cursor } => self.load_definitions(ctx, space, &cursor),
                Loading::States { space, cursor } => self.sweep_states(ctx, space, &cursor),
                Loading::Known { space, after } => self.look_at_known(space, after),
            };
            if let Some(rest) = rest {
                self.schedules.loading.push_front(rest);
            }
            if Instant::now() >= deadline {
                return !self.schedules.loading.is_empty();
            }
        }
        false
    }

    fn load_of_catalog(&mut self, section: usize, at: usize) -> Option<Loading> {
        let catalog = self.catalog.clone();
        let of = catalog.sections.get(section)?;
        let some = of.schedules.iter().skip(at).take(SLICE);
        let space: Arc<str> = of.space_name(None).into();
        let mut count = 0;
        for schedule in some {
            self.schedules.look_at(&Id { space: space.clone(), name: schedule.name.as_ref().into() }, 0);
            count += 1;
        }
        Some(match count {
            SLICE => Loading::Catalog { section, at: at + SLICE },
            _ => Loading::Catalog { section: section + 1, at: 0 },
        })
    }

    fn load_definitions(&mut self, ctx: Context, space: Arc<str>, cursor: &[u8]) -> Option<Loading> {
        let keys = ScheduleKeys::new(&self.prefix_of(&space));
        if keys.wrong_type(ctx).is_some() {
            return None;
        }
        let found = scan(ctx, &keys.definitions, cursor);
        for (name, _) in &found.fields {
            if let Ok(name) = std::str::from_utf8(name) {
                self.schedules.look_at(&Id { space: space.clone(), name: name.into() }, 0);
            }
        }
        Some(match found.next {
            Some(cursor) => Loading::Definitions { space, cursor },
            None => Loading::States { space, cursor: BEGIN.into() },
        })
    }

    fn sweep_states(&mut self, ctx: Context, space: Arc<str>, cursor: &[u8]) -> Option<Loading> {
        let keys = ScheduleKeys::new(&self.prefix_of(&space));
        if !slots::seems_here(&self.prefix_of(&space)) {
            return None;
        }
        self.may_write_schedule(ctx, &space, &keys).ok()?;
        let found = scan(ctx, &keys.states, cursor);
        let catalog = self.catalog.clone();
        let section = &catalog.sections[self.section_of(&space)?];
        for (name, _) in &found.fields {
            let Ok(name) = std::str::from_utf8(name) else { continue };
            if section.schedule(name).is_none() && !keys.has_definition(ctx, name) {
                keys.forget_state(ctx, name);
            }
        }
        found.next.map(|cursor| Loading::States { space, cursor })
    }

    fn look_at_known(&mut self, space: Option<Arc<str>>, after: Option<Id>) -> Option<Loading> {
        use std::ops::Bound::{Excluded, Included, Unbounded};
        let from = match (&after, &space) {
            (Some(after), _) => Excluded(after.clone()),
            (None, Some(space)) => Included(Id { space: space.clone(), name: "".into() }),
            (None, None) => Unbounded,
        };
        let some = self.schedules.by_id.range((from, Unbounded)).map(|(id, _)| id);
        let some: Vec<Id> =
            some.take_while(|id| space.as_ref().is_none_or(|space| id.space == *space)).take(SLICE).cloned().collect();
        for id in &some {
            self.schedules.look_at(id, 0);
        }
        let after = some.last().cloned();
        (some.len() == SLICE).then_some(Loading::Known { space, after })
    }
}
