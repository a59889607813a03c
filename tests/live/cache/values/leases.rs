//! Who computes a value, and who waits for it.

use std::time::{Duration, Instant};

use super::{assert_hit, figure, get, lease, parts, start};
use crate::support::wire::packed;
use crate::support::{eventually, stays, Reply};

#[test]
fn one_computes_and_all_who_wait_get_the_value() {
    let redis = start();
    let mut wire = redis.wire();
    let token = lease(&mut wire, "page shelf 7");
    assert_eq!(token.len(), "0123456789abcdef-1".len(), "{token}");
    let mut others: Vec<_> = (0..50).map(|_| redis.wire()).collect();
    others.iter_mut().for_each(|other| other.begin("BEAR.GET page shelf 7"));
    eventually("they wait", || figure(&redis, "clients_waiting") == 50);
    assert_eq!(get(&mut redis.wire(), "page WAIT 0 shelf 7"), (None, None), "who does not wait gets nothing");
    assert_eq!(wire.run(&format!("BEAR.PUT page 2 shelf 7 {{\"n\":1}} TOKEN {token}")), Reply::Int(1));
    for other in &mut others {
        assert_eq!(parts(other.receive()), (Some("{\"n\":1}".into()), None));
    }
    assert_hit(&mut wire, "page shelf 7", "{\"n\":1}");
    redis.wait_stored();
    assert_eq!(redis.run("GET page:shelf:7").text(), "{\"n\":1}");
    assert_eq!(redis.run("SMEMBERS page:tag:shelf:7").sorted_texts(), ["page:shelf:7"]);
    for (name, expected) in
        [("leased", 1), ("puts_stored", 1), ("puts_refused", 0), ("lease_ends", 0), ("joined", 50), ("leases", 0)]
    {
        assert_eq!(figure(&redis, name), expected, "{name}");
    }
    assert_eq!(wire.run(&format!("BEAR.PUT page 2 shelf 7 2 TOKEN {token}")), Reply::Int(0), "a token is good once");
}

#[test]
fn the_lease_of_one_who_does_not_come_back_goes_to_the_first_who_waits() {
    let redis = start();
    let mut wire = redis.wire();
    let late = lease(&mut wire, "page LEASE 300 shelf 7");
    let (mut gone, mut first, mut second) = (redis.wire(), redis.wire(), redis.wire());
    gone.begin("BEAR.GET page shelf 7");
    eventually("one waits", || figure(&redis, "clients_waiting") == 1);
    for (other, waiting) in [(&mut first, 2), (&mut second, 3)] {
        other.begin("BEAR.GET page LEASE 20000 shelf 7");
        eventually("one more waits", || figure(&redis, "clients_waiting") == waiting);
    }
    drop(gone);
    eventually("who has hung up waits no more", || figure(&redis, "clients_waiting") <= 2);
    let (value, token) = parts(first.receive());
    assert_eq!(value, None);
    let token = token.expect("a lease of its own");
    assert_ne!(token, late);
    assert_eq!(wire.run(&format!("BEAR.PUT page 2 shelf 7 1 TOKEN {late}")), Reply::Int(0), "too late");
    stays("the second waits on", Duration::from_millis(100), || figure(&redis, "clients_waiting") == 1);
    assert_eq!(first.run(&format!("BEAR.PUT page 2 shelf 7 2 TOKEN {token}")), Reply::Int(1));
    assert_eq!(parts(second.receive()), (Some("2".into()), None));
    assert_eq!(figure(&redis, "lease_ends"), 1);
}

#[test]
fn a_lease_that_is_given_up_goes_to_the_next_at_once() {
    let redis = start();
    let mut wire = redis.wire();
    let token = lease(&mut wire, "page shelf 7");
    let mut other = redis.wire();
    other.begin("BEAR.GET page shelf 7");
    eventually("it waits", || figure(&redis, "clients_waiting") == 1);
    assert_eq!(wire.run(&format!("BEAR.FORGET bear {token}")), Reply::Int(0), "of another space");
    assert_eq!(wire.run(&format!("BEAR.FORGET page {token}")), Reply::Int(1));
    let (value, next) = parts(other.receive());
    assert!(value.is_none() && next.as_ref().is_some_and(|next| *next != token), "{value:?} {next:?}");
    assert_eq!(wire.run(&format!("BEAR.FORGET page {token}")), Reply::Int(0));
    // The last one gives up, and nothing is left.
    assert_eq!(wire.run(&format!("BEAR.FORGET page {}", next.expect("a token"))), Reply::Int(1));
    assert_eq!((figure(&redis, "leases"), figure(&redis, "fills_running")), (0, 0));
    lease(&mut wire, "page shelf 7");
}

