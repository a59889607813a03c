//! BEAR.CLEAN: jobs in one state go, with all that names them, the oldest first.

use super::hold::{claim, claim_one, leftovers, queued, server, tell};
use crate::support::jobs::{self, enqueue};
use crate::support::{bears, Redis};

#[test]
fn waiting_and_delayed_jobs_go_with_all_that_names_them() {
    let mut redis = server();
    let replica = Redis::builder().catalog(super::hold::CATALOG).replica_of(&redis).start();
    let mut wire = redis.wire();
    let held = enqueue(&mut wire, "any X 0");
    claim_one(&mut wire, "any");
    let mut ids: Vec<String> = (0..3).map(|n| enqueue(&mut wire, &format!("any X {n} UNIQUE k{n}"))).collect();
    let late: Vec<String> = (0..3).map(|n| enqueue(&mut wire, &format!("any X {n} DELAY 3600000"))).collect();
    assert!(wire.call(&["BEAR.UPDATE", "any", &ids[0], "5"]).is_ok());
    let tried = claim_one(&mut wire, "any");
    assert_eq!(tell(&mut wire, "BEAR.EXTEND", "any", &tried, &["PROGRESS", "1"]).int(), 30_000);
    assert_eq!(tell(&mut wire, "BEAR.LOG", "any", &tried, &["x"]).int(), 1);
    assert_eq!(tell(&mut wire, "BEAR.FAIL", "any", &tried, &["no", "BACKOFF", "0"]).text(), "waiting");
    let mut waiter = redis.wire();
    waiter.begin("BEAR.ENQUEUE any X 9 BLOCK 0");
    redis.wait_blocked(1);
    ids.extend(queued(&mut wire, "any").last().cloned());
    assert_eq!(wire.run("BEAR.CLEAN any waiting OLDER 3600000").int(), 0);
    assert_eq!(wire.run("BEAR.CLEAN any waiting COUNT 1").int(), 1);
    assert!(!queued(&mut wire, "any").contains(&ids[0]) && queued(&mut wire, "any").contains(&ids[1]), "the oldest");
    let stands = |key: &str| redis.run(&format!("EXISTS any:queue:{key}")).int();
    assert_eq!(["work:data", "work:attempts", "work:progress"].map(stands), [0, 0, 0]);
    assert_eq!(wire.run("HKEYS any:queue:unique:jobs").sorted_texts(), ["k1", "k2"], "its key is free");
    assert_eq!(wire.run("BEAR.CLEAN any waiting").int(), 3);
    assert_eq!(waiter.receive().error(), format!("ERR job {} was removed", ids[3]));
    assert_eq!(stands("unique"), 0);
    let expected: Vec<&str> = [&held].into_iter().chain(&late).map(String::as_str).collect();
    assert_eq!(queued(&mut wire, "any"), expected, "neither claimed nor delayed ones");
    redis.restart();
    let mut wire = redis.wire();
    assert!(wire.run("MULTI").is_ok());
    wire.run("BEAR.CLEAN any delayed COUNT 2");
    let in_multi = wire.run("EXEC").list()[0].clone();
    assert_eq!(in_multi.int(), 2);
    assert_eq!(wire.run("EVAL return(redis.call('BEAR.CLEAN','any','delayed')) 0").int(), 1);
    assert_eq!(queued(&mut wire, "any"), [held]);
    assert_eq!(leftovers(&redis, "any"), ["any:queue:work:claims"]);
    replica.wait_in_sync(&redis);
    assert_eq!(leftovers(&replica, "any"), ["any:queue:work:claims"]);
}

#[test]
fn records_of_settled_jobs_go() {
    let mut redis = server();
    let mut wire = redis.wire();
    for number in 0..6 {
        enqueue(&mut wire, &format!("any X {number}"));
    }
    let some = claim(&mut wire, "any", 6);
    for job in &some[..3] {
        assert_eq!(tell(&mut wire, "BEAR.ACK", "any", job, &[]).int(), 1);
    }
    for job in &some[3..] {
        assert_eq!(tell(&mut wire, "BEAR.LOG", "any", job, &["x"]).int(), 1);
        assert_eq!(tell(&mut wire, "BEAR.FAIL", "any", job, &["no", "FINAL"]).text(), "failed");
    }
    assert_eq!(wire.run("BEAR.CLEAN any failed OLDER 60000").int(), 0);
    assert_eq!(wire.run("BEAR.CLEAN any failed COUNT 1").int(), 1);
    let left: Vec<String> =
        super::hold::failures(&mut wire, "any:queue:work:failed").into_iter().map(|(id, _)| id).collect();
    assert_eq!(left, [some[4].id.as_str(), &some[5].id]);
    redis.restart();
    let mut wire = redis.wire();
    assert_eq!(wire.run("BEAR.CLEAN any failed").int(), 2);
    assert_eq!(wire.run("BEAR.CLEAN any completed").int(), 3);
    assert_eq!(["completed", "failed"].map(|key| wire.run(&format!("XLEN any:queue:work:{key}")).int()), [0, 0]);
    assert_eq!(leftovers(&redis, "any"), [""; 0]);
}

#[test]
fn sql_jobs_go_as_well() {
    let database = bears::database();
    let mut redis = Redis::builder().postgres(&database).catalog(super::hold::CATALOG).append_only().start();
    let mut wire = redis.wire();
    jobs::complete(&mut wire, r#"bear NAME {"id":5,"name":"x"}"#);
    jobs::settle(&mut wire, r#"bear NAME {"id":99,"name":"x"} ATTEMPTS 1"#);
    jobs::set_drain(&mut wire, "no");
    for _ in 0..40 {
        enqueue(&mut wire, r#"bear NAME {"id":5,"name":"y"}"#);
    }
    let late = enqueue(&mut wire, r#"bear NAME {"id":5,"name":"y"} DELAY 3600000 UNIQUE k"#);
    let settled = wire.run("XLEN bear:queue:completed").int() + wire.run("XLEN bear:queue:failed").int();
    assert_eq!(settled, 2);
    assert_eq!(wire.run("BEAR.CLEAN bear waiting COUNT 30").int(), 30);
    assert_eq!(wire.run("BEAR.CLEAN bear waiting").int(), 10);
    assert_eq!(wire.run("XLEN bear:queue").int(), 1);
    let failed = wire.run("BEAR.CLEAN bear failed").int();
    assert_eq!(failed + wire.run("BEAR.CLEAN bear completed").int(), 2);
    for key in ["completed", "failed"] {
        assert_eq!(wire.run(&format!("XLEN bear:queue:{key}")).int(), 0, "{key}");
    }
    redis.restart();
    let mut wire = redis.wire();
    // By then the batch has come back that has left it out.
    jobs::complete(&mut wire, r#"bear NAME {"id":7,"name":"x"}"#);
    assert_eq!(jobs::state(&mut wire, "bear", &late), "delayed");
    assert_eq!(wire.run("BEAR.CLEAN bear delayed").int(), 1);
    assert_eq!(wire.run("XLEN bear:queue").int() + wire.run("EXISTS bear:queue:unique bear:queue:delayed").int(), 0);
}

#[test]
fn keys_of_others_are_left_alone() {
    let redis = server();
    let mut wire = redis.wire();
    assert!(wire.run("SET any:queue:work:completed mine").is_ok());
    let reply = wire.run("BEAR.CLEAN any completed");
    assert!(reply.error().starts_with("WRONGTYPE any:queue:work:completed "), "{reply:?}");
    assert_eq!(wire.run("GET any:queue:work:completed").text(), "mine");
}
