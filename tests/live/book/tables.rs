//! Tables of the reference against what the server says.

use std::collections::{BTreeMap, BTreeSet};

use crate::support::bears;
use crate::support::markdown::{code_spans, read, rows};
use crate::support::{eventually, Postgres, Redis};

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
const SOMETIMES: [&str; 3] = ["postgres_last_error", "feed_last_error", "appliers_last_error"];

#[test]
fn the_metrics_page_has_every_figure() {
    let database = bears::database_in(Postgres::shared_logical());
    let redis = Redis::with(&database);
    crate::feed::wait_told(&redis);
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
