//! What bear is compared with when it invalidates: a server without it, keys and sets made by hand, and one Lua script
//! that removes what a set names.

use crate::support::{Redis, Wire};

/// Keys of one UNLINK at most: what `unpack` puts on Lua's stack.
const CHUNK: usize = 7_000;

/// Commands sent before their replies are read.
const PIPELINE: usize = 1_000;

/// As long as an entry's, whatever its TTL.
const LIFE_MS: &str = "300000";

pub struct ByHand {
    redis: Redis,
    wire: Wire,
    script: String,
}

impl ByHand {
    pub fn start() -> ByHand {
        let redis = Redis::builder().plain().start();
        let mut wire = redis.wire();
        let text = format!(
            "local keys = redis.call('SMEMBERS', KEYS[1])
             local gone = 0
             for at = 1, #keys, {CHUNK} do
                 gone = gone + redis.call('UNLINK', unpack(keys, at, math.min(at + {CHUNK} - 1, #keys)))
             end
             redis.call('UNLINK', KEYS[1])
             return gone"
        );
        let script = wire.call(&["SCRIPT", "LOAD", &text]).text();
        ByHand { redis, wire, script }
    }

    pub fn redis(&self) -> &Redis {
        &self.redis
    }

    /// Makes these keys, with a value and a TTL each, and each a member of these sets. Other keys are gone before.
    pub fn fill(&mut self, keys: &[String], value: &str, sets: &[&str]) {
        assert!(self.wire.run("FLUSHALL SYNC").is_ok());
        for keys in keys.chunks(PIPELINE) {
            for key in keys {
                self.wire.send(&["SET", key, value, "PX", LIFE_MS]);
            }
            for set in sets {
                let add = ["SADD", set].into_iter().chain(keys.iter().map(String::as_str)).collect::<Vec<_>>();
                self.wire.send(&add);
            }
            for _ in 0..keys.len() + sets.len() {
                assert!(!self.wire.receive().is_error());
            }
        }
    }

    /// Runs the script: removes the keys in this set, and the set. How many keys are gone.
    pub fn remove(&mut self, set: &str) -> i64 {
        self.wire.call(&["EVALSHA", &self.script, "1", set]).int()
    }
}
