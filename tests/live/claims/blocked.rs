//! Claimers that wait: first come, first served, each woken once and with a job; who has gone is passed over, and holds nothing.

use std::time::{Duration, Instant};

use crate::support::claims::{ack, claim, claim_one, claimed, enqueue, tell, Claimed};
use crate::support::{eventually, Redis, Reply, Wire};

const CATALOG: &str = r#"
[work]
[work.job.A]
data = { n = "int" }
claim = { lease = "1s", attempts = 9, backoff = "1ms" }
[work.job.B]
data = { n = "int" }
claim = { lease = "1s" }
[lane.job.STEP]
data = { n = "int" }
claim = { lease = "1s" }
order = ["n"]
[narrow.job.CALL]
data = { n = "int" }
claim = { lease = "30s" }
[narrow.limit]
concurrency = 1
[slow.job.CALL]
data = { n = "int" }
claim = { lease = "30s" }
[slow.limit]
rate = "1/s"
[mail]
open = true
tenant = "text"
claim = { lease = "30s" }
"#;

fn start() -> Redis {
    Redis::builder().catalog(CATALOG).start()
}

/// A client that waits.
fn waiter(redis: &Redis, words: &str, already: i64) -> Wire {
    let mut wire = redis.wire();
    wire.begin(&format!("BEAR.CLAIM {words}"));
    redis.wait_blocked(already + 1);
    wire
}

#[track_caller]
fn given(wire: &mut Wire) -> Claimed {
    let mut jobs = claimed(&wire.receive());
    assert_eq!(jobs.len(), 1, "{jobs:?}");
    jobs.remove(0)
}

