//! 50 workers claim and acknowledge jobs that do nothing, through bear and through BullMQ, in turn.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use super::connection::Connection;
use super::{enqueue, redis, stream, PAYLOAD};
use crate::figures::{count, median, Table};
use crate::generator::benchmark;
use crate::setup::Servers;
use crate::support::{guardian, Redis};

const WORKERS: usize = 50;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/bench/bullmq");
const JOBS_OF_BULLMQ: usize = 40_000;

const PINGS: usize = 200_000;

/// Section, jobs of one claim, jobs in all, and what the table says.
const CASES: [(&str, usize, usize, &str); 4] = [
    ("bare", 1, 200_000, "bear, COUNT 1, `keep = 0`"),
    ("kept", 1, 200_000, "bear, COUNT 1, default `keep`"),
    ("bare", 50, 400_000, "bear, COUNT 50, `keep = 0`"),
    ("kept", 50, 400_000, "bear, COUNT 50, default `keep`"),
];

struct Worked {
    per_second: f64,
    /// Processor time of Redis a job: its main thread, and all its threads.
    main_us: f64,
    all_us: f64,
}

pub fn run(_: &Servers, rounds: usize) -> Vec<Table> {
    let mut table = Table::new(
        format!("Jobs of {} bytes that do nothing, {WORKERS} workers, AOF everysec", PAYLOAD.len()),
        &["workers", "jobs a second", "times BullMQ", "Redis' main thread, µs a job", "all its threads, µs a job"],
    );
    let has_bullmq = Path::new(FOLDER).join("node_modules/bullmq").exists();
    let (mut others, mut pings): (Vec<Worked>, Vec<Worked>) = Default::default();
    let mut results: [Vec<Worked>; 4] = Default::default();
    for _ in 0..rounds {
        pings.push(ping());
        if has_bullmq {
            others.push(bullmq());
        }
        for ((space, at_once, jobs, _), results) in CASES.iter().zip(&mut results) {
            results.push(bear(space, *at_once, *jobs));
        }
    }
    let of = |results: &[Worked], figure: fn(&Worked) -> f64| median(&results.iter().map(figure).collect::<Vec<_>>());
    let mut row = |name: &str, results: &[Worked], is_compared: bool| {
        let ratios = || results.iter().zip(&others).map(|(one, other)| one.per_second / other.per_second);
        let figure = |value: f64| if value.is_nan() { String::new() } else { format!("{value:.1}") };
        table.row(vec![
            name.to_owned(),
            count(of(results, |worked| worked.per_second)),
            if is_compared { figure(median(&ratios().collect::<Vec<_>>())) } else { String::new() },
            figure(of(results, |worked| worked.main_us)),
            figure(of(results, |worked| worked.all_us)),
        ]);
    };
    if has_bullmq {
        row("BullMQ, concurrency 50", &others, true);
    }
    for ((.., name), results) in CASES.iter().zip(&results) {
        row(name, results, true);
    }
    row("for comparison: a PING each, redis-benchmark", &pings, false);
    if !has_bullmq {
        table.note("BullMQ is not installed (scripts/setup.sh bench).");
    }
    table.note(format!(
        "Medians of {rounds} rounds in turn, each on a new server, whose jobs are all enqueued before the workers begin; ratios are \
         those of a round. bear: {WORKERS} connections of one thread, ACK of what a worker holds and its next CLAIM in one pipeline. \
         BullMQ (version: bench/bullmq/package.json): one Node process, a Worker with concurrency {WORKERS} and removeOnComplete, \
         whose completion of a job fetches the next. Processor time by INFO cpu."
    ));
    vec![table]
}

fn bear(space: &str, at_once: usize, jobs: usize) -> Worked {
    let redis = redis();
    enqueue(&redis, space, jobs);
    let worked = work_off(&redis, space, at_once, jobs);
    assert_eq!(redis.wire().call(&["XLEN", &stream(space)]).int(), 0, "jobs that are left");
    worked
}

/// Claims and acknowledges all jobs. Each worker waits for its own answer, so that there are 50 pipelines under way.
fn work_off(redis: &Redis, space: &str, at_once: usize, jobs: usize) -> Worked {
    let mut workers: Vec<Connection> = (0..WORKERS).map(|_| Connection::new(redis.port(), space, at_once)).collect();
    let before = cpu_us(redis);
    let begun = Instant::now();
    workers.iter_mut().for_each(Connection::begin);
    let mut done = 0;
    while !workers.is_empty() {
        workers.retain_mut(|worker| {
            let (goes_on, acknowledged) = worker.turn();
            done += acknowledged;
            goes_on
        });
    }
    let seconds = begun.elapsed().as_secs_f64();
    let after = cpu_us(redis);
    assert_eq!(done, jobs, "jobs done");
    let of_job = |at: usize| (after[at] - before[at]) / jobs as f64;
    Worked { per_second: jobs as f64 / seconds, main_us: of_job(0), all_us: of_job(1) }
}

/// Processor time so far: of the main thread, NaN where the server does not tell, and of all.
fn cpu_us(redis: &Redis) -> [f64; 2] {
    let info = redis.info("cpu");
    let of = |name: &str| info.get(name).and_then(|value| value.parse::<f64>().ok()).unwrap_or(f64::NAN) * 1e6;
    ["_main_thread", ""].map(|of_what| of(&format!("used_cpu_sys{of_what}")) + of(&format!("used_cpu_user{of_what}")))
}

/// What a command costs that does nothing: no worker's pipeline can cost less.
fn ping() -> Worked {
    let run = benchmark(&redis(), 1, PINGS, &["PING".to_owned()]);
    Worked { per_second: run.per_second, main_us: run.cpu_us, all_us: f64::NAN }
}

fn bullmq() -> Worked {
    let redis = Redis::builder().plain().append_only().config("appendfsync", "everysec").start();
    let mut node = Command::new("node");
    let (port, jobs) = (redis.port().to_string(), JOBS_OF_BULLMQ.to_string());
    node.current_dir(FOLDER).args(["workers.js", &port, PAYLOAD, &jobs]);
    let child = node.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("node runs");
    let id = child.id();
    guardian::watch(id, "KILL");
    let output = child.wait_with_output().expect("a child of this process");
    guardian::forget(id);
    assert!(output.status.success(), "node ended with {}", output.status);
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).expect("figures");
    assert_eq!(told["completed"].as_u64(), Some(JOBS_OF_BULLMQ as u64), "{told}");
    let of = |name: &str| told[name].as_f64().unwrap_or(f64::NAN);
    let jobs = JOBS_OF_BULLMQ as f64;
    Worked { per_second: jobs / of("seconds"), main_us: of("main_us") / jobs, all_us: of("all_us") / jobs }
}
