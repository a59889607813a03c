//! Rights, settings, lost connections, silence, and commits that nobody can see yet.

use super::*;
use crate::postgres::tests::proxy::Proxy;

const CATALOG: &str =
    "[t]\nid = \"int\"\ntables = { t = \"id\" }\nrow = \"SELECT id, x FROM t WHERE id = ANY({ids})\"\n\
    [[t.query]]\ncall = \"x {x:int}\"\nsql = \"SELECT id FROM t WHERE x = {x}\"\nmatch = \"x = {x}\"\n";
const TABLE: &str = "CREATE TABLE t (id int PRIMARY KEY, x int)";

#[test]
fn without_logical_wal_it_says_what_to_set() {
    let server = Arc::new(Server::new());
    let database = Database::on(FeedKind::Wal, server, TABLE);
    let error = database.follow(CATALOG).down();
    assert!(
        error.contains("wal_level is replica") && error.contains("ALTER SYSTEM SET wal_level = 'logical'"),
        "{error}"
    );
}

#[test]
fn a_role_without_rights_is_told_the_statements() {
    let database = database(TABLE);
    let role = format!("plain_{}", database.name);
    database.run(&format!("CREATE ROLE {role} LOGIN; GRANT SELECT ON t TO {role}"));
    let followed = database.follow_at(CATALOG, &database.url(&role, database.server.port));
    let error = eventually_down(&followed, "REPLICATION");
    let (_, statement) = error.split_once("may allow it: ").unwrap();
    database.run(statement);
    loop {
        if let FeedOutcome::Connected { .. } = followed.next() {
            break;
        }
    }
    database.run("INSERT INTO t VALUES (1, 2)");
    assert_eq!(followed.changes(), [r#"t 1: {"id":1,"x":2}"#]);
}

fn eventually_down(followed: &Followed, part: &str) -> String {
    loop {
        let error = followed.down();
        if error.contains(part) {
            return error;
        }
    }
}

#[test]
fn silence_ends_caught_up_and_then_the_connection_and_a_stop_ends_silence() {
    let database = database(TABLE);
    let proxy = Proxy::to(database.server.port);
    let followed = database.follow_at(CATALOG, &database.url("bear", proxy.port()));
    followed.connected();
    followed.changes();
    proxy.stall();
    let stalled = Instant::now();
    loop {
        match followed.next() {
            FeedOutcome::CaughtUp { asked, .. } => assert!(asked < stalled + Duration::from_millis(100)),
            FeedOutcome::Down { error, .. } => {
                assert!(error.contains("no answer") || error.contains("sent nothing"), "{error}");
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(stalled.elapsed() < Duration::from_secs(6), "{:?}", stalled.elapsed());
    proxy.resume();
    followed.connected_again();
    followed.changes();
    proxy.stall();
    followed.end_in_silence();
}

/// The ordinary connection is well, and the stream alone says nothing more.
#[test]
fn a_stream_that_falls_silent_is_given_up() {
    let database = database(TABLE);
    let followed = database.follow(CATALOG);
    followed.connected();
    let walsender: i64 = database
        .int(&format!("SELECT active_pid::bigint FROM pg_replication_slots WHERE database = '{}'", database.name));
    let pid = u32::try_from(walsender).unwrap();
    crate::postgres::tests::server::send_signal(pid, "STOP");
    let error = followed.down();
    crate::postgres::tests::server::send_signal(pid, "CONT");
    assert!(error.contains("has sent nothing for 3000 ms"), "{error}");
    followed.connected_again();
}

#[test]
fn a_commit_that_new_snapshots_do_not_see_is_not_told_and_holds_up_nobody() {
    let database = database_alone(TABLE);
    database.run("INSERT INTO t VALUES (1, 1)");
    let followed = database.follow(CATALOG);
    followed.connected();
    database.server.make_commits_wait();
    let mut waiting = database.client();
    // Not scoped: where this test fails, it waits for ever.
    let waits = std::thread::spawn(move || waiting.batch_execute("UPDATE t SET x = 2 WHERE id = 1").unwrap());
    let mut client = database.client();
    eventually("the wait", || {
        let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
        client.query_one(waiting, &[]).unwrap().get::<_, i64>(0) == 1
    });
    // Behind the commit's record.
    let behind = database.int("SELECT (pg_current_wal_insert_lsn() - '0/0')::int8");
    let told_beyond_it = || {
        let now = Instant::now();
        loop {
            match followed.next() {
                FeedOutcome::CaughtUp { asked, position, .. } if asked > now => return position >= behind as u64,
                FeedOutcome::Changed { position, .. } if position >= behind as u64 => return true,
                _ => {}
            }
        }
    };
    client.batch_execute("SET synchronous_commit = local; INSERT INTO t VALUES (2, 2)").unwrap();
    assert_eq!(followed.changes(), [r#"t 2: {"id":2,"x":2}"#]);
    assert_eq!(followed.changes(), Vec::<String>::new());
    assert!(!told_beyond_it(), "a place behind what has not been told");
    assert!(!waits.is_finished());
    database.server.let_commits_go();
    waits.join().unwrap();
    assert_eq!(followed.changes(), [r#"t 1: {"id":1,"x":2}"#]);
    assert!(told_beyond_it());
}

/// A transaction with an id of its own.
struct Open {
    client: ::postgres::Client,
    xid: String,
}

impl Open {
    fn new(database: &Database, sql: &str) -> Open {
        let mut client = database.client();
        client.batch_execute(&format!("BEGIN; {sql}")).unwrap();
        let xid = client.query_one("SELECT pg_current_xact_id()::text", &[]).unwrap().get(0);
        Open { client, xid }
    }

    fn wait_for_waiter(&self, database: &Database) {
        let waiters =
            format!("SELECT count(*) FROM pg_locks WHERE NOT granted AND transactionid = '{}'::xid", self.xid);
        eventually("the wait for a transaction", || database.int(&waiters) == 1);
    }

    fn end(mut self, how: &str) {
        self.client.batch_execute(how).unwrap();
    }
}

/// Its record may stand before the slot, and it may become visible only now: what was fetched meanwhile is forgotten.
/// Not if it is told, nor if it changed nothing, or is of another database.
#[test]
fn a_transaction_from_before_the_connection_makes_all_cold_once_more_unless_it_is_told() {
    let server = Arc::new(server_for(FeedKind::Wal));
    let database = Database::on(FeedKind::Wal,
        server.clone(),
        "CREATE TABLE t (id int PRIMARY KEY, x int); CREATE TABLE other (x int); CREATE UNLOGGED TABLE unlogged (x int)",
    );
    let neighbour = Database::on(FeedKind::Wal, server, "CREATE TABLE t (id int PRIMARY KEY, x int)");
    // The slot waits for the first, then for those that were there when the first had ended; the others it leaves.
    let first = Open::new(&database, "INSERT INTO other VALUES (1)");
    let followed = database.follow(CATALOG);
    first.wait_for_waiter(&database);
    let second = Open::new(&database, "INSERT INTO other VALUES (2)");
    first.end("COMMIT");
    second.wait_for_waiter(&database);
    let elsewhere = Open::new(&database, "INSERT INTO unlogged VALUES (3)");
    let of_neighbour = Open::new(&neighbour, "INSERT INTO t VALUES (3, 3)");
    let told = Open::new(&database, "INSERT INTO t VALUES (1, 1)");
    let aborted = Open::new(&database, "INSERT INTO t VALUES (2, 2)");
    second.end("COMMIT");
    followed.connected();
    told.end("COMMIT");
    aborted.end("ROLLBACK");
    let again = || {
        let (now, mut count) = (Instant::now(), 0);
        loop {
            match followed.next() {
                FeedOutcome::CaughtUp { asked, .. } if asked > now => return count,
                FeedOutcome::Connected { .. } => count += 1,
                FeedOutcome::Down { error, .. } => panic!("{error}"),
                FeedOutcome::CaughtUp { .. }
                | FeedOutcome::Changed { .. }
                | FeedOutcome::Altered { .. }
                | FeedOutcome::AlteredBefore { .. } => {}
            }
        }
    };
    assert_eq!((again(), again()), (0, 0));
    of_neighbour.end("COMMIT");
    assert_eq!((again(), again()), (0, 0), "what another database does changes nothing here");
    elsewhere.end("COMMIT");
    assert_eq!((again(), again()), (1, 0));
}

#[test]
fn a_slot_that_waits_for_a_transaction_says_so_and_can_be_stopped() {
    let database = database_alone("CREATE TABLE t (id int PRIMARY KEY, x int); CREATE TABLE other (x int)");
    let open = Open::new(&database, "INSERT INTO other VALUES (1)");
    let followed = database.follow(CATALOG);
    let error = followed.down();
    assert!(error.contains("transactions to end"), "{error}");
    let second = database.follow(CATALOG);
    eventually("the second slot", || database.slots() == 2);
    second.end();
    open.end("COMMIT");
    followed.connected_again();
    eventually("the end of the slot", || database.slots() == 1);
}
