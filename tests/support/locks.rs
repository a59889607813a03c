//! Locks and limits: taking them, giving them back, asking.

use super::server::Redis;
use super::wire::{Reply, Wire};

/// BEAR.LOCK with these words; the token.
#[track_caller]
pub fn lock(wire: &mut Wire, words: &str) -> u64 {
    let reply = wire.run(&format!("BEAR.LOCK {words}"));
    token(&reply)
}

#[track_caller]
pub fn token(reply: &Reply) -> u64 {
    match reply {
        Reply::Int(token) if *token > 0 => *token as u64,
        other => panic!("a token was expected, got {other:?}"),
    }
}

/// A client that waits; `already`: how many do so.
#[track_caller]
pub fn lock_waiter(redis: &Redis, words: &str, already: i64) -> Wire {
    let mut wire = redis.wire();
    wire.begin(&format!("BEAR.LOCK {words}"));
    redis.wait_blocked(already + 1);
    wire
}

/// The five numbers of BEAR.LIMIT with these words.
#[track_caller]
pub fn limit(wire: &mut Wire, words: &str) -> [i64; 5] {
    let reply = wire.run(&format!("BEAR.LIMIT {words}"));
    assert!(!reply.is_error(), "{words}: {reply:?}");
    let numbers: Vec<i64> = reply.list().iter().map(Reply::int).collect();
    numbers.try_into().expect("five numbers")
}
