//! From COMMIT to the change being told: figures, and a bound that a busy machine keeps.

use super::*;

const CATALOG: &str =
    "[t]\nid = \"int\"\ntables = { t = \"id\" }\nrow = \"SELECT id, x FROM t WHERE id = ANY({ids})\"\n\
    [[t.query]]\ncall = \"x {x:int}\"\nsql = \"SELECT id FROM t WHERE x = {x}\"\nmatch = \"x = {x}\"\n";

pub(super) fn quantile(sorted: &[Duration], q: f64) -> Duration {
    sorted[((sorted.len() - 1) as f64 * q) as usize]
}

/// Times from the answer to COMMIT to the row's change; other rows' changes are passed over.
pub(super) fn latencies(database: &Database, followed: &Followed, count: usize) -> Vec<Duration> {
    let mut client = database.client();
    let mut times = Vec::new();
    for n in 0..count {
        client.execute("UPDATE t SET x = $1 WHERE id = 0", &[&(n as i32)]).unwrap();
        let committed = Instant::now();
        let wanted = format!("t 0: {{\"id\":0,\"x\":{n}}}");
        loop {
            if let FeedOutcome::Changed { changes, .. } = followed.next() {
                if changes.iter().flat_map(|change| followed.lines(change)).any(|line| line == wanted) {
                    break;
                }
            }
        }
        times.push(committed.elapsed());
        std::thread::sleep(Duration::from_millis(3));
    }
    times.sort_unstable();
    times
}

#[test]
fn a_change_is_told_within_milliseconds() {
    let database = Database::new(
        "CREATE TABLE t (id int PRIMARY KEY, x int); INSERT INTO t SELECT i, 0 FROM generate_series(0, 1000) i",
    );
    let followed = database.follow(CATALOG);
    followed.connected();
    let idle = latencies(&database, &followed, 300);
    println!("idle: median {:?}, p99 {:?}", quantile(&idle, 0.5), quantile(&idle, 0.99));
    // It takes some round trips, which are as long as the machine is busy.
    let mut client = database.client();
    let trip = || {
        let begun = Instant::now();
        client.query_one("SELECT 1", &[]).unwrap();
        begun.elapsed()
    };
    let mut trips: Vec<Duration> = std::iter::repeat_with(trip).take(100).collect();
    trips.sort_unstable();
    let bound = Duration::from_millis(10) + quantile(&trips, 0.5) * 10;
    assert!(quantile(&idle, 0.5) < bound, "{:?} {bound:?}", quantile(&idle, 0.5));
}

/// Run by hand: `cargo test --release --lib feed_tests::speed -- --ignored --nocapture`.
#[test]
#[ignore = "it measures, and wants the machine for itself"]
fn figures_under_load() {
    use std::sync::atomic::AtomicBool;
    let database = Database::new(
        "CREATE TABLE t (id int PRIMARY KEY, x int); INSERT INTO t SELECT i, 0 FROM generate_series(0, 1000) i",
    );
    let followed = database.follow(CATALOG);
    followed.connected();
    let (ended, updates) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for worker in 0..4_i32 {
            let (database, ended, updates) = (&database, &ended, &updates);
            scope.spawn(move || {
                let mut client = database.client();
                let update = client.prepare("UPDATE t SET x = x + 1 WHERE id = $1").unwrap();
                let (started, mut n) = (Instant::now(), 0_u32);
                while !ended.load(Ordering::Relaxed) {
                    client.execute(&update, &[&(1 + worker * 200 + (n % 200) as i32)]).unwrap();
                    n += 1;
                    updates.fetch_add(1, Ordering::Relaxed);
                    // 1,250 a second each.
                    if let Some(early) = (Duration::from_micros(800) * n).checked_sub(started.elapsed()) {
                        std::thread::sleep(early);
                    }
                }
            });
        }
        let started = Instant::now();
        let times = latencies(&database, &followed, 1000);
        let rate = updates.load(Ordering::Relaxed) as f64 / started.elapsed().as_secs_f64();
        ended.store(true, Ordering::Relaxed);
        println!("{rate:.0} updates/s: median {:?}, p99 {:?}", quantile(&times, 0.5), quantile(&times, 0.99));
    });
}
