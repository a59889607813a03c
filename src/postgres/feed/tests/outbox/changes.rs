//! How many rows are all rows, and tables that only triggers can follow.

use super::*;

#[test]
fn many_rows_are_all_rows() {
    let (database, followed) = items(FeedKind::Outbox);
    database.run("INSERT INTO item SELECT i, i FROM generate_series(1, 1000) i");
    assert_eq!(followed.changes().len(), 1_000);
    database.run("INSERT INTO item SELECT i, i FROM generate_series(20001, 30001) i");
    assert_eq!(followed.changes(), ["item: all"]);
    // Each statement is small.
    let small = "INSERT INTO item SELECT i, 0 FROM generate_series(40000 + n * 1000, 40999 + n * 1000) i;";
    database.run(&format!("DO $$ BEGIN FOR n IN 1..25 LOOP {small} END LOOP; END $$"));
    assert_eq!(followed.changes(), ["item: all"]);
    database.run("UPDATE item SET size = 5 WHERE id = 1");
    assert_eq!(followed.changes(), [r#"item 1: {"id":1,"size":5}"#]);
}

fn catalog(id: &str, tables: &str) -> String {
    format!("[t]\nid = \"{id}\"\ntables = {{ {tables} }}\n[[t.query]]\ncall = \"all\"\nsql = \"SELECT 1 AS id\"\n")
}

#[test]
fn partitions_and_children_are_followed_whichever_table_is_named() {
    let database = database(
        "CREATE TABLE p (id int, k int) PARTITION BY RANGE (k); CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10); \
         CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (10) TO (20) PARTITION BY RANGE (k); \
         CREATE TABLE p21 PARTITION OF p2 FOR VALUES FROM (10) TO (15); \
         CREATE TABLE parent (id int); CREATE TABLE child (x int) INHERITS (parent)",
    );
    let followed = database.follow(&catalog("int", "p = \"id\", parent = \"id\""));
    assert_eq!(followed.connected(), ["p: covered", "parent: covered"]);
    for (sql, expected) in [
        (
            "INSERT INTO p VALUES (1, 1), (2, 11); INSERT INTO p1 VALUES (3, 3); INSERT INTO p21 VALUES (4, 12)",
            vec!["t 1", "t 2", "t 3", "t 4"],
        ),
        ("UPDATE p SET k = 12 WHERE id = 1", vec!["t 1"]),
        ("UPDATE p2 SET id = 20 WHERE id = 2", vec!["t 2", "t 20"]),
        ("DELETE FROM p21 WHERE id = 1", vec!["t 1"]),
        ("SET session_replication_role = replica; INSERT INTO p1 VALUES (8, 8)", vec!["t 8"]),
        ("TRUNCATE p21", vec!["t: all"]),
        ("TRUNCATE p", vec!["t: all"]),
        ("INSERT INTO parent VALUES (5); INSERT INTO child VALUES (6, 6)", vec!["t 5", "t 6"]),
        ("UPDATE parent SET id = id + 10", vec!["t 15", "t 16", "t 5", "t 6"]),
        ("DELETE FROM child", vec!["t 16"]),
        ("TRUNCATE child", vec!["t: all"]),
    ] {
        database.run(sql);
        assert_eq!(followed.changes(), expected, "{sql}");
    }
    // Rows that come with a partition fire no trigger.
    database.run(
        "CREATE TABLE public.p3 (id int, k int); INSERT INTO public.p3 VALUES (9, 29); \
         ALTER TABLE p ATTACH PARTITION public.p3 FOR VALUES FROM (20) TO (30)",
    );
    assert!(followed.down().contains("altered"));
    followed.connected();
    database.run("INSERT INTO public.p3 VALUES (10, 21); TRUNCATE p3");
    assert_eq!(followed.changes(), ["t: all"]);
}

#[test]
fn values_are_told_alike_whatever_the_application_has_set() {
    let database = database("CREATE TABLE d (at timestamptz, n numeric, t text)");
    let followed = database.follow(&catalog("timestamptz", "d = \"at\""));
    followed.connected();
    database.run(
        "SET DateStyle = 'SQL, DMY'; SET TimeZone = 'Asia/Tokyo'; INSERT INTO d VALUES ('2026-02-01 12:00:00.5+09')",
    );
    assert_eq!(followed.changes(), ["t 2026-02-01T03:00:00.5Z"]);
}

#[test]
fn tables_without_a_key_and_unlogged_ones_are_covered_and_views_are_not() {
    let database = database(
        "CREATE TABLE plain (id int); CREATE UNLOGGED TABLE unlogged (id int); CREATE VIEW view AS SELECT * FROM plain; \
         CREATE MATERIALIZED VIEW mat AS SELECT * FROM plain; CREATE TABLE \"T'a\"\"b\" (\"i\"\"d\\\" int)",
    );
    let tables = "plain = \"id\", unlogged = \"id\", view = \"id\", mat = \"id\", missing = \"id\", \"\\\"T'a\\\"\\\"b\\\"\" = 'i\"d\\'";
    let followed = database.follow(&catalog("int", tables));
    let coverage = followed.connected();
    for (table, part) in [
        ("plain", "covered"),
        ("unlogged", "covered"),
        ("\"T'a\"\"b\"", "covered"),
        ("view", "it is a view"),
        ("mat", "it is a materialised view"),
        ("missing", "there is no such table"),
    ] {
        let line = coverage.iter().find(|line| line.starts_with(&format!("{table}: "))).expect(table);
        assert!(line.contains(part), "{line}");
    }
    database.run("INSERT INTO plain VALUES (1); INSERT INTO unlogged VALUES (2); INSERT INTO \"T'a\"\"b\" VALUES (3)");
    assert_eq!(followed.changes(), ["t 1", "t 2", "t 3"]);
}
