//! BEAR.ENQUEUE of a job that workers claim, against that of an SQL job with the same payload, in turn.

use super::{stream, CATALOG};
use crate::figures::{count, median, Table};
use crate::generator::{benchmark, Run, CLIENTS};
use crate::queue;
use crate::setup::{self, Servers};

const PIPELINES: [usize; 2] = [1, 64];

/// How long one run should last at least, and requests of a short one, to see how many that takes.
const RUN_SECS: f64 = 2.0;
const TRIAL: usize = 50_000;

const JOB: &str = "UPDATE_BEAR_NAME";
const JSON: &str = r#"{"id":1__rand_int__,"name":"Kodiak"}"#;

pub fn run(servers: &Servers, rounds: usize) -> Vec<Table> {
    let mut table = Table::new(
        format!("Enqueueing a job that workers claim: commands a second, {CLIENTS} connections, AOF everysec"),
        &["pipeline", "of an SQL job", "of a claimed job", "ratio", "ratio by server CPU"],
    );
    let catalog = [setup::CATALOG, CATALOG].concat();
    for pipeline in PIPELINES {
        let (mut plain, mut claimed) = (Vec::new(), Vec::new());
        let mut requests = TRIAL;
        // The first one is a trial.
        for round in 0..=rounds {
            let run = |space: &str, stream: &str| {
                let redis = queue::redis_with(&servers.database, &catalog);
                let command = ["BEAR.ENQUEUE", space, JOB, JSON].map(str::to_owned);
                let run = benchmark(&redis, pipeline, requests, &command);
                let added = redis.wire().call(&["XLEN", stream]).int();
                assert!(added >= requests as i64, "all {requests} commands add a job, not {added}");
                run
            };
            let pair = (run("bear", queue::STREAM), run("same", &stream("same")));
            if round == 0 {
                requests = (pair.0.per_second * RUN_SECS * 1.1) as usize;
                continue;
            }
            plain.push(pair.0);
            claimed.push(pair.1);
        }
        let of =
            |figure: &dyn Fn((&Run, &Run)) -> f64| median(&claimed.iter().zip(&plain).map(figure).collect::<Vec<_>>());
        table.row(vec![
            pipeline.to_string(),
            count(of(&|(_, plain)| plain.per_second)),
            count(of(&|(claimed, _)| claimed.per_second)),
            format!("{:.2}", of(&|(claimed, plain)| claimed.per_second / plain.per_second)),
            format!("{:.2}", of(&|(claimed, plain)| plain.cpu_us / claimed.cpu_us)),
        ]);
    }
    table.note(format!(
        "Medians of {rounds} rounds in turn, {RUN_SECS} s and more each, each on a new server; ratios are those of the pairs."
    ));
    vec![table]
}
