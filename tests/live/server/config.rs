//! `bear.*` settings: what they are, what they refuse and why, and what a change does while the server runs.

use std::time::{Duration, Instant};

use crate::support::bears::{self, selects};
use crate::support::{eventually, Database, Redis, Reply};

/// Name, default, values that are taken.
const SETTINGS: [(&str, &str, &[&str]); 36] = [
    ("apply-batch-bytes", "1048576", &["1024", "67108864"]),
    ("apply-batch-jobs", "500", &["1", "10000"]),
    ("apply-linger-ms", "0", &["10000", "0"]),
    ("apply-threads", "2", &[]),
    ("apply-timeout-ms", "5000", &["10", "600000"]),
    ("catalog", "", &[]),
    ("completed-max-bytes", "4194304", &["0", "1099511627776"]),
    ("db", "0", &[]),
    ("drain", "yes", &["no", "yes"]),
    ("events", "catalog", &["all", "off", "catalog"]),
    ("failed-max-jobs", "500", &["1", "1000000"]),
    ("feed", "auto", &["off", "wal", "outbox", "auto"]),
    ("feed-behind", "refetch", &["serve", "refetch"]),
    ("feed-grace-ms", "5000", &["100", "3600000"]),
    ("feed-url", "", &["postgres://bear@db.internal:5433/bears", ""]),
    ("fetch-threads", "4", &[]),
    ("health-queue-age-ms", "60000", &["0", "2592000000"]),
    ("inbox", "auto", &["no", "yes", "auto"]),
    ("inbox-poll-ms", "10", &["1", "50"]),
    ("ledger-keep-days", "30", &["1", "3650"]),
    ("lock-timeout-ms", "100", &["10", "60000"]),
    ("log-calls", "no", &["yes", "no"]),
    ("max-call-bytes", "8192", &["64", "65536"]),
    ("max-entry-bytes", "1048576", &["1024", "67108864"]),
    ("max-fills", "10000", &["1", "1000000"]),
    ("max-job-bytes", "1048576", &["64", "67108864"]),
    ("max-result-bytes", "67108864", &["1024", "536870912"]),
    ("metrics-listen", "", &[]),
    ("postgres-password-file", "", &["/run/secrets/postgres", ""]),
    (
        "postgres-url",
        "",
        &[
            "postgres://bear@db.internal:5433/bears",
            "postgresql://bear@one,two:5433/bears?sslmode=verify-full",
            "host=/var/run/postgresql user=bear dbname=bears",
            "",
        ],
    ),
    ("prepare", "yes", &["no", "yes"]),
    ("query-timeout-ms", "5000", &["10", "600000"]),
    ("queue-max-bytes", "268435456", &["1024", "1099511627776"]),
    ("queue-max-jobs", "1000000", &["1", "1000000000"]),
    ("search-path", "", &["app, public", ""]),
    ("unique-ms", "3600000", &["0", "2592000000"]),
];

/// Settings that only redis.conf and load arguments set: name and a value in range.
const FIXED: [(&str, &str); 3] = [("apply-threads", "1"), ("db", "1"), ("fetch-threads", "2")];

