//! BEAR.LOG and BEAR.LOGS: which lines are kept, by whom, and that they go with the job's record.

use super::hold::{claim_one, leftovers, server, tell, unit_after, Claimed};
use crate::support::jobs::enqueue;
use crate::support::{Redis, Wire};

#[track_caller]
fn lines(wire: &mut Wire, space: &str, id: &str, more: &str) -> Vec<(i64, String)> {
    let reply = wire.run(&format!("BEAR.LOGS {space} {id} {more}"));
    reply.list().iter().map(|line| (line.map()["n"].int(), line.map()["text"].text())).collect()
}

#[track_caller]
fn log(wire: &mut Wire, space: &str, job: &Claimed, text: &str) -> i64 {
    tell(wire, "BEAR.LOG", space, job, &[text]).int()
}

#[test]
fn lines_stay_with_the_job_over_attempts_settling_and_restart() {
    let mut redis = server();
    let replica = Redis::builder().catalog(super::hold::CATALOG).replica_of(&redis).start();
    replica.wait_in_sync(&redis);
    let mut wire = redis.wire();
    let id = enqueue(&mut wire, "any X 1");
    let job = claim_one(&mut wire, "any");
    let seen = redis.aof().len();
    assert_eq!(log(&mut wire, "any", &job, "one two"), 1);
    let unit = unit_after(&redis, seen);
    assert!(unit.len() == 1 && unit[0].name() == "RPUSH", "{unit:?}");
    assert_eq!(unit[0].text(1), format!("any:queue:work:log:{id}"));
    assert_eq!(tell(&mut wire, "BEAR.RELEASE", "any", &job, &[]).text(), "waiting");
    let refused = tell(&mut wire, "BEAR.LOG", "any", &job, &["late"]);
    assert!(refused.error().starts_with("LOST "), "{refused:?}");
    redis.restart();
    let mut wire = redis.wire();
    let job = claim_one(&mut wire, "any");
    assert_eq!(log(&mut wire, "any", &job, ""), 2, "the number goes on");
    let expected = [(1, "one two".to_owned()), (2, String::new())];
    assert_eq!(lines(&mut wire, "any", &id, ""), expected);
    assert_eq!(lines(&mut wire, "any", &id, "AFTER 1"), expected[1..]);
    assert_eq!(lines(&mut wire, "any", &id, "COUNT 1"), expected[..1]);
    assert_eq!(lines(&mut wire, "any", &id, "AFTER 2"), []);
    let line = redis.resp3_wire().run(&format!("BEAR.LOGS any {id} COUNT 1"));
    assert!(
        matches!(line.list()[0], crate::support::Reply::Map(_))
            && line.list()[0].map()["time"].int() > 1_700_000_000_000
    );
    assert_eq!(tell(&mut wire, "BEAR.ACK", "any", &job, &[]).int(), 1);
    assert_eq!(lines(&mut wire, "any", &id, ""), expected, "as long as the record");
    replica.wait_in_sync(&redis);
    assert_eq!(lines(&mut replica.wire(), "any", &id, ""), expected);
    assert_eq!(wire.run("BEAR.CLEAN any completed").int(), 1);
    assert_eq!((lines(&mut wire, "any", &id, ""), leftovers(&redis, "any")), (vec![], vec![]));
    replica.wait_in_sync(&redis);
    assert_eq!(lines(&mut replica.wire(), "any", &id, ""), []);
}

#[test]
fn the_newest_thousand_lines_within_64_kb_are_kept() {
    let mut redis = server();
    let mut wire = redis.wire();
    enqueue(&mut wire, "any X 1");
    let job = claim_one(&mut wire, "any");
    let key = format!("any:queue:work:log:{}", job.id);
    for number in 1..=1_010 {
        assert_eq!(log(&mut wire, "any", &job, "x"), number);
    }
    assert_eq!(wire.run(&format!("LLEN {key}")).int(), 1_000);
    assert_eq!(lines(&mut wire, "any", &job.id, "COUNT 1")[0].0, 11);
    assert_eq!(lines(&mut wire, "any", &job.id, "AFTER 1009"), [(1_010, "x".into())]);
    redis.restart();
    let mut wire = redis.wire();
    let long = "y".repeat(4096);
    for number in 1_011..=1_030 {
        assert_eq!(log(&mut wire, "any", &job, &long), number);
    }
    let kept = lines(&mut wire, "any", &job.id, "COUNT 1000");
    assert_eq!((kept.len(), kept.last().map(|line| line.0)), (15, Some(1_030)), "15 lines and their heads are 64 KB");
    let mut three = ["MULTI".to_owned(), format!("BEAR.LOG any {} {} multi", job.id, job.token), "EXEC".into()];
    let exec = three.iter_mut().map(|line| wire.run(line)).last().expect("EXEC");
    assert_eq!(exec.list()[0].int(), 1_031);
    let script = "return redis.call('BEAR.LOG', 'any', ARGV[1], ARGV[2], 'script')";
    assert_eq!(wire.call(&["EVAL", script, "0", &job.id, &job.token]).int(), 1_032);
}

