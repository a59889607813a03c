//! Removals of thousands of entries: in force from the moment they are asked for, carried out in slices, whole again
//! after whatever interrupts them.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::{burst, eventually, Database, KeyspaceModel, Postgres, Redis, Reply, Wire};

/// Calls `of 0`, `of 1` …: each is one row of four, so that a row is in a quarter of the entries.
const CATALOG: &str = r#"
[item]
id = "int"
ttl = "1h"
tables = { item = "id" }
[[item.query]]
call = "of {n:int}"
sql = "SELECT id, version FROM item WHERE id = 1 + {n} % 4"
tags = ["all"]
[other]
id = "int"
[[other.query]]
call = "{n:int}"
sql = "SELECT {n}::int AS id"
"#;

const SCHEMA: &str =
    "CREATE TABLE item(id int PRIMARY KEY, version int); INSERT INTO item SELECT i, 0 FROM generate_series(1, 4) i";

/// What replicas honour while a removal is carried out.
const TOMBSTONE: &str = "bear.module:cold";

fn database() -> Database {
    let database = Postgres::shared().database(SCHEMA);
    database.log_errors_only();
    database
}

fn start(database: &Database) -> Redis {
    Redis::builder()
        .postgres(database)
        .catalog(CATALOG)
        .append_only()
        .config("appendfsync", "always")
        .config("bear.query-timeout-ms", 60_000)
        .start()
}

fn result(n: usize, version: usize) -> String {
    format!(r#"[{{"id":{},"version":{version}}}]"#, 1 + n % 4)
}

/// Has these calls cached.
fn fill(redis: &Redis, calls: std::ops::Range<usize>, version: usize) {
    let lines: Vec<String> = calls.clone().map(|n| format!("BEAR.QUERY item of {n}")).collect();
    for (n, reply) in calls.zip(burst(redis, &lines)) {
        assert_eq!(reply.text(), result(n, version));
    }
    redis.wait_stored();
}

fn new_version(database: &Database, version: usize) {
    database.run(&format!("UPDATE item SET version = {version}"));
}

/// When the count of a removal is told.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Told {
    /// With its being in force: the index knows it.
    AtOnce,
    /// When all entries have been gone through.
    Later,
}

/// Sends an invalidation and has the server stop all removing before it has begun: the removal is in force, and stays
/// there until `CLIENT UNPAUSE`. The connection waits for the reply, or has it.
fn invalidate_and_hold(redis: &Redis, what: &str, told: Told) -> Wire {
    let [invalidator] = invalidate_all_and_hold(redis, [what], usize::from(told == Told::Later));
    invalidator
}

/// The same with several at once, each on a connection of its own, of which so many wait.
fn invalidate_all_and_hold<const N: usize>(redis: &Redis, whats: [&str; N], waiting: usize) -> [Wire; N] {
    let (mut sleeper, mut pauser) = (redis.wire(), redis.wire());
    let mut invalidators = whats.map(|_| redis.wire());
    // While the server sleeps all commands arrive, so that it reads them in one turn, before any timer.
    sleeper.begin("DEBUG SLEEP 0.3");
    thread::sleep(Duration::from_millis(100));
    for (invalidator, what) in invalidators.iter_mut().zip(whats) {
        invalidator.begin(&format!("BEAR.INVALIDATE item {what}"));
    }
    pauser.begin("CLIENT PAUSE 100000 WRITE");
    assert!(sleeper.receive().is_ok() && pauser.receive().is_ok());
    redis.wait_blocked(waiting as i64);
    invalidators
}

fn count_of_old(redis: &Redis, calls: usize) -> i64 {
    let mut args = vec!["EXISTS".to_owned()];
    args.extend((0..calls).map(|n| format!("item:of:{n}")));
    redis.wire().call(&args).int()
}

