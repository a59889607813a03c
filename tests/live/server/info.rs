//! INFO bear: every figure moves when what it counts happens, in its section and in the total, and by no more.

use std::collections::BTreeMap;

use crate::support::bears;
use crate::support::{eventually, Database, Info, Postgres, Redis, Reply};

const FIGURES: [&str; 23] = [
    "hits",
    "stale_hits",
    "refreshes",
    "rewarmed",
    "misses",
    "joined",
    "fills",
    "failed",
    "struck",
    "discarded",
    "leased",
    "lease_ends",
    "puts_stored",
    "puts_refused",
    "compressed",
    "compressed_plain_bytes",
    "compressed_stored_bytes",
    "decompressed_aside",
    "entries_invalidated",
    "rows_invalidated",
    "fetch_us_p50",
    "fetch_us_p99",
    "fetch_us_max",
];

type Figures = BTreeMap<String, i64>;

/// The figures of one section.
#[track_caller]
fn section(info: &Info, name: &str) -> Figures {
    let figures =
        info.text(&format!("bear_section_{name}")).split(',').map(|pair| pair.split_once('=').expect("name=value"));
    figures.map(|(name, value)| (name.to_owned(), value.parse().expect("a number"))).collect()
}

fn total(info: &Info) -> Figures {
    FIGURES.iter().map(|name| ((*name).to_owned(), info.int(&format!("bear_{name}")))).collect()
}

/// What was counted since `before`, in section and total alike: the figures that moved, times left out.
#[track_caller]
fn moved(redis: &Redis, name: &str, before: &Info) -> Vec<(String, i64)> {
    let now = redis.info("bear");
    let diff = |now: Figures, before: Figures| -> Vec<(String, i64)> {
        let diffs = now.into_iter().map(|(name, value)| (name.clone(), value - before[&name]));
        diffs.filter(|(name, by)| *by != 0 && !name.starts_with("fetch_us")).collect()
    };
    let own = diff(section(&now, name), section(before, name));
    assert_eq!(own, diff(total(&now), total(before)), "the section's figures and the total's");
    own
}

fn expected(figures: &[(&str, i64)]) -> Vec<(String, i64)> {
    let mut figures: Vec<_> = figures.iter().map(|(name, by)| ((*name).to_owned(), *by)).collect();
    figures.sort();
    figures
}

fn gated(database: &Database) -> Redis {
    Redis::builder().postgres(database).catalog(bears::gated_catalog()).start()
}

#[test]
fn info_has_the_figures_in_total_and_by_section() {
    let database = bears::database();
    let redis = Redis::with(&database);
    let info = redis.info("bear");
    for name in FIGURES {
        assert_eq!(info.int(&format!("bear_{name}")), 0, "{name}");
    }
    for name in ["bear", "color"] {
        let mut figures = FIGURES;
        figures.sort_unstable();
        assert_eq!(section(&info, name).keys().collect::<Vec<_>>(), figures, "{name}");
    }
    assert_eq!(info.text("bear_role"), "master");
    assert_eq!(info.text("bear_catalog"), "the bear catalog");
}

#[test]
fn everything_includes_it_in_both_protocols() {
    let database = bears::database();
    let redis = Redis::with(&database);
    for mut wire in [redis.wire(), redis.resp3_wire()] {
        for line in ["INFO bear", "INFO everything", "INFO modules", "INFO BEAR"] {
            let text = wire.run(line).text();
            assert!(text.contains("\r\nbear_hits:0\r\n"), "{line}: {text}");
            assert!(text.contains("# bear_"), "{line}: {text}");
        }
        assert!(!wire.run("INFO server").text().contains("bear_hits"));
    }
}

#[test]
fn hits_and_misses() {
    let database = bears::database();
    let redis = Redis::with(&database);
    let before = redis.info("bear");
    redis.run("BEAR.QUERY bear size 90 90");
    redis.wait_stored();
    assert_eq!(moved(&redis, "bear", &before), expected(&[("misses", 1), ("fills", 1)]));
    let before = redis.info("bear");
    for _ in 0..3 {
        redis.run("BEAR.QUERY bear size 90 90");
    }
    redis.run("BEAR.QUERY bear CACHED size 90 90");
    assert_eq!(moved(&redis, "bear", &before), expected(&[("hits", 4)]));
    let before = redis.info("bear");
    assert!(redis.run("BEAR.QUERY bear CACHED size 1 2").is_nil());
    assert_eq!(moved(&redis, "bear", &before), expected(&[("misses", 1)]));
    let before = redis.info("bear");
    redis.run("BEAR.QUERY bear FRESH size 90 90");
    assert_eq!(moved(&redis, "bear", &before), expected(&[("misses", 1), ("fills", 1)]));
    let before = redis.info("bear");
    redis.run("BEAR.QUERY color all");
    assert_eq!(moved(&redis, "color", &before), expected(&[("misses", 1), ("fills", 1)]));
    assert_eq!(section(&redis.info("bear"), "bear"), section(&before, "bear"), "the other section stands still");
    let before = redis.info("bear");
    assert!(redis.run("BEAR.QUERY bear sizes").is_error());
    assert_eq!(moved(&redis, "bear", &before), [], "a wrong call is no miss");
}

