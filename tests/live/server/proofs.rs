//! What is said beside a query is compared with its SQL when a catalog is loaded: what leaves stale answers is refused, with the line that
//! would be right, unless its author answers for it.

use crate::support::server::module_path;
use crate::support::{eventually, Database, Postgres, Redis, Reply};

const SHOP: &str = "
CREATE TABLE category(id int PRIMARY KEY, name text NOT NULL);
CREATE TABLE product(id int PRIMARY KEY, category_id int NOT NULL REFERENCES category, name text NOT NULL, price numeric NOT NULL,
    featured bool NOT NULL DEFAULT false, address inet, code uuid, span interval, active bool);
INSERT INTO category VALUES (1, 'chairs');
INSERT INTO product VALUES (1, 1, 'a', 1);
";

const SECTIONS: &str = r#"
[category]
id = "int"
tables = { category = "id" }
row = "SELECT id, name FROM category WHERE id = ANY({ids})"
[product]
id = "int"
tables = { product = "id" }
row = "SELECT id, name, category_id, price, featured, address, code, span, active FROM product WHERE id = ANY({ids})"
"#;

/// A catalog with one query of `product`.
fn catalog(call: &str, sql: &str, beside: &str) -> String {
    format!("{SECTIONS}\n[[product.query]]\ncall = \"{call}\"\nsql = \"{sql}\"\n{beside}\n")
}

fn start(database: &Database) -> Redis {
    let text = catalog("all", "SELECT id, name FROM product", ANY);
    let redis = Redis::builder().postgres(database).catalog(text).config("bear.feed", "off").start();
    eventually("the catalog is checked", || redis.run("BEAR.CATALOG").map()["checked"].text() == "yes");
    redis
}

fn reload(redis: &Redis, text: &str) -> Reply {
    std::fs::write(redis.catalog_path(), text).expect("the catalog");
    redis.run("BEAR.RELOAD")
}

/// What BEAR.CATALOG says of the one query: its proof, and why.
fn proof(redis: &Redis) -> (String, Vec<String>) {
    let section = redis.run("BEAR.CATALOG product").map();
    let query = section["queries"].list()[0].map();
    (query["proof"].text(), query["reasons"].list().iter().map(Reply::text).collect())
}

/// Any change of a product counts.
const ANY: &str = "match = \"*\"";

const JOINED: &str = "SELECT p.id, c.name FROM product p JOIN category c ON c.id = p.category_id";

#[test]
fn what_leaves_stale_answers_is_refused_with_the_line_that_would_be_right() {
    let database = Postgres::shared().database(SHOP);
    let redis = start(&database);
    let priced = |compared: &str| format!("SELECT p.id FROM product p WHERE {compared}");
    for (call, sql, beside, reason) in [
        ("x {a:int}", priced("price <= {a} OR featured"), "match = \"price <= {a}\"", "price <= {a} or featured"),
        ("x {a:int}", priced("price <= {a}"), "match = \"price < {a}\"", "price <= {a}"),
        (
            "x",
            JOINED.replace("c.name", "c.name, p.id AS _category"),
            "",
            "_category is product.id, which is no id of the section 'category'",
        ),
        ("x", "SELECT id, now() AS seen FROM product".to_owned(), "", "now"),
        ("x", "SELECT id, random() AS luck FROM product".to_owned(), "", "random"),
        ("x {v:text}", priced("address = {v}::inet"), "match = \"address = {v}\"", "two texts may be one value"),
        ("x {v:text}", priced("code = {v}::uuid"), "match = \"code = {v}\"", "two texts may be one value"),
        ("x {v:text}", priced("span = {v}::interval"), "match = \"span = {v}\"", "two texts may be one value"),
        ("x {v:text}", priced("active = {v}::bool"), "match = \"active = {v}\"", "two texts may be one value"),
    ] {
        let reply = reload(&redis, &catalog(call, &sql, beside));
        assert!(reply.is_error() && reply.error().contains(reason), "{sql} | {beside}\n-> {reply:?}");
        assert_eq!(proof(&redis).0, "proven", "the catalog before stays: {sql}");
        let trusted = catalog(call, &sql, &format!("{beside}\ntrust = \"we know\""));
        assert!(reload(&redis, &trusted).is_ok(), "{sql} | {beside}");
        assert_eq!(proof(&redis), ("trust".to_owned(), vec!["we know".to_owned()]));
        assert!(reload(&redis, &catalog("all", "SELECT id, name FROM product", ANY)).is_ok());
    }
}