#[test]
fn a_removal_of_20000_entries_is_in_force_before_it_is_carried_out() {
    const CALLS: usize = 20_000;
    let database = database();
    let master = start(&database);
    let replica = Redis::builder().postgres(&database).catalog(CATALOG).replica_of(&master).start();
    fill(&master, 0..CALLS, 0);
    let mut wire = master.wire();
    wire.run("BEAR.QUERY other 7");
    wire.run("SET foreign 1");
    master.wait_stored();
    replica.wait_in_sync(&master);
    assert_eq!(replica.run("BEAR.QUERY item CACHED of 77").text(), result(77, 0));
    new_version(&database, 1);

    // A row first: a quarter of it.
    assert_eq!(wire.run("BEAR.INVALIDATE item ROW 3"), Reply::Int(CALLS as i64 / 4));
    for n in [2, 6, 10_002, CALLS - 2] {
        assert_eq!(wire.run(&format!("BEAR.QUERY item CACHED of {n}")), Reply::Nil);
        assert_eq!(wire.run(&format!("BEAR.QUERY item CACHED of {}", n + 1)).text(), result(n + 1, 0));
    }
    eventually("the row's set is swept", || wire.run("EXISTS item:meta:3:caches") == Reply::Int(0));
    assert_eq!(wire.run("SCARD item:tag:all"), Reply::Int(CALLS as i64 / 4 * 3));
    eventually("no tombstone is left", || wire.run(&format!("EXISTS {TOMBSTONE}")) == Reply::Int(0));

    // Then all of them: those of before and those filled since.
    let again: Vec<String> = (2..CALLS).step_by(4).map(|n| format!("BEAR.QUERY item of {n}")).collect();
    assert!(burst(&master, &again).iter().all(|reply| reply.text() == result(2, 1)));
    master.wait_stored();
    let begun = Instant::now();
    assert_eq!(wire.run("BEAR.INVALIDATE item ALL"), Reply::Int(CALLS as i64));
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    eventually("the keys follow", || count_of_old(&master, CALLS) == 0);
    assert!(!wire.run("BEAR.QUERY other CACHED 7").is_nil());
    eventually("all is swept", || master.keys() == ["foreign", "other:7", "other:meta:7:caches"]);
    replica.wait_in_sync(&master);
    assert_eq!(replica.keys(), master.keys());
}

/// The removal stands still before its first slice: what it concerns is served nowhere, though all of it is there.
#[test]
fn nothing_old_is_served_while_the_slices_are_yet_to_come() {
    const CALLS: usize = 2000;
    for (what, told) in [
        ("ALL", Told::AtOnce),
        ("TAG all", Told::AtOnce),
        ("PATTERN of:*", Told::Later),
        // Four large sets may share entries.
        ("ROW 1 2 3 4", Told::Later),
    ] {
        let database = database();
        let master = start(&database);
        let replica = Redis::builder().postgres(&database).catalog(CATALOG).replica_of(&master).start();
        fill(&master, 0..CALLS, 0);
        assert!(!master.run("BEAR.QUERY other 7").is_error());
        master.wait_stored();
        replica.wait_in_sync(&master);
        new_version(&database, 1);
        let mut invalidator = invalidate_and_hold(&master, what, told);
        if told == Told::AtOnce {
            assert_eq!(invalidator.receive(), Reply::Int(CALLS as i64), "{what}");
        }
        replica.wait_in_sync(&master);
        assert_eq!(count_of_old(&master, CALLS), CALLS as i64, "{what}: nothing is carried out yet");
        assert_eq!(count_of_old(&replica, CALLS), CALLS as i64, "{what}");
        assert_eq!(replica.run(&format!("EXISTS {TOMBSTONE}")), Reply::Int(1), "{what}");
        for node in [&master, &replica] {
            let lines: Vec<String> = (0..CALLS).map(|n| format!("BEAR.QUERY item CACHED of {n}")).collect();
            assert!(burst(node, &lines).iter().all(Reply::is_nil), "{what}");
            for n in [0, 1, 998, CALLS - 1] {
                assert_eq!(node.run(&format!("BEAR.QUERY item of {n}")).text(), result(n, 1), "{what}");
            }
        }
        // Another space has nothing to do with it.
        assert!(!master.run("BEAR.QUERY other CACHED 7").is_nil(), "{what}");
        // Fetched after the removal was asked for: it is answered from now on, and lives on.
        assert_eq!(master.run("BEAR.QUERY item CACHED of 0").text(), result(0, 1), "{what}");
        if told == Told::Later {
            assert!(invalidator.silent_for(Duration::from_millis(20)), "{what}: the count is not known yet");
        }

        assert!(master.run("CLIENT UNPAUSE").is_ok());
        if told == Told::Later {
            let removed = invalidator.receive().int();
            // Four of them have been replaced meanwhile.
            assert!((CALLS as i64 - 4..=CALLS as i64).contains(&removed), "{what}: {removed}");
        }
        for n in [0, 1, 998, CALLS - 1] {
            assert_eq!(master.run(&format!("BEAR.QUERY item CACHED of {n}")).text(), result(n, 1), "{what}");
        }
        eventually("no tombstone is left", || master.run(&format!("EXISTS {TOMBSTONE}")) == Reply::Int(0));
        eventually("metadata is swept", || master.run("SCARD item:tag:all") == Reply::Int(4));
        replica.wait_in_sync(&master);
        assert_eq!(replica.keys(), master.keys(), "{what}");
        assert_eq!(replica.run("BEAR.QUERY item CACHED of 998").text(), result(998, 1), "{what}");
        assert_eq!(master.run("BEAR.INVALIDATE item ALL"), Reply::Int(4), "{what}");
    }
}

