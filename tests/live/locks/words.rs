//! What the commands take and reply, in both protocols, in MULTI and scripts, and for users with rights to some spaces.

use super::start;
use crate::support::locks::{limit, lock};
use crate::support::Reply;

#[test]
fn a_lock_is_taken_held_extended_and_given_back() {
    let redis = start();
    for mut wire in [redis.wire(), redis.resp3_wire()] {
        let first = lock(&mut wire, "api door 10000");
        assert!(first < 1 << 53, "JSON numbers hold it");
        assert_eq!(wire.run("BEAR.LOCK api door 10000"), Reply::Nil);
        assert_eq!(wire.run("BEAR.LOCK api door 10000 WAIT 0"), Reply::Nil);
        let other = lock(&mut wire, "api gate 10000");
        assert!(other > first, "tokens grow over the locks of a space");
        assert_eq!(wire.run(&format!("BEAR.UNLOCK api door {other}")), Reply::Int(0), "another's token");
        assert_eq!(wire.run(&format!("BEAR.EXTENDLOCK api door {other} 1")), Reply::Int(0));
        assert_eq!(wire.run(&format!("BEAR.EXTENDLOCK api door {first} 60000")), Reply::Int(1));
        assert!((50_000..=60_001).contains(&wire.run("PTTL api:@lock:door").int()));
        assert_eq!(wire.run("GET api:@lock:door").text(), format!("{first} 60000"));
        assert_eq!(wire.run(&format!("BEAR.UNLOCK api door {first}")), Reply::Int(1));
        assert_eq!(wire.run(&format!("BEAR.UNLOCK api door {first}")), Reply::Int(0));
        assert_eq!(wire.run(&format!("BEAR.EXTENDLOCK api door {first} 60000")), Reply::Int(0));
        let second = lock(&mut wire, "api door 10000 wait 5");
        assert!(second > other);
        wire.run(&format!("BEAR.UNLOCK api door {second}"));
        wire.run(&format!("BEAR.UNLOCK api gate {other}"));
        assert_eq!(redis.keys(), ["api:@token"]);
    }
}

#[test]
fn locks_of_tenants_and_odd_names_are_their_own() {
    let redis = start();
    let mut wire = redis.wire();
    let names: [&[u8]; 6] = [b"a", b"a:b", b"a%3Ab", b"\x00\xff\r\n", b"caches", &[b'x'; 1024]];
    for name in names {
        for space in [&b"api"[..], b"{x}:shop", b"{y}:shop"] {
            assert!(matches!(wire.call(&[b"BEAR.LOCK", space, name, b"60000"]), Reply::Int(_)), "{name:?}");
            assert!(wire.call(&[b"BEAR.LOCK", space, name, b"60000"]).is_nil());
        }
    }
    assert_eq!(redis.info("bear").int("bear_locks_held"), 18);
}

#[test]
fn a_lock_ends_with_its_time() {
    let redis = start();
    let mut wire = redis.wire();
    let first = lock(&mut wire, "api door 300");
    let second = lock(&mut wire, "api door 60000 WAIT 20000");
    assert!(second > first);
    assert_eq!(wire.run(&format!("BEAR.UNLOCK api door {first}")), Reply::Int(0));
    assert_eq!(wire.run(&format!("BEAR.EXTENDLOCK api door {first} 5000")), Reply::Int(0));
    assert_eq!(wire.run(&format!("BEAR.UNLOCK api door {second}")), Reply::Int(1));
    let info = redis.info("bear");
    assert_eq!(
        (info.int("bear_locks_granted"), info.int("bear_locks_expired"), info.int("bear_locks_given_back")),
        (2, 1, 1)
    );
}

#[test]
fn in_multi_and_scripts_nobody_waits() {
    let redis = start();
    let mut wire = redis.wire();
    let token = lock(&mut wire, "api door 60000");
    wire.run("MULTI");
    for line in [
        "BEAR.LOCK api door 1000 WAIT 60000".to_owned(),
        format!("BEAR.UNLOCK api door {token}"),
        "BEAR.LOCK api door 1000 WAIT 60000".into(),
    ] {
        assert_eq!(wire.run(&line), Reply::Simple("QUEUED".into()));
    }
    let replies = wire.run("EXEC");
    assert_eq!(replies.list()[..2], [Reply::Nil, Reply::Int(1)]);
    assert!(replies.list()[2].int() > token as i64);
    let script = "return redis.call('BEAR.LOCK', KEYS[1], 'door', '1000', 'WAIT', '60000')";
    assert!(wire.call(&["EVAL", script, "1", "api"]).is_nil());
    let script = "return redis.call('BEAR.LOCK', KEYS[1], 'gate', '1000', 'WAIT', '60000')";
    assert!(wire.call(&["EVAL", script, "1", "api"]).int() > 0);
}

