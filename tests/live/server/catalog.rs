//! BEAR.CATALOG shows what is loaded and what Postgres said of it; BEAR.RELOAD replaces all of it or nothing.

use std::collections::BTreeMap;

use crate::support::bears::{self, selects};
use crate::support::{eventually, jobs, Database, Postgres, Redis, Reply};

fn texts(reply: &Reply) -> Vec<String> {
    reply.list().iter().map(Reply::text).collect()
}

fn overview(redis: &Redis) -> BTreeMap<String, Reply> {
    redis.run("BEAR.CATALOG").map()
}

#[track_caller]
fn wait_checked(redis: &Redis) {
    eventually("the catalog is checked", || overview(redis)["checked"].text() == "yes");
}

/// A section `bear` with one query; `call` and what it selects.
fn catalog(call: &str, sql: &str) -> String {
    format!("[bear]\nid = \"int\"\ntables = {{ bear = \"id\" }}\n[[bear.query]]\ncall = \"{call}\"\nsql = \"{sql}\"\n")
}

fn write(redis: &Redis, text: &str) {
    std::fs::write(redis.catalog_path(), text).expect("the catalog");
}

/// A server with a catalog that is checked, and one entry of it: `{"id":8}`.
fn start(database: &Database) -> Redis {
    let redis = Redis::builder()
        .postgres(database)
        .catalog(catalog("size {x:int}", "SELECT id FROM bear b WHERE size = {x}"))
        .start();
    wait_checked(&redis);
    assert_eq!(redis.run("BEAR.QUERY bear size 90").text(), r#"[{"id":8}]"#);
    redis.wait_stored();
    redis
}

#[test]
fn the_overview_names_file_sections_and_problems() {
    let database = bears::database();
    let redis = Redis::with(&database);
    wait_checked(&redis);
    for mut wire in [redis.wire(), redis.resp3_wire()] {
        let found = wire.run("BEAR.CATALOG").map();
        assert_eq!(found.keys().collect::<Vec<_>>(), ["checked", "errors", "file", "sections", "warnings"]);
        assert_eq!(found["file"].text(), "the bear catalog");
        assert_eq!(found["checked"].text(), "yes");
        assert_eq!(texts(&found["sections"]), ["bear", "color"]);
        assert!(found["errors"].list().is_empty(), "{found:?}");
    }
    let redis = start(&database);
    assert_eq!(overview(&redis)["file"].text(), redis.catalog_path().to_str().unwrap());
}

#[test]
fn a_section_shows_its_queries_and_jobs() {
    let redis = Redis::builder().start();
    for mut wire in [redis.wire(), redis.resp3_wire()] {
        let found = wire.run("BEAR.CATALOG bear").map();
        assert_eq!(
            found.keys().collect::<Vec<_>>(),
            [
                "group",
                "id",
                "jitter_percent",
                "jobs",
                "limit",
                "named_limits",
                "open",
                "queries",
                "refresh_ahead_ms",
                "section",
                "stale_ms",
                "tables",
                "tenant",
                "tenant_column",
                "ttl_ms",
                "values"
            ]
        );
        assert_eq!((found["section"].text(), found["id"].text()), ("bear".into(), "int".into()));
        assert!(found["tenant"].is_nil() && found["tenant_column"].is_nil() && found["group"].is_nil());
        assert!(found["open"].is_nil() && found["limit"].list().is_empty());
        assert_eq!(found["ttl_ms"], Reply::Int(300_000));
        assert_eq!(texts(&found["tables"]), ["bear", "bear_colors", "color"]);
        let queries: Vec<_> = found["queries"].list().iter().map(Reply::map).collect();
        let calls: Vec<_> = queries.iter().map(|query| query["call"].text()).collect();
        assert_eq!(
            calls,
            [
                "all",
                "size {start:int} {end:int} [limit {limit:int}] [after {after:int}]",
                "colors {colors:text[]}",
                "colors {colors:text[]} size {start:int} {end:int}"
            ]
        );
        let by_size = &queries[1];
        assert!(by_size["sql"].text().contains("BETWEEN $1 AND $2"), "{by_size:?}");
        assert_eq!(by_size["match"].text(), "size between {start} and {end}");
        assert_eq!(texts(&by_size["tags"]), ["color:{row.colors}"]);
        assert!(queries[0]["match"].is_nil());
        assert!(by_size["on"].map().is_empty());
        let jobs: Vec<_> = found["jobs"].list().iter().map(Reply::map).collect();
        let update = jobs.iter().find(|job| job["job"].text() == "UPDATE_BEAR").expect("the job");
        let data = update["data"].map();
        let data: Vec<_> = data.iter().map(|(name, ty)| format!("{name} {}", ty.text())).collect();
        assert_eq!(data, ["id int", "name text?", "size int?"]);
        assert_eq!(texts(&update["order"]), ["id"]);
        assert!(update["claim"].is_nil());
        assert_eq!(jobs.len(), 6);
    }
    // Booleans and maps are RESP3's own there.
    let query = |mut wire: crate::support::Wire| wire.run("BEAR.CATALOG bear").map()["queries"].list()[1].map();
    assert_eq!(query(redis.wire())["rows"], Reply::Int(1));
    assert_eq!(query(redis.resp3_wire())["rows"], Reply::Bool(true));
    assert_eq!(query(redis.resp3_wire())["single"], Reply::Bool(false));
    assert!(matches!(redis.resp3_wire().run("BEAR.CATALOG"), Reply::Map(_)));
    assert!(matches!(redis.wire().run("BEAR.CATALOG"), Reply::Array(_)));
}

#[test]
fn sections_may_have_nothing_but_jobs_for_workers() {
    let database = Postgres::shared().database("");
    let text = "[email.job.SEND]\ndata = { to = \"text\", n = \"int?\" }\norder = [\"to\"]\n\
                claim = { lease = \"10s\", backoff = [\"1s\", \"5m\"], jitter = \"20%\", keep = 100, keep_failed = \"7d\" }\n\
                [[email.limit]]\nconcurrency = 5\nrate = \"80/s\"\n[[email.limit]]\nby = \"to\"\nconcurrency = 1\n\
                [mail]\nopen = true\ntenant = \"text\"\norder = [\"to\"]\n";
    let redis = Redis::builder().postgres(&database).catalog(text.to_owned()).start();
    wait_checked(&redis);
    let found = overview(&redis);
    assert!(found["errors"].list().is_empty() && found["warnings"].list().is_empty(), "{found:?}");
    for mut wire in [redis.wire(), redis.resp3_wire()] {
        let email = wire.run("BEAR.CATALOG email").map();
        assert!(email["id"].is_nil() && email["open"].is_nil() && email["queries"].list().is_empty());
        let limits: Vec<_> = email["limit"].list().iter().map(Reply::map).collect();
        assert!(limits[0]["by"].is_nil() && limits[1]["rate"].is_nil() && limits.len() == 2, "{limits:?}");
        assert_eq!((&limits[0]["concurrency"], limits[0]["rate"].text()), (&Reply::Int(5), "80/s".into()));
        assert_eq!((limits[1]["by"].text(), &limits[1]["concurrency"]), ("to".into(), &Reply::Int(1)));
        let claim = email["jobs"].list()[0].map()["claim"].map();
        assert_eq!((&claim["lease_ms"], &claim["attempts"]), (&Reply::Int(10_000), &Reply::Int(3)));
        assert_eq!((&claim["jitter_percent"], &claim["priority"]), (&Reply::Int(20), &Reply::Int(5)));
        assert_eq!((texts(&claim["backoff"]), &claim["keep"]), (vec!["1s".into(), "5m".into()], &Reply::Int(100)));
        assert_eq!(claim["keep_failed"].text(), "7d");

        let mail = wire.run("BEAR.CATALOG mail").map();
        let open = mail["open"].map();
        assert_eq!(texts(&open["order"]), ["to"]);
        let claim = open["claim"].map();
        assert_eq!((claim["backoff"].text(), &claim["lease_ms"]), ("2s".into(), &Reply::Int(30_000)));
        assert!(claim["keep"].is_nil() && mail["limit"].list().is_empty());
    }
}

#[test]
fn a_reload_takes_what_the_file_says_now() {
    let database = bears::database();
    let redis = start(&database);
    write(&redis, &catalog("named {name:text}", "SELECT id, size FROM bear b WHERE name = {name}"));
    assert!(redis.run("BEAR.QUERY bear named Yogi").is_error(), "not before the reload");
    assert!(redis.run("BEAR.RELOAD").is_ok());
    assert_eq!(redis.run("BEAR.QUERY bear named Yogi").text(), r#"[{"id":5,"size":150}]"#);
    assert!(redis.run("BEAR.QUERY bear size 90").error().contains("it has: named {name}"));
    assert_eq!(overview(&redis)["checked"].text(), "yes", "its statements were tried first");
}

#[test]
fn a_reload_of_the_same_file_keeps_what_is_cached() {
    let database = bears::database();
    let redis = start(&database);
    assert!(redis.run("BEAR.RELOAD").is_ok());
    assert_eq!(redis.run("BEAR.QUERY bear CACHED size 90").text(), r#"[{"id":8}]"#);
    let same = std::fs::read_to_string(redis.catalog_path()).unwrap();
    write(&redis, &format!("# a comment\n\n{same}\n[color]\nid = \"int\"\n"));
    assert!(redis.run("BEAR.RELOAD").is_ok());
    assert_eq!(redis.run("BEAR.QUERY bear CACHED size 90").text(), r#"[{"id":8}]"#, "its section is as it was");
    assert_eq!(texts(&overview(&redis)["sections"]), ["bear", "color"]);
    // Its metadata still leads to it.
    assert_eq!(redis.run("BEAR.INVALIDATE bear ROW 8"), Reply::Int(1));
    assert!(redis.run("BEAR.QUERY bear CACHED size 90").is_nil());
}

#[test]
fn a_changed_section_is_cold() {
    let database = bears::database();
    let redis = start(&database);
    write(&redis, &catalog("size {x:int}", "SELECT id, name FROM bear b WHERE size = {x}"));
    assert!(redis.run("BEAR.RELOAD").is_ok());
    assert!(redis.run("BEAR.QUERY bear CACHED size 90").is_nil(), "the entry is of another statement");
    assert_eq!(redis.run("BEAR.QUERY bear size 90").text(), r#"[{"id":8,"name":"Paddington"}]"#);
    redis.wait_stored();
    eventually("only the new entry and its metadata are left", || {
        redis.keys() == ["bear:meta:8:caches", "bear:size:90"]
    });
    assert_eq!(redis.run("BEAR.INVALIDATE bear ROW 8"), Reply::Int(1));
}

#[test]
fn what_does_not_load_or_prepare_changes_nothing() {
    let database = bears::database();
    let redis = start(&database);
    for (text, parts) in [
        ("[bear\n".to_owned(), &["catalog.toml", "line 1"][..]),
        (String::new(), &["the catalog has no section"]),
        (catalog("size {x:int}", "SELECT id FROM bear b WHERE size = {y}"), &["section 'bear'", "{y}"]),
        (
            catalog("other", "SELECT id, nothing FROM bear b"),
            &["section 'bear', query 'other'", "column \"nothing\" does not exist", "42703"],
        ),
        (catalog("other", "SELECT id FROM beer"), &["section 'bear', query 'other'", "beer", "42P01"]),
        (catalog("other", "SELEC id FROM bear"), &["section 'bear', query 'other'", "42601"]),
        (catalog("other", "SELECT name FROM bear b"), &["section 'bear', query 'other'", "return the row id as 'id'"]),
        (catalog("other", "SELECT id, size AS _siez FROM bear b"), &["section 'bear', query 'other'", "_siez"]),
        (catalog("other {x:text}", "SELECT id FROM bear b WHERE size = {x}"), &["query 'other {x:text}'", "42883"]),
        (
            catalog("other", "SELECT id FROM bear b") + "match = \"weight = 1\"\n",
            &["section 'bear'", "row"],
        ),
        (
            catalog("other", "SELECT id FROM bear b")
                .replace("[[bear.query]]", "row = \"SELECT id FROM bear WHERE id = ANY({ids})\"\n[[bear.query]]")
                + "match = \"size = 1\"\n",
            &["section 'bear', row", "size", "42703"],
        ),
        (
            catalog("other", "SELECT id FROM bear b")
                + "[bear.job.RENAME]\ndata = { id = \"int\" }\nsql = \"UPDATE bear SET nam = 'x' FROM {jobs} job WHERE bear.id = job.id RETURNING job.n, bear.id\"\n",
            &["section 'bear', job RENAME", "nam", "42703"],
        ),
    ] {
        write(&redis, &text);
        let reply = redis.run("BEAR.RELOAD");
        let line = reply.error();
        assert!(line.starts_with("ERR nothing is changed: "), "{line}");
        for part in parts {
            assert!(line.contains(part), "{line:?} lacks {part:?}");
        }
        assert!(redis.run("BEAR.QUERY bear other").error().contains("it has: size {x}"));
        assert_eq!(redis.run("BEAR.QUERY bear CACHED size 90").text(), r#"[{"id":8}]"#);
        let found = overview(&redis);
        assert!(found["checked"].text() == "yes" && found["errors"].list().is_empty(), "{found:?}");
    }
    std::fs::remove_file(redis.catalog_path()).unwrap();
    assert!(redis.run("BEAR.RELOAD").error().contains("cannot read the catalog"));
    assert_eq!(redis.run("BEAR.QUERY bear size 90").text(), r#"[{"id":8}]"#);
    assert_eq!(selects(&database), 1);
}

#[test]
fn a_check_executes_nothing_of_the_catalog() {
    let database = bears::database();
    let redis = start(&database);
    let text = catalog("other", "SELECT id FROM bear b; DROP TABLE bear_colors")
        + "[bear.job.EMPTY]\ndata = { id = \"int\" }\nsql = \"DELETE FROM bear_colors USING {jobs} job RETURNING job.n, bear_id AS id\"\n";
    write(&redis, &text);
    assert!(redis.run("BEAR.RELOAD").error().contains("query 'other'"));
    write(&redis, &text.replace("; DROP TABLE bear_colors", ""));
    assert!(redis.run("BEAR.RELOAD").is_ok());
    let left: i64 = database.client().query_one("SELECT count(*) FROM bear_colors", &[]).unwrap().get(0);
    assert_eq!(left, 9);
}

#[test]
fn a_reload_strikes_fetches_under_way() {
    let database = bears::database();
    let gated = |column: &str| {
        let gated = format!("SELECT id, {column} FROM gate(), bear b WHERE size = {{x}}");
        catalog("size {x:int}", &gated) + "trust = \"a gate holds it\"\n"
    };
    let redis = Redis::builder().postgres(&database).catalog(gated("name")).start();
    wait_checked(&redis);
    let mut gate = database.close_gate();
    let mut client = redis.wire();
    client.begin("BEAR.QUERY bear size 90");
    gate.wait(1);
    write(&redis, &gated("size"));
    assert!(redis.run("BEAR.RELOAD").is_ok());
    let mut later = redis.wire();
    later.begin("BEAR.QUERY bear size 90");
    gate.wait(2);
    gate.open();
    assert_eq!(client.receive().text(), r#"[{"id":8,"name":"Paddington"}]"#, "it asked the old catalog");
    assert_eq!(later.receive().text(), r#"[{"id":8,"size":90}]"#);
    redis.wait_stored();
    assert_eq!(redis.run("BEAR.QUERY bear CACHED size 90").text(), r#"[{"id":8,"size":90}]"#);
}

const TRUST: &str = "trust = \"colors never change\"\n";

#[test]
fn relations_that_no_section_maps_are_warned_of() {
    let database = bears::database();
    let redis = start(&database);
    assert!(overview(&redis)["warnings"].list().is_empty(), "{:?}", overview(&redis));
    let sql =
        "SELECT b.id, c.name FROM bear b JOIN bear_colors x ON x.bear_id = b.id JOIN color c ON c.id = x.color_id";
    // Derived it is told by a feed, of which there is none here; where its author answers for it nobody tells of it.
    write(&redis, &catalog("colored", sql));
    assert!(redis.run("BEAR.RELOAD").is_ok());
    eventually("it is said who tells", || {
        let warnings = texts(&overview(&redis)["warnings"]);
        warnings.len() == 2 && warnings.iter().all(|warning| warning.contains("told by BEAR.INVALIDATE"))
    });
    write(&redis, &(catalog("colored", sql) + TRUST));
    assert!(redis.run("BEAR.RELOAD").is_ok());
    let warnings = texts(&overview(&redis)["warnings"]);
    assert_eq!(
        warnings,
        [
            "section 'bear', query 'colored': reads relation 'bear_colors', which no section maps",
            "section 'bear', query 'colored': reads relation 'color', which no section maps"
        ]
    );
    assert_eq!(redis.info("bear").int("bear_catalog_warnings"), 2);
    for warning in &warnings {
        assert!(redis.log().contains(warning), "it is logged too");
    }
    assert!(redis.run("BEAR.QUERY bear colored").json().is_array());
    // Mapped anywhere in the catalog it is no surprise.
    let mapped =
        "on = { paint = \"*\" }\n[paint]\nid = \"int\"\ntables = { color = \"id\", bear_colors = \"color_id\" }\n";
    write(&redis, &(catalog("colored", sql) + TRUST + mapped));
    assert!(redis.run("BEAR.RELOAD").is_ok());
    assert!(overview(&redis)["warnings"].list().is_empty());
}

#[test]
fn a_view_is_warned_of_by_what_it_reads() {
    let database = bears::database();
    database.run("CREATE VIEW colored AS SELECT b.id, x.color_id FROM bear b JOIN bear_colors x ON x.bear_id = b.id");
    let redis = start(&database);
    write(&redis, &(catalog("colored", "SELECT id FROM colored") + TRUST));
    assert!(redis.run("BEAR.RELOAD").is_ok());
    let warnings = texts(&overview(&redis)["warnings"]);
    assert_eq!(warnings, ["section 'bear', query 'colored': reads relation 'bear_colors', which no section maps"]);
}

#[test]
fn in_transactions_and_scripts_a_reload_is_nowait() {
    let database = bears::database();
    let redis = start(&database);
    write(&redis, &catalog("other", "SELECT id FROM bear b"));
    let mut wire = redis.wire();
    assert!(wire.run("MULTI").is_ok());
    wire.run("BEAR.RELOAD");
    let reply = wire.run("EXEC");
    assert!(reply.list()[0].error().starts_with("NOWAIT "), "{reply:?}");
    let reply = wire.call(&["EVAL", "return redis.pcall('BEAR.RELOAD')", "0"]);
    assert!(reply.error().starts_with("NOWAIT "), "{reply:?}");
    assert!(redis.run("BEAR.QUERY bear other").is_error(), "nothing is changed");
}

#[test]
fn two_reloads_at_once_both_end() {
    let database = bears::database();
    let redis = start(&database);
    let mut holder = database.client();
    let mut lock = holder.transaction().unwrap();
    lock.batch_execute("LOCK TABLE bear IN ACCESS EXCLUSIVE MODE").unwrap();
    let (mut first, mut second) = (redis.wire(), redis.wire());
    first.begin("BEAR.RELOAD");
    redis.wait_blocked(1);
    second.begin("BEAR.RELOAD");
    let refused = second.receive();
    assert!(refused.error().starts_with("ERR another BEAR.RELOAD is being checked"), "{refused:?}");
    assert_eq!(redis.run("BEAR.QUERY bear size 90").text(), r#"[{"id":8}]"#, "the old one serves meanwhile");
    lock.rollback().unwrap();
    assert!(first.receive().is_ok());
    assert!(redis.run("BEAR.RELOAD").is_ok());
}

#[test]
fn a_client_that_leaves_its_reload_does_not_stop_it() {
    let database = bears::database();
    let redis = start(&database);
    write(&redis, &catalog("other", "SELECT id FROM bear b WHERE size = 90"));
    let mut holder = database.client();
    let mut lock = holder.transaction().unwrap();
    lock.batch_execute("LOCK TABLE bear IN ACCESS EXCLUSIVE MODE").unwrap();
    let mut client = redis.wire();
    client.begin("BEAR.RELOAD");
    redis.wait_blocked(1);
    drop(client);
    redis.wait_blocked(0);
    lock.rollback().unwrap();
    eventually("the new catalog is there", || !redis.run("BEAR.QUERY bear other").is_error());
    assert!(redis.run("BEAR.RELOAD").is_ok());
}

#[test]
fn a_catalog_loaded_without_postgres_is_checked_when_it_comes() {
    let postgres = Postgres::start();
    let database = bears::database_in(&postgres);
    postgres.stop_fast();
    let text = catalog("colored", "SELECT b.id FROM bear b JOIN bear_colors x ON x.bear_id = b.id")
        + TRUST
        + "[[bear.query]]\ncall = \"broken\"\nsql = \"SELECT id, nothing FROM bear b\"\n";
    let redis = Redis::builder().postgres(&database).catalog(text).start();
    let found = overview(&redis);
    assert_eq!(found["checked"].text(), "Postgres has not answered yet");
    assert!(found["errors"].list().is_empty() && found["warnings"].list().is_empty());
    postgres.start_again();
    wait_checked(&redis);
    let found = overview(&redis);
    let [error] = &texts(&found["errors"])[..] else { panic!("{found:?}") };
    for part in ["section 'bear', query 'broken'", "nothing", "42703"] {
        assert!(error.contains(part), "{error}");
    }
    assert_eq!(
        texts(&found["warnings"]),
        ["section 'bear', query 'colored': reads relation 'bear_colors', which no section maps"]
    );
    assert!(redis.log().contains(error), "it is logged");
    let info = redis.info("bear");
    assert_eq!((info.int("bear_catalog_errors"), info.int("bear_catalog_warnings")), (1, 1));
    // What is right works.
    assert!(redis.run("BEAR.QUERY bear colored").json().is_array());
    assert!(redis.run("BEAR.QUERY bear broken").error().starts_with("QUERY "));
}

#[test]
fn while_postgres_is_away_the_file_alone_decides() {
    let postgres = Postgres::start();
    let database = bears::database_in(&postgres);
    let redis = start(&database);
    postgres.stop_immediate();
    eventually("it is noticed", || {
        redis.run("BEAR.QUERY bear FRESH size 1");
        redis.info("bear").text("bear_postgres_state") == "down"
    });
    write(&redis, "[bear\n");
    assert!(redis.run("BEAR.RELOAD").error().starts_with("ERR nothing is changed: "));
    write(&redis, &catalog("broken", "SELECT id, nothing FROM bear b"));
    assert!(redis.run("BEAR.RELOAD").is_ok());
    assert_eq!(overview(&redis)["checked"].text(), "Postgres has not answered yet");
    postgres.start_again();
    wait_checked(&redis);
    assert!(texts(&overview(&redis)["errors"])[0].contains("nothing"));
}

#[test]
fn a_postgres_that_goes_away_during_a_reload_changes_nothing() {
    let postgres = Postgres::start();
    let database = bears::database_in(&postgres);
    let redis = start(&database);
    write(&redis, &catalog("other", "SELECT id FROM bear b"));
    let mut holder = database.client();
    holder.batch_execute("BEGIN; LOCK TABLE bear IN ACCESS EXCLUSIVE MODE").unwrap();
    let mut client = redis.wire();
    client.begin("BEAR.RELOAD");
    redis.wait_blocked(1);
    postgres.stop_immediate();
    let reply = client.receive();
    assert!(reply.error().starts_with("POSTGRES nothing is changed: "), "{reply:?}");
    assert!(redis.run("BEAR.QUERY bear other").error().contains("it has: size {x}"));
    postgres.start_again();
    eventually("it is reloaded once Postgres is back", || redis.run("BEAR.RELOAD").is_ok());
    eventually("its query answers", || !redis.run("BEAR.QUERY bear other").is_error());
}

#[test]
fn figures_of_a_section_outlive_a_reload() {
    let database = bears::database();
    let redis = start(&database);
    let before = redis.info("bear");
    assert_eq!(before.int("bear_misses"), 1);
    let same = std::fs::read_to_string(redis.catalog_path()).unwrap();
    write(&redis, &format!("[alpha]\nid = \"int\"\n{same}"));
    assert!(redis.run("BEAR.RELOAD").is_ok());
    let info = redis.info("bear");
    assert_eq!(info.text("bear_section_bear"), before.text("bear_section_bear"));
    assert!(info.text("bear_section_alpha").starts_with("hits=0,"), "{info:?}");
}

/// Has `bear.catalog` name a file with this text.
#[track_caller]
fn set_catalog(redis: &Redis, name: &str, text: &str) {
    let path = redis.folder().join(name);
    std::fs::write(&path, text).unwrap();
    let reply = redis.wire().call(&["CONFIG", "SET", "bear.catalog", path.to_str().unwrap()]);
    assert!(reply.is_ok(), "{reply:?}");
}

#[test]
fn a_reload_under_way_does_not_undo_a_catalog_that_is_set_later() {
    let database = bears::database();
    let redis = start(&database);
    write(&redis, &catalog("older", "SELECT id FROM bear b WHERE size = 90"));
    let mut holder = database.client();
    let mut lock = holder.transaction().unwrap();
    lock.batch_execute("LOCK TABLE bear IN ACCESS EXCLUSIVE MODE").unwrap();
    let mut client = redis.wire();
    client.begin("BEAR.RELOAD");
    redis.wait_blocked(1);
    set_catalog(&redis, "later.toml", &catalog("later", "SELECT id FROM bear b WHERE size = 90"));
    let reply = client.receive();
    assert!(reply.error().starts_with("ERR nothing is changed: "), "{reply:?}");
    lock.rollback().unwrap();
    wait_checked(&redis);
    let found = overview(&redis);
    assert!(found["file"].text().ends_with("later.toml") && found["errors"].list().is_empty(), "{found:?}");
    assert_eq!(redis.run("BEAR.QUERY bear later").text(), r#"[{"id":8}]"#);
    assert!(redis.run("BEAR.QUERY bear older").error().contains("it has: later"));
}

#[test]
fn the_report_on_one_catalog_is_not_taken_for_that_on_the_next() {
    let database = bears::database();
    let redis = start(&database);
    let mut holder = database.client();
    let mut lock = holder.transaction().unwrap();
    lock.batch_execute("LOCK TABLE bear IN ACCESS EXCLUSIVE MODE").unwrap();
    set_catalog(&redis, "bad.toml", &catalog("all", "SELECT id, nothing FROM bear b"));
    let mut looker = database.client();
    eventually("it is being checked", || {
        let sql = "SELECT FROM pg_locks WHERE NOT granted AND locktype = 'relation'
                   AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
        !looker.query(sql, &[]).unwrap().is_empty()
    });
    set_catalog(&redis, "good.toml", &catalog("all", "SELECT id FROM bear b WHERE size = 90"));
    lock.rollback().unwrap();
    wait_checked(&redis);
    let found = overview(&redis);
    assert!(found["file"].text().ends_with("good.toml") && found["errors"].list().is_empty(), "{found:?}");
    assert_eq!(redis.info("bear").int("bear_catalog_errors"), 0);
    assert!(!redis.log().contains("good.toml: section"), "{}", redis.log());
    assert_eq!(redis.run("BEAR.QUERY bear all").text(), r#"[{"id":8}]"#);
}

#[test]
fn a_section_that_comes_back_serves_nothing_of_its_former_life() {
    let database = bears::database();
    let redis = start(&database);
    let with = std::fs::read_to_string(redis.catalog_path()).unwrap();
    let without = "[den]\nid = \"int\"\n[[den.query]]\ncall = \"all\"\nsql = \"SELECT 1 AS id\"\n";
    for is_swept in [false, true] {
        assert_eq!(redis.run("BEAR.QUERY bear size 90").json()[0]["id"], 8);
        redis.wait_stored();
        write(&redis, without);
        assert!(redis.run("BEAR.RELOAD").is_ok());
        assert!(redis.run("BEAR.QUERY bear size 90").is_error());
        if is_swept {
            eventually("entries and sets are gone", || redis.keys().is_empty());
        }
        write(&redis, &with);
        assert!(redis.run("BEAR.RELOAD").is_ok());
        assert!(redis.run("BEAR.QUERY bear CACHED size 90").is_nil(), "swept before: {is_swept}");
    }
    assert_eq!(redis.run("BEAR.QUERY bear size 90").text(), r#"[{"id":8}]"#);
    redis.wait_stored();
    eventually("only what was stored last is left", || redis.keys() == ["bear:meta:8:caches", "bear:size:90"]);
    assert_eq!(redis.run("BEAR.INVALIDATE bear ROW 8"), Reply::Int(1));
}

/// Keys have the name of the space in them. Each of these used to be passed over without a word.
#[test]
fn another_group_leaves_what_stands_under_the_old_name_and_says_so() {
    let text = "[mail]\n[mail.job.SEND]\nclaim = { attempts = 1 }\n[other]\n";
    let grouped =
        text.replace("[mail]\n", "[mail]\ngroup = \"shop\"\n").replace("[other]\n", "[other]\ngroup = \"shop\"\n");
    let redis = Redis::builder().catalog(text).start();
    let mut wire = redis.wire();
    let mut run = |line: &str| wire.run(line);
    assert!(!run("BEAR.ENQUEUE mail SEND {} UNIQUE once").is_error());
    assert!(!run("BEAR.SCHEDULE mail nightly EVERY 86400000 JOB SEND {}").is_error());
    assert!(!run("BEAR.LIMITQUEUE mail CONCURRENCY 3").is_error());
    let claim = run("BEAR.CLAIM mail WORKER w").list()[0].map();
    assert!(!run(&format!("BEAR.FAIL mail {} {} no", claim["id"].text(), claim["token"].int())).is_error());
    assert!(!run("BEAR.ENQUEUE mail SEND {}").is_error());
    assert!(run("BEAR.LOCK mail only 600000").int() > 0);
    assert!(!run("BEAR.PAUSE mail").is_error());
    std::fs::write(redis.catalog_path(), &grouped).unwrap();
    assert!(run("BEAR.RELOAD").is_ok());
    let said = "the space 'mail' is '{shop}:mail' from now on, and what stands under the old name is seen no more: jobs, schedules, \
                a pause, limits, UNIQUE keys, records of jobs;";
    eventually("it is said", || redis.log().contains(said));
    // All of it is so.
    assert!(!run("BEAR.ENQUEUE {shop}:mail SEND {} UNIQUE once").is_error());
    assert_eq!(run("BEAR.SCHEDULES {shop}:mail").list().len(), 0);
    assert!(run("BEAR.LOCK {shop}:mail only 600000").int() > 0);
    assert_eq!(run("BEAR.CLAIM {shop}:mail WORKER w COUNT 5").list().len(), 1, "neither paused nor the old job");
    assert_eq!(jobs::stat(&mut redis.wire(), "{shop}:mail", "failed"), 0);
    // Nothing is there of a section that had nothing, and what was left is found again.
    assert!(!redis.log().contains("the space 'other'"), "{}", redis.log());
    std::fs::write(redis.catalog_path(), text).unwrap();
    assert!(run("BEAR.RELOAD").is_ok());
    assert_eq!(run("BEAR.SCHEDULES mail").list().len(), 1);
    assert_eq!(jobs::stat(&mut redis.wire(), "mail", "waiting"), 1);
    assert!(run("BEAR.LOCK mail only 600000").is_nil());
}
