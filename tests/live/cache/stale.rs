//! Entries at the end of their life: `stale`, `refresh_ahead`, `jitter`.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::support::bears::{self, selects};
use crate::support::{eventually, stays, Database, Proxy, Redis, Reply};

const QUERY: &str = "BEAR.QUERY bear size 150 150";
const CACHED: &str = "BEAR.QUERY bear CACHED size 150 150";
const EXPLAIN: &str = "BEAR.EXPLAIN bear size 150 150";

/// The gated catalog; its section `bear` says this of its entries.
fn catalog(life: &str) -> String {
    let catalog = bears::gated_catalog();
    assert_eq!(catalog.matches("[bear]\nttl = \"5m\"\n").count(), 1);
    catalog.replace("[bear]\nttl = \"5m\"\n", &format!("[bear]\n{life}\n"))
}

fn start(life: &str) -> (Database, Redis) {
    let database = bears::database();
    let redis = Redis::builder().postgres(&database).catalog(catalog(life)).start();
    (database, redis)
}

const STALE: &str = "ttl = \"300ms\"\nstale = \"1h\"";

fn rename_yogi(database: &Database) {
    database.run("UPDATE bear SET name = 'Boo-Boo' WHERE id = 5");
}

fn yogi() -> String {
    bears::json(&[5])
}

fn boo_boo() -> String {
    yogi().replace("Yogi", "Boo-Boo")
}

fn explain(redis: &Redis) -> BTreeMap<String, Reply> {
    redis.resp3_wire().run(EXPLAIN).map()
}

fn figure(redis: &Redis, name: &str) -> i64 {
    redis.info("bear").int(&format!("bear_{name}"))
}

/// Has an entry stored, and waits until its TTL is over.
#[track_caller]
fn grow_stale(redis: &Redis) {
    assert_eq!(redis.run(QUERY).text(), yogi());
    redis.wait_stored();
    eventually("the TTL is over", || explain(redis)["stale"] == Reply::Bool(true));
}

#[test]
fn all_get_a_stale_entry_at_once_and_one_fetch_renews_it() {
    let (database, redis) = start(STALE);
    grow_stale(&redis);
    rename_yogi(&database);
    let before = redis.info("bear");
    let mut gate = database.close_gate();
    let mut clients: Vec<_> = (0..20).map(|_| redis.wire()).collect();
    for _ in 0..3 {
        clients.iter_mut().for_each(|client| client.begin(QUERY));
        for client in &mut clients {
            assert_eq!(client.receive().text(), yogi());
        }
    }
    gate.wait(1);
    stays("one fetch", Duration::from_millis(100), || gate.waiting() == 1);
    for (name, by) in [("hits", 60), ("stale_hits", 60), ("refreshes", 1), ("misses", 0), ("fills", 0)] {
        assert_eq!(figure(&redis, name), before.int(&format!("bear_{name}")) + by, "{name}");
    }
    assert_eq!(redis.info("clients").int("blocked_clients"), 0);
    gate.open();
    eventually("it is renewed", || redis.run(QUERY).text() == boo_boo());
}

#[test]
fn within_its_ttl_an_entry_is_only_served() {
    let (database, redis) = start("ttl = \"1h\"\nstale = \"1h\"");
    for _ in 0..5 {
        assert_eq!(redis.run(QUERY).text(), yogi());
        redis.wait_stored();
    }
    assert_eq!((figure(&redis, "stale_hits"), figure(&redis, "refreshes"), selects(&database)), (0, 0, 1));
    let found = explain(&redis);
    assert_eq!(found["stale"], Reply::Bool(false));
    let ttl_ms = found["ttl_ms"].int();
    assert!((3_580_000..=3_600_000).contains(&ttl_ms), "{ttl_ms}");
    let stale_ms = found["stale_ms"].int();
    assert!((3_600_000..=3_600_200).contains(&stale_ms), "{stale_ms}");
    let kept_ms = redis.run("PTTL bear:size:150:150").int();
    assert!((7_180_000..=7_200_000).contains(&kept_ms), "{kept_ms}");
}

