//! BEAR.ENQUEUE: what is taken and under which id, and what is refused and leaves nothing.

use crate::support::bears;
use crate::support::jobs::{self, enqueue, set_drain, state, wait_state};
use crate::support::wire::packed;
use crate::support::{Database, Redis, Reply, Wire};

const RENAME: &str = r#"bear UPDATE_BEAR_NAME {"id":5,"name":"Kodiak"}"#;

/// Nothing is applied until the test says so.
fn resting() -> (Database, Redis) {
    let database = bears::database();
    let redis = Redis::builder().postgres(&database).append_only().config("bear.drain", "no").start();
    (database, redis)
}

/// Fields of the newest entry of the queue.
#[track_caller]
fn newest(wire: &mut Wire) -> (String, std::collections::BTreeMap<String, Reply>) {
    let reply = wire.run("XREVRANGE bear:queue + - COUNT 1");
    let [entry] = reply.list() else { panic!("{reply:?}") };
    (entry.list()[0].text(), entry.list()[1].map())
}

#[test]
fn the_id_is_that_of_the_entry_in_the_stream() {
    let (_database, redis) = resting();
    for mut wire in [redis.wire(), redis.resp3_wire()] {
        let before = wire.run("XLEN bear:queue").int();
        let id = enqueue(&mut wire, RENAME);
        let (entry, fields) = newest(&mut redis.wire());
        assert_eq!(entry, id);
        assert_eq!(fields["v"].text(), "1");
        assert!(fields["epoch"].text().parse::<i64>().expect("an epoch") > 0);
        assert_eq!(fields["job"].text(), "UPDATE_BEAR_NAME");
        assert_eq!(fields["data"].text(), r#"{"id":5,"name":"Kodiak"}"#);
        for option in ["due", "attempts", "backoff", "unique"] {
            assert!(!fields.contains_key(option), "{fields:?}");
        }
        assert_eq!(wire.run("XLEN bear:queue").int(), before + 1);
        assert!(redis.wire().run("GET bear:queue:id").text().parse::<i64>().expect("the queue's identity") > 0);
    }
}

#[test]
fn ids_rise_in_the_order_of_enqueueing() {
    let (_database, redis) = resting();
    let mut wire = redis.wire();
    let command = packed(&["BEAR.ENQUEUE", "bear", "UPDATE_BEAR_SIZE", r#"{"id":5,"size":7}"#]);
    wire.send_bytes(&command.repeat(500));
    let ids: Vec<(u64, u64)> = (0..500).map(|_| jobs::parse_id(&jobs::id_of(&wire.receive()))).collect();
    assert!(ids.windows(2).all(|pair| pair[0] < pair[1]), "{ids:?}");
    assert_eq!(wire.run("XLEN bear:queue"), Reply::Int(500));
}

#[test]
fn options_come_in_any_order_and_case() {
    let (_database, redis) = resting();
    let mut wire = redis.wire();
    for (number, options) in [
        "UNIQUE u0 DELAY 60000 ATTEMPTS 7 BACKOFF 900",
        "BACKOFF 900 ATTEMPTS 7 DELAY 60000 UNIQUE u1",
        "attempts 7 Unique u2 backoff 900 dElAy 60000",
    ]
    .into_iter()
    .enumerate()
    {
        let id = enqueue(&mut wire, &format!("{RENAME} {options}"));
        let (entry, fields) = newest(&mut wire);
        assert_eq!(entry, id, "{options}");
        assert_eq!(fields["attempts"].text(), "7", "{options}");
        assert_eq!(fields["backoff"].text(), "900", "{options}");
        assert_eq!(fields["unique"].text(), format!("u{number}"), "{options}");
        let due: u64 = fields["due"].text().parse().unwrap();
        assert!(due >= jobs::parse_id(&id).0 + 59_000, "{options}: due {due}, enqueued {id}");
        assert_eq!(wire.run(&format!("ZSCORE bear:queue:delayed {id}")).text().parse::<f64>().unwrap(), due as f64);
        assert_eq!(state(&mut wire, "bear", &id), "delayed");
    }
}

#[test]
fn the_payload_is_stored_plainly_however_it_is_spelled() {
    let (_database, redis) = resting();
    let mut wire = redis.wire();
    for json in [
        r#"{"id":5,"name":"Kodiak"}"#,
        " { \"id\" :\t5 , \"name\" : \"Kodiak\"\r\n} ",
        r#"{"id":5,"name":"\u004bodia\u006B"}"#,
        r#"{"name":"Kodiak","id":5}"#,
    ] {
        jobs::id_of(&wire.call(&["BEAR.ENQUEUE", "bear", "UPDATE_BEAR_NAME", json]));
        let stored = newest(&mut wire).1["data"].json();
        assert_eq!(stored, serde_json::json!({"id": 5, "name": "Kodiak"}), "{json}");
        assert!(!newest(&mut wire).1["data"].text().contains(' '), "{json}");
    }
    for (json, expected) in [(r#"{"id":5}"#, false), (r#"{"id":5,"size":null}"#, true), (r#"{"id":5,"size":9}"#, true)]
    {
        jobs::id_of(&wire.call(&["BEAR.ENQUEUE", "bear", "UPDATE_BEAR", json]));
        let stored = newest(&mut wire).1["data"].json();
        assert_eq!(stored.get("size").is_some(), expected, "absent is not null: {json}");
    }
}

#[test]
fn what_is_wrong_is_told_and_nothing_is_enqueued() {
    let (_database, redis) = resting();
    let mut wire = redis.wire();
    const NAME: &str = "UPDATE_BEAR_NAME";
    const GOOD: &str = r#"{"id":5,"name":"x"}"#;
    let cases: &[(&[&[u8]], &[&str])] = &[
        (&[b"bears", NAME.as_bytes(), GOOD.as_bytes()], &["ERR no section", "'bears'", "bear"]),
        (&[b"{x}:bear", NAME.as_bytes(), GOOD.as_bytes()], &["ERR "]),
        (&[b"", NAME.as_bytes(), GOOD.as_bytes()], &["ERR "]),
        (&[b"bear", b"SHAVE", GOOD.as_bytes()], &["ERR section 'bear' has no job 'SHAVE'; it has ", "CREATE_BEAR"]),
        (&[b"bear", b"update_bear_name", GOOD.as_bytes()], &["ERR section 'bear' has no job 'update_bear_name'"]),
        (&[b"bear", b"CREATE_COLOR", GOOD.as_bytes()], &["ERR section 'bear' has no job 'CREATE_COLOR'; it has "]),
        (&[b"bear", b"\xff\xfe\0\r\n", GOOD.as_bytes()], &["ERR section 'bear' has no job '"]),
        (&[b"bear", NAME.as_bytes(), br#"{"id":5}"#], &["ERR ", "name"]),
        (&[b"bear", NAME.as_bytes(), b"{}"], &["ERR ", "id"]),
        (&[b"bear", NAME.as_bytes(), br#"{"id":5,"name":"x","age":3}"#], &["ERR ", "age"]),
        (&[b"bear", NAME.as_bytes(), br#"{"id":5,"name":"x","name":"y"}"#], &["ERR ", "name"]),
        (&[b"bear", NAME.as_bytes(), br#"{"id":5,"name":"x","n\u0061me":"y"}"#], &["ERR ", "name"]),
        (&[b"bear", NAME.as_bytes(), br#"{"id":5,"name":null}"#], &["ERR field 'name' must be "]),
        (&[b"bear", NAME.as_bytes(), br#"{"id":5,"name":7}"#], &["ERR field 'name' must be "]),
        (&[b"bear", NAME.as_bytes(), br#"{"id":5,"name":"a\u0000b"}"#], &["ERR "]),
        (&[b"bear", NAME.as_bytes(), br#"{"id":5,"name":"\ud800"}"#], &["ERR "]),
        (&[b"bear", NAME.as_bytes(), b"{\"id\":5,\"name\":\"\xff\"}"], &["ERR "]),
        (&[b"bear", NAME.as_bytes(), b"{\"id\":5,\"name\":\"a\nb\"}"], &["ERR "]),
        (&[b"bear", NAME.as_bytes(), br#"{"id":5,"name":"x""#], &["ERR "]),
        (&[b"bear", NAME.as_bytes(), br#"{"id":5,"name":"x"} {}"#], &["ERR "]),
        (&[b"bear", NAME.as_bytes(), br#"{"id":5,"name":"x",}"#], &["ERR "]),
        (&[b"bear", NAME.as_bytes(), br#"[{"id":5,"name":"x"}]"#], &["ERR "]),
        (&[b"bear", NAME.as_bytes(), b"5"], &["ERR "]),
        (&[b"bear", NAME.as_bytes(), b"null"], &["ERR "]),
        (&[b"bear", NAME.as_bytes(), b""], &["ERR "]),
        (&[b"bear", NAME.as_bytes(), b"id=5"], &["ERR "]),
        (
            &[b"bear", b"UPDATE_BEAR_SIZE", br#"{"id":5,"size":"big"}"#],
            &["ERR field 'size' must be an integer of 64 bits, got"],
        ),
        (
            &[b"bear", b"UPDATE_BEAR_SIZE", br#"{"id":5,"size":1.5}"#],
            &["ERR field 'size' must be an integer of 64 bits, got"],
        ),
        (
            &[b"bear", b"UPDATE_BEAR_SIZE", br#"{"id":5,"size":true}"#],
            &["ERR field 'size' must be an integer of 64 bits, got"],
        ),
        (
            &[b"bear", b"UPDATE_BEAR_SIZE", br#"{"id":5,"size":[1]}"#],
            &["ERR field 'size' must be an integer of 64 bits, got"],
        ),
        (
            &[b"bear", b"UPDATE_BEAR_SIZE", br#"{"id":5,"size":9223372036854775808}"#],
            &["ERR field 'size' must be an integer"],
        ),
        (&[b"bear", b"UPDATE_BEAR_COLORS", br#"{"id":5,"colors":"brown"}"#], &["ERR field 'colors' must be "]),
        (&[b"bear", b"UPDATE_BEAR_COLORS", br#"{"id":5,"colors":[1]}"#], &["ERR field 'colors' must be "]),
        (&[b"bear", b"UPDATE_BEAR_COLORS", br#"{"id":5,"colors":[["brown"]]}"#], &["ERR field 'colors' must be "]),
    ];
    for (words, parts) in cases {
        let command: Vec<&[u8]> = [&b"BEAR.ENQUEUE"[..]].iter().chain(*words).copied().collect();
        let reply = wire.call(&command);
        let line = reply.error();
        assert!(line.starts_with(parts[0]), "{line}, expected {parts:?}");
        assert!(parts.iter().all(|part| line.contains(part)), "{line}, expected {parts:?}");
    }
    for (options, part) in [
        ("ATTEMPTS 0", "ATTEMPTS"),
        ("ATTEMPTS 101", "ATTEMPTS"),
        ("ATTEMPTS two", "ATTEMPTS"),
        ("ATTEMPTS", ""),
        ("BACKOFF -1", "BACKOFF"),
        ("BACKOFF 86400001", "BACKOFF"),
        ("BACKOFF 1.5", "BACKOFF"),
        ("DELAY -1", "DELAY"),
        ("DELAY 99999999999999999999", "DELAY"),
        ("DELAY soon", "DELAY"),
        ("BLOCK -1", "BLOCK"),
        ("BLOCK", ""),
        ("UNIQUE", ""),
        ("UNIQUE a UNIQUE a", "UNIQUE"),
        ("DELAY 5 ATTEMPTS 3 delay 5", "DELAY"),
        ("PRIORITY 3", "PRIORITY"),
        ("5", "5"),
    ] {
        let reply = wire.run(&format!("BEAR.ENQUEUE {RENAME} {options}"));
        let line = reply.error().to_uppercase();
        assert!(line.starts_with("ERR ") && line.contains(part), "{options}: {reply:?}");
    }
    for line in ["BEAR.ENQUEUE", "BEAR.ENQUEUE bear", "BEAR.ENQUEUE bear UPDATE_BEAR_NAME"] {
        let reply = wire.run(line).error().to_lowercase();
        assert_eq!(reply, "err wrong number of arguments for 'bear.enqueue' command", "{line}");
    }
    assert_eq!(wire.run("EXISTS bear:queue bear:queue:unique bear:queue:delayed"), Reply::Int(0), "{:?}", redis.keys());
}

#[test]
fn a_large_payload_is_refused_and_one_below_the_limit_is_taken() {
    let (_database, redis) = resting();
    let mut wire = redis.wire();
    let mut rename = |bytes: usize| {
        let json = format!(r#"{{"id":5,"name":"{}"}}"#, "x".repeat(bytes));
        wire.call(&["BEAR.ENQUEUE", "bear", "UPDATE_BEAR_NAME", &json])
    };
    assert!(!rename((1 << 20) - 100).is_error());
    for bytes in [1 << 20, 3 << 20] {
        assert!(rename(bytes).error().starts_with("TOOLARGE "));
    }
    assert_eq!(redis.run("XLEN bear:queue"), Reply::Int(1));

    let database = bears::database();
    let small = Redis::builder().postgres(&database).configs(&[("bear.max-job-bytes", "2000"), ("bear.drain", "no")]);
    let small = small.start();
    let json = format!(r#"{{"id":5,"name":"{}"}}"#, "x".repeat(2000));
    let reply = small.wire().call(&["BEAR.ENQUEUE", "bear", "UPDATE_BEAR_NAME", &json]);
    assert!(reply.error().starts_with("TOOLARGE ") && reply.error().contains("bear.max-job-bytes"), "{reply:?}");
    assert_eq!(small.run("EXISTS bear:queue"), Reply::Int(0));
}

#[test]
fn a_unique_key_holds_for_large_payloads_too() {
    let (_database, redis) = resting();
    let mut wire = redis.wire();
    let mut rename = |name: &str, space: &str| {
        let json = format!(r#"{{{space}"id":5,"name":"{name}{}"}}"#, "x".repeat(100_000));
        wire.call(&["BEAR.ENQUEUE", "bear", "UPDATE_BEAR_NAME", &json, "UNIQUE", "k"])
    };
    let first = rename("a", "").text();
    assert_eq!(rename("a", " ").text(), first);
    assert!(rename("b", "").error().starts_with("DUPLICATE "));
    assert_eq!(redis.run("XLEN bear:queue"), Reply::Int(1));
}

#[test]
fn a_full_queue_says_so_and_takes_jobs_again_when_it_is_drained() {
    let large = format!(r#"bear UPDATE_BEAR_NAME {{"id":5,"name":"{}"}}"#, "x".repeat(100_000));
    for (name, value, line, at_least, at_most) in
        [("bear.queue-max-jobs", "3", RENAME, 3, 3), ("bear.queue-max-bytes", "1048576", large.as_str(), 5, 11)]
    {
        let database = bears::database();
        let redis = Redis::builder().postgres(&database).configs(&[(name, value), ("bear.drain", "no")]).start();
        let mut wire = redis.wire();
        let mut taken = 0;
        let refused = loop {
            let reply = wire.run(&format!("BEAR.ENQUEUE {line}"));
            if reply.is_error() {
                break reply;
            }
            taken += 1;
            assert!(taken <= at_most, "{name} {value} and {taken} jobs");
        };
        assert!(refused.error().starts_with("FULL "), "{refused:?}");
        assert!(taken >= at_least, "{name} {value} and only {taken} jobs");
        assert_eq!(wire.run("XLEN bear:queue"), Reply::Int(taken), "{name}");
        set_drain(&mut wire, "yes");
        jobs::wait_settled(&mut wire, "bear");
        jobs::complete(&mut wire, line);
    }
}

#[test]
fn where_keys_may_be_evicted_nothing_is_enqueued() {
    let database = bears::database();
    let redis = Redis::builder().postgres(&database).config("maxmemory-policy", "allkeys-lru").start();
    assert!(redis.log().contains("allkeys-lru"), "a warning at load: {}", redis.log());
    let mut wire = redis.wire();
    for policy in ["allkeys-lru", "allkeys-lfu", "allkeys-random"] {
        assert!(wire.run(&format!("CONFIG SET maxmemory-policy {policy}")).is_ok());
        let reply = wire.run(&format!("BEAR.ENQUEUE {RENAME}"));
        assert!(reply.error().starts_with("UNSAFE "), "{policy}: {reply:?}");
        assert_eq!(wire.run("EXISTS bear:queue"), Reply::Int(0), "{policy}");
    }
    for policy in ["volatile-lru", "noeviction"] {
        assert!(wire.run(&format!("CONFIG SET maxmemory-policy {policy}")).is_ok());
        jobs::complete(&mut wire, RENAME);
    }
}

#[test]
fn a_server_without_memory_takes_no_job() {
    let (_database, redis) = resting();
    let mut wire = redis.wire();
    enqueue(&mut wire, RENAME);
    assert!(wire.run("CONFIG SET maxmemory 1mb").is_ok());
    assert!(wire.run(&format!("BEAR.ENQUEUE {RENAME}")).error().starts_with("OOM "));
    assert_eq!(wire.run("XLEN bear:queue"), Reply::Int(1));
    assert!(wire.run("CONFIG SET maxmemory 0").is_ok());
    enqueue(&mut wire, RENAME);
}

#[test]
fn a_key_of_another_type_is_wrongtype_and_stays() {
    let (_database, redis) = resting();
    let mut wire = redis.wire();
    assert!(wire.run("SET bear:queue x").is_ok());
    assert!(wire.run(&format!("BEAR.ENQUEUE {RENAME}")).error().starts_with("WRONGTYPE "));
    assert_eq!(wire.run("GET bear:queue").text(), "x");
    assert_eq!(wire.run("DEL bear:queue"), Reply::Int(1));
    enqueue(&mut wire, RENAME);
}

#[test]
fn another_database_is_refused() {
    let (_database, redis) = resting();
    let mut wire = redis.wire();
    assert!(wire.run("SELECT 3").is_ok());
    let reply = wire.run(&format!("BEAR.ENQUEUE {RENAME}"));
    assert!(reply.error().starts_with("ERR ") && reply.error().contains("bear.db"), "{reply:?}");
    assert_eq!(wire.run("DBSIZE"), Reply::Int(0));
}

#[test]
fn in_transactions_and_scripts_block_is_ignored() {
    let (_database, redis) = resting();
    let mut wire = redis.wire();
    assert!(wire.run("MULTI").is_ok());
    assert_eq!(wire.run(&format!("BEAR.ENQUEUE {RENAME} BLOCK 0")).text(), "QUEUED");
    assert_eq!(wire.run("BEAR.ENQUEUE bear SHAVE {}").text(), "QUEUED");
    assert_eq!(wire.run("SET mark 1").text(), "QUEUED");
    let replies = wire.run("EXEC");
    let first = jobs::id_of(&replies.list()[0]);
    assert!(replies.list()[1].error().starts_with("ERR section 'bear' has no job 'SHAVE'"), "{replies:?}");
    let script = "return redis.call('BEAR.ENQUEUE', KEYS[1], ARGV[1], ARGV[2], 'BLOCK', '0')";
    let second =
        jobs::id_of(&wire.call(&["EVAL", script, "1", "bear", "UPDATE_BEAR_NAME", r#"{"id":5,"name":"Boo-Boo"}"#]));
    assert!(jobs::parse_id(&first) < jobs::parse_id(&second));
    // In the AOF the job stands in the client's own unit.
    let units = redis.aof();
    let unit = units.iter().find(|unit| unit.iter().any(|command| command.text(1) == "mark")).expect("the unit");
    assert!(unit.iter().any(|command| command.name() == "XADD" && command.text(1) == "bear:queue"), "{unit:?}");
    set_drain(&mut wire, "yes");
    wait_state(&mut wire, "bear", &second, "completed");
}

#[test]
fn the_aof_and_replicas_see_plain_commands() {
    let (database, redis) = resting();
    let replica = Redis::builder().plain().replica_of(&redis).start();
    let mut stream = redis.replication_stream();
    let mut wire = redis.wire();
    let plain = enqueue(&mut wire, RENAME);
    let full = enqueue(&mut wire, &format!("{RENAME} UNIQUE u DELAY 60000 ATTEMPTS 3 BACKOFF 5"));
    let sent = stream.units();
    for units in [&sent, &redis.aof()] {
        let mut added = Vec::new();
        for command in units.iter().flatten().filter(|command| command.text(1).starts_with("bear:queue")) {
            assert!(["XADD", "ZADD", "HSET", "SET"].contains(&command.name().as_str()), "{command:?}");
            if command.name() == "XADD" {
                added.push(command.text(2));
            }
        }
        assert_eq!(added, [plain.clone(), full.clone()], "with explicit ids");
        assert!(!units.iter().flatten().any(|command| command.name().starts_with("BEAR.")), "{units:?}");
    }
    replica.wait_in_sync(&redis);
    assert_eq!(replica.run("XRANGE bear:queue - +"), redis.run("XRANGE bear:queue - +"));
    let keys: Vec<String> = redis.keys().into_iter().filter(|key| key.starts_with("bear:queue")).collect();
    for key in keys {
        assert_eq!(replica.run(&format!("DUMP {key}")).is_nil(), redis.run(&format!("DUMP {key}")).is_nil(), "{key}");
        assert_eq!(redis.run(&format!("PTTL {key}")), Reply::Int(-1), "no policy may evict {key}");
    }
    drop(database);
}

#[test]
fn a_replica_takes_no_job() {
    let (database, redis) = resting();
    let replica = Redis::builder().postgres(&database).replica_of(&redis).start();
    replica.wait_in_sync(&redis);
    assert!(replica.run(&format!("BEAR.ENQUEUE {RENAME}")).error().starts_with("READONLY "));
    assert_eq!(redis.run("EXISTS bear:queue"), Reply::Int(0));
}
