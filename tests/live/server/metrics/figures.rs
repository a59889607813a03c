//! The figures: those of INFO, of the page of metrics and of `/metrics` are the same, and each moves when what it counts happens.

use std::collections::{BTreeMap, BTreeSet};

use super::listening;
use crate::support::claims;
use crate::support::http::{self, scrape, Samples};
use crate::support::jobs::{self, set_drain};
use crate::support::markdown::{code_spans, read, rows};
use crate::support::wait::PATIENCE;
use crate::support::{bears, eventually, wait_at_most, Info, Postgres, Redis};

const CATALOG: &str = r#"
[bear]
id = "int"
tables = { bear = "id" }
[[bear.query]]
call = "all"
sql = "SELECT id FROM bear b ORDER BY id"
[bear.job.GROW]
data = { id = "int" }
sql = "UPDATE bear SET size = size + 1 FROM {jobs} job WHERE bear.id = job.id RETURNING job.n, bear.id"
[bear.job.MAIL]
data = { to = "text" }
claim = {}
[quiet]
id = "int"
[note]
id = "int"
tenant = "int"
[note.job.MAIL]
data = { to = "text" }
claim = {}
"#;

/// The series of the page's table, each with its kind, and the figure of INFO that it is made of.
fn series_of_the_page() -> BTreeMap<String, (String, Option<String>)> {
    let rows = rows(&read("docs/reference/metrics.md")).into_iter().filter(|row| row.len() == 5 && row[1] != "kind");
    rows.map(|row| (code_spans(&row[0]).remove(0), (row[1].clone(), code_spans(&row[3]).pop()))).collect()
}

/// Names and kinds of the series that are shown.
fn kinds(text: &str) -> BTreeMap<String, String> {
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    types.map(|(name, kind)| (name.to_owned(), kind.to_owned())).collect()
}

#[test]
fn the_page_has_every_series_and_info_has_its_figure() {
    let database = bears::database_in(Postgres::shared_logical());
    let (builder, port) = listening(Redis::builder().postgres(&database).catalog(CATALOG));
    let redis = builder.start();
    crate::support::feed::wait_told(&redis);
    assert!(!redis.run("BEAR.QUERY bear all").is_error());
    let page = series_of_the_page();
    eventually("every series is there", || {
        let shown = kinds(&http::get(port, "/metrics").body);
        let expected = page.iter().map(|(name, (kind, _))| (name.clone(), kind.clone())).collect();
        shown == expected
    });
    let info = redis.info("bear");
    let names: BTreeSet<String> = info.names().map(ToOwned::to_owned).collect();
    for (series, (_, figure)) in &page {
        if let Some(figure) = figure {
            assert!(names.contains(&format!("bear_{figure}")), "{series}: INFO has no {figure}");
        }
    }
    // And what INFO shows is there, or the page says why not.
    let told: BTreeSet<String> = page.values().filter_map(|(_, figure)| figure.clone()).collect();
    let left_out: BTreeSet<String> = rows(&read("docs/reference/metrics.md"))
        .into_iter()
        .filter(|row| row.len() == 2 && row[0].starts_with('`'))
        .flat_map(|row| code_spans(&row[0]))
        .collect();
    for name in names.iter().filter(|name| !name.starts_with("bear_section_")) {
        let name = name.strip_prefix("bear_").expect("bear_ before it");
        assert!(told.contains(name) || left_out.contains(name), "{name} is in INFO alone");
    }
}

/// Numbers of `/metrics` that are not, summed up, those of INFO.
fn differences(info: &Info, samples: &Samples) -> Vec<String> {
    let mut compared = 0;
    let mut differences = Vec::new();
    for (series, (_, figure)) in series_of_the_page() {
        let Some(figure) = figure else { continue };
        let Some(Ok(number)) = info.get(&format!("bear_{figure}")).map(str::parse::<f64>) else { continue };
        // What time alone, and asking, change.
        let moves = ["feed_told_ms", "longest", "batch_us_max", "inbox_polls", "metrics_scrapes", "schedules_next_ms"];
        if moves.iter().any(|name| figure.contains(name)) {
            continue;
        }
        let scale = if figure.ends_with("_ms") { 1e3 } else { 1.0 };
        let sum = samples.sum(&series).map(|sum| sum * scale);
        if sum != Some(number) {
            differences.push(format!("{series} is {sum:?}, {figure} {number}"));
        }
        compared += 1;
    }
    assert!(compared > 80, "{compared}");
    differences
}

/// Once nothing moves any more.
#[track_caller]
fn assert_same(redis: &Redis, port: u16) {
    let mut last = Vec::new();
    let same = wait_at_most(PATIENCE, || {
        last = differences(&redis.info("bear"), &scrape(port));
        last.is_empty().then_some(())
    });
    assert!(same.is_some(), "{last:#?}");
}

