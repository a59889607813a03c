//! Tables that a section maps by a SELECT: what is told of rows by which it found others, in both kinds of feed.

use super::*;

const SCHEMA: &str = "CREATE TABLE person (id int PRIMARY KEY, name text); \
    CREATE TABLE team (id int PRIMARY KEY, club_id int, name text); \
    CREATE TABLE member (id int PRIMARY KEY, person_id int, team_id int REFERENCES team ON DELETE CASCADE ON UPDATE CASCADE, note text); \
    CREATE TABLE plays (person_id int, team_id int REFERENCES team ON DELETE CASCADE ON UPDATE CASCADE, PRIMARY KEY (team_id, person_id)); \
    CREATE VIEW playing AS SELECT person_id, team_id FROM plays; \
    INSERT INTO person VALUES (1), (2), (3), (4); INSERT INTO team VALUES (7, 70), (8, 80), (9, 90); \
    INSERT INTO member VALUES (11, 1, 7), (12, 2, 7), (13, 3, 8), (14, 4, 9); \
    INSERT INTO plays SELECT person_id, team_id FROM member";

fn catalog(tables: &str) -> String {
    format!("[person]\nid = \"int\"\ntables = {{ {tables} }}\n[[person.query]]\ncall = \"all\"\nsql = \"SELECT id FROM person\"\n")
}

fn follow(database: &Database, catalog: &str) -> Followed {
    let mut settings = settings(database.kind, &database.url("bear", database.server.port));
    settings.settings.query_timeout_ms = 5000;
    Followed::start(settings, catalog)
}

const KINDS: [FeedKind; 2] = [FeedKind::Wal, FeedKind::Outbox];

/// Runs each statement and looks at what is told: the persons, or `all`.
#[track_caller]
fn assert_told(kind: FeedKind, before: &str, tables: &str, cases: &[(&str, &[&str])]) {
    let database = Database::new(kind, &format!("{SCHEMA}; {before}"));
    let followed = follow(&database, &catalog(tables));
    let coverage = followed.connected();
    assert!(coverage.iter().all(|line| line.contains(": covered")), "{coverage:?}");
    for (sql, expected) in cases {
        database.run(sql);
        let expected: Vec<String> = expected
            .iter()
            .map(|row| if *row == "all" { "person: all".to_owned() } else { format!("person {row}") })
            .collect();
        assert_eq!(followed.changes(), expected, "{kind:?} {sql}\n{tables}");
    }
}

const BY_ITSELF: &str = r#"member = "SELECT person_id FROM member WHERE id = ANY({ids})""#;

#[test]
fn a_link_table_that_selects_from_itself_tells_the_ids_of_its_rows() {
    let cases: [(&str, &[&str]); 9] = [
        ("INSERT INTO member VALUES (15, 1, 8)", &["1"]),
        ("UPDATE member SET note = 'x' WHERE id = 15", &["1"]),
        ("UPDATE member SET person_id = 4 WHERE id = 15", &["1", "4"]),
        ("DELETE FROM member WHERE id = 15", &["4"]),
        ("DELETE FROM team WHERE id = 7", &["1", "2"]),
        ("BEGIN; UPDATE member SET person_id = person_id + 100; DELETE FROM member WHERE id = 13; INSERT INTO person VALUES (200); COMMIT",
            &["103", "104", "3", "4"]),
        ("INSERT INTO member VALUES (16, NULL, 8)", &[]),
        ("BEGIN; DELETE FROM member; ROLLBACK", &[]),
        ("TRUNCATE member", &["all"]),
    ];
    assert_told(FeedKind::Outbox, "SELECT 1", BY_ITSELF, &cases);
    assert_told(FeedKind::Wal, "ALTER TABLE member REPLICA IDENTITY FULL", BY_ITSELF, &cases);
}

/// A replica identity that lacks the id: an old row does not tell it, so all count.
#[test]
fn a_link_table_whose_old_rows_do_not_tell_the_id_tells_all() {
    let cases: [(&str, &[&str]); 6] = [
        ("INSERT INTO member VALUES (15, 1, 8)", &["1"]),
        ("UPDATE member SET person_id = 4 WHERE id = 15", &["all"]),
        ("DELETE FROM member WHERE id = 15", &["all"]),
        ("INSERT INTO member VALUES (16, 1, 7)", &["1"]),
        ("DELETE FROM team WHERE id = 7", &["all"]),
        ("TRUNCATE member", &["all"]),
    ];
    assert_told(FeedKind::Wal, "SELECT 1", BY_ITSELF, &cases);
    let database = Database::new(FeedKind::Wal, SCHEMA);
    let coverage = follow(&database, &catalog(BY_ITSELF)).connected();
    assert!(coverage[0].contains("member: covered, but the replica identity has no 'person_id'"), "{coverage:?}");
    assert!(coverage[0].contains("ALTER TABLE public.member REPLICA IDENTITY FULL"), "{coverage:?}");
}

