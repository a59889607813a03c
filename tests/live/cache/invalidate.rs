//! BEAR.INVALIDATE: exactly what is concerned goes, all of it at once, everywhere.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::thread;

use crate::support::bears::{self, selects};
use crate::support::{eventually, Database, KeyspaceModel, Redis, Reply, Unit};

/// Calls that are cached before each test, with the rows of their results.
const CALLS: [(&str, &[u32]); 7] = [
    ("all", &[1, 2, 3, 4, 5, 6, 7, 8]),
    ("size 100 200", &[1, 2, 4, 5, 6]),
    ("size 300 400", &[3]),
    ("size 1 2", &[]),
    ("colors brown", &[1, 2, 5, 7]),
    ("colors white", &[3, 4]),
    ("colors black,white size 100 200", &[4, 6]),
];

/// Keys of others, some of which look like ours.
const FOREIGN_KEYS: [&str; 6] = ["bear", "bears:all", "xbear:all", "{x}:bear:all", "bear.all", "other"];

fn warm(redis: &Redis) {
    let mut wire = redis.wire();
    for (call, rows) in CALLS {
        assert_eq!(wire.run(&format!("BEAR.QUERY bear {call}")).text(), bears::json(rows), "{call}");
    }
    wire.run("BEAR.QUERY color all");
    redis.wait_stored();
    for key in FOREIGN_KEYS {
        wire.run(&format!("SET {key} 1"));
    }
}

/// The calls of section bear that are cached.
fn cached(redis: &Redis) -> Vec<&'static str> {
    let mut wire = redis.wire();
    let mut is_cached = |call: &&str| !wire.run(&format!("BEAR.QUERY bear CACHED {call}")).is_nil();
    CALLS.iter().map(|(call, _)| *call).filter(|call| is_cached(call)).collect()
}

fn start() -> (Database, Redis) {
    let database = bears::database();
    let redis = Redis::builder().postgres(&database).append_only().start();
    warm(&redis);
    assert_eq!(cached(&redis).len(), CALLS.len());
    (database, redis)
}

/// What each invalidation removes of `CALLS`.
const REMOVALS: [(&str, &[&str]); 21] = [
    ("ROW 5", &["all", "size 100 200", "colors brown"]),
    ("ROW 3", &["all", "size 300 400", "colors white"]),
    ("ROW 8", &["all"]),
    ("ROW 5 5 005 3", &["all", "size 100 200", "size 300 400", "colors brown", "colors white"]),
    ("ROW 99", &[]),
    ("ROW 99 6", &["all", "size 100 200", "colors black,white size 100 200"]),
    ("TAG color:white", &["all", "size 100 200", "size 300 400", "colors white", "colors black,white size 100 200"]),
    ("TAG color:brown", &["all", "size 100 200", "colors brown"]),
    ("TAG color:grey", &[]),
    ("TAG color:grey color:brown", &["all", "size 100 200", "colors brown"]),
    ("TAG white", &[]),
    ("QUERY size 100 200", &["size 100 200"]),
    ("QUERY size 0100 +200", &["size 100 200"]),
    ("QUERY colors white,black,white size 100 200", &["colors black,white size 100 200"]),
    ("QUERY size 100 201", &[]),
    ("PATTERN size:*", &["size 100 200", "size 300 400", "size 1 2"]),
    ("PATTERN size:?:[0-9]", &["size 1 2"]),
    ("PATTERN *:100:200", &["size 100 200", "colors black,white size 100 200"]),
    ("PATTERN bear:*", &[]),
    (
        "PATTERN *",
        &[
            "all",
            "size 100 200",
            "size 300 400",
            "size 1 2",
            "colors brown",
            "colors white",
            "colors black,white size 100 200",
        ],
    ),
    (
        "ALL",
        &[
            "all",
            "size 100 200",
            "size 300 400",
            "size 1 2",
            "colors brown",
            "colors white",
            "colors black,white size 100 200",
        ],
    ),
];