#[test]
fn what_happens_is_counted_in_its_section_and_info_has_the_sum() {
    let database = bears::database();
    let (builder, port) = listening(Redis::builder().postgres(&database).catalog(CATALOG));
    let redis = builder.start();
    let mut wire = redis.wire();
    for line in ["BEAR.QUERY bear all", "BEAR.QUERY bear all"] {
        assert!(!wire.run(line).is_error(), "{line}");
        redis.wait_stored();
    }
    jobs::complete(&mut wire, r#"bear GROW {"id":1}"#);
    jobs::enqueue(&mut wire, r#"bear GROW {"id":1} DELAY 3600000"#);
    for space in ["bear", "{7}:note", "{8}:note"] {
        claims::enqueue(&mut wire, &format!(r#"{space} MAIL {{"to":"a"}}"#));
        claims::enqueue(&mut wire, &format!(r#"{space} MAIL {{"to":"b"}}"#));
    }
    let held = claims::claim_one(&mut wire, "bear JOB MAIL WORKER w");
    let done = claims::claim_one(&mut wire, "{7}:note JOB MAIL WORKER w");
    claims::ack(&mut wire, &done);
    eventually("what was enqueued is in memory", || redis.info("bear").int("bear_jobs_delayed") == 1);
    let samples = scrape(port);
    for (name, expected) in [
        ("bear_hits_total{section=\"bear\"}", 1.0),
        ("bear_hits_total{section=\"quiet\"}", 0.0),
        ("bear_fills_total{section=\"bear\"}", 1.0),
        ("bear_fetch_duration_seconds_count{section=\"bear\"}", 1.0),
        ("bear_jobs_completed_total{section=\"bear\"}", 1.0),
        ("bear_jobs_enqueued_total{section=\"bear\"}", 2.0),
        ("bear_jobs_delayed{section=\"bear\"}", 1.0),
        ("bear_jobs_waiting{section=\"bear\"}", 0.0),
        ("bear_job_wait_seconds_count{section=\"bear\"}", 1.0),
        ("bear_work_enqueued_total{section=\"note\"}", 4.0),
        ("bear_work_jobs{section=\"note\"}", 3.0),
        ("bear_work_waiting{section=\"note\"}", 3.0),
        ("bear_work_spaces{section=\"note\"}", 2.0),
        ("bear_work_claims{section=\"bear\"}", 1.0),
        ("bear_work_claimed_total{section=\"bear\"}", 1.0),
        ("bear_work_completed_total{section=\"note\"}", 1.0),
        ("bear_work_wait_seconds_count{section=\"note\"}", 1.0),
        ("bear_claim_duration_seconds_count{section=\"note\"}", 1.0),
        ("bear_postgres_state{state=\"up\"}", 1.0),
        ("bear_postgres_state{state=\"down\"}", 0.0),
        ("bear_role{role=\"master\"}", 1.0),
        ("bear_sections", 3.0),
    ] {
        assert_eq!(samples.get(name), Some(expected), "{name}");
    }
    // The delayed one may have been in a batch, too, which left it out.
    assert!((1.0..=2.0).contains(&samples.of("bear_apply_duration_seconds_count")));
    assert_eq!(samples.get("bear_fetch_duration_seconds_count{section=\"quiet\"}"), None);
    assert_eq!(samples.get("bear_claim_duration_seconds_count{section=\"bear\"}"), None, "its claim has not ended");
    assert_same(&redis, port);
    assert_eq!(claims::tell(&mut wire, "FAIL", &held, "broken FINAL").text(), "failed");
    let samples = scrape(port);
    assert_eq!(samples.of("bear_work_failed_total{section=\"bear\"}"), 1.0);
    assert_eq!(samples.of("bear_claim_duration_seconds_count{section=\"bear\"}"), 1.0);
}

#[test]
fn the_oldest_job_is_one_that_waits_for_its_turn() {
    let database = bears::database();
    let (builder, port) = listening(Redis::builder().postgres(&database).catalog(CATALOG));
    let redis = builder.start();
    let mut wire = redis.wire();
    let oldest =
        |section: &str| scrape(port).of(&format!("bear_oldest_waiting_job_age_seconds{{section=\"{section}\"}}"));
    // Those that wait for a time are not meant, in whatever order they came.
    set_drain(&mut wire, "no");
    jobs::enqueue(&mut wire, r#"bear GROW {"id":1} DELAY 3600000"#);
    claims::enqueue(&mut wire, r#"{7}:note MAIL {"to":"a"} DELAY 3600000"#);
    assert_eq!((oldest("bear"), oldest("note")), (0.0, 0.0));
    let claimed = claims::enqueue(&mut wire, r#"{8}:note MAIL {"to":"a"}"#);
    jobs::enqueue(&mut wire, r#"bear GROW {"id":1}"#);
    eventually("they grow old", || oldest("bear") > 0.02 && oldest("note") > 0.02);
    let held = claims::claim_one(&mut wire, "{8}:note JOB MAIL WORKER w");
    assert_eq!(held.id, claimed);
    assert_eq!(oldest("note"), 0.0, "a worker has it");
    set_drain(&mut wire, "yes");
    eventually("it is applied", || oldest("bear") == 0.0);
    assert_eq!(redis.info("bear").int("bear_jobs_delayed"), 1);
}

#[test]
fn a_replica_and_a_reloaded_catalog_are_told_as_they_are() {
    let database = bears::database();
    let (builder, port) = listening(Redis::builder().postgres(&database).catalog(CATALOG));
    let master = builder.start();
    let (builder, replicas_port) = listening(Redis::builder().postgres(&database).catalog(CATALOG).replica_of(&master));
    let replica = builder.start();
    replica.wait_in_sync(&master);
    assert_eq!(scrape(replicas_port).of("bear_role{role=\"replica\"}"), 1.0);
    assert_eq!(http::get(replicas_port, "/healthz").status, 200);
    assert!(!master.run("BEAR.QUERY bear all").is_error());
    let renamed = CATALOG.replace("[quiet]", "[loud]");
    std::fs::write(master.catalog_path(), renamed).expect("the catalog");
    assert!(!master.run("BEAR.RELOAD").is_error());
    let samples = scrape(port);
    assert_eq!(samples.get("bear_hits_total{section=\"quiet\"}"), None);
    assert_eq!(samples.of("bear_hits_total{section=\"loud\"}"), 0.0);
    assert_eq!(samples.of("bear_misses_total{section=\"bear\"}"), 1.0);
}
