//! A replica serves what its master stored, while it can know that; it stores nothing itself.

use crate::support::bears::{self, selects};
use crate::support::{eventually, Database, Redis, Reply};

fn start() -> (Database, Redis, Redis) {
    let database = bears::database();
    let master = Redis::builder().postgres(&database).catalog(bears::gated_catalog()).start();
    let replica = follower(&database, &master);
    master.run("BEAR.QUERY bear size 100 200");
    master.wait_stored();
    replica.wait_in_sync(&master);
    (database, master, replica)
}

fn follower(database: &Database, master: &Redis) -> Redis {
    let replica = Redis::builder().postgres(database).catalog(bears::gated_catalog()).replica_of(master).start();
    replica.wait_in_sync(master);
    replica
}

fn rename_yogi(database: &Database) {
    database.run("UPDATE bear SET name = 'Boo-Boo' WHERE id = 5");
}

const QUERY: &str = "BEAR.QUERY bear size 100 200";
const CACHED: &str = "BEAR.QUERY bear CACHED size 100 200";

#[test]
fn a_replica_answers_hits_from_what_its_master_stored() {
    let (database, _master, replica) = start();
    assert_eq!(replica.run(QUERY).text(), bears::json(&[1, 2, 4, 5, 6]));
    assert_eq!(selects(&database), 1);
}

#[test]
fn a_miss_on_a_replica_is_fetched_and_not_stored() {
    let (database, master, replica) = start();
    let keys = replica.keys();
    for fetched in 2..4 {
        assert_eq!(replica.run("BEAR.QUERY bear colors white").text(), bears::json(&[3, 4]));
        assert_eq!(selects(&database), fetched);
    }
    assert_eq!(replica.run("BEAR.QUERY bear FRESH size 100 200").text(), bears::json(&[1, 2, 4, 5, 6]));
    assert_eq!(replica.keys(), keys);
    assert_eq!(master.keys(), keys);
}

#[test]
fn an_invalidation_reaches_the_replica_and_is_refused_there() {
    let (database, master, replica) = start();
    assert!(replica.run("BEAR.INVALIDATE bear ALL").error().starts_with("READONLY "));
    rename_yogi(&database);
    assert_eq!(master.run("BEAR.INVALIDATE bear ROW 5"), Reply::Int(1));
    replica.wait_in_sync(&master);
    assert_eq!(replica.run(CACHED), Reply::Nil);
    assert!(replica.run(QUERY).text().contains("Boo-Boo"));
}

#[test]
fn a_replica_without_its_master_serves_no_entry() {
    let (database, mut master, replica) = start();
    assert!(!replica.run(CACHED).is_nil());
    master.kill9();
    eventually("the link is down", || replica.info("replication").text("master_link_status") == "down");
    assert_eq!(replica.run(CACHED), Reply::Nil);
    rename_yogi(&database);
    assert!(replica.run(QUERY).text().contains("Boo-Boo"));
}

#[test]
fn a_promoted_replica_is_cold() {
    let (database, master, replica) = start();
    rename_yogi(&database);
    assert!(replica.run("REPLICAOF NO ONE").is_ok());
    assert_eq!(replica.run(CACHED), Reply::Nil);
    assert!(replica.run(QUERY).text().contains("Boo-Boo"));
    replica.wait_checked();
    assert!(replica.run(QUERY).text().contains("Boo-Boo"));
    // It stores now, and what its former master stored is swept.
    let fetched = selects(&database);
    assert!(replica.run(QUERY).text().contains("Boo-Boo"));
    assert_eq!(selects(&database), fetched);
    replica.wait_stored();
    assert_eq!(replica.run("BEAR.INVALIDATE bear ROW 5"), Reply::Int(1));
    eventually("what was there before is swept", || replica.keys().is_empty());
    assert!(!master.run(CACHED).is_nil());
}

