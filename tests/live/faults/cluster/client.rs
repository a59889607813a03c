//! A client of a cluster that goes on whatever happens: sent elsewhere it goes there, and where nobody answers it asks another node.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use crate::support::{Random, Reply, Wire};

/// How long an answer may take, BLOCK included.
const PATIENCE: Duration = Duration::from_secs(6);

/// Codes by which it asks again, perhaps elsewhere.
const AGAIN: [&str; 8] = ["MOVED", "ASK", "TRYAGAIN", "CLUSTERDOWN", "LOADING", "MASTERDOWN", "READONLY", "UNBLOCKED"];

pub struct Client {
    /// Of all nodes, by their ports.
    nodes: Vec<SocketAddr>,
    wires: BTreeMap<u16, Wire>,
    /// Which node has answered for a space last.
    known: BTreeMap<String, u16>,
    /// Connections that have broken.
    pub breaks: u64,
    random: Random,
}

pub struct Answer {
    pub reply: Reply,
    /// Of the node that has given it.
    pub port: u16,
}

impl Client {
    pub fn new(nodes: Vec<SocketAddr>, random: Random) -> Client {
        Client { nodes, wires: BTreeMap::new(), known: BTreeMap::new(), breaks: 0, random }
    }

    /// The answer about a space; None: nobody has given one until `deadline`. What was sent may have been done more than once.
    pub fn ask(&mut self, space: &str, words: &[&str], deadline: Instant) -> Option<Answer> {
        let mut port = self.known.get(space).copied();
        let mut is_asking = false;
        while Instant::now() < deadline {
            let at = port.take().unwrap_or_else(|| self.nodes[self.random.below(self.nodes.len())].port());
            let Ok(reply) = self.exchange(at, words, std::mem::take(&mut is_asking)) else {
                self.wires.remove(&at);
                self.breaks += 1;
                self.known.remove(space);
                thread::sleep(Duration::from_millis(5));
                continue;
            };
            let code = match &reply {
                Reply::Error(text) => {
                    text.split(' ').next().and_then(|code| AGAIN.into_iter().find(|known| *known == code))
                }
                _ => None,
            };
            let Some(code) = code else {
                self.known.insert(space.to_owned(), at);
                return Some(Answer { reply, port: at });
            };
            let to = reply.error().rsplit_once(':').and_then(|(_, port)| port.trim().parse().ok());
            match (code, to) {
                ("MOVED", Some(to)) => {
                    self.known.insert(space.to_owned(), to);
                    port = Some(to);
                }
                ("ASK", Some(to)) => (port, is_asking) = (Some(to), true),
                ("TRYAGAIN", _) => {
                    port = self.known.get(space).copied();
                    thread::sleep(Duration::from_millis(5));
                }
                _ => {
                    self.known.remove(space);
                    thread::sleep(Duration::from_millis(5));
                }
            }
        }
        None
    }

    /// How many replicas have what this client has written at the node, at least until it has waited so long.
    pub fn wait(&mut self, port: u16, limit: Duration) -> i64 {
        let words = ["WAIT", "1", &limit.as_millis().to_string()].map(str::to_owned);
        match self.exchange(port, &words.each_ref().map(String::as_str), false) {
            Ok(Reply::Int(count)) => count,
            _ => 0,
        }
    }

    fn exchange(&mut self, port: u16, words: &[&str], is_asking: bool) -> io::Result<Reply> {
        let broken = || io::Error::from(io::ErrorKind::BrokenPipe);
        if !self.wires.contains_key(&port) {
            let address = self.nodes.iter().find(|address| address.port() == port).ok_or_else(broken)?;
            let wire = Wire::try_connect_to(*address)?;
            wire.set_patience(PATIENCE);
            self.wires.insert(port, wire);
        }
        let wire = self.wires.get_mut(&port).ok_or_else(broken)?;
        if is_asking && !(wire.try_send(&["ASKING"]) && wire.try_receive()?.is_ok()) || !wire.try_send(words) {
            return Err(broken());
        }
        wire.try_receive()
    }
}
