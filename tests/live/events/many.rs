//! Many at once: a removal of a hundred thousand entries is one message, a batch of thousands of jobs is told in its order, and
//! Redis serves others meanwhile.

use super::listener::Listener;
use crate::support::{bears, burst, eventually, Command, Postgres, Redis, Reply};

const ITEMS: &str = r#"
[item]
id = "int"
ttl = "1h"
events = true
[[item.query]]
call = "of {n:int}"
sql = "SELECT 1 + {n} % 4 AS id, 1 + {n} % 4 AS _item"
"#;

/// How many entries. `BEAR_TEST_SWEEP=100000` (`make test-long`) is the number of the promise; it takes long.
fn entries() -> usize {
    std::env::var("BEAR_TEST_SWEEP").ok().and_then(|number| number.parse().ok()).unwrap_or(10_000)
}

#[test]
fn a_large_removal_is_one_message() {
    let database = Postgres::shared().database("CREATE TABLE item(id int)");
    database.log_errors_only();
    let redis = Redis::builder().postgres(&database).catalog(ITEMS).config("bear.query-timeout-ms", 60_000).start();
    let entries = entries();
    let lines: Vec<String> = (0..entries).map(|n| format!("BEAR.QUERY item of {n}")).collect();
    burst(&redis, &lines);
    redis.wait_stored();
    for (words, cause, pattern) in [
        ("ROW 1", r#""why":"row","of":"item","rows":["1"]"#, "item:*"),
        ("PATTERN of:?*", r#""why":"command""#, "item:of:?*"),
    ] {
        let mut told = Listener::new(redis.wire(), "SUBSCRIBE bear:events:item");
        let count = redis.run(&format!("BEAR.INVALIDATE item {words}")).int();
        assert!(count >= entries as i64 / 4, "{count}");
        let expected =
            format!(r#"{{"event":"invalidated","space":"item",{cause},"count":{count},"pattern":"{pattern}"}}"#);
        assert_eq!(told.timeless(), expected);
        told.assert_no_more();
    }
    eventually("nothing is left", || redis.run("EXISTS item:of:1 item:of:2") == Reply::Int(0));
}

#[test]
fn a_large_batch_is_told_in_its_order_while_others_are_served() {
    const JOBS: usize = 5_000;
    let database = bears::database();
    database.log_errors_only();
    let redis = Redis::builder()
        .postgres(&database)
        .append_only()
        .configs(&[("bear.events", "all"), ("bear.drain", "no"), ("bear.apply-batch-jobs", "10000")])
        .start();
    let mut wire = redis.wire();
    for n in 0..JOBS {
        wire.begin(&format!(r#"BEAR.ENQUEUE bear UPDATE_BEAR_SIZE {{"id":{},"size":{}}}"#, 1 + n % 8, 1 + n));
    }
    let ids: Vec<String> = (0..JOBS).map(|_| wire.receive().text()).collect();
    let mut told = Listener::new(redis.resp3_wire(), "SSUBSCRIBE bear:events:bear");
    assert!(wire.run("CONFIG SET bear.drain yes").is_ok());
    for id in &ids {
        let message = told.next();
        assert_eq!(
            (message["event"].as_str(), message["id"].as_str()),
            (Some("completed"), Some(&id[..])),
            "{message}"
        );
    }
    told.assert_no_more();
    let info = redis.info("bear");
    assert_eq!((info.int("bear_events_sent"), info.int("bear_events_waiting")), (2 * JOBS as i64, 0));
    let names: Vec<String> = redis.aof().iter().flatten().map(Command::name).collect();
    assert!(names.iter().all(|name| !name.contains("PUBLISH")), "nothing of it is in the AOF");
}
