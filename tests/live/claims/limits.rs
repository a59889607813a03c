//! BEAR.LIMITQUEUE: limits are in force at once, over restarts, and until DEFAULT.

use super::hold::{claim, claim_one, received, server, tell, unit_after};
use crate::support::jobs::enqueue;
use crate::support::Wire;

fn set(wire: &mut Wire, line: &str) {
    let reply = wire.run(&format!("BEAR.LIMITQUEUE {line}"));
    assert!(reply.is_ok(), "{line}: {reply:?}");
}

#[test]
fn a_limit_of_the_space_is_in_force_at_once_and_after_a_restart() {
    let mut redis = server();
    let mut wire = redis.wire();
    for number in 0..6 {
        enqueue(&mut wire, &format!("any X {number}"));
    }
    let seen = redis.aof().len();
    set(&mut wire, "any CONCURRENCY 2 RATE 1000/d");
    let unit = unit_after(&redis, seen);
    assert!(unit.len() == 1 && unit[0].name() == "HSET" && unit[0].text(1) == "any:queue:work:limits", "{unit:?}");
    let held = claim(&mut wire, "any", 10);
    assert_eq!(held.len(), 2);
    redis.restart();
    let mut wire = redis.wire();
    assert_eq!(claim(&mut wire, "any", 10).len(), 0, "also after a restart");
    // A slot that is freed, and one that there is from now on, wake who waits.
    let mut waiting = redis.wire();
    waiting.begin("BEAR.CLAIM any BLOCK 0");
    redis.wait_blocked(1);
    assert_eq!(tell(&mut wire, "BEAR.ACK", "any", &held[0], &[]).int(), 1);
    received(&mut waiting);
    waiting.begin("BEAR.CLAIM any BLOCK 0");
    redis.wait_blocked(1);
    set(&mut wire, "any CONCURRENCY 3");
    received(&mut waiting);
    let fields = wire.run("HGETALL any:queue:work:limits").map();
    assert_eq!((fields["concurrency"].text(), fields["rate"].text()), ("3".into(), "1000/d".into()));
    set(&mut wire, "any CONCURRENCY 0");
    assert_eq!(claim(&mut wire, "any", 1).len(), 1, "no limit");
    set(&mut wire, "any RATE 1/d");
    assert_eq!(claim(&mut wire, "any", 1).len(), 0, "one has begun");
    set(&mut wire, "any DEFAULT");
    assert_eq!(wire.run("EXISTS any:queue:work:limits").int(), 0);
    assert_eq!(claim(&mut wire, "any", 10).len(), 1);
}

#[test]
fn a_limit_by_a_field_holds_for_jobs_that_stand_already() {
    let mut redis = server();
    let mut wire = redis.wire();
    for (to, number) in [("a", 1), ("a", 2), ("b", 3)] {
        enqueue(&mut wire, &format!(r#"any X {{"to":"{to}","n":{number}}}"#));
    }
    set(&mut wire, "any BY to CONCURRENCY 1");
    let held = claim(&mut wire, "any", 10);
    let data: Vec<&str> = held.iter().map(|job| &*job.data).collect();
    assert_eq!(data, [r#"{"to":"a","n":1}"#, r#"{"to":"b","n":3}"#]);
    redis.restart();
    let mut wire = redis.wire();
    assert_eq!(claim(&mut wire, "any", 10).len(), 0);
    let mut waiting = redis.wire();
    waiting.begin("BEAR.CLAIM any BLOCK 0");
    redis.wait_blocked(1);
    set(&mut wire, "any BY to CONCURRENCY 2");
    assert_eq!(received(&mut waiting).data, r#"{"to":"a","n":2}"#);
    let lost = tell(&mut wire, "BEAR.ACK", "any", &held[0], &[]);
    assert_eq!(lost.int(), 1, "claims stay what they are");
}

#[test]
fn what_is_no_limit_changes_nothing() {
    let redis = server();
    let mut wire = redis.wire();
    for (line, expected) in [
        ("mail BY from CONCURRENCY 1", "ERR BY: "),
        ("bear CONCURRENCY 1", "ERR section 'bear' has no jobs that workers claim"),
        ("none CONCURRENCY 1", "ERR "),
    ] {
        let reply = wire.run(&format!("BEAR.LIMITQUEUE {line}"));
        assert!(reply.error().starts_with(expected), "{line}: {reply:?}");
    }
    assert!(wire.run("BEAR.LIMITQUEUE mail BY from CONCURRENCY 1").error().contains("number, subject, to"));
    assert_eq!(redis.keys(), [""; 0]);
    assert!(wire.run("SET mail:queue:work:limits mine").is_ok());
    assert!(wire.run("BEAR.LIMITQUEUE mail CONCURRENCY 1").error().starts_with("WRONGTYPE "));
    assert_eq!(wire.run("GET mail:queue:work:limits").text(), "mine");
    wire.run("DEL mail:queue:work:limits");
    assert!(wire.run("MULTI").is_ok());
    wire.run("BEAR.LIMITQUEUE mail CONCURRENCY 1");
    wire.run(r#"BEAR.ENQUEUE mail SEND {"to":"a"}"#);
    wire.run(r#"BEAR.ENQUEUE mail SEND {"to":"b"}"#);
    assert!(wire.run("EXEC").list()[0].is_ok());
    claim_one(&mut wire, "mail");
    assert_eq!(claim(&mut wire, "mail", 1).len(), 0);
}
