//! Metadata: no entry is ever without it, it goes when its entries have gone, and other clients on it cost trust.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::support::bears::{self, selects};
use crate::support::{eventually, KeyspaceModel, Redis, Reply, Unit};

/// Replays units and checks each state; returns how many entries were set.
fn assert_whole(units: &[Unit]) -> usize {
    let mut model = KeyspaceModel::default();
    for unit in units {
        model.apply(unit);
        model.assert_entries_have_metadata("bear", bears::metadata_of);
    }
    units.iter().flatten().filter(|command| command.name() == "SET" && command.text(1).starts_with("bear:")).count()
}

#[test]
fn no_state_ever_shows_an_entry_without_its_metadata() {
    let database = bears::database();
    let redis = Redis::builder().postgres(&database).append_only().start();
    let mut stream = redis.replication_stream();
    thread::scope(|scope| {
        for thread in 0..3_u64 {
            let (redis, database) = (&redis, &database);
            scope.spawn(move || {
                let mut wire = redis.wire();
                let mut client = database.client();
                // A fixed mix: the same each time but for how the threads meet.
                let mut random = thread.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(1);
                for _ in 0..400 {
                    random ^= random << 13;
                    random ^= random >> 7;
                    random ^= random << 17;
                    let (low, id) = (random % 40 * 5, random / 64 % 8 + 1);
                    let line = match random / 1024 % 10 {
                        0 => format!("BEAR.INVALIDATE bear ROW {id}"),
                        1 => "BEAR.INVALIDATE bear TAG color:brown".into(),
                        2 => format!("BEAR.INVALIDATE bear PATTERN size:{low}:*"),
                        3 => format!("DEL bear:size:{low}:{}", low + 100),
                        4 => "BEAR.QUERY bear FRESH all".into(),
                        5 => "BEAR.QUERY bear colors brown,white".into(),
                        6 => {
                            let size = (random % 300 + 1) as i64;
                            client.execute("UPDATE bear SET size = $1 WHERE id = $2", &[&size, &(id as i64)]).unwrap();
                            continue;
                        }
                        _ => format!("BEAR.QUERY bear size {low} {}", low + 100),
                    };
                    let reply = wire.run(&line);
                    assert!(!reply.is_error(), "{line}: {reply:?}");
                }
            });
        }
    });
    let sent = assert_whole(&stream.units());
    let written = assert_whole(&redis.aof());
    assert!(sent > 100 && written == sent, "{sent} entries were sent, {written} written");
    // When all is quiet, every set lists what stands, and nothing else.
    let mut model = KeyspaceModel::default();
    eventually("the sweep is done", || {
        model = KeyspaceModel::default();
        redis.aof().iter().for_each(|unit| model.apply(unit));
        let listed: usize = model.sets.values().map(|set| set.len()).sum();
        let due: usize = model.entries("bear").map(|(key, json)| bears::metadata_of(key, json).len()).sum();
        listed == due
    });
    model.assert_metadata_is_swept("bear", bears::metadata_of);
    let mut live: Vec<String> = model.strings.into_keys().chain(model.sets.into_keys()).collect();
    live.sort();
    assert_eq!(redis.keys(), live);
}

#[test]
fn a_large_entry_comes_after_all_of_its_metadata() {
    let database = bears::database();
    database.run(
        "INSERT INTO bear (id, name, size) SELECT i, 'x', 5000 FROM generate_series(10, 5009) i;
         INSERT INTO bear_colors SELECT i, 1 + i % 4 FROM generate_series(10, 5009) i",
    );
    let redis = Redis::builder().postgres(&database).append_only().start();
    let mut stream = redis.replication_stream();
    redis.run("BEAR.QUERY bear size 5000 5000");
    eventually("the entry stands", || redis.run("EXISTS bear:size:5000:5000") == Reply::Int(1));
    let units = stream.units();
    assert_eq!(assert_whole(&units), 1);
    assert_eq!(assert_whole(&redis.aof()), 1);
    let added = units.iter().flatten().filter(|command| command.name() == "SADD").count();
    assert!(added >= 5004, "{added}");
}

