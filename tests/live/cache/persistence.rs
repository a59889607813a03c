//! What is on disk is plain data, and entries do not outlive the process that filled them.

use crate::support::bears::{self, selects};
use crate::support::{eventually, Database, Redis, Reply};

const QUERY: &str = "BEAR.QUERY bear size 100 200";
const CACHED: &str = "BEAR.QUERY bear CACHED size 100 200";

fn warm(redis: &Redis) {
    let mut wire = redis.wire();
    for line in [QUERY, "BEAR.QUERY bear all", "BEAR.QUERY bear colors white", "SET foreign 1", "SADD bears:x y"] {
        assert!(!wire.run(line).is_error(), "{line}");
    }
    redis.wait_stored();
}

/// After a restart: the old entries are not served, and go; what is filled now is served, and is exact.
fn assert_cold(redis: &Redis, database: &Database) {
    assert_eq!(redis.run(CACHED), Reply::Nil);
    assert!(redis.run(QUERY).text().contains("Boo-Boo"));
    let fetched = selects(database);
    assert!(redis.run(QUERY).text().contains("Boo-Boo"));
    assert_eq!(selects(database), fetched);
    redis.wait_stored();
    assert_eq!(redis.run("BEAR.INVALIDATE bear ROW 5"), Reply::Int(1));
    eventually("only foreign keys are left", || redis.keys() == ["bears:x", "foreign"]);
}

fn rename_yogi(database: &Database) {
    database.run("UPDATE bear SET name = 'Boo-Boo' WHERE id = 5");
}

#[test]
fn after_a_restart_from_the_aof_nothing_old_is_served() {
    let database = bears::database();
    let mut redis = Redis::builder().postgres(&database).append_only().start();
    warm(&redis);
    redis.shutdown();
    rename_yogi(&database);
    redis.start_again();
    assert_cold(&redis, &database);
}

#[test]
fn after_a_crash_nothing_old_is_served() {
    let database = bears::database();
    let mut redis = Redis::builder().postgres(&database).append_only().start();
    warm(&redis);
    redis.kill9();
    rename_yogi(&database);
    redis.start_again();
    assert_cold(&redis, &database);
}

#[test]
fn after_a_restart_from_an_rdb_nothing_old_is_served() {
    let database = bears::database();
    let mut redis = Redis::with(&database);
    warm(&redis);
    assert!(redis.run("SAVE").is_ok());
    redis.kill9();
    rename_yogi(&database);
    redis.start_again();
    assert_cold(&redis, &database);
}

#[test]
fn debug_reload_makes_cold() {
    let database = bears::database();
    let redis = Redis::with(&database);
    warm(&redis);
    rename_yogi(&database);
    assert!(redis.run("DEBUG RELOAD").is_ok());
    assert_cold(&redis, &database);
}

#[test]
fn a_redis_without_the_module_loads_rdb_and_aof() {
    let database = bears::database();
    for append_only in [false, true] {
        let builder = Redis::builder().postgres(&database);
        let redis = if append_only { builder.append_only() } else { builder }.start();
        warm(&redis);
        redis.run("BEAR.INVALIDATE bear QUERY all");
        eventually("the sweep is done", || redis.run("EXISTS bear:meta:7:caches") == Reply::Int(0));
        assert!(redis.run("SAVE").is_ok());
        let builder = Redis::builder().plain().data_of(&redis);
        let plain = if append_only { builder.append_only() } else { builder }.start();
        assert_eq!(plain.keys(), redis.keys(), "append_only {append_only}");
        assert_eq!(plain.run("DEBUG DIGEST"), redis.run("DEBUG DIGEST"));
        assert_eq!(plain.run("GET bear:colors:white").text(), bears::json(&[3, 4]));
        assert!(plain.run("PTTL bear:colors:white").int() > 0);
        assert_eq!(plain.run("SMEMBERS bear:meta:3:caches").sorted_texts(), ["bear:colors:white"]);
    }
}

#[test]
fn an_rdb_under_load_and_a_rewritten_aof_load_everywhere() {
    let database = bears::database();
    let mut redis = Redis::builder().postgres(&database).append_only().start();
    let mut wire = redis.wire();
    for low in 0..300 {
        wire.begin(&format!("BEAR.QUERY bear size {} 150", -low));
    }
    let mut other = redis.wire();
    assert!(!other.run("BGREWRITEAOF").is_error());
    for _ in 0..300 {
        assert!(!wire.receive().is_error());
    }
    eventually("the AOF is rewritten", || {
        let info = redis.info("persistence");
        info.int("aof_rewrite_in_progress") == 0 && info.int("aof_rewrite_scheduled") == 0
    });
    assert_eq!(redis.info("persistence").text("aof_last_bgrewrite_status"), "ok");
    redis.wait_stored();
    let keys = redis.keys();
    let plain = Redis::builder().plain().append_only().data_of(&redis).start();
    assert_eq!(plain.keys(), keys);
    redis.restart();
    assert_eq!(redis.run("BEAR.QUERY bear CACHED size 0 150"), Reply::Nil);
    eventually("all of it is swept", || redis.keys().is_empty());
}

#[test]
fn while_a_cold_master_sweeps_its_replica_serves_nothing_old() {
    let database = bears::database();
    let mut master = Redis::builder().postgres(&database).append_only().start();
    warm(&master);
    let replica = Redis::builder().postgres(&database).replica_of(&master).start();
    replica.wait_in_sync(&master);
    master.kill9();
    rename_yogi(&database);
    master.start_again();
    for _ in 0..200 {
        // At any moment: from its master's new entry, or from Postgres.
        assert!(replica.run(QUERY).text().contains("Boo-Boo"));
    }
    replica.wait_in_sync(&master);
    assert_eq!(replica.run("EXISTS bear:all"), master.run("EXISTS bear:all"));
}
