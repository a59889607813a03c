//! `make prove`: what it finds, how small it makes it, what it fills, and what it says of bad input.

mod input;
mod program;
mod public;
mod races;
mod repository;
mod schemas;
mod wrong;

use std::time::Duration;

use crate::prove::report::{Line, Report};
use crate::prove::run::Feed;
use crate::prove::{never, prove, Options};
use crate::support::Postgres;

fn options(schema: &str, catalog: &str, seconds: u64, feeds: &[Feed]) -> (crate::support::Database, Options) {
    let database = Postgres::shared().database(schema);
    let seed = std::env::var("BEAR_TEST_SEED").map_or(20, |text| text.parse().expect("a number"));
    let (catalog, time) = (catalog.to_owned(), Duration::from_secs(seconds));
    let (url, feeds) = (database.url(), feeds.to_vec());
    let options = Options { catalog, url, time, seed, feeds, mutation: None, enough: never };
    (database, options)
}

/// With one that must be possible.
fn report(schema: &str, catalog: &str, seconds: u64, feeds: &[Feed]) -> Report {
    let (_database, options) = options(schema, catalog, seconds, feeds);
    prove(&options, |line| println!("{line}")).unwrap_or_else(|trouble| panic!("{trouble:#?}"))
}

fn line<'a>(report: &'a Report, call: &str) -> &'a Line {
    report.lines.iter().find(|line| line.call == call).unwrap_or_else(|| panic!("no query {call}"))
}
