//! MODULE LOAD and MODULE UNLOAD in a server that runs, and the end of the server: whatever clients do meanwhile.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::bears::{self, selects};
use crate::support::server::module_path;
use crate::support::wire::packed;
use crate::support::{eventually, Database, Postgres, Proxy, Redis, Reply, Wire};

const QUERY: &str = "BEAR.QUERY bear size 100 200";
const CACHED: &str = "BEAR.QUERY bear CACHED size 100 200";

fn load(wire: &mut Wire, args: &[&str]) -> Reply {
    let path = module_path().to_string_lossy().into_owned();
    wire.call(&[&["MODULE", "LOAD", &path], args].concat())
}

/// Runs a command and, in the same breath, a PING. Redis 8 compares a client's next command with its last one, which
/// MODULE UNLOAD has freed if it was ours (redis/redis#10259): so a connection that lives on must not end on one.
fn ask(wire: &mut Wire, line: &str) -> Reply {
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    wire.send_bytes(&[packed(&words), packed(&["PING"])].concat());
    let reply = wire.receive();
    assert_eq!(wire.receive().text(), "PONG");
    reply
}

fn is_loaded(redis: &Redis) -> bool {
    // Newer servers bring modules of their own.
    redis.run("MODULE LIST").list().iter().any(|module| module.map()["name"].text() == "bear")
}

/// The unload succeeds: a moment after the last client has been answered at the latest.
fn unload(redis: &Redis) {
    eventually("the module is unloaded", || {
        let reply = redis.run("MODULE UNLOAD bear");
        assert!(reply.is_ok() || reply.error().starts_with("ERR "), "{reply:?}");
        reply.is_ok()
    });
    assert!(!is_loaded(redis));
    assert_no_threads(redis);
    assert!(redis.run(QUERY).error().starts_with("ERR unknown command"));
}

#[track_caller]
fn assert_no_threads(redis: &Redis) {
    // A thread that has done its last act is listed until the system has taken it away.
    eventually("the module's threads have gone", || !redis.threads().iter().any(|name| name.starts_with("bear-")));
}

#[test]
fn a_load_into_a_dataset_with_keys_under_its_names_touches_none_of_them_until_they_are_adopted() {
    let database = bears::database();
    let url = database.url();
    let redis = Redis::builder().plain().append_only().env("BEAR_POSTGRES_URL", url).start();
    let mut wire = redis.wire();
    let forged = r#"[{"id":5,"name":"Forged","size":150,"colors":[]}]"#;
    for line in [
        &format!("SET bear:size:100:200 {forged} EX 1000"),
        &format!("SET bear:all {forged}"),
        "SADD bear:meta:5:caches bear:size:100:200 bear:all bear:size:1:2",
        "SADD bear:meta:77:caches bear:size:7:7",
        "SADD bear:tag:color:brown bear:all",
        "HSET color:all a b",
        // Not what the read path owns.
        "XADD bear:queue 1-1 job x",
        "SET bear:queue:id abc",
        "SET bear x",
        "SET bears:all x",
        "SET bear:nonsense x",
        "SET foreign x",
    ] {
        assert!(!wire.run(line).is_error(), "{line}");
    }
    let before = redis.keys();
    let replica = Redis::builder().plain().replica_of(&redis).start();
    replica.wait_in_sync(&redis);
    assert!(load(&mut wire, &[]).is_ok());
    for line in [QUERY, CACHED, "BEAR.QUERY bear CACHED all", "BEAR.QUERY color all"] {
        // At first it looks around, and answers without storing.
        eventually("it is refused", || ask(&mut wire, line).is_error());
        assert!(ask(&mut wire, line).error().starts_with("FOREIGN "), "{line}");
    }
    eventually("nothing has changed", || redis.keys() == before);
    replica.wait_in_sync(&redis);
    assert_eq!(replica.keys(), before);
    for section in ["bear", "color"] {
        assert!(ask(&mut wire, &format!("BEAR.ADOPT {section}")).is_ok());
    }
    // What is fetched before that is not stored.
    eventually("Postgres has seen the catalog", || redis.run("BEAR.CATALOG").map()["checked"].text() == "yes");
    assert_eq!(ask(&mut wire, CACHED), Reply::Nil);
    assert_eq!(ask(&mut wire, "BEAR.QUERY bear CACHED all"), Reply::Nil);
    assert_eq!(ask(&mut wire, QUERY).text(), bears::json(&[1, 2, 4, 5, 6]));
    assert_eq!(ask(&mut wire, "BEAR.QUERY color all").json()[0]["name"], "black");
    redis.wait_stored();
    assert_eq!(ask(&mut wire, CACHED).text(), bears::json(&[1, 2, 4, 5, 6]));
    assert_eq!(ask(&mut wire, "BEAR.INVALIDATE bear ROW 5"), Reply::Int(1));
    assert_eq!(ask(&mut wire, "BEAR.INVALIDATE color ALL"), Reply::Int(1));
    let left = ["bear", "bear:nonsense", "bear:queue", "bear:queue:id", "bears:all", "foreign"];
    eventually("what was under its names is swept, and nothing else", || redis.keys() == left);
    replica.wait_in_sync(&redis);
    assert_eq!(replica.keys(), left);
}