#[test]
fn who_does_not_want_a_stale_answer_gets_none() {
    let (database, redis) = start(STALE);
    grow_stale(&redis);
    rename_yogi(&database);
    assert_eq!(redis.run(CACHED), Reply::Nil);
    assert_eq!((figure(&redis, "refreshes"), figure(&redis, "stale_hits")), (0, 0), "CACHED starts nothing");
    let found = explain(&redis);
    assert_eq!((&found["cached"], &found["ttl_ms"]), (&Reply::Bool(true), &Reply::Int(0)));
    assert_eq!(redis.run("BEAR.QUERY bear FRESH size 150 150").text(), boo_boo());
}

#[test]
fn in_a_transaction_too_it_is_served() {
    let (_database, redis) = start(STALE);
    grow_stale(&redis);
    let mut wire = redis.wire();
    assert!(wire.run("MULTI").is_ok());
    wire.run(QUERY);
    assert_eq!(wire.run("EXEC").list()[0].text(), yogi());
    eventually("it is fetched anew for nobody", || figure(&redis, "fills") == 2);
}

#[test]
fn whatever_invalidates_drops_a_stale_entry_too() {
    let (database, redis) = start(STALE);
    for line in ["ROW 5", "TAG color:brown", "QUERY size 150 150", "PATTERN size:*", "ALL", "CHANGED 5"] {
        database.run("UPDATE bear SET name = 'Yogi' WHERE id = 5");
        redis.run("BEAR.INVALIDATE bear ALL");
        grow_stale(&redis);
        rename_yogi(&database);
        assert_eq!(redis.run(&format!("BEAR.INVALIDATE bear {line}")), Reply::Int(1), "{line}");
        assert_eq!(redis.run(QUERY).text(), boo_boo(), "{line}");
    }
    // Another client makes the space cold.
    database.run("UPDATE bear SET name = 'Yogi' WHERE id = 5");
    redis.run("BEAR.INVALIDATE bear ALL");
    grow_stale(&redis);
    rename_yogi(&database);
    assert_eq!(redis.run("PERSIST bear:size:150:150"), Reply::Int(1));
    assert_eq!(redis.run(QUERY).text(), boo_boo());
}

#[test]
fn a_renewal_that_an_invalidation_strikes_is_not_stored() {
    let (database, redis) = start(STALE);
    grow_stale(&redis);
    let mut gate = database.close_gate();
    assert_eq!(redis.run(QUERY).text(), yogi());
    gate.wait(1);
    // The fetch has read already.
    rename_yogi(&database);
    assert_eq!(redis.run("BEAR.INVALIDATE bear ROW 5"), Reply::Int(1));
    let mut client = redis.wire();
    client.begin(QUERY);
    redis.wait_blocked(1);
    gate.open();
    assert_eq!(client.receive().text(), boo_boo());
    redis.wait_stored();
    assert_eq!(redis.run(QUERY).text(), boo_boo());
    assert_eq!(redis.run("GET bear:size:150:150").text(), boo_boo());
}

#[test]
fn while_postgres_is_away_stale_entries_are_served_and_few_fetches_tried() {
    let database = bears::database();
    let proxy = Proxy::to(database.postgres().port());
    let redis =
        Redis::builder().env("BEAR_POSTGRES_URL", database.url_through(proxy.port())).catalog(catalog(STALE)).start();
    grow_stale(&redis);
    proxy.cut();
    eventually("a miss fails", || redis.run("BEAR.QUERY bear all").is_error());
    let mut wire = redis.wire();
    let before = figure(&redis, "refreshes");
    let begun = std::time::Instant::now();
    for _ in 0..500 {
        assert_eq!(wire.run(QUERY).text(), yogi());
    }
    let seconds = begun.elapsed().as_secs() as i64;
    let tried = figure(&redis, "refreshes") - before;
    assert!((1..=seconds + 2).contains(&tried), "{tried} fetches in {seconds} s");
    rename_yogi(&database);
    proxy.resume();
    eventually("it is renewed", || redis.run(QUERY).text() == boo_boo());
}

