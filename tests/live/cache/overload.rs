//! More fetches than `bear.max-fills`: refused at once and said so, and nothing else suffers.

use std::time::{Duration, Instant};

use crate::support::bears::{self, selects};
use crate::support::{Database, Redis, Reply, Wire};

const LIMIT: usize = 6;

fn start() -> (Database, Redis) {
    let database = bears::database();
    let redis = Redis::builder()
        .postgres(&database)
        .catalog(bears::gated_catalog())
        .config("bear.max-fills", LIMIT)
        .config("bear.query-timeout-ms", 30_000)
        .start();
    assert_eq!(redis.run("BEAR.QUERY bear size 300 400").text(), bears::json(&[3]));
    redis.wait_stored();
    (database, redis)
}

/// As many clients as may wait for fetches of their own.
fn fill_up(redis: &Redis) -> Vec<Wire> {
    let mut clients: Vec<Wire> = (0..LIMIT).map(|_| redis.wire()).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        client.begin(&format!("BEAR.QUERY bear size {} 90", -(number as i64)));
    }
    redis.wait_blocked(LIMIT as i64);
    clients
}

#[test]
fn what_is_too_much_is_refused_at_once_and_it_recovers() {
    let (database, redis) = start();
    let mut gate = database.close_gate();
    let mut clients = fill_up(&redis);
    gate.wait(4); // the threads; two fetches wait for one
    let mut wire = redis.wire();
    let begun = Instant::now();
    for round in 0..50 {
        let reply = wire.run(&format!("BEAR.QUERY bear size {} 100", 1000 + round));
        let line = reply.error();
        assert!(line.starts_with("OVERLOADED ") && line.contains("bear.max-fills"), "{line}");
        assert!(line.contains(&LIMIT.to_string()), "{line}");
    }
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(3), "{took:?}");
    assert!(wire.run("BEAR.QUERY bear FRESH size 300 400").error().starts_with("OVERLOADED "));
    // Hits, looks and invalidations go on.
    assert_eq!(wire.run("BEAR.QUERY bear size 300 400").text(), bears::json(&[3]));
    assert_eq!(wire.run("BEAR.QUERY bear CACHED size 1 2"), Reply::Nil);
    assert_eq!(wire.run("BEAR.INVALIDATE bear ROW 3"), Reply::Int(1));
    assert_eq!(redis.info("bear").int("bear_fills_running"), LIMIT as i64);

    gate.open();
    for client in &mut clients {
        assert_eq!(client.receive().text(), bears::json(&[8]));
    }
    assert_eq!(wire.run("BEAR.QUERY bear size 1000 1100").text(), "[]");
    redis.wait_stored();
    // Nobody who was refused has cost a statement.
    assert_eq!(selects(&database), LIMIT + 2);
    redis.wait_blocked(0);
}

#[test]
fn the_limit_can_be_changed_while_it_is_reached() {
    let (database, redis) = start();
    let mut gate = database.close_gate();
    let mut clients = fill_up(&redis);
    gate.wait(4);
    assert!(redis.run("BEAR.QUERY bear size 1000 1100").error().starts_with("OVERLOADED "));
    assert!(redis.run(&format!("CONFIG SET bear.max-fills {}", LIMIT + 1)).is_ok());
    let mut one_more = redis.wire();
    one_more.begin("BEAR.QUERY bear size 1000 1100");
    redis.wait_blocked(LIMIT as i64 + 1);
    assert!(redis.run("BEAR.QUERY bear size 1001 1100").error().starts_with("OVERLOADED "));
    gate.open();
    assert_eq!(one_more.receive().text(), "[]");
    for client in &mut clients {
        assert_eq!(client.receive().text(), bears::json(&[8]));
    }
}

#[test]
fn who_joins_a_fetch_under_way_is_not_refused() {
    let (database, redis) = start();
    let mut gate = database.close_gate();
    let mut clients = fill_up(&redis);
    gate.wait(4);
    let mut joiners: Vec<Wire> = (0..20).map(|_| redis.wire()).collect();
    joiners.iter_mut().for_each(|client| client.begin("BEAR.QUERY bear size 0 90"));
    redis.wait_blocked((LIMIT + joiners.len()) as i64);
    gate.open();
    for client in clients.iter_mut().chain(&mut joiners) {
        assert_eq!(client.receive().text(), bears::json(&[8]));
    }
    assert_eq!(selects(&database), LIMIT + 1);
}
