//! The change feed as a test waits for it: what has been committed has been told, and what is cached then.

use super::{eventually, Redis, Wire};

/// Until all that has been committed by now has been told.
pub fn wait_told(redis: &Redis) {
    eventually("the feed follows", || redis.info("bear").text("bear_feed_state") == "following");
    let begun = std::time::Instant::now();
    eventually("the feed has told what was committed", || {
        // Looked at before it is asked: the answer may be long in coming.
        let since = begun.elapsed().as_millis() as i64;
        redis.info("bear").int("bear_feed_told_ms") < since
    });
}

/// Is the call answered without Postgres? Its first word is the space.
pub fn is_cached(wire: &mut Wire, call: &str) -> bool {
    let (space, call) = call.split_once(' ').expect("space and call");
    !wire.run(&format!("BEAR.QUERY {space} CACHED {call}")).is_nil()
}
