//! UNIQUE: a producer may send a job again safely, however late; nothing is dropped in silence.

use std::collections::BTreeSet;

use crate::support::bears;
use crate::support::jobs::{self, enqueue, set_drain, wait_state};
use crate::support::{burst, eventually, Redis, Reply, Wire};

const RENAME: &str = r#"bear UPDATE_BEAR_NAME {"id":5,"name":"Kodiak"}"#;

/// So many ms pass on the server's clock.
fn pass(wire: &mut Wire, ms: u32) {
    assert!(wire.run(&format!("SET clock x PX {ms}")).is_ok());
    eventually("time passes", || wire.run("GET clock").is_nil());
}

#[test]
fn the_same_job_again_replies_the_first_id() {
    let database = bears::database();
    let redis = Redis::builder().postgres(&database).config("bear.drain", "no").start();
    let mut wire = redis.wire();
    let id = enqueue(&mut wire, &format!("{RENAME} UNIQUE order-1"));
    for json in [
        r#"{"id":5,"name":"Kodiak"}"#,
        r#" {"id": 5 , "name": "Kodiak" } "#,
        r#"{"id":5,"name":"K\u006fdiak"}"#,
        r#"{"name":"Kodiak","id":5}"#,
    ] {
        let reply = wire.call(&["BEAR.ENQUEUE", "bear", "UPDATE_BEAR_NAME", json, "unique", "order-1"]);
        assert_eq!(jobs::id_of(&reply), id, "{json}");
    }
    assert_eq!(wire.run("XLEN bear:queue"), Reply::Int(1));
    // Without UNIQUE, a job again is another job.
    assert_ne!(enqueue(&mut wire, RENAME), id);
    assert_ne!(enqueue(&mut wire, &format!("{RENAME} UNIQUE order-2")), id);
    assert_eq!(wire.run("XLEN bear:queue"), Reply::Int(3));
}