/// Whoever has seen that an invalidation is in force never again sees what was before it.
#[test]
fn readers_see_a_large_removal_at_one_moment() {
    const CALLS: usize = 4000;
    const VERSIONS: usize = 4;
    let database = database();
    let redis = start(&database);
    fill(&redis, 0..CALLS, 0);
    let is_over = AtomicBool::new(false);
    // The versions whose invalidation has been answered, and of which everything has been cached since.
    let (floor, filled) = (AtomicU64::new(0), AtomicU64::new(0));
    thread::scope(|scope| {
        let readers: Vec<_> = (0..2_u64)
            .map(|reader| {
                let (redis, is_over, floor, filled) = (&redis, &is_over, &floor, &filled);
                scope.spawn(move || {
                    let mut wire = redis.wire();
                    let mut random = reader + 1;
                    let mut least = 0;
                    let mut nils = 0;
                    while !is_over.load(Ordering::SeqCst) {
                        least = least.max(floor.load(Ordering::SeqCst));
                        let whole = filled.load(Ordering::SeqCst);
                        for _ in 0..50 {
                            random ^= random << 13;
                            random ^= random >> 7;
                            random ^= random << 17;
                            wire.begin(&format!("BEAR.QUERY item CACHED of {}", random % CALLS as u64));
                        }
                        for _ in 0..50 {
                            match wire.receive() {
                                // Everything was there: what is missing now says that the next one is in force.
                                Reply::Nil => {
                                    nils += 1;
                                    least = least.max(whole + 1);
                                }
                                reply => {
                                    let version = reply.json()[0]["version"].as_u64().expect("a version");
                                    assert!(version >= least, "version {version} after {least}");
                                    least = version;
                                }
                            }
                        }
                    }
                    nils
                })
            })
            .collect();
        struct Over<'a>(&'a AtomicBool);
        impl Drop for Over<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::SeqCst);
            }
        }
        let over = Over(&is_over);
        let mut wire = redis.wire();
        for version in 1..=VERSIONS {
            new_version(&database, version);
            let what = ["ALL", "TAG all", "ROW 1 2 3 4", "PATTERN *"][version % 4];
            assert_eq!(wire.run(&format!("BEAR.INVALIDATE item {what}")), Reply::Int(CALLS as i64), "{what}");
            floor.store(version as u64, Ordering::SeqCst);
            fill(&redis, 0..CALLS, version);
            filled.store(version as u64, Ordering::SeqCst);
        }
        drop(over);
        for reader in readers {
            assert!(reader.join().expect("nothing old") > 0);
        }
    });
}

