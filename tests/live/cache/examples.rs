//! The exam and salon catalogs that ship as examples, on their schemas and data: what each feature they show does.

use serde_json::{json, Value};

use crate::support::{eventually, Database, Postgres, Redis, Reply, Wire};

fn exam() -> (Database, Redis) {
    start(
        concat!(include_str!("../../../schema/exam.sql"), include_str!("../../../schema/exam-data.sql")),
        include_str!("../../../catalogs/exam.toml"),
    )
}

fn salon() -> (Database, Redis) {
    start(
        concat!(include_str!("../../../schema/salon.sql"), include_str!("../../../schema/salon-data.sql")),
        include_str!("../../../catalogs/salon.toml"),
    )
}

fn start(schema: &str, catalog: &str) -> (Database, Redis) {
    let database = Postgres::shared().database(schema);
    let redis = Redis::builder().postgres(&database).catalog(catalog).append_only().start();
    eventually("the catalog is checked", || redis.run("BEAR.CATALOG").map()["checked"].text() == "yes");
    (database, redis)
}

/// Fetches that Postgres executed for queries holding `text`.
fn fetches(database: &Database, text: &str) -> usize {
    database.executions(text)
}

#[track_caller]
fn query(wire: &mut Wire, line: &str) -> Value {
    wire.run(&format!("BEAR.QUERY {line}")).json()
}

/// Asks and waits until the answer is stored.
#[track_caller]
fn cache(redis: &Redis, line: &str) {
    let reply = redis.run(&format!("BEAR.QUERY {line}"));
    assert!(!reply.is_error(), "{line}: {reply:?}");
    redis.wait_stored();
    assert!(is_cached(redis, line), "{line} is stored");
}

#[track_caller]
fn is_cached(redis: &Redis, line: &str) -> bool {
    let (space, call) = line.split_once(' ').expect("a space and a call");
    !redis.run(&format!("BEAR.QUERY {space} CACHED {call}")).is_nil()
}

fn user(number: u32) -> String {
    format!("00000000-0000-4000-8000-{number:012}")
}

const SALON: &str = "5a100000-0000-4000-8000-000000000001";
const OTHER: &str = "5a100000-0000-4000-8000-000000000002";

fn booking(number: u32) -> String {
    format!("b0000000-0000-4000-8000-{number:012}")
}

fn customer(number: u32) -> String {
    format!("c0500000-0000-4000-8000-{number:012}")
}

fn invoice(number: u32) -> String {
    format!("1a000000-0000-4000-8000-{number:012}")
}

#[test]
fn the_examples_prepare_without_error() {
    for (_database, redis) in [exam(), salon()] {
        let found = redis.run("BEAR.CATALOG").map();
        assert!(found["errors"].list().is_empty(), "{:?}", found["errors"]);
        assert!(found["warnings"].list().is_empty(), "{:?}", found["warnings"]);
    }
}

