//! Schemas of public projects, with the catalogs that are proposed for them: nothing is stale. `make check-prove` brings them.
//!
//! `BEAR_TEST_SCHEMAS` is the folder of their files, `BEAR_TEST_SECONDS` the time for each (60).

use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::prove::run::Feed;
use crate::prove::{never, prove, Options};
use crate::support::postgres::program;
use crate::support::{Postgres, Redis};

/// Tables that one must have to be worth the time.
const LEAST: i64 = 50;

#[test]
#[ignore = "the schemas are brought by make check-prove"]
fn what_is_proposed_for_public_schemas_leaves_nothing_stale() {
    let folder = std::env::var_os("BEAR_TEST_SCHEMAS").map(PathBuf::from).expect("make check-prove names the folder");
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("a file").path()).collect();
    files.sort();
    assert!(files.len() >= 3, "{files:?}");
    files.iter().for_each(holds);
}

fn holds(file: &PathBuf) {
    println!("{}", file.display());
    let database = Postgres::shared().database("");
    database.log_errors_only();
    // What is missing here, such as an extension, is missing in the copy as well.
    let mut psql = Command::new(program("psql"));
    psql.args(["-Xq", "-d", &database.url(), "-f"]).arg(file).stdout(Stdio::null()).stderr(Stdio::null());
    assert!(psql.status().expect("psql runs").success());
    let count = "SELECT count(*) FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')";
    let tables: i64 = database.client().query_one(count, &[]).unwrap().get(0);
    assert!(tables >= LEAST, "{tables} tables");
    let redis = Redis::builder().postgres(&database).config("bear.feed", "off").start();
    let catalog = redis.run("BEAR.PROPOSE").text();
    drop(redis);
    let seconds = std::env::var("BEAR_TEST_SECONDS").map_or(60, |text| text.parse().expect("a number"));
    let seed = std::env::var("BEAR_TEST_SEED").map_or(20, |text| text.parse().expect("a number"));
    let time = std::time::Duration::from_secs(seconds);
    let feeds = vec![Feed::Wal, Feed::Outbox, Feed::Off];
    let options = Options { catalog, url: database.url(), time, seed, feeds, mutation: None, enough: never };
    let report = prove(&options, |line| println!("{line}")).unwrap_or_else(|trouble| panic!("{trouble:#?}"));
    println!("{}", report.to_text());
    assert!(!report.is_stale(), "{}", report.to_text());
    // Without a feed its jobs have to tell of all that they change.
    let refused: Vec<&String> = report.notes.iter().filter(|note| note.contains("not tried")).collect();
    assert!(refused.is_empty(), "{refused:#?}");
    let is_read = |line: &&crate::prove::report::Line| line.figures.reads > 0;
    let read = report.lines.iter().filter(is_read).count();
    // A table that stays empty, or is not followed, has nothing to read.
    assert!(read * 10 > report.lines.len() * 8, "{read} of {} queries were read", report.lines.len());
}
