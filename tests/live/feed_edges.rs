//! The change feed at its edges: columns whose text is spelled in two ways, sections that only list the covered ones, a URL
//! that leads elsewhere, an unload.

use crate::support::server::module_path;
use crate::support::{bears, eventually, Database, Postgres, Redis, Wire};

/// Codes of items are the rows' ids.
const CATALOG: &str = r#"
[item]
id = "text"
tables = { item = "code" }
row = "SELECT code AS id, size FROM item WHERE code::text = ANY({ids})"
[[item.query]]
call = "all"
match = "size > 100"
sql = "SELECT code AS id, size FROM item ORDER BY code"
[item.job.GROW]
data = { id = "text" }
sql = "UPDATE item SET size = size + 1 FROM {jobs} job WHERE item.code::text = job.id RETURNING job.n, item.code AS id"
"#;

fn start(database: &Database, feed: &str) -> Redis {
    Redis::builder().postgres(database).catalog(CATALOG).config("bear.feed", feed).start()
}

/// Until all that has been committed by now has been told.
fn wait_told(redis: &Redis) {
    eventually("the feed follows", || redis.info("bear").text("bear_feed_state") == "following");
    let begun = std::time::Instant::now();
    eventually("the feed has told what was committed", || {
        redis.info("bear").int("bear_feed_told_ms") < begun.elapsed().as_millis() as i64
    });
}

fn is_cached(wire: &mut Wire, call: &str) -> bool {
    let (space, call) = call.split_once(' ').expect("space and call");
    !wire.run(&format!("BEAR.QUERY {space} CACHED {call}")).is_nil()
}

fn store(redis: &Redis, wire: &mut Wire, call: &str) {
    assert!(!wire.run(&format!("BEAR.QUERY {call}")).is_error());
    redis.wait_stored();
    assert!(is_cached(wire, call));
}

#[test]
fn the_module_can_be_unloaded_while_it_follows() {
    let database = bears::database_in(Postgres::shared_logical());
    let redis = Redis::builder().postgres(&database).start();
    for _ in 0..2 {
        wait_told(&redis);
        redis.wire().run("BEAR.QUERY bear size 100 200");
        redis.wait_stored();
        eventually("the module is unloaded", || redis.run("MODULE UNLOAD bear").is_ok());
        let path = module_path().to_string_lossy().into_owned();
        assert!(redis.wire().call(&["MODULE", "LOAD", &path]).is_ok());
    }
}