/// What is refused, and a part of the reason that says what would be right.
const WRONG: [(&str, &str, &str); 49] = [
    ("query-timeout-ms", "9", "between 10 and 600000"),
    ("query-timeout-ms", "600001", "between 10 and 600000"),
    ("query-timeout-ms", "-1", "between 10 and 600000"),
    ("query-timeout-ms", "soon", "integer"),
    ("query-timeout-ms", "", "integer"),
    ("max-entry-bytes", "1023", "between 1024 and 67108864"),
    ("max-entry-bytes", "67108865", "between 1024 and 67108864"),
    ("max-result-bytes", "0", "between 1024 and 536870912"),
    ("max-result-bytes", "536870913", "between 1024 and 536870912"),
    ("max-call-bytes", "63", "between 64 and 65536"),
    ("max-call-bytes", "65537", "between 64 and 65536"),
    ("max-fills", "0", "between 1 and 1000000"),
    ("max-fills", "1000001", "between 1 and 1000000"),
    ("apply-batch-jobs", "0", "between 1 and 10000"),
    ("lock-timeout-ms", "9", "between 10 and 60000"),
    ("failed-max-jobs", "0", "between 1 and 1000000"),
    ("drain", "maybe", "'yes' or 'no'"),
    ("prepare", "maybe", "'yes' or 'no'"),
    ("log-calls", "2", "'yes' or 'no'"),
    ("feed", "both", "must be one of auto, wal, outbox, off"),
    ("inbox", "maybe", "must be one of auto, yes, no"),
    ("inbox-poll-ms", "0", "between 1 and 50"),
    ("feed-behind", "wait", "must be one of refetch, serve"),
    ("feed-grace-ms", "99", "between 100 and 3600000"),
    ("feed-url", "hello", "postgres://user@host:5432/database"),
    ("postgres-url", "hello", "postgres://user@host:5432/database"),
    ("postgres-url", "mysql://h/db", "postgres://user@host:5432/database"),
    ("postgres-url", "postgres://h:99999/db", "between 1 and 65535"),
    ("postgres-url", "postgres://h/db?sslmode=on", "verify-full"),
    ("postgres-url", "postgres://h/db?sslmode=verify-ca", "'sslrootcert' of the Postgres URL must be given"),
    (
        "postgres-url",
        "postgres://h/db?connect_timeout=long",
        "'connect_timeout' of the Postgres URL must be a whole number",
    ),
    ("postgres-url", "postgres://h/db?target_session_attrs=standby", "read-write"),
    ("postgres-url", "postgres://h/db?service=x", "'service' of the Postgres URL is not supported"),
    ("postgres-url", "postgres://h/db?colour=brown", "unknown parameter (number 1)"),
    ("postgres-url", "postgres://h/%zz", "two hexadecimal digits"),
    ("postgres-url", "postgres://u:hunter2@h/db", "BEAR_POSTGRES_URL"),
    ("postgres-url", "postgres://u@h/db?password=hunter2", "bear.postgres-password-file"),
    ("postgres-url", "host=h password=hunter2", "PGPASSWORD"),
    ("postgres-url", "host=a,b,c port=1,2", "one for all hosts or one for each"),
    ("search-path", "a\0b", "NUL"),
    ("metrics-listen", "9121", "an IP address and a port, such as 127.0.0.1:9121"),
    ("metrics-listen", "localhost:9121", "an IP address and a port"),
    ("metrics-listen", "127.0.0.1", "an IP address and a port"),
    ("metrics-listen", "127.0.0.1:0", "an IP address and a port"),
    ("metrics-listen", "127.0.0.1:65536", "an IP address and a port"),
    ("health-queue-age-ms", "-1", "between 0 and 2592000000"),
    ("catalog", "/nowhere/catalog.toml", "cannot read the catalog /nowhere/catalog.toml"),
    ("catalog", "/", "cannot read the catalog /"),
    ("catalog", "/etc/passwd", "line 1"),
];

#[test]
fn there_are_these_settings_with_these_defaults() {
    let redis = Redis::builder().start();
    for mut wire in [redis.wire(), redis.resp3_wire()] {
        let found = wire.run("CONFIG GET bear.*").map();
        let found: Vec<(String, String)> = found.into_iter().map(|(name, value)| (name, value.text())).collect();
        let expected: Vec<(String, String)> =
            SETTINGS.iter().map(|(name, default, _)| (format!("bear.{name}"), (*default).into())).collect();
        assert_eq!(found, expected);
    }
}

#[test]
fn values_in_range_are_taken_and_shown() {
    let redis = Redis::builder().start();
    let mut wire = redis.wire();
    for (name, default, values) in SETTINGS {
        let name = format!("bear.{name}");
        for value in values {
            assert!(wire.call(&["CONFIG", "SET", &name, value]).is_ok(), "{name} {value}");
            assert_eq!(redis.config(&name), *value, "{name}");
        }
        if !values.is_empty() {
            assert!(wire.call(&["CONFIG", "SET", &name, default]).is_ok(), "{name} {default}");
        }
    }
}