#[test]
fn a_load_says_why_it_is_refused_and_leaves_nothing() {
    let database = bears::database();
    let redis = Redis::builder().plain().env("BEAR_POSTGRES_URL", database.url()).start();
    let mut wire = redis.wire();
    for (args, reason) in [
        (&["fetch-thread", "7"][..], "fetch-threads"),
        (&["fetch-threads", "0"], "from 1 to 64"),
        (&["catalog", "/nowhere/catalog.toml"], "/nowhere/catalog.toml"),
    ] {
        assert!(load(&mut wire, args).is_error(), "{args:?}");
        assert!(redis.log().contains(reason), "{args:?}: {}", redis.log());
        assert!(!is_loaded(&redis));
        assert!(ask(&mut wire, QUERY).error().starts_with("ERR unknown command"), "{args:?}");
        assert_no_threads(&redis);
    }
    assert!(load(&mut wire, &["fetch-threads", "2"]).is_ok());
    assert_eq!(ask(&mut wire, "BEAR.QUERY bear size 90 90").text(), bears::json(&[8]));
    assert_eq!(redis.config("bear.fetch-threads"), "2");
    let threads = redis.threads();
    assert_eq!(threads.iter().filter(|name| name.starts_with("bear-fetch")).count(), 2, "{threads:?}");
    unload(&redis);
}

#[test]
fn what_is_loaded_again_is_cold() {
    let database = bears::database();
    let redis = Redis::with(&database);
    let mut wire = redis.wire();
    for round in 0..5 {
        assert!(!ask(&mut wire, QUERY).is_error());
        redis.wait_stored();
        unload(&redis);
        // Nobody can invalidate now.
        database.run(&format!("UPDATE bear SET name = 'Yogi {round}' WHERE id = 5"));
        assert!(load(&mut wire, &[]).is_ok());
        assert_eq!(ask(&mut wire, CACHED), Reply::Nil, "round {round}");
        assert!(ask(&mut wire, QUERY).text().contains(&format!("Yogi {round}")));
    }
    ask(&mut wire, "BEAR.INVALIDATE bear ALL");
    eventually("no key is left", || redis.keys().is_empty());
}

/// One client's share of the traffic, until it is over; how often it got data. Errors say that the module is not there.
fn traffic(redis: &Redis, number: u64, is_over: &AtomicBool, is_paused: &AtomicBool) -> u64 {
    let mut wire = redis.wire();
    let mut served = 0;
    let mut random = number * 7919 + 1;
    while !is_over.load(Ordering::SeqCst) {
        if is_paused.load(Ordering::SeqCst) {
            thread::yield_now();
            continue;
        }
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let low = random % 30;
        let line = match random / 64 % 6 {
            0 => format!("BEAR.INVALIDATE bear ROW {}", random / 1024 % 8 + 1),
            1 => "BEAR.INVALIDATE bear ALL".into(),
            2 => format!("BEAR.QUERY bear FRESH size {low} 200"),
            3 => format!("BEAR.QUERY bear CACHED size {low} 200"),
            _ => format!("BEAR.QUERY bear size {low} 200"),
        };
        match ask(&mut wire, &line) {
            Reply::Bulk(json) => {
                assert_eq!(String::from_utf8_lossy(&json), bears::json(&[1, 2, 4, 5, 6, 8]), "{line}");
                served += 1;
            }
            Reply::Int(_) | Reply::Nil => {}
            Reply::Error(text) => {
                let is_known = text.starts_with("ERR unknown command") || text.starts_with("ERR bear ");
                assert!(is_known, "{line}: {text}");
            }
            other => panic!("{line}: {other:?}"),
        }
    }
    served
}

