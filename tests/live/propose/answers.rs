//! What is proposed loads, and answers.

use super::{loaded, proofs, proposed};
use crate::support::{Postgres, Redis};

#[test]
fn a_proposal_loads_and_answers() {
    let database = Postgres::shared().database(
        "CREATE TABLE product (id int PRIMARY KEY, name text NOT NULL); INSERT INTO product VALUES (2, 'lamp');",
    );
    let text = proposed(&database, "TABLE product");
    let redis = loaded(&database, &text);
    assert_eq!(redis.run("BEAR.QUERY product 2").text(), r#"{"id":2,"name":"lamp"}"#);
    let all = proofs(&redis, "product");
    assert!(all.iter().all(|(_, proof, reasons)| proof == "derived" && reasons.is_empty()), "{all:?}");
}

#[test]
fn what_is_not_there_is_told() {
    let database = Postgres::shared().database("CREATE TABLE product (id int PRIMARY KEY)");
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