/// The link table is read, and no section maps it.
#[test]
fn a_link_table_that_is_only_read_tells_the_ids_of_its_rows() {
    let tables = r#"team = "SELECT person_id FROM plays WHERE team_id = ANY({ids})""#;
    let cases: [(&str, &[&str]); 10] = [
        ("UPDATE team SET name = 'a' WHERE id = 7", &["1", "2"]),
        ("INSERT INTO plays VALUES (1, 8)", &["1"]),
        ("UPDATE plays SET team_id = 9 WHERE person_id = 1 AND team_id = 8", &["1"]),
        ("UPDATE plays SET person_id = 2 WHERE person_id = 1 AND team_id = 9", &["1", "2"]),
        ("DELETE FROM plays WHERE person_id = 2 AND team_id = 9", &["2"]),
        ("BEGIN; UPDATE team SET name = 'b' WHERE id = 7; DELETE FROM plays WHERE team_id = 7 AND person_id = 1; COMMIT", &["1", "2"]),
        ("BEGIN; UPDATE team SET name = 'b' WHERE id = 7; UPDATE plays SET team_id = 8 WHERE person_id = 2; COMMIT", &["2"]),
        ("UPDATE team SET id = 10 WHERE id = 8", &["2", "3"]),
        ("DELETE FROM team WHERE id = 10", &["2", "3"]),
        ("TRUNCATE plays", &["all"]),
    ];
    for kind in KINDS {
        assert_told(kind, "SELECT 1", tables, &cases);
    }
}

#[test]
fn a_join_on_the_way_to_the_id_tells_all_of_what_is_gone_or_has_moved() {
    let tables = r#"plays = "person_id", team = "SELECT person_id FROM plays WHERE team_id = ANY({ids})", club = "SELECT p.person_id FROM plays p JOIN team t ON t.id = p.team_id WHERE t.club_id = ANY({ids})""#;
    let club = "CREATE TABLE club (id int PRIMARY KEY, name text); INSERT INTO club VALUES (70), (80), (90)";
    let cases: [(&str, &[&str]); 9] = [
        ("UPDATE club SET name = 'a' WHERE id = 70", &["1", "2"]),
        ("UPDATE team SET name = 'a' WHERE id = 7", &["1", "2"]),
        (
            "BEGIN; UPDATE club SET name = 'b' WHERE id = 70; UPDATE team SET club_id = 80 WHERE id = 7; COMMIT",
            &["all"],
        ),
        ("DELETE FROM club WHERE id = 90", &["4"]),
        ("INSERT INTO team VALUES (20, 70)", &[]),
        ("INSERT INTO plays VALUES (1, 20)", &["1"]),
        ("DELETE FROM plays WHERE person_id = 1 AND team_id = 20", &["1"]),
        ("DELETE FROM team WHERE id = 20", &["all"]),
        ("TRUNCATE team CASCADE", &["all"]),
    ];
    assert_told(FeedKind::Outbox, club, tables, &cases);
    assert_told(FeedKind::Wal, &format!("{club}; ALTER TABLE team REPLICA IDENTITY FULL"), tables, &cases);
    // Nobody tells whether it has moved.
    let cases: [(&str, &[&str]); 2] =
        [("UPDATE team SET name = 'a' WHERE id = 7", &["all"]), ("INSERT INTO team VALUES (20, 70)", &[])];
    assert_told(FeedKind::Wal, club, tables, &cases);
}

#[test]
fn what_a_view_or_an_aggregate_reads_tells_all() {
    for tables in [
        r#"team = "SELECT person_id FROM playing WHERE team_id = ANY({ids})""#,
        r#"team = "SELECT max(person_id) FROM plays WHERE team_id = ANY({ids}) GROUP BY team_id""#,
        r#"team = "SELECT b.person_id FROM plays a JOIN plays b ON b.person_id = a.person_id WHERE a.team_id = ANY({ids})""#,
    ] {
        for kind in KINDS {
            let cases: [(&str, &[&str]); 3] = [
                ("DELETE FROM plays WHERE person_id = 1", &["all"]),
                ("UPDATE plays SET team_id = 9 WHERE person_id = 2", &["all"]),
                ("DELETE FROM team WHERE id = 9", &["all"]),
            ];
            assert_told(kind, "SELECT 1", tables, &cases);
        }
    }
}

