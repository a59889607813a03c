//! Throughput of hits: BEAR.QUERY, and BEAR.GET of a value of the same bytes, against GET of the same key, in turn, so that what else the machine does meets both.

use crate::figures::{count, median, Table};
use crate::generator::{benchmark, Run, CLIENTS};
use crate::setup::{call, key, Servers};

const PIPELINES: [usize; 3] = [1, 16, 64];

/// How long one run should last at least.
const RUN_SECS: f64 = 2.0;

/// Rows that make about a kilobyte, and a hundred.
const ROWS: [usize; 2] = [13, 1_275];

pub fn run(servers: &Servers, rounds: usize) -> Vec<Table> {
    let redis = servers.redis();
    let sha = redis.wire().call(&["SCRIPT", "LOAD", "return redis.call('GET', KEYS[1])"]).text();
    let mut table = Table::new(
        format!("Hits: commands a second, {CLIENTS} connections"),
        &[
            "entry, pipeline",
            "GET",
            "BEAR.QUERY",
            "ratio",
            "ratio by server CPU",
            "GET in a script",
            "ratio",
            "BEAR.GET",
            "ratio to BEAR.QUERY",
        ],
    );
    for rows in ROWS {
        let query = call("bear", "size", 0, rows);
        let get = vec!["GET".to_owned(), key(&query)];
        let script = vec!["EVALSHA".to_owned(), sha.clone(), "1".to_owned(), key(&query)];
        let json = redis.wire().call(&query).bulk().to_vec();
        let bytes = json.len();
        let value = call("page", "shelf", 0, rows);
        let value = [&["BEAR.GET".to_owned()], &value[1..]].concat();
        for pipeline in PIPELINES {
            let run = |command: &[String], requests| benchmark(&redis, pipeline, requests, command);
            let requests = (run(&get, requests_of(rows, pipeline)).per_second * RUN_SECS * 1.1) as usize;
            let (mut gets, mut queries, mut scripts, mut values) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
            for _ in 0..rounds {
                // The entry lives for five minutes: each round begins with a new one.
                let fresh = [&query[..2], &["FRESH".to_owned()], &query[2..]].concat();
                assert_eq!(redis.wire().call(&fresh).bulk().len(), bytes);
                gets.push(run(&get, requests));
                queries.push(run(&query, requests));
                let words = (value.len() - 2).to_string();
                let mut put = vec![b"BEAR.PUT".to_vec(), value[1].clone().into_bytes(), words.into_bytes()];
                put.extend(value[2..].iter().map(|word| word.clone().into_bytes()));
                put.push(json.clone());
                redis.wire().call(&put);
                values.push(run(&value, requests));
                if rows == ROWS[0] {
                    // Slow as it is, a quarter of the requests takes as long.
                    scripts.push(run(&script, requests / 4));
                }
            }
            let ratio = |of: &[Run]| {
                let pairs: Vec<f64> = of.iter().zip(&gets).map(|(run, get)| run.per_second / get.per_second).collect();
                format!("{:.2}", median(&pairs))
            };
            let cpu: Vec<f64> = queries.iter().zip(&gets).map(|(query, get)| get.cpu_us / query.cpu_us).collect();
            let rate = |of: &[Run]| count(median(&of.iter().map(|run| run.per_second).collect::<Vec<_>>()));
            let (script_rate, script_ratio) =
                if scripts.is_empty() { (String::new(), String::new()) } else { (rate(&scripts), ratio(&scripts)) };
            let to_queries: Vec<f64> =
                values.iter().zip(&queries).map(|(value, query)| value.per_second / query.per_second).collect();
            table.row(vec![
                format!("{} KB, P{pipeline}", (bytes as f64 / 1000.0).round()),
                rate(&gets),
                rate(&queries),
                ratio(&queries),
                format!("{:.2}", median(&cpu)),
                script_rate,
                script_ratio,
                rate(&values),
                format!("{:.2}", median(&to_queries)),
            ]);
        }
    }
    table.note(format!(
        "Medians of {rounds} rounds of GET and BEAR.QUERY in turn, {RUN_SECS} s and more each; ratios are those of the pairs. \
         \"By server CPU\" is processor time of the server's thread for a GET over that for a BEAR.QUERY, which does not \
         depend on whether redis-benchmark keeps up."
    ));
    vec![table]
}

/// Requests of a short run, to see how many a long one takes.
fn requests_of(rows: usize, pipeline: usize) -> usize {
    let a_second = if rows < 100 { 50_000 } else { 5_000 };
    a_second / 2 * if pipeline == 1 { 1 } else { 2 }
}
