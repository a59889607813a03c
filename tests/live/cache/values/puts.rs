//! What is stored of what is put, and in the place of what.

use super::{assert_hit, figure, get, lease, parts, start};
use crate::support::wire::packed;
use crate::support::{eventually, Redis, Reply};

#[test]
fn a_value_without_a_token_replaces_and_ends_leases() {
    let redis = start();
    let mut wire = redis.wire();
    let token = lease(&mut wire, "page shelf 7");
    let mut other = redis.wire();
    other.begin("BEAR.GET page shelf 7");
    eventually("it waits", || figure(&redis, "clients_waiting") == 1);
    assert_eq!(wire.run("BEAR.PUT page 2 shelf 7 \"new\""), Reply::Int(1));
    assert_eq!(parts(other.receive()), (Some("\"new\"".into()), None));
    assert_eq!(wire.run(&format!("BEAR.PUT page 2 shelf 7 \"old\" TOKEN {token}")), Reply::Int(0));
    assert_hit(&mut wire, "page shelf 7", "\"new\"");
    assert_eq!(wire.run("BEAR.PUT page 2 shelf 7 \"newer\""), Reply::Int(1));
    assert_hit(&mut wire, "page shelf 7", "\"newer\"");
    assert_eq!((figure(&redis, "leases"), figure(&redis, "fills_running")), (0, 0));
}

#[test]
fn what_changes_while_a_large_value_is_read_strikes_it() {
    let redis = start();
    let (mut wire, mut other) = (redis.wire(), redis.wire());
    let large = format!("[{}0]", "1,".repeat(400_000));
    for by in ["page TAG shelf:7", "page QUERY shelf 7", "page ALL"] {
        wire.send_bytes(&packed(&["BEAR.PUT", "page", "2", "shelf", "7", &large]));
        eventually("it is being read", || figure(&redis, "fills_running") == 1);
        assert!(!other.run(&format!("BEAR.INVALIDATE {by}")).is_error());
        assert_eq!(wire.receive(), Reply::Int(0), "{by}");
        assert_eq!(get(&mut wire, "page WAIT 0 LEASE 1 shelf 7").0, None, "{by}");
        eventually("the lease is over", || figure(&redis, "leases") == 0);
    }
    wire.send_bytes(&packed(&["BEAR.PUT", "page", "2", "shelf", "7", &large]));
    assert_eq!(wire.receive(), Reply::Int(1));
    let wrong = format!("[{}]", "1,".repeat(400_000));
    assert!(wire.call(&["BEAR.PUT", "page", "2", "shelf", "8", &wrong]).is_error());
    assert_eq!(figure(&redis, "fills_running"), 0);
}

#[test]
fn if_absent_leaves_what_stands() {
    let redis = start();
    let mut wire = redis.wire();
    assert_eq!(wire.run("BEAR.PUT page 2 shelf 7 1 IF ABSENT"), Reply::Int(1));
    assert_eq!(wire.run("BEAR.PUT page 2 shelf 7 2 IF ABSENT"), Reply::Int(0));
    redis.wait_stored();
    assert_eq!(wire.run("BEAR.PUT page 2 shelf 7 3 if absent"), Reply::Int(0));
    assert_hit(&mut wire, "page shelf 7", "1");
    wire.run("BEAR.INVALIDATE page ALL");
    assert_eq!(wire.run("BEAR.PUT page 2 shelf 7 4 IF ABSENT"), Reply::Int(1));
}

#[test]
fn json_is_checked_and_stored_compactly_and_bytes_are_not() {
    let redis = start();
    let mut wire = redis.wire();
    let token = lease(&mut wire, "page shelf 7");
    let wrong = wire.call(&["BEAR.PUT", "page", "2", "shelf", "7", "{\"a\":}", "TOKEN", &token]);
    assert_eq!(wrong.error(), "ERR the value is not JSON: expected a value at byte 5");
    let right = wire.call(&["BEAR.PUT", "page", "2", "shelf", "7", " { \"b\" : [ 1.50 ] } ", "TOKEN", &token]);
    assert_eq!(right, Reply::Int(1), "the lease stands");
    assert_hit(&mut wire, "page shelf 7", "{\"b\":[1.50]}");
    let bytes: &[u8] = b"\0\xff {";
    assert_eq!(wire.call(&[&b"BEAR.PUT"[..], b"page", b"2", b"blob", b"1", bytes]), Reply::Int(1));
    assert_eq!(wire.run("BEAR.GET page blob 1").list()[0], Reply::Bulk(bytes.to_vec()));
    redis.wait_stored();
    assert_eq!(wire.run("GET page:blob:1"), Reply::Bulk(bytes.to_vec()));
}

