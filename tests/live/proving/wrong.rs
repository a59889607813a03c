//! Declarations that leave stale answers, each with an author who answers for it: all are found, by histories that a reader takes in at
//! a glance, and that show the same when they are pasted.

use super::{line, options};
use crate::prove::prove;
use crate::prove::run::Feed;

const SCHEMA: &str = "
CREATE TABLE category(id int PRIMARY KEY, name text NOT NULL);
CREATE TABLE product(id int PRIMARY KEY, category_id int REFERENCES category ON DELETE CASCADE, name text NOT NULL,
    price numeric NOT NULL, featured bool NOT NULL DEFAULT false, address inet);
";

const CATALOG: &str = r#"
[product]
id = "int"
tables = { product = "id" }
row = "SELECT id, price, featured, address::text AS address FROM product WHERE id = ANY({ids})"

[[product.query]]
call = "joined"
sql = "SELECT p.id, c.name FROM product p JOIN category c ON c.id = p.category_id"
trust = "nothing of category"

[[product.query]]
call = "featured {a:int}"
sql = "SELECT id, price FROM product WHERE price <= {a} OR featured"
match = "price <= {a}"
trust = "less than the SQL"

[[product.query]]
call = "page {a:int}"
sql = "SELECT id, price FROM product WHERE price <= {a} OR featured ORDER BY price LIMIT 500"
match = "price <= {a}"
trust = "less than the SQL, and no order decides which rows it shows"

[[product.query]]
call = "below {a:int}"
sql = "SELECT id FROM product WHERE price <= {a}"
match = "price < {a}"
trust = "not at the bound"

[[product.query]]
call = "wrong {id:int}"
sql = "SELECT p.id, c.name, p.id AS _category FROM product p JOIN category c ON c.id = p.category_id WHERE p.id = {id}"
match = "id = {id}"
trust = "ids of the wrong column"

[[product.query]]
call = "time"
sql = "SELECT id, now() AS time FROM product"
trust = "it changes by itself"

[[product.query]]
call = "at {v:text}"
sql = "SELECT id FROM product WHERE address = {v}::inet"
match = "address = {v}"
trust = "of two spellings"

[[product.query]]
call = "right {a:int}"
sql = "SELECT id, price FROM product WHERE price <= {a} OR featured"

[category]
id = "int"
tables = { category = "id" }
row = "SELECT id, name FROM category WHERE id = ANY({ids})"
"#;

#[test]
fn each_wrong_declaration_is_found_and_made_small() {
    let (_database, mut options) = options(SCHEMA, CATALOG, 30, &[Feed::Wal]);
    // What is looked for below; histories are of what no race has found.
    options.enough = |figures| {
        let (right, wrong) = figures.split_last().expect("there are queries");
        wrong.iter().all(|of| of.stale > of.overtaken) && right.reads > 20 && right.drops > 0 && right.changes > 0
    };
    let report = prove(&options, |line| println!("{line}")).unwrap_or_else(|trouble| panic!("{trouble:#?}"));
    println!("{}", report.to_text());
    for call in ["joined", "featured {a:int}", "page {a:int}", "below {a:int}", "wrong {id:int}", "time", "at {v:text}"]
    {
        let line = line(&report, call);
        assert_eq!(line.proof, "trust");
        let history = line.history.as_ref().unwrap_or_else(|| panic!("{call} is not stale"));
        assert!(history.is_repeated && history.length() <= 3, "{call}: {}", history.script());
        assert_ne!(history.cached, history.now);
        let script = history.script();
        assert!(
            script.contains("redis-cli BEAR.QUERY product FRESH")
                && script.contains("redis-cli BEAR.QUERY product CACHED"),
            "{script}"
        );
    }
    let right = line(&report, "right {a:int}");
    assert_eq!((&*right.proof, right.figures.stale), ("derived", 0));
    assert!(right.figures.reads > 20 && right.figures.drops > 0 && right.figures.changes > 0, "{:?}", right.figures);
    assert!(report.is_stale() && report.to_json().contains("\"needless_drops\""));
}
