//! Which tables are published, what is said of the others, and what becomes of both when they are altered.

use super::*;

fn catalog(tables: &str) -> String {
    format!("[t]\nid = \"int\"\ntables = {{ {tables} }}\n[[t.query]]\ncall = \"all\"\nsql = \"SELECT 1 AS id\"\n")
}

#[test]
fn tables_that_cannot_be_followed_say_why_and_are_not_published() {
    let database = database(
        "CREATE TABLE good (id int PRIMARY KEY, x int); CREATE TABLE plain (id int); \
         CREATE TABLE nothing (id int PRIMARY KEY); ALTER TABLE nothing REPLICA IDENTITY NOTHING; \
         CREATE UNLOGGED TABLE unlogged (id int PRIMARY KEY); CREATE VIEW view AS SELECT * FROM good; \
         CREATE MATERIALIZED VIEW mat AS SELECT * FROM good; CREATE TABLE two (a int, b int, x int, PRIMARY KEY (a, b)); \
         CREATE TABLE deferred (id int PRIMARY KEY DEFERRABLE); CREATE TABLE parent (id int PRIMARY KEY); \
         CREATE TABLE child () INHERITS (parent); CREATE TABLE uni (id int NOT NULL, x int); \
         CREATE UNIQUE INDEX uni_id ON uni (id); ALTER TABLE uni REPLICA IDENTITY USING INDEX uni_id; \
         CREATE SCHEMA \"S p\"; CREATE TABLE \"S p\".\"T'able\" (id int PRIMARY KEY)",
    );
    let catalog = catalog(
        "good = \"id\", plain = \"id\", nothing = \"id\", unlogged = \"id\", view = \"id\", mat = \"id\", missing = \"id\", \
         two = \"x\", deferred = \"id\", parent = \"id\", uni = \"id\", '\"S p\".\"T''able\"' = \"id\"".replace("''", "'").as_str(),
    );
    let catalog = catalog.replace("'\"S p\".\"T'able\"'", "\"\\\"S p\\\".\\\"T'able\\\"\"");
    let followed = database.follow(&catalog);
    let coverage = followed.connected();
    for (table, part) in [
        ("good", "covered"),
        ("uni", "covered"),
        ("\"S p\".\"T'able\"", "covered"),
        ("plain", "public.plain has no replica identity; ALTER TABLE public.plain ADD PRIMARY KEY"),
        ("nothing", "has no replica identity"),
        ("deferred", "has no replica identity"),
        ("unlogged", "ALTER TABLE public.unlogged SET LOGGED"),
        ("view", "it is a view"),
        ("mat", "it is a materialised view"),
        ("missing", "there is no such table"),
        ("two", "covered, but the replica identity of public.two does not hold 'x'"),
        ("parent", "inherit"),
    ] {
        let line = coverage.iter().find(|line| line.starts_with(&format!("{table}: "))).expect(table);
        assert!(line.contains(part), "{line}");
    }
    assert_eq!(database.int("SELECT count(*) FROM pg_publication"), 0);
    // Nothing that the application does fails for being followed.
    database.run("INSERT INTO plain VALUES (1); UPDATE plain SET id = 2; DELETE FROM plain; INSERT INTO nothing VALUES (1); UPDATE nothing SET id = 2");
    assert_eq!(followed.changes(), Vec::<String>::new());

    database.run("ALTER TABLE plain ADD PRIMARY KEY (id)");
    let (coverage, cold) = followed.altered();
    assert!(coverage.contains(&"plain: covered".to_owned()));
    assert_eq!(cold, ["t"]);
    database.run("INSERT INTO plain VALUES (7)");
    assert_eq!(followed.changes(), ["t 7"]);
}

