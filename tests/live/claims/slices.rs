//! A space is read from its keys in slices: what happens between two of them is part of it.

use std::collections::BTreeSet;

use crate::support::claims::{ack, claim, claim_one, claimed, enqueue, tell};
use crate::support::{eventually, Redis, Reply, Wire};

const CATALOG: &str = r#"
[work]
[work.job.A]
data = { n = "int" }
claim = { lease = "60s" }
[work.limit]
rate = "100000/s"
"#;

/// Slices end at once.
fn start() -> Redis {
    Redis::builder().catalog(CATALOG).append_only().env("BEAR_SHORT_SLICES", "1").start()
}

fn enqueue_in_multi(wire: &mut Wire, count: usize) -> Vec<String> {
    assert!(wire.run("MULTI").is_ok());
    (0..count).for_each(|n| drop(wire.run(&format!(r#"BEAR.ENQUEUE work A {{"n":{n}}} DELAY {}"#, n % 2))));
    wire.run("EXEC").list().iter().map(Reply::text).collect()
}

#[track_caller]
fn claim_all(wire: &mut Wire, ids: &[String]) {
    let mut jobs = Vec::new();
    eventually("all are handed out", || {
        jobs.extend(claim(wire, "work COUNT 100"));
        jobs.len() >= ids.len()
    });
    let got: BTreeSet<&String> = jobs.iter().map(|job| &job.id).collect();
    assert_eq!((got, jobs.len()), (ids.iter().collect(), ids.len()));
    jobs.iter().for_each(|job| ack(wire, job));
    assert_eq!(wire.run("XLEN work:queue:work"), Reply::Int(0));
}

#[test]
fn the_first_jobs_of_a_space_are_handed_out() {
    let redis = start();
    let mut waiter = redis.wire();
    waiter.begin("BEAR.CLAIM work BLOCK 0");
    redis.wait_blocked(1);
    let mut wire = redis.wire();
    let mut ids = enqueue_in_multi(&mut wire, 6);
    let first = claimed(&waiter.receive()).remove(0);
    ids.retain(|id| *id != first.id);
    ack(&mut wire, &first);
    claim_all(&mut wire, &ids);
}

#[test]
fn jobs_that_come_while_a_space_is_read_are_handed_out() {
    let mut redis = start();
    let mut ids = enqueue_in_multi(&mut redis.wire(), 200);
    for round in 0..20 {
        redis.restart();
        let mut wire = redis.wire();
        ids.extend(enqueue_in_multi(&mut wire, 2));
        ids.push(enqueue(&mut wire, &format!(r#"work A {{"n":{round}}}"#)));
    }
    claim_all(&mut redis.wire(), &ids);
}

/// Totals are written a little later; that jobs were given back must be known all the same.
#[test]
fn a_job_that_was_given_back_before_a_crash_leaves_no_log() {
    let mut redis = Redis::builder().catalog(CATALOG).append_only().config("appendfsync", "always").start();
    let mut wire = redis.wire();
    (0..2).for_each(|n| drop(enqueue(&mut wire, &format!(r#"work A {{"n":{n}}}"#))));
    let (done, job) = (claim_one(&mut wire, "work"), claim_one(&mut wire, "work"));
    ack(&mut wire, &done);
    assert_eq!(tell(&mut wire, "LOG", &job, "begun"), Reply::Int(1));
    assert_eq!(tell(&mut wire, "RELEASE", &job, "").text(), "waiting");
    redis.kill9();
    redis.start_again();
    let mut wire = redis.wire();
    let job = claim_one(&mut wire, "work BLOCK 5000");
    ack(&mut wire, &job);
    assert_eq!(wire.run("BEAR.CLEAN work completed"), Reply::Int(2));
    assert_eq!(wire.run("KEYS *:log:*"), Reply::Array(Vec::new()));
}
