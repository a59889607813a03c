//! Nothing is published unless somebody has asked for it: by the catalog, or by the setting.

use super::listener::Listener;
use crate::support::{claims, Redis};

fn catalog(first: &str, second: &str) -> String {
    format!("[first]\nopen = true\n{first}\n[second]\nopen = true\n{second}\n")
}

/// Spaces of which is told that a job was enqueued.
#[track_caller]
fn told(redis: &Redis) -> Vec<String> {
    let mut listener = Listener::new(redis.wire(), "PSUBSCRIBE bear:events:*");
    let mut wire = redis.wire();
    for space in ["first", "second"] {
        claims::enqueue(&mut wire, &format!("{space} X 1"));
    }
    wire.run("PUBLISH bear:events:end {\"space\":\"end\"}");
    let mut spaces = Vec::new();
    loop {
        let space = listener.next()["space"].as_str().expect("a space").to_owned();
        if space == "end" {
            return spaces;
        }
        spaces.push(space);
    }
}

#[test]
fn a_section_is_told_of_that_says_so_until_a_reload_says_otherwise() {
    let redis = Redis::builder().catalog(catalog("", "events = false")).start();
    let mut wire = redis.wire();
    assert_eq!(told(&redis), [""; 0], "off by default");
    let mut reload = |first: &str, second: &str| {
        std::fs::write(redis.catalog_path(), catalog(first, second)).expect("the catalog");
        let reply = wire.run("BEAR.RELOAD");
        assert!(reply.is_ok(), "{reply:?}");
    };
    reload("events = true", "events = false");
    assert_eq!(told(&redis), ["first"]);
    reload("", "events = true");
    assert_eq!(told(&redis), ["second"]);
    reload("", "");
    assert_eq!(told(&redis), [""; 0]);
    std::fs::write(redis.catalog_path(), catalog("events = \"yes\"", "")).expect("the catalog");
    let reply = wire.run("BEAR.RELOAD");
    assert!(reply.error().contains("events must be true or false"), "{reply:?}");
}

#[test]
fn the_setting_says_of_which_sections() {
    let redis = Redis::builder().catalog(catalog("events = true", "events = false") + "[third]\nopen = true\n").start();
    let mut wire = redis.wire();
    let mut third = Listener::new(redis.wire(), "SUBSCRIBE bear:events:third");
    for (value, expected, of_third) in [("catalog", &["first"][..], 0), ("all", &["first"], 1), ("off", &[], 0)] {
        assert!(wire.run(&format!("CONFIG SET bear.events {value}")).is_ok());
        assert_eq!(told(&redis), expected, "{value}");
        claims::enqueue(&mut wire, "third X 1");
        assert_eq!(third.names(of_third), vec!["enqueued"; of_third]);
        third.assert_no_more();
    }
    let job = claims::claim_one(&mut wire, "third");
    assert_eq!(wire.run(&format!("BEAR.CANCEL third {} stop", job.id)).text(), "active");
    assert_eq!(third.names(1), ["cancelled"], "workers are told in any case");
}

#[test]
fn turning_events_on_leaves_what_is_cached() {
    let bear = include_str!("../../../catalogs/bear.toml");
    let database = crate::support::bears::database();
    let redis = Redis::builder().postgres(&database).catalog(bear).start();
    let mut wire = redis.wire();
    wire.run("BEAR.QUERY bear all");
    redis.wait_stored();
    std::fs::write(redis.catalog_path(), bear.replacen("[bear]", "[bear]\nevents = true", 1)).expect("the catalog");
    assert!(wire.run("BEAR.RELOAD").is_ok());
    assert!(!wire.run("BEAR.QUERY bear CACHED all").is_nil());
    let mut told = Listener::new(redis.wire(), "SUBSCRIBE bear:events:bear");
    wire.run("BEAR.QUERY bear FRESH all");
    assert_eq!(told.next()["key"], "bear:all");
}
