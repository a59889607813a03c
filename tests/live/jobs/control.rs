//! BEAR.RETRY, BEAR.REMOVE, BEAR.PAUSE and BEAR.RESUME, and `bear.drain`.

use crate::support::bears;
use crate::support::jobs::{self, complete, enqueue, ids_in, set_drain, settle, stat, state, wait_state, PATIENT};
use crate::support::{Database, Redis, Reply, Wire};

fn name_of(database: &Database, id: i64) -> String {
    database.client().query_one("SELECT name FROM bear WHERE id = $1", &[&id]).expect("the bear").get(0)
}

fn rename(id: u32, name: &str) -> String {
    format!(r#"bear UPDATE_BEAR_NAME {{"id":{id},"name":"{name}"}}"#)
}

/// A job that fails for good, until there is a colour `color`; its id.
fn fail(wire: &mut Wire, bear: u32, color: &str) -> String {
    let line = format!(r#"bear UPDATE_BEAR_COLORS {{"id":{bear},"colors":["{color}"]}} ATTEMPTS 1"#);
    let job = settle(wire, &line);
    assert_eq!(jobs::error_of(&job).0, format!("unknown colour {color}"));
    job["id"].text()
}

#[test]
fn a_failed_job_is_retried_under_a_new_id() {
    let database = bears::database();
    let redis = Redis::builder().postgres(&database).append_only().start();
    let mut wire = redis.wire();
    let (first, second) = (fail(&mut wire, 5, "pink"), fail(&mut wire, 6, "pink"));
    complete(&mut wire, r##"color CREATE_COLOR {"name":"pink","hex":"#ffc0cb"}"##);
    let reply = wire.run(&format!("BEAR.RETRY bear {first}"));
    let [new] = reply.list() else { panic!("{reply:?}") };
    let new = jobs::id_of(new);
    assert!(jobs::parse_id(&new) > jobs::parse_id(&second));
    assert_eq!(state(&mut wire, "bear", &first), "unknown", "its record is gone");
    let job = wait_state(&mut wire, "bear", &new, "completed");
    assert_eq!(job["data"].json()["id"], 5);
    assert_eq!(ids_in(&mut wire, "bear", "failed"), [second.as_str()]);
    let again = wire.run(&format!("BEAR.RETRY bear {first}"));
    assert!(again.error().starts_with("ERR ") && again.error().contains(&first), "{again:?}");
    // The record goes in the unit in which the new job comes.
    let units = redis.aof();
    let unit = units.iter().find(|unit| {
        unit.iter().any(|command| command.name() == "XADD" && command.text(1) == "bear:queue" && command.text(2) == new)
    });
    let unit = unit.expect("the new job");
    assert!(unit.iter().any(|command| command.name() == "XDEL" && command.text(1) == "bear:queue:failed"), "{unit:?}");
}

#[test]
fn all_failed_jobs_or_none_are_retried() {
    let database = bears::database();
    let redis = Redis::with(&database);
    let mut wire = redis.wire();
    let failed: Vec<String> = (1..=5).map(|bear| fail(&mut wire, bear, "pink")).collect();
    let done = complete(&mut wire, &rename(6, "x"))["id"].text();
    let waiting = enqueue(&mut wire, &format!("{} DELAY 600000", rename(6, "y")));
    for wrong in ["1-1", done.as_str(), waiting.as_str()] {
        let reply = wire.run(&format!("BEAR.RETRY bear {} {wrong} {}", failed[0], failed[1]));
        assert!(reply.error().starts_with("ERR ") && reply.error().contains(wrong), "{wrong}: {reply:?}");
        assert_eq!(ids_in(&mut wire, "bear", "failed").len(), 5, "{wrong}: nothing is retried");
    }
    for line in
        ["BEAR.RETRY bear", "BEAR.RETRY", "BEAR.RETRY bear x", "BEAR.RETRY bear ALL 1-1", "BEAR.RETRY bears ALL"]
    {
        assert!(wire.run(line).error().starts_with("ERR "), "{line}");
    }
    set_drain(&mut wire, "no");
    complete_color(&database);
    let reply = wire.run("BEAR.RETRY bear all");
    assert_eq!(reply.list().len(), 5);
    assert!(ids_in(&mut wire, "bear", "failed").is_empty());
    assert_eq!(stat(&mut wire, "bear", "waiting"), 5);
    set_drain(&mut wire, "yes");
    for id in reply.list() {
        wait_state(&mut wire, "bear", &id.text(), "completed");
    }
    assert_eq!(wire.run("BEAR.RETRY bear ALL").list(), []);
}

#[test]
fn a_retried_job_keeps_its_options() {
    let database = bears::database();
    let redis = Redis::builder().postgres(&database).config("bear.unique-ms", 0).start();
    let mut wire = redis.wire();
    let job = r#"bear UPDATE_BEAR_COLORS {"id":5,"colors":["pink"]}"#;
    let line = format!("{job} ATTEMPTS 1 BACKOFF 77 UNIQUE once");
    let failed = settle(&mut wire, &line)["id"].text();
    set_drain(&mut wire, "no");
    let new = jobs::id_of(&wire.run(&format!("BEAR.RETRY bear {failed}")).list()[0]);
    let entry = wire.run("XRANGE bear:queue - +");
    let entry = &entry.list()[0].list()[1];
    let fields: Vec<String> = entry.list().iter().map(Reply::text).collect();
    for (name, value) in [("attempts", "1"), ("backoff", "77"), ("unique", "once")] {
        assert!(fields.chunks(2).any(|pair| pair == [name, value]), "{name}: {fields:?}");
    }
    assert_eq!(enqueue(&mut wire, &line), new, "it holds its UNIQUE key again");
    set_drain(&mut wire, "yes");
    let job = wait_state(&mut wire, "bear", &new, "failed");
    assert_eq!(job["attempts"].int(), 1, "as often as it was to be tried");
}

#[test]
fn a_unique_key_of_another_job_keeps_a_failed_one_from_being_retried() {
    let database = bears::database();
    let redis = Redis::builder().postgres(&database).config("bear.unique-ms", 0).start();
    let mut wire = redis.wire();
    let paint = |color: &str| format!(r#"bear UPDATE_BEAR_COLORS {{"id":5,"colors":["{color}"]}} ATTEMPTS 1 UNIQUE k"#);
    let first = settle(&mut wire, &paint("pink"))["id"].text();
    let same = settle(&mut wire, &paint("pink"))["id"].text();
    let other = settle(&mut wire, &paint("mauve"))["id"].text();
    let free = fail(&mut wire, 6, "pink");
    set_drain(&mut wire, "no");
    let reply = wire.run(&format!("BEAR.RETRY bear {first} {other}"));
    assert!(reply.error().starts_with(&format!("DUPLICATE {first} ")), "{reply:?}");
    let holder = enqueue(&mut wire, &paint("mauve"));
    let reply = wire.run(&format!("BEAR.RETRY bear {first} {free}"));
    assert!(reply.error().starts_with(&format!("DUPLICATE {holder} ")), "{reply:?}");
    assert_eq!(ids_in(&mut wire, "bear", "failed"), [&*first, &*same, &*other, &*free], "nothing is retried");
    let ids: Vec<String> = wire.run("BEAR.RETRY bear ALL").list().iter().map(Reply::text).collect();
    assert_eq!(ids.len(), 2);
    assert_eq!(ids[0], holder, "it says the same");
    assert_eq!(ids_in(&mut wire, "bear", "failed"), [&*first, &*same]);
    assert_eq!(wire.run(&format!("BEAR.REMOVE bear {holder}")), Reply::Int(1));
    let ids: Vec<String> = wire.run("BEAR.RETRY bear ALL").list().iter().map(Reply::text).collect();
    assert!(ids.len() == 2 && ids[0] == ids[1], "one job for both: {ids:?}");
    assert_eq!(wire.run("XLEN bear:queue"), Reply::Int(2));
}

#[test]
fn failed_jobs_are_retried_only_where_they_could_be_enqueued() {
    let database = bears::database();
    let redis = Redis::with(&database);
    let mut wire = redis.wire();
    let color = "p".repeat(600);
    let failed: Vec<String> = (1..=3).map(|bear| fail(&mut wire, bear, &color)).collect();
    set_drain(&mut wire, "no");
    enqueue(&mut wire, &rename(8, "first"));
    for (setting, tight, wide, code) in [
        ("bear.queue-max-jobs", "3", "100000", "FULL "),
        ("bear.queue-max-bytes", "1500", "1000000", "FULL "),
        ("maxmemory-policy", "allkeys-lru", "noeviction", "UNSAFE "),
    ] {
        assert!(wire.run(&format!("CONFIG SET {setting} {tight}")).is_ok());
        for which in [format!("{} {} {}", failed[0], failed[1], failed[2]), "ALL".into()] {
            let reply = wire.run(&format!("BEAR.RETRY bear {which}"));
            assert!(reply.error().starts_with(code), "{setting}, {which}: {reply:?}");
            assert_eq!(ids_in(&mut wire, "bear", "failed"), failed, "{setting}: all or none");
            assert_eq!(wire.run("XLEN bear:queue"), Reply::Int(1));
        }
        assert!(wire.run(&format!("CONFIG SET {setting} {wide}")).is_ok());
    }
    assert!(wire.run("CONFIG SET bear.queue-max-jobs 4").is_ok());
    assert_eq!(wire.run("BEAR.RETRY bear ALL").list().len(), 3);
}

fn complete_color(database: &Database) {
    database.run("INSERT INTO color (name, hex) VALUES ('pink', '#ffc0cb')");
}

#[test]
fn a_job_that_waits_or_has_failed_can_be_removed() {
    let database = bears::database();
    let redis = Redis::builder().postgres(&database).append_only().start();
    let mut wire = redis.wire();
    let failed = fail(&mut wire, 4, "pink");
    let delayed = enqueue(&mut wire, &format!("{} DELAY 600000", rename(4, "late")));
    // Waits for its second attempt, and keeps its place before the next job of its row.
    let backing_off = enqueue(&mut wire, r#"bear UPDATE_BEAR_SIZE {"id":6,"size":-1} BACKOFF 600000"#);
    wait_state(&mut wire, "bear", &backing_off, "delayed");
    let behind = enqueue(&mut wire, &rename(6, "Behind"));
    complete(&mut wire, &rename(7, "passes"));
    assert_eq!(state(&mut wire, "bear", &behind), "waiting");
    set_drain(&mut wire, "no");
    let waiting = enqueue(&mut wire, &rename(5, "never"));
    for id in [&failed, &delayed, &backing_off, &waiting] {
        assert_eq!(wire.run(&format!("BEAR.REMOVE bear {id}")), Reply::Int(1));
        assert_eq!(state(&mut wire, "bear", id), "unknown");
        assert_eq!(wire.run(&format!("BEAR.REMOVE bear {id}")), Reply::Int(0), "again");
    }
    assert_eq!(wire.run("BEAR.REMOVE bear 1-1"), Reply::Int(0));
    for line in ["BEAR.REMOVE bear x", "BEAR.REMOVE bear", "BEAR.REMOVE bears 1-1"] {
        assert!(wire.run(line).error().starts_with("ERR "), "{line}");
    }
    set_drain(&mut wire, "yes");
    wait_state(&mut wire, "bear", &behind, "completed");
    complete(&mut wire, r#"bear UPDATE_BEAR_SIZE {"id":5,"size":5}"#);
    assert_eq!((name_of(&database, 5), name_of(&database, 6)), ("Yogi".into(), "Behind".into()));
    assert_eq!(wire.run("XLEN bear:queue"), Reply::Int(0));
    assert_eq!(wire.run("EXISTS bear:queue:delayed"), Reply::Int(0));
}

#[test]
fn a_job_in_flight_cannot_be_removed() {
    let database = bears::database();
    let redis = Redis::builder().postgres(&database).catalog(jobs::gated_catalog()).configs(&PATIENT).start();
    let mut wire = redis.wire();
    let mut gate = database.close_gate();
    let id = enqueue(&mut wire, &rename(5, "Kodiak"));
    gate.wait(1);
    let reply = wire.run(&format!("BEAR.REMOVE bear {id}"));
    assert!(reply.error().starts_with("ERR ") && reply.error().contains("active"), "{reply:?}");
    gate.open();
    wait_state(&mut wire, "bear", &id, "completed");
    assert_eq!(name_of(&database, 5), "Kodiak");
}

#[test]
fn who_waits_for_a_job_that_is_removed_is_answered() {
    let database = bears::database();
    let redis = Redis::builder().postgres(&database).config("bear.drain", "no").start();
    let mut waiting = redis.wire();
    waiting.begin(&format!("BEAR.ENQUEUE {} BLOCK 0", rename(5, "never")));
    redis.wait_blocked(1);
    let mut wire = redis.wire();
    let ids = ids_in(&mut wire, "bear", "waiting");
    assert_eq!(wire.run(&format!("BEAR.REMOVE bear {}", ids[0])), Reply::Int(1));
    waiting.receive();
    redis.wait_blocked(0);
}

#[test]
fn a_paused_space_takes_jobs_and_applies_none() {
    let database = bears::database();
    let mut redis = Redis::builder().postgres(&database).append_only().start();
    let mut wire = redis.wire();
    for _ in 0..2 {
        assert!(wire.run("BEAR.PAUSE bear").is_ok());
    }
    assert_eq!(stat(&mut wire, "bear", "paused"), 1);
    assert_eq!(stat(&mut wire, "color", "paused"), 0);
    let id = enqueue(&mut wire, &rename(5, "Kodiak"));
    // The other section goes on: so the appliers have looked around since.
    complete(&mut wire, r##"color CREATE_COLOR {"name":"pink","hex":"#ffc0cb"}"##);
    assert_eq!(state(&mut wire, "bear", &id), "waiting");

    redis.restart();
    let mut wire = redis.wire();
    complete(&mut wire, r##"color CREATE_COLOR {"name":"red","hex":"#ff0000"}"##);
    assert_eq!(stat(&mut wire, "bear", "paused"), 1, "it lasts over a restart");
    assert_eq!(state(&mut wire, "bear", &id), "waiting");
    assert_eq!(name_of(&database, 5), "Yogi");

    for _ in 0..2 {
        assert!(wire.run("BEAR.RESUME bear").is_ok());
    }
    wait_state(&mut wire, "bear", &id, "completed");
    assert_eq!(stat(&mut wire, "bear", "paused"), 0);
    for line in ["BEAR.PAUSE", "BEAR.PAUSE bears", "BEAR.RESUME bears", "BEAR.PAUSE bear now"] {
        assert!(wire.run(line).error().starts_with("ERR "), "{line}");
    }
}

#[test]
fn a_pause_reaches_replicas_which_take_no_orders() {
    let database = bears::database();
    let redis = Redis::with(&database);
    let replica = Redis::builder().postgres(&database).replica_of(&redis).start();
    replica.wait_in_sync(&redis);
    assert!(redis.run("BEAR.PAUSE bear").is_ok());
    replica.wait_in_sync(&redis);
    assert_eq!(stat(&mut replica.wire(), "bear", "paused"), 1);
    for line in ["BEAR.RESUME bear", "BEAR.PAUSE bear", "BEAR.RETRY bear ALL", "BEAR.REMOVE bear 1-1"] {
        assert!(replica.run(line).error().starts_with("READONLY "), "{line}");
    }
}

#[test]
fn a_job_that_no_longer_fits_its_definition_fails_and_can_be_retried() {
    let database = bears::database();
    let catalog = include_str!("../../../catalogs/bear.toml");
    let redis = Redis::builder().postgres(&database).catalog(catalog).config("bear.drain", "no").start();
    let mut wire = redis.wire();
    let lost = enqueue(&mut wire, r#"bear DELETE_BEAR {"id":8}"#);
    let changed = enqueue(&mut wire, &format!("{} ATTEMPTS 5", rename(5, "Kodiak")));
    let other = enqueue(&mut wire, r#"bear UPDATE_BEAR_SIZE {"id":6,"size":6}"#);

    let next = catalog
        .replace(
            "data = { id = \"int\", name = \"text\" }",
            "data = { id = \"int\", name = \"text\", reason = \"text\" }",
        )
        .replace("[bear.job.DELETE_BEAR]", "[bear.job.ERASE_BEAR]");
    assert_ne!(next, catalog);
    std::fs::write(redis.catalog_path(), next).unwrap();
    assert!(!wire.run("BEAR.RELOAD").is_error());
    set_drain(&mut wire, "yes");
    for id in [&lost, &changed] {
        let job = wait_state(&mut wire, "bear", id, "failed");
        let (message, code) = jobs::error_of(&job);
        assert!(message.starts_with("CATALOG ") || code.as_deref() == Some("CATALOG"), "{job:?}");
    }
    wait_state(&mut wire, "bear", &other, "completed");

    std::fs::write(redis.catalog_path(), catalog).unwrap();
    assert!(!wire.run("BEAR.RELOAD").is_error());
    let reply = wire.run(&format!("BEAR.RETRY bear {lost} {changed}"));
    for id in reply.list() {
        wait_state(&mut wire, "bear", &id.text(), "completed");
    }
    assert_eq!(name_of(&database, 5), "Kodiak");
    assert_eq!(database.client().query("SELECT FROM bear WHERE id = 8", &[]).unwrap().len(), 0);
}

#[test]
fn a_job_that_is_retried_while_another_client_searches_for_it_is_enqueued_once() {
    let database = bears::database();
    let mut redis =
        Redis::builder().postgres(&database).append_only().config("bear.failed-max-jobs", 1_000_000).start();
    let mut wire = redis.wire();
    let first = fail(&mut wire, 5, "pink");
    let many = "for i = 1, 100000 do redis.call('XADD', KEYS[1], '*', 'x', 'y') end return 1";
    assert_eq!(wire.call(&["EVAL", many, "1", "bear:queue:failed"]).int(), 1);
    let second = fail(&mut wire, 6, "pink");
    // Where records stand is known to the process that wrote them; another one searches.
    redis.restart();
    let (mut wire, mut other) = (redis.wire(), redis.wire());
    set_drain(&mut wire, "no");
    wire.begin(&format!("BEAR.RETRY bear {first} {second}"));
    redis.wait_blocked(1);
    assert_eq!(other.run(&format!("BEAR.RETRY bear {first}")).list().len(), 1);
    let reply = wire.receive();
    assert!(reply.error().starts_with("ERR ") && reply.error().contains(&first), "{reply:?}");
    assert_eq!(other.run("XLEN bear:queue").int(), 1);
}
