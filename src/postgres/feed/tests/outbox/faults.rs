//! Rights, triggers that are tampered with, and readers that come and go.

use super::*;

const CATALOG: &str =
    "[t]\nid = \"int\"\ntables = { t = \"id\" }\n[[t.query]]\ncall = \"all\"\nsql = \"SELECT id FROM t\"\n";
const TABLE: &str = "CREATE TABLE t (id int PRIMARY KEY, x int)";

fn followed() -> (Database, Followed) {
    let database = database(TABLE);
    let followed = database.follow(CATALOG);
    assert_eq!(followed.connected(), ["t: covered"]);
    (database, followed)
}

fn trigger(database: &Database, suffix: &str) -> String {
    let sql = format!("SELECT tgname::text FROM pg_trigger WHERE tgrelid = 't'::regclass AND tgname LIKE '%_{suffix}'");
    database.client().query_one(&sql, &[]).unwrap().get(0)
}

#[test]
fn a_role_without_rights_is_told_the_statements() {
    let database = database(TABLE);
    let role = format!("plain_{}", database.name);
    database.run(&format!("CREATE ROLE {role} LOGIN; GRANT SELECT ON t TO {role}"));
    let followed = database.follow_at(CATALOG, &database.url(&role, database.server.port));
    let error = followed.down();
    assert!(error.contains("run schema/outbox.sql"), "{error}");
    let grants = format!(
        "GRANT USAGE ON SCHEMA bear TO {role}; GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA bear TO {role}; \
         GRANT SELECT, UPDATE ON SEQUENCE bear.outbox_alive TO {role}"
    );
    database.run(&format!("{}; {grants}", include_str!("../../../../../schema/outbox.sql")));
    let line = loop {
        if let FeedOutcome::Connected { coverage } = followed.next() {
            break format!("{:?}", coverage[0].state);
        }
    };
    let (_, statement) = line.split_once(" run: ").unwrap_or_else(|| panic!("{line}"));
    let statement = statement.split("\" }").next().unwrap().replace("\\\"", "\"");
    database.run(&statement);
    assert!(followed.down().contains("altered"));
    assert_eq!(followed.connected_again(), [("t".to_owned(), true)]);
    database.run("INSERT INTO t VALUES (1, 2)");
    assert_eq!(followed.changes(), ["t 1"]);
}

#[test]
fn an_application_needs_no_rights_on_the_outbox() {
    let (database, followed) = followed();
    let role = format!("app_{}", database.name);
    database.run(&format!("CREATE ROLE {role}; GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON t TO {role}"));
    database.run(&format!("SET ROLE {role}; INSERT INTO t VALUES (1, 2); UPDATE t SET id = 2; DELETE FROM t"));
    assert_eq!(followed.changes(), ["t 1", "t 2"]);
    let refused = database.client().batch_execute(&format!("SET ROLE {role}; SELECT * FROM bear.outbox"));
    assert!(refused.is_err());
}

#[test]
fn a_trigger_that_is_dropped_or_disabled_is_missed() {
    let (database, followed) = followed();
    for statement in
        ["DROP TRIGGER name ON t", "ALTER TABLE t DISABLE TRIGGER name", "ALTER TABLE t ENABLE TRIGGER name"]
    {
        let statement = statement.replace("name", &trigger(&database, "u"));
        database.run(&format!("{statement}; INSERT INTO t VALUES (1, 1) ON CONFLICT DO NOTHING"));
        assert!(followed.down().contains("triggers"), "{statement}");
        followed.connected();
        database.run("SET session_replication_role = replica; UPDATE t SET x = 5");
        assert_eq!(followed.changes(), ["t 1"], "{statement}");
    }
    database.run("DROP SCHEMA bear CASCADE");
    followed.down();
    followed.connected_again();
    database.run("UPDATE t SET x = 6");
    assert_eq!(followed.changes(), ["t 1"]);
}

