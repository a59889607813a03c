//! Tables of the reference against what the server says.

use std::collections::{BTreeMap, BTreeSet};

use crate::support::bears;
use crate::support::markdown::{code_spans, read, rows};
use crate::support::{eventually, feed, Postgres, Redis};

/// Rows of the table of settings: name, unit, default, range, live, meaning.
fn settings() -> Vec<Vec<String>> {
    let rows = rows(&read("docs/reference/settings.md")).into_iter();
    rows.filter(|row| row[0].starts_with("`bear.")).collect()
}

fn name_of(row: &[String]) -> String {
    code_spans(&row[0]).pop().expect("a name")
}

#[test]
fn the_settings_page_has_every_setting_and_its_default() {
    let redis = Redis::builder().start();
    let found: BTreeMap<String, String> =
        redis.run("CONFIG GET bear.*").map().into_iter().map(|(name, value)| (name, value.text())).collect();
    let shown: BTreeMap<String, String> = settings()
        .into_iter()
        .map(|row| (name_of(&row), if row[2] == "empty" { String::new() } else { row[2].clone() }))
        .collect();
    assert_eq!(shown, found);
}

#[test]
fn the_settings_page_has_their_ranges_and_says_which_are_live() {
    let redis = Redis::builder().start();
    let mut wire = redis.wire();
    for row in settings() {
        let (name, range, live) = (name_of(&row), &row[3], &row[4]);
        let mut set = |value: &str| wire.call(&["CONFIG", "SET", &name, value]);
        match live.as_str() {
            "no" => assert!(set("1").error().contains("immutable"), "{name}"),
            // Whether it is protected is tested where these are refused.
            "yes" | "protected" => assert!(set(&redis.config(&name)).is_ok(), "{name}"),
            other => panic!("{name}: '{other}' is neither yes, protected nor no"),
        }
        let Some((least, most)) = range.split_once(" to ").filter(|_| live == "yes") else { continue };
        let (least, most): (i64, i64) = (least.parse().expect("a number"), most.parse().expect("a number"));
        for value in [least, most] {
            assert!(set(&value.to_string()).is_ok(), "{name} {value}");
        }
        for value in [least - 1, most + 1] {
            assert!(set(&value.to_string()).is_error(), "{name} {value}");
        }
    }
}

/// What INFO shows only where something has gone wrong, or a replica would.
const SOMETIMES: [&str; 5] =
    ["inbox_last_error", "postgres_last_error", "feed_last_error", "appliers_last_error", "metrics_last_error"];

#[test]
fn the_metrics_page_has_every_figure() {
    let database = bears::database_in(Postgres::shared_logical());
    let redis = Redis::with(&database);
    feed::wait_told(&redis);
    assert!(!redis.run("BEAR.QUERY bear all").is_error());
    eventually("there is all of it", || {
        redis.info("bear").get("bear_postgres_timeline").is_some() && redis.info("bear").get("bear_pool_size").is_some()
    });
    let info = redis.info("bear");
    let of_sections: BTreeSet<&str> = info
        .get("bear_section_bear")
        .expect("a line")
        .split(',')
        .filter_map(|figure| figure.split('=').next())
        .collect();
    let found: BTreeSet<String> = info
        .names()
        .filter(|name| !name.starts_with("bear_section_"))
        .map(|name| name.strip_prefix("bear_").expect("bear_ before it").to_owned())
        .chain(SOMETIMES.map(ToOwned::to_owned))
        .collect();
    let shown: BTreeSet<String> = rows(&read("docs/reference/metrics.md"))
        .iter()
        .filter(|row| row.len() == 2 && row[1] != "meaning")
        .flat_map(|row| code_spans(&row[0]))
        .collect();
    assert_eq!(shown, found);
    for name in of_sections {
        assert!(shown.contains(name), "{name} of a section");
    }
}

/// What the page of keys says of one: after its space, with the row's id and such as `*`.
fn keys() -> Vec<(String, String)> {
    let rows = rows(&read("docs/reference/keys.md")).into_iter();
    rows.filter(|row| row.len() == 3 && row[0].starts_with('`')).map(|row| (name_of(&row), row[1].clone())).collect()
}

