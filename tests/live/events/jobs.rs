//! What is told of jobs, message by message, and in which order.

use super::listener::Listener;
use crate::support::jobs::{enqueue, wait_settled};
use crate::support::{bears, claims, Database, Redis, Wire};

pub const CATALOG: &str = r#"
[mail]
events = true
[mail.job.SEND]
data  = { to = "text", note = "text?" }
claim = { lease = "30s", attempts = 2, backoff = "1h", priority = 4 }
[bear]
id = "int"
tables = { bear = "id" }
events = true
[[bear.query]]
call = "all"
sql = "SELECT id, id AS _bear FROM bear b ORDER BY id"
[bear.job.NAME]
data = { id = "int", name = "text" }
sql = "UPDATE bear SET name = job.name FROM {jobs} job WHERE bear.id = job.id RETURNING job.n, bear.id, json_build_object('was', job.id) AS result"
[bear.job.SIZE]
data = { id = "int", size = "int" }
sql = "UPDATE bear SET size = job.size FROM {jobs} job WHERE bear.id = job.id RETURNING job.n, bear.id"
[quiet]
open = true
"#;

fn start() -> (Database, Redis) {
    let database = bears::database();
    let redis = Redis::builder().postgres(&database).catalog(CATALOG).append_only().start();
    (database, redis)
}

fn mail(redis: &Redis) -> (Wire, Listener) {
    (redis.wire(), Listener::new(redis.wire(), "SUBSCRIBE bear:events:mail"))
}

/// Of a claimed job: what its messages have between their names and what is the event's own.
fn head(event: &str, job: &claims::Claimed, worker: &str) -> String {
    let (id, token, attempt) = (&job.id, job.token, job.attempt);
    format!(
        r#"{{"event":"{event}","space":"mail","id":"{id}","job":"SEND","token":{token},"worker":"{worker}","attempt":{attempt}"#
    )
}