#[test]
fn what_is_right_is_proven_and_what_nobody_can_tell_is_declared() {
    let database = Postgres::shared().database(SHOP);
    let redis = start(&database);
    for (call, sql, beside, standing) in [
        // Of which nothing is said, that is found.
        ("x", JOINED.to_owned(), "", "derived"),
        ("x", JOINED.to_owned(), ANY, "derived"),
        ("x", JOINED.to_owned(), "match = \"*\"\non = { category = \"*\" }", "proven"),
        ("x", JOINED.replace("c.name", "c.name, c.id AS _category"), ANY, "proven"),
        ("x {a:int}", "SELECT id FROM product WHERE price <= {a}".to_owned(), "match = \"price <= {a}\"", "proven"),
        (
            "x {a:int}",
            "SELECT id FROM product WHERE price <= {a} OR featured".to_owned(),
            "match = \"price <= {a} or featured = true\"",
            "proven",
        ),
        ("x", "SELECT id, now() AS seen FROM product".to_owned(), "match = \"*\"\nttl = \"1s\"", "proven"),
        ("x {a:text}", "SELECT id FROM product WHERE name LIKE {a}".to_owned(), "match = \"name = {a}\"", "declared"),
    ] {
        let reply = reload(&redis, &catalog(call, &sql, beside));
        assert!(reply.is_ok(), "{sql} | {beside}\n-> {reply:?}");
        let found = proof(&redis);
        // Nothing restricts the products, or the categories that they have.
        assert_eq!((&*found.0, found.1.is_empty()), (standing, standing == "proven"), "{sql}: {found:?}");
    }
    let info = redis.info("bear");
    assert_eq!((info.int("bear_catalog_proven"), info.int("bear_catalog_declared")), (0, 1));
}

/// A section of its own follows a relation that no section of the file maps, and without a feed nobody tells of its changes.
#[test]
fn without_a_feed_who_must_tell_of_a_relation_is_said() {
    let database = Postgres::shared().database(SHOP);
    let redis = start(&database);
    let text = format!("[product]\n[[product.query]]\ncall = \"all\"\nsql = \"{JOINED}\"\n");
    assert!(reload(&redis, &text).is_ok());
    let warnings = redis.run("BEAR.CATALOG").map()["warnings"].list().iter().map(Reply::text).collect::<Vec<_>>();
    assert_eq!(
        warnings,
        ["section 'product', query 'all': reads relation 'category', which no section of the file maps: without a feed its \
          changes are told by BEAR.INVALIDATE category alone"]
    );
    let mut wire = redis.wire();
    assert!(wire.run("BEAR.QUERY product all").text().contains("chairs"));
    redis.wait_stored();
    database.run("UPDATE category SET name = 'stools'");
    assert_eq!(wire.run("BEAR.INVALIDATE category ROW 1"), Reply::Int(1));
    assert!(wire.run("BEAR.QUERY product all").text().contains("stools"));
    let sections = redis.run("BEAR.CATALOG").map()["sections"].list().iter().map(Reply::text).collect::<Vec<_>>();
    assert_eq!(sections, ["category", "product"]);
}

/// A job that has products follow a category that goes, and tells of the category alone.
const TAKES_ALONG: &str = r#"
[category]
[category.job.REMOVE]
data = { id = "int" }
sql = "DELETE FROM category USING {jobs} job WHERE category.id = job.id RETURNING job.n, category.id"
[product]
[[product.query]]
call = "of {category:int}"
sql = "SELECT id, name FROM product WHERE category_id = {category}"
"#;

