//! What a replica receives: a connection that asks a master for its stream as a replica does, and reads it.

use std::io::{BufRead, Read};

use super::aof::{units, Command, Unit};
use super::wire::{read_reply, Wire};

pub struct ReplicationStream {
    wire: Wire,
    markers: u32,
    port: u16,
}

impl ReplicationStream {
    /// Attaches to the master at `port` and reads past the snapshot: only what happens from now on is seen.
    pub fn attach(port: u16) -> ReplicationStream {
        let mut wire = Wire::connect(port);
        assert!(wire.run("REPLCONF listening-port 1").is_ok());
        assert!(wire.run("REPLCONF capa psync2").is_ok());
        let answer = wire.run("PSYNC ? -1").text();
        assert!(answer.starts_with("FULLRESYNC"), "{answer}");
        skip_snapshot(wire.reader());
        ReplicationStream { wire, markers: 0, port }
    }

    /// The units that the master has sent since the last look, all that was done before this call included.
    #[track_caller]
    pub fn units(&mut self) -> Vec<Unit> {
        self.markers += 1;
        let marker = format!("replication-stream-marker-{}", self.markers);
        assert!(Wire::connect(self.port).call(&["PUBLISH", &marker, ""]) == super::Reply::Int(0));
        let mut commands = Vec::new();
        loop {
            let reply = read_reply(self.wire.reader()).expect("the master's stream");
            let command = Command::from_reply(reply).expect("a command");
            match command.name().as_str() {
                "PUBLISH" if command.text(1) == marker => return units(commands),
                "PING" | "REPLCONF" | "PUBLISH" | "SPUBLISH" => {}
                _ => commands.push(command),
            }
        }
    }
}

/// `$<length>` and as many bytes, after empty lines that keep the link alive meanwhile.
fn skip_snapshot(reader: &mut impl BufRead) {
    let mut line = String::new();
    while line.trim().is_empty() {
        line.clear();
        assert!(reader.read_line(&mut line).expect("the master's answer") > 0, "the master hung up");
    }
    let length: u64 = line.trim().trim_start_matches('$').parse().expect("the snapshot's length");
    let read = std::io::copy(&mut reader.take(length), &mut std::io::sink()).expect("the snapshot");
    assert_eq!(read, length);
}
