//! Values over restarts, on replicas and beside commands of queries.

use super::{assert_hit, get, lease, CATALOG};
use crate::support::{eventually, Redis, Reply};

#[test]
fn a_token_ends_with_the_process() {
    let mut redis = Redis::builder().catalog(CATALOG).append_only().start();
    let mut wire = redis.wire();
    let token = lease(&mut wire, "page shelf 7");
    assert_eq!(wire.run("BEAR.PUT page 2 shelf 8 1"), Reply::Int(1));
    redis.wait_stored();
    redis.kill9();
    redis.start_again();
    let mut wire = redis.wire();
    let again = lease(&mut wire, "page shelf 7");
    assert_ne!(token.split('-').next(), again.split('-').next());
    assert_eq!(wire.run(&format!("BEAR.PUT page 2 shelf 7 1 TOKEN {token}")), Reply::Int(0));
    assert_eq!(wire.run(&format!("BEAR.FORGET page {token}")), Reply::Int(0));
    assert_eq!(get(&mut wire, "page shelf 8").0, None, "what an earlier process stored is not served");
}

#[test]
fn a_replica_serves_hits_and_gives_no_leases() {
    let master = Redis::builder().catalog(CATALOG).start();
    let replica = Redis::builder().catalog(CATALOG).replica_of(&master).start();
    replica.wait_in_sync(&master);
    let mut wire = master.wire();
    let token = lease(&mut wire, "page shelf 9");
    assert_eq!(wire.run("BEAR.PUT page 2 shelf 7 1"), Reply::Int(1));
    master.wait_stored();
    replica.wait_in_sync(&master);
    let mut there = replica.wire();
    assert_hit(&mut there, "page shelf 7", "1");
    assert_eq!(get(&mut there, "page shelf 8"), (None, None));
    assert!(there.run("BEAR.PUT page 2 shelf 7 2").error().starts_with("READONLY "));
    assert!(there.run(&format!("BEAR.FORGET page {token}")).error().starts_with("READONLY "));
    // Promoted, it knows no lease of its former master, and the master's own are struck once it follows.
    assert!(there.run("REPLICAOF NO ONE").is_ok());
    assert_eq!(there.run(&format!("BEAR.PUT page 2 shelf 9 1 TOKEN {token}")), Reply::Int(0));
    lease(&mut there, "page shelf 9");
    assert!(wire.run(&format!("REPLICAOF 127.0.0.1 {}", replica.port())).is_ok());
    master.wait_in_sync(&replica);
    assert!(wire.run("REPLICAOF NO ONE").is_ok());
    assert_eq!(wire.run(&format!("BEAR.PUT page 2 shelf 9 1 TOKEN {token}")), Reply::Int(0));
}

#[test]
fn who_waits_on_a_master_that_is_demoted_is_let_go() {
    let master = Redis::builder().catalog(CATALOG).start();
    let other = Redis::builder().catalog(CATALOG).start();
    let mut wire = master.wire();
    let token = lease(&mut wire, "page shelf 7");
    let mut waiting = master.wire();
    waiting.begin("BEAR.GET page shelf 7");
    eventually("it waits", || super::figure(&master, "clients_waiting") == 1);
    assert!(wire.run(&format!("REPLICAOF 127.0.0.1 {}", other.port())).is_ok());
    assert!(wire.run(&format!("BEAR.PUT page 2 shelf 7 1 TOKEN {token}")).error().starts_with("READONLY "));
    assert!(waiting.receive().error().starts_with("UNBLOCKED "), "by Redis itself");
}

#[test]
fn verify_tells_of_values_that_it_cannot_compute() {
    let database = crate::support::bears::database();
    let redis = Redis::builder().postgres(&database).catalog(CATALOG).start();
    let mut wire = redis.resp3_wire();
    wire.run("BEAR.PUT bear 1 summary 1");
    wire.run("BEAR.QUERY bear all");
    redis.wait_stored();
    let verified = wire.run("BEAR.VERIFY bear").map();
    assert_eq!((verified["checked"].int(), verified["values"].int(), verified["gone"].int()), (1, 1, 0));
}

#[test]
fn what_an_earlier_life_left_of_values_goes_whatever_it_holds() {
    let mut redis = Redis::builder().catalog(CATALOG).append_only().start();
    let left = [("page", "blob:1", "anything"), ("page", "shelf:7", "5"), ("bear", "summary", "\"text\"")];
    let put_all = |redis: &Redis| {
        let mut wire = redis.wire();
        for (space, call, value) in left {
            let words: Vec<&str> = call.split(':').collect();
            let count = words.len().to_string();
            let command = [&["BEAR.PUT", space, &count][..], &words, &[value]].concat();
            assert_eq!(wire.call(&command), Reply::Int(1), "{call}");
        }
        redis.wait_stored();
    };
    put_all(&redis);
    redis.restart();
    eventually("they have gone", || redis.run("EXISTS page:blob:1 page:shelf:7 bear:summary") == Reply::Int(0));
    assert_eq!(redis.info("bear").int("bear_foreign_keys"), 0, "they were bear's");
    redis.restart();
    put_all(&redis);
}
