//! Clients that wait for a lock: first come, first served, over releases, times that are over, and clients that go.

use std::time::{Duration, Instant};

use super::start;
use crate::support::locks::{lock, lock_waiter, token};
use crate::support::{eventually, stays, Redis, Reply, Wire};

fn waiting(redis: &Redis) -> i64 {
    redis.info("bear").int("bear_locks_waiting")
}

#[test]
fn fifty_are_served_in_the_order_in_which_they_came() {
    let redis = start();
    let mut wire = redis.wire();
    let mut last = lock(&mut wire, "api door 60000");
    // Every third one holds it until its time is over, and every seventh hangs up while it waits.
    let ms = |at: usize| if at.is_multiple_of(3) { 30 } else { 60_000 };
    let mut waiters: Vec<Option<Wire>> =
        (0..50).map(|at| Some(lock_waiter(&redis, &format!("api door {} WAIT 60000", ms(at)), at as i64))).collect();
    (0..50).step_by(7).for_each(|at| waiters[at] = None);
    eventually("who has hung up is known", || waiting(&redis) == 42);
    assert!(wire.run("BEAR.LOCK api door 1000").is_nil(), "who comes now comes behind them");
    wire.run(&format!("BEAR.UNLOCK api door {last}"));
    for (at, waiter) in waiters.iter_mut().enumerate() {
        let Some(waiter) = waiter else { continue };
        let token = token(&waiter.receive());
        assert!(token > last, "waiter {at}");
        last = token;
        if !at.is_multiple_of(3) {
            assert!(wire.run("BEAR.LOCK api door 1000").is_nil(), "waiter {at} holds it");
            assert_eq!(waiter.run(&format!("BEAR.UNLOCK api door {token}")), Reply::Int(1), "waiter {at}");
        }
    }
    assert_eq!(waiting(&redis), 0);
    lock(&mut wire, "api door 1000 WAIT 1000");
}

#[test]
fn each_lock_has_a_line_of_its_own() {
    let redis = start();
    let mut wire = redis.wire();
    let (door, gate) = (lock(&mut wire, "api door 60000"), lock(&mut wire, "{x}:shop gate 60000"));
    let mut for_door = lock_waiter(&redis, "api door 1000 WAIT 60000", 0);
    let mut for_gate = lock_waiter(&redis, "{x}:shop gate 1000 WAIT 60000", 1);
    wire.run(&format!("BEAR.UNLOCK {{x}}:shop gate {gate}"));
    token(&for_gate.receive());
    wire.run(&format!("BEAR.UNLOCK api door {door}"));
    token(&for_door.receive());
}

#[test]
fn who_has_waited_long_enough_gets_nil_and_leaves_the_line() {
    let redis = start();
    let mut wire = redis.wire();
    let held = lock(&mut wire, "api door 60000");
    let begun = Instant::now();
    let mut short = lock_waiter(&redis, "api door 1000 WAIT 300", 0);
    let mut long = lock_waiter(&redis, "api door 1000 WAIT 60000", 1);
    assert_eq!(short.receive(), Reply::Nil);
    assert!(begun.elapsed() >= Duration::from_millis(300));
    wire.run(&format!("BEAR.UNLOCK api door {held}"));
    token(&long.receive());
    assert_eq!(short.run("PING"), Reply::Simple("PONG".into()));
}

#[test]
fn who_goes_while_he_waits_holds_nothing() {
    let redis = start();
    let mut wire = redis.wire();
    let held = lock(&mut wire, "api door 60000");
    let mut others: Vec<(Wire, i64)> = (0..3)
        .map(|at| {
            let mut wire = redis.wire();
            let id = wire.id();
            wire.begin("BEAR.LOCK api door 60000 WAIT 60000");
            redis.wait_blocked(at + 1);
            (wire, id)
        })
        .collect();
    let mut stays = lock_waiter(&redis, "api door 1000 WAIT 60000", 3);
    assert_eq!(wire.run(&format!("CLIENT KILL ID {}", others[0].1)), Reply::Int(1));
    assert_eq!(wire.run(&format!("CLIENT UNBLOCK {} TIMEOUT", others[1].1)), Reply::Int(1));
    assert_eq!(wire.run(&format!("CLIENT UNBLOCK {} ERROR", others[2].1)), Reply::Int(1));
    wire.run(&format!("BEAR.UNLOCK api door {held}"));
    token(&stays.receive());
    assert!(others[0].0.is_closed());
    assert_eq!(others[1].0.receive(), Reply::Nil);
    assert_eq!(others[2].0.receive().error(), "UNBLOCKED client unblocked via CLIENT UNBLOCK");
    redis.wait_blocked(0);
    assert_eq!(redis.info("bear").int("bear_locks_granted"), 2);
}

