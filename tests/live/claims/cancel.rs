//! BEAR.CANCEL: a job that nobody holds fails at once; a worker is told, and its claim can only be acknowledged.

use super::hold::{claim, claim_one, failures, leftovers, queued, server, tell, unit_after};
use crate::support::jobs::{self, enqueue};
use crate::support::{bears, Redis, Reply};

#[test]
fn a_job_that_nobody_holds_fails_with_the_message() {
    let mut redis = server();
    let replica = Redis::builder().catalog(super::hold::CATALOG).replica_of(&redis).start();
    let mut wire = redis.wire();
    let mut waiter = redis.wire();
    waiter.begin(r#"BEAR.ENQUEUE mail SEND {"to":"a"} BLOCK 0 UNIQUE k"#);
    redis.wait_blocked(1);
    let id = queued(&mut wire, "mail").remove(0);
    let delayed = enqueue(&mut wire, "any X 1 DELAY 3600000");
    let seen = redis.aof().len();
    assert_eq!(wire.run(&format!("BEAR.CANCEL mail {id} unwanted")).text(), "failed");
    let unit = unit_after(&redis, seen);
    let names: Vec<String> = unit.iter().map(crate::support::Command::name).collect();
    assert!(names.contains(&"XADD".into()) && names.contains(&"XDEL".into()), "{unit:?}");
    let told = waiter.receive().map();
    assert_eq!((told["state"].text(), told["error"].map()["message"].text()), ("failed".into(), "unwanted".into()));
    assert_eq!(wire.run(&format!("BEAR.CANCEL any {delayed}")).text(), "failed");
    assert_eq!(failures(&mut wire, "any:queue:work:failed")[0].1["error"]["message"], "cancelled by BEAR.CANCEL");
    assert_eq!(leftovers(&redis, "any"), [""; 0]);
    for space in ["mail", "any"] {
        assert_eq!(claim(&mut wire, space, 9).len(), 0, "{space}");
    }
    let again = wire.run(&format!("BEAR.CANCEL mail {id}"));
    assert!(again.error().starts_with("ERR ") && again.error().contains(&id), "{again:?}");
    replica.wait_in_sync(&redis);
    let expected = failures(&mut wire, "mail:queue:work:failed");
    assert_eq!((expected.len(), &expected[0].0, &expected[0].1["error"]["message"]), (1, &id, &"unwanted".into()));
    assert_eq!(failures(&mut replica.wire(), "mail:queue:work:failed"), expected);
    redis.restart();
    let mut wire = redis.wire();
    assert_eq!(failures(&mut wire, "mail:queue:work:failed"), expected);
    assert_eq!(claim(&mut wire, "mail", 9).len(), 0);
}

#[test]
fn a_worker_is_told_and_may_still_acknowledge() {
    let mut redis = server();
    let mut wire = redis.wire();
    for number in 0..4 {
        enqueue(&mut wire, &format!("any X {number}"));
    }
    let held = claim(&mut wire, "any", 4);
    let mut listener = redis.wire();
    listener.run("SUBSCRIBE bear:events:any");
    let seen = redis.aof().len();
    assert_eq!(wire.run(&format!("BEAR.CANCEL any {} first", held[0].id)).text(), "active");
    let unit = unit_after(&redis, seen);
    assert!(unit.len() == 1 && unit[0].text(1) == "any:queue:work:claims", "{unit:?}");
    assert_eq!(wire.call(&["BEAR.CANCEL", "any", &held[0].id, "not \"wanted\""]).text(), "active");
    let told = wire.run(&format!("BEAR.JOB any {}", held[0].id)).map();
    assert_eq!((told["state"].text(), told["cancelled"].text()), ("active".into(), "not \"wanted\"".into()));
    for message in ["first", "not \\\"wanted\\\""] {
        let expected = format!(
            r#""id":"{}","job":"X","token":{},"worker":"w","attempt":1,"message":"{message}","at":"#,
            held[0].id, held[0].token
        );
        let told = listener.receive().list()[2].text();
        assert!(told.starts_with(&format!(r#"{{"event":"cancelled","space":"any",{expected}"#)), "{told}");
    }
    for job in &held[1..] {
        assert_eq!(wire.run(&format!("BEAR.CANCEL any {} unwanted", job.id)).text(), "active");
    }
    redis.restart();
    let mut wire = redis.wire();
    let told = tell(&mut wire, "BEAR.EXTEND", "any", &held[0], &["LEASE", "60000"]);
    assert_eq!(told.error(), "CANCELLED not \"wanted\"");
    assert_eq!(tell(&mut wire, "BEAR.ACK", "any", &held[0], &[]).int(), 1);
    assert_eq!(tell(&mut wire, "BEAR.FAIL", "any", &held[1], &["why"]).text(), "failed");
    assert_eq!(tell(&mut wire, "BEAR.RELEASE", "any", &held[2], &[]).text(), "failed");
    let failed: Vec<(String, String)> = failures(&mut wire, "any:queue:work:failed")
        .into_iter()
        .map(|(id, record)| (id, record["error"]["message"].as_str().expect("a text").to_owned()))
        .collect();
    // A worker may have words of its own for it.
    assert_eq!(failed, [(held[1].id.clone(), "why".to_owned()), (held[2].id.clone(), "unwanted".to_owned())]);
    assert_eq!(queued(&mut wire, "any"), [held[3].id.as_str()]);
    assert_eq!(wire.run("XLEN any:queue:work:completed").int(), 1);
}

#[test]
fn a_cancelled_job_whose_lease_ends_is_failed() {
    let redis = server();
    let mut wire = redis.wire();
    enqueue(&mut wire, "any X 1");
    let reply = wire.run("BEAR.CLAIM any LEASE 1000");
    let id = reply.list()[0].map()["id"].text();
    assert_eq!(wire.run(&format!("BEAR.CANCEL any {id} unwanted")).text(), "active");
    crate::support::eventually("the job has failed", || failures(&mut wire, "any:queue:work:failed").len() == 1);
    let record = failures(&mut wire, "any:queue:work:failed").remove(0).1;
    let message = record["error"]["message"].as_str().expect("a text");
    assert!(message.starts_with("unwanted; the lease of worker "), "{message}");
    assert_eq!(queued(&mut wire, "any"), [""; 0]);
}

#[test]
fn an_sql_job_is_cancelled_unless_it_is_applied() {
    let database = bears::database();
    let mut redis = Redis::builder().postgres(&database).catalog(super::hold::CATALOG).append_only().start();
    let mut wire = redis.wire();
    let delayed = enqueue(&mut wire, r#"bear NAME {"id":5,"name":"x"} DELAY 3600000 UNIQUE k"#);
    // By then the batch has come back that has left it out.
    jobs::complete(&mut wire, r#"bear NAME {"id":7,"name":"x"}"#);
    jobs::set_drain(&mut wire, "no");
    let mut waiter = redis.wire();
    waiter.begin(r#"BEAR.ENQUEUE bear NAME {"id":6,"name":"x"} BLOCK 0"#);
    redis.wait_blocked(1);
    let waiting = wire.run("XREVRANGE bear:queue + - COUNT 1").list()[0].list()[0].text();
    assert_eq!(wire.run(&format!("BEAR.CANCEL bear {delayed} no")).text(), "failed");
    assert_eq!(wire.run(&format!("BEAR.CANCEL bear {waiting} never")).text(), "failed");
    assert_eq!(jobs::error_of(&waiter.receive().map()), ("never".into(), None));
    let check = |wire: &mut crate::support::Wire| {
        let failed = failures(wire, "bear:queue:failed");
        let messages: Vec<&str> = failed.iter().filter_map(|(_, record)| record["error"]["message"].as_str()).collect();
        assert_eq!((&failed[0].0, &*messages), (&delayed, &["no", "never"][..]));
        assert_eq!(wire.run("XLEN bear:queue").int(), 0);
        assert_eq!(jobs::stat(wire, "bear", "failed"), 2);
    };
    check(&mut wire);
    redis.restart();
    let mut wire = redis.wire();
    check(&mut wire);
    let new = jobs::id_of(&wire.run(&format!("BEAR.RETRY bear {waiting}")).list()[0]);
    jobs::wait_state(&mut wire, "bear", &new, "completed");
    let name: String = database.client().query_one("SELECT name FROM bear WHERE id = 5", &[]).expect("5").get(0);
    assert_eq!(name, "Yogi", "it was not applied");
}

#[test]
fn in_multi_and_scripts_it_is_the_same() {
    let redis = server();
    let mut wire = redis.wire();
    let id = enqueue(&mut wire, "any X 1");
    let other = enqueue(&mut wire, "any X 2");
    assert!(wire.run("MULTI").is_ok());
    wire.run(&format!("BEAR.CANCEL any {id}"));
    assert_eq!(wire.run("EXEC").list()[0].text(), "failed");
    claim_one(&mut wire, "any");
    let script = "return redis.call('BEAR.CANCEL', 'any', ARGV[1], 'm')";
    assert_eq!(wire.call(&["EVAL", script, "0", &other]).text(), "active");
    for wrong in ["1-1", "x"] {
        assert!(
            matches!(wire.run(&format!("BEAR.CANCEL any {wrong}")), Reply::Error(text) if text.starts_with("ERR "))
        );
    }
}