#[test]
fn a_job_that_changes_what_it_does_not_tell_of_needs_a_feed() {
    let cascade = SHOP.replace("REFERENCES category,", "REFERENCES category ON DELETE CASCADE,");
    let hints = |redis: &Redis| {
        let section = redis.run("BEAR.CATALOG category").map();
        let job = section["jobs"].list()[0].map();
        job["hints"].sorted_texts()
    };
    let untold =
        "changes 'product' (ON DELETE CASCADE of 'category'), which section 'product', query 'of {category:int}' reads";

    let database = Postgres::shared_logical().database(&cascade);
    let redis = Redis::builder().postgres(&database).catalog(TAKES_ALONG).config("bear.feed", "wal").start();
    eventually("it is said", || hints(&redis).iter().any(|hint| hint.contains(untold)));
    assert_eq!(redis.run("BEAR.CATALOG").map()["errors"].sorted_texts(), Vec::<String>::new());
    // As it says, the feed drops what depends on it.
    let mut wire = redis.wire();
    eventually("it is stored", || {
        wire.run("BEAR.QUERY product of 1");
        redis.wait_stored();
        !wire.run("BEAR.QUERY product CACHED of 1").is_nil()
    });
    crate::support::jobs::complete(&mut wire, r#"category REMOVE {"id":1}"#);
    eventually("it is dropped", || wire.run("BEAR.QUERY product CACHED of 1").is_nil());
    assert_eq!(wire.run("BEAR.QUERY product of 1").text(), "[]");

    // By `auto`, where Postgres does not allow it.
    let database = Postgres::shared().database(&cascade);
    let redis = Redis::builder().postgres(&database).catalog(TAKES_ALONG).start();
    let errors = |redis: &Redis| redis.run("BEAR.CATALOG").map()["errors"].sorted_texts();
    eventually("it is an error", || errors(&redis).iter().any(|error| error.contains(untold)));
    assert!(redis.run("BEAR.RELOAD").error().contains("let bear.feed follow it"));
    // Its author tells of them.
    let told = TAKES_ALONG.replace(
        "sql = \"DELETE FROM category USING {jobs} job WHERE category.id = job.id RETURNING job.n, category.id\"",
        "sql = \"WITH d AS (DELETE FROM category USING {jobs} job WHERE category.id = job.id RETURNING job.n, category.id) \
         SELECT n, 'category' AS section, id FROM d UNION ALL SELECT d.n, 'product', p.id FROM d JOIN product p ON p.category_id = d.id\"",
    );
    assert_ne!(told, TAKES_ALONG);
    assert!(reload(&redis, &told).is_ok(), "{:?}", redis.run("BEAR.RELOAD"));
    assert_eq!(errors(&redis), Vec::<String>::new());
}

/// What `scripts/check-catalog.sh` prints, and its exit code.
fn check(database: &Database, options: &[&str], text: &str) -> (String, i32) {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), text).expect("the catalog");
    let mut command = std::process::Command::new("scripts/check-catalog.sh");
    command.args(options).arg(file.path()).arg(database.url()).current_dir(env!("CARGO_MANIFEST_DIR"));
    command.env("BEAR_MODULE", module_path());
    if let Some(server) = std::env::var_os("BEAR_TEST_SERVER") {
        command.env("REDIS_SERVER", server);
    }
    let output = command.output().expect("the script");
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (text, output.status.code().expect("it ends"))
}

#[test]
fn a_catalog_is_checked_by_a_script() {
    let database =
        Postgres::shared().database(&SHOP.replace("REFERENCES category,", "REFERENCES category ON DELETE CASCADE,"));
    let (text, code) = check(&database, &[], TAKES_ALONG);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("product  of {category:int}  derived"), "{text}");
    assert!(
        text.contains("hint: section 'category', job REMOVE: changes 'product' (ON DELETE CASCADE of 'category')"),
        "{text}"
    );
    let (text, code) = check(&database, &["--no-feed"], TAKES_ALONG);
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("error: section 'category', job REMOVE: changes 'product'"), "{text}");
    let wrong = catalog("x {a:int}", "SELECT p.id FROM product p WHERE price <= {a}", "match = \"price < {a}\"");
    let (text, code) = check(&database, &["--json"], &wrong);
    assert_eq!(code, 1, "{text}");
    let found: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(found["queries"][0]["proof"], "wrong", "{text}");
    assert!(found["errors"][0].as_str().expect("a text").contains("say match = \"price <= {a}\""), "{text}");
    let (text, code) = check(&database, &["--yaml"], &wrong);
    assert_eq!((text.as_str(), code), ("check-catalog: there is no option --yaml\n", 2));
}
