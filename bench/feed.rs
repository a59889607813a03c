//! What a change feed costs those who write: single-row UPDATEs by pgbench without a feed and with each kind, in turn.

use std::time::Instant;

use crate::figures::{count, median, ms, Table};
use crate::followed::{self, Feed};
use crate::pgbench::pgbench;
use crate::queue::Durable;
use crate::setup::{self, bear, call, Servers, FIRST_ID};
use crate::support::{eventually, Database};

const BEARS: usize = 100_000;
const CLIENTS: usize = 8;
const RUN_SECS: usize = 4;

/// Results of ten bears each that are cached as the run begins.
const CACHED: usize = 2_000;

const FEEDS: [Feed; 3] = [Feed::Off, Feed::Wal, Feed::Outbox];

struct Run {
    per_second: f64,
    /// From the end of pgbench until every change was told of, in microseconds.
    behind_us: f64,
}

pub fn run(_: &Servers, rounds: usize) -> Vec<Table> {
    let mut table = Table::new(
        format!("Write throughput of Postgres: UPDATEs of one row a second, pgbench, {CLIENTS} clients"),
        &["synchronous_commit", "feed", "UPDATEs a second", "of those without", "all told after ms"],
    );
    let feeds: Vec<Feed> = FEEDS.into_iter().filter(|feed| followed::is_known(*feed)).collect();
    let durable = Durable::start_logical(BEARS);
    for is_synchronous in [true, false] {
        let mut runs: Vec<Vec<Run>> = feeds.iter().map(|_| Vec::new()).collect();
        for _ in 0..rounds {
            for (feed, runs) in feeds.iter().zip(&mut runs) {
                runs.push(durable.with_fresh_tables(|database| measure(database, *feed, is_synchronous)));
            }
        }
        for (feed, own) in feeds.iter().zip(&runs) {
            let of = |figure: &dyn Fn(&Run) -> f64| median(&own.iter().map(figure).collect::<Vec<_>>());
            let ratios: Vec<f64> = own.iter().zip(&runs[0]).map(|(run, off)| run.per_second / off.per_second).collect();
            let mut cells = vec![on_off(is_synchronous).to_owned(), feed.name().to_owned()];
            cells.push(count(of(&|run| run.per_second)));
            cells.extend(match feed {
                Feed::Off => [String::new(), String::new()],
                _ => [format!("{:.2}", median(&ratios)), ms(of(&|run| run.behind_us))],
            });
            table.row(cells);
        }
    }
    table.note(format!(
        "Medians of {rounds} runs of {RUN_SECS} s of each, in turn; ratios are those of the rounds. Each on a fresh database of {} bears with \
         wal_level=logical and fsync, and a new Redis with {} cached results of ten bears; pgbench, Postgres and Redis on one \
         machine. The time until all is told begins when pgbench has ended.{}",
        count(BEARS as f64),
        count(CACHED as f64),
        if feeds.contains(&Feed::Outbox) { "" } else { " This module knows no outbox." }
    ));
    vec![table]
}

fn measure(database: &Database, feed: Feed, is_synchronous: bool) -> Run {
    followed::with_redis(database, feed, |redis| {
        setup::fill(redis, 20, CACHED, |at| call("bear", "size", at * 10, 10));
        redis.wait_stored();
        let told = || bear(&redis.info("bear"), "feed_transactions");
        let before = told();
        let (per_second, updates) = update(database, is_synchronous);
        let begun = Instant::now();
        // To be sure that nothing more comes takes longer than that it has come.
        let is_told = || ((told() - before) as f64) >= updates || followed::has_told(redis, begun);
        if feed != Feed::Off {
            eventually("the feed has told of all", is_told);
        }
        Run { per_second, behind_us: begun.elapsed().as_secs_f64() * 1e6 }
    })
}

/// Transactions a second, and their number.
fn update(database: &Database, is_synchronous: bool) -> (f64, f64) {
    let last = FIRST_ID + BEARS - 1;
    let script = format!(
        "\\set id random({FIRST_ID}, {last})\n\\set n random(1, 1000000)\n\
         UPDATE bear SET name = 'Bench bear ' || :n WHERE id = :id;\n"
    );
    let options = format!("-c synchronous_commit={}", on_off(is_synchronous));
    pgbench(database, &script, CLIENTS, RUN_SECS, &options)
}

fn on_off(is_on: bool) -> &'static str {
    if is_on {
        "on"
    } else {
        "off"
    }
}
