//! Stampedes: a thousand clients miss the same call at once. One SELECT, and how long until the last has its answer.

use std::time::{Duration, Instant};

use crate::figures::{count, median, ms, Table};
use crate::setup::{bear, call, Servers};
use crate::support::{Redis, Wire};

const CLIENTS: usize = 1_000;

/// Section, query, rows, and what the table calls it.
const CASES: [(&str, &str, usize, &str); 3] = [
    ("slow", "rows", 18, "a statement of 50 ms, 1 KB"),
    ("bear", "size", 13, "a small one, 1 KB"),
    ("bear", "size", 1_275, "a larger one, 100 KB"),
];

pub fn run(servers: &Servers, rounds: usize) -> Vec<Table> {
    servers.log_statements(true);
    let redis = servers.redis();
    let mut wires: Vec<Wire> = (0..CLIENTS).map(|_| redis.wire()).collect();
    let mut table = Table::new(
        format!("Stampede: {CLIENTS} clients miss the same call at once"),
        &["query", "SELECTs", "one client alone ms", "last of all ms", "times", "all hit, for comparison ms"],
    );
    for (section, query, rows, name) in CASES {
        let mut next = 0;
        let mut new_call = || {
            next += rows;
            call(section, query, next, rows)
        };
        // Each connection to Postgres prepares its statement first.
        for _ in 0..20 {
            redis.wire().call(&new_call()).bulk();
        }
        let (mut alone, mut all, mut hits) = (Vec::new(), Vec::new(), Vec::new());
        let (fills, selects) = (fills(&redis), selects(servers));
        for _ in 0..rounds {
            for _ in 0..3 {
                alone.push(micros(burst(&mut wires[..1], &new_call())));
            }
            let call = new_call();
            all.push(micros(burst(&mut wires, &call)));
            hits.push(micros(burst(&mut wires, &call)));
        }
        let singles = 3 * rounds;
        let selects = (self::selects(servers) - selects - singles) as f64 / rounds as f64;
        let fills = (self::fills(&redis) - fills) as usize - singles;
        assert_eq!(fills, rounds, "one fill a stampede");
        table.row(vec![
            name.to_owned(),
            count(selects),
            ms(median(&alone)),
            ms(median(&all)),
            format!("{:.1}", median(&all) / median(&alone)),
            ms(median(&hits)),
        ]);
    }
    servers.log_statements(false);
    table.note(format!(
        "From the first request sent to the last answer read, medians of {rounds} rounds. The client is one thread: sending \
         1,000 requests and reading 1,000 answers is part of it, as the last column shows."
    ));
    vec![table]
}

/// Sends the call on all connections, then reads all answers.
fn burst(wires: &mut [Wire], call: &[String]) -> Duration {
    let packed = crate::support::wire::packed(call);
    let begun = Instant::now();
    for wire in &mut *wires {
        wire.send_bytes(&packed);
    }
    for wire in wires {
        wire.receive().bulk();
    }
    begun.elapsed()
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

fn fills(redis: &Redis) -> i64 {
    bear(&redis.info("bear"), "fills")
}

/// SELECTs of bears that Postgres has run for anybody.
fn selects(servers: &Servers) -> usize {
    servers.database.executions("bear b WHERE b.size")
}
