//! BEAR.EXPLAIN: what is known of a call, before and after it is cached, on the master and elsewhere.

use std::collections::BTreeMap;

use crate::support::bears::{self, selects};
use crate::support::{eventually, Redis, Reply};

const FIELDS: [&str; 20] = [
    "bytes",
    "cached",
    "dropped_by",
    "fetch_us",
    "key",
    "kind",
    "lease_ms",
    "lists",
    "page",
    "params",
    "query",
    "rows",
    "rules",
    "sql",
    "stale",
    "stale_ms",
    "stored_bytes",
    "tags",
    "ttl_ms",
    "values",
];

fn explain(redis: &Redis, call: &str) -> BTreeMap<String, Reply> {
    redis.resp3_wire().run(&format!("BEAR.EXPLAIN {call}")).map()
}

fn texts(reply: &Reply) -> Vec<String> {
    reply.list().iter().map(Reply::text).collect()
}

#[test]
fn a_call_that_is_not_cached() {
    let database = bears::database();
    let redis = Redis::with(&database);
    let found = explain(&redis, "bear size 0100 +200 limit 3");
    assert_eq!(found.keys().collect::<Vec<_>>(), FIELDS);
    assert_eq!(found["key"].text(), "bear:size:100:200:limit:3");
    assert_eq!(found["query"].text(), "size {start:int} {end:int} [limit {limit:int}] [after {after:int}]");
    let sql = found["sql"].text();
    assert!(sql.contains("BETWEEN $1 AND $2 AND b.id > coalesce($3, 0) ORDER BY b.id LIMIT $4"), "{sql}");
    let text = |text: &str| Reply::Bulk(text.into());
    assert_eq!(found["params"].list(), [text("100"), text("200"), Reply::Nil, text("3")]);
    assert_eq!(found["cached"], Reply::Bool(false));
    for name in ["ttl_ms", "bytes", "stored_bytes", "rows", "fetch_us"] {
        assert_eq!(found[name], Reply::Nil, "{name}");
    }
    assert!(found["tags"].list().is_empty());
    assert!(found["dropped_by"].list().is_empty());
    assert_eq!(selects(&database), 0, "explaining fetches nothing");
    assert!(redis.keys().is_empty());
}

#[test]
fn a_call_that_is_cached() {
    let database = bears::database();
    let redis = Redis::with(&database);
    redis.run("BEAR.QUERY bear size 90 110");
    redis.wait_stored();
    let found = explain(&redis, "bear size 090 110");
    assert_eq!(found["cached"], Reply::Bool(true));
    let ttl_ms = found["ttl_ms"].int();
    assert!((280_000..=300_000).contains(&ttl_ms), "{ttl_ms}");
    assert_eq!(found["bytes"].int(), bears::json(&[4, 8]).len() as i64);
    assert_eq!(found["rows"], Reply::Int(2));
    assert_eq!(texts(&found["tags"]), ["color:black", "color:white"]);
    assert_eq!(
        texts(&found["dropped_by"]),
        ["bear ROW 4", "bear ROW 8", "bear TAG color:black", "bear TAG color:white"]
    );
    let fetch_us = found["fetch_us"].int();
    assert!((1..20_000_000).contains(&fetch_us), "{fetch_us}");
    assert_eq!(selects(&database), 1);

    // What it says of drops holds.
    for line in ["BEAR.INVALIDATE bear ROW 8", "BEAR.INVALIDATE bear TAG color:white"] {
        redis.run("BEAR.QUERY bear size 90 110");
        redis.wait_stored();
        assert_eq!(redis.run(line), Reply::Int(1), "{line}");
        let found = explain(&redis, "bear size 90 110");
        assert_eq!(found["cached"], Reply::Bool(false), "{line}");
        assert!(found["tags"].list().is_empty() && found["rows"].is_nil(), "{line}: {found:?}");
    }
}

#[test]
fn resp2_has_the_same_in_a_flat_array() {
    let database = bears::database();
    let redis = Redis::with(&database);
    redis.run("BEAR.QUERY bear size 90 90");
    redis.wait_stored();
    let reply = redis.run("BEAR.EXPLAIN bear size 90 90");
    assert_eq!(reply.list().len(), 2 * FIELDS.len());
    let found = reply.map();
    assert_eq!(found.keys().collect::<Vec<_>>(), FIELDS);
    assert_eq!(found["cached"], Reply::Int(1));
    assert_eq!(found["rows"], Reply::Int(1));
    let found = redis.run("BEAR.EXPLAIN bear size 1 2 after 7").map();
    assert_eq!(found["cached"], Reply::Int(0));
    assert!(found["ttl_ms"].is_nil() && found["params"].list()[3].is_nil(), "{found:?}");
}

