//! The catalogs of the repository leave nothing stale, whoever writes and however changes are told. `BEAR_TEST_SECONDS` for each (6).

use super::report;
use crate::prove::run::Feed;

fn holds(schema: &str, catalog: &str) {
    let seconds = std::env::var("BEAR_TEST_SECONDS").map_or(6, |text| text.parse().expect("a number"));
    let report = report(schema, catalog, seconds, &[Feed::Wal, Feed::Outbox, Feed::Off]);
    println!("{}", report.to_text());
    assert!(!report.is_stale(), "{}", report.to_text());
    assert_eq!(report.feeds.len(), 3, "{:?}", report.notes);
    for line in &report.lines {
        assert!(
            line.figures.reads > 0,
            "{} {} was never answered from the cache: {:?}",
            line.section,
            line.call,
            line.figures
        );
        assert!(line.figures.raced > 0, "no client asked {} {} meanwhile", line.section, line.call);
    }
    assert!(report.lines.iter().any(|line| line.figures.drops > 0));
    assert!(!report.notes.iter().any(|note| note.contains("stays empty")), "{:?}", report.notes);
}

#[test]
fn bears() {
    holds(include_str!("../../../schema/bear.sql"), include_str!("../../../catalogs/bear.toml"));
}

#[test]
fn exams() {
    holds(include_str!("../../../schema/exam.sql"), include_str!("../../../catalogs/exam.toml"));
}

#[test]
fn salons() {
    holds(include_str!("../../../schema/salon.sql"), include_str!("../../../catalogs/salon.toml"));
}
