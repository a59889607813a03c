//! What a poll finds, and in which order.

use super::*;
use crate::postgres::tests::eventually;

const MAIL: &[(&str, &str)] = &[("mail", "*")];

#[test]
fn rows_are_found_in_the_order_of_their_commits() {
    let server = Server::new();
    for prepare in [true, false] {
        let mut side = Side::with(&server, 1, MAIL, prepare);
        let (mut one, mut two) = (server.client(), server.client());
        let mut first = one.transaction().unwrap();
        first.batch_execute("SELECT bear.enqueue('mail', 'A', '{}'); SELECT bear.enqueue('mail', 'B', '{}')").unwrap();
        let mut second = two.transaction().unwrap();
        second.batch_execute("SELECT bear.enqueue('mail', 'C', '{}')").unwrap();
        assert!(side.names().is_empty());
        second.commit().unwrap();
        first.commit().unwrap();
        assert_eq!(side.names(), ["C", "A", "B"]);
        assert!(side.names().is_empty());
    }
}

#[test]
fn a_row_is_found_whole() {
    let server = Server::new();
    let mut side = Side::new(&server, 1, MAIL);
    server.run(
        "SELECT bear.enqueue('{é''\\}:mail', 'A', '{\"b\": 1e2, \"a\": [null, \"\\\\ \\u00e9\"]}', unique_key => 'k', \
         delay => '1 hour', attempts => 7, backoff => '1.5 s', priority => 2147483647)",
    );
    let found = side.poll();
    let [row] = &found.rows[..] else { panic!("{found:?}") };
    assert_eq!((&*row.space, &*row.job, row.unique.as_deref()), ("{é'\\}:mail", "A", Some("k")));
    assert_eq!(std::str::from_utf8(&row.data).unwrap(), r#"{"a": [null, "\\ é"], "b": 100}"#);
    assert_eq!((row.attempts, row.backoff_ms, row.priority), (Some(7), Some(1500), Some(2_147_483_647)));
    assert_eq!(row.due_ms, Some(row.enqueued_ms + 3_600_000));
}

#[test]
fn what_is_undone_is_never_found() {
    let server = Server::new();
    let mut side = Side::new(&server, 1, MAIL);
    server.run("BEGIN; SELECT bear.enqueue('mail', 'A', '{}'); ROLLBACK");
    server.run(
        "BEGIN; SELECT bear.enqueue('mail', 'B', '{}'); SAVEPOINT s; SELECT bear.enqueue('mail', 'C', '{}'); ROLLBACK TO s; \
         SAVEPOINT t; SELECT bear.enqueue('mail', 'D', '{}'); RELEASE t; COMMIT",
    );
    server.run(
        "DO $$BEGIN PERFORM bear.enqueue('mail', 'E', '{}'); BEGIN PERFORM bear.enqueue('mail', 'F', '{}'); RAISE 'no'; \
         EXCEPTION WHEN OTHERS THEN NULL; END; END$$",
    );
    assert_eq!(side.names(), ["B", "D", "E"]);
}

#[test]
fn a_transaction_of_two_phases_is_found_at_its_end() {
    let server = Server::new();
    server.run("ALTER SYSTEM SET max_prepared_transactions = 5");
    server.stop("INT");
    server.start();
    let mut side = Side::new(&server, 1, MAIL);
    server.run("BEGIN; SELECT bear.enqueue('mail', 'A', '{}'); PREPARE TRANSACTION 'a'");
    server.run("BEGIN; SELECT bear.enqueue('mail', 'B', '{}'); PREPARE TRANSACTION 'b'");
    enqueue(&server, "mail", "C");
    assert_eq!(side.names(), ["C"]);
    server.stop("QUIT");
    server.start();
    let mut side = Side { link: connect(&server, true), ..side };
    server.run("ROLLBACK PREPARED 'b'");
    assert!(side.names().is_empty());
    server.run("COMMIT PREPARED 'a'");
    assert_eq!(side.names(), ["A"]);
}

#[test]
fn a_transaction_that_is_open_for_long_is_found_behind_all_others() {
    let server = Server::new();
    let mut side = Side::new(&server, 1, MAIL);
    let mut slow = server.client();
    let mut open = slow.transaction().unwrap();
    open.batch_execute("SAVEPOINT s; SELECT bear.enqueue('mail', 'SLOW', '{}'); RELEASE s").unwrap();
    let writers: Vec<_> = (0..4)
        .map(|_| {
            let mut client = server.client();
            std::thread::spawn(move || {
                let statement = client.prepare("SELECT bear.enqueue('mail', 'FAST', '{}')").unwrap();
                (0..2_500).for_each(|_| drop(client.query(&statement, &[]).unwrap()));
            })
        })
        .collect();
    let (mut count, mut is_over) = (0, false);
    eventually("10,000 rows", || {
        is_over = writers.iter().all(|writer| writer.is_finished());
        let found = side.poll();
        count += found.rows.len() + found.ids.len();
        assert!(found.rows.iter().all(|row| &*row.job == "FAST"));
        count == 10_000
    });
    writers.into_iter().for_each(|writer| writer.join().unwrap());
    open.commit().unwrap();
    assert_eq!(side.names(), ["SLOW"]);
}

#[test]
fn what_is_much_is_read_in_slices() {
    let server = Server::new();
    let mut side = Side::new(&server, 1, MAIL);
    server.run("DO $$BEGIN FOR i IN 1..20000 LOOP PERFORM bear.enqueue('mail', 'J' || i, '{}'); END LOOP; END$$");
    let found = side.poll();
    assert!(found.rows.is_empty());
    assert_eq!(found.ids.len(), 20_000);
    assert!(found.ids.windows(2).all(|pair| Arc::ptr_eq(&pair[0].1, &pair[1].1)), "a name for each row");
    let mut ids: Vec<u64> = found.ids.iter().map(|(id, _)| *id).collect();
    let mut names = Vec::new();
    while !ids.is_empty() {
        let (rows, left) = side.link.fetch(&side.holding, &ids).unwrap();
        assert!(!rows.is_empty() && rows.len() <= 500);
        names.extend(rows.iter().map(|row| row.job.to_string()));
        ids = left;
    }
    assert_eq!(names, (1..=20_000).map(|i| format!("J{i}")).collect::<Vec<_>>());
}

#[test]
fn what_is_large_is_read_in_slices() {
    let server = Server::new();
    let mut side = Side::new(&server, 1, MAIL);
    for (job, kib) in [("A", 700), ("B", 200), ("C", 1_500), ("D", 1)] {
        server.run(&format!("SELECT bear.enqueue('mail', '{job}', to_jsonb(repeat('x', {kib} * 1024)))"));
    }
    let found = side.poll();
    assert!(found.rows.is_empty());
    let ids: Vec<u64> = found.ids.iter().map(|(id, _)| *id).collect();
    let (rows, left) = side.link.fetch(&side.holding, &ids).unwrap();
    assert_eq!(rows.iter().map(|row| &*row.job).collect::<Vec<_>>(), ["A", "B", "C"]);
    let (rows, left) = side.link.fetch(&side.holding, &left).unwrap();
    assert_eq!((rows.len(), &*rows[0].job, left.len()), (1, "D", 0));
}

#[test]
fn completed_rows_are_found_apart() {
    let server = Server::new();
    let mut side = Side::new(&server, 1, MAIL);
    let id = enqueue(&server, "mail", "A");
    assert_eq!(side.names(), ["A"]);
    server.run(&format!("SELECT bear.complete('mail', '1795865095226-{}', 7, '[1]')", 2_000_000_000_000 + id));
    let found = side.poll();
    assert_eq!((found.rows.len(), found.done), (0, vec![id]));
    let (listed, _) = side.link.list(&side.holding, Listing::All).unwrap();
    assert_eq!((listed.ids.len(), listed.done), (0, vec![id]));
}

#[test]
fn rows_without_a_place_come_last() {
    let server = Server::new();
    let mut side = Side::new(&server, 1, MAIL);
    server.run("SET session_replication_role = replica; SELECT bear.enqueue('mail', 'A', '{}')");
    enqueue(&server, "mail", "B");
    assert_eq!(side.names(), ["B", "A"]);
    let (listed, _) = side.link.list(&side.holding, Listing::Space("mail")).unwrap();
    assert_eq!(listed.ids.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [2, 1]);
}

#[test]
fn a_poll_reads_no_table_as_a_whole() {
    let server = Server::new();
    let mut side = Side::new(&server, 1, MAIL);
    // By the statistics the table is empty.
    server.run("ALTER TABLE bear.inbox SET (autovacuum_enabled = off); ANALYZE bear.inbox");
    server.run("INSERT INTO bear.inbox (space, job, data) SELECT 'mail', 'A', '{}' FROM generate_series(1, 20000)");
    let found = side.poll();
    assert_eq!(found.ids.len(), 20_000);
    let read = |server: &Server| -> (i64, i64) {
        let sql = "SELECT seq_scan, idx_tup_read::int8 FROM pg_stat_user_tables t JOIN (SELECT relid, sum(idx_tup_read) AS idx_tup_read \
            FROM pg_stat_user_indexes GROUP BY 1) i USING (relid) WHERE t.relid = 'bear.inbox'::regclass";
        let row = server.client().query_one(sql, &[]).unwrap();
        (row.get(0), row.get(1))
    };
    side.link.settle_statistics();
    let before = read(&server);
    enqueue(&server, "mail", "B");
    assert_eq!(side.names(), ["B"]);
    (0..20).for_each(|_| assert!(side.names().is_empty()));
    side.link.settle_statistics();
    let after = read(&server);
    assert_eq!(before.0, after.0, "the table was read");
    assert!(after.1 - before.1 < 100, "{before:?} {after:?}");
}

#[test]
fn rows_with_ids_of_another_servers_transactions_are_found_once() {
    let server = Server::new();
    let mut side = Side::new(&server, 1, MAIL);
    // As pg_restore or a subscription writes them.
    server.run(
        "INSERT INTO bear.inbox (xid, space, job, data) SELECT '9000000000', 'mail', 'A', '{}' FROM generate_series(1, 4001)",
    );
    server.run("INSERT INTO bear.inbox (xid, space, job, data) VALUES ('9000000000', 'bear', 'B', '{}')");
    assert_eq!(side.poll().ids.len(), 4_001);
    assert_eq!(side.poll().ids.len(), 4_001, "until this server has come so far");
    side.link.renumber(&side.holding).unwrap();
    assert_eq!(side.poll().ids.len(), 4_001);
    assert!(side.names().is_empty());
    let left = server.client().query_one("SELECT count(*) FROM bear.inbox WHERE xid = '9000000000'", &[]).unwrap();
    assert_eq!(left.get::<_, i64>(0), 1, "rows of others are theirs");
}

#[test]
fn a_server_that_a_pooler_has_put_in_the_place_of_another_is_noticed() {
    let server = Server::new();
    for prepare in [true, false] {
        let mut side = Side::with(&server, 1, MAIL, prepare);
        assert!(side.names().is_empty());
        side.link.started = "1".into();
        let error = side.link.poll(&side.holding, &mut side.last, true).unwrap_err();
        assert_eq!(error.to_string(), "Postgres is another server, or was started anew");
    }
}