#[test]
fn exactly_what_is_concerned_goes() {
    let database = bears::database();
    let redis = Redis::with(&database);
    for (what, removed) in REMOVALS {
        warm(&redis);
        assert_eq!(cached(&redis).len(), CALLS.len());
        let before = selects(&database);
        let reply = redis.run(&format!("BEAR.INVALIDATE bear {what}"));
        assert_eq!(reply, Reply::Int(removed.len() as i64), "{what}");
        let left: Vec<&str> = CALLS.iter().map(|(call, _)| *call).filter(|call| !removed.contains(call)).collect();
        assert_eq!(cached(&redis), left, "{what}");
        assert_eq!(redis.run(&format!("BEAR.INVALIDATE bear {what}")), Reply::Int(0), "{what}, again");
        // What stayed is served without Postgres.
        for call in left {
            redis.run(&format!("BEAR.QUERY bear {call}"));
        }
        assert_eq!(selects(&database), before, "{what}");
        assert!(!redis.run("BEAR.QUERY color CACHED all").is_nil(), "{what}");
        for key in FOREIGN_KEYS {
            assert_eq!(redis.run(&format!("GET {key}")).text(), "1", "{what}: {key}");
        }
    }
}

#[test]
fn metadata_of_removed_entries_is_swept_and_that_of_others_is_not() {
    let (_database, redis) = start();
    redis.run("BEAR.INVALIDATE bear ROW 5");
    eventually("the sets list what is left", || {
        redis.run("SMEMBERS bear:meta:4:caches").sorted_texts()
            == ["bear:colors:black,white:size:100:200", "bear:colors:white"]
            && redis.run("EXISTS bear:meta:5:caches bear:meta:8:caches bear:tag:color:brown") == Reply::Int(0)
            && redis.run("SMEMBERS bear:meta:3:caches").sorted_texts() == ["bear:colors:white", "bear:size:300:400"]
    });
    redis.run("BEAR.INVALIDATE bear ALL");
    eventually("no key of section bear is left", || !redis.keys().iter().any(|key| key.starts_with("bear:")));
}

/// States of the database after each unit, as entries of section bear; the model starts with `units[..from]`.
fn states(units: &[Unit], from: usize) -> Vec<Vec<String>> {
    let mut model = KeyspaceModel::default();
    let mut states = Vec::new();
    for (index, unit) in units.iter().enumerate() {
        model.apply(unit);
        model.assert_entries_have_metadata("bear", bears::metadata_of);
        if index >= from {
            states.push(model.entries("bear").map(|(key, _)| key.to_owned()).collect());
        }
    }
    states
}

#[test]
fn an_invalidation_is_one_unit_in_the_aof_and_for_replicas() {
    for (what, removed) in REMOVALS.into_iter().filter(|(_, removed)| removed.len() > 1) {
        let (_database, redis) = start();
        let warm_units = redis.aof().len();
        let mut stream = redis.replication_stream();
        assert_eq!(redis.run(&format!("BEAR.INVALIDATE bear {what}")), Reply::Int(removed.len() as i64));
        let units = redis.aof();
        let left = CALLS.len() - removed.len();
        for state in states(&units, warm_units) {
            assert_eq!(state.len(), left, "{what}: a state between: {state:?}");
        }
        let sent = stream.units();
        let removing = |unit: &&Unit| {
            unit.iter().any(|command| !command.text(1).contains(":meta:") && !command.text(1).contains(":tag:"))
        };
        let removals: Vec<&Unit> = sent.iter().filter(removing).collect();
        assert_eq!(removals.len(), 1, "{what}: {sent:?}");
        assert!(units.contains(removals[0]), "{what}: the AOF has {units:?}");
    }
}