#[test]
fn writes_go_on_while_columns_and_tables_change() {
    let (database, followed) = followed();
    database.run("ALTER TABLE t RENAME id TO ident; INSERT INTO t VALUES (1, 1); UPDATE t SET x = 2; DELETE FROM t");
    followed.down();
    assert_eq!(followed.connected_again(), [("t".to_owned(), false)]);
    database.run("ALTER TABLE t RENAME ident TO id; INSERT INTO t VALUES (1, 1)");
    assert_eq!(followed.connected_again(), [("t".to_owned(), true)]);
    database.run("ALTER TABLE t ALTER id TYPE bigint; UPDATE t SET x = 3");
    assert_eq!(followed.connected_again(), [("t".to_owned(), true)]);
    database.run("UPDATE t SET x = 4");
    assert_eq!(followed.changes(), ["t 1"]);
    database.run("DROP TABLE t; CREATE TABLE public.t (id int)");
    assert_eq!(followed.connected_again(), [("t".to_owned(), true)]);
    database.run("INSERT INTO t VALUES (3)");
    assert_eq!(followed.changes(), ["t 3"]);
}

#[test]
fn what_all_have_read_is_removed_and_who_is_away_is_forgotten() {
    let (database, one) = followed();
    let two = database.follow(&CATALOG.replace("t = \"id\"", "t = \"x\""));
    two.connected();
    database.run("INSERT INTO t SELECT i, 100 + i FROM generate_series(1, 1000) i");
    assert_eq!((one.changes().len(), two.changes().len()), (1000, 1000));
    let rows = || database.int("SELECT count(*) FROM bear.outbox");
    eventually("the rows to go", || rows() == 0);
    // Somebody who has read nothing since.
    database.run("INSERT INTO bear.outbox_reader VALUES (1, '{}', pg_current_snapshot())");
    database.run("UPDATE t SET x = 0 WHERE id = 1");
    for _ in 0..15 {
        one.changes();
    }
    assert_eq!(rows(), 3);
    database.run("DELETE FROM bear.outbox_reader WHERE reader = 1");
    eventually("the rows to go", || rows() == 0);
    // A catalog that nobody has any more, and a reader that was killed: the next one cleans up after them.
    two.end();
    let sources = || database.int("SELECT count(*) FROM bear.outbox_source");
    let readers = || database.int("SELECT count(*) FROM bear.outbox_reader");
    assert_eq!((sources(), readers()), (2, 1));
    database.run("INSERT INTO bear.outbox_reader VALUES (1, '{}', pg_current_snapshot(), now() - interval '11 min')");
    let three = database.follow(CATALOG);
    three.connected();
    eventually("the rest to go", || (sources(), readers()) == (1, 2));
    assert_eq!(database.int("SELECT count(*) FROM pg_trigger WHERE tgrelid = 't'::regclass"), 4);
    database.run("UPDATE t SET x = 1 WHERE id = 2");
    assert_eq!((one.changes(), three.changes()), (vec!["t 2".to_owned()], vec!["t 2".to_owned()]));
}

#[test]
fn a_reader_that_was_forgotten_begins_anew() {
    let (database, followed) = followed();
    database.run("DELETE FROM bear.outbox_reader");
    assert!(followed.down().contains("forgotten"));
    followed.connected();
    database.run("SELECT setval('bear.outbox_alive', 1)");
    assert!(followed.down().contains("leap"));
    followed.connected();
}

#[test]
fn where_nobody_reads_nothing_is_written_and_who_comes_then_waits_for_those_that_were_at_it() {
    let (database, followed) = followed();
    followed.end();
    database.run("SELECT setval('bear.outbox_alive', 1); TRUNCATE bear.outbox");
    let mut client = database.client();
    client.batch_execute("BEGIN; INSERT INTO t VALUES (1, 1)").unwrap();
    let followed = database.follow(CATALOG);
    followed.connected();
    assert_eq!(followed.changes(), Vec::<String>::new());
    client.batch_execute("COMMIT").unwrap();
    followed.connected();
    assert_eq!(database.int("SELECT count(*) FROM bear.outbox"), 0);
    client.batch_execute("INSERT INTO t VALUES (2, 1)").unwrap();
    assert_eq!(followed.changes(), ["t 2"]);
}

