//! `rewarm` of a query: what was asked for lately, and is dropped by a change, is fetched again before anybody asks.

use std::time::Duration;

use crate::support::bears::{self, selects};
use crate::support::{eventually, stays, Database, Redis, Reply};

const QUERY: &str = "BEAR.QUERY bear size 150 150";
const CACHED: &str = "BEAR.QUERY bear CACHED size 150 150";

/// The gated catalog; its queries of bears are kept warm.
fn catalog(span: &str) -> String {
    bears::gated_catalog().replace("[[bear.query]]\n", &format!("[[bear.query]]\nrewarm = \"{span}\"\n"))
}

fn start() -> (Database, Redis) {
    let database = bears::database();
    let redis = Redis::builder()
        .postgres(&database)
        .catalog(catalog("1h"))
        .config("bear.query-timeout-ms", 30_000)
        .append_only()
        .start();
    (database, redis)
}

/// Has the entry stored, and asked for.
#[track_caller]
fn ask(redis: &Redis) {
    for _ in 0..2 {
        assert_eq!(redis.run(QUERY).text(), yogi());
        redis.wait_stored();
    }
}

fn yogi() -> String {
    bears::json(&[5])
}

fn rename_yogi(database: &Database, name: &str) {
    database.run(&format!("UPDATE bear SET name = '{name}' WHERE id = 5"));
}

fn rewarmed(redis: &Redis) -> i64 {
    redis.info("bear").int("bear_rewarmed")
}

#[track_caller]
fn assert_rests(redis: &Redis, what: &str) {
    let before = rewarmed(redis);
    stays(&format!("{what}: nothing is fetched"), Duration::from_millis(300), || rewarmed(redis) == before);
}

#[test]
fn after_each_change_the_next_client_hits() {
    let (database, redis) = start();
    ask(&redis);
    let mut name = yogi();
    for (n, change) in [
        "INVALIDATE bear ROW 5",
        "INVALIDATE bear TAG color:brown",
        "INVALIDATE bear CHANGED 5",
        r#"INVALIDATE bear IMAGE {"id":5,"size":150}"#,
        r#"INVALIDATE bear IMAGE {"id":77,"size":150}"#,
        r#"ENQUEUE bear UPDATE_BEAR_NAME {"id":5,"name":"By_a_job"}"#,
    ]
    .into_iter()
    .enumerate()
    {
        let new = if change.starts_with("ENQUEUE") { "By_a_job".to_owned() } else { format!("Yogi {n}") };
        if !change.starts_with("ENQUEUE") {
            rename_yogi(&database, &new);
        }
        assert!(!redis.run(&format!("BEAR.{change}")).is_error(), "{change}");
        let expected = yogi().replace("Yogi", &new);
        assert_ne!(name, expected);
        eventually(&format!("{change}: it is there again"), || match redis.run(CACHED) {
            Reply::Nil => false,
            found => found.text() == expected,
        });
        name = expected;
        assert_eq!(rewarmed(&redis), n as i64 + 1, "{change}");
        redis.wait_stored();
    }
    assert_eq!(redis.run("GET bear:size:150:150").text(), name);
    assert_eq!(redis.run("SISMEMBER bear:meta:5:caches bear:size:150:150"), Reply::Int(1));
}

#[test]
fn a_miss_asks_for_it_as_a_hit_does() {
    let (database, redis) = start();
    assert_eq!(redis.run(QUERY).text(), yogi());
    redis.wait_stored();
    rename_yogi(&database, "Yogi 1");
    assert_eq!(redis.run("BEAR.INVALIDATE bear ROW 5"), Reply::Int(1));
    let new = yogi().replace("Yogi", "Yogi 1");
    eventually("it is there again", || redis.run(CACHED) == Reply::Bulk(new.clone().into()));
    assert_eq!(rewarmed(&redis), 1);
}

#[test]
fn however_many_changes_come_one_fetch_is_under_way_and_one_follows() {
    let (database, redis) = start();
    ask(&redis);
    let mut gate = database.close_gate();
    redis.run("BEAR.INVALIDATE bear ROW 5");
    gate.wait(1);
    for n in 0..20 {
        rename_yogi(&database, &format!("Yogi {n}"));
        redis.run("BEAR.INVALIDATE bear ROW 5");
    }
    assert_eq!(gate.waiting(), 1);
    gate.open();
    let newest = yogi().replace("Yogi", "Yogi 19");
    eventually("the newest is there", || redis.run(CACHED) == Reply::Bulk(newest.clone().into()));
    assert_eq!((selects(&database), rewarmed(&redis)), (3, 2));
}

#[test]
fn who_asks_meanwhile_waits_for_the_same_fetch() {
    let (database, redis) = start();
    ask(&redis);
    let mut gate = database.close_gate();
    redis.run("BEAR.INVALIDATE bear ROW 5");
    gate.wait(1);
    let mut client = redis.wire();
    client.begin(QUERY);
    redis.wait_blocked(1);
    gate.open();
    assert_eq!(client.receive().text(), yogi());
    assert_eq!((selects(&database), rewarmed(&redis)), (2, 1));
}

