//! `redis-cli --cluster reshard` and `rebalance` themselves, under load: who runs a cluster moves slots by them.
//!
//! Each slot moves once. A Redis before 7.2.4 may believe an older message of a slot's last owner where the slot has come back to it
//! soon, and then the slot is nobody's (redis/redis#12564).

use std::process::Command;

use super::slot_load::{self, Load};
use crate::support::server::server_program;
use crate::support::wait::{wait_at_most, PATIENCE};
use crate::support::Cluster;

/// Slots that go from the second master to the first one, and then as many others back; the program takes the lowest ones.
const SLOTS: usize = 300;

/// The program that comes with the server.
fn cli(cluster: &Cluster, words: &[&str]) -> Result<String, String> {
    let server = server_program();
    let name = server.file_name().and_then(|name| name.to_str()).expect("a name").replace("-server", "-cli");
    let output = Command::new(server.with_file_name(name))
        .args(["--cluster", words[0], &format!("127.0.0.1:{}", cluster.node(0).port())])
        .args(&words[1..])
        .output()
        .expect("redis-cli runs");
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    match output.status.success() {
        true => Ok(told),
        false => Err(format!("{words:?}: {told}{}", String::from_utf8_lossy(&output.stderr))),
    }
}

/// Some tenants whose slots are the first ones of a node.
fn tenants_from(cluster: &Cluster, first: u16) -> Vec<usize> {
    let mut wire = cluster.node(0).wire();
    let mut slot = |tenant: usize| wire.run(&format!("CLUSTER KEYSLOT {{{tenant}}}")).int();
    let range = i64::from(first)..i64::from(first) + SLOTS as i64 / 2;
    (1..).filter(|tenant| range.contains(&slot(*tenant))).take(3).collect()
}

/// Waits until the program finds nothing to complain of.
#[track_caller]
fn agree(cluster: &Cluster) {
    let mut told = String::new();
    let agreed = wait_at_most(PATIENCE, || match cli(cluster, &["check"]) {
        Ok(_) => Some(()),
        Err(error) => {
            told = error;
            None
        }
    });
    assert!(agreed.is_some(), "the nodes do not agree: {told}");
}

#[test]
fn redis_cli_reshards_and_rebalances_under_load() {
    let database = slot_load::database();
    let cluster = Cluster::start(3, |_| slot_load::node(&database));
    let second = (16_384 / 3) as u16;
    let tenants = [tenants_from(&cluster, 0), tenants_from(&cluster, second)].concat();
    let slot = |tenant: usize| cluster.slot(&format!("{{{tenant}}}"));
    let (of_first, of_second) = (slot(tenants[0]), slot(tenants[5]));
    agree(&cluster);
    let load = Load::new(database, tenants.clone());
    let (from, to, count) = (cluster.id(1), cluster.id(0), SLOTS.to_string());
    let words = ["--cluster-from", from, "--cluster-to", to, "--cluster-slots", &count, "--cluster-yes"];
    load.run(&cluster, || {
        cli(&cluster, &[&["reshard"], &words[..]].concat()).expect("it reshards");
        assert_eq!([of_first, of_second].map(|slot| cluster.owner(slot)), [Some(0); 2]);
        agree(&cluster);
        let told = cli(&cluster, &["rebalance", "--cluster-threshold", "1"]).expect("it rebalances");
        assert_eq!([of_first, of_second].map(|slot| cluster.owner(slot)), [Some(1), Some(0)], "{told}");
        agree(&cluster);
    });
}
