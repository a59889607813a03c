//! BEAR.QUERY: what is answered, under which key it is kept, and what a wrong call is told.

use crate::support::bears::{self, selects};
use crate::support::{Redis, Reply};

/// A catalog with one query, in a section `bear`.
fn catalog_with(query: &str) -> String {
    format!("[bear]\nid = \"int\"\ntables = {{ bear = \"id\" }}\n\n[[bear.query]]\n{query}\n")
}

#[test]
fn a_miss_fetches_and_a_hit_does_not() {
    let database = bears::database();
    let redis = Redis::with(&database);
    let mut wire = redis.wire();
    let expected = bears::json(&[1, 2, 4, 5, 6]);
    assert_eq!(wire.run("BEAR.QUERY bear size 100 200").text(), expected);
    assert_eq!(selects(&database), 1);
    for _ in 0..3 {
        assert_eq!(wire.run("BEAR.QUERY bear size 100 200").text(), expected);
    }
    assert_eq!(selects(&database), 1);
    redis.wait_stored();
    assert_eq!(wire.run("GET bear:size:100:200").text(), expected);
}

#[test]
fn every_query_of_the_bear_catalog_answers() {
    let database = bears::database();
    let redis = Redis::with(&database);
    for (call, expected) in [
        ("bear all", bears::json(&[1, 2, 3, 4, 5, 6, 7, 8])),
        ("bear size 100 200", bears::json(&[1, 2, 4, 5, 6])),
        ("bear size 100 200 limit 2", bears::json(&[1, 2])),
        ("bear size 100 200 after 2", bears::json(&[4, 5, 6])),
        ("bear size 100 200 limit 1 after 2", bears::json(&[4])),
        ("bear size 100 200 after 2 limit 1", bears::json(&[4])),
        ("bear colors white", bears::json(&[3, 4])),
        ("bear colors white,black", bears::json(&[3, 4, 6, 7])),
        ("bear colors brown,black size 150 300", bears::json(&[1, 5, 6, 7])),
        ("bear colors grey", "[]".into()),
        ("bear size -5 5", "[]".into()),
        (
            "color all",
            r##"[{"id":1,"name":"black","hex":"#000000"},{"id":2,"name":"brown","hex":"#663300"},{"id":3,"name":"white","hex":"#ffffff"},{"id":4,"name":"grey","hex":"#888888"}]"##.into(),
        ),
    ] {
        for state in ["missing", "cached"] {
            assert_eq!(redis.run(&format!("BEAR.QUERY {call}")).text(), expected, "{call}, {state}");
        }
    }
}

#[test]
fn spellings_of_one_call_are_one_entry() {
    let database = bears::database();
    let redis = Redis::with(&database);
    for (spellings, key) in [
        (&["size 100 200", "size 0100 +200", "size 00100 200"][..], "bear:size:100:200"),
        (&["size -0 9"], "bear:size:0:9"),
        (&["colors black,brown", "colors brown,black", "colors brown,black,brown"], "bear:colors:black,brown"),
        (&["colors brown size 100 200", "colors brown,brown size 0100 0200"], "bear:colors:brown:size:100:200"),
        (&["size 1 500 limit 3 after 2", "size 1 500 after 2 limit 3"], "bear:size:1:500:limit:3:after:2"),
    ] {
        let before = selects(&database);
        for spelling in spellings {
            assert!(!redis.run(&format!("BEAR.QUERY bear {spelling}")).is_error(), "{spelling}");
        }
        assert_eq!(selects(&database), before + 1, "{spellings:?}");
        redis.wait_stored();
        assert_eq!(redis.run(&format!("EXISTS {key}")), Reply::Int(1), "{key}");
    }
    let entries = redis.keys().into_iter().filter(|key| !key.contains(":meta:") && !key.contains(":tag:"));
    assert_eq!(entries.count(), 5);
}

