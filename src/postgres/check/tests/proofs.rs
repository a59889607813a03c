//! What is said beside SQL, compared with it: each declaration that left stale answers is an error, and says what is right.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::core::catalog::read_catalog;
use crate::core::catalog::Catalog;
use crate::core::prove::claims::Standing;
use crate::postgres::tests::server::Server;
use crate::postgres::tests::Tried;
use crate::postgres::{StatementKind, ValidateStatement, Validation, ValidationReport};

const SHOP: &str = "
    CREATE TABLE category (id int PRIMARY KEY, name text NOT NULL, active bool NOT NULL DEFAULT true);
    CREATE TABLE product (id int PRIMARY KEY, category_id int NOT NULL REFERENCES category, name text NOT NULL, price numeric NOT NULL, featured bool NOT NULL DEFAULT false, host inet, code uuid, took interval, sold bool, other_id int);
    CREATE TABLE review (id int PRIMARY KEY, product_id int NOT NULL REFERENCES product, stars int NOT NULL);
    CREATE TABLE unmapped (id int PRIMARY KEY);
    CREATE VIEW listed AS SELECT p.id, p.name, c.name AS category FROM product p JOIN category c ON c.id = p.category_id;
    CREATE FUNCTION looks() RETURNS int LANGUAGE sql STABLE AS 'SELECT count(*)::int FROM review'";

const SECTIONS: &str = r#"
    [product]
    id = "int"
    tables = { product = "id" }
    row = "SELECT id, category_id, price, featured, name, host, code, took, sold, other_id FROM product WHERE id = ANY({ids})"
    [category]
    id = "int"
    tables = { category = "id" }
    row = "SELECT id, name FROM category WHERE id = ANY({ids})"
    [review]
    id = "int"
    tables = { review = "id" }
    row = "SELECT id, product_id, stars FROM review WHERE id = ANY({ids})"
"#;

pub(super) fn validation(catalog: &Catalog) -> Validation {
    let mut statements = Vec::new();
    for section in catalog.sections.iter() {
        for (query, plan) in section.queries.iter().filter_map(|query| Some((query, query.plan()?))) {
            statements.push(ValidateStatement {
                what: format!("section '{}', query '{}'", section.name, query.call.text()),
                sql: String::new(),
                params: vec![],
                kind: StatementKind::Query(plan.clone()),
            });
        }
    }
    let tables = catalog.sections.iter().flat_map(|section| &section.tables);
    let mapped_tables = tables.map(|table| table.name.to_string()).collect();
    let deadline = Instant::now() + Duration::from_secs(120);
    Validation {
        ticket: 1,
        statements,
        mapped_tables,
        sections: catalog.sections.clone(),
        file: None,
        has_feed: true,
        deadline,
    }
}

