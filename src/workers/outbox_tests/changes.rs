//! What each kind of statement is told as.

use super::*;

const SALON: &str = include_str!("../../../catalogs/salon.toml");
const SALON_SCHEMA: &str = include_str!("../../../schema/salon.sql");
const BEAR: &str = include_str!("../../../catalogs/bear.toml");
const BEAR_SCHEMA: &str = include_str!("../../../schema/bear.sql");

/// One table, whose present values are asked for.
const ITEM: &str = r#"
[item]
id = "int"
tables = { item = "id" }
row = "SELECT id, size FROM item WHERE id = ANY({ids})"
[[item.query]]
call = "size {x:int}"
sql = "SELECT id FROM item WHERE size = {x}"
match = "size = {x}"
"#;
const ITEM_TABLE: &str = "CREATE TABLE item (id bigint PRIMARY KEY, size int, note text)";

fn items() -> (Database, Followed) {
    let database = database(ITEM_TABLE);
    let followed = follow(&database, ITEM);
    assert_eq!(followed.connected(), ["item: covered"]);
    (database, followed)
}

fn none() -> Vec<String> {
    Vec::new()
}

#[test]
fn every_kind_of_statement_comes_with_present_values() {
    let (database, followed) = items();
    let (one, two) = (r#"item 1: {"id":1,"size":10}"#, r#"item 2: {"id":2,"size":20}"#);
    for (sql, expected) in [
        ("INSERT INTO item VALUES (1, 10), (2, 20)", vec![one, two]),
        ("UPDATE item SET size = 10 WHERE id = 1", vec![one]),
        ("UPDATE item SET size = 10 WHERE id = 77", vec![]),
        ("INSERT INTO item VALUES (1, 0), (3, 30) ON CONFLICT (id) DO UPDATE SET note = 'x'", vec![one, r#"item 3: {"id":3,"size":30}"#]),
        ("INSERT INTO item VALUES (1, 0) ON CONFLICT DO NOTHING", vec![]),
        (
            "MERGE INTO item USING (VALUES (1), (3), (4)) v(id) ON v.id = item.id WHEN MATCHED AND v.id = 3 THEN DELETE \
             WHEN MATCHED THEN UPDATE SET note = 'm' WHEN NOT MATCHED THEN INSERT VALUES (v.id, 40)",
            vec![one, "item 3", r#"item 4: {"id":4,"size":40}"#],
        ),
        ("UPDATE item SET id = 5 WHERE id = 4", vec!["item 4", r#"item 5: {"id":5,"size":40}"#]),
        ("WITH d AS (DELETE FROM item WHERE id = 5 RETURNING size) UPDATE item SET note = 'w' FROM d WHERE id = 2", vec![two, "item 5"]),
        ("SET session_replication_role = replica; UPDATE item SET note = 'r' WHERE id = 2", vec![two]),
        ("DELETE FROM item WHERE id = 2", vec!["item 2"]),
        ("TRUNCATE item", vec!["item: all"]),
    ] {
        database.run(sql);
        assert_eq!(followed.changes(), expected, "{sql}");
    }
    let mut client = database.client();
    let mut copy = client.copy_in("COPY item FROM STDIN").unwrap();
    std::io::Write::write_all(&mut copy, b"8\t80\tn\n9\t90\tn\n").unwrap();
    copy.finish().unwrap();
    assert_eq!(followed.changes(), [r#"item 8: {"id":8,"size":80}"#, r#"item 9: {"id":9,"size":90}"#]);
    assert_eq!(followed.changes(), none());
}

#[test]
fn transactions_are_told_whole_and_only_what_is_committed() {
    let (database, followed) = items();
    let mut client = database.client();
    client
        .batch_execute(
            "BEGIN; INSERT INTO item VALUES (1, 1); SAVEPOINT a; INSERT INTO item VALUES (2, 2); ROLLBACK TO a; \
        SAVEPOINT b; INSERT INTO item VALUES (3, 3); RELEASE b; INSERT INTO item VALUES (4, 4)",
        )
        .unwrap();
    assert_eq!(followed.changes(), none());
    client.batch_execute("COMMIT").unwrap();
    let (one, three, four) =
        (r#"item 1: {"id":1,"size":1}"#, r#"item 3: {"id":3,"size":3}"#, r#"item 4: {"id":4,"size":4}"#);
    assert_eq!(followed.settled(), [[one, three, four]]);
    database.run("BEGIN; DELETE FROM item; ROLLBACK");
    assert_eq!(followed.changes(), none());
}

/// What was written first is committed last.
#[test]
fn a_transaction_that_commits_after_later_ones_is_told() {
    let (database, followed) = items();
    let (mut old, mut new) = (database.client(), database.client());
    old.batch_execute("BEGIN; INSERT INTO item VALUES (9, 9)").unwrap();
    for id in 10..13 {
        new.batch_execute(&format!("INSERT INTO item VALUES ({id}, 0)")).unwrap();
        assert_eq!(followed.changes(), [format!(r#"item {id}: {{"id":{id},"size":0}}"#)]);
    }
    old.batch_execute("UPDATE item SET size = 8 WHERE id = 9").unwrap();
    assert_eq!(followed.changes(), none());
    old.batch_execute("COMMIT").unwrap();
    assert_eq!(followed.settled(), [[r#"item 9: {"id":9,"size":8}"#]]);
    assert_eq!(followed.changes(), none());
}

#[test]
fn many_rows_are_all_rows() {
    let (database, followed) = items();
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

#[test]
fn rows_of_other_tables_and_cascades_concern_the_sections_that_map_them() {
    let database = database(BEAR_SCHEMA);
    database.run("INSERT INTO color (id, name, hex) VALUES (1, 'black', '#000000'), (2, 'brown', '#111111')");
    database.run(
        "INSERT INTO bear (id, name, size) VALUES (5, 'Kodiak', 300); INSERT INTO bear_colors VALUES (5, 1), (5, 2)",
    );
    let followed = follow(&database, BEAR);
    assert_eq!(followed.connected(), ["bear: covered", "bear_colors: covered", "color: covered"]);
    database.run("DELETE FROM bear_colors WHERE color_id = 1");
    assert_eq!(followed.changes(), [r#"bear 5: {"id":5,"size":300,"colors":["brown"]}"#]);
    database.run("UPDATE color SET name = 'umber' WHERE id = 2");
    assert_eq!(followed.changes(), [r#"bear 5: {"id":5,"size":300,"colors":["umber"]}"#, "color 2"]);
    // By the cascade alone.
    database.run("DELETE FROM color WHERE id = 2");
    assert_eq!(followed.changes(), [r#"bear 5: {"id":5,"size":300,"colors":[]}"#, "color 2"]);
    database.run("DELETE FROM bear");
    assert_eq!(followed.changes(), ["bear 5"]);
}

#[test]
fn a_change_reaches_its_tenant_old_and_new() {
    let database = database(SALON_SCHEMA);
    let followed = follow(&database, SALON);
    assert!(followed.connected().contains(&"booking: covered".to_owned()));
    let (salon, other, id) = (
        "00000000-0000-4000-8000-00000000000a",
        "00000000-0000-4000-8000-00000000000b",
        "00000000-0000-4000-8000-000000000001",
    );
    let present = |salon: &str| {
        format!(
            r#"{{{salon}}}booking {id}: {{"id":"{id}","customer_id":"{other}","status":"NEW","starts_at":"2026-01-02T03:04:05+00:00"}}"#
        )
    };
    database
        .run(&format!("INSERT INTO booking VALUES ('{id}', '{salon}', '{other}', 'NEW', '2026-01-02 03:04:05+00', 5)"));
    assert_eq!(followed.changes(), [present(salon)]);
    database.run(&format!("UPDATE booking SET salon_id = '{other}'"));
    assert_eq!(followed.changes(), [format!("{{{salon}}}booking {id}"), present(other)]);
    database.run("DELETE FROM booking");
    assert_eq!(followed.changes(), [format!("{{{other}}}booking {id}")]);
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
    let followed = follow(&database, &catalog("int", "p = \"id\", parent = \"id\""));
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
    let followed = follow(&database, &catalog("timestamptz", "d = \"at\""));
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
    let followed = follow(&database, &catalog("int", tables));
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
