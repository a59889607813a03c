//! Trees of statements: each is that of the statement which was asked for, whatever else prints trees meanwhile, and just
//! what its own Parse would print.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio_postgres::types::Type;

use crate::core::values::value::{ArgType, ScalarType};
use crate::postgres::check::tree::{self, PRINT_TREES};
use crate::postgres::connect::client::Client;
use crate::postgres::connect::failure::Failure;
use crate::postgres::connect::session::{connect, Access, BEGIN_READ};
use crate::postgres::tests::server::Server;
use crate::postgres::values::params::{declared_type, declared_types};
use crate::postgres::{Settings, UrlSource};

pub(super) const SHOP: &str = include_str!("derive/shop.sql");

pub(super) fn client(url: String) -> Client {
    let (mut client, _) = connect(&Settings::new(url, UrlSource::Config), Access::ReadOnly).unwrap();
    client.set_deadline(Instant::now() + Duration::from_secs(60));
    client
}

/// The tree of a statement in a transaction of its own.
pub(super) fn tree(client: &mut Client, sql: &str, params: &[Type]) -> Result<String, Failure> {
    client.batch_execute(&format!("{BEGIN_READ} {PRINT_TREES}")).unwrap();
    let tree = tree::of_statement(client, sql, params);
    client.batch_execute("ROLLBACK").unwrap();
    tree
}

/// The tree that Postgres prints at the Parse of the statement alone.
fn plain_tree(server: &Server, sql: &str, params: &[Type]) -> String {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let log = heard.clone();
    let mut config: ::postgres::Config = server.url().parse().unwrap();
    config.notice_callback(move |notice| log.lock().unwrap().push(notice.detail().unwrap_or_default().to_owned()));
    let mut client = config.connect(::postgres::NoTls).unwrap();
    client.batch_execute(PRINT_TREES.replace("LOCAL ", "").as_str()).unwrap();
    heard.lock().unwrap().clear();
    client.prepare_typed(sql, params).unwrap();
    let first = heard.lock().unwrap()[0].replace('\n', " ");
    first
}

/// Without what tells where in a text a node stands.
fn placeless(tree: &str) -> String {
    let words: Vec<&str> = tree.split(' ').collect();
    let is_place = |at: usize| {
        matches!(
            words.get(at.wrapping_sub(1)),
            Some(&(":location" | ":stmt_location" | ":stmt_len" | ":list_start" | ":list_end"))
        )
    };
    let kept = words.iter().enumerate().filter(|(at, word)| !is_place(*at) || word.starts_with(':'));
    let text = kept.map(|(_, word)| *word).collect::<Vec<_>>().join(" ");
    text.trim_end().to_owned()
}

fn oid(server: &Server, relation: &str) -> String {
    let row = server.client().query_one(&format!("SELECT '{relation}'::regclass::oid::text"), &[]).unwrap();
    row.get(0)
}