#[test]
fn rows_from_another_cluster_are_not_taken_for_new_ones() {
    let (database, followed) = followed();
    followed.end();
    database.run("INSERT INTO bear.outbox SELECT '1000000000000000', source, '{5}' FROM bear.outbox_source");
    let followed = database.follow(CATALOG);
    followed.connected();
    assert_eq!(followed.changes(), Vec::<String>::new());
    database.run("INSERT INTO t VALUES (1, 1)");
    assert_eq!(followed.changes(), ["t 1"]);
}

#[test]
fn a_table_that_is_locked_is_not_waited_for_long() {
    let database = database(TABLE);
    let mut client = database.client();
    client.batch_execute("BEGIN; INSERT INTO t VALUES (1, 1)").unwrap();
    let followed = database.follow(CATALOG);
    assert!(followed.down().contains("public.t is locked"));
    client.batch_execute("COMMIT").unwrap();
    assert_eq!(followed.connected_again(), [("t".to_owned(), true)]);
}

#[test]
fn all_of_it_can_be_removed() {
    let (database, followed) = followed();
    followed.end();
    database.run("SELECT bear.outbox_uninstall(); INSERT INTO t VALUES (1, 1)");
    let left = "SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE nspname = 'bear'";
    assert_eq!(database.int(left), 0);
    assert_eq!(database.int("SELECT count(*) FROM pg_trigger"), 0);
    assert_eq!(database.int("SELECT count(*) FROM pg_proc WHERE pronamespace = 'bear'::regnamespace"), 0);
}

#[test]
fn a_removal_by_hand_makes_nobody_wait_for_long() {
    let (database, followed) = followed();
    followed.end();
    let mut busy = database.client();
    busy.batch_execute("BEGIN; INSERT INTO t VALUES (1, 1)").unwrap();
    let mut by_hand = database.client();
    by_hand.batch_execute("SET statement_timeout = '20s'").unwrap();
    let error = by_hand.batch_execute("SELECT bear.outbox_uninstall()").unwrap_err();
    assert_eq!(error.code().unwrap().code(), "55P03", "{error:?}");
    assert_eq!(database.int("SELECT count(*) FROM pg_trigger"), 4);
    busy.batch_execute("COMMIT").unwrap();
    by_hand.batch_execute("SELECT bear.outbox_uninstall()").unwrap();
    assert_eq!(database.int("SELECT count(*) FROM pg_trigger"), 0);
}

/// Each partition's lock may be waited for; whoever comes to the first one waits for all of them.
#[test]
fn locks_of_a_tree_are_waited_for_no_longer_together_than_one_would_be() {
    let database = database(
        "CREATE TABLE t (id int, x int, PRIMARY KEY (id, x)) PARTITION BY LIST (x); \
         CREATE TABLE t1 PARTITION OF t FOR VALUES IN (1); CREATE TABLE t2 PARTITION OF t FOR VALUES IN (2)",
    );
    let followed = database.follow(CATALOG);
    followed.connected();
    followed.end();
    let calls = [
        "bear.outbox_follow('t'::regclass, '{id,x}', false)",
        "bear.outbox_unfollow((SELECT source FROM bear.outbox_source LIMIT 1))",
    ];
    let waiting = "SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database \
        WHERE NOT l.granted AND d.datname = current_database()";
    for call in calls {
        let mut busy = database.client();
        busy.batch_execute("BEGIN; LOCK TABLE t IN ROW EXCLUSIVE MODE").unwrap();
        let left = std::thread::scope(|scope| {
            let making = scope.spawn(|| {
                let mut client = database.client();
                client.batch_execute(&format!("BEGIN; SET LOCAL lock_timeout = '60s'; SELECT {call}")).unwrap();
                let left = client.query_one("SELECT current_setting('lock_timeout')::interval < '59.8s'", &[]).unwrap();
                client.batch_execute("ROLLBACK").unwrap();
                left.get::<_, bool>(0)
            });
            eventually("the wait", || database.int(waiting) > 0);
            // It has waited for so long, then.
            busy.batch_execute("SELECT pg_sleep(0.3); COMMIT").unwrap();
            making.join().unwrap()
        });
        assert!(left, "{call} waits anew for each");
    }
}
