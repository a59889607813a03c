//! Results too large, answers too late, clients that leave, keys that vanish under a fetch.

use std::time::{Duration, Instant};

use crate::support::bears::{self, selects};
use crate::support::{eventually, Database, KeyspaceModel, Redis, Reply};

/// About 100 bytes of JSON for each of 100 bears.
fn add_a_hundred_bears(database: &Database) {
    database.run("INSERT INTO bear (id, name, size) SELECT i, repeat('x', 50), 5000 FROM generate_series(100, 199) i");
}

fn gated(database: &Database) -> Redis {
    Redis::builder()
        .postgres(database)
        .catalog(bears::gated_catalog())
        .config("bear.query-timeout-ms", 30_000)
        .append_only()
        .start()
}

#[test]
fn a_result_over_max_entry_bytes_is_answered_and_not_stored() {
    let database = bears::database();
    add_a_hundred_bears(&database);
    let redis = Redis::builder().postgres(&database).config("bear.max-entry-bytes", 4096).start();
    for fetched in 1..=2 {
        let rows = redis.run("BEAR.QUERY bear size 5000 5000").json();
        assert_eq!(rows.as_array().unwrap().len(), 100);
        assert_eq!(selects(&database), fetched);
    }
    eventually("nothing is kept", || redis.keys().is_empty());
    assert!(redis.run("CONFIG SET bear.max-entry-bytes 1048576").is_ok());
    redis.run("BEAR.QUERY bear size 5000 5000");
    redis.wait_stored();
    assert_eq!(redis.run("EXISTS bear:size:5000:5000"), Reply::Int(1));
}

#[test]
fn what_grows_over_max_entry_bytes_takes_the_place_of_nothing() {
    let database = bears::database();
    let redis = Redis::builder().postgres(&database).config("bear.max-entry-bytes", 4096).start();
    redis.run("BEAR.QUERY bear size 4000 6000");
    redis.wait_stored();
    add_a_hundred_bears(&database);
    let rows = redis.run("BEAR.QUERY bear FRESH size 4000 6000").json();
    assert_eq!(rows.as_array().unwrap().len(), 100);
    // The old, smaller result must not be served after the newer one was answered.
    let rows = redis.run("BEAR.QUERY bear size 4000 6000").json();
    assert_eq!(rows.as_array().unwrap().len(), 100);
}

#[test]
fn a_result_over_max_result_bytes_is_an_error() {
    let database = bears::database();
    add_a_hundred_bears(&database);
    let redis = Redis::builder().postgres(&database).config("bear.max-result-bytes", 4096).start();
    let reply = redis.run("BEAR.QUERY bear size 5000 5000");
    assert!(reply.error().contains("bear.max-result-bytes") && reply.error().contains("4096"), "{reply:?}");
    assert!(redis.keys().is_empty());
    assert_eq!(redis.run("BEAR.QUERY bear size 90 90").text(), bears::json(&[8]));
}

#[test]
fn a_late_answer_is_a_timeout_and_cancelled_in_postgres() {
    let database = bears::database();
    let redis = Redis::builder()
        .postgres(&database)
        .catalog(bears::gated_catalog())
        .config("bear.query-timeout-ms", 300)
        .start();
    let mut gate = database.close_gate();
    let mut clients = [redis.wire(), redis.wire()];
    let begun = Instant::now();
    clients.iter_mut().for_each(|client| client.begin("BEAR.QUERY bear all"));
    for client in &mut clients {
        let reply = client.receive();
        assert!(reply.error().starts_with("TIMEOUT ") && reply.error().contains("query-timeout-ms"), "{reply:?}");
    }
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(300) && took < Duration::from_secs(3), "{took:?}");
    gate.wait(0); // the gate is still closed: who left it was cancelled
    assert!(redis.keys().is_empty());
    gate.open();
    assert_eq!(redis.run("BEAR.QUERY bear size 90 90").text(), bears::json(&[8]));
}

