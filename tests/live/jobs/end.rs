//! MODULE UNLOAD, SHUTDOWN and crashes with a batch in hand: within a bound, nothing lost, nothing twice.

use std::time::{Duration, Instant};

use crate::support::bears;
use crate::support::jobs::{self, enqueue, set_drain, wait_settled, wait_state, EFFECTS_SQL, PATIENT};
use crate::support::server::module_path;
use crate::support::{burst, eventually, Database, Redis, Reply, Wire};

const JOBS: usize = 3000;

/// Each job leaves a name of its own in the effect log.
fn enqueue_all(redis: &Redis) {
    let line = |n: usize| format!(r#"BEAR.ENQUEUE bear UPDATE_BEAR_NAME {{"id":{},"name":"job-{n}"}}"#, 1 + n % 8);
    let lines: Vec<String> = (0..JOBS).map(line).collect();
    burst(redis, &lines).iter().for_each(|reply| drop(jobs::id_of(reply)));
}

/// Effects, and how many different ones.
fn effects(database: &Database) -> (i64, i64) {
    let row = database.client().query_one("SELECT count(*), count(DISTINCT name) FROM effect", &[]).unwrap();
    (row.get(0), row.get(1))
}

#[track_caller]
fn assert_all_landed_once(redis: &Redis, database: &Database) {
    wait_settled(&mut redis.wire(), "bear");
    assert_eq!(effects(database), (JOBS as i64, JOBS as i64));
    assert_eq!(redis.run("XLEN bear:queue"), Reply::Int(0));
}

/// Unloads as soon as the server lets it; no call may hold the server.
fn unload(wire: &mut Wire) {
    let mut longest = Duration::ZERO;
    eventually("the module is unloaded", || {
        let begun = Instant::now();
        let reply = wire.run("MODULE UNLOAD bear");
        longest = longest.max(begun.elapsed());
        assert!(reply.is_ok() || reply.error().starts_with("ERR "), "{reply:?}");
        reply.is_ok()
    });
    assert!(longest < Duration::from_secs(2), "an unload held the server for {longest:?}");
}

#[test]
fn an_unload_amid_batches_loses_nothing_and_repeats_nothing() {
    let database = bears::database_with(EFFECTS_SQL);
    let redis = Redis::with(&database);
    enqueue_all(&redis);
    let mut wire = redis.wire();
    unload(&mut wire);
    assert!(!redis.threads().iter().any(|name| name.starts_with("bear-")), "{:?}", redis.threads());
    assert!(wire.call(&["MODULE", "LOAD", &module_path().to_string_lossy()]).is_ok());
    assert_all_landed_once(&redis, &database);
}

#[test]
fn a_shutdown_amid_batches_loses_nothing_and_repeats_nothing() {
    let database = bears::database_with(EFFECTS_SQL);
    let mut redis = Redis::builder().postgres(&database).append_only().start();
    enqueue_all(&redis);
    redis.shutdown();
    redis.start_again();
    assert_all_landed_once(&redis, &database);
}

#[test]
fn a_crash_amid_batches_loses_nothing_and_repeats_nothing() {
    let database = bears::database_with(EFFECTS_SQL);
    let mut redis = Redis::builder().postgres(&database).append_only().config("bear.apply-batch-jobs", 50).start();
    enqueue_all(&redis);
    for least in [100, 1000, 2000] {
        eventually("some of them have landed", || effects(&database).0 >= least);
        redis.kill9();
        redis.start_again();
    }
    assert_all_landed_once(&redis, &database);
}

#[test]
fn an_end_does_not_wait_for_a_statement_that_hangs() {
    for is_unload in [true, false] {
        let database = bears::database_with(EFFECTS_SQL);
        let mut redis =
            Redis::builder().postgres(&database).catalog(jobs::gated_catalog()).configs(&PATIENT).append_only().start();
        let mut gate = database.close_gate();
        let mut wire = redis.wire();
        let id = enqueue(&mut wire, r#"bear UPDATE_BEAR_NAME {"id":5,"name":"Kodiak"}"#);
        gate.wait(1);
        let begun = Instant::now();
        if is_unload {
            unload(&mut wire);
            let catalog = redis.catalog_path().to_string_lossy().into_owned();
            gate.open();
            let load = wire.call(&["MODULE", "LOAD", &module_path().to_string_lossy(), "catalog", &catalog]);
            assert!(load.is_ok(), "{load:?}");
        } else {
            redis.shutdown();
            assert!(begun.elapsed() < Duration::from_secs(12), "{:?}", begun.elapsed());
            gate.open();
            redis.start_again();
        }
        wait_state(&mut redis.wire(), "bear", &id, "completed");
        assert_eq!(effects(&database), (1, 1), "unload: {is_unload}");
    }
}

#[test]
fn who_waits_for_a_job_when_the_server_ends_is_not_left_hanging() {
    let database = bears::database();
    let mut redis = Redis::builder().postgres(&database).append_only().config("bear.drain", "no").start();
    let mut waiting = redis.wire();
    waiting.begin(r#"BEAR.ENQUEUE bear UPDATE_BEAR_NAME {"id":5,"name":"Kodiak"} BLOCK 0"#);
    redis.wait_blocked(1);
    redis.shutdown();
    // A reply or the end of the connection.
    assert!(waiting.try_receive().is_err() || waiting.is_closed());
    redis.start_again();
    let mut wire = redis.wire();
    let ids = jobs::ids_in(&mut wire, "bear", "waiting");
    set_drain(&mut wire, "yes");
    wait_state(&mut wire, "bear", &ids[0], "completed");
}
