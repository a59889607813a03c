//! The lines of one query: of statements as applications send them, appended, loaded, and compared with what Postgres answers.

use super::beside::{calls, rows_of, words, Beside, ROWS, SCHEMA};
use crate::support::{Postgres, Redis};

const ORMS: &str = include_str!("../../../src/core/derive/tests/orms.tsv");

/// A value of each type, in SQL and as a word alike.
fn value(ty: &str) -> String {
    match ty {
        "int" => "3".to_owned(),
        "numeric" => "6".to_owned(),
        "text" => "red".to_owned(),
        "int[]" => "1,2,3".to_owned(),
        ty => panic!("no value of {ty}"),
    }
}

#[test]
fn statements_of_orms_are_appended_and_answer_the_same_rows() {
    let database = Postgres::start().database(&format!("{SCHEMA}{ROWS}"));
    let mut beside = Beside::start(&database, "[author]\n");
    let mut answered = 0;
    for line in ORMS.lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        let [name, _, sql] = fields[..] else { panic!("three fields: {line}") };
        let lines = beside.proposed(&["SQL", sql]);
        beside.append(&lines);
        let [(section, call)] = &calls(&lines)[..] else { panic!("{name}: {lines}") };
        let mut original = sql.to_owned();
        for at in 1..=9 {
            for ty in ["int", "numeric", "text"] {
                original = original.replace(&format!("${at}::{ty}"), &format!("'{}'::{ty}", value(ty)));
            }
        }
        let expected = rows_of(&database, &original);
        assert_eq!(beside.rows(section, &words(call, value)), expected, "{name}: {lines}");
        answered += usize::from(!expected.is_empty());
    }
    assert!(answered > 40, "{answered}");
}

