//! Of an UPDATE, which columns it has left as they were, where queries say which they read.

use super::*;

for_both_kinds![
    an_update_is_told_with_what_it_has_left_as_it_was,
    rows_of_several_tables_are_compared_by_what_each_of_them_has,
    a_row_that_moves_to_another_partition_comes_and_goes,
    values_are_read_where_somebody_who_compares_them_may_be_concerned,
];

const SCHEMA: &str = "CREATE TABLE item (id int PRIMARY KEY, size int, note text, doc text, twice int GENERATED ALWAYS AS (size * 2) STORED); \
    ALTER TABLE item REPLICA IDENTITY FULL; ALTER TABLE item ALTER doc SET STORAGE EXTERNAL";

const CATALOG: &str = r#"
    [item]
    id = "int"
    tables = { item = "id" }
    [[item.query]]
    call = "all"
    sql = "SELECT id, size, doc FROM item"
    reads = { item = "size, doc, twice" }
"#;

fn an_update_is_told_with_what_it_has_left_as_it_was(kind: FeedKind) {
    let database = Database::new(kind, SCHEMA);
    let followed = database.follow(CATALOG);
    followed.connected();
    for (sql, expected) in [
        ("INSERT INTO item VALUES (1, 10, 'a', repeat('x', 9000)), (2, 10, NULL, NULL)", vec!["item 1", "item 2"]),
        ("UPDATE item SET note = 'b' WHERE id = 1", vec!["item 1 as it was: doc,size"]),
        ("UPDATE item SET note = note", vec!["item 1 as it was: doc,size", "item 2 as it was: doc,size"]),
        ("UPDATE item SET size = 11 WHERE id = 1", vec!["item 1 as it was: doc"]),
        ("UPDATE item SET size = NULL WHERE id = 2", vec!["item 2 as it was: doc"]),
        ("UPDATE item SET doc = '' WHERE id = 2", vec!["item 2 as it was: size"]),
        ("UPDATE item SET doc = doc || 'y', note = 'c' WHERE id = 1", vec!["item 1 as it was: size"]),
        ("UPDATE item SET size = 12, doc = 'z' WHERE id = 2", vec!["item 2 as it was: "]),
        // Two rows of which each becomes what the other was.
        ("UPDATE item SET size = 23 - size", vec!["item 1 as it was: doc", "item 2 as it was: doc"]),
        // There and back, of which somebody may have read the half.
        (
            "BEGIN; UPDATE item SET size = 5 WHERE id = 1; UPDATE item SET size = 12 WHERE id = 1; COMMIT",
            vec!["item 1 as it was: doc"],
        ),
        (
            "BEGIN; UPDATE item SET size = 5 WHERE id = 1; UPDATE item SET note = 'd' WHERE id = 1; COMMIT",
            vec!["item 1 as it was: doc"],
        ),
        ("UPDATE item SET id = 3 WHERE id = 1", vec!["item 1", "item 3"]),
        ("BEGIN; UPDATE item SET note = 'e' WHERE id = 3; DELETE FROM item WHERE id = 3; COMMIT", vec!["item 3"]),
        (
            "INSERT INTO item VALUES (2, 0) ON CONFLICT (id) DO UPDATE SET note = 'u'",
            vec!["item 2 as it was: doc,size"],
        ),
        ("DELETE FROM item", vec!["item 2"]),
    ] {
        database.run(sql);
        assert_eq!(followed.changes(), expected, "{sql}");
    }
}

fn rows_of_several_tables_are_compared_by_what_each_of_them_has(kind: FeedKind) {
    const CATALOG: &str = r#"
        [person]
        id = "int"
        [person.tables]
        person = "id"
        member = "person_id"
        team = "SELECT person_id FROM member WHERE team_id = ANY({ids})"
        [[person.query]]
        call = "all"
        sql = "SELECT id FROM person"
        reads = { person = "name, role, title" }
        [guest]
        id = "int"
        tables = { person = "id" }
    "#;
    let database = Database::new(
        kind,
        "CREATE TABLE person (id int PRIMARY KEY, name text, seen int); \
         CREATE TABLE member (id int PRIMARY KEY, person_id int, team_id int, role text, since int); \
         CREATE TABLE team (id int PRIMARY KEY, title text, budget int); \
         INSERT INTO person VALUES (1, 'a', 0), (2, 'b', 0); INSERT INTO member VALUES (1, 1, 7, 'x', 0), (2, 2, 7, 'y', 0); \
         INSERT INTO team VALUES (7, 't', 0); ALTER TABLE person REPLICA IDENTITY FULL; \
         ALTER TABLE member REPLICA IDENTITY FULL; ALTER TABLE team REPLICA IDENTITY FULL",
    );
    let followed = database.follow(CATALOG);
    followed.connected();
    for (sql, expected) in [
        // A section of which nobody says what he reads.
        ("UPDATE person SET seen = 1 WHERE id = 1", vec!["guest 1", "person 1 as it was: name,role,title"]),
        ("UPDATE person SET name = 'c' WHERE id = 1", vec!["guest 1", "person 1 as it was: role,title"]),
        ("UPDATE member SET since = 1 WHERE id = 1", vec!["person 1 as it was: name,role,title"]),
        ("UPDATE member SET role = 'z'", vec!["person 1 as it was: name,title", "person 2 as it was: name,title"]),
        ("UPDATE member SET person_id = 3 WHERE id = 1", vec!["person 1", "person 3"]),
        (
            "UPDATE team SET budget = 1",
            vec!["person 2 as it was: name,role,title", "person 3 as it was: name,role,title"],
        ),
        ("UPDATE team SET title = 'u'", vec!["person 2 as it was: name,role", "person 3 as it was: name,role"]),
        (
            "BEGIN; UPDATE team SET title = 'v'; UPDATE person SET name = 'd' WHERE id = 2; COMMIT",
            vec!["guest 2", "person 2 as it was: role", "person 3 as it was: name,role"],
        ),
    ] {
        database.run(sql);
        assert_eq!(followed.changes(), expected, "{sql}");
    }
}

