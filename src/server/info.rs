//! INFO bear: the figures of [`crate::core::metrics::list`], in its order.

use super::Server;
use crate::core::metrics::figures::{Figures, Value};
use crate::core::metrics::list::{self, Part};
use crate::redis_api::{longest_command_us, InfoWriter, Role};
use crate::workers::Workers;

/// Sections with a line of their own; of a larger catalog the others are in the total, and BEAR.STATS tells of each.
const SECTIONS: usize = 100;

pub fn write(info: &InfoWriter) {
    super::with(|server| server.write_info(info));
}

impl Server {
    fn write_info(&mut self, info: &InfoWriter) {
        self.write_part(info, "state", Part::State, Server::state_figures);
        self.write_part(info, "postgres", Part::Postgres, Server::postgres_figures);
        self.write_part(info, "feed", Part::Feed, Server::feed_figures);
        self.write_part(info, "queues", Part::Queues, |server| {
            let mut figures = server.queue_figures();
            figures.numbers(server.queues.figures_of_spaces());
            figures.numbers(server.queues.counts.all.figures());
            figures.numbers(server.claims.figures_of_spaces());
            figures.numbers(server.claims.counts.all.figures());
            figures
        });
        self.write_part(info, "inbox", Part::Inbox, |server| {
            let mut figures = server.inbox_figures();
            figures.numbers(server.claims.figures_of_spaces());
            figures
        });
        self.write_part(info, "locks", Part::Locks, Server::lock_figures);
        self.write_part(info, "metrics", Part::Endpoint, Server::endpoint_figures);
        self.write_part(info, "total", Part::Total, |server| {
            let mut figures = Figures::default();
            figures.numbers(server.stats.total());
            figures
        });
        if info.section("sections") {
            info.number("sections", self.stats.sections().count() as u64);
            for (name, stats) in self.stats.sections().take(SECTIONS) {
                let figures = stats.figures();
                let figure = |name: &str| figures.iter().find(|(of, _)| *of == name).copied();
                let listed: Vec<_> = list::of(Part::Total).iter().filter_map(|metric| figure(metric.name)).collect();
                // A section may be called like another field.
                info.figures(&format!("section_{name}"), &listed);
            }
        }
    }

    fn write_part(&self, info: &InfoWriter, name: &str, part: Part, gather: impl FnOnce(&Server) -> Figures) {
        if !info.section(name) {
            return;
        }
        let figures = gather(self);
        for metric in list::of(part) {
            match figures.get(metric.name) {
                Some(Value::Number(number)) => info.number(metric.name, *number),
                Some(Value::Text(text)) => info.text(metric.name, text),
                // Where there is no space.
                None if metric.by_section => info.number(metric.name, 0),
                None => {}
            }
        }
    }