#[test]
fn a_fetch_begun_on_a_replica_is_never_stored() {
    let (database, _master, replica) = start();
    let mut gate = database.close_gate();
    let mut client = replica.wire();
    client.begin("BEAR.QUERY bear all");
    gate.wait(1);
    assert!(replica.run("REPLICAOF NO ONE").is_ok());
    gate.open();
    assert_eq!(client.receive().text(), bears::json(&[1, 2, 3, 4, 5, 6, 7, 8]));
    assert_eq!(replica.run("BEAR.QUERY bear CACHED all"), Reply::Nil);
    eventually("nothing was stored", || replica.keys().is_empty());
}

#[test]
fn a_fetch_begun_on_a_master_that_becomes_a_replica_is_not_stored() {
    let (database, master, replica) = start();
    let mut gate = database.close_gate();
    let mut client = master.wire();
    client.begin("BEAR.QUERY bear all");
    gate.wait(1);
    assert!(replica.run("REPLICAOF NO ONE").is_ok());
    assert!(master.run(&format!("REPLICAOF 127.0.0.1 {}", replica.port())).is_ok());
    gate.open();
    // Redis itself may have told the blocked client that it must ask again.
    let reply = client.receive();
    assert!(reply.is_error() || reply.text() == bears::json(&[1, 2, 3, 4, 5, 6, 7, 8]), "{reply:?}");
    master.wait_in_sync(&replica);
    assert_eq!(master.run("EXISTS bear:all"), Reply::Int(0));
    assert_eq!(master.keys(), replica.keys());
}

#[test]
fn a_replica_without_the_module_has_the_same_data() {
    let database = bears::database();
    let master = Redis::with(&database);
    let replica = Redis::builder().plain().replica_of(&master).start();
    replica.wait_in_sync(&master);
    for line in [
        "BEAR.QUERY bear all",
        "BEAR.QUERY bear size 100 200",
        "BEAR.QUERY bear colors white",
        "BEAR.INVALIDATE bear ROW 5",
        "BEAR.QUERY bear FRESH all",
    ] {
        assert!(!master.run(line).is_error(), "{line}");
        master.wait_stored();
    }
    eventually("both have the same", || {
        replica.wait_in_sync(&master);
        replica.run("DEBUG DIGEST") == master.run("DEBUG DIGEST")
    });
    assert!(replica.run("GET bear:all").text().contains("Baloo"));
}

#[test]
fn a_failover_under_fetches_loses_no_server() {
    let (database, master, replica) = start();
    let mut gate = database.close_gate();
    let mut clients: Vec<_> = (0..20).map(|_| master.wire()).collect();
    for (index, client) in clients.iter_mut().enumerate() {
        client.begin(&format!("BEAR.QUERY bear size {index} 1000"));
    }
    gate.wait(4);
    assert!(master.run(&format!("FAILOVER TO 127.0.0.1 {}", replica.port())).is_ok());
    gate.open();
    for client in &mut clients {
        let _ = client.try_receive();
    }
    eventually("the roles have changed", || {
        replica.info("replication").text("role") == "master" && master.info("replication").text("role") == "slave"
    });
    master.wait_in_sync(&replica);
    assert!(replica.run(QUERY).text().contains("Yogi"));
    assert!(master.run(QUERY).text().contains("Yogi"));
}

#[test]
fn paused_writes_hold_a_publication_back_and_nothing_breaks() {
    let (database, master, _replica) = start();
    let mut gate = database.close_gate();
    let mut client = master.wire();
    client.begin("BEAR.QUERY bear all");
    gate.wait(1);
    assert!(master.run("CLIENT PAUSE 100000 WRITE").is_ok());
    gate.open();
    eventually("postgres has answered", || {
        database.client().query("SELECT FROM pg_stat_activity WHERE datname = current_database() AND state = 'active' AND query LIKE '%gate()%' AND application_name <> 'test'", &[]).unwrap().is_empty()
    });
    assert_eq!(master.run("EXISTS bear:all"), Reply::Int(0));
    assert!(master.run("CLIENT UNPAUSE").is_ok());
    assert_eq!(client.receive().text(), bears::json(&[1, 2, 3, 4, 5, 6, 7, 8]));
    eventually("it is stored when writes go on", || master.run("EXISTS bear:all") == Reply::Int(1));
}
