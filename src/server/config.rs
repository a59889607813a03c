//! The settings: one table with unit, default and range; their checks; the words after `--loadmodule`.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::postgres::{check_url, FeedKind, FeedSettings, Settings, UrlSource};
use crate::redis_api::{ConfigSpec, ConfigValue, Live};
use crate::server::events::EventsChoice;
use crate::workers::InboxSettings;

/// Environment variable with the default URL, which may hold a password.
pub const URL_VARIABLE: &str = "BEAR_POSTGRES_URL";

/// What is configured.
#[derive(Debug, Clone)]
pub struct Config {
    /// libpq URL without a password; empty: [`URL_VARIABLE`].
    pub postgres_url: String,
    /// File with the password, read at each connect; empty: none.
    pub postgres_password_file: String,
    /// search_path of the connections; empty: the role's own.
    pub search_path: String,
    /// File of the catalog; empty: the bear catalog.
    pub catalog: String,
    /// Database of entries, metadata and queues.
    pub db: i64,
    /// Threads that fetch, each with a connection.
    pub fetch_threads: i64,
    /// How long a client waits for a fetch, and the fetch may take, in milliseconds.
    pub query_timeout_ms: i64,
    /// A larger result is answered and not stored, in bytes.
    pub max_entry_bytes: i64,
    /// A larger result is an error, in bytes.
    pub max_result_bytes: i64,
    /// The words of a call together, in bytes.
    pub max_call_bytes: i64,
    /// Fetches under way or waiting for a thread.
    pub max_fills: i64,
    /// Prepare statements once a connection; no: behind a transaction-mode pooler.
    pub prepare: bool,
    /// Apply queued jobs.
    pub drain: bool,
    /// Threads that apply jobs, each with a connection.
    pub apply_threads: i64,
    /// Jobs in a batch, and their bytes; the last may be larger.
    pub apply_batch_jobs: i64,
    pub apply_batch_bytes: i64,
    /// How long a batch that is not full waits for more, in milliseconds.
    pub apply_linger_ms: i64,
    /// How long a job's statement may take, in milliseconds.
    pub apply_timeout_ms: i64,
    /// How long a statement of several jobs waits for a row that somebody else holds, in milliseconds.
    pub lock_timeout_ms: i64,
    /// Jobs that one queue may hold, and bytes.
    pub queue_max_jobs: i64,
    pub queue_max_bytes: i64,
    /// A larger payload is refused, in bytes.
    pub max_job_bytes: i64,
    /// How long a UNIQUE key holds after its job has settled, in milliseconds.
    pub unique_ms: i64,
    /// Records of completed jobs that one queue keeps, in bytes.
    pub completed_max_bytes: i64,
    /// Failed jobs that one queue keeps.
    pub failed_max_jobs: i64,
    /// Rows of the ledger that nobody touched for so long are removed, in days.
    pub ledger_keep_days: i64,
    /// Are rows of the inbox taken over?
    pub inbox: InboxChoice,
    /// How often it is looked for new ones, in milliseconds.
    pub inbox_poll_ms: i64,
    /// Which change feed is used.
    pub feed: FeedChoice,
    /// Where the feed connects, if not where all do: past a pooler.
    pub feed_url: String,
    /// How long the feed may be behind before what depends on it is not served, in milliseconds.
    pub feed_grace_ms: i64,
    /// What happens then.
    pub feed_behind: FeedBehind,
    /// Of which sections is published what happens.
    pub events: EventsChoice,
    /// A line in the log for each hit and miss.
    pub log_calls: bool,
    /// Where Prometheus asks: an address and a port; empty: nowhere.
    pub metrics_listen: String,
    /// The oldest waiting job may be so old, in milliseconds, before /healthz says that something is wrong; 0: it may be any.
    pub health_queue_age_ms: i64,
}

/// `bear.feed`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FeedChoice {
    /// Logical decoding where Postgres allows it, or else none.
    Auto,
    Wal,
    /// Triggers that write what changes into a table.
    Outbox,
    Off,
}

impl FeedChoice {
    const ALL: [(&'static str, FeedChoice); 4] = [
        ("auto", FeedChoice::Auto),
        ("wal", FeedChoice::Wal),
        ("outbox", FeedChoice::Outbox),
        ("off", FeedChoice::Off),
    ];

    pub fn name(self) -> &'static str {
        FeedChoice::ALL.iter().find(|(_, choice)| *choice == self).map_or("", |(name, _)| name)
    }
}

