//! TRACEPARENT: the trace of whoever enqueues travels with the job, to the worker and to Postgres.

use crate::support::claims;
use crate::support::jobs::{self, error_of, set_drain};
use crate::support::{bears, eventually, Redis};

const CATALOG: &str = r#"
[bear]
id = "int"
tables = { bear = "id" }
[bear.job.NAME]
data = { id = "int", note = "text?" }
sql = "UPDATE bear SET name = current_setting('application_name') FROM {jobs} job WHERE bear.id = job.id RETURNING job.n, bear.id"
[bear.job.FAIL]
data = { id = "int" }
sql = "SELECT job.n, job.id, 'no' AS error FROM {jobs} job"
[bear.job.MAIL]
data = { to = "text" }
claim = {}
"#;

const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const OTHER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";

fn name_of(database: &crate::support::Database, id: i64) -> String {
    database.client().query_one("SELECT name FROM bear WHERE id = $1", &[&id]).expect("a row").get(0)
}

#[test]
fn postgres_shows_the_trace_of_a_batch_while_it_is_applied() {
    let database = bears::database();
    let redis = Redis::builder().postgres(&database).catalog(CATALOG).config("bear.feed", "off").start();
    let mut wire = redis.wire();
    jobs::complete(&mut wire, &format!(r#"bear NAME {{"id":1}} TRACEPARENT {TRACE}"#));
    assert_eq!(name_of(&database, 1), format!("bear {TRACE}"));
    jobs::complete(&mut wire, r#"bear NAME {"id":2}"#);
    assert!(!name_of(&database, 2).contains(TRACE), "it ends with the transaction");
    // Of several the first; and those without one are in company.
    set_drain(&mut wire, "no");
    jobs::enqueue(&mut wire, r#"bear NAME {"id":3}"#);
    jobs::enqueue(&mut wire, &format!(r#"bear NAME {{"id":4}} TRACEPARENT {OTHER}"#));
    let last = jobs::enqueue(&mut wire, &format!(r#"bear NAME {{"id":5}} TRACEPARENT {TRACE}"#));
    let job = jobs::find(&mut wire, "bear", &last).expect("it is queued");
    assert_eq!(job["traceparent"].text(), TRACE);
    set_drain(&mut wire, "yes");
    jobs::wait_settled(&mut wire, "bear");
    for id in [3, 4, 5] {
        assert_eq!(name_of(&database, id), format!("bear {OTHER}"), "{id}");
    }
}

#[test]
fn a_large_payload_and_a_retry_keep_it() {
    let database = bears::database();
    let redis = Redis::builder().postgres(&database).catalog(CATALOG).config("bear.feed", "off").start();
    let mut wire = redis.wire();
    let large = format!(r#"{{"id":1,"note":"{}"}}"#, "x".repeat(100_000));
    let reply = wire.call(&["BEAR.ENQUEUE", "bear", "NAME", &large, "TRACEPARENT", TRACE, "BLOCK", "0"]);
    assert_eq!(reply.map()["state"].text(), "completed", "{reply:?}");
    assert_eq!(name_of(&database, 1), format!("bear {TRACE}"));
    let failed = jobs::settle(&mut wire, &format!(r#"bear FAIL {{"id":1}} ATTEMPTS 1 TRACEPARENT {TRACE}"#));
    assert_eq!(error_of(&failed).0, "no");
    set_drain(&mut wire, "no");
    let again = wire.run(&format!("BEAR.RETRY bear {}", failed["id"].text()));
    let again = again.list()[0].text();
    let job = jobs::find(&mut wire, "bear", &again).expect("it is queued again");
    assert_eq!(job["traceparent"].text(), TRACE);
}

#[test]
fn a_worker_is_told_it_also_after_a_restart_and_at_each_attempt() {
    let mut redis = Redis::builder().catalog(CATALOG).append_only().start();
    let mut wire = redis.wire();
    let id = claims::enqueue(&mut wire, &format!(r#"bear MAIL {{"to":"a"}} TRACEPARENT {TRACE}"#));
    claims::enqueue(&mut wire, r#"bear MAIL {"to":"b"}"#);
    let first = wire.run("BEAR.CLAIM bear COUNT 2").list().iter().map(|job| job.map()).collect::<Vec<_>>();
    assert_eq!(first[0]["traceparent"].text(), TRACE);
    assert!(!first[1].contains_key("traceparent"), "nobody gave one");
    let held = claims::Claimed {
        id: id.clone(),
        job: "MAIL".into(),
        data: String::new(),
        attempt: 1,
        token: first[0]["token"].int() as u64,
        space: "bear".into(),
    };
    assert_eq!(claims::tell(&mut wire, "FAIL", &held, "broken BACKOFF 0").text(), "waiting");
    drop(wire);
    redis.restart();
    let mut wire = redis.wire();
    let job = jobs::find(&mut wire, "bear", &id).expect("it is queued");
    assert_eq!(job["traceparent"].text(), TRACE);
    let second = wire.run("BEAR.CLAIM bear").list()[0].map();
    assert_eq!((second["attempt"].int(), second["traceparent"].text()), (2, TRACE.to_owned()));
    // A client that waits gets it as well.
    let mut waiting = redis.wire();
    waiting.begin("BEAR.CLAIM bear BLOCK 0");
    redis.wait_blocked(1);
    claims::enqueue(&mut wire, &format!(r#"bear MAIL {{"to":"c"}} TRACEPARENT {OTHER} PRIORITY 9"#));
    assert_eq!(waiting.receive().list()[0].map()["traceparent"].text(), OTHER);
    // And a job that failed for good keeps it for its next life.
    let held = claims::Claimed { token: second["token"].int() as u64, ..held };
    assert_eq!(claims::tell(&mut wire, "FAIL", &held, "broken FINAL").text(), "failed");
    let again = wire.run(&format!("BEAR.RETRY bear {id}")).list()[0].text();
    eventually("it is there", || jobs::find(&mut wire, "bear", &again).is_some());
    assert_eq!(jobs::find(&mut wire, "bear", &again).expect("as before")["traceparent"].text(), TRACE);
}

#[test]
fn what_is_no_traceparent_is_refused() {
    let redis = Redis::builder().catalog(CATALOG).start();
    let mut wire = redis.wire();
    for wrong in ["", "00", &TRACE.to_uppercase(), &format!("{TRACE}-x"), "00'; DROP TABLE bear; --"] {
        let reply = wire.call(&["BEAR.ENQUEUE", "bear", "MAIL", r#"{"to":"a"}"#, "TRACEPARENT", wrong]);
        assert!(
            reply.error().starts_with("ERR TRACEPARENT must be a traceparent of the W3C's Trace Context, such as 00-"),
            "{reply:?}"
        );
    }
    assert_eq!(wire.run("EXISTS bear:queue:work").int(), 0);
}

#[test]
fn what_another_hand_wrote_as_one_never_reaches_postgres() {
    let database = bears::database();
    let redis = Redis::builder().postgres(&database).catalog(CATALOG).config("bear.feed", "off").start();
    let mut wire = redis.wire();
    set_drain(&mut wire, "no");
    let id = jobs::enqueue(&mut wire, r#"bear NAME {"id":1}"#);
    let entries = wire.run("XRANGE bear:queue - +");
    let epoch =
        entries.list()[0].list()[1].list().chunks(2).find(|pair| pair[0].text() == "epoch").expect("one")[1].text();
    let forged = "x'; DROP TABLE bear; --";
    let words = ["XADD", "bear:queue", "*", "v", "1", "epoch", &epoch, "job", "NAME", "data", r#"{"id":2}"#];
    assert!(!wire.call(&[&words[..], &["traceparent", forged]].concat()).is_error());
    set_drain(&mut wire, "yes");
    jobs::wait_state(&mut wire, "bear", &id, "completed");
    eventually("the forged one is applied", || name_of(&database, 2).starts_with("bear"));
    assert!(!name_of(&database, 2).contains("DROP"));
}