#[test]
fn unloads_and_loads_under_traffic_break_nothing() {
    let database = bears::database();
    database.log_errors_only();
    let redis = Redis::builder().postgres(&database).append_only().start();
    let (is_over, is_paused) = (AtomicBool::new(false), AtomicBool::new(false));
    let run_id = redis.info("server").text("run_id").to_owned();
    thread::scope(|scope| {
        let clients: Vec<_> = (0..4)
            .map(|number| {
                let (redis, is_over, is_paused) = (&redis, &is_over, &is_paused);
                scope.spawn(move || traffic(redis, number, is_over, is_paused))
            })
            .collect();
        struct Over<'a>(&'a AtomicBool);
        impl Drop for Over<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::SeqCst);
            }
        }
        let over = Over(&is_over);
        let mut wire = redis.wire();
        let mut refusals = 0;
        for round in 0..12 {
            let begun = Instant::now();
            // With clients waiting it is refused, with a reason; between two of them it may succeed.
            let unloaded = (0..200).any(|_| match wire.run("MODULE UNLOAD bear") {
                Reply::Error(text) => {
                    assert!(text.starts_with("ERR ") && text.len() > "ERR ".len(), "{text}");
                    refusals += 1;
                    false
                }
                reply => reply.is_ok(),
            });
            if !unloaded {
                is_paused.store(true, Ordering::SeqCst);
                eventually("an idle module is unloaded", || wire.run("MODULE UNLOAD bear").is_ok());
                is_paused.store(false, Ordering::SeqCst);
            }
            assert!(load(&mut wire, &[]).is_ok(), "round {round}");
            eventually("it serves again", || !ask(&mut wire, QUERY).is_error());
            assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
        }
        assert!(refusals > 0, "no unload met a client that waits");
        drop(over);
        for client in clients {
            assert!(client.join().expect("known replies only") > 0);
        }
    });
    assert_eq!(redis.info("server").text("run_id"), run_id);
    redis.run("BEAR.INVALIDATE bear ALL");
    eventually("no key is left", || redis.keys().is_empty());
    unload(&redis);
}

#[test]
fn an_unload_while_postgres_is_away() {
    let postgres = Postgres::start();
    let database = bears::database_in(&postgres);
    let redis = Redis::with(&database);
    assert!(!redis.run(QUERY).is_error());
    postgres.stop_immediate();
    assert!(redis.run("BEAR.QUERY bear all").error().starts_with("POSTGRES "));
    let begun = Instant::now();
    unload(&redis);
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    let mut wire = redis.wire();
    assert!(load(&mut wire, &[]).is_ok());
    assert!(ask(&mut wire, "BEAR.QUERY bear all").error().starts_with("POSTGRES "));
    unload(&redis);
    assert!(load(&mut wire, &[]).is_ok());
    postgres.start_again();
    eventually("misses are fetched", || !ask(&mut wire, QUERY).is_error());
    unload(&redis);
}

#[test]
fn an_unload_with_clients_waiting_is_refused_and_they_are_answered() {
    let database = bears::database();
    let redis = gated(&database);
    let mut gate = database.close_gate();
    let mut clients = [redis.wire(), redis.wire(), redis.wire()];
    clients.iter_mut().for_each(|client| client.begin(QUERY));
    redis.wait_blocked(3);
    gate.wait(1);
    for _ in 0..5 {
        let reply = redis.run("MODULE UNLOAD bear");
        assert!(reply.error().contains("blocked"), "{reply:?}");
    }
    assert!(is_loaded(&redis));
    gate.open();
    for client in &mut clients {
        assert_eq!(client.receive().text(), bears::json(&[1, 2, 4, 5, 6]));
    }
    assert_eq!(redis.run("BEAR.QUERY bear colors white").text(), bears::json(&[3, 4]));
    assert_eq!(selects(&database), 2);
    unload(&redis);
}

