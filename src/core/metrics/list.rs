//! Every figure that bear shows. INFO is written in this order, Prometheus' series are made of it, and so is the table at the end
//! of docs/reference/metrics.md; tests compare all three.

use super::metric::Metric;

/// A part of INFO.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    State,
    Postgres,
    Feed,
    Queues,
    Inbox,
    Locks,
    /// Of all sections; the part `sections` has the same of each.
    Total,
    Sections,
    Endpoint,
    /// In Prometheus alone.
    Series,
}

const TEXTS_CHANGE: &str = "a text; INFO and the log have it";
const IN_HISTOGRAM: &str = "`bear_fetch_duration_seconds` has all of them";

/// What states are called.
pub const ROLES: &[&str] = &["master", "replica"];
pub const POSTGRES_STATES: &[&str] = &["not configured", "connecting", "up", "down"];
pub const FEED_STATES: &[&str] = &["off", "starting", "following", "lost", "not allowed"];
pub const APPLIER_STATES: &[&str] = &["not yet", "up", "down"];
pub const INBOX_STATES: &[&str] = &["off", "starting", "absent", "up", "down"];
pub const ENDPOINT_STATES: &[&str] = &["off", "listening", "failed"];

const STATE: &[Metric] = &[
    Metric::states("role", "role", ROLES, "What this server is: 1 for its role."),
    Metric::label("version", ("build", "version"), "The module's version."),
    Metric::label("catalog", ("catalog", "file"), "The catalog's file."),
    Metric::gauge("catalog_errors", "What Postgres found wrong in the catalog."),
    Metric::gauge("catalog_warnings", "What Postgres found doubtful in the catalog."),
    Metric::gauge(
        "catalog_derived",
        "Queries of which what their author does not say was derived from the SQL, and is in force.",
    ),
    Metric::gauge(
        "catalog_proven",
        "Queries of which it is proven that each change that may concern them drops their results.",
    ),
    Metric::gauge("catalog_declared", "Queries of which nobody knows more than the catalog says."),
    Metric::gauge("catalog_trusted", "Queries of which their author says why they may be cached as declared."),
    Metric::gauge("stores", "1, or 0 where the memory policy lets nothing be stored."),
    Metric::gauge("entries", "Entries in the cache."),
    Metric::gauge("metadata_sets", "Metadata sets of the cache."),
    Metric::gauge("predicates", "Cached results that are watched for changes by their condition."),
    Metric::counter("entries_stored", "Entries that were stored."),
    Metric::counter("entries_removed", "Entries that invalidations dropped."),
    Metric::counter("entries_expired", "Entries whose TTL ended."),
    Metric::counter("entries_evicted", "Entries that Redis evicted."),
    Metric::counter("entries_deleted", "Entries that others deleted."),
    Metric::gauge("kept_warm", "Entries of queries with rewarm that were hit within its time."),
    Metric::gauge("fills_running", "Fetches under way."),
    Metric::gauge("leases", "Values that clients compute now."),
    Metric::gauge("clients_waiting", "Clients that wait for a fetch."),
    Metric::gauge("publishing", "Results that are being stored."),
    Metric::gauge("removals_running", "Large invalidations in force of which Redis still has keys."),
    Metric::gauge("changes_waiting", "Clients that wait for BEAR.INVALIDATE CHANGED."),
    Metric::counter("swept", "Dead entries whose metadata was cleaned up."),
    Metric::gauge("to_sweep", "Dead entries whose metadata is still to be cleaned up."),
    Metric::gauge("sweeping_all", "1 while what an earlier life left is removed."),
    Metric::gauge("foreign_keys", "Keys of others under names of entries and sets."),
    Metric::gauge("foreign_sections", "Sections that are refused for keys of others."),
    Metric::counter("cold", "How often a space, or all, went cold."),
    Metric::counter("events_sent", "Events that were published."),
    Metric::gauge("events_waiting", "Events that are still to be published."),
    Metric::counter("fill_messages_sent", "Messages of BEAR.QUERY NOBLOCK that were published."),
    Metric::gauge("fill_messages_waiting", "Messages of BEAR.QUERY NOBLOCK whose fetches are under way."),
    Metric::gauge("longest_tick_us", "Longest piece of background work on Redis' thread, by the clock.").in_us(),
    Metric::gauge("longest_tick_cpu_us", "Longest piece of background work on Redis' thread, on a processor.").in_us(),
    Metric::gauge("longest_command_us", "Longest command of the module.").in_us(),
];