pub(super) fn parse(text: &str) -> Catalog {
    let mut next = 0;
    let mut id = || {
        next += 1;
        next
    };
    read_catalog::parse(text, &mut id).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn validated(tried: &Tried, query: &str) -> (Standing, Vec<String>, ValidationReport) {
    let catalog = parse(&format!("{SECTIONS}\n[[product.query]]\n{query}"));
    let report = tried.pool.validate(&validation(&catalog)).unwrap();
    let proof = report.proofs.values().next().unwrap_or_else(|| panic!("{query}: {report:?}")).clone();
    (proof.standing, proof.reasons, report)
}

/// Each is an error whose text holds all of these.
const WRONG: [(&str, &[&str]); 23] = [
    // Nothing of a relation that a section maps.
    (
        r#"call = "all"
           sql = "SELECT p.id, c.name FROM product p JOIN category c ON c.id = p.category_id""#,
        &["it reads category c", "on = { category = \"*\" }", "c.id AS _category"],
    ),
    (
        r#"call = "{id:int}"
           sql = "SELECT p.id, (SELECT count(*) FROM review r WHERE r.product_id = p.id) AS n FROM product p WHERE p.id = {id}"
           match = "id = {id}""#,
        &["it reads review r", "on = { review = \"*\" }"],
    ),
    // Narrower than the SQL.
    (
        r#"call = "to {a:numeric}"
           sql = "SELECT id FROM product WHERE price <= {a} OR featured"
           match = "price <= {a}""#,
        &["match = \"price <= {a}\" leaves out rows", "price <= {a} or featured"],
    ),
    (
        r#"call = "to {a:numeric}"
           sql = "SELECT id FROM product WHERE price <= {a}"
           match = "price < {a}""#,
        &["match = \"price < {a}\" leaves out rows", "say match = \"price <= {a}\""],
    ),
    (
        r#"call = "to {a:numeric} {b:numeric}"
           sql = "SELECT id FROM product WHERE price <= {a} AND {b} IS NOT NULL"
           match = "price <= {b}""#,
        &["say match = \"price <= {a}\""],
    ),
    (
        r#"call = "all"
           sql = "SELECT id FROM product"
           match = "featured = true""#,
        &["demands nothing like it", "say no match"],
    ),
    (
        r#"call = "of {name:text}"
           sql = "SELECT p.id, p.category_id AS _category FROM product p JOIN category c ON c.id = p.category_id WHERE c.name = {name}""#,
        &["rows of 'category' that the result does not list", "on = { category = \"name = {name}\" }"],
    ),
    (
        r#"call = "of {name:text}"
           sql = "SELECT p.id, p.category_id AS _category FROM product p JOIN category c ON c.id = p.category_id WHERE c.name = {name}"
           on = { category = "name = 'chairs'" }"#,
        &["on.category = \"name = 'chairs'\" leaves out rows", "on = { category = \"name = {name}\" }"],
    ),
    // The wrong id.
    (
        r#"call = "all"
           sql = "SELECT p.id, c.name, p.id AS _category FROM product p JOIN category c ON c.id = p.category_id""#,
        &["_category is product.id", "no id of the section 'category'", "say c.id AS _category"],
    ),
    (
        r#"call = "all"
           sql = "SELECT c.id, p.name, c.id AS _category FROM product p JOIN category c ON c.name = p.name""#,
        &["id is category.id", "no id of the section 'product'", "say p.id AS id"],
    ),
    // Lists that lack rows.
    (
        r#"call = "in {c:int}"
           sql = "SELECT p.id, r.id AS _review FROM product p JOIN review r ON r.product_id = p.id WHERE p.category_id = {c}"
           match = "category_id = {c}"
           on = { review = "product_id in _product" }"#,
        &["on.review = \"product_id in _product\"", "may get their first", "lists = { product ="],
    ),
    (
        r#"call = "all"
           sql = "SELECT p.id, (SELECT count(*) FROM review r) AS n FROM product p"
           on = { review = "product_id in _product" }
           lists = { review = "SELECT id FROM review" }"#,
        &["leaves out rows that the SQL takes of review", "say on = { review = \"*\" }"],
    ),
    (
        r#"call = "named {name:text}"
           sql = "SELECT p.id FROM product p JOIN category c ON c.id = p.category_id WHERE c.name = {name}"
           match = "category_id in _category"
           on = { category = "name = {name}" }
           lists = { category = "SELECT p.id FROM product p JOIN category c ON c.id = p.category_id WHERE c.name = {name}" }"#,
        &["lists.category gives product.id, which is no id of the section 'category'"],
    ),
    (
        r#"call = "named {name:text}"
           sql = "SELECT p.id FROM product p JOIN category c ON c.id = p.category_id WHERE c.name = {name}"
           match = "category_id in _category"
           on = { category = "name = {name}" }
           lists = { category = "SELECT id FROM category WHERE name = {name} AND active" }"#,
        &["match = \"category_id in _category\"", "lists.category demands active of category, and the SQL does not"],
    ),
    // By themselves.
    (
        r#"call = "all"
           sql = "SELECT id, now() AS at FROM product""#,
        &["now()", "ttl"],
    ),
    (
        r#"call = "all"
           sql = "SELECT id, random() AS at FROM product""#,
        &["random()", "ttl"],
    ),
    (
        r#"call = "all"
           sql = "SELECT id, looks() AS n FROM product""#,
        &["public.looks()", "trust"],
    ),
    // Texts that differ, values that do not.
    (
        r#"call = "on {v:text}"
           sql = "SELECT id FROM product WHERE host = {v}::inet"
           match = "host = {v}""#,
        &["compares texts of host", "inet"],
    ),
    (
        r#"call = "on {v:text}"
           sql = "SELECT id FROM product WHERE code = {v}::uuid"
           match = "code = {v}""#,
        &["compares texts of code", "uuid"],
    ),
    (
        r#"call = "on {v:text}"
           sql = "SELECT id FROM product WHERE took = {v}::interval AND price > 0"
           match = "took = {v}""#,
        &["compares texts of took", "interval"],
    ),
    // Pages of another order, of fewer rows, or bound by another column.
    (
        r#"call = "all"
           sql = "SELECT id, price FROM product ORDER BY price DESC, id LIMIT 20"
           match = "(price:numeric, id:int) <= _last"
           page = 20"#,
        &["it sorts by price where the SQL sorts by price desc"],
    ),
    (
        r#"call = "all"
           sql = "SELECT id, price FROM product ORDER BY price, id LIMIT 20"
           match = "(price:numeric, id:int) <= _last"
           page = 10"#,
        &["LIMIT allows 20 rows: say page = 20"],
    ),
    (
        r#"call = "all"
           sql = "SELECT id, category_id FROM product ORDER BY price, id LIMIT 20"
           match = "(price:numeric, id:int) <= _last (category_id, id)"
           page = 20"#,
        &["the result's 'category_id' is not the price that it sorts by"],
    ),
];

#[test]
fn what_leaves_stale_answers_is_an_error_that_says_what_is_right() {
    let server = Server::new();
    server.run(SHOP);
    let tried = Tried::new(&server, |_| {});
    let mut missing = Vec::new();
    for (query, parts) in WRONG {
        let (standing, reasons, report) = validated(&tried, query);
        let error = report.errors.join("\n");
        let is_said = error.starts_with("section 'product', query '") && parts.iter().all(|part| error.contains(part));
        if standing != Standing::Wrong || !is_said {
            missing.push(format!("{query}: {standing:?} {reasons:?}, not {parts:?}"));
        }
        // Its author may answer for it.
        let (standing, reasons, report) = validated(&tried, &format!("{query}\ntrust = \"nobody renames\""));
        assert_eq!((standing, reasons), (Standing::Trusted, vec!["nobody renames".to_owned()]), "{query}");
        assert_eq!(report.errors, [] as [&str; 0], "{query}");
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

#[test]
fn a_collation_that_ignores_case_is_no_comparison_of_texts() {
    let server = Server::new();
    server.run(SHOP);
    let made = server.client().batch_execute(
        "CREATE COLLATION nocase (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
         ALTER TABLE product ADD COLUMN label text COLLATE nocase",
    );
    if made.is_err() {
        println!("this Postgres has no ICU");
        return;
    }
    let tried = Tried::new(&server, |_| {});
    let query = r#"call = "on {v:text}"
        sql = "SELECT id FROM product WHERE label = {v}"
        match = "label = {v}""#;
    let sections = SECTIONS.replace("SELECT id, category_id", "SELECT id, label, category_id");
    let report = tried.pool.validate(&validation(&parse(&format!("{sections}\n[[product.query]]\n{query}")))).unwrap();
    assert!(report.errors.concat().contains("compares texts of label"), "{report:?}");
}

/// Each is proven.
const PROVEN: [&str; 30] = [
    r#"call = "of {c:int} first {n:int}"
       sql = "SELECT id, price FROM product WHERE category_id = {c} ORDER BY price DESC, id LIMIT {n}"
       match = "category_id = {c} and (price:numeric desc, id:int) <= _last"
       page = "{n}""#,
    r#"call = "all"
       sql = "SELECT p.id, p.price AS _price FROM product p WHERE p.featured ORDER BY p.price NULLS FIRST, p.name, p.id LIMIT 5"
       match = "featured = true and (price:numeric nulls first) <= _last (_price)"
       page = 5"#,
    r#"call = "in {categories:text[]} [max {max:numeric}]"
       sql = "SELECT p.id, c.name AS category, p.category_id AS _category FROM product p JOIN category c ON c.id = p.category_id WHERE c.name = ANY({categories}) AND ({max} IS NULL OR p.price <= {max}) ORDER BY p.price, p.id"
       on = { category = "name in {categories}" }"#,
    r#"call = "all"
       sql = "SELECT id, name FROM product""#,
    r#"call = "{id:int}"
       single = true
       sql = "SELECT id, name FROM product WHERE id = {id}"
       match = "id = {id}""#,
    r#"call = "to {a:numeric} [of {c:int}]"
       sql = "SELECT id FROM product WHERE price <= {a} AND ({c} IS NULL OR category_id = {c})"
       match = "price <= {a} and category_id = {c}""#,
    r#"call = "between {a:numeric} {b:numeric}"
       sql = "SELECT id FROM product WHERE price BETWEEN {a} AND {b} AND featured ORDER BY price, id LIMIT 10"
       match = "price between {a} and {b} and featured = true""#,
    r#"call = "below {a:numeric}"
       sql = "SELECT id FROM product WHERE price < {a}"
       match = "price <= {a}""#,
    r#"call = "in {c:int[]}"
       sql = "SELECT id FROM product WHERE category_id = ANY({c})"
       match = "category_id in {c}""#,
    r#"call = "five"
       sql = "SELECT id FROM product WHERE category_id = 5 AND name = 'it''s'"
       match = "category_id = 5 and name = 'it''s'""#,
    r#"call = "shown"
       sql = "SELECT p.id, c.name AS category, p.category_id AS _category FROM product p JOIN category c ON c.id = p.category_id""#,
    r#"call = "shown too"
       sql = "SELECT p.id, c.name AS category, c.id AS _category FROM category c JOIN product p ON c.id = p.category_id""#,
    r#"call = "of {c:text}"
       sql = "SELECT p.id, p.category_id AS _category FROM product p JOIN category c ON c.id = p.category_id WHERE c.name = {c}"
       on = { category = "*" }"#,
    r#"call = "unlisted of {c:text}"
       sql = "SELECT p.id FROM product p JOIN category c ON c.id = p.category_id WHERE c.name = {c}"
       on = { category = "name = {c}" }"#,
    r#"call = "in category {c:int}"
       sql = "SELECT p.id FROM product p JOIN category c ON c.id = p.category_id WHERE c.id = {c}"
       match = "category_id = {c}"
       on = { category = "*" }"#,
    r#"call = "reviews"
       sql = "SELECT p.id, (SELECT count(*) FROM review r WHERE r.product_id = p.id) AS n FROM product p"
       on = { review = "*" }"#,
    r#"call = "count"
       rows = false
       sql = "SELECT count(*) AS n FROM product""#,
    r#"call = "view"
       sql = "SELECT id, name FROM listed"
       on = { category = "*" }"#,
    r#"call = "there"
       sql = "SELECT p.id FROM product p JOIN category c ON c.id = p.category_id""#,
    // With what it lists.
    r#"call = "counted in {c:int}"
       sql = "SELECT p.id, p.name, (SELECT count(*) FROM review r WHERE r.product_id = p.id) AS reviews FROM product p WHERE p.category_id = {c}"
       match = "category_id = {c}"
       on = { review = "product_id in _product" }
       lists = { review = "SELECT r.id FROM review r JOIN product p ON p.id = r.product_id WHERE p.category_id = {c}" }"#,
    r#"call = "page"
       sql = "SELECT p.id, (SELECT count(*) FROM review r WHERE r.product_id = p.id) AS reviews FROM product p WHERE p.featured ORDER BY p.price, p.id LIMIT 10"
       match = "featured = true"
       on = { review = "product_id in _product" }
       lists = { review = "SELECT id FROM review WHERE product_id IN (SELECT id FROM product WHERE featured)" }"#,
    r#"call = "unlisted page"
       sql = "SELECT p.id, (SELECT count(*) FROM review r WHERE r.product_id = p.id) AS reviews FROM product p WHERE p.featured ORDER BY p.price, p.id LIMIT 10"
       match = "featured = true"
       on = { review = "product_id in _product" }"#,
    r#"call = "named {name:text}"
       sql = "SELECT p.id, p.name FROM product p JOIN category c ON c.id = p.category_id WHERE c.name = {name}"
       match = "category_id in _category"
       on = { category = "name = {name}" }
       lists = { category = "SELECT id FROM category WHERE name = {name}" }"#,
    r#"call = "named or not {name:text} [max {max:numeric}]"
       sql = "SELECT p.id FROM product p JOIN category c ON c.id = p.category_id WHERE c.name = {name} AND ({max} IS NULL OR p.price <= {max})"
       match = "category_id in _category and price <= {max}"
       on = { category = "name = {name}" }
       lists = { category = "SELECT c.id FROM category c WHERE {name} = c.name" }"#,
    r#"call = "joined in {c:int}"
       sql = "SELECT p.id, r.id AS _review FROM product p JOIN review r ON r.product_id = p.id WHERE p.category_id = {c}"
       match = "category_id = {c}"
       on = { review = "product_id in _product" }
       lists = { product = "SELECT id FROM product WHERE category_id = {c}" }"#,
    r#"call = "shown with {c:int}"
       sql = "SELECT p.id, c.name, c.id AS _category, (SELECT count(*) FROM review r WHERE r.product_id = p.id) AS reviews FROM product p JOIN category c ON c.id = p.category_id WHERE p.category_id = {c}"
       match = "category_id = {c}"
       on = { review = "product_id in _product" }
       lists = { review = "SELECT r.id FROM review r JOIN product p ON p.id = r.product_id WHERE p.category_id = {c}" }"#,
    r#"call = "by name of {c:int}"
       sql = "SELECT p.id FROM product p WHERE p.name IN (SELECT c.name FROM category c WHERE c.id = {c})"
       match = "name in _names"
       on = { category = "id = {c}" }
       lists = { "names:text" = "SELECT name FROM category WHERE id = {c}", category = "SELECT id FROM category WHERE id = {c}" }"#,
    r#"call = "count to {a:numeric}"
       rows = false
       sql = "SELECT count(*) AS n, array_agg(id) AS _product FROM product WHERE price <= {a}"
       match = "price <= {a}""#,
    r#"call = "sums to {a:numeric}"
       sql = "SELECT p.id, count(r.id) AS n FROM product p LEFT JOIN review r ON r.product_id = p.id WHERE p.price <= {a} GROUP BY p.id"
       match = "price <= {a}"
       on = { review = "product_id in _product" }
       lists = { review = "SELECT r.id FROM review r, product p WHERE p.price <= {a} AND r.product_id = p.id" }"#,
    r#"call = "timed"
       ttl = "10s"
       sql = "SELECT id, now() AS at FROM product""#,
];

#[test]
fn what_drops_all_that_it_should_is_proven() {
    let server = Server::new();
    server.run(SHOP);
    let tried = Tried::new(&server, |_| {});
    let mut missing = Vec::new();
    for query in PROVEN {
        let (standing, reasons, report) = validated(&tried, query);
        if standing != Standing::Proven || !reasons.is_empty() || !report.errors.is_empty() {
            missing.push(format!("{query}: {standing:?} {reasons:?}"));
        }
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

/// Nobody can tell: it works as it always has.
const DECLARED: [(&str, &str); 13] = [
    (
        r#"call = "named {x:text}"
           sql = "SELECT id FROM product WHERE lower(name) = {x}"
           match = "name = {x}""#,
        "is not known",
    ),
    (
        r#"call = "page {p:int}"
           sql = "SELECT id FROM product WHERE featured ORDER BY id LIMIT 5 OFFSET {p}"
           match = "featured = true""#,
        "OFFSET",
    ),
    (
        r#"call = "one"
           sql = "SELECT p.id FROM product p, unmapped u WHERE u.id = p.id""#,
        "no section maps 'unmapped'",
    ),
    (
        r#"call = "two"
           sql = "SELECT p.id, p.other_id AS _category, c.name FROM product p LEFT JOIN category c ON c.id = p.other_id""#,
        "foreign key",
    ),
    (
        r#"call = "three"
           sql = "SELECT id, now() + interval '1 minute' AS _until FROM product""#,
        "now()",
    ),
    // Lists of which nobody can tell: a LIMIT, another condition, another type, other rows.
    (
        r#"call = "named {name:text}"
           sql = "SELECT p.id FROM product p JOIN category c ON c.id = p.category_id WHERE c.name = {name}"
           match = "category_id in _category"
           on = { category = "name = {name}" }
           lists = { category = "SELECT id FROM category WHERE name = {name} LIMIT 5" }"#,
        "lists all that the SQL joins",
    ),
    (
        r#"call = "above {a:numeric}"
           sql = "SELECT p.id, (SELECT count(*) FROM review r WHERE r.product_id = p.id) AS n FROM product p WHERE p.price < {a}"
           on = { review = "product_id in _product" }
           lists = { review = "SELECT r.id FROM review r JOIN product p ON p.id = r.product_id WHERE p.price > 5" }"#,
        "whether _review lists each row that decides",
    ),
    (
        r#"call = "by name of {c:int}"
           sql = "SELECT p.id FROM product p WHERE p.code IN (SELECT q.code FROM product q WHERE q.id = {c})"
           match = "code in _codes"
           lists = { "codes:text" = "SELECT code FROM product WHERE id = {c}" }"#,
        "lists all that the SQL joins",
    ),
    (
        r#"call = "first of {c:int}"
           sql = "SELECT p.id, (SELECT count(*) FROM review r WHERE r.product_id = p.id) AS n FROM product p WHERE p.id IN (SELECT q.id FROM product q WHERE q.category_id = {c} ORDER BY q.price LIMIT 3)"
           on = { review = "product_id in _product" }
           lists = { review = "SELECT r.id FROM review r JOIN product p ON p.id = r.product_id WHERE p.category_id = {c}" }"#,
        "review",
    ),
    (
        r#"call = "null"
           sql = "SELECT p.id FROM product p WHERE p.other_id IS NULL"
           match = "other_id in _category"
           lists = { category = "SELECT id FROM category" }"#,
        "other_id",
    ),
    (
        r#"call = "four"
           sql = "SELECT p.id FROM product p WHERE p.featured AND p.id IN (SELECT q.other_id FROM product q WHERE q.featured)"
           match = "featured = true""#,
        "not all listed",
    ),
    (
        r#"call = "names"
           sql = "SELECT id, price FROM product ORDER BY lower(name), price LIMIT 5"
           match = "(price:numeric) <= _last"
           page = 5"#,
        "whether the result is a page in that order is not known",
    ),
    (
        r#"call = "sum"
           sql = "SELECT id, price + 0 AS price FROM product ORDER BY product.price LIMIT 5"
           match = "(price:numeric) <= _last"
           page = 5"#,
        "where the last row's sort keys come from is not known",
    ),
];

#[test]
fn what_nobody_can_tell_is_declared_and_says_why() {
    let server = Server::new();
    server.run(SHOP);
    let mut missing = Vec::new();
    for prepare in [true, false] {
        let tried = Tried::new(&server, |settings| settings.prepare = prepare);
        for (query, part) in DECLARED {
            let (standing, reasons, report) = validated(&tried, query);
            if standing != Standing::Declared || !reasons.concat().contains(part) || !report.errors.is_empty() {
                missing.push(format!("{query}: {standing:?} {reasons:?}"));
            }
        }
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

/// It is no fault of the declarations, which are what they are.
#[test]
fn where_postgres_may_answer_differently_over_the_same_data_is_said_with_the_query() {
    let server = Server::new();
    server.run(SHOP);
    let tried = Tried::new(&server, |_| {});
    for (query, said) in [
        (
            r#"call = "five"
               sql = "SELECT id, name FROM product WHERE featured ORDER BY price LIMIT 5"
               match = "featured = true""#,
            "LIMIT without an ORDER BY that decides the order in full",
        ),
        (
            r#"call = "names"
               rows = false
               sql = "SELECT json_agg(name) AS names FROM product""#,
            "json_agg without ORDER BY",
        ),
    ] {
        let (standing, reasons, report) = validated(&tried, query);
        assert_eq!((standing, reasons.len(), report.errors.len()), (Standing::Proven, 1, 0), "{query}: {reasons:?}");
        assert!(reasons[0].contains(said), "{reasons:?}");
    }
    // A trust is all that there is to say.
    let (standing, reasons, _) =
        validated(&tried, "call = \"x\"\nsql = \"SELECT id FROM product LIMIT 5\"\ntrust = \"why\"");
    assert_eq!((standing, reasons), (Standing::Trusted, vec!["why".to_owned()]));
}

/// Five hundred queries are derived and compared beside a running server.
#[test]
fn five_hundred_queries_take_less_than_three_seconds() {
    let server = Server::new();
    server.run(SHOP);
    let tried = Tried::new(&server, |_| {});
    let mut catalog = SECTIONS.to_owned();
    for number in 0..500 {
        catalog += &format!(
            "[[product.query]]\ncall = \"q{number} {{a:numeric}}\"\nsql = \"SELECT p.id, c.name AS c{number}, p.category_id AS _category, (SELECT count(*) FROM review r WHERE r.product_id = p.id) AS n \
             FROM product p JOIN category c ON c.id = p.category_id WHERE p.price <= {{a}} AND p.id > {number}\"\nmatch = \"price <= {{a}} and id > {number}\"\non = {{ review = \"*\" }}\n"
        );
    }
    let validation = validation(&parse(&catalog));
    let begun = Instant::now();
    let report = tried.pool.validate(&validation).unwrap();
    let all = begun.elapsed();
    // The same without what is derived, as it was checked before.
    let unproven = Validation { sections: Arc::new([]), ..validation };
    let begun = Instant::now();
    tried.pool.validate(&unproven).unwrap();
    let before = begun.elapsed();
    println!(
        "500 queries: {} ms, of which {} ms are for proofs",
        all.as_millis(),
        all.saturating_sub(before).as_millis()
    );
    assert_eq!(report.proofs.len(), 500);
    assert!(
        report.proofs.values().all(|proof| proof.standing == Standing::Proven),
        "{:?}",
        report.proofs.values().next()
    );
    // Not for a slow machine's sake: what went through entries one by one would take minutes.
    assert!(all < Duration::from_secs(60), "{all:?}");
}

/// What is shipped says nothing wrong, and mostly what can be proven.
#[test]
fn the_shipped_catalogs_have_no_errors() {
    for (name, schema, catalog, proven) in [
        ("bear", include_str!("../../../../schema/bear.sql"), include_str!("../../../../catalogs/bear.toml"), 2),
        ("exam", include_str!("../../../../schema/exam.sql"), include_str!("../../../../catalogs/exam.toml"), 4),
        ("salon", include_str!("../../../../schema/salon.sql"), include_str!("../../../../catalogs/salon.toml"), 2),
    ] {
        let server = Server::new();
        server.run(schema);
        let report = Tried::new(&server, |_| {}).pool.validate(&validation(&parse(catalog))).unwrap();
        assert_eq!(report.errors, [] as [&str; 0], "{name}");
        let standings: Vec<Standing> = report.proofs.values().map(|proof| proof.standing).collect();
        println!("{name}: {:#?}", report.proofs);
        assert!(
            standings.iter().filter(|standing| **standing == Standing::Proven).count() >= proven,
            "{name}: {:#?}",
            report.proofs
        );
    }
}
