//! Records that a catalog keeps for so long go when that is over, also where no other job settles.

use crate::support::claims::{ack, claim_one, enqueue, tell};
use crate::support::{eventually, Redis, Wire};

const CATALOG: &str = r#"
[mail]
open = true
tenant = "text"
claim = { keep = "1s", keep_failed = "1s" }
[any]
open = true
[sms.job.SEND]
data = { to = "text" }
claim = { keep = "1h" }
"#;

fn settle(wire: &mut Wire, space: &str, job: &str) {
    for _ in 0..2 {
        enqueue(wire, &format!(r#"{space} {job} {{"to":"a"}}"#));
    }
    let done = claim_one(wire, space);
    assert_eq!(tell(wire, "LOG", &done, "sent").int(), 1);
    ack(wire, &done);
    let failed = claim_one(wire, space);
    assert_eq!(tell(wire, "FAIL", &failed, "no FINAL").text(), "failed");
}

fn records(wire: &mut Wire, space: &str) -> (i64, i64, i64) {
    let stats = wire.run(&format!("BEAR.STATS {space}")).map();
    let logs = wire.run(&format!("KEYS {space}:queue:work:log:*")).list().len() as i64;
    (stats["completed_kept"].int(), stats["failed_kept"].int(), logs)
}

#[test]
fn records_go_when_their_time_is_over() {
    let mut redis = Redis::builder().catalog(CATALOG).append_only().start();
    let mut wire = redis.wire();
    for space in ["{a}:mail", "{b}:mail", "sms"] {
        settle(&mut wire, space, "SEND");
    }
    for space in ["{a}:mail", "{b}:mail"] {
        eventually("its records have grown too old", || records(&mut wire, space) == (0, 0, 0));
        assert_eq!(wire.run(&format!("XLEN {space}:queue:work:completed")).int(), 0);
        assert_eq!(wire.run(&format!("XLEN {space}:queue:work:failed")).int(), 0);
    }
    assert_eq!(records(&mut wire, "sms"), (1, 1, 1), "an hour is not over");
    // Those that an earlier process left, too, of a space that nobody asks for.
    settle(&mut wire, "{a}:mail", "CALL");
    redis.restart();
    let mut wire = redis.wire();
    eventually("they are found again, and go", || {
        wire.run("XLEN {a}:mail:queue:work:completed").int() == 0
            && wire.run("XLEN {a}:mail:queue:work:failed").int() == 0
    });
}

#[test]
fn names_without_number_leave_no_records_without_number() {
    let redis = Redis::builder().catalog(CATALOG).start();
    let mut wire = redis.wire();
    assert!(wire.run("CONFIG SET bear.completed-max-bytes 1000").is_ok());
    let text = "x".repeat(15_000);
    for at in 0..150 {
        enqueue(&mut wire, &format!(r#"any N{at} "{text}""#));
        let job = claim_one(&mut wire, "any");
        match at % 2 {
            0 => ack(&mut wire, &job),
            _ => assert_eq!(tell(&mut wire, "FAIL", &job, "no FINAL").text(), "failed"),
        }
    }
    let kept = records(&mut wire, "any");
    assert!((60..70).contains(&kept.0) && (60..70).contains(&kept.1), "{kept:?}");
    assert_eq!(wire.run("XLEN any:queue:work:completed").int(), kept.0);
    assert_eq!(wire.run("XLEN any:queue:work:failed").int(), kept.1);
}
