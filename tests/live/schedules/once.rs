//! A tick is carried out once, whatever happens to the server: restarts, crashes, promotions, flushes, other catalogs, other hands.

use super::support::{count, enqueued, half_past, next, schedule, ticks, HOUR};
use crate::support::{eventually, stays, Clock, Redis, Reply, Wire};
use std::time::Duration;

const CATALOG: &str = r#"
[mail]
[mail.job.SEND]
data = { to = "text" }
claim = {}
[mail.schedule.hourly]
every = "1h"
job = "SEND"
data = { to = "all" }
"#;

fn start(clock: &Clock) -> Redis {
    Redis::builder().catalog(CATALOG).clock(clock).append_only().config("appendfsync", "always").start()
}

#[track_caller]
fn make(wire: &mut Wire, name: &str, words: &str) {
    let reply = wire.run(&format!(r#"BEAR.SCHEDULE mail {name} {words} JOB SEND {{"to":"x"}}"#));
    assert!(reply.is_ok(), "{name} {words}: {reply:?}");
}

/// Waits until nothing is due any more.
#[track_caller]
fn wait_carried_out(wire: &mut Wire, names: &[&str]) {
    for name in names {
        eventually(&format!("{name} has nothing due"), || {
            let times = wire.run("TIME");
            let now = times.list()[0].text().parse::<i64>().expect("seconds") * 1000;
            next(wire, "mail", name).first().is_none_or(|next| *next > now)
        });
    }
}

#[test]
fn what_was_missed_while_the_server_was_down_is_dealt_with_as_each_says() {
    for kill in [false, true] {
        let (clock, shift, hour) = half_past();
        let mut redis = start(&clock);
        let mut wire = redis.wire();
        for missed in ["none", "one", "all"] {
            make(&mut wire, missed, &format!("EVERY 3600000 MISSED {missed}"));
        }
        eventually("the catalog's is known", || wire.run("HLEN mail:queue:schedules:state") == Reply::Int(4));
        if kill {
            redis.kill9();
        } else {
            redis.shutdown();
        }
        clock.shift(shift + 3 * 3_600);
        redis.start_again();
        let mut wire = redis.wire();
        wait_carried_out(&mut wire, &["none", "one", "all", "hourly"]);
        let hours = |range: std::ops::RangeInclusive<u64>| range.map(|at| hour + at * HOUR).collect::<Vec<u64>>();
        assert!(enqueued(&mut wire, "mail", "none").is_empty());
        assert_eq!(enqueued(&mut wire, "mail", "one"), hours(3..=3));
        assert_eq!(enqueued(&mut wire, "mail", "all"), hours(1..=3));
        assert_eq!(enqueued(&mut wire, "mail", "hourly"), hours(3..=3));
        assert_eq!(next(&mut wire, "mail", "none")[0], (hour + 4 * HOUR) as i64);
        // And all once at the next one.
        clock.shift(shift + 4 * 3_600 - 1_790);
        for name in ["none", "one", "all", "hourly"] {
            eventually(name, || enqueued(&mut wire, "mail", name).last() == Some(&(hour + 4 * HOUR)));
        }
        assert_eq!(enqueued(&mut wire, "mail", "all"), hours(1..=4));
    }
}

#[test]
fn a_restart_just_after_a_tick_loses_nothing_and_repeats_nothing() {
    let (clock, shift, hour) = half_past();
    let mut redis = start(&clock);
    let mut wire = redis.wire();
    make(&mut wire, "none", "EVERY 3600000 MISSED none");
    eventually("all are known", || wire.run("HLEN mail:queue:schedules:state") == Reply::Int(2));
    redis.kill9();
    // Twenty seconds after the tick.
    clock.shift(shift + 1_820);
    redis.start_again();
    let mut wire = redis.wire();
    for name in ["none", "hourly"] {
        eventually("it is in time", || enqueued(&mut wire, "mail", name) == [hour + HOUR]);
    }
    redis.kill9();
    redis.start_again();
    let mut wire = redis.wire();
    wait_carried_out(&mut wire, &["none", "hourly"]);
    stays("no tick comes twice", Duration::from_millis(500), || {
        ["none", "hourly"].iter().all(|name| enqueued(&mut wire, "mail", name) == [hour + HOUR])
    });
}

/// Killed again and again while it ticks ten times a second.
#[test]
fn kills_around_ticks_neither_lose_nor_repeat_one() {
    let clock = Clock::new();
    let mut redis = start(&clock);
    make(&mut redis.wire(), "fast", "EVERY 100 MISSED all");
    let mut seen = 0;
    for _ in 0..8 {
        let mut wire = redis.wire();
        eventually("some ticks more", || {
            let count = enqueued(&mut wire, "mail", "fast").len();
            count > seen + 3
        });
        seen = enqueued(&mut wire, "mail", "fast").len();
        redis.kill9();
        redis.start_again();
    }
    let mut wire = redis.wire();
    wait_carried_out(&mut wire, &["hourly"]);
    assert_eq!(wire.run("BEAR.UNSCHEDULE mail fast"), Reply::Int(1));
    let found = enqueued(&mut wire, "mail", "fast");
    let expected: Vec<u64> = (0..found.len() as u64).map(|at| found[0] + at * 100).collect();
    assert_eq!(found, expected);
}

#[test]
fn a_promoted_replica_goes_on_where_its_master_was() {
    let (clock, shift, hour) = half_past();
    let (mut master, replica) = (start(&clock), start(&clock));
    let mut wire = master.wire();
    make(&mut wire, "all", "EVERY 3600000 MISSED all");
    eventually("all are known", || wire.run("HLEN mail:queue:schedules:state") == Reply::Int(2));
    assert!(replica.run(&format!("REPLICAOF 127.0.0.1 {}", master.port())).is_ok());
    replica.wait_in_sync(&master);
    clock.shift(shift + 1_810);
    for name in ["all", "hourly"] {
        eventually("the master ticks", || enqueued(&mut wire, "mail", name) == [hour + HOUR]);
    }
    replica.wait_in_sync(&master);
    let mut other = replica.wire();
    assert_eq!(enqueued(&mut other, "mail", "all"), [hour + HOUR], "and the replica does not");
    assert_eq!(schedule(&mut other, "mail", "all")["last_outcome"], schedule(&mut wire, "mail", "all")["last_outcome"]);
    assert_eq!(other.run("BEAR.UNSCHEDULE mail all").error().split(' ').next(), Some("READONLY"));
    master.kill9();
    clock.shift(shift + 1_810 + 2 * 3_600);
    assert!(replica.run("REPLICAOF NO ONE").is_ok());
    eventually("it has caught up", || enqueued(&mut other, "mail", "all").len() == 3);
    assert_eq!(enqueued(&mut other, "mail", "all"), [1, 2, 3].map(|at| hour + at * HOUR));
    eventually("the catalog's, too", || enqueued(&mut other, "mail", "hourly") == [1, 3].map(|at| hour + at * HOUR));
}

#[test]
fn another_catalog_keeps_what_stays_and_begins_anew_what_is_another_rule() {
    let (clock, shift, hour) = half_past();
    let redis = start(&clock);
    let mut wire = redis.wire();
    make(&mut wire, "own", "EVERY 3600000");
    eventually("all are known", || wire.run("HLEN mail:queue:schedules:state") == Reply::Int(2));
    clock.shift(shift + 1_810);
    for name in ["own", "hourly"] {
        eventually("they tick", || enqueued(&mut wire, "mail", name) == [hour + HOUR]);
    }
    let reload = |wire: &mut Wire, catalog: String| {
        std::fs::write(redis.catalog_path(), catalog).expect("the catalog");
        let reply = wire.run("BEAR.RELOAD");
        assert!(reply.is_ok(), "{reply:?}");
    };
    reload(&mut wire, CATALOG.replace("to = \"all\"", "to = \"others\""));
    assert_eq!(count(&mut wire, "mail", "hourly"), 1);
    assert_eq!(schedule(&mut wire, "mail", "hourly")["data"].text(), r#"{"to":"others"}"#);
    clock.shift(shift + 1_810 + 3_600);
    for name in ["own", "hourly"] {
        eventually("they tick on", || enqueued(&mut wire, "mail", name) == [1, 2].map(|at| hour + at * HOUR));
    }
    reload(&mut wire, CATALOG.replace("\"1h\"", "\"2h\""));
    eventually("another rule begins anew", || count(&mut wire, "mail", "hourly") == 0);
    reload(&mut wire, CATALOG.replace("schedule.hourly", "schedule.own"));
    eventually("what is gone leaves nothing", || {
        wire.run("HKEYS mail:queue:schedules:state").sorted_texts() == ["own"]
    });
    assert_eq!(schedule(&mut wire, "mail", "own")["source"].text(), "catalog");
    assert!(wire
        .run(r#"BEAR.SCHEDULE mail own EVERY 1000 JOB SEND {"to":"x"}"#)
        .error()
        .contains("is a schedule of the catalog"));
    assert_eq!(wire.run("BEAR.UNSCHEDULE mail own"), Reply::Int(1), "the one that a command had made");
    assert!(wire.run("BEAR.UNSCHEDULE mail own").error().contains("is a schedule of the catalog"));
    let refused = CATALOG.replace("to = \"all\"", "to = 5");
    std::fs::write(redis.catalog_path(), refused).expect("the catalog");
    let reply = wire.run("BEAR.RELOAD");
    assert!(reply.error().contains("section 'mail', schedule 'hourly': field 'to' must be"), "{reply:?}");
}

#[test]
fn a_flush_repeats_no_tick() {
    let (clock, shift, hour) = half_past();
    let redis = start(&clock);
    let mut wire = redis.wire();
    make(&mut wire, "own", "EVERY 3600000");
    eventually("all are known", || wire.run("HLEN mail:queue:schedules:state") == Reply::Int(2));
    clock.shift(shift + 1_810);
    eventually("it ticks", || enqueued(&mut wire, "mail", "hourly") == [hour + HOUR]);
    assert!(wire.run("FLUSHALL").is_ok());
    eventually("the catalog's is known again", || {
        wire.run("HKEYS mail:queue:schedules:state").sorted_texts() == ["hourly"]
    });
    assert_eq!(count(&mut wire, "mail", "hourly"), 0);
    clock.shift(shift + 1_810 + 3_600);
    eventually("the next one", || !enqueued(&mut wire, "mail", "hourly").is_empty());
    assert_eq!(enqueued(&mut wire, "mail", "hourly"), [hour + 2 * HOUR]);
}

#[test]
fn what_other_hands_do_to_the_keys_is_seen() {
    let redis = Redis::builder().catalog(CATALOG).start();
    let mut wire = redis.wire();
    let definition = r#"{"v":1,"every":100,"job":"SEND","data":{"to":"hand"}}"#;
    assert_eq!(wire.call(&["HSET", "mail:queue:schedules", "hand", definition]), Reply::Int(1));
    eventually("it ticks", || enqueued(&mut wire, "mail", "hand").len() > 1);
    assert_eq!(wire.run("DEL mail:queue:schedules"), Reply::Int(1));
    eventually("its state is gone", || wire.run("HKEYS mail:queue:schedules:state").sorted_texts() == ["hourly"]);
    let count = enqueued(&mut wire, "mail", "hand").len();
    stays("it ticks no more", Duration::from_millis(400), || enqueued(&mut wire, "mail", "hand").len() == count);
    // A state that is lost begins anew, and its ticks have their UNIQUE keys.
    make(&mut wire, "fast", "EVERY 100 MISSED all");
    eventually("it ticks", || enqueued(&mut wire, "mail", "fast").len() > 2);
    assert_eq!(wire.run("HDEL mail:queue:schedules:state fast"), Reply::Int(1));
    let state = r#"{"v":1,"rule":"every 100","upto":1,"count":0}"#;
    let before = enqueued(&mut wire, "mail", "fast");
    wire.call(&[
        "HSET",
        "mail:queue:schedules:state",
        "fast",
        &state.replace(":1,\"count", &format!(":{},\"count", before[0] - 100)),
    ]);
    eventually("it ticks on", || enqueued(&mut wire, "mail", "fast").len() > before.len() + 2);
    let after = enqueued(&mut wire, "mail", "fast");
    assert!(after.is_sorted_by(|one, other| one < other), "{after:?}");
    assert_eq!(ticks(&mut wire, "mail", "fast"), after);
}

#[test]
fn nothing_is_written_while_writes_are_paused() {
    let clock = Clock::new();
    let redis = start(&clock);
    let mut wire = redis.wire();
    make(&mut wire, "fast", "EVERY 100 MISSED all");
    eventually("it ticks", || !enqueued(&mut wire, "mail", "fast").is_empty());
    assert!(wire.run("CLIENT PAUSE 60000 WRITE").is_ok());
    let before = enqueued(&mut wire, "mail", "fast").len();
    stays("it rests", Duration::from_millis(500), || enqueued(&mut wire, "mail", "fast").len() == before);
    assert!(wire.run("CLIENT UNPAUSE").is_ok());
    eventually("it has caught up", || enqueued(&mut wire, "mail", "fast").len() > before + 4);
    let found = enqueued(&mut wire, "mail", "fast");
    assert!(found.windows(2).all(|pair| pair[1] - pair[0] == 100), "{found:?}");
}

#[test]
fn the_module_goes_and_comes_back_with_its_schedules() {
    let redis = Redis::builder().catalog(CATALOG).start();
    let mut wire = redis.wire();
    make(&mut wire, "own", "EVERY 86400000");
    eventually("all are known", || wire.run("HLEN mail:queue:schedules:state") == Reply::Int(2));
    eventually("it can be unloaded", || wire.run("MODULE UNLOAD bear").is_ok());
    assert_eq!(wire.run("HLEN mail:queue:schedules:state"), Reply::Int(2));
}