#[test]
fn an_entry_stands_in_the_sets_of_its_rows_and_tags() {
    let database = bears::database();
    let redis = Redis::with(&database);
    redis.run("BEAR.QUERY bear size 90 110");
    redis.run("BEAR.QUERY bear colors white");
    redis.wait_stored();
    let (by_size, by_color) = ("bear:size:90:110", "bear:colors:white");
    let sets: [(&str, &[&str]); 5] = [
        ("bear:meta:3:caches", &[by_color]),
        ("bear:meta:4:caches", &[by_color, by_size]),
        ("bear:meta:8:caches", &[by_size]),
        ("bear:tag:color:black", &[by_size]),
        ("bear:tag:color:white", &[by_color, by_size]),
    ];
    let mut keys: Vec<&str> = sets.iter().map(|(set, _)| *set).chain([by_color, by_size]).collect();
    keys.sort_unstable();
    assert_eq!(redis.keys(), keys);
    for (set, members) in sets {
        assert_eq!(redis.run(&format!("SMEMBERS {set}")).sorted_texts(), members, "{set}");
    }
}

#[test]
fn entries_live_as_long_as_the_catalog_says_and_metadata_has_no_end() {
    let database = bears::database();
    let redis = Redis::builder()
        .postgres(&database)
        .catalog(
            "[bear]\nid = \"int\"\ntables = { bear = \"id\" }\n\
             [[bear.query]]\ncall = \"all\"\nsql = \"SELECT id FROM bear b ORDER BY id\"\n\
             [[bear.query]]\ncall = \"short\"\nttl = \"90s\"\nsql = \"SELECT id FROM bear b ORDER BY id\"\n",
        )
        .start();
    for (call, ttl_ms) in [("all", 300_000), ("short", 90_000)] {
        assert_eq!(redis.run(&format!("BEAR.QUERY bear {call}")).json().as_array().unwrap().len(), 8);
        redis.wait_stored();
        let left_ms = redis.run(&format!("PTTL bear:{call}")).int();
        assert!((ttl_ms - 20_000..=ttl_ms).contains(&left_ms), "{call}: {left_ms}");
    }
    for id in 1..=8 {
        assert_eq!(redis.run(&format!("PTTL bear:meta:{id}:caches")), Reply::Int(-1));
    }
}

/// Whose TTL is over, and which nobody has looked at since: Redis has it still, and takes it away as the next one is stored.
#[test]
fn an_entry_that_replaces_one_that_just_ended_is_invalidated_as_any() {
    let database = bears::database();
    let query = "call = \"all\"\nsql = \"SELECT id, name, now() + make_interval(secs => size / 1000.0) AS _until FROM bear b WHERE id = 1\"";
    let redis = Redis::builder().postgres(&database).catalog(catalog_with(query)).start();
    assert!(redis.run("DEBUG SET-ACTIVE-EXPIRE 0").is_ok());
    for round in 0..3 {
        database.run("UPDATE bear SET size = 100 WHERE id = 1");
        redis.run("BEAR.QUERY bear FRESH all");
        redis.wait_stored();
        // It is its TTL that is waited for; to ask would have Redis take the key away.
        std::thread::sleep(std::time::Duration::from_millis(150));
        database.run("UPDATE bear SET size = 3600000 WHERE id = 1");
        redis.run("BEAR.QUERY bear FRESH all");
        redis.wait_stored();
        assert!(redis.run("PTTL bear:all").int() > 200_000);
        assert_eq!(redis.info("bear").int("bear_entries"), 1, "{round}");
        assert_eq!(redis.run("BEAR.INVALIDATE bear ROW 1"), Reply::Int(1), "{round}");
        assert!(redis.run("BEAR.QUERY bear CACHED all").is_nil(), "{round}");
    }
}

#[test]
fn an_expired_entry_is_fetched_again() {
    let database = bears::database();
    let query = "call = \"all\"\nttl = \"1s\"\nsql = \"SELECT id, name FROM bear b ORDER BY id\"";
    let redis = Redis::builder().postgres(&database).catalog(catalog_with(query)).start();
    let mut wire = redis.wire();
    let old = wire.run("BEAR.QUERY bear all").text();
    database.run("UPDATE bear SET name = 'Balu' WHERE id = 1");
    assert_eq!(wire.run("BEAR.QUERY bear all").text(), old);
    crate::support::eventually("the entry expires", || wire.run("BEAR.QUERY bear CACHED all").is_nil());
    assert!(wire.run("BEAR.QUERY bear all").text().contains("Balu"));
    assert_eq!(selects(&database), 2);
}

