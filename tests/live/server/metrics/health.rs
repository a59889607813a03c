//! `/healthz`: 200, or 503 and what is wrong.

use std::time::Instant;

use super::listening;
use crate::support::claims;
use crate::support::http::{self, Answer};
use crate::support::jobs::{self, set_drain};
use crate::support::{bears, eventually, Postgres, Redis};

const CATALOG: &str = r#"
[bear]
id = "int"
tables = { bear = "id" }
[[bear.query]]
call = "all"
sql = "SELECT id FROM bear b ORDER BY id"
[bear.job.GROW]
data = { id = "int" }
sql = "UPDATE bear SET size = size + 1 FROM {jobs} job WHERE bear.id = job.id RETURNING job.n, bear.id"
[bear.job.MAIL]
data = { to = "text" }
claim = {}
"#;

fn health(port: u16) -> Answer {
    http::get(port, "/healthz")
}

#[track_caller]
fn assert_well(port: u16) {
    eventually("all is well", || health(port).status == 200);
    assert_eq!(health(port).body, "ok\n");
}

/// It is said that this is wrong, and nothing else.
#[track_caller]
fn wait_for_reason(port: u16, what: &str) -> String {
    eventually(what, || {
        let answer = health(port);
        answer.status == 503 && answer.body.lines().all(|line| line.starts_with(what))
    });
    health(port).body
}

#[test]
fn postgres_that_is_away_is_a_reason_until_it_is_back() {
    let postgres = Postgres::start();
    let database = bears::database_in(&postgres);
    let (builder, port) = listening(Redis::builder().postgres(&database).config("bear.feed", "off"));
    let redis = builder.start();
    assert_well(port);
    postgres.stop_fast();
    assert!(redis.run("BEAR.QUERY bear size 1 2").is_error());
    let text = wait_for_reason(port, "postgres: down: ");
    assert!(text.len() > "postgres: down: \n".len() && !text.contains("password"), "{text}");
    let samples = http::scrape(port);
    assert_eq!(samples.of("bear_postgres_state{state=\"down\"}"), 1.0);
    postgres.start_again();
    assert_well(port);
}

#[test]
fn a_feed_that_is_lost_is_a_reason() {
    let postgres = Postgres::shared_logical();
    let database = bears::database_in(postgres);
    let (builder, port) = listening(Redis::builder().postgres(&database).config("bear.feed", "wal"));
    let redis = builder.start();
    crate::support::feed::wait_told(&redis);
    assert_well(port);
    // It connects where nobody is.
    let nowhere = crate::support::process::free_port();
    let url = database.url_through(nowhere);
    let (url, _) = (url.replace(":bear@", "@"), ());
    assert!(redis.wire().call(&["CONFIG", "SET", "bear.feed-url", &url]).is_ok(), "{url}");
    wait_for_reason(port, "feed: ");
    assert!(redis.wire().call(&["CONFIG", "SET", "bear.feed", "off"]).is_ok());
    assert_well(port);
}

#[test]
fn a_ledger_that_is_lost_is_a_reason_until_somebody_decides() {
    let database = bears::database();
    let (builder, port) = listening(Redis::builder().postgres(&database).catalog(CATALOG).config("bear.feed", "off"));
    let redis = builder.start();
    let mut wire = redis.wire();
    jobs::complete(&mut wire, r#"bear GROW {"id":1}"#);
    assert_well(port);
    database.run("TRUNCATE bear.ledger");
    jobs::enqueue(&mut wire, r#"bear GROW {"id":1}"#);
    let text = wait_for_reason(port, "ledger: ");
    assert_eq!(text, "ledger: paused with LEDGER: bear\n");
    assert_eq!(http::scrape(port).of("bear_queues_without_ledger{section=\"bear\"}"), 1.0);
    assert!(!wire.run("BEAR.RESUME bear").is_error());
    assert_well(port);
}

#[test]
fn a_job_that_waits_too_long_is_a_reason_unless_somebody_wants_it_so() {
    let database = bears::database();
    let (builder, port) = listening(Redis::builder().postgres(&database).catalog(CATALOG).config("bear.feed", "off"));
    let redis = builder.start();
    let mut wire = redis.wire();
    claims::enqueue(&mut wire, r#"bear MAIL {"to":"a"}"#);
    assert_well(port);
    assert!(wire.run("CONFIG SET bear.health-queue-age-ms 50").is_ok());
    let text = wait_for_reason(port, "queue: the oldest job of bear has waited ");
    assert!(text.ends_with(" ms, more than 50 ms\n"), "{text}");
    // A pause is somebody's wish.
    assert!(!wire.run("BEAR.PAUSE bear").is_error());
    assert_well(port);
    assert_eq!(http::scrape(port).of("bear_queues_paused{section=\"bear\"}"), 1.0);
    assert!(!wire.run("BEAR.RESUME bear").is_error());
    wait_for_reason(port, "queue: ");
    assert!(wire.run("CONFIG SET bear.health-queue-age-ms 0").is_ok());
    assert_well(port);
    assert!(wire.run("CONFIG SET bear.health-queue-age-ms 50").is_ok());
    let held = claims::claim_one(&mut wire, "bear JOB MAIL WORKER w");
    assert_well(port);
    claims::ack(&mut wire, &held);
    // Nobody is to apply: so nobody is late.
    set_drain(&mut wire, "no");
    jobs::enqueue(&mut wire, r#"bear GROW {"id":1}"#);
    eventually("it is old", || http::scrape(port).of("bear_oldest_waiting_job_age_seconds{section=\"bear\"}") > 0.06);
    assert_well(port);
}

#[test]
fn a_thread_that_does_not_answer_is_a_reason() {
    let database = bears::database();
    let (builder, port) = listening(Redis::builder().postgres(&database).config("bear.feed", "off"));
    let redis = builder.start();
    assert_well(port);
    let mut sleeper = redis.wire();
    sleeper.begin("DEBUG SLEEP 4");
    // A scrape meanwhile is patient.
    let scraper = std::thread::spawn(move || http::get(port, "/metrics"));
    let begun = Instant::now();
    let mut answer = health(port);
    while answer.status == 200 && begun.elapsed().as_secs() < 3 {
        answer = health(port);
    }
    assert_eq!(answer.status, 503, "{answer:?}");
    assert!(answer.body.starts_with("redis: its thread did not answer"), "{answer:?}");
    assert!(begun.elapsed().as_secs() < 4, "it does not wait for the thread");
    assert!(sleeper.receive().is_ok());
    assert_eq!(scraper.join().expect("no panic").status, 200);
    assert_well(port);
}
