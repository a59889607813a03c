//! INFO bear.

use super::Server;
use crate::redis_api::{longest_command_us, InfoWriter, Role};
use crate::workers::Workers;

/// Sections with a line of their own; of a larger catalog the others are in the total, and BEAR.STATS tells of each.
const SECTIONS: usize = 100;

pub fn write(info: &InfoWriter) {
    super::with(|server| server.write_info(info));
}

impl Server {
    fn write_info(&mut self, info: &InfoWriter) {
        if info.section("state") {
            self.write_state(info);
        }
        if info.section("postgres") {
            self.write_postgres(info);
        }
        if info.section("feed") {
            self.write_feed(info);
        }
        if info.section("queues") {
            for (name, value) in self.queues.figures() {
                info.number(name, value);
            }
            for (name, value) in self.claims.figures() {
                info.number(name, value);
            }
            for (name, value) in self.schedules.figures() {
                info.number(name, value);
            }
            let (state, error) = self.queues.connection();
            info.text("appliers_state", state);
            if let Some(error) = error {
                info.text("appliers_last_error", error);
            }
        }
        if info.section("inbox") {
            self.write_inbox(info);
        }
        if info.section("locks") {
            for (name, value) in self.locks.figures() {
                info.number(name, value);
            }
        }
        if info.section("total") {
            for (name, value) in self.stats.total() {
                info.number(name, value);
            }
        }
        if info.section("sections") {
            info.number("sections", self.stats.sections().count() as u64);
            for (name, stats) in self.stats.sections().take(SECTIONS) {
                // A section may be called like another field.
                info.figures(&format!("section_{name}"), &stats.figures());
            }
        }
    }

    fn write_state(&self, info: &InfoWriter) {
        let keyspace = &self.keyspace;
        let (publishing, to_sweep) = keyspace.backlog();
        info.text("role", if self.role == Role::Master { "master" } else { "replica" });
        info.text("catalog", &self.checked.file);
        info.number("catalog_errors", self.checked.errors.len() as u64);
        info.number("catalog_warnings", (self.checked.warnings.len() + self.checked.links.len()) as u64);
        info.number("stores", self.may_store.into());
        info.number("entries", keyspace.entry_count() as u64);
        info.number("metadata_sets", keyspace.meta_count() as u64);
        info.number("predicates", keyspace.interest_count() as u64);
        info.number("entries_stored", keyspace.stored);
        info.number("entries_removed", keyspace.removed);
        info.number("entries_expired", keyspace.expired);
        info.number("entries_evicted", keyspace.evicted);
        info.number("entries_deleted", keyspace.deleted);
        info.number("kept_warm", keyspace.warm.len() as u64);
        info.number("fills_running", self.fetches_running() as u64);
        info.number("leases", self.values.leases.len() as u64);
        info.number("clients_waiting", self.waiting.len() as u64);
        info.number("publishing", publishing as u64);
        info.number("removals_running", keyspace.removals_running() as u64);
        info.number("changes_waiting", self.changing.len() as u64);
        info.number("swept", keyspace.swept);
        info.number("to_sweep", to_sweep as u64);
        info.number("sweeping_all", keyspace.is_sweeping_all().into());
        let (foreign_keys, foreign_sections) = keyspace.foreign_counts();
        info.number("foreign_keys", foreign_keys as u64);
        info.number("foreign_sections", foreign_sections as u64);
        info.number("cold", keyspace.cold);
        let (sent, waiting) = self.events.counts();
        info.number("events_sent", sent);
        info.number("events_waiting", waiting);
        let (sent, waiting) = self.messages.counts();
        info.number("fill_messages_sent", sent);
        info.number("fill_messages_waiting", waiting);
        info.number("longest_tick_us", self.longest_tick_us);
        info.number("longest_tick_cpu_us", self.longest_tick_cpu_us);
        info.number("longest_command_us", longest_command_us());
    }

    fn write_feed(&self, info: &InfoWriter) {
        let feed = &self.feed;
        info.text("feed_kind", self.config.feed.name());
        info.text("feed_state", feed.state().name());
        info.number("feed_behind", feed.behind.into());
        info.number("feed_told_ms", feed.told_ago().map_or(0, |ago| ago.as_millis() as u64));
        info.number("feed_lag_bytes", feed.lag_bytes);
        info.number("feed_lag_ms", feed.lag_us / 1000);
        info.number("feed_connects", feed.connects);
        info.number("feed_losses", feed.losses());
        info.number("feed_transactions", feed.transactions);
        info.number("feed_rows", feed.rows);
        info.number("feed_withheld", feed.withheld);
        if let Some(error) = &feed.last_error {
            info.text("feed_last_error", error);
        }
    }

    fn write_postgres(&self, info: &InfoWriter) {
        let state = match (self.workers.current(), self.postgres.up) {
            (None, _) => "not configured",
            (_, None) => "connecting",
            (_, Some(true)) => "up",
            (_, Some(false)) => "down",
        };
        info.text("postgres_state", state);
        info.number("postgres_changes", self.postgres.changes);
        let Some(settings) = self.config.postgres_settings() else { return };
        info.text("postgres_url", &crate::postgres::mask(&settings.url));
        if let Some(identity) = &self.postgres.identity {
            info.text("postgres_system_identifier", &identity.system_identifier.to_string());
            info.number("postgres_timeline", identity.timeline.max(0) as u64);
        }
        info.number("fetches_queued", self.workers.current().map_or(0, Workers::queued) as u64);
        let Some(figures) = self.workers.current().and_then(Workers::figures) else { return };
        info.number("pool_size", figures.size.into());
        info.number("pool_idle", figures.idle.into());
        info.number("pool_in_use", figures.in_use.into());
        info.number("pool_max", figures.max_size.into());
        info.number("pool_connects", figures.connects);
        info.number("pool_connect_failures", figures.connect_failures);
        if let Some((error, _)) = &figures.last_error {
            info.text("postgres_last_error", error);
        }
    }
}
