//! What the append-only file and replicas see of each step is one unit; and what a server does with claims that becomes a master, or is
//! one no more.

use std::time::Duration;

use crate::support::claims::{ack, claim, claim_one, claimed, enqueue, tell};
use crate::support::{eventually, stays, Redis, Reply, Unit, Wire};

const CATALOG: &str = r#"
[work]
[work.job.A]
data = { n = "int" }
claim = { lease = "60s", attempts = 5, backoff = "1ms" }
[work.limit]
rate = "1000000/s"
[lane.job.STEP]
data = { n = "int" }
claim = { lease = "60s" }
order = ["n"]
"#;

fn start() -> Redis {
    Redis::builder().catalog(CATALOG).append_only().config("appendfsync", "always").start()
}

fn pair() -> (Redis, Redis) {
    let master = start();
    let replica = start();
    assert!(replica.run(&format!("REPLICAOF 127.0.0.1 {}", master.port())).is_ok());
    replica.wait_in_sync(&master);
    (master, replica)
}

/// `XADD work, HDEL claims`: the commands of each unit and the last part of their keys; but for totals, which are written a few
/// times a second, in whatever unit there is then.
fn shape(units: &[Unit]) -> Vec<String> {
    let of = |unit: &Unit| {
        let keys = unit.iter().map(|command| (command, command.text(1)));
        let commands = keys
            .filter(|(_, key)| !key.ends_with(":totals"))
            .map(|(command, key)| format!("{} {}", command.name(), key.rsplit(':').next().unwrap_or_default()));
        commands.collect::<Vec<_>>().join(", ")
    };
    units.iter().map(of).filter(|unit| !unit.is_empty()).collect()
}

