//! Statements that Postgres shows as no other: nested as deep as can be, with names of signs, with literals that mean now.

use crate::support::feed::{is_cached, wait_told};
use crate::support::{eventually, Postgres, Redis, Reply};

fn checked(redis: &Redis) -> Vec<String> {
    eventually("the catalog is checked", || redis.run("BEAR.CATALOG").map()["checked"].text() == "yes");
    redis.run("BEAR.CATALOG").map()["errors"].list().iter().map(Reply::text).collect()
}

const CATALOG: &str = r#"
[product]
id = "int"
tables = { product = "id" }
[[product.query]]
call = "{id:int}"
sql = "SELECT id FROM product WHERE id = {id}"
"#;

/// Its name, its SQL of a depth, and a depth that is taken.
type Shape<'a> = (&'static str, &'a dyn Fn(usize) -> String, usize);

/// As deep as is read, and deeper: one is derived, the other refused, and the server lives.
#[test]
fn statements_of_any_depth_break_nothing() {
    let database = Postgres::shared().database("CREATE TABLE product(id int PRIMARY KEY, price int)");
    let redis = Redis::builder().postgres(&database).catalog(CATALOG).config("bear.feed", "off").start();
    let mut wire = redis.wire();
    let repeated = |times: usize, before: &str, core: &str, after: &str| {
        format!("{}{core}{}", before.repeat(times), after.repeat(times))
    };
    let shapes: [Shape; 7] = [
        ("a sum", &|depth| format!("SELECT id, id{} AS n FROM product WHERE id = $1", " + price".repeat(depth)), 990),
        (
            "a concatenation",
            &|depth| format!("SELECT id, ''{} AS n FROM product", " || price::text".repeat(depth)),
            480,
        ),
        (
            "a condition",
            &|depth| {
                format!("SELECT id FROM product WHERE {}", repeated(depth, "(price = 1 OR (id = 2 AND ", "true", "))"))
            },
            240,
        ),
        ("functions", &|depth| format!("SELECT {} AS n, id FROM product", repeated(depth, "abs(", "price", ")")), 990),
        (
            "cases",
            &|depth| {
                format!(
                    "SELECT id, {} AS n FROM product",
                    repeated(depth, "CASE WHEN id = 1 THEN 2 ELSE ", "3", " END")
                )
            },
            900,
        ),
        (
            "subselects",
            &|depth| format!("SELECT id FROM {}", repeated(depth, "(SELECT id FROM ", "product p", ") p")),
            60,
        ),
        (
            "a union",
            &|depth| {
                format!("SELECT id FROM product{}", " UNION ALL SELECT id FROM product WHERE price = 1".repeat(depth))
            },
            60,
        ),
    ];
    for (what, shape, depth) in shapes {
        let taken = wire.call(&["BEAR.PROPOSE", "SQL", &shape(depth)]);
        assert!(matches!(&taken, Reply::Bulk(_)), "{what}: {taken:?}");
        for more in [2, 4] {
            let reply = wire.call(&["BEAR.PROPOSE", "SQL", &shape(depth * more)]);
            assert!(matches!(&reply, Reply::Bulk(_) | Reply::Error(_)), "{what}: {reply:?}");
        }
    }
    let refused = wire.call(&["BEAR.PROPOSE", "SQL", &shapes[0].1(4_000)]);
    assert!(refused.error().contains("too many nodes within each other"), "{refused:?}");
}

/// What cannot be derived is nobody's to believe: a catalog that says nothing of it is refused.
#[test]
fn a_query_whose_tree_cannot_be_read_is_an_error() {
    let database = Postgres::shared().database("CREATE TABLE product(id int PRIMARY KEY, price int)");
    let deep = format!(
        "\n[[product.query]]\ncall = \"deep\"\nsql = \"SELECT id, id{} AS n FROM product\"\n",
        " + price".repeat(3_000)
    );
    let start = |beside: &str| {
        let text = format!("{CATALOG}{deep}{beside}");
        Redis::builder().postgres(&database).catalog(text).config("bear.feed", "off").start()
    };
    let errors = checked(&start(""));
    assert!(errors.len() == 1 && errors[0].contains("what it depends on cannot be derived"), "{errors:?}");
    assert_eq!(checked(&start("trust = \"nobody changes it\"\n")), [""; 0]);
}

/// Postgres prints brackets and colons of names as they are.
#[test]
fn what_names_of_signs_show_is_dropped() {
    for name in ["[x]", "]", "[", ":x", ":", "a:b[1]", "{x}", "(x)", "<>", "1", "\\", "é ü", " x "] {
        let quoted = format!("\"{}\"", name.replace('"', "\"\""));
        let database = Postgres::shared_logical().database(&format!(
            "CREATE TABLE shop(id int PRIMARY KEY, name text); INSERT INTO shop VALUES (1, 'one');
             CREATE TABLE product(id int PRIMARY KEY, {quoted} int, shop_id int REFERENCES shop); INSERT INTO product VALUES (1, 1, 1)"
        ));
        let sql = format!(
            "SELECT p.id, p.{quoted}, s.name FROM product p JOIN shop s ON s.id = p.shop_id WHERE p.id = {{id}}"
        );
        let catalog = format!(
            "[shop]\nid = \"int\"\ntables = {{ shop = \"id\" }}\n[product]\nid = \"int\"\ntables = {{ product = \"id\" }}\n\
             [[product.query]]\ncall = \"{{id:int}}\"\nsql = '''{sql}'''\n"
        );
        let redis = Redis::builder().postgres(&database).catalog(catalog).config("bear.feed", "wal").start();
        assert_eq!(checked(&redis), [""; 0], "{name}");
        let proof = redis.run("BEAR.CATALOG product").map()["queries"].list()[0].map()["proof"].text();
        assert_eq!(proof, "derived", "{name}");
        wait_told(&redis);
        redis.run("BEAR.QUERY product 1");
        redis.wait_stored();
        assert!(is_cached(&mut redis.wire(), "product 1"), "{name}");
        database.run("UPDATE shop SET name = 'two'");
        wait_told(&redis);
        assert!(redis.run("BEAR.QUERY product 1").text().contains("two"), "{name}");
    }
}

/// Postgres reads such a literal once, when the statement is prepared.
#[test]
fn literals_that_mean_now_are_refused() {
    let database =
        Postgres::shared().database("CREATE TABLE visit(id int PRIMARY KEY, at timestamptz, day date, note text)");
    let redis = Redis::builder().postgres(&database).catalog(CATALOG).config("bear.feed", "off").start();
    for (sql, literal) in [
        ("SELECT id FROM visit WHERE at > 'now'", Some("'now'")),
        ("SELECT id FROM visit WHERE at > 'NOW'::timestamptz - interval '1 day'", Some("'NOW'")),
        ("SELECT id FROM visit WHERE day = date 'today'", Some("'today'")),
        ("SELECT id FROM visit WHERE day = ANY ('{yesterday,today}'::date[])", Some("'{yesterday,today}'")),
        ("SELECT id FROM visit WHERE note = 'now'", None),
        ("SELECT id FROM visit WHERE day = '2026-01-01'", None),
    ] {
        let reply = redis.wire().call(&["BEAR.PROPOSE", "SQL", sql]);
        match literal {
            Some(literal) => {
                let expected = format!("{literal} is read once, when the statement is prepared");
                assert!(reply.error().contains(&expected), "{sql}: {reply:?}");
            }
            None => assert!(!reply.is_error(), "{sql}: {reply:?}"),
        }
    }
}