#[test]
fn a_single_query_replies_an_object_or_null() {
    let (database, redis) = exam();
    let mut wire = redis.wire();
    let expected = r#"{"id":2,"title":"Exam 2","status":"OPEN","settings":{"minutes":32,"shuffle":true}}"#;
    for state in ["missing", "cached"] {
        assert_eq!(wire.run("BEAR.QUERY exam 2").text(), expected, "{state}");
        assert_eq!(wire.run("BEAR.QUERY exam 002").text(), expected, "{state}");
        assert_eq!(wire.run("BEAR.QUERY exam 999").text(), "null", "{state}");
    }
    assert_eq!(fetches(&database, "settings FROM exam"), 2);
    // A value of null is not left out, and jsonb comes without blanks.
    assert_eq!(wire.run("BEAR.QUERY exam 4").text(), r#"{"id":4,"title":"Exam 4","status":"OPEN","settings":null}"#);
    redis.wait_stored();
    assert_eq!(redis.run("BEAR.INVALIDATE exam ROW 2"), Reply::Int(1));
    assert_eq!(redis.run("BEAR.INVALIDATE exam QUERY 999"), Reply::Int(1), "the null was cached too");
}

#[test]
fn json_is_compact_and_text_in_it_survives() {
    let (database, redis) = exam();
    let odd = r#"{"a b": " x , \"y\" : z ", "n": [1, 2.50, {"deep": [true, null]}], "🐻": "\t\n\\"}"#;
    database.client().execute("UPDATE exam SET settings = ($1::text)::jsonb WHERE id = 1", &[&odd]).unwrap();
    let text = redis.run("BEAR.QUERY exam 1").text();
    let found: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(found["settings"], serde_json::from_str::<Value>(odd).unwrap());
    assert!(text.contains(r#""n":[1,2.50,{"deep":[true,null]}]"#), "{text}");
    // json_agg puts line feeds between its rows.
    let text = redis.run("BEAR.QUERY result 5").text();
    let answers = r#"[{"result_id":5,"question_id":1,"value":"2"},{"result_id":5,"question_id":2,"value":"3"}]"#;
    assert_eq!(text, format!(r#"{{"id":5,"score":3,"answers":{answers}}}"#));
}

#[test]
fn optional_groups_and_defaults() {
    let (database, redis) = exam();
    let mut wire = redis.wire();
    let all = query(&mut wire, "exam open");
    assert_eq!((all.as_array().unwrap().len(), &all[0]["total"]), (20, &json!(24)));
    for spelling in ["open page 1", "open page 01", "open"] {
        assert_eq!(query(&mut wire, &format!("exam {spelling}")), all);
    }
    assert_eq!(fetches(&database, "OVER () AS total"), 1, "they are one entry");
    let second = query(&mut wire, "exam open page 2");
    assert_eq!(second.as_array().unwrap().len(), 4);
    let math = query(&mut wire, "exam open subject math");
    let ids: Vec<i64> = math.as_array().unwrap().iter().map(|exam| exam["id"].as_i64().unwrap()).collect();
    assert!(!ids.is_empty() && ids.iter().all(|id| id % 3 == 0 && id % 5 != 0), "{ids:?}");
    let fetched = fetches(&database, "OVER () AS total");
    for spelling in ["open subject math page 1", "open page 1 subject math", "open subject math"] {
        assert_eq!(query(&mut wire, &format!("exam {spelling}")), math);
    }
    assert_eq!(fetches(&database, "OVER () AS total"), fetched);
    for (wrong, reason) in [
        ("open page x", "page must be an integer, got 'x'"),
        ("open page", "no query of 'exam' matches 'open page'"),
        ("open page 1 page 2", "no query of 'exam' matches"),
    ] {
        let reply = wire.run(&format!("BEAR.QUERY exam {wrong}"));
        assert!(reply.error().contains(reason), "{reply:?}");
    }
}

#[test]
fn a_query_without_rows_is_dropped_by_any_row_of_its_section() {
    let (database, redis) = exam();
    for call in ["exam open", "exam open subject math", "exam 7", "question 7"] {
        cache(&redis, call);
    }
    database.run("UPDATE exam SET status = 'CLOSED' WHERE id = 1");
    // Exam 1 is not even listed on the page of mathematics.
    assert_eq!(redis.run("BEAR.INVALIDATE exam ROW 1"), Reply::Int(2));
    assert!(!is_cached(&redis, "exam open") && !is_cached(&redis, "exam open subject math"));
    assert!(is_cached(&redis, "exam 7") && is_cached(&redis, "question 7"));
    assert_eq!(redis.run("BEAR.QUERY exam open").json()[0]["total"], 23);
    redis.wait_stored();
    assert_eq!(redis.run("BEAR.INVALIDATE question ROW 1"), Reply::Int(0), "another section's rows do not");
    assert!(is_cached(&redis, "exam open"));
}

#[test]
fn a_query_lives_as_long_as_it_says_itself() {
    let (_database, redis) = exam();
    for (call, ttl_ms) in [("exam open", 30_000), ("exam 1", 7_200_000)] {
        cache(&redis, call);
        let key = call.replace(' ', ":");
        let key = if call == "exam open" { redis.run("BEAR.EXPLAIN exam open").map()["key"].text() } else { key };
        let left_ms = redis.run(&format!("PTTL {key}")).int();
        assert!((ttl_ms - 20_000..=ttl_ms).contains(&left_ms), "{key}: {left_ms}");
    }
}

#[test]
fn rows_of_other_sections_are_listed_and_left_out_of_the_json() {
    let (database, redis) = exam();
    let rows = redis.run("BEAR.QUERY exam 2 questions");
    let first = r#"[{"id":6,"body":"What is 2 + 1?","options":["2","3","4"],"points":1},{"id":7,"#;
    assert!(rows.text().starts_with(first), "{rows:?}");
    assert_eq!(rows.json().as_array().unwrap().len(), 5);
    redis.wait_stored();
    for set in (6..=10).map(|id| format!("question:meta:{id}:caches")).chain(["exam:meta:2:caches".into()]) {
        assert_eq!(redis.run(&format!("SMEMBERS {set}")).sorted_texts(), ["exam:2:questions"], "{set}");
    }

    for line in ["BEAR.INVALIDATE question ROW 8", "BEAR.INVALIDATE exam ROW 2"] {
        cache(&redis, "exam 2 questions");
        cache(&redis, "exam 3 questions");
        database.run("UPDATE question SET points = points + 1 WHERE id = 8");
        let points = database.client().query_one("SELECT points FROM question WHERE id = 8", &[]).unwrap();
        assert_eq!(redis.run(line), Reply::Int(1), "{line}");
        assert!(!is_cached(&redis, "exam 2 questions") && is_cached(&redis, "exam 3 questions"), "{line}");
        let now = redis.run("BEAR.QUERY exam 2 questions").json();
        assert_eq!(now[2]["points"], json!(points.get::<_, i32>(0)));
    }
    // The question 5 is of exam 1: it concerns nothing that is cached.
    redis.wait_stored();
    assert_eq!(redis.run("BEAR.INVALIDATE question ROW 5"), Reply::Int(0));
}

#[test]
fn uuids_are_one_entry_however_they_are_written() {
    let (database, redis) = exam();
    let mut wire = redis.wire();
    database.run("INSERT INTO users VALUES ('0a1b2c3d-4e5f-4a6b-8c7d-8e9fa0b1c2d3', 'Ann', 'ann@example.org')");
    let expected = json!({ "id": "0a1b2c3d-4e5f-4a6b-8c7d-8e9fa0b1c2d3", "name": "Ann", "email": "ann@example.org" });
    for spelling in ["0a1b2c3d-4e5f-4a6b-8c7d-8e9fa0b1c2d3", "0A1B2C3D-4E5F-4A6B-8C7D-8E9FA0B1C2D3"] {
        assert_eq!(query(&mut wire, &format!("user {spelling} profile")), expected);
    }
    assert_eq!(fetches(&database, "FROM users"), 1);
    let odd = query(&mut wire, &format!("user {} profile", user(5)));
    assert_eq!(odd["name"], "Zoë \"Z\" 🎓");
    redis.wait_stored();
    let reply = redis.run("BEAR.INVALIDATE user ROW 0A1B2C3D-4E5F-4A6B-8C7D-8E9FA0B1C2D3");
    assert_eq!(reply, Reply::Int(1), "the row's id as well");
    let reply = wire.run("BEAR.QUERY user 12345 profile");
    assert!(reply.error().contains("id must be ") && reply.error().contains("12345"), "{reply:?}");
    let reply = wire.run("BEAR.INVALIDATE user ROW 7");
    assert!(reply.error().contains("id must be "), "{reply:?}");
}

#[test]
fn an_entry_of_one_section_does_not_hear_of_anothers_rows() {
    let (_database, redis) = exam();
    cache(&redis, "result 5");
    cache(&redis, "exam 5");
    cache(&redis, "question 5");
    assert_eq!(redis.run("BEAR.INVALIDATE question ROW 5"), Reply::Int(1));
    assert!(is_cached(&redis, "result 5") && is_cached(&redis, "exam 5"));
}

#[test]
fn a_space_is_a_tenant_of_a_section() {
    let (_database, redis) = salon();
    let mut wire = redis.wire();
    let own = query(&mut wire, &format!("{{{SALON}}}:booking {}", booking(5)));
    assert_eq!(own["id"], json!(booking(5)));
    assert_eq!(own["customer_id"], json!(customer(6)));
    assert_eq!((&own["status"], &own["price"]), (&json!("NEW"), &json!(27.5)));
    assert_eq!(own["notes"], json!({ "wish": "a seat by the window 🪟" }));
    // Another tenant's booking is nobody's.
    let reply = wire.run(&format!("BEAR.QUERY {{{OTHER}}}:booking {}", booking(5)));
    assert_eq!(reply.text(), "null");
    redis.wait_stored();
    let entry = format!("{{{SALON}}}:booking:{}", booking(5));
    assert!(redis.keys().contains(&entry), "{:?}", redis.keys());
    assert_eq!(
        redis.run(&format!("COMMAND GETKEYS BEAR.QUERY {{{SALON}}}:booking x")).sorted_texts(),
        [format!("{{{SALON}}}:booking")]
    );
}

#[test]
fn wrong_tenants_are_refused() {
    let (database, redis) = salon();
    let mut wire = redis.wire();
    for (space, reason) in [
        ("booking".to_owned(), "'booking' is kept per tenant: the space must be written as '{…}:booking'"),
        ("{x}:booking".to_owned(), "the tenant of 'booking' must be"),
        ("{}:booking".to_owned(), "the tenant of 'booking' must"),
        (format!("{{{SALON}}}:bookings"), "no section is called 'bookings'"),
        (format!("{{{SALON}}}booking"), "no section is called"),
        (format!("{SALON}:booking"), "no section is called"),
        (format!("{{{}}}:booking", SALON.to_uppercase()), "the tenant must be written as '{5a100000-"),
        (format!("{{{SALON}' OR true --}}:booking"), "the tenant of 'booking' must be"),
    ] {
        for command in ["BEAR.QUERY", "BEAR.EXPLAIN"] {
            let reply = wire.call(&[command, &space, &booking(5)]);
            assert!(reply.error().starts_with("ERR ") && reply.error().contains(reason), "{space}: {reply:?}");
        }
        let reply = wire.call(&["BEAR.INVALIDATE", &space, "ALL"]);
        assert!(reply.error().contains(reason), "{space}: {reply:?}");
    }
    assert_eq!(fetches(&database, "FROM booking"), 0);
    assert!(redis.keys().is_empty());
}

#[test]
fn one_tenants_invalidation_leaves_the_others_alone() {
    let (_database, redis) = salon();
    let (own, other) = (format!("{{{SALON}}}:booking"), format!("{{{OTHER}}}:booking"));
    let day = "between 2000-01-01T00:00Z 2100-01-01T00:00Z";
    let status = "status PAID";
    for target in
        ["ALL".to_owned(), "PATTERN *".into(), "TAG status:NEW".into(), format!("ROW {} {}", booking(5), booking(35))]
    {
        cache(&redis, &format!("{own} {}", booking(5)));
        cache(&redis, &format!("{own} {day}"));
        cache(&redis, &format!("{other} {}", booking(35)));
        cache(&redis, &format!("{other} {day}"));
        cache(&redis, &format!("{{{SALON}}}:invoice {status}"));
        let expected = if target.starts_with("TAG") { 1 } else { 2 };
        assert_eq!(redis.run(&format!("BEAR.INVALIDATE {own} {target}")), Reply::Int(expected), "{target}");
        assert!(!is_cached(&redis, &format!("{own} {}", booking(5))), "{target}");
        assert!(is_cached(&redis, &format!("{other} {}", booking(35))), "{target}");
        assert!(is_cached(&redis, &format!("{other} {day}")), "{target}");
        assert!(is_cached(&redis, &format!("{{{SALON}}}:invoice {status}")), "{target}");
    }
}

#[test]
fn tags_take_their_values_from_the_result() {
    let (database, redis) = salon();
    let space = format!("{{{SALON}}}:booking");
    cache(&redis, &format!("{space} {}", booking(5)));
    cache(&redis, &format!("{space} {}", booking(12)));
    let sets: Vec<String> = redis.keys().into_iter().filter(|key| key.contains(":tag:")).collect();
    // The colons of a tag stay as they are: it is the end of its key.
    assert_eq!(
        sets,
        [
            format!("{space}:tag:customer:{}", customer(6)),
            format!("{space}:tag:status:DONE"),
            format!("{space}:tag:status:NEW")
        ]
    );
    assert_eq!(redis.run(&format!("BEAR.INVALIDATE {space} TAG status:DONE")), Reply::Int(1));
    assert!(is_cached(&redis, &format!("{space} {}", booking(5))));
    database.run(&format!("UPDATE booking SET status = 'DONE' WHERE id = '{}'", booking(5)));
    assert_eq!(redis.run(&format!("BEAR.INVALIDATE {space} TAG customer:{}", customer(6))), Reply::Int(1));
    cache(&redis, &format!("{space} {}", booking(5)));
    assert_eq!(redis.run(&format!("BEAR.INVALIDATE {space} TAG status:NEW")), Reply::Int(0), "it is done now");
    assert_eq!(redis.run(&format!("BEAR.INVALIDATE {space} TAG status:DONE")), Reply::Int(1));
}

#[test]
fn an_instant_is_one_entry_however_it_is_written() {
    let (database, redis) = salon();
    let mut wire = redis.wire();
    let space = format!("{{{SALON}}}:booking");
    let noon = ["2026-11-21T12:00:00Z", "2026-11-21T13:00:00+01:00", "2026-11-21 12:00:00+00", "2026-11-21T12:00Z"];
    for spelling in noon {
        let reply = wire.call(&["BEAR.QUERY", &space, "between", spelling, "2027-01-01T00:00:00Z"]);
        assert!(!reply.is_error(), "{spelling}: {reply:?}");
    }
    assert_eq!(fetches(&database, "FROM booking"), 1);
    redis.wait_stored();
    let key = format!("{space}:between:2026-11-21T12%3A00%3A00Z:2027-01-01T00%3A00%3A00Z");
    assert!(redis.keys().contains(&key), "{:?}", redis.keys());
    let reply = wire.call(&["BEAR.QUERY", &space, "between", "noon", "2027-01-01T00:00:00Z"]);
    assert!(reply.error().contains("from must be ") && reply.error().contains("'noon'"), "{reply:?}");
}

#[test]
fn what_lies_between_two_instants() {
    let (database, redis) = salon();
    let mut wire = redis.wire();
    let client = &mut database.client();
    let day: String = client.query_one("SELECT to_char(now(), 'YYYY-MM-DD')", &[]).unwrap().get(0);
    let space = format!("{{{SALON}}}:booking");
    let line = format!("{space} between {day}T00:00:00Z {day}T23:59:59Z");
    let today = query(&mut wire, &line);
    assert_eq!(today.as_array().unwrap().len(), 10);
    let done = query(&mut wire, &format!("{line} status DONE,NEW,DONE"));
    assert!(done.as_array().unwrap().iter().all(|row| row["status"] == "DONE" || row["status"] == "NEW"), "{done}");
    let expected: i64 = client
        .query_one("SELECT count(*) FROM booking WHERE salon_id = $1::text::uuid AND starts_at::date = current_date AND status IN ('DONE', 'NEW')", &[&SALON])
        .unwrap()
        .get(0);
    assert_eq!(done.as_array().unwrap().len() as i64, expected);
    assert_eq!(query(&mut wire, &format!("{line} status NEW,DONE")), done);
    assert_eq!(fetches(&database, "starts_at, price FROM booking"), 2);
}

#[test]
fn a_dashboard_depends_on_other_sections_and_ends_at_midnight() {
    let (database, redis) = salon();
    let (own, other) = (format!("{{{SALON}}}:dashboard today"), format!("{{{OTHER}}}:dashboard today"));
    cache(&redis, &own);
    cache(&redis, &other);
    let board = redis.run(&format!("BEAR.QUERY {own}")).json();
    assert_eq!((&board["bookings"], &board["unread"]), (&json!(10), &json!(7)));
    assert_eq!(board["revenue"], json!(87.0), "3, 6 and 9 are done: 24.5 + 29 + 33.5");
    assert!(board.get("_until").is_none(), "{board}");
    let left_ms = redis.run(&format!("PTTL {{{SALON}}}:dashboard:today")).int();
    let midnight_ms: f64 = database
        .client()
        .query_one("SELECT 1000 * extract(epoch FROM date_trunc('day', now()) + interval '1 day' - now())::float8", &[])
        .unwrap()
        .get(0);
    assert!(left_ms > 0 && left_ms <= 300_000 && left_ms as f64 <= midnight_ms + 20_000.0, "{left_ms} {midnight_ms}");

    for line in [
        format!("BEAR.INVALIDATE {{{SALON}}}:booking ROW {}", booking(1)),
        format!("BEAR.INVALIDATE {{{SALON}}}:booking ROW {}", booking(999)),
        format!("BEAR.INVALIDATE {{{SALON}}}:message ROW 12345"),
    ] {
        cache(&redis, &own);
        assert_eq!(redis.run(&line), Reply::Int(1), "{line}");
        assert!(!is_cached(&redis, &own) && is_cached(&redis, &other), "{line}");
    }
    cache(&redis, &own);
    assert_eq!(redis.run(&format!("BEAR.INVALIDATE {{{SALON}}}:invoice ROW {}", invoice(1))), Reply::Int(0));
    assert!(is_cached(&redis, &own));
    let reply = redis.run(&format!("BEAR.INVALIDATE {{{SALON}}}:dashboard ROW 1"));
    assert!(reply.error().contains("section 'dashboard' has no rows"), "{reply:?}");
    assert_eq!(redis.run(&format!("BEAR.INVALIDATE {{{SALON}}}:dashboard ALL")), Reply::Int(1));
}

#[test]
fn until_caps_the_life_of_an_entry() {
    let (database, _redis) = salon();
    let query = |call: &str, until: &str| {
        format!("[[clock.query]]\ncall = \"{call}\"\nrows = false\nsingle = true\nsql = \"SELECT 1 AS one, {until} AS _until\"\n")
    };
    let catalog = "[clock]\nttl = \"5m\"\n".to_owned()
        + &query("soon", "now() + interval '20 seconds'")
        + &query("late", "now() + interval '1 hour'")
        + &query("never", "NULL::timestamptz")
        + &query("infinite", "'infinity'::timestamptz")
        + &query("over", "now() - interval '1 second'")
        + "[[clock.query]]\ncall = \"two\"\nrows = false\nsql = \"SELECT x AS one, now() + x * interval '1 minute' AS _until FROM generate_series(1, 3) x\"\n";
    let redis = Redis::builder().postgres(&database).catalog(catalog).start();
    let mut wire = redis.wire();
    for (call, range) in [
        ("soon", 1..=20_000),
        ("late", 280_000..=300_000),
        ("never", 280_000..=300_000),
        ("infinite", 280_000..=300_000),
        ("two", 40_000..=60_000),
    ] {
        assert!(!wire.run(&format!("BEAR.QUERY clock {call}")).is_error());
        redis.wait_stored();
        let left_ms = wire.run(&format!("PTTL clock:{call}")).int();
        assert!(range.contains(&left_ms), "{call}: {left_ms}");
    }
    assert_eq!(wire.run("BEAR.QUERY clock over").text(), r#"{"one":1}"#);
    redis.wait_stored();
    assert_eq!(wire.run("EXISTS clock:over"), Reply::Int(0), "it is over already");
}

#[test]
fn numbers_of_any_precision_and_enums() {
    let (database, redis) = salon();
    let mut wire = redis.wire();
    let space = format!("{{{SALON}}}:invoice");
    // PAID are those with i % 4 == 2.
    let ids = |reply: Value| -> Vec<Value> { reply.as_array().unwrap().iter().map(|row| row["id"].clone()).collect() };
    assert_eq!(ids(query(&mut wire, &format!("{space} status PAID"))), [2, 6, 10].map(|i| json!(invoice(i))));
    for spelling in ["600.25", "0600.250", "+600.25", "6.0025e2"] {
        let reply = wire.run(&format!("BEAR.QUERY {space} status PAID min {spelling}"));
        if !reply.is_error() {
            assert_eq!(ids(reply.json()), [6, 10].map(|i| json!(invoice(i))), "{spelling}");
        } else {
            assert!(reply.error().contains("min must be "), "{reply:?}");
            assert_eq!(spelling, "6.0025e2", "only this one may be refused");
        }
    }
    assert_eq!(fetches(&database, "customer_id, amount FROM invoice"), 2);
    assert_eq!(ids(query(&mut wire, &format!("{space} status PAID min 600.26"))), [json!(invoice(10))]);
    let exact = "123456789012345678901234567890.123456789";
    assert!(query(&mut wire, &format!("{space} status PAID min {exact}")).as_array().unwrap().is_empty());
    redis.wait_stored();
    assert!(redis.keys().contains(&format!("{space}:status:PAID:min:{exact}")), "{:?}", redis.keys());
    let rows = query(&mut wire, &format!("{space} status PAID customer {}", customer(3)));
    assert_eq!(ids(rows), [json!(invoice(2))]);
    // An unknown label of an enum is Postgres' own error.
    let reply = wire.run(&format!("BEAR.QUERY {space} status PAYED"));
    assert!(reply.error().starts_with("QUERY ") && reply.error().contains("PAYED"), "{reply:?}");
    assert_eq!(wire.run(&format!("BEAR.QUERY {space} revenue 2025-02-01 2025-08-01")).text(), r#"{"total":800.50}"#);
}

#[test]
fn the_append_only_file_loads_into_a_redis_without_the_module() {
    let (_database, mut redis) = salon();
    let space = format!("{{{SALON}}}:booking");
    cache(&redis, &format!("{space} {}", booking(5)));
    cache(&redis, &format!("{{{SALON}}}:dashboard today"));
    redis.run(&format!("BEAR.INVALIDATE {{{SALON}}}:message ROW 1"));
    let keys = redis.keys();
    redis.shutdown();
    let plain = Redis::builder().plain().append_only().data_of(&redis).start();
    assert_eq!(plain.keys(), keys);
    assert!(plain.run(&format!("GET {space}:{}", booking(5))).text().contains("27.5"));
}
