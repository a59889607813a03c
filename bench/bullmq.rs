//! The same jobs through BullMQ, which applies each by a statement of its own (bench/bullmq/drain.js).

use std::path::Path;
use std::process::{Command, Stdio};

use crate::drain::{bear_rate, JOBS, SPREAD};
use crate::figures::{count, median, Table};
use crate::jobs::{bears_for, mixed, Job};
use crate::queue::Durable;
use crate::setup::Servers;
use crate::support::{guardian, Redis};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/bench/bullmq");

pub fn run(_: &Servers, rounds: usize) -> Vec<Table> {
    let mut table = Table::new(
        format!("The same {} jobs through BullMQ, jobs a second", count(JOBS as f64)),
        &["BullMQ, 50 workers", "bear", "times"],
    );
    if !Path::new(FOLDER).join("node_modules").exists() {
        table.note("Not measured: BullMQ is not installed (scripts/setup.sh bench).");
        return vec![table];
    }
    let jobs = mixed(JOBS, SPREAD);
    let durable = Durable::start(bears_for(&jobs));
    let (mut others, mut drained) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        others.push(bullmq_rate(&durable, &jobs));
        drained.push(bear_rate(&durable, &jobs, None));
    }
    let times: Vec<f64> = drained.iter().zip(&others).map(|(bear, other)| bear / other).collect();
    table.row(vec![count(median(&others)), count(median(&drained)), format!("{:.1}", median(&times))]);
    table.note(format!(
        "Medians of {rounds} rounds in turn; ratios are those of the pairs. Versions: bench/bullmq/package.json. One Node \
         process with 50 concurrent workers and 50 connections; one prepared statement a job; all jobs are in the queue before \
         the workers begin. Redis with AOF everysec, Postgres with fsync, as for bear."
    ));
    vec![table]
}

fn bullmq_rate(durable: &Durable, jobs: &[Job]) -> f64 {
    durable.with_fresh_tables(|database| {
        let redis = Redis::builder().plain().append_only().config("appendfsync", "everysec").start();
        let folder = guardian::folder("bullmq");
        let file = folder.join("jobs");
        let lines: String = jobs.iter().map(|job| format!("{}\t{}\n", job.name, job.data)).collect();
        std::fs::write(&file, lines).expect("the jobs");
        let mut node = Command::new("node");
        node.current_dir(FOLDER).args(["drain.js", &redis.port().to_string(), &database.url()]).arg(&file);
        let child = node.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("node runs");
        let id = child.id();
        guardian::watch(id, "KILL");
        let output = child.wait_with_output().expect("a child of this process");
        guardian::forget(id);
        let _ = std::fs::remove_dir_all(folder);
        assert!(output.status.success(), "node ended with {}", output.status);
        let told: serde_json::Value = serde_json::from_slice(&output.stdout).expect("figures");
        assert_eq!(told["completed"].as_u64(), Some(jobs.len() as u64), "{told}");
        durable.check(database, jobs);
        jobs.len() as f64 / told["seconds"].as_f64().expect("seconds")
    })
}
