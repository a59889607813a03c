//! The tables of docs/performance.md: servers of its own, one file a part, Markdown on standard output.
//!
//! ```text
//! bench/run.sh [part …] [--rounds N]
//! ```
//! Ratios and comparisons are of runs that take turns, and medians of several, so that what else the machine does
//! meets both sides.

mod bullmq;
mod by_hand;
mod claims;
mod compression;
mod drain;
mod drain_feed;
mod drain_holds;
mod enqueue;
mod events;
mod feed;
mod figures;
mod followed;
mod freshness;
mod generator;
mod hits;
mod holds;
mod inbox;
mod invalidations;
mod jobs;
mod latency;
mod limits;
mod links;
mod masters;
mod memory;
mod misses;
mod one_client;
mod pgbench;
mod plain_client;
mod predicates;
mod probe;
mod queue;
mod queue_memory;
mod rewarm;
mod setup;
mod shared;
mod stampede;
#[path = "../tests/support/mod.rs"]
mod support;

use figures::Table;
use setup::Servers;

/// Rounds of what is measured in turns, unless `--rounds` says otherwise.
const ROUNDS: usize = 5;

type Part = fn(&Servers, usize) -> Vec<Table>;

/// A word before a colon names several.
const PARTS: [(&str, Part); 34] = [
    ("hits", hits::run),
    ("holds", holds::run),
    ("stampede", stampede::run),
    ("invalidations", invalidations::run),
    ("predicates", predicates::run),
    ("links", links::run),
    ("feed", feed::run),
    ("freshness", freshness::run),
    ("memory", memory::run),
    ("compression", compression::run),
    ("misses", misses::run),
    ("shared", shared::run),
    ("rewarm", rewarm::run),
    ("enqueue", enqueue::run),
    ("queue-memory", queue_memory::run),
    ("latency", latency::run),
    ("drain", drain::run),
    ("drain-feed", drain_feed::run),
    ("bullmq", bullmq::run),
    ("drain-holds", drain_holds::run),
    ("limits", limits::run),
    ("claims:rates", claims::run_rates),
    ("claims:enqueue", claims::run_enqueueing),
    ("claims:wake", claims::run_waking),
    ("claims:waiting", claims::run_waiting),
    ("claims:holds", claims::run_holding),
    ("masters:drain", masters::run_draining),
    ("masters:feeds", masters::run_following),
    ("events", events::run),
    ("inbox:insert", inbox::run_inserting),
    ("inbox:drain", inbox::run_draining),
    ("inbox:wake", inbox::run_waking),
    ("inbox:wal", inbox::run_writing),
    ("inbox:bloat", inbox::run_growing),
];

/// What was asked for.
struct Plan {
    parts: Vec<(&'static str, Part)>,
    rounds: usize,
}

fn main() {
    let plan = match plan(std::env::args().skip(1)) {
        Ok(plan) => plan,
        Err(error) => {
            eprintln!("bench: {error}");
            std::process::exit(2);
        }
    };
    let load = load_average();
    let servers = Servers::start();
    let mut text = machine(&servers, &load);
    for (name, run) in plan.parts {
        eprintln!("{name}");
        for table in run(&servers, plan.rounds) {
            text.push('\n');
            text.push_str(&table.markdown());
        }
    }
    println!("{text}");
}

fn plan(mut words: impl Iterator<Item = String>) -> Result<Plan, String> {
    let mut wanted = Vec::new();
    let mut rounds = ROUNDS;
    while let Some(word) = words.next() {
        match word.as_str() {
            // What cargo bench adds.
            "--bench" => {}
            "--rounds" => {
                let number = words.next().and_then(|number| number.parse().ok()).filter(|number| *number > 0);
                rounds = number.ok_or("--rounds takes a number above 0")?;
            }
            name if PARTS.iter().any(|(part, _)| is_named(part, name)) => wanted.push(word),
            name => {
                let names: Vec<&str> = PARTS.iter().map(|(name, _)| *name).collect();
                return Err(format!("no part '{name}'; there are {}", names.join(", ")));
            }
        }
    }
    let parts =
        PARTS.into_iter().filter(|(name, _)| wanted.is_empty() || wanted.iter().any(|word| is_named(name, word)));
    Ok(Plan { parts: parts.collect(), rounds })
}

fn is_named(part: &str, word: &str) -> bool {
    part == word || part.split_once(':').is_some_and(|(several, _)| several == word)
}

/// What it ran on.
fn machine(servers: &Servers, load: &str) -> String {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model =
        cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ")).map_or("?", |(_, name)| name);
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let postgres: String = servers.database.client().query_one("SHOW server_version", &[]).expect("Postgres").get(0);
    let redis = servers.redis().info("server");
    let redis = match redis.get("valkey_version") {
        Some(version) => format!("Valkey {version}"),
        None => format!("Redis {}", redis.text("redis_version")),
    };
    format!(
        "Measured by `make bench`: {model}, {cores} cores; {redis}, Postgres {postgres}, clients on the same machine, \
         TCP over loopback; load average before the run {load}.\n"
    )
}

/// Of the last minute: a table made on a busy machine should show that it was.
fn load_average() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_ascii_whitespace().next().unwrap_or("?").to_owned()
}