/// A crash in the middle: half of it is removed, the tombstone stands in the append-only file.
#[test]
fn a_removal_that_a_crash_interrupts_is_finished_after_the_restart() {
    const CALLS: usize = 8000;
    let database = database();
    let mut master = start(&database);
    let replica = Redis::builder().postgres(&database).catalog(CATALOG).replica_of(&master).start();
    fill(&master, 0..CALLS, 0);
    master.run("SET foreign 1");
    replica.wait_in_sync(&master);
    new_version(&database, 1);
    let invalidator = invalidate_and_hold(&master, "ALL", Told::AtOnce);
    // It goes on for some slices, and is held again.
    let mut wire = master.wire();
    for line in ["CLIENT UNPAUSE", "DBSIZE"] {
        wire.run(line);
    }
    eventually("some of it is removed", || wire.run("EXISTS item:of:0") == Reply::Int(0));
    wire.run("CLIENT PAUSE 100000 WRITE");
    let left = count_of_old(&master, CALLS);
    assert!(left > 0, "it must be caught in the middle");
    master.kill9();
    drop(invalidator);
    master.start_again();
    let lines: Vec<String> = (0..CALLS).map(|n| format!("BEAR.QUERY item CACHED of {n}")).collect();
    assert!(burst(&master, &lines).iter().all(Reply::is_nil));
    // On the replica as well, before and after it has heard of its master again.
    assert!(burst(&replica, &lines).iter().all(Reply::is_nil));
    for n in [0, CALLS / 2, CALLS - 1] {
        assert_eq!(master.run(&format!("BEAR.QUERY item of {n}")).text(), result(n, 1));
        assert_eq!(replica.run(&format!("BEAR.QUERY item of {n}")).text(), result(n, 1));
    }
    master.wait_stored();
    let mut kept = vec!["foreign".to_owned(), "item:tag:all".to_owned()];
    kept.extend([0, CALLS / 2, CALLS - 1].map(|n| format!("item:of:{n}")));
    kept.extend([0, CALLS / 2, CALLS - 1].map(|n| format!("item:meta:{}:caches", 1 + n % 4)));
    let kept: BTreeSet<String> = kept.into_iter().collect();
    let keys = |redis: &Redis| redis.keys().into_iter().collect::<BTreeSet<String>>();
    eventually("all old entries, their metadata and the tombstone are gone", || keys(&master) == kept);
    assert_eq!(master.run("SCARD item:tag:all"), Reply::Int(3));
    replica.wait_in_sync(&master);
    assert_eq!(keys(&replica), kept);
    // What the file says is the same, in every state of it.
    let mut model = KeyspaceModel::default();
    for unit in master.aof() {
        model.apply(&unit);
    }
    let written: BTreeSet<String> = model.strings.into_keys().chain(model.sets.into_keys()).collect();
    assert_eq!(written, kept);
}

/// In MULTI and in scripts nothing can wait: the removal is in force there, and told from the index; the keys follow in
/// slices, under the tombstone that stands in the transaction's own unit.
#[test]
fn in_a_transaction_a_large_removal_is_in_force_at_once() {
    const CALLS: usize = 1500;
    let database = database();
    let redis = start(&database);
    fill(&redis, 0..CALLS, 0);
    let mut stream = redis.replication_stream();
    let mut wire = redis.wire();
    for line in ["MULTI", "SET mark 1", "BEAR.INVALIDATE item ALL", "BEAR.QUERY item CACHED of 700", "DEL mark"] {
        wire.run(line);
    }
    let replies = wire.run("EXEC");
    assert_eq!(replies.list()[1..3], [Reply::Int(CALLS as i64), Reply::Nil]);
    eventually("no key is left", || redis.keys().is_empty());
    let units = stream.units();
    let of_mark = units.iter().find(|unit| unit.iter().any(|command| command.text(1) == "mark"));
    let of_mark = of_mark.expect("the transaction");
    assert!(of_mark.iter().any(|command| command.text(1) == TOMBSTONE), "{of_mark:?}");
    let removed: usize = units
        .iter()
        .flatten()
        .filter(|command| command.name() == "UNLINK" && command.text(1).starts_with("item:of:"))
        .map(|command| command.args().len())
        .sum();
    assert_eq!(removed, CALLS);

    for (first, second, counts) in [
        // Of the set; then of what no earlier removal has taken.
        ("'TAG', 'all'", "'ALL'", [CALLS, 0]),
        ("'ROW', '1'", "'PATTERN', '*'", [CALLS / 4, CALLS / 4 * 3]),
        ("'ROW', '1', '2'", "'TAG', 'all'", [CALLS / 2, CALLS / 2]),
    ] {
        fill(&redis, 0..CALLS, 0);
        let script = format!(
            "return {{redis.call('BEAR.INVALIDATE', KEYS[1], {first}), redis.call('BEAR.INVALIDATE', KEYS[1], {second}), \
             redis.call('BEAR.QUERY', KEYS[1], 'CACHED', 'of', '700')}}"
        );
        let reply = redis.wire().call(&["EVAL", &script, "1", "item"]);
        let counts = counts.map(|count| Reply::Int(count as i64));
        assert_eq!(reply.list(), [&counts[..], &[Reply::Nil]].concat(), "{first}");
        eventually("no key is left", || redis.keys().is_empty());
    }
    eventually("no key is left", || redis.keys().is_empty());
}

