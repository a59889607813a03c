//! `reads` of a query compared with what its SQL reads.

use super::proofs::{parse, validation};
use crate::core::prove::claims::Standing;
use crate::postgres::tests::server::Server;
use crate::postgres::tests::Tried;

const SHOP: &str = "
    CREATE TABLE category (id int PRIMARY KEY, name text NOT NULL, rank int NOT NULL DEFAULT 0, \"Odd, name\" text);
    CREATE TABLE product (id int PRIMARY KEY, category_id int NOT NULL REFERENCES category, name text NOT NULL, price numeric NOT NULL,
        stock int, seen timestamptz, total numeric GENERATED ALWAYS AS (price * 2) STORED);
    CREATE VIEW listed AS SELECT p.id, p.name AS called, c.name AS category FROM product p JOIN category c ON c.id = p.category_id WHERE p.stock > 0";

const SECTIONS: &str = r#"
    [product]
    id = "int"
    tables = { product = "id" }
    row = "SELECT id, category_id, name, price FROM product WHERE id = ANY({ids})"
    [category]
    id = "int"
    tables = { category = "id" }
    row = "SELECT id, name FROM category WHERE id = ANY({ids})"
"#;

/// What is said, and what of it is wrong: none of these texts for what is right.
#[test]
fn what_decides_the_result_and_is_not_said_is_an_error() {
    let server = Server::new();
    server.run(SHOP);
    let tried = Tried::new(&server, |_| {});
    for (query, wrong) in [
        (
            r#"call = "all"
               sql = "SELECT id, name, price FROM product"
               reads = { product = "name, price" }"#,
            vec![],
        ),
        (
            r#"call = "all"
               sql = "SELECT id, name, price FROM product WHERE stock > 0 ORDER BY seen"
               reads = { product = "name, price" }"#,
            vec!["it reads seen, stock of rows of 'product'", "say reads = { product = \"name, price, seen, stock\" }"],
        ),
        // Only that rows are there.
        (
            r#"call = "count"
               rows = false
               single = true
               sql = "SELECT count(*) AS n FROM product"
               reads = { product = "" }"#,
            vec![],
        ),
        // A subselect's column that nobody uses, and one that decides.
        (
            r#"call = "all"
               sql = "SELECT s.id, s.name FROM (SELECT id, name, price FROM product) s"
               reads = { product = "name" }"#,
            vec![],
        ),
        (
            r#"call = "all"
               sql = "SELECT s.id, s.name FROM (SELECT id, name, price FROM product LIMIT 3) s WHERE s.price > 1"
               reads = { product = "name" }"#,
            vec!["it reads price of rows of 'product'"],
        ),
        (
            r#"call = "all"
               sql = "SELECT p.id, p.category_id AS _category, c.name FROM product p JOIN category c ON c.id = p.category_id"
               reads = { product = "category_id", category = "rank" }"#,
            vec!["it reads name of rows of 'category', which reads.category leaves out: say reads = { category = \"name\" }"],
        ),
        // Of a section that is not named all is read.
        (
            r#"call = "all"
               sql = "SELECT p.id, p.category_id AS _category, c.name FROM product p JOIN category c ON c.id = p.category_id"
               reads = { product = "category_id" }"#,
            vec![],
        ),
        // Generated columns, views and whole rows.
        (
            r#"call = "all"
               sql = "SELECT id, total FROM product"
               reads = { product = "total" }"#,
            vec!["it reads price of rows of 'product'"],
        ),
        (
            r#"call = "all"
               on = { category = "*" }
               sql = "SELECT id, called, category FROM listed"
               reads = { product = "name", category = "name" }"#,
            vec!["it reads category_id, stock of rows of 'product'"],
        ),
        (
            r#"call = "all"
               sql = "SELECT p.id, p AS whole FROM product p"
               reads = { product = "name" }"#,
            vec!["it reads whole rows of product", "leave product out of reads"],
        ),
        (
            r#"call = "all"
               sql = "SELECT p.id, p.name, p.xmin::text AS version FROM product p"
               reads = { product = "name" }"#,
            vec!["it reads whole rows of product"],
        ),
        (
            r#"call = "all"
               on = { category = "*" }
               sql = 'SELECT p.id, c."Odd, name" AS odd FROM product p JOIN category c ON c.id = p.category_id'
               reads = { category = "rank", product = "category_id" }"#,
            vec![r#"say reads = { category = '"Odd, name"' }"#],
        ),
    ] {
        let standing_of = |query: &str| {
            let catalog = parse(&format!("{SECTIONS}\n[[product.query]]\n{query}"));
            let report = tried.pool.validate(&validation(&catalog)).unwrap();
            let proof = report.proofs.values().next().unwrap_or_else(|| panic!("{query}: {report:?}"));
            (proof.standing, proof.reasons.join("; "))
        };
        let (standing, reasons) = standing_of(query);
        assert_eq!(standing == Standing::Wrong, !wrong.is_empty(), "{query}: {reasons}");
        wrong.iter().for_each(|text| assert!(reasons.contains(text), "{query}: {reasons}"));
        let (standing, _) = standing_of(&format!("{query}\ntrust = \"I know\""));
        assert_eq!(standing, Standing::Trusted, "{query}");
    }
}
