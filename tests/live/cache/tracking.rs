//! Client-side caching (CLIENT TRACKING): who keeps entries in its own memory is told of each that is dropped.

use std::collections::BTreeSet;

use crate::support::bears;
use crate::support::jobs::complete;
use crate::support::{burst, eventually, Redis, Reply, Wire};

const MARKER: &str = "bear:marker";

/// A connection that is told of all keys of section `bear`.
fn broadcast(redis: &Redis) -> Wire {
    let mut wire = redis.resp3_wire();
    assert!(wire.run("CLIENT TRACKING ON BCAST PREFIX bear:").is_ok());
    wire
}

/// Keys that a push names.
#[track_caller]
fn named(push: &Reply) -> Vec<String> {
    let Reply::Push(parts) = push else { panic!("a push was expected, got {push:?}") };
    assert_eq!(parts[0].text(), "invalidate");
    parts[1].list().iter().map(Reply::text).collect()
}

/// All keys that were told of up to now.
#[track_caller]
fn told(redis: &Redis, wire: &mut Wire) -> BTreeSet<String> {
    assert!(redis.run(&format!("SET {MARKER} 1")).is_ok());
    let mut keys = BTreeSet::new();
    while !keys.remove(MARKER) {
        keys.extend(named(&wire.receive()));
    }
    keys
}

const CALLS: [&str; 4] = ["size 150 150", "size 100 200", "colors brown", "colors white"];
const WITH_YOGI: [&str; 3] = ["bear:size:150:150", "bear:size:100:200", "bear:colors:brown"];
const OTHER: &str = "bear:colors:white";

fn fill(redis: &Redis) {
    for call in CALLS {
        assert!(!redis.run(&format!("BEAR.QUERY bear {call}")).is_error(), "{call}");
    }
    redis.wait_stored();
}

#[track_caller]
fn assert_told(keys: &BTreeSet<String>, entries: &[&str]) {
    for entry in entries {
        assert!(keys.contains(*entry), "{entry} is not in {keys:?}");
    }
}

#[test]
fn each_entry_that_an_invalidation_drops_is_told() {
    let database = bears::database();
    let redis = Redis::with(&database);
    for (line, entries, others) in [
        ("ROW 5", &WITH_YOGI[..], &[OTHER][..]),
        ("CHANGED 5", &WITH_YOGI, &[OTHER]),
        ("TAG color:brown", &WITH_YOGI, &[OTHER]),
        ("QUERY size 150 150", &WITH_YOGI[..1], &[WITH_YOGI[1], WITH_YOGI[2], OTHER]),
        ("PATTERN size:*", &WITH_YOGI[..2], &[WITH_YOGI[2], OTHER]),
        ("ALL", &[WITH_YOGI[0], WITH_YOGI[1], WITH_YOGI[2], OTHER], &[]),
    ] {
        fill(&redis);
        let mut wire = broadcast(&redis);
        assert!(redis.run(&format!("BEAR.INVALIDATE bear {line}")).int() >= entries.len() as i64, "{line}");
        let keys = told(&redis, &mut wire);
        assert_told(&keys, entries);
        for other in others {
            assert!(!keys.contains(*other), "{line}: {other} stays, and is in {keys:?}");
        }
    }
}

#[test]
fn each_entry_that_a_job_drops_is_told() {
    let database = bears::database();
    let redis = Redis::with(&database);
    fill(&redis);
    let mut wire = broadcast(&redis);
    complete(&mut redis.wire(), r#"bear UPDATE_BEAR_NAME {"id":5,"name":"Boo-Boo"}"#);
    let keys = told(&redis, &mut wire);
    assert_told(&keys, &WITH_YOGI);
    assert!(!keys.contains(OTHER), "{OTHER} stays, and is in {keys:?}");
}

#[test]
fn each_entry_of_a_large_removal_is_told_until_it_is_carried_out() {
    let database = bears::database();
    let redis = Redis::with(&database);
    const MANY: usize = 1_000;
    let lines: Vec<String> = (0..MANY).map(|n| format!("BEAR.QUERY bear size {n} {n}")).collect();
    for line in ["BEAR.INVALIDATE bear ALL", "BEAR.INVALIDATE bear PATTERN size:*"] {
        burst(&redis, &lines);
        redis.wait_stored();
        let mut wire = broadcast(&redis);
        assert_eq!(redis.run(line), Reply::Int(MANY as i64));
        eventually("it is carried out", || redis.info("bear").int("bear_removals_running") == 0);
        let keys = told(&redis, &mut wire);
        let entries: Vec<_> = (0..MANY).map(|n| format!("bear:size:{n}:{n}")).collect();
        assert_told(&keys, &entries.iter().map(String::as_str).collect::<Vec<_>>());
    }
}

#[test]
fn an_entry_that_is_fetched_anew_or_grows_cold_is_told() {
    let database = bears::database();
    let redis = Redis::with(&database);
    fill(&redis);
    let mut wire = broadcast(&redis);
    redis.run("BEAR.QUERY bear FRESH size 150 150");
    redis.wait_stored();
    assert_told(&told(&redis, &mut wire), &WITH_YOGI[..1]);
    // Another client: the whole space goes.
    assert_eq!(redis.run("PERSIST bear:size:150:150"), Reply::Int(1));
    eventually("all of it is gone", || {
        CALLS.iter().all(|call| redis.run(&format!("BEAR.QUERY bear CACHED {call}")).is_nil())
    });
    let mut keys = BTreeSet::new();
    eventually("all of it is told", || {
        keys.extend(told(&redis, &mut wire));
        WITH_YOGI.iter().chain([&OTHER]).all(|entry| keys.contains(*entry))
    });
}

#[test]
fn who_has_read_an_entry_by_get_is_told_of_that_one_once() {
    let database = bears::database();
    let redis = Redis::with(&database);
    let mut other = redis.wire();
    for act in ["row", "all", "job", "fresh"] {
        database.run("UPDATE bear SET name = 'Yogi' WHERE id = 5");
        redis.run("BEAR.INVALIDATE bear ALL");
        fill(&redis);
        let mut wire = redis.resp3_wire();
        assert!(wire.run("CLIENT TRACKING ON").is_ok());
        assert_eq!(wire.run("GET bear:size:150:150").text(), bears::json(&[5]), "{act}");
        match act {
            "row" => drop(other.run("BEAR.INVALIDATE bear ROW 5")),
            "all" => drop(other.run("BEAR.INVALIDATE bear ALL")),
            "job" => drop(complete(&mut other, r#"bear UPDATE_BEAR_NAME {"id":5,"name":"Boo-Boo"}"#)),
            _ => drop(other.run("BEAR.QUERY bear FRESH size 150 150")),
        }
        redis.wait_stored();
        assert_eq!(named(&wire.receive()), ["bear:size:150:150"], "{act}");
        // Not again, for it has not read again; and of nothing that it did not read.
        other.run("BEAR.INVALIDATE bear ALL");
        assert!(matches!(wire.run("PING"), Reply::Simple(_)), "{act}");
    }
}

#[test]
fn what_came_by_bear_query_is_not_tracked() {
    let database = bears::database();
    let redis = Redis::with(&database);
    fill(&redis);
    let mut wire = redis.resp3_wire();
    assert!(wire.run("CLIENT TRACKING ON").is_ok());
    wire.run("BEAR.QUERY bear size 150 150");
    redis.run("BEAR.INVALIDATE bear ROW 5");
    // Redis remembers the key that the command names, the space, and that never changes.
    assert!(matches!(wire.run("PING"), Reply::Simple(_)));
}