#[test]
fn empty_results_are_cached() {
    let database = bears::database();
    let redis = Redis::with(&database);
    for _ in 0..3 {
        assert_eq!(redis.run("BEAR.QUERY bear size 1 2").text(), "[]");
    }
    assert_eq!(selects(&database), 1);
    redis.wait_stored();
    assert_eq!(redis.keys(), ["bear:size:1:2"]);
    let left_ms = redis.run("PTTL bear:size:1:2").int();
    assert!(left_ms > 0, "{left_ms}");
}

#[test]
fn fresh_fetches_and_stores_even_where_an_entry_stands() {
    let database = bears::database();
    let redis = Redis::with(&database);
    let mut wire = redis.wire();
    wire.run("BEAR.QUERY bear size 100 120");
    database.run("UPDATE bear SET name = 'Nalle' WHERE id = 2");
    assert_eq!(wire.run("BEAR.QUERY bear size 100 120").text(), bears::json(&[2, 4]));
    let renamed = bears::json(&[2, 4]).replace("Bamse", "Nalle");
    assert_eq!(wire.run("BEAR.QUERY bear FRESH size 100 120").text(), renamed);
    assert_eq!(wire.run("BEAR.QUERY bear size 100 120").text(), renamed);
    assert_eq!(selects(&database), 2);
    assert_eq!(wire.run("BEAR.QUERY bear FRESH size 320 320").text(), bears::json(&[3]));
    redis.wait_stored();
    assert_eq!(wire.run("GET bear:size:320:320").text(), bears::json(&[3]));
}

#[test]
fn fresh_moves_an_entry_to_the_sets_of_its_new_rows() {
    let database = bears::database();
    let redis = Redis::with(&database);
    redis.run("BEAR.QUERY bear size 100 100");
    database.run("UPDATE bear SET size = 100 WHERE id = 3; UPDATE bear SET size = 1 WHERE id = 4");
    assert_eq!(redis.run("BEAR.QUERY bear FRESH size 100 100").json()[0]["id"], 3);
    let expected = ["bear:meta:3:caches", "bear:size:100:100", "bear:tag:color:white"];
    crate::support::eventually("the sets of the old rows are swept", || redis.keys() == expected);
}

#[test]
fn cached_never_asks_postgres() {
    let database = bears::database();
    let redis = Redis::with(&database);
    assert_eq!(redis.run("BEAR.QUERY bear CACHED all"), Reply::Nil);
    assert_eq!(redis.resp3_wire().run("BEAR.QUERY bear CACHED all"), Reply::Nil);
    assert_eq!(selects(&database), 0);
    assert!(redis.keys().is_empty());
    let all = redis.run("BEAR.QUERY bear all");
    assert_eq!(redis.run("BEAR.QUERY bear CACHED all"), all);
    assert_eq!(selects(&database), 1);
}

#[test]
fn wrong_calls_are_told_what_would_be_right() {
    let database = bears::database();
    let redis = Redis::with(&database);
    let mut wire = redis.wire();
    for (words, expected) in [
        (
            &["bear", "sizes", "1", "2"][..],
            &["ERR no query of 'bear' matches 'sizes 1 2'; it has: ", "size {start} {end}", " | ", "colors {colors}"][..],
        ),
        (&["bear", "size", "1"], &["ERR no query of 'bear' matches 'size 1'; it has: "]),
        (&["bear", "size", "1", "2", "3"], &["ERR no query of 'bear' matches 'size 1 2 3'; it has: "]),
        (&["color", "size", "1", "2"], &["ERR no query of 'color' matches 'size 1 2'; it has: all"]),
        (&["bear", "size", "abc", "2"], &["ERR start must be an integer, got 'abc'"]),
        (&["bear", "size", "1", ""], &["ERR end must be an integer, got ''"]),
        (&["bear", "size", "1", "1e3"], &["ERR end must be an integer, got '1e3'"]),
        (&["bear", "size", "1", "9223372036854775808"], &["ERR end must be an integer"]),
        (&["bear", "size", "1", "2 OR 1=1"], &["ERR end must be an integer, got '2 OR 1=1'"]),
        (&["bear", "colors", "a\0b"], &["ERR colors must be "]),
        (&["bears", "all"], &["ERR ", "'bears'", "bear"]),
        (&["{x}:bear", "all"], &["ERR "]),
        (&["", "all"], &["ERR "]),
        (&["bear"], &["ERR "]),
        (&["bear", "FRESH"], &["ERR "]),
        (&["bear", "CACHED", "sizes"], &["ERR no query of 'bear' matches 'sizes'"]),
    ] {
        let command: Vec<&str> = ["BEAR.QUERY"].iter().chain(words).copied().collect();
        let reply = wire.call(&command);
        let line = reply.error();
        for part in expected {
            assert!(line.contains(part), "{words:?}: {line:?} lacks {part:?}");
        }
        assert!(line.starts_with(expected[0]), "{words:?}: {line}");
    }
    let arity = wire.run("BEAR.QUERY").error().to_lowercase();
    assert_eq!(arity, "err wrong number of arguments for 'bear.query' command");
    let binary = wire.call(&[&b"BEAR.QUERY"[..], b"bear", b"\xff\xfe\r\n", b"\0"]);
    assert!(binary.error().starts_with("ERR no query of 'bear' matches"), "{binary:?}");
    assert_eq!(selects(&database), 0);
    assert!(redis.keys().is_empty());
}