#[test]
fn no_log_outlives_its_job() {
    let mut redis = server();
    let mut wire = redis.wire();
    // Kept: none.
    enqueue(&mut wire, r#"mail CALL {"number":1}"#);
    let job = claim_one(&mut wire, "mail");
    log(&mut wire, "mail", &job, "x");
    assert_eq!(tell(&mut wire, "BEAR.ACK", "mail", &job, &[]).int(), 1);
    assert_eq!(leftovers(&redis, "mail"), [""; 0]);
    enqueue(&mut wire, r#"mail CALL {"number":2}"#);
    let job = claim_one(&mut wire, "mail");
    log(&mut wire, "mail", &job, "x");
    assert_eq!(tell(&mut wire, "BEAR.FAIL", "mail", &job, &["no", "FINAL"]).text(), "failed");
    assert_eq!(leftovers(&redis, "mail"), [""; 0]);
    // Removed while it waits, after a restart.
    enqueue(&mut wire, "any X 1");
    let job = claim_one(&mut wire, "any");
    log(&mut wire, "any", &job, "x");
    assert_eq!(tell(&mut wire, "BEAR.RELEASE", "any", &job, &[]).text(), "waiting");
    redis.restart();
    let mut wire = redis.wire();
    assert_eq!(wire.run("BEAR.CLEAN any waiting").int(), 1);
    assert_eq!(leftovers(&redis, "any"), [""; 0]);
    // A record that goes after a restart.
    enqueue(&mut wire, "any X 1");
    let job = claim_one(&mut wire, "any");
    log(&mut wire, "any", &job, "x");
    assert_eq!(tell(&mut wire, "BEAR.FAIL", "any", &job, &["no", "FINAL"]).text(), "failed");
    redis.restart();
    let mut wire = redis.wire();
    assert_eq!(lines(&mut wire, "any", &job.id, "").len(), 1);
    assert_eq!(wire.run("BEAR.CLEAN any failed").int(), 1);
    assert_eq!(leftovers(&redis, "any"), [""; 0]);
}

#[test]
fn keys_of_others_are_left_alone() {
    let redis = server();
    let mut wire = redis.wire();
    enqueue(&mut wire, "any X 1");
    let job = claim_one(&mut wire, "any");
    let key = format!("any:queue:work:log:{}", job.id);
    assert!(wire.run(&format!("SET {key} mine")).is_ok());
    let reply = tell(&mut wire, "BEAR.LOG", "any", &job, &["x"]);
    assert!(reply.error().starts_with("WRONGTYPE ") && reply.error().contains(&key), "{reply:?}");
    assert!(wire.run(&format!("BEAR.LOGS any {}", job.id)).error().starts_with("WRONGTYPE "));
    assert_eq!(wire.run(&format!("GET {key}")).text(), "mine");
    wire.run(&format!("DEL {key}"));
    assert_eq!(wire.run(&format!("RPUSH {key} mine")).int(), 1);
    let reply = tell(&mut wire, "BEAR.LOG", "any", &job, &["x"]);
    assert!(reply.error().starts_with("FOREIGN "), "{reply:?}");
    assert_eq!(wire.run(&format!("LRANGE {key} 0 -1")).list()[0].text(), "mine");
    let reply = wire.run("BEAR.LOGS any x");
    assert!(reply.error().starts_with("ERR a job's id is two numbers"), "{reply:?}");
    assert_eq!(wire.run("BEAR.LOGS any 1-1").list(), []);
}
