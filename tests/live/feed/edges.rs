//! The change feed at its edges: columns whose text is spelled in two ways, sections that only list the covered ones, a URL
//! that leads elsewhere, an unload.

use std::time::Duration;

use crate::support::feed::{is_cached, wait_told};
use crate::support::jobs::complete;
use crate::support::server::module_path;
use crate::support::{bears, eventually, Database, Postgres, Redis, Wire};

/// Codes of items are the rows' ids.
const CATALOG: &str = r#"
[item]
id = "text"
tables = { item = "code" }
row = "SELECT code AS id, size FROM item WHERE code::text = ANY({ids})"
[[item.query]]
call = "all"
match = "size > 100"
sql = "SELECT code AS id, size FROM item ORDER BY code"
[item.job.GROW]
data = { id = "text" }
sql = "UPDATE item SET size = size + 1 FROM {jobs} job WHERE item.code::text = job.id RETURNING job.n, item.code AS id"
"#;

fn start(database: &Database, feed: &str) -> Redis {
    Redis::builder().postgres(database).catalog(CATALOG).config("bear.feed", feed).prompt_feed().start()
}

/// After DDL nothing is stored until it has been looked at again.
fn store(redis: &Redis, wire: &mut Wire, call: &str) {
    eventually("it is cached", || {
        assert!(!wire.run(&format!("BEAR.QUERY {call}")).is_error());
        redis.wait_stored();
        is_cached(wire, call)
    });
}

#[test]
fn an_id_that_postgres_pads_or_shortens_is_found_all_the_same() {
    for (column, value) in [("char(5)", "ab"), ("codeword", "ab"), ("inet", "10.0.0.1"), ("text", "ab")] {
        let database = Postgres::shared_logical().database(&format!(
            "CREATE DOMAIN codeword AS char(5); CREATE TABLE item(code {column} PRIMARY KEY, size int); \
             INSERT INTO item VALUES ('{value}', 1)"
        ));
        for feed in ["wal", "outbox"] {
            let redis = start(&database, feed);
            wait_told(&redis);
            let mut wire = redis.wire();
            store(&redis, &mut wire, "item all");
            database.run("UPDATE item SET size = size + 1");
            wait_told(&redis);
            assert!(!is_cached(&mut wire, "item all"), "{column}, {feed}");
        }
    }
}

