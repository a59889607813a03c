//! Postgres away, silent, back again, or another one than before.

use std::time::{Duration, Instant};

use crate::support::bears::{self, selects};
use crate::support::{eventually, Database, Postgres, Proxy, Redis, Reply};

fn start() -> (Postgres, Database, Redis) {
    let postgres = Postgres::start();
    let database = bears::database_in(&postgres);
    let redis = Redis::with(&database);
    assert_eq!(redis.run("BEAR.QUERY bear size 90 90").text(), bears::json(&[8]));
    redis.wait_stored();
    (postgres, database, redis)
}

#[test]
fn hits_go_on_misses_fail_fast_and_it_recovers_by_itself() {
    let (postgres, _database, redis) = start();
    postgres.stop_immediate();
    assert_eq!(redis.run("BEAR.QUERY bear size 90 90").text(), bears::json(&[8]));
    let mut wire = redis.wire();
    let begun = Instant::now();
    for _ in 0..50 {
        let reply = wire.run("BEAR.QUERY bear all");
        let line = reply.error();
        assert!(line.starts_with("POSTGRES "), "{line}");
        assert!(line.contains(&postgres.port().to_string()), "where: {line}");
    }
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(3), "fifty misses took {took:?}");
    assert!(wire.run("BEAR.QUERY bear all").error().contains("next attempt"), "when it will be tried again");
    assert_eq!(redis.run("BEAR.QUERY bear size 90 90").text(), bears::json(&[8]));

    postgres.start_again();
    let back = Instant::now();
    eventually("misses are fetched again", || !wire.run("BEAR.QUERY bear all").is_error());
    let took = back.elapsed();
    assert!(took < Duration::from_secs(1), "it took {took:?}");
}

#[test]
fn a_restarted_postgres_makes_everything_cold() {
    let (postgres, database, redis) = start();
    postgres.stop_fast();
    postgres.start_again();
    // What a crash or a failover may have undone: the entry must not outlive it, though nobody invalidates.
    database.run("UPDATE bear SET name = 'Pad' WHERE id = 8");
    eventually("misses are fetched again", || !redis.run("BEAR.QUERY bear FRESH size 1 2").is_error());
    assert_eq!(redis.run("BEAR.QUERY bear CACHED size 90 90"), Reply::Nil);
    assert!(redis.run("BEAR.QUERY bear size 90 90").text().contains("Pad"));
    redis.wait_stored();
    assert_eq!(redis.run("BEAR.INVALIDATE bear ROW 8"), Reply::Int(1));
}

#[test]
fn lost_connections_are_replaced_and_cost_no_entry() {
    let database = bears::database();
    let proxy = Proxy::to(database.postgres().port());
    let redis = Redis::builder().env("BEAR_POSTGRES_URL", database.url_through(proxy.port())).start();
    redis.run("BEAR.QUERY bear size 90 90");
    redis.wait_stored();
    for _ in 0..5 {
        proxy.cut_once();
        eventually("misses are fetched again", || !redis.run("BEAR.QUERY bear FRESH all").is_error());
        assert_eq!(redis.run("BEAR.QUERY bear CACHED size 90 90").text(), bears::json(&[8]));
    }
}

#[test]
fn a_silent_network_is_a_timeout_and_no_end() {
    let database = bears::database();
    let proxy = Proxy::to(database.postgres().port());
    let redis = Redis::builder()
        .env("BEAR_POSTGRES_URL", database.url_through(proxy.port()))
        .config("bear.query-timeout-ms", 300)
        .start();
    redis.run("BEAR.QUERY bear size 90 90");
    redis.wait_stored();
    proxy.stall();
    let begun = Instant::now();
    let mut clients: Vec<_> = (0..20).map(|_| redis.wire()).collect();
    for (index, client) in clients.iter_mut().enumerate() {
        client.begin(&format!("BEAR.QUERY bear size {index} 1000"));
    }
    for client in &mut clients {
        let reply = client.receive();
        let line = reply.error();
        assert!(line.starts_with("TIMEOUT ") || line.starts_with("POSTGRES "), "{line}");
    }
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert_eq!(redis.run("BEAR.QUERY bear size 90 90").text(), bears::json(&[8]));
    proxy.resume();
    eventually("misses are fetched again", || !redis.run("BEAR.QUERY bear all").is_error());
}

#[test]
fn redis_starts_without_postgres_and_finds_it_later() {
    let postgres = Postgres::start();
    let database = bears::database_in(&postgres);
    postgres.stop_fast();
    let redis = Redis::with(&database);
    assert!(redis.run("BEAR.QUERY bear all").error().starts_with("POSTGRES "));
    assert!(redis.run("BEAR.QUERY bear sizes").error().starts_with("ERR no query"));
    postgres.start_again();
    eventually("misses are fetched", || !redis.run("BEAR.QUERY bear all").is_error());
}

#[test]
fn without_a_url_the_error_says_where_to_give_one() {
    let redis = Redis::builder().start();
    let reply = redis.run("BEAR.QUERY bear all");
    assert!(reply.error().contains("bear.postgres-url") || reply.error().contains("BEAR_POSTGRES_URL"), "{reply:?}");
    assert_eq!(redis.run("BEAR.QUERY bear CACHED all"), Reply::Nil);
    assert_eq!(redis.run("BEAR.INVALIDATE bear ALL"), Reply::Int(0));
}

#[test]
fn a_missing_table_fails_its_queries_and_no_others() {
    let database = bears::database();
    let redis = Redis::with(&database);
    // The check reads the table as well: a DROP in the middle of it may be a deadlock.
    eventually("the catalog is checked", || redis.run("BEAR.CATALOG").map()["checked"].text() == "yes");
    database.run("DROP TABLE bear_colors");
    let reply = redis.run("BEAR.QUERY bear all");
    assert!(reply.error().contains("bear_colors") && reply.error().contains("42P01"), "{reply:?}");
    assert!(!reply.error().starts_with("POSTGRES "), "{reply:?}");
    assert_eq!(redis.run("BEAR.QUERY color all").json()[0]["name"], "black");
    assert_eq!(selects(&database), 0);
}

#[test]
fn threads_that_a_silent_server_holds_come_free() {
    let database = bears::database();
    let proxy = Proxy::to(database.postgres().port());
    let redis = Redis::builder()
        .env("BEAR_POSTGRES_URL", database.url_through(proxy.port()))
        .config("bear.query-timeout-ms", 300)
        .start();
    redis.run("BEAR.QUERY bear size 90 90");
    redis.wait_stored();
    proxy.stall();
    let mut clients: Vec<_> = (0..8).map(|_| redis.wire()).collect();
    for (index, client) in clients.iter_mut().enumerate() {
        client.begin(&format!("BEAR.QUERY bear colors black size {index} 1000"));
    }
    for client in &mut clients {
        assert!(client.receive().is_error());
    }
    // The old server stays silent; there is another way to it now.
    assert!(redis.run(&format!("CONFIG SET bear.postgres-url {}", database.url())).is_ok());
    eventually("misses are fetched again", || !redis.run("BEAR.QUERY bear all").is_error());
}