#[test]
fn nothing_else_has_it_fetched() {
    let (database, redis) = start();
    for drop in ["ALL", "QUERY size 150 150", "PATTERN s*"] {
        ask(&redis);
        assert_eq!(redis.run(&format!("BEAR.INVALIDATE bear {drop}")), Reply::Int(1), "{drop}");
        assert_rests(&redis, drop);
        assert_eq!(redis.run(CACHED), Reply::Nil, "{drop}");
    }
    ask(&redis);
    assert_eq!(redis.run("DEL bear:size:150:150"), Reply::Int(1));
    assert_rests(&redis, "DEL");
    ask(&redis);
    assert!(redis.run("FLUSHDB").is_ok());
    assert_rests(&redis, "FLUSHDB");
    ask(&redis);
    assert!(redis.run("BEAR.RELOAD").is_ok());
    redis.run("BEAR.INVALIDATE bear ROW 5");
    assert_rests(&redis, "asked for before a reload");
    // Not there, and not fetched.
    assert!(redis.run("FLUSHDB").is_ok());
    assert_eq!(redis.run(CACHED), Reply::Nil);
    redis.run("BEAR.INVALIDATE bear ROW 5");
    assert_rests(&redis, "nobody was answered with it");
    assert_eq!(rewarmed(&redis), 0);
    let _ = database;
}

#[test]
fn what_was_asked_for_too_long_ago_is_not_fetched() {
    let database = bears::database();
    let redis = Redis::builder().postgres(&database).catalog(catalog("1ms")).start();
    ask(&redis);
    eventually("it is forgotten", || redis.info("bear").int("bear_kept_warm") == 0);
    assert_eq!(redis.run("BEAR.INVALIDATE bear ROW 5"), Reply::Int(1));
    assert_rests(&redis, "too long ago");
    assert_eq!(redis.run(CACHED), Reply::Nil);
}

/// More than one piece of work takes, in a section of tenants, whose rows are dropped by a large removal.
#[test]
fn entries_of_a_large_removal_are_all_fetched_again() {
    let database = bears::database();
    let catalog = "[page]\nid = \"int\"\ntenant = \"int\"\n[[page.query]]\ncall = \"of {n:int}\"\nrewarm = \"1h\"\n\
                   sql = \"SELECT 1::bigint AS id, {n}::bigint AS n, {tenant}::int AS t FROM bear b WHERE b.id = 1\"\n";
    let redis = Redis::builder().postgres(&database).catalog(catalog).start();
    let mut wire = redis.wire();
    const PAGES: usize = 300;
    for _ in 0..2 {
        for n in 0..PAGES {
            let page = wire.run(&format!("BEAR.QUERY {{7}}:page of {n}"));
            assert_eq!(page.text(), format!(r#"[{{"id":1,"n":{n},"t":7}}]"#));
        }
        redis.wait_stored();
    }
    assert_eq!(selects(&database), PAGES);
    assert_eq!(wire.run("BEAR.INVALIDATE {7}:page ROW 1"), Reply::Int(PAGES as i64));
    eventually("all are there again", || rewarmed(&redis) == PAGES as i64);
    redis.wait_stored();
    for n in 0..PAGES {
        assert!(!wire.run(&format!("BEAR.QUERY {{7}}:page CACHED of {n}")).is_nil(), "{n}");
    }
    assert_eq!(selects(&database), 2 * PAGES);
}

#[test]
fn a_fetch_that_fails_is_left_to_who_asks() {
    let database = bears::database();
    let catalog = "[bear]\nid = \"int\"\ntables = { bear = \"id\" }\n[[bear.query]]\ncall = \"inverse {id:int}\"\n\
                   rewarm = \"1h\"\nsql = \"SELECT id, 100 / (size - 150) AS i FROM bear b WHERE id = {id}\"\n";
    let redis = Redis::builder().postgres(&database).catalog(catalog).start();
    for _ in 0..2 {
        assert_eq!(redis.run("BEAR.QUERY bear inverse 1").text(), r#"[{"id":1,"i":3}]"#);
        redis.wait_stored();
    }
    database.run("UPDATE bear SET size = 150 WHERE id = 1");
    assert_eq!(redis.run("BEAR.INVALIDATE bear ROW 1"), Reply::Int(1));
    eventually("it has failed", || redis.info("bear").int("bear_failed") == 1);
    assert_rests(&redis, "it is not tried again");
    assert!(redis.run("BEAR.QUERY bear inverse 1").error().starts_with("QUERY "));
}

#[test]
fn what_is_wrong_is_told_at_load() {
    let database = bears::database();
    for (from, to, reason) in [
        ("rewarm = \"1h\"", "rewarm = \"soon\"", "rewarm: a duration is a whole number and a unit"),
        ("rewarm = \"1h\"", "rewarm = 5", "rewarm must be a string"),
    ] {
        let error = Redis::builder()
            .postgres(&database)
            .catalog(catalog("1h").replace(from, to))
            .try_start()
            .err()
            .expect("it is refused");
        assert!(error.contains(reason), "{error}");
    }
}
