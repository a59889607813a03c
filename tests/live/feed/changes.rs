//! The change feed: what others write in Postgres is fresh in the cache a moment later.

use std::time::Duration;

use crate::support::feed::{is_cached, wait_told};
use crate::support::jobs::complete;
use crate::support::{bears, eventually, Database, Postgres, Redis, Reply, Wire};

const SALON: &str = concat!(include_str!("../../../schema/salon.sql"), include_str!("../../../schema/salon-data.sql"));

fn database() -> Database {
    bears::database_in(Postgres::shared_logical())
}

/// A server whose feed follows.
fn following(database: &Database) -> Redis {
    let redis = Redis::builder().postgres(database).prompt_feed().start();
    wait_told(&redis);
    redis
}

#[test]
fn what_psql_changes_drops_what_it_concerns_and_nothing_else() {
    let database = database();
    let redis = following(&database);
    let mut wire = redis.wire();
    let calls =
        ["bear size 100 200", "bear size 300 400", "bear size 401 500", "bear colors brown", "bear colors white"];
    for (sql, dropped) in [
        ("UPDATE bear SET name = 'Boo-Boo' WHERE id = 5", vec!["bear size 100 200", "bear colors brown"]),
        (
            "UPDATE bear SET size = 350 WHERE id = 5",
            vec!["bear size 100 200", "bear size 300 400", "bear colors brown"],
        ),
        ("INSERT INTO bear(name, size) VALUES ('Newborn', 450)", vec!["bear size 401 500"]),
        (
            "INSERT INTO bear_colors SELECT 5, id FROM color WHERE name = 'white'",
            vec!["bear size 300 400", "bear colors brown", "bear colors white"],
        ),
        ("DELETE FROM bear WHERE id = 5", vec!["bear size 300 400", "bear colors brown", "bear colors white"]),
        // Nothing has happened.
        ("BEGIN; UPDATE bear SET size = 350; ROLLBACK", vec![]),
        ("BEGIN; SAVEPOINT a; UPDATE bear SET size = 450 WHERE id = 1; ROLLBACK TO a; UPDATE bear SET size = 350 WHERE id = 3; COMMIT",
            vec!["bear size 300 400", "bear colors white"]),
        ("TRUNCATE bear CASCADE", calls.to_vec()),
    ] {
        for call in calls {
            assert!(!wire.run(&format!("BEAR.QUERY {call}")).is_error());
        }
        redis.wait_stored();
        assert!(calls.iter().all(|call| is_cached(&mut wire, call)), "{sql}");
        database.run(sql);
        wait_told(&redis);
        let left: Vec<&str> = calls.into_iter().filter(|call| !dropped.contains(call)).collect();
        let cached: Vec<&str> = calls.into_iter().filter(|call| is_cached(&mut wire, call)).collect();
        assert_eq!(cached, left, "{sql}");
    }
}

#[test]
fn a_transaction_is_one_unit() {
    let database = database();
    let redis = following(&database);
    let mut wire = redis.wire();
    for call in ["size 1 99", "size 300 400"] {
        wire.run(&format!("BEAR.QUERY bear {call}"));
    }
    redis.wait_stored();
    // Bears 3 and 8 change places.
    database.run("BEGIN; UPDATE bear SET size = 320 WHERE id = 8; UPDATE bear SET size = 90 WHERE id = 3; COMMIT");
    eventually("both are gone", || {
        wire.run("MULTI");
        wire.run("BEAR.QUERY bear CACHED size 1 99");
        wire.run("BEAR.QUERY bear CACHED size 300 400");
        let Reply::Array(both) = wire.run("EXEC") else { panic!("EXEC") };
        assert_eq!(both[0].is_nil(), both[1].is_nil(), "one of them alone");
        both[0].is_nil()
    });
}

#[test]
fn a_tenants_change_reaches_that_tenant() {
    let database = Postgres::shared_logical().database(SALON);
    let redis = Redis::builder()
        .postgres(&database)
        .catalog(include_str!("../../../catalogs/salon.toml"))
        .prompt_feed()
        .start();
    wait_told(&redis);
    let mut wire = redis.wire();
    let salon = |number: u32| format!("{{5a100000-0000-4000-8000-{number:012}}}");
    let calls = [format!("{}:dashboard today", salon(1)), format!("{}:dashboard today", salon(2))];
    for call in &calls {
        wire.run(&format!("BEAR.QUERY {call}"));
    }
    redis.wait_stored();
    database.run("UPDATE booking SET status = 'DONE' WHERE id = 'b0000000-0000-4000-8000-000000000001'");
    wait_told(&redis);
    let cached: Vec<bool> = calls.iter().map(|call| is_cached(&mut wire, call)).collect();
    assert_eq!(cached, [false, true]);
}

