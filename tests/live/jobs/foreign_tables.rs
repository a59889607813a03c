//! Tables of another server, by postgres_fdw: where that is away it is the trouble of whose statement reads them, and nobody else's.

use crate::support::jobs::{enqueue, error_of, set_drain, wait_settled, wait_state};
use crate::support::{burst, Database, Postgres, Redis};

const CATALOG: &str = r#"
[near]
id = "int"
tables = { near = "id" }
[[near.query]]
call = "all"
sql = "SELECT id, value FROM near ORDER BY id"
[near.job.SET]
data = { id = "int", value = "int" }
sql = "UPDATE near SET value = job.value FROM {jobs} job WHERE near.id = job.id RETURNING job.n, near.id"
[near.job.COPY]
data = { id = "int" }
each = ["UPDATE near SET value = (SELECT far.value FROM far WHERE far.id = {id}) WHERE id = {id} RETURNING id"]
[far]
id = "int"
[[far.query]]
call = "{id:int}"
sql = "SELECT id, value FROM far WHERE id = {id}"
"#;

/// None where the extension is not installed.
fn database(port: u16) -> Option<Database> {
    let database = Postgres::shared().database("CREATE TABLE near (id int PRIMARY KEY, value int); INSERT INTO near SELECT i, 0 FROM generate_series(1, 100) i");
    if let Err(error) = database.client().batch_execute("CREATE EXTENSION postgres_fdw") {
        println!("skipped: {error}");
        return None;
    }
    database.run(&format!(
        "CREATE SERVER other FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '127.0.0.1', port '{port}', dbname 'postgres', connect_timeout '2'); \
         CREATE USER MAPPING FOR PUBLIC SERVER other OPTIONS (user 'nobody', password 'x'); \
         CREATE FOREIGN TABLE far (id int, value int) SERVER other"
    ));
    Some(database)
}

#[test]
fn a_foreign_server_that_is_away_is_the_trouble_of_who_reads_it() {
    // Nobody listens there.
    let free =
        std::net::TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port").port();
    let Some(database) = database(free) else { return };
    let redis = Redis::builder().postgres(&database).catalog(CATALOG).start();
    let mut wire = redis.wire();
    assert!(!wire.run("BEAR.QUERY near all").is_error());
    for id in 0..50 {
        let reply = wire.run(&format!("BEAR.QUERY far {id}"));
        assert!(
            reply.is_error() && reply.error().starts_with("QUERY ") && reply.error().contains("08001"),
            "{reply:?}"
        );
    }
    assert!(!wire.run("BEAR.QUERY near FRESH all").is_error());
    // The pool has grown as far as it may at most; no error has ended a connection.
    let info = redis.info("bear");
    let made = info.int("bear_pool_connects");
    assert!(made <= info.int("bear_pool_max"), "{made} connections were made");

    set_drain(&mut wire, "no");
    let bad = enqueue(&mut wire, r#"near COPY {"id":50} ATTEMPTS 2 BACKOFF 1"#);
    let lines: Vec<String> = (1..=100)
        .filter(|id| *id != 50)
        .map(|id| format!(r#"BEAR.ENQUEUE near SET {{"id":{id},"value":{id}}}"#))
        .collect();
    burst(&redis, &lines);
    let behind = enqueue(&mut wire, r#"near SET {"id":50,"value":50}"#);
    set_drain(&mut wire, "yes");
    let failed = wait_state(&mut wire, "near", &bad, "failed");
    let (message, code) = error_of(&failed);
    assert_eq!((code.as_deref(), failed["attempts"].int()), (Some("08001"), 2), "{message}");
    wait_state(&mut wire, "near", &behind, "completed");
    wait_settled(&mut wire, "near");
    let done: i64 =
        database.client().query_one("SELECT count(*) FROM near WHERE value = id", &[]).expect("a count").get(0);
    assert_eq!(done, 100);
    assert_eq!(redis.run("BEAR.STATS near").map()["connection"].text(), "up");
}