#[test]
fn metadata_of_what_has_come_and_gone_is_gone() {
    let database = bears::database();
    let catalog = include_str!("../../../catalogs/bear.toml").replacen("ttl = \"5m\"", "ttl = \"1s\"", 1);
    let redis = Redis::builder().postgres(&database).catalog(catalog).start();
    let mut wire = redis.wire();
    // Half of them expire, a quarter is invalidated, a quarter deleted by hand.
    const ENTRIES: i64 = 2000;
    let calls: Vec<i64> = (0..ENTRIES).collect();
    let expected = bears::json(&[2, 4, 5, 8]);
    for batch in calls.chunks(200) {
        batch.iter().for_each(|low| wire.begin(&format!("BEAR.QUERY bear size {} 150", -low)));
        batch.iter().for_each(|_| assert_eq!(wire.receive().text(), expected));
        for low in batch {
            match low % 4 {
                0 => wire.run(&format!("BEAR.INVALIDATE bear QUERY size {} 150", -low)),
                1 => wire.run(&format!("DEL bear:size:{}:150", -low)),
                _ => continue,
            };
        }
    }
    assert_eq!(selects(&database), ENTRIES as usize);
    eventually("no key is left", || redis.keys().is_empty());
}

#[test]
fn metadata_is_swept_under_traffic() {
    let database = bears::database();
    let redis = Redis::with(&database);
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut wire = redis.wire();
            let mut reads = 0_u64;
            while !is_over.load(Ordering::SeqCst) {
                assert_eq!(wire.run("BEAR.QUERY bear colors white").text(), bears::json(&[3, 4]));
                reads += 1;
            }
            reads
        });
        let mut wire = redis.wire();
        let mut peak = 0;
        for round in 0..20 {
            for low in 0..50 {
                wire.run(&format!("BEAR.QUERY bear size {} 90", -(round * 50 + low)));
            }
            redis.wait_stored();
            peak = peak.max(wire.run("SCARD bear:meta:8:caches").int());
            wire.run("BEAR.INVALIDATE bear ROW 8");
        }
        eventually("swept while others read", || wire.run("EXISTS bear:meta:8:caches") == Reply::Int(0));
        is_over.store(true, Ordering::SeqCst);
        assert!(reader.join().expect("hits throughout") > 0);
        // Dead members did not pile up over the rounds.
        assert!((50..=200).contains(&peak), "{peak}");
    });
    assert_eq!(redis.keys(), ["bear:colors:white", "bear:meta:3:caches", "bear:meta:4:caches", "bear:tag:color:white"]);
}

/// What other clients can do, each with whether the space must lose its trust in what is stored, and the key that is
/// somebody's from then on.
const TAMPERING: [(&str, bool, Option<&str>); 21] = [
    ("SADD bear:meta:5:caches bear:forged", true, Some("bear:meta:5:caches")),
    ("SREM bear:meta:5:caches bear:size:100:200", true, None),
    ("DEL bear:meta:5:caches", true, None),
    ("UNLINK bear:tag:color:brown", true, None),
    ("SPOP bear:meta:5:caches", true, None),
    ("EXPIRE bear:meta:5:caches 1000", true, None),
    ("RENAME bear:meta:5:caches bear:meta:6:caches", true, None),
    ("SET bear:tag:color:brown x", true, Some("bear:tag:color:brown")),
    ("SET bear:size:100:200 [] EX 300", true, Some("bear:size:100:200")),
    ("APPEND bear:size:100:200 x", true, Some("bear:size:100:200")),
    ("SETRANGE bear:size:100:200 0 x", true, Some("bear:size:100:200")),
    ("RENAME bear:size:100:200 elsewhere", false, None),
    ("RENAME bear:size:300:400 bear:size:100:200", true, Some("bear:size:100:200")),
    ("COPY bear:size:300:400 bear:size:100:200 REPLACE", true, Some("bear:size:100:200")),
    ("COPY bear:size:300:400 bear:size:1:2", true, Some("bear:size:1:2")),
    ("PERSIST bear:size:100:200", true, None),
    ("EXPIRE bear:size:100:200 1000", true, None),
    ("PEXPIRE bear:size:100:200 100000000", true, None),
    ("DEL bear:size:100:200", false, None),
    ("SADD elsewhere bear:size:100:200", false, None),
    ("SET bears:size:100:200 x", false, None),
];

