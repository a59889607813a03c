//! Three masters with a replica each, and what is done to them.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rustix::process::{kill_process, Pid, Signal};

use super::load::Doubtful;
use super::model::TAGS;
use super::run::Run;
use crate::support::{wait_at_most, Cluster, Database, Network, Postgres, Random, Redis};

pub const MASTERS: usize = 3;

/// How long the cluster may take to be well again.
const PATIENCE: Duration = Duration::from_secs(40);

/// After which a node that does not answer is taken for gone by the others.
const NODE_TIMEOUT_MS: u64 = 1_000;

const CATALOG: &str = include_str!("catalog.toml");

/// What it is started on.
pub fn database() -> Database {
    Postgres::shared().database(include_str!("schema.sql"))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A master ends as by a crash; its replica takes over; it comes back.
    Kill,
    /// A replica is told to take over.
    HandOver,
    /// A slot goes to another master with all its keys, some at a time.
    Move,
    /// A master stands still until its replica has taken over, and goes on.
    Stall,
    /// No other node hears of a master any more, nor it of them; clients and Postgres do.
    Cut,
    /// The same of a replica.
    CutReplica,
}

pub const FAULTS: [Fault; 6] =
    [Fault::Move, Fault::Kill, Fault::Move, Fault::HandOver, Fault::Stall, Fault::CutReplica];

/// Also where nodes have networks that can be cut.
pub const FAULTS_OF_NETWORK: [Fault; 7] =
    [Fault::Move, Fault::Cut, Fault::Kill, Fault::HandOver, Fault::Move, Fault::Stall, Fault::CutReplica];

pub struct Site {
    /// Dropped before its network.
    pub cluster: Cluster,
    network: Option<Network>,
    /// How long it took from the fault until somebody else was the master.
    pub takeovers: Vec<Duration>,
    /// How long a master that hears of no other has not noticed.
    pub answered_alone: Vec<Duration>,
}

impl Site {
    pub fn start(database: &Database, mutation: Option<&str>) -> Site {
        let network = match Network::try_new(2 * MASTERS) {
            Ok(network) => Some(network),
            Err(reason) => {
                eprintln!("no node is cut off from others: {reason}");
                None
            }
        };
        let build = |place: usize| {
            // Postgres is reached by a socket in the file system, whatever happens to networks.
            let mut builder =
                Redis::builder().catalog(CATALOG).append_only().env("BEAR_POSTGRES_URL", database.local_url());
            if let Some(network) = &network {
                builder = builder.at(network.place(place));
            }
            if let Some(mutation) = mutation {
                builder = builder.env("BEAR_MUTATION", mutation);
            }
            builder.configs(&[
                ("cluster-require-full-coverage", "no"),
                ("cluster-replica-validity-factor", "0"),
                ("cluster-allow-replica-migration", "no"),
            ])
        };
        let mut cluster = Cluster::start(MASTERS, build);
        for place in MASTERS..2 * MASTERS {
            cluster.add(build(place));
        }
        cluster.meet();
        for master in 0..MASTERS {
            cluster.replicate(MASTERS + master, master);
        }
        for node in 0..cluster.len() {
            let set = format!("CONFIG SET cluster-node-timeout {NODE_TIMEOUT_MS}");
            assert!(cluster.node(node).run(&set).is_ok());
        }
        let site = Site { cluster, network, takeovers: Vec::new(), answered_alone: Vec::new() };
        site.wait_well();
        site
    }

