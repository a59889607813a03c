//! Facts of what trees name.

use std::collections::BTreeSet;

use crate::core::derive::facts::{
    Comparison, Facts, Family, Function, FunctionKind, Identity, Operator, Relation, RelationKind, Volatility,
};
use crate::core::derive::tree::{read, Oids};
use crate::postgres::check::facts;
use crate::postgres::connect::client::Client;
use crate::postgres::connect::session::BEGIN_READ;
use crate::postgres::tests::server::Server;

use super::trees::{client, tree, SHOP};

fn facts_of(client: &mut Client, oids: &Oids) -> Facts {
    client.batch_execute(BEGIN_READ).unwrap();
    let facts = facts::of_oids(client, oids).unwrap();
    client.batch_execute("ROLLBACK").unwrap();
    facts
}

/// Facts of what a statement's tree names.
fn of_statement(client: &mut Client, sql: &str) -> Facts {
    let tree = tree(client, sql, &[]).unwrap();
    let oids = read(&tree).unwrap()[0].oids();
    facts_of(client, &oids)
}

fn named<'a>(facts: &'a Facts, name: &str) -> &'a Relation {
    facts.relations.values().find(|relation| *relation.name == *name).unwrap_or_else(|| panic!("{name}: {facts:#?}"))
}

fn function<'a>(facts: &'a Facts, name: &str) -> &'a Function {
    facts.functions.values().find(|function| *function.name == *name).unwrap_or_else(|| panic!("{name}: {facts:#?}"))
}

#[test]
fn relations_are_told_with_their_columns_and_keys() {
    let server = Server::new();
    server.run(SHOP);
    server.run(
        r#"CREATE SCHEMA "my shop"; CREATE TABLE "my shop"."Order" (id bigint PRIMARY KEY, "User Id" uuid NOT NULL, net int, tax int, gross int GENERATED ALWAYS AS (net + tax) STORED,
             gone int, code text UNIQUE, later int UNIQUE DEFERRABLE, part int, lower_of text, category int REFERENCES category, unsure int);
           ALTER TABLE "my shop"."Order" DROP COLUMN gone; ALTER TABLE "my shop"."Order" REPLICA IDENTITY FULL;
           ALTER TABLE "my shop"."Order" ADD CONSTRAINT unsure FOREIGN KEY (unsure) REFERENCES category NOT VALID;
           CREATE UNIQUE INDEX ON "my shop"."Order" (part) WHERE part > 0; CREATE UNIQUE INDEX ON "my shop"."Order" (lower(lower_of));
           CREATE UNIQUE INDEX ON "my shop"."Order" (net, tax) INCLUDE (part);
           CREATE UNIQUE INDEX by_code ON tag (name); ALTER TABLE tag REPLICA IDENTITY USING INDEX by_code; ALTER TABLE author REPLICA IDENTITY NOTHING"#,
    );
    let mut client = client(server.url());
    let facts =
        of_statement(&mut client, r#"SELECT o.gross FROM "my shop"."Order" o, tag, author, product_tag, listed"#);
    let order = named(&facts, "Order");
    assert_eq!((&*order.schema, order.kind, order.root), ("my shop", RelationKind::Table, None));
    let columns: Vec<(i16, &str, u32, bool)> = order
        .columns
        .iter()
        .map(|(number, column)| (*number, &*column.name, column.type_oid, column.not_null))
        .take(5)
        .collect();
    assert_eq!(
        columns,
        [
            (1, "id", 20, true),
            (2, "User Id", 2950, true),
            (3, "net", 23, false),
            (4, "tax", 23, false),
            (5, "gross", 23, false)
        ]
    );
    assert_eq!(order.columns[&5].base, [3, 4].into());
    assert!(
        order.columns.iter().all(|(number, column)| *number != 6 && (*number == 5 || column.base.is_empty())),
        "{order:?}"
    );
    assert_eq!(order.primary_key, Some([1].into()));
    let unique: BTreeSet<&[i16]> = order.unique.iter().map(|columns| &**columns).collect();
    assert_eq!(unique, [&[1][..], &[3, 4], &[7]].into());
    let category = facts.relations.iter().find(|(_, relation)| *relation.name == *"category").map(|(oid, _)| *oid);
    let keys: Vec<(&[i16], bool)> = order.foreign_keys.iter().map(|key| (&*key.columns, key.holds)).collect();
    assert_eq!(keys, [(&[11][..], true), (&[12], false)]);
    assert!(order.foreign_keys.iter().all(|key| Some(key.relation) == category && *key.referenced == [1]), "{order:?}");
    assert_eq!(order.identity, Identity::Full);
    assert_eq!(named(&facts, "tag").identity, Identity::Index([2].into()));
    assert_eq!(named(&facts, "author").identity, Identity::Nothing);
    assert_eq!(named(&facts, "product_tag").primary_key, Some([1, 2].into()));
    assert_eq!(named(&facts, "product_tag").identity, Identity::Default);
    assert_eq!(named(&facts, "listed").kind, RelationKind::View);
}