#[test]
fn wrong_values_are_refused_with_a_reason_and_change_nothing() {
    let redis = Redis::builder().start();
    let mut wire = redis.wire();
    for (name, value, reason) in WRONG {
        let name = format!("bear.{name}");
        let before = redis.config(&name);
        let reply = wire.call(&["CONFIG", "SET", &name, value]);
        assert!(reply.error().contains(reason), "{name} {value:?}: {reply:?} lacks {reason:?}");
        assert!(!reply.error().contains("hunter2"), "{reply:?}");
        assert_eq!(redis.config(&name), before);
    }
    for (name, value) in FIXED {
        let reply = wire.call(&["CONFIG", "SET", &format!("bear.{name}"), value]);
        assert!(reply.error().contains("immutable"), "{reply:?}");
    }
}

#[test]
fn of_several_settings_all_are_changed_or_none() {
    let redis = Redis::builder().start();
    let mut wire = redis.wire();
    let set = ["CONFIG", "SET", "bear.query-timeout-ms", "400", "bear.catalog", "/nowhere", "bear.prepare", "no"];
    assert!(wire.call(&set).error().contains("cannot read the catalog"));
    for (name, value) in [("bear.query-timeout-ms", "5000"), ("bear.prepare", "yes"), ("bear.catalog", "")] {
        assert_eq!(redis.config(name), value);
    }
    assert!(wire.run("CONFIG SET bear.query-timeout-ms 400 bear.prepare no").is_ok());
    assert_eq!(redis.config("bear.query-timeout-ms"), "400");
    assert_eq!(redis.config("bear.prepare"), "no");
}

#[test]
fn redis_conf_sets_them() {
    let database = bears::database();
    let redis = Redis::builder()
        .config("bear.postgres-url", database.url())
        .config("bear.db", 3)
        .config("bear.fetch-threads", 2)
        .config("bear.query-timeout-ms", 1234)
        .config("bear.prepare", "no")
        .start();
    assert_eq!(redis.config("bear.postgres-url"), database.url());
    assert_eq!(redis.config("bear.db"), "3");
    assert_eq!(redis.config("bear.fetch-threads"), "2");
    assert_eq!(redis.config("bear.query-timeout-ms"), "1234");
    assert_eq!(redis.config("bear.prepare"), "no");
    let mut wire = redis.wire();
    assert!(wire.run("SELECT 3").is_ok());
    assert_eq!(wire.run("BEAR.QUERY bear size 90 90").text(), bears::json(&[8]));
}

#[test]
fn a_wrong_value_in_redis_conf_refuses_the_load_and_says_why() {
    let fixed = [("db", "-1", "between 0 and 1000000"), ("fetch-threads", "65", "between 1 and 64")];
    // Redis itself does not read NUL in its file.
    for (name, value, reason) in WRONG.into_iter().filter(|(_, value, _)| !value.contains('\0')).chain(fixed) {
        let log = Redis::builder().config(&format!("bear.{name}"), value).try_start().err();
        let log = log.unwrap_or_else(|| panic!("bear.{name} {value:?} was taken"));
        assert!(log.contains(reason), "bear.{name} {value:?}: no {reason:?} in\n{log}");
        assert!(!log.contains("hunter2"), "{log}");
    }
}

#[test]
fn an_unknown_setting_in_redis_conf_refuses_the_load() {
    let log = Redis::builder().config("bear.fetch-thread", 4).try_start().err().expect("it is refused");
    assert!(log.contains("Module Configuration detected"), "{log}");
}

#[test]
fn load_arguments_set_them_with_or_without_the_prefix() {
    let database = bears::database();
    let redis = Redis::builder()
        .module_arg(format!("bear.postgres-url {}", database.url()))
        .module_arg("fetch-threads 7")
        .module_arg("bear.query-timeout-ms 777")
        .module_arg("prepare NO")
        .start();
    assert_eq!(redis.config("bear.fetch-threads"), "7");
    assert_eq!(redis.config("bear.query-timeout-ms"), "777");
    assert_eq!(redis.config("bear.prepare"), "no");
    assert_eq!(redis.run("BEAR.QUERY bear size 90 90").text(), bears::json(&[8]));
}

