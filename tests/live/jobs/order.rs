//! Order: jobs that share an order value are applied as they were enqueued, whatever is batched, delayed or retried;
//! and a barrier stands between what was before and what comes after.

use std::collections::BTreeMap;

use crate::support::bears;
use crate::support::jobs::{self, enqueue, set_drain, wait_settled, wait_state, EFFECTS_SQL};
use crate::support::wire::packed;
use crate::support::{Database, Postgres, Redis, Reply, Wire};

type Row = (String, i64);

/// What happened to each bear, oldest first.
fn effects(database: &Database) -> BTreeMap<i64, Vec<Row>> {
    let mut found: BTreeMap<i64, Vec<Row>> = BTreeMap::new();
    for row in database.client().query("SELECT bear_id, name, size FROM effect ORDER BY seq", &[]).unwrap() {
        found.entry(row.get(0)).or_default().push((row.get(1), row.get(2)));
    }
    found
}

#[test]
fn jobs_of_a_row_keep_their_order_over_job_types_and_producers() {
    const PRODUCERS: usize = 4;
    const JOBS: usize = 500;
    let database = bears::database_with(EFFECTS_SQL);
    let redis = Redis::with(&database);
    let mut wires: Vec<Wire> = (0..PRODUCERS).map(|_| redis.wire()).collect();
    let job = |producer: usize, n: usize| {
        let id = 1 + (n * 7 + producer * 3) % 8;
        let value = producer * JOBS + n + 1;
        match (n + producer) % 3 {
            0 => ("UPDATE_BEAR_NAME", format!(r#"{{"id":{id},"name":"n{value}"}}"#)),
            1 => ("UPDATE_BEAR_SIZE", format!(r#"{{"id":{id},"size":{value}}}"#)),
            _ => ("UPDATE_BEAR", format!(r#"{{"id":{id},"name":"b{value}","size":{value}}}"#)),
        }
    };
    for (producer, wire) in wires.iter_mut().enumerate() {
        for n in 0..JOBS {
            let (name, json) = job(producer, n);
            wire.send_bytes(&packed(&["BEAR.ENQUEUE", "bear", name, &json]));
        }
    }
    let mut sent: BTreeMap<(u64, u64), serde_json::Value> = BTreeMap::new();
    for (producer, wire) in wires.iter_mut().enumerate() {
        for n in 0..JOBS {
            let id = jobs::parse_id(&jobs::id_of(&wire.receive()));
            sent.insert(id, serde_json::from_str(&job(producer, n).1).unwrap());
        }
    }
    assert_eq!(sent.len(), PRODUCERS * JOBS);

    let mut bears: BTreeMap<i64, Row> = BTreeMap::new();
    let seed = bears::database();
    for row in seed.client().query("SELECT id, name, size FROM bear", &[]).unwrap() {
        bears.insert(row.get(0), (row.get(1), row.get(2)));
    }
    let mut expected: BTreeMap<i64, Vec<Row>> = BTreeMap::new();
    for data in sent.values() {
        let id = data["id"].as_i64().unwrap();
        let bear = bears.get_mut(&id).unwrap();
        if let Some(name) = data.get("name") {
            bear.0 = name.as_str().unwrap().to_owned();
        }
        if let Some(size) = data.get("size") {
            bear.1 = size.as_i64().unwrap();
        }
        expected.entry(id).or_default().push(bear.clone());
    }
    wait_settled(&mut redis.wire(), "bear");
    assert_eq!(effects(&database), expected);
}

#[test]
fn a_delayed_job_takes_its_place_when_its_time_comes() {
    let database = bears::database_with(EFFECTS_SQL);
    let redis = Redis::with(&database);
    let mut wire = redis.wire();
    let late = enqueue(&mut wire, r#"bear UPDATE_BEAR_NAME {"id":5,"name":"late"} DELAY 800"#);
    let early = enqueue(&mut wire, r#"bear UPDATE_BEAR_NAME {"id":5,"name":"early"}"#);
    wait_state(&mut wire, "bear", &early, "completed");
    let job = wait_state(&mut wire, "bear", &late, "completed");
    assert!(job["finished"].int() - job["enqueued"].int() >= 800, "{job:?}");
    let names: Vec<String> = effects(&database)[&5].iter().map(|(name, _)| name.clone()).collect();
    assert_eq!(names, ["early", "late"]);
}

#[test]
fn a_job_may_name_the_moment_when_it_is_due() {
    let database = bears::database_with(EFFECTS_SQL);
    let redis = Redis::with(&database);
    let mut wire = redis.wire();
    let time = wire.run("TIME");
    let part = |index: usize| time.list()[index].text().parse::<i64>().unwrap();
    let now_ms = part(0) * 1000 + part(1) / 1000;
    let at = now_ms + 800;
    let late = enqueue(&mut wire, &format!(r#"bear UPDATE_BEAR_NAME {{"id":5,"name":"late"}} AT {at}"#));
    let passed = enqueue(&mut wire, r#"bear UPDATE_BEAR_NAME {"id":5,"name":"passed"} AT 1700000000000"#);
    assert!(wire.run(&format!("BEAR.JOB bear {passed}")).map()["due"].is_nil(), "it waits for nothing");
    // Checked aside, and due at the same moment.
    let name = "x".repeat(100_000);
    let large = enqueue(&mut wire, &format!(r#"bear UPDATE_BEAR_NAME {{"id":6,"name":"{name}"}} AT {at}"#));
    for id in [&late, &large] {
        let job = wire.run(&format!("BEAR.JOB bear {id}")).map();
        if job["state"].text() == "delayed" {
            assert_eq!(job["due"], Reply::Int(at), "{job:?}");
        }
        assert!(wait_state(&mut wire, "bear", id, "completed")["finished"].int() >= at);
    }
    let names: Vec<String> = effects(&database)[&5].iter().map(|(name, _)| name.clone()).collect();
    assert_eq!(names, ["passed", "late"]);

    let year_ms = 365 * 86_400_000;
    enqueue(&mut wire, &format!(r#"bear DELETE_BEAR {{"id":7}} AT {}"#, now_ms + year_ms));
    let reply = wire.run(&format!(r#"BEAR.ENQUEUE bear DELETE_BEAR {{"id":7}} AT {}"#, now_ms + 2 * year_ms));
    assert!(reply.error().starts_with("ERR AT may be 365 days ahead, "), "{reply:?}");
    assert_eq!(wire.run("XLEN bear:queue"), Reply::Int(1));
}

#[test]
fn an_sql_job_has_no_priority_and_says_why() {
    let database = bears::database();
    let redis = Redis::with(&database);
    let large = format!(r#"{{"id":5,"name":"{}"}}"#, "x".repeat(100_000));
    for data in [r#"{"id":5,"name":"x"}"#, &large, "no payload"] {
        let reply = redis.wire().call(&["BEAR.ENQUEUE", "bear", "UPDATE_BEAR_NAME", data, "PRIORITY", "10"]);
        let expected =
            "ERR PRIORITY is for jobs that workers claim; 'UPDATE_BEAR_NAME' is applied to Postgres, and the \
                        order of its rows decides";
        assert_eq!(reply.error(), expected);
    }
    assert_eq!(redis.run("EXISTS bear:queue"), Reply::Int(0));
}

#[test]
fn many_delayed_jobs_land_each_at_its_time() {
    let database = bears::database_with(EFFECTS_SQL);
    let redis = Redis::with(&database);
    let mut wire = redis.wire();
    let ids: Vec<(i64, String)> = (0..100)
        .map(|n| {
            let delay_ms = (n * 37) % 1000;
            let line = format!(r#"bear UPDATE_BEAR_SIZE {{"id":{},"size":{}}} DELAY {delay_ms}"#, 1 + n % 8, n + 1);
            (delay_ms, enqueue(&mut wire, &line))
        })
        .collect();
    for (delay_ms, id) in &ids {
        let job = wait_state(&mut wire, "bear", id, "completed");
        assert!(job["finished"].int() - job["enqueued"].int() >= *delay_ms, "{job:?}");
    }
    assert_eq!(effects(&database).values().map(Vec::len).sum::<usize>(), 100);
    assert_eq!(wire.run("EXISTS bear:queue:delayed"), Reply::Int(0));
}

#[test]
fn a_retried_job_keeps_its_place_before_later_ones_of_its_row() {
    let database = bears::database_with(EFFECTS_SQL);
    let redis = Redis::with(&database);
    let mut wire = redis.wire();
    // Fails until the colour is there.
    let first = enqueue(&mut wire, r#"bear UPDATE_BEAR_COLORS {"id":5,"colors":["pink"]} ATTEMPTS 100 BACKOFF 20"#);
    let second = enqueue(&mut wire, r#"bear UPDATE_BEAR_COLORS {"id":5,"colors":["white"]}"#);
    let third = enqueue(&mut wire, r#"bear DELETE_BEAR {"id":5}"#);
    jobs::complete(&mut wire, r#"bear UPDATE_BEAR_COLORS {"id":6,"colors":["white"]}"#);
    assert_eq!(database.client().query("SELECT FROM bear WHERE id = 5", &[]).unwrap().len(), 1);
    jobs::complete(&mut wire, r##"color CREATE_COLOR {"name":"pink","hex":"#ffc0cb"}"##);
    let finished: Vec<i64> = [first, second, third]
        .iter()
        .map(|id| wait_state(&mut wire, "bear", id, "completed")["finished"].int())
        .collect();
    assert!(finished.is_sorted(), "{finished:?}");
    assert_eq!(database.client().query("SELECT FROM bear WHERE id = 5", &[]).unwrap().len(), 0);
}

/// `ADD` keeps no order, `COUNT` is a barrier, `MOVE` keeps the order of two accounts.
const CATALOG: &str = r#"
[item]
id = "int"
tables = { item = "id" }
[item.job.ADD]
data = { label = "text" }
sql = """WITH j AS MATERIALIZED (SELECT job.*, nextval('item_id_seq') AS id FROM {jobs} job), i AS (INSERT INTO item(id, label) SELECT id, label FROM j) SELECT n, id FROM j"""
[item.job.COUNT]
data = { label = "text" }
order = "*"
sql = """WITH j AS MATERIALIZED (SELECT job.*, nextval('item_id_seq') AS id, (SELECT count(*) FROM item) AS items FROM {jobs} job), i AS (INSERT INTO seen(label, items) SELECT label, items FROM j) SELECT n, id FROM j"""
[item.job.MOVE]
data = { source = "int", target = "int", label = "text" }
order = ["source", "target"]
sql = """WITH j AS MATERIALIZED (SELECT job.*, nextval('item_id_seq') AS id FROM {jobs} job), i AS (INSERT INTO move(source, target, label) SELECT source, target, label FROM j) SELECT n, id FROM j"""
"#;
const SCHEMA: &str = "
CREATE TABLE item(id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, label text NOT NULL CHECK (label <> ''));
CREATE TABLE seen(seq bigint GENERATED ALWAYS AS IDENTITY, label text, items bigint);
CREATE TABLE move(seq bigint GENERATED ALWAYS AS IDENTITY, source bigint, target bigint, label text);
";

fn items() -> (Database, Redis) {
    let database = Postgres::shared().database(SCHEMA);
    let redis = Redis::builder().postgres(&database).catalog(CATALOG).config("bear.drain", "no").start();
    (database, redis)
}

#[test]
fn a_barrier_stands_between_what_was_before_and_what_comes_after() {
    let (database, redis) = items();
    let mut wire = redis.wire();
    let mut bad = Vec::new();
    for block in 1..=4 {
        for _ in 0..50 {
            enqueue(&mut wire, r#"item ADD {"label":"x"}"#);
        }
        // One that fails, is tried again and fails for good: the barrier waits for that too.
        bad.push(enqueue(&mut wire, r#"item ADD {"label":""} ATTEMPTS 2 BACKOFF 200"#));
        enqueue(&mut wire, &format!(r#"item COUNT {{"label":"b{block}"}}"#));
    }
    set_drain(&mut wire, "yes");
    wait_settled(&mut wire, "item");
    let rows = database.client().query("SELECT label, items FROM seen ORDER BY seq", &[]).unwrap();
    let seen: Vec<(String, i64)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    assert_eq!(seen, [("b1".into(), 50), ("b2".into(), 100), ("b3".into(), 150), ("b4".into(), 200)]);
    for id in &bad {
        assert_eq!(jobs::state(&mut wire, "item", id), "failed");
    }
}

#[test]
fn jobs_that_share_any_order_value_keep_their_order() {
    let (database, redis) = items();
    let mut wire = redis.wire();
    let mut expected: BTreeMap<i64, Vec<String>> = BTreeMap::new();
    for n in 0..400_i64 {
        let (source, target) = ((n * 5) % 13, (n * 11 + 3) % 17);
        enqueue(&mut wire, &format!(r#"item MOVE {{"source":{source},"target":{target},"label":"m{n}"}}"#));
        for account in std::collections::BTreeSet::from([source, target]) {
            expected.entry(account).or_default().push(format!("m{n}"));
        }
        if n == 200 {
            set_drain(&mut wire, "yes");
        }
    }
    wait_settled(&mut wire, "item");
    let mut found: BTreeMap<i64, Vec<String>> = BTreeMap::new();
    for row in database.client().query("SELECT source, target, label FROM move ORDER BY seq", &[]).unwrap() {
        for account in std::collections::BTreeSet::from([row.get::<_, i64>(0), row.get(1)]) {
            found.entry(account).or_default().push(row.get(2));
        }
    }
    assert_eq!(found, expected);
}
