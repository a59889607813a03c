//! BEAR.VERIFY: stored entries against what Postgres says now.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::support::bears::{self, selects};
use crate::support::{stays, Database, Redis, Reply};

const COUNTS: [&str; 4] = ["checked", "different", "failed", "gone"];

type Verified = BTreeMap<String, Reply>;

fn verify(redis: &Redis, line: &str) -> Verified {
    let found = redis.resp3_wire().run(&format!("BEAR.VERIFY {line}")).map();
    let mut names = COUNTS.to_vec();
    names.insert(0, "calls");
    names.push("values");
    assert_eq!(found.keys().collect::<Vec<_>>(), names);
    found
}

/// checked, different, failed, gone.
fn counts(found: &Verified) -> [i64; 4] {
    COUNTS.map(|name| found[name].int())
}

/// Keys of the calls that differ, sorted: several are fetched at a time.
fn keys(found: &Verified) -> Vec<String> {
    let mut keys: Vec<String> = found["calls"].list().iter().map(|call| call.map()["key"].text()).collect();
    keys.sort();
    keys
}

fn gated(database: &Database) -> Redis {
    Redis::builder().postgres(database).catalog(bears::gated_catalog()).start()
}

fn fill(redis: &Redis, calls: &[&str]) {
    for call in calls {
        assert!(!redis.run(&format!("BEAR.QUERY {call}")).is_error(), "{call}");
    }
    redis.wait_stored();
}

fn rename_yogi(database: &Database, name: &str) {
    database.run(&format!("UPDATE bear SET name = '{name}' WHERE id = 5"));
}

#[test]
fn entries_that_are_right_are_only_counted() {
    let database = bears::database();
    let redis = Redis::with(&database);
    assert_eq!(counts(&verify(&redis, "bear")), [0, 0, 0, 0]);
    fill(&redis, &["bear all", "bear size 90 110", "bear colors white", "color all"]);
    let (keys, before) = (redis.keys(), redis.info("bear"));
    assert_eq!(counts(&verify(&redis, "bear")), [3, 0, 0, 0]);
    assert_eq!(counts(&verify(&redis, "color COUNT 5")), [1, 0, 0, 0]);
    assert_eq!(selects(&database), 6, "each was fetched again");
    assert_eq!(redis.keys(), keys);
    for figure in ["bear_fills", "bear_misses", "bear_entries_stored"] {
        assert_eq!(redis.info("bear").int(figure), before.int(figure), "{figure}");
    }
}

#[test]
fn what_differs_is_told_and_stays_as_it_is() {
    let database = bears::database();
    let redis = Redis::with(&database);
    fill(&redis, &["bear size 090 110", "bear size 150 150", "bear colors brown", "bear colors grey,a%2Cb"]);
    // Nobody tells bear.
    rename_yogi(&database, "Boo-Boo the bear");
    let found = verify(&redis, "bear");
    assert_eq!(counts(&found), [4, 2, 0, 0]);
    assert_eq!(keys(&found), ["bear:colors:brown", "bear:size:150:150"]);
    let mut calls = found["calls"].list().iter().map(Reply::map);
    let call = calls.find(|call| call["key"].text() == "bear:size:150:150").expect("it is among them");
    let fields: Vec<&str> = call.keys().map(String::as_str).collect();
    assert_eq!(fields, ["age_ms", "call", "fetched_bytes", "key", "rows", "stored_bytes"]);
    let words: Vec<String> = call["call"].list().iter().map(Reply::text).collect();
    assert_eq!(words, ["size", "150", "150"]);
    let stored = bears::json(&[5]);
    let longer = "Boo-Boo the bear".len() - "Yogi".len();
    assert_eq!(call["stored_bytes"], Reply::Int(stored.len() as i64));
    assert_eq!(call["fetched_bytes"], Reply::Int((stored.len() + longer) as i64));
    assert_eq!(call["rows"], Reply::Int(1));
    assert!((100..20_000).contains(&call["age_ms"].int()), "{call:?}");
    assert_eq!(redis.run("BEAR.QUERY bear CACHED size 150 150").text(), stored, "it only looks");
    // RESP2 has the same.
    assert_eq!(redis.run("BEAR.VERIFY bear").map()["different"], Reply::Int(2));
    // Told, it is mended.
    redis.run("BEAR.INVALIDATE bear ROW 5");
    fill(&redis, &["bear size 150 150", "bear colors brown"]);
    assert_eq!(verify(&redis, "bear")["different"], Reply::Int(0));
}

