//! A real PgBouncer between the module and Postgres: which settings work in which mode, what is said where one does not, and that its
//! restarts and pauses lose no job and do none twice.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::support::marked::{self, assert_applied_once, assert_each_once, enqueue_many, wait_drained};
use crate::support::server::Builder;
use crate::support::{eventually, feed, stays, Database, PgBouncer, Postgres, Redis, StopAtEnd};

const QUERY: &str = "BEAR.QUERY bear size 90 90";
const PADDINGTON: &str = r#"[{"id":8,"name":"Paddington","size":90,"colors":[]}]"#;

/// Jobs and queries go through the pooler, and the feed past it.
fn builder(bouncer: &PgBouncer, database: &Database, prepare: &str) -> Builder {
    Redis::builder()
        .env("BEAR_POSTGRES_URL", bouncer.url(database))
        .config("bear.feed-url", database.url())
        .config("bear.prepare", prepare)
        .catalog(marked::catalog())
        .append_only()
}

/// What a query is answered until it says so.
#[track_caller]
fn wait_refused(redis: &Redis, words: &str) {
    eventually(words, || {
        let reply = redis.run("BEAR.QUERY bear FRESH size 90 90");
        reply.is_error() && reply.error().contains(words)
    });
}

/// Until the field of INFO holds the words.
#[track_caller]
fn wait_said(redis: &Redis, field: &str, words: &str) {
    eventually(words, || redis.info("bear").get(field).is_some_and(|error| error.contains(words)));
}

#[test]
fn queries_jobs_and_the_feed_work_through_it() {
    for (mode, prepare) in [("session", "yes"), ("session", "no"), ("transaction", "no")] {
        let postgres = Postgres::shared_logical();
        let database = marked::database_in(postgres);
        let bouncer = PgBouncer::before(postgres, mode, "default_pool_size = 20");
        let redis = builder(&bouncer, &database, prepare).config("bear.feed", "wal").start();
        feed::wait_told(&redis);
        assert_eq!(redis.run(QUERY).text(), PADDINGTON, "{mode}, {prepare}");
        redis.wait_stored();
        assert!(feed::is_cached(&mut redis.wire(), "bear size 90 90"), "{mode}, {prepare}");
        let marks = enqueue_many(&redis, "job", 40);
        wait_drained(&redis);
        assert_applied_once(&database, &marks);
        // What others write comes by the feed.
        database.run("UPDATE bear SET name = 'Pad' WHERE id = 8");
        feed::wait_told(&redis);
        assert!(!feed::is_cached(&mut redis.wire(), "bear size 90 90"), "{mode}, {prepare}");
        let stats = redis.info("bear");
        assert_eq!(stats.int("bear_postgres_changes"), 0, "{mode}, {prepare}");
    }
}

#[test]
fn statements_that_should_stay_prepared_are_refused_where_transactions_are_pooled() {
    let mut settings = vec![""];
    if PgBouncer::version() >= (1, 21) {
        // It keeps track of prepared statements, and of no setting.
        settings.extend(["max_prepared_statements = 0", "max_prepared_statements = 100"]);
    }
    for more in settings {
        let postgres = Postgres::shared_logical();
        let database = marked::database_in(postgres);
        let bouncer = PgBouncer::before(postgres, "transaction", more);
        let redis = builder(&bouncer, &database, "yes").start();
        wait_refused(&redis, "bear.prepare no");
        let marks = enqueue_many(&redis, "job", 8);
        wait_said(&redis, "bear_appliers_last_error", "bear.prepare no");
        assert_each_once::<&str>(&database, &[]);
        // Nothing was set in sessions that others get next.
        let mut other = ::postgres::Client::connect(&bouncer.url(&database), ::postgres::NoTls).expect("a connection");
        other.batch_execute("CREATE TABLE others (id int)").expect("others may write");
        assert!(redis.run("CONFIG SET bear.prepare no").is_ok());
        eventually("queries are answered", || !redis.run(QUERY).is_error());
        wait_drained(&redis);
        assert_applied_once(&database, &marks);
    }
}

#[test]
fn a_feed_through_it_is_told_to_go_past() {
    let postgres = Postgres::shared_logical();
    for kind in ["wal", "outbox"] {
        let database = marked::database_in(postgres);
        let bouncer = PgBouncer::before(postgres, "transaction", "");
        let redis = builder(&bouncer, &database, "no").config("bear.feed-url", "").config("bear.feed", kind).start();
        wait_said(&redis, "bear_feed_last_error", "bear.feed-url");
        assert_eq!(redis.run(QUERY).text(), PADDINGTON, "queries are answered");
        assert!(redis.run(&format!("CONFIG SET bear.feed-url {}", database.url())).is_ok());
        feed::wait_told(&redis);
    }
}