#[test]
fn another_database_is_refused_and_says_which_is_right() {
    let database = bears::database();
    let redis = Redis::builder().postgres(&database).config("bear.db", 2).start();
    let mut wire = redis.wire();
    let reply = wire.run("BEAR.QUERY bear all");
    assert!(reply.error().starts_with("ERR ") && reply.error().contains("bear.db"), "{reply:?}");
    assert!(reply.error().contains('2'), "{reply:?}");
    assert!(wire.run("SELECT 2").is_ok());
    assert_eq!(wire.run("BEAR.QUERY bear size 320 320").text(), bears::json(&[3]));
    redis.wait_stored();
    // The entry, its two sets, and the mark of the sections.
    assert_eq!(wire.run("DBSIZE").int(), 4);
    assert!(wire.run("SELECT 0").is_ok());
    assert_eq!(wire.run("DBSIZE").int(), 0);
}

#[test]
fn both_protocols_and_any_client_get_the_same() {
    let database = bears::database();
    let redis = Redis::with(&database);
    let expected = bears::json(&[3]);
    for state in ["missing", "cached"] {
        for mut client in [redis.client(), redis.resp3_client()] {
            let json: String =
                redis::cmd("BEAR.QUERY").arg(&["bear", "size", "300", "400"]).query(&mut client).unwrap();
            assert_eq!(json, expected, "{state}");
        }
        redis.wait_stored();
        redis.run("DEL bear:size:300:400");
    }
    let mut client = redis.resp3_client();
    let nothing: Option<String> =
        redis::cmd("BEAR.QUERY").arg(&["bear", "CACHED", "size", "7", "8"]).query(&mut client).unwrap();
    assert_eq!(nothing, None);
    assert_eq!(redis.resp3_wire().run("BEAR.QUERY bear size 300 400"), Reply::Bulk(expected.into_bytes()));
}

#[test]
fn pipelined_calls_are_answered_in_their_order() {
    let database = bears::database();
    let redis = Redis::with(&database);
    let mut wire = redis.wire();
    wire.run("BEAR.QUERY bear colors white");
    let mut bytes = Vec::new();
    let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
    for round in 0..20 {
        for line in [
            format!("BEAR.QUERY bear size {round} 90"),
            "BEAR.QUERY bear colors white".into(),
            "BEAR.QUERY bear sizes".into(),
            "PING".into(),
        ] {
            bytes.extend(crate::support::wire::packed(&words(&line)));
        }
    }
    wire.send_bytes(&bytes);
    for round in 0..20 {
        assert_eq!(wire.receive().text(), bears::json(&[8]), "{round}");
        assert_eq!(wire.receive().text(), bears::json(&[3, 4]), "{round}");
        assert!(wire.receive().is_error());
        assert_eq!(wire.receive().text(), "PONG");
    }
}

/// Names that a careless encoder gets wrong.
const ODD_NAMES: [&str; 14] = [
    "O'Malley \"the Paw\"",
    "tab\there",
    "line\nfeed\r\nand return",
    "back\\slash \\\" \\u0041",
    "Bär Übermut",
    "Honey 🐻🍯 👩‍👩‍👧",
    "𠮷田の熊",
    "%s:{id}, $1; --",
    "</script><b>",
    "\u{1}\u{1f}\u{7f}\u{80}",
    "\u{2028}\u{feff}",
    "a  b   ",
    "",
    "{\"id\": 1, \"x\": [ 2 , 3 ]}",
];