#[test]
fn a_client_that_leaves_does_not_disturb_the_others() {
    let database = bears::database();
    let redis = gated(&database);
    let mut gate = database.close_gate();
    let mut first = redis.wire();
    first.begin("BEAR.QUERY bear size 100 200");
    gate.wait(1);
    let (mut stays, mut killed, mut leaves) = (redis.wire(), redis.wire(), redis.wire());
    let id = killed.id();
    for client in [&mut stays, &mut killed, &mut leaves] {
        client.begin("BEAR.QUERY bear size 100 200");
    }
    redis.wait_blocked(4);
    drop(first); // the one that began the fetch
    drop(leaves);
    assert_eq!(redis.run(&format!("CLIENT KILL ID {id}")), Reply::Int(1));
    assert!(killed.is_closed());
    redis.wait_blocked(1);
    gate.open();
    assert_eq!(stays.receive().text(), bears::json(&[1, 2, 4, 5, 6]));
    assert_eq!(redis.run("BEAR.QUERY bear size 100 200").text(), bears::json(&[1, 2, 4, 5, 6]));
    assert_eq!(selects(&database), 1);
}

#[test]
fn a_fetch_that_everybody_left_ends_well() {
    let database = bears::database();
    let redis = gated(&database);
    let mut gate = database.close_gate();
    let mut only = redis.wire();
    only.begin("BEAR.QUERY bear size 100 200");
    gate.wait(1);
    drop(only);
    redis.wait_blocked(0);
    gate.open();
    assert_eq!(redis.run("BEAR.QUERY bear size 100 200").text(), bears::json(&[1, 2, 4, 5, 6]));
}

#[test]
fn client_unblock_answers_and_the_server_goes_on() {
    let database = bears::database();
    let redis = gated(&database);
    let mut gate = database.close_gate();
    let mut client = redis.wire();
    let id = client.id();
    client.begin("BEAR.QUERY bear size 100 200");
    gate.wait(1);
    if redis.run(&format!("CLIENT UNBLOCK {id}")) == Reply::Int(1) {
        assert!(client.receive().is_nil(), "as at the end of a wait of Redis' own");
        gate.open();
    } else {
        gate.open();
        assert_eq!(client.receive().text(), bears::json(&[1, 2, 4, 5, 6]));
    }
    assert_eq!(client.run("PING").text(), "PONG");
}

/// Whatever stands in Redis must be listed, and what is answered must be what Postgres has.
fn assert_consistent(redis: &Redis) {
    let mut model = KeyspaceModel::default();
    for unit in redis.aof() {
        model.apply(&unit);
        model.assert_entries_have_metadata("bear", bears::metadata_of);
    }
}

#[test]
fn flushall_during_a_fetch() {
    for flush in ["FLUSHALL", "FLUSHALL ASYNC", "FLUSHDB"] {
        let database = bears::database();
        let redis = gated(&database);
        redis.run("BEAR.QUERY bear size 300 400");
        redis.wait_stored();
        let mut gate = database.close_gate();
        let mut client = redis.wire();
        client.begin("BEAR.QUERY bear size 100 200");
        gate.wait(1);
        assert!(redis.run(flush).is_ok());
        assert_eq!(redis.run("BEAR.QUERY bear CACHED size 300 400"), Reply::Nil, "{flush}");
        gate.open();
        assert_eq!(client.receive().text(), bears::json(&[1, 2, 4, 5, 6]), "{flush}");
        redis.run("BEAR.QUERY bear size 100 200");
        redis.wait_stored();
        assert_eq!(redis.run("BEAR.INVALIDATE bear ROW 5"), Reply::Int(1), "{flush}");
        assert_consistent(&redis);
    }
}

#[test]
fn flushall_while_a_large_result_is_published() {
    let database = bears::database();
    database.run("INSERT INTO bear (id, name, size) SELECT i, 'x', 5000 FROM generate_series(10, 3009) i");
    let redis = Redis::builder().postgres(&database).append_only().start();
    let mut wire = redis.wire();
    for round in 0..20 {
        let mut client = redis.wire();
        client.begin(&format!("BEAR.QUERY bear size {} 5000", 4000 + round));
        // Each round meets another moment of the publication.
        let seen = round * 150;
        eventually("some of the metadata stands", || wire.run("DBSIZE").int() >= seen);
        wire.run("FLUSHALL");
        assert_eq!(client.receive().json().as_array().unwrap().len(), 3000);
        eventually("it is over", || {
            wire.run(&format!("BEAR.QUERY bear size {} 5000", 4000 + round));
            wire.run(&format!("EXISTS bear:size:{}:5000", 4000 + round)) == Reply::Int(1)
        });
        assert_eq!(wire.run("SCARD bear:meta:3009:caches"), Reply::Int(1));
        wire.run("FLUSHALL");
    }
    assert_consistent(&redis);
}

