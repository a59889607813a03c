//! Enqueueing: BEAR.ENQUEUE against an XADD of the same bytes, in turn. Nothing drains meanwhile.

use crate::figures::{count, median, Table};
use crate::generator::{benchmark, Run, CLIENTS};
use crate::queue::{self, STREAM};
use crate::setup::Servers;

const PIPELINES: [usize; 2] = [1, 64];

/// How long one run should last at least, and requests of a short one, to see how many that takes.
const RUN_SECS: f64 = 2.0;
const TRIAL: usize = 50_000;

const PLAIN_STREAM: &str = "plain";

/// An id of thirteen digits, always another.
const JSON: &str = r#"{"id":1__rand_int__,"name":"Kodiak"}"#;

pub fn run(servers: &Servers, rounds: usize) -> Vec<Table> {
    let mut table = Table::new(
        format!("Enqueueing a job: commands a second, {CLIENTS} connections, AOF everysec"),
        &["pipeline", "XADD", "BEAR.ENQUEUE", "ratio", "ratio by server CPU"],
    );
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let job = ["job", "UPDATE_BEAR_NAME", "data", JSON];
    let xadd = words(&[&["XADD", PLAIN_STREAM, "*", "v", "1", "epoch", "5240379712867713024"], &job[..]].concat());
    let enqueue = words(&["BEAR.ENQUEUE", "bear", "UPDATE_BEAR_NAME", JSON]);
    for pipeline in PIPELINES {
        let (mut plain, mut queued) = (Vec::new(), Vec::new());
        let mut requests = TRIAL;
        // The first one is a trial.
        for round in 0..=rounds {
            let run = |command: &[String], stream: &str| {
                // A new one each time: no stream or append-only file grows on, and nobody inherits another's.
                let redis = queue::redis(&servers.database);
                let run = benchmark(&redis, pipeline, requests, command);
                let added = redis.wire().call(&["XLEN", stream]).int();
                assert!(added >= requests as i64, "all {requests} commands add a job, not {added}");
                run
            };
            let pair = (run(&xadd, PLAIN_STREAM), run(&enqueue, STREAM));
            if round == 0 {
                requests = (pair.0.per_second * RUN_SECS * 1.1) as usize;
                continue;
            }
            plain.push(pair.0);
            queued.push(pair.1);
        }
        let of =
            |figure: &dyn Fn((&Run, &Run)) -> f64| median(&queued.iter().zip(&plain).map(figure).collect::<Vec<_>>());
        table.row(vec![
            pipeline.to_string(),
            count(of(&|(_, plain)| plain.per_second)),
            count(of(&|(queued, _)| queued.per_second)),
            format!("{:.2}", of(&|(queued, plain)| queued.per_second / plain.per_second)),
            format!("{:.2}", of(&|(queued, plain)| plain.cpu_us / queued.cpu_us)),
        ]);
    }
    table.note(format!(
        "Medians of {rounds} rounds of XADD and BEAR.ENQUEUE in turn, {RUN_SECS} s and more each, each on a new server; \
         ratios are those of the pairs. XADD adds the fields that a job has."
    ));
    vec![table]
}
