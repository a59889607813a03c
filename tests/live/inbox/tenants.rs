//! Spaces of tenants: rows name them as commands do.

use crate::support::claims::{ack, claim, claim_one};
use crate::support::inbox::{database, effects, enqueue, server, wait_empty};
use crate::support::jobs::{ids_in, stat};
use crate::support::{eventually, Reply};

#[test]
fn rows_go_to_the_spaces_of_their_tenants() {
    let database = database();
    let redis = server(&database);
    let (mut client, mut wire) = (database.client(), redis.wire());
    for (tenant, v) in [("a", 1), ("b", 2), ("a", 3), ("x:y", 4)] {
        enqueue(&mut client, &format!("{{{tenant}}}:shop"), "SEND", v);
        enqueue(&mut client, &format!("{{{tenant}}}:shop"), "ADD", v);
    }
    eventually("all are there", || {
        effects(&mut client).len() == 4
            && stat(&mut wire, "{a}:shop", "waiting") == 2
            && stat(&mut wire, "{b}:shop", "waiting") == 1
            && stat(&mut wire, "{x:y}:shop", "waiting") == 1
    });
    assert_eq!(claim_one(&mut wire, "{b}:shop").data, r#"{"v":2}"#);
    for job in claim(&mut wire, "{a}:shop COUNT 5") {
        ack(&mut wire, &job);
    }
    eventually("they are gone", || wire.run("EXISTS {a}:shop:queue:inbox {a}:shop:queue:inbox:tell") == Reply::Int(0));
    assert_eq!(ids_in(&mut wire, "{a}:shop", "completed").len(), 4);
}

#[test]
fn a_row_without_its_tenant_has_failed_in_postgres_alone() {
    let database = database();
    let redis = server(&database);
    let (mut client, mut wire) = (database.client(), redis.wire());
    // bear.enqueue refuses it where it knows the catalog.
    client.batch_execute("DELETE FROM bear.inbox_job").expect("deleted");
    enqueue(&mut client, "shop", "SEND", 1);
    enqueue(&mut client, "{a}:shop", "SEND", 2);
    let sql = "SELECT failed->>'message' FROM bear.inbox WHERE space = 'shop'";
    eventually("it has failed", || client.query_one(sql, &[]).expect("a row").get::<_, Option<String>>(0).is_some());
    let mut seen = Vec::new();
    eventually("the other is there", || {
        seen.extend(claim(&mut wire, "{a}:shop"));
        !seen.is_empty()
    });
    ack(&mut wire, &seen[0]);
    eventually("one row stays", || crate::support::inbox::rows(&mut client) == 1);
    client.execute("DELETE FROM bear.inbox", &[]).expect("deleted");
    wait_empty(&mut client);
}
