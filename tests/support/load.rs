//! Many commands over several connections at once: each connection is sent all of its share, then all is read.

use std::sync::atomic::{AtomicBool, Ordering};

use super::server::Redis;
use super::wire::{packed, Reply, Wire};

/// Tells threads to stop at its end, also where the test fails before.
pub struct StopAtEnd<'a>(pub &'a AtomicBool);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Connections of one burst. A command that waits holds up its own connection only.
const CONNECTIONS: usize = 32;

/// Runs all commands, spread over connections, and returns their replies in the order of the commands.
#[track_caller]
pub fn burst<L: AsRef<str>>(redis: &Redis, lines: &[L]) -> Vec<Reply> {
    let mut wires: Vec<Wire> = (0..CONNECTIONS).map(|_| redis.wire()).collect();
    for (number, wire) in wires.iter_mut().enumerate() {
        let mut bytes = Vec::new();
        for line in lines.iter().skip(number).step_by(CONNECTIONS) {
            bytes.extend(packed(&line.as_ref().split_ascii_whitespace().collect::<Vec<_>>()));
        }
        wire.send_bytes(&bytes);
    }
    (0..lines.len()).map(|index| wires[index % CONNECTIONS].receive()).collect()
}
