//! The servers that the clients are tried on: one, or a cluster of two nodes, with sections on both. What was sent to the wrong one is
//! counted by Redis, as MOVED.

use crate::support::info::Info;
use crate::support::markdown::root;
use crate::support::process::free_port;
use crate::support::server::Builder;
use crate::support::{eventually, Database, Postgres, Redis, Wire};

pub struct Site {
    nodes: Vec<Redis>,
    /// Of a cluster: the last slot of the first node.
    last_slot: i64,
    _database: Database,
}

const SECTIONS: [&str; 3] = ["shop", "page", "mail"];

fn file(name: &str) -> String {
    std::fs::read_to_string(root().join("tests/clients").join(name)).expect("a file of the matrix")
}

fn node(database: &Database) -> Builder {
    Redis::builder().postgres(database).catalog(file("catalog.toml")).append_only().config("bear.feed", "off")
}

impl Site {
    pub fn one() -> Site {
        let database = Postgres::shared().database(&file("schema.sql"));
        let redis = node(&database).start();
        Site { nodes: vec![redis], last_slot: 16_383, _database: database }.checked()
    }

    pub fn cluster() -> Site {
        let database = Postgres::shared().database(&file("schema.sql"));
        let buses = [free_port(), free_port()];
        let nodes =
            buses.map(|bus| node(&database).config("cluster-enabled", "yes").config("cluster-port", bus).start());
        let mut slots = SECTIONS.map(|section| nodes[0].run(&format!("CLUSTER KEYSLOT {section}")).int());
        slots.sort_unstable();
        let last_slot = slots[1];
        for (node, range) in nodes.iter().zip([format!("0 {last_slot}"), format!("{} 16383", last_slot + 1)]) {
            assert!(node.run(&format!("CLUSTER ADDSLOTSRANGE {range}")).is_ok());
        }
        assert!(nodes[0].run(&format!("CLUSTER MEET 127.0.0.1 {} {}", nodes[1].port(), buses[1])).is_ok());
        for node in &nodes {
            eventually("the cluster is ready", || {
                let info = node.run("CLUSTER INFO").text();
                info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:2")
            });
        }
        Site { nodes: nodes.into(), last_slot, _database: database }.checked()
    }

    /// Postgres has seen the statements.
    fn checked(self) -> Site {
        for node in &self.nodes {
            eventually("the catalog is checked", || node.run("BEAR.CATALOG").map()["checked"].text() == "yes");
        }
        self
    }

    pub fn port(&self) -> u16 {
        self.nodes[0].port()
    }

    pub fn wire(&self) -> Wire {
        self.nodes[0].wire()
    }

    /// To the node that has the space.
    pub fn wire_to(&self, space: &[u8]) -> Wire {
        self.nodes[self.place_of(space)].wire()
    }

    fn place_of(&self, space: &[u8]) -> usize {
        if self.nodes.len() == 1 {
            return 0;
        }
        usize::from(self.wire().call(&[b"CLUSTER", b"KEYSLOT", space]).int() > self.last_slot)
    }

    pub fn wait_blocked(&self) {
        let blocked = |node: &Redis| Info::parse(&node.run("INFO clients").text()).int("blocked_clients");
        eventually("the client waits", || self.nodes.iter().map(blocked).sum::<i64>() == 1);
    }

    pub fn wait_stored(&self) {
        self.nodes.iter().for_each(Redis::wait_stored);
    }

    /// No client has asked the wrong node.
    pub fn was_never_asked_in_vain(&self) {
        for node in &self.nodes {
            let errors = node.run("INFO errorstats").text();
            assert!(!errors.contains("MOVED"), "{errors}");
        }
    }
}