#[test]
fn each_kind_of_statement_answers_the_same_rows() {
    let database = Postgres::shared().database(&format!(
        "{SCHEMA}{ROWS}
         CREATE TYPE mood AS ENUM ('sad', 'glad');
         CREATE SCHEMA far;
         CREATE TABLE far.\"OrderItem\" (id uuid PRIMARY KEY, \"Code\" char(4), mood mood, ip inet, ratio real, tags text[], at timestamptz, n smallint);
         INSERT INTO far.\"OrderItem\" VALUES
            ('6f1f7a4e-0c5b-4b7a-9d53-0f1f0c1e2a3b', 'ab', 'sad', '10.0.0.1', 0.1, '{{a,b}}', '2026-01-01T00:00Z', 3),
            ('6f1f7a4e-0c5b-4b7a-9d53-0f1f0c1e2a3c', 'cd', 'glad', '10.0.0.2', 0.2, '{{b}}', '2026-02-01T00:00Z', 4);"
    ));
    let mut beside = Beside::start(&database, "[author]\n");
    for (sql, original, section, arguments) in [
        ("SELECT p.id, c.id, c.name, p.name FROM product p JOIN category c ON c.id = p.category_id WHERE p.id IN ($1, $2, $3)", "SELECT p.id, c.id, c.name, p.name FROM product p JOIN category c ON c.id = p.category_id WHERE p.id IN (1, 2, 3)", "product", "in id 1,2,3"),
        ("SELECT p.*, c.* FROM product p JOIN category c ON c.id = p.category_id WHERE NOT p.id IN ($1, $2) AND p.price < $3", "SELECT p.*, c.* FROM product p JOIN category c ON c.id = p.category_id WHERE NOT p.id IN (1, 2) AND p.price < 2.5", "product", "in id 1,2 max_price 2.5"),
        ("SELECT * FROM product p JOIN category c ON c.id = p.category_id ORDER BY p.id LIMIT 3", "SELECT * FROM product p JOIN category c ON c.id = p.category_id ORDER BY p.id LIMIT 3", "product", "all"),
        ("SELECT id FROM product ORDER BY id DESC LIMIT 4 OFFSET 2", "SELECT id FROM product ORDER BY id DESC LIMIT 2 OFFSET 2", "product", "all_2 limit 2"),
        ("SELECT id FROM product WHERE ($1::int IS NULL OR category_id = $1::int) AND name LIKE $2", "SELECT id FROM product WHERE name LIKE 'r%'", "product", "name_like r%"),
        ("SELECT id, \"Code\" FROM far.\"OrderItem\" WHERE \"Code\" = $1", "SELECT id, \"Code\" FROM far.\"OrderItem\" WHERE \"Code\" = 'ab  '", "order_item", "by code ab"),
        ("SELECT id FROM far.\"OrderItem\" WHERE mood IN ($1, $2) AND ip = $3", "SELECT id FROM far.\"OrderItem\" WHERE mood IN ('sad', 'glad') AND ip = '10.0.0.2'", "order_item", "in mood sad,glad ip 10.0.0.2"),
        ("SELECT id FROM far.\"OrderItem\" WHERE ratio = $1", "SELECT id FROM far.\"OrderItem\" WHERE ratio = '0.1'", "order_item", "by ratio 0.1"),
        ("SELECT id FROM far.\"OrderItem\" WHERE tags && $1 AND tags <> $2", "SELECT id FROM far.\"OrderItem\" WHERE tags && '{b}' AND tags <> '{b,a}'", "order_item", "tags b not_tags {b,a}"),
        ("SELECT id FROM far.\"OrderItem\" WHERE at > $1 AND n = $2 AND id = $3", "SELECT id FROM far.\"OrderItem\" WHERE at > '2026-01-15' AND n = 4 AND id = '6f1f7a4e-0c5b-4b7a-9d53-0f1f0c1e2a3c'", "order_item", "min_at 2026-01-15T00:00 n 4 id 6F1F7A4E-0c5b-4b7a-9d53-0f1f0c1e2a3c"),
        ("SELECT id, price + $1 AS dearer FROM product WHERE id = {id}", "SELECT id, price + 2 AS dearer FROM product WHERE id = 5", "product", "price 2 id 5"),
        ("SELECT count(*) FROM review; -- all of them", "SELECT count(*) FROM review", "review", "count"),
        ("TABLE author", "TABLE author", "author", "all"),
        ("WITH x AS (SELECT * FROM author WHERE active) SELECT r.id, x.id FROM review r JOIN x ON x.id = r.author_id WHERE r.stars >= $1", "WITH x AS (SELECT * FROM author WHERE active) SELECT r.id, x.id FROM review r JOIN x ON x.id = r.author_id WHERE r.stars >= 4", "review", "min_stars 4"),
        ("SELECT E'a\\\\b''\\n' AS a, $$ $1 {id} $$ AS b, id FROM tag WHERE name = $1 /* /* ' */ */", "SELECT E'a\\\\b''\\n' AS a, $$ $1 {id} $$ AS b, id FROM tag WHERE name = 'red'", "tag_rows", "by name red"),
    ] {
        let lines = beside.proposed(&["SQL", sql]);
        beside.append(&lines);
        let words: Vec<String> = arguments.split(' ').map(str::to_owned).collect();
        assert_eq!(beside.rows(section, &words), rows_of(&database, original), "{sql}: {lines}");
    }
}

#[test]
fn what_is_proposed_says_what_is_derived() {
    let database = Postgres::shared().database(SCHEMA);
    let mut beside = Beside::start(&database, "[author]\n");
    let lines = beside.proposed(&["SQL", "SELECT id, name FROM product WHERE category_id = $1"]);
    assert_eq!(
        lines,
        "[[product.query]]\ncall = \"by category {category_id:int}\"\nsql  = \"SELECT id, name FROM product WHERE category_id = {category_id}\"\n\
         # derived: match = \"category_id = {category_id} and category_id is not null\"\n\n"
    );
    let said = beside.proposed(&["SQL", "SELECT id FROM product WHERE category_id = $1", "CALL", "of {category}"]);
    assert!(said.contains("call = \"of {category:int}\"\n") && said.contains("category_id = {category}\""), "{said}");
    let coarse = beside.proposed(&["SQL", "SELECT id FROM product WHERE name LIKE $1"]);
    assert!(coarse.contains("# any change of 'product' counts: "), "{coarse}");
    // Without a feed nobody tells of a relation that the file does not map.
    let alone = Redis::builder().postgres(&database).catalog("[author]\n").config("bear.feed", "off").start();
    let reply = alone.wire().call(&[
        "BEAR.PROPOSE",
        "SQL",
        "SELECT p.id, c.name FROM product p JOIN category c ON c.id = p.category_id",
    ]);
    assert!(reply.text().contains("# reads relation 'category', which no section of the file maps"), "{reply:?}");
}

