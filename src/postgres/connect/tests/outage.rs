//! Postgres goes away and comes back, as another server or not.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::core::cache::fetch::FetchError;
use crate::postgres::tests::server::send_signal;
use crate::postgres::tests::server::Server;
use crate::postgres::tests::{eventually, plan, request, Tried};
use crate::postgres::PoolEvent;

fn changes(tried: &Tried) -> Vec<bool> {
    let changed = |event| match event {
        PoolEvent::Connected { changed, .. } => Some(changed),
        _ => None,
    };
    tried.events().into_iter().filter_map(changed).collect()
}

#[test]
fn fails_fast_while_postgres_is_away_and_recovers_within_a_second() {
    for prepare in [true, false] {
        let server = Server::new();
        let tried = Tried::new(&server, |settings| settings.prepare = prepare);
        let plan = Arc::new(plan("SELECT 1 AS x", &[]));
        let fetch = || tried.pool.fetch(&request(&plan, &[]));
        let before = fetch();
        assert!(before.1.is_ok(), "{before:?}");
        server.stop("INT");
        // Seen at the first fetch, which finds its connection gone and cannot make another.
        for _ in 0..3 {
            let started = Instant::now();
            let error = fetch().1.unwrap_err();
            assert!(started.elapsed() < Duration::from_millis(300), "{:?}", started.elapsed());
            let text = error.to_string();
            assert!(
                matches!(error, FetchError::Unavailable { .. })
                    && text.contains("cannot connect")
                    && text.contains(&format!("127.0.0.1:{}", server.port)),
                "{text}"
            );
        }
        assert_eq!(tried.pool.figures().up, Some(false));
        assert!(tried.events().iter().any(|event| matches!(event, PoolEvent::Down { .. })));
        server.start();
        // Noticed with no request at all.
        let took = eventually("the return of Postgres", || tried.pool.figures().up == Some(true));
        assert!(took < Duration::from_secs(1), "{took:?}");
        let after = fetch();
        assert!(after.1.is_ok() && after.0 > before.0, "{after:?}");
        let changes = changes(&tried);
        assert_eq!((changes[0], changes.iter().filter(|changed| **changed).count()), (false, 1), "{changes:?}");
    }
}

#[test]
fn a_restart_while_idle_costs_no_error_and_is_told_as_a_change() {
    let server = Server::new();
    let tried = Tried::new(&server, |_| ());
    assert!(tried.fetch(plan("SELECT 1 AS x", &[]), &[]).is_ok());
    server.stop("QUIT");
    server.start();
    // A second connection may have been under way in the background, and have seen the outage.
    eventually("the end of the outage", || tried.pool.figures().up == Some(true));
    let result = tried.fetch(plan("SELECT 1 AS x", &[]), &[]);
    assert!(result.is_ok(), "{result:?}");
    assert!(changes(&tried).contains(&true));
}

#[test]
fn a_crash_of_a_backend_is_told_as_a_change() {
    let server = Server::new();
    let tried = Tried::new(&server, |_| ());
    assert!(tried.fetch(plan("SELECT 1 AS x", &[]), &[]).is_ok());
    let pid: i32 = server
        .client()
        .query_one("SELECT pid FROM pg_stat_activity WHERE application_name = 'bear' LIMIT 1", &[])
        .unwrap()
        .get(0);
    send_signal(pid.unsigned_abs(), "KILL");
    eventually("a fetch after the crash", || {
        let mut request = request(&Arc::new(plan("SELECT 1 AS x", &[])), &[]);
        request.deadline = Instant::now() + Duration::from_secs(5);
        tried.pool.fetch(&request).1.is_ok() && changes(&tried).contains(&true)
    });
}

#[test]
fn a_terminated_connection_costs_no_error_and_is_no_change() {
    let server = Server::new();
    let tried = Tried::new(&server, |_| ());
    assert!(tried.fetch(plan("SELECT 1 AS x", &[]), &[]).is_ok());
    for _ in 0..5 {
        server.run(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'bear' AND state = 'idle'",
        );
        assert!(tried.fetch(plan("SELECT 1 AS x", &[]), &[]).inspect_err(|error| panic!("{error}")).is_ok());
    }
    // While it runs, too.
    let killer = std::thread::spawn({
        let url = server.socket_url();
        move || {
            let mut client = ::postgres::Client::connect(&url, ::postgres::NoTls).unwrap();
            eventually("the query", || {
                client.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(0.7)%' AND state = 'active' AND pid <> pg_backend_pid()", &[]).unwrap().len() == 1
            });
        }
    });
    assert!(tried.fetch(plan("SELECT pg_sleep(0.7)::text AS x", &[]), &[]).is_ok());
    killer.join().unwrap();
    assert!(!changes(&tried).contains(&true));
}

#[test]
fn why_it_cannot_connect_is_told_without_a_secret() {
    let server = Server::new();
    server.run("CREATE ROLE guarded LOGIN PASSWORD 'right'; CREATE ROLE plain LOGIN");
    server.put("pg_hba.conf", b"local all all trust\nhost all guarded all scram-sha-256\nhost all all all trust\n");
    server.run("SELECT pg_reload_conf()");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    std::fs::write(&file, "wrong-hunter2\n").unwrap();
    let tried = Tried::new(&server, |settings| {
        settings.url = format!("host=127.0.0.1 port={} user=guarded dbname=postgres", server.port);
        settings.password_file = Some(file.clone());
    });
    let error = tried.fetch(plan("SELECT 1 AS x", &[]), &[]).unwrap_err().to_string();
    assert!(error.contains("password authentication failed") && !error.contains("hunter2"), "{error}");
    // Rotation: the next attempt reads the file again.
    std::fs::write(&file, "right\n").unwrap();
    eventually("the connection with the right password", || tried.pool.figures().up == Some(true));
    assert!(tried.fetch(plan("SELECT 1 AS x", &[]), &[]).is_ok());
    // A role without any privilege may do all that is needed.
    let plain = Tried::new(&server, |settings| settings.url = settings.url.replace("bear@", "plain@"));
    assert!(plain.fetch(plan("SELECT 1 AS x", &[]), &[]).is_ok());
    let missing = Tried::new(&server, |settings| settings.url = settings.url.replace("/postgres", "/nowhere"));
    let error = missing.fetch(plan("SELECT 1 AS x", &[]), &[]).unwrap_err().to_string();
    assert!(error.contains("\"nowhere\" does not exist"), "{error}");
}

#[test]
fn a_role_that_reads_only_is_enough_for_queries() {
    let server = Server::new();
    server.run("ALTER ROLE bear SET default_transaction_read_only = on");
    for prepare in [true, false] {
        let tried = Tried::new(&server, |settings| settings.prepare = prepare);
        assert_eq!(tried.json("SELECT 1 AS x"), "[{\"x\":1}]");
    }
}