#[test]
fn a_claimed_job_is_told_from_its_beginning_to_its_end() {
    let redis = Redis::builder().catalog(CATALOG).append_only().start();
    let (mut wire, mut told) = mail(&redis);
    let id = claims::enqueue(&mut wire, r#"mail SEND {"to":"ann"} UNIQUE k"#);
    let enqueued =
        format!(r#"{{"event":"enqueued","space":"mail","id":"{id}","job":"SEND","priority":4,"unique":"k"}}"#);
    assert_eq!(told.timeless(), enqueued);
    assert_eq!(claims::enqueue(&mut wire, r#"mail SEND {"to":"ann"} UNIQUE k"#), id);
    let job = claims::claim_one(&mut wire, "mail WORKER w LEASE 5000");
    assert_eq!(told.timeless(), head("claimed", &job, "w") + r#","lease_ms":5000}"#);
    claims::tell(&mut wire, "EXTEND", &job, "PROGRESS [1,2]");
    assert_eq!(told.timeless(), head("progress", &job, "w") + r#","progress":[1,2]}"#);
    claims::tell(&mut wire, "EXTEND", &job, "");
    let large = format!("\"{}\"", "x".repeat(2_000));
    claims::tell(&mut wire, "EXTEND", &job, &format!("PROGRESS {large}"));
    assert_eq!(told.timeless(), head("progress", &job, "w") + r#","progress_bytes":2002}"#);
    claims::tell(&mut wire, "RELEASE", &job, "");
    assert_eq!(told.timeless(), head("released", &job, "w") + "}");
    let job = claims::claim_one(&mut wire, "mail");
    let claimed = told.next();
    let own = claimed["worker"].as_str().expect("its address").to_owned();
    assert!(own.starts_with("127.0.0.1:") && claimed["lease_ms"] == 30_000, "{claimed}");
    assert_eq!(claims::tell(&mut wire, "FAIL", &job, "why BACKOFF 0").text(), "waiting");
    assert_eq!(told.timeless(), head("retried", &job, &own) + r#","message":"why"}"#);
    let job = claims::claim_one(&mut wire, "mail WORKER w");
    assert_eq!(job.attempt, 2);
    told.next();
    assert_eq!(wire.run(&format!("BEAR.CANCEL mail {} stop", job.id)).text(), "active");
    assert_eq!(told.timeless(), head("cancelled", &job, "w") + r#","message":"stop"}"#);
    assert_eq!(claims::tell(&mut wire, "FAIL", &job, "again").text(), "failed");
    assert_eq!(told.timeless(), head("failed", &job, "w") + r#","message":"again"}"#);
    let again = wire.run(&format!("BEAR.RETRY mail {}", job.id)).list()[0].text();
    assert_eq!(told.timeless(), enqueued.replace(&id, &again));
    let job = claims::claim_one(&mut wire, "mail WORKER w");
    claims::tell(&mut wire, "ACK", &job, r#"RESULT {"sent":true}"#);
    told.next();
    assert_eq!(told.timeless(), head("completed", &job, "w") + r#","result":{"sent":true}}"#);
    told.assert_no_more();
}

#[test]
fn leases_that_end_delays_and_jobs_that_nobody_holds_are_told() {
    let redis = Redis::builder().catalog(CATALOG).start();
    let (mut wire, mut told) = mail(&redis);
    claims::enqueue(&mut wire, r#"mail SEND {"to":"ann"}"#);
    told.next();
    for attempt in 1..=2 {
        let job = claims::claim_one(&mut wire, "mail WORKER w LEASE 1000");
        told.next();
        assert_eq!(told.timeless(), head("lease-ended", &job, "w") + r#","lease_ms":1000}"#);
        if attempt == 2 {
            let failed = told.timeless();
            assert!(
                failed.starts_with(&(head("failed", &job, "w") + r#","message":"the lease of worker"#)),
                "{failed}"
            );
        }
    }
    let id = claims::enqueue(&mut wire, r#"mail SEND {"to":"bob"} DELAY 3600000 PRIORITY 9"#);
    let enqueued = told.next();
    assert_eq!((enqueued["priority"].as_u64(), enqueued["unique"].as_str()), (Some(9), None));
    assert_eq!(enqueued["due"], wire.run(&format!("BEAR.JOB mail {id}")).map()["due"].int());
    assert_eq!(wire.run(&format!("BEAR.CANCEL mail {id} stop")).text(), "failed");
    let failed = format!(r#"{{"event":"failed","space":"mail","id":"{id}","job":"SEND","message":"stop"}}"#);
    assert_eq!(told.timeless(), failed);
    // What is removed was never done: of that nothing is told.
    let id = claims::enqueue(&mut wire, r#"mail SEND {"to":"cyd"}"#);
    told.next();
    assert_eq!(wire.run(&format!("BEAR.REMOVE mail {id}")).int(), 1);
    // A retry after some time tells when.
    claims::enqueue(&mut wire, r#"mail SEND {"to":"dan"}"#);
    let job = claims::claim_one(&mut wire, "mail");
    assert_eq!(told.names(2), ["enqueued", "claimed"]);
    assert_eq!(claims::tell(&mut wire, "FAIL", &job, "why BACKOFF 60000").text(), "delayed");
    let retried = told.next();
    let due = wire.run(&format!("BEAR.JOB mail {}", job.id)).map()["due"].int();
    assert!((retried["due"].as_i64().expect("a time") - due).abs() <= 100, "{retried} {due}");
    told.assert_no_more();
}

#[test]
fn claimers_who_wait_and_several_at_once_are_told_one_by_one() {
    let redis = Redis::builder().catalog(CATALOG).start();
    let (mut wire, mut told) = mail(&redis);
    let mut waiter = redis.wire();
    waiter.begin("BEAR.CLAIM mail BLOCK 0 WORKER w");
    redis.wait_blocked(1);
    claims::enqueue(&mut wire, r#"mail SEND {"to":"ann"}"#);
    let [job] = &claims::claimed(&waiter.receive())[..] else { panic!("one job") };
    told.next();
    assert_eq!(told.timeless(), head("claimed", job, "w") + r#","lease_ms":30000}"#);
    claims::ack(&mut wire, job);
    told.next();
    let ids: Vec<String> =
        (0..60).map(|number| claims::enqueue(&mut wire, &format!(r#"mail SEND {{"to":"{number}"}}"#))).collect();
    let held = claims::claim(&mut wire, "mail COUNT 60");
    let pairs: Vec<String> = held.iter().map(|job| format!("{} {}", job.id, job.token)).collect();
    assert_eq!(wire.run(&format!("BEAR.ACK mail {}", pairs.join(" "))).list()[0].int(), 60);
    for event in ["enqueued", "claimed", "completed"] {
        for id in &ids {
            let next = told.next();
            assert_eq!((next["event"].as_str(), next["id"].as_str()), (Some(event), Some(&id[..])), "{next}");
        }
    }
    told.assert_no_more();
}

#[test]
fn sql_jobs_are_told_as_they_are_enqueued_tried_and_settled() {
    let (_database, redis) = start();
    let mut wire = redis.wire();
    let mut told = Listener::new(redis.wire(), "SUBSCRIBE bear:events:bear");
    let of =
        |event: &str, id: &str, job: &str| format!(r#"{{"event":"{event}","space":"bear","id":"{id}","job":"{job}""#);
    let id = enqueue(&mut wire, r#"bear NAME {"id":5,"name":"Kodiak"} UNIQUE k"#);
    wait_settled(&mut wire, "bear");
    assert_eq!(told.timeless(), of("enqueued", &id, "NAME") + r#","unique":"k"}"#);
    assert_eq!(told.timeless(), of("completed", &id, "NAME") + r#","attempt":1,"rows":1,"result":{"was":5}}"#);
    let id = enqueue(&mut wire, r#"bear SIZE {"id":5,"size":-1} ATTEMPTS 2 BACKOFF 1"#);
    wait_settled(&mut wire, "bear");
    assert_eq!(told.timeless(), of("enqueued", &id, "SIZE") + "}");
    let retried = told.next();
    assert_eq!(retried["event"], "retried");
    assert_eq!(
        (&retried["id"], &retried["attempt"], &retried["sqlstate"]),
        (&id.as_str().into(), &1.into(), &"23514".into())
    );
    assert!(retried["message"].as_str().is_some_and(|text| text.contains("check")), "{retried}");
    assert!(retried["due"].is_u64());
    let failed = told.next();
    assert_eq!(
        (&failed["event"], &failed["attempt"], &failed["sqlstate"]),
        (&"failed".into(), &2.into(), &"23514".into())
    );
    assert!(wire.run("CONFIG SET bear.drain no").is_ok());
    let id = enqueue(&mut wire, r#"bear NAME {"id":5,"name":"Kodiak"} DELAY 3600000"#);
    assert!(told.next()["due"].is_u64());
    assert_eq!(wire.run(&format!("BEAR.CANCEL bear {id} stop")).text(), "failed");
    assert_eq!(told.timeless(), of("failed", &id, "NAME") + r#","message":"stop"}"#);
    let again = wire.run(&format!("BEAR.RETRY bear {id}")).list()[0].text();
    assert_eq!(told.timeless(), of("enqueued", &again, "NAME") + "}");
    told.assert_no_more();
}

#[test]
fn what_a_transaction_or_a_script_does_is_told_in_its_order() {
    let redis = Redis::builder().catalog(CATALOG).start();
    let (mut wire, mut told) = mail(&redis);
    wire.run("MULTI");
    wire.run(r#"BEAR.ENQUEUE mail SEND {"to":"ann"}"#);
    wire.run("PUBLISH bear:events:mail {}");
    wire.run("BEAR.CLAIM mail");
    told.assert_no_more();
    wire.run("EXEC");
    let script = "redis.call('BEAR.ENQUEUE', 'mail', 'SEND', '{\"to\":\"bob\"}'); return redis.error_reply('ERR no')";
    assert!(wire.call(&["EVAL", script, "0"]).is_error());
    assert_eq!(told.next()["event"], "enqueued");
    assert_eq!(told.next_message().text, "{}");
    assert_eq!(told.names(2), ["claimed", "enqueued"]);
    // Nothing came of it.
    wire.run("MULTI");
    wire.run(r#"BEAR.ENQUEUE mail SEND {"to":"ann"}"#);
    wire.run("DISCARD");
    told.assert_no_more();
}
