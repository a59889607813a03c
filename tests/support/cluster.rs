//! A Redis Cluster of several nodes on this machine, each with its folder; slots that move; a client that goes where it is sent.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::process::free_port;
use super::server::{Builder, Redis};
use super::wait::{eventually, wait_at_most, wait_for, PATIENCE};
use super::wire::{Reply, Wire};

/// Slots of a cluster.
const SLOTS: usize = 16_384;

pub struct Cluster {
    nodes: Vec<Redis>,
    ids: Vec<String>,
}

impl Cluster {
    /// So many masters, which share the slots evenly; `build` says what is special about each.
    #[track_caller]
    pub fn start(masters: usize, build: impl Fn(usize) -> Builder) -> Cluster {
        let mut cluster = Cluster { nodes: Vec::new(), ids: Vec::new() };
        for index in 0..masters {
            cluster.add(build(index));
            let (first, last) = (index * SLOTS / masters, (index + 1) * SLOTS / masters - 1);
            assert!(cluster.node(index).run(&format!("CLUSTER ADDSLOTSRANGE {first} {last}")).is_ok());
            // No two of them at one epoch: else they would have to find that out by themselves first.
            assert!(cluster.node(index).run(&format!("CLUSTER SET-CONFIG-EPOCH {}", index + 1)).is_ok());
        }
        cluster.meet();
        cluster
    }

    /// Starts one more node, which has no slot; `meet` follows.
    #[track_caller]
    pub fn add(&mut self, builder: Builder) -> usize {
        let node = builder
            .config("cluster-enabled", "yes")
            // By itself it takes the port plus 10000, which not every free port leaves room for.
            .config("cluster-port", free_port())
            .config("cluster-node-timeout", "2000")
            .start();
        self.ids.push(node.run("CLUSTER MYID").text());
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    /// Has all nodes know each other, and waits until each finds that all is well.
    #[track_caller]
    pub fn meet(&self) {
        for node in &self.nodes[1..] {
            let first = self.node(0);
            let bus = first.config("cluster-port");
            assert!(node.run(&format!("CLUSTER MEET {} {} {bus}", first.host(), first.port())).is_ok());
        }
        self.wait_ready();
    }

    /// Makes a node the replica of another one.
    #[track_caller]
    pub fn replicate(&self, replica: usize, master: usize) {
        eventually("the replica knows its master", || {
            self.node(replica).run(&format!("CLUSTER REPLICATE {}", self.ids[master])).is_ok()
        });
        eventually("it is in sync", || self.node(replica).info("replication").get("master_link_status") == Some("up"));
    }

    #[track_caller]
    pub fn wait_ready(&self) {
        for node in &self.nodes {
            eventually("the cluster is ready", || {
                let info = node.run("CLUSTER INFO").text();
                info.contains("cluster_state:ok")
                    && info.contains(&format!("cluster_known_nodes:{}\r\n", self.nodes.len()))
                    && info.contains("cluster_slots_assigned:16384")
            });
        }
    }

    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    pub fn node(&self, index: usize) -> &Redis {
        &self.nodes[index]
    }

    pub fn node_mut(&mut self, index: usize) -> &mut Redis {
        &mut self.nodes[index]
    }

    pub fn id(&self, index: usize) -> &str {
        &self.ids[index]
    }

    /// The slot of a key.
    #[track_caller]
    pub fn slot(&self, key: &str) -> u16 {
        u16::try_from(self.node(0).run(&format!("CLUSTER KEYSLOT {key}")).int()).expect("a slot")
    }

    /// Which node says that a slot is its own.
    pub fn owner(&self, slot: u16) -> Option<usize> {
        (0..self.len()).find(|index| owns(self.node(*index), slot))
    }

    /// Keys of a slot that a node has.
    #[track_caller]
    pub fn keys_in(&self, index: usize, slot: u16) -> Vec<String> {
        self.node(index).run(&format!("CLUSTER GETKEYSINSLOT {slot} 100000")).sorted_texts()
    }

    /// A slot begins to move: the one node imports, the other sends away who asks for what it has not.
    #[track_caller]
    pub fn begin_move(&self, slot: u16, from: usize, to: usize) {
        let importing = format!("CLUSTER SETSLOT {slot} IMPORTING {}", self.ids[from]);
        assert!(self.node(to).run(&importing).is_ok(), "{importing}");
        let migrating = format!("CLUSTER SETSLOT {slot} MIGRATING {}", self.ids[to]);
        assert!(self.node(from).run(&migrating).is_ok(), "{migrating}");
    }

    /// Moves so many keys, if there are; returns how many there were.
    #[track_caller]
    pub fn move_keys(&self, slot: u16, from: usize, to: usize, count: usize) -> usize {
        let mut wire = self.node(from).wire();
        let keys = wire.run(&format!("CLUSTER GETKEYSINSLOT {slot} {count}")).sorted_texts();
        if !keys.is_empty() {
            let port = self.node(to).port().to_string();
            let host = self.node(to).host().to_string();
            let mut words = vec!["MIGRATE", &host, &port, "", "0", "5000", "KEYS"];
            words.extend(keys.iter().map(String::as_str));
            let reply = wire.call(&words);
            // What has gone by its TTL meanwhile is `NOKEY`.
            assert!(!reply.is_error(), "{words:?}: {reply:?}");
        }
        keys.len()
    }

    /// The slot is the other's, as `redis-cli --cluster reshard` says it: to the one that has the keys first.
    #[track_caller]
    pub fn end_move(&self, slot: u16, from: usize, to: usize) {
        let others = (0..self.len()).filter(|index| *index != from && *index != to);
        for index in [to, from].into_iter().chain(others) {
            let reply = self.node(index).run(&format!("CLUSTER SETSLOT {slot} NODE {}", self.ids[to]));
            // A replica hears of it from its master.
            assert!(reply.is_ok() || reply.error().contains("only with masters"), "{reply:?}");
        }
    }

    /// Moves a slot with all its keys, some at a time.
    #[track_caller]
    pub fn move_slot(&self, slot: u16, from: usize, to: usize) {
        self.begin_move(slot, from, to);
        while self.move_keys(slot, from, to, 10) > 0 {}
        self.end_move(slot, from, to);
    }

    /// Do the nodes move slots as a whole?
    pub fn migrates_slots(&self) -> bool {
        let help = self.node(0).run("CLUSTER HELP");
        let has = help.list().iter().any(|line| line.text().starts_with("MIGRATESLOTS"));
        if !has {
            println!("skipped: this server knows no CLUSTER MIGRATESLOTS");
        }
        has
    }

    /// Begins to move a slot as a whole.
    #[track_caller]
    pub fn begin_migration(&self, slot: u16, from: usize, to: usize) {
        let line = format!("CLUSTER MIGRATESLOTS SLOTSRANGE {slot} {slot} NODE {}", self.ids[to]);
        // The last one may not be over for this node.
        eventually("a migration begins", || self.node(from).run(&line).is_ok());
    }

    /// Moves a slot as a whole, and waits until all nodes say whose it is.
    #[track_caller]
    pub fn migrate_slot(&self, slot: u16, from: usize, to: usize) {
        self.begin_migration(slot, from, to);
        eventually("the slot is the other's", || {
            let state = self.node(from).run("CLUSTER GETSLOTMIGRATIONS").list()[0].map()["state"].text();
            assert!(!["failed", "cancelled"].contains(&&*state), "{state}");
            state == "success" && (0..self.len()).all(|index| owns(self.node(index), slot) == (index == to))
        });
    }

    /// Has a replica take over from its master; when it was told so. It is told again where nothing has come of it: what it says to its
    /// master may get lost, and both give up after five seconds.
    #[track_caller]
    pub fn hand_over(&self, replica: usize) -> Instant {
        const GIVEN_UP: Duration = Duration::from_secs(6);
        let node = self.node(replica);
        wait_for("the replica takes over", || {
            let begun = Instant::now();
            assert!(node.run("CLUSTER FAILOVER").is_ok());
            let is_master = || (node.info("replication").get("role") == Some("master")).then_some(begun);
            wait_at_most(GIVEN_UP, is_master)
        })
    }

    /// A client that knows the nodes, and goes where it is sent.
    pub fn client(&self) -> ClusterClient {
        ClusterClient { ports: self.nodes.iter().map(Redis::port).collect(), ..ClusterClient::default() }
    }
}

/// Does a node say that the slot is its own?
fn owns(node: &Redis, slot: u16) -> bool {
    let nodes = node.run("CLUSTER NODES").text();
    let Some(line) = nodes.lines().find(|line| line.contains("myself")) else { return false };
    line.split(' ').skip(8).filter(|range| !range.starts_with('[')).any(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        first.parse().is_ok_and(|first: u16| first <= slot) && last.parse().is_ok_and(|last: u16| slot <= last)
    })
}