#[test]
fn a_tree_is_the_one_that_the_statement_alone_would_have() {
    let server = Server::new();
    server.run(SHOP);
    server.run(
        r#"CREATE TABLE "my ""odd"" (table)" ("User Id" int, "a{b}" text, "back\slash" text);
           CREATE TABLE log (id int, at date) PARTITION BY RANGE (at);
           CREATE TABLE log_2024 PARTITION OF log FOR VALUES FROM ('2024-01-01') TO ('2025-01-01')"#,
    );
    let mut client = client(server.url());
    let statements: [(&str, &[Type]); 9] = [
        ("SELECT * FROM product WHERE category_id = $1 AND price <= $2 -- a comment", &[Type::INT4, Type::NUMERIC]),
        ("SELECT l.*, r.n FROM listed l JOIN rated r ON r.product_id = l.id WHERE l.category = $1", &[Type::TEXT]),
        (r#"SELECT "User Id", "a{b}" AS "x ""y"" )z(" FROM "my ""odd"" (table)" WHERE "back\slash" = 'it''s {here}'"#, &[]),
        ("SELECT id FROM log WHERE at = $1", &[Type::DATE]),
        ("(SELECT id FROM product UNION ALL SELECT id FROM review) ORDER BY 1 LIMIT 3", &[]),
        ("WITH RECURSIVE t(id) AS (SELECT id FROM category WHERE id = $1 UNION SELECT c.id FROM category c JOIN t ON c.parent_id = t.id) SELECT * FROM t", &[Type::INT4]),
        (r#"WITH "a name (of) {blanks} and braces {{{{{{{{{{(((((((((())))))" AS MATERIALIZED (SELECT 1 AS id) SELECT * FROM "a name (of) {blanks} and braces {{{{{{{{{{(((((((((())))))""#, &[]),
        ("VALUES (1, $1)", &[Type::TEXT_ARRAY]),
        ("SELECT count(*) FILTER (WHERE featured), category_id FROM product GROUP BY GROUPING SETS ((category_id), ()) HAVING count(*) > 1", &[]),
    ];
    for (sql, params) in statements {
        let tree = tree(&mut client, sql, params).unwrap();
        assert!(tree.starts_with("({QUERY :commandType 1 ") && tree.ends_with("})"), "{tree}");
        assert_eq!(placeless(&tree), placeless(&plain_tree(&server, sql, params)), "{sql}");
    }
}

#[test]
fn a_position_is_a_byte_of_the_statement() {
    let server = Server::shared();
    let sql = "SELECT 'é' AS a, relname FROM pg_catalog.pg_class WHERE relname = $1";
    let tree = tree(&mut client(server.url()), sql, &[Type::NAME]).unwrap();
    let at = sql.find("= $1").unwrap();
    assert!(tree.contains(&format!(":location {at}}}")), "{at}: {tree}");
}

#[test]
fn views_are_expanded_and_row_security_is_applied() {
    let server = Server::new();
    server.run(SHOP);
    server.run(
        "CREATE ROLE reader LOGIN; GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader; ALTER TABLE review ENABLE ROW LEVEL SECURITY;
         CREATE POLICY own ON review FOR SELECT TO reader USING (author_id IN (SELECT id FROM author WHERE name = current_user))",
    );
    let mut bear = client(server.url());
    let mut reader = client(server.url().replace("bear@", "reader@"));
    let view = tree(&mut bear, "SELECT id FROM listed", &[]).unwrap();
    for read in ["listed", "product", "category"] {
        assert!(view.contains(&format!(":relid {} ", oid(&server, read))), "{read}: {view}");
    }
    let author = format!(":relid {} ", oid(&server, "author"));
    let secured = tree(&mut reader, "SELECT id FROM review", &[]).unwrap();
    assert!(secured.contains(&author) && secured.contains(":securityQuals ("), "{secured}");
    // Its owner, of the same table.
    assert!(!tree(&mut bear, "SELECT id FROM review", &[]).unwrap().contains(&author));
}

#[test]
fn parameters_keep_their_declared_types() {
    let server = Server::shared();
    let mut client = client(server.url());
    for array in [false, true] {
        for scalar in ScalarType::ALL {
            let ty = declared_type(ArgType { scalar, array });
            let tree = tree(&mut client, "SELECT $1 AS a, $2 AS b", &[ty.clone(), Type::INT8]).unwrap();
            assert!(tree.contains(&format!(":paramid 1 :paramtype {} ", ty.oid())), "{scalar}: {tree}");
            assert!(tree.contains(":paramid 2 :paramtype 20 "), "{tree}");
        }
    }
    assert_eq!(declared_types(&[ArgType::array(ScalarType::Int)]), [Type::INT8_ARRAY]);
}

#[test]
fn a_tree_belongs_to_its_statement_whatever_else_prints_one() {
    let server = Server::new();
    server.run(SHOP);
    server.run(
        "CREATE TYPE mood AS ENUM ('glad', 'sad'); CREATE TABLE person (id int, mood mood);
         CREATE FUNCTION peek(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN (SELECT count(*) FROM author WHERE id < $1); END'",
    );
    let mut client = client(server.url());
    let relation = |name: &str| format!(":relid {} ", oid(&server, name));
    client.batch_execute(&format!("{BEGIN_READ} {PRINT_TREES}")).unwrap();
    let product = tree::of_statement(&mut client, "SELECT id FROM product", &[]).unwrap();
    // The driver looks up the type of a column, by statements of its own.
    client.prepare_typed("SELECT mood FROM person", &[]).unwrap();
    // A function that is worked out while the statement is planned.
    let folded = tree::of_statement(&mut client, "SELECT id FROM tag WHERE id = peek(3)", &[]).unwrap();
    let person = tree::of_statement(&mut client, "SELECT mood FROM person", &[]).unwrap();
    client.batch_execute("ROLLBACK").unwrap();
    for (tree, own) in [(product, "product"), (folded, "tag"), (person, "person")] {
        for other in ["product", "tag", "person", "author"] {
            assert_eq!(tree.contains(&relation(other)), other == own, "{own}, {other}: {tree}");
        }
    }
}

#[test]
fn what_fails_has_no_tree_and_what_was_asked_before_is_not_taken_for_it() {
    let server = Server::new();
    server.run(SHOP);
    server.run("CREATE ROLE stranger LOGIN");
    let mut client = client(server.url());
    let state = |failed: Result<String, Failure>| failed.unwrap_err().sqlstate().map(str::to_owned);
    for (sql, sqlstate) in [
        ("SELECT id FROM nothing", "42P01"),
        ("SELECT 1) q; DROP TABLE product; --", "42601"),
        ("WITH d AS (DELETE FROM product RETURNING id) SELECT id FROM d", "0A000"),
    ] {
        assert_eq!(state(tree(&mut client, sql, &[])).as_deref(), Some(sqlstate), "{sql}");
    }
    assert!(tree(&mut client, "SELECT id FROM product", &[]).is_ok());
    let mut stranger = self::client(server.url().replace("bear@", "stranger@"));
    assert_eq!(state(tree(&mut stranger, "SELECT id FROM product", &[])).as_deref(), Some("42501"));
    // Where nobody has trees printed there is none.
    client.batch_execute(BEGIN_READ).unwrap();
    let none = tree::of_statement(&mut client, "SELECT id FROM product", &[]);
    assert!(matches!(none, Err(Failure::Fetch(_))), "{none:?}");
    client.batch_execute("ROLLBACK").unwrap();
}

#[test]
fn a_tree_beyond_all_bounds_is_an_error_that_says_so() {
    let server = Server::shared();
    let mut client = client(server.url());
    // A constant is printed byte by byte.
    let sql = format!("SELECT '{}' AS long", "x".repeat(4 << 20));
    let error = tree(&mut client, &sql, &[]).unwrap_err();
    assert!(format!("{error:?}").contains("more than 16 MB"), "{error:?}");
    assert!(tree(&mut client, "SELECT 'short' AS long", &[]).is_ok());
}