#[test]
fn each_step_is_one_unit() {
    let redis = start();
    let mut wire = redis.wire();
    enqueue(&mut wire, r#"work A {"n":0}"#);
    let first = claim_one(&mut wire, "work");
    ack(&mut wire, &first);
    let mut stream = redis.replication_stream();
    let from = redis.aof().len();
    let mut expected: Vec<&str> = Vec::new();
    let mut saw = |wire: &mut Wire, what: &str, shapes: &[&'static str]| {
        expected.extend(shapes);
        let mut all = Vec::new();
        // What happens by time comes a little later.
        eventually(what, || {
            all.extend(shape(&stream.units()));
            all.len() >= shapes.len()
        });
        assert_eq!(all, shapes, "{what}");
        assert_eq!(wire.run("PING"), Reply::Simple("PONG".into()));
    };
    enqueue(&mut wire, r#"work A {"n":1}"#);
    saw(&mut wire, "a job is enqueued", &["XADD work"]);
    let job = claim_one(&mut wire, "work");
    saw(&mut wire, "it is claimed", &["XADD started, HSET claims"]);
    tell(&mut wire, "EXTEND", &job, "");
    saw(&mut wire, "its lease runs anew", &[]);
    tell(&mut wire, "EXTEND", &job, "LEASE 50000 PROGRESS 5");
    saw(&mut wire, "it has another lease", &["HSET claims, HSET progress"]);
    tell(&mut wire, "RELEASE", &job, "");
    saw(&mut wire, "it is given back", &["HDEL claims"]);
    let job = claim_one(&mut wire, "work");
    tell(&mut wire, "FAIL", &job, "oops BACKOFF 1");
    saw(
        &mut wire,
        "it fails, and falls due",
        &["XADD started, HSET claims", "HSET attempts, HDEL claims, ZADD delayed", "ZREM delayed"],
    );
    let job = claim_one(&mut wire, "work LEASE 1000");
    saw(&mut wire, "its lease ends", &["XADD started, HSET claims", "HSET attempts, HDEL claims"]);
    assert!(tell(&mut wire, "ACK", &job, "").error().starts_with("LOST "));
    saw(&mut wire, "a word that does not count", &[]);
    let mut waiter = redis.wire();
    let job = claim_one(&mut wire, "work");
    waiter.begin("BEAR.CLAIM work BLOCK 0");
    redis.wait_blocked(1);
    tell(&mut wire, "ACK", &job, r#"RESULT {"a":1}"#);
    saw(
        &mut wire,
        "it is acknowledged",
        &["XADD started, HSET claims", "XADD completed, XDEL work, HDEL claims, HDEL attempts, HDEL progress"],
    );
    enqueue(&mut wire, r#"work A {"n":2}"#);
    let job = claimed(&waiter.receive()).remove(0);
    saw(&mut wire, "one that waits has the next", &["XADD work", "XADD started, HSET claims"]);
    tell(&mut wire, "FAIL", &job, "oops FINAL");
    saw(&mut wire, "it fails for good", &["XADD failed, XDEL work, HDEL claims"]);
    (0..3).for_each(|n| drop(enqueue(&mut wire, &format!(r#"work A {{"n":{n}}}"#))));
    let jobs = claim(&mut wire, "work COUNT 3");
    saw(
        &mut wire,
        "three are claimed",
        &["XADD work", "XADD work", "XADD work", "XADD started, XADD started, XADD started, HSET claims"],
    );
    let pairs: Vec<String> = jobs.iter().map(|job| format!("{} {}", job.id, job.token)).collect();
    assert_eq!(wire.run(&format!("BEAR.ACK work {} 1-1 5", pairs.join(" "))).list()[0], Reply::Int(3));
    saw(&mut wire, "and acknowledged", &["XADD completed, XDEL work, HDEL claims"]);
    assert_eq!(shape(&redis.aof()[from..]), expected, "the append-only file");
}

#[test]
fn a_promoted_replica_knows_who_holds_what() {
    let (mut master, replica) = pair();
    let mut wire = master.wire();
    (0..3).for_each(|n| drop(enqueue(&mut wire, &format!(r#"work A {{"n":{n}}}"#))));
    (0..2).for_each(|_| drop(enqueue(&mut wire, r#"lane STEP {"n":7}"#)));
    let jobs = claim(&mut wire, "work COUNT 2");
    let step = claim_one(&mut wire, "lane");
    assert_eq!(replica.run("BEAR.CLAIM work").error().split(' ').next(), Some("READONLY"));
    replica.wait_in_sync(&master);
    master.kill9();
    assert!(replica.run("REPLICAOF NO ONE").is_ok());
    let mut wire = replica.wire();
    assert_eq!(claim(&mut wire, "lane COUNT 9"), [], "the order is kept");
    let next = claim(&mut wire, "work COUNT 9");
    assert_eq!(next.len(), 1);
    assert!(next[0].token > jobs[1].token, "{next:?} after {jobs:?}");
    ack(&mut wire, &jobs[0]);
    ack(&mut wire, &step);
    assert!(claim_one(&mut wire, "lane").token > step.token);
    assert_eq!(tell(&mut wire, "RELEASE", &jobs[1], "").text(), "waiting");
    let again = claim_one(&mut wire, "work");
    assert_eq!((again.id.as_str(), again.attempt), (jobs[1].id.as_str(), 1));
    assert!(again.token > next[0].token);
    assert!(tell(&mut wire, "ACK", &jobs[1], "").error().starts_with("LOST "));
}

#[test]
fn a_master_that_is_one_no_more_lets_its_claimers_go() {
    let (master, replica) = pair();
    let mut waiters: Vec<Wire> = (0..3).map(|_| master.wire()).collect();
    for (at, waiter) in waiters.iter_mut().enumerate() {
        waiter.begin("BEAR.CLAIM work BLOCK 0");
        master.wait_blocked(at as i64 + 1);
    }
    enqueue(&mut master.wire(), r#"lane STEP {"n":1}"#);
    let held = claim_one(&mut master.wire(), "lane");
    replica.wait_in_sync(&master);
    assert!(replica.run("REPLICAOF NO ONE").is_ok());
    assert!(master.run(&format!("REPLICAOF 127.0.0.1 {}", replica.port())).is_ok());
    for waiter in &mut waiters {
        assert_eq!(waiter.receive().error().split(' ').next(), Some("UNBLOCKED"));
    }
    // Redis closes their connections.
    assert_eq!(master.run("BEAR.CLAIM work BLOCK 1").error().split(' ').next(), Some("READONLY"));
    master.wait_blocked(0);
    // A claim of one is ended by the other.
    let job = enqueue(&mut replica.wire(), r#"work A {"n":1}"#);
    let on_replica = claim_one(&mut replica.wire(), "work");
    ack(&mut replica.wire(), &held);
    master.wait_in_sync(&replica);
    // And back.
    assert!(master.run("REPLICAOF NO ONE").is_ok());
    assert!(replica.run(&format!("REPLICAOF 127.0.0.1 {}", master.port())).is_ok());
    let mut wire = master.wire();
    assert!(tell(&mut wire, "ACK", &held, "").error().contains("completed"));
    assert_eq!(tell(&mut wire, "RELEASE", &on_replica, "").text(), "waiting");
    let again = claim_one(&mut wire, "work BLOCK 1000");
    assert_eq!(again.id, job);
    assert!(again.token > on_replica.token);
    ack(&mut wire, &again);
    replica.wait_in_sync(&master);
    assert_eq!(master.run("DEBUG DIGEST"), replica.run("DEBUG DIGEST"));
}

#[test]
fn a_replica_ends_no_lease_and_lets_nothing_fall_due() {
    let (mut master, replica) = pair();
    let mut wire = master.wire();
    enqueue(&mut wire, r#"work A {"n":1}"#);
    enqueue(&mut wire, r#"work A {"n":2} DELAY 3000"#);
    claim_one(&mut wire, "work LEASE 3000");
    replica.wait_in_sync(&master);
    master.kill9();
    stays("it leaves the keys alone", Duration::from_millis(3300), || {
        replica.run("HLEN work:queue:work:claims") == Reply::Int(1)
            && replica.run("ZCARD work:queue:work:delayed") == Reply::Int(1)
    });
    assert!(replica.run("REPLICAOF NO ONE").is_ok());
    let mut wire = replica.wire();
    assert_eq!(claim_one(&mut wire, "work BLOCK 5000").data, r#"{"n":2}"#, "it is due");
    assert_eq!(claim_one(&mut wire, "work BLOCK 5000").attempt, 2, "and the lease ends three seconds later");
}