#[test]
fn odd_text_survives_in_results() {
    let database = bears::database();
    let redis = Redis::with(&database);
    let mut client = database.client();
    for (index, name) in ODD_NAMES.iter().enumerate() {
        let id = 1000 + index as i64;
        client.execute("INSERT INTO bear (id, name, size) VALUES ($1, $2, $1)", &[&id, name]).unwrap();
    }
    for state in ["missing", "cached"] {
        let reply = redis.run("BEAR.QUERY bear size 1000 2000");
        let rows = reply.json();
        let names: Vec<&str> = rows.as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap()).collect();
        assert_eq!(names, ODD_NAMES, "{state}");
    }
    assert_eq!(selects(&database), 1);
}

#[test]
fn odd_text_survives_in_arguments() {
    let database = bears::database();
    let redis = Redis::with(&database);
    let mut wire = redis.wire();
    let mut client = database.client();
    for (index, name) in ODD_NAMES.iter().enumerate().filter(|(_, name)| !name.is_empty()) {
        let id = 1000 + index as i64;
        client.execute("INSERT INTO color (id, name, hex) VALUES ($1, $2, '#123456')", &[&id, name]).unwrap();
        client.execute("INSERT INTO bear (id, name, size) VALUES ($1, 'x', 7)", &[&id]).unwrap();
        client.execute("INSERT INTO bear_colors VALUES ($1, $1)", &[&id]).unwrap();
        // In a typed list `,` separates; `%2C` and `%25` stand for the characters.
        let typed = name.replace('%', "%25").replace(',', "%2C");
        for state in ["missing", "cached"] {
            let rows = wire.call(&["BEAR.QUERY", "bear", "colors", &typed]).json();
            let ids: Vec<i64> = rows.as_array().unwrap().iter().map(|row| row["id"].as_i64().unwrap()).collect();
            assert_eq!(ids, [id], "{name:?}, {state}");
            assert_eq!(rows[0]["colors"][0], **name);
        }
        redis.wait_stored();
        let tag = format!("color:{name}");
        assert_eq!(wire.call(&["BEAR.INVALIDATE", "bear", "TAG", &tag]), Reply::Int(1), "{tag:?}");
    }
    // `:` and `,` within a word do not make another key's words of it.
    wire.run("BEAR.QUERY bear colors brown:size:1:2");
    redis.wait_stored();
    assert_eq!(redis.run("EXISTS bear:colors:brown%3Asize%3A1%3A2"), Reply::Int(1));
    assert_eq!(redis.run("EXISTS bear:colors:brown:size:1:2"), Reply::Int(0));
}

#[test]
fn results_of_thousands_of_rows_are_whole() {
    let database = bears::database();
    database.run("INSERT INTO bear (id, name, size) SELECT i, repeat('long name ', 10) || i, 5000 FROM generate_series(10, 5009) i");
    let redis = Redis::with(&database);
    let first = redis.run("BEAR.QUERY bear size 5000 5000");
    let rows = first.json();
    let ids: Vec<i64> = rows.as_array().unwrap().iter().map(|row| row["id"].as_i64().unwrap()).collect();
    assert_eq!(ids, (10..5010).collect::<Vec<_>>());
    // A large result is published in slices; until its entry stands, it may be answered from memory.
    crate::support::eventually("the entry stands", || redis.run("GET bear:size:5000:5000") == first);
    assert_eq!(redis.run("BEAR.QUERY bear size 5000 5000"), first);
    assert_eq!(selects(&database), 1);
    for id in [10, 2500, 5009] {
        assert_eq!(redis.run(&format!("SMEMBERS bear:meta:{id}:caches")).sorted_texts(), ["bear:size:5000:5000"]);
    }
}

