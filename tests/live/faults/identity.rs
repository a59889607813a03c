//! Which Postgres it is: another one, a restarted, a crashed or a promoted one may lack what was cached, and a standby
//! may lag behind.

use rustix::process::{kill_process, Pid, Signal};

use crate::support::bears;
use crate::support::{eventually, Database, Postgres, Proxy, Redis, Reply};

const QUERY: &str = "BEAR.QUERY bear size 90 90";
const CACHED: &str = "BEAR.QUERY bear CACHED size 90 90";
const PADDINGTON: &str = r#"[{"id":8,"name":"Paddington","size":90,"colors":[]}]"#;
const RENAMED: &str = r#"[{"id":8,"name":"Pad","size":90,"colors":[]}]"#;

/// Cached; nobody will invalidate it.
fn warm(redis: &Redis) {
    eventually("it is fetched", || redis.run(QUERY).text() == PADDINGTON);
    redis.run("BEAR.QUERY color all");
    redis.wait_stored();
    assert_eq!(redis.run(CACHED).text(), PADDINGTON);
}

fn rename(database: &Database) {
    database.run("UPDATE bear SET name = 'Pad' WHERE id = 8");
}

/// All spaces are cold, by themselves; what is fetched now is stored, and is exact.
fn assert_cold(redis: &Redis) {
    eventually("the module has noticed", || redis.info("bear").int("bear_postgres_changes") > 0);
    assert_eq!(redis.run(CACHED), Reply::Nil);
    assert_eq!(redis.run("BEAR.QUERY color CACHED all"), Reply::Nil);
    assert_eq!(redis.run(QUERY).text(), RENAMED);
    redis.wait_stored();
    assert_eq!(redis.run(CACHED).text(), RENAMED);
    assert_eq!(redis.run("BEAR.INVALIDATE bear ROW 8"), Reply::Int(1));
    redis.run("BEAR.INVALIDATE bear ALL");
    eventually("what was cached before is swept", || redis.keys().is_empty());
}

/// A miss succeeds: there is a connection again.
fn wait_for_fetches(redis: &Redis) {
    eventually("misses are fetched again", || !redis.run("BEAR.QUERY bear FRESH size 1 2").is_error());
}

#[test]
fn another_server_makes_all_spaces_cold() {
    let (one, other) = (Postgres::start(), Postgres::start_unrelated());
    let (database, same_name) = (bears::database_in(&one), bears::database_in(&other));
    let sql = format!("ALTER DATABASE {} RENAME TO {}", same_name.name(), database.name());
    if same_name.name() != database.name() {
        other.client("postgres").batch_execute(&sql).expect("the same name in both");
    }
    let proxy = Proxy::to(one.port());
    let redis = Redis::builder().env("BEAR_POSTGRES_URL", database.url_through(proxy.port())).start();
    warm(&redis);
    let identifier = redis.info("bear").text("bear_postgres_system_identifier").to_owned();
    other.client(database.name()).batch_execute("UPDATE bear SET name = 'Pad' WHERE id = 8").expect("a bear");
    proxy.lead_to(other.port());
    wait_for_fetches(&redis);
    assert_cold(&redis);
    assert_ne!(redis.info("bear").text("bear_postgres_system_identifier"), identifier);
}

#[test]
fn a_restarted_server_makes_all_spaces_cold() {
    for (prepare, immediate) in [("yes", true), ("no", false)] {
        let postgres = Postgres::start();
        let database = bears::database_in(&postgres);
        let redis = Redis::builder().postgres(&database).config("bear.prepare", prepare).start();
        warm(&redis);
        match immediate {
            true => postgres.stop_immediate(),
            false => postgres.stop_fast(),
        }
        postgres.start_again();
        rename(&database);
        wait_for_fetches(&redis);
        assert_cold(&redis);
    }
}

/// Postgres ends all sessions and recovers, and its start time stays what it was.
#[test]
fn a_crash_of_one_backend_makes_all_spaces_cold() {
    for prepare in ["yes", "no"] {
        let postgres = Postgres::start();
        let database = bears::database_in(&postgres);
        let redis = Redis::builder().postgres(&database).config("bear.prepare", prepare).start();
        warm(&redis);
        let started = "SELECT pg_postmaster_start_time()::text";
        let mut client = database.client();
        let before: String = client.query_one(started, &[]).expect("a time").get(0);
        let backend: i32 = client.query_one("SELECT pg_backend_pid()", &[]).expect("a number").get(0);
        let mut other = database.client();
        kill_process(Pid::from_raw(backend).expect("a process"), Signal::KILL).expect("a backend of our own server");
        // Until Postgres has noticed, it takes connections as if nothing had happened.
        eventually("Postgres ends its sessions", || other.query_one("SELECT 1", &[]).is_err());
        eventually("Postgres has recovered", || {
            let url = database.url();
            let Ok(mut client) = ::postgres::Client::connect(&url, ::postgres::NoTls) else { return false };
            client.query_one(started, &[]).is_ok_and(|row| row.get::<_, String>(0) == before)
        });
        rename(&database);
        wait_for_fetches(&redis);
        assert_cold(&redis);
    }
}

