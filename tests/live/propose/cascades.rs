//! What goes with a row, to its end: each of what was cached of it is gone after the proposed DELETE alone, for there is no feed.

use super::{loaded, proposed};
use crate::support::{Postgres, Redis};

/// A chain of seven, whose third table has no section and whose fifth has a key of two columns (one of them called `n`); a tree; a circle
/// of three tables with keys of three types; two ways to one table; names that the statement might take.
const SCHEMA: &str = "
CREATE TABLE gone (id int PRIMARY KEY, name text);
CREATE TABLE with_gone (id int PRIMARY KEY, gone_id int NOT NULL REFERENCES gone ON DELETE CASCADE);
CREATE TABLE nameless (code varchar(10) UNIQUE, of int REFERENCES with_gone ON DELETE CASCADE);
CREATE TABLE fourth (id uuid PRIMARY KEY, code varchar(10) REFERENCES nameless (code) ON DELETE CASCADE);
CREATE TABLE fifth (n int, of uuid REFERENCES fourth ON DELETE CASCADE, PRIMARY KEY (n, of));
CREATE INDEX ON fifth (of);
CREATE TABLE sixth (id bigint PRIMARY KEY, n int, of uuid, FOREIGN KEY (n, of) REFERENCES fifth ON DELETE CASCADE);
CREATE TABLE seventh (id int PRIMARY KEY, six bigint REFERENCES sixth ON DELETE SET NULL);
CREATE INDEX ON seventh (six);
CREATE TABLE tree (name varchar(20) PRIMARY KEY, up varchar(20) REFERENCES tree ON DELETE CASCADE, left_of varchar(20) REFERENCES tree ON DELETE CASCADE);
CREATE TABLE leaf (id int PRIMARY KEY, tree varchar(20) REFERENCES tree ON DELETE CASCADE, gone_id int REFERENCES gone ON DELETE CASCADE);
CREATE TABLE one (id int PRIMARY KEY);
CREATE TABLE two (code text PRIMARY KEY, one_id int REFERENCES one ON DELETE CASCADE);
CREATE TABLE three (id uuid PRIMARY KEY, two text REFERENCES two ON DELETE CASCADE);
ALTER TABLE one ADD three uuid REFERENCES three ON DELETE CASCADE;
CREATE TABLE behind (id int PRIMARY KEY, three uuid REFERENCES three ON DELETE CASCADE);
CREATE TABLE named (id int PRIMARY KEY, name text UNIQUE, note text);
CREATE TABLE naming (id int PRIMARY KEY, name text REFERENCES named (name) ON UPDATE CASCADE);
";

const ROWS: &str = "
INSERT INTO gone VALUES (1, 'a'), (2, 'b');
INSERT INTO with_gone VALUES (1, 1), (2, 2);
INSERT INTO nameless VALUES ('a', 1), ('b', 2);
INSERT INTO fourth VALUES ('00000000-0000-0000-0000-000000000001', 'a'), ('00000000-0000-0000-0000-000000000002', 'b');
INSERT INTO fifth VALUES (1, '00000000-0000-0000-0000-000000000001'), (2, '00000000-0000-0000-0000-000000000002');
INSERT INTO sixth SELECT n, n, of FROM fifth;
INSERT INTO seventh VALUES (1, 1), (2, 2);
INSERT INTO tree VALUES ('a', NULL, NULL), ('b', 'a', NULL), ('c', NULL, 'b'), ('d', 'c', 'b'), ('x', NULL, NULL);
INSERT INTO leaf VALUES (1, 'd', NULL), (2, 'x', 1), (3, 'x', 2);
INSERT INTO one VALUES (1, NULL), (2, NULL);
INSERT INTO two VALUES ('a', 1), ('b', 2);
INSERT INTO three VALUES ('00000000-0000-0000-0000-000000000001', 'a'), ('00000000-0000-0000-0000-000000000002', 'b');
UPDATE one SET three = '00000000-0000-0000-0000-000000000002' WHERE id = 1;
INSERT INTO behind VALUES (1, '00000000-0000-0000-0000-000000000001'), (2, '00000000-0000-0000-0000-000000000002');
";

const ONE: &str = "00000000-0000-0000-0000-000000000001";
const TWO: &str = "00000000-0000-0000-0000-000000000002";

