//! Links: what a change of a row costs among many cached results that are linked to rows of its section by what they list; what a
//! value that is compared takes of memory; and what listing it costs a fetch.

use std::time::Instant;

use crate::figures::{count, median, Table};
use crate::memory::used;
use crate::setup::{self, Servers};
use crate::support::{Redis, Wire};

const RESULTS: [usize; 3] = [1_000, 10_000, 100_000];

/// Clients that fill.
const CLIENTS: usize = 50;

/// Products that a result lists, and reviews of them.
const PRODUCTS: usize = 10;

/// Times of each kind in one round.
const TURN: usize = 20;

/// A result of ten products, of which it counts reviews; and the same where nothing is linked, and any review drops it.
const CATALOG: &str = r#"
[review]
id = "int"
row = "SELECT x AS id, x AS product_id FROM unnest({ids}) x"
[product]
id = "int"
row = "SELECT x AS id FROM unnest({ids}) x"
[[product.query]]
call = "of {n:int}"
sql = "SELECT {n} * 10 + i AS id FROM generate_series(0, 9) i"
match = "id = {n}"
on = { review = "product_id in _product" }
lists = { review = "SELECT {n} * 10 + i FROM generate_series(0, 9) i" }
[[product.query]]
call = "plain {n:int}"
sql = "SELECT {n} * 10 + i AS id, ARRAY[{n} * 10 + i] AS _review FROM generate_series(0, 9) i"
match = "id = {n}"
"#;

pub fn run(servers: &Servers, rounds: usize) -> Vec<Table> {
    let mut changes = Table::new(
        "Links: BEAR.INVALIDATE IMAGE among cached results that count children, µs to the reply",
        &["results", "PING", "of nobody's product", "of a product of one", "bytes a value that is compared"],
    );
    for results in RESULTS {
        let (redis, with) = filled(servers, "of", results);
        let mut wire = redis.wire();
        let (mut ping, mut none, mut one) = (Vec::new(), Vec::new(), Vec::new());
        for at in 0..rounds * TURN {
            ping.push(timed(|| drop(wire.run("PING"))));
            none.push(timed(|| assert_eq!(review(&mut wire, PRODUCTS * results * 10 + at), 0)));
            let number = at * results / (rounds * TURN);
            one.push(timed(|| assert_eq!(review(&mut wire, PRODUCTS * number + 3), 1)));
            wire.call(&call("of", number)).bulk();
            redis.wait_stored();
        }
        drop((wire, redis));
        let (_, without) = filled(servers, "plain", results);
        let value = (with - without) / PRODUCTS as f64;
        changes.row(vec![
            count(results as f64),
            count(median(&ping)),
            count(median(&none)),
            count(median(&one)),
            count(value),
        ]);
    }
    changes.note(format!(
        "Medians of {} each, in turn, from one connection. Each result lists {PRODUCTS} products and as many reviews. Bytes: used_memory a cached \
         result, less that of one that lists the same rows and compares nothing, by product.",
        rounds * TURN
    ));
    vec![changes, fetches(servers, rounds)]
}

/// FRESH, in turn.
fn fetches(servers: &Servers, rounds: usize) -> Table {
    let redis = servers.redis_with(CATALOG);
    let mut wire = redis.wire();
    let (mut plain, mut listing) = (Vec::new(), Vec::new());
    for _ in 0..rounds * TURN * 5 {
        for (words, times) in [("plain", &mut plain), ("of", &mut listing)] {
            times.push(timed(|| assert!(!wire.run(&format!("BEAR.QUERY product FRESH {words} 7")).is_error())));
        }
    }
    let (plain, listing) = (median(&plain), median(&listing));
    let mut table =
        Table::new("Links: a fetch that lists values by a statement, µs", &["hidden column", "`lists`", "times"]);
    table.row(vec![count(plain), count(listing), format!("{:.2}", listing / plain)]);
    table.note("BEAR.QUERY FRESH in turn, from one connection: ten products, and ten reviews as a hidden column or by a statement of `lists`.".to_owned());
    table
}

fn call(words: &str, number: usize) -> Vec<String> {
    ["BEAR.QUERY", "product", words, &number.to_string()].map(str::to_owned).into()
}

/// Tells of a new review of a product; so many results go.
fn review(wire: &mut Wire, product: usize) -> i64 {
    let image = format!(r#"{{"id":900000000000,"product_id":{product}}}"#);
    wire.call(&["BEAR.INVALIDATE", "review", "IMAGE", &image]).int()
}

fn timed(run: impl FnOnce()) -> f64 {
    let begun = Instant::now();
    run();
    begun.elapsed().as_secs_f64() * 1e6
}

/// A server with so many results cached, and the bytes that each takes.
fn filled(servers: &Servers, words: &str, results: usize) -> (Redis, f64) {
    let redis = servers.redis_with(CATALOG);
    // What is allocated once, by connections and tables, is no result's.
    setup::fill(&redis, CLIENTS, 1_000, |at| call(words, results + at));
    redis.wire().run("BEAR.INVALIDATE product ALL").int();
    setup::wait_idle(&redis);
    let before = used(&redis);
    // So many clients fill faster than is published: what was answered and not stored is asked for again.
    loop {
        let discarded = setup::bear(&redis.info("bear"), "discarded");
        setup::fill(&redis, CLIENTS, results, |at| call(words, at));
        setup::wait_idle(&redis);
        if setup::bear(&redis.info("bear"), "discarded") == discarded {
            break;
        }
    }
    let bytes = (used(&redis) - before) as f64 / results as f64;
    (redis, bytes)
}
