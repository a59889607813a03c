//! Does a fill hold Redis' thread? Gaps that a second connection sees while results of 1,000 rows are filled without a
//! break, against the same load without fills: the same SELECT by a client of its own, and a GET of as many bytes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::figures::{count, median, quantile, Table};
use crate::one_client;
use crate::probe::{Gaps, Probe};
use crate::setup::{self, call, key, prepare, Servers};
use crate::support::Redis;

const ROWS: usize = 1_000;

/// Length of one run.
const RUN: Duration = Duration::from_millis(1_500);

#[derive(Clone, Copy)]
enum Load {
    Nothing,
    SelectAndGet,
    Fills,
}

const LOADS: [(Load, &str); 3] =
    [(Load::Nothing, "nothing"), (Load::SelectAndGet, "SELECT + GET, no fills"), (Load::Fills, "fills")];

pub fn run(servers: &Servers, rounds: usize) -> Vec<Table> {
    let redis = servers.redis();
    let raised = setup::raise_priority(&redis);
    let query = call("bear", "size", 0, ROWS);
    let bytes = redis.wire().call(&query).bulk().len();
    let mut results: [Vec<(Gaps, usize)>; 3] = Default::default();
    for _ in 0..rounds.max(7) {
        for ((load, _), results) in LOADS.iter().zip(&mut results) {
            results.push(measure(servers, &redis, *load, &query));
        }
    }
    let mut table = Table::new(
        format!("A second connection's PING while results of {ROWS} rows ({} KB) are filled", bytes / 1000),
        &[
            "meanwhile",
            "loads a second",
            "gap p50 µs",
            "p99",
            "longest: median",
            "least",
            "over 1 ms, a second",
            "server's CPU in a gap, most µs: median",
            "most of all",
        ],
    );
    for ((_, name), results) in LOADS.iter().zip(&results) {
        let of = |figure: &dyn Fn(&Gaps) -> f64| results.iter().map(|(gaps, _)| figure(gaps)).collect::<Vec<_>>();
        let (longest, work) = (of(&Gaps::max_us), of(&Gaps::max_work_us));
        let loads: Vec<f64> = results.iter().map(|(_, loads)| *loads as f64 / RUN.as_secs_f64()).collect();
        table.row(vec![
            (*name).to_owned(),
            count(median(&loads)),
            count(median(&of(&|gaps| gaps.quantile_us(0.5)))),
            count(median(&of(&|gaps| gaps.quantile_us(0.99)))),
            count(median(&longest)),
            count(quantile(&longest, 0.0)),
            format!("{:.1}", median(&of(&Gaps::over_1ms_a_second))),
            count(median(&work)),
            count(quantile(&work, 1.0)),
        ]);
    }
    table.note(format!(
        "{} runs of {} s of each, in turn. A hold is at most as long as the gap, and at most what the server's \
         thread worked in it: the rest, and what it worked while the probe itself had to wait, is the machine's scheduler. Longest piece of the module's own work by the clock (bear_longest_tick_us): {} µs.{}",
        results[0].len(),
        RUN.as_secs_f64(),
        setup::longest_tick_us(&redis),
        if raised { " Server and probe ran at a raised priority." } else { "" }
    ));
    vec![table, one_client::run(rounds)]
}

/// The gaps, and how often the load came round.
fn measure(servers: &Servers, redis: &Redis, load: Load, query: &[String]) -> (Gaps, usize) {
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let loader = scope.spawn(|| {
            let mut wire = redis.wire();
            let mut client = servers.database.client();
            let select = prepare(&mut client, redis, query);
            let bounds = [&query[3], &query[4]].map(|word| word.parse::<i64>().expect("a size"));
            let fresh = [&query[..2], &["FRESH".to_owned()], &query[2..]].concat();
            let mut loads = 0;
            while !ended.load(Ordering::Relaxed) {
                match load {
                    Load::Nothing => std::thread::sleep(Duration::from_millis(10)),
                    Load::SelectAndGet => {
                        let rows = client.query(&select, &[&bounds[0], &bounds[1], &None::<i64>, &None::<i64>]);
                        assert_eq!(rows.expect("the bears").len(), ROWS);
                        wire.call(&["GET", &key(query)]).bulk();
                    }
                    Load::Fills => drop(wire.call(&fresh).bulk().len()),
                }
                loads += 1;
            }
            loads
        });
        let probe = Probe::start(redis);
        std::thread::sleep(RUN);
        let gaps = probe.stop();
        ended.store(true, Ordering::Relaxed);
        (gaps, loader.join().expect("the load does not panic"))
    })
}