/// Goes by MOVED, ASK, TRYAGAIN and CLUSTERDOWN as cluster clients do, for as long as a test is patient.
#[derive(Default)]
pub struct ClusterClient {
    ports: Vec<u16>,
    wires: BTreeMap<u16, Wire>,
    /// Where commands with this second word were sent with success.
    known: BTreeMap<Vec<u8>, u16>,
    /// How often it was sent elsewhere, by the code.
    pub sent_on: BTreeMap<&'static str, usize>,
    /// How long the longest command took, with all that.
    pub longest: Duration,
}

const CODES: [&str; 4] = ["MOVED", "ASK", "TRYAGAIN", "CLUSTERDOWN"];

impl ClusterClient {
    /// The words of a line, about the space or key that its second word names.
    #[track_caller]
    pub fn run(&mut self, line: &str) -> Reply {
        self.call(&line.split(' ').collect::<Vec<_>>())
    }

    #[track_caller]
    pub fn call<A: AsRef<[u8]>>(&mut self, words: &[A]) -> Reply {
        let key = words[1].as_ref().to_vec();
        let begun = Instant::now();
        let mut port = self.known.get(&key).copied().unwrap_or(self.ports[0]);
        let mut is_asking = false;
        loop {
            let wire = self.wires.entry(port).or_insert_with(|| Wire::connect(port));
            if std::mem::take(&mut is_asking) {
                wire.send(&["ASKING"]);
                wire.send(words);
                assert!(wire.receive().is_ok());
            } else {
                wire.send(words);
            }
            let reply = wire.receive();
            let code = if let Reply::Error(text) = &reply { text.split(' ').next() } else { None };
            let Some(code) = code.and_then(|code| CODES.into_iter().find(|known| *known == code)) else {
                self.longest = self.longest.max(begun.elapsed());
                return reply;
            };
            assert!(begun.elapsed() < PATIENCE, "{:?} is still told {reply:?}", String::from_utf8_lossy(&key));
            *self.sent_on.entry(code).or_default() += 1;
            let to = reply.error().rsplit_once(':').and_then(|(_, port)| port.trim().parse().ok());
            match (code, to) {
                ("MOVED", Some(to)) => {
                    self.known.insert(key.clone(), to);
                    port = to;
                }
                ("ASK", Some(to)) => (port, is_asking) = (to, true),
                _ => {
                    port = self.known.get(&key).copied().unwrap_or(self.ports[0]);
                    std::thread::sleep(Duration::from_millis(5));
                }
            }
        }
    }
}