#[test]
fn while_the_statement_fails_stale_entries_are_served() {
    let (database, redis) = start(STALE);
    grow_stale(&redis);
    database.run("ALTER TABLE bear RENAME TO bears");
    for failed in 1..=2 {
        assert_eq!(redis.run(QUERY).text(), yogi());
        eventually("a fetch has failed, again after a while", || {
            redis.run(QUERY).text() == yogi() && figure(&redis, "failed") == failed
        });
    }
    database.run("ALTER TABLE bears RENAME TO bear");
    rename_yogi(&database);
    eventually("it is renewed", || redis.run(QUERY).text() == boo_boo());
}

#[test]
fn after_that_it_is_gone_with_its_metadata() {
    let (database, redis) = start("ttl = \"200ms\"\nstale = \"400ms\"");
    grow_stale(&redis);
    rename_yogi(&database);
    eventually("Redis has removed it", || redis.keys().is_empty());
    let fetched = selects(&database);
    assert_eq!(redis.run(QUERY).text(), boo_boo());
    assert_eq!(selects(&database), fetched + 1);
}

#[test]
fn a_hit_near_the_end_renews_and_is_answered_at_once() {
    let (database, redis) = start("ttl = \"1h\"\nrefresh_ahead = \"3599800ms\"");
    assert_eq!(redis.run(QUERY).text(), yogi());
    redis.wait_stored();
    rename_yogi(&database);
    let mut gate = database.close_gate();
    eventually("a hit starts a fetch", || {
        assert_eq!(redis.run(CACHED).text(), yogi());
        figure(&redis, "refreshes") == 1
    });
    gate.wait(1);
    for _ in 0..10 {
        assert_eq!(redis.run(QUERY).text(), yogi());
    }
    assert_eq!((figure(&redis, "refreshes"), figure(&redis, "stale_hits")), (1, 0));
    let kept_ms = redis.run("PTTL bear:size:150:150").int();
    assert!(kept_ms <= 3_600_000, "{kept_ms}: nothing is kept beyond the TTL");
    gate.open();
    eventually("it is renewed", || redis.run(CACHED).text() == boo_boo());
}

#[test]
fn until_ends_the_ttl_and_what_comes_after_it() {
    let database = bears::database();
    let query = |call: &str, ms: u32| {
        format!(
            "[[bear.query]]\ncall = \"{call}\"\nrows = false\n\
             sql = \"SELECT 1 AS x, now() + interval '{ms} ms' AS _until FROM bear b LIMIT 1\"\n"
        )
    };
    let catalog = format!(
        "[bear]\nid = \"int\"\nttl = \"1m\"\nstale = \"1h\"\n{}{}{}",
        query("early", 30_000),
        query("between", 90_000),
        query("soon", 400)
    );
    let redis = Redis::builder().postgres(&database).catalog(catalog).start();
    for call in ["early", "between", "soon"] {
        assert!(!redis.run(&format!("BEAR.QUERY bear {call}")).is_error());
    }
    redis.wait_stored();
    for (call, ttl_ms, stale_ms) in [("early", 20_000..=30_000, 0..=200), ("between", 50_000..=60_000, 29_000..=30_200)]
    {
        let found = redis.resp3_wire().run(&format!("BEAR.EXPLAIN bear {call}")).map();
        assert!(ttl_ms.contains(&found["ttl_ms"].int()), "{call}: {found:?}");
        assert!(stale_ms.contains(&found["stale_ms"].int()), "{call}: {found:?}");
    }
    eventually("what is over is gone", || redis.run("EXISTS bear:soon") == Reply::Int(0));
    assert_eq!(figure(&redis, "stale_hits"), 0);
}

