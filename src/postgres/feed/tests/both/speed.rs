//! From COMMIT to the change being told: a bound that a busy machine keeps, and figures; what the triggers and the polls cost.

use std::collections::HashMap;
use std::sync::atomic::AtomicBool;

use super::*;

const CATALOG: &str =
    "[t]\nid = \"int\"\ntables = { t = \"id\" }\nrow = \"SELECT id, x FROM t WHERE id = ANY({ids})\"\n\
    [[t.query]]\ncall = \"x {x:int}\"\nsql = \"SELECT id FROM t WHERE x = {x}\"\nmatch = \"x = {x}\"\n";
const TABLE: &str =
    "CREATE TABLE t (id int PRIMARY KEY, x int); INSERT INTO t SELECT i, 0 FROM generate_series(0, 2000) i";

fn quantile(sorted: &[Duration], q: f64) -> Duration {
    sorted[((sorted.len() - 1) as f64 * q) as usize]
}

/// Times from the answer to COMMIT to the row's change; other rows' changes are passed over.
fn latencies(database: &Database, followed: &Followed, count: usize) -> Vec<Duration> {
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

for_both_kinds![a_change_is_told_within_milliseconds];

fn a_change_is_told_within_milliseconds(kind: FeedKind) {
    let database = Database::new(kind, TABLE);
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
    let bound = match kind {
        FeedKind::Wal => Duration::from_millis(10) + quantile(&trips, 0.5) * 10,
        FeedKind::Outbox => Duration::from_millis(20),
    };
    assert!(quantile(&idle, 0.5) < bound, "{:?} {bound:?}", quantile(&idle, 0.5));
}

/// Run by hand: `cargo test --release --lib both::speed -- --ignored --nocapture --test-threads=1`.
#[test]
#[ignore = "it measures, and wants the machine for itself"]
fn figures_of_decoding() {
    let database = Database::new(FeedKind::Wal, TABLE);
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

/// Updates of single rows by eight clients, as fast as they can or `rate` a second in all; how many a second.
fn load(database: &Database, rate: Option<u32>, meanwhile: impl FnOnce()) -> f64 {
    let (ended, updates) = (AtomicBool::new(false), AtomicUsize::new(0));
    let started = Instant::now();
    std::thread::scope(|scope| {
        for worker in 0..8_i32 {
            let (database, ended, updates) = (&database, &ended, &updates);
            scope.spawn(move || {
                let mut client = database.client();
                let update = client.prepare("UPDATE t SET x = x + 1 WHERE id = $1").unwrap();
                let (started, mut n) = (Instant::now(), 0_u32);
                while !ended.load(Ordering::Relaxed) {
                    client.execute(&update, &[&(1 + worker * 200 + (n % 200) as i32)]).unwrap();
                    n += 1;
                    updates.fetch_add(1, Ordering::Relaxed);
                    let due = rate.map_or(Duration::ZERO, |rate| Duration::from_secs(8) / rate * n);
                    if let Some(early) = due.checked_sub(started.elapsed()) {
                        std::thread::sleep(early);
                    }
                }
            });
        }
        meanwhile();
        ended.store(true, Ordering::Relaxed);
    });
    updates.load(Ordering::Relaxed) as f64 / started.elapsed().as_secs_f64()
}

/// Ticks of the processor that other backends have used, which is the reader's when nobody else is there.
fn ticks(database: &Database) -> HashMap<i32, u64> {
    let sql =
        "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND datname = current_database() AND pid <> pg_backend_pid()";
    let of = |row: &::postgres::Row| {
        let pid = row.get::<_, i32>(0);
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let fields: Vec<&str> = stat.rsplit(')').next()?.split_whitespace().collect();
        Some((pid, fields[11].parse::<u64>().ok()? + fields[12].parse::<u64>().ok()?))
    };
    database.client().query(sql, &[]).unwrap().iter().filter_map(of).collect()
}

/// Run by hand, as the other.
#[test]
#[ignore = "it measures, and wants the machine for itself"]
fn figures_of_triggers() {
    let database = Database::on(FeedKind::Outbox, Arc::new(Server::new()), TABLE);
    let pause = || std::thread::sleep(Duration::from_secs(5));
    let mut without = vec![load(&database, None, pause)];
    // As it is by default, with a grace of 5 s.
    let settings = Settings::new(database.url("bear", database.server.port), UrlSource::Config);
    let followed = Followed::start(FeedSettings { kind: FeedKind::Outbox, ..FeedSettings::new(settings) }, CATALOG);
    followed.connected();
    let (before, started) = (ticks(&database), Instant::now());
    pause();
    let (after, passed) = (ticks(&database), started.elapsed().as_secs_f64());
    let used = after.iter().filter_map(|(pid, ticks)| Some(ticks - before.get(pid)?)).sum::<u64>() as f64 / 100.0;
    println!("idle polls: {:.2} % of a core in Postgres", used / passed * 100.0);
    // One at a time, with pauses in which the polls become rare.
    let mut idle: Vec<_> = (0..300)
        .flat_map(|n| {
            std::thread::sleep(Duration::from_millis(50 + n % 11));
            latencies(&database, &followed, 1)
        })
        .collect();
    idle.sort_unstable();
    println!("idle: median {:?}, p99 {:?}", quantile(&idle, 0.5), quantile(&idle, 0.99));
    let mut times = Vec::new();
    let rate = load(&database, Some(2000), || times = latencies(&database, &followed, 1000));
    println!("{rate:.0} updates/s: median {:?}, p99 {:?}", quantile(&times, 0.5), quantile(&times, 0.99));
    let with = load(&database, None, pause);
    followed.end();
    let triggers_alone = load(&database, None, pause);
    database.run("SELECT bear.outbox_unfollow(source) FROM bear.outbox_source");
    without.push(load(&database, None, pause));
    println!(
        "updates/s: {without:.0?} without triggers, {triggers_alone:.0} with triggers, {with:.0} with a reader too"
    );
}
