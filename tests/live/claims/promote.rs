//! BEAR.PROMOTE: delayed jobs become due, of both kinds, and stay so.

use super::hold::{claim, claim_one, received, server, tell, unit_after};
use crate::support::jobs::{self, enqueue};
use crate::support::{bears, Redis};

const HOUR: &str = "DELAY 3600000";

#[test]
fn a_delayed_job_is_had_at_once_and_after_a_restart() {
    let mut redis = server();
    let mut wire = redis.wire();
    let id = enqueue(&mut wire, &format!("any X 1 {HOUR}"));
    let other = enqueue(&mut wire, &format!("any X 2 {HOUR}"));
    let mut waiting = redis.wire();
    waiting.begin("BEAR.CLAIM any BLOCK 0");
    redis.wait_blocked(1);
    assert_eq!(wire.run(&format!("BEAR.PROMOTE any {id}")).int(), 1);
    let job = received(&mut waiting);
    assert_eq!(job.id, id);
    let held = wire.run(&format!("BEAR.PROMOTE any {id}"));
    assert!(held.error().starts_with(&format!("ERR job {id} is not delayed")), "{held:?}");
    let seen = redis.aof().len();
    assert_eq!(wire.run(&format!("BEAR.PROMOTE any {other}")).int(), 1);
    let unit = unit_after(&redis, seen);
    assert!(unit.len() == 1 && unit[0].name() == "ZREM" && unit[0].text(2) == other, "{unit:?}");
    redis.restart();
    let mut wire = redis.wire();
    let again = wire.run(&format!("BEAR.PROMOTE any {other}"));
    assert!(again.error().contains("is not delayed: it is waiting already"), "{again:?}");
    assert_eq!(claim_one(&mut wire, "any").id, other);
    // One that waits for its next attempt.
    let id = enqueue(&mut wire, r#"mail SEND {"to":"a"}"#);
    let job = claim_one(&mut wire, "mail");
    assert_eq!(tell(&mut wire, "BEAR.FAIL", "mail", &job, &["no"]).text(), "delayed");
    assert_eq!(claim(&mut wire, "mail", 1).len(), 0);
    assert_eq!(wire.run(&format!("BEAR.PROMOTE mail {id}")).int(), 1);
    assert_eq!(claim_one(&mut wire, "mail").id, id);
    for wrong in ["1-1", "x"] {
        assert!(wire.run(&format!("BEAR.PROMOTE any {wrong}")).error().starts_with("ERR "));
    }
}

#[test]
fn all_become_due_in_the_order_of_their_times() {
    let redis = server();
    let replica = Redis::builder().catalog(super::hold::CATALOG).replica_of(&redis).start();
    let mut wire = redis.wire();
    let ids: Vec<String> =
        [3, 1, 2].iter().map(|hours| enqueue(&mut wire, &format!("any X 1 DELAY {}", hours * 3_600_000))).collect();
    for _ in 0..100 {
        enqueue(&mut wire, &format!("any Y 1 DELAY {}", 9 * 3_600_000));
    }
    assert_eq!(wire.run("BEAR.PROMOTE any all").int(), 103);
    replica.wait_in_sync(&redis);
    assert_eq!(replica.run("ZCARD any:queue:work:delayed").int(), 0);
    let had: Vec<String> = claim(&mut wire, "any", 3).into_iter().map(|job| job.id).collect();
    assert_eq!(had, [ids[1].as_str(), &ids[2], &ids[0]]);
    assert_eq!(wire.run("BEAR.PROMOTE any ALL").int(), 0);
    enqueue(&mut wire, &format!("any X 1 {HOUR}"));
    assert!(wire.run("MULTI").is_ok());
    wire.run("BEAR.PROMOTE any ALL");
    assert_eq!(wire.run("EXEC").list()[0].int(), 1);
    enqueue(&mut wire, &format!("any X 1 {HOUR}"));
    assert_eq!(wire.run("EVAL return(redis.call('BEAR.PROMOTE','any','ALL')) 0").int(), 1);
}

#[test]
fn an_sql_job_that_is_delayed_is_applied() {
    let database = bears::database();
    let mut redis = Redis::builder().postgres(&database).catalog(super::hold::CATALOG).append_only().start();
    let mut wire = redis.wire();
    let job = |name: &str| format!(r#"bear NAME {{"id":5,"name":"{name}"}} {HOUR}"#);
    // Left out by the lane that reads, and promoted.
    let first = enqueue(&mut wire, &job("a"));
    let second = enqueue(&mut wire, &format!(r#"bear NAME {{"id":6,"name":"{}"}}"#, "now"));
    jobs::wait_state(&mut wire, "bear", &second, "completed");
    jobs::wait_state(&mut wire, "bear", &first, "delayed");
    assert_eq!(wire.run(&format!("BEAR.PROMOTE bear {first}")).int(), 1);
    jobs::wait_state(&mut wire, "bear", &first, "completed");
    let settled = wire.run(&format!("BEAR.PROMOTE bear {first}"));
    assert!(settled.error().starts_with(&format!("ERR no queued job {first} is known")), "{settled:?}");
    // Promoted before it is read, and read by another process.
    jobs::set_drain(&mut wire, "no");
    let third = enqueue(&mut wire, &job("b"));
    let fourth = enqueue(&mut wire, &job("c"));
    assert_eq!(wire.run(&format!("BEAR.PROMOTE bear {third}")).int(), 1);
    assert_eq!(jobs::state(&mut wire, "bear", &third), "waiting");
    let twice = wire.run(&format!("BEAR.PROMOTE bear {third}"));
    assert!(twice.error().contains("is not delayed"), "{twice:?}");
    redis.restart();
    let mut wire = redis.wire();
    jobs::wait_state(&mut wire, "bear", &third, "completed");
    jobs::wait_state(&mut wire, "bear", &fourth, "delayed");
    // All, at once after they were enqueued: some are perhaps just being left out.
    let fifth = enqueue(&mut wire, &job("d"));
    assert_eq!(wire.run("BEAR.PROMOTE bear ALL").int(), 2);
    jobs::wait_state(&mut wire, "bear", &fourth, "completed");
    jobs::wait_state(&mut wire, "bear", &fifth, "completed");
    assert_eq!(wire.run("ZCARD bear:queue:delayed").int(), 0);
}

#[test]
fn an_sql_job_that_waits_for_its_next_attempt_is_tried_now() {
    let more = "CREATE TABLE allowed(); CREATE FUNCTION check_name() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
                IF (SELECT count(*) FROM pg_catalog.pg_class WHERE relname = 'allowed') > 0 THEN \
                RAISE EXCEPTION 'not yet' USING ERRCODE = '40001'; END IF; RETURN NEW; END $$; \
                CREATE TRIGGER checked BEFORE UPDATE ON bear FOR EACH ROW EXECUTE FUNCTION check_name();";
    let database = bears::database_with(more);
    let redis = Redis::builder().postgres(&database).catalog(super::hold::CATALOG).append_only().start();
    let mut wire = redis.wire();
    let id = enqueue(&mut wire, r#"bear NAME {"id":5,"name":"x"} BACKOFF 3600000"#);
    jobs::wait_state(&mut wire, "bear", &id, "delayed");
    database.client().batch_execute("DROP TABLE allowed").expect("dropped");
    assert_eq!(wire.run(&format!("BEAR.PROMOTE bear {id}")).int(), 1);
    let job = jobs::wait_state(&mut wire, "bear", &id, "completed");
    assert_eq!(job["attempts"].int(), 2);
}
