//! BEAR.JOB … BLOCK: whoever waits for a job that somebody else has enqueued is told what has become of it.

use std::time::Duration;

use crate::support::jobs::{enqueue, set_drain, state};
use crate::support::{bears, claims, Redis, Reply, Wire};

/// Bears, whose jobs are SQL, and mail, which workers send.
fn catalog() -> String {
    let mail = "[mail.job.SEND]\ndata = { to = \"text\" }\nclaim = { lease = \"30s\", attempts = 1 }\n";
    format!("{}\n{mail}", include_str!("../../../catalogs/bear.toml"))
}

const SQL: &str = r#"bear UPDATE_BEAR_NAME {"id":5,"name":"Kodiak"}"#;
const WORK: &str = r#"mail SEND {"to":"ann"}"#;

/// Waits for a job by a connection of its own.
fn waiting(redis: &Redis, mut wire: Wire, words: &str) -> Wire {
    let before = redis.info("clients").int("blocked_clients");
    wire.begin(&format!("BEAR.JOB {words}"));
    redis.wait_blocked(before + 1);
    wire
}

#[test]
fn who_waits_is_told_what_becomes_of_a_job_of_either_kind() {
    let database = bears::database();
    let redis = Redis::builder().postgres(&database).catalog(catalog()).config("bear.drain", "no").start();
    let mut wire = redis.wire();
    let sql = enqueue(&mut wire, &format!("{SQL} UNIQUE k"));
    let delayed = enqueue(&mut wire, r#"bear UPDATE_BEAR_NAME {"id":6,"name":"Kodiak"} DELAY 300"#);
    let mail = enqueue(&mut wire, &format!("{WORK} UNIQUE k"));
    let failing = enqueue(&mut wire, WORK);
    let mut waiters: Vec<(&str, &str, &str, Wire)> = vec![
        ("bear", &sql, "completed", waiting(&redis, redis.wire(), &format!("bear {sql} BLOCK 60000"))),
        ("bear", &sql, "completed", waiting(&redis, redis.resp3_wire(), "bear UNIQUE k BLOCK 60000")),
        ("bear", &delayed, "completed", waiting(&redis, redis.wire(), &format!("bear {delayed} block 0"))),
        ("mail", &mail, "completed", waiting(&redis, redis.resp3_wire(), "mail UNIQUE k BLOCK 0")),
        ("mail", &failing, "failed", waiting(&redis, redis.wire(), &format!("mail {failing} BLOCK 0"))),
    ];
    let [first, second] = &claims::claim(&mut wire, "mail COUNT 2")[..] else { panic!("two jobs") };
    waiters.push(("mail", &mail, "completed", waiting(&redis, redis.wire(), &format!("mail {mail} BLOCK 60000"))));
    set_drain(&mut wire, "yes");
    claims::ack(&mut wire, first);
    assert_eq!(claims::tell(&mut wire, "FAIL", second, "why").text(), "failed");
    for (space, id, expected, mut waiter) in waiters {
        let told = waiter.receive().map();
        assert_eq!((&told["id"].text()[..], &told["state"].text()[..]), (id, expected));
        let asked = waiter.run(&format!("BEAR.JOB {space} {id}")).map();
        assert_eq!(told, asked, "the same as who asks afterwards");
        let again = waiter.run(&format!("BEAR.JOB {space} {id} BLOCK 60000")).map();
        assert_eq!(again, asked, "one that has settled is told at once");
    }
    redis.wait_blocked(0);
}

#[test]
fn what_is_not_waited_for_is_answered_at_once() {
    let redis = Redis::builder().catalog(catalog()).start();
    let mut wire = redis.wire();
    let id = enqueue(&mut wire, WORK);
    assert!(wire.run("BEAR.JOB mail 1-1 BLOCK 0").is_nil());
    assert!(wire.run("BEAR.JOB mail UNIQUE k BLOCK 0").is_nil());
    assert!(wire.run("MULTI").is_ok());
    wire.run(&format!("BEAR.JOB mail {id} BLOCK 0"));
    assert_eq!(wire.run("EXEC").list()[0].map()["state"].text(), "waiting");
    let script = format!("return redis.call('BEAR.JOB', 'mail', '{id}', 'BLOCK', '0')");
    assert_eq!(wire.call(&["EVAL", &script, "0"]).map()["state"].text(), "waiting");
    for words in ["BLOCK", "BLOCK x", "BLOCK -1", "BLOCK 1 2", "WAIT 1"] {
        assert!(wire.run(&format!("BEAR.JOB mail {id} {words}")).error().starts_with("ERR "), "{words}");
    }
    let replica = Redis::builder().catalog(catalog()).replica_of(&redis).start();
    replica.wait_in_sync(&redis);
    let mut of_replica = replica.wire();
    assert_eq!(state(&mut of_replica, "mail", &id), "waiting");
    assert!(of_replica.run(&format!("BEAR.JOB mail {id} BLOCK 0")).error().starts_with("READONLY "));
}

#[test]
fn whose_time_is_up_is_told_how_it_stands() {
    let redis = Redis::builder().catalog(catalog()).start();
    let mut wire = redis.wire();
    let id = enqueue(&mut wire, WORK);
    for expected in ["waiting", "active"] {
        let told = wire.run(&format!("BEAR.JOB mail {id} BLOCK 50")).map();
        assert_eq!(told["state"].text(), expected);
        claims::claim(&mut redis.wire(), "mail");
    }
    // Many at once: each is told.
    let mut crowd: Vec<Wire> = (0..40).map(|_| redis.wire()).collect();
    crowd.iter_mut().for_each(|wire| wire.begin(&format!("BEAR.JOB mail {id} BLOCK 100")));
    for mut one in crowd {
        assert_eq!(one.receive().map()["state"].text(), "active");
    }
    // Who hangs up takes nothing along.
    let leaving = waiting(&redis, redis.wire(), &format!("mail {id} BLOCK 0"));
    let mut staying = waiting(&redis, redis.wire(), &format!("mail {id} BLOCK 0"));
    drop(leaving);
    redis.wait_blocked(1);
    assert!(staying.silent_for(Duration::from_millis(100)));
    assert!(wire.run(&format!("BEAR.CANCEL mail {id}")).text() == "active");
    let token = wire.run(&format!("BEAR.JOB mail {id}")).map()["token"].int();
    assert_eq!(wire.run(&format!("BEAR.RELEASE mail {id} {token}")).text(), "failed");
    assert_eq!(staying.receive().map()["state"].text(), "failed");
}

#[test]
fn what_ends_the_waiting_is_told_as_who_enqueues_is_told() {
    let database = bears::database();
    let redis = Redis::builder().postgres(&database).catalog(catalog()).config("bear.drain", "no").start();
    let mut wire = redis.wire();
    for line in [SQL, WORK] {
        let space = &line[..4];
        let mut enqueuer = redis.wire();
        let told = |ends: &str, wire: &mut Wire, enqueuer: &mut Wire| -> (String, String) {
            enqueuer.begin(&format!("BEAR.ENQUEUE {line} UNIQUE k BLOCK 0"));
            redis.wait_blocked(1);
            let id = wire.run(&format!("BEAR.JOB {space} UNIQUE k")).map()["id"].text();
            let mut onlooker = waiting(&redis, redis.wire(), &format!("{space} {id} BLOCK 0"));
            wire.run(&ends.replace("ID", &id));
            (enqueuer.receive().error().to_owned(), onlooker.receive().error().to_owned())
        };
        for (ends, begin) in [
            (format!("BEAR.REMOVE {space} ID"), "ERR job "),
            ("FLUSHALL".to_owned(), "ERR the queue was flushed"),
            ("REPLICAOF 127.0.0.1 1".to_owned(), "UNBLOCKED "),
        ] {
            let (first, second) = told(&ends, &mut wire, &mut enqueuer);
            assert_eq!(first, second, "{ends}");
            assert!(first.starts_with(begin), "{ends}: {first}");
        }
        assert_eq!(wire.run("REPLICAOF NO ONE"), Reply::Simple("OK".into()));
    }
}
