//! In a cluster each master tells its own replicas to serve nothing while much is removed, wherever its slots are, and no longer.

use std::time::Duration;

use crate::support::{burst, eventually, stays, Cluster, Database, Postgres, Redis, Reply, Wire};

const CATALOG: &str = r#"
[item]
id = "int"
tenant = "int"
tenant_column = "shop"
ttl = "1h"
tables = { item = "id" }
[[item.query]]
call = "of {n:int}"
sql = "SELECT id, version FROM item WHERE shop = {tenant} AND id % 4 = {n} % 4"
"#;

const SCHEMA: &str = "CREATE TABLE item(id int PRIMARY KEY, shop int, version int); \
                      INSERT INTO item SELECT i, i / 4, 0 FROM generate_series(0, 399) i";

/// Two masters, a replica of each, and a tenant at each master.
struct Shards {
    database: Database,
    cluster: Cluster,
    tenants: [usize; 2],
}

/// The node that is the replica of a master.
const fn replica_of(master: usize) -> usize {
    master + 2
}

fn start() -> Shards {
    let database = Postgres::shared().database(SCHEMA);
    let build = || {
        let redis = Redis::builder().postgres(&database).catalog(CATALOG).append_only();
        redis.configs(&[("appendfsync", "always"), ("bear.feed", "off"), ("bear.query-timeout-ms", "60000")])
    };
    let mut cluster = Cluster::start(2, |_| build());
    for _ in 0..2 {
        cluster.add(build());
    }
    cluster.meet();
    for master in 0..2 {
        cluster.replicate(replica_of(master), master);
    }
    // Not in the slots whose tags are tried first.
    let tenant_at = |master| (50..100).find(|tenant| cluster.owner(cluster.slot(&space(*tenant))) == Some(master));
    let tenants = [0, 1].map(|master| tenant_at(master).expect("a tenant there"));
    Shards { database, cluster, tenants }
}

fn space(tenant: usize) -> String {
    format!("{{{tenant}}}:item")
}

fn tombstones(node: &Redis) -> Vec<String> {
    node.run("KEYS bear.module:*cold").sorted_texts()
}

/// What a replica answers itself.
fn read_only(node: &Redis, lines: &[String]) -> Vec<Reply> {
    let mut wire = node.wire();
    assert!(wire.run("READONLY").is_ok());
    let mut replies = Vec::new();
    for some in lines.chunks(500) {
        some.iter().for_each(|line| wire.begin(line));
        replies.extend(some.iter().map(|_| wire.receive()));
    }
    assert!(replies.iter().all(|reply| !reply.is_error()), "{:?}", replies[0]);
    replies
}

impl Shards {
    fn fill(&self, master: usize, calls: usize) {
        let space = space(self.tenants[master]);
        let lines: Vec<String> = (0..calls).map(|n| format!("BEAR.QUERY {space} of {n}")).collect();
        assert!(burst(self.cluster.node(master), &lines).iter().all(|reply| !reply.is_error()));
        self.cluster.node(master).wait_stored();
        self.cluster.node(replica_of(master)).wait_in_sync(self.cluster.node(master));
    }

    /// What a master's replica serves of so many calls.
    fn served(&self, master: usize, calls: usize) -> Vec<Reply> {
        let space = space(self.tenants[master]);
        let lines: Vec<String> = (0..calls).map(|n| format!("BEAR.QUERY {space} CACHED of {n}")).collect();
        let replies = read_only(self.cluster.node(replica_of(master)), &lines);
        replies.into_iter().filter(|reply| !reply.is_nil()).collect()
    }

    /// Entries that a replica has.
    fn entries(&self, master: usize) -> usize {
        let slot = self.cluster.slot(&space(self.tenants[master]));
        let keys = self.cluster.keys_in(replica_of(master), slot);
        keys.iter().filter(|key| key.contains(":item:of:")).count()
    }

    /// A removal of all, caught in its middle; the connection waits for its reply.
    fn hold_amid_removal(&self, master: usize) -> Wire {
        let node = self.cluster.node(master);
        let mut wire = node.wire();
        wire.begin(&format!("BEAR.INVALIDATE {} ALL", space(self.tenants[master])));
        eventually("replicas are told", || !tombstones(node).is_empty());
        assert!(node.run("CLIENT PAUSE 100000 WRITE").is_ok());
        self.cluster.node(replica_of(master)).wait_in_sync(node);
        assert!(self.entries(master) > 0, "it must be caught in the middle");
        wire
    }

    fn wait_warm(&self) {
        for index in 0..self.cluster.len() {
            eventually("no tombstone is left", || tombstones(self.cluster.node(index)).is_empty());
        }
        for master in 0..2 {
            eventually("its replica serves again", || {
                // What is fetched while somebody hears of another owner of a slot is not stored.
                self.fill(master, 4);
                self.served(master, 4).len() == 4
            });
        }
    }
}