#[test]
fn entries_that_swapdb_takes_away_and_brings_back_are_not_served() {
    let database = bears::database();
    let redis = Redis::with(&database);
    let mut wire = redis.wire();
    wire.run("BEAR.QUERY bear size 100 200");
    redis.wait_stored();
    assert!(wire.run("SWAPDB 0 1").is_ok());
    assert_eq!(wire.run("BEAR.QUERY bear CACHED size 100 200"), Reply::Nil);
    database.run("UPDATE bear SET name = 'Boo-Boo' WHERE id = 5");
    assert_eq!(wire.run("BEAR.INVALIDATE bear ROW 5"), Reply::Int(0));
    assert!(wire.run("SWAPDB 0 1").is_ok());
    assert!(wire.run("BEAR.QUERY bear size 100 200").text().contains("Boo-Boo"));
    redis.wait_stored();
    assert_eq!(wire.run("BEAR.INVALIDATE bear ROW 5"), Reply::Int(1));
}

#[test]
fn swapdb_during_a_fetch() {
    let database = bears::database();
    let redis = gated(&database);
    let mut gate = database.close_gate();
    let mut client = redis.wire();
    client.begin("BEAR.QUERY bear size 100 200");
    gate.wait(1);
    assert!(redis.run("SWAPDB 0 1").is_ok());
    gate.open();
    assert_eq!(client.receive().text(), bears::json(&[1, 2, 4, 5, 6]));
    redis.run("BEAR.QUERY bear size 100 200");
    redis.wait_stored();
    assert_eq!(redis.run("BEAR.INVALIDATE bear ROW 5"), Reply::Int(1));
}

#[test]
fn a_result_whose_publication_is_held_back_lives_no_longer_than_it_may() {
    let database = bears::database();
    let query = |call: &str, more: &str, column: &str| {
        format!(
            "[[clock.query]]\ncall = \"{call}\"\nrows = false\nsingle = true\n{more}\n\
             sql = \"SELECT name{column} FROM bear b WHERE id = 8\"\n"
        )
    };
    let catalog = "[clock]\n".to_owned()
        + &query("until", "", ", clock_timestamp() + interval '500 milliseconds' AS _until")
        + &query("short", "ttl = \"1s\"", "");
    let redis = Redis::builder().postgres(&database).catalog(catalog).start();
    let mut wire = redis.wire();
    assert!(wire.run("CLIENT PAUSE 100000 WRITE").is_ok());
    for (call, name) in [("until", "Pad"), ("short", "Paddy")] {
        let line = format!("BEAR.QUERY clock {call}");
        assert!(!wire.run(&line).is_error(), "{call}");
        database.run(&format!("UPDATE bear SET name = '{name}' WHERE id = 8"));
        let newer = format!(r#"{{"name":"{name}"}}"#);
        eventually("it is fetched again", || wire.run(&line).text() == newer);
    }
    assert!(redis.keys().is_empty(), "all of that without a write");
    assert!(wire.run("CLIENT UNPAUSE").is_ok());
    eventually("what is left of them ends", || wire.run("BEAR.QUERY clock CACHED short").is_nil());
}

#[test]
fn a_client_with_little_time_is_answered_before_one_that_came_earlier_with_more() {
    let database = bears::database();
    let redis = Redis::builder()
        .postgres(&database)
        .catalog(bears::gated_catalog())
        .config("bear.fetch-threads", 1)
        .config("bear.query-timeout-ms", 60_000)
        .start();
    let mut gate = database.close_gate();
    let (mut fetched, mut patient, mut hasty) = (redis.wire(), redis.wire(), redis.wire());
    fetched.begin("BEAR.QUERY bear size 90 90");
    gate.wait(1);
    patient.begin("BEAR.QUERY bear size 300 400");
    redis.wait_blocked(2);
    assert!(redis.run("CONFIG SET bear.query-timeout-ms 300").is_ok());
    let begun = Instant::now();
    let reply = hasty.run("BEAR.QUERY bear all");
    let took = begun.elapsed();
    assert!(reply.error().starts_with("TIMEOUT "), "{reply:?}");
    assert!(took >= Duration::from_millis(300) && took < Duration::from_secs(3), "{took:?}");
    // One more that waits for what the patient one waits for has its own time, too.
    let begun = Instant::now();
    assert!(hasty.run("BEAR.QUERY bear size 300 400").error().starts_with("TIMEOUT "));
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    gate.open();
    assert_eq!(fetched.receive().text(), bears::json(&[8]));
    assert_eq!(patient.receive().text(), bears::json(&[3]));
}
