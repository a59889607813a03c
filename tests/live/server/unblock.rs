//! CLIENT UNBLOCK ends any wait of the module's commands, as it does for Redis' own, and what was waited for goes on.

use crate::support::bears::{self, selects};
use crate::support::jobs::{set_drain, stat, wait_settled};
use crate::support::{eventually, Database, Redis, Reply, Wire};

fn start() -> (Database, Redis) {
    let database = bears::database();
    let redis = Redis::builder().postgres(&database).catalog(bears::gated_catalog()).start();
    (database, redis)
}

fn id(wire: &mut Wire) -> i64 {
    wire.run("CLIENT ID").int()
}

/// Unblocks in both ways, each while `begin` has a client wait, and looks that its pipeline goes on.
#[track_caller]
fn unblock(redis: &Redis, line: &str) {
    for (how, expected) in [
        ("", Reply::Nil),
        (" TIMEOUT", Reply::Nil),
        (" ERROR", Reply::Error("UNBLOCKED client unblocked via CLIENT UNBLOCK".into())),
    ] {
        let mut wire = redis.wire();
        let id = id(&mut wire);
        wire.begin(line);
        wire.begin("PING");
        let blocked = || {
            let clients = redis.run("CLIENT LIST").text();
            clients.lines().any(|client| client.starts_with(&format!("id={id} ")) && client.contains(" flags=b"))
        };
        eventually("it waits", blocked);
        assert_eq!(redis.run(&format!("CLIENT UNBLOCK {id}{how}")), Reply::Int(1), "{line}{how}");
        assert_eq!(wire.receive(), expected, "{line}{how}");
        assert_eq!(wire.receive(), Reply::Simple("PONG".into()), "{line}{how}");
        assert_eq!(redis.run(&format!("CLIENT UNBLOCK {id}{how}")), Reply::Int(0), "{line}{how}: it waits no more");
        assert_eq!(wire.run("PING"), Reply::Simple("PONG".into()), "{line}{how}");
    }
}

#[test]
fn a_miss_ends_and_its_fetch_goes_on_for_others() {
    let (database, redis) = start();
    let mut gate = database.close_gate();
    let mut other = redis.wire();
    other.begin("BEAR.QUERY bear size 100 200");
    gate.wait(1);
    unblock(&redis, "BEAR.QUERY bear size 100 200");
    unblock(&redis, "BEAR.MQUERY bear 3 size 100 200 1 nothing");
    eventually("one waits", || redis.info("bear").int("bear_clients_waiting") == 1);
    assert_eq!(redis.info("bear").int("bear_fills_running"), 1);
    gate.open();
    assert_eq!(other.receive().text(), bears::json(&[1, 2, 4, 5, 6]));
    redis.wait_stored();
    assert!(!redis.run("BEAR.QUERY bear CACHED size 100 200").is_nil());
    assert_eq!(selects(&database), 1);
    assert_eq!(redis.info("clients").int("blocked_clients"), 0);
}

#[test]
fn a_miss_that_nobody_waits_for_any_more_is_stored() {
    let (database, redis) = start();
    let mut gate = database.close_gate();
    let mut alone = redis.wire();
    let id = id(&mut alone);
    alone.begin("BEAR.QUERY bear size 300 400");
    gate.wait(1);
    assert_eq!(redis.run(&format!("CLIENT UNBLOCK {id}")), Reply::Int(1));
    assert_eq!(alone.receive(), Reply::Nil);
    // One that hangs up is let go, too.
    redis.wire().begin("BEAR.QUERY bear size 300 400");
    eventually("nobody waits", || redis.info("bear").int("bear_clients_waiting") == 0);
    gate.open();
    redis.wait_stored();
    assert_eq!(redis.run("BEAR.QUERY bear CACHED size 300 400").text(), bears::json(&[3]));
}

