//! Postgres, or what is between, keeps its connections and says nothing more.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::core::cache::fetch::FetchError;
use crate::core::catalog::fetch_plan::FetchPlan;
use crate::postgres::tests::proxy::Proxy;
use crate::postgres::tests::server::send_signal;
use crate::postgres::tests::server::Server;
use crate::postgres::tests::{eventually, plan, request, Tried};
use crate::postgres::{StatementKind, ValidateStatement, Validation};

/// What a fetch may take beyond its deadline, and a little for a busy machine.
const LATE: Duration = Duration::from_millis(500 + 250);

fn behind(proxy: &Proxy, server: &Server, prepare: bool) -> Tried {
    Tried::new(server, |settings| {
        settings.url = format!("postgres://bear@127.0.0.1:{}/postgres", proxy.port());
        settings.prepare = prepare;
    })
}

/// Ends with a timeout in time, and gives its session up.
fn times_out(tried: &Tried, plan: FetchPlan, limit: Duration, meanwhile: impl FnOnce()) {
    let mut request = request(&Arc::new(plan), &[]);
    request.deadline = Instant::now() + limit;
    let (ended, at) = std::thread::scope(|scope| {
        let fetch = scope.spawn(|| (tried.pool.fetch(&request).1, Instant::now()));
        meanwhile();
        fetch.join().unwrap()
    });
    assert!(matches!(ended, Err(FetchError::Timeout { .. })), "{ended:?}");
    assert!(at < request.deadline + LATE, "{:?} late", at - request.deadline);
    assert_eq!(tried.pool.figures().in_use, 0, "{:?}", tried.pool.figures());
}

#[test]
fn a_fetch_whose_connection_falls_silent_ends_by_its_deadline() {
    let server = Server::shared();
    for prepare in [true, false] {
        let proxy = Proxy::to(server.port);
        let tried = behind(&proxy, &server, prepare);
        assert_eq!(tried.json("SELECT 1 AS x"), r#"[{"x":1}]"#);
        let slow = plan(&format!("SELECT pg_sleep(30)::text AS silent_{prepare}"), &[]);
        times_out(&tried, slow, Duration::from_millis(1500), || {
            let running = format!(
                "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%silent_{prepare}%' AND pid <> pg_backend_pid()"
            );
            let mut client = server.client();
            eventually("the query", || client.query_one(&running, &[]).unwrap().get::<_, i64>(0) > 0);
            proxy.stall();
        });
        proxy.resume();
        eventually("a fetch once the network is back", || tried.fetch(plan("SELECT 1 AS x", &[]), &[]).is_ok());
    }
}

#[test]
fn a_session_that_fell_silent_while_idle_costs_one_deadline() {
    let server = Server::shared();
    for prepare in [true, false] {
        let proxy = Proxy::to(server.port);
        let tried = behind(&proxy, &server, prepare);
        assert_eq!(tried.json("SELECT 1 AS x"), r#"[{"x":1}]"#);
        proxy.stall();
        // The first thing that is sent: SET, or BEGIN with the question who is there.
        times_out(&tried, plan("SELECT 1 AS x", &[]), Duration::from_millis(300), || ());
        times_out(&tried, plan("SELECT 1 AS x", &[]), Duration::from_millis(300), || ());
    }
}

#[test]
fn a_stopped_backend_is_cancelled_and_given_up() {
    let server = Server::new();
    let tried = Tried::new(&server, |_| ());
    assert_eq!(tried.json("SELECT 1 AS x"), r#"[{"x":1}]"#);
    let mut pid = 0;
    times_out(&tried, plan("SELECT pg_sleep(30)::text AS stopped", &[]), Duration::from_millis(1500), || {
        let mut client = server.client();
        let running = "SELECT pid FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%AS stopped%' AND pid <> pg_backend_pid()";
        eventually("the query", || match client.query_opt(running, &[]).unwrap() {
            Some(row) => {
                pid = row.get::<_, i32>(0).unsigned_abs();
                true
            }
            None => false,
        });
        send_signal(pid, "STOP");
    });
    // The server is well but for the one.
    assert_eq!(tried.json("SELECT 1 AS x"), r#"[{"x":1}]"#);
    send_signal(pid, "CONT");
    let gone = format!("SELECT count(*) FROM pg_stat_activity WHERE pid = {pid}");
    eventually("the end of the query", || server.client().query_one(&gone, &[]).unwrap().get::<_, i64>(0) == 0);
}

#[test]
fn connecting_to_silence_ends_and_is_told() {
    let server = Server::shared();
    let proxy = Proxy::to(server.port);
    proxy.stall();
    let tried = Tried::new(&server, |settings| {
        settings.url = format!("postgres://bear@127.0.0.1:{}/postgres?connect_timeout=1", proxy.port());
    });
    times_out(&tried, plan("SELECT 1 AS x", &[]), Duration::from_millis(200), || ());
    eventually("the end of the attempt", || tried.pool.figures().up == Some(false));
    let error = tried.fetch(plan("SELECT 1 AS x", &[]), &[]).unwrap_err().to_string();
    assert!(error.contains("no answer within 1000 ms"), "{error}");
    proxy.resume();
    eventually("the connection", || tried.pool.figures().up == Some(true));
}

#[test]
fn a_validation_ends_by_its_deadline() {
    let server = Server::shared();
    let proxy = Proxy::to(server.port);
    let tried = behind(&proxy, &server, true);
    assert_eq!(tried.json("SELECT 1 AS x"), r#"[{"x":1}]"#);
    proxy.stall();
    let deadline = Instant::now() + Duration::from_millis(300);
    let statement = ValidateStatement {
        what: "one".to_owned(),
        sql: "SELECT 1".to_owned(),
        params: vec![],
        kind: StatementKind::Other,
    };
    let validation = Validation {
        ticket: 1,
        statements: vec![statement],
        mapped_tables: vec![],
        sections: Arc::new([]),
        file: None,
        has_feed: true,
        deadline,
    };
    let ended = tried.pool.validate(&validation);
    assert!(matches!(ended, Err(FetchError::Timeout { .. })), "{ended:?}");
    assert!(Instant::now() < deadline + LATE);
}
