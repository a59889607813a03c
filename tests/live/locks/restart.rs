//! Locks over crashes, restarts and promotions: held for their time, and tokens grow.

use std::time::{Duration, Instant};

use super::{append_only, pair};
use crate::support::locks::{limit, lock, lock_waiter, token};
use crate::support::{eventually, Reply};

#[test]
fn a_lock_is_held_over_a_crash_for_its_time() {
    let mut redis = append_only();
    let begun = Instant::now();
    let short = lock(&mut redis.wire(), "api short 1500");
    let long = lock(&mut redis.wire(), "api long 60000");
    redis.kill9();
    redis.start_again();
    let mut wire = redis.wire();
    assert!(wire.run("BEAR.LOCK api long 1000").is_nil());
    let next = lock(&mut wire, "api short 60000 WAIT 20000");
    assert!(begun.elapsed() >= Duration::from_millis(1500), "{:?}", begun.elapsed());
    assert!(next > long && long > short);
    assert_eq!(wire.run(&format!("BEAR.EXTENDLOCK api long {long} 60000")), Reply::Int(1));
    assert_eq!(wire.run(&format!("BEAR.UNLOCK api short {short}")), Reply::Int(0));
    assert_eq!(wire.run(&format!("BEAR.UNLOCK api long {long}")), Reply::Int(1));
}

#[test]
fn a_promoted_replica_knows_who_holds_what() {
    let (mut master, replica) = pair();
    let mut wire = master.wire();
    let held = lock(&mut wire, "api door 60000");
    let given_back = lock(&mut wire, "api gate 60000");
    wire.run(&format!("BEAR.UNLOCK api gate {given_back}"));
    limit(&mut wire, "mail send 42");
    replica.wait_in_sync(&master);
    master.kill9();
    assert!(replica.run("REPLICAOF NO ONE").is_ok());
    let mut wire = replica.wire();
    assert!(wire.run("BEAR.LOCK api door 1000").is_nil());
    assert!(lock(&mut wire, "api gate 1000") > given_back);
    assert_eq!(limit(&mut wire, "mail send 42")[..3], [1, 1, 0]);
    let mut waiter = lock_waiter(&replica, "api door 1000 WAIT 60000", 0);
    assert_eq!(wire.run(&format!("BEAR.UNLOCK api door {held}")), Reply::Int(1));
    assert!(token(&waiter.receive()) > held);
}

#[test]
fn master_and_replica_agree() {
    let (master, replica) = pair();
    let mut wire = master.wire();
    for round in 0..20 {
        let token = lock(&mut wire, &format!("api door{round} 60000"));
        if round % 3 == 0 {
            wire.run(&format!("BEAR.UNLOCK api door{round} {token}"));
        }
        limit(&mut wire, "mail send 42");
    }
    lock(&mut wire, "api door 50");
    eventually("it is over", || master.info("bear").int("bear_locks_expired") == 1);
    replica.wait_in_sync(&master);
    assert_eq!(master.run("DEBUG DIGEST"), replica.run("DEBUG DIGEST"));
}
