//! What a role's settings, and what other roles have made, may not do to the module, and what it shows of files.

use crate::support::bears;
use crate::support::hostile::make_hostile;
use crate::support::jobs::{complete, error_of, settle};
use crate::support::server::Builder;
use crate::support::{eventually, Database, Postgres, Redis};

/// A role of the database's that may do all that jobs and an outbox need; its URL.
fn role(database: &Database) -> (String, String) {
    let role = database.role("secret");
    let port = database.postgres().port();
    (role.clone(), format!("postgres://{role}:secret@127.0.0.1:{port}/{}", database.name()))
}

#[test]
fn a_role_that_reads_only_is_enough_for_queries_and_jobs_say_what_they_lack() {
    let database = bears::database();
    let (role, url) = role(&database);
    database.run(&format!("ALTER ROLE {role} SET default_transaction_read_only = on"));
    let redis = Redis::builder().env("BEAR_POSTGRES_URL", &url).start();
    let reply = redis.run("BEAR.QUERY bear size 90 90");
    assert_eq!(reply.text(), bears::json(&[8]));
    redis.run("BEAR.ENQUEUE bear UPDATE_BEAR_NAME {\"id\":5,\"name\":\"x\"}");
    eventually("the applier says why", || {
        let info = redis.info("bear");
        info.get("bear_appliers_last_error").is_some_and(|error| error.contains("default_transaction_read_only"))
    });
}

#[test]
fn hostile_settings_of_a_role_change_nothing() {
    let database = bears::database();
    let (role, url) = role(&database);
    database.run(&format!("GRANT CREATE ON DATABASE {} TO {role}", database.name()));
    make_hostile(&database, &format!("ROLE {role}"));
    assert_nothing_is_changed(&database, Redis::builder().env("BEAR_POSTGRES_URL", &url).config("bear.feed", "off"));
}

#[test]
fn hostile_settings_of_a_database_change_nothing() {
    let database = bears::database();
    make_hostile(&database, &format!("DATABASE {}", database.name()));
    assert_nothing_is_changed(&database, Redis::builder().postgres(&database).config("bear.feed", "off"));
}

fn assert_nothing_is_changed(database: &Database, builder: Builder) {
    let redis = builder.start();
    let mut wire = redis.wire();
    assert_eq!(wire.run("BEAR.QUERY bear size 90 90").text(), bears::json(&[8]));
    complete(&mut wire, "bear UPDATE_BEAR_NAME {\"id\":5,\"name\":\"first\"}");
    let sessions = |database: &Database| -> Vec<i32> {
        let sql = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'bear'";
        database.client().query(sql, &[]).unwrap().iter().map(|row| row.get(0)).collect()
    };
    let before = sessions(database);
    assert!(!before.is_empty());
    for round in 0..3 {
        assert_eq!(wire.run("BEAR.QUERY bear FRESH size 90 90").text(), bears::json(&[8]));
        complete(&mut wire, &format!("bear UPDATE_BEAR_NAME {{\"id\":5,\"name\":\"n{round}\"}}"));
        // Longer than a session may be idle.
        std::thread::sleep(std::time::Duration::from_millis(1_100));
    }
    let after = sessions(database);
    assert!(before.iter().all(|pid| after.contains(pid)), "sessions ended: {before:?}, {after:?}");
}

#[test]
fn hostile_settings_of_a_role_end_no_feed_by_the_wal() {
    let database = bears::database_in(Postgres::shared_logical());
    let (role, url) = role(&database);
    database.run(&format!("ALTER ROLE {role} REPLICATION"));
    make_hostile(&database, &format!("ROLE {role}"));
    assert_feed_goes_on(&database, Redis::builder().env("BEAR_POSTGRES_URL", &url).config("bear.feed", "wal"));
}

#[test]
fn hostile_settings_of_a_role_end_no_feed_by_the_outbox() {
    let database = bears::database();
    let (role, url) = role(&database);
    database.run(&format!(
        "GRANT CREATE ON DATABASE {} TO {role}; DO $$ DECLARE t regclass; BEGIN
           FOR t IN SELECT oid FROM pg_class WHERE relkind IN ('r', 'p') AND relnamespace = 'public'::regnamespace LOOP
             EXECUTE format('ALTER TABLE %s OWNER TO {role}', t);
           END LOOP;
         END $$",
        database.name()
    ));
    make_hostile(&database, &format!("ROLE {role}"));
    assert_feed_goes_on(&database, Redis::builder().env("BEAR_POSTGRES_URL", &url).config("bear.feed", "outbox"));
}

#[test]
fn hostile_settings_of_a_database_end_no_feed() {
    for (postgres, feed) in [(Postgres::shared_logical(), "wal"), (Postgres::shared(), "outbox")] {
        let database = bears::database_in(postgres);
        make_hostile(&database, &format!("DATABASE {}", database.name()));
        assert_feed_goes_on(&database, Redis::builder().postgres(&database).config("bear.feed", feed));
    }
}

/// It tells of changes, is idle for several times as long as a session may be, and tells of the next by the same
/// connection.
fn assert_feed_goes_on(database: &Database, builder: Builder) {
    let redis = builder.start();
    let mut wire = redis.wire();
    eventually("the feed follows", || redis.info("bear").text("bear_feed_state") == "following");
    for size in [91, 92] {
        assert_eq!(wire.run("BEAR.QUERY bear size 90 90").text(), bears::json(&[8]));
        assert_eq!(wire.run(&format!("BEAR.QUERY bear size {size} {size}")).text(), "[]");
        database.run(&format!("UPDATE bear SET size = {size} WHERE id = 8"));
        eventually("the change is told", || {
            let is_there = wire.run(&format!("BEAR.QUERY bear size {size} {size}")).text() != "[]";
            is_there && wire.run("BEAR.QUERY bear size 90 90").text() == "[]"
        });
        database.run("UPDATE bear SET size = 90 WHERE id = 8");
        eventually("so is its end", || wire.run("BEAR.QUERY bear size 90 90").text() == bears::json(&[8]));
        std::thread::sleep(std::time::Duration::from_secs(4));
    }
    let info = redis.info("bear");
    let connects = (info.int("bear_feed_connects"), info.int("bear_feed_losses"));
    assert_eq!(connects, (1, 0), "it connected anew\n{}", redis.log());
    assert_eq!(info.text("bear_feed_state"), "following");
}

