//! BEAR.RETRY and BEAR.REMOVE of jobs that workers claim.

use std::collections::BTreeMap;

use crate::support::bears;
use crate::support::jobs::{enqueue, wait_settled};
use crate::support::{Redis, Reply, Wire};

const CATALOG: &str = r#"
[mail.job.SEND]
data = { to = "text" }
claim = { attempts = 3 }
"#;

fn job(wire: &mut Wire, id: &str) -> BTreeMap<String, Reply> {
    wire.run(&format!("BEAR.JOB mail {id}")).map()
}

/// Claims the first job and has it fail.
#[track_caller]
fn fail(wire: &mut Wire, space: &str) -> String {
    let claimed = wire.run(&format!("BEAR.CLAIM {space} WORKER w")).list()[0].map();
    let id = claimed["id"].text();
    assert_eq!(wire.run(&format!("BEAR.FAIL {space} {id} {} no FINAL", claimed["token"].int())).text(), "failed");
    id
}

#[track_caller]
fn ids(reply: &Reply) -> Vec<String> {
    reply.list().iter().map(Reply::text).collect()
}

#[test]
fn failed_jobs_are_enqueued_again_as_they_were() {
    let mut redis = Redis::builder().catalog(CATALOG).append_only().start();
    let mut wire = redis.wire();
    let first = enqueue(&mut wire, r#"mail SEND {"to":"a"} PRIORITY 9 ATTEMPTS 4 BACKOFF 70 UNIQUE a"#);
    enqueue(&mut wire, r#"mail SEND {"to":"b"} PRIORITY 8"#);
    enqueue(&mut wire, r#"mail SEND {"to":"c"} PRIORITY 7"#);
    let failed: Vec<String> = (0..3).map(|_| fail(&mut wire, "mail")).collect();
    assert_eq!(failed[0], first);
    let unknown = wire.run(&format!("BEAR.RETRY mail {first} 1-1"));
    assert_eq!(unknown.error(), "ERR no failed job 1-1 is known (BEAR.JOBS mail failed); nothing is retried");
    let again = ids(&wire.run(&format!("BEAR.RETRY mail {first}")));
    let told = job(&mut wire, &again[0]);
    assert_eq!((told["state"].text(), told["attempts"].int(), told["priority"].int()), ("waiting".into(), 0, 9));
    assert_eq!((told["max_attempts"].int(), told["backoff"].int(), told["unique"].text()), (4, 70, "a".into()));
    assert!(wire.run(&format!("BEAR.JOB mail {first}")).is_nil(), "its record is gone");
    assert_eq!(wire.run("BEAR.JOB mail UNIQUE a").map()["id"].text(), again[0]);
    redis.restart();
    let mut wire = redis.wire();
    let all = ids(&wire.run("BEAR.RETRY mail ALL"));
    assert_eq!(all.len(), 2);
    assert!(wire.run("BEAR.JOBS mail failed").list().is_empty());
    let claimed = wire.run("BEAR.CLAIM mail COUNT 10");
    let order: Vec<String> = claimed.list().iter().map(|job| job.map()["id"].text()).collect();
    assert_eq!(order, [again, all].concat(), "by their priorities");
    assert!(ids(&wire.run("BEAR.RETRY mail ALL")).is_empty());
}

#[test]
fn a_held_unique_key_keeps_a_job_failed() {
    let redis = Redis::builder().catalog(CATALOG).config("bear.unique-ms", "1").start();
    let mut wire = redis.wire();
    let first = enqueue(&mut wire, r#"mail SEND {"to":"a"} UNIQUE k"#);
    fail(&mut wire, "mail");
    crate::support::eventually("the key is free", || {
        !wire.run(r#"BEAR.ENQUEUE mail SEND {"to":"b"} UNIQUE k"#).is_error()
    });
    assert!(wire.run(&format!("BEAR.RETRY mail {first}")).error().starts_with("DUPLICATE "));
    assert!(ids(&wire.run("BEAR.RETRY mail ALL")).is_empty());
    assert_eq!(job(&mut wire, &first)["state"].text(), "failed");
}

#[test]
fn in_multi_too() {
    let redis = Redis::builder().catalog(CATALOG).start();
    let mut wire = redis.wire();
    enqueue(&mut wire, r#"mail SEND {"to":"a"}"#);
    let first = fail(&mut wire, "mail");
    let waiting = enqueue(&mut wire, r#"mail SEND {"to":"b"}"#);
    assert!(wire.run("MULTI").is_ok());
    wire.run(&format!("BEAR.RETRY mail {first}"));
    wire.run(&format!("BEAR.REMOVE mail {waiting}"));
    wire.run("BEAR.STATS mail");
    let replies = wire.run("EXEC");
    assert_eq!((replies.list()[0].list().len(), replies.list()[1].int()), (1, 1));
    assert_eq!(replies.list()[2].map()["waiting"].int(), 1);
}

#[test]
fn jobs_that_nobody_holds_are_removed() {
    let redis = Redis::builder().catalog(CATALOG).append_only().start();
    let mut wire = redis.wire();
    let waiting = enqueue(&mut wire, r#"mail SEND {"to":"w"} PRIORITY 1 UNIQUE w"#);
    let delayed = enqueue(&mut wire, r#"mail SEND {"to":"d"} DELAY 600000"#);
    let others: Vec<String> = (0..4).map(|n| enqueue(&mut wire, &format!(r#"mail SEND {{"to":"{n}"}}"#))).collect();
    let failed = fail(&mut wire, "mail");
    let claimed = wire.run("BEAR.CLAIM mail COUNT 3 WORKER w");
    let pairs: Vec<String> =
        claimed.list().iter().map(|job| format!("{} {}", job.map()["id"].text(), job.map()["token"].int())).collect();
    let refused = wire.run(&format!("BEAR.REMOVE mail {}", others[1]));
    assert_eq!(
        refused.error(),
        format!("ERR job {0} is active: 'w' holds it; BEAR.CANCEL mail {0} tells it to end", others[1])
    );
    wire.run(&format!("BEAR.ACK mail {}", pairs.join(" ")));
    let mut blocked = redis.wire();
    blocked.begin(r#"BEAR.ENQUEUE mail SEND {"to":"w"} UNIQUE w BLOCK 0"#);
    redis.wait_blocked(1);
    for id in [&waiting, &delayed, &failed, &others[2]] {
        assert_eq!(wire.run(&format!("BEAR.REMOVE mail {id}")).int(), 1, "{id}");
        assert_eq!(wire.run(&format!("BEAR.REMOVE mail {id}")).int(), 0, "{id}");
        assert!(wire.run(&format!("BEAR.JOB mail {id}")).is_nil(), "{id}");
    }
    assert_eq!(blocked.receive().error(), format!("ERR job {waiting} was removed"));
    assert!(wire.run("BEAR.JOB mail UNIQUE w").is_nil());
    let completed = wire.run("BEAR.JOBS mail completed");
    let left: Vec<String> = completed.list().iter().map(|job| job.map()["id"].text()).collect();
    assert_eq!(left, [others[1].clone(), others[3].clone()], "those that were written with it stay");
    assert!(wire.run("BEAR.CLAIM mail COUNT 10").list().is_empty());
    let keys = redis.keys();
    for gone in ["work", "work:delayed", "work:claims", "work:attempts", "unique", "unique:jobs"] {
        let key = format!("mail:queue:{gone}");
        let is_there = keys.contains(&key) && (gone != "work" || wire.run(&format!("XLEN {key}")).int() > 0);
        assert!(!is_there, "{key} in {keys:?}");
    }
}

#[test]
fn a_job_follows_the_definition_of_today() {
    let database = bears::database();
    let sql = include_str!("../../../catalogs/bear.toml").to_owned();
    let redis = Redis::builder().postgres(&database).catalog(sql.clone()).start();
    let mut wire = redis.wire();
    let bad = enqueue(&mut wire, r#"bear DELETE_BEAR {"id":404} ATTEMPTS 1"#);
    wait_settled(&mut wire, "bear");
    let start = sql.find("[bear.job.DELETE_BEAR]").expect("the job");
    let end = sql[start + 5..].find("\n[").map_or(sql.len(), |end| start + 5 + end);
    let claimed = format!(
        "{}[bear.job.DELETE_BEAR]\ndata = {{ id = \"int\" }}\nclaim = {{ priority = 7 }}\n{}",
        &sql[..start],
        &sql[end..]
    );
    std::fs::write(redis.catalog_path(), &claimed).unwrap();
    assert!(wire.run("BEAR.RELOAD").is_ok());
    let again = ids(&wire.run(&format!("BEAR.RETRY bear {bad}"))).remove(0);
    let told = wire.run(&format!("BEAR.JOB bear {again}")).map();
    assert_eq!((told["state"].text(), told["priority"].int(), told["max_attempts"].int()), ("waiting".into(), 7, 1));
    assert_eq!(fail(&mut wire, "bear"), again);
    std::fs::write(redis.catalog_path(), &sql).unwrap();
    assert!(wire.run("BEAR.RELOAD").is_ok());
    let applied = ids(&wire.run("BEAR.RETRY bear ALL"));
    wait_settled(&mut wire, "bear");
    let told = wire.run(&format!("BEAR.JOB bear {}", applied[0])).map();
    assert_eq!((told["state"].text(), told["priority"].is_nil()), ("failed".into(), true));
    assert!(wire.run("BEAR.JOBS bear failed").list().len() == 1);
}