#[test]
fn tenants_are_told_apart_where_the_rows_tell_them() {
    const CATALOG: &str = r#"
[person]
tenant = "int"
tenant_column = "shop"
id = "int"
tables = { team = "SELECT p.person_id FROM plays p JOIN team t ON t.id = p.team_id WHERE t.id = ANY({ids})" }
[[person.query]]
call = "all"
sql = "SELECT id FROM person WHERE shop = {tenant}"
"#;
    for kind in KINDS {
        let database = Database::new(
            kind,
            "CREATE TABLE person (id int PRIMARY KEY, shop int); CREATE TABLE team (id int PRIMARY KEY, shop int, name text); \
             CREATE TABLE plays (person_id int, team_id int, shop int, PRIMARY KEY (team_id, person_id)); \
             ALTER TABLE team REPLICA IDENTITY FULL; ALTER TABLE plays REPLICA IDENTITY FULL; \
             INSERT INTO team VALUES (7, 1), (8, 2); INSERT INTO plays VALUES (1, 7, 1), (2, 8, 2)",
        );
        let followed = follow(&database, CATALOG);
        followed.connected();
        for (sql, expected) in [
            ("UPDATE team SET name = 'a' WHERE id = 7", vec!["{1}person 1"]),
            ("DELETE FROM plays WHERE person_id = 2", vec!["{2}person 2"]),
            ("INSERT INTO team VALUES (9, 1)", vec![]),
            ("DELETE FROM team WHERE id = 8", vec!["{2}person: all"]),
            ("DELETE FROM team WHERE id = 7", vec!["{1}person: all"]),
        ] {
            database.run(sql);
            assert_eq!(followed.changes(), expected, "{kind:?} {sql}");
        }
    }
}

/// A pure link table has a key of two columns, by which no SELECT is asked. The column is exact as far as old rows bear it.
#[test]
fn a_link_table_without_a_key_of_one_column_is_followed_all_the_same() {
    for kind in KINDS {
        assert_told(
            kind,
            "CREATE TABLE pure (a int, b int, PRIMARY KEY (a, b)); INSERT INTO pure VALUES (1, 1), (2, 2)",
            "pure = \"SELECT a FROM pure WHERE a = ANY({ids})\"",
            &[
                ("INSERT INTO pure VALUES (3, 3)", &["all"]),
                ("UPDATE pure SET a = 4 WHERE a = 3", &["all"]),
                ("UPDATE pure SET b = 5 WHERE a = 4", &["all"]),
                ("DELETE FROM pure WHERE a = 4", &["all"]),
                ("DELETE FROM pure WHERE a = 77", &[]),
                ("COPY pure FROM PROGRAM 'echo 6,6' (FORMAT csv)", &["all"]),
                ("TRUNCATE pure", &["all"]),
            ],
        );
    }
}

/// The advised form is never worse than a SELECT: where the WAL's old rows lack the column, they tell all rows.
#[test]
fn a_column_that_old_rows_do_not_bear_tells_all_of_what_has_gone_or_moved() {
    let all: [(FeedKind, &[&str], &[&str]); 2] =
        [(FeedKind::Wal, &["all"], &["all"]), (FeedKind::Outbox, &["1", "2"], &["2"])];
    for (kind, moved, gone) in all {
        assert_told(
            kind,
            "",
            "member = \"person_id\"",
            &[
                ("INSERT INTO member VALUES (21, 1, 7)", &["1"]),
                ("UPDATE member SET person_id = 2 WHERE id = 21", moved),
                ("DELETE FROM member WHERE id = 21", gone),
            ],
        );
    }
}

/// What is read is followed even if it is far from the names of the catalog, or cannot be.
#[test]
fn what_a_select_reads_is_shown_among_the_tables() {
    let database = Database::new(
        FeedKind::Wal,
        &format!(
        "{SCHEMA}; CREATE SCHEMA far; CREATE TABLE far.\"Ro Ster\" (id int PRIMARY KEY, team_id int, person_id int); \
         CREATE MATERIALIZED VIEW frozen AS SELECT * FROM plays; \
         CREATE TABLE part (id int, k int, PRIMARY KEY (id, k)) PARTITION BY RANGE (k); \
         CREATE TABLE part_0 PARTITION OF part FOR VALUES FROM (0) TO (10); \
         CREATE TABLE part_1 PARTITION OF part FOR VALUES FROM (10) TO (20)"
    ),
    );
    let tables = r#"team = "SELECT r.person_id FROM far.\"Ro Ster\" r JOIN part ON part.id = r.id JOIN frozen f ON true WHERE r.team_id = ANY({ids}) AND part.k = 3""#;
    let followed = follow(&database, &catalog(tables));
    let coverage = followed.connected();
    for (table, part) in [
        ("team", "covered"),
        ("far.\"Ro Ster\"", "covered"),
        ("public.part", "covered"),
        ("public.frozen", "materialised"),
    ] {
        let line = coverage.iter().find(|line| line.starts_with(&format!("{table}: "))).expect(table);
        assert!(line.contains(part), "{line}");
    }
    assert_eq!(coverage.len(), 4, "{coverage:?}");
    database.run("INSERT INTO part VALUES (1, 15)");
    assert_eq!(followed.changes(), ["person: all"]);
}