    pub(super) fn state_figures(&self) -> Figures {
        let keyspace = &self.keyspace;
        let (publishing, to_sweep) = keyspace.backlog();
        let (foreign_keys, foreign_sections) = keyspace.foreign_counts();
        let (events_sent, events_waiting) = self.events.counts();
        let (messages_sent, messages_waiting) = self.messages.counts();
        let mut figures = Figures::default();
        figures.text("role", if self.role == Role::Master { "master" } else { "replica" });
        figures.text("version", env!("CARGO_PKG_VERSION"));
        figures.text("catalog", &self.checked.file);
        figures.numbers([
            ("catalog_errors", self.checked.errors.len() as u64),
            ("catalog_warnings", (self.checked.warnings.len() + self.checked.links.len()) as u64),
            ("catalog_derived", self.checked.standings.derived),
            ("catalog_proven", self.checked.standings.proven),
            ("catalog_declared", self.checked.standings.declared),
            ("catalog_trusted", self.checked.standings.trusted),
            ("stores", self.may_store.into()),
            ("entries", keyspace.entry_count() as u64),
            ("metadata_sets", keyspace.meta_count() as u64),
            ("predicates", keyspace.interest_count() as u64),
            ("entries_stored", keyspace.stored),
            ("entries_removed", keyspace.removed),
            ("entries_expired", keyspace.expired),
            ("entries_evicted", keyspace.evicted),
            ("entries_deleted", keyspace.deleted),
            ("kept_warm", keyspace.warm.len() as u64),
            ("fills_running", self.fetches_running() as u64),
            ("leases", self.values.leases.len() as u64),
            ("clients_waiting", self.waiting.len() as u64),
            ("publishing", publishing as u64),
            ("removals_running", keyspace.removals_running() as u64),
            ("changes_waiting", self.changing.len() as u64),
            ("swept", keyspace.swept),
            ("to_sweep", to_sweep as u64),
            ("sweeping_all", keyspace.is_sweeping_all().into()),
            ("foreign_keys", foreign_keys as u64),
            ("foreign_sections", foreign_sections as u64),
            ("cold", keyspace.cold),
            ("events_sent", events_sent),
            ("events_waiting", events_waiting),
            ("fill_messages_sent", messages_sent),
            ("fill_messages_waiting", messages_waiting),
            ("longest_tick_us", self.longest_tick_us),
            ("longest_tick_cpu_us", self.longest_tick_cpu_us),
            ("longest_command_us", longest_command_us()),
        ]);
        figures
    }

    pub(super) fn feed_figures(&self) -> Figures {
        let feed = &self.feed;
        let mut figures = Figures::default();
        figures.text("feed_kind", self.config.feed.name());
        figures.text("feed_state", feed.state().name());
        figures.numbers([
            ("feed_behind", feed.behind.into()),
            ("feed_told_ms", feed.told_ago().map_or(0, |ago| ago.as_millis() as u64)),
            ("feed_lag_bytes", feed.lag_bytes),
            ("feed_lag_ms", feed.lag_us / 1000),
            ("feed_connects", feed.connects),
            ("feed_losses", feed.losses()),
            ("feed_transactions", feed.transactions),
            ("feed_rows", feed.rows),
            ("feed_withheld", feed.withheld),
        ]);
        if let Some(error) = &feed.last_error {
            figures.text("feed_last_error", error);
        }
        figures
    }

    /// Without those of spaces and what is counted of jobs.
    pub(super) fn queue_figures(&self) -> Figures {
        let mut figures = self.queues.figures();
        figures.numbers(self.claims.figures());
        figures.numbers(self.schedules.figures());
        figures
    }

    pub(super) fn lock_figures(&self) -> Figures {
        let mut figures = Figures::default();
        figures.numbers(self.locks.figures());
        figures
    }

    pub(super) fn postgres_figures(&self) -> Figures {
        let state = match (self.workers.current(), self.postgres.up) {
            (None, _) => "not configured",
            (_, None) => "connecting",
            (_, Some(true)) => "up",
            (_, Some(false)) => "down",
        };
        let mut figures = Figures::default();
        figures.text("postgres_state", state);
        figures.number("postgres_changes", self.postgres.changes);
        let Some(settings) = self.config.postgres_settings() else { return figures };
        figures.text("postgres_url", &crate::postgres::mask(&settings.url));
        if let Some(identity) = &self.postgres.identity {
            figures.text("postgres_system_identifier", &identity.system_identifier.to_string());
            figures.number("postgres_timeline", identity.timeline.max(0) as u64);
        }
        figures.number("fetches_queued", self.workers.current().map_or(0, Workers::queued) as u64);
        let Some(pool) = self.workers.current().and_then(Workers::figures) else { return figures };
        figures.numbers([
            ("pool_size", pool.size.into()),
            ("pool_idle", pool.idle.into()),
            ("pool_in_use", pool.in_use.into()),
            ("pool_max", pool.max_size.into()),
            ("pool_connects", pool.connects),
            ("pool_connect_failures", pool.connect_failures),
        ]);
        if let Some((error, _)) = &pool.last_error {
            figures.text("postgres_last_error", error);
        }
        figures
    }
}