/// Its values are compared as those of the type that it is made of.
#[test]
fn a_domain_is_told_as_what_it_is_made_of() {
    let server = Server::new();
    server.run(
        "CREATE DOMAIN code AS varchar(8); CREATE DOMAIN short AS code CHECK (length(VALUE) < 4); CREATE DOMAIN list AS int[];
         CREATE TABLE named (id short PRIMARY KEY, all_of list, plain int)",
    );
    let facts = of_statement(&mut client(server.url()), "SELECT id FROM named");
    let types: Vec<u32> = named(&facts, "named").columns.values().map(|column| column.type_oid).collect();
    assert_eq!(types, [1043, 1007, 23]);
}

#[test]
fn partitions_children_and_other_kinds_are_told_apart() {
    let server = Server::new();
    server.run(
        "CREATE TABLE log (id int, at date, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
         CREATE TABLE log_2024 PARTITION OF log FOR VALUES FROM ('2024-01-01') TO ('2025-01-01') PARTITION BY RANGE (at);
         CREATE TABLE log_may PARTITION OF log_2024 FOR VALUES FROM ('2024-05-01') TO ('2024-06-01');
         CREATE TABLE parent (id int PRIMARY KEY); CREATE TABLE child () INHERITS (parent);
         CREATE MATERIALIZED VIEW summary AS SELECT count(*) AS n FROM log; CREATE UNLOGGED TABLE scratch (id int); CREATE SEQUENCE numbers",
    );
    let mut client = client(server.url());
    let facts =
        of_statement(&mut client, "SELECT 1 FROM log_may, parent, summary, scratch, numbers, pg_catalog.pg_class");
    let root = facts.relations.iter().find(|(_, relation)| *relation.name == *"log").map(|(oid, _)| *oid);
    assert!(root.is_some(), "{facts:#?}");
    assert_eq!((named(&facts, "log_may").kind, named(&facts, "log_may").root), (RelationKind::Table, root));
    assert_eq!((named(&facts, "log").kind, named(&facts, "log").root), (RelationKind::Partitioned, None));
    assert_eq!(named(&facts, "log").primary_key, Some([1, 2].into()));
    // Its children may hold the same keys.
    assert_eq!((named(&facts, "parent").primary_key.as_ref(), named(&facts, "parent").unique.len()), (None, 0));
    for (name, kind) in [
        ("summary", RelationKind::MaterializedView),
        ("scratch", RelationKind::Unfollowed),
        ("numbers", RelationKind::Unfollowed),
        ("pg_class", RelationKind::System),
    ] {
        assert_eq!(named(&facts, name).kind, kind, "{name}");
    }
}

#[test]
fn operators_are_those_that_are_computed() {
    let server = Server::new();
    server.run(
        "CREATE TYPE mood AS ENUM ('glad', 'sad'); CREATE TABLE t (i int, n numeric, f float4, x text, c char(3), b bool, u uuid, d date, z timestamptz, m mood, a inet, j jsonb);
         CREATE ROLE low LOGIN; CREATE SCHEMA low AUTHORIZATION low",
    );
    let mut client = client(server.url());
    let computed = |comparison, family| Some(Operator { comparison, family });
    for (sql, expected) in [
        ("i = 7::bigint", computed(Comparison::Equal, Family::Number)),
        ("i <> 7", computed(Comparison::NotEqual, Family::Number)),
        ("7 < i", computed(Comparison::Less, Family::Number)),
        ("n >= 1.5", computed(Comparison::GreaterOrEqual, Family::Number)),
        ("f <= 1.5", computed(Comparison::LessOrEqual, Family::Float)),
        ("x = 'a'", computed(Comparison::Equal, Family::Text)),
        ("x <> 'a'", computed(Comparison::NotEqual, Family::Text)),
        ("x < 'a'", None),
        ("x LIKE 'a'", None),
        ("c = 'a'", computed(Comparison::Equal, Family::Padded)),
        ("b > false", computed(Comparison::Greater, Family::Bool)),
        ("u = '6f1f7a4e-0c5b-4b7a-9d53-0f1f0c1e2a3b'", computed(Comparison::Equal, Family::Uuid)),
        ("d < z", computed(Comparison::Less, Family::Time)),
        ("m = 'sad'", computed(Comparison::Equal, Family::Enum)),
        ("m < 'sad'", None),
        ("a = '10.0.0.1'", None),
        ("j = '1'", None),
    ] {
        let tree = tree(&mut client, &format!("SELECT 1 FROM t WHERE {sql}"), &[]).unwrap();
        let oids = read(&tree).unwrap()[0].oids();
        let facts = facts_of(&mut client, &oids);
        let named: BTreeSet<u32> =
            oids.operators.iter().copied().filter(|oid| facts.operators.contains_key(oid)).collect();
        assert_eq!(facts.operators.values().next().copied(), expected, "{sql}");
        assert_eq!((named.len(), oids.operators.len()), (usize::from(expected.is_some()), 1), "{sql}");
    }
}

