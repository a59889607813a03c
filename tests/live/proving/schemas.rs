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

/// A trigger's work is told by the feed, and by nobody where there is none: such jobs are not made then, and others are.
#[test]
fn without_a_feed_jobs_that_fire_triggers_are_left_alone() {
    let schema = "CREATE TABLE board(id int PRIMARY KEY, posts int NOT NULL DEFAULT 0);
        CREATE TABLE post(id int PRIMARY KEY, board_id int NOT NULL REFERENCES board ON DELETE CASCADE);
        CREATE FUNCTION recount() RETURNS trigger LANGUAGE plpgsql AS
            'BEGIN UPDATE board SET posts = posts + 1 WHERE id = coalesce(NEW.board_id, OLD.board_id); RETURN NULL; END';
        CREATE TRIGGER recount AFTER INSERT OR UPDATE OR DELETE ON post FOR EACH ROW EXECUTE FUNCTION recount();
        CREATE TABLE other(id int PRIMARY KEY, name text NOT NULL)";
    let catalog = r#"
[board]
[[board.query]]
call = "{id:int}"
sql = "SELECT b.id, b.posts FROM board b WHERE b.id = {id}"
[board.job.DELETE]
data = { id = "int" }
sql = """WITH gone AS (DELETE FROM board b USING {jobs} job WHERE b.id = job.id RETURNING job.n, b.id)
    SELECT gone.n, 'board' AS section, gone.id::text AS id FROM gone
    UNION ALL SELECT gone.n, 'post' AS section, p.id::text AS id FROM gone JOIN post p ON p.board_id = gone.id"""
[post]
[[post.query]]
call = "{id:int}"
sql = "SELECT p.id, p.board_id FROM post p WHERE p.id = {id}"
[post.job.INSERT]
data = { id = "int", board_id = "int" }
sql = """WITH added AS (INSERT INTO post (id, board_id) SELECT job.id, job.board_id FROM {jobs} job RETURNING id)
    SELECT job.n, added.id FROM {jobs} job JOIN added ON added.id = job.id"""
[other]
[[other.query]]
call = "{id:int}"
sql = "SELECT o.id, o.name FROM other o WHERE o.id = {id}"
[other.job.UPDATE]
data = { id = "int", name = "text" }
sql = "UPDATE other o SET name = job.name FROM {jobs} job WHERE o.id = job.id RETURNING job.n, o.id"
"#;
    let report = report(schema, catalog, 4, &[Feed::Off]);
    assert!(!report.is_stale(), "{}", report.to_text());
    let note = "jobs that are not made, for nobody tells what their triggers change: board DELETE, post INSERT";
    assert!(report.notes.iter().any(|found| found.contains(note)), "{:?}", report.notes);
    let other = report.lines.iter().find(|line| line.section == "other").expect("the query");
    assert!(other.figures.changes > 0, "{}", report.to_text());
}
