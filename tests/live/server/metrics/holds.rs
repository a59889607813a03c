//! A scrape holds Redis' thread for no longer than a slice, however much there is.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use super::listening;
use crate::support::http::{self, scrape};
use crate::support::wire::packed;
use crate::support::{eventually, one_client, Postgres, Redis, StopAtEnd};

const SECTIONS: usize = 1_000;
const TENANTS: usize = 10_000;

/// Of the module's own work in a tick, on a processor. A build for tests is ten times slower.
const MOST_US: i64 = if cfg!(debug_assertions) { 10_000 } else { 1_000 };

/// Sections of a catalog, and one with claimed jobs of tenants.
fn catalog() -> String {
    let jobs = "[note]\nid = \"int\"\ntenant = \"int\"\n[note.job.MAIL]\ndata = { to = \"text\" }\nclaim = {}\n\
                [note.job.DO]\ndata = { id = \"int\" }\nsql = \"SELECT job.n, job.id FROM {jobs} job\"\n";
    one_client::sections(SECTIONS) + jobs
}

#[test]
fn a_thousand_sections_and_ten_thousand_tenants_are_gathered_in_slices() {
    let database = Postgres::shared().database(one_client::SCHEMA);
    let (builder, port) = listening(Redis::builder().postgres(&database).catalog(catalog()));
    let redis = builder.config("bear.feed", "off").config("bear.drain", "no").start();
    let mut wire = redis.wire();
    for first in (0..TENANTS).step_by(500) {
        let mut bytes = Vec::new();
        for tenant in first..first + 500 {
            let space = format!("{{{tenant}}}:note");
            bytes.extend(packed(&["BEAR.ENQUEUE", &space, "MAIL", r#"{"to":"a"}"#]));
            bytes.extend(packed(&["BEAR.ENQUEUE", &space, "DO", r#"{"id":1}"#]));
        }
        wire.send_bytes(&bytes);
        for _ in 0..1000 {
            let reply = wire.receive();
            assert!(!reply.is_error(), "{reply:?}");
        }
    }
    eventually("all are in memory", || redis.info("bear").int("bear_work_spaces") == TENANTS as i64);
    // What came before is not meant.
    let ended = AtomicBool::new(false);
    let (mut slowest, mut pings) = (0, 0);
    std::thread::scope(|scope| {
        let scraper = scope.spawn(|| {
            let stop = StopAtEnd(&ended);
            let begun = Instant::now();
            let samples = scrape(port);
            let took = begun.elapsed();
            for _ in 0..2 {
                assert_eq!(http::get(port, "/metrics").status, 200);
            }
            drop(stop);
            (samples, took)
        });
        let mut wire = redis.wire();
        while !ended.load(Ordering::Relaxed) {
            let begun = Instant::now();
            assert_eq!(wire.run("PING").text(), "PONG");
            slowest = slowest.max(begun.elapsed().as_micros());
            pings += 1;
        }
        let (samples, took) = scraper.join().expect("the scraper does not panic");
        println!("a scrape took {took:?}; of {pings} pings meanwhile the slowest {slowest} us");
        assert_eq!(samples.of("bear_sections"), SECTIONS as f64 + 2.0);
        assert_eq!(samples.of("bear_work_waiting{section=\"note\"}"), TENANTS as f64);
        assert_eq!(samples.of("bear_jobs_waiting{section=\"note\"}"), TENANTS as f64);
        assert_eq!(samples.of("bear_queues{section=\"note\"}"), TENANTS as f64);
        assert_eq!(samples.of("bear_hits_total{section=\"section_999\"}"), 0.0);
        assert!(samples.of("bear_oldest_waiting_job_age_seconds{section=\"note\"}") > 0.0);
        assert!(!samples.sum("bear_hits_total").is_some_and(|hits| hits > 0.0));
    });
    assert!(pings > 10, "others are served meanwhile: {pings}");
    let slice_us = redis.info("bear_metrics").int("bear_metrics_longest_slice_cpu_us");
    println!("the longest slice: {slice_us} us on a processor");
    assert!(slice_us < MOST_US, "{slice_us} us");
}