#[test]
fn lost_connections_to_the_same_server_cost_nothing() {
    let database = bears::database();
    let redis = Redis::with(&database);
    warm(&redis);
    for _ in 0..3 {
        database.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() AND application_name <> 'test'");
        wait_for_fetches(&redis);
        assert_eq!(redis.run(CACHED).text(), PADDINGTON);
    }
    assert_eq!(redis.info("bear").int("bear_postgres_changes"), 0);
}

#[test]
fn a_standby_is_refused_until_it_is_promoted() {
    let primary = Postgres::start();
    let database = bears::database_in(&primary);
    let standby = primary.standby();
    standby.wait_in_sync(&primary);
    let redis = Redis::builder().env("BEAR_POSTGRES_URL", standby.url_through(standby.port(), database.name())).start();
    for _ in 0..20 {
        let reply = redis.run(QUERY);
        assert!(reply.error().starts_with("POSTGRES "), "{reply:?}");
    }
    let line = redis.run(QUERY).error().to_owned();
    assert!(line.contains("standby") || line.contains("does not allow writes"), "why: {line}");
    assert!(redis.keys().is_empty());
    assert_eq!(redis.info("bear").text("bear_postgres_state"), "down");
    standby.promote();
    // What is fetched before Postgres has seen the catalog is not stored.
    eventually("it is fetched now, and cached", || {
        !redis.run(QUERY).is_error() && {
            redis.wait_stored();
            !redis.run(CACHED).is_nil()
        }
    });
    assert_eq!(redis.run(CACHED).text(), PADDINGTON);
}

#[test]
fn of_several_hosts_the_one_that_takes_writes_is_read() {
    let primary = Postgres::start();
    let database = bears::database_in(&primary);
    let standby = primary.standby();
    standby.wait_in_sync(&primary);
    standby.client("postgres").batch_execute("SELECT pg_wal_replay_pause()").expect("a standby that lags");
    rename(&database);
    let dead = crate::support::process::free_port();
    let hosts = [
        format!("127.0.0.1:{},127.0.0.1:{}", standby.port(), primary.port()),
        format!("127.0.0.1:{dead},127.0.0.1:{}", primary.port()),
        format!("127.0.0.1:{dead},127.0.0.1:{},127.0.0.1:{}", standby.port(), primary.port()),
    ];
    for hosts in hosts {
        for prepare in ["yes", "no"] {
            let url = format!("postgres://postgres@{hosts}/{}", database.name());
            let redis = Redis::builder().env("BEAR_POSTGRES_URL", url).config("bear.prepare", prepare).start();
            assert_eq!(redis.run(QUERY).text(), RENAMED, "{hosts}");
            redis.wait_stored();
            assert_eq!(redis.run(CACHED).text(), RENAMED, "{hosts}");
        }
    }
}

/// What the primary had committed and the standby had not received is lost: entries that show it must go.
#[test]
fn after_a_failover_of_postgres_all_spaces_are_cold() {
    let primary = Postgres::start();
    let database = bears::database_in(&primary);
    let standby = primary.standby();
    standby.wait_in_sync(&primary);
    let url =
        format!("postgres://postgres@127.0.0.1:{},127.0.0.1:{}/{}", primary.port(), standby.port(), database.name());
    let redis = Redis::builder().env("BEAR_POSTGRES_URL", url).start();
    warm(&redis);
    primary.stop_immediate();
    assert_eq!(redis.run(CACHED).text(), PADDINGTON, "hits go on");
    assert!(redis.run("BEAR.QUERY bear all").error().starts_with("POSTGRES "), "the standby is not read");
    standby.promote();
    standby.client(database.name()).batch_execute("UPDATE bear SET name = 'Pad' WHERE id = 8").expect("a primary now");
    wait_for_fetches(&redis);
    assert_cold(&redis);
}

#[test]
fn a_fetch_from_the_server_before_is_not_stored() {
    let (one, other) = (Postgres::start(), Postgres::start());
    let (database, successor) = (bears::database_in(&one), bears::database_in(&other));
    rename(&successor);
    let redis = Redis::builder()
        .postgres(&database)
        .catalog(bears::gated_catalog())
        .config("bear.query-timeout-ms", 30_000)
        .start();
    let mut gate = database.close_gate();
    let mut client = redis.wire();
    client.begin(QUERY);
    gate.wait(1);
    assert!(redis.run(&format!("CONFIG SET bear.postgres-url {}", successor.url())).is_ok());
    gate.open();
    let reply = client.receive();
    assert!(reply.is_error() || reply.text() == PADDINGTON, "{reply:?}");
    // Whatever it was told: the cache has nothing of the server before. (The first connection to the next one may strike
    // a fetch that was sent before it was known to be another.)
    eventually("it is stored", || {
        assert_eq!(redis.run(QUERY).text(), RENAMED);
        redis.wait_stored();
        let cached = redis.run(CACHED);
        assert!(cached.is_nil() || cached.text() == RENAMED, "{cached:?}");
        !cached.is_nil()
    });
}