#[test]
fn the_words_it_tells_are_the_call() {
    let database = bears::database();
    let redis = Redis::with(&database);
    let mut wire = redis.resp3_wire();
    let color = "a,b:c%";
    wire.call(&["BEAR.QUERY", "bear", "colors", "a%2Cb:c%25,grey", "size", "1", "999"]);
    wire.call(&["BEAR.QUERY", "bear", "size", "100", "200", "after", "2", "limit", "3"]);
    redis.wait_stored();
    database.run(&format!(
        "INSERT INTO color (id, name, hex) VALUES (77, '{color}', '#000000'); INSERT INTO bear_colors VALUES (5, 77)"
    ));
    let found = verify(&redis, "bear");
    assert_eq!(counts(&found), [2, 2, 0, 0]);
    for call in found["calls"].list() {
        let call = call.map();
        let words = call["call"].list().iter().map(Reply::text);
        let command: Vec<String> = ["BEAR.EXPLAIN".into(), "bear".into()].into_iter().chain(words).collect();
        assert_eq!(wire.call(&command).map()["key"], call["key"], "{command:?}");
    }
}

#[test]
fn an_entry_that_is_invalidated_meanwhile_is_not_told() {
    let database = bears::database();
    let redis = gated(&database);
    fill(&redis, &["bear size 150 150"]);
    rename_yogi(&database, "Boo-Boo");
    let mut gate = database.close_gate();
    let mut client = redis.wire();
    client.begin("BEAR.VERIFY bear");
    gate.wait(1);
    assert_eq!(redis.run("BEAR.INVALIDATE bear ROW 5"), Reply::Int(1));
    gate.open();
    assert_eq!(counts(&client.receive().map()), [0, 0, 0, 1]);
}

#[test]
fn an_entry_that_is_filled_again_meanwhile_is_not_told() {
    let database = bears::database();
    let redis = gated(&database);
    fill(&redis, &["bear size 150 150"]);
    let mut gate = database.close_gate();
    let mut client = redis.wire();
    client.begin("BEAR.VERIFY bear");
    gate.wait(1);
    rename_yogi(&database, "Boo-Boo");
    let free = database.close_gate();
    free.open();
    // Newer than what was picked, and other than what is being fetched.
    redis.run("BEAR.QUERY bear FRESH size 150 150");
    redis.wait_stored();
    gate.open();
    assert_eq!(counts(&client.receive().map()), [0, 0, 0, 1]);
}

#[test]
fn a_change_that_is_invalidated_a_moment_later_is_not_told() {
    let database = bears::database();
    let redis = gated(&database);
    for (act, expected) in [("invalidated", [0, 0, 0, 1]), ("undone", [1, 0, 0, 0]), ("left", [1, 1, 0, 0])] {
        rename_yogi(&database, "Yogi");
        redis.run("BEAR.INVALIDATE bear ALL");
        fill(&redis, &["bear size 150 150"]);
        rename_yogi(&database, "Boo-Boo");
        let mut first = database.close_gate();
        let mut client = redis.wire();
        client.begin("BEAR.VERIFY bear");
        first.wait(1);
        // Undone while the first fetch, which has read already, and before the second.
        if act == "undone" {
            rename_yogi(&database, "Yogi");
        }
        let mut second = database.close_gate();
        first.open();
        second.wait(1);
        if act == "invalidated" {
            assert_eq!(redis.run("BEAR.INVALIDATE bear ROW 5"), Reply::Int(1));
        }
        second.open();
        assert_eq!(counts(&client.receive().map()), expected, "{act}");
    }
}

#[test]
fn it_leaves_threads_to_others() {
    let database = bears::database();
    let redis = gated(&database);
    let calls: Vec<String> = (0..8).map(|n| format!("bear size {n} 500")).collect();
    fill(&redis, &calls.iter().map(String::as_str).collect::<Vec<_>>());
    let mut gate = database.close_gate();
    let mut clients: Vec<_> = (0..3).map(|_| redis.wire()).collect();
    clients.iter_mut().for_each(|client| client.begin("BEAR.VERIFY bear"));
    gate.wait(2);
    stays("half of the four threads are free", Duration::from_millis(300), || gate.waiting() == 2);
    assert_eq!(redis.run("BEAR.QUERY color all").json().as_array().map(Vec::len), Some(4));
    gate.open();
    for client in &mut clients {
        assert_eq!(counts(&client.receive().map()), [8, 0, 0, 0]);
    }
}

#[test]
fn each_goes_on_where_the_last_one_stopped() {
    let database = bears::database();
    let redis = Redis::with(&database);
    let calls: Vec<String> = (0..7).map(|n| format!("bear size {n} 500")).collect();
    fill(&redis, &calls.iter().map(String::as_str).collect::<Vec<_>>());
    fill(&redis, &["color all"]);
    rename_yogi(&database, "Boo-Boo");
    let mut seen = BTreeSet::new();
    for round in 1..=3 {
        let found = verify(&redis, "bear COUNT 3");
        assert_eq!(counts(&found), [3, 3, 0, 0]);
        seen.extend(keys(&found));
        assert_eq!(seen.len(), (3 * round).min(7), "{seen:?}");
    }
    assert_eq!(counts(&verify(&redis, "bear COUNT 99")), [7, 7, 0, 0], "each once");
    assert_eq!(counts(&verify(&redis, "color")), [1, 0, 0, 0]);
}

