//! The jobs of the catalogs that ship: what each of them does, and what its caller gets back.

use std::collections::BTreeSet;

use serde_json::{json, Value};

use crate::support::bears;
use crate::support::jobs::{self, complete, enqueue, set_drain, settle, wait_settled};
use crate::support::{eventually, Database, Postgres, Redis, Reply, Wire};

fn start(schema: &str, catalog: &str) -> (Database, Redis) {
    let database = Postgres::shared().database(schema);
    let redis = Redis::builder().postgres(&database).catalog(catalog).append_only().start();
    eventually("the catalog is checked", || redis.run("BEAR.CATALOG").map()["checked"].text() == "yes");
    (database, redis)
}

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

const SALON: &str = "5a100000-0000-4000-8000-000000000001";
const OTHER: &str = "5a100000-0000-4000-8000-000000000002";

fn uuid(kind: &str, number: u32) -> String {
    format!("{kind}-0000-4000-8000-{number:012}")
}

/// The one value that a statement returns.
fn value<T: for<'a> postgres::types::FromSql<'a>>(database: &Database, sql: &str) -> T {
    database.client().query_one(sql, &[]).unwrap_or_else(|error| panic!("{error} in {sql}")).get(0)
}

/// A bear as `BEAR.QUERY bear all` shows it.
fn bear(wire: &mut Wire, id: i64) -> Option<Value> {
    let all = wire.run("BEAR.QUERY bear all").json();
    all.as_array().expect("bears").iter().find(|bear| bear["id"] == id).cloned()
}