#[test]
fn an_operator_in_front_of_postgres_own_is_not_taken_for_it() {
    let server = Server::new();
    server.run(
        "CREATE TABLE t (i int); CREATE SCHEMA low; CREATE FUNCTION low.never(int, int) RETURNS bool LANGUAGE sql AS 'SELECT false';
         CREATE OPERATOR low.= (leftarg = int, rightarg = int, function = low.never);
         CREATE FUNCTION low.of_oids(oid, oid) RETURNS bool LANGUAGE sql AS 'SELECT true';
         CREATE OPERATOR low.= (leftarg = oid, rightarg = oid, function = low.of_oids)",
    );
    let mut client = client(server.url());
    client.batch_execute("SET search_path = low, public, pg_catalog").unwrap();
    let facts = of_statement(&mut client, "SELECT 1 FROM public.t WHERE i = 1");
    assert_eq!(facts.operators.len(), 0, "{facts:?}");
    // Nor by the queries of ours: they would have found every relation.
    assert_eq!(facts.relations.len(), 1, "{facts:?}");
    assert_eq!(function(&facts, "never").schema, "low".into());
}

#[test]
fn functions_and_collations_are_told() {
    let server = Server::new();
    server.run(
        "CREATE TABLE t (i int, x text);
         CREATE FUNCTION looks(int) RETURNS int LANGUAGE sql STABLE STRICT AS 'SELECT count(*)::int FROM t WHERE i = $1';
         CREATE FUNCTION adds(int, int) RETURNS int LANGUAGE plpgsql VOLATILE AS 'BEGIN RETURN $1 + $2; END';
         CREATE AGGREGATE adds_up(int) (SFUNC = adds, STYPE = int, INITCOND = '0')",
    );
    let mut client = client(server.url());
    let facts = of_statement(
        &mut client,
        "SELECT looks(3), adds_up(i), count(*), now(), random(), row_number() OVER (), lower('x') FROM t",
    );
    let seen = |name: &str| {
        let function = function(&facts, name);
        (&*function.schema, function.volatility, &*function.language, function.strict, function.kind)
    };
    assert_eq!(seen("looks"), ("public", Volatility::Stable, "sql", true, FunctionKind::Plain));
    assert_eq!(seen("adds_up"), ("public", Volatility::Volatile, "plpgsql", false, FunctionKind::Aggregate));
    assert_eq!(seen("count"), ("pg_catalog", Volatility::Immutable, "internal", false, FunctionKind::Aggregate));
    assert_eq!(seen("now"), ("pg_catalog", Volatility::Stable, "internal", true, FunctionKind::Plain));
    assert_eq!(seen("random"), ("pg_catalog", Volatility::Volatile, "internal", true, FunctionKind::Plain));
    assert_eq!(seen("row_number").4, FunctionKind::Window);
    // One whose equality is not that of bytes is told so; whether the server has any is its builder's choice.
    let is_made = server
        .client()
        .batch_execute("CREATE COLLATION nocase (provider = icu, locale = 'und-u-ks-level2', deterministic = false)")
        .is_ok();
    let collation = if is_made { "nocase" } else { "\"C\"" };
    let facts = of_statement(&mut client, &format!("SELECT 1 FROM t WHERE x COLLATE {collation} = 'a'"));
    assert_eq!(facts.collations.values().any(|is_deterministic| !is_deterministic), is_made, "{facts:?}");
    assert!(!facts.collations.is_empty(), "{facts:?}");
}

#[test]
fn nothing_named_asks_nothing_of_what_is_not_there() {
    let server = Server::shared();
    let mut client = client(server.url());
    assert_eq!(facts_of(&mut client, &Oids::default()), Facts::default());
    let gone = Oids { relations: [1].into(), functions: [1].into(), operators: [1].into(), ..Oids::default() };
    assert_eq!(facts_of(&mut client, &gone), Facts::default());
}
