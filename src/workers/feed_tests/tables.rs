//! Which tables are published, what is said of the others, and what becomes of both when they are altered.

use super::*;

fn catalog(tables: &str) -> String {
    format!("[t]\nid = \"int\"\ntables = {{ {tables} }}\n[[t.query]]\ncall = \"all\"\nsql = \"SELECT 1 AS id\"\n")
}

#[test]
fn tables_that_cannot_be_followed_say_why_and_are_not_published() {
    let database = Database::new(
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
        ("two", "does not hold 'x'"),
        ("parent", "inherit"),
    ] {
        let line = coverage.iter().find(|line| line.starts_with(&format!("{table}: "))).expect(table);
        assert!(line.contains(part), "{line}");
    }
    assert_eq!(database.int("SELECT count(*) FROM pg_publication_tables WHERE pubname LIKE 'bear_%'"), 3);
    // Nothing that the application does fails for being followed.
    database.run("INSERT INTO plain VALUES (1); UPDATE plain SET id = 2; DELETE FROM plain; INSERT INTO nothing VALUES (1); UPDATE nothing SET id = 2");
    assert_eq!(followed.changes(), Vec::<String>::new());

    database.run("ALTER TABLE plain ADD PRIMARY KEY (id)");
    assert!(followed.down().contains("altered"));
    assert!(followed.connected().contains(&"plain: covered".to_owned()));
    database.run("INSERT INTO plain VALUES (7)");
    assert_eq!(followed.changes(), ["t 7"]);
}

#[test]
fn a_table_that_loses_its_identity_is_withdrawn() {
    let database = Database::new("CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE u (id int PRIMARY KEY)");
    let followed = database.follow(&catalog("t = \"id\", u = \"id\""));
    followed.connected();
    database.run("ALTER TABLE t DROP CONSTRAINT t_pkey");
    assert!(followed.down().contains("altered"));
    let coverage = followed.connected();
    assert!(coverage[0].contains("has no replica identity"), "{coverage:?}");
    database.run("INSERT INTO t VALUES (1); UPDATE t SET id = 2; DELETE FROM t; INSERT INTO u VALUES (1)");
    assert_eq!(followed.changes(), ["t 1"]);
}

#[test]
fn partitions_are_followed_as_their_root_and_each_needs_an_identity() {
    let database = Database::new(
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
    database.run("TRUNCATE p");
    // That of a partition is not in the stream; it shows in its file, and so does this one.
    assert!(followed.down().contains("altered"));
    followed.connected();
    database.run("INSERT INTO p VALUES (1, 1); TRUNCATE p1");
    assert!(followed.down().contains("altered"));
    followed.connected();
    // Rows that come with a partition are in no stream either.
    database.run(
        "CREATE TABLE p3 (id int, k int NOT NULL, PRIMARY KEY (id, k)); INSERT INTO p3 VALUES (9, 29); \
        ALTER TABLE p ATTACH PARTITION p3 FOR VALUES FROM (20) TO (30)",
    );
    assert!(followed.down().contains("altered"));
    followed.connected();
    database.run("ALTER TABLE p3 REPLICA IDENTITY NOTHING");
    followed.down();
    let coverage = followed.connected();
    assert!(coverage[0].contains("public.p3 has no replica identity"), "{coverage:?}");
    database.run("UPDATE p SET id = 10 WHERE id = 9");
}

#[test]
fn altered_tables_are_looked_at_again() {
    let database = Database::new("CREATE TABLE t (x int, id int PRIMARY KEY)");
    let followed = database.follow(&catalog("t = \"id\""));
    followed.connected();
    // What comes before and after, in one piece of the stream.
    database.run("INSERT INTO t VALUES (0, 1); ALTER TABLE t DROP COLUMN x; ALTER TABLE t ADD COLUMN y int DEFAULT 5; INSERT INTO t VALUES (2)");
    let mut seen = BTreeSet::new();
    let error = loop {
        match followed.next() {
            FeedOutcome::Changed { changes, .. } => {
                seen.extend(changes.iter().flat_map(|change| followed.lines(change)));
            }
            FeedOutcome::Down { error, .. } => break error,
            FeedOutcome::CaughtUp { .. } | FeedOutcome::Connected { .. } => {}
        }
    };
    // What was not told before is forgotten with the rest.
    assert!(error.contains("altered"), "{error}");
    assert!(seen.iter().all(|line| ["t 1", "t 2"].contains(&line.as_str())), "{seen:?}");
    followed.connected();
    database.run("INSERT INTO t VALUES (3)");
    assert_eq!(followed.changes(), ["t 3"]);
    database.run("ALTER TABLE t RENAME id TO ident");
    followed.down();
    let coverage = followed.connected();
    assert!(coverage[0].contains("it has no column 'id'; the columns are ident, y"), "{coverage:?}");
    // Another table under the same name.
    database.run("DROP TABLE t; CREATE TABLE t (id int PRIMARY KEY)");
    followed.down();
    assert_eq!(followed.connected(), ["t: covered"]);
    database.run("DROP TABLE t; CREATE TABLE t (id int PRIMARY KEY)");
    followed.down();
    assert_eq!(followed.connected(), ["t: covered"]);
    database.run("INSERT INTO t VALUES (4)");
    assert_eq!(followed.changes(), ["t 4"]);
}

#[test]
fn servers_with_one_catalog_share_a_publication_and_others_do_not_disturb_them() {
    let database = Database::new("CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE u (id int PRIMARY KEY)");
    let (one, two) = (catalog("t = \"id\", u = \"id\""), catalog("t = \"id\""));
    let all: Vec<_> = [&one, &one, &two, &one].into_iter().map(|catalog| database.follow(catalog)).collect();
    for followed in &all {
        followed.connected();
    }
    assert_eq!(database.int("SELECT count(*) FROM pg_publication"), 2);
    database.run("INSERT INTO t VALUES (1); INSERT INTO u VALUES (2)");
    let seen: Vec<_> = all.iter().map(Followed::changes).collect();
    assert_eq!(seen, [vec!["t 1", "t 2"], vec!["t 1", "t 2"], vec!["t 1"], vec!["t 1", "t 2"]]);
    // Somebody spoils it.
    database.run("DO $$ BEGIN EXECUTE (SELECT format('ALTER PUBLICATION %I DROP TABLE t', pubname) FROM pg_publication_tables GROUP BY 1 HAVING count(*) = 2); END $$");
    assert!(all[0].down().contains("altered"));
    all[0].connected();
    database.run("INSERT INTO t VALUES (3)");
    assert_eq!(all[0].changes(), ["t 3"]);
}