#[test]
fn a_foreign_write_makes_the_space_cold() {
    let database = bears::database();
    let redis = Redis::with(&database);
    let mut wire = redis.wire();
    for (tampering, is_cold, theirs) in TAMPERING {
        for call in ["size 100 200", "size 300 400"] {
            wire.run(&format!("BEAR.QUERY bear FRESH {call}"));
        }
        let color = wire.run("BEAR.QUERY color all");
        redis.wait_stored();
        let before = selects(&database);
        let reply = wire.run(tampering);
        assert!(!reply.is_error() && reply != Reply::Int(0), "{tampering}: {reply:?}");
        // The entry that was not touched, too: which entries the metadata still covers nobody knows.
        assert_eq!(wire.run("BEAR.QUERY bear CACHED size 300 400").is_nil(), is_cold, "{tampering}");
        assert_eq!(wire.run("BEAR.QUERY bear size 100 200").text(), bears::json(&[1, 2, 4, 5, 6]), "{tampering}");
        assert_eq!(wire.run("BEAR.QUERY bear size 300 400").text(), bears::json(&[3]), "{tampering}");
        assert_eq!(wire.run("BEAR.QUERY bear size 1 2").text(), "[]", "{tampering}");
        let fetched = selects(&database) - before;
        assert!(fetched >= if is_cold { 3 } else { 1 }, "{tampering}: {fetched} fetched");
        assert_eq!(wire.run("BEAR.QUERY color CACHED all"), color, "{tampering}");
        redis.wait_stored();
        if let Some(key) = theirs {
            eventually("what is dead is swept", || redis.info("bear").int("bear_to_sweep") == 0);
            assert_eq!(wire.run(&format!("DEL {key}")), Reply::Int(1), "{tampering}: it is left alone");
            wire.run("BEAR.QUERY bear FRESH size 100 200");
            wire.run("BEAR.QUERY bear FRESH size 300 400");
            redis.wait_stored();
        }
        // Invalidation is exact again.
        assert_eq!(wire.run("BEAR.INVALIDATE bear ROW 5"), Reply::Int(1), "{tampering}");
        assert_eq!(wire.run("BEAR.INVALIDATE bear ROW 3"), Reply::Int(1), "{tampering}");
        wire.run("BEAR.INVALIDATE bear ALL");
        wire.run("DEL elsewhere bears:size:100:200");
        eventually("nothing of ours is left", || !redis.keys().iter().any(|key| key.starts_with("bear:")));
    }
}

#[test]
fn a_restored_entry_is_not_served() {
    let database = bears::database();
    let redis = Redis::with(&database);
    let mut wire = redis.wire();
    wire.run("BEAR.QUERY bear size 100 200");
    redis.wait_stored();
    let dump = wire.run("DUMP bear:size:100:200").bulk().to_vec();
    database.run("UPDATE bear SET name = 'Boo-Boo' WHERE id = 5");
    assert_eq!(wire.run("BEAR.INVALIDATE bear ROW 5"), Reply::Int(1));
    assert!(wire.call(&[b"RESTORE".as_slice(), b"bear:size:100:200", b"100000", &dump]).is_ok());
    assert_eq!(wire.run("BEAR.QUERY bear CACHED size 100 200"), Reply::Nil);
    assert!(wire.run("BEAR.QUERY bear size 100 200").text().contains("Boo-Boo"));
    assert_eq!(selects(&database), 2);
}

#[test]
fn a_foreign_write_in_the_middle_of_a_transaction_is_noticed_there() {
    let database = bears::database();
    let redis = Redis::with(&database);
    let mut wire = redis.wire();
    wire.run("BEAR.QUERY bear size 300 400");
    redis.wait_stored();
    for line in ["MULTI", "PERSIST bear:size:300:400", "BEAR.QUERY bear CACHED size 300 400"] {
        wire.run(line);
    }
    assert_eq!(wire.run("EXEC"), Reply::Array(vec![Reply::Int(1), Reply::Nil]));
    let script = "redis.call('SET', 'bear:size:300:400', '[]'); return redis.call('BEAR.QUERY', KEYS[1], 'CACHED', 'size', '300', '400')";
    assert_eq!(redis.run("BEAR.QUERY bear size 300 400").text(), bears::json(&[3]));
    redis.wait_stored();
    assert_eq!(wire.call(&["EVAL", script, "2", "bear", "bear:size:300:400"]), Reply::Nil);
}