#[test]
fn a_row_that_moves_to_another_tenant_leaves_the_first() {
    let database = Postgres::shared_logical().database(SALON);
    let redis = Redis::builder()
        .postgres(&database)
        .catalog(include_str!("../../../catalogs/salon.toml"))
        .prompt_feed()
        .start();
    wait_told(&redis);
    let mut wire = redis.wire();
    let salon = |number: u32| format!("{{5a100000-0000-4000-8000-{number:012}}}:booking");
    let booking = "b0000000-0000-4000-8000-000000000001";
    let calls = [format!("{} {booking}", salon(1)), format!("{} {booking}", salon(2))];
    let has = |wire: &mut Wire, call: &str| wire.run(&format!("BEAR.QUERY {call}")).text().contains(booking);
    assert!(has(&mut wire, &calls[0]) && !has(&mut wire, &calls[1]));
    redis.wait_stored();
    database
        .run(&format!("UPDATE booking SET salon_id = '5a100000-0000-4000-8000-000000000002' WHERE id = '{booking}'"));
    wait_told(&redis);
    assert!(!has(&mut wire, &calls[0]) && has(&mut wire, &calls[1]));
}

#[test]
fn a_row_that_moves_to_another_tenant_strikes_what_the_first_is_fetching() {
    const CATALOG: &str = r#"
        [sale]
        id = "int"
        tenant = "int"
        tenant_column = "shop"
        tables = { sale = "id" }
        [[sale.query]]
        call = "all"
        sql = "SELECT id FROM sale WHERE shop = {tenant} AND pg_sleep(1) IS NOT NULL"
    "#;
    let schema = "CREATE TABLE sale (id int PRIMARY KEY, shop int); INSERT INTO sale VALUES (5, 1)";
    let database = Postgres::shared_logical().database(schema);
    let redis = Redis::builder().postgres(&database).catalog(CATALOG).start();
    wait_told(&redis);
    let mut wire = redis.wire();
    std::thread::scope(|scope| {
        let fetching = scope.spawn(|| redis.wire().run("BEAR.QUERY {1}:sale all").text());
        eventually("it is fetched", || redis.info("bear").int("bear_fills_running") == 1);
        eventually("its snapshot is taken", || {
            let sql =
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'";
            database.client().query_one(sql, &[]).unwrap().get::<_, i64>(0) == 1
        });
        database.run("UPDATE sale SET shop = 2 WHERE id = 5");
        fetching.join().unwrap();
    });
    wait_told(&redis);
    assert_eq!(wire.run("BEAR.QUERY {1}:sale all").text(), "[]");
}

#[test]
fn the_outbox_tells_the_same_without_logical_decoding() {
    let database = bears::database();
    let redis = Redis::builder().postgres(&database).config("bear.feed", "outbox").prompt_feed().start();
    wait_told(&redis);
    let mut wire = redis.wire();
    let calls = ["bear size 100 200", "bear size 300 400", "bear size 401 500"];
    for call in calls {
        wire.run(&format!("BEAR.QUERY {call}"));
    }
    redis.wait_stored();
    database.run("UPDATE bear SET size = 350 WHERE id = 5");
    wait_told(&redis);
    assert_eq!(calls.map(|call| is_cached(&mut wire, call)), [false, false, true]);
    assert!(wire.run("BEAR.QUERY bear size 300 400").text().contains("Yogi"));
}

#[test]
fn while_the_feed_is_behind_what_depends_on_it_is_fetched() {
    let database = bears::database_in(&Postgres::start_logical());
    let redis = Redis::builder().postgres(&database).config("bear.feed-grace-ms", 500).start();
    wait_told(&redis);
    let mut wire = redis.wire();
    wire.run("BEAR.QUERY bear size 100 200");
    redis.wait_stored();
    assert!(is_cached(&mut wire, "bear size 100 200"));
    // The walsender stands still, as at the end of a network that lost its state.
    let walsender: i32 = database
        .client()
        .query_one("SELECT pid FROM pg_stat_activity WHERE backend_type = 'walsender'", &[])
        .expect("a walsender")
        .get(0);
    signal(walsender, rustix::process::Signal::STOP);
    database.run("UPDATE bear SET name = 'Boo-Boo' WHERE id = 5");
    eventually("it is behind", || redis.info("bear").int("bear_feed_behind") == 1);
    assert!(!is_cached(&mut wire, "bear size 100 200"));
    assert!(wire.run("BEAR.QUERY bear size 100 200").text().contains("Boo-Boo"));
    assert!(redis.info("bear").int("bear_feed_withheld") >= 2);
    wire.run("CONFIG SET bear.feed-behind serve");
    redis.wait_stored();
    assert!(is_cached(&mut wire, "bear size 100 200"));
    wire.run("CONFIG SET bear.feed-behind refetch");
    signal(walsender, rustix::process::Signal::CONT);
    eventually("it has caught up", || redis.info("bear").int("bear_feed_behind") == 0);
}

