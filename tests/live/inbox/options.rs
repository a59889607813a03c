//! What BEAR.ENQUEUE can be told, bear.enqueue can: UNIQUE, a time, attempts, backoff, priority.

use crate::support::claims::{claim, claim_one, tell};
use crate::support::inbox::{database, effects, enqueue, enqueue_with, row_of, rows, server, wait_empty};
use crate::support::jobs::{find, ids_in, stat};
use crate::support::{eventually, Reply};

#[test]
fn a_job_is_given_all_that_its_row_says() {
    let database = database();
    let redis = server(&database);
    let (mut client, mut wire) = (database.client(), redis.wire());
    enqueue(&mut client, "mail", "SEND", 1);
    enqueue_with(&mut client, "mail", "SEND", r#"{"v": 2}"#, ", priority => 9, attempts => 7, backoff => '3 seconds'");
    enqueue_with(&mut client, "mail", "SEND", r#"{"v": 3}"#, ", delay => '1 hour', unique_key => 'k'");
    enqueue_with(&mut client, "mail", "SEND", r#"{"v": 4}"#, ", at => now() + '2 hours'");
    eventually("all are there", || stat(&mut wire, "mail", "inbox") == 4);
    let first = claim_one(&mut wire, "mail");
    assert_eq!(first.data, r#"{"v":2}"#, "by its priority");
    let job = find(&mut wire, "mail", &first.id).expect("a job");
    assert_eq!((job["max_attempts"].int(), job["backoff"].int()), (7, 3000));
    assert_eq!(claim(&mut wire, "mail COUNT 5").len(), 1);
    let delayed = ids_in(&mut wire, "mail", "delayed");
    let due: Vec<i64> = delayed.iter().map(|id| find(&mut wire, "mail", id).expect("a job")["due"].int()).collect();
    let now = wire.run("TIME").list()[0].text().parse::<i64>().expect("seconds") * 1000;
    assert!((due[0] - now - 3_600_000).abs() < 60_000 && (due[1] - now - 7_200_000).abs() < 60_000, "{due:?} at {now}");
    assert_eq!(wire.run(&format!("BEAR.PROMOTE mail {}", delayed[0])), Reply::Int(1));
    assert_eq!(claim_one(&mut wire, "mail").id, delayed[0]);
}

#[test]
fn an_sql_job_waits_for_its_time_and_has_its_attempts() {
    let database = database();
    let redis = server(&database);
    let (mut client, mut wire) = (database.client(), redis.wire());
    enqueue_with(&mut client, "note", "ADD", r#"{"v": 1}"#, ", delay => '1 hour', attempts => 4");
    enqueue(&mut client, "note", "ADD", 2);
    eventually("the other is applied", || effects(&mut client) == [2]);
    let id = ids_in(&mut wire, "note", "delayed").remove(0);
    assert_eq!(find(&mut wire, "note", &id).expect("a job")["max_attempts"].int(), 4);
    assert_eq!(wire.run(&format!("BEAR.PROMOTE note {id}")), Reply::Int(1));
    eventually("it is applied", || effects(&mut client) == [2, 1]);
    wait_empty(&mut client);
}

#[test]
fn a_unique_key_holds_over_both_ways_in() {
    let database = database();
    let redis = server(&database);
    let (mut client, mut wire) = (database.client(), redis.wire());
    let first = enqueue_with(&mut client, "mail", "SEND", r#"{"v": 1}"#, ", unique_key => 'k'");
    enqueue_with(&mut client, "mail", "SEND", r#"{ "v" : 1 }"#, ", unique_key => 'k'");
    enqueue_with(&mut client, "mail", "SEND", r#"{"v": 2}"#, ", unique_key => 'k'");
    eventually("two of three have gone", || {
        let failed = ids_in(&mut wire, "mail", "failed").len();
        rows(&mut client) == 2 && failed == 1
    });
    assert_eq!(ids_in(&mut wire, "mail", "waiting").iter().map(|id| row_of(id)).collect::<Vec<_>>(), [first]);
    let same = wire.run(r#"BEAR.ENQUEUE mail SEND {"v":1} UNIQUE k"#).text();
    assert_eq!(row_of(&same), first);
    let other = wire.run(r#"BEAR.ENQUEUE mail SEND {"v":5} UNIQUE k"#);
    assert!(other.error().starts_with("DUPLICATE "), "{other:?}");
    let failed: String = client
        .query_one("SELECT failed->>'message' FROM bear.inbox WHERE failed IS NOT NULL", &[])
        .expect("a row")
        .get(0);
    assert!(failed.contains("was enqueued with this UNIQUE key"), "{failed}");
    let job = claim_one(&mut wire, "mail");
    assert_eq!(tell(&mut wire, "ACK", &job, ""), Reply::Int(1));
    eventually("what has failed stays", || rows(&mut client) == 1);
}