const POSTGRES: &[Metric] = &[
    Metric::states("postgres_state", "state", POSTGRES_STATES, "The connections that fetch: 1 for their state."),
    Metric::counter("postgres_changes", "How often Postgres turned out to be another server, or restarted."),
    Metric::text("postgres_url", "who may read metrics need not know it", "Hosts, database and user."),
    Metric::text("postgres_system_identifier", TEXTS_CHANGE, "Which server Postgres is."),
    Metric::gauge("postgres_timeline", "Timeline of Postgres."),
    Metric::gauge("fetches_queued", "Fetches that wait for a thread."),
    Metric::gauge("pool_size", "Connections that fetch."),
    Metric::gauge("pool_idle", "Of these, idle."),
    Metric::gauge("pool_in_use", "Of these, in use."),
    Metric::gauge("pool_max", "Connections that fetch, at most."),
    Metric::counter("pool_connects", "Connections that were made, since the settings last changed."),
    Metric::counter("pool_connect_failures", "Attempts to connect that failed, since the settings last changed."),
    Metric::text("postgres_last_error", TEXTS_CHANGE, "Why no connection could be made, the last time."),
];

const FEED: &[Metric] = &[
    Metric::label("feed_kind", ("feed_kind", "kind"), "The setting bear.feed."),
    Metric::states("feed_state", "state", FEED_STATES, "The change feed: 1 for its state."),
    Metric::gauge("feed_behind", "1 where the feed is behind, and what depends on it is not served."),
    Metric::gauge("feed_told_ms", "How long ago all changes had been told.").in_ms().named("feed_told_age_seconds"),
    Metric::gauge("feed_lag_bytes", "WAL still to come when all had been told the last time."),
    Metric::gauge("feed_lag_ms", "From COMMIT to the drop, the last time.").in_ms(),
    Metric::counter("feed_connects", "How often the feed has connected."),
    Metric::counter("feed_losses", "How often the feed followed and was lost."),
    Metric::counter("feed_transactions", "Transactions that the feed has told."),
    Metric::counter("feed_rows", "Rows that the feed has told."),
    Metric::counter("feed_withheld", "Queries that were fetched though cached, because the feed was behind."),
    Metric::text("feed_last_error", TEXTS_CHANGE, "Why the feed does not follow."),
];

const QUEUES: &[Metric] = &[
    Metric::gauge("jobs_waiting", "Jobs that wait for their turn or for another job.").of_section(),
    Metric::gauge("jobs_active", "Jobs in a batch.").of_section(),
    Metric::gauge("jobs_delayed", "Jobs that wait for a time.").of_section(),
    Metric::counter("jobs_completed", "Jobs that were applied.").of_section(),
    Metric::counter("jobs_failed", "Jobs that failed for good.").of_section(),
    Metric::counter("jobs_enqueued", "Jobs that were enqueued.").of_section(),
    Metric::counter("jobs_retried", "Failed attempts of jobs after which there is another.").of_section(),
    Metric::gauge("jobs_left_out", "Queued jobs that were passed over: they wait for a time, a row or another job.")
        .of_section(),
    Metric::gauge("jobs_bytes", "Bytes of queued jobs.").of_section(),
    Metric::gauge("queues", "Spaces with a queue in memory.").of_section(),
    Metric::gauge("queues_without_ledger", "Queues that are paused with LEDGER.").of_section(),
    Metric::gauge("queues_with_wrong_keys", "Queues at rest because a key of theirs holds another type.").of_section(),
    Metric::gauge("job_types_refused", "Job types that wait because Postgres refuses their statement."),
    Metric::gauge("clients_waiting_for_jobs", "Clients that wait for a job (BLOCK)."),
    Metric::counter("batches", "Batches that were handed to appliers."),
    Metric::gauge("batches_in_flight", "Batches that appliers have."),
    Metric::gauge("batch_us_max", "Longest batch, outages included.").in_us().named("batch_max_seconds"),
    Metric::gauge("work_jobs", "Claimed jobs that have not settled.").of_section(),
    Metric::gauge("work_claims", "Claimed jobs that workers hold.").of_section(),
    Metric::counter("work_enqueued", "Claimed jobs that were enqueued.").of_section(),
    Metric::counter("work_claimed", "Claims that were given to workers.").of_section(),
    Metric::counter("work_completed", "Claimed jobs that were completed.").of_section(),
    Metric::counter("work_failed", "Claimed jobs that failed for good.").of_section(),
    Metric::counter("work_retried", "Failed attempts of claimed jobs after which there is another.").of_section(),
    Metric::counter("work_released", "Claims that were given back.").of_section(),
    Metric::counter("work_expired", "Leases of claims that ended.").of_section(),
    Metric::counter("work_lost", "Words of workers who did not hold their job any more.").of_section(),
    Metric::gauge("work_spaces", "Spaces whose claimed jobs are in memory.").of_section(),
    Metric::gauge("claimers_waiting", "Clients that wait for a job (BLOCK of BEAR.CLAIM)."),
    Metric::gauge("schedules", "Schedules with a tick to come."),
    Metric::gauge("schedules_next_ms", "When a schedule is looked at next, as Unix time; 0: never.")
        .in_ms()
        .named("schedules_next_timestamp_seconds"),
    Metric::gauge("schedules_trying", "Schedules with a tick that was refused and is tried again."),
    Metric::counter("schedule_ticks", "Ticks that were carried out."),
    Metric::counter("schedule_ticks_passed_over", "How often missed ticks were passed over."),
    Metric::counter("schedule_ticks_refused", "How often a tick was refused."),
    Metric::states("appliers_state", "state", APPLIER_STATES, "The connections that apply: 1 for their state."),
    Metric::text("appliers_last_error", TEXTS_CHANGE, "Why jobs cannot be applied."),
];

