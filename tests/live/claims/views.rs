//! BEAR.JOB of jobs that workers claim: one shape in every state, told alike by a master, its replica, and after a restart.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::support::jobs::{enqueue, id_of};
use crate::support::{eventually, Redis, Reply, Wire};

/// Two attempts, and the second at once.
const CATALOG: &str = r#"
[mail.job.SEND]
data = { to = "text" }
claim = { attempts = 2, backoff = ["1h", "2h"], keep = 10 }
"#;

type Map = BTreeMap<String, Reply>;

#[track_caller]
fn claim(wire: &mut Wire, words: &str) -> Map {
    let reply = wire.run(&format!("BEAR.CLAIM {words}"));
    assert_eq!(reply.list().len(), 1, "{words}: {reply:?}");
    reply.list()[0].map()
}

#[track_caller]
fn job(wire: &mut Wire, id: &str) -> Map {
    wire.run(&format!("BEAR.JOB mail {id}")).map()
}

/// What is said of a job, in the words of RESP2, without what its master alone knows.
fn timeless(mut job: Map) -> Map {
    job.remove("lease_ends");
    job.into_iter().map(|(name, value)| (name, flat(value))).collect()
}

/// Maps as RESP2 has them.
fn flat(reply: Reply) -> Reply {
    match reply {
        Reply::Map(pairs) => Reply::Array(pairs.into_iter().flat_map(|(name, value)| [name, flat(value)]).collect()),
        Reply::Array(items) => Reply::Array(items.into_iter().map(flat).collect()),
        other => other,
    }
}

