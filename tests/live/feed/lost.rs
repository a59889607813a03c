//! A feed that has followed and is lost, with `bear.feed auto`: what it covered is not served as if there had been none.

use std::time::Duration;

use crate::support::{bears, eventually, Database, Postgres, Redis, Wire};

const GRACE_MS: u64 = 300;

pub fn state(redis: &Redis) -> String {
    redis.info("bear").text("bear_feed_state").to_owned()
}

/// Follows with `auto`, and has an entry.
fn following(database: &Database) -> (Redis, Wire) {
    let redis = Redis::builder().postgres(database).config("bear.feed-grace-ms", GRACE_MS).start();
    eventually("the feed follows", || state(&redis) == "following");
    let mut wire = redis.wire();
    store(&redis, &mut wire);
    (redis, wire)
}

fn store(redis: &Redis, wire: &mut Wire) {
    eventually("an entry is served", || {
        wire.run("BEAR.QUERY bear size 100 200");
        redis.wait_stored();
        is_cached(wire)
    });
}

fn is_cached(wire: &mut Wire) -> bool {
    !wire.run("BEAR.QUERY bear CACHED size 100 200").is_nil()
}

/// It is lost, said to be, counted, and nothing is served that it covered.
#[track_caller]
fn assert_lost(redis: &Redis, wire: &mut Wire, why: &str) {
    eventually("it is lost for that reason", || {
        redis.info("bear").get("bear_feed_last_error").is_some_and(|error| error.contains(why))
    });
    eventually("it is behind", || redis.info("bear").int("bear_feed_behind") == 1);
    eventually("it is lost", || state(redis) == "lost");
    wire.run("BEAR.QUERY bear size 100 200");
    redis.wait_stored();
    assert!(!is_cached(wire));
    assert!(redis.info("bear").int("bear_feed_losses") >= 1);
    let report = redis.run("BEAR.FEED").map();
    assert_eq!(report["state"].text(), "lost");
    assert!(report["losses"].int() >= 1 && report["withheld"].int() >= 1, "{report:?}");
    assert!(report["covered"].sorted_texts().contains(&"bear".to_owned()), "{report:?}");
}

fn end_walsender(database: &Database) {
    database.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'walsender'");
}

#[test]
fn a_wal_level_that_is_lost_withholds_what_was_followed() {
    let postgres = Postgres::start_logical();
    let database = bears::database_in(&postgres);
    let (redis, mut wire) = following(&database);
    postgres.restart_with("replica");
    assert_lost(&redis, &mut wire, "wal_level is replica");
    assert!(redis.log().contains("the change feed is lost, and Postgres does not allow it any more"));

    // Another catalog, or the same setting by another name, changes nothing.
    assert!(wire.run("BEAR.RELOAD").is_ok());
    assert_lost(&redis, &mut wire, "wal_level is replica");
    wire.run("CONFIG SET bear.feed wal");
    assert_lost(&redis, &mut wire, "wal_level is replica");
    wire.run("CONFIG SET bear.feed auto");
    assert_lost(&redis, &mut wire, "wal_level is replica");

    // Turned off, or found as it is by a new process, it was never there.
    database.run("UPDATE bear SET name = 'Boo-Boo' WHERE id = 5");
    wire.run("CONFIG SET bear.feed off");
    assert!(!is_cached(&mut wire), "what was withheld is served after all");
    store(&redis, &mut wire);
    wire.run("CONFIG SET bear.feed auto");
    eventually("it is not allowed", || state(&redis) == "not allowed");
    store(&redis, &mut wire);
    assert!(wire.run("BEAR.QUERY bear size 100 200").text().contains("Boo-Boo"));
    let mut redis = redis;
    redis.restart();
    eventually("it is not allowed", || state(&redis) == "not allowed");
    store(&redis, &mut redis.wire());

    postgres.restart_with("logical");
    eventually("it follows again", || {
        redis.wire().run("BEAR.QUERY bear size 100 200");
        state(&redis) == "following"
    });
}