/// No publication holds it, so that nothing fails while it has none.
#[test]
fn a_table_that_loses_its_identity_is_followed_no_more_and_can_be_written() {
    let database = database("CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE u (id int PRIMARY KEY)");
    let followed = database.follow(&catalog("t = \"id\", u = \"id\""));
    followed.connected();
    database.run("INSERT INTO t VALUES (7)");
    database.run(
        "BEGIN; ALTER TABLE t DROP CONSTRAINT t_pkey; UPDATE t SET id = 8; DELETE FROM t WHERE id = 0; \
        ALTER TABLE t ADD PRIMARY KEY (id); COMMIT",
    );
    assert_eq!(followed.changes().last().unwrap(), "t 8");
    database.run("ALTER TABLE t DROP CONSTRAINT t_pkey; UPDATE t SET id = 9");
    let (coverage, _) = followed.altered();
    assert!(coverage[0].contains("has no replica identity"), "{coverage:?}");
    database.run("INSERT INTO t VALUES (1); UPDATE t SET id = 2; DELETE FROM t; INSERT INTO u VALUES (1)");
    assert_eq!(followed.changes(), ["t 1"]);
}

#[test]
fn partitions_are_followed_as_their_root_and_each_needs_an_identity() {
    let database = database(
        "CREATE TABLE p (id int, k int, PRIMARY KEY (id, k)) PARTITION BY RANGE (k); \
         CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10); CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (10) TO (20)",
    );
    let followed = database.follow(&catalog("p = \"id\""));
    assert_eq!(followed.connected(), ["p: covered"]);
    database.run("INSERT INTO p VALUES (1, 1), (2, 11); INSERT INTO p1 VALUES (3, 3)");
    assert_eq!(followed.changes(), ["t 1", "t 2", "t 3"]);
    // Across partitions.
    database.run("UPDATE p SET k = 12 WHERE id = 1");
    assert_eq!(followed.changes(), ["t 1"]);
    for truncate in ["TRUNCATE p", "TRUNCATE p1"] {
        database.run("INSERT INTO p VALUES (1, 1)");
        assert_eq!(followed.changes(), ["t 1"]);
        database.run(truncate);
        assert_eq!(followed.changes(), ["t: all"]);
    }
    // Rows that come with a partition are in no stream.
    database.run("CREATE TABLE p3 (id int, k int NOT NULL, PRIMARY KEY (id, k)); INSERT INTO p3 VALUES (9, 29)");
    assert_eq!(followed.changes(), Vec::<String>::new());
    database.run("ALTER TABLE p ATTACH PARTITION p3 FOR VALUES FROM (20) TO (30)");
    assert_eq!(followed.altered().1, ["t"]);
    database.run("UPDATE p SET id = 10 WHERE id = 9");
    assert_eq!(followed.changes(), ["t 10", "t 9"]);
    // Nor do those that leave with one.
    database.run("ALTER TABLE p DETACH PARTITION p3");
    assert_eq!(followed.altered().1, ["t"]);
    database.run("DROP TABLE p3; ALTER TABLE p1 REPLICA IDENTITY NOTHING; UPDATE p SET id = 4");
    let (coverage, _) = followed.altered();
    assert!(coverage[0].contains("public.p1 has no replica identity"), "{coverage:?}");
}