#[test]
fn all_that_goes_with_a_row_is_told() {
    let database = Postgres::shared().database(&format!("DROP TABLE closed_gate CASCADE; {SCHEMA}{ROWS}"));
    let text = proposed(&database, "");
    let redis = loaded(&database, &text);
    let mut wire = redis.wire();
    let ask = |call: &str| redis.run(&format!("BEAR.QUERY {call}")).text();
    let mut delete = |section: &str, data: &str, goes: &[&str], stays: &[&str]| {
        let before: Vec<String> = goes.iter().map(|call| ask(call)).collect();
        let kept: Vec<String> = stays.iter().map(|call| ask(call)).collect();
        let reply = wire.call(&["BEAR.ENQUEUE", section, "DELETE", data, "ATTEMPTS", "1", "BLOCK", "20000"]);
        assert_eq!(reply.map()["state"].text(), "completed", "{section}: {reply:?}\n{text}");
        for (call, before) in goes.iter().zip(before) {
            assert_ne!(ask(call), before, "{section} {data}: {call} is told\n{text}");
        }
        for (call, kept) in stays.iter().zip(kept) {
            let (space, words) = call.split_once(' ').unwrap();
            let reply = redis.run(&format!("BEAR.QUERY {space} CACHED {words}"));
            assert!(!reply.is_nil() && reply.text() == kept, "{section} {data}: {call} stays: {reply:?}");
        }
    };
    let (fourth_1, fourth_2) = (format!("fourth {ONE}"), format!("fourth {TWO}"));
    let fifth_1 = format!("fifth_by_of {ONE}");
    delete(
        "gone",
        r#"{"id":1}"#,
        &["gone 1", "with_gone 1", &fourth_1, "fifth 1", &fifth_1, "sixth 1", "seventh 1", "leaf 2"],
        &["gone 2", "with_gone 2", &fourth_2, "sixth 2", "seventh 2", "leaf 1", "leaf 3", "tree name x"],
    );
    delete(
        "tree",
        r#"{"name":"b"}"#,
        &["tree name b", "tree name c", "tree name d", "leaf 1"],
        &["tree name a", "tree name x", "leaf 3"],
    );
    let (three_1, three_2) = (format!("three {ONE}"), format!("three {TWO}"));
    delete(
        "three",
        &format!(r#"{{"id":"{TWO}"}}"#),
        &[&three_1, &three_2, "one 1", "two code a", "behind 1", "behind 2"],
        &["one 2", "two code b"],
    );
    for taken in ["WITH RECURSIVE gone AS (DELETE FROM one o", "WITH gone_2 AS (DELETE FROM gone g"] {
        assert!(text.contains(taken), "{taken}: {text}");
    }
}

/// Rows of other tables would follow it, which a statement does not see that changes them.
#[test]
fn a_column_that_others_follow_is_not_updated() {
    let database = Postgres::shared().database(&format!("DROP TABLE closed_gate CASCADE; {SCHEMA}"));
    let text = proposed(&database, "TABLE named naming");
    let _redis = loaded(&database, &text);
    let (_, update) = text.split_once("[named.job.UPDATE]").unwrap();
    assert!(update.lines().nth(1).unwrap() == r#"data = { id = "int", note = "text?" }"#, "{text}");
}

/// What the role may not read on the way leads on to rows of which nobody knows which they are.
#[test]
fn behind_what_the_role_may_not_read_any_row_counts() {
    let database = Postgres::shared().database(
        "CREATE TABLE top (id int PRIMARY KEY); CREATE TABLE unread (id int PRIMARY KEY, top_id int REFERENCES top ON DELETE CASCADE);
         CREATE TABLE low (id int PRIMARY KEY, unread_id int REFERENCES unread ON DELETE CASCADE);
         CREATE TABLE half (id int PRIMARY KEY, hidden int REFERENCES top ON DELETE SET NULL, v int);
         INSERT INTO top VALUES (1), (2); INSERT INTO unread VALUES (1, 1); INSERT INTO low VALUES (1, 1); INSERT INTO half VALUES (1, 1)",
    );
    let role = database.role("p");
    database.run(&format!(
        "GRANT CREATE ON DATABASE {} TO {role}; REVOKE ALL ON unread, half FROM {role}; GRANT SELECT, INSERT, UPDATE, DELETE ON top, low TO {role}; GRANT SELECT (id, v) ON half TO {role}",
        database.name()
    ));
    let url = format!("postgres://{role}:p@127.0.0.1:{}/{}", database.postgres().port(), database.name());
    let builder = || Redis::builder().env("BEAR_POSTGRES_URL", &url).config("bear.feed", "off");
    let text = builder().start().run("BEAR.PROPOSE").text();
    assert!(
        text.contains("; there are more, of which the change feed alone tells\n# It cannot tell which rows of these go: any counts of half, low\n[top.job.DELETE]"),
        "{text}"
    );
    let redis = super::seen(builder().catalog(text.clone()).start(), &text);
    assert!(redis.run("BEAR.QUERY low 1").text().contains(r#""id":1"#));
    let reply = redis.wire().call(&["BEAR.ENQUEUE", "top", "DELETE", r#"{"id":1}"#, "ATTEMPTS", "1", "BLOCK", "20000"]);
    assert_eq!(reply.map()["state"].text(), "completed", "{reply:?}");
    assert_eq!(redis.run("BEAR.QUERY low 1").text(), "null", "{text}");
}