fn gated(database: &Database) -> Redis {
    Redis::builder().postgres(database).catalog(bears::gated_catalog()).config("bear.query-timeout-ms", 60_000).start()
}

#[test]
fn a_shutdown_with_clients_waiting_ends_quickly() {
    let database = bears::database();
    let mut redis = gated(&database);
    let mut gate = database.close_gate();
    let mut clients: Vec<Wire> = (0..50).map(|_| redis.wire()).collect();
    for (index, client) in clients.iter_mut().enumerate() {
        client.begin(&format!("BEAR.QUERY bear size {index} 1000"));
    }
    redis.wait_blocked(50);
    gate.wait(4);
    let begun = Instant::now();
    redis.shutdown();
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(2), "{took:?}");
    for client in &mut clients {
        assert!(client.is_closed() || client.receive().is_error());
    }
    // Their sessions in Postgres end with the process.
    gate.open();
    eventually("no session is left", || database.sessions() == 0);
}

#[test]
fn a_shutdown_ends_quickly_while_postgres_says_nothing() {
    let database = bears::database();
    let proxy = Proxy::to(database.postgres().port());
    let mut redis = Redis::builder()
        .env("BEAR_POSTGRES_URL", database.url_through(proxy.port()))
        .config("bear.query-timeout-ms", 60_000)
        .start();
    assert!(!redis.run(QUERY).is_error());
    proxy.stall();
    let mut client = redis.wire();
    client.begin("BEAR.QUERY bear all");
    redis.wait_blocked(1);
    let begun = Instant::now();
    redis.shutdown();
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(2), "{took:?}");
}

#[test]
fn a_shutdown_in_the_middle_of_publications_ends_well() {
    let database = bears::database();
    database.run("INSERT INTO bear (id, name, size) SELECT i, 'x', 5000 FROM generate_series(10, 3009) i");
    let mut redis = Redis::builder().postgres(&database).append_only().start();
    let replica = Redis::builder().plain().replica_of(&redis).start();
    replica.wait_in_sync(&redis);
    let mut clients: Vec<Wire> = (0..8).map(|_| redis.wire()).collect();
    for (index, client) in clients.iter_mut().enumerate() {
        client.begin(&format!("BEAR.QUERY bear size {} 5000", 4000 + index));
    }
    let mut wire = redis.wire();
    eventually("some of it is written", || wire.run("DBSIZE").int() > 0);
    redis.shutdown();
    redis.start_again();
    eventually("what was begun is swept", || redis.keys().is_empty());
}

#[test]
fn an_unload_while_postgres_says_nothing() {
    let database = bears::database();
    let proxy = Proxy::to(database.postgres().port());
    let redis = Redis::builder()
        .env("BEAR_POSTGRES_URL", database.url_through(proxy.port()))
        .config("bear.query-timeout-ms", 300)
        .start();
    assert!(!redis.run(QUERY).is_error());
    proxy.stall();
    let reply = redis.run("BEAR.QUERY bear all");
    assert!(reply.error().starts_with("TIMEOUT ") || reply.error().starts_with("POSTGRES "), "{reply:?}");
    let mut wire = redis.wire();
    let mut longest = Duration::ZERO;
    eventually("the module is unloaded", || {
        let begun = Instant::now();
        let unloaded = wire.run("MODULE UNLOAD bear").is_ok();
        longest = longest.max(begun.elapsed());
        unloaded
    });
    assert!(longest < Duration::from_secs(1), "an unload held the server for {longest:?}");
    assert_no_threads(&redis);
    proxy.resume();
    assert!(load(&mut wire, &[]).is_ok());
    assert!(!wire.run(QUERY).is_error());
}
