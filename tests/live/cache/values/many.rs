//! BEAR.MGET: many values at once, of which none is waited for.

use super::{assert_hit, figure, get, lease, parts, start, CATALOG};
use crate::support::{Redis, Reply};

#[test]
fn each_call_has_its_value_its_token_or_its_error() {
    let redis = start();
    let mut wire = redis.wire();
    wire.run("BEAR.PUT page 2 shelf 1 \"one\"");
    redis.wait_stored();
    wire.run("BEAR.PUT page 4 shelf 2 lang de \"zwei\"");
    let token = lease(&mut wire, "page shelf 3");
    let replies = wire
        .run("BEAR.MGET page LEASE 60000 2 shelf 1 4 shelf 2 lang de 2 shelf 3 2 shelf 4 2 shelf x 2 shelf 4 1 all")
        .list()
        .to_vec();
    let value = |at: usize| parts(replies[at].clone());
    assert_eq!(value(0), (Some("\"one\"".into()), None));
    assert_eq!(value(1), (Some("\"zwei\"".into()), None));
    assert_eq!(value(2), (None, None), "another computes it");
    let (none, own) = value(3);
    let own = own.expect("nobody computes it");
    assert!(none.is_none() && own != token);
    assert!(replies[4].error().starts_with("ERR category must be"), "{:?}", replies[4]);
    assert_eq!(value(5), (None, Some(own.clone())), "the same twice");
    assert!(replies[6].error().starts_with("ERR no query of 'page'"), "{:?}", replies[6]);
    assert_eq!(wire.run(&format!("BEAR.PUT page 2 shelf 4 4 TOKEN {own}")), Reply::Int(1));
    assert_hit(&mut wire, "page shelf 4", "4");
    assert_eq!((figure(&redis, "clients_waiting"), figure(&redis, "leases")), (0, 1));
    let refused = wire.run("BEAR.MGET bear 1 all").list().to_vec();
    assert!(refused[0].error().contains("ask for it with BEAR.QUERY"), "{refused:?}");
    let refused = wire.run("BEAR.MQUERY page 2 shelf 1").list().to_vec();
    assert!(refused[0].error().contains("ask for it with BEAR.GET"), "{refused:?}");
}

#[test]
fn a_thousand_values_come_with_one_command() {
    let redis = start();
    let mut wire = redis.wire();
    let mut words = vec!["BEAR.MGET".to_owned(), "page".into()];
    for n in 0..1_000 {
        words.extend(["2".into(), "shelf".into(), n.to_string()]);
    }
    let tokens: Vec<String> = wire.call(&words).list().iter().map(|one| one.list()[1].text()).collect();
    for (n, token) in tokens.iter().enumerate() {
        wire.begin(&format!("BEAR.PUT page 2 shelf {n} {n} TOKEN {token}"));
    }
    assert!((0..1_000).all(|_| wire.receive() == Reply::Int(1)));
    redis.wait_stored();
    let values: Vec<String> = wire.call(&words).list().iter().map(|one| one.list()[0].text()).collect();
    assert_eq!(values, (0..1_000).map(|n| n.to_string()).collect::<Vec<_>>());
    words.extend(["2".into(), "shelf".into(), "1000".into()]);
    assert!(wire.call(&words).error().starts_with("ERR a command takes at most 1000 calls"));
}

#[test]
fn in_a_transaction_and_on_a_replica_it_does_the_same() {
    let master = Redis::builder().catalog(CATALOG).start();
    let replica = Redis::builder().catalog(CATALOG).replica_of(&master).start();
    let mut wire = master.wire();
    wire.run("BEAR.PUT page 2 shelf 1 1");
    master.wait_stored();
    replica.wait_in_sync(&master);
    wire.run("MULTI");
    wire.run("BEAR.MGET page 2 shelf 1 2 shelf 2");
    let replies = wire.run("EXEC").list()[0].list().to_vec();
    assert_eq!(parts(replies[0].clone()), (Some("1".into()), None));
    assert!(parts(replies[1].clone()).1.is_some());
    let there = replica.run("BEAR.MGET page 2 shelf 1 2 shelf 2").list().to_vec();
    assert_eq!(parts(there[0].clone()), (Some("1".into()), None));
    assert_eq!(parts(there[1].clone()), (None, None));
    assert_eq!(get(&mut wire, "page WAIT 0 shelf 2"), (None, None));
}