#[test]
fn it_can_be_part_of_a_transaction() {
    let (_database, redis) = start();
    let mut stream = redis.replication_stream();
    let mut wire = redis.wire();
    for line in ["MULTI", "SET mark 1", "BEAR.INVALIDATE bear ROW 5", "BEAR.QUERY bear CACHED all", "SET mark 2"] {
        wire.run(line);
    }
    let replies = wire.run("EXEC");
    assert_eq!(replies.list()[1..3], [Reply::Int(3), Reply::Nil]);
    let units = stream.units();
    let unit = units.iter().find(|unit| unit.iter().any(|command| command.text(1) == "mark")).expect("the unit");
    let names: Vec<String> = unit.iter().map(|command| command.text(1)).collect();
    assert_eq!((names.first().unwrap().as_str(), names.last().unwrap().as_str()), ("mark", "mark"), "{unit:?}");
    for key in ["bear:all", "bear:size:100:200", "bear:colors:brown"] {
        assert!(unit.iter().any(|command| command.args().iter().any(|arg| arg == key.as_bytes())), "{key}: {unit:?}");
    }
    let script = redis.wire().call(&["EVAL", "return redis.call('BEAR.INVALIDATE', KEYS[1], 'ALL')", "1", "bear"]);
    assert_eq!(script, Reply::Int(CALLS.len() as i64 - 3));
}

#[test]
fn wrong_invalidations_change_nothing_and_say_what_would_be_right() {
    let (_database, redis) = start();
    let before = redis.aof();
    for (words, expected) in [
        (&["bear", "ROW", "x"][..], &["ERR ", "id must be an integer, got 'x'"][..]),
        (&["bear", "ROW", "5", "x"], &["ERR ", "must be an integer, got 'x'"]),
        (&["bear", "ROW"], &["ERR "]),
        (&["bear", "TAG"], &["ERR "]),
        (&["bear", "QUERY"], &["ERR "]),
        (&["bear", "QUERY", "sizes", "1", "2"], &["ERR no query of 'bear' matches 'sizes 1 2'; it has: "]),
        (&["bear", "QUERY", "size", "x", "2"], &["ERR start must be an integer, got 'x'"]),
        (&["bear", "PATTERN"], &["ERR "]),
        (&["bear", "PATTERN", "a", "b"], &["ERR "]),
        (&["bear", "ALL", "x"], &["ERR "]),
        (&["bear", "EVERYTHING"], &["ERR ", "ROW", "TAG", "QUERY", "PATTERN", "ALL"]),
        (&["bear"], &["ERR "]),
        (&["bears", "ALL"], &["ERR ", "'bears'"]),
    ] {
        let command: Vec<&str> = ["BEAR.INVALIDATE"].iter().chain(words).copied().collect();
        let reply = redis.wire().call(&command);
        for part in expected {
            assert!(reply.error().contains(part), "{words:?}: {reply:?} lacks {part:?}");
        }
    }
    assert_eq!(cached(&redis).len(), CALLS.len());
    assert_eq!(redis.aof(), before);
}

#[test]
fn a_large_removal_is_in_force_at_once_and_leaves_nothing() {
    let database = bears::database();
    let redis = Redis::builder().postgres(&database).append_only().start();
    let mut wire = redis.wire();
    const ENTRIES: i64 = 1500;
    for low in 0..ENTRIES {
        wire.begin(&format!("BEAR.QUERY bear size {} 90", -low));
    }
    for _ in 0..ENTRIES {
        assert_eq!(wire.receive().text(), bears::json(&[8]));
    }
    wire.run("BEAR.QUERY bear colors white");
    wire.run("BEAR.QUERY color all");
    redis.wait_stored();
    let warm_units = redis.aof().len();
    database.run("UPDATE bear SET name = 'Pad' WHERE id = 8");
    let renamed = bears::json(&[8]).replace("Paddington", "Pad");
    assert_eq!(wire.run("BEAR.INVALIDATE bear ROW 8"), Reply::Int(ENTRIES));
    for low in [0, 700, ENTRIES - 1] {
        assert_eq!(wire.run(&format!("BEAR.QUERY bear size {} 90", -low)).text(), renamed);
    }
    assert!(!wire.run("BEAR.QUERY bear CACHED colors white").is_nil());
    eventually("only live entries are listed", || wire.run("SCARD bear:meta:8:caches") == Reply::Int(3));
    // Whoever sees some of the entries gone sees all of them gone, or a mark that says so.
    let units = redis.aof();
    let mut model = KeyspaceModel::default();
    for (index, unit) in units.iter().enumerate() {
        model.apply(unit);
        if index >= warm_units {
            let stale =
                model.entries("bear").filter(|(_, json)| String::from_utf8_lossy(json).contains("Paddington")).count();
            let is_marked = model.strings.keys().any(|key| !key.starts_with("bear:") && !key.starts_with("color:"));
            assert!(stale == 0 || stale as i64 == ENTRIES || is_marked, "{stale} of {ENTRIES} stand, and no mark");
        }
    }
}

