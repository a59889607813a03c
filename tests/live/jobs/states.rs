//! BEAR.JOB, BEAR.JOBS and BEAR.STATS: what they say of jobs in each state.

use serde_json::json;

use crate::support::bears;
use crate::support::jobs::{
    self, complete, enqueue, ids_in, set_drain, settle, stat, state, wait_state, JobMap, PATIENT, STATES,
};
use crate::support::{burst, eventually, Redis, Reply, Wire};

const FIELDS: [&str; 24] = [
    "attempts",
    "backoff",
    "cancelled",
    "data",
    "due",
    "enqueued",
    "error",
    "errors",
    "finished",
    "id",
    "job",
    "lease_ends",
    "log",
    "max_attempts",
    "priority",
    "progress",
    "result",
    "rows",
    "stack",
    "started",
    "state",
    "token",
    "unique",
    "worker",
];

fn rename(id: u32, name: &str) -> String {
    format!(r#"bear UPDATE_BEAR_NAME {{"id":{id},"name":"{name}"}}"#)
}

/// The server's clock, in ms.
fn now_ms(wire: &mut Wire) -> i64 {
    let reply = wire.run("TIME");
    let part = |index: usize| reply.list()[index].text().parse::<i64>().unwrap();
    part(0) * 1000 + part(1) / 1000
}

#[track_caller]
fn assert_same_in_both_protocols(redis: &Redis, id: &str) -> JobMap {
    let flat = redis.run(&format!("BEAR.JOB bear {id}"));
    assert!(matches!(&flat, Reply::Array(items) if items.len() == 2 * FIELDS.len()), "{flat:?}");
    let map = redis.resp3_wire().run(&format!("BEAR.JOB bear {id}"));
    assert!(matches!(&map, Reply::Map(pairs) if pairs.len() == FIELDS.len()), "{map:?}");
    let (flat, map) = (flat.map(), map.map());
    assert_eq!(map.keys().collect::<Vec<_>>(), FIELDS);
    for field in FIELDS.iter().filter(|field| **field != "error") {
        assert_eq!(flat[*field], map[*field], "{field}");
    }
    if !map["error"].is_nil() {
        assert!(matches!(map["error"], Reply::Map(_)), "{map:?}");
        assert_eq!(flat["error"].map(), map["error"].map());
    }
    map
}

#[test]
fn a_job_in_each_state() {
    let database = bears::database();
    let redis = Redis::builder().postgres(&database).catalog(jobs::gated_catalog()).configs(&PATIENT).start();
    let mut wire = redis.wire();
    let begun_ms = now_ms(&mut wire);

    let completed = enqueue(&mut wire, r#"bear UPDATE_BEAR_SIZE {"id":4,"size":77}"#);
    wait_state(&mut wire, "bear", &completed, "completed");
    let failed = enqueue(&mut wire, r#"bear UPDATE_BEAR_SIZE {"id":4,"size":-1} ATTEMPTS 1"#);
    wait_state(&mut wire, "bear", &failed, "failed");
    let delayed = enqueue(&mut wire, &format!("{} DELAY 600000", rename(6, "Late")));
    let mut gate = database.close_gate();
    let active = enqueue(&mut wire, &rename(5, "Kodiak"));
    gate.wait(1);
    wait_state(&mut wire, "bear", &active, "active");
    set_drain(&mut wire, "no");
    let waiting = enqueue(&mut wire, &rename(5, "Boo-Boo"));

    for (id, expected) in [
        (&completed, "completed"),
        (&failed, "failed"),
        (&delayed, "delayed"),
        (&active, "active"),
        (&waiting, "waiting"),
    ] {
        let job = assert_same_in_both_protocols(&redis, id);
        assert_eq!((job["id"].text().as_str(), job["state"].text().as_str()), (id.as_str(), expected));
        let is_settled = ["completed", "failed"].contains(&expected);
        let enqueued_ms = job["enqueued"].int();
        assert!((begun_ms..=now_ms(&mut wire)).contains(&enqueued_ms), "{job:?}");
        assert_eq!(job["finished"].is_nil(), !is_settled, "{job:?}");
        if is_settled {
            assert!((enqueued_ms..=now_ms(&mut wire)).contains(&job["finished"].int()), "{job:?}");
        }
        assert_eq!(job["error"].is_nil(), expected != "failed", "{job:?}");
        assert!(job["result"].is_nil(), "{job:?}");
        if expected == "delayed" {
            assert!(job["due"].int() >= enqueued_ms + 599_000, "{job:?}");
        }
        assert_eq!(ids_in(&mut wire, "bear", expected), [id.as_str()]);
        assert_eq!(stat(&mut wire, "bear", expected), 1, "{expected}");
    }
    let job = jobs::find(&mut wire, "bear", &completed).expect("it");
    assert_eq!(job["job"].text(), "UPDATE_BEAR_SIZE");
    assert_eq!(job["data"].json(), json!({"id": 4, "size": 77}));
    assert_eq!(job["rows"], Reply::Int(1));
    let job = jobs::find(&mut wire, "bear", &failed).expect("it");
    assert_eq!(job["attempts"], Reply::Int(1));
    let (message, code) = jobs::error_of(&job);
    assert!(message.contains("bear_size_check"), "{message}");
    assert_eq!(code.as_deref(), Some("23514"));

    gate.open();
    set_drain(&mut wire, "yes");
    wait_state(&mut wire, "bear", &waiting, "completed");
    assert_eq!(state(&mut wire, "bear", &active), "completed");
}

#[test]
fn an_unknown_job_is_nil_and_what_is_no_id_is_an_error() {
    let database = bears::database();
    let redis = Redis::with(&database);
    for mut wire in [redis.wire(), redis.resp3_wire()] {
        for id in ["0-1", "1-1", "1700000000000-0", "18446744073709551615-18446744073709551615"] {
            assert_eq!(wire.run(&format!("BEAR.JOB bear {id}")), Reply::Nil, "{id}");
        }
        let id = enqueue(&mut wire, &rename(5, "Kodiak"));
        assert_eq!(wire.run(&format!("BEAR.JOB color {id}")), Reply::Nil, "a job of another space");
    }
    let mut wire = redis.wire();
    for id in [&b""[..], b"-", b"x", b"5-x", b"1-1-1", b"-5-1", b"99999999999999999999999-1", b"\xff\0", b"*"] {
        let reply = wire.call(&[&b"BEAR.JOB"[..], b"bear", id]);
        assert!(reply.error().starts_with("ERR "), "{}: {reply:?}", id.escape_ascii());
    }
    for line in ["BEAR.JOB bears 1-1", "BEAR.JOBS bears waiting", "BEAR.STATS bears"] {
        let reply = wire.run(line);
        assert!(reply.error().starts_with("ERR ") && reply.error().contains("'bears'"), "{line}: {reply:?}");
    }
    for line in ["BEAR.JOB", "BEAR.JOB bear", "BEAR.JOBS bear", "BEAR.STATS"] {
        assert!(wire.run(line).error().starts_with("ERR wrong number of arguments"), "{line}");
    }
}

#[test]
fn jobs_are_listed_in_their_order_and_by_pages() {
    let database = bears::database();
    let redis = Redis::builder().postgres(&database).config("bear.drain", "no").start();
    let mut wire = redis.wire();
    let waiting: Vec<String> = (0..25).map(|name| enqueue(&mut wire, &rename(5, &name.to_string()))).collect();
    // Later jobs are due earlier: the order is that of the ids all the same.
    let delayed: Vec<String> = (0..25)
        .map(|n| enqueue(&mut wire, &format!("{} DELAY {}", rename(6, &n.to_string()), 900_000 - n * 1000)))
        .collect();
    let failing: Vec<String> =
        (0..25).map(|n| enqueue(&mut wire, &format!("{} ATTEMPTS 1", rename(1000 + n, "nobody")))).collect();
    let all_waiting: Vec<String> = waiting.iter().chain(&failing).cloned().collect();
    let check = |wire: &mut Wire, state: &str, expected: &[String]| {
        let ids = |reply: Reply| -> Vec<String> {
            let list = reply.list().iter().map(Reply::map).collect::<Vec<_>>();
            assert!(list.iter().all(|job| job["state"].text() == state), "{list:?}");
            list.iter().map(|job| job["id"].text()).collect()
        };
        assert_eq!(ids(wire.run(&format!("BEAR.JOBS bear {state}"))), expected[..10], "{state}: ten, unless told");
        assert_eq!(ids(wire.run(&format!("BEAR.JOBS bear {state} COUNT 3"))), expected[..3], "{state}");
        assert_eq!(ids(wire.run(&format!("BEAR.JOBS bear {} COUNT 1000", state.to_uppercase()))), expected, "{state}");
        let mut paged: Vec<String> = Vec::new();
        loop {
            let after = paged.last().map(|id| format!("AFTER {id} ")).unwrap_or_default();
            let page = ids(wire.run(&format!("BEAR.JOBS bear {state} {after}count 7")));
            paged.extend_from_slice(&page);
            if page.is_empty() {
                break;
            }
        }
        assert_eq!(paged, expected, "{state}");
    };
    check(&mut wire, "waiting", &all_waiting);
    check(&mut wire, "delayed", &delayed);
    assert_eq!(stat(&mut wire, "bear", "waiting"), 50);
    assert_eq!(stat(&mut wire, "bear", "delayed"), 25);
    set_drain(&mut wire, "yes");
    eventually("they have settled", || stat(&mut wire, "bear", "completed") + stat(&mut wire, "bear", "failed") == 50);
    let by_row = |wire: &mut Wire, state: &str| ids_in(wire, "bear", state);
    assert_eq!(by_row(&mut wire, "completed"), waiting, "one row: they settled in their order");
    check(&mut wire, "completed", &waiting);
    let mut settled = by_row(&mut wire, "failed");
    check(&mut wire, "failed", &settled);
    settled.sort_by_key(|id| jobs::parse_id(id));
    assert_eq!(settled, failing);
    for state in ["waiting", "active"] {
        assert!(ids_in(&mut wire, "bear", state).is_empty(), "{state}");
    }
}

#[test]
fn a_wrong_list_is_told() {
    let database = bears::database();
    let redis = Redis::with(&database);
    let mut wire = redis.wire();
    for state in STATES {
        assert_eq!(wire.run(&format!("BEAR.JOBS bear {state}")).list(), [], "{state}");
    }
    for (line, part) in [
        ("BEAR.JOBS bear lost", "waiting"),
        ("BEAR.JOBS bear failed COUNT", ""),
        ("BEAR.JOBS bear failed COUNT x", ""),
        ("BEAR.JOBS bear failed COUNT -1", ""),
        ("BEAR.JOBS bear failed AFTER", ""),
        ("BEAR.JOBS bear failed AFTER x", ""),
        ("BEAR.JOBS bear failed COUNT 1 COUNT 1", ""),
        ("BEAR.JOBS bear failed 5", "5"),
    ] {
        let reply = wire.run(line);
        assert!(reply.error().starts_with("ERR ") && reply.error().contains(part), "{line}: {reply:?}");
    }
}

#[test]
fn an_attempt_that_failed_is_told_while_the_job_waits_for_the_next() {
    let database = bears::database();
    let redis = Redis::with(&database);
    let mut wire = redis.wire();
    let id = enqueue(&mut wire, r#"bear UPDATE_BEAR_SIZE {"id":5,"size":-1} ATTEMPTS 3 BACKOFF 600000"#);
    let job = wait_state(&mut wire, "bear", &id, "delayed");
    assert_eq!(job["attempts"], Reply::Int(1));
    assert!(job["due"].int() >= job["enqueued"].int() + 599_000, "{job:?}");
    assert!(job["finished"].is_nil());
    assert_eq!(job["error"].map()["sqlstate"].text(), "23514");
}

#[test]
fn statistics_of_a_space() {
    let database = bears::database();
    let redis = Redis::builder().postgres(&database).config("bear.drain", "no").start();
    let mut wire = redis.wire();
    let stats = redis.resp3_wire().run("BEAR.STATS bear");
    assert!(matches!(stats, Reply::Map(_)), "{stats:?}");
    let stats = stats.map();
    for name in ["waiting", "active", "delayed", "completed", "failed", "bytes", "paused", "hits", "misses"] {
        assert_eq!(stats[name], Reply::Int(0), "{name}");
    }
    for name in ["oldest_ms", "rate", "lanes", "connection", "ledger"] {
        assert!(stats.contains_key(name), "{name}: {stats:?}");
    }
    for name in ["a", "b", "c"] {
        enqueue(&mut wire, &rename(5, name));
    }
    enqueue(&mut wire, &format!("{} DELAY 600000", rename(6, "late")));
    assert_eq!(stat(&mut wire, "bear", "waiting"), 3);
    assert_eq!(stat(&mut wire, "bear", "delayed"), 1);
    assert!(stat(&mut wire, "bear", "bytes") > 0);
    eventually("the oldest grows older", || stat(&mut wire, "bear", "oldest_ms") > 50);
    assert_eq!(stat(&mut wire, "color", "waiting"), 0, "another space");

    set_drain(&mut wire, "yes");
    eventually("they are applied", || stat(&mut wire, "bear", "completed") == 3);
    let stats = wire.run("BEAR.STATS bear").map();
    assert_eq!(stats["waiting"], Reply::Int(0));
    assert_eq!(stats["connection"].text(), "up");
    assert_eq!(stats["ledger"].text(), "ok");
    complete(&mut wire, &rename(5, "d"));
    jobs::settle(&mut wire, &format!("{} ATTEMPTS 1", rename(1000, "nobody")));
    assert_eq!((stat(&mut wire, "bear", "completed"), stat(&mut wire, "bear", "failed")), (4, 1));
    wire.run("BEAR.QUERY bear all");
    redis.wait_stored();
    wire.run("BEAR.QUERY bear all");
    assert_eq!((stat(&mut wire, "bear", "misses"), stat(&mut wire, "bear", "hits")), (1, 1));
}

#[test]
fn info_has_the_totals_of_all_spaces() {
    let database = bears::database();
    let redis = Redis::builder().postgres(&database).config("bear.drain", "no").start();
    let mut wire = redis.wire();
    enqueue(&mut wire, &rename(5, "a"));
    enqueue(&mut wire, &format!("{} ATTEMPTS 1", rename(1000, "nobody")));
    enqueue(&mut wire, r##"color CREATE_COLOR {"name":"pink","hex":"#ffc0cb"}"##);
    enqueue(&mut wire, r##"color CREATE_COLOR {"name":"red","hex":"#ff0000"} DELAY 600000"##);
    let total = |name: &str| redis.info("bear").int(&format!("bear_jobs_{name}"));
    assert_eq!(["waiting", "active", "delayed", "completed", "failed"].map(total), [3, 0, 1, 0, 0]);
    set_drain(&mut wire, "yes");
    eventually("they are applied", || {
        ["waiting", "active", "delayed", "completed", "failed"].map(total) == [0, 0, 1, 2, 1]
    });
}

#[test]
fn a_replica_tells_of_jobs_too() {
    let database = bears::database();
    let redis = Redis::builder().postgres(&database).config("bear.drain", "no").start();
    let replica = Redis::builder().postgres(&database).replica_of(&redis).start();
    let mut wire = redis.wire();
    let id = enqueue(&mut wire, &rename(5, "a"));
    replica.wait_in_sync(&redis);
    let job = jobs::find(&mut replica.wire(), "bear", &id).expect("the job");
    assert_eq!((job["state"].text().as_str(), job["data"].json()["name"].as_str()), ("waiting", Some("a")));
    assert_eq!(ids_in(&mut replica.wire(), "bear", "waiting"), [id.as_str()]);
    set_drain(&mut wire, "yes");
    wait_state(&mut wire, "bear", &id, "completed");
    replica.wait_in_sync(&redis);
    assert_eq!(state(&mut replica.wire(), "bear", &id), "completed");
}

/// A history of four megabytes: jobs are found in it on the master, after a restart and on a replica, and unknown ones are
/// not looked for long.
#[test]
fn a_job_is_found_in_a_long_history_and_an_unknown_one_is_not_looked_for_long() {
    const JOBS: usize = 4000;
    let database = bears::database();
    let mut redis = Redis::builder().postgres(&database).append_only().start();
    let name = "x".repeat(1000);
    let line = |n: usize| format!(r#"BEAR.ENQUEUE bear UPDATE_BEAR_NAME {{"id":{},"name":"{name}"}}"#, 1 + n % 8);
    let lines: Vec<String> = (0..JOBS).map(line).collect();
    let ids: Vec<String> = burst(&redis, &lines).iter().map(jobs::id_of).collect();
    let failed = settle(&mut redis.wire(), r#"bear UPDATE_BEAR_COLORS {"id":5,"colors":["pink"]} ATTEMPTS 1"#);
    jobs::wait_settled(&mut redis.wire(), "bear");
    let replica = Redis::builder().postgres(&database).replica_of(&redis).start();
    replica.wait_in_sync(&redis);
    let check = |redis: &Redis| {
        let mut wire = redis.wire();
        let kept = ids_in(&mut wire, "bear", "completed");
        for id in kept.iter().step_by(97).chain(kept.last()).chain(ids.last()) {
            assert_eq!(state(&mut wire, "bear", id), "completed", "{id}");
        }
        assert_eq!(state(&mut wire, "bear", &failed["id"].text()), "failed");
        assert!(wire.run("CONFIG RESETSTAT").is_ok());
        let (first, last) = (jobs::parse_id(&kept[0]).0, jobs::parse_id(&ids[JOBS - 1]).0);
        for ms in [1, first, (first + last) / 2, last, last + 1_000_000] {
            for _ in 0..4 {
                assert!(wire.run(&format!("BEAR.JOB bear {ms}-999999")).is_nil());
            }
        }
        let stats = redis.info("commandstats").text("cmdstat_bear.job").to_owned();
        let each = stats.split(',').find_map(|part| part.strip_prefix("usec_per_call=")).expect("the time of a call");
        each.parse::<f64>().expect("microseconds")
    };
    let on_master_us = check(&redis);
    assert!(on_master_us < 300.0, "{on_master_us} us a call");
    check(&replica);
    redis.restart();
    check(&redis);
}

/// A batch notes in the ledger that such a job waits, and holds it until that is done.
#[test]
fn a_delayed_job_is_delayed_from_the_beginning() {
    let database = bears::database();
    let mut redis = Redis::builder().postgres(&database).configs(&jobs::PATIENT).append_only().start();
    let mut wire = redis.wire();
    complete(&mut wire, &rename(5, "First"));
    let mut holder = database.client();
    let mut transaction = holder.transaction().expect("a transaction");
    transaction.execute("LOCK TABLE bear.ledger IN ACCESS EXCLUSIVE MODE", &[]).expect("the lock");
    let id = enqueue(&mut wire, &format!("{} DELAY 600000", rename(6, "Late")));
    for when in ["at once", "in a batch"] {
        if when == "in a batch" {
            eventually("a batch has it", || redis.info("bear").int("bear_batches_in_flight") == 1);
        }
        assert_eq!(state(&mut wire, "bear", &id), "delayed", "{when}");
        assert_eq!(wire.run("BEAR.JOBS bear delayed").list().len(), 1, "{when}");
        for other in ["waiting", "active"] {
            assert_eq!(wire.run(&format!("BEAR.JOBS bear {other}")).list().len(), 0, "{when}: {other}");
        }
        assert_eq!(["waiting", "active", "delayed"].map(|name| stat(&mut wire, "bear", name)), [0, 0, 1], "{when}");
    }
    transaction.rollback().expect("the end");
    // As is one that waits for another attempt, also for a process that has not looked at it yet.
    let bad = enqueue(&mut wire, r#"bear UPDATE_BEAR_SIZE {"id":5,"size":-1} BACKOFF 600000"#);
    wait_state(&mut wire, "bear", &bad, "delayed");
    redis.restart();
    let mut wire = redis.wire();
    assert_eq!([&id, &bad].map(|id| state(&mut wire, "bear", id)), ["delayed", "delayed"]);
}
