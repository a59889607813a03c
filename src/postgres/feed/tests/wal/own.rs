//! Transactions of our own, whose rows their publication drops.

use super::*;
use crate::core::feed::promise::TransactionId;
use crate::core::feed::promised_rows::PromisedRows;

const CATALOG: &str =
    "[t]\nid = \"int\"\ntables = { t = \"id\" }\n[[t.query]]\ncall = \"all\"\nsql = \"SELECT id FROM t\"\n";

#[test]
fn for_one_that_has_been_published_postgres_is_not_asked() {
    const ASKED: &str = "SELECT string_agg(pid || ' ' || query_start, ', ' ORDER BY pid) FROM pg_stat_activity \
         WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()";
    const NAMES: &str = "SELECT pg_current_xact_id()::text, extract(epoch FROM pg_postmaster_start_time())::text";

    let database = database("CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE other (id int)");
    // No probe comes in between.
    let grace = Duration::from_secs(3600);
    let settings = FeedSettings { grace, ..settings(FeedKind::Wal, &database.url("bear", database.server.port)) };
    let promises = Arc::<Promises>::default();
    let followed = Followed::with_promises(settings, CATALOG, promises.clone());
    while !matches!(followed.next(), FeedOutcome::CaughtUp { .. }) {}
    let mut client = database.client();
    let mut asked = || client.query_one(ASKED, &[]).unwrap().get::<_, String>(0);
    let before = asked();
    let mut other = database.client();
    let mut own = other.transaction().unwrap();
    let names = own.query_one(NAMES, &[]).unwrap();
    let (xid, server): (String, String) = (names.get(0), names.get(1));
    let of = TransactionId { server: server.into(), xid: xid.parse().unwrap() };
    promises.make(of, followed.sections.clone(), PromisedRows::default()).keep();
    own.batch_execute("INSERT INTO other VALUES (1)").unwrap();
    own.commit().unwrap();
    let told = followed.next();
    assert!(matches!(&told, FeedOutcome::Changed { changes, transactions: 1, .. } if changes.is_empty()), "{told:?}");
    let pid: i32 = other.query_one("SELECT pg_backend_pid()", &[]).unwrap().get(0);
    let of_others = |asked: String| {
        let lines = asked.split(", ").filter(|line| !line.starts_with(&format!("{pid} ")));
        lines.collect::<Vec<_>>().join(", ")
    };
    assert_eq!(of_others(asked()), before);
    other.batch_execute("INSERT INTO t VALUES (1)").unwrap();
    assert!(matches!(followed.next(), FeedOutcome::Changed { transactions: 1, .. }));
    assert_ne!(of_others(asked()), before, "whether it is visible, of anybody else's");
}