fn a_row_that_moves_to_another_partition_comes_and_goes(kind: FeedKind) {
    let database = Database::new(
        kind,
        "CREATE TABLE item (id int, size int, note text, doc text, k int) PARTITION BY LIST (k); \
         CREATE TABLE item1 PARTITION OF item FOR VALUES IN (1); CREATE TABLE item2 PARTITION OF item FOR VALUES IN (2); \
         ALTER TABLE item1 REPLICA IDENTITY FULL; ALTER TABLE item2 REPLICA IDENTITY FULL; \
         INSERT INTO item VALUES (1, 1, 'a', 'x', 1)",
    );
    let followed = database.follow(CATALOG);
    followed.connected();
    for (sql, expected) in [
        ("UPDATE item SET note = 'b'", "item 1 as it was: doc,size,twice"),
        ("UPDATE item SET k = 2", "item 1"),
        ("UPDATE item2 SET size = 2", "item 1 as it was: doc,twice"),
    ] {
        database.run(sql);
        assert_eq!(followed.changes(), [expected], "{sql}");
    }
}

/// The table has a column that nobody reads, and one that is read by who compares nothing.
fn values_are_read_where_somebody_who_compares_them_may_be_concerned(kind: FeedKind) {
    const CATALOG: &str = r#"
        [item]
        id = "int"
        tables = { item = "id" }
        row = "SELECT id, size FROM item WHERE id = ANY({ids})"
        [[item.query]]
        call = "of {size:int}"
        sql = "SELECT id FROM item WHERE size = {size}"
        match = "size = {size}"
        reads = { item = "size" }
        [[item.query]]
        call = "all"
        sql = "SELECT id, doc FROM item"
        reads = { item = "doc" }
    "#;
    let database = Database::new(kind, &format!("{SCHEMA}; INSERT INTO item VALUES (1, 1, 'a', 'x')"));
    let followed = database.follow(CATALOG);
    followed.connected();
    for (sql, expected) in [
        ("UPDATE item SET note = 'b'", "item 1 as it was: doc,size"),
        ("UPDATE item SET doc = 'y'", "item 1 as it was: size"),
        ("UPDATE item SET size = 2", r#"item 1: {"id":1,"size":2} as it was: doc"#),
    ] {
        database.run(sql);
        assert_eq!(followed.changes(), [expected], "{sql}");
    }
}

#[test]
fn without_old_rows_in_the_wal_nothing_is_known_and_the_alter_is_said() {
    let database = Database::new(
        FeedKind::Wal,
        &format!("{SCHEMA}; ALTER TABLE item REPLICA IDENTITY DEFAULT; INSERT INTO item VALUES (1, 1, 'a', 'x')"),
    );
    let followed = database.follow(CATALOG);
    let alter = |outcome: FeedOutcome| match outcome {
        FeedOutcome::Connected { coverage } | FeedOutcome::Altered { coverage, .. } => coverage[0].alter.clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!(alter(followed.next()).as_deref(), Some("ALTER TABLE public.item REPLICA IDENTITY FULL"));
    database.run("UPDATE item SET note = 'b'");
    assert_eq!(followed.changes(), ["item 1"]);
    database.run("ALTER TABLE item REPLICA IDENTITY FULL");
    followed.altered();
    database.run("UPDATE item SET note = 'c'");
    assert_eq!(followed.changes(), ["item 1 as it was: doc,size"]);
    // Triggers need no identity.
    let database = Database::new(FeedKind::Outbox, &format!("{SCHEMA}; ALTER TABLE item REPLICA IDENTITY DEFAULT"));
    assert_eq!(alter(database.follow(CATALOG).next()), None);
}

/// Without a primary key nobody knows which row became which, where a statement writes several.
#[test]
fn triggers_tell_nothing_of_rows_without_a_key() {
    let database = Database::new(
        FeedKind::Outbox,
        "CREATE TABLE item (id int, size int, note text, doc text); INSERT INTO item VALUES (1, 1, 'a', 'x')",
    );
    let followed = database.follow(CATALOG);
    followed.connected();
    database.run("UPDATE item SET note = 'b'");
    assert_eq!(followed.changes(), ["item 1"]);
}