#[test]
fn a_job_that_returns_a_padded_id_drops_the_row() {
    let database = Postgres::shared()
        .database("CREATE TABLE item(code char(5) PRIMARY KEY, size int); INSERT INTO item VALUES ('ab', 1)");
    let redis = start(&database, "off");
    let mut wire = redis.wire();
    store(&redis, &mut wire, "item all");
    complete(&mut wire, r#"item GROW {"id":"ab"}"#);
    assert!(!is_cached(&mut wire, "item all"));
}

#[test]
fn a_generated_column_is_not_covered_and_does_not_break_the_feed() {
    let database = Postgres::shared_logical().database(
        "CREATE TABLE item(base int, size int, code text GENERATED ALWAYS AS ('c' || base) STORED PRIMARY KEY); \
         INSERT INTO item VALUES (1, 1)",
    );
    let redis = start(&database, "wal");
    wait_told(&redis);
    let not_covered = redis.run("BEAR.FEED").map()["not_covered"].sorted_texts();
    assert!(not_covered.len() == 1 && not_covered[0].contains("generated"), "{not_covered:?}");
    database.run("UPDATE item SET size = 2");
    wait_told(&redis);
    // It may make cold once more, for a transaction of another test that was in progress when it connected.
    assert_eq!(redis.info("bear").int("bear_feed_losses"), 0);
}

/// No section maps the table `product`; its query lists rows of `category`, whose table is followed.
const LISTING: &str = r#"
[product]
id = "int"
[[product.query]]
call = "all"
sql = "SELECT p.id, c.name, c.id AS _category FROM product p JOIN category c ON c.id = p.category_id"
[category]
id = "int"
tables = { category = "id" }
[[category.query]]
call = "all"
sql = "SELECT id, name FROM category"
"#;

#[test]
fn what_lists_rows_of_a_covered_section_is_fetched_too_while_the_feed_is_behind() {
    let postgres = Postgres::start_logical();
    let database = postgres.database(
        "CREATE TABLE category(id int PRIMARY KEY, name text); CREATE TABLE product(id int PRIMARY KEY, category_id int); \
         INSERT INTO category VALUES (1, 'old'); INSERT INTO product VALUES (1, 1)",
    );
    let redis = Redis::builder().postgres(&database).catalog(LISTING).config("bear.feed-grace-ms", 300).start();
    wait_told(&redis);
    let mut wire = redis.wire();
    for call in ["product all", "category all"] {
        store(&redis, &mut wire, call);
    }
    let sql = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'walsender'";
    let walsender: i32 = database.client().query_one(sql, &[]).expect("a walsender").get(0);
    let walsender = rustix::process::Pid::from_raw(walsender).expect("a process");
    rustix::process::kill_process(walsender, rustix::process::Signal::STOP).expect("a process of the test's own");
    database.run("UPDATE category SET name = 'new'");
    eventually("it is behind", || redis.info("bear").int("bear_feed_behind") == 1);
    let explained = wire.run("BEAR.EXPLAIN category all").map()["cached"].int();
    let seen = ["category all", "product all"].map(|call| wire.run(&format!("BEAR.QUERY {call}")).text());
    rustix::process::kill_process(walsender, rustix::process::Signal::CONT).expect("a process of the test's own");
    assert!(seen.iter().all(|json| json.contains("new")), "{seen:?}");
    assert_eq!(explained, 0, "BEAR.EXPLAIN says that a query would be answered from the cache");
}

#[test]
fn a_feed_url_that_leads_to_another_database_is_refused() {
    let database = bears::database_in(Postgres::shared_logical());
    let other = bears::database_in(Postgres::shared_logical());
    for feed in ["wal", "outbox"] {
        let redis = Redis::builder()
            .postgres(&database)
            .config("bear.feed", feed)
            .config("bear.feed-url", other.url())
            .config("bear.feed-grace-ms", 100)
            .start();
        eventually("it is said", || redis.run("BEAR.FEED").map()["last_error"] != crate::support::Reply::Nil);
        let error = redis.run("BEAR.FEED").map()["last_error"].text();
        assert!(error.contains("another database"), "{error}");
        let mut wire = redis.wire();
        assert!(wire.call(&["CONFIG", "SET", "bear.feed-url", &database.url()]).is_ok());
        wait_told(&redis);
    }
}

#[test]
fn the_module_can_be_unloaded_while_it_follows() {
    let database = bears::database_in(Postgres::shared_logical());
    let redis = Redis::builder().postgres(&database).start();
    for _ in 0..2 {
        wait_told(&redis);
        redis.wire().run("BEAR.QUERY bear size 100 200");
        redis.wait_stored();
        eventually("the module is unloaded", || redis.run("MODULE UNLOAD bear").is_ok());
        let path = module_path().to_string_lossy().into_owned();
        assert!(redis.wire().call(&["MODULE", "LOAD", &path]).is_ok());
    }
}

/// No row changes then; the row that a fetch reads is another, or reads otherwise.
#[test]
fn what_a_query_means_is_noticed_when_it_changes() {
    const CATALOG: &str = "[item]\nid = \"int\"\ntables = { \"public.item\" = \"id\" }\n\
        [[item.query]]\ncall = \"all\"\nsql = \"SELECT *, twice(id) AS twice FROM item_view ORDER BY id\"\n\
        [other]\nid = \"int\"\ntables = { other = \"id\" }\n[[other.query]]\ncall = \"all\"\nsql = \"SELECT id FROM other\"\n";
    // A server of its own: a transaction of another test that was in progress at the beginning makes all cold when it ends.
    let server = Postgres::start_logical();
    for feed in ["wal", "outbox"] {
        let database = server.database(
            "CREATE TYPE mood AS ENUM ('sad', 'ok'); CREATE TABLE item(id int PRIMARY KEY, mood mood); CREATE TABLE other(id int PRIMARY KEY); \
             CREATE VIEW item_view AS SELECT id, mood FROM item; INSERT INTO item VALUES (1, 'ok'); \
             CREATE FUNCTION twice(int) RETURNS int LANGUAGE sql AS 'SELECT $1 * 2'; CREATE SCHEMA app",
        );
        let redis = Redis::builder()
            .postgres(&database)
            .catalog(CATALOG)
            .config("bear.feed", feed)
            .config("bear.feed-grace-ms", "2000")
            .config("bear.search-path", "app, public")
            .start();
        wait_told(&redis);
        // Told up to half a grace from now means that a look has ended which began after now: no late first one makes all cold.
        let begun = std::time::Instant::now() + Duration::from_secs(1);
        eventually("a look has ended", || {
            redis.info("bear").int("bear_feed_told_ms") < begun.elapsed().as_millis() as i64
        });
        let mut wire = redis.wire();
        store(&redis, &mut wire, "other all");
        for (sql, expected) in [
            ("ALTER TYPE mood RENAME VALUE 'ok' TO 'fine'", r#"[{"id":1,"mood":"fine","twice":2}]"#),
            (
                "CREATE OR REPLACE FUNCTION twice(int) RETURNS int LANGUAGE sql AS 'SELECT $1 * 3'",
                r#"[{"id":1,"mood":"fine","twice":3}]"#,
            ),
            (
                "CREATE OR REPLACE VIEW item_view AS SELECT id, mood, 7 AS more FROM item",
                r#"[{"id":1,"mood":"fine","more":7,"twice":3}]"#,
            ),
            ("CREATE TABLE app.item_view(id int); INSERT INTO app.item_view VALUES (5)", r#"[{"id":5,"twice":15}]"#),
        ] {
            store(&redis, &mut wire, "item all");
            database.run(sql);
            let begun = std::time::Instant::now();
            eventually("the change is noticed", || wire.run("BEAR.QUERY item all").text() == expected);
            assert!(begun.elapsed() < Duration::from_secs(10), "{sql}: {:?}", begun.elapsed());
            // It may be withheld while the feed is behind; what is cold is never cached again by itself.
            eventually(&format!("the other is there: {feed}, {sql}"), || is_cached(&mut wire, "other all"));
        }
        assert_eq!(redis.info("bear").int("bear_feed_connects"), 1, "{feed}");
    }
}
