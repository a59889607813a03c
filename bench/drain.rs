//! Draining the queue against a plain client that runs the same statements in batches of the same size.

use std::time::Instant;

use crate::figures::{count, median, Table};
use crate::followed::{self, Feed};
use crate::jobs::{bears_for, mixed, Job};
use crate::plain_client::PlainClient;
use crate::queue::{self, Durable, BATCH_SETTING};
use crate::setup::Servers;
use crate::support::eventually;

pub const JOBS: usize = 60_000;

/// Bears that change, in the mix whose jobs seldom meet.
pub const SPREAD: usize = 50_000;

/// Bears that change, in the mix that has several jobs of the same row in every batch.
const SHARED: usize = 1_000;

/// Bears that change, and jobs of a batch.
const CASES: [(usize, usize); 5] = [(SPREAD, 250), (SPREAD, 500), (SPREAD, 1_000), (SPREAD, 2_000), (SHARED, 1_000)];

/// Jobs of a batch where a change feed follows, on a Postgres that writes its WAL for it.
const FOLLOWED_BATCH: usize = 500;

pub fn run(_: &Servers, rounds: usize) -> Vec<Table> {
    let mut table = Table::new(
        format!("Drain: {} jobs of five kinds, jobs a second", count(JOBS as f64)),
        &["jobs over, batch", "plain client", "bear", "ratio"],
    );
    let mut durable: Option<(usize, Durable)> = None;
    for (bears, batch) in CASES {
        let jobs = mixed(JOBS, bears);
        if durable.as_ref().is_none_or(|(known, _)| *known != bears) {
            durable = Some((bears, Durable::start(bears_for(&jobs))));
        }
        let Some((_, durable)) = &durable else { continue };
        let name = format!("{} bears, {}", count(bears as f64), count(batch as f64));
        table.row(in_turns(
            name,
            rounds,
            || plain_rate(durable, &jobs, batch),
            || bear_rate(durable, &jobs, Some(batch)),
        ));
    }
    let jobs = mixed(JOBS, SPREAD);
    let logical = Durable::start_logical(bears_for(&jobs));
    let batch = FOLLOWED_BATCH;
    let name = format!("{} bears, {}, `bear.feed wal`", count(SPREAD as f64), count(batch as f64));
    table.row(in_turns(name, rounds, || plain_rate(&logical, &jobs, batch), || followed_rate(&logical, &jobs, batch)));
    table.note(format!(
        "Medians of {rounds} rounds in turn; ratios are those of the pairs. Postgres with fsync and synchronous_commit on, \
         tables made anew before each; Redis with AOF everysec. The plain client has its jobs in memory, one connection and \
         one transaction a batch, and runs the catalog's own statements."
    ));
    vec![table]
}

/// A row of the table: medians of so many rounds of each, in turn.
fn in_turns(name: String, rounds: usize, plain: impl Fn() -> f64, bear: impl Fn() -> f64) -> Vec<String> {
    let pairs: Vec<(f64, f64)> = (0..rounds).map(|_| (plain(), bear())).collect();
    let of = |figure: fn(&(f64, f64)) -> f64| median(&pairs.iter().map(figure).collect::<Vec<_>>());
    let ratio = format!("{:.2}", of(|(plain, bear)| bear / plain));
    vec![name, count(of(|pair| pair.0)), count(of(|pair| pair.1)), ratio]
}

/// As [`bear_rate`], while a change feed follows and hears of all jobs.
pub fn followed_rate(durable: &Durable, jobs: &[Job], batch: usize) -> f64 {
    durable.with_fresh_tables(|database| {
        let redis = queue::redis(database);
        let begun = Instant::now();
        queue::set(&mut redis.wire(), "bear.feed", Feed::Wal.name());
        eventually("the feed follows", || followed::has_told(&redis, begun));
        queue::set(&mut redis.wire(), BATCH_SETTING, &batch.to_string());
        queue::enqueue(&redis, jobs);
        let took = queue::drain(&redis);
        durable.check(database, jobs);
        followed::end(&redis, database);
        jobs.len() as f64 / took.as_secs_f64()
    })
}

/// Jobs a second of bear, from `bear.drain yes` until the queue is empty.
pub fn bear_rate(durable: &Durable, jobs: &[Job], batch: Option<usize>) -> f64 {
    durable.with_fresh_tables(|database| {
        let redis = queue::redis(database);
        if let Some(batch) = batch {
            queue::set(&mut redis.wire(), BATCH_SETTING, &batch.to_string());
        }
        queue::enqueue(&redis, jobs);
        let took = queue::drain(&redis);
        durable.check(database, jobs);
        jobs.len() as f64 / took.as_secs_f64()
    })
}

fn plain_rate(durable: &Durable, jobs: &[Job], batch: usize) -> f64 {
    durable.with_fresh_tables(|database| {
        let mut client = PlainClient::connect(database);
        let begun = Instant::now();
        for jobs in jobs.chunks(batch) {
            client.apply(jobs);
        }
        let took = begun.elapsed();
        durable.check(database, jobs);
        jobs.len() as f64 / took.as_secs_f64()
    })
}