#[test]
fn the_page_of_keys_has_every_key_and_its_type() {
    let database = Postgres::shared().database(concat!(
        include_str!("../../../../schema/bear.sql"),
        include_str!("../../../support/bears.sql"),
        "CREATE FUNCTION refuse_size() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'not now'; END $$;",
        "CREATE TRIGGER fail BEFORE UPDATE ON bear FOR EACH ROW WHEN (NEW.size = 77) EXECUTE FUNCTION refuse_size();"
    ));
    let catalog = include_str!("../../../../catalogs/bear.toml").to_owned();
    let counted = "[[bear.query]]\ncall = \"count\"\nrows = false\nsingle = true\nsql = \"SELECT count(*) FROM bear\"\n\n[color]\n";
    let limit = "\n[bear.limit.search]\nburst = 1\nrate = \"1/h\"\n";
    let redis = Redis::builder().postgres(&database).catalog(catalog.replacen("[color]\n", counted, 1) + limit).start();
    let mut wire = redis.wire();
    // The jobs first, for they drop what is cached.
    for line in [
        r#"BEAR.ENQUEUE bear UPDATE_BEAR_SIZE {"id":1,"size":181} UNIQUE a BLOCK 0"#,
        r#"BEAR.ENQUEUE bear UPDATE_BEAR_SIZE {"id":404,"size":181} ATTEMPTS 1 BLOCK 0"#,
        r#"BEAR.ENQUEUE bear UPDATE_BEAR_SIZE {"id":2,"size":77} BACKOFF 60000"#,
        "BEAR.QUERY bear size 100 200",
        "BEAR.QUERY bear count",
        "BEAR.LOCK bear nightly 60000",
        "BEAR.LIMIT bear user:42 1 1 3600000",
        "BEAR.LIMIT bear search user:42",
        r#"BEAR.SCHEDULE bear yearly CRON @yearly JOB UPDATE_BEAR_SIZE {"id":1,"size":181}"#,
    ] {
        assert!(!wire.run(line).is_error(), "{line}");
    }
    redis.wait_stored();
    eventually("a job waits for its second attempt", || redis.keys().contains(&"bear:queue:attempts".to_owned()));
    assert!(wire.run("BEAR.PAUSE bear").is_ok());

    let shown = keys();
    // The page tells of products, by an example of each kind of key.
    let suffix = |key: &str| key.split_once(':').map(|(_, rest)| rest.to_owned()).unwrap_or_default();
    let general = |rest: &str| match rest.split(':').collect::<Vec<_>>()[..] {
        ["meta", "*", "caches"] => "meta:*:caches".to_owned(),
        ["meta", _, "caches"] => "meta:N:caches".to_owned(),
        ["tag", ..] => "tag:T".to_owned(),
        ["queue", ..] | ["@token"] => rest.to_owned(),
        ["@lock", _] => "@lock:N".to_owned(),
        ["@limit", _] => "@limit:K".to_owned(),
        ["@limit", _, _] => "@limit:N:K".to_owned(),
        _ => "entry".to_owned(),
    };
    let of_page: BTreeMap<String, String> = shown
        .iter()
        .filter(|(key, _)| !key.starts_with("bear.module:"))
        // Those of claimed jobs: no command makes them yet.
        .filter(|(key, _)| !suffix(key).starts_with("queue:work"))
        // And those of rows of `bear.inbox`.
        .filter(|(key, _)| !suffix(key).starts_with("queue:inbox"))
        .map(|(key, kind)| (general(&suffix(key)), kind.clone()))
        .collect();
    let of_server: BTreeMap<String, String> = redis
        .keys()
        .into_iter()
        .filter(|key| key.starts_with("bear:"))
        .map(|key| {
            let kind = wire.call(&["TYPE", &key]).text();
            (general(&suffix(&key)), if kind == "zset" { "sorted set".to_owned() } else { kind })
        })
        .collect();
    assert_eq!(of_page, of_server);
    let marks: BTreeSet<String> = redis.keys().into_iter().filter(|key| key.starts_with("bear.module:")).collect();
    assert!(marks.iter().all(|mark| shown.iter().any(|(key, _)| key == mark)), "{marks:?}");
}
