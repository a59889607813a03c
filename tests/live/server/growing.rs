//! A server that becomes a cluster of one node, and then of two: what it had goes on.

use crate::support::jobs::EFFECTS_SQL;
use crate::support::process::free_port;
use crate::support::{bears, eventually, Database, Redis, Reply, Wire};

const CATALOG: &str = r#"
[bear]
group = "zoo"
id = "int"
tables = { bear = "id" }
[[bear.query]]
call = "size {start:int} {end:int}"
sql = "SELECT id, name FROM bear WHERE size BETWEEN {start} AND {end} ORDER BY id"
[bear.job.UPDATE_BEAR_NAME]
data = { id = "int", name = "text" }
sql = "UPDATE bear SET name = job.name FROM {jobs} job WHERE bear.id = job.id RETURNING job.n, bear.id"
[bear.job.SEND]
claim = {}
"#;

fn names(database: &Database) -> Vec<String> {
    let rows = database.client().query("SELECT name FROM effect ORDER BY seq", &[]).expect("the effects");
    rows.iter().map(|row| row.get(0)).collect()
}

fn rename(name: &str) -> String {
    format!(r#"BEAR.ENQUEUE {{zoo}}:bear UPDATE_BEAR_NAME {{"id":1,"name":"{name}"}}"#)
}

/// All slots that have no key: those that have are the node's already, for it finds them in its data.
fn take_the_rest(wire: &mut Wire) {
    let taken = |wire: &mut Wire| -> Vec<u16> {
        let nodes = wire.run("CLUSTER NODES").text();
        let ranges = nodes.split_ascii_whitespace().skip(8).map(str::to_owned).collect::<Vec<_>>();
        ranges.iter().map(|slot| slot.parse().expect("one slot")).collect()
    };
    let mut first = 0;
    for slot in taken(wire).into_iter().chain([16_384]) {
        if first < slot {
            assert!(wire.run(&format!("CLUSTER ADDSLOTSRANGE {first} {}", slot - 1)).is_ok());
        }
        first = slot + 1;
    }
    eventually("the cluster is ready", || wire.run("CLUSTER INFO").text().contains("cluster_state:ok"));
}

#[test]
fn what_a_server_had_goes_on_in_a_cluster() {
    let database = bears::database_with(EFFECTS_SQL);
    let build = || Redis::builder().postgres(&database).catalog(CATALOG).append_only().config("bear.drain", "no");
    let mut alone = build().start();
    let mut wire = alone.wire();
    assert!(wire.run("BEAR.QUERY {zoo}:bear size 0 1000").text().contains("Baloo"));
    alone.wait_stored();
    for name in ["first", "second"] {
        assert!(!wire.run(&rename(name)).is_error());
    }
    let later = wire.run(&format!("{} DELAY 3600000", rename("later"))).text();
    let sent = wire.run("BEAR.ENQUEUE {zoo}:bear SEND {}").text();
    let claims = wire.run("BEAR.CLAIM {zoo}:bear WORKER w LEASE 600000");
    let token = claims.list()[0].map()["token"].int();
    drop(wire);
    alone.shutdown();

    // The data as they are, in a cluster of one.
    let as_cluster = || {
        let builder = build().config("cluster-enabled", "yes").config("cluster-port", free_port());
        builder.config("cluster-node-timeout", "2000")
    };
    let node = as_cluster().data_of(&alone).start();
    let mut wire = node.wire();
    take_the_rest(&mut wire);
    let stats = wire.run("BEAR.STATS {zoo}:bear").map();
    assert_eq!((stats["waiting"].int(), stats["delayed"].int()), (2, 1));
    assert!(wire.run("CONFIG SET bear.drain yes").is_ok());
    eventually("what waited is applied", || names(&database) == ["first", "second"]);
    assert_eq!(wire.run(&format!("BEAR.PROMOTE {{zoo}}:bear {later}")), Reply::Int(1));
    eventually("the delayed one, too", || names(&database) == ["first", "second", "later"]);
    assert_eq!(wire.run(&format!("BEAR.ACK {{zoo}}:bear {sent} {token}")), Reply::Int(1));
    assert!(wire.run("BEAR.QUERY {zoo}:bear size 0 1000").text().contains("later"));
}
