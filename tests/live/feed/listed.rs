//! Rows that are linked to a result by what it lists: a change drops the results that it concerns and no other, for each kind of feed, for
//! jobs, and for who tells a change by command.

use crate::support::feed::{is_cached, wait_told};
use crate::support::jobs::complete;
use crate::support::{eventually, Database, Postgres, Redis, Reply, Wire};

const SHOP: &str = "
CREATE TABLE category(id int PRIMARY KEY, name text NOT NULL);
CREATE TABLE product(id int PRIMARY KEY, category_id int, name text NOT NULL, price numeric NOT NULL, featured bool NOT NULL DEFAULT false);
CREATE TABLE review(id int PRIMARY KEY, product_id int, stars int NOT NULL);
CREATE TABLE tag(id int PRIMARY KEY, name text);
INSERT INTO category VALUES (1, 'chairs'), (2, 'lamps'), (3, 'tables'), (4, 'chairs');
INSERT INTO product SELECT i, 1 + i % 3, 'p' || i, i, i = 9 FROM generate_series(1, 9) i;
INSERT INTO review SELECT i, 1 + i % 9, 1 + i % 5 FROM generate_series(1, 30) i;
INSERT INTO tag VALUES (1, 'chairs'), (2, 'lamps'), (3, 'new'), (4, NULL);
";

const CATALOG: &str = r#"
[category]
id = "int"
tables = { category = "id" }
row = "SELECT id, name FROM category WHERE id = ANY({ids})"
[review]
id = "int"
tables = { review = "id" }
row = "SELECT id, product_id, stars FROM review WHERE id = ANY({ids})"
[review.job.RATE]
data = { id = "int", product = "int" }
sql = "INSERT INTO review SELECT id, product, 5 FROM {jobs} job RETURNING (SELECT n FROM {jobs} j WHERE j.id = review.id), id"
[label]
id = "int"
tables = { tag = "id" }
row = "SELECT id, name FROM tag WHERE id = ANY({ids})"
[[label.query]]
call = "like {most:int}"
sql = "SELECT t.id FROM tag t JOIN category c ON c.name = t.name WHERE c.id <= {most}"
match = "name in _names"
on = { category = "id <= {most}" }
lists = { "names:text" = "SELECT name FROM category WHERE id <= {most}", category = "SELECT id FROM category WHERE id <= {most}" }
[product]
id = "int"
tables = { product = "id" }
row = "SELECT id, category_id, name, price, featured FROM product WHERE id = ANY({ids})"
[[product.query]]
call = "of {category:int}"
sql = "SELECT p.id, p.name, (SELECT count(*) FROM review r WHERE r.product_id = p.id) AS reviews FROM product p WHERE p.category_id = {category}"
match = "category_id = {category} and category_id is not null"
on = { review = "product_id in _product" }
lists = { review = "SELECT r.id FROM review r JOIN product p ON p.id = r.product_id WHERE p.category_id = {category}" }
[[product.query]]
call = "named {category:text}"
sql = "SELECT p.id, p.name FROM product p JOIN category c ON c.id = p.category_id WHERE c.name = {category} ORDER BY p.id"
match = "category_id in _category"
on = { category = "name = {category}" }
lists = { category = "SELECT id FROM category WHERE name = {category}" }
[[product.query]]
call = "offers {most:numeric}"
sql = "SELECT id, name FROM product WHERE price <= {most} OR featured ORDER BY id"
match = "price <= {most} or featured = true"
[[product.query]]
call = "not of {category:int}"
sql = "SELECT id FROM product WHERE category_id <> {category} OR category_id IS NULL"
match = "category_id <> {category} or category_id is null"
"#;

