//! Invalidations: the time to the reply, and the longest gap that a second connection sees until all is swept.

use std::time::{Duration, Instant};

use crate::figures::{count, median, ms, quantile, Table};
use crate::probe::Probe;
use crate::setup::{self, Servers, FIRST_ID, FIRST_SIZE};
use crate::support::{Redis, Wire};

/// Entries that contain the row, and how often each is measured.
const SIZES: [(usize, usize); 4] = [(10, 20), (1_000, 5), (10_000, 3), (100_000, 1)];

pub fn run(servers: &Servers, _: usize) -> Vec<Table> {
    let mut table = Table::new(
        "Invalidations, and a second connection's PING from the command until all is swept",
        &[
            "what",
            "reply ms",
            "swept after ms",
            "PING p99 µs",
            "longest gap µs",
            "most server CPU in a gap µs",
            "longest tick µs",
        ],
    );
    let row = (FIRST_ID).to_string();
    for (entries, times) in SIZES {
        measure(
            servers,
            &mut table,
            &format!("ROW in {} entries", count(entries as f64)),
            entries,
            times,
            &["ROW", &row],
        );
    }
    measure(servers, &mut table, "ALL over 100,000 entries", 100_000, 1, &["ALL"]);
    table.note(
        "Each entry lists one row and two tags. Medians where it was measured more than once; the longest of all.",
    );
    vec![table]
}

fn measure(servers: &Servers, table: &mut Table, name: &str, entries: usize, times: usize, what: &[&str]) {
    let redis = servers.redis();
    setup::raise_priority(&redis);
    let mut wire = redis.wire();
    let (mut replies, mut sweeps) = (Vec::new(), Vec::new());
    let (mut p99, mut longest, mut work) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..times {
        let before = size(&mut wire);
        fill_around_one_row(&redis, entries);
        setup::wait_idle(&redis);
        let probe = Probe::start(&redis);
        std::thread::sleep(Duration::from_millis(50));
        let begun = Instant::now();
        wire.send(&[&["BEAR.INVALIDATE", "bear"], what].concat());
        assert_eq!(wire.receive().int(), entries as i64);
        replies.push(begun.elapsed().as_secs_f64() * 1e6);
        // The metadata sets are the last to go.
        while size(&mut wire) > before {
            std::thread::sleep(Duration::from_millis(10));
        }
        sweeps.push(begun.elapsed().as_secs_f64() * 1e6);
        let gaps = probe.stop();
        p99.push(gaps.quantile_us(0.99));
        longest.push(gaps.max_us());
        work.push(gaps.max_work_us());
    }
    table.row(vec![
        name.to_owned(),
        ms(median(&replies)),
        ms(median(&sweeps)),
        count(median(&p99)),
        count(quantile(&longest, 1.0)),
        count(quantile(&work, 1.0)),
        count(setup::longest_tick_us(&redis) as f64),
    ]);
}

/// Keys in the database.
fn size(wire: &mut Wire) -> i64 {
    wire.run("DBSIZE").int()
}

/// Different calls whose results are one and the same bear: below its size there is none down to the sample's.
fn fill_around_one_row(redis: &Redis, entries: usize) {
    setup::fill(redis, 50, entries, |at| {
        ["BEAR.QUERY", "bear", "size", &(FIRST_SIZE - 1 - at).to_string(), &FIRST_SIZE.to_string()]
            .map(str::to_owned)
            .into()
    });
}
