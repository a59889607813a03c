//! Predicates: finding, among many cached ranges, the few that a row's values belong in; and what a range's predicate
//! takes of memory.

use std::time::Instant;

use postgres::{Client, Statement};

use crate::figures::{count, median, Table};
use crate::memory::used;
use crate::setup::{self, Servers, CATALOG};
use crate::support::{Redis, Wire};

const RANGES: [usize; 3] = [1_000, 10_000, 100_000];

/// Clients that fill.
const CLIENTS: usize = 50;

/// Entries made and removed before memory is looked at.
const WARM_UP: usize = 1_000;

/// Ranges come in blocks: ten of them around one size, each longer than the one before by one on both sides. So the
/// size in the middle is in all, one at the edge in the last only.
const BLOCK: usize = 10;

/// Sizes from one middle to the next.
const STEP: usize = 100;

/// Far above all bears: a range holds no row.
const FIRST_MIDDLE: usize = 10_000_000_000;

/// The bear that CHANGED is about: in Postgres, in no entry.
const MOVING_ID: i64 = 900_000_000;

/// Where it is meanwhile.
const AWAY: i64 = 9_000_000_000;

/// No bear has it.
const UNKNOWN_ID: i64 = 900_000_001;

/// Times of each kind in one round.
const TURN: usize = 10;

/// How many entries a value meets.
const MEETS: [usize; 2] = [1, BLOCK];

#[derive(Default)]
struct Times {
    image: [Vec<f64>; 2],
    changed: [Vec<f64>; 2],
    select: Vec<f64>,
    ping: Vec<f64>,
}

pub fn run(servers: &Servers, rounds: usize) -> Vec<Table> {
    let mut client = servers.database.client();
    let add = format!("INSERT INTO bear (id, name, size) VALUES ({MOVING_ID}, 'Wanderer', {AWAY})");
    client.batch_execute(&add).expect("a new bear");
    let row = client.prepare(&row_statement()).expect("the catalog's statement");
    let mut table = Table::new(
        "Predicates: BEAR.INVALIDATE among cached ranges, µs to the reply",
        &[
            "ranges",
            "PING",
            "IMAGE, meets 1",
            "meets 10",
            "row SELECT, plain client",
            "CHANGED, meets 1",
            "meets 10",
            "bytes a range with match",
            "without",
            "more",
        ],
    );
    for ranges in RANGES {
        let (redis, with) = filled(servers, CATALOG, ranges);
        let mut wire = redis.wire();
        let mut times = Times::default();
        for _ in 0..rounds {
            for at in 0..TURN {
                turn(&redis, &mut wire, &mut client, &row, at * ranges / BLOCK / TURN, &mut times);
            }
        }
        drop((wire, redis));
        let (_, without) = filled(servers, &without_match(), ranges);
        let mut cells = vec![count(ranges as f64)];
        for times in
            [&times.ping, &times.image[0], &times.image[1], &times.select, &times.changed[0], &times.changed[1]]
        {
            cells.push(count(median(times)));
        }
        cells.extend([count(with), count(without), count(with - without)]);
        table.row(cells);
    }
    client.execute("DELETE FROM bear WHERE id = $1", &[&MOVING_ID]).expect("it was ours");
    table.note(format!(
        "Medians of {} each, in turn, from one connection. The ranges hold no row, so that nothing but the predicate finds \
         them; those dropped are filled again before the next. CHANGED reads the row's present values: beside it the same SELECT, \
         prepared, from a plain client. Bytes: used_memory a cached range, its key and empty result with it, by a catalog \
         with match and by one without.",
        rounds * TURN
    ));
    vec![table]
}

/// One of each, around the middle of this block.
fn turn(redis: &Redis, wire: &mut Wire, client: &mut Client, row: &Statement, block: usize, times: &mut Times) {
    let middle = FIRST_MIDDLE + block * STEP;
    let begun = Instant::now();
    wire.run("PING");
    times.ping.push(micros(begun));
    for (case, meets) in MEETS.into_iter().enumerate() {
        let size = (middle + BLOCK - meets) as i64;
        let image = format!(r#"{{"id":{UNKNOWN_ID},"size":{size},"colors":[]}}"#);
        let begun = Instant::now();
        let gone = wire.call(&["BEAR.INVALIDATE", "bear", "IMAGE", &image]).int();
        times.image[case].push(micros(begun));
        assert_eq!(gone, meets as i64, "entries that IMAGE drops");
        refill(redis, wire, block);

        move_to(client, size);
        let begun = Instant::now();
        client.query(row, &[&vec![MOVING_ID]]).expect("the row statement");
        times.select.push(micros(begun));
        let begun = Instant::now();
        let gone = wire.call(&["BEAR.INVALIDATE", "bear", "CHANGED", &MOVING_ID.to_string()]).int();
        times.changed[case].push(micros(begun));
        assert_eq!(gone, meets as i64, "entries that CHANGED drops");
        move_to(client, AWAY);
        refill(redis, wire, block);
    }
}

fn refill(redis: &Redis, wire: &mut Wire, block: usize) {
    for at in 0..BLOCK {
        wire.call(&range(block * BLOCK + at)).bulk();
    }
    redis.wait_stored();
}

fn move_to(client: &mut Client, size: i64) {
    client.execute("UPDATE bear SET size = $1 WHERE id = $2", &[&size, &MOVING_ID]).expect("the bear moves");
}

/// The call of a range.
fn range(number: usize) -> Vec<String> {
    let (middle, reach) = (FIRST_MIDDLE + number / BLOCK * STEP, number % BLOCK);
    ["BEAR.QUERY", "bear", "size", &(middle - reach).to_string(), &(middle + reach).to_string()]
        .map(str::to_owned)
        .into()
}

/// A server with so many ranges cached, and the bytes that each takes.
fn filled(servers: &Servers, catalog: &str, ranges: usize) -> (Redis, f64) {
    let redis = servers.redis_with(catalog);
    // What is allocated once, by connections and tables, is no range's.
    setup::fill(&redis, CLIENTS, WARM_UP, |at| range(ranges + at));
    redis.wire().run("BEAR.INVALIDATE bear ALL").int();
    setup::wait_idle(&redis);
    let before = used(&redis);
    setup::fill(&redis, CLIENTS, ranges, range);
    setup::wait_idle(&redis);
    let bytes = (used(&redis) - before) as f64 / ranges as f64;
    (redis, bytes)
}

fn without_match() -> String {
    CATALOG.lines().filter(|line| !line.starts_with("match =")).map(|line| format!("{line}\n")).collect()
}

/// The section's `row` statement, for an array of ids as its one parameter.
fn row_statement() -> String {
    let catalog: toml::Table = CATALOG.parse().expect("the catalog");
    catalog["bear"]["row"].as_str().expect("a statement").replace("{ids}", "$1::bigint[]")
}

fn micros(begun: Instant) -> f64 {
    begun.elapsed().as_secs_f64() * 1e6
}