#[test]
fn block_ends_and_the_job_is_applied() {
    let database = bears::database();
    let redis = Redis::builder().postgres(&database).config("bear.drain", "no").start();
    unblock(&redis, r#"BEAR.ENQUEUE bear UPDATE_BEAR_NAME {"id":5,"name":"Kodiak"} BLOCK 0"#);
    unblock(&redis, r#"BEAR.ENQUEUE bear UPDATE_BEAR_NAME {"id":5,"name":"Kodiak"} BLOCK 60000"#);
    eventually("nobody waits", || redis.info("bear").int("bear_clients_waiting_for_jobs") == 0);
    let mut wire = redis.wire();
    set_drain(&mut wire, "yes");
    wait_settled(&mut wire, "bear");
    assert_eq!(stat(&mut wire, "bear", "completed"), 6);
}

#[test]
fn changed_verify_and_reload_end_and_what_they_began_goes_on() {
    let (database, redis) = start();
    let mut wire = redis.wire();
    wire.run("BEAR.QUERY bear size 100 200");
    redis.wait_stored();
    // Nobody may read the tables meanwhile.
    let mut holder = database.client();
    let mut transaction = holder.transaction().expect("a transaction");
    transaction.execute("LOCK TABLE bear IN ACCESS EXCLUSIVE MODE", &[]).expect("the lock");
    unblock(&redis, "BEAR.INVALIDATE bear CHANGED 5");
    unblock(&redis, "BEAR.VERIFY bear");
    unblock_reload(&redis);
    transaction.rollback().expect("the end");
    eventually("the row's result is gone", || redis.run("BEAR.QUERY bear CACHED size 100 200").is_nil());
    eventually("nobody waits", || redis.info("clients").int("blocked_clients") == 0);
    eventually("another may reload", || redis.run("BEAR.RELOAD").is_ok());
    assert!(!redis.run("BEAR.VERIFY bear").is_error());
}

/// One at a time: each is under way until Postgres has answered.
#[track_caller]
fn unblock_reload(redis: &Redis) {
    let mut wire = redis.wire();
    let id = id(&mut wire);
    wire.begin("BEAR.RELOAD");
    redis.wait_blocked(1);
    assert_eq!(redis.run(&format!("CLIENT UNBLOCK {id}")), Reply::Int(1));
    assert_eq!(wire.receive(), Reply::Nil);
    assert_eq!(wire.run("PING"), Reply::Simple("PONG".into()));
}

fn enqueue_large(wire: &mut Wire, options: &str) {
    let data = format!(r#"{{"id":5,"name":"{}"}}"#, "x".repeat(100_000));
    let words = ["BEAR.ENQUEUE", "bear", "UPDATE_BEAR_NAME", &data];
    wire.send(&words.into_iter().chain(options.split_ascii_whitespace()).collect::<Vec<_>>());
}

/// Who is told nil instead of an id finds no job later; who has hung up, or waits for its end, has sent one.
#[test]
fn a_large_job_that_its_client_is_let_go_from_is_not_enqueued() {
    let database = bears::database();
    for (how, options, jobs) in [
        ("UNBLOCK", "", 0),
        ("UNBLOCK ERROR", "", 0),
        ("KILL", "", 1),
        ("UNBLOCK", "BLOCK 0", 1),
        ("UNBLOCK ERROR", "BLOCK 60000", 1),
        ("KILL", "BLOCK 0", 1),
    ] {
        let held = tempfile::tempdir().expect("a folder");
        let file = held.path().join("held");
        let failpoint = format!("check-payload:1:{}", file.display());
        let builder = Redis::builder().postgres(&database).config("bear.drain", "no");
        let redis = builder.env("BEAR_FAILPOINT", failpoint).start();
        let mut wire = redis.wire();
        let client = id(&mut wire);
        enqueue_large(&mut wire, options);
        eventually("its payload is being checked", || file.exists());
        if how == "KILL" {
            assert_eq!(redis.run(&format!("CLIENT KILL ID {client}")), Reply::Int(1));
            assert!(wire.is_closed());
        } else {
            let how = how.trim_start_matches("UNBLOCK");
            assert_eq!(redis.run(&format!("CLIENT UNBLOCK {client}{how}")), Reply::Int(1));
            let reply = wire.receive();
            assert!(reply.is_nil() || reply.error().starts_with("UNBLOCKED "), "{reply:?}");
        }
        if jobs == 0 {
            // Let go before its payload is checked: else there is nothing to see.
            redis.wait_blocked(0);
        }
        std::fs::remove_file(&file).expect("it goes on");
        // The next is checked after it.
        let mut next = redis.wire();
        enqueue_large(&mut next, "");
        crate::support::jobs::id_of(&next.receive());
        redis.wait_blocked(0);
        assert_eq!(redis.run("XLEN bear:queue"), Reply::Int(jobs + 1), "{how} {options}");
        assert_eq!(redis.info("bear").int("bear_clients_waiting_for_jobs"), 0, "{how} {options}");
    }
}

#[test]
fn unblocking_in_the_moment_of_the_answer_leaves_nobody_without_a_reply() {
    let database = bears::database();
    let redis = Redis::with(&database);
    let mut wires: Vec<Wire> = (0..20).map(|_| redis.wire()).collect();
    let ids: Vec<i64> = wires.iter_mut().map(id).collect();
    let mut other = redis.wire();
    for round in 0..30 {
        for wire in &mut wires {
            wire.begin(&format!("BEAR.QUERY bear size {} 200", -round));
        }
        for id in &ids {
            other.begin(&format!("CLIENT UNBLOCK {id}"));
        }
        for _ in &ids {
            other.receive();
        }
        for wire in &mut wires {
            assert!(!wire.receive().is_error());
            assert_eq!(wire.run("PING"), Reply::Simple("PONG".into()));
        }
    }
    eventually("nobody waits", || redis.info("bear").int("bear_clients_waiting") == 0);
}
