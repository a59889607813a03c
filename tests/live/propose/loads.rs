//! What is proposed loads without a warning, and nothing of its queries is left to their author.

use super::{loaded, proofs, proposed, seen, ODD};
use crate::support::{bears, feed, Postgres, Redis};

const SHOP: &str = include_str!("../../../src/core/derive/tests/shop.sql");

#[test]
fn proposals_for_known_databases_are_derived_whole() {
    let exam = include_str!("../../../schema/exam.sql");
    let salon = include_str!("../../../schema/salon.sql");
    for (schema, queries) in [(SHOP, 12), (exam, 19), (salon, 12)] {
        let database = Postgres::shared().database(schema);
        let text = proposed(&database, "");
        let redis = loaded(&database, &text);
        let all = proofs(&redis);
        assert!(all.len() >= queries, "{}: {text}", all.len());
        for (section, proof) in all {
            // Of uuids no order is computed.
            let is_page = proof.call.starts_with("first ");
            assert!(
                proof.proof == "derived" && (proof.reasons.is_empty() || is_page),
                "{section} {}: {} {:?}\n{text}",
                proof.call,
                proof.proof,
                proof.reasons
            );
        }
    }
}

#[test]
fn the_bears_are_proposed_as_their_catalog_has_them() {
    let database = bears::database();
    let redis = loaded(&database, &proposed(&database, "TABLE bear color bear_colors"));
    let all = proofs(&redis);
    assert!(all.iter().all(|(_, proof)| proof.proof == "derived" && proof.reasons.is_empty()));
    let calls: Vec<String> = all.iter().map(|(section, proof)| format!("{section} {}", proof.call)).collect();
    for call in [
        "bear {id:int}",
        "color {id:int} counts",
        "color name {name:text}",
        "bear_colors {bear_id:int} color {color_id:int}",
    ] {
        assert!(calls.contains(&call.to_owned()), "{call}: {calls:#?}");
    }
}

#[test]
fn whatever_a_database_is_called_loads() {
    let database = Postgres::shared().database(ODD);
    let text = proposed(&database, "");
    assert_eq!(text, proposed(&database, ""), "the same database makes the same text");
    let redis = loaded(&database, &text);
    let all = proofs(&redis);
    for (section, proof) in &all {
        assert_eq!(proof.proof, "derived", "{section} {}", proof.call);
    }
    // Of keys whose type is bear's own, or a domain of such a one, a row is found by its value.
    let exact = [
        "order_item",
        "user",
        "meta_rows",
        "coded",
        "node",
        "transfer",
        "linked",
        "reversed",
        "by_unique",
        "odd_id",
        "measured",
        "daily",
        "stamped",
        "priced",
        "flagged",
        "cart",
        "shop_node",
        "odd_schema_node",
        "last",
    ];
    for section in exact {
        let of_section = all.iter().filter(|(of, proof)| of == section && !proof.call.starts_with("first "));
        let of_section: Vec<_> = of_section.collect();
        assert!(!of_section.is_empty(), "{section}: {text}");
        for (_, proof) in of_section {
            assert!(proof.reasons.is_empty(), "{section} {}: {:?}", proof.call, proof.reasons);
        }
    }
}