#[test]
fn a_schema_that_somebody_else_made_is_refused_and_runs_nothing() {
    let database = bears::database();
    let low = format!("low_of_{}", database.name());
    database.run(&format!(
        "CREATE ROLE {low}; CREATE SCHEMA bear AUTHORIZATION {low}; SET SESSION AUTHORIZATION {low};
         CREATE TABLE bear.ledger_version (version int); CREATE FUNCTION bear.f() RETURNS trigger LANGUAGE plpgsql
         AS 'BEGIN RAISE LOG ''TAKEN''; RETURN new; END'; CREATE TRIGGER t BEFORE INSERT ON bear.ledger_version
         FOR EACH ROW EXECUTE FUNCTION bear.f()"
    ));
    let redis = Redis::with(&database);
    let mut wire = redis.wire();
    wire.run("BEAR.ENQUEUE bear UPDATE_BEAR_NAME {\"id\":5,\"name\":\"x\"}");
    eventually("the applier says why", || {
        let info = redis.info("bear");
        info.get("bear_appliers_last_error").is_some_and(|error| error.contains(&low) && error.contains("ALTER SCHEMA"))
    });
    assert!(!database.log().iter().any(|line| line.starts_with("LOG:  TAKEN")));
    assert_eq!(wire.run("BEAR.QUERY bear size 90 90").text(), bears::json(&[8]), "queries need no schema");
    database.run(&format!("DROP SCHEMA bear CASCADE; DROP ROLE {low}"));
    eventually("the job is applied once the schema is its own", || {
        wire.run("XLEN bear:queue") == crate::support::Reply::Int(0)
    });
}

#[test]
fn a_file_that_is_no_catalog_is_not_shown() {
    let redis = Redis::builder().env("A_PASSWORD", "hunter2").start();
    let reply = redis.wire().call(&["CONFIG", "SET", "bear.catalog", "/proc/self/environ"]);
    assert!(reply.error().contains("line 1") && !reply.error().contains("hunter2"), "{reply:?}");
    let shadow = redis.folder().join("shadow");
    std::fs::write(&shadow, "root:$y$hunter2:1:::").unwrap();
    let reply = redis.wire().call(&["CONFIG", "SET", "bear.catalog", shadow.to_str().unwrap()]);
    assert!(reply.is_error() && !reply.error().contains("hunter2"), "{reply:?}");
    assert!(!redis.log().contains("hunter2"));
}

#[test]
fn settings_that_name_files_and_servers_are_protected_as_dir_is() {
    let redis = Redis::builder().config("enable-protected-configs", "no").start();
    for name in ["catalog", "postgres-password-file", "postgres-url", "feed-url", "search-path"] {
        let reply = redis.wire().call(&["CONFIG", "SET", &format!("bear.{name}"), ""]);
        assert!(reply.error().contains("protected config"), "{name}: {reply:?}");
    }
    assert!(redis.run("BEAR.RELOAD").is_ok(), "it reads its file again");
    assert!(redis.run("CONFIG SET bear.query-timeout-ms 4000").is_ok());
}

#[test]
fn a_constraints_detail_stays_in_postgres() {
    let database = bears::database();
    database.run("ALTER TABLE bear ADD secret text DEFAULT 'hunter2', ADD CHECK (size < 100000)");
    let redis = Redis::with(&database);
    let job = settle(&mut redis.wire(), "bear UPDATE_BEAR {\"id\":5,\"size\":200000} ATTEMPTS 1");
    let (message, code) = error_of(&job);
    assert_eq!(code.as_deref(), Some("23514"), "{message}");
    assert!(message.contains("bear_size_check") && !message.contains("hunter2"), "{message}");
    assert!(!redis.log().contains("hunter2"));
}

/// Postgres' own words for it; a long transaction holds the table.
#[test]
fn triggers_wait_for_a_lock_for_a_hundredth_of_the_time() {
    let postgres = Postgres::start();
    let database = bears::database_in(&postgres);
    let mut holder = database.client();
    holder.batch_execute("BEGIN; UPDATE bear SET size = size WHERE id = 1").unwrap();
    let redis = Redis::builder().postgres(&database).config("bear.feed", "outbox").start();
    let (mut writer, begun) = (database.client(), std::time::Instant::now());
    let (mut longest, mut all) = (0, 0);
    while begun.elapsed().as_secs() < 8 {
        let asked = std::time::Instant::now();
        writer.batch_execute("SELECT 1; UPDATE bear SET size = size WHERE id = 2").unwrap();
        let took = asked.elapsed().as_millis();
        (longest, all) = (longest.max(took), all + took.saturating_sub(20));
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    // Each pauses 99 times what it waited; how many there are depends on what else the machine has to do.
    let attempts = database.executions("SET LOCAL lock_timeout");
    assert!((2..=40).contains(&attempts), "{attempts} attempts");
    assert!(longest < 1_000 && all < 2_000, "{longest} ms, {all} ms in all");
    holder.batch_execute("COMMIT").unwrap();
    eventually("it is followed then", || redis.info("bear").text("bear_feed_state") == "following");
}