/// The same queries: nothing but calls and SQL.
const DERIVED: &str = r#"
[review]
[review.job.RATE]
data = { id = "int", product = "int" }
sql = "INSERT INTO review SELECT id, product, 5 FROM {jobs} job RETURNING (SELECT n FROM {jobs} j WHERE j.id = review.id), id"
[label]
table = "tag"
[[label.query]]
call = "like {most:int}"
sql = "SELECT t.id FROM tag t JOIN category c ON c.name = t.name WHERE c.id <= {most}"
[product]
[[product.query]]
call = "of {category:int}"
sql = "SELECT p.id, p.name, (SELECT count(*) FROM review r WHERE r.product_id = p.id) AS reviews FROM product p WHERE p.category_id = {category}"
[[product.query]]
call = "named {category:text}"
sql = "SELECT p.id, p.name FROM product p JOIN category c ON c.id = p.category_id WHERE c.name = {category} ORDER BY p.id"
[[product.query]]
call = "offers {most:numeric}"
sql = "SELECT id, name FROM product WHERE price <= {most} OR featured ORDER BY id"
[[product.query]]
call = "not of {category:int}"
sql = "SELECT id FROM product WHERE category_id <> {category} OR category_id IS NULL"
"#;

const CALLS: [&str; 10] = [
    "product of 1",
    "product of 2",
    "product of 7",
    "product named chairs",
    "product named lamps",
    "product named nothing",
    "product offers 3",
    "product offers 100",
    "label like 1",
    "label like 2",
];

/// A change in SQL, and which of the calls it concerns; products 3, 6, 9 are of category 1, 1, 4, 7 of 2, 2, 5, 8 of 3.
fn changes() -> Vec<(&'static str, Vec<&'static str>)> {
    vec![
        // A count of children: one that comes, goes, moves, is of nobody's product or of none.
        ("INSERT INTO review VALUES (100, 3, 1)", vec!["product of 1"]),
        ("UPDATE review SET product_id = 1 WHERE id = 100", vec!["product of 1", "product of 2"]),
        ("DELETE FROM review WHERE id = 100", vec!["product of 2"]),
        ("INSERT INTO review VALUES (101, 2, 1)", vec![]),
        ("INSERT INTO review VALUES (102, NULL, 1), (103, 77, 1)", vec![]),
        // A category that is empty lists no product, and then one.
        (
            "UPDATE product SET category_id = 7 WHERE id = 3",
            vec!["product of 1", "product of 7", "product named chairs", "product offers 3", "product offers 100"],
        ),
        ("INSERT INTO review VALUES (104, 3, 1)", vec!["product of 7"]),
        // Two hops: a category is renamed into a list and out of one, and a product follows.
        ("UPDATE category SET name = 'lamps' WHERE id = 4", vec!["product named chairs", "product named lamps"]),
        ("INSERT INTO product VALUES (20, 4, 'p20', 50)", vec!["product named lamps", "product offers 100"]),
        // By a text, which is no row's id.
        ("INSERT INTO tag VALUES (5, 'chairs')", vec!["label like 1", "label like 2"]),
        ("UPDATE tag SET name = 'lamps' WHERE id = 3", vec!["label like 2"]),
        ("UPDATE tag SET name = 'new' WHERE id = 4", vec![]),
        // Either of two conditions.
        ("INSERT INTO product VALUES (21, NULL, 'p21', 500, true)", vec!["product offers 3", "product offers 100"]),
        ("INSERT INTO product VALUES (22, NULL, 'p22', 500)", vec![]),
        ("DELETE FROM category WHERE id = 2", vec!["product named lamps", "label like 2"]),
        ("BEGIN; DELETE FROM review; ROLLBACK", vec![]),
        ("TRUNCATE review", vec!["product of 1", "product of 2", "product of 7"]),
    ]
}

fn start(feed: &str, catalog: &str) -> (Database, Redis) {
    let database = Postgres::shared_logical().database(SHOP);
    let redis = Redis::builder().postgres(&database).catalog(catalog).config("bear.feed", feed).prompt_feed().start();
    if feed != "off" {
        wait_told(&redis);
    }
    (database, redis)
}

fn warm(redis: &Redis, wire: &mut Wire) {
    for call in CALLS {
        let reply = wire.run(&format!("BEAR.QUERY {call}"));
        assert!(!reply.is_error(), "{call}: {reply:?}");
    }
    redis.wait_stored();
}

fn cached(wire: &mut Wire) -> Vec<&'static str> {
    CALLS.into_iter().filter(|call| is_cached(wire, call)).collect()
}

