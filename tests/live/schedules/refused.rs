//! A tick that is refused is not lost: it is tried again, and said why.

use super::support::{count, enqueued, schedule};
use crate::support::claims::{ack, claim_one, enqueue};
use crate::support::{eventually, wait_for, Redis, Reply, Wire};

const CATALOG: &str = r#"
[mail]
[mail.job.SEND]
claim = {}
"#;

#[track_caller]
fn once(wire: &mut Wire, name: &str) {
    let reply = wire.run(&format!("BEAR.SCHEDULE mail {name} EVERY 100 LIMIT 1 MISSED none JOB SEND {{}}"));
    assert!(reply.is_ok(), "{reply:?}");
}

/// Waits until the schedule says that it is refused so.
#[track_caller]
fn wait_refused(wire: &mut Wire, name: &str, code: &str) {
    eventually(code, || {
        let outcome = &schedule(wire, "mail", name)["last_outcome"];
        !outcome.is_nil() && outcome.text().starts_with(code)
    });
    assert_eq!(count(wire, "mail", name), 0);
}

#[test]
fn a_full_queue_has_its_tick_later() {
    let redis = Redis::builder().catalog(CATALOG).start();
    let mut wire = redis.wire();
    assert!(wire.run("CONFIG SET bear.queue-max-jobs 1").is_ok());
    enqueue(&mut wire, "mail SEND {}");
    once(&mut wire, "x");
    wait_refused(&mut wire, "x", "FULL ");
    assert!(redis.info("bear").int("bear_schedules_trying") == 1);
    let job = claim_one(&mut wire, "mail");
    ack(&mut wire, &job);
    eventually("it is carried out", || count(&mut wire, "mail", "x") == 1);
    assert_eq!(enqueued(&mut wire, "mail", "x").len(), 1);
    let id = schedule(&mut wire, "mail", "x")["last_outcome"].text();
    assert!(redis.log().matches("is tried again: FULL").count() == 1, "the log tells once");
    assert_eq!(wait_for("the job", || Some(wire.run(&format!("BEAR.JOB mail {id}")))).map()["id"].text(), id);
}

#[test]
fn a_server_that_is_full_or_may_evict_has_its_tick_later() {
    for (set, code, unset) in [
        ("CONFIG SET maxmemory 1mb", "OOM ", "CONFIG SET maxmemory 0"),
        ("CONFIG SET maxmemory-policy allkeys-lru", "UNSAFE ", "CONFIG SET maxmemory-policy noeviction"),
    ] {
        let redis = Redis::builder().catalog(CATALOG).start();
        let mut wire = redis.wire();
        assert!(wire.run("CONFIG SET hz 1").is_ok());
        // It is due in a second, when the setting is another.
        let reply = wire.run("BEAR.SCHEDULE mail x EVERY 1500 LIMIT 1 MISSED none JOB SEND {}");
        assert!(reply.is_ok(), "{reply:?}");
        assert!(wire.run(set).is_ok());
        if count(&mut wire, "mail", "x") > 0 {
            continue; // It was faster.
        }
        wait_refused(&mut wire, "x", code);
        assert!(wire.run(unset).is_ok());
        eventually("it is carried out", || count(&mut wire, "mail", "x") == 1);
        assert_eq!(enqueued(&mut wire, "mail", "x").len(), 1);
    }
}

#[test]
fn keys_of_others_are_left_alone() {
    let redis = Redis::builder().catalog(CATALOG).start();
    let mut wire = redis.wire();
    assert!(wire.run("SET mail:queue:work mine").is_ok());
    once(&mut wire, "x");
    wait_refused(&mut wire, "x", "WRONGTYPE ");
    assert_eq!(wire.run("GET mail:queue:work").text(), "mine");
    assert_eq!(wire.run("DEL mail:queue:work"), Reply::Int(1));
    eventually("it is carried out", || count(&mut wire, "mail", "x") == 1);
}

#[test]
fn a_job_that_is_none_any_more_is_the_outcome() {
    let redis = Redis::builder().catalog(CATALOG).start();
    let mut wire = redis.wire();
    assert!(wire.run("BEAR.SCHEDULE mail x EVERY 100 JOB SEND {}").is_ok());
    eventually("it ticks", || count(&mut wire, "mail", "x") > 0);
    std::fs::write(redis.catalog_path(), CATALOG.replace("SEND", "OTHER")).expect("the catalog");
    assert!(wire.run("BEAR.RELOAD").is_ok());
    eventually("it says so", || {
        schedule(&mut wire, "mail", "x")["last_outcome"].text().contains("section 'mail' has no job 'SEND' any more")
    });
    let jobs = enqueued(&mut wire, "mail", "x").len();
    let before = count(&mut wire, "mail", "x");
    eventually("and goes on", || count(&mut wire, "mail", "x") > before);
    assert_eq!(enqueued(&mut wire, "mail", "x").len(), jobs);
}

#[test]
fn a_paused_queue_takes_them_as_any() {
    let redis = Redis::builder().catalog(CATALOG).start();
    let mut wire = redis.wire();
    assert!(wire.run("BEAR.PAUSE mail").is_ok());
    once(&mut wire, "x");
    eventually("it is enqueued", || enqueued(&mut wire, "mail", "x").len() == 1);
}