#[test]
fn a_fetch_under_way_is_struck_by_a_foreign_write() {
    let database = bears::database();
    let redis = Redis::builder().postgres(&database).catalog(bears::gated_catalog()).start();
    redis.run("BEAR.QUERY bear size 300 400");
    redis.wait_stored();
    let mut gate = database.close_gate();
    let mut client = redis.wire();
    client.begin("BEAR.QUERY bear all");
    gate.wait(1);
    redis.run("DEL bear:meta:3:caches");
    gate.open();
    assert_eq!(client.receive().text(), bears::json(&[1, 2, 3, 4, 5, 6, 7, 8]));
    // Whether it was stored or not: if it stands, it is listed.
    redis.run("BEAR.QUERY bear all");
    redis.wait_stored();
    assert_eq!(redis.run("BEAR.INVALIDATE bear ROW 3"), Reply::Int(1));
    assert_eq!(redis.run("BEAR.QUERY bear CACHED all"), Reply::Nil);
}

#[test]
fn a_foreign_write_to_a_metadata_set_drops_the_entries_of_other_spaces_in_it() {
    let database = bears::database();
    let redis = Redis::builder().postgres(&database).catalog(bears::WITH_DENS).start();
    let mut wire = redis.wire();
    for tampering in [
        "DEL bear:meta:5:caches",
        "UNLINK bear:meta:5:caches",
        "SREM bear:meta:5:caches den:x:1",
        "RENAME bear:meta:5:caches elsewhere",
        "SET bear:meta:5:caches x",
    ] {
        for x in [1, 2] {
            assert_eq!(wire.run(&format!("BEAR.QUERY den x {x}")).text(), format!(r#"[{{"id":{x}}}]"#));
        }
        redis.wait_stored();
        assert_eq!(wire.run("SMEMBERS bear:meta:5:caches").sorted_texts(), ["den:x:1"], "{tampering}");
        assert!(!wire.run(tampering).is_error(), "{tampering}");
        eventually("what was in the set is not served", || wire.run("BEAR.QUERY den CACHED x 1").is_nil());
        assert!(!wire.run("BEAR.QUERY den CACHED x 2").is_nil(), "{tampering}: it was in another set");
        // Stored again it is listed again.
        eventually("what is dead is swept", || redis.info("bear").int("bear_to_sweep") == 0);
        if tampering.starts_with("SET ") {
            assert_eq!(wire.run("DEL bear:meta:5:caches"), Reply::Int(1), "it is somebody's");
        }
        wire.run("BEAR.QUERY den x 1");
        redis.wait_stored();
        assert_eq!(wire.run("BEAR.INVALIDATE bear ROW 5"), Reply::Int(1), "{tampering}");
        assert!(wire.run("BEAR.QUERY den CACHED x 1").is_nil(), "{tampering}");
        wire.run("DEL elsewhere");
    }
}

#[test]
fn what_is_not_as_the_module_leaves_it_is_left_alone_at_load() {
    let database = bears::database();
    let mut plain = Redis::builder().plain().append_only().start();
    for line in [
        "SADD bear.module:sections bear color",
        "HSET bear:size:1:2 owner somebody",
        "RPUSH bear:tag:color:pink somebody",
        "SADD bear:tag:color:blue 1 2",
        "SET bear:all []",
        "SET bear:colors:brown plain EX 1000",
        "SET bear:size:300:400 [{\"id\":3}] EX 1000",
        "SADD bear:meta:3:caches bear:size:300:400 bear:size:of:a:call:that:is:gone",
    ] {
        assert!(!plain.run(line).is_error(), "{line}");
    }
    plain.shutdown();
    let redis = Redis::builder().postgres(&database).append_only().data_of(&plain).start();
    let theirs = ["bear:all", "bear:colors:brown", "bear:size:1:2", "bear:tag:color:blue", "bear:tag:color:pink"];
    eventually("an entry and a set are swept", || redis.keys() == theirs);
    assert_eq!(redis.run("HGET bear:size:1:2 owner").text(), "somebody");
    assert!(redis.run("BEAR.QUERY bear CACHED size 1 2").is_nil());
    for _ in 0..2 {
        assert_eq!(redis.run("BEAR.QUERY bear size 1 2").text(), "[]");
        assert_eq!(redis.run("BEAR.QUERY bear size 300 400").text(), bears::json(&[3]));
        redis.wait_stored();
    }
    assert_eq!(redis.run("TYPE bear:size:1:2").text(), "hash");
    assert_eq!(redis.run("BEAR.INVALIDATE bear ROW 3"), Reply::Int(1));
}