#[test]
fn parameters_are_shown_as_postgres_gets_them() {
    let database = bears::database();
    let redis = Redis::with(&database);
    let mut wire = redis.resp3_wire();
    let found = wire.call(&["BEAR.EXPLAIN", "bear", "colors", "white,b\"c,black,white,a%2Cb,ü"]).map();
    assert_eq!(found["key"].text(), "bear:colors:a%2Cb,b\"c,black,white,ü");
    assert_eq!(texts(&found["params"]), [r#"{"a,b","b\"c","black","white","ü"}"#]);
}

#[test]
fn a_call_without_arguments_has_no_params() {
    let database = bears::database();
    let redis = Redis::with(&database);
    let found = explain(&redis, "bear all");
    assert!(found["params"].list().is_empty());
}

#[test]
fn of_a_large_entry_twenty_rows_are_named_and_the_others_counted() {
    let database = bears::database();
    database.run("INSERT INTO bear (id, name, size) SELECT i, 'x', 5000 FROM generate_series(1001, 3000) i");
    let redis = Redis::with(&database);
    let json = redis.run("BEAR.QUERY bear size 5000 5000");
    redis.wait_stored();
    let found = explain(&redis, "bear size 5000 5000");
    assert_eq!(found["rows"], Reply::Int(2000));
    assert_eq!(found["bytes"], Reply::Int(json.bulk().len() as i64));
    let by = texts(&found["dropped_by"]);
    assert_eq!(by.len(), 21, "{by:?}");
    assert_eq!((&*by[0], &*by[19], &*by[20]), ("bear ROW 1001", "bear ROW 1020", "1980 more rows"));
    // A row that is not named drops it all the same.
    assert_eq!(redis.run("BEAR.INVALIDATE bear ROW 2999"), Reply::Int(1));
}

#[test]
fn after_a_restart_what_is_on_disk_is_not_cached() {
    let database = bears::database();
    let mut redis = Redis::builder().postgres(&database).append_only().start();
    redis.run("BEAR.QUERY bear size 90 90");
    redis.wait_stored();
    redis.restart();
    let found = explain(&redis, "bear size 90 90");
    assert_eq!(found["cached"], Reply::Bool(false));
    assert!(found["ttl_ms"].is_nil() && found["bytes"].is_nil(), "{found:?}");
}

#[test]
fn an_empty_result_lists_no_row() {
    let database = bears::database();
    let redis = Redis::with(&database);
    redis.run("BEAR.QUERY bear size 1 2");
    redis.wait_stored();
    let found = explain(&redis, "bear size 1 2");
    assert_eq!((&found["cached"], &found["rows"]), (&Reply::Bool(true), &Reply::Int(0)));
    assert_eq!(found["bytes"], Reply::Int(2));
    assert!(found["dropped_by"].list().is_empty());
}

#[test]
fn a_replica_shows_what_it_would_serve() {
    let database = bears::database();
    let mut master = Redis::with(&database);
    let replica = Redis::builder().postgres(&database).replica_of(&master).start();
    replica.wait_in_sync(&master);
    master.run("BEAR.QUERY bear size 90 90");
    master.wait_stored();
    replica.wait_in_sync(&master);
    let found = explain(&replica, "bear size 90 90");
    assert_eq!(found["cached"], Reply::Bool(true));
    assert_eq!(found["bytes"].int(), bears::json(&[8]).len() as i64);
    assert!((1..=300_000).contains(&found["ttl_ms"].int()), "{found:?}");
    // Only the master that filled it knows these.
    assert!(found["rows"].is_nil() && found["fetch_us"].is_nil(), "{found:?}");
    assert_eq!(explain(&replica, "bear all")["cached"], Reply::Bool(false));
    master.kill9();
    eventually("the link is down", || replica.info("replication").text("master_link_status") == "down");
    assert_eq!(explain(&replica, "bear size 90 90")["cached"], Reply::Bool(false));
}

#[test]
fn wrong_words_are_told_as_bear_query_tells_them() {
    let database = bears::database();
    let redis = Redis::with(&database);
    let mut wire = redis.wire();
    for call in ["bear sizes", "bear size 1 x", "beer all", "{7}:bear all", "bear CACHED all"] {
        let explained = wire.run(&format!("BEAR.EXPLAIN {call}"));
        assert!(explained.error().starts_with("ERR "), "{call}: {explained:?}");
        if !call.contains("CACHED") {
            assert_eq!(explained, wire.run(&format!("BEAR.QUERY {call}")), "{call}");
        }
    }
    assert_eq!(selects(&database), 0);
}

#[test]
fn it_answers_in_transactions_and_scripts_and_without_postgres() {
    let redis = Redis::builder().start();
    let mut wire = redis.wire();
    assert_eq!(wire.run("BEAR.EXPLAIN bear all").map()["key"].text(), "bear:all");
    assert!(wire.run("MULTI").is_ok());
    wire.run("BEAR.EXPLAIN bear all");
    assert_eq!(wire.run("EXEC").list()[0].map()["key"].text(), "bear:all");
    let script = "return redis.call('BEAR.EXPLAIN', 'bear', 'all')[2]";
    assert_eq!(wire.call(&["EVAL", script, "0"]).text(), "bear:all");
}