/// Each is let go, or dies, in the moment in which the lock is given back: it holds it and knows it, or holds nothing.
#[test]
fn who_goes_as_a_lock_comes_has_it_or_holds_nothing() {
    let redis = start();
    let mut wire = redis.wire();
    for round in 0..60 {
        let held = lock(&mut wire, "api door 60000 WAIT 20000");
        let mut goes = redis.wire();
        let id = goes.id();
        goes.begin("BEAR.LOCK api door 60000 WAIT 60000");
        redis.wait_blocked(1);
        let how = ["CLIENT KILL ID", "CLIENT UNBLOCK"][round % 2];
        let (unlock, go) = (format!("BEAR.UNLOCK api door {held}"), format!("{how} {id}"));
        let lines = if round % 4 < 2 { [&unlock, &go] } else { [&go, &unlock] };
        // In one packet: both are run before the tick.
        let bytes: Vec<u8> =
            lines.iter().flat_map(|line| crate::support::wire::packed(&line.split(' ').collect::<Vec<_>>())).collect();
        wire.send_bytes(&bytes);
        (0..2).for_each(|_| assert!(!wire.receive().is_error()));
        match goes.try_receive() {
            Ok(Reply::Int(token)) => {
                assert_eq!(wire.run(&format!("BEAR.UNLOCK api door {token}")), Reply::Int(1), "round {round}");
            }
            Ok(Reply::Nil) | Err(_) => {}
            other => panic!("round {round}: {other:?}"),
        }
        let next = lock(&mut wire, "api door 60000 WAIT 20000");
        wire.run(&format!("BEAR.UNLOCK api door {next}"));
        redis.wait_blocked(0);
    }
}

/// A holder that is gone keeps its lock for its time, and no longer.
#[test]
fn a_holder_that_is_killed_holds_it_until_its_time_is_over() {
    let redis = start();
    let (mut wire, mut holder) = (redis.wire(), redis.wire());
    let id = holder.id();
    let begun = Instant::now();
    lock(&mut holder, "api door 700");
    assert_eq!(wire.run(&format!("CLIENT KILL ID {id}")), Reply::Int(1));
    assert!(wire.run("BEAR.LOCK api door 1000").is_nil());
    lock(&mut wire, "api door 1000 WAIT 20000");
    assert!(begun.elapsed() >= Duration::from_millis(700));
}

#[test]
fn an_extension_keeps_those_who_wait() {
    let redis = start();
    let mut wire = redis.wire();
    let held = lock(&mut wire, "api door 400");
    let mut waiter = lock_waiter(&redis, "api door 1000 WAIT 60000", 0);
    assert_eq!(wire.run(&format!("BEAR.EXTENDLOCK api door {held} 60000")), Reply::Int(1));
    assert!(waiter.silent_for(Duration::from_millis(700)));
    assert_eq!(wire.run(&format!("BEAR.EXTENDLOCK api door {held} 10")), Reply::Int(1), "shorter is right, too");
    token(&waiter.receive());
}

#[test]
fn nothing_is_granted_while_writes_are_paused() {
    let redis = start();
    let mut wire = redis.wire();
    lock(&mut wire, "api door 300");
    let mut waiter = lock_waiter(&redis, "api door 1000 WAIT 60000", 0);
    let mut short = lock_waiter(&redis, "api door 1000 WAIT 600", 1);
    assert!(wire.run("CLIENT PAUSE 60000 WRITE").is_ok());
    assert_eq!(short.receive(), Reply::Nil, "who waits is told in time all the same");
    assert!(waiter.silent_for(Duration::from_millis(200)));
    assert!(wire.run("CLIENT UNPAUSE").is_ok());
    token(&waiter.receive());
}

#[test]
fn who_waits_has_it_after_a_flush_in_order() {
    let redis = start();
    let mut wire = redis.wire();
    for how in ["FLUSHALL", "FLUSHDB ASYNC", "DEBUG RELOAD"] {
        let held = lock(&mut wire, "api door 60000 WAIT 20000");
        let mut first = lock_waiter(&redis, "api door 60000 WAIT 60000", 0);
        let mut second = lock_waiter(&redis, "api door 60000 WAIT 60000", 1);
        assert!(wire.run(how).is_ok(), "{how}");
        if how == "DEBUG RELOAD" {
            stays("it is held still", Duration::from_millis(300), || waiting(&redis) == 2);
            assert_eq!(wire.run(&format!("BEAR.UNLOCK api door {held}")), Reply::Int(1), "{how}");
        } else {
            assert_eq!(wire.run(&format!("BEAR.UNLOCK api door {held}")), Reply::Int(0), "{how}");
        }
        let next = token(&first.receive());
        assert!(next > held, "{how}: tokens grow over a flush");
        assert_eq!(first.run(&format!("BEAR.UNLOCK api door {next}")), Reply::Int(1));
        let next = token(&second.receive());
        assert_eq!(second.run(&format!("BEAR.UNLOCK api door {next}")), Reply::Int(1));
    }
}

#[test]
fn a_master_that_is_one_no_more_lets_those_go_who_wait() {
    let (master, replica) = super::pair();
    let mut wire = master.wire();
    lock(&mut wire, "api door 60000");
    let mut waiter = lock_waiter(&master, "api door 60000 WAIT 60000", 0);
    assert!(replica.run("REPLICAOF NO ONE").is_ok());
    assert!(master.run(&format!("REPLICAOF 127.0.0.1 {}", replica.port())).is_ok());
    assert_eq!(waiter.receive().error().split(' ').next(), Some("UNBLOCKED"));
    master.wait_blocked(0);
    assert_eq!(master.run("BEAR.LOCK api door 1000").error().split(' ').next(), Some("READONLY"));
    assert_eq!(master.run("BEAR.LIMIT api search 42").error().split(' ').next(), Some("READONLY"));
}