#[test]
fn where_statements_are_pooled_it_is_said_that_transactions_are_needed() {
    let postgres = Postgres::shared();
    let database = marked::database_in(postgres);
    let bouncer = PgBouncer::before(postgres, "statement", "");
    for (prepare, words) in [("yes", "bear.prepare no"), ("no", "pool_mode = transaction")] {
        let redis = builder(&bouncer, &database, prepare).config("bear.feed", "off").start();
        wait_refused(&redis, words);
        enqueue_many(&redis, prepare, 2);
        wait_said(&redis, "bear_appliers_last_error", words);
    }
    assert_each_once::<&str>(&database, &[]);
}

/// The operator changes the mode of a pooler that runs, and others use it as well.
#[test]
fn a_pooler_that_begins_to_pool_transactions_is_noticed_and_fails_no_job() {
    let postgres = Postgres::shared_logical();
    let database = marked::database_in(postgres);
    // Where it keeps track of prepared statements none is missing.
    let untracked = if PgBouncer::version() >= (1, 21) { "max_prepared_statements = 0" } else { "" };
    let bouncer = PgBouncer::before(postgres, "session", untracked);
    let redis = builder(&bouncer, &database, "yes").start();
    let mut marks = enqueue_many(&redis, "before", 40);
    assert!(!redis.run("BEAR.QUERY bear all").is_error());
    wait_drained(&redis);
    bouncer.run("SET pool_mode = transaction");
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let stop = StopAtEnd(&over);
        for _ in 0..4 {
            scope.spawn(|| {
                let url = bouncer.url(&database);
                let mut other = ::postgres::Client::connect(&url, ::postgres::NoTls).expect("a connection");
                while !over.load(Ordering::Relaxed) {
                    other.batch_execute("SELECT pg_sleep(0.001)").expect("it works for others");
                }
            });
        }
        wait_refused(&redis, "bear.prepare no");
        marks.extend(enqueue_many(&redis, "at", 40));
        assert!(redis.run("CONFIG SET bear.prepare no").is_ok());
        wait_drained(&redis);
        drop(stop);
    });
    assert_eq!(marked::stat(&redis, "failed").int(), 0);
    assert_each_once(&database, &marks);
}

#[test]
fn restarts_reloads_and_pauses_lose_no_job_and_do_none_twice() {
    for (mode, prepare) in [("session", "yes"), ("transaction", "no")] {
        let postgres = Postgres::shared_logical();
        let database = marked::database_in(postgres);
        let mut bouncer = PgBouncer::before(postgres, mode, "");
        let redis = builder(&bouncer, &database, prepare).start();
        let over = AtomicBool::new(false);
        let mut marks = std::thread::scope(|scope| {
            let load = scope.spawn(|| {
                let mut marks = Vec::new();
                while !over.load(Ordering::Relaxed) {
                    marks.extend(enqueue_many(&redis, &format!("load{}_", marks.len()), 20));
                    let _ = redis.run("BEAR.QUERY bear FRESH all");
                }
                marks
            });
            let stop = StopAtEnd(&over);
            for command in ["PAUSE", "RELOAD", "restart", "PAUSE", "restart"] {
                let applied = marked::applied(&database).len();
                eventually("jobs are applied", || marked::applied(&database).len() > applied + 20);
                match command {
                    "restart" => bouncer.restart(),
                    // It would wait for sessions to end, which ours do not.
                    "PAUSE" if mode == "session" => {
                        bouncer.run(&format!("KILL {}", database.name()));
                        bouncer.run(&format!("RESUME {}", database.name()));
                    }
                    "PAUSE" => {
                        bouncer.run("PAUSE");
                        let applied = marked::applied(&database).len();
                        stays("nothing is applied", Duration::from_millis(300), || {
                            marked::applied(&database).len() == applied
                        });
                        bouncer.run("RESUME");
                    }
                    command => bouncer.run(command),
                }
            }
            drop(stop);
            load.join().expect("the load")
        });
        marks.extend(enqueue_many(&redis, "after", 8));
        wait_drained(&redis);
        assert_eq!(marked::stat(&redis, "failed").int(), 0);
        assert_applied_once(&database, &marks);
    }
}
