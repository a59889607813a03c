//! Redis evicts entries while clients query, invalidate and enqueue: no entry outlives the metadata that would drop it.

use std::collections::BTreeSet;
use std::thread;

use super::policy::look;
use crate::support::bears;
use crate::support::jobs::wait_settled;
use crate::support::{burst, eventually, Database, Random, Redis, Reply};

/// Bears with two kilobytes of name, one a size.
const BEARS: usize = 600;
const FIRST: usize = 1_000;

/// Rows of a result.
const ROWS: usize = 5;

/// Commands of each client.
const QUERIES: usize = 400;
const INVALIDATIONS: usize = 100;
const JOBS: usize = 60;

fn database() -> Database {
    let database = bears::database();
    database.run(&format!(
        "INSERT INTO bear (id, name, size) SELECT i, repeat('x', 2000), i FROM generate_series({FIRST}, {}) i;
         INSERT INTO bear_colors SELECT i, 1 + i % 4 FROM generate_series({FIRST}, {}) i",
        FIRST + BEARS - 1,
        FIRST + BEARS - 1
    ));
    database.log_errors_only();
    database
}

fn query(low: usize) -> String {
    format!("BEAR.QUERY bear size {low} {}", low + ROWS - 1)
}

/// A size from which there are `ROWS` bears.
fn any_low(random: &mut Random) -> usize {
    FIRST + random.below(BEARS - ROWS)
}

fn load(redis: &Redis, seed: u64) {
    thread::scope(|scope| {
        for client in 0..3 {
            scope.spawn(move || {
                let (mut wire, mut random) = (redis.wire(), Random::new(seed + client));
                for _ in 0..QUERIES {
                    let line = query(any_low(&mut random));
                    assert_eq!(wire.run(&line).json().as_array().map(Vec::len), Some(ROWS), "{line}");
                }
            });
        }
        scope.spawn(move || {
            let (mut wire, mut random) = (redis.wire(), Random::new(seed + 100));
            for _ in 0..INVALIDATIONS {
                wire.run(&format!("BEAR.INVALIDATE bear ROW {}", any_low(&mut random))).int();
            }
        });
        scope.spawn(move || {
            let (mut wire, mut random) = (redis.wire(), Random::new(seed + 200));
            for number in 0..JOBS {
                let (id, name) = (any_low(&mut random), format!("{number}").repeat(300));
                let payload = format!(r#"{{"id":{id},"name":"{name}"}}"#);
                let reply = wire.call(&["BEAR.ENQUEUE", "bear", "UPDATE_BEAR_NAME", &payload]);
                assert!(!reply.is_error(), "{reply:?}");
            }
        });
    });
    wait_settled(&mut redis.wire(), "bear");
    redis.wait_stored();
}

fn entries(redis: &Redis) -> BTreeSet<String> {
    redis.run("KEYS bear:size:*").sorted_texts().into_iter().collect()
}

/// Every entry is live, by its own word, and each of its rows' and tags' sets has it.
#[track_caller]
fn assert_sound(redis: &Redis, policy: &str) {
    eventually("what is gone has been swept", || {
        let (missing, dead, count) = look(redis);
        assert!(missing.is_empty(), "{policy}: {missing:?}");
        dead == 0 && count > 0
    });
    let mut wire = redis.resp3_wire();
    for key in entries(redis) {
        let call = key.split(':').skip(1).collect::<Vec<_>>().join(" ");
        let found = wire.run(&format!("BEAR.EXPLAIN bear {call}")).map();
        // Looking may have brought an eviction about.
        let is_there = wire.run(&format!("EXISTS {key}")) == Reply::Int(1);
        assert!(!is_there || found["cached"] == Reply::Bool(true), "{policy}: {key}: {found:?}");
    }
    let figures = redis.info("bear");
    assert_eq!(figures.int("bear_entries"), entries(redis).len() as i64, "{policy}");
}

#[test]
fn under_load_no_entry_outlives_its_metadata() {
    for (seed, policy) in [(1, "volatile-lru"), (2, "volatile-ttl"), (3, "volatile-random")] {
        let database = database();
        let redis = Redis::builder().postgres(&database).config("maxmemory-policy", policy).start();
        // What connections and threads take comes first.
        burst(&redis, &vec![query(FIRST); 64]);
        redis.wait_stored();
        let limit = redis.info("memory").int("used_memory") + (3 << 20);
        assert!(redis.run(&format!("CONFIG SET maxmemory {limit}")).is_ok());
        load(&redis, seed);
        // So that there is something, whatever the last jobs dropped.
        let all: Vec<String> = (FIRST..FIRST + BEARS - ROWS).map(query).collect();
        burst(&redis, &all);
        redis.wait_stored();
        let evicted = redis.info("bear").int("bear_entries_evicted");
        assert!(evicted > 50, "{policy}: {evicted} entries were evicted");
        assert_sound(&redis, policy);

        // Whatever Redis still has goes with its rows.
        database.run(&format!("UPDATE bear SET name = 'new' WHERE id >= {FIRST}"));
        // On one connection: the memory of many would have all of it evicted.
        let mut wire = redis.wire();
        let rows = FIRST..FIRST + BEARS;
        let dropped: i64 = rows.map(|id| wire.run(&format!("BEAR.INVALIDATE bear ROW {id}")).int()).sum();
        assert!(dropped > 0, "{policy}");
        eventually("no entry is left", || entries(&redis).is_empty());
        for (line, reply) in all.iter().zip(burst(&redis, &all)) {
            let fresh = reply.json().as_array().is_some_and(|bears| bears.iter().all(|bear| bear["name"] == "new"));
            assert!(fresh, "{policy}: {line}: {:.300?}", reply.json());
        }
    }
}
