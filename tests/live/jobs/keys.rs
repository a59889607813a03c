//! Keys of a queue that another hand has taken for something else: jobs are refused with the key's name, and what was
//! applied meanwhile is recorded when the key is gone.

use crate::support::jobs::{self, complete, enqueue, stat, state, wait_state, PATIENT};
use crate::support::{bears, eventually, Database, Redis, Reply, Wire};

const RENAME: &str = r#"bear UPDATE_BEAR_NAME {"id":5,"name":"Kodiak"}"#;

/// The keys beside the stream and the identity, and what they should be.
const HELPERS: [(&str, &str); 7] = [
    ("unique", "a sorted set"),
    ("unique:jobs", "a hash"),
    ("delayed", "a sorted set"),
    ("attempts", "a hash"),
    ("ledger", "a hash"),
    ("completed", "a stream"),
    ("failed", "a stream"),
];

fn keys(wire: &mut Wire, space: &str) -> String {
    wire.run(&format!("BEAR.STATS {space}")).map()["keys"].text()
}

/// Deletes the queue's own key and puts a list in its place, which none of them should be.
fn spoil(wire: &mut Wire, part: &str) {
    assert!(!wire.run(&format!("DEL bear:queue:{part}")).is_error());
    assert_eq!(wire.run(&format!("RPUSH bear:queue:{part} x")), Reply::Int(1));
}

#[test]
fn jobs_are_refused_while_a_key_of_the_queue_is_of_another_type() {
    let database = bears::database();
    let mut redis = Redis::builder().postgres(&database).append_only().start();
    let mut wire = redis.wire();
    complete(&mut wire, RENAME);
    assert_eq!(keys(&mut wire, "bear"), "ok");
    for (at, (part, expected)) in HELPERS.into_iter().enumerate() {
        spoil(&mut wire, part);
        if at == 0 {
            // As a queue that is found.
            redis.restart();
            wire = redis.wire();
        }
        for line in ["BEAR.ENQUEUE ".to_owned() + RENAME, "BEAR.RETRY bear ALL".into(), "BEAR.REMOVE bear 1-1".into()] {
            let reply = wire.run(&line);
            let error = reply.error();
            let names = error.contains(&format!("bear:queue:{part} ")) && error.contains(expected);
            assert!(error.starts_with("WRONGTYPE ") && names, "{part}, {line}: {error}");
        }
        assert!(keys(&mut wire, "bear").starts_with("WRONGTYPE bear:queue"), "{part}");
        assert_eq!(wire.run("XLEN bear:queue"), Reply::Int(0), "{part}");
        // The others go on.
        complete(&mut wire, &format!(r##"color CREATE_COLOR {{"name":"c{at}","hex":"#ffc0cb"}}"##));
        assert_eq!(wire.run(&format!("DEL bear:queue:{part}")), Reply::Int(1));
        complete(&mut wire, &format!("{RENAME} UNIQUE {part}"));
        assert_eq!(keys(&mut wire, "bear"), "ok", "{part}");
    }
}

fn effects(database: &Database) -> i64 {
    database.client().query_one("SELECT count(*) FROM effect", &[]).expect("the effects").get(0)
}

#[test]
fn an_outcome_waits_until_it_can_be_recorded() {
    let database = bears::database();
    database.run(jobs::EFFECTS_SQL);
    let redis = Redis::builder().postgres(&database).catalog(jobs::gated_catalog()).configs(&PATIENT).start();
    let mut wire = redis.wire();
    for (at, (part, _)) in HELPERS.into_iter().enumerate() {
        let mut gate = database.close_gate();
        let applied = effects(&database);
        let id = enqueue(&mut wire, &format!("{RENAME} UNIQUE {part}"));
        gate.wait(1);
        let late = enqueue(&mut wire, r#"bear UPDATE_BEAR_SIZE {"id":6,"size":7}"#);
        spoil(&mut wire, part);
        let cached = wire.run("BEAR.QUERY bear size 0 10000");
        gate.open();
        eventually("it is applied", || effects(&database) == applied + 1);
        eventually("its row is cached no more", || wire.run("BEAR.QUERY bear size 0 10000") != cached || at > 0);
        assert_eq!(state(&mut wire, "bear", &id), "active", "{part}: nothing is recorded");
        assert_eq!((stat(&mut wire, "bear", "active"), wire.run("XLEN bear:queue")), (1, Reply::Int(2)), "{part}");
        assert_eq!(redis.info("bear").int("bear_queues_with_wrong_keys"), 1, "{part}");
        assert_eq!(wire.run(&format!("DEL bear:queue:{part}")), Reply::Int(1));
        wait_state(&mut wire, "bear", &id, "completed");
        wait_state(&mut wire, "bear", &late, "completed");
        assert_eq!(effects(&database), applied + 2, "{part}: applied once");
        assert_eq!(wire.run("EXISTS bear:queue:completed bear:queue:ledger"), Reply::Int(2), "{part}");
    }
}
