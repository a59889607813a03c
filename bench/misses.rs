//! Misses: how long one takes from end to end, and how many a second there can be.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use crate::figures::{count, median, quantile, Table};
use crate::setup::{self, call, prepare, Servers, BEARS, FIRST_SIZE};
use crate::support::Redis;

/// Calls of one turn, and turns of each kind.
const TURN: usize = 200;
const TURNS: usize = 10;

/// Misses of the throughput's run.
const FILLS: usize = 10_000;
const CLIENTS: usize = 50;

/// What `bear.fetch-threads` is by default.
const THREADS: usize = 4;

pub fn run(servers: &Servers, rounds: usize) -> Vec<Table> {
    vec![latency(servers), throughput(servers, rounds)]
}

fn latency(servers: &Servers) -> Table {
    let redis = servers.redis();
    let mut wire = redis.wire();
    let mut client = servers.database.client();
    let select = prepare(&mut client, &redis, &call("bear", "size", 0, 1));
    let (mut misses, mut selects, mut hits) = (Vec::new(), Vec::new(), Vec::new());
    let micros = |begun: Instant| begun.elapsed().as_secs_f64() * 1e6;
    for turn in 0..TURNS {
        let bears = turn * TURN..(turn + 1) * TURN;
        for times in [&mut misses, &mut hits] {
            for bear in bears.clone() {
                let query = call("bear", "size", bear, 1);
                let begun = Instant::now();
                wire.call(&query).bulk();
                times.push(micros(begun));
            }
        }
        for bear in bears {
            let size = (FIRST_SIZE + bear) as i64;
            let begun = Instant::now();
            let rows = client.query(&select, &[&size, &size, &None::<i64>, &None::<i64>]).expect("a bear");
            selects.push(micros(begun));
            assert_eq!(rows.len(), 1);
        }
    }
    let mut table = Table::new("A miss of a small query, one client", &["µs", "p50", "p99"]);
    for (name, times) in
        [("a miss, from end to end", &misses), ("the same statement, plain client", &selects), ("a hit", &hits)]
    {
        table.row(vec![name.to_owned(), count(median(times)), count(quantile(times, 0.99))]);
    }
    table.note(format!("{} of each, in turns of {TURN}. Statements are prepared.", TURN * TURNS));
    table
}

fn throughput(servers: &Servers, rounds: usize) -> Table {
    let (mut fills, mut selects) = (Vec::new(), Vec::new());
    let redis = servers.redis();
    for round in 0..rounds.min(BEARS / FILLS) {
        let first = round * FILLS;
        let (took, _) = setup::fill(&redis, CLIENTS, FILLS, |at| call("bear", "size", first + at, 1));
        fills.push(FILLS as f64 / took.as_secs_f64());
        selects.push(plain_selects(servers, &redis));
    }
    let mut table = Table::new("Distinct misses a second", &["", "a second"]);
    table.row(vec![format!("BEAR.QUERY, {CLIENTS} clients, {THREADS} fetch threads"), count(median(&fills))]);
    table.row(vec![format!("the same statements, {THREADS} plain clients"), count(median(&selects))]);
    table.note(format!("Medians of {} rounds of {} one-row results.", fills.len(), count(FILLS as f64)));
    table
}

/// As many statements a second as plain clients get through, one for each fetch thread.
fn plain_selects(servers: &Servers, redis: &Redis) -> f64 {
    let next = AtomicUsize::new(0);
    let mut clients: Vec<_> = (0..THREADS).map(|_| servers.database.client()).collect();
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for client in &mut clients {
            let next = &next;
            scope.spawn(move || {
                let select = prepare(client, redis, &call("bear", "size", 0, 1));
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    if at >= FILLS {
                        return;
                    }
                    let size = (FIRST_SIZE + at) as i64;
                    client.query(&select, &[&size, &size, &None::<i64>, &None::<i64>]).expect("a bear");
                }
            });
        }
    });
    FILLS as f64 / begun.elapsed().as_secs_f64()
}
