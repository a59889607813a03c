//! BEAR.UPDATE: another payload for a job that nobody holds, and what follows from it.

use super::hold::{claim, claim_one, leftovers, lines, server, tell, unit_after};
use crate::support::jobs::enqueue;
use crate::support::Redis;

#[test]
fn a_worker_gets_the_new_payload_also_after_a_restart() {
    let mut redis = server();
    let replica = Redis::builder().catalog(super::hold::CATALOG).replica_of(&redis).start();
    let mut wire = redis.wire();
    let waiting = enqueue(&mut wire, r#"mail SEND {"to":"a"}"#);
    let delayed = enqueue(&mut wire, r#"mail SEND {"to":"b"} DELAY 3600000"#);
    let seen = redis.aof().len();
    assert!(wire.call(&["BEAR.UPDATE", "mail", &waiting, r#"{ "to" : "c", "subject": "s" }"#]).is_ok());
    let unit = unit_after(&redis, seen);
    assert!(unit.len() == 1 && lines(&unit, "mail:queue:work:data").count() == 1, "{unit:?}");
    assert!(wire.call(&["BEAR.UPDATE", "mail", &delayed, r#"{"to":"d"}"#]).is_ok());
    replica.wait_in_sync(&redis);
    assert_eq!(replica.run(&format!("HGET mail:queue:work:data {delayed}")).json()["to"], "d");
    redis.restart();
    let mut wire = redis.wire();
    let job = claim_one(&mut wire, "mail");
    assert_eq!((&*job.id, &*job.data), (&*waiting, r#"{"subject":"s","to":"c"}"#));
    assert_eq!(claim(&mut wire, "mail", 1).len(), 0, "it is delayed as before");
    let refused = wire.call(&["BEAR.UPDATE", "mail", &waiting, r#"{"to":"x"}"#]);
    assert!(refused.error().starts_with(&format!("ERR job {waiting} is active")), "{refused:?}");
    assert_eq!(tell(&mut wire, "BEAR.FAIL", "mail", &job, &["no", "FINAL"]).text(), "failed");
    let failed = super::hold::failures(&mut wire, "mail:queue:work:failed");
    assert_eq!(failed[0].1["data"]["to"], "c", "the record has what the worker had");
    assert_eq!(wire.run(&format!("BEAR.PROMOTE mail {delayed}")).int(), 1);
    let job = claim_one(&mut wire, "mail");
    assert_eq!(job.data, r#"{"to":"d"}"#);
    assert_eq!(tell(&mut wire, "BEAR.ACK", "mail", &job, &[]).int(), 1);
    assert_eq!(leftovers(&redis, "mail"), [""; 0]);
}

#[test]
fn order_and_limits_follow_the_payload() {
    let mut redis = server();
    let mut wire = redis.wire();
    let ids: Vec<String> = (0..3).map(|_| enqueue(&mut wire, r#"mail SEND {"to":"a"}"#)).collect();
    assert_eq!(claim(&mut wire, "mail", 9).len(), 1, "they share a value of their order");
    assert!(wire.call(&["BEAR.UPDATE", "mail", &ids[2], r#"{"to":"b"}"#]).is_ok());
    let [job] = claim(&mut wire, "mail", 9).try_into().expect("the one with another value");
    assert_eq!(job.id, ids[2]);
    // And back: behind the one that is held.
    assert_eq!(tell(&mut wire, "BEAR.RELEASE", "mail", &job, &[]).text(), "waiting");
    assert!(wire.call(&["BEAR.UPDATE", "mail", &ids[2], r#"{"to":"a"}"#]).is_ok());
    assert_eq!(claim(&mut wire, "mail", 9).len(), 0);
    redis.restart();
    let mut wire = redis.wire();
    assert_eq!(claim(&mut wire, "mail", 9).len(), 0);
    assert!(wire.run("BEAR.LIMITQUEUE any BY to CONCURRENCY 1").is_ok());
    let one = enqueue(&mut wire, r#"any X {"to":"a"}"#);
    let other = enqueue(&mut wire, r#"any X {"to":"a"}"#);
    assert_eq!(claim_one(&mut wire, "any").id, one);
    assert_eq!(claim(&mut wire, "any", 1).len(), 0);
    let mut waiting = redis.wire();
    waiting.begin("BEAR.CLAIM any BLOCK 0");
    redis.wait_blocked(1);
    assert!(wire.call(&["BEAR.UPDATE", "any", &other, r#"{"to":"b"}"#]).is_ok());
    assert_eq!(super::hold::received(&mut waiting).id, other);
}

#[test]
fn a_unique_key_goes_by_the_new_payload() {
    let redis = server();
    let mut wire = redis.wire();
    let id = enqueue(&mut wire, r#"mail SEND {"to":"a"} UNIQUE k"#);
    assert!(wire.call(&["BEAR.UPDATE", "mail", &id, r#"{"to":"b"}"#]).is_ok());
    assert_eq!(enqueue(&mut wire, r#"mail SEND {"to":"b"} UNIQUE k"#), id);
    let reply = wire.run(r#"BEAR.ENQUEUE mail SEND {"to":"a"} UNIQUE k"#);
    assert!(reply.error().starts_with(&format!("DUPLICATE {id} ")), "{reply:?}");
    assert_eq!(super::hold::queued(&mut wire, "mail"), [id]);
}

#[test]
fn what_is_wrong_changes_nothing() {
    let redis = server();
    let mut wire = redis.wire();
    assert!(wire.run("CONFIG SET bear.drain no").is_ok());
    let id = enqueue(&mut wire, r#"mail SEND {"to":"a"}"#);
    let sql = enqueue(&mut wire, r#"bear NAME {"id":5,"name":"x"}"#);
    let large = format!(r#"{{"to":"{}"}}"#, "x".repeat(2 << 20));
    for (space, id, data, expected) in [
        ("mail", &*id, r#"{"from":"a"}"#, "ERR "),
        ("mail", &*id, "{", "ERR "),
        ("mail", &*id, &*large, "TOOLARGE "),
        ("mail", "1-1", "{}", "ERR no queued job 1-1 is known"),
        ("mail", "x", "{}", "ERR a job's id is two numbers"),
        ("bear", &*sql, r#"{"id":5,"name":"y"}"#, "ERR job "),
    ] {
        let reply = wire.call(&["BEAR.UPDATE", space, id, data]);
        assert!(reply.error().starts_with(expected), "{space} {id}: {reply:?}");
    }
    assert!(wire.call(&["BEAR.UPDATE", "bear", &sql, "{}"]).error().contains("enqueue it anew"));
    assert_eq!(wire.run("EXISTS mail:queue:work:data").int(), 0);
    let bytes = format!("CONFIG SET bear.queue-max-bytes {}", 1 << 20);
    assert!(wire.run(&bytes).is_ok());
    let full = format!(r#"{{"to":"{}"}}"#, "x".repeat(1_000_000));
    let over = format!(r#"{{"to":"{}"}}"#, "x".repeat(1_048_560));
    assert!(wire.call(&["BEAR.UPDATE", "mail", &id, &full]).is_ok(), "a large one is checked aside");
    let reply = wire.call(&["BEAR.UPDATE", "mail", &id, &over]);
    assert!(reply.error().starts_with("FULL "), "{reply:?}");
    assert_eq!(claim_one(&mut wire, "mail").data, full);
    let reply = wire.call(&["BEAR.UPDATE", "mail", &id, &full]);
    assert!(reply.error().starts_with(&format!("ERR job {id} is active")), "{reply:?}");
}

#[test]
fn in_multi_and_scripts_it_is_checked_at_once() {
    let redis = server();
    let mut wire = redis.wire();
    let id = enqueue(&mut wire, r#"mail SEND {"to":"a"}"#);
    let large = format!(r#"{{"to":"{}"}}"#, "x".repeat(100_000));
    assert!(wire.run("MULTI").is_ok());
    wire.call(&["BEAR.UPDATE", "mail", &id, &large]);
    assert!(wire.run("EXEC").list()[0].is_ok());
    let script = "return redis.call('BEAR.UPDATE', 'mail', ARGV[1], ARGV[2])";
    assert!(wire.call(&["EVAL", script, "0", &id, r#"{"to":"b"}"#]).is_ok());
    assert_eq!(claim_one(&mut wire, "mail").data, r#"{"to":"b"}"#);
}