/// The promise itself: who asks after an invalidation was answered gets nothing older than it.
#[test]
fn readers_never_see_what_was_before_an_invalidation() {
    let database = bears::database();
    let redis = Redis::with(&database);
    const VERSIONS: i64 = 300;
    let floor = AtomicI64::new(0);
    let is_over = AtomicBool::new(false);
    database.run("UPDATE bear SET name = '0' WHERE id = 5");
    thread::scope(|scope| {
        let readers: Vec<_> = ["size 100 200", "all", "colors brown", "size 100 200"]
            .into_iter()
            .map(|call| {
                let (redis, floor, is_over) = (&redis, &floor, &is_over);
                scope.spawn(move || {
                    let mut wire = redis.wire();
                    let mut reads = 0;
                    while !is_over.load(Ordering::SeqCst) {
                        let least = floor.load(Ordering::SeqCst);
                        let rows = wire.run(&format!("BEAR.QUERY bear {call}")).json();
                        let yogi = rows.as_array().unwrap().iter().find(|row| row["id"] == 5).expect("Yogi");
                        let version: i64 = yogi["name"].as_str().unwrap().parse().unwrap();
                        assert!(version >= least, "{call}: version {version} was read when {least} was in force");
                        reads += 1;
                    }
                    reads
                })
            })
            .collect();
        // Ends the readers even where the writer's assertion fails.
        struct Over<'a>(&'a AtomicBool);
        impl Drop for Over<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::SeqCst);
            }
        }
        let over = Over(&is_over);
        let (mut client, mut wire) = (database.client(), redis.wire());
        let strikes = ["ROW 5", "TAG color:brown", "ALL", "PATTERN *"];
        for version in 1..=VERSIONS {
            client.execute("UPDATE bear SET name = $1 WHERE id = 5", &[&version.to_string()]).unwrap();
            let strike = strikes[version as usize % strikes.len()];
            let reply = wire.run(&format!("BEAR.INVALIDATE bear {strike}"));
            assert!((0..=3).contains(&reply.int()), "{reply:?}");
            floor.store(version, Ordering::SeqCst);
        }
        drop(over);
        for reader in readers {
            assert!(reader.join().expect("no stale read") > 0);
        }
    });
    for (call, _) in [CALLS[0], CALLS[1], CALLS[4]] {
        assert!(redis.run(&format!("BEAR.QUERY bear {call}")).text().contains(&format!("\"{VERSIONS}\"")));
    }
}

#[test]
fn pattern_and_all_do_not_look_at_keys_of_others() {
    let (_database, redis) = start();
    let mut wire = redis.wire();
    assert!(wire.run("DEBUG POPULATE 1000000 foreign 10").is_ok());
    wire.run("CONFIG RESETSTAT");
    for what in ["PATTERN size:*", "ALL"] {
        wire.run(&format!("BEAR.INVALIDATE bear {what}"));
    }
    // A walk over a million keys takes at least 100 ms; these take microseconds.
    let stats = redis.info("commandstats");
    let figures = stats.text("cmdstat_bear.invalidate");
    let usec: f64 = figures
        .split(',')
        .find_map(|figure| figure.strip_prefix("usec="))
        .and_then(|usec| usec.parse().ok())
        .expect("usec");
    assert!(usec < 50_000.0, "{figures}");
    for call in ["keys", "scan"] {
        assert_eq!(stats.get(&format!("cmdstat_{call}")), None);
    }
    assert!(wire.run("DBSIZE").int() >= 1_000_000);
}
