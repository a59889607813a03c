//! Freshness: from the moment that an outside COMMIT has returned until the entry is gone, on an idle system and while
//! others write.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::figures::{count, median, ms, quantile, Table};
use crate::followed::{self, is_cached, Feed};
use crate::queue::Durable;
use crate::setup::{call, Servers, FIRST_ID};
use crate::support::{Database, Redis, StopAtEnd};

/// Changes measured of each kind, in so many turns.
const CHANGES: usize = 500;
const TURNS: usize = 5;

/// Bears: those measured, and those that others write.
const MEASURED: usize = 500;
const BEARS: usize = 20_000;

/// UPDATEs a second of the others, all of them together, and how many they are.
const OTHERS_A_SECOND: f64 = 1_000.0;
const OTHERS: usize = 2;

/// Rest before each change.
const IDLE: Duration = Duration::from_millis(5);

/// Without a rest the loop and Redis' thread would fill two processors, and the feed wait for one (p99 80 ms of 5 on two).
const LOOK_EVERY: Duration = Duration::from_micros(200);

const PATIENCE: Duration = Duration::from_secs(20);

/// Of one kind of load.
#[derive(Default)]
struct Seen {
    gone_us: Vec<f64>,
    /// The UPDATEs themselves: what the machine and its disk make of a round trip.
    update_us: Vec<f64>,
    written: usize,
    took: Duration,
}

pub fn run(_: &Servers, _: usize) -> Vec<Table> {
    let mut table = Table::new(
        "From an outside COMMIT to the entry being gone",
        &[
            "feed",
            "meanwhile",
            "p50 ms",
            "p99 ms",
            "longest ms",
            "the UPDATE itself p50 ms",
            "p99 ms",
            "others' UPDATEs a second",
        ],
    );
    let durable = Durable::start_logical(BEARS);
    for feed in [Feed::Wal, Feed::Outbox].into_iter().filter(|feed| followed::is_known(*feed)) {
        let mut seen = [Seen::default(), Seen::default()];
        durable.with_fresh_tables(|database| {
            followed::with_redis(database, feed, |redis| {
                for turn in 0..TURNS {
                    let bears = turn * CHANGES / TURNS..(turn + 1) * CHANGES / TURNS;
                    for (is_busy, seen) in [false, true].into_iter().zip(&mut seen) {
                        measure(database, redis, bears.clone(), is_busy, seen);
                    }
                }
            });
        });
        for (name, seen) in ["nothing", "others write"].into_iter().zip(&seen) {
            table.row(vec![
                feed.name().to_owned(),
                name.to_owned(),
                ms(median(&seen.gone_us)),
                ms(quantile(&seen.gone_us, 0.99)),
                ms(quantile(&seen.gone_us, 1.0)),
                ms(median(&seen.update_us)),
                ms(quantile(&seen.update_us, 0.99)),
                count(seen.written as f64 / seen.took.as_secs_f64()),
            ]);
        }
    }
    table.note(format!(
        "{CHANGES} of each, in {TURNS} turns, {} ms apart, looked at every {} µs. One client renames a bear by an UPDATE of its own transaction; as soon as \
         that has returned it asks BEAR.QUERY … CACHED again and again for a result with that bear until there is none. Others \
         rename other bears, {OTHERS} clients with synchronous_commit off. Postgres with fsync.",
        IDLE.as_millis(),
        LOOK_EVERY.as_micros()
    ));
    vec![table]
}

fn measure(database: &Database, redis: &Redis, bears: std::ops::Range<usize>, is_busy: bool, seen: &mut Seen) {
    let (ended, written) = (AtomicBool::new(false), AtomicUsize::new(0));
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for other in 0..if is_busy { OTHERS } else { 0 } {
            let (ended, written) = (&ended, &written);
            scope.spawn(move || write(database, other, ended, written));
        }
        let _end = StopAtEnd(&ended);
        let mut client = database.client();
        let rename = client.prepare("UPDATE bear SET name = name || '.' WHERE id = $1").expect("a statement");
        let mut wire = redis.wire();
        for bear in bears {
            let call = call("bear", "size", bear, 1);
            wire.call(&call).bulk();
            redis.wait_stored();
            assert!(is_cached(&mut wire, &call), "it was stored");
            std::thread::sleep(IDLE);
            let id = (FIRST_ID + bear) as i64;
            let sent = Instant::now();
            assert_eq!(client.execute(&rename, &[&id]).expect("an UPDATE"), 1);
            seen.update_us.push(sent.elapsed().as_secs_f64() * 1e6);
            let committed = Instant::now();
            while is_cached(&mut wire, &call) {
                assert!(committed.elapsed() < PATIENCE, "the entry stays");
                std::thread::sleep(LOOK_EVERY);
            }
            seen.gone_us.push(committed.elapsed().as_secs_f64() * 1e6);
        }
    });
    seen.took += begun.elapsed();
    seen.written += written.into_inner();
}

/// Renames bears that nobody looks at, at its share of the rate.
fn write(database: &Database, other: usize, ended: &AtomicBool, written: &AtomicUsize) {
    let mut client = database.client();
    client.batch_execute("SET synchronous_commit = off").expect("a setting");
    let rename = client.prepare("UPDATE bear SET name = 'Other ' || $1::text WHERE id = $2").expect("a statement");
    let between = Duration::from_secs_f64(OTHERS as f64 / OTHERS_A_SECOND);
    let begun = Instant::now();
    for at in 0.. {
        if ended.load(Ordering::Relaxed) {
            return;
        }
        let id = (FIRST_ID + MEASURED + (at * OTHERS + other) % (BEARS - MEASURED)) as i64;
        client.execute(&rename, &[&at.to_string(), &id]).expect("an UPDATE");
        written.fetch_add(1, Ordering::Relaxed);
        std::thread::sleep((begun + between * (at as u32 + 1)).saturating_duration_since(Instant::now()));
    }
}
