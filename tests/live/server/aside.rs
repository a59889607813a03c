//! What is done aside, by `bear-clerk`, may panic: who waits for it is told, and others go on.

use crate::support::{one_client, Redis, Reply, Wire};

fn start(mutation: &str) -> (crate::support::Database, Redis) {
    one_client::start_with(|builder| builder.env("BEAR_MUTATION", mutation))
}

#[track_caller]
fn assert_goes_on(redis: &Redis, wire: &mut Wire) {
    assert_eq!(wire.run("PING"), Reply::Simple("PONG".into()));
    redis.wait_blocked(0);
}

fn enqueue(wire: &mut Wire) -> Reply {
    let data = format!(r#"{{"id":1,"text":"{}"}}"#, "x".repeat(100_000));
    wire.call(&["BEAR.ENQUEUE", "thing", "FAIL", &data])
}

#[test]
fn who_waits_for_something_done_aside_that_panics_is_told() {
    let (_database, redis) = start("panic-aside");
    let mut wire = redis.wire();
    for _ in 0..2 {
        let reply = wire.run("BEAR.QUERY thing FRESH text 3000000");
        assert_eq!(reply.error(), "ERR internal error of bear: see the server's log");
        assert_goes_on(&redis, &mut wire);
        // The second begins after the first has ended.
        let reply = wire.run("BEAR.RELOAD");
        assert!(reply.error().starts_with("ERR nothing is changed: ") && reply.error().contains("internal error"));
        assert_goes_on(&redis, &mut wire);
        let reply = enqueue(&mut wire);
        assert!(reply.error().starts_with("ERR the job is not enqueued: internal error"), "{reply:?}");
        assert_goes_on(&redis, &mut wire);
    }
    assert_eq!(wire.run("EXISTS thing:queue"), Reply::Int(0));
    let errors = wire.run("BEAR.CATALOG").map()["errors"].list().iter().map(Reply::text).collect::<Vec<_>>();
    assert!(errors.iter().any(|error| error.starts_with("the catalog was not checked: internal error")), "{errors:?}");
}

/// Redis has what was written so far, and would send it.
#[test]
fn a_reply_of_which_a_part_is_written_ends_the_connection() {
    let (_database, redis) = start("panic-when-done-aside");
    let (mut wire, mut other) = (redis.wire(), redis.wire());
    wire.begin("BEAR.QUERY thing FRESH text 3000000");
    assert!(wire.is_closed());
    assert_goes_on(&redis, &mut other);
    let reply = enqueue(&mut other);
    assert!(reply.error().starts_with("ERR the job is not enqueued: internal error"), "{reply:?}");
}