#[test]
fn a_value_that_is_too_large_is_refused_and_its_lease_given_up() {
    let redis = start();
    let mut wire = redis.wire();
    assert!(wire.run("CONFIG SET bear.max-entry-bytes 2000").is_ok());
    let token = lease(&mut wire, "page blob 7");
    let large = "x".repeat(2_001);
    let refused = wire.run(&format!("BEAR.PUT page 2 blob 7 {large} TOKEN {token}"));
    assert_eq!(refused.error(), "TOOLARGE a value may hold 2000 bytes (bear.max-entry-bytes), got 2001");
    let next = lease(&mut wire, "page blob 7");
    assert_eq!(wire.run(&format!("BEAR.PUT page 2 blob 7 {} TOKEN {next}", &large[1..])), Reply::Int(1));
}

#[test]
fn large_json_is_read_aside() {
    let redis = start();
    let mut wire = redis.wire();
    let list = format!("[{}1]", "1 , ".repeat(60_000));
    let token = lease(&mut wire, "page shelf 7");
    let mut other = redis.wire();
    other.begin("BEAR.GET page shelf 7");
    eventually("it waits", || figure(&redis, "clients_waiting") == 1);
    let put = |json: &str| ["BEAR.PUT", "page", "2", "shelf", "7", json, "TOKEN", &token].map(str::to_owned);
    assert!(wire.call(&put(&list[1..])).error().starts_with("ERR the value is not JSON: "));
    assert_eq!(wire.call(&put(&list)), Reply::Int(1));
    assert_eq!(parts(other.receive()).0.map(|value| value.len()), Some(120_003));
    assert_eq!(get(&mut wire, "page shelf 7").0.map(|value| value.len()), Some(120_003));
    wire.run("MULTI");
    wire.call(&["BEAR.PUT", "page", "2", "shelf", "8", &list]);
    assert_eq!(wire.run("EXEC").list()[0], Reply::Int(1), "at once, where nothing can wait");
}

#[test]
fn a_value_lives_as_long_as_is_said() {
    let redis = start();
    let mut wire = redis.wire();
    wire.run("BEAR.PUT page 2 shelf 1 1");
    wire.run("BEAR.PUT page 2 shelf 2 1 TTL 60000");
    wire.run("BEAR.PUT page 2 soon 3 1 TTL 60000");
    redis.wait_stored();
    let mut left = |key: &str| wire.run(&format!("PTTL {key}")).int();
    assert!((290_000..=300_000).contains(&left("page:shelf:1")));
    assert!((50_000..=60_000).contains(&left("page:shelf:2")));
    assert!((3_650_000..=3_660_000).contains(&left("page:soon:3")), "what it is served stale comes to it");
    assert_eq!(wire.run("BEAR.PUT page 2 shelf 2 1 TTL 0"), Reply::Int(0));
    assert_eq!(get(&mut wire, "page WAIT 0 shelf 2").0, None, "what stood was older");
}

#[test]
fn a_key_that_is_somebodys_is_left_alone() {
    let redis = start();
    let mut wire = redis.wire();
    lease(&mut wire, "page shelf 1");
    wire.run("SET page:shelf:7 theirs");
    assert_eq!(wire.run("BEAR.PUT page 2 shelf 7 1"), Reply::Int(0));
    assert_eq!(redis.run("GET page:shelf:7").text(), "theirs");
    assert_eq!(get(&mut wire, "page shelf 7").0, None);
}

#[test]
fn without_memory_nothing_is_stored_and_who_waits_gets_it() {
    let redis = Redis::builder().catalog(super::CATALOG).config("maxmemory-policy", "noeviction").start();
    let mut wire = redis.wire();
    let token = lease(&mut wire, "page shelf 7");
    let mut other = redis.wire();
    other.begin("BEAR.GET page shelf 7");
    eventually("it waits", || figure(&redis, "clients_waiting") == 1);
    assert!(wire.run("CONFIG SET maxmemory 1").is_ok());
    assert_eq!(wire.run(&format!("BEAR.PUT page 2 shelf 7 1 TOKEN {token}")), Reply::Int(0));
    assert_eq!(parts(other.receive()).0.as_deref(), Some("1"));
    assert_eq!((figure(&redis, "puts_refused"), figure(&redis, "entries")), (1, 0));
}
