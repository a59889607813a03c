//! A wall clock that steps back: module timers follow it and freeze, and nobody may wait for that.

use std::time::{Duration, Instant};

use crate::support::bears;
use crate::support::{eventually, Clock, Database, Redis, Reply};

fn start(database: &Database, clock: &Clock, timeout_ms: u32) -> Redis {
    Redis::builder()
        .postgres(database)
        .catalog(bears::gated_catalog())
        .config("bear.query-timeout-ms", timeout_ms)
        .clock(clock)
        .start()
}

fn seconds(redis: &Redis) -> i64 {
    redis.run("TIME").list()[0].text().parse().expect("seconds")
}

#[test]
fn a_step_back_of_the_wall_clock_delays_no_timeout() {
    let database = bears::database();
    let clock = Clock::new();
    let redis = start(&database, &clock, 500);
    redis.run("BEAR.QUERY bear size 300 400");
    redis.wait_stored();
    let mut gate = database.close_gate();
    let mut client = redis.wire();
    let begun = Instant::now();
    client.begin("BEAR.QUERY bear all");
    gate.wait(1);
    let before = seconds(&redis);
    clock.shift(-3600); // a timer is armed for the end of the client's time
                        // Valkey reads its clock a little later.
    eventually("the server's clock stepped back", || (3590..3610).contains(&(before - seconds(&redis))));
    let reply = client.receive();
    assert!(reply.error().starts_with("TIMEOUT "), "{reply:?}");
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(450) && took < Duration::from_secs(3), "{took:?}");
    gate.open();
    assert_eq!(redis.run("BEAR.QUERY bear size 90 90").text(), bears::json(&[8]));
}

#[test]
fn answers_and_sweeps_go_on_while_the_wall_clock_steps() {
    let database = bears::database();
    let clock = Clock::new();
    let redis = start(&database, &clock, 20_000);
    let mut gate = database.close_gate();
    let mut client = redis.wire();
    client.begin("BEAR.QUERY bear all");
    gate.wait(1);
    clock.shift(-86_400);
    gate.open();
    let begun = Instant::now();
    assert_eq!(client.receive().text(), bears::json(&[1, 2, 3, 4, 5, 6, 7, 8]));
    // Back each time: a step forward ends the TTL of what is stored.
    for (round, shift) in [-90_000, -180_000, -190_000, -200_000, -210_000, -220_000].into_iter().enumerate() {
        clock.shift(shift);
        let low = 100 + round;
        assert!(!redis.run(&format!("BEAR.QUERY bear size {low} 200")).is_error());
        redis.wait_stored();
        clock.shift(shift - 1800);
        assert!(redis.run("BEAR.INVALIDATE bear ROW 5").int() >= 1, "round {round}");
        assert_eq!(redis.run(&format!("EXISTS bear:size:{low}:200")), Reply::Int(0));
    }
    redis.run("BEAR.INVALIDATE bear ALL");
    eventually("all is swept", || redis.keys().is_empty());
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(10), "{took:?}");
}