#[test]
fn a_job_is_told_in_every_state() {
    let redis = Redis::builder().catalog(CATALOG).append_only().start();
    let replica = Redis::builder().catalog(CATALOG).replica_of(&redis).start();
    let mut wire = redis.wire();
    let waiting = enqueue(&mut wire, r#"mail SEND {"to":"w"} PRIORITY 1 UNIQUE w ATTEMPTS 7 BACKOFF 5"#);
    let failing = enqueue(&mut wire, r#"mail SEND {"to":"f"} PRIORITY 10"#);
    let delayed = enqueue(&mut wire, r#"mail SEND {"to":"d"} DELAY 600000"#);
    let done = enqueue(&mut wire, r#"mail SEND {"to":"c"} PRIORITY 9"#);
    let active = enqueue(&mut wire, r#"mail SEND {"to":"a"} PRIORITY 8"#);
    let claimed = claim(&mut wire, "mail WORKER one");
    assert_eq!(claimed["id"].text(), failing);
    let token = claimed["token"].int();
    assert_eq!(wire.run(&format!("BEAR.FAIL mail {failing} {token} first BACKOFF 0 STACK at-1")).text(), "waiting");
    let tried = job(&mut wire, &failing);
    assert_eq!((tried["state"].text(), tried["attempts"].int()), ("waiting".into(), 1));
    assert_eq!((tried["error"].map()["message"].text(), tried["stack"].text()), ("first".into(), "at-1".into()));
    let token = claim(&mut wire, "mail WORKER two")["token"].int();
    assert_eq!(wire.run(&format!("BEAR.FAIL mail {failing} {token} second")).text(), "failed");
    let token = claim(&mut wire, "mail WORKER one")["token"].int();
    let progress = format!("BEAR.EXTEND mail {done} {token} PROGRESS 50");
    assert_eq!(wire.run(&progress).int(), 30_000);
    assert_eq!(wire.run(&format!("BEAR.ACK mail {done} {token} RESULT [1]")).int(), 1);
    let held = claim(&mut wire, "mail WORKER three LEASE 60000");

    let ids = [&waiting, &failing, &delayed, &done, &active];
    let all = |wire: &mut Wire| -> Vec<Map> { ids.iter().map(|id| job(wire, id)).collect() };
    let told = all(&mut wire);
    let states: Vec<String> = told.iter().map(|job| job["state"].text()).collect();
    assert_eq!(states, ["waiting", "failed", "delayed", "completed", "active"]);
    for of in &told {
        let names: Vec<&str> = of.keys().map(String::as_str).collect();
        assert_eq!(names.len(), 24, "{names:?}");
        assert!(of["rows"].is_nil() && of["job"].text() == "SEND", "{of:?}");
    }
    let of = &told[0];
    assert_eq!((of["priority"].int(), of["max_attempts"].int(), of["backoff"].int()), (1, 7, 5));
    assert_eq!((of["unique"].text(), of["log"].int(), of["errors"].list().len()), ("w".into(), 0, 0));
    assert!(of["worker"].is_nil() && of["token"].is_nil() && of["started"].is_nil() && of["lease_ends"].is_nil());

    let of = &told[1];
    assert_eq!((of["worker"].text(), of["attempts"].int(), of["max_attempts"].int()), ("two".into(), 2, 2));
    let backoff: Vec<i64> = of["backoff"].list().iter().map(Reply::int).collect();
    assert_eq!(backoff, [3_600_000, 7_200_000]);
    assert_eq!(of["error"].map()["message"].text(), "second");
    assert!(of["stack"].is_nil() && of["error"].map()["sqlstate"].is_nil());
    let errors: Vec<Map> = of["errors"].list().iter().map(Reply::map).collect();
    let short = |error: &Map| (error["attempt"].int(), error["message"].text(), error["worker"].text());
    assert_eq!(short(&errors[0]), (1, "first".into(), "one".into()));
    assert_eq!((short(&errors[1]), errors.len()), ((2, "second".into(), "two".into()), 2));
    assert_eq!((errors[0]["stack"].text(), errors[1]["at"].int()), ("at-1".into(), of["finished"].int()));

    assert!(told[2]["due"].int() > told[2]["enqueued"].int());
    let of = &told[3];
    assert_eq!(
        (of["result"].text(), of["progress"].text(), of["worker"].text()),
        ("[1]".into(), "50".into(), "one".into())
    );
    assert_eq!((of["token"].int(), of["attempts"].int()), (token, 1));
    assert!(of["error"].is_nil() && of["started"].int() <= of["finished"].int());
    let of = &told[4];
    assert_eq!((of["worker"].text(), of["token"].int()), ("three".into(), held["token"].int()));
    let (started, ends) = (of["started"].int(), of["lease_ends"].int());
    assert!((started + 1_000..=started + 62_000).contains(&ends), "{started} {ends}");

    assert_eq!(all(&mut redis.resp3_wire()).into_iter().map(timeless).collect::<Vec<_>>(), {
        told.iter().cloned().map(timeless).collect::<Vec<_>>()
    });
    assert_eq!(timeless(wire.run("BEAR.JOB mail UNIQUE w").map()), timeless(told[0].clone()));
    assert!(wire.run("BEAR.JOB mail UNIQUE x").is_nil() && wire.run("BEAR.JOB mail 1-1").is_nil());

    replica.wait_in_sync(&redis);
    let of_replica = all(&mut replica.wire());
    assert!(of_replica.iter().all(|job| job["lease_ends"].is_nil()), "only the master knows");
    let told: Vec<Map> = told.into_iter().map(timeless).collect();
    assert_eq!(of_replica.into_iter().map(timeless).collect::<Vec<_>>(), told);
    assert!(replica.run("BEAR.JOB mail 1-1").is_nil());
    drop(replica);

    let mut redis = redis;
    redis.restart();
    let mut wire = redis.wire();
    assert_eq!(all(&mut wire).into_iter().map(timeless).collect::<Vec<_>>(), told);
    assert!(job(&mut wire, &active)["lease_ends"].int() > ends - 62_000, "a whole lease again");
    assert!(wire.run("MULTI").is_ok());
    wire.run(&format!("BEAR.JOB mail {failing}"));
    let replies = wire.run("EXEC");
    assert_eq!(timeless(replies.list()[0].map()), told[1]);
}

#[test]
fn who_waits_for_a_job_is_told_what_the_record_says() {
    let redis = Redis::builder().catalog(CATALOG).start();
    let (mut wire, mut first, mut second) = (redis.wire(), redis.wire(), redis.resp3_wire());
    first.begin(r#"BEAR.ENQUEUE mail SEND {"to":"a"} PRIORITY 10 BLOCK 0"#);
    redis.wait_blocked(1);
    second.begin(r#"BEAR.ENQUEUE mail SEND {"to":"b"} UNIQUE b BLOCK 0"#);
    redis.wait_blocked(2);
    for (end, blocked) in [("ACK", &mut first), ("FAIL", &mut second)] {
        let claimed = claim(&mut wire, "mail WORKER w");
        let (id, token) = (claimed["id"].text(), claimed["token"].int());
        let words = if end == "ACK" { "RESULT {\"ok\":true}" } else { "no-such-host FINAL STACK at-5" };
        wire.run(&format!("BEAR.{end} mail {id} {token} {words}"));
        blocked.set_patience(Duration::from_secs(10));
        assert_eq!(timeless(blocked.receive().map()), timeless(job(&mut wire, &id)), "{end}: told at once");
    }
    let again = wire.run(r#"BEAR.ENQUEUE mail SEND {"to":"b"} UNIQUE b BLOCK 0"#).map();
    assert_eq!((again["state"].text(), again["stack"].text()), ("failed".into(), "at-5".into()));
}

#[test]
fn a_record_is_found_among_many_on_a_replica() {
    let catalog = CATALOG.replace("keep = 10", "keep = 2000");
    let redis = Redis::builder().catalog(&catalog).start();
    let replica = Redis::builder().catalog(&catalog).replica_of(&redis).start();
    let mut wire = redis.wire();
    let ids: Vec<String> = (0..300).map(|n| enqueue(&mut wire, &format!(r#"mail SEND {{"to":"{n}"}}"#))).collect();
    loop {
        let claimed = wire.run("BEAR.CLAIM mail COUNT 7 WORKER w");
        let pairs: Vec<String> = (claimed.list().iter().map(Reply::map))
            .map(|job| format!("{} {}", job["id"].text(), job["token"].int()))
            .collect();
        if pairs.is_empty() {
            break;
        }
        assert!(!wire.run(&format!("BEAR.ACK mail {}", pairs.join(" "))).is_error());
    }
    replica.wait_in_sync(&redis);
    let mut other = replica.wire();
    for id in [&ids[0], &ids[150], &ids[299]] {
        assert_eq!(job(&mut other, id), job(&mut wire, id));
    }
}

#[test]
fn a_wrong_key_is_told_where_nothing_is_found() {
    let redis = Redis::builder().catalog(CATALOG).start();
    let mut wire = redis.wire();
    let id = id_of(&wire.run(r#"BEAR.ENQUEUE mail SEND {"to":"a"}"#));
    wire.run("SET mail:queue:work:failed x");
    assert_eq!(job(&mut wire, &id)["state"].text(), "waiting");
    eventually("the key is seen", || wire.run("BEAR.JOB mail 1-1").is_error());
    assert!(wire.run("BEAR.JOB mail 1-1").error().starts_with("WRONGTYPE "));
    assert!(wire.run("BEAR.JOBS mail waiting").error().starts_with("WRONGTYPE "));
}
