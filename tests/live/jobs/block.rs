//! BEAR.ENQUEUE … BLOCK: who waits is told what has become of the job, and who gives up takes nothing along.

use std::time::Duration;

use crate::support::bears;
use crate::support::jobs::{self, set_drain, state, wait_state};
use crate::support::{eventually, Database, Redis, Reply};

const RENAME: &str = r#"bear UPDATE_BEAR_NAME {"id":5,"name":"Kodiak"}"#;

/// Nothing is applied until the test says so.
fn resting() -> (Database, Redis) {
    let database = bears::database();
    let redis = Redis::builder().postgres(&database).config("bear.drain", "no").start();
    (database, redis)
}

fn name_of(database: &Database, id: i64) -> String {
    database.client().query_one("SELECT name FROM bear WHERE id = $1", &[&id]).expect("the bear").get(0)
}

#[test]
fn block_replies_what_has_become_of_the_job() {
    let database = bears::database();
    let redis = Redis::with(&database);
    for (number, mut wire) in [redis.wire(), redis.resp3_wire()].into_iter().enumerate() {
        let job = jobs::settle(&mut wire, &format!(r#"bear UPDATE_BEAR_NAME {{"id":5,"name":"K{number}"}}"#));
        assert_eq!(job["state"].text(), "completed");
        assert_eq!(job["job"].text(), "UPDATE_BEAR_NAME");
        assert_eq!(job["rows"], Reply::Int(1));
        assert_eq!(name_of(&database, 5), format!("K{number}"), "applied before the reply");
        assert_eq!(jobs::find(&mut wire, "bear", &job["id"].text()), Some(job));

        let job = jobs::settle(&mut wire, r#"bear UPDATE_BEAR_COLORS {"id":5,"colors":["pink"]} ATTEMPTS 1"#);
        assert_eq!(jobs::error_of(&job), ("unknown colour pink".into(), None));
        let job = jobs::settle(&mut wire, r#"bear UPDATE_BEAR_SIZE {"id":5,"size":-1} ATTEMPTS 1"#);
        assert_eq!(jobs::error_of(&job).1.as_deref(), Some("23514"));
    }
}

#[test]
fn a_timeout_leaves_the_job_queued_and_says_so() {
    let (database, redis) = resting();
    let mut wire = redis.wire();
    let reply = wire.run(&format!("BEAR.ENQUEUE {RENAME} BLOCK 50"));
    let [id] = &jobs::ids_in(&mut wire, "bear", "waiting")[..] else { panic!("one job waits") };
    assert!(reply.error().starts_with(&format!("TIMEOUT job {id} is still queued")), "{reply:?}");
    assert_eq!(state(&mut wire, "bear", id), "waiting");
    set_drain(&mut wire, "yes");
    wait_state(&mut wire, "bear", id, "completed");
    assert_eq!(name_of(&database, 5), "Kodiak");
}

#[test]
fn block_zero_waits_for_ever_and_a_client_that_leaves_takes_nothing_along() {
    let (database, redis) = resting();
    let mut wire = redis.wire();
    let (mut waiting, mut leaving) = (redis.wire(), redis.wire());
    waiting.begin(&format!("BEAR.ENQUEUE {RENAME} BLOCK 0"));
    leaving.begin(r#"BEAR.ENQUEUE bear UPDATE_BEAR_NAME {"id":6,"name":"Kodiak"} BLOCK 0"#);
    redis.wait_blocked(2);
    assert!(waiting.silent_for(Duration::from_millis(200)));
    drop(leaving);
    redis.wait_blocked(1);
    assert_eq!(wire.run("XLEN bear:queue"), Reply::Int(2));
    set_drain(&mut wire, "yes");
    assert_eq!(waiting.receive().map()["state"].text(), "completed");
    eventually("the job of the client that left is applied", || name_of(&database, 6) == "Kodiak");
}

#[test]
fn a_pipeline_of_blocked_jobs_is_answered_in_its_order() {
    let database = bears::database();
    let redis = Redis::with(&database);
    let mut wire = redis.wire();
    for size in 1..=20 {
        wire.begin(&format!(r#"BEAR.ENQUEUE bear UPDATE_BEAR_SIZE {{"id":5,"size":{size}}} BLOCK 20000"#));
        wire.begin("PING");
    }
    for size in 1..=20 {
        let job = wire.receive().map();
        assert_eq!(job["data"].json()["size"], size);
        assert_eq!(job["state"].text(), "completed");
        assert_eq!(wire.receive().text(), "PONG");
    }
}
