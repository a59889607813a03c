//! The tests' own servers, without the module: a harness that lies makes every other test worthless.

use std::time::{Duration, Instant};

use crate::support::{bears, marked};
use crate::support::{eventually, Command, Database, Postgres, Proxy, Redis, Reply, Verdict};

const SCHEMA: &str = "CREATE TABLE thing(id int PRIMARY KEY); INSERT INTO thing SELECT generate_series(1, 3)";

fn database() -> Database {
    Postgres::shared().database(SCHEMA)
}

fn count(database: &Database) -> i64 {
    database.client().query_one("SELECT count(*) FROM thing", &[]).unwrap().get(0)
}

#[test]
fn servers_start_in_less_than_a_second_after_the_first() {
    drop(database());
    let begun = Instant::now();
    let database = database();
    let redis = Redis::builder().plain().start();
    assert!(redis.run("PING").text() == "PONG");
    assert_eq!(count(&database), 3);
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(1), "{took:?}");
}

#[test]
fn databases_are_apart() {
    let (one, other) = (database(), database());
    one.run("DELETE FROM thing");
    assert_eq!((count(&one), count(&other)), (0, 3));
}

#[test]
fn executions_are_counted_and_prepares_are_not() {
    let database = database();
    let mut client = database.client();
    let statement = client.prepare("SELECT id FROM thing\n WHERE id = $1 AND 'marker' <> ''").unwrap();
    assert_eq!(database.executions("'marker'"), 0);
    client.query(&statement, &[&1]).unwrap();
    client.query(&statement, &[&2]).unwrap();
    client.batch_execute("SELECT 'marker' FROM thing").unwrap();
    client.batch_execute("EXPLAIN SELECT 'marker' FROM thing").unwrap();
    assert_eq!(database.executions("'marker'"), 3);
    assert_eq!(database.executions("id FROM thing\n WHERE"), 2);
}

#[test]
fn a_gate_holds_who_comes_until_it_opens() {
    let database = database();
    let ask = || {
        let mut client = database.client();
        client.batch_execute("SET default_transaction_read_only = on").unwrap();
        std::thread::spawn(move || client.query_one("SELECT gate()", &[]).unwrap().get::<_, i32>(0))
    };
    assert_eq!(ask().join().unwrap(), 0);
    let mut first = database.close_gate();
    let one = ask();
    first.wait(1);
    let mut second = database.close_gate();
    let other = ask();
    second.wait(1);
    first.open();
    assert_eq!(one.join().unwrap(), 1);
    assert_eq!(second.waiting(), 1);
    second.open();
    assert_eq!(other.join().unwrap(), 2);
    assert_eq!(ask().join().unwrap(), 2);
}

#[test]
fn a_cluster_stops_and_starts_on_its_port() {
    let postgres = Postgres::start();
    let database = postgres.database(SCHEMA);
    let mut client = database.client();
    postgres.stop_immediate();
    assert!(client.query("SELECT 1", &[]).is_err());
    postgres.start_again();
    assert_eq!(count(&database), 3);
    postgres.stop_fast();
    postgres.start_again();
    assert_eq!(count(&database), 3);
}

#[test]
fn a_role_needs_its_password() {
    let database = database();
    let role = database.role("right");
    let url = |password: &str| {
        format!("postgres://{role}:{password}@127.0.0.1:{}/{}", database.postgres().port(), database.name())
    };
    assert!(postgres::Client::connect(&url("right"), postgres::NoTls).is_ok());
    assert!(postgres::Client::connect(&url("wrong"), postgres::NoTls).is_err());
}

#[test]
fn a_proxy_passes_stalls_and_cuts() {
    let database = database();
    let proxy = Proxy::to(database.postgres().port());
    let url = database.url_through(proxy.port());
    let connect = || postgres::Client::connect(&url, postgres::NoTls);
    let mut client = connect().unwrap();
    client.query("SELECT 1", &[]).unwrap();
    proxy.stall();
    let query = std::thread::spawn(move || (client.query("SELECT 2 /* stalled */", &[]).is_ok(), client));
    assert!(!query.is_finished());
    assert_eq!(database.executions("stalled"), 0);
    proxy.resume();
    let (is_ok, mut client) = query.join().unwrap();
    assert!(is_ok);
    proxy.cut();
    assert!(client.query("SELECT 3", &[]).is_err());
    assert!(connect().is_err());
    proxy.resume();
    assert!(connect().is_ok());
    assert_eq!(proxy.accepted(), 2);
}

#[test]
fn units_are_the_same_in_the_aof_and_on_the_way_to_a_replica() {
    let redis = Redis::builder().plain().append_only().start();
    let mut stream = redis.replication_stream();
    let mut wire = redis.wire();
    wire.run("SET a 1");
    for line in ["MULTI", "SADD s x y", "DEL a", "EXEC"] {
        wire.run(line);
    }
    wire.call(&["SET".as_bytes(), b"bin", b"\r\n\0\xff"]);
    let expected: Vec<Vec<Command>> =
        [vec![vec!["SET", "a", "1"]], vec![vec!["SADD", "s", "x", "y"], vec!["DEL", "a"]]]
            .iter()
            .map(|unit| {
                unit.iter().map(|words| Command(words.iter().map(|word| word.as_bytes().to_vec()).collect())).collect()
            })
            .chain([vec![Command(vec![b"SET".to_vec(), b"bin".to_vec(), b"\r\n\0\xff".to_vec()])]])
            .collect();
    assert_eq!(stream.units(), expected);
    assert_eq!(redis.aof(), expected);
    assert!(stream.units().is_empty());
}