#[test]
fn another_job_or_payload_is_a_duplicate_and_names_the_first() {
    let database = bears::database();
    let redis = Redis::builder().postgres(&database).config("bear.drain", "no").start();
    let mut wire = redis.wire();
    let id = enqueue(&mut wire, &format!("{RENAME} UNIQUE k"));
    for line in [
        r#"bear UPDATE_BEAR_NAME {"id":5,"name":"kodiak"} UNIQUE k"#,
        r#"bear UPDATE_BEAR_NAME {"id":6,"name":"Kodiak"} UNIQUE k"#,
        r#"bear UPDATE_BEAR {"id":5,"name":"Kodiak"} UNIQUE k"#,
        r#"bear DELETE_BEAR {"id":5} UNIQUE k BLOCK 1000"#,
    ] {
        let reply = wire.run(&format!("BEAR.ENQUEUE {line}"));
        assert!(reply.error().starts_with(&format!("DUPLICATE {id} ")), "{line}: {reply:?}");
    }
    assert_eq!(wire.run("XLEN bear:queue"), Reply::Int(1));
    // Another section has keys of its own.
    let other = enqueue(&mut wire, r##"color CREATE_COLOR {"name":"pink","hex":"#ffc0cb"} UNIQUE k"##);
    assert_eq!(wire.run("XLEN color:queue"), Reply::Int(1));
    assert_eq!(enqueue(&mut wire, r##"color CREATE_COLOR {"name":"pink","hex":"#ffc0cb"} UNIQUE k"##), other);
}

#[test]
fn a_key_holds_after_the_job_has_settled() {
    let database = bears::database();
    let redis = Redis::with(&database);
    let mut wire = redis.wire();
    for (line, expected) in [
        (format!("{RENAME} UNIQUE good"), "completed"),
        (r#"bear UPDATE_BEAR_SIZE {"id":5,"size":-1} ATTEMPTS 1 UNIQUE bad"#.to_owned(), "failed"),
    ] {
        let id = enqueue(&mut wire, &line);
        wait_state(&mut wire, "bear", &id, expected);
        database.run("UPDATE bear SET name = 'Yogi' WHERE id = 5");
        assert_eq!(enqueue(&mut wire, &line), id);
        let job = jobs::settle(&mut wire, &line);
        assert_eq!((job["id"].text(), job["state"].text()), (id.clone(), expected.to_owned()));
        let other = wire.run(r#"BEAR.ENQUEUE bear DELETE_BEAR {"id":5} UNIQUE good"#);
        assert!(other.error().starts_with("DUPLICATE "), "{other:?}");
        assert_eq!(wire.run("XLEN bear:queue"), Reply::Int(0));
    }
    let name: String = database.client().query_one("SELECT name FROM bear WHERE id = 5", &[]).unwrap().get(0);
    assert_eq!(name, "Yogi", "applied once");
}

#[test]
fn a_key_holds_while_the_job_is_queued_and_ends_after_it_has_settled() {
    let database = bears::database();
    let redis =
        Redis::builder().postgres(&database).configs(&[("bear.unique-ms", "400"), ("bear.drain", "no")]).start();
    let mut wire = redis.wire();
    let line = format!("{RENAME} UNIQUE k");
    let id = enqueue(&mut wire, &line);
    pass(&mut wire, 900);
    assert_eq!(enqueue(&mut wire, &line), id, "it is queued still");
    set_drain(&mut wire, "yes");
    wait_state(&mut wire, "bear", &id, "completed");
    eventually("the key has ended", || enqueue(&mut wire, &line) != id);
    assert!(!wire.run(r#"BEAR.ENQUEUE bear UPDATE_BEAR_SIZE {"id":5,"size":1} UNIQUE other"#).is_error());
}

#[test]
fn ended_keys_do_not_pile_up() {
    let database = bears::database();
    let redis = Redis::builder().postgres(&database).config("bear.unique-ms", 300).start();
    let mut wire = redis.wire();
    let lines: Vec<String> = (0..500).map(|key| format!("BEAR.ENQUEUE {RENAME} UNIQUE key-{key}")).collect();
    assert!(burst(&redis, &lines).iter().all(|reply| !reply.is_error()));
    eventually("they are swept while others come", || {
        enqueue(&mut wire, &format!("{RENAME} UNIQUE last"));
        wire.run("ZCARD bear:queue:unique").int() <= 2 && wire.run("HLEN bear:queue:unique:jobs").int() <= 2
    });
}

#[test]
fn a_key_outlives_a_restart() {
    let database = bears::database();
    let mut redis = Redis::builder().postgres(&database).append_only().start();
    let mut wire = redis.wire();
    let done = enqueue(&mut wire, &format!("{RENAME} UNIQUE done"));
    wait_state(&mut wire, "bear", &done, "completed");
    set_drain(&mut wire, "no");
    let open = enqueue(&mut wire, &format!("{RENAME} UNIQUE open"));
    redis.kill9();
    redis.start_again();
    let mut wire = redis.wire();
    assert_eq!(enqueue(&mut wire, &format!("{RENAME} UNIQUE done")), done);
    assert_eq!(enqueue(&mut wire, &format!("{RENAME} UNIQUE open")), open);
    let reply = wire.run(r#"BEAR.ENQUEUE bear DELETE_BEAR {"id":5} UNIQUE done"#);
    assert!(reply.error().starts_with(&format!("DUPLICATE {done} ")), "{reply:?}");
    wait_state(&mut wire, "bear", &open, "completed");
}

#[test]
fn keys_may_be_any_bytes() {
    let database = bears::database();
    let redis = Redis::builder().postgres(&database).config("bear.drain", "no").start();
    let mut wire = redis.wire();
    let keys: [&[u8]; 6] = [b"a", b"a ", b"\0\r\n", b"\xff\xfe", b"UNIQUE", "🐻".as_bytes()];
    let mut ids = BTreeSet::new();
    for round in 0..2 {
        for key in keys {
            let reply = wire.call(&[
                &b"BEAR.ENQUEUE"[..],
                b"bear",
                b"UPDATE_BEAR_NAME",
                br#"{"id":5,"name":"Kodiak"}"#,
                b"UNIQUE",
                key,
            ]);
            assert_eq!(ids.insert(jobs::id_of(&reply)), round == 0, "{}", key.escape_ascii());
        }
    }
    assert_eq!(wire.run("XLEN bear:queue"), Reply::Int(keys.len() as i64));
}

#[test]
fn who_sends_again_with_block_waits_for_the_first() {
    let database = bears::database();
    let redis = Redis::builder().postgres(&database).config("bear.drain", "no").start();
    let line = format!("BEAR.ENQUEUE {RENAME} UNIQUE k BLOCK 20000");
    let mut clients = [redis.wire(), redis.wire(), redis.resp3_wire()];
    clients.iter_mut().for_each(|client| client.begin(&line));
    redis.wait_blocked(3);
    let mut wire = redis.wire();
    assert_eq!(wire.run("XLEN bear:queue"), Reply::Int(1));
    set_drain(&mut wire, "yes");
    let ids: BTreeSet<String> = clients
        .iter_mut()
        .map(|client| {
            let job = client.receive().map();
            assert_eq!(job["state"].text(), "completed");
            job["id"].text()
        })
        .collect();
    assert_eq!(ids.len(), 1);
}

#[test]
fn a_job_is_found_by_its_key() {
    let database = bears::database();
    let redis =
        Redis::builder().postgres(&database).configs(&[("bear.unique-ms", "500"), ("bear.drain", "no")]).start();
    let mut wire = redis.wire();
    let find = |wire: &mut Wire, key: &[u8]| wire.call(&[&b"BEAR.JOB"[..], b"bear", b"unique", key]);
    assert_eq!(find(&mut wire, b"k"), Reply::Nil, "there is no queue");
    let id = enqueue(&mut wire, &format!("{RENAME} UNIQUE k"));
    let other = enqueue(&mut wire, RENAME);
    assert_eq!(find(&mut wire, b"k"), wire.run(&format!("BEAR.JOB bear {id}")));
    assert_eq!(find(&mut wire, b"k").map()["state"].text(), "waiting");
    for key in [&b"K"[..], b"", b"\xff", other.as_bytes()] {
        assert_eq!(find(&mut wire, key), Reply::Nil, "{}", key.escape_ascii());
    }
    assert_eq!(wire.run("BEAR.JOB color UNIQUE k"), Reply::Nil, "keys are a space's");
    set_drain(&mut wire, "yes");
    eventually("the key has ended", || find(&mut wire, b"k").is_nil());
    assert_eq!(jobs::state(&mut wire, "bear", &id), "completed");
}

#[test]
fn a_settled_job_is_found_by_its_key() {
    let database = bears::database();
    let redis = Redis::with(&database);
    let replica = Redis::builder().postgres(&database).replica_of(&redis).start();
    let mut wire = redis.wire();
    let id = jobs::complete(&mut wire, &format!("{RENAME} UNIQUE k"))["id"].text();
    let found = wire.run("BEAR.JOB bear UNIQUE k").map();
    assert_eq!((found["id"].text(), found["state"].text()), (id.clone(), "completed".to_owned()));
    replica.wait_in_sync(&redis);
    assert_eq!(replica.run("BEAR.JOB bear UNIQUE k").map()["id"].text(), id);
}
