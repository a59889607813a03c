//! BEAR.SCHEDULES: read from the keys and the catalog, on replicas, too. In slices, for there may be ten thousand.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use super::look::Source;
use super::Id;
use crate::core::schedules::definition::{call_text, Definition, What};
use crate::core::schedules::due::Due;
use crate::core::schedules::state::{Outcome, State};
use crate::keyspace::schedules::{scan, ScheduleKeys, BEGIN};
use crate::redis_api::{Answer, Context, Value};
use crate::server::errands::Errand;
use crate::server::queues::wall_ms;
use crate::server::Server;

/// How many of the next ticks are told.
const NEXT: usize = 3;

struct Report {
    space: Arc<str>,
    keys: ScheduleKeys,
    names: BTreeSet<Box<str>>,
    /// Where the names of those that commands made are read on; None: all are known.
    cursor: Option<Box<[u8]>>,
    told: Vec<Value>,
}

impl Server {
    /// BEAR.SCHEDULES.
    pub fn list_schedules(&mut self, ctx: Context, space: &[u8]) -> Result<(), String> {
        let space_ref = self.space_here(ctx, space)?;
        self.check_owned(ctx, space_ref)?;
        let space: Arc<str> = String::from_utf8_lossy(space).into();
        let keys = ScheduleKeys::new(&self.prefix_of(&space));
        if let Some(text) = keys.wrong_type(ctx) {
            return Err(text);
        }
        let section = &self.catalog.sections[space_ref.section];
        let names = section.schedules.iter().map(|schedule| schedule.name.clone()).collect();
        self.begin_errand(ctx, Report { space, keys, names, cursor: Some(BEGIN.into()), told: Vec::new() });
        Ok(())
    }

    fn schedule_report(&self, ctx: Context, keys: &ScheduleKeys, id: &Id) -> Option<Value> {
        let (source, definition) = match self.definition_of(ctx, keys, id)? {
            Ok(found) => found,
            Err(error) => return Some(unreadable(id, error)),
        };
        let now_ms = wall_ms();
        let state = State::of(&definition, keys.state(ctx, &id.name), now_ms);
        let trying = self.schedules.trying.get(id);
        let next = next_ticks(&definition, &state, trying.map(|trying| trying.tick_ms), now_ms);
        let error = trying.map(|trying| &trying.error);
        let outcome = match (error, &state.outcome) {
            (Some(error), _) | (None, Some(Outcome::Error(error))) => Value::text(&**error),
            (None, Some(Outcome::Job(id))) => Value::text(&**id),
            (None, Some(Outcome::Fetched)) => Value::text("OK"),
            (None, None) => Value::Null,
        };
        let integer = |number: Option<u64>| number.map_or(Value::Null, |number| Value::Integer(number as i64));
        let text = |text: Option<&str>| text.map_or(Value::Null, Value::text);
        let (cron, zone) = definition.rule.as_cron().unzip();
        let (job, data, query) = match &definition.what {
            What::Job(job) => (Value::text(&*job.name), Value::text(&*job.data), Value::Null),
            What::Query(words) => (Value::Null, Value::Null, Value::text(call_text(words))),
        };
        Some(Value::Map(vec![
            ("name", Value::text(&*id.name)),
            ("source", Value::text(if source == Source::Catalog { "catalog" } else { "command" })),
            ("cron", text(cron)),
            ("every", integer(definition.rule.as_every_ms())),
            ("zone", text(zone)),
            ("from", integer(definition.rule.begins_ms())),
            ("until", integer(definition.until_ms)),
            ("limit", integer(definition.limit)),
            ("missed", Value::text(definition.missed.as_str())),
            ("job", job),
            ("data", data),
            ("query", query),
            ("next", Value::Array(next.into_iter().map(|tick| Value::Integer(tick as i64)).collect())),
            ("last", integer(state.last_ms)),
            ("last_outcome", outcome),
            ("count", integer(Some(state.count))),
        ]))
    }
}

/// One that another hand has written, and nobody can read.
fn unreadable(id: &Id, error: String) -> Value {
    Value::Map(vec![
        ("name", Value::text(&*id.name)),
        ("source", Value::text("command")),
        ("last_outcome", Value::text(format!("ERR it cannot be read: {error}"))),
    ])
}

/// The next ticks; the first may be one that is due already.
fn next_ticks(definition: &Definition, state: &State, tried_ms: Option<u64>, now_ms: u64) -> Vec<u64> {
    let left =
        definition.limit.map_or(NEXT as u64, |limit| limit.saturating_sub(state.count).min(NEXT as u64)) as usize;
    let mut next = match Due::now(definition, state, tried_ms, now_ms) {
        Due::Nothing(None) => Vec::new(),
        Due::Nothing(Some(_)) => definition.ticks_after(state.upto_ms, NEXT),
        Due::PassOver(upto_ms) => definition.ticks_after(upto_ms, NEXT),
        Due::Tick(tick_ms) => [vec![tick_ms], definition.ticks_after(tick_ms, NEXT - 1)].concat(),
    };
    next.truncate(left);
    next
}

impl Errand for Report {
    fn step(&mut self, server: &mut Server, ctx: Context, deadline: Instant) -> Option<Answer> {
        while let Some(cursor) = self.cursor.take() {
            let found = scan(ctx, &self.keys.definitions, &cursor);
            let names = found.fields.iter().filter_map(|(name, _)| std::str::from_utf8(name).ok());
            self.names.extend(names.map(Into::into));
            self.cursor = found.next;
            if self.cursor.is_some() && Instant::now() >= deadline {
                return None;
            }
        }
        while let Some(name) = self.names.pop_first() {
            let id = Id { space: self.space.clone(), name: (*name).into() };
            self.told.extend(server.schedule_report(ctx, &self.keys, &id));
            if !self.names.is_empty() && Instant::now() >= deadline {
                return None;
            }
        }
        Some(Answer::Value(Arc::new(Value::Array(std::mem::take(&mut self.told)))))
    }

    /// What there is, in the order of the names.
    fn cut_short(&mut self) -> Answer {
        Answer::Value(Arc::new(Value::Array(std::mem::take(&mut self.told))))
    }

    fn writes(&self) -> bool {
        false
    }
}