    pub fn faults(&self) -> &'static [Fault] {
        match self.network {
            Some(_) => &FAULTS_OF_NETWORK,
            None => &FAULTS,
        }
    }

    pub fn addresses(&self) -> Vec<SocketAddr> {
        (0..self.cluster.len()).map(|node| self.cluster.node(node).address()).collect()
    }

    pub fn strike(&mut self, fault: Fault, run: &Run, doubtful: &Doubtful, random: &mut Random) {
        let shard = random.below(MASTERS);
        let (master, replica) = self.roles(shard);
        run.event(&format!("{fault:?} of node {master}, whose replica is node {replica}"));
        let begun = Instant::now();
        match fault {
            Fault::Kill => {
                self.cluster.node_mut(master).kill9();
                self.wait_taken_over(replica, begun);
                self.cluster.node_mut(master).start_again();
            }
            Fault::HandOver => {
                let begun = self.cluster.hand_over(replica);
                self.wait_taken_over(replica, begun);
            }
            Fault::Move => self.move_one(random),
            Fault::Stall => {
                doubtful.set(master, true);
                let pid = Pid::from_raw(self.cluster.node(master).pid() as i32).expect("a process has a number");
                kill_process(pid, Signal::STOP).expect("a child of this process");
                self.wait_taken_over(replica, begun);
                kill_process(pid, Signal::CONT).expect("a child of this process");
            }
            Fault::Cut => {
                doubtful.set(master, true);
                self.cut_master(master, replica, begun);
            }
            Fault::CutReplica => {
                if let Some(network) = &self.network {
                    network.cut(replica);
                    std::thread::sleep(Duration::from_millis(random.below(1_500) as u64));
                    network.join(replica);
                }
            }
        }
        self.wait_well();
        (0..self.cluster.len()).for_each(|node| doubtful.set(node, false));
        run.event("all is well again");
    }

    fn cut_master(&mut self, master: usize, replica: usize, begun: Instant) {
        let Some(network) = &self.network else { return };
        network.cut(master);
        let (mut taken, mut alone) = (None, None);
        let both = wait_at_most(PATIENCE, || {
            taken = taken.or_else(|| self.is_master(replica).then(|| begun.elapsed()));
            alone = alone.or_else(|| {
                // Of whichever slot: a node that takes itself for cut off says so of each.
                let reply = self.cluster.node(master).run("BEAR.QUERY item all");
                (reply.is_error() && reply.error().starts_with("CLUSTERDOWN")).then(|| begun.elapsed())
            });
            taken.zip(alone)
        });
        network.join(master);
        let (taken, alone) = both.expect("its replica takes over, and it answers no more");
        self.takeovers.push(taken);
        self.answered_alone.push(alone);
    }

    fn move_one(&self, random: &mut Random) {
        let slot = self.cluster.slot(TAGS[random.below(TAGS.len())]);
        let from = self.cluster.owner(slot).expect("an owner");
        let others: Vec<usize> = (0..MASTERS).map(|shard| self.roles(shard).0).filter(|node| *node != from).collect();
        let to = others[random.below(others.len())];
        self.cluster.begin_move(slot, from, to);
        while self.cluster.move_keys(slot, from, to, 1 + random.below(5)) > 0 {}
        self.cluster.end_move(slot, from, to);
    }

    /// Of the two nodes of a shard, the master and the replica.
    fn roles(&self, shard: usize) -> (usize, usize) {
        match self.is_master(shard) {
            true => (shard, shard + MASTERS),
            false => (shard + MASTERS, shard),
        }
    }

    fn is_master(&self, node: usize) -> bool {
        self.cluster.node(node).info("replication").get("role") == Some("master")
    }

    fn wait_taken_over(&mut self, replica: usize, begun: Instant) {
        let taken = wait_at_most(PATIENCE, || self.is_master(replica).then(|| begun.elapsed()));
        self.takeovers.push(taken.unwrap_or_else(|| panic!("node {replica} has not taken over in {PATIENCE:?}")));
    }

    /// Each shard has one master, and its replica all that it has.
    fn wait_well(&self) {
        let is_well = || {
            (0..MASTERS).all(|shard| {
                let (master, replica) = self.roles(shard);
                let replication = self.cluster.node(replica).info("replication");
                self.is_master(master)
                    && !self.is_master(replica)
                    && replication.get("master_link_status") == Some("up")
                    && replication.get("master_port") == Some(&self.cluster.node(master).port().to_string())
            }) && (0..self.cluster.len()).all(|node| {
                let info = self.cluster.node(node).run("CLUSTER INFO").text();
                let nodes = self.cluster.node(node).run("CLUSTER NODES").text();
                info.contains("cluster_state:ok") && !nodes.contains("fail")
            })
        };
        let well = wait_at_most(PATIENCE, || is_well().then_some(()));
        assert!(well.is_some(), "the cluster is not well: {}", self.cluster.node(0).run("CLUSTER NODES").text());
    }

    /// Answers from the cache, of all nodes as they run now.
    pub fn hits(&self) -> i64 {
        (0..self.cluster.len()).map(|node| self.cluster.node(node).info("bear").int("bear_hits")).sum()
    }

    /// All jobs of all spaces have settled.
    pub fn wait_settled(&self) {
        let mut client = super::client::Client::new(self.addresses(), Random::new(1));
        let spaces = ["item", "{shop}:shelf", "{shop}:book", "rate", "{1}:purchase", "{2}:purchase"];
        for space in spaces {
            let settled = wait_at_most(PATIENCE, || {
                let stats = client.ask(space, &["BEAR.STATS", space], Instant::now() + PATIENCE)?.reply.map();
                ["waiting", "active", "delayed"].iter().all(|state| stats[*state].int() == 0).then_some(())
            });
            assert!(settled.is_some(), "jobs of {space} have not settled");
        }
    }
}
