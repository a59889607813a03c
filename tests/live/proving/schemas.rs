//! Schemas that are hard to fill, and those that cannot be restored as a whole.

use super::{line, report};
use crate::prove::run::Feed;

/// Cycles that must be closed at once, a table that refers to itself, domains, enums, ranges, arrays, rows, partitions, columns that
/// Postgres computes, identities that nobody may write, names that need quotes, and patterns.
const HARD: &str = r#"
CREATE TYPE mood AS ENUM ('glad', 'sad');
CREATE DOMAIN code AS text CHECK (VALUE ~ '^[A-Z]{3}-[0-9]{2}$');
CREATE TYPE place AS (street text, number int);
CREATE TABLE company(id int PRIMARY KEY, head int NOT NULL);
CREATE TABLE person(id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, company int NOT NULL REFERENCES company, code code NOT NULL UNIQUE,
    mood mood NOT NULL, home place, CHECK (mood = 'glad' OR home IS NOT NULL));
ALTER TABLE company ADD FOREIGN KEY (head) REFERENCES person DEFERRABLE INITIALLY DEFERRED;
CREATE TABLE "Order Line"("Id" uuid PRIMARY KEY, "parent" uuid NOT NULL REFERENCES "Order Line", "Qty" int NOT NULL CHECK ("Qty" BETWEEN 3 AND 5),
    double int GENERATED ALWAYS AS ("Qty" * 2) STORED, tags text[] NOT NULL, during int4range NOT NULL, days tstzrange, email varchar(12));
CREATE TABLE event(at date NOT NULL, kind text NOT NULL CHECK (kind IN ('made', 'sent')), seq int NOT NULL, PRIMARY KEY (at, seq)) PARTITION BY RANGE (at);
CREATE TABLE event_old PARTITION OF event FOR VALUES FROM ('2020-01-01') TO ('2025-01-01');
CREATE TABLE event_new PARTITION OF event FOR VALUES FROM ('2025-01-01') TO ('2036-01-01');
CREATE TABLE span(id int PRIMARY KEY, low int NOT NULL, high int NOT NULL, CHECK (low < high), EXCLUDE USING gist (int4range(low, high) WITH &&));
"#;

const CATALOG: &str = r#"
[person]
[[person.query]]
call = "of {mood:text}"
sql = "SELECT p.id, p.code, c.head FROM person p JOIN company c ON c.id = p.company WHERE p.mood::text = {mood} ORDER BY p.id"
[order_line]
table = '"Order Line"'
[[order_line.query]]
call = "{id:uuid}"
sql = 'SELECT "Id", double, tags, during FROM "Order Line" WHERE "Id" = {id}'
[event]
[[event.query]]
call = "on {at:date}"
sql = "SELECT at, seq, kind FROM event WHERE at = {at} ORDER BY seq"
[span]
[[span.query]]
call = "over {low:int}"
sql = "SELECT id, high FROM span WHERE low >= {low} ORDER BY id"
"#;

#[test]
fn a_hard_schema_is_filled_and_changed() {
    let report = report(HARD, CATALOG, 8, &[Feed::Outbox]);
    println!("{}", report.to_text());
    assert!(!report.notes.iter().any(|note| note.contains("stays empty")), "{:?}", report.notes);
    assert!(!report.is_stale(), "{}", report.to_text());
    for call in ["of {mood:text}", "{id:uuid}", "on {at:date}", "over {low:int}"] {
        let figures = &line(&report, call).figures;
        assert!(figures.reads > 0 && figures.changes > 0, "{call}: {figures:?}");
    }
}

/// Rows of `part` go with those of `whole`, and the stream of changes cannot tell of `part`: it has no key.
#[test]
fn tables_whose_rows_untold_ones_follow_are_left_alone() {
    let schema = "CREATE TABLE whole(id int PRIMARY KEY, name text NOT NULL);
        CREATE TABLE part(whole_id int NOT NULL REFERENCES whole ON DELETE CASCADE, n int NOT NULL);
        CREATE TABLE other(id int PRIMARY KEY, whole_id int NOT NULL REFERENCES whole, name text NOT NULL);";
    let catalog = r#"
[whole]
group = "all"
[[whole.query]]
call = "{id:int}"
sql = "SELECT w.id, w.name, (SELECT count(*) FROM part p WHERE p.whole_id = w.id) AS parts FROM whole w WHERE w.id = {id}"
[other]
group = "all"
[[other.query]]
call = "of {whole:int}"
sql = "SELECT o.id, o.name FROM other o WHERE o.whole_id = {whole} ORDER BY o.id"
"#;
    let report = report(schema, catalog, 5, &[Feed::Wal]);
    assert!(!report.is_stale(), "{}", report.to_text());
    let note = "nor are tables changed whose rows such ones follow by a foreign key: whole";
    assert!(report.notes.iter().any(|found| found.contains(note)), "{:?}", report.notes);
    assert!(line(&report, "of {whole:int}").figures.changes > 0, "{}", report.to_text());
    assert_eq!(line(&report, "{id:int}").figures.changes, 0, "{}", report.to_text());
}
