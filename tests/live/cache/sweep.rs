//! What has come and gone leaves nothing: no key, and no memory.

use std::time::Duration;

use crate::support::wait::wait_at_most;
use crate::support::{burst, eventually, Postgres, Redis, Reply};

/// Each entry has three rows and three tags; rows and tags are shared with neighbours. No table: it is about Redis.
const CATALOG: &str = r#"
[item]
id = "int"
ttl = "1h"
[[item.query]]
call = "of {n:int}"
sql = "SELECT n AS id, 'tag' || n % 50 AS tag FROM generate_series({n}::int, {n} + 2) n"
tags = ["{row.tag}"]
[[item.query]]
call = "brief {n:int}"
ttl = "1s"
sql = "SELECT n AS id, 'tag' || n % 50 AS tag FROM generate_series({n}::int, {n} + 2) n"
tags = ["{row.tag}"]
"#;

/// Entries that come and go together.
const WAVE: usize = 4000;

/// How many in all. `BEAR_TEST_SWEEP=100000` (`make test-long`) is the number of the promise; it takes long.
fn total() -> usize {
    std::env::var("BEAR_TEST_SWEEP").ok().and_then(|number| number.parse().ok()).unwrap_or(20_000)
}

/// With no connection but the one that asks: the others' buffers go with them.
fn memory(redis: &Redis) -> i64 {
    eventually("the others have gone", || redis.info("clients").int("connected_clients") == 1);
    redis.info("memory").int("used_memory")
}

/// Keys but for the mark of the sections, which stays. Counted, for listing thousands holds up what is waited for.
fn key_count(redis: &Redis) -> i64 {
    redis.run("DBSIZE").int() - redis.run("EXISTS bear.module:sections").int()
}

/// One wave comes; half of it goes by TTL or by hand, the rest by all kinds of invalidation.
fn wave(redis: &Redis, from: usize) {
    let lines: Vec<String> = (from..from + WAVE)
        .map(|n| format!("BEAR.QUERY item {} {n}", if n % 4 == 0 { "brief" } else { "of" }))
        .collect();
    for (index, reply) in burst(redis, &lines).into_iter().enumerate() {
        assert_eq!(reply.json()[0]["id"], from + index);
    }
    redis.wait_stored();
    let deletions: Vec<String> =
        (from..from + WAVE).filter(|n| n % 4 == 1).map(|n| format!("DEL item:of:{n}")).collect();
    let gone: i64 = burst(redis, &deletions).iter().map(Reply::int).sum();
    assert_eq!(gone, WAVE as i64 / 4);
    let rows: Vec<String> =
        (from..from + WAVE).step_by(40).map(|n| format!("BEAR.INVALIDATE item ROW {} {}", n + 2, n + 3)).collect();
    burst(redis, &rows).iter().for_each(|reply| assert!(reply.int() > 0));
    assert!(redis.run("BEAR.INVALIDATE item TAG tag7 tag8").int() > 0);
    assert!(redis.run("BEAR.INVALIDATE item PATTERN of:*9").int() > 0);
    assert!(redis.run("BEAR.INVALIDATE item ALL").int() > 0);
    eventually("no key is left", || key_count(redis) == 0);
}

#[test]
fn memory_and_keys_are_back_where_they_began() {
    let database = Postgres::shared().database("");
    database.log_errors_only();
    let redis = Redis::builder().postgres(&database).catalog(CATALOG).start();
    // Connections, statements and the tables of one wave are there after the first.
    wave(&redis, 0);
    let before = memory(&redis);
    let mut from = WAVE;
    while from < total() {
        wave(&redis, from);
        from += WAVE;
    }
    eventually("the module has nothing left to sweep", || {
        let info = redis.info("bear");
        info.int("bear_to_sweep") == 0 && info.int("bear_entries") == 0 && info.int("bear_metadata_sets") == 0
    });
    let back = wait_at_most(Duration::from_secs(20), || (memory(&redis) <= before + before / 10).then_some(()));
    let after = memory(&redis);
    assert!(back.is_some(), "{before} bytes before, {after} after {} entries", total());
    println!("{} entries came and went: {before} bytes before, {after} after", total());
}

#[test]
fn memory_of_many_entries_at_once_is_given_back() {
    const ENTRIES: usize = 20_000;
    let database = Postgres::shared().database("");
    database.log_errors_only();
    let redis = Redis::builder().postgres(&database).catalog(CATALOG).start();
    burst(&redis, &vec!["BEAR.QUERY item of 1"; 64]);
    redis.run("BEAR.INVALIDATE item ALL");
    eventually("no key is left", || key_count(&redis) == 0);
    let before = memory(&redis);
    let lines: Vec<String> = (0..ENTRIES).map(|n| format!("BEAR.QUERY item of {n}")).collect();
    assert!(burst(&redis, &lines).iter().all(|reply| !reply.is_error()));
    redis.wait_stored();
    let peak = memory(&redis);
    assert_eq!(redis.run("BEAR.INVALIDATE item ALL"), Reply::Int(ENTRIES as i64));
    // The metadata goes by a share of the time, which a busy machine and an unoptimized build make long.
    let gone = wait_at_most(Duration::from_secs(120), || (key_count(&redis) == 0).then_some(()));
    assert!(gone.is_some(), "{} keys are left", key_count(&redis));
    let back = wait_at_most(Duration::from_secs(20), || (memory(&redis) <= before + before / 10).then_some(()));
    let after = memory(&redis);
    assert!(back.is_some(), "{before} bytes before, {peak} with {ENTRIES} entries, {after} after");
}
