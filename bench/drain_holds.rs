//! Does draining hold Redis' thread? Gaps that a second connection sees from `bear.drain yes` until the queue is empty.

use std::time::Duration;

use crate::figures::{count, median, quantile, Table};
use crate::jobs::{bears_for, mixed, Job};
use crate::probe::{Gaps, Probe};
use crate::queue::{self, Durable};
use crate::setup::{self, call, Servers, FIRST_ID};

const JOBS: usize = 100_000;
const BEARS: usize = 50_000;

/// Results of one row that are cached before the queue drains.
const CACHED: usize = 10_000;

const LARGE_JOBS: usize = 50;
const LARGE_BYTES: usize = 1_000_000;

/// Without any jobs, the probe looks for so long.
const QUIET: Duration = Duration::from_millis(1_500);

struct Case {
    name: String,
    jobs: Vec<Job>,
    /// Results in the cache that the jobs' rows are in.
    cached: usize,
}

struct Measured {
    gaps: Gaps,
    longest_tick_us: f64,
    is_raised: bool,
}

pub fn run(_: &Servers, rounds: usize) -> Vec<Table> {
    let jobs = mixed(JOBS, BEARS);
    let durable = Durable::start(bears_for(&jobs));
    let name = format!("{} jobs", count(JOBS as f64));
    let cases = [
        Case { name: "nothing".to_owned(), jobs: Vec::new(), cached: 0 },
        Case { name: format!("{name}, {} cached results", count(CACHED as f64)), jobs: jobs.clone(), cached: CACHED },
        Case { name, jobs, cached: 0 },
        Case { name: format!("{LARGE_JOBS} jobs of 1 MB"), jobs: (0..LARGE_JOBS).map(large).collect(), cached: 0 },
    ];
    let mut results: [Vec<Measured>; 4] = Default::default();
    for _ in 0..rounds {
        for (case, results) in cases.iter().zip(&mut results) {
            results.push(measure(&durable, case));
        }
    }
    let mut table = Table::new(
        "A second connection's PING while the queue drains",
        &[
            "meanwhile",
            "gap p50 µs",
            "p99",
            "longest: median",
            "least",
            "over 1 ms, a second",
            "server's CPU in a gap, most µs: median",
            "most of all",
            "longest tick µs: median",
            "most of all",
        ],
    );
    for (case, results) in cases.iter().zip(&results) {
        let of = |figure: &dyn Fn(&Gaps) -> f64| results.iter().map(|one| figure(&one.gaps)).collect::<Vec<_>>();
        let (longest, work) = (of(&Gaps::max_us), of(&Gaps::max_work_us));
        let ticks: Vec<f64> = results.iter().map(|one| one.longest_tick_us).collect();
        table.row(vec![
            case.name.clone(),
            count(median(&of(&|gaps| gaps.quantile_us(0.5)))),
            count(median(&of(&|gaps| gaps.quantile_us(0.99)))),
            count(median(&longest)),
            count(quantile(&longest, 0.0)),
            format!("{:.1}", median(&of(&Gaps::over_1ms_a_second))),
            count(median(&work)),
            count(quantile(&work, 1.0)),
            count(median(&ticks)),
            count(quantile(&ticks, 1.0)),
        ]);
    }
    let is_raised = results.iter().flatten().all(|one| one.is_raised);
    table.note(format!(
        "{rounds} runs of each, in turn, a new server each. A hold is at most as long as the gap, and at most what the server's \
         thread worked in it. Ticks are pieces of the module's own work by the clock (bear_longest_tick_us), the filling of the \
         cache before the drain among them.{}",
        if is_raised { " Server and probe ran at a raised priority." } else { "" }
    ));
    vec![table]
}

fn measure(durable: &Durable, case: &Case) -> Measured {
    durable.with_fresh_tables(|database| {
        let redis = queue::redis(database);
        let is_raised = setup::raise_priority(&redis);
        setup::fill(&redis, 20, case.cached, |at| call("bear", "size", at, 1));
        queue::enqueue(&redis, &case.jobs);
        setup::wait_idle(&redis);
        let probe = Probe::start(&redis);
        if case.jobs.is_empty() {
            std::thread::sleep(QUIET);
        } else {
            queue::drain(&redis);
        }
        let gaps = probe.stop();
        durable.check(database, &case.jobs);
        Measured { gaps, longest_tick_us: setup::longest_tick_us(&redis) as f64, is_raised }
    })
}

/// A bear's new name makes a payload of a megabyte.
fn large(bear: usize) -> Job {
    let start = format!(r#"{{"id":{},"name":""#, FIRST_ID + bear);
    let name = "x".repeat(LARGE_BYTES - start.len() - 2);
    Job { name: "UPDATE_BEAR_NAME", data: format!(r#"{start}{name}"}}"#), bear: Some(bear) }
}