#[test]
fn misses_that_wait_for_anothers_fetch() {
    let database = bears::database();
    let redis = gated(&database);
    let before = redis.info("bear");
    let mut gate = database.close_gate();
    let mut clients: Vec<_> = (0..5).map(|_| redis.wire()).collect();
    clients.iter_mut().for_each(|client| client.begin("BEAR.QUERY bear size 90 90"));
    redis.wait_blocked(5);
    gate.wait(1);
    let info = redis.info("bear");
    assert_eq!((info.int("bear_fills_running"), info.int("bear_clients_waiting")), (1, 5));
    // The catalog is being checked at the start, on a session of its own.
    eventually("one session is in use", || redis.info("bear").int("bear_pool_in_use") == 1);
    gate.open();
    clients.iter_mut().for_each(|client| assert_eq!(client.receive().text(), bears::json(&[8])));
    redis.wait_stored();
    assert_eq!(moved(&redis, "bear", &before), expected(&[("misses", 5), ("joined", 4), ("fills", 1)]));
    let info = redis.info("bear");
    assert_eq!((info.int("bear_fills_running"), info.int("bear_clients_waiting")), (0, 0));
    eventually("the session is back", || redis.info("bear").int("bear_pool_in_use") == 0);
}

#[test]
fn fetches_that_wait_for_a_thread() {
    let database = bears::database();
    let redis =
        Redis::builder().postgres(&database).catalog(bears::gated_catalog()).config("bear.fetch-threads", 2).start();
    let mut gate = database.close_gate();
    let mut clients: Vec<_> = (0..5).map(|_| redis.wire()).collect();
    for (index, client) in clients.iter_mut().enumerate() {
        client.begin(&format!("BEAR.QUERY bear size {index} 90"));
    }
    gate.wait(2);
    redis.wait_blocked(5);
    let info = redis.info("bear");
    assert_eq!((info.int("bear_fills_running"), info.int("bear_fetches_queued")), (5, 3));
    gate.open();
    clients.iter_mut().for_each(|client| assert_eq!(client.receive().text(), bears::json(&[8])));
    assert_eq!(redis.info("bear").int("bear_fetches_queued"), 0);
}

#[test]
fn struck_results() {
    let database = bears::database();
    let redis = gated(&database);
    let before = redis.info("bear");
    let mut gate = database.close_gate();
    let mut client = redis.wire();
    client.begin("BEAR.QUERY bear size 90 90");
    gate.wait(1);
    assert_eq!(redis.run("BEAR.INVALIDATE bear ROW 8"), Reply::Int(0));
    gate.open();
    assert_eq!(client.receive().text(), bears::json(&[8]));
    let figures = [("misses", 1), ("fills", 1), ("struck", 1), ("rows_invalidated", 1)];
    assert_eq!(moved(&redis, "bear", &before), expected(&figures));
    assert!(redis.run("BEAR.QUERY bear CACHED size 90 90").is_nil());
}

#[test]
fn failed_fetches() {
    let database = bears::database();
    let redis = gated(&database);
    redis.run("BEAR.QUERY bear size 90 90");
    redis.wait_stored();
    // The check reads the table as well: a DROP in the middle of it may be a deadlock.
    eventually("the catalog is checked", || redis.run("BEAR.CATALOG").map()["checked"].text() == "yes");
    let before = redis.info("bear");
    database.run("DROP TABLE bear_colors");
    assert!(redis.run("BEAR.QUERY bear all").is_error());
    assert_eq!(moved(&redis, "bear", &before), expected(&[("misses", 1), ("failed", 1)]));

    // One that takes too long is a failure too, once it has ended in Postgres.
    assert!(redis.run("CONFIG SET bear.query-timeout-ms 200").is_ok());
    database.run("CREATE TABLE bear_colors (bear_id bigint, color_id bigint)");
    let before = redis.info("bear");
    let gate = database.close_gate();
    assert!(redis.run("BEAR.QUERY bear all").error().starts_with("TIMEOUT "));
    eventually("the fetch has ended", || redis.info("bear").int("bear_fills_running") == 0);
    assert_eq!(moved(&redis, "bear", &before), expected(&[("misses", 1), ("failed", 1)]));
    gate.open();
}