const INBOX: &[Metric] = &[
    Metric::states("inbox_state", "state", INBOX_STATES, "The inbox in Postgres: 1 for its state."),
    Metric::text("inbox_last_error", TEXTS_CHANGE, "Why rows are not taken over."),
    Metric::gauge("inbox_sections", "Sections whose rows are taken over here."),
    Metric::gauge("inbox_sections_of_others", "Sections whose rows another Redis takes over."),
    Metric::counter("inbox_taken", "Rows that became jobs."),
    Metric::counter("inbox_refused", "Rows that could be no job, and failed."),
    Metric::counter("inbox_told", "Rows that Postgres was told of."),
    Metric::counter("inbox_completed_there", "Jobs that had settled in Postgres before Redis knew."),
    Metric::gauge("inbox_untold", "Rows that Postgres is still to be told of."),
    Metric::gauge("inbox_unverified", "Jobs that wait for Postgres' word that their rows are open.").of_section(),
    Metric::gauge("inbox_spaces_passed_over", "Spaces whose rows wait for room, or for keys of others to go."),
    Metric::gauge("inbox_lag_ms", "From when the last row was written to when it became a job.").in_ms(),
    Metric::counter("inbox_polls", "Looks for new rows."),
];

const LOCKS: &[Metric] = &[
    Metric::gauge("locks_held", "Locks that are held."),
    Metric::gauge("locks_waiting", "Clients that wait for a lock."),
    Metric::counter("locks_granted", "Locks that were granted."),
    Metric::counter("locks_given_back", "Locks that were given back."),
    Metric::counter("locks_expired", "Locks whose time was over."),
    Metric::counter("limits_asked", "Limits that were asked for."),
    Metric::counter("limits_limited", "Of these, not let through."),
];

const TOTAL: &[Metric] = &[
    Metric::counter("hits", "Calls that were answered from the cache.").of_section(),
    Metric::counter("stale_hits", "Hits that were answered with an entry beyond its TTL.").of_section(),
    Metric::counter("refreshes", "Fetches begun for nobody, by a hit near the end of a life.").of_section(),
    Metric::counter("rewarmed", "Fetches begun for nobody, of what a change had dropped.").of_section(),
    Metric::counter("misses", "Calls that were not in the cache.").of_section(),
    Metric::counter("joined", "Misses that waited for a fetch somebody else had begun.")
        .of_section()
        .named("misses_joined"),
    Metric::counter("fills", "Fetches that brought a result.").of_section(),
    Metric::counter("failed", "Fetches that failed.").of_section().named("fills_failed"),
    Metric::counter("struck", "Results not stored because of an invalidation meanwhile.")
        .of_section()
        .named("fills_struck"),
    Metric::counter("discarded", "Results not stored for another reason.").of_section().named("fills_discarded"),
    Metric::counter("leased", "Leases given to compute a value.").of_section().named("value_leases"),
    Metric::counter("lease_ends", "Leases that ended before a value came.").of_section().named("value_leases_ended"),
    Metric::counter("puts_stored", "Values that were put and stored.").of_section(),
    Metric::counter("puts_refused", "Values that were put and not stored.").of_section(),
    Metric::counter("compressed", "Results that were stored compressed.").of_section().named("results_compressed"),
    Metric::counter("compressed_plain_bytes", "Bytes of results that were stored compressed, as JSON.").of_section(),
    Metric::counter("compressed_stored_bytes", "Bytes of results that were stored compressed, as stored.").of_section(),
    Metric::counter("decompressed_aside", "Hits that were decompressed by another thread.").of_section(),
    Metric::counter("entries_invalidated", "Entries that invalidations of the section removed.").of_section(),
    Metric::counter("rows_invalidated", "Rows that invalidations of the section named.").of_section(),
    Metric::gauge("fetch_us_p50", "Median time of fetches.").in_us().hidden(IN_HISTOGRAM),
    Metric::gauge("fetch_us_p99", "Time of fetches, 99 of 100.").in_us().hidden(IN_HISTOGRAM),
    Metric::gauge("fetch_us_max", "Longest fetch.").in_us().hidden(IN_HISTOGRAM),
];

