//! Errors of a query whose class is that of an outage, and queries that end their connection: theirs, and nobody else's.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::core::cache::fetch::FetchError;
use crate::core::catalog::fetch_plan::FetchPlan;
use crate::postgres::tests::server::Server;
use crate::postgres::tests::{eventually, plan, request, Tried};
use crate::postgres::PoolEvent;

const CLASSES: [&str; 14] = [
    "08001", "08006", "53100", "53200", "53300", "53400", "57P01", "57P02", "57P03", "57P05", "58030", "F0000",
    "25006", "25P03",
];

fn raising(code: &str) -> String {
    format!("SELECT raise_{code}() AS x")
}

fn make_functions(server: &Server) {
    for code in CLASSES {
        server.run(&format!(
            "CREATE OR REPLACE FUNCTION raise_{code}() RETURNS int LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'own' USING ERRCODE = '{code}'; END $$"
        ));
    }
}

#[test]
fn an_error_of_the_statement_is_its_own_whatever_its_class() {
    let server = Server::new();
    make_functions(&server);
    for prepare in [true, false] {
        let tried = Tried::new(&server, |settings| settings.prepare = prepare);
        assert_eq!(tried.json("SELECT 1 AS x"), r#"[{"x":1}]"#);
        for code in CLASSES {
            let plan = Arc::new(plan(&raising(code), &[]));
            for _ in 0..3 {
                let error = tried.pool.fetch(&request(&plan, &[])).1.unwrap_err();
                assert!(
                    matches!(&error, FetchError::Statement { sqlstate, message } if sqlstate == code && message == "own"),
                    "{code}: {error:?}"
                );
            }
        }
        assert!(!tried.events().iter().any(|event| matches!(event, PoolEvent::Down { .. })));
        // What is idle is made in the background; no error made one.
        assert!(tried.pool.figures().connects <= 3, "{:?}", tried.pool.figures());
        assert_eq!(tried.json("SELECT 2 AS x"), r#"[{"x":2}]"#);
    }
}

#[test]
fn a_query_that_says_itself_that_time_is_up_is_told_at_once() {
    let server = Server::new();
    server.run(
        "CREATE FUNCTION give_up() RETURNS int LANGUAGE plpgsql \
             AS $$ BEGIN RAISE EXCEPTION 'own' USING ERRCODE = '57014'; END $$; \
         CREATE FUNCTION hurry() RETURNS int LANGUAGE plpgsql SET lock_timeout = '20ms' \
             AS $$ BEGIN PERFORM pg_advisory_xact_lock_shared(7); RETURN 1; END $$",
    );
    let mut locker = server.client();
    locker.batch_execute("SELECT pg_advisory_lock(7)").unwrap();
    for prepare in [true, false] {
        let tried = Tried::new(&server, |settings| settings.prepare = prepare);
        for (sql, code) in [("SELECT give_up() AS x", "57014"), ("SELECT hurry() AS x", "55P03")] {
            let error = tried.fetch(plan(sql, &[]), &[]).unwrap_err();
            assert!(matches!(&error, FetchError::Statement { sqlstate, .. } if sqlstate == code), "{error:?}");
        }
        assert_eq!(tried.json("SELECT 2 AS x"), r#"[{"x":2}]"#);
        // A wait that meets our own limits: the deadline's, then that of every wait for a lock.
        let waiting = Arc::new(plan(WAITING, &[]));
        let mut hasty = request(&waiting, &[]);
        hasty.deadline = Instant::now() + Duration::from_millis(300);
        let error = tried.pool.fetch(&hasty).1.unwrap_err();
        assert!(matches!(&error, FetchError::Timeout { .. }), "{error:?}");
        let tried = Tried::new(&server, |settings| {
            settings.prepare = prepare;
            settings.query_timeout_ms = 300;
        });
        let error = tried.pool.fetch(&request(&waiting, &[])).1.unwrap_err();
        assert!(matches!(&error, FetchError::Timeout { timeout_ms: 300 }), "{error:?}");
    }
}

#[test]
fn a_query_that_ends_its_connection_fails_alone_and_costs_few() {
    let server = Server::new();
    for prepare in [true, false] {
        let tried = Tried::new(&server, |settings| settings.prepare = prepare);
        assert!(tried.fetch(plan("SELECT 1 AS x", &[]), &[]).is_ok());
        let killer = Arc::new(plan("SELECT pg_terminate_backend(pg_backend_pid()) AS x", &[]));
        let before = tried.pool.figures().connects;
        for _ in 0..10 {
            let error = tried.pool.fetch(&request(&killer, &[])).1.unwrap_err();
            assert!(
                matches!(&error, FetchError::Statement { sqlstate, message } if sqlstate == "08006" && message.contains("57P01")),
                "{error:?}"
            );
        }
        let made = tried.pool.figures().connects - before;
        // Twice where it is first seen, and once each time after that; one more is idle.
        assert!(made <= 13, "{made}");
        assert!(!tried.events().iter().any(|event| matches!(event, PoolEvent::Down { .. })));
        assert_eq!(tried.json("SELECT 2 AS x"), r#"[{"x":2}]"#);
    }
}

/// A query that waits for whoever has locked this.
const WAITING: &str = "SELECT pg_advisory_xact_lock_shared(7)::text AS x";

/// Fetches `count` times at once, ends each session that then waits, and lets go those that wait in their stead.
fn fetch_and_end_all(server: &Server, tried: &Tried, plan: &Arc<FetchPlan>, count: usize) {
    let mut client = server.client();
    client.batch_execute("SELECT pg_advisory_lock(7)").unwrap();
    std::thread::scope(|scope| {
        let fetches: Vec<_> = (0..count).map(|_| scope.spawn(|| tried.pool.fetch(&request(plan, &[])).1)).collect();
        // Dropped where an assertion fails: nobody waits on.
        let mut client = client;
        let mut waiting = || -> Vec<i32> {
            let rows = client.query("SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND NOT granted", &[]);
            rows.unwrap().iter().map(|row| row.get(0)).collect()
        };
        let mut ended = Vec::new();
        eventually("the queries", || {
            ended = waiting();
            ended.len() == count
        });
        for pid in &ended {
            server.run(&format!("SELECT pg_terminate_backend({pid})"));
        }
        eventually("the queries once more", || {
            let again = waiting();
            again.len() == count && !again.iter().any(|pid| ended.contains(pid))
        });
        drop(client);
        for fetch in fetches {
            let result = fetch.join().unwrap();
            assert!(result.is_ok(), "{result:?}");
        }
    });
}

#[test]
fn a_query_whose_wire_is_cut_each_time_meets_an_outage() {
    let server = Server::new();
    let proxy = crate::postgres::tests::proxy::Proxy::to(server.port);
    let tried = Tried::new(&server, |settings| {
        settings.url = settings.url.replace(&server.port.to_string(), &proxy.port().to_string());
    });
    let slow = Arc::new(plan("SELECT pg_sleep(5)::text AS x", &[]));
    let mut ended = Vec::new();
    // Often enough to be guilty, if it counted.
    for _ in 0..2 {
        let mut client = server.client();
        std::thread::scope(|scope| {
            let fetch = scope.spawn(|| tried.pool.fetch(&request(&slow, &[])).1);
            for _ in 0..2 {
                let running = "SELECT pid FROM pg_stat_activity \
                    WHERE query LIKE '%pg_sleep(5)%' AND state = 'active' AND pid <> pg_backend_pid()";
                let mut pid: Option<i32> = None;
                eventually("the query, or its end", || {
                    pid = client
                        .query(running, &[])
                        .unwrap()
                        .iter()
                        .map(|row| row.get(0))
                        .find(|pid| !ended.contains(pid));
                    pid.is_some() || fetch.is_finished()
                });
                // A cut may meet a connection that the pool was just making, too, which is an outage at once.
                if pid.is_none() {
                    break;
                }
                proxy.cut_once();
                // The backend has not noticed; the next one must not be taken for it.
                ended.extend(pid);
                client.query("SELECT pg_terminate_backend($1)", &[&pid]).unwrap();
            }
            let error = fetch.join().unwrap().unwrap_err();
            assert!(matches!(&error, FetchError::Unavailable { .. }), "{error:?}");
        });
    }
    // The last cut may have met what connects anew, and then nothing is tried for a while.
    let next = Arc::new(plan("SELECT 2 AS x", &[]));
    eventually("it goes on", || tried.pool.fetch(&request(&next, &[])).1.is_ok());
    assert_eq!(tried.json("SELECT 2 AS x"), r#"[{"x":2}]"#);
}

#[test]
fn a_query_that_was_ended_by_others_is_no_suspect_once_it_has_run() {
    let server = Server::new();
    let tried = Tried::new(&server, |_| ());
    let plan = Arc::new(plan(WAITING, &[]));
    for _ in 0..4 {
        fetch_and_end_all(&server, &tried, &plan, 1);
    }
}

#[test]
fn a_query_whose_sessions_are_ended_all_at_once_is_no_suspect() {
    let server = Server::new();
    let tried = Tried::new(&server, |_| ());
    fetch_and_end_all(&server, &tried, &Arc::new(plan(WAITING, &[])), 3);
}