#[test]
fn tables_and_columns_of_any_name_are_followed() {
    let long = "n".repeat(63);
    let names = ["User", "my table", "order", "a.b", "it's", "quo\"te", "ÄRA größe", "{ids}", "select x", &long];
    let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
    let schema: Vec<String> =
        names.iter().map(|name| format!("CREATE TABLE {0} ({0} int PRIMARY KEY)", quoted(name))).collect();
    // In quotes as SQL has them, and as they are.
    let by_sql: Vec<_> = names.iter().map(|name| (quoted(name), quoted(name))).collect();
    let plain: Vec<_> = names[..7].iter().map(|name| ((*name).to_owned(), (*name).to_owned())).collect();
    for kind in KINDS {
        for spelled in [&by_sql, &plain] {
            let database = Database::new(kind, &schema.join(";"));
            let toml = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
            let tables: Vec<String> =
                spelled.iter().map(|(table, column)| format!("{} = {}", toml(table), toml(column))).collect();
            let followed = follow(&database, &catalog(&tables.join(", ")));
            let coverage = followed.connected();
            assert!(coverage.iter().all(|line| line.ends_with(": covered")), "{coverage:?}");
            for (at, _) in spelled.iter().enumerate() {
                database.run(&format!("INSERT INTO {} VALUES ({at})", quoted(names[at])));
                assert_eq!(followed.changes(), [format!("person {at}")], "{kind:?} {}", names[at]);
            }
        }
    }
}

/// Runs a statement again and again until it is told as expected.
#[track_caller]
fn assert_told_in_the_end(
    database: &Database,
    followed: &Followed,
    sql: impl Fn(u32) -> String,
    expected: impl Fn(u32) -> String,
) {
    let mut number = 100;
    eventually("it is told so", || {
        number += 1;
        database.run(&sql(number));
        followed.changes().contains(&expected(number))
    });
}

#[test]
fn a_select_that_does_not_prepare_tells_all_and_is_asked_again_when_it_may() {
    let database = Database::new(FeedKind::Wal, SCHEMA);
    let tables = r#"team = "SELECT person_id FROM later WHERE team_id = ANY({ids}) AND 'x' <> (SELECT note FROM member LIMIT 1)""#;
    let followed = follow(&database, &catalog(tables));
    followed.connected();
    for sql in ["UPDATE team SET name = 'a' WHERE id = 7", "DELETE FROM member WHERE id = 14"] {
        database.run(sql);
        assert_eq!(followed.changes(), ["person: all"], "{sql}");
    }
    database
        .run("CREATE TABLE later (person_id int, team_id int, PRIMARY KEY (person_id, team_id)); DELETE FROM member");
    let gone = |number| format!("INSERT INTO later VALUES ({number}, 7); DELETE FROM later WHERE person_id = {number}");
    assert_told_in_the_end(&database, &followed, gone, |_| "person: all".to_owned());
}

#[test]
fn a_view_that_reads_other_tables_now_is_read_anew() {
    let database = Database::new(FeedKind::Wal, SCHEMA);
    let followed = follow(&database, &catalog(r#"team = "SELECT person_id FROM playing WHERE team_id = ANY({ids})""#));
    followed.connected();
    database.run("DELETE FROM member WHERE id = 14");
    assert_eq!(followed.changes(), Vec::<String>::new());
    database.run("CREATE OR REPLACE VIEW playing AS SELECT person_id, team_id FROM member");
    let gone = |number| format!("INSERT INTO member VALUES ({number}, 1, 7); DELETE FROM member WHERE id = {number}");
    assert_told_in_the_end(&database, &followed, gone, |_| "person: all".to_owned());
}

#[test]
fn a_lock_on_what_a_select_reads_holds_up_no_feed() {
    let database = Database::new(FeedKind::Wal, SCHEMA);
    let tables =
        r#"team = "SELECT p.person_id FROM plays p JOIN member m ON m.id = p.person_id WHERE p.team_id = ANY({ids})""#;
    let followed = follow(&database, &catalog(tables));
    followed.connected();
    let mut migration = database.client();
    migration.batch_execute("BEGIN; LOCK TABLE plays IN ACCESS EXCLUSIVE MODE").unwrap();
    // The tables are looked at again.
    database.run("ALTER TABLE member ADD COLUMN more int");
    let come = |number| format!("INSERT INTO member VALUES ({number}, 1, 7)");
    assert_told_in_the_end(&database, &followed, come, |_| "person: all".to_owned());
    migration.batch_execute("COMMIT").unwrap();
    // Exact as soon as it can be asked.
    let gone = |number| format!("INSERT INTO plays VALUES ({number}, 7); DELETE FROM plays WHERE person_id = {number}");
    assert_told_in_the_end(&database, &followed, gone, |number| format!("person {number}"));
}