/// `bear.inbox`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InboxChoice {
    /// Where its tables are.
    Auto,
    /// They are made.
    Yes,
    No,
}

impl InboxChoice {
    const ALL: [(&'static str, InboxChoice); 3] =
        [("auto", InboxChoice::Auto), ("yes", InboxChoice::Yes), ("no", InboxChoice::No)];

    pub fn name(self) -> &'static str {
        InboxChoice::ALL.iter().find(|(_, choice)| *choice == self).map_or("", |(name, _)| name)
    }
}

/// `bear.feed-behind`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FeedBehind {
    /// What depends on the feed is fetched.
    Refetch,
    /// It is served, and counted.
    Serve,
}

impl FeedBehind {
    const ALL: [(&'static str, FeedBehind); 2] = [("refetch", FeedBehind::Refetch), ("serve", FeedBehind::Serve)];

    pub fn name(self) -> &'static str {
        FeedBehind::ALL.iter().find(|(_, choice)| *choice == self).map_or("", |(name, _)| name)
    }
}

impl Default for Config {
    fn default() -> Self {
        Config {
            postgres_url: String::new(),
            postgres_password_file: String::new(),
            search_path: String::new(),
            catalog: String::new(),
            db: 0,
            fetch_threads: 4,
            query_timeout_ms: 5000,
            max_entry_bytes: 1 << 20,
            max_result_bytes: 64 << 20,
            max_call_bytes: 8 << 10,
            max_fills: 10_000,
            prepare: true,
            inbox: InboxChoice::Auto,
            inbox_poll_ms: 10,
            feed: FeedChoice::Auto,
            feed_url: String::new(),
            feed_grace_ms: 5000,
            feed_behind: FeedBehind::Refetch,
            events: EventsChoice::Catalog,
            log_calls: false,
            metrics_listen: String::new(),
            health_queue_age_ms: 60_000,
            drain: true,
            apply_threads: 2,
            apply_batch_jobs: 500,
            apply_batch_bytes: 1 << 20,
            apply_linger_ms: 0,
            apply_timeout_ms: 5000,
            lock_timeout_ms: 100,
            queue_max_jobs: 1_000_000,
            queue_max_bytes: 256 << 20,
            max_job_bytes: 1 << 20,
            unique_ms: 3_600_000,
            completed_max_bytes: 4 << 20,
            failed_max_jobs: 500,
            ledger_keep_days: 30,
        }
    }
}

thread_local! {
    static CONFIG: RefCell<Config> = RefCell::new(Config::default());
}

/// A copy of what is configured now.
pub fn current() -> Config {
    CONFIG.with_borrow(Config::clone)
}

impl Config {
    pub fn query_timeout(&self) -> Duration {
        Duration::from_millis(self.query_timeout_ms as u64)
    }

    /// Where Prometheus asks; None: nowhere.
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.metrics_listen.parse().ok()
    }

    /// What the connections need; None where no URL is given.
    pub fn postgres_settings(&self) -> Option<Settings> {
        let (url, source) = if self.postgres_url.is_empty() {
            (std::env::var(URL_VARIABLE).ok().filter(|url| !url.is_empty())?, UrlSource::Environment)
        } else {
            (self.postgres_url.clone(), UrlSource::Config)
        };
        let mut settings = Settings::new(url, source);
        let given = |text: &String| (!text.is_empty()).then(|| text.clone());
        settings.password_file = given(&self.postgres_password_file).map(PathBuf::from);
        settings.search_path = given(&self.search_path);
        settings.query_timeout_ms = self.query_timeout_ms as u64;
        settings.prepare = self.prepare;
        Some(settings)
    }

    /// What the thread of the inbox needs; None where there is to be none.
    pub fn inbox_settings(&self) -> Option<InboxSettings> {
        let settings = self.postgres_settings().filter(|_| self.inbox != InboxChoice::No)?;
        Some(InboxSettings {
            settings,
            make: self.inbox == InboxChoice::Yes,
            poll: Duration::from_millis(self.inbox_poll_ms as u64),
            keep_days: self.ledger_keep_days as u32,
        })
    }

