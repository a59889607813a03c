//! Keys of locks and limits: what others do to them, and what stands in their place.

use std::time::Duration;

use super::{append_only, start};
use crate::support::locks::{limit, lock, lock_waiter, token};
use crate::support::{eventually, Redis, Reply};

#[test]
fn what_is_not_bears_is_left_alone() {
    let redis = start();
    let mut wire = redis.wire();
    for (line, key, code, also) in [
        ("RPUSH api:@lock:door a", "api:@lock:door", "WRONGTYPE", "BEAR.LOCK api door 1000"),
        ("SET api:@lock:door mine", "api:@lock:door", "FOREIGN", "BEAR.LOCK api door 1000"),
        ("SET api:@lock:door mine", "api:@lock:door", "FOREIGN", "BEAR.UNLOCK api door 7"),
        ("HSET api:@lock:door a b", "api:@lock:door", "WRONGTYPE", "BEAR.EXTENDLOCK api door 7 1000"),
        ("SADD api:@limit:search:42 a", "api:@limit:search:42", "WRONGTYPE", "BEAR.LIMIT api search 42"),
        ("SET api:@limit:42 mine", "api:@limit:42", "FOREIGN", "BEAR.LIMIT api 42 1 1 1000"),
        ("SET api:@token mine", "api:@token", "FOREIGN", "BEAR.LOCK api door 1000"),
        ("SADD api:@token mine", "api:@token", "WRONGTYPE", "BEAR.LOCK api door 1000"),
    ] {
        assert!(!wire.run(line).is_error());
        let before = wire.run(&format!("DUMP {key}"));
        let error = wire.run(also).error().to_owned();
        assert!(error.starts_with(code) && error.contains(key), "{line}, {also}: {error}");
        assert_eq!(wire.run(&format!("DUMP {key}")), before, "{line}");
        assert_eq!(wire.run(&format!("DEL {key}")), Reply::Int(1));
        assert!(!wire.run(also).is_error(), "{also}: it has gone");
        wire.run("FLUSHALL");
    }
}

#[test]
fn who_waits_behind_somebodys_key_has_the_lock_when_it_has_gone() {
    let redis = start();
    let mut wire = redis.wire();
    let held = lock(&mut wire, "api door 60000");
    let mut waiter = lock_waiter(&redis, "api door 60000 WAIT 60000", 0);
    wire.run("SET api:@lock:door mine");
    assert!(wire.run(&format!("BEAR.UNLOCK api door {held}")).error().starts_with("FOREIGN"));
    assert!(waiter.silent_for(Duration::from_millis(200)));
    wire.run("DEL api:@lock:door");
    assert!(token(&waiter.receive()) > held);
}

#[test]
fn an_operator_ends_a_lock_by_deleting_its_key() {
    let redis = start();
    let mut wire = redis.wire();
    // Valkey tells of a TTL that has passed as of one that has ended by itself, which ends no lock before its time.
    let past = redis.info("server").get("valkey_version").is_none().then_some("PEXPIREAT api:@lock:door 1");
    let ways = ["DEL api:@lock:door", "UNLINK api:@lock:door", "RENAME api:@lock:door other"];
    for how in ways.into_iter().chain(past) {
        let held = lock(&mut wire, "api door 60000 WAIT 20000");
        let mut waiter = lock_waiter(&redis, "api door 60000 WAIT 60000", 0);
        assert!(!wire.run(how).is_error(), "{how}");
        let next = token(&waiter.receive());
        assert!(next > held);
        assert_eq!(wire.run(&format!("BEAR.UNLOCK api door {held}")), Reply::Int(0), "{how}");
        assert_eq!(wire.run(&format!("BEAR.UNLOCK api door {next}")), Reply::Int(1), "{how}");
    }
}

/// What a backup, or a copy of the key, says of a lock holds.
#[test]
fn a_lock_that_another_hand_has_written_is_held() {
    let redis = start();
    let mut wire = redis.wire();
    wire.run("SET api:@lock:door 7#30000 PX 60000".replace('#', "_").as_str());
    assert!(wire.run("BEAR.LOCK api door 1000").error().starts_with("FOREIGN"));
    wire.call(&["SET", "api:@lock:door", "7 400", "PX", "60000"]);
    assert!(wire.run("BEAR.LOCK api door 1000").is_nil());
    assert_eq!(wire.run("BEAR.UNLOCK api door 8"), Reply::Int(0));
    lock(&mut wire, "api door 60000 WAIT 20000");
    wire.run("PERSIST api:@lock:door");
    assert!(wire.run("BEAR.LOCK api door 1000").is_nil(), "without a TTL it is held for its time");
}

#[test]
fn eviction_ends_no_lock() {
    let redis = Redis::builder().catalog(super::CATALOG).config("maxmemory-policy", "volatile-random").start();
    let mut wire = redis.wire();
    let held = lock(&mut wire, "api door 60000");
    assert!(wire.run("CONFIG SET maxmemory 1").is_ok());
    eventually("something is evicted", || {
        wire.run("SET a b");
        redis.info("stats").int("evicted_keys") > 0
    });
    assert!(wire.run("CONFIG SET maxmemory 0").is_ok());
    assert!(wire.run("BEAR.LOCK api door 1000").is_nil());
    eventually("its key is written again", || wire.run("EXISTS api:@lock:door") == Reply::Int(1));
    assert_eq!(wire.run(&format!("BEAR.UNLOCK api door {held}")), Reply::Int(1));
}

#[test]
fn keys_end_with_what_they_say() {
    let redis = append_only();
    let mut wire = redis.wire();
    lock(&mut wire, "api door 1500");
    limit(&mut wire, "api 42 0 1 1500");
    assert!((1..=1_501).contains(&wire.run("PTTL api:@limit:42").int()));
    assert_eq!(redis.keys(), ["api:@limit:42", "api:@lock:door", "api:@token"]);
    eventually("both have gone", || redis.keys() == ["api:@token"]);
    eventually("and are known no more", || redis.info("bear").int("bear_locks_held") == 0);
    assert_eq!(limit(&mut wire, "api 42 0 1 1500"), [0, 1, 0, -1, 1500]);
}

/// Locks alone make a section bear's, and nothing of them is swept or adopted away.
#[test]
fn a_dataset_of_locks_is_bears_and_stays() {
    let mut redis = append_only();
    let held = lock(&mut redis.wire(), "api door 60000");
    let mut wire = redis.wire();
    limit(&mut wire, "api search 42 4");
    redis.kill9();
    redis.start_again();
    let mut wire = redis.wire();
    eventually("it is swept", || redis.info("bear").int("bear_sweeping_all") == 0);
    assert!(wire.run("BEAR.ADOPT api").is_ok());
    eventually("it is swept again", || redis.info("bear").int("bear_sweeping_all") == 0);
    assert_eq!(redis.info("bear").int("bear_foreign_keys"), 0);
    assert_eq!(wire.run(&format!("BEAR.UNLOCK api door {held}")), Reply::Int(1));
}