#[test]
fn all_jobs_of_the_bear_catalog() {
    let database = bears::database();
    let redis = Redis::with(&database);
    let mut wire = redis.wire();
    let kodiak =
        |name: &str, size: i64, colors: &[&str]| Some(json!({"id": 9, "name": name, "size": size, "colors": colors}));
    for (line, id, expected) in [
        (
            r#"bear CREATE_BEAR {"name":"Kodiak","size":300,"colors":["brown","grey"]}"#,
            9,
            kodiak("Kodiak", 300, &["brown", "grey"]),
        ),
        (r#"bear UPDATE_BEAR_NAME {"id":9,"name":"Kodi"}"#, 9, kodiak("Kodi", 300, &["brown", "grey"])),
        (r#"bear UPDATE_BEAR_SIZE {"id":9,"size":310}"#, 9, kodiak("Kodi", 310, &["brown", "grey"])),
        (r#"bear UPDATE_BEAR {"id":9,"name":"Koda"}"#, 9, kodiak("Koda", 310, &["brown", "grey"])),
        (r#"bear UPDATE_BEAR {"id":9,"size":320,"name":null}"#, 9, kodiak("Koda", 320, &["brown", "grey"])),
        (r#"bear UPDATE_BEAR {"id":9,"size":330,"name":"K"}"#, 9, kodiak("K", 330, &["brown", "grey"])),
        (r#"bear UPDATE_BEAR_COLORS {"id":9,"colors":["white","grey"]}"#, 9, kodiak("K", 330, &["grey", "white"])),
        (r#"bear UPDATE_BEAR_COLORS {"id":9,"colors":["white","white"]}"#, 9, kodiak("K", 330, &["white"])),
        (r#"bear UPDATE_BEAR_COLORS {"id":9,"colors":[]}"#, 9, kodiak("K", 330, &[])),
        (r#"bear DELETE_BEAR {"id":9}"#, 9, None),
        (r##"color CREATE_COLOR {"name":"pink","hex":"#ffc0cb"}"##, 9, None),
        (
            r#"bear UPDATE_BEAR_COLORS {"id":5,"colors":["pink","brown"]}"#,
            5,
            Some(json!({"id": 5, "name": "Yogi", "size": 150, "colors": ["brown", "pink"]})),
        ),
        (
            r#"color DELETE_COLOR {"name":"pink"}"#,
            5,
            Some(json!({"id": 5, "name": "Yogi", "size": 150, "colors": ["brown"]})),
        ),
    ] {
        let before = wire.run("BEAR.QUERY bear all");
        assert!(!before.is_error());
        redis.wait_stored();
        complete(&mut wire, line);
        assert_eq!(bear(&mut wire, id), expected, "{line}");
    }
    assert!(!wire.run("BEAR.QUERY color all").text().contains("pink"));
}

#[test]
fn bear_jobs_that_cannot_be_done_leave_nothing_behind() {
    let database = bears::database();
    let redis = Redis::with(&database);
    let mut wire = redis.wire();
    let before = wire.run("BEAR.QUERY bear all");
    for (line, message) in [
        (r#"bear CREATE_BEAR {"name":"K","size":300,"colors":["brown","pink"]}"#, "unknown colour pink"),
        (r#"bear UPDATE_BEAR_COLORS {"id":5,"colors":["white","pink"]}"#, "unknown colour pink"),
        (r#"bear UPDATE_BEAR_NAME {"id":99,"name":"K"}"#, ""),
        (r#"bear UPDATE_BEAR_SIZE {"id":99,"size":3}"#, ""),
        (r#"bear UPDATE_BEAR {"id":99,"size":3}"#, ""),
        (r#"bear UPDATE_BEAR_COLORS {"id":99,"colors":[]}"#, ""),
        (r#"bear DELETE_BEAR {"id":99}"#, ""),
        (r#"color DELETE_COLOR {"name":"pink"}"#, ""),
    ] {
        let job = settle(&mut wire, &format!("{line} ATTEMPTS 1"));
        let (said, code) = jobs::error_of(&job);
        assert!(said.contains(message) && !said.is_empty() && code.is_none(), "{line}: {job:?}");
    }
    assert_eq!(wire.run("BEAR.QUERY bear FRESH all"), before);
}

#[test]
fn submitting_an_exam_returns_its_id_and_score() {
    let (database, redis) = exam();
    let mut wire = redis.wire();
    // The questions 1 to 5 of exam 1 are worth 1 to 5 points; the second answer is wrong.
    let line = format!(
        r#"result SUBMIT {{"user_id":"{}","exam_id":1,"answers":[{{"q":1,"v":"2"}},{{"q":2,"v":"9"}},{{"q":5,"v":"6"}}]}}"#,
        uuid("00000000", 1)
    );
    assert_eq!(wire.run("BEAR.QUERY result 21").text(), "null");
    redis.wait_stored();
    let job = complete(&mut wire, &line);
    assert_eq!(job["result"].json(), json!({"id": 21, "score": 6}));
    assert_eq!(jobs::find(&mut wire, "result", &job["id"].text()).expect("the job")["result"], job["result"]);
    let result = wire.run("BEAR.QUERY result 21").json();
    assert_eq!((&result["score"], result["answers"].as_array().unwrap().len()), (&json!(6), 3));

    // Each of many that are applied together gets its own.
    set_drain(&mut wire, "no");
    let ids: Vec<String> = (0..30).map(|_| enqueue(&mut wire, &line)).collect();
    set_drain(&mut wire, "yes");
    let results: BTreeSet<i64> = ids
        .iter()
        .map(|id| {
            let job = jobs::wait_state(&mut wire, "result", id, "completed");
            assert_eq!(job["result"].json()["score"], 6);
            job["result"].json()["id"].as_i64().unwrap()
        })
        .collect();
    assert_eq!(results.len(), 30);
    assert_eq!(value::<i64>(&database, "SELECT count(*) FROM answer WHERE result_id > 20"), 31 * 3);

    let nobody =
        format!(r#"result SUBMIT {{"user_id":"{}","exam_id":1,"answers":[]}} ATTEMPTS 1"#, uuid("00000000", 77));
    assert_eq!(jobs::error_of(&settle(&mut wire, &nobody)).1.as_deref(), Some("23503"));
}

#[test]
fn an_exam_changes_in_the_fields_that_were_sent() {
    let (_database, redis) = exam();
    let mut wire = redis.wire();
    for (data, expected) in [
        (
            r#"{"id":2,"title":"Sums"}"#,
            r#"{"id":2,"title":"Sums","status":"OPEN","settings":{"minutes":32,"shuffle":true}}"#,
        ),
        (
            r#"{"id":2,"status":"CLOSED"}"#,
            r#"{"id":2,"title":"Sums","status":"CLOSED","settings":{"minutes":32,"shuffle":true}}"#,
        ),
        (
            r#"{"id":2,"settings":{"a":[1,2.50]}}"#,
            r#"{"id":2,"title":"Sums","status":"CLOSED","settings":{"a":[1,2.50]}}"#,
        ),
        (r#"{"id":2,"settings":null}"#, r#"{"id":2,"title":"Sums","status":"CLOSED","settings":null}"#),
    ] {
        wire.run("BEAR.QUERY exam 2");
        redis.wait_stored();
        complete(&mut wire, &format!("exam UPDATE_EXAM {data}"));
        assert_eq!(wire.run("BEAR.QUERY exam 2").text(), expected, "{data}");
    }
    let job = settle(&mut wire, r#"exam UPDATE_EXAM {"id":2,"status":"LOST"} ATTEMPTS 1"#);
    assert_eq!(jobs::error_of(&job).1.as_deref(), Some("22P02"));
}

#[test]
fn bookings_belong_to_their_tenant() {
    let (database, redis) = salon();
    let mut wire = redis.wire();
    let (own, other) = (format!("{{{SALON}}}:booking"), format!("{{{OTHER}}}:booking"));
    let id = uuid("b0000000", 900);
    let create = format!(
        r#"CREATE_BOOKING {{"id":"{id}","customer_id":"{}","starts_at":"2026-11-21T12:00:00Z","price":27.50,"notes":{{"wish":"tea"}}}}"#,
        uuid("c0500000", 1)
    );
    for space in [&own, &other] {
        assert_eq!(wire.run(&format!("BEAR.QUERY {space} {id}")).text(), "null");
    }
    redis.wait_stored();
    complete(&mut wire, &format!("{own} {create}"));
    let booking = wire.run(&format!("BEAR.QUERY {own} {id}")).json();
    assert_eq!((&booking["status"], &booking["notes"]), (&json!("NEW"), &json!({"wish": "tea"})));
    assert_eq!(value::<String>(&database, &format!("SELECT price::text FROM booking WHERE id = '{id}'")), "27.50");

    let status = format!(r#"SET_STATUS {{"id":"{id}","status":"DONE"}}"#);
    let foreign = settle(&mut wire, &format!("{other} {status} ATTEMPTS 1"));
    assert_eq!(foreign["state"].text(), "failed", "another tenant's row is not there");
    complete(&mut wire, &format!("{own} {status}"));
    assert_eq!(wire.run(&format!("BEAR.QUERY {own} {id}")).json()["status"], "DONE");
    assert_eq!(wire.run(&format!("BEAR.QUERY {other} {id}")).text(), "null");
    // Each tenant has a queue of its own.
    let keys = redis.keys();
    for space in [&own, &other] {
        assert!(keys.contains(&format!("{space}:queue:id")), "{keys:?}");
    }
    for space in ["booking".to_owned(), "{x}:booking".into(), format!("{{{SALON}' --}}:booking")] {
        let reply = wire.call(&["BEAR.ENQUEUE", &space, "SET_STATUS", &format!(r#"{{"id":"{id}","status":"NEW"}}"#)]);
        assert!(reply.error().starts_with("ERR "), "{space}: {reply:?}");
    }
}

#[test]
fn invoices_are_numbered_without_a_gap() {
    let (database, redis) = salon();
    let mut wire = redis.wire();
    let issue = |salon: &str, number: u32| {
        let (id, customer) = (uuid("1a000000", number), uuid("c0500000", 1));
        format!(r#"{{{salon}}}:invoice ISSUE {{"id":"{id}","customer_id":"{customer}","amount":10.25}}"#)
    };
    // Twelve invoices each are there.
    assert_eq!(complete(&mut wire, &issue(SALON, 500))["result"].json(), json!({"number": 13}));
    assert_eq!(complete(&mut wire, &issue(OTHER, 501))["result"].json(), json!({"number": 13}));
    set_drain(&mut wire, "no");
    let ids: Vec<(String, String)> = (0..200)
        .map(|n| {
            let salon = [SALON, OTHER][n as usize % 2];
            (format!("{{{salon}}}:invoice"), enqueue(&mut wire, &issue(salon, 600 + n)))
        })
        .collect();
    set_drain(&mut wire, "yes");
    for salon in [SALON, OTHER] {
        let space = format!("{{{salon}}}:invoice");
        wait_settled(&mut wire, &space);
        let numbers: BTreeSet<i64> = ids
            .iter()
            .filter(|(of, _)| *of == space)
            .map(|(_, id)| {
                jobs::find(&mut wire, &space, id).expect("a job")["result"].json()["number"].as_i64().unwrap()
            })
            .collect();
        assert_eq!(numbers, (14..114).collect(), "{salon}");
        let sql = format!("SELECT last FROM counter WHERE tenant_id = '{salon}'");
        assert_eq!(value::<i64>(&database, &sql), 113);
    }
    let nowhere = format!("{} ATTEMPTS 1", issue(&uuid("5a100000", 99), 999));
    assert_eq!(settle(&mut wire, &nowhere)["state"].text(), "failed", "a tenant without a counter");
}

#[test]
fn statements_for_one_job_at_a_time_are_all_or_nothing() {
    let database = bears::database();
    let catalog = r#"
[bear]
id = "int"
tables = { bear = "id", bear_colors = "bear_id" }
[[bear.query]]
call = "all"
sql = "SELECT b.id, b.size, ARRAY(SELECT x.color_id FROM bear_colors x WHERE x.bear_id = b.id ORDER BY 1) AS colors FROM bear b ORDER BY b.id"
[bear.job.RESET]
data = { id = "int", color = "int", size = "int" }
each = ["DELETE FROM bear_colors WHERE bear_id = {id}", "INSERT INTO bear_colors(bear_id, color_id) VALUES ({id}, {color})", "UPDATE bear SET size = {size} WHERE id = {id} RETURNING id"]
"#;
    let redis = Redis::builder().postgres(&database).catalog(catalog).start();
    let mut wire = redis.wire();
    wire.run("BEAR.QUERY bear all");
    redis.wait_stored();
    complete(&mut wire, r#"bear RESET {"id":7,"color":4,"size":9}"#);
    let seven = wire.run("BEAR.QUERY bear all").json()[6].clone();
    assert_eq!(seven, json!({"id": 7, "size": 9, "colors": [4]}));
    let job = settle(&mut wire, r#"bear RESET {"id":7,"color":1,"size":-9} ATTEMPTS 1"#);
    assert_eq!(jobs::error_of(&job).1.as_deref(), Some("23514"));
    assert_eq!(wire.run("BEAR.QUERY bear FRESH all").json()[6], seven, "nothing of the failed job is left");
    assert_eq!(wire.run("XLEN bear:queue"), Reply::Int(0));
}
