//! Clients ask while changes are made: a module that keeps, or hands on, what a change has overtaken is caught with anybody's catalog. That
//! nothing is stale without such a fault, `repository.rs` and `schemas.rs` show.

use super::options;
use crate::prove::prove;
use crate::prove::run::Feed;

const SCHEMA: &str = include_str!("../../../schema/bear.sql");
const CATALOG: &str = include_str!("../../../catalogs/bear.toml");

/// It ends as soon as the fault is seen, which takes its time on a busy machine.
const LONGEST_S: u64 = 90;

fn assert_is_caught(mutation: &'static str, feed: Feed) {
    let (_database, mut options) = options(SCHEMA, CATALOG, LONGEST_S, &[feed]);
    options.mutation = Some(mutation);
    options.enough = |figures| figures.iter().any(|of| of.overtaken > 0);
    let report = prove(&options, |line| println!("{line}")).unwrap_or_else(|trouble| panic!("{trouble:#?}"));
    let text = report.to_text();
    println!("{text}");
    let found = report.lines.iter().find_map(|line| line.overtaken.as_ref());
    let (of, overtaken) = found.unwrap_or_else(|| panic!("nobody has noticed {mutation}: {text}"));
    assert_eq!(*of, feed.name());
    assert!(report.is_stale() && overtaken.span.floor > 0 && !overtaken.right.contains(&(0, overtaken.answer.clone())));
    for said in ["stale in a race: ", "# asked when change ", "# answered: ", "# Postgres, ", "redis-cli BEAR.QUERY "] {
        assert!(text.contains(said), "{said} is not in {text}");
    }
    assert!(report.to_json().contains("\"ceiling\""));
}

#[test]
#[cfg_attr(not(debug_assertions), ignore = "only a debug build can be made to fail")]
fn storing_what_a_change_has_overtaken_is_caught() {
    assert_is_caught("no-strike-check", Feed::Wal);
}

#[test]
#[cfg_attr(not(debug_assertions), ignore = "only a debug build can be made to fail")]
fn joining_a_fetch_that_a_change_has_overtaken_is_caught() {
    assert_is_caught("join-struck", Feed::Off);
}

#[test]
#[cfg_attr(not(debug_assertions), ignore = "only a debug build can be made to fail")]
fn storing_before_tracking_is_caught() {
    assert_is_caught("publish-before-tracking", Feed::Outbox);
}
