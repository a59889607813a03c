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
        sections: Arc::new([]),
        file: None,
        has_feed: true,
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

#[test]
fn a_stop_answers_everything_that_waits_at_once() {
    let server = Server::shared();
    let (workers, wakes) = start(server.url());
    let slow = Arc::new(plan("SELECT pg_sleep(2)::text AS stopped", &[]));
    for ticket in 0..50 {
        workers.submit(Request::Fetch(FetchRequest { ticket, ..request(&slow, &[]) }));
    }
    let validation = |ticket| {
        Request::Validate(Validation {
            ticket,
            statements: vec![],
            mapped_tables: vec![],
            sections: Arc::new([]),
            file: None,
            has_feed: true,
            deadline: Instant::now() + Duration::from_secs(5),
        })
    };
    // By Postgres: one that is taken and has no connection yet is refused like those that wait.
    let under_way = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%AS stopped%' AND pid <> pg_backend_pid()";
    let mut client = server.client();
    eventually("three fetches under way", || client.query_one(under_way, &[]).unwrap().get::<_, i64>(0) == 3);
    assert_eq!(workers.queued(), 47);
    let before = wakes.load(Ordering::Relaxed);
    let stopped = Instant::now();
    workers.stop();
    workers.submit(Request::Fetch(FetchRequest { ticket: 50, ..request(&slow, &[]) }));
    workers.submit(validation(51));
    let stopping = |error: &FetchError| error.to_string().contains("bear is stopping (127.0.0.1:");
    let mut refused = Vec::new();
    while refused.len() < 49 {
        match next(&workers) {
            Outcome::Fetched { ticket, connection: 0, result: Err(error) } if stopping(&error) => refused.push(ticket),
            Outcome::Validated { ticket, report: Err(error) } if stopping(&error) => refused.push(ticket),
            Outcome::Fetched { ticket, result, .. } => panic!("{ticket} {result:?}"),
            _ => {}
        }
    }
    assert!(stopped.elapsed() < Duration::from_millis(700), "{:?}", stopped.elapsed());
    assert!(wakes.load(Ordering::Relaxed) >= before + 49);
    refused.sort_unstable();
    assert_eq!(refused, (3..=51).collect::<Vec<_>>());
    // Those under way end on their own.
    assert!(fetched(&workers, 3).iter().enumerate().all(|(i, (ticket, ..))| *ticket == i as u64));
    end(&workers);
    // Nothing twice.
    let more = |outcome| matches!(outcome, Outcome::Fetched { .. } | Outcome::Validated { .. });
    assert!(!workers.results().try_iter().any(more));
}

#[test]
fn a_validation_that_waits_is_answered_by_a_stop() {
    let (workers, _) = start("postgres://nobody@127.0.0.1:1/nowhere".to_owned());
    // The only thread for it is busy until the stop.
    let (go, wait) = crossbeam_channel::bounded::<()>(0);
    struct Busy(crossbeam_channel::Receiver<()>);
    impl Drop for Busy {
        fn drop(&mut self) {
            let _ = self.0.recv();
        }
    }
    workers.dispose(Box::new(Busy(wait)));
    let deadline = Instant::now() + Duration::from_secs(5);
    workers.submit(Request::Validate(Validation {
        ticket: 8,
        statements: vec![],
        mapped_tables: vec![],
        sections: Arc::new([]),
        file: None,
        has_feed: true,
        deadline,
    }));
    workers.stop();
    assert!(!workers.is_stopped());
    drop(go);
    let ended = loop {
        if let Outcome::Validated { ticket: 8, report } = next(&workers) {
            break report;
        }
    };
    assert!(ended.unwrap_err().to_string().contains("bear is stopping"));
    end(&workers);
}

#[test]
fn new_settings_bring_no_new_threads() {
    let (workers, _) = start("postgres://nobody@127.0.0.1:1/nowhere".to_owned());
    for i in 0..20 {
        workers.reconfigure(Settings::new(format!("postgres://nobody@127.0.0.1:1/nowhere{i}"), UrlSource::Config));
    }
    eventually("the threads", || workers.connecting.alive() == 2);
    #[cfg(target_os = "linux")]
    for task in std::fs::read_dir("/proc/self/task").unwrap().flatten() {
        let name = std::fs::read_to_string(task.path().join("comm")).unwrap_or_default();
        assert!(!name.starts_with("r2d2"), "{name}");
    }
    workers.stop();
    let took = eventually("the end of the workers", || workers.is_stopped());
    assert!(took < Duration::from_secs(1), "{took:?}");
    assert_eq!(workers.connecting.alive(), 0);
}

#[test]
fn an_attempt_to_connect_is_waited_for_and_ends() {
    use std::io::Read;
    // Takes connections and says nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let (workers, _) = start(format!("postgres://nobody@127.0.0.1:{port}/nowhere?connect_timeout=1&sslmode=disable"));
    let (mut connection, _) = silent.accept().unwrap();
    let stopped = Instant::now();
    workers.submit(Request::Fetch(request(&Arc::new(plan("SELECT 1 AS x", &[])), &[])));
    workers.stop();
    assert!(!workers.is_stopped());
    // The fetch does not wait for the attempt.
    assert!(fetched(&workers, 1)[0].2.as_ref().unwrap_err().to_string().contains("bear is stopping"));
    assert!(stopped.elapsed() < Duration::from_millis(700), "{:?}", stopped.elapsed());
    eventually("the end of the workers", || workers.is_stopped());
    assert!(stopped.elapsed() < Duration::from_secs(2), "{:?}", stopped.elapsed());
    // Closed by then.
    connection.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
    let mut greeting = Vec::new();
    assert!(connection.read_to_end(&mut greeting).is_ok());
}
