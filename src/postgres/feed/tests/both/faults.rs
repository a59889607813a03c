//! Servers that go and come back, and networks that are cut or silent.

use super::*;
use crate::postgres::tests::proxy::Proxy;

const CATALOG: &str =
    "[t]\nid = \"int\"\ntables = { t = \"id\" }\nrow = \"SELECT id, x FROM t WHERE id = ANY({ids})\"\n\
    [[t.query]]\ncall = \"x {x:int}\"\nsql = \"SELECT id FROM t WHERE x = {x}\"\nmatch = \"x = {x}\"\n";
const TABLE: &str = "CREATE TABLE t (id int PRIMARY KEY, x int)";

for_both_kinds![restarts_crashes_cuts_and_silence_are_survived];

fn restarts_crashes_cuts_and_silence_are_survived(kind: FeedKind) {
    let database = Database::on(kind, Arc::new(server_for(kind)), TABLE);
    let proxy = Proxy::to(database.server.port);
    let url = database.url("bear", proxy.port());
    let followed = database.follow_at(CATALOG, &url);
    followed.connected();
    // An outbox makes none.
    let slots = i64::from(kind == FeedKind::Wal);
    assert_eq!(database.slots(), slots);
    for _ in 0..2 {
        proxy.cut_once();
        followed.down();
        followed.connected_again();
    }
    eventually("the end of the old slots", || database.slots() == slots);
    for (x, signal) in ["INT", "QUIT"].into_iter().enumerate() {
        database.run(&format!("INSERT INTO t VALUES (1, {x}) ON CONFLICT (id) DO UPDATE SET x = {x}"));
        database.server.stop(signal);
        followed.down();
        database.server.start();
        followed.connected_again();
        database.run("UPDATE t SET x = 3 WHERE id = 1");
        assert_eq!(followed.changes(), [r#"t 1: {"id":1,"x":3}"#]);
    }
    followed.end();
    eventually("the end of the slot", || database.slots() == 0);
    let followed = database.follow_at(CATALOG, &url);
    followed.connected();
    followed.changes();
    proxy.stall();
    followed.end_in_silence();
}
