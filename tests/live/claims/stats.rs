//! BEAR.STATS and INFO of jobs that workers claim, and what a pause keeps back.

use std::collections::BTreeMap;

use crate::support::jobs::enqueue;
use crate::support::{eventually, Redis, Reply, Wire};

const CATALOG: &str = r#"
[mail]
limit = { concurrency = 3, rate = "1000/s" }
[mail.job.SEND]
data = { to = "text" }
claim = { attempts = 1 }
order = ["to"]
[mail.job.OTHER]
data = { to = "text" }
claim = {}
"#;

type Map = BTreeMap<String, Reply>;

#[track_caller]
fn stats(wire: &mut Wire) -> Map {
    wire.run("BEAR.STATS mail").map()
}

#[track_caller]
fn assert_figures(stats: &Map, expected: &[(&str, i64)]) {
    for (name, value) in expected {
        assert_eq!(stats[*name].int(), *value, "{name} in {stats:?}");
    }
}

fn claim(wire: &mut Wire, words: &str) -> Vec<(String, i64)> {
    let reply = wire.run(&format!("BEAR.CLAIM mail {words}"));
    reply.list().iter().map(Reply::map).map(|job| (job["id"].text(), job["token"].int())).collect()
}

#[test]
fn figures_of_claimed_jobs() {
    let mut redis = Redis::builder().catalog(CATALOG).append_only().start();
    let replica = Redis::builder().catalog(CATALOG).replica_of(&redis).start();
    let mut wire = redis.wire();
    assert_figures(&stats(&mut wire), &[("waiting", 0), ("claims", 0), ("loading", 0), ("failed_total", 0)]);
    for line in [
        r#"SEND {"to":"a"}"#,
        r#"SEND {"to":"a"}"#,
        r#"SEND {"to":"b"}"#,
        r#"SEND {"to":"c"}"#,
        r#"SEND {"to":"d"} DELAY 600000"#,
        r#"OTHER {"to":"x"} PRIORITY 1"#,
    ] {
        enqueue(&mut wire, &format!("mail {line}"));
    }
    let taken = claim(&mut wire, "COUNT 2 WORKER one");
    let (id, token) = &taken[0];
    assert_eq!(wire.run(&format!("BEAR.ACK mail {id} {token}")).int(), 1);
    assert!(wire.run(&format!("BEAR.ACK mail {id} {token}")).error().starts_with("LOST "));
    let (id, token) = &taken[1];
    assert_eq!(wire.run(&format!("BEAR.FAIL mail {id} {token} no")).text(), "failed");
    let taken = claim(&mut wire, "COUNT 2 WORKER one");
    let (id, token) = &taken[1];
    assert_eq!(wire.run(&format!("BEAR.RELEASE mail {id} {token}")).text(), "waiting");
    claim(&mut wire, "JOB OTHER WORKER two");

    let expected = [
        ("waiting", 1),
        ("active", 2),
        ("delayed", 1),
        ("completed", 1),
        ("failed", 1),
        ("claims", 2),
        ("claimed", 5),
        ("expired", 0),
        ("released", 1),
        ("lost", 1),
        ("completed_kept", 1),
        ("failed_kept", 1),
        ("failed_total", 1),
        ("paused", 0),
        ("loading", 0),
    ];
    let told = stats(&mut wire);
    assert_figures(&told, &expected);
    assert_figures(&stats(&mut redis.resp3_wire()), &expected);
    assert!(told["bytes"].int() > 0 && told["keys"].text() == "ok");
    let limits = told["limits"].map();
    assert_eq!((limits["concurrency"].int(), limits["rate"].text(), limits["set"].int()), (3, "1000/s".into(), 0));
    assert!(limits["by"].is_nil() && limits["by_concurrency"].is_nil() && limits["by_rate"].is_nil());
    let types: BTreeMap<String, Map> =
        told["jobs"].list().iter().map(Reply::map).map(|of| (of["job"].text(), of)).collect();
    let of = |name: &str, figure: &str| types[name][figure].int();
    assert_eq!(types.len(), 2);
    for (name, expected) in [("SEND", [1, 1, 1, 1, 1, 0]), ("OTHER", [0, 1, 0, 0, 0, 0])] {
        let figures = ["waiting", "active", "delayed", "completed_kept", "failed_kept", "stopped"];
        assert_eq!(figures.map(|figure| of(name, figure)), expected, "{name}");
    }
    let workers = |told: &Map| -> Vec<(String, i64, bool)> {
        let workers = told["workers"].list().iter().map(Reply::map);
        let mut workers: Vec<_> = workers
            .map(|of| {
                assert!(of["address"].text().starts_with("127.0.0.1:"), "{of:?}");
                (of["name"].text(), of["claimed"].int(), of["last_seen"].is_nil())
            })
            .collect();
        workers.sort();
        workers
    };
    assert_eq!(workers(&told), [("one".into(), 1, false), ("two".into(), 1, false)]);

    replica.wait_in_sync(&redis);
    // Totals are written a few times a second.
    eventually("totals are written", || stats(&mut replica.wire())["released"].int() == 1);
    let of_replica = stats(&mut replica.wire());
    let by_keys = expected.into_iter().filter(|(name, _)| !["lost", "completed_kept", "claimed"].contains(name));
    assert_figures(&of_replica, &by_keys.collect::<Vec<_>>());
    assert!(of_replica["lost"].is_nil() && of_replica["completed_kept"].is_nil() && of_replica["jobs"].is_nil());
    assert_eq!(workers(&of_replica), [("one".into(), 1, true), ("two".into(), 1, true)]);
    drop(replica);

    redis.restart();
    let mut wire = redis.wire();
    eventually("all is read", || stats(&mut wire)["loading"].int() == 0);
    let told = stats(&mut wire);
    // What was claimed after the last job that settled has not been counted in the keys.
    let after = expected.map(|(name, value)| (name, if name == "lost" { 0 } else { value }));
    assert_figures(&told, &after.into_iter().filter(|(name, _)| *name != "claimed").collect::<Vec<_>>());
    assert!((4..=5).contains(&told["claimed"].int()));
    assert_eq!(workers(&told), [("one".into(), 1, true), ("two".into(), 1, true)]);
    assert_eq!(told["jobs"].list().len(), 2);
}

