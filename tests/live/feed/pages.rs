//! Pages: a row that sorts after the last row of a full page drops nothing of it, for each kind of feed; a page that has room is
//! dropped by what comes at its end.

use crate::support::feed::{is_cached, wait_told};
use crate::support::{eventually, Database, Postgres, Redis, Wire};

const SHOP: &str = "
CREATE TABLE category(id int PRIMARY KEY, place int);
CREATE TABLE product(id int PRIMARY KEY, category_id int NOT NULL, price numeric, name text NOT NULL);
INSERT INTO category VALUES (1, 10), (2, 20), (3, NULL);
INSERT INTO product SELECT i, 1, 10 * i, 'p' || i FROM generate_series(1, 5) i;
INSERT INTO product VALUES (11, 2, 10, 'x'), (12, 2, NULL, 'y'), (13, 3, 5, 'z');
";

const CATALOG: &str = r#"
[category]
id = "int"
tables = { category = "id" }
row = "SELECT id, place FROM category WHERE id = ANY({ids})"
[product]
id = "int"
tables = { product = "id" }
row = "SELECT id, category_id, price FROM product WHERE id = ANY({ids})"
[[product.query]]
call = "cheap {category:int}"
sql = "SELECT id, price FROM product WHERE category_id = {category} ORDER BY price, id LIMIT 3"
match = "category_id = {category} and (price:numeric, id:int) <= _last"
page = 3
[[product.query]]
call = "dear {n:int}"
sql = "SELECT id, price AS _price FROM product ORDER BY price DESC NULLS LAST, id LIMIT {n}"
match = "(price:numeric desc nulls last, id:int) <= _last (_price, id)"
page = "{n}"
[[product.query]]
call = "places {n:int}"
sql = "SELECT p.id, c.place FROM product p JOIN category c ON c.id = p.category_id ORDER BY c.place, p.id LIMIT {n}"
match = "*"
on = { category = "(place:int) <= _last" }
lists = { category = "SELECT id FROM (SELECT c.id FROM product p JOIN category c ON c.id = p.category_id ORDER BY c.place, p.id LIMIT {n}) x" }
page = "{n}"
"#;

/// Cheap of 1: 1, 2, 3, to 30; of 2, not full: 11, 12. Dear: 5, 4 (50, 40), and all eight, 12 the last, without a price. Places: five
/// of place 10, and seven, to 20.
const CALLS: [&str; 7] = [
    "product cheap 1",
    "product cheap 2",
    "product dear 2",
    "product dear 8",
    "product dear 9",
    "product places 5",
    "product places 7",
];

/// A change in SQL, and which of the calls it concerns; each is taken back before the next.
const CHANGES: [(&str, &[&str]); 16] = [
    // After the last row; equal to it but for the id; equal to it in a key before another of its own.
    ("INSERT INTO product VALUES (20, 1, 31, 'a')", &["product dear 8", "product dear 9"]),
    ("INSERT INTO product VALUES (20, 1, 30, 'a')", &["product dear 8", "product dear 9"]),
    ("INSERT INTO product VALUES (0, 1, 30, 'a')", &["product cheap 1", "product dear 8", "product dear 9"]),
    ("INSERT INTO product VALUES (20, 1, 29.99, 'a')", &["product cheap 1", "product dear 8", "product dear 9"]),
    ("INSERT INTO product VALUES (20, 1, 40.5, 'a')", &["product dear 2", "product dear 8", "product dear 9"]),
    // NULL is last: of a full page that ends in one, by the second key; in one that has room, it is inside.
    ("INSERT INTO product VALUES (20, 1, NULL, 'a')", &["product dear 9"]),
    ("INSERT INTO product VALUES (6, 1, NULL, 'a')", &["product dear 8", "product dear 9"]),
    ("INSERT INTO product VALUES (20, 2, NULL, 'a')", &["product cheap 2", "product dear 9"]),
    // A row that moves: beyond the end, behind it, into the page, out of it.
    ("UPDATE product SET price = 45 WHERE id = 5", &["product dear 2", "product dear 8", "product dear 9"]),
    ("UPDATE product SET price = 35 WHERE id = 4", &["product dear 2", "product dear 8", "product dear 9"]),
    (
        "UPDATE product SET price = 1 WHERE id = 4",
        &["product cheap 1", "product dear 2", "product dear 8", "product dear 9"],
    ),
    (
        "UPDATE product SET price = 90 WHERE id = 1",
        &["product cheap 1", "product dear 2", "product dear 8", "product dear 9"],
    ),
    ("DELETE FROM product WHERE id = 3", &["product cheap 1", "product dear 8", "product dear 9"]),
    // Of another relation's keys.
    ("INSERT INTO category VALUES (4, 11)", &["product places 7"]),
    ("INSERT INTO category VALUES (4, 10)", &["product places 5", "product places 7"]),
    ("INSERT INTO category VALUES (4, NULL), (5, 21)", &[]),
];