#[test]
fn redis_serves_everyone_else_while_a_fetch_runs() {
    let database = bears::database();
    let redis = Redis::builder().postgres(&database).catalog(bears::gated_catalog()).start();
    redis.run("BEAR.QUERY bear colors white");
    let mut gate = database.close_gate();
    let mut waiting = redis.wire();
    waiting.begin("BEAR.QUERY bear all");
    gate.wait(1);
    let mut other = redis.wire();
    assert_eq!(other.run("PING").text(), "PONG");
    assert!(other.run("SET x 1").is_ok());
    assert_eq!(other.run("BEAR.QUERY bear colors white").text(), bears::json(&[3, 4]));
    assert_eq!(other.run("BEAR.QUERY color all").json()[0]["name"], "black");
    assert_eq!(other.run("BEAR.QUERY bear CACHED all"), Reply::Nil);
    gate.open();
    assert_eq!(waiting.receive().text(), bears::json(&[1, 2, 3, 4, 5, 6, 7, 8]));
}

#[test]
fn a_hit_writes_nothing() {
    let database = bears::database();
    let redis = Redis::builder().postgres(&database).append_only().start();
    redis.run("BEAR.QUERY bear all");
    redis.wait_stored();
    let before = redis.aof();
    assert!(before.iter().flatten().any(|command| command.text(1) == "bear:all"), "{before:?}");
    let mut stream = redis.replication_stream();
    for _ in 0..100 {
        redis.run("BEAR.QUERY bear all");
        redis.run("BEAR.QUERY bear CACHED all");
    }
    assert_eq!(stream.units(), Vec::<Vec<_>>::new());
    assert_eq!(redis.aof(), before);
}

#[test]
fn after_fresh_nobody_sees_an_older_value() {
    let database = bears::database();
    let redis = Redis::with(&database);
    let (mut wire, mut other) = (redis.wire(), redis.wire());
    let mut client = database.client();
    for is_paused in [false, true] {
        wire.run("BEAR.QUERY bear size 90 90");
        redis.wait_stored();
        if is_paused {
            assert!(wire.run("CLIENT PAUSE 100000 WRITE").is_ok());
        }
        for round in 0..30 {
            let name = format!("{is_paused} {round}");
            client.execute("UPDATE bear SET name = $1 WHERE id = 8", &[&name]).unwrap();
            for line in ["BEAR.QUERY bear FRESH size 90 90", "BEAR.QUERY bear size 90 90"] {
                assert_eq!(wire.run(line).json()[0]["name"], name, "{line}");
                assert_eq!(other.run("BEAR.QUERY bear size 90 90").json()[0]["name"], name, "{line}");
            }
            let cached = other.run("BEAR.QUERY bear CACHED size 90 90");
            assert!(cached.is_nil() || cached.json()[0]["name"] == name, "{cached:?}");
        }
    }
    assert!(wire.run("CLIENT UNPAUSE").is_ok());
    assert_eq!(wire.run("BEAR.QUERY bear size 90 90").json()[0]["name"], "true 29");
    redis.wait_stored();
    assert_eq!(wire.run("GET bear:size:90:90").json()[0]["name"], "true 29");
}

#[test]
fn a_null_is_dropped_by_the_row_that_its_call_asked_for() {
    let database = bears::database();
    let catalog = r#"
[bear]
id = "int"
tables = { bear = "id" }
row = "SELECT id FROM bear WHERE id = ANY({ids})"
[[bear.query]]
call = "{id:int}"
single = true
match = "id = {id}"
sql = "SELECT id, name FROM bear b WHERE id = {id}"
"#;
    let redis = Redis::builder().postgres(&database).catalog(catalog).start();
    let mut wire = redis.wire();
    for id in [99, 100] {
        assert_eq!(wire.run(&format!("BEAR.QUERY bear {id}")).text(), "null");
    }
    redis.wait_stored();
    database.run("INSERT INTO bear (id, name, size) VALUES (99, 'Rupert', 110)");
    assert_eq!(wire.run("BEAR.INVALIDATE bear ROW 99"), Reply::Int(1));
    assert_eq!(wire.run("BEAR.QUERY bear 99").text(), r#"{"id":99,"name":"Rupert"}"#);
    assert_eq!(wire.run("BEAR.QUERY bear CACHED 100").text(), "null", "it is of another row");
    redis.wait_stored();
    assert_eq!(wire.run("BEAR.INVALIDATE bear ROW 99"), Reply::Int(1), "once, though it is listed for both reasons");
}