    /// What the change feed needs; None where there is none to be.
    pub fn feed_settings(&self) -> Option<FeedSettings> {
        let mut settings = self.postgres_settings().filter(|_| self.feed != FeedChoice::Off)?;
        if !self.feed_url.is_empty() {
            let (password_file, search_path) = (settings.password_file.take(), settings.search_path.take());
            settings =
                Settings { password_file, search_path, ..Settings::new(self.feed_url.clone(), UrlSource::Config) };
            settings.query_timeout_ms = self.query_timeout_ms as u64;
        }
        let mut feed = FeedSettings::new(settings);
        feed.reads = self.postgres_settings().filter(|_| !self.feed_url.is_empty());
        feed.grace = Duration::from_millis(self.feed_grace_ms as u64);
        feed.kind = if self.feed == FeedChoice::Outbox { FeedKind::Outbox } else { FeedKind::Wal };
        Some(feed)
    }
}

fn text(value: ConfigValue) -> String {
    match value {
        ConfigValue::Text(text) => text,
        ConfigValue::Bool(_) | ConfigValue::Number { .. } => String::new(),
    }
}

fn number(value: ConfigValue) -> i64 {
    match value {
        ConfigValue::Number { value, .. } => value,
        ConfigValue::Text(_) | ConfigValue::Bool(_) => 0,
    }
}

/// A setting that holds a text. Protected unless it says otherwise: where Postgres is, whose names count there, which files are
/// read.
macro_rules! text_setting {
    ($name:literal, $field:ident, $check:expr) => {
        text_setting!($name, $field, Live::Protected, $check)
    };
    ($name:literal, $field:ident, $live:expr, $check:expr) => {
        ConfigSpec {
            name: $name,
            default: ConfigValue::Text(String::new()),
            live: $live,
            get: || CONFIG.with_borrow(|config| ConfigValue::Text(config.$field.clone())),
            set: |value| {
                let value = text(value);
                let check: fn(&str) -> Result<(), String> = $check;
                check(&value)?;
                change(|config| config.$field = value)
            },
        }
    };
}

/// A setting that holds a number: its default, least and greatest value.
macro_rules! number_setting {
    ($name:literal, $field:ident, $live:expr, $min:expr, $max:expr) => {
        ConfigSpec {
            name: $name,
            default: ConfigValue::Number { value: Config::default().$field, min: $min, max: $max },
            live: $live,
            get: || CONFIG.with_borrow(|config| ConfigValue::Number { value: config.$field, min: $min, max: $max }),
            set: |value| change(|config| config.$field = number(value)),
        }
    };
}

/// A setting that is one of some words.
macro_rules! choice_setting {
    ($name:literal, $field:ident, $all:expr) => {
        ConfigSpec {
            name: $name,
            default: ConfigValue::Text(Config::default().$field.name().to_owned()),
            live: Live::Yes,
            get: || CONFIG.with_borrow(|config| ConfigValue::Text(config.$field.name().to_owned())),
            set: |value| {
                let value = text(value);
                let Some((_, choice)) = $all.into_iter().find(|(name, _)| value.eq_ignore_ascii_case(name)) else {
                    let names: Vec<&str> = $all.iter().map(|(name, _)| *name).collect();
                    return Err(format!("must be one of {}", names.join(", ")));
                };
                change(|config| config.$field = choice)
            },
        }
    };
}

/// A setting that is yes or no.
macro_rules! switch_setting {
    ($name:literal, $field:ident) => {
        ConfigSpec {
            name: $name,
            default: ConfigValue::Bool(Config::default().$field),
            live: Live::Yes,
            get: || CONFIG.with_borrow(|config| ConfigValue::Bool(config.$field)),
            set: |value| change(|config| config.$field = value == ConfigValue::Bool(true)),
        }
    };
}

fn check_url_or_none(url: &str) -> Result<(), String> {
    if url.is_empty() {
        return Ok(());
    }
    check_url(url).map_err(|error| error.to_string())
}

fn check_address_or_none(address: &str) -> Result<(), String> {
    // No name: to look one up would hold Redis' thread.
    match address.parse::<SocketAddr>() {
        Ok(address) if address.port() > 0 => Ok(()),
        _ if address.is_empty() => Ok(()),
        _ => Err("must be an IP address and a port, such as 127.0.0.1:9121 or [::1]:9121, or empty".into()),
    }
}