/// Nobody would know of it, and the value could not be computed until its time is over.
#[test]
fn who_waits_no_more_is_given_no_lease() {
    let redis = start();
    let mut wire = redis.wire();
    let ends = ["CLIENT UNBLOCK", "CLIENT KILL ID"];
    for (n, (end, is_first)) in ends.iter().flat_map(|end| [(end, true), (end, false)]).enumerate() {
        let call = format!("page LEASE 60000 shelf {n}");
        let token = lease(&mut wire, &call);
        let (mut gone, mut next) = (redis.wire(), redis.wire());
        let id = gone.run("CLIENT ID").int();
        for (waiting, other) in [(1, &mut gone), (2, &mut next)] {
            other.begin(&format!("BEAR.GET {call}"));
            eventually("one more waits", || figure(&redis, "clients_waiting") == waiting);
        }
        let mut batch = [format!("{end} {id}"), format!("BEAR.FORGET page {token}")];
        if !is_first {
            batch.reverse();
        }
        // One after the other, and nothing between them.
        let bytes = batch.iter().flat_map(|line| packed(&line.split(' ').collect::<Vec<_>>()));
        wire.send_bytes(&bytes.collect::<Vec<u8>>());
        assert_eq!([wire.receive(), wire.receive()], [Reply::Int(1), Reply::Int(1)], "{batch:?}");
        let (value, token) = parts(next.receive());
        assert!(value.is_none() && token.is_some(), "{batch:?}: {value:?} {token:?}");
    }
    assert_eq!((figure(&redis, "leases"), figure(&redis, "clients_waiting")), (4, 0));
}

#[test]
fn who_has_waited_long_enough_is_told_so() {
    let redis = start();
    let mut wire = redis.wire();
    lease(&mut wire, "page LEASE 60000 shelf 7");
    let begun = Instant::now();
    assert_eq!(get(&mut redis.wire(), "page WAIT 200 shelf 7"), (None, None));
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(200) && took < Duration::from_secs(5), "{took:?}");
    // By default as long as a lease.
    assert_eq!(get(&mut redis.wire(), "page LEASE 100 shelf 7"), (None, None));
    assert_eq!(figure(&redis, "clients_waiting"), 0);
}

#[test]
fn a_stale_value_is_served_at_once_and_one_computes_it_anew() {
    let redis = start();
    let mut wire = redis.wire();
    assert_eq!(wire.run("BEAR.PUT page 2 soon 1 1"), Reply::Int(1));
    redis.wait_stored();
    eventually("its TTL is over", || {
        redis.resp3_wire().run("BEAR.EXPLAIN page soon 1").map()["stale"] == Reply::Bool(true)
    });
    let (value, token) = get(&mut wire, "page soon 1");
    assert_eq!(value.as_deref(), Some("1"));
    let token = token.expect("who computes it anew");
    for _ in 0..10 {
        assert_hit(&mut redis.wire(), "page soon 1", "1");
    }
    assert_eq!(wire.run(&format!("BEAR.PUT page 2 soon 1 2 TOKEN {token} TTL 3600000")), Reply::Int(1));
    assert_hit(&mut wire, "page soon 1", "2");
    assert_eq!((figure(&redis, "stale_hits"), figure(&redis, "refreshes")), (11, 1));
}

/// Where it cannot be computed, not everybody tries at once.
#[test]
fn a_stale_value_whose_lease_was_given_up_is_left_alone_for_a_moment() {
    let redis = start();
    let mut wire = redis.wire();
    assert_eq!(wire.run("BEAR.PUT page 2 soon 1 1"), Reply::Int(1));
    let mut token = None;
    eventually("one is to compute it anew", || {
        token = get(&mut wire, "page soon 1").1;
        token.is_some()
    });
    wire.run(&format!("BEAR.FORGET page {}", token.expect("a token")));
    assert_hit(&mut wire, "page soon 1", "1");
    eventually("another one tries", || get(&mut wire, "page soon 1").1.is_some());
}

#[test]
fn in_a_transaction_nobody_waits() {
    let redis = start();
    let mut wire = redis.wire();
    wire.run("MULTI");
    wire.run("BEAR.GET page shelf 7");
    wire.run("BEAR.GET page shelf 7");
    let replies = wire.run("EXEC").list().to_vec();
    let (value, token) = parts(replies[0].clone());
    assert!(value.is_none());
    assert_eq!(parts(replies[1].clone()), (None, None));
    wire.run("MULTI");
    wire.run(&format!("BEAR.PUT page 2 shelf 7 [1] TOKEN {}", token.expect("a lease")));
    wire.run("BEAR.GET page shelf 7");
    let replies = wire.run("EXEC").list().to_vec();
    assert_eq!(replies[0], Reply::Int(1));
    assert_eq!(parts(replies[1].clone()), (Some("[1]".into()), None));
    let script = "return redis.call('BEAR.GET', 'page', 'shelf', '8')";
    assert!(parts(wire.call(&["EVAL", script, "0"])).1.is_some());
    assert_eq!(parts(wire.call(&["EVAL", script, "0"])), (None, None));
}

#[test]
fn more_leases_than_allowed_are_refused() {
    let redis = start();
    let mut wire = redis.wire();
    assert!(wire.run("CONFIG SET bear.max-fills 3").is_ok());
    for n in 0..3 {
        lease(&mut wire, &format!("page shelf {n}"));
    }
    assert!(wire.run("BEAR.GET page shelf 9").error().starts_with("OVERLOADED 3 values are being computed"));
    assert_eq!(get(&mut wire, "page WAIT 1 shelf 1"), (None, None), "who waits takes none");
    let explained = redis.resp3_wire().run("BEAR.EXPLAIN page shelf 1").map();
    assert_eq!((explained["kind"].text(), &explained["sql"]), ("value".to_owned(), &Reply::Nil));
    assert!((1..=10_000).contains(&explained["lease_ms"].int()), "{explained:?}");
}