#[test]
fn redis_conf_wins_over_load_arguments() {
    let redis = Redis::builder().module_arg("query-timeout-ms 777").config("bear.query-timeout-ms", 888).start();
    assert_eq!(redis.config("bear.query-timeout-ms"), "888");
}

#[test]
fn wrong_load_arguments_refuse_the_load_and_say_what_would_be_right() {
    let all = SETTINGS.map(|(name, ..)| format!("bear.{name}"));
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    for (args, reasons) in [
        ("fetch-thread 7", &[&["unknown load argument 'fetch-thread'"], &all[..]].concat()[..]),
        ("bear.bear.db 7", &["unknown load argument 'bear.bear.db'"]),
        ("DB 7", &["unknown load argument 'DB'"]),
        ("db", &["'db' has no value", "pairs of a setting and a value"]),
        ("db 1 prepare", &["'prepare' has no value"]),
        ("db x", &["'db': must be a number from 0 to 1000000"]),
        ("bear.fetch-threads 0", &["'bear.fetch-threads': must be a number from 1 to 64"]),
        ("fetch-threads 65", &["must be a number from 1 to 64"]),
        ("prepare maybe", &["'prepare': must be yes or no"]),
        ("catalog /nowhere/catalog.toml", &["cannot read the catalog /nowhere/catalog.toml"]),
        ("postgres-url hello", &["write postgres://user@host:5432/database"]),
    ] {
        let log = Redis::builder().module_arg(args).try_start().err();
        let log = log.unwrap_or_else(|| panic!("{args:?} was taken"));
        for reason in reasons {
            assert!(log.contains(reason), "{args:?}: no {reason:?} in\n{log}");
        }
    }
}

/// A catalog with one query and, in it, what a test has to say.
fn catalog_with(query: &str) -> String {
    format!("[bear]\nid = \"int\"\n[[bear.query]]\ncall = \"all\"\n{query}\n")
}

#[test]
fn a_catalog_that_does_not_load_refuses_the_load_with_file_section_and_reason() {
    for (text, reasons) in [
        ("[bear\n".to_owned(), &["line 1"][..]),
        (catalog_with("sqll = 1"), &["section 'bear', query 'all'", "unknown key 'sqll'", "sql is missing"]),
        (catalog_with("sql = \"SELECT {x}\""), &["section 'bear', query 'all'", "unknown placeholder {x}"]),
        (String::new(), &["the catalog has no section"]),
    ] {
        let log = Redis::builder().catalog(text.clone()).try_start().err();
        let log = log.unwrap_or_else(|| panic!("{text} was taken"));
        for reason in ["catalog.toml"].iter().chain(reasons) {
            assert!(log.contains(reason), "no {reason:?} in\n{log}");
        }
    }
}

