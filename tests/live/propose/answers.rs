//! What is proposed answers, and what is not there is told.

use super::{loaded, proposed};
use crate::support::{Postgres, Redis};

const SHOP: &str = "
CREATE TABLE category (id int PRIMARY KEY, name text NOT NULL);
CREATE TABLE product (id int PRIMARY KEY, name text NOT NULL, price numeric NOT NULL, category_id int REFERENCES category);
CREATE INDEX ON product (category_id);
CREATE TABLE part (product_id int REFERENCES product ON DELETE CASCADE, number int, note text, PRIMARY KEY (product_id, number));
INSERT INTO category VALUES (1, 'lamps');
INSERT INTO product VALUES (1, 'Desk lamp', 29.90, 1), (2, 'Stool', 45.50, NULL), (3, 'Floor lamp', 89, 1);
INSERT INTO part VALUES (1, 1, 'bulb'), (1, 2, NULL);";

#[test]
fn a_proposal_answers_by_keys_and_references() {
    let database = Postgres::shared().database(SHOP);
    let redis = loaded(&database, &proposed(&database, "TABLE category product part"));
    for (call, expected) in [
        ("product 1", r#"{"id":1,"name":"Desk lamp","price":29.90,"category_id":1,"category_name":"lamps"}"#),
        ("product 2", r#"{"id":2,"name":"Stool","price":45.50,"category_id":null,"category_name":null}"#),
        ("product 9", "null"),
        (
            "product category 1 limit 1",
            r#"[{"id":1,"name":"Desk lamp","price":29.90,"category_id":1,"category_name":"lamps"}]"#,
        ),
        (
            "product category 1 after 1",
            r#"[{"id":3,"name":"Floor lamp","price":89,"category_id":1,"category_name":"lamps"}]"#,
        ),
        (
            "product recent before 2",
            r#"[{"id":1,"name":"Desk lamp","price":29.90,"category_id":1,"category_name":"lamps"}]"#,
        ),
        ("product 1 counts", r#"{"id":1,"part_count":2}"#),
        ("category 1 counts", r#"{"id":1,"product_count":2}"#),
        ("part 1 number 2", r#"{"id":1,"product_id":1,"number":2,"note":null,"product_name":"Desk lamp"}"#),
        ("part 1 after 1", r#"[{"id":1,"product_id":1,"number":2,"note":null,"product_name":"Desk lamp"}]"#),
    ] {
        assert_eq!(redis.run(&format!("BEAR.QUERY {call}")).text(), expected, "{call}");
    }
}

#[test]
fn what_is_not_there_is_told() {
    let database =
        Postgres::shared().database("CREATE TABLE product (id int PRIMARY KEY); CREATE VIEW seen AS SELECT 1 AS id");
    let redis = Redis::builder().postgres(&database).start();
    for (line, expected) in [
        ("BEAR.PROPOSE now", "ERR 'now' is one word too many"),
        ("BEAR.PROPOSE TABLE", "ERR a table is missing"),
        ("BEAR.PROPOSE SECTION", "ERR the section's name is missing"),
        ("BEAR.PROPOSE SECTION a SECTION b", "ERR SECTION is given twice"),
        (
            "BEAR.PROPOSE TABLE nothing",
            "ERR there is no table 'nothing'; name it as SQL does, with its schema where it is not in search_path",
        ),
        (
            "BEAR.PROPOSE TABLE seen",
            "ERR nothing to propose: seen: a view: write its queries by the calls that are wanted of it; they follow its tables",
        ),
        ("BEAR.PROPOSE SECTION nothing", "ERR no table would have the section 'nothing'"),
        (
            "BEAR.PROPOSE SECTION queue TABLE product",
            "ERR SECTION: a section cannot be called meta, tag, queue or until, which are reserved",
        ),
        ("BEAR.PROPOSE SECTION a TABLE product product", "ERR SECTION names the section of one table, and 2 are given"),
    ] {
        assert_eq!(redis.run(line).error(), expected, "{line}");
    }
    let mut wire = redis.wire();
    wire.run("MULTI");
    wire.run("BEAR.PROPOSE");
    assert!(wire.run("EXEC").list()[0].error().starts_with("NOWAIT "));
    let without = Redis::builder().start();
    assert!(without.run("BEAR.PROPOSE").error().starts_with("POSTGRES no URL is configured"));
}

#[test]
fn a_database_without_tables_is_told_apart() {
    let database = Postgres::shared().database("DROP TABLE closed_gate CASCADE; CREATE VIEW seen AS SELECT 1 AS id");
    let reply = Redis::builder().postgres(&database).start().run("BEAR.PROPOSE");
    assert_eq!(
        reply.error(),
        "ERR there is no table in this database that the role may see, other than Postgres' own and bear's"
    );
}

/// On a replica, too: it is Postgres that is asked.
#[test]
fn a_replica_proposes_the_same() {
    let database = Postgres::shared().database(SHOP);
    let master = Redis::builder().postgres(&database).start();
    let replica = Redis::builder().postgres(&database).replica_of(&master).start();
    let text = master.run("BEAR.PROPOSE").text();
    assert_eq!(replica.run("BEAR.PROPOSE").text(), text);
    let named = master.run("BEAR.PROPOSE SECTION goods TABLE product").text();
    assert!(named.contains("[goods]\ntable = \"product\"\n"), "{named}");
    let section = master.run("BEAR.PROPOSE SECTION part").text();
    assert!(section.contains("\n[part]\n") && !section.contains("[product]"), "{section}");
}
