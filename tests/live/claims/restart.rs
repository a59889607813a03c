//! What is known of claimed jobs is in their keys: it survives a restart, from an append-only file or an RDB, and is plain data to a
//! Redis without the module. Leases do not run while Redis is down.

use std::time::{Duration, Instant};

use crate::support::claims::{ack, claim, claim_one, enqueue, tell};
use crate::support::{eventually, Redis, Reply};

const CATALOG: &str = r#"
[work]
[work.job.A]
data = { n = "int" }
claim = { lease = "60s", attempts = 5, backoff = "1ms" }
[work.job.SHORT]
data = { n = "int" }
claim = { lease = "3s", attempts = 5 }
[lane.job.STEP]
data = { n = "int" }
claim = { lease = "60s" }
order = ["n"]
[other.job.A]
data = { n = "int" }
claim = { lease = "60s" }
[paused.job.A]
data = { n = "int" }
claim = { lease = "60s" }
[narrow.job.CALL]
data = { n = "int" }
claim = { lease = "60s" }
[narrow.limit]
concurrency = 3
[slow.job.CALL]
data = { n = "int" }
claim = { lease = "60s" }
[slow.limit]
rate = "3/m"
"#;

/// From the append-only file after a crash, and from an RDB.
fn survives(mut redis: Redis, end: impl FnOnce(&mut Redis)) {
    let mut wire = redis.wire();
    let mut add = |words: &str| enqueue(&mut wire, words);
    add(r#"work A {"n":1}"#);
    add(r#"work A {"n":2} PRIORITY 9"#);
    add(r#"work A {"n":3} PRIORITY 10 ATTEMPTS 7 UNIQUE k"#);
    let late = add(r#"work A {"n":4} DELAY 3600000"#);
    add(r#"work A {"n":5} PRIORITY 8"#);
    let lane = [1, 1, 2].map(|n| add(&format!(r#"lane STEP {{"n":{n}}}"#)));
    (0..5).for_each(|n| drop(add(&format!(r#"narrow CALL {{"n":{n}}}"#))));
    add(r#"other A {"n":1}"#);
    add(r#"paused A {"n":1}"#);
    (0..5).for_each(|n| drop(add(&format!(r#"slow CALL {{"n":{n}}}"#))));
    let held = claim_one(&mut wire, "work WORKER one");
    let failed = claim_one(&mut wire, "work WORKER two");
    assert_eq!(tell(&mut wire, "FAIL", &failed, "oops BACKOFF 0").text(), "waiting");
    let put_off = claim_one(&mut wire, "work COUNT 1");
    assert_eq!((put_off.data.as_str(), put_off.attempt), (r#"{"n":2}"#, 2));
    assert_eq!(tell(&mut wire, "FAIL", &put_off, "oops BACKOFF 3600000").text(), "delayed");
    let in_lane = claim_one(&mut wire, "lane");
    assert_eq!(in_lane.id, lane[0]);
    assert!(wire.run("BEAR.LIMITQUEUE narrow CONCURRENCY 2").is_ok());
    assert_eq!(claim(&mut wire, "narrow COUNT 10").len(), 2);
    let slow = claim(&mut wire, "slow COUNT 2");
    ack(&mut wire, &slow[0]);
    let updated = enqueue(&mut wire, r#"lane STEP {"n":8}"#);
    assert!(wire.run(&format!(r#"BEAR.UPDATE lane {updated} {{"n":1}}"#)).is_ok());
    let cancelled = claim_one(&mut wire, "other");
    assert_eq!(wire.run(&format!("BEAR.CANCEL other {} no-more", cancelled.id)).text(), "active");
    assert_eq!(tell(&mut wire, "LOG", &held, "begun"), Reply::Int(1));
    assert!(wire.run("BEAR.PAUSE paused").is_ok());
    let delayed = wire.run("ZRANGE work:queue:work:delayed 0 -1 WITHSCORES");
    assert_eq!(delayed.list().len(), 4);

    end(&mut redis);

    let mut wire = redis.wire();
    assert_eq!(wire.run("ZRANGE work:queue:work:delayed 0 -1 WITHSCORES"), delayed);
    assert_eq!(tell(&mut wire, "EXTEND", &held, ""), Reply::Int(60_000), "it is held as before");
    let next = claim(&mut wire, "work COUNT 10");
    let found: Vec<(&str, i64)> = next.iter().map(|job| (job.data.as_str(), job.attempt)).collect();
    assert_eq!(found, [(r#"{"n":5}"#, 1), (r#"{"n":1}"#, 1)], "by priority, without what is held or delayed");
    assert!(next.iter().all(|job| job.token > put_off.token.max(held.token)), "{next:?} after {put_off:?}");
    assert_eq!(claim(&mut wire, "lane COUNT 10").iter().map(|job| &job.id).collect::<Vec<_>>(), [&lane[2]]);
    ack(&mut wire, &in_lane);
    let in_lane = claim_one(&mut wire, "lane COUNT 10");
    assert_eq!(in_lane.id, lane[1]);
    ack(&mut wire, &in_lane);
    let job = claim_one(&mut wire, "lane COUNT 10");
    assert_eq!(
        (job.id.as_str(), job.data.as_str()),
        (updated.as_str(), r#"{"n":1}"#),
        "with its other payload, and order"
    );
    assert_eq!(tell(&mut wire, "EXTEND", &cancelled, "").error(), "CANCELLED no-more");
    assert_eq!(tell(&mut wire, "RELEASE", &cancelled, "").text(), "failed");
    assert_eq!(tell(&mut wire, "LOG", &held, "again"), Reply::Int(2));
    assert_eq!(claim(&mut wire, "paused COUNT 10"), []);
    assert!(wire.run("BEAR.RESUME paused").is_ok());
    assert_eq!(claim(&mut wire, "paused COUNT 10").len(), 1);
    assert_eq!(claim(&mut wire, "narrow COUNT 10"), [], "the limit that was set is in force");
    assert!(wire.run("BEAR.LIMITQUEUE narrow CONCURRENCY 4").is_ok());
    assert_eq!(claim(&mut wire, "narrow COUNT 10").len(), 2);
    assert_eq!(claim(&mut wire, "slow COUNT 10").len(), 1, "two of the three in a minute were begun before");
    ack(&mut wire, &held);
    assert_eq!(wire.run("BEAR.ENQUEUE work A {\"n\":3} UNIQUE k").text(), held.id, "the key is remembered");
    assert!(tell(&mut wire, "ACK", &put_off, "").error().contains("delayed"));
    // What waits for its next attempt has it when its time comes.
    wire.run(&format!("ZADD work:queue:work:delayed 1 {}", put_off.id));
    let mut again = Vec::new();
    eventually("its time has come", || {
        again.extend(claim(&mut wire, "work COUNT 10"));
        !again.is_empty()
    });
    assert_eq!((again[0].id.as_str(), again[0].attempt, again.len()), (put_off.id.as_str(), 3, 1));
    assert_eq!(wire.run(&format!("ZSCORE work:queue:work:delayed {late}")).text().len(), 13);
}

#[test]
fn all_is_as_before_with_an_append_only_file() {
    let redis = Redis::builder().catalog(CATALOG).append_only().config("appendfsync", "always").start();
    survives(redis, |redis| {
        redis.kill9();
        redis.start_again();
    });
}

#[test]
fn all_is_as_before_with_a_rewritten_append_only_file() {
    let redis = Redis::builder().catalog(CATALOG).append_only().config("appendfsync", "always").start();
    survives(redis, |redis| {
        let mut wire = redis.wire();
        wire.run("BGREWRITEAOF");
        eventually("it is rewritten", || {
            let info = redis.info("persistence");
            info.int("aof_rewrite_in_progress") == 0 && info.int("aof_rewrite_scheduled") == 0
        });
        redis.kill9();
        redis.start_again();
    });
}

#[test]
fn all_is_as_before_with_an_rdb() {
    survives(Redis::builder().catalog(CATALOG).start(), |redis| {
        assert!(redis.run("SAVE").is_ok());
        redis.kill9();
        redis.start_again();
    });
}

#[test]
fn without_the_module_all_is_plain_data() {
    let redis = Redis::builder().catalog(CATALOG).append_only().config("appendfsync", "always").start();
    let mut wire = redis.wire();
    let ids = [1, 2, 3].map(|n| enqueue(&mut wire, &format!(r#"work A {{"n":{n}}} PRIORITY {}"#, 10 - n)));
    enqueue(&mut wire, r#"work A {"n":4} DELAY 3600000"#);
    enqueue(&mut wire, r#"slow CALL {"n":5}"#);
    let jobs = claim(&mut wire, "work COUNT 3 WORKER ann");
    ack(&mut wire, &jobs[0]);
    tell(&mut wire, "FAIL", &jobs[1], "oops BACKOFF 3600000");
    tell(&mut wire, "EXTEND", &jobs[2], "PROGRESS 50");
    claim_one(&mut wire, "slow");
    let plain = Redis::builder().plain().append_only().data_of(&redis).start();
    let mut wire = plain.wire();
    for (key, kind) in [
        ("work:queue:work", "stream"),
        ("work:queue:work:claims", "hash"),
        ("work:queue:work:token", "string"),
        ("work:queue:work:delayed", "zset"),
        ("work:queue:work:attempts", "hash"),
        ("work:queue:work:progress", "hash"),
        ("work:queue:work:totals", "hash"),
        ("work:queue:work:completed", "stream"),
        ("slow:queue:work:started", "stream"),
    ] {
        assert_eq!(wire.run(&format!("TYPE {key}")).text(), kind, "{key}");
    }
    let record = wire.run(&format!("HGET work:queue:work:claims {}", ids[2])).json();
    assert_eq!((record["worker"].as_str(), record["token"].as_u64()), (Some("ann"), Some(jobs[2].token)));
    let record = wire.run(&format!("HGET work:queue:work:attempts {}", ids[1])).json();
    assert_eq!(record["errors"][0]["message"], "oops");
    let entry = wire.run(&format!("XRANGE work:queue:work {} {}", ids[1], ids[1]));
    let fields = entry.list()[0].list()[1].map();
    assert_eq!((fields["job"].text(), fields["data"].text()), ("A".into(), r#"{"n":2}"#.into()));
}

#[test]
fn a_lease_has_its_whole_time_again_and_none_ends_while_redis_is_down() {
    let mut redis = Redis::builder().catalog(CATALOG).append_only().config("appendfsync", "always").start();
    let mut wire = redis.wire();
    (0..2).for_each(|n| drop(enqueue(&mut wire, &format!(r#"work SHORT {{"n":{n}}}"#))));
    let jobs = claim(&mut wire, "work COUNT 2");
    redis.kill9();
    // What is looked at is that a lease of three seconds has not run on.
    std::thread::sleep(Duration::from_millis(3300));
    redis.start_again();
    let begun = Instant::now();
    let mut wire = redis.wire();
    ack(&mut wire, &jobs[0]);
    assert!(begun.elapsed() < Duration::from_secs(3), "it was asked too late to tell anything");
    assert_eq!(wire.run("HLEN work:queue:work:attempts"), Reply::Int(0));
    let at = wire.run("TIME").list()[0].text().parse::<u64>().expect("seconds") * 1000;
    eventually("the other lease has ended", || wire.run("HLEN work:queue:work:claims") == Reply::Int(0));
    let record = wire.run(&format!("HGET work:queue:work:attempts {}", jobs[1].id)).json();
    let ended = record["errors"][0]["at"].as_u64().expect("a time");
    assert!(ended >= at + 1000, "it ended at {ended}, the server was back before {at}");
    assert_eq!(claim_one(&mut wire, "work").attempt, 2);
}

/// The same process reads its own data again.
#[test]
fn all_is_as_before_when_the_data_is_read_again() {
    survives(Redis::builder().catalog(CATALOG).start(), |redis| assert!(redis.run("DEBUG RELOAD").is_ok()));
}