#[test]
fn twenty_claimers_are_served_in_the_order_in_which_they_came() {
    let redis = start();
    let mut waiters: Vec<Wire> = (0..20).map(|at| waiter(&redis, "work BLOCK 0", at)).collect();
    let calls = |redis: &Redis| redis.info("commandstats").text("cmdstat_bear.claim").to_owned();
    let mut wire = redis.wire();
    for (at, waiter) in waiters.iter_mut().enumerate() {
        let id = enqueue(&mut wire, &format!(r#"work A {{"n":{at}}}"#));
        assert_eq!(given(waiter).id, id, "claimer {at}");
        redis.wait_blocked(19 - at as i64);
    }
    assert!(calls(&redis).starts_with("calls=20,"), "each has asked once: {}", calls(&redis));
    assert_eq!(wire.run("HLEN work:queue:work:claims"), Reply::Int(20));
    // Twenty at once: each of twenty gets one of them.
    let mut waiters: Vec<Wire> = (0..20).map(|at| waiter(&redis, "work BLOCK 0", at)).collect();
    let ids: Vec<String> = {
        (0..20).for_each(|at| wire.send(&["BEAR.ENQUEUE", "work", "B", &format!(r#"{{"n":{at}}}"#)]));
        (0..20).map(|_| wire.receive().text()).collect()
    };
    let got: Vec<String> = waiters.iter_mut().map(|waiter| given(waiter).id).collect();
    assert_eq!(got, ids);
}

#[test]
fn who_has_gone_is_passed_over_and_holds_nothing() {
    let redis = start();
    let mut wire = redis.wire();
    let hangs_up = waiter(&redis, "work BLOCK 0", 0);
    let mut others: Vec<(Wire, i64)> = (1..4)
        .map(|at| {
            let mut wire = redis.wire();
            let id = wire.id();
            wire.begin("BEAR.CLAIM work BLOCK 0");
            redis.wait_blocked(at + 1);
            (wire, id)
        })
        .collect();
    let mut stays = waiter(&redis, "work BLOCK 0", 4);
    drop(hangs_up);
    assert_eq!(wire.run(&format!("CLIENT KILL ID {}", others[0].1)), Reply::Int(1));
    assert_eq!(wire.run(&format!("CLIENT UNBLOCK {} TIMEOUT", others[1].1)), Reply::Int(1));
    assert_eq!(wire.run(&format!("CLIENT UNBLOCK {} ERROR", others[2].1)), Reply::Int(1));
    let id = enqueue(&mut wire, r#"work A {"n":1}"#);
    assert_eq!(given(&mut stays).id, id);
    assert_eq!(wire.run("HLEN work:queue:work:claims"), Reply::Int(1));
    assert!(others[0].0.is_closed());
    assert_eq!(others[1].0.receive(), Reply::Nil);
    assert_eq!(others[2].0.receive().error(), "UNBLOCKED client unblocked via CLIENT UNBLOCK");
    redis.wait_blocked(0);
    assert_eq!(claim(&mut others[1].0, "work"), [], "it goes on with its connection");
}

/// Each is let go, or dies, in the moment in which it may be served: it holds a job and knows it, or holds none.
#[test]
fn who_goes_as_a_job_comes_has_it_or_holds_nothing() {
    let redis = start();
    let mut wire = redis.wire();
    for round in 0..60 {
        let mut goes = redis.wire();
        let client = goes.id();
        goes.begin("BEAR.CLAIM lane BLOCK 0");
        redis.wait_blocked(1);
        // One write, so that the server reads both before it serves anybody.
        let payload = format!(r#"{{"n":{round}}}"#);
        let unblock = format!("CLIENT UNBLOCK {client}");
        let both = [
            crate::support::wire::packed(&["BEAR.ENQUEUE", "lane", "STEP", &payload]),
            crate::support::wire::packed(&unblock.split(' ').collect::<Vec<_>>()),
        ];
        let order = if round % 2 == 0 { both.concat() } else { [both[1].clone(), both[0].clone()].concat() };
        wire.send_bytes(&order);
        let replies = [wire.receive(), wire.receive()];
        assert!(replies.iter().all(|reply| !reply.is_error()), "{replies:?}");
        let held = match goes.receive() {
            Reply::Nil => Vec::new(),
            reply => claimed(&reply),
        };
        assert_eq!(wire.run("HLEN lane:queue:work:claims"), Reply::Int(held.len() as i64), "{held:?}");
        let mut rest = held;
        if rest.is_empty() {
            rest = claim(&mut wire, "lane");
        }
        assert_eq!(rest.len(), 1, "the job is there for another");
        ack(&mut wire, &rest[0]);
    }
}

#[test]
fn the_time_of_block_ends_with_an_empty_array() {
    let redis = start();
    for mut wire in [redis.wire(), redis.resp3_wire()] {
        let begun = Instant::now();
        assert_eq!(wire.run("BEAR.CLAIM work BLOCK 200"), Reply::Array(Vec::new()));
        let took = begun.elapsed();
        assert!(took >= Duration::from_millis(200) && took < Duration::from_secs(5), "{took:?}");
    }
    redis.wait_blocked(0);
    assert_eq!(redis.run(r#"BEAR.ENQUEUE work A {"n":1}"#).text().matches('-').count(), 1);
    assert_eq!(redis.run("HLEN work:queue:work:claims"), Reply::Int(0), "nobody waits any more");
}

#[test]
fn multi_and_scripts_do_not_wait() {
    let redis = start();
    let mut wire = redis.wire();
    let script = "return redis.call('BEAR.CLAIM', KEYS[1], 'BLOCK', '0')";
    let in_multi = |wire: &mut Wire| {
        assert!(wire.run("MULTI").is_ok());
        wire.run("BEAR.CLAIM work BLOCK 0");
        claimed(&wire.run("EXEC").list()[0])
    };
    assert_eq!(in_multi(&mut wire), []);
    assert_eq!(claimed(&wire.call(&["EVAL", script, "1", "work"])), []);
    let first = enqueue(&mut wire, r#"work A {"n":1}"#);
    let second = enqueue(&mut wire, r#"work A {"n":2}"#);
    assert_eq!(in_multi(&mut wire)[0].id, first);
    assert_eq!(claimed(&wire.call(&["EVAL", script, "1", "work"]))[0].id, second);
}

#[test]
fn each_gets_a_job_of_the_types_that_it_named() {
    let redis = start();
    let mut wire = redis.wire();
    let mut of_b = waiter(&redis, "work JOB B BLOCK 0", 0);
    let mut of_both = waiter(&redis, "work JOB A B BLOCK 0", 1);
    let mut of_any = waiter(&redis, "work BLOCK 0", 2);
    let a = enqueue(&mut wire, r#"work A {"n":1}"#);
    assert_eq!(given(&mut of_both).id, a, "the first of those that take an A");
    let a = enqueue(&mut wire, r#"work A {"n":2}"#);
    assert_eq!(given(&mut of_any).id, a);
    enqueue(&mut wire, r#"work A {"n":3}"#);
    assert_eq!(claim(&mut wire, "work").len(), 1, "nobody who waits takes it");
    let b = enqueue(&mut wire, r#"work B {"n":4}"#);
    assert_eq!(given(&mut of_b).id, b);
}

#[test]
fn a_section_alone_is_any_of_its_tenants() {
    let redis = start();
    let mut wire = redis.wire();
    let mut of_tenant = waiter(&redis, "{b}:mail BLOCK 0", 0);
    let mut of_any = waiter(&redis, "mail BLOCK 0", 1);
    let mut of_any_x = waiter(&redis, "mail JOB x BLOCK 0", 2);
    let a = enqueue(&mut wire, r#"{a}:mail y {"n":1}"#);
    let job = given(&mut of_any);
    assert_eq!((job.id, job.space.as_str()), (a, "{a}:mail"));
    let b = enqueue(&mut wire, r#"{b}:mail x {"n":1}"#);
    assert_eq!(given(&mut of_tenant).id, b, "who names the tenant came first");
    let b = enqueue(&mut wire, r#"{b}:mail x {"n":2}"#);
    assert_eq!(given(&mut of_any_x).id, b);
    // Both kinds of waiting, in the order in which they came.
    let mut first = waiter(&redis, "mail BLOCK 0", 0);
    let mut second = waiter(&redis, "{c}:mail BLOCK 0", 1);
    let ids = [1, 2].map(|n| enqueue(&mut wire, &format!(r#"{{c}}:mail x {{"n":{n}}}"#)));
    assert_eq!([given(&mut first).id, given(&mut second).id], ids);
}

#[test]
fn as_many_as_there_are_come_at_once() {
    let redis = start();
    let mut wire = redis.wire();
    let mut waiter = waiter(&redis, "work COUNT 10 BLOCK 0", 0);
    assert!(wire.run("MULTI").is_ok());
    (0..4).for_each(|n| drop(wire.run(&format!(r#"BEAR.ENQUEUE work A {{"n":{n}}}"#))));
    let replies = wire.run("EXEC");
    assert!(replies.list().iter().all(|reply| !reply.is_error()), "{replies:?}");
    assert_eq!(claimed(&waiter.receive()).len(), 4);
}

/// Whatever frees a job wakes the one that waits for it.
#[test]
fn whatever_frees_a_job_wakes_who_waits() {
    let redis = start();
    let mut wire = redis.wire();
    let frees = |what: &str, space: &str, free: &mut dyn FnMut(&mut Wire)| {
        let mut waiter = waiter(&redis, &format!("{space} BLOCK 0"), 0);
        let mut other = redis.wire();
        free(&mut other);
        let job = given(&mut waiter);
        ack(&mut other, &job);
        redis.wait_blocked(0);
        eprintln!("{what}: {}", job.id);
    };
    frees("a delayed job falls due", "work", &mut |wire| drop(enqueue(wire, r#"work A {"n":1} DELAY 50"#)));
    enqueue(&mut wire, r#"work A {"n":1}"#);
    let job = claim_one(&mut wire, "work");
    frees("its worker gives it back", "work", &mut |wire| drop(tell(wire, "RELEASE", &job, "")));
    enqueue(&mut wire, r#"work A {"n":1}"#);
    let job = claim_one(&mut wire, "work");
    frees("it failed, and waits no time", "work", &mut |wire| drop(tell(wire, "FAIL", &job, "oops BACKOFF 0")));
    enqueue(&mut wire, r#"work A {"n":1}"#);
    let job = claim_one(&mut wire, "work");
    frees("it failed, and waits", "work", &mut |wire| drop(tell(wire, "FAIL", &job, "oops BACKOFF 20")));
    enqueue(&mut wire, r#"work A {"n":1}"#);
    claim_one(&mut wire, "work");
    frees("its lease ends", "work", &mut |_| {});
    (0..2).for_each(|_| drop(enqueue(&mut wire, r#"lane STEP {"n":1}"#)));
    let job = claim_one(&mut wire, "lane");
    frees("the one before it in its order ends", "lane", &mut |wire| ack(wire, &job));
    (0..2).for_each(|_| drop(enqueue(&mut wire, r#"narrow CALL {"n":1}"#)));
    let job = claim_one(&mut wire, "narrow");
    frees("a slot is free", "narrow", &mut |wire| ack(wire, &job));
    (0..2).for_each(|_| drop(enqueue(&mut wire, r#"slow CALL {"n":1}"#)));
    let job = claim_one(&mut wire, "slow");
    ack(&mut wire, &job);
    frees("a rate's window has passed", "slow", &mut |_| {});
    assert!(wire.run("BEAR.PAUSE work").is_ok());
    enqueue(&mut wire, r#"work A {"n":1}"#);
    frees("the queue goes on", "work", &mut |wire| assert!(wire.run("BEAR.RESUME work").is_ok()));
    eventually("nothing is left", || redis.run("XLEN work:queue:work") == Reply::Int(0));
}

/// The server learns of both in one turn of its loop.
#[test]
fn who_hung_up_just_before_a_job_came_holds_nothing() {
    let redis = start();
    let mut wire = redis.wire();
    for round in 0..60 {
        let gone = [0, 1].map(|at| waiter(&redis, "work BLOCK 0", at));
        drop(gone);
        let id = enqueue(&mut wire, &format!(r#"work A {{"n":{round}}}"#));
        let job = claim_one(&mut wire, "work BLOCK 5000");
        assert_eq!((job.id, job.attempt), (id.clone(), 1), "round {round}");
        assert_eq!(wire.run(&format!("BEAR.ACK work {id} {}", job.token)), Reply::Int(1));
        redis.wait_blocked(0);
    }
}

#[test]
fn many_who_wait_for_other_types_hold_nobody_up() {
    let redis = start();
    let words = |at: usize| (0..100).map(|name| format!(" X{at}.{name}")).collect::<String>();
    let mut waiting: Vec<Wire> = (0..200).map(|_| redis.wire()).collect();
    for (at, wire) in waiting.iter_mut().enumerate() {
        wire.begin(&format!("BEAR.CLAIM {{a}}:mail BLOCK 0 JOB{}", words(at)));
    }
    redis.wait_blocked(200);
    let mut wire = redis.wire();
    (0..50).for_each(|_| drop(enqueue(&mut wire, "{a}:mail J {}")));
    let id = enqueue(&mut wire, "{a}:mail X7.99 {}");
    assert_eq!(claimed(&waiting[7].receive())[0].id, id);
    drop(waiting);
    redis.wait_blocked(0);
    // A look at each of 20,000 lines takes four times as long, without optimizations.
    let longest_us = redis.info("everything").int("bear_longest_tick_cpu_us");
    assert!(longest_us < 1_500, "{longest_us} us");
}

/// A thousand are claimed in slices, between which the client may go.
#[test]
fn who_goes_while_many_are_claimed_holds_nothing() {
    let redis = start();
    let mut wire = redis.wire();
    let script = r#"for n = 1, 1000 do redis.call('BEAR.ENQUEUE', 'work', 'A', '{"n":' .. n .. '}') end"#;
    assert!(!wire.call(&["EVAL", script, "0"]).is_error());
    for _ in 0..20 {
        let mut gone = redis.wire();
        gone.begin("BEAR.CLAIM work COUNT 1000 LEASE 600000");
        drop(gone);
        eventually("all are given back", || redis.run("HLEN work:queue:work:claims") == Reply::Int(0));
    }
    assert_eq!(redis.run("BEAR.STATS work").map()["expired"], Reply::Int(0));
    assert_eq!(claim(&mut wire, "work COUNT 1000 LEASE 600000").len(), 1_000);
}
