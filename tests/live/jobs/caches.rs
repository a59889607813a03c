//! Jobs and the cache: after a job has completed, no query returns a result computed before it.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::thread;

use crate::support::bears;
use crate::support::jobs::{complete, settle};
use crate::support::Redis;

#[test]
fn what_a_job_changed_is_fresh_when_it_has_completed() {
    let database = bears::database();
    let redis = Redis::with(&database);
    let mut wire = redis.wire();
    for (line, call, part) in [
        (r#"bear CREATE_BEAR {"name":"Newborn","size":150,"colors":["black"]}"#, "bear size 100 200", "Newborn"),
        (r#"bear CREATE_BEAR {"name":"Second","size":1,"colors":["grey"]}"#, "bear colors grey", "Second"),
        (r#"bear UPDATE_BEAR_NAME {"id":5,"name":"Boo-Boo"}"#, "bear colors brown size 100 200", "Boo-Boo"),
        (r#"bear UPDATE_BEAR_SIZE {"id":5,"size":320}"#, "bear size 300 400", "Boo-Boo"),
        (r#"bear UPDATE_BEAR_COLORS {"id":5,"colors":["white"]}"#, "bear colors white", "Boo-Boo"),
        (r##"color CREATE_COLOR {"name":"pink","hex":"#ffc0cb"}"##, "color all", "pink"),
    ] {
        assert!(!wire.run(&format!("BEAR.QUERY {call}")).text().contains(part), "{line}");
        redis.wait_stored();
        complete(&mut wire, line);
        assert!(wire.run(&format!("BEAR.QUERY {call}")).text().contains(part), "{line}");
    }
    redis.wait_stored();
    complete(&mut wire, r#"bear DELETE_BEAR {"id":5}"#);
    for call in ["all", "size 300 400", "colors white"] {
        assert!(!wire.run(&format!("BEAR.QUERY bear {call}")).text().contains("Boo-Boo"), "{call}");
    }
}

#[test]
fn a_job_of_one_section_makes_the_rows_of_another_fresh() {
    let database = bears::database();
    let redis = Redis::with(&database);
    let mut wire = redis.wire();
    let calls = ["bear colors brown", "bear colors brown size 100 200", "bear all", "bear size 100 200", "color all"];
    for call in calls {
        assert!(wire.run(&format!("BEAR.QUERY {call}")).text().contains("brown"), "{call}");
    }
    redis.wait_stored();
    let job = complete(&mut wire, r#"color DELETE_COLOR {"name":"brown"}"#);
    assert_eq!(job["rows"].int(), 5, "the colour and four bears");
    for call in calls {
        assert!(!wire.run(&format!("BEAR.QUERY {call}")).text().contains("brown"), "{call}");
    }
}

#[test]
fn a_failed_job_drops_nothing() {
    let database = bears::database();
    let redis = Redis::with(&database);
    let mut wire = redis.wire();
    for line in [
        r#"bear UPDATE_BEAR_SIZE {"id":5,"size":-1} ATTEMPTS 1"#,
        r#"bear UPDATE_BEAR_COLORS {"id":5,"colors":["pink"]} ATTEMPTS 1"#,
    ] {
        wire.run("BEAR.QUERY bear size 100 200");
        redis.wait_stored();
        assert_eq!(settle(&mut wire, line)["state"].text(), "failed");
        assert!(!wire.run("BEAR.QUERY bear CACHED size 100 200").is_nil(), "{line}");
    }
}

#[test]
fn a_fetch_under_way_when_a_job_completes_is_not_served_after_it() {
    let database = bears::database();
    let redis = Redis::builder().postgres(&database).catalog(bears::gated_catalog()).start();
    let mut gate = database.close_gate();
    let mut early = redis.wire();
    early.begin("BEAR.QUERY bear size 100 200");
    gate.wait(1);
    complete(&mut redis.wire(), r#"bear UPDATE_BEAR_NAME {"id":5,"name":"Boo-Boo"}"#);
    let mut late = redis.wire();
    late.begin("BEAR.QUERY bear size 100 200");
    redis.wait_blocked(2);
    gate.open();
    assert!(!early.receive().is_error());
    assert!(late.receive().text().contains("Boo-Boo"));
    redis.wait_stored();
    assert!(redis.run("BEAR.QUERY bear size 100 200").text().contains("Boo-Boo"));
}

#[test]
fn readers_never_see_what_was_before_a_completed_job() {
    const VERSIONS: i64 = 200;
    let database = bears::database();
    let redis = Redis::with(&database);
    complete(&mut redis.wire(), r#"bear UPDATE_BEAR_NAME {"id":5,"name":"0"}"#);
    let (floor, is_over) = (AtomicI64::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        let readers: Vec<_> = ["size 100 200", "all", "colors brown"]
            .into_iter()
            .map(|call| {
                let (redis, floor, is_over) = (&redis, &floor, &is_over);
                scope.spawn(move || {
                    let mut wire = redis.wire();
                    let mut reads = 0;
                    while !is_over.load(Ordering::SeqCst) {
                        let least = floor.load(Ordering::SeqCst);
                        let rows = wire.run(&format!("BEAR.QUERY bear {call}")).json();
                        let yogi = rows.as_array().unwrap().iter().find(|row| row["id"] == 5).expect("Yogi");
                        let version: i64 = yogi["name"].as_str().unwrap().parse().unwrap();
                        assert!(version >= least, "{call}: version {version} when {least} had completed");
                        reads += 1;
                    }
                    reads
                })
            })
            .collect();
        // Ends the readers even where the writer's assertion fails.
        struct Over<'a>(&'a AtomicBool);
        impl Drop for Over<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::SeqCst);
            }
        }
        let over = Over(&is_over);
        let mut wire = redis.wire();
        for version in 1..=VERSIONS {
            complete(&mut wire, &format!(r#"bear UPDATE_BEAR_NAME {{"id":5,"name":"{version}"}}"#));
            floor.store(version, Ordering::SeqCst);
        }
        drop(over);
        for reader in readers {
            assert!(reader.join().expect("no stale read") > 0);
        }
    });
}

#[test]
fn a_tenants_job_concerns_the_dashboards_of_that_tenant_alone() {
    let database = crate::support::Postgres::shared()
        .database(concat!(include_str!("../../../schema/salon.sql"), include_str!("../../../schema/salon-data.sql")));
    let catalog = include_str!("../../../catalogs/salon.toml");
    let redis = Redis::builder().postgres(&database).catalog(catalog).start();
    let mut wire = redis.wire();
    let salon = |number: u32| format!("{{5a100000-0000-4000-8000-{number:012}}}");
    let revenue = |wire: &mut crate::support::Wire, number: u32| {
        wire.run(&format!("BEAR.QUERY {}:dashboard today", salon(number))).json()["revenue"].as_f64().unwrap()
    };
    let before = [revenue(&mut wire, 1), revenue(&mut wire, 2)];
    redis.wait_stored();
    complete(
        &mut wire,
        &format!(r#"{}:booking SET_STATUS {{"id":"b0000000-0000-4000-8000-000000000001","status":"DONE"}}"#, salon(1)),
    );
    assert!(!wire.run(&format!("BEAR.QUERY {}:dashboard CACHED today", salon(2))).is_nil());
    assert_eq!([revenue(&mut wire, 1), revenue(&mut wire, 2)], [before[0] + 21.5, before[1]]);
}