/// Within one look of the feed, or one transaction: by name and by number all is as before.
#[test]
fn a_table_that_has_another_name_or_place_for_a_moment_is_seen() {
    let database = database(
        "CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE p (id int, k int, PRIMARY KEY (id, k)) PARTITION BY LIST (k); \
         CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1); CREATE SCHEMA aside",
    );
    let followed = database.follow(&catalog("t = \"id\", p = \"id\""));
    followed.connected();
    for sql in [
        "ALTER TABLE t RENAME TO x; INSERT INTO x VALUES (1); ALTER TABLE x RENAME TO t",
        "ALTER TABLE t SET SCHEMA aside; INSERT INTO aside.t VALUES (2); ALTER TABLE aside.t SET SCHEMA public",
        "ALTER TABLE p1 RENAME TO x; INSERT INTO x VALUES (1, 1); ALTER TABLE x RENAME TO p1",
        "ALTER TABLE p DETACH PARTITION p1; INSERT INTO p1 VALUES (2, 1); ALTER TABLE p ATTACH PARTITION p1 FOR VALUES IN (1)",
    ] {
        database.run(&format!("BEGIN; {sql}; COMMIT"));
        let (coverage, cold) = followed.altered();
        assert_eq!(cold, ["t"], "{sql}");
        assert!(coverage.iter().all(|line| line.ends_with("covered")), "{sql}: {coverage:?}");
        // Both looks at what was altered are over.
        followed.changes();
        followed.changes();
    }
    // Rights and statistics are none of that.
    database.run(
        "CREATE ROLE reads_t; GRANT SELECT ON t, p TO reads_t; ANALYZE t; DROP OWNED BY reads_t; DROP ROLE reads_t",
    );
    let looked = Instant::now() + Duration::from_millis(300);
    loop {
        match followed.next() {
            FeedOutcome::CaughtUp { asked, .. } if asked > looked => break,
            FeedOutcome::Altered { sections, .. } => assert!(sections.is_empty()),
            _ => {}
        }
    }
}

/// As pg_partman makes them, day by day.
#[test]
fn a_new_partition_is_followed_and_makes_nothing_cold_unless_it_has_rows() {
    let database = database("CREATE TABLE p (id int, k int, PRIMARY KEY (id, k)) PARTITION BY LIST (k)");
    let followed = database.follow(&catalog("p = \"id\""));
    followed.connected();
    database.run("CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1)");
    assert_eq!(followed.altered().1, Vec::<String>::new());
    database.run("INSERT INTO p VALUES (1, 1)");
    assert_eq!(followed.changes(), ["t 1"]);
    database.run(
        "BEGIN; CREATE TABLE p2 (LIKE p INCLUDING ALL); ALTER TABLE p ATTACH PARTITION p2 FOR VALUES IN (2); COMMIT",
    );
    assert_eq!(followed.altered().1, Vec::<String>::new());
    database.run("BEGIN; CREATE TABLE p3 (LIKE p INCLUDING ALL); INSERT INTO p3 VALUES (5, 3); ALTER TABLE p ATTACH PARTITION p3 FOR VALUES IN (3); COMMIT");
    assert_eq!(followed.altered().1, ["t"]);
    // One without a key, and an UPDATE at once.
    database.run(
        "CREATE TABLE p4 PARTITION OF p FOR VALUES IN (4); ALTER TABLE p4 REPLICA IDENTITY NOTHING; \
        INSERT INTO p VALUES (6, 4); UPDATE p SET id = 7 WHERE id = 6; DELETE FROM p",
    );
}

/// Among them what changes no answer: no index, no statistics, no right makes a feed begin anew.
#[test]
fn altered_tables_are_looked_at_again_by_the_same_connection() {
    let database = database("CREATE TABLE t (x int, id int PRIMARY KEY)");
    let followed = database.follow(&catalog("t = \"id\""));
    followed.connected();
    database.run("INSERT INTO t VALUES (0, 1); ALTER TABLE t DROP COLUMN x; ALTER TABLE t ADD COLUMN y int DEFAULT 5; INSERT INTO t VALUES (2)");
    assert_eq!(followed.changes(), ["t 1", "t 2"]);
    database.run("ALTER TABLE t RENAME id TO ident");
    loop {
        let (coverage, _) = followed.altered();
        if coverage[0].contains("it has no column 'id'; the columns are ident, y") {
            break;
        }
    }
    for _ in 0..2 {
        // Another table under the same name.
        database.run("DROP TABLE t; CREATE TABLE t (id int PRIMARY KEY)");
        while followed.altered() != (vec!["t: covered".to_owned()], vec!["t".to_owned()]) {}
    }
    database.run("INSERT INTO t VALUES (4)");
    assert_eq!(followed.changes(), ["t 4"]);
}