const SECTIONS: &[Metric] = &[Metric::gauge("sections", "Sections of the catalog.")];

const ENDPOINT: &[Metric] = &[
    Metric::states("metrics_state", "state", ENDPOINT_STATES, "The listener for Prometheus: 1 for its state."),
    Metric::text("metrics_last_error", TEXTS_CHANGE, "Why nobody listens."),
    Metric::counter("metrics_scrapes", "Answers that the listener gave with figures."),
    Metric::gauge("metrics_longest_slice_cpu_us", "Longest piece of a scrape's work on Redis' thread, on a processor.")
        .in_us(),
    Metric::counter("metrics_refused", "Connections and requests that the listener refused."),
];

const SERIES: &[Metric] = &[
    Metric::histogram(FETCH, "Time of fetches that brought a result.").of_section(),
    Metric::histogram(APPLY, "Time of batches of jobs in Postgres, outages included."),
    Metric::histogram(
        JOB_WAIT,
        "From when a job was enqueued, or due, to the batch that settled it; without jobs that were tried before.",
    )
    .of_section(),
    Metric::histogram(WORK_WAIT, "From when a claimed job was enqueued, or due, to a claim as its first attempt.")
        .of_section(),
    Metric::histogram(CLAIM, "From a claim to its end: acknowledged, failed, given back, or its lease over.")
        .of_section(),
    Metric::gauge("work_waiting", "Claimed jobs that wait to be claimed.").of_section(),
    Metric::gauge("work_delayed", "Claimed jobs that wait for a time.").of_section(),
    Metric::gauge("queues_paused", "Spaces whose queue is paused.").of_section(),
    Metric::gauge(OLDEST, "Age of the oldest job that waits for its turn alone; 0: there is none.")
        .of_section()
        .in_ms()
        .named("oldest_waiting_job_age_seconds"),
];

/// Names that others than the list use.
pub const FETCH: &str = "fetch_duration_seconds";
pub const APPLY: &str = "apply_duration_seconds";
pub const JOB_WAIT: &str = "job_wait_seconds";
pub const WORK_WAIT: &str = "work_wait_seconds";
pub const CLAIM: &str = "claim_duration_seconds";
pub const OLDEST: &str = "oldest_waiting_job_age_ms";

/// All parts, in the order of INFO.
pub const PARTS: [(Part, &[Metric]); 10] = [
    (Part::State, STATE),
    (Part::Postgres, POSTGRES),
    (Part::Feed, FEED),
    (Part::Queues, QUEUES),
    (Part::Inbox, INBOX),
    (Part::Locks, LOCKS),
    (Part::Endpoint, ENDPOINT),
    (Part::Total, TOTAL),
    (Part::Sections, SECTIONS),
    (Part::Series, SERIES),
];

/// The figures of a part.
pub fn of(part: Part) -> &'static [Metric] {
    PARTS.iter().find(|(of, _)| *of == part).map_or(&[], |(_, metrics)| metrics)
}

pub fn all() -> impl Iterator<Item = &'static Metric> {
    PARTS.iter().flat_map(|(_, metrics)| *metrics)
}

pub fn find(name: &str) -> Option<&'static Metric> {
    all().find(|metric| metric.name == name)
}

#[cfg(test)]
mod tests;
