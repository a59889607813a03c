//! Logical replication that writes what is watched: its workers apply as replicas do, for whom ordinary triggers, and all of
//! statements, stay silent.

use postgres::Client;

use crate::support::feed::{is_cached, wait_told};
use crate::support::{bears, eventually, Postgres, Redis};

const CALL: &str = "bear size 90 90";

fn run(client: &mut Client, sql: &str) {
    client.batch_execute(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
}

fn warm(redis: &Redis) {
    eventually("it is cached", || {
        redis.run("BEAR.QUERY bear size 90 90").text();
        redis.wait_stored();
        is_cached(&mut redis.wire(), CALL)
    });
}

/// Until what the publisher has committed is there, and told.
fn wait_shown(redis: &Redis, subscriber: &mut Client, text: &str) {
    eventually("it has been replicated", || {
        let sql = "SELECT count(*) FROM bear WHERE name = $1";
        subscriber.query_one(sql, &[&text]).expect("a number").get::<_, i64>(0) > 0
    });
    wait_told(redis);
    let reply = redis.run("BEAR.QUERY bear size 90 90").text();
    assert!(reply.contains(text), "{reply} where {text} is");
}

#[test]
fn what_a_subscription_applies_is_told_by_the_wal() {
    apply_by_subscription("wal");
}

#[test]
fn what_a_subscription_applies_is_told_by_the_outbox() {
    apply_by_subscription("outbox");
}

fn apply_by_subscription(kind: &str) {
    let publisher = Postgres::start_logical();
    let subscriber = Postgres::start_logical();
    let (from, to) = (bears::database_in(&publisher), bears::database_in(&subscriber));
    let (mut from_client, mut to_client) = (from.client(), to.client());
    run(&mut from_client, "CREATE PUBLICATION p FOR ALL TABLES");
    let redis = Redis::builder().postgres(&to).config("bear.feed", kind).start();
    wait_told(&redis);
    warm(&redis);
    // The rows are there; what follows is replicated.
    let conninfo = format!("host=127.0.0.1 port={} user=postgres dbname={}", publisher.port(), from.name());
    run(
        &mut to_client,
        &format!("CREATE SUBSCRIPTION s CONNECTION '{conninfo}' PUBLICATION p WITH (copy_data = false)"),
    );
    eventually("it is followed by row", || {
        let sql = "SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'bear_outbox_%_r' AND tgrelid = 'bear'::regclass";
        kind == "wal" || to_client.query_one(sql, &[]).expect("a number").get::<_, i64>(0) > 0
    });
    warm(&redis);
    run(&mut from_client, "UPDATE bear SET name = 'replicated' WHERE id = 8");
    wait_shown(&redis, &mut to_client, "replicated");
    warm(&redis);
    run(&mut from_client, "INSERT INTO bear (id, name, size) VALUES (100, 'inserted', 90)");
    wait_shown(&redis, &mut to_client, "inserted");
    warm(&redis);
    run(&mut from_client, "TRUNCATE bear CASCADE");
    eventually("it has been replicated", || {
        to_client.query_one("SELECT count(*) FROM bear", &[]).expect("a number").get::<_, i64>(0) == 0
    });
    wait_told(&redis);
    assert_eq!(redis.run("BEAR.QUERY bear size 90 90").text(), "[]");
    run(&mut to_client, "DROP SUBSCRIPTION s");
}