#[test]
fn a_type_that_the_catalog_has_no_more_is_told() {
    let redis = Redis::builder().catalog(CATALOG).start();
    let mut wire = redis.wire();
    enqueue(&mut wire, r#"mail OTHER {"to":"x"}"#);
    let without = CATALOG.replace("OTHER", "NEW");
    std::fs::write(redis.catalog_path(), without).unwrap();
    assert!(wire.run("BEAR.RELOAD").is_ok());
    eventually("it is stopped", || {
        let told = stats(&mut wire)["jobs"].clone();
        !told.is_nil()
            && told
                .list()
                .iter()
                .map(Reply::map)
                .any(|of| of["job"].text() == "OTHER" && of["stopped"].int() == 1 && of["waiting"].int() == 1)
    });
    assert!(claim(&mut wire, "").is_empty(), "nothing of it is handed out");
}

#[test]
fn a_paused_space_hands_nothing_out() {
    let mut redis = Redis::builder().catalog(CATALOG).append_only().start();
    let mut wire = redis.wire();
    for to in ["a", "b"] {
        enqueue(&mut wire, &format!(r#"mail SEND {{"to":"{to}"}}"#));
    }
    let (id, token) = claim(&mut wire, "WORKER w").remove(0);
    assert!(wire.run("BEAR.PAUSE mail").is_ok());
    assert!(claim(&mut wire, "").is_empty());
    assert_eq!(wire.run(&format!("BEAR.EXTEND mail {id} {token}")).int(), 30_000);
    assert_eq!(wire.run(&format!("BEAR.ACK mail {id} {token}")).int(), 1, "what is claimed can be told");
    enqueue(&mut wire, r#"mail SEND {"to":"c"}"#);
    assert_figures(&stats(&mut wire), &[("paused", 1), ("waiting", 2), ("claims", 0)]);
    redis.restart();
    let mut wire = redis.wire();
    assert!(claim(&mut wire, "").is_empty(), "it lasts over a restart");
    let mut waiting = redis.wire();
    waiting.begin("BEAR.CLAIM mail BLOCK 0 WORKER w");
    redis.wait_blocked(1);
    assert!(wire.run("BEAR.RESUME mail").is_ok());
    assert_eq!(waiting.receive().list().len(), 1, "who waits is served");
    assert_figures(&stats(&mut wire), &[("paused", 0), ("waiting", 1), ("claims", 1)]);
}

#[test]
fn info_counts_claims() {
    let redis = Redis::builder().catalog(CATALOG).start();
    let mut wire = redis.wire();
    enqueue(&mut wire, r#"mail SEND {"to":"a"}"#);
    enqueue(&mut wire, r#"mail SEND {"to":"b"}"#);
    let taken = claim(&mut wire, "COUNT 2 WORKER w");
    wire.run(&format!("BEAR.ACK mail {} {}", taken[0].0, taken[0].1));
    wire.run(&format!("BEAR.ACK mail {} {}", taken[0].0, taken[0].1));
    let mut waiting = redis.wire();
    waiting.begin("BEAR.CLAIM mail BLOCK 0");
    redis.wait_blocked(1);
    let info = redis.info("bear");
    for (name, value) in [
        ("work_jobs", 1),
        ("work_claims", 1),
        ("work_enqueued", 2),
        ("work_claimed", 2),
        ("work_completed", 1),
        ("work_failed", 0),
        ("work_lost", 1),
        ("work_spaces", 1),
        ("claimers_waiting", 1),
    ] {
        assert_eq!(info.get(&format!("bear_{name}")), Some(value.to_string().as_str()), "{name}");
    }
}
