//! What newer versions do about slots: the feed's is temporary, so that it is never idle, is not carried over to a standby, and waits for
//! none.

use crate::support::feed::wait_told;
use crate::support::postgres::SUPERUSER;
use crate::support::{bears, eventually, Postgres, Redis};

/// Says that the test is passed over where the server is older.
fn is_older(postgres: &Postgres, version: i32) -> bool {
    let is_older = postgres.version() < version;
    if is_older {
        println!("passed over: Postgres {} is older than {version}", postgres.version());
    }
    is_older
}

fn number(postgres: &Postgres, sql: &str) -> i64 {
    postgres.client(SUPERUSER).query_one(sql, &[]).unwrap_or_else(|error| panic!("{sql}: {error}")).get(0)
}

#[test]
fn a_slot_that_is_followed_is_not_ended_for_being_idle() {
    if is_older(Postgres::shared(), 18) {
        return;
    }
    let postgres = Postgres::start_with_settings(&["idle_replication_slot_timeout=1s"]);
    let database = bears::database_in(&postgres);
    let redis = Redis::builder().postgres(&database).config("bear.feed", "wal").start();
    wait_told(&redis);
    postgres.run("SELECT pg_create_logical_replication_slot('idle', 'test_decoding')");
    eventually("a slot that nobody reads is ended", || {
        postgres.run("CHECKPOINT");
        number(&postgres, "SELECT count(*) FROM pg_replication_slots WHERE invalidation_reason = 'idle_timeout'") == 1
    });
    assert_eq!(
        number(&postgres, "SELECT count(*) FROM pg_replication_slots WHERE slot_name LIKE 'bear_%' AND active"),
        1
    );
    redis.run("BEAR.QUERY bear size 90 90").text();
    redis.wait_stored();
    database.run("UPDATE bear SET name = 'idle' WHERE id = 8");
    wait_told(&redis);
    assert!(redis.run("BEAR.QUERY bear size 90 90").text().contains("idle"));
    assert_eq!(redis.info("bear").int("bear_feed_connects"), 1);
}

#[test]
fn beside_failover_slots_the_feed_waits_for_no_standby_and_begins_anew_after_a_promotion() {
    if is_older(Postgres::shared(), 17) {
        return;
    }
    let primary = Postgres::start_logical();
    let database = bears::database_in(&primary);
    primary.run("SELECT pg_create_physical_replication_slot('standby')");
    let standby = primary.standby_set(&["hot_standby_feedback=on", "primary_slot_name=standby"]);
    standby.wait_in_sync(&primary);
    let url =
        format!("postgres://{SUPERUSER}@127.0.0.1:{},127.0.0.1:{}/{}", primary.port(), standby.port(), database.name());
    let redis = Redis::builder().env("BEAR_POSTGRES_URL", url).config("bear.feed", "wal").start();
    wait_told(&redis);
    primary.run("SELECT pg_create_logical_replication_slot('theirs', 'test_decoding', false, false, true)");
    eventually("their slot is at the standby", || {
        // Where it stands behind what the standby keeps it is not carried over for good, and it goes on by what a checkpoint logs.
        primary.run("CHECKPOINT");
        primary.run("SELECT pg_replication_slot_advance('theirs', pg_current_wal_lsn())");
        standby.wait_in_sync(&primary);
        standby.run("SELECT pg_sync_replication_slots()");
        number(&standby, "SELECT count(*) FROM pg_replication_slots WHERE synced AND NOT temporary") == 1
    });
    assert_eq!(number(&standby, "SELECT count(*) FROM pg_replication_slots WHERE slot_name LIKE 'bear_%'"), 0);
    // Who reads a failover slot is told nothing before this standby has it.
    primary.run("ALTER SYSTEM SET synchronized_standby_slots = 'standby'");
    primary.run("SELECT pg_reload_conf()");
    standby.stop_fast();
    redis.run("BEAR.QUERY bear size 90 90").text();
    redis.wait_stored();
    database.run("UPDATE bear SET name = 'alone' WHERE id = 8");
    wait_told(&redis);
    assert!(redis.run("BEAR.QUERY bear size 90 90").text().contains("alone"));
    standby.start_again();
    standby.wait_in_sync(&primary);
    primary.kill9();
    standby.promote();
    let promoted = database.in_cluster(&standby);
    eventually("queries go on", || !redis.run("BEAR.QUERY bear FRESH size 90 90").is_error());
    wait_told(&redis);
    redis.run("BEAR.QUERY bear size 90 90").text();
    redis.wait_stored();
    promoted.run("UPDATE bear SET name = 'promoted' WHERE id = 8");
    wait_told(&redis);
    assert!(redis.run("BEAR.QUERY bear size 90 90").text().contains("promoted"));
    assert_eq!(number(&standby, "SELECT count(*) FROM pg_replication_slots WHERE slot_name = 'theirs'"), 1);
}