#[test]
fn replicas_of_each_master_serve_nothing_during_its_large_removals() {
    const CALLS: usize = 4000;
    let shards = start();
    for master in 0..2 {
        shards.fill(master, CALLS);
        assert_eq!(shards.served(master, CALLS).len(), CALLS);
    }
    shards.database.run("UPDATE item SET version = 1");
    let mut first = shards.hold_amid_removal(0);
    assert_eq!(shards.served(0, CALLS), []);
    assert_eq!(shards.served(1, CALLS).len(), CALLS, "the other master removes nothing");
    let mut second = shards.hold_amid_removal(1);
    assert_eq!(shards.served(1, CALLS), []);
    for (index, wire) in [&mut first, &mut second].into_iter().enumerate() {
        assert!(shards.cluster.node(index).run("CLIENT UNPAUSE").is_ok());
        assert_eq!(wire.receive(), Reply::Int(CALLS as i64));
    }
    shards.wait_warm();
    for master in 0..2 {
        assert!(shards.served(master, 4).iter().all(|reply| reply.text().contains(r#""version":1"#)));
    }
}

/// What its master had told it is the promoted replica's to end.
#[test]
fn a_promoted_replica_ends_what_its_master_began() {
    const CALLS: usize = 4000;
    let mut shards = start();
    shards.fill(0, CALLS);
    shards.database.run("UPDATE item SET version = 1");
    drop(shards.hold_amid_removal(0));
    let replica = replica_of(0);
    assert!(!tombstones(shards.cluster.node(replica)).is_empty());
    shards.cluster.node_mut(0).kill9();
    assert!(shards.cluster.node(replica).run("CLUSTER FAILOVER TAKEOVER").is_ok());
    let promoted = shards.cluster.node(replica);
    let query = format!("BEAR.QUERY {} of 5", space(shards.tenants[0]));
    eventually("it is asked", || !promoted.run(&query).is_error());
    assert!(promoted.run(&query).text().contains(r#""version":1"#));
    eventually("no tombstone is left", || tombstones(promoted).is_empty());
    shards.cluster.node_mut(0).start_again();
    let old = shards.cluster.node(0);
    eventually("the old master follows", || old.info("replication").get("master_link_status") == Some("up"));
    eventually("it serves what is stored now", || {
        assert!(shards.cluster.node(replica).run(&query).text().contains(r#""version":1"#));
        let replies = read_only(old, &[query.replace(" of ", " CACHED of ")]);
        matches!(&replies[0], Reply::Bulk(json) if String::from_utf8_lossy(json).contains(r#""version":1"#))
    });
}

/// Nothing is written in a slot that moves, and what has come with one is removed by its new owner.
#[test]
fn a_tombstone_whose_slot_moves_is_nobodys_for_long() {
    let shards = start();
    let cluster = &shards.cluster;
    let invalidate = |master: usize| {
        shards.fill(master, 10);
        let before = cluster.node(master).aof().len();
        let removed = cluster.node(master).run(&format!("BEAR.INVALIDATE {} ALL", space(shards.tenants[master])));
        assert_eq!(removed, Reply::Int(10));
        eventually("no tombstone is left", || tombstones(cluster.node(master)).is_empty());
        let units = cluster.node(master).aof().into_iter().skip(before);
        let commands = units.flatten().filter(|command| command.name() == "SET");
        let names: Vec<String> = commands.map(|command| command.text(1)).filter(|key| key.ends_with("cold")).collect();
        assert!(!names.is_empty(), "replicas are told");
        names
    };
    let first = invalidate(0).remove(0);
    let slot = cluster.slot(&first);
    assert_eq!(cluster.owner(slot), Some(0), "{first}");
    cluster.begin_move(slot, 0, 1);
    assert!(invalidate(0).iter().all(|name| cluster.slot(name) != slot));

    // As MIGRATE brings it.
    shards.fill(1, 4);
    let target = cluster.node(1);
    let mut wire = target.wire();
    assert!(wire.run("ASKING").is_ok());
    assert!(wire.run(&format!("SET {first} 1")).is_ok());
    cluster.node(replica_of(1)).wait_in_sync(target);
    assert_eq!(shards.served(1, 4), []);
    stays("what is on its way stays", Duration::from_millis(200), || tombstones(target) == [first.clone()]);
    cluster.end_move(slot, 0, 1);
    shards.wait_warm();
}

/// A replica that comes later finds what stands in the dataset that it is given, and one without a tombstone serves.
#[test]
fn a_replica_that_loads_its_dataset_sees_what_stands() {
    const CALLS: usize = 4000;
    let mut shards = start();
    shards.fill(0, CALLS);
    let wire = shards.hold_amid_removal(0);
    let replica = replica_of(0);
    shards.cluster.node_mut(replica).kill9();
    shards.cluster.node_mut(replica).start_again();
    let node = shards.cluster.node(replica);
    eventually("it follows again", || node.info("replication").get("master_link_status") == Some("up"));
    assert!(shards.entries(0) > 0);
    stays("it serves nothing", Duration::from_millis(300), || shards.served(0, CALLS).is_empty());
    assert!(shards.cluster.node(0).run("CLIENT UNPAUSE").is_ok());
    drop(wire);
    shards.wait_warm();
}