/// Every setting. The table of docs/reference/settings.md follows it, and a test compares them.
pub fn specs() -> Vec<ConfigSpec> {
    vec![
        text_setting!("postgres-url", postgres_url, check_url_or_none),
        text_setting!("postgres-password-file", postgres_password_file, |_| Ok(())),
        text_setting!("search-path", search_path, |path| {
            if path.contains('\0') {
                return Err("a search_path holds no NUL".into());
            }
            Ok(())
        }),
        text_setting!("catalog", catalog, |_| Ok(())),
        number_setting!("db", db, Live::No, 0, 1_000_000),
        number_setting!("fetch-threads", fetch_threads, Live::No, 1, 64),
        number_setting!("query-timeout-ms", query_timeout_ms, Live::Yes, 10, 600_000),
        number_setting!("max-entry-bytes", max_entry_bytes, Live::Yes, 1 << 10, 64 << 20),
        number_setting!("max-result-bytes", max_result_bytes, Live::Yes, 1 << 10, 512 << 20),
        number_setting!("max-call-bytes", max_call_bytes, Live::Yes, 64, 64 << 10),
        number_setting!("max-fills", max_fills, Live::Yes, 1, 1_000_000),
        switch_setting!("drain", drain),
        number_setting!("apply-threads", apply_threads, Live::No, 1, 64),
        number_setting!("apply-batch-jobs", apply_batch_jobs, Live::Yes, 1, 10_000),
        number_setting!("apply-batch-bytes", apply_batch_bytes, Live::Yes, 1 << 10, 64 << 20),
        number_setting!("apply-linger-ms", apply_linger_ms, Live::Yes, 0, 10_000),
        number_setting!("apply-timeout-ms", apply_timeout_ms, Live::Yes, 10, 600_000),
        number_setting!("lock-timeout-ms", lock_timeout_ms, Live::Yes, 10, 60_000),
        number_setting!("queue-max-jobs", queue_max_jobs, Live::Yes, 1, 1_000_000_000),
        number_setting!("queue-max-bytes", queue_max_bytes, Live::Yes, 1 << 10, 1 << 40),
        number_setting!("max-job-bytes", max_job_bytes, Live::Yes, 64, 64 << 20),
        number_setting!("unique-ms", unique_ms, Live::Yes, 0, 30 * 86_400_000),
        number_setting!("completed-max-bytes", completed_max_bytes, Live::Yes, 0, 1 << 40),
        number_setting!("failed-max-jobs", failed_max_jobs, Live::Yes, 1, 1_000_000),
        number_setting!("ledger-keep-days", ledger_keep_days, Live::Yes, 1, 3650),
        choice_setting!("inbox", inbox, InboxChoice::ALL),
        number_setting!("inbox-poll-ms", inbox_poll_ms, Live::Yes, 1, 50),
        choice_setting!("feed", feed, FeedChoice::ALL),
        text_setting!("feed-url", feed_url, check_url_or_none),
        number_setting!("feed-grace-ms", feed_grace_ms, Live::Yes, 100, 3_600_000),
        choice_setting!("feed-behind", feed_behind, FeedBehind::ALL),
        choice_setting!("events", events, EventsChoice::ALL),
        switch_setting!("prepare", prepare),
        switch_setting!("log-calls", log_calls),
        text_setting!("metrics-listen", metrics_listen, Live::Yes, check_address_or_none),
        number_setting!("health-queue-age-ms", health_queue_age_ms, Live::Yes, 0, 30 * 86_400_000),
    ]
}

fn change(edit: impl FnOnce(&mut Config)) -> Result<(), String> {
    let before = current();
    CONFIG.with_borrow_mut(edit);
    super::config_changed(&before, &current()).inspect_err(|_| CONFIG.set(before))
}