#[test]
fn results_that_are_not_stored() {
    let database = bears::database();
    database
        .run("INSERT INTO bear (id, name, size) SELECT i, 'bear number ' || i, 5000 FROM generate_series(10, 109) i");
    let redis = Redis::builder().postgres(&database).config("bear.max-entry-bytes", 1024).start();
    let before = redis.info("bear");
    redis.run("BEAR.QUERY bear size 5000 5000");
    redis.wait_stored();
    assert_eq!(moved(&redis, "bear", &before), expected(&[("misses", 1), ("fills", 1), ("discarded", 1)]));
    assert_eq!(redis.info("bear").int("bear_entries"), 0);
}

#[test]
fn under_an_allkeys_policy_it_says_that_nothing_is_stored() {
    let database = bears::database();
    let redis = Redis::with(&database);
    assert_eq!(redis.info("bear").int("bear_stores"), 1);
    assert!(redis.run("CONFIG SET maxmemory-policy allkeys-lru").is_ok());
    assert_eq!(redis.info("bear").int("bear_stores"), 0);
    let before = redis.info("bear");
    redis.run("BEAR.QUERY bear size 90 90");
    assert_eq!(moved(&redis, "bear", &before), expected(&[("misses", 1), ("fills", 1), ("discarded", 1)]));
    assert!(redis.run("CONFIG SET maxmemory-policy volatile-ttl").is_ok());
    assert_eq!(redis.info("bear").int("bear_stores"), 1);
}

#[test]
fn invalidations() {
    let database = bears::database();
    let redis = Redis::with(&database);
    for call in ["bear size 90 90", "bear size 90 100", "bear colors white", "color all"] {
        redis.run(&format!("BEAR.QUERY {call}"));
    }
    redis.wait_stored();
    for (line, removed, figures) in [
        ("BEAR.INVALIDATE bear ROW 8 5 7", 2, &[("entries_invalidated", 2), ("rows_invalidated", 3)][..]),
        ("BEAR.INVALIDATE bear ROW 8", 0, &[("rows_invalidated", 1)]),
        ("BEAR.INVALIDATE bear TAG color:white color:red", 1, &[("entries_invalidated", 1)]),
    ] {
        let before = redis.info("bear");
        assert_eq!(redis.run(line), Reply::Int(removed), "{line}");
        assert_eq!(moved(&redis, "bear", &before), expected(figures), "{line}");
    }
    let before = redis.info("bear");
    assert_eq!(redis.run("BEAR.INVALIDATE color ALL"), Reply::Int(1));
    assert_eq!(moved(&redis, "color", &before), expected(&[("entries_invalidated", 1)]));
    let before = redis.info("bear");
    assert!(redis.run("BEAR.INVALIDATE bear ROW x").is_error());
    assert_eq!(moved(&redis, "bear", &before), [], "what is refused is not counted");
}

#[test]
fn a_removal_in_slices_is_counted_whole() {
    let database = bears::database();
    let redis = Redis::with(&database);
    let mut wire = redis.wire();
    for round in 0..2000 {
        wire.begin(&format!("BEAR.QUERY bear size {round} 100000"));
    }
    (0..2000).for_each(|_| assert!(!wire.receive().is_error()));
    redis.wait_stored();
    let before = redis.info("bear");
    assert_eq!(before.int("bear_entries"), 2000);
    assert_eq!(wire.run("BEAR.INVALIDATE bear ALL"), Reply::Int(2000));
    assert_eq!(moved(&redis, "bear", &before), expected(&[("entries_invalidated", 2000)]));
    eventually("it is carried out", || redis.info("bear").int("bear_removals_running") == 0);
    let info = redis.info("bear");
    assert_eq!(info.int("bear_entries"), 0);
    assert_eq!(info.int("bear_entries_removed") - before.int("bear_entries_removed"), 2000);
}

#[test]
fn what_is_stored_and_how_it_went() {
    let database = bears::database();
    let query = "call = \"short {x:int}\"\nttl = \"1s\"\nsql = \"SELECT id, size FROM bear b WHERE id = {x}\"";
    let catalog = format!("[bear]\nid = \"int\"\ntables = {{ bear = \"id\" }}\n[[bear.query]]\n{query}\n");
    let redis = Redis::builder().postgres(&database).catalog(catalog).start();
    for id in 1..=3 {
        redis.run(&format!("BEAR.QUERY bear short {id}"));
    }
    redis.wait_stored();
    let info = redis.info("bear");
    assert_eq!((info.int("bear_entries"), info.int("bear_metadata_sets"), info.int("bear_entries_stored")), (3, 3, 3));
    redis.run("DEL bear:short:1");
    eventually("it is counted", || redis.info("bear").int("bear_entries_deleted") == 1);
    assert_eq!(redis.run("BEAR.INVALIDATE bear ROW 2"), Reply::Int(1));
    assert_eq!(redis.info("bear").int("bear_entries_removed"), 1);
    eventually("the third expires", || redis.info("bear").int("bear_entries_expired") == 1);
    eventually("the metadata of the dead is swept", || {
        let info = redis.info("bear");
        redis.keys().is_empty() && info.int("bear_metadata_sets") == 0 && info.int("bear_entries") == 0
    });
    let info = redis.info("bear");
    assert_eq!(info.int("bear_to_sweep"), 0);
    assert!(info.int("bear_swept") >= 2, "{}", info.int("bear_swept"));
}

