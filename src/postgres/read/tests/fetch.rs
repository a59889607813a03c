//! What a fetch brings back, with and without prepared statements.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::core::cache::fetch::{FetchError, Fetched};
use crate::core::catalog::fetch_plan::FetchPlan;
use crate::core::values::value::ArgType;
use crate::core::values::value::ScalarType::*;
use crate::postgres::connect::failure::Failure;
use crate::postgres::tests::server::Server;
use crate::postgres::tests::{eventually, plan, request, scalar, Tried};

/// Runs a test both ways.
fn both(test: impl Fn(&Server, &Tried)) {
    let server = Server::shared();
    for prepare in [true, false] {
        let tried = Tried::new(&server, |settings| settings.prepare = prepare);
        test(&server, &tried);
    }
}

fn text(fetched: Fetched) -> String {
    String::from_utf8(fetched.json).unwrap()
}

fn strings(items: &[Box<str>]) -> Vec<&str> {
    items.iter().map(|item| &**item).collect()
}

#[test]
fn every_type_survives_as_a_parameter_and_as_json() {
    both(|_, tried| {
        for (ty, value, json) in [
            (Int, "-9223372036854775808", "-9223372036854775808"),
            (Float, "0.1", "0.1"),
            (Numeric, "12345678901234567890.1200", "12345678901234567890.1200"),
            (Bool, "true", "true"),
            (
                Text,
                "a\"b\\c\td\ne'f; DROP TABLE x --$1 🐻 ü  {\"a\": 1}",
                r#""a\"b\\c\td\ne'f; DROP TABLE x --$1 🐻 ü  {\"a\": 1}""#,
            ),
            (Text, "", r#""""#),
            (Uuid, "6ba7b810-9dad-11d1-80b4-00c04fd430c8", r#""6ba7b810-9dad-11d1-80b4-00c04fd430c8""#),
            (Date, "2024-02-29", r#""2024-02-29""#),
            (Timestamp, "2024-02-29 12:00:00.5", r#""2024-02-29T12:00:00.5""#),
            (TimestampTz, "2024-02-29 12:00:00+02", r#""2024-02-29T10:00:00+00:00""#),
            (Json, r#"{"b": [1, 2], "a": " x "}"#, r#"{"a":" x ","b":[1,2]}"#),
        ] {
            let fetched = tried.fetch(plan("SELECT $1 AS x", &[scalar(ty)]), &[Some(value)]).unwrap();
            assert_eq!(text(fetched), format!("[{{\"x\":{json}}}]"));
            let fetched = tried.fetch(plan("SELECT $1 AS x", &[scalar(ty)]), &[None]).unwrap();
            assert_eq!(text(fetched), "[{\"x\":null}]");
        }
        let array = ArgType { scalar: Text, array: true };
        let fetched = tried.fetch(plan("SELECT $1 AS x", &[array]), &[Some(r#"{"a,b","c\"d",NULL}"#)]).unwrap();
        assert_eq!(text(fetched), r#"[{"x":["a,b","c\"d",null]}]"#);
    });
}

#[test]
fn json_is_compact_whatever_the_columns_are() {
    let server = Server::shared();
    server.run(
        "CREATE SCHEMA IF NOT EXISTS compact; DO $$ BEGIN
         CREATE TYPE compact.mood AS ENUM ('so so', 'good'); CREATE DOMAIN compact.doc AS jsonb; CREATE DOMAIN compact.pos AS int CHECK (value > 0);
         CREATE TYPE compact.pair AS (a compact.doc, b text); EXCEPTION WHEN duplicate_object THEN NULL; END $$",
    );
    both(|_, tried| {
        let sql = r#"SELECT 'so so'::compact.mood AS e, ARRAY['good']::compact.mood[] AS es, '{"a": [1, 2]}'::compact.doc AS d, 7::compact.pos AS p,
            ROW('{"x": 1}', 'y  z')::compact.pair AS c, ARRAY[ROW('[1, 2]', ' ')]::compact.pair[] AS cs, '{ "k" :  "v  w" }'::json AS j,
            (SELECT json_agg(g) FROM generate_series(1, 2) g) AS v, row(1, 2) AS q, int4range(1, 5) AS i, '\x00ff'::bytea AS b -- the end"#;
        assert_eq!(
            tried.json(sql),
            r#"[{"e":"so so","es":["good"],"d":{"a":[1,2]},"p":7,"c":{"a":{"x":1},"b":"y  z"},"cs":[{"a":[1,2],"b":" "}],"j":{"k":"v  w"},"v":[1,2],"q":{"f1":1,"f2":2},"i":"[1,5)","b":"\\x00ff"}]"#
        );
        assert_eq!(
            tried.json("SELECT g AS id FROM generate_series(3, 1, -1) g ORDER BY g DESC"),
            r#"[{"id":3},{"id":2},{"id":1}]"#
        );
        assert_eq!(tried.json("SELECT 1 AS id WHERE false"), "[]");
    });
}

#[test]
fn single_is_an_object_or_null() {
    both(|_, tried| {
        let single = |sql: &str| tried.fetch(FetchPlan { single: true, ..plan(sql, &[]) }, &[]);
        assert_eq!(text(single("SELECT 1 AS a").unwrap()), r#"{"a":1}"#);
        assert_eq!(text(single("SELECT 1 AS a WHERE false").unwrap()), "null");
        let error = single("SELECT generate_series(1, 1000000) AS a").unwrap_err().to_string();
        assert!(error.contains("single = true expects at most one row, got more"), "{error}");
        assert_eq!(text(single("SELECT 2 AS a").unwrap()), r#"{"a":2}"#);
    });
}

#[test]
fn hidden_columns_come_back_beside_the_json() {
    both(|_, tried| {
        let sql = "SELECT * FROM (VALUES (2, ARRAY[5, 4, 5], 7, 'x', now() + interval '1 hour'), (10, NULL, NULL, 'y', 'infinity'), \
            (NULL, '{NULL}', 7, NULL, now() + interval '1 minute')) v(id, _color, _bear, name, _until) ORDER BY name";
        let mut tagged = plan(sql, &[]);
        tagged.row_id = Some(Int);
        tagged.tag_columns = vec!["name".into(), "_color".into()];
        let fetched = tried.fetch(tagged, &[]).unwrap();
        assert_eq!(fetched.row_count, 3);
        assert_eq!(strings(&fetched.found.ids), ["10", "2"]);
        assert_eq!(fetched.found.listed.len(), 2);
        assert_eq!((&*fetched.found.listed[0].0, strings(&fetched.found.listed[0].1)), ("color", vec!["4", "5"]));
        assert_eq!((&*fetched.found.listed[1].0, strings(&fetched.found.listed[1].1)), ("bear", vec!["7"]));
        let tags: Vec<Vec<Vec<&str>>> =
            fetched.found.tag_values.iter().map(|row| row.iter().map(|values| strings(values)).collect()).collect();
        assert_eq!(tags, [[vec!["x"], vec!["5", "4", "5"]], [vec!["y"], vec![]], [vec![], vec![]]]);
        let lives_ms = fetched.lives_ms.unwrap();
        assert!((55_000..=60_000).contains(&lives_ms), "{lives_ms}");
        assert_eq!(text(fetched), r#"[{"id":2,"name":"x"},{"id":10,"name":"y"},{"id":null,"name":null}]"#);
        let only_hidden = tried.fetch(plan("SELECT generate_series(3, 1, -1) AS _bear", &[]), &[]).unwrap();
        assert_eq!(
            (strings(&only_hidden.found.listed[0].1), text(only_hidden.clone())),
            (vec!["1", "2", "3"], "[{},{},{}]".to_owned())
        );
        let sql = "SELECT id AS v, id * 2 AS q, 5 AS _bear FROM (VALUES (2), (3), (1)) x(id) ORDER BY id DESC";
        assert_eq!(text(tried.fetch(plan(sql, &[]), &[]).unwrap()), r#"[{"v":3,"q":6},{"v":2,"q":4},{"v":1,"q":2}]"#);
        let past = tried.fetch(plan("SELECT 1 AS a, '-infinity'::timestamptz AS _until", &[]), &[]).unwrap();
        assert_eq!(past.lives_ms, Some(0));
        assert_eq!(tried.fetch(plan("SELECT 1 AS a, NULL::timestamptz AS _until", &[]), &[]).unwrap().lives_ms, None);
    });
}

#[test]
fn a_wrong_shape_or_statement_is_told() {
    both(|server, tried| {
        server.run("CREATE SEQUENCE IF NOT EXISTS counter");
        let fails = |plan: FetchPlan, part: &str| {
            let error = tried.fetch(plan, &[]).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        };
        fails(FetchPlan { row_id: Some(Int), ..plan("SELECT 1 AS x", &[]) }, "must return the row id as 'id'");
        fails(plan("SELECT 1 AS x, 2 AS _colour", &[]), "'_colour' names no section");
        fails(plan("SELECT 1 AS x, 2 AS x", &[]), "two columns are named 'x'");
        fails(plan("SELECT '{{1},{2}}'::int[] AS _color, 1 AS x", &[]), "one dimension");
        fails(plan("SELECT x FROM nowhere", &[]), "SQLSTATE 42P01");
        fails(plan("SELECT 1 / g AS x FROM generate_series(-2, 1) g", &[]), "SQLSTATE 22012");
        fails(plan("SELECT 1 AS x; SELECT 2", &[]), "SQLSTATE 42601");
        fails(plan("SELECT nextval('counter') AS x", &[]), "SQLSTATE 25006");
        let error = tried.fetch(plan("SELECT $1 AS x", &[scalar(Text)]), &[Some("a\0b")]).unwrap_err().to_string();
        assert!(error.contains("SQLSTATE 22021"), "{error}");
        // None of it costs the connection.
        assert_eq!(tried.json("SELECT 1 AS x"), r#"[{"x":1}]"#);
        assert!(
            tried.pool.figures().connects <= u64::from(tried.pool.figures().max_size),
            "{:?}",
            tried.pool.figures()
        );
    });
}

#[test]
fn a_timeout_cancels_in_postgres() {
    both(|server, tried| {
        let mut slow = request(&Arc::new(plan("SELECT pg_sleep(60)::text AS cancelled_by_bear", &[])), &[]);
        slow.deadline = Instant::now() + Duration::from_millis(300);
        let started = Instant::now();
        assert!(matches!(tried.pool.fetch(&slow).1, Err(FetchError::Timeout { timeout_ms: 20_000 })));
        assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
        let running = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%cancelled_by_bear%' AND pid <> pg_backend_pid()";
        eventually("the end of the query", || server.client().query_one(running, &[]).unwrap().get::<_, i64>(0) == 0);
        slow.deadline = Instant::now();
        assert!(matches!(tried.pool.fetch(&slow).1, Err(FetchError::Timeout { .. })));
        // The short limit does not outlive its request.
        assert_eq!(tried.json("SELECT pg_sleep(0.5)::text AS x"), r#"[{"x":""}]"#);
    });
}

#[test]
fn a_result_that_is_too_large_is_left_early() {
    both(|server, tried| {
        let sql = "SELECT generate_series(1, 100000000) AS too_large_for_bear, repeat('x', 1000) AS x";
        let started = Instant::now();
        assert_eq!(tried.fetch(plan(sql, &[]), &[]), Err(FetchError::TooLarge { limit: 1 << 20 }));
        assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
        let running = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%too_large_for_bear%' AND pid <> pg_backend_pid()";
        eventually("the end of the query", || server.client().query_one(running, &[]).unwrap().get::<_, i64>(0) == 0);
        let mut exact = request(&Arc::new(plan("SELECT 1 AS x", &[])), &[]);
        exact.max_result_bytes = "[{\"x\":1}]".len();
        assert!(tried.pool.fetch(&exact).1.is_ok());
        exact.max_result_bytes -= 1;
        assert!(matches!(tried.pool.fetch(&exact).1, Err(FetchError::TooLarge { .. })));
    });
}

#[test]
fn a_query_learns_that_its_table_was_altered() {
    let server = Server::shared();
    for prepare in [true, false] {
        let table = format!("altered_{prepare}");
        server.run(&format!("CREATE TABLE {table} (id int, a int); INSERT INTO {table} VALUES (1, 2)"));
        let tried = Tried::new(&server, |settings| settings.prepare = prepare);
        let plan =
            Arc::new(FetchPlan { row_id: Some(Int), ..plan(&format!("SELECT *, 3 AS _color FROM {table}"), &[]) });
        let json = || String::from_utf8(tried.pool.fetch(&request(&plan, &[])).1.unwrap().json).unwrap();
        assert_eq!(json(), r#"[{"id":1,"a":2}]"#);
        server.run(&format!("ALTER TABLE {table} DROP a, ADD b text DEFAULT 'x'"));
        assert_eq!(json(), r#"[{"id":1,"b":"x"}]"#);
        server.run(&format!("DROP TABLE {table}"));
    }
}

#[test]
fn without_prepare_no_statement_and_no_setting_outlives_a_transaction() {
    let server = Server::shared();
    server.run("CREATE SCHEMA IF NOT EXISTS apart; CREATE TABLE IF NOT EXISTS apart.only_here (id int)");
    let tried = Tried::new(&server, |settings| {
        settings.prepare = false;
        settings.search_path = Some("apart, public".to_owned());
    });
    assert_eq!(tried.json("SELECT id FROM only_here"), "[]");
    assert_eq!(tried.json("SELECT count(*) AS n FROM pg_prepared_statements"), r#"[{"n":0}]"#);
    let (_, state) = tried.pool.with_session(Instant::now() + Duration::from_secs(5), 0, |numbered| {
        let rows = numbered.session.client.query_typed(
            "SELECT current_setting('TimeZone') || current_setting('jit') || current_setting('search_path')",
            &[],
        )?;
        Ok(rows[0].get::<_, String>(0))
    });
    let state = state.unwrap();
    assert!(!state.contains("apart") && !state.contains("off"), "{state}");
}

#[test]
fn a_session_is_pinned_and_never_writes() {
    both(|_, tried| {
        let json = tried.json(
            "SELECT current_setting('TimeZone') AS z, current_setting('DateStyle') AS d, current_setting('transaction_read_only') AS r, \
             current_setting('application_name') AS a, current_setting('jit') AS j, \
             current_setting('statement_timeout')::interval AS s",
        );
        let (pinned, timeout) = json.split_once(r#","s":"00:00:"#).expect("a timeout of less than a minute");
        assert_eq!(pinned, r#"[{"z":"UTC","d":"ISO, YMD","r":"on","a":"bear","j":"off""#);
        // What is left of the 20 seconds that `request` gives, which have begun before.
        let seconds: f64 = timeout.trim_end_matches(r#""}]"#).parse().expect("seconds");
        assert!(seconds > 0.0 && seconds <= 20.0, "{json}");
    });
}

#[test]
fn nobody_comes_into_a_transaction_that_another_has_left_open() {
    both(|_, tried| {
        let seen =
            || tried.json("SELECT pg_backend_pid() AS pid, coalesce(current_setting('told.open', true), '') AS told");
        let before = seen();
        for (then, is_late) in [("SELECT 1", false), ("SELECT 1/0", false), ("SELECT 1", true)] {
            let deadline = Instant::now() + Duration::from_secs(5);
            let (_, left) = tried.pool.with_session(deadline, 0, |numbered| {
                numbered.session.open("BEGIN; SET LOCAL told.open = 'yes'")?;
                numbered.session.client.batch_execute(then)?;
                match is_late {
                    true => Err(Failure::TimedOut(None)),
                    false => Ok(()),
                }
            });
            assert_eq!(left.is_ok(), then == "SELECT 1" && !is_late);
            assert_eq!(seen(), before, "after {then}");
        }
    });
}
