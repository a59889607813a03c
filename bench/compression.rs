//! Results that are kept compressed against the same kept as they are: memory, hits a second, how long they take.

use crate::figures::{count, median, Table};
use crate::generator::{benchmark, Run, CLIENTS};
use crate::memory::used;
use crate::setup::{self, call, Servers};
use crate::support::Redis;

/// Rows of a result, and how many entries are filled to see what they take.
const SIZES: [(usize, usize); 6] = [(7, 4_000), (27, 2_000), (107, 500), (430, 200), (1_700, 50), (6_000, 20)];

/// How long one run should last at least.
const RUN_SECS: f64 = 1.5;

const PIPELINES: [usize; 2] = [1, 16];

/// Rows of the largest that are measured in a pipeline, too.
const PIPELINED: usize = 107;

pub fn run(servers: &Servers, rounds: usize) -> Vec<Table> {
    vec![memory(servers), hits(servers, rounds)]
}

fn memory(servers: &Servers) -> Table {
    let mut table = Table::new(
        "Compression: memory of an entry, all that is kept of it, in bytes",
        &["JSON", "as it is", "compressed", "ratio", "stored bytes of the JSON's"],
    );
    for (rows, entries) in SIZES {
        let mut bytes = [0.0; 2];
        let (mut json, mut stored) = (0.0, 0.0);
        for (section, bytes) in ["whole", "packed"].into_iter().zip(&mut bytes) {
            let redis = servers.redis();
            let before = used(&redis);
            let (_, total) = setup::fill(&redis, 8, entries, |at| call(section, "rows", at * 11, rows));
            setup::wait_idle(&redis);
            json = total as f64 / entries as f64;
            *bytes = (used(&redis) - before) as f64 / entries as f64;
            let info = redis.info("bear");
            stored = setup::bear(&info, "compressed_stored_bytes") as f64
                / setup::bear(&info, "compressed_plain_bytes") as f64;
        }
        table.row(vec![
            count(json),
            count(bytes[0]),
            count(bytes[1]),
            format!("{:.2}", bytes[1] / bytes[0]),
            format!("{stored:.2}"),
        ]);
    }
    table.note(
        "Rows of 150 bytes: an id, a name, a number, 32 hexadecimal digits, a time, an array of two texts.".to_owned(),
    );
    table
}

fn hits(servers: &Servers, rounds: usize) -> Table {
    let mut table = Table::new(
        format!("Compression: hits, {CLIENTS} connections"),
        &[
            "JSON, pipeline",
            "as it is, a second",
            "p99",
            "compressed, a second",
            "p99",
            "ratio",
            "RAW, a second",
            "p99",
            "server CPU, µs",
        ],
    );
    let redis = servers.redis();
    for (rows, _) in SIZES {
        let whole = call("whole", "rows", 0, rows);
        let packed = call("packed", "rows", 0, rows);
        let raw = [&packed[..2], &["RAW".to_owned()], &packed[2..]].concat();
        let bytes = redis.wire().call(&whole).bulk().len();
        assert_eq!(redis.wire().call(&packed).bulk().len(), bytes);
        setup::wait_idle(&redis);
        for pipeline in PIPELINES.into_iter().filter(|pipeline| *pipeline == 1 || rows <= PIPELINED) {
            let commands = [&whole, &packed, &raw];
            let requests = commands.map(|command| requests(&redis, pipeline, rows, command));
            let mut runs: [Vec<Run>; 3] = Default::default();
            for _ in 0..rounds {
                for ((command, requests), runs) in commands.iter().zip(requests).zip(&mut runs) {
                    runs.push(benchmark(&redis, pipeline, requests, command));
                }
            }
            let of = |runs: &[Run], figure: &dyn Fn(&Run) -> f64| median(&runs.iter().map(figure).collect::<Vec<_>>());
            let rate = |runs: &[Run]| count(of(runs, &|run| run.per_second));
            let p99 = |runs: &[Run]| format!("{:.2} ms", of(runs, &|run| run.p99_ms));
            let ratios: Vec<f64> =
                runs[1].iter().zip(&runs[0]).map(|(packed, whole)| packed.per_second / whole.per_second).collect();
            let cpu: Vec<String> = runs.iter().map(|runs| format!("{:.1}", of(runs, &|run| run.cpu_us))).collect();
            table.row(vec![
                format!("{} KB, P{pipeline}", (bytes as f64 / 1000.0).round()),
                rate(&runs[0]),
                p99(&runs[0]),
                rate(&runs[1]),
                p99(&runs[1]),
                format!("{:.2}", median(&ratios)),
                rate(&runs[2]),
                p99(&runs[2]),
                cpu.join(", "),
            ]);
        }
    }
    table.note(format!(
        "Medians of {rounds} rounds in turn, {RUN_SECS} s and more each; ratios are those of the pairs. Server CPU is of Redis' \
         thread a hit, in the same order: as it is, compressed, RAW."
    ));
    table
}

/// Requests of a run that lasts as long as it should.
fn requests(redis: &Redis, pipeline: usize, rows: usize, command: &[String]) -> usize {
    let trial = if rows > PIPELINED { 1_000 } else { 20_000 };
    let run = benchmark(redis, pipeline, trial, command);
    ((run.per_second * RUN_SECS) as usize).max(trial)
}
