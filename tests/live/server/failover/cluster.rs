//! Three masters, a replica of each: a master is killed, gives way by hand, or is passed over.

use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use super::load::{self, Client, Route, Told};
use super::{follows, is_master, wait_drained, watch};
use crate::faults::sweep::{draw, number_of_env};
use crate::support::{eventually, marked, wait_for, Cluster, Database, Random, Redis, StopAtEnd};

const MASTERS: usize = 3;

/// Clients of families of their own, every other of which has WAIT confirm what it enqueues; and one that shows that a new master goes on.
const FAMILIES: i64 = 6;
const PROBES: i64 = 16;

/// Failovers; more with BEAR_TEST_FAILOVERS.
const ROUNDS: u64 = 3;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Failover {
    /// SIGKILL: the cluster finds out, and votes.
    Kill,
    /// CLUSTER FAILOVER at the replica: the master waits until it has all.
    ByHand,
    /// CLUSTER FAILOVER TAKEOVER: nobody is asked, and the master learns it afterwards.
    Takeover,
}

struct ByMoved(Vec<u16>);

impl Route for ByMoved {
    fn next(&self, last: Option<u16>, told: Option<u16>) -> u16 {
        let at = last.and_then(|last| self.0.iter().position(|port| *port == last));
        told.unwrap_or_else(|| self.0[at.map_or(0, |at| (at + 1) % self.0.len())])
    }
}

fn start(database: &Database) -> Cluster {
    let build = || {
        let redis = Redis::builder().postgres(database).catalog(load::CATALOG).append_only();
        // What a kill loses is what the replica lacks, not the file.
        redis.configs(&[("appendfsync", "always"), ("bear.feed", "off"), ("cluster-allow-replica-migration", "no")])
    };
    let mut cluster = Cluster::start(MASTERS, |_| build());
    for _ in 0..MASTERS {
        cluster.add(build());
    }
    cluster.meet();
    (0..MASTERS).for_each(|master| cluster.replicate(MASTERS + master, master));
    cluster
}

/// The other node of the same slots.
fn partner(node: usize) -> usize {
    (node + MASTERS) % (2 * MASTERS)
}

/// A family of those that clients leave alone, in a slot of this node's.
fn probe_at(cluster: &Cluster, node: usize) -> i64 {
    let mut families = FAMILIES..FAMILIES + PROBES;
    families.find(|family| cluster.owner(cluster.slot(&load::space(*family))) == Some(node)).expect("a family there")
}

#[test]
fn what_is_confirmed_survives_and_nothing_is_applied_twice() {
    let rounds = number_of_env("BEAR_TEST_FAILOVERS").unwrap_or(ROUNDS);
    let seed = number_of_env("BEAR_TEST_SEED").unwrap_or(15);
    let database = load::database(FAMILIES + PROBES);
    let mut cluster = start(&database);
    let route = ByMoved((0..2 * MASTERS).map(|node| cluster.node(node).port()).collect());
    let (stop, mut random) = (AtomicBool::new(false), Random::new(seed));
    let (mut losses, mut probes, mut left) = (Vec::new(), Told::default(), Vec::new());
    let mut told: Vec<Told> = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..FAMILIES)
            .map(|family| {
                let (route, database, stop) = (&route, &database, &stop);
                let client =
                    Client { family, waits: family % 2 == 0, route, database, stop, seed: seed + family as u64 };
                scope.spawn(move || client.run())
            })
            .collect();
        let end = StopAtEnd(&stop);
        for round in 0..rounds {
            let how = draw(&mut left, &[Failover::Takeover, Failover::ByHand, Failover::Kill], &mut random);
            let slots = random.below(MASTERS);
            let old = if is_master(cluster.node(slots)) { slots } else { partner(slots) };
            let new = partner(old);
            let family = probe_at(&cluster, old);
            let before = marked::applied(&database).len();
            eventually("jobs are applied", || marked::applied(&database).len() > before + 100);
            let mut begun = Instant::now();
            match how {
                Failover::Kill => cluster.node_mut(old).kill9(),
                Failover::ByHand => begun = cluster.hand_over(new),
                Failover::Takeover => assert!(cluster.node(new).run("CLUSTER FAILOVER TAKEOVER").is_ok()),
            }
            let took = watch(cluster.node(new), family, &format!("probe{round}"), begun, &mut probes);
            println!("{how:?}: {took}");
            assert!(took.applied < Duration::from_secs(4), "it goes on by itself: {took:?}");
            if how == Failover::Kill {
                cluster.node_mut(old).start_again();
            }
            let port = cluster.node(new).port();
            eventually("the old master follows", || follows(cluster.node(old), port));
            if how != Failover::ByHand {
                losses.push((begun, Instant::now()));
            }
            cluster.wait_ready();
        }
        drop(end);
        clients.into_iter().map(|client| client.join().expect("a client does not fail")).collect()
    });
    let mut client = cluster.client();
    wait_drained(FAMILIES + PROBES, |line| client.run(line));
    told.push(probes);
    let lost = load::check(&database, &told, &losses);
    load::check_answers(&database, FAMILIES + PROBES, |line| client.run(line));
    for master in (0..2 * MASTERS).filter(|node| is_master(cluster.node(*node))) {
        let (master, replica) = (cluster.node(master), cluster.node(partner(master)));
        wait_for("both have the same", || {
            replica.wait_in_sync(master);
            (replica.run("DEBUG DIGEST") == master.run("DEBUG DIGEST")).then_some(())
        });
    }
    let sent: usize = told.iter().map(|told| told.sent.len()).sum();
    let (answers, settled) = told.iter().fold((0, 0), |sum, told| (sum.0 + told.answers, sum.1 + told.settled));
    println!("{rounds} failovers, seed {seed}: {sent} jobs sent, {lost} lost that no WAIT had confirmed; {answers} answers compared, {settled} claims settled");
    assert!(answers > 20 && settled > 20, "{answers} answers, {settled} claims");
}