#[test]
fn of_many_that_differ_a_hundred_are_named() {
    let database = bears::database();
    let redis = Redis::with(&database);
    let lines: Vec<String> = (0..120).map(|n| format!("BEAR.QUERY bear size {n} 150")).collect();
    crate::support::burst(&redis, &lines);
    redis.wait_stored();
    rename_yogi(&database, "Boo-Boo");
    let found = verify(&redis, "bear COUNT 200");
    assert_eq!(counts(&found), [120, 120, 0, 0]);
    assert_eq!(found["calls"].list().len(), 100);
}

#[test]
fn a_tenants_space_is_its_own() {
    let database = bears::database_with(
        "CREATE TABLE room (id int PRIMARY KEY, shop int, name text); \
         INSERT INTO room VALUES (1, 1, 'a'), (2, 2, 'b');",
    );
    let redis = Redis::builder()
        .postgres(&database)
        .catalog(
            "[room]\nid = \"int\"\ntenant = \"int\"\n[[room.query]]\ncall = \"all\"\n\
             sql = \"SELECT id, name FROM room WHERE shop = {tenant}\"\n",
        )
        .start();
    fill(&redis, &["{1}:room all", "{2}:room all"]);
    database.run("UPDATE room SET name = 'c' WHERE shop = 1");
    assert_eq!(keys(&verify(&redis, "{1}:room")), ["{1}:room:all"]);
    assert_eq!(counts(&verify(&redis, "{2}:room")), [1, 0, 0, 0]);
    assert_eq!(counts(&verify(&redis, "{3}:room")), [0, 0, 0, 0]);
}

#[test]
fn where_fetches_fail_it_ends_soon() {
    let database = bears::database();
    let redis = Redis::builder().postgres(&database).config("bear.fetch-threads", 1).start();
    let lines: Vec<String> = (0..40).map(|n| format!("BEAR.QUERY bear size {n} 150")).collect();
    crate::support::burst(&redis, &lines);
    redis.wait_stored();
    database.run("ALTER TABLE bear RENAME TO bears");
    assert_eq!(counts(&verify(&redis, "bear")), [0, 0, 10, 0]);
    database.run("ALTER TABLE bears RENAME TO bear");
    assert_eq!(counts(&verify(&redis, "bear COUNT 40")), [40, 0, 0, 0]);
}

#[test]
fn a_client_that_hangs_up_and_a_flush_harm_nothing() {
    let database = bears::database();
    let redis = gated(&database);
    fill(&redis, &["bear size 150 150", "bear all"]);
    let mut gate = database.close_gate();
    let mut client = redis.wire();
    client.begin("BEAR.VERIFY bear");
    gate.wait(2);
    drop(client);
    let mut next = redis.wire();
    next.begin("BEAR.VERIFY bear");
    assert!(redis.run("FLUSHALL").is_ok());
    gate.open();
    assert_eq!(counts(&next.receive().map()), [0, 0, 0, 0]);
}

#[test]
fn who_may_not_ask_is_told_why() {
    let database = bears::database();
    let master = Redis::with(&database);
    let replica = Redis::builder().postgres(&database).replica_of(&master).start();
    replica.wait_in_sync(&master);
    assert!(replica.run("BEAR.VERIFY bear").error().starts_with("READONLY "));
    let mut wire = master.wire();
    assert!(wire.run("MULTI").is_ok());
    wire.run("BEAR.VERIFY bear");
    assert!(wire.run("EXEC").list()[0].error().starts_with("NOWAIT "));
    let script = wire.call(&["EVAL", "return redis.pcall('BEAR.VERIFY', 'bear')", "0"]);
    assert!(script.error().contains("NOWAIT "), "{script:?}");
    for (line, error) in [
        ("beer", "ERR no section is called 'beer'; the catalog has bear, color"),
        ("bear COUNT 0", "ERR COUNT must be a number from 1 to 100000, got '0'"),
        ("bear COUNT", "ERR the number after COUNT is missing"),
        ("bear COUNT 1 COUNT 2", "ERR COUNT is given twice"),
        ("bear all", "ERR 'all' is one word too many"),
    ] {
        assert_eq!(wire.run(&format!("BEAR.VERIFY {line}")).error(), error);
    }
    let alone = Redis::builder().start();
    assert!(alone.run("BEAR.VERIFY bear").error().starts_with("POSTGRES no URL"));
}
