//! What each kind of statement is told as.

use super::*;

const BEAR: &str = include_str!("../../../../../catalogs/bear.toml");
const BEAR_SCHEMA: &str = include_str!("../../../../../schema/bear.sql");
const SALON: &str = include_str!("../../../../../catalogs/salon.toml");
const SALON_SCHEMA: &str = include_str!("../../../../../schema/salon.sql");

for_both_kinds![
    every_kind_of_statement_comes_with_present_values,
    transactions_are_told_whole_and_only_what_is_committed,
    a_transaction_that_commits_after_later_ones_is_told,
    a_large_value_that_did_not_change_is_no_riddle,
    rows_of_other_tables_and_cascades_concern_the_sections_that_map_them,
    a_change_reaches_its_tenant_old_and_new,
    a_statement_that_fails_means_all_rows_and_ends_nothing,
    caught_up_comes_while_nothing_happens_and_while_only_others_write,
    a_commit_that_does_not_wait_for_the_disk_is_told_before_caught_up,
    ids_are_canonical_whatever_the_database_has_set,
];

fn every_kind_of_statement_comes_with_present_values(kind: FeedKind) {
    let (database, followed) = items(kind);
    let (one, two) = (r#"item 1: {"id":1,"size":10}"#, r#"item 2: {"id":2,"size":20}"#);
    for (sql, expected) in [
        ("INSERT INTO item VALUES (1, 10), (2, 20)", vec![one, two]),
        ("UPDATE item SET size = 11 WHERE id = 1", vec![r#"item 1: {"id":1,"size":11}"#]),
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

fn transactions_are_told_whole_and_only_what_is_committed(kind: FeedKind) {
    let (database, followed) = items(kind);
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
fn a_transaction_that_commits_after_later_ones_is_told(kind: FeedKind) {
    let (database, followed) = items(kind);
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

fn a_large_value_that_did_not_change_is_no_riddle(kind: FeedKind) {
    const CATALOG: &str = "[doc]\nid = \"text\"\ntables = { doc = \"owner\" }\n[[doc.query]]\ncall = \"all\"\nsql = \"SELECT owner AS id FROM doc\"\n";
    let database = Database::new(
        kind,
        "CREATE TABLE doc (id int PRIMARY KEY, owner text, n int); ALTER TABLE doc REPLICA IDENTITY FULL; \
         ALTER TABLE doc ALTER owner SET STORAGE EXTERNAL",
    );
    let followed = database.follow(CATALOG);
    followed.connected();
    database.run("INSERT INTO doc VALUES (1, repeat('x', 9000), 1)");
    let long = format!("doc {}", "x".repeat(9000));
    assert_eq!(followed.changes(), std::slice::from_ref(&long));
    // The owner is not sent anew; the old row tells it.
    database.run("UPDATE doc SET n = 2");
    assert_eq!(followed.changes(), [long]);
}

fn rows_of_other_tables_and_cascades_concern_the_sections_that_map_them(kind: FeedKind) {
    let database = Database::new(kind, BEAR_SCHEMA);
    database.run("INSERT INTO color (id, name, hex) VALUES (1, 'black', '#000000'), (2, 'brown', '#111111')");
    database.run(
        "INSERT INTO bear (id, name, size) VALUES (5, 'Kodiak', 300); INSERT INTO bear_colors VALUES (5, 1), (5, 2)",
    );
    let followed = database.follow(BEAR);
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

fn a_change_reaches_its_tenant_old_and_new(kind: FeedKind) {
    let database = Database::new(kind, SALON_SCHEMA);
    // Else nobody tells which tenant it has left.
    database.run("ALTER TABLE booking REPLICA IDENTITY FULL");
    let followed = database.follow(SALON);
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

fn a_statement_that_fails_means_all_rows_and_ends_nothing(kind: FeedKind) {
    let broken = ITEM.replace("SELECT id, size FROM item WHERE", "SELECT id, 10 / size AS size FROM item WHERE");
    let database = Database::new(kind, ITEM_TABLE);
    let followed = database.follow(&broken);
    followed.connected();
    database.run("INSERT INTO item VALUES (1, 0)");
    assert_eq!(followed.changes(), ["item: all"]);
    database.run("UPDATE item SET size = 5");
    assert_eq!(followed.changes(), [r#"item 1: {"id":1,"size":2}"#]);
}

fn caught_up_comes_while_nothing_happens_and_while_only_others_write(kind: FeedKind) {
    let (database, followed) = items(kind);
    database.run("CREATE TABLE other (x text)");
    let mut client = database.client();
    for _ in 0..3 {
        let started = Instant::now();
        assert_eq!(followed.changes(), none());
        assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
        client.batch_execute("INSERT INTO other SELECT repeat('x', 100) FROM generate_series(1, 20000)").unwrap();
    }
    // WAL that nobody flushes.
    client.batch_execute("BEGIN; INSERT INTO other VALUES ('x')").unwrap();
    let started = Instant::now();
    assert_eq!(followed.changes(), none());
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
}

fn a_commit_that_does_not_wait_for_the_disk_is_told_before_caught_up(kind: FeedKind) {
    let (database, followed) = items(kind);
    let mut client = database.client();
    client.batch_execute("SET synchronous_commit = off").unwrap();
    for id in 0..20 {
        client.batch_execute(&format!("INSERT INTO item VALUES ({id}, 1)")).unwrap();
        assert_eq!(followed.changes(), [format!(r#"item {id}: {{"id":{id},"size":1}}"#)]);
    }
}

fn ids_are_canonical_whatever_the_database_has_set(kind: FeedKind) {
    for (ty, declared, typed, canonical) in [
        ("timestamptz", "timestamptz", "2026-01-02 03:04:05.5+02", "2026-01-02T01:04:05.5Z"),
        ("date", "date", "2026-12-31", "2026-12-31"),
        ("uuid", "uuid", "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
        ("numeric(9,3)", "numeric", "1.500", "1.5"),
        ("varchar", "text", "a,\"b\"\\", "a,\"b\"\\"),
        ("smallint", "int", "7", "7"),
    ] {
        let database = Database::new(kind, &format!("CREATE TABLE item (id {ty} PRIMARY KEY, size int)"));
        database.run(&format!(
            "ALTER DATABASE {0} SET DateStyle = 'German'; ALTER DATABASE {0} SET TimeZone = 'Asia/Tokyo'",
            database.name
        ));
        let followed = database.follow(&ITEM.replace("\"int\"\ntables", &format!("\"{declared}\"\ntables")));
        assert_eq!(followed.connected(), ["item: covered"]);
        database.client().execute(&format!("INSERT INTO item VALUES ($1::text::{ty}, 1)"), &[&typed]).unwrap();
        let changes = followed.changes();
        assert!(changes.len() == 1 && changes[0].starts_with(&format!("item {canonical}: {{\"id\":")), "{changes:?}");
    }
}