#[test]
fn what_cannot_be_cached_is_refused_with_the_reason() {
    let database = Postgres::shared().database(&format!(
        "{SCHEMA}{ROWS}
         CREATE FUNCTION own() RETURNS int LANGUAGE sql STABLE AS 'SELECT count(*)::int FROM tag';
         CREATE UNLOGGED TABLE quick (id int PRIMARY KEY);
         CREATE MATERIALIZED VIEW frozen AS SELECT id FROM tag"
    ));
    let mut beside = Beside::start(&database, "[author]\n");
    let long = format!("SELECT id FROM tag WHERE name = '{}'", "x".repeat(1 << 20));
    let nested = format!("SELECT {}1{} FROM tag", "(".repeat(50_000), ")".repeat(50_000));
    for (sql, reason) in [
        ("", "ERR the statement is empty"),
        ("SELECT", "ERR the statement names no table"),
        ("SELECT 1", "ERR the statement names no table"),
        ("UPDATE tag SET name = 'x'", "ERR the statement changes rows (UPDATE)"),
        ("WITH x AS (DELETE FROM tag RETURNING id) SELECT * FROM x", "ERR the statement changes rows (DELETE)"),
        ("SELECT 1; DROP TABLE tag", "ERR more follows the ';'"),
        ("VACUUM tag", "ERR a query is a SELECT, and this begins with VACUUM"),
        ("SELECT id FROM tag FOR UPDATE", "locks rows"),
        ("SELECT id, random() FROM tag", "random() is volatile"),
        ("SELECT id, own() FROM tag", "is a function of which nobody can see what it reads"),
        ("SELECT relname FROM pg_class", "is a system catalog"),
        ("SELECT id FROM quick", "is in no WAL"),
        ("SELECT id FROM frozen", "is a materialized view"),
        ("SELECT id FROM tagg", "relation \"tagg\" does not exist, near: tagg (SQLSTATE 42P01)"),
        ("SELECT id FRM tag FROM", "syntax error"),
        ("SELECT id FROM tag WHERE id = ?", "parameters are written $1 or {name}, and this has '?'"),
        ("SELECT id FROM tag WHERE id = :id", "parameters are written $1 or {name}, and this has ':id'"),
        ("SELECT id FROM tag WHERE id = @p0", "parameters are written $1 or {name}, and this has '@p0'"),
        ("SELECT id FROM tag WHERE $1", ""),
        ("SELECT id FROM tag WHERE name = '", "is not closed"),
        (&long, "ERR the statement is longer than 256 KB"),
        (&nested, "SQLSTATE"),
    ] {
        let reply = beside.propose(&["SQL", sql]);
        if !reason.is_empty() {
            assert!(reply.is_error() && reply.error().contains(reason), "{:.100}: {:.300}", sql, format!("{reply:?}"));
        }
    }
    for (words, reason) in [
        (&["SQL"][..], "ERR the statement is missing"),
        (&["SQL", "SELECT \0 FROM tag"], "has a NUL byte"),
        (&["TABLE", "\0"], "has a NUL byte"),
        (&["SQL", "SELECT id FROM tag", "CALL"], "ERR the call is missing"),
        (&["SQL", "SELECT id FROM tag", "now"], "one word too many"),
        (&["SQL", "SELECT id FROM tag", "CALL", "x {y}"], "CALL: the statement's arguments are none"),
        (&["SQL", "SELECT id FROM tag", "CALL", "meta"], "reserved"),
        (&["SLOW", "COUNT", "0"], "ERR"),
        (&["SLOW", "COUNT", "101"], "ERR"),
    ] {
        let reply = beside.propose(words);
        assert!(reply.is_error() && reply.error().contains(reason), "{words:?}: {reply:?}");
    }
    // Nothing ran.
    assert_eq!(rows_of(&database, "SELECT count(*) FROM tag WHERE name <> 'x'"), [["8"]]);
    beside.append(
        "[[author.query]]\ncall = \"by name {name:text}\"\nsql = \"SELECT id FROM author WHERE name = {name}\"",
    );
    let taken = beside.propose(&["SQL", "SELECT id FROM author WHERE name <> $1", "CALL", "by name {x}"]);
    assert!(taken.error().contains("fit the same words"), "{taken:?}");
}
