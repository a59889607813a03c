//! What is told of entries: stored, or served no more, and why.

use serde_json::{json, Value};

use super::listener::Listener;
use crate::support::feed::wait_told;
use crate::support::jobs::{enqueue, wait_settled};
use crate::support::{bears, eventually, Database, Postgres, Redis, Wire};

/// The shipped catalog, of which all is told.
fn start(database: &Database) -> (Redis, Wire, Listener) {
    let redis = Redis::builder().postgres(database).config("bear.events", "all").start();
    let wire = redis.wire();
    let told = Listener::new(redis.wire(), "SUBSCRIBE bear:events:bear");
    (redis, wire, told)
}

/// Has this call cached, and its event passed by.
#[track_caller]
fn fill(wire: &mut Wire, told: &mut Listener, call: &str) -> Value {
    wire.run(&format!("BEAR.QUERY bear {call}"));
    let stored = told.next();
    assert_eq!(stored["event"], "stored", "{stored}");
    stored
}

/// The next message, without its time.
#[track_caller]
fn next(told: &mut Listener) -> Value {
    serde_json::from_str(&told.timeless()).expect("JSON")
}

#[test]
fn an_entry_is_told_when_it_is_stored_and_not_when_it_is_hit() {
    let database = bears::database();
    let (_redis, mut wire, mut told) = start(&database);
    let stored = fill(&mut wire, &mut told, "size 90 90");
    let bytes = wire.run("STRLEN bear:size:90:90").int();
    assert_eq!(
        (&stored["key"], &stored["bytes"], &stored["rows"]),
        (&json!("bear:size:90:90"), &json!(bytes), &json!(1))
    );
    let ttl = stored["ttl_ms"].as_i64().expect("a time");
    assert!((299_000..=300_000).contains(&ttl), "{ttl}");
    wire.run("BEAR.QUERY bear size 90 90");
    told.assert_no_more();
    fill(&mut wire, &mut told, "FRESH size 90 90");
    // It ends by itself, or by another hand: Redis has notifications for that.
    wire.run("DEL bear:size:90:90");
    told.assert_no_more();
}

#[test]
fn each_way_to_invalidate_says_what_it_was() {
    let database = bears::database();
    let (_redis, mut wire, mut told) = start(&database);
    let key = "bear:size:150:150";
    for (words, cause) in [
        ("ROW 5", json!({"why":"row","of":"bear","rows":["5"]})),
        ("ROW 5 1", json!({"why":"row","of":"bear","rows":["5","1"]})),
        ("CHANGED 5", json!({"why":"row","of":"bear","rows":["5"]})),
        (r#"IMAGE {"id":5,"size":150,"colors":[]}"#, json!({"why":"row","of":"bear","rows":["5"]})),
        ("TAG color:red color:brown", json!({"why":"tag","tags":["color:red","color:brown"]})),
        ("QUERY size 150 150", json!({"why":"command"})),
        ("PATTERN size:*", json!({"why":"command"})),
        ("ALL", json!({"why":"command"})),
    ] {
        let stored = fill(&mut wire, &mut told, "size 150 150");
        assert_eq!(stored["key"], key);
        let reply = wire.run(&format!("BEAR.INVALIDATE bear {words}"));
        assert_eq!(reply.int(), 1, "{words}");
        let mut expected = json!({"event":"invalidated","space":"bear","count":1,"keys":[key]});
        expected.as_object_mut().expect("an object").extend(cause.as_object().expect("an object").clone());
        assert_eq!(next(&mut told), expected, "{words}");
    }
    assert_eq!(wire.run("BEAR.INVALIDATE bear ROW 5").int(), 0);
    told.assert_no_more();
}

#[test]
fn jobs_and_the_feed_say_whose_rows_have_changed() {
    let database = bears::database_in(Postgres::shared_logical());
    let catalog = include_str!("../../../catalogs/bear.toml");
    let redis = Redis::builder()
        .postgres(&database)
        .catalog(catalog)
        .configs(&[("bear.events", "all"), ("bear.feed", "wal")])
        .start();
    wait_told(&redis);
    let mut wire = redis.wire();
    let mut told = Listener::new(redis.wire(), "SUBSCRIBE bear:events:bear");
    // Entries of a feed that has just begun to follow may go once more.
    fill(&mut wire, &mut told, "size 90 90");
    let id = enqueue(&mut wire, r#"bear UPDATE_BEAR_NAME {"id":8,"name":"Kodiak"}"#);
    wait_settled(&mut wire, "bear");
    assert_eq!(told.next()["event"], "enqueued");
    let (first, second) = (next(&mut told), told.next());
    let expected = json!({"event":"invalidated","space":"bear","why":"job","jobs":[id],"of":"bear","rows":["8"],
        "count":1,"keys":["bear:size:90:90"]});
    assert_eq!((first, &second["event"]), (expected, &json!("completed")));
    fill(&mut wire, &mut told, "size 90 90");
    database.run("UPDATE bear SET name = 'Grizzly' WHERE id = 8");
    let expected = json!({"event":"invalidated","space":"bear","why":"feed","of":"bear","rows":["8"],
        "count":1,"keys":["bear:size:90:90"]});
    assert_eq!(next(&mut told), expected);
    // Nobody knows what happened meanwhile.
    fill(&mut wire, &mut told, "size 90 90");
    std::fs::write(redis.catalog_path(), catalog.replacen("5m", "6m", 1)).expect("the catalog");
    assert!(wire.run("BEAR.RELOAD").is_ok());
    let cold = next(&mut told);
    assert_eq!((&cold["why"], &cold["keys"]), (&json!("cold"), &json!(["bear:size:90:90"])));
}

#[test]
fn what_happens_while_writes_are_paused_is_told_afterwards() {
    let database = bears::database_in(Postgres::shared_logical());
    let redis = Redis::builder().postgres(&database).configs(&[("bear.events", "all"), ("bear.feed", "wal")]).start();
    wait_told(&redis);
    let mut wire = redis.wire();
    let mut told = Listener::new(redis.wire(), "SUBSCRIBE bear:events:bear");
    fill(&mut wire, &mut told, "size 90 90");
    assert!(wire.run("CLIENT PAUSE 100000 WRITE").is_ok());
    database.run("UPDATE bear SET name = 'Grizzly' WHERE id = 8");
    eventually("it is served no more", || wire.run("BEAR.QUERY bear CACHED size 90 90").is_nil());
    told.assert_no_more();
    assert!(wire.run("CLIENT UNPAUSE").is_ok());
    let gone = told.next();
    assert_eq!((&gone["why"], &gone["rows"], &gone["count"]), (&json!("feed"), &json!(["8"]), &json!(1)), "{gone}");
}

#[test]
fn entries_of_other_sections_are_told_on_their_own_channels() {
    let database = bears::database();
    let redis = Redis::builder().postgres(&database).catalog(bears::WITH_DENS).config("bear.events", "all").start();
    let mut wire = redis.wire();
    let mut told = Listener::new(redis.wire(), "SUBSCRIBE bear:events:den");
    wire.run("BEAR.QUERY bear all");
    wire.run("BEAR.QUERY den x 1");
    assert_eq!(told.next()["key"], "den:x:1");
    redis.wait_stored();
    assert_eq!(wire.run("BEAR.INVALIDATE bear ROW 5").int(), 2);
    let expected = json!({"event":"invalidated","space":"den","why":"row","of":"bear","rows":["5"],"count":1,
        "keys":["den:x:1"]});
    assert_eq!(next(&mut told), expected);
    told.assert_no_more();
}
