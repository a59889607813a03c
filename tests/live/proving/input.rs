//! What cannot be tried is answered clearly, and nothing of it is half done.

use super::options;
use crate::prove::prove;
use crate::prove::run::Feed;

const CATALOG: &str = "[thing]\n[[thing.query]]\ncall = 'all'\nsql = 'SELECT id FROM thing'";

#[track_caller]
fn refused(schema: &str, catalog: &str, expected: &str) {
    let (_database, options) = options(schema, catalog, 1, &[Feed::Wal]);
    let trouble = prove(&options, |_| {}).expect_err("it cannot be tried");
    assert!(trouble.iter().any(|line| line.contains(expected)), "{expected:?} is not in {trouble:#?}");
}

#[test]
fn a_catalog_that_the_module_refuses_is_answered_with_its_errors() {
    let schema = "CREATE TABLE thing(id int PRIMARY KEY, name text)";
    refused(schema, "[thing", "no TOML");
    refused(schema, "[thing]\nid = 'int'", "has no queries");
    refused(schema, &CATALOG.replace("SELECT id", "SELECT id, colour"), "colour");
    refused(schema, &CATALOG.replace("call = 'all'", "call = 'all'\ncolour = 1"), "colour");
    let narrow = CATALOG
        .replace("FROM thing", "FROM thing WHERE name IS NULL OR id = 1")
        .replace("call = 'all'", "call = 'all'\nmatch = 'id = 1'");
    refused(schema, &narrow, "match");
}

#[test]
fn a_database_that_is_away_or_empty_is_said_to_be_so() {
    let (_database, mut options) = options("SELECT 1", CATALOG, 1, &[Feed::Wal]);
    // The gate that each database of a test has is a table.
    crate::support::Postgres::shared()
        .client(_database.name())
        .batch_execute("DROP TABLE closed_gate CASCADE; DROP FUNCTION gate()")
        .unwrap();
    let trouble = prove(&options, |_| {}).expect_err("it has no tables");
    assert!(trouble[0].contains("no tables"), "{trouble:?}");
    options.url = "postgres://postgres@127.0.0.1:1/none".to_owned();
    let trouble = prove(&options, |_| {}).expect_err("nobody listens");
    assert!(trouble[0].contains("cannot be reached"), "{trouble:?}");
}

/// What the role may not read, and what cannot be made here, is left out and told; the rest is tried.
#[test]
fn a_schema_is_tried_as_far_as_it_can_be_had() {
    let schema = "CREATE TABLE thing(id int PRIMARY KEY, name text); CREATE TABLE secret(id int PRIMARY KEY);
        DO $$ BEGIN CREATE ROLE reader; EXCEPTION WHEN duplicate_object THEN END $$; CREATE POLICY mine ON thing TO reader USING (true)";
    let (database, mut options) = options(schema, CATALOG, 2, &[Feed::Wal]);
    let role = database.role("word");
    database.run(&format!("REVOKE ALL ON secret FROM {role}"));
    options.url = format!("postgres://{role}:word@127.0.0.1:{}/{}", database.postgres().port(), database.name());
    let report = prove(&options, |_| {}).unwrap_or_else(|trouble| panic!("{trouble:#?}"));
    assert!(report.notes.iter().any(|note| note.contains("may not read public.secret")), "{:?}", report.notes);
    // The role is one of their server, and not of ours.
    assert!(report.notes.iter().any(|note| note.contains("not restored: POLICY thing mine")), "{:?}", report.notes);
    assert!(!report.is_stale() && report.lines[0].figures.reads > 0, "{}", report.to_text());
    // Nothing was written there.
    let rows: i64 = database.client().query_one("SELECT count(*) FROM thing", &[]).unwrap().get(0);
    assert_eq!(rows, 0);
}
