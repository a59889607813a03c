//! The appliers: jobs land once, their outcome is published as one unit, one bad job or locked row delays its own row
//! alone, and a job type that Postgres refuses waits by itself.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::support::bears;
use crate::support::jobs::{self, complete, enqueue, set_drain, stat, state, wait_settled, wait_state, EFFECTS_SQL};
use crate::support::{burst, eventually, Database, Redis, Reply, Unit};

/// Bears 1001 to 3000.
const MANY_BEARS: &str = "INSERT INTO bear (id, name, size) SELECT i, 'x', 1 FROM generate_series(1001, 3000) i;";

fn resize(id: u32, size: i32) -> String {
    format!(r#"bear UPDATE_BEAR_SIZE {{"id":{id},"size":{size}}}"#)
}

fn count(database: &Database, condition: &str) -> i64 {
    let sql = format!("SELECT count(*) FROM bear WHERE {condition}");
    database.client().query_one(&sql, &[]).expect("a count").get(0)
}

#[test]
fn thousands_of_jobs_land_once_in_few_transactions() {
    let database = bears::database_with(&[MANY_BEARS, EFFECTS_SQL].concat());
    let redis = Redis::builder().postgres(&database).config("bear.drain", "no").start();
    let mut wire = redis.wire();
    let lines: Vec<String> = (0..4000)
        .map(|n| match n % 2 {
            0 => format!("BEAR.ENQUEUE {}", resize(1001 + n / 2, 7)),
            _ => format!(r#"BEAR.ENQUEUE bear UPDATE_BEAR_NAME {{"id":{},"name":"n{n}"}}"#, 1001 + n / 2),
        })
        .collect();
    assert!(burst(&redis, &lines).iter().all(|reply| !reply.is_error()));
    set_drain(&mut wire, "yes");
    wait_settled(&mut wire, "bear");
    assert_eq!(stat(&mut wire, "bear", "completed"), 4000);
    assert_eq!(count(&database, "id > 1000 AND size = 7 AND name <> 'x'"), 2000);
    let effects: i64 = database.client().query_one("SELECT count(*) FROM effect", &[]).unwrap().get(0);
    assert_eq!(effects, 4000, "each job once");
    let updates = database.executions("UPDATE bear SET");
    assert!(updates < 200, "{updates} statements for 4000 jobs");
    assert_eq!(wire.run("XLEN bear:queue"), Reply::Int(0));
}

/// The unit in which the job's outcome was recorded.
fn outcome(units: Vec<Unit>, stream: &str) -> Unit {
    let found =
        units.into_iter().find(|unit| unit.iter().any(|command| command.name() == "XADD" && command.text(1) == stream));
    found.unwrap_or_else(|| panic!("an XADD to {stream}"))
}

#[test]
fn an_outcome_is_one_unit_in_the_aof_and_for_replicas() {
    for (line, stream) in
        [(resize(5, 151), "bear:queue:completed"), (format!("{} ATTEMPTS 1", resize(5, -1)), "bear:queue:failed")]
    {
        let database = bears::database();
        let redis = Redis::builder().postgres(&database).append_only().start();
        let mut wire = redis.wire();
        wire.run("BEAR.QUERY bear size 100 200");
        redis.wait_stored();
        let mut replica = redis.replication_stream();
        let id = jobs::settle(&mut wire, &line)["id"].text();
        for units in [replica.units(), redis.aof()] {
            let unit = outcome(units, stream);
            let leaves = unit
                .iter()
                .any(|command| ["XTRIM", "XDEL"].contains(&command.name().as_str()) && command.text(1) == "bear:queue");
            assert!(leaves, "job {id} leaves the queue: {unit:?}");
            let dropped = unit.iter().any(|command| {
                ["UNLINK", "DEL"].contains(&command.name().as_str())
                    && command.args().iter().any(|key| key == b"bear:size:100:200")
            });
            assert_eq!(dropped, stream.ends_with("completed"), "{unit:?}");
            assert!(!unit.iter().any(|command| command.name().starts_with("BEAR.")), "{unit:?}");
        }
    }
}

#[test]
fn one_bad_job_among_a_thousand_delays_only_its_own_row() {
    let database = bears::database_with(MANY_BEARS);
    let redis = Redis::builder().postgres(&database).config("bear.drain", "no").start();
    let mut wire = redis.wire();
    let mut lines: Vec<String> = (1..1000).map(|n| format!("BEAR.ENQUEUE {}", resize(1001 + n, 7))).collect();
    lines.insert(500, format!("BEAR.ENQUEUE {} BACKOFF 5000", resize(1001, -7)));
    let replies = burst(&redis, &lines);
    let bad = jobs::id_of(&replies[500]);
    let behind = enqueue(&mut wire, &resize(1001, 8));
    let last = enqueue(&mut wire, &resize(3000, 9));
    set_drain(&mut wire, "yes");
    eventually("the others have landed", || count(&database, "size = 7") == 999 && count(&database, "size = 9") == 1);
    wait_state(&mut wire, "bear", &last, "completed");
    let job = wait_state(&mut wire, "bear", &bad, "delayed");
    assert_eq!(job["attempts"], Reply::Int(1));
    assert!(["waiting", "delayed"].contains(&state(&mut wire, "bear", &behind).as_str()), "it waits for its row");
    assert_eq!(count(&database, "id = 1001 AND size = 1"), 1);

    let job = wait_state(&mut wire, "bear", &bad, "failed");
    assert_eq!(job["attempts"], Reply::Int(2));
    assert!(job["finished"].int() - job["enqueued"].int() >= 5000, "{job:?}");
    wait_state(&mut wire, "bear", &behind, "completed");
    assert_eq!(count(&database, "id = 1001 AND size = 8"), 1);
    assert_eq!((stat(&mut wire, "bear", "completed"), stat(&mut wire, "bear", "failed")), (1001, 1));
}

#[test]
fn many_bad_jobs_of_every_kind_end_with_their_reasons() {
    let database = bears::database_with(
        "ALTER TABLE bear ADD CONSTRAINT one_name UNIQUE (name) DEFERRABLE INITIALLY DEFERRED;
         INSERT INTO bear (id, name, size) SELECT i, 'bear ' || i, 1 FROM generate_series(1001, 3000) i;",
    );
    let redis = Redis::builder().postgres(&database).config("bear.drain", "no").start();
    let mut wire = redis.wire();
    let mut bad = Vec::new();
    for n in 0..600 {
        let id = 1001 + n;
        enqueue(&mut wire, &resize(id, 7));
        let (line, message, code) = match n % 60 {
            0 => (resize(id, -1), "bear_size_check", Some("23514")),
            10 => (format!(r#"bear UPDATE_BEAR_NAME {{"id":{id},"name":"Yogi"}}"#), "one_name", Some("23505")),
            20 => (format!(r#"bear UPDATE_BEAR_COLORS {{"id":{id},"colors":["pink"]}}"#), "unknown colour pink", None),
            30 => (resize(id + 100_000, 7), "", None),
            40 => (r##"color CREATE_COLOR {"name":"brown","hex":"#663300"}"##.into(), "color_name_key", Some("23505")),
            50 => (r#"bear CREATE_BEAR {"name":"new","size":0,"colors":[]}"#.into(), "bear_size_check", Some("23514")),
            _ => continue,
        };
        let space = line.split(' ').next().unwrap().to_owned();
        bad.push((space, enqueue(&mut wire, &format!("{line} ATTEMPTS 1")), message, code));
    }
    set_drain(&mut wire, "yes");
    for (space, id, message, code) in &bad {
        let job = wait_state(&mut wire, space, id, "failed");
        let (said, sqlstate) = jobs::error_of(&job);
        assert!(said.contains(message) && !said.is_empty(), "{said:?}, expected {message:?}");
        assert_eq!(sqlstate.as_deref(), *code, "{said}");
    }
    wait_settled(&mut wire, "bear");
    assert_eq!(count(&database, "size = 7"), 600);
    assert_eq!(count(&database, "name = 'new'"), 0, "a failed job leaves nothing behind");
    assert_eq!(stat(&mut wire, "bear", "completed"), 600);
    assert_eq!(stat(&mut wire, "bear", "failed") + stat(&mut wire, "color", "failed"), bad.len() as i64);
}

#[test]
fn attempts_and_backoff_are_as_told() {
    let database = bears::database();
    let redis = Redis::with(&database);
    let mut wire = redis.wire();
    for (options, attempts, least_ms) in
        [("ATTEMPTS 1", 1, 0), ("ATTEMPTS 3 BACKOFF 100", 3, 300), ("ATTEMPTS 4 BACKOFF 0", 4, 0), ("", 2, 2000)]
    {
        let job = jobs::settle(&mut wire, &format!("{} {options}", resize(5, -1)));
        assert_eq!(job["state"].text(), "failed", "{options}");
        assert_eq!(job["attempts"], Reply::Int(attempts), "{options}");
        let took_ms = job["finished"].int() - job["enqueued"].int();
        assert!(took_ms >= least_ms, "{options}: {took_ms} ms");
    }
    // Whatever made it fail may be gone at the next attempt.
    let id = enqueue(&mut wire, r#"bear UPDATE_BEAR_COLORS {"id":5,"colors":["pink"]} ATTEMPTS 100 BACKOFF 20"#);
    eventually("an attempt has failed", || {
        jobs::find(&mut wire, "bear", &id).is_some_and(|job| job["attempts"].int() > 0)
    });
    complete(&mut redis.wire(), r##"color CREATE_COLOR {"name":"pink","hex":"#ffc0cb"}"##);
    wait_state(&mut wire, "bear", &id, "completed");
}

#[test]
fn a_row_that_somebody_holds_delays_only_its_own_jobs() {
    let database = bears::database_with(EFFECTS_SQL);
    let redis = Redis::with(&database);
    let mut wire = redis.wire();
    let mut holder = database.client();
    let mut transaction = holder.transaction().unwrap();
    transaction.execute("SELECT FROM bear WHERE id = 5 FOR UPDATE", &[]).unwrap();
    let mut held: Vec<String> = Vec::new();
    let mut times: Vec<Duration> = Vec::new();
    for round in 0..150 {
        if round % 15 == 0 {
            held.push(enqueue(&mut wire, &resize(5, 500 + round)));
        }
        let begun = Instant::now();
        complete(&mut wire, &resize([1, 2, 3, 4, 6, 7, 8][round as usize % 7], 300 + round));
        times.push(begun.elapsed());
    }
    times.sort();
    let p99 = times[times.len() * 99 / 100];
    assert!(p99 < Duration::from_secs(1), "p99 {p99:?}, median {:?}", times[times.len() / 2]);
    for id in &held {
        let job = jobs::find(&mut wire, "bear", id).expect("it is queued");
        assert!(!["completed", "failed"].contains(&job["state"].text().as_str()), "{job:?}");
        assert_eq!(job["attempts"], Reply::Int(0), "a lock costs no attempt");
    }
    transaction.rollback().unwrap();
    for id in &held {
        wait_state(&mut wire, "bear", id, "completed");
    }
    let rows = database.client().query("SELECT size FROM effect WHERE bear_id = 5 ORDER BY seq", &[]).unwrap();
    let sizes: Vec<i64> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(sizes, (0..10).map(|n| 500 + 15 * n).collect::<Vec<i64>>(), "once, in their order");
}

#[test]
fn a_job_type_that_postgres_refuses_waits_while_others_go_on() {
    let database = bears::database();
    let redis = Redis::with(&database);
    let mut wire = redis.wire();
    complete(&mut wire, r#"bear UPDATE_BEAR_NAME {"id":5,"name":"a"}"#);
    database.run("ALTER TABLE bear RENAME COLUMN name TO label");
    let held: Vec<String> = (0..5)
        .map(|n| enqueue(&mut wire, &format!(r#"bear UPDATE_BEAR_NAME {{"id":5,"name":"b{n}"}} ATTEMPTS 1"#)))
        .collect();
    for size in 300..350 {
        complete(&mut wire, &resize(6, size));
    }
    for id in &held {
        let job = jobs::find(&mut wire, "bear", id).expect("it is queued");
        assert!(!["completed", "failed"].contains(&job["state"].text().as_str()), "{job:?}");
        assert_eq!(job["attempts"], Reply::Int(0), "it is not the job's fault");
    }
    database.run("ALTER TABLE bear RENAME COLUMN label TO name");
    for id in &held {
        wait_state(&mut wire, "bear", id, "completed");
    }
    assert_eq!(count(&database, "id = 5 AND name = 'b4'"), 1);
}

#[test]
fn settings_of_batches_may_be_small() {
    let database = bears::database_with(EFFECTS_SQL);
    let redis = Redis::builder()
        .postgres(&database)
        .configs(&[("bear.apply-batch-jobs", "3"), ("bear.apply-linger-ms", "5"), ("bear.apply-threads", "1")])
        .start();
    let lines: Vec<String> = (0..200).map(|n| format!("BEAR.ENQUEUE {}", resize(1 + n % 8, 300 + n as i32))).collect();
    let ids: BTreeSet<String> = burst(&redis, &lines).iter().map(jobs::id_of).collect();
    assert_eq!(ids.len(), 200);
    let mut wire = redis.wire();
    wait_settled(&mut wire, "bear");
    let rows = database.client().query("SELECT DISTINCT size FROM effect", &[]).unwrap();
    assert_eq!(rows.len(), 200);
    assert!(database.executions("UPDATE bear SET") >= 200 / 3);
}
