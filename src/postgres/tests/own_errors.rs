//! Errors of a query whose class is that of an outage, and queries that end their connection: theirs, and nobody else's.

use super::*;

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

#[test]
fn a_query_that_was_ended_by_others_is_no_suspect_once_it_has_run() {
    let server = Server::new();
    let tried = Tried::new(&server, |_| ());
    let slow = Arc::new(plan("SELECT pg_sleep(0.3)::text AS x", &[]));
    for _ in 0..4 {
        let end = std::thread::spawn({
            let url = server.socket_url();
            move || {
                let mut client = ::postgres::Client::connect(&url, ::postgres::NoTls).unwrap();
                eventually("the query", || {
                    let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(0.3)%' AND state = 'active' AND pid <> pg_backend_pid()";
                    client.query(sql, &[]).unwrap().len() == 1
                });
            }
        });
        let result = tried.pool.fetch(&request(&slow, &[])).1;
        assert!(result.is_ok(), "{result:?}");
        end.join().unwrap();
    }
}

#[test]
fn a_query_whose_sessions_are_ended_all_at_once_is_no_suspect() {
    let server = Server::new();
    let tried = Tried::new(&server, |_| ());
    let slow = Arc::new(plan("SELECT pg_sleep(1.5)::text AS x", &[]));
    std::thread::scope(|scope| {
        let fetches: Vec<_> = (0..3).map(|_| scope.spawn(|| tried.pool.fetch(&request(&slow, &[])).1)).collect();
        let running =
            "FROM pg_stat_activity WHERE query LIKE '%pg_sleep(1.5)%' AND state = 'active' AND pid <> pg_backend_pid()";
        let mut client = ::postgres::Client::connect(&server.socket_url(), ::postgres::NoTls).unwrap();
        eventually("the queries", || client.query(&format!("SELECT {running}"), &[]).unwrap().len() == 3);
        let ended = client.query(&format!("SELECT pg_terminate_backend(pid) {running}"), &[]).unwrap();
        assert_eq!(ended.len(), 3);
        for fetch in fetches {
            let result = fetch.join().unwrap();
            assert!(result.is_ok(), "{result:?}");
        }
    });
}