fn signal(pid: i32, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(pid).expect("a process");
    rustix::process::kill_process(pid, signal).expect("a process of the test's own");
}

#[test]
fn a_feed_that_connects_again_makes_cold() {
    let database = bears::database_in(&Postgres::start_logical());
    let redis = following(&database);
    let mut wire = redis.wire();
    wire.run("BEAR.QUERY bear size 100 200");
    redis.wait_stored();
    let connects = redis.info("bear").int("bear_feed_connects");
    database.run(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'walsender';
         UPDATE bear SET name = 'Boo-Boo' WHERE id = 5",
    );
    eventually("it is back", || redis.info("bear").int("bear_feed_connects") > connects);
    assert!(wire.run("BEAR.QUERY bear size 100 200").text().contains("Boo-Boo"));
}

#[test]
fn auto_does_without_where_postgres_does_not_allow_it() {
    let database = bears::database();
    let redis = Redis::with(&database);
    eventually("it is known", || redis.info("bear").text("bear_feed_state") == "not allowed");
    let report = redis.run("BEAR.FEED").map();
    assert!(report["last_error"].text().contains("wal_level"), "{report:?}");
    let mut wire = redis.wire();
    wire.run("BEAR.QUERY bear size 100 200");
    redis.wait_stored();
    assert!(is_cached(&mut wire, "bear size 100 200"));
    assert!(wire.run("CONFIG SET bear.feed both").error().contains("must be one of auto, wal"));
    // Asked for by name, nothing is served that it ought to watch.
    wire.run("CONFIG SET bear.feed-grace-ms 100");
    wire.run("CONFIG SET bear.feed wal");
    eventually("it is behind", || redis.info("bear").int("bear_feed_behind") == 1);
    assert!(!is_cached(&mut wire, "bear size 100 200"));
    wire.run("CONFIG SET bear.feed off");
    assert!(is_cached(&mut wire, "bear size 100 200"));
    assert_eq!(redis.run("BEAR.FEED").map()["state"].text(), "off");
}

#[test]
fn a_job_and_the_feed_agree() {
    let database = database();
    let redis = following(&database);
    let mut wire = redis.wire();
    for size in 100..120 {
        complete(&mut wire, &format!(r#"bear UPDATE_BEAR_SIZE {{"id":5,"size":{size}}}"#));
        assert!(wire.run(&format!("BEAR.QUERY bear size {size} {size}")).text().contains("Yogi"));
    }
    wait_told(&redis);
    assert!(wire.run("BEAR.QUERY bear size 119 119").text().contains("Yogi"));
}

#[test]
fn nothing_is_left_in_postgres_when_redis_is_gone() {
    let database = bears::database_in(&Postgres::start_logical());
    let redis = following(&database);
    let slots = || -> i64 {
        let sql = "SELECT count(*) FROM pg_replication_slots";
        database.client().query_one(sql, &[]).expect("slots").get(0)
    };
    assert_eq!(slots(), 1);
    drop(redis);
    eventually("the slot is gone", || slots() == 0);
}

#[test]
fn the_feed_tells_what_it_covers() {
    let database = bears::database_in(&Postgres::start_logical());
    database.run("ALTER TABLE bear_colors DROP CONSTRAINT bear_colors_pkey");
    let redis = following(&database);
    let report = redis.run("BEAR.FEED").map();
    assert!(report["covered"].sorted_texts().contains(&"bear".to_owned()), "{report:?}");
    let not_covered = report["not_covered"].sorted_texts();
    assert!(not_covered.len() == 1 && not_covered[0].contains("ALTER TABLE"), "{not_covered:?}");
    // The application's own statements go on.
    database.run("DELETE FROM bear_colors WHERE bear_id = 5");
    assert!(report["told_ms"].int() < Duration::from_secs(60).as_millis() as i64);
}
