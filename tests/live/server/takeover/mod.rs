//! A role that may create in a schema on the path gets none of the module's statements to run what is its own.
//!
//! Traps of every name that Postgres has stand in the first schema of the path, before Postgres' own; the module does
//! all that it ever does, and nothing may step into one. The catalog's statements name the schema of everything, too,
//! so that no step can be theirs.

use crate::support::jobs::complete;
use crate::support::{eventually, Database, Postgres, Redis};

const TRAPS: &str = include_str!("traps.sql");

const TABLES: &str = "
CREATE SCHEMA app;
CREATE TABLE app.item(id int8 PRIMARY KEY, size int8 NOT NULL, name text NOT NULL DEFAULT 'x');
CREATE TABLE app.part(id int8 PRIMARY KEY, item_id int8 NOT NULL);
CREATE TABLE app.tree(id int8, day date, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
CREATE TABLE app.tree_1 PARTITION OF app.tree FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
INSERT INTO app.item SELECT n, n FROM generate_series(1, 20) n;
INSERT INTO app.part SELECT n, n FROM generate_series(1, 20) n;
";

const CATALOG: &str = r#"
[item]
id = "int"
row = "SELECT i.id, i.size, i.name FROM app.item i WHERE i.id OPERATOR(pg_catalog.=) ANY ({ids})"
[item.tables]
"app.item" = "id"
"app.tree" = "id"
"app.part" = "SELECT p.item_id FROM app.part p WHERE p.id OPERATOR(pg_catalog.=) ANY ({ids}::pg_catalog.int8[])"
[[item.query]]
call = "all"
match = "size > 0"
trust = "sizes are above 0"
tags = ["{row.name}"]
sql = """SELECT i.id, i.size, i.name, ARRAY[i.id] AS _item,
  pg_catalog.now() OPERATOR(pg_catalog.+) interval '1 hour' AS _until FROM app.item i ORDER BY i.id"""
[[item.query]]
call = "{id:int}"
single = true
match = "id = {id}"
sql = "SELECT i.id, i.size FROM app.item i WHERE i.id OPERATOR(pg_catalog.=) {id}"
[item.job.GROW]
data = { id = "int", by = "int[]?" }
sql = """UPDATE app.item SET size = size OPERATOR(pg_catalog.+) 1 FROM {jobs} job
  WHERE item.id OPERATOR(pg_catalog.=) job.id RETURNING job.n, item.id"""
[item.job.FAIL]
data = { id = "int" }
each = ["SELECT i.name::pg_catalog.int8 FROM app.item i WHERE i.id OPERATOR(pg_catalog.=) {id}"]
"#;

fn database(postgres: &Postgres) -> Database {
    // A name for the role, which all databases of the cluster share, that is not there yet.
    static COUNTER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let number = COUNTER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let database = postgres.database(TABLES);
    database.run(&TRAPS.replace("low_@", &format!("low_{number}")));
    database
}

fn taken(database: &Database) -> Vec<String> {
    database.log().into_iter().filter(|line| line.starts_with("LOG:  TAKEN")).collect()
}

/// Everything that the module does in Postgres.
fn do_all(database: &Database, feed: &str, prepare: &str, path: &str) {
    let redis = Redis::builder()
        .postgres(database)
        .catalog(CATALOG)
        .config("bear.feed", feed)
        .config("bear.feed-grace-ms", 200)
        .config("bear.prepare", prepare)
        .config("bear.search-path", path)
        .start();
    eventually("the feed follows", || redis.info("bear").text("bear_feed_state") == "following");
    let mut wire = redis.wire();
    let mut run = |line: &str| {
        let reply = wire.run(line);
        assert!(!reply.is_error(), "{line}: {reply:?}");
        reply
    };
    run("BEAR.QUERY item all");
    run("BEAR.QUERY item 5");
    redis.wait_stored();
    run("BEAR.INVALIDATE item CHANGED 3");
    run("BEAR.QUERY item all");
    // A job that is left out until it has failed, one behind it, and many.
    run("BEAR.ENQUEUE item FAIL {\"id\":1} ATTEMPTS 2 BACKOFF 100");
    for id in 1..=20 {
        run(&format!("BEAR.ENQUEUE item GROW {{\"id\":{id},\"by\":[1]}}"));
    }
    complete(&mut redis.wire(), "item GROW {\"id\":1}");
    // What others write, also after the outbox has been cleaned up once.
    for n in 1..=3 {
        database.run(&format!(
            "SET search_path = pg_catalog; UPDATE app.item SET size = size + 1 WHERE id = {n};
             UPDATE app.part SET item_id = {n} WHERE id = 7; DELETE FROM app.part WHERE id = {n};
             INSERT INTO app.tree VALUES ({n}, '2026-03-03'); UPDATE app.tree SET id = id + 100; TRUNCATE app.tree"
        ));
        let begun = std::time::Instant::now();
        eventually("the feed has told it", || {
            let info = redis.info("bear");
            begun.elapsed().as_millis() > 700 && info.int("bear_feed_told_ms") < 500
        });
        run("BEAR.QUERY item all");
        run("BEAR.QUERY item 2");
    }
    run("BEAR.VERIFY item");
    run("BEAR.RELOAD");
    // The sections are the same; a changed one takes a feed of its own.
    std::fs::write(redis.catalog_path(), CATALOG.replace("\"app.tree\" = \"id\"\n", "")).unwrap();
    run("BEAR.RELOAD");
    eventually("the feed follows the new catalog", || redis.info("bear").text("bear_feed_state") == "following");
    let errors = format!("{:?}", run("BEAR.CATALOG"));
    assert!(!errors.contains("no function") && !errors.contains("does not exist"), "{errors}");
}

#[test]
fn nothing_of_a_low_roles_runs() {
    let postgres = Postgres::start_logical();
    let database = database(&postgres);
    database.run("SET search_path = evil, pg_catalog; SELECT max(1)");
    assert_eq!(taken(&database).len(), 1, "the traps work");
    for (feed, prepare, path) in [
        ("auto", "yes", "evil, public, pg_catalog"),
        ("outbox", "yes", "evil, public, pg_catalog"),
        ("auto", "no", "evil, public, pg_catalog"),
        ("outbox", "yes", "public, evil"),
    ] {
        do_all(&database, feed, prepare, path);
        assert_eq!(taken(&database)[1..], [] as [String; 0], "{feed}, {prepare}, {path}");
    }
}