#[test]
fn a_server_restarts_with_its_data_and_a_replica_follows() {
    let mut redis = Redis::builder().plain().append_only().start();
    redis.run("SET a 1");
    redis.kill9();
    redis.start_again();
    assert_eq!(redis.run("GET a"), Reply::Bulk(b"1".to_vec()));
    redis.restart();
    let replica = Redis::builder().plain().replica_of(&redis).start();
    redis.run("SET a 2");
    replica.wait_in_sync(&redis);
    assert_eq!(replica.run("GET a"), Reply::Bulk(b"2".to_vec()));
}

#[test]
fn a_refused_configuration_shows_the_reason() {
    let log = Redis::builder().plain().config("maxmemory-policy", "nonsense").try_start().err().expect("no start");
    assert!(log.contains("maxmemory-policy"), "{log}");
}

#[test]
fn clients_speak_both_protocols() {
    let redis = Redis::builder().plain().start();
    for mut client in [redis.client(), redis.resp3_client()] {
        let pong: String = redis::cmd("PING").query(&mut client).unwrap();
        assert_eq!(pong, "PONG");
    }
    assert_eq!(redis.wire().run("GET nothing"), Reply::Nil);
    assert_eq!(redis.resp3_wire().run("GET nothing"), Reply::Nil);
    assert!(redis.info("server").int("tcp_port") == i64::from(redis.port()));
    let mut wire = redis.wire();
    wire.begin("BLPOP list 0");
    redis.wait_blocked(1);
    assert!(wire.silent_for(Duration::from_millis(20)));
    redis.run("RPUSH list x");
    assert_eq!(wire.receive().list().len(), 2);
    eventually("nobody is blocked", || redis.info("clients").int("blocked_clients") == 0);
}

#[test]
fn the_bears_are_what_the_tests_say() {
    let database = bears::database();
    let catalog: toml::Table = bears::gated_catalog().parse().unwrap();
    let query = |at: usize| catalog["bear"]["query"][at].clone();
    let sql = query(0)["sql"].as_str().unwrap().to_owned();
    assert_eq!(query(0)["call"].as_str(), Some("all"));
    let mut gate = database.close_gate();
    let mut client = database.client();
    let rows = std::thread::spawn(move || {
        let json = format!("SELECT coalesce(string_agg(row_to_json(q)::text, ','), '') FROM ({sql}) q");
        client.query_one(&json, &[]).unwrap().get::<_, String>(0)
    });
    gate.wait(1);
    gate.open();
    assert_eq!(format!("[{}]", rows.join().unwrap()), bears::json(&[1, 2, 3, 4, 5, 6, 7, 8]));
}

#[test]
fn the_model_sees_an_entry_without_its_metadata() {
    let redis = Redis::builder().plain().append_only().start();
    let mut wire = redis.wire();
    let json = bears::json(&[8]);
    wire.run("SADD bear:meta:8:caches bear:all");
    wire.call(&["SET", "bear:all", &json]);
    wire.run("SREM bear:meta:8:caches bear:all");
    let is_whole = |units: &[crate::support::Unit]| {
        let mut model = crate::support::KeyspaceModel::default();
        units.iter().for_each(|unit| model.apply(unit));
        std::panic::catch_unwind(|| model.assert_entries_have_metadata("bear", bears::metadata_of)).is_ok()
    };
    let units = redis.aof();
    assert_eq!((is_whole(&units[..2]), is_whole(&units[..3])), (true, false));
}

#[test]
fn a_proxy_holds_one_message_and_may_lose_its_answer() {
    let database = database();
    let proxy = Proxy::to(database.postgres().port());
    let url = database.url_through(proxy.port());
    let mut other = postgres::Client::connect(&url, postgres::NoTls).unwrap();
    for (verdict, is_answered, rows) in
        [(Verdict::Cut, false, 3), (Verdict::PassAndCut, false, 4), (Verdict::Pass, true, 5)]
    {
        let mut client = postgres::Client::connect(&url, postgres::NoTls).unwrap();
        client.batch_execute("BEGIN; INSERT INTO thing SELECT max(id) + 1 FROM thing /* mine */").unwrap();
        proxy.hold("COMMIT", "mine");
        other.batch_execute("COMMIT").unwrap(); // has never said that word
        assert!(!proxy.is_holding());
        let commit = std::thread::spawn(move || client.batch_execute("COMMIT").is_ok());
        eventually("it is held", || proxy.is_holding());
        proxy.release(verdict);
        assert_eq!(commit.join().unwrap(), is_answered, "{verdict:?}");
        eventually("it is committed, or not", || count(&database) == rows);
    }
}

#[test]
fn what_servers_had_on_disk_can_be_put_back() {
    let mut redis = Redis::builder().plain().append_only().start();
    redis.run("SET a 1");
    let copied = redis.copy_data();
    redis.run("SET a 2");
    redis.kill9();
    redis.restore_data(&copied);
    redis.start_again();
    assert_eq!(redis.run("GET a").text(), "1");

    let postgres = Postgres::start();
    let database = postgres.database(SCHEMA);
    postgres.stop_fast();
    let copied = postgres.copy_data();
    postgres.start_again();
    database.run("DELETE FROM thing");
    postgres.stop_fast();
    postgres.restore_data(&copied);
    postgres.start_again();
    assert_eq!(count(&database), 3);
}

#[test]
fn the_catalog_of_marked_jobs_fits_its_tables() {
    let database = marked::database();
    let redis = Redis::builder().postgres(&database).catalog(marked::catalog()).start();
    eventually("the catalog is checked", || redis.run("BEAR.CATALOG").map()["checked"].text() == "yes");
    assert!(!redis.log().contains("warning: "), "{}", redis.log());
}