fn others(dropped: &[&str]) -> Vec<&'static str> {
    CALLS.into_iter().filter(|call| !dropped.contains(call)).collect()
}

#[test]
fn a_change_drops_what_lists_what_it_is_linked_to_and_nothing_else() {
    for (feed, catalog) in [("wal", CATALOG), ("outbox", CATALOG), ("wal", DERIVED)] {
        let (database, redis) = start(feed, catalog);
        let form = if catalog == CATALOG { "by hand" } else { "derived" };
        let mut wire = redis.wire();
        for (sql, dropped) in changes() {
            // While the feed is late nothing is kept.
            eventually("all is cached", || {
                warm(&redis, &mut wire);
                cached(&mut wire) == CALLS
            });
            database.run(sql);
            wait_told(&redis);
            let left = cached(&mut wire);
            match sql.starts_with("TRUNCATE") {
                // It alters the table, too: what depends on that goes a moment later.
                true => assert!(dropped.iter().all(|call| !left.contains(call)), "{feed}, {form}: {sql}: {left:?}"),
                false => assert_eq!(left, others(&dropped), "{feed}, {form}: {sql}"),
            }
        }
    }
}

#[test]
fn a_job_and_an_image_drop_the_same() {
    for catalog in [CATALOG, DERIVED] {
        job_and_image(catalog);
    }
}