#[test]
fn a_right_that_is_revoked_withholds_what_was_followed() {
    let postgres = Postgres::start_logical();
    let database = bears::database_in(&postgres);
    let role = database.role("secret");
    let url = format!("postgres://{role}:secret@127.0.0.1:{}/{}", postgres.port(), database.name());
    database.run(&format!("ALTER ROLE \"{role}\" REPLICATION SUPERUSER"));
    let redis = Redis::builder().env("BEAR_POSTGRES_URL", url).config("bear.feed-grace-ms", GRACE_MS).start();
    eventually("the feed follows", || state(&redis) == "following");
    let mut wire = redis.wire();
    store(&redis, &mut wire);
    database.run(&format!(
        "ALTER ROLE \"{role}\" NOREPLICATION NOSUPERUSER; GRANT ALL ON ALL TABLES IN SCHEMA public TO \"{role}\""
    ));
    end_walsender(&database);
    assert_lost(&redis, &mut wire, "");
    database.run(&format!("ALTER ROLE \"{role}\" REPLICATION SUPERUSER"));
    eventually("it follows again", || state(&redis) == "following");
    store(&redis, &mut wire);
}

#[test]
fn slots_that_are_all_in_use_withhold_what_was_followed() {
    let postgres = Postgres::start_logical();
    let database = bears::database_in(&postgres);
    let (redis, mut wire) = following(&database);
    database.run(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'walsender'; SELECT pg_sleep(0.05); \
         DO $$ BEGIN FOR n IN 1..100 LOOP PERFORM pg_create_physical_replication_slot('taken_' || n); END LOOP; \
         EXCEPTION WHEN configuration_limit_exceeded THEN NULL; END $$",
    );
    // The loop's slots are kept though it failed; one may have been faster.
    eventually("no slot is left", || {
        end_walsender(&database);
        let taken = database
            .client()
            .simple_query("SELECT pg_create_physical_replication_slot('taken_' || pg_current_xact_id()::text)");
        taken.is_err()
    });
    end_walsender(&database);
    assert_lost(&redis, &mut wire, "replication slots");
    database.run("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE NOT active");
    eventually("it follows again", || state(&redis) == "following");
    store(&redis, &mut wire);
}

#[test]
fn a_feed_that_never_followed_withholds_nothing() {
    let database = bears::database();
    let redis = Redis::builder().postgres(&database).config("bear.feed-grace-ms", GRACE_MS).start();
    eventually("it is known", || state(&redis) == "not allowed");
    let mut wire = redis.wire();
    store(&redis, &mut wire);
    std::thread::sleep(Duration::from_millis(2 * GRACE_MS));
    assert!(is_cached(&mut wire));
    assert_eq!(redis.info("bear").int("bear_feed_losses"), 0);
}

#[test]
fn what_is_altered_while_the_feed_is_away_is_derived_again() {
    let postgres = Postgres::start_logical();
    let database = bears::database_in(&postgres);
    database.run(
        "CREATE TABLE keeper (id int PRIMARY KEY, bear_id int, name text); CREATE TABLE guest (LIKE keeper INCLUDING ALL);
         CREATE VIEW known AS SELECT b.id, k.name FROM bear b JOIN keeper k ON k.bear_id = b.id",
    );
    let catalog = "[bear]\n[[bear.query]]\ncall = \"known\"\nsql = \"SELECT id, name FROM known\"\n";
    let redis = Redis::builder().postgres(&database).catalog(catalog).config("bear.feed-grace-ms", GRACE_MS).start();
    let has = |section: &str| redis.run("BEAR.CATALOG").map()["sections"].sorted_texts().contains(&section.to_owned());
    eventually("the feed follows", || state(&redis) == "following");
    eventually("the view's tables are known", || has("keeper"));
    database.run("ALTER SYSTEM SET max_wal_senders = 0");
    postgres.restart_with("logical");
    eventually("the feed is lost", || state(&redis) == "lost");
    database.run("CREATE OR REPLACE VIEW known AS SELECT b.id, g.name FROM bear b JOIN guest g ON g.bear_id = b.id");
    database.run("ALTER SYSTEM RESET max_wal_senders");
    postgres.restart_with("logical");
    eventually("it follows again", || state(&redis) == "following");
    eventually("the view's new tables are known", || has("guest") && !has("keeper"));
}
