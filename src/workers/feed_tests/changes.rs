//! What each kind of change is told as.

use super::*;

const BEAR: &str = include_str!("../../../catalogs/bear.toml");
const BEAR_SCHEMA: &str = include_str!("../../../schema/bear.sql");
const SALON: &str = include_str!("../../../catalogs/salon.toml");
const SALON_SCHEMA: &str = include_str!("../../../schema/salon.sql");

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
    let database = Database::new(ITEM_TABLE);
    let followed = database.follow(ITEM);
    assert_eq!(followed.connected(), ["item: covered"]);
    (database, followed)
}

fn none() -> Vec<String> {
    Vec::new()
}

#[test]
fn inserts_updates_and_deletes_come_with_present_values() {
    let (database, followed) = items();
    database.run("INSERT INTO item VALUES (1, 10), (2, 20)");
    assert_eq!(followed.changes(), [r#"item 1: {"id":1,"size":10}"#, r#"item 2: {"id":2,"size":20}"#]);
    database.run("UPDATE item SET size = 11 WHERE id = 1");
    assert_eq!(followed.changes(), [r#"item 1: {"id":1,"size":11}"#]);
    database.run("UPDATE item SET id = 3 WHERE id = 1");
    assert_eq!(followed.changes(), ["item 1", r#"item 3: {"id":3,"size":11}"#]);
    database.run("DELETE FROM item WHERE id = 2");
    assert_eq!(followed.changes(), ["item 2"]);
    assert_eq!(followed.changes(), none());
    assert!(followed.wakes.load(Ordering::Relaxed) > 8);
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

#[test]
fn truncate_and_huge_transactions_are_all_rows() {
    let (database, followed) = items();
    database.run("INSERT INTO item SELECT i, i FROM generate_series(1, 1000) i");
    assert_eq!(followed.changes().len(), 1_000);
    database.run("UPDATE item SET size = 0; INSERT INTO item VALUES (0, 0)");
    assert_eq!(followed.changes(), ["item: all"]);
    database.run("TRUNCATE item");
    assert_eq!(followed.changes(), ["item: all"]);
}

#[test]
fn a_large_value_that_did_not_change_is_no_riddle() {
    const CATALOG: &str = "[doc]\nid = \"text\"\ntables = { doc = \"owner\" }\n[[doc.query]]\ncall = \"all\"\nsql = \"SELECT owner AS id FROM doc\"\n";
    let database = Database::new(
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

#[test]
fn rows_of_other_tables_concern_the_sections_that_map_them() {
    let database = Database::new(BEAR_SCHEMA);
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
    database.run("DELETE FROM bear");
    assert_eq!(followed.changes(), ["bear 5"]);
}

#[test]
fn a_change_reaches_its_tenant() {
    let database = Database::new(SALON_SCHEMA);
    let followed = database.follow(SALON);
    let coverage = followed.connected();
    let booking = coverage.iter().find(|line| line.starts_with("booking")).unwrap();
    assert!(booking.contains("has no 'salon_id'") && booking.contains("REPLICA IDENTITY FULL"), "{booking}");
    let (salon, other, id) = (
        "00000000-0000-4000-8000-00000000000a",
        "00000000-0000-4000-8000-00000000000b",
        "00000000-0000-4000-8000-000000000001",
    );
    database
        .run(&format!("INSERT INTO booking VALUES ('{id}', '{salon}', '{other}', 'NEW', '2026-01-02 03:04:05+00', 5)"));
    let present = |salon: &str, status: &str| {
        format!(
            r#"{{{salon}}}booking {id}: {{"id":"{id}","customer_id":"{other}","status":"{status}","starts_at":"2026-01-02T03:04:05+00:00"}}"#
        )
    };
    assert_eq!(followed.changes(), [present(salon, "NEW")]);
    // It may have come from another salon.
    database.run("UPDATE booking SET status = 'DONE'");
    assert_eq!(followed.changes(), [present(salon, "DONE"), format!("{{former}}booking {id}")]);
    database.run("DELETE FROM booking");
    assert_eq!(followed.changes(), ["{?}booking: all"]);

    database.run("ALTER TABLE booking REPLICA IDENTITY FULL");
    let (coverage, cold) = followed.altered();
    assert!(coverage.contains(&"booking: covered".to_owned()), "{coverage:?}");
    assert_eq!(cold, ["booking"]);
    database
        .run(&format!("INSERT INTO booking VALUES ('{id}', '{salon}', '{other}', 'NEW', '2026-01-02 03:04:05+00', 5)"));
    assert_eq!(followed.changes(), [present(salon, "NEW")]);
    database.run(&format!("UPDATE booking SET salon_id = '{other}'"));
    assert_eq!(followed.changes(), [format!("{{{salon}}}booking {id}"), present(other, "NEW")]);
    database.run("DELETE FROM booking");
    assert_eq!(followed.changes(), [format!("{{{other}}}booking {id}")]);
}

#[test]
fn a_statement_that_fails_means_all_rows_and_ends_nothing() {
    let broken = ITEM.replace("SELECT id, size FROM item WHERE", "SELECT id, 10 / size AS size FROM item WHERE");
    let database = Database::new(ITEM_TABLE);
    let followed = database.follow(&broken);
    followed.connected();
    database.run("INSERT INTO item VALUES (1, 0)");
    assert_eq!(followed.changes(), ["item: all"]);
    database.run("UPDATE item SET size = 5");
    assert_eq!(followed.changes(), [r#"item 1: {"id":1,"size":2}"#]);
}

#[test]
fn caught_up_comes_while_nothing_happens_and_while_only_others_write() {
    let (database, followed) = items();
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

#[test]
fn a_commit_that_does_not_wait_for_the_disk_is_told_before_caught_up() {
    let (database, followed) = items();
    let mut client = database.client();
    client.batch_execute("SET synchronous_commit = off").unwrap();
    for id in 0..20 {
        client.batch_execute(&format!("INSERT INTO item VALUES ({id}, 1)")).unwrap();
        assert_eq!(followed.changes(), [format!(r#"item {id}: {{"id":{id},"size":1}}"#)]);
    }
}

#[test]
fn ids_are_canonical_whatever_the_database_has_set() {
    for (ty, declared, typed, canonical) in [
        ("timestamptz", "timestamptz", "2026-01-02 03:04:05.5+02", "2026-01-02T01:04:05.5Z"),
        ("date", "date", "2026-12-31", "2026-12-31"),
        ("uuid", "uuid", "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
        ("numeric(9,3)", "numeric", "1.500", "1.5"),
        ("varchar", "text", "a,\"b\"\\", "a,\"b\"\\"),
        ("smallint", "int", "7", "7"),
    ] {
        let database = Database::new(&format!("CREATE TABLE item (id {ty} PRIMARY KEY, size int)"));
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