/// Takes what stands after the module's path: pairs of a setting and its value, which become defaults.
pub fn with_arguments(mut specs: Vec<ConfigSpec>, args: &[String]) -> Result<Vec<ConfigSpec>, String> {
    let names = || -> String { specs.iter().map(|spec| format!("bear.{}", spec.name)).collect::<Vec<_>>().join(", ") };
    let position = |word: &str| {
        let short = word.strip_prefix("bear.").unwrap_or(word);
        specs.iter().position(|spec| spec.name == short)
    };
    let is_rewritten = args.len() % 2 == 1 || args.iter().step_by(2).any(|name| position(name).is_none());
    let pairs: Vec<(&String, String)> = match args {
        // CONFIG REWRITE, which Sentinel sends, too, leaves out the quotes of a value of several words, or of none.
        [first, ..] if is_rewritten && position(first).is_some() => {
            let pairs = args.chunk_by(|_, next| position(next).is_none());
            pairs.filter_map(|words| Some((words.first()?, words[1..].join(" ")))).collect()
        }
        _ => args.chunks(2).map(|pair| (&pair[0], pair.get(1).cloned().unwrap_or_default())).collect(),
    };
    let mut given = Vec::new();
    for (name, value) in pairs {
        let Some(at) = position(name) else {
            return Err(format!("unknown load argument '{name}'; there are {}", names()));
        };
        let is_text = matches!(specs[at].default, ConfigValue::Text(_));
        if value.is_empty() && !is_text {
            return Err(format!(
                "the load argument '{name}' has no value; arguments are pairs of a setting and a value"
            ));
        }
        let value = parse(&specs[at].default, &value).map_err(|reason| format!("load argument '{name}': {reason}"))?;
        given.push((at, value));
    }
    for (at, value) in given {
        specs[at].default = value;
    }
    Ok(specs)
}

fn parse(default: &ConfigValue, value: &str) -> Result<ConfigValue, String> {
    match default {
        ConfigValue::Text(_) => Ok(ConfigValue::Text(value.to_owned())),
        ConfigValue::Bool(_) => match value.to_ascii_lowercase().as_str() {
            "yes" => Ok(ConfigValue::Bool(true)),
            "no" => Ok(ConfigValue::Bool(false)),
            _ => Err("must be yes or no".into()),
        },
        ConfigValue::Number { min, max, .. } => match value.parse() {
            Ok(number) if (*min..=*max).contains(&number) => {
                Ok(ConfigValue::Number { value: number, min: *min, max: *max })
            }
            _ => Err(format!("must be a number from {min} to {max}")),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(args: &[&str]) -> Result<Vec<ConfigSpec>, String> {
        with_arguments(specs(), &args.iter().map(|arg| (*arg).to_owned()).collect::<Vec<_>>())
    }

    fn error_of(args: &[&str]) -> String {
        arguments(args).err().unwrap_or_default()
    }

    #[test]
    fn load_arguments_become_defaults() {
        let specs = arguments(&["fetch-threads", "7", "bear.prepare", "no"]).unwrap_or_default();
        let default = |name: &str| specs.iter().find(|spec| spec.name == name).map(|spec| spec.default.clone());
        assert_eq!(default("fetch-threads"), Some(ConfigValue::Number { value: 7, min: 1, max: 64 }));
        assert_eq!(default("prepare"), Some(ConfigValue::Bool(false)));
    }

    #[test]
    fn values_that_config_rewrite_has_left_without_their_quotes_are_whole() {
        let text = |args: &[&str], name: &str| {
            let specs = arguments(args).unwrap_or_default();
            specs.into_iter().find(|spec| spec.name == name).map(|spec| spec.default)
        };
        let path = |value: &str| Some(ConfigValue::Text(value.into()));
        for args in [
            &["search-path", "public, pg_temp", "feed", "off"][..],
            &["search-path", "public,", "pg_temp", "feed", "off"],
            &["feed", "off", "bear.search-path", "public,", "pg_temp"],
        ] {
            assert_eq!(text(args, "search-path"), path("public, pg_temp"), "{args:?}");
            assert_eq!(text(args, "feed"), path("off"), "{args:?}");
        }
        let empty = ["search-path", "fetch-threads", "7"];
        assert_eq!(text(&empty, "search-path"), path(""));
        // A pair is one, whatever its value is called.
        assert_eq!(text(&["search-path", "feed"], "search-path"), path("feed"));
        assert!(error_of(&["fetch-threads", "7", "8"]).contains("must be a number"));
    }

    #[test]
    fn wrong_load_arguments_say_what_would_be_right() {
        assert!(error_of(&["fetch-thread", "7"]).contains("there are bear.postgres-url, "));
        assert!(error_of(&["fetch-threads"]).contains("has no value"));
        assert!(error_of(&["fetch-threads", "0"]).contains("from 1 to 64"));
        assert!(error_of(&["prepare", "maybe"]).contains("yes or no"));
    }
}