#[test]
fn times_of_fetches() {
    let database = bears::database();
    let query = "call = \"slow {x:float}\"\nrows = false\nsql = \"SELECT 1 AS one FROM pg_sleep({x})\"";
    let catalog = format!("[bear]\nid = \"int\"\n[[bear.query]]\n{query}\n");
    let redis = Redis::builder().postgres(&database).catalog(catalog).start();
    for index in 0..20 {
        assert!(!redis.run(&format!("BEAR.QUERY bear FRESH slow 0.00{index}")).is_error());
    }
    redis.run("BEAR.QUERY bear slow 0.6");
    let info = redis.info("bear");
    for figures in [total(&info), section(&info, "bear")] {
        let (p50, p99, max) = (figures["fetch_us_p50"], figures["fetch_us_p99"], figures["fetch_us_max"]);
        assert!((1..600_000).contains(&p50), "{p50}");
        assert!(p50 <= p99 && p99 <= max, "{p50} {p99} {max}");
        // One in twenty-one: the 99th percentile is it.
        assert!((594_000..20_000_000).contains(&max) && p99 >= 590_000, "{p99} {max}");
    }
}

#[test]
fn cold_spaces_and_changes_of_postgres() {
    let postgres = Postgres::start();
    let database = bears::database_in(&postgres);
    let redis = Redis::with(&database);
    redis.run("BEAR.QUERY bear size 90 90");
    redis.wait_stored();
    let before = redis.info("bear");
    assert_eq!((before.text("bear_postgres_state"), before.int("bear_postgres_changes")), ("up", 0));
    let identifier: i64 =
        database.client().query_one("SELECT system_identifier FROM pg_control_system()", &[]).unwrap().get(0);
    assert_eq!(before.text("bear_postgres_system_identifier"), identifier.to_string());
    assert_eq!(before.int("bear_postgres_timeline"), 1);
    assert!(before.int("bear_pool_size") >= 1 && before.int("bear_pool_max") >= 4, "{before:?}");

    postgres.stop_immediate();
    eventually("a miss notices", || redis.run("BEAR.QUERY bear all").is_error());
    eventually("it is down", || redis.info("bear").text("bear_postgres_state") == "down");
    let down = redis.info("bear");
    assert!(down.int("bear_pool_connect_failures") > 0);
    assert!(!down.text("bear_postgres_last_error").is_empty());
    assert_eq!(down.int("bear_cold"), before.int("bear_cold"), "its absence makes nothing cold");

    postgres.start_again();
    eventually("it is up again", || redis.info("bear").text("bear_postgres_state") == "up");
    let up = redis.info("bear");
    assert_eq!((up.int("bear_postgres_changes"), up.int("bear_cold")), (1, before.int("bear_cold") + 1));
    assert!(up.int("bear_pool_connects") > before.int("bear_pool_connects"));
    assert_eq!(up.int("bear_entries"), 0);
    eventually("what was cold is swept", || {
        redis.info("bear").int("bear_sweeping_all") == 0 && redis.keys().is_empty()
    });
}

#[test]
fn states_without_a_url_and_on_a_replica() {
    let database = bears::database();
    let redis = Redis::builder().start();
    let info = redis.info("bear");
    assert_eq!(info.text("bear_postgres_state"), "not configured");
    assert_eq!(info.get("bear_postgres_url"), None);
    let master = Redis::with(&database);
    let replica = Redis::builder().postgres(&database).replica_of(&master).start();
    replica.wait_in_sync(&master);
    assert_eq!(replica.info("bear").text("bear_role"), "replica");
    let before = replica.info("bear");
    assert_eq!(replica.run("BEAR.QUERY bear size 90 90").text(), bears::json(&[8]));
    assert_eq!(moved(&replica, "bear", &before), expected(&[("misses", 1), ("fills", 1), ("discarded", 1)]));
    assert!(replica.run("REPLICAOF NO ONE").is_ok());
    assert_eq!(replica.info("bear").text("bear_role"), "master");
}