fn job_and_image(catalog: &str) {
    let (_database, redis) = start("off", catalog);
    let mut wire = redis.wire();
    warm(&redis, &mut wire);
    complete(&mut wire, r#"review RATE {"id":200,"product":3}"#);
    assert_eq!(cached(&mut wire), others(&["product of 1"]));
    warm(&redis, &mut wire);
    let mut image = |space: &str, image: &str| wire.call(&["BEAR.INVALIDATE", space, "IMAGE", image]).int();
    assert_eq!(image("review", r#"{"id":201,"product_id":4,"stars":1}"#), 1);
    assert_eq!(image("review", r#"{"id":202,"product_id":2,"stars":1}"#), 0);
    assert_eq!(image("review", r#"{"id":203,"product_id":null}"#), 0);
    // Nobody knows of which product it is.
    assert_eq!(image("review", r#"{"id":204}"#), 2);
    assert_eq!(image("label", r#"{"id":205,"name":"chairs"}"#), 2);
    assert_eq!(
        cached(&mut wire),
        others(&["product of 1", "product of 2", "product of 7", "label like 1", "label like 2"])
    );
}

#[test]
fn what_a_rows_statement_says_in_other_words_is_found() {
    let (database, redis) = start("off", CATALOG);
    let mut wire = redis.wire();
    let calls = ["product not of 1", "product not of 2"];
    let warm = |wire: &mut Wire| {
        calls.iter().for_each(|call| assert!(!wire.run(&format!("BEAR.QUERY {call}")).is_error()));
        redis.wait_stored();
    };
    for (sql, row, dropped) in [
        ("INSERT INTO product VALUES (30, 1, 'x', 1)", 30, vec![calls[1]]),
        ("INSERT INTO product VALUES (31, NULL, 'x', 1)", 31, calls.to_vec()),
        ("INSERT INTO product VALUES (32, 3, 'x', 1)", 32, calls.to_vec()),
    ] {
        warm(&mut wire);
        database.run(sql);
        wire.run(&format!("BEAR.INVALIDATE product CHANGED {row}"));
        let gone: Vec<&str> = calls.into_iter().filter(|call| !is_cached(&mut wire, call)).collect();
        assert_eq!(gone, dropped, "{sql}");
    }
}

/// More rows than are listed: any change of the section counts; more values than are compared: any value counts.
#[test]
fn what_is_too_much_to_list_is_dropped_by_more() {
    let (database, redis) = start("wal", CATALOG);
    database.run("INSERT INTO category SELECT i, 'c' || i FROM generate_series(10, 12000) i");
    database.run("INSERT INTO review SELECT i, 3, 1 FROM generate_series(1000, 12000) i");
    wait_told(&redis);
    let mut wire = redis.wire();
    for call in ["product of 1", "product of 2", "label like 1", "label like 20000"] {
        wire.run(&format!("BEAR.QUERY {call}"));
    }
    redis.wait_stored();
    let lists = |call: &str| redis.run(&format!("BEAR.EXPLAIN {call}")).map()["lists"].map();
    assert_eq!(lists("product of 1")["product"].int(), 3);
    assert_eq!(lists("label like 1")["names"].int(), 1);
    assert!(lists("label like 20000")["names"].is_nil());
    let explained = redis.run("BEAR.EXPLAIN product of 1");
    let (rules, values) = (explained.map()["rules"].clone(), explained.map()["values"].map());
    let texts = |reply: &Reply| reply.list().iter().map(Reply::text).collect::<Vec<_>>();
    assert_eq!(
        texts(&rules),
        ["product where category_id = {category} and category_id is not null", "review where product_id in _product"]
    );
    assert_eq!(texts(&values["product"]), ["3", "6", "9"]);
    assert!(redis.run("BEAR.EXPLAIN label like 20000").map()["values"].map().is_empty());
    // A review of no product: nobody knows whether the first depended on it, and the second did not.
    database.run("UPDATE review SET stars = 2 WHERE id = 12000");
    wait_told(&redis);
    assert!(!is_cached(&mut wire, "product of 1") && is_cached(&mut wire, "product of 2"));
    database.run("INSERT INTO tag VALUES (50, 'nowhere')");
    wait_told(&redis);
    assert!(is_cached(&mut wire, "label like 1") && !is_cached(&mut wire, "label like 20000"));
}

/// A result of thousands of values is put where changes find it in slices: it is dropped by each of them, and by nothing else.
#[test]
fn thousands_of_values_are_told_apart() {
    let (database, redis) = start("wal", CATALOG);
    database.run("INSERT INTO category SELECT i, 'c' || i FROM generate_series(10, 9000) i");
    wait_told(&redis);
    let mut wire = redis.wire();
    for (name, is_dropped) in [("c9000", true), ("c10", true), ("c9001", false), ("c4500", true)] {
        wire.run("BEAR.QUERY label like 20000");
        redis.wait_stored();
        let lists = redis.run("BEAR.EXPLAIN label like 20000").map()["lists"].map();
        assert_eq!(lists["names"].int(), 8994, "c10 to c9000, and three names of four");
        database.run(&format!("INSERT INTO tag SELECT max(id) + 1, '{name}' FROM tag"));
        wait_told(&redis);
        assert_eq!(!is_cached(&mut wire, "label like 20000"), is_dropped, "{name}");
    }
    // All of it is taken back, too.
    wire.run("BEAR.INVALIDATE label ALL").int();
    eventually("nothing is left to sweep", || redis.info("bear").int("bear_to_sweep") == 0);
    wire.run("BEAR.QUERY label like 1");
    redis.wait_stored();
    database.run("INSERT INTO tag SELECT max(id) + 1, 'c4500' FROM tag");
    wait_told(&redis);
    assert!(is_cached(&mut wire, "label like 1"));
}

/// The values come with the result; what changed before they came is compared with them then.
#[test]
fn a_change_while_the_result_is_fetched_strikes_it() {
    let catalog = CATALOG.replace("AS reviews FROM product p", "AS reviews FROM gate(), product p");
    let database = Postgres::shared_logical().database(SHOP);
    let redis = Redis::builder().postgres(&database).catalog(&catalog).config("bear.feed", "off").start();
    let mut gate = database.close_gate();
    let mut calls: Vec<Wire> = [1, 2].iter().map(|_| redis.wire()).collect();
    for (wire, category) in calls.iter_mut().zip([1, 2]) {
        wire.begin(&format!("BEAR.QUERY product of {category}"));
    }
    gate.wait(2);
    // Of a product of category 1.
    redis.wire().call(&["BEAR.INVALIDATE", "review", "IMAGE", r#"{"id":300,"product_id":6}"#]);
    gate.open();
    calls.iter_mut().for_each(|wire| assert!(!wire.receive().is_error()));
    redis.wait_stored();
    let mut wire = redis.wire();
    assert!(!is_cached(&mut wire, "product of 1") && is_cached(&mut wire, "product of 2"));
}
