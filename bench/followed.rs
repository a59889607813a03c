//! Servers whose change feed follows: what the parts `feed` and `freshness` measure on.

use std::time::Instant;

use crate::queue::set;
use crate::setup::{bear, CATALOG};
use crate::support::{eventually, Database, Redis, Wire};

/// How Redis hears of changes: a value of `bear.feed`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Feed {
    Off,
    Wal,
    Outbox,
}

impl Feed {
    pub fn name(self) -> &'static str {
        match self {
            Feed::Off => "off",
            Feed::Wal => "wal",
            Feed::Outbox => "outbox",
        }
    }
}

/// Whether this module knows such a feed at all.
pub fn is_known(feed: Feed) -> bool {
    let redis = Redis::builder().catalog(CATALOG).start();
    redis.wire().call(&["CONFIG", "SET", "bear.feed", feed.name()]).is_ok()
}

/// Calls `run` with a new Redis whose feed follows this database. At the end nothing is left of the feed's slot.
pub fn with_redis<T>(database: &Database, feed: Feed, run: impl FnOnce(&Redis) -> T) -> T {
    let redis = Redis::builder().postgres(database).catalog(CATALOG).config("bear.feed", feed.name()).start();
    redis.wire().call(&["BEAR.QUERY", "color", "all"]).bulk();
    let begun = Instant::now();
    if feed != Feed::Off {
        eventually("the feed follows", || has_told(&redis, begun));
    }
    let result = run(&redis);
    end(&redis, database);
    drop(redis);
    result
}

/// Ends the feed; nothing is left of its slot then.
pub fn end(redis: &Redis, database: &Database) {
    set(&mut redis.wire(), "bear.feed", Feed::Off.name());
    let mut client = database.client();
    eventually("the slot is gone", || {
        client.query("SELECT FROM pg_replication_slots", &[]).expect("pg_replication_slots").is_empty()
    });
}

/// Has everything been told that was committed before this moment?
pub fn has_told(redis: &Redis, before: Instant) -> bool {
    let elapsed_ms = before.elapsed().as_millis() as i64;
    let info = redis.info("bear");
    info.text("bear_feed_state") == "following"
        && bear(&info, "feed_behind") == 0
        && bear(&info, "feed_told_ms") < elapsed_ms
}

pub fn is_cached(wire: &mut Wire, call: &[String]) -> bool {
    let cached = [&call[..2], &["CACHED".to_owned()], &call[2..]].concat();
    !wire.call(&cached).is_nil()
}