/// What an earlier version left, and what only looks like it.
#[test]
fn publications_of_earlier_versions_are_dropped_and_others_are_not() {
    let database = database(
        "CREATE TABLE t (id int PRIMARY KEY); CREATE PUBLICATION bear_0123456789abcdef FOR TABLE t WITH (publish_via_partition_root = true); \
         CREATE PUBLICATION bear_fedcba9876543210 FOR TABLE t; CREATE PUBLICATION bear_2 FOR TABLE t WITH (publish_via_partition_root = true); \
         CREATE PUBLICATION bear_00000000000000ff WITH (publish_via_partition_root = true); \
         COMMENT ON PUBLICATION bear_00000000000000ff IS 'for the warehouse'",
    );
    let (one, two) = (catalog("t = \"id\""), catalog("t = \"id\""));
    let both = [database.follow(&one), database.follow(&two)];
    both.iter().for_each(|followed| assert_eq!(followed.connected(), ["t: covered"]));
    let left = "SELECT string_agg(pubname, ' ' ORDER BY pubname)::text FROM pg_publication";
    let left: String = database.client().query_one(left, &[]).unwrap().get(0);
    assert_eq!(left, "bear_00000000000000ff bear_2 bear_fedcba9876543210");
    database.run("INSERT INTO t VALUES (1)");
    both.iter().for_each(|followed| assert_eq!(followed.changes(), ["t 1"]));
}

#[test]
fn another_catalog_is_followed_by_the_same_connection_while_a_transaction_is_open() {
    let database = database_alone(
        "CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE u (id int PRIMARY KEY); CREATE TABLE other (x int)",
    );
    let followed = database.follow(&catalog("t = \"id\""));
    followed.connected();
    let mut open = database.client();
    open.batch_execute("BEGIN; INSERT INTO other VALUES (1); INSERT INTO u VALUES (1)").unwrap();
    let pid = format!("SELECT active_pid::bigint FROM pg_replication_slots WHERE database = '{}'", database.name);
    let before = database.int(&pid);
    let both = crate::postgres::tests::batches::sections(&catalog("t = \"id\", u = \"id\""));
    followed.follow_instead(both);
    assert_eq!(followed.connected(), ["t: covered", "u: covered"]);
    database.run("INSERT INTO u VALUES (2)");
    assert_eq!(followed.changes(), ["t 2"]);
    open.batch_execute("COMMIT").unwrap();
    assert_eq!(followed.changes(), ["t 1"]);
    assert_eq!(database.int(&pid), before);
}

#[test]
fn a_database_of_another_encoding_is_followed_as_far_as_its_texts_can_be_told() {
    let catalog = r#"
[word]
id = "text"
tables = { word = "id" }
[[word.query]]
call = "all"
sql = "SELECT id FROM word"
"#;
    let latin = |sql: &str| {
        Database::made(FeedKind::Wal, shared(FeedKind::Wal), "ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0", sql)
    };
    let database = latin("CREATE TABLE word (id text PRIMARY KEY, note text)");
    let followed = database.follow(catalog);
    assert_eq!(followed.connected(), ["word: covered"]);
    database.run("INSERT INTO word VALUES ('ursa', 'caf\u{e9}')");
    assert_eq!(followed.changes(), ["word ursa"], "what nobody asks for may be anything");
    // In LATIN1 the bytes of this one are those of another text in UTF-8.
    database.run("INSERT INTO word VALUES ('\u{c3}\u{a9}')");
    assert_eq!(followed.changes(), ["word: all"]);

    let database = latin("CREATE TABLE caf\u{e9} (id text PRIMARY KEY)");
    let followed = database.follow(&catalog.replace("{ word = ", "{ 'caf\u{e9}' = "));
    let error = followed.down();
    assert!(error.contains("encoding is not UTF8") && error.contains("outbox"), "{error}");
}
