//! Threads, channels and the wake-up, against a private Postgres.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::*;
use crate::postgres::tests::server::Server;
use crate::postgres::tests::{eventually, plan, request};
use crate::postgres::{UrlSource, Validation};

fn start(url: String) -> (Workers, Arc<AtomicUsize>) {
    let wakes = Arc::new(AtomicUsize::new(0));
    let counter = wakes.clone();
    let mut settings = Settings::new(url, UrlSource::Config);
    settings.query_timeout_ms = 10_000;
    let wake: Wake = Arc::new(move || {
        counter.fetch_add(1, Ordering::Relaxed);
    });
    (Workers::start(settings, 3, wake).unwrap(), wakes)
}

fn next(workers: &Workers) -> Outcome {
    workers.results().recv_timeout(Duration::from_secs(20)).unwrap()
}

/// Outcomes until `count` fetches have ended, by ticket.
fn fetched(workers: &Workers, count: usize) -> Vec<(u64, u64, Result<Fetched, FetchError>)> {
    let mut found = Vec::new();
    while found.len() < count {
        if let Outcome::Fetched { ticket, connection, result } = next(workers) {
            found.push((ticket, connection, result));
        }
    }
    found.sort_by_key(|(ticket, ..)| *ticket);
    found
}

fn end(workers: &Workers) {
    workers.stop();
    eventually("the end of the workers", || workers.is_stopped());
}

#[test]
fn answers_every_ticket_and_wakes_for_each_outcome() {
    let server = Server::shared();
    let (workers, wakes) = start(server.url());
    let plan = Arc::new(plan("SELECT 1 AS x", &[]));
    for ticket in 0..50 {
        workers.submit(Request::Fetch(FetchRequest { ticket, ..request(&plan, &[]) }));
    }
    let first = next(&workers);
    assert!(matches!(first, Outcome::Connected { connection: 1, changed: false, .. }), "{first:?}");
    let found = fetched(&workers, 50);
    assert!(found
        .iter()
        .enumerate()
        .all(|(i, (ticket, connection, result))| *ticket == i as u64 && *connection > 0 && result.is_ok()));
    eventually("the wake-ups", || wakes.load(Ordering::Relaxed) >= 51);
    workers.submit(Request::Validate(Validation {
        ticket: 7,
        statements: vec![],
        mapped_tables: vec![],
        deadline: Instant::now() + Duration::from_secs(5),
    }));
    loop {
        if let Outcome::Validated { ticket, report } = next(&workers) {
            assert_eq!((ticket, report.is_ok()), (7, true));
            break;
        }
    }
    end(&workers);
    assert!(workers.figures().is_none());
}

#[test]
fn a_panic_is_answered_and_the_thread_goes_on() {
    let panicked = guarded(|| -> () { panic!("on purpose") });
    assert!(matches!(panicked, Err(FetchError::Statement { sqlstate, .. }) if sqlstate == "XX000"));
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("on purpose");
        }
    }
    let (sender, receiver) = crossbeam_channel::bounded::<()>(0);
    let (workers, _) = start("postgres://nobody@127.0.0.1:1/nowhere".to_owned());
    workers.dispose(Box::new(Bomb));
    workers.dispose(Box::new(sender));
    assert_eq!(receiver.recv_timeout(Duration::from_secs(10)), Err(crossbeam_channel::RecvTimeoutError::Disconnected));
    end(&workers);
}

#[test]
fn new_settings_lead_to_another_server_which_is_a_change() {
    let (one, two) = (Server::shared(), Server::new());
    let (workers, _) = start(one.url());
    let plan = Arc::new(plan("SELECT inet_server_port() AS port", &[]));
    workers.submit(Request::Fetch(request(&plan, &[])));
    assert_eq!(fetched(&workers, 1)[0].2.as_ref().unwrap().json, format!("[{{\"port\":{}}}]", one.port).into_bytes());
    workers.reconfigure(Settings::new(two.url(), UrlSource::Config));
    workers.submit(Request::Fetch(request(&plan, &[])));
    let mut changed_at = None;
    let (connection, result) = loop {
        match next(&workers) {
            Outcome::Connected { connection, changed: true, .. } => changed_at = Some(connection),
            Outcome::Fetched { connection, result, .. } => break (connection, result),
            _ => {}
        }
    };
    assert!(changed_at.is_some_and(|at| at <= connection), "{changed_at:?} {connection}");
    assert_eq!(result.unwrap().json, format!("[{{\"port\":{}}}]", two.port).into_bytes());
    end(&workers);
}

#[test]
fn stops_while_postgres_is_away_and_while_a_query_runs() {
    let (away, _) = start("postgres://nobody@127.0.0.1:1/nowhere".to_owned());
    let plan_one = Arc::new(plan("SELECT 1 AS x", &[]));
    away.submit(Request::Fetch(request(&plan_one, &[])));
    assert!(matches!(fetched(&away, 1)[0].2, Err(FetchError::Unavailable { .. })));
    end(&away);

    let server = Server::shared();
    let (busy, _) = start(server.url());
    busy.submit(Request::Fetch(request(&Arc::new(plan("SELECT pg_sleep(1)::text AS x", &[])), &[])));
    let started = Instant::now();
    busy.stop();
    assert!(started.elapsed() < Duration::from_millis(100));
    eventually("the end of the workers", || busy.is_stopped());
}