#[test]
fn jitter_spreads_the_ends() {
    let database = bears::database();
    let catalog = "[bear]\nid = \"int\"\nttl = \"100s\"\njitter = \"50%\"\n[[bear.query]]\ncall = \"x {x:int}\"\nsql = \"SELECT {x}::bigint AS id\"\n\
                   [[bear.query]]\ncall = \"y {y:int}\"\njitter = \"off\"\nsql = \"SELECT {y}::bigint AS id\"\n";
    let redis = Redis::builder().postgres(&database).catalog(catalog).start();
    let mut ends = Vec::new();
    for n in 0..40 {
        redis.run(&format!("BEAR.QUERY bear x {n}"));
        redis.run(&format!("BEAR.QUERY bear y {n}"));
        redis.wait_stored();
        ends.push(redis.run(&format!("PTTL bear:x:{n}")).int());
        let exact = redis.run(&format!("PTTL bear:y:{n}")).int();
        assert!((90_000..=100_000).contains(&exact), "{exact}");
    }
    ends.sort_unstable();
    assert!(ends[0] >= 40_000 && ends[39] <= 100_000, "{ends:?}");
    // Of 40 within 50 s, none in the first or the last 20 s is one chance in 10^8.
    assert!(ends[0] < 70_000 && ends[39] > 80_000, "{ends:?}");
}

#[test]
fn a_query_says_otherwise_than_its_section() {
    let database = bears::database();
    let redis = Redis::builder()
        .postgres(&database)
        .catalog(
            "[bear]\nid = \"int\"\nttl = \"200ms\"\nstale = \"1h\"\n[[bear.query]]\ncall = \"a\"\nsql = \"SELECT id FROM bear b\"\n\
             [[bear.query]]\ncall = \"b\"\nstale = \"off\"\nsql = \"SELECT id FROM bear b\"\n\
             [[bear.query]]\ncall = \"c\"\nttl = \"1h\"\nrefresh_ahead = \"1m\"\njitter = \"10%\"\nsql = \"SELECT id FROM bear b\"\n",
        )
        .start();
    let found = redis.resp3_wire().run("BEAR.CATALOG bear").map();
    let names = ["ttl_ms", "stale_ms", "refresh_ahead_ms", "jitter_percent"];
    let life = |map: &BTreeMap<String, Reply>| names.map(|name| map[name].int());
    assert_eq!(life(&found), [200, 3_600_000, 0, 0]);
    let queries: Vec<_> = found["queries"].list().iter().map(|query| life(&query.map())).collect();
    assert_eq!(queries, [[200, 3_600_000, 0, 0], [200, 0, 0, 0], [3_600_000, 3_600_000, 60_000, 10]]);
    for call in ["a", "b"] {
        redis.run(&format!("BEAR.QUERY bear {call}"));
    }
    redis.wait_stored();
    eventually("one is gone", || redis.run("EXISTS bear:b") == Reply::Int(0));
    eventually("the other is stale", || {
        redis.resp3_wire().run("BEAR.EXPLAIN bear a").map()["stale"] == Reply::Bool(true)
    });
    assert_eq!(redis.resp3_wire().run("BEAR.EXPLAIN bear b").map()["stale"], Reply::Nil);
}

#[test]
fn a_replica_serves_it_while_redis_has_it() {
    let database = bears::database();
    let master = Redis::builder().postgres(&database).catalog(catalog(STALE)).start();
    let replica = Redis::builder().postgres(&database).catalog(catalog(STALE)).replica_of(&master).start();
    replica.wait_in_sync(&master);
    grow_stale(&master);
    replica.wait_in_sync(&master);
    assert_eq!(replica.run(QUERY).text(), yogi());
    assert_eq!(replica.run(CACHED).text(), yogi(), "it does not know the age");
    assert_eq!(explain(&replica)["stale"], Reply::Nil);
    assert_eq!((figure(&replica, "refreshes"), figure(&replica, "stale_hits")), (0, 0));
    // What is dropped on the master is dropped there.
    assert_eq!(master.run("BEAR.INVALIDATE bear ROW 5"), Reply::Int(1));
    replica.wait_in_sync(&master);
    assert_eq!(replica.run(CACHED), Reply::Nil);
}

#[test]
fn an_entry_that_is_only_stale_is_not_verified() {
    let (database, redis) = start(STALE);
    grow_stale(&redis);
    rename_yogi(&database);
    let found = redis.run("BEAR.VERIFY bear").map();
    assert_eq!((&found["checked"], &found["gone"]), (&Reply::Int(0), &Reply::Int(1)));
}