#[test]
fn another_catalog_takes_the_place_of_the_old_one_or_is_refused() {
    let database = bears::database();
    let redis = Redis::builder().postgres(&database).start();
    let mut wire = redis.wire();
    assert_eq!(wire.run("BEAR.QUERY bear size 90 90").text(), bears::json(&[8]));
    let (bad, good) = (redis.folder().join("bad.toml"), redis.folder().join("good.toml"));
    std::fs::write(&bad, catalog_with("sql = \"SELECT {x}\"")).unwrap();
    std::fs::write(&good, catalog_with("sql = \"SELECT id FROM bear b WHERE id = 3\"")).unwrap();

    let refused = wire.call(&["CONFIG", "SET", "bear.catalog", bad.to_str().unwrap()]);
    for part in ["bad.toml", "section 'bear', query 'all'", "unknown placeholder {x}"] {
        assert!(refused.error().contains(part), "{refused:?}");
    }
    assert_eq!(redis.config("bear.catalog"), "");
    assert_eq!(wire.run("BEAR.QUERY bear CACHED size 90 90").text(), bears::json(&[8]));

    assert!(wire.call(&["CONFIG", "SET", "bear.catalog", good.to_str().unwrap()]).is_ok());
    assert_eq!(wire.run("BEAR.QUERY bear all").text(), r#"[{"id":3}]"#);
    assert!(wire.run("BEAR.QUERY bear size 90 90").error().contains("it has: all"));
    assert!(wire.call(&["CONFIG", "SET", "bear.catalog", ""]).is_ok());
    assert_eq!(wire.run("BEAR.QUERY bear size 90 90").text(), bears::json(&[8]));
}

#[test]
fn another_timeout_holds_for_the_next_call() {
    let database = bears::database();
    let redis = Redis::builder().postgres(&database).catalog(bears::gated_catalog()).start();
    let mut gate = database.close_gate();
    let mut before = redis.wire();
    before.begin("BEAR.QUERY bear size 90 90");
    gate.wait(1);
    assert!(redis.run("CONFIG SET bear.query-timeout-ms 250").is_ok());
    let begun = Instant::now();
    let reply = redis.run("BEAR.QUERY bear all");
    let took = begun.elapsed();
    assert!(reply.error().starts_with("TIMEOUT ") && reply.error().contains("250"), "{reply:?}");
    assert!(took >= Duration::from_millis(250) && took < Duration::from_secs(3), "{took:?}");
    // Who came before the change has the time of before.
    gate.open();
    assert_eq!(before.receive().text(), bears::json(&[8]));
}

fn insert_many_bears(database: &Database) {
    database
        .run("INSERT INTO bear (id, name, size) SELECT i, 'bear number ' || i, 5000 FROM generate_series(10, 109) i");
}

#[test]
fn another_largest_entry_holds_for_the_next_result() {
    let database = bears::database();
    insert_many_bears(&database);
    let redis = Redis::with(&database);
    let mut wire = redis.wire();
    assert!(wire.run("CONFIG SET bear.max-entry-bytes 1024").is_ok());
    assert_eq!(wire.run("BEAR.QUERY bear size 5000 5000").json().as_array().unwrap().len(), 100);
    redis.wait_stored();
    assert!(redis.keys().is_empty());
    assert!(wire.run("CONFIG SET bear.max-entry-bytes 100000").is_ok());
    wire.run("BEAR.QUERY bear size 5000 5000");
    redis.wait_stored();
    assert!(!wire.run("BEAR.QUERY bear CACHED size 5000 5000").is_nil());
}

#[test]
fn another_largest_result_holds_for_the_next_fetch() {
    let database = bears::database();
    insert_many_bears(&database);
    let redis = Redis::with(&database);
    let mut wire = redis.wire();
    assert!(wire.run("CONFIG SET bear.max-result-bytes 1024").is_ok());
    let reply = wire.run("BEAR.QUERY bear size 5000 5000");
    assert!(reply.error().starts_with("TOOLARGE ") && reply.error().contains("1024"), "{reply:?}");
    assert!(wire.run("CONFIG SET bear.max-result-bytes 100000").is_ok());
    assert_eq!(wire.run("BEAR.QUERY bear size 5000 5000").json().as_array().unwrap().len(), 100);
}

#[test]
fn another_longest_call_holds_for_the_next_call() {
    let database = bears::database();
    let redis = Redis::with(&database);
    let mut wire = redis.wire();
    let color = "x".repeat(100);
    let call = ["BEAR.QUERY", "bear", "colors", &color];
    assert_eq!(wire.call(&call).text(), "[]");
    assert!(wire.run("CONFIG SET bear.max-call-bytes 64").is_ok());
    let reply = wire.call(&call);
    assert!(reply.error().starts_with("ERR ") && reply.error().contains("64"), "{reply:?}");
    assert_eq!(wire.run("BEAR.QUERY bear size 90 90").text(), bears::json(&[8]));
}

#[test]
fn more_fetches_than_max_fills_are_refused() {
    let database = bears::database();
    let redis = Redis::builder().postgres(&database).catalog(bears::gated_catalog()).start();
    redis.run("BEAR.QUERY bear size 300 400");
    redis.wait_stored();
    assert!(redis.run("CONFIG SET bear.max-fills 1").is_ok());
    let mut gate = database.close_gate();
    let mut first = redis.wire();
    first.begin("BEAR.QUERY bear size 90 90");
    gate.wait(1);
    let reply = redis.run("BEAR.QUERY bear all");
    assert!(reply.error().starts_with("OVERLOADED ") && reply.error().contains("bear.max-fills"), "{reply:?}");
    assert_eq!(redis.run("BEAR.QUERY bear size 300 400").text(), bears::json(&[3]), "hits cost no fetch");
    gate.open();
    assert_eq!(first.receive().text(), bears::json(&[8]));
    eventually("the next fetch is taken", || !redis.run("BEAR.QUERY bear all").is_error());
}

/// Lines of the log about calls.
fn logged_calls(redis: &Redis) -> Vec<String> {
    let log = redis.log();
    let calls = log.lines().filter_map(|line| line.rsplit_once("<bear> "));
    let calls =
        calls.map(|(_, text)| text.to_owned()).filter(|text| text.starts_with("HIT") || text.starts_with("MISS"));
    calls.collect()
}

#[test]
fn log_calls_writes_a_line_for_each_hit_and_miss() {
    let database = bears::database();
    let redis = Redis::with(&database);
    let mut wire = redis.wire();
    wire.run("BEAR.QUERY bear size 90 90");
    redis.wait_stored();
    assert!(logged_calls(&redis).is_empty());
    assert!(wire.run("CONFIG SET bear.log-calls yes").is_ok());
    wire.run("BEAR.QUERY bear size 90 90");
    wire.run("BEAR.QUERY bear CACHED size 0090 90");
    wire.run("BEAR.QUERY bear CACHED size 1 2");
    wire.call(&["BEAR.QUERY", "bear", "colors", "a\r\nb\u{1b}[31m,ü"]);
    wire.run("BEAR.QUERY bear sizes");
    let expected = ["HIT bear:size:90:90", "HIT bear:size:90:90", "MISS bear:size:1:2", "MISS bear:colors:"];
    let found = logged_calls(&redis);
    assert_eq!(found.len(), expected.len(), "{found:?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.starts_with(expected), "{found:?}");
        assert!(!found.contains('\u{1b}'), "{found:?}");
    }
    assert!(wire.run("CONFIG SET bear.log-calls no").is_ok());
    wire.run("BEAR.QUERY bear size 90 90");
    assert_eq!(logged_calls(&redis).len(), expected.len());
}

#[test]
fn another_database_is_asked_from_now_on_and_nothing_of_the_old_one_is_served() {
    let (first, second) = (bears::database(), bears::database());
    second.run("UPDATE bear SET name = 'Pad' WHERE id = 8");
    let redis = Redis::builder().config("bear.postgres-url", first.url()).append_only().start();
    let mut wire = redis.wire();
    assert_eq!(wire.run("BEAR.QUERY bear size 90 90").text(), bears::json(&[8]));
    redis.wait_stored();

    assert!(wire.call(&["CONFIG", "SET", "bear.postgres-url", &second.url()]).is_ok());
    assert_eq!(wire.run("BEAR.QUERY bear CACHED size 90 90"), Reply::Nil);
    // What is fetched before that is not stored.
    eventually("the other one has seen the catalog", || redis.run("BEAR.CATALOG").map()["checked"].text() == "yes");
    assert!(wire.run("BEAR.QUERY bear size 90 90").text().contains("Pad"));
    assert_eq!((selects(&first), selects(&second)), (1, 1));
    redis.wait_stored();
    assert_eq!(wire.run("BEAR.INVALIDATE bear ROW 8"), Reply::Int(1));
    eventually("the old connections are closed", || first.sessions() == 0);
    // The same again changes nothing.
    wire.run("BEAR.QUERY bear size 90 90");
    redis.wait_stored();
    assert!(wire.call(&["CONFIG", "SET", "bear.postgres-url", &second.url()]).is_ok());
    assert!(wire.run("BEAR.QUERY bear CACHED size 90 90").text().contains("Pad"));
}

#[test]
fn a_fetch_from_the_old_database_is_answered_and_not_stored() {
    let (first, second) = (bears::database(), bears::database());
    second.run("UPDATE bear SET name = 'Pad' WHERE id = 8");
    let redis = Redis::builder().config("bear.postgres-url", first.url()).catalog(bears::gated_catalog()).start();
    let mut gate = first.close_gate();
    let mut client = redis.wire();
    client.begin("BEAR.QUERY bear size 90 90");
    gate.wait(1);
    assert!(redis.run(&format!("CONFIG SET bear.postgres-url {}", second.url())).is_ok());
    gate.open();
    assert_eq!(client.receive().text(), bears::json(&[8]));
    assert_eq!(redis.run("BEAR.QUERY bear CACHED size 90 90"), Reply::Nil);
    assert!(redis.run("BEAR.QUERY bear size 90 90").text().contains("Pad"));
}

#[test]
fn calls_without_a_url_are_answered_once_there_is_one() {
    let database = bears::database();
    let redis = Redis::builder().start();
    let mut wire = redis.wire();
    assert!(wire.run("BEAR.QUERY bear all").error().starts_with("POSTGRES no URL"));
    assert!(wire.call(&["CONFIG", "SET", "bear.postgres-url", &database.url()]).is_ok());
    assert_eq!(wire.run("BEAR.QUERY bear size 90 90").text(), bears::json(&[8]));
    assert!(wire.call(&["CONFIG", "SET", "bear.postgres-url", ""]).is_ok());
    assert!(wire.run("BEAR.QUERY bear size 90 90").error().starts_with("POSTGRES no URL"));
    eventually("no connection is left", || database.sessions() == 0);
}

#[test]
fn the_search_path_decides_which_tables_are_read() {
    let database = bears::database();
    database.run(
        "CREATE SCHEMA app; CREATE TABLE app.bear AS SELECT id, 'App' AS name, size FROM bear;
         CREATE SCHEMA \"Odd, one\"; CREATE TABLE \"Odd, one\".bear AS SELECT id, 'Odd' AS name, size FROM bear",
    );
    let redis = Redis::with(&database);
    let mut wire = redis.wire();
    for (path, name) in
        [("", "Paddington"), ("app, public", "App"), ("\"Odd, one\", public", "Odd"), ("", "Paddington")]
    {
        assert!(wire.call(&["CONFIG", "SET", "bear.search-path", path]).is_ok());
        assert_eq!(wire.run("BEAR.QUERY bear size 90 90").json()[0]["name"], name, "{path}");
    }
}

#[test]
fn without_prepare_no_statement_has_a_name() {
    let database = bears::database();
    let redis = Redis::with(&database);
    // What learns the columns of a query (`… ON false`), or checks the catalog (`… WHERE false`), is never named.
    let is_fetch = |entry: &str| {
        let is_other = [" ON false)", " bear_tree WHERE false", ": PREPARE "].iter().any(|other| entry.contains(other));
        entry.starts_with("LOG:  execute ") && entry.contains("bear b ") && !is_other
    };
    let executed = || -> Vec<String> {
        let log = database.log();
        let own = log.iter().filter(|entry| is_fetch(entry));
        own.map(|entry| entry["LOG:  execute ".len()..].split(':').next().unwrap().to_owned()).collect()
    };
    redis.run("BEAR.QUERY bear FRESH size 90 90");
    assert!(!executed().is_empty() && executed().iter().all(|name| name != "<unnamed>"), "{:?}", executed());
    assert!(redis.run("CONFIG SET bear.prepare no").is_ok());
    let before = executed().len();
    for _ in 0..3 {
        assert_eq!(redis.run("BEAR.QUERY bear FRESH size 90 90").text(), bears::json(&[8]));
    }
    let since = executed().split_off(before);
    assert!(since.len() >= 3 && since.iter().all(|name| name == "<unnamed>"), "{since:?}");
}

#[test]
fn config_rewrite_keeps_what_was_set() {
    let database = bears::database();
    let mut redis = Redis::builder()
        .config("bear.postgres-url", database.url())
        .config("bear.fetch-threads", 2)
        .module_arg("max-fills 99")
        .start();
    let mut wire = redis.wire();
    assert!(wire.call(&["CONFIG", "SET", "bear.search-path", "public, \"odd one\""]).is_ok());
    assert!(wire.run("CONFIG SET bear.query-timeout-ms 4321").is_ok());
    assert!(wire.run("CONFIG REWRITE").is_ok());
    let before = wire.run("CONFIG GET bear.*").map();
    redis.restart();
    assert_eq!(redis.run("CONFIG GET bear.*").map(), before);
    assert_eq!(redis.config("bear.query-timeout-ms"), "4321");
    assert_eq!(redis.config("bear.max-fills"), "99");
    assert_eq!(redis.run("BEAR.QUERY bear size 90 90").text(), bears::json(&[8]));
}

#[test]
fn a_call_under_way_when_the_url_is_taken_away_can_be_asked_again() {
    let database = bears::database();
    let redis = Redis::builder()
        .config("bear.postgres-url", database.url())
        .config("bear.query-timeout-ms", 60_000)
        .config("bear.fetch-threads", 1)
        .catalog(bears::gated_catalog())
        .start();
    let mut gate = database.close_gate();
    // One is before Postgres, one waits for its thread.
    let (mut fetched, mut queued) = (redis.wire(), redis.wire());
    fetched.begin("BEAR.QUERY bear size 90 90");
    gate.wait(1);
    queued.begin("BEAR.QUERY bear size 300 400");
    redis.wait_blocked(2);
    assert!(redis.wire().call(&["CONFIG", "SET", "bear.postgres-url", ""]).is_ok());
    gate.open();
    for (client, expected) in [(&mut fetched, bears::json(&[8])), (&mut queued, bears::json(&[3]))] {
        let reply = client.receive();
        assert!(reply.is_error() || reply.text() == expected, "{reply:?}");
    }
    eventually("no fetch is under way", || redis.info("bear").int("bear_fills_running") == 0);
    assert!(redis.run("BEAR.QUERY bear size 90 90").error().starts_with("POSTGRES no URL"));
    assert!(redis.wire().call(&["CONFIG", "SET", "bear.postgres-url", &database.url()]).is_ok());
    assert_eq!(redis.run("BEAR.QUERY bear size 90 90").text(), bears::json(&[8]));
    assert_eq!(redis.run("BEAR.QUERY bear size 300 400").text(), bears::json(&[3]));
    eventually("none is left behind", || redis.info("bear").int("bear_fills_running") == 0);
}

#[test]
fn a_reload_under_way_when_the_url_is_taken_away_is_answered() {
    let database = bears::database();
    let redis = Redis::builder()
        .config("bear.postgres-url", database.url())
        .catalog(catalog_with("sql = \"SELECT id FROM bear b WHERE id = 8\""))
        .start();
    assert_eq!(redis.run("BEAR.QUERY bear all").text(), r#"[{"id":8}]"#);
    let mut holder = database.client();
    let mut lock = holder.transaction().unwrap();
    lock.batch_execute("LOCK TABLE bear IN ACCESS EXCLUSIVE MODE").unwrap();
    let mut client = redis.wire();
    client.begin("BEAR.RELOAD");
    redis.wait_blocked(1);
    assert!(redis.wire().call(&["CONFIG", "SET", "bear.postgres-url", ""]).is_ok());
    let reply = client.receive();
    assert!(reply.is_error() || reply.is_ok(), "{reply:?}");
    lock.rollback().unwrap();
    // Without Postgres the file alone decides; with it, the statements are tried.
    assert!(redis.run("BEAR.RELOAD").is_ok());
    assert!(redis.wire().call(&["CONFIG", "SET", "bear.postgres-url", &database.url()]).is_ok());
    assert_eq!(redis.run("BEAR.QUERY bear all").text(), r#"[{"id":8}]"#);
    assert!(redis.run("BEAR.RELOAD").is_ok());
}

#[test]
fn a_db_that_the_server_has_not_refuses_the_load() {
    let log = Redis::builder().config("databases", 4).config("bear.db", 9).try_start().err().expect("it is refused");
    for reason in ["bear.db is 9", "databases"] {
        assert!(log.contains(reason), "no {reason:?} in\n{log}");
    }
    let last = Redis::builder().config("databases", 4).config("bear.db", 3).start();
    assert_eq!(last.config("bear.db"), "3");
}
