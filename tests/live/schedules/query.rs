//! A query that is kept warm: fetched at each tick, for nobody.

use super::support::{count, schedule};
use crate::support::{bears, eventually, Postgres, Redis, Wire};

const SCHEDULE: &str = "\n[bear.schedule.warm]\nevery = \"100ms\"\nquery = \"size 100 200\"\n";

fn catalog() -> String {
    format!("{}{SCHEDULE}", include_str!("../../../catalogs/bear.toml"))
}

fn cached(wire: &mut Wire) -> Option<String> {
    let reply = wire.run("BEAR.QUERY bear CACHED size 100 200");
    (!reply.is_nil()).then(|| reply.text())
}

#[test]
fn a_query_is_kept_warm_by_nobody() {
    let database = bears::database();
    let redis =
        Redis::builder().postgres(&database).catalog(catalog()).append_only().config("appendfsync", "always").start();
    let mut wire = redis.wire();
    eventually("it is cached", || redis.keys().contains(&"bear:size:100:200".to_owned()));
    assert!(cached(&mut wire).is_some());
    let told = schedule(&mut wire, "bear", "warm");
    assert_eq!((told["query"].text(), told["job"].is_nil()), ("size 100 200".into(), true));
    database.run("INSERT INTO bear (id, name, size) VALUES (4711, 'Late', 150)");
    eventually("it is fetched anew", || cached(&mut wire).is_some_and(|json| json.contains("4711")));
    eventually("the tick is told", || count(&mut wire, "bear", "warm") > 1);
    assert_eq!(schedule(&mut wire, "bear", "warm")["last_outcome"].text(), "OK");
    let info = redis.info("bear");
    let figures = info.text("bear_section_bear");
    let figure = |name: &str| {
        let found = figures.split(',').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('=')?.parse::<u64>().ok());
        found.unwrap_or_else(|| panic!("no {name} in {figures}"))
    };
    assert!(figure("refreshes") > 1 && figure("fills") > 1, "{figures}");
    assert!(wire.run("BEAR.INVALIDATE bear ALL").int() > 0);
    eventually("an invalidation lasts until the next tick", || cached(&mut wire).is_some());
}

/// Where the result is what stands, AOF and replicas are told of its life alone, and of the tick.
#[test]
fn what_has_not_changed_is_not_written_again() {
    let database = bears::database();
    let redis =
        Redis::builder().postgres(&database).catalog(catalog()).append_only().config("appendfsync", "always").start();
    redis.wait_checked();
    let mut wire = redis.wire();
    eventually("it ticks", || count(&mut wire, "bear", "warm") > 1);
    // What was fetched before Postgres had seen the catalog was not.
    eventually("it is stored", || cached(&mut wire).is_some());
    redis.wait_stored();
    let from = redis.aof().len();
    let before = count(&mut wire, "bear", "warm");
    eventually("some ticks more", || count(&mut wire, "bear", "warm") > before + 4);
    for unit in &redis.aof()[from..] {
        for command in unit {
            let (name, key) = (command.name(), command.text(1));
            let is_state = name == "HSET" && key == "bear:queue:schedules:state";
            assert!(is_state || (name.starts_with("PEXPIRE") && key == "bear:size:100:200"), "{command:?}");
        }
    }
    assert!(wire.run("PTTL bear:size:100:200").int() > 60_000);
    assert!(cached(&mut wire).is_some());
}

#[test]
fn a_fetch_that_fails_is_told_and_tried_again() {
    let postgres = Postgres::start();
    let database = bears::database_in(&postgres);
    let redis = Redis::builder().postgres(&database).catalog(catalog()).start();
    let mut wire = redis.wire();
    eventually("it ticks", || count(&mut wire, "bear", "warm") > 0);
    postgres.stop_immediate();
    eventually("it says why", || schedule(&mut wire, "bear", "warm")["last_outcome"].text().starts_with("POSTGRES "));
    postgres.start_again();
    eventually("it goes on", || schedule(&mut wire, "bear", "warm")["last_outcome"].text() == "OK");
}

#[test]
fn a_query_of_a_command_and_a_tenant() {
    let database = bears::database();
    let catalog = "[shop]\ntenant = \"int\"\n[[shop.query]]\ncall = \"sum {n:int}\"\nrows = false\nsingle = true\nsql = \"SELECT {tenant} + {n} AS sum\"\n";
    let redis = Redis::builder().postgres(&database).catalog(catalog).start();
    let mut wire = redis.wire();
    assert!(wire.run("BEAR.SCHEDULE {7}:shop warm EVERY 100 LIMIT 2 QUERY sum 5").is_ok());
    eventually("two ticks", || count(&mut wire, "{7}:shop", "warm") == 2);
    assert_eq!(wire.run("BEAR.QUERY {7}:shop CACHED sum 5").text(), r#"{"sum":12}"#);
    assert_eq!(wire.run("GET {7}:shop:sum:5").text(), r#"{"sum":12}"#);
}
