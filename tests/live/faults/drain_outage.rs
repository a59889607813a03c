//! Postgres away under load: jobs are accepted as before and wait, none counts an attempt, and all are applied when it is
//! back.
//!
//! `BEAR_TEST_OUTAGE_S` says how long it is away.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::marked::{self, add_bears, assert_applied_once, wait_drained_within, Job, FIRST_ADDED};
use crate::support::{eventually, Database, Postgres, Proxy, Redis, Reply, StopAtEnd};

const BEARS: i64 = 200;

fn outage() -> Duration {
    let seconds = std::env::var("BEAR_TEST_OUTAGE_S").map_or(3, |text| text.parse().expect("a number of seconds"));
    Duration::from_secs(seconds)
}

/// Jobs and their marks, in the order in which they were accepted.
fn load(redis: &Redis, stop: &AtomicBool) -> Vec<(String, String)> {
    let mut wire = redis.wire();
    let mut accepted = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let number = accepted.len() as i64;
        let mark = format!("job{number}");
        let id = FIRST_ADDED + number % BEARS;
        let job = if number % 3 == 0 { Job::Rename { id } } else { Job::Grow { id, by: 1 } };
        let begun = Instant::now();
        let reply = wire.call(&job.command(&mark));
        let took = begun.elapsed();
        assert!(took < Duration::from_secs(1), "to enqueue {mark} took {took:?}");
        accepted.push((reply.text(), mark));
        thread::sleep(Duration::from_millis(2));
    }
    accepted
}

/// While `away` has Postgres away, and until `back` has it back.
fn survive(database: &Database, redis: &Redis, away: impl FnOnce(), back: impl FnOnce()) {
    add_bears(database, BEARS);
    let stop = AtomicBool::new(false);
    let accepted = thread::scope(|scope| {
        let load = scope.spawn(|| load(redis, &stop));
        let end = StopAtEnd(&stop);
        eventually("jobs are applied", || marked::applied(database).len() > 20);
        away();
        let begun = Instant::now();
        eventually("jobs wait", || marked::stat(redis, "waiting").int() > 20);
        let mut wire = redis.wire();
        while begun.elapsed() < outage() {
            for state in ["waiting", "active", "delayed"] {
                for job in wire.run(&format!("BEAR.JOBS bear {state} COUNT 5")).list() {
                    let job = job.map();
                    assert_eq!(job["attempts"], Reply::Int(0), "an outage is no attempt: {job:?}");
                }
            }
            thread::sleep(Duration::from_millis(50));
        }
        back();
        let count = marked::applied(database).len();
        eventually("jobs are applied again", || marked::applied(database).len() > count);
        drop(end);
        load.join().expect("the load does not fail")
    });
    wait_drained_within(redis, Duration::from_secs(30) + outage());
    let (ids, marks): (Vec<String>, Vec<String>) = accepted.into_iter().unzip();
    assert_applied_once(database, &marks);
    assert_eq!(marked::stat(redis, "failed"), Reply::Int(0));
    let mut wire = redis.wire();
    for id in ids {
        // Old outcomes make room for new ones.
        let reply = wire.run(&format!("BEAR.JOB bear {id}"));
        if !reply.is_nil() {
            let job = reply.map();
            assert_eq!((job["state"].text().as_str(), job["attempts"].int()), ("completed", 1), "{job:?}");
        }
    }
}

fn redis(database: &Database, port: u16) -> Redis {
    Redis::builder()
        .env("BEAR_POSTGRES_URL", database.url_through(port))
        .catalog(marked::catalog())
        .append_only()
        .config("appendfsync", "everysec")
        .start()
}

#[test]
fn nothing_is_lost_while_postgres_is_stopped() {
    let postgres = Postgres::start();
    let database = marked::database_in(&postgres);
    database.log_errors_only();
    let redis = redis(&database, postgres.port());
    survive(&database, &redis, || postgres.stop_immediate(), || postgres.start_again());
}

#[test]
fn nothing_is_lost_while_connections_are_refused() {
    let database = marked::database();
    database.log_errors_only();
    let proxy = Proxy::to(database.postgres().port());
    let redis = redis(&database, proxy.port());
    survive(&database, &redis, || proxy.cut(), || proxy.resume());
}

#[test]
fn nothing_is_lost_while_the_network_is_silent() {
    let database = marked::database();
    database.log_errors_only();
    let proxy = Proxy::to(database.postgres().port());
    let redis = redis(&database, proxy.port());
    survive(&database, &redis, || proxy.stall(), || proxy.resume());
}
