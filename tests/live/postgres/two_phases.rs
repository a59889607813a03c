//! Transactions in two phases that write what is watched: what they change is dropped at COMMIT PREPARED, and not before.

use crate::support::feed::{is_cached, wait_told};
use crate::support::postgres::Postgres;
use crate::support::{bears, eventually, Redis};

const CALL: &str = "bear size 90 90";

fn warm(redis: &Redis) {
    eventually("it is cached", || {
        redis.run("BEAR.QUERY bear size 90 90").text();
        redis.wait_stored();
        is_cached(&mut redis.wire(), CALL)
    });
}

#[test]
fn what_was_prepared_is_told_by_the_wal_when_it_is_committed() {
    prepare_and_end("wal");
}

#[test]
fn what_was_prepared_is_told_by_the_outbox_when_it_is_committed() {
    prepare_and_end("outbox");
}

fn prepare_and_end(kind: &str) {
    let postgres = Postgres::start_with_settings(&["max_prepared_transactions=10"]);
    let database = bears::database_in(&postgres);
    let redis = Redis::builder().postgres(&database).config("bear.feed", kind).prompt_feed().start();
    wait_told(&redis);
    for (end, shown) in [("ROLLBACK PREPARED", "Paddington"), ("COMMIT PREPARED", "twice")] {
        warm(&redis);
        database.run("BEGIN; UPDATE bear SET name = 'twice' WHERE id = 8; PREPARE TRANSACTION 'two'");
        wait_told(&redis);
        assert!(is_cached(&mut redis.wire(), CALL), "it is not committed");
        database.run(&format!("{end} 'two'"));
        wait_told(&redis);
        let reply = redis.run("BEAR.QUERY bear size 90 90").text();
        assert!(reply.contains(shown), "{end}: {reply}");
    }
}

#[test]
fn one_that_was_prepared_before_the_wal_was_followed_is_told_as_well() {
    // The slot waits for it.
    prepare_and_follow("wal", "in progress");
}

#[test]
fn one_that_was_prepared_before_there_was_an_outbox_is_told_as_well() {
    // It has locked the table that is to get triggers.
    prepare_and_follow("outbox", "locked");
}

fn prepare_and_follow(kind: &str, words: &str) {
    let postgres = Postgres::start_with_settings(&["max_prepared_transactions=10"]);
    let database = bears::database_in(&postgres);
    database.run("BEGIN; UPDATE bear SET name = 'before' WHERE id = 8; PREPARE TRANSACTION 'two'");
    let redis = Redis::builder().postgres(&database).config("bear.feed", kind).start();
    eventually("it says what it waits for", || {
        redis.info("bear").get("bear_feed_last_error").is_some_and(|error| error.contains(words))
    });
    let reply = redis.run("BEAR.QUERY bear size 90 90").text();
    assert!(reply.contains("Paddington"), "{reply}");
    redis.wait_stored();
    database.run("COMMIT PREPARED 'two'");
    wait_told(&redis);
    let reply = redis.run("BEAR.QUERY bear size 90 90").text();
    assert!(reply.contains("before"), "{reply}");
}