#[test]
fn what_is_wrong_is_said() {
    let redis = start();
    let mut wire = redis.wire();
    let long = "x".repeat(1_025);
    for (line, text) in [
        ("BEAR.LOCK other door 1000", "ERR no section is called 'other'; the catalog has api, mail, shop"),
        ("BEAR.LOCK shop door 1000", "ERR 'shop' is kept per tenant: the space must be written as '{…}:shop'"),
        ("BEAR.LOCK api door 0", "ERR ms must be a number from 1 to 86400000, got '0'"),
        ("BEAR.LOCK api door 86400001", "ERR ms must be a number from 1 to 86400000, got '86400001'"),
        ("BEAR.LOCK api door 1000 WAIT", "ERR the number after WAIT is missing"),
        ("BEAR.LOCK api door 1000 WAIT -1", "ERR WAIT must be a number from 0 to 31536000000, got '-1'"),
        ("BEAR.LOCK api door 1000 WAIT 1 WAIT 1", "ERR WAIT is given twice"),
        ("BEAR.LOCK api door 1000 BLOCK 1", "ERR 'BLOCK' is no option; there is WAIT ms"),
        (&format!("BEAR.LOCK api {long} 1000"), "TOOLARGE a lock's name is 1 to 1024 bytes, got 1025"),
        ("BEAR.UNLOCK api door x", "ERR a token is the number that BEAR.LOCK gave, got 'x'"),
        ("BEAR.EXTENDLOCK api door 1 0", "ERR ms must be a number from 1 to 86400000, got '0'"),
        ("BEAR.LIMIT api search", "ERR wrong number of arguments for 'bear.limit' command"),
        ("BEAR.LIMIT api find 42", "ERR no limit of section 'api' is called 'find'; there are search"),
        ("BEAR.LIMIT {x}:shop find 42", "ERR section 'shop' has no limit with a name in the catalog; say burst, count and period_ms after the key, or write [shop.limit.find]"),
        ("BEAR.LIMIT api search 42 x", "ERR quantity must be a number from 0 to 1000000, got 'x'"),
        ("BEAR.LIMIT api 42 5 1 0", "ERR period_ms must be a number from 1 to 31536000000, got '0'"),
        ("BEAR.LIMIT api 42 5 0 1000", "ERR count must be a number from 1 to 1000000, got '0'"),
        ("BEAR.LIMIT api 42 -1 1 1000", "ERR burst must be a number from 0 to 1000000, got '-1'"),
        ("BEAR.LIMIT api 42 1000000 1 31536000000", "ERR the limit would be whole again after more than 100 years; a smaller burst, or a shorter period, is right"),
        ("BEAR.LIMIT api 42 1 1 1000 1 1", "ERR '1' is one word too many"),
    ] {
        assert_eq!(wire.run(line).error(), text, "{line}");
    }
    assert!(wire
        .call(&["BEAR.LOCK", "api", "", "1000"])
        .error()
        .starts_with("ERR a lock's name is 1 to 1024 bytes, got none"));
    assert_eq!(redis.keys(), Vec::<String>::new());
}

#[test]
fn key_patterns_are_of_the_space() {
    let redis = start();
    redis.run("ACL SETUSER one on >secret resetkeys ~api ~{x}:shop -@all +bear.lock +bear.unlock +bear.extendlock +bear.limit");
    redis.run("ACL SETUSER looks on >secret resetkeys %R~api -@all +bear.lock +bear.limit");
    let mut wire = redis.wire();
    assert!(wire.run("AUTH one secret").is_ok());
    let token = lock(&mut wire, "api door 1000");
    assert_eq!(wire.run(&format!("BEAR.UNLOCK api door {token}")), Reply::Int(1));
    lock(&mut wire, "{x}:shop door 1000");
    assert_eq!(limit(&mut wire, "api search 42")[0], 0);
    for line in
        ["BEAR.LOCK {y}:shop door 1000", "BEAR.LIMIT mail send 42", "BEAR.UNLOCK mail door 1", "GET api:@lock:door"]
    {
        assert!(wire.run(line).error().starts_with("NOPERM"), "{line}");
    }
    assert!(wire.run("AUTH looks secret").is_ok());
    for line in ["BEAR.LOCK api door 1000", "BEAR.LIMIT api search 42"] {
        assert!(wire.run(line).error().starts_with("NOPERM"), "{line}");
    }
}
