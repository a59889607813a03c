//! Figures: BEAR.STATS of one space, INFO of all.

use std::sync::Arc;

use super::space::{Ledger, SpaceQueue};
use super::{wall_ms, JobCounts, Queues};
use crate::core::metrics::figures::{self, Figures};
use crate::keyspace::claims::WorkKeys;
use crate::keyspace::inbox;
use crate::keyspace::jobs::{self, QueueKeys};
use crate::redis_api::{Answer, Context, Role, Value};
use crate::server::Server;

impl Server {
    /// BEAR.STATS.
    pub fn queue_stats(&mut self, ctx: Context, space_name: &[u8]) -> Result<(), String> {
        let (name, keys) = self.queue_of(ctx, space_name)?;
        let space = self.space_here(ctx, space_name)?;
        let section = space.section;
        let refused_keys = self.check_owned(ctx, space).err();
        let (hits, misses) = {
            let stats = self.stats.section(section);
            (stats.hits, stats.misses)
        };
        let number = |number: u64| Value::Integer(number as i64);
        let total = jobs::len(ctx, &keys.jobs);
        let from_now = format!("({}", wall_ms());
        let delayed = jobs::read_integer(ctx, c"ZCOUNT", &[&keys.delayed, from_now.as_bytes(), b"+inf"]);
        let delayed = (delayed.unwrap_or(0).max(0) as u64).min(total);
        let failed = jobs::len(ctx, &keys.failed);
        let oldest = jobs::oldest(ctx, &keys.jobs).map(|id| id.ms);
        let now_ms = self.queues.now_ms();
        let space = self.queues.spaces.get(&*name).filter(|_| self.role == Role::Master);
        let active = space.map_or(0, |space| space.in_flight().0 as u64);
        let lanes = space.map_or(0, |space| space.in_flight().1 as u64);
        let connection = match self.queues.appliers_up {
            _ if self.role == Role::Replica => "none on a replica",
            _ if !self.config.drain => "off (bear.drain no)",
            _ => self.queues.connection().0,
        };
        let ledger = match space.map(|space| &space.ledger) {
            Some(Ledger::Trouble(text)) => text.clone(),
            Some(Ledger::Ok) => "ok".to_owned(),
            Some(Ledger::Unknown) | None => match &self.queues.appliers_error {
                Some(error) => error.clone(),
                None => "unknown".to_owned(),
            },
        };
        let completed = match space {
            Some(space) => space.completed,
            None => read_total(ctx, &keys, b"completed"),
        };
        let paused = match space {
            Some(space) => space.paused,
            None => jobs::read_integer(ctx, c"EXISTS", &[&keys.paused]) == Some(1),
        };
        let refused = self.queues.refused_types(&self.catalog.sections[section].name);
        let work = self.work_figures(ctx, &name, &self.catalog.sections[section]);
        let oldest = [oldest, work.oldest_ms].into_iter().flatten().min();
        let wrong_keys = || keys.wrong_type(ctx).or_else(|| WorkKeys::new(&self.prefix_of(&name)).wrong_type(ctx));
        let mut figures = vec![
            ("waiting", number(total.saturating_sub(active + delayed) + work.counts.waiting)),
            ("active", number(active + work.counts.claimed)),
            ("delayed", number(delayed + work.counts.delayed)),
            ("completed", number(completed + work.completed)),
            ("failed", number(failed + work.failed_kept)),
            ("oldest_ms", number(oldest.map_or(0, |oldest| wall_ms().saturating_sub(oldest)))),
            ("rate", number(space.map_or(0, |space| space.rate.per_second(now_ms)) + work.rate)),
            ("inbox", number(inbox::taken_len(ctx, &keys))),
            ("bytes", number(space.map_or(0, |space| space.bytes) + work.bytes)),
            ("lanes", number(lanes)),
            ("connection", Value::text(connection)),
            ("ledger", Value::text(ledger)),
            ("keys", Value::text(refused_keys.or_else(wrong_keys).unwrap_or_else(|| "ok".to_owned()))),
            ("paused", number(paused.into())),
            ("refused", Value::Array(refused.into_iter().map(Value::text).collect())),
            ("hits", number(hits)),
            ("misses", number(misses)),
        ];
        figures.extend(work.own);
        self.answer_here(ctx, Answer::Value(Arc::new(Value::Map(figures))));
        Ok(())
    }
}

impl SpaceQueue {
    /// What the spaces of a section, and all of them, have together.
    pub fn figures(&self) -> [(&'static str, u64); 9] {
        let active = self.in_flight().0 as u64;
        [
            ("jobs_waiting", self.jobs.saturating_sub(active + self.timed)),
            ("jobs_active", active),
            ("jobs_delayed", self.timed),
            ("jobs_left_out", self.queue.counts().left as u64),
            ("jobs_bytes", self.bytes),
            ("queues", 1),
            ("queues_without_ledger", self.is_without_ledger().into()),
            ("queues_with_wrong_keys", self.wrong_type.is_some().into()),
            ("queues_paused", self.paused.into()),
        ]
    }
}

impl JobCounts {
    pub fn figures(&self) -> [(&'static str, u64); 4] {
        [
            ("jobs_completed", self.completed),
            ("jobs_failed", self.failed),
            ("jobs_enqueued", self.enqueued),
            ("jobs_retried", self.retried),
        ]
    }
}

impl Queues {
    /// Of all spaces that are in memory: looks at each.
    pub fn figures_of_spaces(&self) -> impl IntoIterator<Item = (&'static str, u64)> {
        figures::sum(self.spaces.values().map(|space| space.figures())).into_iter().flatten()
    }

    /// Of the server.
    pub fn figures(&self) -> Figures {
        let mut figures = Figures::default();
        figures.numbers([
            ("job_types_refused", self.refusals.len() as u64),
            ("clients_waiting_for_jobs", self.waiting_len() as u64),
            ("batches", self.totals.batches),
            ("batches_in_flight", self.in_flight.len() as u64),
            ("batch_us_max", self.totals.batch_us_max),
        ]);
        let (state, error) = self.connection();
        figures.text("appliers_state", state);
        if let Some(error) = error {
            figures.text("appliers_last_error", error);
        }
        figures
    }

    /// How the appliers' connections are, and what was wrong last.
    pub fn connection(&self) -> (&'static str, Option<&str>) {
        let state = match self.appliers_up {
            None => "not yet",
            Some(true) => "up",
            Some(false) => "down",
        };
        (state, self.appliers_error.as_deref())
    }
}

fn read_total(ctx: Context, keys: &QueueKeys, field: &[u8]) -> u64 {
    let total = jobs::read_text(ctx, c"HGET", &[&keys.ledger, field]);
    total.and_then(|total| std::str::from_utf8(&total).ok()?.parse().ok()).unwrap_or(0)
}