#[test]
fn clients_of_a_removal_are_answered_when_the_catalog_loses_its_section() {
    const ENTRIES: usize = 8000;
    let database = database();
    let redis = start(&database);
    fill(&redis, 0..ENTRIES, 0);
    // The second is counted when the first has taken its own.
    let mut clients = invalidate_all_and_hold(&redis, ["ROW 1", "ROW 2"], 1);
    let without = redis.folder().join("without.toml");
    std::fs::write(&without, &CATALOG[CATALOG.find("[other]").unwrap()..]).unwrap();
    assert!(redis.wire().call(&["CONFIG", "SET", "bear.catalog", without.to_str().unwrap()]).is_ok());
    assert!(redis.run("CLIENT UNPAUSE").is_ok());
    for client in &mut clients {
        assert_eq!(client.receive(), Reply::Int(ENTRIES as i64 / 4));
    }
    eventually("nothing of the section is left", || redis.keys().is_empty());
    assert_eq!(redis.run("BEAR.QUERY other 1").text(), r#"[{"id":1}]"#);
}

/// Each hit is compared with all that are in force.
#[test]
fn few_removals_are_in_force_at_a_time_and_all_are_answered() {
    const CALLS: usize = 500;
    const REMOVALS: usize = 12;
    let database = database();
    let redis = start(&database);
    fill(&redis, 0..CALLS, 0);
    let whats: [String; REMOVALS] = std::array::from_fn(|n| format!("PATTERN of:{}", 100 + n));
    let mut clients = invalidate_all_and_hold(&redis, std::array::from_fn::<_, REMOVALS, _>(|n| &*whats[n]), REMOVALS);
    let is_gone = |n: &usize| redis.run(&format!("BEAR.QUERY item CACHED of {n}")).is_nil();
    assert_eq!((100..100 + REMOVALS).filter(is_gone).count(), 8, "the others have their turn");
    assert_eq!(redis.info("bear").int("bear_removals_running"), REMOVALS as i64);
    assert!(redis.run("CLIENT UNPAUSE").is_ok());
    for client in &mut clients {
        assert_eq!(client.receive(), Reply::Int(1));
    }
    assert_eq!((0..CALLS).filter(is_gone).count(), REMOVALS);
    eventually("they are carried out", || count_of_old(&redis, CALLS) == (CALLS - REMOVALS) as i64);

    // Where nothing can wait, those that are too many are one of the whole space.
    let mut wire = redis.wire();
    wire.run("MULTI");
    for n in 200..300 {
        wire.run(&format!("BEAR.INVALIDATE item PATTERN of:{n}"));
    }
    wire.run("CLIENT PAUSE 100000 WRITE");
    let replies = wire.run("EXEC");
    assert!(replies.list()[..8].iter().all(|reply| *reply == Reply::Int(1)), "{replies:?}");
    assert_eq!(redis.info("bear").int("bear_removals_running"), 9);
    assert!((200..300).all(|n| is_gone(&n)));
    assert!(redis.run("CLIENT UNPAUSE").is_ok());
    eventually("they are carried out", || count_of_old(&redis, CALLS) == 0);
}

/// However large a removal is, each of its pieces is small: told by what replicas are sent, and not by a clock.
#[test]
fn no_piece_of_a_large_removal_is_large() {
    const CALLS: usize = 12_000;
    let database = database();
    let redis = start(&database);
    for what in ["ROW 1", "TAG all", "PATTERN of:*1", "ROW 1 2", "ALL"] {
        fill(&redis, 0..CALLS, 0);
        let mut stream = redis.replication_stream();
        let count = redis.run(&format!("BEAR.INVALIDATE item {what}")).int();
        assert!(count >= CALLS as i64 / 10, "{what}: {count}");
        eventually("it is carried out", || {
            let info = redis.info("bear");
            ["removals_running", "to_sweep"].iter().all(|name| info.int(&format!("bear_{name}")) == 0)
        });
        let units = stream.units();
        let mut unlinked = 0;
        for command in units.iter().flatten() {
            assert!(command.args().len() <= 64, "{what}: {} of {}", command.name(), command.args().len());
            if command.name() == "UNLINK" && command.text(1).starts_with("item:of:") {
                unlinked += command.args().len() as i64;
            }
        }
        assert_eq!(unlinked, count, "{what}: what was told is what was removed");
        let first = units.iter().find(|unit| unit.iter().any(|command| command.text(1) == TOMBSTONE));
        let first = first.expect("the tombstone");
        assert!(first.len() <= 3, "{what}: it stands alone in the reply's unit: {first:?}");
        let longest = units.iter().map(Vec::len).max();
        assert!(longest < Some(1_000), "{what}: a unit of {longest:?} commands is one of a tick of many milliseconds");
    }
}
