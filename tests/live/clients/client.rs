//! What a client does for a case, and the wire itself.

use super::site::Site;
use crate::support::{Reply, Wire};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    Resp2,
    Resp3,
}

impl Protocol {
    pub fn number(self) -> u8 {
        match self {
            Protocol::Resp2 => 2,
            Protocol::Resp3 => 3,
        }
    }
}

pub trait Client {
    fn name(&self) -> String;
    fn protocol(&self) -> Protocol;
    /// Sends a command.
    fn begin(&mut self, words: &[Vec<u8>]);
    /// What the client made of its reply.
    fn finish(&mut self) -> Reply;
}

/// No client between.
pub struct Raw {
    wire: Wire,
    protocol: Protocol,
}

impl Raw {
    pub fn new(site: &Site, protocol: Protocol) -> Raw {
        let mut wire = site.wire();
        if protocol == Protocol::Resp3 {
            wire.run("HELLO 3");
        }
        Raw { wire, protocol }
    }
}

impl Client for Raw {
    fn name(&self) -> String {
        format!("the wire {}", self.protocol.number())
    }

    fn protocol(&self) -> Protocol {
        self.protocol
    }

    fn begin(&mut self, words: &[Vec<u8>]) {
        self.wire.send(words);
    }

    fn finish(&mut self) -> Reply {
        self.wire.receive()
    }
}
