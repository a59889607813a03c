//! What is proposed is of one moment, and waits for nobody longer than a statement may.

use std::time::{Duration, Instant};

use crate::support::{eventually, Database, Postgres, Redis};

const SCHEMA: &str =
    "CREATE TABLE a (id int PRIMARY KEY DEFAULT 1, name text); CREATE TABLE b (id int PRIMARY KEY, a_id int)";

fn redis(database: &Database) -> Redis {
    Redis::builder().postgres(database).config("bear.feed", "off").start()
}

#[track_caller]
fn wait_until_held(database: &Database) {
    let mut client = database.client();
    eventually("somebody waits for a lock", || {
        let sql = "SELECT count(*) > 0 FROM pg_locks WHERE NOT granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
        client.query_one(sql, &[]).unwrap().get(0)
    });
}

/// A migration that commits between two of its questions.
#[test]
fn what_is_proposed_is_of_one_moment() {
    let database = Postgres::start().database(SCHEMA);
    let redis = redis(&database);
    let before = redis.run("BEAR.PROPOSE").text();
    let mut migration = database.client();
    // Defaults are asked for once the relations are known.
    migration.batch_execute("BEGIN; LOCK TABLE pg_catalog.pg_attrdef IN ACCESS EXCLUSIVE MODE").unwrap();
    let during = std::thread::scope(|scope| {
        let asking = scope.spawn(|| redis.run("BEAR.PROPOSE").text());
        wait_until_held(&database);
        migration
            .batch_execute(
                "CREATE TABLE c (id int PRIMARY KEY); ALTER TABLE b ADD c_id int REFERENCES c; ALTER TABLE a RENAME name TO title;
                 DROP INDEX IF EXISTS none; COMMIT",
            )
            .unwrap();
        asking.join().unwrap()
    });
    assert_eq!(during, before);
    let after = redis.run("BEAR.PROPOSE").text();
    assert!(after.contains("title") && after.contains("c_id"), "{after}");
}

/// Relations that go meanwhile are left out, or shown as they were: never an error.
#[test]
fn relations_that_go_meanwhile_are_no_error() {
    let database = Postgres::start()
        .database(&format!("{SCHEMA}; CREATE TABLE goes (id serial PRIMARY KEY, b_id int REFERENCES b)"));
    let redis = redis(&database);
    let mut migration = database.client();
    migration.batch_execute("BEGIN; LOCK TABLE pg_catalog.pg_attrdef IN ACCESS EXCLUSIVE MODE").unwrap();
    let during = std::thread::scope(|scope| {
        let asking = scope.spawn(|| redis.run("BEAR.PROPOSE"));
        wait_until_held(&database);
        migration.batch_execute("DROP TABLE goes; COMMIT").unwrap();
        asking.join().unwrap()
    });
    assert!(!during.is_error() && during.text().contains("[a]") && during.text().contains("[b]"), "{during:?}");
}

/// Nothing of the tables themselves is locked; what is, is waited for no longer than a statement may take.
#[test]
fn a_migration_that_holds_tables_holds_no_proposal() {
    let database = Postgres::start().database(SCHEMA);
    let redis = redis(&database);
    let before = redis.run("BEAR.PROPOSE").text();
    let mut migration = database.client();
    migration.batch_execute("BEGIN; LOCK TABLE a, b IN ACCESS EXCLUSIVE MODE; ALTER TABLE a ADD new int").unwrap();
    assert_eq!(redis.run("BEAR.PROPOSE").text(), before);
    // Who prepares a statement locks what it reads.
    let begun = Instant::now();
    let reply = redis.wire().call(&["BEAR.PROPOSE", "SQL", "SELECT id FROM a WHERE id = $1"]);
    assert!(reply.is_error() && reply.error().contains("lock timeout"), "{reply:?}");
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    migration.batch_execute("LOCK TABLE pg_catalog.pg_class IN ACCESS EXCLUSIVE MODE").unwrap();
    let reply = redis.run("BEAR.PROPOSE");
    assert!(reply.is_error() && reply.error().contains("lock timeout"), "{reply:?}");
    migration.batch_execute("ROLLBACK").unwrap();
    assert_eq!(redis.run("BEAR.PROPOSE").text(), before);
}
