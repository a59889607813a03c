//! Jobs that are read while a batch before them is in flight are the ones that the stream holds when their turn comes.

use crate::support::jobs::{gated_catalog, PATIENT};
use crate::support::{bears, eventually, Database, Gate, Redis, Wire};

/// A server that applies two jobs at a time, with a batch of bears 1 and 2 in flight, and the ids of four jobs behind it.
fn start() -> (Database, Redis, Gate, Vec<String>) {
    let database = bears::database();
    let redis = Redis::builder().postgres(&database).catalog(gated_catalog()).config("bear.apply-batch-jobs", 2);
    let redis = PATIENT.iter().fold(redis, |redis, (name, value)| redis.config(name, *value)).start();
    let mut gate = database.close_gate();
    let mut wire = redis.wire();
    wire.run("MULTI");
    for bear in 1..=6 {
        let payload = format!(r#"{{"id":{bear},"name":"New {bear}"}}"#);
        wire.call(&["BEAR.ENQUEUE", "bear", "UPDATE_BEAR_NAME", &payload]);
    }
    let ids: Vec<String> = wire.run("EXEC").list().iter().map(|id| id.text()).collect();
    // The tick that sent the batch has read on.
    gate.wait(1);
    (database, redis, gate, ids[2..].to_vec())
}

fn renamed(database: &Database) -> Vec<i64> {
    let sql = "SELECT id FROM bear WHERE name LIKE 'New %' ORDER BY id";
    database.client().query(sql, &[]).expect("bears").iter().map(|row| row.get(0)).collect()
}

fn drain(wire: &mut Wire, gate: Gate) {
    gate.open();
    eventually("all are applied", || wire.run("XLEN bear:queue").int() == 0);
}

#[test]
fn jobs_follow_one_another_in_batches() {
    let (database, redis, gate, _) = start();
    drain(&mut redis.wire(), gate);
    assert_eq!(renamed(&database), [1, 2, 3, 4, 5, 6]);
}

#[test]
fn one_that_is_removed_meanwhile_is_not_applied() {
    let (database, redis, gate, ids) = start();
    let mut wire = redis.wire();
    assert_eq!(wire.run(&format!("BEAR.REMOVE bear {}", ids[1])).int(), 1);
    drain(&mut wire, gate);
    assert_eq!(renamed(&database), [1, 2, 3, 5, 6]);
}

#[test]
fn one_that_another_hand_deletes_meanwhile_is_not_applied() {
    let (database, redis, gate, ids) = start();
    let mut wire = redis.wire();
    assert_eq!(wire.run(&format!("XDEL bear:queue {}", ids[0])).int(), 1);
    drain(&mut wire, gate);
    assert_eq!(renamed(&database), [1, 2, 4, 5, 6]);
}