/// A feed follows each of its tables.
#[test]
fn a_proposal_loads_with_a_feed_too() {
    let database = Postgres::shared().database(ODD);
    let text = proposed(&database, "");
    let redis = Redis::builder().postgres(&database).catalog(text.clone()).config("bear.feed", "outbox").start();
    let redis = seen(redis, &text);
    feed::wait_told(&redis);
    database.run("INSERT INTO node (name) VALUES ('a'); INSERT INTO linked SELECT 1, id FROM \"user\"");
    feed::wait_told(&redis);
    assert!(redis.run("BEAR.QUERY node 1").text().contains(r#""name":"a""#));
    database.run("UPDATE node SET name = 'b'");
    feed::wait_told(&redis);
    assert!(redis.run("BEAR.QUERY node 1").text().contains(r#""name":"b""#));
}

/// Tables of whoever names them by a sign, as Prisma does, and keys that are called like what says something of a result.
#[test]
fn what_begins_with_an_underscore_is_counted_under_another_name() {
    let database = Postgres::shared().database(
        r#"CREATE TABLE "Category" (id int PRIMARY KEY); CREATE TABLE "Post" (id int PRIMARY KEY);
         CREATE TABLE "_CategoryToPost" ("A" int NOT NULL REFERENCES "Category", "B" int NOT NULL REFERENCES "Post", UNIQUE ("A", "B"));
         CREATE INDEX ON "_CategoryToPost" ("B");
         CREATE TABLE p (_id int PRIMARY KEY, _last int, _section int, _until int, _ int);
         CREATE TABLE "Ä" (_id int PRIMARY KEY, _p int REFERENCES p); CREATE INDEX ON "Ä" (_p);
         CREATE TABLE "2fa" (id int PRIMARY KEY, _p int UNIQUE REFERENCES p);
         INSERT INTO "Category" VALUES (1); INSERT INTO "Post" VALUES (1); INSERT INTO "_CategoryToPost" VALUES (1, 1);
         INSERT INTO p VALUES (1, 2, 3, 4, 5); INSERT INTO "2fa" VALUES (1, 1)"#,
    );
    let redis = loaded(&database, &proposed(&database, ""));
    for (call, expected) in [
        ("category 1 counts", r#"{"id":1,"category_to_post_count":1}"#),
        ("p 1 counts", r#"{"id":1,"2fa_count":1,"table_rows_count":0}"#),
        ("p 1", r#"{"id":1,"last":2,"section":3,"until":4,"value":5}"#),
    ] {
        assert_eq!(redis.run(&format!("BEAR.QUERY {call}")).text(), expected, "{call}");
    }
}

#[test]
fn columns_may_be_called_by_any_sign() {
    let names = ["*", "a,b", " x ", "\"", "{id}", "{ids}", "'", ".", "a.b", "\\", "a\nb", "a\tb"];
    let quoted: Vec<String> = names.iter().map(|name| format!("\"{}\"", name.replace('"', "\"\""))).collect();
    let columns: Vec<String> = quoted.iter().map(|name| format!("{name} int UNIQUE REFERENCES t")).collect();
    let mut sql = format!("CREATE TABLE t (id int PRIMARY KEY, {});", columns.join(", "));
    for (at, name) in quoted.iter().enumerate() {
        sql += &format!("CREATE TABLE k{at} ({name} int PRIMARY KEY, x int); INSERT INTO k{at} VALUES (7, 8);");
        sql += &format!("CREATE TABLE u{at} ({name} int NOT NULL UNIQUE, x int);");
    }
    let database = Postgres::shared().database(&sql);
    let redis = loaded(&database, &proposed(&database, ""));
    for (at, name) in names.iter().enumerate() {
        let found = redis.run(&format!("BEAR.QUERY k{at} 7")).text();
        let found: serde_json::Value = serde_json::from_str(&found).expect("an object");
        assert_eq!(found, serde_json::json!({ *name: 7, "x": 8 }));
    }
}

#[test]
fn a_table_as_wide_as_postgres_has_them_loads_without_the_jobs_that_are_wider() {
    let columns: Vec<String> = (2..=1600).map(|at| format!("c{at} bool")).collect();
    let columns = columns.join(", ");
    let database = Postgres::shared().database(&format!("CREATE TABLE wide (id int PRIMARY KEY, {columns})"));
    let text = proposed(&database, "");
    loaded(&database, &text);
    for job in ["INSERT", "UPDATE"] {
        assert!(text.contains(&format!("# - wide: {job}: 1600 fields, and Postgres reads 1598 at most\n")), "{job}");
    }
    assert!(text.contains("[wide.job.DELETE]") && !text.contains("[wide.job.UPDATE"));
}