fn start(feed: &str) -> (Database, Redis) {
    let database = Postgres::shared_logical().database(SHOP);
    let redis = Redis::builder().postgres(&database).catalog(CATALOG).config("bear.feed", feed).prompt_feed().start();
    wait_told(&redis);
    (database, redis)
}

fn cached(wire: &mut Wire) -> Vec<&'static str> {
    CALLS.into_iter().filter(|call| is_cached(wire, call)).collect()
}

#[test]
fn what_sorts_after_a_full_page_drops_nothing_of_it() {
    for feed in ["wal", "outbox"] {
        let (database, redis) = start(feed);
        let mut wire = redis.wire();
        for (sql, dropped) in CHANGES {
            database.run("DELETE FROM product; DELETE FROM category");
            database
                .run(SHOP.split_once("INSERT").map(|(_, rows)| format!("INSERT{rows}")).unwrap_or_default().as_str());
            wait_told(&redis);
            eventually("all is cached", || {
                for call in CALLS {
                    let reply = wire.run(&format!("BEAR.QUERY {call}"));
                    assert!(!reply.is_error(), "{call}: {reply:?}");
                }
                redis.wait_stored();
                cached(&mut wire) == CALLS
            });
            database.run(sql);
            wait_told(&redis);
            // `places` says nothing of products: any change is one.
            let is_dropped =
                |call: &&str| dropped.contains(call) || (sql.contains("product") && call.contains("places"));
            let expected: Vec<&str> = CALLS.into_iter().filter(|call| !is_dropped(call)).collect();
            assert_eq!(cached(&mut wire), expected, "{feed}: {sql}");
        }
    }
}

/// What a client tells is compared alike; the sort key that is not shown is in no answer.
#[test]
fn an_image_that_sorts_after_the_page_drops_nothing() {
    let (_database, redis) = start("wal");
    let mut wire = redis.wire();
    assert_eq!(wire.run("BEAR.QUERY product dear 2").text(), r#"[{"id":5},{"id":4}]"#);
    redis.wait_stored();
    let explained = redis.run("BEAR.EXPLAIN product dear 2");
    let page = explained.map()["page"].map();
    assert_eq!((page["_price"].text(), page["id"].text()), ("40".to_owned(), "4".to_owned()));
    assert_eq!(redis.run("BEAR.EXPLAIN product dear 9").map()["page"].map().len(), 0);
    for (image, removed) in [
        (r#"{"id":50,"price":39.5}"#, 0),
        (r#"{"id":50,"price":null}"#, 0),
        (r#"{"id":50,"price":40}"#, 0),
        (r#"{"id":3,"price":40}"#, 1),
    ] {
        let reply = wire.call(&["BEAR.INVALIDATE", "product", "IMAGE", image]);
        assert_eq!(reply.int(), removed, "{image}");
    }
}
