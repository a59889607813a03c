//! Does the table grow? Rows that come at a steady rate for minutes and go as their jobs are done, with autovacuum as it is; and what it
//! costs Postgres to be asked all the time whether there is something.

use std::path::Path;
use std::time::{Duration, Instant};

use super::{is_empty, with_redis, PAYLOAD};
use crate::drain_feed::{children, nanos};
use crate::figures::{count, Table};
use crate::followed::{self, Feed};
use crate::queue;
use crate::setup::Servers;
use crate::support::{eventually, Database, Postgres, Redis};

/// Rows a second, and those of one transaction.
const RATES: [(usize, usize); 2] = [(1_000, 10), (10_000, 100)];

/// How long each rate is kept up, and how often the sizes are looked at.
const MINUTES: usize = 3;
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How long an idle system is looked at.
const IDLE: Duration = Duration::from_secs(15);

pub fn run(_: &Servers, _: usize) -> Vec<Table> {
    vec![grow(), idle()]
}

fn grow() -> Table {
    let mut table = Table::new(
        format!("The inbox while rows come for {MINUTES} minutes"),
        &[
            "rows a second",
            "came",
            "open rows, most",
            "table MB: after each minute",
            "indexes MB",
            "vacuums",
            "WAL MB a minute",
        ],
    );
    for (rate, of_transaction) in RATES {
        let postgres = Postgres::start_ordinary();
        with_redis(&postgres, &[], |database, _| {
            let begun = Instant::now();
            let until = begun + Duration::from_secs(60 * MINUTES as u64);
            let (came, (sizes, most, wal)) = std::thread::scope(|scope| {
                let enqueuer = scope.spawn(|| enqueue(database, rate, of_transaction, until));
                let sizes = watch(database, until);
                (enqueuer.join().expect("an application"), sizes)
            });
            let seconds = begun.elapsed().as_secs_f64();
            eventually("all are done", || is_empty(database));
            let vacuums: i64 = database
                .client()
                .query_one("SELECT autovacuum_count FROM pg_stat_user_tables WHERE relname = 'inbox'", &[])
                .expect("statistics")
                .get(0);
            let list = |figure: fn(&(f64, f64)) -> f64| {
                sizes.iter().map(|of| format!("{:.1}", figure(of))).collect::<Vec<_>>().join(", ")
            };
            table.row(vec![
                count(rate as f64),
                count(came as f64 / seconds),
                count(most),
                list(|of| of.0),
                list(|of| of.1),
                vacuums.to_string(),
                format!("{:.0}", wal / MINUTES as f64),
            ]);
        });
    }
    table.note(
        "SQL jobs of 120 bytes that change nothing, as they come; autovacuum with Postgres' and the table's own settings. All on the \
         same two cores.",
    );
    table
}

/// One transaction after the other, at this rate at most; how many rows.
fn enqueue(database: &Database, rate: usize, of_transaction: usize, until: Instant) -> usize {
    let mut client = database.client();
    let sql =
        format!("SELECT count(bear.enqueue('nothing', 'SEND', '{PAYLOAD}')) FROM generate_series(1, {of_transaction})");
    let statement = client.prepare(&sql).expect("a statement");
    let begun = Instant::now();
    let mut came = 0;
    while Instant::now() < until {
        client.execute(&statement, &[]).expect("jobs");
        came += of_transaction;
        let due = begun + Duration::from_secs_f64(came as f64 / rate as f64);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
    }
    came
}

/// Sizes of the table and of its indexes in MB, each minute, the most rows that were there at once, and the WAL in MB.
fn watch(database: &Database, until: Instant) -> (Vec<(f64, f64)>, f64, f64) {
    let mut client = database.client();
    let mut number = |sql: &str| -> f64 { client.query_one(sql, &[]).expect(sql).get(0) };
    let wal = "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::float8";
    let before = number(wal);
    let (mut sizes, mut most): (Vec<(f64, f64)>, f64) = (Vec::new(), 0.0);
    let begun = Instant::now();
    while Instant::now() < until {
        std::thread::sleep(LOOK_EVERY);
        most = most.max(number("SELECT count(*)::float8 FROM bear.inbox"));
        if begun.elapsed().as_secs() / 60 > sizes.len() as u64 || Instant::now() >= until {
            let table = number("SELECT pg_table_size('bear.inbox')::float8 / 1048576");
            let indexes = number("SELECT pg_indexes_size('bear.inbox')::float8 / 1048576");
            sizes.push((table, indexes));
        }
    }
    (sizes, most, (number(wal) - before) / 1_048_576.0)
}

fn idle() -> Table {
    let mut table = Table::new(
        "What an idle inbox costs: processor time, ms a second",
        &["", "polls a second", "Postgres' backends", "the inbox' thread in Redis", "Redis' main thread"],
    );
    let postgres = Postgres::start_ordinary();
    with_redis(&postgres, &[], |database, redis| {
        for (name, poll_ms, feed) in [
            ("polls 10 ms apart, the default", "10", Feed::Off),
            ("polls 50 ms apart", "50", Feed::Off),
            ("`bear.feed wal` follows", "10", Feed::Wal),
            ("`bear.inbox no`", "", Feed::Off),
        ] {
            let mut wire = redis.wire();
            match poll_ms {
                "" => queue::set(&mut wire, "bear.inbox", "no"),
                ms => queue::set(&mut wire, "bear.inbox-poll-ms", ms),
            }
            let begun = Instant::now();
            if feed != Feed::Off {
                queue::set(&mut wire, "bear.feed", feed.name());
                eventually("the feed follows", || followed::has_told(redis, begun));
            }
            std::thread::sleep(Duration::from_secs(1));
            let (before, polls) = (work(database, redis), polls(redis));
            std::thread::sleep(IDLE);
            let after = work(database, redis);
            let polls = (self::polls(redis) - polls) as f64 / IDLE.as_secs_f64();
            let share = |at: usize| format!("{:.1}", (after[at] - before[at]) / IDLE.as_secs_f64());
            table.row(vec![name.to_owned(), format!("{polls:.0}"), share(0), share(1), share(2)]);
            if feed != Feed::Off {
                followed::end(redis, database);
            }
        }
    });
    table.note(format!("Over {} s of each, with nothing in the inbox.", IDLE.as_secs()));
    table
}

fn polls(redis: &Redis) -> i64 {
    redis.info("bear").get("bear_inbox_polls").and_then(|polls| polls.parse().ok()).unwrap_or(0)
}

/// Milliseconds on a processor so far: of Postgres' processes, of the inbox' thread, of Redis' main thread.
fn work(database: &Database, redis: &Redis) -> [f64; 3] {
    let ms = |path: &Path| nanos(path).unwrap_or(0) as f64 / 1e6;
    let postgres =
        children(database.postgres().pid()).iter().map(|pid| ms(&Path::new("/proc").join(pid.to_string()))).sum();
    let tasks = format!("/proc/{}/task", redis.pid());
    let mut inbox = 0.0;
    for task in std::fs::read_dir(&tasks).into_iter().flatten().flatten() {
        if std::fs::read_to_string(task.path().join("comm")).unwrap_or_default().trim() == "bear-inbox" {
            inbox += ms(&task.path());
        }
    }
    [postgres, inbox, ms(&Path::new(&tasks).join(redis.pid().to_string()))]
}
